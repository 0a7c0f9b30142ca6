// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shadow paging, one claim per test: roots, hidden and true faults, traces,
 * eager validation, code mappings, notifications.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shadow_rig.h"

#define ALL (P | W | U | A | D)
#define GVA 0x7f1234567000ull /* last of a group of eight entries */
#define KGVA 0xffffffff81234000ull

static const struct shadow_config base = {
	.host_levels = 4, .max_pages = 256, .audit = true
};
static const struct shadow_config base5 = {
	.host_levels = 5, .max_pages = 256, .audit = true
};

static void each_depth(void (*test)(struct rig *r))
{
	const struct shadow_config *cfg[] = { &base, &base5 };
	u32 i;

	for (i = 0; i < 2; i++) {
		struct rig *r = rig_create(1024, cfg[i]);

		test(r);
		assert_true(shadow_audit(r->s));
		rig_destroy(r);
	}
}

/* The access goes through and reaches this frame. */
static void assert_maps(struct rig *r, enum shadow_view view, gva_t gva,
			u32 access, gfn_t gfn)
{
	struct shadow_fault f;
	struct mmu x;

	assert_int_equal(rig_access(r, view, gva, access, &f),
			 SHADOW_PF_FIXED);
	x = rig_mmu(r, view, gva);
	assert_ptr_equal((void *)x.hpa,
			 gmem_array_at(r->vm, gfn << 12 | (gva & 0xfff)));
}

static void roots(struct rig *r)
{
	struct mmu x;
	int view;
	u32 i;

	for (view = 0; view < SHADOW_VIEWS; view++) {
		rig_root(r, view);
		x = rig_mmu(r, view, RIG_REGION + 0x5000);
		assert_true(x.present && !x.user);
		assert_int_equal(x.leaf & ~A, RIG_REGION_PTE & ~A);
	}
	for (i = 0; i < RIG_PDES; i++) {
		x = rig_mmu(r, SHADOW_KERNEL, RIG_WINDOW + ((u64)i << 21));
		assert_true(x.present && x.user && x.exec && x.write);
		assert_int_equal(x.leaf & ~A, r->pde[i] & ~A);
		assert_int_equal(x.level, 2);
		x = rig_mmu(r, SHADOW_USER, RIG_WINDOW + ((u64)i << 21));
		assert_false(x.present);
	}
	x = rig_mmu(r, SHADOW_KERNEL, RIG_WINDOW + ((u64)RIG_PDES << 21));
	assert_false(x.present);
}

static void test_roots_map_region_in_both_views_and_window_in_the_kernels(
	void **state)
{
	each_depth(roots);
}

static void hidden(struct rig *r)
{
	gpa_t gpte;

	gpte = rig_map(r, GVA, 100, P | W | U);
	assert_maps(r, SHADOW_USER, GVA + 8, PF_ERR_USER, 100);
	assert_int_equal(*gmem_array_u64(r->vm, gpte) & (A | D), A);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).write);
	assert_maps(r, SHADOW_USER, GVA + 8, PF_ERR_USER | PF_ERR_WRITE, 100);
	assert_int_equal(*gmem_array_u64(r->vm, gpte) & (A | D), A | D);
	assert_maps(r, SHADOW_KERNEL, GVA, 0, 100);
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER | PF_ERR_FETCH, 100);
	assert_false(rig_mmu(r, SHADOW_KERNEL, GVA).exec);
}

static void test_hidden_faults_map_pages_and_set_accessed_and_dirty(
	void **state)
{
	each_depth(hidden);
}

static void views(struct rig *r)
{
	struct shadow_fault f;

	rig_map(r, KGVA, 101, P | W);
	assert_maps(r, SHADOW_KERNEL, KGVA, PF_ERR_WRITE, 101);
	assert_int_equal(rig_access(r, SHADOW_USER, KGVA, PF_ERR_USER, &f),
			 SHADOW_PF_GUEST);
	assert_int_equal(f.error, PF_ERR_PRESENT | PF_ERR_USER);
	assert_false(rig_mmu(r, SHADOW_USER, KGVA).present);
}

static void test_user_view_has_no_supervisor_pages(void **state)
{
	each_depth(views);
}

