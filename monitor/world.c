// SPDX-License-Identifier: GPL-2.0-only
/*
 * One vCPU's world: its part of the switch region (GDT, IDT, TSS, stacks, data),
 * its TC window, and the C half of the switch around popf_world_call().
 *
 * Invariants:
 *  1. The guest's half of the GDT holds only code and data descriptors with DPL 3:
 *     whatever ring 3 loads from it is the guest's own and unprivileged.
 *  2. Only the gates of INT3 and INTO have DPL 3; every other INT n is a #GP that
 *     the monitor sees.
 *  3. world_data.regs.vector is EXIT_POISON when the switch starts.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <asm/desc.h>
#include <asm/fpu/xcr.h>
#include <asm/io.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/processor.h>
#include <asm/special_insns.h>
#include <asm/tlbflush.h>

#include <popf/record.h>

#include "monitor_host.h"

#define DESC_CODE64_DPL0 0x00af9b000000ffffull
#define DESC_DATA_DPL0 0x00cf93000000ffffull
#define DESC_CODE64_DPL3 0x00affb000000ffffull
#define DESC_DATA_DPL3 0x00cff3000000ffffull

#define GDT_HALF_ENTRIES 512
#define LDT_PAGE_ENTRIES (PAGE_SIZE / 8)
#define LDT_MAX_BYTES (REGION_LDT_PAGES * PAGE_SIZE + 0ull)
#define TSS_RSP0 4
#define TSS_IST1 36
#define TSS_IOMAP 102
#define TSS_LIMIT 103

static int tc_mib = 8;
module_param(tc_mib, int, 0444);
MODULE_PARM_DESC(tc_mib, "Translation cache size in MiB, 1 to 128");
static int tc_evict = BT_EVICT_FIFO;
module_param(tc_evict, int, 0444);
MODULE_PARM_DESC(tc_evict, "What goes when it is full: 0 FIFO, 1 everything, 2 clock, 3 generational");

static void idt_set(struct world *w, u32 vector, u64 handler, u8 ist, u8 dpl)
{
	u8 *gate = w->idt + vector * 16;
	u16 attr = 0x8e00 | dpl << 13 | ist;

	*(u16 *)(gate + 0) = handler;
	*(u16 *)(gate + 2) = WORLD_CS;
	*(u16 *)(gate + 4) = attr;
	*(u16 *)(gate + 6) = handler >> 16;
	*(u32 *)(gate + 8) = handler >> 32;
	*(u32 *)(gate + 12) = 0;
}

static u64 stub_offset(u32 vector)
{
	return popf_switch_layout.stubs +
	       (vector - SWITCH_STUB_FIRST) % 256 * SWITCH_STUB_SIZE;
}

static void world_fill_idt(struct world *w)
{
	const struct switch_layout *l = &popf_switch_layout;
	u32 i;

	for (i = 0; i < 256; i++)
		idt_set(w, i, w->base + stub_offset(i), 0,
			i == VEC_BP || i == VEC_OF ? 3 : 0);
	idt_set(w, VEC_DF, w->base + l->df, IST_DF, 0);
	idt_set(w, VEC_NMI, w->base + l->nmi, IST_NMI, 0);
	idt_set(w, VEC_DB, w->base + l->db, IST_DB, 0);
	idt_set(w, VEC_MC, w->base + l->mc, IST_MC, 0);
}

static void world_fill_tss(struct world *w)
{
	u64 rsp0 = w->base + REGION_DATA_OFF +
		   offsetof(struct world_data, regs) + sizeof(struct world_regs);
	u32 i;

	BUILD_BUG_ON((offsetof(struct world_data, regs) +
		      sizeof(struct world_regs)) % 16);
	memcpy(w->tss + TSS_RSP0, &rsp0, 8);
	for (i = 0; i < 4; i++) {
		u64 ist = w->base + REGION_IST_OFF + (i + 1) * PAGE_SIZE;

		memcpy(w->tss + TSS_IST1 + i * 8, &ist, 8);
	}
	*(u16 *)(w->tss + TSS_IOMAP) = TSS_LIMIT + 1;
}

static void world_fill_gdt(struct world *w)
{
	u64 tss = w->base + REGION_TSS_OFF;
	u64 ldt = w->base + REGION_LDT_OFF;

	w->gdt_popf[(WORLD_CS - 0x1000) >> 3] = DESC_CODE64_DPL0;
	w->gdt_popf[(WORLD_SS - 0x1000) >> 3] = DESC_DATA_DPL0;
	w->gdt_popf[((WORLD_TC_CS & ~7) - 0x1000) >> 3] = DESC_CODE64_DPL3;
	w->gdt_popf[((WORLD_TC_SS & ~7) - 0x1000) >> 3] = DESC_DATA_DPL3;
	w->gdt_popf[(WORLD_TSS - 0x1000) >> 3] =
		TSS_LIMIT | (tss & 0xffffff) << 16 | 0x89ull << 40 |
		(tss >> 24 & 0xff) << 56;
	w->gdt_popf[((WORLD_TSS - 0x1000) >> 3) + 1] = tss >> 32;
	w->gdt_popf[(WORLD_LDT - 0x1000) >> 3] =
		(REGION_LDT_PAGES * PAGE_SIZE - 1) | (ldt & 0xffffff) << 16 |
		0x82ull << 40 | (ldt >> 24 & 0xff) << 56;
	w->gdt_popf[((WORLD_LDT - 0x1000) >> 3) + 1] = ldt >> 32;
}

static void world_set_msrs(struct world *w)
{
	const struct switch_layout *l = &popf_switch_layout;
	u64 *msr = w->msr;

	msr[HMSR_STAR] = (u64)WORLD_CS << 32;
	msr[HMSR_LSTAR] = w->base + l->syscall;
	msr[HMSR_CSTAR] = w->base + l->syscall32;
	msr[HMSR_SFMASK] = 0x257fd5 & ~2u;
	msr[HMSR_SYSENTER_CS] = WORLD_CS;
	msr[HMSR_SYSENTER_EIP] = w->base + l->sysenter;
	msr[HMSR_SYSENTER_ESP] =
		w->base + REGION_DATA_OFF + offsetof(struct world_data, regs);
}

static void world_fill_data(struct world *w)
{
	struct world_data *d = w->data;

	d->gdt.base = w->base + REGION_GDT_OFF;
	d->gdt.limit = WORLD_GDT_LIMIT;
	d->cross_gdt.base = w->base + REGION_CROSS_OFF;
	d->cross_gdt.limit = WORLD_GDT_LIMIT;
	d->idt.base = w->base + REGION_IDT_OFF;
	d->idt.limit = 256 * 16 - 1;
	if (boot_cpu_has(X86_FEATURE_MD_CLEAR))
		d->verw = WORLD_SS;
	world_set_msrs(w);
}

static void world_map_region(struct vcpu *v)
{
	struct world *w = v->world;
	struct popf_vm *vm = v->vm;
	u32 i;

	region_map_code(vm, v->id);
#define MAP(off, page) \
	region_map(vm, v->id, (off) >> PAGE_SHIFT, __pa(page), false, true)
	MAP(REGION_GDT_OFF, w->gdt);
	MAP(REGION_GDT_POPF_OFF, w->gdt_popf);
	MAP(REGION_CROSS_OFF, w->cross);
	MAP(REGION_CROSS_POPF_OFF, w->gdt_popf);
	MAP(REGION_IDT_OFF, w->idt);
	region_map(vm, v->id, REGION_VPAGE_OFF >> PAGE_SHIFT,
		   page_to_phys(w->window.pages[0]), false, true);
	for (i = 0; i < 4; i++)
		MAP(REGION_IST_OFF + i * PAGE_SIZE, w->ist[i]);
#undef MAP
}

static void *world_page(bool *failed)
{
	void *p = env_page_alloc();

	if (!p)
		*failed = true;
	return p;
}

/* TSS and data share a page with popf's half of the GDT. */
static void *in_popf_page(const struct world *w, u32 off)
{
	BUILD_BUG_ON(REGION_TSS_OFF - REGION_GDT_OFF <= WORLD_GDT_LIMIT);
	BUILD_BUG_ON(REGION_TSS_OFF + TSS_LIMIT >= REGION_DATA_OFF);
	BUILD_BUG_ON(REGION_DATA_OFF - REGION_GDT_POPF_OFF +
			     sizeof(struct world_data) >
		     PAGE_SIZE);
	return (u8 *)w->gdt_popf + (off - REGION_GDT_POPF_OFF);
}

