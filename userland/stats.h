/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Statistics of a run, written as one JSON object.
 */
#ifndef POPF_USERLAND_STATS_H
#define POPF_USERLAND_STATS_H

#include <stdint.h>
#include <stdio.h>

#include "../devices/bus.h"
#include "vcpu.h"

/*
 * Marks: each byte the guest writes to this port of the DMA page registers,
 * which has no function, makes a snapshot of the module's statistics under that
 * number.
 */
#define STATS_MARK_PORT	0x84
#define STATS_MARKS	256
#define STATS_VALUES	128	/* statistics of one file in a snapshot */

struct stats_mark {
	uint8_t number;
	uint64_t vm[STATS_VALUES];
	uint64_t vcpu[STATS_VALUES];
};

/* Everything is opened beforehand: the sandbox forbids it later. */
struct stats {
	FILE *out;
	char buf[4096];		/* of out */
	int vm_fd;		/* binary statistics, -1: the module has none */
	int vcpu_fd;
	int status_fd;		/* /proc/self/status, -1: none */
	uint64_t begin_ns;	/* monotonic, when the command began */
	uint64_t start_ns;	/* when the vCPU started */
	struct stats_mark *marks;	/* STATS_MARKS of them, or a null pointer */
	unsigned int marks_count;
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
 * Makes the port take marks. Returns 0, -ENOMEM, or an error of bus_add().
 */
int stats_add_marks(struct stats *st, struct bus *pio);

/*
 * One binary statistics file as the members of a JSON object, each line
 * indented by indent. Writes nothing but "{}" when the file makes no sense.
 */
void stats_binary(FILE *out, int fd, const char *indent);

#endif
