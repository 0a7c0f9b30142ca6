// SPDX-License-Identifier: GPL-2.0-only
/* SHA-256 of a buffer: rotates and adds, straight-line code in one loop. */
#include "programs.h"

/* The first 32 bits of the fractions of the square and cube roots of primes. */
static u32 start_words[8], keys[64];

/* The integer cube root (or square root) of n << shift, bit by bit. */
static u64 root(u64 n, u32 shift, u32 power)
{
	unsigned __int128 target = (unsigned __int128)n << shift, product;
	u64 r = 0, bit;

	for (bit = 1ull << 37; bit; bit >>= 1) {
		u64 t = r | bit;

		product = (unsigned __int128)t * t;
		if (power == 3 && product >> 90)
			continue;
		if (power == 3)
			product *= t;
		if (product <= target)
			r = t;
	}
	return r;
}

static void make_tables(void)
{
	u32 n = 0, p, d;

	for (p = 2; n < 64; p++) {
		for (d = 2; d * d <= p && p % d; d++)
			;
		if (d * d <= p)
			continue;
		if (n < 8)
			start_words[n] = (u32)root(p, 64, 2);
		keys[n++] = (u32)root(p, 96, 3);
	}
}

static inline u32 rotate(u32 v, u32 n)
{
	return v >> n | v << (32 - n);
}

static noinline void block(u32 *state, const u8 *p)
{
	u32 w[64], v[8], i, t1, t2;

	for (i = 0; i < 16; i++, p += 4)
		w[i] = (u32)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
	for (; i < 64; i++) {
		t1 = w[i - 15];
		t2 = w[i - 2];
		w[i] = w[i - 16] + w[i - 7] +
		       (rotate(t1, 7) ^ rotate(t1, 18) ^ t1 >> 3) +
		       (rotate(t2, 17) ^ rotate(t2, 19) ^ t2 >> 10);
	}
	for (i = 0; i < 8; i++)
		v[i] = state[i];
	for (i = 0; i < 64; i++) {
		t1 = v[7] + keys[i] + w[i] + ((v[4] & v[5]) ^ (~v[4] & v[6])) +
		     (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25));
		t2 = ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2])) +
		     (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22));
		v[7] = v[6];
		v[6] = v[5];
		v[5] = v[4];
		v[4] = v[3] + t1;
		v[3] = v[2];
		v[2] = v[1];
		v[1] = v[0];
		v[0] = t1 + t2;
	}
	for (i = 0; i < 8; i++)
		state[i] += v[i];
}

u64 run_sha256(u64 rounds)
{
	static u8 data[16384];
	u64 seed = 0x5eed, sum = 0, i;
	u32 state[8];

	if (!keys[0])
		make_tables();
	for (i = 0; i < sizeof(data); i++)
		data[i] = (u8)next_random(&seed);
	while (rounds--) {
		for (i = 0; i < 8; i++)
			state[i] = start_words[i];
		for (i = 0; i < sizeof(data); i += 64)
			block(state, data + i);
		sum = mix(sum, (u64)state[0] << 32 | state[7]);
		data[rounds % sizeof(data)] ^= (u8)sum;
	}
	return sum;
}
