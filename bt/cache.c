// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of the TC and of what describes it.
 *
 * The TC is bt->nunit units. Each is filled, and recycled as a whole when its turn
 * comes (evict.c). A unit owns an arena for its TUs' metadata and an array of its
 * TUs in the order of their code, for finding a TU by tpc.
 *
 * A flush only kills the TUs and closes the open units: their bytes stay until
 * their unit's turn comes, so that a vCPU which was interrupted in one of them
 * can still run to its next exit.
 */
#include "bt.h"

/* Worst case of one TU's metadata. */
#define TU_META (sizeof(struct tu) + BT_TU_EXITS * sizeof(struct tu_exit) + \
		 BT_TU_RECS * 8 + 8)

static void fixed_init(struct bt *bt)
{
	u8 *p = bt->cfg.tc;
	u32 spill = VP_SPILL(bt, RCX), i;
	/* mov rcx, [spill]; int3 */
	static const u8 miss[] = { 0x48, 0x8b, 0x0c, 0x25 };

	memset(p, 0xcc, FIXED_SIZE);
	for (i = 0; i < 256; i++) {
		/* TF, IOPL, NT */
		p[FIXED_SLOW_FLAGS + i] = (i & 0x71) != 0;
		p[FIXED_IF_BYTE + i] = i & 2;
	}
	memcpy(p + FIXED_MISS, miss, sizeof(miss));
	memcpy(p + FIXED_MISS + 4, &spill, 4);
}

int cache_init(struct bt *bt)
{
	u32 i;

	bt->nunit = bt->cfg.units ? bt->cfg.units : BT_UNITS;
	bt->unit_size = bt->cfg.tc_size / bt->nunit & ~(TU_ALIGN - 1);
	bt->arena_size = max(bt->unit_size * 2, 65536u);
	bt->max_tus = bt->unit_size / 40;
	for (i = 0; i < bt->nunit; i++) {
		struct unit *u = &bt->unit[i];

		u->start = i * bt->unit_size;
		u->end = u->start + bt->unit_size;
		if (!i)
			u->start = FIXED_SIZE;
		u->used = u->start;
	}
	fixed_init(bt);
	return 0;
}

/*
 * Fill a unit with INT3s: in words, because each store to memory that has been
 * executed costs much more than a store, on real CPUs and far more where the host
 * itself is emulated.
 */
static void unit_fill(struct bt *bt, const struct unit *u)
{
	u64 *to = (u64 *)off_to_host(bt, u->start);
	u32 i;

	for (i = 0; i < (u->end - u->start) / 8; i++)
		WRITE_ONCE(to[i], 0xccccccccccccccccull);
}

/*
 * What describes the TUs, all dead: when nobody is in their code, to leave it by one
 * of its exits.
 */
void cache_release(struct bt *bt)
{
	struct unit *u;

	for (u = bt->unit; u < bt->unit + bt->nunit; u++) {
		env_free(u->arena);
		env_free(u->by_tpc);
		u->arena = NULL;
		u->by_tpc = NULL;
		u->ntu = 0;
	}
}

/*
 * What was executed is filled, so that whoever gets the memory next does not pay for
 * that byte by byte.
 */
void cache_exit(struct bt *bt)
{
	struct unit *u;

	for (u = bt->unit; u < bt->unit + bt->nunit; u++) {
		if (u->born)
			unit_fill(bt, u);
	}
	cache_release(bt);
}

struct unit *unit_of(struct bt *bt, u32 off)
{
	return &bt->unit[min(off / bt->unit_size, bt->nunit - 1)];
}

static void unit_detach(struct bt *bt, const struct unit *u)
{
	u32 i;

	for (i = 0; i < u->ntu; i++) {
		if (u->by_tpc[i]->kind == TU_CODE && !u->by_tpc[i]->dead)
			tu_detach(bt, u->by_tpc[i]);
	}
}

/* Drop all that lives in the unit. */
void unit_kill(struct bt *bt, struct unit *u, enum bt_gone why)
{
	u32 i;

	unit_detach(bt, u);
	for (i = 0; i < u->ntu; i++) {
		struct tu *tu = u->by_tpc[i];

		if (tu->kind == TU_PAD) {
			if (tu->owner)
				pad_unlink(bt, tu->owner);
		} else if (!tu->dead) {
			tu_kill(bt, tu, why);
		}
	}
	env_bug_on(u->live);
}

