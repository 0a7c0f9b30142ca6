// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vCPU file: creation, the shared pages, KVM_RUN, and the ioctls that are
 * events rather than state (those are in vcpu_state.c).
 *
 * Invariants:
 *  1. Every ioctl on the file runs with the vCPU's lock held.
 *  2. Except in vcpu_run() the vCPU is canonical: vcpu_sync() comes first.
 *  3. The run page is untrusted and may change at any time: fields are read once.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include <popf.h>

#include "kmod.h"

/* --- KVM_RUN --- */

static void sigmask_activate(struct popf_kvcpu *k)
{
	if (k->sigmask_active)
		sigprocmask(SIG_SETMASK, &k->sigmask, &current->real_blocked);
}

static void sigmask_deactivate(struct popf_kvcpu *k)
{
	if (!k->sigmask_active)
		return;
	sigprocmask(SIG_SETMASK, &current->real_blocked, NULL);
	sigemptyset(&current->real_blocked);
}

/* Without a local APIC here, userland has CR8 and hands it in with each run. */
static int run_take_cr8(struct vcpu *v)
{
	u64 cr8;

	if (v->lapic)
		return 0;
	cr8 = READ_ONCE(v->run->cr8);
	if (cr8 == v->cr8)
		return 0;
	return vcpu_set_cr8(v, cr8) ? -EINVAL : 0;
}

/* What KVM_RUN tells on each return, successful or not. */
static void run_fill(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	bool ready = v->user_irq < 0 && vcpu_irq_allowed(v);

	if (v->lapic && !lapic_accepts_extint(v->lapic))
		ready = false;
	run->ready_for_interrupt_injection = ready;
	run->if_flag = !!(v->regs.rflags & RF_IF);
	run->flags = 0;
	run->cr8 = v->lapic ? lapic_get_tpr(v->lapic) : v->cr8;
	run->apic_base = v->apic_base;
}

static long vcpu_ioctl_run(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct vcpu *v = &k->v;
	int r;

	if (arg)
		return -EINVAL;
	vcpu_sync(v);
	r = run_take_cr8(v);
	if (r)
		return r;
	sigmask_activate(k);
	vcpu_fpu_enter(v);
	r = vcpu_run(v);
	vcpu_fpu_leave(v);
	vcpu_sync(v);
	run_fill(v);
	if (v->stopped) {
		WRITE_ONCE(k->kvm->vm.stopped, true);
		/* Also when that was found on the way out: userland reports it. */
		r = 0;
	}
	if (r == -EINTR)
		v->run->exit_reason = KVM_EXIT_INTR;
	sigmask_deactivate(k);
	return r;
}

/* --- other ioctls --- */

static long vcpu_ioctl_set_signal_mask(void *obj, unsigned long arg)
{
	struct kvm_signal_mask __user *user = (void __user *)arg;
	struct popf_kvcpu *k = obj;
	struct kvm_signal_mask head;
	sigset_t mask;

	if (!user) {
		k->sigmask_active = false;
		return 0;
	}
	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.len != sizeof(mask))
		return -EINVAL;
	if (copy_from_user(&mask, user->sigset, sizeof(mask)))
		return -EFAULT;
	sigdelsetmask(&mask, sigmask(SIGKILL) | sigmask(SIGSTOP));
	k->sigmask = mask;
	k->sigmask_active = true;
	return 0;
}

/* With a split irqchip this is the PIC's output (ExtINT). */
static long vcpu_ioctl_interrupt(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_interrupt irq;

	if (copy_from_user(&irq, (void __user *)arg, sizeof(irq)))
		return -EFAULT;
	if (irq.irq >= 256)
		return -EINVAL;
	if (k->v.user_irq >= 0)
		return -EEXIST;
	k->v.user_irq = irq.irq;
	return 0;
}

static long vcpu_ioctl_nmi(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;

	WRITE_ONCE(k->v.nmi_pending, true);
	vcpu_kick(&k->v);
	return 0;
}

