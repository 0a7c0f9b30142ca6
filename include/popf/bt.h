/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The translator's contract: guest kernel code in, ring-3 code out.
 *
 * The monitor asks bt_enter() for the tpc of a gpc, lets the CPU run there, and
 * gets control back at an int3 that translated code executes on purpose (an
 * exit: bt_exit_at() says which), or at any other tpc because of a fault or a
 * host interrupt (bt_recover() says what guest state that is).
 *
 * Invariants:
 *  1. Guest registers, RSP included, are in the same hardware registers; those
 *     that translated code has borrowed are in struct vcpu_page's spill[].
 *  2. Guest arithmetic flags are the hardware flags, except where a record says
 *     they are in spill_flags. IF and IOPL are virtual (vif, viopl).
 *  3. Every tpc of a TU has a record: which guest instruction it belongs to and
 *     whether that instruction has committed. Before its commit a sequence has
 *     changed nothing the guest can see, so "not committed" means "restart at
 *     gpc", and a fault there is that instruction's fault.
 *  4. What is decoded is a private copy of the guest's bytes, fetched once.
 *  5. A direct link or an indirect-table entry exists only to a valid TU, and
 *     each link has its back-link (bt/audit.c checks).
 *
 * Locking: none inside; the caller serialises all calls on one struct bt and no
 * vCPU executes in its TC meanwhile.
 */
#ifndef POPF_BT_H
#define POPF_BT_H

#include "types.h"
#include "vcpu_page.h"

struct bt;

/* CPU mode of a TU: part of its key. */
#define BT_MODE_LONG 0x0u /* 64-bit code, CPL 0 */
#define BT_MODE_STEP 0x1u /* one guest instruction, then BT_EXIT_STEP */

/* What goes when the TC is full. Always whole units (bt_config.units). */
enum bt_evict {
	BT_EVICT_FIFO, /* the unit that was filled first */
	BT_EVICT_FLUSH, /* everything */
	BT_EVICT_CLOCK, /* the first filled of those that are no longer used */
	BT_EVICT_GENERATIONAL, /* FIFO, with room apart for what came back */
	BT_EVICT_COUNT
};

/* Why a TU has gone. */
enum bt_gone {
	BT_GONE_INVALIDATED, /* its bytes or its mapping may have changed */
	BT_GONE_EVICTED, /* the TC was full */
};

struct bt_config {
	gva_t window; /* base of the TC window in the guest's address space */
	u32 tc_size; /* bytes of TC, multiple of 64 KiB, 256 KiB..128 MiB */
	u8 *bounce_code; /* writable host mapping of WINDOW_BOUNCE_CODE */
	u64 *ibl_tpc; /* writable host mapping of the indirect table */
	u8 *tc; /* writable host mapping of the TC, contiguous */
	bool has_fsgsbase; /* RDGSBASE/WRGSBASE execute in ring 3 */
	bool amd_branches; /* 66h makes near branches 16 bits wide, as on AMD's */
	bool tsc_callout; /* RDTSC must be a callout */
	bool apic_in_place; /* EOI and TSC deadline: bt/translate_msr.c */
	bool user_return; /* SYSCALL in translated code returns to user mode */
	bool learn_returns; /* from the start, and not only once the guest has settled */
	bool audit; /* run bt_audit() after every change */
	u8 evict; /* enum bt_evict */
	u32 units; /* pieces of the TC, 4..64 of at least 16 KiB; 0: 8 */
};

struct bt_ops {
	/*
	 * Copy guest code: len bytes from gva, never across a page boundary.
	 * Must see to it that later guest writes to *gfn, and changes of the
	 * mapping, reach bt_invalidate_*(). 0, or -EFAULT: not fetchable, the
	 * implementation keeps the fault for injection; -EAGAIN: not now, enter
	 * again; other -errno fatal.
	 */
	int (*fetch)(void *opaque, gva_t gva, void *buf, u32 len, gfn_t *gfn);
	/* The last TU on gfn has gone: its write trace may be dropped. */
	void (*untrace)(void *opaque, gfn_t gfn);
	/*
	 * May be NULL. Is nobody in translated code, to go on where it was? Then
	 * what is dropped need not be made to lead out: each store to code that
	 * has run is slow.
	 */
	bool (*vacant)(void *opaque);
	/*
	 * For measuring, may be NULL: a TU has come (ahead: nobody has asked for
	 * it yet) or gone.
	 */
	void (*made)(void *opaque, gva_t gpc, u32 mode, bool ahead);
	void (*gone)(void *opaque, gva_t gpc, u32 mode, enum bt_gone why);
};

/*
 * With bt_config.amd_branches: is this decoded instruction of 64-bit code a near
 * branch that pushes, pops and sets only 16 bits of RIP?
 */
struct ZydisDecodedInstruction_;
bool bt_branch_is_narrow(const struct ZydisDecodedInstruction_ *zi);

