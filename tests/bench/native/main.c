// SPDX-License-Identifier: GPL-2.0-only
/* The image's head: which programs there are, and where to start them. */
#include "programs.h"

void guest_start(void);

__asm__(".text\n"
	".globl guest_start\n"
	"guest_start:\n"
	"	call *%rax\n"
	"	int3\n");

#define P(name, set, rounds, few) { #name, set, run_##name, rounds, few }

__attribute__((section(".head"), used)) const struct programs programs = {
	.magic = { 'p', 'r', 'o', 'g', 'r', 'a', 'm', 's' },
	.count = 10,
	.start = guest_start,
	.list = {
		P(inflate, "mix", 10, 1),
		P(sha256, "mix", 16, 1),
		P(sort, "mix", 8, 1),
		P(bytecode, "mix", 480, 1),
		P(lists, "mix", 120, 1),
		P(strings, "mix", 100, 1),
		P(switch, "mix", 24, 1),
		P(calls, "extra", 120, 1),
		P(call_ladder, "ladder", 80000, 300),
		P(indirect_ladder, "ladder", 80000, 300),
	},
};
