// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bounce: run one guest instruction on a copy of its memory operand.
 *
 * The instruction is re-encoded byte by byte: its memory operand becomes an
 * absolute disp32 into the window (ModRM mod 0, rm 4, SIB without base or index),
 * segment overrides and the address-size prefix go, the extensions of base and
 * index are cleared. Everything else, so also what the instruction does, stays.
 */
#include "bt.h"

/* FXSAVE's is the widest operand that is worth it. */
#define BOUNCE_MAX_OPERAND 512u

struct bounce_decode {
	ZydisDecoder decoder;
	ZydisDecoderContext ctx;
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT_VISIBLE];
	const ZydisDecodedOperand *mem;
};

static bool bounceable(const ZydisDecodedInstruction *zi)
{
	enum bt_class cls = classify(zi);

	if (cls != CLS_COPY && cls != CLS_VERBATIM)
		return false;
	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_PUSH:
	case ZYDIS_CATEGORY_POP:
	case ZYDIS_CATEGORY_STRINGOP:
	case ZYDIS_CATEGORY_XSAVE:
	case ZYDIS_CATEGORY_XSAVEOPT:
	case ZYDIS_CATEGORY_MOVDIR:
		return false;
	default:
		break;
	}
	/* What decodes beyond legacy, VEX, XOP and EVEX is not for us. */
	return zi->encoding != ZYDIS_INSTRUCTION_ENCODING_MVEX &&
	       zi->encoding != ZYDIS_INSTRUCTION_ENCODING_3DNOW;
}

/* The only explicit memory operand, or NULL. */
static const ZydisDecodedOperand *memory_operand(struct bounce_decode *d)
{
	const ZydisDecodedOperand *mem = NULL;
	u32 i;

	for (i = 0; i < d->zi.operand_count_visible; i++) {
		if (d->op[i].type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (mem || d->op[i].mem.type != ZYDIS_MEMOP_TYPE_MEM ||
		    d->op[i].visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
			return NULL;
		mem = &d->op[i];
	}
	return mem;
}

static s8 gpr_number(ZydisRegister reg)
{
	if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
		return (s8)(reg - ZYDIS_REGISTER_RAX);
	if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
		return (s8)(reg - ZYDIS_REGISTER_EAX);
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return 16;
	return -1;
}

static u8 seg_number(ZydisRegister reg)
{
	switch (reg) {
	case ZYDIS_REGISTER_ES:
		return SEG_ES;
	case ZYDIS_REGISTER_CS:
		return SEG_CS;
	case ZYDIS_REGISTER_SS:
		return SEG_SS;
	case ZYDIS_REGISTER_FS:
		return SEG_FS;
	case ZYDIS_REGISTER_GS:
		return SEG_GS;
	default:
		return SEG_DS;
	}
}

static bool is_bit_string(const struct bounce_decode *d)
{
	switch (d->zi.mnemonic) {
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTC:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTS:
		return d->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
	default:
		return false;
	}
}

/* Stores that may leave parts of their operand alone. */
static bool is_masked(const ZydisDecodedInstruction *zi)
{
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_VMASKMOVPS:
	case ZYDIS_MNEMONIC_VMASKMOVPD:
	case ZYDIS_MNEMONIC_VPMASKMOVD:
	case ZYDIS_MNEMONIC_VPMASKMOVQ:
		return true;
	default:
		break;
	}
	return zi->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX &&
	       zi->raw.evex.aaa;
}

static void describe(struct bt_bounce *b, const struct bounce_decode *d)
{
	const ZydisDecodedOperand *m = d->mem;

	b->insn_len = d->zi.length;
	b->seg = seg_number(m->mem.segment);
	b->base = gpr_number(m->mem.base);
	b->index = gpr_number(m->mem.index);
	b->scale = m->mem.scale ? m->mem.scale : 1;
	b->addr32 = d->zi.address_width == 32;
	b->disp = m->mem.disp.value;
	b->size = m->size / 8;
	b->read = m->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
	b->write = m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	/* What a partial write leaves alone must be in the copy. */
	if (m->actions & ZYDIS_OPERAND_ACTION_CONDWRITE || is_masked(&d->zi))
		b->read = true;
	b->bit_string = is_bit_string(d);
}

static int decode(struct bounce_decode *d, const u8 *insn, u32 avail)
{
	if (ZYAN_FAILED(ZydisDecoderInit(&d->decoder,
					 ZYDIS_MACHINE_MODE_LONG_64,
					 ZYDIS_STACK_WIDTH_64)) ||
	    ZYAN_FAILED(ZydisDecoderDecodeInstruction(&d->decoder, &d->ctx,
						      insn, avail, &d->zi)) ||
	    ZYAN_FAILED(ZydisDecoderDecodeOperands(
		    &d->decoder, &d->ctx, &d->zi, d->op,
		    d->zi.operand_count_visible)))
		return -EINVAL;
	d->mem = memory_operand(d);
	if (!d->mem || !bounceable(&d->zi) || !d->mem->size ||
	    d->mem->size / 8 > BOUNCE_MAX_OPERAND)
		return -EINVAL;
	return 0;
}

int bt_bounce_plan(struct bt_bounce *b)
{
	struct bounce_decode d;
	int ret;

	ret = decode(&d, b->insn, min(b->insn_avail, (u8)BT_INSN_MAX));
	if (!ret)
		describe(b, &d);
	return ret;
}

/* Prefixes that stay, and the opcode, without extensions of base and index. */
static u32 put_head(u8 *out, const u8 *in, const ZydisDecodedInstruction *zi,
		    u32 end)
{
	bool rex = zi->attributes & ZYDIS_ATTRIB_HAS_REX;
	u32 i, n = 0;

	for (i = 0; i < zi->raw.prefix_count; i++) {
		switch (in[i]) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
		case 0x67:
			continue;
		}
		if ((in[i] & 0xf0) == 0x40) {
			/* A REX with a prefix behind it has no effect. */
			if (rex && i == zi->raw.rex.offset)
				out[n++] = in[i] & (u8)~3u;
			continue;
		}
		out[n++] = in[i];
	}
	memcpy(out + n, in + i, end - i);
	if (zi->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
	    zi->encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
	    (zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
	     zi->raw.vex.size == 3))
		out[n + 1] |= 0x60;
	return n + (end - i);
}

