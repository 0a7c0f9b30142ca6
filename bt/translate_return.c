// SPDX-License-Identifier: GPL-2.0-only
/*
 * IRETQ and SYSRET.
 *
 * Both stay in the guest world in the usual cases. An IRETQ to the same CS and SS
 * is a load of flags, RSP and an indirect branch. A return to 64-bit user code is
 * handed to the switch region: RIP, RFLAGS and RSP go to the vCPU page (ret_*), RAX,
 * RCX and R11 are spilled, and a SYSCALL instruction asks for it (switch_64.S).
 * The region goes there, or has the monitor look, which resumes behind the
 * SYSCALL: the slow way, a callout.
 *
 * All checks come first and change nothing. They cost no flags, because the slow
 * way may end in a fault that shows them.
 *
 * The guest's user code finds the world's copy of the GDT. So a return compares
 * the descriptors that the copy was made from with what the guest has now
 * (desc_at, desc_neg): kernels switch TLS descriptors without telling anybody.
 */
#include "emit.h"

#define AC (1u << RAX | 1u << RCX)
#define R11 11u

/* The slow way; RAX and RCX are spilled. */
static void emit_slow(struct bt *bt, const struct slow *s)
{
	gva_t gpc = bt->insn.gpc;

	emit_slow_start(bt, s);
	rec_add(bt, gpc, AC, 0);
	emit_unspill(bt, RAX);
	emit_unspill(bt, RCX);
	rec_add(bt, gpc, 0, 0);
	emit_callout(bt);
}

/* movzx reg32, byte [rsp + disp8]; movzx reg32, byte [table + reg] */
static void emit_stack_byte_lookup(struct bt *bt, u32 reg, u8 disp, u32 table)
{
	emit2x(bt, 0x0f, 0xb6);
	emit2x(bt, (u8)(0x44 | reg << 3), 0x24);
	emit1(bt, disp);
	emit2x(bt, 0x0f, 0xb6);
	emit2x(bt, (u8)(0x04 | reg << 3), (u8)(0x05 | reg << 3));
	emit4(bt, FIXED_ABS(bt, table));
}

/* ecx = word [rsp + disp] - word [abs], by not and lea: 0 when they are the same */
static void emit_selector_diff(struct bt *bt, u8 disp, u32 abs)
{
	emit2x(bt, 0x0f, 0xb7);
	emit2x(bt, 0x4c, 0x24);
	emit1(bt, disp);
	emit_load16(bt, RAX, abs);
	emit2x(bt, 0xf7, 0xd0);
	emit2x(bt, 0x8d, 0x4c);
	emit2x(bt, 0x01, 0x01);
}

/* mov reg64, [rsp + disp8] */
static void emit_load_stack(struct bt *bt, u32 reg, u8 disp)
{
	emit2x(bt, 0x48, 0x8b);
	emit2x(bt, (u8)(0x44 | reg << 3), 0x24);
	emit1(bt, disp);
}

/* Descriptor i in the guest's GDT is still what the world's copy has? */
static void emit_desc_check(struct bt *bt, u32 i, struct slow *s)
{
	emit_load64(bt, RAX, VP(bt, desc_at) + 8 * i);
	/* mov rax, [rax] */
	emit2x(bt, 0x48, 0x8b);
	emit1(bt, 0x00);
	emit_load64(bt, RCX, VP(bt, desc_neg) + 8 * i);
	/* lea rcx, [rcx + rax] */
	emit2x(bt, 0x48, 0x8d);
	emit2x(bt, 0x0c, 0x01);
	emit_unless_zero(bt, s);
}

/* What every return to user mode must find; RAX and RCX are spilled. */
static void emit_user_checks(struct bt *bt, struct slow *s)
{
	u32 i;

	emit_load64(bt, RCX, VP(bt, ret_slow));
	emit_unless_zero(bt, s);
	for (i = 0; i < VCPU_DESC_CHECKS; i++)
		emit_desc_check(bt, i, s);
}

/* ret_* are filled: ask the region, and be slow behind that. */
static void emit_user_return(struct bt *bt, const struct slow *s)
{
	gva_t gpc = bt->insn.gpc;

	emit_spill(bt, R11);
	rec_add(bt, gpc, AC | 1u << R11, 0);
	emit2x(bt, 0x0f, 0x05);
	emit_unspill(bt, R11);
	emit_slow(bt, s);
}

