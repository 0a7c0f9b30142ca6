// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory in large pages of the host: mapped 2 MiB at once where guest and
 * host cut it alike, in pieces where anything asks for it, and never wrong.
 */
#include <signal.h>
#include <sys/wait.h>

#include "abi.h"

#define LARGE (2ul << 20)
#define MEM_GPA (8ul << 20)
#define MEM_SIZE (2 * LARGE)

GUEST_ASM(load_store, "test %rsi, %rsi\n"
		      "jz 1f\n"
		      "mov %rsi, (%rdi)\n"
		      "1: invlpg (%rdi)\n"
		      "mov (%rdi), %rax\n"
		      "hlt\n");

static bool run_at(struct guest *g, uint64_t gpa, uint64_t store, uint64_t *value)
{
	struct kvm_regs regs = {
		.rip = GUEST_CODE,
		.rsp = GUEST_STACK,
		.rflags = 2,
		.rdi = gpa,
		.rsi = store,
	};

	guest_set_regs(g, &regs);
	if (guest_run(g) || g->run->exit_reason != KVM_EXIT_HLT)
		return false;
	guest_get_regs(g, &regs);
	*value = regs.rax;
	return true;
}

/* What the guest loads there, ~0 when it does not get that far. */
static uint64_t load(struct guest *g, uint64_t gpa)
{
	uint64_t value;

	return run_at(g, gpa, 0, &value) ? value : ~0ull;
}

static bool store(struct guest *g, uint64_t gpa, uint64_t value)
{
	uint64_t got;

	return run_at(g, gpa, value, &got) && got == value;
}

static uint64_t stat(struct guest *g, const char *name)
{
	return abi_stat(g->vm, name);
}

/* Zeroed memory that starts at a multiple of 2 MiB, plus off. */
static char *aligned(size_t size, size_t off)
{
	char *p = abi_pages((size + LARGE + off) / PAGE);

	return p + (-(uintptr_t)p & (LARGE - 1)) + off;
}

/* Does the host map the whole of it by large pages? */
static bool is_huge(const char *mem)
{
	unsigned long start, end, kib = 0;
	char line[256];
	FILE *f = fopen("/proc/self/smaps", "re");
	bool inside = false;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (uintptr_t)mem >= start && (uintptr_t)mem < end;
		if (inside && sscanf(line, "AnonHugePages: %lu", &kib) == 1)
			break;
	}
	if (f)
		fclose(f);
	return kib >= MEM_SIZE >> 10;
}

/* A guest with MEM_SIZE at MEM_GPA; what mem + 8 * i pages has is i + 1. */
static void start(struct guest *g, char *mem, uint32_t flags)
{
	size_t i;

	for (i = 0; i < MEM_SIZE / PAGE; i += 8)
		*(uint64_t *)(mem + i * PAGE) = i / 8 + 1;
	guest_create(g, false);
	abi_set_slot(g->vm, 1, flags, MEM_GPA, MEM_SIZE, mem);
	guest_load(g, &load_store);
}

static char *start_huge(struct guest *g, uint32_t flags)
{
	char *mem = aligned(MEM_SIZE, 0);

	madvise(mem, MEM_SIZE, MADV_HUGEPAGE);
	start(g, mem, flags);
	return mem;
}

/* Every page still has what it should; wrong ones are counted. */
static int wrong_pages(struct guest *g, size_t except)
{
	int wrong = 0;
	size_t i;

	for (i = 0; i < MEM_SIZE / PAGE; i += 8)
		wrong += i != except && load(g, MEM_GPA + i * PAGE) != i / 8 + 1;
	return wrong;
}

static bool check_mapped(void)
{
	struct guest g;
	char *mem = start_huge(&g, 0);
	uint64_t faults;
	bool huge = is_huge(mem);

	if (!huge) {
		abi_skip("the host has no large pages to give", "large pages");
		guest_destroy(&g);
		return false;
	}
	CHECK(load(&g, MEM_GPA) == 1 && stat(&g, "shadow_sptes_2m") == 1,
	      "a large page of the host is mapped at once");
	CHECK(store(&g, MEM_GPA + 8, 77) && *(uint64_t *)(mem + 8) == 77,
	      "a store gets to it");
	faults = stat(&g, "shadow_faults_hidden");
	CHECK(store(&g, MEM_GPA + 300 * PAGE + 8, 78) &&
	      stat(&g, "shadow_faults_hidden") == faults,
	      "and to the rest of it without another fault");
	CHECK(wrong_pages(&g, 1) == 0 && stat(&g, "shadow_sptes_2m") == 2,
	      "the next one too");
	abi_set_slot(g.vm, 1, 0, 0, 0, NULL);
	CHECK(stat(&g, "shadow_sptes_2m") == 0, "they go with the slot");
	guest_destroy(&g);
	munmap(mem, MEM_SIZE);
	return true;
}

