// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest code for the translator: fetching it, and noticing when what was fetched
 * is no longer what the guest would execute.
 *
 * Code can go stale in four ways:
 *  - a store to the frame: the frame is traced, vcpu_write_gpa() invalidates;
 *  - the host puts other memory behind the frame, or userland another slot: shadow
 *    marks traced frames and reports it, code_settle() applies it;
 *  - a change of the gva-to-gpa mapping: the page tables on the walk are traced,
 *    shadow reports it and code_settle() applies it before the next entry;
 *  - a CR3 load: top-level entries that lead to translated code are compared.
 *
 * Invariants:
 *  1. No TU runs after code_settle() whose (gva, gfn) pairs are not what the
 *     current page tables say, or whose bytes are not those of the frame.
 *  2. What is noted from other threads is noted before the vCPU is kicked, and
 *     looked at after the vCPU says that it is in the guest world: enter_guest().
 *  3. Bytes are read after the frame is traced, and count only if the host was not
 *     changing memory meanwhile: a change is either seen or reported.
 */
#include <popf/record.h>
#include <popf/trace.h>

#include "monitor_host.h"

void code_forget_pages(struct vcpu *v)
{
	memset(v->world->code_page, 0, sizeof(v->world->code_page));
}

static struct code_page *code_page_slot(struct vcpu *v, gva_t gva)
{
	return &v->world->code_page[gva / POPF_PAGE_SIZE % CODE_PAGES];
}

/*
 * Every TU needs the trace on its frame and on the walk to it. Once they are set
 * they stay until somebody hears of it (code_untrace(), code_mapping_changed(),
 * CR3 and mode changes): until then fetches from the page skip the walk.
 */
static int code_trace(struct vcpu *v, gva_t gva, gfn_t *gfn)
{
	struct world *w = v->world;
	struct code_page *p = code_page_slot(v, gva);
	struct shadow_mode m;
	int ret;

	w->fetch_faulted = false;
	if (p->gva == ((gva & POPF_PAGE_MASK) | 1) && !code_is_stale(w)) {
		*gfn = p->gfn;
		return 0;
	}
	vcpu_shadow_mode(v, &m);
	ret = shadow_trace_code(v->shadow, &m, gva, gfn, &w->fetch_fault);
	if (ret == -EFAULT)
		w->fetch_faulted = true;
	if (ret)
		return ret;
	p->gfn = *gfn;
	/* Tracing may itself have reclaimed traces: then do not trust. */
	p->gva = code_is_stale(w) ? 0 : (gva & POPF_PAGE_MASK) | 1;
	return 0;
}

static int code_fetch(void *opaque, gva_t gva, void *buf, u32 len, gfn_t *gfn)
{
	struct vcpu *v = opaque;
	u64 seq = gmem_seq(v->vm);
	int ret;

	ret = code_trace(v, gva, gfn);
	if (ret)
		return ret;
	trace_popf_translate(v, gva, len);
	ret = gmem_read(v->vm, gfn_to_gpa(*gfn) | (gva & ~POPF_PAGE_MASK), buf,
			len);
	return gmem_retry(v->vm, seq) ? -EAGAIN : ret;
}

static void code_untrace(void *opaque, gfn_t gfn)
{
	struct vcpu *v = opaque;

	code_forget_pages(v);
	shadow_trace_del(v->shadow, gfn, SHADOW_TRACE_CODE);
}

/* The registers are canonical: the next entry looks for its tpc. */
static bool code_vacant(void *opaque)
{
	const struct vcpu *v = opaque;

	return !v->tpc;
}

const struct bt_ops code_bt_ops = {
	.fetch = code_fetch,
	.untrace = code_untrace,
	.vacant = code_vacant,
};

/* May come in the middle of a translation, from any thread: only note it. */
void code_mapping_changed(struct vcpu *v, gfn_t gfn)
{
	struct world *w = v->world;

	spin_lock(&w->stale_lock);
	if (gfn == GFN_NONE || w->n_stale == ARRAY_SIZE(w->stale))
		WRITE_ONCE(w->code_stale, true);
	else
		w->stale[w->n_stale++] = gfn;
	spin_unlock(&w->stale_lock);
}

void code_contents_gone(struct vcpu *v)
{
	WRITE_ONCE(v->world->contents_gone, true);
}

/* Copy what has been noted, and forget it. True: mappings of any code. */
static bool take_stale(struct world *w, gfn_t *gfns, u32 *n)
{
	bool all;

	spin_lock(&w->stale_lock);
	all = w->code_stale;
	*n = w->n_stale;
	memcpy(gfns, w->stale, *n * sizeof(*gfns));
	w->code_stale = false;
	w->n_stale = 0;
	spin_unlock(&w->stale_lock);
	return all;
}

