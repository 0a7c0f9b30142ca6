/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random guest programs: straight-line runs of copied instructions (any that
 * the decoder knows and that are safe and repeatable natively) between jumps,
 * loops, calls and returns of every form. A program ends in int3 or a fault.
 */
#ifndef TESTS_BT_GEN_H
#define TESTS_BT_GEN_H

#include <Zydis/Zydis.h>

#include "popf/types.h"

struct gen {
	u64 rng;
	u64 base; /* address of the code */
	u64 data; /* address of the data */
	u8 *code;
	u32 n, max;
	bool no_flags_push; /* leave out PUSHF and POPF */
	u32 faulty; /* per mille of memory operands left wild */
	ZydisDecoder decoder;
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};

u64 gen_random(struct gen *g);
u32 gen_below(struct gen *g, u32 limit);
void gen_init(struct gen *g, u64 seed, u64 base, u64 data, u8 *code, u32 max);
/* A whole program from scratch. */
void gen_program(struct gen *g);
/* One random copied instruction into out, its length; 0: none found. */
u32 gen_copied(struct gen *g, u8 *out);

#endif
