// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions about segments: descriptor table registers, selectors, far pointers
 * and far transfers. Decoding and dispatch are in emulate_priv.c.
 */
#include "emulate.h"

/* A 16-bit register or memory operand. */
int emul_read16(struct vcpu *v, const ZydisDecodedOperand *op, u16 *val)
{
	*val = 0;
	if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
		*val = emul_reg_get(v, op->reg.value);
		return 0;
	}
	return vcpu_read(v, emul_address(v, op), val, 2, emul_access(v, op));
}

enum emul emul_store16(struct vcpu *v, const ZydisDecodedOperand *op, u64 val)
{
	u16 word = val;
	int ret;

	if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
		emul_reg_set(v, op->reg.value, val);
		return emul_done(v);
	}
	ret = vcpu_write(v, emul_address(v, op), &word, 2, emul_access(v, op));
	return ret ? emul_access_failed(v, ret) : emul_done(v);
}

/* --- descriptor tables --- */

static bool umip_blocks(const struct vcpu *v)
{
	return !cpl0(v) && (v->cr4 & CR4_UMIP);
}

static enum emul store_table(struct vcpu *v, const struct kvm_dtable *t)
{
	const ZydisDecodedOperand *op = &v->emul->d->op[0];
	u8 buf[10];
	int ret;

	if (umip_blocks(v))
		return emul_gp(v, 0);
	memcpy(buf, &t->limit, 2);
	memcpy(buf + 2, &t->base, 8);
	ret = vcpu_write(v, emul_address(v, op), buf, vcpu_is_64bit(v) ? 10 : 6,
			 emul_access(v, op));
	return ret ? emul_access_failed(v, ret) : emul_done(v);
}

static enum emul load_table(struct vcpu *v, struct kvm_dtable *t)
{
	const ZydisDecodedOperand *op = &v->emul->d->op[0];
	u8 buf[10] = { 0 };
	u64 base;
	int ret;

	if (!cpl0(v))
		return emul_gp(v, 0);
	ret = vcpu_read(v, emul_address(v, op), buf, vcpu_is_64bit(v) ? 10 : 6,
			emul_access(v, op));
	if (ret)
		return emul_access_failed(v, ret);
	memcpy(&base, buf + 2, 8);
	if (!is_canonical(base))
		return emul_gp(v, 0);
	memcpy(&t->limit, buf, 2);
	t->base = base;
	vcpu_tables_changed(v);
	return emul_done(v);
}

static enum emul store_system(struct vcpu *v, u64 val)
{
	if (umip_blocks(v))
		return emul_gp(v, 0);
	return emul_store16(v, &v->emul->d->op[0], val);
}

static enum emul load_system(struct vcpu *v, bool tr)
{
	enum emul ret;
	u16 sel;
	int err;

	if (!(v->cr0 & CR0_PE))
		return emul_ud(v);
	if (!cpl0(v))
		return emul_gp(v, 0);
	err = emul_read16(v, &v->emul->d->op[0], &sel);
	if (err)
		return emul_access_failed(v, err);
	ret = tr ? seg_ltr(v, sel) : seg_lldt(v, sel);
	return ret == EMUL_DONE ? emul_done(v) : ret;
}

static void set_zf(struct vcpu *v, bool on)
{
	v->regs.rflags &= ~RF_ZF;
	if (on)
		v->regs.rflags |= RF_ZF;
}

static enum emul lar_lsl(struct vcpu *v, bool lsl)
{
	const ZydisDecodedOperand *op = v->emul->d->op;
	bool fault, ok;
	u16 sel;
	u32 val;
	int ret;

	ret = emul_read16(v, &op[1], &sel);
	if (ret)
		return emul_access_failed(v, ret);
	ok = lsl ? seg_lsl(v, sel, &val, &fault) : seg_lar(v, sel, &val, &fault);
	if (fault)
		return EMUL_FAULT;
	set_zf(v, ok);
	if (ok)
		emul_reg_set(v, op[0].reg.value, val);
	return emul_done(v);
}

static enum emul do_verify(struct vcpu *v, bool write)
{
	bool fault, ok;
	u16 sel;
	int ret;

	ret = emul_read16(v, &v->emul->d->op[0], &sel);
	if (ret)
		return emul_access_failed(v, ret);
	ok = seg_verify(v, sel, write, &fault);
	if (fault)
		return EMUL_FAULT;
	set_zf(v, ok);
	return emul_done(v);
}

/* --- segment registers --- */

static int segment_of(const ZydisDecodedOperand *op)
{
	if (op->type != ZYDIS_OPERAND_TYPE_REGISTER ||
	    op->reg.value < ZYDIS_REGISTER_ES || op->reg.value > ZYDIS_REGISTER_GS)
		return -1;
	return op->reg.value - ZYDIS_REGISTER_ES;
}

static enum emul load_sreg(struct vcpu *v, enum popf_seg seg, u16 sel)
{
	enum emul ret = vcpu_load_segment(v, seg, sel);

	if (ret != EMUL_DONE)
		return ret;
	if (seg == SEG_SS)
		v->irq_shadow = true;
	return emul_done(v);
}

int desc_mov(struct vcpu *v)
{
	const ZydisDecodedOperand *op = v->emul->d->op;
	int to = segment_of(&op[0]), from = segment_of(&op[1]);
	u16 sel;
	int ret;

	if (from >= 0)
		return emul_store16(v, &op[0], v->seg[from].selector);
	if (to < 0)
		return -1;
	ret = emul_read16(v, &op[1], &sel);
	if (ret)
		return emul_access_failed(v, ret);
	return load_sreg(v, (enum popf_seg)to, sel);
}

