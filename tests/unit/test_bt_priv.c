// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sensitive instructions done inline do what the manual says against the virtual
 * state in the vCPU page, atomically at every host instruction; the others leave
 * as callouts, before anything has changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bt/bt.h"
#include "tests/diff/bt_rig.h"

#define TC_SIZE (1u << 20)
#define STACK_TOP (RIG_STACK + 0x1000)

static struct rig rig;
static struct rig_state st;
static struct rig_result res;
static u32 irqs, callouts;
static u64 irq_gpc, irq_rax;
static struct bt_exit last_callout;
static bool last_shadow;

#define CODE(bytes) load(bytes, sizeof(bytes) - 1)

static void load(const char *bytes, u32 n)
{
	memset((void *)RIG_NEAR, 0xcc, 64);
	memcpy((void *)RIG_NEAR, bytes, n);
	bt_invalidate_gva(rig.bt, RIG_NEAR);
}

static void on_irq(struct rig *r, struct rig_state *s)
{
	irqs++;
	irq_gpc = s->rip;
	irq_rax = s->gpr[0];
	r->page->pend_if_set = 0;
}

/* Skips the instruction. */
static bool on_callout(struct rig *r, const struct bt_exit *x,
		       struct rig_state *s)
{
	struct bt_state bs;

	callouts++;
	last_callout = *x;
	assert_int_equal(bt_recover(r->bt, r->exit_tpc, &bs), 0);
	assert_int_equal(bs.gpc, x->gpc);
	assert_int_equal(bs.spilled, 0);
	last_shadow = bs.irq_shadow;
	s->rip += x->insn_len;
	return true;
}

static void fresh(void)
{
	u32 i;

	memset(&st, 0, sizeof(st));
	for (i = 0; i < 16; i++)
		st.gpr[i] = 0x1111111111111111ull * i;
	st.gpr[4] = STACK_TOP;
	st.rip = RIG_NEAR;
	st.rflags = 0xc5;
	memset(rig.page, 0, sizeof(*rig.page));
	memset((void *)RIG_STACK, 0x5a, RIG_STACK_SIZE);
	irqs = callouts = 0;
	rig_place(&rig, RIG_NEAR);
	rig.on_irq = on_irq;
	rig.on_callout = on_callout;
}

static void run(void)
{
	rig_translated(&rig, &st, false, &res);
}

static void run_to_end(void)
{
	run();
	assert_int_equal(res.stop, RIG_END);
}

/* --- IF and IOPL ----------------------------------------------------------- */

static void test_cli_and_sti_show_in_pushf(void **state)
{
	fresh();
	rig.page->vif = 0x200;
	/* pushf; cli; pushf; sti; nop; pushf; pop rcx, rbx, rax */
	CODE("\x9c\xfa\x9c\xfb\x90\x9c\x59\x5b\x58");
	run_to_end();
	assert_int_equal(res.st.gpr[0], 0x2c7);
	assert_int_equal(res.st.gpr[3], 0xc7);
	assert_int_equal(res.st.gpr[1], 0x2c7);
	assert_int_equal(rig.page->vif, 0x200);
}

static void test_pushf_shows_iopl(void **state)
{
	fresh();
	rig.page->viopl = 0x3000;
	CODE("\x9c\x58");
	run_to_end();
	assert_int_equal(res.st.gpr[0], 0x30c7);
}

static void test_popf_sets_if_and_clears_iopl(void **state)
{
	fresh();
	rig.page->viopl = 0x3000;
	/* push 0x2d5; popf */
	CODE("\x68\xd5\x02\x00\x00\x9d");
	run_to_end();
	assert_int_equal(rig.page->vif, 0x200);
	assert_int_equal(rig.page->viopl, 0);
	assert_int_equal(res.st.rflags, 0xd5);
	assert_int_equal(res.st.gpr[4], STACK_TOP);
	/* push 0x11; popf */
	fresh();
	rig.page->vif = 0x200;
	CODE("\x6a\x11\x9d");
	run_to_end();
	assert_int_equal(rig.page->vif, 0);
	assert_int_equal(res.st.rflags, 0x11);
}

