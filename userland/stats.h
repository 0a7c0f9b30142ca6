/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Statistics of a run, written as one JSON object.
 */
#ifndef POPF_USERLAND_STATS_H
#define POPF_USERLAND_STATS_H

#include <stdint.h>
#include <stdio.h>

#include "vcpu.h"

/* Everything is opened beforehand: the sandbox forbids it later. */
struct stats {
	FILE *out;
	char buf[4096];		/* of out */
	int vm_fd;		/* binary statistics, -1: the module has none */
	int vcpu_fd;
	int status_fd;		/* /proc/self/status, -1: none */
	uint64_t begin_ns;	/* monotonic, when the command began */
	uint64_t start_ns;	/* when the vCPU started */
};

struct stats_result {
	const char *end;	/* "power-off", ... */
	int exit_code;
	uint64_t end_ns;
};

/* Writes and closes st->out. Returns 0 or a negative errno. */
int stats_write(struct stats *st, const struct stats_result *res,
		const struct vcpu *v);

/*
 * One binary statistics file as the members of a JSON object, each line
 * indented by indent. Writes nothing but "{}" when the file makes no sense.
 */
void stats_binary(FILE *out, int fd, const char *indent);

#endif