static int push_sreg(struct vcpu *v)
{
	const struct emulator *e = v->emul;
	int seg = segment_of(&e->d->op[0]);
	u32 size = e->d->insn.operand_width / 8;
	u64 val;
	int ret;

	if (seg < 0)
		return -1;
	val = v->seg[seg].selector;
	ret = vcpu_write(v, emul_stack_gva(v, -(s64)size), &val, size,
			 access_cpl(v) | ACCESS_STACK);
	if (ret)
		return emul_access_failed(v, ret);
	emul_stack_add(v, -(s64)size);
	return emul_done(v);
}

static int pop_sreg(struct vcpu *v)
{
	const struct emulator *e = v->emul;
	int seg = segment_of(&e->d->op[0]);
	u32 size = e->d->insn.operand_width / 8;
	enum emul load;
	u64 val = 0;
	int ret;

	if (seg < 0)
		return -1;
	ret = vcpu_read(v, emul_stack_gva(v, 0), &val, size,
			access_cpl(v) | ACCESS_STACK);
	if (ret)
		return emul_access_failed(v, ret);
	load = load_sreg(v, (enum popf_seg)seg, val);
	if (load == EMUL_DONE)
		emul_stack_add(v, size);
	return load;
}

/* LSS, LFS, LGS (and LDS, LES in 32-bit code). */
static enum emul load_far_pointer(struct vcpu *v, enum popf_seg seg)
{
	const ZydisDecodedOperand *op = v->emul->d->op;
	u32 size = v->emul->d->insn.operand_width / 8;
	enum emul ret;
	u64 off = 0;
	u8 buf[10];
	u16 sel;
	int err;

	err = vcpu_read(v, emul_address(v, &op[1]), buf, size + 2,
			emul_access(v, &op[1]));
	if (err)
		return emul_access_failed(v, err);
	memcpy(&off, buf, size);
	memcpy(&sel, buf + size, 2);
	ret = vcpu_load_segment(v, seg, sel);
	if (ret != EMUL_DONE)
		return ret;
	emul_reg_set(v, op[0].reg.value, off);
	return emul_done(v);
}

/* The target of a far JMP or CALL: in memory, or in the instruction. */
static enum emul far_target(struct vcpu *v, u16 *sel, u64 *off)
{
	const struct emulator *e = v->emul;
	const ZydisDecodedOperand *op = &e->d->op[0];
	u32 size = e->d->insn.operand_width / 8;
	u8 buf[10];
	int ret;

	*off = 0;
	if (op->type == ZYDIS_OPERAND_TYPE_POINTER) {
		*sel = op->ptr.segment;
		*off = op->ptr.offset;
		return EMUL_DONE;
	}
	ret = vcpu_read(v, emul_address(v, op), buf, size + 2, emul_access(v, op));
	if (ret)
		return emul_access_failed(v, ret);
	memcpy(off, buf, size);
	memcpy(sel, buf + size, 2);
	return EMUL_DONE;
}

int desc_far(struct vcpu *v)
{
	const struct emulator *e = v->emul;
	u32 size = e->d->insn.operand_width / 8;
	enum emul ret;
	u16 sel = 0;
	u64 off;

	if (e->d->insn.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
		return -1;
	if (e->d->insn.mnemonic == ZYDIS_MNEMONIC_RET)
		return far_return(v, size,
				  e->d->insn.operand_count_visible ?
					  e->d->op[0].imm.value.u : 0);
	ret = far_target(v, &sel, &off);
	if (ret != EMUL_DONE)
		return ret;
	if (e->d->insn.mnemonic == ZYDIS_MNEMONIC_JMP)
		return far_jump(v, sel, off);
	return far_call(v, sel, off, emul_next_rip(v), size);
}

int desc_emulate(struct vcpu *v)
{
	switch (v->emul->d->insn.mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
		return push_sreg(v);
	case ZYDIS_MNEMONIC_POP:
		return pop_sreg(v);
	case ZYDIS_MNEMONIC_LSS:
		return load_far_pointer(v, SEG_SS);
	case ZYDIS_MNEMONIC_LFS:
		return load_far_pointer(v, SEG_FS);
	case ZYDIS_MNEMONIC_LGS:
		return load_far_pointer(v, SEG_GS);
	case ZYDIS_MNEMONIC_LDS:
		return load_far_pointer(v, SEG_DS);
	case ZYDIS_MNEMONIC_LES:
		return load_far_pointer(v, SEG_ES);
	case ZYDIS_MNEMONIC_SGDT:
		return store_table(v, &v->gdt);
	case ZYDIS_MNEMONIC_SIDT:
		return store_table(v, &v->idt);
	case ZYDIS_MNEMONIC_LGDT:
		return load_table(v, &v->gdt);
	case ZYDIS_MNEMONIC_LIDT:
		return load_table(v, &v->idt);
	case ZYDIS_MNEMONIC_SLDT:
		return store_system(v, v->ldt.selector);
	case ZYDIS_MNEMONIC_STR:
		return store_system(v, v->tr.selector);
	case ZYDIS_MNEMONIC_SMSW:
		return store_system(v, v->cr0);
	case ZYDIS_MNEMONIC_LLDT:
		return load_system(v, false);
	case ZYDIS_MNEMONIC_LTR:
		return load_system(v, true);
	case ZYDIS_MNEMONIC_LAR:
		return lar_lsl(v, false);
	case ZYDIS_MNEMONIC_LSL:
		return lar_lsl(v, true);
	case ZYDIS_MNEMONIC_VERR:
		return do_verify(v, false);
	case ZYDIS_MNEMONIC_VERW:
		return do_verify(v, true);
	default:
		return -1;
	}
}
