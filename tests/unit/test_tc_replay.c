// SPDX-License-Identifier: GPL-2.0-only
/*
 * The figures of `make bench BENCH=tc`: a recorded kernel followed through small and
 * large caches with every policy. The counts agree with each other and with the
 * cache's own, and the cache is consistent afterwards (tc_replay() audits it).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/bench/tc_replay.h"

#define STREAM "tests/stream/fork-exec.stream"
#define ENTRIES 40000

static struct tc_stream stream;

static int setup(void **state)
{
	tc_stream_read(&stream, STREAM, ENTRIES);
	return 0;
}

static int teardown(void **state)
{
	tc_stream_free(&stream);
	return 0;
}

static u64 misses(const struct tc_counts *n)
{
	return n->direct_misses + n->ibl_misses + n->dispatch_misses;
}

static u64 causes(const struct tc_counts *n)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < MISSES; i++)
		sum += n->misses[i];
	return sum;
}

static void counts_agree(const struct tc_counts *n)
{
	assert_int_equal(misses(n), causes(n));
	/* resyncs are translated for, too, but not counted. */
	assert_in_range(n->bt.tus_translated - n->ahead - misses(n), 0,
			n->resyncs);
	assert_int_equal(n->return_hits + n->jump_hits, n->ibl_hits);
	assert_true(n->return_first <= n->return_hits);
	assert_int_equal(n->unknown, 0);
	/* Nearly every entry can be followed. */
	assert_true(n->odd < stream.n_entries / 200);
}

static void test_counts_agree_with_every_policy(void **state)
{
	struct tc_config cfg = { .size = 256u << 10 };
	struct tc_counts n[2];

	for (cfg.evict = 0; cfg.evict < BT_EVICT_COUNT; cfg.evict++) {
		tc_replay(&stream, &cfg, 2, n);
		counts_agree(&n[0]);
		counts_agree(&n[1]);
		assert_true(n[0].misses[MISS_COLD] > 500);
		assert_true(n[1].misses[MISS_COLD] < n[0].misses[MISS_COLD] / 50);
		assert_true(n[0].misses[MISS_EVICTED] > 0);
	}
}

static void test_a_large_cache_evicts_nothing_and_is_warm_at_once(void **state)
{
	struct tc_config cfg = { .size = 16u << 20 };
	struct tc_counts n[2];

	tc_replay(&stream, &cfg, 2, n);
	counts_agree(&n[0]);
	assert_int_equal(n[0].misses[MISS_EVICTED], 0);
	assert_int_equal(n[0].bt.evictions, 0);
	/* The guest has not changed its code here: all is there. */
	assert_true(misses(&n[1]) < misses(&n[0]) / 100);
}

static void test_classes_weigh_all_bytes(void **state)
{
	struct tc_classes classes;
	struct tc_config cfg = { .size = 16u << 20, .classes = &classes };
	struct tc_counts n;
	u64 host = 0, insns = 0, guest = 0;
	u32 i;

	tc_classes_init(&classes);
	tc_replay(&stream, &cfg, 1, &n);
	for (i = 0; i < classes.n; i++) {
		host += classes.list[i].host_bytes;
		guest += classes.list[i].guest_bytes;
		insns += classes.list[i].insns;
	}
	assert_int_equal(host, n.bt.host_bytes);
	assert_int_equal(insns, n.bt.guest_insns);
	assert_int_equal(guest, n.bt.guest_bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts_agree_with_every_policy),
		cmocka_unit_test(
			test_a_large_cache_evicts_nothing_and_is_warm_at_once),
		cmocka_unit_test(test_classes_weigh_all_bytes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
