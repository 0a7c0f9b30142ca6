// SPDX-License-Identifier: GPL-2.0-only
/* The small ones: bus, 8042, ACPI PM block, PCI configuration ports. */
#include "dev_rig.h"

#include <errno.h>

#include "../../devices/acpi-pm.h"
#include "../../devices/bus.h"
#include "../../devices/i8042.h"
#include "../../devices/pci-host.h"

static void count_call(void *opaque)
{
	++*(unsigned int *)opaque;
}

/* --- bus ----------------------------------------------------------------- */

static uint64_t mem_read(void *dev, uint64_t off, unsigned int size)
{
	uint64_t val = 0;

	memcpy(&val, (uint8_t *)dev + off, size);
	return val;
}

static void mem_write(void *dev, uint64_t off, uint64_t val, unsigned int size)
{
	memcpy((uint8_t *)dev + off, &val, size);
}

static const struct bus_ops mem_ops = { .read = mem_read, .write = mem_write };

static void bus_routes_by_address(void **state)
{
	uint8_t a[8] = { 1, 2, 3, 4 }, b[8] = { 9 };
	struct bus bus = { .count = 0 };

	assert_int_equal(bus_add(&bus, 0x100, 8, &mem_ops, a, "a"), 0);
	assert_int_equal(bus_add(&bus, 0x108, 8, &mem_ops, b, "b"), 0);
	assert_int_equal(bus_read(&bus, 0x100, 4), 0x04030201);
	assert_int_equal(bus_read(&bus, 0x108, 1), 9);
	bus_write(&bus, 0x10f, 0xaabb, 1);
	assert_int_equal(b[7], 0xbb);
	assert_int_equal(bus_find(&bus, 0x100)->reads, 1);
}

static void bus_refuses_overlap_and_nonsense(void **state)
{
	struct bus bus = { .count = 0 };
	unsigned int i;

	assert_int_equal(bus_add(&bus, 8, 8, &mem_ops, NULL, "x"), 0);
	assert_int_equal(bus_add(&bus, 15, 1, &mem_ops, NULL, "x"), -EEXIST);
	assert_int_equal(bus_add(&bus, 0, 9, &mem_ops, NULL, "x"), -EEXIST);
	assert_int_equal(bus_add(&bus, 0, 0, &mem_ops, NULL, "x"), -EINVAL);
	assert_int_equal(bus_add(&bus, ~0ULL, 2, &mem_ops, NULL, "x"), -EINVAL);
	for (i = 1; i < BUS_MAX_RANGES; i++)
		assert_int_equal(bus_add(&bus, i * 16 + 8, 1, &mem_ops, NULL,
					 "x"), 0);
	assert_int_equal(bus_add(&bus, 0x10000, 1, &mem_ops, NULL, "x"),
			 -ENOSPC);
}

static void unclaimed_reads_give_all_ones(void **state)
{
	struct bus bus = { .count = 0 };

	assert_true(bus_read(&bus, 0x80, 1) == 0xff);
	assert_true(bus_read(&bus, 0x80, 8) == ~0ULL);
	bus_write(&bus, 0x80, 1, 4);
	assert_int_equal(bus.unclaimed, 3);
}

static void straddling_access_is_split(void **state)
{
	struct bus bus = { .count = 0 };
	uint8_t a[2] = { 0x11, 0x22 };

	assert_int_equal(bus_add(&bus, 0x101, 2, &mem_ops, a, "a"), 0);
	assert_int_equal(bus_read(&bus, 0x100, 4), 0xff2211ff);
	assert_int_equal(bus_read(&bus, 0x102, 2), 0xff22);
	bus_write(&bus, 0x102, 0x7788, 2);
	assert_int_equal(a[1], 0x88);
	assert_int_equal(bus_read(&bus, ~0ULL, 4), 0xffffffff);
}

/* --- 8042 ---------------------------------------------------------------- */

struct kbd_rig {
	struct i8042 k;
	struct fake_line irq;
	unsigned int resets;
};

static void kbd_init(struct kbd_rig *r)
{
	struct irq_line irq;

	memset(r, 0, sizeof(*r));
	irq = fake_line_ops(&r->irq);
	i8042_init(&r->k, count_call, &r->resets, &irq);
}

