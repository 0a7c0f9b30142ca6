// SPDX-License-Identifier: GPL-2.0-only
/*
 * An interpreter of register bytecode: a jump table in a loop, running a sieve
 * and a checksum over it.
 */
#include "programs.h"

enum op { SET, MOVE, ADD, SUB, MUL, XOR, SHR, LOAD, STORE, LESS, JUMP, JZERO, END };

struct code {
	u8 op, a, b, c;
	int imm;
};

#define CELLS 512

static u64 cells[CELLS];

/* Registers: 0 i, 1 j, 2 limit, 3 one, 4 test, 5 sum, 6 value, 7 mark */
static const struct code sieve[] = {
	{ SET, 2, 0, 0, CELLS },
	{ SET, 3, 0, 0, 1 },
	{ SET, 0, 0, 0, 2 },
	{ LESS, 4, 0, 2, 0 }, /* 3: while i < limit */
	{ JZERO, 4, 0, 0, 17 },
	{ LOAD, 6, 0, 0, 0 },
	{ ADD, 5, 5, 6, 0 },
	{ MUL, 5, 5, 0, 0 },
	{ SHR, 4, 5, 0, 7 },
	{ XOR, 5, 5, 4, 0 },
	{ MOVE, 1, 0, 0, 0 },
	{ ADD, 1, 1, 0, 0 }, /* 11: j += i */
	{ LESS, 4, 1, 2, 0 },
	{ JZERO, 4, 0, 0, 16 },
	{ STORE, 3, 1, 0, 0 },
	{ JUMP, 0, 0, 0, 11 },
	{ ADD, 0, 0, 3, -13 }, /* 16: i++ and back */
	{ END, 5, 0, 0, 0 },
};

static noinline u64 interpret(const struct code *pc, u64 first)
{
	const struct code *start = pc;
	u64 r[8] = { 0 };

	r[5] = first;
	for (;; pc++) {
		switch (pc->op) {
		case SET:
			r[pc->a] = (u64)pc->imm;
			break;
		case MOVE:
			r[pc->a] = r[pc->b];
			break;
		case ADD:
			r[pc->a] = r[pc->b] + r[pc->c];
			pc += pc->imm;
			break;
		case SUB:
			r[pc->a] = r[pc->b] - r[pc->c];
			break;
		case MUL:
			r[pc->a] = r[pc->b] * r[pc->c] + 1;
			break;
		case XOR:
			r[pc->a] = r[pc->b] ^ r[pc->c];
			break;
		case SHR:
			r[pc->a] = r[pc->b] >> pc->imm;
			break;
		case LOAD:
			r[pc->a] = cells[r[pc->b] % CELLS];
			break;
		case STORE:
			cells[r[pc->b] % CELLS] = r[pc->a];
			break;
		case LESS:
			r[pc->a] = r[pc->b] < r[pc->c];
			break;
		case JUMP:
			pc = start + pc->imm - 1;
			break;
		case JZERO:
			if (!r[pc->a])
				pc = start + pc->imm - 1;
			break;
		case END:
			return r[pc->a];
		}
	}
}

u64 run_bytecode(u64 rounds)
{
	u64 sum = 1, i;

	while (rounds--) {
		for (i = 0; i < CELLS; i++)
			cells[i] = sum & i;
		sum = mix(sum, interpret(sieve, sum));
	}
	return sum;
}
