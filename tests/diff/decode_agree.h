/* SPDX-License-Identifier: GPL-2.0-only */
/* Does the fast decoder say what Zydis says? */
#ifndef TESTS_DECODE_AGREE_H
#define TESTS_DECODE_AGREE_H

#include "bt/bt.h"

/* The decoder as the translator sets it up. */
void decode_agree_init(ZydisDecoder *decoder);
/* in: what decode_fast() made of the 15 bytes at b. */
bool decode_agrees(const ZydisDecoder *decoder, const struct bt_insn *in,
		   const u8 *b);

#endif
