/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The world: what the CPU needs to run the guest, and how one vCPU's part of the
 * switch region is laid out. Shared by C, by the assembly (through generated
 * offsets) and by nothing outside monitor/.
 *
 * Each vCPU owns REGION_VCPU_SIZE bytes of the region's 512 GiB slot:
 *
 *	0x0000	code (2 pages, the same copy for all)	supervisor, RX
 *	0x2000	GDT, guest's half (512 entries)		supervisor, RW
 *	0x3000	GDT, popf's half (8 entries)
 *	0x3080	TSS
 *	0x3100	struct world_data, its end is RSP0
 *	0x4000	crossing GDT, host's entries
 *	0x5000	crossing GDT, popf's half (same frame as 0x3000)
 *	0x6000	IDT
 *	0x7000	IST stacks: #DF, NMI, #DB, #MC, a page each
 *	0xb000	vCPU page (same frame as the TC window's)
 *	0x10000	LDT (16 pages, there once the guest has one)
 *
 * Every switch begins with an empty TLB, so what it needs lies on few pages; and they
 * have page numbers for which Linux's own hot pages do not compete (vcpu_page.h).
 *
 * Invariants:
 *  1. The same bytes are at the same gva in the host's page table (a planted
 *     top-level entry) and in every shadow root.
 *  2. Code finds its data RIP-relative, so it may be mapped at any slot.
 *  3. The IST numbers of #DF, NMI, #DB and #MC are those of the host, so a gate of
 *     either IDT works with either TSS loaded.
 *  4. The crossing GDT holds the host's descriptors and popf's: it is what is
 *     loaded whenever IDT, TR or CS of the two worlds are mixed.
 */
#ifndef POPF_MONITOR_WORLD_H
#define POPF_MONITOR_WORLD_H

#define REGION_BASE 0xffff800000000000
#define REGION_SLOTS 16 /* of 512 GiB, that Linux leaves to hypervisors */
#define REGION_SLOT_SHIFT 39
#define REGION_VM_SHIFT 30 /* each VM has 1 GiB of the slot */
#define REGION_VCPU_FIRST 0x74000
#define REGION_VCPU_SIZE 0x20000
#define REGION_CODE_OFF 0x0000
#define REGION_CODE_SIZE 0x2000
#define REGION_GDT_OFF 0x2000
#define REGION_GDT_POPF_OFF 0x3000
#define REGION_TSS_OFF 0x3080
#define REGION_DATA_OFF 0x3100
#define REGION_CROSS_OFF 0x4000
#define REGION_CROSS_POPF_OFF 0x5000
#define REGION_IDT_OFF 0x6000
#define REGION_IST_OFF 0x7000
#define REGION_VPAGE_OFF 0xb000
#define REGION_LDT_OFF 0x10000
#define REGION_LDT_PAGES 16 /* all that a selector can name */
#define REGION_PAGES 32

/* Selectors of popf's half of the GDT: index 512 on. */
#define WORLD_CS 0x1000 /* ring 0 code; SYSCALL and SYSENTER want SS next */
#define WORLD_SS 0x1008
#define WORLD_TC_CS (0x1010 | 3) /* ring 3, 64-bit code: translated code */
#define WORLD_TC_SS (0x1018 | 3)
#define WORLD_TSS 0x1020
#define WORLD_LDT 0x1030
#define WORLD_GDT_LIMIT 0x103f

/* Access bytes of the descriptors of ring 3 code and data. */
#define ACCESS_CODE_DPL3 0xfb
#define ACCESS_DATA_DPL3 0xf3

/* RFLAGS that ring 3 may have in hardware; the rest is virtual or forced. */
#define WORLD_NATIVE_FLAGS 0x244cd5

/* Host selectors the switch loads (arch/x86 of the host kernel, 64-bit). */
#define HOST_CS 0x10
#define HOST_SS 0x18
#define HOST_GDT_ENTRIES 16

/* The stubs of the 256 vectors: one of this size each, this one first. */
#define SWITCH_STUB_SIZE 16
#define SWITCH_STUB_FIRST 224

