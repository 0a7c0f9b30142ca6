// SPDX-License-Identifier: GPL-2.0-only
/* Control registers, MSRs, CPUID and the state ioctls refuse what they must. */
#include "mon_rig.h"

/* --- control registers --- */

static void cr0_consistency(void **state)
{
	struct vcpu *v = &rig->v;
	u64 cr0 = v->cr0;

	assert_int_equal(vcpu_set_cr0(v, cr0 | 1ull << 32), 1);
	assert_int_equal(vcpu_set_cr0(v, cr0 & ~CR0_PE), 1); /* PG without PE */
	assert_int_equal(vcpu_set_cr0(v, cr0 | CR0_NW), 1); /* NW without CD */
	assert_int_equal(vcpu_set_cr0(v, cr0 & ~CR0_PG), 1); /* in 64-bit code */
	assert_int_equal(v->cr0, cr0);
	assert_int_equal(rig->mmu_changes, 0);
	assert_int_equal(vcpu_set_cr0(v, cr0 ^ CR0_WP), 0);
	assert_int_equal(rig->mmu_changes, 1);
	assert_int_equal(vcpu_set_cr0(v, cr0 | CR0_TS), 0);
	assert_int_equal(rig->mmu_changes, 2); /* WP went back */
	assert_int_equal(vcpu_set_cr0(v, cr0 & ~(CR0_ET | CR0_TS)), 0);
	assert_true(v->cr0 & CR0_ET);
}

static void long_mode_comes_and_goes_with_paging(void **state)
{
	struct vcpu *v = &rig->v;

	seg_set_flat_code(&v->seg[SEG_CS], SEL_CODE32_0, 0, false);
	assert_int_equal(vcpu_set_cr0(v, v->cr0 & ~CR0_PG), 0);
	assert_false(v->efer & GEFER_LMA);
	assert_true(v->efer & GEFER_LME);
	assert_int_equal(vcpu_set_cr4(v, v->cr4 & ~CR4_PAE), 0);
	assert_int_equal(vcpu_set_cr0(v, v->cr0 | CR0_PG), 1); /* LME, no PAE */
	assert_int_equal(vcpu_set_cr4(v, v->cr4 | CR4_PAE), 0);
	assert_int_equal(vcpu_set_cr0(v, v->cr0 | CR0_PG), 0);
	assert_true(v->efer & GEFER_LMA);
	assert_int_equal(vcpu_set_cr4(v, v->cr4 & ~CR4_PAE), 1);
	assert_int_equal(vcpu_set_efer(v, v->efer & ~GEFER_LME), 1);
	/* LMA cannot be written. */
	assert_int_equal(vcpu_set_efer(v, v->efer & ~GEFER_LMA), 0);
	assert_true(v->efer & GEFER_LMA);
}

static void cr3_cr4_cr8_reserved_bits(void **state)
{
	static const u8 refused[] = { 0, 1, 12, 13, 14, 15, 17, 19, 20, 21, 22,
				      23, 24, 32, 63 };
	struct vcpu *v = &rig->v;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(refused); i++)
		assert_int_equal(vcpu_set_cr4(v, v->cr4 | 1ull << refused[i]), 1);
	assert_int_equal(vcpu_set_cr3(v, 1ull << 40), 1);
	assert_int_equal(vcpu_set_cr3(v, 1ull << 63), 1);
	assert_int_equal(rig->cr3_changes, 0);
	assert_int_equal(vcpu_set_cr3(v, 0x5018), 0);
	assert_int_equal(rig->cr3_changes, 1);
	assert_int_equal(vcpu_set_cr8(v, 16), 1);
	assert_int_equal(vcpu_set_cr8(v, 15), 0);
	assert_int_equal(vcpu_set_efer(v, v->efer | 1 << 12), 1); /* SVME */
	assert_int_equal(vcpu_set_efer(v, v->efer | 2), 1);
}

static void cr4_osxsave_shows_in_cpuid(void **state)
{
	struct vcpu *v = &rig->v;
	u32 r[4];

	if (!CPUID_HAS_XSAVE(v))
		skip();
	vcpu_get_cpuid(v, 1, 0, r);
	assert_false(r[2] & 1u << 27);
	assert_int_equal(vcpu_set_cr4(v, v->cr4 | CR4_OSXSAVE), 0);
	vcpu_get_cpuid(v, 1, 0, r);
	assert_true(r[2] & 1u << 27);
}