static int unit_recycle(struct bt *bt, struct unit *u, enum bt_gen gen)
{
	cpage_reap(bt);
	u->gen = gen;
	u->born = ++bt->clock;
	u->ntu = 0;
	u->arena_used = 0;
	u->used = u->start;
	if (!u->arena)
		u->arena = env_zalloc(bt->arena_size);
	if (!u->by_tpc)
		u->by_tpc = env_zalloc(bt->max_tus * sizeof(*u->by_tpc));
	if (!u->arena || !u->by_tpc)
		return -ENOMEM;
	unit_fill(bt, u);
	return 0;
}

static bool unit_has_room(const struct bt *bt, const struct unit *u)
{
	return u->arena && u->by_tpc && u->ntu < bt->max_tus &&
	       u->used + BT_TU_BYTES + BT_SHIFT_MAX <= u->end &&
	       u->arena_used + TU_META <= bt->arena_size;
}

/*
 * Find room for one TU of any size in a unit of this generation, evicting if need
 * be. *off: where its code goes. 0; -ENOMEM; -ENOSPC: nobody has asked for the TU
 * yet, and for that nothing is evicted.
 */
int cache_begin(struct bt *bt, enum bt_gen gen, u32 *off)
{
	struct unit *u = bt->open[gen];
	int ret;

	if (!u || !unit_has_room(bt, u)) {
		u = evict_pick(bt);
		if (!u)
			return -ENOSPC;
		ret = unit_recycle(bt, u, gen);
		if (ret)
			return ret;
		bt->open[gen] = u;
		evict_prepare(bt);
	}
	bt->filling = u;
	*off = u->used;
	return 0;
}

/* Code is put together in a buffer and moved into the TC in words: unit_fill(). */
static void cache_move_code(struct bt *bt, u32 off, u32 len)
{
	u64 *to = (u64 *)off_to_host(bt, off);
	u32 i;

	for (i = 0; i < (len + 7) / 8; i++)
		WRITE_ONCE(to[i], bt->code[i]);
}

/*
 * Keep what was emitted at off, len bytes of code, as a TU. Copies bt->exit[] and
 * bt->packed[]. Cannot fail after cache_begin().
 */
struct tu *cache_alloc_tu(struct bt *bt, u32 off, u32 len, u32 nexit,
			  u32 rec_len)
{
	struct unit *u = bt->filling;
	struct tu *tu = (struct tu *)(u->arena + u->arena_used);
	size_t size = sizeof(*tu) + nexit * sizeof(tu->exit[0]);

	memset(tu, 0, sizeof(*tu));
	memcpy(tu->exit, bt->exit, nexit * sizeof(tu->exit[0]));
	memcpy((u8 *)tu + size, bt->packed, rec_len);
	cache_move_code(bt, off, len);
	tu->off = off;
	tu->len = (u16)len;
	tu->nexit = (u8)nexit;
	tu->rec_len = (u16)rec_len;
	u->arena_used += (u32)((size + rec_len + 7) & ~7ul);
	u->by_tpc[u->ntu++] = tu;
	u->live++;
	u->used = (off + len + TU_ALIGN - 1) & ~(TU_ALIGN - 1);
	return tu;
}

/* The TU, dead or alive, whose code covers TC offset off; NULL: none. */
struct tu *cache_find(struct bt *bt, u32 off)
{
	struct unit *u;
	u32 lo = 0, hi, mid;

	if (off >= bt->cfg.tc_size)
		return NULL;
	u = unit_of(bt, off);
	hi = u->ntu;
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (u->by_tpc[mid]->off <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return NULL;
	return off - u->by_tpc[lo - 1]->off < u->by_tpc[lo - 1]->len ?
		       u->by_tpc[lo - 1] :
		       NULL;
}

void cache_flush(struct bt *bt)
{
	u32 i;

	for (i = 0; i < bt->nunit; i++)
		unit_detach(bt, &bt->unit[i]);
	for (i = 0; i < bt->nunit; i++)
		unit_kill(bt, &bt->unit[i], BT_GONE_INVALIDATED);
	cpage_reap(bt);
	for (i = 0; i < GENS; i++) {
		if (bt->open[i])
			bt->open[i]->used = bt->open[i]->end;
	}
}
