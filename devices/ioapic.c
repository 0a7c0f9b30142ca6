// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O APIC.
 *
 * Invariants:
 *  1. Remote IRR is only ever set on level-triggered entries; it is set by
 *     sending the message and cleared by the EOI or by a switch to edge mode.
 *  2. An asserted, unmasked level pin with remote IRR clear does not exist
 *     between two calls: service_level() sends its message at once.
 *  3. An edge on a masked pin is lost, as on the chip.
 */
#include "ioapic.h"

#include <string.h>

#define REG_SELECT	0x00
#define REG_WINDOW	0x10

#define IDX_ID		0x00
#define IDX_VERSION	0x01
#define IDX_ARB		0x02
#define IDX_REDIR	0x10

/* version 11h: no directed EOI register */
#define VERSION		(0x11 | (IOAPIC_PINS - 1) << 16)

#define REDIR_VECTOR	0xffULL
#define REDIR_DELIVERY	(7ULL << 8)
#define REDIR_LOGICAL	(1ULL << 11)
#define REDIR_PENDING	(1ULL << 12)
#define REDIR_REMOTE	(1ULL << 14)
#define REDIR_LEVEL	(1ULL << 15)
#define REDIR_MASKED	(1ULL << 16)
#define REDIR_STATUS	(REDIR_PENDING | REDIR_REMOTE)
#define REDIR_WRITABLE	(0xff0000000001ffffULL & ~REDIR_STATUS)

#define MSI_ADDR_BASE	0xfee00000ULL
#define MSI_ADDR_LOGICAL	(1ULL << 2)
#define MSI_DATA_ASSERT	(1U << 14)
#define MSI_DATA_LEVEL	(1U << 15)

bool ioapic_message(const struct ioapic *io, unsigned int pin,
		    struct ioapic_msg *msg)
{
	uint64_t e = io->redir[pin];

	msg->addr = MSI_ADDR_BASE | (e >> 56) << 12;
	if (e & REDIR_LOGICAL)
		msg->addr |= MSI_ADDR_LOGICAL;
	msg->data = e & (REDIR_VECTOR | REDIR_DELIVERY);
	if (e & REDIR_LEVEL)
		msg->data |= MSI_DATA_LEVEL | MSI_DATA_ASSERT;
	return !(e & REDIR_MASKED);
}

static void send(struct ioapic *io, unsigned int pin)
{
	struct ioapic_msg msg;

	if (ioapic_message(io, pin, &msg) && io->host.send)
		io->host.send(io->host.opaque, &msg);
}

static void service_level(struct ioapic *io, unsigned int pin)
{
	uint64_t e = io->redir[pin];

	if (!(e & REDIR_LEVEL) || (e & (REDIR_MASKED | REDIR_REMOTE)))
		return;
	if (!(io->lines & (1U << pin)))
		return;
	io->redir[pin] |= REDIR_REMOTE;
	send(io, pin);
}

void ioapic_set_irq(struct ioapic *io, unsigned int pin, bool level)
{
	uint32_t bit;
	bool rising;

	if (pin >= IOAPIC_PINS)
		return;
	bit = 1U << pin;
	rising = level && !(io->lines & bit);
	if (level)
		io->lines |= bit;
	else
		io->lines &= ~bit;
	if (io->redir[pin] & REDIR_LEVEL)
		service_level(io, pin);
	else if (rising)
		send(io, pin);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	unsigned int pin;

	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t e = io->redir[pin];

		if (!(e & REDIR_LEVEL) || (e & REDIR_VECTOR) != vector)
			continue;
		io->redir[pin] &= ~REDIR_REMOTE;
		service_level(io, pin);
	}
}

static void write_redir(struct ioapic *io, unsigned int index, uint32_t val)
{
	unsigned int pin = index / 2;
	uint64_t old = io->redir[pin];
	uint64_t new = old;

	if (index & 1)
		new = (old & 0xffffffffULL) | (uint64_t)val << 32;
	else
		new = (old & ~0xffffffffULL) | val;
	new = (new & REDIR_WRITABLE) | (old & REDIR_STATUS);
	if (!(new & REDIR_LEVEL))
		new &= ~REDIR_REMOTE;
	io->redir[pin] = new;
	if (((old ^ new) & ~REDIR_STATUS) && io->host.route_changed)
		io->host.route_changed(io->host.opaque, pin);
	service_level(io, pin);
}

static uint32_t read_window(const struct ioapic *io)
{
	unsigned int index = io->select - IDX_REDIR;

	switch (io->select) {
	case IDX_ID:
	case IDX_ARB:
		return (uint32_t)io->id << 24;
	case IDX_VERSION:
		return VERSION;
	}
	if (io->select < IDX_REDIR || index >= IOAPIC_PINS * 2)
		return 0;
	return io->redir[index / 2] >> (index & 1 ? 32 : 0);
}

static void write_window(struct ioapic *io, uint32_t val)
{
	unsigned int index = io->select - IDX_REDIR;

	if (io->select == IDX_ID)
		io->id = (val >> 24) & 0x0f;
	else if (io->select >= IDX_REDIR && index < IOAPIC_PINS * 2)
		write_redir(io, index, val);
}

static uint64_t bus_read_reg(void *dev, uint64_t off, unsigned int size)
{
	struct ioapic *io = dev;

	(void)size;
	switch (off) {
	case REG_SELECT:
		return io->select;
	case REG_WINDOW:
		return read_window(io);
	}
	return 0;
}

static void bus_write_reg(void *dev, uint64_t off, uint64_t val,
			  unsigned int size)
{
	struct ioapic *io = dev;

	(void)size;
	switch (off) {
	case REG_SELECT:
		io->select = val;
		break;
	case REG_WINDOW:
		write_window(io, val);
		break;
	}
}

const struct bus_ops ioapic_bus_ops = {
	.read = bus_read_reg,
	.write = bus_write_reg,
};

void ioapic_init(struct ioapic *io, const struct ioapic_host *host)
{
	unsigned int pin;

	memset(io, 0, sizeof(*io));
	io->host = *host;
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		io->redir[pin] = REDIR_MASKED;
}
