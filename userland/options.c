// SPDX-License-Identifier: GPL-2.0-only
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvm.h"

#define MEMORY_MIN	(2ULL << 20)
#define MEMORY_MAX	(1ULL << 40)

const char options_run_help[] =
"Usage: popf run --kernel FILE [options]\n"
"\n"
"Boots a Linux kernel in a virtual machine, its serial port (ttyS0) on standard\n"
"input and output. On a terminal, Ctrl-A h lists the keys; Ctrl-A x ends popf.\n"
"\n"
"  --kernel FILE      64-bit Linux kernel: bzImage or ELF vmlinux\n"
"  --initrd FILE      initial RAM file system\n"
"  --cmdline TEXT     kernel command line (default: console=ttyS0)\n"
"  --memory SIZE      guest memory, as 512M or 2G (default: 512M); with\n"
"                     ,hugepages=on from the host's huge page pool, ,hugepages=thp\n"
"                     transparently or not at all, ,hugepages=off never\n"
"  --cpus N           virtual CPUs; only 1 so far\n"
"  --console stdio    where the serial port goes; only stdio so far\n"
"  --device PATH      the module's device (default: $POPF_DEVICE or /dev/popf)\n"
"  --stats FILE       write statistics to FILE at exit, as JSON\n"
"  --record FILE      record what is translated and executed: see popf record\n"
"  --no-sandbox       do not restrict the system calls of this process\n"
"  -v, --verbose      say what is being done\n"
"  -h, --help         this text\n"
"\n"
"Exit status: 0 the guest powered off, 1 popf or the host failed, 2 something\n"
"you gave is wrong, 3 triple fault, 4 stopped by the monitor, 5 the guest asked\n"
"for a reset, 128 + N ended by signal N (Ctrl-A x counts as an interrupt).\n";

enum {
	OPT_KERNEL = 256, OPT_INITRD, OPT_CMDLINE, OPT_MEMORY, OPT_CPUS,
	OPT_DEVICE, OPT_STATS, OPT_CONSOLE, OPT_NO_SANDBOX, OPT_RECORD,
	OPT_RECORD_FROM, OPT_RECORD_UNTIL, OPT_RECORD_NOTE, OPT_RECORD_WINDOW,
	OPT_RECORD_BURST, OPT_RECORD_GAP,
};

static const struct option long_options[] = {
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "cmdline", required_argument, NULL, OPT_CMDLINE },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "stats", required_argument, NULL, OPT_STATS },
	{ "console", required_argument, NULL, OPT_CONSOLE },
	{ "record", required_argument, NULL, OPT_RECORD },
	{ "record-from", required_argument, NULL, OPT_RECORD_FROM },
	{ "record-until", required_argument, NULL, OPT_RECORD_UNTIL },
	{ "record-note", required_argument, NULL, OPT_RECORD_NOTE },
	{ "record-window", required_argument, NULL, OPT_RECORD_WINDOW },
	{ "record-burst", required_argument, NULL, OPT_RECORD_BURST },
	{ "record-gap", required_argument, NULL, OPT_RECORD_GAP },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int shift_of(const char *suffix)
{
	static const char units[] = "kmgt";
	const char *unit;

	if (!*suffix)
		return 20;
	unit = strchr(units, *suffix | 0x20);
	if (!unit)
		return -1;
	suffix++;
	/* M, MB and MiB are the same here */
	if (*suffix == 'i')
		suffix++;
	if (*suffix == 'B')
		suffix++;
	return *suffix ? -1 : 10 * (int)(unit - units + 1);
}

static int parse_pages(const char *arg, enum guest_pages *pages,
		       struct error *err)
{
	if (!strcmp(arg, "hugepages=on"))
		*pages = GUEST_PAGES_HUGE;
	else if (!strcmp(arg, "hugepages=thp"))
		*pages = GUEST_PAGES_THP;
	else if (!strcmp(arg, "hugepages=off"))
		*pages = GUEST_PAGES_SMALL;
	else
		return error_caller(err, "'%s' is not known after --memory SIZE: give hugepages=on, thp or off",
				    arg);
	return 0;
}

int options_memory(const char *arg, uint64_t *bytes, enum guest_pages *pages,
		   struct error *err)
{
	const char *digits = strncmp(arg, "size=", 5) ? arg : arg + 5;
	const char *comma = strchr(arg, ',');
	char suffix[8] = "";
	unsigned long long val;
	char *end;
	int shift;

	errno = 0;
	val = strtoull(digits, &end, 10);
	/* One character too many stays one. */
	if (comma)
		snprintf(suffix, sizeof(suffix), "%.*s", (int)(comma - end), end);
	shift = shift_of(comma ? suffix : end);
	if (comma && parse_pages(comma + 1, pages, err))
		return -1;
	if (*digits < '0' || *digits > '9' || shift < 0)
		return error_caller(err, "'%s' is not a memory size: write it as 512M or 2G",
				    arg);
	if (errno || val > MEMORY_MAX >> shift)
		return error_caller(err, "--memory %s is more than the 1 TiB popf can give",
				    arg);
	*bytes = (uint64_t)val << shift;
	if (*bytes < MEMORY_MIN)
		return error_caller(err, "--memory %s is too little to boot anything: give at least 64M",
				    arg);
	*bytes &= ~4095ULL;
	return 0;
}

