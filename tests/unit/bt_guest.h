/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest for tests of the translation cache: pages of code that is translated
 * but never run, and a small TC in ordinary memory.
 */
#ifndef BT_GUEST_H
#define BT_GUEST_H

#include "bt/bt.h"

#define WINDOW 0x60000000ull
#define TC_SIZE (256u << 10)
#define PAGES 64
#define CODE 0xffffffff81000000ull

/* PAGES pages of code at CODE, page n backed by gfn_of[n]. */
struct guest {
	struct bt *bt;
	u8 memory[PAGES * 2][POPF_PAGE_SIZE];
	gfn_t gfn_of[PAGES]; /* GFN_NONE: not mapped */
	u32 traced[PAGES * 2];
	u32 fetches;
	u32 made, ahead; /* TUs: asked for, not asked for */
	u32 gone[2]; /* TUs, by enum bt_gone */
	bool vacant;
};

extern struct guest guest;
extern const struct bt_ops guest_ops;
extern u8 *tc;
extern u64 *ibl_tpc;
extern u8 bounce_code[POPF_PAGE_SIZE];

/* With auditing after every change. */
struct bt *guest_create(enum bt_evict evict, u32 units);

/* For cmocka: memory full of HLT, a new bt, and at the end nothing left over. */
int setup(void **state);
int teardown(void **state);

void put(u32 page, u32 off, const char *bytes, u32 n);
tpc_t enter(gva_t gpc);
struct bt_stats stats(void);

u64 rng(void);
/* Random bytes, with enough short branches among them to make a web. */
void random_code(u32 page);
/* Anything that the monitor might do; some of it evicts, once the TC is full. */
void random_operation(void);

#endif
