// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run loop: deliver what is pending, enter the guest world, handle the exit.
 *
 * One turn:
 *	settle	code mappings, pending exceptions, NMI, interrupts
 *	prepare	find the root and, for guest kernel code, the tpc
 *	enter	interrupts off: last checks, FPU, world_switch()
 *	host	still off: replay the host's interrupt, NMI or machine check
 *	handle	interrupts on: one case per exit, in guest_kernel.c/guest_user.c
 *
 * Invariants:
 *  1. Between the last check for kicks and the switch interrupts are off, so a kick
 *     (an IPI) that comes later ends the guest's run.
 *  2. Everything with locks, sleeping or guest memory happens with interrupts on
 *     and in the host world.
 */
#include <linux/entry-kvm.h>
#include <linux/module.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fpu/api.h>
#include <asm/idtentry.h>
#include <asm/mce.h>
#include <asm/trapnr.h>

#include <popf/compat.h>
#include <popf/hostwork.h>
#include <popf/record.h>

#include "monitor_host.h"
#include "run.h"

int vcpu_init(struct vcpu *v)
{
	int ret;

	v->shadow = v->vm->shadow;
	v->user_irq = -1;
	ret = world_create(v);
	if (ret)
		return ret;
	ret = world_set_fixed(v);
	if (ret) {
		world_destroy(v);
		return ret;
	}
	vcpu_reset(v);
	return 0;
}

void vcpu_fini(struct vcpu *v)
{
	/* Roots lead to the window's tables: forget them before they go. */
	if (v->shadow)
		shadow_zap_all(v->shadow);
	vcpu_emul_fini(v);
	world_destroy(v);
}

/* An event for translated code that runs with IF clear: it looks at sti. */
static void arm_pending(struct vcpu *v, bool pending)
{
	WRITE_ONCE(v->page->pend_if_set, pending);
}

static int next_irq(struct vcpu *v)
{
	if (v->user_irq >= 0)
		return v->user_irq;
	return v->lapic ? lapic_pending(v->lapic) : -1;
}

static void take_irq(struct vcpu *v, u8 vector)
{
	if (v->user_irq >= 0)
		v->user_irq = -1;
	else
		lapic_accept(v->lapic, vector);
	v->stats.irq_injections++;
}

/* Would the guest take an interrupt here, whatever form the registers have? */
static bool irq_open(struct vcpu *v)
{
	if (!v->tpc)
		return vcpu_irq_allowed(v);
	return READ_ONCE(v->page->vif) & RF_IF;
}

/*
 * Bring the registers into canonical form for somebody who needs them. Where
 * translated code has no exact guest state, false: the next entry single-steps
 * (hardware TF) out of that place.
 */
static bool exact(struct vcpu *v)
{
	if (!v->tpc || sync_recover(v))
		return true;
	v->world->nudge = true;
	return false;
}

static enum emul inject_interrupt(struct vcpu *v, int vector)
{
	if (!exact(v))
		return EMUL_DONE;
	if (!vcpu_irq_allowed(v))
		return EMUL_DONE;
	/* Registers are canonical here: nobody is in what goes. */
	if (run_renews_next(v))
		bt_renew(v->bt);
	take_irq(v, vector);
	v->halted = false;
	return vcpu_deliver_interrupt(v, vector, false);
}

static noinline enum emul inject_nmi(struct vcpu *v)
{
	if (!exact(v))
		return EMUL_DONE;
	if (!vcpu_nmi_allowed(v))
		return EMUL_DONE;
	v->nmi_pending = false;
	v->halted = false;
	v->stats.nmi_injections++;
	return vcpu_deliver_interrupt(v, VEC_NMI, true);
}

static enum emul inject_events(struct vcpu *v)
{
	enum emul ret = EMUL_DONE;
	int vector;

	if (v->exc.pending) {
		v->stats.exceptions++;
		ret = vcpu_deliver_exception(v);
	}
	if (ret == EMUL_DONE && READ_ONCE(v->nmi_pending) && !v->nmi_masked)
		ret = inject_nmi(v);
	if (ret != EMUL_DONE || v->triple_fault)
		return ret;
	vector = next_irq(v);
	if (vector >= 0 && irq_open(v)) {
		ret = inject_interrupt(v, vector);
		vector = next_irq(v);
	}
	arm_pending(v, vector >= 0 || READ_ONCE(v->nmi_pending) ||
			       READ_ONCE(v->run->request_interrupt_window));
	return ret;
}

