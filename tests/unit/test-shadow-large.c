// SPDX-License-Identifier: GPL-2.0-only
/*
 * Large pages: kept where both sides allow, split where a piece of them is
 * special, and never wider than what the guest and the host grant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shadow_rig.h"

#define ALL (P | W | U | A | D)
#define GVA 0x40200000ull
#define BASE 0x400u /* frame, 2 MiB aligned */
#define HUGE_GVA 0x8000000000ull

static const struct shadow_config on = {
	.host_levels = 4, .max_pages = 64, .audit = true, .large_pages = true
};
static const struct shadow_config off = { .host_levels = 4,
					  .max_pages = 64,
					  .audit = true };

static struct rig *rig(const struct shadow_config *cfg)
{
	struct rig *r = rig_create(2048, cfg);

	r->vm->large = true;
	return r;
}

static gpa_t map_2m(struct rig *r, u64 bits)
{
	gpa_t pde = rig_gpte(r, GVA, 2, P | W | U);

	rig_store(r, pde, (u64)BASE << 12 | PS | bits);
	return pde;
}

static struct mmu reach(struct rig *r, gva_t gva, u32 access, gfn_t gfn)
{
	struct shadow_fault f;
	struct mmu x;

	assert_int_equal(rig_access(r, SHADOW_USER, gva, PF_ERR_USER | access,
				    &f),
			 SHADOW_PF_FIXED);
	x = rig_mmu(r, SHADOW_USER, gva);
	assert_ptr_equal((void *)x.hpa,
			 gmem_array_at(r->vm, gfn << 12 | (gva & 0xfff)));
	return x;
}

static void test_a_large_gpte_on_a_large_host_page_is_one_spte(void **state)
{
	struct rig *r = rig(&on);
	gpa_t pde = map_2m(r, P | W | U);
	struct shadow_stats st;

	assert_int_equal(reach(r, GVA, 0, BASE).level, 2);
	assert_false(reach(r, GVA, 0, BASE).write);
	assert_int_equal(*gmem_array_u64(r->vm, pde) & (A | D), A);
	assert_int_equal(reach(r, GVA + 0x1ff000, PF_ERR_WRITE, BASE + 511)
				 .level,
			 2);
	assert_true(reach(r, GVA, 0, BASE).write);
	assert_true(r->vm->flags[BASE] & GMEM_DIRTY);
	assert_true(r->vm->flags[BASE + 300] & GMEM_DIRTY);
	shadow_get_stats(r->s, &st);
	assert_int_equal(st.sptes_2m, 1);
	assert_int_equal(st.sptes_4k, 0);
	rig_store(r, pde, (u64)BASE << 12 | PS | P | W | U | A);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).present);
	rig_destroy(r);
}

static void assert_small(struct rig *r)
{
	map_2m(r, ALL);
	assert_int_equal(reach(r, GVA + 0x5000, PF_ERR_WRITE, BASE + 5).level,
			 1);
	assert_int_equal(reach(r, GVA + 0x1ff000, 0, BASE + 511).level, 1);
	assert_false(rig_mmu(r, SHADOW_USER, GVA + 0x6000).present);
	rig_destroy(r);
}

static void test_it_is_split_when_switched_off(void **state)
{
	assert_small(rig(&off));
}

static void test_it_is_split_when_the_host_has_small_pages(void **state)
{
	struct rig *r = rig(&on);

	r->vm->large = false;
	assert_small(r);
}

static void test_it_is_split_when_a_frame_in_it_is_traced(void **state)
{
	struct rig *r = rig(&on);

	assert_int_equal(shadow_trace_add(r->s, BASE + 7, SHADOW_TRACE_CODE),
			 0);
	assert_small(r);
}

static void test_it_is_split_when_frames_and_host_pages_are_out_of_step(
	void **state)
{
	struct rig *r = rig(&on);
	struct shadow_fault f;
	struct mmu x;

	r->vm->skew = 1;
	map_2m(r, ALL);
	assert_int_equal(rig_access(r, SHADOW_USER, GVA + 0x5000, PF_ERR_USER,
				    &f),
			 SHADOW_PF_FIXED);
	x = rig_mmu(r, SHADOW_USER, GVA + 0x5000);
	assert_int_equal(x.level, 1);
	assert_ptr_equal((void *)x.hpa,
			 gmem_array_at(r->vm, (BASE + 6) << 12));
	rig_destroy(r);
}

