// SPDX-License-Identifier: GPL-2.0-only
/*
 * Code and page tables of the guest whose memory is replaced under it: by slot
 * changes and by the host, through the mmu notifier. The guest must run what is
 * there now, and what is only protected or aged must not cost translations.
 *
 * The guest calls the function at CODE_GPA again and again, leaves its result at
 * RESULT and counts at COUNT; with a nonzero word at STOP it halts after each.
 */
#include <pthread.h>

#include "abi.h"

#define CODE_GPA (8ul << 20)
#define OTHER_GPA (16ul << 20)
#define COUNT (GUEST_DATA / 8)
#define RESULT (COUNT + 1)
#define STOP (COUNT + 2)

GUEST_ASM(caller, "mov $0x100000, %ebx\n"
		  "mov $0x800000, %ebp\n"
		  "1: lea 0x100(%rbx), %rax\n"
		  "call *%rbp\n"
		  "mov %rax, 8(%rbx)\n"
		  "incq (%rbx)\n"
		  "cmpq $0, 16(%rbx)\n"
		  "je 1b\n"
		  "hlt\n"
		  "jmp 1b\n");

static volatile uint64_t *word(struct guest *g, size_t n)
{
	return (uint64_t *)g->ram + n;
}

/* mov $value, %eax; ret */
static void put_function(void *at, uint32_t value)
{
	uint8_t code[6] = { 0xb8, value, value >> 8, value >> 16, value >> 24, 0xc3 };

	memcpy(at, code, sizeof(code));
}

static void *function(uint32_t value)
{
	void *mem = abi_pages(1);

	put_function(mem, value);
	return mem;
}

/* A page of a file that has the function. */
static int function_file(uint32_t first, uint32_t second)
{
	int fd = memfd_create("code", MFD_CLOEXEC);
	char pages[2 * PAGE] = { 0 };

	put_function(pages, first);
	put_function(pages + PAGE, second);
	if (write(fd, pages, sizeof(pages)) != sizeof(pages))
		abi_check(false, "a file of code can be made");
	return fd;
}

static void *map_file(void *at, int fd, int share, off_t offset)
{
	void *p = mmap(at, PAGE, PROT_READ | PROT_WRITE,
		       share | (at ? MAP_FIXED : 0), fd, offset);

	if (p == MAP_FAILED)
		abi_check(false, "the file can be mapped");
	return p;
}

static void start(struct guest *g, void *mem)
{
	guest_create(g, false);
	if (mem && abi_set_slot(g->vm, 1, 0, CODE_GPA, PAGE, mem))
		abi_check(false, "a slot for code can be had");
	guest_load(g, &caller);
	*word(g, STOP) = 1;
}

/* One call of the function: its result, ~0 when the guest does not get there. */
static uint64_t once(struct guest *g)
{
	*word(g, RESULT) = ~0ull;
	if (guest_run(g) || g->run->exit_reason != KVM_EXIT_HLT)
		return ~0ull;
	return *word(g, RESULT);
}

static void check_recreate(void)
{
	void *one = function(1), *two = function(2);
	struct guest g;

	start(&g, one);
	CHECK(once(&g) == 1 && once(&g) == 1, "the guest runs code in a slot");
	abi_set_slot(g.vm, 1, 0, 0, 0, NULL);
	abi_set_slot(g.vm, 1, 0, CODE_GPA, PAGE, two);
	CHECK(once(&g) == 2, "a slot re-created with other memory shows its code");
	abi_set_slot(g.vm, 1, 0, 0, 0, NULL);
	put_function(one, 3);
	abi_set_slot(g.vm, 7, 0, CODE_GPA, PAGE, one);
	CHECK(once(&g) == 3, "so does one with another number");
	guest_destroy(&g);
}

static void check_move(void)
{
	void *one = function(1), *two = function(2);
	struct guest g;

	start(&g, one);
	abi_set_slot(g.vm, 2, 0, OTHER_GPA, PAGE, two);
	CHECK(once(&g) == 1, "the guest runs code in a slot that will move");
	abi_set_slot(g.vm, 1, 0, OTHER_GPA + PAGE, PAGE, one);
	abi_set_slot(g.vm, 2, 0, CODE_GPA, PAGE, two);
	CHECK(once(&g) == 2, "the slot that moves there brings its code");
	guest_destroy(&g);
}

static void check_deleted(void)
{
	struct guest g;

	start(&g, function(1));
	CHECK(once(&g) == 1, "the guest runs code in a slot that will go");
	abi_set_slot(g.vm, 1, 0, 0, 0, NULL);
	CHECK(once(&g) == ~0ull, "code in no slot does not run on");
	guest_destroy(&g);
}

static void check_map_over(void)
{
	int fd = function_file(1, 2);
	void *mem = map_file(NULL, fd, MAP_SHARED, 0);
	struct guest g;

	start(&g, mem);
	CHECK(once(&g) == 1, "the guest runs code of a file");
	map_file(mem, fd, MAP_SHARED, PAGE);
	CHECK(once(&g) == 2, "a mapping put over it shows its code");
	munmap(mem, PAGE);
	CHECK(once(&g) == ~0ull, "code that is unmapped does not run on");
	guest_destroy(&g);
	close(fd);
}

