// SPDX-License-Identifier: GPL-2.0-only
/*
 * Translating one TU: fetch, decode and rewrite instruction by instruction until
 * control leaves, the page ends or the TU is big enough.
 *
 * Parts: fetching, emitters of exits and spills, RIP-relative operands, the loop.
 *
 * Invariants:
 *  1. Code moves into the TC when it is complete, behind everything in use; nothing
 *     refers to it before tu_insert().
 *  2. A TU that touches a second guest page consists of one instruction.
 *  3. Every instruction starts with a record; sequences add their own.
 */
#include "emit.h"

#define FETCH_STEP 128u
#define CACHE_LINE 64u

/* --- fetching ------------------------------------------------------------ */

/* Have at least one instruction's worth at pos, or all up to the limit. */
static int fetch_more(struct bt *bt, u32 pos)
{
	struct bt_trans *t = &bt->t;
	gfn_t gfn;
	u32 len;
	int ret;

	if (t->fetched >= t->limit || t->fetched - pos >= BT_INSN_MAX)
		return 0;
	len = min(t->limit - t->fetched, FETCH_STEP);
	ret = bt->ops->fetch(bt->opaque, t->base + t->fetched,
			     t->buf + t->fetched, len, &gfn);
	if (ret)
		return ret;
	if (t->gfn[0] != GFN_NONE && gfn != t->gfn[0])
		return -EAGAIN;
	t->gfn[0] = gfn;
	t->fetched += len;
	return 0;
}

/* The TU's first instruction runs into the next page: fetch there too. */
static int fetch_second(struct bt *bt)
{
	struct bt_trans *t = &bt->t;
	u32 len = BT_INSN_MAX - t->fetched;
	int ret;

	ret = bt->ops->fetch(bt->opaque, t->base + t->fetched,
			     t->buf + t->fetched, len, &t->gfn[1]);
	if (ret)
		return ret;
	t->fetched += len;
	return 0;
}

/*
 * Decode the instruction at t->cur. 1: there is none for this TU; 0; -errno of
 * a fetch.
 */
static int next_insn(struct bt *bt)
{
	struct bt_trans *t = &bt->t;
	u32 pos = (u32)(t->cur - t->base);
	enum decode_result r;
	int ret;

	if (pos >= t->limit)
		return 1;
	ret = fetch_more(bt, pos);
	if (ret)
		return t->ninsn ? 1 : ret;
	r = decode_insn(bt, t->buf + pos, t->fetched - pos, t->cur);
	if (r != DECODE_CROSS)
		return 0;
	if (t->ninsn)
		return 1;
	if (t->ahead)
		return -EAGAIN;
	ret = fetch_second(bt);
	if (ret)
		return ret;
	r = decode_insn(bt, t->buf, t->fetched, t->cur);
	return r == DECODE_CROSS ? -EINVAL : 0;
}

/* --- exits and spills ---------------------------------------------------- */

/* A new exit whose int3 (and site) is the next byte emitted. */
struct tu_exit *exit_add(struct bt *bt, enum bt_exit_kind kind,
			 enum exit_form form)
{
	struct bt_trans *t = &bt->t;
	struct tu_exit *x;

	if (t->nexit >= BT_TU_EXITS) {
		t->overflow = true;
		t->nexit--;
	}
	x = &bt->exit[t->nexit++];
	memset(x, 0, sizeof(*x));
	x->base = t->off;
	x->stub = t->n & (BT_TU_BYTES - 1);
	x->site = x->stub;
	x->kind = kind;
	x->form = form;
	x->mode = t->mode;
	return x;
}

/* An exit in the exact state "at gpc". */
void emit_exit_at(struct bt *bt, enum bt_exit_kind kind, gva_t gpc)
{
	struct tu_exit *x = exit_add(bt, kind, FORM_INT3);

	x->target = gpc;
	rec_add(bt, gpc, 0, 0);
	emit_int3(bt);
}

static void emit_insn_exit(struct bt *bt, enum bt_exit_kind kind)
{
	struct tu_exit *x = exit_add(bt, kind, FORM_INT3);

	x->gpc = bt->insn.gpc;
	x->len = bt->insn.len;
	memcpy(x->insn, bt->insn.bytes, bt->insn.len);
	emit_int3(bt);
}

/* The state must be exact here, and its record written. */
void emit_callout(struct bt *bt)
{
	emit_insn_exit(bt, BT_EXIT_CALLOUT);
}

void emit_ud(struct bt *bt)
{
	emit_insn_exit(bt, BT_EXIT_UD);
	bt->t.done = true;
}

