// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory slots: guest-physical ranges backed by the launcher's memory, and the
 * functions of gmem.h over them.
 *
 * The table is a sorted array that is replaced as a whole and read under SRCU,
 * because readers fault on user memory while they hold it and a waiting writer
 * must not block an mmu notifier.
 *
 * Invariants:
 *  1. A slot that any spte may point into is in the published table, if only as
 *     invalid, so that the mmu notifier finds it. Removal is therefore two
 *     publications: invalid, zap, gone.
 *  2. slots_gen grows after each publication and before the zap that follows
 *     it: a lookup in an older table is caught by gmem_retry() or zapped.
 *  3. Nothing is pinned. What gmem_page() found is good until gmem_retry().
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include <linux/uaccess.h>

#include "kmod.h"

/* --- the table --- */

static struct popf_slots *slots_alloc(u32 count)
{
	return kvzalloc(struct_size((struct popf_slots *)NULL, slot, count),
			GFP_KERNEL_ACCOUNT);
}

/* The table, for writers. */
static struct popf_slots *slots_current(struct popf_kvm *kvm)
{
	return rcu_dereference_protected(kvm->slots,
					 lockdep_is_held(&kvm->slots_lock));
}

/* Replace the table and wait until nobody looks at the old one; frees that. */
static void slots_publish(struct popf_kvm *kvm, struct popf_slots *new)
{
	struct popf_slots *old = slots_current(kvm);

	rcu_assign_pointer(kvm->slots, new);
	smp_mb__before_atomic();
	atomic64_inc(&kvm->slots_gen);
	synchronize_srcu_expedited(&kvm->slots_srcu);
	kvfree(old);
}

static struct popf_slot *slot_by_id(struct popf_slots *slots, u32 id)
{
	u32 i;

	for (i = 0; i < slots->count; i++) {
		if (slots->slot[i].id == id)
			return &slots->slot[i];
	}
	return NULL;
}

static bool slot_has(const struct popf_slot *s, gfn_t gfn)
{
	return gfn - s->base < s->npages;
}

static struct popf_slot *slot_search(struct popf_slots *slots, gfn_t gfn)
{
	u32 lo = 0, hi = slots->count;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;
		struct popf_slot *s = &slots->slot[mid];

		if (gfn < s->base) {
			hi = mid;
		} else if (!slot_has(s, gfn)) {
			lo = mid + 1;
		} else {
			WRITE_ONCE(slots->last, mid);
			return s;
		}
	}
	return NULL;
}

/* The valid slot that gfn is in, or NULL; under SRCU. */
static struct popf_slot *slot_by_gfn(struct popf_kvm *kvm, gfn_t gfn)
{
	struct popf_slots *slots = srcu_dereference(kvm->slots, &kvm->slots_srcu);
	struct popf_slot *s = &slots->slot[READ_ONCE(slots->last)];

	if (!slots->count || !slot_has(s, gfn))
		s = slot_search(slots, gfn);
	return s && !s->invalid ? s : NULL;
}

static hva_t slot_hva(const struct popf_slot *s, gfn_t gfn)
{
	return s->hva + ((gfn - s->base) << PAGE_SHIFT);
}

static bool slot_overlaps(const struct popf_slots *slots, u32 id, gfn_t base,
			  u64 npages)
{
	u32 i;

	for (i = 0; i < slots->count; i++) {
		const struct popf_slot *s = &slots->slot[i];

		if (s->id != id && base < s->base + s->npages &&
		    s->base < base + npages)
			return true;
	}
	return false;
}

/* A copy of the table without id, and with new (may be NULL) in its place. */
static struct popf_slots *slots_replace(const struct popf_slots *old, u32 id,
					const struct popf_slot *new)
{
	struct popf_slots *slots = slots_alloc(old->count + 1);
	u32 i;

	if (!slots)
		return NULL;
	for (i = 0; i < old->count; i++) {
		const struct popf_slot *s = &old->slot[i];

		if (new && new->base < s->base) {
			slots->slot[slots->count++] = *new;
			new = NULL;
		}
		if (s->id != id)
			slots->slot[slots->count++] = *s;
	}
	if (new)
		slots->slot[slots->count++] = *new;
	return slots;
}

