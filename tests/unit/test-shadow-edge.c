// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shadow paging at its edges: others acting at the worst moment, memory that
 * runs out, frames that share a host page, the bound on shadow pages.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shadow_rig.h"

#define ALL (P | W | U | A | D)
#define GVA 0x7f1234560000ull

static const struct shadow_config base = {
	.host_levels = 4, .max_pages = 256, .audit = true
};

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

/* Something that happens at the nth gmem call. */
struct meanwhile {
	struct rig *r;
	u32 in;
	gpa_t gpte;
	u64 value;
	void (*act)(struct meanwhile *w);
};

static void hook(struct popf_vm *vm, void *arg)
{
	struct meanwhile *w = arg;

	(void)vm;
	if (w->in && !--w->in)
		w->act(w);
}

/* Something that happens after the nth page lookup, before the next call. */
struct late {
	u32 lookups;
};

static void after_lookup(struct popf_vm *vm, void *arg)
{
	struct late *l = arg;

	/* Entered for any gmem call; pages counts the lookups done so far. */
	if (l->lookups && vm->pages == l->lookups) {
		l->lookups = 0;
		vm->seq++;
	}
}

/* The host revokes it between the lookup and the lock. */
static void revoke_once(struct popf_vm *vm, void *arg)
{
	(void)arg;
	if (vm->retries++ == 0)
		vm->seq++;
}

static void test_a_lookup_the_host_revoked_is_not_installed(void **state)
{
	struct rig *r = rig_create(1024, &base);
	struct shadow_fault f;
	u64 pages;

	rig_map(r, GVA, 100, ALL);
	rig_map(r, GVA + 0x1000, 101, ALL);
	assert_maps(r, SHADOW_USER, GVA, 0, 100);
	pages = r->vm->pages;
	assert_int_equal(rig_fault(r, SHADOW_USER, GVA + 0x1000, 0, &f),
			 SHADOW_PF_FIXED);
	assert_int_equal(r->vm->pages, pages + 1);
	shadow_zap_gfns(r->s, 101, 1);
	r->vm->on_retry = revoke_once;
	assert_int_equal(rig_fault(r, SHADOW_USER, GVA + 0x1000, 0, &f),
			 SHADOW_PF_FIXED);
	assert_int_equal(r->vm->pages, pages + 3);
	rig_destroy(r);
}

static void test_eager_validation_drops_lookups_the_host_revoked(void **state)
{
	struct rig *r = rig_create(1024, &base);
	struct late l = { 0 };
	u64 two[2] = { 100 << 12 | ALL, 101 << 12 | ALL };
	gpa_t gpte = rig_map(r, GVA, 110, ALL);

	rig_map(r, GVA + 0x1000, 111, ALL);
	assert_maps(r, SHADOW_USER, GVA, 0, 110);
	assert_maps(r, SHADOW_USER, GVA + 0x1000, 0, 111);
	r->vm->hook = after_lookup;
	r->vm->hook_arg = &l;
	l.lookups = r->vm->pages + 1;
	assert_int_equal(shadow_write(r->s, gpte, two, 16, NULL), 0);
	assert_int_equal(l.lookups, 0);
	r->vm->hook = NULL;
	assert_false(rig_mmu(r, SHADOW_USER, GVA).present);
	assert_true(rig_mmu(r, SHADOW_USER, GVA + 0x1000).present);
	rig_destroy(r);
}

/* Another CPU stores natively, then a third one makes the table traced. */
static void store_then_trace(struct meanwhile *w)
{
	struct shadow_fault f;

	if (shadow_trace_get(w->r->s, w->gpte >> 12))
		return;
	*gmem_array_u64(w->r->vm, w->gpte) = w->value;
	assert_int_equal(rig_fault(w->r, SHADOW_USER, GVA + 0x3000, 0, &f),
			 SHADOW_PF_FIXED);
}

