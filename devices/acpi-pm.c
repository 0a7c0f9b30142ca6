// SPDX-License-Identifier: GPL-2.0-only
/*
 * ACPI fixed hardware.
 *
 * The SCI line is the AND of status and enable, level triggered. The PM
 * timer's carry does not set TMR_STS: the counter is 32 bits wide, and no
 * system in use takes the interrupt.
 */
#include "acpi-pm.h"

#include <string.h>

#define STS_POWER_BUTTON	(1 << 8)
#define STS_WAKE		(1 << 15)
#define STS_KNOWN		(STS_POWER_BUTTON | STS_WAKE)
/* timer, global lock, power button, sleep button, RTC */
#define ENABLE_KNOWN		0x0721

#define CNT_SCI_EN		(1 << 0)
#define CNT_SLP_EN		(1 << 13)
#define CNT_SLP_TYP_SHIFT	10
#define CNT_SLP_TYP_MASK	7

static void update_sci(struct acpi_pm *pm)
{
	irq_line_set(&pm->host.sci, pm->status & pm->enable);
}

static uint32_t read_timer(const struct acpi_pm *pm)
{
	uint64_t ns = dev_clock_now(&pm->host.clock) - pm->start_ns;

	return (unsigned __int128)ns * ACPI_PM_HZ / DEV_NSEC_PER_SEC;
}

static void write_control(struct acpi_pm *pm, uint16_t val)
{
	unsigned int type = (val >> CNT_SLP_TYP_SHIFT) & CNT_SLP_TYP_MASK;

	/* SLP_EN is write only; SCI_EN cannot be turned off */
	pm->control = (val & ~CNT_SLP_EN) | CNT_SCI_EN;
	if ((val & CNT_SLP_EN) && type == ACPI_PM_S5 && pm->host.power_off)
		pm->host.power_off(pm->host.opaque);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
	pm->status |= STS_POWER_BUTTON;
	update_sci(pm);
}

/* The whole block as bytes; the registers are little endian. */
static void snapshot(const struct acpi_pm *pm, uint8_t *block)
{
	uint32_t timer = read_timer(pm);
	const uint16_t regs[] = { pm->status, pm->enable, pm->control, 0 };

	memcpy(block, regs, sizeof(regs));
	memcpy(block + ACPI_PM_TIMER, &timer, sizeof(timer));
}

static uint64_t bus_read_reg(void *dev, uint64_t off, unsigned int size)
{
	uint8_t block[ACPI_PM_LEN];
	uint64_t val = 0;

	snapshot(dev, block);
	memcpy(&val, block + off, size);
	return val;
}

/* Writes the part of a 16-bit register that [off, off + size) covers. */
static bool covers(uint64_t off, unsigned int size, unsigned int reg,
		   uint64_t val, uint16_t old, uint16_t *new)
{
	bool hit = false;
	unsigned int i;

	*new = old;
	for (i = 0; i < size; i++) {
		unsigned int at = off + i;

		if (at != reg && at != reg + 1)
			continue;
		hit = true;
		*new &= ~(0xff << ((at - reg) * 8));
		*new |= ((val >> (i * 8)) & 0xff) << ((at - reg) * 8);
	}
	return hit;
}

static void bus_write_reg(void *dev, uint64_t off, uint64_t val,
			  unsigned int size)
{
	struct acpi_pm *pm = dev;
	uint16_t new;

	/* status bits are cleared by writing ones, so "old" is no bits */
	if (covers(off, size, ACPI_PM_EVENT, val, 0, &new))
		pm->status &= ~(new & STS_KNOWN);
	if (covers(off, size, ACPI_PM_EVENT + 2, val, pm->enable, &new))
		pm->enable = new & ENABLE_KNOWN;
	if (covers(off, size, ACPI_PM_CONTROL, val, pm->control, &new))
		write_control(pm, new);
	update_sci(pm);
}

const struct bus_ops acpi_pm_bus_ops = {
	.read = bus_read_reg,
	.write = bus_write_reg,
};

void acpi_pm_init(struct acpi_pm *pm, const struct acpi_pm_host *host)
{
	memset(pm, 0, sizeof(*pm));
	pm->host = *host;
	pm->control = CNT_SCI_EN;
	pm->start_ns = dev_clock_now(&host->clock);
}
