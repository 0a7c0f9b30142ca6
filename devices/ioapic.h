/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 82093AA I/O APIC with 24 pins. It turns pins into messages for the local
 * APICs, which live in the module.
 */
#ifndef POPF_DEVICES_IOAPIC_H
#define POPF_DEVICES_IOAPIC_H

#include <stdint.h>

#include "bus.h"
#include "irq.h"

#define IOAPIC_PINS	24
#define IOAPIC_BASE	0xfec00000ULL
#define IOAPIC_LEN	0x1000ULL

/* An MSI as written by a PCI device. */
struct ioapic_msg {
	uint64_t addr;
	uint32_t data;
};

struct ioapic_host {
	void (*send)(void *opaque, const struct ioapic_msg *msg);
	/* a redirection entry changed in more than its status bits */
	void (*route_changed)(void *opaque, unsigned int pin);
	void *opaque;
};

struct ioapic {
	struct ioapic_host host;
	uint64_t redir[IOAPIC_PINS];
	uint32_t lines;		/* level of each pin */
	uint8_t id;
	uint8_t select;
};

extern const struct bus_ops ioapic_bus_ops;

void ioapic_init(struct ioapic *io, const struct ioapic_host *host);

/* pin: 0..23; larger ones are ignored */
void ioapic_set_irq(struct ioapic *io, unsigned int pin, bool level);

/* A local APIC has ended the level-triggered interrupt with this vector. */
void ioapic_eoi(struct ioapic *io, uint8_t vector);

/* The message a pin sends; false when the pin is masked. */
bool ioapic_message(const struct ioapic *io, unsigned int pin,
		    struct ioapic_msg *msg);

static inline bool ioapic_is_level(const struct ioapic_msg *msg)
{
	return msg->data & (1U << 15);
}

#endif
