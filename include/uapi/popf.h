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

/* What to record of a vCPU. */
struct popf_record {
	__u64 window;	/* entries of translation units to record completely */
	__u64 burst;	/* then this many at a time, at least 1, ... */
	__u64 gap;	/* ... leaving out this many before each burst; 0: none */
	__u32 flags;	/* 0 */
	__u32 reserved;	/* 0 */
};

/*
 * What read() on a recording's file gives: records of whole words, each led by
 * its type and its length in words, this one included. Numbers of more than 32
 * bits have their low half first. What comes from the guest is as it may be.
 */
#define POPF_RECORD_HEAD(type, words)	((type) | (words) << 8)
#define POPF_RECORD_TYPE(head)		((head) & 0xff)
#define POPF_RECORD_WORDS(head)		((head) >> 8)

/* number, mode, bytes, gva (2), gfn (2), second page's gfn (2), code bytes */
#define POPF_RECORD_TU		1
/* how control came to the first; numbers of units, entered one after the other */
#define POPF_RECORD_ENTRIES	2
/* number, offset, how: an entry in the middle of a unit */
#define POPF_RECORD_ENTER	3
/* cause, 1 if guest-physical, start (2), length (2) */
#define POPF_RECORD_INVALIDATE	4
/* cause */
#define POPF_RECORD_FLUSH	5
/* completeness from here on, entries left out just before (2) */
#define POPF_RECORD_WINDOW	6
/* nanoseconds since the start (2) */
#define POPF_RECORD_CLOCK	7
/* the last: 0, or the errno that ended the recording early */
#define POPF_RECORD_END		8

/* How control came to a unit. */
#define POPF_RECORD_CODE	0
#define POPF_RECORD_DIRECT	1
#define POPF_RECORD_INDIRECT	2
#define POPF_RECORD_DISPATCH	3

/* Why units were dropped. */
#define POPF_RECORD_WRITE	0
#define POPF_RECORD_MAPPING	1
#define POPF_RECORD_CR3		2
#define POPF_RECORD_MODE	3
#define POPF_RECORD_FULL	4
#define POPF_RECORD_RECORDER	5
#define POPF_RECORD_OTHER	6

/* Completeness. */
#define POPF_RECORD_OFF		0
#define POPF_RECORD_COMPLETE	1
#define POPF_RECORD_SAMPLED	2

/* vCPU */
#define POPF_GET_STOP_REASON _IOR(POPFIO, 0x00, struct popf_stop_reason)
#define POPF_RECORD_START    _IOW(POPFIO, 0x10, struct popf_record)
#define POPF_RECORD_STOP     _IO(POPFIO, 0x11)

#endif
