// SPDX-License-Identifier: GPL-2.0-only
/* The 8254, by what a clock that is moved by hand makes it do. */
#include "dev_rig.h"

#include "../../devices/i8254.h"

struct rig {
	struct i8254 pit;
	struct fake_clock clock;
	struct fake_line irq;
};

static void rig_init(struct rig *r)
{
	struct dev_clock clock;
	struct irq_line irq;

	memset(r, 0, sizeof(*r));
	r->clock.now = 1000 * SEC;
	clock = fake_clock_ops(&r->clock);
	irq = fake_line_ops(&r->irq);
	i8254_init(&r->pit, &clock, &irq);
}

static void set(struct rig *r, unsigned int ch, uint8_t mode, uint16_t count)
{
	i8254_write(&r->pit, 3, ch << 6 | 0x30 | mode << 1);
	i8254_write(&r->pit, ch, count & 0xff);
	i8254_write(&r->pit, ch, count >> 8);
}

static uint16_t count(struct rig *r, unsigned int ch)
{
	uint8_t low, high;

	i8254_write(&r->pit, 3, ch << 6);
	low = i8254_read(&r->pit, ch);
	high = i8254_read(&r->pit, ch);
	return high << 8 | low;
}

/* Lets time pass to the alarm, as the event thread would. */
static bool run_to_alarm(struct rig *r)
{
	if (!r->clock.armed)
		return false;
	if (r->clock.armed > r->clock.now)
		r->clock.now = r->clock.armed;
	i8254_timer(&r->pit);
	return true;
}

static void idle_timer_has_no_alarm(void **state)
{
	struct rig r;

	rig_init(&r);
	assert_false(run_to_alarm(&r));
	i8254_timer(&r.pit);
	assert_int_equal(r.irq.rises, 0);
}

static void rate_generator_interrupts_at_its_rate(void **state)
{
	struct rig r;
	uint64_t start;
	int i;

	rig_init(&r);
	set(&r, 0, 2, 4773);	/* 250 Hz */
	r.irq.rises = 0;
	start = r.clock.now;
	for (i = 0; i < 250; i++)
		assert_true(run_to_alarm(&r));
	assert_int_equal(r.irq.rises, 250);
	assert_in_range(r.clock.now - start, 1000010000, 1000060000);
}

static void late_host_gets_one_interrupt_not_many(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 0, 2, 1193);
	r.irq.rises = 0;
	r.clock.now += SEC;
	i8254_timer(&r.pit);
	assert_int_equal(r.irq.rises, 1);
	assert_true(r.clock.armed > r.clock.now);
	assert_true(r.clock.armed < r.clock.now + 2 * MSEC);
}

static void one_shot_modes_fire_once(void **state)
{
	static const uint8_t modes[] = { 0, 4 };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct rig r;

		rig_init(&r);
		set(&r, 0, modes[i], 11932);	/* 10 ms */
		r.irq.rises = 0;
		assert_true(run_to_alarm(&r));
		assert_int_equal(r.irq.rises, 1);
		assert_false(run_to_alarm(&r));
		assert_in_range(r.clock.now - 1000 * SEC, 10 * MSEC,
				10 * MSEC + 2000);
	}
}

static void early_alarm_is_harmless(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 0, 0, 1193);
	i8254_timer(&r.pit);
	assert_int_equal(r.irq.rises, 0);
	assert_int_not_equal(r.clock.armed, 0);
}

static void slow_host_never_loses_an_edge(void **state)
{
	static const uint8_t modes[] = { 0, 2, 3, 4 };
	unsigned int i;

	/* the host is preempted longer than the count between any two looks */
	for (i = 0; i < 4; i++) {
		struct rig r;

		rig_init(&r);
		r.clock.step = 3 * MSEC;
		set(&r, 0, modes[i], 1193);
		r.irq.rises = 0;
		assert_int_not_equal(r.clock.armed, 0);
		i8254_timer(&r.pit);
		assert_int_equal(r.irq.rises, 1);
	}
	/* an early call just before the edge, which passes during the call */
	for (i = 0; i < 4; i++) {
		struct rig r;

		rig_init(&r);
		set(&r, 0, modes[i], 1193);
		r.irq.rises = 0;
		r.clock.now = r.clock.armed - 2000;
		r.clock.step = 1500;
		i8254_timer(&r.pit);
		assert_int_not_equal(r.clock.armed, 0);
		r.clock.now += MSEC;
		i8254_timer(&r.pit);
		assert_int_equal(r.irq.rises, 1);
	}
}

static void stray_alarm_of_a_periodic_timer_is_harmless(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 0, 2, 11932);
	r.irq.rises = 0;
	assert_true(run_to_alarm(&r));
	r.clock.now += MSEC;
	i8254_timer(&r.pit);
	assert_int_equal(r.irq.rises, 1);
}

static void reprogramming_disarms_the_old_alarm(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 0, 2, 1193);
	/* Linux's shutdown: mode 0, no count yet */
	i8254_write(&r.pit, 3, 0x30);
	assert_int_equal(r.clock.armed, 0);
	assert_false(r.irq.level);
}

