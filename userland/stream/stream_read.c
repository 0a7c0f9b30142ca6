// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading a stream. A block is read whole and its checksum verified before
 * anything in it is believed; what is in it is checked all the same, because a
 * checksum is no proof against whoever made the file.
 */
#include "stream_code.h"

#include <stdlib.h>
#include <string.h>

#define RUN_MAX (1u << 16)

struct stream_reader {
	struct stream_source src;
	struct stream_error error;
	uint64_t pos; /* bytes read from the source */
	bool begun;
	bool ended;

	/* The block under way. */
	uint32_t index;
	uint64_t block_pos; /* of its payload */
	uint32_t block_len;
	uint32_t at;
	uint8_t *block;

	struct predict *predict;
	uint32_t run; /* entries as guessed still to hand out */
	uint32_t run_at;

	struct stream_tu **tu;
	uint32_t tu_count, tu_room;
	uint64_t gva; /* end of the latest TU */
	uint64_t shift; /* its gfn minus its page's number */
	uint64_t clock;

	char key[STREAM_KEY_MAX + 1];
	char value[STREAM_VALUE_MAX + 1];
	struct stream_totals totals;
};

static int fail(struct stream_reader *r, enum stream_code code,
		uint64_t offset, const char *text)
{
	stream_fail(&r->error, code, offset, text);
	return -1;
}

/* What is at `at` of the block is impossible. */
static int bad(struct stream_reader *r, uint32_t at, const char *text)
{
	return fail(r, STREAM_DAMAGED, r->block_pos + at, text);
}

struct stream_reader *stream_reader_create(const struct stream_source *source)
{
	struct stream_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->src = *source;
	r->block = malloc(BLOCK_MAX);
	r->predict = calloc(1, sizeof(*r->predict));
	if (!r->block || !r->predict) {
		stream_reader_destroy(r);
		return NULL;
	}
	return r;
}

void stream_reader_destroy(struct stream_reader *r)
{
	uint32_t i;

	if (!r)
		return;
	for (i = 0; i < r->tu_count; i++)
		free(r->tu[i]);
	free(r->tu);
	free(r->block);
	free(r->predict);
	free(r);
}

const struct stream_error *stream_reader_error(const struct stream_reader *r)
{
	return &r->error;
}

uint32_t stream_tu_count(const struct stream_reader *r)
{
	return r->tu_count;
}

const struct stream_tu *stream_tu(const struct stream_reader *r, uint32_t id)
{
	return id < r->tu_count ? r->tu[id] : NULL;
}

void stream_reader_totals(const struct stream_reader *r,
			  struct stream_totals *out)
{
	*out = r->totals;
	out->tus = r->tu_count;
}

/* --- blocks ------------------------------------------------------------------ */

/* len bytes exactly: 1; 0 if the source ends before the first; -1. */
static int take(struct stream_reader *r, void *buf, size_t len)
{
	size_t got = 0;
	long n;

	while (got < len) {
		n = r->src.read(r->src.opaque, (uint8_t *)buf + got, len - got);
		if (n < 0 || (size_t)n > len - got)
			return fail(r, STREAM_IO, r->pos, "cannot be read");
		if (!n)
			break;
		got += (size_t)n;
		r->pos += (uint64_t)n;
	}
	if (got == len)
		return 1;
	if (!got)
		return 0;
	return fail(r, STREAM_DAMAGED, r->pos, "the file ends here too early");
}

static int read_file_head(struct stream_reader *r)
{
	uint8_t head[FILE_HEAD];
	int ret = take(r, head, sizeof(head));

	if (ret < 0)
		return -1;
	if (!ret)
		return fail(r, STREAM_DAMAGED, 0, "the file is empty");
	if (memcmp(head, FILE_MAGIC, 8))
		return fail(r, STREAM_DAMAGED, 0, "this is no popf stream");
	if (get32(head + 12) != stream_crc(0, head, 12))
		return fail(r, STREAM_DAMAGED, 8, "the file's head is corrupt");
	if (get32(head + 8) != STREAM_VERSION)
		return fail(r, STREAM_NEWER, 8, "another version of the format");
	r->begun = true;
	return 0;
}

