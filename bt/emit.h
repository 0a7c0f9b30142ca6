/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Emitters, one per encoding shape. All append to the translation under way;
 * running out of room sets its sticky overflow flag and writes nothing.
 */
#ifndef BT_EMIT_H
#define BT_EMIT_H

#include "bt.h"

void emit_bytes(struct bt *bt, const u8 *p, u32 n);

static inline void emit1(struct bt *bt, u8 a)
{
	struct bt_trans *t = &bt->t;

	if (likely(t->n < BT_TU_BYTES))
		t->code[t->n++] = a;
	else
		t->overflow = true;
}

/* The current guest instruction as it is. */
static inline void emit_insn(struct bt *bt)
{
	struct bt_trans *t = &bt->t;

	if (unlikely(t->n + 16 > BT_TU_BYTES)) {
		t->overflow = true;
		return;
	}
	memcpy(t->code + t->n, bt->insn.bytes, 16);
	t->n += bt->insn.len;
}

static inline void emit4(struct bt *bt, u32 v)
{
	struct bt_trans *t = &bt->t;

	if (unlikely(t->n + 4 > BT_TU_BYTES)) {
		t->overflow = true;
		return;
	}
	memcpy(t->code + t->n, &v, 4);
	t->n += 4;
}

static inline void emit8(struct bt *bt, u64 v)
{
	emit4(bt, (u32)v);
	emit4(bt, (u32)(v >> 32));
}

static inline void emit2x(struct bt *bt, u8 a, u8 b)
{
	emit1(bt, a);
	emit1(bt, b);
}

/* op reg, [abs32]: ModRM and SIB without base or index, then the disp32 */
static inline void emit_abs(struct bt *bt, u32 reg, u32 abs)
{
	emit2x(bt, (u8)(0x04 | (reg & 7) << 3), 0x25);
	emit4(bt, abs);
}

/* mov reg64, [abs32] */
static inline void emit_load64(struct bt *bt, u32 reg, u32 abs)
{
	emit2x(bt, reg & 8 ? 0x4c : 0x48, 0x8b);
	emit_abs(bt, reg, abs);
}

/* mov reg32, [abs32] */
static inline void emit_load32(struct bt *bt, u32 reg, u32 abs)
{
	if (reg & 8)
		emit1(bt, 0x44);
	emit1(bt, 0x8b);
	emit_abs(bt, reg, abs);
}

/* movzx reg32, word [abs32] */
static inline void emit_load16(struct bt *bt, u32 reg, u32 abs)
{
	if (reg & 8)
		emit1(bt, 0x44);
	emit2x(bt, 0x0f, 0xb7);
	emit_abs(bt, reg, abs);
}

/* mov [abs32], reg64 */
static inline void emit_store64(struct bt *bt, u32 reg, u32 abs)
{
	emit2x(bt, reg & 8 ? 0x4c : 0x48, 0x89);
	emit_abs(bt, reg, abs);
}

/* mov [abs32], reg32 (not R8 and up) */
static inline void emit_store32(struct bt *bt, u32 reg, u32 abs)
{
	emit1(bt, 0x89);
	emit_abs(bt, reg, abs);
}

/* mov byte [abs32], imm8 */
static inline void emit_store8_imm(struct bt *bt, u32 abs, u8 imm)
{
	emit1(bt, 0xc6);
	emit_abs(bt, 0, abs);
	emit1(bt, imm);
}

/* push qword [abs32] */
static inline void emit_push_abs(struct bt *bt, u32 abs)
{
	emit1(bt, 0xff);
	emit_abs(bt, 6, abs);
}

/* lea a, [a + b + disp32] for a, b below R8 */
static inline void emit_lea_sum(struct bt *bt, u32 a, u32 b, u32 disp)
{
	emit2x(bt, 0x48, 0x8d);
	emit2x(bt, (u8)(0x84 | a << 3), (u8)(b << 3 | a));
	emit4(bt, disp);
}

/* mov reg64, imm, the shortest way */
void emit_mov_imm(struct bt *bt, u32 reg, u64 imm);

/* jrcxz +rel8; the offset of its rel8, for emit_patch8() */
static inline u32 emit_jrcxz(struct bt *bt)
{
	emit2x(bt, 0xe3, 0);
	return bt->t.n - 1;
}

/* Make the rel8 at offset `at` lead here. */
void emit_patch8(struct bt *bt, u32 at);

/*
 * A way that several checks of one instruction lead to: where they jump from,
 * offsets for emit_patch32().
 */
struct slow {
	u32 at[16];
	u32 n;
};

/* Go on here when RCX is 0, the slow way when not. */
void emit_unless_zero(struct bt *bt, struct slow *s);

/* The slow way starts here. */
void emit_slow_start(struct bt *bt, const struct slow *s);

/* jmp +rel32; the offset of its rel32, for emit_patch32() */
u32 emit_jmp32(struct bt *bt);

/* Make the rel32 at offset `at` lead here. */
void emit_patch32(struct bt *bt, u32 at);

/* jmp rel32 to a TC offset */
void emit_jmp_off(struct bt *bt, u32 off);

/* int3 */
static inline void emit_int3(struct bt *bt)
{
	emit1(bt, 0xcc);
}

#endif
