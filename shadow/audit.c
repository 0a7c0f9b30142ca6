// SPDX-License-Identifier: GPL-2.0-only
/*
 * Check the invariants of docs/shadow-paging.md; the numbers are the same.
 *
 *  1. A present non-leaf spte points to a live shadow page, is on its list of
 *     parents, and their roles fit: one level less, same view and half rule.
 *  2. A present leaf spte is on the list of the frame it maps.
 *  3. Lists hold only present sptes that point where the list says; links are
 *     consistent in both directions; each page's count of them is right.
 *  4. A traced frame has no writable spte and is under no large one.
 *  5. A frame has the page-table trace if and only if a live shadow page
 *     shadows it as a table and it is not on the list of tables out of sync;
 *     all shadow pages of those say so, and may be of such a table.
 *  6. Every live page is in the hash exactly once; no two have the same key.
 *  7. The LRU list holds exactly the live pages; live and free add up.
 *  8. Region and window are where they belong, complete, and nowhere else; the
 *     path to the window exists in every kernel root.
 *  9. Sptes have only the bits they may have: non-leaf P, W, U; leaf U, NX in
 *     the kernel view, W only if the role allows; no cache or global bits.
 * 10. A half of a 5-level root maps nothing outside its half, and the root has
 *     both halves and nothing else.
 * 11. The current roots are live, pinned, of the host's depth, and nothing else
 *     is pinned but their halves.
 * 12. The counts of traced frames, code frames, and sptes are right.
 * 13. A spte that is not present is zero.
 */
#include "shadow_internal.h"

struct audit {
	struct shadow *s;
	bool ok;
	u64 leaf4k, leaf2m;
	u32 code, stale; /* frames */
};

static void offence(struct audit *a, int invariant, const char *what, u64 x,
		    u64 y)
{
	if (a->ok)
		env_warn("shadow audit: invariant %d: %s (%llx, %llx)",
			 invariant, what, (unsigned long long)x,
			 (unsigned long long)y);
	a->ok = false;
}

/*
 * Is the slot linked into a list with this head? Following prev to the head
 * avoids a search; check_list() sees to the other direction.
 */
static bool linked(struct audit *a, u32 head, u32 slot)
{
	struct shadow_link *link = shadow_slot_link(a->s, slot);

	if (!link->prev)
		return head == slot;
	return shadow_slot_link(a->s, link->prev)->next == slot;
}

static void check_upper(struct audit *a, struct shadow_page *sp, u32 i)
{
	struct shadow *s = a->s;
	u32 id = shadow_slot_link(s, slot_of(sp, i))->target;
	struct shadow_page *child = &s->sp[id];
	u64 spte = sp->spt[i];
	u32 half = 0;

	if (!id || id > s->cfg.max_pages || !child->live ||
	    (spte & SPTE_FRAME) != env_page_hpa(child->spt)) {
		offence(a, 1, "child is not live", slot_of(sp, i), id);
		return;
	}
	if (!linked(a, child->parents, slot_of(sp, i)))
		offence(a, 1, "not among the child's parents", slot_of(sp, i),
			id);
	if (sp->role.level == 5)
		half = i ? 2 : 1;
	if (child->role.level + 1 != sp->role.level ||
	    child->role.view != sp->role.view || child->role.half != half)
		offence(a, 1, "roles do not fit", sp->role.word,
			child->role.word);
	if (sp->role.split && !child->role.split)
		offence(a, 1, "table below a split page", sp->id, id);
	if (child->role.w && !sp->role.w && !child->permanent)
		offence(a, 1, "child has more rights", sp->role.word,
			child->role.word);
	if (sp->role.level <= 4 &&
	    child->role.window != shadow_slot_path(s, sp, i))
		offence(a, 8, "window path page at a wrong place",
			slot_of(sp, i), id);
	if ((spte & ~(SPTE_UPPER_BITS | SPTE_FRAME)) ||
	    (~spte & (SPTE_P | SPTE_W | SPTE_U)))
		offence(a, 9, "bits of a non-leaf spte", spte, sp->id);
}

