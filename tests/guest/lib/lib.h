/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the runtime share.
 */
#ifndef GUEST_LIB_H
#define GUEST_LIB_H

#include "guest.h"

void print_list(const char *fmt, va_list ap);
void set_command_line(const char *text);
bool option_selects(const char *name);

void trap_init(void);
void trap_dispatch(struct trap *t);
/* Put GDT, IDT, TSS, segments and handlers back. */
void trap_reset(void);

void guest_main(u64 command_line_pa);

#endif
