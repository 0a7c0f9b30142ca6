// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a tpc, which nobody has vouched for, back to the guest: exits, guest
 * state, and instruction boundaries in the middle of TUs.
 */
#include "bt.h"

#define MISS_INT3 (FIXED_MISS + 8u)

static bool tpc_to_off(const struct bt *bt, tpc_t tpc, u32 *off)
{
	u64 o = tpc - bt->tc_base;

	if (o >= bt->cfg.tc_size)
		return false;
	*off = (u32)o;
	return true;
}

bool bt_in_tc(const struct bt *bt, tpc_t tpc)
{
	u32 off;

	return tpc_to_off(bt, tpc, &off) ||
	       tpc - (bt->cfg.window + WINDOW_BOUNCE_CODE_OFF) <
		       WINDOW_BOUNCE_CODE_SIZE;
}

static void exit_fill(struct bt_exit *out, const struct tu *tu,
		      const struct tu_exit *x)
{
	out->kind = x->kind;
	out->mode = tu->mode;
	switch (x->kind) {
	case BT_EXIT_DIRECT:
		out->target = x->target;
		out->gpc = x->target;
		out->link = (void *)(uintptr_t)(x->base + x->stub + 1ul);
		break;
	case BT_EXIT_INDIRECT:
		out->link = (void *)(uintptr_t)(x->base + x->stub + 1ul);
		break;
	case BT_EXIT_CALLOUT:
	case BT_EXIT_UD:
		out->gpc = x->gpc;
		out->insn_len = x->len;
		memcpy(out->insn, x->insn, sizeof(out->insn));
		break;
	default:
		out->gpc = x->target;
		out->indirect = x->indirect;
		break;
	}
}

static void exit_find(struct bt *bt, u32 off, struct bt_exit *out)
{
	struct tu *tu;
	u32 i;

	if (off == MISS_INT3) {
		out->kind = BT_EXIT_INDIRECT;
		out->mode = BT_MODE_LONG;
		return;
	}
	tu = cache_find(bt, off);
	if (!tu || tu->kind != TU_CODE)
		return;
	if (tu->dead && !tu->left && off == tu->off + tu->entry) {
		out->kind = BT_EXIT_DIRECT;
		out->mode = tu->mode;
		out->gpc = out->target = tu->gpc;
		return;
	}
	for (i = 0; i < tu->nexit; i++) {
		const struct tu_exit *x = &tu->exit[i];

		if (tu->off + x->stub != off)
			continue;
		exit_fill(out, tu, x);
		if (x->form == FORM_SHORT && tu->dead) {
			out->kind = BT_EXIT_DIRECT;
			out->target = x->target;
		}
		return;
	}
}

void bt_exit_at(struct bt *bt, tpc_t tpc, struct bt_exit *out)
{
	u32 off;

	memset(out, 0, sizeof(*out));
	out->kind = BT_EXIT_NONE;
	if (tpc_to_off(bt, tpc, &off))
		exit_find(bt, off, out);
	else if (bt->bounce_end &&
		 tpc == bt->cfg.window + WINDOW_BOUNCE_CODE_OFF +
				bt->bounce_end)
		out->kind = BT_EXIT_BOUNCE;
	bt->stats.exits[out->kind]++;
}

/* The record that holds at off. */
static bool rec_at(const struct tu *tu, u32 off, struct bt_rec *out)
{
	struct rec_iter it;
	bool any = false;

	rec_iter_init(&it, tu);
	while (rec_iter_next(&it) && tu->off + it.rec.toff <= off) {
		*out = it.rec;
		any = true;
	}
	return any;
}

int bt_recover(struct bt *bt, tpc_t tpc, struct bt_state *out)
{
	struct bt_rec r = { 0 };
	struct tu *tu;
	u32 off;

	memset(out, 0, sizeof(*out));
	if (!tpc_to_off(bt, tpc, &off))
		return -ENOENT;
	if (off >= FIXED_MISS && off <= MISS_INT3) {
		out->indirect = true;
		out->branched = true;
		out->spilled = off == MISS_INT3 ? 0 : 1u << RCX;
		return 0;
	}
	tu = cache_find(bt, off);
	if (!tu || !rec_at(tu, off, &r))
		return -ENOENT;
	out->gpc = tu->gpc + (u64)(s64)r.goff;
	if (r.flags & REC_TARGET)
		out->gpc = tu->exit[r.exit].target;
	out->spilled = r.spilled;
	out->opaque = r.flags & REC_OPAQUE;
	out->indirect = r.flags & REC_INDIRECT;
	out->branched = r.flags & (REC_INDIRECT | REC_TARGET);
	out->irq_shadow = r.flags & REC_SHADOW;
	out->mode = tu->mode;
	return 0;
}

