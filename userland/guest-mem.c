// SPDX-License-Identifier: GPL-2.0-only
#include "guest-mem.h"

#include <errno.h>
#include <linux/memfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE		(2ULL << 20)
#define POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
#define POLICY		"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static void read_line(const char *path, char *buf, int size)
{
	FILE *f = fopen(path, "re");

	if (!f || !fgets(buf, size, f))
		buf[0] = '\0';
	if (f)
		fclose(f);
}

/* Would the host give transparent huge pages to a memfd that asks for them? */
static bool policy_has_thp(void)
{
	char line[128];

	read_line(POLICY, line, sizeof(line));
	return strstr(line, "[advise]") || strstr(line, "[always]") ||
	       strstr(line, "[within_size]") || strstr(line, "[force]");
}

static int check_pages(uint64_t size, enum guest_pages pages, struct error *err)
{
	if (pages == GUEST_PAGES_HUGE && size % LARGE)
		return error_caller(err, "hugepages=on needs a multiple of 2M, not %llu KiB",
				    (unsigned long long)size >> 10);
	if (pages == GUEST_PAGES_THP && !policy_has_thp())
		return error_caller(err, "the host gives no transparent huge pages to guest memory: write advise to " POLICY
				    ", or leave out hugepages=thp");
	return 0;
}

/* size bytes of address space that start at a multiple of 2 MiB, or MAP_FAILED. */
static void *reserve(uint64_t size)
{
	uint8_t *p = mmap(NULL, size + LARGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t before;

	if (p == MAP_FAILED)
		return p;
	before = -(uintptr_t)p & (LARGE - 1);
	if (before)
		munmap(p, before);
	munmap(p + before + size, LARGE - before);
	return p + before;
}

static int map_file(struct guest_mem *mem, enum guest_pages pages)
{
	bool pool = pages == GUEST_PAGES_HUGE;
	void *at, *p;

	if (ftruncate(mem->fd, mem->size) < 0)
		return -1;
	at = reserve(mem->size);
	if (at == MAP_FAILED)
		return -1;
	/* With pages of the pool, now is the time to learn that it has too few. */
	p = mmap(at, mem->size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED | (pool ? 0 : MAP_NORESERVE), mem->fd, 0);
	if (p == MAP_FAILED) {
		int saved = errno;

		munmap(at, mem->size);
		errno = saved;
		return -1;
	}
	mem->host = p;
	/* A kernel without transparent huge pages has neither advice. */
	if (pages != GUEST_PAGES_HUGE)
		madvise(p, mem->size, pages == GUEST_PAGES_SMALL ?
				MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	return 0;
}

static int no_memory(const struct guest_mem *mem, enum guest_pages pages,
		     struct error *err)
{
	int saved = errno;
	char pool[32];

	if (pages != GUEST_PAGES_HUGE)
		return error_caller(err, "cannot get %llu MiB of guest memory (%s): give a smaller --memory",
				    (unsigned long long)mem->size >> 20,
				    strerror(saved));
	read_line(POOL, pool, sizeof(pool));
	return error_caller(err, "hugepages=on needs %llu free pages of 2 MiB and the host has %d: write a larger number to /proc/sys/vm/nr_hugepages, or use hugepages=thp",
			    (unsigned long long)(mem->size / LARGE), atoi(pool));
}

int guest_mem_create(struct guest_mem *mem, uint64_t size,
		     enum guest_pages pages, struct error *err)
{
	unsigned int flags = MFD_CLOEXEC;

	memset(mem, 0, sizeof(*mem));
	mem->fd = -1;
	mem->size = size;
	mem->low = size < GUEST_LOW_MAX ? size : GUEST_LOW_MAX;
	mem->high = size - mem->low;
	if (check_pages(size, pages, err))
		return -1;
	if (pages == GUEST_PAGES_HUGE)
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	mem->fd = memfd_create("popf-guest-ram", flags);
	if (mem->fd < 0)
		return error_failure(err, "cannot create guest memory: %s",
				     strerror(errno));
	if (!map_file(mem, pages))
		return 0;
	no_memory(mem, pages, err);
	close(mem->fd);
	mem->fd = -1;
	return -1;
}

void guest_mem_destroy(struct guest_mem *mem)
{
	if (!mem->host)
		return;
	munmap(mem->host, mem->size);
	close(mem->fd);
	mem->host = NULL;
}

void *guest_mem_ptr(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	uint64_t off = gpa - GUEST_HIGH_BASE;

	if (gpa < mem->low && len <= mem->low - gpa)
		return mem->host + gpa;
	if (gpa >= GUEST_HIGH_BASE && off < mem->high &&
	    len <= mem->high - off)
		return mem->host + mem->low + off;
	return NULL;
}