static void read_only(struct rig *r)
{
	struct shadow_fault f;

	rig_map(r, KGVA, 101, P | A | D);
	assert_int_equal(rig_access(r, SHADOW_KERNEL, KGVA, PF_ERR_WRITE, &f),
			 SHADOW_PF_GUEST);
	assert_int_equal(f.error, PF_ERR_PRESENT | PF_ERR_WRITE);
	assert_int_equal(f.gva, KGVA);
	r->m.cr0 &= ~(1ull << 16);
	assert_maps(r, SHADOW_KERNEL, KGVA, PF_ERR_WRITE, 101);
	r->m.cr0 |= 1ull << 16;
	assert_maps(r, SHADOW_KERNEL, KGVA, 0, 101);
	assert_false(rig_mmu(r, SHADOW_KERNEL, KGVA).write);
}

static void test_clear_wp_lets_the_supervisor_write_and_set_wp_does_not(
	void **state)
{
	each_depth(read_only);
}

static void page_tables(struct rig *r)
{
	gpa_t gpte = rig_map(r, KGVA, 102, P | W);
	struct shadow_fault f;
	u32 trace = 0;
	u64 v = 0;

	/* Map the page table itself, writable, before it is one. */
	rig_map(r, GVA, gpte >> 12, ALL);
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER | PF_ERR_WRITE,
		    gpte >> 12);
	assert_maps(r, SHADOW_KERNEL, KGVA, 0, 102);
	assert_int_equal(shadow_trace_get(r->s, gpte >> 12), SHADOW_TRACE_PT);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).write);
	assert_int_equal(rig_access(r, SHADOW_USER, GVA | (gpte & 0xfff),
				    PF_ERR_USER | PF_ERR_WRITE, &f),
			 SHADOW_PF_TRACE);
	assert_int_equal(f.trace, SHADOW_TRACE_PT);
	assert_int_equal(f.gpa, gpte);
	assert_int_equal(shadow_write(r->s, gpte, &v, 8, &trace), 0);
	assert_int_equal(trace, SHADOW_TRACE_PT);
	assert_false(rig_mmu(r, SHADOW_KERNEL, KGVA).present);
	assert_int_equal(rig_access(r, SHADOW_KERNEL, KGVA, 0, &f),
			 SHADOW_PF_GUEST);
	assert_int_equal(f.error, 0);
}

static void test_page_tables_are_traced_and_stores_to_them_take_effect(
	void **state)
{
	each_depth(page_tables);
}

static void eager(struct rig *r)
{
	gpa_t gpte = rig_map(r, KGVA, 102, P | W);
	struct shadow_stats before, after;
	u64 old = 0;

	assert_maps(r, SHADOW_KERNEL, KGVA, 0, 102);
	shadow_get_stats(r->s, &before);
	rig_store(r, gpte, 103 << 12 | P | W | A);
	assert_false(rig_mmu(r, SHADOW_KERNEL, KGVA).write);
	assert_maps(r, SHADOW_KERNEL, KGVA, 0, 103);
	rig_store(r, gpte, 104 << 12 | P | W | A | D);
	assert_maps(r, SHADOW_KERNEL, KGVA, PF_ERR_WRITE, 104);
	/* Rights alone: same page, no lookup. */
	rig_store(r, gpte, 104 << 12 | P | A | D);
	assert_false(rig_mmu(r, SHADOW_KERNEL, KGVA).write);
	old = 104 << 12 | P | A | D;
	assert_int_equal(shadow_cmpxchg(r->s, gpte, &old,
					105 << 12 | P | W | A | D, 8, NULL),
			 0);
	assert_maps(r, SHADOW_KERNEL, KGVA, PF_ERR_WRITE, 105);
	old = 0;
	assert_int_equal(shadow_cmpxchg(r->s, gpte, &old, 0, 8, NULL),
			 -EAGAIN);
	assert_int_equal(old, 105 << 12 | P | W | A | D);
	assert_maps(r, SHADOW_KERNEL, KGVA, PF_ERR_WRITE, 105);
	/* Losing A drops it, so that the next access sets A again. */
	rig_store(r, gpte, 105 << 12 | P | W);
	assert_false(rig_mmu(r, SHADOW_KERNEL, KGVA).present);
	shadow_get_stats(r->s, &after);
	assert_int_equal(after.faults_hidden, before.faults_hidden);
	assert_true(after.eager_validates > before.eager_validates);
}

static void test_stores_of_accessed_entries_are_validated_at_once(void **state)
{
	each_depth(eager);
}

