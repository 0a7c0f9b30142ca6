// SPDX-License-Identifier: GPL-2.0-only
/* The MC146818: time, alarms, and what firmware leaves in CMOS. */
#include "dev_rig.h"

#include "../../devices/mc146818.h"

/* 2024-02-29 23:59:57 UTC, a Thursday */
#define LEAP_DAY	(1709251197ULL * SEC)

struct rig {
	struct mc146818 rtc;
	struct fake_clock clock;
	struct fake_line irq;
};

static void rig_init(struct rig *r)
{
	struct dev_clock clock;
	struct irq_line irq;

	memset(r, 0, sizeof(*r));
	r->clock.now = LEAP_DAY;
	clock = fake_clock_ops(&r->clock);
	irq = fake_line_ops(&r->irq);
	mc146818_init(&r->rtc, &clock, &irq, 512 << 20, 1ULL << 32);
}

static uint8_t rd(struct rig *r, uint8_t reg)
{
	mc146818_write(&r->rtc, 0, reg);
	return mc146818_read(&r->rtc, 1);
}

static void wr(struct rig *r, uint8_t reg, uint8_t val)
{
	mc146818_write(&r->rtc, 0, reg);
	mc146818_write(&r->rtc, 1, val);
}

static void run_to_alarm(struct rig *r)
{
	assert_int_not_equal(r->clock.armed, 0);
	if (r->clock.armed > r->clock.now)
		r->clock.now = r->clock.armed;
	mc146818_timer(&r->rtc);
}

static void time_is_utc_in_bcd(void **state)
{
	struct rig r;

	rig_init(&r);
	assert_int_equal(rd(&r, 0), 0x57);
	assert_int_equal(rd(&r, 2), 0x59);
	assert_int_equal(rd(&r, 4), 0x23);
	assert_int_equal(rd(&r, 6), 5);
	assert_int_equal(rd(&r, 7), 0x29);
	assert_int_equal(rd(&r, 8), 0x02);
	assert_int_equal(rd(&r, 9), 0x24);
	assert_int_equal(rd(&r, 0x32), 0x20);
	assert_int_equal(rd(&r, 0x0d), 0x80);
}

static void time_goes_on_over_midnight(void **state)
{
	struct rig r;

	rig_init(&r);
	r.clock.now += 3 * SEC;
	assert_int_equal(rd(&r, 0), 0);
	assert_int_equal(rd(&r, 4), 0);
	assert_int_equal(rd(&r, 7), 0x01);
	assert_int_equal(rd(&r, 8), 0x03);
}

static void binary_and_12_hour_modes_convert(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, 0x0b, 0x06);
	assert_int_equal(rd(&r, 0), 57);
	assert_int_equal(rd(&r, 4), 23);
	wr(&r, 0x0b, 0x00);
	assert_int_equal(rd(&r, 4), 0x91);
}

static void setting_the_time_moves_the_clock(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, 0x0b, 0x82);	/* SET */
	wr(&r, 0, 0x30);
	wr(&r, 2, 0x15);
	wr(&r, 4, 0x08);
	wr(&r, 7, 0x01);
	wr(&r, 8, 0x07);
	wr(&r, 9, 0x30);
	r.clock.now += 5 * SEC;
	assert_int_equal(rd(&r, 0), 0x30);
	wr(&r, 0x0b, 0x02);
	r.clock.now += 40 * SEC;
	assert_int_equal(rd(&r, 0), 0x10);
	assert_int_equal(rd(&r, 2), 0x16);
	assert_int_equal(rd(&r, 4), 0x08);
	assert_int_equal(rd(&r, 9), 0x30);
}

static void uip_precedes_the_second(void **state)
{
	struct rig r;

	rig_init(&r);
	assert_int_equal(rd(&r, 0x0a) & 0x80, 0);
	r.clock.now += SEC - 100000;
	assert_int_equal(rd(&r, 0x0a) & 0x80, 0x80);
	r.clock.now += 100000;
	assert_int_equal(rd(&r, 0x0a) & 0x80, 0);
}

static void update_interrupt_comes_each_second(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, 0x0b, 0x12);
	run_to_alarm(&r);
	assert_true(r.irq.level);
	assert_int_equal(r.clock.now, LEAP_DAY + SEC);
	assert_int_equal(rd(&r, 0x0c) & 0xb0, 0x90);
	assert_false(r.irq.level);
	assert_int_equal(rd(&r, 0x0c) & 0xb0, 0);
	run_to_alarm(&r);
	assert_int_equal(r.clock.now, LEAP_DAY + 2 * SEC);
	assert_int_equal(r.irq.rises, 2);
}

