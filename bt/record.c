// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records: which guest state a tpc stands for.
 *
 * While translating they are an array of struct bt_rec; a TU keeps them packed.
 * One byte says "td host bytes later the next guest instruction, gd guest bytes
 * on, starts, and all is exact": td << 4 | gd, td >= 1. Anything else is spelled
 * out: 0 | HAS_* bits, flags, td, [spilled], [goff], [exit].
 */
#include "bt.h"

#define HAS_SPILLED 1u
#define HAS_GOFF 2u
#define HAS_EXIT 4u

static void rec_push(struct bt *bt, const struct bt_rec *r)
{
	struct bt_trans *t = &bt->t;

	/* The later word about the same tpc counts. */
	if (t->nrec && bt->rec[t->nrec - 1].toff == r->toff)
		t->nrec--;
	if (t->nrec >= BT_TU_RECS) {
		t->overflow = true;
		return;
	}
	bt->rec[t->nrec++] = *r;
}

/* From the next emitted byte on: (re)start at gpc, with these spilled. */
void rec_add(struct bt *bt, gva_t gpc, u16 spilled, u8 flags)
{
	struct bt_rec r = {
		.toff = (u16)bt->t.n,
		.goff = (s16)(gpc - bt->t.gpc),
		.spilled = spilled,
		.flags = flags,
	};

	rec_push(bt, &r);
}

/* From the next emitted byte on: at the target of exit number exit. */
void rec_add_target(struct bt *bt, u32 exit, u16 spilled)
{
	struct bt_rec r = {
		.toff = (u16)bt->t.n,
		.spilled = spilled,
		.flags = REC_TARGET,
		.exit = (u8)exit,
	};

	rec_push(bt, &r);
}

/* The long form. */
static u8 *pack_one(u8 *p, const struct bt_rec *prev, const struct bt_rec *r)
{
	u32 td = r->toff - prev->toff;
	s32 gd = r->goff - prev->goff;
	u8 *head = p;

	*p++ = 0;
	*p++ = r->flags;
	*p++ = (u8)td;
	if (r->spilled) {
		*head |= HAS_SPILLED;
		memcpy(p, &r->spilled, 2);
		p += 2;
	}
	if (gd) {
		*head |= HAS_GOFF;
		memcpy(p, &r->goff, 2);
		p += 2;
	}
	if (r->flags & REC_TARGET) {
		*head |= HAS_EXIT;
		*p++ = r->exit;
	}
	return p;
}

/* Pack bt->rec[] into bt->packed[]; its length. */
u32 rec_pack(struct bt *bt)
{
	static const struct bt_rec start;
	const struct bt_rec *prev = &start, *r = bt->rec;
	const struct bt_rec *end = r + bt->t.nrec;
	u8 *p = bt->packed;

	for (; r < end; prev = r, r++) {
		u32 td = r->toff - prev->toff;
		u32 gd = (u32)(r->goff - prev->goff);

		if (likely(r->flags == REC_BOUNDARY && td - 1 < 15 && gd < 16))
			*p++ = (u8)(td << 4 | gd);
		else
			p = pack_one(p, prev, r);
		if (unlikely(td > 255))
			bt->t.fail = true;
	}
	return (u32)(p - bt->packed);
}

void rec_iter_init(struct rec_iter *it, const struct tu *tu)
{
	it->p = tu_recs(tu);
	it->end = it->p + tu->rec_len;
	memset(&it->rec, 0, sizeof(it->rec));
}

/* Step to the next record, in it->rec; false: there is none. */
bool rec_iter_next(struct rec_iter *it)
{
	struct bt_rec *r = &it->rec;
	u8 head;

	if (it->p >= it->end)
		return false;
	head = *it->p++;
	r->spilled = 0;
	if (head & 0xf0) {
		r->toff += head >> 4;
		r->goff += head & 15;
		r->flags = REC_BOUNDARY;
		return true;
	}
	r->flags = *it->p++;
	r->toff += *it->p++;
	if (head & HAS_SPILLED) {
		memcpy(&r->spilled, it->p, 2);
		it->p += 2;
	}
	if (head & HAS_GOFF) {
		memcpy(&r->goff, it->p, 2);
		it->p += 2;
	}
	if (head & HAS_EXIT)
		r->exit = *it->p++;
	return true;
}
