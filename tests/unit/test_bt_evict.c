// SPDX-License-Identifier: GPL-2.0-only
/*
 * What goes when the translation cache is full: every policy, with units of every
 * size, leaves nothing behind that leads to what has gone; and each keeps what it
 * is there to keep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bt_guest.h"

/* A few pages that are wanted again and again, out of the scan's way. */
#define HOT_PAGE 60
#define HOT (CODE + HOT_PAGE * POPF_PAGE_SIZE)
/* HLTs are TUs of their own: this many fill the TC several times over. */
#define SCAN 60000u

static const char *const names[BT_EVICT_COUNT] = { "fifo", "flush", "clock",
						   "generational" };

static void recreate(enum bt_evict evict, u32 units)
{
	bt_destroy(guest.bt);
	guest.made = 0;
	guest.ahead = 0;
	memset(guest.gone, 0, sizeof(guest.gone));
	guest.bt = guest_create(evict, units);
	assert_non_null(guest.bt);
	guest.bt->cfg.audit = false;
}

static bool is_there(gva_t gpc)
{
	tpc_t tpc;

	return !bt_find(guest.bt, gpc, BT_MODE_LONG, &tpc);
}

/* Enter; was it there? */
static bool hit(gva_t gpc)
{
	u32 made = guest.made;

	enter(gpc);
	return guest.made == made;
}

static void counters_agree(void)
{
	struct bt_stats s = stats();

	assert_int_equal(guest.made + guest.ahead, s.tus_translated);
	assert_int_equal(guest.gone[BT_GONE_EVICTED], s.evicted_tus);
	assert_int_equal(guest.gone[BT_GONE_INVALIDATED], s.invalidated_tus);
	assert_int_equal(s.tus_live,
			 s.tus_translated - s.evicted_tus - s.invalidated_tus);
}

/* --- all of them -------------------------------------------------------------- */

static u32 random_load(enum bt_evict evict, u32 units)
{
	tpc_t tpc;
	u32 i;

	recreate(evict, units);
	for (i = 0; i < PAGES * 2; i++)
		random_code(i);
	for (i = 0; i < 8000; i++) {
		if (i % 8 == 0)
			random_operation();
		bt_enter(guest.bt, CODE + rng() % (PAGES * POPF_PAGE_SIZE),
			 BT_MODE_LONG, &tpc);
		if (i % 50 == 0 && !bt_audit(guest.bt))
			fail_msg("%s with %u units", names[evict], units);
	}
	assert_true(bt_audit(guest.bt));
	counters_agree();
	return (u32)stats().evictions;
}

static void test_random_load_leaves_no_stale_link(void **state)
{
	static const u32 units[] = { 4, 8, 16 };
	u32 evict, i, n;

	for (evict = 0; evict < BT_EVICT_COUNT; evict++) {
		for (n = i = 0; i < ARRAY_SIZE(units); i++)
			n += random_load(evict, units[i]);
		if (n < 10)
			fail_msg("%s: %u evictions", names[evict], n);
	}
}

/* However much is translated ahead, what was asked for is there afterwards. */
static void test_what_was_asked_for_is_there(void **state)
{
	u32 evict, i;
	tpc_t tpc, again;
	gva_t gpc;

	for (i = 0; i < PAGES; i++)
		random_code(i);
	for (evict = 0; evict < BT_EVICT_COUNT; evict++) {
		recreate(evict, 4);
		for (i = 0; i < 8000; i++) {
			gpc = CODE + rng() % (PAGES * POPF_PAGE_SIZE);
			if (i % 4 ? bt_enter(guest.bt, gpc, BT_MODE_LONG, &tpc) :
				    bt_indirect(guest.bt, gpc, BT_MODE_LONG,
						&tpc))
				continue;
			assert_int_equal(bt_find(guest.bt, gpc, BT_MODE_LONG,
						 &again),
					 0);
			if (again != tpc)
				fail_msg("%s loses it", names[evict]);
		}
		assert_true(stats().evictions > 4);
		assert_true(bt_audit(guest.bt));
	}
}

static void test_bad_policies_are_refused(void **state)
{
	assert_null(guest_create(BT_EVICT_COUNT, 0));
	assert_null(guest_create(BT_EVICT_FIFO, 3));
	assert_null(guest_create(BT_EVICT_FIFO, 17));
}

