/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtual PC: its devices, how they are wired, and how it is stopped.
 *
 * Locking: lock guards the devices, both buses and the console. vCPU threads
 * take it to handle an exit, the event thread to deliver timers and input.
 * machine_stop(), machine_kick() and the atomics may be used without it.
 */
#ifndef POPF_USERLAND_MACHINE_H
#define POPF_USERLAND_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../devices/acpi-pm.h"
#include "../devices/bus.h"
#include "../devices/i8042.h"
#include "../devices/i8254.h"
#include "../devices/i8259.h"
#include "../devices/ioapic.h"
#include "../devices/mc146818.h"
#include "../devices/ns16550.h"
#include "../devices/pci-host.h"
#include "acpi.h"
#include "error.h"
#include "guest-mem.h"
#include "kvm.h"

enum machine_stop {
	MACHINE_RUNS,
	MACHINE_POWER_OFF,	/* the guest, through ACPI */
	MACHINE_RESET,		/* the guest: reset register, 8042, ... */
	MACHINE_TRIPLE_FAULT,
	MACHINE_MONITOR,	/* the module gave up on this VM */
	MACHINE_FAILURE,	/* an ioctl failed, a device could not be served */
	MACHINE_SIGNAL,		/* a signal to popf; stop_signal says which */
};

/* What the machine needs from the process around it. */
struct machine_host {
	/* a byte from the serial port, with lock held */
	void (*console_tx)(void *opaque, uint8_t ch);
	/* the serial port can take input again, with lock held */
	void (*console_rx_room)(void *opaque);
	/* make vCPU 0 leave the guest and look at extint and stop */
	void (*kick)(void *opaque);
	void *opaque;
};

struct machine {
	pthread_mutex_t lock;
	struct machine_host host;
	const struct vm_ops *vm_ops;
	void *vm;

	struct bus pio;
	struct bus mmio;
	struct ns16550 uart;
	struct i8259 pic;
	struct i8254 pit;
	struct ioapic ioapic;
	struct mc146818 rtc;
	struct i8042 kbd;
	struct acpi_pm pm;
	struct pci_host pci;

	/* what set_routes() was last given */
	struct kvm_irq_routing_msi routes[IOAPIC_PINS];

	int pit_timer;		/* timerfds and an eventfd for the event thread */
	int rtc_timer;
	int wake;

	atomic_bool extint;	/* the PICs' INTR output */
	atomic_int stop;	/* enum machine_stop; the first one stays */
	int stop_signal;
	char stop_text[256];
};

int machine_init(struct machine *m, const struct machine_host *host,
		 const struct vm_ops *ops, void *vm,
		 const struct guest_mem *mem, struct error *err);
void machine_destroy(struct machine *m);

/* The ACPI tables' view of the wiring. */
struct acpi_config machine_acpi_config(unsigned int cpus);

/*
 * Ends the run: the first reason wins. fmt may be null; else it says in one
 * line what happened. Wakes the event thread and the vCPUs.
 */
void machine_stop(struct machine *m, enum machine_stop reason,
		  const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static inline bool machine_stopped(struct machine *m)
{
	return atomic_load(&m->stop) != MACHINE_RUNS;
}

/* The next vector of the PICs; false when there is none any more. */
bool machine_take_extint(struct machine *m, uint8_t *vector);

/* A timerfd is readable. Takes the lock. */
void machine_pit_expired(struct machine *m);
void machine_rtc_expired(struct machine *m);

#endif
