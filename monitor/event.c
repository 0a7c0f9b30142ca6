// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exceptions, interrupts and how they get to the guest: through its own IDT, in
 * long mode.
 *
 * Invariants:
 *  1. Delivery checks everything, then pushes the frame, then changes registers.
 *     A fault on the way leaves the registers of the interrupted code in place.
 *  2. While an exception is delivered it stays pending, so that a fault on the
 *     way combines with it by the manual's double-fault table.
 */
#ifdef __KERNEL__
#include <linux/stdarg.h>
#else
#include <stdarg.h>
#endif
#include <popf/trace.h>

#include "monitor.h"

enum exc_class { CLASS_BENIGN, CLASS_CONTRIBUTORY, CLASS_PF, CLASS_DF };

static enum exc_class exc_class(u8 vector, bool soft)
{
	if (soft)
		return CLASS_BENIGN;
	switch (vector) {
	case VEC_DE:
	case VEC_TS:
	case VEC_NP:
	case VEC_SS:
	case VEC_GP:
		return CLASS_CONTRIBUTORY;
	case VEC_PF:
		return CLASS_PF;
	case VEC_DF:
		return CLASS_DF;
	}
	return CLASS_BENIGN;
}

static void set_exception(struct vcpu *v, u8 vector, bool has_error, u32 error)
{
	memset(&v->exc, 0, sizeof(v->exc));
	v->exc.pending = true;
	v->exc.vector = vector;
	v->exc.has_error = has_error;
	v->exc.error = error;
}

void vcpu_queue_exception(struct vcpu *v, u8 vector, bool has_error, u32 error)
{
	enum exc_class first, second = exc_class(vector, false);

	if (v->exc.pending) {
		first = exc_class(v->exc.vector, v->exc.soft);
		if (first == CLASS_DF && second != CLASS_BENIGN) {
			v->exc.pending = false;
			v->triple_fault = true;
			return;
		}
		if ((first == CLASS_CONTRIBUTORY && second == CLASS_CONTRIBUTORY) ||
		    (first == CLASS_PF && second != CLASS_BENIGN)) {
			u64 cr2 = v->exc.cr2;
			bool was_pf = first == CLASS_PF;

			set_exception(v, VEC_DF, true, 0);
			if (was_pf)
				v->cr2 = cr2;
			return;
		}
	}
	set_exception(v, vector, has_error, error);
}

void vcpu_queue_pf(struct vcpu *v, gva_t gva, u32 error)
{
	vcpu_queue_exception(v, VEC_PF, true, error);
	if (v->exc.pending && v->exc.vector == VEC_PF)
		v->exc.cr2 = gva;
	else
		v->cr2 = gva; /* became a double fault: CR2 is the last one's */
}

void event_queue_soft(struct vcpu *v, u8 vector, u8 insn_len)
{
	set_exception(v, vector, false, 0);
	v->exc.soft = true;
	v->exc.soft_len = insn_len;
}

enum emul event_step(struct vcpu *v, u64 rflags_before)
{
	u64 dr6 = v->debug_hits;

	v->debug_hits = 0;
	if (rflags_before & RF_TF)
		dr6 |= DR6_BS;
	if (!dr6 || v->exc.pending)
		return EMUL_DONE;
	vcpu_queue_exception(v, VEC_DB, false, 0);
	v->exc.dr6 = dr6;
	return EMUL_DONE;
}

/* One delivery in the making. */
struct delivery {
	u8 vector;
	bool soft;
	bool has_error;
	u32 error;
	u64 rip; /* to push */
	u64 rflags; /* to push */
	u32 ext; /* EXT bit of error codes raised on the way */
	u16 gate_sel;
	u64 handler;
	u8 ist;
	bool interrupt_gate;
	struct kvm_segment cs;
	u64 cs_desc;
	u8 cpl; /* new */
	u64 rsp; /* new, before pushes */
};

static int raise(struct vcpu *v, u8 vector, u32 error)
{
	vcpu_queue_exception(v, vector, true, error);
	return -EFAULT;
}

