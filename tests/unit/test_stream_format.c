// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is written to a stream is read back; a file that has lost its end or in
 * which a bit has changed is refused, with an offset inside the file; and no
 * sequence of bytes makes the reader do anything else than that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "userland/stream/stream.h"
#include "userland/stream/stream_code.h"

#define CODE 0xffffffff81000000ull

struct file {
	uint8_t *data;
	size_t len, room;
	bool broken; /* writing fails */
};

static int file_write(void *opaque, const void *buf, size_t len)
{
	struct file *f = opaque;

	if (f->broken)
		return -1;
	if (f->len + len > f->room) {
		f->room = (f->len + len) * 2;
		f->data = realloc(f->data, f->room);
	}
	memcpy(f->data + f->len, buf, len);
	f->len += len;
	return 0;
}

static struct stream_writer *writer(struct file *f)
{
	struct stream_sink sink = { .write = file_write, .opaque = f };
	struct stream_writer *w;

	memset(f, 0, sizeof(*f));
	w = stream_writer_create(&sink);
	assert_non_null(w);
	return w;
}

static uint32_t random_state;

static uint32_t rnd(uint32_t n)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)random_state * n >> 32);
}

static void write_tu(struct stream_writer *w, uint64_t gva, uint32_t len)
{
	uint8_t code[STREAM_TU_MAX];
	struct stream_tu tu = {
		.gva = gva,
		.gfn = { gva / STREAM_PAGE & 0xfffff, 7 },
		.mode = rnd(2),
		.len = len,
		.code = code,
	};
	uint32_t i;

	/* The same address has mostly the same byte: overlaps are real. */
	for (i = 0; i < len; i++)
		code[i] = (uint8_t)((gva + i) * 37 + (rnd(500) == 0));
	assert_int_equal(stream_write_tu(w, &tu, NULL), 0);
}

/* Anything the writer takes, at random but the same each time. */
static void write_random(struct stream_writer *w, uint32_t n, uint32_t seed)
{
	struct stream_event ev;
	uint64_t ns = 0;
	uint32_t at = 0;

	random_state = seed;
	assert_int_equal(stream_write_meta(w, "kernel", "6.1"), 0);
	write_tu(w, CODE, 17);
	while (n--) {
		memset(&ev, 0, sizeof(ev));
		switch (rnd(40)) {
		case 0:
			ev.kind = STREAM_INVALIDATE;
			ev.invalidate.cause = rnd(STREAM_CAUSES);
			ev.invalidate.gpa = rnd(2);
			ev.invalidate.start = CODE + rnd(65536);
			ev.invalidate.len = 1 + rnd(4096);
			break;
		case 1:
			ev.kind = STREAM_FLUSH;
			ev.flush.cause = rnd(STREAM_CAUSES);
			break;
		case 2:
			ev.kind = STREAM_WINDOW;
			ev.window.now = rnd(STREAM_COMPLETENESSES);
			ev.window.skipped = rnd(100);
			break;
		case 3:
			ev.kind = STREAM_CLOCK;
			ev.clock.ns = ns += rnd(1000000);
			break;
		case 4:
		case 5:
		case 6:
			write_tu(w, CODE + rnd(20000), 1 + rnd(60));
			continue;
		default:
			/* Mostly a path, sometimes a leap. */
			at = rnd(10) ? (at * 5 + 1) % stream_writer_tu_count(w) :
				       rnd(stream_writer_tu_count(w));
			ev.kind = STREAM_ENTER;
			ev.enter.tu = at;
			ev.enter.how = rnd(20) ? STREAM_HOW_CODE :
						 rnd(STREAM_HOWS);
			break;
		}
		assert_int_equal(stream_write(w, &ev), 0);
	}
}

static void make(struct file *f, uint32_t n, uint32_t seed)
{
	struct stream_writer *w = writer(f);

	write_random(w, n, seed);
	assert_int_equal(stream_finish(w), 0);
	stream_writer_destroy(w);
}

