// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every ioctl number near the known ones, with pointers that lead nowhere, on
 * every kind of file: an errno each time, and a VM that still works after it.
 */
#include <limits.h>

#include "../abi/abi.h"

/* Rounds of random arguments. */
#define ROUNDS 3000

static uint64_t seed = 88172645463325252ull;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

struct target {
	int fd;
	const char *name;
};

static bool creates_fd(unsigned long cmd)
{
	return cmd == KVM_CREATE_VM || cmd == KVM_CREATE_VCPU ||
	       cmd == KVM_GET_STATS_FD;
}

static const unsigned long cmds[] = {
	KVM_GET_API_VERSION,	 KVM_CREATE_VM,
	KVM_CHECK_EXTENSION,	 KVM_GET_VCPU_MMAP_SIZE,
	KVM_GET_MSR_INDEX_LIST,	 KVM_GET_SUPPORTED_CPUID,
	KVM_CREATE_VCPU,	 KVM_SET_USER_MEMORY_REGION,
	KVM_GET_DIRTY_LOG,	 KVM_SET_TSS_ADDR,
	KVM_SET_IDENTITY_MAP_ADDR, KVM_ENABLE_CAP,
	KVM_SET_GSI_ROUTING,	 KVM_SIGNAL_MSI,
	KVM_GET_CLOCK,		 KVM_SET_CLOCK,
	KVM_GET_STATS_FD,	 KVM_SET_SIGNAL_MASK,
	KVM_INTERRUPT,		 KVM_NMI,
	KVM_GET_TSC_KHZ,	 KVM_SET_TSC_KHZ,
	KVM_KVMCLOCK_CTRL,	 KVM_GET_REGS,
	KVM_SET_REGS,		 KVM_GET_SREGS,
	KVM_SET_SREGS,		 KVM_GET_FPU,
	KVM_SET_FPU,		 KVM_GET_XSAVE,
	KVM_GET_XSAVE2,		 KVM_SET_XSAVE,
	KVM_GET_XCRS,		 KVM_SET_XCRS,
	KVM_GET_MSRS,		 KVM_SET_MSRS,
	KVM_GET_CPUID2,		 KVM_SET_CPUID2,
	KVM_GET_LAPIC,		 KVM_SET_LAPIC,
	KVM_GET_MP_STATE,	 KVM_SET_MP_STATE,
	KVM_GET_VCPU_EVENTS,	 KVM_SET_VCPU_EVENTS,
	KVM_GET_DEBUGREGS,	 KVM_SET_DEBUGREGS,
};

#define CMDS (sizeof(cmds) / sizeof(cmds[0]))

static bool alive(int vcpu)
{
	struct kvm_regs regs;

	return ioctl(vcpu, KVM_GET_REGS, &regs) == 0;
}

/* Takes a pointer to a structure that it must read or write. */
static bool wants_pointer(unsigned long cmd)
{
	return _IOC_SIZE(cmd) && cmd != KVM_SET_SIGNAL_MASK;
}

