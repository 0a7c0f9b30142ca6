/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a device model may ask of its surroundings: an interrupt line and a
 * clock with one alarm. Both are filled in by whoever wires the machine
 * (userland/machine.c, or a unit test); a device owns no thread, no file
 * descriptor and no global.
 *
 * Locking: a device does none. The caller serialises every entry into one
 * device, and the callbacks below run inside that section.
 */
#ifndef POPF_DEVICES_IRQ_H
#define POPF_DEVICES_IRQ_H

#include <stdbool.h>
#include <stdint.h>

/* One wire. level is the logical state: true means asserted. */
struct irq_line {
	void (*set)(void *opaque, unsigned int pin, bool level);
	void *opaque;
	unsigned int pin;
};

static inline void irq_line_set(const struct irq_line *line, bool level)
{
	if (line->set)
		line->set(line->opaque, line->pin, level);
}

#define DEV_NSEC_PER_SEC	1000000000ULL

/*
 * now() is in nanoseconds on the clock the device wants (the PIT and the ACPI
 * timer a monotonic one, the RTC the wall clock). arm() asks for one call of
 * the device's *_timer() function at or after deadline_ns; 0 disarms.
 */
struct dev_clock {
	uint64_t (*now)(void *opaque);
	void (*arm)(void *opaque, uint64_t deadline_ns);
	void *opaque;
};

static inline uint64_t dev_clock_now(const struct dev_clock *clock)
{
	return clock->now(clock->opaque);
}

static inline void dev_clock_arm(const struct dev_clock *clock, uint64_t ns)
{
	if (clock->arm)
		clock->arm(clock->opaque, ns);
}

#endif
