// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any bytes: the translator's decoder against Zydis.
 *
 * The fast decoder takes an instruction or leaves it, and what it says of one that
 * it takes is what Zydis says (tests/diff/decode_agree.c). decode_insn(), given
 * fewer bytes than the instruction has, asks for more and reads none behind them.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tests/diff/decode_agree.h"

unsigned long env_fail_alloc;

static struct bt *bt;

static void set_up(void)
{
	bt = calloc(1, sizeof(*bt));
	decode_agree_init(&bt->decoder);
}

/* With `avail` bytes at hand and nothing behind them. */
static void with_so_many(const uint8_t *data, uint32_t avail, uint32_t len)
{
	uint8_t *p = malloc(avail);
	enum decode_result r;

	memcpy(p, data, avail);
	r = decode_insn(bt, p, avail, 0x40000000);
	free(p);
	FUZZ_CHECK(bt->insn.len || r == DECODE_CROSS, "no length");
	if (len && avail >= len)
		FUZZ_CHECK(r == DECODE_OK && bt->insn.len == len,
			   "%u bytes of %u: result %d, length %u", avail, len,
			   r, bt->insn.len);
	else if (len)
		FUZZ_CHECK(r == DECODE_CROSS, "%u bytes of %u are enough",
			   avail, len);
}

static void check_fast(const uint8_t *data)
{
	struct bt_insn in;

	memset(&in, 0xee, sizeof(in));
	if (!decode_fast(&in, data))
		return;
	FUZZ_CHECK(decode_agrees(&bt->decoder, &in, data),
		   "length %u, class %u: Zydis says otherwise", in.len, in.cls);
}

static void check_at(const uint8_t *data, size_t size)
{
	ZydisDecodedInstruction zi;
	uint32_t i, n = size < 18 ? (uint32_t)size : 18, len = 0;

	if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(
		    &bt->decoder, NULL, data, n < 15 ? n : 15, &zi)))
		len = zi.length;
	if (n >= 15)
		check_fast(data);
	for (i = 1; i <= n; i++)
		with_so_many(data, i, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t i;

	if (!bt)
		set_up();
	/* Every offset is a start; a long input has nothing more to say. */
	for (i = 0; i < size && i < 64; i++)
		check_at(data + i, size - i);
	return 0;
}