void emit_spill(struct bt *bt, u32 reg)
{
	emit_store64(bt, reg, VP_SPILL(bt, reg));
}

void emit_unspill(struct bt *bt, u32 reg)
{
	emit_load64(bt, reg, VP_SPILL(bt, reg));
}

/* At the boundary next: leave when an event waits and IF is set. */
void emit_irq_check(struct bt *bt, gva_t next)
{
	u16 c = 1u << RCX;
	u32 none;

	rec_add(bt, next, 0, 0);
	emit_spill(bt, RCX);
	rec_add(bt, next, c, 0);
	emit_load64(bt, RCX, VP(bt, vif));
	/* mov rcx, [rcx + pend] */
	emit2x(bt, 0x48, 0x8b);
	emit1(bt, 0x89);
	emit4(bt, VP(bt, pend_if_clear));
	none = emit_jrcxz(bt);
	emit_unspill(bt, RCX);
	emit_exit_at(bt, BT_EXIT_IRQ, next);
	emit_patch8(bt, none);
	rec_add(bt, next, c, 0);
	emit_unspill(bt, RCX);
}

/* --- RIP-relative operands ------------------------------------------------ */

/* What a RIP-relative operand of the current instruction refers to. */
gva_t rip_ea(const struct bt *bt)
{
	const struct bt_insn *in = &bt->insn;
	gva_t ea;
	s32 disp;

	memcpy(&disp, in->bytes + in->disp_off, 4);
	ea = in->gpc + in->len + (u64)(s64)disp;
	return in->asize ? (u32)ea : ea;
}

/* disp32 to ea from the end of an instruction len bytes further on. */
u32 rip_disp(const struct bt *bt, u32 len, gva_t ea)
{
	return (u32)(ea - (off_to_tpc(bt, bt->t.off) + bt->t.n + len));
}

bool rip_far(const struct bt *bt, u32 len, gva_t ea)
{
	gva_t from = off_to_tpc(bt, bt->t.off) + bt->t.n + len;

	/* A prefix may come on top of len. */
	return !fits_s32(ea - from) || !fits_s32(ea - from - 2);
}

/* The prefix bytes and opcode, with the extension of r/m's base cleared. */
static void emit_head_without_b(struct bt *bt)
{
	const ZydisDecodedInstruction *zi = &bt->zi;
	u32 n = zi->raw.modrm.offset, at;
	u8 head[16];

	memcpy(head, bt->insn.bytes, n);
	switch (zi->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		at = zi->raw.vex.offset + 1u;
		if (zi->raw.vex.size == 3)
			head[at] |= 0x20;
		break;
	case ZYDIS_INSTRUCTION_ENCODING_XOP:
		head[zi->raw.xop.offset + 1u] |= 0x20;
		break;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
		head[zi->raw.evex.offset + 1u] |= 0x20;
		break;
	default:
		if (zi->attributes & ZYDIS_ATTRIB_HAS_REX)
			head[zi->raw.rex.offset] &= (u8)~1u;
		break;
	}
	emit_bytes(bt, head, n);
}

static void copy_rip_far(struct bt *bt)
{
	static const u8 candidates[] = { RCX, RDX, RSI, RDI, RBX, RAX };
	const struct bt_insn *in = &bt->insn;
	u32 used = decode_used_regs(bt), i, s = RAX, tail;

	for (i = 0; i < ARRAY_SIZE(candidates); i++) {
		s = candidates[i];
		if (!(used & 1u << s))
			break;
	}
	if (i == ARRAY_SIZE(candidates)) {
		emit_callout(bt);
		bt->t.done = true;
		return;
	}
	emit_spill(bt, s);
	rec_add(bt, in->gpc, (u16)(1u << s), 0);
	emit_mov_imm(bt, s, rip_ea(bt));
	emit_head_without_b(bt);
	emit1(bt, (u8)((in->bytes[bt->zi.raw.modrm.offset] & 0x38) | s));
	tail = in->disp_off + 4u;
	emit_bytes(bt, in->bytes + tail, in->len - tail);
	rec_add(bt, in->gpc + in->len, (u16)(1u << s), 0);
	emit_unspill(bt, s);
}

static void translate_copy(struct bt *bt)
{
	const struct bt_insn *in = &bt->insn;
	u32 disp;

	if (!in->rip_rel) {
		emit_insn(bt);
		return;
	}
	/* With 67h the sum is cut to 32 bits, so any distance can be had. */
	if (!in->asize && rip_far(bt, in->len, rip_ea(bt))) {
		copy_rip_far(bt);
		return;
	}
	disp = rip_disp(bt, in->len, rip_ea(bt));
	emit_bytes(bt, in->bytes, in->disp_off);
	emit4(bt, disp);
	emit_bytes(bt, in->bytes + in->disp_off + 4,
		   in->len - in->disp_off - 4u);
}

