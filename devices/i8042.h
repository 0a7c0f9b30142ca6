/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 8042 keyboard controller (ports 60h and 64h) with nothing plugged in: it
 * passes its self tests, resets the machine and opens the A20 gate.
 */
#ifndef POPF_DEVICES_I8042_H
#define POPF_DEVICES_I8042_H

#include <stdint.h>

#include "bus.h"
#include "irq.h"

struct i8042 {
	void (*reset)(void *opaque);
	void *opaque;
	struct irq_line kbd_irq;
	uint8_t command;	/* waiting for its data byte, 0 if none */
	uint8_t ctr;		/* the "command byte" */
	uint8_t outport;
	uint8_t out;		/* output buffer */
	uint8_t status;		/* OBF, time-out and AUX bits; rest derived */
};

extern const struct bus_ops i8042_data_ops;	/* port 60h */
extern const struct bus_ops i8042_cmd_ops;	/* port 64h */

void i8042_init(struct i8042 *k, void (*reset)(void *opaque), void *opaque,
		const struct irq_line *kbd_irq);
uint8_t i8042_read(struct i8042 *k, bool cmd_port);
void i8042_write(struct i8042 *k, bool cmd_port, uint8_t val);

#endif
