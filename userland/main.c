// SPDX-License-Identifier: GPL-2.0-only
/*
 * popf: the command. Subcommands are in cmd-*.c.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "error.h"

#ifndef POPF_VERSION
#define POPF_VERSION "unknown"
#endif

static const char help_text[] =
"Usage: popf COMMAND [options]\n"
"\n"
"Runs virtual machines on hosts without hardware virtualization.\n"
"\n"
"  run        start a guest\n"
"  record     start a guest and record what is translated and executed\n"
"  stream     look at recorded streams, cut and compare them\n"
"  doctor     say whether this host can run popf, and what to do otherwise\n"
"  version    print the version\n"
"  help       this text\n"
"\n"
"'popf COMMAND --help' tells more; popf(1) tells everything.\n";

static int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	puts("popf " POPF_VERSION);
	return POPF_EXIT_OK;
}

static int cmd_help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fputs(help_text, stdout);
	return POPF_EXIT_OK;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "run", cmd_run },
	{ "record", cmd_record },
	{ "stream", cmd_stream },
	{ "doctor", cmd_doctor },
	{ "version", cmd_version },
	{ "--version", cmd_version },
	{ "help", cmd_help },
	{ "--help", cmd_help },
	{ "-h", cmd_help },
};

/*
 * With one of the three standard descriptors closed, the next file opened would
 * take its number, and guest output would go there.
 */
static void open_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	unsigned int i;

	open_standard_fds();
	if (argc < 2) {
		fputs("popf: no command given: try 'popf help'\n", stderr);
		return POPF_EXIT_CALLER;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "popf: there is no command '%s': try 'popf help'\n",
		argv[1]);
	return POPF_EXIT_CALLER;
}