/* Reasons to go back to userland that do not come from an instruction. */
static bool wants_userland(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	int eoi;

	if (v->triple_fault) {
		v->triple_fault = false;
		run->exit_reason = KVM_EXIT_SHUTDOWN;
		return true;
	}
	eoi = v->lapic && !v->tpc ? lapic_take_eoi_exit(v->lapic) : -1;
	if (eoi >= 0) {
		run->exit_reason = KVM_EXIT_IOAPIC_EOI;
		run->eoi.vector = eoi;
		return true;
	}
	if (run->request_interrupt_window && v->user_irq < 0 &&
	    irq_open(v) && exact(v)) {
		run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
		return true;
	}
	return false;
}

static bool has_wake_event(struct vcpu *v)
{
	return v->exc.pending || READ_ONCE(v->nmi_pending) ||
	       (next_irq(v) >= 0 && vcpu_irq_allowed(v));
}

static noinline int wait_halted(struct vcpu *v)
{
	int ret = 0;

	while (v->halted && !ret) {
		if (has_wake_event(v)) {
			v->halted = false;
			break;
		}
		if (!v->lapic) {
			v->run->exit_reason = KVM_EXIT_HLT;
			v->halted = false;
			return 1;
		}
		v->stats.halt_exits++;
		ret = vcpu_block(v, has_wake_event);
		clock_update(v);
	}
	return ret;
}

/* There are breakpoints on the instruction at RIP. */
static noinline enum emul breakpoint_hit(struct vcpu *v, u32 hits)
{
	if (!(v->regs.rflags & RF_RF)) {
		vcpu_queue_exception(v, VEC_DB, false, 0);
		v->exc.dr6 = hits;
		return EMUL_FAULT;
	}
	v->world->rf = RF_RF;
	v->world->rf_gpc = v->regs.rip;
	return EMUL_DONE;
}

/* Canonical: where to go on in translated code. */
static enum emul find_tpc(struct vcpu *v)
{
	struct world *w = v->world;
	bool step;
	tpc_t tpc;
	u32 hits;
	int ret;

	bt_set_fsgsbase(v->bt, v->cr4 & X86_CR4_FSGSBASE);
	w->tf = v->regs.rflags & RF_TF;
	w->rf = 0;
	hits = debug_insn_hits(v, v->regs.rip);
	if (unlikely(hits) && breakpoint_hit(v, hits) != EMUL_DONE)
		return EMUL_FAULT;
	/* What waits for the end of a shadow is looked at one instruction on. */
	step = w->tf || hits || (v->irq_shadow && (next_irq(v) >= 0 ||
					   READ_ONCE(v->nmi_pending)));
	ret = bt_enter(v->bt, v->regs.rip, step ? BT_MODE_STEP : BT_MODE_LONG,
		       &tpc);
	if (ret)
		return run_fetch_failed(v, v->regs.rip, ret);
	recording_going(v, tpc, POPF_RECORD_DISPATCH);
	sync_load_kernel(v, tpc);
	w->shadow_tpc = v->irq_shadow ? tpc : 0;
	v->irq_shadow = false;
	return EMUL_DONE;
}

/*
 * Direct execution. Hardware has IF set and IOPL 0 there; where the guest has it
 * otherwise, it is single-stepped, and what would show or change the two is
 * emulated.
 */
static enum emul prepare_user(struct vcpu *v)
{
	struct world *w = v->world;
	u64 flags = v->regs.rflags;
	int ret;

	/* Since the last look no kernel has run that could have changed it. */
	if (!w->gdt_fresh || !w->gdt_valid)
		world_refresh_gdt(v);
	w->gdt_fresh = true;
	w->user_step = !(flags & RF_IF) || (flags & RF_IOPL) == RF_IOPL;
	v->stepping = w->user_step || flags & RF_TF;
	/* Its breakpoint comes first, and is found by hardware. */
	if (w->user_step && (flags & RF_RF || !debug_insn_hits(v, v->regs.rip))) {
		ret = vcpu_user_flags(v);
		if (ret >= 0)
			return ret == EMUL_STOP ? EMUL_STOP : EMUL_FAULT;
	}
	vcpu_note_operands(v);
	sync_enter_user(v);
	return EMUL_DONE;
}

