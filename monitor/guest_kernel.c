// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exits from translated code and from bounce code.
 *
 * A fault in translated code becomes guest state through the TU's records; an
 * exit that the translator put there says by itself what it is about. The vCPU
 * page and the tpc are untrusted: a tpc that is no exit point stops the VM.
 */
#include <popf/record.h>

#include "run.h"

enum emul run_fetch_failed(struct vcpu *v, gva_t gpc, int err)
{
	struct world *w = v->world;

	if (v->tpc)
		sync_at(v, gpc);
	if (err == -EAGAIN)
		return EMUL_FAULT; /* the host was changing memory: once more */
	/* A breakpoint there comes first: find_tpc(). */
	if (err == -EFAULT && debug_insn_hits(v, gpc) &&
	    !(v->regs.rflags & RF_RF))
		return EMUL_FAULT;
	if (err != -EFAULT)
		return vcpu_stop(v, "translation at %llx failed: error %d",
				 (unsigned long long)gpc, err);
	if (!w->fetch_faulted)
		return vcpu_stop(v, "code at %llx is not in memory",
				 (unsigned long long)gpc);
	w->fetch_faulted = false;
	if (w->fetch_fault.error == ~0u)
		vcpu_queue_exception(v, VEC_GP, true, 0);
	else
		vcpu_queue_pf(v, w->fetch_fault.gva, w->fetch_fault.error);
	return EMUL_FAULT;
}

static enum emul need_recover(struct vcpu *v)
{
	if (!v->tpc || sync_recover(v))
		return EMUL_DONE;
	return vcpu_stop(v, "fault at tpc %llx, which has no guest state",
			 (unsigned long long)v->tpc);
}

static enum emul queue_fault(struct vcpu *v, u8 vector, u32 error)
{
	static const u32 with_error = 1u << VEC_DF | 1u << VEC_TS | 1u << VEC_NP |
				      1u << VEC_SS | 1u << VEC_GP | 1u << VEC_AC;

	if (need_recover(v) != EMUL_DONE)
		return EMUL_STOP;
	vcpu_queue_exception(v, vector, with_error >> vector & 1, error);
	return EMUL_FAULT;
}

enum emul run_page_fault(struct vcpu *v, enum shadow_view view, u32 access)
{
	gva_t gva = v->world->data->cr2;
	struct shadow_fault f;
	struct shadow_mode m;
	enum emul e;
	gva_t gpc;
	int ret;

	v->stats.pf_taken++;
	vcpu_shadow_mode(v, &m);
	ret = shadow_fault(v->shadow, &m, view, gva, access, &f);
	trace_popf_page_fault(v, gva, access, ret);
	switch (ret) {
	case SHADOW_PF_FIXED:
	case SHADOW_PF_RETRY:
		v->stats.pf_fixed++;
		return EMUL_DONE;
	case SHADOW_PF_GUEST:
		v->stats.pf_guest++;
		if (f.error == ~0u)
			return queue_fault(v, VEC_GP, 0);
		if (need_recover(v) != EMUL_DONE)
			return EMUL_STOP;
		vcpu_queue_pf(v, gva, f.error);
		return EMUL_FAULT;
	case SHADOW_PF_TRACE:
		v->stats.pf_trace++;
		break;
	case SHADOW_PF_MMIO:
		v->stats.pf_mmio++;
		break;
	case -EINTR:
		return EMUL_DONE; /* the loop sees the signal */
	default:
		return vcpu_stop(v, "page fault at %llx: error %d",
				 (unsigned long long)gva, ret);
	}
	if (need_recover(v) != EMUL_DONE)
		return EMUL_STOP;
	v->stats.emulations++;
	gpc = v->regs.rip;
	e = vcpu_emulate_memory(v);
	if (v->regs.rip != gpc)
		v->regs.rflags &= ~RF_RF;
	return e;
}

/* Single step of guest kernel code: the trap comes after the instruction. */
static enum emul step_trap(struct vcpu *v, enum emul e)
{
	if (e != EMUL_DONE || v->exc.pending)
		return e;
	event_step(v, v->world->tf);
	return v->exc.pending ? EMUL_FAULT : e;
}

