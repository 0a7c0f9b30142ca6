// SPDX-License-Identifier: GPL-2.0-only
#include "shadow_rig.h"

static void on_code(void *opaque, gfn_t gfn)
{
	struct rig *r = opaque;

	r->code_calls++;
	r->code_none += gfn == GFN_NONE;
	r->code_gfn = gfn;
	if (r->on_code)
		r->on_code(r);
}

static void on_gone(void *opaque)
{
	struct rig *r = opaque;

	r->gone++;
	r->kicks = 0;
}

static void on_conflict(void *opaque, gva_t gva)
{
	struct rig *r = opaque;

	r->conflicts++;
	r->conflict = gva;
}

static void on_kick(void *opaque)
{
	struct rig *r = opaque;

	r->kicks++;
}

static const struct shadow_ops rig_ops = {
	.code_mapping = on_code,
	.contents_gone = on_gone,
	.window_conflict = on_conflict,
	.kick = on_kick,
};

struct rig *rig_create(u64 frames, const struct shadow_config *cfg)
{
	struct rig *r = calloc(1, sizeof(*r));
	u32 i;

	assert(r);
	r->vm = gmem_array_create(frames);
	r->cfg = *cfg;
	r->cfg.host_nx = true;
	for (i = 0; i < RIG_PDES; i++)
		r->pde[i] = 0x7700000007ull + ((u64)i << 12);
	if (!r->cfg.fixed.region_pte) {
		r->cfg.fixed.region_base = RIG_REGION;
		r->cfg.fixed.region_pte = RIG_REGION_PTE;
	}
	if (!r->cfg.fixed.window_base) {
		r->cfg.fixed.window_base = RIG_WINDOW;
		r->cfg.fixed.window_pdes = RIG_PDES;
	}
	r->cfg.fixed.window_pde = r->pde;
	r->m.cr0 = 0x80010033;
	r->m.cr4 = 0x20;
	r->m.efer = 0xd01;
	r->m.maxphyaddr = 40;
	r->next = 1;
	r->m.cr3 = rig_frame(r) << 12;
	r->s = shadow_create(r->vm, &r->cfg, &rig_ops, r);
	assert(r->s);
	return r;
}

void rig_destroy(struct rig *r)
{
	shadow_destroy(r->s);
	gmem_array_destroy(r->vm);
	free(r);
}

void rig_root(struct rig *r, enum shadow_view view)
{
	int err = shadow_root(r->s, &r->m, view, &r->root[view]);

	assert(!err || err == -ENOMEM);
}

/* Entries that are not ours to follow: the rig's region and window. */
static bool foreign(struct rig *r, u64 e)
{
	u64 frame = e & FRAME, first = r->pde[0] & FRAME;

	return frame == (r->cfg.fixed.region_pte & FRAME) ||
	       (frame >= first && frame < first + (RIG_PDES << 12));
}

struct mmu rig_mmu(struct rig *r, enum shadow_view view, gva_t gva)
{
	struct mmu x = { .user = true, .write = true, .exec = true };
	int level, shift, levels = r->cfg.host_levels;
	u64 *table = env_hpa_page(r->root[view]), e = 0;

	for (level = levels; level; level--) {
		shift = 12 + 9 * (level - 1);
		e = table[gva >> shift & 511];
		x.level = level;
		x.leaf = e;
		if (!(e & P))
			return x;
		x.user &= !!(e & U);
		x.write &= !!(e & W);
		x.exec &= !(e & NX);
		table[gva >> shift & 511] |= A;
		if (foreign(r, e) || level == 1 || (e & PS))
			break;
		table = env_hpa_page(e & FRAME);
	}
	x.present = true;
	shift = 12 + 9 * (level - 1);
	x.hpa = (e & FRAME & ~((1ull << shift) - 1)) |
		(gva & ((1ull << shift) - 1));
	return x;
}

bool rig_allows(const struct mmu *x, u32 access)
{
	return x->present && x->user &&
	       (!(access & PF_ERR_WRITE) || x->write) &&
	       (!(access & PF_ERR_FETCH) || x->exec);
}

gfn_t rig_frame(struct rig *r)
{
	assert(r->next < r->vm->frames);
	memset(gmem_array_at(r->vm, r->next << 12), 0, 4096);
	return r->next++;
}

