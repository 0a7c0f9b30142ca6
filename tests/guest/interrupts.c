// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts and the flag that rules them, HLT, the APIC and its timer.
 */
#include "x86.h"

#define VECTOR 0x50
#define TIMER 0x51
#define LVT_PERIODIC 0x20000
#define LVT_DEADLINE 0x40000
#define LVT_MASKED 0x10000

static volatile u64 count, timer_count, last_rip, last_flags, order[8], orders;

static bool on_vector(struct trap *t)
{
	count++;
	last_rip = t->rip;
	last_flags = t->rflags;
	if (orders < ARRAY_SIZE(order))
		order[orders++] = t->vector;
	apic_eoi();
	return true;
}

static bool on_timer(struct trap *t)
{
	timer_count++;
	apic_eoi();
	return true;
}

static void start(void)
{
	unsigned int v;

	for (v = 0x40; v < 0xf0; v++)
		set_handler(v, on_vector);
	set_handler(TIMER, on_timer);
	/* what the last test left pending */
	sti();
	asm volatile("nop; nop");
	cli();
	count = timer_count = orders = 0;
}

static void spin(u64 rounds)
{
	u64 i;

	for (i = 0; i < rounds; i++)
		barrier();
}

static void wait_for(volatile u64 *what, u64 n)
{
	u64 i;

	for (i = 0; i < 400000000 && *what < n; i++)
		barrier();
}

/* --- the interrupt flag --------------------------------------------------- */

TEST(a_masked_interrupt_waits_for_sti)
{
	start();
	apic_self(VECTOR);
	spin(10000);
	CHECK_EQ(count, 0);
	sti();
	asm volatile("nop; nop");
	cli();
	CHECK_EQ(count, 1);
}

TEST(sti_shadows_exactly_one_instruction)
{
	extern u8 sti_after[];

	start();
	apic_self(VECTOR);
	spin(10000);
	asm volatile("sti\n nop\n .globl sti_after\n sti_after: nop; nop; cli" : : : "memory");
	CHECK_EQ(count, 1);
	CHECK_EQ(last_rip, (u64)sti_after);
	CHECK_EQ(last_flags & RF_IF, RF_IF);
}

TEST(sti_then_cli_takes_no_interrupt)
{
	int i;

	start();
	apic_self(VECTOR);
	spin(10000);
	for (i = 0; i < 100; i++)
		asm volatile("sti; cli" : : : "memory");
	CHECK_EQ(count, 0);
}

/* STI when IF is set already has no shadow; nothing is pending, so no trap. */
TEST(sti_twice_is_sti)
{
	start();
	sti();
	apic_self(VECTOR);
	wait_for(&count, 1);
	asm volatile("sti; sti");
	cli();
	CHECK_EQ(count, 1);
}

TEST(popf_opens_without_a_shadow)
{
	extern u8 popf_after[];

	start();
	apic_self(VECTOR);
	spin(10000);
	asm volatile("pushq $0x202; popfq\n .globl popf_after\n popf_after: nop; nop; cli"
		     : : : "memory");
	CHECK_EQ(count, 1);
	CHECK_EQ(last_rip, (u64)popf_after);
}

TEST(iret_opens_without_a_shadow)
{
	extern u8 iret_target[];

	start();
	apic_self(VECTOR);
	spin(10000);
	asm volatile("movq %%rsp, %%rbx; pushq %0; pushq %%rbx; pushq $0x202; pushq %1;"
		     "pushq $iret_target; iretq\n"
		     ".globl iret_target\n iret_target: nop; nop; cli"
		     : : "i"(SEL_KDATA), "i"(SEL_KCODE) : "rbx", "memory");
	CHECK_EQ(count, 1);
	CHECK_EQ(last_rip, (u64)iret_target);
}

TEST(mov_to_ss_shadows_the_next_instruction)
{
	extern u8 ss_after[];

	start();
	apic_self(VECTOR);
	spin(10000);
	asm volatile("movl %0, %%eax; sti; movl %%eax, %%ss; nop\n"
		     ".globl ss_after\n ss_after: nop; nop; cli"
		     : : "i"(SEL_KDATA) : "rax", "memory");
	CHECK_EQ(count, 1);
	/* whether the second shadow counts is up to the CPU */
	CHECK(last_rip == (u64)ss_after || last_rip == (u64)ss_after - 1, "%lx", last_rip);
}

