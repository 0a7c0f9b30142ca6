// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC, as a register page (xAPIC) and as MSRs (x2APIC).
 *
 * Invariants:
 *  1. IRR, TMR and the pending error bits may be changed from any context, with
 *     atomic operations; a change that may make an interrupt deliverable is
 *     followed by vcpu_kick().
 *  2. ISR and all else belong to the vCPU's thread.
 *  3. v->cr8 is TPR >> 4 at all times.
 */
#include "lapic.h"

#define ESR_SEND_ILLEGAL 0x20u
#define ESR_RECV_ILLEGAL 0x40u
#define ESR_ILLEGAL_REG 0x80u

static bool is_x2apic(const struct lapic *a)
{
	return (a->v->apic_base & (APIC_BASE_EN | APIC_BASE_EXTD)) ==
	       (APIC_BASE_EN | APIC_BASE_EXTD);
}

static bool sw_enabled(struct lapic *a)
{
	return (a->v->apic_base & APIC_BASE_EN) &&
	       (apic_get(a, AREG_SPIV) & SPIV_ENABLED);
}

bool lapic_owns(const struct vcpu *v, gpa_t gpa)
{
	return v->lapic &&
	       (v->apic_base & (APIC_BASE_EN | APIC_BASE_EXTD)) == APIC_BASE_EN &&
	       (gpa & POPF_PAGE_MASK) == (v->apic_base & APIC_BASE_ADDR);
}

/* --- 256-bit registers --- */

static u32 *vector_word(struct lapic *a, u32 base, u8 vector)
{
	return apic_reg(a, base + (vector >> 5) * 0x10);
}

static void vector_set(struct lapic *a, u32 base, u8 vector)
{
	__atomic_fetch_or(vector_word(a, base, vector), 1u << (vector & 31),
			  __ATOMIC_SEQ_CST);
}

static void vector_clear(struct lapic *a, u32 base, u8 vector)
{
	__atomic_fetch_and(vector_word(a, base, vector), ~(1u << (vector & 31)),
			   __ATOMIC_SEQ_CST);
}

static int vector_highest(struct lapic *a, u32 base)
{
	u32 word;
	int i;

	for (i = 7; i >= 0; i--) {
		word = apic_get(a, base + i * 0x10);
		if (word)
			return i * 32 + 31 - __builtin_clz(word);
	}
	return -1;
}

static u32 priority(struct lapic *a)
{
	u32 tpr = apic_get(a, AREG_TPR) & 0xff;
	int isr = vector_highest(a, AREG_ISR);
	u32 service = isr < 0 ? 0 : isr & 0xf0;

	return (tpr & 0xf0) >= service ? tpr : service;
}

int lapic_pending(struct lapic *a)
{
	int irr;

	if (!(a->v->apic_base & APIC_BASE_EN))
		return -1;
	irr = vector_highest(a, AREG_IRR);
	if (irr < 0 || ((u32)irr & 0xf0) <= (priority(a) & 0xf0))
		return -1;
	return irr;
}

/* Is there exactly one vector in IRR, or ISR? */
static bool vector_is_alone(struct lapic *a, u32 base)
{
	u32 i, word, n = 0;

	for (i = 0; i < 8; i++) {
		word = apic_get(a, base + i * 0x10);
		n += !word ? 0 : word & (word - 1) ? 2 : 1;
	}
	return n == 1;
}

static bool eoi_is_pending(const struct lapic *a)
{
	return a->eoi_pending[0] | a->eoi_pending[1] | a->eoi_pending[2] |
	       a->eoi_pending[3];
}

int lapic_pending_alone(struct lapic *a)
{
	if (eoi_is_pending(a) || !vector_is_alone(a, AREG_IRR))
		return -1;
	return lapic_pending(a);
}

void lapic_accept(struct lapic *a, u8 vector)
{
	vector_clear(a, AREG_IRR, vector);
	vector_set(a, AREG_ISR, vector);
}

/* --- arriving messages --- */