static void untraced(struct rig *r)
{
	gpa_t gpte = rig_map(r, KGVA, 102, P | W);
	u64 v[12] = { 0x1234 };
	u32 trace = ~0u;

	assert_maps(r, SHADOW_KERNEL, KGVA, 0, 102);
	r->vm->atomic_writes = 0;
	assert_int_equal(shadow_write(r->s, 0x102040, v, sizeof(v), &trace), 0);
	assert_int_equal(r->vm->atomic_writes, 1);
	assert_int_equal(trace, 0);
	assert_int_equal(*gmem_array_u64(r->vm, 0x102040), 0x1234);
	assert_true(r->vm->flags[0x102] & GMEM_DIRTY);
	/* The host's page is not there: the long way. */
	r->vm->no_atomic = true;
	v[0] = 0x5678;
	assert_int_equal(shadow_write(r->s, 0x103040, v, sizeof(v), &trace), 0);
	assert_int_equal(r->vm->atomic_writes, 1);
	assert_int_equal(*gmem_array_u64(r->vm, 0x103040), 0x5678);
	assert_true(r->vm->flags[0x103] & GMEM_DIRTY);
	r->vm->no_atomic = false;
	/* A traced frame is none of these. */
	v[0] = 0;
	assert_int_equal(shadow_write(r->s, gpte, v, 8, &trace), 0);
	assert_int_equal(trace, SHADOW_TRACE_PT);
	assert_int_equal(r->vm->atomic_writes, 1);
	assert_false(rig_mmu(r, SHADOW_KERNEL, KGVA).present);
}

static void test_a_store_to_a_frame_nobody_traces_is_one_store(void **state)
{
	each_depth(untraced);
}

static void partial(struct rig *r)
{
	gpa_t gpte = rig_map(r, KGVA, 0x102, P | W | A | D);
	u8 b[12];
	u64 v;

	rig_map(r, KGVA + 0x1000, 0x104, P | W | A | D);
	assert_maps(r, SHADOW_KERNEL, KGVA, 0, 0x102);
	b[0] = 0x30;
	assert_int_equal(shadow_write(r->s, gpte + 1, b, 1, NULL), 0);
	assert_maps(r, SHADOW_KERNEL, KGVA, 0, 0x103);
	assert_false(rig_mmu(r, SHADOW_KERNEL, KGVA).present &&
		     rig_mmu(r, SHADOW_KERNEL, KGVA).hpa ==
			     (hpa_t)gmem_array_at(r->vm, 0x102000));
	b[0] = 0, b[1] = 0x40;
	assert_int_equal(shadow_write(r->s, gpte, b, 2, NULL), 0);
	assert_false(rig_mmu(r, SHADOW_KERNEL, KGVA).present);
	/* Across two entries: clear the upper half of one, set the next. */
	v = 0x105 << 12 | P | W | A | D;
	memset(b, 0, 4);
	memcpy(b + 4, &v, 8);
	assert_int_equal(shadow_write(r->s, gpte + 4, b, 12, NULL), 0);
	assert_maps(r, SHADOW_KERNEL, KGVA + 0x1000, PF_ERR_WRITE, 0x105);
	assert_int_equal(shadow_write(r->s, 0xffc, b, 8, NULL), -EINVAL);
	assert_int_equal(shadow_write(r->s, 1ull << 39, b, 8, NULL), -EFAULT);
}

static void test_partial_and_unaligned_stores_take_effect(void **state)
{
	each_depth(partial);
}

static void window_shared(struct rig *r)
{
	/* In the same 1 GiB as the window, above it, and in the same 512 GiB. */
	gva_t near = 0xffffffffff5fd000ull, far = 0xffffffff80000000ull;
	gpa_t upper;
	u32 i;

	rig_root(r, SHADOW_KERNEL);
	rig_map(r, near, 110, P | W);
	rig_map(r, far, 111, P | W);
	assert_maps(r, SHADOW_KERNEL, near, 0, 110);
	assert_maps(r, SHADOW_KERNEL, far, 0, 111);
	roots(r);
	assert_maps(r, SHADOW_KERNEL, near, 0, 110);
	/* Tables came to lie beside the window: a look is asked for. */
	assert_true(r->conflicts);
	assert_int_equal(r->conflict, RIG_WINDOW);
	/* The guest takes its tables away on every level: the window stays. */
	for (i = 2; i <= 4; i++) {
		upper = rig_gpte(r, near, i, P | W);
		rig_store(r, upper, 0);
		roots(r);
		assert_false(rig_mmu(r, SHADOW_KERNEL, near).present);
		rig_map(r, near, 110, P | W);
		rig_map(r, far, 111, P | W);
		assert_maps(r, SHADOW_KERNEL, near, 0, 110);
		assert_maps(r, SHADOW_KERNEL, far, 0, 111);
		roots(r);
	}
}

