// SPDX-License-Identifier: GPL-2.0-only
/*
 * What operations of an operating system cost: prints, for each, how often it
 * was done and the nanoseconds it took in all.
 *
 *	ops [-s SCALE] [-l] [NAME...]
 *
 * Runs on a host and in a guest alike. SCALE divides the rounds. lmbench's
 * definitions where it has the operation: null is lat_syscall null, signal and
 * protection are lat_sig catch and prot, fork and exec are lat_proc, context is
 * lat_ctx -s 0 2 (what a pipe costs by itself taken off), mmap is lat_mmap, and
 * create is lat_fs with 0 bytes (made and removed).
 *
 * Each measurement is put between two writes to port 84h: the operation's
 * number, then the number with bit 7 set. `popf run --stats` takes a snapshot
 * of its statistics at each, so that exits can be had per operation.
 *
 * The programs that exec and fork run are this one, linked statically.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define MIB (1ul << 20)
#define MARK_PORT 0x84
#define POST_PORT 0x80
/* Nothing is there, on the lab's machine and on popf's. */
#define HOLE_ADDRESS 0xfec10000ul
#define SLEEP_NS 1000000

/*
 * One operation. run() does it n times and returns the time to take off what
 * was measured, in ns, or CANNOT.
 */
struct op {
	const char *name;
	uint64_t rounds;
	bool (*prepare)(void);
	int64_t (*run)(uint64_t n);
	void (*finish)(void);
};

#define CANNOT INT64_MIN

static bool marks;
static char *self;
static volatile uint32_t sink;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void *map(size_t size, int prot, int flags)
{
	void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags,
		       -1, 0);

	if (p == MAP_FAILED) {
		perror("ops: mmap");
		exit(1);
	}
	return p;
}

/* --- system calls and signals --------------------------------------------- */

static int64_t run_null(uint64_t n)
{
	while (n--)
		syscall(SYS_getppid);
	return 0;
}

static volatile uint64_t caught;

static void count_signal(int sig)
{
	(void)sig;
	caught++;
}

static int64_t run_signal(uint64_t n)
{
	pid_t pid = getpid();

	signal(SIGUSR1, count_signal);
	while (n--)
		kill(pid, SIGUSR1);
	return 0;
}

static volatile char *volatile target;
static volatile uint64_t faults_left;

/* The store is done again and again until the page is made writable. */
static void count_fault(int sig)
{
	(void)sig;
	if (!--faults_left)
		mprotect((void *)target, PAGE, PROT_READ | PROT_WRITE);
}

static int64_t run_protection(uint64_t n)
{
	signal(SIGSEGV, count_fault);
	target = map(PAGE, PROT_READ, MAP_POPULATE);
	faults_left = n;
	*target = 1;
	munmap((void *)target, PAGE);
	signal(SIGSEGV, SIG_DFL);
	return 0;
}

/* --- memory --------------------------------------------------------------- */

static int64_t touch(uint64_t n, int flags)
{
	uint64_t before = now(), began, took, i;
	volatile char *p = map(n * PAGE, PROT_READ | PROT_WRITE, flags);

	/* Not the page tables either. */
	began = now();
	for (i = 0; i < n; i++)
		p[i * PAGE] = 1;
	took = now() - began;
	munmap((void *)p, n * PAGE);
	return now() - before - took;
}

static int64_t run_hidden(uint64_t n)
{
	return touch(n, MAP_POPULATE);
}

static int64_t run_true(uint64_t n)
{
	return touch(n, 0);
}

static int64_t run_pte(uint64_t n)
{
	volatile char *p = map(PAGE, PROT_READ | PROT_WRITE, MAP_POPULATE);
	uint64_t i;

	for (i = 0; i < n; i++) {
		mprotect((void *)p, PAGE,
			 i & 1 ? PROT_READ | PROT_WRITE : PROT_READ);
		sink = *p;
	}
	munmap((void *)p, PAGE);
	return 0;
}

static int file_fd = -1;

static bool prepare_mmap(void)
{
	static const char path[] = "ops-file";
	char *block = calloc(1, MIB);
	int i;

	file_fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (file_fd < 0)
		return false;
	unlink(path);
	for (i = 0; i < 16; i++)
		if (write(file_fd, block, MIB) != (ssize_t)MIB)
			return false;
	free(block);
	return true;
}

