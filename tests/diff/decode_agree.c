// SPDX-License-Identifier: GPL-2.0-only
/* See decode_agree.h. */
#include "decode_agree.h"

void decode_agree_init(ZydisDecoder *decoder)
{
	ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64,
			 ZYDIS_STACK_WIDTH_64);
	ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
}

/* Classes that emit the same bytes. */
static u32 effect(u32 cls, bool rip_rel)
{
	return cls == CLS_VERBATIM && !rip_rel ? CLS_COPY : cls;
}

static bool agrees(const struct bt_insn *in, const ZydisDecodedInstruction *zi)
{
	bool rip_rel = zi->attributes & ZYDIS_ATTRIB_HAS_MODRM &&
		       zi->raw.modrm.mod == 0 && zi->raw.modrm.rm == 5 &&
		       zi->raw.disp.size == 32;
	u8 seg = zi->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS ? 0x64 :
		 zi->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS ? 0x65 :
								 0;
	u8 rex = zi->attributes & ZYDIS_ATTRIB_HAS_REX ?
			 (u8)(0x40 | zi->raw.rex.W << 3 | zi->raw.rex.R << 2 |
			      zi->raw.rex.X << 1 | zi->raw.rex.B) :
			 0;

	if (in->len != zi->length || in->rip_rel != rip_rel ||
	    in->opcode != zi->opcode || in->rex != rex)
		return false;
	if (effect(in->cls, rip_rel) != effect(classify(zi), rip_rel))
		return false;
	if (rip_rel && in->disp_off != zi->raw.disp.offset)
		return false;
	if (in->cls >= CLS_JMP && in->cls <= CLS_RET) {
		if (in->rel != (s32)zi->raw.imm[0].value.s)
			return false;
		if (in->opcode != 0xff)
			return true;
		if (in->modrm_off != zi->raw.modrm.offset)
			return false;
		/* An override without a memory operand means nothing. */
		return in->seg == seg || zi->raw.modrm.mod == 3;
	}
	return true;
}

bool decode_agrees(const ZydisDecoder *decoder, const struct bt_insn *in,
		   const u8 *b)
{
	ZydisDecodedInstruction zi;

	return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(decoder, NULL, b, 15,
							  &zi)) &&
	       agrees(in, &zi);
}
