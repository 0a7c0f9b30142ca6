// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bounced on a copy of its memory operand, an instruction does what it does
 * natively on the operand itself: registers, flags, vector state and the operand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bt/bt.h"
#include "tests/diff/bt_gen.h"
#include "tests/diff/bt_rig.h"

static struct rig rig;

static u8 *at(u64 va)
{
	return (u8 *)va;
}

static int plan(struct bt_bounce *b, const u8 *bytes, u32 n)
{
	memset(b, 0, sizeof(*b));
	b->insn = bytes;
	b->insn_avail = (u8)n;
	b->gpc = RIG_NEAR;
	return bt_bounce_plan(b);
}

/* The operand's address, as the monitor works it out. */
static u64 operand(const struct bt_bounce *b, const struct rig_state *st)
{
	u64 ea = (u64)b->disp;

	if (b->base == 16)
		ea += b->gpc + b->insn_len;
	else if (b->base >= 0)
		ea += st->gpr[b->base];
	if (b->index >= 0)
		ea += st->gpr[b->index] * b->scale;
	if (b->addr32)
		ea = (u32)ea;
	if (b->seg == SEG_GS)
		ea += rig.code + RIG_DATA_OFF;
	return ea;
}

static void bounce(const struct bt_bounce *b, const struct rig_state *st,
		   u64 ea, struct rig_result *out)
{
	u8 *copy = (u8 *)RIG_WINDOW + WINDOW_BOUNCE_DATA_OFF + 64;
	struct bt_exit x;
	struct rig_state in = *st;
	tpc_t tpc;

	assert_int_equal(bt_bounce_emit(rig.bt, b, WINDOW_BOUNCE_DATA_OFF + 64,
					&tpc),
			 0);
	memset(copy - 64, 0xee, 1024);
	if (b->read)
		memcpy(copy, at(ea), b->size);
	in.rip = tpc;
	rig_raw(&in, false, out);
	if (out->stop == RIG_END) {
		bt_exit_at(rig.bt, out->st.rip - 1, &x);
		assert_int_equal(x.kind, BT_EXIT_BOUNCE);
		out->st.rip = b->gpc + b->insn_len;
	} else {
		assert_int_equal(out->st.rip, tpc);
		out->st.rip = b->gpc;
	}
	if (b->write && out->stop == RIG_END)
		memcpy(at(ea), copy, b->size);
}

static void random_bytes(struct gen *g, void *to, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++)
		((u8 *)to)[i] = (u8)gen_random(g);
}

static u8 data[RIG_DATA_SIZE], native_data[RIG_DATA_SIZE];

/* Registers such that the operand lies in the data region; false: cannot. */
static bool aim(struct gen *g, const struct bt_bounce *b, struct rig_state *st)
{
	u64 want = rig.code + RIG_DATA_OFF + 0x800 +
		   64 * (u64)gen_below(g, 32);
	u64 ea;

	if (b->seg == SEG_FS)
		return false;
	ea = operand(b, st);
	if (b->base >= 0 && b->base != 4 && b->base < 16 &&
	    b->base != b->index) {
		st->gpr[b->base] += want - ea;
		ea = operand(b, st);
	}
	return ea >= rig.code + RIG_DATA_OFF + 64 &&
	       ea + b->size < rig.code + RIG_DATA_OFF + RIG_DATA_SIZE - 64;
}

/* -1: no bounce, 0: different, 1: same */
static int one(u64 seed)
{
	u64 region = RIG_NEAR + RIG_DATA_OFF, ea;
	struct rig_result n, t;
	struct rig_state st;
	struct bt_bounce b;
	struct gen g;
	u8 code[32], copy[64];
	u32 len, i;

	gen_init(&g, seed, RIG_NEAR, region, at(RIG_NEAR), 0x1000);
	len = gen_copied(&g, code);
	if (plan(&b, code, len))
		return -1;
	memset(&st, 0, sizeof(st));
	for (i = 0; i < 16; i++)
		st.gpr[i] = gen_random(&g) & (gen_below(&g, 2) ? ~0ull : 0xff);
	st.gpr[4] = RIG_STACK + 0x1000;
	st.rip = RIG_NEAR;
	st.fp[0] = 0x7f;
	st.fp[1] = 0x03;
	st.fp[24] = 0x80;
	st.fp[25] = 0x1f;
	random_bytes(&g, st.fp + RIG_FP_XMM, 256);
	if (b.base == 16) {
		i = (u32)(region + 0x840 - (RIG_NEAR + len));
		memcpy(code + g.zi.raw.disp.offset, &i, 4);
		assert_int_equal(plan(&b, code, len), 0);
	}
	if (b.bit_string || !aim(&g, &b, &st))
		return -1;
	ea = operand(&b, &st);
	random_bytes(&g, data, sizeof(data));
	memset(at(RIG_NEAR), 0xcc, 64);
	memcpy(at(RIG_NEAR), code, len);
	memcpy(at(region), data, sizeof(data));
	rig_native(&rig, &st, false, &n);
	memcpy(native_data, at(region), sizeof(data));
	memcpy(at(region), data, sizeof(data));
	memcpy(copy, code, sizeof(code));
	bounce(&b, &st, ea, &t);
	if (n.stop == t.stop && n.st.rip == t.st.rip &&
	    n.st.rflags == t.st.rflags &&
	    !memcmp(n.st.gpr, t.st.gpr, sizeof(n.st.gpr)) &&
	    !memcmp(n.st.fp + RIG_FP_XMM, t.st.fp + RIG_FP_XMM, 256) &&
	    !memcmp(native_data, at(region), sizeof(data)))
		return 1;
	/* Misaligned natively, aligned in the copy. */
	if (n.stop == RIG_FAULT && n.vector == 13 && t.stop == RIG_END)
		return -1;
	printf("seed %llu: %s stop %d/%d rip %llx/%llx flags %llx/%llx ea %llx size %u "
	       "vector %u/%u\n",
	       (unsigned long long)seed, ZydisMnemonicGetString(g.zi.mnemonic),
	       n.stop, t.stop, (unsigned long long)n.st.rip,
	       (unsigned long long)t.st.rip, (unsigned long long)n.st.rflags,
	       (unsigned long long)t.st.rflags, (unsigned long long)ea, b.size,
	       n.vector, t.vector);
	return 0;
}