/* The switch looks at DS and ES at once. */
static_assert(offsetof(struct world_data, es) == offsetof(struct world_data, ds) + 2);
static_assert(offsetof(struct world_data, host_es) ==
	      offsetof(struct world_data, host_ds) + 2);

static bool world_alloc_pages(struct world *w)
{
	bool failed = false;
	u32 i;

	w->gdt = world_page(&failed);
	w->gdt_popf = world_page(&failed);
	w->cross = world_page(&failed);
	w->idt = world_page(&failed);
	for (i = 0; i < 4; i++)
		w->ist[i] = world_page(&failed);
	if (w->gdt_popf) {
		w->tss = in_popf_page(w, REGION_TSS_OFF);
		w->data = in_popf_page(w, REGION_DATA_OFF);
	}
	return !failed;
}

static void world_free_pages(struct world *w)
{
	void *pages[] = { w->gdt,    w->gdt_popf, w->cross,  w->idt,
			  w->ist[0], w->ist[1],	  w->ist[2], w->ist[3] };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		if (pages[i])
			env_page_free(pages[i]);
	}
	for (i = 0; i < REGION_LDT_PAGES; i++) {
		if (w->ldt[i])
			env_page_free(w->ldt[i]);
	}
}

static int world_create_bt(struct vcpu *v)
{
	struct world *w = v->world;
	struct bt_config cfg = {
		.window = w->window.base,
		.tc_size = w->window.tc_size,
		.bounce_code = window_at(&w->window, WINDOW_BOUNCE_CODE_OFF),
		.ibl_tpc = window_at(&w->window, WINDOW_IBL_TPC_OFF),
		.tc = window_at(&w->window, WINDOW_TC_OFF),
		.has_fsgsbase = boot_cpu_has(X86_FEATURE_FSGSBASE),
		.amd_branches = host_is_amd(),
		.evict = clamp(tc_evict, 0, BT_EVICT_COUNT - 1),
		.apic_in_place = true,
		.user_return = true,
	};

	/* Pairs with vcpu_bt_stats(): complete when it is seen. */
	smp_store_release(&v->bt, bt_create(&cfg, &code_bt_ops, v));
	if (!v->bt)
		return -ENOMEM;
	recording_moved(v);
	return 0;
}

