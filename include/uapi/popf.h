/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * popf's own ioctls, beside those of <linux/kvm.h> on the same files.
 */
#ifndef _UAPI_POPF_H
#define _UAPI_POPF_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define POPFIO 0xA7

/* Why popf gave up on a guest. */
struct popf_stop_reason {
	__u32 stopped;	/* 0: it did not, text is empty */
	__u32 flags;	/* 0 */
	char text[96];	/* one sentence, NUL terminated */
};

/* vCPU */
#define POPF_GET_STOP_REASON _IOR(POPFIO, 0x00, struct popf_stop_reason)

#endif
