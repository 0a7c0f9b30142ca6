// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control transfers.
 *
 * Direct: a site is five bytes, an int3 (exit BT_EXIT_DIRECT) that bt_chain()
 * turns into a jmp rel32, or the rel32 of a jcc that leads to such an int3.
 *
 * Indirect: RCX is spilled and gets the target, the guest's stack effect is
 * committed, and the low 16 bits of the target choose where to jump in the target
 * table: to a pad (ibl.c) that verifies and restores RCX. No flags are touched.
 * From the commit on the guest is at ibl_target.
 *
 * Returns, once the guest has settled (renew.c): most of what runs again and again has
 * one caller. So a return compares its target with the one it had the first time, and if
 * they are equal it goes there by a direct jmp, which needs neither the table nor the
 * pad. (Returns that are compared with where they were expected to go: Hiser et al., CGO
 * 2007.) Until it has run once, a jmp in the comparison's place leads to an exit from
 * which bt_learn() makes the comparison.
 */
#include "emit.h"

/* Continue at guest address target: a site to chain, or the end of a step. */
void emit_goto(struct bt *bt, gva_t target)
{
	struct tu_exit *x;
	u32 i;

	if (bt->t.mode & BT_MODE_STEP) {
		x = exit_add(bt, BT_EXIT_STEP, FORM_INT3);
		x->target = target;
		rec_add_target(bt, bt->t.nexit - 1, 0);
		emit_int3(bt);
		return;
	}
	x = exit_add(bt, BT_EXIT_DIRECT, FORM_JMP);
	x->target = target;
	rec_add_target(bt, bt->t.nexit - 1, 0);
	emit_int3(bt);
	for (i = 0; i < 4; i++)
		emit_int3(bt);
}

static gva_t branch_target(struct bt *bt)
{
	return bt->insn.gpc + bt->insn.len + (u64)(s64)bt->insn.rel;
}

/* A jcc back into the TU that two bytes are enough for? Then emit it. */
static bool emit_short_jcc(struct bt *bt, gva_t target)
{
	struct bt_trans *t = &bt->t;
	u32 off = find_in_buffer(bt, target);
	struct tu_exit *x;
	s32 rel = (s32)(off - (t->off + t->n + 2));

	if (!off || rel < -128)
		return false;
	x = exit_add(bt, BT_EXIT_NONE, FORM_SHORT);
	x->target = bt->insn.gpc;
	emit2x(bt, 0x70 | (bt->insn.opcode & 15), (u8)rel);
	return true;
}

/*
 * The TU goes on behind a jcc; the taken side's int3 comes at the TU's end, from
 * emit_jcc_stubs().
 */
void translate_jcc(struct bt *bt)
{
	struct bt_trans *t = &bt->t;
	gva_t target = branch_target(bt);
	u32 site = t->n, rel;
	struct tu_exit *x;

	if (!(t->mode & BT_MODE_STEP) && emit_short_jcc(bt, target))
		return;
	emit2x(bt, 0x0f, 0x80 | (bt->insn.opcode & 15));
	emit4(bt, 0);
	if (!(t->mode & BT_MODE_STEP)) {
		x = exit_add(bt, BT_EXIT_DIRECT, FORM_JCC);
		x->target = target;
		x->site = site & (BT_TU_BYTES - 1);
		return;
	}
	emit_goto(bt, bt->insn.gpc + bt->insn.len);
	rel = t->n - (site + 6);
	emit_goto(bt, target);
	if (!t->overflow)
		memcpy(t->code + site + 2, &rel, 4);
	t->done = true;
}

void emit_jcc_stubs(struct bt *bt)
{
	struct bt_trans *t = &bt->t;
	u32 i, rel;

	for (i = 0; i < t->nexit && !t->overflow; i++) {
		struct tu_exit *x = &bt->exit[i];

		if (x->form != FORM_JCC)
			continue;
		x->stub = t->n & (BT_TU_BYTES - 1);
		rel = t->n - (x->site + 6u);
		memcpy(t->code + x->site + 2, &rel, 4);
		rec_add_target(bt, i, 0);
		emit_int3(bt);
		/* A loop comes back; what is skipped forward often stays so. */
		if (x->target < bt->t.cur)
			ahead_add(bt, x->target, false);
	}
}

