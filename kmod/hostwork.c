// SPDX-License-Identifier: GPL-2.0-only
/*
 * Work that the host wants done before a vCPU enters its guest: signals, task
 * work, scheduling. The host kernel's function for it wants a struct kvm_vcpu to
 * note a signal in, so it gets one that nobody reads; all vCPUs share it.
 *
 * A file of its own because <linux/kvm_host.h> and <popf/types.h> both define
 * gfn_t and its like.
 */
#include <linux/entry-kvm.h>
#include <linux/kvm_host.h>

#include <popf/hostwork.h>

static struct kvm_run noted_run;
static struct kvm_vcpu noted = { .run = &noted_run };

int host_handle_work(void)
{
	return xfer_to_guest_mode_handle_work(&noted);
}
