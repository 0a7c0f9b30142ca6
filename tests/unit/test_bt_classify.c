// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every instruction the decoder knows is classified on purpose, and the list of
 * those that ring 3 must not execute as they are is complete: enumerates prefixes,
 * opcode maps, opcodes and ModRM bytes of the legacy, VEX, XOP and EVEX spaces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bt/bt.h"

unsigned long env_fail_alloc;

typedef void (*visitor)(const ZydisDecodedInstruction *zi, const u8 *bytes);

static ZydisDecoder decoder;
static u32 visited;

static void visit(const u8 *b, visitor fn)
{
	ZydisDecodedInstruction zi;

	if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, b, 15,
						       &zi))) {
		visited++;
		fn(&zi, b);
	}
}

static void legacy_space(visitor fn)
{
	static const char *const prefix[] = { "",	  "\x66",     "\xf2",
					      "\xf3",	  "\x48",     "\x66\x48",
					      "\xf2\x48", "\xf3\x48", "\x67",
					      "\x66\xf2", "\x4f",     "\xf0" };
	static const char *const map[] = { "", "\x0f", "\x0f\x38",
					   "\x0f\x3a" };
	u32 p, m, op, modrm, n;
	u8 b[32];

	for (p = 0; p < ARRAY_SIZE(prefix); p++) {
		for (m = 0; m < ARRAY_SIZE(map); m++) {
			memset(b, 0, sizeof(b));
			n = (u32)strlen(prefix[p]);
			memcpy(b, prefix[p], n);
			memcpy(b + n, map[m], strlen(map[m]));
			n += (u32)strlen(map[m]);
			for (op = 0; op < 256; op++) {
				for (modrm = 0; modrm < 256; modrm++) {
					b[n] = (u8)op;
					b[n + 1] = (u8)modrm;
					visit(b, fn);
				}
			}
		}
	}
}

/* VEX and XOP: map, pp, L, W; opcode; register and memory forms. */
static void vex_space(visitor fn)
{
	u32 map, low, op, modrm;
	u8 b[32] = { 0 };

	for (map = 0; map < 32; map++) {
		for (low = 0; low < 16; low++) {
			b[1] = (u8)(0xe0 | map);
			b[2] = (u8)(0x78 | (low & 7) | (low & 8) << 4);
			for (op = 0; op < 256; op++) {
				for (modrm = 0; modrm < 256; modrm += 8) {
					b[3] = (u8)op;
					b[4] = (u8)modrm;
					b[0] = 0xc4;
					visit(b, fn);
					b[0] = 0x8f;
					if (map >= 8)
						visit(b, fn);
				}
			}
		}
	}
}

static void evex_space(visitor fn)
{
	u32 map, p1, p2, op, modrm;
	u8 b[32] = { 0x62 };

	for (map = 0; map < 8; map++) {
		for (p1 = 0; p1 < 8; p1++) {
			for (p2 = 0; p2 < 16; p2++) {
				b[1] = (u8)(0xf0 | map);
				b[2] = (u8)(0x7c | (p1 & 3) | (p1 & 4) << 5);
				b[3] = (u8)(0x08 | (p2 & 1) | (p2 & 14) << 3);
				for (op = 0; op < 256; op++) {
					for (modrm = 0; modrm < 256;
					     modrm += 8) {
						b[4] = (u8)op;
						b[5] = (u8)modrm;
						visit(b, fn);
					}
				}
			}
		}
	}
}

static void all_spaces(visitor fn)
{
	visited = 0;
	legacy_space(fn);
	vex_space(fn);
	evex_space(fn);
	assert_true(visited > 500000);
}

static u32 offences;
static bool told[ZYDIS_MNEMONIC_MAX_VALUE + 1];

static void offence(const ZydisDecodedInstruction *zi, const char *what)
{
	offences++;
	if (told[zi->mnemonic])
		return;
	told[zi->mnemonic] = true;
	printf("%s (%s): %s\n", ZydisMnemonicGetString(zi->mnemonic),
	       ZydisCategoryGetString(zi->meta.category), what);
}