static void raise_error(struct lapic *a, u32 bit)
{
	u32 lvt = apic_get(a, AREG_LVT_ERROR);

	__atomic_fetch_or(&a->esr_pending, bit, __ATOMIC_SEQ_CST);
	if (!(lvt & LVT_BITS_MASKED) && (lvt & 0xff) >= 16)
		lapic_deliver(a, lvt & 0xff, MODE_FIXED, false);
}

bool lapic_deliver(struct lapic *a, u8 vector, u32 delivery_mode, bool level)
{
	switch (delivery_mode) {
	case MODE_FIXED:
	case MODE_LOWEST:
		if (!sw_enabled(a))
			return false;
		if (vector < 16) {
			raise_error(a, ESR_RECV_ILLEGAL);
			return false;
		}
		if (level)
			vector_set(a, AREG_TMR, vector);
		else
			vector_clear(a, AREG_TMR, vector);
		vector_set(a, AREG_IRR, vector);
		vcpu_kick(a->v);
		return true;
	case MODE_NMI:
		WRITE_ONCE(a->v->nmi_pending, true);
		vcpu_kick(a->v);
		return true;
	}
	/* SMI, INIT, SIPI: no SMM, and the only processor is running. */
	return false;
}

bool lapic_accepts_extint(struct lapic *a)
{
	u32 lvt = apic_get(a, AREG_LVT0);

	if (!(a->v->apic_base & APIC_BASE_EN))
		return true;
	return !(lvt & LVT_BITS_MASKED) && (lvt >> 8 & 7) == MODE_EXTINT;
}

static bool matches(struct lapic *a, u32 dest, bool logical, bool wide)
{
	u32 ldr = apic_get(a, AREG_LDR);

	if (dest == (wide ? ~0u : 0xffu))
		return true;
	if (!logical)
		return dest == a->v->id;
	if (is_x2apic(a))
		return wide ? ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff) :
			      (ldr & dest & 0xff) != 0;
	ldr >>= 24;
	if ((apic_get(a, AREG_DFR) >> 28) == 0xf)
		return ldr & dest;
	return ldr >> 4 == dest >> 4 && (ldr & dest & 0xf);
}

struct message {
	u32 dest;
	bool logical;
	bool wide; /* 32-bit destination */
	u8 vector;
	u8 mode;
	bool level;
	struct lapic *self; /* sender */
	u8 shorthand; /* as in ICR */
};

static int route(struct popf_vm *vm, const struct message *m)
{
	struct vcpu *v;
	bool hit;
	int n = 0;
	u32 i;

	for (i = 0; (v = vm_vcpu(vm, i)) != NULL; i++) {
		if (!v->lapic)
			continue;
		switch (m->shorthand) {
		case 1:
			hit = v->lapic == m->self;
			break;
		case 2:
			hit = true;
			break;
		case 3:
			hit = v->lapic != m->self;
			break;
		default:
			hit = matches(v->lapic, m->dest, m->logical, m->wide);
		}
		if (!hit || !lapic_deliver(v->lapic, m->vector, m->mode, m->level))
			continue;
		n++;
		if (m->mode == MODE_LOWEST)
			break;
	}
	return n;
}

int vm_deliver_msi(struct popf_vm *vm, u64 addr, u32 data)
{
	struct message m = {
		.dest = addr >> 12 & 0xff,
		.logical = addr & 4,
		.vector = data & 0xff,
		.mode = data >> 8 & 7,
		.level = data & 0x8000,
	};

	return route(vm, &m);
}

static void send_ipi(struct lapic *a, u64 icr, bool wide)
{
	struct message m = {
		.dest = wide ? icr >> 32 : icr >> 56,
		.logical = icr & 0x800,
		.wide = wide,
		.vector = icr & 0xff,
		.mode = icr >> 8 & 7,
		.self = a,
		.shorthand = icr >> 18 & 3,
	};

	if ((m.mode == MODE_FIXED || m.mode == MODE_LOWEST) && m.vector < 16) {
		raise_error(a, ESR_SEND_ILLEGAL);
		return;
	}
	/* INIT with the level bit clear is a de-assert: nothing to do. */
	route(a->v->vm, &m);
}

/* --- registers --- */