static void test_a_trace_inside_takes_the_large_spte_apart(void **state)
{
	struct rig *r = rig(&on);
	struct shadow_fault f;

	map_2m(r, ALL);
	reach(r, GVA, PF_ERR_WRITE, BASE);
	r->kicks = 0;
	assert_int_equal(shadow_trace_add(r->s, BASE + 7, SHADOW_TRACE_TABLE),
			 0);
	assert_true(r->kicks);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).present);
	assert_int_equal(reach(r, GVA + 0x8000, PF_ERR_WRITE, BASE + 8).level,
			 1);
	assert_int_equal(rig_access(r, SHADOW_USER, GVA + 0x7000,
				    PF_ERR_USER | PF_ERR_WRITE, &f),
			 SHADOW_PF_TRACE);
	assert_false(reach(r, GVA + 0x7000, 0, BASE + 7).write);
	/* A page table inside its own large mapping. */
	rig_map(r, 0x10000000, BASE + 1, ALL);
	assert_true(shadow_audit(r->s));
	rig_destroy(r);
}

static void test_host_side_changes_reach_large_sptes(void **state)
{
	struct rig *r = rig(&on);
	gpa_t pde = map_2m(r, ALL);

	reach(r, GVA, PF_ERR_WRITE, BASE);
	assert_true(shadow_age_gfns(r->s, BASE + 100, 1, true));
	assert_false(shadow_age_gfns(r->s, BASE + 200, 1, true));
	shadow_zap_gfns(r->s, BASE + 100, 1);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).present);
	assert_int_equal(reach(r, GVA, PF_ERR_WRITE, BASE).level, 2);
	shadow_zap_gfns(r->s, BASE - 600, 600);
	assert_true(rig_mmu(r, SHADOW_USER, GVA).present);
	/* Write logging works on single frames from now on. */
	shadow_protect_gfns(r->s, BASE + 3, 1);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).present);
	assert_int_equal(reach(r, GVA, PF_ERR_WRITE, BASE).level, 1);
	assert_false(rig_mmu(r, SHADOW_USER, GVA + 0x3000).present);
	rig_store(r, pde, 0);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).present);
	rig_destroy(r);
}

static void test_dirty_and_write_bits_of_a_split_page_are_the_large_gptes(
	void **state)
{
	struct rig *r = rig(&off);
	gpa_t pde = map_2m(r, P | W | U);
	struct shadow_fault f;

	assert_false(reach(r, GVA + 0x1000, 0, BASE + 1).write);
	assert_false(reach(r, GVA + 0x2000, 0, BASE + 2).write);
	assert_true(reach(r, GVA + 0x1000, PF_ERR_WRITE, BASE + 1).write);
	assert_int_equal(*gmem_array_u64(r->vm, pde) & D, D);
	assert_true(reach(r, GVA + 0x2000, 0, BASE + 2).write);
	rig_store(r, pde, (u64)BASE << 12 | PS | P | U | A | D);
	assert_int_equal(rig_access(r, SHADOW_USER, GVA + 0x2000,
				    PF_ERR_USER | PF_ERR_WRITE, &f),
			 SHADOW_PF_GUEST);
	assert_false(reach(r, GVA + 0x2000, 0, BASE + 2).write);
	rig_store(r, pde, (u64)BASE << 12 | PS | P | U | A | D | NX);
	assert_int_equal(rig_access(r, SHADOW_USER, GVA + 0x2000,
				    PF_ERR_USER | PF_ERR_FETCH, &f),
			 SHADOW_PF_GUEST);
	assert_false(reach(r, GVA + 0x2000, 0, BASE + 2).exec);
	rig_destroy(r);
}

