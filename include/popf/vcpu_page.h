/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The TC window: what translated code can see of popf, and how it is laid out.
 *
 *	base + 0x010000	bounce code			user, read-execute
 *	base + 0x020000	recorded entries		user, read-write
 *	base + 0x077000	vCPU page, struct vcpu_page	user, read-write
 *	base + 0x078000	bounce data (operand copies)	user, read-write
 *	base + 0x100000	indirect table			user, read-only
 *	base + 0x238000	translation cache		user, read-execute
 *
 * What is used all the time has page numbers that compete with few others for the
 * places of a TLB: Linux has its per-CPU data at the start of 2 MiB, so that nearly
 * every interrupt needs the pages whose numbers end in 0 to 0x33. The vCPU page and
 * the first pages of each of the cache's units have other endings.
 *
 * Invariants:
 *  1. The base is 2 MiB aligned and in the top 2 GiB of the address space (in
 *     test programs: the low 2 GiB), so that a sign-extended disp32 reaches the
 *     first 2 MiB without a register.
 *  2. All that ring 3 can write here is untrusted input to the monitor. Only
 *     this guest suffers from nonsense in it.
 *  3. Only the kernel root maps the window.
 */
#ifndef POPF_VCPU_PAGE_H
#define POPF_VCPU_PAGE_H

#include "types.h"

#define WINDOW_BASE_DEFAULT 0xfffffffff0000000ull
#define WINDOW_VCPU_OFF 0x077000u
#define WINDOW_BOUNCE_DATA_OFF 0x078000u
#define WINDOW_BOUNCE_DATA_SIZE 0x002000u
#define WINDOW_BOUNCE_CODE_OFF 0x010000u
#define WINDOW_BOUNCE_CODE_SIZE 0x001000u
#define WINDOW_RECORD_OFF 0x020000u /* only while recording */
#define WINDOW_RECORD_SIZE 0x008000u
#define WINDOW_IBL_TPC_OFF 0x100000u
#define WINDOW_IBL_ENTRIES 65536u
#define WINDOW_TC_OFF 0x238000u

/* Descriptors a return to user mode compares; with more, it is slow. */
#define VCPU_DESC_CHECKS 4u

/* Hardware register numbers, as in ModRM. */
enum popf_gpr {
	GPR_RAX,
	GPR_RCX,
	GPR_RDX,
	GPR_RBX,
	GPR_RSP,
	GPR_RBP,
	GPR_RSI,
	GPR_RDI,
	GPR_R8,
	GPR_R9,
	GPR_R10,
	GPR_R11,
	GPR_R12,
	GPR_R13,
	GPR_R14,
	GPR_R15,
	GPR_COUNT
};

/* Segment numbers, as in ModRM. */
enum popf_seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

/*
 * Shared by emitted code (bt/), the monitor and, through generated offsets, the
 * assembly. One field per line; all offsets fit a disp8 from the page only by
 * luck, so nothing relies on it.
 */
struct vcpu_page {
	/* A scratch register's guest value while translated code borrows it. */
	u64 spill[GPR_COUNT];
	/* Guest RFLAGS while translated code borrows the flags (lahf form: AX). */
	u64 spill_flags;
	/* tpc that an indirect launch jumps through. */
	u64 jmp_target;
	/* Guest target of an indirect branch whose lookup missed. */
	u64 ibl_target;
	/* Virtual RFLAGS.IF: 0 or 0x200, nothing else. */
	u64 vif;
	/* Virtual RFLAGS.IOPL in place: 0 or 0x1000..0x3000. */
	u64 viopl;
	/* Inactive GS base (the guest's MSR KERNEL_GS_BASE). */
	u64 kernel_gs_base;
	/* Added to RDTSC in translated code. */
	u64 tsc_offset;
	/* Guest MSR TSC_AUX, for RDTSCP and RDPID. */
	u64 tsc_aux;
	/* Read copies of the control registers; the monitor owns the truth. */
	u64 cr0;
	u64 cr2;
	u64 cr3;
	u64 cr4;
	u64 cr8;
	/* Guest-visible selectors, indexed by enum popf_seg. */
	u16 sel[8];
	/* Counters that translated code bumps when built to (statistics). */
	u64 stat_ibl_hit;
	/* Translated code's own, never meaningful at an instruction boundary. */
	u64 scratch[2];
	/* Non-zero: IRET needs the monitor (NMIs masked, NT set). */
	u64 iret_slow;
	/*
	 * Recording: where the next TU's number goes, in bytes from the end of
	 * the buffer: negative, 0 when it is full.
	 */
	u64 record_at;
	u64 reserved[12];
	/*
	 * "Interrupt pending and IF set" without touching flags:
	 * mov vif, %rcx; mov pend(%rcx), %rcx; jrcxz none. pend_if_clear is
	 * always zero, pend_if_set is non-zero when an event waits for IF.
	 */
	u64 pend_if_clear;
	u8 pad0[0x200 - 8];
	u64 pend_if_set;
	/* Non-zero: a return to user mode needs the monitor. */
	u64 ret_slow;
	/* A return to user mode, for the switch region. */
	u64 ret_rip;
	u64 ret_rflags;
	u64 ret_rsp;
	/* Selectors of 64-bit user code by the guest's STAR. */
	u16 ret_cs;
	u16 ret_ss;
	u32 reserved2;
	/*
	 * Descriptors that the world's GDT has been copied from: where the guest
	 * has them, and their values' two's complements. Unused ones repeat the
	 * first.
	 */
	u64 desc_at[VCPU_DESC_CHECKS];
	u64 desc_neg[VCPU_DESC_CHECKS];
	/* x2APIC EOI: 1 may be done in place, 2 has been. */
	u64 eoi;
	/* TSC deadline written in place, or 0; see bt/translate_msr.c. */
	u64 deadline;
	u64 deadline_neg;
};

/* In deadline_neg: no value may be written in place. */
#define VCPU_NO_DEADLINE (1ull << 63)

#define VCPU_RFLAGS_IF 0x200ull

#endif
