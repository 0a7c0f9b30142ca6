// SPDX-License-Identifier: GPL-2.0-only
/*
 * Model-specific registers. Unknown ones raise #GP, which is what the operating
 * systems' probing counts on.
 *
 * Invariant: a setter that returns 1 has changed nothing.
 */
#include "monitor.h"

#define GMSR_PLATFORM_ID 0x17
#define GMSR_APIC_BASE 0x1b
#define GMSR_FEAT_CTL 0x3a
#define GMSR_TSC 0x10
#define GMSR_KVM_WALL_CLOCK_OLD 0x11
#define GMSR_KVM_SYSTEM_TIME_OLD 0x12
#define GMSR_SMI_COUNT 0x34
#define GMSR_TSC_ADJUST 0x3b
#define GMSR_SPEC_CTRL 0x48
#define GMSR_UCODE_REV 0x8b
#define GMSR_UCODE_WRITE 0x79
#define GMSR_PLATFORM_INFO 0xce
#define GMSR_MTRRCAP 0xfe
#define GMSR_ARCH_CAP 0x10a
#define GMSR_MISC_FEATURES 0x140
#define GMSR_SYSENTER_CS 0x174
#define GMSR_SYSENTER_ESP 0x175
#define GMSR_SYSENTER_EIP 0x176
#define GMSR_MCG_CAP 0x179
#define GMSR_MCG_STATUS 0x17a
#define GMSR_MCG_CTL 0x17b
#define GMSR_MISC_ENABLE 0x1a0
#define GMSR_DEBUGCTL 0x1d9
#define GMSR_MTRR_FIRST_VAR 0x200
#define GMSR_MTRR_LAST_VAR 0x20f
#define GMSR_PAT 0x277
#define GMSR_MTRR_DEF 0x2ff
#define GMSR_MC0_CTL 0x400
#define GMSR_TSC_DEADLINE 0x6e0
#define GMSR_X2APIC_FIRST 0x800
#define GMSR_X2APIC_LAST 0x8ff
#define GMSR_KVM_WALL_CLOCK_NEW 0x4b564d00
#define GMSR_KVM_SYSTEM_TIME_NEW 0x4b564d01
#define GMSR_EFER 0xc0000080
#define GMSR_STAR 0xc0000081
#define GMSR_LSTAR 0xc0000082
#define GMSR_CSTAR 0xc0000083
#define GMSR_SFMASK 0xc0000084
#define GMSR_FS_BASE 0xc0000100
#define GMSR_GS_BASE 0xc0000101
#define GMSR_KERNEL_GS_BASE 0xc0000102
#define GMSR_TSC_AUX 0xc0000103
#define GMSR_AMD_DE_CFG 0xc0011029

#define MCE_BANKS 10
#define MCE_BANKS_HOST 32

/*
 * What the guest need not defend itself against under popf.
 *
 * RDCL_NO, SKIP_L1DFL: the user view maps no page of the guest kernel, and a
 *	not-present spte carries no address bits. A guest's own page-table isolation
 *	would add nothing.
 * IBRS_ALL, RRSBA clear, BHI_NO, ITS_NO: guest kernel code runs translated. Its
 *	indirect branches and returns all become the translator's lookup and one
 *	jump, so a retpoline, an aligned thunk or a history-clearing loop in the
 *	guest would be translated into that same jump and protect nothing. What a
 *	mispredicted jump can reach is the translation cache only: the kernel view
 *	has every other page NX. Anything stronger is up to the world switch.
 * MDS_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, RFDS_NO: the way from guest
 *	kernel to guest user leads through the world switch, which clears CPU buffers
 *	where the processor needs it; no TSX is offered and no MMIO is the guest's.
 * PSCHANGE_MC_NO: large executable mappings are the host's, not the guest's.
 * PBRSB_NO: concerns VM exits, which popf has none of.
 *
 * Not claimed: SSB_NO and GDS_NO, which direct execution inherits from the
 * processor as it is.
 */
#define ARCH_CAP_VALUE                                                    \
	(1ull << 0 | 1ull << 1 | 1ull << 3 | 1ull << 5 | 1ull << 6 | 1ull << 8 | \
	 1ull << 13 | 1ull << 14 | 1ull << 15 | 1ull << 20 | 1ull << 24 |      \
	 1ull << 27 | 1ull << 62)

