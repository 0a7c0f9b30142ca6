// SPDX-License-Identifier: GPL-2.0-only
/*
 * The debug registers: instruction, data and I/O breakpoints, in kernel and user
 * mode, with TF, RF and DR7.GD.
 */
#include "x86.h"

#define DR7_OFF 0x400ul
#define DR7_GD 0x2000ul
#define DR6_CLEAR 0xffff0ff0ul
#define DR6_BD 0x2000ul
#define DR6_BS 0x4000ul
/* Control bits of breakpoint n. */
#define ON(n) (1ul << (2 * (n)))
#define INSN(n) ON(n)
#define WRITE8(n) (ON(n) | 0x9ul << (16 + 4 * (n)))
#define ACCESS8(n) (ON(n) | 0xbul << (16 + 4 * (n)))
#define WRITE1(n) (ON(n) | 0x1ul << (16 + 4 * (n)))
#define IO1(n) (ON(n) | 0x2ul << (16 + 4 * (n)))

#define HITS 64

struct hit {
	u64 rip, dr6;
};

static struct hit hit[HITS];
static volatile u64 hits;
static u64 set_rf; /* ORed into the flags that the handler returns to */
static u64 bits; /* of DR6, of those that are on */
static u64 last; /* with hit number last the handler switches them off */

static bool note(struct trap *t)
{
	if (hits < HITS) {
		hit[hits].rip = t->rip;
		/* Of breakpoints that are off too the bits may be set. */
		hit[hits].dr6 = read_dr6() & (0xe000 | bits);
	}
	hits++;
	write_dr6(DR6_CLEAR);
	t->rflags |= set_rf;
	if (hits == last)
		write_dr7(DR7_OFF);
	return true;
}

static void arm(u64 dr7)
{
	u64 i;

	hits = 0;
	bits = 0;
	for (i = 0; i < 4; i++)
		bits |= dr7 & ON(i) ? 1 << i : 0;
	set_rf = RF_RF;
	last = 0;
	set_handler(VEC_DB, note);
	write_dr6(DR6_CLEAR);
	write_dr7(DR7_OFF | dr7);
}

static void disarm(void)
{
	write_dr7(DR7_OFF);
}

/* Hit number n was at rip with these bits of DR6. */
static void check_hit(u64 n, const void *rip, u64 dr6)
{
	CHECK(hits > n, "%lu hits", hits);
	CHECK(hit[n].rip == (u64)rip, "hit %lu at %lx, not %lx", n, hit[n].rip, (u64)rip);
	CHECK(hit[n].dr6 == dr6, "hit %lu has DR6 %lx, not %lx", n, hit[n].dr6, dr6);
}

static void check_one(const void *rip, u64 dr6)
{
	CHECK_EQ(hits, 1);
	check_hit(0, rip, dr6);
}

TEST(debug_registers_keep_their_values)
{
	write_dr0(0x1234);
	write_dr1(0xffff800000001000);
	CHECK_EQ(read_dr0(), 0x1234);
	CHECK_EQ(read_dr1(), 0xffff800000001000);
	CHECK_EQ(read_dr7(), 0x400);
}

/* --- instructions --------------------------------------------------------- */

TEST(an_instruction_breakpoint_hits_before_the_instruction)
{
	extern u8 hw_at[];
	struct trap t;

	write_dr0((u64)hw_at);
	write_dr7(DR7_OFF | INSN(0));
	CATCH(&t, asm volatile("nop\n .globl hw_at\n hw_at: movl $7, %%eax" : : : "rax"));
	disarm();
	CHECK_EQ(t.vector, VEC_DB);
	CHECK_EQ(t.rip, (u64)hw_at);
	CHECK_EQ(t.rflags & RF_RF, 0);
	CHECK_EQ(read_dr6() & 0xf, 1);
}

