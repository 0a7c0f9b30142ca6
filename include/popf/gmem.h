/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest-physical memory as the portable core sees it.
 *
 * The module implements these over memory slots (kmod/memslot.c); test programs
 * implement them over an array. struct popf_vm is opaque to the core.
 *
 * All of these but gmem_write_atomic() may sleep and fault on host memory: never call
 * them with a lock held that an mmu notifier takes.
 */
#ifndef POPF_GMEM_H
#define POPF_GMEM_H

#include "types.h"

struct popf_vm;

/* What backs one guest frame. Nothing is pinned by it: see gmem_retry(). */
struct gmem_page {
	hpa_t hpa; /* of the 4 KiB frame asked for */
	u8 level; /* 1: only 4 KiB is contiguous and aligned, 2: 2 MiB */
	bool writable; /* the host lets the guest write it now */
	bool readonly_slot; /* writes are MMIO, by the slot's flags */
	u64 seq; /* for gmem_retry() */
};

/*
 * Read or write guest-physical memory; ranges may cross pages. 0, or -EFAULT
 * when some of it is not backed by a slot (nothing is promised about a partial
 * write). gmem_write() refuses read-only slots with -EROFS.
 * They do not look at traces: guest-visible stores go through shadow_write().
 */
int gmem_read(struct popf_vm *vm, gpa_t gpa, void *buf, size_t len);
int gmem_write(struct popf_vm *vm, gpa_t gpa, const void *buf, size_t len);

/*
 * gmem_write() that does not wait for anything: -EFAULT, too, when the host's page is
 * not there or not writable at the moment. Also with shadow's lock held.
 */
int gmem_write_atomic(struct popf_vm *vm, gpa_t gpa, const void *buf, size_t len);

/*
 * Atomic compare-and-exchange of an aligned word of len (1, 2, 4 or 8) bytes.
 * 0: done; -EAGAIN: *old did not match and has been updated; -EFAULT: no memory.
 */
int gmem_cmpxchg(struct popf_vm *vm, gpa_t gpa, u64 *old, u64 new, u32 len);

/*
 * The host page behind gfn. want_write asks for a writable one (breaks
 * copy-on-write). 0; -EFAULT: no slot there (MMIO); -ENOMEM/-EHWPOISON/-EINTR as
 * the host says.
 */
int gmem_page(struct popf_vm *vm, gfn_t gfn, bool want_write,
	      struct gmem_page *out);

/*
 * A sequence number for gmem_retry(), to be taken before guest memory is read
 * whose contents will be relied on after the reading. May sleep, until what the
 * host is just changing has been changed.
 */
u64 gmem_seq(struct popf_vm *vm);

/*
 * True when the host has changed its mind about guest memory since the sequence
 * number was taken: call with shadow's lock held, just before installing the
 * spte, and start over when true.
 */
bool gmem_retry(struct popf_vm *vm, u64 seq);

/* Is gfn inside any slot? */
bool gmem_is_ram(struct popf_vm *vm, gfn_t gfn);

/* Log a guest write for KVM_GET_DIRTY_LOG; cheap when the slot has no log. */
void gmem_mark_dirty(struct popf_vm *vm, gfn_t gfn);

#endif
