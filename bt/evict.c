// SPDX-License-Identifier: GPL-2.0-only
/*
 * What goes when the TC is full: which unit is filled next.
 *
 * A unit in which nothing is in use any more is always taken first. Else
 *  - FIFO takes the unit that was filled first;
 *  - FLUSH drops everything;
 *  - CLOCK takes the first filled that is no longer used. Translated code leaves
 *    no trace of having run, so the units whose turn is near are *watched*: all
 *    that links to them from outside is undone, and who comes for their TUs after
 *    that comes through the monitor (evict_touch()), which links that TU again. A
 *    unit of which enough was wanted is spared until its next turn;
 *  - GENERATIONAL is FIFO over two kinds of unit: what is translated for the first
 *    time goes into new ones, of which there are few, and what has been evicted
 *    before and comes back goes into old ones. So code that runs once does not
 *    drive out what is needed again and again.
 *
 * None of them costs anything on the way through translated code.
 *
 * Invariants:
 *  1. An open unit is never a victim; there are at least two that are not open.
 *  2. No TU outside a watched unit links to a TU in it that has not been wanted
 *     since; inside it links stay.
 */
#include "bt.h"

/* Of what lives in a watched unit, one in this many must be wanted to spare it. */
#define SPARE_PART 8u
/* One unit in this many is watched, or new. */
#define WATCH_PART 4u
#define NEW_PART 4u

int evict_init(struct bt *bt)
{
	struct ghosts *g = &bt->ghosts;
	u32 i;

	if (bt->cfg.evict != BT_EVICT_GENERATIONAL)
		return 0;
	g->mask = (bt->hash_mask + 1) * 16 - 1;
	for (i = 0; i < 2; i++) {
		g->bits[i] = env_zalloc((g->mask + 1) / 8);
		if (!g->bits[i])
			return -ENOMEM;
	}
	return 0;
}

void evict_exit(struct bt *bt)
{
	env_free(bt->ghosts.bits[0]);
	env_free(bt->ghosts.bits[1]);
}

/* --- which have been evicted ------------------------------------------------ */

static u32 ghost_bit(const struct ghosts *g, gva_t gpc)
{
	return (u32)((gpc * 0x9e3779b97f4a7c15ull) >> 36) & g->mask;
}

/* A TU at gpc has been evicted. */
void evict_note(struct bt *bt, gva_t gpc)
{
	struct ghosts *g = &bt->ghosts;
	u32 bit = ghost_bit(g, gpc);
	u64 *full;

	bt->stats.evicted_tus++;
	if (!g->mask)
		return;
	if (g->count > g->mask / 8) {
		full = g->bits[0];
		g->bits[0] = g->bits[1];
		g->bits[1] = full;
		memset(g->bits[0], 0, (g->mask + 1) / 8);
		g->count = 0;
	}
	g->bits[0][bit / 64] |= 1ull << (bit % 64);
	g->count++;
}

/* Where a TU at gpc belongs. */
enum bt_gen evict_gen(struct bt *bt, gva_t gpc)
{
	const struct ghosts *g = &bt->ghosts;
	u32 bit = ghost_bit(g, gpc);

	if (!g->mask)
		return GEN_NEW;
	return (g->bits[0][bit / 64] | g->bits[1][bit / 64]) >> (bit % 64) & 1 ?
		       GEN_OLD :
		       GEN_NEW;
}

/* --- watching ----------------------------------------------------------------- */

static bool is_inside(const struct unit *u, u32 off)
{
	return off >= u->start && off < u->end;
}

static void unlink_from_outside(struct bt *bt, const struct unit *u,
				struct tu *tu)
{
	struct tu_exit *x, *next;

	for (x = tu->in; x; x = next) {
		next = x->next;
		if (is_inside(u, x->base))
			continue;
		link_clear(bt, x);
		wait_add(bt, x);
	}
	pad_unlink(bt, tu);
	tu->again = false;
}

static void unit_watch(struct bt *bt, struct unit *u)
{
	struct tu *tu;
	u32 i;

	u->watched = true;
	u->again = 0;
	bt->nwatched++;
	for (i = 0; i < u->ntu; i++) {
		tu = u->by_tpc[i];
		if (tu->kind == TU_CODE && !tu->dead)
			unlink_from_outside(bt, u, tu);
	}
}

