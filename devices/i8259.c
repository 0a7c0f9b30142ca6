// SPDX-License-Identifier: GPL-2.0-only
/*
 * 8259A pair.
 *
 * Invariants:
 *  1. The master's input 2 equals the slave's INTR, and the INTR callback has
 *     seen the master's; update_intr() restores both after every change.
 *  2. A level-triggered input's request bit equals its line. An edge-triggered
 *     one's is set by the rising edge and cleared by the acknowledge, or when
 *     the line falls first.
 */
#include "i8259.h"

#include <string.h>

enum { MASTER, SLAVE };

#define CASCADE_PIN	2
#define PRIO_NONE	8

#define ICW1_INIT	0x10
#define ICW1_ICW4	0x01
#define ICW1_LEVEL	0x08
#define ICW4_AUTO_EOI	0x02
#define ICW4_NESTED	0x10

#define OCW3		0x08
#define OCW3_READ_REG	0x02
#define OCW3_READ_ISR	0x01
#define OCW3_POLL	0x04
#define OCW3_SMM_SET	0x40
#define OCW3_SMM	0x20

static unsigned int pin_of_prio(const struct i8259_chip *c, unsigned int prio)
{
	return (c->lowest + 1 + prio) & 7;
}

/* Priority (0 is highest) of the first bit set in mask, or PRIO_NONE. */
static unsigned int best_prio(const struct i8259_chip *c, uint8_t mask)
{
	unsigned int prio;

	for (prio = 0; prio < 8; prio++) {
		if (mask & (1 << pin_of_prio(c, prio)))
			return prio;
	}
	return PRIO_NONE;
}

/* The input a chip wants serviced, or -1. */
static int chip_pending(const struct i8259_chip *c)
{
	unsigned int want = best_prio(c, c->irr & ~c->imr);
	uint8_t in_service = c->isr;

	if (want == PRIO_NONE)
		return -1;
	if (c->special_mask)
		in_service &= ~c->imr;
	/*
	 * In special fully nested mode a cascade input in service does not
	 * hold back a higher request of the same slave.
	 */
	if (c->special_nested && !c->slave)
		in_service &= ~(1 << CASCADE_PIN);
	if (want < best_prio(c, in_service))
		return pin_of_prio(c, want);
	return -1;
}

static bool is_level(const struct i8259_chip *c, unsigned int pin)
{
	return c->level_mode || (c->elcr & (1 << pin));
}

static void chip_set_line(struct i8259_chip *c, unsigned int pin, bool level)
{
	uint8_t bit = 1 << pin;
	bool rising = level && !(c->lines & bit);

	if (level)
		c->lines |= bit;
	else
		c->lines &= ~bit;

	if (!level)
		c->irr &= ~bit;
	else if (rising || is_level(c, pin))
		c->irr |= bit;
}

static void update_intr(struct i8259 *pic)
{
	chip_set_line(&pic->chip[MASTER], CASCADE_PIN,
		      chip_pending(&pic->chip[SLAVE]) >= 0);
	irq_line_set(&pic->intr, i8259_pending(pic));
}

bool i8259_pending(const struct i8259 *pic)
{
	return chip_pending(&pic->chip[MASTER]) >= 0;
}

void i8259_set_irq(struct i8259 *pic, unsigned int pin, bool level)
{
	if (pin >= I8259_PINS || pin == CASCADE_PIN)
		return;
	chip_set_line(&pic->chip[pin / 8], pin % 8, level);
	update_intr(pic);
}

static void chip_end(struct i8259_chip *c, unsigned int pin, bool rotate)
{
	c->isr &= ~(1 << pin);
	if (rotate)
		c->lowest = pin;
}

static void chip_take(struct i8259_chip *c, unsigned int pin)
{
	if (!is_level(c, pin))
		c->irr &= ~(1 << pin);
	if (c->auto_eoi) {
		if (c->rotate_auto_eoi)
			c->lowest = pin;
	} else {
		c->isr |= 1 << pin;
	}
}

/* Acknowledges one chip; the input taken, 7 when the request has gone. */
static unsigned int chip_ack(struct i8259_chip *c)
{
	int pin = chip_pending(c);

	if (pin < 0)
		return 7;
	chip_take(c, pin);
	return pin;
}

uint8_t i8259_ack(struct i8259 *pic)
{
	struct i8259_chip *master = &pic->chip[MASTER];
	struct i8259_chip *slave = &pic->chip[SLAVE];
	bool cascade = chip_pending(master) == CASCADE_PIN;
	unsigned int pin = chip_ack(master);
	uint8_t vector = master->vector_base + pin;

	if (cascade)
		vector = slave->vector_base + chip_ack(slave);
	update_intr(pic);
	return vector;
}

static void write_icw1(struct i8259_chip *c, uint8_t val)
{
	c->imr = 0;
	c->isr = 0;
	/* the edge detectors are reset: a line already high makes no request */
	c->irr = 0;
	c->lowest = 7;
	c->special_mask = false;
	c->read_isr = false;
	c->poll = false;
	c->auto_eoi = false;
	c->rotate_auto_eoi = false;
	c->special_nested = false;
	c->level_mode = val & ICW1_LEVEL;
	c->icw4_needed = val & ICW1_ICW4;
	c->icw_step = 2;
}

