// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing a stream: the mirror of stream_read.c. Entries that are guessed right
 * are held back as a run; everything else goes to the block under way, which is
 * written when it is full enough. No event crosses the end of a block.
 */
#include "stream_code.h"

#include <stdlib.h>
#include <string.h>

#define RUN_MAX (1u << 16)
/* Bytes of code from which on it pays to refer to an earlier TU. */
#define SHARED_MIN 5u
#define PAGE_BUCKETS 1024u

struct kept_tu {
	struct stream_tu tu;
	uint8_t code[];
};

/* For each byte of a page of code: the latest TU that has it. */
struct page {
	uint64_t number;
	struct page *next;
	uint32_t owner[STREAM_PAGE]; /* its number + 1; 0: none */
};

struct stream_writer {
	struct stream_sink sink;
	struct stream_error error;
	uint64_t pos; /* bytes written to the sink */
	bool finished;

	uint32_t index;
	uint32_t len;
	uint8_t *block;

	struct predict *predict;
	uint32_t run; /* entries as guessed, not written yet */

	struct kept_tu **tu;
	uint32_t tu_count, tu_room;
	struct page *page[PAGE_BUCKETS];
	uint64_t gva, shift;
	uint64_t clock;
	struct stream_totals totals;
};

static int fail(struct stream_writer *w, enum stream_code code,
		const char *text)
{
	stream_fail(&w->error, code, w->pos, text);
	return -1;
}

static int emit(struct stream_writer *w, const void *data, size_t len)
{
	if (w->sink.write(w->sink.opaque, data, len))
		return fail(w, STREAM_IO, "cannot be written");
	w->pos += len;
	return 0;
}

static int emit_file_head(struct stream_writer *w)
{
	uint8_t head[FILE_HEAD];

	memcpy(head, FILE_MAGIC, 8);
	put32(head + 8, STREAM_VERSION);
	put32(head + 12, stream_crc(0, head, 12));
	return emit(w, head, sizeof(head));
}

static int emit_block(struct stream_writer *w, uint8_t type)
{
	uint8_t head[BLOCK_HEAD];

	put32(head, type | w->len << 8);
	put32(head + 4, block_crc(w->index, head, w->block, w->len));
	w->index++;
	if (emit(w, head, sizeof(head)) || emit(w, w->block, w->len))
		return -1;
	w->len = 0;
	return 0;
}

struct stream_writer *stream_writer_create(const struct stream_sink *sink)
{
	struct stream_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->sink = *sink;
	w->block = malloc(BLOCK_MAX);
	w->predict = calloc(1, sizeof(*w->predict));
	if (!w->block || !w->predict) {
		stream_writer_destroy(w);
		return NULL;
	}
	return w;
}

void stream_writer_destroy(struct stream_writer *w)
{
	struct page *page;
	uint32_t i;

	if (!w)
		return;
	for (i = 0; i < PAGE_BUCKETS; i++) {
		while ((page = w->page[i])) {
			w->page[i] = page->next;
			free(page);
		}
	}
	for (i = 0; i < w->tu_count; i++)
		free(w->tu[i]);
	free(w->tu);
	free(w->block);
	free(w->predict);
	free(w);
}

const struct stream_error *stream_writer_error(const struct stream_writer *w)
{
	return &w->error;
}

uint32_t stream_writer_tu_count(const struct stream_writer *w)
{
	return w->tu_count;
}

/* --- numbers ----------------------------------------------------------------- */

/* A block has room for the largest event beyond BLOCK_FULL. */
_Static_assert(BLOCK_FULL + 3 * STREAM_TU_MAX + STREAM_KEY_MAX + STREAM_VALUE_MAX +
		       8 * VARINT_MAX <= BLOCK_MAX,
	       "an event always fits");

static void put_varint(struct stream_writer *w, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		w->block[w->len++] = (uint8_t)(v | 0x80);
	w->block[w->len++] = (uint8_t)v;
}

static void put_bytes(struct stream_writer *w, const void *p, size_t len)
{
	memcpy(w->block + w->len, p, len);
	w->len += (uint32_t)len;
}

static void put_token(struct stream_writer *w, enum token t, uint64_t arg)
{
	put_varint(w, arg << 2 | t);
}

static void put_run(struct stream_writer *w)
{
	if (w->run)
		put_token(w, TOKEN_RUN, w->run - 1);
	w->run = 0;
}

/* --- events ------------------------------------------------------------------ */

