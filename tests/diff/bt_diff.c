// SPDX-License-Identifier: GPL-2.0-only
/*
 * See bt_diff.h. Parts: making a case, the native run, the translated run, what is
 * the same, and what is known to differ.
 */
#include <stdio.h>
#include <string.h>

#include "bt/bt.h"
#include "bt_diff.h"

#define STEPS_MAX 3000u
#define SLOW_STORES 1000u

/* --- a case ------------------------------------------------------------------- */

static void make_state(struct gen *g, struct diff_case *c)
{
	static const u8 fcw_mxcsr[32] = { 0x7f, 0x03, [24] = 0x80, 0x1f };
	struct rig_state *st = &c->st;
	u64 *p = (u64 *)c->memory.data;
	u32 i;

	for (i = 0; i < (RIG_DATA_SIZE + RIG_STACK_SIZE) / 8; i++)
		p[i] = gen_random(g);
	memset(st, 0, sizeof(*st));
	for (i = 0; i < 16; i++) {
		st->gpr[i] = gen_random(g);
		if (gen_below(g, 2))
			st->gpr[i] &= 0xff;
	}
	memcpy(st->fp, fcw_mxcsr, sizeof(fcw_mxcsr));
	for (i = 0; i < 64; i++)
		st->fp[RIG_FP_XMM + gen_below(g, 256)] = (u8)gen_random(g);
	st->gpr[GPR_RSP] = RIG_STACK + RIG_STACK_SIZE / 2;
	if (gen_chance(g, 5))
		st->gpr[GPR_RSP] = RIG_STACK + gen_below(g, 2) * RIG_STACK_SIZE +
				   8 * gen_below(g, 4) - 16;
	st->rflags = gen_random(g) & 0x8d5;
	st->rip = c->place + c->off;
	st->fs_base = st->gs_base = c->place + RIG_DATA_OFF;
	c->kernel_gs = st->gs_base + 0x1000;
	c->vif = 0x200;
	if (c->features & GEN_PRIV) {
		c->vif = gen_chance(g, 50) ? 0x200 : 0;
		c->event = gen_chance(g, 30);
	}
}

void diff_make(struct diff_case *c, u64 seed, u64 place, int features)
{
	static const u32 any[] = { 0, 0, 0, GEN_WILD, GEN_STORES,
				   GEN_STORES | GEN_WILD, GEN_PRIV };
	u32 kind, room = 0x2000;
	struct gen g;

	memset(c, 0, offsetof(struct diff_case, memory));
	memset(c->memory.code, 0xcc, sizeof(c->memory.code));
	c->seed = seed;
	c->place = place;
	gen_init(&g, seed, 0, place + RIG_DATA_OFF, NULL, 0);
	c->features = features >= 0 ? (u32)features :
				      any[gen_below(&g, ARRAY_SIZE(any))];
	/* At a page's start, across its end, or up to the end of all code. */
	kind = gen_below(&g, 10);
	if (kind >= 9) {
		room = 64 + gen_below(&g, 600);
		c->off = RIG_CODE_SIZE - room;
		g.cut = true;
	} else if (kind >= 5) {
		c->off = 0x1000 * (1 + gen_below(&g, 8)) - gen_below(&g, 300);
	}
	g.base = place + c->off;
	g.code = c->memory.code + c->off;
	g.max = room;
	g.features = c->features;
	gen_program(&g);
	c->n = g.n;
	make_state(&g, c);
}

/* --- memory ------------------------------------------------------------------- */

static u8 *data_at(const struct diff_case *c)
{
	return (u8 *)(c->place + RIG_DATA_OFF);
}

static void memory_set(const struct diff_case *c)
{
	memcpy(data_at(c), c->memory.data, RIG_DATA_SIZE);
	memcpy((void *)RIG_STACK, c->memory.stack, RIG_STACK_SIZE);
}

static void code_set(struct rig *rig, const struct diff_case *c)
{
	bt_invalidate_gva_range(rig->bt, c->place,
				c->place + RIG_CODE_SIZE - 1);
	rig_unprotect(rig);
	memcpy((void *)c->place, c->memory.code, RIG_CODE_SIZE);
}

static void memory_get(const struct diff_case *c, struct diff_memory *m)
{
	memcpy(m->data, data_at(c), RIG_DATA_SIZE);
	memcpy(m->stack, (void *)RIG_STACK, RIG_STACK_SIZE);
	memcpy(m->code, (void *)c->place, RIG_CODE_SIZE);
}

