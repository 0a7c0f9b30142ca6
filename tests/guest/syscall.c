// SPDX-License-Identifier: GPL-2.0-only
/*
 * SYSCALL and SYSRET, 64-bit.
 */
#include "x86.h"

USER_ASM(one_syscall, "syscall\n int3");
USER_ASM(stop_at_once, "int3");
USER_ASM(syscall_loop, "1: syscall\n dec %rbx\n jnz 1b\n int3");
USER_ASM(do_sysret, "sysretq");

/* An entry that notes what SYSCALL loaded before going on as usual. */
u64 seen_flags, seen_cs, seen_ss, seen_rsp, seen_rax;
extern u8 probe_entry[];
asm(".text\n"
    "probe_entry:\n"
    "	movq %rsp, seen_rsp(%rip)\n"
    "	movq %rax, seen_rax(%rip)\n"
    "	leaq syscall_stack_top(%rip), %rsp\n"
    "	pushfq\n"
    "	popq seen_flags(%rip)\n"
    "	movl %cs, %eax\n"
    "	movq %rax, seen_cs(%rip)\n"
    "	movl %ss, %eax\n"
    "	movq %rax, seen_ss(%rip)\n"
    "	movq seen_rax(%rip), %rax\n"
    "	movq seen_rsp(%rip), %rsp\n"
    "	jmp syscall_entry\n");

static void fill_registers(struct user *u, u64 seed)
{
	u64 *r = &u->r15;
	int i;

	for (i = 0; i < 15; i++)
		r[i] = seed + i * 0x0101010101010101;
}

/* All but RCX and R11. */
static void check_registers(const struct user *got, const struct user *want)
{
	const u64 *g = &got->r15, *w = &want->r15;
	int i;

	for (i = 0; i < 15; i++) {
		if (&g[i] != &got->rcx && &g[i] != &got->r11)
			CHECK(g[i] == w[i], "register %d: %lx not %lx", i, g[i], w[i]);
	}
	CHECK_EQ(got->rsp, want->rsp);
}

TEST(syscall_saves_rip_in_rcx_and_flags_in_r11_and_keeps_the_rest)
{
	struct user u, before;

	user_init(&u, one_syscall, one_syscall_end);
	fill_registers(&u, 0x8123456789abcdef);
	u.rflags = 2 | RF_CF | RF_OF | RF_SF | RF_PF | RF_ID | RF_AC | RF_DF;
	before = u;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_SYSCALL);
	CHECK_EQ(u.rcx, USER_CODE + 2);
	CHECK_EQ(u.r11, before.rflags);
	check_registers(&u, &before);
}

TEST(syscall_loads_kernel_segments_and_masks_flags)
{
	struct user u;

	if (engine_is_tcg())
		skip("TCG clears the arithmetic flags and DF");
	wrmsr(MSR_LSTAR, (u64)probe_entry);
	wrmsr(MSR_SFMASK, RF_TF | RF_DF | RF_CF | RF_ZF | RF_IF);
	user_init(&u, one_syscall, one_syscall_end);
	u.rflags = 2 | RF_CF | RF_ZF | RF_DF | RF_SF | RF_OF | RF_AF | RF_AC;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_SYSCALL);
	CHECK_EQ(seen_flags, 2 | RF_SF | RF_OF | RF_AF | RF_AC);
	CHECK_EQ(seen_cs, SEL_KCODE);
	CHECK_EQ(seen_ss, SEL_KDATA);
	CHECK_EQ(seen_rsp, USER_STACK - 64);
	CHECK_EQ(u.r11, 2 | RF_CF | RF_ZF | RF_DF | RF_SF | RF_OF | RF_AF | RF_AC);
}

TEST(syscall_masks_nothing_with_a_zero_mask)
{
	struct user u;

	if (engine_is_tcg())
		skip("TCG clears the arithmetic flags and DF");
	wrmsr(MSR_LSTAR, (u64)probe_entry);
	wrmsr(MSR_SFMASK, 0);
	user_init(&u, one_syscall, one_syscall_end);
	u.rflags = 2 | RF_CF | RF_IF | RF_DF | RF_ID;
	user_run(&u);
	write_flags(2);
	CHECK_EQ(u.vector, VEC_SYSCALL);
	CHECK_EQ(seen_flags, 2 | RF_CF | RF_IF | RF_DF | RF_ID);
}

