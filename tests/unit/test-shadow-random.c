// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random guests: edits of page tables on all levels, accesses, root and mode
 * switches, traces, host-side changes, reclaim, failing allocations, and other
 * CPUs acting in the middle of operations. After every step the audit runs and
 * everything the shadow tables allow is compared with the guest's own tables.
 *
 * A seed that failed is repeated with SHADOW_SEED=n, SHADOW_STEPS=n.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shadow_rig.h"

#define FRAMES 4096u
#define TABLES 40u /* frames 1..40 serve as tables, on any level */
#define ROOTS 3u
#define STEPS 6000u

/* Where the guest is active: shared and separate tables on every level. */
static const gva_t places[] = {
	0x0,		    0x1000,		0x7000,
	0x200000,	    0x40000000,		0x40201000,
	0x7fffffffe000,	    0x7fffffff0000,	0x7f8000000000,
	0xffff800000001000, 0xffff880000000000, 0xffff880000001000,
	0xffffffff80000000, 0xffffffff80201000, 0xffffffffefffe000,
	0xfffffffff0000000, 0xfffffffff8000000, 0xfffffffff8200000,
	0xffffffffff5fd000, 0xffffffffff600000, 0xffffffff40000000,
};

/* A translation the monitor would have: code at gva came from gfn. */
struct unit {
	gva_t gva;
	gfn_t gfn;
	bool live;
};

struct fuzz {
	struct rig *r;
	struct unit unit[ARRAY_SIZE(places)];
	bool stale; /* code_mapping(GFN_NONE) came */
	gfn_t stale_gfn[64];
	u32 nr_stale;
	u64 units, reported;
	u64 rng, seed;
	u32 step;
	u32 hook_in; /* somebody else acts at this many gmem calls from now */
	bool raced;
	bool failing; /* an allocation is set to fail */
	struct shadow_fixed fixed;
	u32 outcomes[8];
	u32 large_seen, enomem;
};

static u64 rnd(struct fuzz *z)
{
	z->rng ^= z->rng << 13;
	z->rng ^= z->rng >> 7;
	z->rng ^= z->rng << 17;
	return z->rng >> 11;
}

static u32 below(struct fuzz *z, u32 n)
{
	return rnd(z) % n;
}

static bool one_in(struct fuzz *z, u32 n)
{
	return below(z, n) == 0;
}

static gva_t place(struct fuzz *z)
{
	return places[below(z, ARRAY_SIZE(places))];
}

static void fail_at(struct fuzz *z, const char *what, gva_t gva)
{
	fail_msg("seed %llu step %u: %s (gva %llx)",
		 (unsigned long long)z->seed, z->step, what,
		 (unsigned long long)gva);
}

static bool in_region(struct fuzz *z, gva_t gva)
{
	return gva >> 39 == z->fixed.region_base >> 39;
}

static bool in_window(struct fuzz *z, gva_t gva)
{
	return gva - z->fixed.window_base <
	       (u64)z->fixed.window_pdes << 21;
}

/* --- what is checked after every step ------------------------------------- */

/* Entries on the reference's path all have A, the leaf D when asked. */
static bool has_ad(struct fuzz *z, gva_t gva, bool dirty)
{
	u64 at = z->r->m.cr3 & FRAME, e = 0;
	int n;

	for (n = 4; n; n--) {
		e = *gmem_array_u64(z->r->vm, at + 8 * (gva >> (3 + 9 * n) & 511));
		if (!(e & A))
			return false;
		if (n == 1 || (n < 4 && (e & PS)))
			break;
		at = e & FRAME;
	}
	return !dirty || (e & D);
}

