// SPDX-License-Identifier: GPL-2.0-only
/*
 * 32-bit user code under the 64-bit kernel, and segments.
 */
#include "x86.h"

USER_ASM32(c_int80, "movl $5, %eax; movl $0x80001234, %ebx; int $0x80; addl $1, %eax; int3");
USER_ASM32(c_syscall, "movl $7, %eax; syscall; incl %eax; int3");
USER_ASM32(c_sysenter, "movl %esp, %ebp; movl $9, %eax; sysenter; nop; incl %eax; int3");
USER_ASM32(c_loop, "1: int $0x80; decl %ebx; jnz 1b; int3");
USER_ASM32(c_stack,
	   "pushl $0x11223344; pushal; popal; popl %eax; call 1f; 1: popl %ebx; pushfl; popl %ecx;"
	   "pushw $7; popw %dx; enter $16, $0; leave; int3");
USER_ASM32(c_string,
	   "cld; movl %edi, %edx; movl $1000, %ecx; movl $0x01020304, %eax; rep stosl;"
	   "movl %edx, %esi; leal 4000(%edx), %edi; movl $1000, %ecx; rep movsl;"
	   "movl 7996(%edx), %eax; int3");
USER_ASM32(c_wrap, "movl $0x20000010, %ebx; movb $1, -0x20000000(%ebx); int3");
USER_ASM32(c_bound, "bound %eax, (%ebx); nop; int3");
USER_ASM32(c_into, "movb $0x7f, %al; incb %al; into; nop; int3");
USER_ASM32(c_aaa, "movb $9, %al; addb $8, %al; aaa; movl %eax, %ebx; movb $0x15, %al; addb $0x27, %al; daa; int3");
USER_ASM32(c_tls, "movw $0x3b, %ax; movw %ax, %gs; movl %gs:0, %eax; movl %gs:4, %ebx; movl $77, %gs:8; int3");
USER_ASM32(c_far, "pushl $0x33; pushl %ebx; lret");
USER_ASM32(c_far_jump, "ljmp $0x33, $0x10000010; nop; .balign 16\n .code64\n movq $-1, %rax; int3");
USER_ASM32(c_seg_write, "movw %ax, %ds; movl (%ebx), %ecx; int3");
USER_ASM(l_segs, "movl %fs:0, %eax; movl %gs:0, %ebx; movw %fs, %cx; movw %gs, %dx; int3");
USER_ASM(l_to_compat,
	 "pushq $0x23; leaq 1f(%rip), %rax; pushq %rax; lretq\n .code32\n"
	 "1: movl $-1, %eax; incl %eax; movl %esp, %ebx; pushl $0x33; pushl $2f-1b; addl %edi, (%esp); lret\n"
	 ".code64\n2: movq $-2, %rcx; int3");

TEST(int_80_from_32_bit_code)
{
	struct user u;

	user_init32(&u, c_int80, c_int80_end);
	user_run(&u);
	CHECK_EQ(u.vector, 0x80);
	CHECK_EQ(u.rax, 5);
	CHECK_EQ(u.rbx, 0x80001234);
	CHECK_EQ(u.rip, USER_CODE + 12);
	CHECK_EQ(u.cs, SEL_UCODE32);
	u.rax = 0xffffffff;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, 0);
}

TEST(a_thousand_int_80_calls)
{
	struct user u;
	u64 calls = 0;

	user_init32(&u, c_loop, c_loop_end);
	u.rbx = 1000;
	for (;;) {
		user_run(&u);
		if (u.vector != 0x80)
			break;
		calls++;
	}
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(calls, 1000);
}

static bool is_amd(void)
{
	return cpuid(0, 0).ebx == 0x68747541;
}

