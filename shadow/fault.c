// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page faults of the guest world: hidden ones are repaired here, true ones are
 * described for injection.
 *
 * One attempt: walk the guest's tables and look up the host page without the
 * lock; lock; see that neither the guest's tables (gen) nor the host's mapping
 * (gmem_retry()) have changed since; go down the shadow tables, making what is
 * missing; install the leaf. Tables that were not traced before the walk may
 * have changed since they were read, so making shadow pages for such tables
 * ends the attempt, and the next one links them.
 */
#include "shadow_internal.h"

#define FAULT_ATTEMPTS 64

/* The host page for an attempt, and what the guest will have dirtied. */
struct leaf_request {
	struct gmem_page page;
	gfn_t dirty;
	u64 nr_dirty;
};

/* Role of the shadow page for the table of this level of the walk. */
union shadow_role shadow_table_role(const struct shadow *s,
				    const struct shadow_mode *m,
				    enum shadow_view view,
				    const struct shadow_gwalk *w, int level)
{
	union shadow_role role = { .level = level, .view = view };
	u8 acc = w->acc[level];

	role.nxe = !!(m->efer & MODE_EFER_NXE);
	role.maxphy = m->maxphyaddr;
	if (view == SHADOW_USER) {
		role.w = !!(acc & ACC_W);
		role.x = !!(acc & ACC_X);
	} else {
		role.wp = !!(m->cr0 & MODE_CR0_WP);
		role.w = !role.wp || (acc & ACC_W);
		role.window = shadow_on_window_path(s, w->gva, level);
	}
	if (level == GUEST_LEVELS)
		role.half = shadow_half(s, w->gva);
	return role;
}

/*
 * What a leaf gpte of this level grants in a page of this role. Writes need D:
 * the fault that sets it is how the guest's dirty bit comes about.
 */
struct shadow_rights shadow_leaf_rights(union shadow_role role, u64 gpte,
					int level)
{
	struct shadow_rights r = { .ok = gpte & GPTE_P };

	r.ok = r.ok && (gpte & GPTE_A) &&
	       !gpte_reserved(gpte, level, role.nxe, role.maxphy);
	if (role.view == SHADOW_USER) {
		r.ok = r.ok && (gpte & GPTE_U);
		r.w = role.w && (gpte & GPTE_W);
		r.x = role.x && !(gpte & GPTE_NX);
	} else {
		r.w = !role.wp || (role.w && (gpte & GPTE_W));
	}
	r.w = r.w && (gpte & GPTE_D);
	return r;
}

/* A leaf spte; hpa has the size's alignment, large ones add SPTE_PS. */
u64 shadow_make_leaf(union shadow_role role, hpa_t hpa, bool w, bool x)
{
	u64 spte = hpa | SPTE_P | SPTE_U | SPTE_A;

	if (w)
		spte |= SPTE_W | SPTE_D;
	if (role.view == SHADOW_KERNEL || !x)
		spte |= SPTE_NX;
	if (role.level > 1)
		spte |= SPTE_PS;
	return spte;
}

/*
 * With the lock, before anything is made: enough free pages and stock? 0, or
 * -ENOBUFS: unlock, shadow_cache_fill(), start over.
 */
int shadow_reserve(struct shadow *s)
{
	if (s->nr_free < NEED_PAGES)
		shadow_reclaim(s, NEED_PAGES);
	return shadow_cache_ready(s) ? 0 : -ENOBUFS;
}

static struct shadow_page *child_of(struct shadow *s, struct shadow_page *sp,
				    u32 index)
{
	u64 spte = sp->spt[index];

	if (!spte_present(spte) || spte_is_leaf(spte, sp->role.level))
		return NULL;
	return &s->sp[shadow_slot_link(s, slot_of(sp, index))->target];
}

/* Make the shadow pages of the walk's tables from this level down, unlinked. */
static void make_tables(struct shadow *s, const struct shadow_mode *m,
			enum shadow_view view, const struct shadow_gwalk *w,
			int level)
{
	for (; level >= w->level; level--)
		shadow_page_get(s, gpte_table_gfn(w->gpte[level + 1]),
				shadow_table_role(s, m, view, w, level));
}

/* The walk for translated code goes through here: changes must be seen at once. */
static void mark_code(struct shadow *s, struct shadow_page *sp)
{
	sp->code = true;
	if (sp->unsync)
		shadow_unsync_end(s, sp->gfn);
}

