// SPDX-License-Identifier: GPL-2.0-only
/*
 * TUs come and go without leaving anything behind: changed code, changed
 * mappings, a full cache, flushes; and what ring 3 may claim about a tpc is
 * believed only as far as it is true. Code is translated here but not run; the
 * last tests run it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bt_guest.h"

/* The only exit of its kind in the TU that starts at tpc. */
static struct bt_exit exit_of(tpc_t tpc, enum bt_exit_kind kind)
{
	struct bt_exit x;
	u32 i;

	for (i = 0; i < 4096; i++) {
		bt_exit_at(guest.bt, tpc + i, &x);
		if (x.kind == kind)
			return x;
	}
	fail();
	return x;
}

/* --- creating ----------------------------------------------------------------- */

static void test_bad_configurations_are_refused(void **state)
{
	struct bt_config good = { .window = WINDOW,	 .tc_size = TC_SIZE,
				  .tc = tc,		 .ibl_tpc = ibl_tpc,
				  .bounce_code = bounce_code };
	struct bt_config c = good;

	c.tc_size = 128u << 10;
	assert_null(bt_create(&c, &guest_ops, NULL));
	c.tc_size = TC_SIZE + 4096;
	assert_null(bt_create(&c, &guest_ops, NULL));
	c = good;
	c.window = 0x60001000;
	assert_null(bt_create(&c, &guest_ops, NULL));
	c.window = 0x7f0000000000ull;
	assert_null(bt_create(&c, &guest_ops, NULL));
	c.window = 0x7fe00000;
	assert_null(bt_create(&c, &guest_ops, NULL));
}

static void test_failing_allocations_are_reported_and_leak_nothing(void **state)
{
	struct bt *old = guest.bt;
	u32 n, failures = 0;
	tpc_t tpc;
	int ret;

	for (n = 1; n < 20; n++) {
		env_fail_alloc = n;
		guest.bt = guest_create(BT_EVICT_FIFO, 0);
		if (guest.bt) {
			ret = bt_enter(guest.bt, CODE + 0xffb, BT_MODE_LONG,
				       &tpc);
			if (!ret)
				ret = bt_indirect(guest.bt, CODE + 0xffb,
						  BT_MODE_LONG, &tpc);
			assert_true(ret == 0 || ret == -ENOMEM);
			failures += ret == -ENOMEM;
			env_fail_alloc = 0;
			assert_true(bt_audit(guest.bt));
			bt_destroy(guest.bt);
			/* Traced by a fetch whose TU did not come to be. */
			memset(guest.traced, 0, sizeof(guest.traced));
		} else {
			failures++;
		}
	}
	env_fail_alloc = 0;
	assert_true(failures >= 4);
	guest.bt = old;
	bt_flush(old);
}

/* --- finding -------------------------------------------------------------------- */

static void test_a_second_enter_finds_the_same_tu(void **state)
{
	tpc_t a = enter(CODE);
	u32 fetches = guest.fetches;

	assert_true(bt_in_tc(guest.bt, a));
	assert_int_equal(enter(CODE), a);
	assert_int_equal(guest.fetches, fetches);
}

static void test_find_reaches_boundaries_inside_a_tu(void **state)
{
	struct bt_state bs;
	tpc_t tpc;

	/* add rax, rcx; lea rbx, [rax + 1]; int3 */
	put(0, 0, "\x48\x01\xc8\x48\x8d\x58\x01\xcc", 8);
	assert_int_equal(bt_find(guest.bt, CODE, BT_MODE_LONG, &tpc), -ENOENT);
	enter(CODE);
	assert_int_equal(bt_find(guest.bt, CODE + 3, BT_MODE_LONG, &tpc), 0);
	assert_int_equal(bt_recover(guest.bt, tpc, &bs), 0);
	assert_int_equal(bs.gpc, CODE + 3);
	assert_int_equal(bs.spilled, 0);
	assert_int_equal(bt_find(guest.bt, CODE + 4, BT_MODE_LONG, &tpc),
			 -ENOENT);
	assert_int_equal(bt_find(guest.bt, CODE + 3, BT_MODE_STEP, &tpc),
			 -ENOENT);
}

static void test_modes_have_tus_of_their_own(void **state)
{
	struct bt_exit x;
	tpc_t step, tpc;

	put(0, 0, "\x90", 1);
	tpc = enter(CODE);
	assert_int_equal(bt_enter(guest.bt, CODE, BT_MODE_STEP, &step), 0);
	assert_int_not_equal(step, tpc);
	x = exit_of(step, BT_EXIT_STEP);
	assert_int_equal(x.gpc, CODE + 1);
	assert_int_equal(x.mode, BT_MODE_STEP);
}