int bt_insn_before(struct bt *bt, tpc_t tpc, gva_t *gpc)
{
	struct bt_rec r;
	struct tu *tu;
	u32 off;

	if (!tpc_to_off(bt, tpc, &off))
		return -ENOENT;
	tu = cache_find(bt, off);
	if (!tu || off <= tu->off + tu->entry || !rec_at(tu, off - 1, &r))
		return -ENOENT;
	*gpc = tu->gpc + (u64)(s64)r.goff;
	return 0;
}

/* Where instruction gpc starts inside tu, as a TC offset; 0: nowhere. */
static u32 find_in_tu(const struct tu *tu, gva_t gpc)
{
	s64 goff = (s64)(gpc - tu->gpc);
	struct rec_iter it;

	rec_iter_init(&it, tu);
	while (rec_iter_next(&it)) {
		if (it.rec.flags == REC_BOUNDARY && it.rec.goff == goff)
			return tu->off + it.rec.toff;
	}
	return 0;
}

/* Is TC offset off the start of instruction gpc in tu? */
bool is_boundary(const struct tu *tu, u32 off, gva_t gpc)
{
	struct rec_iter it;

	rec_iter_init(&it, tu);
	while (rec_iter_next(&it)) {
		if (it.rec.flags == REC_BOUNDARY &&
		    tu->off + it.rec.toff == off)
			return tu->gpc + (u64)(s64)it.rec.goff == gpc;
	}
	return false;
}

/* The highest bit set at or below bit n of a page's bitmap; -1: none. */
static int bit_below(const u64 *map, int n)
{
	u64 word;
	int i;

	if (n < 0)
		return -1;
	i = n / 64;
	word = map[i] & (~0ull >> (63 - n % 64));
	while (!word) {
		if (!i)
			return -1;
		word = map[--i];
	}
	return i * 64 + 63 - __builtin_clzll(word);
}

/*
 * The boundary gpc in the middle of some TU of the page: of those that start a
 * little below it, the nearest first.
 */
static bool find_on_page(struct bt *bt, const struct cpage *cp, gva_t gpc,
			 u32 mode, struct tu **out, u32 *off)
{
	int at = (int)(gpc - cp->page), n = at;
	struct tu *tu;

	if (!(cp->starts[at / 64] >> (at % 64) & 1))
		return false;
	while ((n = bit_below(cp->heads, n - 1)) >= 0 &&
	       at - n < BT_TU_INSNS * BT_INSN_MAX) {
		tu = tu_lookup(bt, cp->page + (u32)n, mode);
		if (!tu || gpc - tu->gpc >= tu->glen)
			continue;
		*off = find_in_tu(tu, gpc);
		*out = tu;
		if (*off)
			return true;
	}
	return false;
}

/*
 * The live TU, and TC offset in it, at which instruction gpc starts with all
 * state exact: a TU's start, or its middle.
 */
bool find_place(struct bt *bt, gva_t gpc, u32 mode, struct tu **tu, u32 *off)
{
	gva_t page = gpc & POPF_PAGE_MASK;
	const struct cpage *cp;

	*tu = tu_lookup(bt, gpc, mode);
	if (*tu) {
		evict_touch(bt, *tu);
		*off = (*tu)->off + (*tu)->entry;
		return true;
	}
	for (cp = bt->by_gva[tu_page_bucket(page)]; cp; cp = cp->gva_next) {
		if (cp->page != page || !find_on_page(bt, cp, gpc, mode, tu, off))
			continue;
		evict_touch(bt, *tu);
		return true;
	}
	return false;
}

int bt_find(struct bt *bt, gva_t gpc, u32 mode, tpc_t *tpc)
{
	struct tu *tu;
	u32 off;

	if (!find_place(bt, gpc, mode, &tu, &off))
		return -ENOENT;
	*tpc = off_to_tpc(bt, off);
	return 0;
}
