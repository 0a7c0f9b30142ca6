// SPDX-License-Identifier: GPL-2.0-only
/*
 * Following a recorded guest through a translation cache of any size and policy.
 *
 * The recording says which TU of *its* cache the guest entered next; between two
 * entries the guest ran straight on (docs/stream-format.md). Here the cache has
 * TUs of its own, cut elsewhere and straightened across jumps, so the guest is
 * walked through those: from where it is, over the ends of TUs, to the branch that
 * led to the next entry. At each step the real cache says whether translated code
 * would have gone on by itself, in the same TU, through a linked exit or a pad in
 * the indirect table, or would have left for the monitor; in that case the same
 * function is called as the monitor calls.
 *
 * Translated code is never run, and no guest state is needed: a branch's target is
 * where the recording went.
 */
#include <stdlib.h>
#include <time.h>

#include "tc_replay.h"

#define WINDOW 0xfffffffff0000000ull
#define MAX_BRANCHES 40
/* More TUs than this between two entries: the walk has gone astray. */
#define MAX_WALK 64

unsigned long env_fail_alloc;

/* How a recorded TU can be left. */
enum leave { LEAVE_STRAIGHT, LEAVE_DIRECT, LEAVE_RET, LEAVE_JUMP };

struct branch {
	u16 off; /* of the instruction */
	u8 how; /* enum leave */
	bool jump; /* a direct jmp: need not be in the translation */
	u64 target;
};

struct path {
	u8 n;
	struct branch branch[];
};

/* What is known of a (gpc, mode): was it entered, and where did its TU go? */
struct history {
	u64 key; /* gpc, or 0 */
	u64 home[2]; /* by mode: start of the TU that served it */
	bool entered[2];
	u8 gone[2]; /* of the TU starting here: 1 + enum bt_gone */
};

struct replay {
	const struct tc_stream *stream;
	const struct tc_config *cfg;
	struct bt *bt;
	struct stream_image *image;
	struct path **paths; /* by recorded TU */
	struct history *history;
	u64 history_mask, history_n;
	struct tc_counts *n;

	struct tu *cur; /* where the guest is; NULL: unknown */
	u32 toff; /* and how far into its code */
	const struct stream_tu *last; /* recorded TU entered last */
	u32 last_off;
	bool resync;
	u64 made, ahead;
};

static void die(const char *what)
{
	fprintf(stderr, "tc: %s\n", what);
	exit(1);
}

/* --- history -------------------------------------------------------------------- */

static struct history *history_slot(struct history *h, u64 mask, u64 key)
{
	u64 i = key * 0x9e3779b97f4a7c15ull >> 20;

	while (h[i & mask].key && h[i & mask].key != key)
		i++;
	return &h[i & mask];
}

static void history_grow(struct replay *r)
{
	u64 mask = r->history_mask * 2 + 1, i;
	struct history *h = calloc(mask + 1, sizeof(*h));

	if (!h)
		die("not enough memory");
	for (i = 0; i <= r->history_mask; i++) {
		if (r->history[i].key)
			*history_slot(h, mask, r->history[i].key) =
				r->history[i];
	}
	free(r->history);
	r->history = h;
	r->history_mask = mask;
}

static struct history *history_of(struct replay *r, u64 gpc)
{
	struct history *h;

	if (r->history_n * 2 > r->history_mask)
		history_grow(r);
	h = history_slot(r->history, r->history_mask, gpc | 1ull << 62);
	if (!h->key) {
		h->key = gpc | 1ull << 62;
		r->history_n++;
	}
	return h;
}

static enum tc_miss miss_cause(struct replay *r, u64 gpc, u32 mode)
{
	const struct history *h = history_of(r, gpc);
	u64 home;
	u8 gone;

	if (!h->entered[mode])
		return h->entered[!mode] ? MISS_MODE : MISS_COLD;
	home = h->home[mode];
	gone = history_of(r, home)->gone[mode];
	return gone == 1 + BT_GONE_EVICTED ? MISS_EVICTED : MISS_INVALIDATED;
}

/* --- the cache's guest ------------------------------------------------------------ */

static int fetch(void *opaque, gva_t gva, void *buf, u32 len, gfn_t *gfn)
{
	struct replay *r = opaque;

	return stream_image_fetch(r->image, gva, buf, len, gfn, NULL) ? -EFAULT :
									 0;
}

