// SPDX-License-Identifier: GPL-2.0-only
/* The 16550: what drivers look for, and what they depend on. */
#include "dev_rig.h"

#include "../../devices/ns16550.h"

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };

struct rig {
	struct ns16550 u;
	struct fake_line irq;
	uint8_t sent[64];
	unsigned int sent_count;
	unsigned int room_calls;
};

static void tx(void *opaque, uint8_t ch)
{
	struct rig *r = opaque;

	r->sent[r->sent_count++ % sizeof(r->sent)] = ch;
}

static void rx_room(void *opaque)
{
	((struct rig *)opaque)->room_calls++;
}

static void rig_init(struct rig *r)
{
	struct ns16550_host host = { .tx = tx, .rx_room = rx_room, .opaque = r };

	memset(r, 0, sizeof(*r));
	host.irq = fake_line_ops(&r->irq);
	ns16550_init(&r->u, &host);
}

static uint8_t rd(struct rig *r, unsigned int reg)
{
	return ns16550_read(&r->u, reg);
}

static void wr(struct rig *r, unsigned int reg, uint8_t val)
{
	ns16550_write(&r->u, reg, val);
}

static void written_bytes_go_out_in_order(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, RBR, 'o');
	wr(&r, RBR, 'k');
	assert_int_equal(r.sent_count, 2);
	assert_memory_equal(r.sent, "ok", 2);
	assert_int_equal(rd(&r, LSR) & 0x60, 0x60);
}

static void divisor_latch_hides_data_and_ier(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, IER, 0x05);
	wr(&r, LCR, 0x83);
	wr(&r, RBR, 0x01);
	wr(&r, IER, 0x02);
	assert_int_equal(r.sent_count, 0);
	assert_int_equal(rd(&r, RBR), 0x01);
	assert_int_equal(rd(&r, IER), 0x02);
	wr(&r, LCR, 0x03);
	assert_int_equal(rd(&r, IER), 0x05);
}

static void driver_recognises_a_16550a_and_nothing_more(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, IER, 0xff);
	assert_int_equal(rd(&r, IER), 0x0f);
	wr(&r, IER, 0);
	wr(&r, SCR, 0xa5);
	assert_int_equal(rd(&r, SCR), 0xa5);
	assert_int_equal(rd(&r, IIR), 0x01);
	wr(&r, IIR, 0x01);
	assert_int_equal(rd(&r, IIR), 0xc1);
	/* a 16750 would show its 64-byte FIFO here */
	wr(&r, LCR, 0x80);
	wr(&r, IIR, 0x21);
	assert_int_equal(rd(&r, IIR) & 0x20, 0);
}

static void loopback_returns_bytes_and_modem_lines(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, MCR, 0x10 | 0x0a);
	assert_int_equal(rd(&r, MSR) & 0xf0, 0x90);
	wr(&r, RBR, 'x');
	assert_int_equal(r.sent_count, 0);
	assert_int_equal(rd(&r, LSR) & 1, 1);
	assert_int_equal(rd(&r, RBR), 'x');
	assert_int_equal(ns16550_rx_room(&r.u), 0);
	wr(&r, MCR, 0x0b);
	assert_int_equal(rd(&r, MSR) & 0xf0, 0xb0);
}

static void enabling_thri_interrupts_once_per_iir_read(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, IER, 0x02);
	assert_true(r.irq.level);
	assert_int_equal(rd(&r, IIR), 0x02);
	assert_false(r.irq.level);
	assert_int_equal(rd(&r, IIR), 0x01);
	/* off and on again raises it again: the driver's THRE test */
	wr(&r, IER, 0);
	wr(&r, IER, 0x02);
	assert_int_equal(rd(&r, IIR), 0x02);
}

static void thr_write_makes_thre_pending_again(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, IER, 0x02);
	rd(&r, IIR);
	wr(&r, RBR, 'a');
	assert_true(r.irq.level);
	assert_int_equal(r.irq.rises, 2);
	wr(&r, RBR, 'b');
	assert_int_equal(r.irq.rises, 2);
	assert_int_equal(rd(&r, IIR), 0x02);
}