static void test_no_tu_runs_past_a_stop(void **state)
{
	const gva_t stops[] = { CODE + 1, CODE + 3 };
	struct bt_exit x;
	tpc_t tpc;

	/* four times nop; ret */
	put(0, 0, "\x90\x90\x90\x90\xc3", 5);
	enter(CODE);
	assert_int_equal(bt_find(guest.bt, CODE + 1, BT_MODE_LONG, &tpc), 0);
	bt_set_stops(guest.bt, stops, 2);
	assert_int_equal(bt_find(guest.bt, CODE, BT_MODE_LONG, &tpc), -ENOENT);
	/* Up to the stop, and nothing of what is there. */
	tpc = enter(CODE);
	bt_exit_at(guest.bt, tpc + 1, &x);
	assert_int_equal(x.kind, BT_EXIT_IRQ);
	assert_int_equal(x.gpc, CODE + 1);
	bt_exit_at(guest.bt, enter(CODE + 1), &x);
	assert_int_equal(x.kind, BT_EXIT_IRQ);
	assert_int_equal(x.gpc, CODE + 1);
	/* A step goes past it. */
	assert_int_equal(bt_enter(guest.bt, CODE + 1, BT_MODE_STEP, &tpc), 0);
	assert_int_equal(exit_of(tpc, BT_EXIT_STEP).gpc, CODE + 2);
	/* Without the stop at 1 the code runs on to the one at 3. */
	bt_set_stops(guest.bt, stops + 1, 1);
	tpc = enter(CODE);
	bt_exit_at(guest.bt, tpc + 3, &x);
	assert_int_equal(x.kind, BT_EXIT_IRQ);
	assert_int_equal(x.gpc, CODE + 3);
	assert_int_equal(bt_find(guest.bt, CODE + 1, BT_MODE_LONG, &tpc), 0);
	bt_set_stops(guest.bt, stops, 0);
	enter(CODE);
	assert_int_equal(bt_find(guest.bt, CODE + 4, BT_MODE_LONG, &tpc), 0);
}

/* STI's shadow is not lost to a stop behind it. */
static void test_sti_before_a_stop_is_a_callout(void **state)
{
	const gva_t stop = CODE + 1;
	struct bt_exit x;

	put(0, 0, "\xfb\x90\xc3", 3);
	bt_set_stops(guest.bt, &stop, 1);
	bt_exit_at(guest.bt, enter(CODE), &x);
	assert_int_equal(x.kind, BT_EXIT_CALLOUT);
	assert_int_equal(x.gpc, CODE);
}

/* On AMD's processors 66h makes them another instruction, some of another length. */
static void test_narrow_branches_are_callouts_where_they_exist(void **state)
{
	static const struct {
		char bytes[8];
		u8 len; /* of the narrow one */
	} t[] = {
		{ "\x66\xe9\x10", 4 }, { "\x66\xe8\x10", 4 },
		{ "\x66\x0f\x84\x10", 5 }, { "\x66\xeb\x10", 3 },
		{ "\x66\x75\x10", 3 }, { "\x66\xe2\x10", 3 },
		{ "\x66\xc3", 2 }, { "\x66\xff\xe0", 3 },
		{ "\x66\xff\xd0", 3 },
	};
	struct bt_config cfg = guest.bt->cfg;
	struct bt_exit x;
	u32 i, n;

	for (i = 0; i < ARRAY_SIZE(t) * 2; i++) {
		n = i / 2;
		bt_destroy(guest.bt);
		cfg.amd_branches = i & 1;
		guest.bt = bt_create(&cfg, &guest_ops, &guest);
		put(0, 0, t[n].bytes, 8);
		bt_exit_at(guest.bt, enter(CODE), &x);
		assert_int_equal(x.kind == BT_EXIT_CALLOUT && x.gpc == CODE,
				 cfg.amd_branches);
		if (cfg.amd_branches)
			assert_int_equal(x.insn_len, t[n].len);
	}
	/* With REX.W it has no say. */
	put(0, 0x100, "\x66\x48\xe9\x10\0\0\0", 7);
	/* HLT is where the wide one goes. */
	bt_exit_at(guest.bt, enter(CODE + 0x100), &x);
	assert_int_equal(x.kind, BT_EXIT_CALLOUT);
	assert_int_equal(x.gpc, CODE + 0x117);
}

