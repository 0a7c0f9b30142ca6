// SPDX-License-Identifier: GPL-2.0-only
/* Quicksort as a library has it: comparison and swap through pointers. */
#include "programs.h"

#define COUNT 1500

struct item {
	u64 key;
	u32 tag, weight;
};

typedef int (*compare_fn)(const void *a, const void *b);
typedef void (*swap_fn)(void *a, void *b, u64 size);

static struct item items[COUNT];

static noinline int by_key(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

static noinline int by_weight(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->weight != y->weight)
		return x->weight < y->weight ? -1 : 1;
	return by_key(a, b);
}

static noinline void swap_words(void *a, void *b, u64 size)
{
	u64 *x = a, *y = b, t;

	for (; size; size -= 8, x++, y++) {
		t = *x;
		*x = *y;
		*y = t;
	}
}

static noinline void sort(u8 *base, long n, u64 size, compare_fn compare,
			  swap_fn swap)
{
	while (n > 1) {
		u8 *pivot = base, *last = base + (u64)(n - 1) * size;
		u8 *lo = base, *hi = last + size;
		long left;

		swap(base, base + (u64)(n / 2) * size, size);
		for (;;) {
			do
				lo += size;
			while (lo < last && compare(lo, pivot) < 0);
			do
				hi -= size;
			while (compare(hi, pivot) > 0);
			if (lo >= hi)
				break;
			swap(lo, hi, size);
		}
		swap(pivot, hi, size);
		left = (long)((u64)(hi - base) / size);
		sort(hi + size, n - left - 1, size, compare, swap);
		n = left;
	}
}

u64 run_sort(u64 rounds)
{
	u64 seed = 0x50f7, sum = 0, i;

	while (rounds--) {
		for (i = 0; i < COUNT; i++) {
			items[i].key = next_random(&seed);
			items[i].tag = (u32)i;
			items[i].weight = (u32)next_random(&seed) % 64;
		}
		sort((u8 *)items, COUNT, sizeof(items[0]),
		     rounds & 1 ? by_weight : by_key, swap_words);
		for (i = 0; i < COUNT; i += 7)
			sum = mix(sum, items[i].key + items[i].tag);
	}
	return sum;
}
