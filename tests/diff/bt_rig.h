/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process as a guest: runs code natively and translated, from the same state,
 * and says what became of registers, flags, memory and faults.
 *
 * Guest code and data are ordinary mappings of this process at the same
 * addresses for both. Entering and leaving guest code goes through signals: the
 * handler swaps the whole register state, so guest code may do what it likes to
 * every register. The rig plays monitor for the translator.
 *
 * One rig at a time (signal handlers need the global).
 */
#ifndef TESTS_BT_RIG_H
#define TESTS_BT_RIG_H

#include "popf/bt.h"

#define RIG_WINDOW 0x60000000ull
#define RIG_NEAR 0x40000000ull /* code, within 2 GiB of the TC */
#define RIG_FAR 0x500000000000ull /* code, far from it */
#define RIG_DATA_OFF 0x10000u /* data, from the code's start */
#define RIG_CODE_SIZE 0x10000u
#define RIG_DATA_SIZE 0x2000u
#define RIG_STACK 0x510000000000ull
#define RIG_STACK_SIZE 0x2000u
#define RIG_UNMAPPED 0x520000000000ull
/* Flags that guest code owns in hardware. */
#define RIG_FLAGS 0x240cd5ull

/* Enough for AVX-512, on hosts where the signal frame has more, that is lost. */
#define RIG_FP_SIZE 2688u
#define RIG_FP_XMM 160u /* offset of XMM0 */

struct rig_state {
	u64 gpr[16];
	u64 rip;
	u64 rflags;
	/* 0: the guest's data, see rig_place() */
	u64 fs_base, gs_base;
	/*
	 * The x87 and SSE state as FXSAVE writes it, and what XSAVE adds. All
	 * zero: initial state.
	 */
	u8 fp[RIG_FP_SIZE];
};

enum rig_stop {
	RIG_END, /* the guest's int3 */
	RIG_FAULT,
	RIG_TIMEOUT,
	RIG_STEPPED,
	RIG_CALLOUT, /* not handled by the rig */
	RIG_SYSCALL, /* native code made a system call; rig_guard() */
	RIG_BROKEN, /* the translator did something it must not */
};

struct rig_result {
	enum rig_stop stop;
	struct rig_state st; /* rip: of the int3, the faulting instruction */
	u32 vector;
	u64 error;
	u64 address; /* of a page fault */
	u64 vif;
};

struct rig {
	struct bt *bt;
	struct vcpu_page *page;
	u8 *alias; /* writable mapping of the window */
	u32 tc_size;
	u64 code; /* where guest code is: RIG_NEAR or RIG_FAR */
	u32 fetches;
	u32 exits[8];
	u32 opaque;
	u32 mode; /* BT_MODE_* to translate for */
	u64 fetch_fault; /* the last address that could not be fetched */
	bool guarded; /* see rig_guard() */
	bool traced[2][RIG_CODE_SIZE / 4096]; /* code pages, near and far */
	u32 stores_to_code;
	bool rep_over_itself; /* a string instruction stored to its own bytes */
	bool no_wild_stack; /* this machine: see wild_stack_works() */
	tpc_t exit_tpc; /* of the last int3 */
	enum bt_exit_kind exit_kind;
	bool stepping;
	bool inside; /* in translated code, not just about to go there */
	/* Called at each host instruction when stepping translated code. */
	bool (*on_step)(struct rig *rig, const struct bt_state *bs,
			const struct rig_state *st);
	void *arg;
	/* Called for callouts; true: handled, *st is the state after it. */
	bool (*on_callout)(struct rig *rig, const struct bt_exit *x,
			   struct rig_state *st);
	/* Called at pending exits. */
	void (*on_irq)(struct rig *rig, struct rig_state *st);
	/* Called before each entry; may invalidate. */
	void (*on_enter)(struct rig *rig, u64 gpc);
};

/* Map everything and create the translator. tc_size as for bt_create(). */
void rig_init(struct rig *rig, u32 tc_size);
void rig_exit(struct rig *rig);
/* Do returns that are translated from now on learn where they go? */
void rig_learn_returns(struct rig *rig, bool on);
/* Room for other guest code, data in it included; one such place at a time. */
void rig_map_code(u64 at, u64 size);
/* Guest code at RIG_NEAR or RIG_FAR from now on. */
void rig_place(struct rig *rig, u64 code);

/*
 * From now on random code is welcome: system calls do not reach the kernel, stores
 * to translated code drop what they change, and callouts that do the same in any
 * ring run natively. False: this kernel cannot keep system calls away.
 */
bool rig_guard(struct rig *rig);
/* As before it, but that system calls stay away. */
void rig_unguard(struct rig *rig);
/* Take the write protection off all code: before the host or a native run writes it. */
void rig_unprotect(struct rig *rig);

/* Run native code from st until it ends; step: one instruction. */
void rig_native(struct rig *rig, const struct rig_state *st, bool step,
		struct rig_result *out);
/* Run the same translated; step: with on_step at every host instruction. */
void rig_translated(struct rig *rig, const struct rig_state *st, bool step,
		    struct rig_result *out);
/* One raw entry at any address. */
void rig_raw(const struct rig_state *st, bool step, struct rig_result *out);

#endif
