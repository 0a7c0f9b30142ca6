// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory under a running vCPU: slots that go and come, the host's own
 * changes behind the mmu notifier, and the dirty log.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "abi.h"

#define SLOT1_GPA (8ul << 20)

/* Adds up what it finds at SLOT1_GPA, until that is 77 or nothing is there. */
GUEST_ASM(watch_guest, "mov $0x800000, %edi\n"
		       "mov $0x100000, %esi\n"
		       "1: incq (%rsi)\n"
		       "mov (%rdi), %rax\n"
		       "cmp $77, %rax\n"
		       "jne 1b\n"
		       "hlt\n");

/* The same, storing. */
GUEST_ASM(store_guest, "mov $0x800000, %edi\n"
		       "mov $0x100000, %esi\n"
		       "1: incq (%rsi)\n"
		       "mov (%rsi), %rax\n"
		       "mov %rax, 8(%rdi)\n"
		       "jmp 1b\n");

static void *run_thread(void *arg)
{
	struct guest *g = arg;

	return (void *)(intptr_t)guest_run(g);
}

static volatile uint64_t *counter(struct guest *g)
{
	return (uint64_t *)(g->ram + GUEST_DATA);
}

/* Wait until the guest has gone through its loop once more, at least. */
static bool guest_moves(struct guest *g)
{
	uint64_t was = *counter(g);
	int i;

	for (i = 0; i < 6000 && *counter(g) < was + 2; i++)
		usleep(10000);
	return i < 6000;
}

/* A guest that runs code with mem at SLOT1_GPA. */
static void start(struct guest *g, const struct guest_code *code, void *mem,
		  uint32_t flags, pthread_t *thread)
{
	guest_create(g, false);
	abi_set_slot(g->vm, 1, flags, SLOT1_GPA, PAGE, mem);
	guest_load(g, code);
	pthread_create(thread, NULL, run_thread, g);
	CHECK(guest_moves(g), "the guest runs");
}

/* Wait for KVM_RUN to end; give up after a minute. */
static bool ends(struct guest *g, pthread_t thread, uint32_t reason)
{
	struct timespec ts;
	void *r;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 60;
	if (pthread_timedjoin_np(thread, &r, &ts))
		return false;
	return r == NULL && g->run->exit_reason == reason;
}

static void check_visible(void)
{
	uint64_t *mem = abi_pages(1);
	struct guest g;
	pthread_t t;

	start(&g, &watch_guest, mem, 0, &t);
	mem[0] = 77;
	CHECK(ends(&g, t, KVM_EXIT_HLT), "a store of the host is seen by the guest");
	guest_destroy(&g);
}

static void check_delete(void)
{
	uint64_t *mem = abi_pages(1);
	struct guest g;
	pthread_t t;

	start(&g, &store_guest, mem, 0, &t);
	CHECK_ERRNO(abi_set_slot(g.vm, 1, 0, 0, 0, NULL), 0,
		    "a slot is deleted under the guest");
	CHECK(ends(&g, t, KVM_EXIT_MMIO) && g.run->mmio.is_write &&
	      g.run->mmio.phys_addr == SLOT1_GPA + 8, "whose next store exits");
	guest_destroy(&g);
}

static void check_move(void)
{
	uint64_t *mem = abi_pages(1), *other = abi_pages(1);
	struct guest g;
	pthread_t t;

	start(&g, &watch_guest, mem, 0, &t);
	other[0] = 77;
	abi_set_slot(g.vm, 2, 0, SLOT1_GPA + PAGE, PAGE, other);
	CHECK_ERRNO(abi_set_slot(g.vm, 1, 0, SLOT1_GPA + 16 * PAGE, PAGE, mem), 0,
		    "a slot moves away under the guest");
	CHECK(ends(&g, t, KVM_EXIT_MMIO) && !g.run->mmio.is_write,
	      "whose next load exits");
	CHECK_ERRNO(abi_set_slot(g.vm, 2, 0, SLOT1_GPA, PAGE, other), 0,
		    "another moves there");
	memset(g.run->mmio.data, 0, 8);
	CHECK(guest_run(&g) == 0 && g.run->exit_reason == KVM_EXIT_HLT,
	      "and the guest sees that one");
	guest_destroy(&g);
}

