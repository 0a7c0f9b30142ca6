// SPDX-License-Identifier: GPL-2.0-only
/*
 * Wiring of the virtual PC. machine_add_devices() is the map of the machine:
 * every port and every MMIO range is in it.
 *
 * ISA interrupt lines go to both the PICs and the IOAPIC, as on a PC; the guest
 * uses one of them and masks the other. Line 0 is IOAPIC pin 2.
 */
#include "machine.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define IRQ_TIMER	0
#define IRQ_KEYBOARD	1
#define IRQ_COM1	4
#define IRQ_RTC		8
#define IRQ_SCI		9

#define PORT_PIC1	0x20
#define PORT_PIT	0x40
#define PORT_KBD_DATA	0x60
#define PORT_PIT_GATE	0x61
#define PORT_KBD_CMD	0x64
#define PORT_RTC	0x70
#define PORT_PIC2	0xa0
#define PORT_COM1	0x3f8
#define PORT_ELCR	0x4d0
#define PORT_PM		0x600

#define LAPIC_BASE	0xfee00000ULL

/* --- clocks -------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * DEV_NSEC_PER_SEC + ts.tv_nsec;
}

static uint64_t monotonic_now(void *opaque)
{
	(void)opaque;
	return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t wall_now(void *opaque)
{
	(void)opaque;
	return clock_ns(CLOCK_REALTIME);
}

static void arm_timerfd(int fd, uint64_t deadline_ns)
{
	struct itimerspec its = {
		.it_value = {
			.tv_sec = deadline_ns / DEV_NSEC_PER_SEC,
			.tv_nsec = deadline_ns % DEV_NSEC_PER_SEC,
		},
	};

	timerfd_settime(fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static void arm_pit(void *opaque, uint64_t deadline_ns)
{
	struct machine *m = opaque;

	arm_timerfd(m->pit_timer, deadline_ns);
}

static void arm_rtc(void *opaque, uint64_t deadline_ns)
{
	struct machine *m = opaque;

	arm_timerfd(m->rtc_timer, deadline_ns);
}

static void drain(int fd)
{
	uint64_t count;

	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

void machine_pit_expired(struct machine *m)
{
	drain(m->pit_timer);
	pthread_mutex_lock(&m->lock);
	i8254_timer(&m->pit);
	pthread_mutex_unlock(&m->lock);
}

void machine_rtc_expired(struct machine *m)
{
	drain(m->rtc_timer);
	pthread_mutex_lock(&m->lock);
	mc146818_timer(&m->rtc);
	pthread_mutex_unlock(&m->lock);
}

/* --- interrupts ---------------------------------------------------------- */

static void isa_irq(void *opaque, unsigned int pin, bool level)
{
	struct machine *m = opaque;

	i8259_set_irq(&m->pic, pin, level);
	ioapic_set_irq(&m->ioapic, pin == IRQ_TIMER ? 2 : pin, level);
}

static struct irq_line isa_line(struct machine *m, unsigned int irq)
{
	return (struct irq_line){ .set = isa_irq, .opaque = m, .pin = irq };
}

static void pic_output(void *opaque, unsigned int pin, bool level)
{
	struct machine *m = opaque;

	(void)pin;
	if (atomic_exchange(&m->extint, level) != level && level)
		m->host.kick(m->host.opaque);
}

bool machine_take_extint(struct machine *m, uint8_t *vector)
{
	bool pending;

	pthread_mutex_lock(&m->lock);
	pending = i8259_pending(&m->pic);
	if (pending)
		*vector = i8259_ack(&m->pic);
	pthread_mutex_unlock(&m->lock);
	return pending;
}

static void ioapic_send(void *opaque, const struct ioapic_msg *msg)
{
	struct machine *m = opaque;
	int r = m->vm_ops->signal_msi(m->vm, msg->addr, msg->data);

	if (r < 0)
		machine_stop(m, MACHINE_FAILURE,
			     "cannot signal interrupt %#x: %s",
			     msg->data & 0xff, strerror(-r));
}

/*
 * The module must know which vectors are level triggered through the IOAPIC,
 * to report their EOIs; it learns that from the routing table. Edge-triggered
 * pins need no route, since their messages are sent by ioapic_send(), so that
 * the guest's probing of them costs no system call.
 */
static void ioapic_route_changed(void *opaque, unsigned int pin)
{
	struct kvm_irq_routing_msi *route;
	struct kvm_irq_routing_msi old;
	struct machine *m = opaque;
	struct ioapic_msg msg;
	int r;

	route = &m->routes[pin];
	old = *route;
	memset(route, 0, sizeof(*route));
	if (ioapic_message(&m->ioapic, pin, &msg) && ioapic_is_level(&msg)) {
		route->address_lo = msg.addr;
		route->address_hi = msg.addr >> 32;
		route->data = msg.data;
	}
	if (!memcmp(&old, route, sizeof(old)))
		return;
	r = m->vm_ops->set_routes(m->vm, m->routes, IOAPIC_PINS);
	if (r < 0)
		machine_stop(m, MACHINE_FAILURE,
			     "cannot set the interrupt routes: %s",
			     strerror(-r));
}

/* --- stopping ------------------------------------------------------------ */

void machine_stop(struct machine *m, enum machine_stop reason,
		  const char *fmt, ...)
{
	const uint64_t one = 1;
	int runs = MACHINE_RUNS;
	char text[sizeof(m->stop_text)] = "";
	va_list ap;

	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
	}
	if (!atomic_compare_exchange_strong(&m->stop, &runs, reason))
		return;
	memcpy(m->stop_text, text, sizeof(text));
	m->host.kick(m->host.opaque);
	/* an eventfd with this little in it always takes one more */
	if (write(m->wake, &one, sizeof(one)) < 0)
		return;
}