static void received_bytes_interrupt_until_read(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, IIR, 0x01);
	wr(&r, IER, 0x01);
	assert_int_equal(ns16550_rx(&r.u, (const uint8_t *)"ab", 2), 2);
	assert_true(r.irq.level);
	assert_int_equal(rd(&r, IIR) & 0x0f, 0x04);
	assert_int_equal(rd(&r, RBR), 'a');
	assert_true(r.irq.level);
	assert_int_equal(rd(&r, RBR), 'b');
	assert_false(r.irq.level);
	assert_int_equal(rd(&r, LSR) & 1, 0);
}

static void bytes_below_the_trigger_are_a_timeout(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, IIR, 0x81);	/* trigger at 8 */
	wr(&r, IER, 0x01);
	ns16550_rx(&r.u, (const uint8_t *)"abc", 3);
	assert_int_equal(rd(&r, IIR) & 0x0f, 0x0c);
	ns16550_rx(&r.u, (const uint8_t *)"defgh", 5);
	assert_int_equal(rd(&r, IIR) & 0x0f, 0x04);
}

static void fifo_takes_16_and_refuses_more(void **state)
{
	const uint8_t buf[20] = "0123456789abcdefghij";
	struct rig r;
	int i;

	rig_init(&r);
	wr(&r, IIR, 0x01);
	assert_int_equal(ns16550_rx(&r.u, buf, 20), 16);
	assert_int_equal(ns16550_rx_room(&r.u), 0);
	for (i = 0; i < 16; i++)
		assert_int_equal(rd(&r, RBR), buf[i]);
	assert_int_equal(r.room_calls, 17);	/* and once for FCR */
	assert_int_equal(rd(&r, LSR) & 0x02, 0);
}

static void loopback_overrun_is_reported_once(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, MCR, 0x10);
	wr(&r, IER, 0x04);
	wr(&r, RBR, 'a');
	wr(&r, RBR, 'b');
	assert_int_equal(rd(&r, IIR) & 0x0f, 0x06);
	assert_int_equal(rd(&r, LSR) & 0x02, 0x02);
	assert_int_equal(rd(&r, LSR) & 0x02, 0);
}

static void msr_deltas_interrupt_and_clear_on_read(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, IER, 0x08);
	wr(&r, MCR, 0x10);	/* all inputs drop */
	assert_true(r.irq.level);
	assert_int_equal(rd(&r, IIR) & 0x0f, 0x00);
	assert_int_equal(rd(&r, MSR), 0x0b);
	assert_false(r.irq.level);
}

static void break_sets_bi_and_interrupts(void **state)
{
	struct rig r;

	rig_init(&r);
	wr(&r, IER, 0x04);
	ns16550_rx_break(&r.u);
	assert_true(r.irq.level);
	assert_int_equal(rd(&r, LSR) & 0x11, 0x11);
	assert_int_equal(rd(&r, RBR), 0);
}

static void out_of_range_registers_do_no_harm(void **state)
{
	struct rig r;
	unsigned int reg;

	rig_init(&r);
	for (reg = 0; reg < 300; reg++) {
		wr(&r, reg, 0xff);
		rd(&r, reg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_bytes_go_out_in_order),
		cmocka_unit_test(divisor_latch_hides_data_and_ier),
		cmocka_unit_test(driver_recognises_a_16550a_and_nothing_more),
		cmocka_unit_test(loopback_returns_bytes_and_modem_lines),
		cmocka_unit_test(enabling_thri_interrupts_once_per_iir_read),
		cmocka_unit_test(thr_write_makes_thre_pending_again),
		cmocka_unit_test(received_bytes_interrupt_until_read),
		cmocka_unit_test(bytes_below_the_trigger_are_a_timeout),
		cmocka_unit_test(fifo_takes_16_and_refuses_more),
		cmocka_unit_test(loopback_overrun_is_reported_once),
		cmocka_unit_test(msr_deltas_interrupt_and_clear_on_read),
		cmocka_unit_test(break_sets_bi_and_interrupts),
		cmocka_unit_test(out_of_range_registers_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
