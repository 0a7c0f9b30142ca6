// SPDX-License-Identifier: GPL-2.0-only
/* Segment loads, IRET, far transfers and system calls check and change what they
 * should. */
#include "mon_rig.h"

static void expect_fault(u8 vec, bool has_error, u32 error)
{
	struct vcpu *v = &rig->v;

	assert_true(v->exc.pending);
	assert_int_equal(v->exc.vector, vec);
	assert_int_equal(v->exc.has_error, has_error);
	if (has_error)
		assert_int_equal(v->exc.error, error);
	v->exc.pending = false;
}

static void load_fails(enum popf_seg seg, u16 sel, u8 vec, u32 error)
{
	struct kvm_segment before = rig->v.seg[seg];

	assert_int_equal(vcpu_load_segment(&rig->v, seg, sel), EMUL_FAULT);
	expect_fault(vec, true, error);
	assert_memory_equal(&before, &rig->v.seg[seg], sizeof(before));
}

static void data_segment_checks(void **state)
{
	struct vcpu *v = &rig->v;

	assert_int_equal(vcpu_load_segment(v, SEG_DS, SEL_DATA), EMUL_DONE);
	assert_int_equal(v->seg[SEG_DS].selector, SEL_DATA);
	assert_int_equal(v->seg[SEG_DS].limit, 0xffffffff);
	assert_int_equal(vcpu_load_segment(v, SEG_DS, 0), EMUL_DONE);
	assert_true(v->seg[SEG_DS].unusable);
	assert_int_equal(vcpu_load_segment(v, SEG_DS, SEL_CODE), EMUL_DONE);
	load_fails(SEG_DS, SEL_TSS, VEC_GP, SEL_TSS);
	load_fails(SEG_DS, SEL_LAST, VEC_GP, SEL_LAST);
	load_fails(SEG_DS, 0x0c, VEC_GP, 0x0c); /* no LDT */
	load_fails(SEG_ES, SEL_DATA_ABSENT, VEC_NP, SEL_DATA_ABSENT);
	load_fails(SEG_DS, SEL_DATA | 3, VEC_GP, SEL_DATA); /* RPL > DPL */
	rig_user(false);
	load_fails(SEG_DS, SEL_DATA, VEC_GP, SEL_DATA); /* CPL > DPL */
	assert_int_equal(vcpu_load_segment(v, SEG_DS, SEL_CONFORMING | 3),
			 EMUL_DONE);
}

static void stack_segment_checks(void **state)
{
	struct vcpu *v = &rig->v;

	assert_int_equal(vcpu_load_segment(v, SEG_SS, 0), EMUL_DONE);
	assert_int_equal(vcpu_cpl(v), 0);
	assert_int_equal(vcpu_load_segment(v, SEG_SS, SEL_DATA), EMUL_DONE);
	load_fails(SEG_SS, 3, VEC_GP, 0);
	load_fails(SEG_SS, SEL_CODE, VEC_GP, SEL_CODE);
	load_fails(SEG_SS, SEL_UDATA, VEC_GP, SEL_UDATA & ~3);
	load_fails(SEG_SS, SEL_DATA | 1, VEC_GP, SEL_DATA);
	rig_user(false);
	load_fails(SEG_SS, 3, VEC_GP, 0);
	load_fails(SEG_SS, SEL_READONLY | 3, VEC_GP, SEL_READONLY);
	load_fails(SEG_SS, SEL_DATA_ABSENT | 3, VEC_SS, SEL_DATA_ABSENT);
	assert_int_equal(vcpu_load_segment(v, SEG_SS, SEL_UDATA), EMUL_DONE);
	assert_int_equal(vcpu_load_segment(v, SEG_CS, SEL_UCODE), EMUL_FAULT);
	expect_fault(VEC_UD, false, 0);
}

static void loads_mark_descriptors_accessed(void **state)
{
	struct vcpu *v = &rig->v;

	rig_set_desc(SEL_DATA, 0x00cf92000000ffff);
	assert_int_equal(vcpu_load_segment(v, SEG_DS, SEL_DATA), EMUL_DONE);
	assert_int_equal(*rig_u64(RIG_GDT + SEL_DATA), 0x00cf93000000ffff);
	assert_int_equal(v->seg[SEG_DS].type & 1, 1);
}

static void fs_base_comes_from_the_descriptor(void **state)
{
	struct vcpu *v = &rig->v;

	rig_set_desc(SEL_UDATA, 0x12cff3345678ffff);
	assert_int_equal(vcpu_load_segment(v, SEG_FS, SEL_UDATA), EMUL_DONE);
	assert_int_equal(v->seg[SEG_FS].base, 0x12345678);
}

