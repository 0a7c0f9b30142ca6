/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VM as monitor/ and kmod/ share it. kmod/ embeds struct popf_vm first in its
 * own structure and owns slots, files and locks; the monitor owns the rest.
 */
#ifndef POPF_VM_H
#define POPF_VM_H

#include "env.h"
#include "shadow.h"
#include "types.h"
#include "vcpu.h"

#define POPF_MAX_VCPUS 1

struct vm_stats {
	u64 remote_tlb_flush;
	u64 mmu_notifier_calls;
	u64 ages, ages_used; /* pages the host asked about, and those in use */
};

struct popf_vm {
	struct shadow *shadow; /* made by vm_init() */
	struct vcpu *vcpu[POPF_MAX_VCPUS];
	bool split_irqchip; /* local APICs in the module, IOAPIC in userland */
	u32 ioapic_pins;
	bool stopped; /* no vCPU may run any more */
	u64 kvmclock_offset; /* ns added to the host's boot clock */
	void *region; /* monitor/region.c: the VM's part of the switch region */
	struct vm_stats stats;
};

/* monitor/vm.c, called by kmod on VM creation and destruction. */
int vm_init(struct popf_vm *vm);
void vm_fini(struct popf_vm *vm);
/*
 * Called by kmod when memory slots change. For the mmu notifier shadow_zap_gfns()
 * and shadow_unmap_gfns() are enough.
 */
void vm_zap_gfns(struct popf_vm *vm, gfn_t first, gfn_t count);

/* Module-wide set-up: checks the host CPU; reason (a sentence) when it fails. */
int monitor_init(const char **reason);
void monitor_exit(void);

#endif