static void must_be_classified(const ZydisDecodedInstruction *zi, const u8 *b)
{
	if (classify(zi) == CLS_NONE)
		offence(zi, "not classified");
}

static void test_every_instruction_is_classified(void **state)
{
	offences = 0;
	all_spaces(must_be_classified);
	assert_int_equal(offences, 0);
}

static bool executed_as_it_is(enum bt_class cls)
{
	return cls == CLS_COPY || cls == CLS_VERBATIM;
}

/*
 * The manual's list of what behaves differently in ring 3 without the word
 * "privileged" on it, kept apart from classify.c on purpose.
 */
static const u16 sensitive[] = {
	ZYDIS_MNEMONIC_PUSHF,	  ZYDIS_MNEMONIC_PUSHFQ,
	ZYDIS_MNEMONIC_POPF,	  ZYDIS_MNEMONIC_POPFQ,
	ZYDIS_MNEMONIC_CLI,	  ZYDIS_MNEMONIC_STI,
	ZYDIS_MNEMONIC_SGDT,	  ZYDIS_MNEMONIC_SIDT,
	ZYDIS_MNEMONIC_SLDT,	  ZYDIS_MNEMONIC_STR,
	ZYDIS_MNEMONIC_SMSW,	  ZYDIS_MNEMONIC_LAR,
	ZYDIS_MNEMONIC_LSL,	  ZYDIS_MNEMONIC_VERR,
	ZYDIS_MNEMONIC_VERW,	  ZYDIS_MNEMONIC_LFS,
	ZYDIS_MNEMONIC_LGS,	  ZYDIS_MNEMONIC_LSS,
	ZYDIS_MNEMONIC_INT,	  ZYDIS_MNEMONIC_INT1,
	ZYDIS_MNEMONIC_INT3,	  ZYDIS_MNEMONIC_IRET,
	ZYDIS_MNEMONIC_IRETD,	  ZYDIS_MNEMONIC_IRETQ,
	ZYDIS_MNEMONIC_SYSCALL,	  ZYDIS_MNEMONIC_SYSENTER,
	ZYDIS_MNEMONIC_SYSRET,	  ZYDIS_MNEMONIC_SYSEXIT,
	ZYDIS_MNEMONIC_CPUID,	  ZYDIS_MNEMONIC_RDTSC,
	ZYDIS_MNEMONIC_RDTSCP,	  ZYDIS_MNEMONIC_RDPID,
	ZYDIS_MNEMONIC_RDPMC,	  ZYDIS_MNEMONIC_RDPKRU,
	ZYDIS_MNEMONIC_WRPKRU,	  ZYDIS_MNEMONIC_XGETBV,
	ZYDIS_MNEMONIC_STAC,	  ZYDIS_MNEMONIC_CLAC,
	ZYDIS_MNEMONIC_IN,	  ZYDIS_MNEMONIC_OUT,
	ZYDIS_MNEMONIC_INSB,	  ZYDIS_MNEMONIC_OUTSB,
	ZYDIS_MNEMONIC_VMCALL,	  ZYDIS_MNEMONIC_VMMCALL,
	ZYDIS_MNEMONIC_VMFUNC,	  ZYDIS_MNEMONIC_MONITORX,
	ZYDIS_MNEMONIC_MWAITX,	  ZYDIS_MNEMONIC_UMONITOR,
	ZYDIS_MNEMONIC_UMWAIT,	  ZYDIS_MNEMONIC_TPAUSE,
	ZYDIS_MNEMONIC_ENCLU,	  ZYDIS_MNEMONIC_GETSEC,
	ZYDIS_MNEMONIC_XBEGIN,	  ZYDIS_MNEMONIC_XTEST,
	ZYDIS_MNEMONIC_RDFSBASE,  ZYDIS_MNEMONIC_WRGSBASE,
	ZYDIS_MNEMONIC_SWAPGS,	  ZYDIS_MNEMONIC_ENQCMD,
	ZYDIS_MNEMONIC_RDSSPQ,	  ZYDIS_MNEMONIC_INCSSPQ,
	ZYDIS_MNEMONIC_WRSSQ,	  ZYDIS_MNEMONIC_CLUI,
	ZYDIS_MNEMONIC_STUI,	  ZYDIS_MNEMONIC_TESTUI,
	ZYDIS_MNEMONIC_SENDUIPI,  ZYDIS_MNEMONIC_RDPRU,
	ZYDIS_MNEMONIC_LLWPCB,	  ZYDIS_MNEMONIC_SLWPCB,
	ZYDIS_MNEMONIC_PTWRITE,	  ZYDIS_MNEMONIC_INVLPGB,
	ZYDIS_MNEMONIC_JMP,	  ZYDIS_MNEMONIC_CALL,
	ZYDIS_MNEMONIC_RET,	  ZYDIS_MNEMONIC_LOOP,
	ZYDIS_MNEMONIC_JRCXZ,	  ZYDIS_MNEMONIC_JZ,
	ZYDIS_MNEMONIC_UD2,	  ZYDIS_MNEMONIC_HLT,
};

