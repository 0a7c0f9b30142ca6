// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run loop and the machine's wiring, driven by a scripted hypervisor: each
 * step fills in one exit, and may look at what the loop did about the last.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userland/report.h"
#include "../../userland/vcpu.h"

#define STEPS	64

enum step_kind { OUT, IN, MMIO_W, MMIO_R, WINDOW, PLAIN, RETURN };

struct step {
	enum step_kind kind;
	uint64_t addr;
	unsigned int size;
	uint64_t data;		/* written; for PLAIN the reason */
	uint32_t count;		/* of a string access; 0: 1 */
	int ret;
	uint8_t eoi;		/* vector of an IOAPIC_EOI */
};

struct rig {
	struct guest_mem mem;
	struct machine m;
	struct vcpu v;
	struct error err;
	union {
		struct kvm_run run;
		uint8_t page[8192];
	} u;
	const struct step *steps;
	unsigned int count, next;
	uint64_t read_back[STEPS];	/* what a read step was given */
	uint8_t injected[STEPS];
	unsigned int injected_count;
	struct { uint64_t addr; uint32_t data; } msi[STEPS];
	unsigned int msi_count;
	unsigned int routes_set;
	struct kvm_irq_routing_msi routes[KVM_IOAPIC_ROUTES];
	char tx[256];
	unsigned int tx_count;
	unsigned int windows_wanted;
};

/* --- the scripted hypervisor --------------------------------------------- */

static void finish_last(struct rig *r)
{
	const struct step *s = &r->steps[r->next - 1];

	if (r->next == 0)
		return;
	if (s->kind == IN)
		memcpy(&r->read_back[r->next - 1], r->u.page + 4096, s->size);
	if (s->kind == MMIO_R)
		memcpy(&r->read_back[r->next - 1], r->u.run.mmio.data, s->size);
}

static void fill_exit(struct rig *r, const struct step *s)
{
	struct kvm_run *run = &r->u.run;

	switch (s->kind) {
	case OUT:
	case IN:
		run->exit_reason = KVM_EXIT_IO;
		run->io.direction = s->kind == OUT ? KVM_EXIT_IO_OUT :
				    KVM_EXIT_IO_IN;
		run->io.port = s->addr;
		run->io.size = s->size;
		run->io.count = s->count ? s->count : 1;
		run->io.data_offset = 4096;
		memcpy(r->u.page + 4096, &s->data, 8);
		break;
	case MMIO_W:
	case MMIO_R:
		run->exit_reason = KVM_EXIT_MMIO;
		run->mmio.phys_addr = s->addr;
		run->mmio.len = s->size;
		run->mmio.is_write = s->kind == MMIO_W;
		memcpy(run->mmio.data, &s->data, 8);
		break;
	case WINDOW:
		run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
		run->ready_for_interrupt_injection = 1;
		break;
	default:
		run->exit_reason = s->data;
		if (s->eoi)
			run->eoi.vector = s->eoi;
		break;
	}
}

static int fake_run(void *backend)
{
	struct rig *r = backend;
	const struct step *s;

	finish_last(r);
	r->windows_wanted += r->u.run.request_interrupt_window;
	if (r->next == r->count) {
		machine_stop(&r->m, MACHINE_SIGNAL, NULL);
		r->next++;
		return -EINTR;
	}
	s = &r->steps[r->next++];
	r->u.run.ready_for_interrupt_injection = 0;
	if (s->kind == RETURN)
		return s->ret;
	fill_exit(r, s);
	return 0;
}

static int fake_interrupt(void *backend, uint8_t vector)
{
	struct rig *r = backend;

	r->injected[r->injected_count++] = vector;
	return 0;
}

static int fake_get_regs(void *backend, struct kvm_regs *regs)
{
	memset(regs, 0, sizeof(*regs));
	regs->rip = 0x1234;
	return 0;
}

static int fake_get_sregs(void *backend, struct kvm_sregs *sregs)
{
	memset(sregs, 0, sizeof(*sregs));
	return 0;
}

static const struct vcpu_ops fake_vcpu = {
	.run = fake_run, .interrupt = fake_interrupt,
	.get_regs = fake_get_regs, .get_sregs = fake_get_sregs,
};