static void check_shifted(void)
{
	char *mem = aligned(MEM_SIZE + LARGE, PAGE);
	struct guest g;

	madvise(mem - PAGE, MEM_SIZE + LARGE, MADV_HUGEPAGE);
	start(&g, mem, 0);
	CHECK(wrong_pages(&g, 1) == 0 && stat(&g, "shadow_sptes_2m") == 0,
	      "memory that the guest has at other places of 2 MiB goes by pages");
	guest_destroy(&g);
}

static void check_edge(void)
{
	char *mem = aligned(MEM_SIZE, 0);
	struct guest g;

	madvise(mem, MEM_SIZE, MADV_HUGEPAGE);
	start(&g, mem, 0);
	abi_set_slot(g.vm, 1, 0, 0, 0, NULL);
	abi_set_slot(g.vm, 1, 0, MEM_GPA, LARGE - PAGE, mem);
	CHECK(load(&g, MEM_GPA + 8 * PAGE) == 2 && stat(&g, "shadow_sptes_2m") == 0,
	      "a slot that ends within 2 MiB goes by pages there");
	CHECK(run_at(&g, MEM_GPA + LARGE - PAGE, 0, &(uint64_t){ 0 }) == false &&
	      g.run->exit_reason == KVM_EXIT_MMIO,
	      "and nothing is reached beyond its end");
	guest_destroy(&g);
}

/* The host takes one small page out of the large one. */
static void check_split(void)
{
	struct guest g;
	char *mem = start_huge(&g, 0);

	CHECK(wrong_pages(&g, 1) == 0 && stat(&g, "shadow_sptes_2m") == 2,
	      "large pages are mapped before a discard");
	madvise(mem + 16 * PAGE, PAGE, MADV_DONTNEED);
	CHECK(load(&g, MEM_GPA + 16 * PAGE) == 0, "a discarded page is empty");
	CHECK(wrong_pages(&g, 16) == 0, "and no other");
	CHECK(store(&g, MEM_GPA + 16 * PAGE, 3) &&
	      *(uint64_t *)(mem + 16 * PAGE) == 3, "the guest stores to the new one");
	guest_destroy(&g);
	munmap(mem, MEM_SIZE);
}

static void check_readonly(void)
{
	struct guest g;
	char *mem = start_huge(&g, KVM_MEM_READONLY);

	CHECK(wrong_pages(&g, 1) == 0 && stat(&g, "shadow_sptes_2m") == 2,
	      "a read-only slot is mapped at once");
	CHECK(!store(&g, MEM_GPA + 8, 5) && g.run->exit_reason == KVM_EXIT_MMIO &&
	      g.run->mmio.is_write && *(uint64_t *)(mem + 8) == 0,
	      "and a store to it exits");
	guest_destroy(&g);
	munmap(mem, MEM_SIZE);
}

static void check_dirty_log(void)
{
	uint64_t bitmap[MEM_SIZE / PAGE / 64];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
	struct guest g;
	char *mem = start_huge(&g, 0);

	store(&g, MEM_GPA + 8, 1);
	abi_set_slot(g.vm, 1, KVM_MEM_LOG_DIRTY_PAGES, MEM_GPA, MEM_SIZE, mem);
	store(&g, MEM_GPA + 3 * PAGE, 1);
	store(&g, MEM_GPA + 65 * PAGE, 1);
	ioctl(g.vm, KVM_GET_DIRTY_LOG, &log);
	CHECK(bitmap[0] == 8 && bitmap[1] == 2, "with a dirty log pages are logged one by one (%llx %llx)",
	      (unsigned long long)bitmap[0], (unsigned long long)bitmap[1]);
	guest_destroy(&g);
	munmap(mem, MEM_SIZE);
}

