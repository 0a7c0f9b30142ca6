// SPDX-License-Identifier: GPL-2.0-only
/*
 * Translating ahead: what a new TU will almost surely lead to is translated along
 * with it, because a trip to the monitor costs more than translating a TU.
 *
 * Only within pages that already have code, so that nothing is fetched, traced or
 * faulted that the guest has not touched; a bounded number at a time; and only
 * into free room, so that what was asked for stays.
 */
#include "bt.h"

/* Remember gpc; pad: it will be reached by a return. */
void ahead_add(struct bt *bt, gva_t gpc, bool pad)
{
	struct bt_ahead *a;

	if (bt->nahead >= BT_AHEAD)
		return;
	a = &bt->ahead[bt->nahead++];
	a->gpc = gpc;
	a->pad = pad;
}

static int translate_one_ahead(struct bt *bt, const struct bt_ahead *a,
			       u32 mode)
{
	struct tu *tu;
	u32 off;

	bt->t.ahead = true;
	if (!a->pad && find_target(bt, a->gpc, mode, &tu, &off))
		return 0;
	tu = tu_lookup(bt, a->gpc, mode);
	if (tu && !tu->pad)
		return pad_create(bt, tu);
	if (tu || !page_has_code(bt, a->gpc & POPF_PAGE_MASK))
		return 0;
	return translate(bt, a->gpc, mode, a->pad, &tu);
}

/* Translate what ahead_add() was told, and what that adds. */
void ahead_run(struct bt *bt, u32 mode)
{
	u32 i;
	int ret;

	for (i = 0; i < bt->nahead && !(mode & BT_MODE_STEP); i++) {
		struct bt_ahead a = bt->ahead[i];

		ret = translate_one_ahead(bt, &a, mode);
		if (ret == -ENOMEM || ret == -ENOSPC)
			break;
	}
	bt->nahead = 0;
	bt->t.ahead = false;
}
