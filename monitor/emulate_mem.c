// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions that touched MMIO or a traced page with data: moves and arithmetic
 * here, stack and string instructions in their own files, the rest by bounce.
 *
 * Each follows one order: resolve the operand, read, compute, write, commit
 * registers and flags. Invariant 2 of emulate_mmio.c decides the place of the
 * write: nothing after it can fail.
 */
#include "emulate.h"

/* The explicit memory operand, or NULL. */
static const ZydisDecodedOperand *memory_operand(const struct emulator *e)
{
	u32 i;

	for (i = 0; i < e->d->insn.operand_count; i++) {
		if (e->d->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    e->d->op[i].mem.type == ZYDIS_MEMOP_TYPE_MEM &&
		    e->d->op[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
			return &e->d->op[i];
	}
	return NULL;
}

static int resolve_operand(struct vcpu *v, const ZydisDecodedOperand *op,
			   u32 access, struct mem_ref *ref)
{
	return mem_resolve(v, emul_address(v, op), op->size / 8,
			   emul_access(v, op) | access, ref);
}

/* The value of a register or immediate operand. */
static u64 operand_value(const struct vcpu *v, const ZydisDecodedOperand *op)
{
	if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return op->imm.value.u;
	return emul_reg_get(v, op->reg.value);
}

/* A write has been done or handed out: the instruction is over. */
static enum emul committed(struct vcpu *v, enum emul ret)
{
	emul_advance(v);
	return ret == EMUL_DONE ? event_step(v, v->emul->flags_before) : ret;
}

static u64 sign_extend(u64 val, u32 size)
{
	u32 shift = 64 - size * 8;

	return (u64)((s64)(val << shift) >> shift);
}

/* MOV, MOVZX, MOVSX, MOVSXD, MOVNTI between memory and a register or immediate. */
static enum emul emulate_mov(struct vcpu *v, bool extend_sign)
{
	struct emulator *e = v->emul;
	const ZydisDecodedOperand *dst = &e->d->op[0], *src = &e->d->op[1];
	struct mem_ref ref;
	enum emul ret;
	u64 val = 0;

	if (dst->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		val = operand_value(v, src);
		if (resolve_operand(v, dst, PF_ERR_WRITE, &ref))
			return EMUL_FAULT;
		ret = mem_write(v, &ref, &val);
		return ret == EMUL_STOP ? ret : committed(v, ret);
	}
	if (resolve_operand(v, src, 0, &ref))
		return EMUL_FAULT;
	ret = mem_read(v, &ref, &val);
	if (ret != EMUL_DONE)
		return ret;
	if (extend_sign)
		val = sign_extend(val, src->size / 8);
	emul_reg_set(v, dst->reg.value, val);
	return committed(v, EMUL_DONE);
}

/*
 * Read-modify-write: try new values until one gets in. For ALU_CMP and ALU_TEST
 * there is only the read.
 */
static enum emul emulate_alu(struct vcpu *v, enum alu_op op)
{
	struct emulator *e = v->emul;
	const ZydisDecodedOperand *dst = &e->d->op[0], *src = &e->d->op[1];
	bool to_memory = dst->type == ZYDIS_OPERAND_TYPE_MEMORY;
	bool store = to_memory && op != ALU_CMP && op != ALU_TEST;
	u32 size = dst->size / 8;
	u64 old = 0, seen, new, flags, other = 0;
	struct mem_ref ref;
	enum emul ret;

	if (resolve_operand(v, to_memory ? dst : src, store ? PF_ERR_WRITE : 0,
			    &ref))
		return EMUL_FAULT;
	ret = mem_read(v, &ref, &old);
	if (ret != EMUL_DONE)
		return ret;
	if (to_memory && e->d->insn.operand_count_visible > 1)
		other = operand_value(v, src);
	for (;;) {
		flags = v->regs.rflags;
		if (to_memory)
			new = alu_compute(op, size, old, other, &flags);
		else
			new = alu_compute(op, size, operand_value(v, dst), old,
					  &flags);
		if (!store)
			break;
		seen = old;
		ret = mem_cmpxchg(v, &ref, &seen, new, size);
		if (ret == EMUL_STOP)
			return ret;
		if (ret == EMUL_USER || seen == old)
			break;
		old = seen;
	}
	v->regs.rflags = flags;
	if (!to_memory && op != ALU_CMP && op != ALU_TEST)
		emul_reg_set(v, dst->reg.value, new);
	return committed(v, ret);
}

static enum emul emulate_xchg(struct vcpu *v, bool add)
{
	struct emulator *e = v->emul;
	bool mem_first = e->d->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
	const ZydisDecodedOperand *mem = &e->d->op[mem_first ? 0 : 1];
	const ZydisDecodedOperand *reg = &e->d->op[mem_first ? 1 : 0];
	u32 size = mem->size / 8;
	u64 old = 0, seen, new, flags = v->regs.rflags;
	u64 val = operand_value(v, reg);
	struct mem_ref ref;
	enum emul ret;

	if (resolve_operand(v, mem, PF_ERR_WRITE, &ref))
		return EMUL_FAULT;
	ret = mem_read(v, &ref, &old);
	if (ret != EMUL_DONE)
		return ret;
	for (;;) {
		new = val;
		if (add) {
			flags = v->regs.rflags;
			new = alu_compute(ALU_ADD, size, old, val, &flags);
		}
		seen = old;
		ret = mem_cmpxchg(v, &ref, &seen, new, size);
		if (ret == EMUL_STOP)
			return ret;
		if (ret == EMUL_USER || seen == old)
			break;
		old = seen;
	}
	v->regs.rflags = flags;
	emul_reg_set(v, reg->reg.value, old);
	return committed(v, ret);
}

static enum emul emulate_cmpxchg(struct vcpu *v)
{
	struct emulator *e = v->emul;
	static const ZydisRegister acc[] = {
		[1] = ZYDIS_REGISTER_AL,
		[2] = ZYDIS_REGISTER_AX,
		[4] = ZYDIS_REGISTER_EAX,
		[8] = ZYDIS_REGISTER_RAX,
	};
	u32 size = e->d->op[0].size / 8;
	u64 flags = v->regs.rflags;
	u64 expect, seen;
	struct mem_ref ref;
	enum emul ret;

	expect = emul_reg_get(v, acc[size]);
	if (resolve_operand(v, &e->d->op[0], PF_ERR_WRITE, &ref))
		return EMUL_FAULT;
	seen = expect;
	ret = mem_cmpxchg(v, &ref, &seen, operand_value(v, &e->d->op[1]), size);
	/* An MMIO read in flight: not committed. */
	if (ret == EMUL_STOP || (ret == EMUL_USER && !e->n_writes))
		return ret;
	alu_compute(ALU_CMP, size, expect, seen, &flags);
	v->regs.rflags = flags;
	if (seen != expect)
		emul_reg_set(v, acc[size], seen);
	return committed(v, ret);
}

/* CMPXCHG8B and CMPXCHG16B; the latter is not atomic against other writers. */
static enum emul emulate_cmpxchg_wide(struct vcpu *v, u32 half)
{
	u64 *g = v->regs.gpr;
	u64 mask = size_mask(half);
	u64 old[2] = { 0 }, expect[2], new[2];
	u8 buf[16];
	struct mem_ref ref;
	enum emul ret;
	bool equal;

	if (resolve_operand(v, &v->emul->d->op[0], PF_ERR_WRITE, &ref))
		return EMUL_FAULT;
	if (half == 8 && (ref.gpa[0] & 15))
		return emul_gp(v, 0);
	ret = mem_read(v, &ref, buf);
	if (ret != EMUL_DONE)
		return ret;
	memcpy(&old[0], buf, half);
	memcpy(&old[1], buf + half, half);
	expect[0] = g[GPR_RAX] & mask;
	expect[1] = g[GPR_RDX] & mask;
	equal = old[0] == expect[0] && old[1] == expect[1];
	if (equal) {
		new[0] = g[GPR_RBX];
		new[1] = g[GPR_RCX];
		memcpy(buf, &new[0], half);
		memcpy(buf + half, &new[1], half);
	}
	ret = mem_write(v, &ref, buf);
	if (ret == EMUL_STOP)
		return ret;
	v->regs.rflags &= ~RF_ZF;
	if (equal) {
		v->regs.rflags |= RF_ZF;
	} else {
		reg_write(&g[GPR_RAX], old[0], half);
		reg_write(&g[GPR_RDX], old[1], half);
	}
	return committed(v, ret);
}

/* BT, BTS, BTR, BTC: a register offset moves the operand. */
static enum emul emulate_bit(struct vcpu *v, ZydisMnemonic what)
{
	struct emulator *e = v->emul;
	const ZydisDecodedOperand *mem = &e->d->op[0];
	u32 size = mem->size / 8;
	bool store = what != ZYDIS_MNEMONIC_BT;
	u64 off = operand_value(v, &e->d->op[1]);
	u64 old = 0, seen, new, bit;
	gva_t gva = emul_address(v, mem);
	struct mem_ref ref;
	enum emul ret;

	if (e->d->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
		gva += ((s64)sign_extend(off, size) >> (size == 8 ? 6 :
			size == 4 ? 5 : 4)) * (s64)size;
	if (!vcpu_is_64bit(v))
		gva = (u32)gva;
	bit = 1ull << (off & (size * 8 - 1));
	if (mem_resolve(v, gva, size,
			emul_access(v, mem) | (store ? PF_ERR_WRITE : 0), &ref))
		return EMUL_FAULT;
	ret = mem_read(v, &ref, &old);
	if (ret != EMUL_DONE)
		return ret;
	while (store) {
		new = what == ZYDIS_MNEMONIC_BTS ? old | bit :
		      what == ZYDIS_MNEMONIC_BTR ? old & ~bit : old ^ bit;
		seen = old;
		ret = mem_cmpxchg(v, &ref, &seen, new, size);
		if (ret == EMUL_STOP)
			return ret;
		if (ret == EMUL_USER || seen == old)
			break;
		old = seen;
	}
	v->regs.rflags &= ~RF_CF;
	if (old & bit)
		v->regs.rflags |= RF_CF;
	return committed(v, ret);
}

/* --- bounce --- */

static u64 plan_register(const struct vcpu *v, s8 n, u64 next_rip)
{
	if (n < 0)
		return 0;
	return n == 16 ? next_rip : v->regs.gpr[n & 15];
}

static gva_t plan_address(const struct vcpu *v, const struct bt_bounce *p)
{
	u64 next_rip = p->gpc + p->insn_len;
	u64 ea = p->disp + plan_register(v, p->base, next_rip) +
		 plan_register(v, p->index, next_rip) * p->scale;

	if (p->addr32)
		ea = (u32)ea;
	if (p->seg == SEG_FS || p->seg == SEG_GS)
		ea += v->seg[p->seg].base;
	return ea;
}

/*
 * What cannot be emulated can still run natively if the page is only traced for
 * the sake of translated code: give that up.
 */
static enum emul drop_code_trace(struct vcpu *v, const struct mem_ref *ref)
{
	bool dropped = false;
	u32 i;

	for (i = 0; i < 2 && ref->len[i]; i++) {
		if (ref->mmio[i])
			return emul_unhandled(v, "MMIO");
		if (!bt_gfn_has_code(v->bt, gpa_to_gfn(ref->gpa[i])))
			continue;
		bt_invalidate_gpa(v->bt, ref->gpa[i] & POPF_PAGE_MASK,
				  POPF_PAGE_SIZE);
		dropped = true;
	}
	return dropped ? EMUL_DONE : emul_unhandled(v, "traced page");
}

static enum emul emulate_by_bounce(struct vcpu *v)
{
	struct emulator *e = v->emul;
	struct vcpu_bounce *b = &v->bounce;
	const ZydisDecodedOperand *mem = memory_operand(e);
	struct mem_ref *ref = &e->bounce_ref;
	enum emul ret;
	u32 access;

	memset(b, 0, sizeof(*b));
	memcpy(b->insn, e->d->bytes, sizeof(b->insn));
	b->plan.insn = b->insn;
	b->plan.insn_avail = e->d->insn.length;
	b->plan.gpc = v->regs.rip;
	if (!mem)
		return emul_unhandled(v, "memory");
	access = emul_access(v, mem);
	if (!vcpu_is_64bit(v) || bt_bounce_plan(&b->plan) ||
	    b->plan.bit_string || b->plan.size > sizeof(b->data)) {
		if (mem_resolve(v, emul_address(v, mem),
				max(mem->size / 8u, 1u), access, ref))
			return EMUL_FAULT;
		return drop_code_trace(v, ref);
	}
	if (b->plan.write)
		access |= PF_ERR_WRITE;
	if (mem_resolve(v, plan_address(v, &b->plan), b->plan.size, access, ref))
		return EMUL_FAULT;
	memcpy(b->gpa, ref->gpa, sizeof(b->gpa));
	memcpy(b->len, ref->len, sizeof(b->len));
	b->mmio = ref->mmio[0] || (ref->len[1] && ref->mmio[1]);
	/* A store may leave bytes alone (masked moves): start from what is there. */
	if (b->plan.read || !b->mmio) {
		ret = mem_read(v, ref, b->data);
		if (ret != EMUL_DONE)
			return ret;
	}
	return EMUL_BOUNCE;
}

enum emul vcpu_bounce_done(struct vcpu *v)
{
	const struct vcpu_bounce *b = &v->bounce;
	enum emul ret = EMUL_DONE;

	if (!emul_get(v))
		return EMUL_STOP;
	if (b->plan.write)
		ret = mem_write(v, &v->emul->bounce_ref, b->data);
	if (ret == EMUL_STOP)
		return ret;
	v->regs.rip += b->plan.insn_len;
	v->regs.rflags &= ~RF_RF;
	return ret == EMUL_DONE ? event_step(v, v->emul->flags_before) : ret;
}

/* --- dispatch --- */

/* The ALU operation of a mnemonic, or -1. */
static int alu_of(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_ADD:
		return ALU_ADD;
	case ZYDIS_MNEMONIC_ADC:
		return ALU_ADC;
	case ZYDIS_MNEMONIC_SBB:
		return ALU_SBB;
	case ZYDIS_MNEMONIC_SUB:
		return ALU_SUB;
	case ZYDIS_MNEMONIC_AND:
		return ALU_AND;
	case ZYDIS_MNEMONIC_OR:
		return ALU_OR;
	case ZYDIS_MNEMONIC_XOR:
		return ALU_XOR;
	case ZYDIS_MNEMONIC_CMP:
		return ALU_CMP;
	case ZYDIS_MNEMONIC_TEST:
		return ALU_TEST;
	case ZYDIS_MNEMONIC_INC:
		return ALU_INC;
	case ZYDIS_MNEMONIC_DEC:
		return ALU_DEC;
	case ZYDIS_MNEMONIC_NEG:
		return ALU_NEG;
	case ZYDIS_MNEMONIC_NOT:
		return ALU_NOT;
	default:
		return -1;
	}
}

static bool is_plain_mov(const struct emulator *e)
{
	const ZydisDecodedOperand *mem = memory_operand(e);
	const ZydisDecodedOperand *other;

	if (!mem)
		return false;
	other = mem == &e->d->op[0] ? &e->d->op[1] : &e->d->op[0];
	/* Segment, control and debug registers are not here. */
	return other->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ||
	       (other->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		other->reg.value >= ZYDIS_REGISTER_AL &&
		other->reg.value <= ZYDIS_REGISTER_R15);
}

static enum emul dispatch(struct vcpu *v)
{
	struct emulator *e = v->emul;
	ZydisMnemonic m = e->d->insn.mnemonic;
	int ret;

	switch (m) {
	case ZYDIS_MNEMONIC_MOV:
		if (is_plain_mov(e))
			return emulate_mov(v, false);
		break;
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVNTI:
		return emulate_mov(v, false);
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
		return emulate_mov(v, true);
	case ZYDIS_MNEMONIC_XCHG:
		return emulate_xchg(v, false);
	case ZYDIS_MNEMONIC_XADD:
		return emulate_xchg(v, true);
	case ZYDIS_MNEMONIC_CMPXCHG:
		return emulate_cmpxchg(v);
	case ZYDIS_MNEMONIC_CMPXCHG8B:
		return emulate_cmpxchg_wide(v, 4);
	case ZYDIS_MNEMONIC_CMPXCHG16B:
		return emulate_cmpxchg_wide(v, 8);
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC:
		return emulate_bit(v, m);
	default:
		break;
	}
	if (e->d->insn.meta.category == ZYDIS_CATEGORY_STRINGOP)
		return string_emulate(v);
	ret = alu_of(m);
	if (ret >= 0 && memory_operand(e))
		return emulate_alu(v, (enum alu_op)ret);
	ret = stack_emulate(v);
	if (ret < 0) {
		ret = priv_emulate(v);
		if (ret == EMUL_DONE)
			return event_step(v, e->flags_before);
	}
	return ret >= 0 ? (enum emul)ret : emulate_by_bounce(v);
}

enum emul mem_emulate(struct vcpu *v)
{
	struct emulator *e = v->emul;
	u8 bytes[15];
	int n;

	n = emul_fetch(v, bytes);
	if (n < 0)
		return EMUL_FAULT;
	e->flags_before = v->regs.rflags;
	v->irq_shadow = false;
	v->debug_hits = 0;
	if (!emul_decode(v, bytes, n))
		return emul_ud(v);
	return dispatch(v);
}
