// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stores to traced page tables: memory first, then at once every spte that is
 * derived from it (eager validate).
 *
 * A store is handled in pieces of at most one aligned group of eight entries.
 * Per piece: note gen, read the old entries, store, look up the host pages of
 * the new ones, lock. If gen is still the same, nobody else has changed a table
 * meanwhile, so old and new are what memory had and has; otherwise the sptes are
 * only zapped, and faults bring them back.
 *
 * A table that is stored to repeatedly but that no root in use reaches is not a
 * table any more: its shadow page is freed, and with it the trace.
 */
#include "shadow_internal.h"

#define GROUP 8u
#define GROUP_BYTES (GROUP * 8u)
#define FLOOD_WRITES 4

/* Bits whose change alters a mapping, and those whose loss does. */
#define GPTE_MAPPING \
	(GPTE_P | GPTE_W | GPTE_U | GPTE_PS | GPTE_NX | GPTE_FRAME)
#define GPTE_LOSS (GPTE_A | GPTE_D)
/* What translated code depends on. */
#define GPTE_CODE (GPTE_P | GPTE_U | GPTE_PS | GPTE_NX | GPTE_FRAME)

struct pt_write {
	gfn_t gfn; /* of the table */
	u32 first, n; /* entries touched */
	u64 gen;
	bool known; /* old and new are right */
	bool has_leaf; /* some shadow page of it is of level 1 */
	u64 old[GROUP], new[GROUP];
	bool looked_up[GROUP];
	struct gmem_page page[GROUP];
};

/* Traces of the frame now. */
static u32 prepare(struct shadow *s, struct pt_write *pw, gpa_t gpa, u32 len)
{
	struct shadow_page *sp = NULL;
	u32 bits;

	pw->gfn = gpa_to_gfn(gpa);
	pw->first = (gpa & ~POPF_PAGE_MASK) / 8;
	pw->n = ((gpa & ~POPF_PAGE_MASK) + len - 1) / 8 - pw->first + 1;
	pw->known = pw->has_leaf = false;
	memset(pw->looked_up, 0, sizeof(pw->looked_up));
	/* What the host changes from now on it tells by gen; wait for the rest. */
	pw->gen = READ_ONCE(s->gen);
	(void)gmem_seq(s->vm);
	env_mutex_lock(&s->lock);
	bits = pw->gfn < SHADOW_GFN_LIMIT ? shadow_trace_bits(s, pw->gfn) : 0;
	while ((bits & SHADOW_TRACE_PT) &&
	       (sp = shadow_page_next(s, sp, pw->gfn)))
		if (sp->role.level == 1)
			pw->has_leaf = true;
	env_mutex_unlock(&s->lock);
	return bits;
}

/* Old entries from memory, new ones by laying the store over them. */
static void compose(struct shadow *s, struct pt_write *pw, gpa_t gpa,
		    const void *buf, u32 len)
{
	if (gmem_read(s->vm, gfn_to_gpa(pw->gfn) + 8 * pw->first, pw->old,
		      8 * pw->n))
		return;
	memcpy(pw->new, pw->old, 8 * pw->n);
	memcpy((u8 *)pw->new + gpa % 8, buf, len);
	pw->known = true;
}

/* Host pages for the entries that can be validated at once. */
static void look_up(struct shadow *s, struct pt_write *pw)
{
	u32 i;

	if (!pw->known || !pw->has_leaf)
		return;
	for (i = 0; i < pw->n; i++) {
		u64 gpte = pw->new[i];
		gfn_t gfn = gpte_leaf_gfn(gpte, 1);

		if (!(gpte & GPTE_P) || !(gpte & GPTE_A) ||
		    gpte == pw->old[i] || gfn >= SHADOW_GFN_LIMIT)
			continue;
		pw->looked_up[i] = !gmem_page(s->vm, gfn,
					      (gpte & GPTE_W) &&
						      (gpte & GPTE_D),
					      &pw->page[i]);
	}
}

static bool entry_out_of_reach(struct shadow *s, const struct shadow_page *sp)
{
	if (sp->role.level == 4 && sp->role.half)
		return sp->parents && !slot_page(s, sp->parents)->pinned;
	return !sp->parents && !sp->pinned;
}

/*
 * A table that is written again and again without being used in between: one that
 * has stopped being a table, or that of a process which forks or dies. Keeping it
 * traced would cost an exit for each of its entries.
 */
static bool flooded(struct shadow *s, struct shadow_page *sp)
{
	bool reachable = !entry_out_of_reach(s, sp);

	if (reachable && (sp->role.level > 1 || sp->code || sp->pinned))
		return false;
	if (++sp->writes <= FLOOD_WRITES)
		return false;
	if (!reachable)
		return true;
	sp->writes = 0;
	return !shadow_page_test_used(s, sp);
}

/*
 * The guest stores to a level-4 table that is not current: nearly always because
 * its process is gone and the frame gets another use. True when it is no longer
 * shadowed, and so not traced.
 */
