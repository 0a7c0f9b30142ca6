// SPDX-License-Identifier: GPL-2.0-only
#include "guest-mem.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int guest_mem_create(struct guest_mem *mem, uint64_t size, struct error *err)
{
	memset(mem, 0, sizeof(*mem));
	mem->size = size;
	mem->low = size < GUEST_LOW_MAX ? size : GUEST_LOW_MAX;
	mem->high = size - mem->low;
	mem->fd = memfd_create("popf-guest-ram", MFD_CLOEXEC);
	if (mem->fd < 0)
		return error_failure(err, "cannot create guest memory: %s",
				     strerror(errno));
	if (ftruncate(mem->fd, size) < 0)
		goto out_close;
	mem->host = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE, mem->fd, 0);
	if (mem->host == MAP_FAILED)
		goto out_close;
	return 0;

out_close:
	error_caller(err, "cannot get %llu MiB of guest memory (%s): give a smaller --memory",
		     (unsigned long long)size >> 20, strerror(errno));
	close(mem->fd);
	mem->fd = -1;
	mem->host = NULL;
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