enum bt_exit_kind {
	BT_EXIT_NONE, /* not an exit point: the int3 is not ours */
	BT_EXIT_DIRECT, /* direct branch not yet chained; target in .target */
	BT_EXIT_INDIRECT, /* lookup missed; target is vcpu_page.ibl_target */
	BT_EXIT_CALLOUT, /* the instruction at .gpc needs C; state is before it */
	BT_EXIT_UD, /* #UD at .gpc */
	BT_EXIT_IRQ, /* pending check fired, or a stop; state is at the boundary
		      * .gpc */
	BT_EXIT_STEP, /* BT_MODE_STEP unit done; .gpc is the next instruction or,
		       * with .indirect set, vcpu_page.ibl_target is */
	BT_EXIT_BOUNCE, /* bounce code done */
};

struct bt_exit {
	enum bt_exit_kind kind;
	gva_t gpc; /* instruction (CALLOUT, UD) or boundary (IRQ, STEP) */
	gva_t target; /* DIRECT */
	u32 mode;
	u8 insn_len; /* CALLOUT, UD: guest instruction's length */
	u8 insn[15]; /* CALLOUT, UD: its bytes as decoded */
	bool indirect; /* STEP: see there */
	void *link; /* DIRECT: for bt_chain(); INDIRECT: for bt_learn(), or NULL */
};

/* Guest state at an arbitrary tpc. */
struct bt_state {
	gva_t gpc; /* instruction to (re)start at */
	u16 spilled; /* bit n: guest GPR n is in spill[n], not in hardware */
	bool flags_spilled; /* guest flags are in spill_flags */
	bool opaque; /* no exact guest state here: resume at the same tpc */
	bool indirect; /* gpc is vcpu_page.ibl_target instead (spills hold as said) */
	bool irq_shadow; /* the boundary gpc is inside an STI/MOV SS shadow */
	bool branched; /* gpc is where a branch that has committed leads */
	u32 mode;
};

struct bt_stats {
	u64 tus_translated, guest_insns, guest_bytes, host_bytes;
	u64 lookups, lookup_hits, chains, ibl_fills, unchains;
	u64 invalidated_tus, flushes, renewals;
	u64 evictions, evicted_tus, spared; /* units, TUs, units by clock */
	u64 tus_live, tc_used;
	u64 exits[8]; /* by enum bt_exit_kind, as seen by bt_exit_at() */
};

/* NULL on lack of memory, or if tc_size, window, evict or units is out of range. */
struct bt *bt_create(const struct bt_config *cfg, const struct bt_ops *ops,
		     void *opaque);
void bt_destroy(struct bt *bt);

/*
 * The tpc at which guest instruction gpc starts, translating if need be. 0;
 * -EFAULT: the first byte(s) cannot be fetched (ops->fetch kept the fault);
 * -ENOMEM.
 */
int bt_enter(struct bt *bt, gva_t gpc, u32 mode, tpc_t *tpc);

/*
 * Like bt_enter() without translating: 0 or -ENOENT. Also finds instructions in
 * the middle of a TU where the state there is exact.
 */
int bt_find(struct bt *bt, gva_t gpc, u32 mode, tpc_t *tpc);

/*
 * Which exit is at tpc (the address of the int3, i.e. the trap's RIP - 1)?
 * tpc is untrusted: any value gives BT_EXIT_NONE or a real exit.
 */
void bt_exit_at(struct bt *bt, tpc_t tpc, struct bt_exit *out);

/*
 * After BT_EXIT_DIRECT: find or translate the target and link what leads to it.
 * As bt_enter(). Exits are linked as soon as both ends exist, so this is about
 * targets that have not been translated.
 */
int bt_chain(struct bt *bt, const struct bt_exit *exit, tpc_t *tpc);

/* After BT_EXIT_INDIRECT: find or translate, fill the indirect table. As bt_enter(). */
int bt_indirect(struct bt *bt, gva_t target, u32 mode, tpc_t *tpc);

/*
 * After that: if the exit is of a return that has never been run before, it will go to
 * target without the table whenever that is where it goes.
 */
void bt_learn(struct bt *bt, const struct bt_exit *exit, gva_t target);

/* Guest state at tpc (untrusted): 0, or -ENOENT when tpc is in no TU. */
int bt_recover(struct bt *bt, tpc_t tpc, struct bt_state *out);

/*
 * The guest instruction that the host instruction just before tpc is part of: 0,
 * or -ENOENT when tpc starts a TU (or is in none).
 */
int bt_insn_before(struct bt *bt, tpc_t tpc, gva_t *gpc);

/* Is tpc anywhere in the translation cache or bounce code? */
bool bt_in_tc(const struct bt *bt, tpc_t tpc);

