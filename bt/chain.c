// SPDX-License-Identifier: GPL-2.0-only
/*
 * Links between TUs: a direct branch patched to jump to its target's code.
 *
 * Invariant: an exit with .to set is on .to's list and its site leads to .to's
 * entry; an exit without leads to its int3.
 */
#include "bt.h"

static void site_patch(struct bt *bt, const struct tu_exit *x, u32 to)
{
	u8 *site = off_to_host(bt, x->base + x->site);
	u32 len = x->form == FORM_JCC ? 6 : 5;
	u32 rel = to - (x->base + x->site + len);

	memcpy(site + len - 4, &rel, 4);
	if (x->form == FORM_JMP)
		*site = 0xe9;
}

/* Link x, which must be unlinked, to the live TU `to`. */
void link_set(struct bt *bt, struct tu_exit *x, struct tu *to)
{
	x->to = to;
	x->next = to->in;
	if (x->next)
		x->next->pprev = &x->next;
	x->pprev = &to->in;
	to->in = x;
	site_patch(bt, x, to->off + to->entry);
	bt->stats.chains++;
}

/* Undo link_set(). */
void link_clear(struct bt *bt, struct tu_exit *x)
{
	*x->pprev = x->next;
	if (x->next)
		x->next->pprev = x->pprev;
	x->to = NULL;
	x->next = NULL;
	x->pprev = NULL;
	if (x->form == FORM_JMP)
		*off_to_host(bt, x->base + x->site) = 0xcc;
	else
		site_patch(bt, x, x->base + x->stub);
	bt->stats.unchains++;
}
