/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pair of 8259A interrupt controllers of a PC, the slave on input 2 of the
 * master, with the edge/level control registers (ELCR) of the EISA bus.
 */
#ifndef POPF_DEVICES_I8259_H
#define POPF_DEVICES_I8259_H

#include <stdint.h>

#include "bus.h"
#include "irq.h"

#define I8259_PINS	16

struct i8259_chip {
	uint8_t irr;
	uint8_t isr;
	uint8_t imr;
	uint8_t lines;		/* level of the inputs */
	uint8_t elcr;		/* 1: level triggered */
	uint8_t elcr_mask;	/* ELCR bits that exist */
	uint8_t vector_base;
	uint8_t lowest;		/* input with the lowest priority */
	uint8_t icw_step;	/* next ICW expected: 2..4, 0 when ready */
	bool icw4_needed;
	bool level_mode;	/* ICW1 LTIM: all inputs level triggered */
	bool auto_eoi;
	bool rotate_auto_eoi;
	bool special_mask;
	bool special_nested;
	bool read_isr;
	bool poll;
	bool slave;
};

struct i8259 {
	struct i8259_chip chip[2];
	/* INTR output; pin number as given by the machine */
	struct irq_line intr;
};

/* ports 20h/21h, A0h/A1h and 4D0h/4D1h; the device is the struct i8259 */
extern const struct bus_ops i8259_master_ops;
extern const struct bus_ops i8259_slave_ops;
extern const struct bus_ops i8259_elcr_ops;

void i8259_init(struct i8259 *pic, const struct irq_line *intr);

/* pin: 0..15 (2 is the cascade and ignored) */
void i8259_set_irq(struct i8259 *pic, unsigned int pin, bool level);

/* The level of INTR. */
bool i8259_pending(const struct i8259 *pic);

/*
 * The processor's acknowledge cycle: takes the interrupt of the highest
 * priority into service and returns its vector. With nothing pending it is the
 * spurious interrupt, input 7.
 */
uint8_t i8259_ack(struct i8259 *pic);

uint8_t i8259_read(struct i8259 *pic, unsigned int chip, unsigned int port);
void i8259_write(struct i8259 *pic, unsigned int chip, unsigned int port,
		 uint8_t val);

#endif