static int read_end(struct stream_reader *r);

/* Have a block with something left in it: 1; 0 at the end of the stream; -1. */
static int read_block(struct stream_reader *r)
{
	uint8_t head[BLOCK_HEAD];
	uint64_t start = r->pos;
	uint32_t len;
	int ret = take(r, head, sizeof(head));

	if (ret < 0)
		return -1;
	if (!ret)
		return fail(r, STREAM_DAMAGED, start,
			    "the file ends here without an end mark");
	len = get32(head) >> 8;
	if ((head[0] != BLOCK_DATA && head[0] != BLOCK_END) || len > BLOCK_MAX)
		return fail(r, STREAM_DAMAGED, start, "no block starts here");
	r->block_pos = r->pos;
	ret = take(r, r->block, len);
	if (ret < 0)
		return -1;
	if (!ret && len)
		return fail(r, STREAM_DAMAGED, r->pos,
			    "the file ends here too early");
	if (get32(head + 4) != block_crc(r->index, head, r->block, len))
		return fail(r, STREAM_DAMAGED, start,
			    "the block that starts here is corrupt");
	r->index++;
	r->block_len = len;
	r->at = 0;
	return head[0] == BLOCK_END ? read_end(r) : 1;
}

static uint8_t get_byte(struct stream_reader *r)
{
	if (r->at < r->block_len)
		return r->block[r->at++];
	bad(r, r->at, "an event is cut off");
	return 0;
}