static int put_enter(struct stream_writer *w, const struct stream_event *ev)
{
	uint32_t tu = ev->enter.tu, off = ev->enter.off, i;
	enum stream_how how = ev->enter.how;
	symbol_t guess[PREDICT_GUESSES], s;

	if (tu >= w->tu_count || off >= w->tu[tu]->tu.len || how >= STREAM_HOWS)
		return fail(w, STREAM_MISUSE, "an entry of no unit");
	s = symbol(tu, off, how);
	predict_guess(w->predict, guess);
	predict_learn(w->predict, s);
	w->totals.entries++;
	if (s == guess[0]) {
		if (++w->run == RUN_MAX)
			put_run(w);
		return 0;
	}
	put_run(w);
	for (i = 1; i < PREDICT_GUESSES; i++) {
		if (s == guess[i]) {
			put_token(w, TOKEN_GUESS, i - 1);
			return 0;
		}
	}
	put_token(w, TOKEN_ENTER, how | (off ? 4 : 0));
	put_varint(w, w->tu_count - 1 - tu);
	if (off)
		put_varint(w, off);
	return 0;
}

static int put_meta(struct stream_writer *w, const struct stream_event *ev)
{
	size_t key = strlen(ev->meta.key), value = strlen(ev->meta.value);

	if (!key || key > STREAM_KEY_MAX || value > STREAM_VALUE_MAX)
		return fail(w, STREAM_MISUSE, "metadata are too long");
	put_varint(w, key);
	put_bytes(w, ev->meta.key, key);
	put_varint(w, value);
	put_bytes(w, ev->meta.value, value);
	return 0;
}

static struct page *find_page(const struct stream_writer *w, uint64_t gva)
{
	uint64_t number = gva / STREAM_PAGE;
	struct page *p = w->page[number % PAGE_BUCKETS];

	while (p && p->number != number)
		p = p->next;
	return p;
}

/* How many bytes of code at gva an earlier TU has; which, and where in it. */
static uint32_t find_shared(const struct stream_writer *w, uint64_t gva,
			    const uint8_t *code, uint32_t len, uint32_t *back,
			    uint32_t *off)
{
	const struct page *p = find_page(w, gva);
	const struct stream_tu *old;
	uint32_t n = 0, id;

	id = p ? p->owner[gva % STREAM_PAGE] : 0;
	if (!id)
		return 0;
	old = &w->tu[id - 1]->tu;
	*back = w->tu_count - (id - 1);
	*off = (uint32_t)(gva - old->gva);
	if (len > old->len - *off)
		len = old->len - *off;
	while (n < len && code[n] == old->code[*off + n])
		n++;
	/* As far as the older one goes, or it cannot be said. */
	return n == len ? n : 0;
}

static void put_code(struct stream_writer *w, const struct stream_tu *tu)
{
	uint32_t at = 0, plain = 0, back, off, n;

	while (at < tu->len) {
		n = find_shared(w, tu->gva + at, tu->code + at, tu->len - at,
				&back, &off);
		if (n < SHARED_MIN) {
			at++;
			continue;
		}
		put_varint(w, at - plain);
		put_bytes(w, tu->code + plain, at - plain);
		put_varint(w, back);
		put_varint(w, off);
		at += n;
		plain = at;
	}
	if (plain == tu->len)
		return;
	put_varint(w, at - plain);
	put_bytes(w, tu->code + plain, at - plain);
}

/* The TU has these bytes: 0 or -1. */
static int own_bytes(struct stream_writer *w, uint64_t gva, uint32_t len)
{
	struct page **head, *p;
	uint32_t i, n;

	for (; len; gva += n, len -= n) {
		head = &w->page[gva / STREAM_PAGE % PAGE_BUCKETS];
		p = find_page(w, gva);
		if (!p) {
			p = calloc(1, sizeof(*p));
			if (!p)
				return fail(w, STREAM_NOMEM, "not enough memory");
			p->number = gva / STREAM_PAGE;
			p->next = *head;
			*head = p;
		}
		n = STREAM_PAGE - gva % STREAM_PAGE;
		if (n > len)
			n = len;
		for (i = 0; i < n; i++)
			p->owner[gva % STREAM_PAGE + i] = w->tu_count;
	}
	return 0;
}

static int keep_tu(struct stream_writer *w, const struct stream_tu *tu)
{
	uint32_t room = w->tu_room ? w->tu_room * 2 : 256;
	struct kept_tu *k;
	void *p;

	if (w->tu_count == w->tu_room) {
		p = realloc(w->tu, room * sizeof(*w->tu));
		if (!p)
			return fail(w, STREAM_NOMEM, "not enough memory");
		w->tu = p;
		w->tu_room = room;
	}
	k = malloc(sizeof(*k) + tu->len);
	if (!k)
		return fail(w, STREAM_NOMEM, "not enough memory");
	k->tu = *tu;
	k->tu.id = w->tu_count;
	k->tu.code = k->code;
	memcpy(k->code, tu->code, tu->len);
	w->tu[w->tu_count++] = k;
	return own_bytes(w, tu->gva, tu->len);
}