static void test_window_shares_tables_with_the_guest_and_outlives_them(
	void **state)
{
	each_depth(window_shared);
}

static void conflicts(struct rig *r)
{
	gva_t inside = RIG_WINDOW + 0x601000;
	struct shadow_fault f;
	gpa_t pde;

	rig_root(r, SHADOW_KERNEL);
	rig_map(r, inside, 112, P | W);
	r->conflicts = 0;
	assert_int_equal(rig_fault(r, SHADOW_KERNEL, inside, 0, &f),
			 SHADOW_PF_RETRY);
	assert_int_equal(r->conflicts, 1);
	assert_int_equal(r->conflict, inside);
	/* Found when the table that holds it is first shadowed. */
	rig_map(r, 0xffffffffff5fd000ull, 113, P | W);
	assert_maps(r, SHADOW_KERNEL, 0xffffffffff5fd000ull, 0, 113);
	assert_int_equal(r->conflicts, 2);
	roots(r);
	/* And when it is stored there afterwards. */
	pde = rig_gpte(r, RIG_WINDOW, 2, 0);
	rig_store(r, pde, 0);
	assert_int_equal(r->conflicts, 2);
	rig_store(r, pde, 5 << 12 | P);
	assert_int_equal(r->conflicts, 3);
	assert_int_equal(r->conflict, RIG_WINDOW);
	roots(r);
}

static void conflicts_both(struct rig *r)
{
	rig_root(r, SHADOW_USER);
	rig_root(r, SHADOW_KERNEL);
	r->conflicts = 0;
	rig_store(r, (r->m.cr3 & FRAME) + 8 * 256, 5 << 12 | P);
	assert_int_equal(r->conflicts, 1);
	assert_int_equal(r->conflict, RIG_REGION);
	roots(r);
}

static void test_guest_mappings_in_the_window_are_reported_and_ignored(
	void **state)
{
	each_depth(conflicts);
	each_depth(conflicts_both);
}

static void code(struct rig *r)
{
	gva_t other = KGVA + 0x1000;
	struct shadow_fault f;
	gpa_t gpte, pde;
	gfn_t gfn;

	rig_root(r, SHADOW_KERNEL);
	gpte = rig_map(r, KGVA, 120, P | A);
	rig_map(r, other, 121, P | A | W | D);
	assert_int_equal(shadow_trace_code(r->s, &r->m, KGVA, &gfn, &f), 0);
	assert_int_equal(gfn, 120);
	assert_int_equal(shadow_trace_get(r->s, 120), SHADOW_TRACE_CODE);
	assert_int_equal(shadow_trace_get(r->s, gpte >> 12), SHADOW_TRACE_PT);
	rig_store(r, gpte + 8, 0);
	rig_store(r, gpte, 120 << 12 | P | A | W | D | 1ull << 9);
	assert_int_equal(r->code_calls, 0);
	rig_store(r, gpte, 122 << 12 | P | A | W | D);
	assert_int_equal(r->code_calls, 1);
	assert_int_equal(r->code_gfn, 120);
	rig_store(r, gpte, 120 << 12 | P | A | W | D);
	assert_int_equal(r->code_calls, 1);
	rig_store(r, gpte, 120 << 12 | P | A | W | D | NX);
	assert_int_equal(r->code_calls, 2);
	rig_store(r, gpte, 120 << 12 | P | A | W | D);
	pde = rig_gpte(r, KGVA, 2, 0);
	rig_store(r, pde, *gmem_array_u64(r->vm, pde) | 1ull << 10);
	assert_int_equal(r->code_none, 0);
	rig_store(r, pde, 0);
	assert_int_equal(r->code_none, 1);
	/* Code frames are not writable by any way. */
	rig_map(r, GVA, 120, ALL);
	assert_int_equal(rig_access(r, SHADOW_USER, GVA + 0x123,
				    PF_ERR_USER | PF_ERR_WRITE, &f),
			 SHADOW_PF_TRACE);
	assert_int_equal(f.gpa, 120 << 12 | 0x123);
	assert_int_equal(f.trace, SHADOW_TRACE_CODE);
	shadow_trace_del(r->s, 120, SHADOW_TRACE_CODE);
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER | PF_ERR_WRITE, 120);
	assert_int_equal(shadow_trace_add(r->s, 120, SHADOW_TRACE_TABLE), 0);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).write);
	assert_int_equal(shadow_trace_add(r->s, 5000, SHADOW_TRACE_TABLE),
			 -EFAULT);
	r->m.efer |= 0x800;
	rig_map(r, KGVA, 120, P | NX);
	assert_int_equal(shadow_trace_code(r->s, &r->m, KGVA, &gfn, &f),
			 -EFAULT);
	assert_int_equal(f.error, PF_ERR_PRESENT | PF_ERR_FETCH);
}

