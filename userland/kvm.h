/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hypervisor's side of the launcher: the KVM ioctl ABI of /dev/popf.
 *
 * vcpu.c and machine.c reach it only through struct vcpu_ops and struct vm_ops,
 * so that tests can put a scripted backend in its place.
 */
#ifndef POPF_USERLAND_KVM_H
#define POPF_USERLAND_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "guest-mem.h"

#define POPF_DEFAULT_DEVICE	"/dev/popf"
#define KVM_IOAPIC_ROUTES	24

/* All return 0 or a negative errno. */
struct vcpu_ops {
	int (*run)(void *vcpu);
	int (*interrupt)(void *vcpu, uint8_t vector);
	int (*get_regs)(void *vcpu, struct kvm_regs *regs);
	int (*get_sregs)(void *vcpu, struct kvm_sregs *sregs);
};

struct vm_ops {
	int (*signal_msi)(void *vm, uint64_t addr, uint32_t data);
	/* msi[i] is the message of IOAPIC pin i */
	int (*set_routes)(void *vm, const struct kvm_irq_routing_msi *msi,
			  unsigned int count);
};

struct kvm_vm {
	const char *device;
	int dev_fd;
	int vm_fd;
	size_t run_size;
};

struct kvm_vcpu {
	int fd;
	struct kvm_run *run;
	size_t run_size;
};

/* What the vCPU starts with. */
struct kvm_boot_state {
	uint64_t entry;
	uint64_t boot_params;
	uint64_t stack;
	uint64_t page_table;
	uint64_t gdt;
	uint16_t gdt_limit;
};

extern const struct vcpu_ops kvm_vcpu_ops;
extern const struct vm_ops kvm_vm_ops;

/* Opens the device and creates a VM with a split irqchip. */
int kvm_vm_create(struct kvm_vm *vm, const char *device, struct error *err);
void kvm_vm_destroy(struct kvm_vm *vm);
int kvm_vm_set_memory(struct kvm_vm *vm, const struct guest_mem *mem,
		      struct error *err);

int kvm_vcpu_create(struct kvm_vm *vm, struct kvm_vcpu *vcpu, unsigned int id,
		    struct error *err);
void kvm_vcpu_destroy(struct kvm_vcpu *vcpu);

/* CPUID, MSRs, segments, registers, local APIC pins: the state at entry. */
int kvm_vcpu_setup(struct kvm_vm *vm, struct kvm_vcpu *vcpu, unsigned int id,
		   const struct kvm_boot_state *boot, struct error *err);

/* The guest's TSC rate, 0 when unknown. */
unsigned int kvm_tsc_khz(const struct kvm_vcpu *vcpu);

/* A file descriptor for statistics, or -1 when there are none. */
int kvm_stats_fd(int fd);

/* cpuid.c: what the guest's CPUID says, from what the module offers */
struct kvm_cpuid_config {
	unsigned int apic_id;
	unsigned int cpus;
	bool tsc_deadline;
	unsigned int tsc_khz;	/* 0: unknown */
};

/* Edits the entries in place; cpuid->nent may grow up to cap. */
void cpuid_adjust(struct kvm_cpuid2 *cpuid, unsigned int cap,
		  const struct kvm_cpuid_config *cfg);

#endif
