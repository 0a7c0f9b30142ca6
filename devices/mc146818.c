// SPDX-License-Identifier: GPL-2.0-only
/*
 * MC146818 RTC and CMOS.
 *
 * The time registers are computed from the host's wall clock plus an offset
 * when they are read; writing one moves the offset. While the guest holds SET,
 * the registers are plain memory, and the offset is taken from them at its end.
 *
 * Invariants:
 *  1. Events (update, alarm, periodic) up to seen_ns have set their flag in
 *     register C; catch_up() moves seen_ns to now before any register is used.
 *  2. The line equals IRQF, which is "a flag and its enable are both set".
 */
#include "mc146818.h"

#include <string.h>
#include <time.h>

#define REG_SEC		0x00
#define REG_SEC_ALARM	0x01
#define REG_MIN		0x02
#define REG_MIN_ALARM	0x03
#define REG_HOUR	0x04
#define REG_HOUR_ALARM	0x05
#define REG_WDAY	0x06
#define REG_DAY		0x07
#define REG_MONTH	0x08
#define REG_YEAR	0x09
#define REG_A		0x0a
#define REG_B		0x0b
#define REG_C		0x0c
#define REG_D		0x0d
#define REG_CENTURY	0x32

#define A_UIP		0x80
#define A_RATE		0x0f
#define A_DIVIDER	0x70
#define A_DIVIDER_32K	0x20

#define B_SET		0x80
#define B_PIE		0x40
#define B_AIE		0x20
#define B_UIE		0x10
#define B_BINARY	0x04
#define B_24H		0x02

#define C_IRQF		0x80
#define C_PF		0x40
#define C_AF		0x20
#define C_UF		0x10

#define D_VALID		0x80

#define ALARM_ANY	0xc0
#define HOUR_PM		0x80

/* In the year 2223; later times do not fit in nanoseconds. */
#define LATEST_SEC	8000000000LL

/* The update takes this long before the second changes. */
#define UPDATE_NS	244000ULL

static uint64_t guest_now(const struct mc146818 *rtc)
{
	return dev_clock_now(&rtc->clock) + rtc->offset_ns;
}

static uint8_t encode(const struct mc146818 *rtc, unsigned int val)
{
	if (rtc->cmos[REG_B] & B_BINARY)
		return val;
	return (val / 10 % 10) << 4 | val % 10;
}

static unsigned int decode(const struct mc146818 *rtc, uint8_t val)
{
	if (rtc->cmos[REG_B] & B_BINARY)
		return val;
	return (val >> 4) * 10 + (val & 15);
}

static uint8_t encode_hour(const struct mc146818 *rtc, unsigned int hour)
{
	uint8_t val;

	if (rtc->cmos[REG_B] & B_24H)
		return encode(rtc, hour);
	val = encode(rtc, hour % 12 ? hour % 12 : 12);
	return hour >= 12 ? val | HOUR_PM : val;
}

static unsigned int decode_hour(const struct mc146818 *rtc, uint8_t val)
{
	unsigned int hour;

	if (rtc->cmos[REG_B] & B_24H)
		return decode(rtc, val);
	hour = decode(rtc, val & ~HOUR_PM) % 12;
	return val & HOUR_PM ? hour + 12 : hour;
}

static bool time_runs(const struct mc146818 *rtc)
{
	return !(rtc->cmos[REG_B] & B_SET) &&
	       (rtc->cmos[REG_A] & A_DIVIDER) == A_DIVIDER_32K;
}

