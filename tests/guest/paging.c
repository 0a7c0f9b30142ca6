// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a change of the page tables does: only what the manuals promise, with
 * and without INVLPG.
 */
#include "x86.h"

#define VA 0x40000000ul
#define VA2 0x40400000ul
#define FAR_VA 0x0000700000000000ul

static u64 root(void)
{
	return read_cr3() & PTE_ADDR;
}

/* A page at va whose first word is value. */
static u64 page_with(u64 va, u64 value, u64 flags)
{
	u64 *p = map_new(root(), va, flags);

	*p = value;
	return virt_to_phys(p);
}

TEST(a_new_mapping_needs_no_invalidation)
{
	CHECK_TRAP(VEC_PF, 0, load64((void *)VA));
	page_with(VA, 11, PTE_P | PTE_W);
	CHECK_EQ(load64((void *)VA), 11);
}

TEST(more_rights_need_no_invalidation)
{
	struct trap t;

	page_with(VA, 11, PTE_P);
	CHECK_EQ(load64((void *)VA), 11);
	CHECK_TRAP(VEC_PF, PF_P | PF_W, store64((void *)VA, 12));
	*pte_at(root(), VA, 1) |= PTE_W;
	/* one spurious fault is allowed: it has dropped the stale entry */
	CATCH(&t, store64((void *)VA, 13));
	if (t.vector != VEC_NONE)
		store64((void *)VA, 13);
	CHECK_EQ(load64((void *)VA), 13);
}

TEST(invlpg_makes_a_removed_mapping_fault)
{
	page_with(VA, 11, PTE_P | PTE_W);
	CHECK_EQ(load64((void *)VA), 11);
	*pte_at(root(), VA, 1) = 0;
	invlpg((void *)(VA + 123));
	CHECK_TRAP(VEC_PF, 0, load64((void *)VA));
	CHECK_TRAP(VEC_PF, PF_W, store64((void *)VA, 1));
}

TEST(invlpg_makes_a_changed_mapping_visible)
{
	u64 a = page_with(VA, 11, PTE_P | PTE_W);
	u64 b = page_with(VA2, 22, PTE_P | PTE_W);
	int i;

	for (i = 0; i < 10; i++) {
		map(root(), VA, i & 1 ? a : b, PTE_P | PTE_W);
		invlpg((void *)VA);
		CHECK_EQ(load64((void *)VA), i & 1 ? 11 : 22);
	}
}

TEST(without_invlpg_the_old_or_the_new_page_is_seen)
{
	u64 a = page_with(VA, 11, PTE_P | PTE_W);
	u64 b = page_with(VA2, 22, PTE_P | PTE_W);
	u64 v;

	CHECK_EQ(load64((void *)VA), 11);
	map(root(), VA, b, PTE_P | PTE_W);
	v = load64((void *)VA);
	CHECK(v == 11 || v == 22, "%lx", v);
	(void)a;
}

TEST(cr3_write_makes_changes_visible)
{
	u64 b = page_with(VA2, 22, PTE_P | PTE_W);

	page_with(VA, 11, PTE_P | PTE_W);
	CHECK_EQ(load64((void *)VA), 11);
	map(root(), VA, b, PTE_P | PTE_W);
	write_cr3(read_cr3());
	CHECK_EQ(load64((void *)VA), 22);
	*pte_at(root(), VA, 1) = 0;
	write_cr3(read_cr3());
	CHECK_TRAP(VEC_PF, 0, load64((void *)VA));
}

TEST(cr4_pge_toggle_makes_changes_of_global_pages_visible)
{
	u64 b = page_with(VA2, 22, PTE_P | PTE_W);

	page_with(VA, 11, PTE_P | PTE_W | PTE_G);
	write_cr4(read_cr4() | CR4_PGE);
	CHECK_EQ(load64((void *)VA), 11);
	map(root(), VA, b, PTE_P | PTE_W | PTE_G);
	write_cr4(read_cr4() & ~CR4_PGE);
	write_cr4(read_cr4() | CR4_PGE);
	CHECK_EQ(load64((void *)VA), 22);
	map(root(), VA, 0, 0);
	invlpg((void *)VA);
	CHECK_TRAP(VEC_PF, 0, load64((void *)VA));
}

