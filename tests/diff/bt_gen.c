// SPDX-License-Identifier: GPL-2.0-only
/* See bt_gen.h. */
#include <string.h>

#include "bt/bt.h"
#include "bt_gen.h"
#include "bt_rig.h"

u64 gen_random(struct gen *g)
{
	g->rng ^= g->rng << 13;
	g->rng ^= g->rng >> 7;
	g->rng ^= g->rng << 17;
	return g->rng * 0x2545f4914f6cdd1dull >> 8;
}

u32 gen_below(struct gen *g, u32 limit)
{
	return (u32)(gen_random(g) % limit);
}

static bool chance(struct gen *g, u32 percent)
{
	return gen_below(g, 100) < percent;
}

static void put(struct gen *g, const void *p, u32 n)
{
	if (g->n + n > g->max)
		return;
	memcpy(g->code + g->n, p, n);
	g->n += n;
}

static void put1(struct gen *g, u32 b)
{
	u8 c = (u8)b;

	put(g, &c, 1);
}

static void put4(struct gen *g, u32 v)
{
	put(g, &v, 4);
}

/* mov reg64, imm64 */
static void put_mov_imm(struct gen *g, u32 reg, u64 v)
{
	put1(g, 0x48 | (reg >> 3));
	put1(g, 0xb8 | (reg & 7));
	put(g, &v, 8);
}

static u64 data_address(struct gen *g)
{
	u32 off = 0x400 + gen_below(g, 0x1400);

	if (chance(g, 80))
		off &= ~63u;
	return g->data + off;
}

/* --- copied instructions ---------------------------------------------------- */

static bool repeatable(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_RDRAND:
	case ZYDIS_CATEGORY_RDSEED:
	case ZYDIS_CATEGORY_RDWRFSGS:
	case ZYDIS_CATEGORY_XSAVE:
	case ZYDIS_CATEGORY_XSAVEOPT:
	case ZYDIS_CATEGORY_X87_ALU: /* FIP shows where it ran */
	case ZYDIS_CATEGORY_FCMOV:
	case ZYDIS_CATEGORY_MOVDIR:
	case ZYDIS_CATEGORY_STRINGOP: /* see put_string() */
		return false;
	default:
		break;
	}
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_VLDMXCSR:
	case ZYDIS_MNEMONIC_ENTER:
	case ZYDIS_MNEMONIC_LEAVE:
	case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU:
	case ZYDIS_MNEMONIC_MASKMOVQ:
	case ZYDIS_MNEMONIC_CLZERO:
	case ZYDIS_MNEMONIC_XLAT:
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

static u32 random_encoding(struct gen *g, u8 *b)
{
	u32 n = 0, i, kind = gen_below(g, 100);

	if (kind < 80) {
		if (chance(g, 10))
			b[n++] = 0x66;
		if (chance(g, 5))
			b[n++] = chance(g, 50) ? 0xf2 : 0xf3;
		if (chance(g, 3))
			b[n++] = 0xf0;
		if (chance(g, 3))
			b[n++] = 0x65;
		if (chance(g, 3))
			b[n++] = 0x36;
		if (chance(g, 60))
			b[n++] = 0x40 | (u8)gen_below(g, 16);
		if (kind >= 45)
			b[n++] = 0x0f;
		if (kind >= 70)
			b[n++] = kind >= 75 ? 0x3a : 0x38;
	} else if (kind < 90) {
		b[n++] = 0xc5;
	} else if (kind < 97) {
		b[n++] = 0xc4;
	} else {
		b[n++] = 0x62;
	}
	for (i = n; i < n + 16; i++)
		b[i] = (u8)gen_random(g);
	return n;
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
	put_mov_imm(g, (u32)(r - ZYDIS_REGISTER_RAX), gen_below(g, 512));
	return true;
}

