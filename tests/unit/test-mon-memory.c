// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory emulation against the processor: the same instruction with the same
 * registers runs natively on a copy of the operand, at the same address, and must
 * leave the same registers, flags and bytes.
 */
#include "mon_rig.h"

#define DATA_AT (RIG_DATA + 0x2000) /* where RBX points */

static u64 seed = 88172645463325252ull;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Values with many bits set or clear are more telling than even noise. */
static u64 rnd_value(void)
{
	switch (rnd() % 5) {
	case 0:
		return rnd() & 0xff;
	case 1:
		return ~0ull << (rnd() & 63);
	case 2:
		return ~0ull >> (rnd() & 63);
	default:
		return rnd();
	}
}

struct insn {
	u8 bytes[15];
	u32 len;
};

static void put(struct insn *i, u8 byte)
{
	i->bytes[i->len++] = byte;
}

/* ModRM for (rbx + disp32) with this reg field. */
static void put_rbx_disp(struct insn *i, u8 reg, s32 disp)
{
	put(i, 0x83 | (reg & 7) << 3);
	memcpy(i->bytes + i->len, &disp, 4);
	i->len += 4;
}

static void put_imm(struct insn *i, u32 bytes)
{
	while (bytes--)
		put(i, rnd());
}

/* Prefixes for an operand size of 2, 4 or 8 and a register field. */
static void put_prefixes(struct insn *i, u32 size, u8 reg)
{
	if (size == 2)
		put(i, 0x66);
	if (size == 8 || reg > 7 || rnd() % 4 == 0)
		put(i, 0x40 | (size == 8 ? 8 : 0) | (reg > 7 ? 4 : 0));
}

/* RBX and RSP are the test's own. */
static u8 rnd_reg(void)
{
	u8 r;

	do
		r = rnd() & 15;
	while (r == GPR_RBX || r == GPR_RSP);
	return r;
}

static u32 rnd_size(void)
{
	static const u32 sizes[] = { 2, 4, 8 };

	return sizes[rnd() % 3];
}

