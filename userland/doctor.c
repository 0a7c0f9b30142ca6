// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checks of the host, in the order in which a user would fix what they find:
 * processor, kernel, module, device, then what is only worth a warning.
 */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define API_VERSION	12
#define OLDEST_MAJOR	6
#define OLDEST_MINOR	1
#define NEWEST_MAJOR	6
#define NEWEST_MINOR	12
#define WANTED_KIB	(640 << 10)	/* the default guest and its shadow */

enum verdict { OK, WARN, FAIL };

struct doctor {
	const struct doctor_env *env;
	unsigned int failed;
	bool loaded;		/* the module is in the kernel */
};

__attribute__((format(printf, 3, 4)))
static void say(struct doctor *d, enum verdict v, const char *fmt, ...)
{
	static const char *const words[] = { "ok", "warn", "fail" };
	va_list ap;

	if (v == FAIL)
		d->failed++;
	fprintf(d->env->out, "%-5s ", words[v]);
	va_start(ap, fmt);
	vfprintf(d->env->out, fmt, ap);
	va_end(ap);
	fputc('\n', d->env->out);
}

/* --- looking at files ---------------------------------------------------- */

static void path_of(const struct doctor *d, const char *path, char *buf,
		    size_t size)
{
	snprintf(buf, size, "%s%s", d->env->root, path);
}

static bool exists(const struct doctor *d, const char *path)
{
	char full[PATH_MAX];
	struct stat st;

	path_of(d, path, full, sizeof(full));
	return stat(full, &st) == 0;
}

/* The file's text, cut to size; empty when it cannot be read. */
static const char *text_of(const struct doctor *d, const char *path, char *buf,
			   size_t size)
{
	char full[PATH_MAX];
	size_t n = 0;
	FILE *f;

	path_of(d, path, full, sizeof(full));
	f = fopen(full, "re");
	if (f) {
		n = fread(buf, 1, size - 1, f);
		fclose(f);
	}
	buf[n] = '\0';
	return buf;
}

/* Is word one of the space-separated words of the line text points to? */
static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);
	const char *end = text + strcspn(text, "\n");
	const char *p = text;

	while ((p = strstr(p, word)) && p < end) {
		bool starts = p == text || p[-1] == ' ' || p[-1] == '\t';

		if (starts && (p[len] == ' ' || p[len] == '\n' || !p[len]))
			return true;
		p += len;
	}
	return false;
}

/* --- processor ----------------------------------------------------------- */

static void check_required_flags(struct doctor *d, const char *flags)
{
	static const struct {
		const char *flag, *what;
	} needed[] = {
		{ "lm", "64-bit mode" },
		{ "nx", "no-execute pages (enable them in the firmware)" },
		{ "syscall", "SYSCALL" },
	};
	bool all = true;
	unsigned int i;

	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (has_word(flags, needed[i].flag))
			continue;
		say(d, FAIL, "cpu: it lacks %s, which popf needs: use another machine",
		    needed[i].what);
		all = false;
	}
	if (all)
		say(d, OK, "cpu: 64-bit with no-execute pages");
}

static void check_optional_flags(struct doctor *d, const char *flags)
{
	if (!has_word(flags, "fsgsbase"))
		say(d, WARN, "cpu: no FSGSBASE: guests run, but switch processes more slowly");
	if (!has_word(flags, "constant_tsc") && !has_word(flags, "tsc_reliable"))
		say(d, WARN, "cpu: its time-stamp counter may change speed: clocks in guests may drift");
}

static void check_cpu(struct doctor *d)
{
	static char cpuinfo[1 << 16];
	const char *flags;

	if (strcmp(d->env->machine, "x86_64")) {
		say(d, FAIL, "cpu: this is %s: popf needs an x86-64 machine with a 64-bit kernel",
		    d->env->machine);
		return;
	}
	text_of(d, "/proc/cpuinfo", cpuinfo, sizeof(cpuinfo));
	flags = strstr(cpuinfo, "\nflags");
	if (!flags) {
		say(d, FAIL, "cpu: /proc/cpuinfo cannot be read: mount /proc");
		return;
	}
	flags++;
	check_required_flags(d, flags);
	check_optional_flags(d, flags);
	if (exists(d, "/dev/kvm") &&
	    (has_word(flags, "vmx") || has_word(flags, "svm")))
		say(d, WARN, "kvm: this host has hardware virtualization and /dev/kvm: KVM will be faster than popf here");
	else if (has_word(flags, "vmx") || has_word(flags, "svm"))
		say(d, WARN, "kvm: the processor has hardware virtualization: KVM will be faster once it is enabled");
	else
		say(d, OK, "kvm: no hardware virtualization, which is what popf is for");
}

/* --- kernel -------------------------------------------------------------- */

static void check_release(struct doctor *d)
{
	unsigned int major = 0, minor = 0;

	if (sscanf(d->env->release, "%u.%u", &major, &minor) != 2) {
		say(d, WARN, "kernel: its release '%s' is not understood",
		    d->env->release);
		return;
	}
	if (major < OLDEST_MAJOR ||
	    (major == OLDEST_MAJOR && minor < OLDEST_MINOR))
		say(d, FAIL, "kernel: %s is too old: use Linux %d.%d or later",
		    d->env->release, OLDEST_MAJOR, OLDEST_MINOR);
	else if (major > NEWEST_MAJOR ||
		 (major == NEWEST_MAJOR && minor > NEWEST_MINOR))
		say(d, WARN, "kernel: %s is newer than what popf was tested with (%d.%d): the module may not build",
		    d->env->release, NEWEST_MAJOR, NEWEST_MINOR);
	else
		say(d, OK, "kernel: %s", d->env->release);
}