static void check_discard(void)
{
	int fd = function_file(2, 3);
	void *mem = map_file(NULL, fd, MAP_PRIVATE, 0);
	struct guest g;

	put_function(mem, 1);
	start(&g, mem);
	CHECK(once(&g) == 1, "the guest runs private code");
	madvise(mem, PAGE, MADV_DONTNEED);
	CHECK(once(&g) == 2, "after MADV_DONTNEED the file's code");
	guest_destroy(&g);
	munmap(mem, PAGE);
	close(fd);
}

/* A page of zeroes is ADD %AL, (%RAX) throughout; the next page has a function. */
static void check_hole(void)
{
	int fd = function_file(1, 2);
	void *mem = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct guest g;

	start(&g, NULL);
	abi_set_slot(g.vm, 1, 0, CODE_GPA, 2 * PAGE, mem);
	CHECK(once(&g) == 1, "the guest runs code of a file with a page more");
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE);
	CHECK(once(&g) == 2, "after a hole is punched it runs what follows the hole");
	guest_destroy(&g);
	munmap(mem, 2 * PAGE);
	close(fd);
}

/*
 * What changes rights and not contents keeps translations. The page may not lie in
 * a huge page, as it does when its mapping was merged with a neighbour's: changing
 * its rights alone then splits the huge page, and of a split the host only says
 * that the page is cleared from the page table.
 */
static void check_kept(void)
{
	void *mem = function(1);
	struct guest g;
	uint64_t dropped;

	madvise(mem, PAGE, MADV_NOHUGEPAGE);
	start(&g, mem);
	once(&g);
	dropped = abi_stat(g.vcpu, "bt_invalidated_tus");
	mprotect(mem, PAGE, PROT_READ);
	CHECK(once(&g) == 1, "code survives that its memory becomes read-only");
	mprotect(mem, PAGE, PROT_READ | PROT_WRITE);
	CHECK(once(&g) == 1, "and writable again");
	CHECK(abi_stat(g.vcpu, "bt_invalidated_tus") == dropped,
	      "neither drops a translation");
	madvise(mem, PAGE, MADV_DONTNEED);
	put_function(mem, 5);
	CHECK(once(&g) == 5 && abi_stat(g.vcpu, "bt_invalidated_tus") > dropped,
	      "other contents do");
	guest_destroy(&g);
}

/* The table that maps CODE_GPA is in a slot; its replacement maps another page. */
static void check_tables(void)
{
	uint64_t *one = abi_pages(1), *two = abi_pages(1);
	struct guest g;

	guest_create(&g, false);
	abi_set_slot(g.vm, 1, 0, OTHER_GPA, PAGE, one);
	put_function(g.ram + 0x200000, 1);
	put_function(g.ram + 0x201000, 2);
	one[0] = 0x200000 | 3;
	two[0] = 0x201000 | 3;
	*(uint64_t *)(g.ram + 0x12000 + 4 * 8) = OTHER_GPA | 3;
	guest_load(&g, &caller);
	*word(&g, STOP) = 1;
	CHECK(once(&g) == 1, "the guest runs code mapped by a table in a slot");
	abi_set_slot(g.vm, 1, 0, 0, 0, NULL);
	abi_set_slot(g.vm, 1, 0, OTHER_GPA, PAGE, two);
	CHECK(once(&g) == 2, "the table in another slot maps other code");
	memcpy(one, two, PAGE);
	one[0] = 0x200000 | 3;
	mremap(one, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, two);
	CHECK(once(&g) == 1, "and so does a table that the host puts there");
	guest_destroy(&g);
}

static void *run_thread(void *arg)
{
	return (void *)(intptr_t)guest_run(arg);
}

/* Wait until the guest has called the function twice more, for a minute. */
static bool guest_moves(struct guest *g)
{
	uint64_t was = *word(g, COUNT);
	int i;

	for (i = 0; i < 6000 && *word(g, COUNT) < was + 2; i++)
		usleep(10000);
	return i < 6000;
}

/*
 * Translated code that never leaves the guest world by itself: when the call
 * returns that replaces its code, the old code has run for the last time.
 */
static void check_running(void)
{
	int fd = function_file(1, 2), i, wrong = 0;
	void *mem = map_file(NULL, fd, MAP_SHARED, 0);
	struct guest g;
	pthread_t t;

	start(&g, mem);
	*word(&g, STOP) = 0;
	pthread_create(&t, NULL, run_thread, &g);
	CHECK(guest_moves(&g) && *word(&g, RESULT) == 1, "the guest runs by itself");
	for (i = 1; i <= 50; i++) {
		map_file(mem, fd, MAP_SHARED, i % 2 * PAGE);
		if (!guest_moves(&g))
			break;
		wrong += *word(&g, RESULT) != (uint64_t)i % 2 + 1;
	}
	CHECK(i > 50 && !wrong, "each of %d replacements is what it runs next (%d wrong)",
	      i - 1, wrong);
	*word(&g, STOP) = 1;
	pthread_join(t, NULL);
	CHECK(g.run->exit_reason == KVM_EXIT_HLT, "and it ends when asked to");
	guest_destroy(&g);
	close(fd);
}

int main(void)
{
	check_recreate();
	check_move();
	check_deleted();
	check_map_over();
	check_discard();
	check_hole();
	check_kept();
	check_tables();
	check_running();
	return abi_finish();
}
