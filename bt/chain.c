// SPDX-License-Identifier: GPL-2.0-only
/*
 * Links between TUs: a direct branch patched to jump to its target's code, the
 * start of a TU or an instruction boundary inside one.
 *
 * Links are made as soon as both ends exist: a new TU's exits to what is there
 * already, and the exits that have waited for any of its instructions. So an exit
 * to the monitor means that the target has not been translated.
 *
 * Invariant: of a live TU's direct exits, one with .to set is on .to's list and
 * its site leads to a boundary of .to that stands for the target; one without is
 * on the waiting list of its target and its site leads to its int3.
 */
#include "bt.h"

/*
 * One aligned-or-not store of eight bytes: every store to code that has run is
 * slow. The bytes behind the site stay as they are; a unit never ends less than
 * that behind a site.
 */
static void site_write(u8 *at, const u8 *bytes, u32 n)
{
	u64 word, old;

	memcpy(&old, at, 8);
	word = old;
	memcpy(&word, bytes, n);
	if (word != old)
		memcpy(at, &word, 8);
}

/* Have the code of x, at `code`, jump to TC offset to. */
static void site_patch(u8 *code, const struct tu_exit *x, u32 to)
{
	u32 len = x->form == FORM_JCC ? 6 : 5;
	u32 rel = to - (x->base + x->site + len);
	u8 jmp[5] = { 0xe9 };

	memcpy(jmp + 1, &rel, 4);
	if (x->form == FORM_JMP)
		site_write(code, jmp, 5);
	else
		site_write(code + len - 4, jmp + 1, 4);
}

/* Link x, which must be on no list, to TC offset off inside the live TU `to`. */
void link_set(struct bt *bt, struct tu_exit *x, struct tu *to, u32 off)
{
	x->to = to;
	x->next = to->in;
	to->in = x;
	site_patch(off_to_host(bt, x->base + x->site), x, off);
	bt->stats.chains++;
}

/* x is on no list afterwards, and its code as it was. */
void link_forget(struct bt *bt, struct tu_exit *x)
{
	struct tu_exit **p = &x->to->in;

	while (*p != x)
		p = &(*p)->next;
	*p = x->next;
	x->to = NULL;
	x->next = NULL;
	bt->stats.unchains++;
}

/* Undo link_set(). */
void link_clear(struct bt *bt, struct tu_exit *x)
{
	link_forget(bt, x);
	if (x->form == FORM_JMP)
		*off_to_host(bt, x->base + x->site) = 0xcc;
	else
		site_patch(off_to_host(bt, x->base + x->site), x,
			   x->base + x->stub);
}

/* A gpc's bit in bt->wanted[]: clear means that surely no exit waits for it. */
static u32 wanted_bit(gva_t gpc)
{
	return (u32)(gpc ^ gpc >> 17) & (BT_WANTED_BITS - 1);
}

/* Have x wait for its target. */
void wait_add(struct bt *bt, struct tu_exit *x)
{
	struct tu_exit **head = &bt->wait[tu_hash(bt, x->target, x->mode)];
	u32 bit = wanted_bit(x->target);

	bt->wanted[bit / 64] |= 1ull << (bit % 64);
	x->next = *head;
	*head = x;
}

void wait_del(struct bt *bt, struct tu_exit *x)
{
	struct tu_exit **p = &bt->wait[tu_hash(bt, x->target, x->mode)];

	while (*p != x)
		p = &(*p)->next;
	*p = x->next;
	x->next = NULL;
}

bool is_waiting(struct bt *bt, const struct tu_exit *x)
{
	const struct tu_exit *p = bt->wait[tu_hash(bt, x->target, x->mode)];

	while (p && p != x)
		p = p->next;
	return p;
}

/* Link the exits that wait for gpc to off inside tu. */
void link_waiting(struct bt *bt, struct tu *tu, gva_t gpc, u32 off)
{
	u32 bit = wanted_bit(gpc);
	struct tu_exit **p, *x;

	if (likely(!(bt->wanted[bit / 64] >> (bit % 64) & 1)))
		return;
	p = &bt->wait[tu_hash(bt, gpc, tu->mode)];
	while ((x = *p)) {
		if (x->target != gpc || x->mode != tu->mode) {
			p = &x->next;
			continue;
		}
		*p = x->next;
		link_set(bt, x, tu, off);
	}
}

/*
 * x is the exit of a return that has not run before: put its check for target where
 * the jmp to x is, and link the exit in front of x there. A target that a disp32 does
 * not reach gets a jmp past check and jrcxz instead.
 */
void return_set(struct bt *bt, struct tu_exit *x, gva_t target)
{
	u8 check[RETURN_CHECK_BYTES] = { 0x48, 0x8d, 0x89 };
	static const u8 skip[] = { 0xeb, RETURN_CHECK_BYTES };
	u8 *code = off_to_host(bt, x->base + x->site);
	u32 disp = (u32)-target, off;
	struct tu_exit *jmp = x - 1;
	struct tu *to;

	if (*code != 0xe9)
		return;
	if (!fits_s32(-target)) {
		site_write(code, skip, sizeof(skip));
		return;
	}
	memcpy(check + 3, &disp, 4);
	site_write(code, check, sizeof(check));
	jmp->kind = BT_EXIT_DIRECT;
	jmp->target = target;
	if (find_target(bt, target, jmp->mode, &to, &off))
		link_set(bt, jmp, to, off);
	else
		wait_add(bt, jmp);
}

/* Where instruction gpc starts in the TU under way, as a TC offset; 0: nowhere. */
u32 find_in_buffer(const struct bt *bt, gva_t gpc)
{
	s64 goff = (s64)(gpc - bt->t.gpc);
	u32 i;

	if (gpc - bt->t.low >= bt->t.high - bt->t.low || (goff && bt->recorder))
		return 0;
	for (i = 0; i < bt->t.nrec; i++) {
		if (bt->rec[i].flags == REC_BOUNDARY && bt->rec[i].goff == goff)
			return bt->t.off + bt->rec[i].toff;
	}
	return 0;
}

/*
 * While the new TU is still in the buffer: lead its exits to what is there, and
 * note whose they are in .to, which is bt->self for the TU's own.
 */
void link_in_buffer(struct bt *bt)
{
	struct tu_exit *x;
	u32 i, off;

	for (i = 0; i < bt->t.nexit; i++) {
		x = &bt->exit[i];
		if (x->kind != BT_EXIT_DIRECT)
			continue;
		off = find_in_buffer(bt, x->target);
		if (off)
			x->to = &bt->self;
		else if (!find_target(bt, x->target, bt->t.mode, &x->to, &off))
			x->to = NULL;
		if (x->to)
			site_patch(bt->t.code + x->site, x, off);
	}
}

/* The TU has been made: put its exits where .to says. */
void link_adopt(struct bt *bt, struct tu *tu)
{
	struct tu_exit *x;
	u32 i;

	for (i = 0; i < tu->nexit; i++) {
		x = &tu->exit[i];
		if (x->kind != BT_EXIT_DIRECT)
			continue;
		if (!x->to) {
			wait_add(bt, x);
			continue;
		}
		if (x->to == &bt->self)
			x->to = tu;
		x->next = x->to->in;
		x->to->in = x;
		bt->stats.chains++;
	}
}
