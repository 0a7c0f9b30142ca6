// SPDX-License-Identifier: GPL-2.0-only
/* The 8259 pair, programmed the way Linux does it. */
#include "dev_rig.h"

#include "../../devices/i8259.h"

struct rig {
	struct i8259 pic;
	struct fake_line intr;
};

static void program(struct rig *r, unsigned int chip, uint8_t base,
		    uint8_t icw3, uint8_t icw4)
{
	i8259_write(&r->pic, chip, 0, 0x11);
	i8259_write(&r->pic, chip, 1, base);
	i8259_write(&r->pic, chip, 1, icw3);
	i8259_write(&r->pic, chip, 1, icw4);
}

static void rig_init(struct rig *r)
{
	struct irq_line intr;

	memset(r, 0, sizeof(*r));
	intr = fake_line_ops(&r->intr);
	i8259_init(&r->pic, &intr);
	program(r, 0, 0x30, 4, 1);
	program(r, 1, 0x38, 2, 1);
	i8259_write(&r->pic, 0, 1, 0);
	i8259_write(&r->pic, 1, 1, 0);
}

static void pulse(struct rig *r, unsigned int pin)
{
	i8259_set_irq(&r->pic, pin, false);
	i8259_set_irq(&r->pic, pin, true);
}

static void eoi(struct rig *r, unsigned int chip, unsigned int pin)
{
	i8259_write(&r->pic, chip, 0, 0x60 | pin);
}

static void nothing_is_pending_at_reset(void **state)
{
	struct i8259 pic;
	struct fake_line line = { 0 };
	struct irq_line intr = fake_line_ops(&line);

	i8259_init(&pic, &intr);
	i8259_set_irq(&pic, 0, true);
	assert_false(line.level);
}

static void master_pin_gives_its_vector(void **state)
{
	struct rig r;

	rig_init(&r);
	pulse(&r, 4);
	assert_true(r.intr.level);
	assert_int_equal(i8259_ack(&r.pic), 0x34);
	assert_false(r.intr.level);
}

static void slave_pin_comes_through_the_cascade(void **state)
{
	struct rig r;

	rig_init(&r);
	pulse(&r, 8);
	assert_true(r.intr.level);
	assert_int_equal(i8259_ack(&r.pic), 0x38);
	/* both chips are in service until both get their EOI */
	pulse(&r, 9);
	assert_false(r.intr.level);
	eoi(&r, 1, 0);
	assert_false(r.intr.level);
	eoi(&r, 0, 2);
	assert_true(r.intr.level);
	assert_int_equal(i8259_ack(&r.pic), 0x39);
}

static void lower_pin_wins_and_nests(void **state)
{
	struct rig r;

	rig_init(&r);
	pulse(&r, 5);
	pulse(&r, 1);
	assert_int_equal(i8259_ack(&r.pic), 0x31);
	assert_false(r.intr.level);
	pulse(&r, 0);
	assert_true(r.intr.level);
	assert_int_equal(i8259_ack(&r.pic), 0x30);
	eoi(&r, 0, 0);
	assert_false(r.intr.level);
	eoi(&r, 0, 1);
	assert_int_equal(i8259_ack(&r.pic), 0x35);
}

static void masked_edge_waits_for_the_unmask(void **state)
{
	struct rig r;

	rig_init(&r);
	i8259_write(&r.pic, 0, 1, 0x10);
	pulse(&r, 4);
	assert_false(r.intr.level);
	assert_int_equal(i8259_read(&r.pic, 0, 1), 0x10);
	i8259_write(&r.pic, 0, 1, 0x00);
	assert_true(r.intr.level);
}

static void edge_needs_a_new_edge_after_the_acknowledge(void **state)
{
	struct rig r;

	rig_init(&r);
	pulse(&r, 3);
	i8259_ack(&r.pic);
	eoi(&r, 0, 3);
	assert_false(r.intr.level);
	pulse(&r, 3);
	assert_true(r.intr.level);
}

static void level_pin_asks_until_it_falls(void **state)
{
	struct rig r;

	rig_init(&r);
	i8259_elcr_ops.write(&r.pic, 0, 0x20, 1);
	assert_int_equal(i8259_elcr_ops.read(&r.pic, 0, 1), 0x20);
	i8259_set_irq(&r.pic, 5, true);
	i8259_ack(&r.pic);
	eoi(&r, 0, 5);
	assert_true(r.intr.level);
	i8259_set_irq(&r.pic, 5, false);
	assert_false(r.intr.level);
}

