// SPDX-License-Identifier: GPL-2.0-only
/* Exceptions and interrupts reach the guest's handlers as the manual says. */
#include "mon_rig.h"

struct frame {
	u64 rip, cs, rflags, rsp, ss;
};

static struct frame *frame_at(u64 rsp)
{
	return rig_at(rsp);
}

static void check_handler(u8 vec)
{
	struct vcpu *v = &rig->v;

	assert_int_equal(v->regs.rip, RIG_HANDLER(vec));
	assert_int_equal(v->seg[SEG_CS].selector, SEL_CODE);
	assert_int_equal(vcpu_cpl(v), 0);
	assert_true(v->seg[SEG_CS].l);
	assert_false(v->exc.pending);
}

static void fault_at_cpl0_pushes_aligned_frame_with_error_code(void **state)
{
	struct vcpu *v = &rig->v;
	u64 rsp;

	v->regs.gpr[GPR_RSP] = RIG_STACK - 4;
	v->regs.rflags |= RF_IF | RF_CF | RF_TF | RF_NT;
	vcpu_queue_exception(v, VEC_GP, true, 0x1234);
	assert_int_equal(vcpu_deliver_exception(v), EMUL_DONE);
	check_handler(VEC_GP);
	rsp = v->regs.gpr[GPR_RSP];
	assert_int_equal(rsp, ((RIG_STACK - 4) & ~15) - 48);
	assert_int_equal(*rig_u64(rsp), 0x1234);
	assert_int_equal(frame_at(rsp + 8)->rip, RIG_CODE);
	assert_int_equal(frame_at(rsp + 8)->cs, SEL_CODE);
	assert_int_equal(frame_at(rsp + 8)->ss, SEL_DATA);
	assert_int_equal(frame_at(rsp + 8)->rsp, RIG_STACK - 4);
	assert_int_equal(frame_at(rsp + 8)->rflags,
			 RF_FIXED | RF_IF | RF_CF | RF_TF | RF_NT | RF_RF);
	assert_int_equal(v->regs.rflags, RF_FIXED | RF_CF);
	/* No change of privilege: SS stays. */
	assert_int_equal(v->seg[SEG_SS].selector, SEL_DATA);
}

static void trap_gate_keeps_if(void **state)
{
	struct vcpu *v = &rig->v;

	rig_set_gate(VEC_UD, SEL_CODE, RIG_HANDLER(VEC_UD), 0xf, 0, 0);
	v->regs.rflags |= RF_IF;
	vcpu_queue_exception(v, VEC_UD, false, 0);
	vcpu_deliver_exception(v);
	check_handler(VEC_UD);
	assert_true(v->regs.rflags & RF_IF);
	assert_int_equal(v->regs.gpr[GPR_RSP], RIG_STACK - 40);
}

static void interrupt_from_user_switches_to_rsp0_and_null_ss(void **state)
{
	struct vcpu *v = &rig->v;
	struct frame *f = frame_at(RIG_STACK0 - 40);

	rig_user(false);
	v->regs.rflags |= RF_IF;
	assert_int_equal(vcpu_deliver_interrupt(v, 0x40, false), EMUL_DONE);
	check_handler(0x40);
	assert_int_equal(v->regs.gpr[GPR_RSP], RIG_STACK0 - 40);
	assert_int_equal(v->seg[SEG_SS].selector, 0);
	assert_int_equal(f->rip, RIG_CODE);
	assert_int_equal(f->cs, SEL_UCODE);
	assert_int_equal(f->ss, SEL_UDATA);
	assert_int_equal(f->rsp, RIG_USTACK);
	assert_int_equal(f->rflags, RF_FIXED | RF_IF);
	assert_false(v->regs.rflags & RF_IF);
}

static void interrupt_from_compat_mode_enters_64bit_handler(void **state)
{
	struct vcpu *v = &rig->v;

	rig_user(true);
	assert_int_equal(vcpu_deliver_interrupt(v, 0x40, false), EMUL_DONE);
	check_handler(0x40);
	assert_int_equal(frame_at(RIG_STACK0 - 40)->cs, SEL_UCODE32);
}