/* lat_mmap: a byte is stored every 16 KiB over the first tenth. */
static int64_t run_mmap(uint64_t n)
{
	volatile char *p;
	size_t i;

	while (n--) {
		p = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED,
			 file_fd, 0);
		if (p == MAP_FAILED)
			return CANNOT;
		for (i = 0; i < 16 * MIB / 10; i += 4 * PAGE)
			p[i] = 1;
		munmap((void *)p, 16 * MIB);
	}
	return 0;
}

static void finish_mmap(void)
{
	close(file_fd);
}

static int64_t run_create(uint64_t n)
{
	char name[32];
	uint64_t i;

	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "ops-%llu",
			 (unsigned long long)i);
		close(open(name, O_CREAT | O_WRONLY | O_EXCL, 0600));
		unlink(name);
	}
	return 0;
}

/* --- processes ------------------------------------------------------------ */

static int64_t run_fork(uint64_t n)
{
	pid_t pid;

	while (n--) {
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			return CANNOT;
	}
	return 0;
}

static int64_t run_exec(uint64_t n)
{
	char *const args[] = { self, "-e", NULL }, *const env[] = { NULL };
	int status;
	pid_t pid;

	while (n--) {
		pid = fork();
		if (!pid) {
			execve(self, args, env);
			_exit(1);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			return CANNOT;
	}
	return 0;
}

static int there[2], back[2];

static bool pass_on(int from, int to)
{
	char token;

	return read(from, &token, 1) == 1 && write(to, &token, 1) == 1;
}

static bool prepare_pipes(void)
{
	return !pipe(there) && !pipe(back);
}

static void finish_pipes(void)
{
	close(there[0]);
	close(there[1]);
	close(back[0]);
	close(back[1]);
}

/* What the pipe costs by itself. */
static int64_t run_pipe(uint64_t n)
{
	char token = 0;

	while (n--)
		if (write(there[1], &token, 1) != 1 ||
		    read(there[0], &token, 1) != 1)
			return CANNOT;
	return 0;
}

/* n hops of a token between two processes. */
static int64_t run_hop(uint64_t n)
{
	uint64_t i;
	char token = 0;
	pid_t pid = fork();

	if (pid < 0)
		return CANNOT;
	if (!pid) {
		for (i = 0; i < n / 2; i++)
			if (!pass_on(there[0], back[1]))
				_exit(1);
		_exit(0);
	}
	if (write(there[1], &token, 1) != 1)
		return CANNOT;
	for (i = 1; i < n / 2; i++)
		if (!pass_on(back[0], there[1]))
			return CANNOT;
	if (read(back[0], &token, 1) != 1)
		return CANNOT;
	waitpid(pid, NULL, 0);
	return 0;
}

static uint32_t turn;
static uint64_t turns;

static void wait_for_turn(uint32_t mine)
{
	while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != mine)
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, !mine, NULL, NULL,
			0);
}

static void hand_over(uint32_t to)
{
	__atomic_store_n(&turn, to, __ATOMIC_RELEASE);
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *other_thread(void *unused)
{
	uint64_t i;

	(void)unused;
	for (i = 0; i < turns; i++) {
		wait_for_turn(1);
		hand_over(0);
	}
	return NULL;
}

/* Threads of one process, on one CPU: a wakeup without an IPI and a switch. */
static int64_t run_wakeup(uint64_t n)
{
	pthread_t thread;
	uint64_t i;

	turns = n / 2;
	turn = 0;
	if (pthread_create(&thread, NULL, other_thread, NULL))
		return CANNOT;
	for (i = 0; i < turns; i++) {
		hand_over(1);
		wait_for_turn(0);
	}
	pthread_join(thread, NULL);
	return 0;
}

/* --- hardware ------------------------------------------------------------- */

static int64_t run_cpuid(uint64_t n)
{
	uint32_t a, b, c, d;

	while (n--) {
		a = 0;
		c = 0;
		asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	}
	return 0;
}

static bool prepare_port(void)
{
	return !ioperm(POST_PORT, 1, 1);
}

static int64_t run_port(uint64_t n)
{
	while (n--)
		outb(0, POST_PORT);
	return 0;
}

static volatile uint32_t *hole;

static bool prepare_mmio(void)
{
	int fd = open("/dev/mem", O_RDONLY | O_SYNC);
	void *p = MAP_FAILED;

	if (fd >= 0) {
		p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, HOLE_ADDRESS);
		close(fd);
	}
	hole = p;
	return p != MAP_FAILED;
}

static int64_t run_mmio(uint64_t n)
{
	while (n--)
		sink = *hole;
	return 0;
}

static void finish_mmio(void)
{
	munmap((void *)hole, PAGE);
}

