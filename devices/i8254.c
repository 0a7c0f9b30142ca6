// SPDX-License-Identifier: GPL-2.0-only
/*
 * 8254 programmable interval timer.
 *
 * Nothing ticks: a channel remembers when it started, and its count and output
 * are computed from the time that has passed. Only channel 0 needs an alarm,
 * for the next rising edge of its output.
 *
 * Invariants:
 *  1. The alarm is armed exactly when channel 0 has a rising edge later than
 *     seen. The clock runs on while this code does, so what is "ahead" is never
 *     judged by a second look at it: an edge between two looks would be lost.
 *  2. Edges the host was too late for are merged into one; a guest that was
 *     not run for a second does not get a thousand interrupts at once.
 */
#include "i8254.h"

#include <string.h>

#define CTL_READ_BACK	3
#define RB_NO_COUNT	0x20
#define RB_NO_STATUS	0x10

#define STATUS_OUT	0x80
#define STATUS_NULL	0x40

#define ACCESS_LOW	1
#define ACCESS_HIGH	2

#define P61_GATE2	0x01
#define P61_SPEAKER	0x02
#define P61_REFRESH	0x10
#define P61_OUT2	0x20

/* Clock ticks in ns; exact for centuries, no overflow before 2^64 ns. */
static uint64_t ns_to_ticks(uint64_t ns)
{
	return (unsigned __int128)ns * I8254_HZ / DEV_NSEC_PER_SEC;
}

/* The first ns at which ns_to_ticks() gives at least ticks. */
static uint64_t ticks_to_ns(uint64_t ticks)
{
	return ((unsigned __int128)ticks * DEV_NSEC_PER_SEC + I8254_HZ - 1) /
	       I8254_HZ;
}