/* Read all of it: events, or -1 with the error. */
static long read_all(const uint8_t *data, size_t len, struct stream_error *err)
{
	struct stream_mem mem = { .data = data, .len = len };
	struct stream_source src = stream_source_mem(&mem);
	struct stream_reader *r = stream_reader_create(&src);
	struct stream_event ev;
	long n = 0;
	int ret;

	assert_non_null(r);
	while ((ret = stream_next(r, &ev)) == 1)
		n++;
	if (ret < 0) {
		*err = *stream_reader_error(r);
		assert_int_not_equal(err->code, STREAM_OK);
		assert_true(err->text[0]);
		/* It stays so. */
		assert_int_equal(stream_next(r, &ev), -1);
	}
	stream_reader_destroy(r);
	return ret < 0 ? -1 : n;
}

static void assert_same_event(const struct stream_event *a,
			      const struct stream_event *b)
{
	assert_int_equal(a->kind, b->kind);
	switch (a->kind) {
	case STREAM_META:
		assert_string_equal(a->meta.key, b->meta.key);
		assert_string_equal(a->meta.value, b->meta.value);
		break;
	case STREAM_TU:
		assert_int_equal(a->tu->id, b->tu->id);
		assert_int_equal(a->tu->gva, b->tu->gva);
		assert_int_equal(a->tu->mode, b->tu->mode);
		assert_int_equal(a->tu->len, b->tu->len);
		assert_int_equal(a->tu->gfn[0], b->tu->gfn[0]);
		assert_int_equal(a->tu->gfn[1], b->tu->gfn[1]);
		assert_memory_equal(a->tu->code, b->tu->code, a->tu->len);
		break;
	case STREAM_ENTER:
		assert_int_equal(a->enter.tu, b->enter.tu);
		assert_int_equal(a->enter.off, b->enter.off);
		assert_int_equal(a->enter.how, b->enter.how);
		break;
	case STREAM_INVALIDATE:
		assert_int_equal(a->invalidate.cause, b->invalidate.cause);
		assert_int_equal(a->invalidate.gpa, b->invalidate.gpa);
		assert_int_equal(a->invalidate.start, b->invalidate.start);
		assert_int_equal(a->invalidate.len, b->invalidate.len);
		break;
	case STREAM_FLUSH:
		assert_int_equal(a->flush.cause, b->flush.cause);
		break;
	case STREAM_WINDOW:
		assert_int_equal(a->window.now, b->window.now);
		assert_int_equal(a->window.skipped, b->window.skipped);
		break;
	case STREAM_CLOCK:
		assert_int_equal(a->clock.ns, b->clock.ns);
		break;
	case STREAM_KINDS:
		fail();
	}
}

static void test_copy_has_the_same_events_and_bytes(void **state)
{
	struct file f, copy;
	struct stream_mem mem;
	struct stream_source src;
	struct stream_reader *r;
	struct stream_writer *w = writer(&copy);
	struct stream_event ev;
	int ret;

	make(&f, 60000, 1);
	mem = (struct stream_mem){ .data = f.data, .len = f.len };
	src = stream_source_mem(&mem);
	r = stream_reader_create(&src);
	while ((ret = stream_next(r, &ev)) == 1)
		assert_int_equal(stream_write(w, &ev), 0);
	assert_int_equal(ret, 0);
	assert_int_equal(stream_finish(w), 0);
	assert_int_equal(copy.len, f.len);
	assert_memory_equal(copy.data, f.data, f.len);
	stream_reader_destroy(r);
	stream_writer_destroy(w);
	free(f.data);
	free(copy.data);
}

