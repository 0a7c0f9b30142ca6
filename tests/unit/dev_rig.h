/* SPDX-License-Identifier: GPL-2.0-only */
/* What device tests need around a device: a clock that stands still, a wire. */
#ifndef DEV_RIG_H
#define DEV_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../devices/irq.h"

#define MSEC	1000000ULL
#define SEC	1000000000ULL

struct fake_clock {
	uint64_t now;
	uint64_t armed;		/* deadline, 0: none */
	uint64_t step;		/* how far each look at the clock moves it */
};

static inline uint64_t fake_now(void *opaque)
{
	struct fake_clock *c = opaque;

	c->now += c->step;
	return c->now;
}

static inline void fake_arm(void *opaque, uint64_t deadline_ns)
{
	((struct fake_clock *)opaque)->armed = deadline_ns;
}

static inline struct dev_clock fake_clock_ops(struct fake_clock *c)
{
	return (struct dev_clock){ .now = fake_now, .arm = fake_arm,
				   .opaque = c };
}

struct fake_line {
	bool level;
	unsigned int rises;
};

static inline void fake_line_set(void *opaque, unsigned int pin, bool level)
{
	struct fake_line *l = opaque;

	(void)pin;
	if (level && !l->level)
		l->rises++;
	l->level = level;
}

static inline struct irq_line fake_line_ops(struct fake_line *l)
{
	return (struct irq_line){ .set = fake_line_set, .opaque = l };
}

#endif
