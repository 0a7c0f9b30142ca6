/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixed hardware of ACPI: PM1a event and control blocks and the PM timer,
 * in one block of 12 ports. ACPI mode is always on; there is no SMM.
 *
 *	+0  PM1a status (2 bytes)	+2  PM1a enable (2 bytes)
 *	+4  PM1a control (2 bytes)	+8  PM timer (4 bytes)
 */
#ifndef POPF_DEVICES_ACPI_PM_H
#define POPF_DEVICES_ACPI_PM_H

#include <stdint.h>

#include "bus.h"
#include "irq.h"

#define ACPI_PM_LEN	12
#define ACPI_PM_EVENT	0
#define ACPI_PM_CONTROL	4
#define ACPI_PM_TIMER	8
#define ACPI_PM_HZ	3579545ULL

/* The SLP_TYP value \_S5 gives; see acpi-tables.c. */
#define ACPI_PM_S5	5

struct acpi_pm_host {
	void (*power_off)(void *opaque);
	void *opaque;
	struct dev_clock clock;		/* monotonic; arm() is not used */
	struct irq_line sci;
};

struct acpi_pm {
	struct acpi_pm_host host;
	uint64_t start_ns;
	uint16_t status;
	uint16_t enable;
	uint16_t control;
};

extern const struct bus_ops acpi_pm_bus_ops;

void acpi_pm_init(struct acpi_pm *pm, const struct acpi_pm_host *host);

/* Presses the power button: the guest gets an SCI and shuts down if it likes. */
void acpi_pm_power_button(struct acpi_pm *pm);

#endif
