// SPDX-License-Identifier: GPL-2.0-only
/*
 * Renewing the translation cache when the guest has settled.
 *
 * Code lies in the TC in the order in which it first ran, and what is dropped comes
 * back somewhere else. A kernel that has booted has patched half of itself: what one
 * interrupt runs through is spread over all of the cache, each piece with a TLB entry
 * and cache lines of its own; and most of what is there never runs again, though its
 * pages are traced. So once much has been dropped and nothing new comes any more, all
 * goes, once. What still runs comes back side by side, in the order in which it runs;
 * the memory that described the rest is given back.
 *
 * (Dynamo flushed its cache when much came at once, taking that for the start of a
 * phase: Bala, Duesterwald, Banerjia, PLDI 2000. This is the end of one.)
 *
 * In a guest that does not stop dropping code it costs at most one translation of what
 * it uses for each RENEW_DROPPED that were dropped anyway.
 */
#include "bt.h"

#define RENEW_DROPPED 2000u /* TUs since the last time: worth it */
#define RENEW_NEW 16u /* TUs since the last look: settled */

bool bt_renew(struct bt *bt)
{
	u64 fresh = bt->stats.tus_translated - bt->renew_seen;
	u64 dropped = bt->stats.invalidated_tus - bt->renew_dropped;

	bt->renew_seen = bt->stats.tus_translated;
	/* A recording has what the guest makes go, not this. */
	if (bt->recorder)
		return false;
	if (fresh > RENEW_NEW || dropped < RENEW_DROPPED)
		return false;
	bt->stats.renewals++;
	bt->settled = true;
	bt_flush(bt);
	if (bt->ops->vacant && bt->ops->vacant(bt->opaque))
		cache_release(bt);
	bt->renew_dropped = bt->stats.invalidated_tus;
	return true;
}