static void ist_stack_is_used_without_privilege_change(void **state)
{
	struct vcpu *v = &rig->v;

	rig_set_gate(VEC_DB, SEL_CODE, RIG_HANDLER(VEC_DB), 0xe, 0, 1);
	vcpu_queue_exception(v, VEC_DB, false, 0);
	v->exc.dr6 = DR6_BS;
	v->dr7 |= DR7_GD;
	vcpu_deliver_exception(v);
	check_handler(VEC_DB);
	assert_int_equal(v->regs.gpr[GPR_RSP], RIG_IST1 - 40);
	assert_int_equal(v->dr6, DR6_ONES | DR6_BS);
	assert_false(v->dr7 & DR7_GD);
	/* #DB is no fault: RF stays clear in the frame. */
	assert_int_equal(frame_at(RIG_IST1 - 40)->rflags, RF_FIXED);
}

static void page_fault_loads_cr2_at_delivery(void **state)
{
	struct vcpu *v = &rig->v;

	v->cr2 = 1;
	vcpu_queue_pf(v, 0xdead000, 6);
	assert_int_equal(v->cr2, 1);
	vcpu_deliver_exception(v);
	check_handler(VEC_PF);
	assert_int_equal(v->cr2, 0xdead000);
	assert_int_equal(*rig_u64(v->regs.gpr[GPR_RSP]), 6);
}

static void double_fault_table(void **state)
{
	static const struct {
		u8 first, second, result;
	} t[] = {
		{ VEC_GP, VEC_GP, VEC_DF }, { VEC_DE, VEC_TS, VEC_DF },
		{ VEC_PF, VEC_PF, VEC_DF }, { VEC_PF, VEC_GP, VEC_DF },
		{ VEC_GP, VEC_PF, VEC_PF }, { VEC_UD, VEC_GP, VEC_GP },
		{ VEC_PF, VEC_UD, VEC_UD }, { VEC_GP, VEC_UD, VEC_UD },
		{ VEC_DB, VEC_PF, VEC_PF }, { VEC_DF, VEC_UD, VEC_UD },
	};
	struct vcpu *v = &rig->v;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		v->exc.pending = false;
		vcpu_queue_exception(v, t[i].first, true, 0);
		vcpu_queue_exception(v, t[i].second, true, 0);
		assert_true(v->exc.pending);
		assert_int_equal(v->exc.vector, t[i].result);
		assert_false(v->triple_fault);
	}
}

static void page_fault_on_the_stack_becomes_double_fault(void **state)
{
	struct vcpu *v = &rig->v;

	rig_set_pte(RIG_STACK - 0x1000, 0);
	rig_set_gate(VEC_DF, SEL_CODE, RIG_HANDLER(VEC_DF), 0xe, 0, 1);
	vcpu_queue_pf(v, 0x12345000, 2);
	assert_int_equal(vcpu_deliver_exception(v), EMUL_DONE);
	check_handler(VEC_DF);
	assert_int_equal(v->regs.gpr[GPR_RSP], RIG_IST1 - 48);
	assert_int_equal(*rig_u64(RIG_IST1 - 48), 0);
	assert_int_equal(v->cr2, RIG_STACK - 8);
	assert_int_equal(frame_at(RIG_IST1 - 40)->rip, RIG_CODE);
	assert_false(v->triple_fault);
}

static void fault_in_double_fault_delivery_is_triple(void **state)
{
	struct vcpu *v = &rig->v;

	rig_set_pte(RIG_STACK - 0x1000, 0);
	vcpu_queue_pf(v, 0x12345000, 2);
	assert_int_equal(vcpu_deliver_exception(v), EMUL_DONE);
	assert_true(v->triple_fault);
	assert_int_equal(v->regs.rip, RIG_CODE);
	assert_int_equal(v->regs.gpr[GPR_RSP], RIG_STACK);
}

static void empty_idt_is_a_triple_fault(void **state)
{
	struct vcpu *v = &rig->v;

	v->idt.limit = 0;
	assert_int_equal(vcpu_deliver_interrupt(v, 0x40, false), EMUL_DONE);
	assert_true(v->triple_fault);
}

