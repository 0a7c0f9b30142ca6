// SPDX-License-Identifier: GPL-2.0-only
/* Emitters that are more than a line; see emit.h. */
#include "emit.h"

void emit_bytes(struct bt *bt, const u8 *p, u32 n)
{
	struct bt_trans *t = &bt->t;
	u8 *to = t->code + t->n;
	u32 i;

	if (t->n + n > BT_TU_BYTES) {
		t->overflow = true;
		return;
	}
	/* An instruction's worth: less than what a string move costs to start. */
	for (i = 0; i < n; i++)
		to[i] = p[i];
	t->n += n;
}

void emit_mov_imm(struct bt *bt, u32 reg, u64 imm)
{
	u8 rex_b = reg & 8 ? 1 : 0;

	if (imm == (u32)imm) {
		/* mov reg32, imm32 */
		if (rex_b)
			emit1(bt, 0x41);
		emit1(bt, (u8)(0xb8 | (reg & 7)));
		emit4(bt, (u32)imm);
	} else if (fits_s32(imm)) {
		/* mov reg64, simm32 */
		emit2x(bt, 0x48 | rex_b, 0xc7);
		emit1(bt, (u8)(0xc0 | (reg & 7)));
		emit4(bt, (u32)imm);
	} else {
		/* mov reg64, imm64 */
		emit2x(bt, 0x48 | rex_b, (u8)(0xb8 | (reg & 7)));
		emit8(bt, imm);
	}
}

void emit_patch8(struct bt *bt, u32 at)
{
	struct bt_trans *t = &bt->t;
	u32 rel = t->n - (at + 1);

	if (t->overflow)
		return;
	if (rel > 127)
		t->fail = true;
	t->code[at] = (u8)rel;
}

u32 emit_jmp32(struct bt *bt)
{
	emit1(bt, 0xe9);
	emit4(bt, 0);
	return bt->t.n - 4;
}

void emit_patch32(struct bt *bt, u32 at)
{
	struct bt_trans *t = &bt->t;
	u32 rel = t->n - (at + 4);

	if (!t->overflow)
		memcpy(t->code + at, &rel, 4);
}

void emit_unless_zero(struct bt *bt, struct slow *s)
{
	u32 ok = emit_jrcxz(bt);

	s->at[s->n++] = emit_jmp32(bt);
	emit_patch8(bt, ok);
}

void emit_slow_start(struct bt *bt, const struct slow *s)
{
	u32 i;

	for (i = 0; i < s->n; i++)
		emit_patch32(bt, s->at[i]);
}

void emit_jmp_off(struct bt *bt, u32 off)
{
	u32 next = bt->t.off + bt->t.n + 5;

	emit1(bt, 0xe9);
	emit4(bt, off - next);
}