static int read_gate(struct vcpu *v, struct delivery *d)
{
	u32 code = d->vector * 8u + 2 + d->ext;
	u64 gate[2];
	u8 type;
	int ret;

	if (d->vector * 16u + 15 > v->idt.limit)
		return raise(v, VEC_GP, code);
	ret = vcpu_read(v, v->idt.base + d->vector * 16u, gate, sizeof(gate), 0);
	if (ret)
		return ret;
	type = gate[0] >> 40 & 0x1f;
	if (type != 0xe && type != 0xf)
		return raise(v, VEC_GP, code);
	if (d->soft && (gate[0] >> 45 & 3) < vcpu_cpl(v))
		return raise(v, VEC_GP, code);
	if (!(gate[0] >> 47 & 1))
		return raise(v, VEC_NP, code);
	d->gate_sel = gate[0] >> 16;
	d->ist = gate[0] >> 32 & 7;
	d->interrupt_gate = type == 0xe;
	d->handler = (gate[0] & 0xffff) | (gate[0] >> 32 & 0xffff0000) |
		     gate[1] << 32;
	return 0;
}

static int read_handler_segment(struct vcpu *v, struct delivery *d)
{
	u16 sel = d->gate_sel & ~3;
	u64 desc[2];
	int ret;

	if (!sel)
		return raise(v, VEC_GP, d->ext);
	ret = seg_read(v, sel, desc, false, VEC_GP, d->ext);
	if (ret)
		return ret;
	seg_unpack(&d->cs, sel, desc);
	d->cs_desc = desc[0];
	if (!seg_is_code(&d->cs) || d->cs.dpl > vcpu_cpl(v))
		return raise(v, VEC_GP, sel + d->ext);
	if (!d->cs.present)
		return raise(v, VEC_NP, sel + d->ext);
	if (!d->cs.l || d->cs.db)
		return raise(v, VEC_GP, sel + d->ext);
	d->cpl = seg_is_conforming(&d->cs) ? vcpu_cpl(v) : d->cs.dpl;
	if (!is_canonical(d->handler))
		return raise(v, VEC_GP, d->ext);
	return 0;
}

/* RSP from the TSS by privilege level or IST number, else the current one. */
static int find_stack(struct vcpu *v, struct delivery *d)
{
	u32 off;
	int ret;

	d->rsp = v->regs.gpr[GPR_RSP];
	if (d->ist)
		off = 0x24 + (d->ist - 1) * 8;
	else if (d->cpl < vcpu_cpl(v))
		off = 4 + d->cpl * 8;
	else
		return 0;
	if (off + 7 > v->tr.limit)
		return raise(v, VEC_TS, (v->tr.selector & ~7) + d->ext);
	ret = vcpu_read(v, v->tr.base + off, &d->rsp, 8, 0);
	if (ret)
		return ret;
	if (!is_canonical(d->rsp))
		return raise(v, VEC_SS, d->ext);
	return 0;
}

static int push_frame(struct vcpu *v, struct delivery *d)
{
	u32 access = ACCESS_STACK | (d->cpl == 3 ? PF_ERR_USER : 0);
	u64 frame[6];
	u32 n = d->has_error ? 0 : 1;
	int ret;

	frame[0] = d->error;
	frame[1] = d->rip;
	frame[2] = v->seg[SEG_CS].selector;
	frame[3] = d->rflags;
	frame[4] = v->regs.gpr[GPR_RSP];
	frame[5] = v->seg[SEG_SS].selector;
	d->rsp = (d->rsp & ~15ull) - (6 - n) * 8;
	ret = vcpu_write(v, d->rsp, &frame[n], (6 - n) * 8, access);
	return ret;
}

static void enter_handler(struct vcpu *v, const struct delivery *d)
{
	u8 old_cpl = vcpu_cpl(v);

	v->seg[SEG_CS] = d->cs;
	v->seg[SEG_CS].selector = (d->gate_sel & ~3) | d->cpl;
	if (d->cpl != old_cpl) {
		seg_set_null(&v->seg[SEG_SS], d->cpl);
		v->seg[SEG_SS].dpl = d->cpl;
	}
	v->regs.gpr[GPR_RSP] = d->rsp;
	v->regs.rip = d->handler;
	v->regs.rflags &= ~(RF_TF | RF_NT | RF_RF | RF_VM);
	if (d->interrupt_gate)
		v->regs.rflags &= ~RF_IF;
	v->irq_shadow = false;
	v->halted = false;
}

/* 0; -EFAULT: another exception is queued (or a triple fault); -ENXIO: stopped. */
static int deliver(struct vcpu *v, struct delivery *d)
{
	int ret;

	if (!vcpu_long_mode(v)) {
		vcpu_stop(v, "exception %u outside long mode is not supported yet",
			  d->vector);
		return -ENXIO;
	}
	trace_popf_inject(v, d->vector, d->has_error, d->error);
	ret = read_gate(v, d);
	if (!ret)
		ret = read_handler_segment(v, d);
	if (!ret)
		ret = find_stack(v, d);
	if (!ret)
		ret = seg_mark_accessed(v, &d->cs, d->cs_desc);
	if (!ret)
		ret = push_frame(v, d);
	if (ret == -ENXIO)
		vcpu_stop(v, "IDT, GDT, TSS or stack of vector %u is not in memory (rsp %llx)",
			  d->vector, (unsigned long long)d->rsp);
	if (!ret)
		enter_handler(v, d);
	return ret;
}