static void check_access(struct fuzz *z, enum shadow_view view, gva_t gva,
			 const struct mmu *x, u32 access)
{
	struct rig *r = z->r;
	gpa_t gpa = 0;
	u32 err;

	if (!rig_allows(x, access))
		return;
	err = ref_walk(r->vm, &r->m, gva, access, &gpa);
	if (err)
		fail_at(z, "hardware may do what the guest may not", gva);
	if (!gmem_is_ram(r->vm, gpa >> 12))
		fail_at(z, "something is mapped where there is no memory", gva);
	if (x->hpa != (hpa_t)(uintptr_t)gmem_array_at(r->vm, gpa))
		fail_at(z, "wrong page", gva);
	if (!has_ad(z, gva, access & PF_ERR_WRITE))
		fail_at(z, "accessed or dirty bit missing", gva);
	if (!(access & PF_ERR_WRITE))
		return;
	if (shadow_trace_get(r->s, gpa >> 12))
		fail_at(z, "a traced frame is writable", gva);
	if (r->vm->flags[gpa >> 12] & (GMEM_RO_SLOT | GMEM_NO_WRITE))
		fail_at(z, "the host's read-only page is writable", gva);
	if (!(r->vm->flags[gpa >> 12] & GMEM_DIRTY))
		fail_at(z, "writable without being logged", gva);
}

static void check_fixed(struct fuzz *z, gva_t gva, const struct mmu *x)
{
	u32 i = (gva - z->fixed.window_base) >> 21;
	u64 want = in_region(z, gva) ? z->fixed.region_pte :
				       z->fixed.window_pde[i];

	if (!x->present || (x->leaf & ~A) != (want & ~A))
		fail_at(z, "region or window is not there", gva);
}

static void check_view(struct fuzz *z, enum shadow_view view)
{
	u32 who = view == SHADOW_USER ? PF_ERR_USER : 0, i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		struct mmu x = rig_mmu(z->r, view, places[i]);

		if (in_region(z, places[i]) ||
		    (view == SHADOW_KERNEL && in_window(z, places[i]))) {
			check_fixed(z, places[i], &x);
			continue;
		}
		z->large_seen += x.present && x.level == 2;
		check_access(z, view, places[i], &x, who);
		check_access(z, view, places[i], &x, who | PF_ERR_WRITE);
		if (view == SHADOW_USER)
			check_access(z, view, places[i], &x,
				     who | PF_ERR_FETCH);
		else if (x.present && x.exec)
			fail_at(z, "kernel view executes guest memory",
				places[i]);
	}
}

static void check_all(struct fuzz *z)
{
	static const gva_t outside[] = { 0x800000000000, 0x1000000000000,
					 0xfffe000000000000,
					 0xffff7ffffffff000 };
	int view;
	u32 i;

	if (!shadow_audit(z->r->s))
		fail_at(z, "audit", 0);
	for (view = 0; view < SHADOW_VIEWS; view++) {
		if (!z->r->root[view])
			continue;
		check_view(z, view);
		/* On 4 levels these addresses cannot be expressed. */
		for (i = 0; i < 4 && z->r->cfg.host_levels == 5; i++)
			if (rig_mmu(z->r, view, outside[i]).present)
				fail_at(z, "not canonical, but mapped",
					outside[i]);
	}
}

/*
 * --- translated code: what is still believed must still be so ---
 *
 * As the monitor: reports are noted and applied at the end of the step, frames
 * reported are dropped, "anything" means to trace every one again.
 */

static void on_code(struct rig *r)
{
	struct fuzz *z = container_of(r->code_arg, struct fuzz, r);

	z->reported++;
	if (r->code_gfn == GFN_NONE || z->nr_stale == ARRAY_SIZE(z->stale_gfn))
		z->stale = true;
	else
		z->stale_gfn[z->nr_stale++] = r->code_gfn;
}

static void drop_units(struct fuzz *z, gfn_t gfn)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(z->unit); i++)
		if (gfn == GFN_NONE || z->unit[i].gfn == gfn)
			z->unit[i].live = false;
}