/* What a bad gate for vector 0x50 raises, with EXT for an interrupt. */
static void expect_gate_fault(u8 vec, u32 error)
{
	struct vcpu *v = &rig->v;

	v->regs.rip = RIG_CODE;
	v->regs.gpr[GPR_RSP] = RIG_STACK;
	assert_int_equal(vcpu_deliver_interrupt(v, 0x50, false), EMUL_DONE);
	check_handler(vec);
	assert_int_equal(*rig_u64(v->regs.gpr[GPR_RSP]), error);
	assert_int_equal(v->regs.gpr[GPR_RSP], RIG_STACK - 48);
}

static void bad_gates_raise_with_their_own_error_codes(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *gate = rig_u64(RIG_IDT + 0x50 * 16);

	rig_set_gate(0x50, SEL_CODE, 0x1000, 0x5, 0, 0); /* task gate */
	expect_gate_fault(VEC_GP, 0x50 * 8 + 3);
	rig_set_gate(0x50, SEL_CODE, 0x1000, 0xe, 0, 0);
	*gate &= ~(1ull << 47);
	expect_gate_fault(VEC_NP, 0x50 * 8 + 3);
	rig_set_gate(0x50, 0, 0x1000, 0xe, 0, 0);
	expect_gate_fault(VEC_GP, 1);
	rig_set_gate(0x50, SEL_DATA, 0x1000, 0xe, 0, 0);
	expect_gate_fault(VEC_GP, SEL_DATA | 1);
	rig_set_gate(0x50, SEL_CODE32_0, 0x1000, 0xe, 0, 0);
	expect_gate_fault(VEC_GP, SEL_CODE32_0 | 1);
	rig_set_gate(0x50, SEL_ABSENT, 0x1000, 0xe, 0, 0);
	expect_gate_fault(VEC_NP, SEL_ABSENT | 1);
	rig_set_gate(0x50, 0x200, 0x1000, 0xe, 0, 0);
	expect_gate_fault(VEC_GP, 0x201);
	rig_set_gate(0x50, SEL_CODE, 1ull << 60, 0xe, 0, 0);
	expect_gate_fault(VEC_GP, 1);
	v->idt.limit = 0x50 * 16 + 14;
	rig_set_gate(0x50, SEL_CODE, 0x1000, 0xe, 0, 0);
	expect_gate_fault(VEC_GP, 0x50 * 8 + 3);
}

static void tss_too_small_raises_ts(void **state)
{
	struct vcpu *v = &rig->v;

	v->tr.limit = 10;
	rig_user(false);
	rig_set_gate(VEC_TS, SEL_CODE, RIG_HANDLER(VEC_TS), 0xe, 0, 0);
	/* No stack for the #TS either: that ends in a triple fault. */
	vcpu_deliver_interrupt(v, 0x50, false);
	assert_true(v->triple_fault);
}

static void software_interrupt_checks_gate_dpl(void **state)
{
	struct vcpu *v = &rig->v;

	rig_user(false);
	rig_code("\xcd\x80", 2);
	assert_int_equal(vcpu_user_fault(v, VEC_GP, 0x80 * 8 + 2), EMUL_FAULT);
	assert_true(v->exc.soft);
	vcpu_deliver_exception(v);
	check_handler(VEC_GP);
	assert_int_equal(*rig_u64(v->regs.gpr[GPR_RSP]), 0x80 * 8 + 2);
	assert_int_equal(frame_at(v->regs.gpr[GPR_RSP] + 8)->rip, RIG_CODE);
}

static void software_interrupt_returns_behind_the_instruction(void **state)
{
	struct vcpu *v = &rig->v;

	rig_set_gate(0x80, SEL_CODE, RIG_HANDLER(0x80), 0xf, 3, 0);
	rig_user(true);
	rig_code("\xcd\x80", 2);
	v->regs.rflags |= RF_IF;
	assert_int_equal(vcpu_user_fault(v, VEC_GP, 0x80 * 8 + 2), EMUL_FAULT);
	vcpu_deliver_exception(v);
	check_handler(0x80);
	assert_int_equal(frame_at(RIG_STACK0 - 40)->rip, RIG_CODE + 2);
	assert_int_equal(frame_at(RIG_STACK0 - 40)->cs, SEL_UCODE32);
	assert_true(v->regs.rflags & RF_IF);
}

