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

static struct cpage *cpage_find(struct bt *bt, gva_t page, gfn_t gfn)
{
	struct cpage *cp = bt->by_gva[tu_page_bucket(page)];

	while (cp && (cp->page != page || cp->gfn != gfn))
		cp = cp->gva_next;
	return cp;
}

/* The cpage for (page, gfn), new and empty perhaps; NULL: no memory. */
static struct cpage *cpage_get(struct bt *bt, gva_t page, gfn_t gfn)
{
	struct cpage *cp = cpage_find(bt, page, gfn), **head;

	if (cp)
		return cp;
	cp = env_zalloc(sizeof(*cp));
	if (!cp)
		return NULL;
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
	return cp;
}

/* Does any TU lie in this guest page? */
bool page_has_code(const struct bt *bt, gva_t page)
{
	const struct cpage *cp = bt->by_gva[tu_page_bucket(page)];

	while (cp && !(cp->page == page && cp->tus))
		cp = cp->gva_next;
	return cp;
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
	u32 at = (u32)tu->gpc & (POPF_PAGE_SIZE - 1);
	u32 start = at - tu->back, end = at + max(tu->glen, (u16)1);

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

static void page_add(struct bt *bt, struct tu *tu, u32 n, struct cpage *cp)
{
	u32 from, to;

	tu->cp[n] = cp;
	tu->page_next[n] = cp->tus;
	cp->tus = tu;
	cp->count++;
	tu_span(tu, n, &from, &to);
	if (to)
		cp->cover |= cover_bits(from, to);
}

/* The TU after tu on cp's list. */
struct tu *tu_page_next(const struct cpage *cp, const struct tu *tu)
{
	return tu->page_next[tu->cp[0] == cp ? 0 : 1];
}

static struct tu **page_next_slot(const struct cpage *cp, struct tu *tu)
{
	return &tu->page_next[tu->cp[0] == cp ? 0 : 1];
}

static void page_del(struct bt *bt, struct tu *tu, u32 n)
{
	struct cpage *cp = tu->cp[n];
	struct tu **p;

	if (!cp)
		return;
	p = &cp->tus;
	while (*p != tu)
		p = page_next_slot(cp, *p);
	*p = tu->page_next[n];
	cp->count--;
	tu->cp[n] = NULL;
	if (cp->tus)
		return;
	cp->cover = 0;
	memset(cp->starts, 0, sizeof(cp->starts));
	memset(cp->heads, 0, sizeof(cp->heads));
	if (!cp->on_empty) {
		cp->on_empty = true;
		cp->empty_next = bt->empty;
		bt->empty = cp;
	}
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
			tu_kill(bt, cp->tus, BT_GONE_INVALIDATED);
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

/*
 * For each of its instructions: note that it starts there, for find_place(), and
 * link the exits that wait for it. bt->rec[] still describes the TU.
 */
static void note_starts(struct bt *bt, struct tu *tu)
{
	u32 first = (u32)(tu->gpc - tu->cp[0]->page), at, i;

	tu->cp[0]->heads[first / 64] |= 1ull << (first % 64);
	/* Its own record may say "at the target" already, if it is a jmp. */
	link_waiting(bt, tu, tu->gpc, tu->off + tu->entry);
	for (i = 0; i < bt->t.nrec; i++) {
		const struct bt_rec *r = &bt->rec[i];

		if (r->flags != REC_BOUNDARY)
			continue;
		at = first + (u32)r->goff;
		/* find_place() looks in front of what it has been asked for. */
		if (at < POPF_PAGE_SIZE &&
		    (!bt->t.first_run || i < bt->t.first_run))
			tu->cp[0]->starts[at / 64] |= 1ull << (at % 64);
		if (unlikely(bt->recorder))
			continue;
		link_waiting(bt, tu, tu->gpc + (u64)(s64)r->goff,
			     tu->off + r->toff);
	}
}

/*
 * The code pages of a TU to be made at gpc, from gfn[0] and, unless it is
 * GFN_NONE, gfn[1]; cp[1] is NULL then. 0 or -ENOMEM.
 */
int tu_pages(struct bt *bt, gva_t gpc, const gfn_t *gfn, struct cpage **cp)
{
	gva_t page = gpc & POPF_PAGE_MASK;
	u32 i;

	cp[0] = cp[1] = NULL;
	for (i = 0; i < 2 && gfn[i] != GFN_NONE; i++) {
		cp[i] = cpage_get(bt, page + i * POPF_PAGE_SIZE, gfn[i]);
		if (!cp[i])
			return -ENOMEM;
		drop_other_frames(bt, cp[i]->page, gfn[i]);
	}
	return 0;
}

/* Make the TU findable, and link what waits for it and what it leads to. */
void tu_insert(struct bt *bt, struct tu *tu, struct cpage *const *cp)
{
	struct tu **head = &bt->hash[tu_hash(bt, tu->gpc, tu->mode)];
	u32 i;

	for (i = 0; i < 2 && cp[i]; i++)
		page_add(bt, tu, i, cp[i]);
	tu->hash_next = *head;
	*head = tu;
	link_adopt(bt, tu);
	note_starts(bt, tu);
	top_slot_count(bt, tu->gpc, 1);
	bt->stats.tus_live++;
}

/*
 * Take a TU that will be dropped off all lists of exits. Of several, all first: so
 * that no link among them is cleared by storing to it.
 */
void tu_detach(struct bt *bt, struct tu *tu)
{
	struct tu_exit *x;
	u32 i;

	if (tu->detached)
		return;
	tu->detached = true;
	tu->left = bt->ops->vacant && bt->ops->vacant(bt->opaque);
	for (i = 0; i < tu->nexit; i++) {
		x = &tu->exit[i];
		if (x->form == FORM_SHORT && !tu->left)
			*off_to_host(bt, x->base + x->site) = 0xcc;
		if (x->kind != BT_EXIT_DIRECT)
			continue;
		if (!x->to)
			wait_del(bt, x);
		else if (tu->left)
			link_forget(bt, x);
		else
			link_clear(bt, x);
	}
}

/* Drop a live TU. Its code stays; if anybody may be in it, it leads out. */
void tu_kill(struct bt *bt, struct tu *tu, enum bt_gone why)
{
	struct tu **p = &bt->hash[tu_hash(bt, tu->gpc, tu->mode)];
	struct tu_exit *x;

	while (*p != tu)
		p = &(*p)->hash_next;
	*p = tu->hash_next;
	tu_detach(bt, tu);
	while ((x = tu->in)) {
		link_clear(bt, x);
		wait_add(bt, x);
	}
	pad_unlink(bt, tu);
	page_del(bt, tu, 0);
	page_del(bt, tu, 1);
	top_slot_count(bt, tu->gpc, -1);
	if (!tu->left)
		*off_to_host(bt, tu->off + tu->entry) = 0xcc;
	tu->dead = true;
	unit_of(bt, tu->off)->live--;
	bt->stats.tus_live--;
	if (why == BT_GONE_EVICTED)
		evict_note(bt, tu->gpc);
	else
		bt->stats.invalidated_tus++;
	if (bt->ops->gone)
		bt->ops->gone(bt->opaque, tu->gpc, tu->mode, why);
}

static u32 cpage_kill(struct bt *bt, struct cpage *cp)
{
	struct tu *tu;
	u32 n = 0;

	for (tu = cp->tus; tu; tu = tu_page_next(cp, tu))
		tu_detach(bt, tu);
	while (cp->tus) {
		tu_kill(bt, cp->tus, BT_GONE_INVALIDATED);
		n++;
	}
	return n;
}

static bool in_span(const struct tu *tu, const struct cpage *cp, u32 from,
		    u32 to)
{
	u32 a, b;

	tu_span(tu, tu->cp[0] == cp ? 0 : 1, &a, &b);
	return a < to && from < b;
}

static u32 cpage_kill_span(struct bt *bt, struct cpage *cp, u32 from, u32 to)
{
	struct tu *tu, *next;
	u32 n = 0;

	if (!(cp->cover & cover_bits(from, to)))
		return 0;
	for (tu = cp->tus; tu; tu = tu_page_next(cp, tu)) {
		if (in_span(tu, cp, from, to))
			tu_detach(bt, tu);
	}
	for (tu = cp->tus; tu; tu = next) {
		next = tu_page_next(cp, tu);
		if (in_span(tu, cp, from, to)) {
			tu_kill(bt, tu, BT_GONE_INVALIDATED);
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

	recording_dropped(bt, BT_DROPPED_GPA, gpa, len);
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

	recording_dropped(bt, BT_DROPPED_PAGE, page, POPF_PAGE_SIZE);
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

	recording_dropped(bt, BT_DROPPED_SLOT, start, last - start + 1);
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
			if (!cp->tus || cb(arg, cp->page, cp->gfn))
				continue;
			recording_dropped(bt, BT_DROPPED_PAGE, cp->page,
					  POPF_PAGE_SIZE);
			cpage_kill(bt, cp);
		}
	}
	cpage_reap(bt);
	if (bt->cfg.audit)
		bt_audit(bt);
}