static void untrace(void *opaque, gfn_t gfn)
{
}

static void made(void *opaque, gva_t gpc, u32 mode, bool ahead)
{
	struct replay *r = opaque;

	r->made += !ahead;
	r->ahead += ahead;
	if (r->cfg->classes)
		tc_classes_add(r->cfg->classes, r->bt);
}

static void gone(void *opaque, gva_t gpc, u32 mode, enum bt_gone why)
{
	history_of(opaque, gpc)->gone[mode & 1] = (u8)(1 + why);
}

static const struct bt_ops ops = { .fetch = fetch,
				   .untrace = untrace,
				   .made = made,
				   .gone = gone };

static void create_bt(struct replay *r)
{
	struct bt_config cfg = { .window = WINDOW,
				 .tc_size = r->cfg->size,
				 .has_fsgsbase = true,
				 .evict = (u8)r->cfg->evict,
				 .units = r->cfg->units };

	cfg.tc = malloc(cfg.tc_size);
	cfg.ibl_tpc = malloc(WINDOW_IBL_ENTRIES * sizeof(u64));
	cfg.bounce_code = malloc(WINDOW_BOUNCE_CODE_SIZE);
	if (cfg.tc && cfg.ibl_tpc && cfg.bounce_code)
		r->bt = bt_create(&cfg, &ops, r);
	if (!r->bt)
		die("bt_create failed");
}

static void destroy_bt(struct replay *r)
{
	struct bt_config cfg = r->bt->cfg;

	bt_destroy(r->bt);
	free(cfg.tc);
	free(cfg.ibl_tpc);
	free(cfg.bounce_code);
}

/* --- the guest's memory ------------------------------------------------------------ */

/*
 * From now on the guest has this code there. Where it had something else before,
 * the cache must hear of it.
 */
static void image_set(struct replay *r, const struct stream_tu *tu)
{
	u32 at, n, known;
	u8 old[STREAM_PAGE];
	u64 gfn;

	for (at = 0; at < tu->len; at += n) {
		n = STREAM_PAGE - (u32)((tu->gva + at) & (STREAM_PAGE - 1));
		n = min(n, tu->len - at);
		if (stream_image_fetch(r->image, tu->gva + at, old, n, &gfn,
				       &known))
			continue;
		if (gfn != tu->gfn[at != 0])
			bt_invalidate_gva(r->bt, tu->gva + at);
		else if (memcmp(old, tu->code + at, n))
			bt_invalidate_gpa(r->bt,
					  gfn_to_gpa(gfn) |
						  ((tu->gva + at) &
						   (STREAM_PAGE - 1)),
					  n);
	}
	if (stream_image_add(r->image, tu))
		die("not enough memory");
}

/* Memory as it was at the stream's start, as far as the whole stream shows it. */
static void image_start(struct replay *r)
{
	u32 i;

	for (i = r->stream->n_tus; i-- > 0;)
		image_set(r, stream_tu(r->stream->reader, i));
}

/* --- how recorded TUs can be left ---------------------------------------------------- */

static u8 leave_of(const struct bt_insn *in)
{
	switch ((enum bt_class)in->cls) {
	case CLS_JCC:
	case CLS_LOOP:
		return LEAVE_DIRECT;
	case CLS_JMP:
	case CLS_CALL:
		return in->opcode == 0xff ? LEAVE_JUMP : LEAVE_DIRECT;
	case CLS_IRET:
		return LEAVE_JUMP;
	case CLS_RET:
		return LEAVE_RET;
	default:
		return LEAVE_STRAIGHT;
	}
}

static struct path *path_make(struct replay *r, const struct stream_tu *tu)
{
	const struct bt_insn *in = &r->bt->insn;
	struct branch b[MAX_BRANCHES];
	u8 buf[STREAM_TU_MAX + 16];
	struct path *p;
	u32 at = 0, n = 0;