static void debug_registers_have_fixed_bits(void **state)
{
	struct vcpu *v = &rig->v;

	assert_int_equal(vcpu_set_dr(v, 6, 1ull << 32), 1);
	assert_int_equal(vcpu_set_dr(v, 7, 1ull << 40), 1);
	assert_int_equal(vcpu_set_dr(v, 6, 0), 0);
	assert_int_equal(v->dr6, 0xffff0ff0);
	assert_int_equal(vcpu_set_dr(v, 7, 0xffffffff), 0);
	assert_int_equal(v->dr7, 0xffff27ff);
	assert_int_equal(vcpu_set_dr(v, 3, ~0ull), 0);
}

static void xcr0_rules(void **state)
{
	struct vcpu *v = &rig->v;
	u64 host = host_xcr0();

	assert_int_equal(control_set_xcr(v, 0, 0), 1);
	assert_int_equal(control_set_xcr(v, 1, 1), 1);
	assert_int_equal(control_set_xcr(v, 0, 2), 1);
	assert_int_equal(control_set_xcr(v, 0, 1ull << 9 | 1), 1); /* PKRU */
	assert_int_equal(control_set_xcr(v, 0, 1ull << 17 | 3), 1); /* AMX */
	if (!CPUID_HAS_XSAVE(v))
		skip();
	assert_int_equal(control_set_xcr(v, 0, 3), 0);
	if (!(host & 4))
		skip();
	assert_int_equal(control_set_xcr(v, 0, 5), 1); /* AVX without SSE */
	assert_int_equal(control_set_xcr(v, 0, 7), 0);
	if ((host & 0xe0) == 0xe0) {
		assert_int_equal(control_set_xcr(v, 0, 0x27), 1);
		assert_int_equal(control_set_xcr(v, 0, 0xe7), 0);
	}
}

/* --- MSRs --- */

static void canonical_msrs(void **state)
{
	static const u32 msrs[] = { 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101,
				    0xc0000102, 0x175, 0x176 };
	struct vcpu *v = &rig->v;
	u64 val;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		assert_int_equal(vcpu_set_msr(v, msrs[i], 1ull << 47, false), 1);
		assert_int_equal(vcpu_set_msr(v, msrs[i], 0xffff900000000000, false),
				 0);
		assert_int_equal(vcpu_get_msr(v, msrs[i], &val, false), 0);
		assert_int_equal(val, 0xffff900000000000);
	}
	assert_int_equal(v->seg[SEG_FS].base, 0xffff900000000000);
	assert_int_equal(v->seg[SEG_GS].base, 0xffff900000000000);
}

static void unknown_msrs_fault(void **state)
{
	static const u32 msrs[] = { 0, 0x3, 0xc1, 0x186, 0x38f, 0x480, 0x606, 0xd90,
				    0xda0, 0x49, 0x10b, 0x122, 0x4b564d02,
				    0xc0000104, 0xc0010114, 0xdeadbeef };
	struct vcpu *v = &rig->v;
	u64 val;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		assert_int_equal(vcpu_get_msr(v, msrs[i], &val, false), 1);
		assert_int_equal(vcpu_set_msr(v, msrs[i], 0, false), 1);
	}
	v->regs.gpr[GPR_RCX] = 0xdeadbeef;
	assert_int_equal(callout(0x0f, 0x32), EMUL_FAULT);
	assert_int_equal(v->exc.vector, VEC_GP);
	assert_int_equal(v->regs.rip, RIG_CODE);
}

static void every_listed_msr_can_be_saved_and_restored(void **state)
{
	struct vcpu *v = &rig->v;
	const u32 *list;
	u32 i, n;
	u64 val;

	list = vcpu_msr_list(&n);
	assert_in_range(n, 10, 200);
	for (i = 0; i < n; i++) {
		assert_int_equal(vcpu_get_msr(v, list[i], &val, true), 0);
		assert_int_equal(vcpu_set_msr(v, list[i], val, true), 0);
	}
}

/* What QEMU writes whatever the list says. */
static void msrs_that_vmms_insist_on(void **state)
{
	static const u32 msrs[] = {
		0x174, 0x175, 0x176, 0x277, 0xc0000083, 0xc0000102, 0xc0000084,
		0xc0000082, 0x10, 0x12, 0x11, 0x2ff, 0x250, 0x258, 0x259, 0x268,
		0x26f, 0x200, 0x20f, 0x17a, 0x17b, 0x400, 0x427, 0xc0000081, 0x1a0,
	};
	struct vcpu *v = &rig->v;
	u64 val;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		assert_int_equal(vcpu_get_msr(v, msrs[i], &val, true), 0);
		assert_int_equal(vcpu_set_msr(v, msrs[i], val, true), 0);
	}
}