static void test_popf_of_tf_nt_or_iopl_is_a_callout_with_nothing_done(void **s)
{
	static const u32 bits[] = { 0x100, 0x1000, 0x2000, 0x4000, 0x4300 };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(bits); i++) {
		fresh();
		rig.on_callout = NULL;
		CODE("\x68\x00\x00\x00\x00\x9d");
		memcpy((void *)(RIG_NEAR + 1), &bits[i], 4);
		bt_invalidate_gva(rig.bt, RIG_NEAR);
		rig.page->vif = 0x200;
		run();
		assert_int_equal(res.stop, RIG_CALLOUT);
		assert_int_equal(res.st.rip, RIG_NEAR + 5);
		assert_int_equal(res.st.gpr[4], STACK_TOP - 8);
		assert_int_equal(res.st.gpr[1], 0x1111111111111111ull);
		assert_int_equal(res.st.rflags, 0xc5);
		assert_int_equal(rig.page->vif, 0x200);
	}
}

/* --- pending events --------------------------------------------------------- */

static void test_sti_delivers_after_the_next_instruction(void **state)
{
	fresh();
	rig.page->pend_if_set = 1;
	st.gpr[0] = 0;
	/* sti; inc rax; inc rax */
	CODE("\xfb\x48\xff\xc0\x48\xff\xc0");
	run_to_end();
	assert_int_equal(irqs, 1);
	assert_int_equal(irq_gpc, RIG_NEAR + 4);
	assert_int_equal(irq_rax, 1);
	assert_int_equal(res.st.gpr[0], 2);
}

static void test_sti_without_pending_does_not_leave(void **state)
{
	fresh();
	CODE("\xfb\x48\xff\xc0\xfa\xfb\x90");
	run_to_end();
	assert_int_equal(irqs, 0);
}

static void test_sti_hlt_halts_in_the_shadow(void **state)
{
	fresh();
	rig.page->pend_if_set = 1;
	CODE("\xfb\xf4");
	run_to_end();
	assert_int_equal(irqs, 0);
	assert_int_equal(callouts, 1);
	assert_int_equal(last_callout.insn[0], 0xf4);
	assert_true(last_shadow);
}

static void test_hlt_without_sti_has_no_shadow(void **state)
{
	fresh();
	CODE("\x90\xf4");
	run_to_end();
	assert_int_equal(callouts, 1);
	assert_false(last_shadow);
}

static void test_sti_cli_never_delivers(void **state)
{
	fresh();
	rig.page->pend_if_set = 1;
	CODE("\xfb\xfa\x90\x90");
	run_to_end();
	assert_int_equal(irqs, 0);
	assert_int_equal(rig.page->vif, 0);
}

static void test_sti_before_a_branch_delivers(void **state)
{
	fresh();
	rig.page->pend_if_set = 1;
	/* sti; jmp +0 */
	CODE("\xfb\xeb\x00");
	run_to_end();
	assert_int_equal(irqs, 1);
}

static void test_sti_at_the_end_of_a_page_is_a_callout(void **state)
{
	u8 *p = (u8 *)RIG_NEAR + 0xfff;

	fresh();
	p[0] = 0xfb;
	p[1] = 0xf4;
	p[2] = 0xcc;
	bt_invalidate_gva_range(rig.bt, RIG_NEAR, RIG_NEAR + 0x1fff);
	st.rip = (u64)p;
	rig.page->pend_if_set = 1;
	run_to_end();
	assert_int_equal(callouts, 2);
	assert_int_equal(irqs, 0);
}

static void test_popf_delivers_at_once(void **state)
{
	fresh();
	rig.page->pend_if_set = 1;
	st.gpr[0] = 0;
	/* push 0x202; popf; inc rax */
	CODE("\x68\x02\x02\x00\x00\x9d\x48\xff\xc0");
	run_to_end();
	assert_int_equal(irqs, 1);
	assert_int_equal(irq_gpc, RIG_NEAR + 6);
	assert_int_equal(irq_rax, 0);
	/* and not when IF stays clear */
	fresh();
	rig.page->pend_if_set = 1;
	CODE("\x6a\x02\x9d\x48\xff\xc0");
	run_to_end();
	assert_int_equal(irqs, 0);
}