static int fake_msi(void *vm, uint64_t addr, uint32_t data)
{
	struct rig *r = vm;

	r->msi[r->msi_count].addr = addr;
	r->msi[r->msi_count++].data = data;
	return 0;
}

static int fake_routes(void *vm, const struct kvm_irq_routing_msi *msi,
		       unsigned int count)
{
	struct rig *r = vm;

	assert_int_equal(count, KVM_IOAPIC_ROUTES);
	memcpy(r->routes, msi, sizeof(r->routes));
	r->routes_set++;
	return 0;
}

static const struct vm_ops fake_vm = {
	.signal_msi = fake_msi, .set_routes = fake_routes,
};

/* --- the rig ------------------------------------------------------------- */

static void on_tx(void *opaque, uint8_t ch)
{
	struct rig *r = opaque;

	r->tx[r->tx_count++ % sizeof(r->tx)] = ch;
}

static void on_room(void *opaque)
{
}

static void on_kick(void *opaque)
{
}

static struct rig *rig_create(void)
{
	struct rig *r = calloc(1, sizeof(*r));
	const struct machine_host host = {
		.console_tx = on_tx, .console_rx_room = on_room,
		.kick = on_kick, .opaque = r,
	};

	assert_int_equal(guest_mem_create(&r->mem, 4 << 20,
					  GUEST_PAGES_AUTO, &r->err), 0);
	assert_int_equal(machine_init(&r->m, &host, &fake_vm, r, &r->mem,
				      &r->err), 0);
	r->v.ops = &fake_vcpu;
	r->v.backend = r;
	r->v.run = &r->u.run;
	r->v.machine = &r->m;
	return r;
}

static void rig_destroy(struct rig *r)
{
	machine_destroy(&r->m);
	guest_mem_destroy(&r->mem);
	free(r);
}

static enum machine_stop play(struct rig *r, const struct step *steps,
			      unsigned int count)
{
	r->steps = steps;
	r->count = count;
	r->next = 0;
	atomic_store(&r->m.stop, MACHINE_RUNS);
	vcpu_loop(&r->v);
	return atomic_load(&r->m.stop);
}

#define PLAY(r, s)	play(r, s, sizeof(s) / sizeof((s)[0]))

/* --- tests --------------------------------------------------------------- */

static void port_writes_reach_the_serial_port(void **state)
{
	const struct step steps[] = {
		{ OUT, 0x3f8, 1, 'h' }, { OUT, 0x3f8, 1, 'i' },
		{ IN, 0x3fd, 1, 0 },
	};
	struct rig *r = rig_create();

	assert_int_equal(PLAY(r, steps), MACHINE_SIGNAL);
	assert_int_equal(r->tx_count, 2);
	assert_memory_equal(r->tx, "hi", 2);
	assert_int_equal(r->read_back[2], 0x60);
	assert_int_equal(r->v.by_reason[KVM_EXIT_IO], 3);
	rig_destroy(r);
}

static void string_output_takes_every_byte(void **state)
{
	const struct step steps[] = {
		{ OUT, 0x3f8, 1, 0x6f6c6c6568, .count = 5 },
	};
	struct rig *r = rig_create();

	PLAY(r, steps);
	assert_int_equal(r->tx_count, 5);
	assert_memory_equal(r->tx, "hello", 5);
	rig_destroy(r);
}

static void unclaimed_ports_read_all_ones(void **state)
{
	const struct step steps[] = {
		{ IN, 0x80, 1 }, { IN, 0x1234, 4 },
		{ MMIO_R, 0xfed00000, 8 },
	};
	struct rig *r = rig_create();

	PLAY(r, steps);
	assert_int_equal(r->read_back[0], 0xff);
	assert_int_equal(r->read_back[1], 0xffffffff);
	assert_true(r->read_back[2] == ~0ULL);
	rig_destroy(r);
}