/* SYSCALL in 32-bit code exists on AMD's processors only, SYSENTER on Intel's. */
TEST(syscall_from_32_bit_code)
{
	struct user u;

	user_init32(&u, c_syscall, c_syscall_end);
	user_run(&u);
	if (u.vector == VEC_UD) {
		CHECK(!is_amd(), "#UD on AMD");
		CHECK_EQ(u.rip, USER_CODE + 5);
		return;
	}
	CHECK_EQ(u.vector, VEC_SYSCALL32);
	CHECK_EQ(u.rcx, USER_CODE + 7);
	CHECK_EQ(u.rax, 7);
	u.how = USER_SYSRET32;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, 8);
	CHECK_EQ(u.cs, SEL_UCODE32);
}

TEST(sysenter_from_32_bit_code)
{
	struct user u;

	/* SYSEXIT takes its user segments from behind SYSENTER_CS */
	memcpy(&guest_gdt[SEL_FREE / 8], &guest_gdt[SEL_KCODE / 8], 16);
	guest_gdt[SEL_FREE / 8 + 2] = guest_gdt[SEL_UCODE32 / 8];
	guest_gdt[SEL_FREE / 8 + 3] = guest_gdt[SEL_UDATA / 8];
	guest_gdt[SEL_FREE / 8 + 4] = guest_gdt[SEL_UCODE / 8];
	wrmsr(MSR_SYSENTER_CS, SEL_FREE);
	user_init32(&u, c_sysenter, c_sysenter_end);
	user_run(&u);
	if (u.vector == VEC_UD) {
		CHECK(is_amd(), "#UD on Intel");
		return;
	}
	CHECK_EQ(u.vector, VEC_SYSENTER);
	CHECK_EQ(u.rax, 9);
	CHECK_EQ(u.rsp, USER_STACK - 64);
	CHECK_EQ(u.rflags & RF_IF, 0);
	if (engine_is_tcg())
		return; /* it has SYSENTER on AMD, but no SYSEXIT */
	u.how = USER_SYSEXIT32;
	u.rip = USER_CODE + 10;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, 10);
	CHECK_EQ(u.cs, (SEL_FREE + 16) | 3);
	CHECK_EQ(u.ss, (SEL_FREE + 24) | 3);
}

TEST(sysenter_with_a_null_selector_is_general_protection)
{
	struct user u;

	wrmsr(MSR_SYSENTER_CS, 0);
	user_init32(&u, c_sysenter, c_sysenter_end);
	user_run(&u);
	CHECK(u.vector == VEC_GP || (u.vector == VEC_UD && is_amd()), "%lx", u.vector);
}

TEST(the_stack_is_32_bits_wide)
{
	struct user u;

	user_init32(&u, c_stack, c_stack_end);
	u.rsp |= 0xdead00000000;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, 0x11223344);
	CHECK_EQ((u32)u.rsp, USER_STACK - 64);
}

TEST(string_instructions_in_32_bit_code)
{
	struct user u;

	user_init32(&u, c_string, c_string_end);
	u.rdi = USER_DATA;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, 0x01020304);
	CHECK_EQ(u.rdi, USER_DATA + 8000);
}

TEST(addresses_wrap_at_4_gib)
{
	struct user u;

	user_init32(&u, c_wrap, c_wrap_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_PF);
	CHECK_EQ(u.cr2, 0x10);
	CHECK_EQ(u.error, PF_U | PF_W);
}

TEST(bound_and_into_raise_their_exceptions)
{
	struct user u;

	user_init32(&u, c_bound, c_bound_end);
	u.rbx = USER_DATA;
	((u32 *)user_data())[0] = 5;
	((u32 *)user_data())[1] = 9;
	u.rax = 10;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BR);
	CHECK_EQ(u.rip, USER_CODE);
	u.rax = 9;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	user_init32(&u, c_into, c_into_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_OF);
	CHECK_EQ(u.rip, USER_CODE + 5);
}