extern u8 loop_top[], loop_inc[], loop_end[];
static __attribute__((noinline)) u64 run_loop(u64 rounds)
{
	u64 sum = 0;

	asm volatile(".globl loop_top, loop_inc, loop_end\n"
		     "loop_top: testq %1, %1\n"
		     "jz 1f\n"
		     "loop_inc: addq $3, %0\n"
		     "loop_end: decq %1\n"
		     "jmp loop_top\n"
		     "1:"
		     : "+r"(sum), "+r"(rounds) : : "cc");
	return sum;
}

TEST(a_breakpoint_in_code_that_has_run_hits_each_time)
{
	u64 i;

	CHECK_EQ(run_loop(1000), 3000);
	write_dr2((u64)loop_inc);
	arm(INSN(2));
	CHECK_EQ(run_loop(5), 15);
	CHECK_EQ(hits, 5);
	for (i = 0; i < 5; i++)
		check_hit(i, loop_inc, 4);
	/* Gone again, moved, and back. */
	disarm();
	CHECK_EQ(run_loop(5), 15);
	CHECK_EQ(hits, 5);
	arm(INSN(2));
	write_dr2((u64)loop_top);
	CHECK_EQ(run_loop(5), 15);
	CHECK_EQ(hits, 6);
	check_hit(0, loop_top, 4);
	disarm();
}

TEST(neighbouring_breakpoints_all_hit)
{
	u64 i;

	write_dr0((u64)loop_top);
	write_dr1((u64)loop_inc);
	write_dr3((u64)loop_end);
	arm(INSN(0) | INSN(1) | INSN(3));
	CHECK_EQ(run_loop(2), 6);
	disarm();
	CHECK_EQ(hits, 7);
	for (i = 0; i < 2; i++) {
		check_hit(3 * i, loop_top, 1);
		check_hit(3 * i + 1, loop_inc, 2);
		check_hit(3 * i + 2, loop_end, 8);
	}
	check_hit(6, loop_top, 1);
}

TEST(a_handler_that_leaves_rf_clear_hits_again)
{
	static u64 left;
	extern u8 rf_at[];

	write_dr0((u64)rf_at);
	arm(INSN(0));
	set_rf = 0;
	left = 0;
	last = 4;
	asm volatile(".globl rf_at\n rf_at: incq %0" : "+m"(left) : : "cc");
	CHECK_EQ(hits, 4);
	CHECK_EQ(left, 1);
}

TEST(targets_of_indirect_branches_and_returns_hit)
{
	extern u8 ib_call[], ib_back[], ib_jump[];
	u64 to = (u64)ib_call, on = (u64)ib_jump;

	write_dr0((u64)ib_call);
	write_dr1((u64)ib_back);
	write_dr2((u64)ib_jump);
	arm(INSN(0) | INSN(1) | INSN(2));
	asm volatile(".globl ib_call, ib_back, ib_jump\n"
		     "call *%0\n"
		     "ib_back: jmp *%1\n ud2\n"
		     "ib_call: ret\n"
		     "ib_jump:\n"
		     : : "r"(to), "r"(on) : "memory");
	disarm();
	CHECK_EQ(hits, 3);
	check_hit(0, ib_call, 1);
	check_hit(1, ib_back, 2);
	check_hit(2, ib_jump, 4);
}

TEST(privileged_instructions_can_have_breakpoints)
{
	extern u8 pr_cli[], pr_cr3[], pr_in[], pr_next[];
	u64 flags;

	write_dr0((u64)pr_cli);
	write_dr1((u64)pr_cr3);
	write_dr2((u64)pr_in);
	write_dr3((u64)pr_next);
	arm(INSN(0) | INSN(1) | INSN(2) | INSN(3));
	asm volatile(".globl pr_cli, pr_cr3, pr_in, pr_next\n"
		     "movq %%cr3, %%rcx\n"
		     "pr_cli: cli\n"
		     "pr_cr3: movq %%rcx, %%cr3\n"
		     "movw $0x3fd, %%dx\n"
		     "pr_in: inb %%dx, %%al\n"
		     "sti\n"
		     "pr_next: pushfq\n popq %0\n cli"
		     : "=b"(flags) : : "rax", "rcx", "rdx", "memory");
	disarm();
	CHECK_EQ(hits, 4);
	check_hit(0, pr_cli, 1);
	check_hit(1, pr_cr3, 2);
	check_hit(2, pr_in, 4);
	check_hit(3, pr_next, 8);
	CHECK_EQ(flags & RF_IF, RF_IF);
}