static void end_of_interrupt(struct lapic *a)
{
	int vector = vector_highest(a, AREG_ISR);

	if (vector < 0)
		return;
	vector_clear(a, AREG_ISR, vector);
	if (a->eoi_exits[vector >> 6] >> (vector & 63) & 1)
		a->eoi_pending[vector >> 6] |= 1ull << (vector & 63);
}

static void mask_all(struct lapic *a)
{
	u32 off;

	for (off = AREG_LVTT; off <= AREG_LVT_ERROR; off += 0x10)
		apic_put(a, off, apic_get(a, off) | LVT_BITS_MASKED);
}

static void write_lvt(struct lapic *a, u32 off, u32 val)
{
	static const u32 bits[] = {
		0x700ff, /* timer: mask, mode, vector */
		0x117ff, /* thermal */
		0x117ff, /* perf */
		0x1f7ff, /* LINT0 */
		0x1f7ff, /* LINT1 */
		0x110ff, /* error */
	};
	u32 old = apic_get(a, off);

	val &= bits[(off - AREG_LVTT) >> 4];
	if (!(apic_get(a, AREG_SPIV) & SPIV_ENABLED))
		val |= LVT_BITS_MASKED;
	/* Mode 3 of the timer is reserved. */
	if (off == AREG_LVTT && (val & LVT_BITS_MODE) == LVT_BITS_MODE)
		val &= ~LVT_BITS_MODE;
	apic_put(a, off, val);
	if (off == AREG_LVTT)
		apic_timer_mode(a, old);
}

static void write_spiv(struct lapic *a, u32 val)
{
	apic_put(a, AREG_SPIV, val & 0x3ff);
	if (!(val & SPIV_ENABLED))
		mask_all(a);
}

static void write_tpr(struct lapic *a, u32 val)
{
	apic_put(a, AREG_TPR, val & 0xff);
	a->v->cr8 = val >> 4 & 0xf;
}

/* Registers that both forms write alike. False: no such register. */
static bool write_common(struct lapic *a, u32 off, u32 val)
{
	switch (off) {
	case AREG_TPR:
		write_tpr(a, val);
		return true;
	case AREG_EOI:
		end_of_interrupt(a);
		return true;
	case AREG_SPIV:
		write_spiv(a, val);
		return true;
	case AREG_ESR:
		apic_put(a, AREG_ESR,
			 __atomic_exchange_n(&a->esr_pending, 0, __ATOMIC_SEQ_CST));
		return true;
	case AREG_LVTT:
	case AREG_LVT_THERMAL:
	case AREG_LVT_PERF:
	case AREG_LVT0:
	case AREG_LVT1:
	case AREG_LVT_ERROR:
		write_lvt(a, off, val);
		return true;
	case AREG_TMICT:
		if ((apic_get(a, AREG_LVTT) & LVT_BITS_MODE) == LVT_BITS_TSC_DEADLINE)
			return true;
		apic_put(a, AREG_TMICT, val);
		apic_timer_start(a, val);
		return true;
	case AREG_TDCR:
		apic_timer_divide(a, val);
		return true;
	}
	return false;
}

void lapic_mmio_write(struct lapic *a, u32 off, u32 val)
{
	if (off & 0xf)
		return;
	switch (off) {
	case AREG_ID:
		apic_put(a, AREG_ID, val & 0xff000000);
		return;
	case AREG_LDR:
		apic_put(a, AREG_LDR, val & 0xff000000);
		return;
	case AREG_DFR:
		apic_put(a, AREG_DFR, val | 0x0fffffff);
		return;
	case AREG_ICR2:
		apic_put(a, AREG_ICR2, val & 0xff000000);
		return;
	case AREG_ICR:
		apic_put(a, AREG_ICR, val & ~0x1000u);
		send_ipi(a, (val & ~0x1000u) | (u64)apic_get(a, AREG_ICR2) << 32,
			 false);
		return;
	}
	if (!write_common(a, off, val))
		raise_error(a, ESR_ILLEGAL_REG);
}

u32 lapic_mmio_read(struct lapic *a, u32 off)
{
	if (off & 0xf)
		return 0;
	switch (off) {
	case AREG_PPR:
		return priority(a);
	case AREG_TMCCT:
		return apic_timer_current(a);
	case AREG_EOI:
	case AREG_SELF_IPI:
		return 0;
	}
	return off < 0x400 ? apic_get(a, off) : 0;
}

