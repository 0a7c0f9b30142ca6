// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run loop.
 *
 * Invariants:
 *  1. immediate_exit is cleared before stop and extint are looked at, and
 *     vcpu_kick() sets it after they were changed: a kick is never lost.
 *  2. At most one ExtINT vector is given to the vCPU per KVM_RUN, and only
 *     when the last one returned with ready_for_interrupt_injection.
 */
#include "vcpu.h"

#include <errno.h>
#include <string.h>

static const char *const exit_names[] = {
	[KVM_EXIT_UNKNOWN] = "unknown",
	[KVM_EXIT_EXCEPTION] = "exception",
	[KVM_EXIT_IO] = "io",
	[KVM_EXIT_HYPERCALL] = "hypercall",
	[KVM_EXIT_DEBUG] = "debug",
	[KVM_EXIT_HLT] = "hlt",
	[KVM_EXIT_MMIO] = "mmio",
	[KVM_EXIT_IRQ_WINDOW_OPEN] = "irq_window_open",
	[KVM_EXIT_SHUTDOWN] = "shutdown",
	[KVM_EXIT_FAIL_ENTRY] = "fail_entry",
	[KVM_EXIT_INTR] = "intr",
	[KVM_EXIT_INTERNAL_ERROR] = "internal_error",
	[KVM_EXIT_SYSTEM_EVENT] = "system_event",
	[KVM_EXIT_IOAPIC_EOI] = "ioapic_eoi",
};

const char *vcpu_exit_name(unsigned int reason)
{
	if (reason >= sizeof(exit_names) / sizeof(exit_names[0]))
		return NULL;
	return exit_names[reason];
}

void vcpu_kick(struct vcpu *v)
{
	if (!atomic_load(&v->running) ||
	    pthread_equal(pthread_self(), v->thread))
		return;
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(v->thread, VCPU_KICK_SIGNAL);
}

static struct vcpu_exit *record_exit(struct vcpu *v, unsigned int reason)
{
	struct vcpu_exit *e = &v->ring[v->exit_count++ % VCPU_RING];
	unsigned int slot = reason < VCPU_EXIT_REASONS ? reason :
			    VCPU_EXIT_REASONS - 1;

	v->by_reason[slot]++;
	*e = (struct vcpu_exit){ .reason = reason };
	return e;
}

/* Offers the PICs' interrupt, or asks to be told when it can be taken. */
static void offer_extint(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t vector;
	int r;

	run->request_interrupt_window = 0;
	if (v->id != 0 || !atomic_load(&v->machine->extint))
		return;
	if (!run->ready_for_interrupt_injection) {
		run->request_interrupt_window = 1;
		return;
	}
	if (!machine_take_extint(v->machine, &vector))
		return;
	r = v->ops->interrupt(v->backend, vector);
	if (r < 0) {
		machine_stop(v->machine, MACHINE_FAILURE,
			     "cannot inject interrupt %#x: %s", vector,
			     strerror(-r));
		return;
	}
	v->interrupts++;
	run->ready_for_interrupt_injection = 0;
	run->request_interrupt_window = atomic_load(&v->machine->extint);
}

static void handle_io(struct vcpu *v, struct vcpu_exit *e)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned int size = run->io.size;
	struct bus *bus = &v->machine->pio;
	uint64_t val = 0;
	uint32_t i;

	e->is_write = run->io.direction == KVM_EXIT_IO_OUT;
	e->size = size;
	e->addr = run->io.port;
	for (i = 0; i < run->io.count; i++, data += size) {
		val = 0;
		if (e->is_write) {
			memcpy(&val, data, size);
			bus_write(bus, run->io.port, val, size);
		} else {
			val = bus_read(bus, run->io.port, size);
			memcpy(data, &val, size);
		}
	}
	e->data = val;
}

static void handle_mmio(struct vcpu *v, struct vcpu_exit *e)
{
	struct kvm_run *run = v->run;
	struct bus *bus = &v->machine->mmio;
	unsigned int size = run->mmio.len;
	uint64_t val = 0;

	e->is_write = run->mmio.is_write;
	e->size = size;
	e->addr = run->mmio.phys_addr;
	if (size > sizeof(run->mmio.data))
		size = sizeof(run->mmio.data);
	if (e->is_write) {
		memcpy(&val, run->mmio.data, size);
		bus_write(bus, e->addr, val, size);
	} else {
		val = bus_read(bus, e->addr, size);
		memcpy(run->mmio.data, &val, size);
	}
	e->data = val;
}

static void handle_system_event(struct vcpu *v)
{
	struct machine *m = v->machine;

	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		machine_stop(m, MACHINE_POWER_OFF, NULL);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		machine_stop(m, MACHINE_RESET, NULL);
		break;
	default:
		machine_stop(m, MACHINE_MONITOR, "system event %u",
			     v->run->system_event.type);
		break;
	}
}

static void handle_internal_error(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	machine_stop(v->machine, MACHINE_MONITOR,
		     "internal error %u in the monitor (data %#llx %#llx)",
		     run->internal.suberror,
		     run->internal.ndata > 0 ?
		     (unsigned long long)run->internal.data[0] : 0,
		     run->internal.ndata > 1 ?
		     (unsigned long long)run->internal.data[1] : 0);
}

static void handle_exit(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct machine *m = v->machine;
	struct vcpu_exit *e = record_exit(v, run->exit_reason);

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(v, e);
		break;
	case KVM_EXIT_MMIO:
		handle_mmio(v, e);
		break;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_INTR:
		break;
	case KVM_EXIT_IOAPIC_EOI:
		e->addr = run->eoi.vector;
		ioapic_eoi(&m->ioapic, run->eoi.vector);
		break;
	case KVM_EXIT_SHUTDOWN:
		machine_stop(m, MACHINE_TRIPLE_FAULT, NULL);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		handle_system_event(v);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		handle_internal_error(v);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		machine_stop(m, MACHINE_MONITOR,
			     "the monitor refused to enter the guest (reason %#llx)",
			     (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_UNKNOWN:
		machine_stop(m, MACHINE_MONITOR,
			     "the monitor stopped for an unknown reason (%#llx)",
			     (unsigned long long)run->hw.hardware_exit_reason);
		break;
	default:
		machine_stop(m, MACHINE_MONITOR, "unexpected exit %u (%s)",
			     run->exit_reason,
			     vcpu_exit_name(run->exit_reason) ?: "no name");
		break;
	}
}

void vcpu_loop(struct vcpu *v)
{
	struct machine *m = v->machine;
	int r;

	for (;;) {
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		if (machine_stopped(m))
			break;
		offer_extint(v);

		r = v->ops->run(v->backend);
		if (r == -EINTR || r == -EAGAIN) {
			record_exit(v, KVM_EXIT_INTR);
			continue;
		}
		if (r < 0) {
			machine_stop(m, MACHINE_FAILURE,
				     "KVM_RUN failed: %s", strerror(-r));
			break;
		}
		pthread_mutex_lock(&m->lock);
		handle_exit(v);
		pthread_mutex_unlock(&m->lock);
		if (v->after_exit)
			v->after_exit(v->opaque);
	}
}