bool shadow_drop_dead_root(struct shadow *s, gfn_t gfn)
{
	struct shadow_page *sp = NULL;

	if (!s->cfg.unsync || shadow_trace_bits(s, gfn) != SHADOW_TRACE_PT)
		return false;
	while ((sp = shadow_page_next(s, sp, gfn)))
		if (sp->role.level < 4 || !entry_out_of_reach(s, sp))
			return false;
	while ((sp = shadow_page_next(s, NULL, gfn))) {
		if (sp->role.half && sp->parents)
			sp = slot_page(s, sp->parents);
		shadow_page_free(s, sp);
	}
	return true;
}

static void check_flood(struct shadow *s, gfn_t gfn)
{
	struct shadow_page *sp = NULL;

	while ((sp = shadow_page_next(s, sp, gfn))) {
		if (!flooded(s, sp))
			continue;
		if (sp->role.half)
			sp = slot_page(s, sp->parents);
		shadow_page_free(s, sp);
		sp = NULL;
	}
}

/*
 * May this level-1 slot be kept or made writable? host_w: the host page is known
 * to be writable.
 */
static u64 leaf_spte(struct shadow *s, struct shadow_page *sp, u64 gpte,
		     struct shadow_rights r, hpa_t hpa, bool host_w)
{
	bool w = r.w && host_w && !shadow_trace_bits(s, gpte_leaf_gfn(gpte, 1));

	return shadow_make_leaf(sp->role, hpa, w, r.x);
}

static void update_leaf(struct shadow *s, struct shadow_page *sp, u32 index,
			u64 gpte, const struct gmem_page *page)
{
	struct shadow_rights r = shadow_leaf_rights(sp->role, gpte, 1);
	gfn_t gfn = gpte_leaf_gfn(gpte, 1);
	u64 old = sp->spt[index];

	if (spte_present(old)) {
		struct shadow_link *link =
			shadow_slot_link(s, slot_of(sp, index));

		if (r.ok && link->target == gfn) {
			bool host_w = (old & SPTE_W) ||
				      (page && page->writable);

			shadow_set_leaf(s, sp, index, gfn,
					leaf_spte(s, sp, gpte, r,
						  old & SPTE_FRAME, host_w));
			return;
		}
		shadow_zap_slot(s, sp, index);
	}
	if (!r.ok || !page)
		return;
	if (shadow_set_leaf(s, sp, index, gfn,
			    leaf_spte(s, sp, gpte, r, page->hpa,
				      page->writable)))
		s->stats.eager_validates++;
}

/* Has code been fetched through the table that a changed entry led to? */
static void note_code_table(struct shadow *s, const struct shadow_page *sp,
			    u64 old)
{
	u32 gfn = gpte_table_gfn(old);
	struct shadow_page *child = NULL;

	/* Roots that are not current get compared when they are loaded. */
	if (sp->role.level == 4 && !sp->pinned)
		return;
	while ((child = shadow_page_next(s, child, gfn)))
		if (child->code && child->role.level + 1 == sp->role.level)
			shadow_pend_code(s, GFN_NONE);
}

/*
 * Report what a changed entry used to map if translated code depends on it: the
 * frames of a leaf, or a whole subtree.
 */
static void note_code(struct shadow *s, const struct shadow_page *sp, u64 old,
		      u64 new)
{
	struct shadow_block *b;
	gfn_t gfn;
	u32 i;

	if (sp->role.view != SHADOW_KERNEL || !s->code_traced ||
	    !(old & GPTE_P) || !((old ^ new) & GPTE_CODE))
		return;
	if (!gpte_is_leaf(old, sp->role.level)) {
		note_code_table(s, sp, old);
		return;
	}
	if (!sp->code)
		return;
	gfn = gpte_leaf_gfn(old, sp->role.level);
	if (sp->role.level == 3) {
		shadow_pend_code(s, GFN_NONE);
		return;
	}
	b = shadow_block_find(s, gfn);
	if (!b)
		return;
	if (sp->role.level == 1) {
		if (b->trace[gfn % PT_ENTRIES] & SHADOW_TRACE_CODE)
			shadow_pend_code(s, gfn);
		return;
	}
	for (i = 0; i < PT_ENTRIES; i++)
		if (b->trace[i] & SHADOW_TRACE_CODE)
			shadow_pend_code(s, gfn + i);
}

static void update_slot(struct shadow *s, struct shadow_page *sp,
			const struct pt_write *pw, u32 i)
{
	u32 index = pw->first + i;
	u64 old = pw->old[i], new = pw->new[i];
	bool usable;

	if (shadow_slot_fixed(s, sp, index)) {
		if (new & GPTE_P)
			shadow_pend_conflict(
				s, shadow_slot_fixed_gva(s, sp, index));
		return;
	}
	/* Another table beside the window: the monitor looks what is in it. */
	if (shadow_slot_path(s, sp, index) && ((old ^ new) & GPTE_MAPPING))
		shadow_pend_conflict(s, s->cfg.fixed.window_base);
	note_code(s, sp, old, new);
	if (sp->role.level > 1) {
		if (((old ^ new) & GPTE_MAPPING) || (old & ~new & GPTE_LOSS))
			shadow_zap_slot(s, sp, index);
		return;
	}
	usable = pw->looked_up[i] && !gmem_retry(s->vm, pw->page[i].seq);
	update_leaf(s, sp, index, new, usable ? &pw->page[i] : NULL);
}

