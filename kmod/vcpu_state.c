// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_GET and KVM_SET of vCPU state. The vCPU's lock is held and the vCPU is
 * canonical (vcpu.c). What a state means, monitor/ knows; here are the copies and
 * the bounds.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kmod.h"

static long to_user(unsigned long arg, const void *from, size_t size)
{
	return copy_to_user((void __user *)arg, from, size) ? -EFAULT : 0;
}

static long from_user(void *to, unsigned long arg, size_t size)
{
	return copy_from_user(to, (void __user *)arg, size) ? -EFAULT : 0;
}

static long get_regs(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_regs regs;

	memset(&regs, 0, sizeof(regs));
	vcpu_get_kvm_regs(&k->v, &regs);
	return to_user(arg, &regs, sizeof(regs));
}

static long set_regs(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_regs regs;

	if (from_user(&regs, arg, sizeof(regs)))
		return -EFAULT;
	vcpu_set_kvm_regs(&k->v, &regs);
	return 0;
}

static long get_sregs(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_sregs sregs;

	memset(&sregs, 0, sizeof(sregs));
	vcpu_get_kvm_sregs(&k->v, &sregs);
	return to_user(arg, &sregs, sizeof(sregs));
}

static long set_sregs(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_sregs sregs;

	if (from_user(&sregs, arg, sizeof(sregs)))
		return -EFAULT;
	return vcpu_set_kvm_sregs(&k->v, &sregs);
}

static long get_fpu(void *obj, unsigned long arg)
{
	struct kvm_fpu fpu;

	memset(&fpu, 0, sizeof(fpu));
	popf_get_fpu(obj, &fpu);
	return to_user(arg, &fpu, sizeof(fpu));
}

static long set_fpu(void *obj, unsigned long arg)
{
	struct kvm_fpu fpu;

	if (from_user(&fpu, arg, sizeof(fpu)))
		return -EFAULT;
	popf_set_fpu(obj, &fpu);
	return 0;
}

static long get_xsave_sized(struct popf_kvcpu *k, unsigned long arg, u32 size)
{
	void *buf = kvzalloc(size, GFP_KERNEL);
	long err;

	if (!buf)
		return -ENOMEM;
	popf_get_xsave(k, buf, size);
	err = to_user(arg, buf, size);
	kvfree(buf);
	return err;
}

static long get_xsave(void *obj, unsigned long arg)
{
	return get_xsave_sized(obj, arg, sizeof(struct kvm_xsave));
}

static long get_xsave2(void *obj, unsigned long arg)
{
	return get_xsave_sized(obj, arg, popf_xsave_size());
}

static long set_xsave(void *obj, unsigned long arg)
{
	void *buf = vmemdup_user((void __user *)arg, popf_xsave_size());
	long err;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	err = popf_set_xsave(obj, buf);
	kvfree(buf);
	return err;
}

static long get_xcrs(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_xcrs xcrs;

	memset(&xcrs, 0, sizeof(xcrs));
	xcrs.nr_xcrs = 1;
	xcrs.xcrs[0].value = k->v.xcr0;
	return to_user(arg, &xcrs, sizeof(xcrs));
}

/* The rules of XSETBV. */
static bool xcr0_ok(u64 xcr0)
{
	const u64 avx512 = XFEATURE_MASK_AVX512;

	if (!(xcr0 & XFEATURE_MASK_FP) || (xcr0 & ~host_xcr0()))
		return false;
	if ((xcr0 & XFEATURE_MASK_YMM) && !(xcr0 & XFEATURE_MASK_SSE))
		return false;
	if ((xcr0 & avx512) && ((xcr0 & avx512) != avx512 ||
				!(xcr0 & XFEATURE_MASK_YMM)))
		return false;
	return !(xcr0 & XFEATURE_MASK_BNDREGS) == !(xcr0 & XFEATURE_MASK_BNDCSR);
}

static long set_xcrs(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_xcrs xcrs;
	u32 i;

	if (from_user(&xcrs, arg, sizeof(xcrs)))
		return -EFAULT;
	if (xcrs.nr_xcrs > KVM_MAX_XCRS || xcrs.flags)
		return -EINVAL;
	for (i = 0; i < xcrs.nr_xcrs; i++) {
		if (xcrs.xcrs[i].xcr != 0)
			continue;
		if (!xcr0_ok(xcrs.xcrs[i].value))
			return -EINVAL;
		k->v.xcr0 = xcrs.xcrs[i].value;
		return 0;
	}
	return -EINVAL;
}

/* How many entries were read or written before the first refusal. */
static long msrs_walk(struct vcpu *v, struct kvm_msr_entry *entries, u32 n, bool set)
{
	u32 i;

	for (i = 0; i < n; i++) {
		struct kvm_msr_entry *e = &entries[i];
		u64 data = e->data;

		if (set ? vcpu_set_msr(v, e->index, data, true) :
			  vcpu_get_msr(v, e->index, &data, true))
			break;
		e->data = data;
		cond_resched();
	}
	return i;
}

static long msrs_io(struct popf_kvcpu *k, unsigned long arg, bool set)
{
	struct kvm_msrs __user *user = (void __user *)arg;
	struct kvm_msr_entry *entries;
	struct kvm_msrs head;
	size_t size;
	long n;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.nmsrs >= POPF_MAX_IO_MSRS)
		return -E2BIG;
	size = head.nmsrs * sizeof(*entries);
	entries = vmemdup_user(user->entries, size);
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	n = msrs_walk(&k->v, entries, head.nmsrs, set);
	if (!set && copy_to_user(user->entries, entries, size))
		n = -EFAULT;
	kvfree(entries);
	return n;
}

