// SPDX-License-Identifier: GPL-2.0-only
/* Random single instructions: see bt_gen.h. */
#include <string.h>

#include "bt/bt.h"
#include "bt_gen.h"
#include "bt_rig.h"

/* Mostly well inside the data, sometimes across a page's end or the last one. */
u64 gen_data_address(struct gen *g)
{
	u32 off = 0x400 + gen_below(g, 0x1400), kind = gen_below(g, 100);

	if (kind < 6)
		off = 0x1000 - gen_below(g, 17);
	else if (kind < 9 && g->faulty)
		off = RIG_DATA_SIZE - gen_below(g, 65);
	else if (kind < 80)
		off &= ~63u;
	return g->data + off;
}

/* --- copied instructions ---------------------------------------------------- */

static bool repeatable(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_RDRAND:
	case ZYDIS_CATEGORY_RDSEED:
	case ZYDIS_CATEGORY_XSAVE: /* FIP shows where x87 code ran */
	case ZYDIS_CATEGORY_XSAVEOPT:
	case ZYDIS_CATEGORY_MOVDIR:
	case ZYDIS_CATEGORY_STRINGOP: /* see put_string() */
		return false;
	default:
		break;
	}
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FNSAVE:
	case ZYDIS_MNEMONIC_FNSTENV:
	case ZYDIS_MNEMONIC_ENTER: /* see put_stack() */
	case ZYDIS_MNEMONIC_LEAVE:
	case ZYDIS_MNEMONIC_CLZERO:
		return false;
	default:
		return true;
	}
}

static bool writes_rsp(const struct gen *g)
{
	u32 i;

	if (g->zi.meta.category == ZYDIS_CATEGORY_PUSH)
		return false;
	for (i = 0; i < g->zi.operand_count; i++) {
		const ZydisDecodedOperand *o = &g->op[i];

		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    !(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		if (ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64,
						     o->reg.value) !=
		    ZYDIS_REGISTER_RSP)
			continue;
		if (o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
			return true;
	}
	return false;
}

/* EVEX with its fixed bits in place; what is random else says little. */
static u32 evex_prefix(struct gen *g, u8 *b)
{
	b[0] = 0x62;
	b[1] = (u8)((gen_random(g) & 0xf0) | (1 + gen_below(g, 3)));
	if (gen_chance(g, 20))
		b[1] = (u8)((b[1] & 0xf0) | (5 + gen_below(g, 2)));
	b[2] = (u8)(gen_random(g) | 4);
	b[3] = (u8)gen_random(g);
	/* Mostly without masks and broadcast, with all of vvvv. */
	if (gen_chance(g, 50))
		b[3] &= 0x68;
	return 4;
}

/* ANDN, BLSR, BZHI, PEXT, PDEP, MULX, SARX, RORX and their neighbours. */
static u32 bmi_prefix(struct gen *g, u8 *b)
{
	static const u8 op[] = { 0xf2, 0xf3, 0xf5, 0xf6, 0xf7, 0xf0 };
	u32 i = gen_below(g, sizeof(op));

	b[0] = 0xc4;
	b[1] = (u8)((gen_random(g) & 0xe0) | (op[i] == 0xf0 ? 3 : 2));
	b[2] = (u8)(gen_random(g) & 0xfb);
	if (op[i] == 0xf0)
		b[2] = (u8)((b[2] & 0x80) | 0x7b);
	b[3] = op[i];
	return 4;
}

static u32 random_encoding(struct gen *g, u8 *b)
{
	u32 n = 0, i, kind = gen_below(g, 112);

	if (kind >= 106) {
		n = bmi_prefix(g, b);
	} else if (kind >= 100) {
		n = evex_prefix(g, b);
	} else if (kind < 80) {
		if (gen_chance(g, 10))
			b[n++] = 0x66;
		if (gen_chance(g, 5))
			b[n++] = gen_chance(g, 50) ? 0xf2 : 0xf3;
		if (gen_chance(g, 3))
			b[n++] = 0xf0;
		if (gen_chance(g, 3))
			b[n++] = 0x65;
		if (gen_chance(g, 2))
			b[n++] = 0x64;
		if (gen_chance(g, 3))
			b[n++] = 0x36;
		if (gen_chance(g, 2))
			b[n++] = 0x67;
		if (gen_chance(g, 60))
			b[n++] = 0x40 | (u8)gen_below(g, 16);
		if (kind >= 45)
			b[n++] = 0x0f;
		if (kind >= 70)
			b[n++] = kind >= 75 ? 0x3a : 0x38;
	} else if (kind < 90) {
		b[n++] = 0xc5;
	} else {
		b[n++] = 0xc4;
	}
	for (i = n; i < n + 16; i++)
		b[i] = (u8)gen_random(g);
	return n;
}

/* Operands that no byte names: RDI, or RBX with AL. */
static void fix_implied(struct gen *g)
{
	switch (g->zi.mnemonic) {
	case ZYDIS_MNEMONIC_MASKMOVQ:
	case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU:
		gen_put_mov_imm(g, 7, gen_data_address(g));
		break;
	case ZYDIS_MNEMONIC_XLAT:
		gen_put_mov_imm(g, 3, gen_data_address(g));
		break;
	default:
		break;
	}
}

/*
 * FLDCW, LDMXCSR and kin would mostly unmask exceptions, and WRFSBASE and WRGSBASE
 * lead later operands astray: let one in eight.
 */
static bool too_disruptive(struct gen *g)
{
	switch (g->zi.mnemonic) {
	case ZYDIS_MNEMONIC_FLDCW:
	case ZYDIS_MNEMONIC_FLDENV:
	case ZYDIS_MNEMONIC_FRSTOR:
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_VLDMXCSR:
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
	case ZYDIS_MNEMONIC_WRFSBASE:
	case ZYDIS_MNEMONIC_WRGSBASE:
		return !gen_chance(g, 12);
	default:
		return false;
	}
}

/* BT and its kin with a register reach 2^60 bytes around their operand. */
static bool fix_bit_offset(struct gen *g, const ZydisDecodedOperand *m)
{
	ZydisRegister r;

	switch (g->zi.mnemonic) {
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTC:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTS:
		break;
	default:
		return true;
	}
	if (g->op[1].type != ZYDIS_OPERAND_TYPE_REGISTER)
		return true;
	r = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64,
					     g->op[1].reg.value);
	if (r == ZYDIS_REGISTER_RSP || r == m->mem.base || r == m->mem.index)
		return false;
	gen_put_mov_imm(g, (u32)(r - ZYDIS_REGISTER_RAX), gen_below(g, 512));
	return true;
}

