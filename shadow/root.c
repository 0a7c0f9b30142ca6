// SPDX-License-Identifier: GPL-2.0-only
/*
 * Roots: one per guest CR3, paging state and view.
 *
 * On a 4-level host the root is the shadow of the guest's level-4 table. On a
 * 5-level host a level-5 page is put on top, with two entries: the first leads
 * to a shadow of the table's lower half, the last to one of its upper half, so
 * that addresses the guest's 48 bits cannot express stay unmapped.
 */
#include "shadow_internal.h"

enum { HALF_BOTH, HALF_LOWER, HALF_UPPER };

u32 shadow_half(const struct shadow *s, gva_t gva)
{
	if (s->cfg.host_levels == 4)
		return HALF_BOTH;
	return gva >> 47 & 1 ? HALF_UPPER : HALF_LOWER;
}

/* Level-5 slot that covers gva. */
static u32 top_index(gva_t gva)
{
	return gva >> 47 & 1 ? PT_ENTRIES - 1 : 0;
}

/* The level-4 page of a root that maps gva. */
struct shadow_page *shadow_root_top(struct shadow *s, struct shadow_page *root,
				    gva_t gva)
{
	u32 slot;

	if (s->cfg.host_levels == 4)
		return root;
	slot = slot_of(root, top_index(gva));
	return &s->sp[shadow_slot_link(s, slot)->target];
}

static union shadow_role root_role(const struct shadow *s,
				   const struct shadow_mode *m,
				   enum shadow_view view, gva_t gva)
{
	struct shadow_gwalk w = { .gva = gva };
	union shadow_role role;

	w.acc[GUEST_LEVELS] = ACC_ALL;
	role = shadow_table_role(s, m, view, &w, GUEST_LEVELS);
	role.half = shadow_half(s, gva);
	return role;
}

static struct shadow_page *root5_get(struct shadow *s,
				     const struct shadow_mode *m,
				     enum shadow_view view, u32 gfn)
{
	union shadow_role role = root_role(s, m, view, 0);
	struct shadow_page *root, *lower, *upper;

	role.half = HALF_BOTH;
	role.window = 0;
	role.level = 5;
	root = shadow_page_find(s, gfn, role);
	if (root)
		return root;
	lower = shadow_page_get(s, gfn, root_role(s, m, view, 0));
	upper = shadow_page_get(s, gfn, root_role(s, m, view, ~0ull));
	root = shadow_page_get(s, gfn, role);
	if (!lower || !upper || !root)
		return NULL;
	shadow_page_link(s, root, 0, lower);
	shadow_page_link(s, root, PT_ENTRIES - 1, upper);
	return root;
}

/* Find or make; with the lock, after shadow_reserve(). NULL only by a bug. */
struct shadow_page *shadow_root_get(struct shadow *s,
				    const struct shadow_mode *m,
				    enum shadow_view view, u32 gfn)
{
	if (s->cfg.host_levels == 5)
		return root5_get(s, m, view, gfn);
	return shadow_page_get(s, gfn, root_role(s, m, view, 0));
}

static void set_pinned(struct shadow *s, struct shadow_page *root, bool pinned)
{
	root->pinned = pinned;
	if (root->role.level == 5) {
		shadow_root_top(s, root, 0)->pinned = pinned;
		shadow_root_top(s, root, ~0ull)->pinned = pinned;
	}
}

struct shadow_root_key shadow_root_key(const struct shadow_mode *m)
{
	return (struct shadow_root_key){
		.cr3 = m->cr3 & GPTE_FRAME,
		.role = (m->cr0 & MODE_CR0_WP) | (m->efer & MODE_EFER_NXE) |
			(u64)m->maxphyaddr << 32,
	};
}

static void set_current(struct shadow *s, enum shadow_view view,
			struct shadow_page *root, const struct shadow_mode *m)
{
	s->cur_mode[view] = *m;
	if (s->cur[view] != root) {
		if (s->cur[view]) {
			set_pinned(s, s->cur[view], false);
			shadow_page_touch(s, s->cur[view]);
		}
		s->cur[view] = root;
		set_pinned(s, root, true);
	}
	shadow_page_touch(s, root);
	shadow_root_top(s, root, 0)->writes = 0;
	shadow_root_top(s, root, ~0ull)->writes = 0;
}

/* The guest's own entry in the region's slot, if it has one, is a conflict. */
static void check_region(struct shadow *s, gfn_t gfn)
{
	gva_t base = s->cfg.fixed.region_base;
	u64 gpte;

	if (gmem_read(s->vm, gfn_to_gpa(gfn) + 8 * pt_index(base, 4), &gpte,
		      sizeof(gpte)))
		return;
	if ((gpte & GPTE_P) && s->ops->window_conflict)
		s->ops->window_conflict(s->opaque, base);
}

/*
 * The usual case, every entry to the guest world: nothing has changed. Without the
 * lock: the root of now is pinned, and stays where it is until the vCPU's own
 * thread, which asks, takes another. A root without a guest part is looked up anew,
 * since memory may have come.
 */