/* How late a sleeper is. */
static int64_t run_hlt(uint64_t n)
{
	struct timespec ts;
	int64_t slept = 0;
	uint64_t until;

	prctl(PR_SET_TIMERSLACK, 1);
	while (n--) {
		uint64_t began = now();

		until = began + SLEEP_NS;
		ts.tv_sec = until / 1000000000;
		ts.tv_nsec = until % 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
		slept += until - began;
	}
	return slept;
}

static uint64_t timer_interrupts(void)
{
	FILE *file = fopen("/proc/interrupts", "r");
	char line[256];
	uint64_t count = 0;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " LOC: %lu", &count) == 1)
			break;
	if (file)
		fclose(file);
	return count;
}

static void spin(uint64_t instructions)
{
	uint64_t n = instructions / 2;

	asm volatile("1: dec %0\n\tjnz 1b" : "+r"(n) : : "cc");
}

static uint64_t ticks;

/*
 * n counts instructions of a loop here: where time is instructions, what goes
 * beyond them is spent on timer interrupts. See report().
 */
static int64_t run_timer(uint64_t n)
{
	uint64_t before = timer_interrupts(), began = now(), all = began, took;

	spin(n);
	took = now() - began;
	ticks = timer_interrupts() - before;
	all = now() - all;
	return all - took + n;
}

/* --- putting it together -------------------------------------------------- */

/* The numbers are the marks': see scripts/bench_ops.py. */
static const struct op ops[] = {
	{ "null", 20000, NULL, run_null, NULL },
	{ "signal", 4000, NULL, run_signal, NULL },
	{ "hidden", 4096, NULL, run_hidden, NULL },
	{ "true", 4096, NULL, run_true, NULL },
	{ "protection", 4000, NULL, run_protection, NULL },
	{ "pte", 8000, NULL, run_pte, NULL },
	{ "fork", 200, NULL, run_fork, NULL },
	{ "exec", 100, NULL, run_exec, NULL },
	{ "pipe", 5000, prepare_pipes, run_pipe, finish_pipes },
	{ "hop", 4000, prepare_pipes, run_hop, finish_pipes },
	{ "mmap", 100, prepare_mmap, run_mmap, finish_mmap },
	{ "create", 1000, NULL, run_create, NULL },
	{ "timer", 80000000, NULL, run_timer, NULL },
	{ "wakeup", 4000, NULL, run_wakeup, NULL },
	{ "cpuid", 5000, NULL, run_cpuid, NULL },
	{ "port", 2000, prepare_port, run_port, NULL },
	{ "mmio", 2000, prepare_mmio, run_mmio, finish_mmio },
	{ "hlt", 200, NULL, run_hlt, NULL },
};

#define NR_OPS (sizeof(ops) / sizeof(ops[0]))

static void mark(unsigned int number)
{
	if (marks)
		outb(number, MARK_PORT);
}

/* Measured on memory that the machine has used before: not the host's faults. */
static bool first_touch(const struct op *op)
{
	return op->run == run_true || op->run == run_hidden;
}

static void measure(unsigned int number, uint64_t scale)
{
	const struct op *op = &ops[number];
	uint64_t rounds = op->rounds / scale, began, took;
	int64_t off;

	if (op->prepare && !op->prepare()) {
		printf("ops %s cannot\n", op->name);
		return;
	}
	/* Code to be translated, caches to be filled. */
	op->run(first_touch(op) ? rounds : rounds / 8 + 2);
	mark(number);
	began = now();
	off = op->run(rounds);
	took = now() - began;
	mark(number | 0x80);
	if (op->finish)
		op->finish();
	if (op->run == run_timer)
		rounds = ticks;
	if (off == CANNOT || !rounds)
		printf("ops %s cannot\n", op->name);
	else
		printf("ops %s %lu %ld\n", op->name, rounds,
		       (int64_t)took - off);
}

static bool wanted(const char *name, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static char buffer[16384];
	uint64_t scale = 1;
	unsigned int i;
	int c;

	self = argv[0];
	while ((c = getopt(argc, argv, "es:l")) != -1) {
		if (c == 'e')
			return 0;
		if (c == 's')
			scale = strtoul(optarg, NULL, 10);
		if (c == 'l')
			for (i = 0; i < NR_OPS; i++)
				puts(ops[i].name);
		if (c == 'l' || c == '?' || !scale)
			return c != 'l';
	}
	/* Nothing is written while measuring: a console is slow. */
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	marks = !ioperm(MARK_PORT, 1, 1);
	for (i = 0; i < NR_OPS; i++)
		if (wanted(ops[i].name, argv + optind))
			measure(i, scale);
	return 0;
}