static bool is_moffs(const ZydisDecodedInstruction *zi)
{
	return zi->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	       zi->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	       zi->opcode >= 0xa0 && zi->opcode <= 0xa3;
}

/* The instruction on [abs32] instead, into out (32 bytes); its length. */
static u32 reencode(u8 *out, const u8 *in, const ZydisDecodedInstruction *zi,
		    u32 abs)
{
	static const u8 moffs_to_modrm[] = { 0x8a, 0x8b, 0x88, 0x89 };
	u32 n, tail;
	u8 reg = 0;

	if (is_moffs(zi)) {
		n = put_head(out, in, zi, zi->raw.disp.offset);
		out[n - 1] = moffs_to_modrm[zi->opcode & 3];
		tail = zi->length;
	} else {
		n = put_head(out, in, zi, zi->raw.modrm.offset);
		reg = in[zi->raw.modrm.offset] & 0x38;
		tail = zi->raw.modrm.offset + 1u;
		if (zi->attributes & ZYDIS_ATTRIB_HAS_SIB)
			tail++;
		tail += zi->raw.disp.size / 8;
	}
	out[n++] = reg | 4;
	out[n++] = 0x25;
	memcpy(out + n, &abs, 4);
	n += 4;
	memcpy(out + n, in + tail, zi->length - tail);
	return n + (zi->length - tail);
}

int bt_bounce_emit(struct bt *bt, const struct bt_bounce *b, u32 data_off,
		   tpc_t *tpc)
{
	struct bounce_decode d;
	u8 code[32];
	u32 n;
	int ret;

	if (data_off < WINDOW_BOUNCE_DATA_OFF ||
	    data_off + b->size >
		    WINDOW_BOUNCE_DATA_OFF + WINDOW_BOUNCE_DATA_SIZE)
		return -EINVAL;
	ret = decode(&d, b->insn, min(b->insn_avail, (u8)BT_INSN_MAX));
	if (ret)
		return ret;
	n = reencode(code, b->insn, &d.zi, (u32)bt->cfg.window + data_off);
	if (n > BT_INSN_MAX)
		return -EINVAL;
	code[n] = 0xcc;
	memcpy(bt->cfg.bounce_code, code, n + 1);
	bt->bounce_end = n;
	*tpc = bt->cfg.window + WINDOW_BOUNCE_CODE_OFF;
	return 0;
}