static void settle(struct fuzz *z)
{
	struct shadow_fault f;
	gfn_t now;
	u32 i, tries;

	while (z->nr_stale)
		drop_units(z, z->stale_gfn[--z->nr_stale]);
	for (tries = 0; z->stale && tries < 3; tries++) {
		z->stale = false;
		for (i = 0; i < ARRAY_SIZE(z->unit); i++) {
			struct unit *u = &z->unit[i];

			if (u->live &&
			    (shadow_trace_code(z->r->s, &z->r->m, u->gva, &now,
					       &f) ||
			     now != u->gfn))
				u->live = false;
		}
	}
	if (z->stale || z->nr_stale)
		drop_units(z, GFN_NONE);
	z->stale = false;
	z->nr_stale = 0;
}

static void check_units(struct fuzz *z)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(z->unit); i++) {
		struct unit *u = &z->unit[i];
		gpa_t gpa = 0;

		if (!u->live)
			continue;
		if (ref_walk(z->r->vm, &z->r->m, u->gva, PF_ERR_FETCH, &gpa) ||
		    gpa >> 12 != u->gfn)
			fail_at(z, "code is not what the guest maps there",
				u->gva);
		if (!(shadow_trace_get(z->r->s, u->gfn) & SHADOW_TRACE_CODE))
			fail_at(z, "code is not traced", u->gva);
	}
}

/* After a CR3 load: only what is below equal top-level entries is kept. */
static void compare_top(struct fuzz *z, u64 old)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(z->unit); i++) {
		u64 at = 8 * (z->unit[i].gva >> 39 & 511);

		if ((*gmem_array_u64(z->r->vm, old + at) ^
		     *gmem_array_u64(z->r->vm, z->r->m.cr3 + at)) &
		    0x800ffffffffff01full)
			z->unit[i].live = false;
	}
}

static void translate(struct fuzz *z)
{
	u32 i = below(z, ARRAY_SIZE(places));
	struct shadow_fault f;
	gfn_t gfn;

	if (shadow_trace_code(z->r->s, &z->r->m, places[i], &gfn, &f))
		return;
	if (!(shadow_trace_get(z->r->s, gfn) & SHADOW_TRACE_CODE))
		fail_at(z, "code trace not set", places[i]);
	z->unit[i] = (struct unit){ places[i], gfn, true };
	z->units++;
}

/* --- what the guest, the host and others do -------------------------------- */

static gfn_t any_table(struct fuzz *z)
{
	return 1 + below(z, TABLES);
}

static gfn_t any_frame(struct fuzz *z)
{
	if (one_in(z, 4))
		return any_table(z);
	if (one_in(z, 20))
		return FRAMES + below(z, 4);
	return below(z, 64) + 512 * below(z, 4);
}

static u64 any_bits(struct fuzz *z)
{
	u64 bits = P | W | U | A | D;

	if (one_in(z, 3))
		bits ^= 1ull << below(z, 12);
	if (one_in(z, 6))
		bits ^= 1ull << below(z, 8);
	if (one_in(z, 5))
		bits |= NX;
	return one_in(z, 12) ? 0 : bits & ~PS;
}

static u64 any_entry(struct fuzz *z, int level)
{
	u64 frame = any_frame(z);

	if (level > 1 && !one_in(z, 4))
		return any_table(z) << 12 | any_bits(z);
	if (level == 2 || level == 3) {
		frame = level == 2 ? below(z, 10) << 9 : 0;
		frame |= one_in(z, 10) ? 1 << below(z, 12) : 0;
		return frame << 12 | any_bits(z) | PS;
	}
	return frame << 12 | any_bits(z);
}

/* Pick an entry by following the guest's tables from a root. */
static gpa_t any_gpte(struct fuzz *z, int *level)
{
	gva_t gva = place(z);
	gpa_t at = z->r->m.cr3 & FRAME;
	int stop = one_in(z, 4) ? 1 + below(z, 4) : 1;

	if (one_in(z, 6))
		at = (1 + below(z, ROOTS)) << 12;
	for (*level = 4;; --*level) {
		gpa_t gpa = at + 8 * (gva >> (3 + 9 * *level) & 511);
		u64 e = *gmem_array_u64(z->r->vm, gpa);

		if (*level == stop || !(e & P) || (e & PS) ||
		    (e & FRAME) >> 12 > TABLES || !(e & FRAME))
			return gpa;
		at = e & FRAME;
	}
}

