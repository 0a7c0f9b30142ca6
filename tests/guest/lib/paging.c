// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages and page tables.
 */
#include "lib.h"
#include "x86.h"

/* What every guest is given; see test-guests. */
#define MEMORY_SIZE (64ul << 20)

static u64 next_page;

u64 memory_size(void)
{
	return MEMORY_SIZE;
}

void *phys(u64 pa)
{
	return (void *)(DIRECT_BASE + pa);
}

u64 virt_to_phys(const void *p)
{
	u64 va = (u64)p;

	return va >= LINK_BASE ? va - LINK_BASE : va - DIRECT_BASE;
}

u64 pages_alloc(u64 n, u64 align)
{
	u64 pa = (next_page + align - 1) & -align;

	next_page = pa + n * PAGE_SIZE;
	CHECK(next_page <= MEMORY_SIZE, "out of memory");
	memset(phys(pa), 0, n * PAGE_SIZE);
	return pa;
}

u64 page_alloc(void)
{
	return pages_alloc(1, PAGE_SIZE);
}

/* A monitor may watch these pages: store only what changes. */
static void clear_entry(u64 *e)
{
	if (*e)
		*(volatile u64 *)e = 0;
}

/* The boot tables map the low 4 GiB at DIRECT_BASE and 1 GiB at LINK_BASE. */
static void reset_boot_tables(void)
{
	unsigned int i;

	for (i = 0; i < 512; i++) {
		if (i != (DIRECT_BASE >> 39 & 511) && i != 511)
			clear_entry(&boot_pml4[i]);
		if (i >= 4)
			clear_entry(&boot_pdpt[i]);
		if (i != (LINK_BASE >> 30 & 511))
			clear_entry(&boot_pdpt_high[i]);
	}
}

void pages_free_all(void)
{
	reset_boot_tables();
	write_cr3(virt_to_phys(boot_pml4));
	next_page = (virt_to_phys(image_end) + PAGE_SIZE - 1) & -PAGE_SIZE;
}

u64 space_new(void)
{
	u64 root = page_alloc();
	u64 *to = phys(root);
	unsigned int i;

	for (i = 0; i < 512; i++) {
		if (boot_pml4[i] && i >= 256)
			to[i] = boot_pml4[i];
	}
	return root;
}

u64 *pte_at(u64 root, u64 va, int level)
{
	u64 *table = phys(root);
	int l;

	for (l = 4; l > level; l--) {
		u64 *e = &table[va >> (12 + 9 * (l - 1)) & 511];

		if (!(*e & PTE_P))
			*e = page_alloc() | PTE_P | PTE_W | PTE_U;
		CHECK(!(*e & PTE_PS), "%lx is in a large page", va);
		table = phys(*e & PTE_ADDR);
	}
	return &table[va >> (12 + 9 * (level - 1)) & 511];
}

void map(u64 root, u64 va, u64 pa, u64 flags)
{
	*(volatile u64 *)pte_at(root, va, 1) = pa | flags;
}

void *map_new(u64 root, u64 va, u64 flags)
{
	u64 pa = page_alloc();

	map(root, va, pa, flags);
	return phys(pa);
}