static void test_the_instruction_before_a_tpc(void **state)
{
	tpc_t tpc;
	gva_t gpc;

	/* push rax; nop; nop */
	put(0, 0, "\x50\x90\x90\xc3", 4);
	tpc = enter(CODE);
	assert_int_equal(bt_insn_before(guest.bt, tpc, &gpc), -ENOENT);
	assert_int_equal(bt_insn_before(guest.bt, tpc + 1, &gpc), 0);
	assert_int_equal(gpc, CODE);
	assert_int_equal(bt_insn_before(guest.bt, tpc + 2, &gpc), 0);
	assert_int_equal(gpc, CODE + 1);
	assert_int_equal(bt_insn_before(guest.bt, 0x1234, &gpc), -ENOENT);
}

/* --- page borders ------------------------------------------------------------------ */

static void test_a_tu_ends_before_an_instruction_that_crosses(void **state)
{
	struct bt_exit x;

	/* mov eax, imm32 at the last 2 bytes */
	put(0, 0xff8, "\x90\x90\x90\x90\x90\x90\xb8\x11", 8);
	put(1, 0, "\x22\x33\x44", 3);
	x = exit_of(enter(CODE + 0xff8), BT_EXIT_DIRECT);
	assert_int_equal(x.target, CODE + 0xffe);
	assert_false(bt_gfn_has_code(guest.bt, 1));
	enter(CODE + 0xffe);
	assert_true(bt_gfn_has_code(guest.bt, 1));
	/* Either page's change drops it; what follows it is another TU. */
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x1003, 1), 1);
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x1002, 1), 1);
	assert_false(bt_gfn_has_code(guest.bt, 1));
	enter(CODE + 0xffe);
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0xffe, 1), 1);
}

static void test_an_unfetchable_second_page_faults_only_when_needed(void **s)
{
	tpc_t tpc;

	put(0, 0xff8, "\x90\x90\x90\x90\x90\x90\xb8\x11", 8);
	guest.gfn_of[1] = GFN_NONE;
	enter(CODE + 0xff8);
	assert_int_equal(bt_enter(guest.bt, CODE + 0xffe, BT_MODE_LONG, &tpc),
			 -EFAULT);
	/* A whole instruction at the very end needs no second page. */
	put(0, 0xfff, "\xf4", 1);
	enter(CODE + 0xfff);
	assert_int_equal(bt_enter(guest.bt, CODE + 0x1000, BT_MODE_LONG, &tpc),
			 -EFAULT);
}

/* --- links ---------------------------------------------------------------------------- */

static void test_links_go_with_their_target(void **state)
{
	struct bt_exit x, again;
	tpc_t a, b;

	put(0, 0, "\xe9\xfb\x0f\x00\x00", 5); /* jmp CODE + 0x1000 */
	put(1, 0, "\xf4", 1);
	a = enter(CODE);
	x = exit_of(a, BT_EXIT_DIRECT);
	assert_int_equal(bt_chain(guest.bt, &x, &b), 0);
	assert_int_equal(b, enter(CODE + 0x1000));
	assert_int_equal(tc[a - WINDOW - WINDOW_TC_OFF], 0xe9);
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x1000, 1), 1);
	assert_int_equal(tc[a - WINDOW - WINDOW_TC_OFF], 0xcc);
	bt_exit_at(guest.bt, a, &again);
	assert_int_equal(again.kind, BT_EXIT_DIRECT);
	assert_int_equal(again.target, CODE + 0x1000);
	/* and where it was leads to a fresh one */
	bt_exit_at(guest.bt, b, &again);
	assert_int_equal(again.kind, BT_EXIT_DIRECT);
	assert_int_equal(again.target, CODE + 0x1000);
	assert_null(again.link);
	assert_int_equal(bt_chain(guest.bt, &again, &b), 0);
}

/* Nobody is in what dies, so only code that lives is stored to. */
static void test_the_dead_are_left_alone_when_nobody_is_inside(void **state)
{
	static u8 before[TC_SIZE];
	tpc_t a, b, c;
	u32 i, changed = 0;

	put(0, 0, "\xe9\xfb\x0f\x00\x00", 5); /* jmp CODE + 0x1000 */
	put(1, 0, "\xe9\xfb\x0f\x00\x00", 5); /* jmp CODE + 0x2000 */
	put(1, 0x10, "\xe9\xeb\xef\xff\xff", 5); /* jmp CODE */
	put(2, 0, "\xe9\x0b\xf0\xff\xff", 5); /* jmp CODE + 0x1010 */
	a = enter(CODE);
	b = enter(CODE + 0x1000);
	c = enter(CODE + 0x2000);
	enter(CODE + 0x1010);
	memcpy(before, tc, TC_SIZE);
	guest.vacant = true;
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x1000, 4096), 2);
	guest.vacant = false;
	assert_int_equal(tc[a - WINDOW - WINDOW_TC_OFF], 0xcc);
	assert_int_equal(tc[c - WINDOW - WINDOW_TC_OFF], 0xcc);
	for (i = 0; i < TC_SIZE; i++)
		changed += tc[i] != before[i];
	assert_int_equal(changed, 2);
	/* Whoever comes by the links finds fresh ones. */
	assert_true(enter(CODE + 0x1000) != b);
	assert_int_equal(tc[a - WINDOW - WINDOW_TC_OFF], 0xe9);
	assert_true(bt_audit(guest.bt));
}

