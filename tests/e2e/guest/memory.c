// SPDX-License-Identifier: GPL-2.0-only
/*
 * mmap in its forms, protection, code made at run time.
 */
#include "check.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static sigjmp_buf back;

static void on_segv(int sig)
{
	(void)sig;
	siglongjmp(back, 1);
}

static bool faults(volatile char *p, bool write)
{
	if (sigsetjmp(back, 1))
		return true;
	if (write)
		*p = 1;
	else
		(void)*p;
	return false;
}

static char *map_new(size_t size, int prot, int flags)
{
	char *p = mmap(NULL, size, prot, flags | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

static void anonymous_memory(void)
{
	size_t size = 32 << 20, i;
	char *p = map_new(size, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	for (i = 0; i < size; i += 4096) {
		CHECK(!p[i], "not zero at %zx", i);
		*(uint32_t *)(p + i) = i * 31;
	}
	for (i = 0; i < size; i += 4096)
		CHECK(*(uint32_t *)(p + i) == (uint32_t)(i * 31), "at %zx", i);
	CHECK_CALL(madvise(p, size, MADV_DONTNEED));
	for (i = 0; i < size; i += 65536)
		CHECK(!*(uint32_t *)(p + i), "not zero after MADV_DONTNEED at %zx", i);
	CHECK_CALL(munmap(p, size));
}

static void protection(void)
{
	char *p = map_new(16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	int i;

	signal(SIGSEGV, on_segv);
	for (i = 0; i < 16; i++) {
		char *page = p + i * 4096;

		CHECK(!faults(page, true), "write");
		CHECK_CALL(mprotect(page, 4096, PROT_READ));
		CHECK(faults(page, true), "write to a read-only page");
		CHECK(!faults(page, false), "read");
		CHECK_CALL(mprotect(page, 4096, PROT_NONE));
		CHECK(faults(page, false), "read of a protected page");
		CHECK_CALL(mprotect(page, 4096, PROT_READ | PROT_WRITE));
		CHECK(!faults(page, true), "write again");
		CHECK_CALL(munmap(page, 4096));
		CHECK(faults(page, false), "read of an unmapped page");
	}
}

static void shared_file(void)
{
	int fd = CHECK_CALL(open("/tmp/e2e-shared", O_RDWR | O_CREAT | O_TRUNC, 0600));
	volatile int *a, *b;
	int i, status;
	pid_t pid;

	CHECK_CALL(ftruncate(fd, 65536));
	a = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	b = mmap(NULL, 65536, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(a != MAP_FAILED && b != MAP_FAILED, "mmap");
	pid = CHECK_CALL(fork());
	if (!pid) {
		for (i = 0; i < 16384; i++)
			a[i] = i * 3;
		_exit(0);
	}
	CHECK_CALL(waitpid(pid, &status, 0));
	for (i = 0; i < 16384; i++)
		CHECK(b[i] == i * 3, "at %d", i);
	CHECK(pread(fd, &i, 4, 40000) == 4 && i == 30000, "%d", i);
	CHECK_CALL(unlink("/tmp/e2e-shared"));
}

static void remapping(void)
{
	size_t size = 1 << 20, i;
	char *p = map_new(size, PROT_READ | PROT_WRITE, MAP_PRIVATE), *q;

	for (i = 0; i < size; i += 4096)
		*(uint32_t *)(p + i) = i;
	q = mremap(p, size, 8 * size, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED, "mremap: %s", strerror(errno));
	for (i = 0; i < size; i += 4096)
		CHECK(*(uint32_t *)(q + i) == i, "at %zx", i);
	signal(SIGSEGV, on_segv);
	CHECK(q == p || faults(p, false), "the old place is still there");
}

/* mov $n, %eax; ret: written, run, changed, over and over. */
static void generated_code(void)
{
	unsigned char *p = (unsigned char *)map_new(
		8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
	int (*f)(void) = (int (*)(void))p;
	int i;

	for (i = 0; i < 1000; i++) {
		p[0] = 0xb8;
		memcpy(p + 1, &i, 4);
		p[5] = 0xc3;
		CHECK(f() == i, "%d", i);
	}
	signal(SIGSEGV, on_segv);
	CHECK_CALL(mprotect(p, 4096, PROT_READ | PROT_WRITE));
	if (!sigsetjmp(back, 1)) {
		f();
		/* only processors without NX get here, which 32-bit programs may count on */
		CHECK(sizeof(long) == 4, "code without PROT_EXEC runs");
	}
}

static void large_memory(void)
{
	long pages = sysconf(_SC_AVPHYS_PAGES), use = pages / 2, i;
	char *p;

	if (use > (128 << 20) / 4096)
		use = (128 << 20) / 4096;
	p = map_new((size_t)use * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (i = 0; i < use; i++)
		*(long *)(p + i * 4096) = i * 17;
	for (i = 0; i < use; i++)
		CHECK(*(long *)(p + i * 4096) == i * 17, "page %ld", i);
}

static uint64_t hash(const uint8_t *p, size_t n)
{
	uint64_t h = 14695981039346656037ull;

	while (n--)
		h = (h ^ *p++) * 1099511628211ull;
	return h;
}

/* Memory keeps its content while processes come and go. */
static void memory_holds_under_load(void)
{
	size_t size = 4 << 20, i;
	uint8_t *p = (uint8_t *)map_new(size, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint64_t before;
	int round, status;

	for (i = 0; i < size; i++)
		p[i] = i * 7 + (i >> 12);
	before = hash(p, size);
	for (round = 0; round < 10; round++) {
		pid_t pid = CHECK_CALL(fork());

		if (!pid) {
			memset(p, round, size / 2);
			_exit(0);
		}
		CHECK_CALL(waitpid(pid, &status, 0));
		CHECK(hash(p, size) == before, "round %d", round);
	}
}

const struct check memory_checks[] = {
	{ "anonymous_memory", anonymous_memory, 0 },
	{ "protection", protection, 0 },
	{ "shared_file", shared_file, 0 },
	{ "remapping", remapping, 0 },
	{ "generated_code", generated_code, 0 },
	{ "large_memory", large_memory, 300 },
	{ "memory_holds_under_load", memory_holds_under_load, 300 },
	{ 0 },
};
