/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The escape key of the console: Ctrl-A, then a letter.
 */
#ifndef POPF_USERLAND_ESCAPE_H
#define POPF_USERLAND_ESCAPE_H

#include <stdbool.h>
#include <stdint.h>

#define ESCAPE_KEY	0x01

struct escape {
	bool seen;		/* the last byte was the escape key */
};

enum escape_action {
	ESCAPE_PASS,		/* give the byte to the guest */
	ESCAPE_NOTHING,		/* swallowed */
	ESCAPE_QUIT,		/* Ctrl-A x */
	ESCAPE_HELP,		/* Ctrl-A h, Ctrl-A ? */
	ESCAPE_BREAK,		/* Ctrl-A b */
	ESCAPE_POWER,		/* Ctrl-A p: the power button */
};

extern const char escape_help[];

enum escape_action escape_feed(struct escape *e, uint8_t ch);

#endif
