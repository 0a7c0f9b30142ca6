// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exits from direct execution: guest CPL 3 running natively. Registers are
 * canonical as soon as they are copied out.
 */
#include "run.h"

/* INT3 and INTO trap: the monitor wants the instruction's own address. */
static enum emul user_soft(struct vcpu *v, u8 vector)
{
	v->regs.rip -= 1;
	vcpu_queue_exception(v, vector, false, 0);
	v->exc.soft = true;
	v->exc.soft_len = 1;
	return EMUL_FAULT;
}

/* debug_hits: what the single step hit, see vcpu_note_operands(). */
static enum emul user_debug(struct vcpu *v)
{
	const struct world *w = v->world;
	u64 dr6 = w->dr6 & (0xe000 | w->armed);

	if (dr6 & 0x4000) {
		dr6 |= v->debug_hits;
		if (w->user_step && !w->user_tf)
			dr6 &= ~0x4000ull;
	}
	v->debug_hits = 0;
	if (!dr6)
		return EMUL_DONE;
	vcpu_queue_exception(v, VEC_DB, false, 0);
	v->exc.dr6 = dr6;
	return EMUL_FAULT;
}

static enum emul user_syscall(struct vcpu *v)
{
	v->regs.rip -= 2;
	v->stats.syscalls++;
	return vcpu_syscall(v);
}

/*
 * The world's GDT is as the guest's was when it was last copied. A selector that
 * does not load may do now.
 */
static bool selector_is_new(struct vcpu *v, u32 vector, u32 error)
{
	if (vector != VEC_GP && vector != VEC_NP && vector != VEC_SS)
		return false;
	return (error & 0xfff8) && !(error & 6) && world_refresh_gdt(v);
}

static enum emul user_fault(struct vcpu *v, u32 vector, u32 error)
{
	if (selector_is_new(v, vector, error))
		return EMUL_DONE;
	switch (vector) {
	case VEC_BP:
	case VEC_OF:
		return user_soft(v, vector);
	case VEC_DB:
		return user_debug(v);
	case VEC_PF:
		return run_page_fault(v, SHADOW_USER,
				      (error & (PF_ERR_WRITE | PF_ERR_FETCH)) |
					      PF_ERR_USER);
	case VEC_GP:
	case VEC_UD:
	case VEC_NP:
	case VEC_SS:
		return vcpu_user_fault(v, vector, error);
	case VEC_DE:
	case VEC_BR:
	case VEC_NM:
	case VEC_MF:
	case VEC_XM:
		vcpu_queue_exception(v, vector, false, 0);
		return EMUL_FAULT;
	case VEC_AC:
		vcpu_queue_exception(v, vector, true, 0);
		return EMUL_FAULT;
	}
	return vcpu_stop(v, "unexpected exit %u from user code at %llx", vector,
			 (unsigned long long)v->regs.rip);
}

enum emul run_user_exit(struct vcpu *v, u32 vector)
{
	const struct world_data *d = v->world->data;

	v->stats.user_entries++;
	sync_leave_user(v);
	trace_popf_exit(v, vector);
	switch (vector) {
	case EXIT_SYSCALL:
	case EXIT_SYSCALL32:
		return user_syscall(v);
	case EXIT_SYSENTER:
		return vcpu_sysenter(v);
	}
	sync_leave_user_cs(v);
	if ((vector >= 32 && vector < 256) || vector == VEC_NMI ||
	    vector == VEC_MC || vector == EXIT_NOTED)
		return EMUL_DONE;
	return user_fault(v, vector, d->regs.error);
}