TEST(every_level_can_take_the_rights_away)
{
	int level;

	for (level = 1; level <= 4; level++) {
		u64 *e;

		page_with(FAR_VA, 11, PTE_P | PTE_W);
		e = pte_at(root(), FAR_VA, level);
		*e &= ~PTE_W;
		invlpg((void *)FAR_VA);
		CHECK_EQ(load64((void *)FAR_VA), 11);
		CHECK_TRAP(VEC_PF, PF_P | PF_W, store64((void *)FAR_VA, 1));
		*e |= PTE_W | PTE_NX;
		invlpg((void *)FAR_VA);
		store64((void *)FAR_VA, 0xc3);
		CHECK_TRAP(VEC_PF, PF_P | PF_I, call_at(FAR_VA));
		*e &= ~(PTE_P | PTE_NX);
		invlpg((void *)FAR_VA);
		CHECK_TRAP(VEC_PF, 0, load64((void *)FAR_VA));
		*e |= PTE_P;
		invlpg((void *)FAR_VA);
		call_at(FAR_VA);
	}
}

USER_ASM(user_read, "movq (%rbx), %rax; int3");
USER_ASM(user_write, "movq %rcx, (%rbx); int3");
USER_ASM(user_jump, "jmp *%rbx");

TEST(every_level_can_keep_user_mode_out)
{
	int level;

	for (level = 1; level <= 4; level++) {
		struct user u;
		u64 *e;

		user_init(&u, user_read, user_read_end);
		page_with(FAR_VA, 11, PTE_P | PTE_W | PTE_U);
		u.rbx = FAR_VA;
		user_run(&u);
		CHECK_EQ(u.vector, VEC_BP);
		CHECK_EQ(u.rax, 11);
		e = pte_at(root(), FAR_VA, level);
		*e &= ~PTE_U;
		invlpg((void *)FAR_VA);
		u.rip = USER_CODE;
		user_run(&u);
		CHECK_EQ(u.vector, VEC_PF);
		CHECK_EQ(u.error, PF_U | PF_P);
		CHECK_EQ(u.cr2, FAR_VA);
		CHECK_EQ(load64((void *)FAR_VA), 11);
		*e |= PTE_U;
	}
}

TEST(accessed_and_dirty_bits_are_set_when_due)
{
	int level;
	u64 *e;

	page_with(FAR_VA, 11, PTE_P | PTE_W);
	for (level = 1; level <= 4; level++)
		CHECK_EQ(*pte_at(root(), FAR_VA, level) & (PTE_A | PTE_D), 0);
	load64((void *)FAR_VA);
	for (level = 1; level <= 4; level++)
		CHECK_EQ(*pte_at(root(), FAR_VA, level) & PTE_A, PTE_A);
	e = pte_at(root(), FAR_VA, 1);
	CHECK_EQ(*e & PTE_D, 0);
	store64((void *)FAR_VA, 12);
	CHECK_EQ(*e & PTE_D, PTE_D);
	for (level = 2; level <= 4; level++)
		CHECK(!(*pte_at(root(), FAR_VA, level) & PTE_D), "D at level %d", level);
}

TEST(accessed_and_dirty_bits_come_back_after_they_were_cleared)
{
	u64 *e;
	int i;

	page_with(VA, 11, PTE_P | PTE_W);
	e = pte_at(root(), VA, 1);
	for (i = 0; i < 20; i++) {
		store64((void *)VA, i);
		CHECK_EQ(*e & (PTE_A | PTE_D), PTE_A | PTE_D);
		*e &= ~(PTE_A | PTE_D);
		invlpg((void *)VA);
		load64((void *)VA);
		CHECK_EQ(*e & (PTE_A | PTE_D), PTE_A);
		*e &= ~PTE_A;
		invlpg((void *)VA);
		CHECK_EQ(*e & (PTE_A | PTE_D), 0);
	}
}

TEST(a_faulting_store_sets_no_dirty_bit)
{
	u64 *e;

	page_with(VA, 11, PTE_P);
	e = pte_at(root(), VA, 1);
	CHECK_TRAP(VEC_PF, PF_P | PF_W, store64((void *)VA, 1));
	CHECK_EQ(*e & PTE_D, 0);
	CHECK_EQ(load64((void *)VA), 11);
}

TEST(instruction_fetch_sets_the_accessed_bit)
{
	u8 *code = map_new(root(), VA, PTE_P);

	code[0] = 0xc3;
	call_at(VA);
	CHECK_EQ(*pte_at(root(), VA, 1) & (PTE_A | PTE_D), PTE_A);
}

