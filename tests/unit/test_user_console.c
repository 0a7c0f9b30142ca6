// SPDX-License-Identifier: GPL-2.0-only
/* The console between pipes: order, backpressure, end of file, escape key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userland/console.h"

struct rig {
	struct guest_mem mem;
	struct machine m;
	struct console c;
	struct error err;
	int to_guest;		/* write end of its input */
	int from_guest;		/* read end of its output */
	int in, out;
};

static void rig_tx(void *opaque, uint8_t ch)
{
	console_tx(&((struct rig *)opaque)->c, ch);
}

static void rig_room(void *opaque)
{
	console_rx_room(&((struct rig *)opaque)->c);
}

static void rig_kick(void *opaque)
{
}

static int no_msi(void *vm, uint64_t addr, uint32_t data)
{
	return 0;
}

static int no_routes(void *vm, const struct kvm_irq_routing_msi *msi,
		     unsigned int count)
{
	return 0;
}

static const struct vm_ops no_vm = {
	.signal_msi = no_msi, .set_routes = no_routes,
};

static struct rig *rig_create(void)
{
	struct rig *r = calloc(1, sizeof(*r));
	const struct machine_host host = {
		.console_tx = rig_tx, .console_rx_room = rig_room,
		.kick = rig_kick, .opaque = r,
	};
	int in[2], out[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	r->in = in[0];
	r->to_guest = in[1];
	r->from_guest = out[0];
	r->out = out[1];
	assert_int_equal(guest_mem_create(&r->mem, 4 << 20,
					  GUEST_PAGES_AUTO, &r->err), 0);
	assert_int_equal(machine_init(&r->m, &host, &no_vm, NULL, &r->mem,
				      &r->err), 0);
	assert_int_equal(console_init(&r->c, &r->m, in[0], out[1], &r->err), 0);
	return r;
}

static void rig_destroy(struct rig *r)
{
	console_destroy(&r->c);
	machine_destroy(&r->m);
	guest_mem_destroy(&r->mem);
	close(r->in);
	close(r->out);
	if (r->to_guest >= 0)
		close(r->to_guest);
	if (r->from_guest >= 0)
		close(r->from_guest);
	free(r);
}

static void guest_writes(struct rig *r, const char *s, size_t len)
{
	while (len--) {
		pthread_mutex_lock(&r->m.lock);
		bus_write(&r->m.pio, 0x3f8, (uint8_t)*s++, 1);
		pthread_mutex_unlock(&r->m.lock);
	}
}

/* What has come out so far, without waiting. */
static ssize_t output(struct rig *r, char *buf, size_t size)
{
	struct pollfd p = { .fd = r->from_guest, .events = POLLIN };

	return poll(&p, 1, 0) > 0 ? read(r->from_guest, buf, size) : 0;
}

/* What the guest reads from its receive buffer. */
static size_t guest_reads(struct rig *r, char *buf, size_t size)
{
	size_t n = 0;

	pthread_mutex_lock(&r->m.lock);
	while (n < size && (bus_read(&r->m.pio, 0x3fd, 1) & 1))
		buf[n++] = bus_read(&r->m.pio, 0x3f8, 1);
	pthread_mutex_unlock(&r->m.lock);
	return n;
}

static void lines_come_out_at_their_end(void **state)
{
	struct rig *r = rig_create();
	char buf[64];

	guest_writes(r, "one", 3);
	assert_int_equal(output(r, buf, sizeof(buf)), 0);
	guest_writes(r, "\n", 1);
	assert_int_equal(output(r, buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "one\n", 4);
	rig_destroy(r);
}

static void prompt_without_newline_comes_out_soon(void **state)
{
	struct rig *r = rig_create();
	struct pollfd p = { .fd = r->c.flush_timer, .events = POLLIN };
	char buf[64];

	guest_writes(r, "# ", 2);
	assert_int_equal(poll(&p, 1, 1000), 1);
	console_flush_expired(&r->c);
	assert_int_equal(output(r, buf, sizeof(buf)), 2);
	assert_false(console_wants_output(&r->c));
	rig_destroy(r);
}

static void *slow_reader(void *opaque)
{
	struct rig *r = opaque;
	static char buf[1 << 20];
	size_t n = 0;

	usleep(50000);
	while (n < 300000) {
		ssize_t got = read(r->from_guest, buf + n, 3000);

		if (got <= 0)
			break;
		n += got;
	}
	return n == 300000 ? buf : NULL;
}

/* The event thread's part, until the writer is through. */
struct pump {
	struct rig *r;
	atomic_bool done;
};

static void *pump(void *opaque)
{
	struct pump *p = opaque;

	while (!atomic_load(&p->done)) {
		console_flush_expired(&p->r->c);
		console_output(&p->r->c);
		usleep(500);
	}
	return NULL;
}

static void slow_reader_loses_nothing(void **state)
{
	struct rig *r = rig_create();
	struct pump p = { .r = r };
	pthread_t reader, pumper;
	void *text;
	int i;

	pthread_create(&reader, NULL, slow_reader, r);
	pthread_create(&pumper, NULL, pump, &p);
	for (i = 0; i < 300000; i++) {
		char ch = 'a' + i % 26;

		guest_writes(r, &ch, 1);
		console_throttle(&r->c);
	}
	console_drain(&r->c, 1000);
	pthread_join(reader, &text);
	atomic_store(&p.done, true);
	pthread_join(pumper, NULL);
	assert_non_null(text);
	for (i = 0; i < 300000; i++)
		assert_int_equal(((char *)text)[i], 'a' + i % 26);
	rig_destroy(r);
}

static void *stop_soon(void *opaque)
{
	struct rig *r = opaque;

	usleep(20000);
	machine_stop(&r->m, MACHINE_SIGNAL, NULL);
	console_stop(&r->c);
	return NULL;
}

static void stop_frees_a_guest_that_waits_for_a_reader(void **state)
{
	struct rig *r = rig_create();
	pthread_t stopper;
	int i;

	pthread_create(&stopper, NULL, stop_soon, r);
	for (i = 0; i < 1000000 && !machine_stopped(&r->m); i++) {
		guest_writes(r, "x", 1);
		console_throttle(&r->c);
	}
	assert_true(machine_stopped(&r->m));
	pthread_join(stopper, NULL);
	rig_destroy(r);
}

static void lost_reader_stops_the_machine(void **state)
{
	struct rig *r = rig_create();

	close(r->from_guest);
	r->from_guest = -1;
	guest_writes(r, "x\n", 2);
	assert_int_equal(atomic_load(&r->m.stop), MACHINE_SIGNAL);
	assert_int_equal(r->m.stop_signal, SIGPIPE);
	guest_writes(r, "y\n", 2);
	rig_destroy(r);
}

static void input_reaches_the_guest_in_order(void **state)
{
	struct rig *r = rig_create();
	char sent[200], got[300];
	size_t n = 0;
	int i;

	for (i = 0; i < 200; i++)
		sent[i] = i;
	pthread_mutex_lock(&r->m.lock);
	bus_write(&r->m.pio, 0x3fa, 1, 1);
	pthread_mutex_unlock(&r->m.lock);
	assert_int_equal(write(r->to_guest, sent, 200), 200);
	console_input(&r->c);
	while (n < 200) {
		size_t more = guest_reads(r, got + n, sizeof(got) - n);

		assert_true(more > 0);
		n += more;
	}
	assert_int_equal(n, 200);
	assert_memory_equal(sent, got, 200);
	rig_destroy(r);
}

static void pipe_is_not_read_faster_than_the_guest(void **state)
{
	struct rig *r = rig_create();
	char block[256] = "", got[256];
	uint64_t woken;
	int i;

	for (i = 0; i < 30; i++)
		assert_int_equal(write(r->to_guest, block, 256), 256);
	for (i = 0; i < 30 && console_wants_input(&r->c); i++)
		console_input(&r->c);
	assert_in_range(i, 8, 10);
	assert_int_equal(read(r->m.wake, &woken, 8), -1);
	while (!console_wants_input(&r->c))
		assert_true(guest_reads(r, got, sizeof(got)) > 0);
	/* and the event thread is told */
	assert_int_equal(read(r->m.wake, &woken, 8), 8);
	rig_destroy(r);
}

static void end_of_input_neither_stops_nor_spins(void **state)
{
	struct rig *r = rig_create();

	close(r->to_guest);
	r->to_guest = -1;
	assert_true(console_wants_input(&r->c));
	console_input(&r->c);
	assert_false(console_wants_input(&r->c));
	assert_false(machine_stopped(&r->m));
	rig_destroy(r);
}

static void pipe_input_has_no_escape_key(void **state)
{
	struct rig *r = rig_create();
	char got[8];

	pthread_mutex_lock(&r->m.lock);
	bus_write(&r->m.pio, 0x3fa, 1, 1);
	pthread_mutex_unlock(&r->m.lock);
	assert_int_equal(write(r->to_guest, "\001x", 2), 2);
	console_input(&r->c);
	assert_false(machine_stopped(&r->m));
	assert_int_equal(guest_reads(r, got, sizeof(got)), 2);
	rig_destroy(r);
}

static void escape_keys_do_what_the_help_says(void **state)
{
	static const struct {
		const char *keys;
		enum escape_action last;
	} cases[] = {
		{ "a", ESCAPE_PASS }, { "\001", ESCAPE_NOTHING },
		{ "\001x", ESCAPE_QUIT }, { "\001h", ESCAPE_HELP },
		{ "\001?", ESCAPE_HELP }, { "\001p", ESCAPE_POWER },
		{ "\001b", ESCAPE_BREAK }, { "\001\001", ESCAPE_PASS },
		{ "\001q", ESCAPE_NOTHING }, { "\001qx", ESCAPE_PASS },
		{ "\001\001x", ESCAPE_PASS }, { "x", ESCAPE_PASS },
	};
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum escape_action last = ESCAPE_NOTHING;
		struct escape e = { .seen = false };
		const char *k;

		for (k = cases[i].keys; *k; k++)
			last = escape_feed(&e, *k);
		assert_int_equal(last, cases[i].last);
	}
}

static void terminal_keys_quit_and_press_the_button(void **state)
{
	struct rig *r = rig_create();
	char buf[512];

	r->c.in_tty = true;
	assert_int_equal(write(r->to_guest, "\001h\001p", 4), 4);
	console_input(&r->c);
	assert_true(output(r, buf, sizeof(buf)) > 50);
	assert_int_equal(r->m.pm.status, 1 << 8);
	assert_int_equal(write(r->to_guest, "\001x", 2), 2);
	console_input(&r->c);
	assert_int_equal(atomic_load(&r->m.stop), MACHINE_SIGNAL);
	assert_int_equal(r->m.stop_signal, SIGINT);
	rig_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_out_at_their_end),
		cmocka_unit_test(prompt_without_newline_comes_out_soon),
		cmocka_unit_test(slow_reader_loses_nothing),
		cmocka_unit_test(stop_frees_a_guest_that_waits_for_a_reader),
		cmocka_unit_test(lost_reader_stops_the_machine),
		cmocka_unit_test(input_reaches_the_guest_in_order),
		cmocka_unit_test(pipe_is_not_read_faster_than_the_guest),
		cmocka_unit_test(end_of_input_neither_stops_nor_spins),
		cmocka_unit_test(pipe_input_has_no_escape_key),
		cmocka_unit_test(escape_keys_do_what_the_help_says),
		cmocka_unit_test(terminal_keys_quit_and_press_the_button),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