static void check_xen(struct doctor *d)
{
	char type[64];

	text_of(d, "/sys/hypervisor/guest_type", type, sizeof(type));
	if (!strncmp(type, "PV", 2) && strncmp(type, "PVH", 3))
		say(d, FAIL, "kernel: it is a Xen PV guest, which does not own its page tables: use an HVM or PVH instance");
}

/* --- module -------------------------------------------------------------- */

static bool module_loaded(const struct doctor *d)
{
	static char modules[1 << 16];
	const char *p = text_of(d, "/proc/modules", modules, sizeof(modules));

	for (; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		if (!strncmp(p, "popf ", 5))
			return true;
	}
	return false;
}

/* What forbids loading an unsigned module, or null. */
static const char *loading_forbidden(const struct doctor *d)
{
	char text[256];

	if (!exists(d, "/proc/modules"))
		return "this kernel cannot load modules: use one built with CONFIG_MODULES";
	if (*text_of(d, "/proc/sys/kernel/modules_disabled", text,
		     sizeof(text)) == '1')
		return "loading is disabled until the next boot (kernel.modules_disabled)";
	text_of(d, "/sys/kernel/security/lockdown", text, sizeof(text));
	if (*text && !strstr(text, "[none]"))
		return "the kernel is locked down: sign the module, or turn Secure Boot off";
	if (*text_of(d, "/sys/module/module/parameters/sig_enforce", text,
		     sizeof(text)) == 'Y')
		return "the kernel wants signed modules (module.sig_enforce): sign it";
	return NULL;
}

static void check_headers(struct doctor *d)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/lib/modules/%s/build/Makefile",
		 d->env->release);
	if (exists(d, path))
		say(d, OK, "headers: those of %s are installed",
		    d->env->release);
	else if (d->loaded)
		say(d, WARN, "headers: those of %s are missing, so the module cannot be rebuilt: install linux-headers-%s",
		    d->env->release, d->env->release);
	else
		say(d, FAIL, "headers: those of %s are missing, so the module cannot be built: install linux-headers-%s",
		    d->env->release, d->env->release);
}

static void check_module(struct doctor *d)
{
	const char *forbidden;

	d->loaded = module_loaded(d);
	if (d->loaded) {
		say(d, OK, "module: loaded");
		return;
	}
	forbidden = loading_forbidden(d);
	if (forbidden)
		say(d, FAIL, "module: not loaded, and %s", forbidden);
	else if (!d->env->is_root)
		say(d, WARN, "module: not loaded: have root run 'insmod popf.ko'");
	else
		say(d, WARN, "module: not loaded: run 'insmod popf.ko'");
}

/* --- device -------------------------------------------------------------- */

static void check_device_version(struct doctor *d, int fd)
{
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);

	if (version == API_VERSION)
		say(d, OK, "device: %s answers", d->env->device);
	else
		say(d, FAIL, "device: %s does not speak popf's ABI: load the module that belongs to this popf",
		    d->env->device);
}

static void check_device(struct doctor *d)
{
	char path[PATH_MAX];
	int fd;

	path_of(d, d->env->device, path, sizeof(path));
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0) {
		check_device_version(d, fd);
		close(fd);
	} else if (errno == EACCES || errno == EPERM) {
		say(d, FAIL, "device: no permission to open %s: run as root or join the group that owns it",
		    d->env->device);
	} else if (d->loaded) {
		say(d, FAIL, "device: %s cannot be opened (%s) although the module is loaded: look at the kernel log",
		    d->env->device, strerror(errno));
	} else {
		say(d, FAIL, "device: there is no %s: load the module first",
		    d->env->device);
	}
}

/* --- the rest ------------------------------------------------------------ */

static void check_memory(struct doctor *d)
{
	char text[4096];
	const char *line;
	long kib;

	text_of(d, "/proc/meminfo", text, sizeof(text));
	line = strstr(text, "MemAvailable:");
	if (!line)
		return;
	kib = strtol(line + strlen("MemAvailable:"), NULL, 10);
	if (kib < WANTED_KIB)
		say(d, WARN, "memory: only %ld MiB are available: give guests less with --memory",
		    kib >> 10);
	else
		say(d, OK, "memory: %ld MiB are available", kib >> 10);
}

static void check_sandbox(struct doctor *d)
{
	char text[8192];

	text_of(d, "/proc/self/status", text, sizeof(text));
	if (strstr(text, "\nSeccomp:"))
		say(d, OK, "sandbox: seccomp is there");
	else
		say(d, WARN, "sandbox: this kernel has no seccomp: run guests with --no-sandbox");
}

unsigned int doctor_run(const struct doctor_env *env)
{
	struct doctor d = { .env = env };

	check_cpu(&d);
	check_release(&d);
	check_xen(&d);
	check_module(&d);
	check_headers(&d);
	check_device(&d);
	check_memory(&d);
	check_sandbox(&d);
	return d.failed;
}
