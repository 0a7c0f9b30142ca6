// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that tries to get out, or at least to see what is not its own. On any
 * machine every test here must come to its end: faults are caught.
 *
 * What is found readable must be this guest's: only addresses that it has mapped
 * itself. The tests that ruin the vCPU's own pages are in hostile.c.
 */
#include "x86.h"

static u64 root(void)
{
	return read_cr3() & PTE_ADDR;
}

/* Can the kernel read, write, run here? */
static bool can_read(u64 va)
{
	struct trap t;

	CATCH(&t, load8((void *)va));
	return t.vector == VEC_NONE;
}

static bool can_write(u64 va)
{
	struct trap t;

	CATCH(&t, asm volatile("lock orb $0, (%0)" : : "r"(va) : "memory", "cc"));
	return t.vector == VEC_NONE;
}

/* Is va in what the boot page tables map? */
static bool is_mine(u64 va)
{
	return (va >= DIRECT_BASE && va < DIRECT_BASE + (4ul << 30)) ||
	       (va >= LINK_BASE && va < LINK_BASE + (1ul << 30));
}

TEST(every_slot_of_the_address_space_is_closed_to_reads)
{
	u64 slot, open = 0;

	for (slot = 0; slot < 512; slot++) {
		u64 va = slot << 39 | (slot >= 256 ? 0xffff000000000000 : 0);
		static const u64 probe[] = { 0, 0x1000, 0x200000, 0x40000000, 0x7ffffff000 };
		unsigned int i;

		for (i = 0; i < ARRAY_SIZE(probe); i++) {
			if (!is_mine(va + probe[i]) && can_read(va + probe[i])) {
				print("guest: open: %lx\n", va + probe[i]);
				open++;
			}
		}
	}
	CHECK_EQ(open, 0);
}

TEST(every_slot_of_the_address_space_is_closed_to_writes)
{
	u64 slot, open = 0;

	for (slot = 0; slot < 512; slot++) {
		u64 va = slot << 39 | (slot >= 256 ? 0xffff000000000000 : 0);

		if (!is_mine(va) && can_write(va))
			open++;
		if (!is_mine(va + 0x3fffff000) && can_write(va + 0x3fffff000))
			open++;
	}
	CHECK_EQ(open, 0);
}

/* Where Linux hosts have their things. */
TEST(places_where_a_host_would_be_are_closed)
{
	u64 va, open = 0;

	for (va = POPF_WINDOW + POPF_WINDOW_SIZE; va < 0xffffffffffe00000; va += 0x8000)
		open += can_read(va);
	for (va = 0xfffffe0000000000; va < 0xfffffe0000100000; va += PAGE_SIZE)
		open += can_read(va);
	for (va = 0xffff800000000000; va < 0xffff800000100000; va += PAGE_SIZE)
		open += can_read(va);
	for (va = 0xffffffffff400000; va < 0xffffffffffe00000; va += PAGE_SIZE)
		open += can_read(va);
	CHECK_EQ(open, 0);
}

/*
 * popf's window is readable for the guest's kernel, as everything that translated
 * code needs; only the vCPU page and the bounce data behind it are writable.
 */
TEST(popfs_window_is_read_only_but_for_the_vcpu_page_and_bounce_data)
{
	/* On hardware there is nothing. */
	bool there = can_read(POPF_VCPU_PAGE);
	u64 va, writable = 0;

	for (va = POPF_VCPU_PAGE; va < POPF_WRITABLE_END; va += PAGE_SIZE)
		CHECK_EQ(can_write(va + PAGE_SIZE - 8), there);
	for (va = POPF_WINDOW; va < POPF_WINDOW + 0x400000; va += PAGE_SIZE)
		writable += can_write(va + PAGE_SIZE - 8);
	CHECK_EQ(writable, there ? (POPF_WRITABLE_END - POPF_VCPU_PAGE) / PAGE_SIZE : 0);
	for (; va < POPF_WINDOW + POPF_WINDOW_SIZE; va += PAGE_SIZE * 3)
		CHECK_EQ(can_write(va), 0);
}

