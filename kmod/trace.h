/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tracepoints, /sys/kernel/tracing/events/popf. Called through
 * <popf/trace.h>. Included several times by the kernel's macros.
 *
 * pc is a tpc while translated code runs (tc=1), else a gpc.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM popf

#if !defined(POPF_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define POPF_TRACE_H

#include <linux/tracepoint.h>

#include <popf/vcpu.h>

/* A trip to the guest world begins. */
TRACE_EVENT(popf_entry,
	TP_PROTO(struct vcpu *v),
	TP_ARGS(v),
	TP_STRUCT__entry(
		__field(u32, id)
		__field(u64, pc)
		__field(u64, flags)
		__field(bool, tc)
	),
	TP_fast_assign(
		__entry->id = v->id;
		__entry->pc = v->tpc ? v->tpc : v->regs.rip;
		__entry->flags = v->regs.rflags;
		__entry->tc = v->tpc != 0;
	),
	TP_printk("vcpu %u pc %llx tc %d flags %llx", __entry->id, __entry->pc,
		  __entry->tc, __entry->flags)
);

/* It ended; vector is the hardware's or an EXIT_ number of monitor/world.h. */
TRACE_EVENT(popf_exit,
	TP_PROTO(struct vcpu *v, u32 vector),
	TP_ARGS(v, vector),
	TP_STRUCT__entry(
		__field(u32, id)
		__field(u32, vector)
		__field(u64, pc)
		__field(bool, tc)
	),
	TP_fast_assign(
		__entry->id = v->id;
		__entry->vector = vector;
		__entry->pc = v->tpc ? v->tpc : v->regs.rip;
		__entry->tc = v->tpc != 0;
	),
	TP_printk("vcpu %u vector %x pc %llx tc %d", __entry->id,
		  __entry->vector, __entry->pc, __entry->tc)
);

/* access: PF_ERR_*; result: enum shadow_pf or -errno. */
TRACE_EVENT(popf_page_fault,
	TP_PROTO(struct vcpu *v, gva_t gva, u32 access, int result),
	TP_ARGS(v, gva, access, result),
	TP_STRUCT__entry(
		__field(u32, id)
		__field(u64, gva)
		__field(u64, pc)
		__field(u32, access)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->id = v->id;
		__entry->gva = gva;
		__entry->pc = v->tpc ? v->tpc : v->regs.rip;
		__entry->access = access;
		__entry->result = result;
	),
	TP_printk("vcpu %u gva %llx pc %llx access %x result %d", __entry->id,
		  __entry->gva, __entry->pc, __entry->access, __entry->result)
);

/* len bytes of guest code at gpc are read to be translated. */
TRACE_EVENT(popf_translate,
	TP_PROTO(struct vcpu *v, gva_t gpc, u32 len),
	TP_ARGS(v, gpc, len),
	TP_STRUCT__entry(
		__field(u32, id)
		__field(u64, gpc)
		__field(u32, len)
	),
	TP_fast_assign(
		__entry->id = v->id;
		__entry->gpc = gpc;
		__entry->len = len;
	),
	TP_printk("vcpu %u gpc %llx len %u", __entry->id, __entry->gpc,
		  __entry->len)
);

/* An exception, interrupt or NMI is delivered to the guest. */
TRACE_EVENT(popf_inject,
	TP_PROTO(struct vcpu *v, u8 vector, bool has_error, u32 error),
	TP_ARGS(v, vector, has_error, error),
	TP_STRUCT__entry(
		__field(u32, id)
		__field(u64, rip)
		__field(u8, vector)
		__field(bool, has_error)
		__field(u32, error)
	),
	TP_fast_assign(
		__entry->id = v->id;
		__entry->rip = v->regs.rip;
		__entry->vector = vector;
		__entry->has_error = has_error;
		__entry->error = error;
	),
	TP_printk("vcpu %u vector %u rip %llx error %x valid %d", __entry->id,
		  __entry->vector, __entry->rip, __entry->error,
		  __entry->has_error)
);

#endif

/* Kbuild gives kmod/trace.c the include path for this. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
