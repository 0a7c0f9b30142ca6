// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shadow pages: key lookup, making and freeing, parents, least recently used.
 *
 * A page is found by its gfn and complete role and never changes either. It is
 * freed when its last parent is gone, when reclaim picks it, or when all is
 * forgotten; freeing empties it first, so that no link to or from it survives.
 */
#include "shadow_internal.h"

static u32 bucket_of(const struct shadow *s, u32 gfn)
{
	return (gfn * 2654435761u >> 7) & s->hash_mask;
}

/* Does this page shadow a guest table, so that the table must be traced? */
bool shadow_page_is_table(const struct shadow_page *sp)
{
	return sp->gfn != SP_GFN_NONE && !sp->role.split && !sp->role.direct &&
	       sp->role.level <= GUEST_LEVELS;
}

static void lru_del(struct shadow *s, struct shadow_page *sp)
{
	s->sp[sp->lru_prev].lru_next = sp->lru_next;
	s->sp[sp->lru_next].lru_prev = sp->lru_prev;
}

static void lru_add(struct shadow *s, struct shadow_page *sp)
{
	struct shadow_page *head = &s->sp[0];

	sp->lru_next = head->lru_next;
	sp->lru_prev = 0;
	s->sp[head->lru_next].lru_prev = sp->id;
	head->lru_next = sp->id;
}

/* Note that the page has just been of use. */
void shadow_page_touch(struct shadow *s, struct shadow_page *sp)
{
	sp->writes = 0;
	if (s->sp[0].lru_next == sp->id)
		return;
	lru_del(s, sp);
	lru_add(s, sp);
}

struct shadow_page *shadow_page_find(struct shadow *s, u32 gfn,
				     union shadow_role role)
{
	u32 id;

	for (id = s->hash[bucket_of(s, gfn)]; id; id = s->sp[id].hash_next)
		if (s->sp[id].gfn == gfn && s->sp[id].role.word == role.word)
			return &s->sp[id];
	return NULL;
}

/* The table pages of gfn, one after the other; NULL starts and ends. */
struct shadow_page *shadow_page_next(struct shadow *s, struct shadow_page *sp,
				     u32 gfn)
{
	u32 id = sp ? sp->hash_next : s->hash[bucket_of(s, gfn)];

	for (; id; id = s->sp[id].hash_next)
		if (s->sp[id].gfn == gfn && shadow_page_is_table(&s->sp[id]))
			return &s->sp[id];
	return NULL;
}

static void hash_del(struct shadow *s, struct shadow_page *sp)
{
	u32 *p = &s->hash[bucket_of(s, sp->gfn)];

	while (*p != sp->id)
		p = &s->sp[*p].hash_next;
	*p = sp->hash_next;
}

static struct shadow_page *page_new(struct shadow *s, u32 gfn,
				    union shadow_role role)
{
	struct shadow_page *sp;
	void *spt;
	u32 id, *bucket;

	if (env_bug_on(!s->free_list))
		return NULL;
	/* It may have been another table a moment ago. */
	shadow_flush(s);
	spt = shadow_cache_page(s);
	if (env_bug_on(!spt))
		return NULL;
	id = s->free_list;
	sp = &s->sp[id];
	s->free_list = sp->hash_next;
	s->nr_free--;
	memset(sp, 0, sizeof(*sp));
	sp->id = id;
	sp->spt = spt;
	sp->gfn = gfn;
	sp->role = role;
	sp->live = true;
	bucket = &s->hash[bucket_of(s, gfn)];
	sp->hash_next = *bucket;
	*bucket = id;
	lru_add(s, sp);
	if (++s->stats.pages > s->stats.pages_max)
		s->stats.pages_max = s->stats.pages;
	return sp;
}

/*
 * Find or make. A new page has its fixed entries and nothing else; its guest table
 * is out of sync (s->lower allows that) or traced. If it was neither before,
 * new_trace is set: what was read from the table cannot be relied on. NULL only by
 * a bug (shadow_reserve() was not called).
 */
struct shadow_page *shadow_page_get(struct shadow *s, u32 gfn,
				    union shadow_role role)
{
	struct shadow_page *sp = shadow_page_find(s, gfn, role);

	if (sp)
		return sp;
	sp = page_new(s, gfn, role);
	if (!sp)
		return NULL;
	if (shadow_page_is_table(sp) &&
	    !(shadow_trace_bits(s, gfn) & SHADOW_TRACE_PT) &&
	    !(s->cfg.unsync && shadow_unsync_new(s, sp, s->lower))) {
		env_bug_on(!shadow_trace_set(s, gfn, SHADOW_TRACE_PT));
		s->new_trace = true;
		s->gen++;
	}
	shadow_fixed_fill(s, sp);
	return sp;
}

static u64 child_spte(const struct shadow_page *child)
{
	return env_page_hpa(child->spt) | SPTE_P | SPTE_W | SPTE_U;
}