static void world_destroy_bt(struct vcpu *v)
{
	struct bt *bt = v->bt;

	mutex_lock(&v->world->bt_lock);
	WRITE_ONCE(v->bt, NULL);
	mutex_unlock(&v->world->bt_lock);
	bt_destroy(bt);
}

void vcpu_bt_stats(struct vcpu *v, struct bt_stats *out)
{
	struct bt *bt;

	mutex_lock(&v->world->bt_lock);
	bt = smp_load_acquire(&v->bt);
	if (bt)
		bt_get_stats(bt, out);
	else
		memset(out, 0, sizeof(*out));
	mutex_unlock(&v->world->bt_lock);
}

static void set_base(struct vcpu *v)
{
	struct world *w = v->world;

	w->base = region_vcpu_base(v->vm, v->id);
	w->here = (void *)(w->base + REGION_DATA_OFF);
}

int world_create(struct vcpu *v)
{
	u32 tc_size = clamp(tc_mib, 1, 128) * 2u << 19;
	struct world *w;
	int ret = -ENOMEM;

	w = kzalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);
	if (!w)
		return -ENOMEM;
	v->world = w;
	spin_lock_init(&w->stale_lock);
	mutex_init(&w->bt_lock);
	set_base(v);
	tc_size = round_up(tc_size, 0x200000);
	if (!world_alloc_pages(w))
		goto out_pages;
	ret = window_create(&w->window, WINDOW_BASE_DEFAULT, tc_size);
	if (ret)
		goto out_pages;
	v->page = window_at(&w->window, WINDOW_VCPU_OFF);
	v->bounce_data = window_at(&w->window, WINDOW_BOUNCE_DATA_OFF);
	world_fill_idt(w);
	world_fill_tss(w);
	world_fill_gdt(w);
	world_fill_data(w);
	ret = world_create_bt(v);
	if (ret)
		goto out_window;
	world_map_region(v);
	return 0;

out_window:
	window_destroy(&w->window);
out_pages:
	world_free_pages(w);
	kfree(w);
	v->world = NULL;
	return ret;
}

int world_rebase(struct vcpu *v)
{
	struct world *w = v->world;
	int ret;

	set_base(v);
	world_fill_idt(w);
	world_fill_tss(w);
	world_fill_gdt(w);
	world_fill_data(w);
	code_forget_pages(v);
	world_destroy_bt(v);
	ret = world_create_bt(v);
	if (!ret)
		debug_changed(v);
	return ret;
}

