// SPDX-License-Identifier: GPL-2.0-only
/*
 * Getting out of the guest's way: when it maps something where popf keeps the TC
 * window or the switch region, popf moves. Translated code is full of addresses
 * of the window, so a move begins with an empty cache; guests do this rarely.
 *
 * Where is free is read from the guest's current page table. Another table of the
 * guest may want just that place: then popf moves again when it is used.
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
	e = region ? move_region(v) : move_window(v);
	if (e != EMUL_DONE)
		return e;
	ret = world_rebase(v);
	if (!ret)
		ret = world_set_fixed(v);
	w->code_stale = false;
	w->n_stale = 0;
	w->conflict = false;
	if (ret)
		return vcpu_stop(v, "out of memory while moving");
	return EMUL_DONE;
}