TEST(pushf_shows_the_flag_as_set)
{
	u64 closed, open, forced;

	asm volatile("cli; pushfq; popq %0" : "=r"(closed) : : "memory");
	asm volatile("sti; pushfq; popq %0; cli" : "=r"(open) : : "memory");
	asm volatile("pushq $0x202; popfq; pushfq; cli; popq %0" : "=r"(forced) : : "memory");
	CHECK_EQ(closed & RF_IF, 0);
	CHECK_EQ(open & RF_IF, RF_IF);
	CHECK_EQ(forced & RF_IF, RF_IF);
}

TEST(flags_are_kept_by_cli_and_sti)
{
	static const u64 arith = RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF | RF_OF | RF_DF;
	u64 bits, got;

	for (bits = 0; bits < 0x1000; bits++) {
		u64 flags = 2 | (bits & arith);

		asm volatile("pushq %1; popfq; sti; cli; sti; cli; pushfq; popq %0; cld"
			     : "=r"(got) : "r"(flags) : "memory", "cc");
		CHECK_EQ(got, flags);
	}
}

TEST(pushf_and_popf_keep_every_flag)
{
	static const u64 all = RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF | RF_OF | RF_DF |
			       RF_NT | RF_AC | RF_ID | RF_IOPL | RF_IF;
	u64 i, got, seed = 1;

	for (i = 0; i < 2000; i++) {
		u64 flags = 2 | (seed >> 20 & all);

		seed = seed * 6364136223846793005ul + 1442695040888963407ul;
		asm volatile("pushq %1; popfq; pushfq; popq %0; pushq $2; popfq"
			     : "=&r"(got) : "r"(flags) : "memory", "cc");
		CHECK_EQ(got, flags);
		/* reserved bits and VM, RF, VIF, VIP cannot be set */
		asm volatile("pushq %1; popfq; pushfq; popq %0; pushq $2; popfq"
			     : "=&r"(got)
			     : "r"(flags | RF_RF | RF_VM | 1ul << 40 | 8 | 0x20 | 0x8000)
			     : "memory", "cc");
		CHECK_EQ(got, flags);
	}
}

TEST(sixteen_bit_popf_changes_the_low_half_only)
{
	u64 got;

	asm volatile("pushq %1; popfq; pushw $0x8d7; popfw; pushfq; popq %0; pushq $2; popfq"
		     : "=&r"(got) : "r"(2 | RF_AC | RF_ID) : "memory", "cc");
	CHECK_EQ(got, 2 | RF_AC | RF_ID | 0x8d7);
	asm volatile("pushq %1; popfq; pushfw; popw %w0; pushq $2; popfq"
		     : "=&r"(got) : "r"(2 | RF_AC | RF_CF | RF_IF) : "memory", "cc");
	CHECK_EQ((u16)got, 2 | RF_CF | RF_IF);
}

/* --- user mode and the flag ----------------------------------------------- */

USER_ASM(user_popf, "pushq %rbx; popfq; pushfq; popq %rax; int3");
USER_ASM(user_cli, "cli; int3");
USER_ASM(user_spin, "1: dec %rbx; jnz 1b; int3");

TEST(popf_in_user_mode_keeps_if_and_iopl)
{
	struct user u;

	user_init(&u, user_popf, user_popf_end);
	u.rflags = 2 | RF_IF;
	u.rbx = 2 | RF_IOPL | RF_CF;
	user_run(&u);
	CHECK_EQ(u.rax, 2 | RF_IF | RF_CF);
	u.rip = USER_CODE;
	u.rflags = 2;
	u.rbx = 2 | RF_IOPL | RF_IF | RF_AC;
	user_run(&u);
	CHECK_EQ(u.rax, 2 | RF_AC);
}

TEST(iopl_3_lets_user_mode_rule_if)
{
	struct user u;

	user_init(&u, user_popf, user_popf_end);
	u.rflags = 2 | RF_IOPL | RF_IF;
	u.rbx = 2 | RF_CF;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, 2 | RF_IOPL | RF_CF);
	user_init(&u, user_cli, user_cli_end);
	u.rflags = 2 | RF_IOPL | RF_IF;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rflags & RF_IF, 0);
	CHECK_EQ(u.rflags & RF_IOPL, RF_IOPL);
}

