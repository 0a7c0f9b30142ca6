// SPDX-License-Identifier: GPL-2.0-only
/*
 * All of this guest's memory holds a pattern of its own, seed=N on the command
 * line, for rounds=N rounds, with interrupts and page tables coming and going.
 * Two of these at once must never see each other (tests/e2e/test-two-vms).
 */
#include "x86.h"

static volatile u64 ticks;

static bool tick(struct trap *t)
{
	ticks++;
	apic_eoi();
	return true;
}

static u64 word(u64 seed, u64 pa)
{
	u64 x = (pa + 1) * 0x9e3779b97f4a7c15 ^ seed * 0xbf58476d1ce4e5b9;

	return x ^ x >> 29;
}

TEST(memory_keeps_this_guests_own_pattern)
{
	u64 seed = 1, rounds = 2, round, pa, step = 512;
	u64 first = (virt_to_phys(image_end) + (2ul << 20)) & -PAGE_SIZE;

	option_value("seed", &seed);
	option_value("rounds", &rounds);
	set_handler(0x50, tick);
	apic_write(APIC_LVTT, 0x20050);
	apic_write(APIC_TMICT, 1000000);
	for (pa = first; pa < memory_size(); pa += step)
		store64(phys(pa), word(seed, pa));
	sti();
	for (round = 0; round < rounds; round++) {
		u64 va = 0x0000600000000000 + (round % 8 << 30);

		/* through the direct map, then through new mappings of it */
		for (pa = first; pa < memory_size(); pa += step) {
			u64 got = load64(phys(pa));

			CHECK(got == word(seed, pa), "%lx at %lx in round %lu", got, pa, round);
		}
		for (pa = first; pa < first + (256ul << 12); pa += PAGE_SIZE)
			map(virt_to_phys(boot_pml4), va + pa, pa, PTE_P | PTE_W);
		for (pa = first; pa < first + (256ul << 12); pa += PAGE_SIZE)
			CHECK(load64((void *)(va + pa)) == (word(seed, pa)),
			      "at %lx in round %lu", pa, round);
		cli();
		pages_free_all();
		sti();
		if (rounds > 100 && round % 100 == 99)
			print("guest: seed %lu round %lu ticks %lu\n", seed, round + 1, ticks);
	}
	cli();
}
