// SPDX-License-Identifier: GPL-2.0-only
/*
 * Between the two forms of a vCPU's registers: canonical (architectural, in struct
 * vcpu) and loaded (what the hardware and translated code want, in world_data and
 * the vCPU page).
 *
 * Invariants:
 *  1. v->tpc != 0: loaded form of translated code. v->tpc == 0: canonical.
 *  2. In direct execution registers are canonical as soon as the exit has been
 *     copied out; IF and IOPL are kept aside because hardware has its own.
 */
#include "run.h"

#define RF_NATIVE WORLD_NATIVE_FLAGS
static_assert(RF_NATIVE == (RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF | RF_DF |
			    RF_OF | RF_NT | RF_AC | RF_ID));
#define RF_ARITH (RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF | RF_OF)

static void regs_to_data(const struct vcpu *v, struct world_regs *r)
{
	const u64 *g = v->regs.gpr;

	r->rax = g[GPR_RAX];
	r->rcx = g[GPR_RCX];
	r->rdx = g[GPR_RDX];
	r->rbx = g[GPR_RBX];
	r->rsp = g[GPR_RSP];
	r->rbp = g[GPR_RBP];
	r->rsi = g[GPR_RSI];
	r->rdi = g[GPR_RDI];
	r->r8 = g[GPR_R8];
	r->r9 = g[GPR_R9];
	r->r10 = g[GPR_R10];
	r->r11 = g[GPR_R11];
	r->r12 = g[GPR_R12];
	r->r13 = g[GPR_R13];
	r->r14 = g[GPR_R14];
	r->r15 = g[GPR_R15];
}

static void regs_from_data(struct vcpu *v, const struct world_regs *r)
{
	u64 *g = v->regs.gpr;

	g[GPR_RAX] = r->rax;
	g[GPR_RCX] = r->rcx;
	g[GPR_RDX] = r->rdx;
	g[GPR_RBX] = r->rbx;
	g[GPR_RSP] = r->rsp;
	g[GPR_RBP] = r->rbp;
	g[GPR_RSI] = r->rsi;
	g[GPR_RDI] = r->rdi;
	g[GPR_R8] = r->r8;
	g[GPR_R9] = r->r9;
	g[GPR_R10] = r->r10;
	g[GPR_R11] = r->r11;
	g[GPR_R12] = r->r12;
	g[GPR_R13] = r->r13;
	g[GPR_R14] = r->r14;
	g[GPR_R15] = r->r15;
}

static void load_bases(struct vcpu *v)
{
	struct world_data *d = v->world->data;

	d->fs_base = v->seg[SEG_FS].base;
	d->gs_base = v->seg[SEG_GS].base;
}

static void load_selectors(struct vcpu *v)
{
	struct world_data *d = v->world->data;

	d->ds = world_selector(v, v->seg[SEG_DS].selector);
	d->es = world_selector(v, v->seg[SEG_ES].selector);
	d->fs = world_selector(v, v->seg[SEG_FS].selector);
	d->gs = world_selector(v, v->seg[SEG_GS].selector);
}

/* What translated code wants in the vCPU page; v is canonical. */
void sync_load_page(struct vcpu *v)
{
	struct vcpu_page *p = v->page;
	u32 i;

	p->vif = v->regs.rflags & RF_IF;
	p->viopl = v->regs.rflags & RF_IOPL;
	p->kernel_gs_base = v->kernel_gs_base;
	p->tsc_offset = v->tsc_offset;
	p->tsc_aux = v->tsc_aux;
	p->cr0 = v->cr0;
	p->cr2 = v->cr2;
	p->cr3 = v->cr3;
	p->cr4 = v->cr4;
	p->cr8 = v->cr8;
	/* With breakpoints the RF that IRET loads matters. */
	p->iret_slow = v->nmi_masked || v->regs.rflags & RF_NT || debug_armed(v);
	p->pend_if_clear = 0;
	for (i = 0; i < SEG_COUNT; i++)
		p->sel[i] = v->seg[i].selector;
}

void sync_load_kernel(struct vcpu *v, tpc_t tpc)
{
	v->world->tf = v->regs.rflags & RF_TF;
	sync_load_page(v);
	load_bases(v);
	load_selectors(v);
	v->regs.rflags = (v->regs.rflags & RF_NATIVE) | RF_IF | RF_FIXED;
	v->tpc = tpc;
}

/* Registers for one entry to translated code at v->tpc. */
void sync_enter_kernel(struct vcpu *v)
{
	struct world_regs *r = &v->world->data->regs;

	regs_to_data(v, r);
	r->rip = v->tpc;
	r->cs = WORLD_TC_CS;
	r->ss = WORLD_TC_SS;
	r->rflags = v->regs.rflags;
}

void sync_leave_kernel(struct vcpu *v)
{
	const struct world_regs *r = &v->world->data->regs;

	regs_from_data(v, r);
	v->regs.rflags = (r->rflags & RF_NATIVE) | RF_IF | RF_FIXED;
	v->tpc = r->rip;
}

