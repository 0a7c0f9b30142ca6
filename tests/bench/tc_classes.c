// SPDX-License-Identifier: GPL-2.0-only
/*
 * What each sort of guest instruction becomes, in bytes. A TU's records say where
 * each instruction's code begins; the int3 of a branch at the TU's end counts with
 * the branches, the jump at the end of a TU and the pad in front of it on their own.
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

/* The TU's guest instructions, counted: where each starts and its class. */
struct insns {
	u32 n;
	u32 goff[BT_TU_INSNS + 2];
	u32 class[BT_TU_INSNS + 2];
};

static void count_insns(struct tc_classes *c, struct bt *bt, struct insns *list)
{
	struct bt_trans *t = &bt->t;
	u32 goff = 0, end = (u32)(t->cur - t->gpc), k;

	for (list->n = 0; goff < end && list->n < BT_TU_INSNS + 2; list->n++) {
		if (decode_insn(bt, t->buf + goff, t->fetched - goff,
				t->gpc + goff) == DECODE_CROSS)
			return;
		k = class_of(&bt->insn);
		c->list[k].insns++;
		c->list[k].guest_bytes += bt->insn.len;
		list->goff[list->n] = goff;
		list->class[list->n] = k;
		goff += bt->insn.len;
	}
}

/*
 * Which instruction of the list record r belongs to, at being the last one's. A
 * jmp has no record but that of its exit.
 */
static u32 advance(const struct insns *list, u32 at, const struct bt_rec *r)
{
	u32 i;

	if (r->flags & REC_TARGET) {
		i = at == ~0u ? 0 : at + 1;
		return i + 1 == list->n && list->class[i] == C_JMP ? i : at;
	}
	for (i = 0; r->flags & REC_BOUNDARY && i < list->n; i++) {
		if (list->goff[i] == (u32)r->goff)
			return i;
	}
	return at;
}

static bool ends_tu(u32 k)
{
	return k == C_JMP || k == C_CALL || k == C_JCC;
}

static u32 place_of(struct bt *bt, const struct bt_rec *r,
		    const struct insns *list, u32 at)
{
	u32 k = at == ~0u ? C_PAD : list->class[at];

	if (!(r->flags & REC_TARGET))
		return k;
	if (bt->exit[r->exit].form == FORM_JCC)
		return C_JCC;
	return ends_tu(k) ? k : C_END;
}

void tc_classes_add(struct tc_classes *c, struct bt *bt)
{
	struct bt_trans *t = &bt->t;
	const struct bt_rec *r = bt->rec;
	u32 i, end, at = ~0u;
	struct insns list;

	count_insns(c, bt, &list);
	for (i = 0; i < t->nrec; i++, r++) {
		if (r->toff >= t->entry)
			at = advance(&list, at, r);
		end = i + 1 < t->nrec ? r[1].toff : t->n;
		c->list[place_of(bt, r, &list, at)].host_bytes += end - r->toff;
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
