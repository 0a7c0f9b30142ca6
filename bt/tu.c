// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which TUs there are: by gpc and mode, by guest page, by guest frame; and how
 * they go.
 *
 * A code page (struct cpage) is one gva page with the gfn it was fetched from,
 * and lists its TUs. Emptied ones wait on bt->empty until cpage_reap(), so that
 * walks over them can drop TUs as they go.
 */
#include "bt.h"

static u32 hash64(u64 v)
{
	return (u32)((v * 0x9e3779b97f4a7c15ull) >> 32);
}

u32 tu_hash(const struct bt *bt, gva_t gpc, u32 mode)
{
	return (hash64(gpc) ^ mode) & bt->hash_mask;
}

/* The TU that starts at gpc, or NULL. */
struct tu *tu_lookup(struct bt *bt, gva_t gpc, u32 mode)
{
	struct tu *tu = bt->hash[tu_hash(bt, gpc, mode)];

	while (tu && (tu->gpc != gpc || tu->mode != mode))
		tu = tu->hash_next;
	return tu;
}

/* --- code pages ----------------------------------------------------------- */

u32 tu_page_bucket(u64 v)
{
	return hash64(v >> POPF_PAGE_SHIFT) & (BT_CPAGE_BUCKETS - 1);
}

struct cpage *cpage_find(struct bt *bt, gva_t page, gfn_t gfn)
{
	struct cpage *cp = bt->by_gva[tu_page_bucket(page)];

	while (cp && (cp->page != page || cp->gfn != gfn))
		cp = cp->gva_next;
	return cp;
}

/* A cpage for (page, gfn) exists from here on, empty perhaps. 0 or -ENOMEM. */
int cpage_prepare(struct bt *bt, gva_t page, gfn_t gfn)
{
	struct cpage *cp = cpage_find(bt, page, gfn), **head;

	if (cp)
		return 0;
	cp = env_zalloc(sizeof(*cp));
	if (!cp)
		return -ENOMEM;
	cp->page = page;
	cp->gfn = gfn;
	head = &bt->by_gva[tu_page_bucket(page)];
	cp->gva_next = *head;
	*head = cp;
	head = &bt->by_gfn[tu_page_bucket(gfn_to_gpa(gfn))];
	cp->gfn_next = *head;
	*head = cp;
	cp->on_empty = true;
	cp->empty_next = bt->empty;
	bt->empty = cp;
	return 0;
}

static bool gfn_is_known(const struct bt *bt, gfn_t gfn)
{
	const struct cpage *cp = bt->by_gfn[tu_page_bucket(gfn_to_gpa(gfn))];

	while (cp && cp->gfn != gfn)
		cp = cp->gfn_next;
	return cp;
}

static void cpage_free(struct bt *bt, struct cpage *cp)
{
	struct cpage **p = &bt->by_gva[tu_page_bucket(cp->page)];

	while (*p != cp)
		p = &(*p)->gva_next;
	*p = cp->gva_next;
	p = &bt->by_gfn[tu_page_bucket(gfn_to_gpa(cp->gfn))];
	while (*p != cp)
		p = &(*p)->gfn_next;
	*p = cp->gfn_next;
	if (!gfn_is_known(bt, cp->gfn))
		bt->ops->untrace(bt->opaque, cp->gfn);
	env_free(cp);
}

/* Free the code pages that have become empty and stayed so. */
void cpage_reap(struct bt *bt)
{
	struct cpage *cp;

	while ((cp = bt->empty)) {
		bt->empty = cp->empty_next;
		cp->on_empty = false;
		if (!cp->tus)
			cpage_free(bt, cp);
	}
}

bool bt_gfn_has_code(const struct bt *bt, gfn_t gfn)
{
	const struct cpage *cp = bt->by_gfn[tu_page_bucket(gfn_to_gpa(gfn))];

	for (; cp; cp = cp->gfn_next) {
		if (cp->gfn == gfn && cp->tus)
			return true;
	}
	return false;
}

/* Bytes [*from, *to) of its page number n that the TU covers; *to == 0: none. */
static void tu_span(const struct tu *tu, u32 n, u32 *from, u32 *to)
{
	u32 start = (u32)tu->gpc & (POPF_PAGE_SIZE - 1);
	u32 end = start + max(tu->glen, (u16)1);

	if (!n) {
		*from = start;
		*to = min(end, (u32)POPF_PAGE_SIZE);
	} else {
		*from = 0;
		*to = end > POPF_PAGE_SIZE ? end - POPF_PAGE_SIZE : 0;
	}
}