static u64 new_value(struct fuzz *z, gpa_t gpa, int level)
{
	u64 old = *gmem_array_u64(z->r->vm, gpa);

	switch (below(z, 8)) {
	case 0:
		return 0;
	case 1:
		return old ^ 1ull << below(z, 8);
	case 2:
		return old & ~(A | D);
	case 3:
		return old ^ (one_in(z, 2) ? W : NX);
	default:
		return any_entry(z, level);
	}
}

static void edit(struct fuzz *z)
{
	int level, err;
	gpa_t gpa = any_gpte(z, &level);
	u64 v = new_value(z, gpa, level), old;
	u32 len = 8, offset = 0;
	u8 group[64];

	if (one_in(z, 8)) {
		old = *gmem_array_u64(z->r->vm, gpa);
		err = shadow_cmpxchg(z->r->s, gpa, &old, v, 8, NULL);
		assert_true(!err || z->raced);
		return;
	}
	if (one_in(z, 12)) {
		/* Many at once, at an odd place. */
		memcpy(group, gmem_array_at(z->r->vm, gpa & ~63ull), 64);
		memcpy(group + (gpa & 56), &v, 8);
		err = shadow_write(z->r->s, gpa & ~63ull, group, 64, NULL);
		assert_int_equal(err, 0);
		return;
	}
	if (one_in(z, 6)) {
		offset = below(z, 8);
		len = 1 + below(z, 8 - offset);
	}
	err = shadow_write(z->r->s, gpa + offset, (u8 *)&v + offset, len, NULL);
	assert_int_equal(err, 0);
}

/* Make a place accessible, with as few changes as it takes (or a few more). */
static void lay_path(struct fuzz *z)
{
	gva_t gva = place(z);
	gpa_t at = z->r->m.cr3 & FRAME;
	u64 e, nxe = z->r->m.efer & 0x800;
	int level, leaf = one_in(z, 4) ? 2 : 1;

	for (level = 4; level; level--) {
		gpa_t gpa = at + 8 * (gva >> (3 + 9 * level) & 511);

		e = *gmem_array_u64(z->r->vm, gpa);
		if (level == leaf || !(e & P) || (level > 1 && (e & PS)) ||
		    ((e & FRAME) >> 12) - 1 >= TABLES || (e & 1 << 7) ||
		    (e >> 63 && !nxe) || !(e & U) || one_in(z, 20)) {
			e = any_table(z);
			if (level == leaf)
				e = leaf == 2 ? below(z, 8) << 9 :
						any_frame(z);
			e = e << 12 | P | W | U | (one_in(z, 2) ? A | D : 0) |
			    (level == leaf && leaf == 2 ? PS : 0);
			assert_int_equal(shadow_write(z->r->s, gpa, &e, 8,
						      NULL),
					 0);
		}
		if (level == leaf)
			return;
		at = e & FRAME;
	}
}

/* A store of another CPU, running natively unless the frame is traced. */
static void edit_elsewhere(struct fuzz *z)
{
	int level;
	gpa_t gpa = any_gpte(z, &level);
	u64 v = new_value(z, gpa, level);

	if (shadow_trace_get(z->r->s, gpa >> 12))
		assert_int_equal(shadow_write(z->r->s, gpa, &v, 8, NULL), 0);
	else
		*gmem_array_u64(z->r->vm, gpa) = v;
}

/* The guest stores to memory at gva, whatever that is. */
static void store_through(struct fuzz *z)
{
	enum shadow_view view = one_in(z, 2);
	gva_t gva = place(z) + 8 * (place(z) >> 39 & 511);
	struct shadow_fault f;
	u64 v = any_entry(z, 1 + below(z, 4));
	struct mmu x;
	int ret;

	ret = rig_access(z->r, view, gva, PF_ERR_WRITE, &f);
	if (ret == SHADOW_PF_TRACE) {
		assert_int_equal(shadow_write(z->r->s, f.gpa, &v, 8, NULL), 0);
		return;
	}
	if (ret != SHADOW_PF_FIXED)
		return;
	x = rig_mmu(z->r, view, gva);
	if (x.level == 2 || (x.hpa >= (hpa_t)z->r->vm->ram &&
			     x.hpa < (hpa_t)z->r->vm->ram + (FRAMES << 12)))
		if (!in_window(z, gva) && !in_region(z, gva))
			*(u64 *)env_hpa_page(x.hpa) = v;
}