static bool is_sensitive(const ZydisDecodedInstruction *zi)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(sensitive); i++) {
		if (zi->mnemonic == sensitive[i])
			return true;
	}
	return false;
}

static void must_not_be_copied(const ZydisDecodedInstruction *zi, const u8 *b)
{
	enum bt_class cls = classify(zi);

	if (!executed_as_it_is(cls))
		return;
	if (zi->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
		offence(zi, "privileged and copied");
	if (is_sensitive(zi))
		offence(zi, "sensitive and copied");
	if (zi->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
		offence(zi, "branch and copied");
}

/* Operands that name system registers: MOV, PUSH and POP are plain otherwise. */
static void no_system_operand_is_copied(const ZydisDecodedInstruction *zi,
					const u8 *b)
{
	ZydisDecodedInstruction full;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisRegisterClass rc;
	u32 i;

	if (!executed_as_it_is(classify(zi)))
		return;
	if (zi->mnemonic != ZYDIS_MNEMONIC_MOV &&
	    zi->mnemonic != ZYDIS_MNEMONIC_PUSH &&
	    zi->mnemonic != ZYDIS_MNEMONIC_POP)
		return;
	if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, b, 15, &full, op)))
		return;
	for (i = 0; i < full.operand_count; i++) {
		if (op[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		rc = ZydisRegisterGetClass(op[i].reg.value);
		if (rc == ZYDIS_REGCLASS_SEGMENT ||
		    rc == ZYDIS_REGCLASS_CONTROL || rc == ZYDIS_REGCLASS_DEBUG)
			offence(zi, "system register and copied");
	}
}

static void test_no_privileged_or_sensitive_instruction_is_copied(void **state)
{
	offences = 0;
	memset(told, 0, sizeof(told));
	all_spaces(must_not_be_copied);
	legacy_space(no_system_operand_is_copied);
	assert_int_equal(offences, 0);
}

static u32 seen_sensitive[ARRAY_SIZE(sensitive)];

static void note_sensitive(const ZydisDecodedInstruction *zi, const u8 *b)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(sensitive); i++)
		seen_sensitive[i] += zi->mnemonic == sensitive[i];
}

/* Else the test above would prove nothing about it. */
static void test_the_enumeration_reaches_every_sensitive_mnemonic(void **state)
{
	u32 i, missing = 0;

	all_spaces(note_sensitive);
	for (i = 0; i < ARRAY_SIZE(sensitive); i++) {
		if (seen_sensitive[i])
			continue;
		missing++;
		printf("not reached: %s\n",
		       ZydisMnemonicGetString(sensitive[i]));
	}
	assert_int_equal(missing, 0);
}

static int setup(void **state)
{
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64,
			 ZYDIS_STACK_WIDTH_64);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_instruction_is_classified),
		cmocka_unit_test(
			test_no_privileged_or_sensitive_instruction_is_copied),
		cmocka_unit_test(
			test_the_enumeration_reaches_every_sensitive_mnemonic),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
