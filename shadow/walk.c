// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's own page walk, as hardware does it: 4-level long-mode paging with
 * 4 KiB, 2 MiB and 1 GiB leaves.
 *
 * Accessed and dirty bits are set, by compare-and-exchange so that a concurrent
 * change of an entry is never lost, once the whole walk is known to succeed.
 * Entries in memory that cannot be written (tables in ROM) are used as they are.
 */
#include "shadow_internal.h"

#define WALK_RESTARTS 64

static u32 fault_error(const struct shadow_mode *m, u32 access, u32 bits)
{
	u32 error = bits | (access & (PF_ERR_WRITE | PF_ERR_USER));

	if ((access & PF_ERR_FETCH) &&
	    ((m->efer & MODE_EFER_NXE) || (m->cr4 & MODE_CR4_SMEP)))
		error |= PF_ERR_FETCH;
	return error;
}

static bool access_allowed(const struct shadow_mode *m, u32 access, u32 acc)
{
	bool user = access & PF_ERR_USER;

	if (user && !(acc & ACC_U))
		return false;
	if ((access & PF_ERR_WRITE) && !(acc & ACC_W) &&
	    (user || (m->cr0 & MODE_CR0_WP)))
		return false;
	if (!(access & PF_ERR_FETCH))
		return true;
	if (!(acc & ACC_X))
		return false;
	return user || !(acc & ACC_U) || !(m->cr4 & MODE_CR4_SMEP);
}

static u32 gpte_acc(u64 gpte)
{
	return (gpte & GPTE_W ? ACC_W : 0) | (gpte & GPTE_U ? ACC_U : 0) |
	       (gpte & GPTE_NX ? 0 : ACC_X);
}

/* Level 1 is read in groups: neighbours are of use to prefault.c. */
static int read_gpte(struct popf_vm *vm, struct shadow_gwalk *w, int level,
		     u64 *gpte)
{
	gpa_t gpa = w->gpte_gpa[level];
	int err;

	if (level > 1)
		return gmem_read(vm, gpa, gpte, sizeof(*gpte));
	err = gmem_read(vm, gpa & ~(gpa_t)(sizeof(w->group) - 1), w->group,
			sizeof(w->group));
	*gpte = w->group[gpa / 8 % PREFAULT];
	return err;
}

/* 0, 1: not present or reserved bits (w->error has P and RSVD), -errno. */
static int walk_levels(struct popf_vm *vm, const struct shadow_mode *m,
		       struct shadow_gwalk *w)
{
	bool nxe = m->efer & MODE_EFER_NXE;
	gpa_t table = m->cr3 & GPTE_FRAME & ((1ull << m->maxphyaddr) - 1);
	u32 acc = ACC_ALL;
	int level, err;
	u64 gpte;

	for (level = GUEST_LEVELS; level >= 1; level--) {
		w->level = level;
		w->acc[level] = acc;
		w->gpte_gpa[level] = table + 8 * pt_index(w->gva, level);
		w->error = 0;
		err = read_gpte(vm, w, level, &gpte);
		if (err == -EFAULT)
			return 1;
		if (err)
			return err;
		w->gpte[level] = gpte;
		if (!(gpte & GPTE_P))
			return 1;
		w->error = PF_ERR_PRESENT | PF_ERR_RSVD;
		if (gpte_reserved(gpte, level, nxe, m->maxphyaddr))
			return 1;
		acc &= gpte_acc(gpte);
		if (gpte_is_leaf(gpte, level))
			break;
		table = gpte & GPTE_FRAME;
	}
	/* The leaf's own rights are left in the unused place for level 0. */
	w->acc[0] = acc;
	w->gfn = gpte_leaf_gfn(gpte, level) |
		 ((w->gva >> 12) & (level_frames(level) - 1));
	w->gpa = gfn_to_gpa(w->gfn) | (w->gva & ~POPF_PAGE_MASK);
	return 0;
}

/* 0, -EAGAIN: an entry has changed, -errno. */
static int walk_set_ad(struct popf_vm *vm, struct shadow_gwalk *w, bool write)
{
	int level, err;

	for (level = GUEST_LEVELS; level >= w->level; level--) {
		u64 old = w->gpte[level];
		u64 new = old | GPTE_A;

		if (level == w->level && write)
			new |= GPTE_D;
		if (new == old)
			continue;
		err = gmem_cmpxchg(vm, w->gpte_gpa[level], &old, new, 8);
		if (err && err != -EFAULT && err != -EROFS)
			return err;
		if (!err)
			gmem_mark_dirty(vm, gpa_to_gfn(w->gpte_gpa[level]));
		w->gpte[level] = new;
	}
	return 0;
}

/*
 * Walk to gva for this access. 0: *w is complete, A and D are set; 1: the guest
 * gets a fault with w->error, ~0u when gva is not canonical; -errno.
 */
int shadow_guest_walk(struct popf_vm *vm, const struct shadow_mode *m,
		      gva_t gva, u32 access, struct shadow_gwalk *w)
{
	int restarts, err;

	w->gva = gva;
	w->code = false;
	w->error = ~0u;
	if (!gva_canonical(gva))
		return 1;
	for (restarts = 0; restarts < WALK_RESTARTS; restarts++) {
		err = walk_levels(vm, m, w);
		if (err < 0)
			return err;
		if (err) {
			w->error = fault_error(m, access, w->error);
			return 1;
		}
		if (!access_allowed(m, access, w->acc[0])) {
			w->error = fault_error(m, access, PF_ERR_PRESENT);
			return 1;
		}
		err = walk_set_ad(vm, w, access & PF_ERR_WRITE);
		if (err != -EAGAIN)
			return err;
	}
	return -EAGAIN;
}

int shadow_walk(struct shadow *s, const struct shadow_mode *m, gva_t gva,
		u32 access, gpa_t *gpa, struct shadow_fault *out)
{
	struct shadow_gwalk w;
	u64 seq;
	int err;

	memset(out, 0, sizeof(*out));
	out->gva = gva;
	err = shadow_mode_check(m);
	if (err)
		return err;
	/* What is found may be kept until a notifier says that tables have gone. */
	do {
		seq = gmem_seq(s->vm);
		err = shadow_guest_walk(s->vm, m, gva, access, &w);
	} while (gmem_retry(s->vm, seq));
	if (err > 0) {
		out->error = w.error;
		return -EFAULT;
	}
	if (err)
		return err;
	*gpa = out->gpa = w.gpa;
	return 0;
}