/*
 * A data breakpoint has been hit by translated code, or the step after one. The
 * trap is due when the guest's instruction is done: until then go on step by step.
 * What undoes the instruction also forgets the hit: see sync_recover().
 */
static enum emul kernel_debug(struct vcpu *v)
{
	struct world *w = v->world;
	u64 hits = w->dr6 & w->armed;
	struct bt_state st;
	gva_t end;

	if (hits && !w->hits && bt_insn_before(v->bt, v->tpc, &w->hit_gpc))
		w->hit_gpc = ~0ull; /* a string instruction behind its round */
	w->hits |= hits;
	if (!w->hits)
		return EMUL_DONE;
	if (bt_recover(v->bt, v->tpc, &st) || st.opaque ||
	    (!st.branched && st.gpc == w->hit_gpc))
		return EMUL_DONE;
	hits = w->hits;
	sync_recover(v);
	/* Where the translator left out a jmp behind it, that has not been done. */
	if (w->hit_gpc != ~0ull && vcpu_insn_end(v, w->hit_gpc, &end))
		v->regs.rip = end;
	v->debug_hits = hits;
	return step_trap(v, EMUL_DONE);
}

static enum emul exit_direct(struct vcpu *v, const struct bt_exit *x)
{
	tpc_t tpc;
	int ret;

	v->stats.direct_exits++;
	ret = bt_chain(v->bt, x, &tpc);
	if (ret)
		return run_fetch_failed(v, x->target, ret);
	recording_going(v, tpc, POPF_RECORD_DIRECT);
	v->tpc = tpc;
	return EMUL_DONE;
}

static enum emul exit_indirect(struct vcpu *v, const struct bt_exit *x)
{
	gva_t target = READ_ONCE(v->page->ibl_target);
	tpc_t tpc;
	int ret;

	v->stats.indirect_exits++;
	ret = bt_indirect(v->bt, target, x->mode, &tpc);
	if (ret)
		return run_fetch_failed(v, target, ret);
	bt_learn(v->bt, x, target);
	recording_going(v, tpc, POPF_RECORD_INDIRECT);
	v->tpc = tpc;
	return EMUL_DONE;
}

/* mov ss, r/m16, with at most a REX or operand-size prefix */
static bool loads_ss(const struct bt_exit *x)
{
	u32 i = x->insn[0] == 0x66 || (x->insn[0] & 0xf0) == 0x40;

	return x->insn[i] == 0x8e && (x->insn[i + 1] >> 3 & 7) == SEG_SS;
}

static enum emul exit_callout(struct vcpu *v, const struct bt_exit *x)
{
	enum emul e;

	v->stats.callouts++;
	sync_at(v, x->gpc);
	e = vcpu_emulate_callout(v, x->insn, x->insn_len);
	/* Not done yet (a string, or userland is asked): RF stays. */
	if (v->regs.rip == x->gpc && e != EMUL_FAULT)
		v->regs.rflags |= v->world->rf;
	/* A load of SS holds off the trap, as it does interrupts. */
	if (e == EMUL_DONE && loads_ss(x))
		return e;
	return step_trap(v, e);
}

static enum emul exit_step(struct vcpu *v, const struct bt_exit *x)
{
	sync_at(v, x->indirect ? READ_ONCE(v->page->ibl_target) : x->gpc);
	v->debug_hits = 0;
	return step_trap(v, EMUL_DONE);
}

/* The int3 of an exit, the trap's RIP is behind it. */
static enum emul kernel_trap(struct vcpu *v)
{
	struct bt_exit x;

	bt_exit_at(v->bt, v->tpc - 1, &x);
	switch (x.kind) {
	case BT_EXIT_DIRECT:
		return exit_direct(v, &x);
	case BT_EXIT_INDIRECT:
		return exit_indirect(v, &x);
	case BT_EXIT_CALLOUT:
		return exit_callout(v, &x);
	case BT_EXIT_UD:
		sync_at(v, x.gpc);
		vcpu_queue_exception(v, VEC_UD, false, 0);
		return EMUL_FAULT;
	case BT_EXIT_IRQ:
		/* Or a recording's buffer was full, from which all was taken. */
		if (bt_record_full(v->bt, v->tpc - 1, &v->tpc)) {
			recording_emptied(v);
			return EMUL_DONE;
		}
		sync_at(v, x.gpc);
		return EMUL_DONE;
	case BT_EXIT_STEP:
		return exit_step(v, &x);
	case BT_EXIT_BOUNCE:
	case BT_EXIT_NONE:
		break;
	}
	return vcpu_stop(v, "translated code trapped at %llx, which is no exit",
			 (unsigned long long)v->tpc - 1);
}

