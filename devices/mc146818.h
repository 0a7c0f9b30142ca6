/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MC146818 real-time clock and the CMOS memory around it (ports 70h/71h).
 */
#ifndef POPF_DEVICES_MC146818_H
#define POPF_DEVICES_MC146818_H

#include <stdint.h>

#include "bus.h"
#include "irq.h"

#define MC146818_SIZE	128

struct mc146818 {
	struct dev_clock clock;
	struct irq_line irq;
	int64_t offset_ns;	/* guest's time minus the host's wall clock */
	uint64_t seen_ns;	/* events up to this guest time are accounted */
	uint8_t index;
	uint8_t cmos[MC146818_SIZE];
};

extern const struct bus_ops mc146818_bus_ops;

/*
 * clock: the wall clock, nanoseconds since 1970 in UTC. below_4g and above_4g
 * are bytes of guest memory, reported in the registers PC firmware uses.
 */
void mc146818_init(struct mc146818 *rtc, const struct dev_clock *clock,
		   const struct irq_line *irq, uint64_t below_4g,
		   uint64_t above_4g);

/* The alarm asked for through clock->arm(). Early calls are harmless. */
void mc146818_timer(struct mc146818 *rtc);

uint8_t mc146818_read(struct mc146818 *rtc, unsigned int port);
void mc146818_write(struct mc146818 *rtc, unsigned int port, uint8_t val);

#endif
