/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Replaying a recorded stream through the translation cache alone: tc_stream.c
 * reads the stream, tc_replay.c follows it through a cache, tc_classes.c weighs
 * what each sort of instruction becomes, tc_main.c is the command.
 */
#ifndef TC_REPLAY_H
#define TC_REPLAY_H

#include "bt/bt.h"
#include "userland/stream/stream.h"

/* --- tc_stream.c ---------------------------------------------------------------- */

/* An event that matters to a cache. */
struct tc_event {
	u8 kind; /* enum stream_kind: TU, ENTER, INVALIDATE, FLUSH, WINDOW */
	u8 how; /* ENTER: enum stream_how; INVALIDATE: 1 for gpas */
	u16 off; /* ENTER */
	u32 tu; /* TU, ENTER; INVALIDATE: index into ranges */
};

struct tc_range {
	u64 start, len;
};

struct tc_stream {
	const char *name;
	FILE *file;
	struct stream_reader *reader; /* owns the TUs */
	struct tc_event *events;
	size_t n_events;
	struct tc_range *ranges;
	u32 n_ranges;
	u32 n_tus;
	u64 n_entries; /* kept */
	u32 n_flushes;
};

/*
 * Read a stream, keeping at most `limit` entries (0: all) and every event up to
 * there. Exits with a message if it is damaged.
 */
void tc_stream_read(struct tc_stream *s, const char *name, u64 limit);
void tc_stream_free(struct tc_stream *s);

/* --- tc_classes.c --------------------------------------------------------------- */

struct tc_class {
	const char *name;
	u64 insns, guest_bytes, host_bytes;
};

struct tc_classes {
	struct tc_class *list;
	u32 n;
};

void tc_classes_init(struct tc_classes *c);
/* The TU that bt has just put together. */
void tc_classes_add(struct tc_classes *c, struct bt *bt);
void tc_classes_print(const struct tc_classes *c, FILE *out);

/* --- tc_replay.c ---------------------------------------------------------------- */

enum tc_miss {
	MISS_COLD, /* never entered before */
	MISS_EVICTED,
	MISS_INVALIDATED,
	MISS_MODE, /* entered in another mode only */
	MISSES
};

/* Entries of TUs. Every one is in exactly one of the first eight. */
struct tc_counts {
	u64 chained; /* by a linked exit */
	u64 ibl_hits; /* by the indirect table */
	u64 dispatch_hits; /* the monitor looked it up and found it */
	u64 unchained_hits; /* a direct exit that was not linked, found */
	u64 ibl_found; /* no pad in the table, found by the monitor */
	u64 direct_misses; /* translated: after a direct exit, */
	u64 ibl_misses; /* an indirect branch, */
	u64 dispatch_misses; /* or anything else */
	u64 misses[MISSES]; /* the three again, by cause */
	u64 returns, return_hits, return_first; /* indirect: RET; in table; at once */
	u64 jumps, jump_hits, jump_first; /* indirect: JMP, CALL */
	u64 resyncs; /* entries behind a gap: looked up, not counted */
	u64 unknown; /* code that the stream does not know */
	u64 odd; /* how the guest got there cannot be told: taken for dispatch */
	struct bt_stats bt; /* what the cache counted meanwhile */
	u64 ahead; /* TUs translated before anyone asked for them */
	u64 host_ns; /* of this process */
};

struct tc_config {
	u32 size; /* bytes */
	u32 units;
	enum bt_evict evict;
	struct tc_classes *classes; /* or NULL */
};

/* Replay s `passes` times through one cache; out[] has the counts of each pass. */
void tc_replay(const struct tc_stream *s, const struct tc_config *cfg,
	       u32 passes, struct tc_counts *out);
/* Translate each TU of s once and nothing else, for counting what that costs. */
void tc_translate(const struct tc_stream *s, const struct tc_config *cfg,
		  struct bt_stats *out);

#endif