static void test_a_stale_exit_is_not_patched(void **state)
{
	struct bt_exit x;
	tpc_t a, b;

	put(0, 0, "\xe9\xfb\x0f\x00\x00", 5);
	a = enter(CODE);
	x = exit_of(a, BT_EXIT_DIRECT);
	bt_invalidate_gpa(guest.bt, 0, 1);
	assert_int_equal(bt_chain(guest.bt, &x, &b), 0);
	assert_true(bt_audit(guest.bt));
	assert_int_equal(tc[a - WINDOW - WINDOW_TC_OFF], 0xcc);
	x.link = (void *)~0ul;
	assert_int_equal(bt_chain(guest.bt, &x, &b), 0);
	assert_true(bt_audit(guest.bt));
}

/* --- pads ----------------------------------------------------------------------- */

/* What is right in front of the code at gpc, which has been branched to. */
static const u8 *pad_end(gva_t gpc)
{
	tpc_t tpc;

	assert_int_equal(bt_indirect(guest.bt, gpc, BT_MODE_LONG, &tpc), 0);
	return &tc[enter(gpc) - WINDOW - WINDOW_TC_OFF] - 8;
}

static void test_a_pad_in_front_of_a_launch_leaves_rcx_spilled(void **state)
{
	static const u8 over_the_spill[] = { 0xeb, 14 };
	static const u8 reload[] = { 0x48, 0x8b, 0x0c, 0x25 };

	put(0, 0, "\xc3", 1); /* ret */
	put(0, 0x100, "\xff\xd0", 2); /* call rax */
	put(0, 0x200, "\x90\xc3", 2); /* nop; ret */
	/* call [rcx]; jmp rcx; call [rax + rcx * 8] */
	put(0, 0x300, "\xff\x11", 2);
	put(0, 0x400, "\xff\xe1", 2);
	put(0, 0x500, "\xff\x14\xc8", 3);
	assert_memory_equal(pad_end(CODE), over_the_spill, 2);
	assert_memory_equal(pad_end(CODE + 0x100), over_the_spill, 2);
	assert_memory_equal(pad_end(CODE + 0x200), reload, 4);
	assert_memory_equal(pad_end(CODE + 0x300), reload, 4);
	assert_memory_equal(pad_end(CODE + 0x400), reload, 4);
	assert_memory_equal(pad_end(CODE + 0x500), reload, 4);
	assert_true(bt_audit(guest.bt));
}

/* --- linking and translating ahead -------------------------------------------------- */

static bool is_linked(tpc_t tpc)
{
	return tc[tpc - WINDOW - WINDOW_TC_OFF] == 0xe9;
}

static void test_links_are_made_when_both_ends_exist(void **state)
{
	tpc_t a, b;

	/* Two jumps between pages, in either order. */
	put(0, 0, "\xe9\xfb\x0f\x00\x00", 5);
	put(2, 0, "\xe9\xfb\xef\xff\xff", 5);
	a = enter(CODE);
	assert_false(is_linked(a));
	enter(CODE + 0x1000);
	assert_true(is_linked(a));
	b = enter(CODE + 0x2000);
	assert_true(is_linked(b));
	assert_int_equal(bt_invalidate_gva(guest.bt, CODE + 0x1000), 1);
	assert_false(is_linked(a));
	assert_false(is_linked(b));
	enter(CODE + 0x1000);
	assert_true(is_linked(a));
	assert_true(is_linked(b));
}

static void test_links_lead_into_the_middle_of_a_tu(void **state)
{
	tpc_t a;

	put(0, 0, "\xe9\xfd\x0f\x00\x00", 5); /* jmp CODE + 0x1002 */
	put(1, 0, "\x90\x90\x90\xf4", 4);
	enter(CODE + 0x1000);
	a = enter(CODE);
	assert_true(is_linked(a));
	assert_int_equal(stats().tus_live, 2);
	assert_true(bt_audit(guest.bt));
	/* and find it when it comes later */
	bt_flush(guest.bt);
	a = enter(CODE);
	assert_false(is_linked(a));
	enter(CODE + 0x1000);
	assert_true(is_linked(a));
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x1000, 1), 1);
	assert_false(is_linked(a));
}