static void write_icw(struct i8259_chip *c, uint8_t val)
{
	switch (c->icw_step) {
	case 2:
		c->vector_base = val & 0xf8;
		c->icw_step = 3;
		break;
	case 3:
		/* the wiring of the cascade is fixed on a PC */
		c->icw_step = c->icw4_needed ? 4 : 0;
		break;
	default:
		c->auto_eoi = val & ICW4_AUTO_EOI;
		c->special_nested = val & ICW4_NESTED;
		c->icw_step = 0;
		break;
	}
}

static void write_ocw2(struct i8259_chip *c, uint8_t val)
{
	unsigned int prio;

	switch (val >> 5) {
	case 0:
	case 4:
		c->rotate_auto_eoi = val >> 7;
		break;
	case 1:
	case 5:
		prio = best_prio(c, c->isr);
		if (prio != PRIO_NONE)
			chip_end(c, pin_of_prio(c, prio), val >> 7);
		break;
	case 3:
	case 7:
		chip_end(c, val & 7, val >> 7);
		break;
	case 6:
		c->lowest = val & 7;
		break;
	}
}

static void write_ocw3(struct i8259_chip *c, uint8_t val)
{
	if (val & OCW3_POLL)
		c->poll = true;
	if (val & OCW3_READ_REG)
		c->read_isr = val & OCW3_READ_ISR;
	if (val & OCW3_SMM_SET)
		c->special_mask = val & OCW3_SMM;
}

/* Level inputs follow their lines also across ELCR writes and ICW1. */
static void refresh_levels(struct i8259_chip *c)
{
	unsigned int pin;

	for (pin = 0; pin < 8; pin++) {
		if (is_level(c, pin) && (c->lines & (1 << pin)))
			c->irr |= 1 << pin;
	}
}

void i8259_write(struct i8259 *pic, unsigned int chip, unsigned int port,
		 uint8_t val)
{
	struct i8259_chip *c = &pic->chip[chip];

	if (port == 0) {
		if (val & ICW1_INIT)
			write_icw1(c, val);
		else if (val & OCW3)
			write_ocw3(c, val);
		else
			write_ocw2(c, val);
	} else if (c->icw_step) {
		write_icw(c, val);
	} else {
		c->imr = val;
	}
	refresh_levels(c);
	update_intr(pic);
}

static uint8_t read_poll(struct i8259 *pic, struct i8259_chip *c)
{
	int pin = chip_pending(c);

	c->poll = false;
	if (pin < 0)
		return 0;
	chip_take(c, pin);
	update_intr(pic);
	return 0x80 | pin;
}

uint8_t i8259_read(struct i8259 *pic, unsigned int chip, unsigned int port)
{
	struct i8259_chip *c = &pic->chip[chip];

	if (c->poll)
		return read_poll(pic, c);
	if (port == 1)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

void i8259_init(struct i8259 *pic, const struct irq_line *intr)
{
	memset(pic, 0, sizeof(*pic));
	pic->intr = *intr;
	pic->chip[MASTER].lowest = 7;
	pic->chip[SLAVE].lowest = 7;
	pic->chip[SLAVE].slave = true;
	/* timer, keyboard, cascade, RTC and FPU inputs are edge only */
	pic->chip[MASTER].elcr_mask = 0xf8;
	pic->chip[SLAVE].elcr_mask = 0xde;
	/* nothing gets through before the guest has programmed the pair */
	pic->chip[MASTER].imr = 0xff;
	pic->chip[SLAVE].imr = 0xff;
}

static uint64_t master_read(void *dev, uint64_t off, unsigned int size)
{
	(void)size;
	return i8259_read(dev, MASTER, off);
}

static void master_write(void *dev, uint64_t off, uint64_t val,
			 unsigned int size)
{
	(void)size;
	i8259_write(dev, MASTER, off, val);
}

static uint64_t slave_read(void *dev, uint64_t off, unsigned int size)
{
	(void)size;
	return i8259_read(dev, SLAVE, off);
}

static void slave_write(void *dev, uint64_t off, uint64_t val,
			unsigned int size)
{
	(void)size;
	i8259_write(dev, SLAVE, off, val);
}

static uint64_t elcr_read(void *dev, uint64_t off, unsigned int size)
{
	struct i8259 *pic = dev;

	if (size == 2)
		return pic->chip[MASTER].elcr | pic->chip[SLAVE].elcr << 8;
	return pic->chip[off & 1].elcr;
}

static void elcr_write(void *dev, uint64_t off, uint64_t val,
		       unsigned int size)
{
	struct i8259 *pic = dev;
	unsigned int i;

	for (i = 0; i < size && off + i < 2; i++) {
		struct i8259_chip *c = &pic->chip[off + i];

		c->elcr = (val >> (i * 8)) & c->elcr_mask;
		refresh_levels(c);
	}
	update_intr(pic);
}

const struct bus_ops i8259_master_ops = {
	.read = master_read,
	.write = master_write,
};

const struct bus_ops i8259_slave_ops = {
	.read = slave_read,
	.write = slave_write,
};

const struct bus_ops i8259_elcr_ops = {
	.read = elcr_read,
	.write = elcr_write,
};