/* --- the rest of the inline ones ---------------------------------------------- */

static void test_swapgs_exchanges_the_bases(void **state)
{
	/* It is a callout where ring 3 cannot do it: the next test. */
	if (!rig.bt->cfg.has_fsgsbase)
		skip();
	fresh();
	rig.page->kernel_gs_base = 0x123456789abcull;
	/* rdgsbase rbx; swapgs; rdgsbase rdx; swapgs; rdgsbase rsi */
	CODE("\xf3\x48\x0f\xae\xcb\x0f\x01\xf8\xf3\x48\x0f\xae\xca"
	     "\x0f\x01\xf8\xf3\x48\x0f\xae\xce");
	run_to_end();
	assert_int_equal(res.st.gpr[3], RIG_NEAR + RIG_DATA_OFF);
	assert_int_equal(res.st.gpr[2], 0x123456789abcull);
	assert_int_equal(res.st.gpr[6], RIG_NEAR + RIG_DATA_OFF);
	assert_int_equal(rig.page->kernel_gs_base, 0x123456789abcull);
	assert_int_equal(res.st.gpr[0], 0);
	assert_int_equal(res.st.gpr[1], 0x1111111111111111ull);
}

static void test_swapgs_without_fsgsbase_is_a_callout(void **state)
{
	bool has = rig.bt->cfg.has_fsgsbase;

	fresh();
	rig.bt->cfg.has_fsgsbase = false;
	CODE("\x0f\x01\xf8\xf3\x48\x0f\xae\xcb");
	run_to_end();
	assert_int_equal(callouts, 2);
	rig.bt->cfg.has_fsgsbase = has;
}

static u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

static void test_rdtsc_adds_the_offset_and_nothing_else_changes(void **state)
{
	static const char *const code[] = { "\x0f\x31\xcc",
					    "\x0f\x01\xf9\xcc" };
	u64 before, after, seen, offset = 0xfffffff123456789ull;
	u32 i;

	for (i = 0; i < 2; i++) {
		fresh();
		rig.page->tsc_offset = offset;
		rig.page->tsc_aux = 0x77;
		load(code[i], 4);
		before = rdtsc();
		run_to_end();
		after = rdtsc();
		seen = (res.st.gpr[2] << 32 | res.st.gpr[0]) - offset;
		assert_true(seen >= before && seen <= after);
		assert_int_equal(res.st.gpr[0] >> 32, 0);
		assert_int_equal(res.st.gpr[2] >> 32, 0);
		assert_int_equal(res.st.gpr[1], i ? 0x77 : st.gpr[1]);
		assert_int_equal(res.st.rflags, st.rflags);
	}
}

static void test_rdtsc_is_a_callout_when_asked_for(void **state)
{
	fresh();
	rig.bt->cfg.tsc_callout = true;
	CODE("\x0f\x31\x0f\x01\xf9");
	run_to_end();
	assert_int_equal(callouts, 2);
	rig.bt->cfg.tsc_callout = false;
}

static void wrmsr(u64 rcx, u64 rax, u64 rdx)
{
	st.gpr[1] = rcx;
	st.gpr[0] = rax;
	st.gpr[2] = rdx;
	CODE("\x0f\x30\x48\xff\xc6"); /* wrmsr; inc rsi */
	run_to_end();
	assert_int_equal(res.st.gpr[0], rax);
	assert_int_equal(res.st.gpr[1], rcx);
	assert_int_equal(res.st.gpr[2], rdx);
	assert_int_equal(res.st.gpr[6], st.gpr[6] + 1);
}