static void test_a_target_that_is_a_jump_itself_is_linked(void **state)
{
	tpc_t a;

	put(0, 0, "\xe9\xfb\x0f\x00\x00", 5);
	put(1, 0, "\xe9\xfb\x0f\x00\x00", 5);
	a = enter(CODE);
	enter(CODE + 0x1000);
	assert_true(is_linked(a));
}

static u64 table(gva_t gpc);

static void test_a_calls_return_is_translated_along_with_a_pad(void **state)
{
	tpc_t tpc;
	u32 fetches;

	put(0, 0x10, "\xe8\xeb\x0f\x00\x00\x90\xf4", 7); /* call 0x1000 */
	enter(CODE + 0x10);
	fetches = guest.fetches;
	assert_int_equal(bt_find(guest.bt, CODE + 0x15, BT_MODE_LONG, &tpc),
			 0);
	assert_int_not_equal(table(CODE + 0x15), table(CODE + 0x14));
	assert_int_equal(guest.fetches, fetches);
}

static void test_pages_without_code_are_not_fetched_ahead(void **state)
{
	put(0, 0, "\xe9\xfb\x0f\x00\x00", 5);
	enter(CODE);
	assert_int_equal(guest.traced[1], 0);
	/* With code there, they are. */
	enter(CODE + 0x1800);
	put(2, 0, "\xe9\xfb\xef\xff\xff", 5);
	enter(CODE + 0x2000);
	assert_int_equal(stats().tus_live, 4);
}

static u64 table(gva_t gpc)
{
	return ibl_tpc[gpc & 0xffff];
}

static void test_indirect_targets_of_one_index_chain(void **state)
{
	u64 none = table(CODE), first;
	tpc_t tpc;

	/* CODE and CODE + 64 KiB are pages of one 16-page distance. */
	assert_int_equal(bt_indirect(guest.bt, CODE, BT_MODE_LONG, &tpc), 0);
	first = table(CODE);
	assert_int_not_equal(first, none);
	assert_int_equal(bt_indirect(guest.bt, CODE + 0x10000, BT_MODE_LONG,
				     &tpc),
			 0);
	assert_int_not_equal(table(CODE), first);
	/* one that existed before gets a pad of its own */
	enter(CODE + 0x20000);
	assert_int_equal(bt_indirect(guest.bt, CODE + 0x20000, BT_MODE_LONG,
				     &tpc),
			 0);
	assert_int_equal(tpc, enter(CODE + 0x20000));
	assert_true(bt_audit(guest.bt));
	/* from the middle, then the head, then the last */
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x10000, 1), 1);
	assert_true(bt_audit(guest.bt));
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x20000, 1), 1);
	assert_int_equal(table(CODE), first);
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0, 1), 1);
	assert_int_equal(table(CODE), none);
}

/* --- changes ---------------------------------------------------------------------------- */

static void test_only_tus_that_cover_the_bytes_go(void **state)
{
	put(0, 0x100, "\x90\x90\xf4", 3);
	put(0, 0x180, "\x90\x90\xf4", 3);
	enter(CODE + 0x100);
	enter(CODE + 0x180);
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x103, 0x7d), 0);
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x0, 0x100), 0);
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x102, 0x7e), 1);
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x0, 0x1000), 1);
	assert_int_equal(stats().tus_live, 0);
}

static void test_aliases_of_a_frame_go_together(void **state)
{
	guest.gfn_of[7] = 3;
	put(3, 0, "\xf4", 1);
	enter(CODE + 0x3000);
	enter(CODE + 0x7000);
	assert_int_equal(bt_invalidate_gpa(guest.bt, 0x3000, 1), 2);
}

static void test_a_remapped_page_is_not_found_again(void **state)
{
	struct bt_exit x;

	put(3, 0, "\xf4", 1);
	put(64, 0, "\xfa\x0f\xa2", 3);
	enter(CODE + 0x3000);
	guest.gfn_of[3] = 64;
	assert_int_equal(bt_invalidate_gva(guest.bt, CODE + 0x3000), 1);
	x = exit_of(enter(CODE + 0x3000), BT_EXIT_CALLOUT);
	assert_int_equal(x.insn[1], 0xa2);
	assert_false(bt_gfn_has_code(guest.bt, 3));
	assert_int_equal(guest.traced[3], 0);
}

/* Belt and braces: the caller forgot to say that the page was remapped. */
static void test_fetching_another_frame_drops_the_old_ones_tus(void **state)
{
	enter(CODE + 0x3000);
	guest.gfn_of[3] = 64;
	enter(CODE + 0x3800);
	assert_false(bt_gfn_has_code(guest.bt, 3));
	assert_int_equal(stats().tus_live, 1);
}

