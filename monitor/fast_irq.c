// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts that find the guest in user mode: straight to their handler in
 * translated code, between two trips to the guest world and without what a turn of
 * the run loop does. They are the greater part of what a guest's computing costs
 * beyond the host's: one for each of its ticks.
 *
 * It does what hardware does with the guest's IDT, GDT and TSS, and as hardware
 * does: it finds them, and the stack, through the shadow tables (shadow_look()).
 * Whatever is not as it is in every kernel, or not in the tables, makes it decline
 * before anything has changed, and event.c has all cases.
 *
 * Invariants:
 *  1. Crossings are allowed (fast.c): roots, descriptors and the vCPU page are good
 *     for both modes, and an interrupt makes one of user mode to the kernel.
 *  2. The vCPU counts as being in the guest world from before the first look at
 *     the shadow tables to the trip.
 *  3. After the frame has been pushed nothing fails.
 */
#include "run.h"

/* Of a gate's first half: P, type, IST and what is reserved. DPL does not matter. */
#define GATE_BITS 0x00009fff00000000ull
#define GATE_INTERRUPT 0x00008e0000000000ull
/* 64-bit code of ring 0, accessed: what seg_set_flat_code() makes. */
#define FLAT_KERNEL_CODE 0x00af9b000000ffffull

#define TSS_RSP0 4
#define FRAME_BYTES 40

/* Flags that a handler is not entered with, or not as the hardware has them. */
#define ODD_FLAGS (RF_TF | RF_NT | RF_RF | RF_AC)

struct irq_frame {
	u64 rip, cs, rflags, rsp, ss;
};

static_assert(sizeof(struct irq_frame) == FRAME_BYTES);

/* A turn of the run loop would do nothing but deliver an interrupt. */
static bool nothing_else(const struct vcpu *v)
{
	return !READ_ONCE(v->nmi_pending) && !READ_ONCE(v->request_exit) &&
	       !v->recording && !READ_ONCE(v->world->conflict) &&
	       !clock_due(v) && !run_renews_next(v);
}

int fast_irq_pending(struct vcpu *v)
{
	const struct world *w = v->world;

	if (!w->fast_irq || !w->here->user || !nothing_else(v))
		return -1;
	return lapic_pending_alone(v->lapic);
}

/* The registers are as the kernel has them, and user mode has changed none. */
static bool state_ok(const struct vcpu *v)
{
	const struct world_data *d = v->world->here;

	return !(d->regs.rflags & ODD_FLAGS) &&
	       d->ds == v->seg[SEG_DS].selector &&
	       d->es == v->seg[SEG_ES].selector &&
	       d->fs == v->seg[SEG_FS].selector &&
	       d->gs == v->seg[SEG_GS].selector;
}

static void *look(const struct vcpu *v, gva_t gva, u32 len, bool write)
{
	return shadow_look(v->shadow, SHADOW_KERNEL, v->world->here->kernel_cr3,
			   gva, len, write);
}

/* An interrupt gate to the kernel's own code segment, without a stack of its own? */
static bool find_handler(const struct vcpu *v, u8 vector, gva_t *handler)
{
	u16 sel = fast_kernel_cs(v);
	const u64 *gate, *cs;
	u64 low;

	if (vector * 16u + 15 > v->idt.limit || sel + 7u > v->gdt.limit)
		return false;
	gate = look(v, v->idt.base + vector * 16u, 16, false);
	cs = look(v, v->gdt.base + sel, 8, false);
	if (!gate || !cs || READ_ONCE(*cs) != FLAT_KERNEL_CODE)
		return false;
	low = READ_ONCE(gate[0]);
	if ((low & GATE_BITS) != GATE_INTERRUPT ||
	    (low >> 16 & 0xfffc) != sel)
		return false;
	*handler = (low & 0xffff) | (low >> 32 & 0xffff0000) |
		   READ_ONCE(gate[1]) << 32;
	return is_canonical(*handler);
}

static struct irq_frame *find_frame(const struct vcpu *v, gva_t *rsp)
{
	const u64 *rsp0;

	if (v->tr.limit < TSS_RSP0 + 7)
		return NULL;
	rsp0 = look(v, v->tr.base + TSS_RSP0, 8, false);
	if (!rsp0)
		return NULL;
	*rsp = (READ_ONCE(*rsp0) & ~15ull) - FRAME_BYTES;
	return look(v, *rsp, FRAME_BYTES, true);
}

static void enter_handler(struct vcpu *v, tpc_t tpc, gva_t rsp)
{
	struct world *w = v->world;
	struct world_data *d = w->here;
	struct world_regs *r = &d->regs;
	struct vcpu_page *p = v->page;

	r->rip = tpc;
	r->cs = WORLD_TC_CS;
	r->ss = WORLD_TC_SS;
	r->rsp = rsp;
	r->rflags = (r->rflags & WORLD_NATIVE_FLAGS) | RF_IF | RF_FIXED;
	p->vif = 0;
	p->viopl = 0;
	p->pend_if_set = 0;
	p->sel[SEG_CS] = fast_kernel_cs(v);
	p->sel[SEG_SS] = 0;
	d->user = 0;
	d->crossed = 1;
	d->cr3 = d->kernel_cr3;
	w->user = false;
	w->rf = 0;
	w->shadow_tpc = 0;
	w->irq_crossed = d->syscalls + 1;
}

bool fast_irq_deliver(struct vcpu *v, u8 vector)
{
	const struct world_regs *r = &v->world->here->regs;
	struct irq_frame *frame;
	gva_t handler, rsp;
	tpc_t tpc;

	if (!state_ok(v) || !find_handler(v, vector, &handler) ||
	    bt_find(v->bt, handler, BT_MODE_LONG, &tpc))
		return false;
	frame = find_frame(v, &rsp);
	if (!frame)
		return false;
	trace_popf_inject(v, vector, false, 0);
	frame->rip = r->rip;
	frame->cs = r->cs;
	frame->rflags = (r->rflags & WORLD_NATIVE_FLAGS) | RF_IF | RF_FIXED;
	frame->rsp = r->rsp;
	frame->ss = r->ss;
	lapic_accept(v->lapic, vector);
	v->stats.irq_injections++;
	v->stats.irq_crossings++;
	enter_handler(v, tpc, rsp);
	return true;
}
