/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The serial port on standard input and output.
 */
#ifndef POPF_USERLAND_CONSOLE_H
#define POPF_USERLAND_CONSOLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "escape.h"
#include "machine.h"

#define CONSOLE_OUT	65536
#define CONSOLE_IN	4096

struct console {
	struct machine *machine;
	int in_fd;
	int out_fd;
	int flush_timer;	/* timerfd: output is waiting for company */
	bool in_open;		/* no end of file seen yet */
	bool in_tty;		/* input has the escape key, and is never held */
	bool flush_armed;
	bool out_lost;		/* out_fd cannot be written any more */
	struct escape escape;

	/* ring of bytes from the guest not yet written */
	uint8_t out[CONSOLE_OUT];
	size_t out_head;
	size_t out_count;
	atomic_bool out_full;
	pthread_cond_t out_room;

	/* bytes for the guest its FIFO had no room for */
	uint8_t in[CONSOLE_IN];
	size_t in_head;
	size_t in_count;
};

int console_init(struct console *c, struct machine *m, int in_fd, int out_fd,
		 struct error *err);
void console_destroy(struct console *c);

/* Callbacks of the machine; opaque is the console, the machine's lock held. */
void console_tx(void *opaque, uint8_t ch);
void console_rx_room(void *opaque);

/* For the event thread; each takes the machine's lock. */
bool console_wants_input(struct console *c);
bool console_wants_output(struct console *c);
void console_input(struct console *c);
void console_output(struct console *c);
void console_flush_expired(struct console *c);

/* A vCPU thread that has filled the ring waits here, without the lock. */
void console_throttle(struct console *c);

/* Wakes console_throttle() because the machine has stopped. */
void console_stop(struct console *c);

/* Writes what is left, for at most timeout_ms. */
void console_drain(struct console *c, int timeout_ms);

#endif