/* The address of gva's entry at this level; tables above are made. */
gpa_t rig_gpte(struct rig *r, gva_t gva, int level, u64 table_bits)
{
	gpa_t table = r->m.cr3 & FRAME, gpa;
	int l;

	for (l = 4;; l--) {
		gpa = table + 8 * (gva >> (12 + 9 * (l - 1)) & 511);
		if (l == level)
			return gpa;
		if (!(*gmem_array_u64(r->vm, gpa) & P))
			rig_store(r, gpa, rig_frame(r) << 12 | table_bits);
		table = *gmem_array_u64(r->vm, gpa) & FRAME;
	}
}

gpa_t rig_map(struct rig *r, gva_t gva, gfn_t gfn, u64 bits)
{
	gpa_t gpa = rig_gpte(r, gva, 1, P | W | U);

	rig_store(r, gpa, gfn << 12 | bits);
	return gpa;
}

void rig_store(struct rig *r, gpa_t gpa, u64 value)
{
	int err = r->s ? shadow_write(r->s, gpa, &value, 8, NULL) :
			 gmem_write(r->vm, gpa, &value, 8);

	assert(!err);
}

int rig_fault(struct rig *r, enum shadow_view view, gva_t gva, u32 access,
	      struct shadow_fault *f)
{
	return shadow_fault(r->s, &r->m, view, gva, access, f);
}

int rig_access(struct rig *r, enum shadow_view view, gva_t gva, u32 access,
	       struct shadow_fault *f)
{
	/* The kernel view fetches from the window only. */
	u32 hw = view == SHADOW_KERNEL ? access & ~PF_ERR_FETCH : access;
	int i, ret;

	for (i = 0; i < 8; i++) {
		struct mmu x;

		rig_root(r, view);
		x = rig_mmu(r, view, gva);
		if (rig_allows(&x, hw))
			return SHADOW_PF_FIXED;
		ret = rig_fault(r, view, gva, access, f);
		if (ret != SHADOW_PF_FIXED && ret != SHADOW_PF_RETRY)
			return ret;
	}
	return SHADOW_PF_RETRY;
}

/*
 * Written from the manual's tables of access rights and error codes, in another
 * style than the product's on purpose: rights as lists of entries.
 */
u32 ref_walk(struct popf_vm *vm, const struct shadow_mode *m, gva_t gva,
	     u32 access, gpa_t *gpa)
{
	bool nxe = m->efer >> 11 & 1, wp = m->cr0 >> 16 & 1;
	bool smep = m->cr4 >> 20 & 1, wr = access & PF_ERR_WRITE;
	bool us = access & PF_ERR_USER, id = access & PF_ERR_FETCH;
	u32 code = REF_FAULT | (wr ? 2 : 0) | (us ? 4 : 0) |
		   (id && (nxe || smep) ? 16 : 0);
	static const u64 low[5] = { 0, 0, 0x1fe000, 0x3fffe000, 0 };
	u64 high = (1ull << 52) - (1ull << m->maxphyaddr);
	u64 e[5] = { 0 }, at = m->cr3 & FRAME & ~high;
	bool all_w = true, all_u = true, any_nx = false;
	int n, leaf = 0;

	for (n = 4; n && !leaf; n--) {
		at |= (gva >> (3 + 9 * n) & 511) << 3;
		if (at >> 12 >= vm->frames || vm->flags[at >> 12] & GMEM_HOLE)
			return code;
		e[n] = *gmem_array_u64(vm, at);
		if (!(e[n] & P))
			return code;
		if ((e[n] & high) || (!nxe && e[n] >> 63))
			return code | 9;
		if (n == 4 && (e[n] & PS))
			return code | 9;
		if (n > 1 && n < 4 && (e[n] & PS)) {
			if (e[n] & low[n])
				return code | 9;
			leaf = n;
		}
		if (n == 1)
			leaf = 1;
		all_w &= e[n] >> 1 & 1;
		all_u &= e[n] >> 2 & 1;
		any_nx |= e[n] >> 63;
		at = e[n] & FRAME;
	}
	if (us && !all_u)
		return code | 1;
	if (wr && !all_w && (us || wp))
		return code | 1;
	if (id && any_nx)
		return code | 1;
	if (id && !us && all_u && smep)
		return code | 1;
	at = 1ull << (12 + 9 * (leaf - 1));
	*gpa = (e[leaf] & FRAME & ~(at - 1)) | (gva & (at - 1));
	return 0;
}
