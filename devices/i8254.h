/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 8254 timer with the glue of a PC: channel 0 drives IRQ 0, channel 2 the
 * speaker, whose gate and output are in port 61h.
 */
#ifndef POPF_DEVICES_I8254_H
#define POPF_DEVICES_I8254_H

#include <stdint.h>

#include "bus.h"
#include "irq.h"

#define I8254_HZ	1193182ULL
#define I8254_CHANNELS	3

struct i8254_channel {
	uint64_t start_ns;	/* when counting began */
	uint64_t seen;		/* ticks after it up to which edges are done */
	uint32_t reload;	/* 1..65536 */
	uint16_t latched;
	uint8_t latched_status;
	uint8_t write_low;	/* first byte of a low/high pair */
	uint8_t mode;		/* 0..5 */
	uint8_t access;		/* 1 low, 2 high, 3 low then high */
	bool bcd;
	bool gate;
	bool loaded;		/* a count has been written since the mode */
	bool started;		/* modes 1 and 5: the gate has triggered */
	bool count_latched;
	bool status_latched;
	bool read_high;		/* the next read gives the high byte */
	bool write_high;	/* the next write is the high byte */
};

struct i8254 {
	struct dev_clock clock;
	struct irq_line irq;
	struct i8254_channel ch[I8254_CHANNELS];
	bool speaker;		/* port 61h bit 1 */
};

/* ports 40h-43h and 61h; the device is the struct i8254 */
extern const struct bus_ops i8254_bus_ops;
extern const struct bus_ops i8254_port61_ops;

/* clock: monotonic */
void i8254_init(struct i8254 *pit, const struct dev_clock *clock,
		const struct irq_line *irq);

/* The alarm asked for through clock->arm(). Early calls are harmless. */
void i8254_timer(struct i8254 *pit);

uint8_t i8254_read(struct i8254 *pit, unsigned int port);
void i8254_write(struct i8254 *pit, unsigned int port, uint8_t val);

/* Level of a channel's OUT pin now. */
bool i8254_out(const struct i8254 *pit, unsigned int channel);

#endif
