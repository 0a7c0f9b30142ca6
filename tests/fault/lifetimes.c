// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files and memory used in the wrong process, in the wrong order, by too many
 * threads, or by a process that is killed.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "../abi/abi.h"

#define KILLS 100
/* Pages that CPUs keep for themselves come and go; a VM is 20 MiB. */
#define SLACK_KIB (64 << 10)

GUEST_ASM(store_loop, "mov $0x100000, %edi\n"
		      "1: incq (%rdi)\n"
		      "mov %rdi, 0x800000\n"
		      "jmp 1b\n");

/* What a child of fork() gets from the parent's files. */
static void child_of_fork(struct guest *g)
{
	struct kvm_regs regs;
	int fd;

	CHECK_ERRNO(ioctl(g->vcpu, KVM_RUN, 0), EIO, "another mm cannot run a vCPU");
	CHECK_ERRNO(ioctl(g->vcpu, KVM_GET_REGS, &regs), EIO,
		    "nor read its registers");
	CHECK_ERRNO(abi_set_slot(g->vm, 5, 0, 1 << 28, PAGE, abi_pages(1)), EIO,
		    "nor give the VM memory");
	CHECK_ERRNO(ioctl(g->vm, KVM_CREATE_VCPU, 0), EIO, "nor a vCPU");
	CHECK(ioctl(g->dev, KVM_GET_API_VERSION, 0) == 12, "the device serves it");
	fd = ioctl(g->dev, KVM_CREATE_VM, 0);
	CHECK(fd >= 0, "with a VM of its own");
	exit(abi_finish());
}

static void check_other_mm(void)
{
	struct guest g;
	int status = -1;
	pid_t pid;

	guest_create(&g, false);
	guest_load(&g, &store_loop);
	fflush(stdout);
	pid = fork();
	if (!pid)
		child_of_fork(&g);
	waitpid(pid, &status, 0);
	CHECK(status == 0, "a forked child is kept out");
	guest_destroy(&g);
}

/* The last reference is dropped by a process that never had the VM's memory. */
static void check_last_close_elsewhere(void)
{
	int status = -1, ready[2];
	struct guest g;
	pid_t pid;
	char c;

	if (pipe(ready))
		abort();
	guest_create(&g, true);
	pid = fork();
	if (!pid) {
		close(ready[1]);
		(void)!read(ready[0], &c, 1);
		close(g.vcpu);
		close(g.vm);
		_exit(0);
	}
	munmap(g.run, 3 * PAGE);
	munmap(g.ram, GUEST_RAM_SIZE);
	close(g.vcpu);
	close(g.vm);
	close(ready[1]);
	waitpid(pid, &status, 0);
	CHECK(status == 0, "another process may close a VM last");
	close(ready[0]);
	close(g.dev);
}

static void *run_until_error(void *arg)
{
	struct guest *g = arg;

	while (!guest_run(g) && g->run->exit_reason == KVM_EXIT_MMIO)
		;
	return NULL;
}

/* close() of the file while KVM_RUN is inside: it ends only when told to. */
static void check_close_while_running(void)
{
	struct guest g;
	pthread_t t;

	guest_create(&g, false);
	guest_load(&g, &store_loop);
	pthread_create(&t, NULL, run_until_error, &g);
	usleep(50000);
	close(g.vm);
	close(g.vcpu);
	g.run->immediate_exit = 1;
	pthread_join(t, NULL);
	CHECK(true, "files can be closed under KVM_RUN");
	munmap(g.run, 3 * PAGE);
	munmap(g.ram, GUEST_RAM_SIZE);
	close(g.dev);
}

static volatile bool over;

static void *hammer_slots(void *arg)
{
	struct guest *g = arg;
	char *mem = abi_pages(16);
	unsigned int i = 0;

	while (!over) {
		abi_set_slot(g->vm, 1, 0, 8 << 20, 16 * PAGE, mem);
		if (++i % 2)
			abi_set_slot(g->vm, 1, KVM_MEM_LOG_DIRTY_PAGES, 8 << 20,
				     16 * PAGE, mem);
		abi_set_slot(g->vm, 1, 0, (i % 7 + 9) << 20, 16 * PAGE, mem);
		madvise(mem, 16 * PAGE, MADV_DONTNEED);
		abi_set_slot(g->vm, 1, 0, 0, 0, NULL);
	}
	return NULL;
}

static void *hammer_state(void *arg)
{
	struct guest *g = arg;
	struct kvm_sregs s;

	while (!over) {
		if (ioctl(g->vcpu, KVM_GET_SREGS, &s) == 0)
			ioctl(g->vcpu, KVM_SET_SREGS, &s);
		close(ioctl(g->vcpu, KVM_GET_STATS_FD, 0));
		usleep(100);
	}
	return NULL;
}

