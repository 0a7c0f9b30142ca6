// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control and debug registers, EFER and XCR0: which values the guest may load and
 * what a load changes.
 *
 * Invariants:
 *  1. EFER.LMA == EFER.LME && CR0.PG, and LMA implies CR4.PAE.
 *  2. A setter that returns 1 has changed nothing.
 */
#include "monitor.h"

#define CR0_KNOWN                                                          \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | \
	 CR0_NW | CR0_CD | CR0_PG)
#define CR4_OFFERED                                                          \
	(CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE |   \
	 CR4_OSFXSR | CR4_OSXMMEXCPT)
/* Guest-physical addresses have 40 bits: vcpu_shadow_mode(). */
#define CR3_RESERVED (~0ull << 40)
#define XCR0_FP 1ull
#define XCR0_SSE 2ull
#define XCR0_AVX 4ull
#define XCR0_AVX512 0xe0ull

static u64 cr4_allowed(const struct vcpu *v)
{
	u64 allowed = CR4_OFFERED;

	if (CPUID_HAS_FSGSBASE(v))
		allowed |= CR4_FSGSBASE;
	if (CPUID_HAS_UMIP(v))
		allowed |= CR4_UMIP;
	if (CPUID_HAS_XSAVE(v))
		allowed |= CR4_OSXSAVE;
	return allowed;
}

static u64 efer_allowed(const struct vcpu *v)
{
	u64 allowed = GEFER_SCE;

	if (CPUID_HAS_LM(v))
		allowed |= GEFER_LME | GEFER_LMA;
	if (CPUID_HAS_NX(v))
		allowed |= GEFER_NX;
	return allowed;
}

static bool cr0_valid(u64 val)
{
	if (val >> 32)
		return false;
	if ((val & CR0_PG) && !(val & CR0_PE))
		return false;
	return !(val & CR0_NW) || (val & CR0_CD);
}

int vcpu_set_cr0(struct vcpu *v, u64 val)
{
	u64 old = v->cr0, changed;

	if (!cr0_valid(val))
		return 1;
	val = (val & CR0_KNOWN) | CR0_ET;
	if ((val & CR0_PG) && !(old & CR0_PG) && (v->efer & GEFER_LME) &&
	    (!(v->cr4 & CR4_PAE) || v->seg[SEG_CS].l))
		return 1;
	if (!(val & CR0_PG) && vcpu_is_64bit(v))
		return 1;
	changed = val ^ old;
	v->cr0 = val;
	if (changed & CR0_PG) {
		if ((val & CR0_PG) && (v->efer & GEFER_LME))
			v->efer |= GEFER_LMA;
		else
			v->efer &= ~GEFER_LMA;
	}
	if (changed & (CR0_PG | CR0_WP))
		vcpu_mmu_changed(v, changed & CR0_PG);
	return 0;
}

int vcpu_set_cr3(struct vcpu *v, u64 val)
{
	u64 old = v->cr3;

	if (vcpu_long_mode(v) && (val & CR3_RESERVED))
		return 1;
	v->cr3 = val;
	vcpu_cr3_changed(v, old);
	return 0;
}

int vcpu_set_cr4(struct vcpu *v, u64 val)
{
	u64 changed = val ^ v->cr4;

	if (val & ~cr4_allowed(v))
		return 1;
	if (vcpu_long_mode(v) && !(val & CR4_PAE))
		return 1;
	v->cr4 = val;
	if (changed & (CR4_PSE | CR4_PAE | CR4_PGE))
		vcpu_mmu_changed(v, changed & (CR4_PSE | CR4_PAE));
	return 0;
}

int vcpu_set_cr8(struct vcpu *v, u64 val)
{
	if (val & ~15ull)
		return 1;
	v->cr8 = val;
	if (v->lapic)
		lapic_set_tpr(v->lapic, val);
	return 0;
}

int vcpu_set_efer(struct vcpu *v, u64 val)
{
	u64 changed;

	if (val & ~efer_allowed(v))
		return 1;
	/* LMA is the processor's: a written value is ignored. */
	val = (val & ~GEFER_LMA) | (v->efer & GEFER_LMA);
	changed = val ^ v->efer;
	if ((changed & GEFER_LME) && (v->cr0 & CR0_PG))
		return 1;
	v->efer = val;
	if (changed & GEFER_NX)
		vcpu_mmu_changed(v, true);
	return 0;
}

int vcpu_set_dr(struct vcpu *v, unsigned int n, u64 val)
{
	switch (n) {
	case 0 ... 3:
		v->dr[n] = val;
		debug_changed(v);
		return 0;
	case 4:
	case 6:
		if (val >> 32)
			return 1;
		v->dr6 = (val & DR6_WRITABLE) | DR6_ONES;
		return 0;
	case 5:
	case 7:
		if (val >> 32)
			return 1;
		v->dr7 = (val & DR7_WRITABLE) | DR7_ONES;
		debug_changed(v);
		return 0;
	}
	return 1;
}

int control_set_xcr(struct vcpu *v, u32 index, u64 val)
{
	u32 offered[4];
	u64 allowed;

	if (index)
		return 1;
	vcpu_get_cpuid(v, 0xd, 0, offered);
	allowed = host_xcr0() & (offered[0] | (u64)offered[3] << 32);
	if (!(val & XCR0_FP) || (val & ~allowed))
		return 1;
	if ((val & XCR0_AVX) && !(val & XCR0_SSE))
		return 1;
	if ((val & XCR0_AVX512) &&
	    ((val & XCR0_AVX512) != XCR0_AVX512 || !(val & XCR0_AVX)))
		return 1;
	v->xcr0 = val;
	return 0;
}

int control_check(struct vcpu *v, const struct kvm_sregs *s)
{
	bool lma = s->efer & GEFER_LMA;

	if (!cr0_valid(s->cr0) || (s->cr4 & ~cr4_allowed(v)) ||
	    (s->efer & ~efer_allowed(v)) || (s->cr8 & ~15ull))
		return -EINVAL;
	if (lma != ((s->efer & GEFER_LME) && (s->cr0 & CR0_PG)))
		return -EINVAL;
	if (lma && (!(s->cr4 & CR4_PAE) || (s->cr3 & CR3_RESERVED)))
		return -EINVAL;
	/* CS.L means nothing outside long mode, and excludes CS.D in it. */
	if (s->cs.l && (!lma || s->cs.db))
		return -EINVAL;
	return 0;
}
