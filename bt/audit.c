// SPDX-License-Identifier: GPL-2.0-only
/*
 * Are all structures consistent? The numbers in the reports are those of the
 * checks below.
 *
 *  1. A unit's TUs ascend without overlap.
 *  2. A live TU is in the hash, and the hash holds live TUs only.
 *  3. A live TU is on the list of each page it covers, and counted.
 *  4. A linked exit's code leads to a boundary of its target and it is on the
 *     target's list; an unlinked one leads to its int3 and waits.
 *  5. A dead TU has no links and starts with an int3.
 *  6. Every entry of the indirect table starts a chain of pads of live TUs with
 *     that index whose code agrees, and every live TU with a pad is in one.
 *  7. A unit's count of what is in use there is right; a pad of its own belongs to
 *     a live TU that knows it.
 */
#include "bt.h"

struct audit {
	struct bt *bt;
	u32 live;
	u32 pads;
	bool bad;
};

static void offence(struct audit *a, int check, const char *what, u64 value)
{
	if (!a->bad)
		env_warn("bt audit: check %d: %s (%llx)", check, what,
			 (unsigned long long)value);
	a->bad = true;
}

static u32 rel_target(struct bt *bt, u32 at)
{
	u32 rel;

	memcpy(&rel, off_to_host(bt, at), 4);
	return at + 4 + rel;
}

static bool on_list(const struct tu_exit *x)
{
	const struct tu_exit *p = x->to->in;

	while (p && p != x)
		p = p->next;
	return p;
}

static void audit_exit(struct audit *a, const struct tu_exit *x)
{
	struct bt *bt = a->bt;
	u32 site = x->base + x->site, stub = x->base + x->stub, leads;

	if (x->kind != BT_EXIT_DIRECT)
		return;
	if (x->form == FORM_JCC)
		leads = rel_target(bt, site + 2);
	else if (*off_to_host(bt, site) == 0xe9)
		leads = rel_target(bt, site + 1);
	else
		leads = *off_to_host(bt, site) == 0xcc ? stub : 0;
	if (!x->to) {
		if (leads != stub || *off_to_host(bt, stub) != 0xcc)
			offence(a, 4, "waiting exit leads elsewhere", site);
		if (!is_waiting(bt, x))
			offence(a, 4, "exit neither linked nor waiting", site);
		return;
	}
	if (x->to->dead)
		offence(a, 4, "link to a dead TU", site);
	else if ((x->target != x->to->gpc ||
		  leads != x->to->off + x->to->entry) &&
		 !is_boundary(x->to, leads, x->target))
		offence(a, 4, "link leads elsewhere", site);
	if (!on_list(x))
		offence(a, 4, "link without back-link", site);
}

static bool on_page(const struct tu *tu, u32 n)
{
	const struct tu *p = tu->cp[n]->tus;

	while (p && p != tu)
		p = tu_page_next(tu->cp[n], p);
	return p;
}

static void audit_tu(struct audit *a, struct tu *tu)
{
	u32 i;

	for (i = 0; i < tu->nexit; i++) {
		if (tu->dead && tu->exit[i].kind == BT_EXIT_DIRECT &&
		    tu->exit[i].to)
			offence(a, 5, "dead TU with a link", tu->off);
		if (tu->dead && !tu->left && tu->exit[i].form == FORM_SHORT &&
		    *off_to_host(a->bt, tu->off + tu->exit[i].site) != 0xcc)
			offence(a, 5, "dead TU with a loop", tu->off);
		if (!tu->dead)
			audit_exit(a, &tu->exit[i]);
	}
	if (tu->dead) {
		if (tu->in || tu->pad ||
		    (!tu->left &&
		     *off_to_host(a->bt, tu->off + tu->entry) != 0xcc))
			offence(a, 5, "dead TU can be reached", tu->off);
		return;
	}
	a->live++;
	a->pads += tu->pad != 0;
	if (tu_lookup(a->bt, tu->gpc, tu->mode) != tu)
		offence(a, 2, "live TU not in the hash", tu->gpc);
	for (i = 0; i < 2; i++) {
		if (tu->cp[i] && !on_page(tu, i))
			offence(a, 3, "live TU not on its page", tu->gpc);
	}
	if (!tu->cp[0])
		offence(a, 3, "live TU without a page", tu->gpc);
}