static void check_leaf(struct audit *a, struct shadow_page *sp, u32 i)
{
	struct shadow *s = a->s;
	u64 spte = sp->spt[i];
	gfn_t gfn = shadow_slot_link(s, slot_of(sp, i))->target;
	struct shadow_block *b = shadow_block_find(s, gfn);
	u32 level = sp->role.level;

	if (!b) {
		offence(a, 2, "leaf of an unknown frame", slot_of(sp, i), gfn);
		return;
	}
	if (!linked(a, level == 1 ? b->rmap[gfn % PT_ENTRIES] : b->large,
		    slot_of(sp, i)))
		offence(a, 2, "leaf is not on its frame's list",
			slot_of(sp, i), gfn);
	if (level > 2 || (spte & ~(SPTE_LEAF_BITS | SPTE_FRAME)) ||
	    !(spte & SPTE_U) || (level == 2) != !!(spte & SPTE_PS) ||
	    (spte & SPTE_W && !(spte & SPTE_D)))
		offence(a, 9, "bits of a leaf spte", spte, sp->id);
	if (sp->role.view == SHADOW_KERNEL && !(spte & SPTE_NX))
		offence(a, 9, "executable leaf in the kernel view", spte,
			sp->id);
	if (sp->role.view == SHADOW_USER && !sp->role.x && !(spte & SPTE_NX))
		offence(a, 9, "executable leaf against the role", spte,
			sp->id);
	if ((spte & SPTE_W) && !sp->role.w)
		offence(a, 9, "writable leaf against the role", spte, sp->id);
	if (sp->role.split && gfn != sp->gfn + i * level_frames(level))
		offence(a, 2, "wrong frame in a split page", gfn, sp->gfn);
	if (level == 2) {
		a->leaf2m++;
		if (b->traced)
			offence(a, 4, "traced frame under a large spte", gfn,
				spte);
		return;
	}
	a->leaf4k++;
	if (b->trace[gfn % PT_ENTRIES] && (spte & SPTE_W))
		offence(a, 4, "traced frame is writable", gfn, spte);
}

static u64 fixed_spte(const struct shadow *s, const struct shadow_page *sp,
		      u32 i)
{
	const struct shadow_fixed *f = &s->cfg.fixed;

	if (sp->role.level == 4)
		return f->region_pte;
	return f->window_pde[i - pt_index(f->window_base, 2)];
}

static void check_slots(struct audit *a, struct shadow_page *sp)
{
	struct shadow *s = a->s;
	u32 i, present = 0;

	for (i = 0; i < PT_ENTRIES; i++) {
		u64 spte = sp->spt[i];

		if (shadow_slot_fixed(s, sp, i)) {
			/* Hardware sets A in it. */
			if ((spte ^ fixed_spte(s, sp, i)) & ~SPTE_A)
				offence(a, 8, "fixed entry", slot_of(sp, i),
					spte);
			continue;
		}
		if (!spte_present(spte)) {
			if (spte)
				offence(a, 13, "not present and not zero",
					slot_of(sp, i), spte);
			if (shadow_slot_path(s, sp, i))
				offence(a, 8, "no path to the window",
					slot_of(sp, i), 0);
			continue;
		}
		present++;
		if (sp->role.half && (i < PT_ENTRIES / 2) !=
					     (sp->role.half == 1))
			offence(a, 10, "entry in the other half",
				slot_of(sp, i), spte);
		if (!sp->chunk[i / CHUNK_LINKS])
			offence(a, 3, "spte without a link", slot_of(sp, i),
				spte);
		else if (spte_is_leaf(spte, sp->role.level))
			check_leaf(a, sp, i);
		else
			check_upper(a, sp, i);
	}
	if (sp->role.level == 5 && (present != 2 || !spte_present(sp->spt[0]) ||
				    !spte_present(sp->spt[PT_ENTRIES - 1])))
		offence(a, 10, "a level-5 page without both halves", sp->id,
			present);
	if (present != sp->present)
		offence(a, 3, "count of sptes", present, sp->present);
}

