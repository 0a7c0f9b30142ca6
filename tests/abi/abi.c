// SPDX-License-Identifier: GPL-2.0-only
/* See abi.h. */
#include <stdarg.h>

#include "abi.h"

const char *abi_program = "abi";

static int passed, failed, skipped;

__attribute__((constructor)) static void abi_start(int argc, char **argv)
{
	const char *slash = argc ? strrchr(argv[0], '/') : NULL;

	if (argc)
		abi_program = slash ? slash + 1 : argv[0];
	setvbuf(stdout, NULL, _IOLBF, 0);
}

bool abi_check(bool ok, const char *fmt, ...)
{
	va_list ap;

	*(ok ? &passed : &failed) += 1;
	printf("%sok %d - %s: ", ok ? "" : "not ", passed + failed + skipped,
	       abi_program);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	return ok;
}

void abi_skip(const char *why, const char *claim)
{
	skipped++;
	printf("ok %d - %s: %s # SKIP %s\n", passed + failed + skipped,
	       abi_program, claim, why);
}

int abi_finish(void)
{
	printf("%d passed, %d failed\n", passed, failed);
	return failed || !passed;
}

static void die(const char *what)
{
	printf("not ok - %s: cannot %s: %s\n", abi_program, what, strerror(errno));
	exit(1);
}

int abi_open(void)
{
	const char *path = getenv("POPF_DEV");
	int fd = open(path ? path : "/dev/popf", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("open the device");
	return fd;
}

int abi_create_vm(int dev)
{
	int fd = ioctl(dev, KVM_CREATE_VM, 0);

	if (fd < 0)
		die("create a VM");
	return fd;
}

int abi_create_vcpu(int vm, unsigned int id)
{
	int fd = ioctl(vm, KVM_CREATE_VCPU, id);

	if (fd < 0)
		die("create a vCPU");
	return fd;
}

struct kvm_run *abi_map_run(int dev, int vcpu)
{
	int size = ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *p;

	if (size < 0)
		die("get the size of the run area");
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (p == MAP_FAILED)
		die("map the run area");
	return p;
}

void *abi_pages(size_t pages)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("get memory");
	return p;
}

int abi_set_slot(int vm, uint32_t slot, uint32_t flags, uint64_t gpa,
		 uint64_t size, void *mem)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)mem,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

int abi_cap(int fd, long cap)
{
	return ioctl(fd, KVM_CHECK_EXTENSION, cap);
}

uint64_t abi_stat(int fd, const char *name)
{
	static char file[1 << 16];
	struct kvm_stats_header *h = (void *)file;
	int stats = ioctl(fd, KVM_GET_STATS_FD, NULL);
	uint64_t value = ~0ull;
	ssize_t n = stats < 0 ? -1 : pread(stats, file, sizeof(file), 0);
	uint32_t i;

	for (i = 0; n >= (ssize_t)sizeof(*h) && i < h->num_desc; i++) {
		struct kvm_stats_desc *d = (void *)(file + h->desc_offset +
						    i * (sizeof(*d) + h->name_size));

		if (!strcmp(d->name, name))
			memcpy(&value, file + h->data_offset + d->offset, 8);
	}
	if (stats >= 0)
		close(stats);
	return value;
}
