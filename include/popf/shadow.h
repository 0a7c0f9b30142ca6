/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shadow paging's contract.
 *
 * Each guest CR3 has two shadow roots (views): SHADOW_USER for direct execution
 * of guest CPL 3 (only pages with U=1, guest NX honoured) and SHADOW_KERNEL for
 * translated code (every guest page as a user page, all of them NX, plus the TC
 * window). Both map the switch region, supervisor only.
 *
 * Guest page tables that are shadowed are write-protected ("traced"): guest
 * stores to them come back as SHADOW_PF_TRACE, the caller emulates the store
 * through shadow_write(), which updates sptes at once (eager validate).
 *
 * TLB rule: sptes are only changed while the VM's vCPUs are outside the guest
 * world or will be kicked out of it (kick callback), and every entry to the guest
 * world loads CR3 with CR4.PGE clear. Nothing else is flushed.
 *
 * Locking: one internal lock (env_mutex); guest memory is read and host pages
 * are looked up without it, results are checked under it with gmem_retry().
 * shadow_zap_gfns() and its like may be called from an mmu notifier.
 */
#ifndef POPF_SHADOW_H
#define POPF_SHADOW_H

#include "gmem.h"
#include "types.h"

struct shadow;

enum shadow_view { SHADOW_USER, SHADOW_KERNEL, SHADOW_VIEWS };

/* Page-fault error code bits, as hardware has them. */
#define PF_ERR_PRESENT 0x01u
#define PF_ERR_WRITE 0x02u
#define PF_ERR_USER 0x04u
#define PF_ERR_RSVD 0x08u
#define PF_ERR_FETCH 0x10u

/* Why writes to a frame are watched. */
#define SHADOW_TRACE_PT 0x1u /* internal: a guest page table is shadowed */
#define SHADOW_TRACE_CODE 0x2u /* translated code is derived from it */
#define SHADOW_TRACE_TABLE 0x4u /* a GDT/IDT/TSS copy is derived from it */
#define SHADOW_TRACE_STALE 0x8u /* internal: CODE, and the code has gone */

/* The guest's paging state; the monitor fills it from the vCPU's registers. */
struct shadow_mode {
	u64 cr0; /* PG, WP */
	u64 cr3;
	u64 cr4; /* PAE, PSE, SMEP, SMAP, LA57 must be 0 for now */
	u64 efer; /* LME/LMA, NXE */
	u8 maxphyaddr; /* the guest's, 32..52 */
};

/* What is mapped into roots besides the guest. */
struct shadow_fixed {
	gva_t region_base; /* 512 GiB aligned */
	u64 region_pte; /* level-4 entry for it, supervisor, present */
	gva_t window_base; /* 2 MiB aligned */
	u32 window_pdes; /* how many 2 MiB pieces */
	const u64 *window_pde; /* level-2 entries for them (user, present) */
};

struct shadow_config {
	u8 host_levels; /* 4 or 5: depth of shadow roots */
	bool host_nx; /* EFER.NXE is on in the guest world */
	bool large_pages; /* use 2 MiB sptes when both sides allow */
	bool prefault; /* map accessed neighbours with a hidden fault */
	bool unsync; /* let tables be out of sync until the TLB is flushed */
	u32 max_pages; /* bound on shadow pages; least recently used go first */
	u32 audit; /* run shadow_audit() after every so many changes; 0: never */
	struct shadow_fixed fixed;
};

struct shadow_ops {
	/*
	 * A gpte that translated code may depend on has changed. gfn: the frame
	 * it used to map, or GFN_NONE when a whole subtree changed or lost its
	 * trace: then every translation must be dropped or given to
	 * shadow_trace_code() again. Below a level-4 entry only the current
	 * kernel root counts: compare level-4 entries when CR3 is loaded.
	 * Called with the lock held, after the change and before a kick, from
	 * any function here, also shadow_trace_code() and mmu notifiers.
	 */
	void (*code_mapping)(void *opaque, gfn_t gfn);
	/*
	 * What frames contain has been replaced behind the guest's back, code or
	 * page tables among them: drop the translations of the frames that
	 * shadow_take_stale() names, and everything read from page tables.
	 * Called like code_mapping().
	 */
	void (*contents_gone)(void *opaque);
	/*
	 * Guest maps something inside the TC window or the region's slot, or
	 * has changed an entry that leads to the table that would have the
	 * window's entries (gva: the window's base; look what is there now).
	 * Without locks.
	 */
	void (*window_conflict)(void *opaque, gva_t gva);
	/*
	 * Get vCPUs out of the guest world; may sleep. Called before the first
	 * spte loses rights and again after the last one did: when the second
	 * call returns, no vCPU uses what it saw before. Called with the lock
	 * held, possibly from an mmu notifier.
	 */
	void (*kick)(void *opaque);
};

enum shadow_pf {
	SHADOW_PF_FIXED, /* hidden fault: spte is there now, resume */
	SHADOW_PF_GUEST, /* true fault: inject with .error, .gva */
	SHADOW_PF_TRACE, /* store to a traced page: emulate, .gpa, .trace */
	SHADOW_PF_MMIO, /* no memory there, or store to a read-only slot: .gpa */
	SHADOW_PF_RETRY, /* raced with the host: resume and fault again */
};

struct shadow_fault {
	gva_t gva;
	gpa_t gpa; /* TRACE, MMIO, FIXED */
	u32 error; /* GUEST: architectural error code */
	u32 trace; /* TRACE: SHADOW_TRACE_* of the frame */
	bool readonly_slot; /* MMIO: it is a store to a read-only slot */
};

