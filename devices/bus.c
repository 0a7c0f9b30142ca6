// SPDX-License-Identifier: GPL-2.0-only
/*
 * Routing of port and MMIO accesses to device models. A machine has about a
 * dozen ranges, so a linear search is shorter and faster than anything else.
 */
#include "bus.h"

#include <errno.h>
#include <stddef.h>

int bus_add(struct bus *bus, uint64_t base, uint64_t len,
	    const struct bus_ops *ops, void *dev, const char *name)
{
	unsigned int i;

	if (!len || base + len - 1 < base || !ops || !ops->read || !ops->write)
		return -EINVAL;
	if (bus->count == BUS_MAX_RANGES)
		return -ENOSPC;
	for (i = 0; i < bus->count; i++) {
		const struct bus_range *r = &bus->range[i];

		if (base <= r->base + r->len - 1 && r->base <= base + len - 1)
			return -EEXIST;
	}
	bus->range[bus->count++] = (struct bus_range){
		.base = base, .len = len, .ops = ops, .dev = dev, .name = name,
	};
	return 0;
}

struct bus_range *bus_find(struct bus *bus, uint64_t addr)
{
	unsigned int i;

	for (i = 0; i < bus->count; i++) {
		if (addr - bus->range[i].base < bus->range[i].len)
			return &bus->range[i];
	}
	return NULL;
}

static uint64_t size_mask(unsigned int size)
{
	return size >= 8 ? ~0ULL : (1ULL << (size * 8)) - 1;
}

/* True when the whole access lies inside r. */
static int covers(const struct bus_range *r, uint64_t addr, unsigned int size)
{
	return r && r->len - (addr - r->base) >= size;
}

/* True when no byte of the access is claimed. */
static int all_unclaimed(struct bus *bus, uint64_t addr, unsigned int size)
{
	unsigned int i;

	for (i = 0; i < size; i++) {
		if (bus_find(bus, addr + i))
			return 0;
	}
	bus->unclaimed++;
	return 1;
}

uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned int size)
{
	struct bus_range *r = bus_find(bus, addr);
	uint64_t val = 0;
	unsigned int i;

	if (covers(r, addr, size)) {
		r->reads++;
		return r->ops->read(r->dev, addr - r->base, size) &
		       size_mask(size);
	}
	if (all_unclaimed(bus, addr, size))
		return size_mask(size);
	for (i = 0; i < size; i++)
		val |= bus_read(bus, addr + i, 1) << (i * 8);
	return val;
}

void bus_write(struct bus *bus, uint64_t addr, uint64_t val, unsigned int size)
{
	struct bus_range *r = bus_find(bus, addr);
	unsigned int i;

	if (covers(r, addr, size)) {
		r->writes++;
		r->ops->write(r->dev, addr - r->base, val & size_mask(size),
			      size);
		return;
	}
	if (all_unclaimed(bus, addr, size))
		return;
	for (i = 0; i < size; i++)
		bus_write(bus, addr + i, (val >> (i * 8)) & 0xff, 1);
}