static void soft_off_ends_with_power_off(void **state)
{
	const struct step steps[] = {
		{ OUT, 0x604, 2, 1 << 13 | 5 << 10 }, { OUT, 0x3f8, 1, 'x' },
	};
	struct rig *r = rig_create();

	assert_int_equal(PLAY(r, steps), MACHINE_POWER_OFF);
	assert_int_equal(r->tx_count, 0);
	rig_destroy(r);
}

static void each_way_to_reset_ends_with_reset(void **state)
{
	const struct step ways[][1] = {
		{ { OUT, 0x64, 1, 0xfe } }, { { OUT, 0xcf9, 1, 0x06 } },
	};
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct rig *r = rig_create();

		assert_int_equal(play(r, ways[i], 1), MACHINE_RESET);
		rig_destroy(r);
	}
}

static void each_exit_reason_ends_as_documented(void **state)
{
	static const struct {
		unsigned int reason;
		enum machine_stop stop;
	} cases[] = {
		{ KVM_EXIT_SHUTDOWN, MACHINE_TRIPLE_FAULT },
		{ KVM_EXIT_INTERNAL_ERROR, MACHINE_MONITOR },
		{ KVM_EXIT_FAIL_ENTRY, MACHINE_MONITOR },
		{ KVM_EXIT_UNKNOWN, MACHINE_MONITOR },
		{ KVM_EXIT_HLT, MACHINE_MONITOR },
		{ KVM_EXIT_DEBUG, MACHINE_MONITOR },
		{ 12345, MACHINE_MONITOR },
	};
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct step s[] = { { PLAIN, .data = cases[i].reason } };
		struct rig *r = rig_create();

		memset(&r->u.run.internal, 0, sizeof(r->u.run.internal));
		assert_int_equal(play(r, s, 1), cases[i].stop);
		rig_destroy(r);
	}
}

static void system_events_say_off_reset_or_stop(void **state)
{
	static const enum machine_stop ends[] = {
		[KVM_SYSTEM_EVENT_SHUTDOWN] = MACHINE_POWER_OFF,
		[KVM_SYSTEM_EVENT_RESET] = MACHINE_RESET,
		[KVM_SYSTEM_EVENT_CRASH] = MACHINE_MONITOR,
	};
	const struct step s[] = { { PLAIN, .data = KVM_EXIT_SYSTEM_EVENT } };
	unsigned int type;

	for (type = 1; type <= 3; type++) {
		struct rig *r = rig_create();

		r->u.run.system_event.type = type;
		assert_int_equal(play(r, s, 1), ends[type]);
		rig_destroy(r);
	}
}

static void interrupted_runs_go_on_and_errors_stop(void **state)
{
	const struct step steps[] = {
		{ RETURN, .ret = -EINTR }, { RETURN, .ret = -EAGAIN },
		{ OUT, 0x3f8, 1, 'x' }, { RETURN, .ret = -EFAULT },
	};
	struct rig *r = rig_create();

	assert_int_equal(PLAY(r, steps), MACHINE_FAILURE);
	assert_non_null(strstr(r->m.stop_text, "Bad address"));
	assert_int_equal(r->tx_count, 1);
	rig_destroy(r);
}

/* Programs the PICs as Linux does and unmasks input 4. */
#define PIC_SETUP \
	{ OUT, 0x20, 1, 0x11 }, { OUT, 0x21, 1, 0x30 }, \
	{ OUT, 0x21, 1, 0x04 }, { OUT, 0x21, 1, 0x01 }, \
	{ OUT, 0xa0, 1, 0x11 }, { OUT, 0xa1, 1, 0x38 }, \
	{ OUT, 0xa1, 1, 0x02 }, { OUT, 0xa1, 1, 0x01 }, \
	{ OUT, 0x21, 1, 0xef }, { OUT, 0xa1, 1, 0xff }

static void pic_interrupt_waits_for_the_window(void **state)
{
	const struct step steps[] = {
		PIC_SETUP,
		{ OUT, 0x3f9, 1, 0x02 },	/* THRE interrupt: IRQ 4 */
		{ OUT, 0x80, 1, 0 },		/* not ready yet */
		{ WINDOW },
		{ OUT, 0x80, 1, 0 },
	};
	struct rig *r = rig_create();

	PLAY(r, steps);
	assert_int_equal(r->injected_count, 1);
	assert_int_equal(r->injected[0], 0x34);
	assert_int_equal(r->windows_wanted, 2);
	assert_int_equal(r->v.interrupts, 1);
	rig_destroy(r);
}