USER_ASM(user_critical, "pushfq; cli; pushfq; popq %rax; incq %rbx; popfq; pushfq; popq %rcx; int3");

TEST(a_critical_section_of_user_mode_ends_with_popf)
{
	struct user u;

	user_init(&u, user_critical, user_critical_end);
	u.rflags = 2 | RF_IOPL | RF_IF;
	u.rbx = 7;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax & (RF_IF | RF_IOPL | RF_TF), RF_IOPL);
	CHECK_EQ(u.rcx & (RF_IF | RF_IOPL | RF_TF), RF_IOPL | RF_IF);
	CHECK_EQ(u.rbx, 8);
	CHECK_EQ(u.rflags & (RF_IF | RF_IOPL | RF_TF), RF_IOPL | RF_IF);
}

USER_ASM(user_sti, "sti; nop; incq %rbx; 1: pause; jmp 1b");

TEST(sti_in_user_mode_shadows_exactly_one_instruction)
{
	struct user u;

	start();
	user_init(&u, user_sti, user_sti_end);
	u.rflags = 2 | RF_IOPL;
	u.rbx = 0;
	apic_self(VECTOR);
	set_handler(VECTOR, NULL);
	user_run(&u);
	apic_eoi();
	CHECK_EQ(u.vector, VECTOR);
	CHECK_EQ(u.rip, USER_CODE + 2);
	CHECK_EQ(u.rflags & RF_IF, RF_IF);
}

USER_ASM(user_calls, "lahf; syscall; int3");

/* Nothing of how popf does it shows: neither TF nor IF. */
TEST(a_system_call_saves_the_flags_of_user_mode)
{
	static const u64 flags[] = { 0, RF_IOPL, RF_IOPL | RF_IF };
	struct user u;
	u64 i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		user_init(&u, user_calls, user_calls_end);
		u.rflags = 2 | flags[i];
		user_run(&u);
		CHECK_EQ(u.vector, VEC_SYSCALL);
		CHECK_EQ(u.r11, 2 | flags[i]);
		pages_free_all();
	}
}

TEST(cli_in_user_mode_is_general_protection)
{
	struct user u;

	user_init(&u, user_cli, user_cli_end);
	u.rflags = 2 | RF_IF;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.error, 0);
	CHECK_EQ(u.rip, USER_CODE);
}

TEST(a_pending_interrupt_is_taken_on_entry_to_user_mode)
{
	struct user u;

	start();
	user_init(&u, user_spin, user_spin_end);
	u.rbx = 1000;
	u.rflags = 2 | RF_IF;
	apic_self(VECTOR);
	spin(10000);
	CHECK_EQ(count, 0);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(count, 1);
	CHECK_EQ(last_rip, USER_CODE);
}

TEST(interrupts_wait_while_user_mode_has_if_clear)
{
	struct user u;

	start();
	user_init(&u, user_spin, user_spin_end);
	u.rbx = 100000;
	apic_self(VECTOR);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(count, 0);
	asm volatile("sti; nop; nop; cli");
	CHECK_EQ(count, 1);
}

/* --- order and priority --------------------------------------------------- */

TEST(higher_vectors_come_first)
{
	start();
	apic_self(0x61);
	apic_self(0x83);
	apic_self(0x45);
	apic_self(0x72);
	spin(10000);
	asm volatile("sti; nop; nop; nop; nop; nop; cli");
	CHECK_EQ(orders, 4);
	CHECK_EQ(order[0], 0x83);
	CHECK_EQ(order[1], 0x72);
	CHECK_EQ(order[2], 0x61);
	CHECK_EQ(order[3], 0x45);
}

TEST(cr8_holds_back_lower_classes)
{
	start();
	write_cr8(7);
	CHECK_EQ(apic_read(APIC_TPR), 0x70);
	apic_self(0x75);
	apic_self(0x85);
	spin(10000);
	asm volatile("sti; nop; nop; nop; cli");
	CHECK_EQ(count, 1);
	CHECK_EQ(order[0], 0x85);
	sti();
	write_cr8(0);
	wait_for(&count, 2);
	cli();
	CHECK_EQ(count, 2);
	CHECK_EQ(order[1], 0x75);
}

