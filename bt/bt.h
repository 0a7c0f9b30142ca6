/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The translator's private structures. The contract is include/popf/bt.h.
 *
 * Words: a TU is a struct tu, a run of at most BT_TU_INSNS guest instructions,
 * straightened across direct jmps, inside one guest page (a TU of exactly one
 * instruction may cross into the next). Offsets ("off") are bytes into the TC. A
 * *site* is the place of a direct branch that can be patched; a *pad* is the
 * verified landing place of indirect branches to one gpc.
 *
 * Parts, in reading order: decode.c and classify.c (what is this instruction),
 * emit.[ch] (bytes), translate*.c (rewriting), record.c (which tpc means what),
 * cache.c (TC memory), evict.c (what goes when it is full), tu.c (finding and
 * dropping), chain.c and ibl.c (links), recover.c (back to guest state), bounce.c,
 * recording.c, audit.c.
 *
 * Invariants:
 *  1. struct tu lives in the arena of the unit that holds its code; both are
 *     recycled together, so a dead TU can still be found by its tpc until then.
 *  2. A dead TU is in no hash, no page list, no link and no pad chain. Its first
 *     byte is an int3 that leads back to bt_enter(), and so are its short loops and
 *     its links; unless nobody was in translated code when it died (tu.left): then
 *     nobody comes there either, and its code is as it was.
 *  3. TC bytes change only in: the unit being filled, patch sites, TU entries.
 */
#ifndef BT_BT_H
#define BT_BT_H

#include <Zydis/Zydis.h>

#include "popf/bt.h"
#include "popf/env.h"

#define BT_TU_INSNS 48
#define BT_TU_BYTES 4096u /* room for one TU's code, worst case */
#define TU_ALIGN 16u
#define BT_SHIFT_MAX 48u /* a TU may start that much later, see loop_shift() */
#define BT_TU_STOP 3200u /* start no further instruction beyond this */
#define BT_TU_RECS 1024
#define BT_TU_RECS_STOP 900
#define BT_TU_EXITS 72
#define BT_TU_EXITS_STOP 64
#define BT_UNITS 8 /* unless bt_config.units says otherwise */
#define BT_UNITS_MIN 4
#define BT_UNITS_MAX 64
#define BT_UNIT_SIZE_MIN 16384u
#define BT_REPEAT 16u /* instructions that a TU repeats, see note_repeat() */
#define BT_INSN_MAX 15
/* TUs translated on top of the one asked for, at most. */
#define BT_AHEAD 8u

#define BT_CPAGE_BUCKETS 4096u
#define BT_WANTED_BITS (1u << 18)

/* The first bytes of the TC: tables and stubs that all TUs share. */
#define FIXED_SLOW_FLAGS 0x000u /* [bits 8..15 of flags] != 0: POPF is slow */
#define FIXED_IF_BYTE 0x100u /* [bits 8..15 of flags]: byte 1 of vif */
#define FIXED_MISS 0x200u /* end of every pad chain */
#define FIXED_SIZE 0x400u

/* Of a return's check, lea rcx, [rcx + disp32]: translate_branch.c */
#define RETURN_CHECK_BYTES 7u

/* Host register numbers beyond a byte's reach need REX; these are enough. */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

/* What becomes of an instruction. */
enum bt_class {
	CLS_NONE, /* nobody thought of it: callout, and a unit test fails */
	CLS_COPY,
	CLS_VERBATIM, /* copy, RIP-relative operand without meaning */
	CLS_NOTHING, /* emits nothing */
	CLS_LEA,
	CLS_UD,
	CLS_GP, /* more than 15 bytes */
	CLS_CALLOUT,
	CLS_JMP,
	CLS_JCC,
	CLS_LOOP, /* LOOP, LOOPE, LOOPNE, JRCXZ, JECXZ */
	CLS_CALL,
	CLS_RET,
	CLS_IRET,
	CLS_SYSRET,
	CLS_WRMSR,
	CLS_PUSHF,
	CLS_POPF,
	CLS_CLI,
	CLS_STI,
	CLS_SWAPGS,
	CLS_FSGSBASE,
	CLS_MOV_CR, /* from a control register */
	CLS_MOV_SREG, /* from a segment register */
	CLS_PUSH_SREG,
	CLS_RDTSC,
	CLS_RDTSCP,
	CLS_RDPID,
	CLS_COUNT
};