struct shadow_stats {
	u64 faults_hidden, faults_guest, faults_trace, faults_mmio;
	u64 pages, pages_max, pages_recycled, zapped;
	u64 pt_writes, eager_validates, prefaults;
	u64 sptes_4k, sptes_2m;
};

struct shadow *shadow_create(struct popf_vm *vm, const struct shadow_config *cfg,
			     const struct shadow_ops *ops, void *opaque);
void shadow_destroy(struct shadow *s);

/*
 * Physical address of the root for this mode and view, made if need be (and kept
 * from reclaim until the next call for the same view). 0, -ENOMEM, or -EINVAL:
 * paging mode not supported. A CR3 outside memory gives a root with no guest part.
 */
int shadow_root(struct shadow *s, const struct shadow_mode *m,
		enum shadow_view view, hpa_t *root);

/*
 * Handle a page fault taken in the guest world, or pre-fault. access: PF_ERR_WRITE,
 * PF_ERR_FETCH, PF_ERR_USER as the guest's own CPL demands (USER clear for
 * translated kernel code, whatever hardware said). Returns enum shadow_pf or
 * -errno (-ENOMEM, -EINTR, -EHWPOISON). Non-canonical gva: SHADOW_PF_GUEST with
 * out->error == ~0u. A gva of the region or the window that the guest maps too:
 * window_conflict() is called, and SHADOW_PF_RETRY.
 */
int shadow_fault(struct shadow *s, const struct shadow_mode *m,
		 enum shadow_view view, gva_t gva, u32 access,
		 struct shadow_fault *out);

/*
 * Translate for the monitor's own accesses: sets A (and D for writes) as hardware
 * would. 0 with *gpa, or -EFAULT with out->error/.gva for injection.
 * Non-canonical gva: -EFAULT with out->error == ~0u (the caller raises #GP/#SS).
 */
int shadow_walk(struct shadow *s, const struct shadow_mode *m, gva_t gva,
		u32 access, gpa_t *gpa, struct shadow_fault *out);

/*
 * Host address of len bytes at gva, if the tables below root (of shadow_root()) let
 * ring 3 read them there, or write them; else NULL, also when they are not in one
 * page, or are popf's own. Never sleeps. Only for a vCPU's thread while the kick of
 * struct shadow_ops would wait for that vCPU to leave the guest world, and of no
 * use afterwards.
 */
void *shadow_look(const struct shadow *s, enum shadow_view view, hpa_t root,
		  gva_t gva, u32 len, bool write);

/*
 * Instantiate the shadow pages of the walk to gva in the kernel view, so that
 * changes of the mapping are seen (code_mapping), and set the code trace on its
 * frame. For bt's fetch. Errors as shadow_walk(), -ENOMEM, and -ENXIO: it is not
 * memory; *gfn is the frame.
 */
int shadow_trace_code(struct shadow *s, const struct shadow_mode *m, gva_t gva,
		      gfn_t *gfn, struct shadow_fault *out);

/* Add or drop a trace kind (CODE, TABLE) on a frame. */
int shadow_trace_add(struct shadow *s, gfn_t gfn, u32 kind);
void shadow_trace_del(struct shadow *s, gfn_t gfn, u32 kind);
u32 shadow_trace_get(struct shadow *s, gfn_t gfn);

/*
 * A guest-visible store that the monitor performs: writes memory, then updates
 * every spte derived from it. len <= 4096, inside one page. 0; -EFAULT no memory;
 * -EROFS. *trace (may be NULL) gets the frame's traces: with SHADOW_TRACE_CODE
 * the caller must invalidate translations.
 */
int shadow_write(struct shadow *s, gpa_t gpa, const void *buf, u32 len,
		 u32 *trace);
/* As gmem_cmpxchg(), with the same duty. */
int shadow_cmpxchg(struct shadow *s, gpa_t gpa, u64 *old, u64 new, u32 len,
		   u32 *trace);

/*
 * The guest flushes its TLB, by INVLPG or as a whole (CR3 load, CR4.PGE, ...): what
 * is cached lazily follows its tables when these return.
 */
void shadow_invlpg(struct shadow *s, const struct shadow_mode *m, gva_t gva);
void shadow_sync(struct shadow *s);

/*
 * Forget all sptes to these frames, and all that is derived from page tables and
 * code in them: their contents may be others (mmu notifier, slot changes).
 */
void shadow_zap_gfns(struct shadow *s, gfn_t first, gfn_t count);
/* Forget the sptes only: other frames or rights, the same contents. */
void shadow_unmap_gfns(struct shadow *s, gfn_t first, gfn_t count);
/*
 * Frames with the code trace that were zapped since they were last named here;
 * up to max of them, 0: no more.
 */
u32 shadow_take_stale(struct shadow *s, gfn_t *gfns, u32 max);
/* Write-protect all sptes to these frames (dirty log). */
void shadow_protect_gfns(struct shadow *s, gfn_t first, gfn_t count);
/*
 * Have these frames been accessed since their accessed state was last cleared?
 * Never sleeps, so it may be called with spinlocks held (mmu notifier); true also
 * when it cannot find out because somebody changes sptes right now.
 */
bool shadow_age_gfns(struct shadow *s, gfn_t first, gfn_t count, bool clear);
/* Forget everything; roots stay valid, but empty, until fetched again. */
void shadow_zap_all(struct shadow *s);

/*
 * Move the TC window or the region: frees all roots, fetch them again before the
 * next entry. The window must not cross a GiB, nor share the region's level-4
 * slot. 0, -EINVAL, -ENOMEM.
 */
int shadow_set_fixed(struct shadow *s, const struct shadow_fixed *fixed);

void shadow_get_stats(struct shadow *s, struct shadow_stats *out);
/* Check every invariant; false and a report of the first offence if broken. */
bool shadow_audit(struct shadow *s);

#endif
