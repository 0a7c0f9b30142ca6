/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random guest programs: straight-line runs of copied instructions (any that
 * the decoder knows and that are safe and repeatable natively) between jumps,
 * loops, calls and returns of every form. A program ends in int3 or a fault.
 *
 * bt_gen.c has the pieces that every program may have, bt_gen_insn.c single
 * instructions, bt_gen_wild.c the pieces that a program has only with the feature.
 */
#ifndef TESTS_BT_GEN_H
#define TESTS_BT_GEN_H

#include <Zydis/Zydis.h>

#include "popf/types.h"

/* What a program may contain besides. */
#define GEN_WILD 0x1u /* jumps anywhere near, any bytes: rig_guard() */
#define GEN_STORES 0x2u /* stores to its own code: rig_guard() */
#define GEN_PRIV 0x4u /* CLI, STI, SWAPGS, MOV from CR, RDPID */

struct gen {
	u64 rng;
	u64 base; /* address of the code */
	u64 data; /* address of the data */
	u8 *code;
	u32 n, max;
	bool no_flags_push; /* leave out PUSHF and POPF */
	u32 features; /* GEN_* */
	bool cut; /* let the program run into the end of its room */
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

/* --- between the generator's files --- */

bool gen_chance(struct gen *g, u32 percent);
u64 gen_data_address(struct gen *g);
void gen_put(struct gen *g, const void *p, u32 n);
void gen_put1(struct gen *g, u32 b);
void gen_put4(struct gen *g, u32 v);
void gen_put_mov_imm(struct gen *g, u32 reg, u64 v);
void gen_put_copied(struct gen *g);
/* Up to `most` copied instructions. */
void gen_put_run(struct gen *g, u32 most);
/* A piece that one of the features adds; false: not this time. */
bool gen_put_special(struct gen *g);
void gen_put_flags(struct gen *g);
void gen_put_mismatch(struct gen *g);

#endif
