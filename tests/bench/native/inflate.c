// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inflate (RFC 1951) of a stream with dynamic Huffman codes that deflated.py has
 * made: bit by bit through canonical code tables, then copies out of the window.
 */
#include "programs.h"
#include "deflated.h"

#define MAX_BITS 15

struct codes {
	u16 count[MAX_BITS + 1]; /* how many codes have this length */
	u16 symbol[288]; /* in the order of their codes */
};

static struct {
	const u8 *in;
	u64 held; /* bits not yet used, the next the lowest */
	u32 bits; /* how many those are */
	u8 *out;
	struct codes literals, distances;
} s;

static u8 output[DEFLATED_SIZE];

static u32 take(u32 n)
{
	u32 v;

	while (s.bits < n) {
		s.held |= (u64)*s.in++ << s.bits;
		s.bits += 8;
	}
	v = (u32)s.held & ((1u << n) - 1);
	s.held >>= n;
	s.bits -= n;
	return v;
}

static noinline u32 symbol(const struct codes *c)
{
	int code = 0, first = 0, index = 0;
	u32 len;

	for (len = 1; len <= MAX_BITS; len++) {
		int count = c->count[len];

		code |= (int)take(1);
		if (code - count < first)
			return c->symbol[index + (code - first)];
		index += count;
		first = (first + count) << 1;
		code <<= 1;
	}
	return 0;
}

static noinline void make_codes(struct codes *c, const u8 *length, u32 n)
{
	u16 at[MAX_BITS + 2];
	u32 i;

	for (i = 0; i <= MAX_BITS; i++)
		c->count[i] = 0;
	for (i = 0; i < n; i++)
		c->count[length[i]]++;
	at[1] = 0;
	for (i = 1; i <= MAX_BITS; i++)
		at[i + 1] = (u16)(at[i] + c->count[i]);
	for (i = 0; i < n; i++) {
		if (length[i])
			c->symbol[at[length[i]]++] = (u16)i;
	}
	c->count[0] = 0;
}

static noinline void read_codes(void)
{
	static const u8 order[19] = { 16, 17, 18, 0, 8,	 7, 9,	6, 10, 5,
				      11, 4,  12, 3, 13, 2, 14, 1, 15 };
	u32 nlit = take(5) + 257, ndist = take(5) + 1, ncode = take(4) + 4;
	u32 i, sym, n;
	u8 length[320], value;

	for (i = 0; i < 19; i++)
		length[i] = 0;
	for (i = 0; i < ncode; i++)
		length[order[i]] = (u8)take(3);
	make_codes(&s.literals, length, 19);
	for (i = 0; i < nlit + ndist;) {
		sym = symbol(&s.literals);
		value = 0;
		n = 1;
		if (sym < 16) {
			value = (u8)sym;
		} else if (sym == 16) {
			value = i ? length[i - 1] : 0;
			n = 3 + take(2);
		} else {
			n = sym == 17 ? 3 + take(3) : 11 + take(7);
		}
		while (n-- && i < sizeof(length))
			length[i++] = value;
	}
	make_codes(&s.literals, length, nlit);
	make_codes(&s.distances, length + nlit, ndist);
}

static noinline void inflate_block(void)
{
	static const u16 length_base[29] = {
		3,  4,	5,  6,	7,  8,	9,  10, 11,  13,  15,  17,  19,	 23, 27,
		31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258
	};
	static const u8 length_bits[29] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1,
					    1, 1, 2, 2, 2, 2, 3, 3, 3, 3,
					    4, 4, 4, 4, 5, 5, 5, 5, 0 };
	u32 sym, len, distance;

	while ((sym = symbol(&s.literals)) != 256) {
		if (sym < 256) {
			*s.out++ = (u8)sym;
			continue;
		}
		sym = (sym - 257) % 29;
		len = length_base[sym] + take(length_bits[sym]);
		sym = symbol(&s.distances);
		distance = 1 + sym;
		if (sym >= 4)
			distance = 1 + ((2u + (sym & 1)) << (sym / 2 - 1)) +
				   take(sym / 2 - 1);
		while (len--) {
			*s.out = s.out[-(long)distance];
			s.out++;
		}
	}
}

static u64 inflate(void)
{
	u32 last;

	s.in = deflated;
	s.held = 0;
	s.bits = 0;
	s.out = output;
	do {
		last = take(1);
		if (take(2) != 2)
			return 0;
		read_codes();
		inflate_block();
	} while (!last);
	return (u64)(s.out - output);
}

u64 run_inflate(u64 rounds)
{
	u64 sum = 0, i;

	while (rounds--) {
		sum = mix(sum, inflate());
		for (i = 0; i < DEFLATED_SIZE; i += 8)
			sum = mix(sum, *(const u64 *)(output + i));
	}
	return sum;
}