	memset(buf, 0x90, sizeof(buf));
	memcpy(buf, tu->code, tu->len);
	while (at < tu->len && n < MAX_BRANCHES - 1) {
		decode_insn(r->bt, buf + at, sizeof(buf) - at, tu->gva + at);
		b[n].off = (u16)at;
		b[n].how = leave_of(in);
		b[n].jump = in->cls == CLS_JMP && in->opcode != 0xff;
		b[n].target = tu->gva + at + in->len + (u64)(s64)in->rel;
		n += b[n].how != LEAVE_STRAIGHT;
		at += in->len;
	}
	b[n].off = (u16)tu->len;
	b[n].how = LEAVE_STRAIGHT;
	b[n].jump = false;
	b[n++].target = tu->gva + tu->len;
	p = malloc(sizeof(*p) + n * sizeof(b[0]));
	if (!p)
		die("not enough memory");
	p->n = (u8)n;
	memcpy(p->branch, b, n * sizeof(b[0]));
	return p;
}

/* The branch through which the guest went from where it was entered to gpc. */
static const struct branch *branch_to(struct replay *r, u64 gpc)
{
	struct path **p = &r->paths[r->last->id];
	u32 i;

	if (!*p)
		*p = path_make(r, r->last);
	for (i = 0; i < (*p)->n; i++) {
		const struct branch *b = &(*p)->branch[i];

		if (b->off < r->last_off)
			continue;
		if (b->how >= LEAVE_RET || b->target == gpc)
			return b;
	}
	return NULL;
}

/* --- entries ----------------------------------------------------------------------- */

static bool arrive(struct replay *r, tpc_t tpc, int ret)
{
	u32 off = (u32)(tpc - r->bt->tc_base);

	r->cur = ret ? NULL : cache_find(r->bt, off);
	if (r->cur)
		r->toff = off - r->cur->off;
	r->n->unknown += ret != 0;
	return !ret;
}

/* How far into tu's code instruction gpc begins; NOWHERE: it is not in it. */
#define NOWHERE (~0u)
static u32 place_in(const struct tu *tu, u64 gpc)
{
	struct rec_iter it;
	s64 goff = (s64)(gpc - tu->gpc);

	if (!goff)
		return tu->entry;
	if (gpc - (tu->gpc - tu->back) >= tu->back + tu->glen)
		return NOWHERE;
	rec_iter_init(&it, tu);
	while (rec_iter_next(&it)) {
		if (it.rec.flags & REC_BOUNDARY && it.rec.goff == goff)
			return it.rec.toff;
	}
	return NOWHERE;
}

static void settle(struct replay *r, u64 gpc, u32 mode)
{
	struct history *h;

	if (!r->cur)
		return;
	h = history_of(r, gpc);
	h->entered[mode] = true;
	h->home[mode] = r->cur->gpc;
}

/* After a call of the cache that started with `before` TUs made: hit or miss? */
static void count(struct replay *r, u64 before, enum tc_miss why, u64 *hits,
		  u64 *misses)
{
	if (r->made == before) {
		++*hits;
		return;
	}
	++*misses;
	r->n->misses[why]++;
}

static void enter_dispatch(struct replay *r, u64 gpc, u32 mode)
{
	enum tc_miss why = miss_cause(r, gpc, mode & 1);
	u64 before = r->made;
	tpc_t tpc = 0;
	int ret;

	ret = bt_enter(r->bt, gpc, mode, &tpc);
	if (!arrive(r, tpc, ret))
		return;
	if (r->resync)
		r->n->resyncs++;
	else
		count(r, before, why, &r->n->dispatch_hits,
		      &r->n->dispatch_misses);
	settle(r, gpc, mode & 1);
}

/* The first direct exit from here on that leads to [from, to]; NULL: none. */
static const struct tu_exit *exit_to(const struct replay *r, u64 from, u64 to,
				     bool jumps_only)
{
	const struct tu *tu = r->cur;
	const struct tu_exit *x;
	u32 i;

	for (i = 0; i < tu->nexit; i++) {
		x = &tu->exit[i];
		if (x->kind == BT_EXIT_DIRECT && x->site >= r->toff &&
		    x->target - from <= to - from &&
		    !(jumps_only && x->form == FORM_JCC))
			return x;
	}
	return NULL;
}

/* Out of the current TU through x. */
static void enter_direct(struct replay *r, const struct tu_exit *x)
{
	u64 before = r->made, gpc = x->target;
	enum tc_miss why;
	struct bt_exit e;
	tpc_t tpc = 0;
	int ret;

	if (x->to) {
		r->n->chained++;
		r->cur = x->to;
		r->toff = place_in(r->cur, gpc);
		settle(r, gpc, 0);
		return;
	}
	why = miss_cause(r, gpc, 0);
	bt_exit_at(r->bt, off_to_tpc(r->bt, x->base + x->stub), &e);
	ret = bt_chain(r->bt, &e, &tpc);
	if (!arrive(r, tpc, ret))
		return;
	count(r, before, why, &r->n->unchained_hits, &r->n->direct_misses);
	settle(r, gpc, 0);
}

