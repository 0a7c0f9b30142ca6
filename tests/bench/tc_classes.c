// SPDX-License-Identifier: GPL-2.0-only
/*
 * What each sort of guest instruction becomes, in bytes. A TU's records say where
 * each instruction's code begins; the int3 of a branch at the TU's end counts with
 * the branches, the jump at the end of a TU and the pad in front of it on their own.
 * Jumps that were straightened count with the jumps, as no bytes.
 */
#include "tc_replay.h"

enum {
	C_COPY,
	C_RIP,
	C_JCC,
	C_JMP,
	C_CALL,
	C_JMP_INDIRECT,
	C_CALL_INDIRECT,
	C_RET,
	C_FLAGS,
	C_IF,
	C_IRET,
	C_SYSTEM,
	C_CALLOUT,
	C_OTHER,
	C_END,
	C_PAD,
	CLASSES
};

static struct tc_class table[CLASSES] = {
	[C_COPY] = { "copied" },
	[C_RIP] = { "RIP-relative" },
	[C_JCC] = { "jcc, loop" },
	[C_JMP] = { "jmp" },
	[C_CALL] = { "call" },
	[C_JMP_INDIRECT] = { "jmp indirect" },
	[C_CALL_INDIRECT] = { "call indirect" },
	[C_RET] = { "ret" },
	[C_FLAGS] = { "pushf, popf" },
	[C_IF] = { "cli, sti" },
	[C_IRET] = { "iret" },
	[C_SYSTEM] = { "swapgs, mov cr, rdtsc ..." },
	[C_CALLOUT] = { "callout" },
	[C_OTHER] = { "other" },
	[C_END] = { "(end of TU)" },
	[C_PAD] = { "(pad)" },
};

void tc_classes_init(struct tc_classes *c)
{
	u32 i;

	for (i = 0; i < CLASSES; i++)
		table[i].insns = table[i].guest_bytes = table[i].host_bytes = 0;
	c->list = table;
	c->n = CLASSES;
}

static u32 class_of(const struct bt_insn *in)
{
	switch ((enum bt_class)in->cls) {
	case CLS_COPY:
	case CLS_VERBATIM:
	case CLS_NOTHING:
	case CLS_LEA:
	case CLS_FSGSBASE:
		return in->rip_rel ? C_RIP : C_COPY;
	case CLS_JMP:
		return in->opcode == 0xff ? C_JMP_INDIRECT : C_JMP;
	case CLS_CALL:
		return in->opcode == 0xff ? C_CALL_INDIRECT : C_CALL;
	case CLS_JCC:
	case CLS_LOOP:
		return C_JCC;
	case CLS_RET:
		return C_RET;
	case CLS_PUSHF:
	case CLS_POPF:
		return C_FLAGS;
	case CLS_CLI:
	case CLS_STI:
		return C_IF;
	case CLS_IRET:
		return C_IRET;
	case CLS_SWAPGS:
	case CLS_MOV_CR:
	case CLS_MOV_SREG:
	case CLS_PUSH_SREG:
	case CLS_RDTSC:
	case CLS_RDTSCP:
	case CLS_RDPID:
		return C_SYSTEM;
	case CLS_CALLOUT:
	case CLS_UD:
		return C_CALLOUT;
	default:
		return C_OTHER;
	}
}

/* Following the TU that bt has just put together, instruction by instruction. */
struct follow {
	struct tc_classes *c;
	struct bt *bt;
	u64 next; /* where the guest goes on behind the last instruction */
	u32 class; /* of the last instruction */
	bool leaves; /* it is a CALL or LOOP: the exits that follow are its own */
};

/* Decode the guest's instruction at gpc; false: its code is not known. */
static bool decode(struct bt *bt, u64 gpc)
{
	u32 left = (u32)(POPF_PAGE_SIZE - (gpc & (POPF_PAGE_SIZE - 1)));
	u32 n = min(left, (u32)BT_INSN_MAX);
	u8 buf[32];
	gfn_t gfn;

	memset(buf, 0x90, sizeof(buf));
	if (bt->ops->fetch(bt->opaque, gpc, buf, n, &gfn))
		return false;
	if (n < BT_INSN_MAX)
		bt->ops->fetch(bt->opaque, gpc + n, buf + n, BT_INSN_MAX - n,
			       &gfn);
	return decode_insn(bt, buf, sizeof(buf), gpc) != DECODE_CROSS;
}

static u64 jump_target(const struct bt_insn *in)
{
	return in->gpc + in->len + (u64)(s64)in->rel;
}

static bool is_jump(const struct bt_insn *in)
{
	return in->cls == CLS_JMP && in->opcode != 0xff;
}

/* The instruction just decoded is part of the TU. */
static void count_insn(struct follow *f)
{
	const struct bt_insn *in = &f->bt->insn;

	f->class = class_of(in);
	f->leaves = in->cls == CLS_CALL || in->cls == CLS_LOOP;
	f->c->list[f->class].insns++;
	f->c->list[f->class].guest_bytes += in->len;
	f->next = is_jump(in) ? jump_target(in) : in->gpc + in->len;
}

/*
 * The guest comes to gpc. What is in between without a record became nothing, jumps
 * that were straightened above all, or is a jmp, which has no record but that of its
 * exit.
 */
static void pass(struct follow *f, u64 gpc)
{
	u32 i;

	for (i = 0; f->next != gpc && i < BT_TU_INSNS; i++) {
		if (!decode(f->bt, f->next))
			break;
		if (!is_jump(&f->bt->insn) && f->bt->insn.cls != CLS_NOTHING)
			break;
		count_insn(f);
	}
}

/* The next record is about the instruction at gpc. */
static void reach(struct follow *f, u64 gpc)
{
	pass(f, gpc);
	if (decode(f->bt, gpc))
		count_insn(f);
}

/* Where the bytes behind record r belong. */
static u32 place_of(struct follow *f, const struct bt_rec *r)
{
	const struct tu_exit *x = &f->bt->exit[r->exit];
	u64 before = f->next;

	if (!(r->flags & REC_TARGET))
		return f->class;
	if (x->form == FORM_JCC)
		return C_JCC;
	if (f->leaves)
		return f->class;
	pass(f, x->target);
	return f->next != before && f->class == C_JMP ? C_JMP : C_END;
}

void tc_classes_add(struct tc_classes *c, struct bt *bt)
{
	struct bt_trans *t = &bt->t;
	struct follow f = { .c = c, .bt = bt, .next = t->gpc, .class = C_PAD };
	const struct bt_rec *r = bt->rec;
	u32 i, end;

	for (i = 0; i < t->nrec; i++, r++) {
		if (r->toff >= t->entry && r->flags & REC_BOUNDARY)
			reach(&f, t->gpc + (u64)(s64)r->goff);
		end = i + 1 < t->nrec ? r[1].toff : t->n;
		c->list[place_of(&f, r)].host_bytes += end - r->toff;
	}
}

void tc_classes_print(const struct tc_classes *c, FILE *out)
{
	u32 i;

	fprintf(out, "[");
	for (i = 0; i < c->n; i++)
		fprintf(out,
			"%s\n    {\"class\": \"%s\", \"insns\": %llu, \"guest_bytes\": %llu, \"host_bytes\": %llu}",
			i ? "," : "", c->list[i].name,
			(unsigned long long)c->list[i].insns,
			(unsigned long long)c->list[i].guest_bytes,
			(unsigned long long)c->list[i].host_bytes);
	fprintf(out, "]");
}