static void memory_type_msrs(void **state)
{
	struct vcpu *v = &rig->v;

	assert_int_equal(vcpu_set_msr(v, 0x277, 0x0007040600070406, false), 0);
	assert_int_equal(vcpu_set_msr(v, 0x277, 0x0007040600070402, false), 1);
	assert_int_equal(vcpu_set_msr(v, 0x277, 0x0807040600070406, false), 1);
	assert_int_equal(vcpu_set_msr(v, 0x2ff, 0xc06, false), 0);
	assert_int_equal(vcpu_set_msr(v, 0x2ff, 0x1006, false), 1);
	assert_int_equal(vcpu_set_msr(v, 0x2ff, 0xc02, false), 1);
	assert_int_equal(vcpu_set_msr(v, 0x250, 0x0606060606060606, false), 0);
	assert_int_equal(vcpu_set_msr(v, 0x250, 0x0706060606060606, false), 1);
	assert_int_equal(vcpu_set_msr(v, 0x200, 0x80000006, false), 0);
	assert_int_equal(vcpu_set_msr(v, 0x201, 1ull << 40, false), 1);
}

static void tsc_and_tsc_adjust_move_together(void **state)
{
	struct vcpu *v = &rig->v;
	u64 val;

	vcpu_set_msr(v, 0x10, 5000, false);
	assert_int_equal(vcpu_guest_tsc(v), 5000);
	vcpu_get_msr(v, 0x3b, &val, false);
	assert_int_equal(val, 5000 - 1000000);
	vcpu_set_msr(v, 0x3b, 0, false);
	assert_int_equal(vcpu_guest_tsc(v), 1000000);
	/* Userland restoring TSC_ADJUST does not move the TSC. */
	vcpu_set_msr(v, 0x3b, 77, true);
	assert_int_equal(vcpu_guest_tsc(v), 1000000);
}

static void guest_may_not_write_read_only_msrs(void **state)
{
	struct vcpu *v = &rig->v;

	assert_int_equal(vcpu_set_msr(v, 0x10a, 0, false), 1);
	assert_int_equal(vcpu_set_msr(v, 0xce, 0, false), 1);
	assert_int_equal(vcpu_set_msr(v, 0xfe, 0, false), 1);
	assert_int_equal(vcpu_set_msr(v, 0x401, 1, false), 1);
	assert_int_equal(vcpu_set_msr(v, 0x48, 8, false), 1);
	assert_int_equal(vcpu_set_msr(v, 0x48, 1, false), 0);
	assert_int_equal(vcpu_set_msr(v, 0xc0000103, 1ull << 32, false), 1);
	assert_int_equal(vcpu_set_msr(v, 0xc0000084, 1ull << 32, false), 1);
}

/* --- CPUID --- */

/* A host that has every feature there is, and a large value in every field. */
static u32 all_ones(u32 leaf, u32 sub, u32 out[4])
{
	switch (leaf) {
	case 0:
		out[0] = 0x20;
		out[1] = rig->run.padding1[0] ? 0x68747541 : 0x756e6547;
		out[2] = 0x6c65746e;
		out[3] = 0x49656e69;
		return 1;
	case 0x80000000:
		memset(out, 0, 16);
		out[0] = 0x80000028;
		return 1;
	case 0xd:
		if (sub < 2)
			break;
		out[0] = 64;
		out[1] = 512 + sub * 64;
		out[2] = 3;
		out[3] = 0;
		return 1;
	case 4:
		if (sub < 4)
			break;
		memset(out, 0, 16);
		return 1;
	}
	memset(out, 0xff, 16);
	return 1;
}

struct forbidden {
	u32 leaf, sub, reg, bits;
};