static bool memory_is(const struct diff_case *c, const struct diff_memory *m)
{
	return !memcmp(data_at(c), m->data, RIG_DATA_SIZE) &&
	       !memcmp((void *)RIG_STACK, m->stack, RIG_STACK_SIZE) &&
	       !memcmp((void *)c->place, m->code, RIG_CODE_SIZE);
}

/* --- the native run ----------------------------------------------------------- */

/* What ring 3 cannot do natively, done by hand: the reference for GEN_PRIV. */
struct reference {
	struct rig_result *r;
	const struct vcpu_page *page;
	u64 vif, kernel_gs;
	bool foreign; /* something that has no reference */
};

static bool step(struct rig *rig, struct reference *ref)
{
	struct rig_state st = ref->r->st;

	rig_native(rig, &st, true, ref->r);
	return ref->r->stop == RIG_STEPPED;
}

static bool reference_pushf(struct rig *rig, struct reference *ref)
{
	void *at;
	u64 flags;

	if (!step(rig, ref))
		return false;
	at = (void *)ref->r->st.gpr[GPR_RSP];
	memcpy(&flags, at, 8);
	flags = (flags & ~0x300ull) | ref->vif;
	memcpy(at, &flags, 8);
	return true;
}

/* POPF and IRET: flags `above` bytes over RSP. */
static bool reference_popf(struct rig *rig, struct reference *ref, u32 above)
{
	u64 flags, at = ref->r->st.gpr[GPR_RSP] + above;

	if (!step(rig, ref))
		return false;
	memcpy(&flags, (void *)at, 8);
	/* TF, IOPL, NT: for the monitor. */
	if (flags & 0x7100)
		ref->foreign = true;
	ref->vif = flags & 0x200;
	return !ref->foreign;
}

static u64 reference_cr(const struct vcpu_page *page, u32 n)
{
	switch (n) {
	case 0:
		return page->cr0;
	case 2:
		return page->cr2;
	case 3:
		return page->cr3;
	case 4:
		return page->cr4;
	default:
		return page->cr8;
	}
}

/* Done by hand: the bytes of it. 0: not one of these. */
static u32 reference_insn(struct reference *ref, const u8 *b)
{
	struct rig_state *st = &ref->r->st;
	u64 old = st->gs_base;

	if (b[0] == 0xfa || b[0] == 0xfb) {
		ref->vif = b[0] == 0xfb ? 0x200 : 0;
		return 1;
	}
	if (!memcmp(b, "\x0f\x01\xf8", 3)) {
		st->gs_base = ref->kernel_gs;
		ref->kernel_gs = old;
		return 3;
	}
	if (b[0] == 0x0f && b[1] == 0x20 && b[2] >= 0xc0 && b[2] < 0xe8 &&
	    (b[2] & 0xf8) != 0xc8) {
		st->gpr[b[2] & 7] = reference_cr(ref->page, b[2] >> 3 & 7);
		return 3;
	}
	if (!memcmp(b, "\x44\x0f\x20", 3) && (b[3] & 0xf8) == 0xc0) {
		st->gpr[b[3] & 7] = ref->page->cr8;
		return 4;
	}
	if (!memcmp(b, "\xf3\x0f\xc7", 3) && b[3] >= 0xf8) {
		st->gpr[b[3] & 7] = (u32)ref->page->tsc_aux;
		return 4;
	}
	return 0;
}

static bool reference_one(struct rig *rig, const struct diff_case *c,
			  struct reference *ref)
{
	u64 off = ref->r->st.rip - c->place;
	u8 b[16] = { 0 };
	u32 n;

	if (off >= RIG_CODE_SIZE)
		return step(rig, ref);
	memcpy(b, (const u8 *)ref->r->st.rip, min(16ull, RIG_CODE_SIZE - off));
	n = reference_insn(ref, b);
	ref->r->st.rip += n;
	if (n)
		return true;
	if (b[0] == 0x9c)
		return reference_pushf(rig, ref);
	if (b[0] == 0x9d)
		return reference_popf(rig, ref, 0);
	if (b[0] == 0x48 && b[1] == 0xcf)
		return reference_popf(rig, ref, 16);
	return step(rig, ref);
}