/* One instruction of each kind the emulator has a path of its own for. */
static void generate(struct insn *i, u32 kind, s32 disp)
{
	u32 size = rnd_size();
	u8 reg = rnd_reg();
	bool byte = rnd() & 1;

	i->len = 0;
	switch (kind) {
	case 0: /* mov r/m, r and r, r/m */
		put_prefixes(i, size, reg);
		put(i, (rnd() & 1 ? 0x88 : 0x8a) | !byte);
		put_rbx_disp(i, reg, disp);
		break;
	case 1: /* mov r/m, imm */
		put_prefixes(i, size, 0);
		put(i, byte ? 0xc6 : 0xc7);
		put_rbx_disp(i, 0, disp);
		put_imm(i, byte ? 1 : size == 2 ? 2 : 4);
		break;
	case 2: /* movzx, movsx */
		put_prefixes(i, size, reg);
		put(i, 0x0f);
		put(i, (rnd() & 1 ? 0xb6 : 0xbe) | byte);
		put_rbx_disp(i, reg, disp);
		break;
	case 3: /* add..cmp r/m, r and r, r/m */
		put_prefixes(i, size, reg);
		put(i, (rnd() & 7) << 3 | (rnd() & 2) | !byte);
		put_rbx_disp(i, reg, disp);
		break;
	case 4: /* add..cmp r/m, imm */
		put_prefixes(i, size, 0);
		put(i, byte ? 0x80 : 0x83);
		put_rbx_disp(i, rnd(), disp);
		put_imm(i, 1);
		break;
	case 5: /* not, neg */
		put_prefixes(i, size, 0);
		put(i, byte ? 0xf6 : 0xf7);
		put_rbx_disp(i, 2 + (rnd() & 1), disp);
		break;
	case 6: /* inc, dec */
		put_prefixes(i, size, 0);
		put(i, byte ? 0xfe : 0xff);
		put_rbx_disp(i, rnd() & 1, disp);
		break;
	case 7: /* test r/m, r and r/m, imm8 */
		put_prefixes(i, size, reg);
		put(i, byte ? 0x84 : 0x85);
		put_rbx_disp(i, reg, disp);
		break;
	case 8: /* xchg */
		put_prefixes(i, size, reg);
		put(i, byte ? 0x86 : 0x87);
		put_rbx_disp(i, reg, disp);
		break;
	case 9: /* lock xadd */
		put(i, 0xf0);
		put_prefixes(i, size, reg);
		put(i, 0x0f);
		put(i, byte ? 0xc0 : 0xc1);
		put_rbx_disp(i, reg, disp);
		break;
	case 10: /* lock cmpxchg */
		put(i, 0xf0);
		put_prefixes(i, size, reg);
		put(i, 0x0f);
		put(i, byte ? 0xb0 : 0xb1);
		put_rbx_disp(i, reg, disp);
		break;
	case 11: /* bt, bts, btr, btc r/m, imm8 */
		put_prefixes(i, size, 0);
		put(i, 0x0f);
		put(i, 0xba);
		put_rbx_disp(i, 4 + (rnd() & 3), disp);
		put_imm(i, 1);
		break;
	case 12: /* movsxd */
		put_prefixes(i, 8, reg);
		put(i, 0x63);
		put_rbx_disp(i, reg, disp);
		break;
	case 13: /* shifts and rotates by imm: bounce */
		put_prefixes(i, size, 0);
		put(i, byte ? 0xc0 : 0xc1);
		put_rbx_disp(i, rnd(), disp);
		put_imm(i, 1);
		break;
	case 14: /* setcc: bounce */
		put(i, 0x0f);
		put(i, 0x90 | (rnd() & 15));
		put_rbx_disp(i, 0, disp);
		break;
	case 15: /* imul r, r/m: bounce */
		put_prefixes(i, size, reg);
		put(i, 0x0f);
		put(i, 0xaf);
		put_rbx_disp(i, reg, disp);
		break;
	case 16: /* cmovcc: bounce */
		put_prefixes(i, size, reg);
		put(i, 0x0f);
		put(i, 0x40 | (rnd() & 15));
		put_rbx_disp(i, reg, disp);
		break;
	case 17: /* push r/m, pop r/m */
		if (rnd() & 1) {
			put(i, 0xff);
			put_rbx_disp(i, 6, disp);
		} else {
			put(i, 0x8f);
			put_rbx_disp(i, 0, disp);
		}
		break;
	case 18: /* push r, pop r */
		put(i, (rnd() & 1 ? 0x50 : 0x58) | (reg & 7));
		break;
	case 19: /* leave; lodsX; stosX without rep */
		put_prefixes(i, size, 0);
		put(i, rnd() & 1 ? 0xaa | !byte : 0xac | !byte);
		break;
	default: /* cmpxchg8b, cmpxchg16b */
		put_prefixes(i, rnd() & 1 ? 4 : 8, 0);
		put(i, 0x0f);
		put(i, 0xc7);
		put_rbx_disp(i, 1, disp & ~15);
	}
}

#define KINDS 21

static void random_state(struct native *n, s64 operand_off)
{
	u32 i;

	for (i = 0; i < 16; i++)
		n->gpr[i] = rnd_value();
	n->gpr[GPR_RBX] = DATA_AT;
	n->gpr[GPR_RSP] = DATA_AT + 0x800 + (rnd() & 7) * (rnd() & 1);
	n->gpr[GPR_RSI] = DATA_AT + operand_off;
	n->gpr[GPR_RDI] = DATA_AT + operand_off + 32;
	n->flags = (rnd() & (RF_ARITH | RF_DF)) | RF_IF | RF_FIXED;
	for (i = 0; i < RIG_DATA_SIZE; i += 8) {
		u64 val = i < 0x1f00 || i > 0x3100 ? 0 : rnd_value();

		memcpy(native_data + i, &val, 8);
	}
	memcpy(rig_at(RIG_DATA_GPA), native_data, RIG_DATA_SIZE);
}

/* CMPXCHG should sometimes succeed. */
static void favour_equality(struct native *n, s32 disp)
{
	if (rnd() & 1)
		memcpy(&n->gpr[GPR_RAX], (void *)(uintptr_t)(DATA_AT + disp), 8);
	if (rnd() & 1)
		memcpy(&n->gpr[GPR_RDX], (void *)(uintptr_t)(DATA_AT + disp + 8), 8);
}

static void load_guest(const struct native *n)
{
	struct vcpu *v = &rig->v;

	memcpy(v->regs.gpr, n->gpr, sizeof(n->gpr));
	v->regs.rflags = n->flags;
}