static const struct forbidden forbidden[] = {
	/* MONITOR DS-CPL VMX SMX EST TM2 PDCM PCID DCA OSXSAVE */
	{ 1, 0, 2, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 |
		   1 << 15 | 1 << 17 | 1 << 18 | 1 << 27 },
	/* VME PSN DS ACPI HTT TM PBE */
	{ 1, 0, 3, 1 << 1 | 1 << 18 | 1 << 21 | 1 << 22 | 1 << 28 | 1 << 29 |
		   1u << 31 },
	/* SGX HLE SMEP INVPCID RTM PQM MPX PQE SMAP PT */
	{ 7, 0, 1, 1 << 2 | 1 << 4 | 1 << 7 | 1 << 10 | 1 << 11 | 1 << 12 |
		   1 << 14 | 1 << 15 | 1 << 20 | 1 << 25 },
	/* PKU OSPKE WAITPKG SHSTK TME LA57 KL BUS_LOCK CLDEMOTE MOVDIR ENQCMD SGX_LC PKS */
	{ 7, 0, 2, 1 << 3 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 13 | 1 << 16 | 1 << 23 |
		   1 << 24 | 1 << 25 | 1 << 27 | 1 << 28 | 1 << 29 | 1 << 30 |
		   1u << 31 },
	/* UINTR HYBRID PCONFIG LBR IBT AMX SPEC_CTRL STIBP L1D_FLUSH CORE_CAP SSBD */
	{ 7, 0, 3, 1 << 5 | 1 << 15 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 22 |
		   1 << 24 | 1 << 25 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 30 |
		   1u << 31 },
	{ 0xd, 0, 0, ~0xe7u },
	{ 0xd, 0, 3, ~0u },
	{ 0xd, 1, 0, ~7u }, /* XSAVES, XFD */
	{ 0xd, 1, 2, ~0u },
	/* SVM EXTAPIC CR8 OSVW IBS WDT TOPOEXT PERFCTR MWAITX */
	{ 0x80000001, 0, 2, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 9 | 1 << 10 | 1 << 12 |
			    1 << 13 | 1 << 15 | 1 << 22 | 1 << 23 | 1 << 24 |
			    1 << 29 },
	{ 0x80000001, 0, 3, 1 << 25 }, /* FFXSR */
	{ 0x80000008, 0, 1, 1 << 12 | 1 << 14 | 1 << 15 | 1 << 24 | 1 << 9 },
};

static void supported(struct vcpu *v)
{
	struct kvm_cpuid_entry2 e[100];
	int n = vcpu_supported_cpuid(e, 100);

	assert_in_range(n, 10, 100);
	assert_int_equal(vcpu_set_cpuid(v, e, n), 0);
	assert_int_equal(vcpu_supported_cpuid(e, n), n);
	assert_int_equal(vcpu_supported_cpuid(e, n - 1), -E2BIG);
	assert_int_equal(vcpu_supported_cpuid(e, 1), -E2BIG);
}

static void nothing_forbidden_is_ever_offered(void **state)
{
	struct vcpu *v = &rig->v;
	u32 i, amd, r[4];

	for (amd = 0; amd < 2; amd++) {
		rig->run.padding1[0] = amd;
		rig->cpuid_hook = all_ones;
		supported(v);
		rig->cpuid_hook = NULL;
		for (i = 0; i < ARRAY_SIZE(forbidden); i++) {
			const struct forbidden *f = &forbidden[i];

			vcpu_get_cpuid(v, f->leaf, f->sub, r);
			assert_int_equal(r[f->reg] & f->bits, 0);
		}
		for (i = 0; i < v->cpuid.nent; i++) {
			u32 leaf = v->cpuid.entries[i].function;

			/* No PMU, no PT, no SGX, no AMX leaves. */
			assert_true(leaf <= 1 || leaf == 4 || leaf == 6 ||
				    leaf == 7 || leaf == 0xb || leaf == 0xd ||
				    leaf >= 0x40000000);
		}
	}
}

static void hypervisor_leaves_are_kvms(void **state)
{
	struct vcpu *v = &rig->v;
	u32 r[4];

	vcpu_get_cpuid(v, 0x40000000, 0, r);
	assert_int_equal(r[0], 0x40000010);
	assert_memory_equal(&r[1], "KVMKVMKVM\0\0\0", 12);
	vcpu_get_cpuid(v, 0x40000001, 0, r);
	assert_int_equal(r[0], 0x0100000b);
	vcpu_get_cpuid(v, 0x40000010, 0, r);
	assert_int_equal(r[0], 2500000);
	assert_int_equal(r[1], 1000000);
	vcpu_get_cpuid(v, 1, 0, r);
	assert_true(r[2] & 1u << 31);
	assert_true(r[2] & 1u << 24);
	assert_true(r[2] & 1u << 21);
	vcpu_get_cpuid(v, 0x80000008, 0, r);
	assert_int_equal(r[0], 48 << 8 | 40);
}

