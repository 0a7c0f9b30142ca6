// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory that the host takes back while the guest runs: paged out, by order
 * and by a cgroup's limit, the guest's own code and page tables too. No store may
 * be lost, and what the guest uses must not look unused. Needs swap.
 */
#include <pthread.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "../abi/abi.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define MEM_GPA (8ul << 20)
#define CHURN_PAGES 2048ul
#define HOT_PAGES 256ul
#define COLD_SIZE (6ul << 20)
#define LIMIT "4M"
#define COUNT (GUEST_DATA / 8)
#define STOP (COUNT + 2)
#define BAD (COUNT + 3)
#define ROUNDS 20
#define ENOUGH 256ul /* pages swapped out */
#define CGROUP "/sys/fs/cgroup"

/*
 * Takes pages of MEM_GPA at random; the words at 0 and 0x800 of each are equal and
 * count up together. What is not equal goes to BAD.
 */
GUEST_ASM(churn, "mov $0x100000, %ebx\n"
		 "mov $0x800000, %ebp\n"
		 "mov $1, %esi\n"
		 "1: imul $1664525, %esi, %esi\n"
		 "add $1013904223, %esi\n"
		 "mov %esi, %eax\n"
		 "shr $16, %eax\n"
		 "and $0x7ff, %eax\n"
		 "shl $12, %eax\n"
		 "add %rbp, %rax\n"
		 "mov (%rax), %rcx\n"
		 "cmp %rcx, 0x800(%rax)\n"
		 "jne 2f\n"
		 "inc %rcx\n"
		 "mov %rcx, (%rax)\n"
		 "mov %rcx, 0x800(%rax)\n"
		 "incq (%rbx)\n"
		 "cmpq $0, 16(%rbx)\n"
		 "je 1b\n"
		 "hlt\n"
		 "2: mov %rax, 24(%rbx)\n"
		 "hlt\n");

/* Loads from HOT_PAGES at MEM_GPA, round and round. */
GUEST_ASM(hot, "mov $0x100000, %ebx\n"
	       "1: mov $0x800000, %ebp\n"
	       "2: mov (%rbp), %rcx\n"
	       "add $4096, %rbp\n"
	       "cmp $0x900000, %rbp\n"
	       "jb 2b\n"
	       "incq (%rbx)\n"
	       "cmpq $0, 16(%rbx)\n"
	       "je 1b\n"
	       "hlt\n");

static volatile uint64_t *word(struct guest *g, size_t n)
{
	return (uint64_t *)g->ram + n;
}

static void *run_thread(void *arg)
{
	return (void *)(intptr_t)guest_run(arg);
}

/* Wait until the guest has counted n more, for a minute. */
static bool guest_moves(struct guest *g, uint64_t n)
{
	uint64_t was = *word(g, COUNT);
	int i;

	for (i = 0; i < 60000 && *word(g, COUNT) < was + n; i++)
		usleep(1000);
	return i < 60000;
}

static void *small_pages(size_t pages)
{
	void *p = abi_pages(pages);

	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	return p;
}

static void start(struct guest *g, const struct guest_code *code, void *mem,
		  size_t pages, pthread_t *t)
{
	guest_create(g, false);
	madvise(g->ram, GUEST_RAM_SIZE, MADV_NOHUGEPAGE);
	abi_set_slot(g->vm, 1, 0, MEM_GPA, pages * PAGE, mem);
	guest_load(g, code);
	*word(g, STOP) = 0;
	pthread_create(t, NULL, run_thread, g);
	CHECK(guest_moves(g, 2), "the guest runs");
}

static bool stop(struct guest *g, pthread_t t)
{
	struct timespec ts;
	void *r = NULL;

	*word(g, STOP) = 1;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 60;
	return !pthread_timedjoin_np(t, &r, &ts) && !r &&
	       g->run->exit_reason == KVM_EXIT_HLT;
}

/* Pages that the host has written to swap since it started. */
static unsigned long swapped(void)
{
	FILE *f = fopen("/proc/vmstat", "re");
	unsigned long pages = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "pswpout %lu", &pages);
	if (f)
		fclose(f);
	return pages;
}

/* Once to have used pages pass for unused ones, again to have those go. */
static void page_out(void *mem, size_t size)
{
	madvise(mem, size, MADV_PAGEOUT);
	madvise(mem, size, MADV_PAGEOUT);
}