/* One fault against the reference's opinion beforehand. */
static void access_once(struct fuzz *z)
{
	enum shadow_view view = one_in(z, 2);
	static const u32 kinds[] = { 0, PF_ERR_WRITE, PF_ERR_FETCH };
	u32 access = kinds[below(z, view == SHADOW_USER ? 3 : 2)];
	gva_t gva = place(z) | below(z, 4096);
	struct rig *r = z->r;
	struct shadow_fault f;
	gpa_t gpa = 0;
	u32 want, flags;
	int ret;

	if (view == SHADOW_USER)
		access |= PF_ERR_USER;
	want = ref_walk(r->vm, &r->m, gva, access, &gpa);
	flags = gmem_is_ram(r->vm, gpa >> 12) ? r->vm->flags[gpa >> 12] :
						GMEM_HOLE;
	ret = rig_fault(r, view, gva, access, &f);
	if (ret == -ENOMEM) {
		assert_true(z->failing);
		z->enomem++;
		return;
	}
	assert_true(ret >= 0);
	z->outcomes[ret]++;
	if (z->raced)
		return;
	if (want) {
		if (ret != SHADOW_PF_GUEST || (f.error | REF_FAULT) != want)
			fail_at(z, "true fault not seen as such", gva);
	} else if (in_region(z, gva) ||
		   (in_window(z, gva) && view == SHADOW_KERNEL)) {
		if (ret != SHADOW_PF_RETRY)
			fail_at(z, "conflict not seen", gva);
	} else if ((flags & GMEM_HOLE) ||
		   ((flags & GMEM_RO_SLOT) && (access & PF_ERR_WRITE))) {
		if (ret != SHADOW_PF_MMIO || f.gpa != gpa)
			fail_at(z, "MMIO not seen", gva);
	} else if ((access & PF_ERR_WRITE) &&
		   shadow_trace_get(r->s, gpa >> 12)) {
		if (ret != SHADOW_PF_TRACE || f.gpa != gpa)
			fail_at(z, "store to a traced frame not seen", gva);
	} else {
		struct mmu x;

		if (ret != SHADOW_PF_FIXED || f.gpa != gpa)
			fail_at(z, "hidden fault not repaired", gva);
		if (!r->root[view])
			return;
		x = rig_mmu(r, view, gva);
		if (!rig_allows(&x, view ? access & ~PF_ERR_FETCH : access))
			fail_at(z, "repaired, but hardware would fault", gva);
	}
}

static void fetch_roots(struct fuzz *z)
{
	hpa_t root;
	int view, err;

	for (view = 0; view < SHADOW_VIEWS; view++) {
		err = shadow_root(z->r->s, &z->r->m, view, &root);
		if (err)
			assert_true(err == -ENOMEM && z->failing);
		z->r->root[view] = err ? 0 : root;
	}
}

static void switch_mode(struct fuzz *z)
{
	struct shadow_mode *m = &z->r->m;
	u64 old = m->cr3;

	switch (below(z, 6)) {
	case 0:
		m->cr0 ^= 1ull << 16;
		break;
	case 1:
		drop_units(z, GFN_NONE);
		m->efer ^= one_in(z, 3) || !(m->efer & 1ull << 11) ?
				   1ull << 11 :
				   0;
		break;
	case 2:
		drop_units(z, GFN_NONE);
		m->cr4 ^= 1ull << 20;
		break;
	default:
		m->cr3 = (1 + below(z, ROOTS)) << 12;
		compare_top(z, old);
	}
}