static void count_falls_with_time(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 0, 2, 10000);
	assert_int_equal(count(&r, 0), 10000);
	r.clock.now += 838096;	/* 1000 ticks */
	assert_int_equal(count(&r, 0), 9000);
	r.clock.now += 9 * 838096ULL;
	assert_in_range(count(&r, 0), 9998, 10000);
}

static void latch_holds_the_count(void **state)
{
	struct rig r;
	uint16_t low;

	rig_init(&r);
	set(&r, 2, 0, 0xffff);
	i8254_port61_ops.write(&r.pit, 0, 1, 1);
	i8254_write(&r.pit, 3, 0x80);
	low = i8254_read(&r.pit, 2);
	r.clock.now += 50 * MSEC;
	low |= i8254_read(&r.pit, 2) << 8;
	assert_int_equal(low, 0xffff);
	assert_int_not_equal(count(&r, 2), 0xffff);
}

static void speaker_channel_times_a_calibration_loop(void **state)
{
	struct rig r;
	unsigned int loops = 0;

	/* Linux: gate on, mode 0, count for 50 ms, wait for OUT in port 61h */
	rig_init(&r);
	i8254_port61_ops.write(&r.pit, 0, 1, 1);
	set(&r, 2, 0, 59659);
	while (!(i8254_port61_ops.read(&r.pit, 0, 1) & 0x20)) {
		r.clock.now += 10000;
		loops++;
	}
	assert_in_range(loops, 4999, 5001);
	assert_int_equal(i8254_port61_ops.read(&r.pit, 0, 1) & 0x03, 0x01);
}

static void closed_gate_holds_the_speaker_channel(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 2, 0, 100);
	r.clock.now += SEC;
	assert_false(i8254_out(&r.pit, 2));
	i8254_port61_ops.write(&r.pit, 0, 1, 1);
	assert_false(i8254_out(&r.pit, 2));
	r.clock.now += MSEC;
	assert_true(i8254_out(&r.pit, 2));
}

static void square_wave_is_high_half_the_time(void **state)
{
	unsigned int high = 0, i;
	struct rig r;

	rig_init(&r);
	set(&r, 0, 3, 1000);
	for (i = 0; i < 1000; i++) {
		high += i8254_out(&r.pit, 0);
		r.clock.now += 83810;	/* 100.00 ticks */
	}
	assert_in_range(high, 480, 520);
}

static void read_back_gives_status_then_count(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 0, 2, 0x1234);
	i8254_write(&r.pit, 3, 0xc2);
	assert_int_equal(i8254_read(&r.pit, 0), 0xb4);
	assert_int_equal(i8254_read(&r.pit, 0), 0x34);
	assert_int_equal(i8254_read(&r.pit, 0), 0x12);
}

static void bcd_counts_in_decimal(void **state)
{
	struct rig r;

	rig_init(&r);
	i8254_write(&r.pit, 3, 0x35);
	i8254_write(&r.pit, 0, 0x00);
	i8254_write(&r.pit, 0, 0x10);	/* 1000 */
	r.clock.now += 838096 / 1000 * 10;	/* just under 10 ticks */
	assert_int_equal(count(&r, 0), 0x991);
}

static void zero_counts_65536(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, 0, 2, 0);
	assert_int_equal(r.pit.ch[0].reload, 65536);
	assert_true(run_to_alarm(&r));
	assert_in_range(r.clock.now - 1000 * SEC, 54925000, 54926000);
}

static void every_port_value_is_survived(void **state)
{
	struct rig r;
	unsigned int i;

	rig_init(&r);
	for (i = 0; i < 4096; i++) {
		i8254_write(&r.pit, 3, i & 0xff);
		i8254_write(&r.pit, i % 3, i >> 4);
		i8254_write(&r.pit, i % 3, i >> 3);
		i8254_read(&r.pit, i % 4);
		r.clock.now += i * 977;
		i8254_timer(&r.pit);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_timer_has_no_alarm),
		cmocka_unit_test(rate_generator_interrupts_at_its_rate),
		cmocka_unit_test(late_host_gets_one_interrupt_not_many),
		cmocka_unit_test(one_shot_modes_fire_once),
		cmocka_unit_test(early_alarm_is_harmless),
		cmocka_unit_test(slow_host_never_loses_an_edge),
		cmocka_unit_test(stray_alarm_of_a_periodic_timer_is_harmless),
		cmocka_unit_test(reprogramming_disarms_the_old_alarm),
		cmocka_unit_test(count_falls_with_time),
		cmocka_unit_test(latch_holds_the_count),
		cmocka_unit_test(speaker_channel_times_a_calibration_loop),
		cmocka_unit_test(closed_gate_holds_the_speaker_channel),
		cmocka_unit_test(square_wave_is_high_half_the_time),
		cmocka_unit_test(read_back_gives_status_then_count),
		cmocka_unit_test(bcd_counts_in_decimal),
		cmocka_unit_test(zero_counts_65536),
		cmocka_unit_test(every_port_value_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
