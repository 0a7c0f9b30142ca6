// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults inside fault handlers, during delivery, and double faults.
 */
#include "x86.h"

#define VA 0x40000000ul

static volatile u64 depth, deepest;

/* Each level touches the next page, which is not mapped yet, then maps its own. */
static bool nest(struct trap *t)
{
	u64 va = read_cr2();

	depth++;
	if (depth < 8)
		*(volatile u64 *)(va + PAGE_SIZE) = depth;
	deepest = depth > deepest ? depth : deepest;
	depth--;
	map_new(read_cr3() & PTE_ADDR, va & -PAGE_SIZE, PTE_P | PTE_W);
	return true;
}

TEST(page_faults_nest_in_their_handler)
{
	unsigned int i;

	depth = deepest = 0;
	set_handler(VEC_PF, nest);
	*(volatile u64 *)VA = 99;
	CHECK_EQ(deepest, 8);
	CHECK_EQ(depth, 0);
	CHECK_EQ(load64((void *)VA), 99);
	for (i = 1; i < 8; i++)
		CHECK_EQ(load64((void *)(VA + i * PAGE_SIZE)), i);
}

static bool raise_all(struct trap *t)
{
	struct trap inner;

	t->rip += 2;
	set_handler(VEC_PF, NULL);
	CATCH(&inner, asm volatile("ud2"));
	if (inner.vector != VEC_UD)
		t->rax = 1;
	CATCH(&inner, asm volatile("int3"));
	if (inner.vector != VEC_BP)
		t->rax = 2;
	CATCH(&inner, store64((void *)VA, 1));
	if (inner.vector != VEC_PF || inner.cr2 != VA)
		t->rax = 3;
	CATCH(&inner, write_es(0x1000));
	if (inner.vector != VEC_GP)
		t->rax = 4;
	return true;
}

TEST(other_faults_nest_in_a_page_fault_handler)
{
	u64 result;

	set_handler(VEC_PF, raise_all);
	asm volatile("xorl %%eax, %%eax; movb %%cl, (%1)" : "=a"(result)
		     : "r"(VA) : "memory");
	CHECK_EQ(result, 0);
}

TEST(a_missing_stack_is_a_double_fault)
{
	struct trap t;

	CATCH(&t, asm volatile("movq %0, %%rsp; ud2" : : "r"(VA) : "memory"));
	CHECK_EQ(t.vector, VEC_DF);
	CHECK_EQ(t.error, 0);
	CHECK_EQ(t.rsp, VA);
	CHECK_EQ(t.cs, SEL_KCODE);
}

TEST(a_fault_in_the_delivery_of_a_page_fault_is_a_double_fault)
{
	struct trap t;

	guest_idt[VEC_PF].attr &= 0x7f;
	CATCH(&t, load64((void *)VA));
	CHECK_EQ(t.vector, VEC_DF);
	CHECK_EQ(t.error, 0);
	CHECK_EQ(t.cr2, VA);
}

TEST(a_fault_in_the_delivery_of_a_contributory_fault_is_a_double_fault)
{
	struct trap t;

	guest_idt[VEC_GP].attr &= 0x7f;
	CATCH(&t, write_es(0x1000));
	CHECK_EQ(t.vector, VEC_DF);
	CHECK_EQ(t.error, 0);
}

TEST(a_fault_in_the_delivery_of_a_benign_exception_is_served)
{
	struct trap t;

	if (engine_is_tcg())
		skip("TCG's error code is the vector times 16");
	guest_idt[VEC_UD].attr &= 0x7f;
	CATCH(&t, asm volatile("ud2"));
	CHECK_EQ(t.vector, VEC_NP);
	/* IDT and EXT */
	CHECK_EQ(t.error, VEC_UD * 8 + 3);
}

TEST(a_page_fault_on_the_stack_in_the_delivery_of_ud_is_served_on_ist)
{
	struct trap t;

	set_gate(VEC_PF, trap_stubs + 16 * VEC_PF, SEL_KCODE, 14, 0, 3);
	guest_tss.ist[2] = (u64)df_stack_top;
	CATCH(&t, asm volatile("movq %0, %%rsp; ud2" : : "r"(VA + 64) : "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.error, PF_W);
	CHECK_EQ(t.rsp, VA + 64);
}

USER_ASM(user_ud, "ud2");

TEST(a_missing_kernel_stack_is_a_double_fault_from_user_mode)
{
	struct user u;

	user_init(&u, user_ud, user_ud_end);
	guest_tss.rsp[0] = VA;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_DF);
	CHECK_EQ(u.cs, SEL_UCODE);
	CHECK_EQ(u.rip, USER_CODE);
}

TEST(an_idt_that_is_not_mapped_faults_with_its_own_address)
{
	struct trap t;
	u64 root = read_cr3() & PTE_ADDR;
	struct gate *idt = phys(page_alloc());

	/* the second half of the table, vectors 128.., is on a missing page */
	memcpy(idt, guest_idt, 128 * sizeof(*idt));
	map(root, VA, virt_to_phys(idt), PTE_P | PTE_W);
	load_idt((void *)(VA + 2048), 4095);
	memcpy((u8 *)idt + 2048, guest_idt, 2048);
	CATCH(&t, asm volatile("int $0x90"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.error & ~1, 0);
	CHECK_EQ(t.cr2, VA + 2048 + 0x90 * 16);
}

static volatile u64 faults;

static bool map_it(struct trap *t)
{
	map_new(read_cr3() & PTE_ADDR, read_cr2() & -PAGE_SIZE, PTE_P | PTE_W);
	faults++;
	return true;
}

/* The handler runs on IST, the faulting stack is what gets mapped. */
TEST(pushing_on_a_missing_stack_page_restarts)
{
	u64 got;

	set_handler(VEC_PF, map_it);
	set_gate(VEC_PF, trap_stubs + 16 * VEC_PF, SEL_KCODE, 14, 0, 3);
	guest_tss.ist[2] = (u64)df_stack_top;
	faults = 0;
	asm volatile("movq %%rsp, %%rbx; movq %1, %%rsp; pushq $0x77; callq 1f; 1: popq %%rax; popq %0; movq %%rbx, %%rsp"
		     : "=&r"(got) : "r"(VA + PAGE_SIZE) : "rax", "rbx", "memory");
	CHECK_EQ(got, 0x77);
	CHECK_EQ(faults, 1);
}
