/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shadow paging's private structures and functions, grouped by file.
 *
 * Three structures carry everything:
 *
 *   struct shadow_page	 one page of sptes and the key it was made for: the gfn
 *			 of the guest table it shadows and its role.
 *   struct shadow_block what is known about 512 consecutive guest frames: their
 *			 traces and the heads of their reverse maps.
 *   struct shadow_link	 per present spte: what it points to (a frame or a
 *			 shadow page) and its neighbours on that one's list.
 *
 * A *slot* names one spte: page id << 9 | index. Slot 0 is none, since page 0
 * is the head of the LRU list and never holds sptes. A frame's reverse map and
 * a shadow page's parents are the same kind of list of slots.
 *
 * docs/shadow-paging.md explains; its numbered invariants are those of audit.c.
 */
#ifndef POPF_SHADOW_INTERNAL_H
#define POPF_SHADOW_INTERNAL_H

#include <popf/env.h>
#include <popf/shadow.h>

#include "spte.h"

#define SP_GFN_NONE 0xffffffffu
/* Frames from here on count as no memory (16 TiB). */
#define SHADOW_GFN_LIMIT 0xffffffffull

#define CHUNK_LINKS 16u
#define PREFAULT 8u /* entries of a group, divides CHUNK_LINKS */
#define BLOCK_HASH 1024u
#define PENDING_GFNS 8u
#define UNSYNC_MAX 64u

/* What one operation may need at most while it holds the lock. */
#define NEED_PAGES 6u
#define NEED_CHUNKS 16u
#define NEED_BLOCKS 6u
/* What is stocked up to when there is less than that. */
#define STOCK_PAGES (NEED_PAGES + 10)
#define STOCK_CHUNKS (NEED_CHUNKS + 48)
#define STOCK_BLOCKS (NEED_BLOCKS + 4)
/* How many are kept for later when freed. */
#define KEEP_PAGES 64u
#define KEEP_CHUNKS 256u

#define SHADOW_MIN_PAGES 32u
#define SHADOW_MAX_PAGES (1u << 22)

/*
 * Everything that decides a shadow page's contents besides the guest table.
 * Fields that do not matter to a page are zero in it, so that it can be shared.
 */
union shadow_role {
	u32 word;
	struct {
		u32 level : 3; /* 1..4; 5: top page on a 5-level host */
		u32 view : 1; /* enum shadow_view */
		u32 wp : 1; /* kernel view: guest's CR0.WP */
		u32 nxe : 1; /* guest's EFER.NXE */
		u32 w : 1; /* all upper levels allow writes */
		u32 x : 1; /* user view: all upper levels allow fetches */
		u32 window : 1; /* on the path to the TC window */
		u32 split : 1; /* piece of a larger leaf: gfn is the first frame */
		u32 direct : 1; /* gva is gpa (CR0.PG clear); not made yet */
		u32 half : 2; /* level 4 below level 5: 1 lower, 2 upper half */
		u32 maxphy : 6; /* guest's MAXPHYADDR: decides reserved bits */
	};
};

struct shadow_link {
	u32 target; /* leaf: gfn; otherwise: id of the child */
	u32 next; /* slots */
	u32 prev;
};

struct shadow_chunk {
	struct shadow_link link[CHUNK_LINKS];
};

struct shadow_page {
	u64 *spt;
	struct shadow_chunk *chunk[PT_ENTRIES / CHUNK_LINKS];
	u32 id;
	u32 gfn; /* or SP_GFN_NONE */
	union shadow_role role;
	u32 parents; /* list of slots that point here */
	u32 hash_next; /* id; also links the free list */
	u32 lru_next; /* id; towards less recently used */
	u32 lru_prev;
	u16 present; /* sptes with a link */
	u8 writes; /* guest stores since last used, while unreachable */
	bool live;
	bool permanent; /* the window's own path pages */
	bool pinned; /* part of a current root */
	bool code; /* translated code was fetched through it */
	bool checked; /* looked for window conflicts */
	bool unsync; /* its table is on the list of those out of sync */
};

