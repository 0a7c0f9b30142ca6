// SPDX-License-Identifier: GPL-2.0-only
/* mark N: a mark with that number in the statistics of `popf run --stats`. */
#include <stdlib.h>
#include <sys/io.h>

#define MARK_PORT 0x84

int main(int argc, char **argv)
{
	if (argc != 2 || ioperm(MARK_PORT, 1, 1))
		return 1;
	outb((unsigned char)atoi(argv[1]), MARK_PORT);
	return 0;
}
