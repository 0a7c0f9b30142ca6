// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sensitive instructions that are cheap enough to be done in place. None of the
 * sequences changes flags except where the instruction itself does; each states
 * its commit.
 */
#include "emit.h"

static gva_t next_gpc(const struct bt *bt)
{
	return bt->insn.gpc + bt->insn.len;
}

/*
 * The hardware's flags through a stack of our own, IF and IOPL put in, then one
 * push: the commit.
 */
void translate_pushf(struct bt *bt)
{
	gva_t gpc = bt->insn.gpc;
	u16 sp = 1u << RSP, ac = 1u << RAX | 1u << RCX;

	emit_spill(bt, RSP);
	rec_add(bt, gpc, sp, 0);
	/* mov rsp, &scratch[1] (sign-extended) */
	emit2x(bt, 0x48, 0xc7);
	emit1(bt, 0xc4);
	emit4(bt, VP(bt, scratch[1]));
	emit1(bt, 0x9c);
	emit_unspill(bt, RSP);
	rec_add(bt, gpc, 0, 0);
	emit_spill(bt, RAX);
	emit_spill(bt, RCX);
	rec_add(bt, gpc, ac, 0);
	emit_load64(bt, RAX, VP(bt, scratch[0]));
	emit_load64(bt, RCX, VP(bt, vif));
	emit_lea_sum(bt, RAX, RCX, (u32)-0x200);
	emit_load64(bt, RCX, VP(bt, viopl));
	emit_lea_sum(bt, RAX, RCX, 0);
	emit_store64(bt, RAX, VP(bt, scratch[0]));
	emit_unspill(bt, RAX);
	emit_unspill(bt, RCX);
	rec_add(bt, gpc, 0, 0);
	emit_push_abs(bt, VP(bt, scratch[0]));
}

/*
 * Two table lookups by bits 8 to 15 of the new flags: do they need the monitor,
 * and what is IF? popfq commits; until vif is written too the state is opaque.
 */
void translate_popf(struct bt *bt)
{
	gva_t gpc = bt->insn.gpc, next = next_gpc(bt);
	u16 c = 1u << RCX;
	u32 fast, done, done2 = 0;

	emit_spill(bt, RCX);
	rec_add(bt, gpc, c, 0);
	/* mov rcx, [rsp]; movzx ecx, ch; movzx ecx, byte [slow + rcx] */
	emit2x(bt, 0x48, 0x8b);
	emit2x(bt, 0x0c, 0x24);
	emit2x(bt, 0x0f, 0xb6);
	emit1(bt, 0xcd);
	emit2x(bt, 0x0f, 0xb6);
	emit2x(bt, 0x0c, 0x0d);
	emit4(bt, FIXED_ABS(bt, FIXED_SLOW_FLAGS));
	fast = emit_jrcxz(bt);
	emit_unspill(bt, RCX);
	rec_add(bt, gpc, 0, 0);
	emit_callout(bt);
	emit_patch8(bt, fast);
	rec_add(bt, gpc, c, 0);
	/* movzx ecx, byte [rsp + 1]; movzx ecx, byte [if + rcx] */
	emit2x(bt, 0x0f, 0xb6);
	emit2x(bt, 0x4c, 0x24);
	emit1(bt, 1);
	emit2x(bt, 0x0f, 0xb6);
	emit2x(bt, 0x0c, 0x0d);
	emit4(bt, FIXED_ABS(bt, FIXED_IF_BYTE));
	emit1(bt, 0x9d);
	rec_add(bt, next, c, REC_OPAQUE);
	/* mov [vif + 1], cl */
	emit1(bt, 0x88);
	emit_abs(bt, RCX, VP(bt, vif) + 1);
	emit_store8_imm(bt, VP(bt, viopl) + 1, 0);
	rec_add(bt, next, c, 0);
	done = emit_jrcxz(bt);
	if (!(bt->t.mode & BT_MODE_STEP)) {
		emit_load64(bt, RCX, VP(bt, pend_if_set));
		done2 = emit_jrcxz(bt);
		emit_unspill(bt, RCX);
		emit_exit_at(bt, BT_EXIT_IRQ, next);
		emit_patch8(bt, done2);
	}
	emit_patch8(bt, done);
	rec_add(bt, next, c, 0);
	emit_unspill(bt, RCX);
}

void translate_cli(struct bt *bt)
{
	emit_store8_imm(bt, VP(bt, vif) + 1, 0);
}

void translate_sti(struct bt *bt)
{
	emit_store8_imm(bt, VP(bt, vif) + 1, 2);
	bt->t.shadow = true;
}

