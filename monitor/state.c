// SPDX-License-Identifier: GPL-2.0-only
/*
 * Power-on state, and the vCPU's state in the terms of KVM's ioctls. The vCPU is
 * canonical here.
 */
#include "monitor.h"

static void reset_data_segment(struct kvm_segment *s)
{
	memset(s, 0, sizeof(*s));
	s->limit = 0xffff;
	s->type = 3;
	s->present = 1;
	s->s = 1;
}

static void reset_segments(struct vcpu *v)
{
	u32 i;

	for (i = 0; i < SEG_COUNT; i++)
		reset_data_segment(&v->seg[i]);
	v->seg[SEG_CS].selector = 0xf000;
	v->seg[SEG_CS].base = 0xffff0000;
	v->seg[SEG_CS].type = 0xb;
	memset(&v->tr, 0, sizeof(v->tr));
	v->tr.limit = 0xffff;
	v->tr.type = 0xb;
	v->tr.present = 1;
	memset(&v->ldt, 0, sizeof(v->ldt));
	v->ldt.limit = 0xffff;
	v->ldt.type = 2;
	v->ldt.present = 1;
	memset(&v->gdt, 0, sizeof(v->gdt));
	v->gdt.limit = 0xffff;
	memset(&v->idt, 0, sizeof(v->idt));
	v->idt.limit = 0xffff;
}

void vcpu_reset(struct vcpu *v)
{
	memset(&v->regs, 0, sizeof(v->regs));
	v->tpc = 0;
	v->regs.rip = 0xfff0;
	v->regs.rflags = RF_FIXED;
	v->regs.gpr[GPR_RDX] = 0x600; /* family 6 */
	reset_segments(v);
	v->cr0 = CR0_CD | CR0_NW | CR0_ET;
	v->cr2 = 0;
	v->cr3 = 0;
	v->cr4 = 0;
	v->cr8 = 0;
	v->efer = 0;
	memset(v->dr, 0, sizeof(v->dr));
	v->dr6 = DR6_ONES;
	v->dr7 = DR7_ONES;
	debug_changed(v);
	v->xcr0 = 1;
	v->star = 0;
	v->lstar = 0;
	v->cstar = 0;
	v->sfmask = 0;
	v->kernel_gs_base = 0;
	v->sysenter_cs = 0;
	v->sysenter_esp = 0;
	v->sysenter_eip = 0;
	v->tsc_adjust = 0;
	v->tsc_aux = 0;
	v->pat = 0x0007040600070406ull;
	v->misc_enable = 0x1801; /* fast strings; no BTS, no PEBS */
	v->mtrr_def = 0;
	memset(v->mtrr, 0, sizeof(v->mtrr));
	v->mcg_status = 0;
	v->mcg_ctl = ~0ull;
	memset(v->mc, 0, sizeof(v->mc));
	v->spec_ctrl = 0;
	v->msr_kvm_wall_clock = 0;
	v->msr_kvm_system_time = 0;
	memset(&v->exc, 0, sizeof(v->exc));
	v->nmi_pending = false;
	v->nmi_masked = false;
	v->user_irq = -1;
	v->irq_shadow = false;
	v->halted = false;
	v->triple_fault = false;
	v->complete = NULL;
	if (v->lapic)
		lapic_reset(v->lapic);
	else
		v->apic_base = APIC_DEFAULT_BASE | APIC_BASE_EN |
			       (v->id == 0 ? APIC_BASE_BSP : 0);
	v->mp_state = KVM_MP_STATE_RUNNABLE;
}

void vcpu_get_kvm_regs(struct vcpu *v, struct kvm_regs *r)
{
	const u64 *g = v->regs.gpr;

	r->rax = g[GPR_RAX];
	r->rbx = g[GPR_RBX];
	r->rcx = g[GPR_RCX];
	r->rdx = g[GPR_RDX];
	r->rsi = g[GPR_RSI];
	r->rdi = g[GPR_RDI];
	r->rsp = g[GPR_RSP];
	r->rbp = g[GPR_RBP];
	r->r8 = g[GPR_R8];
	r->r9 = g[GPR_R9];
	r->r10 = g[GPR_R10];
	r->r11 = g[GPR_R11];
	r->r12 = g[GPR_R12];
	r->r13 = g[GPR_R13];
	r->r14 = g[GPR_R14];
	r->r15 = g[GPR_R15];
	r->rip = v->regs.rip;
	r->rflags = v->regs.rflags;
}