/*
 * The guest maps its own pages at the addresses where popf keeps its window and
 * its switch region by default: it must have them, popf must move.
 */
static void use_addresses(u64 base, u64 step, u64 n)
{
	u64 i, round;

	for (i = 0; i < n; i++)
		map_new(root(), base + i * step, PTE_P | PTE_W);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < n; i++)
			store64((void *)(base + i * step), i * 3 + round);
		for (i = 0; i < n; i++)
			CHECK_EQ(load64((void *)(base + i * step)), i * 3 + round);
	}
	for (i = 0; i < n; i++)
		CHECK_EQ(load64(phys(*pte_at(root(), base + i * step, 1) & PTE_ADDR)), i * 3 + 2);
}

TEST(the_guest_can_have_the_windows_addresses)
{
	use_addresses(0xfffffffff0000000, PAGE_SIZE, 16);
	use_addresses(0xfffffffff0200000, 0x10000, 16);
}

TEST(the_guest_can_have_the_switch_regions_addresses)
{
	use_addresses(0xffff800000000000, PAGE_SIZE, 16);
}

TEST(the_guest_can_have_the_whole_top)
{
	use_addresses(0xffffffffc0000000, 0x200000, 400);
}

static u64 page_count;

static bool map_anything(struct trap *t)
{
	u64 va = read_cr2() & -PAGE_SIZE;

	page_count++;
	/* one page for all */
	map(root(), va, 32ul << 20, PTE_P | PTE_W | PTE_U);
	return true;
}

TEST(every_slot_can_be_mapped_and_used)
{
	u64 slot;

	page_count = 0;
	for (slot = 1; slot < 511; slot++) {
		u64 va = slot << 39 | (slot >= 256 ? 0xffff000000000000 : 0);

		if (va == DIRECT_BASE)
			continue;
		set_handler(VEC_PF, map_anything);
		store64((void *)(va + 0x5000), slot);
		set_handler(VEC_PF, NULL);
		CHECK_EQ(load64(phys(32ul << 20)), slot);
		pages_free_all();
	}
	CHECK(page_count > 500, "%lu", page_count);
}

/* --- jumps into what may be popf's ---------------------------------------- */

TEST(jumps_into_the_window_fault)
{
	u64 va;

	for (va = 0xfffffffff0000000; va < 0xfffffffff0400000; va += 0x3001) {
		struct trap t;

		CATCH(&t, call_at(va));
		CHECK_EQ(t.vector, VEC_PF);
		CHECK_EQ(t.cr2, va);
		CHECK_EQ(t.rip, va);
	}
}

/* --- selectors ------------------------------------------------------------ */

TEST(every_selector_is_loaded_into_every_segment)
{
	u32 sel, loaded = 0;

	for (sel = 0; sel < 0x10000; sel += sel < 0x200 ? 1 : 97) {
		struct trap t;

		CATCH(&t, write_ds(sel));
		loaded += t.vector == VEC_NONE;
		CHECK(t.vector == VEC_NONE || t.vector == VEC_GP || t.vector == VEC_NP,
		      "ds %x: %lx", sel, t.vector);
		CATCH(&t, write_es(sel));
		CATCH(&t, write_fs(sel));
		CATCH(&t, write_gs(sel));
		CATCH(&t, write_ss(sel));
		write_ss(SEL_KDATA);
		CATCH(&t, asm volatile("ltr %w0" : : "r"(sel)));
		CATCH(&t, asm volatile("lldt %w0" : : "r"(sel)));
		asm volatile("lldt %w0" : : "r"(0));
	}
	CHECK(loaded >= 4 && loaded < 64, "%u", loaded);
}

USER_ASM(user_selectors,
	 "1: movl %ebx, %ds; movl %ebx, %es; movl %ebx, %fs; movl %ebx, %gs; syscall; jmp 1b");