static bool nested_handler(struct trap *t)
{
	order[orders++] = t->vector;
	sti();
	apic_self(0x90);
	spin(20000);
	apic_self(0x42);
	spin(20000);
	cli();
	order[orders++] = 1;
	apic_eoi();
	return true;
}

TEST(a_handler_is_interrupted_by_higher_vectors_only)
{
	start();
	set_handler(0x60, nested_handler);
	apic_self(0x60);
	sti();
	wait_for(&orders, 4);
	cli();
	CHECK_EQ(orders, 4);
	CHECK_EQ(order[0], 0x60);
	CHECK_EQ(order[1], 0x90);
	CHECK_EQ(order[2], 1);
	CHECK_EQ(order[3], 0x42);
}

TEST(the_same_vector_twice_is_one_interrupt)
{
	start();
	apic_self(VECTOR);
	apic_self(VECTOR);
	spin(10000);
	CHECK_EQ(apic_read(APIC_IRR + (VECTOR / 32) * 0x10) >> (VECTOR % 32) & 1, 1);
	asm volatile("sti; nop; nop; nop; cli");
	CHECK_EQ(count, 1);
	CHECK_EQ(apic_read(APIC_IRR + (VECTOR / 32) * 0x10) >> (VECTOR % 32) & 1, 0);
}

/* --- HLT ------------------------------------------------------------------ */

TEST(halt_wakes_for_an_interrupt_and_goes_on_after_it)
{
	int i;

	start();
	for (i = 1; i <= 20; i++) {
		apic_self(VECTOR);
		asm volatile("sti; hlt; cli" : : : "memory");
		CHECK_EQ(count, i);
	}
}

TEST(halt_sleeps_until_the_timer)
{
	u64 before, i;

	start();
	for (i = 1; i <= 10; i++) {
		apic_write(APIC_LVTT, TIMER);
		before = rdtsc();
		apic_write(APIC_TMICT, 2000000);
		asm volatile("sti; hlt; cli" : : : "memory");
		CHECK_EQ(timer_count, i);
		CHECK(rdtsc() > before, "time went back");
	}
}

/* --- the timer ------------------------------------------------------------ */

TEST(one_shot_fires_once)
{
	start();
	apic_write(APIC_LVTT, TIMER);
	apic_write(APIC_TMICT, 100000);
	sti();
	wait_for(&timer_count, 1);
	spin(3000000);
	cli();
	CHECK_EQ(timer_count, 1);
	CHECK_EQ(apic_read(APIC_TMCCT), 0);
}

TEST(the_count_goes_down)
{
	u32 a, b;

	apic_write(APIC_LVTT, LVT_MASKED | TIMER);
	apic_write(APIC_TMICT, 0xffffffff);
	a = apic_read(APIC_TMCCT);
	spin(100000);
	b = apic_read(APIC_TMCCT);
	apic_write(APIC_TMICT, 0);
	CHECK(b < a, "%x then %x", a, b);
	CHECK_EQ(apic_read(APIC_TMCCT), 0);
}

TEST(periodic_fires_again_and_again)
{
	start();
	apic_write(APIC_LVTT, LVT_PERIODIC | TIMER);
	apic_write(APIC_TMICT, 1000000);
	sti();
	wait_for(&timer_count, 30);
	cli();
	apic_write(APIC_LVTT, LVT_MASKED);
	CHECK(timer_count >= 30, "%lu", timer_count);
}

TEST(a_masked_timer_is_silent)
{
	start();
	apic_write(APIC_LVTT, LVT_MASKED | TIMER);
	apic_write(APIC_TMICT, 10000);
	sti();
	spin(1000000);
	cli();
	CHECK_EQ(timer_count, 0);
}

