// SPDX-License-Identifier: GPL-2.0-only
/* The I/O APIC: which messages leave it, and when. */
#include "dev_rig.h"

#include "../../devices/ioapic.h"

#define LEVEL	(1u << 15)
#define MASKED	(1u << 16)
#define REMOTE	(1u << 14)

struct rig {
	struct ioapic io;
	struct ioapic_msg last;
	unsigned int sent;
	unsigned int changes;
};

static void on_send(void *opaque, const struct ioapic_msg *msg)
{
	struct rig *r = opaque;

	r->last = *msg;
	r->sent++;
}

static void on_change(void *opaque, unsigned int pin)
{
	((struct rig *)opaque)->changes++;
}

static void rig_init(struct rig *r)
{
	const struct ioapic_host host = {
		.send = on_send, .route_changed = on_change, .opaque = r,
	};

	memset(r, 0, sizeof(*r));
	ioapic_init(&r->io, &host);
}

static uint32_t rd(struct rig *r, uint8_t index)
{
	ioapic_bus_ops.write(&r->io, 0, index, 4);
	return ioapic_bus_ops.read(&r->io, 0x10, 4);
}

static void wr(struct rig *r, uint8_t index, uint32_t val)
{
	ioapic_bus_ops.write(&r->io, 0, index, 4);
	ioapic_bus_ops.write(&r->io, 0x10, val, 4);
}

static void redir(struct rig *r, unsigned int pin, uint32_t low, uint32_t high)
{
	wr(r, 0x11 + pin * 2, high);
	wr(r, 0x10 + pin * 2, low);
}

static void has_24_pins_all_masked_at_reset(void **state)
{
	struct rig r;
	unsigned int pin;

	rig_init(&r);
	assert_int_equal(rd(&r, 1), 0x170011);
	for (pin = 0; pin < 24; pin++) {
		assert_int_equal(rd(&r, 0x10 + pin * 2), MASKED);
		ioapic_set_irq(&r.io, pin, true);
	}
	assert_int_equal(r.sent, 0);
}

static void edge_sends_one_message_per_rise(void **state)
{
	struct rig r;

	rig_init(&r);
	redir(&r, 4, 0x31, 0);
	ioapic_set_irq(&r.io, 4, true);
	ioapic_set_irq(&r.io, 4, true);
	assert_int_equal(r.sent, 1);
	assert_int_equal(r.last.addr, 0xfee00000);
	assert_int_equal(r.last.data, 0x31);
	ioapic_set_irq(&r.io, 4, false);
	ioapic_set_irq(&r.io, 4, true);
	assert_int_equal(r.sent, 2);
}

static void masked_edge_is_lost(void **state)
{
	struct rig r;

	rig_init(&r);
	redir(&r, 4, 0x31 | MASKED, 0);
	ioapic_set_irq(&r.io, 4, true);
	redir(&r, 4, 0x31, 0);
	assert_int_equal(r.sent, 0);
}

static void destination_and_delivery_reach_the_message(void **state)
{
	struct rig r;

	rig_init(&r);
	/* logical, lowest priority, to 0xa5 */
	redir(&r, 7, 0x45 | 1 << 8 | 1 << 11, 0xa5000000);
	ioapic_set_irq(&r.io, 7, true);
	assert_int_equal(r.last.addr, 0xfeea5004);
	assert_int_equal(r.last.data, 0x145);
}

static void level_waits_for_the_eoi(void **state)
{
	struct rig r;

	rig_init(&r);
	redir(&r, 9, 0x51 | LEVEL, 0);
	ioapic_set_irq(&r.io, 9, true);
	assert_int_equal(r.sent, 1);
	assert_int_equal(r.last.data, 0x51 | LEVEL | 1 << 14);
	assert_true(rd(&r, 0x22) & REMOTE);
	ioapic_set_irq(&r.io, 9, false);
	ioapic_set_irq(&r.io, 9, true);
	assert_int_equal(r.sent, 1);
	ioapic_eoi(&r.io, 0x51);
	assert_int_equal(r.sent, 2);
	ioapic_set_irq(&r.io, 9, false);
	ioapic_eoi(&r.io, 0x51);
	assert_int_equal(r.sent, 2);
	assert_false(rd(&r, 0x22) & REMOTE);
}

static void eoi_of_another_vector_changes_nothing(void **state)
{
	struct rig r;

	rig_init(&r);
	redir(&r, 9, 0x51 | LEVEL, 0);
	ioapic_set_irq(&r.io, 9, true);
	ioapic_eoi(&r.io, 0x52);
	assert_int_equal(r.sent, 1);
	assert_true(rd(&r, 0x22) & REMOTE);
}

static void masked_level_is_sent_at_the_unmask(void **state)
{
	struct rig r;

	rig_init(&r);
	redir(&r, 9, 0x51 | LEVEL | MASKED, 0);
	ioapic_set_irq(&r.io, 9, true);
	assert_int_equal(r.sent, 0);
	redir(&r, 9, 0x51 | LEVEL, 0);
	assert_int_equal(r.sent, 1);
}

static void edge_mode_clears_remote_irr(void **state)
{
	struct rig r;

	/* how Linux ends an interrupt by hand: to edge and back */
	rig_init(&r);
	redir(&r, 9, 0x51 | LEVEL, 0);
	ioapic_set_irq(&r.io, 9, true);
	wr(&r, 0x22, 0x51 | MASKED);
	assert_false(rd(&r, 0x22) & REMOTE);
}

static void status_bits_cannot_be_written(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, 0x10, 0xffffffff);
	assert_int_equal(rd(&r, 0x10), 0x1afff);
	wr(&r, 0x11, 0xffffffff);
	assert_int_equal(rd(&r, 0x11), 0xff000000);
}

static void unchanged_entry_is_no_route_change(void **state)
{
	struct rig r;

	rig_init(&r);
	redir(&r, 3, 0x40, 0);
	r.changes = 0;
	redir(&r, 3, 0x40, 0);
	assert_int_equal(r.changes, 0);
	redir(&r, 3, 0x41, 0);
	assert_int_equal(r.changes, 1);
}

static void id_register_keeps_four_bits(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, 0, 0xff000000);
	assert_int_equal(rd(&r, 0), 0x0f000000);
}

static void odd_accesses_do_no_harm(void **state)
{
	struct rig r;
	unsigned int i;

	rig_init(&r);
	for (i = 0; i < 256; i++) {
		wr(&r, i, 0xffffffff);
		rd(&r, i);
		ioapic_bus_ops.write(&r.io, i * 16, i, 4);
		ioapic_bus_ops.read(&r.io, i * 16 + 1, 1);
		ioapic_set_irq(&r.io, i + 24, true);
		ioapic_eoi(&r.io, i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_24_pins_all_masked_at_reset),
		cmocka_unit_test(edge_sends_one_message_per_rise),
		cmocka_unit_test(masked_edge_is_lost),
		cmocka_unit_test(destination_and_delivery_reach_the_message),
		cmocka_unit_test(level_waits_for_the_eoi),
		cmocka_unit_test(eoi_of_another_vector_changes_nothing),
		cmocka_unit_test(masked_level_is_sent_at_the_unmask),
		cmocka_unit_test(edge_mode_clears_remote_irr),
		cmocka_unit_test(status_bits_cannot_be_written),
		cmocka_unit_test(unchanged_entry_is_no_route_change),
		cmocka_unit_test(id_register_keeps_four_bits),
		cmocka_unit_test(odd_accesses_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