static void local_table_works_after_lldt(void **state)
{
	struct vcpu *v = &rig->v;

	*rig_u64(RIG_LDT + 8) = 0x00cff3000000ffff;
	v->regs.gpr[GPR_RAX] = SEL_LDT;
	assert_int_equal(callout(0x0f, 0x00, 0xd0), EMUL_DONE); /* lldt ax */
	assert_int_equal(v->ldt.base, RIG_LDT);
	assert_int_equal(vcpu_load_segment(v, SEG_DS, 0xc), EMUL_DONE);
	load_fails(SEG_DS, 0x14, VEC_GP, 0x14);
	v->regs.gpr[GPR_RAX] = 0;
	assert_int_equal(callout(0x0f, 0x00, 0xd0), EMUL_DONE);
	load_fails(SEG_DS, 0xc, VEC_GP, 0xc);
	v->regs.gpr[GPR_RAX] = SEL_DATA;
	assert_int_equal(callout(0x0f, 0x00, 0xd0), EMUL_FAULT);
	expect_fault(VEC_GP, true, SEL_DATA);
}

static void ltr_makes_the_tss_busy_once(void **state)
{
	struct vcpu *v = &rig->v;

	v->regs.gpr[GPR_RAX] = SEL_TSS;
	assert_int_equal(callout(0x0f, 0x00, 0xd8), EMUL_DONE); /* ltr ax */
	assert_int_equal(v->tr.base, RIG_TSS);
	assert_int_equal(v->tr.type, 0xb);
	assert_int_equal(*rig_u64(RIG_GDT + SEL_TSS) >> 40 & 0xff, 0x8b);
	assert_int_equal(callout(0x0f, 0x00, 0xd8), EMUL_FAULT);
	expect_fault(VEC_GP, true, SEL_TSS);
}

static void put_frame(u64 rip, u64 cs, u64 rflags, u64 rsp, u64 ss)
{
	u64 *w = rig_u64(RIG_STACK - 40);

	w[0] = rip;
	w[1] = cs;
	w[2] = rflags;
	w[3] = rsp;
	w[4] = ss;
	rig->v.regs.gpr[GPR_RSP] = RIG_STACK - 40;
}

static void iret_to_user_loads_everything(void **state)
{
	struct vcpu *v = &rig->v;

	put_frame(0x1234, SEL_UCODE, RF_FIXED | RF_IF | RF_ZF | RF_IOPL | RF_RF |
		  RF_VM, 0x7000, SEL_UDATA);
	vcpu_load_segment(v, SEG_DS, SEL_DATA);
	vcpu_load_segment(v, SEG_ES, SEL_UDATA & ~3);
	assert_int_equal(vcpu_iret(v, 8), EMUL_DONE);
	assert_int_equal(v->regs.rip, 0x1234);
	assert_int_equal(v->regs.gpr[GPR_RSP], 0x7000);
	assert_int_equal(vcpu_cpl(v), 3);
	assert_int_equal(v->regs.rflags, RF_FIXED | RF_IF | RF_ZF | RF_IOPL | RF_RF);
	/* The kernel's data segment is gone, a user segment stays. */
	assert_int_equal(v->seg[SEG_DS].selector, 0);
	assert_int_equal(v->seg[SEG_ES].selector, SEL_UDATA & ~3);
}

static void iret_from_user_cannot_change_if_and_iopl(void **state)
{
	struct vcpu *v = &rig->v;

	put_frame(0x1234, SEL_UCODE, RF_FIXED | RF_IOPL | RF_CF, 0x7000, SEL_UDATA);
	rig_user(false);
	v->regs.gpr[GPR_RSP] = RIG_STACK - 40;
	v->regs.rflags |= RF_IF;
	assert_int_equal(vcpu_iret(v, 8), EMUL_DONE);
	assert_int_equal(v->regs.rflags, RF_FIXED | RF_IF | RF_CF);
}

static void iret_fails(u8 vec, u32 error)
{
	struct vcpu_regs before = rig->v.regs;

	assert_int_equal(vcpu_iret(&rig->v, 8), EMUL_FAULT);
	expect_fault(vec, true, error);
	assert_memory_equal(&before, &rig->v.regs, sizeof(before));
	assert_int_equal(rig->v.seg[SEG_CS].selector, SEL_CODE);
}