static long vcpu_ioctl_get_tsc_khz(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;

	return vm_tsc_khz(&k->kvm->vm);
}

/* There is no scaling: the host's rate within 250 ppm, or nothing. */
static long vcpu_ioctl_set_tsc_khz(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	u64 khz = vm_tsc_khz(&k->kvm->vm);
	u64 slack = div_u64(khz * 250, 1000000);

	if (!arg || (arg >= khz - slack && arg <= khz + slack))
		return 0;
	return -EINVAL;
}

/* Allowed to fail with -EINVAL when the guest has no kvmclock to be told by. */
static long vcpu_ioctl_kvmclock_ctrl(void *obj, unsigned long arg)
{
	return -EINVAL;
}

static long vcpu_ioctl_get_stats_fd(void *obj, unsigned long arg)
{
	return popf_vcpu_stats_fd(obj);
}

static long vcpu_ioctl_get_stop_reason(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct popf_stop_reason reason;

	BUILD_BUG_ON(sizeof(reason.text) != sizeof(k->v.stop_reason));
	memset(&reason, 0, sizeof(reason));
	reason.stopped = k->v.stopped;
	memcpy(reason.text, k->v.stop_reason, sizeof(reason.text));
	reason.text[sizeof(reason.text) - 1] = '\0';
	if (copy_to_user((void __user *)arg, &reason, sizeof(reason)))
		return -EFAULT;
	return 0;
}

static const struct popf_ioctl vcpu_ioctls[] = {
	{ KVM_RUN, vcpu_ioctl_run },
	{ KVM_SET_SIGNAL_MASK, vcpu_ioctl_set_signal_mask },
	{ KVM_INTERRUPT, vcpu_ioctl_interrupt },
	{ KVM_NMI, vcpu_ioctl_nmi },
	{ KVM_GET_TSC_KHZ, vcpu_ioctl_get_tsc_khz },
	{ KVM_SET_TSC_KHZ, vcpu_ioctl_set_tsc_khz },
	{ KVM_KVMCLOCK_CTRL, vcpu_ioctl_kvmclock_ctrl },
	{ KVM_GET_STATS_FD, vcpu_ioctl_get_stats_fd },
	{ POPF_GET_STOP_REASON, vcpu_ioctl_get_stop_reason },
	{ POPF_RECORD_START, popf_record_start },
	{ POPF_RECORD_STOP, popf_record_stop },
};

static long popf_vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct popf_kvcpu *k = file->private_data;
	long r;

	if (current->mm != k->kvm->mm)
		return -EIO;
	if (mutex_lock_killable(&k->lock))
		return -EINTR;
	/* A stopped VM still tells why; one that lost its translator only that. */
	if ((READ_ONCE(k->kvm->vm.stopped) && cmd == KVM_RUN) ||
	    (!k->v.bt && cmd != POPF_GET_STOP_REASON)) {
		r = -EIO;
		goto out;
	}
	r = popf_ioctl_route(vcpu_ioctls, ARRAY_SIZE(vcpu_ioctls), k, cmd, arg);
	if (r != -ENOTTY)
		goto out;
	vcpu_sync(&k->v);
	r = popf_ioctl_route(popf_vcpu_state_ioctls, popf_vcpu_state_ioctl_count, k,
			     cmd, arg);
out:
	mutex_unlock(&k->lock);
	return r;
}

/* --- the shared pages --- */

static vm_fault_t popf_vcpu_fault(struct vm_fault *vmf)
{
	struct popf_kvcpu *k = vmf->vma->vm_file->private_data;

	if (vmf->pgoff >= POPF_VCPU_MMAP_PAGES)
		return VM_FAULT_SIGBUS;
	vmf->page = k->mmap_pages[vmf->pgoff];
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct popf_vcpu_vm_ops = {
	.fault = popf_vcpu_fault,
};

static int popf_vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &popf_vcpu_vm_ops;
	return 0;
}

/* --- creation and destruction --- */

static int popf_vcpu_release(struct inode *inode, struct file *file)
{
	struct popf_kvcpu *k = file->private_data;

	popf_kvm_put(k->kvm);
	return 0;
}