struct shadow_block {
	struct shadow_block *hash_next;
	u64 base; /* gfn >> 9 */
	u32 large; /* list of 2 MiB sptes */
	u16 traced; /* frames with any trace */
	u16 stale; /* frames with SHADOW_TRACE_STALE */
	bool no_large; /* writes are logged: 4 KiB only */
	u32 rmap[PT_ENTRIES]; /* lists of 4 KiB sptes */
	u8 trace[PT_ENTRIES]; /* SHADOW_TRACE_* */
};

/* A guest table that is shadowed but not traced. */
struct shadow_unsync {
	u32 gfn;
	u32 idle; /* flushes in a row that found no change in it */
	u32 hot; /* the slot that the last hidden fault filled, or 0 */
};

/* Preallocated memory; each kind is a list linked through its first word. */
struct shadow_cache {
	void *pages, *chunks, *blocks;
	u32 nr_pages, nr_chunks, nr_blocks;
};

/* What of a mode decides what its roots map. */
struct shadow_root_key {
	u64 cr3; /* the frame */
	u64 role; /* all else that goes into root_role() */
};

/*
 * The last way down to a level-1 page of a view: good for the same 2 MiB of the
 * same root as long as the guest's entries are the same and no link has gone.
 */
struct shadow_way {
	struct shadow_root_key key;
	gva_t region; /* gva >> 21 */
	u64 gpte[GUEST_LEVELS + 1]; /* of levels 2..4 */
	u64 unlinks;
	u32 leaf; /* page id, or 0 */
};

struct shadow {
	struct popf_vm *vm;
	struct shadow_config cfg; /* .fixed.window_pde is our copy */
	const struct shadow_ops *ops;
	void *opaque;
	struct env_mutex lock;

	/* Bumped by every change of a traced guest table. */
	u64 gen;
	/* This lock hold: kick done, rights removed since the last kick. */
	bool kicked, removed;
	/* This lock hold: a guest table has become traced. */
	bool new_trace;
	/* This lock hold: tables of the lower half may start out of sync. */
	bool lower;
	/* This lock hold: code or tables have lost their contents. */
	bool contents_gone;
	/* What to report after unlocking. */
	gfn_t pending[PENDING_GFNS];
	u32 nr_pending;
	bool pending_none;
	bool pending_conflict;
	gva_t conflict_gva;
	/* A level-2 table on the window's path to look for conflicts in. */
	gpa_t check_pdes;

	struct shadow_page *sp; /* [max_pages + 1] */
	u32 free_list;
	u32 nr_free;
	u32 *hash; /* ids */
	u32 hash_mask;
	struct shadow_block *block_hash[BLOCK_HASH];
	struct shadow_block *last_block;
	struct shadow_cache cache;

	/*
	 * The roots of now, and of which mode. Both are written with the lock,
	 * and only by the vCPU's thread: that may read them without.
	 */
	struct shadow_page *cur[SHADOW_VIEWS];
	struct shadow_mode cur_mode[SHADOW_VIEWS];
	struct shadow_way way[SHADOW_VIEWS];
	u64 unlinks; /* child pages taken from a slot so far */
	struct shadow_page *win_l3, *win_l2; /* path where the guest has none */
	bool has_window, has_region;
	struct shadow_unsync unsync[UNSYNC_MAX];
	u32 nr_unsync;
	/* Outside lock: one shadow_sync() at a time, with its copy of a table. */
	struct env_mutex sync_lock;
	u64 *sync_buf;
	u32 code_traced; /* frames with SHADOW_TRACE_CODE */
	u32 stale; /* frames with SHADOW_TRACE_STALE */
	u32 unaudited; /* changes since the last audit */
	struct shadow_stats stats;
};

