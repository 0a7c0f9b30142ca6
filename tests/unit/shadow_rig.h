/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A rig for shadow paging's tests: guest memory, a shadow, an "MMU" that walks
 * shadow tables as hardware does, a reference guest walk written on its own, and
 * a guest that builds page tables.
 */
#ifndef POPF_TESTS_SHADOW_RIG_H
#define POPF_TESTS_SHADOW_RIG_H

#include <popf/shadow.h>

#include "gmem_array.h"

#define P 0x1ull
#define W 0x2ull
#define U 0x4ull
#define A 0x20ull
#define D 0x40ull
#define PS 0x80ull
#define NX (1ull << 63)
#define FRAME 0x000ffffffffff000ull

#define RIG_REGION 0xffff800000000000ull
#define RIG_REGION_PTE 0x1234567003ull
#define RIG_WINDOW 0xfffffffff0000000ull
#define RIG_PDES 65u

struct rig {
	struct popf_vm *vm;
	struct shadow *s;
	struct shadow_config cfg;
	struct shadow_mode m;
	hpa_t root[SHADOW_VIEWS];
	u64 pde[RIG_PDES];
	/* Guest frames handed out for tables. */
	gfn_t next;
	/* Callbacks seen. */
	u32 kicks, conflicts, code_calls, code_none, gone;
	gva_t conflict;
	gfn_t code_gfn;
	void (*on_code)(struct rig *r);
	void *code_arg;
};

/* What the MMU found. */
struct mmu {
	bool present;
	bool user, write, exec;
	hpa_t hpa; /* of the byte */
	u64 leaf; /* the entry */
	int level;
};

struct rig *rig_create(u64 frames, const struct shadow_config *cfg);
void rig_destroy(struct rig *r);

/* Fetch a root, then what hardware would do with gva under it. */
void rig_root(struct rig *r, enum shadow_view view);
struct mmu rig_mmu(struct rig *r, enum shadow_view view, gva_t gva);
/* May ring 3 do this access there? */
bool rig_allows(const struct mmu *x, u32 access);

/* Guest: next free frame (cleared), and a 4 KiB mapping, untraced stores. */
gfn_t rig_frame(struct rig *r);
gpa_t rig_gpte(struct rig *r, gva_t gva, int level, u64 table_bits);
gpa_t rig_map(struct rig *r, gva_t gva, gfn_t gfn, u64 bits);
/* A guest store to its tables, as the monitor performs it. */
void rig_store(struct rig *r, gpa_t gpa, u64 value);

int rig_fault(struct rig *r, enum shadow_view view, gva_t gva, u32 access,
	      struct shadow_fault *f);
/*
 * Access until it settles, as the monitor's loop does: the last enum shadow_pf,
 * with SHADOW_PF_FIXED when hardware would do it.
 */
int rig_access(struct rig *r, enum shadow_view view, gva_t gva, u32 access,
	       struct shadow_fault *f);

/* The reference: 0 and *gpa, or the error code with its 0x8000_0000 set. */
#define REF_FAULT 0x80000000u
u32 ref_walk(struct popf_vm *vm, const struct shadow_mode *m, gva_t gva,
	     u32 access, gpa_t *gpa);

#endif