static void test_eoi_is_done_in_place_when_it_may_be(void **state)
{
	rig.bt->cfg.apic_in_place = true;
	fresh();
	rig.page->eoi = 1;
	wrmsr(0x770000000000080bull, 0x5500000000ull, 0x6600000000ull);
	assert_int_equal(callouts, 0);
	assert_int_equal(rig.page->eoi, 2);
	/* Once only, with nothing but zero, and no other register. */
	wrmsr(0x80b, 0, 0);
	assert_int_equal(callouts, 1);
	rig.page->eoi = 1;
	wrmsr(0x80b, 1, 0);
	wrmsr(0x80b, 0, 1);
	wrmsr(0x80c, 0, 0);
	wrmsr(0x80a, 0, 0);
	assert_int_equal(callouts, 5);
	assert_int_equal(rig.page->eoi, 1);
	rig.bt->cfg.apic_in_place = false;
}

static void test_a_deadline_is_stored_in_place_from_the_lent_one_on(void **state)
{
	u64 from = 0x123456789abcull;

	rig.bt->cfg.apic_in_place = true;
	fresh();
	rig.page->deadline_neg = -from;
	wrmsr(0x6e0, 0xaa56789abcull, 0xbb00001234ull);
	assert_int_equal(callouts, 0);
	assert_int_equal(rig.page->deadline, from);
	rig.page->deadline = 0;
	wrmsr(0x6e0, 0x56789abb, 0x1234); /* one earlier */
	wrmsr(0x6e0, 0, 0); /* disarm */
	assert_int_equal(callouts, 2);
	rig.page->deadline_neg = VCPU_NO_DEADLINE;
	wrmsr(0x6e0, 0xffffffff, 0x7fffffff);
	assert_int_equal(callouts, 3);
	assert_int_equal(rig.page->deadline, 0);
	rig.bt->cfg.apic_in_place = false;
}

static void test_rdpid_reads_the_virtual_tsc_aux(void **state)
{
	fresh();
	rig.page->tsc_aux = 0x12345;
	/* rdpid r9 */
	CODE("\xf3\x41\x0f\xc7\xf9");
	run_to_end();
	assert_int_equal(res.st.gpr[9], 0x12345);
}

static void test_mov_from_control_registers_reads_the_copies(void **state)
{
	static const struct {
		u8 cr;
		u64 value;
	} crs[] = { { 0, 0x80050033 },
		    { 2, 0xffffc90000001234ull },
		    { 3, 0x1234000 },
		    { 4, 0x3506f0 },
		    { 8, 5 } };
	u32 i, reg;
	u8 code[8];

	for (i = 0; i < ARRAY_SIZE(crs); i++) {
		for (reg = 0; reg < 16; reg++) {
			fresh();
			rig.page->cr0 = crs[0].value;
			rig.page->cr2 = crs[1].value;
			rig.page->cr3 = crs[2].value;
			rig.page->cr4 = crs[3].value;
			rig.page->cr8 = crs[4].value;
			code[0] = (u8)(0x40 | reg >> 3 |
				       (crs[i].cr & 8 ? 4 : 0));
			code[1] = 0x0f;
			code[2] = 0x20;
			code[3] = (u8)(0xc0 | (crs[i].cr & 7) << 3 |
				       (reg & 7));
			code[4] = 0xcc;
			load((char *)code, 5);
			run_to_end();
			assert_int_equal(res.st.gpr[reg], crs[i].value);
		}
	}
}

static void test_selectors_come_from_the_page(void **state)
{
	u32 i;

	fresh();
	for (i = 0; i < SEG_COUNT; i++)
		rig.page->sel[i] = (u16)(0x8010 + i);
	/* mov eax, cs; mov rcx, ss; mov dx, ds; push gs; pop r8 */
	CODE("\x8c\xc8\x48\x8c\xd1\x66\x8c\xda\x0f\xa8\x41\x58");
	run_to_end();
	assert_int_equal(res.st.gpr[0], 0x8011);
	assert_int_equal(res.st.gpr[1], 0x8012);
	assert_int_equal(res.st.gpr[2], 0x2222222222228013ull);
	assert_int_equal(res.st.gpr[8], 0x8015);
}

/* --- atomicity --------------------------------------------------------------- */

struct view {
	struct rig_state st;
	u64 vif, viopl, kernel_gs_base;
	u8 stack[64];
};

static struct view before, after;
static bool over, unordered, ignore_ad;