/* All members of a list are present sptes with this target. */
static void check_list(struct audit *a, u32 head, u32 target, bool leaf)
{
	struct shadow *s = a->s;
	u32 slot, prev = 0;
	u64 n = 0;

	for (slot = head; slot; slot = shadow_slot_link(s, slot)->next) {
		struct shadow_page *sp = slot_page(s, slot);
		struct shadow_link *link;

		if (slot >> 9 > s->cfg.max_pages || !sp->live ||
		    !sp->chunk[slot_index(slot) / CHUNK_LINKS] ||
		    ++n > (u64)s->cfg.max_pages * PT_ENTRIES) {
			offence(a, 3, "list member is not live", slot, target);
			return;
		}
		link = shadow_slot_link(s, slot);
		if (!spte_present(sp->spt[slot_index(slot)]) ||
		    spte_is_leaf(sp->spt[slot_index(slot)], sp->role.level) !=
			    leaf ||
		    link->target != target)
			offence(a, 3, "list member points elsewhere", slot,
				target);
		if (link->prev != prev)
			offence(a, 3, "list is not linked both ways", slot,
				prev);
		prev = slot;
	}
}

static bool is_unsync(const struct shadow *s, u32 gfn)
{
	u32 i;

	for (i = 0; i < s->nr_unsync; i++)
		if (s->unsync[i].gfn == gfn)
			return true;
	return false;
}

static void check_unsync(struct audit *a)
{
	struct shadow *s = a->s;
	struct shadow_page *sp;
	u32 i;

	for (i = 0; i < s->nr_unsync; i++) {
		sp = shadow_page_next(s, NULL, s->unsync[i].gfn);
		if (!sp || !sp->unsync)
			offence(a, 5, "out of sync without a page",
				s->unsync[i].gfn, i);
	}
}

static void check_page(struct audit *a, struct shadow_page *sp)
{
	struct shadow *s = a->s;
	bool current_root = false;
	int view;

	if (shadow_page_find(s, sp->gfn, sp->role) != sp)
		offence(a, 6, "not in the hash, or the key is not unique",
			sp->id, sp->role.word);
	if (shadow_page_is_table(sp) &&
	    sp->unsync == !!(shadow_trace_bits(s, sp->gfn) & SHADOW_TRACE_PT))
		offence(a, 5, "trace of a shadowed table", sp->gfn, sp->id);
	if (sp->unsync && (!is_unsync(s, sp->gfn) || sp->role.level > 3 ||
			   sp->code || sp->role.window))
		offence(a, 5, "out of sync, but must not be", sp->gfn, sp->id);
	for (view = 0; view < SHADOW_VIEWS; view++) {
		struct shadow_page *cur = s->cur[view];

		if (cur && cur->live &&
		    (cur == sp || shadow_root_top(s, cur, 0) == sp ||
		     shadow_root_top(s, cur, ~0ull) == sp))
			current_root = true;
	}
	if (sp->pinned != current_root)
		offence(a, 11, "pinned and current differ", sp->id,
			sp->pinned);
	if (sp->role.view == SHADOW_USER && sp->role.window)
		offence(a, 8, "window in the user view", sp->id,
			sp->role.word);
	check_list(a, sp->parents, sp->id, false);
	check_slots(a, sp);
}