int lapic_msr_read(struct lapic *a, u32 msr, u64 *val)
{
	u32 off = (msr - 0x800) << 4;

	if (!is_x2apic(a))
		return 1;
	switch (off) {
	case AREG_ICR:
		*val = a->icr;
		return 0;
	case AREG_ID:
	case AREG_VERSION:
	case AREG_TPR:
	case AREG_PPR:
	case AREG_LDR:
	case AREG_SPIV:
	case AREG_ISR ... AREG_ISR + 0x70:
	case AREG_TMR ... AREG_TMR + 0x70:
	case AREG_IRR ... AREG_IRR + 0x70:
	case AREG_ESR:
	case AREG_LVTT ... AREG_LVT_ERROR:
	case AREG_TMICT:
	case AREG_TMCCT:
	case AREG_TDCR:
		*val = lapic_mmio_read(a, off);
		return 0;
	}
	return 1;
}

int lapic_msr_write(struct lapic *a, u32 msr, u64 val)
{
	u32 off = (msr - 0x800) << 4;

	if (!is_x2apic(a))
		return 1;
	if (off == AREG_ICR) {
		if (val & 0xfff32000)
			return 1;
		a->icr = val;
		send_ipi(a, val, true);
		return 0;
	}
	if (val >> 32)
		return 1;
	switch (off) {
	case AREG_EOI:
	case AREG_ESR:
		if (val)
			return 1;
		break;
	case AREG_SELF_IPI:
		if (val & ~0xffull)
			return 1;
		send_ipi(a, val | 1u << 18, true);
		return 0;
	case AREG_TPR:
		if (val & ~0xffull)
			return 1;
		break;
	}
	return !write_common(a, off, val);
}

/* --- what translated code does in place --- */

/* One interrupt in service, none that waits for its end, and nobody to tell. */
static bool eoi_is_private(struct lapic *a)
{
	int vector = vector_highest(a, AREG_ISR);

	return vector >= 0 &&
	       !(a->eoi_exits[vector >> 6] >> (vector & 63) & 1) &&
	       vector_highest(a, AREG_IRR) < 0 && vector_is_alone(a, AREG_ISR);
}

void lapic_lend(struct lapic *a, struct vcpu_page *p)
{
	p->eoi = is_x2apic(a) && eoi_is_private(a);
	apic_timer_lend(a, p);
}

/*
 * What has been written counts, lent or not: translated code may have been
 * interrupted between its look at the loan and its store, and the loan withdrawn
 * meanwhile. Only the guest's own interrupts are at stake.
 */
void lapic_take_back(struct lapic *a, struct vcpu_page *p)
{
	if (is_x2apic(a) && READ_ONCE(p->eoi) == 2)
		end_of_interrupt(a);
	p->eoi = 0;
	apic_timer_take_back(a, p);
}

/* --- life and state --- */

static void set_x2apic_ids(struct lapic *a)
{
	u32 id = a->v->id;

	apic_put(a, AREG_ID, id);
	apic_put(a, AREG_LDR, id >> 4 << 16 | 1u << (id & 15));
}

int lapic_set_base(struct lapic *a, u64 val, bool host)
{
	struct vcpu *v = a->v;
	u64 allowed = APIC_BASE_ADDR | APIC_BASE_EN | APIC_BASE_BSP;
	u64 old = v->apic_base & (APIC_BASE_EN | APIC_BASE_EXTD);
	u64 new = val & (APIC_BASE_EN | APIC_BASE_EXTD);

	if (CPUID_HAS_X2APIC(v) || host)
		allowed |= APIC_BASE_EXTD;
	if ((val & ~allowed) || new == APIC_BASE_EXTD)
		return 1;
	if (!host && old != new) {
		/* x2APIC is left only through off, and entered only from xAPIC. */
		if (old == (APIC_BASE_EN | APIC_BASE_EXTD) && new)
			return 1;
		if (!old && (new & APIC_BASE_EXTD))
			return 1;
	}
	v->apic_base = val;
	if (old == new)
		return 0;
	if (!new && !host) {
		lapic_reset(a);
		v->apic_base = val;
	}
	if (new & APIC_BASE_EXTD)
		set_x2apic_ids(a);
	else if (new)
		apic_put(a, AREG_ID, v->id << 24);
	return 0;
}

