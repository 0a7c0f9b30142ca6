// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest walk against an independent reference, over all combinations of
 * rights on all levels, and over every single odd bit on each level.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shadow_rig.h"

#define GVA 0x0000123456789abcull

static const struct shadow_config base = { .host_levels = 4,
					   .max_pages = 64 };

struct walked {
	struct rig *r;
	gpa_t at[5]; /* the entries, by level */
	int leaf;
	u64 runs;
};

/* A path of tables to GVA that ends in a leaf of this level. */
static void lay(struct walked *t, int leaf)
{
	struct rig *r = t->r;
	int level;

	t->leaf = leaf;
	for (level = 4; level >= leaf; level--)
		t->at[level] = rig_gpte(r, GVA, level, P | W | U);
}

static u64 leaf_value(int leaf)
{
	return leaf == 1 ? 0x200 << 12 : 1ull << (12 + 9 * (leaf - 1)) | PS;
}

static u64 entry(struct walked *t, int level)
{
	return *gmem_array_u64(t->r->vm, t->at[level]);
}

static void set(struct walked *t, int level, u64 bits)
{
	u64 *e = gmem_array_u64(t->r->vm, t->at[level]);

	*e = (level == t->leaf ? leaf_value(level) : *e & FRAME) | bits;
}

static void fail_walk(struct walked *t, u32 access, u32 got, u32 want)
{
	int level;

	for (level = 4; level >= t->leaf; level--)
		print_error("level %d: %016llx\n", level,
			    (unsigned long long)entry(t, level));
	fail_msg("access %x cr0 %llx cr4 %llx efer %llx: got %x, want %x",
		 access, (unsigned long long)t->r->m.cr0,
		 (unsigned long long)t->r->m.cr4,
		 (unsigned long long)t->r->m.efer, got, want);
}

/* One walk: outcome, address, and what became of A and D. */
static void compare(struct walked *t, u32 access)
{
	struct rig *r = t->r;
	struct shadow_fault f;
	gpa_t gpa = 0, want_gpa = 0;
	u64 before[5], add;
	u32 want, got;
	int level, err;

	for (level = 4; level >= t->leaf; level--)
		before[level] = entry(t, level);
	want = ref_walk(r->vm, &r->m, GVA, access, &want_gpa);
	err = shadow_walk(r->s, &r->m, GVA, access, &gpa, &f);
	got = err ? f.error | REF_FAULT : 0;
	if (got != want || gpa != want_gpa || (err && err != -EFAULT))
		fail_walk(t, access, got, want);
	for (level = 4; level >= t->leaf; level--) {
		add = A;
		if (level == t->leaf && (access & PF_ERR_WRITE))
			add |= D;
		if (entry(t, level) != (before[level] | (want ? 0 : add)))
			fail_walk(t, access, entry(t, level), before[level]);
		*gmem_array_u64(r->vm, t->at[level]) = before[level];
	}
	t->runs++;
}

static void each_access(struct walked *t)
{
	u32 i, j;

	for (i = 0; i < 8; i++) {
		t->r->m.cr0 = 0x80000033 | (i & 1 ? 1 << 16 : 0);
		t->r->m.efer = 0x500 | (i & 2 ? 1 << 11 : 0);
		t->r->m.cr4 = 0x20 | (i & 4 ? 1 << 20 : 0);
		/* Write and fetch do not come together. */
		for (j = 0; j < 6; j++)
			compare(t, (j & 1 ? PF_ERR_USER : 0) |
					   (j / 2 == 1 ? PF_ERR_WRITE : 0) |
					   (j / 2 == 2 ? PF_ERR_FETCH : 0));
	}
}

static void with_leaf(struct walked *t, int leaf)
{
	t->r = rig_create(64, &base);
	lay(t, leaf);
}

static void test_rights_on_all_levels_combine_as_in_the_reference(void **state)
{
	static const u64 right[8] = { 0,  W,	 U,	 W | U,
				      NX, NX | W, NX | U, NX | W | U };
	struct walked t = { 0 };
	u32 i, n;
	int leaf, level;

	for (leaf = 1; leaf <= 3; leaf++) {
		with_leaf(&t, leaf);
		n = 1u << (3 * (5 - leaf));
		for (i = 0; i < n; i++) {
			for (level = 4; level >= leaf; level--)
				set(&t, level,
				    P | right[i >> 3 * (level - leaf) & 7]);
			each_access(&t);
		}
		rig_destroy(t.r);
	}
	assert_int_equal(t.runs, 48 * (4096 + 512 + 64));
}

