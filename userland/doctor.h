/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether a host can run popf. Every check prints one line that begins with
 * "ok", "warn" or "fail" and, unless all is well, says what to do.
 */
#ifndef POPF_USERLAND_DOCTOR_H
#define POPF_USERLAND_DOCTOR_H

#include <stdbool.h>
#include <stdio.h>

/* Where to look; tests give a directory of their own as root. */
struct doctor_env {
	const char *root;	/* "" for the real one */
	const char *release;	/* of the kernel, as uname -r */
	const char *machine;	/* as uname -m */
	const char *device;	/* the module's node, below root */
	bool is_root;		/* may this process load modules? */
	FILE *out;
};

/* Returns the number of checks that failed. */
unsigned int doctor_run(const struct doctor_env *env);

#endif
