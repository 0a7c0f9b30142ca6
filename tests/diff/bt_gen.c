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

bool gen_chance(struct gen *g, u32 percent)
{
	return gen_below(g, 100) < percent;
}

void gen_put(struct gen *g, const void *p, u32 n)
{
	/* At the end of its room a program ends as it happens to. */
	n = min(n, g->max - g->n);
	memcpy(g->code + g->n, p, n);
	g->n += n;
}

void gen_put1(struct gen *g, u32 b)
{
	u8 c = (u8)b;

	gen_put(g, &c, 1);
}

void gen_put4(struct gen *g, u32 v)
{
	gen_put(g, &v, 4);
}

/* mov reg64, imm64 */
void gen_put_mov_imm(struct gen *g, u32 reg, u64 v)
{
	gen_put1(g, 0x48 | (reg >> 3));
	gen_put1(g, 0xb8 | (reg & 7));
	gen_put(g, &v, 8);
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

	gen_put_run(g, 3);
	if (g->n - start > 100)
		g->n = start;
}

static void put_jcc(struct gen *g)
{
	u32 cc = gen_below(g, 16), at;

	if (gen_chance(g, 50)) {
		gen_put1(g, 0x70 | cc);
		gen_put1(g, 0);
		at = g->n - 1;
		put_short_run(g);
		resolve(g, at, 1);
	} else {
		gen_put1(g, 0x0f);
		gen_put1(g, 0x80 | cc);
		gen_put4(g, 0);
		at = g->n - 4;
		gen_put_run(g, 4);
		resolve(g, at, 4);
	}
}

static void put_jmp(struct gen *g)
{
	u32 at;

	gen_put1(g, 0xeb);
	gen_put1(g, 0);
	at = g->n - 1;
	put_short_run(g);
	resolve(g, at, 1);
}

/* mov rcx, n; top: body; loop top - the body must leave RCX alone: NOPs, RDX */
static void put_loop(struct gen *g)
{
	static const u8 body[] = { 0x48, 0x8d, 0x14, 0x4a, 0xf5 };
	u32 op = 0xe0 + gen_below(g, 3), top;

	gen_put_mov_imm(g, 1, 1 + gen_below(g, 4));
	top = g->n;
	gen_put(g, body, sizeof(body));
	if (gen_chance(g, 25))
		gen_put1(g, 0x67);
	gen_put1(g, op);
	gen_put1(g, top - (g->n + 1));
}

static void put_jrcxz(struct gen *g)
{
	u32 at;

	gen_put_mov_imm(g, 1, gen_chance(g, 50) ? 0 : gen_random(g) << 32);
	if (gen_chance(g, 50))
		gen_put1(g, 0x67);
	gen_put1(g, 0xe3);
	gen_put1(g, 0);
	at = g->n - 1;
	put_short_run(g);
	resolve(g, at, 1);
}