static void test_every_bit_of_every_level_acts_as_in_the_reference(void **state)
{
	struct walked t = { 0 };
	int leaf, level, bit, l;
	u32 odd;

	for (leaf = 1; leaf <= 3; leaf++) {
		with_leaf(&t, leaf);
		for (level = 4; level >= leaf; level--) {
			for (bit = 0; bit < 128; bit++) {
				for (l = 4; l >= leaf; l--)
					set(&t, l, P | W | U);
				/* Second round: with W and U clear elsewhere. */
				odd = bit & 63;
				if (bit >= 64)
					for (l = 4; l >= leaf; l--)
						set(&t, l, P);
				*gmem_array_u64(t.r->vm, t.at[level]) ^=
					1ull << odd;
				each_access(&t);
				/* The table frame changed: put it back. */
				*gmem_array_u64(t.r->vm, t.at[level]) ^=
					1ull << odd;
			}
		}
		rig_destroy(t.r);
	}
	assert_int_equal(t.runs, 48 * 128 * (4 + 3 + 2));
}

static void test_maxphyaddr_decides_which_address_bits_are_reserved(
	void **state)
{
	struct walked t = { 0 };
	int maxphy, bit, level;

	with_leaf(&t, 1);
	for (maxphy = 32; maxphy <= 52; maxphy++) {
		t.r->m.maxphyaddr = maxphy;
		for (level = 1; level <= 4; level++) {
			for (bit = 30; bit < 52; bit++) {
				for (int l = 4; l >= 1; l--)
					set(&t, l, P | W | U);
				*gmem_array_u64(t.r->vm, t.at[level]) ^=
					1ull << bit;
				each_access(&t);
				*gmem_array_u64(t.r->vm, t.at[level]) ^=
					1ull << bit;
			}
		}
	}
	rig_destroy(t.r);
}

static void test_tables_in_rom_are_used_without_setting_bits(void **state)
{
	struct walked t = { 0 };
	struct shadow_fault f;
	gpa_t gpa;

	with_leaf(&t, 1);
	set(&t, 1, P | W | U);
	t.r->vm->flags[t.at[1] >> 12] |= GMEM_RO_SLOT;
	assert_int_equal(shadow_walk(t.r->s, &t.r->m, GVA, PF_ERR_WRITE, &gpa,
				     &f),
			 0);
	assert_int_equal(gpa, 0x200 << 12 | (GVA & 0xfff));
	assert_int_equal(entry(&t, 1) & (A | D), 0);
	rig_destroy(t.r);
}

struct changer {
	gpa_t gpte;
	u64 value;
	u32 after;
};

/* Another CPU changes the entry between its being read and A being set. */
static void change(struct popf_vm *vm, void *arg)
{
	struct changer *c = arg;

	if (c->after && !--c->after)
		*gmem_array_u64(vm, c->gpte) = c->value;
}

static void test_an_entry_changed_during_the_walk_is_never_overwritten(
	void **state)
{
	struct changer c = { .value = 0x201 << 12 | P | W | U };
	struct walked t = { 0 };
	struct shadow_fault f;
	gpa_t gpa;
	u32 i;

	with_leaf(&t, 1);
	t.r->vm->hook = change;
	t.r->vm->hook_arg = &c;
	c.gpte = t.at[1];
	for (i = 1; i < 12; i++) {
		set(&t, 1, P | W | U);
		c.after = i;
		assert_int_equal(shadow_walk(t.r->s, &t.r->m, GVA, 0, &gpa, &f),
				 0);
		c.after = 0;
		if (gpa >> 12 == 0x201)
			assert_int_equal(entry(&t, 1), c.value | A);
		else
			assert_true(entry(&t, 1) == c.value ||
				    entry(&t, 1) ==
					    (0x200 << 12 | P | W | U | A));
	}
	rig_destroy(t.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_rights_on_all_levels_combine_as_in_the_reference),
		cmocka_unit_test(
			test_every_bit_of_every_level_acts_as_in_the_reference),
		cmocka_unit_test(
			test_maxphyaddr_decides_which_address_bits_are_reserved),
		cmocka_unit_test(
			test_tables_in_rom_are_used_without_setting_bits),
		cmocka_unit_test(
			test_an_entry_changed_during_the_walk_is_never_overwritten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