static const u32 msr_index_list[] = {
	GMSR_TSC,
	GMSR_KVM_WALL_CLOCK_OLD,
	GMSR_KVM_SYSTEM_TIME_OLD,
	GMSR_APIC_BASE,
	GMSR_TSC_ADJUST,
	GMSR_SPEC_CTRL,
	GMSR_SYSENTER_CS,
	GMSR_SYSENTER_ESP,
	GMSR_SYSENTER_EIP,
	GMSR_MCG_STATUS,
	GMSR_MCG_CTL,
	GMSR_MISC_ENABLE,
	GMSR_PAT,
	GMSR_TSC_DEADLINE,
	GMSR_KVM_WALL_CLOCK_NEW,
	GMSR_KVM_SYSTEM_TIME_NEW,
	GMSR_EFER,
	GMSR_STAR,
	GMSR_LSTAR,
	GMSR_CSTAR,
	GMSR_SFMASK,
	GMSR_FS_BASE,
	GMSR_GS_BASE,
	GMSR_KERNEL_GS_BASE,
	GMSR_TSC_AUX,
	GMSR_ARCH_CAP,
};

const u32 *vcpu_msr_list(u32 *count)
{
	*count = ARRAY_SIZE(msr_index_list);
	return msr_index_list;
}

/* Index into v->mtrr[]: variable ranges first, then the fixed ones; -1: none. */
static int mtrr_index(u32 msr)
{
	switch (msr) {
	case GMSR_MTRR_FIRST_VAR ... GMSR_MTRR_LAST_VAR:
		return msr - GMSR_MTRR_FIRST_VAR;
	case 0x250:
		return 16;
	case 0x258:
	case 0x259:
		return 17 + msr - 0x258;
	case 0x268 ... 0x26f:
		return 19 + msr - 0x268;
	}
	return -1;
}

static bool memory_types_ok(u64 val, bool pat)
{
	u32 i, type;

	for (i = 0; i < 8; i++, val >>= 8) {
		type = val & 0xff;
		if (type > 7 || type == 2 || type == 3 || (!pat && type == 7))
			return false;
	}
	return true;
}

static int set_mtrr(struct vcpu *v, u32 msr, int index, u64 val)
{
	u8 type = val & 0xff;

	if (index >= 16) {
		if (!memory_types_ok(val, false))
			return 1;
	} else if (msr & 1) {
		if (val & (~0ull << 40 | 0x7ff))
			return 1;
	} else if ((val & (~0ull << 40 | 0xf00)) || type > 6 || type == 2 ||
		   type == 3) {
		return 1;
	}
	v->mtrr[index] = val;
	return 0;
}

/* The guest's TSC jumps; a deadline stays what it is in guest terms. */
static void move_tsc(struct vcpu *v, u64 delta)
{
	u64 deadline = v->lapic ? lapic_get_tsc_deadline(v->lapic) : 0;

	v->tsc_offset += delta;
	if (deadline)
		lapic_set_tsc_deadline(v->lapic, deadline);
}

static int set_tsc(struct vcpu *v, u64 val, bool host)
{
	u64 delta = val - vcpu_guest_tsc(v);

	move_tsc(v, delta);
	if (!host)
		v->tsc_adjust += delta;
	return 0;
}

static int set_tsc_adjust(struct vcpu *v, u64 val, bool host)
{
	if (!host)
		move_tsc(v, val - v->tsc_adjust);
	v->tsc_adjust = val;
	return 0;
}

static int set_apic_base(struct vcpu *v, u64 val, bool host)
{
	if (v->lapic)
		return lapic_set_base(v->lapic, val, host);
	if (val & ~(APIC_BASE_ADDR | APIC_BASE_EN | APIC_BASE_BSP))
		return 1;
	v->apic_base = val;
	return 0;
}

static int set_efer(struct vcpu *v, u64 val, bool host)
{
	/* Userland restores EFER together with CR0, in either order. */
	if (host && !((val ^ v->efer) & ~GEFER_LMA))
		return 0;
	return vcpu_set_efer(v, val);
}

static int set_mce(struct vcpu *v, u32 msr, u64 val, bool host)
{
	u32 i = msr - GMSR_MC0_CTL;

	if (i >= (host ? MCE_BANKS_HOST : MCE_BANKS) * 4)
		return 1;
	if (!host && (i & 3) == 0 && val && val != ~0ull &&
	    val != ~(1ull << 10))
		return 1;
	if (!host && (i & 3) == 1 && val)
		return 1;
	v->mc[i] = val;
	return 0;
}

static int set_canonical(u64 *field, u64 val)
{
	if (!is_canonical(val))
		return 1;
	*field = val;
	return 0;
}

static int set_segment_base(struct vcpu *v, enum popf_seg seg, u64 val)
{
	if (!is_canonical(val))
		return 1;
	v->seg[seg].base = val;
	return 0;
}

static int set_bits(u64 *field, u64 val, u64 allowed)
{
	if (val & ~allowed)
		return 1;
	*field = val;
	return 0;
}