/* The events that went in, field by field. */
static void test_every_field_survives(void **state)
{
	static const uint8_t code[] = { 0x90, 0xc3, 0x0f, 0x0b };
	const struct stream_tu tu = {
		.id = 0, .mode = 1, .gva = CODE + 0xffe, .gfn = { 5, 0x7ffff },
		.len = 4, .code = code,
	};
	const struct stream_tu high = {
		.id = 1, .mode = 255, .gva = ~3ull, .len = 4, .code = code,
		.gfn = { ~0ull >> 12, STREAM_NO_GFN },
	};
	const struct stream_event in[] = {
		{ .kind = STREAM_META, .meta = { "key", "" } },
		{ .kind = STREAM_TU, .tu = &tu },
		{ .kind = STREAM_TU, .tu = &high },
		{ .kind = STREAM_WINDOW, .window = { STREAM_SAMPLED, ~0ull } },
		{ .kind = STREAM_ENTER, .enter = { 0, 3, STREAM_HOW_DISPATCH } },
		{ .kind = STREAM_ENTER, .enter = { 1, 0, STREAM_HOW_CODE } },
		{ .kind = STREAM_ENTER, .enter = { 0, 3, STREAM_HOW_DISPATCH } },
		{ .kind = STREAM_ENTER, .enter = { 1, 0, STREAM_HOW_CODE } },
		{ .kind = STREAM_ENTER, .enter = { 1, 0, STREAM_HOW_INDIRECT } },
		{ .kind = STREAM_INVALIDATE,
		  .invalidate = { STREAM_CAUSE_CR3, false, 1ull << 63,
				  1ull << 63 } },
		{ .kind = STREAM_FLUSH, .flush = { STREAM_CAUSE_MODE } },
		{ .kind = STREAM_CLOCK, .clock = { 12345678901234ull } },
		{ .kind = STREAM_CLOCK, .clock = { 12345678901235ull } },
	};
	struct file f;
	struct stream_writer *w = writer(&f);
	struct stream_mem mem;
	struct stream_source src;
	struct stream_reader *r;
	struct stream_totals totals;
	struct stream_event ev;
	size_t i, n = sizeof(in) / sizeof(in[0]);

	for (i = 0; i < n; i++)
		assert_int_equal(stream_write(w, &in[i]), 0);
	assert_int_equal(stream_finish(w), 0);
	mem = (struct stream_mem){ .data = f.data, .len = f.len };
	src = stream_source_mem(&mem);
	r = stream_reader_create(&src);
	for (i = 0; i < n; i++) {
		assert_int_equal(stream_next(r, &ev), 1);
		assert_same_event(&in[i], &ev);
	}
	assert_int_equal(stream_next(r, &ev), 0);
	assert_int_equal(stream_next(r, &ev), 0);
	stream_reader_totals(r, &totals);
	assert_int_equal(totals.events, n);
	assert_int_equal(totals.entries, 5);
	assert_int_equal(totals.tus, 2);
	assert_int_equal(totals.skipped, ~0ull);
	stream_reader_destroy(r);
	stream_writer_destroy(w);
	free(f.data);
}

static void test_truncation_is_refused_at_every_byte(void **state)
{
	struct stream_error err;
	struct file f;
	size_t len;
	uint8_t *cut;

	make(&f, 600, 2);
	assert_true(read_all(f.data, f.len, &err) > 0);
	for (len = 0; len < f.len; len++) {
		/* Of the exact size, so that reading beyond is seen. */
		cut = malloc(len ? len : 1);
		memcpy(cut, f.data, len);
		assert_int_equal(read_all(cut, len, &err), -1);
		assert_int_equal(err.code, STREAM_DAMAGED);
		/* What is missing is missing at the end. */
		assert_int_equal(err.offset, len);
		free(cut);
	}
	free(f.data);
}

static void test_bytes_behind_the_end_are_refused(void **state)
{
	struct stream_error err;
	struct file f;

	make(&f, 10, 3);
	file_write(&f, "", 1);
	assert_int_equal(read_all(f.data, f.len, &err), -1);
	assert_int_equal(err.offset, f.len - 1);
	free(f.data);
}

