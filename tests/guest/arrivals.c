// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts that arrive while user mode computes, in the circumstances in which a
 * monitor may take a short way to their handler; and what must not be lost on it:
 * what the tables say at that moment, the frame, the stack, the flags.
 */
#include "x86.h"

#define TIMER 0x51
#define OTHER 0x52
#define LVT_PERIODIC 0x20000
#define LVT_MASKED 0x10000
#define PERIOD 200000 /* ns */
#define WANTED 40ul

USER_ASM(spin, "1: cmpq %rbx, 0x20000000\n jb 1b\n int3");
USER_ASM32(spin32, "1: cmpl %ebx, 0x20000000\n jb 1b\n int3");
/* DS changes after each interrupt; where r13 and r14 are equal it is that. */
USER_ASM(spin_with_ds, "1: mov 0x20000000, %r12\n xor $0x2b, %r13d\n"
		       " mov %r13d, %ds\n mov %r13d, %r14d\n"
		       "2: cmpq %r12, 0x20000000\n je 2b\n"
		       " cmpq %rbx, 0x20000000\n jb 1b\n int3");
USER_ASM(spin_with_flags, "pushq %r12\n popfq\n mov $0x20000000, %esi\n"
			  "1: mov (%rsi), %rax\n sub %rbx, %rax\n jb 1b\n int3");

static struct trap seen;
static u64 arrived, seen_ss, seen_cs, seen_ds, seen_flags, seen_stack;
static u64 wrong;
static void (*on_arrival)(void);

/* Counts where user mode looks, which ends with the last one that is wanted. */
static bool take(struct trap *t)
{
	u64 after;

	asm volatile("mov %%ss, %0; mov %%cs, %1; mov %%ds, %2"
		     : "=r"(seen_ss), "=r"(seen_cs), "=r"(seen_ds));
	seen_flags = read_flags();
	seen_stack = (u64)t;
	memcpy(&seen, t, offsetof(struct trap, cr2));
	arrived++;
	if ((t->cs & 3) == 3)
		++*(u64 *)user_data();
	if (on_arrival)
		on_arrival();
	apic_eoi();
	/* That was an exit, in which the monitor has looked at what it knows. */
	asm volatile("mov %%ss, %0" : "=r"(after));
	wrong += after != seen_ss;
	return true;
}

static void start(struct user *u, const void *code, const void *end)
{
	apic_init();
	allow_short_ways();
	user_init(u, code, end);
	u->rflags = 2 | RF_IF;
	u->rbx = WANTED;
	arrived = wrong = 0;
	on_arrival = NULL;
	guest_tss.rsp[0] = (u64)user_trap_stack_top;
	set_handler(TIMER, take);
	set_handler(OTHER, take);
}

static void run(struct user *u)
{
	apic_write(APIC_LVTT, LVT_PERIODIC | TIMER);
	apic_write(APIC_TMICT, PERIOD);
	user_run(u);
	apic_write(APIC_LVTT, LVT_MASKED);
}

static void check_frame(const struct user *u, u64 cs)
{
	CHECK_EQ(u->vector, VEC_BP);
	CHECK_EQ(wrong, 0);
	CHECK(arrived >= WANTED, "%lu", arrived);
	CHECK_EQ(seen.cs, cs);
	CHECK_EQ(seen.ss, SEL_UDATA);
	CHECK_EQ(seen.rsp, USER_STACK - 64);
	CHECK_EQ(seen.rflags & (RF_IF | RF_TF | RF_IOPL | 2), RF_IF | 2);
	CHECK(seen.rip >= USER_CODE && seen.rip < USER_CODE + 64, "%lx", seen.rip);
	CHECK_EQ(seen_cs, SEL_KCODE);
	CHECK_EQ(seen_ss, 0);
	CHECK_EQ(seen_flags & RF_IF, 0);
}

TEST(registers_survive_and_the_frame_is_right)
{
	struct user u, before;
	u64 *r = &u.r15;
	int i;

	start(&u, spin, spin_end);
	for (i = 0; i < 15; i++) {
		if (&r[i] != &u.rbx)
			r[i] = 0x8123456789abcdef + i * 0x0101010101010101;
	}
	before = u;
	run(&u);
	check_frame(&u, SEL_UCODE);
	for (i = 0; i < 15; i++)
		CHECK_EQ(r[i], (&before.r15)[i]);
	CHECK_EQ(u.rsp, before.rsp);
	CHECK_EQ(u.ss, SEL_UDATA);
}

