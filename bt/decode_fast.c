// SPDX-License-Identifier: GPL-2.0-only
/*
 * A decoder for what most of a kernel's code consists of: one-byte opcodes and
 * the common 0F ones with at most an operand-size prefix, segment overrides and a
 * REX. All it finds out is the class, the length and where the parts are; whatever
 * it does not know, or finds odd, it leaves to Zydis, which costs twenty times as
 * much.
 *
 * tests/unit/test_bt_decode.c compares the two over all prefixes it takes, all
 * opcodes and all ModRM bytes.
 */
#include "bt.h"

/* What follows the opcode. */
#define F_MODRM 0x01u
#define F_IMM8 0x02u
#define F_IMMZ 0x04u /* 4 bytes, 2 with operand-size prefix */
#define F_GROUP 0x08u /* ModRM.reg decides: see group() */
#define F_NO66 0x10u /* not with an operand-size prefix */
#define F_KNOWN 0x80u

#define COPY (F_KNOWN)
#define COPY_M (F_KNOWN | F_MODRM)

static const u8 one_byte[256] = {
	[0x00 ... 0x03] = COPY_M,
	[0x04] = COPY | F_IMM8,
	[0x05] = COPY | F_IMMZ,
	[0x08 ... 0x0b] = COPY_M,
	[0x0c] = COPY | F_IMM8,
	[0x0d] = COPY | F_IMMZ,
	[0x10 ... 0x13] = COPY_M,
	[0x14] = COPY | F_IMM8,
	[0x15] = COPY | F_IMMZ,
	[0x18 ... 0x1b] = COPY_M,
	[0x1c] = COPY | F_IMM8,
	[0x1d] = COPY | F_IMMZ,
	[0x20 ... 0x23] = COPY_M,
	[0x24] = COPY | F_IMM8,
	[0x25] = COPY | F_IMMZ,
	[0x28 ... 0x2b] = COPY_M,
	[0x2c] = COPY | F_IMM8,
	[0x2d] = COPY | F_IMMZ,
	[0x30 ... 0x33] = COPY_M,
	[0x34] = COPY | F_IMM8,
	[0x35] = COPY | F_IMMZ,
	[0x38 ... 0x3b] = COPY_M,
	[0x3c] = COPY | F_IMM8,
	[0x3d] = COPY | F_IMMZ,
	[0x50 ... 0x5f] = COPY,
	[0x63] = COPY_M,
	[0x68] = COPY | F_IMMZ,
	[0x69] = COPY_M | F_IMMZ,
	[0x6a] = COPY | F_IMM8,
	[0x6b] = COPY_M | F_IMM8,
	[0x70 ... 0x7f] = F_KNOWN | F_IMM8 | F_NO66,
	[0x80] = COPY_M | F_IMM8,
	[0x81] = COPY_M | F_IMMZ,
	[0x83] = COPY_M | F_IMM8,
	[0x84 ... 0x8b] = COPY_M,
	[0x8d] = COPY_M | F_GROUP,
	[0x90 ... 0x97] = COPY,
	[0x98 ... 0x99] = COPY,
	[0x9c ... 0x9d] = F_KNOWN | F_NO66,
	[0xa8] = COPY | F_IMM8,
	[0xa9] = COPY | F_IMMZ,
	[0xaa ... 0xab] = COPY,
	[0xb0 ... 0xb7] = COPY | F_IMM8,
	[0xb8 ... 0xbf] = COPY | F_IMMZ, /* 8 bytes with REX.W */
	[0xc0 ... 0xc1] = COPY_M | F_GROUP | F_IMM8,
	[0xc3] = F_KNOWN | F_NO66,
	[0xc6] = COPY_M | F_GROUP | F_IMM8,
	[0xc7] = COPY_M | F_GROUP | F_IMMZ,
	[0xc9] = COPY | F_NO66,
	[0xd0 ... 0xd3] = COPY_M | F_GROUP,
	[0xe8 ... 0xe9] = F_KNOWN | F_IMMZ | F_NO66,
	[0xeb] = F_KNOWN | F_IMM8 | F_NO66,
	[0xf6] = COPY_M | F_GROUP,
	[0xf7] = COPY_M | F_GROUP,
	[0xfa ... 0xfb] = F_KNOWN,
	[0xfe ... 0xff] = COPY_M | F_GROUP,
};

