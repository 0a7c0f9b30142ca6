// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local descriptor table: LLDT and SLDT, and selectors with the TI bit in
 * kernel code, in 64-bit and in 32-bit user code.
 */
#include "x86.h"

#define SEL_LDT SEL_FREE
#define LDT_ENTRIES 8192
/* Selector of entry n, for user and kernel mode. */
#define LSEL(n) ((n) << 3 | 7)
#define KSEL(n) ((n) << 3 | 4)

static u64 ldt[LDT_ENTRIES] __attribute__((aligned(4096)));

/* A flat data or 32-bit code segment from base on, DPL 3. */
static u64 data_at(u32 base)
{
	return 0x00cff3000000ffff | (u64)(base & 0xffffff) << 16 |
	       (u64)(base >> 24) << 56;
}

static u64 code32_at(u32 base)
{
	return 0x00cffb000000ffff | (u64)(base & 0xffffff) << 16 |
	       (u64)(base >> 24) << 56;
}

static void load_ldt(u32 entries)
{
	u64 base = (u64)ldt;

	guest_gdt[SEL_LDT / 8] = (entries * 8 - 1) | (base & 0xffffff) << 16 | 0x82ul << 40 |
				 (base >> 24 & 0xff) << 56;
	guest_gdt[SEL_LDT / 8 + 1] = base >> 32;
	asm volatile("lldt %w0" : : "r"(SEL_LDT));
}

static void start(void)
{
	memset(ldt, 0, sizeof(ldt));
}

TEST(sldt_shows_what_lldt_loaded)
{
	u64 sel = ~0ul;

	start();
	load_ldt(4);
	asm volatile("sldt %0" : "=r"(sel));
	CHECK_EQ(sel, SEL_LDT);
	asm volatile("lldt %w0" : : "r"(0));
	asm volatile("sldt %0" : "=r"(sel));
	CHECK_EQ(sel, 0);
	/* not an LDT; beyond the table; in the LDT itself */
	CHECK_TRAP(VEC_GP, SEL_KDATA, asm volatile("lldt %w0" : : "r"(SEL_KDATA)));
	CHECK_TRAP(VEC_GP, 0x1000, asm volatile("lldt %w0" : : "r"(0x1000)));
	CHECK_TRAP(VEC_GP, 0xc, asm volatile("lldt %w0" : : "r"(0xc)));
}

TEST(kernel_code_loads_segments_from_it)
{
	start();
	ldt[2] = data_at(0x12345678);
	load_ldt(4);
	write_fs(LSEL(2));
	CHECK_EQ(read_fs(), LSEL(2));
	CHECK_EQ(rdmsr(MSR_FS_BASE), 0x12345678);
	CHECK_TRAP(VEC_GP, KSEL(1), write_gs(LSEL(1)));
	CHECK_TRAP(VEC_GP, KSEL(4), write_gs(LSEL(4)));
	asm volatile("lldt %w0" : : "r"(0));
	CHECK_TRAP(VEC_GP, KSEL(2), write_gs(LSEL(2)));
}

USER_ASM(u_load, "movl %edx, %fs; movl %fs:0, %eax; movl %fs:4, %ebx; movl $77, %fs:8; int3");
USER_ASM32(c_load, "movl %edx, %fs; movl %fs:0, %eax; movl %fs:4, %ebx; movl $77, %fs:8; int3");

static void check_user_load(bool wide, u32 entry)
{
	struct user u;
	u32 *data;

	if (wide)
		user_init(&u, u_load, u_load_end);
	else
		user_init32(&u, c_load, c_load_end);
	data = (u32 *)((u8 *)user_data() + 64);
	data[0] = 100;
	data[1] = 200;
	data[2] = 0;
	ldt[entry] = data_at(USER_DATA + 64);
	u.rdx = LSEL(entry);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, 100);
	CHECK_EQ(u.rbx, 200);
	CHECK_EQ(data[2], 77);
	CHECK_EQ(read_fs(), LSEL(entry));
	CHECK_EQ(rdmsr(MSR_FS_BASE), USER_DATA + 64);
	pages_free_all();
}

TEST(user_code_loads_segments_from_it)
{
	start();
	load_ldt(16);
	check_user_load(true, 1);
	check_user_load(false, 2);
}

TEST(a_selector_can_name_8192_entries)
{
	start();
	load_ldt(LDT_ENTRIES);
	check_user_load(true, 511);
	check_user_load(false, 512);
	check_user_load(true, 8191);
}

TEST(the_limit_is_the_guests)
{
	struct user u;

	start();
	load_ldt(4);
	ldt[3] = ldt[4] = data_at(USER_DATA);
	user_init(&u, u_load, u_load_end);
	u.rdx = LSEL(3);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	u.rip = USER_CODE;
	u.rdx = LSEL(4);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.error, KSEL(4));
	CHECK_EQ(u.rip, USER_CODE);
	/* A larger one, a smaller one, and none. */
	load_ldt(5);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	load_ldt(4);
	u.rip = USER_CODE;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	asm volatile("lldt %w0" : : "r"(0));
	u.rip = USER_CODE;
	u.rdx = LSEL(3);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.error, KSEL(3));
}

