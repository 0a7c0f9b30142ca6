// SPDX-License-Identifier: GPL-2.0-only
/*
 * String instructions, with or without a repeat prefix.
 *
 * One call does a piece: as many elements as fit the source's and the
 * destination's page, one element when MMIO, overlap, comparison or a backward
 * direction is involved. Then registers are committed and, while there are
 * elements left, RIP stays: the instruction goes on by itself.
 */
#include "emulate.h"

struct string_op {
	u32 size; /* of an element */
	u64 amask; /* of address and count registers */
	bool repeat;
	bool source, dest;
	bool store; /* dest is written */
	bool compare; /* CMPS, SCAS */
	bool while_equal; /* REPE: go on while ZF */
	s64 step; /* +size or -size */
	gva_t src, dst;
};

static u64 areg(const struct vcpu *v, const struct string_op *s, enum popf_gpr r)
{
	return v->regs.gpr[r] & s->amask;
}

static void areg_add(struct vcpu *v, const struct string_op *s, enum popf_gpr r,
		     s64 n)
{
	u64 val = (v->regs.gpr[r] + n) & s->amask;

	if (s->amask == 0xffff)
		reg_write(&v->regs.gpr[r], val, 2);
	else
		v->regs.gpr[r] = val;
}

static const ZydisDecodedOperand *string_operand(const struct emulator *e,
						 ZydisRegister base16)
{
	const ZydisDecodedOperand *op;
	u32 i;

	for (i = 0; i < e->d->insn.operand_count; i++) {
		op = &e->d->op[i];
		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (ZydisRegisterGetId(op->mem.base) ==
		    ZydisRegisterGetId(base16))
			return op;
	}
	return NULL;
}

static bool describe(struct vcpu *v, struct string_op *s)
{
	const struct emulator *e = v->emul;
	const ZydisDecodedOperand *src = string_operand(e, ZYDIS_REGISTER_SI);
	const ZydisDecodedOperand *dst = string_operand(e, ZYDIS_REGISTER_DI);

	memset(s, 0, sizeof(*s));
	s->amask = size_mask(e->d->insn.address_width / 8);
	s->source = src;
	s->dest = dst;
	s->repeat = e->d->insn.attributes &
		    (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
		     ZYDIS_ATTRIB_HAS_REPNE);
	s->while_equal = !(e->d->insn.attributes & ZYDIS_ATTRIB_HAS_REPNE);
	switch (e->d->insn.mnemonic) {
	case ZYDIS_MNEMONIC_MOVSB:
	case ZYDIS_MNEMONIC_MOVSW:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_MOVSQ:
	case ZYDIS_MNEMONIC_STOSB:
	case ZYDIS_MNEMONIC_STOSW:
	case ZYDIS_MNEMONIC_STOSD:
	case ZYDIS_MNEMONIC_STOSQ:
		s->store = true;
		break;
	case ZYDIS_MNEMONIC_CMPSB:
	case ZYDIS_MNEMONIC_CMPSW:
	case ZYDIS_MNEMONIC_CMPSD:
	case ZYDIS_MNEMONIC_CMPSQ:
	case ZYDIS_MNEMONIC_SCASB:
	case ZYDIS_MNEMONIC_SCASW:
	case ZYDIS_MNEMONIC_SCASD:
	case ZYDIS_MNEMONIC_SCASQ:
		s->compare = true;
		break;
	case ZYDIS_MNEMONIC_LODSB:
	case ZYDIS_MNEMONIC_LODSW:
	case ZYDIS_MNEMONIC_LODSD:
	case ZYDIS_MNEMONIC_LODSQ:
		break;
	default:
		return false;
	}
	if (src)
		s->src = emul_address(v, src);
	if (dst)
		s->dst = emul_address(v, dst);
	s->size = (src ? src : dst)->size / 8;
	s->step = v->regs.rflags & RF_DF ? -(s64)s->size : (s64)s->size;
	return src || dst;
}

/* n elements are done; the last one's comparison is in RFLAGS. */
static enum emul finish(struct vcpu *v, const struct string_op *s, u64 n,
			enum emul ret)
{
	bool over = true;