static void test_a_table_traced_by_others_during_the_walk_is_read_again(
	void **state)
{
	u32 i;

	for (i = 1; i < 12; i++) {
		struct rig *r = rig_create(1024, &base);
		struct meanwhile w = { .r = r, .act = store_then_trace };
		struct shadow_fault f;
		struct mmu x;

		rig_root(r, SHADOW_USER);
		w.gpte = rig_map(r, GVA, 100, ALL);
		w.value = 101 << 12 | ALL;
		rig_map(r, GVA + 0x3000, 103, ALL);
		r->vm->hook = hook;
		r->vm->hook_arg = &w;
		w.in = i;
		assert_int_equal(rig_fault(r, SHADOW_USER, GVA, 0, &f),
				 SHADOW_PF_FIXED);
		r->vm->hook = NULL;
		w.in = 0;
		x = rig_mmu(r, SHADOW_USER, GVA);
		assert_ptr_equal((void *)x.hpa,
				 gmem_array_u64(r->vm,
						*gmem_array_u64(r->vm, w.gpte) &
							FRAME));
		rig_destroy(r);
	}
}

static void test_tables_whose_memory_was_replaced_are_read_again(void **state)
{
	struct rig *r = rig_create(1024, &base);
	gpa_t gpte = rig_map(r, GVA, 100, ALL);

	assert_maps(r, SHADOW_KERNEL, GVA, 0, 100);
	*gmem_array_u64(r->vm, gpte) = 101 << 12 | ALL;
	shadow_zap_gfns(r->s, gpte >> 12, 1);
	assert_maps(r, SHADOW_KERNEL, GVA, 0, 101);
	rig_destroy(r);
}

static void test_frames_that_share_a_host_page_are_kept_apart(void **state)
{
	struct rig *r = rig_create(1024, &base);
	gpa_t gpte = rig_map(r, GVA, 100, ALL);

	r->vm->alias = 200;
	r->vm->alias_of = 100;
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_WRITE, 100);
	rig_store(r, gpte, 200 << 12 | ALL);
	assert_maps(r, SHADOW_USER, GVA, PF_ERR_WRITE, 100);
	shadow_zap_gfns(r->s, 200, 1);
	assert_false(rig_mmu(r, SHADOW_USER, GVA).present);
	rig_destroy(r);
}

/* Every call that allocates, once; -ENOMEM from any of them is an answer. */
static u32 scenario(struct rig *r)
{
	struct shadow_fixed fixed = r->cfg.fixed;
	struct shadow_fault f;
	u32 failed = 0, i;
	hpa_t root;
	gfn_t gfn;
	int ret;

	for (i = 0; i < SHADOW_VIEWS; i++)
		failed += shadow_root(r->s, &r->m, i, &root) == -ENOMEM;
	for (i = 0; i < 6; i++) {
		gva_t gva = GVA + ((u64)i << 33);

		rig_map(r, gva, 100 + i, ALL);
		ret = rig_fault(r, SHADOW_USER, gva, PF_ERR_WRITE, &f);
		assert_true(ret >= 0 || ret == -ENOMEM);
		failed += ret < 0;
		ret = rig_fault(r, SHADOW_KERNEL, gva, 0, &f);
		assert_true(ret >= 0 || ret == -ENOMEM);
		failed += ret < 0;
		rig_map(r, gva, 700 + i, ALL);
	}
	ret = shadow_trace_code(r->s, &r->m, GVA, &gfn, &f);
	assert_true(!ret || ret == -ENOMEM);
	failed += !!ret;
	ret = shadow_trace_add(r->s, 900, SHADOW_TRACE_TABLE);
	assert_true(!ret || ret == -ENOMEM);
	failed += !!ret;
	fixed.window_base -= 0x8000000;
	ret = shadow_set_fixed(r->s, &fixed);
	assert_true(!ret || ret == -ENOMEM);
	failed += !!ret;
	return failed;
}

static void run_with_failure(u8 levels, u32 nth, u32 *failed, bool *hit)
{
	struct shadow_config cfg = base;
	struct rig *r;
	u32 i;

	cfg.host_levels = levels;
	r = rig_create(1024, &cfg);
	env_fail_alloc = nth;
	*failed = scenario(r);
	*hit = !env_fail_alloc;
	env_fail_alloc = 0;
	assert_true(shadow_audit(r->s));
	/* It works as soon as there is memory. */
	for (i = 0; i < 6; i++)
		assert_maps(r, SHADOW_USER, GVA + ((u64)i << 33), 0, 700 + i);
	rig_destroy(r);
}