static void move_window(struct fuzz *z)
{
	static const gva_t bases[] = { RIG_WINDOW, 0xffffffff80000000ull,
				       0x40000000ull, 0xfffffffff8000000ull };
	static const gva_t regions[] = { RIG_REGION, 0xffff880000000000ull,
					 0x7f8000000000ull };
	struct shadow_fixed f = z->fixed;
	int err;

	f.window_base = bases[below(z, 4)];
	f.window_pdes = 1 + below(z, 60);
	f.region_base = regions[below(z, 3)];
	err = shadow_set_fixed(z->r->s, &f);
	if (!err) {
		z->fixed = f;
		/* The old roots are gone. */
		memset(z->r->root, 0, sizeof(z->r->root));
	} else {
		assert_true(err == -ENOMEM && z->failing);
	}
}

static void host_side(struct fuzz *z)
{
	struct rig *r = z->r;
	gfn_t gfn = below(z, FRAMES), n = one_in(z, 4) ? FRAMES : 1;
	gfn_t stale[3];

	if (one_in(z, 2))
		gfn = any_table(z);
	switch (below(z, 7)) {
	case 0:
		r->vm->seq++;
		shadow_zap_gfns(r->s, gfn, n);
		break;
	case 6:
		r->vm->seq++;
		shadow_unmap_gfns(r->s, gfn, n);
		shadow_take_stale(r->s, stale, ARRAY_SIZE(stale));
		break;
	case 1:
		shadow_protect_gfns(r->s, gfn, n);
		for (; n && gfn < FRAMES; n--, gfn++)
			r->vm->flags[gfn] &= ~GMEM_DIRTY;
		break;
	case 2:
		shadow_age_gfns(r->s, gfn, n, one_in(z, 2));
		break;
	case 3:
		/* Copy on write begins. */
		gfn = below(z, 64) + 512 * below(z, 4);
		r->vm->seq++;
		r->vm->flags[gfn] |= GMEM_NO_WRITE;
		shadow_zap_gfns(r->s, gfn, 1);
		break;
	case 4:
		gfn = TABLES + 1 + below(z, 24);
		r->vm->seq++;
		r->vm->flags[gfn] ^= one_in(z, 2) ? GMEM_HOLE : GMEM_RO_SLOT;
		shadow_zap_gfns(r->s, gfn, 1);
		break;
	default:
		if (one_in(z, 10))
			shadow_zap_all(r->s);
	}
}

static void traces(struct fuzz *z)
{
	gfn_t gfn = below(z, 64) + 512 * below(z, 4);
	u32 kind = one_in(z, 2) ? SHADOW_TRACE_CODE : SHADOW_TRACE_TABLE;
	int err = 0;

	switch (below(z, 3)) {
	case 0:
		err = shadow_trace_add(z->r->s, gfn, kind);
		if (!err && !(shadow_trace_get(z->r->s, gfn) & kind))
			fail_at(z, "trace not set", gfn);
		break;
	case 1:
		shadow_trace_del(z->r->s, gfn, kind);
		if (kind == SHADOW_TRACE_CODE)
			drop_units(z, gfn);
		break;
	default:
		translate(z);
	}
	if (err == -ENOMEM)
		assert_true(z->failing);
}

/* Somebody else, at a random point of an operation. */
static void elsewhere(struct popf_vm *vm, void *arg)
{
	struct fuzz *z = arg;

	if (!z->hook_in || --z->hook_in)
		return;
	z->raced = true;
	if (one_in(z, 3))
		host_side(z);
	else
		edit_elsewhere(z);
	(void)vm;
}

/* The guest flushes its TLB, all of it or page by page. */
static void flush(struct fuzz *z)
{
	u32 i;

	if (one_in(z, 2)) {
		shadow_sync(z->r->s);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(places); i++)
		shadow_invlpg(z->r->s, &z->r->m, places[i]);
}