static void check_pageout(void)
{
	uint64_t *mem = small_pages(CHURN_PAGES), sum = 0;
	struct guest g;
	pthread_t t;
	size_t i, unequal = 0;
	unsigned long was = swapped();
	int round;

	start(&g, &churn, mem, CHURN_PAGES, &t);
	/* What the guest uses stays, most of it: so until enough has gone. */
	for (round = 0; round < ROUNDS || (round < 20 * ROUNDS && swapped() - was < ENOUGH);
	     round++) {
		size_t from = round * 97 % CHURN_PAGES;

		page_out(mem + from * PAGE / 8, (CHURN_PAGES - from) * PAGE);
		if (round % 4 == 0)
			page_out(g.ram, GUEST_RAM_SIZE);
		if (!guest_moves(&g, CHURN_PAGES))
			break;
	}
	CHECK(swapped() - was >= ENOUGH, "memory goes to swap under the guest (%lu pages)",
	      swapped() - was);
	CHECK(round >= ROUNDS, "the guest survives %d rounds of it", round);
	CHECK(stop(&g, t) && !*word(&g, BAD), "and finds its memory as it left it");
	for (i = 0; i < CHURN_PAGES; i++) {
		sum += mem[i * PAGE / 8];
		unequal += mem[i * PAGE / 8] != mem[i * PAGE / 8 + 0x800 / 8];
	}
	CHECK(sum == *word(&g, COUNT) && !unequal,
	      "so does the host: %llu stores, none lost", (unsigned long long)sum);
	guest_destroy(&g);
	munmap(mem, CHURN_PAGES * PAGE);
}

static bool put(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	bool ok = f && fputs(text, f) >= 0;

	if (f)
		ok &= !fclose(f);
	return ok;
}

/* A cgroup for this process; its limit comes later. */
static bool enter_cgroup(void)
{
	mount("none", CGROUP, "cgroup2", 0, NULL);
	put(CGROUP "/cgroup.subtree_control", "+memory");
	mkdir(CGROUP "/popf", 0755);
	return put(CGROUP "/popf/cgroup.procs", "0");
}

static void leave_cgroup(void)
{
	put(CGROUP "/cgroup.procs", "0");
	rmdir(CGROUP "/popf");
}

/* Touch all of it, slowly enough for the guest to come around. */
static void touch(struct guest *g, volatile char *cold)
{
	size_t i;

	for (i = 0; i < COLD_SIZE; i += PAGE) {
		cold[i]++;
		if (i % (1 << 20) == 0)
			guest_moves(g, 2);
	}
}

/*
 * Part of what the host touches in turn has to go at any time. The guest's pages
 * are in use all the time and may stay.
 */
static void check_hot(void)
{
	char *mem = small_pages(HOT_PAGES), *cold = small_pages(COLD_SIZE / PAGE);
	unsigned long was = swapped();
	struct guest g;
	uint64_t faults;
	pthread_t t;

	start(&g, &hot, mem, HOT_PAGES, &t);
	if (!enter_cgroup()) {
		abi_skip("no memory cgroup", "used memory stays");
		stop(&g, t);
		guest_destroy(&g);
		return;
	}
	/* The VM itself is not charged to the cgroup, what is touched now is. */
	memset(mem, 1, HOT_PAGES * PAGE);
	CHECK(put(CGROUP "/popf/memory.max", LIMIT), "memory can be limited");
	touch(&g, cold);
	faults = abi_stat(g.vm, "shadow_faults_hidden") +
		 abi_stat(g.vm, "shadow_prefaults");
	touch(&g, cold);
	touch(&g, cold);
	faults = abi_stat(g.vm, "shadow_faults_hidden") +
		 abi_stat(g.vm, "shadow_prefaults") - faults;
	CHECK(abi_stat(g.vm, "ages_used"), "the host hears that pages are in use");
	CHECK(swapped() - was > COLD_SIZE / PAGE, "unused memory goes (%lu pages)",
	      swapped() - was);
	CHECK(faults < HOT_PAGES, "used memory stays (%llu faults)",
	      (unsigned long long)faults);
	CHECK(stop(&g, t), "and the guest ends when asked to");
	leave_cgroup();
	guest_destroy(&g);
}

int main(void)
{
	FILE *f = fopen("/proc/swaps", "re");
	char line[256];
	bool swap = f && fgets(line, sizeof(line), f) && fgets(line, sizeof(line), f);

	if (f)
		fclose(f);
	if (CHECK(swap, "there is swap")) {
		check_pageout();
		check_hot();
	}
	return abi_finish();
}