static void test_every_flipped_bit_is_refused(void **state)
{
	struct stream_error err;
	struct file f;
	size_t i;
	int bit;

	make(&f, 200, 4);
	for (i = 0; i < f.len; i++) {
		for (bit = 0; bit < 8; bit++) {
			f.data[i] ^= (uint8_t)(1 << bit);
			assert_int_equal(read_all(f.data, f.len, &err), -1);
			/* The damage is where it says, or in that block. */
			assert_true(err.offset <= i || err.offset == f.len);
			f.data[i] ^= (uint8_t)(1 << bit);
		}
	}
	free(f.data);
}

/* The number of bytes of the block at `at`, head included. */
static size_t block_len(const struct file *f, size_t at)
{
	return BLOCK_HEAD + (get32(f->data + at) >> 8);
}

static void test_swapped_blocks_are_refused(void **state)
{
	struct stream_error err;
	struct file f;
	size_t a = FILE_HEAD, la, lb;
	uint8_t *turned;

	make(&f, 200000, 5);
	la = block_len(&f, a);
	lb = block_len(&f, a + la);
	assert_true(f.data[a + la] == BLOCK_DATA);
	turned = malloc(la + lb);
	memcpy(turned, f.data + a + la, lb);
	memcpy(turned + lb, f.data + a, la);
	memcpy(f.data + a, turned, la + lb);
	assert_int_equal(read_all(f.data, f.len, &err), -1);
	assert_int_equal(err.code, STREAM_DAMAGED);
	assert_int_equal(err.offset, a);
	free(turned);
	free(f.data);
}

/* Damage with a good checksum: parsed all the way, and never believed. */
static void test_nonsense_with_a_good_checksum_is_harmless(void **state)
{
	struct stream_error err;
	struct file f;
	size_t at = FILE_HEAD, len;
	uint32_t i, n, refused = 0;
	uint8_t *copy;

	make(&f, 800, 6);
	len = block_len(&f, at);
	copy = malloc(f.len);
	for (i = 0; i < 4000; i++) {
		memcpy(copy, f.data, f.len);
		for (n = 1 + rnd(3); n; n--)
			copy[at + BLOCK_HEAD + rnd((uint32_t)len - BLOCK_HEAD)] =
				(uint8_t)rnd(256);
		put32(copy + at + 4, block_crc(0, copy + at,
					       copy + at + BLOCK_HEAD,
					       len - BLOCK_HEAD));
		if (read_all(copy, f.len, &err) < 0) {
			assert_true(err.offset <= f.len);
			refused++;
		}
	}
	assert_true(refused > 2000);
	free(copy);
	free(f.data);
}

static void test_other_versions_and_files_are_told_apart(void **state)
{
	struct stream_error err;
	struct file f;

	make(&f, 10, 7);
	put32(f.data + 8, STREAM_VERSION + 1);
	put32(f.data + 12, stream_crc(0, f.data, 12));
	assert_int_equal(read_all(f.data, f.len, &err), -1);
	assert_int_equal(err.code, STREAM_NEWER);
	memcpy(f.data, "\x7f" "ELF", 4);
	assert_int_equal(read_all(f.data, f.len, &err), -1);
	assert_int_equal(err.code, STREAM_DAMAGED);
	assert_int_equal(err.offset, 0);
	free(f.data);
}

static void test_impossible_events_are_not_written(void **state)
{
	struct stream_event bad[] = {
		{ .kind = STREAM_ENTER, .enter = { .tu = 0 } },
		{ .kind = STREAM_KINDS },
		{ .kind = STREAM_META, .meta = { "", "x" } },
		{ .kind = STREAM_INVALIDATE, .invalidate = { .len = 0 } },
		{ .kind = STREAM_FLUSH, .flush = { STREAM_CAUSES } },
		{ .kind = STREAM_WINDOW, .window = { STREAM_COMPLETENESSES } },
	};
	struct stream_writer *w;
	struct file f;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		w = writer(&f);
		assert_int_equal(stream_write(w, &bad[i]), -1);
		assert_int_equal(stream_writer_error(w)->code, STREAM_MISUSE);
		assert_int_equal(stream_finish(w), -1);
		stream_writer_destroy(w);
		free(f.data);
	}
}