static void view_take(struct view *v, const struct rig_state *s)
{
	v->st = *s;
	v->vif = rig.page->vif;
	v->viopl = rig.page->viopl;
	v->kernel_gs_base = rig.page->kernel_gs_base;
	memcpy(v->stack, (void *)(STACK_TOP - 32), 64);
}

static bool view_same(const struct view *a, const struct view *b)
{
	u32 i;

	for (i = 0; i < 16; i++) {
		if (a->st.gpr[i] != b->st.gpr[i] &&
		    !(ignore_ad && (i == 0 || i == 2)))
			return false;
	}
	return a->st.rip == b->st.rip && a->st.rflags == b->st.rflags &&
	       a->vif == b->vif && a->viopl == b->viopl &&
	       a->kernel_gs_base == b->kernel_gs_base &&
	       !memcmp(a->stack, b->stack, sizeof(a->stack));
}

static bool on_step(struct rig *r, const struct bt_state *bs,
		    const struct rig_state *s)
{
	struct view now;

	view_take(&now, s);
	if (!over && now.st.rip == before.st.rip) {
		/* Before: nothing may be ignored. */
		bool ignore = ignore_ad, same;

		ignore_ad = false;
		same = view_same(&now, &before);
		ignore_ad = ignore;
		if (same)
			return true;
	} else {
		over = true;
		if (view_same(&now, &after))
			return true;
	}
	unordered = true;
	return false;
}

/* code: one instruction and int3. */
static void assert_atomic(const char *code, u32 n)
{
	struct rig_state start;
	u64 vif = rig.page->vif, viopl = rig.page->viopl,
	    kgs = rig.page->kernel_gs_base;
	u8 stack[64];

	load(code, n);
	start = st;
	memcpy(stack, (void *)(STACK_TOP - 32), 64);
	view_take(&before, &start);
	run_to_end();
	view_take(&after, &res.st);
	memcpy((void *)(STACK_TOP - 32), stack, 64);
	rig.page->vif = vif;
	rig.page->viopl = viopl;
	rig.page->kernel_gs_base = kgs;
	rig_place(&rig, RIG_NEAR);
	over = unordered = false;
	rig.on_step = on_step;
	rig_translated(&rig, &st, true, &res);
	rig.on_step = NULL;
	assert_false(unordered);
	assert_int_equal(res.stop, RIG_END);
}

#define ATOMIC(bytes) assert_atomic(bytes, sizeof(bytes) - 1)

/* At STACK_TOP: to RIG_NEAR + 6, a stack a little higher, the same selectors. */
static void iret_frame(u64 flags)
{
	u64 *f = (u64 *)STACK_TOP;

	rig.page->sel[SEG_CS] = 0x10;
	rig.page->sel[SEG_SS] = 0x18;
	f[0] = RIG_NEAR + 6;
	f[1] = 0x10;
	f[2] = flags;
	f[3] = STACK_TOP + 0x40;
	f[4] = 0x18;
}

static void test_iret_stays_in_translated_code_when_it_can(void **state)
{
	fresh();
	rig.page->viopl = 0x2000;
	iret_frame(0x2d5);
	CODE("\x48\xcf\xcc\xcc\xcc\xcc\x50");
	run_to_end();
	assert_int_equal(callouts, 0);
	assert_int_equal(res.st.rip, RIG_NEAR + 7);
	assert_int_equal(res.st.gpr[4], STACK_TOP + 0x38);
	assert_int_equal(res.st.rflags, 0xd5);
	assert_int_equal(rig.page->vif, 0x200);
	assert_int_equal(rig.page->viopl, 0);
	assert_int_equal(res.st.gpr[0], st.gpr[0]);
	assert_int_equal(res.st.gpr[1], st.gpr[1]);
}

