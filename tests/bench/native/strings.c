// SPDX-License-Identifier: GPL-2.0-only
/*
 * Copies and scans of many lengths, as path walking and copying between buffers
 * make them: small copies by word and byte, large ones by REP MOVSB.
 */
#include "programs.h"

static char text[8192], copy[8192];

static noinline void *copy_bytes(void *to, const void *from, u64 n)
{
	u8 *d = to;
	const u8 *s = from;

	if (n >= 256) {
		__asm__ volatile("rep movsb"
				 : "+D"(d), "+S"(s), "+c"(n)
				 :
				 : "memory");
		return to;
	}
	for (; n >= 8; n -= 8, d += 8, s += 8)
		*(u64 *)d = *(const u64 *)s;
	while (n--)
		*d++ = *s++;
	return to;
}

static noinline u64 length(const char *s)
{
	const char *p = s;

	while (*p)
		p++;
	return (u64)(p - s);
}

static noinline int compare(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (u8)*a - (u8)*b;
}

static noinline char *find(const char *s, char c)
{
	while (*s != c) {
		if (!*s++)
			return 0;
	}
	return (char *)s;
}

static noinline void fill(void *to, int c, u64 n)
{
	u8 *d = to;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
}

/* Paths of random parts, each path ended by a zero. */
static u64 make_text(u64 seed)
{
	u64 n = 0, i, parts, len;

	while (n < sizeof(text) - 200) {
		parts = 1 + next_random(&seed) % 5;
		while (parts--) {
			text[n++] = '/';
			len = 1 + next_random(&seed) % 20;
			for (i = 0; i < len; i++)
				text[n++] = (char)('a' + next_random(&seed) % 26);
		}
		text[n++] = 0;
	}
	return n;
}

u64 run_strings(u64 rounds)
{
	u64 size = make_text(0x57a9), sum = 0, at, len;
	char *p;

	while (rounds--) {
		fill(copy, 0, sizeof(copy));
		for (at = 0; at < size; at += len + 1) {
			len = length(text + at);
			copy_bytes(copy + at, text + at, len + 1);
			for (p = copy + at; (p = find(p + 1, '/'));)
				sum += (u64)(p - copy);
			sum += (u64)compare(text + at, copy + at);
		}
		copy_bytes(copy + 1, text, size);
		sum = mix(sum, (u64)compare(copy + 1, text) + size);
	}
	return sum;
}