static bool is_periodic(const struct i8254_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

/* Modes in which a low gate stops the count (in 1 and 5 it triggers). */
static bool gate_holds(const struct i8254_channel *c)
{
	return !c->gate && c->mode != 1 && c->mode != 5;
}

static bool is_running(const struct i8254_channel *c)
{
	return c->loaded && c->started && !gate_holds(c);
}

static uint64_t elapsed_ticks(const struct i8254 *pit,
			      const struct i8254_channel *c)
{
	uint64_t now = dev_clock_now(&pit->clock);

	return now > c->start_ns ? ns_to_ticks(now - c->start_ns) : 0;
}

static bool channel_out(const struct i8254 *pit, const struct i8254_channel *c)
{
	uint64_t t;

	if (!is_running(c))
		return c->mode != 0;
	t = elapsed_ticks(pit, c);
	switch (c->mode) {
	case 0:
	case 1:
		return t >= c->reload;
	case 2:
		return t % c->reload != c->reload - 1;
	case 3:
		return t % c->reload < (c->reload + 1) / 2;
	default:
		return t != c->reload;
	}
}

bool i8254_out(const struct i8254 *pit, unsigned int channel)
{
	return channel_out(pit, &pit->ch[channel]);
}

static uint16_t to_bcd(uint32_t n)
{
	n %= 10000;
	return (n / 1000) << 12 | (n / 100 % 10) << 8 | (n / 10 % 10) << 4 |
	       n % 10;
}

static uint32_t from_bcd(uint16_t n)
{
	return (n >> 12) * 1000 + ((n >> 8) & 15) * 100 + ((n >> 4) & 15) * 10 +
	       (n & 15);
}

static uint16_t channel_count(const struct i8254 *pit,
			      const struct i8254_channel *c)
{
	uint64_t t = is_running(c) ? elapsed_ticks(pit, c) : 0;
	uint32_t wrap = c->bcd ? 10000 : 65536;
	uint32_t n;

	switch (c->mode) {
	case 2:
		n = c->reload - t % c->reload;
		break;
	case 3:
		/* counts down by two, twice per period */
		n = c->reload - (t * 2) % c->reload;
		break;
	default:
		/* goes on below zero after the terminal count */
		n = (c->reload + wrap - t % wrap) % wrap;
		break;
	}
	return c->bcd ? to_bcd(n) : n;
}

/* Ticks after start of the first rising edge later than t; false: none. */
static bool next_edge(const struct i8254_channel *c, uint64_t t,
		      uint64_t *edge)
{
	if (is_periodic(c))
		*edge = (t / c->reload + 1) * c->reload;
	else if (c->mode < 2)
		*edge = c->reload;
	else
		*edge = (uint64_t)c->reload + 1;
	return *edge > t;
}

static void arm(struct i8254 *pit)
{
	const struct i8254_channel *c = &pit->ch[0];
	uint64_t edge;

	if (is_running(c) && next_edge(c, c->seen, &edge))
		dev_clock_arm(&pit->clock, c->start_ns + ticks_to_ns(edge));
	else
		dev_clock_arm(&pit->clock, 0);
}

void i8254_timer(struct i8254 *pit)
{
	struct i8254_channel *c = &pit->ch[0];
	uint64_t now = elapsed_ticks(pit, c);
	uint64_t edge;

	if (!is_running(c))
		return;
	if (next_edge(c, c->seen, &edge) && now >= edge) {
		irq_line_set(&pit->irq, false);
		irq_line_set(&pit->irq, true);
		c->seen = now;
	}
	arm(pit);
}

/* Channel 0 was reprogrammed: its output level is the new mode's. */
static void output_changed(struct i8254 *pit, const struct i8254_channel *c)
{
	if (c != &pit->ch[0])
		return;
	irq_line_set(&pit->irq, c->mode != 0);
	arm(pit);
}

static void load(struct i8254 *pit, struct i8254_channel *c, uint16_t val)
{
	uint32_t count = c->bcd ? from_bcd(val) : val;

	if (!count)
		count = c->bcd ? 10000 : 65536;
	c->reload = count;
	/*
	 * A periodic channel in operation takes the new count at the end of
	 * its period; starting it at once differs by less than one period.
	 */
	c->start_ns = dev_clock_now(&pit->clock);
	c->seen = 0;
	c->loaded = true;
	c->started = c->mode != 1 && c->mode != 5;
	output_changed(pit, c);
}

static void write_count(struct i8254 *pit, struct i8254_channel *c,
			uint8_t val)
{
	switch (c->access) {
	case ACCESS_LOW:
		load(pit, c, val);
		break;
	case ACCESS_HIGH:
		load(pit, c, val << 8);
		break;
	default:
		if (!c->write_high)
			c->write_low = val;
		else
			load(pit, c, val << 8 | c->write_low);
		c->write_high = !c->write_high;
		break;
	}
}

static void latch_count(struct i8254 *pit, struct i8254_channel *c)
{
	if (c->count_latched)
		return;
	c->latched = channel_count(pit, c);
	c->count_latched = true;
}

static void latch_status(struct i8254 *pit, struct i8254_channel *c)
{
	if (c->status_latched)
		return;
	c->latched_status = c->access << 4 | c->mode << 1 | c->bcd;
	if (channel_out(pit, c))
		c->latched_status |= STATUS_OUT;
	if (!c->loaded)
		c->latched_status |= STATUS_NULL;
	c->status_latched = true;
}

static void write_control(struct i8254 *pit, uint8_t val)
{
	unsigned int n = val >> 6;
	struct i8254_channel *c;

	if (n == CTL_READ_BACK) {
		for (n = 0; n < I8254_CHANNELS; n++) {
			if (!(val & (2 << n)))
				continue;
			if (!(val & RB_NO_COUNT))
				latch_count(pit, &pit->ch[n]);
			if (!(val & RB_NO_STATUS))
				latch_status(pit, &pit->ch[n]);
		}
		return;
	}
	c = &pit->ch[n];
	if (!((val >> 4) & 3)) {
		latch_count(pit, c);
		return;
	}
	c->access = (val >> 4) & 3;
	c->mode = (val >> 1) & 7;
	if (c->mode > 5)
		c->mode -= 4;
	c->bcd = val & 1;
	c->loaded = false;
	c->started = false;
	c->read_high = false;
	c->write_high = false;
	c->count_latched = false;
	c->status_latched = false;
	output_changed(pit, c);
}

void i8254_write(struct i8254 *pit, unsigned int port, uint8_t val)
{
	if (port == 3)
		write_control(pit, val);
	else
		write_count(pit, &pit->ch[port], val);
}

uint8_t i8254_read(struct i8254 *pit, unsigned int port)
{
	struct i8254_channel *c;
	uint16_t count;
	bool high;

	if (port == 3)
		return 0xff;
	c = &pit->ch[port];
	if (c->status_latched) {
		c->status_latched = false;
		return c->latched_status;
	}
	count = c->count_latched ? c->latched : channel_count(pit, c);
	if (c->access == ACCESS_LOW || c->access == ACCESS_HIGH) {
		high = c->access == ACCESS_HIGH;
		c->count_latched = false;
	} else {
		high = c->read_high;
		c->read_high = !high;
		if (high)
			c->count_latched = false;
	}
	return high ? count >> 8 : count;
}

static void set_gate(struct i8254 *pit, struct i8254_channel *c, bool gate)
{
	bool rising = gate && !c->gate;

	c->gate = gate;
	if (!rising)
		return;
	/*
	 * A rising gate restarts modes 1, 2, 3 and 5. Modes 0 and 4 would go
	 * on where they were held; nobody gates those in mid-count, and
	 * restarting keeps the state to one time stamp.
	 */
	c->start_ns = dev_clock_now(&pit->clock);
	c->seen = 0;
	if (c->loaded)
		c->started = true;
}

static uint8_t read_port61(struct i8254 *pit)
{
	uint8_t val = 0;

	if (pit->ch[2].gate)
		val |= P61_GATE2;
	if (pit->speaker)
		val |= P61_SPEAKER;
	if (channel_out(pit, &pit->ch[2]))
		val |= P61_OUT2;
	/* the refresh toggle: one change every 15 us */
	if ((dev_clock_now(&pit->clock) / 15085) & 1)
		val |= P61_REFRESH;
	return val;
}

static void write_port61(struct i8254 *pit, uint8_t val)
{
	pit->speaker = val & P61_SPEAKER;
	set_gate(pit, &pit->ch[2], val & P61_GATE2);
}

void i8254_init(struct i8254 *pit, const struct dev_clock *clock,
		const struct irq_line *irq)
{
	unsigned int n;

	memset(pit, 0, sizeof(*pit));
	pit->clock = *clock;
	pit->irq = *irq;
	for (n = 0; n < I8254_CHANNELS; n++) {
		pit->ch[n].access = 3;
		pit->ch[n].mode = 3;
		pit->ch[n].reload = 65536;
		pit->ch[n].gate = n != 2;
	}
}

static uint64_t pit_read(void *dev, uint64_t off, unsigned int size)
{
	(void)size;
	return i8254_read(dev, off);
}

static void pit_write(void *dev, uint64_t off, uint64_t val, unsigned int size)
{
	(void)size;
	i8254_write(dev, off, val);
}

static uint64_t p61_read(void *dev, uint64_t off, unsigned int size)
{
	(void)off;
	(void)size;
	return read_port61(dev);
}

static void p61_write(void *dev, uint64_t off, uint64_t val, unsigned int size)
{
	(void)off;
	(void)size;
	write_port61(dev, val);
}

const struct bus_ops i8254_bus_ops = {
	.read = pit_read,
	.write = pit_write,
};

const struct bus_ops i8254_port61_ops = {
	.read = p61_read,
	.write = p61_write,
};