static int parse_cpus(const char *arg, unsigned int *cpus, struct error *err)
{
	char *end;
	unsigned long val = strtoul(arg, &end, 10);

	if (end == arg || *end || *arg == '-' || val == 0)
		return error_caller(err, "'%s' is not a number of CPUs: give --cpus 1",
				    arg);
	if (val != 1)
		return error_caller(err, "--cpus %s: popf runs guests with one CPU so far; give --cpus 1",
				    arg);
	*cpus = val;
	return 0;
}

/* A number of entries: plain, or with k, m or g for powers of 1000. */
static int parse_entries(const char *arg, uint64_t *out, struct error *err)
{
	static const char units[] = "kmg";
	unsigned long long val;
	const char *unit;
	char *end;

	errno = 0;
	val = strtoull(arg, &end, 10);
	for (unit = units; *end && *unit && (*end | 0x20) != *unit; unit++)
		;
	if (*arg < '0' || *arg > '9' || errno || val > 1ULL << 40 ||
	    (*end && (!*unit || end[1])))
		return error_caller(err, "'%s' is not a number of entries: write it as 200000 or 2m",
				    arg);
	*out = val;
	if (*end) {
		do {
			*out *= 1000;
		} while (unit-- > units);
	}
	return 0;
}

static int parse_text(const char *arg, const char **out, struct error *err)
{
	if (!*arg || strlen(arg) > RECORD_TEXT_MAX)
		return error_caller(err, "'%s' cannot be looked for in the guest's output: give 1 to %d characters",
				    arg, RECORD_TEXT_MAX);
	*out = arg;
	return 0;
}

static int parse_record(struct record_options *rec, int c, const char *arg,
			struct error *err)
{
	switch (c) {
	case OPT_RECORD:
		rec->out = arg;
		break;
	case OPT_RECORD_NOTE:
		rec->note = arg;
		break;
	case OPT_RECORD_FROM:
		return parse_text(arg, &rec->from, err);
	case OPT_RECORD_UNTIL:
		return parse_text(arg, &rec->until, err);
	case OPT_RECORD_WINDOW:
		return parse_entries(arg, &rec->window, err);
	case OPT_RECORD_BURST:
		return parse_entries(arg, &rec->burst, err);
	case OPT_RECORD_GAP:
		return parse_entries(arg, &rec->gap, err);
	}
	return 0;
}

static int parse_one(struct run_options *opt, int c, const char *arg,
		     struct error *err)
{
	switch (c) {
	case OPT_KERNEL:
		opt->kernel = arg;
		break;
	case OPT_INITRD:
		opt->initrd = arg;
		break;
	case OPT_CMDLINE:
		opt->cmdline = arg;
		break;
	case OPT_MEMORY:
		return options_memory(arg, &opt->memory, &opt->pages, err);
	case OPT_CPUS:
		return parse_cpus(arg, &opt->cpus, err);
	case OPT_DEVICE:
		opt->device = arg;
		break;
	case OPT_STATS:
		opt->stats = arg;
		break;
	case OPT_CONSOLE:
		if (strcmp(arg, "stdio"))
			return error_caller(err, "--console %s is not known: give --console stdio",
					    arg);
		break;
	case OPT_NO_SANDBOX:
		opt->sandbox = false;
		break;
	case OPT_RECORD:
	case OPT_RECORD_FROM:
	case OPT_RECORD_UNTIL:
	case OPT_RECORD_NOTE:
	case OPT_RECORD_WINDOW:
	case OPT_RECORD_BURST:
	case OPT_RECORD_GAP:
		return parse_record(&opt->record, c, arg, err);
	case 'v':
		opt->verbose = true;
		break;
	case 'h':
		opt->help = true;
		break;
	}
	return 0;
}

static int bad_option(int c, char **argv, struct error *err)
{
	const char *what = argv[optind - 1];

	if (c == ':')
		return error_caller(err, "the option %s needs a value: see 'popf run --help'",
				    what);
	return error_caller(err, "there is no option %s: see 'popf run --help'",
			    what);
}

static const char *default_device(void)
{
	const char *device = getenv("POPF_DEVICE");

	return device && *device ? device : POPF_DEFAULT_DEVICE;
}

int options_parse(struct run_options *opt, int argc, char **argv,
		  struct error *err)
{
	int c;

	*opt = (struct run_options){
		.cmdline = "console=ttyS0",
		.device = default_device(),
		.memory = DEFAULT_MEMORY,
		.cpus = 1,
		.sandbox = true,
		.record = { .window = RECORD_WINDOW, .burst = RECORD_BURST,
			    .gap = RECORD_GAP },
	};
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:hv", long_options, NULL)) != -1) {
		if (c == '?' || c == ':')
			return bad_option(c, argv, err);
		if (parse_one(opt, c, optarg, err) < 0)
			return -1;
	}
	if (opt->help)
		return 0;
	if (optind < argc)
		return error_caller(err, "'%s' is not an option: see 'popf run --help'",
				    argv[optind]);
	if (!opt->record.burst)
		return error_caller(err, "--record-burst must be at least 1");
	if (!opt->kernel)
		return error_caller(err, "no kernel given: add --kernel FILE (a bzImage or ELF vmlinux)");
	return 0;
}