TEST(user_stores_set_the_dirty_bit)
{
	struct user u;
	u64 *e;

	user_init(&u, user_write, user_write_end);
	page_with(VA, 11, PTE_P | PTE_W | PTE_U);
	e = pte_at(root(), VA, 1);
	u.rbx = VA;
	u.rcx = 77;
	CHECK_EQ(*e & (PTE_A | PTE_D), 0);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(*e & (PTE_A | PTE_D), PTE_A | PTE_D);
	CHECK_EQ(load64((void *)VA), 77);
}

TEST(write_protect_binds_the_kernel_only_when_set)
{
	u64 cr0 = read_cr0();
	int i;

	page_with(VA, 11, PTE_P);
	for (i = 0; i < 5; i++) {
		write_cr0(cr0 & ~CR0_WP);
		store64((void *)VA, 20 + i);
		CHECK_EQ(load64((void *)VA), 20 + i);
		write_cr0(cr0);
		CHECK_TRAP(VEC_PF, PF_P | PF_W, store64((void *)VA, 1));
	}
	CHECK_EQ(*pte_at(root(), VA, 1) & PTE_D, PTE_D);
}

TEST(user_mode_is_write_protected_whatever_wp_says)
{
	struct user u;

	user_init(&u, user_write, user_write_end);
	page_with(VA, 11, PTE_P | PTE_U);
	write_cr0(read_cr0() & ~CR0_WP);
	store64((void *)VA, 5);
	u.rbx = VA;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_PF);
	CHECK_EQ(u.error, PF_P | PF_U | PF_W);
	CHECK_EQ(load64((void *)VA), 5);
}

TEST(no_execute_binds_user_mode)
{
	struct user u;
	u8 *code;

	user_init(&u, user_jump, user_jump_end);
	code = map_new(root(), VA, PTE_P | PTE_U | PTE_NX);
	code[0] = 0xcc;
	u.rbx = VA;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_PF);
	CHECK_EQ(u.error, PF_P | PF_U | PF_I);
	CHECK_EQ(u.cr2, VA);
	*pte_at(root(), VA, 1) &= ~PTE_NX;
	invlpg((void *)VA);
	u.rip = USER_CODE;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rip, VA + 1);
}

/* TCG forgets that reserved bits are looked at in present entries only. */
static u64 reserved_error(u64 access)
{
	return access | PF_R | (engine_is_tcg() ? 0 : PF_P);
}

TEST(nx_is_a_reserved_bit_without_efer_nxe)
{
	page_with(VA, 11, PTE_P | PTE_W | PTE_NX);
	CHECK_EQ(load64((void *)VA), 11);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_NXE);
	write_cr3(read_cr3());
	CHECK_TRAP(VEC_PF, reserved_error(0), load64((void *)VA));
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	write_cr3(read_cr3());
	CHECK_EQ(load64((void *)VA), 11);
}

TEST(reserved_bits_fault)
{
	page_with(FAR_VA, 11, PTE_P | PTE_W);
	/* PS in the top level; an address that is too wide where there are such */
	*pte_at(root(), FAR_VA, 4) |= PTE_PS;
	invlpg((void *)FAR_VA);
	CHECK_TRAP(VEC_PF, reserved_error(0), load64((void *)FAR_VA));
	*pte_at(root(), FAR_VA, 4) &= ~PTE_PS;
	invlpg((void *)FAR_VA);
	CHECK_EQ(load64((void *)FAR_VA), 11);
	if ((cpuid(0x80000008, 0).eax & 255) < 52) {
		*pte_at(root(), FAR_VA, 1) |= 1ul << 51;
		invlpg((void *)FAR_VA);
		CHECK_TRAP(VEC_PF, reserved_error(PF_W), store64((void *)FAR_VA, 1));
	}
}

/* --- large pages ---------------------------------------------------------- */

TEST(two_mebibyte_pages)
{
	u64 pa = pages_alloc(512, 2ul << 20);
	u64 i;

	for (i = 0; i < 512; i++)
		*(u64 *)phys(pa + i * PAGE_SIZE) = i;
	*pte_at(root(), VA, 2) = pa | PTE_P | PTE_W | PTE_PS;
	for (i = 0; i < 512; i += 7)
		CHECK_EQ(load64((void *)(VA + i * PAGE_SIZE)), i);
	CHECK_EQ(*pte_at(root(), VA, 2) & (PTE_A | PTE_D), PTE_A);
	store64((void *)(VA + 100 * PAGE_SIZE), 5);
	CHECK_EQ(*pte_at(root(), VA, 2) & PTE_D, PTE_D);
	CHECK_EQ(load64(phys(pa + 100 * PAGE_SIZE)), 5);
	*pte_at(root(), VA, 2) &= ~PTE_W;
	invlpg((void *)VA);
	CHECK_TRAP(VEC_PF, PF_P | PF_W, store64((void *)(VA + 0x12345), 1));
}