/* One guest walk; arrays are indexed by level. */
struct shadow_gwalk {
	gva_t gva;
	int level; /* of the leaf */
	u64 gpte[GUEST_LEVELS + 1];
	gpa_t gpte_gpa[GUEST_LEVELS + 1];
	u8 acc[GUEST_LEVELS + 1]; /* rights of all levels above this one */
	gfn_t gfn; /* of the 4 KiB frame */
	gpa_t gpa;
	u32 error; /* on a fault */
	bool code; /* for translation: mark the pages gone through */
	u64 group[PREFAULT]; /* level 1: the aligned group around the leaf */
};

/* Rights of a leaf in one shadow page. */
struct shadow_rights {
	bool ok; /* visible in this view at all */
	bool w, x;
};

/* A neighbour that may be mapped along with a fault. */
struct shadow_want {
	gfn_t gfn;
	u32 index;
	struct shadow_rights rights;
	bool dirty; /* made writable */
	struct gmem_page page;
};

struct shadow_prefault {
	u32 n;
	/* The level-1 page: where it was and what it was. */
	u32 id, gfn;
	union shadow_role role;
	u64 gen;
	bool write; /* the guest is filling memory here */
	struct shadow_want want[PREFAULT];
};

/* shadow.c */
void shadow_lock(struct shadow *s);
void shadow_unlock(struct shadow *s); /* delivers what is pending */
void shadow_removing(struct shadow *s); /* before any spte loses rights */
void shadow_flush(struct shadow *s); /* before freed tables are used again */
void shadow_pend_code(struct shadow *s, gfn_t gfn);
void shadow_pend_conflict(struct shadow *s, gva_t gva);
int shadow_mode_check(const struct shadow_mode *m);

/* alloc.c */
int shadow_cache_fill(struct shadow *s); /* without the lock */
bool shadow_cache_ready(const struct shadow *s);
void shadow_cache_destroy(struct shadow *s);
void *shadow_cache_page(struct shadow *s);
struct shadow_chunk *shadow_cache_chunk(struct shadow *s);
struct shadow_block *shadow_cache_block(struct shadow *s);
void shadow_cache_put_page(struct shadow *s, void *page);
void shadow_cache_put_chunk(struct shadow *s, struct shadow_chunk *chunk);

/* walk.c */
int shadow_guest_walk(struct popf_vm *vm, const struct shadow_mode *m,
		      gva_t gva, u32 access, struct shadow_gwalk *w);

/* rmap.c */
struct shadow_block *shadow_block_find(struct shadow *s, gfn_t gfn);
struct shadow_block *shadow_block_get(struct shadow *s, gfn_t gfn);
struct shadow_link *shadow_slot_link(struct shadow *s, u32 slot);
u64 *shadow_slot_spte(struct shadow *s, u32 slot);
bool shadow_slot_add(struct shadow *s, u32 *head, struct shadow_page *sp,
		     u32 index, u32 target);
void shadow_slot_del(struct shadow *s, u32 *head, struct shadow_page *sp,
		     u32 index);
void shadow_write_protect(struct shadow *s, gfn_t gfn);
void shadow_zap_list(struct shadow *s, u32 *head);

/* trace.c */
u32 shadow_trace_bits(struct shadow *s, gfn_t gfn);
bool shadow_trace_set(struct shadow *s, gfn_t gfn, u32 kind);
void shadow_trace_clear(struct shadow *s, gfn_t gfn, u32 kind);

/* unsync.c */
bool shadow_unsync_new(struct shadow *s, struct shadow_page *sp, bool lower);
bool shadow_unsync_begin(struct shadow *s, gfn_t gfn);
void shadow_unsync_end(struct shadow *s, u32 gfn);
void shadow_unsync_forget(struct shadow *s, u32 gfn);
void shadow_unsync_zap(struct shadow *s, gfn_t first, gfn_t count);
void shadow_unsync_note(struct shadow *s, struct shadow_page *sp, u32 index);
void shadow_sync_gva(struct shadow *s, gva_t gva);
bool shadow_child_fits(const struct shadow_page *sp,
		       const struct shadow_page *child, u64 gpte);

/* write.c */
bool shadow_drop_dead_root(struct shadow *s, gfn_t gfn);

