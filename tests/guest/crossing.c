// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls and returns in the circumstances in which a monitor may take a
 * short way: flags that SYSCALL clears as all kernels do, no data segments,
 * interrupts on in user mode. And what must not be lost on a short way.
 */
#include "x86.h"

#define VECTOR 0x50
#define SFMASK_ALL 0x257fd5ul

USER_ASM(calls, "1: syscall\n dec %rbx\n jnz 1b\n int3");
USER_ASM(stop_at_once, "int3");
/* Limit and base of a segment before and after a system call. */
USER_ASM(limits_around, "mov $0x3b, %ecx\n lsl %ecx, %r12d\n syscall\n"
			" mov $0x3b, %ecx\n lsl %ecx, %r13d\n int3");
USER_ASM(load_fs_after, "syscall\n mov $0x3b, %eax\n mov %eax, %fs\n"
			" mov %fs:0, %r12\n int3");
USER_ASM(load_ds_before, "mov $0x2b, %eax\n mov %eax, %ds\n syscall\n int3");
USER_ASM(read_data_twice, "mov 0x20000000, %r12\n syscall\n"
			  " mov 0x20000000, %r13\n int3");
USER_ASM(unaligned_after, "syscall\n pushfq\n orl $0x40000, (%rsp)\n popfq\n"
			  " mov 0x20000001, %rax\n int3");
USER_ASM(pushf_after, "syscall\n pushfq\n pop %r12\n int3");
USER_ASM(step_over, "syscall\n nop\n nop\n int3");
USER_ASM(gs_around, "mov %gs:0, %r12\n syscall\n mov %gs:0, %r13\n int3");

static u64 handled;

static void start(struct user *u, const void *code, const void *end)
{
	wrmsr(MSR_SFMASK, SFMASK_ALL);
	allow_short_ways();
	user_init(u, code, end);
	u->rflags = 2 | RF_IF;
	handled = 0;
}

static bool on_call(struct trap *t)
{
	handled++;
	return true;
}

/* The kernel's side returns by IRET, without user_run() ending. */
static void handle_calls(trap_handler handler)
{
	set_handler(VEC_SYSCALL, handler);
}

TEST(registers_survive_thousands_of_calls_that_return_by_iret)
{
	struct user u, before;
	u64 *r = &u.r15;
	int i;

	start(&u, calls, calls_end);
	handle_calls(on_call);
	for (i = 0; i < 15; i++)
		r[i] = 0x8123456789abcdef + i * 0x0101010101010101;
	u.rbx = 5000;
	before = u;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(handled, 5000);
	CHECK_EQ(u.rbx, 0);
	CHECK_EQ(u.rcx, USER_CODE + 2);
	CHECK_EQ(u.rsp, before.rsp);
	CHECK_EQ(u.cs, SEL_UCODE);
	CHECK_EQ(u.ss, SEL_UDATA);
	for (i = 0; i < 15; i++) {
		if (&r[i] != &u.rcx && &r[i] != &u.r11 && &r[i] != &u.rbx)
			CHECK_EQ(r[i], (&before.r15)[i]);
	}
}

TEST(registers_survive_thousands_of_calls_that_return_by_sysret)
{
	struct user u;
	u64 n;

	start(&u, calls, calls_end);
	u.rbx = 5000;
	u.r12 = 0x123456789abcdef0;
	u.rax = ~0ul;
	for (n = 0;; n++) {
		user_run(&u);
		if (u.vector != VEC_SYSCALL)
			break;
		u.how = USER_SYSRET;
	}
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(n, 5000);
	CHECK_EQ(u.r12, 0x123456789abcdef0);
	CHECK_EQ(u.rax, ~0ul);
	CHECK_EQ(u.rflags & ~RF_RF, 2 | RF_IF | RF_ZF | RF_PF);
}

TEST(flags_go_out_and_come_back)
{
	struct user u;

	start(&u, pushf_after, pushf_after_end);
	handle_calls(on_call);
	u.rflags = 2 | RF_IF | RF_CF | RF_SF | RF_DF | RF_ID | RF_AC;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.r12, 2 | RF_IF | RF_CF | RF_SF | RF_DF | RF_ID | RF_AC);
}

static void set_tls(u32 limit, u64 access)
{
	/* 32-bit data, byte granular, base 0x20000000 */
	guest_gdt[SEL_TLS / 8] = (u64)0x20 << 56 | 0x0040000000000000ul |
				 access << 40 | limit;
}

static bool grow_tls(struct trap *t)
{
	set_tls(0x222, 0xf3);
	return on_call(t);
}

TEST(a_descriptor_changed_in_a_system_call_is_seen_after_it)
{
	struct user u;

	start(&u, limits_around, limits_around_end);
	handle_calls(grow_tls);
	set_tls(0x111, 0xf3);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.r12, 0x111);
	CHECK_EQ(u.r13, 0x222);
}