void lapic_reset(struct lapic *a)
{
	struct vcpu *v = a->v;
	u32 off;

	apic_timer_stop(a);
	memset(a->regs, 0, sizeof(a->regs));
	memset(a->eoi_pending, 0, sizeof(a->eoi_pending));
	a->esr_pending = 0;
	a->icr = 0;
	apic_put(a, AREG_ID, v->id << 24);
	apic_put(a, AREG_VERSION, 0x50014);
	apic_put(a, AREG_SPIV, 0xff);
	apic_put(a, AREG_DFR, ~0u);
	for (off = AREG_LVTT; off <= AREG_LVT_ERROR; off += 0x10)
		apic_put(a, off, LVT_BITS_MASKED);
	/* No firmware need have run: the PIC is wired through on the first CPU. */
	if (v->id == 0)
		apic_put(a, AREG_LVT0, MODE_EXTINT << 8);
	v->cr8 = 0;
	v->apic_base = APIC_DEFAULT_BASE | APIC_BASE_EN |
		       (v->id == 0 ? APIC_BASE_BSP : 0);
}

struct lapic *lapic_create(struct vcpu *v)
{
	struct lapic *a = env_zalloc(sizeof(*a));

	if (!a)
		return NULL;
	a->v = v;
	a->timer = popf_timer_create(apic_timer_fired, a);
	if (!a->timer) {
		env_free(a);
		return NULL;
	}
	lapic_reset(a);
	return a;
}

void lapic_destroy(struct lapic *a)
{
	if (!a)
		return;
	popf_timer_cancel(a->timer);
	popf_timer_destroy(a->timer);
	env_free(a);
}

void lapic_set_tpr(struct lapic *a, u8 cr8)
{
	write_tpr(a, cr8 << 4);
}

u8 lapic_get_tpr(struct lapic *a)
{
	return apic_get(a, AREG_TPR) >> 4 & 0xf;
}

void lapic_get_state(struct lapic *a, struct kvm_lapic_state *s)
{
	u32 i, val;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < 64; i++) {
		val = lapic_mmio_read(a, i << 4);
		memcpy(&s->regs[i << 4], &val, 4);
	}
	/* The ABI has the id in xAPIC form, and all of ICR in its two words. */
	val = a->v->id << 24;
	if (is_x2apic(a)) {
		memcpy(&s->regs[AREG_ID], &val, 4);
		memcpy(&s->regs[AREG_ICR], &a->icr, 4);
		val = a->icr >> 32;
		memcpy(&s->regs[AREG_ICR2], &val, 4);
	}
}

int lapic_set_state(struct lapic *a, const struct kvm_lapic_state *s)
{
	u32 i, count;

	apic_timer_stop(a);
	for (i = 0; i < 64; i++)
		memcpy(&a->regs[i], &s->regs[i << 4], 4);
	apic_put(a, AREG_VERSION, 0x50014);
	a->icr = apic_get(a, AREG_ICR) | (u64)apic_get(a, AREG_ICR2) << 32;
	a->v->cr8 = lapic_get_tpr(a);
	if (is_x2apic(a))
		set_x2apic_ids(a);
	count = apic_get(a, AREG_TMCCT);
	apic_timer_restore(a, count);
	vcpu_kick(a->v);
	return 0;
}

void lapic_set_eoi_exits(struct lapic *a, const u64 bitmap[4])
{
	memcpy(a->eoi_exits, bitmap, sizeof(a->eoi_exits));
}

int lapic_take_eoi_exit(struct lapic *a)
{
	u32 i, bit;

	for (i = 0; i < 4; i++) {
		if (!a->eoi_pending[i])
			continue;
		bit = __builtin_ctzll(a->eoi_pending[i]);
		a->eoi_pending[i] &= ~(1ull << bit);
		return i * 64 + bit;
	}
	return -1;
}