void sync_enter_user(struct vcpu *v)
{
	struct world *w = v->world;
	struct world_regs *r = &w->data->regs;

	w->user_flags = v->regs.rflags & (RF_IF | RF_IOPL);
	load_bases(v);
	load_selectors(v);
	regs_to_data(v, r);
	r->rip = v->regs.rip;
	r->cs = v->seg[SEG_CS].selector;
	r->ss = v->seg[SEG_SS].selector;
	r->rflags = (v->regs.rflags & (RF_NATIVE | RF_TF | RF_RF)) | RF_IF |
		    RF_FIXED;
	w->user_tf = v->regs.rflags & RF_TF;
	if (unlikely(w->user_step))
		r->rflags |= RF_TF;
}

static void take_segment(struct vcpu *v, enum popf_seg n, u16 sel)
{
	struct kvm_segment *s = &v->seg[n];
	u64 desc;

	if (world_selector(v, s->selector) == sel)
		return;
	s->selector = sel;
	s->unusable = sel < 4;
	if (s->unusable)
		return;
	desc = world_descriptor(v->world, sel);
	s->limit = (desc & 0xffff) | (desc >> 32 & 0xf0000);
	s->type = desc >> 40 & 0xf;
	s->s = 1;
	s->dpl = 3;
	s->present = 1;
	s->avl = desc >> 52 & 1;
	s->l = desc >> 53 & 1;
	s->db = desc >> 54 & 1;
	s->g = desc >> 55 & 1;
	if (s->g)
		s->limit = s->limit << 12 | 0xfff;
	s->base = (desc >> 16 & 0xffffff) | (desc >> 32 & 0xff000000);
}

/* User code may have loaded a data segment itself: take over what it has now. */
static void sync_segment(struct vcpu *v, enum popf_seg n, u16 sel)
{
	if (unlikely(v->seg[n].selector != sel))
		take_segment(v, n, sel);
}

void sync_leave_user(struct vcpu *v)
{
	struct world *w = v->world;
	const struct world_data *d = w->data;
	const struct world_regs *r = &d->regs;

	regs_from_data(v, r);
	v->regs.rip = r->rip;
	v->regs.rflags = (r->rflags & (RF_NATIVE | RF_TF | RF_RF)) | RF_FIXED |
			 w->user_flags;
	/* What could change the guest's TF has been emulated. */
	if (unlikely(w->user_step))
		v->regs.rflags = (v->regs.rflags & ~RF_TF) | w->user_tf;
	v->irq_shadow = false;
	sync_segment(v, SEG_DS, d->ds);
	sync_segment(v, SEG_ES, d->es);
	sync_segment(v, SEG_FS, d->fs);
	sync_segment(v, SEG_GS, d->gs);
	v->seg[SEG_FS].base = d->fs_base;
	v->seg[SEG_GS].base = d->gs_base;
}

/*
 * User code may have done a far transfer between its own 64-bit and 32-bit code
 * segments: the hardware's CS and SS are the truth. Vectors whose stub made up a
 * frame pass false.
 */
void sync_leave_user_cs(struct vcpu *v)
{
	const struct world_regs *r = &v->world->data->regs;

	sync_segment(v, SEG_CS, r->cs);
	sync_segment(v, SEG_SS, r->ss);
}

/* What translated code keeps in the vCPU page, back to its fields. */
void sync_page(struct vcpu *v)
{
	const struct vcpu_page *p = v->page;

	v->regs.rflags = (v->regs.rflags & RF_NATIVE) | RF_FIXED |
			 (READ_ONCE(p->vif) & RF_IF) |
			 (READ_ONCE(p->viopl) & RF_IOPL) | v->world->tf;
	v->kernel_gs_base = READ_ONCE(p->kernel_gs_base);
	v->seg[SEG_FS].base = v->world->data->fs_base;
	v->seg[SEG_GS].base = v->world->data->gs_base;
}

static u64 lahf_to_flags(u64 ax)
{
	return (ax >> 8 & (RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF)) |
	       (ax & 0xff ? RF_OF : 0);
}

/* Canonical state from a record; false when there is none for this tpc. */
bool sync_recover(struct vcpu *v)
{
	struct bt_state st;
	u32 i;

	if (bt_recover(v->bt, v->tpc, &st) || st.opaque)
		return false;
	for (i = 0; i < GPR_COUNT; i++) {
		if (st.spilled & 1u << i)
			v->regs.gpr[i] = READ_ONCE(v->page->spill[i]);
	}
	if (st.flags_spilled)
		v->regs.rflags = (v->regs.rflags & ~RF_ARITH) |
				 lahf_to_flags(READ_ONCE(v->page->spill_flags));
	sync_page(v);
	v->regs.rip = st.indirect ? READ_ONCE(v->page->ibl_target) : st.gpc;
	if (v->regs.rip == v->world->rf_gpc)
		v->regs.rflags |= v->world->rf;
	/*
	 * The entry may not have come to anything yet: a kick, or work of the host.
	 * A guest that has come back to that place has its interrupt an instruction
	 * late.
	 */
	v->irq_shadow = st.irq_shadow || v->tpc == v->world->shadow_tpc;
	v->world->hits = 0;
	v->tpc = 0;
	return true;
}

/* As above at an exit whose guest state is exact: registers need nothing. */
void sync_at(struct vcpu *v, gva_t gpc)
{
	sync_page(v);
	v->regs.rip = gpc;
	v->irq_shadow = false;
	v->world->hits = 0;
	v->tpc = 0;
}

void vcpu_sync(struct vcpu *v)
{
	if (v->tpc && !sync_recover(v))
		vcpu_stop(v, "no guest state for tpc %llx",
			  (unsigned long long)v->tpc);
}