/* The time registers as of guest time ns. */
static void load_time(struct mc146818 *rtc, uint64_t ns)
{
	time_t sec = ns / DEV_NSEC_PER_SEC;
	struct tm tm;

	if (!gmtime_r(&sec, &tm))
		return;
	rtc->cmos[REG_SEC] = encode(rtc, tm.tm_sec);
	rtc->cmos[REG_MIN] = encode(rtc, tm.tm_min);
	rtc->cmos[REG_HOUR] = encode_hour(rtc, tm.tm_hour);
	rtc->cmos[REG_WDAY] = encode(rtc, tm.tm_wday + 1);
	rtc->cmos[REG_DAY] = encode(rtc, tm.tm_mday);
	rtc->cmos[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
	rtc->cmos[REG_YEAR] = encode(rtc, tm.tm_year % 100);
	rtc->cmos[REG_CENTURY] = encode(rtc, 19 + tm.tm_year / 100);
}

/* Makes the clock go on from what the time registers say. */
static void store_time(struct mc146818 *rtc)
{
	unsigned int century = decode(rtc, rtc->cmos[REG_CENTURY]);
	uint64_t now = dev_clock_now(&rtc->clock);
	struct tm tm = {
		.tm_sec = decode(rtc, rtc->cmos[REG_SEC]),
		.tm_min = decode(rtc, rtc->cmos[REG_MIN]),
		.tm_hour = decode_hour(rtc, rtc->cmos[REG_HOUR]),
		.tm_mday = decode(rtc, rtc->cmos[REG_DAY]),
		.tm_mon = decode(rtc, rtc->cmos[REG_MONTH]) - 1,
	};
	int64_t sec;

	if (century < 19 || century > 29)
		century = 20;
	tm.tm_year = (century - 19) * 100 + decode(rtc, rtc->cmos[REG_YEAR]);
	sec = timegm(&tm);
	if (sec < 0)
		sec = 0;
	if (sec > LATEST_SEC)
		sec = LATEST_SEC;
	rtc->offset_ns = sec * (int64_t)DEV_NSEC_PER_SEC - (int64_t)now;
	rtc->seen_ns = guest_now(rtc);
}

/* Period of the periodic interrupt in ns, 0 when it is off. */
static uint64_t periodic_ns(const struct mc146818 *rtc)
{
	unsigned int rate = rtc->cmos[REG_A] & A_RATE;

	if (!rate || (rtc->cmos[REG_A] & A_DIVIDER) != A_DIVIDER_32K)
		return 0;
	/* with a 32 kHz crystal, rates 1 and 2 are those of 8 and 9 */
	if (rate < 3)
		rate += 7;
	return (DEV_NSEC_PER_SEC << (rate - 1)) / 32768;
}

static bool alarm_field(const struct mc146818 *rtc, unsigned int reg,
			unsigned int now)
{
	uint8_t val = rtc->cmos[reg];

	if ((val & ALARM_ANY) == ALARM_ANY)
		return true;
	if (reg == REG_HOUR_ALARM)
		return decode_hour(rtc, val) == now;
	return decode(rtc, val) == now;
}

/* Does the alarm match the second sec (since 1970)? */
static bool alarm_matches(const struct mc146818 *rtc, uint64_t sec)
{
	return alarm_field(rtc, REG_SEC_ALARM, sec % 60) &&
	       alarm_field(rtc, REG_MIN_ALARM, sec / 60 % 60) &&
	       alarm_field(rtc, REG_HOUR_ALARM, sec / 3600 % 24);
}

/* Was there an alarm in the seconds (from, to]? */
static bool alarm_between(const struct mc146818 *rtc, uint64_t from,
			  uint64_t to)
{
	/* the alarm repeats daily, so looking at one day is enough */
	if (to - from > 86400)
		from = to - 86400;
	while (from < to) {
		if (alarm_matches(rtc, ++from))
			return true;
	}
	return false;
}

static void update_irq(struct mc146818 *rtc)
{
	uint8_t flags = rtc->cmos[REG_C] & rtc->cmos[REG_B] &
			(C_PF | C_AF | C_UF);

	if (flags)
		rtc->cmos[REG_C] |= C_IRQF;
	else
		rtc->cmos[REG_C] &= ~C_IRQF;
	irq_line_set(&rtc->irq, flags);
}

/* Sets the flags of what has happened since the last look. */
static void catch_up(struct mc146818 *rtc)
{
	uint64_t now = guest_now(rtc);
	uint64_t from = rtc->seen_ns / DEV_NSEC_PER_SEC;
	uint64_t to = now / DEV_NSEC_PER_SEC;
	uint64_t period = periodic_ns(rtc);

	/* the host's wall clock may be set back */
	if (now < rtc->seen_ns) {
		rtc->seen_ns = now;
		return;
	}
	if (period && now / period != rtc->seen_ns / period)
		rtc->cmos[REG_C] |= C_PF;
	if (time_runs(rtc) && to > from) {
		rtc->cmos[REG_C] |= C_UF;
		if (alarm_between(rtc, from, to))
			rtc->cmos[REG_C] |= C_AF;
	}
	if (time_runs(rtc))
		load_time(rtc, now);
	rtc->seen_ns = now;
	update_irq(rtc);
}

static void arm(struct mc146818 *rtc)
{
	uint8_t enabled = rtc->cmos[REG_B] & ~rtc->cmos[REG_C];
	uint64_t now = rtc->seen_ns;
	uint64_t period = periodic_ns(rtc);
	uint64_t next = 0;

	if (time_runs(rtc) && (enabled & (B_UIE | B_AIE)))
		next = (now / DEV_NSEC_PER_SEC + 1) * DEV_NSEC_PER_SEC;
	if (period && (enabled & B_PIE)) {
		uint64_t edge = (now / period + 1) * period;

		if (!next || edge < next)
			next = edge;
	}
	dev_clock_arm(&rtc->clock, next ? next - rtc->offset_ns : 0);
}

void mc146818_timer(struct mc146818 *rtc)
{
	catch_up(rtc);
	arm(rtc);
}

static uint8_t read_c(struct mc146818 *rtc)
{
	uint8_t val = rtc->cmos[REG_C];

	rtc->cmos[REG_C] = 0;
	update_irq(rtc);
	arm(rtc);
	return val;
}

static uint8_t read_a(const struct mc146818 *rtc)
{
	uint8_t val = rtc->cmos[REG_A];
	uint64_t ns = rtc->seen_ns % DEV_NSEC_PER_SEC;

	if (time_runs(rtc) && ns >= DEV_NSEC_PER_SEC - UPDATE_NS)
		val |= A_UIP;
	return val;
}

uint8_t mc146818_read(struct mc146818 *rtc, unsigned int port)
{
	if (port == 0)
		return 0xff;
	catch_up(rtc);
	switch (rtc->index) {
	case REG_A:
		return read_a(rtc);
	case REG_C:
		return read_c(rtc);
	default:
		return rtc->cmos[rtc->index];
	}
}

static bool is_time_reg(unsigned int reg)
{
	switch (reg) {
	case REG_SEC:
	case REG_MIN:
	case REG_HOUR:
	case REG_WDAY:
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case REG_CENTURY:
		return true;
	}
	return false;
}

static void write_data(struct mc146818 *rtc, uint8_t val)
{
	bool ran = time_runs(rtc);

	switch (rtc->index) {
	case REG_A:
		rtc->cmos[REG_A] = val & ~A_UIP;
		break;
	case REG_B:
		/* SET clears the update-ended enable */
		rtc->cmos[REG_B] = val & B_SET ? val & ~B_UIE : val;
		break;
	case REG_C:
	case REG_D:
		return;
	default:
		rtc->cmos[rtc->index] = val;
		break;
	}
	if (time_runs(rtc) && (!ran || is_time_reg(rtc->index)))
		store_time(rtc);
	update_irq(rtc);
	arm(rtc);
}

void mc146818_write(struct mc146818 *rtc, unsigned int port, uint8_t val)
{
	if (port == 0) {
		/* bit 7 is the NMI mask, which nothing here needs */
		rtc->index = val & 0x7f;
		return;
	}
	catch_up(rtc);
	write_data(rtc, val);
}

static void put_le(uint8_t *cmos, unsigned int reg, unsigned int bytes,
		   uint64_t val)
{
	while (bytes--) {
		cmos[reg++] = val;
		val >>= 8;
	}
}

static uint64_t cap(uint64_t val, uint64_t max)
{
	return val < max ? val : max;
}

static void put_memory_size(struct mc146818 *rtc, uint64_t below,
			    uint64_t above)
{
	uint64_t ext_kib = below > 1 << 20 ? (below - (1 << 20)) >> 10 : 0;
	uint64_t above_16m = below > 16 << 20 ? (below - (16 << 20)) >> 16 : 0;

	put_le(rtc->cmos, 0x15, 2, 640);
	put_le(rtc->cmos, 0x17, 2, cap(ext_kib, 0xffff));
	put_le(rtc->cmos, 0x30, 2, cap(ext_kib, 0xffff));
	put_le(rtc->cmos, 0x34, 2, cap(above_16m, 0xffff));
	put_le(rtc->cmos, 0x5b, 3, above >> 16);
}

void mc146818_init(struct mc146818 *rtc, const struct dev_clock *clock,
		   const struct irq_line *irq, uint64_t below_4g,
		   uint64_t above_4g)
{
	memset(rtc, 0, sizeof(*rtc));
	rtc->clock = *clock;
	rtc->irq = *irq;
	rtc->cmos[REG_A] = A_DIVIDER_32K | 6;
	rtc->cmos[REG_B] = B_24H;
	rtc->cmos[REG_D] = D_VALID;
	put_memory_size(rtc, below_4g, above_4g);
	rtc->seen_ns = guest_now(rtc);
	load_time(rtc, rtc->seen_ns);
}

static uint64_t bus_read_reg(void *dev, uint64_t off, unsigned int size)
{
	(void)size;
	return mc146818_read(dev, off);
}

static void bus_write_reg(void *dev, uint64_t off, uint64_t val,
			  unsigned int size)
{
	mc146818_write(dev, off, val);
	if (size == 2)
		mc146818_write(dev, off + 1, val >> 8);
}

const struct bus_ops mc146818_bus_ops = {
	.read = bus_read_reg,
	.write = bus_write_reg,
};
