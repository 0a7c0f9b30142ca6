// SPDX-License-Identifier: GPL-2.0-only
/*
 * From the module's records (include/uapi/popf.h) to stream events. Entries were
 * written by guest code: a number that names no unit is counted and left out. The
 * rest is the module's word; where it makes no sense the recording is given up.
 */
#include "record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX (1u << 17)

_Static_assert((int)STREAM_HOW_CODE == POPF_RECORD_CODE &&
		       (int)STREAM_HOW_DIRECT == POPF_RECORD_DIRECT &&
		       (int)STREAM_HOW_INDIRECT == POPF_RECORD_INDIRECT &&
		       (int)STREAM_HOW_DISPATCH == POPF_RECORD_DISPATCH,
	       "the module and the stream count ways to a unit alike");
_Static_assert((int)STREAM_CAUSE_WRITE == POPF_RECORD_WRITE &&
		       (int)STREAM_CAUSE_MAPPING == POPF_RECORD_MAPPING &&
		       (int)STREAM_CAUSE_CR3 == POPF_RECORD_CR3 &&
		       (int)STREAM_CAUSE_MODE == POPF_RECORD_MODE &&
		       (int)STREAM_CAUSE_FULL == POPF_RECORD_FULL &&
		       (int)STREAM_CAUSE_RECORDER == POPF_RECORD_RECORDER &&
		       (int)STREAM_CAUSE_OTHER == POPF_RECORD_OTHER,
	       "the module and the stream count causes alike");
_Static_assert((int)STREAM_OFF == POPF_RECORD_OFF &&
		       (int)STREAM_COMPLETE == POPF_RECORD_COMPLETE &&
		       (int)STREAM_SAMPLED == POPF_RECORD_SAMPLED,
	       "the module and the stream mean the same by complete");

int record_parser_init(struct record_parser *p, struct stream_writer *w)
{
	memset(p, 0, sizeof(*p));
	p->writer = w;
	p->ended = -1;
	p->words = malloc(WORDS_MAX * sizeof(*p->words));
	return p->words ? 0 : -1;
}

void record_parser_fini(struct record_parser *p)
{
	free(p->words);
	p->words = NULL;
}

static int give_up(struct record_parser *p, const char *what)
{
	if (!p->error[0])
		snprintf(p->error, sizeof(p->error), "%s", what);
	return -1;
}

static uint64_t word64(const uint32_t *w)
{
	return w[0] | (uint64_t)w[1] << 32;
}

static int put(struct record_parser *p, const struct stream_event *ev)
{
	if (!stream_write(p->writer, ev))
		return 0;
	return give_up(p, stream_writer_error(p->writer)->text);
}

static int parse_tu(struct record_parser *p, const uint32_t *w, uint32_t n)
{
	struct stream_tu tu;
	struct stream_event ev = { .kind = STREAM_TU, .tu = &tu };

	if (n < 9 || w[2] > (n - 9) * 4 ||
	    w[0] != stream_writer_tu_count(p->writer))
		return give_up(p, "the module sent an impossible unit");
	memset(&tu, 0, sizeof(tu));
	tu.mode = w[1];
	tu.len = w[2];
	tu.gva = word64(w + 3);
	tu.gfn[0] = word64(w + 5);
	tu.gfn[1] = word64(w + 7);
	tu.code = (const uint8_t *)(w + 9);
	return put(p, &ev);
}

static int put_enter(struct record_parser *p, uint32_t tu, uint32_t off,
		     uint32_t how)
{
	const struct stream_event ev = {
		.kind = STREAM_ENTER,
		.enter = { .tu = tu, .off = off, .how = how },
	};

	if (tu >= stream_writer_tu_count(p->writer)) {
		p->strange++;
		return 0;
	}
	return put(p, &ev);
}

static int parse_entries(struct record_parser *p, const uint32_t *w,
			 uint32_t n)
{
	uint32_t i;

	for (i = 1; i < n; i++) {
		if (put_enter(p, w[i], 0, i == 1 ? w[0] : POPF_RECORD_CODE))
			return -1;
	}
	return 0;
}

static int parse_invalidate(struct record_parser *p, const uint32_t *w)
{
	const struct stream_event ev = {
		.kind = STREAM_INVALIDATE,
		.invalidate = { .cause = w[0], .gpa = w[1],
				.start = word64(w + 2), .len = word64(w + 4) },
	};

	return put(p, &ev);
}

static int parse_window(struct record_parser *p, const uint32_t *w)
{
	const struct stream_event ev = {
		.kind = STREAM_WINDOW,
		.window = { .now = w[0], .skipped = word64(w + 1) },
	};

	return put(p, &ev);
}

/* One record's content: n words behind its head. */
static int parse_one(struct record_parser *p, uint32_t type, const uint32_t *w,
		     uint32_t n)
{
	struct stream_event ev = { 0 };

	if (p->ended >= 0)
		return give_up(p, "the module went on behind the end");
	switch (type) {
	case POPF_RECORD_TU:
		return parse_tu(p, w, n);
	case POPF_RECORD_ENTRIES:
		return parse_entries(p, w, n);
	case POPF_RECORD_ENTER:
		return n < 3 ? 0 : put_enter(p, w[0], w[1], w[2]);
	case POPF_RECORD_INVALIDATE:
		return n < 6 ? 0 : parse_invalidate(p, w);
	case POPF_RECORD_FLUSH:
		ev.kind = STREAM_FLUSH;
		ev.flush.cause = n ? w[0] : STREAM_CAUSE_OTHER;
		return put(p, &ev);
	case POPF_RECORD_WINDOW:
		return n < 3 ? 0 : parse_window(p, w);
	case POPF_RECORD_CLOCK:
		ev.kind = STREAM_CLOCK;
		ev.clock.ns = n < 2 ? 0 : word64(w);
		return put(p, &ev);
	case POPF_RECORD_END:
		p->ended = n && w[0] < 4096 ? (int)w[0] : EIO;
		return 0;
	}
	return give_up(p, "the module sent a record of an unknown kind");
}

/* All whole records; what is left moves to the front. */
static int parse_words(struct record_parser *p)
{
	size_t at = 0;
	uint32_t n;

	while (at < p->count) {
		n = POPF_RECORD_WORDS(p->words[at]);
		if (!n || n > WORDS_MAX / 2)
			return give_up(p, "the module sent a record without end");
		if (n > p->count - at)
			break;
		if (parse_one(p, POPF_RECORD_TYPE(p->words[at]),
			      p->words + at + 1, n - 1))
			return -1;
		at += n;
	}
	memmove(p->words, p->words + at,
		(p->count - at) * sizeof(*p->words));
	p->count -= at;
	return 0;
}

int record_parse(struct record_parser *p, const void *data, size_t len)
{
	const uint8_t *from = data;
	size_t words = len / 4, n;

	if (len % 4)
		return give_up(p, "the module sent half a word");
	while (words && !p->error[0]) {
		n = WORDS_MAX - p->count;
		if (n > words)
			n = words;
		memcpy(p->words + p->count, from, n * 4);
		p->count += n;
		from += n * 4;
		words -= n;
		parse_words(p);
	}
	return p->error[0] ? -1 : 0;
}