static void test_changed_code_mappings_are_reported_once_they_matter(
	void **state)
{
	each_depth(code);
}

static void contents(struct rig *r)
{
	gfn_t gfn, stale[4];
	struct shadow_fault f;
	gpa_t gpte;

	rig_root(r, SHADOW_KERNEL);
	gpte = rig_map(r, KGVA, 120, P | A);
	rig_map(r, KGVA + 0x1000, 121, P | A | W | D);
	assert_int_equal(shadow_trace_code(r->s, &r->m, KGVA, &gfn, &f), 0);
	assert_maps(r, SHADOW_KERNEL, KGVA + 0x1000, 0, 121);
	shadow_unmap_gfns(r->s, 0, 1024);
	assert_false(rig_mmu(r, SHADOW_KERNEL, KGVA + 0x1000).present);
	shadow_zap_gfns(r->s, 121, 1);
	assert_int_equal(r->gone + r->code_calls, 0);
	assert_int_equal(shadow_take_stale(r->s, stale, 4), 0);
	/* Code: told before vCPUs are kicked, named once. */
	shadow_zap_gfns(r->s, 120, 1);
	shadow_zap_gfns(r->s, 100, 50);
	assert_int_equal(r->gone, 2);
	assert_true(r->kicks);
	assert_int_equal(shadow_take_stale(r->s, stale, 4), 1);
	assert_int_equal(stale[0], 120);
	assert_int_equal(shadow_take_stale(r->s, stale, 4), 0);
	assert_int_equal(shadow_trace_get(r->s, 120), SHADOW_TRACE_CODE);
	/* Once nothing is derived from it any more, nobody needs to hear. */
	shadow_zap_gfns(r->s, 120, 1);
	shadow_trace_del(r->s, 120, SHADOW_TRACE_CODE);
	assert_int_equal(shadow_take_stale(r->s, stale, 4), 0);
	/* A table on the way to code: its mappings may be others. */
	assert_int_equal(shadow_trace_code(r->s, &r->m, KGVA, &gfn, &f), 0);
	assert_int_equal(r->code_none, 0);
	shadow_zap_gfns(r->s, gpte >> 12, 1);
	assert_int_equal(r->code_none, 1);
	assert_true(r->kicks);
	assert_int_equal(shadow_take_stale(r->s, stale, 4), 0);
}

static void test_contents_that_go_are_reported_for_code_and_tables(void **state)
{
	each_depth(contents);
}

static void mmio(struct rig *r)
{
	struct shadow_fault f;

	r->vm->flags[130] = GMEM_HOLE;
	r->vm->flags[131] = GMEM_RO_SLOT;
	rig_map(r, GVA, 130, ALL);
	rig_map(r, GVA + 0x1000, 131, ALL);
	rig_map(r, GVA + 0x2000, 1ull << 27, ALL);
	assert_int_equal(rig_access(r, SHADOW_USER, GVA + 5, PF_ERR_USER, &f),
			 SHADOW_PF_MMIO);
	assert_int_equal(f.gpa, 130 << 12 | 5);
	assert_false(f.readonly_slot);
	assert_maps(r, SHADOW_USER, GVA + 0x1000, PF_ERR_USER, 131);
	assert_int_equal(rig_access(r, SHADOW_USER, GVA + 0x1000,
				    PF_ERR_USER | PF_ERR_WRITE, &f),
			 SHADOW_PF_MMIO);
	assert_true(f.readonly_slot);
	assert_int_equal(rig_access(r, SHADOW_USER, GVA + 0x2000, PF_ERR_USER,
				    &f),
			 SHADOW_PF_MMIO);
	assert_int_equal(f.gpa, 1ull << 39);
}

static void test_frames_without_memory_are_mmio_and_rom_reads_are_not(
	void **state)
{
	each_depth(mmio);
}