static void withdrawn_pic_interrupt_is_not_injected(void **state)
{
	const struct step steps[] = {
		PIC_SETUP,
		{ OUT, 0x3f9, 1, 0x02 },
		{ OUT, 0x3f9, 1, 0x00 },
		{ WINDOW },
	};
	struct rig *r = rig_create();

	PLAY(r, steps);
	assert_int_equal(r->injected_count, 0);
	assert_int_equal(r->windows_wanted, 1);
	rig_destroy(r);
}

#define IOAPIC_WRITE(index, val) \
	{ MMIO_W, 0xfec00000, 4, index }, { MMIO_W, 0xfec00010, 4, val }

static void serial_interrupt_leaves_the_ioapic_as_msi(void **state)
{
	const struct step steps[] = {
		IOAPIC_WRITE(0x18, 0x31),
		{ OUT, 0x3f9, 1, 0x02 },
	};
	struct rig *r = rig_create();

	PLAY(r, steps);
	assert_int_equal(r->msi_count, 1);
	assert_int_equal(r->msi[0].addr, 0xfee00000);
	assert_int_equal(r->msi[0].data, 0x31);
	/* an edge-triggered pin needs no route */
	assert_int_equal(r->routes_set, 0);
	rig_destroy(r);
}

static void level_interrupt_is_routed_and_ended_by_eoi(void **state)
{
	const struct step steps[] = {
		IOAPIC_WRITE(0x22, 0x8051),
		{ OUT, 0x602, 2, 1 << 8 },
		{ PLAIN, .data = KVM_EXIT_IOAPIC_EOI, .eoi = 0x51 },
		{ OUT, 0x600, 2, 1 << 8 },
		{ PLAIN, .data = KVM_EXIT_IOAPIC_EOI, .eoi = 0x51 },
	};
	struct rig *r = rig_create();

	acpi_pm_power_button(&r->m.pm);
	PLAY(r, steps);
	assert_int_equal(r->routes_set, 1);
	assert_int_equal(r->routes[9].data, 0xc051);
	assert_int_equal(r->routes[4].data, 0);
	/* once at the enable, once at the first EOI, which found it asserted */
	assert_int_equal(r->msi_count, 2);
	assert_int_equal(r->msi[0].data, 0xc051);
	rig_destroy(r);
}

static void pit_interrupt_is_ioapic_pin_2(void **state)
{
	const struct step steps[] = {
		IOAPIC_WRITE(0x14, 0x30),
		{ OUT, 0x43, 1, 0x30 },
		{ OUT, 0x40, 1, 0x10 }, { OUT, 0x40, 1, 0 },
	};
	struct rig *r = rig_create();

	PLAY(r, steps);
	usleep(2000);
	machine_pit_expired(&r->m);
	assert_int_equal(r->msi_count, 1);
	assert_int_equal(r->msi[0].data, 0x30);
	rig_destroy(r);
}

static void ring_keeps_the_last_exits_for_the_report(void **state)
{
	const struct step steps[] = {
		{ OUT, 0x80, 1, 0xab }, { IN, 0x71, 1 },
		{ MMIO_W, 0xfec00000, 4, 1 },
		{ PLAIN, .data = KVM_EXIT_SHUTDOWN },
	};
	struct rig *r = rig_create();
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	PLAY(r, steps);
	f = open_memstream(&text, &len);
	report_vcpu(f, &r->v, &r->mem);
	report_machine(f, &r->m);
	fclose(f);
	assert_non_null(strstr(text, "write 0x80 size 1 data 0xab"));
	assert_non_null(strstr(text, "mmio"));
	assert_non_null(strstr(text, "shutdown"));
	assert_non_null(strstr(text, "rip    0000000000001234"));
	assert_non_null(strstr(text, "<00>"));
	free(text);
	rig_destroy(r);
}

