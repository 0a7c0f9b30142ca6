// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pieces of random programs that look at flags, return to where nobody called
 * from, jump anywhere, change the program itself or do what only ring 0 may.
 */
#include <string.h>

#include "bt/bt.h"
#include "bt_gen.h"

/* --- flags ------------------------------------------------------------------- */

/* Something that sets flags, perhaps something between, something that reads them. */
void gen_put_flags(struct gen *g)
{
	u32 reg = gen_below(g, 4), n;
	u8 b[8];

	/* An ALU instruction on registers, or a shift, which may leave them alone. */
	b[0] = (u8)(gen_below(g, 8) << 3 | gen_below(g, 4));
	b[1] = (u8)(0xc0 | gen_below(g, 4) << 3 | reg);
	if (gen_chance(g, 30)) {
		b[0] = 0xd3;
		b[1] = (u8)(0xc0 | gen_below(g, 6) << 3 | reg);
	}
	gen_put(g, b, 2);
	if (gen_chance(g, 50))
		gen_put_run(g, 2);
	switch (gen_below(g, 6)) {
	case 0: /* setcc */
		n = 3;
		memcpy(b, "\x0f\x90\xc0", 3);
		b[1] |= gen_below(g, 16);
		b[2] |= reg;
		break;
	case 1: /* cmovcc */
		n = 4;
		memcpy(b, "\x48\x0f\x40\xc0", 4);
		b[2] |= gen_below(g, 16);
		b[3] |= gen_below(g, 4) << 3 | reg;
		break;
	case 2: /* lahf; sahf */
		n = 2;
		memcpy(b, "\x9f\x9e", 2);
		break;
	case 3: /* adc, sbb */
		n = 3;
		memcpy(b, "\x48\x11\xc0", 3);
		b[1] |= gen_below(g, 2) << 3;
		b[2] |= gen_below(g, 4) << 3 | reg;
		break;
	case 4: /* rcl, rcr by 1 */
		n = 3;
		memcpy(b, "\x48\xd1\xd0", 3);
		b[2] |= gen_below(g, 2) << 3 | reg;
		break;
	default: /* jcc over one instruction */
		n = 4;
		memcpy(b, "\x70\x02\x89\xc0", 4);
		b[0] |= gen_below(g, 16);
		b[3] |= gen_below(g, 4) << 3 | reg;
	}
	gen_put(g, b, n);
}

/* --- calls and returns that do not match -------------------------------------- */

/* A subroutine that is left in another way than by a return to its caller. */
void gen_put_mismatch(struct gen *g)
{
	u32 at, extra;
	u64 target;

	switch (gen_below(g, 5)) {
	case 0: /* call over data; pop rcx: what am I */
		gen_put(g, "\xe8\x03\x00\x00\x00\xcc\xcc\xcc\x59", 9);
		return;
	case 1: /* call; mov [rsp], rax; ret: as retpolines do */
		gen_put_mov_imm(g, 0, 0);
		at = g->n - 8;
		gen_put(g, "\xe8\x02\x00\x00\x00\xf3\x90", 7);
		gen_put(g, "\x48\x89\x04\x24\xc3", 5);
		break;
	case 2: /* call; add [rsp], n; ret: skip n bytes behind the call */
		extra = 1 + gen_below(g, 6);
		/* call sub; n bytes skipped; jmp out; sub: add qword [rsp], n; ret */
		gen_put1(g, 0xe8);
		gen_put4(g, extra + 2);
		for (at = 0; at < extra; at++)
			gen_put1(g, gen_below(g, 256));
		gen_put(g, "\xeb\x06\x48\x83\x04\x24", 6);
		gen_put1(g, extra);
		gen_put1(g, 0xc3);
		return;
	case 3: /* two calls, one return that drops both */
		gen_put(g, "\xe8\x02\x00\x00\x00\xeb\x09", 7);
		gen_put(g, "\xe8\x01\x00\x00\x00\xcc\x58\xc3\xcc", 9);
		return;
	default: /* push a; push b; ret n over a */
		gen_put_mov_imm(g, 1, 0);
		at = g->n - 8;
		gen_put(g, "\x6a\x7b\x51\xc2\x08\x00", 6);
		break;
	}
	gen_put_run(g, 2);
	target = g->base + g->n;
	if (at + 8 <= g->n)
		memcpy(g->code + at, &target, 8);
}

/* --- anywhere ------------------------------------------------------------------ */

/* Forward by any number of bytes: often into the middle of an instruction. */
static void put_jump_somewhere(struct gen *g)
{
	static const u8 op[] = { 0xeb, 0x70, 0x74, 0x75, 0x78, 0xe3 };
	u32 target;

	switch (gen_below(g, 4)) {
	case 0: /* call rel32 */
		gen_put1(g, 0xe8);
		gen_put4(g, gen_below(g, 60));
		break;
	case 1: /* push address; ret */
		target = g->n + 14 + gen_below(g, 50);
		gen_put_mov_imm(g, 3, g->base + target);
		gen_put(g, "\x53\xc3", 2);
		break;
	default:
		gen_put1(g, op[gen_below(g, sizeof(op))]);
		gen_put1(g, gen_below(g, 60));
	}
	gen_put_run(g, 4);
}