static void run_reference(struct rig *rig, const struct diff_case *c,
			  struct reference *ref)
{
	u32 i;

	ref->r->st = c->st;
	for (i = 0; i < STEPS_MAX; i++) {
		if (!reference_one(rig, c, ref))
			return;
	}
	ref->r->stop = RIG_TIMEOUT;
}

/* --- the translated run --------------------------------------------------------- */

static void set_page(struct rig *rig, const struct diff_case *c)
{
	struct vcpu_page *p = rig->page;
	u32 aux;

	memset(p, 0, sizeof(*p));
	p->vif = c->vif;
	p->kernel_gs_base = c->kernel_gs;
	p->cr0 = 0x80050033;
	p->cr2 = 0x123456789abc;
	p->cr3 = 0x1000;
	p->cr4 = 0x3606f0;
	p->cr8 = 5;
	/* Natively RDPID shows the hardware's, where there is no reference for it. */
	__asm__ volatile("rdtscp" : "=c"(aux) : : "rax", "rdx");
	p->tsc_aux = c->features & GEN_PRIV ? 0xabcd1234 : aux;
	p->pend_if_set = c->event;
	__asm__("mov %%cs, %0" : "=r"(p->sel[SEG_CS]));
	__asm__("mov %%ss, %0" : "=r"(p->sel[SEG_SS]));
	__asm__("mov %%ds, %0" : "=r"(p->sel[SEG_DS]));
	__asm__("mov %%es, %0" : "=r"(p->sel[SEG_ES]));
	__asm__("mov %%fs, %0" : "=r"(p->sel[SEG_FS]));
	__asm__("mov %%gs, %0" : "=r"(p->sel[SEG_GS]));
}

static bool event_was_wrong;

/* The interrupt that waited comes, and changes nothing. */
static void take_event(struct rig *rig, struct rig_state *st)
{
	(void)st;
	if (rig->page->vif != 0x200)
		event_was_wrong = true;
	rig->page->pend_if_set = 0;
}

/* --- what is the same ----------------------------------------------------------- */

/* x87 and SSE without FIP and FDP, which show where it ran; then the rest. */
static bool same_fp(const struct rig_state *a, const struct rig_state *b)
{
	return !memcmp(a->fp, b->fp, 6) &&
	       !memcmp(a->fp + 24, b->fp + 24, 464 - 24) &&
	       !memcmp(a->fp + 576, b->fp + 576, RIG_FP_SIZE - 576);
}

bool diff_same_state(const struct rig_state *a, const struct rig_state *b)
{
	return a->rip == b->rip && a->rflags == b->rflags &&
	       a->fs_base == b->fs_base && a->gs_base == b->gs_base &&
	       !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && same_fp(a, b);
}

bool diff_same_fault(const struct rig_result *a, const struct rig_result *b)
{
	if (a->vector != b->vector)
		return false;
	if (a->vector != 14)
		return true;
	if (a->address != b->address)
		return false;
	/* Of a fetch the rig knows no more than that it is one. */
	return a->error & 0x10 ? b->error & 0x10 : a->error == b->error;
}

static bool canonical(u64 va)
{
	return va >> 47 == 0 || va >> 47 == 0x1ffff;
}

/* IRET reads its frame in an order of its own. */
static bool other_word_of_frame(const struct diff_case *c,
				const struct rig_result *n,
				const struct rig_result *t)
{
	u64 off = n->st.rip - c->place;

	return n->vector == 14 && t->vector == 14 &&
	       off <= RIG_CODE_SIZE - 16 && diff_same_state(&n->st, &t->st) &&
	       !memcmp((void *)n->st.rip, "\x48\xcf", 2) &&
	       n->address - n->st.gpr[GPR_RSP] < 40 &&
	       t->address - n->st.gpr[GPR_RSP] < 40;
}

/* Is it undefined, or is more of it needed to say so? The two do not always agree. */
static bool undefined_at_end(const struct diff_case *c,
			     const struct rig_result *n,
			     const struct rig_result *t)
{
	u64 end = c->place + RIG_CODE_SIZE;

	if (end - n->st.rip >= 15 || !diff_same_state(&n->st, &t->st))
		return false;
	return (n->vector == 14 && n->address == end && t->vector == 6) ||
	       (t->vector == 14 && t->address == end && n->vector == 6);
}