static long get_msrs(void *obj, unsigned long arg)
{
	return msrs_io(obj, arg, false);
}

static long set_msrs(void *obj, unsigned long arg)
{
	return msrs_io(obj, arg, true);
}

/* nent comes back whether the caller's array was long enough or not. */
static long get_cpuid2(void *obj, unsigned long arg)
{
	struct kvm_cpuid2 __user *user = (void __user *)arg;
	struct popf_kvcpu *k = obj;
	const struct vcpu_cpuid *c = &k->v.cpuid;
	struct kvm_cpuid2 head;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (put_user(c->nent, &user->nent))
		return -EFAULT;
	if (head.nent < c->nent)
		return -E2BIG;
	if (copy_to_user(user->entries, c->entries, c->nent * sizeof(c->entries[0])))
		return -EFAULT;
	return 0;
}

static long set_cpuid2(void *obj, unsigned long arg)
{
	struct kvm_cpuid2 __user *user = (void __user *)arg;
	struct kvm_cpuid_entry2 *entries;
	struct popf_kvcpu *k = obj;
	struct kvm_cpuid2 head;
	long err;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.nent > POPF_MAX_CPUID_ENTRIES)
		return -E2BIG;
	entries = vmemdup_user(user->entries, head.nent * sizeof(*entries));
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	err = vcpu_set_cpuid(&k->v, entries, head.nent);
	kvfree(entries);
	return err;
}

static long get_lapic(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_lapic_state *state;
	long err;

	if (!k->v.lapic)
		return -EINVAL;
	state = kzalloc(sizeof(*state), GFP_KERNEL);
	if (!state)
		return -ENOMEM;
	lapic_get_state(k->v.lapic, state);
	err = to_user(arg, state, sizeof(*state));
	kfree(state);
	return err;
}

static long set_lapic(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_lapic_state *state;
	long err;

	if (!k->v.lapic)
		return -EINVAL;
	state = memdup_user((void __user *)arg, sizeof(*state));
	if (IS_ERR(state))
		return PTR_ERR(state);
	err = lapic_set_state(k->v.lapic, state);
	kfree(state);
	return err;
}

static long get_mp_state(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_mp_state mp = { .mp_state = k->v.mp_state };

	return to_user(arg, &mp, sizeof(mp));
}

/* Halting is the local APIC's side of the line; others need more vCPUs. */
static long set_mp_state(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_mp_state mp;

	if (from_user(&mp, arg, sizeof(mp)))
		return -EFAULT;
	if (mp.mp_state != KVM_MP_STATE_RUNNABLE &&
	    (mp.mp_state != KVM_MP_STATE_HALTED || !k->v.lapic))
		return -EINVAL;
	k->v.mp_state = mp.mp_state;
	k->v.halted = mp.mp_state == KVM_MP_STATE_HALTED;
	return 0;
}

static long get_vcpu_events(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_vcpu_events events;

	memset(&events, 0, sizeof(events));
	vcpu_get_kvm_events(&k->v, &events);
	return to_user(arg, &events, sizeof(events));
}

static long set_vcpu_events(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_vcpu_events events;

	if (from_user(&events, arg, sizeof(events)))
		return -EFAULT;
	return vcpu_set_kvm_events(&k->v, &events);
}

static long get_debugregs(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_debugregs regs;

	memset(&regs, 0, sizeof(regs));
	vcpu_get_kvm_debugregs(&k->v, &regs);
	return to_user(arg, &regs, sizeof(regs));
}

static long set_debugregs(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct kvm_debugregs regs;

	if (from_user(&regs, arg, sizeof(regs)))
		return -EFAULT;
	return vcpu_set_kvm_debugregs(&k->v, &regs);
}

const struct popf_ioctl popf_vcpu_state_ioctls[] = {
	{ KVM_GET_REGS, get_regs },
	{ KVM_SET_REGS, set_regs },
	{ KVM_GET_SREGS, get_sregs },
	{ KVM_SET_SREGS, set_sregs },
	{ KVM_GET_FPU, get_fpu },
	{ KVM_SET_FPU, set_fpu },
	{ KVM_GET_XSAVE, get_xsave },
	{ KVM_GET_XSAVE2, get_xsave2 },
	{ KVM_SET_XSAVE, set_xsave },
	{ KVM_GET_XCRS, get_xcrs },
	{ KVM_SET_XCRS, set_xcrs },
	{ KVM_GET_MSRS, get_msrs },
	{ KVM_SET_MSRS, set_msrs },
	{ KVM_GET_CPUID2, get_cpuid2 },
	{ KVM_SET_CPUID2, set_cpuid2 },
	{ KVM_GET_LAPIC, get_lapic },
	{ KVM_SET_LAPIC, set_lapic },
	{ KVM_GET_MP_STATE, get_mp_state },
	{ KVM_SET_MP_STATE, set_mp_state },
	{ KVM_GET_VCPU_EVENTS, get_vcpu_events },
	{ KVM_SET_VCPU_EVENTS, set_vcpu_events },
	{ KVM_GET_DEBUGREGS, get_debugregs },
	{ KVM_SET_DEBUGREGS, set_debugregs },
};

const size_t popf_vcpu_state_ioctl_count = ARRAY_SIZE(popf_vcpu_state_ioctls);
