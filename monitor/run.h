/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private to the run loop's files: run.c, guest_kernel.c, guest_user.c, sync.c.
 */
#ifndef POPF_MONITOR_RUN_H
#define POPF_MONITOR_RUN_H

#include <popf/trace.h>

#include "monitor.h"
#include "monitor_host.h"

/* sync.c: see there */
void sync_load_kernel(struct vcpu *v, tpc_t tpc);
void sync_enter_kernel(struct vcpu *v);
void sync_leave_kernel(struct vcpu *v);
void sync_enter_user(struct vcpu *v);
void sync_leave_user(struct vcpu *v);
void sync_leave_user_cs(struct vcpu *v);
void sync_page(struct vcpu *v);
bool sync_recover(struct vcpu *v);
void sync_at(struct vcpu *v, gva_t gpc);

void sync_load_page(struct vcpu *v);

/*
 * fast.c: crossings between the modes in the guest world. Prepare comes last before
 * an entry, with the root of the entry's own mode in place: 0 or -errno of
 * shadow_root(). Finish comes first after an exit that world_data.crossed says
 * there have been crossings before.
 */
int fast_prepare(struct vcpu *v, const struct shadow_mode *m);
void fast_finish(struct vcpu *v);
/* Instead of finish: enter again as the exit left everything. */
static inline void fast_again(struct vcpu *v)
{
	struct world_data *d = v->world->data;

	v->world->user = d->user;
	d->cr3 = d->user ? d->user_cr3 : d->kernel_cr3;
}

/* CS of the guest's SYSCALL: the only one that crossings know. */
static inline u16 fast_kernel_cs(const struct vcpu *v)
{
	return v->star >> 32 & 0xfffc;
}

/*
 * fast_irq.c: between two trips to the guest world, interrupts off, registers where
 * the last exit has left them. Pending: the vector that the guest, in user mode,
 * waits for, if that is all there is to do, else -1. Deliver: false if it takes
 * event.c to do that, and then nothing has changed; the vCPU counts as being in the
 * guest world, and enters next.
 */
int fast_irq_pending(struct vcpu *v);
bool fast_irq_deliver(struct vcpu *v, u8 vector);

/* Interrupts between two looks whether to renew the TC: half a second at 250 Hz. */
#define RUN_RENEW_EVERY 128u

/* Comes the look with the next interrupt? */
static inline bool run_renews_next(const struct vcpu *v)
{
	return (v->stats.irq_injections + 1) % RUN_RENEW_EVERY == 0;
}

/* guest_kernel.c: translated code */
enum emul run_kernel_exit(struct vcpu *v, u32 vector);
enum emul run_bounce_start(struct vcpu *v);
enum emul run_bounce_exit(struct vcpu *v, u32 vector);
/* bt could not fetch at gpc: queue what the guest gets for it. */
enum emul run_fetch_failed(struct vcpu *v, gva_t gpc, int err);
/* A page fault in either view, after the registers have been saved. */
enum emul run_page_fault(struct vcpu *v, enum shadow_view view, u32 access);

/* guest_user.c: direct execution */
enum emul run_user_exit(struct vcpu *v, u32 vector);

#endif