/* jmp over a subroutine, call it, perhaps twice and through whatever */
static void put_call(struct gen *g)
{
	u32 over, sub, i, reg, form;
	u64 slot;

	gen_put1(g, 0xe9);
	gen_put4(g, 0);
	over = g->n - 4;
	sub = g->n;
	gen_put_run(g, 3);
	if (gen_chance(g, 30)) {
		gen_put1(g, 0xc2);
		gen_put1(g, 0);
		gen_put1(g, 0);
	} else {
		if (gen_chance(g, 20))
			gen_put1(g, 0xf3);
		gen_put1(g, 0xc3);
	}
	resolve(g, over, 4);
	for (i = 0; i < 2; i++) {
		reg = gen_below(g, 16);
		form = gen_below(g, 4);
		if (form == 0 || reg == 4) {
			gen_put1(g, 0xe8);
			gen_put4(g, sub - (g->n + 4));
		} else if (form == 1) {
			gen_put_mov_imm(g, reg, g->base + sub);
			if (reg & 8)
				gen_put1(g, 0x41);
			gen_put1(g, 0xff);
			gen_put1(g, 0xd0 | (reg & 7));
		} else if (form == 2) {
			/* call [rip + slot], the slot filled by push and pop */
			slot = g->data + 0x100 + 8 * gen_below(g, 32);
			gen_put_mov_imm(g, 0, g->base + sub);
			gen_put1(g, 0x48);
			gen_put1(g, 0xa3);
			gen_put(g, &slot, 8);
			gen_put1(g, 0xff);
			gen_put1(g, 0x15);
			gen_put4(g, (u32)(slot - (g->base + g->n + 4)));
		} else {
			/* push target; call [rsp]; lea rsp, [rsp + 8] */
			gen_put_mov_imm(g, 1, g->base + sub);
			gen_put1(g, 0x51);
			gen_put1(g, 0xff);
			gen_put1(g, 0x14);
			gen_put1(g, 0x24);
			gen_put(g, "\x48\x8d\x64\x24\x08", 5);
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
	gen_put_mov_imm(g, reg, 0);
	at = g->n - 8;
	if (form == 0) {
		if (reg & 8)
			gen_put1(g, 0x41);
		gen_put1(g, 0x50 | (reg & 7));
		gen_put1(g, 0xc3);
	} else if (form == 1) {
		if (reg & 8)
			gen_put1(g, 0x41);
		gen_put1(g, 0xff);
		gen_put1(g, 0xe0 | (reg & 7));
	} else {
		/* mov [rip + slot], reg; jmp gs:[abs] */
		gen_put1(g, 0x48 | (reg & 8 ? 4 : 0));
		gen_put1(g, 0x89);
		gen_put1(g, 0x05 | (reg & 7) << 3);
		gen_put4(g, (u32)(slot - (g->base + g->n + 4)));
		gen_put1(g, 0x65);
		gen_put1(g, 0xff);
		gen_put1(g, 0x24);
		gen_put1(g, 0x25);
		gen_put4(g, (u32)(slot - g->data));
	}
	gen_put_run(g, 2);
	target = g->base + g->n;
	memcpy(g->code + at, &target, 8);
}

/* A jump into the middle of an instruction: mov eax, imm32 hides others. */
static void put_overlap(struct gen *g)
{
	/* jmp +1; mov eax, (inc edx; xchg ebx, edx; nop) */
	gen_put(g, "\xeb\x01\xb8\xff\xc2\x87\xd3\x90", 8);
}

static void put_string(struct gen *g)
{
	static const u8 ops[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa,
				  0xab, 0xac, 0xad, 0xae, 0xaf };

	gen_put_mov_imm(g, 6, g->data + 0x800 + gen_below(g, 64));
	gen_put_mov_imm(g, 7, g->data + 0x1000 + gen_below(g, 64));
	gen_put_mov_imm(g, 1, gen_below(g, 6));
	if (gen_chance(g, 70))
		gen_put1(g, gen_chance(g, 50) ? 0xf2 : 0xf3);
	if (gen_chance(g, 30))
		gen_put1(g, 0x48);
	gen_put1(g, ops[gen_below(g, sizeof(ops))]);
}

static void put_stack(struct gen *g)
{
	u32 reg = gen_below(g, 8);

	if (reg == 4)
		reg = 3;
	switch (gen_below(g, 6)) {
	case 0:
		gen_put1(g, 0x50 | reg);
		break;
	case 1:
		gen_put1(g, 0x58 | reg);
		break;
	case 2: /* enter 16, n; leave */
		gen_put1(g, 0xc8);
		gen_put1(g, 0x10);
		gen_put1(g, 0);
		gen_put1(g, gen_chance(g, 80) ? 0 : gen_below(g, 32));
		gen_put1(g, 0xc9);
		break;
	case 3: /* push rsp; pop rbp */
		gen_put(g, "\x54\x5d", 2);
		break;
	case 4:
		if (!g->no_flags_push)
			gen_put(g, "\x9c\x9d", 2);
		break;
	default: /* pushfq; pop reg */
		if (!g->no_flags_push) {
			gen_put1(g, 0x9c);
			gen_put1(g, 0x58 | reg);
		}
		break;
	}
}

static void put_segment(struct gen *g)
{
	u32 seg = gen_below(g, 6), reg = gen_below(g, 8);

	if (reg == 4)
		reg = 3;
	if (gen_chance(g, 20)) {
		/* push fs; pop reg */
		gen_put1(g, 0x0f);
		gen_put1(g, gen_chance(g, 50) ? 0xa0 : 0xa8);
		gen_put1(g, 0x58 | reg);
		return;
	}
	if (gen_chance(g, 30))
		gen_put1(g, 0x66);
	else if (gen_chance(g, 50))
		gen_put1(g, 0x48);
	gen_put1(g, 0x8c);
	gen_put1(g, 0xc0 | seg << 3 | reg);
}

static void put_lea_rip(struct gen *g)
{
	u32 reg = gen_below(g, 16), width = gen_below(g, 3);

	if (reg == 4)
		reg = 3;
	if (gen_chance(g, 20))
		gen_put1(g, 0x67);
	if (width == 2)
		gen_put1(g, 0x66);
	gen_put1(g, 0x40 | (width == 0 ? 8 : 0) | (reg & 8 ? 4 : 0));
	gen_put1(g, 0x8d);
	gen_put1(g, 0x05 | (reg & 7) << 3);
	gen_put4(g, (u32)gen_random(g));
}

/* To the same privilege: rax = rsp; push ss, rax, flags, cs, target; iretq */
static void put_iret(struct gen *g)
{
	u32 at;
	u64 target;

	if (g->no_flags_push)
		return;
	gen_put_mov_imm(g, 3, 0);
	at = g->n - 8;
	gen_put(g, "\x48\x89\xe0\x6a\x2b\x50", 6);
	if (gen_chance(g, 50)) {
		gen_put1(g, 0x9c);
	} else {
		gen_put1(g, 0x68);
		gen_put4(g, 0x202 | (gen_below(g, 0x1000) & 0x8d5));
	}
	gen_put(g, "\x6a\x33\x53\x48\xcf", 5);
	gen_put_run(g, 2);
	target = g->base + g->n;
	memcpy(g->code + at, &target, 8);
}

static void put_piece(struct gen *g)
{
	if (gen_put_special(g))
		return;
	switch (gen_below(g, 19)) {
	case 17:
		gen_put_flags(g);
		break;
	case 18:
		gen_put_mismatch(g);
		break;
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
		gen_put_run(g, 6);
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
	/* With no room left it is cut off, and runs into what is behind. */
	for (i = 0; i < pieces && (g->cut || g->n + 512 < g->max); i++)
		put_piece(g);
	gen_put1(g, 0xcc);
	memset(g->code + g->n, 0xcc, g->max - g->n);
}
