// SPDX-License-Identifier: GPL-2.0-only
/*
 * 16550A UART.
 *
 * Invariants:
 *  1. The interrupt line equals "some enabled cause is pending", recomputed
 *     once at the end of every register access. A transmit interrupt that is
 *     taken back and raised again within one access therefore makes no edge,
 *     which spares the guest one empty interrupt per transmit burst.
 *  2. In loopback mode nothing reaches the host and nothing is taken from it.
 */
#include "ns16550.h"

#include <string.h>

/* register numbers */
enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RDI		0x01
#define IER_THRI	0x02
#define IER_RLSI	0x04
#define IER_MSI		0x08

#define IIR_NONE	0x01
#define IIR_MSI		0x00
#define IIR_THRI	0x02
#define IIR_RDI		0x04
#define IIR_RLSI	0x06
#define IIR_TIMEOUT	0x0c
#define IIR_FIFO_ON	0xc0

#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define FCR_KEPT	0xc9	/* trigger level, DMA mode, enable */

#define LCR_DLAB	0x80

#define MCR_DTR		0x01
#define MCR_RTS		0x02
#define MCR_OUT1	0x04
#define MCR_OUT2	0x08
#define MCR_LOOP	0x10

#define LSR_DR		0x01
#define LSR_OE		0x02
#define LSR_BI		0x10
#define LSR_ERRORS	0x1e
#define LSR_THRE	0x20
#define LSR_TEMT	0x40

#define MSR_DCTS	0x01
#define MSR_DDSR	0x02
#define MSR_TERI	0x04
#define MSR_DDCD	0x08
#define MSR_DELTAS	0x0f
#define MSR_CTS		0x10
#define MSR_DSR		0x20
#define MSR_RI		0x40
#define MSR_DCD		0x80

static unsigned int fifo_size(const struct ns16550 *u)
{
	return u->fcr & FCR_ENABLE ? NS16550_FIFO : 1;
}

static unsigned int rx_trigger(const struct ns16550 *u)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

/* The highest-priority enabled cause, as the low bits of IIR. */
static uint8_t pending_cause(const struct ns16550 *u)
{
	if ((u->ier & IER_RLSI) && (u->lsr & LSR_ERRORS))
		return IIR_RLSI;
	if ((u->ier & IER_RDI) && u->rx_count)
		/*
		 * Below the trigger level the character time-out reports the
		 * bytes; on a line this fast it has always expired.
		 */
		return u->rx_count >= rx_trigger(u) ? IIR_RDI : IIR_TIMEOUT;
	if ((u->ier & IER_THRI) && u->thre_pending)
		return IIR_THRI;
	if ((u->ier & IER_MSI) && (u->msr & MSR_DELTAS))
		return IIR_MSI;
	return IIR_NONE;
}

static void update_irq(struct ns16550 *u)
{
	irq_line_set(&u->host.irq, pending_cause(u) != IIR_NONE);
}

static void rx_push(struct ns16550 *u, uint8_t ch)
{
	if (u->rx_count == fifo_size(u)) {
		u->lsr |= LSR_OE;
		return;
	}
	u->rx[(u->rx_head + u->rx_count++) % NS16550_FIFO] = ch;
}

static uint8_t rx_pop(struct ns16550 *u)
{
	uint8_t ch;

	if (!u->rx_count)
		return 0;
	ch = u->rx[u->rx_head];
	u->rx_head = (u->rx_head + 1) % NS16550_FIFO;
	u->rx_count--;
	return ch;
}

static void rx_clear(struct ns16550 *u)
{
	u->rx_head = 0;
	u->rx_count = 0;
}

static void rx_room_changed(struct ns16550 *u)
{
	if (u->host.rx_room && !(u->mcr & MCR_LOOP))
		u->host.rx_room(u->host.opaque);
}