static void step(struct fuzz *z)
{
	u32 what = below(z, 100);

	z->failing = one_in(z, 12);
	env_fail_alloc = z->failing ? 1 + below(z, 6) : 0;
	z->raced = false;
	z->hook_in = one_in(z, 5) ? 1 + below(z, 12) : 0;
	z->r->vm->no_atomic = one_in(z, 2);
	if (what < 15)
		edit(z);
	else if (what < 30)
		lay_path(z);
	else if (what < 36)
		translate(z);
	else if (what < 75)
		access_once(z);
	else if (what < 83)
		store_through(z);
	else if (what < 88)
		host_side(z);
	else if (what < 95)
		traces(z);
	else if (what < 99)
		switch_mode(z);
	else if (one_in(z, 4))
		move_window(z);
	z->hook_in = 0;
	flush(z);
	fetch_roots(z);
	settle(z);
	fetch_roots(z);
	env_fail_alloc = 0;
	z->failing = false;
}

static u64 from_env(const char *name, u64 otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

static void run_fuzz(u8 levels, bool large, u32 max_pages, u64 seed)
{
	struct shadow_config cfg = { .host_levels = levels,
				     .large_pages = large,
				     .prefault = seed & 1,
				     .unsync = from_env("SHADOW_UNSYNC",
							seed & 2),
				     .max_pages = max_pages };
	struct fuzz z = { .seed = from_env("SHADOW_SEED", seed) };
	u32 steps = from_env("SHADOW_STEPS", STEPS), i;
	struct shadow_stats st;

	z.rng = z.seed * 0x9e3779b97f4a7c15ull + 1;
	z.r = rig_create(FRAMES, &cfg);
	z.fixed = z.r->cfg.fixed;
	z.r->on_code = on_code;
	z.r->code_arg = &z.r;
	z.r->vm->large = large;
	z.r->vm->hook = elsewhere;
	z.r->vm->hook_arg = &z;
	for (i = 0; i < 200; i++)
		lay_path(&z);
	for (z.step = 0; z.step < steps; z.step++) {
		step(&z);
		check_all(&z);
		check_units(&z);
	}
	shadow_get_stats(z.r->s, &st);
	/* The run has been where it was meant to go. */
	for (i = SHADOW_PF_FIXED; i <= SHADOW_PF_RETRY; i++)
		assert_true(z.outcomes[i] || steps < STEPS);
	assert_true(!large || z.large_seen || steps < STEPS);
	if (getenv("SHADOW_VERBOSE"))
		print_message("fixed %u guest %u trace %u mmio %u retry %u, large %u, no memory %u, pages at most %llu, recycled %llu, eager %llu, code %llu, reports %llu\n",
			      z.outcomes[0], z.outcomes[1], z.outcomes[2],
			      z.outcomes[3], z.outcomes[4], z.large_seen,
			      z.enomem, (unsigned long long)st.pages_max,
			      (unsigned long long)st.pages_recycled,
			      (unsigned long long)st.eager_validates,
			      (unsigned long long)z.units,
			      (unsigned long long)z.reported);
	rig_destroy(z.r);
}

static void test_4_levels_small_pages(void **state)
{
	run_fuzz(4, false, 512, 1);
	run_fuzz(4, false, 512, 2);
}

static void test_5_levels_small_pages(void **state)
{
	run_fuzz(5, false, 512, 3);
	run_fuzz(5, false, 512, 4);
}

static void test_4_levels_large_pages(void **state)
{
	run_fuzz(4, true, 512, 5);
	run_fuzz(4, true, 512, 6);
}

static void test_5_levels_large_pages(void **state)
{
	run_fuzz(5, true, 512, 7);
}

static void test_4_levels_with_constant_reclaim(void **state)
{
	run_fuzz(4, true, 32, 8);
	run_fuzz(4, false, 32, 9);
}

static void test_5_levels_with_constant_reclaim(void **state)
{
	run_fuzz(5, true, 32, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_4_levels_small_pages),
		cmocka_unit_test(test_5_levels_small_pages),
		cmocka_unit_test(test_4_levels_large_pages),
		cmocka_unit_test(test_5_levels_large_pages),
		cmocka_unit_test(test_4_levels_with_constant_reclaim),
		cmocka_unit_test(test_5_levels_with_constant_reclaim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
