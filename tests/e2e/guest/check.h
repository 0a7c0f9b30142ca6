/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A program of checks that runs inside the Debian guest, built twice: 64-bit and
 * 32-bit, static. Each check runs in a process of its own and prints one line,
 * "e2e: ok NAME" or "e2e: not ok NAME: reason".
 */
#ifndef E2E_CHECK_H
#define E2E_CHECK_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct check {
	const char *name;
	void (*run)(void);
	unsigned int seconds; /* limit, 0 for the usual one */
};

/* Ends the check's process. */
void failed(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void skipped(const char *why) __attribute__((noreturn));

#define CHECK(cond, fmt, ...)                                                  \
	do {                                                                   \
		if (!(cond))                                                   \
			failed("%s: " fmt, #cond, ##__VA_ARGS__);              \
	} while (0)

#define CHECK_CALL(call)                                                       \
	({                                                                     \
		long r_ = (long)(call);                                        \
		if (r_ < 0)                                                    \
			failed("%s: %s", #call, strerror(errno));              \
		r_;                                                            \
	})

extern const struct check process_checks[], memory_checks[], time_checks[],
	debug_checks[], arch_checks[];
int64_t now_ns(int clock);

#endif