TEST(thirty_two_bit_code_is_interrupted_too)
{
	struct user u;

	start(&u, spin32, spin32_end);
	u.cs = SEL_UCODE32;
	write_ds(SEL_UDATA);
	write_es(SEL_UDATA);
	run(&u);
	write_ds(0);
	write_es(0);
	check_frame(&u, SEL_UCODE32);
}

TEST(flags_that_user_mode_has_set_are_in_the_frame_and_come_back)
{
	static const u64 flags[] = { RF_DF, RF_ID, RF_NT, RF_AC, RF_DF | RF_ID | RF_NT };
	struct user u;
	u64 i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		start(&u, spin_with_flags, spin_with_flags_end);
		u.r12 = 2 | flags[i];
		run(&u);
		check_frame(&u, SEL_UCODE);
		CHECK_EQ(seen.rflags & (RF_DF | RF_ID | RF_NT | RF_AC), flags[i]);
		CHECK_EQ(u.rflags & (RF_DF | RF_ID | RF_NT | RF_AC), flags[i]);
		CHECK_EQ(seen_flags & RF_NT, 0);
		pages_free_all();
	}
}

static void compare_ds(void)
{
	if (seen.r13 == seen.r14 && (seen.cs & 3) == 3)
		wrong += seen_ds != seen.r13;
}

TEST(a_segment_that_user_mode_has_loaded_is_seen)
{
	struct user u;

	start(&u, spin_with_ds, spin_with_ds_end);
	on_arrival = compare_ds;
	run(&u);
	check_frame(&u, SEL_UCODE);
	write_ds(0);
}

/* The gate alternates: each interrupt has to take the one it finds. */
static void change_gate(void)
{
	static u64 next;

	if (arrived == 1)
		next = TIMER;
	wrong += seen.vector != next;
	next = next == TIMER ? OTHER : TIMER;
	set_gate(TIMER, trap_stubs + 16 * next, SEL_KCODE, 14, 0, 0);
}

TEST(a_gate_changed_in_a_handler_counts_for_the_next_interrupt)
{
	struct user u;

	start(&u, spin, spin_end);
	on_arrival = change_gate;
	run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(wrong, 0);
}

TEST(a_trap_gate_leaves_the_flag_set)
{
	struct user u;

	start(&u, spin, spin_end);
	set_gate(TIMER, trap_stubs + 16 * TIMER, SEL_KCODE, 15, 0, 0);
	run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(seen_flags & RF_IF, RF_IF);
}

static u8 stack_a[8192] __attribute__((aligned(4096)));
static u8 stack_b[8192] __attribute__((aligned(4096)));

static bool is_on(const u8 *stack)
{
	return seen_stack >= (u64)stack && seen_stack < (u64)stack + sizeof(stack_a);
}

TEST(a_gate_with_a_stack_of_its_own_gets_it)
{
	struct user u;

	start(&u, spin, spin_end);
	guest_tss.ist[4] = (u64)(stack_a + sizeof(stack_a));
	set_gate(TIMER, trap_stubs + 16 * TIMER, SEL_KCODE, 14, 0, 5);
	run(&u);
	check_frame(&u, SEL_UCODE);
	CHECK(is_on(stack_a), "%lx", seen_stack);
}

/* Not aligned: the frame is. */
static void change_stack(void)
{
	u8 *next = arrived & 1 ? stack_b : stack_a;

	wrong += !is_on(arrived & 1 ? stack_a : stack_b);
	wrong += (seen_stack + offsetof(struct trap, cr2)) & 15;
	guest_tss.rsp[0] = (u64)(next + sizeof(stack_a) - (arrived & 15));
}

TEST(a_stack_changed_in_a_handler_counts_for_the_next_interrupt)
{
	struct user u;

	start(&u, spin, spin_end);
	guest_tss.rsp[0] = (u64)(stack_a + sizeof(stack_a));
	on_arrival = change_stack;
	run(&u);
	check_frame(&u, SEL_UCODE);
	CHECK_EQ(wrong, 0);
}

