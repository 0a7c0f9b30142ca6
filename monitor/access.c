// SPDX-License-Identifier: GPL-2.0-only
/*
 * The monitor touching guest memory on the guest's behalf.
 *
 * Invariants:
 *  1. A store checks every page it touches before it changes any.
 *  2. Every store goes through shadow_write() or shadow_cmpxchg(), and its traces
 *     are acted on (access_stored()).
 */
#include "monitor.h"

/* One access of the monitor touches at most this much: two pages. */
#define ACCESS_MAX 4096u

void vcpu_forget_walks(struct vcpu *v)
{
	u32 i;

	for (i = 0; i < VCPU_WALKS; i++)
		v->walk[i].tag = 0;
}

int access_walk(struct vcpu *v, gva_t gva, u32 access, gpa_t *gpa)
{
	u64 tag = (gva & POPF_PAGE_MASK) | (access & ~ACCESS_STACK) |
		  VCPU_WALK_VALID;
	struct vcpu_walk *w = &v->walk[gva / POPF_PAGE_SIZE % VCPU_WALKS];
	struct shadow_fault f;
	struct shadow_mode m;
	int ret;

	if (!(v->cr0 & CR0_PG)) {
		*gpa = (u32)gva;
		return 0;
	}
	if (w->tag == tag) {
		*gpa = w->page | (gva & ~POPF_PAGE_MASK);
		return 0;
	}
	vcpu_shadow_mode(v, &m);
	ret = shadow_walk(v->shadow, &m, gva, access & ~ACCESS_STACK, gpa, &f);
	if (!ret) {
		w->tag = tag;
		w->page = *gpa & POPF_PAGE_MASK;
		return 0;
	}
	if (f.error == ~0u)
		vcpu_queue_exception(v, access & ACCESS_STACK ? VEC_SS : VEC_GP,
				     true, 0);
	else
		vcpu_queue_pf(v, f.gva, f.error);
	return -EFAULT;
}

static u32 in_page(gva_t gva, u32 len)
{
	return min((u32)(POPF_PAGE_SIZE - (gva & ~POPF_PAGE_MASK)), len);
}

int vcpu_read(struct vcpu *v, gva_t gva, void *buf, u32 len, u32 access)
{
	u8 *p = buf;
	gpa_t gpa;
	u32 n;
	int ret;

	if (!(access & PF_ERR_FETCH))
		debug_access(v, gva, len, false);
	while (len) {
		n = in_page(gva, len);
		ret = access_walk(v, gva, access, &gpa);
		if (ret)
			return ret;
		if (gmem_read(v->vm, gpa, p, n))
			return -ENXIO;
		gva += n;
		p += n;
		len -= n;
	}
	return 0;
}

/*
 * Walk one page of a store. Pushes go downwards in words of 8 bytes: the fault
 * address is that of the first word pushed there.
 */
static int walk_store_page(struct vcpu *v, gva_t gva, u32 len, u32 access,
			   gpa_t *gpa)
{
	u32 first = (access & ACCESS_STACK) && len > 8 ? len - 8 : 0;
	int ret = access_walk(v, gva + first, access | PF_ERR_WRITE, gpa);

	*gpa -= first;
	return ret;
}

/* Walk for a store: at most two pages; gpa[1] is valid when it crosses. */
static int walk_store(struct vcpu *v, gva_t gva, u32 len, u32 access,
		      gpa_t gpa[2])
{
	u32 n = in_page(gva, len);
	bool crosses = n < len;
	bool high_first = crosses && (access & ACCESS_STACK);
	int ret = 0;

	if (env_bug_on(len > ACCESS_MAX))
		return -ENXIO;
	gpa[0] = 0;
	gpa[1] = 0;
	if (high_first)
		ret = walk_store_page(v, gva + n, len - n, access, &gpa[1]);
	if (!ret)
		ret = walk_store_page(v, gva, n, access, &gpa[0]);
	if (!ret && crosses && !high_first)
		ret = walk_store_page(v, gva + n, len - n, access, &gpa[1]);
	return ret;
}