static bool all_but_page_two(void *arg, gva_t page, gfn_t gfn)
{
	++*(u32 *)arg;
	assert_int_equal(gfn, (page - CODE) >> 12);
	return page != CODE + 0x2000;
}

static void test_revalidate_asks_once_per_page_and_drops_the_refused(void **s)
{
	u32 asked = 0;

	enter(CODE);
	enter(CODE + 0x800);
	enter(CODE + 0x2000);
	enter(CODE + 0x2800);
	enter(CODE + 0x4000);
	bt_revalidate(guest.bt, all_but_page_two, &asked);
	assert_int_equal(asked, 3);
	assert_int_equal(stats().tus_live, 3);
	assert_false(bt_gfn_has_code(guest.bt, 2));
}

static void test_ranges_and_top_slots(void **state)
{
	assert_int_equal(bt_top_slots(guest.bt)[7] >> 63, 0);
	enter(CODE);
	enter(CODE + 0x1000);
	enter(CODE + 0x2000);
	assert_int_equal(bt_top_slots(guest.bt)[7] >> 63, 1);
	assert_int_equal(bt_invalidate_gva_range(guest.bt, CODE + 0x1000,
						 CODE + 0x1fff),
			 1);
	assert_int_equal(bt_invalidate_gva_range(guest.bt,
						 0xffffff8000000000ull, ~0ull),
			 2);
	assert_int_equal(bt_top_slots(guest.bt)[7] >> 63, 0);
}

/* --- full --------------------------------------------------------------------------------- */

/* Short TUs everywhere, linked and padded, far more than fit. */
static void test_a_full_cache_evicts_and_stays_consistent(void **state)
{
	struct bt_config *cfg = &guest.bt->cfg;
	struct bt_exit x;
	u32 round, i;
	tpc_t tpc;

	cfg->audit = false;
	for (i = 0; i < PAGES; i++) {
		u32 k;

		for (k = 0; k + 8 <= POPF_PAGE_SIZE; k += 8)
			put(i, k, "\x9c\x0f\x84\x80\x00\x00\x00\xc3", 8);
	}
	for (round = 0; round < 12000; round++) {
		gva_t gpc = CODE + 8 * (round * 7919u % (PAGES * 500));

		if (round % 3 == 0)
			assert_int_equal(bt_indirect(guest.bt, gpc,
						     BT_MODE_LONG, &tpc),
					 0);
		tpc = enter(gpc);
		x = exit_of(tpc, BT_EXIT_DIRECT);
		if (x.target < CODE + PAGES * POPF_PAGE_SIZE)
			assert_int_equal(bt_chain(guest.bt, &x, &tpc), 0);
		if (round % 501 == 0)
			assert_true(bt_audit(guest.bt));
	}
	assert_true(stats().evictions >= 8);
	assert_true(stats().tc_used <= TC_SIZE);
	assert_true(bt_audit(guest.bt));
}

static void test_flush_empties_but_old_code_leads_out(void **state)
{
	struct bt_exit x;
	struct bt_state bs;
	tpc_t old = enter(CODE), tpc;

	assert_int_equal(bt_indirect(guest.bt, CODE + 64, BT_MODE_LONG, &tpc),
			 0);
	bt_flush(guest.bt);
	assert_int_equal(stats().tus_live, 0);
	assert_int_equal(bt_find(guest.bt, CODE, BT_MODE_LONG, &tpc), -ENOENT);
	bt_exit_at(guest.bt, old, &x);
	assert_int_equal(x.kind, BT_EXIT_DIRECT);
	assert_int_equal(x.target, CODE);
	assert_int_equal(bt_recover(guest.bt, old, &bs), 0);
	assert_int_equal(bs.gpc, CODE);
	assert_int_not_equal(enter(CODE), old);
	assert_int_equal(guest.traced[0], 1);
}

static const u8 *host(tpc_t tpc)
{
	return tc + (tpc - WINDOW - WINDOW_TC_OFF);
}

/* nop; nop; dec ecx; jnz back to it; hlt */
static const char loop[] = "\x90\x90\xff\xc9\x75\xfc\xf4";

static void test_a_short_loop_leads_out_once_its_tu_has_gone(void **state)
{
	struct bt_exit x;
	tpc_t tpc;

	put(0, 0, loop, sizeof(loop) - 1);
	tpc = enter(CODE);
	assert_memory_equal(host(tpc), loop, 6);
	bt_exit_at(guest.bt, tpc + 4, &x);
	assert_int_equal(x.kind, BT_EXIT_NONE);
	assert_int_equal(bt_invalidate_gpa(guest.bt, 6, 1), 1);
	assert_int_equal(*host(tpc + 4), 0xcc);
	bt_exit_at(guest.bt, tpc + 4, &x);
	assert_int_equal(x.kind, BT_EXIT_DIRECT);
	assert_int_equal(x.target, CODE + 4);
	assert_true(bt_audit(guest.bt));
}