/* Copy on write of a large page: neither sees the other's stores. */
static void check_fork(void)
{
	int in[2], status = -1;
	struct guest g;
	char *mem = start_huge(&g, 0), c = 0;
	pid_t pid;

	store(&g, MEM_GPA + 8, 1);
	if (pipe(in))
		return;
	pid = fork();
	if (!pid) {
		if (read(in[0], &c, 1) != 1)
			_exit(2);
		_exit(*(volatile uint64_t *)(mem + 8) != 1);
	}
	CHECK(store(&g, MEM_GPA + 8, 2), "the guest stores after a fork");
	if (write(in[1], &c, 1) != 1)
		kill(pid, 9);
	waitpid(pid, &status, 0);
	CHECK(status == 0 && *(uint64_t *)(mem + 8) == 2,
	      "the child has the old value and the parent the new one");
	CHECK(wrong_pages(&g, 1) == 0, "and nothing else changes");
	guest_destroy(&g);
	munmap(mem, MEM_SIZE);
}

/* A page table and code inside of 2 MiB that are mapped at once otherwise. */
static void check_traced(void)
{
	static const uint8_t code[] = { 0xb8, 1, 0, 0, 0, 0xf4 };
	struct kvm_regs regs = { .rip = MEM_GPA + 32 * PAGE, .rsp = GUEST_STACK, .rflags = 2 };
	struct guest g;
	char *mem = start_huge(&g, 0);
	uint64_t *table = (uint64_t *)(mem + 17 * PAGE);

	table[0] = (MEM_GPA + 40 * PAGE) | 3;
	table[1] = (MEM_GPA + 48 * PAGE) | 3;
	*(uint64_t *)(g.ram + 0x12000 + 100 * 8) = (MEM_GPA + 17 * PAGE) | 3;
	memcpy(mem + 32 * PAGE, code, sizeof(code));
	CHECK(load(&g, MEM_GPA) == 1 && load(&g, 200ul << 20) == 6 &&
	      load(&g, (200ul << 20) + PAGE) == 7,
	      "a page table inside works");
	CHECK(store(&g, MEM_GPA + 17 * PAGE, table[1]) && load(&g, 200ul << 20) == 7,
	      "and a store to it counts after INVLPG");
	guest_set_regs(&g, &regs);
	guest_run(&g);
	guest_get_regs(&g, &regs);
	CHECK(regs.rax == 1, "code inside runs");
	CHECK(store(&g, MEM_GPA + 32 * PAGE, 0xf400000002b8) &&
	      load(&g, MEM_GPA + 32 * PAGE) == 0xf400000002b8, "it can be stored to");
	regs.rip = MEM_GPA + 32 * PAGE;
	guest_set_regs(&g, &regs);
	guest_run(&g);
	guest_get_regs(&g, &regs);
	CHECK(regs.rax == 2, "and the new code runs");
	guest_destroy(&g);
	munmap(mem, MEM_SIZE);
}

static void check_pool(void)
{
	char *mem = MAP_FAILED;
	struct guest g;
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "we");

	if (f) {
		fputs("4\n", f);
		fclose(f);
		mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	}
	if (mem == MAP_FAILED) {
		abi_skip("the host has no pool of large pages", "hugetlb");
		return;
	}
	start(&g, mem, 0);
	CHECK(wrong_pages(&g, 1) == 0 && stat(&g, "shadow_sptes_2m") == 2,
	      "pages of the pool are mapped at once");
	CHECK(store(&g, MEM_GPA + LARGE + 8, 9) &&
	      *(uint64_t *)(mem + LARGE + 8) == 9, "and stored to");
	madvise(mem + LARGE, LARGE, MADV_DONTNEED);
	CHECK(load(&g, MEM_GPA + LARGE + 8) == 0 && load(&g, MEM_GPA) == 1,
	      "and discarded one at a time");
	guest_destroy(&g);
	munmap(mem, MEM_SIZE);
}

int main(void)
{
	if (check_mapped()) {
		check_shifted();
		check_edge();
		check_split();
		check_readonly();
		check_dirty_log();
		check_fork();
		check_traced();
	}
	check_pool();
	return abi_finish();
}
