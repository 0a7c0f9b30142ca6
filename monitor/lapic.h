/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private to lapic.c and lapic_timer.c.
 */
#ifndef POPF_MONITOR_LAPIC_H
#define POPF_MONITOR_LAPIC_H

#include "monitor.h"

/* Register offsets of the xAPIC page. */
#define AREG_ID 0x020u
#define AREG_VERSION 0x030u
#define AREG_TPR 0x080u
#define AREG_APR 0x090u
#define AREG_PPR 0x0a0u
#define AREG_EOI 0x0b0u
#define AREG_LDR 0x0d0u
#define AREG_DFR 0x0e0u
#define AREG_SPIV 0x0f0u
#define AREG_ISR 0x100u
#define AREG_TMR 0x180u
#define AREG_IRR 0x200u
#define AREG_ESR 0x280u
#define AREG_ICR 0x300u
#define AREG_ICR2 0x310u
#define AREG_LVTT 0x320u
#define AREG_LVT_THERMAL 0x330u
#define AREG_LVT_PERF 0x340u
#define AREG_LVT0 0x350u
#define AREG_LVT1 0x360u
#define AREG_LVT_ERROR 0x370u
#define AREG_TMICT 0x380u
#define AREG_TMCCT 0x390u
#define AREG_TDCR 0x3e0u
#define AREG_SELF_IPI 0x3f0u

#define LVT_BITS_MASKED 0x10000u
#define LVT_BITS_MODE 0x60000u
#define LVT_BITS_ONESHOT 0x00000u
#define LVT_BITS_PERIODIC 0x20000u
#define LVT_BITS_TSC_DEADLINE 0x40000u
#define SPIV_ENABLED 0x100u

/* Delivery modes. */
#define MODE_FIXED 0u
#define MODE_LOWEST 1u
#define MODE_SMI 2u
#define MODE_NMI 4u
#define MODE_INIT 5u
#define MODE_SIPI 6u
#define MODE_EXTINT 7u

struct lapic {
	struct vcpu *v;
	/*
	 * The register page, one word per 16 bytes. IRR and TMR words are
	 * changed from any context and only with atomic operations; everything
	 * else only by the vCPU's thread.
	 */
	u32 regs[64];
	u32 esr_pending; /* errors since the last write to ESR; atomic */
	u64 icr; /* whole, for x2APIC reads */

	u64 eoi_exits[4]; /* vectors whose EOI userland wants */
	u64 eoi_pending[4]; /* of those, seen and not yet reported */

	/* Timer: see lapic_timer.c. */
	struct popf_timer *timer;
	u64 tsc_deadline; /* guest TSC, 0 when disarmed */
	u64 last_deadline; /* the one before it that has come */
	u64 expected; /* earliest deadline, not yet written, that may be noted, or 0 */
	u64 armed; /* while there is one: guest TSC that the timer is set for */
	u64 target_ns; /* host_now_ns() of the next expiry, 0 when stopped */
	u64 period_ns; /* of a count from TMICT to zero */
};

static inline u32 *apic_reg(struct lapic *a, u32 off)
{
	return &a->regs[off >> 4 & 63];
}

static inline u32 apic_get(struct lapic *a, u32 off)
{
	return READ_ONCE(*apic_reg(a, off));
}

static inline void apic_put(struct lapic *a, u32 off, u32 val)
{
	WRITE_ONCE(*apic_reg(a, off), val);
}

/* lapic_timer.c */
void apic_timer_fired(void *arg);
/* Start counting from TMICT (0 stops). */
void apic_timer_start(struct lapic *a, u32 count);
void apic_timer_stop(struct lapic *a);
/* LVTT has been changed from old. */
void apic_timer_mode(struct lapic *a, u32 old);
/* TDCR is about to become val. */
void apic_timer_divide(struct lapic *a, u32 val);
u32 apic_timer_current(struct lapic *a);
/* Which deadlines translated code may write. */
static inline void apic_timer_lend(struct lapic *a, struct vcpu_page *p)
{
	u64 expected = READ_ONCE(a->expected);

	p->deadline = 0;
	p->deadline_neg = expected ? -expected : VCPU_NO_DEADLINE;
}

/* It has written a deadline, lent or not. */
void apic_timer_noted(struct lapic *a, u64 tsc);

/* Take back what it has written. */
static inline void apic_timer_take_back(struct lapic *a, struct vcpu_page *p)
{
	u64 written = READ_ONCE(p->deadline);

	if (written)
		apic_timer_noted(a, written);
}

/* After KVM_SET_LAPIC: go on from the count in TMCCT. */
void apic_timer_restore(struct lapic *a, u32 current_count);

#endif
