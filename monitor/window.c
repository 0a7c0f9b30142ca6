// SPDX-License-Identifier: GPL-2.0-only
/*
 * The TC window's memory: frames, the host's contiguous writable mapping of them,
 * and the level-1 tables that shadow kernel roots lead to. What is where, and who
 * may do what there, is in vcpu_page.h.
 *
 * Frames exist only where the layout has something; all lie one after the other
 * in the host's mapping, so an offset of the window is looked up in parts[].
 */
#include <linux/mm.h>
#include <linux/vmalloc.h>
#include <asm/io.h>

#include "monitor_host.h"

#define PTE_USER_RO (0x1ull | 0x4 | 0x20) /* P, U, A */
#define PTE_USER_RW (PTE_USER_RO | 0x2 | 0x40) /* RW, D */
#define PTE_NX_BIT (1ull << 63)
#define PDE_USER (0x1ull | 0x2 | 0x4 | 0x20)
#define PDE_SPAN 0x200000u

struct window_part {
	u32 off;
	u32 size; /* 0: the configured TC size */
	u64 pte;
};

static const struct window_part parts[] = {
	{ WINDOW_VCPU_OFF, 0x1000, PTE_USER_RW | PTE_NX_BIT },
	{ WINDOW_BOUNCE_DATA_OFF, WINDOW_BOUNCE_DATA_SIZE,
	  PTE_USER_RW | PTE_NX_BIT },
	{ WINDOW_BOUNCE_CODE_OFF, WINDOW_BOUNCE_CODE_SIZE, PTE_USER_RO },
	{ WINDOW_IBL_TPC_OFF, WINDOW_IBL_ENTRIES * 8, PTE_USER_RO | PTE_NX_BIT },
	{ WINDOW_TC_OFF, 0, PTE_USER_RO },
};

static u32 part_size(const struct window *w, u32 i)
{
	return parts[i].size ? parts[i].size : w->tc_size;
}

void *window_at(struct window *w, u32 off)
{
	u32 before = 0;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		if (off >= parts[i].off && off - parts[i].off < part_size(w, i))
			return w->map + before + (off - parts[i].off);
		before += part_size(w, i);
	}
	return NULL;
}

static int window_alloc_tables(struct window *w)
{
	u32 i;

	w->n_pdes = DIV_ROUND_UP(WINDOW_TC_OFF + w->tc_size, PDE_SPAN);
	w->pde = env_zalloc(w->n_pdes * sizeof(*w->pde));
	w->pt = env_zalloc(w->n_pdes * sizeof(*w->pt));
	if (!w->pde || !w->pt)
		return -ENOMEM;
	for (i = 0; i < w->n_pdes; i++) {
		w->pt[i] = env_page_alloc();
		if (!w->pt[i])
			return -ENOMEM;
		w->pde[i] = env_page_hpa(w->pt[i]) | PDE_USER;
	}
	return 0;
}

static int window_alloc_frames(struct window *w)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(parts); i++)
		w->n_pages += part_size(w, i) >> PAGE_SHIFT;
	w->pages = env_zalloc(w->n_pages * sizeof(*w->pages));
	if (!w->pages)
		return -ENOMEM;
	for (i = 0; i < w->n_pages; i++) {
		w->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!w->pages[i])
			return -ENOMEM;
	}
	w->map = vmap(w->pages, w->n_pages, VM_MAP, PAGE_KERNEL);
	return w->map ? 0 : -ENOMEM;
}

static void window_fill_tables(struct window *w)
{
	u32 page = 0;
	u32 i, off;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		for (off = 0; off < part_size(w, i); off += PAGE_SIZE) {
			u32 at = parts[i].off + off;

			w->pt[at / PDE_SPAN][(at % PDE_SPAN) >> PAGE_SHIFT] =
				page_to_phys(w->pages[page++]) | parts[i].pte;
		}
	}
}

int window_create(struct window *w, gva_t base, u32 tc_size)
{
	int ret;

	w->base = base;
	w->tc_size = tc_size;
	ret = window_alloc_tables(w);
	if (!ret)
		ret = window_alloc_frames(w);
	if (ret)
		window_destroy(w);
	else
		window_fill_tables(w);
	return ret;
}

bool window_maps(const struct window *w, gva_t gva)
{
	u64 off = gva - w->base;

	return off < (u64)w->n_pdes * PDE_SPAN &&
	       (w->pt[off / PDE_SPAN][off % PDE_SPAN >> PAGE_SHIFT] & 1);
}

int window_add_record(struct window *w)
{
	u32 order = get_order(WINDOW_RECORD_SIZE), off, at;

	if (w->record)
		return 0;
	w->record = (void *)__get_free_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO,
					     order);
	if (!w->record)
		return -ENOMEM;
	for (off = 0; off < WINDOW_RECORD_SIZE; off += PAGE_SIZE) {
		at = WINDOW_RECORD_OFF + off;
		w->pt[at / PDE_SPAN][(at % PDE_SPAN) >> PAGE_SHIFT] =
			__pa(w->record + off) | PTE_USER_RW | PTE_NX_BIT;
	}
	return 0;
}

void window_destroy(struct window *w)
{
	u32 i;

	free_pages((unsigned long)w->record, get_order(WINDOW_RECORD_SIZE));

	if (w->map)
		vunmap(w->map);
	for (i = 0; w->pages && i < w->n_pages; i++) {
		if (w->pages[i])
			__free_page(w->pages[i]);
	}
	for (i = 0; w->pt && i < w->n_pdes; i++) {
		if (w->pt[i])
			env_page_free(w->pt[i]);
	}
	env_free(w->pages);
	env_free(w->pt);
	env_free(w->pde);
	memset(w, 0, sizeof(*w));
}
