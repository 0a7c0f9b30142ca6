// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stops: guest addresses that code must not run past unseen (the guest's
 * instruction breakpoints).
 *
 * Invariant: no TU but those of BT_MODE_STEP has an instruction at a stop. What
 * leads to one ends at a TU that is nothing but an exit.
 */
#include "bt.h"

static bool is_among(const gva_t *stops, u32 n, gva_t gpc)
{
	u32 i;

	for (i = 0; i < n; i++) {
		if (stops[i] == gpc)
			return true;
	}
	return false;
}

/* Does the TU under way end before gpc? */
bool stop_at(const struct bt *bt, gva_t gpc)
{
	return unlikely(bt->nstops) && !(bt->t.mode & BT_MODE_STEP) &&
	       is_among(bt->stop, bt->nstops, gpc);
}

void bt_set_stops(struct bt *bt, const gva_t *stops, u32 n)
{
	gva_t old[BT_STOPS];
	u32 i, nold = bt->nstops;

	n = min(n, BT_STOPS);
	memcpy(old, bt->stop, sizeof(old));
	memcpy(bt->stop, stops, n * sizeof(*stops));
	bt->nstops = n;
	for (i = 0; i < n; i++) {
		if (!is_among(old, nold, stops[i]))
			bt_invalidate_gva(bt, stops[i]);
	}
	for (i = 0; i < nold; i++) {
		if (!is_among(stops, n, old[i]))
			bt_invalidate_gva(bt, old[i]);
	}
}
