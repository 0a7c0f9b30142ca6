// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prefault: after a hidden fault, also map the aligned group of eight frames
 * around it, as far as the guest has accessed them or maps them by one large
 * entry. An exit costs much more than seven lookups.
 *
 * Only what needs nothing new is done: the same level-1 page, the same chunk of
 * links, no dirty or accessed bit set. Write access is asked of the host only
 * for a guest that is filling memory page by page: host pages that are shared
 * (same-page merging, copy-on-write) shall stay so until the guest stores there.
 */
#include "shadow_internal.h"

static bool writable_at(const struct shadow_page *sp, u32 index)
{
	return index < PT_ENTRIES && spte_present(sp->spt[index]) &&
	       (sp->spt[index] & SPTE_W);
}

/* Stores that go up or down in memory have come from the page beside this one. */
static bool is_filling(const struct shadow_page *sp, u32 index)
{
	return writable_at(sp, index + 1) || writable_at(sp, index - 1);
}

/*
 * With the lock: which slots of the group around index could be mapped? group: its
 * eight gptes; write: for a store.
 */
void shadow_prefault_collect(struct shadow *s, struct shadow_page *sp,
			     u32 index, const u64 *group, bool write,
			     struct shadow_prefault *pf)
{
	u32 first = index & ~(PREFAULT - 1), i;

	pf->n = 0;
	if (!s->cfg.prefault || sp->role.level != 1)
		return;
	pf->id = sp->id;
	pf->gfn = sp->gfn;
	pf->role = sp->role;
	pf->gen = s->gen;
	pf->write = write && is_filling(sp, index);
	for (i = first; i < first + PREFAULT; i++) {
		struct shadow_rights r = { true, sp->role.w, sp->role.x };
		gfn_t gfn = sp->gfn + i;

		if (spte_present(sp->spt[i]) &&
		    (!pf->write || writable_at(sp, i)))
			continue;
		if (!sp->role.split) {
			r = shadow_leaf_rights(sp->role, group[i - first], 1);
			gfn = gpte_leaf_gfn(group[i - first], 1);
		}
		if (!r.ok || gfn >= SHADOW_GFN_LIMIT)
			continue;
		pf->want[pf->n].gfn = gfn;
		pf->want[pf->n].index = i;
		pf->want[pf->n++].rights = r;
	}
}

static void install(struct shadow *s, struct shadow_page *sp,
		    struct shadow_want *want)
{
	bool w = want->rights.w && want->page.writable &&
		 !shadow_trace_bits(s, want->gfn);

	if ((spte_present(sp->spt[want->index]) && !w) ||
	    gmem_retry(s->vm, want->page.seq))
		return;
	if (!shadow_set_leaf(s, sp, want->index, want->gfn,
			     shadow_make_leaf(sp->role, want->page.hpa, w,
					      want->rights.x)))
		return;
	want->dirty = w;
	s->stats.prefaults++;
}

/* Without the lock: look up and map what was collected. Never fails. */
void shadow_prefault(struct shadow *s, struct shadow_prefault *pf)
{
	struct shadow_page *sp = &s->sp[pf->id];
	u32 i, n = 0;

	for (i = 0; i < pf->n; i++) {
		pf->want[n] = pf->want[i];
		pf->want[n].dirty = false;
		n += !gmem_page(s->vm, pf->want[n].gfn,
				pf->write && pf->want[n].rights.w,
				&pf->want[n].page);
	}
	if (!n)
		return;
	shadow_lock(s);
	/* The page may have been freed, or be another one by now. */
	if (s->gen == pf->gen && sp->live && sp->gfn == pf->gfn &&
	    sp->role.word == pf->role.word)
		for (i = 0; i < n; i++)
			install(s, sp, &pf->want[i]);
	shadow_unlock(s);
	for (i = 0; i < n; i++)
		if (pf->want[i].dirty)
			gmem_mark_dirty(s->vm, pf->want[i].gfn);
}
