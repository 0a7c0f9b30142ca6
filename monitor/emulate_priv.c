// SPDX-License-Identifier: GPL-2.0-only
/*
 * Privileged and sensitive instructions, decoded in v->emul.
 *
 * One function per instruction or small family; each checks what the manual checks,
 * in its order, changes state, and advances RIP.
 */
#include "emulate.h"

#define KVM_ENOSYS 1000ull
#define KVM_EPERM 1ull

/* --- control and debug registers --- */

static int set_cr(struct vcpu *v, u32 n, u64 val)
{
	switch (n) {
	case 0:
		return vcpu_set_cr0(v, val);
	case 2:
		v->cr2 = val;
		return 0;
	case 3:
		v->stats.cr3_writes++;
		return vcpu_set_cr3(v, val);
	case 4:
		return vcpu_set_cr4(v, val);
	}
	return vcpu_set_cr8(v, val);
}

static u64 get_cr(struct vcpu *v, u32 n)
{
	switch (n) {
	case 0:
		return v->cr0;
	case 2:
		return v->cr2;
	case 3:
		return v->cr3;
	case 4:
		return v->cr4;
	}
	return v->lapic ? lapic_get_tpr(v->lapic) : v->cr8;
}

static enum emul do_mov_cr(struct vcpu *v)
{
	const ZydisDecodedOperand *op = v->emul->d->op;
	bool write = op[0].reg.value >= ZYDIS_REGISTER_CR0 &&
		     op[0].reg.value <= ZYDIS_REGISTER_CR15;
	u32 n = op[write ? 0 : 1].reg.value - ZYDIS_REGISTER_CR0;

	if (n != 0 && n != 2 && n != 3 && n != 4 && n != 8)
		return emul_ud(v);
	if (!cpl0(v))
		return emul_gp(v, 0);
	if (!write) {
		emul_reg_set(v, op[0].reg.value, get_cr(v, n));
		return emul_done(v);
	}
	if (set_cr(v, n, emul_reg_get(v, op[1].reg.value)))
		return emul_gp(v, 0);
	return emul_done(v);
}

static enum emul do_mov_dr(struct vcpu *v)
{
	const ZydisDecodedOperand *op = v->emul->d->op;
	bool write = op[0].reg.value >= ZYDIS_REGISTER_DR0 &&
		     op[0].reg.value <= ZYDIS_REGISTER_DR15;
	u32 n = op[write ? 0 : 1].reg.value - ZYDIS_REGISTER_DR0;

	if (n > 7 || ((n == 4 || n == 5) && (v->cr4 & CR4_DE)))
		return emul_ud(v);
	if (!cpl0(v))
		return emul_gp(v, 0);
	if (v->dr7 & DR7_GD) {
		vcpu_queue_exception(v, VEC_DB, false, 0);
		v->exc.dr6 = DR6_BD;
		return EMUL_FAULT;
	}
	if (n == 4 || n == 5)
		n += 2;
	if (!write) {
		emul_reg_set(v, op[0].reg.value,
			     n == 6 ? v->dr6 : n == 7 ? v->dr7 : v->dr[n]);
		return emul_done(v);
	}
	if (vcpu_set_dr(v, n, emul_reg_get(v, op[1].reg.value)))
		return emul_gp(v, 0);
	return emul_done(v);
}

static enum emul do_clts(struct vcpu *v)
{
	if (!cpl0(v))
		return emul_gp(v, 0);
	vcpu_set_cr0(v, v->cr0 & ~CR0_TS);
	return emul_done(v);
}

static enum emul do_lmsw(struct vcpu *v)
{
	const u64 mask = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
	u16 val;
	int ret;

	if (!cpl0(v))
		return emul_gp(v, 0);
	ret = emul_read16(v, &v->emul->d->op[0], &val);
	if (ret)
		return emul_access_failed(v, ret);
	/* PE can be set and not cleared. */
	if (vcpu_set_cr0(v, (v->cr0 & ~(mask & ~CR0_PE)) | (val & mask)))
		return emul_gp(v, 0);
	return emul_done(v);
}

static enum emul do_xsetbv(struct vcpu *v)
{
	const u64 *g = v->regs.gpr;

	if (!(v->cr4 & CR4_OSXSAVE))
		return emul_ud(v);
	if (!cpl0(v) ||
	    control_set_xcr(v, g[GPR_RCX], (u32)g[GPR_RAX] | g[GPR_RDX] << 32))
		return emul_gp(v, 0);
	return emul_done(v);
}

static enum emul do_xgetbv(struct vcpu *v)
{
	u64 *g = v->regs.gpr;
	u32 index = g[GPR_RCX];

