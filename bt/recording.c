// SPDX-License-Identifier: GPL-2.0-only
/*
 * Recording which TUs there are and in which order they are entered.
 *
 * While a recorder is set each TU starts with a head that appends its number to
 * the buffer in the window:
 *
 *	mov [spill], rcx
 *	mov rcx, [record_at]		negative: bytes left
 *	jrcxz full
 *	mov dword [rcx + end], number
 *	lea rcx, [rcx + 4]
 *	mov [record_at], rcx		now it counts
 *	mov rcx, [spill]
 *	jmp over
 * full:	mov rcx, [spill]
 *	int3				BT_EXIT_IRQ, at the TU's first instruction
 * over:
 *
 * Invariants:
 *  1. Direct links, pads and int3s of dead TUs are at the head: no branch of
 *     translated code gets past it. Only the monitor resumes in the middle.
 *  2. A number is appended exactly once per time that control goes through the
 *     head: an interrupt before it counts restarts the head, one behind it is
 *     an interrupt at the first instruction.
 *  3. Without a recorder nothing of this is emitted.
 */
#include "emit.h"

/* Bytes from the head's start to its int3. */
#define HEAD_INT3 58u

/*
 * The live TU and TC offset that a branch to gpc may lead to: as find_place(),
 * but not past a TU's head when it must report.
 */
bool find_target(struct bt *bt, gva_t gpc, u32 mode, struct tu **tu, u32 *off)
{
	if (likely(!bt->recorder))
		return find_place(bt, gpc, mode, tu, off);
	*tu = tu_lookup(bt, gpc, mode);
	if (!*tu)
		return false;
	evict_touch(bt, *tu);
	*off = (*tu)->off + (*tu)->entry;
	return true;
}

void recording_head(struct bt *bt)
{
	struct bt_trans *t = &bt->t;
	u32 end = (u32)bt->cfg.window + WINDOW_RECORD_OFF + WINDOW_RECORD_SIZE;
	u32 start = t->n, full, over;
	u16 c = 1u << RCX;

	rec_add(bt, t->gpc, 0, REC_BOUNDARY);
	emit_spill(bt, RCX);
	rec_add(bt, t->gpc, c, 0);
	emit_load64(bt, RCX, VP(bt, record_at));
	full = emit_jrcxz(bt);
	/* mov dword [rcx + end], id */
	emit2x(bt, 0xc7, 0x81);
	emit4(bt, end);
	emit4(bt, bt->recorder->next_id);
	/* lea rcx, [rcx + 4] */
	emit2x(bt, 0x48, 0x8d);
	emit2x(bt, 0x49, 0x04);
	emit_store64(bt, RCX, VP(bt, record_at));
	emit_unspill(bt, RCX);
	rec_add(bt, t->gpc, 0, 0);
	/* jmp over */
	emit2x(bt, 0xeb, 0);
	over = t->n - 1;
	emit_patch8(bt, full);
	rec_add(bt, t->gpc, c, 0);
	emit_unspill(bt, RCX);
	if (env_bug_on(t->n != start + HEAD_INT3))
		t->fail = true;
	emit_exit_at(bt, BT_EXIT_IRQ, t->gpc);
	emit_patch8(bt, over);
}

/* The TU has been made from bt->t: number it and tell. */
void recording_tu(struct bt *bt, struct tu *tu)
{
	struct bt_recorder *r = bt->recorder;
	struct bt_recorded_tu out = {
		.id = r->next_id,
		.mode = tu->mode,
		.gva = tu->gpc,
		.gfn = { bt->t.gfn[0], bt->t.gfn[1] },
		.code = bt->t.buf,
		.len = tu->glen,
	};

	tu->id = r->next_id++;
	r->tu(r->opaque, &out);
}

void bt_set_recorder(struct bt *bt, struct bt_recorder *r)
{
	bt_flush(bt);
	bt->recorder = r;
}

bool bt_recorded_place(struct bt *bt, tpc_t tpc, u32 *id, u32 *off)
{
	u64 o = tpc - bt->tc_base;
	struct rec_iter it;
	struct tu *tu;

	if (!bt->recorder || o >= bt->cfg.tc_size)
		return false;
	tu = cache_find(bt, (u32)o);
	if (!tu || tu->kind != TU_CODE)
		return false;
	*id = tu->id;
	*off = 0;
	rec_iter_init(&it, tu);
	while (rec_iter_next(&it)) {
		if (tu->off + it.rec.toff == o) {
			*off = (u32)it.rec.goff;
			return it.rec.flags == REC_BOUNDARY;
		}
	}
	return false;
}

bool bt_record_full(struct bt *bt, tpc_t tpc, tpc_t *again)
{
	u64 o = tpc - bt->tc_base;
	struct tu *tu;

	if (!bt->recorder || o >= bt->cfg.tc_size)
		return false;
	tu = cache_find(bt, (u32)o);
	if (!tu || tu->kind != TU_CODE || o != tu->off + tu->entry + HEAD_INT3)
		return false;
	*again = off_to_tpc(bt, tu->off + tu->entry);
	return true;
}
