// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading and unloading: the host check, then the device nodes. The nodes come
 * last and go first, so that no file descriptor exists without the rest.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "kmod.h"

static bool claim_kvm;
module_param(claim_kvm, bool, 0444);
MODULE_PARM_DESC(claim_kvm, "Offer the device as /dev/kvm too, if it is free");

static struct miscdevice popf_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "popf",
	.fops = &popf_dev_fops,
	.mode = 0660,
};

static struct miscdevice kvm_misc = {
	.minor = KVM_MINOR,
	.name = "kvm",
	.fops = &popf_dev_fops,
	.mode = 0660,
};

static bool kvm_claimed;

/* The name is taken when a hardware KVM is loaded: popf goes on without it. */
static void claim_kvm_node(void)
{
	int err;

	if (!claim_kvm)
		return;
	err = misc_register(&kvm_misc);
	if (err)
		pr_info("popf: /dev/kvm is taken (error %d), only /dev/popf is offered\n",
			err);
	kvm_claimed = !err;
}

static int __init popf_init(void)
{
	const char *reason = "unknown";
	int err;

	err = monitor_init(&reason);
	if (err) {
		pr_err("popf: cannot serve this host: %s\n", reason);
		return err;
	}
	err = misc_register(&popf_misc);
	if (err) {
		pr_err("popf: cannot register /dev/popf: error %d\n", err);
		goto out_monitor;
	}
	claim_kvm_node();
	return 0;

out_monitor:
	monitor_exit();
	return err;
}

static void __exit popf_exit(void)
{
	if (kvm_claimed)
		misc_deregister(&kvm_misc);
	misc_deregister(&popf_misc);
	monitor_exit();
}

module_init(popf_init);
module_exit(popf_exit);

MODULE_DESCRIPTION("Virtual machines without hardware virtualization");
MODULE_AUTHOR("The popf authors");
MODULE_LICENSE("GPL");