static void test_short_loops_do_not_cross_lines(void **state)
{
	u32 i;
	tpc_t tpc;

	for (i = 0; i < 32; i++) {
		put(0, i * 8, loop, sizeof(loop) - 1);
		tpc = enter(CODE + i * 8) + 2;
		assert_int_equal(tpc / 64, (tpc + 3) / 64);
	}
	assert_true(bt_audit(guest.bt));
}

/* What is behind a jmp is part of the TU: found, and dropped with it. */
static void test_a_tu_goes_on_behind_a_jmp_on_its_page(void **state)
{
	tpc_t tpc;
	u32 from;

	for (from = 0x100; from < 0x700; from += 0x500) {
		bt_flush(guest.bt);
		put(0, from, from == 0x100 ? "\x90\xe9\xfa\x01\x00\x00" :
					     "\x90\xe9\xfa\xfc\xff\xff", 6);
		put(0, 0x300, "\x98\x99\xf4", 3);
		tpc = enter(CODE + from);
		assert_memory_equal(host(tpc), "\x90\x98\x99", 3);
		assert_int_equal(stats().tus_live, 1);
		assert_int_equal(bt_invalidate_gpa(guest.bt, 0x303, 8), from > 0x303);
		enter(CODE + from);
		assert_int_equal(bt_invalidate_gpa(guest.bt, 0x301, 1), 1);
		assert_int_equal(stats().tus_live, 0);
		assert_true(bt_audit(guest.bt));
	}
}

static void test_random_operations_on_random_code_stay_consistent(void **state)
{
	u32 i;

	guest.bt->cfg.audit = false;
	for (i = 0; i < PAGES * 2; i++)
		random_code(i);
	for (i = 0; i < 40000; i++) {
		random_operation();
		if (i % 100 == 0)
			assert_true(bt_audit(guest.bt));
	}
	assert_true(bt_audit(guest.bt));
	assert_true(stats().evictions > 5);
	assert_true(stats().chains > 10000);
}

/* --- untrusted tpcs ------------------------------------------------------------------------- */

static void test_any_tpc_gives_none_or_something_real(void **state)
{
	struct bt_exit x;
	struct bt_state bs;
	u64 tpc, r;
	u32 i, n = 0;

	put(0, 0, "\x9c\x9d\x0f\x01\xf8\xff\x13", 7);
	enter(CODE);
	bt_indirect(guest.bt, CODE + 1, BT_MODE_LONG, &tpc);
	for (i = 0; i < 200000; i++) {
		r = rng();
		tpc = r;
		if (i & 1)
			tpc = WINDOW + r % (WINDOW_TC_OFF + TC_SIZE + 4096);
		if (i & 2)
			tpc = WINDOW + WINDOW_TC_OFF + r % 4096;
		bt_exit_at(guest.bt, tpc, &x);
		n += x.kind != BT_EXIT_NONE;
		if (!bt_recover(guest.bt, tpc, &bs) && !bs.indirect)
			assert_true(bs.gpc - CODE < 0x1000);
	}
	assert_true(n > 0);
}

/* --- renewing ----------------------------------------------------------------- */

/* HLTs are TUs of their own; the last of their pages is dropped again. */
static void translate_and_drop(u32 pages)
{
	u32 page, i;

	for (page = 1; page <= pages; page++)
		for (i = 0; i < 500; i++)
			enter(CODE + page * POPF_PAGE_SIZE + i);
	for (page = 1; page <= pages; page++)
		bt_invalidate_gpa(guest.bt, page * POPF_PAGE_SIZE, POPF_PAGE_SIZE);
}

static void test_a_settled_guest_whose_code_was_dropped_is_renewed_once(void **state)
{
	struct bt_exit x;
	tpc_t kept;

	guest.bt->cfg.audit = false;
	kept = enter(CODE);
	translate_and_drop(3);
	assert_false(bt_renew(guest.bt)); /* much came since the last look */
	assert_false(bt_renew(guest.bt)); /* and 1,500 are not worth it */
	translate_and_drop(2);
	assert_false(bt_renew(guest.bt));
	enter(CODE + 10); /* one more is still settled */
	guest.vacant = true;
	assert_true(bt_renew(guest.bt));
	assert_null(guest.bt->unit[0].arena);
	bt_exit_at(guest.bt, kept, &x);
	assert_int_equal(x.kind, BT_EXIT_NONE);
	assert_true(bt_audit(guest.bt));
	assert_int_equal(stats().renewals, 1);
	assert_int_equal(stats().tus_live, 0);
	assert_int_equal(bt_find(guest.bt, CODE, BT_MODE_LONG, &kept), -ENOENT);
	/* What it drops does not count for the next. */
	enter(CODE);
	assert_false(bt_renew(guest.bt));
	assert_false(bt_renew(guest.bt));
	assert_int_equal(stats().tus_live, 1);
	assert_true(bt_audit(guest.bt));
}

