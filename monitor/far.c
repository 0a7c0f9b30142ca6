// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control transfers between segments in long mode: IRET, far RET, JMP and CALL,
 * call gates.
 *
 * Invariant: every check, the stack accesses included, comes before the first
 * change of a register.
 */
#include "monitor.h"

/* Linear address of a stack offset: SS has a base only outside 64-bit code. */
static gva_t stack_gva(const struct vcpu *v, u64 rsp)
{
	const struct kvm_segment *ss = &v->seg[SEG_SS];

	if (vcpu_is_64bit(v))
		return rsp;
	rsp = ss->db ? (u32)rsp : (u16)rsp;
	return (u32)(ss->base + rsp);
}

static void stack_set(struct vcpu *v, u64 rsp)
{
	u32 size = vcpu_is_64bit(v) ? 8 : v->seg[SEG_SS].db ? 4 : 2;

	reg_write(&v->regs.gpr[GPR_RSP], rsp, size);
}

static enum emul far_failed(struct vcpu *v, int ret)
{
	if (ret == -ENXIO)
		return vcpu_stop(v, "stack or descriptor of the far transfer at %llx is not in memory",
				 (unsigned long long)v->regs.rip);
	return EMUL_FAULT;
}

static int far_raise(struct vcpu *v, u8 vector, u16 sel)
{
	vcpu_queue_exception(v, vector, true, sel & ~3u);
	return -EFAULT;
}

/* n words of opsize bytes from the stack. */
static int pop_words(struct vcpu *v, u64 rsp, u8 opsize, u64 *out, u32 n)
{
	u8 buf[5 * 8];
	u32 i;
	int ret;

	ret = vcpu_read(v, stack_gva(v, rsp), buf, n * opsize,
			access_cpl(v) | ACCESS_STACK);
	if (ret)
		return ret;
	for (i = 0; i < n; i++) {
		out[i] = 0;
		memcpy(&out[i], buf + i * opsize, opsize);
	}
	return 0;
}

/* CS that a return goes to. */
static int check_return_cs(struct vcpu *v, u16 sel, struct kvm_segment *cs,
			   u64 *raw)
{
	u64 desc[2];
	u8 rpl = sel & 3;
	int ret;

	if (!(sel & ~3))
		return far_raise(v, VEC_GP, 0);
	ret = vcpu_read_descriptor(v, sel, desc, false);
	if (ret)
		return ret;
	seg_unpack(cs, sel, desc);
	*raw = desc[0];
	if (!seg_is_code(cs) || rpl < vcpu_cpl(v))
		return far_raise(v, VEC_GP, sel);
	if (seg_is_conforming(cs) ? cs->dpl > rpl : cs->dpl != rpl)
		return far_raise(v, VEC_GP, sel);
	if (cs->l && cs->db)
		return far_raise(v, VEC_GP, sel);
	if (!cs->present)
		return far_raise(v, VEC_NP, sel);
	return 0;
}

static bool rip_ok(const struct kvm_segment *cs, u64 rip)
{
	return cs->l ? is_canonical(rip) : rip <= cs->limit;
}

/* Data segments that the outer level may not have become null. */
static void drop_segments(struct vcpu *v, u8 cpl)
{
	static const u8 which[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	struct kvm_segment *s;
	u64 base;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(which); i++) {
		s = &v->seg[which[i]];
		if (!(s->selector & ~3) || seg_is_conforming(s) || s->dpl >= cpl)
			continue;
		base = s->base;
		seg_set_null(s, 0);
		if (which[i] == SEG_FS || which[i] == SEG_GS)
			s->base = base;
	}
}

/* The common end of IRET and far RET: everything has been checked. */
static void commit_return(struct vcpu *v, const struct kvm_segment *cs, u64 rip,
			  const struct kvm_segment *ss, u64 rsp, u8 opsize)
{
	u8 old_cpl = vcpu_cpl(v);
	u8 cpl = cs->selector & 3;

	v->seg[SEG_CS] = *cs;
	v->regs.rip = rip;
	if (ss) {
		v->seg[SEG_SS] = *ss;
		v->seg[SEG_SS].dpl = cpl;
		if (cs->l)
			v->regs.gpr[GPR_RSP] = rsp;
		else
			stack_set(v, rsp);
	}
	if (cpl > old_cpl)
		drop_segments(v, cpl);
}

static u64 iret_flags(const struct vcpu *v, u64 image, u8 opsize)
{
	u64 mask = RF_ARITH | RF_TF | RF_DF | RF_NT;

	if (opsize > 2)
		mask |= RF_RF | RF_AC | RF_ID;
	if (vcpu_cpl(v) <= (v->regs.rflags & RF_IOPL) >> 12)
		mask |= RF_IF;
	if (vcpu_cpl(v) == 0) {
		mask |= RF_IOPL;
		if (opsize > 2)
			mask |= RF_VIF | RF_VIP;
	}
	return (v->regs.rflags & ~(mask | RF_VM)) | (image & mask) | RF_FIXED;
}