TEST(user_mode_loads_every_selector)
{
	struct user u;
	u32 sel, loaded = 0;

	user_init(&u, user_selectors, user_selectors_end);
	for (sel = 0; sel < 0x10000; sel += sel < 0x300 ? 1 : 61) {
		u.rip = USER_CODE;
		u.rbx = sel;
		user_run(&u);
		CHECK(u.vector == VEC_SYSCALL || u.vector == VEC_GP || u.vector == VEC_NP,
		      "%x: %lx", sel, u.vector);
		if (u.vector == VEC_SYSCALL) {
			loaded++;
			/* null, and the GDT's data and readable code for user mode */
			CHECK(sel < 4 || (sel >= 0x20 && sel < 0x40), "%x loads", sel);
		}
	}
	CHECK(loaded >= 4, "%u", loaded);
}

/* --- user mode ------------------------------------------------------------ */

USER_ASM(user_probe, "movb (%rbx), %al; int3");
USER_ASM(user_poke, "lock orb $0, (%rbx); int3");
USER_ASM(user_go, "jmp *%rbx");

TEST(user_mode_sees_nothing_but_its_pages)
{
	struct user u;
	u64 slot;

	for (slot = 0; slot < 512; slot++) {
		static const u64 probe[] = { 0, 0x1000, 0x200000, 0x7fe00000, 0x7ffffff000 };
		u64 base = slot << 39 | (slot >= 256 ? 0xffff000000000000 : 0);
		unsigned int i;

		for (i = 0; i < ARRAY_SIZE(probe); i++) {
			if (slot % 16 == 0 || !i)
				user_init(&u, user_probe, user_probe_end);
			u.rip = USER_CODE;
			u.rbx = base + probe[i];
			user_run(&u);
			CHECK(u.vector == VEC_PF, "%lx: vector %lx", u.rbx, u.vector);
			CHECK_EQ(u.cr2, base + probe[i]);
			CHECK_EQ(u.error & PF_U, PF_U);
			/* present for user mode to see only where the guest has it */
			CHECK(!(u.error & PF_P) || is_mine(u.rbx), "%lx: error %lx", u.rbx,
			      u.error);
		}
		pages_free_all();
	}
}

TEST(user_mode_cannot_touch_the_window_or_the_region)
{
	static const u64 at[] = { 0xfffffffff0000000, 0xfffffffff0001000, 0xfffffffff0200000,
				  0xffff800000000000, 0xffff800000001000, 0xffffffffff5fc000 };
	struct user u;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		user_init(&u, user_poke, user_poke_end);
		u.rbx = at[i];
		user_run(&u);
		CHECK_EQ(u.vector, VEC_PF);
		/* TCG calls the load of a locked operation a read */
		CHECK_EQ(u.error & ~PF_W, PF_U);
		user_init(&u, user_go, user_go_end);
		u.rbx = at[i];
		user_run(&u);
		CHECK_EQ(u.vector, VEC_PF);
		CHECK_EQ(u.error, PF_U | PF_I);
		CHECK_EQ(u.cr2, at[i]);
	}
}

/* --- physical addresses --------------------------------------------------- */

TEST(memory_beyond_the_end_is_not_there)
{
	u64 va = 0x0000600000000000, pa;

	/* reads of holes give something, never a crash; memory is not aliased */
	store64(phys(0x100000), 0x1234567887654321);
	for (pa = memory_size(); pa < 0xc0000000; pa += 0x3000000) {
		u64 v;

		*pte_at(root(), va, 1) = pa | PTE_P | PTE_W | PTE_PCD;
		invlpg((void *)va);
		v = load64((void *)va);
		CHECK(v == ~0ul || v == 0, "%lx at %lx", v, pa);
		store64((void *)va, 0x5555);
	}
	CHECK_EQ(load64(phys(0x100000)), 0x1234567887654321);
}

TEST(page_tables_beyond_the_end_of_memory)
{
	u64 va = 0x0000600000000000;
	struct trap t;

	*pte_at(root(), va, 3) = 0x80000000ul | PTE_P | PTE_W | PTE_U;
	write_cr3(read_cr3());
	CATCH(&t, load64((void *)va));
	/* open bus reads as ones (reserved bits) or zeros (not present) */
	CHECK(t.vector == VEC_PF || t.vector == VEC_NONE, "%lx", t.vector);
	*pte_at(root(), va, 3) = 0;
	write_cr3(read_cr3());
}