TEST(instructions_that_only_32_bit_code_has)
{
	struct user u;

	user_init32(&u, c_aaa, c_aaa_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ((u16)u.rbx, 0x107);
	CHECK_EQ((u8)u.rax, 0x42);
}

/* --- segments ------------------------------------------------------------- */

static void set_tls(u32 base)
{
	guest_gdt[SEL_TLS / 8] = 0x00cff3000000ffff | (u64)(base & 0xffffff) << 16 |
				 (u64)(base >> 24) << 56;
}

TEST(thread_local_storage_through_the_gdt)
{
	struct user u;
	int i;

	for (i = 0; i < 10; i++) {
		u32 *data;

		user_init32(&u, c_tls, c_tls_end);
		data = (u32 *)((u8 *)user_data() + i * 64);
		data[0] = 100 + i;
		data[1] = 200 + i;
		set_tls(USER_DATA + i * 64);
		user_run(&u);
		CHECK_EQ(u.vector, VEC_BP);
		CHECK_EQ(u.rax, 100 + i);
		CHECK_EQ(u.rbx, 200 + i);
		CHECK_EQ(data[2], 77);
		CHECK_EQ(read_gs(), SEL_TLS);
	}
}

TEST(segment_limits_are_checked_in_32_bit_code)
{
	struct user u;

	if (hardware_is_tcg())
		skip("TCG ignores limits");
	/* 4 KiB, byte granular */
	guest_gdt[SEL_TLS / 8] = 0x0040f30000000fff | (USER_DATA & 0xffffff) << 16 |
				 USER_DATA >> 24 << 56;
	user_init32(&u, c_seg_write, c_seg_write_end);
	u.rax = SEL_TLS;
	u.rbx = 0xffd;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.error, 0);
	u.rip = USER_CODE;
	u.rbx = 0xffc;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
}

TEST(a_far_jump_enters_64_bit_code)
{
	struct user u;

	user_init32(&u, c_far_jump, c_far_jump_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.cs, SEL_UCODE);
	CHECK_EQ(u.rax, ~0ul);
}

TEST(far_returns_change_the_width_both_ways)
{
	struct user u;

	if (hardware_is_tcg() && !engine_is_tcg())
		skip("TCG applies SMAP to them in user mode");
	user_init(&u, l_to_compat, l_to_compat_end);
	/* address of label 1 */
	u.rdi = USER_CODE + 12;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.cs, SEL_UCODE);
	CHECK_EQ(u.rcx, -2ul);
	CHECK_EQ(u.rax, 0);
	CHECK_EQ(u.rbx, USER_STACK - 64);
}

TEST(fs_and_gs_bases_come_from_their_msrs)
{
	struct user u;
	int i;

	for (i = 0; i < 10; i++) {
		user_init(&u, l_segs, l_segs_end);
		((u32 *)user_data())[i] = 1000 + i;
		((u32 *)user_data())[i + 100] = 2000 + i;
		wrmsr(MSR_FS_BASE, USER_DATA + 4 * i);
		wrmsr(MSR_GS_BASE, USER_DATA + 4 * i + 400);
		user_run(&u);
		CHECK_EQ(u.vector, VEC_BP);
		CHECK_EQ(u.rax, 1000 + i);
		CHECK_EQ(u.rbx, 2000 + i);
		CHECK_EQ(rdmsr(MSR_FS_BASE), USER_DATA + 4 * i);
		CHECK_EQ(rdmsr(MSR_GS_BASE), USER_DATA + 4 * i + 400);
	}
}

TEST(a_selector_load_replaces_the_base)
{
	set_tls(0x12345678);
	wrmsr(MSR_FS_BASE, 0xffff888000000000);
	write_fs(SEL_TLS);
	CHECK_EQ(rdmsr(MSR_FS_BASE), 0x12345678);
	CHECK_EQ(read_fs(), SEL_TLS);
	wrmsr(MSR_FS_BASE, 0xffff888000001000);
	CHECK_EQ(read_fs(), SEL_TLS);
	CHECK_EQ(rdmsr(MSR_FS_BASE), 0xffff888000001000);
}