TEST(a_disabled_breakpoint_does_not_hit)
{
	write_dr0((u64)loop_inc);
	arm(0);
	CHECK_EQ(run_loop(3), 9);
	CHECK_EQ(hits, 0);
}

/* --- data ----------------------------------------------------------------- */

static volatile u64 watched[4] __attribute__((aligned(64)));

/* Arm breakpoint 1 for dr7_bits at the array's second word and run code. */
#define WATCH(bits, ...)                                                       \
	do {                                                                   \
		write_dr1((u64)&watched[1]);                                   \
		arm(bits);                                                     \
		asm volatile(__VA_ARGS__);                                     \
		disarm();                                                      \
	} while (0)

TEST(a_data_breakpoint_hits_after_the_store)
{
	extern u8 st_after[];

	watched[1] = 1;
	WATCH(WRITE8(1), "movq $5, %0\n .globl st_after\n st_after: nop" : "=m"(watched[1]));
	check_one(st_after, 2);
	CHECK_EQ(watched[1], 5);
}

TEST(a_write_breakpoint_ignores_reads_and_neighbours)
{
	u64 v;

	WATCH(WRITE8(1), "movq %1, %0\n movq $1, %2\n movq $2, %3"
	      : "=&r"(v) : "m"(watched[1]), "m"(watched[0]), "m"(watched[2]) : "memory");
	CHECK_EQ(hits, 0);
}

TEST(an_access_breakpoint_hits_on_reads)
{
	extern u8 rd_after[], rm_after[];
	u64 v;

	watched[1] = 7;
	WATCH(ACCESS8(1), "movq %2, %0\n rd_after: incq %1\n rm_after: nop\n .globl rd_after, rm_after"
	      : "=&r"(v), "+m"(watched[1]) : "m"(watched[1]) : "cc");
	CHECK_EQ(v, 7);
	CHECK_EQ(watched[1], 8);
	CHECK_EQ(hits, 2);
	check_hit(0, rd_after, 2);
	check_hit(1, rm_after, 2);
}

TEST(a_byte_of_a_larger_store_is_seen)
{
	extern u8 by_after[];

	write_dr1((u64)&watched[1] + 3);
	arm(WRITE1(1));
	asm volatile("movb $1, 2+%0\n movb $1, 4+%0\n movl $0x01020304, %0\n"
		     ".globl by_after\n by_after: nop" : "=m"(watched[1]));
	disarm();
	check_one(by_after, 2);
}

/* Each of these is more than one instruction under popf. */
TEST(stack_operations_hit_when_they_are_done)
{
	extern u8 so_1[], so_2[], so_3[], so_4[], so_5[], so_6[];
	static u64 stack[512] __attribute__((aligned(64)));
	const void *at[] = { so_1, so_2, so_3, so_4, so_5, so_6 };
	u64 i;

	write_dr1((u64)&stack[500]);
	arm(ACCESS8(1));
	asm volatile(".globl so_1, so_2, so_3, so_4, so_5, so_6\n"
		     "movq %%rsp, %%rbx\n"
		     "leaq 4008+%0, %%rsp\n"
		     "pushq $5\n"
		     "so_1: popq %%rax\n"
		     "so_2: pushfq\n"
		     "so_3: popfq\n"
		     "so_4: call so_5\n"
		     "so_6: movq %%rbx, %%rsp\n"
		     "jmp 7f\n"
		     "so_5: ret\n"
		     "7:\n"
		     : "=m"(stack) : : "rax", "rbx", "memory", "cc");
	disarm();
	CHECK_EQ(hits, 6);
	for (i = 0; i < 6; i++)
		check_hit(i, at[i], 2);
}