/* One decoded guest instruction. */
struct bt_insn {
	gva_t gpc;
	u8 bytes[16];
	u8 len;
	u8 cls; /* enum bt_class */
	u8 opcode; /* of its map; the classes tell the maps apart */
	u8 rex; /* 0: none */
	u8 seg; /* 0x64, 0x65, 0: no override that matters */
	bool asize; /* address-size prefix */
	bool rip_rel; /* has a RIP-relative memory operand */
	u8 modrm_off; /* where ModRM is, if there is one */
	u8 disp_off; /* where the disp32 is, if rip_rel */
	bool full; /* struct bt's zi describes it too */
	s32 rel; /* branches: distance; RET: bytes to release */
};

/* Flags of a record. */
#define REC_BOUNDARY 0x01u /* exact, at the start of a guest instruction */
#define REC_INDIRECT 0x02u /* gpc is vcpu_page.ibl_target */
#define REC_OPAQUE 0x04u
#define REC_SHADOW 0x08u
#define REC_TARGET 0x10u /* gpc is the target of exits[exit] */

/* From tpc offset toff on, until the next record. */
struct bt_rec {
	u16 toff;
	s16 goff;
	u16 spilled;
	u8 flags;
	u8 exit;
};

struct rec_iter {
	const u8 *p;
	const u8 *end;
	struct bt_rec rec;
};

/*
 * FORM_SHORT is no exit while its TU lives: a two-byte jcc back to an instruction
 * of the same TU, kind BT_EXIT_NONE. When the TU goes it becomes the int3 of a
 * direct exit to itself, so that a loop ends whose code is no longer valid.
 */
enum exit_form { FORM_INT3, FORM_JMP, FORM_JCC, FORM_SHORT };

/*
 * One int3 of a TU and, for direct branches, the site that leads to it. A direct
 * exit is either linked (to, on its target's list in) or waits for its target to
 * be translated (on the list of its bucket in wait[]).
 */
struct tu_exit {
	union {
		struct {
			gva_t target; /* DIRECT, IRQ, STEP: gpc; FORM_SHORT: the jcc's */
			struct tu *to; /* linked to, or NULL: waiting */
			struct tu_exit *next; /* of to->in or of the bucket */
		};
		struct {
			gva_t gpc; /* CALLOUT, UD */
			u8 insn[BT_INSN_MAX];
			u8 len;
		};
	};
	u32 base; /* TC offset of the TU */
	u32 stub : 12; /* the int3, relative to base */
	u32 site : 12; /* FORM_JMP, FORM_SHORT: == stub; FORM_JCC: the jcc;
			* INDIRECT: where the return's check goes */
	u32 kind : 3; /* enum bt_exit_kind */
	u32 form : 2; /* enum exit_form */
	u32 indirect : 1; /* STEP */
	u32 mode : 2; /* of the TU */
};

struct cpage;

enum tu_kind { TU_CODE, TU_PAD };

struct tu {
	gva_t gpc;
	struct tu *hash_next;
	struct cpage *cp[2]; /* the pages it covers; [1] is rare */
	struct tu *page_next[2]; /* on the lists of cp[] */
	union {
		struct tu_exit *in; /* links to this TU */
		struct tu *owner; /* TU_PAD: whose pad; NULL: unlinked */
	};
	struct tu *pad_next; /* next pad of the same table index */
	u32 off; /* of its first byte */
	u32 pad; /* TC offset of its pad, 0: none */
	u16 len; /* host bytes */
	u16 glen, back; /* its guest code is in [gpc - back, gpc + glen) */
	u16 rec_len;
	u8 entry; /* of the guest code's start, relative to off */
	u8 nexit;
	u8 kind;
	u8 mode;
	u8 dead;
	u8 detached; /* dying: its exits are on no list */
	u8 left; /* and its code has not been touched */
	u8 again; /* wanted since its unit is watched */
	u32 id; /* while recording: its number */
	struct tu_exit exit[];
	/* rec_len bytes of packed records follow the exits */
};

static_assert(sizeof(struct tu_exit) == 32, "exits are many: keep them small");
static_assert(BT_TU_BYTES <= 1 << 12, "12 bits hold an offset into a TU");