void unit_unwatch(struct bt *bt, struct unit *u)
{
	if (!u->watched)
		return;
	u->watched = false;
	bt->nwatched--;
}

void evict_watched_touch(struct bt *bt, struct tu *tu)
{
	struct unit *u;

	if (tu->again)
		return;
	u = unit_of(bt, tu->off);
	if (!u->watched)
		return;
	tu->again = true;
	u->again++;
	link_waiting(bt, tu, tu->gpc, tu->off + tu->entry);
}

/* --- picking ------------------------------------------------------------------ */

static bool is_open(const struct bt *bt, const struct unit *u)
{
	u32 i;

	for (i = 0; i < GENS; i++) {
		if (bt->open[i] == u)
			return true;
	}
	return false;
}

static bool is_unused(const struct unit *u)
{
	return !u->live;
}

static bool is_used(const struct unit *u)
{
	return u->live;
}

static bool is_new(const struct unit *u)
{
	return u->live && u->gen == GEN_NEW;
}

static bool is_old(const struct unit *u)
{
	return u->live && u->gen == GEN_OLD;
}

static bool is_unwatched(const struct unit *u)
{
	return u->live && !u->watched;
}

/* Of the units that are not open and of this sort, the first filled; or NULL. */
static struct unit *first_filled(struct bt *bt,
				 bool (*sort)(const struct unit *u))
{
	struct unit *best = NULL, *u;

	for (u = bt->unit; u < bt->unit + bt->nunit; u++) {
		if (sort(u) && !is_open(bt, u) &&
		    (!best || u->born < best->born))
			best = u;
	}
	return best;
}

static void unit_evict(struct bt *bt, struct unit *u)
{
	if (u->live)
		bt->stats.evictions++;
	unit_kill(bt, u, BT_GONE_EVICTED);
}

static struct unit *pick_flush(struct bt *bt)
{
	u32 i;

	for (i = 0; i < bt->nunit; i++)
		unit_evict(bt, &bt->unit[i]);
	return first_filled(bt, is_unused);
}

static struct unit *pick_clock(struct bt *bt)
{
	struct unit *u = first_filled(bt, is_used);
	u32 tries;

	for (tries = bt->nwatched; tries; tries--) {
		if (!u->watched || u->again * SPARE_PART < u->live)
			break;
		unit_unwatch(bt, u);
		u->born = ++bt->clock;
		bt->stats.spared++;
		u = first_filled(bt, is_used);
	}
	return u;
}

/* A unit has been opened. If it was the last free one, watch whose turn is next. */
void evict_prepare(struct bt *bt)
{
	u32 want = max(bt->nunit / WATCH_PART, 1u);
	struct unit *u;

	if (bt->cfg.evict != BT_EVICT_CLOCK || first_filled(bt, is_unused))
		return;
	while (bt->nwatched < want) {
		u = first_filled(bt, is_unwatched);
		if (!u)
			return;
		unit_watch(bt, u);
	}
}

static struct unit *pick_generational(struct bt *bt)
{
	u32 limit = max(bt->nunit / NEW_PART, 2u), n = 0, i;
	struct unit *u;

	for (i = 0; i < bt->nunit; i++)
		n += is_new(&bt->unit[i]);
	u = first_filled(bt, n > limit ? is_new : is_old);
	return u ? u : first_filled(bt, is_used);
}

static struct unit *pick_victim(struct bt *bt)
{
	switch ((enum bt_evict)bt->cfg.evict) {
	case BT_EVICT_FLUSH:
		return pick_flush(bt);
	case BT_EVICT_CLOCK:
		return pick_clock(bt);
	case BT_EVICT_GENERATIONAL:
		return pick_generational(bt);
	case BT_EVICT_FIFO:
	case BT_EVICT_COUNT:
		break;
	}
	return first_filled(bt, is_used);
}

/*
 * The unit to be filled next, with nothing in use in it. NULL: there is none
 * without eviction, and the TU under way is not worth one.
 */
struct unit *evict_pick(struct bt *bt)
{
	struct unit *u = first_filled(bt, is_unused);

	if (!u) {
		if (bt->t.ahead)
			return NULL;
		u = pick_victim(bt);
		unit_evict(bt, u);
	}
	unit_unwatch(bt, u);
	return u;
}
