/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ACPI tables of the machine: RSDP, XSDT, FADT, FACS, MADT, DSDT.
 */
#ifndef POPF_USERLAND_ACPI_H
#define POPF_USERLAND_ACPI_H

#include <stddef.h>
#include <stdint.h>

/* Where the tables go: inside the range PC firmware uses for them. */
#define ACPI_BASE	0xe0000ULL
#define ACPI_SIZE	0x20000ULL

struct acpi_config {
	unsigned int cpus;
	uint64_t lapic_base;
	uint64_t ioapic_base;
	unsigned int sci_irq;
	uint16_t pm_port;
	uint16_t reset_port;
	uint8_t reset_value;
};

/*
 * Writes the tables for guest address base into buf, the RSDP first. Returns
 * the bytes used, 0 when they do not fit in cap. base must be a multiple of 64.
 */
size_t acpi_build(const struct acpi_config *cfg, uint64_t base, void *buf,
		  size_t cap);

#endif