static void test_every_failing_allocation_is_reported_and_survived(void **state)
{
	u32 nth, failed, levels;
	bool hit;

	for (levels = 4; levels <= 5; levels++) {
		for (nth = 1, hit = true; hit; nth++) {
			run_with_failure(levels, nth, &failed, &hit);
			assert_true(nth < 500);
		}
		assert_true(nth > 20);
	}
}

/* The next allocation after every gmem call fails. */
static void keep_failing(struct popf_vm *vm, void *arg)
{
	(void)vm;
	(void)arg;
	env_fail_alloc = 1;
}

static void test_running_out_of_memory_is_reported_and_survived(void **state)
{
	struct rig *r = rig_create(1024, &base);
	struct shadow_fault f;
	u32 i, failed = 0;
	int ret;

	rig_map(r, GVA, 100, ALL);
	assert_maps(r, SHADOW_USER, GVA, 0, 100);
	r->vm->hook = keep_failing;
	for (i = 0; i < 100; i++) {
		gva_t gva = GVA + ((u64)i << 21);

		rig_map(r, gva, 200 + i, ALL);
		ret = rig_fault(r, SHADOW_USER, gva, 0, &f);
		assert_true(ret == SHADOW_PF_FIXED || ret == -ENOMEM);
		failed += ret < 0;
	}
	assert_in_range(failed, 70, 99);
	assert_true(scenario(r));
	r->vm->hook = NULL;
	env_fail_alloc = 0;
	/* The first place has been used for something else meanwhile. */
	for (i = 1; i < 100; i++)
		assert_maps(r, SHADOW_USER, GVA + ((u64)i << 21), 0, 200 + i);
	rig_destroy(r);
}

static void test_creation_with_any_failing_allocation_gives_null(void **state)
{
	static const struct shadow_ops no_ops;
	struct popf_vm *vm = gmem_array_create(16);
	struct shadow_config cfg = base;
	u64 pde[2] = { P | U, P | U };
	struct shadow *s = NULL;
	u32 nth;

	cfg.host_nx = true;
	cfg.fixed.window_base = RIG_WINDOW;
	cfg.fixed.window_pdes = 2;
	cfg.fixed.window_pde = pde;
	for (nth = 1; !s; nth++) {
		env_fail_alloc = nth;
		s = shadow_create(vm, &cfg, &no_ops, NULL);
		/* With this much it could do its work, if not for long. */
		assert_true(!s || nth > 15);
	}
	env_fail_alloc = 0;
	shadow_destroy(s);
	cfg.host_nx = false;
	assert_null(shadow_create(vm, &cfg, &no_ops, NULL));
	cfg.host_nx = true;
	cfg.host_levels = 3;
	assert_null(shadow_create(vm, &cfg, &no_ops, NULL));
	gmem_array_destroy(vm);
}

static void test_shadow_pages_stay_within_their_bound(void **state)
{
	struct shadow_config cfg = base;
	struct shadow_stats st;
	struct rig *r;
	u32 i;

	cfg.max_pages = 40;
	r = rig_create(2048, &cfg);
	for (i = 0; i < 300; i++) {
		gva_t gva = GVA + ((u64)i << 21);

		rig_map(r, gva, 1000 + i, ALL);
		assert_maps(r, SHADOW_USER, gva, PF_ERR_WRITE, 1000 + i);
		assert_maps(r, SHADOW_KERNEL, gva, 0, 1000 + i);
	}
	shadow_get_stats(r->s, &st);
	assert_true(st.pages_max <= 40);
	assert_true(st.pages_recycled > 400);
	/* What is used all the time was never given up. */
	assert_true(rig_mmu(r, SHADOW_KERNEL, RIG_WINDOW).present);
	assert_true(rig_mmu(r, SHADOW_USER, RIG_REGION).present);
	rig_destroy(r);
}