TEST(one_gibibyte_pages)
{
	u64 pa = page_alloc();

	if (!(cpuid(0x80000001, 0).edx & 1u << 26))
		skip("the CPU has none");
	store64(phys(pa), 99);
	*pte_at(root(), FAR_VA, 3) = PTE_P | PTE_W | PTE_PS;
	CHECK_EQ(load64((void *)(FAR_VA + pa)), 99);
	store64((void *)(FAR_VA + pa), 98);
	CHECK_EQ(load64(phys(pa)), 98);
	CHECK_EQ(*pte_at(root(), FAR_VA, 3) & (PTE_A | PTE_D), PTE_A | PTE_D);
}

TEST(a_large_page_can_be_split_and_joined)
{
	u64 pa = pages_alloc(512, 2ul << 20);
	u64 *small = phys(page_alloc());
	u64 other = page_alloc();
	u64 *e = pte_at(root(), VA, 2);
	u64 i;

	store64(phys(pa), 1);
	store64(phys(pa + 5 * PAGE_SIZE), 2);
	store64(phys(other), 3);
	*e = pa | PTE_P | PTE_W | PTE_PS;
	CHECK_EQ(load64((void *)(VA + 5 * PAGE_SIZE)), 2);
	for (i = 0; i < 512; i++)
		small[i] = (pa + i * PAGE_SIZE) | PTE_P | PTE_W;
	small[5] = other | PTE_P;
	*e = virt_to_phys(small) | PTE_P | PTE_W;
	write_cr3(read_cr3());
	CHECK_EQ(load64((void *)VA), 1);
	CHECK_EQ(load64((void *)(VA + 5 * PAGE_SIZE)), 3);
	CHECK_TRAP(VEC_PF, PF_P | PF_W, store64((void *)(VA + 5 * PAGE_SIZE), 1));
	*e = pa | PTE_P | PTE_W | PTE_PS;
	write_cr3(read_cr3());
	CHECK_EQ(load64((void *)(VA + 5 * PAGE_SIZE)), 2);
	store64((void *)(VA + 5 * PAGE_SIZE), 4);
	CHECK_EQ(load64(phys(pa + 5 * PAGE_SIZE)), 4);
}

/* --- sharing -------------------------------------------------------------- */

TEST(aliases_show_the_same_memory)
{
	u64 pa = page_with(VA, 1, PTE_P | PTE_W);
	u64 i;

	map(root(), VA2, pa, PTE_P | PTE_W);
	map(root(), FAR_VA, pa, PTE_P);
	for (i = 0; i < 50; i++) {
		store64((void *)VA, i);
		CHECK_EQ(load64((void *)VA2), i);
		store64((void *)VA2, i + 1000);
		CHECK_EQ(load64((void *)FAR_VA), i + 1000);
		CHECK_EQ(load64(phys(pa)), i + 1000);
	}
	CHECK_TRAP(VEC_PF, PF_P | PF_W, store64((void *)FAR_VA, 1));
}

TEST(address_spaces_are_apart)
{
	u64 a = read_cr3() & PTE_ADDR, b = space_new();
	u64 i;

	map_new(a, VA, PTE_P | PTE_W);
	map_new(b, VA, PTE_P | PTE_W);
	map_new(b, VA2, PTE_P | PTE_W);
	for (i = 0; i < 100; i++) {
		write_cr3(a);
		if (i)
			CHECK_EQ(load64((void *)VA), i - 1);
		store64((void *)VA, i);
		CHECK_TRAP(VEC_PF, 0, load64((void *)VA2));
		write_cr3(b);
		if (i)
			CHECK_EQ(load64((void *)VA), i + 999);
		store64((void *)VA, i + 1000);
		store64((void *)VA2, i);
	}
}

