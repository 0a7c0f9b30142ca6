/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Recording what a vCPU's translator does: the monitor's hooks, each nothing but a
 * test of a pointer while nobody records. kmod/record.c has the other end.
 */
#ifndef POPF_RECORD_H
#define POPF_RECORD_H

#include <popf.h>

#include "vcpu.h"

/* Sleep until what the next entry may record has room, or a signal is pending. */
void recording_wait(struct vcpu *v);
/* Control is about to go to tpc; how: POPF_RECORD_DIRECT... */
void recording_note(struct vcpu *v, tpc_t tpc, u32 how);
/* Back from the guest world: take what translated code has left. */
void recording_take(struct vcpu *v);
/* A unit has found the buffer full, and everything has been taken: begin anew. */
void recording_rewind(struct vcpu *v);
/* v->bt is another one. */
void recording_attach(struct vcpu *v);
/* What is dropped next is dropped for this reason; -1: for the usual one. */
void recording_blame(struct vcpu *v, int cause);

static inline void recording_ready(struct vcpu *v)
{
	if (unlikely(v->recording))
		recording_wait(v);
}

static inline void recording_going(struct vcpu *v, tpc_t tpc, u32 how)
{
	if (unlikely(v->recording))
		recording_note(v, tpc, how);
}

static inline void recording_left(struct vcpu *v)
{
	if (unlikely(v->recording))
		recording_take(v);
}

static inline void recording_emptied(struct vcpu *v)
{
	if (unlikely(v->recording))
		recording_rewind(v);
}

static inline void recording_moved(struct vcpu *v)
{
	if (unlikely(v->recording))
		recording_attach(v);
}

static inline void recording_cause(struct vcpu *v, int cause)
{
	if (unlikely(v->recording))
		recording_blame(v, cause);
}

#endif