/* LEA touches no memory: out of reach it is a constant. */
static void translate_lea(struct bt *bt)
{
	u32 reg;
	gva_t ea;

	if (!bt->insn.rip_rel || !rip_far(bt, bt->insn.len, rip_ea(bt))) {
		translate_copy(bt);
		return;
	}
	decode_full(bt);
	reg = bt->zi.raw.modrm.reg | bt->zi.raw.rex.R << 3;
	ea = rip_ea(bt);
	if (bt->zi.operand_width == 16) {
		emit1(bt, 0x66);
		if (reg & 8)
			emit1(bt, 0x41);
		emit1(bt, (u8)(0xb8 | (reg & 7)));
		emit2x(bt, (u8)ea, (u8)(ea >> 8));
		return;
	}
	emit_mov_imm(bt, reg, bt->zi.operand_width == 32 ? (u32)ea : ea);
}

/* --- one instruction ------------------------------------------------------ */

/* STI's shadow needs the next instruction in the same TU. */
static void translate_sti_ahead(struct bt *bt)
{
	struct bt_insn sti = bt->insn;
	bool alone;

	alone = !(bt->t.mode & BT_MODE_STEP) &&
		(stop_at(bt, bt->t.cur) || next_insn(bt));
	bt->insn = sti;
	if (!alone) {
		translate_sti(bt);
		return;
	}
	emit_callout(bt);
	bt->t.done = true;
}

/* A string instruction with a repeat prefix? */
static bool is_repeated(const struct bt_insn *in)
{
	bool repeat = false;
	u32 i;

	for (i = 0; i + 1 < in->len; i++) {
		switch (in->bytes[i]) {
		case 0xf2:
		case 0xf3:
			repeat = true;
			continue;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64 ... 0x67:
			continue;
		}
		break;
	}
	if ((in->bytes[i] & 0xf0) == 0x40)
		i++;
	/* movs, cmps, stos, lods, scas; test al, imm is between them */
	return repeat && i + 1 == in->len && in->bytes[i] >= 0xa4 &&
	       in->bytes[i] <= 0xaf && (in->bytes[i] & 0xfe) != 0xa8;
}

/* In BT_MODE_STEP TF is set: what of that the code in place knows nothing of. */
static bool needs_tf(const struct bt_insn *in)
{
	return in->cls == CLS_PUSHF || in->cls == CLS_POPF ||
	       in->cls == CLS_IRET || in->cls == CLS_SYSRET ||
	       (in->cls == CLS_COPY && is_repeated(in));
}

static void dispatch(struct bt *bt)
{
	u32 cls = bt->insn.cls;

	if (bt->t.mode & BT_MODE_STEP && needs_tf(&bt->insn))
		cls = CLS_CALLOUT;
	switch ((enum bt_class)cls) {
	case CLS_FSGSBASE:
		if (!bt->cfg.has_fsgsbase || bt->fsgsbase_off) {
			emit_callout(bt);
			bt->t.done = true;
			break;
		}
		fallthrough;
	case CLS_COPY:
		translate_copy(bt);
		break;
	case CLS_VERBATIM:
		emit_insn(bt);
		break;
	case CLS_NOTHING:
		break;
	case CLS_LEA:
		translate_lea(bt);
		break;
	case CLS_UD:
		emit_ud(bt);
		break;
	case CLS_GP:
		/* HLT faults in ring 3 as this does everywhere: #GP(0). */
		emit1(bt, 0xf4);
		bt->t.done = true;
		break;
	case CLS_JMP:
		translate_jmp(bt);
		break;
	case CLS_JCC:
		translate_jcc(bt);
		break;
	case CLS_LOOP:
		translate_loop(bt);
		break;
	case CLS_CALL:
		translate_call(bt);
		break;
	case CLS_RET:
		translate_ret(bt);
		break;
	case CLS_IRET:
		translate_iret(bt);
		break;
	case CLS_WRMSR:
		translate_wrmsr(bt);
		break;
	case CLS_SYSRET:
		translate_sysret(bt);
		break;
	case CLS_PUSHF:
		translate_pushf(bt);
		break;
	case CLS_POPF:
		translate_popf(bt);
		break;
	case CLS_CLI:
		translate_cli(bt);
		break;
	case CLS_STI:
		translate_sti_ahead(bt);
		break;
	case CLS_SWAPGS:
		translate_swapgs(bt);
		break;
	case CLS_MOV_CR:
		translate_mov_cr(bt);
		break;
	case CLS_MOV_SREG:
		translate_mov_sreg(bt);
		break;
	case CLS_PUSH_SREG:
		translate_push_sreg(bt);
		break;
	case CLS_RDTSC:
		translate_rdtsc(bt, false);
		break;
	case CLS_RDTSCP:
		translate_rdtsc(bt, true);
		break;
	case CLS_RDPID:
		translate_rdpid(bt);
		break;
	case CLS_NONE:
	case CLS_CALLOUT:
	case CLS_COUNT:
		emit_callout(bt);
		bt->t.done = true;
		break;
	}
}

