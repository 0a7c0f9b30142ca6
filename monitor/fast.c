// SPDX-License-Identifier: GPL-2.0-only
/*
 * Crossings between direct execution and translated code without the host: the C
 * half of what switch_64.S does at stub_syscall. Before an entry it is decided
 * whether they are allowed and all they need is laid out in struct world_data and
 * the vCPU page; after the exit the vCPU's registers follow what has happened.
 *
 * Allowed is only what changes nothing else: one set of data segments, control
 * and debug registers for both modes, no single-stepping, no event that waits,
 * virtual IF set and IOPL 0 in user mode, and flags that SYSCALL clears as all
 * kernels do. Everything else takes the way through the host.
 *
 * Invariants:
 *  1. What a crossing uses is computed anew for every entry: roots and the tpc of
 *     LSTAR are those of now, and nothing changes them while the vCPU is in the
 *     guest world.
 *  2. The vCPU page is untrusted: from it come only registers of ring 3. Selectors
 *     come from world_data and name descriptors that C has checked.
 *  3. While both modes may follow each other, the vCPU page has what translated
 *     code wants, also at an entry to direct execution.
 */
#include "run.h"

#define SYSCALL_CLEARS (RF_IF | RF_TF | RF_NT | RF_AC)
#define SELECTORS(cs, ss) ((u32)(u16)(cs) | (u32)(u16)(ss) << 16)

static u16 user_cs(const struct vcpu *v)
{
	return ((v->star >> 48) + 16) | 3;
}

static u16 user_ss(const struct vcpu *v)
{
	return ((v->star >> 48) + 8) | 3;
}

/* Does the world's GDT have 64-bit code and writable data there? */
static bool user_segments_ok(const struct vcpu *v)
{
	const struct world *w = v->world;
	u64 cs, ss;

	if ((user_cs(v) | user_ss(v)) & 4 ||
	    user_cs(v) >> 3 >= ARRAY_SIZE(w->gdt_raw))
		return false;
	cs = w->gdt[user_cs(v) >> 3];
	ss = w->gdt[user_ss(v) >> 3];
	/* type: code; L set, D clear. type: data, writable. */
	return (cs >> 43 & 1) && (cs >> 53 & 3) == 1 &&
	       !(ss >> 43 & 1) && (ss >> 41 & 1);
}

static bool data_segments_ok(const struct vcpu *v)
{
	static const u8 segs[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(segs); i++) {
		u16 sel = v->seg[segs[i]].selector;

		/* Nobody looks at the LDT's descriptors in a crossing. */
		if (sel & 4 || world_selector(v, sel) != sel)
			return false;
	}
	return true;
}

static bool allowed(const struct vcpu *v)
{
	const struct world *w = v->world;

	return (v->efer & GEFER_SCE) && !w->bouncing && !w->nudge && !w->tf &&
	       !(v->dr7 & 0xff) && w->gdt_valid && !w->gdt_many &&
	       !v->world->data->ldt &&
	       (v->sfmask & SYSCALL_CLEARS) == SYSCALL_CLEARS &&
	       !world_user_cr4(v) && user_segments_ok(v) &&
	       data_segments_ok(v);
}

static void allow_syscall(struct vcpu *v)
{
	struct world_data *d = v->world->data;
	tpc_t tpc;

	if (v->world->user && v->world->user_flags != RF_IF)
		return;
	/* The slow way translates it. */
	if (bt_find(v->bt, v->lstar, BT_MODE_LONG, &tpc))
		return;
	d->fast_tpc = tpc;
	d->fast_vif = 0;
	d->fast_flags = WORLD_NATIVE_FLAGS & ~(u32)v->sfmask;
	d->kernel_sel = SELECTORS(fast_kernel_cs(v), fast_kernel_cs(v) + 8);
	d->fast_syscall = 1;
}

/* Alignment checks are off in hardware while translated code has AC set. */
static bool ac_differs(const struct vcpu *v)
{
	return !v->world->user && v->cr0 & CR0_AM && v->regs.rflags & RF_AC;
}

static void allow_return(struct vcpu *v)
{
	struct world_data *d = v->world->data;
	struct vcpu_page *p = v->page;

	if (ac_differs(v) || READ_ONCE(p->pend_if_set))
		return;
	d->user_cs = user_cs(v);
	d->user_ss = user_ss(v);
	p->ret_cs = user_cs(v);
	p->ret_ss = user_ss(v);
	d->fast_return = 1;
}

int fast_prepare(struct vcpu *v, const struct shadow_mode *m)
{
	struct world *w = v->world;
	struct world_data *d = w->data;
	int ret;

	d->user = w->user;
	d->crossed = 0;
	d->fast_syscall = 0;
	d->fast_return = 0;
	w->fast_irq = false;
	w->irq_crossed = 0;
	if (allowed(v)) {
		ret = shadow_root(v->shadow, m,
				  w->user ? SHADOW_KERNEL : SHADOW_USER,
				  w->user ? &d->kernel_cr3 : &d->user_cr3);
		if (ret)
			return ret;
		if (w->user)
			d->user_cr3 = d->cr3;
		else
			d->kernel_cr3 = d->cr3;
		if (w->user)
			sync_load_page(v);
		allow_syscall(v);
		allow_return(v);
		w->fast_irq = v->lapic && v->user_irq < 0 &&
			      !READ_ONCE(v->run->request_interrupt_window) &&
			      (!w->user || w->user_flags == RF_IF);
	}
	v->page->ret_slow = !d->fast_return;
	return 0;
}

void fast_finish(struct vcpu *v)
{
	struct world *w = v->world;
	struct world_data *d = w->data;
	bool by_irq = w->irq_crossed == d->syscalls + 1;

	v->stats.syscalls += d->syscalls;
	v->stats.sysrets += d->returns;
	d->syscalls = 0;
	d->returns = 0;
	w->user = d->user;
	/* A crossing to user mode has compared the descriptors. */
	w->gdt_fresh = w->user;
	v->irq_shadow = false;
	if (w->user) {
		seg_set_flat_code(&v->seg[SEG_CS], user_cs(v), 3, true);
		seg_set_flat_data(&v->seg[SEG_SS], user_ss(v), 3);
		v->kernel_gs_base = READ_ONCE(v->page->kernel_gs_base);
		w->user_flags = RF_IF;
		v->tpc = 0;
	} else {
		seg_set_flat_code(&v->seg[SEG_CS], fast_kernel_cs(v), 0, true);
		/* An interrupt leaves no selector in SS, SYSCALL one. */
		if (by_irq)
			seg_set_null(&v->seg[SEG_SS], 0);
		else
			seg_set_flat_data(&v->seg[SEG_SS],
					  fast_kernel_cs(v) + 8, 0);
	}
}
