// SPDX-License-Identifier: GPL-2.0-only
/*
 * An empty PCI bus. Linux looks for a host bridge before it trusts mechanism 1,
 * and complains when it finds no way to reach configuration space; the bridge
 * below has no BARs and no capabilities, so there is nothing to configure.
 */
#include "pci-host.h"

#include <stdbool.h>
#include <string.h>

#define ADDRESS_ENABLE	0x80000000U
#define ADDRESS_DEVICE	0x00ffff00U	/* bus, device and function */
#define RESET_CPU	0x04

/* First 16 bytes of the bridge's header; the rest reads as zero. */
static const uint8_t bridge_header[16] = {
	0x86, 0x80, 0x57, 0x0d,	/* vendor, device */
	0x00, 0x00, 0x00, 0x00,	/* command, status */
	0x00, 0x00, 0x00, 0x06,	/* revision, class: host bridge */
	0x00, 0x00, 0x00, 0x00,
};

static uint8_t config_byte(const struct pci_host *pci, unsigned int lane)
{
	unsigned int reg = (pci->address & 0xfc) + lane;

	if (!(pci->address & ADDRESS_ENABLE) ||
	    (pci->address & ADDRESS_DEVICE))
		return 0xff;
	return reg < sizeof(bridge_header) ? bridge_header[reg] : 0;
}

static uint8_t read_byte(const struct pci_host *pci, unsigned int off)
{
	if (off >= 4)
		return config_byte(pci, off - 4);
	return off == 1 ? pci->reset_control : 0xff;
}

static uint64_t bus_read_reg(void *dev, uint64_t off, unsigned int size)
{
	const struct pci_host *pci = dev;
	uint64_t val = 0;
	unsigned int i;

	if (off == 0 && size == 4)
		return pci->address;
	for (i = 0; i < size; i++)
		val |= (uint64_t)read_byte(pci, off + i) << (i * 8);
	return val;
}

static void write_reset(struct pci_host *pci, uint8_t val)
{
	bool rising = (val & RESET_CPU) && !(pci->reset_control & RESET_CPU);

	pci->reset_control = val & 0x0e;
	if (rising && pci->reset)
		pci->reset(pci->opaque);
}

static void bus_write_reg(void *dev, uint64_t off, uint64_t val,
			  unsigned int size)
{
	struct pci_host *pci = dev;

	/* the address register only takes whole double words */
	if (off == 0 && size == 4)
		pci->address = val & ~3U;
	else if (off == 1 && size == 1)
		write_reset(pci, val);
}

const struct bus_ops pci_host_bus_ops = {
	.read = bus_read_reg,
	.write = bus_write_reg,
};

void pci_host_init(struct pci_host *pci, void (*reset)(void *opaque),
		   void *opaque)
{
	memset(pci, 0, sizeof(*pci));
	pci->reset = reset;
	pci->opaque = opaque;
}
