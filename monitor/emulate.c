// SPDX-License-Identifier: GPL-2.0-only
/*
 * Emulation of single instructions: decoding, operands, and the three ways in
 * (callouts of translated code, faults of direct execution, memory that cannot be
 * touched natively).
 *
 * Invariant: an instruction either commits completely, RIP included, or leaves the
 * guest's state as it was with an exception queued.
 */
#include "emulate.h"

int vcpu_emul_init(struct vcpu *v)
{
	if (v->emul)
		return 0;
	v->emul = env_zalloc(sizeof(*v->emul));
	if (!v->emul)
		return -ENOMEM;
	v->emul->amd_branches = host_is_amd();
	return 0;
}

void vcpu_emul_fini(struct vcpu *v)
{
	env_free(v->emul);
	v->emul = NULL;
}

struct emulator *emul_get(struct vcpu *v)
{
	if (vcpu_emul_init(v)) {
		vcpu_stop(v, "no memory for the emulator");
		return NULL;
	}
	return v->emul;
}

/* The decoder's settings, as a number that is part of the cache's key. */
static u8 decoder_mode(const struct vcpu *v)
{
	if (vcpu_is_64bit(v))
		return 0;
	return 1 + v->seg[SEG_CS].db * 2 + v->seg[SEG_SS].db;
}

static bool init_decoder(ZydisDecoder *decoder, u8 mode, bool amd_branches)
{
	ZydisMachineMode machine = ZYDIS_MACHINE_MODE_LONG_64;
	ZydisStackWidth width = ZYDIS_STACK_WIDTH_64;

	if (mode) {
		machine = (mode - 1) & 2 ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 :
					   ZYDIS_MACHINE_MODE_LONG_COMPAT_16;
		width = (mode - 1) & 1 ? ZYDIS_STACK_WIDTH_32 :
					 ZYDIS_STACK_WIDTH_16;
	}
	return ZYAN_SUCCESS(ZydisDecoderInit(decoder, machine, width)) &&
	       ZYAN_SUCCESS(ZydisDecoderEnableMode(
		       decoder, ZYDIS_DECODER_MODE_AMD_BRANCHES, amd_branches));
}

bool emul_decode(struct vcpu *v, const u8 *bytes, u32 n)
{
	struct emulator *e = v->emul;
	u64 rip = v->regs.rip;
	struct decoded *d = &e->cache[(rip ^ rip >> 5) % EMUL_CACHE_SIZE];
	u8 mode = decoder_mode(v);
	ZydisDecoder decoder;

	e->d = d;
	if (d->valid && d->mode == mode && d->insn.length <= n &&
	    !memcmp(d->bytes, bytes, d->insn.length))
		return true;
	n = min(n, 15u);
	d->mode = mode;
	memcpy(d->bytes, bytes, n);
	memset(d->bytes + n, 0, sizeof(d->bytes) - n);
	d->valid = init_decoder(&decoder, mode, e->amd_branches) &&
		   ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, d->bytes, n,
						       &d->insn, d->op));
	if (d->valid)
		memset(d->bytes + d->insn.length, 0,
		       sizeof(d->bytes) - d->insn.length);
	return d->valid;
}

int emul_fetch(struct vcpu *v, u8 *bytes)
{
	u64 rip = v->regs.rip;

	if (!vcpu_is_64bit(v))
		rip = (u32)(rip + v->seg[SEG_CS].base);
	return access_fetch(v, rip, bytes);
}

u64 emul_next_rip(const struct vcpu *v)
{
	u64 rip = v->regs.rip + v->emul->d->insn.length;

	return vcpu_is_64bit(v) ? rip : (u32)rip;
}

void emul_advance(struct vcpu *v)
{
	v->regs.rip = emul_next_rip(v);
	v->regs.rflags &= ~RF_RF;
}

/* --- registers and addresses --- */

u64 emul_reg_get(const struct vcpu *v, ZydisRegister r)
{
	const u64 *g = v->regs.gpr;

	if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15)
		return g[r - ZYDIS_REGISTER_RAX];
	if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D)
		return (u32)g[r - ZYDIS_REGISTER_EAX];
	if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W)
		return (u16)g[r - ZYDIS_REGISTER_AX];
	if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BL)
		return (u8)g[r - ZYDIS_REGISTER_AL];
	if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
		return (u8)(g[r - ZYDIS_REGISTER_AH] >> 8);
	if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_R15B)
		return (u8)g[r - ZYDIS_REGISTER_SPL + GPR_RSP];
	return 0;
}

