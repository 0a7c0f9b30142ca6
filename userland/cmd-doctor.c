// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "commands.h"
#include "doctor.h"
#include "error.h"
#include "kvm.h"

static const char doctor_help[] =
"Usage: popf doctor\n"
"\n"
"Checks whether this host can run popf. Each line begins with ok, warn or fail\n"
"and says what to do. Exit status: 0 if nothing failed, else 1.\n";

int cmd_doctor(int argc, char **argv)
{
	const char *device = getenv("POPF_DEVICE");
	struct utsname uts;
	struct doctor_env env = {
		.root = "",
		.device = device && *device ? device : POPF_DEFAULT_DEVICE,
		.is_root = geteuid() == 0,
		.out = stdout,
	};

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(doctor_help, stdout);
		return POPF_EXIT_OK;
	}
	if (argc > 1) {
		fprintf(stderr, "popf: '%s' is not an option: see 'popf doctor --help'\n",
			argv[1]);
		return POPF_EXIT_CALLER;
	}
	if (uname(&uts) < 0) {
		perror("popf: uname");
		return POPF_EXIT_FAILURE;
	}
	env.release = uts.release;
	env.machine = uts.machine;
	return doctor_run(&env) ? POPF_EXIT_FAILURE : POPF_EXIT_OK;
}
