// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module records becomes a stream, however read() cuts it up; entries
 * that a guest has spoilt are left out and counted; what makes no sense ends the
 * recording; and a text on the console is found wherever it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "userland/options.h"
#include "userland/record.h"

#define CODE 0xffffffff81000ff0ull

struct file {
	uint8_t data[4096];
	size_t len;
};

static int file_write(void *opaque, const void *buf, size_t len)
{
	struct file *f = opaque;

	assert_true(f->len + len <= sizeof(f->data));
	memcpy(f->data + f->len, buf, len);
	f->len += len;
	return 0;
}

static uint32_t words[256];
static size_t n_words;

static void put(uint32_t type, const uint32_t *w, uint32_t n)
{
	words[n_words++] = POPF_RECORD_HEAD(type, n + 1);
	memcpy(words + n_words, w, n * 4);
	n_words += n;
}

#define PUT(type, ...)                                          \
	do {                                                    \
		const uint32_t w_[] = { __VA_ARGS__ };          \
		put(type, w_, sizeof(w_) / 4);                  \
	} while (0)

static void put_tu(uint32_t id, uint64_t gva)
{
	PUT(POPF_RECORD_TU, id, 0, 3, (uint32_t)gva, (uint32_t)(gva >> 32), 7, 0,
	    ~0u, ~0u, 0xc39090);
}

/* Parses words in pieces of so many bytes; the events that come of it, by kind. */
static int parse(struct record_parser *p, size_t piece,
		 unsigned int by_kind[STREAM_KINDS])
{
	struct file f = { .len = 0 };
	struct stream_sink sink = { .write = file_write, .opaque = &f };
	struct stream_mem mem = { .data = f.data };
	struct stream_source src = stream_source_mem(&mem);
	struct stream_reader *r;
	struct stream_event ev;
	size_t at, n;
	int ret = 0;

	assert_int_equal(record_parser_init(p, stream_writer_create(&sink)), 0);
	for (at = 0; at < n_words * 4 && !ret; at += n) {
		n = n_words * 4 - at < piece ? n_words * 4 - at : piece;
		ret = record_parse(p, (uint8_t *)words + at, n);
	}
	memset(by_kind, 0, STREAM_KINDS * sizeof(*by_kind));
	if (!ret) {
		assert_int_equal(stream_finish(p->writer), 0);
		mem.len = f.len;
		r = stream_reader_create(&src);
		while (stream_next(r, &ev) == 1)
			by_kind[ev.kind]++;
		assert_int_equal(stream_reader_error(r)->code, STREAM_OK);
		stream_reader_destroy(r);
	}
	stream_writer_destroy(p->writer);
	record_parser_fini(p);
	n_words = 0;
	return ret;
}

static void put_all(void)
{
	PUT(POPF_RECORD_WINDOW, POPF_RECORD_COMPLETE, 0, 0);
	put_tu(0, CODE);
	put_tu(1, CODE + 3);
	PUT(POPF_RECORD_ENTRIES, POPF_RECORD_DIRECT, 0, 1, 0);
	PUT(POPF_RECORD_ENTER, 1, 2, POPF_RECORD_DISPATCH);
	PUT(POPF_RECORD_INVALIDATE, POPF_RECORD_WRITE, 1, 0x7000, 0, 16, 0);
	PUT(POPF_RECORD_FLUSH, POPF_RECORD_RECORDER);
	PUT(POPF_RECORD_CLOCK, 5, 1);
	PUT(POPF_RECORD_END, 0);
}

static void test_every_record_becomes_its_event(void **state)
{
	unsigned int k[STREAM_KINDS];
	struct record_parser p;
	size_t piece;

	for (piece = 4; piece <= 256; piece += 4) {
		put_all();
		assert_int_equal(parse(&p, piece, k), 0);
		assert_int_equal(k[STREAM_TU], 2);
		assert_int_equal(k[STREAM_ENTER], 4);
		assert_int_equal(k[STREAM_INVALIDATE], 1);
		assert_int_equal(k[STREAM_FLUSH], 1);
		assert_int_equal(k[STREAM_WINDOW], 1);
		assert_int_equal(k[STREAM_CLOCK], 1);
		assert_int_equal(p.ended, 0);
		assert_int_equal(p.strange, 0);
	}
}