static __cold enum emul no_root(struct vcpu *v, int err)
{
	return vcpu_stop(v, "no shadow root: error %d", err);
}

/* Choose root and registers for the next entry. */
static enum emul prepare(struct vcpu *v)
{
	struct world *w = v->world;
	struct shadow_mode m;
	enum emul e;
	hpa_t root;
	int ret;

	if (!vcpu_long_mode(v) || !(v->cr0 & 0x80000000ul))
		return vcpu_stop(v, "only long mode is supported yet");
	w->user = !v->tpc && vcpu_cpl(v) == 3;
	w->user_step = false;
	if (w->user) {
		e = prepare_user(v);
		if (e != EMUL_DONE)
			return e;
	} else if (!v->tpc) {
		if (!v->seg[SEG_CS].l)
			return vcpu_stop(v, "32-bit code at CPL 0 is not supported yet");
		if (!w->gdt_valid)
			world_refresh_gdt(v);
		if (find_tpc(v) != EMUL_DONE)
			return EMUL_FAULT;
	}
	/* Settle first; bounce code and single steps are on their way there. */
	if (code_is_stale(w) && !w->bouncing && !w->nudge)
		return EMUL_FAULT;
	vcpu_shadow_mode(v, &m);
	ret = shadow_root(v->shadow, &m, w->user ? SHADOW_USER : SHADOW_KERNEL,
			  &root);
	if (ret)
		return no_root(v, ret);
	w->data->cr3 = root;
	ret = fast_prepare(v, &m);
	if (ret)
		return no_root(v, ret);
	if (!w->user) {
		w->gdt_fresh = false;
		sync_enter_kernel(v);
	}
	if (w->nudge)
		w->data->regs.rflags |= RF_TF;
	return EMUL_DONE;
}

static bool is_host_irq(u32 vector)
{
	return vector >= FIRST_EXTERNAL_VECTOR && vector < NR_VECTORS;
}

static void replay_host_event(struct vcpu *v, u32 vector)
{
	struct world_data *d = v->world->here;
	const gate_desc *idt = (const gate_desc *)d->host_idt.base;

	if (is_host_irq(vector)) {
		v->stats.irq_exits++;
		popf_call_gate((void *)gate_offset(&idt[vector]));
	}
	if (d->nmi_noted) {
		v->stats.nmi_exits++;
		popf_call_gate(compat_asm_exc_nmi);
	}
	if (d->mc_noted) {
		struct pt_regs regs = { .cs = 3, .flags = X86_EFLAGS_IF };

		do_machine_check(&regs);
	}
}

/* The region, where ring 0 works, and the window, where translated code does. */
static bool own_address(const struct vcpu *v, gva_t gva)
{
	const struct window *win = &v->world->window;

	return (gva ^ region_base(v->vm)) >> REGION_SLOT_SHIFT == 0 ||
	       gva - win->base < WINDOW_TC_OFF + win->tc_size;
}

/*
 * The guest's breakpoints that hardware can find. The switch loads DR7 behind the
 * host's last instruction and clears it before the host's first.
 */
static noinline void load_breakpoints(struct vcpu *v)
{
	struct world *w = v->world;
	u64 dr7 = debug_hardware(v, w->user, own_address);
	u32 i;

	w->data->dr7 = dr7;
	if (!dr7)
		return;
	for (i = 0; i < 4; i++)
		w->armed |= dr7 >> (2 * i) & 1 ? 1u << i : 0;
	set_debugreg(v->dr[0], 0);
	set_debugreg(v->dr[1], 1);
	set_debugreg(v->dr[2], 2);
	set_debugreg(v->dr[3], 3);
}

/* Like world->here. */
static struct vcpu_page *page_here(const struct world *w)
{
	return (struct vcpu_page *)(w->base + REGION_VPAGE_OFF);
}

static void lend_apic(struct vcpu *v)
{
	struct vcpu_page *p = page_here(v->world);

	if (v->lapic) {
		lapic_lend(v->lapic, p);
		return;
	}
	p->eoi = 0;
	p->deadline_neg = VCPU_NO_DEADLINE;
}

/* Work of the host, or translations that are not what the guest has any more. */
static bool must_not_enter(const struct vcpu *v)
{
	const struct world *w = v->world;

	return !w->bouncing && !w->nudge &&
	       (__xfer_to_guest_mode_work_pending() || code_is_stale(w));
}