/* Make displacements point somewhere sensible, emit loads of the registers. */
static bool fix_memory(struct gen *g, u8 *b)
{
	const ZydisDecodedOperand *m = NULL;
	bool gs;
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
	gs = m->mem.segment == ZYDIS_REGISTER_GS;
	to = data_address(g) - (gs ? g->data : 0);
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
		put_mov_imm(g, index, gen_below(g, 8));
	}
	if (m->mem.base != ZYDIS_REGISTER_NONE) {
		base = (u32)(m->mem.base - ZYDIS_REGISTER_RAX);
		if (base > 15)
			return false;
		if (base != 4)
			put_mov_imm(g, base, to);
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
		if (repeatable(&g->zi) && !writes_rsp(g))
			return g->zi.length;
	}
	return 0;
}

static void put_copied(struct gen *g)
{
	u8 b[32];
	u32 n = gen_copied(g, b);

	if (n && fix_memory(g, b))
		put(g, b, n);
}

static void put_run(struct gen *g, u32 most)
{
	u32 i, n = gen_below(g, most + 1);

	for (i = 0; i < n; i++)
		put_copied(g);
}

/* --- directed pieces --------------------------------------------------------- */

/* A forward reference of `size` bytes at g->n - size, resolved to here. */
static void resolve(struct gen *g, u32 at, u32 size)
{
	s32 rel = (s32)(g->n - (at + size));

	memcpy(g->code + at, &rel, size);
}

/* Length-limited run, for short jumps. */
static void put_short_run(struct gen *g)
{
	u32 start = g->n;

	put_run(g, 3);
	if (g->n - start > 100)
		g->n = start;
}

static void put_jcc(struct gen *g)
{
	u32 cc = gen_below(g, 16), at;

	if (chance(g, 50)) {
		put1(g, 0x70 | cc);
		put1(g, 0);
		at = g->n - 1;
		put_short_run(g);
		resolve(g, at, 1);
	} else {
		put1(g, 0x0f);
		put1(g, 0x80 | cc);
		put4(g, 0);
		at = g->n - 4;
		put_run(g, 4);
		resolve(g, at, 4);
	}
}

static void put_jmp(struct gen *g)
{
	u32 at;

	put1(g, 0xeb);
	put1(g, 0);
	at = g->n - 1;
	put_short_run(g);
	resolve(g, at, 1);
}

/* mov rcx, n; top: body; loop top - the body must leave RCX alone: NOPs, RDX */
static void put_loop(struct gen *g)
{
	static const u8 body[] = { 0x48, 0x8d, 0x14, 0x4a, 0xf5 };
	u32 op = 0xe0 + gen_below(g, 3), top;

	put_mov_imm(g, 1, 1 + gen_below(g, 4));
	top = g->n;
	put(g, body, sizeof(body));
	if (chance(g, 25))
		put1(g, 0x67);
	put1(g, op);
	put1(g, top - (g->n + 1));
}

static void put_jrcxz(struct gen *g)
{
	u32 at;

	put_mov_imm(g, 1, chance(g, 50) ? 0 : gen_random(g) << 32);
	if (chance(g, 50))
		put1(g, 0x67);
	put1(g, 0xe3);
	put1(g, 0);
	at = g->n - 1;
	put_short_run(g);
	resolve(g, at, 1);
}