static void ignore_tu(void *opaque, const struct bt_recorded_tu *tu)
{
}

static void ignore_dropped(void *opaque, enum bt_dropped why, u64 start, u64 len)
{
}

static void test_nothing_is_renewed_while_somebody_records(void **state)
{
	struct bt_recorder recorder = { .tu = ignore_tu,
					.dropped = ignore_dropped };

	guest.bt->cfg.audit = false;
	bt_set_recorder(guest.bt, &recorder);
	translate_and_drop(5);
	assert_false(bt_renew(guest.bt));
	/* Settled, and 2,500 would be worth it. */
	assert_false(bt_renew(guest.bt));
	bt_set_recorder(guest.bt, NULL);
	assert_true(bt_renew(guest.bt));
}

/* Has the return of the TU at tpc, a short one, an exit to learn from? */
static bool learns(tpc_t tpc)
{
	struct bt_exit x;
	u32 i;

	for (i = 0; i < 256; i++) {
		bt_exit_at(guest.bt, tpc + i, &x);
		if (x.kind == BT_EXIT_INDIRECT && x.link)
			return true;
	}
	return false;
}

static void test_returns_learn_after_a_renewal_and_not_before(void **state)
{
	guest.bt->cfg.audit = false;
	put(0, 0x10, "\xc3", 1);
	assert_false(learns(enter(CODE + 0x10)));
	translate_and_drop(5);
	assert_false(bt_renew(guest.bt));
	put(0, 0x20, "\xc3", 1);
	assert_false(learns(enter(CODE + 0x20)));
	assert_true(bt_renew(guest.bt));
	assert_true(learns(enter(CODE + 0x10)));
	assert_true(bt_audit(guest.bt));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bad_configurations_are_refused),
		TEST(test_failing_allocations_are_reported_and_leak_nothing),
		TEST(test_a_second_enter_finds_the_same_tu),
		TEST(test_find_reaches_boundaries_inside_a_tu),
		TEST(test_modes_have_tus_of_their_own),
		TEST(test_no_tu_runs_past_a_stop),
		TEST(test_sti_before_a_stop_is_a_callout),
		TEST(test_narrow_branches_are_callouts_where_they_exist),
		TEST(test_a_pad_in_front_of_a_launch_leaves_rcx_spilled),
		TEST(test_the_instruction_before_a_tpc),
		TEST(test_a_tu_ends_before_an_instruction_that_crosses),
		TEST(test_an_unfetchable_second_page_faults_only_when_needed),
		TEST(test_links_go_with_their_target),
		TEST(test_the_dead_are_left_alone_when_nobody_is_inside),
		TEST(test_a_stale_exit_is_not_patched),
		TEST(test_links_are_made_when_both_ends_exist),
		TEST(test_links_lead_into_the_middle_of_a_tu),
		TEST(test_a_target_that_is_a_jump_itself_is_linked),
		TEST(test_a_calls_return_is_translated_along_with_a_pad),
		TEST(test_pages_without_code_are_not_fetched_ahead),
		TEST(test_indirect_targets_of_one_index_chain),
		TEST(test_only_tus_that_cover_the_bytes_go),
		TEST(test_aliases_of_a_frame_go_together),
		TEST(test_a_remapped_page_is_not_found_again),
		TEST(test_fetching_another_frame_drops_the_old_ones_tus),
		TEST(test_revalidate_asks_once_per_page_and_drops_the_refused),
		TEST(test_ranges_and_top_slots),
		TEST(test_a_full_cache_evicts_and_stays_consistent),
		TEST(test_flush_empties_but_old_code_leads_out),
		TEST(test_a_short_loop_leads_out_once_its_tu_has_gone),
		TEST(test_short_loops_do_not_cross_lines),
		TEST(test_a_tu_goes_on_behind_a_jmp_on_its_page),
		TEST(test_random_operations_on_random_code_stay_consistent),
		TEST(test_any_tpc_gives_none_or_something_real),
		TEST(test_a_settled_guest_whose_code_was_dropped_is_renewed_once),
		TEST(test_nothing_is_renewed_while_somebody_records),
		TEST(test_returns_learn_after_a_renewal_and_not_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
