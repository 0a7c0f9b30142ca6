// SPDX-License-Identifier: GPL-2.0-only
/*
 * Getting a vCPU's attention: sleeping in HLT and being woken, and being kicked
 * out of the guest world.
 *
 * kicked is set before anybody looks at in_guest, and in_guest is set before kicked
 * is looked at (vcpu_guest_begin() in monitor/): either the kicker sees a guest to
 * interrupt or the vCPU sees the kick and stays out.
 */
#include <linux/sched/signal.h>
#include <linux/smp.h>

#include "kmod.h"

void popf_block_init(struct popf_kvcpu *k)
{
	init_waitqueue_head(&k->wq);
}

void vcpu_kick(struct vcpu *v)
{
	struct popf_kvcpu *k = to_kvcpu(v);

	smp_store_mb(v->kick.kicked, 1);
	if (waitqueue_active(&k->wq))
		wake_up(&k->wq);
	if (READ_ONCE(v->kick.in_guest)) {
		int me = get_cpu();
		int cpu = READ_ONCE(v->kick.cpu);

		if (cpu != me && cpu_online(cpu))
			compat_send_reschedule(cpu);
		put_cpu();
	}
}

static void kick_nothing(void *arg)
{
}

void vm_kick_vcpus(struct popf_vm *vm)
{
	struct vcpu *v;
	u32 i;

	for (i = 0; (v = vm_vcpu(vm, i)); i++) {
		/* Order the caller's changes before the look at in_guest. */
		smp_mb();
		if (READ_ONCE(v->kick.in_guest))
			smp_call_function_single(READ_ONCE(v->kick.cpu),
						 kick_nothing, NULL, true);
	}
	vm->stats.remote_tlb_flush++;
}

/* A reason to stop waiting; consumes a kick. */
static bool block_over(struct popf_kvcpu *k, bool (*ready)(struct vcpu *v))
{
	if (READ_ONCE(k->v.kick.kicked))
		smp_store_mb(k->v.kick.kicked, 0);
	return ready(&k->v) || READ_ONCE(k->v.request_exit) ||
	       READ_ONCE(k->kvm->vm.stopped);
}

int vcpu_block(struct vcpu *v, bool (*ready)(struct vcpu *v))
{
	struct popf_kvcpu *k = to_kvcpu(v);

	if (wait_event_interruptible(k->wq, block_over(k, ready)))
		return -EINTR;
	return 0;
}