/* Is there anything in this table where the window is? Once per page. */
static void want_pde_check(struct shadow *s, struct shadow_page *sp)
{
	if (sp->role.level != 2 || !sp->role.window || sp->checked)
		return;
	sp->checked = true;
	s->check_pdes = gfn_to_gpa(sp->gfn);
}

static bool same_way(const struct shadow *s, const struct shadow_way *way,
		     const struct shadow_root_key *key,
		     const struct shadow_gwalk *w)
{
	return way->leaf && way->unlinks == s->unlinks &&
	       way->region == w->gva >> 21 && way->key.cr3 == key->cr3 &&
	       way->key.role == key->role && w->level == 1 && !w->code &&
	       way->gpte[2] == w->gpte[2] && way->gpte[3] == w->gpte[3] &&
	       way->gpte[4] == w->gpte[4];
}

static void note_way(const struct shadow *s, struct shadow_way *way,
		     const struct shadow_root_key *key,
		     const struct shadow_gwalk *w, const struct shadow_page *sp)
{
	if (sp->role.level != 1)
		return;
	way->key = *key;
	way->region = w->gva >> 21;
	memcpy(way->gpte, w->gpte, sizeof(way->gpte));
	way->unlinks = s->unlinks;
	way->leaf = sp->id;
}

/*
 * Go down to the shadow page of the walk's last table, making what is missing.
 * 0 and *leaf (may be NULL); -EAGAIN: tables were not traced yet, walk again;
 * -EINVAL: a table is where no memory can be. Caller: lock, shadow_reserve(),
 * gen checked.
 */
int shadow_build(struct shadow *s, const struct shadow_mode *m,
		 enum shadow_view view, const struct shadow_gwalk *w,
		 struct shadow_page **leaf)
{
	struct shadow_root_key key = shadow_root_key(m);
	struct shadow_page *sp, *child;
	int level;

	if (leaf && same_way(s, &s->way[view], &key, w)) {
		*leaf = &s->sp[s->way[view].leaf];
		s->lower = !(w->gva >> 47);
		shadow_page_touch(s, *leaf);
		return 0;
	}
	for (level = GUEST_LEVELS; level >= w->level; level--)
		if (gpa_to_gfn(w->gpte_gpa[level]) >= SHADOW_GFN_LIMIT)
			return -EINVAL;
	sp = shadow_root_get(s, m, view, gpa_to_gfn(w->gpte_gpa[GUEST_LEVELS]));
	if (!sp)
		return -ENOMEM;
	shadow_page_touch(s, sp);
	s->lower = !w->code && !(w->gva >> 47);
	sp = shadow_root_top(s, sp, w->gva);
	for (level = GUEST_LEVELS; level > w->level && !s->new_trace; level--) {
		u32 index = pt_index(w->gva, level);
		u32 gfn = gpte_table_gfn(w->gpte[level]);
		union shadow_role role =
			shadow_table_role(s, m, view, w, level - 1);

		shadow_page_touch(s, sp);
		if (w->code)
			mark_code(s, sp);
		if (s->new_trace)
			break;
		child = child_of(s, sp, index);
		if (!child || child->gfn != gfn ||
		    child->role.word != role.word) {
			shadow_zap_slot(s, sp, index);
			child = shadow_page_find(s, gfn, role);
			if (!child)
				make_tables(s, m, view, w, level - 1);
			if (s->new_trace)
				break;
			child = shadow_page_get(s, gfn, role);
			if (!child)
				return -ENOMEM;
			shadow_page_relink(s, sp, index, child);
		}
		sp = child;
		want_pde_check(s, sp);
	}
	shadow_page_touch(s, sp);
	if (w->code && !s->new_trace)
		mark_code(s, sp);
	if (s->new_trace)
		return -EAGAIN;
	if (leaf)
		*leaf = sp;
	note_way(s, &s->way[view], &key, w, sp);
	return 0;
}

static bool large_ok(struct shadow *s, struct shadow_page *sp, u32 index,
		     gfn_t gfn, const struct gmem_page *page)
{
	struct shadow_block *b;
	u64 frame = page->hpa >> 12;

	if (!s->cfg.large_pages || page->level < 2 ||
	    (frame ^ gfn) % PT_ENTRIES)
		return false;
	/* Once split, it stays so until the guest changes the mapping. */
	if (child_of(s, sp, index))
		return false;
	b = shadow_block_get(s, gfn);
	return b && !b->traced && !b->no_large;
}