TEST(many_address_spaces_share_tables)
{
	u64 shared = space_new();
	u64 roots[40];
	u64 i;

	map_new(shared, VA, PTE_P | PTE_W);
	for (i = 0; i < ARRAY_SIZE(roots); i++) {
		roots[i] = space_new();
		*pte_at(roots[i], VA, 4) = *pte_at(shared, VA, 4);
		map_new(roots[i], FAR_VA, PTE_P | PTE_W);
	}
	for (i = 0; i < ARRAY_SIZE(roots) * 3; i++) {
		write_cr3(roots[i % ARRAY_SIZE(roots)]);
		CHECK_EQ(load64((void *)VA), i);
		store64((void *)VA, i + 1);
		CHECK_EQ(load64((void *)FAR_VA), i / ARRAY_SIZE(roots));
		store64((void *)FAR_VA, i / ARRAY_SIZE(roots) + 1);
	}
	/* a change in the shared table shows in all of them */
	*pte_at(shared, VA, 1) = 0;
	for (i = 0; i < ARRAY_SIZE(roots); i++) {
		write_cr3(roots[i]);
		CHECK_TRAP(VEC_PF, 0, load64((void *)VA));
	}
}

TEST(a_page_table_can_become_data_and_data_a_page_table)
{
	u64 table = page_alloc(), target = page_alloc();
	u64 *words = phys(table);
	u64 i;

	store64(phys(target), 42);
	for (i = 0; i < 20; i++) {
		memset(words, 0, PAGE_SIZE);
		words[3] = target | PTE_P | PTE_W;
		*pte_at(root(), VA2, 2) = table | PTE_P | PTE_W;
		CHECK_EQ(load64((void *)(VA2 + 3 * PAGE_SIZE)), 42);
		CHECK_TRAP(VEC_PF, 0, load64((void *)(VA2 + 4 * PAGE_SIZE)));
		*pte_at(root(), VA2, 2) = 0;
		write_cr3(read_cr3());
		memset(words, 0xff, PAGE_SIZE);
		CHECK_EQ(words[3], ~0ul);
		CHECK_TRAP(VEC_PF, 0, load64((void *)(VA2 + 3 * PAGE_SIZE)));
	}
}

/* The table of VA maps itself: stores through it change the mapping. */
TEST(a_page_table_that_maps_itself)
{
	u64 *pt = (u64 *)(VA + 7 * PAGE_SIZE);
	u64 a = page_with(VA, 1, PTE_P | PTE_W);
	u64 b = page_with(VA2, 2, PTE_P | PTE_W);
	u64 table = *pte_at(root(), VA, 2) & PTE_ADDR;
	u64 i;

	map(root(), (u64)pt, table, PTE_P | PTE_W);
	for (i = 0; i < 50; i++) {
		((volatile u64 *)pt)[0] = (i & 1 ? a : b) | PTE_P | PTE_W;
		invlpg((void *)VA);
		CHECK_EQ(load64((void *)VA), i & 1 ? 1 : 2);
	}
	CHECK_EQ(((volatile u64 *)pt)[7] & PTE_ADDR, table);
}

/* A root that is its own lower table, in slot 100. */
TEST(a_recursive_root)
{
	u64 cr3 = read_cr3() & PTE_ADDR;
	volatile u64 *top;
	u64 slot = 100, va;

	page_with(VA, 5, PTE_P | PTE_W);
	((u64 *)phys(cr3))[slot] = cr3 | PTE_P | PTE_W;
	va = slot << 39 | slot << 30 | slot << 21 | slot << 12;
	top = (volatile u64 *)va;
	CHECK_EQ(top[slot] & PTE_ADDR, cr3);
	CHECK_EQ(top[0] & ~0xffful, ((u64 *)phys(cr3))[0] & ~0xffful);
	/* the leaf table of VA through the recursion */
	va = slot << 39 | (VA >> 9 & 0x7ffffff000ul);
	CHECK_EQ(*(volatile u64 *)va & PTE_ADDR, *pte_at(cr3, VA, 1) & PTE_ADDR);
	*(volatile u64 *)va = 0;
	invlpg((void *)VA);
	CHECK_TRAP(VEC_PF, 0, load64((void *)VA));
}

/* Fault, map, retry: over many pages and many times. */
static bool map_on_demand(struct trap *t)
{
	u64 va = read_cr2() & -PAGE_SIZE;

	map(root(), va, (va - FAR_VA) % (8ul << 20) + (32ul << 20), PTE_P | PTE_W);
	return true;
}

TEST(a_thousand_pages_on_demand)
{
	u64 i, round;

	set_handler(VEC_PF, map_on_demand);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 1000; i++)
			store64((void *)(FAR_VA + i * PAGE_SIZE), i * 3 + round);
		for (i = 0; i < 1000; i++)
			CHECK_EQ(load64((void *)(FAR_VA + i * PAGE_SIZE)), i * 3 + round);
		*pte_at(root(), FAR_VA, 3) = 0;
		write_cr3(read_cr3());
	}
}