void emul_reg_set(struct vcpu *v, ZydisRegister r, u64 val)
{
	u64 *g = v->regs.gpr;

	if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15) {
		reg_write(&g[r - ZYDIS_REGISTER_RAX], val, 8);
	} else if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D) {
		reg_write(&g[r - ZYDIS_REGISTER_EAX], val, 4);
	} else if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W) {
		reg_write(&g[r - ZYDIS_REGISTER_AX], val, 2);
	} else if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BL) {
		reg_write(&g[r - ZYDIS_REGISTER_AL], val, 1);
	} else if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH) {
		g[r - ZYDIS_REGISTER_AH] =
			(g[r - ZYDIS_REGISTER_AH] & ~0xff00ull) |
			(val & 0xff) << 8;
	} else if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_R15B) {
		reg_write(&g[r - ZYDIS_REGISTER_SPL + GPR_RSP], val, 1);
	}
}

static u64 address_register(const struct vcpu *v, ZydisRegister r)
{
	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
		return emul_next_rip(v);
	return emul_reg_get(v, r);
}

static u64 segment_base(const struct vcpu *v, ZydisRegister r)
{
	enum popf_seg n;

	if (r < ZYDIS_REGISTER_ES || r > ZYDIS_REGISTER_GS)
		return 0;
	n = (enum popf_seg)(r - ZYDIS_REGISTER_ES);
	if (vcpu_is_64bit(v) && n != SEG_FS && n != SEG_GS)
		return 0;
	return v->seg[n].base;
}

gva_t emul_address(const struct vcpu *v, const ZydisDecodedOperand *op)
{
	u64 ea = op->mem.disp.value;

	ea += address_register(v, op->mem.base);
	ea += address_register(v, op->mem.index) * op->mem.scale;
	if (v->emul->d->insn.address_width == 32)
		ea = (u32)ea;
	else if (v->emul->d->insn.address_width == 16)
		ea = (u16)ea;
	ea += segment_base(v, op->mem.segment);
	return vcpu_is_64bit(v) ? ea : (u32)ea;
}

u32 emul_access(const struct vcpu *v, const ZydisDecodedOperand *op)
{
	u32 access = access_cpl(v);

	if (op->mem.segment == ZYDIS_REGISTER_SS)
		access |= ACCESS_STACK;
	return access;
}

static u32 stack_width(const struct vcpu *v)
{
	return vcpu_is_64bit(v) ? 8 : v->seg[SEG_SS].db ? 4 : 2;
}

gva_t emul_stack_gva(const struct vcpu *v, s64 delta)
{
	u32 width = stack_width(v);
	u64 rsp = (v->regs.gpr[GPR_RSP] + delta) & size_mask(width);

	return width == 8 ? rsp : (u32)(rsp + v->seg[SEG_SS].base);
}

void emul_stack_add(struct vcpu *v, s64 delta)
{
	reg_write(&v->regs.gpr[GPR_RSP], v->regs.gpr[GPR_RSP] + delta,
		  stack_width(v));
}

enum emul emul_unhandled(struct vcpu *v, const char *where)
{
	const u8 *b = v->emul->d->bytes;

	return vcpu_stop(v, "%s: instruction not handled: %02x %02x %02x %02x %02x %02x %02x %02x at %llx",
			 where, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
			 (unsigned long long)v->regs.rip);
}

/* --- callouts --- */

static enum emul fast_rdmsr(struct vcpu *v, u64 rip_after)
{
	u64 *g = v->regs.gpr;
	u64 val;

	v->stats.msrs++;
	if (vcpu_get_msr(v, (u32)g[GPR_RCX], &val, false))
		return emul_gp(v, 0);
	g[GPR_RAX] = (u32)val;
	g[GPR_RDX] = val >> 32;
	v->regs.rip = rip_after;
	return EMUL_DONE;
}

static enum emul fast_wrmsr(struct vcpu *v, u64 rip_after)
{
	const u64 *g = v->regs.gpr;

	v->stats.msrs++;
	if (vcpu_set_msr(v, (u32)g[GPR_RCX],
			 (u32)g[GPR_RAX] | g[GPR_RDX] << 32, false))
		return emul_gp(v, 0);
	v->regs.rip = rip_after;
	return EMUL_DONE;
}

/*
 * The frequent ones at CPL 0 in 64-bit code, by their bytes and without a full
 * decode. -1: take the long way.
 */
static int fast_callout(struct vcpu *v, const u8 *insn, u8 len)
{
	u64 next = v->regs.rip + len;

	if (len == 1) {
		switch (insn[0]) {
		case 0xec:
		case 0xee:
			return io_simple(v, insn[0] == 0xec,
					 v->regs.gpr[GPR_RDX], 1, next);
		case 0xed:
		case 0xef:
			return io_simple(v, insn[0] == 0xed,
					 v->regs.gpr[GPR_RDX], 4, next);
		}
		return -1;
	}
	if (len == 2 && insn[0] == 0x48 && insn[1] == 0xcf) {
		v->stats.irets++;
		return vcpu_iret(v, 8);
	}
	if (len == 2 && insn[0] == 0x0f && insn[1] == 0x30)
		return fast_wrmsr(v, next);
	if (len == 2 && insn[0] == 0x0f && insn[1] == 0x32)
		return fast_rdmsr(v, next);
	if (len == 3 && insn[0] == 0x48 && insn[1] == 0x0f && insn[2] == 0x07) {
		v->stats.sysrets++;
		return vcpu_sysret(v, true);
	}
	return -1;
}

