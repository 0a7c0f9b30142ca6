/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest RAM: one memfd, mapped once, aligned to 2 MiB like the guest's addresses of
 * it, so that host and guest can have large pages in the same places. The part
 * beyond 3 GiB appears to the guest at 4 GiB, which leaves a hole for MMIO below
 * 4 GiB.
 */
#ifndef POPF_USERLAND_GUEST_MEM_H
#define POPF_USERLAND_GUEST_MEM_H

#include <stdint.h>

#include "error.h"

#define GUEST_LOW_MAX	0xc0000000ULL
#define GUEST_HIGH_BASE	0x100000000ULL

/* What pages the host gives. */
enum guest_pages {
	GUEST_PAGES_AUTO,	/* large ones if the host's policy has them */
	GUEST_PAGES_SMALL,
	GUEST_PAGES_THP,	/* transparent huge pages, or an error */
	GUEST_PAGES_HUGE,	/* from the host's pool of 2 MiB pages */
};

struct guest_mem {
	int fd;
	uint8_t *host;		/* all of RAM, low part first */
	uint64_t size;
	uint64_t low;		/* bytes from address 0 */
	uint64_t high;		/* bytes from GUEST_HIGH_BASE */
};

/*
 * size: bytes, a multiple of 4 KiB, of 2 MiB for GUEST_PAGES_HUGE. 0 or -1; what
 * the host cannot give is the caller's error, with what to do about it.
 */
int guest_mem_create(struct guest_mem *mem, uint64_t size,
		     enum guest_pages pages, struct error *err);
void guest_mem_destroy(struct guest_mem *mem);

/* Host address of [gpa, gpa + len), or null when not all of it is RAM. */
void *guest_mem_ptr(const struct guest_mem *mem, uint64_t gpa, uint64_t len);

#endif
