// SPDX-License-Identifier: GPL-2.0-only
/*
 * Arithmetic with exact flags: the processor's own instruction does the work.
 *
 * LAHF and SETO take the flags out without a stack, so this is safe with and
 * without a red zone.
 */
#include "emulate.h"

static u64 gather_flags(u64 ax)
{
	return (ax >> 8 & (RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF)) |
	       (ax & 0xff ? RF_OF : 0);
}

#define BINARY(type, insn, dst, src)                                         \
	do {                                                                 \
		type d_ = (type)(dst), s_ = (type)(src);                     \
		asm(insn " %2, %1; lahf; seto %%al"                          \
		    : "=&a"(ax), "+q"(d_)                                    \
		    : "q"(s_)                                                \
		    : "cc");                                                 \
		res = d_;                                                    \
	} while (0)

/* ADC and SBB: the carry comes in through a shift. */
#define BINARY_CARRY(type, insn, dst, src, carry)                            \
	do {                                                                 \
		type d_ = (type)(dst), s_ = (type)(src);                     \
		u32 c_ = (carry);                                            \
		asm("shrl $1, %3; " insn " %2, %1; lahf; seto %%al"          \
		    : "=&a"(ax), "+q"(d_), "+q"(s_), "+r"(c_)                \
		    :                                                        \
		    : "cc");                                                 \
		res = d_;                                                    \
	} while (0)

#define UNARY(type, insn, dst)                                               \
	do {                                                                 \
		type d_ = (type)(dst);                                       \
		asm(insn " %1; lahf; seto %%al"                              \
		    : "=&a"(ax), "+q"(d_)                                    \
		    :                                                        \
		    : "cc");                                                 \
		res = d_;                                                    \
	} while (0)

#define BY_SIZE(MACRO, insn, ...)                                            \
	do {                                                                 \
		switch (size) {                                              \
		case 1:                                                      \
			MACRO(u8, insn "b", __VA_ARGS__);                    \
			break;                                               \
		case 2:                                                      \
			MACRO(u16, insn "w", __VA_ARGS__);                   \
			break;                                               \
		case 4:                                                      \
			MACRO(u32, insn "l", __VA_ARGS__);                   \
			break;                                               \
		default:                                                     \
			MACRO(u64, insn "q", __VA_ARGS__);                   \
		}                                                            \
	} while (0)

u64 alu_compute(enum alu_op op, u32 size, u64 dst, u64 src, u64 *rflags)
{
	u32 carry = *rflags & RF_CF;
	u64 changed = RF_ARITH;
	u64 ax = 0, res = 0;

	switch (op) {
	case ALU_ADD:
		BY_SIZE(BINARY, "add", dst, src);
		break;
	case ALU_ADC:
		BY_SIZE(BINARY_CARRY, "adc", dst, src, carry);
		break;
	case ALU_SBB:
		BY_SIZE(BINARY_CARRY, "sbb", dst, src, carry);
		break;
	case ALU_SUB:
		BY_SIZE(BINARY, "sub", dst, src);
		break;
	case ALU_AND:
		BY_SIZE(BINARY, "and", dst, src);
		break;
	case ALU_OR:
		BY_SIZE(BINARY, "or", dst, src);
		break;
	case ALU_XOR:
		BY_SIZE(BINARY, "xor", dst, src);
		break;
	case ALU_CMP:
		BY_SIZE(BINARY, "cmp", dst, src);
		break;
	case ALU_TEST:
		BY_SIZE(BINARY, "test", dst, src);
		break;
	case ALU_INC:
		BY_SIZE(UNARY, "inc", dst);
		changed &= ~RF_CF;
		break;
	case ALU_DEC:
		BY_SIZE(UNARY, "dec", dst);
		changed &= ~RF_CF;
		break;
	case ALU_NEG:
		BY_SIZE(UNARY, "neg", dst);
		break;
	case ALU_NOT:
		return ~dst & size_mask(size);
	}
	*rflags = (*rflags & ~changed) | (gather_flags(ax) & changed);
	return res;
}
