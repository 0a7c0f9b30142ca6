// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fast decoder says what Zydis says, for everything it takes: all of its
 * prefixes, opcodes and ModRM bytes, and random bytes behind them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/diff/decode_agree.h"

unsigned long env_fail_alloc;

static ZydisDecoder decoder;
static u32 taken, refused, wrong;

static void check(const u8 *b)
{
	struct bt_insn in;
	u32 i;

	memset(&in, 0xee, sizeof(in));
	if (!decode_fast(&in, b)) {
		refused++;
		return;
	}
	taken++;
	if (decode_agrees(&decoder, &in, b))
		return;
	if (wrong++ > 10)
		return;
	printf("differs (length %u, class %u):", in.len, in.cls);
	for (i = 0; i < 15; i++)
		printf(" %02x", b[i]);
	printf("\n");
}

static u64 rng = 88172645463325252ull;

static u8 random_byte(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (u8)(rng >> 32);
}

static void all_behind(const char *prefix, u32 n)
{
	u32 map, op, modrm, i, k;
	u8 b[32];

	for (map = 0; map < 2; map++) {
		for (op = 0; op < 256; op++) {
			for (modrm = 0; modrm < 256; modrm++) {
				for (i = 0; i < sizeof(b); i++)
					b[i] = random_byte();
				memcpy(b, prefix, n);
				k = n;
				if (map)
					b[k++] = 0x0f;
				b[k++] = (u8)op;
				b[k] = (u8)modrm;
				check(b);
			}
		}
	}
}

static void test_fast_decoding_agrees_with_zydis(void **state)
{
	static const char *const prefix[] = {
		"",	    "\x66",	"\x65",		"\x64",	    "\x2e",
		"\x36",	    "\x3e",	"\x26",		"\x66\x65", "\x65\x66",
		"\x66\x66", "\x2e\x2e", "\x66\x2e",	"\x2e\x66", "\x65\x2e",
		"\x2e\x65", "\x67",	"\xf0",		"\xf2",	    "\xf3",
		"\x66\xf3", "\x3e\x3e", "\x66\x66\x2e", "\x65\x65",
	};
	char p[8];
	u32 i, rex, n;

	taken = refused = wrong = 0;
	for (i = 0; i < ARRAY_SIZE(prefix); i++) {
		n = (u32)strlen(prefix[i]);
		memcpy(p, prefix[i], n);
		all_behind(p, n);
		for (rex = 0x40; rex < 0x50; rex++) {
			p[n] = (char)rex;
			all_behind(p, n + 1);
		}
	}
	printf("%u taken, %u left to Zydis\n", taken, refused);
	assert_int_equal(wrong, 0);
	assert_true(taken > 5000000);
}

static void test_random_bytes_decode_alike(void **state)
{
	u32 i, k;
	u8 b[32];

	taken = refused = wrong = 0;
	for (i = 0; i < 3000000; i++) {
		for (k = 0; k < 20; k++)
			b[k] = random_byte();
		check(b);
	}
	assert_int_equal(wrong, 0);
	assert_true(taken > 300000);
}

static int setup(void **state)
{
	decode_agree_init(&decoder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fast_decoding_agrees_with_zydis),
		cmocka_unit_test(test_random_bytes_decode_alike),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