/* Nothing is known about what these entries were: drop what came of them. */
static void forget_slots(struct shadow *s, struct shadow_page *sp,
			 const struct pt_write *pw)
{
	u32 i;

	for (i = 0; i < pw->n; i++)
		shadow_zap_slot(s, sp, pw->first + i);
	if (sp->code)
		shadow_pend_code(s, GFN_NONE);
}

/* The store is in memory: bring the sptes up to date. Traces of the frame now. */
static u32 commit(struct shadow *s, struct pt_write *pw)
{
	struct shadow_page *sp = NULL;
	u32 i, bits;

	if (pw->gfn >= SHADOW_GFN_LIMIT)
		return 0;
	shadow_lock(s);
	bits = shadow_trace_bits(s, pw->gfn);
	if (bits & SHADOW_TRACE_PT) {
		s->stats.pt_writes++;
		pw->known = pw->known && pw->gen == s->gen;
		s->gen++;
		check_flood(s, pw->gfn);
	}
	while ((bits & SHADOW_TRACE_PT) &&
	       (sp = shadow_page_next(s, sp, pw->gfn))) {
		if (!pw->known) {
			forget_slots(s, sp, pw);
			continue;
		}
		for (i = 0; i < pw->n; i++)
			if (pw->old[i] != pw->new[i])
				update_slot(s, sp, pw, i);
	}
	shadow_unlock(s);
	return bits;
}

/* What eager validation may have made writable counts as written. */
static void mark_dirty(struct shadow *s, const struct pt_write *pw)
{
	u32 i;

	gmem_mark_dirty(s->vm, pw->gfn);
	for (i = 0; i < pw->n; i++)
		if (pw->looked_up[i] && pw->page[i].writable)
			gmem_mark_dirty(s->vm, gpte_leaf_gfn(pw->new[i], 1));
}

static u32 finish(struct shadow *s, struct pt_write *pw)
{
	u32 bits;

	look_up(s, pw);
	/* Without memory the sptes come with the next fault instead. */
	if (pw->known && !shadow_cache_ready(s))
		(void)shadow_cache_fill(s);
	bits = commit(s, pw);
	mark_dirty(s, pw);
	return bits;
}

static int write_piece(struct shadow *s, gpa_t gpa, const void *buf, u32 len,
		       u32 *bits)
{
	struct pt_write pw;
	int err;

	if (prepare(s, &pw, gpa, len) & SHADOW_TRACE_PT)
		compose(s, &pw, gpa, buf, len);
	err = gmem_write(s->vm, gpa, buf, len);
	if (err)
		return err;
	*bits |= finish(s, &pw);
	return 0;
}

/*
 * Nearly all stores are to frames that nobody traces: there one look is enough, if
 * memory takes the store while the lock is held.
 */
static bool write_untraced(struct shadow *s, gpa_t gpa, const void *buf, u32 len)
{
	gfn_t gfn = gpa_to_gfn(gpa);
	bool done;

	env_mutex_lock(&s->lock);
	done = gfn < SHADOW_GFN_LIMIT && !shadow_trace_bits(s, gfn) &&
	       !gmem_write_atomic(s->vm, gpa, buf, len);
	env_mutex_unlock(&s->lock);
	return done;
}

int shadow_write(struct shadow *s, gpa_t gpa, const void *buf, u32 len,
		 u32 *trace)
{
	u32 bits = 0, n;
	int err;

	if (!len || len > POPF_PAGE_SIZE ||
	    (gpa & ~POPF_PAGE_MASK) + len > POPF_PAGE_SIZE)
		return -EINVAL;
	if (write_untraced(s, gpa, buf, len))
		len = 0;
	for (; len; len -= n, gpa += n, buf = (const u8 *)buf + n) {
		n = min(len, GROUP_BYTES - (u32)(gpa % GROUP_BYTES));
		err = write_piece(s, gpa, buf, n, &bits);
		if (err)
			return err;
	}
	if (trace)
		*trace = bits;
	return 0;
}

int shadow_cmpxchg(struct shadow *s, gpa_t gpa, u64 *old, u64 new, u32 len,
		   u32 *trace)
{
	struct pt_write pw;
	u32 bits;
	int err;

	if ((len != 1 && len != 2 && len != 4 && len != 8) || gpa % len)
		return -EINVAL;
	if (prepare(s, &pw, gpa, len) & SHADOW_TRACE_PT)
		compose(s, &pw, gpa, &new, len);
	err = gmem_cmpxchg(s->vm, gpa, old, new, len);
	if (err)
		return err;
	/* The exchange has told what was there before it. */
	if (pw.known)
		memcpy((u8 *)pw.old + gpa % 8, old, len);
	bits = finish(s, &pw);
	if (trace)
		*trace = bits;
	return 0;
}
