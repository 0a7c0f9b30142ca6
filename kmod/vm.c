// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM file: creation, references, and the VM ioctls.
 */
#include <linux/anon_inodes.h>
#include <linux/compat.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#include "kmod.h"

void popf_kvm_get(struct popf_kvm *kvm)
{
	refcount_inc(&kvm->refs);
}

/* Backwards through popf_kvm_alloc(); nobody else can reach the VM any more. */
static void kvm_destroy(struct popf_kvm *kvm)
{
	u32 i;

	popf_notifier_fini(kvm);
	for (i = 0; i < POPF_MAX_VCPUS; i++) {
		struct vcpu *v = kvm->vm.vcpu[i];

		kvm->vm.vcpu[i] = NULL;
		if (v)
			popf_vcpu_destroy(to_kvcpu(v));
	}
	vm_fini(&kvm->vm);
	popf_slots_fini(kvm);
	popf_irq_fini(kvm);
	mmdrop(kvm->mm);
	kvfree(kvm);
}

void popf_kvm_put(struct popf_kvm *kvm)
{
	if (refcount_dec_and_test(&kvm->refs))
		kvm_destroy(kvm);
}

static struct popf_kvm *kvm_alloc(void)
{
	struct popf_kvm *kvm = kvzalloc(sizeof(*kvm), GFP_KERNEL_ACCOUNT);
	int err = -ENOMEM;

	if (!kvm)
		return ERR_PTR(-ENOMEM);
	refcount_set(&kvm->refs, 1);
	mutex_init(&kvm->lock);
	kvm->pid = task_pid_nr(current);
	kvm->mm = current->mm;
	mmgrab(kvm->mm);
	kvm->vm.kvmclock_offset = -ktime_get_boottime_ns();

	err = popf_slots_init(kvm);
	if (err)
		goto out_mm;
	err = vm_init(&kvm->vm);
	if (err)
		goto out_slots;
	err = popf_notifier_init(kvm);
	if (err)
		goto out_vm;
	return kvm;

out_vm:
	vm_fini(&kvm->vm);
out_slots:
	popf_slots_fini(kvm);
out_mm:
	mmdrop(kvm->mm);
	kvfree(kvm);
	return ERR_PTR(err);
}

/* --- ioctls --- */

static long vm_check_extension(void *obj, unsigned long arg)
{
	return popf_check_extension(obj, arg);
}

static long vm_create_vcpu(void *obj, unsigned long arg)
{
	if (arg >= POPF_MAX_VCPUS)
		return -EINVAL;
	return popf_vcpu_create(obj, arg);
}

static long vm_set_user_memory_region(void *obj, unsigned long arg)
{
	struct kvm_userspace_memory_region region;

	if (copy_from_user(&region, (void __user *)arg, sizeof(region)))
		return -EFAULT;
	return popf_set_memory_region(obj, &region);
}

static long vm_get_dirty_log(void *obj, unsigned long arg)
{
	struct kvm_dirty_log log;

	if (copy_from_user(&log, (void __user *)arg, sizeof(log)))
		return -EFAULT;
	/* A 32-bit caller fills only the low half of the union. */
	if (in_compat_syscall())
		log.dirty_bitmap = compat_ptr((compat_uptr_t)log.padding2);
	return popf_get_dirty_log(obj, &log);
}

/* Three pages that hardware KVM needs below 4 GiB; popf needs none. */
static long vm_set_tss_addr(void *obj, unsigned long arg)
{
	return arg > 0xffffffffu - 3 * PAGE_SIZE + 1 ? -EINVAL : 0;
}

static long vm_set_identity_map_addr(void *obj, unsigned long arg)
{
	struct popf_kvm *kvm = obj;
	u64 addr;
	long err = 0;

	if (copy_from_user(&addr, (void __user *)arg, sizeof(addr)))
		return -EFAULT;
	if (!IS_ALIGNED(addr, PAGE_SIZE) || addr > 0xffffffffu)
		return -EINVAL;
	mutex_lock(&kvm->lock);
	if (kvm->created_vcpus)
		err = -EINVAL;
	else
		kvm->identity_map = addr;
	mutex_unlock(&kvm->lock);
	return err;
}

