// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions whose stack access hit a traced page or MMIO: PUSH, POP, CALL, RET,
 * indirect JMP, LEAVE, PUSHA-like ones not (they do not exist in 64-bit code and
 * stop the VM elsewhere).
 */
#include "emulate.h"

static enum emul stack_done(struct vcpu *v, enum emul ret)
{
	return ret == EMUL_DONE ? event_step(v, v->emul->flags_before) : ret;
}

/* The value of a register, immediate or memory operand. */
static enum emul operand_read(struct vcpu *v, const ZydisDecodedOperand *op,
			      u64 *val)
{
	struct mem_ref ref;

	*val = 0;
	switch (op->type) {
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		*val = op->imm.value.u;
		return EMUL_DONE;
	case ZYDIS_OPERAND_TYPE_REGISTER:
		if (op->reg.value >= ZYDIS_REGISTER_ES &&
		    op->reg.value <= ZYDIS_REGISTER_GS)
			*val = v->seg[op->reg.value - ZYDIS_REGISTER_ES].selector;
		else
			*val = emul_reg_get(v, op->reg.value);
		return EMUL_DONE;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (mem_resolve(v, emul_address(v, op), op->size / 8,
				emul_access(v, op), &ref))
			return EMUL_FAULT;
		return mem_read(v, &ref, val);
	default:
		return emul_unhandled(v, "operand");
	}
}

/* Store val below RSP; RSP itself is the caller's to move. */
static enum emul push_value(struct vcpu *v, u64 val, u32 size)
{
	struct mem_ref ref;

	if (mem_resolve(v, emul_stack_gva(v, -(s64)size), size,
			access_cpl(v) | ACCESS_STACK | PF_ERR_WRITE, &ref))
		return EMUL_FAULT;
	return mem_write(v, &ref, &val);
}

static enum emul pop_value(struct vcpu *v, s64 off, u64 *val, u32 size)
{
	struct mem_ref ref;

	*val = 0;
	if (mem_resolve(v, emul_stack_gva(v, off), size,
			access_cpl(v) | ACCESS_STACK, &ref))
		return EMUL_FAULT;
	return mem_read(v, &ref, val);
}

static enum emul emulate_push(struct vcpu *v)
{
	struct emulator *e = v->emul;
	u32 size = e->d->insn.operand_width / 8;
	enum emul ret;
	u64 val;

	ret = operand_read(v, &e->d->op[0], &val);
	if (ret != EMUL_DONE)
		return ret;
	ret = push_value(v, val, size);
	if (ret == EMUL_FAULT || ret == EMUL_STOP)
		return ret;
	emul_stack_add(v, -(s64)size);
	emul_advance(v);
	return stack_done(v, ret);
}

static enum emul emulate_pop(struct vcpu *v)
{
	struct emulator *e = v->emul;
	const ZydisDecodedOperand *op = &e->d->op[0];
	u32 size = e->d->insn.operand_width / 8;
	u64 val, rsp = v->regs.gpr[GPR_RSP];
	struct mem_ref ref;
	enum emul ret;

	ret = pop_value(v, 0, &val, size);
	if (ret != EMUL_DONE)
		return ret;
	if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		/* The address is computed with RSP behind the pop. */
		emul_stack_add(v, size);
		if (mem_resolve(v, emul_address(v, op), size,
				emul_access(v, op) | PF_ERR_WRITE, &ref)) {
			v->regs.gpr[GPR_RSP] = rsp;
			return EMUL_FAULT;
		}
		ret = mem_write(v, &ref, &val);
	} else {
		emul_stack_add(v, size);
		emul_reg_set(v, op->reg.value, val);
	}
	if (ret == EMUL_STOP)
		return ret;
	emul_advance(v);
	return stack_done(v, ret);
}

