// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files, pipes, processes, threads, signals.
 */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

static uint32_t mix(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static void files(void)
{
	char name[64], other[64];
	static uint8_t out[20000], in[20000];
	uint32_t seed = 1;
	unsigned int i, j;

	CHECK_CALL(mkdir("/tmp/e2e-files", 0700));
	for (i = 0; i < 50; i++) {
		int fd;

		snprintf(name, sizeof(name), "/tmp/e2e-files/%u", i);
		snprintf(other, sizeof(other), "/tmp/e2e-files/renamed-%u", i);
		for (j = 0; j < sizeof(out); j++)
			out[j] = mix(&seed);
		fd = CHECK_CALL(open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
		CHECK(write(fd, out, sizeof(out)) == sizeof(out), "short write");
		CHECK_CALL(rename(name, other));
		CHECK(pread(fd, in, sizeof(in), 0) == sizeof(in), "short read");
		CHECK(!memcmp(in, out, sizeof(in)), "content of file %u", i);
		CHECK_CALL(close(fd));
		CHECK_CALL(unlink(other));
	}
	CHECK_CALL(rmdir("/tmp/e2e-files"));
}

static void pipes(void)
{
	static uint8_t buf[4096];
	uint32_t sent = 0, got = 0, seed = 7;
	unsigned int i, j;
	int p[2], status, n;
	pid_t pid;

	CHECK_CALL(pipe(p));
	pid = CHECK_CALL(fork());
	if (!pid) {
		close(p[0]);
		for (i = 0; i < 256; i++) {
			for (j = 0; j < sizeof(buf); j++)
				buf[j] = mix(&seed);
			if (write(p[1], buf, sizeof(buf)) != sizeof(buf))
				_exit(1);
		}
		_exit(0);
	}
	close(p[1]);
	for (i = 0; i < 256 * sizeof(buf); i++)
		sent += (uint8_t)mix(&seed) * (i % 251 + 1);
	for (i = 0; (n = read(p[0], buf, sizeof(buf))) > 0;) {
		for (j = 0; j < (unsigned int)n; j++, i++)
			got += buf[j] * (i % 251 + 1);
	}
	CHECK_CALL(waitpid(pid, &status, 0));
	CHECK(!status, "writer's status %x", status);
	CHECK(got == sent, "%08x instead of %08x", got, sent);
}

static void fork_and_exec(void)
{
	unsigned int i;
	int status;

	for (i = 0; i < 60; i++) {
		pid_t pid = CHECK_CALL(fork());

		if (!pid) {
			execl("/bin/true", "true", NULL);
			_exit(9);
		}
		CHECK_CALL(waitpid(pid, &status, 0));
		CHECK(!status, "round %u: status %x", i, status);
	}
}

static void copy_on_write(void)
{
	volatile uint8_t *mem = calloc(1, 1 << 20);
	unsigned int i, round;
	int status;

	for (round = 0; round < 5; round++) {
		pid_t pid;

		for (i = 0; i < 1 << 20; i += 4096)
			mem[i] = round;
		pid = CHECK_CALL(fork());
		if (!pid) {
			for (i = 0; i < 1 << 20; i += 4096) {
				if (mem[i] != round)
					_exit(1);
				mem[i] = 99;
			}
			_exit(0);
		}
		for (i = 0; i < 1 << 20; i += 8192)
			mem[i] = 55;
		CHECK_CALL(waitpid(pid, &status, 0));
		CHECK(!status, "the child saw other memory");
		for (i = 0; i < 1 << 20; i += 4096)
			CHECK(mem[i] == (i % 8192 ? round : 55), "at %x", i);
	}
}

static atomic_int shared_count;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int guarded, turn;
static __thread int own;

static void *count_thread(void *arg)
{
	int i;

	own = (int)(intptr_t)arg;
	for (i = 0; i < 2000; i++) {
		atomic_fetch_add(&shared_count, 1);
		pthread_mutex_lock(&mutex);
		guarded++;
		pthread_mutex_unlock(&mutex);
		if (i % 200 == 0)
			sched_yield();
		if (own != (int)(intptr_t)arg)
			return (void *)1;
	}
	return NULL;
}

static void threads(void)
{
	pthread_t t[8];
	void *result;
	int i;

	for (i = 0; i < 8; i++)
		CHECK(!pthread_create(&t[i], NULL, count_thread, (void *)(intptr_t)(i + 1)), "create");
	for (i = 0; i < 8; i++) {
		pthread_join(t[i], &result);
		CHECK(!result, "thread-local storage of thread %d", i);
	}
	CHECK(shared_count == 16000, "%d", shared_count);
	CHECK(guarded == 16000, "%d", guarded);
}

static void *turn_thread(void *arg)
{
	int me = (int)(intptr_t)arg, i;

	pthread_mutex_lock(&mutex);
	for (i = 0; i < 200; i++) {
		while (turn != me)
			pthread_cond_wait(&cond, &mutex);
		turn = !me;
		pthread_cond_broadcast(&cond);
	}
	pthread_mutex_unlock(&mutex);
	return NULL;
}

static void condition_variables(void)
{
	pthread_t t[2];
	int i;

	for (i = 0; i < 2; i++)
		CHECK(!pthread_create(&t[i], NULL, turn_thread, (void *)(intptr_t)i), "create");
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

/* --- floating point in threads that take turns ----------------------------- */

static void *sum_thread(void *arg)
{
	double x = (double)(intptr_t)arg, sum = 0;
	long double y = x, ysum = 0;
	int i;

	for (i = 1; i < 20000; i++) {
		sum += x / i;
		ysum += y / i;
		if (i % 500 == 0)
			sched_yield();
	}
	return (void *)(intptr_t)(int)(sum * 1000 + (double)ysum * 10);
}

static void floating_point_in_threads(void)
{
	void *alone[4], *together[4];
	pthread_t t[4];
	int i;

	for (i = 0; i < 4; i++)
		alone[i] = sum_thread((void *)(intptr_t)(i + 1));
	for (i = 0; i < 4; i++)
		CHECK(!pthread_create(&t[i], NULL, sum_thread, (void *)(intptr_t)(i + 1)), "create");
	for (i = 0; i < 4; i++) {
		pthread_join(t[i], &together[i]);
		CHECK(alone[i] == together[i], "thread %d", i);
	}
}

/* --- signals --------------------------------------------------------------- */

static sigjmp_buf back;
static volatile sig_atomic_t caught, alarms;
static volatile uintptr_t fault_addr;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	caught = sig;
	fault_addr = (uintptr_t)info->si_addr;
	siglongjmp(back, 1);
}

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void catch(int sig)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	CHECK_CALL(sigaction(sig, &sa, NULL));
}

static void fault_signals(void)
{
	volatile int zero = 0, seven = 7;
	int i;

	catch(SIGSEGV);
	catch(SIGFPE);
	catch(SIGILL);
	catch(SIGTRAP);
	for (i = 0; i < 20; i++) {
		caught = 0;
		if (!sigsetjmp(back, 1))
			*(volatile char *)(uintptr_t)(0x1234 + i) = 1;
		CHECK(caught == SIGSEGV && fault_addr == (uintptr_t)(0x1234 + i), "%d %lx",
		      caught, (long)fault_addr);
		if (!sigsetjmp(back, 1))
			seven = seven / zero;
		CHECK(caught == SIGFPE, "%d", caught);
		if (!sigsetjmp(back, 1))
			asm volatile("ud2");
		CHECK(caught == SIGILL, "%d", caught);
		if (!sigsetjmp(back, 1))
			asm volatile("int3");
		CHECK(caught == SIGTRAP, "%d", caught);
		if (!sigsetjmp(back, 1))
			asm volatile("hlt");
		CHECK(caught == SIGSEGV, "%d", caught);
	}
}

static void alternate_stack(void)
{
	static uint8_t stack[65536];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	CHECK_CALL(sigaltstack(&ss, NULL));
	CHECK_CALL(sigaction(SIGSEGV, &sa, NULL));
	if (!sigsetjmp(back, 1)) {
		/* no stack: only the alternate one can take the signal */
#ifdef __x86_64__
		asm volatile("movq $0x1000, %%rsp; pushq $1" : : : "memory");
#else
		asm volatile("movl $0x1000, %%esp; pushl $1" : : : "memory");
#endif
	}
	CHECK(caught == SIGSEGV, "%d", caught);
}

/* The handler's return must restore every register. */
static void signals_while_computing(void)
{
	struct itimerval every = { { 0, 5000 }, { 0, 5000 } }, never = { { 0, 0 }, { 0, 0 } };
	uint64_t want = 1, got = 1;
	int i, j;

	for (i = 0; i < 400000; i++)
		want = want * 6364136223846793005ull + i;
	signal(SIGALRM, on_alarm);
	/* The timer runs through all rounds: on a fast machine one is over before it. */
	CHECK_CALL(setitimer(ITIMER_REAL, &every, NULL));
	for (j = 0; j < 100000 && alarms < 20; j++) {
		for (i = 0, got = 1; i < 400000; i++)
			got = got * 6364136223846793005ull + i;
		CHECK(got == want, "after %d alarms", alarms);
	}
	CHECK_CALL(setitimer(ITIMER_REAL, &never, NULL));
	CHECK(alarms >= 20, "only %d alarms", alarms);
}

static void signals_between_processes(void)
{
	unsigned int i;
	sigset_t set;
	pid_t pid;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pid = CHECK_CALL(fork());
	if (!pid) {
		for (i = 0; i < 100; i++) {
			sigwait(&set, &sig);
			kill(getppid(), SIGUSR1);
		}
		_exit(0);
	}
	for (i = 0; i < 100; i++) {
		kill(pid, SIGUSR1);
		sigwait(&set, &sig);
	}
	CHECK_CALL(waitpid(pid, NULL, 0));
}

static void sockets(void)
{
	int s[2], i, v;
	pid_t pid;

	CHECK_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pid = CHECK_CALL(fork());
	if (!pid) {
		while (read(s[1], &v, sizeof(v)) == sizeof(v)) {
			v *= 2;
			if (write(s[1], &v, sizeof(v)) != sizeof(v))
				_exit(1);
			if (!v)
				_exit(0);
		}
		_exit(1);
	}
	for (i = 200; i >= 0; i--) {
		CHECK(write(s[0], &i, sizeof(i)) == sizeof(i), "write");
		CHECK(read(s[0], &v, sizeof(v)) == sizeof(v) && v == 2 * i, "%d from %d", v, i);
	}
	CHECK_CALL(waitpid(pid, NULL, 0));
}

const struct check process_checks[] = {
	{ "files", files, 0 },
	{ "pipes", pipes, 0 },
	{ "fork_and_exec", fork_and_exec, 300 },
	{ "copy_on_write", copy_on_write, 0 },
	{ "threads", threads, 0 },
	{ "condition_variables", condition_variables, 0 },
	{ "floating_point_in_threads", floating_point_in_threads, 0 },
	{ "fault_signals", fault_signals, 0 },
	{ "alternate_stack", alternate_stack, 0 },
	{ "signals_while_computing", signals_while_computing, 0 },
	{ "signals_between_processes", signals_between_processes, 0 },
	{ "sockets", sockets, 0 },
	{ 0 },
};