enum emul run_kernel_exit(struct vcpu *v, u32 vector)
{
	const struct world_data *d = v->world->data;
	u32 error = d->regs.error;

	if (vector >= 32 && vector < 256)
		return EMUL_DONE;
	switch (vector) {
	case VEC_NMI:
	case VEC_MC:
	case EXIT_NOTED:
		return EMUL_DONE;
	case EXIT_SYSCALL:
		/* A return to user mode that the region left to us: resume. */
		return EMUL_DONE;
	case VEC_DB:
		if (v->world->nudge || v->world->dr6 & v->world->armed)
			return kernel_debug(v);
		break;
	case VEC_BP:
		return kernel_trap(v);
	case VEC_PF:
		if (!(error & PF_ERR_PRESENT) && window_maps(&v->world->window, d->cr2))
			return EMUL_DONE; /* see there */
		if (error & PF_ERR_FETCH)
			return vcpu_stop(v, "translated code jumped to %llx",
					 (unsigned long long)d->cr2);
		return run_page_fault(v, SHADOW_KERNEL, error & PF_ERR_WRITE);
	case VEC_AC:
		/* AC is set: the next entry has AM clear, see world_set_cr0(). */
		return EMUL_DONE;
	case VEC_DE:
	case VEC_BR:
	case VEC_UD:
	case VEC_NM:
	case VEC_NP:
	case VEC_SS:
	case VEC_GP:
	case VEC_MF:
	case VEC_XM:
		return queue_fault(v, vector, error);
	}
	return vcpu_stop(v, "unexpected exit %u from translated code at %llx",
			 vector, (unsigned long long)v->tpc);
}

/*
 * Run the instruction in v->bounce natively on a copy of its operand: always in the
 * kernel view, because only that maps the window, whatever the guest's CPL.
 */
enum emul run_bounce_start(struct vcpu *v)
{
	struct vcpu_bounce *b = &v->bounce;
	tpc_t tpc;
	int ret;

	v->stats.bounces++;
	ret = bt_bounce_emit(v->bt, &b->plan, WINDOW_BOUNCE_DATA_OFF, &tpc);
	if (ret)
		return vcpu_stop(v, "cannot bounce instruction at %llx: error %d",
				 (unsigned long long)v->regs.rip, ret);
	memcpy(v->bounce_data, b->data, sizeof(b->data));
	v->world->bouncing = true;
	sync_load_kernel(v, tpc);
	return EMUL_DONE;
}

enum emul run_bounce_exit(struct vcpu *v, u32 vector)
{
	struct world *w = v->world;
	u32 error = w->data->regs.error;
	struct bt_exit x = { .kind = BT_EXIT_NONE };

	if ((vector >= 32 && vector < 256) || vector == VEC_NMI ||
	    vector == VEC_MC)
		return EMUL_DONE;
	if (vector == VEC_PF && !(error & PF_ERR_FETCH))
		return run_page_fault(v, SHADOW_KERNEL, error & PF_ERR_WRITE);
	w->bouncing = false;
	if (vector == VEC_BP)
		bt_exit_at(v->bt, v->tpc - 1, &x);
	sync_page(v);
	v->tpc = 0; /* regs.rip is still the instruction's */
	if (x.kind == BT_EXIT_BOUNCE) {
		memcpy(v->bounce.data, v->bounce_data, sizeof(v->bounce.data));
		return vcpu_bounce_done(v);
	}
	if (vector < 32 && vector != VEC_BP && vector != VEC_PF)
		return queue_fault(v, vector, error);
	return vcpu_stop(v, "bounce of the instruction at %llx ended with exit %u",
			 (unsigned long long)v->regs.rip, vector);
}
