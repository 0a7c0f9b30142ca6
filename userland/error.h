/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Exit codes of the command, and the one error a function reports upwards.
 *
 * A function that can fail takes a struct error, fills it once and returns -1.
 * The text is one sentence that tells the user what to do; cmd-run.c prints it.
 */
#ifndef POPF_USERLAND_ERROR_H
#define POPF_USERLAND_ERROR_H

/* Documented in docs/man/popf.1; a process ended by signal N gives 128 + N. */
enum popf_exit {
	POPF_EXIT_OK = 0,	/* the guest powered itself off */
	POPF_EXIT_FAILURE = 1,	/* popf or the host failed */
	POPF_EXIT_CALLER = 2,	/* the caller must change something */
	POPF_EXIT_TRIPLE = 3,	/* the guest's CPU shut down: triple fault */
	POPF_EXIT_MONITOR = 4,	/* the monitor stopped the VM */
	POPF_EXIT_RESET = 5,	/* the guest asked for a reset */
};

struct error {
	enum popf_exit code;
	char text[512];
};

/* Both return -1, so that callers can write "return error_caller(...)". */
int error_caller(struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int error_failure(struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