/* A guest page as code: one (gva page, gfn) pair. */
struct cpage {
	gva_t page;
	gfn_t gfn;
	struct cpage *gva_next;
	struct cpage *gfn_next;
	struct cpage *empty_next;
	struct tu *tus;
	u64 cover; /* bit n: some TU covers bytes 64n..64n+63 (may be stale) */
	u64 starts[POPF_PAGE_SIZE / 64]; /* bit n: an instruction at n, perhaps */
	u64 heads[POPF_PAGE_SIZE / 64]; /* bit n: a TU starts at n, perhaps */
	u32 count;
	bool on_empty;
};

/* Which TUs a unit holds: under BT_EVICT_GENERATIONAL the old ones came back. */
enum bt_gen { GEN_NEW, GEN_OLD, GENS };

/* A piece of the TC: filled, then recycled as a whole. */
struct unit {
	u32 start, end; /* TC offsets */
	u32 used; /* next free TC offset */
	u8 *arena; /* metadata; NULL until first used */
	u32 arena_used;
	struct tu **by_tpc; /* ascending; includes the dead */
	u32 ntu;
	u32 live; /* TUs and linked pads */
	u64 born; /* bt->clock when filling began, or when spared */
	u8 gen; /* enum bt_gen */
	bool watched; /* clock: nothing outside links to it, see evict.c */
	u32 again; /* TUs that were wanted while watched */
};

/* Gpcs that have been evicted, roughly: two generations of hashed bits. */
struct ghosts {
	u64 *bits[2]; /* [0]: being filled */
	u32 mask; /* of bit numbers */
	u32 count; /* in bits[0] */
};

/* What will most likely run soon. */
struct bt_ahead {
	gva_t gpc;
	bool pad;
};

/* The translation under way. */
struct bt_trans {
	gva_t gpc; /* of the TU */
	gva_t cur; /* next instruction */
	gva_t base; /* of what is in buf */
	gva_t low, high; /* the code so far is in [low, high) */
	u32 mode;
	u32 off; /* TC offset of the TU */
	u8 *code; /* where it is put together: bt->code */
	u32 n; /* bytes emitted */
	u32 nrec, nexit, packed;
	u32 ninsn, guest_bytes;
	u32 first_run; /* records before the first straightened jmp; 0: all */
	u32 repeat; /* instructions to go that are translated elsewhere too */
	bool overflow; /* sticky */
	bool fail; /* something cannot be encoded: our bug */
	bool shadow; /* the previous instruction was STI */
	bool done;
	bool ahead; /* nobody has asked for it: give up rather than fault */
	gfn_t gfn[2];
	u32 fetched; /* bytes in buf, from base on */
	u32 limit; /* bytes up to the end of the first page, at most buf */
	u32 entry; /* offset of the guest code's start, behind a pad */
	u8 buf[512];
};

struct bt {
	struct bt_config cfg;
	const struct bt_ops *ops;
	void *opaque;
	u32 page_abs; /* disp32 of the vCPU page */
	u32 table_abs; /* disp32 of the indirect target table */
	tpc_t tc_base; /* tpc of TC offset 0 */

	struct unit unit[BT_UNITS_MAX];
	u32 nunit;
	struct unit *open[GENS]; /* being filled; NULL: none yet */
	struct unit *filling; /* where the TU under way goes */
	u64 clock; /* of units */
	u32 nwatched;
	struct ghosts ghosts;
	u32 unit_size, arena_size, max_tus;

	struct tu **hash;
	struct tu_exit **wait; /* by target: exits that wait for it */
	u32 hash_mask; /* of both */
	u64 wanted[BT_WANTED_BITS / 64]; /* has any exit ever waited for it? */
	struct cpage *by_gva[BT_CPAGE_BUCKETS];
	struct cpage *by_gfn[BT_CPAGE_BUCKETS];
	struct cpage *empty;
	u64 top_slots[8];
	u32 top_count[512];

	struct tu self; /* stands for the TU under way */
	struct bt_ahead ahead[BT_AHEAD];
	u32 nahead;
	u32 bounce_end; /* offset of the bounce's int3; 0: none */
	struct bt_recorder *recorder; /* NULL: nobody records */
	bool fsgsbase_off; /* the guest's CR4 lacks it */
	bool settled; /* there was a renewal */
	gva_t stop[BT_STOPS];
	u32 nstops;
	u64 renew_seen; /* renew.c: TUs translated by the last look */
	u64 renew_dropped; /* and dropped by the last renewal */
	struct bt_stats stats;