enum emul vcpu_emulate_callout(struct vcpu *v, const u8 *insn, u8 len)
{
	int ret;

	if (!emul_get(v))
		return EMUL_STOP;
	v->irq_shadow = false;
	v->debug_hits = 0;
	v->emul->flags_before = v->regs.rflags;
	if (!vcpu_cpl(v) && vcpu_is_64bit(v)) {
		ret = fast_callout(v, insn, len);
		if (ret >= 0)
			return ret;
	}
	if (!emul_decode(v, insn, len))
		return emul_ud(v);
	ret = priv_emulate(v);
	if (ret < 0 &&
	    v->emul->d->insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
		ret = stack_emulate(v);
	/* Repeated ones, single-stepped round by round. */
	if (ret < 0 && v->emul->d->insn.meta.category == ZYDIS_CATEGORY_STRINGOP)
		return string_emulate(v);
	return ret >= 0 ? (enum emul)ret : emul_unhandled(v, "callout");
}

/* --- breakpoints --- */

/* Decode what is at CS:RIP for a look at it: false when that cannot be done. */
static bool peek(struct vcpu *v)
{
	struct vcpu_exception saved = v->exc;
	u8 bytes[15];
	int n;

	if (!emul_get(v))
		return false;
	n = emul_fetch(v, bytes);
	v->exc = saved;
	return n > 0 && emul_decode(v, bytes, n);
}

bool vcpu_insn_end(struct vcpu *v, gva_t gpc, gva_t *end)
{
	u64 rip = v->regs.rip;
	bool ok;

	v->regs.rip = gpc;
	ok = peek(v) &&
	     v->emul->d->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE;
	if (ok)
		*end = emul_next_rip(v);
	v->regs.rip = rip;
	return ok;
}

void vcpu_note_operands(struct vcpu *v)
{
	const ZydisDecodedOperand *op;
	gva_t gva;
	u32 i;

	if (likely(!debug_armed(v)) || !v->stepping)
		return;
	v->debug_hits = 0;
	if (!peek(v))
		return;
	for (i = 0; i < v->emul->d->insn.operand_count; i++) {
		op = &v->emul->d->op[i];
		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY ||
		    op->mem.type != ZYDIS_MEMOP_TYPE_MEM)
			continue;
		gva = emul_address(v, op);
		/* What is pushed goes below the stack pointer. */
		if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
		    op->mem.segment == ZYDIS_REGISTER_SS &&
		    op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
			gva -= op->size / 8;
		debug_access(v, gva, op->size / 8,
			     op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
	}
}

/* --- direct execution --- */

int vcpu_user_flags(struct vcpu *v)
{
	u64 flags = v->regs.rflags;
	int ret;

	if (!peek(v))
		return -1;
	switch (v->emul->d->insn.mnemonic) {
	case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_PUSHFD:
	case ZYDIS_MNEMONIC_PUSHFQ:
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ:
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
		break;
	default:
		return -1;
	}
	v->irq_shadow = false;
	v->debug_hits = 0;
	v->emul->flags_before = flags;
	ret = priv_emulate(v);
	return ret == EMUL_DONE ? event_step(v, flags) : ret;
}

static enum emul same_fault(struct vcpu *v, u8 vector, u32 error)
{
	bool has_error = vector == VEC_DF || (vector >= VEC_TS && vector <= VEC_PF) ||
			 vector == VEC_AC;

	vcpu_queue_exception(v, vector, has_error, error);
	return EMUL_FAULT;
}

enum emul vcpu_user_fault(struct vcpu *v, u8 vector, u32 error)
{
	u64 flags = v->regs.rflags;
	u8 bytes[15];
	int n, ret;

	if (!emul_get(v))
		return EMUL_STOP;
	n = emul_fetch(v, bytes);
	if (n < 0)
		return EMUL_FAULT;
	v->debug_hits = 0;
	v->emul->flags_before = flags;
	if (!emul_decode(v, bytes, n))
		return same_fault(v, vector, error);
	ret = priv_emulate(v);
	if (ret < 0)
		return same_fault(v, vector, error);
	return ret == EMUL_DONE ? event_step(v, flags) : (enum emul)ret;
}
