// SPDX-License-Identifier: GPL-2.0-only
/*
 * What debuggers need: breakpoints, single-step, watchpoints, system-call stops.
 */
#include "check.h"

#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#ifdef __x86_64__
#define PC(r) ((r).rip)
#define STEP_BACK(r) ((r).rip--)
#else
#define PC(r) ((unsigned long)(r).eip)
#define STEP_BACK(r) ((r).eip--)
#endif

static volatile int watched;

/* A child that stops itself, then runs body. */
static pid_t start(void (*body)(void))
{
	pid_t pid = CHECK_CALL(fork());
	int status;

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		body();
		_exit(42);
	}
	CHECK_CALL(waitpid(pid, &status, 0));
	CHECK(WIFSTOPPED(status), "status %x", status);
	return pid;
}

static int go(pid_t pid, int how)
{
	int status;

	CHECK_CALL(ptrace(how, pid, NULL, NULL));
	CHECK_CALL(waitpid(pid, &status, 0));
	return status;
}

static void quiet(void)
{
	int i;

	for (i = 0; i < 50; i++)
		watched += i;
	getppid();
	watched = 1;
}

static void single_step(void)
{
	struct user_regs_struct r;
	pid_t pid = start(quiet);
	int i, status = 0, moved = 0;
	unsigned long last = 0;

	for (i = 0; i < 500; i++) {
		status = go(pid, PTRACE_SINGLESTEP);
		if (!WIFSTOPPED(status))
			break;
		CHECK(WSTOPSIG(status) == SIGTRAP, "signal %d at step %d", WSTOPSIG(status), i);
		CHECK_CALL(ptrace(PTRACE_GETREGS, pid, NULL, &r));
		moved += PC(r) != last;
		last = PC(r);
	}
	CHECK(moved > 200, "only %d steps", moved);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

static __attribute__((noinline)) void target(void)
{
	watched++;
}

static void call_target(void)
{
	int i;

	for (i = 0; i < 5; i++)
		target();
}

static void software_breakpoint(void)
{
	struct user_regs_struct r;
	pid_t pid = start(call_target);
	long word = ptrace(PTRACE_PEEKTEXT, pid, (void *)target, NULL);
	int status, hits = 0;

	for (;;) {
		CHECK_CALL(ptrace(PTRACE_POKETEXT, pid, (void *)target, (word & ~0xffl) | 0xcc));
		status = go(pid, PTRACE_CONT);
		if (WIFEXITED(status))
			break;
		CHECK(WSTOPSIG(status) == SIGTRAP, "signal %d", WSTOPSIG(status));
		hits++;
		CHECK_CALL(ptrace(PTRACE_GETREGS, pid, NULL, &r));
		CHECK(PC(r) == (unsigned long)target + 1, "at %lx", (long)PC(r));
		STEP_BACK(r);
		CHECK_CALL(ptrace(PTRACE_SETREGS, pid, NULL, &r));
		CHECK_CALL(ptrace(PTRACE_POKETEXT, pid, (void *)target, word));
		status = go(pid, PTRACE_SINGLESTEP);
	}
	CHECK(hits == 5, "%d hits", hits);
	CHECK(WEXITSTATUS(status) == 42, "status %x", status);
}

static void set_debug(pid_t pid, int reg, unsigned long value)
{
	CHECK_CALL(ptrace(PTRACE_POKEUSER, pid,
			  offsetof(struct user, u_debugreg) + reg * sizeof(long), value));
}

static void hardware_watchpoint(void)
{
	pid_t pid = start(call_target);
	int status, hits = 0;

	set_debug(pid, 0, (unsigned long)&watched);
	set_debug(pid, 7, 0x401 | 1 | 0xdul << 16);
	for (;;) {
		status = go(pid, PTRACE_CONT);
		if (WIFEXITED(status))
			break;
		hits++;
	}
	CHECK(hits == 5, "%d hits", hits);
}

static void hardware_breakpoint(void)
{
	pid_t pid = start(call_target);
	int status, hits = 0;

	set_debug(pid, 0, (unsigned long)target);
	set_debug(pid, 7, 0x401 | 1);
	for (;;) {
		status = go(pid, PTRACE_CONT);
		if (WIFEXITED(status))
			break;
		hits++;
	}
	CHECK(hits == 5, "%d hits", hits);
}

static void system_call_stops(void)
{
	pid_t pid = start(quiet);
	int status, stops = 0;

	for (;;) {
		status = go(pid, PTRACE_SYSCALL);
		if (WIFEXITED(status))
			break;
		stops++;
	}
	/* getppid twice, exit once */
	CHECK(stops >= 3, "%d stops", stops);
	CHECK(WEXITSTATUS(status) == 42, "status %x", status);
}

#ifdef __x86_64__

static unsigned long kernel_symbol(const char *name)
{
	char line[256], symbol[128];
	unsigned long address, found = 0;
	FILE *f = fopen("/proc/kallsyms", "r");

	CHECK(f, "/proc/kallsyms");
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %*c %127s", &address, symbol) == 2 &&
		    !strcmp(symbol, name))
			found = address;
	}
	fclose(f);
	if (!found)
		skipped("the kernel does not say where its symbols are");
	return found;
}

/* Count what a breakpoint on the kernel sees while this process runs. */
static int count_hits(unsigned int type, unsigned long address, unsigned long len)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT, .size = sizeof(attr), .bp_type = type,
		.bp_addr = address, .bp_len = len,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);

	if (fd < 0 && (errno == ENOENT || errno == ENOSYS || errno == EOPNOTSUPP))
		skipped("the kernel has no breakpoint events");
	return CHECK_CALL(fd);
}

static uint64_t hits_of(int fd)
{
	uint64_t count = 0;

	CHECK(read(fd, &count, sizeof(count)) == sizeof(count), "read");
	return count;
}

static void breakpoint_on_a_kernel_function(void)
{
	int fd = count_hits(HW_BREAKPOINT_X, kernel_symbol("__x64_sys_getppid"), sizeof(long));
	int i;

	for (i = 0; i < 100; i++)
		syscall(SYS_getppid);
	CHECK(hits_of(fd) == 100, "%ld hits", (long)hits_of(fd));
	close(fd);
	for (i = 0; i < 100; i++)
		syscall(SYS_getppid);
}

static void watchpoint_on_kernel_data(void)
{
	int fd = count_hits(HW_BREAKPOINT_W, kernel_symbol("jiffies_64"), HW_BREAKPOINT_LEN_8);
	int64_t until = now_ns(CLOCK_MONOTONIC) + 200000000;

	while (now_ns(CLOCK_MONOTONIC) < until && !hits_of(fd))
		;
	CHECK(hits_of(fd), "no hit in 200 ms");
}

#endif

const struct check debug_checks[] = {
	{ "single_step", single_step, 0 },
	{ "software_breakpoint", software_breakpoint, 0 },
	{ "hardware_watchpoint", hardware_watchpoint, 0 },
	{ "hardware_breakpoint", hardware_breakpoint, 0 },
#ifdef __x86_64__
	{ "breakpoint_on_a_kernel_function", breakpoint_on_a_kernel_function, 0 },
	{ "watchpoint_on_kernel_data", watchpoint_on_kernel_data, 0 },
#endif
	{ "system_call_stops", system_call_stops, 0 },
	{ 0 },
};
