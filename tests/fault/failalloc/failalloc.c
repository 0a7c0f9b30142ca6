// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes the nth allocation of one process fail, for tests/fault/allocations.c:
 * Debian's kernels have the hooks for that (should_failslab() and
 * should_fail_alloc_page()) but not the fault injection behind them. A test's
 * module, never installed.
 *
 * Parameters, under /sys/module/failalloc/parameters:
 *	pid	of the process; 0: nobody
 *	nth	1: the next allocation fails; counts down, stays 0 afterwards
 *	seen	how many allocations of the process came by
 */
#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>

static int pid;
module_param(pid, int, 0600);

static ulong nth;
module_param(nth, ulong, 0600);

static ulong seen;
module_param(seen, ulong, 0600);

/* Where a hook that is skipped goes on: a function that only returns. */
static noinline void just_return(void)
{
	barrier();
}

/* Is it this one's turn? Those that may not fail are left alone. */
static bool fails(gfp_t gfp)
{
	if (!pid || task_tgid_nr(current) != pid || !in_task())
		return false;
	if ((gfp & __GFP_NOFAIL) || !(gfp & __GFP_DIRECT_RECLAIM))
		return false;
	seen++;
	return nth && --nth == 0;
}

static int skip_with(struct pt_regs *regs, unsigned long value)
{
	regs->ax = value;
	regs->ip = (unsigned long)just_return;
	return 1;
}

static int slab_hook(struct kprobe *p, struct pt_regs *regs)
{
	return fails(regs->si) ? skip_with(regs, -ENOMEM) : 0;
}

static int page_hook(struct kprobe *p, struct pt_regs *regs)
{
	return fails(regs->di) ? skip_with(regs, 1) : 0;
}

static struct kprobe slab_probe = {
	.symbol_name = "should_failslab",
	.pre_handler = slab_hook,
};

static struct kprobe page_probe = {
	.symbol_name = "should_fail_alloc_page",
	.pre_handler = page_hook,
};

static struct kprobe *probes[] = { &slab_probe, &page_probe };

static int __init failalloc_init(void)
{
	return register_kprobes(probes, ARRAY_SIZE(probes));
}

static void __exit failalloc_exit(void)
{
	unregister_kprobes(probes, ARRAY_SIZE(probes));
}

module_init(failalloc_init);
module_exit(failalloc_exit);

MODULE_DESCRIPTION("Makes the nth allocation of a process fail");
MODULE_AUTHOR("The popf authors");
MODULE_LICENSE("GPL");