/* wrgsbase may fault and comes before anything is changed. */
void translate_swapgs(struct bt *bt)
{
	gva_t gpc = bt->insn.gpc;
	u16 ac = 1u << RAX | 1u << RCX;
	static const u8 rdgsbase_rax[] = { 0xf3, 0x48, 0x0f, 0xae, 0xc8 };
	static const u8 wrgsbase_rcx[] = { 0xf3, 0x48, 0x0f, 0xae, 0xd9 };

	if (!bt->cfg.has_fsgsbase) {
		emit_callout(bt);
		bt->t.done = true;
		return;
	}
	emit_spill(bt, RAX);
	emit_spill(bt, RCX);
	rec_add(bt, gpc, ac, 0);
	emit_bytes(bt, rdgsbase_rax, sizeof(rdgsbase_rax));
	emit_load64(bt, RCX, VP(bt, kernel_gs_base));
	emit_bytes(bt, wrgsbase_rcx, sizeof(wrgsbase_rcx));
	rec_add(bt, next_gpc(bt), ac, REC_OPAQUE);
	emit_store64(bt, RAX, VP(bt, kernel_gs_base));
	rec_add(bt, next_gpc(bt), ac, 0);
	emit_unspill(bt, RAX);
	emit_unspill(bt, RCX);
}

/* mov r64, crN: one load, the commit */
void translate_mov_cr(struct bt *bt)
{
	u32 cr = bt->zi.raw.modrm.reg | bt->zi.raw.rex.R << 3;
	u32 reg = bt->zi.raw.modrm.rm | bt->zi.raw.rex.B << 3;
	u32 abs;

	switch (cr) {
	case 0:
		abs = VP(bt, cr0);
		break;
	case 2:
		abs = VP(bt, cr2);
		break;
	case 3:
		abs = VP(bt, cr3);
		break;
	case 4:
		abs = VP(bt, cr4);
		break;
	case 8:
		abs = VP(bt, cr8);
		break;
	default:
		emit_ud(bt);
		return;
	}
	emit_load64(bt, reg, abs);
}

/* mov r, sreg: one load. The memory form is a callout. */
void translate_mov_sreg(struct bt *bt)
{
	u32 seg = bt->zi.raw.modrm.reg;
	u32 reg = bt->zi.raw.modrm.rm | bt->zi.raw.rex.B << 3;
	u32 abs = VP(bt, sel) + 2 * seg;

	if (seg >= SEG_COUNT) {
		emit_ud(bt);
		return;
	}
	if (bt->zi.raw.modrm.mod != 3) {
		emit_callout(bt);
		bt->t.done = true;
		return;
	}
	if (bt->zi.operand_width == 16) {
		/* mov reg16, [abs] */
		emit1(bt, 0x66);
		emit_load32(bt, reg, abs);
	} else {
		emit_load16(bt, reg, abs);
	}
}

/* push fs, push gs */
void translate_push_sreg(struct bt *bt)
{
	u32 seg = bt->zi.opcode == 0xa0 ? SEG_FS : SEG_GS;
	gva_t gpc = bt->insn.gpc;

	if (bt->zi.operand_width != 64) {
		emit_callout(bt);
		bt->t.done = true;
		return;
	}
	emit_spill(bt, RAX);
	rec_add(bt, gpc, 1u << RAX, 0);
	emit_load16(bt, RAX, VP(bt, sel) + 2 * seg);
	emit_store64(bt, RAX, VP(bt, scratch[0]));
	emit_unspill(bt, RAX);
	rec_add(bt, gpc, 0, 0);
	emit_push_abs(bt, VP(bt, scratch[0]));
}

/*
 * The halves are joined and split through memory, the only way to shift without
 * flags. The last load of EDX commits; RAX and RDX stay spilled until then.
 */
void translate_rdtsc(struct bt *bt, bool with_aux)
{
	gva_t gpc = bt->insn.gpc;
	u16 ad = 1u << RAX | 1u << RDX, c = 1u << RCX;

	if (bt->cfg.tsc_callout) {
		emit_callout(bt);
		bt->t.done = true;
		return;
	}
	emit_spill(bt, RAX);
	emit_spill(bt, RDX);
	emit_spill(bt, RCX);
	rec_add(bt, gpc, ad | c, 0);
	if (with_aux)
		emit2x(bt, 0x0f, 0x01);
	else
		emit2x(bt, 0x0f, 0x31);
	if (with_aux)
		emit1(bt, 0xf9);
	emit_store32(bt, RAX, VP(bt, scratch[0]));
	emit_store32(bt, RDX, VP(bt, scratch[0]) + 4);
	emit_load64(bt, RAX, VP(bt, scratch[0]));
	emit_load64(bt, RCX, VP(bt, tsc_offset));
	emit_lea_sum(bt, RAX, RCX, 0);
	emit_store64(bt, RAX, VP(bt, scratch[0]));
	if (with_aux)
		emit_load32(bt, RCX, VP(bt, tsc_aux));
	else
		emit_unspill(bt, RCX);
	rec_add(bt, gpc, with_aux ? ad | c : ad, 0);
	emit_load32(bt, RAX, VP(bt, scratch[0]));
	emit_load32(bt, RDX, VP(bt, scratch[0]) + 4);
}

void translate_rdpid(struct bt *bt)
{
	u32 reg = bt->zi.raw.modrm.rm | bt->zi.raw.rex.B << 3;

	emit_load32(bt, reg, VP(bt, tsc_aux));
}