TEST(a_descriptor_made_in_a_system_call_can_be_loaded_after_it)
{
	struct user u;

	start(&u, load_fs_after, load_fs_after_end);
	handle_calls(grow_tls);
	guest_gdt[SEL_TLS / 8] = 0;
	*(u64 *)user_data() = 0x1122334455667788;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.r12, 0x1122334455667788);
	write_fs(0);
}

static bool drop_tls(struct trap *t)
{
	guest_gdt[SEL_TLS / 8] = 0;
	return on_call(t);
}

TEST(a_descriptor_taken_away_in_a_system_call_cannot_be_loaded_after_it)
{
	struct user u;

	start(&u, load_fs_after, load_fs_after_end);
	handle_calls(drop_tls);
	set_tls(0x111, 0xf3);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.error, SEL_TLS & ~3);
}

static u64 seen_ds;

static bool read_selector(struct trap *t)
{
	asm volatile("mov %%ds, %0" : "=r"(seen_ds));
	return on_call(t);
}

TEST(a_data_segment_loaded_in_user_mode_is_seen_by_the_kernel)
{
	struct user u;

	start(&u, load_ds_before, load_ds_before_end);
	handle_calls(read_selector);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(seen_ds, SEL_UDATA);
	CHECK_EQ(handled, 1);
	write_ds(0);
}

static u64 *data_pte;
static u64 other_page;

static bool map_other(struct trap *t)
{
	*data_pte = other_page | PTE_P | PTE_U | PTE_W;
	invlpg((void *)USER_DATA);
	return on_call(t);
}

TEST(a_page_mapped_in_a_system_call_is_seen_after_it)
{
	struct user u;

	start(&u, read_data_twice, read_data_twice_end);
	handle_calls(map_other);
	data_pte = pte_at(read_cr3(), USER_DATA, 1);
	other_page = page_alloc();
	*(u64 *)phys(other_page) = 222;
	*(u64 *)user_data() = 111;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.r12, 111);
	CHECK_EQ(u.r13, 222);
}

/* Alignment is checked in user mode only, whatever the kernel does with AC. */
static bool unaligned_kernel(struct trap *t)
{
	static u64 pair[2];
	volatile u64 *p = (u64 *)((u8 *)pair + 1);

	write_flags(2 | RF_AC);
	*p = 1;
	(void)*p;
	write_flags(2);
	return on_call(t);
}

TEST(alignment_checks_follow_the_mode)
{
	struct user u;

	write_cr0(read_cr0() | CR0_AM);
	start(&u, unaligned_after, unaligned_after_end);
	handle_calls(unaligned_kernel);
	user_run(&u);
	CHECK_EQ(handled, 1);
	CHECK_EQ(u.vector, hardware_is_tcg() ? VEC_BP : VEC_AC);
}

TEST(a_system_call_under_single_step_traps_behind_it)
{
	struct user u;

	if (engine_is_tcg())
		skip("TCG traps at the handler's first instruction");
	start(&u, step_over, step_over_end);
	handle_calls(on_call);
	u.rflags = 2 | RF_IF | RF_TF;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_DB);
	CHECK_EQ(handled, 1);
}

static u64 interrupted_rip;

static bool on_interrupt(struct trap *t)
{
	interrupted_rip = t->rip;
	apic_eoi();
	return true;
}

static bool send_interrupt(struct trap *t)
{
	apic_self(VECTOR);
	return on_call(t);
}

TEST(an_interrupt_that_waits_comes_before_the_user_goes_on)
{
	struct user u;

	apic_init();
	start(&u, calls, calls_end);
	handle_calls(send_interrupt);
	set_handler(VECTOR, on_interrupt);
	interrupted_rip = 0;
	u.rbx = 1;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(interrupted_rip, USER_CODE + 2);
}

static u64 kernel_gs;

static bool swap_gs(struct trap *t)
{
	asm volatile("swapgs; mov %%gs:0, %0; swapgs" : "=r"(kernel_gs));
	return on_call(t);
}

TEST(both_gs_bases_survive_a_system_call)
{
	static u64 own = 0x4b4b4b4b;
	struct user u;

	start(&u, gs_around, gs_around_end);
	handle_calls(swap_gs);
	*(u64 *)user_data() = 0x75757575;
	wrmsr(MSR_GS_BASE, USER_DATA);
	wrmsr(MSR_KERNEL_GS_BASE, (u64)&own);
	user_run(&u);
	wrmsr(MSR_GS_BASE, 0);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.r12, 0x75757575);
	CHECK_EQ(u.r13, 0x75757575);
	CHECK_EQ(kernel_gs, 0x4b4b4b4b);
	CHECK_EQ(rdmsr(MSR_KERNEL_GS_BASE), (u64)&own);
}

TEST(user_code_after_a_return_cannot_read_kernel_memory)
{
	struct user u;

	start(&u, calls, calls_end);
	handle_calls(on_call);
	u.rbx = 3;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	u.rip = (u64)handle_calls;
	u.how = USER_IRET;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_PF);
	CHECK_EQ(u.cr2, (u64)handle_calls);
}