void translate_sysret(struct bt *bt)
{
	struct slow s = {};

	if (!bt->cfg.user_return || !(bt->insn.rex & 8)) {
		emit_callout(bt);
		bt->t.done = true;
		return;
	}
	emit_spill(bt, RAX);
	emit_spill(bt, RCX);
	rec_add(bt, bt->insn.gpc, AC, 0);
	emit_store64(bt, RCX, VP(bt, ret_rip));
	emit_store64(bt, R11, VP(bt, ret_rflags));
	emit_store64(bt, RSP, VP(bt, ret_rsp));
	emit_user_checks(bt, &s);
	emit_user_return(bt, &s);
	bt->t.done = true;
}

/* IRETQ to 64-bit user code; no NMI may be in service, IRET ends that. */
static void iret_to_user(struct bt *bt, struct slow *s)
{
	emit_selector_diff(bt, 32, VP(bt, ret_ss));
	emit_unless_zero(bt, s);
	emit_load64(bt, RCX, VP(bt, iret_slow));
	emit_unless_zero(bt, s);
	emit_load_stack(bt, RCX, 0);
	emit_store64(bt, RCX, VP(bt, ret_rip));
	emit_load_stack(bt, RCX, 16);
	emit_store64(bt, RCX, VP(bt, ret_rflags));
	emit_load_stack(bt, RCX, 24);
	emit_store64(bt, RCX, VP(bt, ret_rsp));
	emit_user_checks(bt, s);
	emit_user_return(bt, s);
}

/*
 * IRETQ that stays at its CPL: the new flags must be ones that POPF could load in
 * place. Once the new RSP is loaded the guest is at ibl_target. With an event
 * pending and IF set the way on is the miss stub's: the monitor looks at events
 * there.
 */
static void iret_in_place(struct bt *bt)
{
	gva_t gpc = bt->insn.gpc;
	struct slow s = {};
	u32 fast, no_if, none;

	emit_selector_diff(bt, 8, VP(bt, sel) + 2 * SEG_CS);
	emit_unless_zero(bt, &s);
	emit_selector_diff(bt, 32, VP(bt, sel) + 2 * SEG_SS);
	emit_unless_zero(bt, &s);
	emit_stack_byte_lookup(bt, RCX, 17, FIXED_SLOW_FLAGS);
	emit_unless_zero(bt, &s);
	emit_load64(bt, RCX, VP(bt, iret_slow));
	fast = emit_jrcxz(bt);
	emit_slow(bt, &s);
	emit_patch8(bt, fast);
	rec_add(bt, gpc, AC, 0);
	emit_load_stack(bt, RCX, 0);
	emit_store64(bt, RCX, VP(bt, ibl_target));
	emit_load_stack(bt, RCX, 24);
	emit_store64(bt, RCX, VP(bt, scratch[1]));
	emit_stack_byte_lookup(bt, RAX, 17, FIXED_IF_BYTE);
	/* lea rsp, [rsp + 16]; popfq; mov [vif + 1], al */
	rec_add(bt, gpc, AC, REC_OPAQUE);
	emit2x(bt, 0x48, 0x8d);
	emit2x(bt, 0x64, 0x24);
	emit1(bt, 16);
	emit1(bt, 0x9d);
	emit1(bt, 0x88);
	emit_abs(bt, RAX, VP(bt, vif) + 1);
	emit_store8_imm(bt, VP(bt, viopl) + 1, 0);
	emit_load64(bt, RSP, VP(bt, scratch[1]));
	rec_add(bt, gpc, AC, REC_INDIRECT);
	/* movzx ecx, al */
	emit2x(bt, 0x0f, 0xb6);
	emit1(bt, 0xc8);
	emit_unspill(bt, RAX);
	rec_add(bt, gpc, 1u << RCX, REC_INDIRECT);
	no_if = emit_jrcxz(bt);
	emit_load64(bt, RCX, VP(bt, pend_if_set));
	none = emit_jrcxz(bt);
	emit_jmp_off(bt, FIXED_MISS);
	emit_patch8(bt, no_if);
	emit_patch8(bt, none);
	/* movzx ecx, word [ibl_target]: the index */
	emit_load16(bt, RCX, VP(bt, ibl_target));
	emit_launch(bt, gpc);
}

void translate_iret(struct bt *bt)
{
	struct slow s = {};
	u32 user, other;

	emit_spill(bt, RAX);
	emit_spill(bt, RCX);
	rec_add(bt, bt->insn.gpc, AC, 0);
	if (bt->cfg.user_return) {
		emit_selector_diff(bt, 8, VP(bt, ret_cs));
		user = emit_jrcxz(bt);
		other = emit_jmp32(bt);
		emit_patch8(bt, user);
		iret_to_user(bt, &s);
		emit_patch32(bt, other);
		rec_add(bt, bt->insn.gpc, AC, 0);
	}
	iret_in_place(bt);
}
