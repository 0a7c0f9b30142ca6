/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 16550A UART with its 16-byte receive FIFO. The line is infinitely fast: a
 * byte written to THR has left before the write returns, so THRE and TEMT are
 * always set and the transmit FIFO never holds anything.
 */
#ifndef POPF_DEVICES_NS16550_H
#define POPF_DEVICES_NS16550_H

#include <stddef.h>
#include <stdint.h>

#include "bus.h"
#include "irq.h"

#define NS16550_FIFO	16
#define NS16550_PORTS	8

struct ns16550_host {
	/* one byte from the guest */
	void (*tx)(void *opaque, uint8_t ch);
	/* the guest has taken bytes: ns16550_rx_room() may have grown */
	void (*rx_room)(void *opaque);
	void *opaque;
	struct irq_line irq;
};

struct ns16550 {
	struct ns16550_host host;
	uint8_t rx[NS16550_FIFO];
	unsigned int rx_head;
	unsigned int rx_count;
	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t lsr;		/* error bits only; the rest is derived */
	uint8_t msr;
	uint8_t scr;
	uint8_t dll;
	uint8_t dlm;
	bool thre_pending;	/* THR went empty and IIR was not read since */
};

extern const struct bus_ops ns16550_bus_ops;

void ns16550_init(struct ns16550 *u, const struct ns16550_host *host);
uint8_t ns16550_read(struct ns16550 *u, unsigned int reg);
void ns16550_write(struct ns16550 *u, unsigned int reg, uint8_t val);

/* Bytes ns16550_rx() would accept now: 0..16. */
unsigned int ns16550_rx_room(const struct ns16550 *u);

/* Receives up to len bytes from the line; returns how many were taken. */
size_t ns16550_rx(struct ns16550 *u, const uint8_t *buf, size_t len);

/* A break condition on the line. */
void ns16550_rx_break(struct ns16550 *u);

#endif