static void elcr_keeps_the_system_pins_on_edge(void **state)
{
	struct rig r;

	rig_init(&r);
	i8259_elcr_ops.write(&r.pic, 0, 0xffff, 2);
	assert_int_equal(i8259_elcr_ops.read(&r.pic, 0, 2), 0xdef8);
}

static void vanished_request_is_spurious_7(void **state)
{
	struct rig r;

	rig_init(&r);
	assert_int_equal(i8259_ack(&r.pic), 0x37);
	i8259_write(&r.pic, 0, 0, 0x0b);
	assert_int_equal(i8259_read(&r.pic, 0, 0), 0x00);
}

static void auto_eoi_leaves_nothing_in_service(void **state)
{
	struct rig r;

	rig_init(&r);
	program(&r, 0, 0x30, 4, 3);
	i8259_write(&r.pic, 0, 1, 0);
	pulse(&r, 0);
	assert_int_equal(i8259_ack(&r.pic), 0x30);
	i8259_write(&r.pic, 0, 0, 0x0b);
	assert_int_equal(i8259_read(&r.pic, 0, 0), 0);
	pulse(&r, 1);
	assert_true(r.intr.level);
}

static void irr_and_isr_can_be_read(void **state)
{
	struct rig r;

	rig_init(&r);
	pulse(&r, 6);
	i8259_write(&r.pic, 0, 0, 0x0a);
	assert_int_equal(i8259_read(&r.pic, 0, 0), 0x40);
	i8259_ack(&r.pic);
	i8259_write(&r.pic, 0, 0, 0x0b);
	assert_int_equal(i8259_read(&r.pic, 0, 0), 0x40);
}

static void poll_command_acknowledges(void **state)
{
	struct rig r;

	rig_init(&r);
	i8259_write(&r.pic, 0, 0, 0x0c);
	assert_int_equal(i8259_read(&r.pic, 0, 0), 0);
	pulse(&r, 1);
	i8259_write(&r.pic, 0, 0, 0x0c);
	assert_int_equal(i8259_read(&r.pic, 0, 0), 0x81);
	assert_false(r.intr.level);
}

static void special_mask_lets_lower_pins_through(void **state)
{
	struct rig r;

	rig_init(&r);
	pulse(&r, 1);
	i8259_ack(&r.pic);
	pulse(&r, 4);
	assert_false(r.intr.level);
	i8259_write(&r.pic, 0, 0, 0x68);
	i8259_write(&r.pic, 0, 1, 0x02);
	assert_true(r.intr.level);
	assert_int_equal(i8259_ack(&r.pic), 0x34);
}

static void rotation_moves_the_lowest_priority(void **state)
{
	struct rig r;

	rig_init(&r);
	pulse(&r, 0);
	i8259_ack(&r.pic);
	i8259_write(&r.pic, 0, 0, 0xa0);	/* rotate on EOI */
	pulse(&r, 0);
	pulse(&r, 1);
	assert_int_equal(i8259_ack(&r.pic), 0x31);
}

static void bad_pins_are_ignored(void **state)
{
	struct rig r;

	rig_init(&r);
	i8259_set_irq(&r.pic, 2, true);
	i8259_set_irq(&r.pic, 16, true);
	i8259_set_irq(&r.pic, ~0u, true);
	assert_false(r.intr.level);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_pending_at_reset),
		cmocka_unit_test(master_pin_gives_its_vector),
		cmocka_unit_test(slave_pin_comes_through_the_cascade),
		cmocka_unit_test(lower_pin_wins_and_nests),
		cmocka_unit_test(masked_edge_waits_for_the_unmask),
		cmocka_unit_test(edge_needs_a_new_edge_after_the_acknowledge),
		cmocka_unit_test(level_pin_asks_until_it_falls),
		cmocka_unit_test(elcr_keeps_the_system_pins_on_edge),
		cmocka_unit_test(vanished_request_is_spurious_7),
		cmocka_unit_test(auto_eoi_leaves_nothing_in_service),
		cmocka_unit_test(irr_and_isr_can_be_read),
		cmocka_unit_test(poll_command_acknowledges),
		cmocka_unit_test(special_mask_lets_lower_pins_through),
		cmocka_unit_test(rotation_moves_the_lowest_priority),
		cmocka_unit_test(bad_pins_are_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
