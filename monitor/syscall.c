// SPDX-License-Identifier: GPL-2.0-only
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT.
 *
 * In 64-bit code both vendors agree, except that SYSENTER and SYSEXIT do not exist
 * in AMD's long mode; compatibility mode has SYSCALL on AMD and SYSENTER on Intel.
 * The vendor is the one the guest was told.
 */
#include "monitor.h"

#define SYSRET_FLAGS 0x3c7fd7ull

static void load_kernel_segments(struct vcpu *v, u16 sel)
{
	seg_set_flat_code(&v->seg[SEG_CS], sel & 0xfffc, 0, true);
	seg_set_flat_data(&v->seg[SEG_SS], (sel & 0xfffc) + 8, 0);
}

enum emul vcpu_syscall(struct vcpu *v)
{
	bool op64 = vcpu_is_64bit(v);

	if (!(v->efer & GEFER_SCE) || !vcpu_long_mode(v))
		return emul_ud(v);
	if (!op64 && !cpuid_is_amd(v))
		return emul_ud(v);
	v->regs.gpr[GPR_RCX] = v->regs.rip + 2;
	v->regs.gpr[GPR_R11] = v->regs.rflags & ~RF_RF;
	v->regs.rip = op64 ? v->lstar : v->cstar;
	v->regs.rflags &= ~(v->sfmask | RF_RF);
	v->regs.rflags |= RF_FIXED;
	load_kernel_segments(v, v->star >> 32);
	v->irq_shadow = false;
	return EMUL_DONE;
}

enum emul vcpu_sysret(struct vcpu *v, bool op64)
{
	u16 sel = v->star >> 48;
	u64 rip = v->regs.gpr[GPR_RCX];

	if (!(v->efer & GEFER_SCE) || !vcpu_is_64bit(v))
		return emul_ud(v);
	if (vcpu_cpl(v))
		return emul_gp(v, 0);
	if (op64 && !is_canonical(rip))
		return emul_gp(v, 0);
	v->regs.rip = op64 ? rip : (u32)rip;
	v->regs.rflags = (v->regs.gpr[GPR_R11] & SYSRET_FLAGS & ~RF_RF) |
			 RF_FIXED;
	seg_set_flat_code(&v->seg[SEG_CS], (op64 ? sel + 16 : sel) | 3, 3, op64);
	seg_set_flat_data(&v->seg[SEG_SS], (sel + 8) | 3, 3);
	return EMUL_DONE;
}

enum emul vcpu_sysenter(struct vcpu *v)
{
	if (cpuid_is_amd(v) && vcpu_long_mode(v))
		return emul_ud(v);
	if (!(v->cr0 & CR0_PE) || !(v->sysenter_cs & 0xfffc))
		return emul_gp(v, 0);
	if (!vcpu_long_mode(v))
		return vcpu_stop(v, "SYSENTER outside long mode is not supported yet");
	load_kernel_segments(v, v->sysenter_cs);
	v->regs.rflags &= ~(RF_VM | RF_IF | RF_RF);
	v->regs.gpr[GPR_RSP] = v->sysenter_esp;
	v->regs.rip = v->sysenter_eip;
	v->irq_shadow = false;
	return EMUL_DONE;
}

enum emul vcpu_sysexit(struct vcpu *v, bool op64)
{
	u16 sel = v->sysenter_cs & 0xfffc;
	u64 rip = v->regs.gpr[GPR_RDX], rsp = v->regs.gpr[GPR_RCX];

	if (cpuid_is_amd(v) && vcpu_long_mode(v))
		return emul_ud(v);
	if (!(v->cr0 & CR0_PE) || !sel || vcpu_cpl(v))
		return emul_gp(v, 0);
	if (!vcpu_long_mode(v))
		return vcpu_stop(v, "SYSEXIT outside long mode is not supported yet");
	if (op64 && (!is_canonical(rip) || !is_canonical(rsp)))
		return emul_gp(v, 0);
	v->regs.rip = op64 ? rip : (u32)rip;
	v->regs.gpr[GPR_RSP] = op64 ? rsp : (u32)rsp;
	seg_set_flat_code(&v->seg[SEG_CS], (sel + (op64 ? 32 : 16)) | 3, 3, op64);
	seg_set_flat_data(&v->seg[SEG_SS], (sel + (op64 ? 40 : 24)) | 3, 3);
	return EMUL_DONE;
}
