// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host does to guest memory: frames go away, get other contents, get
 * logged, are asked whether they were used. May run in an mmu notifier: nothing
 * here allocates.
 */
#include "shadow_internal.h"

typedef bool (*block_fn)(struct shadow *s, struct shadow_block *b, u32 from,
			 u32 to, bool arg);

/* Call fn for the part [from, to) of every known block in the range. */
static bool for_each_block(struct shadow *s, gfn_t first, gfn_t count,
			   block_fn fn, bool arg)
{
	gfn_t end = first + count < first ? ~0ull : first + count;
	struct shadow_block *b;
	bool any = false;
	u32 i;

	for (i = 0; i < BLOCK_HASH; i++) {
		for (b = s->block_hash[i]; b; b = b->hash_next) {
			gfn_t lo = max(first, b->base << 9);
			gfn_t hi = min(end, (b->base + 1) << 9);

			if (lo < hi)
				any |= fn(s, b, lo - (b->base << 9),
					  hi - (b->base << 9), arg);
		}
	}
	return any;
}

static bool for_range(struct shadow *s, gfn_t first, gfn_t count, block_fn fn,
		      bool arg)
{
	struct shadow_block *b;

	/* The usual case: one frame, or a few. */
	if (count && first / PT_ENTRIES == (first + count - 1) / PT_ENTRIES) {
		b = shadow_block_find(s, first);
		return b && fn(s, b, first % PT_ENTRIES,
			       first % PT_ENTRIES + count, arg);
	}
	return count && for_each_block(s, first, count, fn, arg);
}

/* What a frame contained is no more: forget what was made of it. */
static void forget_contents(struct shadow *s, struct shadow_block *b, u32 i)
{
	struct shadow_page *sp = NULL;

	if (!(b->trace[i] & (SHADOW_TRACE_PT | SHADOW_TRACE_CODE)))
		return;
	s->contents_gone = true;
	while ((b->trace[i] & SHADOW_TRACE_PT) &&
	       (sp = shadow_page_next(s, sp, (b->base << 9) + i))) {
		shadow_page_empty(s, sp);
		if (sp->code)
			shadow_pend_code(s, GFN_NONE);
	}
	if (!(b->trace[i] & SHADOW_TRACE_CODE) ||
	    (b->trace[i] & SHADOW_TRACE_STALE))
		return;
	b->trace[i] |= SHADOW_TRACE_STALE;
	b->stale++;
	s->stale++;
}

static bool zap_block(struct shadow *s, struct shadow_block *b, u32 from,
		      u32 to, bool contents)
{
	u32 i;

	shadow_zap_list(s, &b->large);
	for (i = from; i < to; i++) {
		shadow_zap_list(s, &b->rmap[i]);
		if (contents)
			forget_contents(s, b, i);
	}
	return true;
}

static bool protect_block(struct shadow *s, struct shadow_block *b, u32 from,
			  u32 to, bool arg)
{
	u32 i;

	b->no_large = true;
	for (i = from; i < to; i++)
		shadow_write_protect(s, (b->base << 9) + i);
	return true;
}

static bool age_list(struct shadow *s, u32 slot, bool clear)
{
	bool used = false;

	for (; slot; slot = shadow_slot_link(s, slot)->next) {
		u64 *spte = shadow_slot_spte(s, slot);

		if (!(*spte & SPTE_A))
			continue;
		used = true;
		if (clear)
			WRITE_ONCE(*spte, *spte & ~SPTE_A);
	}
	return used;
}

static bool age_block(struct shadow *s, struct shadow_block *b, u32 from,
		      u32 to, bool clear)
{
	bool used = age_list(s, b->large, clear);
	u32 i;

	for (i = from; i < to; i++)
		used |= age_list(s, b->rmap[i], clear);
	return used;
}

void shadow_zap_gfns(struct shadow *s, gfn_t first, gfn_t count)
{
	shadow_lock(s);
	s->gen++;
	for_range(s, first, count, zap_block, true);
	shadow_unsync_zap(s, first, count);
	shadow_unlock(s);
}

void shadow_unmap_gfns(struct shadow *s, gfn_t first, gfn_t count)
{
	shadow_lock(s);
	for_range(s, first, count, zap_block, false);
	shadow_unlock(s);
}

/* Name the stale frames of one block. */
static void take_block(struct shadow *s, struct shadow_block *b, gfn_t *gfns,
		       u32 *n, u32 max)
{
	u32 i;

	for (i = 0; i < PT_ENTRIES && b->stale && *n < max; i++) {
		if (!(b->trace[i] & SHADOW_TRACE_STALE))
			continue;
		b->trace[i] &= ~SHADOW_TRACE_STALE;
		b->stale--;
		s->stale--;
		gfns[(*n)++] = (b->base << 9) + i;
	}
}

u32 shadow_take_stale(struct shadow *s, gfn_t *gfns, u32 max)
{
	struct shadow_block *b;
	u32 i, n = 0;

	shadow_lock(s);
	for (i = 0; i < BLOCK_HASH && s->stale && n < max; i++)
		for (b = s->block_hash[i]; b && n < max; b = b->hash_next)
			take_block(s, b, gfns, &n, max);
	shadow_unlock(s);
	return n;
}

void shadow_protect_gfns(struct shadow *s, gfn_t first, gfn_t count)
{
	shadow_lock(s);
	for_range(s, first, count, protect_block, false);
	shadow_unlock(s);
}

bool shadow_age_gfns(struct shadow *s, gfn_t first, gfn_t count, bool clear)
{
	bool used;

	if (!env_mutex_trylock(&s->lock))
		return true;
	used = for_range(s, first, count, age_block, clear);
	env_mutex_unlock(&s->lock);
	return used;
}

void shadow_zap_all(struct shadow *s)
{
	shadow_lock(s);
	shadow_pend_code(s, GFN_NONE);
	shadow_free_all(s, true);
	shadow_unlock(s);
}