static void host(struct rig *r)
{
	struct shadow_fault f;

	rig_map(r, GVA, 140, ALL);
	rig_map(r, GVA + 0x1000, 141, ALL);
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER | PF_ERR_WRITE, 140);
	assert_maps(r, SHADOW_USER, GVA + 0x1000, PF_ERR_USER, 141);
	assert_true(shadow_age_gfns(r->s, 140, 1, true));
	assert_false(shadow_age_gfns(r->s, 140, 1, true));
	rig_mmu(r, SHADOW_USER, GVA);
	assert_true(shadow_age_gfns(r->s, 0, 1024, false));
	r->kicks = 0;
	shadow_protect_gfns(r->s, 140, 1);
	assert_true(r->kicks);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).write);
	assert_true(rig_mmu(r, SHADOW_USER, GVA + 0x1000).write);
	r->vm->flags[140] &= ~GMEM_DIRTY;
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER | PF_ERR_WRITE, 140);
	assert_true(r->vm->flags[140] & GMEM_DIRTY);
	r->kicks = 0;
	shadow_zap_gfns(r->s, 140, 1);
	assert_true(r->kicks);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).present);
	assert_true(rig_mmu(r, SHADOW_USER, GVA + 0x1000).present);
	shadow_zap_gfns(r->s, 0, ~0ull);
	assert_false(rig_mmu(r, SHADOW_USER, GVA + 0x1000).present);
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER, 140);
	shadow_zap_all(r->s);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).present);
	roots(r);
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER, 140);
	/* Copy on write: readable at once, writable when asked for. */
	r->vm->flags[142] = GMEM_NO_WRITE;
	rig_map(r, GVA + 0x2000, 142, ALL);
	assert_maps(r, SHADOW_USER, GVA + 0x2000, PF_ERR_USER, 142);
	r->vm->flags[142] |= GMEM_NO_WRITE;
	shadow_protect_gfns(r->s, 142, 1);
	assert_false(rig_mmu(r, SHADOW_USER, GVA + 0x2000).write);
	assert_maps(r, SHADOW_USER, GVA + 0x2000, PF_ERR_USER | PF_ERR_WRITE,
		    142);
	assert_int_equal(rig_fault(r, SHADOW_USER, 1ull << 47, 0, &f),
			 SHADOW_PF_GUEST);
	assert_int_equal(f.error, ~0u);
}

static void test_host_side_changes_reach_the_sptes(void **state)
{
	each_depth(host);
}

static void bad_modes(struct rig *r)
{
	struct shadow_mode good = r->m;
	struct shadow_fault f;
	hpa_t root;
	gpa_t gpa;

	r->m.cr0 &= ~(1ull << 31);
	assert_int_equal(shadow_root(r->s, &r->m, 0, &root), -EINVAL);
	assert_int_equal(rig_fault(r, 0, 0, 0, &f), -EINVAL);
	assert_int_equal(shadow_walk(r->s, &r->m, 0, 0, &gpa, &f), -EINVAL);
	r->m = good;
	r->m.cr4 |= 1 << 12;
	assert_int_equal(shadow_root(r->s, &r->m, 0, &root), -EINVAL);
	r->m = good;
	/* A CR3 outside memory. */
	r->m.cr3 = 1ull << 35;
	roots(r);
	assert_int_equal(rig_fault(r, SHADOW_KERNEL, GVA, PF_ERR_WRITE, &f),
			 SHADOW_PF_GUEST);
	assert_int_equal(f.error, PF_ERR_WRITE);
	r->m = good;
	assert_int_equal(shadow_walk(r->s, &r->m, 1ull << 63, 0, &gpa, &f),
			 -EFAULT);
	assert_int_equal(f.error, ~0u);
}

static void test_unsupported_paging_is_refused_and_wild_cr3_is_harmless(
	void **state)
{
	each_depth(bad_modes);
}

static void freed_tables(struct rig *r)
{
	gpa_t gpte = rig_map(r, GVA, 150, ALL);
	u64 cr3 = r->m.cr3;
	gpa_t upper = rig_gpte(r, GVA, 2, 0);
	u32 i;

	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER, 150);
	assert_int_equal(shadow_trace_get(r->s, gpte >> 12), SHADOW_TRACE_PT);
	rig_store(r, upper, 0);
	assert_int_equal(shadow_trace_get(r->s, gpte >> 12), 0);
	/* A root that is no longer in use and is overwritten. */
	rig_root(r, SHADOW_KERNEL);
	r->m.cr3 = rig_frame(r) << 12;
	rig_root(r, SHADOW_KERNEL);
	rig_root(r, SHADOW_USER);
	assert_int_equal(shadow_trace_get(r->s, cr3 >> 12), SHADOW_TRACE_PT);
	for (i = 0; i < 512 && shadow_trace_get(r->s, cr3 >> 12); i++)
		rig_store(r, cr3 + 8 * i, 0x1234);
	assert_true(i < 20);
	/* The one in use is not given up. */
	for (i = 0; i < 256; i++)
		rig_store(r, r->m.cr3 + 8 * i, 0x1234);
	assert_int_equal(shadow_trace_get(r->s, r->m.cr3 >> 12),
			 SHADOW_TRACE_PT);
}