int popf_slots_init(struct popf_kvm *kvm)
{
	struct popf_slots *slots;
	int err;

	mutex_init(&kvm->slots_lock);
	slots = slots_alloc(0);
	if (!slots)
		return -ENOMEM;
	err = init_srcu_struct(&kvm->slots_srcu);
	if (err) {
		kvfree(slots);
		return err;
	}
	RCU_INIT_POINTER(kvm->slots, slots);
	return 0;
}

void popf_slots_fini(struct popf_kvm *kvm)
{
	struct popf_slots *slots = rcu_dereference_protected(kvm->slots, true);
	u32 i;

	for (i = 0; i < slots->count; i++)
		kvfree(slots->slot[i].dirty);
	kvfree(slots);
	cleanup_srcu_struct(&kvm->slots_srcu);
}

/* --- KVM_SET_USER_MEMORY_REGION --- */

static int region_check(const struct kvm_userspace_memory_region *r)
{
	const u64 gpa_end = 1ull << POPF_GPA_BITS;

	if (r->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return -EINVAL;
	if (r->slot >= POPF_NR_MEMSLOTS)
		return -EINVAL;
	if ((r->memory_size | r->guest_phys_addr | r->userspace_addr) & ~PAGE_MASK)
		return -EINVAL;
	if (r->memory_size >> PAGE_SHIFT > POPF_MAX_SLOT_PAGES)
		return -EINVAL;
	if (r->guest_phys_addr > gpa_end ||
	    r->memory_size > gpa_end - r->guest_phys_addr)
		return -EINVAL;
	if (r->memory_size &&
	    !access_ok((void __user *)r->userspace_addr, r->memory_size))
		return -EINVAL;
	return 0;
}

/* Hide the slot from lookups and get its sptes out of the way. */
static int slot_invalidate(struct popf_kvm *kvm, const struct popf_slot *slot)
{
	struct popf_slot gone = *slot;
	struct popf_slots *slots;

	gone.invalid = true;
	slots = slots_replace(slots_current(kvm), gone.id, &gone);
	if (!slots)
		return -ENOMEM;
	slots_publish(kvm, slots);
	vm_zap_gfns(&kvm->vm, gone.base, gone.npages);
	return 0;
}

static long slot_delete(struct popf_kvm *kvm, const struct popf_slot *slot)
{
	struct popf_slot old = *slot;
	struct popf_slots *slots = slots_replace(slots_current(kvm), old.id, NULL);
	int err;

	if (!slots)
		return -ENOMEM;
	err = slot_invalidate(kvm, &old);
	if (err) {
		kvfree(slots);
		return err;
	}
	slots_publish(kvm, slots);
	kvfree(old.dirty);
	return 0;
}

static int slot_dirty_alloc(struct popf_slot *slot)
{
	slot->dirty = kvcalloc(BITS_TO_LONGS(slot->npages), sizeof(long),
			       GFP_KERNEL_ACCOUNT);
	return slot->dirty ? 0 : -ENOMEM;
}

static long slot_create(struct popf_kvm *kvm, struct popf_slot *new)
{
	struct popf_slots *slots;

	if ((new->flags & KVM_MEM_LOG_DIRTY_PAGES) && slot_dirty_alloc(new))
		return -ENOMEM;
	slots = slots_replace(slots_current(kvm), new->id, new);
	if (!slots) {
		kvfree(new->dirty);
		return -ENOMEM;
	}
	slots_publish(kvm, slots);
	/* Guest accesses here may have been cached as MMIO. */
	vm_zap_gfns(&kvm->vm, new->base, new->npages);
	return 0;
}

/* Same memory at another guest-physical address; its dirty log moves along. */
static long slot_move(struct popf_kvm *kvm, const struct popf_slot *slot,
		      struct popf_slot *new)
{
	struct popf_slot old = *slot;
	struct popf_slots *slots;
	int err;

	new->dirty = old.dirty;
	new->flags = old.flags;
	slots = slots_replace(slots_current(kvm), new->id, new);
	if (!slots)
		return -ENOMEM;
	err = slot_invalidate(kvm, &old);
	if (err) {
		kvfree(slots);
		return err;
	}
	slots_publish(kvm, slots);
	vm_zap_gfns(&kvm->vm, new->base, new->npages);
	return 0;
}

/* Only the dirty log can be switched on and off in place. */
static long slot_change_flags(struct popf_kvm *kvm, const struct popf_slot *slot,
			      struct popf_slot *new)
{
	struct popf_slot old = *slot;
	struct popf_slots *slots;

	if ((new->flags & KVM_MEM_LOG_DIRTY_PAGES) && slot_dirty_alloc(new))
		return -ENOMEM;
	slots = slots_replace(slots_current(kvm), new->id, new);
	if (!slots) {
		kvfree(new->dirty);
		return -ENOMEM;
	}
	slots_publish(kvm, slots);
	kvfree(old.dirty);
	if (new->dirty)
		shadow_protect_gfns(kvm->vm.shadow, new->base, new->npages);
	return 0;
}

static long region_apply(struct popf_kvm *kvm, struct popf_slot *new)
{
	struct popf_slots *slots = slots_current(kvm);
	const struct popf_slot *old = slot_by_id(slots, new->id);

	if (!new->npages)
		return old ? slot_delete(kvm, old) : -EINVAL;
	if (slot_overlaps(slots, new->id, new->base, new->npages))
		return -EEXIST;
	if (!old)
		return slot_create(kvm, new);
	if (old->hva != new->hva || old->npages != new->npages ||
	    ((old->flags ^ new->flags) & KVM_MEM_READONLY))
		return -EINVAL;
	if (old->base != new->base)
		return slot_move(kvm, old, new);
	if (old->flags != new->flags)
		return slot_change_flags(kvm, old, new);
	return 0;
}

long popf_set_memory_region(struct popf_kvm *kvm,
			    const struct kvm_userspace_memory_region *r)
{
	struct popf_slot new = {
		.base = gpa_to_gfn(r->guest_phys_addr),
		.npages = r->memory_size >> PAGE_SHIFT,
		.hva = r->userspace_addr,
		.id = r->slot,
		.flags = r->flags,
	};
	long err = region_check(r);

	if (err)
		return err;
	mutex_lock(&kvm->slots_lock);
	err = region_apply(kvm, &new);
	mutex_unlock(&kvm->slots_lock);
	return err;
}

/* --- dirty log --- */

#define DIRTY_CHUNK_WORDS 64

/* Write-protect what the words say, in runs. */
static void dirty_protect(struct popf_kvm *kvm, gfn_t base,
			  const unsigned long *words)
{
	const unsigned long bits = DIRTY_CHUNK_WORDS * BITS_PER_LONG;
	unsigned long start = find_first_bit(words, bits);

	while (start < bits) {
		unsigned long end = find_next_zero_bit(words, bits, start);

		shadow_protect_gfns(kvm->vm.shadow, base + start, end - start);
		start = find_next_bit(words, bits, end);
	}
}

/*
 * Collect, clear, then protect: a store between the last two is in this round's
 * answer already, because userland reads the pages after the ioctl.
 */
static long dirty_copy(struct popf_kvm *kvm, struct popf_slot *s,
		       unsigned long __user *user)
{
	const u64 total = BITS_TO_LONGS(s->npages);
	unsigned long words[DIRTY_CHUNK_WORDS];
	u64 at, n, i;

	for (at = 0; at < total; at += n) {
		n = min_t(u64, total - at, DIRTY_CHUNK_WORDS);
		memset(words, 0, sizeof(words));
		for (i = 0; i < n; i++)
			words[i] = xchg(&s->dirty[at + i], 0);
		dirty_protect(kvm, s->base + at * BITS_PER_LONG, words);
		if (!copy_to_user(user + at, words, n * sizeof(long)))
			continue;
		for (i = 0; i < BITS_PER_LONG * n; i++) {
			if (test_bit(i, words))
				set_bit(at * BITS_PER_LONG + i, s->dirty);
		}
		return -EFAULT;
	}
	return 0;
}

long popf_get_dirty_log(struct popf_kvm *kvm, struct kvm_dirty_log *log)
{
	struct popf_slot *s;
	long err;

	if (log->slot >= POPF_NR_MEMSLOTS)
		return -EINVAL;
	mutex_lock(&kvm->slots_lock);
	s = slot_by_id(slots_current(kvm), log->slot);
	if (s && s->dirty)
		err = dirty_copy(kvm, s, log->dirty_bitmap);
	else
		err = -ENOENT;
	mutex_unlock(&kvm->slots_lock);
	return err;
}

/* --- for the mmu notifier --- */

/* What is done with frames; arg is the caller's. */
typedef bool (*hva_fn)(struct shadow *s, gfn_t first, gfn_t count, bool arg);

/* Call fn for the frames that [start, end) backs; is it ever true? */
static bool for_each_hva(struct popf_kvm *kvm, hva_t start, hva_t end, hva_fn fn,
			 bool arg)
{
	struct popf_slots *slots;
	bool any = false;
	int idx;
	u32 i;

	idx = srcu_read_lock(&kvm->slots_srcu);
	slots = srcu_dereference(kvm->slots, &kvm->slots_srcu);
	for (i = 0; i < slots->count; i++) {
		struct popf_slot *s = &slots->slot[i];
		hva_t first = max(start, s->hva);
		hva_t last = min(end, s->hva + (s->npages << PAGE_SHIFT));
		gfn_t gfn, gfn_end;

		if (first >= last)
			continue;
		gfn = s->base + ((first - s->hva) >> PAGE_SHIFT);
		gfn_end = s->base + ((last - s->hva + PAGE_SIZE - 1) >> PAGE_SHIFT);
		any |= fn(kvm->vm.shadow, gfn, gfn_end - gfn, arg);
	}
	srcu_read_unlock(&kvm->slots_srcu, idx);
	return any;
}

static bool find_frames(struct shadow *s, gfn_t first, gfn_t count, bool arg)
{
	return true;
}

static bool unmap_frames(struct shadow *s, gfn_t first, gfn_t count, bool contents)
{
	if (contents)
		shadow_zap_gfns(s, first, count);
	else
		shadow_unmap_gfns(s, first, count);
	return true;
}

bool popf_slots_have_hva(struct popf_kvm *kvm, hva_t start, hva_t end)
{
	return for_each_hva(kvm, start, end, find_frames, false);
}

void popf_slots_unmap_hva(struct popf_kvm *kvm, hva_t start, hva_t end,
			  bool contents)
{
	for_each_hva(kvm, start, end, unmap_frames, contents);
}

bool popf_slots_age_hva(struct popf_kvm *kvm, hva_t start, hva_t end, bool clear)
{
	return for_each_hva(kvm, start, end, shadow_age_gfns, clear);
}

/* --- gmem.h --- */

static void slot_mark_dirty(struct popf_slot *s, gfn_t gfn)
{
	if (s->dirty && !test_bit(gfn - s->base, s->dirty))
		set_bit(gfn - s->base, s->dirty);
}

/*
 * Page-table entries, descriptors and stack frames are a few words each, and are
 * most of what is copied: for them a call of the kernel's copy function is longer
 * than the copying.
 */
#define FEW_WORDS 8

static bool is_few_words(size_t len)
{
	return len % 8 == 0 && len <= FEW_WORDS * 8;
}

static int words_from_user(u64 *to, const u64 __user *from, size_t words)
{
	size_t i;

	if (!user_read_access_begin(from, words * 8))
		return -EFAULT;
	for (i = 0; i < words; i++)
		unsafe_get_user(to[i], &from[i], fault);
	user_read_access_end();
	return 0;

fault:
	user_read_access_end();
	return -EFAULT;
}

static int words_to_user(u64 __user *to, const u64 *from, size_t words)
{
	size_t i;

	if (!user_write_access_begin(to, words * 8))
		return -EFAULT;
	for (i = 0; i < words; i++)
		unsafe_put_user(from[i], &to[i], fault);
	user_write_access_end();
	return 0;

fault:
	user_write_access_end();
	return -EFAULT;
}

static int read_user(void *buf, const void __user *user, size_t len)
{
	if (is_few_words(len))
		return words_from_user(buf, user, len / 8);
	return copy_from_user(buf, user, len) ? -EFAULT : 0;
}

static int write_user(void __user *user, const void *buf, size_t len)
{
	if (is_few_words(len))
		return words_to_user(user, buf, len / 8);
	return copy_to_user(user, buf, len) ? -EFAULT : 0;
}

/* One page's worth of gmem_read() or gmem_write(); under SRCU. */
static int gmem_copy(struct popf_kvm *kvm, gpa_t gpa, void *buf, size_t len,
		     bool write)
{
	struct popf_slot *s = slot_by_gfn(kvm, gpa_to_gfn(gpa));
	void __user *user;

	if (!s)
		return -EFAULT;
	user = (void __user *)(slot_hva(s, gpa_to_gfn(gpa)) + offset_in_page(gpa));
	if (!write)
		return read_user(buf, user, len);
	if (s->flags & KVM_MEM_READONLY)
		return -EROFS;
	if (write_user(user, buf, len))
		return -EFAULT;
	slot_mark_dirty(s, gpa_to_gfn(gpa));
	return 0;
}

static int gmem_access(struct popf_vm *vm, gpa_t gpa, void *buf, size_t len,
		       bool write)
{
	struct popf_kvm *kvm = to_kvm(vm);
	int idx, err = 0;

	if (current->mm != kvm->mm)
		return -EFAULT;
	idx = srcu_read_lock(&kvm->slots_srcu);
	while (len && !err) {
		size_t n = min_t(size_t, len, PAGE_SIZE - offset_in_page(gpa));

		err = gmem_copy(kvm, gpa, buf, n, write);
		gpa += n;
		buf += n;
		len -= n;
	}
	srcu_read_unlock(&kvm->slots_srcu, idx);
	return err;
}

int gmem_read(struct popf_vm *vm, gpa_t gpa, void *buf, size_t len)
{
	return gmem_access(vm, gpa, buf, len, false);
}

int gmem_write(struct popf_vm *vm, gpa_t gpa, const void *buf, size_t len)
{
	return gmem_access(vm, gpa, (void *)buf, len, true);
}

int gmem_write_atomic(struct popf_vm *vm, gpa_t gpa, const void *buf, size_t len)
{
	int err;

	pagefault_disable();
	err = gmem_access(vm, gpa, (void *)buf, len, true);
	pagefault_enable();
	return err;
}

/* One width: 0; 1, *old has been updated; -EFAULT. */
#define DEFINE_USER_CMPXCHG(type)					\
static int user_cmpxchg_##type(void __user *user, u64 *old, u64 new)	\
{									\
	type want = *old;						\
	int r = __try_cmpxchg_user((type __user *)user, &want,		\
				   (type)new, fault);			\
									\
	if (r > 0)							\
		*old = want;						\
	return r;							\
}

DEFINE_USER_CMPXCHG(u8)
DEFINE_USER_CMPXCHG(u16)
DEFINE_USER_CMPXCHG(u32)
DEFINE_USER_CMPXCHG(u64)

static int user_cmpxchg(void __user *user, u64 *old, u64 new, u32 len)
{
	int r = -EFAULT;

	switch (len) {
	case 1:
		r = user_cmpxchg_u8(user, old, new);
		break;
	case 2:
		r = user_cmpxchg_u16(user, old, new);
		break;
	case 4:
		r = user_cmpxchg_u32(user, old, new);
		break;
	case 8:
		r = user_cmpxchg_u64(user, old, new);
		break;
	}
	return r > 0 ? -EAGAIN : r;
}

int gmem_cmpxchg(struct popf_vm *vm, gpa_t gpa, u64 *old, u64 new, u32 len)
{
	struct popf_kvm *kvm = to_kvm(vm);
	struct popf_slot *s;
	void __user *user;
	int idx, err = -EFAULT;

	if (current->mm != kvm->mm || !is_power_of_2(len) || (gpa & (len - 1)))
		return -EFAULT;
	idx = srcu_read_lock(&kvm->slots_srcu);
	s = slot_by_gfn(kvm, gpa_to_gfn(gpa));
	if (!s || (s->flags & KVM_MEM_READONLY))
		goto out;
	user = (void __user *)(slot_hva(s, gpa_to_gfn(gpa)) + offset_in_page(gpa));
	err = user_cmpxchg(user, old, new, len);
	if (!err)
		slot_mark_dirty(s, gpa_to_gfn(gpa));
out:
	srcu_read_unlock(&kvm->slots_srcu, idx);
	return err;
}

/*
 * Grows with every change of the slots and with every mmu notification. Both
 * parts only grow, so the sum is unchanged only if neither has changed.
 */
u64 gmem_seq(struct popf_vm *vm)
{
	struct popf_kvm *kvm = to_kvm(vm);
	u64 gen = atomic64_read(&kvm->slots_gen);

	smp_rmb();
	return gen + mmu_interval_read_begin(&kvm->mn);
}

bool gmem_retry(struct popf_vm *vm, u64 seq)
{
	struct popf_kvm *kvm = to_kvm(vm);

	return mmu_interval_read_retry(&kvm->mn,
				       seq - atomic64_read(&kvm->slots_gen));
}

/* The page at hva; *writable is input (wanted) and output (granted). */
static int host_page(hva_t hva, bool may_write, bool *writable, struct page **page)
{
	int n;

	/* Most pages are writable already, and then one look is enough. */
	if (!*writable && may_write &&
	    get_user_page_fast_only(hva, FOLL_WRITE, page)) {
		*writable = true;
		return 0;
	}
	n = get_user_pages_fast(hva, 1, *writable ? FOLL_WRITE : 0, page);
	if (n == 0)
		return -EIO;
	/* -EFAULT means "no slot" to the caller, and there is one. */
	if (n < 0)
		return n == -EFAULT ? -EIO : n;
	return 0;
}

/*
 * May guest and host map the 2 MiB around gfn as one? Only where they cut memory
 * at the same places, and with a dirty log each page has to fault for itself.
 */
static bool slot_allows_2m(const struct popf_slot *s, gfn_t gfn)
{
	gfn_t first = gfn & ~(gfn_t)(PTRS_PER_PMD - 1);

	return first >= s->base && first + PTRS_PER_PMD <= s->base + s->npages &&
	       !(((s->hva >> PAGE_SHIFT) ^ s->base) % PTRS_PER_PMD) && !s->dirty;
}

/*
 * Does one entry of the host's page table, of 2 MiB or more, map hva, and write as
 * well if need be? The answer may be stale at once, like the page looked up before
 * it: gmem_retry() tells.
 */
static bool host_maps_2m(struct popf_kvm *kvm, hva_t hva, bool writable)
{
	unsigned long flags;
	bool large = false;
	pgd_t pgd;
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;

	/* No CPU frees page tables that one with interrupts off may look at. */
	local_irq_save(flags);
	pgd = READ_ONCE(*pgd_offset(kvm->mm, hva));
	if (pgd_none(pgd))
		goto out;
	p4d = READ_ONCE(*p4d_offset(&pgd, hva));
	if (p4d_none(p4d) || !p4d_present(p4d))
		goto out;
	pud = READ_ONCE(*pud_offset(&p4d, hva));
	if (pud_none(pud) || !pud_present(pud))
		goto out;
	if (pud_leaf(pud)) {
		large = !writable || pud_write(pud);
		goto out;
	}
	pmd = READ_ONCE(*pmd_offset(&pud, hva));
	large = pmd_present(pmd) && pmd_leaf(pmd) && (!writable || pmd_write(pmd));
out:
	local_irq_restore(flags);
	return large;
}

int gmem_page(struct popf_vm *vm, gfn_t gfn, bool want_write, struct gmem_page *out)
{
	struct popf_kvm *kvm = to_kvm(vm);
	struct popf_slot *s;
	struct page *page;
	bool readonly, logged, allows_2m;
	hva_t hva;
	int idx, err;

	if (current->mm != kvm->mm)
		return -EIO;
	out->seq = gmem_seq(vm);
	idx = srcu_read_lock(&kvm->slots_srcu);
	s = slot_by_gfn(kvm, gfn);
	if (s) {
		hva = slot_hva(s, gfn);
		readonly = s->flags & KVM_MEM_READONLY;
		logged = s->dirty;
		allows_2m = slot_allows_2m(s, gfn);
	}
	srcu_read_unlock(&kvm->slots_srcu, idx);
	if (!s)
		return -EFAULT;

	out->readonly_slot = readonly;
	out->writable = want_write && !readonly;
	/* With a dirty log the first store must fault, to be logged. */
	err = host_page(hva, !readonly && !logged, &out->writable, &page);
	if (err)
		return err;
	out->hpa = page_to_phys(page);
	out->level = allows_2m && PageCompound(page) &&
		     host_maps_2m(kvm, hva, out->writable) ? 2 : 1;
	if (out->writable && !PageReserved(page))
		SetPageDirty(page);
	mark_page_accessed(page);
	put_page(page);
	return 0;
}

bool gmem_is_ram(struct popf_vm *vm, gfn_t gfn)
{
	struct popf_kvm *kvm = to_kvm(vm);
	int idx = srcu_read_lock(&kvm->slots_srcu);
	bool ram = slot_by_gfn(kvm, gfn);

	srcu_read_unlock(&kvm->slots_srcu, idx);
	return ram;
}

void gmem_mark_dirty(struct popf_vm *vm, gfn_t gfn)
{
	struct popf_kvm *kvm = to_kvm(vm);
	int idx = srcu_read_lock(&kvm->slots_srcu);
	struct popf_slot *s = slot_by_gfn(kvm, gfn);

	if (s)
		slot_mark_dirty(s, gfn);
	srcu_read_unlock(&kvm->slots_srcu, idx);
}