	/* Scratch, here because kernel stacks are small. */
	struct bt_trans t;
	struct bt_insn insn;
	u64 code[BT_TU_BYTES / 8];
	struct bt_rec rec[BT_TU_RECS];
	struct tu_exit exit[BT_TU_EXITS];
	u8 packed[BT_TU_RECS * 8];
	ZydisDecoder decoder;
	ZydisDecoderContext zctx;
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand zop[ZYDIS_MAX_OPERAND_COUNT];
};

/* Absolute disp32 of a field of the vCPU page. */
#define VP(bt, field) \
	((bt)->page_abs + (u32)offsetof(struct vcpu_page, field))
#define VP_SPILL(bt, reg) (VP(bt, spill) + 8u * (u32)(reg))
#define FIXED_ABS(bt, what) ((u32)(bt)->tc_base + (what))

static inline tpc_t off_to_tpc(const struct bt *bt, u32 off)
{
	return bt->tc_base + off;
}

static inline u8 *off_to_host(struct bt *bt, u32 off)
{
	return bt->cfg.tc + off;
}

static inline const u8 *tu_recs(const struct tu *tu)
{
	return (const u8 *)&tu->exit[tu->nexit];
}

static inline bool fits_s32(u64 v)
{
	return (s64)v == (s32)v;
}

/* decode.c */
enum decode_result { DECODE_OK, DECODE_UD, DECODE_CROSS };
enum decode_result decode_insn(struct bt *bt, const u8 *p, u32 avail,
			       gva_t gpc);
void decode_full(struct bt *bt);
int decode_operands(struct bt *bt);
u32 decode_used_regs(struct bt *bt);

/* decode_fast.c */
bool decode_fast(struct bt_insn *in, const u8 *p);

/* classify.c */
enum bt_class classify(const ZydisDecodedInstruction *zi);

/* record.c */
void rec_add(struct bt *bt, gva_t gpc, u16 spilled, u8 flags);
void rec_add_target(struct bt *bt, u32 exit, u16 spilled);
u32 rec_pack(struct bt *bt);
void rec_iter_init(struct rec_iter *it, const struct tu *tu);
bool rec_iter_next(struct rec_iter *it);

/* translate.c */
int translate(struct bt *bt, gva_t gpc, u32 mode, bool want_pad,
	      struct tu **out);
struct tu_exit *exit_add(struct bt *bt, enum bt_exit_kind kind,
			 enum exit_form form);
void emit_exit_at(struct bt *bt, enum bt_exit_kind kind, gva_t gpc);
void emit_callout(struct bt *bt);
void emit_ud(struct bt *bt);
void emit_spill(struct bt *bt, u32 reg);
void emit_unspill(struct bt *bt, u32 reg);
void emit_irq_check(struct bt *bt, gva_t next);
bool straighten(struct bt *bt, gva_t target);
gva_t rip_ea(const struct bt *bt);
u32 rip_disp(const struct bt *bt, u32 len, gva_t ea);
bool rip_far(const struct bt *bt, u32 len, gva_t ea);

/* translate_branch.c */
void emit_goto(struct bt *bt, gva_t target);
void emit_jcc_stubs(struct bt *bt);
void translate_jmp(struct bt *bt);
void translate_jcc(struct bt *bt);
void translate_loop(struct bt *bt);
void translate_call(struct bt *bt);
void translate_ret(struct bt *bt);
void emit_launch(struct bt *bt, gva_t gpc);

/* translate_priv.c */
void translate_pushf(struct bt *bt);
void translate_popf(struct bt *bt);
void translate_cli(struct bt *bt);
void translate_sti(struct bt *bt);
void translate_swapgs(struct bt *bt);
void translate_mov_cr(struct bt *bt);
void translate_mov_sreg(struct bt *bt);
void translate_push_sreg(struct bt *bt);
void translate_rdtsc(struct bt *bt, bool with_aux);
void translate_rdpid(struct bt *bt);

/* translate_msr.c */
void translate_wrmsr(struct bt *bt);