/* Modem inputs: the far end is always there, or our own outputs in loopback. */
static uint8_t modem_inputs(const struct ns16550 *u)
{
	uint8_t in = 0;

	if (!(u->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	if (u->mcr & MCR_RTS)
		in |= MSR_CTS;
	if (u->mcr & MCR_DTR)
		in |= MSR_DSR;
	if (u->mcr & MCR_OUT1)
		in |= MSR_RI;
	if (u->mcr & MCR_OUT2)
		in |= MSR_DCD;
	return in;
}

static void update_msr(struct ns16550 *u)
{
	uint8_t in = modem_inputs(u);
	uint8_t changed = (u->msr ^ in) & 0xf0;

	if (changed & MSR_CTS)
		u->msr |= MSR_DCTS;
	if (changed & MSR_DSR)
		u->msr |= MSR_DDSR;
	if ((changed & MSR_RI) && !(in & MSR_RI))
		u->msr |= MSR_TERI;
	if (changed & MSR_DCD)
		u->msr |= MSR_DDCD;
	u->msr = (u->msr & MSR_DELTAS) | in;
}

static void write_thr(struct ns16550 *u, uint8_t val)
{
	if (u->mcr & MCR_LOOP)
		rx_push(u, val);
	else if (u->host.tx)
		u->host.tx(u->host.opaque, val);
	u->thre_pending = true;
}

static void write_fcr(struct ns16550 *u, uint8_t val)
{
	bool toggled = (u->fcr ^ val) & FCR_ENABLE;

	if (!(val & FCR_ENABLE))
		val = 0;
	if (toggled || (val & FCR_CLEAR_RX))
		rx_clear(u);
	u->fcr = val & FCR_KEPT;
	rx_room_changed(u);
}

static void write_ier(struct ns16550 *u, uint8_t val)
{
	val &= 0x0f;
	/* enabling the transmit interrupt while THR is empty raises it */
	if ((val & IER_THRI) && !(u->ier & IER_THRI))
		u->thre_pending = true;
	u->ier = val;
}

static uint8_t read_iir(struct ns16550 *u)
{
	uint8_t cause = pending_cause(u);

	if (cause == IIR_THRI)
		u->thre_pending = false;
	return cause | (u->fcr & FCR_ENABLE ? IIR_FIFO_ON : 0);
}

static uint8_t read_rbr(struct ns16550 *u)
{
	uint8_t ch = rx_pop(u);

	rx_room_changed(u);
	return ch;
}

static uint8_t read_lsr(struct ns16550 *u)
{
	uint8_t val = u->lsr | LSR_THRE | LSR_TEMT;

	if (u->rx_count)
		val |= LSR_DR;
	u->lsr = 0;
	return val;
}

static uint8_t read_msr(struct ns16550 *u)
{
	uint8_t val = u->msr;

	u->msr &= ~MSR_DELTAS;
	return val;
}

uint8_t ns16550_read(struct ns16550 *u, unsigned int reg)
{
	bool dlab = u->lcr & LCR_DLAB;
	uint8_t val = 0xff;

	switch (reg) {
	case RBR_THR:
		val = dlab ? u->dll : read_rbr(u);
		break;
	case IER:
		val = dlab ? u->dlm : u->ier;
		break;
	case IIR_FCR:
		val = read_iir(u);
		break;
	case LCR:
		val = u->lcr;
		break;
	case MCR:
		val = u->mcr;
		break;
	case LSR:
		val = read_lsr(u);
		break;
	case MSR:
		val = read_msr(u);
		break;
	case SCR:
		val = u->scr;
		break;
	}
	update_irq(u);
	return val;
}

void ns16550_write(struct ns16550 *u, unsigned int reg, uint8_t val)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (reg) {
	case RBR_THR:
		if (dlab)
			u->dll = val;
		else
			write_thr(u, val);
		break;
	case IER:
		if (dlab)
			u->dlm = val;
		else
			write_ier(u, val);
		break;
	case IIR_FCR:
		write_fcr(u, val);
		break;
	case LCR:
		u->lcr = val;
		break;
	case MCR:
		u->mcr = val & 0x1f;
		update_msr(u);
		break;
	case SCR:
		u->scr = val;
		break;
	}
	update_irq(u);
}

unsigned int ns16550_rx_room(const struct ns16550 *u)
{
	unsigned int size = fifo_size(u);

	if ((u->mcr & MCR_LOOP) || u->rx_count >= size)
		return 0;
	return size - u->rx_count;
}

size_t ns16550_rx(struct ns16550 *u, const uint8_t *buf, size_t len)
{
	size_t room = ns16550_rx_room(u);
	size_t i;

	if (len > room)
		len = room;
	for (i = 0; i < len; i++)
		rx_push(u, buf[i]);
	update_irq(u);
	return len;
}

void ns16550_rx_break(struct ns16550 *u)
{
	if (ns16550_rx_room(u))
		rx_push(u, 0);
	u->lsr |= LSR_BI;
	update_irq(u);
}

void ns16550_init(struct ns16550 *u, const struct ns16550_host *host)
{
	memset(u, 0, sizeof(*u));
	u->host = *host;
	u->dll = 0x0c;
	u->mcr = MCR_OUT2;
	u->msr = modem_inputs(u);
}

static uint64_t bus_read_reg(void *dev, uint64_t off, unsigned int size)
{
	uint64_t val = 0;
	unsigned int i;

	for (i = 0; i < size; i++)
		val |= (uint64_t)ns16550_read(dev, off + i) << (i * 8);
	return val;
}

static void bus_write_reg(void *dev, uint64_t off, uint64_t val,
			  unsigned int size)
{
	unsigned int i;

	for (i = 0; i < size; i++)
		ns16550_write(dev, off + i, (val >> (i * 8)) & 0xff);
}

const struct bus_ops ns16550_bus_ops = {
	.read = bus_read_reg,
	.write = bus_write_reg,
};