static u64 cover_bits(u32 from, u32 to)
{
	u32 a = from >> 6, b = (to - 1) >> 6;

	return (~0ull >> (63 - (b - a))) << a;
}

static void page_add(struct bt *bt, struct tu *tu, u32 n, gva_t page, gfn_t gfn)
{
	struct cpage *cp = cpage_find(bt, page, gfn);
	struct tu_page *tp = &tu->page[n];
	u32 from, to;

	tp->cp = cp;
	tp->next = cp->tus;
	if (tp->next)
		tp->next->page[tp->next->page[0].cp == cp ? 0 : 1].pprev =
			&tp->next;
	tp->pprev = &cp->tus;
	cp->tus = tu;
	cp->count++;
	tu_span(tu, n, &from, &to);
	if (to)
		cp->cover |= cover_bits(from, to);
}

static void page_del(struct bt *bt, struct tu *tu, u32 n)
{
	struct tu_page *tp = &tu->page[n];
	struct cpage *cp = tp->cp;
	struct tu *next = tp->next;

	if (!cp)
		return;
	*tp->pprev = next;
	if (next)
		next->page[next->page[0].cp == cp ? 0 : 1].pprev = tp->pprev;
	cp->count--;
	tp->cp = NULL;
	if (cp->tus)
		return;
	cp->cover = 0;
	memset(cp->starts, 0, sizeof(cp->starts));
	if (!cp->on_empty) {
		cp->on_empty = true;
		cp->empty_next = bt->empty;
		bt->empty = cp;
	}
}

/* The TU after tu on cp's list. */
struct tu *tu_page_next(const struct cpage *cp, const struct tu *tu)
{
	return tu->page[tu->page[0].cp == cp ? 0 : 1].next;
}

/* --- coming and going ------------------------------------------------------ */

/*
 * The same gva page fetched from another frame than before without anybody
 * having said so: what was there is stale.
 */
static void drop_other_frames(struct bt *bt, gva_t page, gfn_t gfn)
{
	struct cpage *cp = bt->by_gva[tu_page_bucket(page)];

	for (; cp; cp = cp->gva_next) {
		if (cp->page != page || cp->gfn == gfn)
			continue;
		while (cp->tus)
			tu_kill(bt, cp->tus);
	}
}

static void top_slot_count(struct bt *bt, gva_t gpc, int by)
{
	u32 slot = (gpc >> 39) & 511;

	bt->top_count[slot] += (u32)by;
	if (bt->top_count[slot])
		bt->top_slots[slot / 64] |= 1ull << (slot % 64);
	else
		bt->top_slots[slot / 64] &= ~(1ull << (slot % 64));
}

/* Note where its instructions start, for bt_find(); bt->rec[] is still there. */
static void note_starts(struct bt *bt, struct cpage *cp, u32 first)
{
	u32 i, at;

	for (i = 0; i < bt->t.nrec; i++) {
		if (bt->rec[i].flags != REC_BOUNDARY)
			continue;
		at = first + (u32)bt->rec[i].goff;
		if (at < POPF_PAGE_SIZE)
			cp->starts[at / 64] |= 1ull << (at % 64);
	}
}

/* Make the TU findable. gfn[1] is GFN_NONE if it has one page. 0 or -ENOMEM. */
int tu_insert(struct bt *bt, struct tu *tu, const gfn_t *gfn)
{
	gva_t page = tu->gpc & POPF_PAGE_MASK;
	struct tu **head;

	if (cpage_prepare(bt, page, gfn[0]))
		return -ENOMEM;
	if (gfn[1] != GFN_NONE &&
	    cpage_prepare(bt, page + POPF_PAGE_SIZE, gfn[1]))
		return -ENOMEM;
	drop_other_frames(bt, page, gfn[0]);
	page_add(bt, tu, 0, page, gfn[0]);
	note_starts(bt, tu->page[0].cp, (u32)(tu->gpc - page));
	if (gfn[1] != GFN_NONE) {
		drop_other_frames(bt, page + POPF_PAGE_SIZE, gfn[1]);
		page_add(bt, tu, 1, page + POPF_PAGE_SIZE, gfn[1]);
	}
	head = &bt->hash[tu_hash(bt, tu->gpc, tu->mode)];
	tu->hash_next = *head;
	*head = tu;
	top_slot_count(bt, tu->gpc, 1);
	bt->stats.tus_live++;
	return 0;
}