static void nmi_is_masked_until_iret(void **state)
{
	struct vcpu *v = &rig->v;

	assert_true(vcpu_nmi_allowed(v));
	vcpu_deliver_interrupt(v, VEC_NMI, true);
	check_handler(VEC_NMI);
	assert_true(v->nmi_masked);
	assert_false(vcpu_nmi_allowed(v));
	assert_int_equal(vcpu_iret(v, 8), EMUL_DONE);
	assert_true(vcpu_nmi_allowed(v));
	assert_int_equal(v->regs.rip, RIG_CODE);
	assert_int_equal(v->regs.gpr[GPR_RSP], RIG_STACK);
	assert_int_equal(v->seg[SEG_SS].selector, SEL_DATA);
}

static void delivery_sets_the_accessed_bit(void **state)
{
	struct vcpu *v = &rig->v;

	rig_set_desc(SEL_CODE, 0x00af9a000000ffff);
	vcpu_queue_exception(v, VEC_UD, false, 0);
	vcpu_deliver_exception(v);
	check_handler(VEC_UD);
	assert_int_equal(*rig_u64(RIG_GDT + SEL_CODE), 0x00af9b000000ffff);
}

static void frame_across_pages_is_all_or_nothing(void **state)
{
	struct vcpu *v = &rig->v;

	rig_set_gate(VEC_PF, SEL_CODE, RIG_HANDLER(VEC_PF), 0xe, 0, 1);
	v->regs.gpr[GPR_RSP] = RIG_STACK + 0x10;
	memset(rig_at(RIG_STACK), 0x55, 0x10);
	rig_set_pte(RIG_STACK - 0x1000, 0);
	vcpu_deliver_interrupt(v, 0x50, false);
	check_handler(VEC_PF);
	assert_int_equal(*rig_u64(RIG_STACK), 0x5555555555555555);
	assert_int_equal(v->regs.gpr[GPR_RSP], RIG_IST1 - 48);
	assert_int_equal(v->cr2 & ~0xfffull, RIG_STACK - 0x1000);
}

static void no_kernel_stack_write_needs_user_rights(void **state)
{
	struct vcpu *v = &rig->v;

	/* A supervisor-only stack page is fine when coming from CPL 3. */
	rig_set_pte(RIG_STACK0 - 0x1000, 3);
	rig_user(false);
	vcpu_deliver_interrupt(v, 0x50, false);
	check_handler(0x50);
}

static void read_only_stack_faults_with_write_bit(void **state)
{
	struct vcpu *v = &rig->v;

	rig_set_pte(RIG_STACK - 0x1000, 5);
	rig_set_gate(VEC_PF, SEL_CODE, RIG_HANDLER(VEC_PF), 0xe, 0, 1);
	vcpu_deliver_interrupt(v, 0x50, false);
	check_handler(VEC_PF);
	assert_int_equal(*rig_u64(RIG_IST1 - 48), PF_ERR_PRESENT | PF_ERR_WRITE);
}

static void stop_keeps_the_first_reason(void **state)
{
	struct vcpu *v = &rig->v;

	assert_int_equal(vcpu_stop(v, "first %d", 1), EMUL_STOP);
	assert_int_equal(vcpu_stop(v, "second"), EMUL_STOP);
	assert_string_equal(v->stop_reason, "first 1");
	assert_int_equal(rig->run.exit_reason, KVM_EXIT_INTERNAL_ERROR);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(fault_at_cpl0_pushes_aligned_frame_with_error_code),
		T(trap_gate_keeps_if),
		T(interrupt_from_user_switches_to_rsp0_and_null_ss),
		T(interrupt_from_compat_mode_enters_64bit_handler),
		T(ist_stack_is_used_without_privilege_change),
		T(page_fault_loads_cr2_at_delivery),
		T(double_fault_table),
		T(page_fault_on_the_stack_becomes_double_fault),
		T(fault_in_double_fault_delivery_is_triple),
		T(empty_idt_is_a_triple_fault),
		T(bad_gates_raise_with_their_own_error_codes),
		T(tss_too_small_raises_ts),
		T(software_interrupt_checks_gate_dpl),
		T(software_interrupt_returns_behind_the_instruction),
		T(nmi_is_masked_until_iret),
		T(delivery_sets_the_accessed_bit),
		T(frame_across_pages_is_all_or_nothing),
		T(no_kernel_stack_write_needs_user_rights),
		T(read_only_stack_faults_with_write_bit),
		T(stop_keeps_the_first_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