/* Undefined after shifts by more than the width, IMUL and BT: not compared. */
static u64 defined_flags(const struct insn *i, u32 kind)
{
	switch (kind) {
	case 11:
		return RF_CF | RF_ZF;
	case 13:
		return 0;
	case 15:
		return RF_CF | RF_OF;
	default:
		return RF_ARITH;
	}
}

static void compare(const struct native *n, const struct insn *i, u32 kind)
{
	struct vcpu *v = &rig->v;
	u64 flags = defined_flags(i, kind) | RF_DF;

	if (memcmp(v->regs.gpr, n->gpr, sizeof(n->gpr)) ||
	    ((v->regs.rflags ^ n->flags) & flags)) {
		u32 k;

		for (k = 0; k < i->len; k++)
			print_error("%02x ", i->bytes[k]);
		for (k = 0; k < 16; k++)
			print_error("\nr%u %llx native %llx", k,
				    (unsigned long long)v->regs.gpr[k],
				    (unsigned long long)n->gpr[k]);
		print_error("\nflags %llx native %llx\n",
			    (unsigned long long)v->regs.rflags,
			    (unsigned long long)n->flags);
		fail();
	}
	assert_int_equal(v->regs.rip, RIG_CODE + i->len);
	assert_false(v->exc.pending);
}

static void emulate_and_compare(u32 kind, s32 disp)
{
	struct native n, before;
	struct insn i;

	generate(&i, kind, disp);
	random_state(&before, disp);
	if (kind == 10 || kind == 20)
		favour_equality(&before, kind == 20 ? disp & ~15 : disp);
	n = before;
	load_guest(&before);
	rig_code(i.bytes, i.len);
	native_run(&n, i.bytes, i.len);
	{
		/* The bounce of the rig uses the native memory: keep the result. */
		static u8 result[RIG_DATA_SIZE];

		memcpy(result, native_data, RIG_DATA_SIZE);
		assert_int_equal(rig_emulate_memory(), EMUL_DONE);
		assert_memory_equal(rig_at(RIG_DATA_GPA), result, RIG_DATA_SIZE);
	}
	compare(&n, &i, kind);
}

static void random_instructions_on_memory(void **state)
{
	u32 round, kind;

	for (round = 0; round < 1500; round++) {
		for (kind = 0; kind < KINDS; kind++)
			emulate_and_compare(kind, (rnd() & 0xf8) - 0x80);
	}
}

static void random_instructions_across_a_page(void **state)
{
	u32 round, kind;

	for (round = 0; round < 300; round++) {
		for (kind = 0; kind < KINDS; kind++)
			emulate_and_compare(kind, 0x1000 - (s32)(rnd() % 9));
	}
}

/* As above, but the operand is MMIO, answered from rig->mmio. */
static void emulate_mmio_and_compare(u32 kind, u32 off)
{
	u64 pte = RIG_MMIO | 0x87;
	struct native n, before;
	struct vcpu *v = &rig->v;
	struct insn i;
	u8 result[64], got[64];

	generate(&i, kind, off);
	random_state(&before, off);
	memcpy(rig->mmio + 0x2000 + off, (void *)(uintptr_t)(DATA_AT + off), 64);
	n = before;
	native_run(&n, i.bytes, i.len);
	memcpy(result, (void *)(uintptr_t)(DATA_AT + off), 64);
	/* From here on the same linear addresses are MMIO. */
	shadow_write(rig->vm.shadow, 0x3000 + (RIG_DATA >> 21) * 8, &pte, 8, NULL);
	load_guest(&before);
	rig_code(i.bytes, i.len);
	assert_int_equal(rig_emulate_memory(), EMUL_DONE);
	memcpy(got, rig->mmio + 0x2000 + off, 64);
	compare(&n, &i, kind);
	assert_memory_equal(result, got, 64);
	assert_null(v->complete);
	pte = RIG_DATA_GPA | 0x87;
	shadow_write(rig->vm.shadow, 0x3000 + (RIG_DATA >> 21) * 8, &pte, 8, NULL);
}

static void random_instructions_on_mmio(void **state)
{
	u32 round, kind;

	for (round = 0; round < 300; round++) {
		for (kind = 0; kind < 17; kind++)
			emulate_mmio_and_compare(kind, 0x100 + (rnd() & 0xf8));
	}
}

