// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's changes of the launcher's memory (swap, migration, page sharing,
 * munmap, discard) reach the sptes from here.
 *
 * One interval notifier over the whole address space: slots come and go, and an
 * interval notifier, unlike a classic one, may refuse to work in a context that
 * cannot sleep (the OOM reaper), which it must because shadow's lock sleeps.
 *
 * Ordering: the sequence is set before the zap takes shadow's lock. Whoever
 * installs an spte under that lock later sees the new sequence; whoever did so
 * earlier gets zapped.
 */
#include "kmod.h"

/*
 * Does memory keep its contents? Of a page that is cleared from the page table
 * nobody says whether it is swapped out, copied or discarded: so not, and
 * translations of code in it are made again from what is read then.
 */
static bool contents_stay(const struct mmu_notifier_range *range)
{
	switch (range->event) {
	case MMU_NOTIFY_PROTECTION_VMA:
	case MMU_NOTIFY_PROTECTION_PAGE:
	case MMU_NOTIFY_SOFT_DIRTY:
		return true;
	default:
		return false;
	}
}

static bool popf_mn_invalidate(struct mmu_interval_notifier *mn,
			       const struct mmu_notifier_range *range,
			       unsigned long seq)
{
	struct popf_kvm *kvm = container_of(mn, struct popf_kvm, mn);
	bool may_sleep = mmu_notifier_range_blockable(range);
	bool contents = !contents_stay(range);

	if (!may_sleep && !popf_slots_unmap_hva(kvm, range->start, range->end,
						contents, false))
		return false;
	mmu_interval_set_seq(mn, seq);
	kvm->vm.stats.mmu_notifier_calls++;
	return popf_slots_unmap_hva(kvm, range->start, range->end, contents,
				    may_sleep);
}

static const struct mmu_interval_notifier_ops popf_mn_ops = {
	.invalidate = popf_mn_invalidate,
};

int popf_notifier_init(struct popf_kvm *kvm)
{
	int err = mmu_interval_notifier_insert(&kvm->mn, kvm->mm, 0, TASK_SIZE_MAX,
					       &popf_mn_ops);

	kvm->mn_registered = !err;
	return err;
}

void popf_notifier_fini(struct popf_kvm *kvm)
{
	if (kvm->mn_registered)
		mmu_interval_notifier_remove(&kvm->mn);
	kvm->mn_registered = false;
}