static void guest_power_off(void *opaque)
{
	machine_stop(opaque, MACHINE_POWER_OFF, NULL);
}

static void guest_reset(void *opaque)
{
	machine_stop(opaque, MACHINE_RESET, NULL);
}

/* --- wiring -------------------------------------------------------------- */

struct acpi_config machine_acpi_config(unsigned int cpus)
{
	return (struct acpi_config){
		.cpus = cpus,
		.lapic_base = LAPIC_BASE,
		.ioapic_base = IOAPIC_BASE,
		.sci_irq = IRQ_SCI,
		.pm_port = PORT_PM,
		.reset_port = PCI_RESET_PORT,
		.reset_value = PCI_RESET_VALUE,
	};
}

static int add_ranges(struct machine *m)
{
	const struct {
		struct bus *bus;
		uint64_t base, len;
		const struct bus_ops *ops;
		void *dev;
		const char *name;
	} map[] = {
		{ &m->pio, PORT_COM1, NS16550_PORTS, &ns16550_bus_ops,
		  &m->uart, "com1" },
		{ &m->pio, PORT_PIC1, 2, &i8259_master_ops, &m->pic, "pic1" },
		{ &m->pio, PORT_PIC2, 2, &i8259_slave_ops, &m->pic, "pic2" },
		{ &m->pio, PORT_ELCR, 2, &i8259_elcr_ops, &m->pic, "elcr" },
		{ &m->pio, PORT_PIT, 4, &i8254_bus_ops, &m->pit, "pit" },
		{ &m->pio, PORT_PIT_GATE, 1, &i8254_port61_ops, &m->pit,
		  "pit-gate" },
		{ &m->pio, PORT_KBD_DATA, 1, &i8042_data_ops, &m->kbd,
		  "i8042-data" },
		{ &m->pio, PORT_KBD_CMD, 1, &i8042_cmd_ops, &m->kbd,
		  "i8042-command" },
		{ &m->pio, PORT_RTC, 2, &mc146818_bus_ops, &m->rtc, "rtc" },
		{ &m->pio, PORT_PM, ACPI_PM_LEN, &acpi_pm_bus_ops, &m->pm,
		  "acpi-pm" },
		{ &m->pio, PCI_HOST_PORT, PCI_HOST_LEN, &pci_host_bus_ops,
		  &m->pci, "pci" },
		{ &m->mmio, IOAPIC_BASE, IOAPIC_LEN, &ioapic_bus_ops,
		  &m->ioapic, "ioapic" },
	};
	unsigned int i;
	int r;

	for (i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		r = bus_add(map[i].bus, map[i].base, map[i].len, map[i].ops,
			    map[i].dev, map[i].name);
		if (r < 0)
			return r;
	}
	return 0;
}

static int machine_add_devices(struct machine *m, const struct guest_mem *mem)
{
	const struct dev_clock pit_clock = {
		.now = monotonic_now, .arm = arm_pit, .opaque = m,
	};
	const struct dev_clock rtc_clock = {
		.now = wall_now, .arm = arm_rtc, .opaque = m,
	};
	const struct irq_line intr = { .set = pic_output, .opaque = m };
	const struct irq_line timer_irq = isa_line(m, IRQ_TIMER);
	const struct irq_line rtc_irq = isa_line(m, IRQ_RTC);
	const struct irq_line kbd_irq = isa_line(m, IRQ_KEYBOARD);
	const struct ioapic_host ioapic_host = {
		.send = ioapic_send,
		.route_changed = ioapic_route_changed,
		.opaque = m,
	};
	const struct ns16550_host uart_host = {
		.tx = m->host.console_tx,
		.rx_room = m->host.console_rx_room,
		.opaque = m->host.opaque,
		.irq = isa_line(m, IRQ_COM1),
	};
	const struct acpi_pm_host pm_host = {
		.power_off = guest_power_off,
		.opaque = m,
		.clock = { .now = monotonic_now },
		.sci = isa_line(m, IRQ_SCI),
	};

	i8259_init(&m->pic, &intr);
	ioapic_init(&m->ioapic, &ioapic_host);
	i8254_init(&m->pit, &pit_clock, &timer_irq);
	mc146818_init(&m->rtc, &rtc_clock, &rtc_irq, mem->low, mem->high);
	ns16550_init(&m->uart, &uart_host);
	i8042_init(&m->kbd, guest_reset, m, &kbd_irq);
	acpi_pm_init(&m->pm, &pm_host);
	pci_host_init(&m->pci, guest_reset, m);
	return add_ranges(m);
}

int machine_init(struct machine *m, const struct machine_host *host,
		 const struct vm_ops *ops, void *vm,
		 const struct guest_mem *mem, struct error *err)
{
	const int timer_flags = TFD_CLOEXEC | TFD_NONBLOCK;

	memset(m, 0, sizeof(*m));
	m->host = *host;
	m->vm_ops = ops;
	m->vm = vm;
	pthread_mutex_init(&m->lock, NULL);
	m->pit_timer = timerfd_create(CLOCK_MONOTONIC, timer_flags);
	m->rtc_timer = timerfd_create(CLOCK_REALTIME, timer_flags);
	m->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->pit_timer < 0 || m->rtc_timer < 0 || m->wake < 0 ||
	    machine_add_devices(m, mem) < 0) {
		error_failure(err, "cannot set up the machine: %s",
			      strerror(errno));
		machine_destroy(m);
		return -1;
	}
	return 0;
}

void machine_destroy(struct machine *m)
{
	if (m->pit_timer >= 0)
		close(m->pit_timer);
	if (m->rtc_timer >= 0)
		close(m->rtc_timer);
	if (m->wake >= 0)
		close(m->wake);
	pthread_mutex_destroy(&m->lock);
}