TEST(tsc_deadline_fires_when_it_has_passed)
{
	u64 due, i;

	if (!(cpuid(1, 0).ecx & 1u << 24))
		skip("the CPU has none");
	start();
	apic_write(APIC_LVTT, LVT_DEADLINE | TIMER);
	due = rdtsc() + (1ul << 40);
	wrmsr(MSR_TSC_DEADLINE, due);
	CHECK_EQ(rdmsr(MSR_TSC_DEADLINE), due);
	for (i = 1; i <= 20; i++) {
		due = rdtsc() + 2000000;
		wrmsr(MSR_TSC_DEADLINE, due);
		sti();
		wait_for(&timer_count, i);
		cli();
		CHECK_EQ(timer_count, i);
		CHECK(rdtsc() >= due, "too early");
		CHECK_EQ(rdmsr(MSR_TSC_DEADLINE), 0);
	}
	/* in the past: at once */
	wrmsr(MSR_TSC_DEADLINE, 1);
	asm volatile("sti; nop");
	wait_for(&timer_count, 21);
	cli();
	CHECK_EQ(timer_count, 21);
	/* disarmed: never */
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 3000000);
	wrmsr(MSR_TSC_DEADLINE, 0);
	sti();
	spin(3000000);
	cli();
	CHECK_EQ(timer_count, 21);
}

/* --- x2APIC --------------------------------------------------------------- */

TEST(x2apic_mode_works_through_msrs)
{
	u64 base = rdmsr(MSR_APIC_BASE);

	if (!(cpuid(1, 0).ecx & 1u << 21))
		skip("the CPU has none");
	start();
	wrmsr(MSR_APIC_BASE, base | 0x400);
	wrmsr(0x80f, 0x1ff);
	wrmsr(0x808, 0);
	wrmsr(0x83f, VECTOR); /* self IPI */
	wrmsr(0x80b, 0);
	/* handlers signal EOI through MMIO, which is dead now; use none */
	spin(10000);
	CHECK_EQ(rdmsr(0x820 + VECTOR / 32) >> (VECTOR % 32) & 1, 1);
	CHECK_TRAP(VEC_GP, 0, wrmsr(0x80b, 1));
	CHECK_TRAP(VEC_GP, 0, rdmsr(0x80e));
	/* back only through disabled */
	CHECK_TRAP(VEC_GP, 0, wrmsr(MSR_APIC_BASE, base));
	wrmsr(MSR_APIC_BASE, base & ~0x800ul);
	wrmsr(MSR_APIC_BASE, base);
	CHECK_EQ(rdmsr(MSR_APIC_BASE), base);
}

/* --- floods --------------------------------------------------------------- */

static u64 checksum(u64 rounds)
{
	u64 sum = 1, i;

	for (i = 0; i < rounds; i++) {
		sum = sum * 6364136223846793005ul + (sum >> 33);
		asm volatile("addq %1, %0; adcq $0, %0; pushfq; rorq $9, %0; popfq; sbbq %1, %0"
			     : "+r"(sum) : "r"(i) : "cc", "memory");
	}
	return sum;
}

TEST(a_checksum_under_a_flood_of_interrupts)
{
	u64 want = checksum(300000), got;

	start();
	apic_write(APIC_LVTT, LVT_PERIODIC | TIMER);
	apic_write(APIC_TMICT, 50000);
	sti();
	got = checksum(300000);
	wait_for(&timer_count, 10);
	cli();
	apic_write(APIC_LVTT, LVT_MASKED);
	CHECK_EQ(got, want);
	CHECK(timer_count >= 10, "%lu", timer_count);
}

USER_ASM(user_checksum,
	 "mov $1, %rax; 1: imul $0x5851f42d, %rax, %rax; add %rbx, %rax; adc $0, %rax\n"
	 "rol $5, %rax; dec %rbx; jnz 1b; int3");

TEST(user_mode_under_a_flood_of_interrupts)
{
	struct user u;
	u64 want;

	start();
	user_init(&u, user_checksum, user_checksum_end);
	u.rbx = 2000000;
	u.rflags = 2 | RF_IF;
	user_run(&u);
	want = u.rax;
	apic_write(APIC_LVTT, LVT_PERIODIC | TIMER);
	apic_write(APIC_TMICT, 50000);
	u.rip = USER_CODE;
	u.rbx = 2000000;
	user_run(&u);
	sti();
	wait_for(&timer_count, 5);
	cli();
	apic_write(APIC_LVTT, LVT_MASKED);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, want);
	CHECK(timer_count >= 5, "%lu", timer_count);
}

TEST(self_interrupts_in_a_tight_loop)
{
	u64 i;

	start();
	sti();
	for (i = 1; i <= 2000; i++) {
		apic_self(VECTOR);
		wait_for(&count, i);
	}
	cli();
	CHECK_EQ(count, 2000);
}