static void bad_iret_frames_fault_and_change_nothing(void **state)
{
	struct vcpu *v = &rig->v;

	put_frame(1ull << 50, SEL_UCODE, 2, 0x7000, SEL_UDATA);
	iret_fails(VEC_GP, 0);
	put_frame(0x1000, 0, 2, 0x7000, SEL_DATA);
	iret_fails(VEC_GP, 0);
	put_frame(0x1000, SEL_DATA, 2, 0x7000, SEL_DATA);
	iret_fails(VEC_GP, SEL_DATA);
	put_frame(0x1000, SEL_CODE | 3, 2, 0x7000, SEL_UDATA);
	iret_fails(VEC_GP, SEL_CODE);
	put_frame(0x1000, SEL_ABSENT, 2, 0x7000, SEL_DATA);
	iret_fails(VEC_NP, SEL_ABSENT);
	put_frame(0x1000, SEL_UCODE, 2, 0x7000, SEL_DATA);
	iret_fails(VEC_GP, SEL_DATA);
	put_frame(0x1000, SEL_UCODE, 2, 0x7000, 0);
	iret_fails(VEC_GP, 0);
	put_frame(0x1000, SEL_UCODE, 2, 0x7000, SEL_DATA_ABSENT | 3);
	iret_fails(VEC_SS, SEL_DATA_ABSENT);
	put_frame(0x1000, SEL_CODE, 2, 0x7000, SEL_DATA);
	v->regs.rflags |= RF_NT;
	iret_fails(VEC_GP, 0);
	v->regs.rflags &= ~RF_NT;
	v->regs.gpr[GPR_RSP] = 1ull << 55;
	iret_fails(VEC_SS, 0);
}

static void iret_to_compat_mode_and_back(void **state)
{
	struct vcpu *v = &rig->v;

	put_frame(0xffff1234, SEL_UCODE32, RF_FIXED, 0xfffe0000, SEL_UDATA);
	assert_int_equal(vcpu_iret(v, 8), EMUL_DONE);
	assert_false(vcpu_is_64bit(v));
	assert_int_equal(v->regs.rip, 0xffff1234);
	assert_int_equal(vcpu_deliver_interrupt(v, 0x20, false), EMUL_DONE);
	assert_int_equal(*rig_u64(RIG_STACK0 - 40), 0xffff1234);
	assert_int_equal(*rig_u64(RIG_STACK0 - 16), 0xfffe0000);
	assert_int_equal(vcpu_iret(v, 8), EMUL_DONE);
	assert_int_equal(v->seg[SEG_CS].selector, SEL_UCODE32);
	assert_int_equal(v->regs.rip, 0xffff1234);
}

static void iretd_in_long_mode_takes_32bit_words(void **state)
{
	struct vcpu *v = &rig->v;
	u32 w[5] = { 0x8000, SEL_CODE, RF_FIXED | RF_CF, 0x9000, SEL_DATA };

	memcpy(rig_at(RIG_STACK - 20), w, 20);
	v->regs.gpr[GPR_RSP] = RIG_STACK - 20;
	assert_int_equal(callout(0xcf), EMUL_DONE);
	assert_int_equal(v->regs.rip, 0x8000);
	assert_int_equal(v->regs.gpr[GPR_RSP], 0x9000);
	assert_true(v->regs.rflags & RF_CF);
}

static void syscall_and_sysret_round_trip(void **state)
{
	struct vcpu *v = &rig->v;
	u64 flags = RF_FIXED | RF_IF | RF_CF | RF_ZF;

	rig_user(false);
	v->regs.rip = 0x400000;
	v->regs.rflags = flags;
	assert_int_equal(vcpu_syscall(v), EMUL_DONE);
	assert_int_equal(v->regs.rip, v->lstar);
	assert_int_equal(v->regs.gpr[GPR_RCX], 0x400002);
	assert_int_equal(v->regs.gpr[GPR_R11], flags);
	assert_int_equal(v->regs.rflags, (flags & ~v->sfmask) | RF_FIXED);
	assert_int_equal(v->seg[SEG_CS].selector, SEL_CODE);
	assert_int_equal(v->seg[SEG_SS].selector, SEL_CODE + 8);
	assert_int_equal(vcpu_cpl(v), 0);
	assert_int_equal(callout(0x48, 0x0f, 0x07), EMUL_DONE);
	assert_int_equal(v->regs.rip, 0x400002);
	assert_int_equal(v->regs.rflags, flags);
	assert_int_equal(v->seg[SEG_CS].selector, SEL_UCODE);
	assert_int_equal(v->seg[SEG_SS].selector, SEL_UDATA);
	assert_int_equal(vcpu_cpl(v), 3);
	assert_true(v->seg[SEG_CS].l);
}