/* Bytes that may be no instruction, or one that ring 3 may not have. */
static void put_any_bytes(struct gen *g)
{
	u8 b[20];
	u32 i, n = 2 + gen_below(g, 6), prefixes = gen_below(g, 3);

	for (i = 0; i < sizeof(b); i++)
		b[i] = (u8)gen_random(g);
	for (i = 0; i < prefixes; i++)
		b[i] = "\x66\xf2\xf3\x2e\x36\x64\x65\x67\xf0\x48"[gen_below(g, 10)];
	if (gen_chance(g, 50))
		b[i] = 0x0f;
	gen_put(g, b, n);
}

/* --- stores to its own code ---------------------------------------------------- */

static void put_rip_disp(struct gen *g, u32 target, u32 behind)
{
	gen_put4(g, target - (g->n + 4 + behind));
}

static void put_store_to_code(struct gen *g)
{
	u32 i, at, top;
	u64 address;
	u8 b[32];

	switch (gen_below(g, 5)) {
	case 0: /* change the immediate of the next instruction but n */
		gen_put(g, "\xc6\x05", 2);
		at = g->n;
		gen_put4(g, 0);
		gen_put1(g, gen_below(g, 256));
		i = g->n;
		gen_put_run(g, 2);
		gen_put1(g, 0xb8 | gen_below(g, 4));
		gen_put4(g, (u32)gen_random(g));
		i = g->n - 1 - gen_below(g, 4) - i;
		if (at + 4 <= g->n)
			memcpy(g->code + at, &i, 4);
		break;
	case 1: /* mov ecx, n; top: mov eax, imm; inc byte of imm; loop top */
		gen_put_mov_imm(g, 1, 2 + gen_below(g, 4));
		top = g->n;
		gen_put1(g, 0xb8);
		gen_put4(g, 0);
		gen_put(g, "\xfe\x05", 2);
		put_rip_disp(g, top + 1 + gen_below(g, 4), 0);
		gen_put1(g, 0xe2);
		gen_put1(g, top - (g->n + 1));
		break;
	case 2: /* a copied instruction over eight NOPs */
		memset(b, 0x90, sizeof(b));
		do {
			i = gen_copied(g, b);
		} while (i > 8);
		memset(b + i, 0x90, sizeof(b) - i);
		memcpy(&address, b, 8);
		gen_put_mov_imm(g, 0, address);
		gen_put(g, "\x48\x89\x05", 3);
		at = gen_below(g, 30);
		put_rip_disp(g, g->n + 4 + at, 0);
		for (i = 0; i < at + 8; i++)
			gen_put1(g, 0x90);
		break;
	case 3: /* rep stosb of NOPs over what follows */
		gen_put_mov_imm(g, 7, g->base + g->n + 24 + gen_below(g, 16));
		gen_put_mov_imm(g, 1, 1 + gen_below(g, 12));
		gen_put(g, "\xb0\x90\xf3\xaa", 4);
		gen_put_run(g, 4);
		break;
	default: /* across a page's end, or to another page */
		gen_put_mov_imm(g, 7, ((g->base + g->n) & ~0xfffull) + 0x1000 -
					      gen_below(g, 9));
		gen_put(g, "\x48\x89\x07", 3);
		break;
	}
}

/* --- ring 0 -------------------------------------------------------------------- */

static void put_privileged(struct gen *g)
{
	static const u8 cr[] = { 0, 2, 3, 4 };
	u32 reg = gen_below(g, 8);

	if (reg == 4)
		reg = 3;
	switch (gen_below(g, 8)) {
	case 0:
		gen_put1(g, 0xfa);
		break;
	case 1:
		gen_put1(g, 0xfb);
		break;
	case 2: /* swapgs */
		gen_put(g, "\x0f\x01\xf8", 3);
		break;
	case 3: /* mov reg, cr8 */
		gen_put(g, "\x44\x0f\x20", 3);
		gen_put1(g, 0xc0 | reg);
		break;
	case 4: /* mov reg, cr; rdpid reg */
		gen_put(g, "\x0f\x20", 2);
		gen_put1(g, 0xc0 | cr[gen_below(g, 4)] << 3 | reg);
		gen_put(g, "\xf3\x0f\xc7", 3);
		gen_put1(g, 0xf8 | (reg ^ 1));
		break;
	case 5: /* pushfq; cli; work; popfq */
		gen_put(g, "\x9c\xfa", 2);
		gen_put_run(g, 2);
		gen_put1(g, 0x9d);
		break;
	case 6: /* pushfq; pop reg; push reg; popfq */
		gen_put1(g, 0x9c);
		gen_put1(g, 0x58 | reg);
		gen_put1(g, 0x50 | reg);
		gen_put1(g, 0x9d);
		break;
	default: /* sti; one more */
		gen_put1(g, 0xfb);
		gen_put_copied(g);
		break;
	}
}

bool gen_put_special(struct gen *g)
{
	u32 kind = gen_below(g, 100);

	if (g->features & GEN_PRIV && kind < 40)
		put_privileged(g);
	else if (g->features & GEN_STORES && kind < 40)
		put_store_to_code(g);
	else if (g->features & GEN_WILD && kind < 30)
		put_jump_somewhere(g);
	else if (g->features & GEN_WILD && kind < 34)
		put_any_bytes(g);
	else
		return false;
	return true;
}