static bool set_large(struct shadow *s, struct shadow_page *sp, u32 index,
		      gfn_t gfn, struct shadow_rights r,
		      struct leaf_request *rq)
{
	u64 offset = gfn % PT_ENTRIES;
	bool w = r.w && rq->page.writable;

	if (w) {
		rq->dirty = gfn - offset;
		rq->nr_dirty = PT_ENTRIES;
	}
	return shadow_set_leaf(s, sp, index, gfn - offset,
			       shadow_make_leaf(sp->role,
						rq->page.hpa - (offset << 12),
						w, r.x));
}

static bool set_small(struct shadow *s, struct shadow_page *sp, u32 index,
		      gfn_t gfn, struct shadow_rights r,
		      struct leaf_request *rq)
{
	bool w = r.w && rq->page.writable && !shadow_trace_bits(s, gfn);

	if (w) {
		rq->dirty = gfn;
		rq->nr_dirty = 1;
	}
	return shadow_set_leaf(s, sp, index, gfn,
			       shadow_make_leaf(sp->role, rq->page.hpa, w,
						r.x));
}

/* The page that maps one piece of a large leaf. NULL only by a bug. */
static struct shadow_page *split_child(struct shadow *s, struct shadow_page *sp,
				       const struct shadow_gwalk *w,
				       struct shadow_rights r)
{
	union shadow_role role = { .level = sp->role.level - 1,
				   .view = sp->role.view,
				   .w = r.w,
				   .x = r.x,
				   .split = 1 };
	u32 gfn = w->gfn & ~(level_frames(sp->role.level) - 1);
	u32 index = pt_index(w->gva, sp->role.level);
	struct shadow_page *child = child_of(s, sp, index);

	role.window = role.view == SHADOW_KERNEL &&
		      shadow_on_window_path(s, w->gva, role.level);
	if (child && child->gfn == gfn && child->role.word == role.word)
		return child;
	shadow_zap_slot(s, sp, index);
	child = shadow_page_get(s, gfn, role);
	if (child)
		shadow_page_relink(s, sp, index, child);
	return child;
}

/* Install the leaf of the walk below sp, the page of its last table. */
static bool map_leaf(struct shadow *s, struct shadow_page *sp,
		     const struct shadow_gwalk *w, bool write,
		     struct leaf_request *rq, struct shadow_prefault *pf)
{
	u32 index1 = pt_index(w->gva, 1);
	struct shadow_rights r =
		shadow_leaf_rights(sp->role, w->gpte[w->level], w->level);

	if (env_bug_on(!r.ok))
		return false;
	for (; sp->role.level > 1; shadow_page_touch(s, sp)) {
		u32 index = pt_index(w->gva, sp->role.level);

		if (sp->role.level == 2 &&
		    large_ok(s, sp, index, w->gfn, &rq->page))
			return set_large(s, sp, index, w->gfn, r, rq);
		sp = split_child(s, sp, w, r);
		if (!sp)
			return false;
	}
	if (!set_small(s, sp, index1, w->gfn, r, rq))
		return false;
	shadow_prefault_collect(s, sp, index1, w->group, write, pf);
	if (sp->unsync)
		shadow_unsync_note(s, sp, index1);
	return true;
}

/* Report the first guest entry inside the window of a new level-2 table. */
static void check_pdes(struct shadow *s, gpa_t table)
{
	const struct shadow_fixed *f = &s->cfg.fixed;
	u32 first = pt_index(f->window_base, 2), i;
	u64 gpte;

	for (i = 0; i < f->window_pdes; i++) {
		if (gmem_read(s->vm, table + 8 * (first + i), &gpte, 8))
			return;
		if (!(gpte & GPTE_P))
			continue;
		if (s->ops->window_conflict)
			s->ops->window_conflict(s->opaque,
						f->window_base +
							((u64)i << 21));
		return;
	}
}

/* With the lock and everything looked up. enum shadow_pf or -errno. */
static int fault_locked(struct shadow *s, const struct shadow_mode *m,
			enum shadow_view view, const struct shadow_gwalk *w,
			u32 access, struct leaf_request *rq,
			struct shadow_prefault *pf, struct shadow_fault *out)
{
	struct shadow_page *sp;
	int err;