static void sysret_checks(void **state)
{
	struct vcpu *v = &rig->v;

	v->regs.gpr[GPR_RCX] = 1ull << 47;
	assert_int_equal(vcpu_sysret(v, true), EMUL_FAULT);
	expect_fault(VEC_GP, true, 0);
	v->regs.gpr[GPR_RCX] = 0xffffffff12345678;
	v->regs.gpr[GPR_R11] = ~0ull;
	assert_int_equal(callout(0x0f, 0x07), EMUL_DONE); /* 32-bit form */
	assert_int_equal(v->regs.rip, 0x12345678);
	assert_int_equal(v->seg[SEG_CS].selector, SEL_UCODE32);
	assert_false(v->seg[SEG_CS].l);
	assert_int_equal(v->regs.rflags, (0x3c7fd7 & ~RF_RF) | RF_FIXED);
	assert_int_equal(vcpu_sysret(v, true), EMUL_FAULT); /* not 64-bit code */
	expect_fault(VEC_UD, false, 0);
	rig_user(false);
	assert_int_equal(vcpu_sysret(v, true), EMUL_FAULT);
	expect_fault(VEC_GP, true, 0);
	v->efer &= ~GEFER_SCE;
	assert_int_equal(vcpu_syscall(v), EMUL_FAULT);
	expect_fault(VEC_UD, false, 0);
}

static void set_vendor(bool amd)
{
	struct kvm_cpuid_entry2 *e = &rig->v.cpuid.entries[0];

	assert_int_equal(e->function, 0);
	e->ebx = amd ? 0x68747541 : 0x756e6547;
}

static void compat_syscalls_follow_the_vendor(void **state)
{
	struct vcpu *v = &rig->v;

	v->sysenter_cs = SEL_CODE;
	v->sysenter_eip = 0xffffffff81002000;
	v->sysenter_esp = 0xfffffe0000001000;
	set_vendor(false);
	rig_user(true);
	assert_int_equal(vcpu_syscall(v), EMUL_FAULT);
	expect_fault(VEC_UD, false, 0);
	v->regs.rflags |= RF_IF;
	assert_int_equal(vcpu_sysenter(v), EMUL_DONE);
	assert_int_equal(v->regs.rip, v->sysenter_eip);
	assert_int_equal(v->regs.gpr[GPR_RSP], v->sysenter_esp);
	assert_int_equal(vcpu_cpl(v), 0);
	assert_true(v->seg[SEG_CS].l);
	assert_false(v->regs.rflags & RF_IF);
	v->regs.gpr[GPR_RDX] = 0xffffffff00001000;
	v->regs.gpr[GPR_RCX] = 0xffffffff00002000;
	assert_int_equal(vcpu_sysexit(v, false), EMUL_DONE);
	assert_int_equal(v->regs.rip, 0x1000);
	assert_int_equal(v->regs.gpr[GPR_RSP], 0x2000);
	assert_int_equal(v->seg[SEG_CS].selector, SEL_CODE + 16 + 3);
	set_vendor(true);
	rig_user(true);
	assert_int_equal(vcpu_sysenter(v), EMUL_FAULT);
	expect_fault(VEC_UD, false, 0);
	v->regs.rip = 0x5000;
	assert_int_equal(vcpu_syscall(v), EMUL_DONE);
	assert_int_equal(v->regs.rip, v->cstar);
	assert_int_equal(v->regs.gpr[GPR_RCX], 0x5002);
	assert_true(v->seg[SEG_CS].l);
}

static void lretq_within_the_kernel(void **state)
{
	struct vcpu *v = &rig->v;

	v->regs.gpr[GPR_RSP] = RIG_STACK - 16;
	*rig_u64(RIG_STACK - 16) = 0xffffffff81000000;
	*rig_u64(RIG_STACK - 8) = SEL_CODE;
	assert_int_equal(callout(0x48, 0xcb), EMUL_DONE);
	assert_int_equal(v->regs.rip, 0xffffffff81000000);
	assert_int_equal(v->regs.gpr[GPR_RSP], RIG_STACK);
}

static void far_return_to_user_pops_the_stack_pointer(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *w = rig_u64(RIG_STACK - 48);

	w[0] = 0x4000;
	w[1] = SEL_UCODE;
	w[2] = w[3] = 0x1111; /* 16 bytes of parameters */
	w[4] = 0x7000;
	w[5] = SEL_UDATA;
	v->regs.gpr[GPR_RSP] = RIG_STACK - 48;
	assert_int_equal(callout(0x48, 0xca, 0x10, 0x00), EMUL_DONE);
	assert_int_equal(v->regs.rip, 0x4000);
	assert_int_equal(v->regs.gpr[GPR_RSP], 0x7010);
	assert_int_equal(vcpu_cpl(v), 3);
}