static void alarm_rings_at_its_time_only(void **state)
{
	struct rig r;
	int i;

	rig_init(&r);
	wr(&r, 1, 0x02);
	wr(&r, 3, 0x00);
	wr(&r, 5, 0x00);
	wr(&r, 0x0b, 0x22);
	for (i = 0; i < 4; i++) {
		run_to_alarm(&r);
		assert_false(r.irq.level);
	}
	run_to_alarm(&r);
	assert_true(r.irq.level);
	assert_int_equal(rd(&r, 0x0c) & 0xa0, 0xa0);
}

static void wildcard_alarm_rings_every_minute(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, 1, 0x00);
	wr(&r, 3, 0xff);
	wr(&r, 5, 0xff);
	wr(&r, 0x0b, 0x22);
	r.clock.now += 3 * SEC;
	mc146818_timer(&r.rtc);
	assert_int_equal(rd(&r, 0x0c) & 0x20, 0x20);
	r.clock.now += 60 * SEC;
	mc146818_timer(&r.rtc);
	assert_int_equal(rd(&r, 0x0c) & 0x20, 0x20);
}

static void periodic_interrupt_has_its_rate(void **state)
{
	struct rig r;
	uint64_t start;
	int i;

	rig_init(&r);
	wr(&r, 0x0a, 0x26);	/* 1024 Hz */
	wr(&r, 0x0b, 0x42);
	start = r.clock.now;
	for (i = 0; i < 1024; i++) {
		run_to_alarm(&r);
		assert_int_equal(rd(&r, 0x0c) & 0xc0, 0xc0);
	}
	assert_in_range(r.clock.now - start, SEC - 2 * MSEC, SEC);
}

static void disabled_interrupts_need_no_alarm(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, 0x0b, 0x12);
	wr(&r, 0x0b, 0x02);
	assert_int_equal(r.clock.armed, 0);
}

static void host_clock_set_back_is_survived(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, 0x0b, 0x72);
	r.clock.now -= 3600 * SEC;
	mc146818_timer(&r.rtc);
	assert_false(r.irq.level);
	assert_int_equal(rd(&r, 4), 0x22);
	run_to_alarm(&r);
	assert_true(r.irq.level);
}

static void cmos_tells_the_memory_size(void **state)
{
	struct rig r;

	rig_init(&r);
	assert_int_equal(rd(&r, 0x15) | rd(&r, 0x16) << 8, 640);
	assert_int_equal(rd(&r, 0x34) | rd(&r, 0x35) << 8, (512 - 16) << 4);
	assert_int_equal(rd(&r, 0x5c), 0);
	assert_int_equal(rd(&r, 0x5d), 1);
}

static void nvram_keeps_what_is_written(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, 0x7f, 0xa5);
	wr(&r, 0x40, 0x5a);
	assert_int_equal(rd(&r, 0x7f), 0xa5);
	assert_int_equal(rd(&r, 0xff), 0xa5);	/* bit 7 is the NMI mask */
	assert_int_equal(rd(&r, 0x40), 0x5a);
}

static void nonsense_in_the_registers_is_survived(void **state)
{
	struct rig r;
	unsigned int i;

	rig_init(&r);
	for (i = 0; i < 65536; i++) {
		wr(&r, i & 0x7f, i * 37);
		rd(&r, (i >> 3) & 0x7f);
		r.clock.now += i * 1009;
		mc146818_timer(&r.rtc);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_is_utc_in_bcd),
		cmocka_unit_test(time_goes_on_over_midnight),
		cmocka_unit_test(binary_and_12_hour_modes_convert),
		cmocka_unit_test(setting_the_time_moves_the_clock),
		cmocka_unit_test(uip_precedes_the_second),
		cmocka_unit_test(update_interrupt_comes_each_second),
		cmocka_unit_test(alarm_rings_at_its_time_only),
		cmocka_unit_test(wildcard_alarm_rings_every_minute),
		cmocka_unit_test(periodic_interrupt_has_its_rate),
		cmocka_unit_test(disabled_interrupts_need_no_alarm),
		cmocka_unit_test(host_clock_set_back_is_survived),
		cmocka_unit_test(cmos_tells_the_memory_size),
		cmocka_unit_test(nvram_keeps_what_is_written),
		cmocka_unit_test(nonsense_in_the_registers_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