/* What docs/caveats.md says of branches, IRET, REP and the end of a page. */
static bool known(const struct rig *rig, const struct diff_case *c,
		  const struct rig_result *n, const struct rig_result *t)
{
	if (rig->rep_over_itself)
		return true;
	if (n->stop != RIG_FAULT || t->stop != RIG_FAULT)
		return false;
	if (other_word_of_frame(c, n, t) || undefined_at_end(c, n, t))
		return true;
	return n->vector == 13 && t->vector == 14 && !canonical(t->st.rip);
}

static bool fault_on_wild_stack(const struct rig_result *r)
{
	return r->stop == RIG_FAULT && !canonical(r->st.gpr[GPR_RSP]);
}

/* Where there is no returning to such a stack, any interrupt ends the program. */
static bool lost_stack(const struct rig *rig, const struct rig_result *n,
		       const struct rig_result *t)
{
	return rig->no_wild_stack &&
	       (fault_on_wild_stack(n) || fault_on_wild_stack(t));
}

static bool same(const struct diff_case *c, const struct rig_result *n,
		 const struct rig_result *t, const struct diff_memory *after)
{
	return n->stop == t->stop && diff_same_state(&n->st, &t->st) &&
	       n->vif == t->vif && memory_is(c, after) &&
	       (n->stop != RIG_FAULT || diff_same_fault(n, t));
}

/* --- saying what differs -------------------------------------------------------- */

static void say_bytes(const char *what, const u8 *a, const u8 *b, u32 n)
{
	u32 i, said = 0;

	for (i = 0; i < n; i++) {
		if (a[i] == b[i])
			continue;
		if (++said > 16) {
			printf("  %s: and so on\n", what);
			return;
		}
		printf("  %s + %x: %02x/%02x\n", what, i, a[i], b[i]);
	}
}

static void say_u64(const char *what, u64 a, u64 b)
{
	if (a != b)
		printf("  %s %llx/%llx\n", what, (unsigned long long)a,
		       (unsigned long long)b);
}

static void say(const struct diff_case *c, const struct rig_result *n,
		const struct rig_result *t, const struct diff_memory *after)
{
	static const char *const stop[] = {
		[RIG_END] = "end",	   [RIG_FAULT] = "fault",
		[RIG_TIMEOUT] = "timeout", [RIG_STEPPED] = "#DB",
		[RIG_CALLOUT] = "callout", [RIG_SYSCALL] = "system call",
		[RIG_BROKEN] = "broken",
	};
	char name[8];
	u32 i;

	printf("seed %llu: differs (native/translated): ends by %s/%s\n",
	       (unsigned long long)c->seed, stop[n->stop], stop[t->stop]);
	say_u64("rip", n->st.rip, t->st.rip);
	say_u64("rflags", n->st.rflags, t->st.rflags);
	say_u64("vif", n->vif, t->vif);
	say_u64("fs base", n->st.fs_base, t->st.fs_base);
	say_u64("gs base", n->st.gs_base, t->st.gs_base);
	if (n->stop == RIG_FAULT || t->stop == RIG_FAULT) {
		say_u64("vector", n->vector, t->vector);
		say_u64("error code", n->error, t->error);
		say_u64("address", n->address, t->address);
	}
	for (i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "gpr %u", i);
		say_u64(name, n->st.gpr[i], t->st.gpr[i]);
	}
	if (!same_fp(&n->st, &t->st))
		say_bytes("xsave", n->st.fp, t->st.fp, RIG_FP_SIZE);
	say_bytes("data", after->data, data_at(c), RIG_DATA_SIZE);
	say_bytes("stack", after->stack, (u8 *)RIG_STACK, RIG_STACK_SIZE);
	say_bytes("code", after->code, (u8 *)c->place, RIG_CODE_SIZE);
}

/* Did the program come upon what ring 0 may do and ring 3 may not? */
static bool privileged_at(struct rig *rig, const struct diff_case *c, u64 rip)
{
	u64 off = rip - c->place;
	ZydisDecodedInstruction zi;

	if (off >= RIG_CODE_SIZE ||
	    ZYAN_FAILED(ZydisDecoderDecodeInstruction(
		    &rig->bt->decoder, NULL, (void *)rip,
		    min(15ull, RIG_CODE_SIZE - off), &zi)))
		return false;
	switch (classify(&zi)) {
	case CLS_CLI:
	case CLS_STI:
	case CLS_SWAPGS:
	case CLS_MOV_CR:
		return true;
	default:
		return false;
	}
}