TEST(indirect_branches_through_watched_memory_hit_at_the_target)
{
	extern u8 iw_1[], iw_2[];

	watched[1] = (u64)iw_1;
	WATCH(ACCESS8(1), ".globl iw_1, iw_2\n jmp *%0\n ud2\n iw_1: nop" : : "m"(watched[1]));
	check_one(iw_1, 2);
	watched[1] = (u64)iw_2;
	WATCH(ACCESS8(1), "call *%0\n jmp 1f\n iw_2: ret\n 1:" : : "m"(watched[1]) : "memory");
	check_one(iw_2, 2);
}

TEST(a_jump_behind_the_access_has_not_been_done)
{
	extern u8 jb_jmp[], jb_call[];

	WATCH(WRITE8(1), ".globl jb_jmp, jb_call\n movq $1, %0\n jb_jmp: jmp 2f\n 1: nop; nop\n jmp 3f\n"
	      "2: movq $2, %0\n jb_call: call 4f\n jmp 1b\n 4: ret\n 3:"
	      : "=m"(watched[1]) : : "memory");
	CHECK_EQ(hits, 2);
	check_hit(0, jb_jmp, 2);
	check_hit(1, jb_call, 2);
}

TEST(string_instructions_hit_after_the_round)
{
	extern u8 ss_rep[], ss_after[];
	static const u64 from[4] = { 1, 2, 3, 4 };
	const u64 *s = from;
	volatile u64 *d = watched;
	u64 n = 4;

	WATCH(WRITE8(1), ".globl ss_rep, ss_after\n cld\n ss_rep: rep movsq\n ss_after: nop"
	      : "+S"(s), "+D"(d), "+c"(n) : : "memory");
	CHECK_EQ(hits, 1);
	/* Fast string operations may report it rounds later. */
	CHECK(hit[0].rip == (u64)ss_rep || hit[0].rip == (u64)ss_after, "%lx", hit[0].rip);
	CHECK_EQ(hit[0].dr6, 2);
	CHECK_EQ(n, 0);
	CHECK(!memcmp((void *)watched, from, 32), "copy");
}

TEST(privileged_instructions_hit_their_operands)
{
	extern u8 pv_1[], pv_2[];

	watched[1] = 0;
	WATCH(WRITE8(1), "sgdt %0\n pv_1: nop\n .globl pv_1, pv_2" : "=m"(watched[1]));
	check_one(pv_1, 2);
	watched[1] = SEL_KDATA;
	WATCH(ACCESS8(1), "movw %0, %%ds\n pv_2: nop" : : "m"(watched[1]));
	check_one(pv_2, 2);
}

extern u8 store_done[];
static __attribute__((noinline)) void store_9(volatile u64 *p)
{
	asm volatile("movq $9, %0\n .globl store_done\n store_done: nop" : "=m"(*p));
}

TEST(both_halves_of_the_address_space_can_be_watched)
{
	u64 root = read_cr3() & PTE_ADDR;
	u64 va[] = { 0x7fffffffe000, 0x40000000, 0xffff900000000000, 0xfffffffffffff000 };
	volatile u64 *p;
	u64 i;

	for (i = 0; i < ARRAY_SIZE(va); i++) {
		p = (u64 *)(va[i] + 0xff8);
		map_new(root, va[i], PTE_P | PTE_W);
		*p = 0;
		write_dr3((u64)p);
		arm(WRITE8(3));
		store_9(p);
		disarm();
		CHECK_EQ(*p, 9);
		check_one(store_done, 8);
	}
}