static bool same_root(struct shadow *s, const struct shadow_mode *m,
		      enum shadow_view view, hpa_t *root)
{
	const struct shadow_mode *now = &s->cur_mode[view];
	const struct shadow_page *cur = s->cur[view];

	if (!cur || READ_ONCE(cur->gfn) == SP_GFN_NONE || now->cr3 != m->cr3 ||
	    now->cr0 != m->cr0 || now->cr4 != m->cr4 || now->efer != m->efer ||
	    now->maxphyaddr != m->maxphyaddr)
		return false;
	*root = env_page_hpa(cur->spt);
	return true;
}

/* What prefill() needs to know of a root after the lock was dropped. */
struct root_ref {
	u32 id, gfn;
	union shadow_role role;
};

static struct root_ref root_ref(struct shadow *s, struct shadow_page *root)
{
	struct shadow_page *top = shadow_root_top(s, root, ~0ull);

	return (struct root_ref){ top->id, top->gfn, top->role };
}

static bool is_same(struct shadow *s, const struct root_ref *ref)
{
	struct shadow_page *sp = &s->sp[ref->id];

	return sp->live && sp->gfn == ref->gfn &&
	       sp->role.word == ref->role.word;
}

static void link_same(struct shadow *s, struct shadow_page *sp,
		      struct shadow_page *from, const u64 *gpte,
		      const u64 *from_gpte)
{
	struct shadow_page *child;
	u32 i, index;

	for (i = 0; i < PT_ENTRIES / 2; i++) {
		index = PT_ENTRIES / 2 + i;
		if (!spte_present(from->spt[index]) ||
		    spte_present(sp->spt[index]) || gpte[i] != from_gpte[i] ||
		    shadow_slot_fixed(s, sp, index) ||
		    shadow_slot_path(s, sp, index))
			continue;
		child = &s->sp[shadow_slot_link(s, slot_of(from, index))->target];
		if (shadow_child_fits(sp, child, gpte[i]))
			shadow_page_link(s, sp, index, child);
	}
}

/*
 * A new process: the kernel's half of its level-4 table is mostly that of the one
 * before. Linking the same pages saves a fault for each entry.
 */
static void prefill(struct shadow *s, const struct root_ref *to,
		    const struct root_ref *from, u64 gen)
{
	const u32 half = PT_ENTRIES / 2, size = half * sizeof(u64);
	u64 *gpte = s->sync_buf;

	env_mutex_lock(&s->sync_lock);
	if (gmem_read(s->vm, gfn_to_gpa(to->gfn) + size, gpte, size) ||
	    gmem_read(s->vm, gfn_to_gpa(from->gfn) + size, gpte + half, size))
		goto out;
	shadow_lock(s);
	if (gen == s->gen && is_same(s, to) && is_same(s, from) &&
	    shadow_cache_ready(s))
		link_same(s, &s->sp[to->id], &s->sp[from->id], gpte,
			  gpte + half);
	shadow_unlock(s);
out:
	env_mutex_unlock(&s->sync_lock);
}

/*
 * Is there something in the kernel's half of the old root that a new one lacks?
 * The role has to be the same: it is that of all pages below.
 */
static bool wants_prefill(struct shadow *s, enum shadow_view view,
			  struct shadow_page *sp)
{
	return s->cfg.prefault && view == SHADOW_KERNEL && s->cur[view] &&
	       s->cur[view] != sp && s->cur[view]->gfn != SP_GFN_NONE &&
	       shadow_root_top(s, s->cur[view], ~0ull)->role.word ==
		       shadow_root_top(s, sp, ~0ull)->role.word &&
	       sp->gfn != SP_GFN_NONE && !sp->checked;
}

int shadow_root(struct shadow *s, const struct shadow_mode *m,
		enum shadow_view view, hpa_t *root)
{
	gfn_t gfn = (m->cr3 & GPTE_FRAME) >> 12;
	struct root_ref from, to;
	struct shadow_page *sp;
	bool check, fill;
	u64 gen;
	int err;

	if (likely(same_root(s, m, view, root)))
		return 0;
	err = shadow_mode_check(m);
	if (err)
		return err;
	gfn &= (1ull << (m->maxphyaddr - 12)) - 1;
	if (gfn >= SHADOW_GFN_LIMIT || !gmem_is_ram(s->vm, gfn))
		gfn = SP_GFN_NONE;
	shadow_lock(s);
	while ((err = shadow_reserve(s)) == -ENOBUFS) {
		shadow_unlock(s);
		err = shadow_cache_fill(s);
		if (err)
			return err;
		shadow_lock(s);
	}
	sp = shadow_root_get(s, m, view, gfn);
	if (!sp) {
		shadow_unlock(s);
		return -ENOMEM;
	}
	fill = wants_prefill(s, view, sp);
	if (fill) {
		from = root_ref(s, s->cur[view]);
		to = root_ref(s, sp);
	}
	gen = s->gen;
	set_current(s, view, sp, m);
	*root = env_page_hpa(sp->spt);
	check = !sp->checked && s->has_region && gfn != SP_GFN_NONE;
	sp->checked = true;
	shadow_unlock(s);
	if (fill)
		prefill(s, &to, &from, gen);
	if (check)
		check_region(s, gfn);
	return 0;
}
