/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtual CPU in a process, for the tests of monitor/: real shadow/ over an array
 * of memory, real bt/ for bounce plans, everything of the host faked.
 *
 * Guest memory: RIG_RAM bytes at 0. Linear addresses below 1 GiB map to the same
 * physical address, in 4 KiB pages up to 2 MiB and 2 MiB pages above; RIG_DATA
 * maps to RIG_DATA_GPA, and the fourth GiB (where the local APIC is) to itself.
 * All of it is user and writable; rig_set_pte() changes 4 KiB pages.
 */
#ifndef POPF_TESTS_MON_RIG_H
#define POPF_TESTS_MON_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../monitor/emulate.h"

#define RIG_RAM 0x800000u
#define RIG_CR3 0x1000u
#define RIG_PT 0x4000u /* level-1 table of the first 2 MiB */
#define RIG_GDT 0x10000u
#define RIG_IDT 0x11000u
#define RIG_TSS 0x12000u
#define RIG_LDT 0x13000u
#define RIG_CODE 0x30000u
#define RIG_STACK0 0x50000u /* TSS RSP0 */
#define RIG_IST1 0x58000u
#define RIG_STACK 0x60000u /* initial RSP at CPL 0 */
#define RIG_USTACK 0x70000u /* initial RSP at CPL 3 */
#define RIG_DATA 0x10000000u /* linear; the same address is mapped natively */
#define RIG_DATA_GPA 0x600000u
#define RIG_DATA_SIZE 0x8000u
#define RIG_MMIO 0x20000000u /* nothing there */
#define RIG_HANDLER(vec) (0x40000u + (vec) * 0x10)

#define SEL_CODE32_0 0x08
#define SEL_CODE 0x10
#define SEL_DATA 0x18
#define SEL_UCODE32 0x23
#define SEL_UDATA 0x2b
#define SEL_UCODE 0x33
#define SEL_ABSENT 0x38 /* code, not present */
#define SEL_TSS 0x40
#define SEL_LDT 0x50
#define SEL_CONFORMING 0x60
#define SEL_GATE 0x68 /* call gate, DPL 3, to SEL_CODE:RIG_HANDLER(0) */
#define SEL_DATA_ABSENT 0x78
#define SEL_READONLY 0x80
#define SEL_LAST 0x88

struct popf_timer {
	void (*fn)(void *arg);
	void *arg;
	bool armed, by_tsc;
	u64 when; /* ns or host TSC */
};

struct rig {
	struct popf_vm vm;
	struct vcpu v;
	struct kvm_run run;
	u8 pio[4096];
	u8 *ram;
	struct vcpu_page page;
	u64 host_tsc, now_ns;
	u32 kicks, timer_arms, mmu_changes, code_flushes, cr3_changes, table_changes, invlpgs;
	struct popf_timer timers[4];
	u32 n_timers;
	u32 (*cpuid_hook)(u32 leaf, u32 sub, u32 out[4]);
	u8 mmio[0x10000]; /* behind RIG_MMIO */
	u8 readonly_slot; /* the page at RIG_DATA_GPA + 0x7000 is ROM */
};

extern struct rig *rig;

/* cmocka setup and teardown: a CPU in 64-bit mode at CPL 0, regs.rip RIG_CODE. */
int rig_setup(void **state);
int rig_teardown(void **state);

void *rig_at(gpa_t gpa);
u64 *rig_u64(gpa_t gpa);
void rig_set_pte(gpa_t page, u64 flags);
void rig_set_gate(u8 vec, u16 sel, u64 rip, u8 type, u8 dpl, u8 ist);
void rig_set_desc(u16 sel, u64 desc);
void rig_user(bool compat); /* to CPL 3, 64-bit or compatibility mode */
void rig_code(const void *bytes, u32 n);
/* Emulate the bytes as a callout at RIG_CODE. */
enum emul rig_callout(const void *bytes, u32 n);
/* The time comes: fires what is due. */
void rig_advance_ns(u64 ns);
void rig_advance_tsc(u64 tsc);
/* vcpu_emulate_memory() with MMIO answered from rig->mmio and bounces run natively. */
enum emul rig_emulate_memory(void);

/* Registers for running one instruction natively. */
struct native {
	u64 gpr[16];
	u64 flags;
	u8 xmm[16][16];
};

void native_run(struct native *n, const u8 *insn, u32 len);
extern u8 *native_data; /* mapped at RIG_DATA */

#define callout(...)                                                         \
	rig_callout((const u8[]){ __VA_ARGS__ }, sizeof((u8[]){ __VA_ARGS__ }))

#endif