static void local_apic_features_need_a_local_apic(void **state)
{
	struct vcpu *v = &rig->v;
	struct lapic *a = v->lapic;
	u32 r[4];

	v->lapic = NULL;
	vcpu_get_cpuid(v, 1, 0, r);
	assert_false(r[2] & (1u << 21 | 1u << 24));
	v->lapic = a;
	v->apic_base = APIC_DEFAULT_BASE;
	vcpu_get_cpuid(v, 1, 0, r);
	assert_false(r[3] & 1u << 9);
}

static void leaves_beyond_the_last_follow_the_vendor(void **state)
{
	struct vcpu *v = &rig->v;
	u32 r[4], last[4];

	v->cpuid.entries[0].ebx = 0x756e6547;
	vcpu_get_cpuid(v, v->cpuid.entries[0].eax, 0, last);
	vcpu_get_cpuid(v, 0x1234, 0, r);
	assert_memory_equal(r, last, 16);
	v->cpuid.entries[0].ebx = 0x68747541;
	vcpu_get_cpuid(v, 0x1234, 0, r);
	assert_int_equal(r[0] | r[1] | r[2] | r[3], 0);
	vcpu_get_cpuid(v, 0xb, 7, r);
	assert_int_equal(r[2], 7);
}

static void xsave_size_follows_xcr0(void **state)
{
	struct vcpu *v = &rig->v;
	u32 r[4];

	if (!CPUID_HAS_XSAVE(v) || !(host_xcr0() & 4))
		skip();
	v->xcr0 = 3;
	vcpu_get_cpuid(v, 0xd, 0, r);
	assert_int_equal(r[1], 576);
	v->xcr0 = 7;
	vcpu_get_cpuid(v, 0xd, 0, r);
	assert_int_equal(r[1], 832);
	assert_true(r[2] >= r[1]);
}

static void too_many_cpuid_entries_are_refused(void **state)
{
	static struct kvm_cpuid_entry2 e[101];

	assert_int_equal(vcpu_set_cpuid(&rig->v, e, 101), -EINVAL);
	assert_int_equal(vcpu_set_cpuid(&rig->v, e, 100), 0);
}

/* --- state --- */

static void power_on_state(void **state)
{
	struct vcpu *v = &rig->v;
	struct kvm_sregs s;
	struct kvm_regs r;

	vcpu_reset(v);
	vcpu_get_kvm_regs(v, &r);
	vcpu_get_kvm_sregs(v, &s);
	assert_int_equal(r.rip, 0xfff0);
	assert_int_equal(r.rflags, 2);
	assert_int_equal(s.cs.selector, 0xf000);
	assert_int_equal(s.cs.base, 0xffff0000);
	assert_int_equal(s.cr0, 0x60000010);
	assert_int_equal(s.cr4, 0);
	assert_int_equal(s.efer, 0);
	assert_int_equal(s.idt.limit, 0xffff);
	assert_int_equal(s.apic_base, 0xfee00900);
	assert_int_equal(v->user_irq, -1);
	/* What was read can be written. */
	assert_int_equal(vcpu_set_kvm_sregs(v, &s), 0);
}

static void sregs_round_trip(void **state)
{
	struct vcpu *v = &rig->v;
	struct kvm_sregs s, t;

	vcpu_get_kvm_sregs(v, &s);
	s.interrupt_bitmap[1] = 1ull << 3;
	s.cr8 = 5;
	assert_int_equal(vcpu_set_kvm_sregs(v, &s), 0);
	assert_int_equal(v->user_irq, 67);
	vcpu_get_kvm_sregs(v, &t);
	assert_memory_equal(&s, &t, sizeof(s));
	assert_true(rig->mmu_changes && rig->table_changes);
}