static void test_iret_elsewhere_is_a_callout_with_nothing_done(void **state)
{
	static const struct {
		u8 word;
		u64 value;
	} odd[] = { { 1, 0x33 },   { 1, 0x11 },	 { 4, 0x2b },
		    { 4, 0 },	   { 2, 0x102 }, { 2, 0x4002 },
		    { 2, 0x1002 }, { 2, 0x3202 } };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(odd) + 1; i++) {
		fresh();
		rig.on_callout = NULL;
		iret_frame(0x2d5);
		if (i < ARRAY_SIZE(odd))
			((u64 *)STACK_TOP)[odd[i].word] = odd[i].value;
		else
			rig.page->iret_slow = 1;
		CODE("\x48\xcf\xcc");
		run();
		assert_int_equal(res.stop, RIG_CALLOUT);
		assert_int_equal(res.st.rip, RIG_NEAR);
		assert_memory_equal(res.st.gpr, st.gpr, sizeof(st.gpr));
		assert_int_equal(res.st.rflags, st.rflags);
		assert_int_equal(rig.page->vif, 0);
	}
}

/* With IF newly set and something pending, the monitor gets to look. */
static void test_iret_with_an_event_pending_leaves(void **state)
{
	fresh();
	rig.page->pend_if_set = 1;
	iret_frame(0x2d5);
	CODE("\x48\xcf\xcc\xcc\xcc\xcc\x50");
	run_to_end();
	rig.exits[BT_EXIT_INDIRECT] = 0;
	/* The way back is translated now, so only the event makes it leave. */
	fresh();
	rig.page->pend_if_set = 1;
	iret_frame(0x2d5);
	run_to_end();
	assert_int_equal(rig.exits[BT_EXIT_INDIRECT], 1);
	fresh();
	rig.page->pend_if_set = 1;
	iret_frame(0xd5);
	run_to_end();
	assert_int_equal(rig.exits[BT_EXIT_INDIRECT], 1);
}

static void test_inline_sequences_are_atomic_at_every_host_instruction(void **s)
{
	u64 flags = 0x2d5;

	fresh();
	ignore_ad = false;
	rig.page->kernel_gs_base = 0x1234000;
	rig.page->viopl = 0x1000;
	ATOMIC("\x9c\xcc"); /* pushf */
	ATOMIC("\xfa\xcc"); /* cli */
	ATOMIC("\x0f\x01\xf8\xcc"); /* swapgs */
	ATOMIC("\x0f\x20\xd8\xcc"); /* mov rax, cr3 */
	ATOMIC("\x8c\xd8\xcc"); /* mov eax, ds */
	ATOMIC("\x0f\xa0\xcc"); /* push fs */
	ATOMIC("\xf3\x0f\xc7\xf8\xcc"); /* rdpid rax */
	memcpy((void *)STACK_TOP, &flags, 8);
	ATOMIC("\x9d\xcc"); /* popf */
	iret_frame(0x2d5);
	ATOMIC("\x48\xcf\xcc\xcc\xcc\xcc\xcc\xcc"); /* iretq */
	ignore_ad = true;
	ATOMIC("\x0f\x31\xcc"); /* rdtsc */
	ATOMIC("\x0f\x01\xf9\xcc"); /* rdtscp */
	ignore_ad = false;
}

static void test_wrmsr_is_atomic_at_every_host_instruction(void **state)
{
	rig.bt->cfg.apic_in_place = true;
	fresh();
	ignore_ad = false;
	rig.page->deadline_neg = -5ull;
	st.gpr[1] = 0x6e0;
	ATOMIC("\x0f\x30\xcc"); /* a deadline */
	st.gpr[1] = 0x80b;
	st.gpr[0] = st.gpr[2] = 0;
	rig.page->eoi = 1;
	ATOMIC("\x0f\x30\xcc"); /* EOI */
	rig.bt->cfg.apic_in_place = false;
}

