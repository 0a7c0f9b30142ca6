// SPDX-License-Identifier: GPL-2.0-only
/* Breakpoints: which are the hardware's, and what emulated instructions hit. */
#include "mon_rig.h"

#define WORD 0x80000u
#define ON(n) (1u << (2 * (n)))
#define CONTROL(n, type, len) ((u64)(ON(n)) | (u64)((type) | (len) << 2) << (16 + 4 * (n)))
enum { INSN, WRITE, IO, ACCESS };
enum { LEN1, LEN2, LEN8, LEN4 };

static void set(u32 n, u64 addr, u64 control)
{
	struct vcpu *v = &rig->v;

	vcpu_set_dr(v, n, addr);
	vcpu_set_dr(v, 7, v->dr7 | control);
}

/* DR6 bits that the bytes, emulated as a memory instruction with RBX = WORD, give. */
static u64 hits_of(const void *bytes, u32 n)
{
	struct vcpu *v = &rig->v;

	v->regs.rip = RIG_CODE;
	v->regs.gpr[GPR_RBX] = WORD;
	v->exc.pending = false;
	rig_code(bytes, n);
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	return v->exc.pending && v->exc.vector == VEC_DB ? v->exc.dr6 : 0;
}

static void writes_and_accesses_are_told_apart(void **state)
{
	set(0, WORD, CONTROL(0, WRITE, LEN8));
	set(3, WORD, CONTROL(3, ACCESS, LEN8));
	assert_int_equal(hits_of("\x48\x89\x03", 3), 9); /* mov %rax, (%rbx) */
	assert_int_equal(hits_of("\x48\x8b\x03", 3), 8); /* mov (%rbx), %rax */
	assert_int_equal(hits_of("\x48\xff\x03", 3), 9); /* incq (%rbx) */
}

static void each_byte_of_the_range_counts(void **state)
{
	u32 i;

	set(1, WORD + 4, CONTROL(1, WRITE, LEN4));
	for (i = 0; i < 12; i++) {
		u8 code[] = { 0x88, 0x43, i }; /* mov %al, i(%rbx) */

		assert_int_equal(hits_of(code, 3), i >= 4 && i < 8 ? 2 : 0);
	}
	assert_int_equal(hits_of("\x48\x89\x43\xfd", 4), 2); /* -3: its last byte */
	assert_int_equal(hits_of("\x48\x89\x43\xfc", 4), 0);
}

static void an_address_counts_from_its_aligned_start(void **state)
{
	set(2, WORD + 5, CONTROL(2, WRITE, LEN8));
	assert_int_equal(hits_of("\x88\x03", 2), 4);
}

static void disabled_breakpoints_see_nothing(void **state)
{
	set(0, WORD, CONTROL(0, WRITE, LEN8) & ~(u64)ON(0));
	assert_int_equal(hits_of("\x48\x89\x03", 3), 0);
}

static void a_repeated_store_stops_at_the_hit(void **state)
{
	struct vcpu *v = &rig->v;

	set(0, WORD + 8, CONTROL(0, WRITE, LEN8));
	v->regs.gpr[GPR_RDI] = WORD;
	v->regs.gpr[GPR_RCX] = 4;
	assert_int_equal(hits_of("\xf3\x48\xab", 3), 0);
	assert_int_equal(hits_of("\xf3\x48\xab", 3), 1);
	assert_int_equal(v->regs.gpr[GPR_RCX], 2);
	assert_int_equal(v->regs.rip, RIG_CODE);
}

static void a_fault_drops_the_hit(void **state)
{
	struct vcpu *v = &rig->v;

	set(0, WORD, CONTROL(0, WRITE, LEN8));
	rig_set_pte(WORD, 0);
	v->regs.gpr[GPR_RBX] = WORD;
	rig_code("\x48\x89\x03", 3);
	assert_int_equal(vcpu_emulate_memory(v), EMUL_FAULT);
	assert_int_equal(v->exc.vector, VEC_PF);
	rig_set_pte(WORD, 7);
	v->exc.pending = false;
	v->regs.gpr[GPR_RBX] = WORD + 64;
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_false(v->exc.pending);
}

static void instruction_breakpoints_hit_their_address_only(void **state)
{
	struct vcpu *v = &rig->v;

	set(0, RIG_CODE, CONTROL(0, INSN, LEN1));
	set(1, RIG_CODE, CONTROL(1, INSN, LEN1));
	set(2, RIG_CODE, CONTROL(2, WRITE, LEN1));
	assert_int_equal(debug_insn_hits(v, RIG_CODE), 3);
	assert_int_equal(debug_insn_hits(v, RIG_CODE + 1), 0);
	vcpu_set_dr(v, 7, 0);
	assert_int_equal(debug_insn_hits(v, RIG_CODE), 0);
}

static bool own(const struct vcpu *v, gva_t gva)
{
	return gva >> 12 == 0xfffffffff0000;
}

static void hardware_gets_what_it_may_see(void **state)
{
	struct vcpu *v = &rig->v;

	set(0, RIG_CODE, CONTROL(0, INSN, LEN1));
	set(1, 0xffffffff81000000, CONTROL(1, WRITE, LEN4));
	set(2, 0xfffffffff0000000, CONTROL(2, ACCESS, LEN8));
	set(3, 0x800000000000, CONTROL(3, ACCESS, LEN8));
	assert_int_equal(debug_hardware(v, true, own),
			 CONTROL(0, INSN, LEN1) | CONTROL(1, WRITE, LEN4));
	assert_int_equal(debug_hardware(v, false, own), CONTROL(1, WRITE, LEN4));
	/* I/O is emulated. */
	vcpu_set_dr(v, 7, CONTROL(0, IO, LEN1));
	assert_int_equal(debug_hardware(v, true, own), 0);
	/* Single-stepped, data breakpoints are noted beforehand. */
	vcpu_set_dr(v, 7, CONTROL(0, INSN, LEN1) | CONTROL(1, WRITE, LEN4));
	v->stepping = true;
	assert_int_equal(debug_hardware(v, true, own), CONTROL(0, INSN, LEN1));
	assert_int_equal(debug_hardware(v, false, own), CONTROL(1, WRITE, LEN4));
}