enum emul vcpu_iret(struct vcpu *v, u8 opsize)
{
	u64 rsp = v->regs.gpr[GPR_RSP];
	bool from64 = vcpu_is_64bit(v);
	struct kvm_segment cs, ss;
	u64 raw, flags, w[5];
	bool five;
	int ret;

	if (!vcpu_long_mode(v))
		return vcpu_stop(v, "IRET outside long mode is not supported yet");
	/* An IRET ends the masking of NMIs even if it faults. */
	v->nmi_masked = false;
	if (v->regs.rflags & RF_NT)
		return emul_gp(v, 0);
	ret = pop_words(v, rsp, opsize, w, from64 ? 5 : 3);
	if (!ret)
		ret = check_return_cs(v, w[1], &cs, &raw);
	if (ret)
		return far_failed(v, ret);
	five = from64 || (w[1] & 3) > vcpu_cpl(v);
	if (five && !from64) {
		ret = pop_words(v, rsp, opsize, w, 5);
		if (ret)
			return far_failed(v, ret);
	}
	if (five) {
		ret = seg_check_ss(v, w[4], w[1] & 3, cs.l, VEC_GP, &ss);
		if (ret)
			return far_failed(v, ret);
	}
	if (!rip_ok(&cs, w[0]))
		return emul_gp(v, 0);
	ret = seg_mark_accessed(v, &cs, raw);
	if (ret)
		return far_failed(v, ret);
	flags = iret_flags(v, w[2], opsize);
	if (!five)
		stack_set(v, rsp + 3 * opsize);
	commit_return(v, &cs, w[0], five ? &ss : NULL, w[3], opsize);
	v->regs.rflags = flags;
	return EMUL_DONE;
}

enum emul far_return(struct vcpu *v, u8 opsize, u16 pop_bytes)
{
	u64 rsp = v->regs.gpr[GPR_RSP];
	struct kvm_segment cs, ss;
	u64 raw, w[2], outer[2];
	bool out;
	int ret;

	if (!vcpu_long_mode(v))
		return vcpu_stop(v, "far RET outside long mode is not supported yet");
	ret = pop_words(v, rsp, opsize, w, 2);
	if (!ret)
		ret = check_return_cs(v, w[1], &cs, &raw);
	if (ret)
		return far_failed(v, ret);
	out = (w[1] & 3) > vcpu_cpl(v);
	if (out) {
		ret = pop_words(v, rsp + 2 * opsize + pop_bytes, opsize, outer, 2);
		if (!ret)
			ret = seg_check_ss(v, outer[1], w[1] & 3, cs.l, VEC_GP,
					   &ss);
		if (ret)
			return far_failed(v, ret);
	}
	if (!rip_ok(&cs, w[0]))
		return emul_gp(v, 0);
	ret = seg_mark_accessed(v, &cs, raw);
	if (ret)
		return far_failed(v, ret);
	if (!out)
		stack_set(v, rsp + 2 * opsize + pop_bytes);
	commit_return(v, &cs, w[0], out ? &ss : NULL,
		      out ? outer[0] + pop_bytes : 0, opsize);
	return EMUL_DONE;
}

/* Code segment that a far JMP or CALL may go to without a gate. */
static int check_direct_cs(struct vcpu *v, u16 sel, struct kvm_segment *cs)
{
	u8 cpl = vcpu_cpl(v);

	if (cs->l && cs->db)
		return far_raise(v, VEC_GP, sel);
	if (seg_is_conforming(cs) ? cs->dpl > cpl :
				    (sel & 3) > cpl || cs->dpl != cpl)
		return far_raise(v, VEC_GP, sel);
	if (!cs->present)
		return far_raise(v, VEC_NP, sel);
	cs->selector = (sel & ~3) | cpl;
	return 0;
}

/* A call gate: where it leads, with checks of the gate and its code segment. */
static int read_call_gate(struct vcpu *v, u16 sel, bool call,
			  struct kvm_segment *cs, u64 *raw, u64 *rip)
{
	u64 desc[2], code[2];
	u16 target;
	u8 dpl;
	int ret;

	ret = vcpu_read_descriptor(v, sel, desc, true);
	if (ret)
		return ret;
	dpl = desc[0] >> 45 & 3;
	if ((desc[0] >> 40 & 0x1f) != 0xc || (desc[1] >> 40 & 0x1f))
		return far_raise(v, VEC_GP, sel);
	if (dpl < vcpu_cpl(v) || dpl < (sel & 3))
		return far_raise(v, VEC_GP, sel);
	if (!(desc[0] >> 47 & 1))
		return far_raise(v, VEC_NP, sel);
	target = desc[0] >> 16;
	*rip = (desc[0] & 0xffff) | (desc[0] >> 32 & 0xffff0000) | desc[1] << 32;
	if (!(target & ~3))
		return far_raise(v, VEC_GP, 0);
	ret = vcpu_read_descriptor(v, target, code, false);
	if (ret)
		return ret;
	seg_unpack(cs, target, code);
	*raw = code[0];
	if (!seg_is_code(cs) || cs->dpl > vcpu_cpl(v) || !cs->l || cs->db)
		return far_raise(v, VEC_GP, target);
	if (!call && !seg_is_conforming(cs) && cs->dpl != vcpu_cpl(v))
		return far_raise(v, VEC_GP, target);
	if (!cs->present)
		return far_raise(v, VEC_NP, target);
	if (!is_canonical(*rip))
		return far_raise(v, VEC_GP, 0);
	cs->selector = (target & ~3) |
		       (seg_is_conforming(cs) ? vcpu_cpl(v) : cs->dpl);
	return 0;
}