static uint8_t kbd_command(struct kbd_rig *r, uint8_t cmd)
{
	i8042_write(&r->k, true, cmd);
	assert_int_equal(i8042_read(&r->k, true) & 1, 1);
	return i8042_read(&r->k, false);
}

static void controller_passes_its_self_tests(void **state)
{
	struct kbd_rig r;

	kbd_init(&r);
	assert_int_equal(i8042_read(&r.k, true) & 1, 0);
	assert_int_equal(kbd_command(&r, 0xaa), 0x55);
	assert_int_equal(kbd_command(&r, 0xab), 0x00);
	assert_int_equal(kbd_command(&r, 0xa9), 0x00);
	assert_int_equal(i8042_read(&r.k, true) & 1, 0);
}

static void pulse_of_line_0_resets(void **state)
{
	struct kbd_rig r;

	kbd_init(&r);
	i8042_write(&r.k, true, 0xff);
	assert_int_equal(r.resets, 0);
	i8042_write(&r.k, true, 0xfe);
	assert_int_equal(r.resets, 1);
	i8042_write(&r.k, true, 0xd1);
	i8042_write(&r.k, false, 0x02);
	assert_int_equal(r.resets, 2);
}

static void command_byte_is_kept(void **state)
{
	struct kbd_rig r;

	kbd_init(&r);
	i8042_write(&r.k, true, 0x60);
	i8042_write(&r.k, false, 0x47);
	assert_int_equal(kbd_command(&r, 0x20), 0x47);
}

static void absent_keyboard_times_out_with_interrupt(void **state)
{
	struct kbd_rig r;

	kbd_init(&r);
	i8042_write(&r.k, true, 0x60);
	i8042_write(&r.k, false, 0x01);
	i8042_write(&r.k, false, 0xff);
	assert_true(r.irq.level);
	assert_int_equal(i8042_read(&r.k, true) & 0x41, 0x41);
	assert_int_equal(i8042_read(&r.k, false), 0xfe);
	assert_false(r.irq.level);
	i8042_write(&r.k, true, 0xd4);
	i8042_write(&r.k, false, 0xf2);
	assert_int_equal(i8042_read(&r.k, true) & 0x61, 0x61);
}

/* --- ACPI PM ------------------------------------------------------------- */

struct pm_rig {
	struct acpi_pm pm;
	struct fake_clock clock;
	struct fake_line sci;
	unsigned int offs;
};

static void pm_init(struct pm_rig *r)
{
	struct acpi_pm_host host = { .power_off = count_call };

	memset(r, 0, sizeof(*r));
	host.opaque = &r->offs;
	host.clock = fake_clock_ops(&r->clock);
	host.sci = fake_line_ops(&r->sci);
	acpi_pm_init(&r->pm, &host);
}

static uint64_t pm_rd(struct pm_rig *r, unsigned int off, unsigned int size)
{
	return acpi_pm_bus_ops.read(&r->pm, off, size);
}

static void pm_wr(struct pm_rig *r, unsigned int off, uint64_t val,
		  unsigned int size)
{
	acpi_pm_bus_ops.write(&r->pm, off, val, size);
}

static void acpi_mode_is_always_on(void **state)
{
	struct pm_rig r;

	pm_init(&r);
	assert_int_equal(pm_rd(&r, 4, 2) & 1, 1);
	pm_wr(&r, 4, 0, 2);
	assert_int_equal(pm_rd(&r, 4, 2) & 1, 1);
}

static void s5_with_slp_en_powers_off(void **state)
{
	struct pm_rig r;

	pm_init(&r);
	pm_wr(&r, 4, 5 << 10, 2);
	assert_int_equal(r.offs, 0);
	pm_wr(&r, 4, 1 << 13 | 3 << 10, 2);
	assert_int_equal(r.offs, 0);
	pm_wr(&r, 4, 1 << 13 | 5 << 10, 2);
	assert_int_equal(r.offs, 1);
	assert_int_equal(pm_rd(&r, 4, 2) & 1 << 13, 0);
}

static void pm_timer_runs_at_3_579545_mhz(void **state)
{
	struct pm_rig r;

	pm_init(&r);
	assert_int_equal(pm_rd(&r, 8, 4), 0);
	r.clock.now = SEC;
	assert_int_equal(pm_rd(&r, 8, 4), 3579545);
	/* wraps at 32 bits: about 20 minutes */
	r.clock.now = 1200 * SEC;
	assert_int_equal(pm_rd(&r, 8, 4), (uint32_t)(1200ULL * 3579545));
}

