// SPDX-License-Identifier: GPL-2.0-only
/* The device: version, capabilities, and the two list ioctls. */
#include "abi.h"

static const struct {
	long cap;
	int want; /* -1: any non-zero */
	const char *name;
} caps[] = {
	{ KVM_CAP_USER_MEMORY, 1, "USER_MEMORY" },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1, "DESTROY_MEMORY_REGION_WORKS" },
	{ KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1, "JOIN_MEMORY_REGIONS_WORKS" },
	{ KVM_CAP_SET_TSS_ADDR, 1, "SET_TSS_ADDR" },
	{ KVM_CAP_EXT_CPUID, 1, "EXT_CPUID" },
	{ KVM_CAP_MP_STATE, 1, "MP_STATE" },
	{ KVM_CAP_IRQ_ROUTING, -1, "IRQ_ROUTING" },
	{ KVM_CAP_NR_MEMSLOTS, -1, "NR_MEMSLOTS" },
	{ KVM_CAP_IMMEDIATE_EXIT, 1, "IMMEDIATE_EXIT" },
	{ KVM_CAP_SPLIT_IRQCHIP, 1, "SPLIT_IRQCHIP" },
	{ KVM_CAP_BINARY_STATS_FD, 1, "BINARY_STATS_FD" },
	{ KVM_CAP_READONLY_MEM, 1, "READONLY_MEM" },
	{ KVM_CAP_NR_VCPUS, 1, "NR_VCPUS" },
	/* What does not work must not be claimed. */
	{ KVM_CAP_IRQCHIP, 0, "IRQCHIP" },
	{ KVM_CAP_PIT2, 0, "PIT2" },
	{ KVM_CAP_NESTED_STATE, 0, "NESTED_STATE" },
	{ KVM_CAP_X86_SMM, 0, "X86_SMM" },
	{ KVM_CAP_X86_USER_SPACE_MSR, 0, "X86_USER_SPACE_MSR" },
	{ KVM_CAP_EXCEPTION_PAYLOAD, 0, "EXCEPTION_PAYLOAD" },
	{ KVM_CAP_COALESCED_MMIO, 0, "COALESCED_MMIO" },
	{ 0x7fffffff, 0, "a capability nobody knows" },
};

static void check_caps(int fd, const char *what)
{
	size_t i;

	for (i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		int got = abi_cap(fd, caps[i].cap);

		CHECK(caps[i].want < 0 ? got > 0 : got == caps[i].want,
		      "%s: capability %s is %d", what, caps[i].name, got);
	}
}

static void check_basics(int dev)
{
	const char *path = getenv("POPF_DEV");
	int fd = open(path ? path : "/dev/popf", O_RDONLY);

	CHECK(fd >= 0 && ioctl(fd, KVM_GET_API_VERSION, 0) == 12,
	      "a read-only open serves");
	close(fd);
	CHECK(ioctl(dev, KVM_GET_API_VERSION, 0) == 12, "the API version is 12");
	CHECK_ERRNO(ioctl(dev, KVM_GET_API_VERSION, 1), EINVAL,
		    "KVM_GET_API_VERSION refuses an argument");
	CHECK(ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0) == 3 * 4096,
	      "the run area has three pages");
	CHECK_ERRNO(ioctl(dev, KVM_CREATE_VM, 1), EINVAL,
		    "KVM_CREATE_VM refuses unknown types");
	CHECK_ERRNO(ioctl(dev, _IO(KVMIO, 0xff), 0), ENOTTY,
		    "an unknown ioctl is ENOTTY");
	CHECK_ERRNO(ioctl(dev, KVM_RUN, 0), ENOTTY, "the device does not run");
}

static void check_msr_list(int dev)
{
	struct {
		struct kvm_msr_list head;
		uint32_t indices[1024];
	} list = { .head.nmsrs = 0 };
	uint32_t count, i;
	bool star = false;

	CHECK_ERRNO(ioctl(dev, KVM_GET_MSR_INDEX_LIST, &list), E2BIG,
		    "a short MSR list is E2BIG");
	count = list.head.nmsrs;
	if (!CHECK(count > 0 && count <= 1024, "and says that %u are needed", count))
		return;
	memset(list.indices, 0xff, sizeof(list.indices));
	CHECK_ERRNO(ioctl(dev, KVM_GET_MSR_INDEX_LIST, &list), 0,
		    "an MSR list of that length is filled");
	CHECK(list.head.nmsrs == count && list.indices[count] == ~0u,
	      "and nothing beyond it");
	for (i = 0; i < count; i++)
		star |= list.indices[i] == 0xc0000081;
	CHECK(star, "the MSR list has STAR");
}

static void check_cpuid(int dev)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[101];
	} c = { .head.nent = 1 };
	uint32_t i;
	bool leaf0 = false;

	CHECK_ERRNO(ioctl(dev, KVM_GET_SUPPORTED_CPUID, &c), E2BIG,
		    "one CPUID entry is too few");
	c.head.nent = 100;
	CHECK_ERRNO(ioctl(dev, KVM_GET_SUPPORTED_CPUID, &c), 0,
		    "100 CPUID entries are enough");
	CHECK(c.head.nent > 0 && c.head.nent <= 100, "nent says %u", c.head.nent);
	for (i = 0; i < c.head.nent; i++)
		leaf0 |= c.entries[i].function == 0;
	CHECK(leaf0, "CPUID leaf 0 is among them");
	c.head.nent = 0xffffffff;
	CHECK_ERRNO(ioctl(dev, KVM_GET_SUPPORTED_CPUID, &c), 0,
		    "a huge nent is bounded");
}

int main(void)
{
	int dev = abi_open();
	int vm = abi_create_vm(dev);

	check_basics(dev);
	check_caps(dev, "device");
	check_caps(vm, "VM");
	check_msr_list(dev);
	check_cpuid(dev);
	return abi_finish();
}
