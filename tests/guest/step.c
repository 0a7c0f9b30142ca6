// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single-step: TF traps after each instruction, and what each instruction does
 * to TF itself.
 */
#include "x86.h"

#define MAX_STEPS 64

static u64 step_rip[MAX_STEPS];
static volatile u64 steps;

static bool note_step(struct trap *t)
{
	if (steps < MAX_STEPS)
		step_rip[steps] = t->rip;
	steps++;
	return true;
}

static void start(void)
{
	steps = 0;
	set_handler(VEC_DB, note_step);
	write_dr6(0xffff0ff0);
}

/* The instructions of [from, to] are stepped through in this order. */
static void check_steps(const u64 *want, u64 n)
{
	u64 i;

	for (i = 0; i < n; i++)
		CHECK(step_rip[i] == want[i], "step %lu at %lx, not %lx", i, step_rip[i], want[i]);
	CHECK_EQ(steps, n);
}

#define SET_TF "pushfq; orl $0x100, (%%rsp); popfq\n"
#define CLEAR_TF "pushfq; andl $~0x100, (%%rsp); popfq\n"

TEST(straight_code_traps_after_every_instruction)
{
	extern u8 st0[], st1[], st2[], st3[], st4[], st5[];
	u64 want[] = { (u64)st1, (u64)st2, (u64)st3, (u64)st4, (u64)st5 };

	start();
	asm volatile(".globl st0, st1, st2, st3, st4, st5\n" SET_TF
		     "st0: nop\n st1: movl $5, %%eax\n st2: pushfq\n"
		     "st3: andl $~0x100, (%%rsp)\n st4: popfq\n st5:\n"
		     : : : "rax", "memory", "cc");
	/* popfq clears TF, yet the trap after it is due: TF was set at its start */
	check_steps(want, 5);
	CHECK_EQ(read_dr6() & 0x4000, 0x4000);
	(void)st0;
}

TEST(calls_returns_and_jumps_are_stepped)
{
	extern u8 sc0[], sc1[], sc2[], sc3[], sc4[], sc5[], sc6[], sc7[], sc8[];
	u64 want[] = { (u64)sc5, (u64)sc6, (u64)sc1, (u64)sc3, (u64)sc4, (u64)sc7, (u64)sc8 };

	start();
	asm volatile(".globl sc0, sc1, sc2, sc3, sc4, sc5, sc6, sc7, sc8\n" SET_TF
		     "sc0: call sc5\n"
		     "sc1: jmp sc3\n"
		     "sc2: ud2\n"
		     "sc3: pushfq\n"
		     "sc4: andl $~0x100, (%%rsp)\n"
		     "sc7: popfq\n"
		     "sc8: jmp 9f\n"
		     "sc5: nop\n"
		     "sc6: ret\n"
		     "9:\n"
		     : : : "memory", "cc");
	check_steps(want, 7);
	(void)sc0;
	(void)sc2;
}

TEST(indirect_branches_are_stepped)
{
	extern u8 si1[], si2[], si3[], si4[];
	u64 want[] = { (u64)si1, (u64)si2, (u64)si3, (u64)si4 };
	u64 to = (u64)si1;

	start();
	asm volatile(".globl si1, si2, si3, si4\n"
		     "movq %0, %%rcx\n" SET_TF
		     "jmp *%%rcx\n ud2\n"
		     "si1: pushfq\n si2: andl $~0x100, (%%rsp)\n si3: popfq\n si4:\n"
		     : : "r"(to) : "rcx", "memory", "cc");
	check_steps(want, 4);
}

TEST(a_repeated_instruction_traps_after_each_round)
{
	static u8 from[5] = "abcd", to[5];
	u8 *s = from, *d = to;
	u64 n = 5;

	start();
	asm volatile(SET_TF "rep movsb\n" CLEAR_TF
		     : "+S"(s), "+D"(d), "+c"(n) : : "memory", "cc");
	CHECK(!memcmp(from, to, 5), "copy");
	/* five rounds, then the three instructions that clear TF */
	CHECK_EQ(steps, 5 + 3);
}

TEST(repeated_comparisons_stop_where_they_should)
{
	u8 text[] = "aaab", *p = text;
	u64 n = 9;
	u8 below;

	start();
	asm volatile(SET_TF "repe scasb\n setb %2\n" CLEAR_TF
		     : "+D"(p), "+c"(n), "=r"(below) : "a"('a') : "memory", "cc");
	CHECK_EQ(n, 5);
	CHECK_EQ(p - text, 4);
	CHECK_EQ(below, 1);
	CHECK_EQ(steps, 4 + 1 + 3);
}