static void power_button_raises_and_clears_sci(void **state)
{
	struct pm_rig r;

	pm_init(&r);
	acpi_pm_power_button(&r.pm);
	assert_false(r.sci.level);
	pm_wr(&r, 2, 1 << 8, 2);
	assert_true(r.sci.level);
	assert_int_equal(pm_rd(&r, 0, 2), 1 << 8);
	pm_wr(&r, 0, 1 << 8, 2);
	assert_false(r.sci.level);
	/* the enable register is not disturbed by clearing the status */
	assert_int_equal(pm_rd(&r, 2, 2), 1 << 8);
}

static void pm_registers_take_bytes_and_words(void **state)
{
	struct pm_rig r;

	pm_init(&r);
	pm_wr(&r, 0, 0x01210000, 4);
	assert_int_equal(pm_rd(&r, 2, 2), 0x0121);
	pm_wr(&r, 3, 0x00, 1);
	assert_int_equal(pm_rd(&r, 0, 4), 0x00210000);
	pm_wr(&r, 8, 0xffffffff, 4);
}

/* --- PCI ----------------------------------------------------------------- */

static uint64_t config(struct pci_host *pci, uint32_t address,
		       unsigned int off, unsigned int size)
{
	pci_host_bus_ops.write(pci, 0, address, 4);
	return pci_host_bus_ops.read(pci, 4 + off, size);
}

static void only_the_host_bridge_is_found(void **state)
{
	struct pci_host pci;
	unsigned int dev;

	pci_host_init(&pci, NULL, NULL);
	assert_int_equal(config(&pci, 0x80000000, 0, 4), 0x0d578086);
	assert_int_equal(config(&pci, 0x80000008, 2, 2), 0x0600);
	assert_int_equal(config(&pci, 0x80000010, 0, 4), 0);
	for (dev = 1; dev < 32; dev++)
		assert_int_equal(config(&pci, 0x80000000 | dev << 11, 0, 4),
				 0xffffffff);
	assert_int_equal(config(&pci, 0x00000000, 0, 4), 0xffffffff);
}

static void address_register_reads_back(void **state)
{
	struct pci_host pci;

	/* Linux's test for mechanism 1 */
	pci_host_init(&pci, NULL, NULL);
	pci_host_bus_ops.write(&pci, 3, 0x01, 1);
	pci_host_bus_ops.write(&pci, 0, 0x80000000, 4);
	assert_int_equal(pci_host_bus_ops.read(&pci, 0, 4), 0x80000000);
}

static void reset_register_resets_on_its_rising_bit(void **state)
{
	unsigned int resets = 0;
	struct pci_host pci;

	pci_host_init(&pci, count_call, &resets);
	pci_host_bus_ops.write(&pci, 1, 0x02, 1);
	assert_int_equal(resets, 0);
	pci_host_bus_ops.write(&pci, 1, 0x06, 1);
	assert_int_equal(resets, 1);
	pci_host_bus_ops.write(&pci, 0, 0x80000600, 4);
	assert_int_equal(resets, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bus_routes_by_address),
		cmocka_unit_test(bus_refuses_overlap_and_nonsense),
		cmocka_unit_test(unclaimed_reads_give_all_ones),
		cmocka_unit_test(straddling_access_is_split),
		cmocka_unit_test(controller_passes_its_self_tests),
		cmocka_unit_test(pulse_of_line_0_resets),
		cmocka_unit_test(command_byte_is_kept),
		cmocka_unit_test(absent_keyboard_times_out_with_interrupt),
		cmocka_unit_test(acpi_mode_is_always_on),
		cmocka_unit_test(s5_with_slp_en_powers_off),
		cmocka_unit_test(pm_timer_runs_at_3_579545_mhz),
		cmocka_unit_test(power_button_raises_and_clears_sci),
		cmocka_unit_test(pm_registers_take_bytes_and_words),
		cmocka_unit_test(only_the_host_bridge_is_found),
		cmocka_unit_test(address_register_reads_back),
		cmocka_unit_test(reset_register_resets_on_its_rising_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
