// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that ruins whatever it can reach of its own vCPU. The machine may stop
 * with a reason, never the host: test-guests runs each of these alone and then
 * looks whether the host still runs a healthy guest.
 */
#include "x86.h"

#define REGION 0xffff800000000000ul

/*
 * Translated code may be able to write the vCPU page behind its own back: with
 * stores to addresses that the guest has not mapped.
 */
static void scribble(u64 from, u64 to, u64 step, u64 value)
{
	u64 va;

	for (va = from; va < to; va += step) {
		struct trap t;

		CATCH(&t, store64((void *)va, value));
		CATCH(&t, asm volatile("lock notq (%0)" : : "r"(va) : "memory"));
	}
}

TEST(zeros_over_the_vcpu_page)
{
	scribble(POPF_VCPU_PAGE, POPF_WRITABLE_END, 8, 0);
}

TEST(ones_over_the_vcpu_page)
{
	scribble(POPF_VCPU_PAGE, POPF_WRITABLE_END, 8, ~0ul);
}

TEST(kernel_addresses_over_the_vcpu_page)
{
	scribble(POPF_VCPU_PAGE, POPF_WRITABLE_END, 8, 0xffffffff81000000);
}

TEST(scribbles_all_over_the_window)
{
	scribble(POPF_WINDOW, POPF_WINDOW + 0x1000000, 0x1f8, 0x4141414141414141);
}

TEST(scribbles_all_over_the_region)
{
	scribble(REGION, REGION + 0x200000, 0x7f8, 0x4141414141414141);
}

/* Bytes from everywhere executed: whatever happens, happens in the guest. */
TEST(jumps_everywhere)
{
	u64 i, seed = 12345;

	for (i = 0; i < 2000; i++) {
		struct trap t;
		u64 va;

		seed = seed * 6364136223846793005ul + 1442695040888963407ul;
		va = i & 1 ? POPF_WINDOW + (seed >> 40) : seed;
		CATCH(&t, call_at(va));
	}
}

/* Random bytes as kernel code. */
TEST(random_code)
{
	u64 root = read_cr3() & PTE_ADDR;
	u64 va = 0x40000000, i, j, seed = 4711;
	u8 *code = map_new(root, va, PTE_P | PTE_W);

	for (i = 0; i < 300; i++) {
		struct trap t;

		for (j = 0; j < 64; j++) {
			seed = seed * 6364136223846793005ul + 1442695040888963407ul;
			code[j] = seed >> 56;
		}
		for (; j < 128; j++)
			code[j] = 0xcc;
		cpuid(0, 0);
		CATCH(&t, call_at(va));
	}
}

USER_ASM(empty, "int3");

TEST(random_user_code)
{
	u64 i, j, seed = 815;
	struct user u;
	u8 *code;

	user_init(&u, empty, empty_end);
	code = phys(*pte_at(read_cr3() & PTE_ADDR, USER_CODE, 1) & PTE_ADDR);
	apic_write(APIC_LVTT, 0x20000 | 0x50);
	apic_write(APIC_TMICT, 10000000);
	for (i = 0; i < 500; i++) {
		for (j = 0; j < 64; j++) {
			seed = seed * 6364136223846793005ul + 1442695040888963407ul;
			code[j] = seed >> 56;
		}
		for (; j < 128; j++)
			code[j] = 0xcc;
		user_init(&u, code, code + 128);
		code = phys(*pte_at(read_cr3() & PTE_ADDR, USER_CODE, 1) & PTE_ADDR);
		u.rbx = USER_DATA;
		u.rsi = USER_DATA + 100;
		u.rdi = USER_DATA + 200;
		u.rflags = 2 | RF_IF; /* the timer ends loops */
		user_run(&u);
		apic_eoi();
		pages_free_all();
	}
}

TEST(page_tables_of_random_words)
{
	u64 root, i, j, seed = 99, *table;

	for (i = 0; i < 20; i++) {
		root = space_new();
		table = phys(root);
		for (j = 0; j < 256; j++) {
			seed = seed * 6364136223846793005ul + 1442695040888963407ul;
			table[j] = seed | PTE_P;
		}
		write_cr3(root);
		for (j = 0; j < 256; j += 5) {
			struct trap t;

			CATCH(&t, load8((void *)(j << 39 | (seed >> 30 & 0x7fffffff000))));
			CATCH(&t, store64((void *)(j << 39 | (seed >> 28 & 0x7ffffffff)), 1));
		}
		write_cr3(virt_to_phys(boot_pml4));
	}
}

/*
 * A data breakpoint on the operand of MOV SS waits until the next instruction is
 * done: when that enters the kernel, the first #DB is ring 0's.
 */
#define BEHIND_SS "movw (%rbx), %ss; "
USER_ASM(ss_icebp, BEHIND_SS ".byte 0xf1; int3");
USER_ASM(ss_int3, BEHIND_SS "int3");
USER_ASM(ss_int80, BEHIND_SS "int $0x80; int3");
USER_ASM(ss_syscall, BEHIND_SS "syscall; int3");
USER_ASM(ss_sysenter, BEHIND_SS "sysenter; int3");
USER_ASM(ss_ud2, BEHIND_SS "ud2");
/* TF that user mode sets itself, and a breakpoint in what is stepped */
USER_ASM(step_self, "pushq $0x302; popfq; movq %rax, (%rbx); movq (%rbx), %rax; int3");

static void with_breakpoint(const u8 *start, const u8 *end)
{
	struct user u;
	u64 i;

	user_init(&u, start, end);
	*(u64 *)user_data() = SEL_UDATA;
	write_dr0(USER_DATA);
	write_dr7(0x400 | 1 | 0xful << 16); /* 4 bytes, reads and writes */
	u.rbx = USER_DATA;
	u.rflags = 2 | RF_IF;
	for (i = 0; i < 4; i++)
		user_run(&u);
	write_dr7(0x400);
	pages_free_all();
}

TEST(breakpoints_that_wait_for_the_kernel)
{
	with_breakpoint(ss_int3, ss_int3_end);
	with_breakpoint(ss_int80, ss_int80_end);
	with_breakpoint(ss_ud2, ss_ud2_end);
	with_breakpoint(ss_syscall, ss_syscall_end);
	with_breakpoint(ss_sysenter, ss_sysenter_end);
	with_breakpoint(ss_icebp, ss_icebp_end);
}

TEST(a_step_and_a_breakpoint_at_once)
{
	with_breakpoint(step_self, step_self_end);
}