/* IST numbers, 1-based, as in gates. */
#define IST_DF 1
#define IST_NMI 2
#define IST_DB 3
#define IST_MC 4

/* Exit vectors past the IDT's. */
#define EXIT_SYSCALL 0x100
#define EXIT_SYSCALL32 0x101
#define EXIT_SYSENTER 0x102
#define EXIT_ABORT 0x103 /* entry abandoned: an NMI or #MC is noted */
#define EXIT_FAULT 0x104 /* ring 0 code of the region faulted */
#define EXIT_NOTED 0x105 /* an NMI or #MC is noted; registers are saved */
#define EXIT_POISON 0x1ff /* never seen after a switch */

#ifndef __ASSEMBLY__

#include <popf/types.h>

/*
 * Guest registers in the order the exit stubs push them. The last five are the
 * hardware frame, so RSP0 is the end of this structure.
 */
struct world_regs {
	u64 r15;
	u64 r14;
	u64 r13;
	u64 r12;
	u64 r11;
	u64 r10;
	u64 r9;
	u64 r8;
	u64 rbp;
	u64 rdi;
	u64 rsi;
	u64 rdx;
	u64 rcx;
	u64 rbx;
	u64 rax;
	u64 vector;
	u64 error;
	u64 rip;
	u64 cs;
	u64 rflags;
	u64 rsp;
	u64 ss;
};

struct world_table {
	u16 limit;
	u64 base;
} __packed;

struct world_data {
	/* Host state, saved on entry and restored on the way back. */
	u64 host_rsp;
	u64 host_cr0;
	u64 host_cr3;
	u64 host_cr4;
	u64 host_fs_base;
	u64 host_gs_base;
	u16 host_ds;
	u16 host_es;
	u16 host_fs;
	u16 host_gs;
	u16 host_tr;
	u16 host_ldt;
	struct world_table host_gdt;
	struct world_table host_idt;

	/* Guest state besides world_regs, in and out. */
	u64 cr3;
	u64 fs_base;
	u64 gs_base;
	u16 ds;
	u16 es;
	u16 fs;
	u16 gs;
	u16 ldt; /* in: WORLD_LDT, or 0 */
	u64 cr2; /* out */
	u8 fsgsbase; /* in: RDFSBASE and kin execute (cr4.FSGSBASE) */

	/* The world's CR0 and CR4 are (the host's & keep) ^ flip. */
	u64 cr0_keep;
	u64 cr0_flip;
	u64 cr4_keep;
	u64 cr4_flip;
	u64 cr4; /* what came out */
	u64 dr7; /* 0: leave DR7 alone, the host's is off */

	/* Constant after set-up. */
	struct world_table gdt;
	struct world_table idt;
	struct world_table cross_gdt;
	u16 verw; /* selector for VERW, or 0: CPU buffers need no clearing */

	/* Events that came in the wrong world, replayed after the switch. */
	u8 noted; /* any of the two below */
	u8 nmi_noted;
	u8 mc_noted;
	u64 scratch;

	/*
	 * System calls and returns to user mode inside the guest world: fast.c
	 * fills this before an entry, and looks at it after the exit.
	 */
	u8 user; /* in, out: direct execution, else translated code */
	u8 fast_syscall; /* SYSCALL may go to fast_tpc */
	u8 fast_return; /* translated code may return to user mode */
	u8 crossed; /* out: either has happened */
	u64 kernel_cr3;
	u64 user_cr3;
	u64 fast_tpc; /* of the guest's LSTAR */
	u64 fast_vif; /* virtual IF there */
	u32 fast_flags; /* RFLAGS that SYSCALL keeps, of those ring 3 may have */
	u32 kernel_sel; /* the guest's CS and, in the upper half, SS there */
	u64 user_cs;
	u64 user_ss;
	u64 syscalls; /* out, counters */
	u64 returns;

	/* EXIT_FAULT: what the region's own code ran into. */
	u64 fault_vector;
	u64 fault_error;
	u64 fault_rip;

	u8 stack[2048] __aligned(16); /* ring 0 work below regs */
	struct world_regs regs;
} __aligned(16);

#endif /* __ASSEMBLY__ */

#endif
