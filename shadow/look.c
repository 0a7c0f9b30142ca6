// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the hardware's walker would find in the shadow tables.
 *
 * Invariants:
 *  1. Nothing is locked. Whoever takes an spte away, or a table, gets all vCPUs out
 *     of the guest world before anybody relies on that (shadow_flush()), so a vCPU
 *     that counts as being there may use what it finds, as the hardware does.
 *  2. What popf itself maps, region and window, is not found: addresses come from
 *     the guest.
 */
#include "shadow_internal.h"

/* As the hardware does at each use; the host asks for it in shadow_age_gfns(). */
static bool set_accessed(u64 *slot, u64 spte)
{
	return (spte & SPTE_A) ||
	       __atomic_compare_exchange_n(slot, &spte, spte | SPTE_A, false,
					   __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void *shadow_look(const struct shadow *s, enum shadow_view view, hpa_t root,
		  gva_t gva, u32 len, bool write)
{
	const u64 need = SPTE_P | SPTE_U | (write ? SPTE_W : 0);
	int level = s->cfg.host_levels;
	hpa_t table = root, hpa;
	u64 *slot, spte;

	if ((gva & 0xfff) + len > 0x1000 || !gva_canonical(gva) ||
	    shadow_gva_fixed(s, view, gva))
		return NULL;
	for (;; level--) {
		slot = (u64 *)env_hpa_page(table) + pt_index(gva, level);
		spte = READ_ONCE(*slot);
		if ((spte & need) != need)
			return NULL;
		if (spte_is_leaf(spte, level))
			break;
		table = spte & SPTE_FRAME;
	}
	if (!set_accessed(slot, spte))
		return NULL;
	hpa = (spte & SPTE_FRAME) | (gva & ((level_frames(level) << 12) - 1));
	return (u8 *)env_hpa_page(hpa & POPF_PAGE_MASK) + (hpa & ~POPF_PAGE_MASK);
}