/* jmp over a subroutine, call it, perhaps twice and through whatever */
static void put_call(struct gen *g)
{
	u32 over, sub, i, reg, form;
	u64 slot;

	put1(g, 0xe9);
	put4(g, 0);
	over = g->n - 4;
	sub = g->n;
	put_run(g, 3);
	if (chance(g, 30)) {
		put1(g, 0xc2);
		put1(g, 0);
		put1(g, 0);
	} else {
		if (chance(g, 20))
			put1(g, 0xf3);
		put1(g, 0xc3);
	}
	resolve(g, over, 4);
	for (i = 0; i < 2; i++) {
		reg = gen_below(g, 16);
		form = gen_below(g, 4);
		if (form == 0 || reg == 4) {
			put1(g, 0xe8);
			put4(g, sub - (g->n + 4));
		} else if (form == 1) {
			put_mov_imm(g, reg, g->base + sub);
			if (reg & 8)
				put1(g, 0x41);
			put1(g, 0xff);
			put1(g, 0xd0 | (reg & 7));
		} else if (form == 2) {
			/* call [rip + slot], the slot filled by push and pop */
			slot = g->data + 0x100 + 8 * gen_below(g, 32);
			put_mov_imm(g, 0, g->base + sub);
			put1(g, 0x48);
			put1(g, 0xa3);
			put(g, &slot, 8);
			put1(g, 0xff);
			put1(g, 0x15);
			put4(g, (u32)(slot - (g->base + g->n + 4)));
		} else {
			/* push target; call [rsp]; lea rsp, [rsp + 8] */
			put_mov_imm(g, 1, g->base + sub);
			put1(g, 0x51);
			put1(g, 0xff);
			put1(g, 0x14);
			put1(g, 0x24);
			put(g, "\x48\x8d\x64\x24\x08", 5);
		}
	}
}

/* push target; ret - and jmp reg, jmp [mem] */
static void put_indirect(struct gen *g)
{
	u32 at, form = gen_below(g, 3), reg = gen_below(g, 16);
	u64 slot = g->data + 0x100 + 8 * gen_below(g, 32), target;

	if (reg == 4)
		reg = 5;
	put_mov_imm(g, reg, 0);
	at = g->n - 8;
	if (form == 0) {
		if (reg & 8)
			put1(g, 0x41);
		put1(g, 0x50 | (reg & 7));
		put1(g, 0xc3);
	} else if (form == 1) {
		if (reg & 8)
			put1(g, 0x41);
		put1(g, 0xff);
		put1(g, 0xe0 | (reg & 7));
	} else {
		/* mov [rip + slot], reg; jmp gs:[abs] */
		put1(g, 0x48 | (reg & 8 ? 4 : 0));
		put1(g, 0x89);
		put1(g, 0x05 | (reg & 7) << 3);
		put4(g, (u32)(slot - (g->base + g->n + 4)));
		put1(g, 0x65);
		put1(g, 0xff);
		put1(g, 0x24);
		put1(g, 0x25);
		put4(g, (u32)(slot - g->data));
	}
	put_run(g, 2);
	target = g->base + g->n;
	memcpy(g->code + at, &target, 8);
}

/* A jump into the middle of an instruction: mov eax, imm32 hides others. */
static void put_overlap(struct gen *g)
{
	/* jmp +1; mov eax, (inc edx; xchg ebx, edx; nop) */
	put(g, "\xeb\x01\xb8\xff\xc2\x87\xd3\x90", 8);
}

static void put_string(struct gen *g)
{
	static const u8 ops[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa,
				  0xab, 0xac, 0xad, 0xae, 0xaf };

	put_mov_imm(g, 6, g->data + 0x800 + gen_below(g, 64));
	put_mov_imm(g, 7, g->data + 0x1000 + gen_below(g, 64));
	put_mov_imm(g, 1, gen_below(g, 6));
	if (chance(g, 70))
		put1(g, chance(g, 50) ? 0xf2 : 0xf3);
	if (chance(g, 30))
		put1(g, 0x48);
	put1(g, ops[gen_below(g, sizeof(ops))]);
}

static void put_stack(struct gen *g)
{
	u32 reg = gen_below(g, 8);

	if (reg == 4)
		reg = 3;
	switch (gen_below(g, 6)) {
	case 0:
		put1(g, 0x50 | reg);
		break;
	case 1:
		put1(g, 0x58 | reg);
		break;
	case 2: /* enter 16, 0; leave */
		put(g, "\xc8\x10\x00\x00\xc9", 5);
		break;
	case 3: /* push rsp; pop rbp */
		put(g, "\x54\x5d", 2);
		break;
	case 4:
		if (!g->no_flags_push)
			put(g, "\x9c\x9d", 2);
		break;
	default: /* pushfq; pop reg */
		if (!g->no_flags_push) {
			put1(g, 0x9c);
			put1(g, 0x58 | reg);
		}
		break;
	}
}