static void test_random_instructions_bounce_as_they_run(void **state)
{
	const char *s = getenv("POPF_DIFF_RUNS");
	u32 runs = s ? (u32)atoi(s) : 20000, i, bad = 0, good = 0;
	int r;

	rig_place(&rig, RIG_NEAR);
	for (i = 1; i <= runs && bad < 10; i++) {
		r = one(i);
		bad += r == 0;
		good += r == 1;
	}
	printf("%u of %u bounced alike\n", good, runs);
	assert_int_equal(bad, 0);
	assert_true(good > runs / 10);
}

static void expect(const char *bytes, u32 n, s8 base, s8 index, u8 scale,
		   s64 disp, u16 size, bool read, bool write)
{
	struct bt_bounce b;

	assert_int_equal(plan(&b, (const u8 *)bytes, n), 0);
	assert_int_equal(b.insn_len, n);
	assert_int_equal(b.base, base);
	assert_int_equal(b.index, index);
	assert_int_equal(b.scale, scale);
	assert_int_equal(b.disp, disp);
	assert_int_equal(b.size, size);
	assert_int_equal(b.read, read);
	assert_int_equal(b.write, write);
}

static void test_operands_are_described(void **state)
{
	/* mov eax, [rip + 0x10] */
	expect("\x8b\x05\x10\x00\x00\x00", 6, 16, -1, 1, 0x10, 4, true, false);
	/* mov [rbx + r9 * 8 - 4], rdx */
	expect("\x4a\x89\x54\xcb\xfc", 5, 3, 9, 8, -4, 8, false, true);
	/* lock xadd [r12], cl */
	expect("\xf0\x41\x0f\xc0\x0c\x24", 6, 12, -1, 1, 0, 1, true, true);
	/* movups [rsp + 0x20], xmm1 */
	expect("\x0f\x11\x4c\x24\x20", 5, 4, -1, 1, 0x20, 16, false, true);
	/* mov al, [0x1122334455667788] */
	expect("\xa0\x88\x77\x66\x55\x44\x33\x22\x11", 9, -1, -1, 1,
	       0x1122334455667788ll, 1, true, false);
	/* vmovdqu64 [rax + 0x40] {k1}, zmm0: what is masked stays */
	expect("\x62\xf1\xfe\x49\x7f\x40\x01", 7, 0, -1, 1, 0x40, 64, true,
	       true);
}

static void test_other_instructions_are_refused(void **state)
{
	static const char *const code[] = {
		"\x90", "\x48\x89\xd8", /* no memory */
		"\xff\x10", "\xff\x20", /* call, jmp [rax] */
		"\xff\x30", "\x8f\x00", /* push, pop [rax] */
		"\xa4", "\x0f\x01\x10", /* movsb, lgdt [rax] */
		"\x8d\x03", "\x0f\x22\xd8", /* lea, mov cr3 */
		"\x0f\xae\x20", /* xsave [rax] */
		"\x62\xf2\x7d\x49\x92\x04\x08", /* vgatherdps */
		"\x06", "\x8b", /* undefined, cut short */
	};
	struct bt_bounce b;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(code); i++)
		assert_int_equal(plan(&b, (const u8 *)code[i],
				      (u32)strlen(code[i])),
				 -EINVAL);
}

static void test_bit_strings_say_so(void **state)
{
	struct bt_bounce b;

	/* bts [rax], ecx; bts dword [rax], 5 */
	assert_int_equal(plan(&b, (const u8 *)"\x0f\xab\x08", 3), 0);
	assert_true(b.bit_string);
	assert_int_equal(plan(&b, (const u8 *)"\x0f\xba\x28\x05", 4), 0);
	assert_false(b.bit_string);
}

static void test_data_outside_the_bounce_area_is_refused(void **state)
{
	struct bt_bounce b;
	tpc_t tpc;

	assert_int_equal(plan(&b, (const u8 *)"\x8b\x00", 2), 0);
	assert_int_equal(bt_bounce_emit(rig.bt, &b, 0, &tpc), -EINVAL);
	assert_int_equal(bt_bounce_emit(rig.bt, &b,
					WINDOW_BOUNCE_DATA_OFF +
						WINDOW_BOUNCE_DATA_SIZE - 2,
					&tpc),
			 -EINVAL);
}

static int setup(void **state)
{
	rig_init(&rig, 1u << 20);
	return 0;
}

static int teardown(void **state)
{
	rig_exit(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_instructions_bounce_as_they_run),
		cmocka_unit_test(test_operands_are_described),
		cmocka_unit_test(test_other_instructions_are_refused),
		cmocka_unit_test(test_bit_strings_say_so),
		cmocka_unit_test(test_data_outside_the_bounce_area_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