static void test_tables_no_longer_in_use_lose_their_trace(void **state)
{
	each_depth(freed_tables);
}

static void busy_leaf(struct rig *r)
{
	gpa_t gpte = rig_map(r, GVA, 150, ALL);
	u32 i;

	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER, 150);
	/* Hardware goes through it between the stores: it stays. */
	for (i = 0; i < 40; i++) {
		rig_store(r, gpte, (151ull + i) << 12 | ALL);
		assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER, 151 + i);
		assert_int_equal(shadow_trace_get(r->s, gpte >> 12),
				 SHADOW_TRACE_PT);
	}
	for (i = 0; i < 40 && shadow_trace_get(r->s, gpte >> 12); i++)
		rig_store(r, gpte, (151ull + i) << 12 | ALL);
	assert_in_range(i, 3, 20);
	/* It comes back, with what is in it by then. */
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_USER, 150 + i);
	assert_int_equal(shadow_trace_get(r->s, gpte >> 12), SHADOW_TRACE_PT);
}

static void test_leaf_tables_stored_to_without_use_lose_their_trace(
	void **state)
{
	each_depth(busy_leaf);
}

static void move_fixed(struct rig *r)
{
	struct shadow_fixed f = r->cfg.fixed;
	u64 pde = RIG_REGION_PTE | U;
	struct mmu x;

	rig_map(r, KGVA, 160, P | W);
	assert_maps(r, SHADOW_KERNEL, KGVA, 0, 160);
	f.region_base = 0xffff900000000000ull;
	f.window_base = 0x40000000;
	f.window_pde = &pde;
	f.window_pdes = 1;
	assert_int_equal(shadow_set_fixed(r->s, &f), 0);
	rig_root(r, SHADOW_KERNEL);
	assert_false(rig_mmu(r, SHADOW_KERNEL, RIG_WINDOW).present);
	assert_false(rig_mmu(r, SHADOW_KERNEL, RIG_REGION).present);
	x = rig_mmu(r, SHADOW_KERNEL, 0x40000000);
	assert_int_equal(x.leaf & ~A, pde & ~A);
	assert_true(rig_mmu(r, SHADOW_KERNEL, f.region_base).present);
	assert_maps(r, SHADOW_KERNEL, KGVA, 0, 160);
	f.window_base = 0xffffffffffe00000ull;
	f.window_pdes = 2;
	assert_int_equal(shadow_set_fixed(r->s, &f), -EINVAL);
	f.window_pdes = 1;
	f.region_base = 0xffffff8000000000ull;
	assert_int_equal(shadow_set_fixed(r->s, &f), -EINVAL);
}

static void test_region_and_window_can_be_moved(void **state)
{
	each_depth(move_fixed);
}

static void prefault(struct rig *r, bool on)
{
	gpa_t gpte = 0;
	struct mmu x;
	u32 i;

	rig_root(r, SHADOW_USER);
	/* A group of eight, one of them not accessed, one not the user's. */
	for (i = 0; i < 10; i++)
		gpte = rig_map(r, GVA + 0x1000 + (i << 12), 200 + i,
			       i == 2 ? P | W | U :
			       i == 3 ? P | W | A | D :
			       i == 4 ? P | W | U | A :
					ALL);
	r->vm->flags[206] = GMEM_NO_WRITE;
	assert_maps(r, SHADOW_USER, GVA + 0x1000, 0, 200);
	for (i = 1; i < 10; i++) {
		x = rig_mmu(r, SHADOW_USER, GVA + 0x1000 + (i << 12));
		assert_int_equal(x.present, on && i < 8 && i != 2 && i != 3);
		if (!x.present)
			continue;
		assert_ptr_equal((void *)x.hpa,
				 gmem_array_at(r->vm, (200ul + i) << 12));
		assert_int_equal(x.write, i != 4 && i != 6);
		assert_int_equal(!!(r->vm->flags[200 + i] & GMEM_DIRTY),
				 x.write);
	}
	assert_int_equal(gpte & 56, 8);
	assert_int_equal(*gmem_array_u64(r->vm, gpte - 7 * 8) & (A | D), 0);
}