int world_set_fixed(struct vcpu *v)
{
	struct window *win = &v->world->window;
	struct shadow_fixed fixed = {
		.region_base = region_base(v->vm),
		.region_pte = region_top_entry(v->vm),
		.window_base = win->base,
		.window_pdes = win->n_pdes,
		.window_pde = win->pde,
	};

	return shadow_set_fixed(v->shadow, &fixed);
}

void world_destroy(struct vcpu *v)
{
	struct world *w = v->world;

	if (!w)
		return;
	region_unmap(v->vm, v->id);
	world_destroy_bt(v);
	window_destroy(&w->window);
	world_free_pages(w);
	kfree(w);
	v->world = NULL;
	v->page = NULL;
}

/* What of a guest's descriptor may be in the world: code and data with DPL 3, or 0. */
static u64 world_usable(u64 desc)
{
	bool present = desc >> 47 & 1;
	bool code_or_data = desc >> 44 & 1;
	u8 dpl = desc >> 45 & 3;

	if (!present || !code_or_data || dpl != 3)
		return 0;
	return desc | 1ull << 40; /* accessed */
}

/* Translated code that returns to user mode compares these: bt/translate_return.c */
static void list_descriptors(struct vcpu *v)
{
	struct world *w = v->world;
	struct vcpu_page *p = v->page;
	u32 i, n = 0;

	for (i = 1; i < ARRAY_SIZE(w->gdt_raw); i++) {
		if (!w->gdt[i])
			continue;
		if (n < VCPU_DESC_CHECKS) {
			p->desc_at[n] = v->gdt.base + i * 8;
			p->desc_neg[n] = -w->gdt_raw[i];
		}
		n++;
	}
	w->gdt_many = !n || n > VCPU_DESC_CHECKS;
	for (i = n; n && i < VCPU_DESC_CHECKS; i++) {
		p->desc_at[i] = p->desc_at[0];
		p->desc_neg[i] = p->desc_neg[0];
	}
}

static u64 *ldt_entry(const struct world *w, u32 i)
{
	return &w->ldt[i / LDT_PAGE_ENTRIES][i % LDT_PAGE_ENTRIES];
}

static bool ldt_alloc(struct vcpu *v)
{
	struct world *w = v->world;
	u32 i;

	for (i = 0; i < REGION_LDT_PAGES; i++) {
		if (w->ldt[i])
			continue;
		w->ldt[i] = env_page_alloc();
		if (!w->ldt[i])
			return false;
		region_map(v->vm, v->id, (REGION_LDT_OFF >> PAGE_SHIFT) + i,
			   __pa(w->ldt[i]), false, true);
	}
	return true;
}

/*
 * The guest's LDT, as far as it reaches. Tables of Linux are as long as what they
 * have, so this is short. Without memory for it there are no descriptors.
 */
static void refresh_ldt(struct vcpu *v)
{
	struct world *w = v->world;
	u64 raw[32], desc;
	u32 n = 0, i, k;

	w->data->ldt = 0;
	if (v->ldt.selector & ~3 && !v->ldt.unusable)
		n = min(v->ldt.limit + 1ull, LDT_MAX_BYTES) / 8;
	if (n && !ldt_alloc(v))
		n = 0;
	for (i = 0; i < n; i += ARRAY_SIZE(raw)) {
		u32 len = min_t(u32, n - i, ARRAY_SIZE(raw));

		if (vcpu_read(v, v->ldt.base + i * 8, raw, len * 8, 0)) {
			memset(raw, 0, sizeof(raw));
			v->exc.pending = false;
		}
		for (k = 0; k < len; k++) {
			desc = world_usable(raw[k]);
			if (*ldt_entry(w, i + k) != desc)
				*ldt_entry(w, i + k) = desc;
		}
	}
	for (i = n; i < w->n_ldt; i++)
		*ldt_entry(w, i) = 0;
	w->n_ldt = n;
	if (n)
		w->data->ldt = WORLD_LDT;
}

bool world_refresh_gdt(struct vcpu *v)
{
	struct world *w = v->world;
	u64 raw[ARRAY_SIZE(w->gdt_raw)] = {};
	u32 bytes = min_t(u32, v->gdt.limit + 1u, sizeof(raw)) & ~7u;
	u32 i;

	refresh_ldt(v);
	/* A guest whose GDT is not there has no descriptors: all stay empty. */
	if (bytes && vcpu_read(v, v->gdt.base, raw, bytes, 0)) {
		memset(raw, 0, sizeof(raw));
		v->exc.pending = false;
	}
	if (w->gdt_valid && !memcmp(raw, w->gdt_raw, sizeof(raw)))
		return false;
	memcpy(w->gdt_raw, raw, sizeof(raw));
	w->gdt[0] = 0;
	for (i = 1; i < ARRAY_SIZE(raw); i++)
		w->gdt[i] = world_usable(raw[i]);
	w->gdt_valid = true;
	list_descriptors(v);
	return true;
}