/* Stores that the monitor does: to a page table and to code. */
TEST(stores_to_traced_pages_are_seen)
{
	u64 root = read_cr3() & PTE_ADDR;
	u8 *code = map_new(root, 0x40000000, PTE_P | PTE_W);
	volatile u64 *pte = pte_at(root, 0x40003000, 1);
	extern u8 tr_1[], tr_2[];

	memset(code, 0xc3, 64);
	call_at(0x40000000);
	*pte = 0;
	write_dr0((u64)pte);
	write_dr1(0x40000008);
	arm(WRITE8(0) | WRITE8(1));
	asm volatile("movq $2, %0\n tr_1: movq %2, %1\n tr_2: nop\n .globl tr_1, tr_2"
		     : "=m"(*pte), "=m"(*(volatile u64 *)0x40000008)
		     : "r"(0xc3c3c3c3c3c3c3c3));
	disarm();
	call_at(0x40000008);
	CHECK_EQ(hits, 2);
	check_hit(0, tr_1, 1);
	check_hit(1, tr_2, 2);
	CHECK_EQ(*pte, 2);
}

TEST(a_faulting_instruction_hits_nothing)
{
	struct trap t;

	write_dr0(0x50000000);
	arm(ACCESS8(0));
	CATCH(&t, asm volatile("incq 0x50000000" : : : "memory", "cc"));
	disarm();
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(hits, 0);
}

/* --- together ------------------------------------------------------------- */

TEST(a_breakpoint_while_stepping_shows_both)
{
	extern u8 bt_2[], bt_3[], bt_4[], bt_5[], bt_6[];

	write_dr0((u64)bt_2);
	write_dr1((u64)&watched[1]);
	arm(INSN(0) | WRITE8(1));
	asm volatile(".globl bt_2, bt_3, bt_4, bt_5, bt_6\n"
		     "pushfq\n orl $0x100, (%%rsp)\n popfq\n"
		     "nop\n"
		     "bt_2: movq $1, %0\n"
		     "bt_3: pushfq\n"
		     "bt_4: andl $~0x100, (%%rsp)\n"
		     "bt_5: popfq\n"
		     "bt_6:\n"
		     : "=m"(watched[1]) : : "memory", "cc");
	disarm();
	/* The trap after the nop comes first; its handler's RF skips the breakpoint. */

	if (engine_is_tcg())
		skip("TCG lets the breakpoint hit in spite of RF");
	CHECK_EQ(hits, 5);
	check_hit(0, bt_2, DR6_BS);
	check_hit(1, bt_3, DR6_BS | 2);
	check_hit(2, bt_4, DR6_BS);
	check_hit(3, bt_5, DR6_BS);
	check_hit(4, bt_6, DR6_BS);
}

TEST(general_detect_traps_before_the_access)
{
	struct trap t;
	u64 v = 5;

	if (engine_is_tcg())
		skip("TCG has none");
	write_dr6(DR6_CLEAR);
	write_dr7(DR7_OFF | DR7_GD);
	CATCH(&t, asm volatile("movq %%dr0, %0" : "+r"(v)));
	CHECK_EQ(t.vector, VEC_DB);
	CHECK_EQ(v, 5);
	/* Delivery has cleared GD. */
	CHECK_EQ(read_dr6() & 0xe00f, DR6_BD);
	CHECK_EQ(read_dr7(), DR7_OFF);
}

TEST(io_breakpoints_hit_after_the_access)
{
	extern u8 io_after[];

	write_cr4(read_cr4() | CR4_DE);
	write_dr2(0x3fd);
	arm(IO1(2));
	asm volatile("movl $0x3fd, %%edx\n inb %%dx, %%al\n .globl io_after\n"
		     "io_after: incl %%edx\n inb %%dx, %%al" : : : "rax", "rdx");
	disarm();
	check_one(io_after, 4);
}

TEST(dr4_and_dr5_are_undefined_with_debug_extensions)
{
	u64 v;

	CHECK_VECTOR(VEC_NONE, asm volatile("movq %%db4, %0" : "=r"(v)));
	write_cr4(read_cr4() | CR4_DE);
	CHECK_VECTOR(VEC_UD, asm volatile("movq %%db4, %0" : "=r"(v)));
}