static bool is_branch(u32 cls)
{
	return cls >= CLS_JMP && cls <= CLS_RET;
}

static void translate_one(struct bt *bt)
{
	struct bt_trans *t = &bt->t;
	bool shadow = t->shadow;
	u32 cls = bt->insn.cls;

	t->shadow = false;
	t->cur += bt->insn.len;
	t->ninsn++;
	t->guest_bytes += bt->insn.len;
	t->low = min(t->low, bt->insn.gpc);
	t->high = max(t->high, t->cur);
	/*
	 * The check belongs behind the instruction after STI; a branch has no
	 * behind in this TU. Callouts (HLT above all) see the shadow instead.
	 */
	if (shadow && is_branch(cls)) {
		emit_irq_check(bt, bt->insn.gpc);
		shadow = false;
	}
	rec_add(bt, bt->insn.gpc, 0,
		REC_BOUNDARY | (shadow ? REC_SHADOW : 0));
	dispatch(bt);
	if (shadow && !t->done && cls != CLS_STI && cls != CLS_POPF)
		emit_irq_check(bt, t->cur);
}

/* --- one TU --------------------------------------------------------------- */

static bool tu_full(const struct bt_trans *t)
{
	if (t->gfn[1] != GFN_NONE)
		return true; /* crossed into the second page */
	return t->ninsn >= BT_TU_INSNS || t->n >= BT_TU_STOP ||
	       t->nrec >= BT_TU_RECS_STOP || t->nexit >= BT_TU_EXITS_STOP;
}

/* The next instruction is at gpc, on the TU's page. */
static void trans_seek(struct bt_trans *t, gva_t gpc)
{
	u32 room = (u32)(POPF_PAGE_SIZE - (gpc & (POPF_PAGE_SIZE - 1)));

	t->cur = t->base = gpc;
	t->fetched = 0;
	t->limit = min(room, (u32)sizeof(t->buf) - BT_INSN_MAX);
}

static void trans_init(struct bt *bt, gva_t gpc, u32 mode, u32 off)
{
	struct bt_trans *t = &bt->t;
	bool ahead = t->ahead;

	memset(t, 0, offsetof(struct bt_trans, buf));
	t->ahead = ahead;
	t->gpc = t->low = t->high = gpc;
	t->mode = mode;
	t->off = off;
	t->code = (u8 *)bt->code;
	trans_seek(t, gpc);
	t->gfn[0] = t->gfn[1] = GFN_NONE;
}

/* The guest is at t->cur and the TU ends here. */
static void emit_end(struct bt *bt)
{
	struct bt_trans *t = &bt->t;

	if (t->shadow && t->mode & BT_MODE_STEP) {
		emit_exit_at(bt, BT_EXIT_STEP, t->cur);
		bt->rec[t->nrec - 1].flags |= REC_SHADOW;
	} else {
		emit_goto(bt, t->cur);
		ahead_add(bt, t->cur, false);
	}
	t->done = true;
}

/*
 * The TU goes on at gpc, behind a jcc or at the target of a jmp. What is
 * translated already it repeats only for a little while: enough to close a
 * short loop or to come to its end without one more jump.
 */
static void note_repeat(struct bt *bt, gva_t gpc)
{
	struct tu *tu;
	u32 off;

	if (!bt->t.repeat && find_target(bt, gpc, bt->t.mode, &tu, &off))
		bt->t.repeat = BT_REPEAT;
}

/*
 * A direct jmp to target: have the TU go on there. False: it has to be a jump,
 * because target is on another page or is in the TU already, or because a
 * recorded TU is one piece of code.
 */