void code_forget_stale(struct vcpu *v)
{
	gfn_t gfns[ARRAY_SIZE(v->world->stale)];
	u32 n;

	take_stale(v->world, gfns, &n);
}

/* Does gva still lead to gfn? Re-traces the walk if so. */
static bool code_still_there(void *arg, gva_t gva, gfn_t gfn)
{
	struct vcpu *v = arg;
	struct shadow_fault fault;
	struct shadow_mode m;
	gfn_t now;

	vcpu_shadow_mode(v, &m);
	return !shadow_trace_code(v->shadow, &m, gva, &now, &fault) &&
	       now == gfn;
}

static void drop_frames(struct vcpu *v, const gfn_t *gfns, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++)
		bt_invalidate_gpa(v->bt, gfn_to_gpa(gfns[i]), POPF_PAGE_SIZE);
}

static void settle_contents(struct vcpu *v)
{
	gfn_t gfns[32];
	u32 n;

	if (!xchg(&v->world->contents_gone, false))
		return;
	vcpu_forget_walks(v);
	while ((n = shadow_take_stale(v->shadow, gfns, ARRAY_SIZE(gfns))))
		drop_frames(v, gfns, n);
}

/* Mappings of code may have changed while this goes on: then look again. */
#define SETTLE_TRIES 5

void code_settle(struct vcpu *v)
{
	struct world *w = v->world;
	gfn_t gfns[ARRAY_SIZE(w->stale)];
	u32 i, n;
	bool all;

	recording_cause(v, POPF_RECORD_MAPPING);
	code_forget_pages(v);
	for (i = 0; i < SETTLE_TRIES && code_is_stale(w); i++) {
		settle_contents(v);
		all = take_stale(w, gfns, &n);
		drop_frames(v, gfns, n);
		/* Re-tracing can itself reclaim shadow pages. */
		if (all && i + 1 < SETTLE_TRIES)
			bt_revalidate(v->bt, code_still_there, v);
		else if (all)
			bt_flush(v->bt);
	}
	recording_cause(v, -1);
}

static bool top_entry(struct vcpu *v, u64 cr3, u32 slot, u64 *entry)
{
	gpa_t gpa = (cr3 & 0x000ffffffffff000ull) + slot * 8;

	return !gmem_read(v->vm, gpa, entry, 8);
}

static gva_t slot_gva(u32 slot)
{
	gva_t gva = (gva_t)slot << 39;

	return slot < 256 ? gva : gva | 0xffff000000000000ull;
}

/* Accessed bit and ignored bits do not change what an entry maps. */
#define TOP_ENTRY_MASK 0x800ffffffffff01full

/* Translated code of this slot, if another CR3 leads elsewhere there. */
static void compare_slot(struct vcpu *v, u64 old_cr3, u32 slot)
{
	u64 a, b;

	if (top_entry(v, old_cr3, slot, &a) && top_entry(v, v->cr3, slot, &b) &&
	    !((a ^ b) & TOP_ENTRY_MASK))
		return;
	bt_invalidate_gva_range(v->bt, slot_gva(slot),
				slot_gva(slot) + (1ull << 39) - 1);
}

void vcpu_cr3_changed(struct vcpu *v, u64 old_cr3)
{
	const u64 *slots = bt_top_slots(v->bt);
	u64 word;
	u32 i;

	vcpu_forget_walks(v);
	shadow_sync(v->shadow);
	code_forget_pages(v);
	world_watch(v);
	if (old_cr3 == v->cr3)
		return;
	for (i = 0; i < 8; i++) {
		/* Invalidation clears bits of the word that are done. */
		for (word = slots[i]; word; word &= word - 1)
			compare_slot(v, old_cr3, i * 64 + __builtin_ctzll(word));
	}
}

void vcpu_mmu_changed(struct vcpu *v, bool flush_code)
{
	vcpu_forget_walks(v);
	shadow_sync(v->shadow);
	if (v->world)
		code_forget_pages(v);
	if (flush_code && v->bt)
		bt_flush(v->bt);
}

void vcpu_invlpg(struct vcpu *v, gva_t gva)
{
	struct shadow_mode m;

	vcpu_forget_walks(v);
	vcpu_shadow_mode(v, &m);
	shadow_invlpg(v->shadow, &m, gva);
}

void vcpu_tables_changed(struct vcpu *v)
{
	v->world->gdt_valid = false;
	v->world->conflict = true;
	v->world->conflict_gva = v->world->window.base;
}