static void check_hash_and_lru(struct audit *a)
{
	struct shadow *s = a->s;
	u32 live = 0, hashed = 0, listed = 0, i, id, limit = s->cfg.max_pages;

	for (id = 1; id <= s->cfg.max_pages; id++)
		live += s->sp[id].live;
	for (i = 0; i <= s->hash_mask; i++)
		for (id = s->hash[i]; id && hashed <= limit;
		     id = s->sp[id].hash_next) {
			hashed++;
			if (!s->sp[id].live)
				offence(a, 6, "dead page in the hash", id, i);
		}
	for (id = s->sp[0].lru_next; id && listed <= limit;
	     id = s->sp[id].lru_next) {
		listed++;
		if (!s->sp[id].live ||
		    s->sp[s->sp[id].lru_next].lru_prev != id)
			offence(a, 7, "LRU link", id, s->sp[id].lru_next);
	}
	if (hashed != live)
		offence(a, 6, "pages in the hash", hashed, live);
	if (listed != live || live + s->nr_free != s->cfg.max_pages ||
	    s->stats.pages != live)
		offence(a, 7, "pages on the LRU list", listed, live);
}

static void check_block(struct audit *a, struct shadow_block *b)
{
	struct shadow *s = a->s;
	u32 i, traced = 0, stale = 0;

	check_list(a, b->large, b->base << 9, true);
	for (i = 0; i < PT_ENTRIES; i++) {
		gfn_t gfn = (b->base << 9) + i;

		check_list(a, b->rmap[i], gfn, true);
		traced += !!b->trace[i];
		a->code += !!(b->trace[i] & SHADOW_TRACE_CODE);
		stale += !!(b->trace[i] & SHADOW_TRACE_STALE);
		if ((b->trace[i] & SHADOW_TRACE_STALE) &&
		    !(b->trace[i] & SHADOW_TRACE_CODE))
			offence(a, 12, "stale frame without code", gfn,
				b->trace[i]);
		if ((b->trace[i] & SHADOW_TRACE_PT) &&
		    !shadow_page_next(s, NULL, gfn))
			offence(a, 5, "page-table trace without a page", gfn,
				b->trace[i]);
	}
	a->stale += stale;
	if (stale != b->stale)
		offence(a, 12, "stale frames of a block", stale, b->stale);
	if (traced != b->traced)
		offence(a, 12, "traced frames of a block", traced, b->traced);
}

static void check_roots(struct audit *a)
{
	struct shadow *s = a->s;
	int view;

	for (view = 0; view < SHADOW_VIEWS; view++) {
		struct shadow_page *root = s->cur[view];

		if (root && (!root->live || !root->pinned ||
			     root->role.level != s->cfg.host_levels ||
			     root->role.view != (u32)view))
			offence(a, 11, "current root", root->id, view);
		if (root && root->gfn != SP_GFN_NONE &&
		    gfn_to_gpa(root->gfn) != (s->cur_mode[view].cr3 & GPTE_FRAME))
			offence(a, 11, "current root of another table", root->id,
				view);
	}
}

/* With the lock. */
bool shadow_audit_locked(struct shadow *s)
{
	struct audit a = { .s = s, .ok = true };
	struct shadow_block *b;
	u32 i;

	check_roots(&a);
	check_unsync(&a);
	check_hash_and_lru(&a);
	for (i = 1; i <= s->cfg.max_pages && a.ok; i++)
		if (s->sp[i].live)
			check_page(&a, &s->sp[i]);
	for (i = 0; i < BLOCK_HASH && a.ok; i++)
		for (b = s->block_hash[i]; b; b = b->hash_next)
			check_block(&a, b);
	if (a.ok && a.stale != s->stale)
		offence(&a, 12, "stale frames", a.stale, s->stale);
	if (a.ok && a.code != s->code_traced)
		offence(&a, 12, "code frames", a.code, s->code_traced);
	if (a.ok && (a.leaf4k != s->stats.sptes_4k ||
		     a.leaf2m != s->stats.sptes_2m))
		offence(&a, 12, "leaf sptes", a.leaf4k, a.leaf2m);
	return a.ok;
}

bool shadow_audit(struct shadow *s)
{
	bool ok;

	env_mutex_lock(&s->lock);
	ok = shadow_audit_locked(s);
	env_mutex_unlock(&s->lock);
	return ok;
}
