/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An address space of device registers: x86 I/O ports, or MMIO.
 */
#ifndef POPF_DEVICES_BUS_H
#define POPF_DEVICES_BUS_H

#include <stdint.h>

#define BUS_MAX_RANGES	32

/*
 * off is relative to the start of the range; size is 1, 2, 4 or 8 bytes and
 * off + size never reaches past the range.
 */
struct bus_ops {
	uint64_t (*read)(void *dev, uint64_t off, unsigned int size);
	void (*write)(void *dev, uint64_t off, uint64_t val, unsigned int size);
};

struct bus_range {
	uint64_t base;
	uint64_t len;
	const struct bus_ops *ops;
	void *dev;
	const char *name;
	uint64_t reads;
	uint64_t writes;
};

struct bus {
	struct bus_range range[BUS_MAX_RANGES];
	unsigned int count;
	/* accesses nobody claimed, for the statistics */
	uint64_t unclaimed;
};

/*
 * Claims [base, base + len). Returns 0, -EINVAL for an empty or wrapping range
 * or missing ops, -EEXIST when it overlaps a claimed one, -ENOSPC when full.
 */
int bus_add(struct bus *bus, uint64_t base, uint64_t len,
	    const struct bus_ops *ops, void *dev, const char *name);

/* The range an address belongs to, or a null pointer. */
struct bus_range *bus_find(struct bus *bus, uint64_t addr);

/*
 * Reads of addresses nobody claimed give all ones and writes to them are
 * dropped, as on a PC. An access that straddles the end of a range is split
 * into bytes. size: 1, 2, 4 or 8.
 */
uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned int size);
void bus_write(struct bus *bus, uint64_t addr, uint64_t val, unsigned int size);

#endif
