// SPDX-License-Identifier: GPL-2.0-only
/*
 * Segments: descriptors, loads of segment registers, IRET.
 *
 * Invariant: v->seg[] always describes usable or null segments by the manual's
 * rules for the current mode; checks come before the first change.
 */
#include "monitor.h"

void seg_unpack(struct kvm_segment *s, u16 sel, const u64 desc[2])
{
	u64 d = desc[0];

	memset(s, 0, sizeof(*s));
	s->base = (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000);
	s->limit = (d & 0xffff) | (d >> 32 & 0xf0000);
	s->type = d >> 40 & 0xf;
	s->s = d >> 44 & 1;
	s->dpl = d >> 45 & 3;
	s->present = d >> 47 & 1;
	s->avl = d >> 52 & 1;
	s->l = d >> 53 & 1;
	s->db = d >> 54 & 1;
	s->g = d >> 55 & 1;
	if (s->g)
		s->limit = s->limit << 12 | 0xfff;
	s->selector = sel;
	if (!s->s)
		s->base |= desc[1] << 32;
}

void seg_set_null(struct kvm_segment *s, u16 sel)
{
	memset(s, 0, sizeof(*s));
	s->selector = sel;
	s->unusable = 1;
}

void seg_set_flat_code(struct kvm_segment *s, u16 sel, u8 dpl, bool l)
{
	memset(s, 0, sizeof(*s));
	s->limit = ~0u;
	s->selector = sel;
	s->type = 0xb;
	s->present = 1;
	s->dpl = dpl;
	s->db = !l;
	s->s = 1;
	s->l = l;
	s->g = 1;
}

void seg_set_flat_data(struct kvm_segment *s, u16 sel, u8 dpl)
{
	memset(s, 0, sizeof(*s));
	s->limit = ~0u;
	s->selector = sel;
	s->type = 3;
	s->present = 1;
	s->dpl = dpl;
	s->db = 1;
	s->s = 1;
	s->g = 1;
}

/* Where sel's descriptor is; false when it is beyond the table. */
static bool seg_locate(const struct vcpu *v, u16 sel, u32 size, gva_t *gva)
{
	u64 base = v->gdt.base;
	u32 limit = v->gdt.limit;
	u32 off = sel & ~7u;

	if (sel & 4) {
		if (v->ldt.unusable || !(v->ldt.selector & ~3))
			return false;
		base = v->ldt.base;
		limit = v->ldt.limit;
	}
	if (off + size - 1 > limit)
		return false;
	*gva = base + off;
	return true;
}

int seg_read(struct vcpu *v, u16 sel, u64 desc[2], bool system, u8 vector,
	     u32 ext)
{
	u32 size = system && vcpu_long_mode(v) ? 16 : 8;
	gva_t gva;

	desc[1] = 0;
	if (!seg_locate(v, sel, size, &gva)) {
		vcpu_queue_exception(v, vector, true, (sel & ~3u) | ext);
		return -EFAULT;
	}
	return vcpu_read(v, gva, desc, size, 0);
}

int vcpu_read_descriptor(struct vcpu *v, u16 sel, u64 desc[2], bool system)
{
	return seg_read(v, sel, desc, system, VEC_GP, 0);
}

int seg_mark_accessed(struct vcpu *v, struct kvm_segment *s, u64 desc)
{
	gva_t gva;
	u8 byte;

	if (s->type & 1)
		return 0;
	if (!seg_locate(v, s->selector, 8, &gva))
		return -EFAULT;
	s->type |= 1;
	byte = (desc >> 40 & 0xff) | 1;
	return vcpu_write(v, gva + 5, &byte, 1, 0);
}

static int seg_raise(struct vcpu *v, u8 vector, u16 sel)
{
	vcpu_queue_exception(v, vector, true, sel & ~3u);
	return -EFAULT;
}

/* What a failed access of the monitor means for the instruction. */
static enum emul seg_failed(struct vcpu *v, int ret)
{
	if (ret == -ENXIO)
		return vcpu_stop(v, "descriptor or stack at %llx is not in memory",
				 (unsigned long long)v->regs.rip);
	return EMUL_FAULT;
}

int seg_check_ss(struct vcpu *v, u16 sel, u8 cpl, bool to64, u8 vector,
		 struct kvm_segment *out)
{
	u64 desc[2];
	int ret;

	if (!(sel & ~3)) {
		if (!to64 || cpl == 3 || (sel & 3) != cpl)
			return seg_raise(v, vector, 0);
		seg_set_null(out, sel);
		out->dpl = cpl;
		return 0;
	}
	ret = seg_read(v, sel, desc, false, vector, 0);
	if (ret)
		return ret;
	seg_unpack(out, sel, desc);
	if ((sel & 3) != cpl || !seg_is_writable_data(out) || out->dpl != cpl)
		return seg_raise(v, vector, sel);
	if (!out->present)
		return seg_raise(v, vector == VEC_TS ? VEC_NP : VEC_SS, sel);
	return seg_mark_accessed(v, out, desc[0]);
}

static int check_data_segment(struct vcpu *v, u16 sel, struct kvm_segment *out)
{
	bool code, readable;
	u64 desc[2];
	int ret;

	if (!(sel & ~3)) {
		seg_set_null(out, sel);
		return 0;
	}
	ret = seg_read(v, sel, desc, false, VEC_GP, 0);
	if (ret)
		return ret;
	seg_unpack(out, sel, desc);
	code = out->type & 8;
	readable = !code || (out->type & 2);
	if (!out->s || !readable)
		return seg_raise(v, VEC_GP, sel);
	if (!(code && (out->type & 4)) &&
	    ((sel & 3) > out->dpl || vcpu_cpl(v) > out->dpl))
		return seg_raise(v, VEC_GP, sel);
	if (!out->present)
		return seg_raise(v, VEC_NP, sel);
	return seg_mark_accessed(v, out, desc[0]);
}

