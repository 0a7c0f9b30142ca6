// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a private copy of guest bytes to a struct bt_insn.
 *
 * Zydis does the decoding; its operands are decoded only for the few
 * instructions whose rewriting has to know them.
 */
#include "bt.h"

static void from_zydis(struct bt *bt)
{
	const ZydisDecodedInstruction *zi = &bt->zi;
	struct bt_insn *in = &bt->insn;

	in->full = true;
	in->len = zi->length;
	in->cls = classify(zi);
	/* Nothing that runs wants one, so it may be slow. */
	if (bt->cfg.amd_branches && bt_branch_is_narrow(zi))
		in->cls = CLS_CALLOUT;
	in->opcode = zi->opcode;
	in->rex = 0;
	if (zi->attributes & ZYDIS_ATTRIB_HAS_REX)
		in->rex = (u8)(0x40 | zi->raw.rex.W << 3 | zi->raw.rex.R << 2 |
			       zi->raw.rex.X << 1 | zi->raw.rex.B);
	in->seg = 0;
	if (zi->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS)
		in->seg = 0x64;
	if (zi->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS)
		in->seg = 0x65;
	in->asize = zi->attributes & ZYDIS_ATTRIB_HAS_ADDRESSSIZE;
	in->modrm_off = zi->raw.modrm.offset;
	in->disp_off = zi->raw.disp.offset;
	in->rip_rel = zi->attributes & ZYDIS_ATTRIB_HAS_MODRM &&
		      zi->raw.modrm.mod == 0 && zi->raw.modrm.rm == 5 &&
		      zi->raw.disp.size == 32;
	in->rel = (s32)zi->raw.imm[0].value.s;
}

/* Decode the instruction at p, of which avail bytes are at hand, with Zydis. */
static enum decode_result decode_slow(struct bt *bt, const u8 *p, u32 avail)
{
	ZydisDecodedInstruction *zi = &bt->zi;
	struct bt_insn *in = &bt->insn;
	ZyanStatus st;

	st = ZydisDecoderDecodeInstruction(&bt->decoder, &bt->zctx, p, avail,
					   zi);
	if (st == ZYDIS_STATUS_NO_MORE_DATA)
		return DECODE_CROSS;
	if (ZYAN_SUCCESS(st)) {
		from_zydis(bt);
		return DECODE_OK;
	}
	memset(in, 0, sizeof(*in));
	in->len = min(avail, (u32)BT_INSN_MAX);
	in->cls = st == ZYDIS_STATUS_INSTRUCTION_TOO_LONG ? CLS_GP : CLS_UD;
	return DECODE_UD;
}

/*
 * Decode the instruction at p, of which avail bytes are at hand, into bt->insn
 * (and bt->zi when insn.full).
 */
enum decode_result decode_insn(struct bt *bt, const u8 *p, u32 avail,
			       gva_t gpc)
{
	struct bt_insn *in = &bt->insn;
	enum decode_result r = DECODE_OK;

	if (avail < BT_INSN_MAX || !decode_fast(in, p))
		r = decode_slow(bt, p, avail);
	in->gpc = gpc;
	if (r == DECODE_CROSS)
		return r;
	if (likely(avail > BT_INSN_MAX))
		memcpy(in->bytes, p, 16);
	else
		memcpy(in->bytes, p, in->len);
	return r;
}

/* Have bt->zi describe the current instruction, if it does not yet. */
void decode_full(struct bt *bt)
{
	if (!bt->insn.full)
		ZydisDecoderDecodeInstruction(&bt->decoder, &bt->zctx,
					      bt->insn.bytes, bt->insn.len,
					      &bt->zi);
	bt->insn.full = true;
}

/* Operands of the instruction just decoded, into bt->zop. 0 or -EINVAL. */
int decode_operands(struct bt *bt)
{
	ZyanStatus st = ZydisDecoderDecodeOperands(&bt->decoder, &bt->zctx,
						   &bt->zi, bt->zop,
						   bt->zi.operand_count);

	return ZYAN_SUCCESS(st) ? 0 : -EINVAL;
}

static u32 reg_bit(ZydisRegister reg)
{
	ZydisRegister r = ZydisRegisterGetLargestEnclosing(
		ZYDIS_MACHINE_MODE_LONG_64, reg);

	if (r < ZYDIS_REGISTER_RAX || r > ZYDIS_REGISTER_R15)
		return 0;
	return 1u << (r - ZYDIS_REGISTER_RAX);
}

/*
 * Bit n: the instruction uses GPR n, named or implied. All ones when that
 * cannot be said.
 */
u32 decode_used_regs(struct bt *bt)
{
	u32 i, mask = 0;

	decode_full(bt);
	if (decode_operands(bt))
		return ~0u;
	for (i = 0; i < bt->zi.operand_count; i++) {
		const ZydisDecodedOperand *op = &bt->zop[i];

		if (op->type == ZYDIS_OPERAND_TYPE_REGISTER)
			mask |= reg_bit(op->reg.value);
		else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY)
			mask |= reg_bit(op->mem.base) |
				reg_bit(op->mem.index);
	}
	return mask;
}
