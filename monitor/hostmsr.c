// SPDX-License-Identifier: GPL-2.0-only
/*
 * Host state that is changed lazily: what matters only on the way to and from
 * user mode, or costs more to switch than to do without for a while. It stays
 * changed while the host kernel runs, and the host's comes back just before the
 * CPU returns to any user mode (user-return notifier), which is far rarer than
 * world switches.
 *
 *  - The system-call MSRs and TSC_AUX.
 *  - CR4.PGE: the host's global TLB entries must not be seen in the guest world.
 *    Toggling PGE twice in each switch flushes everything twice; leaving it off
 *    until the next return to user mode costs the host its global entries for
 *    that long.
 *
 * Invariants:
 *  1. hostmsr_cpu.cur[] is what this CPU's MSRs hold, whenever valid.
 *  2. While hostmsr_cpu.pge_off, the notifier is registered on this CPU.
 */
#include <linux/percpu.h>
#include <linux/user-return-notifier.h>
#include <asm/msr.h>
#include <asm/tlbflush.h>

#include "monitor_host.h"

struct hostmsr_cpu {
	struct user_return_notifier urn;
	bool registered;
	bool valid;
	bool pge_off;
	u64 host[HMSR_COUNT];
	u64 cur[HMSR_COUNT];
};

static struct hostmsr_cpu __percpu *hostmsr;

static const u32 hostmsr_index[HMSR_COUNT] = {
	[HMSR_STAR] = MSR_STAR,
	[HMSR_LSTAR] = MSR_LSTAR,
	[HMSR_CSTAR] = MSR_CSTAR,
	[HMSR_SFMASK] = MSR_SYSCALL_MASK,
	[HMSR_SYSENTER_CS] = MSR_IA32_SYSENTER_CS,
	[HMSR_SYSENTER_ESP] = MSR_IA32_SYSENTER_ESP,
	[HMSR_SYSENTER_EIP] = MSR_IA32_SYSENTER_EIP,
	[HMSR_TSC_AUX] = MSR_TSC_AUX,
};

static bool hostmsr_absent(enum host_msr n)
{
	return n == HMSR_TSC_AUX && !boot_cpu_has(X86_FEATURE_RDTSCP) &&
	       !boot_cpu_has(X86_FEATURE_RDPID);
}

static void hostmsr_restore(struct hostmsr_cpu *c)
{
	u32 i;

	for (i = 0; i < HMSR_COUNT; i++) {
		if (c->cur[i] == c->host[i])
			continue;
		wrmsrl(hostmsr_index[i], c->host[i]);
		c->cur[i] = c->host[i];
	}
}

static void hostmsr_user_return(struct user_return_notifier *urn)
{
	struct hostmsr_cpu *c = container_of(urn, struct hostmsr_cpu, urn);
	unsigned long flags;

	local_irq_save(flags);
	if (c->registered) {
		c->registered = false;
		user_return_notifier_unregister(urn);
	}
	if (c->pge_off) {
		c->pge_off = false;
		cr4_update_irqsoff(X86_CR4_PGE, 0);
	}
	local_irq_restore(flags);
	hostmsr_restore(c);
}

static void hostmsr_first_use(struct hostmsr_cpu *c)
{
	u32 i;

	for (i = 0; i < HMSR_COUNT; i++) {
		if (!hostmsr_absent(i))
			rdmsrl(hostmsr_index[i], c->host[i]);
		c->cur[i] = c->host[i];
	}
	c->valid = true;
}

static void hostmsr_register(struct hostmsr_cpu *c)
{
	if (c->registered)
		return;
	c->urn.on_user_return = hostmsr_user_return;
	user_return_notifier_register(&c->urn);
	c->registered = true;
}

static void pge_off(struct hostmsr_cpu *c)
{
	if (c->pge_off || !(cr4_read_shadow() & X86_CR4_PGE))
		return;
	hostmsr_register(c);
	c->pge_off = true;
	cr4_update_irqsoff(0, X86_CR4_PGE);
}

void hostmsr_load(const u64 val[HMSR_COUNT])
{
	struct hostmsr_cpu *c = this_cpu_ptr(hostmsr);
	u32 i;

	if (!c->valid)
		hostmsr_first_use(c);
	for (i = 0; i < HMSR_COUNT; i++) {
		if (likely(c->cur[i] == val[i]) || hostmsr_absent(i))
			continue;
		wrmsrl(hostmsr_index[i], val[i]);
		c->cur[i] = val[i];
		hostmsr_register(c);
	}
	pge_off(c);
}

int hostmsr_init(void)
{
	hostmsr = alloc_percpu(struct hostmsr_cpu);
	return hostmsr ? 0 : -ENOMEM;
}

static void hostmsr_drop(void *unused)
{
	struct hostmsr_cpu *c = this_cpu_ptr(hostmsr);

	if (c->registered)
		hostmsr_user_return(&c->urn);
}

void hostmsr_exit(void)
{
	if (!hostmsr)
		return;
	on_each_cpu(hostmsr_drop, NULL, 1);
	free_percpu(hostmsr);
	hostmsr = NULL;
}
