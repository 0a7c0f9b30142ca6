// SPDX-License-Identifier: GPL-2.0-only
/*
 * Console.
 *
 * Output is collected and written at each newline, when enough has come
 * together, or after a few milliseconds; a slow reader stops the guest rather
 * than losing its output, and never stops the event thread. The descriptors
 * stay in blocking mode, because their flags are shared with other processes:
 * poll() says when a write of limited size will not block.
 *
 * Invariants:
 *  1. Everything below in_fd/out_fd is guarded by the machine's lock.
 *  2. out_full is set while less than CONSOLE_LOW bytes are free.
 */
#include "console.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define CONSOLE_LOW	1024	/* free bytes below which the guest waits */
#define CONSOLE_BATCH	256	/* write at once when this much is there */
#define CONSOLE_CHUNK	2048	/* at most this much per write */
#define FLUSH_NS	4000000L

int console_init(struct console *c, struct machine *m, int in_fd, int out_fd,
		 struct error *err)
{
	memset(c, 0, sizeof(*c));
	c->machine = m;
	c->in_fd = in_fd;
	c->out_fd = out_fd;
	c->in_open = true;
	c->in_tty = isatty(in_fd);
	pthread_cond_init(&c->out_room, NULL);
	c->flush_timer = timerfd_create(CLOCK_MONOTONIC,
					TFD_CLOEXEC | TFD_NONBLOCK);
	if (c->flush_timer < 0)
		return error_failure(err, "cannot set up the console: %s",
				     strerror(errno));
	return 0;
}

void console_destroy(struct console *c)
{
	if (c->flush_timer >= 0)
		close(c->flush_timer);
	pthread_cond_destroy(&c->out_room);
}

/* --- output -------------------------------------------------------------- */

static bool writable(int fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int r;

	do {
		r = poll(&pfd, 1, timeout_ms);
	} while (r < 0 && errno == EINTR);
	return r > 0;
}

/* The reader has gone: nobody will ever see the rest. */
static void output_lost(struct console *c)
{
	c->out_lost = true;
	c->out_count = 0;
	if (errno == EPIPE) {
		c->machine->stop_signal = SIGPIPE;
		machine_stop(c->machine, MACHINE_SIGNAL, NULL);
	}
}

/* Writes one chunk; false when nothing can be written now. */
static bool write_chunk(struct console *c, int timeout_ms)
{
	size_t len = CONSOLE_OUT - c->out_head;
	ssize_t n;

	if (!c->out_count || !writable(c->out_fd, timeout_ms))
		return false;
	if (len > c->out_count)
		len = c->out_count;
	if (len > CONSOLE_CHUNK)
		len = CONSOLE_CHUNK;
	n = write(c->out_fd, c->out + c->out_head, len);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			output_lost(c);
		return false;
	}
	c->out_head = (c->out_head + n) % CONSOLE_OUT;
	c->out_count -= n;
	return true;
}

static void update_full(struct console *c)
{
	bool full = CONSOLE_OUT - c->out_count < CONSOLE_LOW;

	if (atomic_exchange(&c->out_full, full) && !full)
		pthread_cond_broadcast(&c->out_room);
}

static void flush(struct console *c)
{
	while (write_chunk(c, 0))
		;
	update_full(c);
}

static void arm_flush(struct console *c)
{
	const struct itimerspec its = { .it_value = { .tv_nsec = FLUSH_NS } };

	if (c->flush_armed)
		return;
	c->flush_armed = true;
	timerfd_settime(c->flush_timer, 0, &its, NULL);
}

static void put_out(struct console *c, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len-- && c->out_count < CONSOLE_OUT && !c->out_lost) {
		c->out[(c->out_head + c->out_count++) % CONSOLE_OUT] = *p++;
	}
}

void console_tx(void *opaque, uint8_t ch)
{
	struct console *c = opaque;

	put_out(c, &ch, 1);
	if (ch == '\n' || c->out_count == CONSOLE_BATCH)
		flush(c);
	/* this also finds what a full pipe or terminal did not take */
	if (c->out_count)
		arm_flush(c);
	update_full(c);
}