static int drop_msi(void *vm, uint64_t addr, uint32_t data)
{
	return 0;
}

static int drop_routes(void *vm, const struct kvm_irq_routing_msi *msi,
		       unsigned int count)
{
	return 0;
}

static void hostile_guest_cannot_crash_the_devices(void **state)
{
	static const struct vm_ops drop = {
		.signal_msi = drop_msi, .set_routes = drop_routes,
	};
	static const uint16_t bases[] = {
		0x20, 0x40, 0x60, 0x64, 0x70, 0xa0, 0x3f8, 0x4d0, 0x600, 0xcf8,
	};
	struct rig *r = rig_create();
	unsigned int i;
	uint8_t vector;

	r->m.vm_ops = &drop;
	srand(3);
	for (i = 0; i < 300000; i++) {
		unsigned int size = 1 << rand() % 3;
		uint64_t port = bases[rand() % 10] + rand() % 14;
		uint64_t gpa = 0xfec00000 + rand() % 0x30;
		uint64_t val = (uint64_t)rand() << 31 | rand();

		pthread_mutex_lock(&r->m.lock);
		bus_write(&r->m.pio, port, val, size);
		bus_read(&r->m.pio, port, size);
		bus_write(&r->m.mmio, gpa, val, 1 << rand() % 4);
		bus_read(&r->m.mmio, gpa, 1 << rand() % 4);
		ioapic_eoi(&r->m.ioapic, val);
		ns16550_rx(&r->m.uart, (const uint8_t *)&val, rand() % 9);
		pthread_mutex_unlock(&r->m.lock);
		machine_take_extint(&r->m, &vector);
		if (i % 64 == 0) {
			machine_pit_expired(&r->m);
			machine_rtc_expired(&r->m);
		}
	}
	rig_destroy(r);
}

static void guest_page_walk_finds_large_and_small_pages(void **state)
{
	struct kvm_sregs s = { .cr0 = 1ULL << 31, .cr3 = 0x1000,
			       .efer = 1 << 10 };
	struct rig *r = rig_create();
	uint64_t *m = (uint64_t *)r->mem.host;
	uint64_t gpa;

	m[0x1000 / 8 + 511] = 0x2003;
	m[0x2000 / 8 + 510] = 0x3003;
	m[0x3000 / 8 + 8] = 0x200083;
	m[0x3000 / 8 + 9] = 0x4003;
	m[0x4000 / 8 + 5] = 0x8000000000005003ULL;
	assert_true(report_translate(&r->mem, &s, 0xffffffff81012345, &gpa));
	assert_int_equal(gpa, 0x212345);
	assert_true(report_translate(&r->mem, &s, 0xffffffff81205678, &gpa));
	assert_int_equal(gpa, 0x5678);
	assert_false(report_translate(&r->mem, &s, 0xffffffff81206000, &gpa));
	s.cr3 = 0xfffffffff000;
	assert_false(report_translate(&r->mem, &s, 0, &gpa));
	rig_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(port_writes_reach_the_serial_port),
		cmocka_unit_test(string_output_takes_every_byte),
		cmocka_unit_test(unclaimed_ports_read_all_ones),
		cmocka_unit_test(soft_off_ends_with_power_off),
		cmocka_unit_test(each_way_to_reset_ends_with_reset),
		cmocka_unit_test(each_exit_reason_ends_as_documented),
		cmocka_unit_test(system_events_say_off_reset_or_stop),
		cmocka_unit_test(interrupted_runs_go_on_and_errors_stop),
		cmocka_unit_test(pic_interrupt_waits_for_the_window),
		cmocka_unit_test(withdrawn_pic_interrupt_is_not_injected),
		cmocka_unit_test(serial_interrupt_leaves_the_ioapic_as_msi),
		cmocka_unit_test(level_interrupt_is_routed_and_ended_by_eoi),
		cmocka_unit_test(pit_interrupt_is_ioapic_pin_2),
		cmocka_unit_test(ring_keeps_the_last_exits_for_the_report),
		cmocka_unit_test(hostile_guest_cannot_crash_the_devices),
		cmocka_unit_test(guest_page_walk_finds_large_and_small_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