/* System-call and segment MSRs. -1: not one of them. */
static int set_syscall_msr(struct vcpu *v, u32 msr, u64 val, bool host)
{
	switch (msr) {
	case GMSR_EFER:
		return set_efer(v, val, host);
	case GMSR_STAR:
		v->star = val;
		return 0;
	case GMSR_LSTAR:
		return set_canonical(&v->lstar, val);
	case GMSR_CSTAR:
		return set_canonical(&v->cstar, val);
	case GMSR_SFMASK:
		return set_bits(&v->sfmask, val, 0xffffffff);
	case GMSR_FS_BASE:
		return set_segment_base(v, SEG_FS, val);
	case GMSR_GS_BASE:
		return set_segment_base(v, SEG_GS, val);
	case GMSR_KERNEL_GS_BASE:
		return set_canonical(&v->kernel_gs_base, val);
	case GMSR_SYSENTER_CS:
		v->sysenter_cs = (u32)val;
		return 0;
	case GMSR_SYSENTER_ESP:
		return set_canonical(&v->sysenter_esp, val);
	case GMSR_SYSENTER_EIP:
		return set_canonical(&v->sysenter_eip, val);
	case GMSR_TSC_AUX:
		if (!host && !CPUID_HAS_RDTSCP(v) && !CPUID_HAS_RDPID(v))
			return 1;
		return set_bits(&v->tsc_aux, val, 0xffffffff);
	}
	return -1;
}

/* MSRs of AMD processors that Linux touches: read as zero, writes change nothing. */
static bool is_ignored(u32 msr)
{
	switch (msr) {
	case 0xc0010010: /* SYSCFG */
	case 0xc0010015: /* HWCR */
	case 0xc001001d: /* TOP_MEM2 */
	case 0xc001001f: /* NB_CFG */
	case 0xc0010055: /* INT_PENDING_MSG */
	case 0xc0010112: /* TSEG address */
	case 0xc0010113: /* TSEG mask */
	case 0xc0010140: /* OSVW length */
	case 0xc0010141: /* OSVW status */
	case 0xc0010117: /* VM_HSAVE_PA */
	case 0xc0011020: /* LS_CFG */
	case 0xc0011022: /* DC_CFG */
	case 0xc001102a: /* BU_CFG2 */
	case GMSR_SMI_COUNT:
	case 0x2a: /* EBL_CR_POWERON */
	case GMSR_PLATFORM_ID:
		return true;
	}
	return false;
}

int vcpu_set_msr(struct vcpu *v, u32 msr, u64 val, bool host)
{
	int index = mtrr_index(msr);
	int ret = set_syscall_msr(v, msr, val, host);

	if (ret >= 0)
		return ret;
	if (index >= 0)
		return set_mtrr(v, msr, index, val);
	switch (msr) {
	case GMSR_TSC:
		return set_tsc(v, val, host);
	case GMSR_TSC_ADJUST:
		return set_tsc_adjust(v, val, host);
	case GMSR_APIC_BASE:
		return set_apic_base(v, val, host);
	case GMSR_TSC_DEADLINE:
		if (!v->lapic)
			return host && !val ? 0 : 1;
		lapic_set_tsc_deadline(v->lapic, val);
		return 0;
	case GMSR_X2APIC_FIRST ... GMSR_X2APIC_LAST:
		return v->lapic ? lapic_msr_write(v->lapic, msr, val) : 1;
	case GMSR_KVM_WALL_CLOCK_OLD:
	case GMSR_KVM_SYSTEM_TIME_OLD:
	case GMSR_KVM_WALL_CLOCK_NEW:
	case GMSR_KVM_SYSTEM_TIME_NEW:
		return clock_msr_write(v, msr, val);
	case GMSR_PAT:
		if (!memory_types_ok(val, true))
			return 1;
		v->pat = val;
		return 0;
	case GMSR_MTRR_DEF:
		if ((val & ~0xcffull) || (val & 0xff) > 6 ||
		    (val & 0xff) == 2 || (val & 0xff) == 3)
			return 1;
		v->mtrr_def = val;
		return 0;
	case GMSR_MISC_ENABLE:
		v->misc_enable = val;
		return 0;
	case GMSR_MCG_STATUS:
		v->mcg_status = val;
		return 0;
	case GMSR_MCG_CTL:
		if (!host && val && val != ~0ull)
			return 1;
		v->mcg_ctl = val;
		return 0;
	case GMSR_MC0_CTL ... GMSR_MC0_CTL + MCE_BANKS_HOST * 4 - 1:
		return set_mce(v, msr, val, host);
	case GMSR_SPEC_CTRL:
		/* IBRS, STIBP, SSBD */
		return set_bits(&v->spec_ctrl, val, 7);
	case GMSR_ARCH_CAP:
	case GMSR_MCG_CAP:
	case GMSR_PLATFORM_INFO:
		return host ? 0 : 1;
	case GMSR_MISC_FEATURES:
		return val ? 1 : 0;
	case GMSR_UCODE_REV:
	case GMSR_UCODE_WRITE:
	case GMSR_AMD_DE_CFG:
		return 0;
	case GMSR_DEBUGCTL:
		return val & ~3ull ? 1 : 0;
	}
	return is_ignored(msr) ? 0 : 1;
}

