// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables out of sync, one claim per test: the guest stores to them unseen, and
 * what it flushes is brought up to date.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shadow_rig.h"

#define ALL (P | W | U | A | D)
#define GVA 0x7f1234560000ull
#define KGVA 0xffffffff81234000ull

static const struct shadow_config unsync = {
	.host_levels = 4, .max_pages = 256, .audit = true, .unsync = true
};
static const struct shadow_config unsync5 = {
	.host_levels = 5, .max_pages = 256, .audit = true, .unsync = true
};

static void each_depth(void (*test)(struct rig *r))
{
	const struct shadow_config *cfg[] = { &unsync, &unsync5 };
	u32 i;

	for (i = 0; i < 2; i++) {
		struct rig *r = rig_create(1024, cfg[i]);

		test(r);
		assert_true(shadow_audit(r->s));
		rig_destroy(r);
	}
}

static void assert_maps(struct rig *r, enum shadow_view view, gva_t gva,
			u32 access, gfn_t gfn)
{
	struct shadow_fault f;
	struct mmu x;

	assert_int_equal(rig_access(r, view, gva, access, &f),
			 SHADOW_PF_FIXED);
	x = rig_mmu(r, view, gva);
	assert_ptr_equal((void *)x.hpa, gmem_array_at(r->vm, gfn << 12));
}

/* What the guest does natively; only tables that are not traced allow it. */
static void store(struct rig *r, gpa_t gpa, u64 value)
{
	assert_int_equal(shadow_trace_get(r->s, gpa >> 12), 0);
	*gmem_array_u64(r->vm, gpa) = value;
}

static bool present(struct rig *r, gva_t gva)
{
	rig_root(r, SHADOW_USER);
	return rig_mmu(r, SHADOW_USER, gva).present;
}

static void invlpg_one(struct rig *r)
{
	gpa_t gpte = rig_map(r, GVA, 100, ALL);

	rig_map(r, GVA + 0x1000, 101, ALL);
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER | PF_ERR_WRITE, 100);
	assert_maps(r, SHADOW_USER, GVA + 0x1000, PF_ERR_USER, 101);
	store(r, gpte, 102ull << 12 | ALL);
	store(r, gpte + 8, 0);
	shadow_invlpg(r->s, &r->m, GVA);
	assert_false(present(r, GVA));
	assert_true(present(r, GVA + 0x1000));
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER | PF_ERR_WRITE, 102);
	shadow_sync(r->s);
	assert_false(present(r, GVA + 0x1000));
}

static void test_invlpg_takes_away_one_page_and_a_flush_all(void **state)
{
	each_depth(invlpg_one);
}

static void rights(struct rig *r)
{
	gpa_t gpte = rig_map(r, GVA, 100, ALL);
	struct mmu x;

	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER | PF_ERR_WRITE, 100);
	store(r, gpte, 100ull << 12 | P | U | A | D | NX);
	shadow_sync(r->s);
	x = rig_mmu(r, SHADOW_USER, GVA);
	assert_true(x.present && !x.write && !x.exec);
	/* More rights need no flush. */
	store(r, gpte, 100ull << 12 | ALL);
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER | PF_ERR_WRITE, 100);
}

static void test_rights_are_taken_in_place_and_come_with_a_fault(void **state)
{
	each_depth(rights);
}

static void clean(struct rig *r)
{
	gpa_t gpte = rig_map(r, GVA, 100, ALL);

	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER | PF_ERR_WRITE, 100);
	store(r, gpte, 100ull << 12 | (ALL & ~D));
	shadow_invlpg(r->s, &r->m, GVA);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).write);
	store(r, gpte, 100ull << 12 | (ALL & ~A));
	shadow_sync(r->s);
	assert_false(present(r, GVA));
}

static void test_lost_accessed_and_dirty_bits_are_seen_at_a_flush(void **state)
{
	each_depth(clean);
}

static void upper(struct rig *r)
{
	int level;

	for (level = 2; level <= 3; level++) {
		gpa_t gpa;
		u64 entry;

		rig_map(r, GVA, 100, ALL);
		assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER | PF_ERR_WRITE,
			    100);
		gpa = rig_gpte(r, GVA, level, 0);
		entry = *gmem_array_u64(r->vm, gpa);
		store(r, gpa, entry & ~W);
		shadow_invlpg(r->s, &r->m, GVA);
		assert_false(present(r, GVA));
		assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER, 100);
		assert_false(rig_mmu(r, SHADOW_USER, GVA).write);
		store(r, gpa, 0);
		shadow_sync(r->s);
		assert_false(present(r, GVA));
	}
}

static void test_upper_tables_may_be_out_of_sync(void **state)
{
	each_depth(upper);
}

static void idle(struct rig *r)
{
	gpa_t gpte = rig_map(r, GVA, 100, ALL);
	u32 i;

	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER, 100);
	for (i = 0; i < 4; i++) {
		assert_int_equal(shadow_trace_get(r->s, gpte >> 12), 0);
		shadow_sync(r->s);
	}
	assert_int_equal(shadow_trace_get(r->s, gpte >> 12), SHADOW_TRACE_PT);
	assert_true(present(r, GVA));
	/* Now seen at once. */
	rig_store(r, gpte, 0);
	assert_false(present(r, GVA));
}

static void test_a_table_without_stores_is_traced_again(void **state)
{
	each_depth(idle);
}

