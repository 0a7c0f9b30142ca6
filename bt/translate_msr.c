// SPDX-License-Identifier: GPL-2.0-only
/*
 * WRMSR. The two that end and begin nearly every timer interrupt are done in place
 * when the monitor has said that it need not know at once:
 *
 *  - x2APIC EOI: eoi is 1 when nothing waits for the end of the interrupt in service.
 *    It becomes 2.
 *  - TSC deadline: any value from that of deadline_neg (its two's complement) on is
 *    stored in deadline. The monitor has a host timer for that time or earlier and
 *    looks at deadline when it comes.
 *
 * All else is a callout. One store commits; no flags are used.
 */
#include "emit.h"

#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_EOI 0x80bu
#define AC (1u << RAX | 1u << RCX)

/* lea ecx, [rcx + disp32] */
static void emit_add_ecx(struct bt *bt, u32 disp)
{
	emit2x(bt, 0x8d, 0x89);
	emit4(bt, disp);
}

/* mov ecx, reg32 */
static void emit_ecx_from(struct bt *bt, u32 reg)
{
	emit2x(bt, 0x89, (u8)(0xc1 | reg << 3));
}

/* Writing anything but 0 is a fault. */
static void eoi_in_place(struct bt *bt, struct slow *s)
{
	emit_ecx_from(bt, RAX);
	emit_unless_zero(bt, s);
	emit_ecx_from(bt, RDX);
	emit_unless_zero(bt, s);
	emit_load64(bt, RCX, VP(bt, eoi));
	emit_add_ecx(bt, (u32)-1);
	emit_unless_zero(bt, s);
	emit_store8_imm(bt, VP(bt, eoi), 2);
}

/* RDX takes the sign of the difference to the earliest value allowed. */
static void deadline_in_place(struct bt *bt, struct slow *s)
{
	gva_t gpc = bt->insn.gpc;

	emit_spill(bt, RDX);
	rec_add(bt, gpc, AC | 1u << RDX, 0);
	emit_store32(bt, RAX, VP(bt, scratch[0]));
	emit_store32(bt, RDX, VP(bt, scratch[0]) + 4);
	emit_load64(bt, RAX, VP(bt, scratch[0]));
	emit_load64(bt, RCX, VP(bt, deadline_neg));
	emit_lea_sum(bt, RAX, RCX, 0);
	/* cqo; mov rcx, rdx */
	emit2x(bt, 0x48, 0x99);
	emit2x(bt, 0x48, 0x89);
	emit1(bt, 0xd1);
	emit_unspill(bt, RDX);
	rec_add(bt, gpc, AC, 0);
	emit_unless_zero(bt, s);
	emit_load64(bt, RAX, VP(bt, scratch[0]));
	emit_store64(bt, RAX, VP(bt, deadline));
}

void translate_wrmsr(struct bt *bt)
{
	gva_t gpc = bt->insn.gpc, next = gpc + bt->insn.len;
	u32 eoi, deadline, other, done;
	struct slow s = {};

	if (!bt->cfg.apic_in_place) {
		emit_callout(bt);
		bt->t.done = true;
		return;
	}
	emit_spill(bt, RAX);
	emit_spill(bt, RCX);
	rec_add(bt, gpc, AC, 0);
	emit_add_ecx(bt, (u32)-MSR_X2APIC_EOI);
	eoi = emit_jrcxz(bt);
	emit_add_ecx(bt, MSR_X2APIC_EOI - MSR_TSC_DEADLINE);
	deadline = emit_jrcxz(bt);
	other = emit_jmp32(bt);
	emit_patch8(bt, eoi);
	eoi_in_place(bt, &s);
	rec_add(bt, next, AC, 0);
	done = emit_jmp32(bt);
	emit_patch8(bt, deadline);
	rec_add(bt, gpc, AC, 0);
	deadline_in_place(bt, &s);
	rec_add(bt, next, AC, 0);
	emit_patch32(bt, done);
	emit_unspill(bt, RAX);
	emit_unspill(bt, RCX);
	rec_add(bt, next, 0, 0);
	done = emit_jmp32(bt);
	emit_patch32(bt, other);
	emit_slow_start(bt, &s);
	rec_add(bt, gpc, AC, 0);
	emit_unspill(bt, RAX);
	emit_unspill(bt, RCX);
	rec_add(bt, gpc, 0, 0);
	emit_callout(bt);
	emit_patch32(bt, done);
}