TEST(a_repeated_instruction_with_a_count_of_0_is_one_step)
{
	u64 n = 0;

	start();
	asm volatile(SET_TF "rep stosq\n" CLEAR_TF : "+c"(n) : "D"(0x123456) : "memory", "cc");
	CHECK_EQ(n, 0);
	CHECK_EQ(steps, 1 + 3);
}

TEST(privileged_instructions_are_stepped)
{
	u64 n;

	start();
	asm volatile(SET_TF
		     "movq %%cr3, %%rax\n movq %%rax, %%cr3\n cli\n xorl %%eax, %%eax\n cpuid\n"
		     "movl $0x3fd, %%edx\n inb %%dx, %%al\n movl $0xc0000080, %%ecx\n rdmsr\n wrmsr\n"
		     "rdtsc\n invlpg (%%rsp)\n"
		     CLEAR_TF : : : "rax", "rbx", "rcx", "rdx", "memory", "cc");
	n = steps;
	CHECK_EQ(n, 12 + 3);
}

TEST(pushf_shows_tf_while_stepping)
{
	u64 got;

	start();
	asm volatile(SET_TF "pushfq; popq %0\n" CLEAR_TF : "=r"(got) : : "memory", "cc");
	CHECK_EQ(got & RF_TF, RF_TF);
	CHECK_EQ(steps, 5);
}

/* An exception delivers with TF clear and brings it back. */
static bool skip_ud2(struct trap *t)
{
	t->rip += 2;
	step_rip[MAX_STEPS - 1] = t->rflags;
	return true;
}

TEST(exceptions_suspend_stepping)
{
	start();
	set_handler(VEC_UD, skip_ud2);
	asm volatile(SET_TF "nop; ud2; nop\n" CLEAR_TF : : : "memory", "cc");
	CHECK_EQ(step_rip[MAX_STEPS - 1] & RF_TF, RF_TF);
	/* nop; (ud2 skipped, iret: no trap of its own); nop; 3 */
	CHECK_EQ(steps, 5);
}

TEST(mov_to_ss_delays_the_trap)
{
	start();
	asm volatile("movl %%ss, %%eax\n" SET_TF "movl %%eax, %%ss; nop; nop\n" CLEAR_TF
		     : : : "rax", "memory", "cc");
	/* mov+nop, nop, 3 */
	CHECK_EQ(steps, 5);
}

/* --- user mode ------------------------------------------------------------ */

USER_ASM(user_steps,
	 "nop; xor %eax, %eax; call 1f; jmp 2f; 1: ret; 2: pushfq; popq %rcx; int3");

TEST(user_mode_is_stepped)
{
	static const u64 at[] = { 1, 3, 10, 8, 11, 12, 13 };
	struct user u;
	u64 i;

	start();
	set_handler(VEC_DB, NULL);
	user_init(&u, user_steps, user_steps_end);
	u.rflags = 2 | RF_TF;
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		user_run(&u);
		CHECK_EQ(u.vector, VEC_DB);
		CHECK_EQ(u.rip - USER_CODE, at[i]);
		CHECK_EQ(u.rflags & RF_TF, RF_TF);
	}
	CHECK_EQ(u.rcx & RF_TF, RF_TF);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
}

USER_ASM(user_step_syscall, "syscall; nop; int3");

/* SFMASK clears TF: the kernel is not stepped; SYSRET brings TF back. */
TEST(system_calls_suspend_stepping)
{
	struct user u;

	start();
	user_init(&u, user_step_syscall, user_step_syscall_end);
	set_handler(VEC_DB, NULL);
	u.rflags = 2 | RF_TF;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_SYSCALL);
	CHECK_EQ(u.r11, 2 | RF_TF);
	u.how = USER_SYSRET;
	u.rflags = u.r11;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_DB);
	/* before or after the first instruction: both have been built */
	CHECK(u.rip == USER_CODE + 2 || u.rip == USER_CODE + 3, "%lx", u.rip);
}

USER_ASM(user_popf_tf, "pushq $0x102; popfq; nop; nop; int3");

TEST(user_mode_can_step_itself)
{
	struct user u;

	start();
	set_handler(VEC_DB, NULL);
	user_init(&u, user_popf_tf, user_popf_tf_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_DB);
	CHECK_EQ(u.rip - USER_CODE, 7);
}
