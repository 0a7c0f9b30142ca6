// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's x87, SSE and AVX state, through the interface that the host kernel
 * has for KVM.
 *
 * From vcpu_fpu_enter() to vcpu_fpu_leave() the guest's state is the thread's:
 * the scheduler saves and restores it, and the run loop makes sure that it is in
 * the registers right before the guest world is entered.
 */
#include <linux/sched.h>
#include <linux/thread_info.h>

#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>

#include "kmod.h"

int vcpu_fpu_init(struct vcpu *v)
{
	struct popf_kvcpu *k = to_kvcpu(v);

	if (!fpu_alloc_guest_fpstate(&k->fpu))
		return -ENOMEM;
	v->fpu = &k->fpu;
	return 0;
}

void vcpu_fpu_fini(struct vcpu *v)
{
	struct popf_kvcpu *k = to_kvcpu(v);

	if (v->fpu)
		fpu_free_guest_fpstate(&k->fpu);
	v->fpu = NULL;
}

void vcpu_fpu_enter(struct vcpu *v)
{
	fpu_swap_kvm_fpstate(&to_kvcpu(v)->fpu, true);
}

void vcpu_fpu_leave(struct vcpu *v)
{
	fpu_swap_kvm_fpstate(&to_kvcpu(v)->fpu, false);
}

/*
 * Without the features that need the host's permission (AMX) and without PKRU,
 * which the host swaps apart from the rest.
 */
u64 host_xcr0(void)
{
	const u64 offered = XFEATURE_MASK_FP | XFEATURE_MASK_SSE |
			    XFEATURE_MASK_YMM | XFEATURE_MASK_AVX512;

	if (!boot_cpu_has(X86_FEATURE_OSXSAVE))
		return XFEATURE_MASK_FP;
	return xgetbv(XCR_XFEATURE_ENABLED_MASK) & offered;
}

/* --- KVM_GET and KVM_SET --- */

void popf_get_fpu(struct popf_kvcpu *k, struct kvm_fpu *fpu)
{
	const struct fxregs_state *fx = &k->fpu.fpstate->regs.fxsave;

	memcpy(fpu->fpr, fx->st_space, sizeof(fpu->fpr));
	fpu->fcw = fx->cwd;
	fpu->fsw = fx->swd;
	fpu->ftwx = fx->twd;
	fpu->last_opcode = fx->fop;
	fpu->last_ip = fx->rip;
	fpu->last_dp = fx->rdp;
	memcpy(fpu->xmm, fx->xmm_space, sizeof(fpu->xmm));
	fpu->mxcsr = fx->mxcsr;
}

/* Reserved MXCSR bits would fault when the state is loaded. */
void popf_set_fpu(struct popf_kvcpu *k, const struct kvm_fpu *fpu)
{
	union fpregs_state *regs = &k->fpu.fpstate->regs;
	struct fxregs_state *fx = &regs->fxsave;

	memcpy(fx->st_space, fpu->fpr, sizeof(fpu->fpr));
	fx->cwd = fpu->fcw;
	fx->swd = fpu->fsw;
	fx->twd = fpu->ftwx;
	fx->fop = fpu->last_opcode;
	fx->rip = fpu->last_ip;
	fx->rdp = fpu->last_dp;
	memcpy(fx->xmm_space, fpu->xmm, sizeof(fpu->xmm));
	fx->mxcsr = fpu->mxcsr & 0xffff;
	/* Components marked as in their initial state would not be loaded. */
	if (boot_cpu_has(X86_FEATURE_XSAVE))
		regs->xsave.header.xfeatures |= XFEATURE_MASK_FPSSE;
}

u32 popf_xsave_size(void)
{
	const u64 xcr0 = host_xcr0();
	u32 size = sizeof(struct kvm_xsave);
	u32 i;

	if (!boot_cpu_has(X86_FEATURE_XSAVE))
		return size;
	for (i = 2; i < 63; i++) {
		u32 eax, ebx, ecx, edx;

		if (!(xcr0 & (1ull << i)))
			continue;
		cpuid_count(0xd, i, &eax, &ebx, &ecx, &edx);
		size = max(size, eax + ebx);
	}
	return size;
}

void popf_get_xsave(struct popf_kvcpu *k, void *buf, u32 size)
{
	fpu_copy_guest_fpstate_to_uabi(&k->fpu, buf, size, host_xcr0(), 0);
}

int popf_set_xsave(struct popf_kvcpu *k, const void *buf)
{
	u32 pkru = 0;

	return fpu_copy_uabi_to_guest_fpstate(&k->fpu, buf, host_xcr0(), &pkru);
}
