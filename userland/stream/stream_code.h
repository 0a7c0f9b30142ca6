/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private to the stream library: what reader and writer must agree on.
 *
 * Entries are predicted from the entries before them, with the same tables on
 * both sides, and only mispredictions are written out.
 */
#ifndef POPF_STREAM_CODE_H
#define POPF_STREAM_CODE_H

#include "stream.h"

#define FILE_HEAD 16u
#define FILE_MAGIC "\x89popfstr" /* 8 bytes */
#define BLOCK_HEAD 8u
#define BLOCK_MAX (1u << 18) /* payload bytes that a reader accepts */
#define BLOCK_FULL (1u << 14) /* payload bytes at which a writer ends one */
#define BLOCK_DATA 'D'
#define BLOCK_END 'E'
#define VARINT_MAX 10u

/* The low two bits of a token; the rest is the argument. */
enum token {
	TOKEN_RUN, /* argument + 1 entries as guessed first */
	TOKEN_GUESS, /* one entry: the guess of rank argument + 1 */
	TOKEN_ENTER, /* how and whether there is an offset */
	TOKEN_EVENT, /* enum stream_kind */
};

/* An entry in one number, for the tables. */
typedef uint64_t symbol_t;

#define SYMBOL_NONE (~0ull)

static inline symbol_t symbol(uint32_t tu, uint32_t off, enum stream_how how)
{
	return tu | (uint64_t)off << 24 | (uint64_t)how << 40;
}

static inline uint32_t symbol_tu(symbol_t s)
{
	return s & 0xffffff;
}

static inline uint32_t symbol_off(symbol_t s)
{
	return s >> 24 & 0xffff;
}

static inline enum stream_how symbol_how(symbol_t s)
{
	return s >> 40 & 3;
}

#define PREDICT_BITS 16u
#define PREDICT_GUESSES 3u

/*
 * Contexts of three, two and one entries before. Symbols are kept inverted: all
 * zeros, SYMBOL_NONE, is the state to start from.
 */
struct predict {
	symbol_t table[PREDICT_GUESSES][1u << PREDICT_BITS];
	symbol_t last[3]; /* [0] is the latest */
};

/* The guesses for the next entry, the best first; SYMBOL_NONE: nothing. */
void predict_guess(const struct predict *p, symbol_t guess[PREDICT_GUESSES]);
void predict_learn(struct predict *p, symbol_t s);

/* CRC-32 (reflected, polynomial edb88320), to be continued from crc; starts at 0. */
uint32_t stream_crc(uint32_t crc, const void *data, size_t len);

/* Checksum of a block: its number, its head without the checksum, its payload. */
uint32_t block_crc(uint32_t index, const uint8_t head[4], const void *payload,
		   size_t len);

static inline void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static inline uint32_t get32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Signed differences: small numbers of either sign are small. */
static inline uint64_t zigzag(uint64_t v)
{
	return v << 1 ^ (uint64_t)-(int64_t)(v >> 63);
}

static inline uint64_t unzigzag(uint64_t v)
{
	return v >> 1 ^ (uint64_t)-(int64_t)(v & 1);
}

/* Does the code of a TU run into a second page? */
static inline bool tu_crosses(const struct stream_tu *tu)
{
	return (tu->gva & (STREAM_PAGE - 1)) + tu->len > STREAM_PAGE;
}

void stream_fail(struct stream_error *e, enum stream_code code,
		 uint64_t offset, const char *text);

#endif