static void test_a_1g_gpte_is_split_into_2m_and_4k(void **state)
{
	struct rig *r = rig(&on);
	gpa_t pdpte = rig_gpte(r, HUGE_GVA, 3, P | W | U);
	struct shadow_fault f;

	rig_store(r, pdpte, ALL | PS);
	assert_int_equal(reach(r, HUGE_GVA + (BASE << 12), PF_ERR_WRITE, BASE)
				 .level,
			 2);
	/* The first 2 MiB has the guest's page tables. */
	assert_int_equal(reach(r, HUGE_GVA + 0x1ff000, PF_ERR_WRITE, 511).level,
			 1);
	assert_int_equal(rig_access(r, SHADOW_USER, HUGE_GVA + (pdpte & ~7ull),
				    PF_ERR_USER | PF_ERR_WRITE, &f),
			 SHADOW_PF_TRACE);
	assert_int_equal(f.gpa, pdpte);
	rig_store(r, pdpte, 0);
	assert_false(rig_mmu(r, SHADOW_USER, HUGE_GVA + 0x1ff000).present);
	rig_destroy(r);
}

static void test_a_1g_gpte_over_the_window_leaves_the_window_in_place(
	void **state)
{
	gva_t inside = RIG_WINDOW + 0x1000, beside = 0xffffffffc0400000ull;
	struct rig *r = rig(&on);
	struct shadow_fault f;
	gpa_t pdpte = rig_gpte(r, RIG_WINDOW, 3, P | W);
	struct mmu x;

	rig_store(r, pdpte, (ALL & ~U) | PS);
	assert_int_equal(rig_access(r, SHADOW_KERNEL, beside, PF_ERR_WRITE, &f),
			 SHADOW_PF_FIXED);
	x = rig_mmu(r, SHADOW_KERNEL, beside);
	assert_ptr_equal((void *)x.hpa, gmem_array_at(r->vm, 0x400000));
	assert_int_equal(x.level, 2);
	x = rig_mmu(r, SHADOW_KERNEL, inside);
	assert_int_equal(x.leaf & ~A, r->pde[0] & ~A);
	assert_int_equal(rig_fault(r, SHADOW_KERNEL, inside, 0, &f),
			 SHADOW_PF_RETRY);
	assert_int_equal(r->conflict, inside);
	rig_store(r, pdpte, 0);
	assert_false(rig_mmu(r, SHADOW_KERNEL, beside).present);
	assert_true(rig_mmu(r, SHADOW_KERNEL, inside).present);
	rig_destroy(r);
}

static void test_code_in_a_large_page_is_reported_when_the_gpte_changes(
	void **state)
{
	struct rig *r = rig(&on);
	gpa_t pde = map_2m(r, P | W | A | D);
	struct shadow_fault f;
	gfn_t gfn;

	rig_root(r, SHADOW_KERNEL);
	assert_int_equal(shadow_trace_code(r->s, &r->m, GVA + 0x9000, &gfn, &f),
			 0);
	assert_int_equal(gfn, BASE + 9);
	rig_store(r, pde, (u64)BASE << 12 | PS | P | A);
	assert_int_equal(r->code_calls, 0);
	rig_store(r, pde, (u64)(BASE + 512) << 12 | PS | P | A);
	assert_int_equal(r->code_calls, 1);
	assert_int_equal(r->code_gfn, BASE + 9);
	rig_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_large_gpte_on_a_large_host_page_is_one_spte),
		cmocka_unit_test(test_it_is_split_when_switched_off),
		cmocka_unit_test(
			test_it_is_split_when_the_host_has_small_pages),
		cmocka_unit_test(test_it_is_split_when_a_frame_in_it_is_traced),
		cmocka_unit_test(
			test_it_is_split_when_frames_and_host_pages_are_out_of_step),
		cmocka_unit_test(
			test_a_trace_inside_takes_the_large_spte_apart),
		cmocka_unit_test(test_host_side_changes_reach_large_sptes),
		cmocka_unit_test(
			test_dirty_and_write_bits_of_a_split_page_are_the_large_gptes),
		cmocka_unit_test(test_a_1g_gpte_is_split_into_2m_and_4k),
		cmocka_unit_test(
			test_a_1g_gpte_over_the_window_leaves_the_window_in_place),
		cmocka_unit_test(
			test_code_in_a_large_page_is_reported_when_the_gpte_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
