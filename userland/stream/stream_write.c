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
/* TUs looked at for code that the new one has too. */
#define REF_TRIES 48u
#define PAGE_BUCKETS 4096u

struct kept_tu {
	struct stream_tu tu;
	struct kept_tu *page_next; /* of the same bucket, newest first */
	uint8_t code[];
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
	struct kept_tu *page[PAGE_BUCKETS];
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
	uint32_t i;

	if (!w)
		return;
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
_Static_assert(BLOCK_FULL + STREAM_TU_MAX + STREAM_KEY_MAX + STREAM_VALUE_MAX +
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

static struct kept_tu **page_slot(struct stream_writer *w, uint64_t gva)
{
	return &w->page[gva / STREAM_PAGE % PAGE_BUCKETS];
}

/* How many bytes of tu's code the older TU old has, from *off on. */
static uint32_t shared(const struct kept_tu *old, const struct stream_tu *tu,
		       uint32_t *off)
{
	uint32_t n;

	if (tu->gva - old->tu.gva >= old->tu.len)
		return 0;
	*off = (uint32_t)(tu->gva - old->tu.gva);
	n = old->tu.len - *off;
	if (n > tu->len)
		n = tu->len;
	return memcmp(old->code + *off, tu->code, n) ? 0 : n;
}

static void put_code(struct stream_writer *w, const struct stream_tu *tu)
{
	struct kept_tu *k = *page_slot(w, tu->gva), *best = NULL;
	uint32_t n, most = 0, off, best_off = 0, tries = 0;

	for (; k && tries < REF_TRIES && most < tu->len; k = k->page_next) {
		n = shared(k, tu, &off);
		tries++;
		if (n > most) {
			most = n;
			best = k;
			best_off = off;
		}
	}
	put_varint(w, best ? w->tu_count - best->tu.id : 0);
	if (best)
		put_varint(w, best_off);
	put_bytes(w, tu->code + most, tu->len - most);
}

static int keep_tu(struct stream_writer *w, const struct stream_tu *tu)
{
	uint32_t room = w->tu_room ? w->tu_room * 2 : 256;
	struct kept_tu *k, **slot = page_slot(w, tu->gva);
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
	k->page_next = *slot;
	*slot = k;
	w->tu[w->tu_count++] = k;
	return 0;
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