static void test_losing_a_page_that_code_was_fetched_through_is_reported(
	void **state)
{
	struct shadow_config cfg = base;
	struct shadow_fault f;
	struct rig *r;
	gfn_t gfn;
	u32 i;

	cfg.max_pages = 40;
	r = rig_create(2048, &cfg);
	rig_map(r, 0xffffffff81000000ull, 900, P | A | D);
	assert_int_equal(shadow_trace_code(r->s, &r->m, 0xffffffff81000000ull,
					   &gfn, &f),
			 0);
	for (i = 0; i < 100 && !r->code_none; i++) {
		rig_map(r, GVA + ((u64)i << 21), 1000 + i, ALL);
		assert_maps(r, SHADOW_USER, GVA + ((u64)i << 21), 0, 1000 + i);
	}
	assert_int_equal(r->code_none, 1);
	rig_destroy(r);
}

/* The slot of a kernel root that leads to the window, and whether it ever did not. */
struct watch {
	u64 *slot;
	bool stop;
	u64 gaps, looks;
};

static void *watch_slot(void *arg)
{
	struct watch *w = arg;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		w->gaps += !(__atomic_load_n(w->slot, __ATOMIC_RELAXED) & P);
		w->looks++;
	}
	return NULL;
}

/* The level-3 slot for the window. */
static u64 *window_slot(struct rig *r)
{
	hpa_t table = r->root[SHADOW_KERNEL];
	int level = r->cfg.host_levels;

	for (; level > 3; level--)
		table = ((u64 *)env_hpa_page(table))[RIG_WINDOW >> (9 * level + 3) & 511] & FRAME;
	return &((u64 *)env_hpa_page(table))[RIG_WINDOW >> 30 & 511];
}

/*
 * An mmu notifier takes the frame of the table whose shadow leads to the window, while
 * translated code runs on another CPU: which cannot do without the window for a moment.
 */
static void test_the_way_to_the_window_is_never_missing(void **state)
{
	const gva_t beside = 0xffffffffff5fd000ull;
	struct rig *r = rig_create(1024, &base);
	struct watch w = {};
	struct shadow_fault f;
	pthread_t thread;
	u32 i;

	rig_root(r, SHADOW_KERNEL);
	rig_map(r, beside, 113, P | W);
	assert_int_equal(rig_access(r, SHADOW_KERNEL, beside, 0, &f),
			 SHADOW_PF_FIXED);
	w.slot = window_slot(r);
	assert_int_equal(pthread_create(&thread, NULL, watch_slot, &w), 0);
	for (i = 0; i < 2000; i++) {
		assert_int_equal(rig_access(r, SHADOW_KERNEL, beside, 0, &f),
				 SHADOW_PF_FIXED);
		shadow_zap_gfns(r->s, rig_gpte(r, RIG_WINDOW, 3, P | W) >> 12, 1);
		assert_false(rig_mmu(r, SHADOW_KERNEL, beside).present);
	}
	__atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(w.looks > 0);
	assert_int_equal(w.gaps, 0);
	rig_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_lookup_the_host_revoked_is_not_installed),
		cmocka_unit_test(
			test_eager_validation_drops_lookups_the_host_revoked),
		cmocka_unit_test(
			test_a_table_traced_by_others_during_the_walk_is_read_again),
		cmocka_unit_test(
			test_tables_whose_memory_was_replaced_are_read_again),
		cmocka_unit_test(
			test_frames_that_share_a_host_page_are_kept_apart),
		cmocka_unit_test(
			test_every_failing_allocation_is_reported_and_survived),
		cmocka_unit_test(
			test_running_out_of_memory_is_reported_and_survived),
		cmocka_unit_test(
			test_creation_with_any_failing_allocation_gives_null),
		cmocka_unit_test(test_shadow_pages_stay_within_their_bound),
		cmocka_unit_test(
			test_losing_a_page_that_code_was_fetched_through_is_reported),
		cmocka_unit_test(test_the_way_to_the_window_is_never_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