/* Pads that are tried before gpc's, or -1: it has none in the table. */
static int pads_before(struct bt *bt, u64 gpc)
{
	u64 first = bt->cfg.ibl_tpc[gpc & (WINDOW_IBL_ENTRIES - 1)];
	const struct tu *p;
	int n = 0;

	for (p = pad_owner(bt, first); p; p = p->pad_next, n++) {
		if (p->gpc == gpc)
			return n;
	}
	return -1;
}

static void count_indirect(struct tc_counts *n, enum leave how, int before)
{
	if (how == LEAVE_RET) {
		n->returns++;
		n->return_hits += before >= 0;
		n->return_first += before == 0;
	} else {
		n->jumps++;
		n->jump_hits += before >= 0;
		n->jump_first += before == 0;
	}
}

static void enter_indirect(struct replay *r, u64 gpc, enum leave how)
{
	int pads = pads_before(r->bt, gpc);
	u64 before = r->made;
	enum tc_miss why;
	tpc_t tpc = 0;
	int ret;

	count_indirect(r->n, how, pads);
	if (pads >= 0) {
		r->n->ibl_hits++;
		r->cur = tu_lookup(r->bt, gpc, BT_MODE_LONG);
		r->toff = r->cur->entry;
		settle(r, gpc, 0);
		return;
	}
	why = miss_cause(r, gpc, 0);
	ret = bt_indirect(r->bt, gpc, BT_MODE_LONG, &tpc);
	if (!arrive(r, tpc, ret))
		return;
	count(r, before, why, &r->n->ibl_found, &r->n->ibl_misses);
	settle(r, gpc, 0);
}

/* Go on to instruction gpc of the current TU; false: it is not further on in it. */
static bool go_to(struct replay *r, u64 gpc)
{
	u32 at = place_in(r->cur, gpc);

	if (at == NOWHERE || at < r->toff)
		return false;
	r->toff = at;
	return true;
}

/*
 * From `at`, where the guest is, straight on to b's instruction at site, over the
 * ends of TUs. False: it cannot be told how.
 */
static bool walk_to(struct replay *r, u64 at, u64 site, const struct branch *b)
{
	const struct tu_exit *x;
	u32 i;

	for (i = 0; i < MAX_WALK && r->cur && !r->cur->dead; i++) {
		if (go_to(r, site))
			return true;
		/* A jmp is there only as its exit, or not at all. */
		if (b->jump && (exit_to(r, b->target, b->target, true) ||
				go_to(r, b->target)))
			return true;
		x = exit_to(r, at + 1, site, true);
		/* Straight on to a jmp that is not in the translation. */
		if (!x)
			return b->how == LEAVE_STRAIGHT;
		at = x->target;
		enter_direct(r, x);
	}
	return false;
}

/* Does the current TU have a jcc back into itself at site? Then it leads to gpc. */
static bool loops_at(struct replay *r, u64 site, u64 gpc)
{
	const struct tu *tu = r->cur;
	u32 i;

	for (i = 0; i < tu->nexit; i++) {
		if (tu->exit[i].form != FORM_SHORT || tu->exit[i].target != site)
			continue;
		r->toff = place_in(tu, gpc);
		return true;
	}
	return false;
}

static void take(struct replay *r, const struct branch *b, u64 gpc)
{
	const struct tu_exit *x;

	if (b->how >= LEAVE_RET) {
		enter_indirect(r, gpc, b->how);
		return;
	}
	if (b->how == LEAVE_STRAIGHT || loops_at(r, r->last->gva + b->off, gpc))
		return;
	x = exit_to(r, gpc, gpc, false);
	if (x) {
		enter_direct(r, x);
	} else if (!b->jump || !go_to(r, gpc)) {
		r->n->odd++;
		enter_dispatch(r, gpc, BT_MODE_LONG);
	}
}

static void follow(struct replay *r, u64 gpc)
{
	const struct branch *b = branch_to(r, gpc);
	u64 at = r->last->gva + r->last_off;

	if (b && walk_to(r, at, r->last->gva + b->off, b)) {
		take(r, b, gpc);
		return;
	}
	r->n->odd++;
	enter_dispatch(r, gpc, BT_MODE_LONG);
}