TEST(swapgs_exchanges_the_bases)
{
	u64 i;

	for (i = 0; i < 100; i++) {
		wrmsr(MSR_GS_BASE, 0x1000 + i);
		wrmsr(MSR_KERNEL_GS_BASE, 0xffff888000000000 + i);
		asm volatile("swapgs");
		CHECK_EQ(rdmsr(MSR_GS_BASE), 0xffff888000000000 + i);
		CHECK_EQ(rdmsr(MSR_KERNEL_GS_BASE), 0x1000 + i);
		asm volatile("swapgs");
		CHECK_EQ(rdmsr(MSR_GS_BASE), 0x1000 + i);
	}
}

TEST(gs_relative_accesses_follow_swapgs)
{
	u64 *a = map_new(read_cr3() & PTE_ADDR, 0x40000000, PTE_P | PTE_W);
	u64 *b = map_new(read_cr3() & PTE_ADDR, 0x40001000, PTE_P | PTE_W);
	u64 x, y;

	a[5] = 11;
	b[5] = 22;
	wrmsr(MSR_GS_BASE, 0x40000000);
	wrmsr(MSR_KERNEL_GS_BASE, 0x40001000);
	asm volatile("movq %%gs:40, %0; swapgs; movq %%gs:40, %1; incq %%gs:48; swapgs; incq %%gs:48"
		     : "=&r"(x), "=r"(y) : : "memory");
	CHECK_EQ(x, 11);
	CHECK_EQ(y, 22);
	CHECK_EQ(a[6], 1);
	CHECK_EQ(b[6], 1);
}

TEST(fsgsbase_instructions)
{
	u64 v;

	if (!has_fsgsbase())
		skip("the CPU has none");
	CHECK_VECTOR(VEC_UD, asm volatile("rdfsbase %0" : "=r"(v)));
	write_cr4(read_cr4() | CR4_FSGSBASE);
	asm volatile("wrfsbase %0" : : "r"(0x123456789abul));
	asm volatile("wrgsbase %0" : : "r"(0xffff888000001000ul));
	asm volatile("rdfsbase %0" : "=r"(v));
	CHECK_EQ(v, 0x123456789ab);
	CHECK_EQ(rdmsr(MSR_GS_BASE), 0xffff888000001000);
	asm volatile("swapgs; rdgsbase %0; swapgs" : "=r"(v));
	CHECK_EQ(v, 0);
	asm volatile("rdgsbase %0" : "=r"(v));
	CHECK_EQ(v, 0xffff888000001000);
}

USER_ASM(user_fsgs, "wrfsbase %rbx; rdfsbase %rax; rdgsbase %rcx; movl %fs:0, %edx; int3");
USER_ASM(user_swapgs, "swapgs; int3");

TEST(fsgsbase_in_user_mode)
{
	struct user u;

	if (!has_fsgsbase())
		skip("the CPU has none");
	user_init(&u, user_fsgs, user_fsgs_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_UD);
	write_cr4(read_cr4() | CR4_FSGSBASE);
	wrmsr(MSR_GS_BASE, 0x7777);
	wrmsr(MSR_KERNEL_GS_BASE, 0x8888);
	u.rip = USER_CODE;
	u.rbx = USER_DATA + 8;
	((u32 *)user_data())[2] = 4321;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, USER_DATA + 8);
	CHECK_EQ(u.rcx, 0x7777);
	CHECK_EQ(u.rdx, 4321);
	CHECK_EQ(rdmsr(MSR_FS_BASE), USER_DATA + 8);
	CHECK_EQ(rdmsr(MSR_KERNEL_GS_BASE), 0x8888);
	user_init(&u, user_swapgs, user_swapgs_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
}

