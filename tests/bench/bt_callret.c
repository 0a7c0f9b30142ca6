// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a call and its return cost natively and translated: prints the least of
 * several measurements in nanoseconds per pair, for a direct call from one place,
 * an indirect one, and a function called from 16 places in turn.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "popf/env.h"
#include "tests/diff/bt_rig.h"

#define ROUNDS 2000000u

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static u32 put(u32 n, const void *p, u32 len)
{
	memcpy((u8 *)RIG_NEAR + n, p, len);
	return n + len;
}

static u32 put_call(u32 n, u32 to)
{
	s32 rel = (s32)(to - (n + 5));

	n = put(n, "\xe8", 1);
	return put(n, &rel, 4);
}

static void measure(struct rig *rig, const char *what, u32 pairs, u32 rounds)
{
	struct rig_state st = { .rip = RIG_NEAR + 0x40 };
	struct rig_result r;
	double t0, t1, t2, native = 1e9, translated = 1e9;
	u32 i;

	st.gpr[1] = rounds;
	st.gpr[3] = RIG_NEAR;
	st.gpr[4] = RIG_STACK + 0x1000;
	st.fp[0] = 0x7f;
	st.fp[1] = 3;
	st.fp[24] = 0x80;
	st.fp[25] = 0x1f;
	rig_place(rig, RIG_NEAR);
	bt_flush(rig->bt);
	for (i = 0; i < 9; i++) {
		t0 = now();
		rig_native(rig, &st, false, &r);
		t1 = now();
		rig_translated(rig, &st, false, &r);
		t2 = now();
		native = min(native, t1 - t0);
		translated = min(translated, t2 - t1);
	}
	printf("%s: native %.2f ns, translated %.2f ns%s\n", what,
	       native / rounds / pairs, translated / rounds / pairs,
	       r.stop == RIG_END ? "" : " (did not end)");
}

int main(void)
{
	static const u8 loop[] = { 0xff, 0xc9, 0x75 };
	struct rig rig;
	u32 n, i;
	u8 back;

	rig_init(&rig, 1u << 20);
	/* f: ret; at 0x40: calls; dec ecx; jnz; int3 */
	put(0, "\xc3", 1);
	n = put_call(0x40, 0);
	n = put(n, loop, 3);
	back = (u8)(0x40 - (n + 1));
	n = put(n, &back, 1);
	put(n, "\xcc", 1);
	measure(&rig, "direct", 1, ROUNDS);
	n = put(0x40, "\xff\xd3", 2);
	n = put(n, loop, 3);
	back = (u8)(0x40 - (n + 1));
	n = put(n, &back, 1);
	put(n, "\xcc", 1);
	measure(&rig, "indirect", 1, ROUNDS);
	n = 0x40;
	for (i = 0; i < 16; i++)
		n = put_call(n, 0);
	n = put(n, loop, 3);
	back = (u8)(0x40 - (n + 1));
	n = put(n, &back, 1);
	put(n, "\xcc", 1);
	measure(&rig, "from 16 places", 16, ROUNDS / 16);
	rig_exit(&rig);
	return 0;
}