/*
 * The target of a far JMP or CALL, gate or not: *gate tells. 0 or -EFAULT/-ENXIO.
 */
static int find_target(struct vcpu *v, u16 sel, u64 off, bool call,
		       struct kvm_segment *cs, u64 *rip, bool *gate)
{
	u64 desc[2], raw;
	int ret;

	if (!(sel & ~3))
		return far_raise(v, VEC_GP, 0);
	ret = vcpu_read_descriptor(v, sel, desc, false);
	if (ret)
		return ret;
	seg_unpack(cs, sel, desc);
	raw = desc[0];
	*gate = !cs->s;
	*rip = off;
	if (*gate) {
		ret = read_call_gate(v, sel, call, cs, &raw, rip);
	} else {
		if (!seg_is_code(cs))
			return far_raise(v, VEC_GP, sel);
		ret = check_direct_cs(v, sel, cs);
		if (!ret && !rip_ok(cs, *rip))
			ret = far_raise(v, VEC_GP, 0);
	}
	return ret ? ret : seg_mark_accessed(v, cs, raw);
}

enum emul far_jump(struct vcpu *v, u16 sel, u64 off)
{
	struct kvm_segment cs;
	bool gate;
	u64 rip;
	int ret;

	if (!vcpu_long_mode(v))
		return vcpu_stop(v, "far JMP outside long mode is not supported yet");
	ret = find_target(v, sel, off, false, &cs, &rip, &gate);
	if (ret)
		return far_failed(v, ret);
	v->seg[SEG_CS] = cs;
	v->regs.rip = rip;
	return EMUL_DONE;
}

/* Through a call gate to a more privileged segment: its stack, from the TSS. */
static enum emul call_inner(struct vcpu *v, const struct kvm_segment *cs, u64 rip,
			    u64 rip_after)
{
	u8 cpl = cs->selector & 3;
	u64 rsp, frame[4];
	u32 off = 4 + cpl * 8;
	int ret;

	if (off + 7 > v->tr.limit) {
		vcpu_queue_exception(v, VEC_TS, true, v->tr.selector & ~3u);
		return EMUL_FAULT;
	}
	ret = vcpu_read(v, v->tr.base + off, &rsp, 8, 0);
	if (ret)
		return far_failed(v, ret);
	if (!is_canonical(rsp)) {
		vcpu_queue_exception(v, VEC_SS, true, 0);
		return EMUL_FAULT;
	}
	frame[0] = rip_after;
	frame[1] = v->seg[SEG_CS].selector;
	frame[2] = v->regs.gpr[GPR_RSP];
	frame[3] = v->seg[SEG_SS].selector;
	rsp -= sizeof(frame);
	ret = vcpu_write(v, rsp, frame, sizeof(frame),
			 ACCESS_STACK | (cpl == 3 ? PF_ERR_USER : 0));
	if (ret)
		return far_failed(v, ret);
	v->seg[SEG_CS] = *cs;
	seg_set_null(&v->seg[SEG_SS], cpl);
	v->seg[SEG_SS].dpl = cpl;
	v->regs.gpr[GPR_RSP] = rsp;
	v->regs.rip = rip;
	return EMUL_DONE;
}

enum emul far_call(struct vcpu *v, u16 sel, u64 off, u64 rip_after, u8 opsize)
{
	u64 rsp = v->regs.gpr[GPR_RSP];
	struct kvm_segment cs;
	u8 buf[16];
	u64 rip, w;
	bool gate;
	int ret;

	if (!vcpu_long_mode(v))
		return vcpu_stop(v, "far CALL outside long mode is not supported yet");
	ret = find_target(v, sel, off, true, &cs, &rip, &gate);
	if (ret)
		return far_failed(v, ret);
	if (gate && (cs.selector & 3) < vcpu_cpl(v))
		return call_inner(v, &cs, rip, rip_after);
	if (gate)
		opsize = 8;
	w = v->seg[SEG_CS].selector;
	memcpy(buf, &rip_after, opsize);
	memcpy(buf + opsize, &w, opsize);
	rsp -= 2 * opsize;
	ret = vcpu_write(v, stack_gva(v, rsp), buf, 2 * opsize,
			 access_cpl(v) | ACCESS_STACK);
	if (ret)
		return far_failed(v, ret);
	stack_set(v, rsp);
	v->seg[SEG_CS] = cs;
	v->regs.rip = rip;
	return EMUL_DONE;
}
