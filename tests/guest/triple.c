// SPDX-License-Identifier: GPL-2.0-only
/*
 * A triple fault stops the machine.
 */
#include "x86.h"

TEST(a_triple_fault_ends_the_machine)
{
	print("guest: about to fault three times\n");
	load_idt(NULL, 0);
	asm volatile("ud2");
	fail("it went on");
}
