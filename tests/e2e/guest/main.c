// SPDX-License-Identifier: GPL-2.0-only
/*
 * check [NAME...]: run all checks or those named.
 */
#include "check.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <time.h>

#define LIMIT 120
#define STATUS_FAILED 1
#define STATUS_SKIPPED 77

static const char *running;

static void report(const char *verdict, const char *fmt, va_list ap)
{
	char text[400];

	vsnprintf(text, sizeof(text), fmt, ap);
	printf("e2e: %s %s%s: %s\n", verdict, running, sizeof(long) == 4 ? "_32" : "", text);
	fflush(stdout);
}

void failed(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report("not ok", fmt, ap);
	_exit(STATUS_FAILED);
}

void skipped(const char *why)
{
	printf("e2e: skip %s%s: %s\n", running, sizeof(long) == 4 ? "_32" : "", why);
	fflush(stdout);
	_exit(STATUS_SKIPPED);
}

int64_t now_ns(int clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static bool run_one(const struct check *c)
{
	unsigned int limit = c->seconds ? c->seconds : LIMIT;
	int status;
	pid_t pid;

	running = c->name;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(limit);
		c->run();
		printf("e2e: ok %s%s\n", c->name, sizeof(long) == 4 ? "_32" : "");
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	if (WIFSIGNALED(status))
		printf("e2e: not ok %s%s: died of signal %d\n", c->name,
		       sizeof(long) == 4 ? "_32" : "", WTERMSIG(status));
	fflush(stdout);
	return WIFEXITED(status) && (!WEXITSTATUS(status) || WEXITSTATUS(status) == STATUS_SKIPPED);
}

static bool wanted(const char *name, char **argv)
{
	if (!argv[1])
		return true;
	while (*++argv) {
		if (!strcmp(name, *argv))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	static const struct check *const lists[] = { process_checks, memory_checks, time_checks,
						     debug_checks, arch_checks };
	const struct check *c;
	bool good = true;
	unsigned int i;

	(void)argc;
	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		for (c = lists[i]; c->name; c++) {
			if (wanted(c->name, argv))
				good = run_one(c) && good;
		}
	}
	return good ? 0 : 1;
}
