// SPDX-License-Identifier: GPL-2.0-only
/*
 * `popf record`: `popf run` with the options that record, under names that are
 * shorter. What is behind "--" goes to `popf run` as it is.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "error.h"

static const char help_text[] =
"Usage: popf record --out FILE [options] -- RUN-OPTIONS\n"
"\n"
"Starts a guest as 'popf run RUN-OPTIONS' does and records what the translator\n"
"sees of its kernel: the code of every translation unit, what is invalidated, and\n"
"the units entered, in order. The guest is slower meanwhile.\n"
"\n"
"  --out FILE     where to write the stream\n"
"  --from TEXT    start when the guest prints TEXT on its console\n"
"  --until TEXT   stop when it prints TEXT after that\n"
"  --window N     record N entries completely (default 1048576; k, m, g: 1000s)\n"
"  --burst N      from then on N at a time (default 65536) ...\n"
"  --gap N        ... and leave out N in between (default 983040); 0: never\n"
"  --note TEXT    a remark to keep with the stream\n"
"  -h, --help     this text\n"
"\n"
"'popf stream' reads the file. Exit status: that of 'popf run', or 1 when the\n"
"guest ended well and the recording did not.\n";

/* The option of `popf run` that each one stands for, by its value. */
static const struct option long_options[] = {
	{ "out", required_argument, NULL, 0 },
	{ "from", required_argument, NULL, 1 },
	{ "until", required_argument, NULL, 2 },
	{ "note", required_argument, NULL, 3 },
	{ "window", required_argument, NULL, 4 },
	{ "burst", required_argument, NULL, 5 },
	{ "gap", required_argument, NULL, 6 },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static char *const run_options[] = {
	"--record", "--record-from", "--record-until", "--record-note",
	"--record-window", "--record-burst", "--record-gap",
};

static int usage(const char *what)
{
	fprintf(stderr, "popf: %s: see 'popf record --help'\n", what);
	return POPF_EXIT_CALLER;
}

int cmd_record(int argc, char **argv)
{
	/* at most one word more for each of ours */
	char **run = calloc((size_t)argc * 2 + 2, sizeof(*run));
	int c, n = 0, status;
	int have_out = 0;

	if (!run)
		return POPF_EXIT_FAILURE;
	run[n++] = "run";
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:h", long_options, NULL)) != -1) {
		if (c == 'h') {
			fputs(help_text, stdout);
			free(run);
			return POPF_EXIT_OK;
		}
		if (c == '?' || c == ':') {
			free(run);
			return usage("there is an option that makes no sense");
		}
		have_out |= c == 0;
		run[n++] = run_options[c];
		run[n++] = optarg;
	}
	if (!have_out || strcmp(argv[optind - 1], "--")) {
		free(run);
		return usage("it takes --out FILE, and the options of 'popf run' behind --");
	}
	while (optind < argc)
		run[n++] = argv[optind++];
	status = cmd_run(n, run);
	free(run);
	return status;
}