/* Faults push RF set, so that an instruction breakpoint does not hit again. */
static bool pushes_rf(const struct vcpu_exception *e)
{
	if (e->soft)
		return false;
	return e->vector != VEC_DB && e->vector != VEC_BP &&
	       e->vector != VEC_OF && e->vector != VEC_DF && e->vector != VEC_MC;
}

enum emul vcpu_deliver_exception(struct vcpu *v)
{
	struct vcpu_exception *e = &v->exc;
	struct delivery d;
	int ret;

	while (e->pending) {
		memset(&d, 0, sizeof(d));
		d.vector = e->vector;
		d.soft = e->soft;
		d.has_error = e->has_error;
		d.error = e->error;
		d.ext = e->soft ? 0 : 1;
		d.rip = v->regs.rip + (e->soft ? e->soft_len : 0);
		if (!vcpu_is_64bit(v))
			d.rip = (u32)d.rip;
		d.rflags = v->regs.rflags;
		if (pushes_rf(e))
			d.rflags |= RF_RF;
		if (e->vector == VEC_PF)
			v->cr2 = e->cr2;
		if (e->vector == VEC_DB) {
			v->dr6 |= e->dr6;
			v->dr7 &= ~DR7_GD;
		}
		ret = deliver(v, &d);
		if (ret == -ENXIO)
			return EMUL_STOP;
		if (!ret)
			e->pending = false;
	}
	return EMUL_DONE;
}

enum emul vcpu_deliver_interrupt(struct vcpu *v, u8 vector, bool nmi)
{
	struct delivery d;
	int ret;

	memset(&d, 0, sizeof(d));
	d.vector = vector;
	d.ext = 1;
	d.rip = v->regs.rip;
	d.rflags = v->regs.rflags;
	ret = deliver(v, &d);
	if (ret == -ENXIO)
		return EMUL_STOP;
	/* Also when the delivery faulted: the NMI has been taken. */
	if (nmi)
		v->nmi_masked = true;
	return ret ? vcpu_deliver_exception(v) : EMUL_DONE;
}

static void log_registers(const struct vcpu *v)
{
	const u64 *g = v->regs.gpr;

	env_warn("rip %llx rflags %llx cs %x ss %x cpl %u cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx",
		 (unsigned long long)v->regs.rip,
		 (unsigned long long)v->regs.rflags, v->seg[SEG_CS].selector,
		 v->seg[SEG_SS].selector, vcpu_cpl(v), (unsigned long long)v->cr0,
		 (unsigned long long)v->cr2, (unsigned long long)v->cr3,
		 (unsigned long long)v->cr4, (unsigned long long)v->efer);
	env_warn("rax %llx rcx %llx rdx %llx rbx %llx rsp %llx rbp %llx rsi %llx rdi %llx",
		 (unsigned long long)g[0], (unsigned long long)g[1],
		 (unsigned long long)g[2], (unsigned long long)g[3],
		 (unsigned long long)g[4], (unsigned long long)g[5],
		 (unsigned long long)g[6], (unsigned long long)g[7]);
	env_warn("r8 %llx r9 %llx r10 %llx r11 %llx r12 %llx r13 %llx r14 %llx r15 %llx",
		 (unsigned long long)g[8], (unsigned long long)g[9],
		 (unsigned long long)g[10], (unsigned long long)g[11],
		 (unsigned long long)g[12], (unsigned long long)g[13],
		 (unsigned long long)g[14], (unsigned long long)g[15]);
}

enum emul vcpu_stop(struct vcpu *v, const char *fmt, ...)
{
	va_list ap;

	v->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	v->run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	v->run->internal.ndata = 0;
	if (v->stopped)
		return EMUL_STOP;
	v->stopped = true;
	va_start(ap, fmt);
	vsnprintf(v->stop_reason, sizeof(v->stop_reason), fmt, ap);
	va_end(ap);
	env_warn("vCPU %u stopped: %s", v->id, v->stop_reason);
	log_registers(v);
	return EMUL_STOP;
}