TEST(syscall_takes_its_segments_from_star)
{
	struct user u;

	guest_gdt[SEL_FREE / 8] = guest_gdt[SEL_KCODE / 8];
	guest_gdt[SEL_FREE / 8 + 1] = guest_gdt[SEL_KDATA / 8];
	wrmsr(MSR_LSTAR, (u64)probe_entry);
	wrmsr(MSR_STAR, (u64)0x20 << 48 | (u64)SEL_FREE << 32);
	user_init(&u, one_syscall, one_syscall_end);
	user_run(&u);
	CHECK_EQ(seen_cs, SEL_FREE);
	CHECK_EQ(seen_ss, SEL_FREE + 8);
}

TEST(sysret_restores_registers_flags_and_segments)
{
	struct user u, before;

	user_init(&u, stop_at_once, stop_at_once_end);
	fill_registers(&u, 0x7fedcba987654321);
	u.how = USER_SYSRET;
	u.rflags = 2 | RF_CF | RF_DF | RF_AC | RF_ID | RF_OF;
	before = u;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	check_registers(&u, &before);
	CHECK_EQ(u.rcx, USER_CODE);
	CHECK_EQ(u.r11, before.rflags);
	CHECK_EQ(u.rip, USER_CODE + 1);
	CHECK_EQ(u.cs, SEL_UCODE);
	CHECK_EQ(u.ss, SEL_UDATA);
	CHECK_EQ(u.rflags & ~RF_RF, before.rflags);
}

TEST(sysret_clears_rf_and_vm_and_forces_the_fixed_bit)
{
	struct user u;

	if (engine_is_tcg())
		skip("TCG keeps VM");
	user_init(&u, stop_at_once, stop_at_once_end);
	u.how = USER_SYSRET;
	u.rflags = RF_RF | RF_VM | RF_CF;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rflags & ~RF_RF, 2 | RF_CF);
}

TEST(sysret_to_compatibility_mode_runs_32_bit_code)
{
	struct user u;

	user_init(&u, stop_at_once, stop_at_once_end);
	u.how = USER_SYSRET32;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.cs, SEL_UCODE32);
	CHECK_EQ(u.ss, SEL_UDATA);
}

/* Where the #GP comes depends on the maker of the CPU; that it comes does not. */
TEST(sysret_to_a_noncanonical_address_is_general_protection)
{
	struct user u;
	struct trap t;

	if (engine_is_tcg())
		skip("TCG does not check");
	user_init(&u, stop_at_once, stop_at_once_end);
	u.how = USER_SYSRET;
	u.rip = 0x0000800000000000;
	u.vector = VEC_NONE;
	CATCH(&t, user_run(&u));
	if (t.vector == VEC_NONE)
		CHECK_EQ(u.vector, VEC_GP);
	else
		CHECK_EQ(t.vector, VEC_GP);
}

TEST(sysret_in_user_mode_is_general_protection)
{
	struct user u;

	user_init(&u, do_sysret, do_sysret_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.error, 0);
	CHECK_EQ(u.rip, USER_CODE);
}

TEST(syscall_without_efer_sce_is_invalid_opcode)
{
	struct user u;

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SCE);
	user_init(&u, one_syscall, one_syscall_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_UD);
	CHECK_EQ(u.rip, USER_CODE);
}

TEST(sysret_without_efer_sce_is_invalid_opcode)
{
	struct user u;
	struct trap t;

	user_init(&u, stop_at_once, stop_at_once_end);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SCE);
	u.how = USER_SYSRET;
	CATCH(&t, user_run(&u));
	CHECK_EQ(t.vector, VEC_UD);
}

static u64 syscalls;

static void run_loop(enum user_how how, u64 count)
{
	struct user u;

	user_init(&u, syscall_loop, syscall_loop_end);
	u.rbx = count;
	for (syscalls = 0;; syscalls++) {
		user_run(&u);
		if (u.vector != VEC_SYSCALL)
			break;
		u.how = how;
	}
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(syscalls, count);
}

TEST(ten_thousand_system_calls_return_by_sysret)
{
	run_loop(USER_SYSRET, 10000);
}

TEST(a_thousand_system_calls_return_by_iret)
{
	run_loop(USER_IRET, 1000);
}

/* SYSCALL from kernel mode works like from user mode, but for the return. */
TEST(syscall_from_kernel_mode_enters_the_kernel)
{
	struct trap t;

	CATCH(&t, asm volatile("syscall" : : : "rcx", "r11", "memory"));
	CHECK_EQ(t.vector, VEC_SYSCALL);
}
