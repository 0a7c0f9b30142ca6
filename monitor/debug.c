// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's breakpoints, as far as hardware does not find them.
 *
 * Who finds what:
 *	instructions	direct execution: the hardware. Guest kernel code: the
 *			translator ends TUs before them (stops), and the run loop
 *			looks before it enters.
 *	data		the hardware, when the access is native: debug_hardware().
 *			What the monitor emulates is noted by debug_access(), and so
 *			are the operands of what is single-stepped in user mode: hardware
 *			that raises #DB once for each would overwrite the first's frame.
 *	I/O ports	always emulated: debug_io().
 *
 * A data or I/O breakpoint is a trap: what is noted waits in v->debug_hits until
 * the instruction is done, see event_step().
 */
#include "monitor.h"

#define BREAKPOINTS 4u

enum breakpoint_type { TYPE_INSN, TYPE_WRITE, TYPE_IO, TYPE_ACCESS };

static bool enabled(const struct vcpu *v, u32 i)
{
	return v->dr7 >> (2 * i) & 3;
}

static u32 type_of(const struct vcpu *v, u32 i)
{
	return v->dr7 >> (16 + 4 * i) & 3;
}

static u32 length_of(const struct vcpu *v, u32 i)
{
	static const u8 length[] = { 1, 2, 8, 4 };

	return length[v->dr7 >> (18 + 4 * i) & 3];
}

/* Does breakpoint i, whose address is aligned to its length, see [at, at + len)? */
static bool covers(const struct vcpu *v, u32 i, u64 at, u32 len)
{
	u64 start = v->dr[i] & ~(u64)(length_of(v, i) - 1);

	return at - start < length_of(v, i) || start - at < len;
}

u32 debug_insn_find(const struct vcpu *v, gva_t gva)
{
	u32 i, hits = 0;

	for (i = 0; i < BREAKPOINTS; i++) {
		if (enabled(v, i) && type_of(v, i) == TYPE_INSN && v->dr[i] == gva)
			hits |= 1u << i;
	}
	return hits;
}

void debug_note_access(struct vcpu *v, gva_t gva, u32 len, bool write)
{
	u32 i, type;

	for (i = 0; i < BREAKPOINTS; i++) {
		type = type_of(v, i);
		if (enabled(v, i) && covers(v, i, gva, len) &&
		    (type == TYPE_ACCESS || (type == TYPE_WRITE && write)))
			v->debug_hits |= 1u << i;
	}
}

void debug_io(struct vcpu *v, u16 port, u32 size)
{
	u32 i;

	if (likely(!debug_armed(v)) || !(v->cr4 & CR4_DE))
		return;
	for (i = 0; i < BREAKPOINTS; i++) {
		if (enabled(v, i) && type_of(v, i) == TYPE_IO &&
		    covers(v, i, port, size))
			v->debug_hits |= 1u << i;
	}
}

void debug_changed(struct vcpu *v)
{
	gva_t stops[BREAKPOINTS];
	u32 i, n = 0;

	for (i = 0; i < BREAKPOINTS; i++) {
		if (enabled(v, i) && type_of(v, i) == TYPE_INSN)
			stops[n++] = v->dr[i];
	}
	if (v->bt)
		bt_set_stops(v->bt, stops, n);
}

u64 debug_hardware(const struct vcpu *v, bool user,
		   bool (*own)(const struct vcpu *v, gva_t gva))
{
	bool step = user && v->stepping;
	u64 control, dr7 = 0;
	u32 i, type;

	for (i = 0; i < BREAKPOINTS; i++) {
		type = type_of(v, i);
		if (!enabled(v, i) || type == TYPE_IO ||
		    (type == TYPE_INSN && !user) ||
		    (type != TYPE_INSN && step))
			continue;
		/* Aligned to its length, it does not cross a page. */
		if (!is_canonical(v->dr[i]) || own(v, v->dr[i]))
			continue;
		control = type == TYPE_INSN ? 0 : v->dr7 >> (16 + 4 * i) & 0xf;
		dr7 |= 1ull << (2 * i) | control << (16 + 4 * i);
	}
	return dr7;
}