/* Slots, registers, discards and KVM_RUN, all at once, from five threads. */
static void check_hammering(void)
{
	pthread_t t[5];
	struct guest g;
	size_t i;

	guest_create(&g, false);
	guest_load(&g, &store_loop);
	over = false;
	pthread_create(&t[0], NULL, run_until_error, &g);
	pthread_create(&t[1], NULL, hammer_slots, &g);
	pthread_create(&t[2], NULL, hammer_slots, &g);
	pthread_create(&t[3], NULL, hammer_state, &g);
	pthread_create(&t[4], NULL, run_until_error, &g);
	sleep(3);
	over = true;
	/* Both runners see it at their next exit. */
	g.run->immediate_exit = 1;
	for (i = 0; i < 5; i++)
		pthread_join(t[i], NULL);
	CHECK(*(uint64_t *)(g.ram + GUEST_DATA) > 0, "five threads on one VM do no harm");
	guest_destroy(&g);
}

static int count_free_kib(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	int kib = 0;

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "MemAvailable: %d", &kib);
	if (f)
		fclose(f);
	return kib;
}

/*
 * Maps now one, now the other of the two top GiB, whole: popf's window has to move
 * out of the way each time, and the translator is made anew.
 */
GUEST_ASM(window_chase, "mov $0x100000, %ebx\n"
			"1: mov $0x201000, %edi\n"
			"call 5f\n"
			"mov $0x200000, %edi\n"
			"mov $0xffffffffc0000000, %rdx\n"
			"call 3f\n"
			"incq (%rbx)\n"
			"mov $0x200000, %edi\n"
			"call 5f\n"
			"mov $0x201000, %edi\n"
			"mov $0xffffffff80000000, %rdx\n"
			"call 3f\n"
			"incq (%rbx)\n"
			"cmpq $0, 16(%rbx)\n"
			"je 1b\n"
			"hlt\n"
			"3: xor %ecx, %ecx\n"
			"4: movq $0x83, (%rdi,%rcx,8)\n"
			"mov (%rdx), %rax\n"
			"add $0x200000, %rdx\n"
			"inc %ecx\n"
			"cmp $512, %ecx\n"
			"jb 4b\n"
			"ret\n"
			"5: mov $512, %ecx\n"
			"6: movq $0, -8(%rdi,%rcx,8)\n"
			"dec %ecx\n"
			"jnz 6b\n"
			"ret\n");

struct chase {
	struct guest g;
	volatile bool over;
	int run;
};

static void *chase_thread(void *arg)
{
	struct chase *c = arg;

	c->run = guest_run(&c->g);
	c->over = true;
	return NULL;
}

/* Statistics are read while what they are about is made anew. */
static void check_stats_while_moving(void)
{
	struct chase c = { .run = -1 };
	volatile uint64_t *count;
	uint64_t *at;
	static char file[1 << 16];
	int reads = 0, stats;
	pthread_t t;

	guest_create(&c.g, false);
	/* Opening it takes the vCPU's lock, reading does not. */
	stats = ioctl(c.g.vcpu, KVM_GET_STATS_FD, NULL);
	at = (uint64_t *)c.g.ram;
	at[0x10000 / 8 + 511] = 0x202000 | 3;
	at[0x202000 / 8 + 511] = 0x200000 | 3;
	at[0x202000 / 8 + 510] = 0x201000 | 3;
	guest_load(&c.g, &window_chase);
	count = at + GUEST_DATA / 8;
	pthread_create(&t, NULL, chase_thread, &c);
	while (!c.over) {
		if (pread(stats, file, sizeof(file), 0) <= 0)
			break;
		if (++reads > 1000 && *count >= 6)
			count[2] = 1;
	}
	pthread_join(t, NULL);
	CHECK(!c.run && c.g.run->exit_reason == KVM_EXIT_HLT && *count >= 6,
	      "statistics are read while the window moves (%d times)", reads);
	close(stats);
	guest_destroy(&c.g);
}

/* The launcher is killed at a random moment of its life. */
static void check_kills(void)
{
	int i, before = 0, after = 0;

	for (i = 0; i < KILLS; i++) {
		pid_t pid;

		if (i == 2)
			before = count_free_kib();
		pid = fork();
		if (!pid) {
			struct guest g;

			if (!freopen("/dev/null", "w", stdout))
				_exit(1);
			for (;;) {
				guest_create(&g, i & 1);
				guest_load(&g, &store_loop);
				run_until_error(&g);
			}
		}
		usleep(1000 + (i * 7919) % 60000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	for (i = 0; i < 50; i++) {
		after = count_free_kib();
		if (after > before - SLACK_KIB)
			break;
		usleep(100000);
	}
	CHECK(after > before - SLACK_KIB,
	      "%d killed launchers leave no memory behind (%d KiB)", KILLS,
	      before - after);
}

int main(void)
{
	check_other_mm();
	check_last_close_elsewhere();
	check_close_while_running();
	check_hammering();
	check_stats_while_moving();
	check_kills();
	return abi_finish();
}
