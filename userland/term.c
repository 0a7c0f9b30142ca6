// SPDX-License-Identifier: GPL-2.0-only
/*
 * Terminal mode. The saved mode is the one global of the command: a signal
 * handler has no other way to it. Only async-signal-safe calls are made here
 * after term_raw().
 */
#include "term.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static struct {
	struct termios saved;
	int fd;
	volatile sig_atomic_t raw;
} term;

void term_restore(void)
{
	sigset_t ttou, old;

	if (!term.raw)
		return;
	term.raw = 0;
	/* a background process that changes the mode would be stopped */
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &ttou, &old);
	tcsetattr(term.fd, TCSANOW, &term.saved);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

bool term_raw(int fd)
{
	struct termios raw;

	if (term.raw || !isatty(fd) || tcgetattr(fd, &term.saved) < 0)
		return false;
	raw = term.saved;
	cfmakeraw(&raw);
	term.fd = fd;
	if (tcsetattr(fd, TCSANOW, &raw) < 0)
		return false;
	term.raw = 1;
	atexit(term_restore);
	return true;
}

static void put_text(const char *s)
{
	if (write(STDERR_FILENO, s, strlen(s)) < 0)
		return;
}

static void report_sigsys(const siginfo_t *info)
{
	char digits[16];
	char *p = digits + sizeof(digits);
	unsigned int nr = info->si_syscall;

	*--p = '\0';
	do {
		*--p = '0' + nr % 10;
		nr /= 10;
	} while (nr);
	put_text("popf: the sandbox refused system call ");
	put_text(p);
	put_text("; please report this, and use --no-sandbox meanwhile\n");
}

static void crash_handler(int sig, siginfo_t *info, void *context)
{
	(void)context;
	term_restore();
	if (sig == SIGSYS) {
		report_sigsys(info);
		_exit(1);
	}
	/* SA_RESETHAND: now it ends the process as it would have */
	raise(sig);
}

void term_crash_handlers(void)
{
	static const int signals[] = {
		SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS,
	};
	struct sigaction sa = {
		.sa_sigaction = crash_handler,
		.sa_flags = SA_SIGINFO | SA_RESETHAND,
	};
	unsigned int i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
}