static void kernel_table(struct rig *r)
{
	gpa_t gpte = rig_map(r, KGVA, 100, P | W | A | D);
	struct shadow_fault f;

	/* The table itself is mapped at GVA, as kernels do. */
	rig_map(r, GVA, gpte >> 12, ALL);
	assert_maps(r, SHADOW_KERNEL, KGVA, PF_ERR_WRITE, 100);
	assert_int_equal(shadow_trace_get(r->s, gpte >> 12), SHADOW_TRACE_PT);
	assert_int_equal(rig_fault(r, SHADOW_KERNEL, GVA, PF_ERR_WRITE, &f),
			 SHADOW_PF_FIXED);
	store(r, gpte, 0);
	shadow_sync(r->s);
	assert_false(rig_mmu(r, SHADOW_KERNEL, KGVA).present);
}

static void test_the_first_store_to_a_traced_table_makes_it_out_of_sync(
	void **state)
{
	each_depth(kernel_table);
}

static void code(struct rig *r)
{
	gpa_t gpte = rig_map(r, KGVA, 100, P | W | A | D);
	gpa_t low = rig_map(r, GVA, gpte >> 12, ALL);
	struct shadow_fault f;
	gfn_t gfn;

	assert_int_equal(shadow_trace_code(r->s, &r->m, KGVA, &gfn, &f), 0);
	assert_int_equal(rig_access(r, SHADOW_KERNEL, GVA, PF_ERR_WRITE, &f),
			 SHADOW_PF_TRACE);
	/* And one that is out of sync gets traced. */
	assert_int_equal(shadow_trace_get(r->s, low >> 12), 0);
	rig_map(r, GVA + 0x1000, 101, ALL);
	assert_int_equal(shadow_trace_code(r->s, &r->m, GVA + 0x1000, &gfn,
					   &f),
			 0);
	assert_int_equal(shadow_trace_get(r->s, low >> 12), SHADOW_TRACE_PT);
	rig_store(r, low + 8, 0);
	assert_int_equal(r->code_calls, 1);
	assert_int_equal(r->code_gfn, 101);
}

static void test_tables_on_the_way_to_code_are_never_out_of_sync(void **state)
{
	each_depth(code);
}

static void replaced(struct rig *r)
{
	gpa_t gpte = rig_map(r, GVA, 100, ALL);

	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER, 100);
	r->vm->seq++;
	shadow_zap_gfns(r->s, gpte >> 12, 1);
	assert_false(present(r, GVA));
	assert_int_equal(r->gone, 1);
}

static void test_a_table_whose_memory_was_replaced_is_emptied(void **state)
{
	each_depth(replaced);
}

static void many(struct rig *r)
{
	struct shadow_fault f;
	u32 i, traced = 0;

	for (i = 0; i < 100; i++) {
		rig_map(r, GVA + ((u64)i << 21), 900, ALL);
		assert_int_equal(rig_access(r, SHADOW_USER,
					    GVA + ((u64)i << 21), PF_ERR_USER,
					    &f),
				 SHADOW_PF_FIXED);
		traced += !!shadow_trace_get(
			r->s, rig_gpte(r, GVA + ((u64)i << 21), 1, 0) >> 12);
	}
	assert_in_range(traced, 30, 60);
}

static void test_only_so_many_tables_are_out_of_sync(void **state)
{
	each_depth(many);
}

/* As a kernel does that patches itself: one address, a page after the other. */
static void patching(struct rig *r)
{
	gpa_t gpte = rig_map(r, GVA, 100, P | W | A | D);
	u32 i;

	assert_maps(r, SHADOW_KERNEL, GVA, PF_ERR_WRITE, 100);
	for (i = 101; i < 110; i++) {
		store(r, gpte, 0);
		shadow_sync(r->s);
		rig_root(r, SHADOW_KERNEL);
		assert_false(rig_mmu(r, SHADOW_KERNEL, GVA).present);
		store(r, gpte, (u64)i << 12 | P | W | A | D);
		shadow_sync(r->s);
		assert_ptr_equal((void *)rig_mmu(r, SHADOW_KERNEL, GVA).hpa,
				 gmem_array_at(r->vm, (u64)i << 12));
		assert_true(rig_mmu(r, SHADOW_KERNEL, GVA).write);
	}
	/* What the guest has not accessed must fault, to set the bit. */
	store(r, gpte, 0);
	shadow_sync(r->s);
	store(r, gpte, 120ull << 12 | P | W);
	shadow_sync(r->s);
	assert_false(rig_mmu(r, SHADOW_KERNEL, GVA).present);
	/* Nothing is expected of a table whose page has gone. */
	shadow_zap_all(r->s);
	store(r, gpte, 121ull << 12 | P | W | A | D);
	shadow_sync(r->s);
	assert_maps(r, SHADOW_KERNEL, GVA, PF_ERR_WRITE, 121);
}

static void test_a_page_mapped_where_the_last_fault_was_needs_none(void **state)
{
	struct shadow_config cfg = unsync;
	struct rig *r;
	u32 levels;

	for (levels = 4; levels <= 5; levels++) {
		cfg.host_levels = levels;
		cfg.prefault = true;
		r = rig_create(1024, &cfg);
		patching(r);
		assert_true(shadow_audit(r->s));
		rig_destroy(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_invlpg_takes_away_one_page_and_a_flush_all),
		cmocka_unit_test(
			test_rights_are_taken_in_place_and_come_with_a_fault),
		cmocka_unit_test(
			test_lost_accessed_and_dirty_bits_are_seen_at_a_flush),
		cmocka_unit_test(test_upper_tables_may_be_out_of_sync),
		cmocka_unit_test(test_a_table_without_stores_is_traced_again),
		cmocka_unit_test(
			test_the_first_store_to_a_traced_table_makes_it_out_of_sync),
		cmocka_unit_test(
			test_tables_on_the_way_to_code_are_never_out_of_sync),
		cmocka_unit_test(
			test_a_table_whose_memory_was_replaced_is_emptied),
		cmocka_unit_test(test_only_so_many_tables_are_out_of_sync),
		cmocka_unit_test(
			test_a_page_mapped_where_the_last_fault_was_needs_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
