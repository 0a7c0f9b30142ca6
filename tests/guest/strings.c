// SPDX-License-Identifier: GPL-2.0-only
/*
 * String and multi-access instructions that fault in the middle: what is done
 * stays done, the registers tell how far it came, and the rest restarts.
 */
#include "x86.h"

#define VA 0x40000000ul

static u64 root(void)
{
	return read_cr3() & PTE_ADDR;
}

static volatile u64 faults;

static bool map_it(struct trap *t)
{
	map_new(root(), read_cr2() & -PAGE_SIZE, PTE_P | PTE_W);
	faults++;
	return true;
}

static void map_pages(u64 va, u64 n, u64 flags)
{
	u64 i;

	for (i = 0; i < n; i++)
		map_new(root(), va + i * PAGE_SIZE, flags);
}

TEST(stos_stops_at_the_missing_page)
{
	struct trap t;

	map_pages(VA, 1, PTE_P | PTE_W);
	CATCH(&t, asm volatile("cld; rep stosb" : : "D"(VA + 4000), "c"(200), "a"(0x55) : "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.cr2, VA + 4096);
	CHECK_EQ(t.error, PF_W);
	CHECK_EQ(t.rdi, VA + 4096);
	CHECK_EQ(t.rcx, 104);
	CHECK_EQ(load8((void *)(VA + 4095)), 0x55);
	CHECK_EQ(load8((void *)(VA + 3999)), 0);
}

TEST(movs_restarts_across_missing_pages)
{
	u64 from = VA, to = VA + (64ul << 20), n = 5 * PAGE_SIZE;
	u64 i;

	map_pages(VA, 5, PTE_P | PTE_W);
	for (i = 0; i < n; i++)
		((u8 *)VA)[i] = i * 7 + (i >> 8);
	set_handler(VEC_PF, map_it);
	faults = 0;
	asm volatile("cld; rep movsb" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
	CHECK_EQ(faults, 5);
	CHECK_EQ(n, 0);
	CHECK_EQ(from, VA + 5 * PAGE_SIZE);
	CHECK(!memcmp((void *)VA, (void *)(VA + (64ul << 20)), 5 * PAGE_SIZE), "copy");
}

TEST(movs_source_faults_before_destination_is_written)
{
	struct trap t;

	map_pages(VA, 1, PTE_P | PTE_W);
	CATCH(&t, asm volatile("cld; movsq" : : "S"(VA + 2 * PAGE_SIZE), "D"(VA) : "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.error, 0);
	CHECK_EQ(t.cr2, VA + 2 * PAGE_SIZE);
	CHECK_EQ(t.rsi, VA + 2 * PAGE_SIZE);
	CHECK_EQ(t.rdi, VA);
}

TEST(string_instructions_run_backwards)
{
	u64 from = VA + 2 * PAGE_SIZE - 8, to = VA + 6 * PAGE_SIZE - 8, n = 1024;
	u64 i;

	map_pages(VA, 2, PTE_P | PTE_W);
	for (i = 0; i < 1024; i++)
		((u64 *)VA)[i] = i;
	set_handler(VEC_PF, map_it);
	faults = 0;
	asm volatile("std; rep movsq; cld" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
	CHECK_EQ(faults, 2);
	CHECK_EQ(from, VA - 8);
	for (i = 0; i < 1024; i++)
		CHECK_EQ(((u64 *)(VA + 4 * PAGE_SIZE))[i], i);
}

TEST(scas_and_cmps_stop_where_they_should)
{
	u64 at = VA, n = 10000, other = VA + 2 * PAGE_SIZE;

	map_pages(VA, 4, PTE_P | PTE_W);
	((u8 *)VA)[5000] = 0x42;
	asm volatile("cld; repne scasb" : "+D"(at), "+c"(n) : "a"(0x42) : "cc", "memory");
	CHECK_EQ(at, VA + 5001);
	CHECK_EQ(n, 10000 - 5001);
	at = VA;
	n = 8192;
	asm volatile("repe cmpsb" : "+S"(at), "+D"(other), "+c"(n) : : "cc", "memory");
	CHECK_EQ(at, VA + 5001);
	CHECK_EQ(other, VA + 2 * PAGE_SIZE + 5001);
}

TEST(scas_faults_in_the_middle)
{
	struct trap t;

	map_pages(VA, 1, PTE_P | PTE_W);
	CATCH(&t, asm volatile("cld; repne scasb" : : "D"(VA), "c"(9000), "a"(1) : "cc", "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.rdi, VA + PAGE_SIZE);
	CHECK_EQ(t.rcx, 9000 - 4096);
}

TEST(a_count_of_zero_touches_nothing)
{
	struct trap t;

	CATCH(&t, asm volatile("rep movsb; rep stosq; repe cmpsb; rep lodsb"
			       : : "S"(VA), "D"(VA), "c"(0) : "rax", "memory", "cc"));
	CHECK_EQ(t.vector, VEC_NONE);
}

TEST(address_size_prefix_cuts_to_32_bits)
{
	u64 si = 0xdead00000000 | VA, di = VA + 100, n = 4;

	map_pages(VA, 1, PTE_P | PTE_W);
	memcpy((void *)VA, "abcd", 4);
	di |= 0x7777ul << 32;
	n |= 0x1234ul << 32;
	asm volatile("cld; addr32 rep movsb" : "+S"(si), "+D"(di), "+c"(n) : : "memory");
	CHECK(!memcmp((void *)(VA + 100), "abcd", 4), "copy");
	CHECK_EQ((u32)n, 0);
	CHECK_EQ((u32)di, VA + 104);
}

TEST(push_and_call_fault_before_rsp_changes)
{
	struct trap t;

	set_gate(VEC_PF, trap_stubs + 16 * VEC_PF, SEL_KCODE, 14, 0, 1);
	CATCH(&t, asm volatile("movq %0, %%rsp; pushq $1" : : "r"(VA + 8) : "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.rsp, VA + 8);
	CATCH(&t, asm volatile("movq %0, %%rsp; call 1f; 1:" : : "r"(VA + 8) : "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.rsp, VA + 8);
	CATCH(&t, asm volatile("movq %0, %%rsp; popq %%rcx" : : "r"(VA + 8) : "rcx", "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.rsp, VA + 8);
	CATCH(&t, asm volatile("movq %0, %%rsp; ret" : : "r"(VA + 8) : "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.rsp, VA + 8);
	CATCH(&t, asm volatile("movq %0, %%rsp; pushfq" : : "r"(VA + 8) : "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.rsp, VA + 8);
	CATCH(&t, asm volatile("movq %0, %%rsp; popfq" : : "r"(VA + 8) : "memory", "cc"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.rsp, VA + 8);
	CATCH(&t, asm volatile("movq %0, %%rsp; leave" : : "r"(VA + 8) : "memory"));
	CATCH(&t, asm volatile("movq %0, %%rsp; iretq" : : "r"(VA + 8) : "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.rsp, VA + 8);
	CATCH(&t, asm volatile("movq %0, %%rsp; lretq" : : "r"(VA + 8) : "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.rsp, VA + 8);
}

TEST(a_read_modify_write_that_faults_changes_nothing)
{
	struct trap t;
	u64 before = 0x8d7, after;

	map_pages(VA, 1, PTE_P);
	/* flags and register must be as before the instruction */
	CATCH(&t, asm volatile("pushq %1; popfq; lock xaddq %%rcx, (%0)"
			       : : "r"(VA), "r"(before), "c"(0x1234) : "memory", "cc"));
	after = t.rflags & 0x8d7;
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.error, PF_P | PF_W);
	CHECK_EQ(t.rcx, 0x1234);
	if (!hardware_is_tcg())
		CHECK_EQ(after, before & ~RF_IF);
	CATCH(&t, asm volatile("xchgq %%rcx, (%0)" : : "r"(VA), "c"(0x1234) : "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.rcx, 0x1234);
	CHECK_EQ(load64((void *)VA), 0);
}

TEST(cmpxchg_faults_even_when_it_does_not_store)
{
	struct trap t;

	map_pages(VA, 1, PTE_P);
	CATCH(&t, asm volatile("lock cmpxchgq %%rcx, (%0)"
			       : : "r"(VA), "a"(5), "c"(7) : "memory", "cc"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.error, PF_P | PF_W);
	CHECK_EQ(t.rax, 5);
}

TEST(enter_and_leave_work)
{
	u64 rsp0, rsp1, rbp1;

	asm volatile("movq %%rbp, %%rbx; movq %%rsp, %0; enter $32, $0; movq %%rsp, %1;"
		     "movq %%rbp, %2; leave; cmpq %%rbp, %%rbx; je 1f; ud2; 1:"
		     : "=&r"(rsp0), "=&r"(rsp1), "=&r"(rbp1) : : "rbx", "memory", "cc");
	CHECK_EQ(rsp0 - rsp1, 40);
	CHECK_EQ(rsp0 - rbp1, 8);
}

TEST(a_fault_in_every_page_of_a_long_loop)
{
	u64 sum = 0, i, got;

	set_handler(VEC_PF, map_it);
	faults = 0;
	/* flags and registers are live across every fault */
	asm volatile("xorl %%eax, %%eax; movq %1, %%rdi; movl $200, %%ecx; clc\n"
		     "1: adcq %%rcx, (%%rdi); adcq %%rcx, %%rax; leaq 4096(%%rdi), %%rdi;"
		     "decq %%rcx; jnz 1b"
		     : "=&a"(got) : "r"(VA) : "rcx", "rdi", "memory", "cc");
	for (i = 200; i; i--)
		sum += i;
	CHECK_EQ(got, sum);
	CHECK_EQ(faults, 200);
	for (i = 0; i < 200; i++)
		CHECK_EQ(load64((void *)(VA + i * PAGE_SIZE)), 200 - i);
}