static u32 noted(const void *bytes, u32 n)
{
	struct vcpu *v = &rig->v;

	v->regs.gpr[GPR_RBX] = WORD;
	v->regs.gpr[GPR_RSP] = WORD + 8;
	v->debug_hits = 0;
	rig_code(bytes, n);
	vcpu_note_operands(v);
	assert_false(v->exc.pending);
	return v->debug_hits;
}

static void operands_are_noted_before_a_step(void **state)
{
	struct vcpu *v = &rig->v;

	rig_user(false);
	v->stepping = true;
	set(0, WORD, CONTROL(0, WRITE, LEN8));
	set(1, WORD, CONTROL(1, ACCESS, LEN8));
	set(2, WORD + 8, CONTROL(2, ACCESS, LEN8));
	assert_int_equal(noted("\x48\x89\x03", 3), 3); /* mov %rax, (%rbx) */
	assert_int_equal(noted("\x48\x8b\x03", 3), 2); /* mov (%rbx), %rax */
	assert_int_equal(noted("\x50", 1), 3); /* push %rax */
	assert_int_equal(noted("\x58", 1), 4); /* pop %rax */
	assert_int_equal(noted("\xe8\x00\x00\x00\x00", 5), 3); /* call */
	assert_int_equal(noted("\xc3", 1), 4); /* ret */
	assert_int_equal(noted("\x48\x8d\x03", 3), 0); /* lea (%rbx), %rax */
	v->regs.rip = 0x7ff0000000;
	v->debug_hits = 0;
	vcpu_note_operands(v);
	assert_false(v->exc.pending);
	assert_int_equal(v->debug_hits, 0);
}

static void the_end_of_an_instruction_is_that_of_no_branch(void **state)
{
	struct vcpu *v = &rig->v;
	gva_t end;

	rig_code("\x48\x89\x03", 3); /* mov %rax, (%rbx) */
	v->regs.rip = 0x1234;
	assert_true(vcpu_insn_end(v, RIG_CODE, &end));
	assert_int_equal(end, RIG_CODE + 3);
	rig_code("\xe8\x00\x00\x00\x00", 5); /* call */
	assert_false(vcpu_insn_end(v, RIG_CODE, &end));
	rig_code("\xff\x23", 2); /* jmp *(%rbx) */
	assert_false(vcpu_insn_end(v, RIG_CODE, &end));
	rig_code("\xc3", 1);
	assert_false(vcpu_insn_end(v, RIG_CODE, &end));
	assert_false(vcpu_insn_end(v, 0x7ff0000000, &end));
	assert_false(v->exc.pending);
}

static void user_flags_are_the_virtual_ones(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *top;

	rig_user(false);
	top = rig_u64(RIG_USTACK - 8);
	v->regs.gpr[GPR_RSP] = RIG_USTACK;
	v->regs.rflags = RF_FIXED | RF_IOPL | RF_ZF;
	rig_code("\x9c", 1); /* pushfq */
	assert_int_equal(vcpu_user_flags(v), EMUL_DONE);
	assert_int_equal(*top, RF_FIXED | RF_IOPL | RF_ZF);
	assert_int_equal(v->regs.rip, RIG_CODE + 1);
	/* POPF sets IF with IOPL 3 and not without. */
	*top = RF_FIXED | RF_IF;
	rig_code("\x9d", 1);
	assert_int_equal(vcpu_user_flags(v), EMUL_DONE);
	assert_int_equal(v->regs.rflags, RF_FIXED | RF_IOPL | RF_IF);
	v->regs.rflags = RF_FIXED;
	v->regs.gpr[GPR_RSP] = RIG_USTACK - 8;
	rig_code("\x9d", 1);
	assert_int_equal(vcpu_user_flags(v), EMUL_DONE);
	assert_int_equal(v->regs.rflags, RF_FIXED);
	/* Others are left to the hardware, and so are faults of the fetch. */
	rig_code("\x90", 1);
	assert_int_equal(vcpu_user_flags(v), -1);
	v->regs.rip = 0x7ff0000000;
	assert_int_equal(vcpu_user_flags(v), -1);
	assert_false(v->exc.pending);
}

static void ports_are_seen_with_debug_extensions_only(void **state)
{
	struct vcpu *v = &rig->v;

	set(1, 0x3f8, CONTROL(1, IO, LEN4));
	debug_io(v, 0x3fb, 1);
	assert_int_equal(v->debug_hits, 0);
	v->cr4 |= CR4_DE;
	debug_io(v, 0x3fb, 1);
	assert_int_equal(v->debug_hits, 2);
	v->debug_hits = 0;
	debug_io(v, 0x3fc, 1);
	assert_int_equal(v->debug_hits, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(writes_and_accesses_are_told_apart),
		T(each_byte_of_the_range_counts),
		T(an_address_counts_from_its_aligned_start),
		T(disabled_breakpoints_see_nothing),
		T(a_repeated_store_stops_at_the_hit),
		T(a_fault_drops_the_hit),
		T(instruction_breakpoints_hit_their_address_only),
		T(hardware_gets_what_it_may_see),
		T(operands_are_noted_before_a_step),
		T(the_end_of_an_instruction_is_that_of_no_branch),
		T(user_flags_are_the_virtual_ones),
		T(ports_are_seen_with_debug_extensions_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