TEST(noncanonical_bases_are_general_protection)
{
	if (engine_is_tcg())
		skip("TCG takes any");
	CHECK_TRAP(VEC_GP, 0, wrmsr(MSR_FS_BASE, 0x900000000000));
	CHECK_TRAP(VEC_GP, 0, wrmsr(MSR_GS_BASE, 0x900000000000));
	CHECK_TRAP(VEC_GP, 0, wrmsr(MSR_KERNEL_GS_BASE, 0x900000000000));
	CHECK_TRAP(VEC_GP, 0, wrmsr(MSR_LSTAR, 0x900000000000));
	CHECK_TRAP(VEC_GP, 0, wrmsr(MSR_CSTAR, 0x900000000000));
	CHECK_EQ(rdmsr(MSR_LSTAR), (u64)syscall_entry);
}

TEST(user_segments_survive_a_trip_to_the_kernel)
{
	USER_ASM(keep_segs,
		 "movl $0x2b, %eax; movl %eax, %ds; movl %eax, %es; movl $0x3b, %eax; movl %eax, %fs;"
		 "syscall; movl %ds, %eax; movl %es, %ebx; movl %fs, %esi; movl %gs, %edi; int3");
	struct user u;

	user_init(&u, keep_segs, keep_segs_end);
	set_tls(0x1000);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_SYSCALL);
	CHECK_EQ(read_ds(), 0x2b);
	CHECK_EQ(read_fs(), 0x3b);
	cpuid(0, 0);
	u.how = USER_SYSRET;
	user_run(&u);
	CHECK_EQ((u16)u.rax, 0x2b);
	CHECK_EQ((u16)u.rbx, 0x2b);
	CHECK_EQ((u16)u.rsi, 0x3b);
	CHECK_EQ((u16)u.rdi, 0);
	CHECK_EQ(rdmsr(MSR_FS_BASE), 0x1000);
}

TEST(lar_lsl_verr_verw_look_into_the_table)
{
	u64 lar = 0, lsl = 0;
	u8 ok, bad;

	asm volatile("lar %2, %0; setz %1" : "=r"(lar), "=q"(ok) : "r"((u64)SEL_UDATA) : "cc");
	CHECK_EQ(ok, 1);
	CHECK_EQ((u32)lar & 0xf0ff00, 0xc0f300);
	asm volatile("lsl %2, %0; setz %1" : "=r"(lsl), "=q"(ok) : "r"((u64)SEL_UDATA) : "cc");
	CHECK_EQ(ok, 1);
	CHECK_EQ((u32)lsl, 0xffffffff);
	asm volatile("lsl %2, %0; setz %1" : "=r"(lsl), "=q"(bad) : "r"(0x1000ul) : "cc");
	CHECK_EQ(bad, 0);
	asm volatile("verr %w1; setz %0" : "=q"(ok) : "r"(SEL_KDATA) : "cc");
	CHECK_EQ(ok, 1);
	asm volatile("verw %w1; setz %0" : "=q"(bad) : "r"(SEL_KCODE) : "cc");
	CHECK_EQ(bad, 0);
}

TEST(table_registers_read_back)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) r;
	u64 v = 0;

	asm volatile("sgdt %0" : "=m"(r));
	CHECK_EQ(r.base, (u64)guest_gdt);
	CHECK_EQ(r.limit, (u8 *)guest_gdt_end - (u8 *)guest_gdt - 1);
	asm volatile("sidt %0" : "=m"(r));
	CHECK_EQ(r.base, (u64)guest_idt);
	CHECK_EQ(r.limit, 4095);
	asm volatile("strq %0" : "=r"(v));
	CHECK_EQ((u16)v, SEL_TSS);
	asm volatile("sldtq %0" : "=r"(v));
	CHECK_EQ((u16)v, 0);
	asm volatile("smswq %0" : "=r"(v));
	CHECK_EQ((u16)v, (u16)read_cr0());
	/* LTR has marked the TSS busy */
	CHECK_EQ(guest_gdt[SEL_TSS / 8] >> 40 & 0xf, 0xb);
	CHECK_TRAP(VEC_GP, SEL_TSS, asm volatile("ltr %w0" : : "r"(SEL_TSS)));
}