enum emul vcpu_load_segment(struct vcpu *v, enum popf_seg seg, u16 sel)
{
	struct kvm_segment s;
	int ret;

	if (seg == SEG_CS || seg >= SEG_COUNT)
		return emul_ud(v);
	if (!(v->cr0 & CR0_PE)) {
		v->seg[seg].selector = sel;
		v->seg[seg].base = sel << 4;
		return EMUL_DONE;
	}
	if (seg == SEG_SS)
		ret = seg_check_ss(v, sel, vcpu_cpl(v), vcpu_is_64bit(v), VEC_GP,
				   &s);
	else
		ret = check_data_segment(v, sel, &s);
	if (ret)
		return seg_failed(v, ret);
	v->seg[seg] = s;
	return EMUL_DONE;
}

enum emul seg_lldt(struct vcpu *v, u16 sel)
{
	struct kvm_segment s;
	u64 desc[2];
	int ret;

	if (!(sel & ~3)) {
		seg_set_null(&v->ldt, sel);
		vcpu_tables_changed(v);
		return EMUL_DONE;
	}
	if (sel & 4)
		return emul_gp(v, sel & ~3u);
	ret = seg_read(v, sel, desc, true, VEC_GP, 0);
	if (ret)
		return seg_failed(v, ret);
	seg_unpack(&s, sel, desc);
	if (s.s || s.type != 2 || !is_canonical(s.base))
		return emul_gp(v, sel & ~3u);
	if (!s.present) {
		seg_raise(v, VEC_NP, sel);
		return EMUL_FAULT;
	}
	v->ldt = s;
	vcpu_tables_changed(v);
	return EMUL_DONE;
}

enum emul seg_ltr(struct vcpu *v, u16 sel)
{
	struct kvm_segment s;
	u64 desc[2];
	gva_t gva;
	u8 byte;
	int ret;

	if (!(sel & ~3))
		return emul_gp(v, 0);
	if (sel & 4)
		return emul_gp(v, sel & ~3u);
	ret = seg_read(v, sel, desc, true, VEC_GP, 0);
	if (ret)
		return seg_failed(v, ret);
	seg_unpack(&s, sel, desc);
	if (s.s || s.type != 9 || !is_canonical(s.base))
		return emul_gp(v, sel & ~3u);
	if (!s.present) {
		seg_raise(v, VEC_NP, sel);
		return EMUL_FAULT;
	}
	byte = (desc[0] >> 40 & 0xff) | 2;
	if (!seg_locate(v, sel, 16, &gva))
		return emul_gp(v, sel & ~3u);
	ret = vcpu_write(v, gva + 5, &byte, 1, 0);
	if (ret)
		return seg_failed(v, ret);
	s.type = 0xb;
	v->tr = s;
	vcpu_tables_changed(v);
	return EMUL_DONE;
}

/*
 * Find a descriptor for LAR and its kin: no fault for a bad selector, but memory
 * faults are (then *fault).
 */
static bool probe_descriptor(struct vcpu *v, u16 sel, struct kvm_segment *s,
			     u64 desc[2], bool *fault)
{
	gva_t gva;

	*fault = false;
	if (!(sel & ~3) || !seg_locate(v, sel, 8, &gva))
		return false;
	desc[1] = 0;
	if (vcpu_read(v, gva, desc, 8, 0)) {
		*fault = true;
		return false;
	}
	seg_unpack(s, sel, desc);
	return true;
}

static bool privilege_ok(const struct vcpu *v, const struct kvm_segment *s)
{
	if (s->s && (s->type & 0xc) == 0xc)
		return true;
	return vcpu_cpl(v) <= s->dpl && (s->selector & 3) <= s->dpl;
}

bool seg_lar(struct vcpu *v, u16 sel, u32 *val, bool *fault)
{
	/* LDT, TSS available and busy, call gate; long mode has only these. */
	const u32 types = 1u << 2 | 1u << 9 | 1u << 0xb | 1u << 0xc;
	const u32 legacy = 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5;
	struct kvm_segment s;
	u64 desc[2];
	u32 ok = vcpu_long_mode(v) ? types : types | legacy;

	if (!probe_descriptor(v, sel, &s, desc, fault))
		return false;
	if ((!s.s && !(ok >> s.type & 1)) || !privilege_ok(v, &s))
		return false;
	*val = desc[0] >> 32 & 0xffff00;
	return true;
}

bool seg_lsl(struct vcpu *v, u16 sel, u32 *val, bool *fault)
{
	const u32 types = 1u << 2 | 1u << 9 | 1u << 0xb;
	const u32 legacy = 1u << 1 | 1u << 3;
	struct kvm_segment s;
	u64 desc[2];
	u32 ok = vcpu_long_mode(v) ? types : types | legacy;

	if (!probe_descriptor(v, sel, &s, desc, fault))
		return false;
	if ((!s.s && !(ok >> s.type & 1)) || !privilege_ok(v, &s))
		return false;
	*val = s.limit;
	return true;
}

bool seg_verify(struct vcpu *v, u16 sel, bool write, bool *fault)
{
	struct kvm_segment s;
	u64 desc[2];

	if (!probe_descriptor(v, sel, &s, desc, fault) || !s.s)
		return false;
	if (write)
		return seg_is_writable_data(&s) && privilege_ok(v, &s);
	return (!(s.type & 8) || (s.type & 2)) && privilege_ok(v, &s);
}
