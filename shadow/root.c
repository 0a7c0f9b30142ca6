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

static void set_current(struct shadow *s, enum shadow_view view,
			struct shadow_page *root)
{
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
 * The usual case, every entry to the guest world: nothing has changed. A root
 * without a guest part is looked up anew, since memory may have come.
 */
static bool same_root(struct shadow *s, const struct shadow_mode *m,
		      enum shadow_view view, hpa_t *root)
{
	struct shadow_page *cur;
	bool same;

	env_mutex_lock(&s->lock);
	cur = s->cur[view];
	same = cur && cur->gfn != SP_GFN_NONE &&
	       cur->gfn == (m->cr3 & GPTE_FRAME) >> 12 &&
	       shadow_root_top(s, cur, 0)->role.word ==
		       root_role(s, m, view, 0).word;
	if (same)
		*root = env_page_hpa(cur->spt);
	env_mutex_unlock(&s->lock);
	return same;
}

int shadow_root(struct shadow *s, const struct shadow_mode *m,
		enum shadow_view view, hpa_t *root)
{
	gfn_t gfn = (m->cr3 & GPTE_FRAME) >> 12;
	struct shadow_page *sp;
	bool check;
	int err;

	err = shadow_mode_check(m);
	if (err)
		return err;
	if (same_root(s, m, view, root))
		return 0;
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
	set_current(s, view, sp);
	*root = env_page_hpa(sp->spt);
	check = !sp->checked && s->has_region && gfn != SP_GFN_NONE;
	sp->checked = true;
	shadow_unlock(s);
	if (check)
		check_region(s, gfn);
	return 0;
}
