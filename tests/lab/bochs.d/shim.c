// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into Bochs.
 *
 *  - Bochs seeds RDRAND with the time of day. A fixed seed (BOCHS_SEED) makes a
 *    run repeatable, KASLR included.
 *  - Bochs prints what is written to port 0xe9 on its standard output, in between
 *    its screen. Those bytes go to the descriptor BOCHS_E9_FD instead.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long setting(const char *name, long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtol(text, NULL, 0) : otherwise;
}

void srand(unsigned int ignored)
{
	void (*next)(unsigned int) = (void (*)(unsigned int))dlsym(RTLD_NEXT, "srand");

	(void)ignored;
	next(setting("BOCHS_SEED", 1));
}

/* Is this code of the plugin that has port 0xe9? */
static bool is_port_e9(void *caller)
{
	static void *known;
	Dl_info info;

	if (known && caller == known)
		return true;
	if (!dladdr(caller, &info) || !info.dli_fname ||
	    !strstr(info.dli_fname, "libbx_unmapped"))
		return false;
	known = caller;
	return true;
}

int putc(int c, FILE *stream)
{
	static int fd = -2;
	unsigned char byte = c;

	if (fd == -2)
		fd = setting("BOCHS_E9_FD", -1);
	if (fd < 0 || stream != stdout || !is_port_e9(__builtin_return_address(0)))
		return fputc(c, stream);
	return write(fd, &byte, 1) == 1 ? byte : EOF;
}