void console_flush_expired(struct console *c)
{
	uint64_t count;

	if (read(c->flush_timer, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&c->machine->lock);
	c->flush_armed = false;
	flush(c);
	pthread_mutex_unlock(&c->machine->lock);
}

/* Output that poll() has to wait for: the flush timer has come and gone. */
bool console_wants_output(struct console *c)
{
	bool wants;

	pthread_mutex_lock(&c->machine->lock);
	wants = c->out_count && !c->flush_armed;
	pthread_mutex_unlock(&c->machine->lock);
	return wants;
}

void console_output(struct console *c)
{
	pthread_mutex_lock(&c->machine->lock);
	flush(c);
	pthread_mutex_unlock(&c->machine->lock);
}

void console_throttle(struct console *c)
{
	struct machine *m = c->machine;

	if (!atomic_load(&c->out_full))
		return;
	pthread_mutex_lock(&m->lock);
	while (atomic_load(&c->out_full) && !machine_stopped(m))
		pthread_cond_wait(&c->out_room, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

void console_stop(struct console *c)
{
	pthread_mutex_lock(&c->machine->lock);
	pthread_cond_broadcast(&c->out_room);
	pthread_mutex_unlock(&c->machine->lock);
}

void console_drain(struct console *c, int timeout_ms)
{
	while (write_chunk(c, timeout_ms))
		;
}

/* --- input --------------------------------------------------------------- */

static void feed(struct console *c)
{
	while (c->in_count) {
		size_t len = CONSOLE_IN - c->in_head;
		size_t n;

		if (len > c->in_count)
			len = c->in_count;
		n = ns16550_rx(&c->machine->uart, c->in + c->in_head, len);
		if (!n)
			return;
		c->in_head = (c->in_head + n) % CONSOLE_IN;
		c->in_count -= n;
	}
}

void console_rx_room(void *opaque)
{
	const uint64_t one = 1;
	struct console *c = opaque;
	bool held = c->in_count > CONSOLE_IN / 2;

	feed(c);
	/* the event thread had stopped reading: tell it to look again */
	if (held && c->in_count <= CONSOLE_IN / 2 &&
	    write(c->machine->wake, &one, sizeof(one)) < 0)
		return;
}

/*
 * Input for a guest that does not read is held in the pipe or file it comes
 * from. A terminal is always read, or the escape key would not work.
 */
bool console_wants_input(struct console *c)
{
	bool wants;

	pthread_mutex_lock(&c->machine->lock);
	wants = c->in_open && (c->in_tty || c->in_count <= CONSOLE_IN / 2);
	pthread_mutex_unlock(&c->machine->lock);
	return wants;
}

static void put_in(struct console *c, uint8_t ch)
{
	if (c->in_count < CONSOLE_IN)
		c->in[(c->in_head + c->in_count++) % CONSOLE_IN] = ch;
}

static void input_byte(struct console *c, uint8_t ch)
{
	enum escape_action action = ESCAPE_PASS;

	if (c->in_tty)
		action = escape_feed(&c->escape, ch);
	switch (action) {
	case ESCAPE_PASS:
		put_in(c, ch);
		break;
	case ESCAPE_QUIT:
		c->machine->stop_signal = SIGINT;
		machine_stop(c->machine, MACHINE_SIGNAL, NULL);
		break;
	case ESCAPE_HELP:
		put_out(c, escape_help, strlen(escape_help));
		flush(c);
		break;
	case ESCAPE_BREAK:
		ns16550_rx_break(&c->machine->uart);
		break;
	case ESCAPE_POWER:
		acpi_pm_power_button(&c->machine->pm);
		break;
	case ESCAPE_NOTHING:
		break;
	}
}

void console_input(struct console *c)
{
	uint8_t buf[256];
	ssize_t n = read(c->in_fd, buf, sizeof(buf));
	ssize_t i;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	pthread_mutex_lock(&c->machine->lock);
	/* end of file, or a terminal that has gone: the guest runs on */
	if (n <= 0)
		c->in_open = false;
	for (i = 0; i < n; i++)
		input_byte(c, buf[i]);
	feed(c);
	pthread_mutex_unlock(&c->machine->lock);
}