static int check_ram(struct vcpu *v, const gpa_t gpa[2], bool crosses)
{
	if (!gmem_is_ram(v->vm, gpa_to_gfn(gpa[0])) ||
	    (crosses && !gmem_is_ram(v->vm, gpa_to_gfn(gpa[1]))))
		return -ENXIO;
	return 0;
}

int access_probe(struct vcpu *v, gva_t gva, u32 len, u32 access)
{
	gpa_t gpa[2];
	int ret = walk_store(v, gva, len, access, gpa);

	return ret ? ret : check_ram(v, gpa, in_page(gva, len) < len);
}

/*
 * Stores to code come one by one (a flag in the code, data beside it) or in runs (a
 * kernel that patches itself). From the second on, all translations of the frame
 * go, and with them its trace: the rest of a run costs nothing. A frame that keeps
 * coming back is code and data mixed: there only what was hit goes.
 */
#define CODE_STORE_MIXED 16u

static void code_stored(struct vcpu *v, gpa_t gpa, u32 len)
{
	gfn_t gfn = gpa_to_gfn(gpa);
	struct vcpu_code_store *c = &v->code_store[gfn % VCPU_CODE_STORES];

	if (c->gfn != gfn) {
		c->gfn = gfn;
		c->count = 0;
	}
	c->count++;
	if (c->count > 1 && c->count <= CODE_STORE_MIXED)
		bt_invalidate_gpa(v->bt, gfn_to_gpa(gfn), POPF_PAGE_SIZE);
	else
		bt_invalidate_gpa(v->bt, gpa, len);
}

void access_stored(struct vcpu *v, gpa_t gpa, u32 len, u32 trace)
{
	if ((trace & SHADOW_TRACE_CODE) && v->bt)
		code_stored(v, gpa, len);
	if (trace & SHADOW_TRACE_TABLE)
		vcpu_tables_changed(v);
}

int vcpu_write_gpa(struct vcpu *v, gpa_t gpa, const void *buf, u32 len)
{
	const u8 *p = buf;
	u32 n, trace;
	int ret;

	while (len) {
		n = in_page(gpa, len);
		trace = 0;
		ret = shadow_write(v->shadow, gpa, p, n, &trace);
		if (ret)
			return ret;
		access_stored(v, gpa, n, trace);
		gpa += n;
		p += n;
		len -= n;
	}
	return 0;
}

int vcpu_write(struct vcpu *v, gva_t gva, const void *buf, u32 len, u32 access)
{
	u32 n = in_page(gva, len);
	gpa_t gpa[2];
	int ret;

	if (!len)
		return 0;
	debug_access(v, gva, len, true);
	ret = walk_store(v, gva, len, access, gpa);
	/* A store to one page finds out for itself. */
	if (!ret && n < len)
		ret = check_ram(v, gpa, true);
	if (ret)
		return ret;
	if (vcpu_write_gpa(v, gpa[0], buf, n))
		return -ENXIO;
	if (n < len && vcpu_write_gpa(v, gpa[1], (const u8 *)buf + n, len - n))
		return -ENXIO;
	return 0;
}

int access_fetch(struct vcpu *v, gva_t gva, u8 *buf)
{
	u32 access = access_cpl(v) | PF_ERR_FETCH;
	u32 n = in_page(gva, 15);
	struct vcpu_exception saved = v->exc;
	int ret;

	ret = vcpu_read(v, gva, buf, n, access);
	if (ret)
		return ret == -ENXIO ? 0 : ret;
	if (n == 15)
		return 15;
	/* The next page counts only if the instruction reaches into it. */
	ret = vcpu_read(v, gva + n, buf + n, 15 - n, access);
	if (!ret)
		return 15;
	v->exc = saved;
	return n;
}