static void bit_offset_in_a_register_moves_the_operand(void **state)
{
	struct native n, before;
	u32 round, size;
	struct insn i;
	u64 off;

	for (round = 0; round < 400; round++) {
		size = rnd_size();
		i.len = 0;
		put_prefixes(&i, size, GPR_RAX);
		put(&i, 0x0f);
		put(&i, 0xa3 | (rnd() & 3) << 3);
		put_rbx_disp(&i, GPR_RAX, 0x40);
		random_state(&before, 0);
		off = (rnd() & 0x7ff) - 0x400;
		before.gpr[GPR_RAX] = off;
		n = before;
		native_run(&n, i.bytes, i.len);
		load_guest(&before);
		rig_code(i.bytes, i.len);
		assert_int_equal(rig_emulate_memory(), EMUL_DONE);
		compare(&n, &i, 11);
		assert_memory_equal(rig_at(RIG_DATA_GPA), native_data,
				    RIG_DATA_SIZE);
	}
}

/* REP forms: repeat the emulation until RIP moves. */
static void repeat_and_compare(const char *bytes, u32 len, u64 rcx, u64 rsi,
			       u64 rdi, bool down)
{
	struct vcpu *v = &rig->v;
	struct native n, before;
	struct insn i = { .len = len };
	u32 turns = 0;

	memcpy(i.bytes, bytes, len);
	random_state(&before, 0);
	before.gpr[GPR_RCX] = rcx;
	before.gpr[GPR_RSI] = rsi;
	before.gpr[GPR_RDI] = rdi;
	before.flags &= ~RF_DF;
	if (down)
		before.flags |= RF_DF;
	n = before;
	native_run(&n, i.bytes, i.len);
	load_guest(&before);
	rig_code(i.bytes, i.len);
	do
		assert_int_equal(rig_emulate_memory(), EMUL_DONE);
	while (v->regs.rip == RIG_CODE && ++turns < 10000);
	compare(&n, &i, 0);
	assert_memory_equal(rig_at(RIG_DATA_GPA), native_data, RIG_DATA_SIZE);
}

static void repeated_string_instructions(void **state)
{
	u64 a = DATA_AT - 0x80, b = DATA_AT + 0x1000;

	repeat_and_compare("\xf3\x48\xab", 3, 512, a, DATA_AT, false);
	repeat_and_compare("\xf3\x48\xab", 3, 700, a, DATA_AT + 4, false);
	repeat_and_compare("\xf3\xaa", 2, 5000, a, DATA_AT + 1, false);
	repeat_and_compare("\xf3\x48\xa5", 3, 300, a, b, false);
	repeat_and_compare("\xf3\xa4", 2, 300, a, a + 1, false); /* pattern */
	repeat_and_compare("\xf3\x66\xa5", 3, 100, a, a + 7, false);
	repeat_and_compare("\xf3\xa4", 2, 300, a + 5, a, false);
	repeat_and_compare("\xf3\xa5", 2, 50, DATA_AT, b, true);
	repeat_and_compare("\xf3\xab", 2, 0, a, b, false);
	repeat_and_compare("\xf3\xa6", 2, 60, a, a, false); /* repe cmpsb */
	repeat_and_compare("\xf3\xa6", 2, 60, a, b, false);
	repeat_and_compare("\xf2\xae", 2, 200, a, DATA_AT, false); /* repne scasb */
	repeat_and_compare("\xf3\x48\xad", 3, 7, a, b, false);
	repeat_and_compare("\xa4", 1, 7, a, b, false);
}

static void stores_to_read_only_slots_go_to_userland(void **state)
{
	struct vcpu *v = &rig->v;
	u64 before = *rig_u64(RIG_DATA_GPA + 0x7000);

	rig->readonly_slot = 1;
	v->regs.gpr[GPR_RBX] = RIG_DATA + 0x7000;
	v->regs.gpr[GPR_RAX] = 0x1122334455667788;
	rig_code("\x48\x89\x03", 3);
	assert_int_equal(vcpu_emulate_memory(v), EMUL_USER);
	assert_int_equal(rig->run.exit_reason, KVM_EXIT_MMIO);
	assert_int_equal(rig->run.mmio.phys_addr, RIG_DATA_GPA + 0x7000);
	assert_int_equal(rig->run.mmio.is_write, 1);
	assert_memory_equal(rig->run.mmio.data, &v->regs.gpr[GPR_RAX], 8);
	assert_int_equal(v->complete(v), EMUL_DONE);
	assert_int_equal(v->regs.rip, RIG_CODE + 3);
	assert_int_equal(*rig_u64(RIG_DATA_GPA + 0x7000), before);
}