static void bad_pointers(const struct target *targets, size_t n, int vcpu)
{
	/* A page that can be read, and none behind it. */
	void *readonly = mmap(NULL, 2 * PAGE, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long bad[] = { 0, 8, PAGE - 1, 0x7ffffffff000ul,
				0x8000000000000000ul, 0xffff888000000000ul,
				-1ul, (uintptr_t)readonly + PAGE - 2 };
	size_t t, c, b, wrong = 0;

	mprotect(readonly, PAGE, PROT_READ);
	for (t = 0; t < n; t++) {
		for (c = 0; c < CMDS; c++) {
			for (b = 0; b < sizeof(bad) / sizeof(bad[0]); b++) {
				if (!wants_pointer(cmds[c]))
					continue;
				if (ioctl(targets[t].fd, cmds[c], bad[b]) >= 0) {
					printf("# %s: %#lx took %#lx\n",
					       targets[t].name, cmds[c], bad[b]);
					wrong++;
				}
			}
		}
	}
	CHECK(wrong == 0, "no ioctl takes a bad pointer");
	CHECK(alive(vcpu), "and the VM has survived them");
}

static void unknown_numbers(const struct target *targets, size_t n, int vcpu)
{
	size_t t, known = 0;
	unsigned int nr;

	for (t = 0; t < n; t++) {
		for (nr = 0; nr < 256; nr++) {
			/* No size and no pointer: nothing popf has but these. */
			unsigned long cmd = _IOC(_IOC_WRITE, KVMIO, nr, 1);

			known += ioctl(targets[t].fd, cmd, 0) >= 0 || errno != ENOTTY;
		}
	}
	CHECK(known == 0, "ioctl numbers of another size are unknown");
	CHECK(alive(vcpu), "and the VM has survived them");
}

/* Structures full of random bits, on the files they belong to and on others. */
static void random_contents(const struct target *targets, size_t n, int vcpu)
{
	uint64_t *buf = abi_pages(16);
	int round;
	size_t i;

	for (round = 0; round < ROUNDS; round++) {
		unsigned long cmd = cmds[rnd() % CMDS];
		int r;

		/* Sparse bits reach further than dense ones. */
		for (i = 0; i < 512; i++)
			buf[i] = round & 1 ? rnd() : rnd() & rnd() & rnd() & rnd();
		/* Never a slot over this program's own memory. */
		if (cmd == KVM_SET_USER_MEMORY_REGION)
			((struct kvm_userspace_memory_region *)buf)->userspace_addr =
				(uintptr_t)buf;
		r = ioctl(targets[rnd() % n].fd, cmd,
			  creates_fd(cmd) ? rnd() % 4 : (uintptr_t)buf);
		if (r >= 0 && creates_fd(cmd))
			close(r);
	}
	CHECK(alive(vcpu), "%d random structures later the VM still answers", ROUNDS);
	munmap(buf, 16 * PAGE);
}

/* A list whose length says more than there is memory behind. */
static void short_lists(int dev, int vm, int vcpu)
{
	char *page = abi_pages(2);
	uint32_t *tail;

	munmap(page + PAGE, PAGE);
	tail = (uint32_t *)(page + PAGE - 8);
	tail[0] = 90;
	tail[1] = 0;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_CPUID2, tail), EFAULT,
		    "a CPUID list that ends in nothing is EFAULT");
	CHECK_ERRNO(ioctl(dev, KVM_GET_SUPPORTED_CPUID, tail), EFAULT,
		    "to write one there, too");
	tail[0] = 200;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_MSRS, tail), EFAULT, "an MSR list, too");
	CHECK_ERRNO(ioctl(vcpu, KVM_GET_MSRS, tail), EFAULT, "to read MSRs, too");
	tail[0] = 100;
	CHECK_ERRNO(ioctl(vm, KVM_SET_GSI_ROUTING, tail), EFAULT,
		    "a routing table, too");
}

static int create_other_vm(int dev)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_SPLIT_IRQCHIP,
		.args = { 24 },
	};
	int vm = abi_create_vm(dev);

	ioctl(vm, KVM_ENABLE_CAP, &cap);
	return vm;
}

int main(void)
{
	int dev = abi_open(), vm = create_other_vm(dev);
	int vcpu = abi_create_vcpu(vm, 0);
	struct target targets[] = {
		{ dev, "device" },
		{ vm, "VM" },
		{ vcpu, "vCPU" },
		{ ioctl(vcpu, KVM_GET_STATS_FD, 0), "statistics" },
	};
	const size_t n = sizeof(targets) / sizeof(targets[0]);

	bad_pointers(targets, n, vcpu);
	unknown_numbers(targets, n, vcpu);
	short_lists(dev, vm, vcpu);
	random_contents(targets, n, vcpu);
	return abi_finish();
}
