/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options of `popf run`.
 */
#ifndef POPF_USERLAND_OPTIONS_H
#define POPF_USERLAND_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "guest-mem.h"
#include "record.h"

#define DEFAULT_MEMORY	(512ULL << 20)

struct run_options {
	const char *kernel;
	const char *initrd;
	const char *cmdline;
	const char *device;
	const char *stats;
	uint64_t memory;	/* bytes */
	enum guest_pages pages;
	unsigned int cpus;
	struct record_options record;
	bool sandbox;
	bool verbose;
	bool help;
};

/* argv[0] is the subcommand. The strings point into argv. */
int options_parse(struct run_options *opt, int argc, char **argv,
		  struct error *err);

/*
 * "512M", "2G", "size=1G"; a bare number is MiB. What follows a comma is
 * "hugepages=on", "thp" or "off"; *pages is left alone otherwise.
 */
int options_memory(const char *arg, uint64_t *bytes, enum guest_pages *pages,
		   struct error *err);

extern const char options_run_help[];

#endif