void vcpu_set_kvm_regs(struct vcpu *v, const struct kvm_regs *r)
{
	u64 *g = v->regs.gpr;

	g[GPR_RAX] = r->rax;
	g[GPR_RBX] = r->rbx;
	g[GPR_RCX] = r->rcx;
	g[GPR_RDX] = r->rdx;
	g[GPR_RSI] = r->rsi;
	g[GPR_RDI] = r->rdi;
	g[GPR_RSP] = r->rsp;
	g[GPR_RBP] = r->rbp;
	g[GPR_R8] = r->r8;
	g[GPR_R9] = r->r9;
	g[GPR_R10] = r->r10;
	g[GPR_R11] = r->r11;
	g[GPR_R12] = r->r12;
	g[GPR_R13] = r->r13;
	g[GPR_R14] = r->r14;
	g[GPR_R15] = r->r15;
	v->regs.rip = r->rip;
	v->regs.rflags = (r->rflags & 0x3f7fd5) | RF_FIXED;
	v->exc.pending = false;
}

void vcpu_get_kvm_sregs(struct vcpu *v, struct kvm_sregs *s)
{
	memset(s, 0, sizeof(*s));
	s->cs = v->seg[SEG_CS];
	s->ds = v->seg[SEG_DS];
	s->es = v->seg[SEG_ES];
	s->fs = v->seg[SEG_FS];
	s->gs = v->seg[SEG_GS];
	s->ss = v->seg[SEG_SS];
	s->tr = v->tr;
	s->ldt = v->ldt;
	s->gdt = v->gdt;
	s->idt = v->idt;
	s->cr0 = v->cr0;
	s->cr2 = v->cr2;
	s->cr3 = v->cr3;
	s->cr4 = v->cr4;
	s->cr8 = v->cr8;
	s->efer = v->efer;
	s->apic_base = v->apic_base;
	if (v->user_irq >= 0)
		s->interrupt_bitmap[v->user_irq >> 6] |= 1ull << (v->user_irq & 63);
}

static void clean_segment(struct kvm_segment *s)
{
	s->type &= 0xf;
	s->present = !!s->present;
	s->dpl &= 3;
	s->db = !!s->db;
	s->s = !!s->s;
	s->l = !!s->l;
	s->g = !!s->g;
	s->avl = !!s->avl;
	s->unusable = !!s->unusable;
	s->padding = 0;
}

static int check_segments(const struct kvm_sregs *s)
{
	if (!is_canonical(s->fs.base) || !is_canonical(s->gs.base) ||
	    !is_canonical(s->tr.base) || !is_canonical(s->ldt.base) ||
	    !is_canonical(s->gdt.base) || !is_canonical(s->idt.base))
		return -EINVAL;
	return 0;
}

static int pending_vector(const struct kvm_sregs *s)
{
	u32 i;

	for (i = 0; i < 4; i++) {
		if (s->interrupt_bitmap[i])
			return i * 64 + __builtin_ctzll(s->interrupt_bitmap[i]);
	}
	return -1;
}

