// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's changes of the launcher's memory (swap, migration, page sharing,
 * munmap, discard) reach the sptes from here, and its questions which of it is in
 * use.
 *
 * Changes: one interval notifier over the whole address space. Slots come and go,
 * and an interval notifier, unlike a classic one, may refuse to work in a context
 * that cannot sleep (the OOM reaper), which it must because shadow's lock sleeps.
 * Questions come only through a classic one, with a page table locked, and must
 * never sleep; a wrong "in use" harms little.
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

	if (!mmu_notifier_range_blockable(range) &&
	    popf_slots_have_hva(kvm, range->start, range->end))
		return false;
	/* Also when no slot is concerned: one may be coming. */
	mmu_interval_set_seq(mn, seq);
	kvm->vm.stats.mmu_notifier_calls++;
	popf_slots_unmap_hva(kvm, range->start, range->end, !contents_stay(range));
	return true;
}

static const struct mmu_interval_notifier_ops popf_mn_ops = {
	.invalidate = popf_mn_invalidate,
};

/*
 * Accessed bits are cleared without flushing TLBs: a vCPU's are flushed on each of
 * its ways into the guest world.
 */
static int young_ask(struct mmu_notifier *mn, unsigned long start,
		     unsigned long end, bool clear)
{
	struct popf_kvm *kvm = container_of(mn, struct popf_kvm, young);
	bool used = popf_slots_age_hva(kvm, start, end, clear);

	kvm->vm.stats.ages++;
	kvm->vm.stats.ages_used += used;
	return used;
}

static int popf_mn_clear_young(struct mmu_notifier *mn, struct mm_struct *mm,
			       unsigned long start, unsigned long end)
{
	return young_ask(mn, start, end, true);
}

static int popf_mn_test_young(struct mmu_notifier *mn, struct mm_struct *mm,
			      unsigned long address)
{
	return young_ask(mn, address, address + 1, false);
}

static const struct mmu_notifier_ops popf_young_ops = {
	.clear_flush_young = popf_mn_clear_young,
	.clear_young = popf_mn_clear_young,
	.test_young = popf_mn_test_young,
};

int popf_notifier_init(struct popf_kvm *kvm)
{
	int err = mmu_interval_notifier_insert(&kvm->mn, kvm->mm, 0, TASK_SIZE_MAX,
					       &popf_mn_ops);

	if (err)
		return err;
	kvm->mn_registered = true;
	kvm->young.ops = &popf_young_ops;
	err = mmu_notifier_register(&kvm->young, kvm->mm);
	if (err) {
		popf_notifier_fini(kvm);
		return err;
	}
	kvm->young_registered = true;
	return 0;
}

void popf_notifier_fini(struct popf_kvm *kvm)
{
	if (kvm->young_registered)
		mmu_notifier_unregister(&kvm->young, kvm->mm);
	if (kvm->mn_registered)
		mmu_interval_notifier_remove(&kvm->mn);
	kvm->mn_registered = kvm->young_registered = false;
}