static const u8 two_byte[256] = {
	[0x0b] = F_KNOWN,
	[0x1f] = COPY_M | F_GROUP,
	[0x40 ... 0x4f] = COPY_M,
	[0x80 ... 0x8f] = F_KNOWN | F_IMMZ | F_NO66,
	[0x90 ... 0x9f] = COPY_M,
	[0xa3] = COPY_M,
	[0xab] = COPY_M,
	[0xaf] = COPY_M,
	[0xb0 ... 0xb1] = COPY_M,
	[0xb3] = COPY_M,
	[0xb6 ... 0xb7] = COPY_M,
	[0xba] = COPY_M | F_GROUP | F_IMM8,
	[0xbb ... 0xbd] = COPY_M,
	[0xbe ... 0xbf] = COPY_M,
	[0xc0 ... 0xc1] = COPY_M,
	[0xc8 ... 0xcf] = COPY | F_NO66,
};

/* Classes of the one-byte opcodes. */
static const u8 one_byte_class[256] = {
	[0x00 ... 0x6f] = CLS_COPY,
	[0x70 ... 0x7f] = CLS_JCC,
	[0x80 ... 0x8c] = CLS_COPY,
	[0x8d] = CLS_LEA,
	[0x8e ... 0x9b] = CLS_COPY,
	[0x9c] = CLS_PUSHF,
	[0x9d] = CLS_POPF,
	[0x9e ... 0xc2] = CLS_COPY,
	[0xc3] = CLS_RET,
	[0xc4 ... 0xe7] = CLS_COPY,
	[0xe8] = CLS_CALL,
	[0xe9] = CLS_JMP,
	[0xea] = CLS_COPY,
	[0xeb] = CLS_JMP,
	[0xec ... 0xf9] = CLS_COPY,
	[0xfa] = CLS_CLI,
	[0xfb] = CLS_STI,
	[0xfc ... 0xff] = CLS_COPY,
};

/* Opcodes whose ModRM says more; *f gets the immediate's flags. CLS_NONE: odd. */
static u8 group(u8 map, u8 op, u8 modrm, u8 *f)
{
	u8 reg = modrm >> 3 & 7;

	if (map)
		switch (op) {
		case 0x1f:
			return reg == 0 ? CLS_VERBATIM : CLS_NONE;
		case 0xba:
			return reg >= 4 ? CLS_COPY : CLS_NONE;
		default:
			return CLS_NONE;
		}
	switch (op) {
	case 0x8d:
		return modrm >= 0xc0 ? CLS_NONE : CLS_LEA;
	case 0xc0:
	case 0xc1:
	case 0xd0 ... 0xd3:
		return reg == 6 ? CLS_NONE : CLS_COPY;
	case 0xc6:
	case 0xc7:
		return reg == 0 ? CLS_COPY : CLS_NONE;
	case 0xf6:
	case 0xf7:
		if (reg == 0)
			*f |= op == 0xf6 ? F_IMM8 : F_IMMZ;
		return reg == 1 ? CLS_NONE : CLS_COPY;
	case 0xfe:
		return reg <= 1 ? CLS_COPY : CLS_NONE;
	case 0xff:
		if (reg == 2)
			return CLS_CALL;
		if (reg == 4)
			return CLS_JMP;
		return reg <= 1 || reg == 6 ? CLS_COPY : CLS_NONE;
	default:
		return CLS_NONE;
	}
}

/* Bytes of SIB and displacement behind a memory ModRM at p. */
static u32 modrm_tail(const u8 *p, bool *rip_rel)
{
	u8 mod = p[0] >> 6, rm = p[0] & 7;
	u32 n = 0;

	if (mod == 3)
		return 0;
	if (rm == 4) {
		n = 1;
		if (mod == 0 && (p[1] & 7) == 5)
			n += 4;
	} else if (mod == 0 && rm == 5) {
		*rip_rel = true;
		n = 4;
	}
	if (mod == 1)
		n += 1;
	else if (mod == 2)
		n += 4;
	return n;
}

static s32 read_rel(const u8 *p, u32 size)
{
	s32 v;

	if (size == 1)
		return (s8)*p;
	memcpy(&v, p, 4);
	return v;
}

struct prefixes {
	u8 n;
	u8 rex;
	u8 seg;
	bool opsize;
};

/* True: only prefixes that are understood, p[n] is the opcode. */
static bool take_prefixes(const u8 *p, struct prefixes *x)
{
	for (; x->n < 5; x->n++) {
		u8 b = p[x->n];

		switch (b) {
		case 0x66:
			x->opsize = true;
			continue;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			/* Which override wins is for others to know. */
			if (x->seg)
				return false;
			continue;
		case 0x64:
		case 0x65:
			if (x->seg)
				return false;
			x->seg = b;
			continue;
		case 0x40 ... 0x4f:
			x->rex = b;
			x->n++;
			return true;
		default:
			return true;
		}
	}
	return false;
}