/* LOOP and JRCXZ have a rel8 only: both ways through sites. */
void translate_loop(struct bt *bt)
{
	const struct bt_insn *in = &bt->insn;
	u32 at, i;

	if (in->asize)
		emit1(bt, 0x67);
	/* On some processors REP and REPNE say for what ZF it loops, not the opcode. */
	for (i = 0; i < in->len && in->bytes[i] != in->opcode; i++) {
		if (in->bytes[i] == 0xf2 || in->bytes[i] == 0xf3)
			emit1(bt, in->bytes[i]);
	}
	emit2x(bt, in->opcode, 0);
	at = bt->t.n - 1;
	emit_goto(bt, in->gpc + in->len);
	emit_patch8(bt, at);
	emit_goto(bt, branch_target(bt));
	bt->t.done = true;
}

static void emit_segment(struct bt *bt)
{
	if (bt->insn.seg)
		emit1(bt, bt->insn.seg);
}

/*
 * mov rcx, r/m64 with the r/m operand of the instruction being translated,
 * RIP-relative ones included. RCX may be part of the operand.
 */
static void emit_load_operand(struct bt *bt)
{
	const struct bt_insn *in = &bt->insn;
	u32 tail = in->modrm_off + 1u, n;
	u8 modrm = in->bytes[in->modrm_off];
	bool far;

	if (in->rip_rel) {
		far = rip_far(bt, 7, rip_ea(bt));
		if (far)
			emit_mov_imm(bt, RCX, rip_ea(bt));
		emit_segment(bt);
		emit2x(bt, 0x48, 0x8b);
		emit1(bt, far ? 0x09 : 0x0d); /* [rcx], [rip + disp32] */
		if (!far)
			emit4(bt, rip_disp(bt, 4, rip_ea(bt)));
		return;
	}
	emit_segment(bt);
	if (in->asize)
		emit1(bt, 0x67);
	emit2x(bt, 0x48 | (in->rex & 3), 0x8b);
	emit1(bt, (u8)((modrm & 0xc7) | RCX << 3));
	n = in->len - tail;
	emit_bytes(bt, in->bytes + tail, n);
}

/* movzx ecx, reg16: the index into the target table */
static void emit_index(struct bt *bt, u32 reg)
{
	if (reg & 8)
		emit1(bt, 0x41);
	emit2x(bt, 0x0f, 0xb7);
	emit1(bt, (u8)(0xc8 | (reg & 7)));
}

/* The index is in RCX (spilled), the target in ibl_target, all is committed: go. */
void emit_launch(struct bt *bt, gva_t gpc)
{
	struct tu_exit *x;

	rec_add(bt, gpc, 1u << RCX, REC_INDIRECT);
	if (bt->t.mode & BT_MODE_STEP) {
		emit_unspill(bt, RCX);
		x = exit_add(bt, BT_EXIT_STEP, FORM_INT3);
		x->indirect = 1;
		rec_add(bt, gpc, 0, REC_INDIRECT);
		emit_int3(bt);
	} else {
		/* jmp [table + rcx * 8] */
		emit2x(bt, 0xff, 0x24);
		emit1(bt, 0xcd);
		emit4(bt, bt->table_abs);
	}
	bt->t.done = true;
}

/*
 * The spill of RCX that a launch begins with. A pad right in front of it jumps over it
 * instead of reloading RCX: the slot still has it. Else the values of RCX in a row of
 * returns would wait for each other, through memory. Not if the launch uses RCX.
 */
static void emit_launch_spill(struct bt *bt)
{
	struct bt_trans *t = &bt->t;
	u32 n = t->n, at;

	emit_spill(bt, RCX);
	if (!t->entry || n != t->entry || t->overflow ||
	    decode_used_regs(bt) & 1u << RCX)
		return;
	at = t->entry - (t->n - n);
	/* Whoever reads the code from its start finds NOPs behind the jump. */
	memset(t->code + at, 0x90, t->n - n);
	t->code[at] = 0xeb;
	t->code[at + 1] = (u8)(t->n - (at + 2));
}

/* RCX spilled, the target in ibl_target and its index in RCX. */
static void emit_fetch_target(struct bt *bt)
{
	const struct bt_insn *in = &bt->insn;
	u8 modrm = in->bytes[in->modrm_off];
	u32 reg = RCX;

	emit_launch_spill(bt);
	rec_add(bt, in->gpc, 1u << RCX, 0);
	if (modrm >= 0xc0)
		reg = (modrm & 7) | (in->rex & 1) << 3;
	else
		emit_load_operand(bt);
	emit_store64(bt, reg, VP(bt, ibl_target));
	emit_index(bt, reg);
}

