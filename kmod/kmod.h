/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kmod/: file descriptors, lifetimes, locks and memory slots. No x86 semantics:
 * those are monitor/'s, reached through vm.h and vcpu.h.
 *
 * Lifetimes: the VM fd, each vCPU fd and each stats fd hold one reference on
 * struct popf_kvm; a vCPU lives as long as its VM, not as long as its fd. The
 * last reference may be dropped in any process, even one without an mm, so
 * teardown touches no guest memory.
 *
 * Locks, outermost first:
 *	popf_kvm.lock	vCPU creation, capabilities, irq routing
 *	popf_kvcpu.lock	one vCPU: everything in struct vcpu
 *	popf_kvm.slots_lock	writers of the slot table, dirty log
 *	popf_kvm.slots_srcu	readers of the slot table; held over user accesses
 * The shadow lock is inside all of them. popf_kvm.lock is never taken by anything
 * that KVM_RUN does.
 */
#ifndef POPF_KMOD_H
#define POPF_KMOD_H

#include <linux/hrtimer.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/srcu.h>
#include <linux/wait.h>

#include <popf/compat.h>
#include <popf/vcpu.h>
#include <popf/vm.h>

#define POPF_NR_MEMSLOTS 509
#define POPF_MAX_SLOT_PAGES ((1ul << 31) - 1)
/* Width of guest-physical addresses; vcpu_shadow_mode() has the same number. */
#define POPF_GPA_BITS 40
#define POPF_MAX_IRQ_ROUTES 4096
#define POPF_MAX_IOAPIC_PINS 4096
#define POPF_MAX_IO_MSRS 256
#define POPF_MAX_CPUID_ENTRIES 100
/* kvm_run, port data, coalesced-MMIO ring (always empty). */
#define POPF_VCPU_MMAP_PAGES 3
/* kvmclock goes with the TSC, which popf does not scale. */
#define POPF_CLOCK_FLAGS \
	(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)

/* One memory slot; immutable once published, a change makes a new table. */
struct popf_slot {
	gfn_t base;
	u64 npages;
	hva_t hva;
	u32 id;
	u32 flags; /* KVM_MEM_* */
	bool invalid; /* on its way out: only the mmu notifier sees it */
	unsigned long *dirty; /* bitmap, or NULL: not logged */
};

/* All slots, sorted by base, not overlapping. */
struct popf_slots {
	struct rcu_head rcu;
	u32 count;
	u32 last; /* index of the last slot looked for: most likely the next */
	struct popf_slot slot[];
};

/* GSI routing: MSI routes only, as with a split irqchip. */
struct popf_route {
	u32 gsi;
	u32 data;
	u64 addr;
};

struct popf_kvcpu;

struct popf_kvm {
	struct popf_vm vm; /* first: see to_kvm() */
	refcount_t refs;
	struct mm_struct *mm; /* whose memory the slots are in; mmgrab()ed */
	struct mutex lock;
	u32 created_vcpus;
	u64 identity_map;
	int pid; /* of the creator, for stats ids */

	/* memslot.c */
	struct mutex slots_lock;
	struct srcu_struct slots_srcu;
	struct popf_slots __rcu *slots;
	atomic64_t slots_gen; /* bumped after every publication */

	/* notifier.c */
	struct mmu_interval_notifier mn;
	struct mmu_notifier young;
	bool mn_registered, young_registered;

	/* irq.c, under lock */
	struct popf_route *routes;
	u32 route_count;
	u64 eoi_bitmap[4];
};

struct popf_kvcpu {
	struct vcpu v; /* first: see to_kvcpu() */
	struct popf_kvm *kvm;
	struct mutex lock;
	struct page *mmap_pages[POPF_VCPU_MMAP_PAGES];

	/* fpu.c */
	struct fpu_guest fpu;

	wait_queue_head_t wq; /* block.c: where it sleeps in HLT */

	bool sigmask_active;
	sigset_t sigmask;
};

static inline struct popf_kvm *to_kvm(struct popf_vm *vm)
{
	return container_of(vm, struct popf_kvm, vm);
}