TEST(changes_take_effect_at_the_next_load)
{
	struct user u;
	u32 *data;
	u32 i;

	start();
	load_ldt(8);
	user_init32(&u, c_load, c_load_end);
	data = user_data();
	for (i = 0; i < 50; i++) {
		ldt[i % 3 + 1] = data_at(USER_DATA + i * 16);
		data[i * 4] = i;
		u.rip = USER_CODE;
		u.rdx = LSEL(i % 3 + 1);
		user_run(&u);
		CHECK_EQ(u.vector, VEC_BP);
		CHECK_EQ(u.rax, i);
	}
	ldt[1] = 0;
	u.rip = USER_CODE;
	u.rdx = LSEL(1);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.error, KSEL(1));
	/* not present */
	ldt[1] = data_at(USER_DATA) & ~(1ul << 47);
	user_run(&u);
	CHECK(u.vector == VEC_NP && u.error == KSEL(1), "vector %lx error %lx", u.vector, u.error);
}

TEST(privileged_and_system_descriptors_are_refused)
{
	/* kernel data, an LDT, a call gate, a busy TSS */
	static const u64 bad[] = {
		0x00cf93000000ffff, 0x000082000000ffff, 0x0000ec0000080000, 0x00008b000000ffff,
	};
	struct user u;
	u64 i;

	start();
	load_ldt(8);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ldt[2] = bad[i];
		user_init(&u, u_load, u_load_end);
		u.rdx = LSEL(2);
		user_run(&u);
		CHECK_EQ(u.vector, VEC_GP);
		CHECK_EQ(u.error, KSEL(2));
		pages_free_all();
	}
}

/* --- code ----------------------------------------------------------------- */

USER_ASM32(c_code, "movl %cs, %eax; movl $5, %ecx; int $0x80; incl %ecx; cli; int3");

TEST(user_code_runs_in_a_segment_from_it)
{
	struct user u;

	start();
	load_ldt(4);
	ldt[1] = code32_at(0);
	user_init32(&u, c_code, c_code_end);
	u.cs = LSEL(1);
	user_run(&u);
	CHECK_EQ(u.vector, 0x80);
	CHECK_EQ(u.rax, LSEL(1));
	CHECK_EQ(u.cs, LSEL(1));
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.rcx, 6);
	CHECK_EQ(u.cs, LSEL(1));
}

/* With a base EIP is not the address: what is emulated has to know. */
USER_ASM32(c_based, "movl %cs, %eax; smsw %bx; movl $6, %ecx; int $0x80; hlt");

TEST(user_code_runs_in_a_segment_with_a_base)
{
	struct user u;

	start();
	load_ldt(4);
	ldt[1] = code32_at(USER_CODE - 0x40);
	user_init32(&u, c_based, c_based_end);
	write_cr4(read_cr4() & ~CR4_UMIP);
	u.cs = LSEL(1);
	u.rip = 0x40;
	user_run(&u);
	CHECK_EQ(u.vector, 0x80);
	CHECK_EQ(u.rax, LSEL(1));
	CHECK_EQ(u.rcx, 6);
	CHECK_EQ(u.rbx & 0xffff, read_cr0() & 0xffff);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.rip, 0x40 + (c_based_end - c_based) - 1);
	CHECK_EQ(u.cs, LSEL(1));
}

USER_ASM32(c_stack, "pushl $7; popl %eax; call 1f; int3; 1: movl (%esp), %ecx; ret");

TEST(a_stack_from_it_has_its_base)
{
	struct user u;

	start();
	load_ldt(4);
	ldt[1] = data_at(0x1000);
	user_init32(&u, c_stack, c_stack_end);
	u.ss = LSEL(1);
	u.rsp -= 0x1000;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.ss, LSEL(1));
	CHECK_EQ(u.rax, 7);
	CHECK_EQ(u.rcx, USER_CODE + 8);
}

USER_ASM(u_lar, "larl %edx, %eax; setz %bl; lsll %edx, %ecx; int3");

TEST(lar_and_lsl_look_into_it)
{
	struct user u;

	start();
	load_ldt(4);
	ldt[1] = data_at(0);
	user_init(&u, u_lar, u_lar_end);
	u.rdx = LSEL(1);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rbx & 0xff, 1);
	CHECK_EQ(u.rax & 0xf000, 0xf000);
	CHECK_EQ(u.rcx, 0xffffffff);
}

USER_ASM(u_syscall, "movl %edx, %fs; syscall; movl %fs:0, %eax; int3");

TEST(system_calls_keep_its_segments)
{
	struct user u;
	u32 *data;

	start();
	load_ldt(4);
	ldt[2] = data_at(USER_DATA + 32);
	user_init(&u, u_syscall, u_syscall_end);
	data = user_data();
	data[8] = 4711;
	u.rdx = LSEL(2);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_SYSCALL);
	CHECK_EQ(read_fs(), LSEL(2));
	u.how = USER_SYSRET;
	u.rcx = u.rip;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, 4711);
}