void translate_jmp(struct bt *bt)
{
	if (bt->insn.opcode != 0xff) {
		if (straighten(bt, branch_target(bt)))
			return;
		emit_goto(bt, branch_target(bt));
		ahead_add(bt, branch_target(bt), false);
		bt->t.done = true;
		return;
	}
	emit_fetch_target(bt);
	emit_launch(bt, bt->insn.gpc);
}

/* Push ret; spilled registers so far in mask. Commits in one instruction. */
static void emit_push_ret(struct bt *bt, u64 ret, u16 mask)
{
	if (fits_s32(ret)) {
		emit1(bt, 0x68);
		emit4(bt, (u32)ret);
		return;
	}
	emit_spill(bt, RAX);
	rec_add(bt, bt->insn.gpc, mask | 1u << RAX, 0);
	emit_mov_imm(bt, RAX, ret);
	emit_store64(bt, RAX, VP(bt, scratch[0]));
	emit_unspill(bt, RAX);
	rec_add(bt, bt->insn.gpc, mask, 0);
	emit_push_abs(bt, VP(bt, scratch[0]));
}

void translate_call(struct bt *bt)
{
	const struct bt_insn *in = &bt->insn;
	gva_t ret = in->gpc + in->len;

	if (!(bt->t.mode & BT_MODE_STEP))
		ahead_add(bt, ret, true);
	if (bt->insn.opcode != 0xff) {
		emit_push_ret(bt, ret, 0);
		emit_goto(bt, branch_target(bt));
		ahead_add(bt, branch_target(bt), false);
		bt->t.done = true;
		return;
	}
	emit_fetch_target(bt);
	emit_push_ret(bt, ret, 1u << RCX);
	emit_launch(bt, in->gpc);
}

/*
 * The end of a return, RCX spilled, the guest at ibl_target:
 *
 *	site:	jmp learn		then: lea rcx, [rcx - target]
 *		jrcxz hit
 *		(launch)
 *	hit:	mov rcx, [spill]
 *		jmp target		an exit of no kind until there is a target
 *	learn:	mov rcx, [spill]
 *		int3			BT_EXIT_INDIRECT, the next exit
 */
static void emit_return(struct bt *bt, gva_t gpc)
{
	const u16 c = 1u << RCX;
	struct bt_trans *t = &bt->t;
	u32 site = t->n, learn, hit, i;
	struct tu_exit *x;

	rec_add(bt, gpc, c, REC_INDIRECT);
	learn = emit_jmp32(bt);
	while (t->n - site < RETURN_CHECK_BYTES)
		emit1(bt, 0x90);
	hit = emit_jrcxz(bt);
	emit_load16(bt, RCX, VP(bt, ibl_target));
	emit_launch(bt, gpc);
	emit_patch8(bt, hit);
	emit_unspill(bt, RCX);
	rec_add(bt, gpc, 0, REC_INDIRECT);
	exit_add(bt, BT_EXIT_NONE, FORM_JMP);
	for (i = 0; i < 5; i++)
		emit_int3(bt);
	emit_patch32(bt, learn);
	rec_add(bt, gpc, c, REC_INDIRECT);
	emit_unspill(bt, RCX);
	rec_add(bt, gpc, 0, REC_INDIRECT);
	x = exit_add(bt, BT_EXIT_INDIRECT, FORM_INT3);
	x->site = site & (BT_TU_BYTES - 1);
	emit_int3(bt);
}

/* Recordings are of what a guest does to the table: nobody learns meanwhile. */
static bool learns_returns(const struct bt *bt)
{
	return (bt->cfg.learn_returns || bt->settled) && !bt->recorder &&
	       !(bt->t.mode & BT_MODE_STEP);
}

/* POP commits; until ibl_target has what it popped the state is opaque. */
void translate_ret(struct bt *bt)
{
	const struct bt_insn *in = &bt->insn;
	u32 release = in->opcode == 0xc2 ? (u16)in->rel : 0;

	emit_launch_spill(bt);
	rec_add(bt, in->gpc, 1u << RCX, 0);
	emit1(bt, 0x58 | RCX);
	rec_add(bt, in->gpc, 1u << RCX, REC_OPAQUE);
	emit_store64(bt, RCX, VP(bt, ibl_target));
	if (release) {
		/* lea rsp, [rsp + release] */
		emit2x(bt, 0x48, 0x8d);
		emit2x(bt, 0xa4, 0x24);
		emit4(bt, release);
	}
	if (learns_returns(bt)) {
		emit_return(bt, in->gpc);
		return;
	}
	emit_index(bt, RCX);
	emit_launch(bt, in->gpc);
}