static int get_syscall_msr(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	switch (msr) {
	case GMSR_EFER:
		*val = v->efer;
		return 0;
	case GMSR_STAR:
		*val = v->star;
		return 0;
	case GMSR_LSTAR:
		*val = v->lstar;
		return 0;
	case GMSR_CSTAR:
		*val = v->cstar;
		return 0;
	case GMSR_SFMASK:
		*val = v->sfmask;
		return 0;
	case GMSR_FS_BASE:
		*val = v->seg[SEG_FS].base;
		return 0;
	case GMSR_GS_BASE:
		*val = v->seg[SEG_GS].base;
		return 0;
	case GMSR_KERNEL_GS_BASE:
		*val = v->kernel_gs_base;
		return 0;
	case GMSR_SYSENTER_CS:
		*val = v->sysenter_cs;
		return 0;
	case GMSR_SYSENTER_ESP:
		*val = v->sysenter_esp;
		return 0;
	case GMSR_SYSENTER_EIP:
		*val = v->sysenter_eip;
		return 0;
	case GMSR_TSC_AUX:
		*val = v->tsc_aux;
		return !host && !CPUID_HAS_RDTSCP(v) && !CPUID_HAS_RDPID(v);
	}
	return -1;
}

static int get_mce(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	u32 i = msr - GMSR_MC0_CTL;

	if (i >= (host ? MCE_BANKS_HOST : MCE_BANKS) * 4)
		return 1;
	*val = v->mc[i];
	return 0;
}

int vcpu_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	int index = mtrr_index(msr);
	int ret;

	*val = 0;
	ret = get_syscall_msr(v, msr, val, host);
	if (ret >= 0)
		return ret;
	if (index >= 0) {
		*val = v->mtrr[index];
		return 0;
	}
	switch (msr) {
	case GMSR_TSC:
		*val = vcpu_guest_tsc(v);
		return 0;
	case GMSR_TSC_ADJUST:
		*val = v->tsc_adjust;
		return 0;
	case GMSR_APIC_BASE:
		*val = v->apic_base;
		return 0;
	case GMSR_TSC_DEADLINE:
		if (!v->lapic)
			return host ? 0 : 1;
		*val = lapic_get_tsc_deadline(v->lapic);
		return 0;
	case GMSR_X2APIC_FIRST ... GMSR_X2APIC_LAST:
		return v->lapic ? lapic_msr_read(v->lapic, msr, val) : 1;
	case GMSR_KVM_WALL_CLOCK_OLD:
	case GMSR_KVM_WALL_CLOCK_NEW:
		*val = v->msr_kvm_wall_clock;
		return 0;
	case GMSR_KVM_SYSTEM_TIME_OLD:
	case GMSR_KVM_SYSTEM_TIME_NEW:
		*val = v->msr_kvm_system_time;
		return 0;
	case GMSR_PAT:
		*val = v->pat;
		return 0;
	case GMSR_MTRRCAP:
		*val = 0x508; /* 8 variable ranges, fixed ranges, write combining */
		return 0;
	case GMSR_MTRR_DEF:
		*val = v->mtrr_def;
		return 0;
	case GMSR_MISC_ENABLE:
		*val = v->misc_enable;
		return 0;
	case GMSR_MCG_CAP:
		*val = MCE_BANKS | 0x100; /* MCG_CTL present */
		return 0;
	case GMSR_MCG_STATUS:
		*val = v->mcg_status;
		return 0;
	case GMSR_MCG_CTL:
		*val = v->mcg_ctl;
		return 0;
	case GMSR_MC0_CTL ... GMSR_MC0_CTL + MCE_BANKS_HOST * 4 - 1:
		return get_mce(v, msr, val, host);
	case GMSR_SPEC_CTRL:
		*val = v->spec_ctrl;
		return 0;
	case GMSR_ARCH_CAP:
		*val = ARCH_CAP_VALUE;
		return 0;
	case GMSR_FEAT_CTL:
		*val = 1; /* locked, nothing enabled */
		return 0;
	case GMSR_UCODE_REV:
		*val = cpuid_is_amd(v) ? 0x01000065 : 0x100000000ull;
		return 0;
	case GMSR_AMD_DE_CFG:
		*val = 2; /* LFENCE serialises */
		return 0;
	case GMSR_PLATFORM_INFO:
	case GMSR_MISC_FEATURES:
	case GMSR_DEBUGCTL:
		return 0;
	}
	return is_ignored(msr) ? 0 : 1;
}