static long enable_split_irqchip(struct popf_kvm *kvm, u64 pins)
{
	long err = -EEXIST;

	if (pins > POPF_MAX_IOAPIC_PINS)
		return -EINVAL;
	mutex_lock(&kvm->lock);
	if (!kvm->vm.split_irqchip && !kvm->created_vcpus) {
		kvm->vm.ioapic_pins = pins;
		kvm->vm.split_irqchip = true;
		err = 0;
	}
	mutex_unlock(&kvm->lock);
	return err;
}

static long vm_enable_cap(void *obj, unsigned long arg)
{
	struct kvm_enable_cap cap;

	if (copy_from_user(&cap, (void __user *)arg, sizeof(cap)))
		return -EFAULT;
	if (cap.flags)
		return -EINVAL;
	switch (cap.cap) {
	case KVM_CAP_SPLIT_IRQCHIP:
		return enable_split_irqchip(obj, cap.args[0]);
	default:
		return -EINVAL;
	}
}

static long vm_set_gsi_routing(void *obj, unsigned long arg)
{
	return popf_set_gsi_routing(obj, (void __user *)arg);
}

static long vm_signal_msi(void *obj, unsigned long arg)
{
	struct kvm_msi msi;

	if (copy_from_user(&msi, (void __user *)arg, sizeof(msi)))
		return -EFAULT;
	return popf_signal_msi(obj, &msi);
}

static long vm_get_clock(void *obj, unsigned long arg)
{
	struct kvm_clock_data data;

	memset(&data, 0, sizeof(data));
	popf_get_clock(obj, &data);
	return copy_to_user((void __user *)arg, &data, sizeof(data)) ? -EFAULT : 0;
}

static long vm_set_clock(void *obj, unsigned long arg)
{
	struct kvm_clock_data data;

	if (copy_from_user(&data, (void __user *)arg, sizeof(data)))
		return -EFAULT;
	return popf_set_clock(obj, &data);
}

static long vm_get_stats_fd(void *obj, unsigned long arg)
{
	return popf_vm_stats_fd(obj);
}

static const struct popf_ioctl vm_ioctls[] = {
	{ KVM_CHECK_EXTENSION, vm_check_extension },
	{ KVM_CREATE_VCPU, vm_create_vcpu },
	{ KVM_SET_USER_MEMORY_REGION, vm_set_user_memory_region },
	{ KVM_GET_DIRTY_LOG, vm_get_dirty_log },
	{ KVM_SET_TSS_ADDR, vm_set_tss_addr },
	{ KVM_SET_IDENTITY_MAP_ADDR, vm_set_identity_map_addr },
	{ KVM_ENABLE_CAP, vm_enable_cap },
	{ KVM_SET_GSI_ROUTING, vm_set_gsi_routing },
	{ KVM_SIGNAL_MSI, vm_signal_msi },
	{ KVM_GET_CLOCK, vm_get_clock },
	{ KVM_SET_CLOCK, vm_set_clock },
	{ KVM_GET_STATS_FD, vm_get_stats_fd },
};

static long popf_vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct popf_kvm *kvm = file->private_data;

	if (current->mm != kvm->mm)
		return -EIO;
	return popf_ioctl_route(vm_ioctls, ARRAY_SIZE(vm_ioctls), kvm, cmd, arg);
}

static int popf_vm_release(struct inode *inode, struct file *file)
{
	popf_kvm_put(file->private_data);
	return 0;
}

static const struct file_operations popf_vm_fops = {
	.owner = THIS_MODULE,
	.release = popf_vm_release,
	.unlocked_ioctl = popf_vm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

int popf_vm_create(void)
{
	struct popf_kvm *kvm;
	struct file *file;
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	kvm = kvm_alloc();
	if (IS_ERR(kvm)) {
		put_unused_fd(fd);
		return PTR_ERR(kvm);
	}
	file = anon_inode_getfile("kvm-vm", &popf_vm_fops, kvm, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		popf_kvm_put(kvm);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return fd;
}
