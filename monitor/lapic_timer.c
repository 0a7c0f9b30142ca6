// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC's timer: one-shot, periodic and TSC-deadline.
 *
 * The bus clock it counts is 1 GHz (CPUID leaf 0x40000010 says so), so that one
 * tick of the undivided counter is a nanosecond.
 *
 * Invariants:
 *  1. The host timer is cancelled before its parameters change, so the expiry
 *     function never sees half of a change. A deadline is one word, and need not.
 *  2. target_ns != 0 only in one-shot and periodic mode, tsc_deadline != 0 only
 *     in TSC-deadline mode.
 *  3. expected != 0 only while tsc_deadline is 0 and the host timer is set for armed.
 *
 * A guest writes a deadline after each expiry, mostly one period on. Translated code
 * may do that without an exit if the host timer cannot come too late: so when a
 * deadline comes, the timer is set for right behind where the next is expected
 * (armed), and a deadline from 50 us before on (expected) is only noted. It is looked
 * at after the next exit, whatever for; at the latest the timer makes one, or, when
 * it finds nothing written, a look 1 ms later. A deadline that is what was expected
 * leaves the timer as it is, and is served when that comes.
 */
#include "lapic.h"

#define LATE_LOOK_NS 1000000

static u32 timer_mode(struct lapic *a)
{
	return apic_get(a, AREG_LVTT) & LVT_BITS_MODE;
}

static u32 divisor(u32 tdcr)
{
	u32 code = (tdcr & 3) | (tdcr >> 1 & 4);

	return code == 7 ? 1 : 2u << code;
}

/* How much earlier than in the rhythm of those before, in guest TSC. */
static u64 expected_slack(u64 khz)
{
	return khz / 20; /* 50 us */
}

/* And how much later the timer is set: guests' arithmetic is not exact. */
static u64 armed_slack(u64 khz)
{
	return khz / 250; /* 4 us */
}

/*
 * The expiry function has set the timer. If the vCPU's thread has set a deadline
 * meanwhile, on another CPU, that counts; if it is about to, it sets the timer later.
 */
static void new_deadline_counts(struct lapic *a)
{
	u64 tsc = READ_ONCE(a->tsc_deadline);

	if (!tsc)
		return;
	WRITE_ONCE(a->expected, 0);
	popf_timer_arm_tsc(a->timer, tsc - a->v->tsc_offset);
}

/* The deadline has come: when will the next one be? Between 0.2 and 50 ms. */
static void expect_next(struct lapic *a, u64 came)
{
	u64 khz = vm_tsc_khz(a->v->vm), period = came - a->last_deadline;
	u64 armed;

	a->last_deadline = came;
	if (period < khz / 5 || period > khz * 50)
		return;
	armed = came + period + armed_slack(khz);
	WRITE_ONCE(a->armed, armed);
	popf_timer_arm_tsc(a->timer, armed - a->v->tsc_offset);
	__atomic_store_n(&a->expected, came + period - expected_slack(khz),
			 __ATOMIC_SEQ_CST);
	new_deadline_counts(a);
}