static void audit_units(struct audit *a)
{
	struct bt *bt = a->bt;
	u32 i, k, end, live;

	for (i = 0; i < bt->nunit; i++) {
		end = bt->unit[i].start;
		live = 0;
		for (k = 0; k < bt->unit[i].ntu; k++) {
			struct tu *tu = bt->unit[i].by_tpc[k];

			if (tu->off < end || tu->off + tu->len >
						     bt->unit[i].end)
				offence(a, 1, "TU out of order", tu->off);
			end = tu->off + tu->len;
			if (tu->kind == TU_CODE)
				audit_tu(a, tu);
			live += tu->kind == TU_CODE ? !tu->dead : !!tu->owner;
			if (tu->kind == TU_PAD && tu->owner &&
			    tu->owner->pad != tu->off)
				offence(a, 7, "pad of another's", tu->off);
		}
		if (live != bt->unit[i].live)
			offence(a, 7, "number of TUs in use of unit", i);
	}
	if (a->live != bt->stats.tus_live)
		offence(a, 2, "number of live TUs", a->live);
}

static void audit_hash(struct audit *a)
{
	struct bt *bt = a->bt;
	const struct tu *tu;
	u32 i, n = 0;

	for (i = 0; i <= bt->hash_mask; i++) {
		for (tu = bt->hash[i]; tu; tu = tu->hash_next) {
			n++;
			if (tu->dead || tu->kind != TU_CODE)
				offence(a, 2, "dead TU in the hash", tu->gpc);
		}
	}
	if (n != bt->stats.tus_live)
		offence(a, 2, "number of hashed TUs", n);
}

static void audit_pages(struct audit *a)
{
	const struct cpage *cp;
	const struct tu *tu;
	u32 i, n;

	for (i = 0; i < BT_CPAGE_BUCKETS; i++) {
		for (cp = a->bt->by_gva[i]; cp; cp = cp->gva_next) {
			for (n = 0, tu = cp->tus; tu;
			     tu = tu_page_next(cp, tu), n++) {
				if (tu->dead)
					offence(a, 3, "dead TU on a page",
						tu->gpc);
			}
			if (n != cp->count)
				offence(a, 3, "TU count of page", cp->page);
		}
	}
}

static void audit_ibl(struct audit *a)
{
	struct bt *bt = a->bt;
	u32 i, want;
	u32 n = 0;

	for (i = 0; i < WINDOW_IBL_ENTRIES; i++) {
		struct tu *tu;

		/* Nearly all of them. */
		if (bt->cfg.ibl_tpc[i] == off_to_tpc(bt, FIXED_MISS))
			continue;
		tu = pad_owner(bt, bt->cfg.ibl_tpc[i]);
		if (tu && off_to_tpc(bt, tu->pad) != bt->cfg.ibl_tpc[i])
			offence(a, 6, "table entry is not the pad", i);
		for (; tu; tu = tu->pad_next) {
			n++;
			want = tu->pad_next ? tu->pad_next->pad : FIXED_MISS;
			if (tu->dead)
				offence(a, 6, "pad of a dead TU", i);
			if ((tu->gpc & (WINDOW_IBL_ENTRIES - 1)) != i)
				offence(a, 6, "pad in the wrong chain", i);
			if (rel_target(bt, pad_site(tu) + 1) != want)
				offence(a, 6, "pad leads elsewhere", i);
		}
	}
	if (n != a->pads)
		offence(a, 6, "pads outside the chains", a->pads);
}

static void audit_waiting(struct audit *a)
{
	struct bt *bt = a->bt;
	const struct tu_exit *x;
	const struct tu *tu;
	u32 i;

	for (i = 0; i <= bt->hash_mask; i++) {
		for (x = bt->wait[i]; x; x = x->next) {
			tu = cache_find(bt, x->base);
			if (!tu || tu->dead || x->to)
				offence(a, 4, "odd exit waits", x->base);
		}
	}
}

bool bt_audit(struct bt *bt)
{
	struct audit a = { .bt = bt };

	audit_hash(&a);
	audit_units(&a);
	audit_pages(&a);
	audit_ibl(&a);
	audit_waiting(&a);
	env_bug_on(a.bad);
	return !a.bad;
}
