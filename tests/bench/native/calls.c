// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls: a tree walked by recursion with operations through a table of
 * pointers, as a file system layer has it; and two ladders that are nothing but
 * calls and returns.
 */
#include "programs.h"

struct shape;

struct operations {
	u64 (*measure)(const struct shape *s, u64 seen);
	u64 (*visit)(const struct shape *s, u64 seen);
};

struct shape {
	const struct operations *ops;
	const struct shape *left, *right;
	u64 value;
};

#define SHAPES 1023

static struct shape shapes[SHAPES];

static noinline u64 measure_small(const struct shape *s, u64 seen)
{
	return s->value + seen;
}

static noinline u64 measure_large(const struct shape *s, u64 seen)
{
	return s->value * 3 ^ seen;
}

static noinline u64 walk(const struct shape *s, u64 seen)
{
	if (!s)
		return seen;
	seen = s->ops->measure(s, seen);
	seen = s->ops->visit(s, seen);
	return seen;
}

static noinline u64 visit_left(const struct shape *s, u64 seen)
{
	seen = walk(s->left, seen);
	return walk(s->right, seen + 1);
}

static noinline u64 visit_right(const struct shape *s, u64 seen)
{
	seen = walk(s->right, seen);
	return walk(s->left, seen ^ 5);
}

static const struct operations kinds[] = {
	{ measure_small, visit_left },
	{ measure_large, visit_left },
	{ measure_small, visit_right },
	{ measure_large, visit_right },
};

u64 run_calls(u64 rounds)
{
	u64 seed = 0xca115, sum = 0, i;

	for (i = 0; i < SHAPES; i++) {
		shapes[i].ops = &kinds[next_random(&seed) % ARRAY_SIZE(kinds)];
		shapes[i].value = next_random(&seed);
		shapes[i].left = 2 * i + 1 < SHAPES ? &shapes[2 * i + 1] : 0;
		shapes[i].right = 2 * i + 2 < SHAPES ? &shapes[2 * i + 2] : 0;
	}
	while (rounds--)
		sum = mix(sum, walk(shapes, sum));
	return sum;
}

/*
 * Twelve functions, each of which calls the next and returns: nothing else is in
 * them, and one increment at the bottom. Deeper ladders would measure how many
 * return addresses the CPU remembers.
 */
__asm__(".text\n"
	".macro rung n, next\n"
	"	.balign 16\n"
	"	call_rung_\\n: call call_rung_\\next\n"
	"	ret\n"
	".endm\n"
	"	rung 12, 11\n	rung 11, 10\n	rung 10, 9\n	rung 9, 8\n"
	"	rung 8, 7\n	rung 7, 6\n	rung 6, 5\n	rung 5, 4\n"
	"	rung 4, 3\n	rung 3, 2\n	rung 2, 1\n	rung 1, 0\n"
	"	.balign 16\n"
	"	call_rung_0: inc %rax\n"
	"	ret\n"
	/* The same through pointers in a table. */
	".macro irung n, next\n"
	"	.balign 16\n"
	"	indirect_rung_\\n: call *indirect_rungs + 8 * \\next\n"
	"	ret\n"
	".endm\n"
	"	irung 12, 11\n	irung 11, 10\n	irung 10, 9\n	irung 9, 8\n"
	"	irung 8, 7\n	irung 7, 6\n	irung 6, 5\n	irung 5, 4\n"
	"	irung 4, 3\n	irung 3, 2\n	irung 2, 1\n	irung 1, 0\n"
	"	.balign 16\n"
	"	indirect_rung_0: inc %rax\n"
	"	ret\n"
	".data\n"
	"	.balign 16\n"
	"indirect_rungs:\n"
	"	.quad indirect_rung_0, indirect_rung_1, indirect_rung_2\n"
	"	.quad indirect_rung_3, indirect_rung_4, indirect_rung_5\n"
	"	.quad indirect_rung_6, indirect_rung_7, indirect_rung_8\n"
	"	.quad indirect_rung_9, indirect_rung_10, indirect_rung_11\n"
	"	.quad indirect_rung_12\n"
	".text\n");

u64 run_call_ladder(u64 rounds)
{
	u64 sum = 0;

	while (rounds--)
		__asm__ volatile("call call_rung_12" : "+a"(sum) : : "memory");
	return sum;
}

u64 run_indirect_ladder(u64 rounds)
{
	u64 sum = 0;

	while (rounds--)
		__asm__ volatile("call *indirect_rungs + 8 * 12"
				 : "+a"(sum)
				 :
				 : "memory");
	return sum;
}