static void test_prefault_maps_what_the_guest_has_accessed_around(void **state)
{
	struct shadow_config cfg = base;
	struct shadow_stats st;
	struct rig *r;
	u32 on;

	for (on = 0; on < 2; on++) {
		cfg.prefault = on;
		r = rig_create(1024, &cfg);
		prefault(r, on);
		shadow_get_stats(r->s, &st);
		assert_int_equal(st.prefaults, on ? 5 : 0);
		rig_destroy(r);
	}
}

/* The first page of two groups of eight that a guest fills. */
#define FILL (GVA + 0x1000)

/* Are just the pages [first, end) mapped for stores? */
static void assert_stores(struct rig *r, u32 first, u32 end)
{
	struct mmu x;
	u32 i;

	for (i = 0; i < 16; i++) {
		x = rig_mmu(r, SHADOW_USER, FILL + (i << 12));
		assert_int_equal(x.present && x.write, i >= first && i < end);
		assert_int_equal(!!(r->vm->flags[200 + i] & GMEM_DIRTY),
				 x.present && x.write);
	}
}

static void touch(struct rig *r, u32 page, u32 access)
{
	struct shadow_fault f;

	assert_int_equal(rig_fault(r, SHADOW_USER, FILL + (page << 12),
				   PF_ERR_USER | access, &f),
			 SHADOW_PF_FIXED);
}

static void filling(struct rig *r, bool up)
{
	u32 first = up ? 0 : 15, next = up ? 1 : 14, group = up ? 0 : 8, i;

	rig_root(r, SHADOW_USER);
	for (i = 0; i < 16; i++) {
		rig_map(r, FILL + (i << 12), 200 + i, ALL);
		r->vm->flags[200 + i] = GMEM_NO_WRITE;
	}
	/* One store says nothing yet: the host's pages stay shared. */
	touch(r, first, PF_ERR_WRITE);
	assert_stores(r, first, first + 1);
	touch(r, next, PF_ERR_WRITE);
	assert_stores(r, group, group + 8);
	/* Reading on asks for nothing, storing on does. */
	touch(r, 15 - group - (up ? 7 : 0), 0);
	assert_stores(r, group, group + 8);
	touch(r, 15 - group - (up ? 7 : 0), PF_ERR_WRITE);
	assert_stores(r, 0, 16);
}

static void test_filling_memory_maps_the_pages_ahead_for_stores(void **state)
{
	struct shadow_config cfg = base;
	struct rig *r;
	u32 up;

	cfg.prefault = true;
	for (up = 0; up < 2; up++) {
		r = rig_create(1024, &cfg);
		filling(r, up);
		rig_destroy(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_roots_map_region_in_both_views_and_window_in_the_kernels),
		cmocka_unit_test(
			test_hidden_faults_map_pages_and_set_accessed_and_dirty),
		cmocka_unit_test(test_user_view_has_no_supervisor_pages),
		cmocka_unit_test(
			test_clear_wp_lets_the_supervisor_write_and_set_wp_does_not),
		cmocka_unit_test(
			test_page_tables_are_traced_and_stores_to_them_take_effect),
		cmocka_unit_test(
			test_stores_of_accessed_entries_are_validated_at_once),
		cmocka_unit_test(test_a_store_to_a_frame_nobody_traces_is_one_store),
		cmocka_unit_test(test_partial_and_unaligned_stores_take_effect),
		cmocka_unit_test(
			test_window_shares_tables_with_the_guest_and_outlives_them),
		cmocka_unit_test(
			test_guest_mappings_in_the_window_are_reported_and_ignored),
		cmocka_unit_test(
			test_changed_code_mappings_are_reported_once_they_matter),
		cmocka_unit_test(
			test_contents_that_go_are_reported_for_code_and_tables),
		cmocka_unit_test(
			test_frames_without_memory_are_mmio_and_rom_reads_are_not),
		cmocka_unit_test(test_host_side_changes_reach_the_sptes),
		cmocka_unit_test(
			test_unsupported_paging_is_refused_and_wild_cr3_is_harmless),
		cmocka_unit_test(test_tables_no_longer_in_use_lose_their_trace),
		cmocka_unit_test(
			test_leaf_tables_stored_to_without_use_lose_their_trace),
		cmocka_unit_test(test_region_and_window_can_be_moved),
		cmocka_unit_test(
			test_prefault_maps_what_the_guest_has_accessed_around),
		cmocka_unit_test(
			test_filling_memory_maps_the_pages_ahead_for_stores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
