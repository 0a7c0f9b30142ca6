/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints as the monitor calls them. In the module they are the kernel's
 * (system "popf", kmod/trace.h), in programs they are nothing.
 */
#ifndef POPF_TRACE_WRAPPERS_H
#define POPF_TRACE_WRAPPERS_H

#include "vcpu.h"

#ifdef __KERNEL__

#include "../../kmod/trace.h"

#else

static inline void trace_popf_entry(struct vcpu *v)
{
}

static inline void trace_popf_exit(struct vcpu *v, u32 vector)
{
}

static inline void trace_popf_page_fault(struct vcpu *v, gva_t gva, u32 access,
					 int result)
{
}

static inline void trace_popf_translate(struct vcpu *v, gva_t gpc, u32 len)
{
}

static inline void trace_popf_inject(struct vcpu *v, u8 vector, bool has_error,
				     u32 error)
{
}

#endif

#endif