/*
 * Count as being in the guest world; false: something has come up. After a host
 * interrupt that may be one for the guest, which need not end the trips.
 */
static bool begin_trip(struct vcpu *v, bool again)
{
	int irq = -1;

	if (!vcpu_guest_begin(v)) {
		irq = again ? fast_irq_pending(v) : -1;
		if (irq < 0 || !vcpu_guest_begin(v))
			return false;
	}
	if (must_not_enter(v) || (irq >= 0 && !fast_irq_deliver(v, irq))) {
		vcpu_guest_end(v);
		return false;
	}
	return true;
}

/*
 * One trip to the guest world, interrupts off. False when something came up before
 * the entry.
 */
static bool make_trip(struct vcpu *v, bool again)
{
	struct world *w = v->world;
	u32 vector;

	if (!begin_trip(v, again))
		return false;
	/* The scheduler has put the guest's FPU state away. */
	if (unlikely(test_thread_flag(TIF_NEED_FPU_LOAD)))
		switch_fpu_return();
	if (unlikely(hw_breakpoint_active()))
		set_debugreg(0, 7);
	w->here->dr7 = 0;
	w->armed = 0;
	if (unlikely(debug_armed(v)) && !w->bouncing && !w->nudge)
		load_breakpoints(v);
	lend_apic(v);
	world_switch(v, again);
	if (v->lapic)
		lapic_take_back(v->lapic, page_here(w));
	vector = w->here->regs.vector;
	if (vector == VEC_DB) {
		get_debugreg(w->dr6, 6);
		set_debugreg(DR6_RESERVED, 6);
	}
	if (unlikely(hw_breakpoint_active()))
		hw_breakpoint_restore();
	v->stats.exits++;
	if (is_host_irq(vector) || w->here->noted)
		replay_host_event(v, vector);
	vcpu_guest_end(v);
	return true;
}

/* The exit was the host's business alone, and that is done? */
static bool may_go_back(const struct vcpu *v)
{
	const struct world_data *d = v->world->here;

	return is_host_irq(d->regs.vector) && !d->noted &&
	       !v->world->bouncing && !v->world->nudge;
}

/*
 * To the guest world until an exit concerns the guest or the host wants more than
 * its interrupt handled: the registers stay where the switch has put them. Returns
 * the exit vector, or -1 when something came up before the first entry.
 */
static noinline int enter_guest(struct vcpu *v)
{
	int vector = -1;

	preempt_disable();
	local_irq_disable();
	trace_popf_entry(v);
	while (make_trip(v, vector >= 0)) {
		/* No entry: the registers are still those of the exit before. */
		if (vector >= 0 && v->world->here->regs.vector == EXIT_ABORT)
			break;
		vector = v->world->here->regs.vector;
		if (!may_go_back(v))
			break;
		if (v->world->here->crossed)
			fast_again(v);
	}
	if (vector >= 0 && v->world->here->crossed)
		fast_finish(v);
	local_irq_enable();
	preempt_enable();
	return vector;
}

static __cold enum emul region_faulted(struct vcpu *v)
{
	const struct world_data *d = v->world->data;
	const struct world *w = v->world;

	return vcpu_stop(v, "the world switch faulted: vector %llu error %llx at +%llx (%s, cs %llx ss %llx ds %x)",
			 d->fault_vector, d->fault_error, d->fault_rip - w->base,
			 w->user ? "user" : "kernel", d->regs.cs, d->regs.ss,
			 d->ds);
}

static void record_exit(struct vcpu *v, u32 vector)
{
	struct world *w = v->world;
	struct exit_record *r = &w->exits[w->n_exits++ % EXIT_RECORDS];

	r->rip = w->data->regs.rip;
	r->cr2 = w->data->cr2;
	r->error = w->data->regs.error;
	r->vector = vector;
	r->user = w->user;
	r->gpc = 0;
}

/* After handling: where in the guest it was, when that is known. */
static void record_gpc(struct vcpu *v)
{
	struct world *w = v->world;

	if (!v->tpc)
		w->exits[(w->n_exits - 1) % EXIT_RECORDS].gpc = v->regs.rip;
}

