// SPDX-License-Identifier: GPL-2.0-only
/*
 * Indirect branches: the target table and the pads it leads to.
 *
 * A launch (translate_branch.c) arrives with the guest's target in ibl_target and
 * RCX spilled, through entry [target & 0xffff] of the table: the tpc of a pad. A
 * pad compares the whole target with the gpc it stands for, by a flag-free
 * subtraction, restores RCX and enters the TU, or jumps on to the next pad of the
 * same index; the last one jumps to the shared miss stub (BT_EXIT_INDIRECT). So
 * the table needs no keys, and gpcs that share an index do not evict each other.
 *
 * A pad lies in front of its TU's code when the TU was translated for an indirect
 * branch, else it is a TU_PAD of its own that ends in a jmp.
 *
 * Invariant: exactly the pads of live TUs are in the chains, each in that of its
 * gpc's index.
 */
#include "emit.h"

#define PAD_SITE_NEAR 17u
#define PAD_SITE_FAR 40u

static u32 pad_index(gva_t gpc)
{
	return (u32)gpc & (WINDOW_IBL_ENTRIES - 1);
}

void ibl_init(struct bt *bt)
{
	u32 i;

	for (i = 0; i < WINDOW_IBL_ENTRIES; i++)
		bt->cfg.ibl_tpc[i] = off_to_tpc(bt, FIXED_MISS);
}

/* Where the jmp to the next pad is, a TC offset. */
u32 pad_site(const struct tu *tu)
{
	return tu->pad + (fits_s32(-tu->gpc) ? PAD_SITE_NEAR : PAD_SITE_FAR);
}

/* The TU whose pad starts at tpc; NULL for the miss stub. */
struct tu *pad_owner(struct bt *bt, tpc_t tpc)
{
	u32 off = (u32)(tpc - bt->tc_base);
	struct tu *tu;

	if (off == FIXED_MISS)
		return NULL;
	tu = cache_find(bt, off);
	if (env_bug_on(!tu))
		return NULL;
	return tu->kind == TU_PAD ? tu->owner : tu;
}

/* Emit a pad for gpc; its jmp leads to the present head of the chain. */
void pad_emit(struct bt *bt, gva_t gpc)
{
	struct tu *head;
	u32 ok;

	rec_add(bt, gpc, 1u << RCX, REC_INDIRECT);
	emit_load64(bt, RCX, VP(bt, ibl_target));
	if (fits_s32(-gpc)) {
		/* lea rcx, [rcx - gpc] */
		emit2x(bt, 0x48, 0x8d);
		emit1(bt, 0x89);
		emit4(bt, (u32)-gpc);
	} else {
		emit_spill(bt, RAX);
		rec_add(bt, gpc, 1u << RCX | 1u << RAX, REC_INDIRECT);
		/* mov rax, imm64, of one length whatever the value */
		emit2x(bt, 0x48, 0xb8);
		emit8(bt, -gpc);
		/* lea rcx, [rcx + rax] */
		emit2x(bt, 0x48, 0x8d);
		emit2x(bt, 0x0c, 0x01);
		emit_unspill(bt, RAX);
		rec_add(bt, gpc, 1u << RCX, REC_INDIRECT);
	}
	ok = emit_jrcxz(bt);
	head = pad_owner(bt, bt->cfg.ibl_tpc[pad_index(gpc)]);
	emit_jmp_off(bt, head ? head->pad : FIXED_MISS);
	emit_patch8(bt, ok);
	emit_unspill(bt, RCX);
}

static void pad_patch(struct bt *bt, const struct tu *tu)
{
	u32 to = tu->pad_next ? tu->pad_next->pad : FIXED_MISS;
	u32 rel = to - (pad_site(tu) + 5);

	/* Stores to code that has run are slow: do without if it is right. */
	if (memcmp(off_to_host(bt, pad_site(tu) + 1), &rel, 4))
		memcpy(off_to_host(bt, pad_site(tu) + 1), &rel, 4);
}

/* Put the TU's pad, already emitted, at the head of its chain. */
void pad_link(struct bt *bt, struct tu *tu)
{
	u64 *slot = &bt->cfg.ibl_tpc[pad_index(tu->gpc)];

	tu->pad_next = pad_owner(bt, *slot);
	pad_patch(bt, tu);
	*slot = off_to_tpc(bt, tu->pad);
	bt->stats.ibl_fills++;
}

/* Take the TU's pad, if it has one, out of its chain. */
void pad_unlink(struct bt *bt, struct tu *tu)
{
	u64 *slot = &bt->cfg.ibl_tpc[pad_index(tu->gpc)];
	struct tu *p, *own;

	if (!tu->pad)
		return;
	p = pad_owner(bt, *slot);
	if (p == tu) {
		*slot = off_to_tpc(bt, tu->pad_next ? tu->pad_next->pad :
						      FIXED_MISS);
	} else {
		while (p && p->pad_next != tu)
			p = p->pad_next;
		if (!env_bug_on(!p)) {
			p->pad_next = tu->pad_next;
			pad_patch(bt, p);
		}
	}
	own = cache_find(bt, tu->pad);
	if (own && own->kind == TU_PAD) {
		own->owner = NULL;
		unit_of(bt, own->off)->live--;
	}
	tu->pad = 0;
	tu->pad_next = NULL;
}

/*
 * Give a live TU without a pad one: that in front of its code, or one of its own.
 * 0; -ENOMEM; -ENOSPC; -EAGAIN: making room has evicted the TU.
 */
int pad_create(struct bt *bt, struct tu *tu)
{
	struct bt_trans *t = &bt->t;
	struct tu *pad;
	u32 off, rec_len;
	int ret;

	if (tu->entry) {
		tu->pad = tu->off;
		pad_link(bt, tu);
		return 0;
	}
	ret = cache_begin(bt, unit_of(bt, tu->off)->gen, &off);
	if (ret)
		return ret;
	if (tu->dead)
		return -EAGAIN;
	memset(t, 0, offsetof(struct bt_trans, buf));
	t->gpc = tu->gpc;
	t->off = off;
	t->code = (u8 *)bt->code;
	pad_emit(bt, tu->gpc);
	rec_add(bt, tu->gpc, 0, 0);
	emit_jmp_off(bt, tu->off + tu->entry);
	rec_len = rec_pack(bt);
	if (env_bug_on(t->overflow || t->fail))
		return -EINVAL;
	pad = cache_alloc_tu(bt, off, t->n, 0, rec_len);
	pad->kind = TU_PAD;
	pad->gpc = tu->gpc;
	pad->owner = tu;
	tu->pad = off;
	pad_link(bt, tu);
	return 0;
}
