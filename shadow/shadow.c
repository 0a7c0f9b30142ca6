// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shadow paging: creation, locking and what is reported after unlocking.
 *
 * Locking: s->lock protects everything in struct shadow. It may be taken in an
 * mmu notifier, so under it nothing is allocated, guest memory is not touched
 * and host pages are not looked up. The callbacks about code and kick() are
 * called with it; what was noted is noted before the kick that makes a vCPU look.
 */
#include "shadow_internal.h"

int shadow_mode_check(const struct shadow_mode *m)
{
	if (!(m->cr0 & MODE_CR0_PG) || !(m->cr4 & MODE_CR4_PAE) ||
	    !(m->efer & MODE_EFER_LMA) || (m->cr4 & MODE_CR4_LA57))
		return -EINVAL;
	return m->maxphyaddr >= 32 && m->maxphyaddr <= 52 ? 0 : -EINVAL;
}

void shadow_lock(struct shadow *s)
{
	env_mutex_lock(&s->lock);
	s->kicked = false;
	s->new_trace = false;
	s->lower = false;
}

/*
 * Some spte is about to lose rights or go away: vCPUs leave the guest world
 * first. Those that come back before the lock is released are kicked out again
 * by shadow_flush().
 */
void shadow_removing(struct shadow *s)
{
	s->removed = true;
	if (s->kicked)
		return;
	s->kicked = true;
	if (s->ops->kick)
		s->ops->kick(s->opaque);
}

/* What has been removed is out of every TLB when this returns. */
void shadow_flush(struct shadow *s)
{
	if (s->removed && s->ops->kick)
		s->ops->kick(s->opaque);
	s->removed = false;
}

/* Translated code may depend on a mapping of gfn (GFN_NONE: any) that changed. */
void shadow_pend_code(struct shadow *s, gfn_t gfn)
{
	u32 i;

	if (!s->code_traced || s->pending_none)
		return;
	for (i = 0; i < s->nr_pending; i++)
		if (s->pending[i] == gfn)
			return;
	if (gfn == GFN_NONE || s->nr_pending == PENDING_GFNS)
		s->pending_none = true;
	else
		s->pending[s->nr_pending++] = gfn;
}

void shadow_pend_conflict(struct shadow *s, gva_t gva)
{
	s->pending_conflict = true;
	s->conflict_gva = gva;
}

/* Tell the monitor what has become of code; a vCPU that runs is to look. */
static void report_code(struct shadow *s)
{
	u32 i;

	if (s->pending_none || s->nr_pending || s->contents_gone)
		s->removed = true;
	if (s->contents_gone && s->ops->contents_gone)
		s->ops->contents_gone(s->opaque);
	if (s->ops->code_mapping && s->pending_none)
		s->ops->code_mapping(s->opaque, GFN_NONE);
	else if (s->ops->code_mapping)
		for (i = 0; i < s->nr_pending; i++)
			s->ops->code_mapping(s->opaque, s->pending[i]);
	s->nr_pending = 0;
	s->pending_none = false;
	s->contents_gone = false;
}

void shadow_unlock(struct shadow *s)
{
	bool conflict = s->pending_conflict;
	gva_t conflict_gva = s->conflict_gva;
	bool ok = true;

	report_code(s);
	shadow_flush(s);
	s->pending_conflict = false;
	if (s->cfg.audit && ++s->unaudited >= s->cfg.audit) {
		s->unaudited = 0;
		ok = shadow_audit_locked(s);
	}
	env_mutex_unlock(&s->lock);

	env_bug_on(!ok);
	if (conflict && s->ops->window_conflict)
		s->ops->window_conflict(s->opaque, conflict_gva);
}

static bool config_valid(const struct shadow_config *cfg)
{
	return (cfg->host_levels == 4 || cfg->host_levels == 5) &&
	       cfg->host_nx && shadow_fixed_valid(&cfg->fixed);
}

static void free_memory(struct shadow *s)
{
	env_free((void *)s->cfg.fixed.window_pde);
	env_free(s->sync_buf);
	env_free(s->hash);
	env_free(s->sp);
	env_free(s);
}

static bool alloc_memory(struct shadow *s, const struct shadow_fixed *fixed,
			 u64 **pdes)
{
	u32 buckets = 64, n = s->cfg.max_pages;

	while (buckets < n)
		buckets *= 2;
	s->hash_mask = buckets - 1;
	s->hash = env_zalloc(buckets * sizeof(*s->hash));
	s->sp = env_zalloc((n + 1) * sizeof(*s->sp));
	*pdes = env_zalloc((fixed->window_pdes + 1) * sizeof(u64));
	s->cfg.fixed.window_pde = *pdes;
	s->sync_buf = env_zalloc(PT_ENTRIES * sizeof(*s->sync_buf));
	return s->hash && s->sp && *pdes && s->sync_buf;
}

/* NULL: out of memory, or a configuration that cannot be (see the header). */
struct shadow *shadow_create(struct popf_vm *vm, const struct shadow_config *cfg,
			     const struct shadow_ops *ops, void *opaque)
{
	struct shadow *s;
	u64 *pdes;
	u32 id;

	BUILD_BUG_ON(sizeof(union shadow_role) != sizeof(u32));
	if (!config_valid(cfg))
		return NULL;
	s = env_zalloc(sizeof(*s));
	if (!s)
		return NULL;
	s->vm = vm;
	s->cfg = *cfg;
	s->cfg.max_pages = min(max(cfg->max_pages, SHADOW_MIN_PAGES),
			       SHADOW_MAX_PAGES);
	s->ops = ops;
	s->opaque = opaque;
	env_mutex_init(&s->lock);
	env_mutex_init(&s->sync_lock);
	if (!alloc_memory(s, &cfg->fixed, &pdes))
		goto fail;
	for (id = s->cfg.max_pages; id; id--) {
		s->sp[id].id = id;
		s->sp[id].hash_next = s->free_list;
		s->free_list = id;
	}
	s->nr_free = s->cfg.max_pages;
	if (shadow_cache_fill(s))
		goto fail;
	if (!shadow_fixed_set(s, &cfg->fixed, pdes))
		goto fail;
	return s;

fail:
	shadow_cache_destroy(s);
	free_memory(s);
	return NULL;
}

void shadow_destroy(struct shadow *s)
{
	static const struct shadow_ops nobody;
	u32 i;

	if (!s)
		return;
	s->ops = &nobody;
	shadow_free_all(s, false);
	shadow_fixed_drop(s);
	for (i = 0; i < BLOCK_HASH; i++) {
		struct shadow_block *b = s->block_hash[i], *next;

		for (; b; b = next) {
			next = b->hash_next;
			env_free(b);
		}
	}
	shadow_cache_destroy(s);
	free_memory(s);
}

/* All other sptes follow the guest's tables at once. */
void shadow_invlpg(struct shadow *s, const struct shadow_mode *m, gva_t gva)
{
	shadow_sync_gva(s, gva);
}

void shadow_get_stats(struct shadow *s, struct shadow_stats *out)
{
	env_mutex_lock(&s->lock);
	*out = s->stats;
	env_mutex_unlock(&s->lock);
}