static uint64_t get_varint(struct stream_reader *r)
{
	uint32_t at = r->at, shift;
	uint64_t v = 0;
	uint8_t b;

	for (shift = 0; shift < 7 * VARINT_MAX; shift += 7) {
		b = get_byte(r);
		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	bad(r, at, "a number is too long");
	return 0;
}

/* A number of at most max; otherwise an error and 0. */
static uint64_t get_upto(struct stream_reader *r, uint64_t max,
			 const char *what)
{
	uint32_t at = r->at;
	uint64_t v = get_varint(r);

	if (v <= max)
		return v;
	bad(r, at, what);
	return 0;
}

static int read_end(struct stream_reader *r)
{
	uint64_t events = get_varint(r), entries = get_varint(r);
	uint64_t tus = get_varint(r);
	uint8_t more;

	if (r->error.code)
		return -1;
	if (r->at != r->block_len)
		return bad(r, r->at, "the end mark is too long");
	if (events != r->totals.events || entries != r->totals.entries ||
	    tus != r->tu_count)
		return bad(r, 0, "the end mark counts other events");
	if (take(r, &more, 1))
		return fail(r, STREAM_DAMAGED, r->block_pos + r->block_len,
			    "something follows the end mark");
	r->ended = true;
	return 0;
}

/* --- events ------------------------------------------------------------------ */

static int set_entry(struct stream_reader *r, struct stream_event *ev,
		     symbol_t s, uint32_t at)
{
	if (s == SYMBOL_NONE)
		return bad(r, at, "an entry is guessed from nothing");
	predict_learn(r->predict, s);
	ev->kind = STREAM_ENTER;
	ev->enter.tu = symbol_tu(s);
	ev->enter.off = symbol_off(s);
	ev->enter.how = symbol_how(s);
	r->totals.entries++;
	return 0;
}

static int get_guessed(struct stream_reader *r, struct stream_event *ev,
		       uint32_t rank, uint32_t at)
{
	symbol_t guess[PREDICT_GUESSES];

	predict_guess(r->predict, guess);
	return set_entry(r, ev, guess[rank], at);
}

static int get_enter(struct stream_reader *r, struct stream_event *ev,
		     uint64_t arg, uint32_t at)
{
	uint32_t off = 0;
	uint64_t back;

	if (arg > 7)
		return bad(r, at, "an unknown kind of entry");
	back = get_varint(r);
	if (arg & 4)
		off = (uint32_t)get_upto(r, STREAM_TU_MAX - 1,
					 "an entry behind its unit's end");
	if (r->error.code)
		return -1;
	if (back >= r->tu_count)
		return bad(r, at, "an entry of a unit that is not there");
	back = r->tu_count - 1 - back;
	if (off >= r->tu[back]->len)
		return bad(r, at, "an entry behind its unit's end");
	return set_entry(r, ev, symbol((uint32_t)back, off,
				       (enum stream_how)(arg & 3)), at);
}

static int get_text(struct stream_reader *r, char *to, uint32_t max)
{
	uint32_t at = r->at;
	uint64_t len = get_upto(r, max, "a text is too long");

	if (len > r->block_len - r->at)
		return bad(r, at, "a text is cut off");
	memcpy(to, r->block + r->at, len);
	to[len] = '\0';
	r->at += (uint32_t)len;
	return strlen(to) == len ? 0 : bad(r, at, "a text with a zero byte");
}

static int get_meta(struct stream_reader *r, struct stream_event *ev)
{
	uint32_t at = r->at;

	if (get_text(r, r->key, STREAM_KEY_MAX) ||
	    get_text(r, r->value, STREAM_VALUE_MAX))
		return -1;
	if (!r->key[0])
		return bad(r, at, "metadata without a key");
	ev->meta.key = r->key;
	ev->meta.value = r->value;
	return 0;
}

/* Code that an earlier TU has: how many bytes of at most len; 0: an error. */
static uint32_t get_shared(struct stream_reader *r, uint8_t *code, uint32_t len,
			   uint32_t at)
{
	uint64_t back = get_varint(r), off;
	const struct stream_tu *ref;

	if (r->error.code || !back || back > r->tu_count) {
		bad(r, at, "code of a unit that is not there");
		return 0;
	}
	ref = r->tu[r->tu_count - back];
	off = get_upto(r, ref->len - 1, "code behind a unit's end");
	if (r->error.code)
		return 0;
	if (len > ref->len - off)
		len = ref->len - (uint32_t)off;
	memcpy(code, ref->code + off, len);
	return len;
}

/* By turns what is spelled out and what an earlier TU has. */
static int get_code(struct stream_reader *r, uint8_t *code, uint32_t len,
		    uint32_t at)
{
	uint32_t done = 0, n;

	for (;;) {
		n = (uint32_t)get_upto(r, len - done, "more code than there is");
		if (r->error.code || n > r->block_len - r->at)
			return bad(r, at, "code is cut off");
		memcpy(code + done, r->block + r->at, n);
		r->at += n;
		done += n;
		if (done == len)
			return 0;
		n = get_shared(r, code + done, len - done, at);
		if (!n)
			return -1;
		done += n;
		if (done == len)
			return 0;
	}
}

static int room_for_tu(struct stream_reader *r)
{
	uint32_t room = r->tu_room ? r->tu_room * 2 : 256;
	void *p;

	if (r->tu_count < r->tu_room)
		return 0;
	p = realloc(r->tu, room * sizeof(*r->tu));
	if (!p)
		return fail(r, STREAM_NOMEM, r->pos, "not enough memory");
	r->tu = p;
	r->tu_room = room;
	return 0;
}

static int get_tu_fields(struct stream_reader *r, struct stream_tu *tu,
			 uint32_t at)
{
	tu->id = r->tu_count;
	tu->gva = r->gva + unzigzag(get_varint(r));
	tu->mode = (uint32_t)get_upto(r, STREAM_MODE_MAX, "an unknown mode");
	tu->len = 1 + (uint32_t)get_upto(r, STREAM_TU_MAX - 1,
					 "a unit is too long");
	tu->gfn[0] = tu->gva / STREAM_PAGE + r->shift +
		     unzigzag(get_varint(r));
	tu->gfn[1] = tu_crosses(tu) ?
			     tu->gfn[0] + 1 + unzigzag(get_varint(r)) :
			     STREAM_NO_GFN;
	if (r->error.code)
		return -1;
	if (tu->gva + tu->len - 1 < tu->gva)
		return bad(r, at, "a unit beyond the address space");
	return 0;
}

static int get_tu(struct stream_reader *r, struct stream_event *ev,
		  uint32_t at)
{
	struct stream_tu tu, *copy;

	if (r->tu_count == STREAM_TUS_MAX)
		return bad(r, at, "too many units");
	if (room_for_tu(r) || get_tu_fields(r, &tu, at))
		return -1;
	copy = malloc(sizeof(tu) + tu.len);
	if (!copy)
		return fail(r, STREAM_NOMEM, r->pos, "not enough memory");
	tu.code = (uint8_t *)(copy + 1);
	*copy = tu;
	if (get_code(r, (uint8_t *)(copy + 1), tu.len, at)) {
		free(copy);
		return -1;
	}
	r->gva = tu.gva + tu.len;
	r->shift = tu.gfn[0] - tu.gva / STREAM_PAGE;
	r->tu[r->tu_count++] = copy;
	ev->tu = copy;
	return 0;
}

static int get_invalidate(struct stream_reader *r, struct stream_event *ev,
			  uint32_t at)
{
	uint64_t arg = get_upto(r, STREAM_CAUSES * 2 - 1, "an unknown cause");

	ev->invalidate.cause = (enum stream_cause)(arg >> 1);
	ev->invalidate.gpa = arg & 1;
	ev->invalidate.start = unzigzag(get_varint(r));
	ev->invalidate.len = get_varint(r);
	if (r->error.code)
		return -1;
	if (!ev->invalidate.len ||
	    ev->invalidate.start + (ev->invalidate.len - 1) <
		    ev->invalidate.start)
		return bad(r, at, "an impossible range");
	return 0;
}

static int get_window(struct stream_reader *r, struct stream_event *ev)
{
	ev->window.now = (enum stream_completeness)get_upto(
		r, STREAM_COMPLETENESSES - 1, "an unknown completeness");
	ev->window.skipped = get_varint(r);
	r->totals.skipped += ev->window.skipped;
	return 0;
}

static int get_event(struct stream_reader *r, struct stream_event *ev,
		     uint64_t kind, uint32_t at)
{
	ev->kind = (enum stream_kind)kind;
	switch (kind) {
	case STREAM_META:
		return get_meta(r, ev);
	case STREAM_TU:
		return get_tu(r, ev, at);
	case STREAM_INVALIDATE:
		return get_invalidate(r, ev, at);
	case STREAM_FLUSH:
		ev->flush.cause = (enum stream_cause)get_upto(
			r, STREAM_CAUSES - 1, "an unknown cause");
		return 0;
	case STREAM_WINDOW:
		return get_window(r, ev);
	case STREAM_CLOCK:
		ev->clock.ns = r->clock + get_varint(r);
		if (ev->clock.ns < r->clock)
			return bad(r, at, "time runs backwards");
		r->clock = ev->clock.ns;
		return 0;
	}
	return bad(r, at, "an unknown event");
}

static int get_token(struct stream_reader *r, struct stream_event *ev)
{
	uint32_t at = r->at;
	uint64_t v = get_varint(r), arg = v >> 2;

	switch ((enum token)(v & 3)) {
	case TOKEN_RUN:
		if (arg >= RUN_MAX)
			return bad(r, at, "a run is too long");
		r->run = (uint32_t)arg;
		r->run_at = at;
		return get_guessed(r, ev, 0, at);
	case TOKEN_GUESS:
		if (arg + 1 >= PREDICT_GUESSES)
			return bad(r, at, "an unknown guess");
		return get_guessed(r, ev, (uint32_t)arg + 1, at);
	case TOKEN_ENTER:
		return get_enter(r, ev, arg, at);
	case TOKEN_EVENT:
		break;
	}
	return get_event(r, ev, arg, at);
}

int stream_next(struct stream_reader *r, struct stream_event *ev)
{
	int ret;

	if (r->error.code)
		return -1;
	if (r->ended)
		return 0;
	if (!r->begun && read_file_head(r))
		return -1;
	while (!r->run && r->at == r->block_len) {
		ret = read_block(r);
		if (ret <= 0)
			return ret;
	}
	memset(ev, 0, sizeof(*ev));
	if (r->run) {
		r->run--;
		ev->offset = r->block_pos + r->run_at;
		ret = get_guessed(r, ev, 0, r->run_at);
	} else {
		ev->offset = r->block_pos + r->at;
		ret = get_token(r, ev);
	}
	if (ret || r->error.code)
		return -1;
	r->totals.events++;
	return 1;
}