u64 world_descriptor(const struct world *w, u16 sel)
{
	u32 i = sel >> 3;

	if (sel & 4)
		return i < w->n_ldt ? *ldt_entry(w, i) : 0;
	return i < ARRAY_SIZE(w->gdt_raw) ? w->gdt[i] : 0;
}

u16 world_named_selector(const struct vcpu *v, u16 sel)
{
	u64 desc = world_descriptor(v->world, sel);

	/* Execute-only code cannot be loaded as data. */
	if (!desc || (desc >> 40 & 0xa) == 0x8)
		return 0;
	return sel;
}

/* Which host descriptors and control registers this CPU has. */
static void world_prepare_host(struct world *w)
{
	struct desc_ptr gdt;

	native_store_gdt(&gdt);
	memcpy((void *)(w->base + REGION_CROSS_OFF), (void *)gdt.address,
	       HOST_GDT_ENTRIES * 8);
}

/* Guest user code shall find no selectors of popf's that it can load. */
static void world_hide_tc_selectors(struct world *w)
{
	u8 *gdt = (u8 *)(w->base + REGION_GDT_POPF_OFF) - 0x1000;

	/* The access bytes: switch_64.S does the same. */
	gdt[(WORLD_TC_CS & ~7) + 5] = w->user ? 0 : ACCESS_CODE_DPL3;
	gdt[(WORLD_TC_SS & ~7) + 5] = w->user ? 0 : ACCESS_DATA_DPL3;
}

static void world_set_cr4(const struct vcpu *v)
{
	struct world_data *d = v->world->data;
	u64 flip = v->world->user ? world_user_cr4(v) : 0;

	d->fsgsbase = static_cpu_has(X86_FEATURE_FSGSBASE) &&
		      !(flip & X86_CR4_FSGSBASE);
	d->cr4_keep = ~(u64)(X86_CR4_PGE | X86_CR4_PCE | X86_CR4_PKE |
			     X86_CR4_TSD | X86_CR4_DE | X86_CR4_UMIP);
	if (static_cpu_has(X86_FEATURE_UMIP))
		flip |= X86_CR4_UMIP;
	d->cr4_flip = flip;
}

/*
 * Alignment checks are for CPL 3 only; translated code is not that. But it has AC
 * set so rarely that AM need not differ until it has.
 */
static void world_set_cr0(const struct vcpu *v)
{
	const u64 mask = X86_CR0_TS | X86_CR0_EM | X86_CR0_MP;
	struct world_data *d = v->world->data;
	u64 bits = v->cr0 & mask;

	if (v->world->user || !(v->regs.rflags & RF_AC))
		bits |= v->cr0 & X86_CR0_AM;
	d->cr0_keep = ~(mask | X86_CR0_AM | X86_CR0_NE);
	d->cr0_flip = bits | X86_CR0_NE;
}

void world_switch(struct vcpu *v, bool again)
{
	struct world *w = v->world;
	struct world_data *d = w->here;
	u64 host_xcr = 0;

	world_prepare_host(w);
	world_hide_tc_selectors(w);
	/* Where the mode may have changed these are the same for both. */
	if (!again) {
		w->msr[HMSR_TSC_AUX] = v->tsc_aux;
		hostmsr_load(w->msr);
		world_set_cr0(v);
		world_set_cr4(v);
	}
	d->regs.vector = EXIT_POISON;
	/* One by one, lest gcc fetch a zero for two of them from .rodata. */
	WRITE_ONCE(d->noted, 0);
	WRITE_ONCE(d->nmi_noted, 0);
	WRITE_ONCE(d->mc_noted, 0);
	if (static_cpu_has(X86_FEATURE_OSXSAVE)) {
		host_xcr = xgetbv(XCR_XFEATURE_ENABLED_MASK);
		if (v->xcr0 && v->xcr0 != host_xcr)
			xsetbv(XCR_XFEATURE_ENABLED_MASK, v->xcr0);
	}
	popf_world_call((void *)w->base);
	if (host_xcr && v->xcr0 && v->xcr0 != host_xcr)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, host_xcr);
}