	if (!(v->cr4 & CR4_OSXSAVE))
		return emul_ud(v);
	/* Index 1 (components in use): all of them is a true answer. */
	if (index > 1 || (index == 1 && !cpuid_has(v, 0xd, 1, 0, 2)))
		return emul_gp(v, 0);
	g[GPR_RAX] = (u32)v->xcr0;
	g[GPR_RDX] = v->xcr0 >> 32;
	return emul_done(v);
}

/* --- flags --- */

static bool below_iopl(const struct vcpu *v)
{
	return vcpu_cpl(v) > (v->regs.rflags & RF_IOPL) >> 12;
}

static enum emul do_cli(struct vcpu *v)
{
	if (below_iopl(v))
		return emul_gp(v, 0);
	v->regs.rflags &= ~RF_IF;
	return emul_done(v);
}

static enum emul do_sti(struct vcpu *v)
{
	if (below_iopl(v))
		return emul_gp(v, 0);
	v->irq_shadow = !(v->regs.rflags & RF_IF);
	v->regs.rflags |= RF_IF;
	return emul_done(v);
}

static enum emul do_pushf(struct vcpu *v)
{
	u32 size = v->emul->d->insn.operand_width / 8;
	u64 val = v->regs.rflags & ~(RF_VM | RF_RF);
	int ret;

	ret = vcpu_write(v, emul_stack_gva(v, -(s64)size), &val, size,
			 access_cpl(v) | ACCESS_STACK);
	if (ret)
		return emul_access_failed(v, ret);
	emul_stack_add(v, -(s64)size);
	return emul_done(v);
}

static enum emul do_popf(struct vcpu *v)
{
	u32 size = v->emul->d->insn.operand_width / 8;
	u64 mask = RF_ARITH | RF_TF | RF_DF | RF_NT;
	u64 val = 0;
	int ret;

	if (size > 2)
		mask |= RF_AC | RF_ID;
	if (!below_iopl(v))
		mask |= RF_IF;
	if (cpl0(v))
		mask |= RF_IOPL;
	ret = vcpu_read(v, emul_stack_gva(v, 0), &val, size,
			access_cpl(v) | ACCESS_STACK);
	if (ret)
		return emul_access_failed(v, ret);
	emul_stack_add(v, size);
	v->regs.rflags = (v->regs.rflags & ~(mask | RF_RF)) | (val & mask) |
			 RF_FIXED;
	return emul_done(v);
}

/* --- the rest --- */

static enum emul do_hlt(struct vcpu *v)
{
	if (!cpl0(v))
		return emul_gp(v, 0);
	emul_advance(v);
	v->halted = true;
	return EMUL_HALT;
}

static enum emul do_msr(struct vcpu *v, bool write)
{
	u64 *g = v->regs.gpr;
	u64 val = (u32)g[GPR_RAX] | g[GPR_RDX] << 32;

	v->stats.msrs++;
	if (!cpl0(v))
		return emul_gp(v, 0);
	if (write ? vcpu_set_msr(v, g[GPR_RCX], val, false) :
		    vcpu_get_msr(v, g[GPR_RCX], &val, false))
		return emul_gp(v, 0);
	if (!write) {
		g[GPR_RAX] = (u32)val;
		g[GPR_RDX] = val >> 32;
	}
	return emul_done(v);
}

static enum emul do_cpuid(struct vcpu *v)
{
	u64 *g = v->regs.gpr;
	u32 out[4];

	v->stats.cpuids++;
	vcpu_get_cpuid(v, g[GPR_RAX], g[GPR_RCX], out);
	g[GPR_RAX] = out[0];
	g[GPR_RBX] = out[1];
	g[GPR_RCX] = out[2];
	g[GPR_RDX] = out[3];
	return emul_done(v);
}

static enum emul do_rdtsc(struct vcpu *v, bool with_aux)
{
	u64 *g = v->regs.gpr;
	u64 tsc;

	if (with_aux && !CPUID_HAS_RDTSCP(v))
		return emul_ud(v);
	if (!cpl0(v) && (v->cr4 & CR4_TSD))
		return emul_gp(v, 0);
	tsc = vcpu_guest_tsc(v);
	g[GPR_RAX] = (u32)tsc;
	g[GPR_RDX] = tsc >> 32;
	if (with_aux)
		g[GPR_RCX] = v->tsc_aux;
	return emul_done(v);
}

static enum emul do_rdpid(struct vcpu *v)
{
	if (!CPUID_HAS_RDPID(v))
		return emul_ud(v);
	emul_reg_set(v, v->emul->d->op[0].reg.value, v->tsc_aux);
	return emul_done(v);
}

static enum emul do_fsgsbase(struct vcpu *v, enum popf_seg seg, bool write)
{
	const ZydisDecodedOperand *op = &v->emul->d->op[0];
	u64 val;