/* Bytes of RIP that a near branch pushes, pops and sets. */
static u32 branch_width(const struct vcpu *v)
{
	if (!vcpu_is_64bit(v))
		return v->emul->d->insn.operand_width / 8;
	return v->emul->amd_branches && bt_branch_is_narrow(&v->emul->d->insn) ?
		       2 :
		       8;
}

/* Where a near branch goes; *val is its target. */
static enum emul branch_target(struct vcpu *v, u64 *val)
{
	const ZydisDecodedOperand *op = &v->emul->d->op[0];
	enum emul ret = operand_read(v, op, val);

	if (ret != EMUL_DONE)
		return ret;
	if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		*val += emul_next_rip(v);
	*val &= size_mask(branch_width(v));
	if (!vcpu_is_64bit(v))
		*val = (u32)*val;
	else if (!is_canonical(*val))
		return emul_gp(v, 0);
	return EMUL_DONE;
}

static enum emul emulate_call(struct vcpu *v)
{
	u32 size = branch_width(v);
	enum emul ret;
	u64 target;

	ret = branch_target(v, &target);
	if (ret != EMUL_DONE)
		return ret;
	ret = push_value(v, emul_next_rip(v), size);
	if (ret == EMUL_FAULT || ret == EMUL_STOP)
		return ret;
	emul_stack_add(v, -(s64)size);
	v->regs.rip = target;
	return stack_done(v, ret);
}

static enum emul emulate_jmp(struct vcpu *v)
{
	enum emul ret;
	u64 target;

	ret = branch_target(v, &target);
	if (ret != EMUL_DONE)
		return ret;
	v->regs.rip = target;
	return stack_done(v, EMUL_DONE);
}

static enum emul emulate_ret(struct vcpu *v)
{
	struct emulator *e = v->emul;
	u32 size = branch_width(v);
	u32 extra = 0;
	enum emul ret;
	u64 target;

	if (e->d->insn.operand_count_visible)
		extra = e->d->op[0].imm.value.u;
	ret = pop_value(v, 0, &target, size);
	if (ret != EMUL_DONE)
		return ret;
	if (vcpu_is_64bit(v) && !is_canonical(target))
		return emul_gp(v, 0);
	emul_stack_add(v, size + extra);
	v->regs.rip = target;
	return stack_done(v, EMUL_DONE);
}

static enum emul emulate_leave(struct vcpu *v)
{
	u32 size = v->emul->d->insn.operand_width / 8;
	u64 rsp = v->regs.gpr[GPR_RSP];
	enum emul ret;
	u64 val;

	v->regs.gpr[GPR_RSP] = v->regs.gpr[GPR_RBP];
	ret = pop_value(v, 0, &val, size);
	if (ret != EMUL_DONE) {
		v->regs.gpr[GPR_RSP] = rsp;
		return ret;
	}
	emul_stack_add(v, size);
	reg_write(&v->regs.gpr[GPR_RBP], val, size);
	emul_advance(v);
	return stack_done(v, EMUL_DONE);
}

static bool is_segment_operand(const ZydisDecodedOperand *op)
{
	return op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       op->reg.value >= ZYDIS_REGISTER_ES &&
	       op->reg.value <= ZYDIS_REGISTER_GS;
}

int stack_emulate(struct vcpu *v)
{
	struct emulator *e = v->emul;
	bool far = e->d->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;

	switch (e->d->insn.mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
		return emulate_push(v);
	case ZYDIS_MNEMONIC_POP:
		return is_segment_operand(&e->d->op[0]) ? -1 : (int)emulate_pop(v);
	case ZYDIS_MNEMONIC_CALL:
		return far ? -1 : (int)emulate_call(v);
	case ZYDIS_MNEMONIC_JMP:
		return far ? -1 : (int)emulate_jmp(v);
	case ZYDIS_MNEMONIC_RET:
		return far ? -1 : (int)emulate_ret(v);
	case ZYDIS_MNEMONIC_LEAVE:
		return emulate_leave(v);
	default:
		return -1;
	}
}