/* Where the stack is not there, the fault is the instruction's. */
static void test_stack_faults_are_precise(void **state)
{
	static const char *const code[] = {
		"\x9c", /* pushf */
		"\x9d", /* popf */
		"\xc3", /* ret */
		"\xc2\x10\x00", /* ret 16 */
		"\xe8\x00\x00\x00\x00", /* call +0 */
		"\xff\xd0", /* call rax */
		"\xff\xd1", /* call rcx */
		"\xff\x14\x24", /* call [rsp] */
		"\xff\x11", /* call [rcx] */
		"\xff\x21", /* jmp [rcx] */
		"\x0f\xa0", /* push fs */
		"\x50",
	};
	static const u64 places[] = { RIG_NEAR, RIG_FAR };
	struct rig_result native;
	u32 i, k;

	for (k = 0; k < 2; k++) {
		for (i = 0; i < ARRAY_SIZE(code); i++) {
			fresh();
			rig_place(&rig, places[k]);
			memset((void *)places[k], 0xcc, 16);
			memcpy((void *)places[k], code[i],
			       i == 4 ? 5 : strlen(code[i]) + (i == 3));
			bt_invalidate_gva(rig.bt, places[k]);
			st.rip = places[k];
			st.gpr[4] = RIG_UNMAPPED;
			st.gpr[1] = RIG_UNMAPPED + 0x2000;
			rig_native(&rig, &st, false, &native);
			run();
			assert_int_equal(native.stop, RIG_FAULT);
			assert_int_equal(res.stop, RIG_FAULT);
			assert_int_equal(res.st.rip, st.rip);
			assert_int_equal(res.vector, native.vector);
			assert_int_equal(res.error, native.error);
			assert_int_equal(res.address, native.address);
			assert_memory_equal(res.st.gpr, st.gpr,
					    sizeof(st.gpr));
			assert_int_equal(res.st.rflags, st.rflags);
		}
	}
}

/* --- callouts ------------------------------------------------------------------ */

static void test_what_needs_the_monitor_leaves_with_its_bytes(void **state)
{
	static const struct {
		u8 len;
		u8 b[8];
	} code[] = {
		{ 2, { 0x0f, 0xa2 } }, /* cpuid */
		{ 1, { 0xf4 } }, /* hlt */
		{ 2, { 0xe4, 0x60 } }, /* in al, 0x60 */
		{ 1, { 0xee } }, /* out dx, al */
		{ 2, { 0xf3, 0x6c } }, /* rep insb */
		{ 2, { 0xcd, 0x80 } }, /* int 0x80 */
		{ 1, { 0xf1 } }, /* int1 */
		{ 2, { 0x48, 0xcf } }, /* iretq */
		{ 2, { 0x0f, 0x05 } }, /* syscall */
		{ 3, { 0x48, 0x0f, 0x07 } }, /* sysretq */
		{ 2, { 0x0f, 0x34 } }, /* sysenter */
		{ 2, { 0x0f, 0x32 } }, /* rdmsr */
		{ 2, { 0x0f, 0x30 } }, /* wrmsr */
		{ 3, { 0x0f, 0x22, 0xd8 } }, /* mov cr3, rax */
		{ 3, { 0x0f, 0x23, 0xf8 } }, /* mov dr7, rax */
		{ 3, { 0x0f, 0x21, 0xf8 } }, /* mov rax, dr7 */
		{ 2, { 0x8e, 0xd8 } }, /* mov ds, eax */
		{ 2, { 0x8c, 0x18 } }, /* mov [rax], ds */
		{ 2, { 0x0f, 0xa9 } }, /* pop gs */
		{ 3, { 0x0f, 0x01, 0x10 } }, /* lgdt [rax] */
		{ 3, { 0x0f, 0x01, 0x00 } }, /* sgdt [rax] */
		{ 3, { 0x0f, 0x01, 0x38 } }, /* invlpg [rax] */
		{ 3, { 0x0f, 0x00, 0xd8 } }, /* ltr ax */
		{ 3, { 0x0f, 0x02, 0xc8 } }, /* lar ecx, ax */
		{ 2, { 0x0f, 0x06 } }, /* clts */
		{ 2, { 0x0f, 0x09 } }, /* wbinvd */
		{ 3, { 0x0f, 0x01, 0xca } }, /* clac */
		{ 3, { 0x0f, 0x01, 0xc1 } }, /* vmcall */
		{ 3, { 0x0f, 0x01, 0xd0 } }, /* xgetbv */
		{ 2, { 0x0f, 0x33 } }, /* rdpmc */
		{ 3, { 0x0f, 0x01, 0xc8 } }, /* monitor */
		{ 2, { 0x66, 0x9c } }, /* pushfw */
		{ 2, { 0x66, 0x9d } }, /* popfw */
		{ 2, { 0x48, 0xcb } }, /* retfq */
		{ 3, { 0x48, 0xff, 0x28 } }, /* jmp far [rax] */
		{ 3, { 0x0f, 0xc7, 0x28 } }, /* xsaves [rax] */
	};
	u32 i, len;

	for (i = 0; i < ARRAY_SIZE(code); i++) {
		len = code[i].len;
		fresh();
		rig.on_callout = NULL;
		memset((void *)RIG_NEAR, 0xcc, 32);
		*(u8 *)RIG_NEAR = 0x90;
		memcpy((void *)(RIG_NEAR + 1), code[i].b, len);
		bt_invalidate_gva(rig.bt, RIG_NEAR);
		rig.on_callout = on_callout;
		run_to_end();
		assert_int_equal(callouts, 1);
		assert_int_equal(last_callout.gpc, RIG_NEAR + 1);
		assert_int_equal(last_callout.insn_len, len);
		assert_memory_equal(last_callout.insn, code[i].b, len);
		assert_memory_equal(res.st.gpr, st.gpr, sizeof(st.gpr));
	}
}