bool straighten(struct bt *bt, gva_t target)
{
	struct bt_trans *t = &bt->t;

	if (t->mode & BT_MODE_STEP || t->gfn[1] != GFN_NONE || bt->recorder ||
	    (target ^ t->gpc) & POPF_PAGE_MASK || tu_full(t) ||
	    (t->repeat && t->repeat < 3) || find_in_buffer(bt, target))
		return false;
	note_repeat(bt, target);
	if (!t->first_run)
		t->first_run = t->nrec;
	trans_seek(t, target);
	return true;
}

static int trans_body(struct bt *bt)
{
	struct bt_trans *t = &bt->t;
	int ret;

	for (;;) {
		ret = next_insn(bt);
		if (ret < 0)
			return ret;
		if (ret) {
			emit_end(bt);
			return 0;
		}
		if (stop_at(bt, t->cur)) {
			emit_exit_at(bt, BT_EXIT_IRQ, t->cur);
			t->done = true;
			return 0;
		}
		translate_one(bt);
		if (t->done)
			return 0;
		if (bt->insn.cls == CLS_JCC)
			note_repeat(bt, t->cur);
		if (t->mode & BT_MODE_STEP || (tu_full(t) && !t->shadow) ||
		    (t->repeat && !--t->repeat)) {
			emit_end(bt);
			return 0;
		}
	}
}

static int trans_finish(struct bt *bt, struct tu **out)
{
	struct bt_trans *t = &bt->t;
	struct cpage *cp[2];
	struct tu *tu;
	int ret;

	emit_jcc_stubs(bt);
	t->packed = rec_pack(bt);
	if (env_bug_on(t->overflow || t->fail))
		return -EINVAL;
	ret = tu_pages(bt, t->gpc, t->gfn, cp);
	if (ret)
		return ret;
	link_in_buffer(bt);
	tu = cache_alloc_tu(bt, t->off, t->n, t->nexit, t->packed);
	tu->gpc = t->gpc;
	tu->mode = (u8)t->mode;
	tu->glen = (u16)(t->high - t->gpc);
	tu->back = (u16)(t->gpc - t->low);
	tu->entry = (u8)t->entry;
	tu_insert(bt, tu, cp);
	if (t->entry) {
		tu->pad = t->off;
		pad_link(bt, tu);
	}
	if (unlikely(bt->recorder))
		recording_tu(bt, tu);
	bt->stats.tus_translated++;
	bt->stats.guest_insns += t->ninsn;
	bt->stats.guest_bytes += t->guest_bytes;
	bt->stats.host_bytes += t->n;
	if (bt->ops->made)
		bt->ops->made(bt->opaque, t->gpc, t->mode, t->ahead);
	*out = tu;
	return 0;
}

/* By how many bytes a TU must move for its short loops to start and end in one line. */
static u32 loop_shift(const struct bt *bt)
{
	const struct bt_trans *t = &bt->t;
	u32 i, head, end, shift;

	for (i = 0; i < t->nexit; i++) {
		const struct tu_exit *x = &bt->exit[i];

		if (x->form != FORM_SHORT)
			continue;
		end = t->off + x->site + 2;
		head = end + (u32)(s8)t->code[x->site + 1];
		for (shift = 0; shift <= BT_SHIFT_MAX; shift += TU_ALIGN) {
			if ((head + shift) / CACHE_LINE == (end + shift - 1) / CACHE_LINE)
				return shift;
		}
	}
	return 0;
}

/* Emit the TU at TC offset off. */
static int translate_at(struct bt *bt, gva_t gpc, u32 mode, bool want_pad, u32 off)
{
	trans_init(bt, gpc, mode, off);
	if (want_pad) {
		pad_emit(bt, gpc);
		bt->t.entry = bt->t.n;
	}
	if (unlikely(bt->recorder))
		recording_head(bt);
	return trans_body(bt);
}

/*
 * Translate the TU at gpc, with a pad for indirect branches in front of it if
 * wanted. 0; -EFAULT as ops->fetch says; -ENOMEM; -EINVAL: our bug.
 */
int translate(struct bt *bt, gva_t gpc, u32 mode, bool want_pad,
	      struct tu **out)
{
	u32 off, shift, nahead = bt->nahead;
	int ret;

	ret = cache_begin(bt, evict_gen(bt, gpc), &off);
	if (ret)
		return ret;
	ret = translate_at(bt, gpc, mode, want_pad, off);
	if (ret)
		return ret;
	shift = loop_shift(bt);
	if (shift) {
		bt->nahead = nahead;
		ret = translate_at(bt, gpc, mode, want_pad, off + shift);
		if (ret)
			return ret;
	}
	return trans_finish(bt, out);
}