	if (!(v->cr4 & CR4_FSGSBASE) || !vcpu_is_64bit(v))
		return emul_ud(v);
	if (!write) {
		emul_reg_set(v, op->reg.value, v->seg[seg].base);
		return emul_done(v);
	}
	val = emul_reg_get(v, op->reg.value);
	if (!is_canonical(val))
		return emul_gp(v, 0);
	v->seg[seg].base = val;
	return emul_done(v);
}

static enum emul do_swapgs(struct vcpu *v)
{
	u64 base = v->seg[SEG_GS].base;

	if (!vcpu_is_64bit(v))
		return emul_ud(v);
	if (!cpl0(v))
		return emul_gp(v, 0);
	v->seg[SEG_GS].base = v->kernel_gs_base;
	v->kernel_gs_base = base;
	return emul_done(v);
}

static enum emul do_invlpg(struct vcpu *v)
{
	if (!cpl0(v))
		return emul_gp(v, 0);
	v->stats.invlpgs++;
	vcpu_invlpg(v, emul_address(v, &v->emul->d->op[0]));
	return emul_done(v);
}

/* Caches are coherent for guests: nothing to write back. */
static enum emul do_wbinvd(struct vcpu *v)
{
	return cpl0(v) ? emul_done(v) : emul_gp(v, 0);
}

static enum emul do_rdpmc(struct vcpu *v)
{
	return emul_gp(v, 0); /* there is no counter */
}

static enum emul do_hypercall(struct vcpu *v)
{
	v->stats.hypercalls++;
	v->regs.gpr[GPR_RAX] = cpl0(v) ? -KVM_ENOSYS : -KVM_EPERM;
	return emul_done(v);
}

static enum emul soft_interrupt(struct vcpu *v, u8 vector)
{
	event_queue_soft(v, vector, v->emul->d->insn.length);
	return EMUL_FAULT;
}

static enum emul do_icebp(struct vcpu *v)
{
	emul_advance(v);
	vcpu_queue_exception(v, VEC_DB, false, 0);
	return EMUL_FAULT;
}

static enum emul do_into(struct vcpu *v)
{
	if (vcpu_is_64bit(v))
		return emul_ud(v);
	if (v->regs.rflags & RF_OF)
		return soft_interrupt(v, VEC_OF);
	return emul_done(v);
}

static enum emul do_iret(struct vcpu *v, u8 opsize)
{
	v->stats.irets++;
	return vcpu_iret(v, opsize);
}

/* System calls and returns. -1: not one of them. */
static int priv_syscalls(struct vcpu *v)
{
	const struct emulator *e = v->emul;

	switch (e->d->insn.mnemonic) {
	case ZYDIS_MNEMONIC_SYSCALL:
		v->stats.syscalls++;
		return vcpu_syscall(v);
	case ZYDIS_MNEMONIC_SYSRET:
		v->stats.sysrets++;
		return vcpu_sysret(v, e->d->insn.raw.rex.W);
	case ZYDIS_MNEMONIC_SYSENTER:
		return vcpu_sysenter(v);
	case ZYDIS_MNEMONIC_SYSEXIT:
		return vcpu_sysexit(v, e->d->insn.raw.rex.W);
	case ZYDIS_MNEMONIC_IRET:
		return do_iret(v, 2);
	case ZYDIS_MNEMONIC_IRETD:
		return do_iret(v, 4);
	case ZYDIS_MNEMONIC_IRETQ:
		return do_iret(v, 8);
	case ZYDIS_MNEMONIC_INT:
		return soft_interrupt(v, e->d->op[0].imm.value.u);
	case ZYDIS_MNEMONIC_INT3:
		return soft_interrupt(v, VEC_BP);
	case ZYDIS_MNEMONIC_INT1:
		return do_icebp(v);
	case ZYDIS_MNEMONIC_INTO:
		return do_into(v);
	case ZYDIS_MNEMONIC_VMCALL:
	case ZYDIS_MNEMONIC_VMMCALL:
		return do_hypercall(v);
	case ZYDIS_MNEMONIC_CALL:
	case ZYDIS_MNEMONIC_JMP:
	case ZYDIS_MNEMONIC_RET:
		return desc_far(v);
	default:
		return -1;
	}
}