static void test_failing_sink_is_reported(void **state)
{
	struct file f;
	struct stream_writer *w = writer(&f);

	f.broken = true;
	assert_int_equal(stream_write_meta(w, "a", "b"), -1);
	assert_int_equal(stream_writer_error(w)->code, STREAM_IO);
	stream_writer_destroy(w);
	free(f.data);
}

static void test_loops_cost_next_to_nothing(void **state)
{
	struct file f;
	struct stream_writer *w = writer(&f);
	uint32_t i;

	random_state = 8;
	for (i = 0; i < 50; i++)
		write_tu(w, CODE + i * 64, 20);
	for (i = 0; i < 1000000; i++)
		assert_int_equal(stream_write_enter(w, i % 50, 0,
						    STREAM_HOW_CODE), 0);
	assert_int_equal(stream_finish(w), 0);
	assert_true(f.len < 3000);
	stream_writer_destroy(w);
	free(f.data);
}

static void test_image_knows_what_the_units_showed(void **state)
{
	static const uint8_t code[] = { 1, 2, 3, 4 }, other[] = { 9 };
	struct stream_tu tu = {
		.gva = CODE + 0xffe, .gfn = { 5, 9 }, .len = 4, .code = code,
	};
	struct stream_image *im = stream_image_create();
	uint32_t known = 77;
	uint64_t gfn;
	uint8_t buf[8];

	assert_int_equal(stream_image_fetch(im, CODE, buf, 8, &gfn, NULL), -1);
	assert_int_equal(stream_image_add(im, &tu), 0);
	assert_int_equal(stream_image_fetch(im, CODE + 0x1000, buf, 4, &gfn,
					    &known), 0);
	assert_int_equal(gfn, 9);
	assert_int_equal(known, 2);
	assert_memory_equal(buf, "\3\4\xf4\xf4", 4);
	assert_int_equal(stream_image_fetch(im, CODE + 0xff8, buf, 8, &gfn,
					    &known), 0);
	assert_int_equal(gfn, 5);
	assert_int_equal(known, 0);
	/* Never across a page's end. */
	assert_int_equal(stream_image_fetch(im, CODE + 0xffe, buf, 3, &gfn,
					    NULL), -1);
	/* The page comes to lie in another frame. */
	tu = (struct stream_tu){ .gva = CODE + 0x1001, .gfn = { 10 },
				 .len = 1, .code = other };
	assert_int_equal(stream_image_add(im, &tu), 0);
	assert_int_equal(stream_image_fetch(im, CODE + 0x1000, buf, 2, &gfn,
					    &known), 0);
	assert_int_equal(gfn, 10);
	assert_memory_equal(buf, "\xf4\x09", 2);
	stream_image_destroy(im);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copy_has_the_same_events_and_bytes),
		cmocka_unit_test(test_every_field_survives),
		cmocka_unit_test(test_truncation_is_refused_at_every_byte),
		cmocka_unit_test(test_bytes_behind_the_end_are_refused),
		cmocka_unit_test(test_every_flipped_bit_is_refused),
		cmocka_unit_test(test_swapped_blocks_are_refused),
		cmocka_unit_test(test_nonsense_with_a_good_checksum_is_harmless),
		cmocka_unit_test(test_other_versions_and_files_are_told_apart),
		cmocka_unit_test(test_impossible_events_are_not_written),
		cmocka_unit_test(test_failing_sink_is_reported),
		cmocka_unit_test(test_loops_cost_next_to_nothing),
		cmocka_unit_test(test_image_knows_what_the_units_showed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
