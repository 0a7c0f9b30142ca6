// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control transfers: ladders of indirect branches, returns that match no call,
 * jumps into the middle of instructions, code anywhere in the address space.
 */
#include "x86.h"

static u64 root(void)
{
	return read_cr3() & PTE_ADDR;
}

/* --- calls and returns ---------------------------------------------------- */

static u64 fib(u64 n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

TEST(deep_and_wide_recursion)
{
	static u64 (*volatile f)(u64) = fib;

	CHECK_EQ(f(20), 6765);
}

TEST(the_stack_holds_the_guests_own_return_address)
{
	u64 seen, here;

	asm volatile("call 1f\n 1: popq %0; leaq 1b(%%rip), %1" : "=r"(seen), "=r"(here) : : "memory");
	CHECK_EQ(seen, here);
	asm volatile("leaq 2f(%%rip), %%rax; call *%%rax\n 1: jmp 3f\n 2: movq (%%rsp), %0; ret\n"
		     "3: leaq 1b(%%rip), %1" : "=&r"(seen), "=r"(here) : : "rax", "memory");
	CHECK_EQ(seen, here);
}

TEST(a_return_address_changed_by_hand_is_followed)
{
	u64 i, got;

	for (i = 0; i < 200; i++) {
		asm volatile("call 1f\n movl $1, %%eax; jmp 3f\n"
			     "1: testb $1, %1; jz 2f; leaq 4f(%%rip), %%rcx; movq %%rcx, (%%rsp)\n"
			     "2: ret\n 4: movl $2, %%eax\n 3:"
			     : "=a"(got) : "q"((u8)i) : "rcx", "memory", "cc");
		CHECK_EQ(got, i & 1 ? 2 : 1);
	}
}

/* push; ret as a jump, over many targets: no call ever matches. */
TEST(returns_without_calls)
{
	u64 i, got = 0;

	for (i = 0; i < 2000; i++) {
		asm volatile("leaq 1f(%%rip), %%rcx; leaq (%%rcx, %1, 4), %%rcx; pushq %%rcx; ret\n"
			     "1: incq %0; jmp 2f; incq %0; jmp 2f\n .fill 64, 1, 0x90\n 2:"
			     : "+r"(got) : "r"((i & 1) * 0) : "rcx", "memory", "cc");
	}
	CHECK_EQ(got, 2000);
}

TEST(ret_n_takes_its_arguments)
{
	u64 before, after;

	asm volatile("movq %%rsp, %0; pushq $1; pushq $2; call 1f; jmp 2f\n 1: ret $16\n 2: movq %%rsp, %1"
		     : "=&r"(before), "=r"(after) : : "memory");
	CHECK_EQ(after, before);
}

/* A longjmp out of a hundred calls, again and again. */
static struct context far_back;

static __attribute__((noinline)) void dive(u64 n)
{
	if (!n)
		context_restore(&far_back);
	dive(n - 1);
	barrier();
}

TEST(returns_that_never_happen)
{
	volatile u64 i;

	for (i = 0; i < 100; i++) {
		if (!context_save(&far_back))
			dive(100);
	}
	CHECK_EQ(i, 100);
}

/* Two stacks, switched in the middle of nested calls, as a scheduler does. */
static u64 other_rsp, here_rsp;
void switch_stack(u64 *save, u64 *load);
asm(".text\n"
    "switch_stack:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	movq %rsp, (%rdi)\n"
    "	movq (%rsi), %rsp\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n");

static volatile u64 turns;

static __attribute__((noinline)) void yield_from(u64 depth)
{
	if (depth)
		yield_from(depth - 1);
	else
		switch_stack(&other_rsp, &here_rsp);
	barrier();
}

static void other_thread(void)
{
	for (;;) {
		turns++;
		yield_from(turns % 9);
	}
}

static __attribute__((noinline)) void yield_to(u64 depth)
{
	if (depth)
		yield_to(depth - 1);
	else
		switch_stack(&here_rsp, &other_rsp);
	barrier();
}

TEST(two_stacks_take_turns)
{
	static u64 stack[1024];
	u64 *top = stack + 1000;
	u64 i;

	turns = 0;
	*--top = (u64)other_thread;
	top -= 6;
	other_rsp = (u64)top;
	for (i = 1; i <= 1000; i++) {
		yield_to(i % 7);
		CHECK_EQ(turns, i);
	}
}

/* --- indirect branches ---------------------------------------------------- */

/* A thousand little functions: mov $n, %eax; ret */
TEST(indirect_calls_to_a_thousand_targets)
{
	u64 i, round, va = 0x40000000;

	for (i = 0; i < 4; i++)
		map_new(root(), va + i * PAGE_SIZE, PTE_P | PTE_W);
	for (i = 0; i < 1024; i++)
		*(u64 *)(va + i * 16) = 0xb8ul | i << 8 | 0xc3ul << 40;
	for (round = 0; round < 5; round++) {
		for (i = 0; i < 1024; i++) {
			u64 n = (i * 389 + round) & 1023;

			CHECK_EQ(call_at(va + n * 16), n);
		}
	}
}

TEST(indirect_jumps_through_memory_and_registers)
{
	static u64 target;
	u64 got;

	asm volatile("leaq 1f(%%rip), %%rax; movq %%rax, %1; jmp *%1\n ud2\n"
		     "1: leaq 2f(%%rip), %%rdx; leaq %1, %%rcx; movq %%rdx, (%%rcx); xorl %%ebx, %%ebx;"
		     "jmp *(%%rcx, %%rbx, 8)\n ud2\n"
		     "2: leaq 3f(%%rip), %%r11; jmp *%%r11\n ud2\n 3: movl $1, %k0"
		     : "=r"(got), "+m"(target) : : "rax", "rbx", "rcx", "rdx", "r11", "memory");
	CHECK_EQ((u32)got, 1);
}

/* jmp *(%rsp)-style and targets that use RSP and the flags. */
TEST(indirect_branches_keep_flags_and_registers)
{
	u64 flags, rcx, i;

	for (i = 0; i < 300; i++) {
		asm volatile("leaq 1f(%%rip), %%rax; pushq %%rax; movq $0x5555, %%rcx; pushq $0x8d7; popfq;"
			     "jmp *(%%rsp)\n ud2\n"
			     "1: pushfq; popq %0; movq %%rcx, %1; addq $8, %%rsp; call 2f; jmp 3f\n"
			     "2: pushq $0x8d5; popfq; ret\n"
			     "3: jnc 4f; jnz 4f; jns 4f; jp 5f\n 4: ud2\n 5:"
			     : "=&r"(flags), "=&r"(rcx) : : "rax", "rcx", "memory", "cc");
		CHECK_EQ(flags, 0x8d7);
		CHECK_EQ(rcx, 0x5555);
	}
}

TEST(every_condition_both_ways)
{
	u64 flags;

	for (flags = 0; flags < 0x1000; flags++) {
		u64 f = 2 | (flags & 0x8d5), bits, want = 0;
		bool c = f & 1, p = f & 4, z = f & 0x40, s = f & 0x80, o = f & 0x800;

		if (f != (2 | flags))
			continue;
#define COND(n, cc) "xorl %%ecx, %%ecx; pushq %1; popfq; j" cc " 1f; jmp 2f; 1: movl $1, %%ecx; 2: shll $" #n ", %%ecx; orl %%ecx, %%eax\n"
		asm volatile("xorl %%eax, %%eax\n" COND(0, "o") COND(1, "c") COND(2, "z")
			     COND(3, "be") COND(4, "s") COND(5, "p") COND(6, "l") COND(7, "le")
			     COND(8, "no") COND(9, "nc") COND(10, "nz") COND(11, "a")
			     COND(12, "ns") COND(13, "np") COND(14, "ge") COND(15, "g")
			     : "=&a"(bits) : "r"(f) : "rcx", "memory", "cc");
		want = o | c << 1 | z << 2 | (c || z) << 3 | s << 4 | p << 5 |
		       (s != o) << 6 | (z || s != o) << 7;
		want |= (~want & 0xff) << 8;
		CHECK_EQ(bits, want);
	}
}

TEST(loops_and_jrcxz)
{
	u64 n = 0;

	asm volatile("movl $7, %%ecx; 1: incq %0; loop 1b" : "+r"(n) : : "rcx", "cc");
	CHECK_EQ(n, 7);
	asm volatile("movl $9, %%ecx; 1: incq %0; cmpq $10, %0; loopne 1b" : "+r"(n) : : "rcx", "cc");
	CHECK_EQ(n, 10);
	asm volatile("movabsq $0x100000000, %%rcx; jrcxz 1f; incq %0; jecxz 2f; 1: incq %0; 2: incq %0"
		     : "+r"(n) : : "rcx", "cc");
	CHECK_EQ(n, 12);
}

/* --- odd addresses -------------------------------------------------------- */

TEST(a_jump_into_the_middle_of_an_instruction)
{
	u64 i, got;

	for (i = 0; i < 20; i++) {
		/* 48 b8 <b8 11 00 00 00 eb 01 90>; inside: mov $0x11, %eax; jmp +1 */
		asm volatile("leaq 1f(%%rip), %%rcx; addq %1, %%rcx; jmp *%%rcx\n"
			     "1: .byte 0x48, 0xb8, 0xb8, 0x11, 0, 0, 0, 0xeb, 0x01, 0x90\n"
			     ".byte 0x90\n"
			     "2:" : "=&a"(got) : "r"(i & 1 ? 2ul : 0ul) : "rcx", "memory");
		CHECK_EQ(got, i & 1 ? 0x11 : 0x9001eb00000011b8);
	}
}

/* Position-independent code that uses RIP-relative data, calls and returns. */
CODE(pic);
asm(".pushsection .rodata\n"
    "pic:\n"
    "	pushq %rbx\n"
    "	movl 8f(%rip), %ebx\n"
    "	call 1f\n"
    "	leaq 2f(%rip), %rax\n"
    "	call *%rax\n"
    "	cmpl $0x1000, %ebx\n"
    "	jb 3f\n"
    "	ud2\n"
    "3:	movl %ebx, %eax\n"
    "	leaq 9f(%rip), %rcx\n"
    "	subq -8+9f(%rip), %rcx\n"
    "	addl $1, %eax\n"
    "	popq %rbx\n"
    "	ret\n"
    "1:	addl 4+8f(%rip), %ebx\n"
    "	ret\n"
    "2:	pushfq\n"
    "	cli\n"
    "	shll %ebx\n"
    "	popfq\n"
    "	lock incl 4+8f(%rip)\n"
    "	cmpl $0, 8f(%rip)\n"
    "	ret\n"
    "	.balign 8\n"
    "8:	.long 0x100, 0x10\n"
    "	.quad 0\n"
    "9:\n"
    "pic_end:\n"
    ".popsection");

static void run_far(u64 va)
{
	u64 i;

	map_new(root(), va, PTE_P | PTE_W);
	memcpy((void *)va, pic, pic_end - pic);
	for (i = 0; i < 50; i++)
		CHECK_EQ(call_at(va), (0x100 + 0x10 + i) * 2 + 1);
}

TEST(code_at_low_addresses) { run_far(0x1000); run_far(0x7fff0000); run_far(0x80000000); }
TEST(code_in_the_lower_half) { run_far(0x0000500000000000); run_far(0x00007ffffffff000); }
TEST(code_in_the_direct_map) { run_far(0xffff888800000000); }
TEST(code_in_vmalloc_space) { run_far(0xffffc90000000000); }
TEST(code_at_the_start_of_the_upper_half) { run_far(0xffff900000000000); }
TEST(code_in_the_module_area) { run_far(0xffffffffc0000000); run_far(0xffffffffe0000000); }

/* RIP-relative operands reach a variable 2 GiB away, from both sides. */
TEST(rip_relative_operands_at_full_distance)
{
	u64 va = 0xffffc90080000000;
	s64 dist[] = { 0x7ffff000, -0x7ffff000, 0x1000, -0x1000 };
	unsigned int i;

	map_new(root(), va, PTE_P | PTE_W);
	for (i = 0; i < ARRAY_SIZE(dist); i++) {
		u64 data = va + dist[i];
		u8 *code = (u8 *)(va + 64 * i);

		map_new(root(), data, PTE_P | PTE_W);
		store64((void *)data, 0x1111 * (i + 1));
		/* mov rel(%rip), %rax; incq rel(%rip); ret */
		code[0] = 0x48;
		code[1] = 0x8b;
		code[2] = 0x05;
		*(u32 *)(code + 3) = (u32)(data - (u64)(code + 7));
		code[7] = 0x48;
		code[8] = 0xff;
		code[9] = 0x05;
		*(u32 *)(code + 10) = (u32)(data - (u64)(code + 14));
		code[14] = 0xc3;
		CHECK_EQ(call_at((u64)code), 0x1111 * (i + 1));
		CHECK_EQ(load64((void *)data), 0x1111 * (i + 1) + 1);
	}
}

/* Between all of them: calls across the whole address space. */
TEST(calls_between_far_places)
{
	static const u64 at[] = { 0x2000, 0x500000001000, 0xffff888800001000,
				  0xffffc90000001000, 0xffffffffc0001000 };
	unsigned int i, round;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		u8 *p = map_new(root(), at[i], PTE_P | PTE_W);

		/* add $1, %rdi; movabs $next, %rax; call or jmp *%rax */
		memcpy(p, "\x48\x83\xc7\x01\x48\xb8", 6);
		*(u64 *)(p + 6) = at[i + 1 < ARRAY_SIZE(at) ? i + 1 : 0];
		if (i + 1 < ARRAY_SIZE(at))
			memcpy(p + 14, "\x50\xff\xd0\x59\xc3", 5); /* push; call; pop rcx; ret */
		else
			memcpy(p + 14, "\x48\x89\xf8\xc3", 4); /* mov %rdi, %rax; ret */
	}
	for (round = 0; round < 100; round++)
		CHECK_EQ(((u64(*)(u64))at[0])(round), round + ARRAY_SIZE(at));
}

