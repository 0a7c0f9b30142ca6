/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bits of guest and shadow page-table entries, and what follows from them
 * without looking at any other state.
 *
 * Both kinds have the hardware's layout. They get separate names so that code
 * says which side it is looking at.
 */
#ifndef POPF_SHADOW_SPTE_H
#define POPF_SHADOW_SPTE_H

#include <popf/shadow.h>

#define GPTE_P (1ull << 0)
#define GPTE_W (1ull << 1)
#define GPTE_U (1ull << 2)
#define GPTE_A (1ull << 5)
#define GPTE_D (1ull << 6)
#define GPTE_PS (1ull << 7)
#define GPTE_NX (1ull << 63)
#define GPTE_FRAME 0x000ffffffffff000ull

#define SPTE_P (1ull << 0)
#define SPTE_W (1ull << 1)
#define SPTE_U (1ull << 2)
#define SPTE_A (1ull << 5)
#define SPTE_D (1ull << 6)
#define SPTE_PS (1ull << 7)
#define SPTE_NX (1ull << 63)
#define SPTE_FRAME 0x000ffffffffff000ull
/* All that an spte of ours may have besides its frame. */
#define SPTE_UPPER_BITS (SPTE_P | SPTE_W | SPTE_U | SPTE_A)
#define SPTE_LEAF_BITS \
	(SPTE_P | SPTE_W | SPTE_U | SPTE_A | SPTE_D | SPTE_PS | SPTE_NX)

#define MODE_CR0_WP (1ull << 16)
#define MODE_CR0_PG (1ull << 31)
#define MODE_CR4_PAE (1ull << 5)
#define MODE_CR4_LA57 (1ull << 12)
#define MODE_CR4_SMEP (1ull << 20)
#define MODE_EFER_LMA (1ull << 10)
#define MODE_EFER_NXE (1ull << 11)

/* Rights collected over the levels of a guest walk. */
#define ACC_W 0x1u
#define ACC_U 0x2u
#define ACC_X 0x4u
#define ACC_ALL (ACC_W | ACC_U | ACC_X)

#define PT_ENTRIES 512u
#define GUEST_LEVELS 4

static inline u32 pt_index(gva_t gva, int level)
{
	return (gva >> (12 + 9 * (level - 1))) & (PT_ENTRIES - 1);
}

/* How many 4 KiB frames an entry of this level covers. */
static inline u64 level_frames(int level)
{
	return 1ull << (9 * (level - 1));
}

static inline bool gva_canonical(gva_t gva)
{
	u64 top = gva >> 47;

	return top == 0 || top == 0x1ffff;
}

static inline bool gpte_is_leaf(u64 gpte, int level)
{
	return level == 1 || (level <= 3 && (gpte & GPTE_PS));
}

/* First frame that a leaf maps; bit 12 of a large leaf is PAT. */
static inline gfn_t gpte_leaf_gfn(u64 gpte, int level)
{
	return ((gpte & GPTE_FRAME) >> 12) & ~(level_frames(level) - 1);
}

static inline gfn_t gpte_table_gfn(u64 gpte)
{
	return (gpte & GPTE_FRAME) >> 12;
}

/* Bits that must be zero in a present gpte. */
static inline u64 gpte_reserved(u64 gpte, int level, bool nxe, u8 maxphyaddr)
{
	u64 rsvd = GPTE_FRAME & ~((1ull << maxphyaddr) - 1);

	if (!nxe)
		rsvd |= GPTE_NX;
	if (level == 4)
		rsvd |= GPTE_PS;
	else if (level > 1 && (gpte & GPTE_PS))
		rsvd |= ((level_frames(level) - 1) << 12) & ~(1ull << 12);
	return gpte & rsvd;
}

static inline bool spte_present(u64 spte)
{
	return spte & SPTE_P;
}

static inline bool spte_is_leaf(u64 spte, int level)
{
	return level == 1 || (spte & SPTE_PS);
}

#endif