static int put_tu(struct stream_writer *w, const struct stream_event *ev)
{
	const struct stream_tu *tu = ev->tu;
	uint64_t page = tu->gva / STREAM_PAGE;

	if (!tu->len || tu->len > STREAM_TU_MAX || tu->mode > STREAM_MODE_MAX ||
	    tu->gva + tu->len - 1 < tu->gva || w->tu_count == STREAM_TUS_MAX)
		return fail(w, STREAM_MISUSE, "an impossible unit");
	put_varint(w, zigzag(tu->gva - w->gva));
	put_varint(w, tu->mode);
	put_varint(w, tu->len - 1);
	put_varint(w, zigzag(tu->gfn[0] - page - w->shift));
	if (tu_crosses(tu))
		put_varint(w, zigzag(tu->gfn[1] - tu->gfn[0] - 1));
	put_code(w, tu);
	w->gva = tu->gva + tu->len;
	w->shift = tu->gfn[0] - page;
	return keep_tu(w, tu);
}

static int put_invalidate(struct stream_writer *w,
			  const struct stream_event *ev)
{
	uint64_t start = ev->invalidate.start, len = ev->invalidate.len;

	if (ev->invalidate.cause >= STREAM_CAUSES || !len ||
	    start + (len - 1) < start)
		return fail(w, STREAM_MISUSE, "an impossible range");
	put_varint(w, (uint64_t)ev->invalidate.cause << 1 | ev->invalidate.gpa);
	put_varint(w, zigzag(start));
	put_varint(w, len);
	return 0;
}

static int put_window(struct stream_writer *w, const struct stream_event *ev)
{
	if (ev->window.now >= STREAM_COMPLETENESSES)
		return fail(w, STREAM_MISUSE, "an unknown completeness");
	put_varint(w, ev->window.now);
	put_varint(w, ev->window.skipped);
	w->totals.skipped += ev->window.skipped;
	return 0;
}

static int put_event(struct stream_writer *w, const struct stream_event *ev)
{
	put_run(w);
	put_token(w, TOKEN_EVENT, ev->kind);
	switch (ev->kind) {
	case STREAM_META:
		return put_meta(w, ev);
	case STREAM_TU:
		return put_tu(w, ev);
	case STREAM_INVALIDATE:
		return put_invalidate(w, ev);
	case STREAM_FLUSH:
		if (ev->flush.cause >= STREAM_CAUSES)
			return fail(w, STREAM_MISUSE, "an unknown cause");
		put_varint(w, ev->flush.cause);
		return 0;
	case STREAM_WINDOW:
		return put_window(w, ev);
	case STREAM_CLOCK:
		if (ev->clock.ns < w->clock)
			return fail(w, STREAM_MISUSE, "time runs backwards");
		put_varint(w, ev->clock.ns - w->clock);
		w->clock = ev->clock.ns;
		return 0;
	case STREAM_ENTER:
	case STREAM_KINDS:
		break;
	}
	return fail(w, STREAM_MISUSE, "an unknown event");
}

int stream_write(struct stream_writer *w, const struct stream_event *ev)
{
	int ret;

	if (w->error.code)
		return -1;
	if (w->finished)
		return fail(w, STREAM_MISUSE, "an event behind the end");
	if (!w->pos && emit_file_head(w))
		return -1;
	ret = ev->kind == STREAM_ENTER ? put_enter(w, ev) : put_event(w, ev);
	if (ret)
		return -1;
	w->totals.events++;
	if (w->len < BLOCK_FULL)
		return 0;
	put_run(w);
	return emit_block(w, BLOCK_DATA);
}

int stream_finish(struct stream_writer *w)
{
	if (w->error.code)
		return -1;
	if (w->finished)
		return 0;
	if (!w->pos && emit_file_head(w))
		return -1;
	put_run(w);
	if (w->len && emit_block(w, BLOCK_DATA))
		return -1;
	put_varint(w, w->totals.events);
	put_varint(w, w->totals.entries);
	put_varint(w, w->tu_count);
	w->finished = true;
	return emit_block(w, BLOCK_END);
}

int stream_write_meta(struct stream_writer *w, const char *key,
		      const char *value)
{
	const struct stream_event ev = {
		.kind = STREAM_META,
		.meta = { .key = key, .value = value },
	};

	return stream_write(w, &ev);
}

int stream_write_tu(struct stream_writer *w, const struct stream_tu *tu,
		    uint32_t *id)
{
	const struct stream_event ev = { .kind = STREAM_TU, .tu = tu };

	if (id)
		*id = w->tu_count;
	return stream_write(w, &ev);
}

int stream_write_enter(struct stream_writer *w, uint32_t tu, uint32_t off,
		       enum stream_how how)
{
	const struct stream_event ev = {
		.kind = STREAM_ENTER,
		.enter = { .tu = tu, .off = off, .how = how },
	};

	return stream_write(w, &ev);
}
