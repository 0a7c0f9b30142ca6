/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef POPF_USERLAND_SANDBOX_H
#define POPF_USERLAND_SANDBOX_H

#include "error.h"

/*
 * From now on every thread of this process may only make the system calls a
 * running VM needs; any other raises SIGSYS. Nothing can be opened any more.
 */
int sandbox_enter(struct error *err);

#endif
