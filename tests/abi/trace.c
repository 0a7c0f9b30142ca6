// SPDX-License-Identifier: GPL-2.0-only
/* The tracepoints: all are there, and tell of what a guest does. */
#include <sys/mount.h>

#include "abi.h"

#define TRACING "/sys/kernel/tracing/"

static bool put(const char *file, const char *text)
{
	char path[256];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = open(path, O_WRONLY | O_TRUNC);
	ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Raises #UD, whose handler halts. */
GUEST_ASM(traced, "ud2\n"
		  ".org traced_start + 0x100\n"
		  "mov 0x100000, %rax\n"
		  "hlt\n");

int main(void)
{
	static const char *const names[] = { "popf_entry", "popf_exit",
					     "popf_page_fault", "popf_translate",
					     "popf_inject" };
	static char text[1 << 16];
	struct guest g;
	size_t i;
	int fd;

	/* It may be mounted already. */
	mount("tracefs", TRACING, "tracefs", 0, NULL);
	if (access(TRACING "events", F_OK)) {
		abi_skip("there is no tracefs", "tracepoints tell of a guest");
		return 77;
	}
	put("trace", "\n");
	CHECK(put("events/popf/enable", "1"), "tracepoints can be switched on");
	guest_create(&g, false);
	guest_load(&g, &traced);
	guest_set_gate(&g, 6, GUEST_CODE + 0x100);
	CHECK(guest_run(&g) == 0 && g.run->exit_reason == KVM_EXIT_HLT,
	      "a guest runs with them on");
	put("events/popf/enable", "0");
	fd = open(TRACING "trace", O_RDONLY);
	for (i = 0; i < sizeof(text) - 1;) {
		ssize_t n = read(fd, text + i, sizeof(text) - 1 - i);

		if (n <= 0)
			break;
		i += n;
	}
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CHECK(strstr(text, names[i]), "%s tells", names[i]);
	CHECK(strstr(text, "popf_inject: vcpu 0 vector 6"),
	      "of the exception that was injected");
	guest_destroy(&g);
	return abi_finish();
}
