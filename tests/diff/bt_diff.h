/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The differential test: one random program, natively and translated, from the
 * same registers, flags and memory; everything is compared at the end: registers,
 * flags, x87, SSE and AVX state, FS and GS bases, data, stack and code, and for a
 * fault its vector, error code, address and the state it is taken in.
 *
 * Nothing is masked for being undefined: the same instruction with the same input
 * on the same CPU leaves undefined flags alike. Not compared are the x87 pointers
 * (FIP, FDP, FOP), which show where an instruction ran, and what DIFF_KNOWN names.
 *
 * docs/testing.md says how to run and to extend it.
 */
#ifndef TESTS_BT_DIFF_H
#define TESTS_BT_DIFF_H

#include "popf/env.h"

#include "bt_gen.h"
#include "bt_rig.h"

struct diff_memory {
	u8 data[RIG_DATA_SIZE] __aligned(64);
	u8 stack[RIG_STACK_SIZE];
	u8 code[RIG_CODE_SIZE];
};

/* A program and what it starts from. */
struct diff_case {
	u64 seed;
	u64 place; /* RIG_NEAR or RIG_FAR */
	u32 features; /* GEN_* */
	u32 off, n; /* its code in memory.code */
	struct rig_state st;
	u64 vif, kernel_gs;
	bool event; /* an interrupt waits for IF */
	struct diff_memory memory;
};

/* What came of it. */
enum diff_outcome {
	DIFF_SAME,
	DIFF_KNOWN, /* differs as docs/caveats.md says */
	DIFF_ENDLESS, /* does not end natively */
	DIFF_FOREIGN, /* natively it did what only a kernel can answer */
	DIFF_DIFFERS,
	DIFF_OUTCOMES
};

struct diff_stats {
	u64 outcome[DIFF_OUTCOMES];
	u64 faults, stores_to_code;
};

/* Make the case of this seed, with these features or, if negative, any. */
void diff_make(struct diff_case *c, u64 seed, u64 place, int features);
bool diff_same_state(const struct rig_state *a, const struct rig_state *b);
bool diff_same_fault(const struct rig_result *a, const struct rig_result *b);
/* Run it. On a difference says what differs, if verbose. */
enum diff_outcome diff_run(struct rig *rig, const struct diff_case *c,
			   bool verbose, struct diff_stats *stats);
/* Take away from a case that differs what it can differ without. */
void diff_minimise(struct rig *rig, struct diff_case *c);
/* The program's bytes and disassembly, and the registers it starts with. */
void diff_print(const struct diff_case *c);
/* All of it, for one seed; what differs is made small and printed. */
enum diff_outcome diff_one(struct rig *rig, u64 seed, u64 place, int features,
			   struct diff_stats *stats);

#endif
