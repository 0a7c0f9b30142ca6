// SPDX-License-Identifier: GPL-2.0-only
/*
 * Traces: which frames must not be written behind our back, and why.
 *
 * A frame with any trace has no writable spte in either view and is not part of
 * a large spte. Page-table traces follow the shadow pages (page.c); the others
 * are set and dropped by the monitor.
 */
#include "shadow_internal.h"

u32 shadow_trace_bits(struct shadow *s, gfn_t gfn)
{
	struct shadow_block *b = shadow_block_find(s, gfn);

	return b ? b->trace[gfn % PT_ENTRIES] : 0;
}

/* False when there is no memory for it in the stock. */
bool shadow_trace_set(struct shadow *s, gfn_t gfn, u32 kind)
{
	struct shadow_block *b = shadow_block_get(s, gfn);
	u8 *trace;

	if (!b)
		return false;
	trace = &b->trace[gfn % PT_ENTRIES];
	if (!*trace) {
		b->traced++;
		shadow_write_protect(s, gfn);
	}
	if (kind & ~*trace & SHADOW_TRACE_CODE)
		s->code_traced++;
	*trace |= kind;
	return true;
}

/* Write permission comes back with the next write fault. */
void shadow_trace_clear(struct shadow *s, gfn_t gfn, u32 kind)
{
	struct shadow_block *b = shadow_block_find(s, gfn);
	u8 *trace;

	if (!b)
		return;
	trace = &b->trace[gfn % PT_ENTRIES];
	if (kind & *trace & SHADOW_TRACE_CODE)
		s->code_traced--;
	if ((kind & SHADOW_TRACE_CODE) && (*trace & SHADOW_TRACE_STALE)) {
		kind |= SHADOW_TRACE_STALE;
		b->stale--;
		s->stale--;
	}
	if (*trace && !(*trace & ~kind))
		b->traced--;
	*trace &= ~kind;
}

int shadow_trace_add(struct shadow *s, gfn_t gfn, u32 kind)
{
	int err;

	if (kind & ~(SHADOW_TRACE_CODE | SHADOW_TRACE_TABLE))
		return -EINVAL;
	if (gfn >= SHADOW_GFN_LIMIT || !gmem_is_ram(s->vm, gfn))
		return -EFAULT;
	shadow_lock(s);
	while (!shadow_cache_ready(s)) {
		shadow_unlock(s);
		err = shadow_cache_fill(s);
		if (err)
			return err;
		shadow_lock(s);
	}
	shadow_trace_set(s, gfn, kind);
	shadow_unlock(s);
	return 0;
}

void shadow_trace_del(struct shadow *s, gfn_t gfn, u32 kind)
{
	shadow_lock(s);
	shadow_trace_clear(s, gfn, kind & ~SHADOW_TRACE_PT);
	shadow_unlock(s);
}

u32 shadow_trace_get(struct shadow *s, gfn_t gfn)
{
	u32 bits;

	env_mutex_lock(&s->lock);
	bits = shadow_trace_bits(s, gfn);
	env_mutex_unlock(&s->lock);
	return bits;
}

/*
 * Walk, see to it that every table of the walk has a kernel-view shadow page,
 * then trace the frame. A table that was not traced before may have changed
 * since it was read: walk again.
 */
static int trace_code_once(struct shadow *s, const struct shadow_mode *m,
			   gva_t gva, gfn_t *gfn, struct shadow_fault *out)
{
	struct shadow_gwalk w;
	u64 gen = READ_ONCE(s->gen);
	u64 seq = gmem_seq(s->vm);
	int err;

	err = shadow_guest_walk(s->vm, m, gva, PF_ERR_FETCH, &w);
	if (err > 0) {
		out->gva = gva;
		out->error = w.error;
		return -EFAULT;
	}
	if (err)
		return err;
	if (w.gfn >= SHADOW_GFN_LIMIT || !gmem_is_ram(s->vm, w.gfn))
		return -ENXIO;
	w.code = true;
	shadow_lock(s);
	if (gen != s->gen || gmem_retry(s->vm, seq))
		err = -EAGAIN;
	else
		err = shadow_reserve(s);
	if (!err && !shadow_gva_fixed(s, SHADOW_KERNEL, gva)) {
		err = shadow_build(s, m, SHADOW_KERNEL, &w, NULL);
		if (!err)
			shadow_trace_set(s, w.gfn, SHADOW_TRACE_CODE);
	} else if (!err) {
		shadow_pend_conflict(s, gva);
		err = -EAGAIN;
	}
	shadow_unlock(s);
	*gfn = w.gfn;
	return err;
}

int shadow_trace_code(struct shadow *s, const struct shadow_mode *m, gva_t gva,
		      gfn_t *gfn, struct shadow_fault *out)
{
	int tries, err;

	memset(out, 0, sizeof(*out));
	err = shadow_mode_check(m);
	if (err)
		return err;
	for (tries = 0; tries < 64; tries++) {
		err = trace_code_once(s, m, gva, gfn, out);
		if (err == -ENOBUFS)
			err = shadow_cache_fill(s);
		else if (err != -EAGAIN)
			return err;
		if (err && err != -EAGAIN)
			return err;
		env_resched();
	}
	return -EAGAIN;
}
