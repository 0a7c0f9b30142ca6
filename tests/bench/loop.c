// SPDX-License-Identifier: GPL-2.0-only
/*
 * A loop in user mode that makes no system call: SHA-256 of 64 MiB in memory, a few
 * times over. Prints the nanoseconds of the fastest round: what interrupts and
 * the scheduler take from all of them is in it, what a neighbour took from one
 * is not. Before that, the time stamp counter at its start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

#include "native/sha256.c"

#define SIZE (64ul << 20)
#define ROUNDS 5

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

int main(void)
{
	u64 best = ~0ull, began, took, i, round, seed = 0x5eed;
	u64 *data = malloc(SIZE);
	u32 state[8];

	printf("tsc %llu\n", (u64)__rdtsc());
	fflush(stdout);
	if (!data) {
		perror("loop: 64 MiB of memory");
		return 1;
	}
	make_tables();
	for (i = 0; i < SIZE / 8; i++)
		data[i] = next_random(&seed);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < 8; i++)
			state[i] = start_words[i];
		began = now();
		for (i = 0; i < SIZE; i += 64)
			block(state, (const u8 *)data + i);
		took = now() - began;
		if (took < best)
			best = took;
	}
	printf("loop %llu %08x\n", best, state[0]);
	free(data);
	return 0;
}
