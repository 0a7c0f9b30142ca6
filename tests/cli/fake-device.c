// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtual machine device in a preloaded library, for tests of the popf command
 * as a whole process where no module can be loaded: /dev/popf-fake opens, takes
 * every ioctl of the launcher, and "runs" a guest that follows the script in
 * FAKE_GUEST:
 *
 *	hang		nothing, until it is interrupted
 *	off, reset	one port write
 *	triple, internal, fail-entry, failed-run	one exit, or a failing ioctl
 *	print		"hello\r\n" to the serial port, then off
 *	flood		serial output without end
 *	echo		serial input back to serial output; 'q' powers off
 *	crash		a bad pointer in the vCPU's thread
 *	open		a system call the sandbox does not allow
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE		"/dev/popf-fake"
#define RUN_SIZE	12288
#define DATA_OFFSET	4096

static struct {
	int dev_fd, vm_fd, vcpu_fd;
	struct kvm_run *run;
	const char *script;
	unsigned int step;
	bool reading;		/* echo: waits for a byte of input */
} fake = { -1, -1, -1, NULL, NULL, 0, false };

int open(const char *path, int flags, ...)
{
	int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
	mode_t mode = 0;
	va_list ap;

	if (!strcmp(path, DEVICE)) {
		fake.script = getenv("FAKE_GUEST");
		fake.dev_fd = memfd_create("fake-device", MFD_CLOEXEC);
		return fake.dev_fd;
	}
	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return real(path, flags, mode);
}

static int create_vcpu(void)
{
	fake.vcpu_fd = memfd_create("fake-vcpu", MFD_CLOEXEC);
	if (fake.vcpu_fd < 0 || ftruncate(fake.vcpu_fd, RUN_SIZE) < 0)
		return -1;
	fake.run = mmap(NULL, RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			fake.vcpu_fd, 0);
	return fake.vcpu_fd;
}

/* --- the guest ----------------------------------------------------------- */

static uint8_t *data(void)
{
	return (uint8_t *)fake.run + DATA_OFFSET;
}

static int port(bool out, uint16_t number, uint8_t size, uint32_t val)
{
	fake.run->exit_reason = KVM_EXIT_IO;
	fake.run->io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
	fake.run->io.port = number;
	fake.run->io.size = size;
	fake.run->io.count = 1;
	fake.run->io.data_offset = DATA_OFFSET;
	memcpy(data(), &val, sizeof(val));
	return 0;
}

static int exit_with(unsigned int reason)
{
	memset(&fake.run->internal, 0, sizeof(fake.run->internal));
	fake.run->exit_reason = reason;
	return 0;
}

static int power_off(void)
{
	return port(true, 0x604, 2, 1 << 13 | 5 << 10);
}

static int hang(void)
{
	while (!fake.run->immediate_exit)
		poll(NULL, 0, 20);
	errno = EINTR;
	return -1;
}

static int print(void)
{
	static const char text[] = "hello\r\n";

	if (fake.step < strlen(text))
		return port(true, 0x3f8, 1, text[fake.step++]);
	return power_off();
}

/* Alternates between asking LSR, reading RBR and writing THR. */
static int echo(void)
{
	switch (fake.step) {
	case 0:
		fake.step = 1;
		return port(false, 0x3fd, 1, 0);
	case 1:
		if (!(*data() & 1)) {
			poll(NULL, 0, 5);
			if (fake.run->immediate_exit) {
				errno = EINTR;
				return -1;
			}
			return port(false, 0x3fd, 1, 0);
		}
		fake.step = 2;
		return port(false, 0x3f8, 1, 0);
	default:
		fake.step = 0;
		if (*data() == 'q')
			return power_off();
		return port(true, 0x3f8, 1, *data());
	}
}

static int run_guest(void)
{
	const char *s = fake.script ? fake.script : "off";

	if (fake.run->immediate_exit) {
		errno = EINTR;
		return -1;
	}
	if (!strcmp(s, "off"))
		return power_off();
	if (!strcmp(s, "reset"))
		return port(true, 0x64, 1, 0xfe);
	if (!strcmp(s, "triple"))
		return exit_with(KVM_EXIT_SHUTDOWN);
	if (!strcmp(s, "internal"))
		return exit_with(KVM_EXIT_INTERNAL_ERROR);
	if (!strcmp(s, "fail-entry"))
		return exit_with(KVM_EXIT_FAIL_ENTRY);
	if (!strcmp(s, "print"))
		return print();
	if (!strcmp(s, "flood"))
		return port(true, 0x3f8, 1, 'x');
	if (!strcmp(s, "echo"))
		return echo();
	if (!strcmp(s, "crash"))
		raise(SIGSEGV);
	if (!strcmp(s, "open"))
		mkdir("/tmp/popf-sandbox-escaped", 0700);
	if (!strcmp(s, "failed-run")) {
		errno = EFAULT;
		return -1;
	}
	return hang();
}

/* --- ioctls -------------------------------------------------------------- */

static int device_ioctl(unsigned long request)
{
	switch (request) {
	case KVM_GET_API_VERSION:
		return getenv("FAKE_VERSION") ? atoi(getenv("FAKE_VERSION")) :
						12;
	case KVM_CHECK_EXTENSION:
		return !getenv("FAKE_NO_CAPS");
	case KVM_CREATE_VM:
		fake.vm_fd = memfd_create("fake-vm", MFD_CLOEXEC);
		return fake.vm_fd;
	case KVM_GET_VCPU_MMAP_SIZE:
		return RUN_SIZE;
	}
	return 0;
}

static int vcpu_ioctl(unsigned long request, void *arg)
{
	switch (request) {
	case KVM_RUN:
		return run_guest();
	case KVM_GET_REGS:
		memset(arg, 0, sizeof(struct kvm_regs));
		((struct kvm_regs *)arg)->rip = 0x100200;
		return 0;
	case KVM_GET_SREGS:
		memset(arg, 0, sizeof(struct kvm_sregs));
		return 0;
	case KVM_GET_STATS_FD:
		errno = ENOTTY;
		return -1;
	case KVM_GET_TSC_KHZ:
		return 1000000;
	}
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
	void *arg;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (fd < 0)
		return real(fd, request, arg);
	if (fd == fake.vm_fd && request == KVM_CREATE_VCPU)
		return create_vcpu();
	if (fd == fake.vm_fd && request == KVM_GET_STATS_FD) {
		errno = ENOTTY;
		return -1;
	}
	if (fd == fake.dev_fd || fd == fake.vm_fd)
		return device_ioctl(request);
	if (fd == fake.vcpu_fd)
		return vcpu_ioctl(request, arg);
	return real(fd, request, arg);
}