/* Code that runs off the end of a page of nops into the next, mapped elsewhere. */
TEST(straight_code_across_pages)
{
	u64 va = 0x40000000, i;

	for (i = 0; i < 8; i++)
		memset(map_new(root(), va + i * PAGE_SIZE, PTE_P), 0x90, PAGE_SIZE);
	*(u8 *)phys(*pte_at(root(), va + 7 * PAGE_SIZE, 1) & PTE_ADDR) = 0xc3;
	for (i = 0; i < 5; i++)
		CHECK_VECTOR(VEC_NONE, call_at(va + i * 3));
}

/* Prefixes up to the longest instruction, and one more. */
TEST(the_longest_instruction_has_fifteen_bytes)
{
	u8 *p = map_new(root(), 0x40000000, PTE_P | PTE_W);

	memset(p, 0x66, 14);
	p[14] = 0x90;
	p[15] = 0xc3;
	CHECK_VECTOR(VEC_NONE, call_at(0x40000000));
	memset(p, 0x66, 15);
	p[15] = 0x90;
	p[16] = 0xc3;
	cpuid(0, 0);
	CHECK_VECTOR(VEC_GP, call_at(0x40000000));
}

TEST(jumps_to_noncanonical_addresses_are_general_protection)
{
	struct trap t;

	CATCH(&t, call_at(0x0000800000000000));
	CHECK(t.vector == VEC_GP || (hardware_is_tcg() && t.vector == VEC_PF), "%lx", t.vector);
}