static void faults_leave_the_state_alone(void **state)
{
	static const char *const insns[] = {
		"\x48\x89\x03\x90", "\x48\x8b\x03\x90", "\xf0\x48\x01\x03",
		"\x48\x87\x03\x90", "\xf3\x48\xab\x90", "\xff\x33\x90\x90",
		"\x0f\x90\x03\x90", "\x8f\x03\x90\x90", "\xc5\xfc\x11\x03",
	};
	struct vcpu *v = &rig->v;
	struct vcpu_regs before;
	u32 i;

	rig_set_pte(0xa0000, 0);
	rig_user(false);
	for (i = 0; i < ARRAY_SIZE(insns); i++) {
		v->regs.gpr[GPR_RBX] = 0xa0010;
		v->regs.gpr[GPR_RDI] = 0xa0010;
		v->regs.gpr[GPR_RCX] = 5;
		rig_code(insns[i], 4);
		before = v->regs;
		assert_int_equal(vcpu_emulate_memory(v), EMUL_FAULT);
		assert_true(v->exc.pending);
		assert_int_equal(v->exc.vector, VEC_PF);
		assert_int_equal(v->exc.cr2, 0xa0010);
		assert_true(v->exc.error & PF_ERR_USER);
		assert_false(v->exc.error & PF_ERR_PRESENT);
		assert_memory_equal(&before, &v->regs, sizeof(before));
		v->exc.pending = false;
	}
}

static void non_canonical_operands_raise_gp_or_ss(void **state)
{
	struct vcpu *v = &rig->v;

	v->regs.gpr[GPR_RBX] = 1ull << 50;
	rig_code("\x48\x8b\x03", 3);
	assert_int_equal(vcpu_emulate_memory(v), EMUL_FAULT);
	assert_int_equal(v->exc.vector, VEC_GP);
	v->exc.pending = false;
	v->regs.gpr[GPR_RSP] = 1ull << 50;
	rig_code("\x50", 1);
	assert_int_equal(vcpu_emulate_memory(v), EMUL_FAULT);
	assert_int_equal(v->exc.vector, VEC_SS);
	v->exc.pending = false;
	v->regs.gpr[GPR_RBP] = 1ull << 50;
	rig_code("\x48\x8b\x45\x00", 4); /* mov 0(%rbp), %rax */
	assert_int_equal(vcpu_emulate_memory(v), EMUL_FAULT);
	assert_int_equal(v->exc.vector, VEC_SS);
}

static void addressing_forms(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;
	u64 val = 0xabcdef;

	memcpy(rig_at(0x80000), &val, 8);
	g[GPR_R12] = 0x70000;
	g[GPR_R13] = 0x4000;
	rig_code("\x4b\x8b\x84\x6c\x00\x80\x00\x00", 8); /* 0x8000(r12,r13,2) */
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(g[GPR_RAX], val);
	g[GPR_RAX] = 0;
	/* RIP-relative: 0x80000 - (RIG_CODE + 7) */
	rig_code("\x48\x8b\x05\xf9\xff\x04\x00", 7);
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(g[GPR_RAX], val);
	g[GPR_RAX] = 0;
	v->seg[SEG_GS].base = 0x7f000;
	g[GPR_RBX] = 0x1000;
	rig_code("\x65\x48\x8b\x03", 4); /* gs:(rbx) */
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(g[GPR_RAX], val);
	g[GPR_RAX] = 0;
	g[GPR_RBX] = 0xffffffff00001000; /* clipped to 32 bits, then the base */
	rig_code("\x65\x67\x48\x8b\x03", 5);
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(g[GPR_RAX], val);
	/* High byte registers. */
	g[GPR_RBX] = 0x80000;
	g[GPR_RAX] = 0x1111;
	rig_code("\x8a\x23", 2); /* mov (%rbx), %ah */
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(g[GPR_RAX], 0xef11);
}

