// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device node: system ioctls, and the capabilities that popf claims. A
 * capability is listed here only when the ioctls behind it work.
 */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include <asm/cpufeature.h>

#include "kmod.h"

long popf_ioctl_route(const struct popf_ioctl *table, size_t count, void *obj,
		      unsigned int cmd, unsigned long arg)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (table[i].cmd == cmd)
			return table[i].fn(obj, arg);
	}
	return -ENOTTY;
}

long popf_check_extension(struct popf_kvm *kvm, unsigned long cap)
{
	switch (cap) {
	case KVM_CAP_USER_MEMORY:
	case KVM_CAP_SET_TSS_ADDR:
	case KVM_CAP_EXT_CPUID:
	case KVM_CAP_MP_STATE:
	case KVM_CAP_SYNC_MMU:
	case KVM_CAP_DESTROY_MEMORY_REGION_WORKS:
	case KVM_CAP_USER_NMI:
	case KVM_CAP_JOIN_MEMORY_REGIONS_WORKS:
	case KVM_CAP_SET_IDENTITY_MAP_ADDR:
	case KVM_CAP_INTERNAL_ERROR_DATA:
	case KVM_CAP_VCPU_EVENTS:
	case KVM_CAP_DEBUGREGS:
	case KVM_CAP_GET_TSC_KHZ:
	case KVM_CAP_SIGNAL_MSI:
	case KVM_CAP_READONLY_MEM:
	case KVM_CAP_ENABLE_CAP_VM:
	case KVM_CAP_CHECK_EXTENSION_VM:
	case KVM_CAP_SPLIT_IRQCHIP:
	case KVM_CAP_TSC_DEADLINE_TIMER:
	case KVM_CAP_IMMEDIATE_EXIT:
	case KVM_CAP_BINARY_STATS_FD:
		return 1;
	case KVM_CAP_NR_VCPUS:
	case KVM_CAP_MAX_VCPUS:
	case KVM_CAP_MAX_VCPU_ID:
		return POPF_MAX_VCPUS;
	case KVM_CAP_NR_MEMSLOTS:
		return POPF_NR_MEMSLOTS;
	case KVM_CAP_MULTI_ADDRESS_SPACE:
		return 1;
	case KVM_CAP_IRQ_ROUTING:
		return POPF_MAX_IRQ_ROUTES;
	case KVM_CAP_ADJUST_CLOCK:
		return POPF_CLOCK_FLAGS;
	case KVM_CAP_XSAVE:
	case KVM_CAP_XCRS:
		return boot_cpu_has(X86_FEATURE_XSAVE);
	case KVM_CAP_XSAVE2:
		return boot_cpu_has(X86_FEATURE_XSAVE) ? popf_xsave_size() : 0;
	default:
		return 0;
	}
}

static long dev_get_api_version(void *obj, unsigned long arg)
{
	return arg ? -EINVAL : KVM_API_VERSION;
}

static long dev_create_vm(void *obj, unsigned long arg)
{
	return arg ? -EINVAL : popf_vm_create();
}

static long dev_check_extension(void *obj, unsigned long arg)
{
	return popf_check_extension(NULL, arg);
}

static long dev_get_vcpu_mmap_size(void *obj, unsigned long arg)
{
	return arg ? -EINVAL : POPF_VCPU_MMAP_PAGES * PAGE_SIZE;
}

/* nmsrs comes back whether the caller's list was long enough or not. */
static long dev_get_msr_index_list(void *obj, unsigned long arg)
{
	struct kvm_msr_list __user *user = (void __user *)arg;
	struct kvm_msr_list list;
	const u32 *msrs;
	u32 count;

	if (copy_from_user(&list, user, sizeof(list)))
		return -EFAULT;
	msrs = vcpu_msr_list(&count);
	if (put_user(count, &user->nmsrs))
		return -EFAULT;
	if (list.nmsrs < count)
		return -E2BIG;
	if (copy_to_user(user->indices, msrs, count * sizeof(*msrs)))
		return -EFAULT;
	return 0;
}

static long dev_get_supported_cpuid(void *obj, unsigned long arg)
{
	struct kvm_cpuid2 __user *user = (void __user *)arg;
	struct kvm_cpuid_entry2 *entries;
	struct kvm_cpuid2 head;
	u32 max;
	int n;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	max = min_t(u32, head.nent, POPF_MAX_CPUID_ENTRIES);
	entries = kvcalloc(max + 1, sizeof(*entries), GFP_KERNEL);
	if (!entries)
		return -ENOMEM;
	n = vcpu_supported_cpuid(entries, max);
	if (n < 0)
		goto out;
	if (copy_to_user(user->entries, entries, n * sizeof(*entries)) ||
	    put_user((u32)n, &user->nent)) {
		n = -EFAULT;
		goto out;
	}
	n = 0;
out:
	kvfree(entries);
	return n;
}

static const struct popf_ioctl dev_ioctls[] = {
	{ KVM_GET_API_VERSION, dev_get_api_version },
	{ KVM_CREATE_VM, dev_create_vm },
	{ KVM_CHECK_EXTENSION, dev_check_extension },
	{ KVM_GET_VCPU_MMAP_SIZE, dev_get_vcpu_mmap_size },
	{ KVM_GET_MSR_INDEX_LIST, dev_get_msr_index_list },
	{ KVM_GET_SUPPORTED_CPUID, dev_get_supported_cpuid },
};

static long popf_dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return popf_ioctl_route(dev_ioctls, ARRAY_SIZE(dev_ioctls), NULL, cmd, arg);
}

const struct file_operations popf_dev_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = popf_dev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};