static void put_segment(struct gen *g)
{
	u32 seg = gen_below(g, 6), reg = gen_below(g, 8);

	if (reg == 4)
		reg = 3;
	if (chance(g, 20)) {
		/* push fs; pop reg */
		put1(g, 0x0f);
		put1(g, chance(g, 50) ? 0xa0 : 0xa8);
		put1(g, 0x58 | reg);
		return;
	}
	if (chance(g, 30))
		put1(g, 0x66);
	else if (chance(g, 50))
		put1(g, 0x48);
	put1(g, 0x8c);
	put1(g, 0xc0 | seg << 3 | reg);
}

static void put_lea_rip(struct gen *g)
{
	u32 reg = gen_below(g, 16), width = gen_below(g, 3);

	if (reg == 4)
		reg = 3;
	if (chance(g, 20))
		put1(g, 0x67);
	if (width == 2)
		put1(g, 0x66);
	put1(g, 0x40 | (width == 0 ? 8 : 0) | (reg & 8 ? 4 : 0));
	put1(g, 0x8d);
	put1(g, 0x05 | (reg & 7) << 3);
	put4(g, (u32)gen_random(g));
}

/* To the same privilege: rax = rsp; push ss, rax, flags, cs, target; iretq */
static void put_iret(struct gen *g)
{
	u32 at;
	u64 target;

	if (g->no_flags_push)
		return;
	put_mov_imm(g, 3, 0);
	at = g->n - 8;
	put(g, "\x48\x89\xe0\x6a\x2b\x50", 6);
	if (chance(g, 50)) {
		put1(g, 0x9c);
	} else {
		put1(g, 0x68);
		put4(g, 0x202 | (gen_below(g, 0x1000) & 0x8d5));
	}
	put(g, "\x6a\x33\x53\x48\xcf", 5);
	put_run(g, 2);
	target = g->base + g->n;
	memcpy(g->code + at, &target, 8);
}

static void put_piece(struct gen *g)
{
	switch (gen_below(g, 17)) {
	case 16:
		put_iret(g);
		break;
	case 0:
	case 1:
		put_jcc(g);
		break;
	case 2:
		put_jmp(g);
		break;
	case 3:
		put_loop(g);
		break;
	case 4:
		put_jrcxz(g);
		break;
	case 5:
	case 6:
		put_call(g);
		break;
	case 7:
		put_indirect(g);
		break;
	case 8:
		put_overlap(g);
		break;
	case 9:
		put_string(g);
		break;
	case 10:
		put_stack(g);
		break;
	case 11:
		put_segment(g);
		break;
	case 12:
		put_lea_rip(g);
		break;
	default:
		put_run(g, 6);
		break;
	}
}

void gen_init(struct gen *g, u64 seed, u64 base, u64 data, u8 *code, u32 max)
{
	memset(g, 0, sizeof(*g));
	g->rng = seed * 0x9e3779b97f4a7c15ull + 0x1234567;
	g->base = base;
	g->data = data;
	g->code = code;
	g->max = max;
	g->faulty = 10;
	ZydisDecoderInit(&g->decoder, ZYDIS_MACHINE_MODE_LONG_64,
			 ZYDIS_STACK_WIDTH_64);
	ZydisDecoderEnableMode(&g->decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	gen_random(g);
}

void gen_program(struct gen *g)
{
	u32 pieces = 3 + gen_below(g, 10), i;

	g->n = 0;
	for (i = 0; i < pieces && g->n + 512 < g->max; i++)
		put_piece(g);
	put1(g, 0xcc);
	memset(g->code + g->n, 0xcc, g->max - g->n);
}