TEST(a_frame_across_two_pages_is_whole)
{
	struct user u;

	start(&u, spin, spin_end);
	guest_tss.rsp[0] = (u64)(stack_a + 4096 + 16);
	run(&u);
	check_frame(&u, SEL_UCODE);
}

/* Its stores are to a page table, so none of them is an ordinary one. */
TEST(a_stack_in_a_page_table_works)
{
	const u64 va = 0x40000000;
	struct user u;
	u64 *table;

	start(&u, spin, spin_end);
	map_new(read_cr3(), va, PTE_P | PTE_W);
	*(volatile u64 *)va = 1;
	table = pte_at(read_cr3(), va, 1);
	guest_tss.rsp[0] = (u64)(table + 512);
	run(&u);
	check_frame(&u, SEL_UCODE);
	CHECK(seen_stack > (u64)table, "%lx", seen_stack);
}

/* Once interrupts have a short way: where the stack is from the next one on. */
#define SETTLED 8
static u64 next_stack;

static void move_stack(void)
{
	if (arrived == SETTLED)
		guest_tss.rsp[0] = next_stack;
}

static void expect_double_fault(u64 rsp0)
{
	struct user u;

	start(&u, spin, spin_end);
	next_stack = rsp0;
	on_arrival = move_stack;
	run(&u);
	CHECK_EQ(u.vector, VEC_DF);
	CHECK_EQ(arrived, SETTLED);
	pages_free_all();
}

TEST(a_stack_that_is_not_there_is_a_double_fault)
{
	expect_double_fault(0x50000000);
}

/* The monitor has memory there; the guest has not, and must not reach it so. */
TEST(a_stack_in_the_monitors_memory_is_a_double_fault)
{
	expect_double_fault(POPF_VCPU_PAGE + 0x800);
	expect_double_fault(POPF_VCPU_PAGE + 0x1000);
}

static void protect_stack(void)
{
	if (arrived != SETTLED)
		return;
	*pte_at(read_cr3(), 0x40000000, 1) &= ~PTE_W;
	invlpg((void *)0x40000000);
	/* So that it is in the TLB, as what it is. */
	load64((void *)0x40000000);
	guest_tss.rsp[0] = 0x40001000;
}

TEST(a_stack_that_is_read_only_is_a_double_fault)
{
	struct user u;

	start(&u, spin, spin_end);
	map_new(read_cr3(), 0x40000000, PTE_P | PTE_W);
	*(volatile u64 *)0x40000000 = 1;
	write_cr0(read_cr0() | CR0_WP);
	on_arrival = protect_stack;
	run(&u);
	CHECK_EQ(u.vector, VEC_DF);
	CHECK_EQ(arrived, SETTLED);
}

/* What the last runs have found in the tables is no more. */
TEST(a_stack_taken_away_between_interrupts_is_gone)
{
	const u64 va = 0x40000000;
	struct user u;

	start(&u, spin, spin_end);
	map_new(read_cr3(), va, PTE_P | PTE_W);
	guest_tss.rsp[0] = va + 0x1000;
	run(&u);
	check_frame(&u, SEL_UCODE);
	*pte_at(read_cr3(), va, 1) = 0;
	invlpg((void *)va);
	*(u64 *)user_data() = 0;
	arrived = 0;
	u.rip = USER_CODE;
	run(&u);
	CHECK_EQ(u.vector, VEC_DF);
	CHECK_EQ(arrived, 0);
}

/* Handler and user mode by turns, with system calls in between. */
USER_ASM(mixed, "1: syscall\n cmpq %rbx, 0x20000000\n jb 1b\n int3");

static u64 calls;

static bool on_call(struct trap *t)
{
	u16 ss;

	asm volatile("mov %%ss, %0" : "=r"(ss));
	wrong += ss != SEL_KDATA;
	calls++;
	return true;
}

static void check_ss(void)
{
	wrong += (seen.cs & 3) == 3 && seen_ss != 0;
}

TEST(system_calls_and_interrupts_leave_each_their_own_ss)
{
	struct user u;

	start(&u, mixed, mixed_end);
	set_handler(VEC_SYSCALL, on_call);
	on_arrival = check_ss;
	calls = 0;
	run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK(calls > 0, "%lu", calls);
	CHECK_EQ(wrong, 0);
}