/* The host replaces the page behind the slot. */
static void check_remap(void)
{
	uint64_t *mem = abi_pages(1);
	struct guest g;
	pthread_t t;

	start(&g, &watch_guest, mem, 0, &t);
	mmap(mem, PAGE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK(guest_moves(&g), "the guest survives a new page");
	mem[0] = 77;
	CHECK(ends(&g, t, KVM_EXIT_HLT), "and sees what is written to it");
	guest_destroy(&g);
}

static void check_discard(void)
{
	uint64_t *mem = abi_pages(1);
	struct guest g;
	pthread_t t;
	uint64_t later;

	start(&g, &store_guest, mem, 0, &t);
	CHECK(mem[1] != 0, "the guest stores");
	mem[2] = 5;
	madvise(mem, PAGE, MADV_DONTNEED);
	CHECK(guest_moves(&g) && guest_moves(&g), "the guest survives a discard");
	CHECK(mem[2] == 0, "the old page is gone");
	later = mem[1];
	CHECK(guest_moves(&g) && mem[1] > later, "it stores to the new one");
	abi_set_slot(g.vm, 1, 0, 0, 0, NULL);
	CHECK(ends(&g, t, KVM_EXIT_MMIO), "and ends when asked to");
	guest_destroy(&g);
}

/* Copy on write: a child of fork() must not see what the guest stores. */
static void check_fork(void)
{
	uint64_t *mem = abi_pages(1);
	struct guest g;
	pthread_t t;
	int status = -1;
	pid_t pid;

	start(&g, &store_guest, mem, 0, &t);
	pid = fork();
	if (!pid) {
		uint64_t was = mem[1];

		usleep(300000);
		_exit(mem[1] != was);
	}
	CHECK(guest_moves(&g), "the guest survives a fork of its launcher");
	waitpid(pid, &status, 0);
	CHECK(status == 0, "whose child does not see what the guest stores");
	CHECK(guest_moves(&g) && mem[1] + 1000000000 > *counter(&g),
	      "while the launcher does");
	abi_set_slot(g.vm, 1, 0, 0, 0, NULL);
	CHECK(ends(&g, t, KVM_EXIT_MMIO), "and ends when asked to");
	guest_destroy(&g);
}

GUEST_ASM(dirty_guest, "mov $0x800000, %edi\n"
		       "mov %rdi, 0x3008(%rdi)\n"
		       "mov 0x5000(%rdi), %rax\n"
		       "lock incl 0x7000(%rdi)\n"
		       "hlt\n"
		       "mov %rdi, 0x3010(%rdi)\n"
		       "hlt\n"
		       "mov 0x3010(%rdi), %rax\n"
		       "hlt\n");

static void check_dirty(void)
{
	uint64_t *mem = abi_pages(16), bitmap = ~0ull;
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = &bitmap };
	struct guest g;

	guest_create(&g, false);
	abi_set_slot(g.vm, 1, KVM_MEM_LOG_DIRTY_PAGES, SLOT1_GPA, 16 * PAGE, mem);
	guest_load(&g, &dirty_guest);
	CHECK(guest_run(&g) == 0 && g.run->exit_reason == KVM_EXIT_HLT,
	      "a guest stores to a logged slot");
	ioctl(g.vm, KVM_GET_DIRTY_LOG, &log);
	CHECK(bitmap == 0x88, "the pages stored to are logged (%lx)", bitmap);
	guest_run(&g);
	ioctl(g.vm, KVM_GET_DIRTY_LOG, &log);
	CHECK(bitmap == 0x08, "and those stored to again (%lx)", bitmap);
	guest_run(&g);
	ioctl(g.vm, KVM_GET_DIRTY_LOG, &log);
	CHECK(bitmap == 0, "and none that are only read (%lx)", bitmap);
	guest_destroy(&g);
}

/* Memory that the host takes away altogether is an error, not a crash. */
static void check_unmapped(void)
{
	uint64_t *mem = abi_pages(1);
	struct guest g;
	pthread_t t;
	void *r;

	start(&g, &store_guest, mem, 0, &t);
	munmap(mem, PAGE);
	pthread_join(t, &r);
	CHECK(r != NULL || g.run->exit_reason == KVM_EXIT_INTERNAL_ERROR,
	      "a guest whose memory is unmapped stops");
	guest_destroy(&g);
}

int main(void)
{
	check_visible();
	check_delete();
	check_move();
	check_remap();
	check_discard();
	check_fork();
	check_dirty();
	check_unmapped();
	return abi_finish();
}
