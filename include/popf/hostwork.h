/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the host wants done before a vCPU enters its guest. Apart from vcpu.h, for
 * the one file that cannot include popf's types.
 */
#ifndef POPF_HOSTWORK_H
#define POPF_HOSTWORK_H

/*
 * Do what is pending for the calling thread (scheduling, task work): 0, or -EINTR
 * when a signal is. Interrupts on.
 */
int host_handle_work(void);

#endif
