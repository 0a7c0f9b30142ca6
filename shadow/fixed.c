// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is in every root besides the guest: the switch region and the TC window.
 *
 * The region is one level-4 entry of both views. The window is a run of level-2
 * entries of the kernel view; the pages on its path (role.window) are always
 * there: the level-4 and level-3 slots that lead to it point to pages of the
 * guest's own tables where the guest has some, and otherwise to two permanent
 * pages that hold nothing but the window. So the path never needs memory when
 * the guest's part of it is zapped.
 */
#include "shadow_internal.h"

bool shadow_fixed_valid(const struct shadow_fixed *f)
{
	u64 first = pt_index(f->window_base, 2);

	if (f->region_pte &&
	    (!gva_canonical(f->region_base) ||
	     (f->region_base & ((1ull << 39) - 1)) ||
	     !spte_present(f->region_pte) || (f->region_pte & SPTE_U)))
		return false;
	if (!f->window_pdes)
		return true;
	if (!f->window_pde || !gva_canonical(f->window_base) ||
	    (f->window_base & ((1ull << 21) - 1)) ||
	    first + f->window_pdes > PT_ENTRIES)
		return false;
	return !f->region_pte ||
	       pt_index(f->region_base, 4) != pt_index(f->window_base, 4);
}

/* Where the window is, level by level. */
static u32 window_index(const struct shadow *s, int level)
{
	return pt_index(s->cfg.fixed.window_base, level);
}

/* Does the table of this level that maps gva lie on the window's path? */
bool shadow_on_window_path(const struct shadow *s, gva_t gva, int level)
{
	gva_t base = s->cfg.fixed.window_base;

	if (!s->has_window)
		return false;
	if (level == 4)
		return shadow_half(s, gva) == shadow_half(s, base);
	return gva >> (12 + 9 * level) == base >> (12 + 9 * level);
}

/* Is this slot an entry of the region or the window, not to be touched? */
bool shadow_slot_fixed(const struct shadow *s, const struct shadow_page *sp,
		       u32 index)
{
	const struct shadow_fixed *f = &s->cfg.fixed;

	if (sp->role.level == 4)
		return s->has_region && index == pt_index(f->region_base, 4) &&
		       sp->role.half == shadow_half(s, f->region_base);
	if (sp->role.level == 2 && sp->role.window)
		return index - window_index(s, 2) < f->window_pdes;
	return false;
}

gva_t shadow_slot_fixed_gva(const struct shadow *s,
			    const struct shadow_page *sp, u32 index)
{
	const struct shadow_fixed *f = &s->cfg.fixed;

	if (sp->role.level == 4)
		return f->region_base;
	return f->window_base + ((u64)(index - window_index(s, 2)) << 21);
}

/* Is this slot the one that leads to the window? */
bool shadow_slot_path(const struct shadow *s, const struct shadow_page *sp,
		      u32 index)
{
	return sp->role.window &&
	       (sp->role.level == 4 || sp->role.level == 3) &&
	       index == window_index(s, sp->role.level);
}

/* Is gva ours in this view, whatever the guest maps there? */
bool shadow_gva_fixed(const struct shadow *s, enum shadow_view view, gva_t gva)
{
	const struct shadow_fixed *f = &s->cfg.fixed;

	if (s->has_region && gva >> 39 == f->region_base >> 39)
		return true;
	return s->has_window && view == SHADOW_KERNEL &&
	       gva - f->window_base < (u64)f->window_pdes << 21;
}

/* Fixed entries and the path of a page that has just been made. */
void shadow_fixed_fill(struct shadow *s, struct shadow_page *sp)
{
	const struct shadow_fixed *f = &s->cfg.fixed;
	u32 i, first = window_index(s, 2);

	if (sp->role.level == 4 && s->has_region &&
	    sp->role.half == shadow_half(s, f->region_base))
		spte_set(sp, pt_index(f->region_base, 4), f->region_pte);
	if (!sp->role.window)
		return;
	if (sp->role.level == 4)
		shadow_page_link(s, sp, window_index(s, 4), s->win_l3);
	else if (sp->role.level == 3)
		shadow_page_link(s, sp, window_index(s, 3), s->win_l2);
	else if (sp->role.level == 2)
		for (i = 0; i < f->window_pdes; i++)
			spte_set(sp, first + i, f->window_pde[i]);
}

/*
 * Take over a description; pdes is room for its entries (or NULL when there are
 * none). Nothing may be shadowed now. Makes the permanent path pages out of the
 * stock, so the caller has called shadow_reserve(). False only by a bug.
 */
bool shadow_fixed_set(struct shadow *s, const struct shadow_fixed *fixed,
		      u64 *pdes)
{
	union shadow_role role = { .view = SHADOW_KERNEL, .window = 1 };

	s->cfg.fixed = *fixed;
	s->cfg.fixed.window_pde = pdes;
	s->has_region = fixed->region_pte;
	s->has_window = fixed->window_pdes;
	s->win_l2 = s->win_l3 = NULL;
	if (!s->has_window)
		return true;
	memcpy(pdes, fixed->window_pde, fixed->window_pdes * sizeof(u64));
	role.level = 2;
	s->win_l2 = shadow_page_get(s, SP_GFN_NONE, role);
	if (!s->win_l2)
		return false;
	s->win_l2->permanent = true;
	role.level = 3;
	s->win_l3 = shadow_page_get(s, SP_GFN_NONE, role);
	if (!s->win_l3)
		return false;
	s->win_l3->permanent = true;
	return true;
}

void shadow_fixed_drop(struct shadow *s)
{
	struct shadow_page *l3 = s->win_l3, *l2 = s->win_l2;

	s->win_l3 = s->win_l2 = NULL;
	if (l3)
		shadow_page_free(s, l3);
	if (l2)
		shadow_page_free(s, l2);
}

int shadow_set_fixed(struct shadow *s, const struct shadow_fixed *fixed)
{
	u64 *pdes = NULL, *old;
	int err, view;

	if (!shadow_fixed_valid(fixed))
		return -EINVAL;
	if (fixed->window_pdes) {
		pdes = env_zalloc(fixed->window_pdes * sizeof(u64));
		if (!pdes)
			return -ENOMEM;
	}
	shadow_lock(s);
	while ((err = shadow_reserve(s)) == -ENOBUFS) {
		shadow_unlock(s);
		err = shadow_cache_fill(s);
		if (err) {
			env_free(pdes);
			return err;
		}
		shadow_lock(s);
	}
	shadow_pend_code(s, GFN_NONE);
	for (view = 0; view < SHADOW_VIEWS; view++)
		s->cur[view] = NULL;
	shadow_free_all(s, false);
	shadow_fixed_drop(s);
	old = (u64 *)s->cfg.fixed.window_pde;
	env_bug_on(!shadow_fixed_set(s, fixed, pdes));
	shadow_unlock(s);
	env_free(old);
	return 0;
}
