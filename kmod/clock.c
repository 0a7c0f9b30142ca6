// SPDX-License-Identifier: GPL-2.0-only
/*
 * Time: the guest's TSC and kvmclock in terms of the host's, and one-shot timers
 * for the local APIC.
 */
#include <linux/hrtimer.h>
#include <linux/math64.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include <asm/processor.h>
#include <asm/tsc.h>

#include "kmod.h"

u64 vcpu_guest_tsc(struct vcpu *v)
{
	return rdtsc_ordered() + v->tsc_offset;
}

u32 vm_tsc_khz(struct popf_vm *vm)
{
	return tsc_khz;
}

void host_cpuid(u32 leaf, u32 sub, u32 out[4])
{
	cpuid_count(leaf, sub, &out[0], &out[1], &out[2], &out[3]);
}

u64 host_now_ns(void)
{
	return ktime_get_boottime_ns();
}

/* Host boot time and the TSC at that moment, as close as can be. */
static u64 boot_ns_and_tsc(u64 *host_tsc)
{
	unsigned long flags;
	u64 before, after, ns;

	local_irq_save(flags);
	before = rdtsc_ordered();
	ns = ktime_get_boottime_ns();
	after = rdtsc_ordered();
	local_irq_restore(flags);
	*host_tsc = before + (after - before) / 2;
	return ns;
}

u64 vm_kvmclock_ns(struct popf_vm *vm, u64 *host_tsc)
{
	return boot_ns_and_tsc(host_tsc) + READ_ONCE(vm->kvmclock_offset);
}

u64 vm_wall_ns(struct popf_vm *vm)
{
	return ktime_get_real_ns();
}

void popf_get_clock(struct popf_kvm *kvm, struct kvm_clock_data *data)
{
	u64 tsc;

	data->clock = vm_kvmclock_ns(&kvm->vm, &tsc);
	data->host_tsc = tsc;
	data->realtime = ktime_get_real_ns();
	data->flags = POPF_CLOCK_FLAGS;
}

int popf_set_clock(struct popf_kvm *kvm, const struct kvm_clock_data *data)
{
	u64 real = ktime_get_real_ns();
	u64 clock = data->clock;

	if (data->flags & ~POPF_CLOCK_FLAGS)
		return -EINVAL;
	/* Account for the time since the value was taken, on another host. */
	if ((data->flags & KVM_CLOCK_REALTIME) && real > data->realtime)
		clock += real - data->realtime;
	WRITE_ONCE(kvm->vm.kvmclock_offset, clock - ktime_get_boottime_ns());
	return 0;
}

/* --- timers --- */

struct popf_timer {
	struct hrtimer timer;
	void (*fn)(void *arg);
	void *arg;
};

static enum hrtimer_restart popf_timer_fire(struct hrtimer *timer)
{
	struct popf_timer *t = container_of(timer, struct popf_timer, timer);

	t->fn(t->arg);
	return HRTIMER_NORESTART;
}

struct popf_timer *popf_timer_create(void (*fn)(void *arg), void *arg)
{
	struct popf_timer *t = kzalloc(sizeof(*t), GFP_KERNEL_ACCOUNT);

	if (!t)
		return NULL;
	t->fn = fn;
	t->arg = arg;
	hrtimer_init(&t->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_HARD);
	t->timer.function = popf_timer_fire;
	return t;
}

void popf_timer_destroy(struct popf_timer *t)
{
	if (!t)
		return;
	hrtimer_cancel(&t->timer);
	kfree(t);
}

void popf_timer_arm_ns(struct popf_timer *t, u64 delta_ns)
{
	/* Far enough to be never, and not so far that the sum overflows. */
	const u64 limit = KTIME_MAX / 2;

	hrtimer_start(&t->timer,
		      ktime_add_ns(ktime_get(), min(delta_ns, limit)),
		      HRTIMER_MODE_ABS_HARD);
}

void popf_timer_arm_tsc(struct popf_timer *t, u64 host_tsc)
{
	s64 ticks = host_tsc - rdtsc();

	popf_timer_arm_ns(t, ticks <= 0 ? 0 :
			     mul_u64_u64_div_u64(ticks, NSEC_PER_MSEC, tsc_khz));
}

/* Does not wait: the callback may hold the caller's lock. */
void popf_timer_cancel(struct popf_timer *t)
{
	hrtimer_try_to_cancel(&t->timer);
}
