// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any bytes as a recorded stream: refused with an offset inside the file, or read to
 * its end; and what was read is written and read again as the same events.
 *
 * Input: one byte of settings, then a whole file as it is, or (SET_PAYLOAD) the
 * payloads of its blocks, one after the other with two bytes of length in front, that
 * are given the heads and checksums they need to be looked at.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "userland/stream/stream.h"
#include "userland/stream/stream_code.h"

#define SET_PAYLOAD 0x01

static struct {
	uint8_t *data;
	size_t len, room;
} file;

static int append(void *opaque, const void *buf, size_t len)
{
	/* An empty block has no bytes, and may have no buffer. */
	if (!len)
		return 0;
	if (file.len + len > file.room) {
		file.room = 2 * (file.len + len);
		file.data = realloc(file.data, file.room);
	}
	memcpy(file.data + file.len, buf, len);
	file.len += len;
	return 0;
}

static void append_block(uint32_t index, char type, const uint8_t *p, size_t n)
{
	uint8_t head[8] = { (uint8_t)type, (uint8_t)n, (uint8_t)(n >> 8) };

	put32(head + 4, block_crc(index, head, p, (uint32_t)n));
	append(NULL, head, sizeof(head));
	append(NULL, p, n);
}

static void make_file(const uint8_t *data, size_t size)
{
	uint8_t head[16] = { 0x89, 'p', 'o', 'p', 'f', 's', 't', 'r', 1 };
	uint32_t index = 0;
	size_t n;

	put32(head + 12, stream_crc(0, head, 12));
	append(NULL, head, sizeof(head));
	while (size > 2) {
		n = data[0] | (size_t)data[1] << 8;
		data += 2;
		size -= 2;
		if (n > size)
			n = size;
		/* Whatever comes last is the end block. */
		append_block(index++, n < size ? 'D' : 'E', data, n);
		data += n;
		size -= n;
	}
}

/* Hash of all that is handed out; -1 in *ret: refused. */
static uint64_t read_all(const uint8_t *data, size_t len, int *ret,
			 struct stream_writer *w, struct stream_totals *totals)
{
	struct stream_mem mem = { .data = data, .len = len };
	struct stream_source source = stream_source_mem(&mem);
	struct stream_reader *r = stream_reader_create(&source);
	const struct stream_error *error;
	struct stream_event ev;
	uint64_t h = 1;

	FUZZ_CHECK(r, "no reader");
	while ((*ret = stream_next(r, &ev)) > 0) {
		h = h * 0x9e3779b97f4a7c15ull + (uint64_t)ev.kind;
		if (ev.kind == STREAM_TU)
			h = h * 31 + ev.tu->gva + ev.tu->len +
			    stream_crc(0, ev.tu->code, ev.tu->len);
		else if (ev.kind == STREAM_ENTER)
			h = h * 31 + ev.enter.tu + ev.enter.off + ev.enter.how;
		else if (ev.kind == STREAM_INVALIDATE)
			h = h * 31 + ev.invalidate.start + ev.invalidate.len;
		else if (ev.kind == STREAM_META)
			h = h * 31 + strlen(ev.meta.key) + strlen(ev.meta.value);
		FUZZ_CHECK(ev.offset < len, "an event outside the file");
		if (w)
			FUZZ_CHECK(!stream_write(w, &ev),
				   "what was read cannot be written: %s",
				   stream_writer_error(w)->text);
	}
	error = stream_reader_error(r);
	if (*ret < 0) {
		FUZZ_CHECK(error->code != STREAM_OK && error->text[0] &&
				   error->offset <= len,
			   "refused without a reason or place");
		FUZZ_CHECK(stream_next(r, &ev) < 0, "refused, then not");
	}
	stream_reader_totals(r, totals);
	stream_reader_destroy(r);
	return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream_sink sink = { .write = append };
	struct stream_totals a, b;
	struct stream_writer *w;
	uint8_t *copy;
	uint64_t h;
	size_t len;
	int ret;

	if (!size)
		return 0;
	file.len = 0;
	if (data[0] & SET_PAYLOAD)
		make_file(data + 1, size - 1);
	else
		append(NULL, data + 1, size - 1);
	/* Of its exact size, for the sanitizer. */
	len = file.len;
	copy = malloc(len ? len : 1);
	if (len)
		memcpy(copy, file.data, len);
	file.len = 0;
	w = stream_writer_create(&sink);
	FUZZ_CHECK(w, "no writer");
	h = read_all(copy, len, &ret, w, &a);
	free(copy);
	if (!ret) {
		FUZZ_CHECK(!stream_finish(w), "cannot be finished");
		FUZZ_CHECK(read_all(file.data, file.len, &ret, NULL, &b) == h &&
				   !ret && a.events == b.events &&
				   a.entries == b.entries,
			   "written, it reads otherwise");
	}
	stream_writer_destroy(w);
	return 0;
}