	err = shadow_reserve(s);
	if (err)
		return err;
	err = shadow_build(s, m, view, w, &sp);
	if (err)
		return err;
	if (access & PF_ERR_WRITE)
		(void)(shadow_unsync_begin(s, w->gfn) ||
		       shadow_drop_dead_root(s, w->gfn));
	if (!map_leaf(s, sp, w, access & PF_ERR_WRITE, rq, pf))
		return -ENOMEM;
	if (!(access & PF_ERR_WRITE)) {
		s->stats.faults_hidden++;
		return SHADOW_PF_FIXED;
	}
	out->trace = shadow_trace_bits(s, w->gfn);
	if (out->trace) {
		s->stats.faults_trace++;
		return SHADOW_PF_TRACE;
	}
	s->stats.faults_hidden++;
	return rq->page.writable ? SHADOW_PF_FIXED : SHADOW_PF_RETRY;
}

/* A mapping of the guest's where ours is: the monitor must move ours. */
static int fault_conflict(struct shadow *s, gva_t gva)
{
	if (s->ops->window_conflict)
		s->ops->window_conflict(s->opaque, gva);
	return SHADOW_PF_RETRY;
}

static int look_up_page(struct shadow *s, const struct shadow_gwalk *w,
			bool write, struct leaf_request *rq,
			struct shadow_fault *out)
{
	int err = -EFAULT;

	memset(rq, 0, sizeof(*rq));
	if (w->gfn < SHADOW_GFN_LIMIT)
		err = gmem_page(s->vm, w->gfn, write, &rq->page);
	if (err && err != -EFAULT)
		return err;
	if (!err && !(write && rq->page.readonly_slot))
		return 0;
	out->readonly_slot = !err;
	s->stats.faults_mmio++;
	return SHADOW_PF_MMIO;
}

/* As shadow_fault(); -EAGAIN: once more, -ENOBUFS: fill the stock before. */
static int fault_once(struct shadow *s, const struct shadow_mode *m,
		      enum shadow_view view, gva_t gva, u32 access,
		      struct shadow_fault *out)
{
	struct shadow_gwalk w;
	struct leaf_request rq;
	struct shadow_prefault pf;
	u64 gen = READ_ONCE(s->gen);
	/* Before the walk: the host may be taking the tables away, too. */
	u64 seq = gmem_seq(s->vm);
	gpa_t pdes;
	int ret;

	ret = shadow_guest_walk(s->vm, m, gva, access, &w);
	if (ret > 0) {
		s->stats.faults_guest++;
		out->error = w.error;
		return SHADOW_PF_GUEST;
	}
	if (ret)
		return ret;
	out->gpa = w.gpa;
	if (shadow_gva_fixed(s, view, gva))
		return fault_conflict(s, gva);
	ret = look_up_page(s, &w, access & PF_ERR_WRITE, &rq, out);
	if (ret)
		return ret;

	pf.n = 0;
	shadow_lock(s);
	if (gen != s->gen || gmem_retry(s->vm, seq))
		ret = -EAGAIN;
	else
		ret = fault_locked(s, m, view, &w, access, &rq, &pf, out);
	pdes = s->check_pdes;
	s->check_pdes = 0;
	shadow_unlock(s);

	for (; rq.nr_dirty; rq.nr_dirty--)
		gmem_mark_dirty(s->vm, rq.dirty++);
	if (pdes)
		check_pdes(s, pdes);
	if (pf.n)
		shadow_prefault(s, &pf);
	return ret;
}

int shadow_fault(struct shadow *s, const struct shadow_mode *m,
		 enum shadow_view view, gva_t gva, u32 access,
		 struct shadow_fault *out)
{
	int tries, ret;

	memset(out, 0, sizeof(*out));
	out->gva = gva;
	ret = shadow_mode_check(m);
	if (ret)
		return ret;
	access &= PF_ERR_WRITE | PF_ERR_USER | PF_ERR_FETCH;
	if (view == SHADOW_USER)
		access |= PF_ERR_USER;
	/* Now rather than after a walk in vain; failing is for later to see. */
	if (!shadow_cache_ready(s))
		(void)shadow_cache_fill(s);
	for (tries = 0; tries < FAULT_ATTEMPTS; tries++) {
		ret = fault_once(s, m, view, gva, access, out);
		if (ret == -ENOBUFS)
			ret = shadow_cache_fill(s) ?: -EAGAIN;
		if (ret != -EAGAIN)
			return ret;
		env_resched();
	}
	return SHADOW_PF_RETRY;
}