static void test_spoilt_entries_are_counted(void **state)
{
	unsigned int k[STREAM_KINDS];
	struct record_parser p;

	put_tu(0, CODE);
	PUT(POPF_RECORD_ENTRIES, POPF_RECORD_CODE, 0, 1, 0xdeadbeef, 0);
	PUT(POPF_RECORD_END, 0);
	assert_int_equal(parse(&p, 4096, k), 0);
	assert_int_equal(k[STREAM_ENTER], 2);
	assert_int_equal(p.strange, 2);
}

static void test_end_says_why(void **state)
{
	unsigned int k[STREAM_KINDS];
	struct record_parser p;

	put_tu(0, CODE);
	assert_int_equal(parse(&p, 4096, k), 0);
	assert_int_equal(p.ended, -1);
	PUT(POPF_RECORD_END, ENOSPC);
	assert_int_equal(parse(&p, 4096, k), 0);
	assert_int_equal(p.ended, ENOSPC);
}

static void test_nonsense_ends_the_recording(void **state)
{
	unsigned int k[STREAM_KINDS], i;
	struct record_parser p;

	for (i = 0; i < 7; i++) {
		switch (i) {
		case 0: /* out of turn */
			put_tu(1, CODE);
			break;
		case 1: /* more code than there is */
			PUT(POPF_RECORD_TU, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0);
			break;
		case 2: /* no record has no words */
			words[n_words++] = POPF_RECORD_FLUSH;
			break;
		case 3:
			PUT(99, 0);
			break;
		case 4: /* nothing comes behind the end */
			PUT(POPF_RECORD_END, 0);
			PUT(POPF_RECORD_FLUSH, 0);
			break;
		case 5: /* the stream takes no such cause */
			PUT(POPF_RECORD_FLUSH, 1000);
			break;
		case 6: /* nor an entry behind its unit's end */
			put_tu(0, CODE);
			PUT(POPF_RECORD_ENTER, 0, 3, 0);
			break;
		}
		assert_int_equal(parse(&p, 4096, k), -1);
		assert_true(p.error[0]);
	}
}

static bool found(const char *text, const char *in)
{
	struct record_match m = { .text = text };

	while (*in) {
		if (record_match(&m, *in++))
			return true;
	}
	return false;
}

static void test_texts_are_found(void **state)
{
	assert_true(found("abc", "xxabcxx"));
	assert_true(found("aab", "aaab"));
	assert_true(found("a", "xa"));
	assert_true(found("login:", "\r\nDebian login: "));
	assert_false(found("abc", "ab c"));
	assert_false(found("abc", "ab"));
	assert_false(found(NULL, "anything"));
}

static int parse_options(struct run_options *o, const char *option,
			 const char *value)
{
	char *argv[] = { "run", "--kernel", "k", (char *)option, (char *)value,
			 NULL };
	struct error err = { .code = POPF_EXIT_OK };

	return options_parse(o, 5, argv, &err);
}

static void test_numbers_of_entries_are_understood(void **state)
{
	struct run_options o;

	assert_int_equal(parse_options(&o, "--record-window", "200k"), 0);
	assert_int_equal(o.record.window, 200000);
	assert_int_equal(o.record.burst, RECORD_BURST);
	assert_int_equal(parse_options(&o, "--record-gap", "2G"), 0);
	assert_int_equal(o.record.gap, 2000000000);
	assert_int_equal(parse_options(&o, "--record-gap", "0"), 0);
	assert_int_equal(o.record.gap, 0);
	assert_int_equal(parse_options(&o, "--record-burst", "0"), -1);
	assert_int_equal(parse_options(&o, "--record-window", "5x"), -1);
	assert_int_equal(parse_options(&o, "--record-window", "-5"), -1);
	assert_int_equal(parse_options(&o, "--record-window", "1mm"), -1);
	assert_int_equal(parse_options(&o, "--record-from", ""), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_record_becomes_its_event),
		cmocka_unit_test(test_spoilt_entries_are_counted),
		cmocka_unit_test(test_end_says_why),
		cmocka_unit_test(test_nonsense_ends_the_recording),
		cmocka_unit_test(test_texts_are_found),
		cmocka_unit_test(test_numbers_of_entries_are_understood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
