// SPDX-License-Identifier: GPL-2.0-only
/*
 * The translator's entry points: create and destroy, enter, chain, indirect,
 * flush, statistics.
 */
#include "bt.h"

static_assert(BT_TU_STOP + 768 < BT_TU_BYTES,
	      "one more instruction always fits a TU");
static_assert(BT_EXIT_BOUNCE < 8, "stats.exits[] has room for every kind");

static bool config_ok(const struct bt_config *cfg)
{
	u32 size = cfg->tc_size;

	if (size < 256u << 10 || size > 128u << 20 || size & 0xffff)
		return false;
	if (cfg->window & 0x1fffff || !fits_s32(cfg->window) ||
	    !fits_s32(cfg->window + WINDOW_TC_OFF + size - 1))
		return false;
	if (cfg->evict >= BT_EVICT_COUNT)
		return false;
	if (cfg->units && (cfg->units < BT_UNITS_MIN ||
			   cfg->units > BT_UNITS_MAX ||
			   size / cfg->units < BT_UNIT_SIZE_MIN))
		return false;
	return cfg->tc && cfg->ibl_tpc && cfg->bounce_code;
}

struct bt *bt_create(const struct bt_config *cfg, const struct bt_ops *ops,
		     void *opaque)
{
	struct bt *bt;
	u32 buckets = 1024;

	if (!config_ok(cfg))
		return NULL;
	bt = env_zalloc(sizeof(*bt));
	if (!bt)
		return NULL;
	while (buckets < cfg->tc_size / 128)
		buckets *= 2;
	bt->hash = env_zalloc(buckets * sizeof(*bt->hash));
	bt->wait = env_zalloc(buckets * sizeof(*bt->wait));
	bt->hash_mask = buckets - 1;
	bt->cfg = *cfg;
	bt->ops = ops;
	bt->opaque = opaque;
	bt->page_abs = (u32)cfg->window + WINDOW_VCPU_OFF;
	bt->table_abs = (u32)cfg->window + WINDOW_IBL_TPC_OFF;
	bt->tc_base = cfg->window + WINDOW_TC_OFF;
	if (!bt->hash || !bt->wait || cache_init(bt) || evict_init(bt) ||
	    ZYAN_FAILED(ZydisDecoderInit(&bt->decoder,
					 ZYDIS_MACHINE_MODE_LONG_64,
					 ZYDIS_STACK_WIDTH_64))) {
		bt_destroy(bt);
		return NULL;
	}
	/* MPX is not offered: its instructions are the NOPs they used to be. */
	ZydisDecoderEnableMode(&bt->decoder, ZYDIS_DECODER_MODE_MPX,
			       ZYAN_FALSE);
	ZydisDecoderEnableMode(&bt->decoder, ZYDIS_DECODER_MODE_AMD_BRANCHES,
			       cfg->amd_branches);
	ibl_init(bt);
	return bt;
}

void bt_destroy(struct bt *bt)
{
	if (!bt)
		return;
	if (bt->hash && bt->wait)
		cache_flush(bt);
	cache_exit(bt);
	evict_exit(bt);
	env_free(bt->hash);
	env_free(bt->wait);
	env_free(bt);
}

static void audit(struct bt *bt)
{
	if (bt->cfg.audit)
		bt_audit(bt);
}

/* Translate gpc, and what follows from it. */
static int enter_new(struct bt *bt, gva_t gpc, u32 mode, bool pad, tpc_t *tpc)
{
	struct tu *tu;
	int ret;

	bt->nahead = 0;
	bt->t.ahead = false;
	ret = translate(bt, gpc, mode, pad, &tu);
	if (!ret) {
		/* The TU is in the unit being filled: it outlives this. */
		*tpc = off_to_tpc(bt, tu->off + tu->entry);
		ahead_run(bt, mode);
	}
	cpage_reap(bt);
	audit(bt);
	return ret;
}

int bt_enter(struct bt *bt, gva_t gpc, u32 mode, tpc_t *tpc)
{
	bt->stats.lookups++;
	if (bt_find(bt, gpc, mode, tpc))
		return enter_new(bt, gpc, mode, false, tpc);
	bt->stats.lookup_hits++;
	return 0;
}

/* The exit that a link token stands for, if its TU is still there; or NULL. */
static struct tu_exit *link_resolve(struct bt *bt, const struct bt_exit *exit)
{
	uintptr_t token = (uintptr_t)exit->link;
	struct tu *tu;
	u32 i;

	if (!token || token > bt->cfg.tc_size)
		return NULL;
	tu = cache_find(bt, (u32)token - 1);
	if (!tu || tu->dead || tu->kind != TU_CODE || tu->mode != exit->mode)
		return NULL;
	for (i = 0; i < tu->nexit; i++) {
		struct tu_exit *x = &tu->exit[i];

		if (x->base + x->stub == token - 1)
			return x->kind == exit->kind ? x : NULL;
	}
	return NULL;
}

/*
 * Translating the target links the exit, which has been waiting for it. The target
 * can be there already: when the TU that the exit led to has been dropped and
 * another covers it too, or when the exit's own TU has been dropped.
 */
int bt_chain(struct bt *bt, const struct bt_exit *exit, tpc_t *tpc)
{
	struct tu_exit *x;
	struct tu *to;
	u32 off;

	bt->stats.lookups++;
	if (!find_target(bt, exit->target, exit->mode, &to, &off))
		return enter_new(bt, exit->target, exit->mode, false, tpc);
	bt->stats.lookup_hits++;
	x = link_resolve(bt, exit);
	if (x && !x->to && x->target == exit->target) {
		wait_del(bt, x);
		link_set(bt, x, to, off);
	}
	*tpc = off_to_tpc(bt, off);
	return 0;
}

int bt_indirect(struct bt *bt, gva_t target, u32 mode, tpc_t *tpc)
{
	struct tu *tu;
	int ret = 0;

	if (mode & BT_MODE_STEP)
		return bt_enter(bt, target, mode, tpc);
	bt->stats.lookups++;
	tu = tu_lookup(bt, target, mode);
	if (tu) {
		bt->stats.lookup_hits++;
		evict_touch(bt, tu);
		if (!tu->pad)
			ret = pad_create(bt, tu);
	}
	if (!tu || ret == -EAGAIN)
		return enter_new(bt, target, mode, true, tpc);
	cpage_reap(bt);
	audit(bt);
	*tpc = off_to_tpc(bt, tu->off + tu->entry);
	return ret;
}

void bt_learn(struct bt *bt, const struct bt_exit *exit, gva_t target)
{
	struct tu_exit *x = link_resolve(bt, exit);

	if (x && x->kind == BT_EXIT_INDIRECT)
		return_set(bt, x, target);
	audit(bt);
}

void bt_flush(struct bt *bt)
{
	bt->stats.flushes++;
	recording_dropped(bt, BT_DROPPED_ALL, 0, 0);
	cache_flush(bt);
	audit(bt);
}

void bt_set_fsgsbase(struct bt *bt, bool on)
{
	if (likely(bt->fsgsbase_off == !on))
		return;
	bt->fsgsbase_off = !on;
	bt_flush(bt);
}

const u64 *bt_top_slots(const struct bt *bt)
{
	return bt->top_slots;
}

void bt_get_stats(const struct bt *bt, struct bt_stats *out)
{
	u32 i;

	*out = bt->stats;
	out->tc_used = 0;
	for (i = 0; i < bt->nunit; i++)
		out->tc_used += bt->unit[i].used - bt->unit[i].start;
}
