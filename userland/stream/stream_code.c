// SPDX-License-Identifier: GPL-2.0-only
/*
 * What reader and writer share: checksum, prediction of entries, names, and the
 * usual sources and sinks.
 */
#include "stream_code.h"

#include <string.h>

uint32_t stream_crc(uint32_t crc, const void *data, size_t len)
{
	/* One entry per value of half a byte. */
	static const uint32_t table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
		0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	const uint8_t *p = data;

	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		crc = table[crc & 15] ^ crc >> 4;
		crc = table[crc & 15] ^ crc >> 4;
	}
	return ~crc;
}

uint32_t block_crc(uint32_t index, const uint8_t head[4], const void *payload,
		   size_t len)
{
	uint8_t number[4];

	put32(number, index);
	return stream_crc(stream_crc(stream_crc(0, number, 4), head, 4),
			  payload, len);
}

static uint32_t slot(const struct predict *p, uint32_t rank)
{
	uint32_t depth = PREDICT_GUESSES - rank, i;
	uint64_t h = depth;

	for (i = 0; i < depth; i++)
		h = (h ^ p->last[i]) * 0x9e3779b97f4a7c15ull;
	return h >> (64 - PREDICT_BITS);
}

void predict_guess(const struct predict *p, symbol_t guess[PREDICT_GUESSES])
{
	symbol_t s;
	uint32_t i, k, n = 0;

	for (i = 0; i < PREDICT_GUESSES; i++) {
		s = ~p->table[i][slot(p, i)];
		for (k = 0; k < n && guess[k] != s; k++)
			;
		if (k == n && s != SYMBOL_NONE)
			guess[n++] = s;
	}
	while (n < PREDICT_GUESSES)
		guess[n++] = SYMBOL_NONE;
}

void predict_learn(struct predict *p, symbol_t s)
{
	uint32_t i;

	for (i = 0; i < PREDICT_GUESSES; i++)
		p->table[i][slot(p, i)] = ~s;
	p->last[2] = p->last[1];
	p->last[1] = p->last[0];
	p->last[0] = ~s;
}

void stream_fail(struct stream_error *e, enum stream_code code,
		 uint64_t offset, const char *text)
{
	if (e->code)
		return;
	e->code = code;
	e->offset = offset;
	snprintf(e->text, sizeof(e->text), "%s", text);
}

/* --- sources and sinks ------------------------------------------------------ */

static long mem_read(void *opaque, void *buf, size_t len)
{
	struct stream_mem *m = opaque;

	if (len > m->len - m->pos)
		len = m->len - m->pos;
	if (len)
		memcpy(buf, m->data + m->pos, len);
	m->pos += len;
	return (long)len;
}

struct stream_source stream_source_mem(struct stream_mem *mem)
{
	return (struct stream_source){ .read = mem_read, .opaque = mem };
}

static long file_read(void *opaque, void *buf, size_t len)
{
	size_t n = fread(buf, 1, len, opaque);

	return !n && ferror((FILE *)opaque) ? -1 : (long)n;
}

struct stream_source stream_source_file(FILE *file)
{
	return (struct stream_source){ .read = file_read, .opaque = file };
}

static int file_write(void *opaque, const void *buf, size_t len)
{
	return fwrite(buf, 1, len, opaque) == len ? 0 : -1;
}

struct stream_sink stream_sink_file(FILE *file)
{
	return (struct stream_sink){ .write = file_write, .opaque = file };
}

/* --- names ------------------------------------------------------------------- */

const char *stream_kind_name(enum stream_kind kind)
{
	static const char *const names[STREAM_KINDS] = {
		[STREAM_META] = "meta",
		[STREAM_TU] = "tu",
		[STREAM_ENTER] = "enter",
		[STREAM_INVALIDATE] = "invalidate",
		[STREAM_FLUSH] = "flush",
		[STREAM_WINDOW] = "window",
		[STREAM_CLOCK] = "clock",
	};

	return kind < STREAM_KINDS ? names[kind] : "?";
}

const char *stream_how_name(enum stream_how how)
{
	static const char *const names[STREAM_HOWS] = {
		[STREAM_HOW_CODE] = "code",
		[STREAM_HOW_DIRECT] = "direct",
		[STREAM_HOW_INDIRECT] = "indirect",
		[STREAM_HOW_DISPATCH] = "dispatch",
	};

	return how < STREAM_HOWS ? names[how] : "?";
}

const char *stream_cause_name(enum stream_cause cause)
{
	static const char *const names[STREAM_CAUSES] = {
		[STREAM_CAUSE_WRITE] = "write",
		[STREAM_CAUSE_MAPPING] = "mapping",
		[STREAM_CAUSE_CR3] = "cr3",
		[STREAM_CAUSE_MODE] = "mode",
		[STREAM_CAUSE_FULL] = "full",
		[STREAM_CAUSE_RECORDER] = "recorder",
		[STREAM_CAUSE_OTHER] = "other",
	};

	return cause < STREAM_CAUSES ? names[cause] : "?";
}

const char *stream_completeness_name(enum stream_completeness c)
{
	static const char *const names[STREAM_COMPLETENESSES] = {
		[STREAM_OFF] = "off",
		[STREAM_COMPLETE] = "complete",
		[STREAM_SAMPLED] = "sampled",
	};

	return c < STREAM_COMPLETENESSES ? names[c] : "?";
}
