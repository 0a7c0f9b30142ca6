// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every exception that can be raised, in kernel and in user mode: vector, error
 * code, saved RIP, CR2, stack.
 */
#include "x86.h"

#define NONCANONICAL 0x0000900000000000ul

TEST(divide_error_is_precise)
{
	struct trap t;
	u32 zero = 0;

	CATCH(&t, asm volatile(AT "divl %0" : : "m"(zero) : "rax", "rdx"));
	CHECK_EQ(t.vector, VEC_DE);
	CHECK_EQ(t.rip, fault_at);
	CATCH(&t, asm volatile("mov $0x100, %%edx; mov $1, %%ecx; " AT
			       "mov $0, %%eax; divl %%ecx" : : : "rax", "rcx", "rdx"));
	CHECK_EQ(t.vector, VEC_DE);
	CHECK_EQ(t.rcx, 1);
	CHECK_EQ(t.rdx, 0x100);
}

TEST(breakpoint_pushes_the_next_address)
{
	struct trap t;

	CATCH(&t, asm volatile(AT "int3" : : : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_BP);
	CHECK_EQ(t.rip, fault_at + 1);
	CATCH(&t, asm volatile(AT ".byte 0xcd, 3" : : : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_BP);
	CHECK_EQ(t.rip, fault_at + 2);
}

TEST(icebp_is_a_debug_exception)
{
	struct trap t;

	if (engine_is_tcg())
		skip("TCG has no ICEBP");
	CATCH(&t, asm volatile(AT ".byte 0xf1" : : : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_DB);
	CHECK_EQ(t.rip, fault_at + 1);
}

TEST(invalid_opcodes_are_precise)
{
	struct trap t;

	CATCH(&t, asm volatile(AT "ud2" : : : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_UD);
	CHECK_EQ(t.rip, fault_at);
	CATCH(&t, asm volatile(AT ".byte 0x06" : : : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_UD);
	CHECK_EQ(t.rip, fault_at);
	/* LOCK on a register destination */
	CATCH(&t, asm volatile(AT ".byte 0xf0, 0x01, 0xc8" : : : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_UD);
	CHECK_EQ(t.rip, fault_at);
	/* mov to cs */
	CATCH(&t, asm volatile(AT ".byte 0x8e, 0xc8" : : : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_UD);
	/* ud1, ud0 */
	CATCH(&t, asm volatile(AT ".byte 0x0f, 0xb9, 0xc0" : : : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_UD);
	/* control register that does not exist */
	CATCH(&t, asm volatile(AT ".byte 0x0f, 0x20, 0xc8" : : : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_UD);
	/* vmcall-like ground: sysexit etc. are valid; cmpxchg8b with a register is not */
	CATCH(&t, asm volatile(AT ".byte 0x0f, 0xc7, 0xc8" : : : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_UD);
}

TEST(device_not_available_follows_cr0)
{
	struct trap t;

	write_cr0(read_cr0() | CR0_TS);
	CATCH(&t, asm volatile(AT "fnop" : : : "rax"));
	CHECK_EQ(t.vector, VEC_NM);
	CHECK_EQ(t.rip, fault_at);
	CATCH(&t, asm volatile(AT "movaps %%xmm0, %%xmm1" : : : "rax"));
	CHECK_EQ(t.vector, VEC_NM);
	asm volatile("clts");
	CATCH(&t, asm volatile("movaps %xmm0, %xmm1; fnop"));
	CHECK_EQ(t.vector, VEC_NONE);
	write_cr0(read_cr0() | CR0_EM);
	CATCH(&t, asm volatile("fnop"));
	CHECK_EQ(t.vector, VEC_NM);
	CATCH(&t, asm volatile("movaps %xmm0, %xmm1"));
	CHECK_EQ(t.vector, VEC_UD);
}

TEST(loading_bad_selectors_faults_with_the_selector)
{
	guest_gdt[SEL_FREE / 8] = guest_gdt[SEL_KDATA / 8] & ~(1ul << 47);
	CHECK_TRAP(VEC_NP, SEL_FREE, write_ds(SEL_FREE));
	CHECK_TRAP(VEC_NP, SEL_FREE, write_fs(SEL_FREE));
	CHECK_TRAP(VEC_SS, SEL_FREE, write_ss(SEL_FREE));
	CHECK_TRAP(VEC_GP, 0x1000, write_es(0x1000));
	CHECK_TRAP(VEC_GP, 4, write_gs(4));
	CHECK_TRAP(VEC_GP, SEL_TSS, write_ds(SEL_TSS));
	CHECK_TRAP(VEC_GP, SEL_KCODE, write_ss(SEL_KCODE));
	CHECK_TRAP(VEC_GP, SEL_UDATA & ~3, write_ss(SEL_UDATA));
	CHECK_VECTOR(VEC_NONE, write_ds(0); write_es(3); write_fs(SEL_UDATA);
		     write_ds(SEL_KCODE); write_ds(SEL_KDATA));
	CHECK_EQ(read_fs(), SEL_UDATA);
	CHECK_EQ(read_es(), 3);
}

TEST(noncanonical_data_is_general_protection)
{
	struct trap t;
	u64 bad = NONCANONICAL;

	CATCH(&t, asm volatile(AT "movq (%0), %%rcx" : : "r"(bad) : "rax", "rcx"));
	CHECK_EQ(t.vector, VEC_GP);
	CHECK_EQ(t.error, 0);
	CHECK_EQ(t.rip, fault_at);
	CATCH(&t, asm volatile(AT "movq %%rcx, (%0)" : : "r"(bad) : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_GP);
}

TEST(noncanonical_stack_is_a_stack_fault)
{
	struct trap t;

	if (hardware_is_tcg())
		skip("TCG raises #GP");
	/* the handler needs a stack of its own */
	set_gate(VEC_SS, trap_stubs + 16 * VEC_SS, SEL_KCODE, 14, 0, 1);
	CATCH(&t, asm volatile("movq %0, %%rsp\n" AT "pushq %%rcx"
			       : : "r"(NONCANONICAL) : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_SS);
	CHECK_EQ(t.error, 0);
	CHECK_EQ(t.rip, fault_at);
	CHECK_EQ(t.rsp, NONCANONICAL);
	CATCH(&t, asm volatile("movq %0, %%rbx\n movq %%rsp, %%rdx; movq %%rbx, %%rbp\n" AT
			       "movq (%%rbp), %%rcx"
			       : : "r"(NONCANONICAL) : "rax", "rbx", "rcx", "rdx", "memory"));
	CHECK_EQ(t.vector, VEC_SS);
}

TEST(page_faults_tell_address_and_reason)
{
	u64 root = read_cr3() & PTE_ADDR;
	u64 va = 0x40000000;
	struct trap t;

	CATCH(&t, asm volatile(AT "movb 3(%0), %%cl" : : "r"(va) : "rax", "rcx"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.error, 0);
	CHECK_EQ(t.cr2, va + 3);
	CHECK_EQ(t.rip, fault_at);
	CATCH(&t, asm volatile(AT "movl %%ecx, 5(%0)" : : "r"(va) : "rax", "memory"));
	CHECK_EQ(t.error, PF_W);
	CHECK_EQ(t.cr2, va + 5);
	map_new(root, va, PTE_P);
	CATCH(&t, asm volatile(AT "incl 8(%0)" : : "r"(va) : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.error, PF_P | PF_W);
	CHECK_EQ(t.cr2, va + 8);
	CHECK_EQ(t.rip, fault_at);
	map(root, va, page_alloc(), PTE_P | PTE_W | PTE_NX);
	invlpg((void *)va);
	CATCH(&t, call_at(va + 16));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.error, PF_P | PF_I);
	CHECK_EQ(t.cr2, va + 16);
	CHECK_EQ(t.rip, va + 16);
}

TEST(page_fault_of_a_crossing_access_names_the_second_page)
{
	u64 root = read_cr3() & PTE_ADDR;
	u64 va = 0x40000000;
	struct trap t;
	u64 *page = map_new(root, va, PTE_P | PTE_W);

	page[511] = 0x1122334455667788;
	CATCH(&t, asm volatile(AT "movq %%rcx, 4092(%0)" : : "r"(va) : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.error, PF_W);
	CHECK_EQ(t.cr2, va + 4096);
	CHECK_EQ(page[511], 0x1122334455667788);
}

TEST(x87_errors_come_with_the_next_instruction)
{
	struct trap t;
	u16 cw = 0x37b; /* zero divide unmasked */

	CATCH(&t, asm volatile("fninit; fldcw %0; fld1; fldz; fdivrp\n" AT "fwait"
			       : : "m"(cw) : "rax"));
	asm volatile("fninit");
	CHECK_EQ(t.vector, VEC_MF);
	CHECK_EQ(t.rip, fault_at);
}

TEST(simd_errors_are_precise)
{
	u32 mxcsr = 0x1d80; /* zero divide unmasked */
	u32 normal = 0x1f80;
	struct trap t;

	if (hardware_is_tcg())
		skip("TCG never raises it");
	CATCH(&t, asm volatile("ldmxcsr %0; pcmpeqd %%xmm1, %%xmm1; psrld $31, %%xmm1;"
			       "cvtdq2ps %%xmm1, %%xmm0; pxor %%xmm1, %%xmm1\n" AT
			       "divps %%xmm1, %%xmm0" : : "m"(mxcsr) : "rax"));
	asm volatile("ldmxcsr %0" : : "m"(normal));
	CHECK_EQ(t.vector, VEC_XM);
	CHECK_EQ(t.rip, fault_at);
}

TEST(sse_alignment_is_general_protection)
{
	static u8 data[64] __attribute__((aligned(16)));
	struct trap t;

	CATCH(&t, asm volatile(AT "movaps %%xmm0, 1(%0)" : : "r"(data) : "rax", "memory"));
	CHECK_EQ(t.vector, VEC_GP);
	CHECK_EQ(t.error, 0);
	CHECK_EQ(t.rip, fault_at);
}

/* --- INT n ---------------------------------------------------------------- */

/* A table of INT n; RET. */
static u8 ints[256][4] __attribute__((aligned(4096)));

TEST(int_n_reaches_every_vector)
{
	unsigned int n;
	struct trap t;

	for (n = 0; n < 256; n++) {
		/* a handler for a vector with an error code would miss one */
		if (n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21 || n == 29 || n == 30)
			continue;
		ints[n][0] = 0xcd;
		ints[n][1] = n;
		ints[n][2] = 0xc3;
		CATCH(&t, call_at((u64)ints[n]));
		CHECK_EQ(t.vector, n);
		CHECK_EQ(t.rip, (u64)ints[n] + 2);
		CHECK_EQ(t.cs, SEL_KCODE);
		CHECK_EQ(t.ss, SEL_KDATA);
	}
}

TEST(int_n_without_a_gate_faults_with_the_vector)
{
	if (engine_is_tcg())
		skip("TCG's error code is the vector times 16");
	guest_idt[0x90].attr &= 0x7f;
	CHECK_TRAP(VEC_NP, 0x90 * 8 + 2, asm volatile("int $0x90"));
	guest_idt[0x90].attr = 0x80;
	CHECK_TRAP(VEC_GP, 0x90 * 8 + 2, asm volatile("int $0x90"));
	load_idt(guest_idt, 16 * 0x40 - 1);
	CHECK_TRAP(VEC_GP, 0x90 * 8 + 2, asm volatile("int $0x90"));
}

TEST(gates_with_bad_segments_fault_with_the_selector)
{
	set_gate(0x90, trap_stubs + 16 * 0x90, SEL_KDATA, 14, 0, 0);
	CHECK_TRAP(VEC_GP, SEL_KDATA, asm volatile("int $0x90"));
	set_gate(0x90, trap_stubs + 16 * 0x90, 0, 14, 0, 0);
	CHECK_TRAP(VEC_GP, 0, asm volatile("int $0x90"));
	set_gate(0x90, trap_stubs + 16 * 0x90, SEL_KCODE32, 14, 0, 0);
	CHECK_TRAP(VEC_GP, SEL_KCODE32, asm volatile("int $0x90"));
}

static u64 gate_flags;

static bool note_flags(struct trap *t)
{
	gate_flags = read_flags();
	return true;
}

TEST(interrupt_gates_clear_if_and_trap_gates_keep_it)
{
	set_handler(0x90, note_flags);
	set_gate(0x90, trap_stubs + 16 * 0x90, SEL_KCODE, 14, 0, 0);
	write_flags(2 | RF_IF);
	asm volatile("int $0x90" : : : "memory");
	CHECK_EQ(gate_flags & RF_IF, 0);
	CHECK_EQ(read_flags() & RF_IF, RF_IF);
	set_gate(0x90, trap_stubs + 16 * 0x90, SEL_KCODE, 15, 0, 0);
	asm volatile("int $0x90" : : : "memory");
	CHECK_EQ(gate_flags & RF_IF, RF_IF);
	cli();
	asm volatile("int $0x90" : : : "memory");
	CHECK_EQ(gate_flags & RF_IF, 0);
}

static u64 handler_rsp;

static bool note_rsp(struct trap *t)
{
	handler_rsp = (u64)t;
	return true;
}

TEST(ist_gates_switch_the_stack_and_others_align_it)
{
	u64 rsp;

	set_handler(0x90, note_rsp);
	set_gate(0x90, trap_stubs + 16 * 0x90, SEL_KCODE, 14, 0, 3);
	guest_tss.ist[2] = (u64)df_stack_top - 1024;
	asm volatile("int $0x90" : : : "memory");
	CHECK_EQ(handler_rsp, (u64)df_stack_top - 1024 - offsetof(struct trap, cr2));
	set_gate(0x90, trap_stubs + 16 * 0x90, SEL_KCODE, 14, 0, 0);
	asm volatile("movq %%rsp, %%rbx; subq $3, %%rsp; movq %%rsp, %0; int $0x90; movq %%rbx, %%rsp"
		     : "=r"(rsp) : : "rbx", "memory");
	CHECK_EQ(handler_rsp, (rsp & ~15ul) - offsetof(struct trap, cr2));
}

/* --- from user mode ------------------------------------------------------- */

#define USER_FAULT(id, text, vec, err, offset)                                 \
	USER_ASM(id##_code, text);                                             \
	TEST(user_##id)                                                        \
	{                                                                      \
		struct user u;                                                 \
		user_init(&u, id##_code, id##_code_end);                       \
		u.rbp = NONCANONICAL;                                          \
		u.rbx = (u64)trap_stubs;                                       \
		u.rsi = USER_DATA;                                             \
		user_run(&u);                                                  \
		CHECK_EQ(u.vector, vec);                                       \
		if (!((err) & 2 && (vec) == VEC_GP && engine_is_tcg()))        \
			CHECK_EQ(u.error, err); /* TCG: vector times 16 */     \
		CHECK_EQ(u.rip, USER_CODE + (offset));                         \
		CHECK_EQ(u.cs, SEL_UCODE);                                     \
		CHECK_EQ(u.ss, SEL_UDATA);                                     \
	}

USER_FAULT(divide_error, "xor %ecx, %ecx; div %ecx", VEC_DE, 0, 2)
USER_FAULT(breakpoint, "nop; int3", VEC_BP, 0, 2)
USER_FAULT(int_3, "nop; .byte 0xcd, 3", VEC_BP, 0, 3)
USER_FAULT(int_4, ".byte 0xcd, 4", VEC_OF, 0, 2)
USER_FAULT(int_80, "int $0x80", 0x80, 0, 2)
USER_FAULT(int_without_permission, "nop; int $0x90", VEC_GP, 0x90 * 8 + 2, 1)
USER_FAULT(int_14_without_permission, "nop; int $14", VEC_GP, 14 * 8 + 2, 1)
USER_FAULT(invalid_opcode, "nop; ud2", VEC_UD, 0, 1)
USER_FAULT(noncanonical_data, "movq %rbp, %rax; movq (%rax), %rax", VEC_GP, 0, 3)
USER_FAULT(read_of_kernel_memory, "movq (%rbx), %rax", VEC_PF, PF_U | PF_P, 0)
USER_FAULT(write_of_kernel_memory, "movq %rax, (%rbx)", VEC_PF, PF_U | PF_P | PF_W, 0)
USER_FAULT(cli, "nop; cli", VEC_GP, 0, 1)
USER_FAULT(null_pointer, "xor %eax, %eax; movb (%rax), %al", VEC_PF, PF_U, 2)
USER_FAULT(bad_selector, "mov $0x1000, %eax; mov %eax, %ds", VEC_GP, 0x1000, 5)
USER_FAULT(kernel_selector, "mov $0x10, %eax; mov %eax, %es", VEC_GP, 0x10, 5)
USER_FAULT(null_stack_selector, "xor %eax, %eax; mov %eax, %ss", VEC_GP, 0, 2)

USER_ASM(unaligned, "movl 1(%rsi), %eax; nop; int3");

TEST(alignment_check_needs_am_ac_and_user_mode)
{
	struct user u;
	struct trap t;

	user_init(&u, unaligned, unaligned_end);
	u.rsi = USER_DATA;
	u.rflags = 2 | RF_AC;
	user_run(&u);
	if (u.vector == VEC_BP && hardware_is_tcg())
		skip("TCG has no alignment checks");
	CHECK_EQ(u.vector, VEC_AC);
	CHECK_EQ(u.error, 0);
	CHECK_EQ(u.rip, USER_CODE);
	u.rflags = 2;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	u.rip = USER_CODE;
	u.rflags = 2 | RF_AC;
	write_cr0(read_cr0() & ~CR0_AM);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	write_cr0(read_cr0() | CR0_AM);
	CATCH(&t, write_flags(2 | RF_AC); asm volatile("movl 1(%0), %%eax" : : "r"(&u) : "rax"));
	CHECK_EQ(t.vector, VEC_NONE);
}
