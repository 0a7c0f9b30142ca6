/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PCI configuration mechanism 1 (ports CF8h-CFFh) with a host bridge alone on
 * bus 0, and the reset control register in the same place (CF9h).
 */
#ifndef POPF_DEVICES_PCI_HOST_H
#define POPF_DEVICES_PCI_HOST_H

#include <stdint.h>

#include "bus.h"

#define PCI_HOST_PORT	0xcf8
#define PCI_HOST_LEN	8
#define PCI_RESET_PORT	0xcf9
#define PCI_RESET_VALUE	0x06	/* hard reset of the CPU */

struct pci_host {
	void (*reset)(void *opaque);
	void *opaque;
	uint32_t address;
	uint8_t reset_control;
};

extern const struct bus_ops pci_host_bus_ops;

void pci_host_init(struct pci_host *pci, void (*reset)(void *opaque),
		   void *opaque);

#endif