/* translate_return.c */
void translate_iret(struct bt *bt);
void translate_sysret(struct bt *bt);

/* stop.c */
bool stop_at(const struct bt *bt, gva_t gpc);

/* ahead.c */
void ahead_add(struct bt *bt, gva_t gpc, bool pad);
void ahead_run(struct bt *bt, u32 mode);

/* recover.c */
bool find_place(struct bt *bt, gva_t gpc, u32 mode, struct tu **tu, u32 *off);
bool is_boundary(const struct tu *tu, u32 off, gva_t gpc);

/* recording.c */
bool find_target(struct bt *bt, gva_t gpc, u32 mode, struct tu **tu, u32 *off);
void recording_head(struct bt *bt);
void recording_tu(struct bt *bt, struct tu *tu);

static inline void recording_dropped(struct bt *bt, enum bt_dropped why,
				     u64 start, u64 len)
{
	if (unlikely(bt->recorder))
		bt->recorder->dropped(bt->recorder->opaque, why, start, len);
}

/* cache.c */
int cache_init(struct bt *bt);
void cache_exit(struct bt *bt);
int cache_begin(struct bt *bt, enum bt_gen gen, u32 *off);
struct tu *cache_alloc_tu(struct bt *bt, u32 off, u32 len, u32 nexit,
			  u32 rec_len);
struct tu *cache_find(struct bt *bt, u32 off);
void cache_flush(struct bt *bt);
void cache_release(struct bt *bt);
struct unit *unit_of(struct bt *bt, u32 off);
void unit_kill(struct bt *bt, struct unit *u, enum bt_gone why);

/* evict.c */
int evict_init(struct bt *bt);
void evict_exit(struct bt *bt);
struct unit *evict_pick(struct bt *bt);
void evict_prepare(struct bt *bt);
enum bt_gen evict_gen(struct bt *bt, gva_t gpc);
void evict_note(struct bt *bt, gva_t gpc);
void evict_watched_touch(struct bt *bt, struct tu *tu);
/* The guest wants tu: if its unit is watched, take note and link it again. */
static inline void evict_touch(struct bt *bt, struct tu *tu)
{
	if (unlikely(bt->nwatched))
		evict_watched_touch(bt, tu);
}

void unit_unwatch(struct bt *bt, struct unit *u);

/* tu.c */
u32 tu_hash(const struct bt *bt, gva_t gpc, u32 mode);
struct tu *tu_lookup(struct bt *bt, gva_t gpc, u32 mode);
int tu_pages(struct bt *bt, gva_t gpc, const gfn_t *gfn, struct cpage **cp);
void tu_insert(struct bt *bt, struct tu *tu, struct cpage *const *cp);
void tu_detach(struct bt *bt, struct tu *tu);
void tu_kill(struct bt *bt, struct tu *tu, enum bt_gone why);
struct tu *tu_page_next(const struct cpage *cp, const struct tu *tu);
u32 tu_page_bucket(u64 address);
bool page_has_code(const struct bt *bt, gva_t page);
void cpage_reap(struct bt *bt);

/* chain.c */
void link_set(struct bt *bt, struct tu_exit *x, struct tu *to, u32 off);
void link_clear(struct bt *bt, struct tu_exit *x);
void link_forget(struct bt *bt, struct tu_exit *x);
void return_set(struct bt *bt, struct tu_exit *x, gva_t target);
void wait_add(struct bt *bt, struct tu_exit *x);
void wait_del(struct bt *bt, struct tu_exit *x);
void link_in_buffer(struct bt *bt);
void link_adopt(struct bt *bt, struct tu *tu);
void link_waiting(struct bt *bt, struct tu *tu, gva_t gpc, u32 off);
bool is_waiting(struct bt *bt, const struct tu_exit *x);
u32 find_in_buffer(const struct bt *bt, gva_t gpc);

/* ibl.c */
void ibl_init(struct bt *bt);
void pad_emit(struct bt *bt, gva_t gpc);
int pad_create(struct bt *bt, struct tu *tu);
void pad_link(struct bt *bt, struct tu *tu);
void pad_unlink(struct bt *bt, struct tu *tu);
struct tu *pad_owner(struct bt *bt, tpc_t tpc);
u32 pad_site(const struct tu *tu);

#endif
