// SPDX-License-Identifier: GPL-2.0-only
/* KVM_SET_USER_MEMORY_REGION and KVM_GET_DIRTY_LOG as far as no guest is needed. */
#include "abi.h"

#define MIB (1ul << 20)

static void check_arguments(int vm, char *mem)
{
	struct kvm_userspace_memory_region kernel = {
		.memory_size = PAGE,
		.userspace_addr = 0xffff888000000000ull,
	};

	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 1, PAGE, mem), EINVAL,
		    "an unaligned guest address is refused");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 0, PAGE + 1, mem), EINVAL,
		    "an unaligned size is refused");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 0, PAGE, mem + 1), EINVAL,
		    "an unaligned host address is refused");
	CHECK_ERRNO(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &kernel), EINVAL,
		    "a kernel address is refused");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, -(uint64_t)PAGE, PAGE, mem), EINVAL,
		    "the end of the address space is refused");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, PAGE, -(uint64_t)PAGE, mem), EINVAL,
		    "a range that wraps is refused");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 1ull << 40, PAGE, mem), EINVAL,
		    "memory beyond the guest's address width is refused");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0x80000000, 0, PAGE, mem), EINVAL,
		    "an unknown flag is refused");
	CHECK_ERRNO(abi_set_slot(vm, 100000, 0, 0, PAGE, mem), EINVAL,
		    "a slot number out of range is refused");
	CHECK_ERRNO(abi_set_slot(vm, 1 << 16, 0, 0, PAGE, mem), EINVAL,
		    "a second address space is refused");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 0, 0, mem), EINVAL,
		    "deleting what is not there is refused");
	CHECK_ERRNO(ioctl(vm, KVM_SET_USER_MEMORY_REGION, NULL), EFAULT,
		    "no structure is EFAULT");
}

static void check_life(int vm, char *mem)
{
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 0, MIB, mem), 0, "a slot is created");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 0, MIB, mem), 0,
		    "creating it again changes nothing");
	CHECK_ERRNO(abi_set_slot(vm, 1, 0, MIB - PAGE, MIB, mem + MIB), EEXIST,
		    "an overlap at the end is refused");
	CHECK_ERRNO(abi_set_slot(vm, 1, 0, 0, 4 * MIB, mem), EEXIST,
		    "an overlap around is refused");
	CHECK_ERRNO(abi_set_slot(vm, 1, 0, MIB, MIB, mem + MIB), 0,
		    "a neighbour is fine");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 0, MIB / 2, mem), EINVAL,
		    "a slot cannot change its size");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 0, MIB, mem + MIB), EINVAL,
		    "nor its host address");
	CHECK_ERRNO(abi_set_slot(vm, 0, KVM_MEM_READONLY, 0, MIB, mem), EINVAL,
		    "nor become read-only");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 8 * MIB, MIB, mem), 0,
		    "a slot moves");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 8 * MIB + PAGE, MIB, mem), 0,
		    "a slot moves onto its own old place");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, MIB + PAGE, MIB, mem), EEXIST,
		    "a move onto another slot is refused");
	CHECK_ERRNO(abi_set_slot(vm, 2, 0, 0, MIB, mem), 0,
		    "the same memory may be in two slots");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 0, 0, NULL), 0, "a slot is deleted");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 8 * MIB, MIB, mem), 0,
		    "its number is free again");
	CHECK_ERRNO(abi_set_slot(vm, 3, KVM_MEM_READONLY, 16 * MIB, PAGE, mem), 0,
		    "a read-only slot is created");
}

static void check_all_slots(int dev)
{
	int vm = abi_create_vm(dev);
	int n = abi_cap(dev, KVM_CAP_NR_MEMSLOTS), i;
	char *mem = abi_pages(1);

	for (i = 0; i < n; i++) {
		/* Backwards, so that each goes to the front of the table. */
		if (abi_set_slot(vm, i, 0, (uint64_t)(n - i) * PAGE, PAGE, mem))
			break;
	}
	CHECK(i == n, "all %d slots can be used", n);
	CHECK_ERRNO(abi_set_slot(vm, n, 0, 1ull << 32, PAGE, mem), EINVAL,
		    "and not one more");
	CHECK_ERRNO(abi_set_slot(vm, n, 0, (n / 2) * PAGE, PAGE, mem), EINVAL,
		    "nor one in the middle");
	for (i = 0; i < n; i++) {
		if (abi_set_slot(vm, i, 0, 0, 0, NULL))
			break;
	}
	CHECK(i == n, "and all can be deleted");
	close(vm);
}

static void check_dirty_log(int dev)
{
	int vm = abi_create_vm(dev);
	char *mem = abi_pages(256);
	uint64_t bitmap[4];
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bitmap };

	CHECK_ERRNO(ioctl(vm, KVM_GET_DIRTY_LOG, &log), ENOENT,
		    "no slot has no dirty log");
	abi_set_slot(vm, 0, 0, 0, MIB, mem);
	CHECK_ERRNO(ioctl(vm, KVM_GET_DIRTY_LOG, &log), ENOENT,
		    "a slot without logging has no dirty log");
	CHECK_ERRNO(abi_set_slot(vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, MIB, mem), 0,
		    "logging can be switched on");
	memset(bitmap, 0xff, sizeof(bitmap));
	CHECK_ERRNO(ioctl(vm, KVM_GET_DIRTY_LOG, &log), 0, "and then read");
	CHECK(!(bitmap[0] | bitmap[1] | bitmap[2] | bitmap[3]),
	      "nothing is dirty at first");
	log.dirty_bitmap = NULL;
	CHECK_ERRNO(ioctl(vm, KVM_GET_DIRTY_LOG, &log), EFAULT,
		    "nowhere to write it is EFAULT");
	log.slot = 0xffffffff;
	CHECK_ERRNO(ioctl(vm, KVM_GET_DIRTY_LOG, &log), EINVAL,
		    "a slot number out of range is refused for the log");
	CHECK_ERRNO(abi_set_slot(vm, 0, 0, 0, MIB, mem), 0,
		    "logging can be switched off");
	close(vm);
}

int main(void)
{
	int dev = abi_open();
	int vm = abi_create_vm(dev);
	char *mem = abi_pages(4 * MIB / PAGE);

	check_arguments(vm, mem);
	check_life(vm, mem);
	check_all_slots(dev);
	check_dirty_log(dev);
	CHECK_ERRNO(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000ul), 0,
		    "KVM_SET_TSS_ADDR takes a place below 4 GiB");
	CHECK_ERRNO(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffff000ul), EINVAL,
		    "and none across it");
	return abi_finish();
}
