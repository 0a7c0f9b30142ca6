// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables out of sync: page tables that the guest may store to without being
 * seen, until it flushes its TLB.
 *
 * A guest may not expect a change of its tables to be seen before it flushes, so
 * sptes made from a table that is not traced are a TLB: shadow_sync() and
 * shadow_sync_gva() bring them up to date, by taking away what the tables no
 * longer say. What the tables say newly comes with hidden faults.
 *
 * Tables of the lower half start like that, because a new process writes most of
 * its tables soon; traced ones become so at their first store. A table without
 * stores over IDLE_SYNCS flushes is traced again, so that switching between
 * processes that change nothing costs nothing.
 *
 * Only tables whose changes nobody waits for can be out of sync: of level 1..3, not
 * on the way to translated code or to the window, and with no other trace.
 *
 * With several CPUs: what one has read from such a table before another one
 * flushed must not be used after. shadow_sync() changes gen, so walks start over.
 */
#include "shadow_internal.h"

#define IDLE_SYNCS 3

static struct shadow_unsync *find(struct shadow *s, u32 gfn)
{
	u32 i;

	for (i = 0; i < s->nr_unsync; i++)
		if (s->unsync[i].gfn == gfn)
			return &s->unsync[i];
	return NULL;
}

static bool page_can(const struct shadow_page *sp)
{
	return sp->role.level <= 3 && !sp->code && !sp->role.window;
}

static void add(struct shadow *s, u32 gfn)
{
	s->unsync[s->nr_unsync].idle = 0;
	s->unsync[s->nr_unsync].hot = 0;
	s->unsync[s->nr_unsync++].gfn = gfn;
}

void shadow_unsync_forget(struct shadow *s, u32 gfn)
{
	struct shadow_unsync *u = find(s, gfn);

	if (u)
		*u = s->unsync[--s->nr_unsync];
}

void shadow_unsync_note(struct shadow *s, struct shadow_page *sp, u32 index)
{
	struct shadow_unsync *u = find(s, sp->gfn);

	if (u)
		u->hot = slot_of(sp, index);
}

/*
 * A page is being made for a table that has no page-table trace. True: it is out
 * of sync and needs none. lower: of the lower half, and not for translated code.
 */
bool shadow_unsync_new(struct shadow *s, struct shadow_page *sp, bool lower)
{
	bool is = find(s, sp->gfn);

	if (is && !page_can(sp)) {
		shadow_unsync_end(s, sp->gfn);
		return false;
	}
	if (!is && (!lower || !page_can(sp) || s->nr_unsync == UNSYNC_MAX ||
		    shadow_trace_bits(s, sp->gfn)))
		return false;
	if (!is)
		add(s, sp->gfn);
	sp->unsync = true;
	return true;
}

/* The guest stores to a traced table: let it, if nothing else is against it. */
bool shadow_unsync_begin(struct shadow *s, gfn_t gfn)
{
	struct shadow_page *sp = NULL;

	if (!s->cfg.unsync || s->nr_unsync == UNSYNC_MAX ||
	    shadow_trace_bits(s, gfn) != SHADOW_TRACE_PT)
		return false;
	while ((sp = shadow_page_next(s, sp, gfn)))
		if (!page_can(sp))
			return false;
	while ((sp = shadow_page_next(s, sp, gfn)))
		sp->unsync = true;
	shadow_trace_clear(s, gfn, SHADOW_TRACE_PT);
	add(s, gfn);
	return true;
}

/* False when there is no memory for the trace: it stays as it is. */
static bool trace_again(struct shadow *s, u32 gfn)
{
	struct shadow_page *sp = NULL;

	if (!shadow_trace_set(s, gfn, SHADOW_TRACE_PT))
		return false;
	while ((sp = shadow_page_next(s, sp, gfn)))
		sp->unsync = false;
	shadow_unsync_forget(s, gfn);
	s->gen++;
	return true;
}

/*
 * The table has to be traced now, and what was made of it cannot be trusted. The
 * caller has a stock of blocks, and starts over (new_trace).
 */
void shadow_unsync_end(struct shadow *s, u32 gfn)
{
	struct shadow_page *sp = NULL;

	while ((sp = shadow_page_next(s, sp, gfn)))
		shadow_page_empty(s, sp);
	env_bug_on(!trace_again(s, gfn));
	s->new_trace = true;
}

/* --- bringing up to date --------------------------------------------------- */

