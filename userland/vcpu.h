/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One virtual CPU: its thread, its run loop, and what it remembers of its
 * exits for the statistics and for the report after a crash.
 */
#ifndef POPF_USERLAND_VCPU_H
#define POPF_USERLAND_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kvm.h"
#include "machine.h"

/* Exit reasons counted one by one; larger ones share the last counter. */
#define VCPU_EXIT_REASONS	48
#define VCPU_RING		32

/* The signal that makes KVM_RUN return. */
#define VCPU_KICK_SIGNAL	SIGUSR1

struct vcpu_exit {
	uint32_t reason;
	bool is_write;
	uint8_t size;		/* bytes; 0: not an access */
	uint64_t addr;		/* port, guest address, or vector */
	uint64_t data;
};

struct vcpu {
	unsigned int id;
	const struct vcpu_ops *ops;
	void *backend;
	struct kvm_run *run;
	struct machine *machine;
	/* called outside the machine's lock after each exit; may be null */
	void (*after_exit)(void *opaque);
	void *opaque;

	pthread_t thread;
	atomic_bool running;	/* thread is valid and has not ended */

	struct vcpu_exit ring[VCPU_RING];
	uint64_t exit_count;	/* ring index of the next exit */
	uint64_t by_reason[VCPU_EXIT_REASONS];
	uint64_t interrupts;	/* ExtINT vectors given to the vCPU */
};

/* Runs until the machine is stopped. */
void vcpu_loop(struct vcpu *v);

/* Makes the vCPU look at the machine's state soon; any thread, any time. */
void vcpu_kick(struct vcpu *v);

/* "io", "mmio", ...; for unknown reasons a null pointer. */
const char *vcpu_exit_name(unsigned int reason);

#endif