/* Drop the TUs that cover any byte of [gpa, gpa + len). Returns how many. */
u32 bt_invalidate_gpa(struct bt *bt, gpa_t gpa, u32 len);
/* Drop the TUs with code from the page at gva (its mapping changed). */
u32 bt_invalidate_gva(struct bt *bt, gva_t gva);
/* Drop the TUs whose gva is in [start, last]: for a top-level slot. */
u32 bt_invalidate_gva_range(struct bt *bt, gva_t start, gva_t last);
bool bt_gfn_has_code(const struct bt *bt, gfn_t gfn);
/* The guest's CR4.FSGSBASE, set at first: without it RDFSBASE and kin are callouts. */
void bt_set_fsgsbase(struct bt *bt, bool on);

#define BT_STOPS 4u
/*
 * Have no code run past these addresses: what leads there exits with BT_EXIT_IRQ.
 * Units of BT_MODE_STEP do not look at them. Replaces the stops there were.
 */
void bt_set_stops(struct bt *bt, const gva_t *stops, u32 n);
/* Drop everything. */
void bt_flush(struct bt *bt);
/*
 * To be called from time to time, every half second or so of a busy guest: drops
 * everything if that is worth it and nothing new is coming (bt/renew.c). True if so.
 */
bool bt_renew(struct bt *bt);

/*
 * Call cb once for every (gva page, gfn) pair that has TUs; cb returns false to
 * have the TUs of that gva page dropped.
 */
void bt_revalidate(struct bt *bt,
		   bool (*cb)(void *arg, gva_t gva_page, gfn_t gfn), void *arg);

/* Bit n set: TUs exist at gvas of top-level (512 GiB) slot n of 512. */
const u64 *bt_top_slots(const struct bt *bt);

void bt_get_stats(const struct bt *bt, struct bt_stats *out);

/*
 * Recording (docs/stream-format.md). With a recorder set, each TU begins by
 * appending its number to the buffer that vcpu_page.record_at counts through, and
 * branches lead to the first instructions of TUs only: so every entry of a TU is
 * in the buffer, in order. What happens to TUs is reported as it happens.
 */
enum bt_dropped {
	BT_DROPPED_GPA, /* bt_invalidate_gpa() */
	BT_DROPPED_SLOT, /* bt_invalidate_gva_range() */
	BT_DROPPED_PAGE, /* bt_invalidate_gva(), bt_revalidate() */
	BT_DROPPED_ALL, /* flush, no range */
};

struct bt_recorded_tu {
	u32 id;
	u32 mode;
	gva_t gva;
	gfn_t gfn[2]; /* [1]: GFN_NONE if it covers one page */
	const u8 *code;
	u32 len;
};

struct bt_recorder {
	void (*tu)(void *opaque, const struct bt_recorded_tu *tu);
	void (*dropped)(void *opaque, enum bt_dropped why, u64 start, u64 len);
	void *opaque;
	u32 next_id; /* in: the first number; out: behind the last */
};

/* NULL: no longer. Drops all TUs; r must outlive its use. */
void bt_set_recorder(struct bt *bt, struct bt_recorder *r);
/*
 * Which TU starts at tpc, or has an instruction starting there, *off guest bytes
 * into it. tpc is what bt_enter() and its like have just given.
 */
bool bt_recorded_place(struct bt *bt, tpc_t tpc, u32 *id, u32 *off);
/*
 * Is tpc (untrusted) the int3 of a TU that found the buffer full? Then *again is
 * where to go on once there is room.
 */
bool bt_record_full(struct bt *bt, tpc_t tpc, tpc_t *again);

/* All structures consistent? Prints the first offence through env_warn(). */
bool bt_audit(struct bt *bt);

/*
 * Bounce: run one guest instruction whose explicit memory operand cannot be
 * touched natively (MMIO, traced page) on a copy of that operand.
 */
struct bt_bounce {
	/* in */
	const u8 *insn; /* 15 readable bytes, or len of them */
	u8 insn_avail;
	gva_t gpc;
	/* out of bt_bounce_plan() */
	u8 insn_len;
	u8 seg; /* enum popf_seg of the operand (FS, GS matter in long mode) */
	s8 base; /* enum popf_gpr, -1 none, 16 RIP (of the next instruction) */
	s8 index; /* enum popf_gpr or -1 */
	u8 scale; /* 1, 2, 4, 8 */
	bool addr32; /* effective address is clipped to 32 bits */
	s64 disp;
	u16 size; /* bytes of the memory operand */
	bool read, write;
	bool bit_string; /* BT* m, r: the bit offset moves the address */
};

/*
 * Decode and describe. 0; -EINVAL: not an instruction of this kind (no explicit
 * memory operand, privileged, control transfer, string, stack, or too wide).
 */
int bt_bounce_plan(struct bt_bounce *b);

/*
 * Emit it into the bounce code page with its operand replaced by data_off bytes
 * into the window (inside WINDOW_BOUNCE_DATA), followed by BT_EXIT_BOUNCE.
 */
int bt_bounce_emit(struct bt *bt, const struct bt_bounce *b, u32 data_off,
		   tpc_t *tpc);

#endif