/* Does a child page, or the piece of a large leaf, fit what the entry says? */
bool shadow_child_fits(const struct shadow_page *sp,
		       const struct shadow_page *child, u64 gpte)
{
	union shadow_role role = sp->role;
	u32 level = role.level;
	bool w = gpte & GPTE_W;

	if (!(gpte & GPTE_P) || !(gpte & GPTE_A) ||
	    gpte_reserved(gpte, level, role.nxe, role.maxphy) ||
	    (role.view == SHADOW_USER && !(gpte & GPTE_U)))
		return false;
	if (gpte_is_leaf(gpte, level)) {
		struct shadow_rights r = shadow_leaf_rights(role, gpte, level);

		return child->role.split && r.ok && child->role.w == r.w &&
		       child->role.x == r.x &&
		       child->gfn == gpte_leaf_gfn(gpte, level);
	}
	if (role.view == SHADOW_USER)
		w = w && role.w;
	else
		w = !role.wp || (w && role.w);
	return !child->role.split && child->gfn == gpte_table_gfn(gpte) &&
	       child->role.w == w &&
	       child->role.x == (role.view == SHADOW_USER && role.x &&
				 !(gpte & GPTE_NX));
}

/* True when the slot was not what the entry says. Rights are only taken. */
static bool sync_slot(struct shadow *s, struct shadow_page *sp, u32 index,
		      u64 gpte)
{
	u32 target = shadow_slot_link(s, slot_of(sp, index))->target;
	u64 old = sp->spt[index], spte;
	struct shadow_rights r;

	if (!spte_is_leaf(old, sp->role.level)) {
		if (shadow_child_fits(sp, &s->sp[target], gpte))
			return false;
		shadow_zap_slot(s, sp, index);
		return true;
	}
	r = shadow_leaf_rights(sp->role, gpte, sp->role.level);
	if (!r.ok || !gpte_is_leaf(gpte, sp->role.level) ||
	    gpte_leaf_gfn(gpte, sp->role.level) != target) {
		shadow_zap_slot(s, sp, index);
		return true;
	}
	spte = old;
	if (!r.w)
		spte &= ~(SPTE_W | SPTE_D);
	if (sp->role.view == SHADOW_USER && !r.x)
		spte |= SPTE_NX;
	if (spte == old)
		return false;
	shadow_removing(s);
	spte_set(sp, index, spte);
	return true;
}

static u32 piece_of(u32 index)
{
	return 1u << index / CHUNK_LINKS;
}

/* Which of the table's pieces, a bit each, have any spte, or had the last one? */
static u32 pieces_used(struct shadow *s, const struct shadow_unsync *u)
{
	u32 used = u->hot ? piece_of(slot_index(u->hot)) : 0, i;
	struct shadow_page *sp = NULL;

	BUILD_BUG_ON(PT_ENTRIES / CHUNK_LINKS != 32);
	while ((sp = shadow_page_next(s, sp, u->gfn)))
		for (i = 0; i < PT_ENTRIES / CHUNK_LINKS && sp->present; i++)
			if (sp->chunk[i])
				used |= 1u << i;
	return used;
}

static bool sync_page(struct shadow *s, struct shadow_page *sp, u32 pieces,
		      const u64 *gpte)
{
	bool changed = false;
	u32 i;

	for (i = 0; i < PT_ENTRIES && sp->present; i++) {
		if (!(pieces & piece_of(i)) ||
		    !sp->chunk[i / CHUNK_LINKS]) {
			i |= CHUNK_LINKS - 1;
			continue;
		}
		if (spte_present(sp->spt[i]))
			changed |= sync_slot(s, sp, i, gpte[i]);
	}
	return changed;
}

/* Read the pieces, or as many as can be: what cannot is no longer memory. */
static void read_pieces(struct shadow *s, u32 gfn, u32 pieces, u64 *gpte)
{
	const u32 size = CHUNK_LINKS * sizeof(u64);
	u32 i;

	for (i = 0; i < PT_ENTRIES / CHUNK_LINKS; i++)
		if ((pieces >> i & 1) &&
		    gmem_read(s->vm, gfn_to_gpa(gfn) + i * size,
			      gpte + i * CHUNK_LINKS, size))
			memset(gpte + i * CHUNK_LINKS, 0, size);
}

/*
 * A kernel that patches itself maps one page after the other at the same address,
 * and loads CR3 before it uses each: what is now where the last hidden fault was
 * gets mapped here. gpte: the table, as far as pieces say.
 */
static void expect_again(struct shadow *s, const struct shadow_unsync *u,
			 u32 pieces, const u64 *gpte,
			 struct shadow_prefault *pf)
{
	struct shadow_page *sp = slot_page(s, u->hot);
	u32 index = slot_index(u->hot);

	if (!u->hot || !sp->live || sp->gfn != u->gfn || !sp->unsync ||
	    sp->role.level != 1 || spte_present(sp->spt[index]) ||
	    !(pieces & piece_of(index)))
		return;
	shadow_prefault_collect(s, sp, index, &gpte[index & ~(PREFAULT - 1)],
				false, pf);
}

