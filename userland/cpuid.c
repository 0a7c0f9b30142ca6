// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's CPUID: what the module supports, plus what only the launcher
 * knows (APIC ids, topology, that there is a hypervisor, the TSC's frequency).
 */
#include <stddef.h>
#include <string.h>

#include "kvm.h"

#define LEAF1_ECX_TSC_DEADLINE	(1U << 24)
#define LEAF1_ECX_HYPERVISOR	(1U << 31)
#define LEAF1_EDX_HTT		(1U << 28)

#define LEAF_PV_BASE		0x40000000U
#define LEAF_PV_TIMING		0x40000010U

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *cpuid, uint32_t leaf)
{
	unsigned int i;

	for (i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == leaf)
			return &cpuid->entries[i];
	}
	return NULL;
}

static void adjust_leaf1(struct kvm_cpuid_entry2 *e,
			 const struct kvm_cpuid_config *cfg)
{
	e->ecx |= LEAF1_ECX_HYPERVISOR;
	if (cfg->tsc_deadline)
		e->ecx |= LEAF1_ECX_TSC_DEADLINE;
	else
		e->ecx &= ~LEAF1_ECX_TSC_DEADLINE;
	e->ebx &= 0x0000ffff;
	e->ebx |= cfg->apic_id << 24 | cfg->cpus << 16;
	if (cfg->cpus > 1)
		e->edx |= LEAF1_EDX_HTT;
	else
		e->edx &= ~LEAF1_EDX_HTT;
}

/* One core per package and one thread per core, whatever the host has. */
static void adjust_topology(struct kvm_cpuid_entry2 *e,
			    const struct kvm_cpuid_config *cfg)
{
	switch (e->function) {
	case 0x4:
		e->eax &= ~0xffffc000U;
		break;
	case 0xb:
	case 0x1f:
		e->eax = 0;
		e->ebx = e->index < 2 ? 1 : 0;
		e->ecx = e->index | (e->index < 2 ? e->index + 1 : 0) << 8;
		e->edx = cfg->apic_id;
		break;
	case 0x80000008:
		e->ecx &= ~0xf0ffU;
		break;
	}
}

/* The leaf hypervisors use to tell the TSC's and the APIC bus's frequency. */
static void add_timing_leaf(struct kvm_cpuid2 *cpuid, unsigned int cap,
			    const struct kvm_cpuid_config *cfg)
{
	struct kvm_cpuid_entry2 *base = find(cpuid, LEAF_PV_BASE);
	struct kvm_cpuid_entry2 *e;

	if (!base || !cfg->tsc_khz || find(cpuid, LEAF_PV_TIMING) ||
	    cpuid->nent >= cap)
		return;
	e = &cpuid->entries[cpuid->nent++];
	memset(e, 0, sizeof(*e));
	e->function = LEAF_PV_TIMING;
	e->eax = cfg->tsc_khz;
	e->ebx = 1000000;	/* the APIC timer counts nanoseconds */
	if (base->eax < LEAF_PV_TIMING)
		base->eax = LEAF_PV_TIMING;
}

void cpuid_adjust(struct kvm_cpuid2 *cpuid, unsigned int cap,
		  const struct kvm_cpuid_config *cfg)
{
	unsigned int i;

	for (i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 1)
			adjust_leaf1(e, cfg);
		else
			adjust_topology(e, cfg);
	}
	add_timing_leaf(cpuid, cap, cfg);
}
