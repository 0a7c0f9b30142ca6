/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The programs that `make bench BENCH=native` runs natively and translated:
 * freestanding, compiled as a kernel is (see native.mk), linked into one image.
 *
 * Each is a function of a number of rounds that returns a checksum of all it
 * has computed. Nothing is kept between calls except buffers that each call
 * fills anew, so the same rounds give the same checksum.
 */
#ifndef TESTS_BENCH_PROGRAMS_H
#define TESTS_BENCH_PROGRAMS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define noinline __attribute__((noinline, noclone))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct program {
	char name[24];
	/* "mix" makes up the geometric mean; "ladder"; "extra": known to be hard. */
	char set[8];
	u64 (*run)(u64 rounds);
	/* Rounds for about a millisecond, and for a count by single steps. */
	u64 rounds, few;
};

/* The image starts with this. */
struct programs {
	char magic[8]; /* "programs" */
	u64 count;
	void (*start)(void); /* calls RAX with RDI, then int3 */
	struct program list[];
};

u64 run_inflate(u64 rounds);
u64 run_sha256(u64 rounds);
u64 run_sort(u64 rounds);
u64 run_bytecode(u64 rounds);
u64 run_lists(u64 rounds);
u64 run_strings(u64 rounds);
u64 run_switch(u64 rounds);
u64 run_calls(u64 rounds);
u64 run_call_ladder(u64 rounds);
u64 run_indirect_ladder(u64 rounds);

/* A generator of numbers that look random. */
static inline u64 next_random(u64 *state)
{
	u64 x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

static inline u64 mix(u64 sum, u64 value)
{
	sum = (sum ^ value) * 0x9e3779b97f4a7c15ull;
	return sum ^ sum >> 29;
}

#endif
