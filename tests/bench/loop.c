// SPDX-License-Identifier: GPL-2.0-only
/*
 * loop ROUNDS: a loop in user mode that makes no system call, SHA-256 of 64 MiB in memory.
 * Each round waits for a line on standard input, so that a guest's rounds and the host's
 * can take turns, and prints the nanoseconds that each quarter took: what a neighbour took
 * from one it did not take from all. Before that, the time stamp counter at its start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

#include "native/sha256.c"

#define SIZE (64ul << 20)
#define PARTS 4

static volatile u32 checksum; /* nobody reads it, but the compiler must not know */

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static u64 hash(u32 *state, const u8 *data, u64 size)
{
	u64 began = now(), i;

	for (i = 0; i < size; i += 64)
		block(state, data + i);
	return now() - began;
}

static void hash_all(const u8 *data)
{
	u64 took[PARTS], i;
	u32 state[8];

	for (i = 0; i < 8; i++)
		state[i] = start_words[i];
	for (i = 0; i < PARTS; i++)
		took[i] = hash(state, data + i * (SIZE / PARTS), SIZE / PARTS);
	checksum = state[0];
	printf("round");
	for (i = 0; i < PARTS; i++)
		printf(" %llu", took[i]);
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	u64 *data = malloc(SIZE);
	u64 i, seed = 0x5eed, rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	char line[80];

	printf("tsc %llu\n", (u64)__rdtsc());
	fflush(stdout);
	if (!data) {
		perror("loop: 64 MiB of memory");
		return 1;
	}
	make_tables();
	for (i = 0; i < SIZE / 8; i++)
		data[i] = next_random(&seed);
	for (; rounds && fgets(line, sizeof(line), stdin); rounds--)
		hash_all((const u8 *)data);
	free(data);
	return 0;
}