static void test_undefined_instructions_raise_ud(void **state)
{
	static const char *const code[] = { "\x0f\x0b", "\x06\x90", "\x0f\xff",
					    "\xf0\x90", "\xd6\x90" };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(code); i++) {
		fresh();
		load(code[i], 2);
		run();
		assert_int_equal(res.stop, RIG_FAULT);
		assert_int_equal(res.vector, 6);
		assert_int_equal(res.st.rip, RIG_NEAR);
	}
}

static int setup(void **state)
{
	rig_init(&rig, TC_SIZE);
	return 0;
}

static int teardown(void **state)
{
	rig_exit(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cli_and_sti_show_in_pushf),
		cmocka_unit_test(test_pushf_shows_iopl),
		cmocka_unit_test(test_popf_sets_if_and_clears_iopl),
		cmocka_unit_test(
			test_popf_of_tf_nt_or_iopl_is_a_callout_with_nothing_done),
		cmocka_unit_test(test_sti_delivers_after_the_next_instruction),
		cmocka_unit_test(test_sti_without_pending_does_not_leave),
		cmocka_unit_test(test_sti_hlt_halts_in_the_shadow),
		cmocka_unit_test(test_hlt_without_sti_has_no_shadow),
		cmocka_unit_test(test_sti_cli_never_delivers),
		cmocka_unit_test(test_sti_before_a_branch_delivers),
		cmocka_unit_test(
			test_sti_at_the_end_of_a_page_is_a_callout),
		cmocka_unit_test(test_popf_delivers_at_once),
		cmocka_unit_test(test_swapgs_exchanges_the_bases),
		cmocka_unit_test(test_eoi_is_done_in_place_when_it_may_be),
		cmocka_unit_test(
			test_a_deadline_is_stored_in_place_from_the_lent_one_on),
		cmocka_unit_test(test_wrmsr_is_atomic_at_every_host_instruction),
		cmocka_unit_test(
			test_swapgs_without_fsgsbase_is_a_callout),
		cmocka_unit_test(
			test_rdtsc_adds_the_offset_and_nothing_else_changes),
		cmocka_unit_test(test_rdtsc_is_a_callout_when_asked_for),
		cmocka_unit_test(test_rdpid_reads_the_virtual_tsc_aux),
		cmocka_unit_test(
			test_mov_from_control_registers_reads_the_copies),
		cmocka_unit_test(test_selectors_come_from_the_page),
		cmocka_unit_test(
			test_iret_stays_in_translated_code_when_it_can),
		cmocka_unit_test(
			test_iret_elsewhere_is_a_callout_with_nothing_done),
		cmocka_unit_test(test_iret_with_an_event_pending_leaves),
		cmocka_unit_test(
			test_inline_sequences_are_atomic_at_every_host_instruction),
		cmocka_unit_test(test_stack_faults_are_precise),
		cmocka_unit_test(
			test_what_needs_the_monitor_leaves_with_its_bytes),
		cmocka_unit_test(test_undefined_instructions_raise_ud),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