/* Point an empty non-leaf slot at child. */
void shadow_page_link(struct shadow *s, struct shadow_page *sp, u32 index,
		      struct shadow_page *child)
{
	if (env_bug_on(spte_present(sp->spt[index])))
		return;
	if (env_bug_on(!shadow_slot_add(s, &child->parents, sp, index,
					child->id)))
		return;
	spte_set(sp, index, child_spte(child));
}

static void drop_leaf(struct shadow *s, struct shadow_page *sp, u32 index)
{
	gfn_t gfn = shadow_slot_link(s, slot_of(sp, index))->target;
	struct shadow_block *b = shadow_block_find(s, gfn);

	if (env_bug_on(!b))
		return;
	if (sp->role.level == 1) {
		shadow_slot_del(s, &b->rmap[gfn % PT_ENTRIES], sp, index);
		s->stats.sptes_4k--;
	} else {
		shadow_slot_del(s, &b->large, sp, index);
		s->stats.sptes_2m--;
	}
	s->stats.zapped++;
}

static void free_if_orphan(struct shadow *s, struct shadow_page *child)
{
	if (!child->parents && child->live && !child->permanent &&
	    !child->pinned)
		shadow_page_free(s, child);
}

static void drop_child(struct shadow *s, struct shadow_page *sp, u32 index)
{
	u32 id = shadow_slot_link(s, slot_of(sp, index))->target;
	struct shadow_page *child = &s->sp[id];

	s->unlinks++;
	shadow_slot_del(s, &child->parents, sp, index);
	free_if_orphan(s, child);
}

/*
 * Have a slot with a child lead to another one, in one store: a vCPU that runs
 * meanwhile, on another CPU, always finds one of the two. What is in the way to the
 * window, translated code cannot do without for a moment.
 */
static void swap_child(struct shadow *s, struct shadow_page *sp, u32 index,
		       struct shadow_page *child)
{
	u32 id = shadow_slot_link(s, slot_of(sp, index))->target;
	struct shadow_page *old = &s->sp[id];

	s->unlinks++;
	shadow_removing(s);
	shadow_slot_del(s, &old->parents, sp, index);
	/* Its chunk is there. */
	if (env_bug_on(!shadow_slot_add(s, &child->parents, sp, index,
					child->id)))
		return;
	spte_set(sp, index, child_spte(child));
	free_if_orphan(s, old);
}

/* Clear one slot that has a link, whatever it is. */
static void drop_slot(struct shadow *s, struct shadow_page *sp, u32 index)
{
	u64 old = sp->spt[index];

	shadow_removing(s);
	spte_set(sp, index, 0);
	if (spte_is_leaf(old, sp->role.level))
		drop_leaf(s, sp, index);
	else
		drop_child(s, sp, index);
}

/*
 * Make a slot not present. Entries of the switch region and the TC window stay,
 * and a slot on the window's path gets the path page that has no guest part.
 */
void shadow_zap_slot(struct shadow *s, struct shadow_page *sp, u32 index)
{
	struct shadow_page *none;

	if (shadow_slot_fixed(s, sp, index))
		return;
	if (!shadow_slot_path(s, sp, index)) {
		if (spte_present(sp->spt[index]))
			drop_slot(s, sp, index);
		return;
	}
	none = sp->role.level == 4 ? s->win_l3 : s->win_l2;
	if (!spte_present(sp->spt[index]))
		shadow_page_link(s, sp, index, none);
	else if (shadow_slot_link(s, slot_of(sp, index))->target != none->id)
		swap_child(s, sp, index, none);
}

/* Put a child in the place of whatever the slot has. */
void shadow_page_relink(struct shadow *s, struct shadow_page *sp, u32 index,
			struct shadow_page *child)
{
	u64 old = sp->spt[index];

	if (spte_present(old) && !spte_is_leaf(old, sp->role.level)) {
		swap_child(s, sp, index, child);
		return;
	}
	if (spte_present(old))
		drop_slot(s, sp, index);
	shadow_page_link(s, sp, index, child);
}

static bool same_frame(u64 a, u64 b)
{
	return !((a ^ b) & (SPTE_FRAME | SPTE_PS));
}

/*
 * Install a leaf (with SPTE_PS: 2 MiB) for gfn. Same frame: rights change in
 * place; otherwise what was there is zapped first. False: stock is empty.
 */
bool shadow_set_leaf(struct shadow *s, struct shadow_page *sp, u32 index,
		     gfn_t gfn, u64 spte)
{
	u64 old = sp->spt[index];
	struct shadow_block *b;
	u32 *head;

	if (spte_present(old) && spte_is_leaf(old, sp->role.level) &&
	    same_frame(old, spte) &&
	    shadow_slot_link(s, slot_of(sp, index))->target == gfn) {
		if ((old & ~spte & SPTE_W) || (~old & spte & SPTE_NX))
			shadow_removing(s);
		spte_set(sp, index, spte);
		return true;
	}
	if (spte_present(old))
		drop_slot(s, sp, index);
	b = shadow_block_get(s, gfn);
	if (!b)
		return false;
	head = sp->role.level == 1 ? &b->rmap[gfn % PT_ENTRIES] : &b->large;
	if (!shadow_slot_add(s, head, sp, index, gfn))
		return false;
	spte_set(sp, index, spte);
	if (sp->role.level == 1)
		s->stats.sptes_4k++;
	else
		s->stats.sptes_2m++;
	return true;
}