/* Drop a live TU. Its code stays, its first byte leads out. */
void tu_kill(struct bt *bt, struct tu *tu)
{
	struct tu **p = &bt->hash[tu_hash(bt, tu->gpc, tu->mode)];
	u32 i;

	while (*p != tu)
		p = &(*p)->hash_next;
	*p = tu->hash_next;
	while (tu->in)
		link_clear(bt, tu->in);
	for (i = 0; i < tu->nexit; i++) {
		struct tu_exit *x = &tu->exit[i];

		if (x->kind == BT_EXIT_DIRECT && x->to)
			link_clear(bt, x);
	}
	pad_unlink(bt, tu);
	page_del(bt, tu, 0);
	page_del(bt, tu, 1);
	top_slot_count(bt, tu->gpc, -1);
	*off_to_host(bt, tu->off + tu->entry) = 0xcc;
	tu->dead = true;
	bt->stats.tus_live--;
	bt->stats.invalidated_tus++;
}

static u32 cpage_kill(struct bt *bt, struct cpage *cp)
{
	u32 n = 0;

	while (cp->tus) {
		tu_kill(bt, cp->tus);
		n++;
	}
	return n;
}

static u32 cpage_kill_span(struct bt *bt, struct cpage *cp, u32 from, u32 to)
{
	struct tu *tu, *next;
	u32 n = 0, a, b;

	if (!(cp->cover & cover_bits(from, to)))
		return 0;
	for (tu = cp->tus; tu; tu = next) {
		next = tu_page_next(cp, tu);
		tu_span(tu, tu->page[0].cp == cp ? 0 : 1, &a, &b);
		if (a < to && from < b) {
			tu_kill(bt, tu);
			n++;
		}
	}
	return n;
}

u32 bt_invalidate_gpa(struct bt *bt, gpa_t gpa, u32 len)
{
	struct cpage *cp;
	gpa_t end = gpa + len;
	u32 n = 0, from, to;
	gfn_t gfn;

	for (; gpa < end; gpa = gfn_to_gpa(gfn + 1)) {
		gfn = gpa_to_gfn(gpa);
		from = (u32)(gpa - gfn_to_gpa(gfn));
		to = end >= gfn_to_gpa(gfn + 1) ?
			     (u32)POPF_PAGE_SIZE :
			     (u32)(end - gfn_to_gpa(gfn));
		cp = bt->by_gfn[tu_page_bucket(gfn_to_gpa(gfn))];
		for (; cp; cp = cp->gfn_next) {
			if (cp->gfn == gfn)
				n += cpage_kill_span(bt, cp, from, to);
		}
	}
	cpage_reap(bt);
	if (bt->cfg.audit)
		bt_audit(bt);
	return n;
}

u32 bt_invalidate_gva(struct bt *bt, gva_t gva)
{
	gva_t page = gva & POPF_PAGE_MASK;
	struct cpage *cp = bt->by_gva[tu_page_bucket(page)];
	u32 n = 0;

	for (; cp; cp = cp->gva_next) {
		if (cp->page == page)
			n += cpage_kill(bt, cp);
	}
	cpage_reap(bt);
	if (bt->cfg.audit)
		bt_audit(bt);
	return n;
}

u32 bt_invalidate_gva_range(struct bt *bt, gva_t start, gva_t last)
{
	struct cpage *cp;
	u32 i, n = 0;

	for (i = 0; i < BT_CPAGE_BUCKETS; i++) {
		for (cp = bt->by_gva[i]; cp; cp = cp->gva_next) {
			if (cp->page >= (start & POPF_PAGE_MASK) &&
			    cp->page <= last)
				n += cpage_kill(bt, cp);
		}
	}
	cpage_reap(bt);
	return n;
}

void bt_revalidate(struct bt *bt,
		   bool (*cb)(void *arg, gva_t gva_page, gfn_t gfn), void *arg)
{
	struct cpage *cp;
	u32 i;

	for (i = 0; i < BT_CPAGE_BUCKETS; i++) {
		for (cp = bt->by_gva[i]; cp; cp = cp->gva_next) {
			if (cp->tus && !cb(arg, cp->page, cp->gfn))
				cpage_kill(bt, cp);
		}
	}
	cpage_reap(bt);
	if (bt->cfg.audit)
		bt_audit(bt);
}
