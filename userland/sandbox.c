// SPDX-License-Identifier: GPL-2.0-only
/*
 * The system-call filter of a running VM.
 *
 * It is entered when all files are open, all memory is mapped and all threads
 * exist. A device model the guest has taken over can read and write what is
 * open, and nothing else: no open, no socket, no exec, no new memory that is
 * executable, and of the ioctls only those of the run loop.
 */
#include "sandbox.h"

#include <errno.h>
#include <linux/kvm.h>
#include <popf.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <asm/ioctls.h>

static const int plain_calls[] = {
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pread64),
	SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(fstat),
	SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(timerfd_settime),
	SCMP_SYS(futex), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction), SCMP_SYS(tgkill), SCMP_SYS(getpid),
	SCMP_SYS(gettid), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(getrusage), SCMP_SYS(munmap), SCMP_SYS(madvise),
	SCMP_SYS(brk), SCMP_SYS(mremap), SCMP_SYS(restart_syscall), SCMP_SYS(sched_yield),
	SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rseq),
	SCMP_SYS(set_robust_list), SCMP_SYS(ftruncate),
};

static const unsigned int ioctls[] = {
	KVM_RUN, KVM_INTERRUPT, KVM_SIGNAL_MSI, KVM_SET_GSI_ROUTING,
	KVM_GET_REGS, KVM_GET_SREGS, TCGETS, TCSETS, POPF_RECORD_START,
	POPF_RECORD_STOP,
};

static int allow_plain(scmp_filter_ctx ctx)
{
	unsigned int i;
	int r = 0;

	for (i = 0; !r && i < sizeof(plain_calls) / sizeof(plain_calls[0]); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, plain_calls[i], 0);
	return r;
}

/* The kernel looks at the low half of the request only, and so does this. */
static int allow_ioctls(scmp_filter_ctx ctx)
{
	unsigned int i;
	int r = 0;

	for (i = 0; !r && i < sizeof(ioctls) / sizeof(ioctls[0]); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1_32(SCMP_CMP_EQ, ioctls[i]));
	return r;
}

/* malloc() may need memory, but never executable memory. */
static int allow_memory(scmp_filter_ctx ctx)
{
	const struct scmp_arg_cmp no_exec =
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				 no_exec);

	if (r)
		return r;
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				no_exec);
}

int sandbox_enter(struct error *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	int r = -ENOMEM;

	if (ctx) {
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
		if (!r)
			r = allow_plain(ctx);
		if (!r)
			r = allow_ioctls(ctx);
		if (!r)
			r = allow_memory(ctx);
		if (!r)
			r = seccomp_load(ctx);
		seccomp_release(ctx);
	}
	if (r)
		return error_failure(err, "cannot enter the sandbox (%s): use --no-sandbox if this system has no seccomp",
				     strerror(-r));
	return 0;
}