	if (s->source)
		areg_add(v, s, GPR_RSI, s->step * (s64)n);
	if (s->dest)
		areg_add(v, s, GPR_RDI, s->step * (s64)n);
	if (s->repeat) {
		areg_add(v, s, GPR_RCX, -(s64)n);
		over = !areg(v, s, GPR_RCX);
		if (s->compare && !(v->regs.rflags & RF_ZF) == s->while_equal)
			over = true;
	}
	if (over)
		emul_advance(v);
	return ret == EMUL_DONE ? event_step(v, v->emul->flags_before) : ret;
}

static enum emul one_element(struct vcpu *v, const struct string_op *s)
{
	u32 user = access_cpl(v);
	u64 a = 0, b = 0, flags;
	struct mem_ref src, dst;
	enum emul ret = EMUL_DONE;

	if (s->source && mem_resolve(v, s->src, s->size, user, &src))
		return EMUL_FAULT;
	if (s->dest && mem_resolve(v, s->dst, s->size,
				   user | (s->store ? PF_ERR_WRITE : 0), &dst))
		return EMUL_FAULT;
	if (s->source)
		ret = mem_read(v, &src, &a);
	else
		a = v->regs.gpr[GPR_RAX];
	if (ret == EMUL_DONE && s->dest && !s->store)
		ret = mem_read(v, &dst, &b);
	if (ret != EMUL_DONE)
		return ret;
	if (s->store) {
		ret = mem_write(v, &dst, &a);
		if (ret == EMUL_STOP)
			return ret;
	} else if (s->compare) {
		flags = v->regs.rflags;
		alu_compute(ALU_CMP, s->size, a, b, &flags);
		v->regs.rflags = flags;
	} else {
		reg_write(&v->regs.gpr[GPR_RAX], a, s->size);
	}
	return finish(v, s, 1, ret);
}

static u64 elements_to_page_end(gva_t gva, u32 size)
{
	return (POPF_PAGE_SIZE - (gva & ~POPF_PAGE_MASK)) / size;
}

/* Elements that one store of a whole piece can do; below 2: do one. */
static u64 piece_elements(struct vcpu *v, const struct string_op *s)
{
	u64 n = areg(v, s, GPR_RCX);

	if (!s->repeat || !s->store || s->step < 0 || s->amask != ~0ull ||
	    (v->regs.rflags & RF_TF) || debug_armed(v))
		return 1;
	n = min(n, elements_to_page_end(s->dst, s->size));
	if (!s->source)
		return n;
	n = min(n, elements_to_page_end(s->src, s->size));
	/* Forward overlap repeats a pattern: element by element. */
	if (s->dst - s->src < n * s->size)
		return 1;
	return n;
}

/* MOVS and STOS inside one page of RAM each. -1: not possible. */
static int whole_piece(struct vcpu *v, const struct string_op *s, u64 n)
{
	u32 user = access_cpl(v), i, len = n * s->size;
	u8 *page = v->emul->page;
	gpa_t src, dst;

	if (s->source) {
		if (access_walk(v, s->src, user, &src))
			return EMUL_FAULT;
		if (lapic_owns(v, src) || gmem_read(v->vm, src, page, len))
			return -1;
	} else {
		for (i = 0; i < n; i++)
			memcpy(page + i * s->size, &v->regs.gpr[GPR_RAX], s->size);
	}
	if (access_walk(v, s->dst, user | PF_ERR_WRITE, &dst))
		return EMUL_FAULT;
	if (lapic_owns(v, dst) || !gmem_is_ram(v->vm, gpa_to_gfn(dst)) ||
	    vcpu_write_gpa(v, dst, page, len))
		return -1;
	return finish(v, s, n, EMUL_DONE);
}

enum emul string_emulate(struct vcpu *v)
{
	struct string_op s;
	u64 n;
	int ret;

	if (!describe(v, &s))
		return emul_unhandled(v, "string");
	if (s.repeat && !areg(v, &s, GPR_RCX)) {
		emul_advance(v);
		return event_step(v, v->emul->flags_before);
	}
	n = piece_elements(v, &s);
	if (n > 1) {
		ret = whole_piece(v, &s, n);
		if (ret >= 0)
			return ret;
	}
	return one_element(v, &s);
}