/* Whole instructions that are common and fit no pattern. */
static bool decode_special(struct bt_insn *in, const u8 *p)
{
	static const u8 endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	u8 len = 0, opcode = 0;

	if (p[0] != 0xf3)
		return false;
	if (!memcmp(p, endbr64, 4)) {
		len = 4;
		opcode = 0x1e;
	} else if (p[1] == 0x90) {
		len = 2; /* PAUSE */
		opcode = 0x90;
	}
	if (!len)
		return false;
	in->len = len;
	in->cls = CLS_COPY;
	in->opcode = opcode;
	in->rex = in->seg = 0;
	in->asize = in->rip_rel = in->full = false;
	in->rel = 0;
	return true;
}

/*
 * LOCK in front of what may have it: read-modify-write instructions with a memory
 * operand. p is behind the prefix; true: rex and opcode allow it.
 */
static bool lockable(const u8 *p)
{
	u8 op, reg;

	if ((*p & 0xf0) == 0x40)
		p++;
	op = *p++;
	if (op == 0x0f) {
		op = *p++;
		reg = *p >> 3 & 7;
		if (*p >= 0xc0)
			return false;
		return op == 0xab || op == 0xb3 || op == 0xbb || op == 0xb0 ||
		       op == 0xb1 || op == 0xc0 || op == 0xc1 ||
		       (op == 0xba && reg >= 5);
	}
	reg = *p >> 3 & 7;
	if (*p >= 0xc0)
		return false;
	if (op < 0x38)
		return (op & 7) < 2;
	return ((op == 0x80 || op == 0x81 || op == 0x83) && reg != 7) ||
	       ((op == 0xfe || op == 0xff) && reg <= 1) ||
	       ((op == 0xf6 || op == 0xf7) && (reg == 2 || reg == 3));
}

/*
 * Decode what is at p, with at least BT_INSN_MAX bytes at hand, into *in (but not
 * its gpc and bytes). False: not one of ours.
 */
bool decode_fast(struct bt_insn *in, const u8 *p)
{
	struct prefixes x = { 0 };
	u32 n, imm = 0;
	u8 f, op, map = 0, cls = CLS_COPY;

	/* Most have a REX or nothing at all in front. */
	if ((p[0] & 0xf0) == 0x40) {
		x.rex = p[0];
		x.n = 1;
	} else if (!one_byte[p[0]] && p[0] != 0x0f) {
		if (p[0] == 0xf3)
			return decode_special(in, p);
		x.n = p[0] == 0xf0;
		if (x.n && !lockable(p + 1))
			return false;
		if (!take_prefixes(p, &x))
			return false;
	}
	n = x.n;
	op = p[n++];
	f = one_byte[op];
	if (op == 0x0f) {
		map = 1;
		op = p[n++];
		f = two_byte[op];
	}
	if (!(f & F_KNOWN) || (f & F_NO66 && x.opsize))
		return false;
	if (!map)
		cls = one_byte_class[op];
	else if ((op & 0xf0) == 0x80)
		cls = CLS_JCC;
	else if (op == 0x0b)
		cls = CLS_UD;
	in->rip_rel = false;
	in->modrm_off = (u8)n;
	if (f & F_MODRM) {
		if (f & F_GROUP) {
			cls = group(map, op, p[n], &f);
			if (cls == CLS_NONE || (cls != CLS_COPY && x.opsize &&
						op == 0xff))
				return false;
		}
		in->disp_off = (u8)(n + 1);
		n += 1 + modrm_tail(p + n, &in->rip_rel);
	}
	if (f & F_IMM8)
		imm = 1;
	else if (f & F_IMMZ)
		imm = x.opsize ? 2 : 4;
	if (!map && (op & 0xf8) == 0xb8 && x.rex & 8)
		imm = 8;
	if (n + imm > BT_INSN_MAX)
		return false;
	/* 66 with REX.W: REX.W wins, and the immediate is 4 bytes again. */
	if (x.opsize && x.rex & 8 && f & F_IMMZ)
		return false;
	in->rel = 0;
	if (cls >= CLS_JMP && cls <= CLS_RET && imm)
		in->rel = read_rel(p + n, imm);
	in->len = (u8)(n + imm);
	in->cls = cls;
	in->opcode = op;
	in->rex = x.rex;
	in->seg = x.seg;
	in->asize = false;
	in->full = false;
	return true;
}
