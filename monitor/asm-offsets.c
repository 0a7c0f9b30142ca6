// SPDX-License-Identifier: GPL-2.0-only
/*
 * Offsets the assembly needs, turned into asm_offsets.h by the build. Nothing in
 * the assembly names an offset that is not generated here.
 */
#include <linux/kbuild.h>
#include <linux/stddef.h>

#include <popf/env.h>
#include <popf/vcpu_page.h>
#include "world.h"

#define WD(field) OFFSET(WD_##field, world_data, field)
#define VP(field) OFFSET(VP_##field, vcpu_page, field)

int main(void)
{
	WD(host_rsp);
	WD(host_cr0);
	WD(host_cr3);
	WD(host_cr4);
	WD(host_fs_base);
	WD(host_gs_base);
	WD(host_ds);
	WD(host_es);
	WD(host_fs);
	WD(host_gs);
	WD(host_tr);
	WD(host_ldt);
	WD(host_gdt);
	WD(host_idt);
	WD(cr3);
	WD(cr0_keep);
	WD(cr0_flip);
	WD(cr4_keep);
	WD(cr4_flip);
	WD(cr4);
	WD(fs_base);
	WD(gs_base);
	WD(ds);
	WD(es);
	WD(fs);
	WD(gs);
	WD(ldt);
	WD(cr2);
	WD(dr7);
	WD(gdt);
	WD(idt);
	WD(cross_gdt);
	WD(verw);
	WD(fsgsbase);
	WD(noted);
	WD(nmi_noted);
	WD(mc_noted);
	WD(scratch);
	WD(user);
	WD(fast_syscall);
	WD(fast_return);
	WD(crossed);
	WD(kernel_cr3);
	WD(user_cr3);
	WD(fast_tpc);
	WD(fast_vif);
	WD(fast_flags);
	WD(kernel_sel);
	WD(user_cs);
	WD(user_ss);
	WD(syscalls);
	WD(returns);
	WD(fault_vector);
	WD(fault_error);
	WD(fault_rip);
	WD(regs);
	OFFSET(WR_vector, world_regs, vector);
	OFFSET(WR_error, world_regs, error);
	OFFSET(WR_rip, world_regs, rip);
	OFFSET(WR_cs, world_regs, cs);
	OFFSET(WR_rflags, world_regs, rflags);
	OFFSET(WR_rsp, world_regs, rsp);
	OFFSET(WR_ss, world_regs, ss);
	VP(vif);
	VP(viopl);
	VP(ret_rip);
	VP(ret_rflags);
	VP(ret_rsp);
	OFFSET(VP_sel_cs, vcpu_page, sel[SEG_CS]);
	OFFSET(VP_spill_rax, vcpu_page, spill[GPR_RAX]);
	OFFSET(VP_spill_rcx, vcpu_page, spill[GPR_RCX]);
	OFFSET(VP_spill_r11, vcpu_page, spill[GPR_R11]);
	DEFINE(WD_SIZE, sizeof(struct world_data));
	DEFINE(WR_SIZE, sizeof(struct world_regs));
	return 0;
}