/* True: an interrupt is due. */
static bool deadline_fired(struct lapic *a)
{
	u64 came = READ_ONCE(a->tsc_deadline);

	if (!came) {
		/*
		 * It may have been written where nobody has looked yet. Or it is
		 * about to be, by code that is past its check: look once more.
		 */
		if (__atomic_exchange_n(&a->expected, 0, __ATOMIC_SEQ_CST)) {
			popf_timer_arm_ns(a->timer, LATE_LOOK_NS);
			vcpu_kick(a->v);
		}
		new_deadline_counts(a);
		return false;
	}
	/* Set for an older one that is void. The host's clock may run fast. */
	if ((s64)(came - vcpu_guest_tsc(a->v)) >
	    (s64)expected_slack(vm_tsc_khz(a->v->vm))) {
		popf_timer_arm_tsc(a->timer, came - a->v->tsc_offset);
		return false;
	}
	if (!__atomic_compare_exchange_n(&a->tsc_deadline, &came, 0, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return false;
	expect_next(a, came);
	return true;
}

void apic_timer_fired(void *arg)
{
	struct lapic *a = arg;
	u32 lvt = apic_get(a, AREG_LVTT);
	u64 now, target;

	if ((lvt & LVT_BITS_MODE) == LVT_BITS_TSC_DEADLINE) {
		if (!deadline_fired(a))
			return;
	} else if ((lvt & LVT_BITS_MODE) == LVT_BITS_PERIODIC) {
		target = READ_ONCE(a->target_ns);
		if (!target || !a->period_ns)
			return;
		/* Late by more than a period: the lost ticks stay lost. */
		now = host_now_ns();
		target += a->period_ns;
		if (target <= now)
			target = now + a->period_ns;
		WRITE_ONCE(a->target_ns, target);
		popf_timer_arm_ns(a->timer, target - now);
	} else {
		if (!READ_ONCE(a->target_ns))
			return;
		WRITE_ONCE(a->target_ns, 0);
	}
	if (!(lvt & LVT_BITS_MASKED))
		lapic_deliver(a, lvt & 0xff, MODE_FIXED, false);
}

void apic_timer_stop(struct lapic *a)
{
	popf_timer_cancel(a->timer);
	a->tsc_deadline = 0;
	a->expected = 0;
	a->target_ns = 0;
}

static void start_at(struct lapic *a, u64 delta)
{
	a->target_ns = host_now_ns() + delta;
	popf_timer_arm_ns(a->timer, delta);
}

void apic_timer_start(struct lapic *a, u32 count)
{
	if (timer_mode(a) == LVT_BITS_TSC_DEADLINE)
		return;
	apic_timer_stop(a);
	a->period_ns = (u64)count * divisor(apic_get(a, AREG_TDCR));
	/* A period below 20 us would keep the host busy with nothing else. */
	if (timer_mode(a) == LVT_BITS_PERIODIC && count)
		a->period_ns = max(a->period_ns, (u64)20000);
	if (count)
		start_at(a, a->period_ns);
}

void apic_timer_mode(struct lapic *a, u32 old)
{
	u32 mode = timer_mode(a);

	if (mode == (old & LVT_BITS_MODE))
		return;
	if (mode == LVT_BITS_TSC_DEADLINE || (old & LVT_BITS_MODE) == LVT_BITS_TSC_DEADLINE) {
		apic_timer_stop(a);
		apic_put(a, AREG_TMICT, 0);
	}
}

u32 apic_timer_current(struct lapic *a)
{
	u64 target = READ_ONCE(a->target_ns);
	u64 now, left;

	if (timer_mode(a) == LVT_BITS_TSC_DEADLINE || !target)
		return 0;
	now = host_now_ns();
	left = target > now ? target - now : 0;
	return left / divisor(apic_get(a, AREG_TDCR));
}

void apic_timer_divide(struct lapic *a, u32 val)
{
	u32 left = apic_timer_current(a);
	u32 old = divisor(apic_get(a, AREG_TDCR));

	apic_put(a, AREG_TDCR, val & 0xb);
	if (!a->target_ns || divisor(val) == old)
		return;
	popf_timer_cancel(a->timer);
	a->period_ns = (u64)apic_get(a, AREG_TMICT) * divisor(val);
	start_at(a, (u64)left * divisor(val));
}

void apic_timer_restore(struct lapic *a, u32 current_count)
{
	u32 initial = apic_get(a, AREG_TMICT);

	apic_timer_stop(a);
	if (!initial || timer_mode(a) == LVT_BITS_TSC_DEADLINE)
		return;
	a->period_ns = (u64)initial * divisor(apic_get(a, AREG_TDCR));
	if (current_count)
		start_at(a, (u64)current_count * divisor(apic_get(a, AREG_TDCR)));
	else if (timer_mode(a) == LVT_BITS_PERIODIC)
		start_at(a, a->period_ns);
}

u64 lapic_get_tsc_deadline(struct lapic *a)
{
	if (timer_mode(a) != LVT_BITS_TSC_DEADLINE)
		return 0;
	return READ_ONCE(a->tsc_deadline);
}

void lapic_set_tsc_deadline(struct lapic *a, u64 tsc)
{
	if (timer_mode(a) != LVT_BITS_TSC_DEADLINE)
		return;
	/* In this order: see new_deadline_counts(). */
	__atomic_store_n(&a->tsc_deadline, tsc, __ATOMIC_SEQ_CST);
	WRITE_ONCE(a->expected, 0);
	if (tsc)
		popf_timer_arm_tsc(a->timer, tsc - a->v->tsc_offset);
	else
		popf_timer_cancel(a->timer);
}

void apic_timer_noted(struct lapic *a, u64 tsc)
{
	u64 armed = READ_ONCE(a->armed);

	if (timer_mode(a) == LVT_BITS_TSC_DEADLINE && tsc <= armed &&
	    armed - tsc <= expected_slack(vm_tsc_khz(a->v->vm))) {
		__atomic_store_n(&a->tsc_deadline, tsc, __ATOMIC_SEQ_CST);
		/* Still to come: it will find the deadline. */
		if (__atomic_exchange_n(&a->expected, 0, __ATOMIC_SEQ_CST))
			return;
	}
	lapic_set_tsc_deadline(a, tsc);
}
