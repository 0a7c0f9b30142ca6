// SPDX-License-Identifier: GPL-2.0-only
/*
 * 8042 keyboard controller without keyboard and mouse.
 *
 * Bytes sent to an absent device come back as FEh with the time-out bit set,
 * which is what the chip reports when nobody answers: drivers give up at once
 * instead of waiting out their own time limit.
 */
#include "i8042.h"

#include <string.h>

#define STATUS_OBF	0x01
#define STATUS_SYSTEM	0x04
#define STATUS_UNLOCKED	0x10
#define STATUS_AUX	0x20
#define STATUS_TIMEOUT	0x40

#define CTR_KBD_IRQ	0x01
#define CTR_KBD_OFF	0x10
#define CTR_AUX_OFF	0x20

#define CMD_READ_CTR	0x20
#define CMD_WRITE_CTR	0x60
#define CMD_AUX_OFF	0xa7
#define CMD_AUX_ON	0xa8
#define CMD_AUX_TEST	0xa9
#define CMD_SELF_TEST	0xaa
#define CMD_KBD_TEST	0xab
#define CMD_KBD_OFF	0xad
#define CMD_KBD_ON	0xae
#define CMD_READ_PORT	0xd0
#define CMD_WRITE_PORT	0xd1
#define CMD_KBD_LOOP	0xd2
#define CMD_AUX_LOOP	0xd3
#define CMD_AUX_WRITE	0xd4
#define CMD_PULSE	0xf0

#define OUTPORT_RESET_N	0x01
#define OUTPORT_A20	0x02

#define NO_ANSWER	0xfe

static void put(struct i8042 *k, uint8_t val, uint8_t status)
{
	k->out = val;
	k->status = STATUS_OBF | status;
	if (!(status & STATUS_AUX) && (k->ctr & CTR_KBD_IRQ))
		irq_line_set(&k->kbd_irq, true);
}

static void reset(struct i8042 *k)
{
	if (k->reset)
		k->reset(k->opaque);
}

static void write_command(struct i8042 *k, uint8_t val)
{
	k->command = 0;
	switch (val) {
	case CMD_READ_CTR:
		put(k, k->ctr, 0);
		break;
	case CMD_WRITE_CTR:
	case CMD_WRITE_PORT:
	case CMD_KBD_LOOP:
	case CMD_AUX_LOOP:
	case CMD_AUX_WRITE:
		k->command = val;
		break;
	case CMD_AUX_OFF:
		k->ctr |= CTR_AUX_OFF;
		break;
	case CMD_AUX_ON:
		k->ctr &= ~CTR_AUX_OFF;
		break;
	case CMD_SELF_TEST:
		put(k, 0x55, 0);
		break;
	case CMD_KBD_TEST:
	case CMD_AUX_TEST:
		put(k, 0x00, 0);
		break;
	case CMD_KBD_OFF:
		k->ctr |= CTR_KBD_OFF;
		break;
	case CMD_KBD_ON:
		k->ctr &= ~CTR_KBD_OFF;
		break;
	case CMD_READ_PORT:
		put(k, k->outport, 0);
		break;
	default:
		/* F0h..FFh pulse output lines low; line 0 is the CPU's reset */
		if ((val & CMD_PULSE) == CMD_PULSE && !(val & OUTPORT_RESET_N))
			reset(k);
		break;
	}
}

static void write_data(struct i8042 *k, uint8_t val)
{
	uint8_t command = k->command;

	k->command = 0;
	switch (command) {
	case CMD_WRITE_CTR:
		k->ctr = val;
		break;
	case CMD_WRITE_PORT:
		k->outport = val | OUTPORT_A20;
		if (!(val & OUTPORT_RESET_N))
			reset(k);
		break;
	case CMD_KBD_LOOP:
		put(k, val, 0);
		break;
	case CMD_AUX_LOOP:
		put(k, val, STATUS_AUX);
		break;
	case CMD_AUX_WRITE:
		put(k, NO_ANSWER, STATUS_AUX | STATUS_TIMEOUT);
		break;
	default:
		put(k, NO_ANSWER, STATUS_TIMEOUT);
		break;
	}
}

uint8_t i8042_read(struct i8042 *k, bool cmd_port)
{
	if (cmd_port)
		return k->status | STATUS_SYSTEM | STATUS_UNLOCKED;
	k->status = 0;
	irq_line_set(&k->kbd_irq, false);
	return k->out;
}

void i8042_write(struct i8042 *k, bool cmd_port, uint8_t val)
{
	if (cmd_port)
		write_command(k, val);
	else
		write_data(k, val);
}

void i8042_init(struct i8042 *k, void (*reset_fn)(void *opaque), void *opaque,
		const struct irq_line *kbd_irq)
{
	memset(k, 0, sizeof(*k));
	k->reset = reset_fn;
	k->opaque = opaque;
	k->kbd_irq = *kbd_irq;
	k->ctr = CTR_KBD_OFF | CTR_AUX_OFF;
	k->outport = OUTPORT_A20 | OUTPORT_RESET_N;
}

static uint64_t data_read(void *dev, uint64_t off, unsigned int size)
{
	(void)off;
	(void)size;
	return i8042_read(dev, false);
}

static void data_write(void *dev, uint64_t off, uint64_t val,
		       unsigned int size)
{
	(void)off;
	(void)size;
	i8042_write(dev, false, val);
}

static uint64_t cmd_read(void *dev, uint64_t off, unsigned int size)
{
	(void)off;
	(void)size;
	return i8042_read(dev, true);
}

static void cmd_write(void *dev, uint64_t off, uint64_t val, unsigned int size)
{
	(void)off;
	(void)size;
	i8042_write(dev, true, val);
}

const struct bus_ops i8042_data_ops = {
	.read = data_read,
	.write = data_write,
};

const struct bus_ops i8042_cmd_ops = {
	.read = cmd_read,
	.write = cmd_write,
};