/* Make displacements point somewhere sensible, emit loads of the registers. */
static bool fix_memory(struct gen *g, u8 *b)
{
	const ZydisDecodedOperand *m = NULL;
	bool based;
	u32 i, base, index, disp;
	u64 to;

	for (i = 0; i < g->zi.operand_count_visible; i++) {
		if (g->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			m = &g->op[i];
	}
	if (!m || m->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
		return true;
	if (m->mem.type != ZYDIS_MEMOP_TYPE_MEM)
		return false;
	if (!fix_bit_offset(g, m))
		return false;
	if (gen_below(g, 1000) < g->faulty)
		return m->mem.base != ZYDIS_REGISTER_RIP;
	based = m->mem.segment == ZYDIS_REGISTER_GS ||
		m->mem.segment == ZYDIS_REGISTER_FS;
	to = gen_data_address(g) - (based ? g->data : 0);
	if (g->zi.raw.disp.size == 32 && m->mem.base != ZYDIS_REGISTER_NONE) {
		disp = gen_below(g, 256) & ~15u;
		memcpy(b + g->zi.raw.disp.offset, &disp, 4);
	} else if (g->zi.raw.disp.size == 32) {
		disp = (u32)to;
		if (!fits_s32(to))
			return false;
		memcpy(b + g->zi.raw.disp.offset, &disp, 4);
	} else if (g->zi.raw.disp.size == 8) {
		b[g->zi.raw.disp.offset] &= 0xf0;
	} else if (g->zi.raw.disp.size == 64) {
		memcpy(b + g->zi.raw.disp.offset, &to, 8);
	}
	if (m->mem.base == ZYDIS_REGISTER_RIP) {
		disp = (u32)(to - (g->base + g->n + g->zi.length));
		memcpy(b + g->zi.raw.disp.offset, &disp, 4);
		return true;
	}
	if (m->mem.index != ZYDIS_REGISTER_NONE) {
		index = (u32)(m->mem.index - ZYDIS_REGISTER_RAX);
		if (index > 15 || m->mem.index == m->mem.base)
			return false;
		gen_put_mov_imm(g, index, gen_below(g, 8));
	}
	if (m->mem.base != ZYDIS_REGISTER_NONE) {
		base = (u32)(m->mem.base - ZYDIS_REGISTER_RAX);
		if (base > 15)
			return false;
		if (base != 4)
			gen_put_mov_imm(g, base, to);
	}
	return true;
}

static bool decode(struct gen *g, const u8 *b)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&g->decoder, b, 15, &g->zi,
						   g->op));
}

u32 gen_copied(struct gen *g, u8 *out)
{
	u32 tries;

	for (tries = 0; tries < 1000; tries++) {
		enum bt_class cls;

		random_encoding(g, out);
		if (!decode(g, out))
			continue;
		cls = classify(&g->zi);
		if (cls != CLS_COPY && cls != CLS_LEA && cls != CLS_VERBATIM)
			continue;
		if (repeatable(&g->zi) && !too_disruptive(g) &&
		    (!writes_rsp(g) || gen_below(g, 1000) < g->faulty))
			return g->zi.length;
	}
	return 0;
}

void gen_put_copied(struct gen *g)
{
	u8 b[32];
	u32 n = gen_copied(g, b);

	if (!n || !fix_memory(g, b))
		return;
	fix_implied(g);
	gen_put(g, b, n);
}

void gen_put_run(struct gen *g, u32 most)
{
	u32 i, n = gen_below(g, most + 1);

	for (i = 0; i < n; i++)
		gen_put_copied(g);
}