static void compat_mode_addresses_use_segment_bases(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;

	rig_user(true);
	memset(rig_at(0x80000), 0x5a, 8);
	v->seg[SEG_DS].base = 0x10000;
	v->seg[SEG_DS].unusable = 0;
	g[GPR_RBX] = 0xffffffff00070000; /* upper half does not count */
	g[GPR_RAX] = ~0ull;
	rig_code("\x8b\x03", 2);
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(g[GPR_RAX], 0x5a5a5a5a);
	rig_code("\xff\x03", 2); /* incl (%ebx) */
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal((u32)*rig_u64(0x80000), 0x5a5a5a5b);
	rig_code("\x53", 1); /* push %ebx */
	g[GPR_RSP] = 0x70000;
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(g[GPR_RSP], 0x6fffc);
	assert_memory_equal(rig_at(0x6fffc), &g[GPR_RBX], 4);
}

static void calls_and_returns_use_the_stack(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;

	g[GPR_RSP] = 0x80008;
	rig_code("\xe8\x00\x01\x00\x00", 5); /* call +0x100 */
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(v->regs.rip, RIG_CODE + 0x105);
	assert_int_equal(g[GPR_RSP], 0x80000);
	assert_int_equal(*rig_u64(0x80000), RIG_CODE + 5);
	rig_code("\xc2\x10\x00", 3); /* ret 16 */
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(v->regs.rip, RIG_CODE + 5);
	assert_int_equal(g[GPR_RSP], 0x80018);
	*rig_u64(0x80100) = 0xffffffff81234567;
	g[GPR_RBX] = 0x80100;
	rig_code("\xff\x13", 2); /* call *(%rbx) */
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(v->regs.rip, 0xffffffff81234567);
	assert_int_equal(*rig_u64(0x80010), RIG_CODE + 2);
	rig_code("\x9c", 1); /* pushf */
	v->regs.rflags = RF_FIXED | RF_IF | RF_ZF;
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(*rig_u64(0x80008), RF_FIXED | RF_IF | RF_ZF);
}

static void single_step_traps_after_the_instruction(void **state)
{
	struct vcpu *v = &rig->v;

	v->regs.rflags |= RF_TF;
	v->regs.gpr[GPR_RBX] = 0x80000;
	rig_code("\x48\x89\x03", 3);
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_true(v->exc.pending);
	assert_int_equal(v->exc.vector, VEC_DB);
	assert_int_equal(v->exc.dr6, DR6_BS);
	assert_int_equal(v->regs.rip, RIG_CODE + 3);
}

static void page_table_stores_update_the_shadow(void **state)
{
	struct vcpu *v = &rig->v;
	struct shadow_fault f;
	struct shadow_mode m;

	vcpu_shadow_mode(v, &m);
	assert_int_equal(shadow_fault(rig->vm.shadow, &m, SHADOW_KERNEL, 0x90000,
				      PF_ERR_WRITE, &f), SHADOW_PF_FIXED);
	assert_int_equal(shadow_fault(rig->vm.shadow, &m, SHADOW_KERNEL,
				      RIG_PT + 0x90 * 8, PF_ERR_WRITE, &f),
			 SHADOW_PF_TRACE);
	v->regs.gpr[GPR_RBX] = RIG_PT + 0x90 * 8;
	rig_code("\x48\xc7\x03\x00\x00\x00\x00", 7); /* movq $0, (%rbx) */
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(shadow_fault(rig->vm.shadow, &m, SHADOW_KERNEL, 0x90000,
				      PF_ERR_WRITE, &f), SHADOW_PF_GUEST);
	/* lock btsq $0 and back again. */
	rig_code("\xf0\x48\x0f\xba\x2b\x00", 6);
	*rig_u64(RIG_PT + 0x90 * 8) = 0x90006;
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(shadow_fault(rig->vm.shadow, &m, SHADOW_KERNEL, 0x90000,
				      PF_ERR_WRITE, &f), SHADOW_PF_FIXED);
	assert_true(shadow_audit(rig->vm.shadow));
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(random_instructions_on_memory),
		T(random_instructions_across_a_page),
		T(random_instructions_on_mmio),
		T(bit_offset_in_a_register_moves_the_operand),
		T(repeated_string_instructions),
		T(stores_to_read_only_slots_go_to_userland),
		T(faults_leave_the_state_alone),
		T(non_canonical_operands_raise_gp_or_ss),
		T(addressing_forms),
		T(compat_mode_addresses_use_segment_bases),
		T(calls_and_returns_use_the_stack),
		T(single_step_traps_after_the_instruction),
		T(page_table_stores_update_the_shadow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
