// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a private copy of guest bytes to a struct bt_insn.
 *
 * Zydis does the decoding; its operands are decoded only for the few
 * instructions whose rewriting has to know them.
 */
#include "bt.h"

/*
 * Decode the instruction at p, of which avail bytes are at hand, into bt->insn
 * (and bt->zi when insn.full).
 */
enum decode_result decode_insn(struct bt *bt, const u8 *p, u32 avail,
			       gva_t gpc)
{
	ZydisDecodedInstruction *zi = &bt->zi;
	struct bt_insn *in = &bt->insn;
	ZyanStatus st;

	in->gpc = gpc;
	st = ZydisDecoderDecodeInstruction(&bt->decoder, &bt->zctx, p, avail,
					   zi);
	if (st == ZYDIS_STATUS_NO_MORE_DATA)
		return DECODE_CROSS;
	in->rip_rel = false;
	if (ZYAN_FAILED(st)) {
		in->len = min(avail, (u32)BT_INSN_MAX);
		in->full = false;
		in->cls = CLS_UD;
		memcpy(in->bytes, p, in->len);
		return DECODE_UD;
	}
	in->len = zi->length;
	in->full = true;
	memcpy(in->bytes, p, in->len);
	in->cls = classify(zi);
	if (zi->attributes & ZYDIS_ATTRIB_HAS_MODRM && zi->raw.modrm.mod == 0 &&
	    zi->raw.modrm.rm == 5 && zi->raw.disp.size == 32) {
		in->rip_rel = true;
		in->disp_off = zi->raw.disp.offset;
	}
	return DECODE_OK;
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