static void test_failing_allocations_leak_nothing(void **state)
{
	struct bt *old = guest.bt;
	u32 n;

	for (n = 1; n <= 5; n++) {
		env_fail_alloc = n;
		assert_null(guest_create(BT_EVICT_GENERATIONAL, 0));
	}
	env_fail_alloc = 0;
	guest.bt = old;
}

/* --- each of them -------------------------------------------------------------- */

/* TUs in order until something goes; how many that were. */
static u32 fill(void)
{
	u32 i;

	for (i = 0; !guest.gone[BT_GONE_EVICTED]; i++)
		enter(CODE + i);
	return i;
}

static void test_fifo_drops_the_oldest_unit_only(void **state)
{
	u32 n;

	recreate(BT_EVICT_FIFO, 8);
	n = fill();
	assert_false(is_there(CODE));
	assert_true(is_there(CODE + n / 2));
	assert_true(stats().tus_live > n * 3 / 4);
}

static void test_flush_drops_everything_but_the_newest(void **state)
{
	u32 n;

	recreate(BT_EVICT_FLUSH, 8);
	n = fill();
	assert_int_equal(stats().tus_live, 1);
	assert_true(is_there(CODE + n - 1));
}

/* A hundred hot TUs amid a scan of cold ones: how often they have to come back. */
static u32 hot_misses(enum bt_evict evict, u32 units)
{
	u32 i, misses = 0;

	recreate(evict, units);
	for (i = 0; i < SCAN; i++) {
		enter(CODE + i);
		if (i % 4 == 0)
			misses += !hit(HOT + i / 4 % 100);
	}
	assert_true(bt_audit(guest.bt));
	return misses;
}

static void test_clock_and_generational_keep_what_is_hot(void **state)
{
	u32 fifo = hot_misses(BT_EVICT_FIFO, 16);
	u32 clock = hot_misses(BT_EVICT_CLOCK, 16);
	u32 generational = hot_misses(BT_EVICT_GENERATIONAL, 16);

	assert_true(fifo >= 800);
	if (clock > fifo * 2 / 3)
		fail_msg("clock %u, fifo %u", clock, fifo);
	if (generational > fifo / 3)
		fail_msg("generational %u, fifo %u", generational, fifo);
}

/* Watching cuts links; who comes meanwhile is linked again. */
static void test_a_watched_unit_is_linked_again_when_wanted(void **state)
{
	const gva_t jump = HOT, target = HOT + POPF_PAGE_SIZE;
	struct bt_exit x;
	u32 i, cut = 0;
	tpc_t tpc, to;

	/* Between them lies a unit's worth: the target's goes first. */
	put(HOT_PAGE, 0, "\xe9\xfb\x0f\x00\x00", 5);
	recreate(BT_EVICT_CLOCK, 4);
	enter(target);
	for (i = 0; guest.bt->open[GEN_NEW] == &guest.bt->unit[0]; i++)
		enter(CODE + i);
	tpc = enter(jump);
	assert_int_equal(tc[tpc - WINDOW - WINDOW_TC_OFF], 0xe9);
	for (; !guest.gone[BT_GONE_EVICTED]; i++) {
		enter(CODE + i);
		if (tc[tpc - WINDOW - WINDOW_TC_OFF] == 0xe9 ||
		    guest.gone[BT_GONE_EVICTED])
			continue;
		cut++;
		bt_exit_at(guest.bt, tpc, &x);
		assert_int_equal(x.kind, BT_EXIT_DIRECT);
		assert_int_equal(x.target, target);
		assert_true(bt_audit(guest.bt));
		assert_int_equal(bt_chain(guest.bt, &x, &to), 0);
		assert_int_equal(tc[tpc - WINDOW - WINDOW_TC_OFF], 0xe9);
	}
	assert_int_equal(cut, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_random_load_leaves_no_stale_link),
		TEST(test_what_was_asked_for_is_there),
		TEST(test_bad_policies_are_refused),
		TEST(test_failing_allocations_leak_nothing),
		TEST(test_fifo_drops_the_oldest_unit_only),
		TEST(test_flush_drops_everything_but_the_newest),
		TEST(test_clock_and_generational_keep_what_is_hot),
		TEST(test_a_watched_unit_is_linked_again_when_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
