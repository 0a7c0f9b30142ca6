/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The terminal in raw mode, and back, whatever happens.
 */
#ifndef POPF_USERLAND_TERM_H
#define POPF_USERLAND_TERM_H

#include <stdbool.h>

/*
 * Puts fd into raw mode if it is a terminal, and arranges that the process
 * restores it when it exits or crashes. Returns true when fd is now raw.
 */
bool term_raw(int fd);

/* Back to what term_raw() found; does nothing the second time. */
void term_restore(void);

/*
 * Handlers for the signals that end a process by its own fault: they restore
 * the terminal, and for SIGSYS say which system call the sandbox refused.
 */
void term_crash_handlers(void);

#endif