/* page.c */
struct shadow_page *shadow_page_find(struct shadow *s, u32 gfn,
				     union shadow_role role);
struct shadow_page *shadow_page_get(struct shadow *s, u32 gfn,
				    union shadow_role role);
struct shadow_page *shadow_page_next(struct shadow *s, struct shadow_page *sp,
				     u32 gfn);
void shadow_page_free(struct shadow *s, struct shadow_page *sp);
void shadow_page_empty(struct shadow *s, struct shadow_page *sp);
bool shadow_page_test_used(struct shadow *s, struct shadow_page *sp);
void shadow_page_touch(struct shadow *s, struct shadow_page *sp);
bool shadow_page_is_table(const struct shadow_page *sp);
void shadow_page_link(struct shadow *s, struct shadow_page *sp, u32 index,
		      struct shadow_page *child);
void shadow_zap_slot(struct shadow *s, struct shadow_page *sp, u32 index);
void shadow_page_relink(struct shadow *s, struct shadow_page *sp, u32 index,
			struct shadow_page *child);
bool shadow_set_leaf(struct shadow *s, struct shadow_page *sp, u32 index,
		     gfn_t gfn, u64 spte);
void shadow_reclaim(struct shadow *s, u32 want_free);
void shadow_free_all(struct shadow *s, bool keep_pinned);

/* fixed.c */
bool shadow_fixed_set(struct shadow *s, const struct shadow_fixed *fixed,
		      u64 *pdes);
void shadow_fixed_drop(struct shadow *s);
bool shadow_fixed_valid(const struct shadow_fixed *fixed);
void shadow_fixed_fill(struct shadow *s, struct shadow_page *sp);
bool shadow_slot_fixed(const struct shadow *s, const struct shadow_page *sp,
		       u32 index);
bool shadow_slot_path(const struct shadow *s, const struct shadow_page *sp,
		      u32 index);
bool shadow_gva_fixed(const struct shadow *s, enum shadow_view view, gva_t gva);
gva_t shadow_slot_fixed_gva(const struct shadow *s,
			    const struct shadow_page *sp, u32 index);
bool shadow_on_window_path(const struct shadow *s, gva_t gva, int level);

/* root.c */
struct shadow_root_key shadow_root_key(const struct shadow_mode *m);
u32 shadow_half(const struct shadow *s, gva_t gva);
struct shadow_page *shadow_root_get(struct shadow *s,
				    const struct shadow_mode *m,
				    enum shadow_view view, u32 gfn);
struct shadow_page *shadow_root_top(struct shadow *s, struct shadow_page *root,
				    gva_t gva);

/* fault.c */
union shadow_role shadow_table_role(const struct shadow *s,
				    const struct shadow_mode *m,
				    enum shadow_view view,
				    const struct shadow_gwalk *w, int level);
int shadow_reserve(struct shadow *s);
int shadow_build(struct shadow *s, const struct shadow_mode *m,
		 enum shadow_view view, const struct shadow_gwalk *w,
		 struct shadow_page **leaf);
struct shadow_rights shadow_leaf_rights(union shadow_role role, u64 gpte,
					int level);
u64 shadow_make_leaf(union shadow_role role, hpa_t hpa, bool w, bool x);

/* audit.c */
bool shadow_audit_locked(struct shadow *s);

/* prefault.c */
void shadow_prefault_collect(struct shadow *s, struct shadow_page *sp,
			     u32 index, const u64 *group, bool write,
			     struct shadow_prefault *pf);
void shadow_prefault(struct shadow *s, struct shadow_prefault *pf);

static inline u32 slot_of(const struct shadow_page *sp, u32 index)
{
	return sp->id << 9 | index;
}

static inline struct shadow_page *slot_page(struct shadow *s, u32 slot)
{
	return &s->sp[slot >> 9];
}

static inline u32 slot_index(u32 slot)
{
	return slot & (PT_ENTRIES - 1);
}

static inline void spte_set(struct shadow_page *sp, u32 index, u64 spte)
{
	WRITE_ONCE(sp->spt[index], spte);
}

#endif
