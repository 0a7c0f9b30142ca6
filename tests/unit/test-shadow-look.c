// SPDX-License-Identifier: GPL-2.0-only
/*
 * shadow_look(): it finds what the hardware's walker would let ring 3 do, at that
 * moment, and nothing of popf's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shadow_rig.h"

#define KGVA 0xffffffff81234000ull
#define LARGE_GVA 0x40200000ull
#define LARGE_BASE 0x400u

static const struct shadow_config base[] = {
	{ .host_levels = 4, .max_pages = 64, .audit = true },
	{ .host_levels = 5, .max_pages = 64, .audit = true },
};

static void each_depth(void (*test)(struct rig *r))
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(base); i++) {
		struct rig *r = rig_create(2048, &base[i]);

		rig_root(r, SHADOW_KERNEL);
		test(r);
		assert_true(shadow_audit(r->s));
		rig_destroy(r);
	}
}

static void *look(struct rig *r, gva_t gva, u32 len, bool write)
{
	return shadow_look(r->s, SHADOW_KERNEL, r->root[SHADOW_KERNEL], gva,
			   len, write);
}

static void use(struct rig *r, gva_t gva, u32 access)
{
	struct shadow_fault f;

	assert_int_equal(rig_access(r, SHADOW_KERNEL, gva, access, &f),
			 SHADOW_PF_FIXED);
}

static void bytes(struct rig *r)
{
	rig_map(r, KGVA, 101, P | W);
	assert_null(look(r, KGVA + 8, 8, false));
	use(r, KGVA, 0);
	assert_ptr_equal(look(r, KGVA + 8, 8, false),
			 gmem_array_at(r->vm, 101 << 12 | 8));
	assert_ptr_equal(look(r, KGVA + 0xff8, 8, false),
			 gmem_array_at(r->vm, 101 << 12 | 0xff8));
	assert_null(look(r, KGVA + 0xff9, 8, false));
}

static void test_mapped_bytes_of_one_page_are_found(void **state)
{
	each_depth(bytes);
}

static void rights(struct rig *r)
{
	rig_map(r, KGVA, 101, P | W);
	use(r, KGVA, 0);
	/* The guest's dirty bit is not set yet: hardware would fault. */
	assert_null(look(r, KGVA, 8, true));
	use(r, KGVA, PF_ERR_WRITE);
	assert_non_null(look(r, KGVA, 8, true));
	assert_int_equal(shadow_trace_add(r->s, 101, SHADOW_TRACE_TABLE), 0);
	assert_null(look(r, KGVA, 8, true));
	assert_non_null(look(r, KGVA, 8, false));
}

static void test_stores_need_a_writable_page_that_nobody_traces(void **state)
{
	each_depth(rights);
}

static void changes(struct rig *r)
{
	gpa_t gpte = rig_map(r, KGVA, 101, P | W);

	use(r, KGVA, PF_ERR_WRITE);
	rig_store(r, gpte, 102ull << 12 | P | W | A | D);
	assert_ptr_not_equal(look(r, KGVA, 8, false),
			     gmem_array_at(r->vm, 101 << 12));
	use(r, KGVA, PF_ERR_WRITE);
	assert_ptr_equal(look(r, KGVA, 8, true),
			 gmem_array_at(r->vm, 102 << 12));
	shadow_zap_gfns(r->s, 102, 1);
	assert_null(look(r, KGVA, 8, false));
}

static void test_what_the_guest_or_the_host_takes_away_is_not_found(void **state)
{
	each_depth(changes);
}

static void own(struct rig *r)
{
	u32 i;

	assert_null(look(r, RIG_REGION + 0x2000, 8, false));
	assert_null(look(r, RIG_REGION + 0x2000, 8, true));
	for (i = 0; i < RIG_PDES; i++)
		assert_null(look(r, RIG_WINDOW + ((u64)i << 21), 8, true));
	/* Not canonical: the index bits would be KGVA's. */
	rig_map(r, KGVA, 101, P | W);
	use(r, KGVA, 0);
	assert_null(look(r, KGVA & ~(1ull << 63), 8, false));
}

static void test_region_and_window_and_no_addresses_are_not_found(void **state)
{
	each_depth(own);
}

static void accessed(struct rig *r)
{
	rig_map(r, KGVA, 101, P | W);
	use(r, KGVA, 0);
	assert_true(shadow_age_gfns(r->s, 101, 1, true));
	assert_false(shadow_age_gfns(r->s, 101, 1, false));
	assert_non_null(look(r, KGVA, 8, false));
	assert_true(shadow_age_gfns(r->s, 101, 1, false));
}

static void test_a_look_counts_as_an_access(void **state)
{
	each_depth(accessed);
}

static void test_the_right_piece_of_a_large_page_is_found(void **state)
{
	struct shadow_config cfg = base[0];
	struct rig *r;

	cfg.large_pages = true;
	r = rig_create(2048, &cfg);
	r->vm->large = true;
	rig_root(r, SHADOW_KERNEL);
	rig_store(r, rig_gpte(r, LARGE_GVA, 2, P | W | U),
		  (u64)LARGE_BASE << 12 | PS | P | W | U);
	use(r, LARGE_GVA + 0x7000, PF_ERR_WRITE);
	assert_int_equal(rig_mmu(r, SHADOW_KERNEL, LARGE_GVA).level, 2);
	assert_ptr_equal(look(r, LARGE_GVA + 0x9010, 8, true),
			 gmem_array_at(r->vm, (LARGE_BASE + 9) << 12 | 0x10));
	rig_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mapped_bytes_of_one_page_are_found),
		cmocka_unit_test(
			test_stores_need_a_writable_page_that_nobody_traces),
		cmocka_unit_test(
			test_what_the_guest_or_the_host_takes_away_is_not_found),
		cmocka_unit_test(
			test_region_and_window_and_no_addresses_are_not_found),
		cmocka_unit_test(test_a_look_counts_as_an_access),
		cmocka_unit_test(test_the_right_piece_of_a_large_page_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