static void far_jump_through_memory(void **state)
{
	struct vcpu *v = &rig->v;
	u16 sel = SEL_CODE;
	u64 rip = 0xffffffff82000000;

	memcpy(rig_at(0x80000), &rip, 8);
	memcpy(rig_at(0x80008), &sel, 2);
	v->regs.gpr[GPR_RBX] = 0x80000;
	assert_int_equal(callout(0x48, 0xff, 0x2b), EMUL_DONE); /* rex ljmp (rbx) */
	assert_int_equal(v->regs.rip, rip);
	sel = SEL_UCODE;
	memcpy(rig_at(0x80008), &sel, 2);
	assert_int_equal(callout(0x48, 0xff, 0x2b), EMUL_FAULT);
	expect_fault(VEC_GP, true, SEL_UCODE & ~3);
}

static void call_gate_switches_to_rsp0(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *w = rig_u64(RIG_STACK0 - 32);
	u16 sel = SEL_GATE | 3;

	memset(rig_at(0x80000), 0xff, 8);
	memcpy(rig_at(0x80008), &sel, 2);
	rig_user(false);
	v->regs.gpr[GPR_RBX] = 0x80000;
	rig_code("\x48\xff\x1b", 3); /* rex lcall (rbx) */
	assert_int_equal(vcpu_user_fault(v, VEC_GP, SEL_GATE), EMUL_DONE);
	assert_int_equal(v->regs.rip, RIG_HANDLER(0));
	assert_int_equal(vcpu_cpl(v), 0);
	assert_int_equal(v->regs.gpr[GPR_RSP], RIG_STACK0 - 32);
	assert_int_equal(w[0], RIG_CODE + 3);
	assert_int_equal(w[1], SEL_UCODE);
	assert_int_equal(w[2], RIG_USTACK);
	assert_int_equal(w[3], SEL_UDATA);
}

static bool zf(void)
{
	return rig->v.regs.rflags & RF_ZF;
}

static void lar_lsl_verr_verw(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;

	g[GPR_RBX] = SEL_DATA;
	assert_int_equal(callout(0x0f, 0x02, 0xc3), EMUL_DONE); /* lar eax, ebx */
	assert_true(zf());
	assert_int_equal(g[GPR_RAX], 0xcf9300);
	assert_int_equal(callout(0x0f, 0x03, 0xc3), EMUL_DONE); /* lsl */
	assert_int_equal(g[GPR_RAX], 0xffffffff);
	assert_int_equal(callout(0x0f, 0x00, 0xe3), EMUL_DONE); /* verr bx */
	assert_true(zf());
	assert_int_equal(callout(0x0f, 0x00, 0xeb), EMUL_DONE); /* verw bx */
	assert_true(zf());
	g[GPR_RBX] = SEL_READONLY;
	callout(0x0f, 0x00, 0xeb);
	assert_false(zf());
	g[GPR_RBX] = SEL_GATE;
	assert_int_equal(callout(0x0f, 0x02, 0xc3), EMUL_DONE);
	assert_true(zf());
	callout(0x0f, 0x03, 0xc3);
	assert_false(zf());
	g[GPR_RBX] = 0x1000;
	callout(0x0f, 0x02, 0xc3);
	assert_false(zf());
	g[GPR_RBX] = 0;
	callout(0x0f, 0x00, 0xe3);
	assert_false(zf());
	assert_false(v->exc.pending);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(data_segment_checks),
		T(stack_segment_checks),
		T(loads_mark_descriptors_accessed),
		T(fs_base_comes_from_the_descriptor),
		T(local_table_works_after_lldt),
		T(ltr_makes_the_tss_busy_once),
		T(iret_to_user_loads_everything),
		T(iret_from_user_cannot_change_if_and_iopl),
		T(bad_iret_frames_fault_and_change_nothing),
		T(iret_to_compat_mode_and_back),
		T(iretd_in_long_mode_takes_32bit_words),
		T(syscall_and_sysret_round_trip),
		T(sysret_checks),
		T(compat_syscalls_follow_the_vendor),
		T(lretq_within_the_kernel),
		T(far_return_to_user_pops_the_stack_pointer),
		T(far_jump_through_memory),
		T(call_gate_switches_to_rsp0),
		T(lar_lsl_verr_verw),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