/* --- one case ------------------------------------------------------------------- */

static enum diff_outcome run_native(struct rig *rig, const struct diff_case *c,
				    struct rig_result *n)
{
	struct reference ref = { .r = n, .page = rig->page, .vif = c->vif,
				 .kernel_gs = c->kernel_gs };

	code_set(rig, c);
	memory_set(c);
	set_page(rig, c);
	memset(n, 0, sizeof(*n));
	if (c->features & GEN_PRIV)
		run_reference(rig, c, &ref);
	else
		rig_native(rig, &c->st, false, n);
	n->vif = ref.vif;
	if (n->stop == RIG_TIMEOUT)
		return DIFF_ENDLESS;
	if ((n->stop != RIG_END && n->stop != RIG_FAULT) ||
	    (n->stop == RIG_FAULT && n->vector == 13 &&
	     privileged_at(rig, c, n->st.rip)))
		return DIFF_FOREIGN;
	return ref.foreign ? DIFF_FOREIGN : DIFF_SAME;
}

/* Wild bytes can be RDSEED and the like: does it end the same way each time? */
static bool repeats(struct rig *rig, const struct diff_case *c,
		    const struct rig_result *n, const struct diff_memory *after)
{
	struct rig_result again;

	return run_native(rig, c, &again) == DIFF_SAME &&
	       same(c, n, &again, after);
}

enum diff_outcome diff_run(struct rig *rig, const struct diff_case *c,
			   bool verbose, struct diff_stats *stats)
{
	static struct diff_memory after;
	u32 i, stores = rig->stores_to_code;
	enum diff_outcome ret;
	struct rig_result n, t;
	bool ok;

	rig_place(rig, c->place);
	ret = run_native(rig, c, &n);
	if (ret != DIFF_SAME)
		goto out;
	memory_get(c, &after);
	code_set(rig, c);
	if (!rig->on_irq)
		rig->on_irq = take_event;
	event_was_wrong = false;
	/* The second time runs through links and pads. */
	for (i = 0; i < 2; i++) {
		memory_set(c);
		set_page(rig, c);
		if (memcmp((void *)c->place, c->memory.code, RIG_CODE_SIZE))
			code_set(rig, c);
		rig_translated(rig, &c->st, false, &t);
		if (t.stop == RIG_CALLOUT ||
		    (!(c->features & GEN_PRIV) && t.vif != 0x200)) {
			/* For the monitor; or it did what ring 3 cannot: clear IF. */
			ret = DIFF_FOREIGN;
			break;
		}
		/* Each store to its own code costs it a trip to the rig. */
		if (t.stop == RIG_TIMEOUT &&
		    rig->stores_to_code - stores > SLOW_STORES) {
			ret = DIFF_ENDLESS;
			break;
		}
		ok = same(c, &n, &t, &after) && !event_was_wrong;
		if (!ok && lost_stack(rig, &n, &t)) {
			ret = DIFF_FOREIGN;
			break;
		}
		if (!ok && known(rig, c, &n, &t)) {
			ret = DIFF_KNOWN;
			break;
		}
		if (!ok) {
			ret = DIFF_DIFFERS;
			if (verbose)
				say(c, &n, &t, &after);
			if (repeats(rig, c, &n, &after))
				break;
			ret = DIFF_FOREIGN;
			if (verbose)
				printf("  but natively it does not end the same way twice\n");
			break;
		}
	}
	if (rig->on_irq == take_event)
		rig->on_irq = NULL;
	if (stats) {
		stats->faults += n.stop == RIG_FAULT;
		stats->stores_to_code += rig->stores_to_code - stores;
	}
out:
	if (stats)
		stats->outcome[ret]++;
	return ret;
}

enum diff_outcome diff_one(struct rig *rig, u64 seed, u64 place, int features,
			   struct diff_stats *stats)
{
	static struct diff_case c;
	enum diff_outcome ret;

	diff_make(&c, seed, place, features);
	rig_learn_returns(rig, seed & 1);
	ret = diff_run(rig, &c, true, stats);
	if (ret == DIFF_DIFFERS) {
		diff_minimise(rig, &c);
		diff_run(rig, &c, true, NULL);
		diff_print(&c);
	}
	return ret;
}
