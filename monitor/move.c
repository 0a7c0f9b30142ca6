// SPDX-License-Identifier: GPL-2.0-only
/*
 * Getting out of the guest's way: when it maps something where popf keeps the TC
 * window or the switch region, popf moves. Translated code is full of addresses
 * of the window, so a move begins with an empty cache; guests do this rarely.
 *
 * Where is free is read from the guest's current page table. Another table of the
 * guest may want just that place: then popf moves again when it is used.
 *
 * The guest's accesses inside the window do not fault, so what it maps there must
 * be noticed when it is mapped: its level-2 table that would have the window's
 * entries is watched (a trace), and so are the entries that lead to it.
 */
#include "run.h"

#define ENTRY_PRESENT 1ull
#define ENTRY_LARGE 0x80ull
#define ENTRY_FRAME 0x000ffffffffff000ull
#define WINDOW_STEP 0x200000ull
/* A disp32 reaches the window's first part from here on: see vcpu_page.h. */
#define WINDOW_LOWEST 0xffffffff80000000ull
#define WINDOW_END 0xffffffffffe00000ull

static bool read_entry(struct vcpu *v, gpa_t table, u32 index, u64 *entry)
{
	*entry = 0;
	return !gmem_read(v->vm, table + index * 8, entry, 8) &&
	       (*entry & ENTRY_PRESENT);
}

static void watch_table(struct vcpu *v, gfn_t gfn)
{
	struct world *w = v->world;

	if (w->watched == gfn)
		return;
	if (w->watched)
		shadow_trace_del(v->shadow, w->watched, SHADOW_TRACE_TABLE);
	w->watched = 0;
	if (gfn && !shadow_trace_add(v->shadow, gfn, SHADOW_TRACE_TABLE))
		w->watched = gfn;
}

void world_watch(struct vcpu *v)
{
	struct world *w = v->world;
	u64 top;

	read_entry(v, v->cr3 & ENTRY_FRAME, w->window.base >> 39 & 511, &top);
	if ((top ^ w->watched_top) & (ENTRY_FRAME | ENTRY_PRESENT)) {
		w->conflict = true;
		w->conflict_gva = w->window.base;
	}
}

/* Does the guest have anything in the 2 MiB at gva? */
static bool piece_used(struct vcpu *v, gva_t gva)
{
	u64 entry;

	if (!read_entry(v, v->cr3 & ENTRY_FRAME, gva >> 39 & 511, &entry) ||
	    !read_entry(v, entry & ENTRY_FRAME, gva >> 30 & 511, &entry))
		return false;
	if (entry & ENTRY_LARGE)
		return true;
	return read_entry(v, entry & ENTRY_FRAME, gva >> 21 & 511, &entry);
}

/* Look at the tables beside the window: does the guest map anything inside? */
static bool window_used(struct vcpu *v)
{
	struct world *w = v->world;
	gva_t base = w->window.base;
	u64 l3 = 0;
	u32 i;

	w->watched_top = 0;
	if (read_entry(v, v->cr3 & ENTRY_FRAME, base >> 39 & 511,
		       &w->watched_top))
		read_entry(v, w->watched_top & ENTRY_FRAME, base >> 30 & 511, &l3);
	/* Watch first, look then. */
	if (l3 & ENTRY_PRESENT && !(l3 & ENTRY_LARGE))
		watch_table(v, gpa_to_gfn(l3 & ENTRY_FRAME));
	else
		watch_table(v, 0);
	for (i = 0; i < w->window.n_pdes; i++) {
		if (piece_used(v, base + i * WINDOW_STEP))
			return true;
	}
	return false;
}

/* The highest free run of the window's size, or 0. */
static gva_t find_window(struct vcpu *v)
{
	u64 need = v->world->window.n_pdes * WINDOW_STEP;
	u64 run = 0;
	gva_t gva;

	for (gva = WINDOW_END; gva > WINDOW_LOWEST && run < need;) {
		gva -= WINDOW_STEP;
		run = piece_used(v, gva) ? 0 : run + WINDOW_STEP;
	}
	return run >= need ? gva : 0;
}

static int find_slot(struct vcpu *v)
{
	u64 entry;
	u32 slot;

	for (slot = 0; slot < REGION_SLOTS; slot++) {
		if (!read_entry(v, v->cr3 & ENTRY_FRAME,
				region_slot_base(slot) >> 39 & 511, &entry))
			return slot;
	}
	return -1;
}

static enum emul move_region(struct vcpu *v)
{
	int slot = find_slot(v);

	if (slot < 0)
		return vcpu_stop(v, "the guest uses all address ranges that the switch region can have");
	if (region_move(v->vm, slot))
		return vcpu_stop(v, "the switch region cannot move to slot %d", slot);
	return EMUL_DONE;
}

static enum emul move_window(struct vcpu *v)
{
	gva_t base = find_window(v);

	if (!base)
		return vcpu_stop(v, "the guest uses the top 2 GiB, no room for the translation cache");
	v->world->window.base = base;
	return EMUL_DONE;
}

enum emul world_move(struct vcpu *v)
{
	struct world *w = v->world;
	bool region = (w->conflict_gva ^ region_base(v->vm)) >> REGION_SLOT_SHIFT == 0;
	enum emul e;
	int ret;

	w->conflict = false;
	if (!region && !window_used(v))
		return EMUL_DONE;
	e = region ? move_region(v) : move_window(v);
	if (e != EMUL_DONE)
		return e;
	ret = world_rebase(v);
	if (!ret)
		ret = world_set_fixed(v);
	code_forget_stale(v);
	w->conflict = false;
	window_used(v);
	if (ret)
		return vcpu_stop(v, "out of memory while moving");
	return EMUL_DONE;
}