/* Flags and bases. */
static int priv_flags(struct vcpu *v)
{
	switch (v->emul->d->insn.mnemonic) {
	case ZYDIS_MNEMONIC_CLI:
		return do_cli(v);
	case ZYDIS_MNEMONIC_STI:
		return do_sti(v);
	case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_PUSHFD:
	case ZYDIS_MNEMONIC_PUSHFQ:
		return do_pushf(v);
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ:
		return do_popf(v);
	case ZYDIS_MNEMONIC_RDFSBASE:
		return do_fsgsbase(v, SEG_FS, false);
	case ZYDIS_MNEMONIC_RDGSBASE:
		return do_fsgsbase(v, SEG_GS, false);
	case ZYDIS_MNEMONIC_WRFSBASE:
		return do_fsgsbase(v, SEG_FS, true);
	case ZYDIS_MNEMONIC_WRGSBASE:
		return do_fsgsbase(v, SEG_GS, true);
	case ZYDIS_MNEMONIC_SWAPGS:
		return do_swapgs(v);
	default:
		return -1;
	}
}

static int priv_mov(struct vcpu *v)
{
	const ZydisDecodedOperand *op = v->emul->d->op;
	u32 i;

	for (i = 0; i < 2; i++) {
		if (op[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		if (op[i].reg.value >= ZYDIS_REGISTER_CR0 &&
		    op[i].reg.value <= ZYDIS_REGISTER_CR15)
			return do_mov_cr(v);
		if (op[i].reg.value >= ZYDIS_REGISTER_DR0 &&
		    op[i].reg.value <= ZYDIS_REGISTER_DR15)
			return do_mov_dr(v);
	}
	return desc_mov(v);
}

/* Features that are not offered: the instruction does not exist. */
static bool not_offered(const struct emulator *e)
{
	switch (e->d->insn.meta.isa_set) {
	case ZYDIS_ISA_SET_VTX:
	case ZYDIS_ISA_SET_SVM:
	case ZYDIS_ISA_SET_SMX:
	case ZYDIS_ISA_SET_RTM:
	case ZYDIS_ISA_SET_SMAP:
	case ZYDIS_ISA_SET_INVPCID:
	case ZYDIS_ISA_SET_MONITOR:
	case ZYDIS_ISA_SET_MONITORX:
	case ZYDIS_ISA_SET_PKU:
	case ZYDIS_ISA_SET_WAITPKG:
	case ZYDIS_ISA_SET_XSAVES:
	case ZYDIS_ISA_SET_CET:
	case ZYDIS_ISA_SET_SGX:
	case ZYDIS_ISA_SET_SGX_ENCLV:
	case ZYDIS_ISA_SET_PCONFIG:
	case ZYDIS_ISA_SET_UINTR:
	case ZYDIS_ISA_SET_ENQCMD:
	case ZYDIS_ISA_SET_HRESET:
		return true;
	default:
		break;
	}
	switch (e->d->insn.mnemonic) {
	case ZYDIS_MNEMONIC_RSM:
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_GETSEC:
		return true;
	default:
		return false;
	}
}

int priv_emulate(struct vcpu *v)
{
	const struct emulator *e = v->emul;
	int ret;

	switch (e->d->insn.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		return priv_mov(v);
	case ZYDIS_MNEMONIC_IN:
	case ZYDIS_MNEMONIC_OUT:
	case ZYDIS_MNEMONIC_INSB:
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_INSD:
	case ZYDIS_MNEMONIC_OUTSB:
	case ZYDIS_MNEMONIC_OUTSW:
	case ZYDIS_MNEMONIC_OUTSD:
		return io_emulate(v);
	case ZYDIS_MNEMONIC_HLT:
		return do_hlt(v);
	case ZYDIS_MNEMONIC_RDMSR:
		return do_msr(v, false);
	case ZYDIS_MNEMONIC_WRMSR:
		return do_msr(v, true);
	case ZYDIS_MNEMONIC_CPUID:
		return do_cpuid(v);
	case ZYDIS_MNEMONIC_RDTSC:
		return do_rdtsc(v, false);
	case ZYDIS_MNEMONIC_RDTSCP:
		return do_rdtsc(v, true);
	case ZYDIS_MNEMONIC_RDPID:
		return do_rdpid(v);
	case ZYDIS_MNEMONIC_RDPMC:
		return do_rdpmc(v);
	case ZYDIS_MNEMONIC_CLTS:
		return do_clts(v);
	case ZYDIS_MNEMONIC_LMSW:
		return do_lmsw(v);
	case ZYDIS_MNEMONIC_XSETBV:
		return do_xsetbv(v);
	case ZYDIS_MNEMONIC_XGETBV:
		return do_xgetbv(v);
	case ZYDIS_MNEMONIC_INVLPG:
		return do_invlpg(v);
	case ZYDIS_MNEMONIC_INVD:
	case ZYDIS_MNEMONIC_WBINVD:
		return do_wbinvd(v);
	default:
		break;
	}
	ret = desc_emulate(v);
	if (ret < 0)
		ret = priv_flags(v);
	if (ret < 0)
		ret = priv_syscalls(v);
	if (ret < 0 && not_offered(e))
		ret = emul_ud(v);
	return ret;
}