/* Where popf has its own things a guest sees nothing. */
TEST(addresses_of_the_monitor_can_be_watched_in_vain)
{
	static const u64 page[] = {
		POPF_REGION, POPF_REGION + 0x3000, POPF_REGION + 0x3108, POPF_REGION + 0x6000,
		POPF_VCPU_PAGE, POPF_VCPU_PAGE + 0x80, POPF_WINDOW + 0x100000,
		POPF_WINDOW + 0x238000,
	};
	u64 i;

	for (i = 0; i < ARRAY_SIZE(page); i += 4) {
		write_dr0(page[i]);
		write_dr1(page[i + 1]);
		write_dr2(page[i + 2]);
		write_dr3(page[i + 3]);
		arm(ACCESS8(0) | ACCESS8(1) | ACCESS8(2) | ACCESS8(3));
		CHECK_EQ(run_loop(100), 300);
		cpuid(0, 0);
		CHECK_EQ(hits, 0);
		arm(INSN(0) | INSN(1) | INSN(2) | INSN(3));
		CHECK_EQ(run_loop(100), 300);
		CHECK_EQ(hits, 0);
		disarm();
	}
}

/* --- user mode ------------------------------------------------------------ */

USER_ASM(user_store, "movq %rax, (%rbx); nop; int3");

TEST(a_data_breakpoint_in_user_mode)
{
	struct user u;

	user_init(&u, user_store, user_store_end);
	u.rbx = USER_DATA + 64;
	write_dr6(DR6_CLEAR);
	write_dr0(USER_DATA + 64);
	write_dr7(DR7_OFF | WRITE8(0));
	user_run(&u);
	disarm();
	CHECK_EQ(u.vector, VEC_DB);
	CHECK_EQ(u.rip, USER_CODE + 3);
	CHECK_EQ(read_dr6() & 0xf, 1);
}

TEST(an_instruction_breakpoint_in_user_mode)
{
	struct user u;

	user_init(&u, user_store, user_store_end);
	u.rbx = USER_DATA + 64;
	write_dr6(DR6_CLEAR);
	write_dr0(USER_CODE + 3);
	write_dr7(DR7_OFF | INSN(0));
	user_run(&u);
	CHECK_EQ(u.vector, VEC_DB);
	CHECK_EQ(u.rip, USER_CODE + 3);
	CHECK_EQ(read_dr6() & 0xf, 1);
	u.rflags |= RF_RF;
	user_run(&u);
	disarm();
	CHECK_EQ(u.vector, VEC_BP);
}

USER_ASM(user_pushes, "pushq $1; movq %rax, (%rbx); popq %rcx; int3");

TEST(stepping_user_mode_shows_data_breakpoints_too)
{
	static const u64 at[] = { 2, 5, 6 }, dr6[] = { DR6_BS | 2, DR6_BS | 1, DR6_BS | 2 };
	struct user u;
	u64 i;

	if (engine_is_tcg())
		skip("TCG raises #DB twice");
	user_init(&u, user_pushes, user_pushes_end);
	u.rbx = USER_DATA + 64;
	u.rflags = 2 | RF_TF;
	write_dr0(USER_DATA + 64);
	write_dr1(u.rsp - 8);
	write_dr7(DR7_OFF | WRITE8(0) | ACCESS8(1));
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		write_dr6(DR6_CLEAR);
		user_run(&u);
		CHECK_EQ(u.vector, VEC_DB);
		CHECK_EQ(u.rip - USER_CODE, at[i]);
		CHECK_EQ(read_dr6() & 0xe003, dr6[i]);
	}
	disarm();
}

/* The kernel's own access to a user's watched word. */
TEST(a_kernel_access_to_user_memory_hits)
{
	struct user u;
	volatile u64 *p = (u64 *)(USER_DATA + 64);
	extern u8 ku_after[];

	user_init(&u, user_store, user_store_end);
	write_dr0(USER_DATA + 64);
	arm(WRITE8(0));
	asm volatile("movq $3, %0\n ku_after: nop\n .globl ku_after" : "=m"(*p));
	disarm();
	check_one(ku_after, 1);
}