/* One table. It may be traced before it is read, so that nothing is missed. */
static void sync_table(struct shadow *s, u32 gfn)
{
	struct shadow_prefault pf = { .n = 0 };
	struct shadow_page *sp = NULL;
	struct shadow_unsync *u;
	bool changed = false;
	u32 pieces = 0;
	u64 gen;

	shadow_lock(s);
	gen = s->gen;
	u = find(s, gfn);
	if (u) {
		pieces = pieces_used(s, u);
		if (u->idle >= IDLE_SYNCS)
			trace_again(s, gfn);
	}
	shadow_unlock(s);
	if (!u)
		return;
	read_pieces(s, gfn, pieces, s->sync_buf);
	shadow_lock(s);
	while ((sp = shadow_page_next(s, sp, gfn)))
		changed |= sync_page(s, sp, pieces, s->sync_buf);
	u = find(s, gfn);
	if (u) {
		u->idle = changed ? 0 : u->idle + 1;
		expect_again(s, u, pieces, s->sync_buf, &pf);
	}
	shadow_unlock(s);
	/* Only if nobody has flushed since the table was read. */
	pf.gen = gen;
	if (pf.n)
		shadow_prefault(s, &pf);
}

/* The tables out of sync that have a shadow page of this level. */
static u32 collect(struct shadow *s, u32 level, u32 *gfns)
{
	struct shadow_page *sp;
	u32 i, n = 0;

	env_mutex_lock(&s->lock);
	s->gen++;
	for (i = 0; i < s->nr_unsync; i++) {
		sp = shadow_page_next(s, NULL, s->unsync[i].gfn);
		if (sp && sp->role.level == level)
			gfns[n++] = sp->gfn;
	}
	env_mutex_unlock(&s->lock);
	return n;
}

/*
 * Upper levels first: tables that are no longer reached are then gone and need
 * not be read.
 */
void shadow_sync(struct shadow *s)
{
	u32 gfns[UNSYNC_MAX], level, i, n;

	if (!s->cfg.unsync)
		return;
	if (!shadow_cache_ready(s))
		(void)shadow_cache_fill(s);
	env_mutex_lock(&s->sync_lock);
	for (level = 3; level; level--) {
		n = collect(s, level, gfns);
		for (i = 0; i < n; i++)
			sync_table(s, gfns[i]);
	}
	env_mutex_unlock(&s->sync_lock);
}

/* The entry for gva in one table, on each level that it is a table of. */
static void sync_entry(struct shadow *s, u32 gfn, gva_t gva)
{
	struct shadow_page *sp = NULL;
	u64 gpte[GUEST_LEVELS];
	u32 level, index;

	for (level = 1; level < GUEST_LEVELS; level++)
		if (gmem_read(s->vm,
			      gfn_to_gpa(gfn) + 8 * pt_index(gva, level),
			      &gpte[level], sizeof(gpte[level])))
			gpte[level] = 0;
	shadow_lock(s);
	while ((sp = shadow_page_next(s, sp, gfn))) {
		index = pt_index(gva, sp->role.level);
		if (sp->unsync && spte_present(sp->spt[index]))
			sync_slot(s, sp, index, gpte[sp->role.level]);
	}
	shadow_unlock(s);
}

/* Is there anything in the table where gva would be? */
static bool has_entry(struct shadow *s, u32 gfn, gva_t gva)
{
	struct shadow_page *sp = NULL;

	while ((sp = shadow_page_next(s, sp, gfn)))
		if (spte_present(sp->spt[pt_index(gva, sp->role.level)]))
			return true;
	return false;
}

void shadow_sync_gva(struct shadow *s, gva_t gva)
{
	u32 gfns[UNSYNC_MAX], i, n = 0;

	if (!s->cfg.unsync)
		return;
	env_mutex_lock(&s->lock);
	s->gen++;
	for (i = 0; i < s->nr_unsync; i++)
		if (has_entry(s, s->unsync[i].gfn, gva))
			gfns[n++] = s->unsync[i].gfn;
	env_mutex_unlock(&s->lock);
	for (i = 0; i < n; i++)
		sync_entry(s, gfns[i], gva);
}

/* The contents of these frames are not what they were. With the lock. */
void shadow_unsync_zap(struct shadow *s, gfn_t first, gfn_t count)
{
	struct shadow_page *sp;
	u32 gfns[UNSYNC_MAX], i, n = s->nr_unsync;

	for (i = 0; i < n; i++)
		gfns[i] = s->unsync[i].gfn;
	for (i = 0; i < n; i++) {
		if (gfns[i] - first >= count)
			continue;
		s->contents_gone = true;
		for (sp = NULL; (sp = shadow_page_next(s, sp, gfns[i]));)
			shadow_page_empty(s, sp);
	}
}