static void bad_sregs_are_refused_whole(void **state)
{
	struct vcpu *v = &rig->v;
	struct kvm_sregs good, s, after;
	u32 i;

	vcpu_get_kvm_sregs(v, &good);
	for (i = 0; i < 12; i++) {
		s = good;
		s.cr2 = 0x1234;
		switch (i) {
		case 0:
			s.cr4 |= 1 << 12; /* LA57 */
			break;
		case 1:
			s.cr4 &= ~CR4_PAE;
			break;
		case 2:
			s.efer &= ~GEFER_LMA;
			break;
		case 3:
			s.efer |= 1 << 12;
			break;
		case 4:
			s.cr0 &= ~CR0_PE;
			break;
		case 5:
			s.cr3 |= 1ull << 45;
			break;
		case 6:
			s.cs.db = 1;
			break;
		case 7:
			s.cr8 = 16;
			break;
		case 8:
			s.gs.base = 1ull << 50;
			break;
		case 9:
			s.apic_base |= 1;
			break;
		case 10:
			s.idt.base = 1ull << 60;
			break;
		case 11:
			s.cr0 |= 1ull << 35;
			break;
		}
		assert_int_equal(vcpu_set_kvm_sregs(v, &s), -EINVAL);
		vcpu_get_kvm_sregs(v, &after);
		assert_memory_equal(&good, &after, sizeof(good));
	}
}

static void regs_round_trip(void **state)
{
	struct vcpu *v = &rig->v;
	struct kvm_regs r, t;
	u32 i;

	for (i = 0; i < sizeof(r) / 8; i++)
		((u64 *)&r)[i] = 0x1111 * (i + 1);
	r.rflags = RF_IF | RF_ZF | RF_FIXED;
	vcpu_set_kvm_regs(v, &r);
	vcpu_get_kvm_regs(v, &t);
	assert_memory_equal(&r, &t, sizeof(r));
	r.rflags = ~0ull;
	vcpu_set_kvm_regs(v, &r);
	assert_int_equal(v->regs.rflags, 0x3f7fd7);
}

static void events_round_trip(void **state)
{
	struct vcpu *v = &rig->v;
	struct kvm_vcpu_events e, t;

	vcpu_queue_pf(v, 0x5000, 2);
	v->user_irq = 0x33;
	v->nmi_pending = true;
	v->nmi_masked = true;
	v->irq_shadow = true;
	vcpu_get_kvm_events(v, &e);
	vcpu_reset(v);
	assert_int_equal(vcpu_set_kvm_events(v, &e), 0);
	vcpu_get_kvm_events(v, &t);
	assert_memory_equal(&e, &t, sizeof(e));
	assert_int_equal(v->exc.cr2, 0x5000);
	e.exception.nr = 40;
	assert_int_equal(vcpu_set_kvm_events(v, &e), -EINVAL);
	e.exception.nr = 13;
	e.flags = 1u << 31;
	assert_int_equal(vcpu_set_kvm_events(v, &e), -EINVAL);
}

static void debugregs_round_trip(void **state)
{
	struct vcpu *v = &rig->v;
	struct kvm_debugregs d, t;

	v->dr[2] = 0x1234;
	vcpu_set_dr(v, 7, 0x20);
	vcpu_get_kvm_debugregs(v, &d);
	vcpu_reset(v);
	assert_int_equal(vcpu_set_kvm_debugregs(v, &d), 0);
	vcpu_get_kvm_debugregs(v, &t);
	assert_memory_equal(&d, &t, sizeof(d));
	d.flags = 1;
	assert_int_equal(vcpu_set_kvm_debugregs(v, &d), -EINVAL);
	d.flags = 0;
	d.dr6 = 1ull << 32;
	assert_int_equal(vcpu_set_kvm_debugregs(v, &d), -EINVAL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(cr0_consistency),
		T(long_mode_comes_and_goes_with_paging),
		T(cr3_cr4_cr8_reserved_bits),
		T(cr4_osxsave_shows_in_cpuid),
		T(debug_registers_have_fixed_bits),
		T(xcr0_rules),
		T(canonical_msrs),
		T(unknown_msrs_fault),
		T(every_listed_msr_can_be_saved_and_restored),
		T(msrs_that_vmms_insist_on),
		T(memory_type_msrs),
		T(tsc_and_tsc_adjust_move_together),
		T(guest_may_not_write_read_only_msrs),
		T(nothing_forbidden_is_ever_offered),
		T(hypervisor_leaves_are_kvms),
		T(local_apic_features_need_a_local_apic),
		T(leaves_beyond_the_last_follow_the_vendor),
		T(xsave_size_follows_xcr0),
		T(too_many_cpuid_entries_are_refused),
		T(power_on_state),
		T(sregs_round_trip),
		T(bad_sregs_are_refused_whole),
		T(regs_round_trip),
		T(events_round_trip),
		T(debugregs_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
