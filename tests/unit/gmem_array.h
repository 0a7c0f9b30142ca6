/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory for tests: gmem.h over an array.
 *
 * Frames [0, frames) are memory except those marked as holes. A frame's
 * host-physical address is its pointer. hook, when set, is called at every entry
 * of a gmem function, so that a test can let "somebody else" act there.
 */
#ifndef POPF_TESTS_GMEM_ARRAY_H
#define POPF_TESTS_GMEM_ARRAY_H

#include <popf/env.h>
#include <popf/gmem.h>

#define GMEM_HOLE 0x1u /* no memory: MMIO */
#define GMEM_RO_SLOT 0x2u /* read-only slot */
#define GMEM_NO_WRITE 0x4u /* host page is write-protected unless asked for */
#define GMEM_DIRTY 0x8u

struct popf_vm {
	u8 *ram; /* 2 MiB aligned */
	u64 frames;
	u8 *flags; /* GMEM_* by gfn */
	u64 seq;
	bool large; /* report 2 MiB contiguity */
	u64 skew; /* gfn is backed by the frame this much further */
	gfn_t alias, alias_of; /* alias is backed by the frame of alias_of */
	void (*hook)(struct popf_vm *vm, void *arg);
	void *hook_arg;
	u64 reads, pages, retries; /* calls */
	bool no_atomic; /* gmem_write_atomic() fails: the page is not there now */
	u64 atomic_writes; /* that were done */
	/* Called at gmem_retry(), that is with shadow's lock held. */
	void (*on_retry)(struct popf_vm *vm, void *arg);
};

struct popf_vm *gmem_array_create(u64 frames);
void gmem_array_destroy(struct popf_vm *vm);

static inline void *gmem_array_at(struct popf_vm *vm, gpa_t gpa)
{
	return vm->ram + gpa;
}

static inline u64 *gmem_array_u64(struct popf_vm *vm, gpa_t gpa)
{
	return gmem_array_at(vm, gpa);
}

#endif