static void on_enter(struct replay *r, const struct tc_event *e)
{
	const struct stream_tu *tu = stream_tu(r->stream->reader, e->tu);
	u64 gpc = tu->gva + e->off;

	if (r->resync || e->how == STREAM_HOW_DISPATCH || tu->mode || !r->cur ||
	    r->cur->dead || r->cur->mode)
		enter_dispatch(r, gpc, tu->mode);
	else
		follow(r, gpc);
	r->resync = false;
	r->last = tu;
	r->last_off = e->off;
}

static void on_event(struct replay *r, const struct tc_event *e)
{
	const struct tc_range *range;

	switch ((enum stream_kind)e->kind) {
	case STREAM_TU:
		image_set(r, stream_tu(r->stream->reader, e->tu));
		break;
	case STREAM_ENTER:
		on_enter(r, e);
		break;
	case STREAM_INVALIDATE:
		range = &r->stream->ranges[e->tu];
		if (e->how)
			bt_invalidate_gpa(r->bt, range->start,
					  (u32)range->len);
		else
			bt_invalidate_gva_range(r->bt, range->start,
						range->start + range->len - 1);
		break;
	case STREAM_FLUSH:
		bt_flush(r->bt);
		break;
	default:
		r->resync = true;
		break;
	}
}

/* --- whole streams ------------------------------------------------------------------ */

static void replay_init(struct replay *r, const struct tc_stream *s,
			const struct tc_config *cfg)
{
	memset(r, 0, sizeof(*r));
	r->stream = s;
	r->cfg = cfg;
	r->image = stream_image_create();
	r->paths = calloc(s->n_tus + 1, sizeof(*r->paths));
	r->history_mask = 4095;
	r->history = calloc(4096, sizeof(*r->history));
	if (!r->image || !r->paths || !r->history)
		die("not enough memory");
	create_bt(r);
}

static void replay_exit(struct replay *r)
{
	u32 i;

	destroy_bt(r);
	stream_image_destroy(r->image);
	for (i = 0; i < r->stream->n_tus; i++)
		free(r->paths[i]);
	free(r->paths);
	free(r->history);
}

static u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (u64)ts.tv_sec * 1000000000ull + (u64)ts.tv_nsec;
}

/* All fields of struct bt_stats are u64; levels come out as changes. */
static void stats_minus(struct bt_stats *a, const struct bt_stats *b)
{
	u64 *x = (u64 *)a;
	const u64 *y = (const u64 *)b;
	u32 i;

	for (i = 0; i < sizeof(*a) / 8; i++)
		x[i] -= y[i];
}

void tc_replay(const struct tc_stream *s, const struct tc_config *cfg,
	       u32 passes, struct tc_counts *out)
{
	struct bt_stats before;
	struct replay r;
	u64 t0, ahead;
	size_t i;
	u32 k;

	replay_init(&r, s, cfg);
	for (k = 0; k < passes; k++) {
		memset(&out[k], 0, sizeof(out[k]));
		r.n = &out[k];
		r.cur = NULL;
		r.resync = true;
		image_start(&r);
		bt_get_stats(r.bt, &before);
		ahead = r.ahead;
		t0 = now();
		for (i = 0; i < s->n_events; i++)
			on_event(&r, &s->events[i]);
		out[k].host_ns = now() - t0;
		out[k].ahead = r.ahead - ahead;
		bt_get_stats(r.bt, &out[k].bt);
		stats_minus(&out[k].bt, &before);
	}
	if (!bt_audit(r.bt))
		die("the cache is inconsistent after the replay");
	replay_exit(&r);
}

void tc_translate(const struct tc_stream *s, const struct tc_config *cfg,
		  struct bt_stats *out)
{
	const struct stream_tu *tu;
	struct tc_counts n;
	struct replay r;
	tpc_t tpc;
	u32 i;

	replay_init(&r, s, cfg);
	r.n = &n;
	image_start(&r);
	for (i = 0; i < s->n_tus; i++) {
		tu = stream_tu(s->reader, i);
		image_set(&r, tu);
		bt_enter(r.bt, tu->gva, tu->mode, &tpc);
	}
	bt_get_stats(r.bt, out);
	replay_exit(&r);
}