static __cold void report_exits(struct vcpu *v)
{
	const struct world *w = v->world;
	u32 i;

	for (i = 0; i < min_t(u32, w->n_exits, EXIT_RECORDS); i++) {
		const struct exit_record *r =
			&w->exits[(w->n_exits - 1 - i) % EXIT_RECORDS];

		env_info("exit -%u: vector %x error %x cr2 %llx %s %llx, then gpc %llx",
			 i, r->vector, r->error, r->cr2,
			 r->user ? "user rip" : "tpc", r->rip, r->gpc);
	}
}

static enum emul handle_exit(struct vcpu *v, u32 vector)
{
	struct world *w = v->world;

	if (vector == EXIT_ABORT)
		return EMUL_DONE;
	if (vector == EXIT_FAULT)
		return region_faulted(v);
	if (env_bug_on(vector == EXIT_POISON))
		return vcpu_stop(v, "the world switch did not report an exit");
	if (w->user)
		return run_user_exit(v, vector);
	sync_leave_kernel(v);
	trace_popf_exit(v, vector);
	if (w->bouncing)
		return run_bounce_exit(v, vector);
	return run_kernel_exit(v, vector);
}

/* What an emulated instruction asks of the loop: 0 go on, 1 to userland. */
static int after_emulation(struct vcpu *v, enum emul e)
{
	switch (e) {
	case EMUL_DONE:
	case EMUL_FAULT:
		return 0;
	case EMUL_HALT:
		v->halted = true;
		return 0;
	case EMUL_BOUNCE:
		return after_emulation(v, run_bounce_start(v));
	case EMUL_USER:
		v->stats.user_exits++;
		return 1;
	case EMUL_STOP:
		break;
	}
	return 1;
}

/* Signals, scheduling, stale code, events: 0 enter, 1 to userland, -EINTR. */
static int between_entries(struct vcpu *v)
{
	struct world *w = v->world;
	bool leave;
	int ret;

	recording_ready(v);
	leave = signal_pending(current) || READ_ONCE(v->request_exit);
	if (leave && !exact(v))
		return 0;
	if (__xfer_to_guest_mode_work_pending()) {
		ret = host_handle_work();
		/* That may have let another task run, which has sent a signal. */
		if (ret)
			return exact(v) ? ret : 0;
	}
	if (leave) {
		v->request_exit = false;
		return -EINTR;
	}
	if (code_is_stale(w) && exact(v))
		code_settle(v);
	if (w->conflict && exact(v) && world_move(v) == EMUL_STOP)
		return 1;
	if (inject_events(v) == EMUL_STOP || wants_userland(v))
		return 1;
	ret = v->halted ? wait_halted(v) : 0;
	clock_update(v);
	return ret;
}

/* One turn of the loop: 0 go on, 1 to userland, -EINTR. */
static int turn(struct vcpu *v)
{
	struct world *w = v->world;
	enum emul e;
	int vector, ret;

	if (v->stopped)
		return 1;
	w->nudge = w->hits;
	if (!w->bouncing) {
		ret = between_entries(v);
		if (ret || v->halted || v->exc.pending)
			return ret;
	}
	e = prepare(v);
	if (e != EMUL_DONE)
		return e == EMUL_STOP;
	vector = enter_guest(v);
	if (vector < 0)
		return 0;
	recording_left(v);
	record_exit(v, vector);
	e = handle_exit(v, vector);
	record_gpc(v);
	return after_emulation(v, e);
}

/* Tell userland why the loop has ended: 1 or -EINTR. */
static noinline int run_ended(struct vcpu *v, int ret)
{
	if (ret < 0) {
		v->run->exit_reason = KVM_EXIT_INTR;
		v->stats.signal_exits++;
		return ret;
	}
	if (v->stopped || v->run->exit_reason == KVM_EXIT_SHUTDOWN)
		report_exits(v);
	env_bug_on(v->tpc && !v->stopped);
	return 0;
}

int vcpu_run(struct vcpu *v)
{
	int ret = 0;

	if (v->stopped) {
		v->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
		return 0;
	}
	v->run->exit_reason = KVM_EXIT_UNKNOWN;
	if (v->complete) {
		enum emul (*complete)(struct vcpu *v) = v->complete;

		v->complete = NULL;
		ret = after_emulation(v, complete(v));
	}
	if (!ret && READ_ONCE(v->run->immediate_exit))
		ret = -EINTR;
	while (!ret)
		ret = turn(v);
	return run_ended(v, ret);
}