int vcpu_set_kvm_sregs(struct vcpu *v, const struct kvm_sregs *s)
{
	u32 i;

	if (control_check(v, s) || check_segments(s))
		return -EINVAL;
	if (s->apic_base != v->apic_base) {
		if (v->lapic ? lapic_set_base(v->lapic, s->apic_base, true) :
			       s->apic_base & ~(APIC_BASE_ADDR | 0xfff))
			return -EINVAL;
		v->apic_base = s->apic_base;
	}

	/* Point of no return. */
	v->seg[SEG_CS] = s->cs;
	v->seg[SEG_DS] = s->ds;
	v->seg[SEG_ES] = s->es;
	v->seg[SEG_FS] = s->fs;
	v->seg[SEG_GS] = s->gs;
	v->seg[SEG_SS] = s->ss;
	for (i = 0; i < SEG_COUNT; i++)
		clean_segment(&v->seg[i]);
	v->tr = s->tr;
	v->ldt = s->ldt;
	clean_segment(&v->tr);
	clean_segment(&v->ldt);
	v->gdt = s->gdt;
	v->idt = s->idt;
	v->cr0 = s->cr0 | CR0_ET;
	v->cr2 = s->cr2;
	v->cr3 = s->cr3;
	v->cr4 = s->cr4;
	v->efer = s->efer;
	vcpu_set_cr8(v, s->cr8);
	v->user_irq = pending_vector(s);
	vcpu_mmu_changed(v, true);
	vcpu_tables_changed(v);
	return 0;
}

void vcpu_get_kvm_events(struct vcpu *v, struct kvm_vcpu_events *e)
{
	memset(e, 0, sizeof(*e));
	/* Soft exceptions start over from their instruction. */
	if (v->exc.pending && !v->exc.soft) {
		e->exception.injected = 1;
		e->exception.nr = v->exc.vector;
		e->exception.has_error_code = v->exc.has_error;
		e->exception.error_code = v->exc.error;
		/* What delivery loads into CR2 or ORs into DR6. */
		if (v->exc.vector == VEC_PF)
			e->exception_payload = v->exc.cr2;
		else if (v->exc.vector == VEC_DB)
			e->exception_payload = v->exc.dr6;
	}
	if (v->user_irq >= 0) {
		e->interrupt.injected = 1;
		e->interrupt.nr = v->user_irq;
	}
	e->interrupt.shadow = v->irq_shadow ? KVM_X86_SHADOW_INT_STI : 0;
	e->nmi.pending = READ_ONCE(v->nmi_pending);
	e->nmi.masked = v->nmi_masked;
	e->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
}

int vcpu_set_kvm_events(struct vcpu *v, const struct kvm_vcpu_events *e)
{
	const u32 known = KVM_VCPUEVENT_VALID_NMI_PENDING |
			  KVM_VCPUEVENT_VALID_SIPI_VECTOR |
			  KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM;

	if (e->flags & ~known)
		return -EINVAL;
	if (e->exception.injected &&
	    (e->exception.nr > 31 || e->exception.nr == VEC_NMI))
		return -EINVAL;
	if ((e->flags & KVM_VCPUEVENT_VALID_SMM) &&
	    (e->smi.smm || e->smi.pending || e->smi.smm_inside_nmi))
		return -EINVAL;
	memset(&v->exc, 0, sizeof(v->exc));
	if (e->exception.injected) {
		v->exc.pending = true;
		v->exc.vector = e->exception.nr;
		v->exc.has_error = e->exception.has_error_code;
		v->exc.error = e->exception.error_code;
		v->exc.cr2 = e->exception_payload ? e->exception_payload : v->cr2;
		if (e->exception.nr == VEC_DB)
			v->exc.dr6 = e->exception_payload & DR6_WRITABLE;
	}
	v->user_irq = e->interrupt.injected ? e->interrupt.nr : -1;
	if (e->flags & KVM_VCPUEVENT_VALID_SHADOW)
		v->irq_shadow = e->interrupt.shadow;
	if (e->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
		WRITE_ONCE(v->nmi_pending, e->nmi.pending);
	v->nmi_masked = e->nmi.masked;
	return 0;
}

void vcpu_get_kvm_debugregs(struct vcpu *v, struct kvm_debugregs *d)
{
	memset(d, 0, sizeof(*d));
	memcpy(d->db, v->dr, sizeof(d->db));
	d->dr6 = v->dr6;
	d->dr7 = v->dr7;
}

int vcpu_set_kvm_debugregs(struct vcpu *v, const struct kvm_debugregs *d)
{
	if (d->flags || d->dr6 >> 32 || d->dr7 >> 32)
		return -EINVAL;
	memcpy(v->dr, d->db, sizeof(v->dr));
	vcpu_set_dr(v, 6, d->dr6);
	vcpu_set_dr(v, 7, d->dr7);
	return 0;
}