static const struct file_operations popf_vcpu_fops = {
	.owner = THIS_MODULE,
	.release = popf_vcpu_release,
	.unlocked_ioctl = popf_vcpu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = popf_vcpu_mmap,
	.llseek = noop_llseek,
};

static void vcpu_free_pages(struct popf_kvcpu *k)
{
	u32 i;

	for (i = 0; i < POPF_VCPU_MMAP_PAGES; i++) {
		if (k->mmap_pages[i])
			put_page(k->mmap_pages[i]);
	}
}

static int vcpu_alloc_pages(struct popf_kvcpu *k)
{
	u32 i;

	for (i = 0; i < POPF_VCPU_MMAP_PAGES; i++) {
		k->mmap_pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!k->mmap_pages[i])
			return -ENOMEM;
	}
	k->v.run = page_address(k->mmap_pages[0]);
	k->v.pio_data = page_address(k->mmap_pages[1]);
	return 0;
}

static struct popf_kvcpu *vcpu_alloc(struct popf_kvm *kvm, u32 id)
{
	struct popf_kvcpu *k = kvzalloc(sizeof(*k), GFP_KERNEL_ACCOUNT);
	int err;

	if (!k)
		return ERR_PTR(-ENOMEM);
	mutex_init(&k->lock);
	popf_block_init(k);
	k->kvm = kvm;
	k->v.vm = &kvm->vm;
	k->v.id = id;
	k->v.shadow = kvm->vm.shadow;
	k->v.user_irq = -1;
	err = vcpu_alloc_pages(k);
	if (err)
		goto out_pages;
	err = vcpu_fpu_init(&k->v);
	if (err)
		goto out_pages;
	if (kvm->vm.split_irqchip) {
		err = -ENOMEM;
		k->v.lapic = lapic_create(&k->v);
		if (!k->v.lapic)
			goto out_fpu;
	}
	err = vcpu_init(&k->v);
	if (err)
		goto out_lapic;
	return k;

out_lapic:
	if (k->v.lapic)
		lapic_destroy(k->v.lapic);
out_fpu:
	vcpu_fpu_fini(&k->v);
out_pages:
	vcpu_free_pages(k);
	kvfree(k);
	return ERR_PTR(err);
}

void popf_vcpu_destroy(struct popf_kvcpu *k)
{
	popf_record_fini(&k->v);
	vcpu_fini(&k->v);
	if (k->v.lapic)
		lapic_destroy(k->v.lapic);
	vcpu_fpu_fini(&k->v);
	vcpu_free_pages(k);
	kvfree(k);
}

static int vcpu_create_file(struct popf_kvm *kvm, u32 id)
{
	struct popf_kvcpu *k;
	struct file *file;
	char name[24];
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	k = vcpu_alloc(kvm, id);
	if (IS_ERR(k)) {
		put_unused_fd(fd);
		return PTR_ERR(k);
	}
	snprintf(name, sizeof(name), "kvm-vcpu:%u", id);
	file = anon_inode_getfile(name, &popf_vcpu_fops, k, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		popf_vcpu_destroy(k);
		return PTR_ERR(file);
	}
	popf_kvm_get(kvm);
	popf_irq_new_vcpu(&k->v);
	kvm->created_vcpus++;
	/* Pairs with vm_vcpu(): whoever finds the vCPU finds it complete. */
	smp_store_release(&kvm->vm.vcpu[id], &k->v);
	fd_install(fd, file);
	return fd;
}

int popf_vcpu_create(struct popf_kvm *kvm, u32 id)
{
	int r = -EEXIST;

	mutex_lock(&kvm->lock);
	if (!kvm->vm.vcpu[id])
		r = vcpu_create_file(kvm, id);
	mutex_unlock(&kvm->lock);
	return r;
}

struct vcpu *vm_vcpu(struct popf_vm *vm, u32 index)
{
	return index < POPF_MAX_VCPUS ? smp_load_acquire(&vm->vcpu[index]) : NULL;
}