/* Zap everything in the page that may be zapped. */
void shadow_page_empty(struct shadow *s, struct shadow_page *sp)
{
	u32 i;

	for (i = 0; i < PT_ENTRIES && sp->present; i++)
		if (spte_present(sp->spt[i]))
			shadow_zap_slot(s, sp, i);
}

/* Clear every slot, fixed ones too: the page is going away. */
static void clear_all(struct shadow *s, struct shadow_page *sp)
{
	u32 i;

	for (i = 0; i < PT_ENTRIES; i++) {
		if (!spte_present(sp->spt[i]))
			continue;
		if (shadow_slot_fixed(s, sp, i))
			spte_set(sp, i, 0);
		else
			drop_slot(s, sp, i);
	}
}

static void drop_table_trace(struct shadow *s, struct shadow_page *sp)
{
	if (!shadow_page_is_table(sp) || shadow_page_next(s, NULL, sp->gfn))
		return;
	shadow_trace_clear(s, sp->gfn, SHADOW_TRACE_PT);
	if (sp->unsync)
		shadow_unsync_forget(s, sp->gfn);
}

/*
 * Unlink from all parents, empty, and give back. Children that lose their last
 * parent go too; the recursion is as deep as the tree.
 */
void shadow_page_free(struct shadow *s, struct shadow_page *sp)
{
	u32 i;

	if (env_bug_on(!sp->live))
		return;
	sp->live = false;
	shadow_removing(s);
	while (sp->parents)
		shadow_zap_slot(s, slot_page(s, sp->parents),
				slot_index(sp->parents));
	/* A level-4 page: loading CR3 is a new mapping for the monitor anyhow. */
	if (sp->code && sp->role.level < 4)
		shadow_pend_code(s, GFN_NONE);
	clear_all(s, sp);
	hash_del(s, sp);
	lru_del(s, sp);
	drop_table_trace(s, sp);
	for (i = 0; i < ARRAY_SIZE(sp->chunk); i++)
		if (sp->chunk[i])
			shadow_cache_put_chunk(s, sp->chunk[i]);
	shadow_cache_put_page(s, sp->spt);
	i = sp->id;
	memset(sp, 0, sizeof(*sp));
	sp->id = i;
	sp->hash_next = s->free_list;
	s->free_list = i;
	s->nr_free++;
	s->stats.pages--;
}

/* Has hardware gone through this page since the last look? */
bool shadow_page_test_used(struct shadow *s, struct shadow_page *sp)
{
	bool used = false;
	u32 slot;

	for (slot = sp->parents; slot;
	     slot = shadow_slot_link(s, slot)->next) {
		u64 *spte = shadow_slot_spte(s, slot);

		if (*spte & SPTE_A) {
			WRITE_ONCE(*spte, *spte & ~SPTE_A);
			used = true;
		}
	}
	return used;
}

static bool reclaimable(const struct shadow_page *sp)
{
	/* Halves of a 5-level root go with it. */
	return !sp->permanent && !sp->pinned && !sp->role.half;
}

/*
 * Free least recently used pages until want_free are free. A page that hardware
 * used since the last look gets a second chance. Pinned and permanent pages are
 * never enough to fail: see SHADOW_MIN_PAGES.
 */
void shadow_reclaim(struct shadow *s, u32 want_free)
{
	u32 scan = 2 * s->stats.pages;

	while (s->nr_free < want_free && scan--) {
		struct shadow_page *sp = &s->sp[s->sp[0].lru_prev];

		if (!sp->id)
			break;
		if (!reclaimable(sp) || shadow_page_test_used(s, sp)) {
			lru_del(s, sp);
			lru_add(s, sp);
			continue;
		}
		shadow_page_free(s, sp);
		s->stats.pages_recycled++;
	}
	env_bug_on(s->nr_free < want_free);
	shadow_flush(s);
}

/* Forget everything; pinned roots are only emptied when they are to be kept. */
void shadow_free_all(struct shadow *s, bool keep_pinned)
{
	u32 id, n = s->cfg.max_pages;

	for (id = 1; id <= n; id++) {
		struct shadow_page *sp = &s->sp[id];

		if (!sp->live || sp->permanent)
			continue;
		if (!keep_pinned || !sp->pinned)
			shadow_page_free(s, sp);
	}
	for (id = 1; id <= n && keep_pinned; id++)
		if (s->sp[id].live && s->sp[id].role.level <= GUEST_LEVELS)
			shadow_page_empty(s, &s->sp[id]);
	s->gen++;
}