static inline struct popf_kvcpu *to_kvcpu(struct vcpu *v)
{
	return container_of(v, struct popf_kvcpu, v);
}

/* One row of an ioctl routing table. */
struct popf_ioctl {
	unsigned int cmd;
	long (*fn)(void *obj, unsigned long arg);
};

/* dev.c */
extern const struct file_operations popf_dev_fops;
/* KVM_CHECK_EXTENSION on the device (kvm NULL) or on a VM. */
long popf_check_extension(struct popf_kvm *kvm, unsigned long cap);
/* Find cmd and call its handler; -ENOTTY. */
long popf_ioctl_route(const struct popf_ioctl *table, size_t count, void *obj,
		      unsigned int cmd, unsigned long arg);

/* vm.c */
/* A file descriptor, or -errno. */
int popf_vm_create(void);
void popf_kvm_get(struct popf_kvm *kvm);
void popf_kvm_put(struct popf_kvm *kvm);

/* vcpu.c */
/* A file descriptor, or -errno. */
int popf_vcpu_create(struct popf_kvm *kvm, u32 id);
void popf_vcpu_destroy(struct popf_kvcpu *k);

/* vcpu_state.c: KVM_GET and SET of vCPU state, routed from vcpu.c */
extern const struct popf_ioctl popf_vcpu_state_ioctls[];
extern const size_t popf_vcpu_state_ioctl_count;

/* memslot.c */
int popf_slots_init(struct popf_kvm *kvm);
void popf_slots_fini(struct popf_kvm *kvm);
long popf_set_memory_region(struct popf_kvm *kvm,
			    const struct kvm_userspace_memory_region *r);
long popf_get_dirty_log(struct popf_kvm *kvm, struct kvm_dirty_log *log);
/* Is any of [start, end) of host memory in a slot? Never sleeps. */
bool popf_slots_have_hva(struct popf_kvm *kvm, hva_t start, hva_t end);
/* Zap everything that it backs; contents: what is there now will be gone. */
void popf_slots_unmap_hva(struct popf_kvm *kvm, hva_t start, hva_t end,
			  bool contents);

/*
 * Has the guest used what [start, end) backs since that was last cleared? Never
 * sleeps.
 */
bool popf_slots_age_hva(struct popf_kvm *kvm, hva_t start, hva_t end, bool clear);

/* notifier.c */
int popf_notifier_init(struct popf_kvm *kvm);
void popf_notifier_fini(struct popf_kvm *kvm);

/* irq.c */
long popf_set_gsi_routing(struct popf_kvm *kvm, void __user *arg);
long popf_signal_msi(struct popf_kvm *kvm, const struct kvm_msi *msi);
/* Tell v's local APIC which EOIs userland wants; the VM's lock is held. */
void popf_irq_new_vcpu(struct vcpu *v);
void popf_irq_fini(struct popf_kvm *kvm);

/* fpu.c */
void popf_get_fpu(struct popf_kvcpu *k, struct kvm_fpu *fpu);
void popf_set_fpu(struct popf_kvcpu *k, const struct kvm_fpu *fpu);
/* Bytes of KVM_GET_XSAVE2, at least sizeof(struct kvm_xsave). */
u32 popf_xsave_size(void);
void popf_get_xsave(struct popf_kvcpu *k, void *buf, u32 size);
int popf_set_xsave(struct popf_kvcpu *k, const void *buf);

/* block.c */
void popf_block_init(struct popf_kvcpu *k);

/* clock.c */
void popf_get_clock(struct popf_kvm *kvm, struct kvm_clock_data *data);
int popf_set_clock(struct popf_kvm *kvm, const struct kvm_clock_data *data);

/* record.c: POPF_RECORD_START and STOP; the vCPU is canonical */
long popf_record_start(void *obj, unsigned long arg);
long popf_record_stop(void *obj, unsigned long arg);
/* The vCPU goes. */
void popf_record_fini(struct vcpu *v);

/* stats.c */
int popf_vm_stats_fd(struct popf_kvm *kvm);
int popf_vcpu_stats_fd(struct popf_kvcpu *k);

#endif
