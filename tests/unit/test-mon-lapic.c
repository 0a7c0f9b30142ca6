// SPDX-License-Identifier: GPL-2.0-only
/* The local APIC, its timer, MSIs, and kvmclock. */
#include "mon_rig.h"

#define A (rig->v.lapic)

static u32 rd(u32 off)
{
	return lapic_mmio_read(A, off);
}

static void wr(u32 off, u32 val)
{
	lapic_mmio_write(A, off, val);
}

static void enable(void)
{
	wr(0xf0, 0x1ff);
}

static u64 xrd(u32 msr)
{
	u64 val;

	assert_int_equal(lapic_msr_read(A, msr, &val), 0);
	return val;
}

static void x2apic(void)
{
	assert_int_equal(lapic_set_base(A, 0xfee00d00, false), 0);
	assert_int_equal(lapic_msr_write(A, 0x80f, 0x1ff), 0);
}

static void disabled_apic_takes_nothing(void **state)
{
	assert_false(lapic_deliver(A, 0x30, 0, false));
	assert_int_equal(lapic_pending(A), -1);
	enable();
	assert_true(lapic_deliver(A, 0x30, 0, false));
	assert_int_equal(lapic_pending(A), 0x30);
	assert_int_equal(rig->kicks, 1);
}

static void priorities_and_eoi(void **state)
{
	enable();
	lapic_deliver(A, 0x31, 0, false);
	lapic_deliver(A, 0x52, 0, false);
	assert_int_equal(lapic_pending(A), 0x52);
	lapic_accept(A, 0x52);
	assert_int_equal(rd(0xa0), 0x50); /* PPR */
	assert_int_equal(rd(0x120), 1u << 0x12); /* ISR */
	assert_int_equal(lapic_pending(A), -1); /* 0x31 is lower */
	lapic_deliver(A, 0x5f, 0, false); /* same class */
	assert_int_equal(lapic_pending(A), -1);
	lapic_deliver(A, 0x60, 0, false);
	assert_int_equal(lapic_pending(A), 0x60);
	lapic_accept(A, 0x60);
	wr(0xb0, 0);
	assert_int_equal(rd(0xa0), 0x50);
	wr(0xb0, 0);
	assert_int_equal(lapic_pending(A), 0x5f);
	wr(0x80, 0x50); /* TPR */
	assert_int_equal(rig->v.cr8, 5);
	assert_int_equal(lapic_pending(A), -1);
	vcpu_set_cr8(&rig->v, 2);
	assert_int_equal(rd(0x80), 0x20);
	assert_int_equal(lapic_pending(A), 0x5f);
}

static void an_interrupt_is_alone_if_nothing_else_waits(void **state)
{
	const u64 eoi_exits[4] = { 1ull << 0x31 };

	enable();
	assert_int_equal(lapic_pending_alone(A), -1);
	lapic_deliver(A, 0x31, 0, false);
	assert_int_equal(lapic_pending_alone(A), 0x31);
	lapic_deliver(A, 0x32, 0, false); /* in the same word */
	assert_int_equal(lapic_pending_alone(A), -1);
	lapic_accept(A, 0x32);
	assert_int_equal(lapic_pending_alone(A), -1); /* 0x31 has to wait */
	wr(0xb0, 0);
	assert_int_equal(lapic_pending_alone(A), 0x31);
	lapic_deliver(A, 0x91, 0, false);
	assert_int_equal(lapic_pending_alone(A), -1);
	lapic_accept(A, 0x91);
	wr(0xb0, 0);
	lapic_set_eoi_exits(A, eoi_exits);
	lapic_accept(A, 0x31);
	wr(0xb0, 0); /* userland is to see that */
	lapic_deliver(A, 0x31, 0, false);
	assert_int_equal(lapic_pending_alone(A), -1);
	assert_int_equal(lapic_take_eoi_exit(A), 0x31);
	assert_int_equal(lapic_pending_alone(A), 0x31);
}

static void level_interrupts_set_tmr(void **state)
{
	enable();
	lapic_deliver(A, 0x45, 0, true);
	assert_int_equal(rd(0x1a0), 1u << 5);
	lapic_deliver(A, 0x45, 0, false);
	assert_int_equal(rd(0x1a0), 0);
}

static void eoi_of_listed_vectors_is_reported(void **state)
{
	u64 bitmap[4] = { 0, 1ull << 5, 0, 0 };

	enable();
	lapic_set_eoi_exits(A, bitmap);
	lapic_deliver(A, 0x44, 0, true);
	lapic_accept(A, 0x44);
	wr(0xb0, 0);
	assert_int_equal(lapic_take_eoi_exit(A), -1);
	lapic_deliver(A, 0x45, 0, true);
	lapic_accept(A, 0x45);
	wr(0xb0, 0);
	assert_int_equal(lapic_take_eoi_exit(A), 0x45);
	assert_int_equal(lapic_take_eoi_exit(A), -1);
}

static void self_ipi_in_all_forms(void **state)
{
	enable();
	wr(0x300, 0x40040 | 0x1); /* shorthand self, vector 0x41 */
	assert_int_equal(lapic_pending(A), 0x41);
	lapic_accept(A, 0x41);
	wr(0xb0, 0);
	wr(0x310, 0);
	wr(0x300, 0x42); /* physical, id 0 */
	assert_int_equal(lapic_pending(A), 0x42);
	lapic_accept(A, 0x42);
	wr(0xb0, 0);
	wr(0x310, 5u << 24);
	wr(0x300, 0x43); /* nobody */
	assert_int_equal(lapic_pending(A), -1);
	wr(0xd0, 0x04000000);
	wr(0x310, 0x04000000);
	wr(0x300, 0x844); /* logical, flat */
	assert_int_equal(lapic_pending(A), 0x44);
	wr(0x300, 0xc0045); /* all but self */
	assert_int_equal(lapic_pending(A), 0x44);
	wr(0x300, 0x40400); /* NMI to self */
	assert_true(rig->v.nmi_pending);
}

static void illegal_vectors_are_recorded(void **state)
{
	enable();
	wr(0x370, 0x50); /* error LVT */
	wr(0x300, 0x40005);
	assert_int_equal(lapic_pending(A), 0x50);
	wr(0x280, 0);
	assert_int_equal(rd(0x280), 0x20);
	assert_false(lapic_deliver(A, 3, 0, false));
	wr(0x280, 0);
	assert_int_equal(rd(0x280), 0x40);
	wr(0x280, 0);
	assert_int_equal(rd(0x280), 0);
}

static void x2apic_registers(void **state)
{
	u64 val;

	assert_int_equal(lapic_msr_read(A, 0x802, &val), 1);
	x2apic();
	assert_int_equal(xrd(0x802), 0);
	assert_int_equal(xrd(0x80d), 1);
	assert_int_equal(xrd(0x803), 0x50014);
	assert_int_equal(lapic_msr_read(A, 0x80e, &val), 1); /* no DFR */
	assert_int_equal(lapic_msr_write(A, 0x802, 0), 1);
	assert_int_equal(lapic_msr_write(A, 0x80b, 1), 1); /* EOI must be 0 */
	assert_int_equal(lapic_msr_write(A, 0x808, 0x100), 1);
	assert_int_equal(lapic_msr_write(A, 0x83f, 0x61), 0); /* self IPI */
	assert_int_equal(lapic_pending(A), 0x61);
	assert_int_equal(lapic_msr_write(A, 0x830, 0x62), 0); /* to id 0 */
	assert_int_equal(lapic_pending(A), 0x62);
	assert_int_equal(lapic_msr_write(A, 0x830, 7ull << 32 | 0x63), 0);
	assert_int_equal(lapic_pending(A), 0x62);
	assert_int_equal(xrd(0x830), 7ull << 32 | 0x63);
	assert_int_equal(lapic_msr_write(A, 0x828, 1), 1); /* ESR too */
	assert_int_equal(lapic_msr_write(A, 0x828, 0), 0);
	/* The page is gone. */
	assert_false(lapic_owns(&rig->v, 0xfee00000));
}

static void apic_base_transitions(void **state)
{
	struct vcpu *v = &rig->v;

	assert_true(lapic_owns(v, 0xfee00123));
	assert_int_equal(lapic_set_base(A, 0xfee00500, false), 1); /* EXTD alone */
	assert_int_equal(lapic_set_base(A, 0xfee00d00, false), 0);
	assert_int_equal(lapic_set_base(A, 0xfee00900, false), 1); /* back */
	assert_int_equal(lapic_set_base(A, 0xfee00100, false), 0); /* off */
	assert_int_equal(lapic_set_base(A, 0xfee00d00, false), 1); /* off to x2 */
	assert_int_equal(lapic_set_base(A, 0xfee00900, false), 0);
	assert_int_equal(lapic_set_base(A, 0x1fee00900, false), 0); /* moved */
	assert_true(lapic_owns(v, 0x1fee00000));
	assert_int_equal(lapic_set_base(A, 1ull << 45 | 0x900, false), 1);
}

static void one_shot_timer_fires_once(void **state)
{
	enable();
	wr(0x3e0, 0xb); /* divide by 1 */
	wr(0x320, 0x40);
	wr(0x380, 10000);
	assert_int_equal(rd(0x390), 10000);
	rig_advance_ns(4000);
	assert_int_equal(rd(0x390), 6000);
	assert_int_equal(lapic_pending(A), -1);
	rig_advance_ns(6000);
	assert_int_equal(lapic_pending(A), 0x40);
	assert_int_equal(rd(0x390), 0);
	lapic_accept(A, 0x40);
	wr(0xb0, 0);
	rig_advance_ns(100000);
	assert_int_equal(lapic_pending(A), -1);
	/* Divided by 16, and stopped by zero. */
	wr(0x3e0, 3);
	wr(0x380, 1000);
	rig_advance_ns(15999);
	assert_int_equal(lapic_pending(A), -1);
	rig_advance_ns(1);
	assert_int_equal(lapic_pending(A), 0x40);
	lapic_accept(A, 0x40);
	wr(0x380, 1000);
	wr(0x380, 0);
	rig_advance_ns(20000);
	wr(0xb0, 0);
	assert_int_equal(lapic_pending(A), -1);
}

static void periodic_timer_does_not_drift(void **state)
{
	u64 start = rig->now_ns;
	u32 i, fired = 0;

	enable();
	wr(0x3e0, 0xb);
	wr(0x320, 0x20041);
	wr(0x380, 100000);
	/* Polled late by a varying amount, it still fires ten times in a ms. */
	for (i = 0; rig->now_ns < start + 1000000; i++) {
		rig_advance_ns(7000 + i % 3 * 1000);
		if (lapic_pending(A) == 0x41) {
			fired++;
			lapic_accept(A, 0x41);
			wr(0xb0, 0);
		}
	}
	assert_int_equal(fired, 10);
	wr(0x320, 0x30041); /* masked: counts on, delivers nothing */
	rig_advance_ns(200000);
	assert_int_equal(lapic_pending(A), -1);
	assert_true(rd(0x390) > 0);
}

static void tsc_deadline_timer(void **state)
{
	struct vcpu *v = &rig->v;
	u64 val;

	enable();
	v->tsc_offset = 500;
	assert_int_equal(vcpu_set_msr(v, 0x6e0, 1, false), 0); /* ignored */
	assert_int_equal(vcpu_get_msr(v, 0x6e0, &val, false), 0);
	assert_int_equal(val, 0);
	wr(0x320, 0x40042);
	val = vcpu_guest_tsc(v) + 1000;
	assert_int_equal(vcpu_set_msr(v, 0x6e0, val, false), 0);
	assert_int_equal(lapic_get_tsc_deadline(A), val);
	rig_advance_tsc(999);
	assert_int_equal(lapic_pending(A), -1);
	rig_advance_tsc(1);
	assert_int_equal(lapic_pending(A), 0x42);
	assert_int_equal(lapic_get_tsc_deadline(A), 0);
	lapic_accept(A, 0x42);
	wr(0xb0, 0);
	/* The guest sets its TSC forward: the deadline is nearer. */
	vcpu_set_msr(v, 0x6e0, vcpu_guest_tsc(v) + 1000, false);
	vcpu_set_msr(v, 0x10, vcpu_guest_tsc(v) + 600, false);
	rig_advance_tsc(400);
	assert_int_equal(lapic_pending(A), 0x42);
	/* TMICT does nothing in this mode; a change of mode disarms. */
	lapic_accept(A, 0x42);
	wr(0xb0, 0);
	wr(0x380, 100);
	rig_advance_ns(1000000);
	vcpu_set_msr(v, 0x6e0, vcpu_guest_tsc(v) + 1000, false);
	wr(0x320, 0x42);
	rig_advance_tsc(10000);
	assert_int_equal(lapic_pending(A), -1);
}

#define PAGE (&rig->page)

static void eoi_is_lent_when_nobody_waits_for_it(void **state)
{
	u64 bitmap[4] = { 0, 1ull << 5, 0, 0 };

	enable();
	lapic_lend(A, PAGE);
	assert_int_equal(PAGE->eoi, 0); /* nothing in service */
	lapic_deliver(A, 0x52, 0, false);
	lapic_accept(A, 0x52);
	lapic_lend(A, PAGE);
	assert_int_equal(PAGE->eoi, 0); /* xAPIC has another way */
	x2apic();
	lapic_lend(A, PAGE);
	assert_int_equal(PAGE->eoi, 1);
	lapic_take_back(A, PAGE);
	assert_int_equal(xrd(0x812), 1u << 0x12); /* ISR: not ended */
	lapic_lend(A, PAGE);
	PAGE->eoi = 2;
	lapic_take_back(A, PAGE);
	assert_int_equal(xrd(0x812), 0);
	/* Another one waits, another one is in service, userland wants it. */
	lapic_deliver(A, 0x52, 0, false);
	lapic_accept(A, 0x52);
	lapic_deliver(A, 0x31, 0, false);
	lapic_lend(A, PAGE);
	assert_int_equal(PAGE->eoi, 0);
	lapic_accept(A, 0x31);
	lapic_lend(A, PAGE);
	assert_int_equal(PAGE->eoi, 0);
	lapic_msr_write(A, 0x80b, 0);
	lapic_msr_write(A, 0x80b, 0);
	lapic_set_eoi_exits(A, bitmap);
	lapic_deliver(A, 0x45, 0, true);
	lapic_accept(A, 0x45);
	lapic_lend(A, PAGE);
	assert_int_equal(PAGE->eoi, 0);
}

/* Its code had looked when the loan was still good, and was interrupted. */
static void an_eoi_written_after_the_loan_is_not_lost(void **state)
{
	x2apic();
	lapic_deliver(A, 0x52, 0, false);
	lapic_accept(A, 0x52);
	lapic_lend(A, PAGE);
	assert_int_equal(PAGE->eoi, 1);
	lapic_take_back(A, PAGE);
	lapic_deliver(A, 0x31, 0, false);
	lapic_lend(A, PAGE);
	assert_int_equal(PAGE->eoi, 0);
	PAGE->eoi = 2;
	lapic_take_back(A, PAGE);
	assert_int_equal(xrd(0x812), 0);
	assert_int_equal(lapic_pending(A), 0x31);
	/* It counts once. */
	lapic_accept(A, 0x31);
	lapic_lend(A, PAGE);
	lapic_take_back(A, PAGE);
	assert_int_equal(xrd(0x811), 1u << 0x11);
}

static u64 ticks(u64 us)
{
	return us * vm_tsc_khz(rig->v.vm) / 1000;
}

/* Deadlines in a rhythm of 4 ms, up to the one that has been lent. */
static u64 start_rhythm(void)
{
	u64 first = vcpu_guest_tsc(&rig->v) + ticks(4000);
	u32 i;

	x2apic();
	assert_int_equal(lapic_msr_write(A, 0x832, 0x40042), 0);
	for (i = 0; i < 2; i++) {
		lapic_set_tsc_deadline(A, first + i * ticks(4000));
		rig_advance_tsc(ticks(4000));
		assert_int_equal(lapic_pending(A), 0x42);
		lapic_accept(A, 0x42);
		lapic_msr_write(A, 0x80b, 0);
	}
	return first + 2 * ticks(4000);
}

static void a_deadline_in_rhythm_may_be_written_in_place(void **state)
{
	u64 next = start_rhythm();

	lapic_lend(A, PAGE);
	assert_true((s64)(next + PAGE->deadline_neg) >= 0);
	assert_true((s64)(next - ticks(200) + PAGE->deadline_neg) < 0);
	PAGE->deadline = next;
	lapic_take_back(A, PAGE);
	assert_int_equal(lapic_get_tsc_deadline(A), next);
	/* While it is set nothing is lent: an earlier one would have to go. */
	lapic_lend(A, PAGE);
	assert_int_equal(PAGE->deadline_neg, VCPU_NO_DEADLINE);
	rig_advance_tsc(next - vcpu_guest_tsc(&rig->v) - ticks(100));
	assert_int_equal(lapic_pending(A), -1);
	rig_advance_tsc(ticks(104));
	assert_int_equal(lapic_pending(A), 0x42);
}

/* Where it was expected the timer is already; elsewhere it has to be set. */
static void a_deadline_as_expected_leaves_the_timer_alone(void **state)
{
	u64 next = start_rhythm();
	u32 armed = rig->timer_arms;

	lapic_lend(A, PAGE);
	PAGE->deadline = next + ticks(1);
	lapic_take_back(A, PAGE);
	assert_int_equal(rig->timer_arms, armed);
	assert_int_equal(lapic_get_tsc_deadline(A), next + ticks(1));
	rig_advance_tsc(next - vcpu_guest_tsc(&rig->v));
	assert_int_equal(lapic_pending(A), -1);
	rig_advance_tsc(ticks(4));
	assert_int_equal(lapic_pending(A), 0x42);
}

static void a_deadline_later_than_expected_comes_at_its_time(void **state)
{
	u64 next = start_rhythm();

	lapic_lend(A, PAGE);
	PAGE->deadline = next + ticks(500);
	lapic_take_back(A, PAGE);
	rig_advance_tsc(next + ticks(499) - vcpu_guest_tsc(&rig->v));
	assert_int_equal(lapic_pending(A), -1);
	rig_advance_tsc(ticks(1));
	assert_int_equal(lapic_pending(A), 0x42);
}

static void the_expected_time_makes_an_exit_and_no_interrupt(void **state)
{
	u64 next = start_rhythm();
	u32 kicks;

	lapic_lend(A, PAGE);
	PAGE->deadline = next + ticks(500);
	kicks = rig->kicks;
	rig_advance_tsc(next + ticks(4) - vcpu_guest_tsc(&rig->v));
	assert_int_equal(rig->kicks, kicks + 1);
	assert_int_equal(lapic_pending(A), -1);
	lapic_take_back(A, PAGE);
	rig_advance_tsc(ticks(495));
	assert_int_equal(lapic_pending(A), -1);
	rig_advance_tsc(ticks(1));
	assert_int_equal(lapic_pending(A), 0x42);
}

static void a_deadline_written_after_the_loan_is_not_lost(void **state)
{
	u64 next = start_rhythm();

	lapic_lend(A, PAGE);
	assert_true((s64)(next + PAGE->deadline_neg) >= 0);
	/* Past its check, the guest's code is interrupted by the timer. */
	rig_advance_tsc(next + ticks(4) - vcpu_guest_tsc(&rig->v));
	lapic_take_back(A, PAGE);
	lapic_lend(A, PAGE);
	assert_int_equal(PAGE->deadline_neg, VCPU_NO_DEADLINE);
	PAGE->deadline = next + ticks(100);
	rig_advance_tsc(ticks(1000));
	lapic_take_back(A, PAGE);
	rig_advance_tsc(1);
	assert_int_equal(lapic_pending(A), 0x42);
}

static void a_deadline_counts_only_in_deadline_mode(void **state)
{
	x2apic();
	assert_int_equal(lapic_msr_write(A, 0x832, 0x42), 0);
	lapic_lend(A, PAGE);
	PAGE->deadline = vcpu_guest_tsc(&rig->v) + 1000;
	lapic_take_back(A, PAGE);
	assert_int_equal(lapic_get_tsc_deadline(A), 0);
	rig_advance_tsc(2000);
	assert_int_equal(lapic_pending(A), -1);
}

static void software_disable_masks_the_lvt(void **state)
{
	enable();
	wr(0x320, 0x40);
	wr(0xf0, 0xff);
	assert_int_equal(rd(0x320), 0x10040);
	wr(0x320, 0x41);
	assert_int_equal(rd(0x320), 0x10041);
}

static void lint0_decides_about_extint(void **state)
{
	assert_true(lapic_accepts_extint(A)); /* virtual wire after reset */
	enable();
	wr(0x350, 0x10700);
	assert_false(lapic_accepts_extint(A));
	wr(0x350, 0x700);
	assert_true(lapic_accepts_extint(A));
	wr(0x350, 0x30);
	assert_false(lapic_accepts_extint(A));
	lapic_set_base(A, 0xfee00100, false);
	assert_true(lapic_accepts_extint(A));
}

static void msi_routing(void **state)
{
	enable();
	assert_int_equal(vm_deliver_msi(&rig->vm, 0xfee00000, 0x51), 1);
	assert_int_equal(lapic_pending(A), 0x51);
	assert_int_equal(vm_deliver_msi(&rig->vm, 0xfee01000, 0x52), 0);
	assert_int_equal(vm_deliver_msi(&rig->vm, 0xfeeff000, 0x53), 1);
	wr(0xd0, 0x02000000);
	assert_int_equal(vm_deliver_msi(&rig->vm, 0xfee02004, 0x54), 1);
	assert_int_equal(vm_deliver_msi(&rig->vm, 0xfee04004, 0x55), 0);
	x2apic();
	assert_int_equal(vm_deliver_msi(&rig->vm, 0xfee01004, 0x56), 1);
}

static void state_survives_get_and_set(void **state)
{
	struct kvm_lapic_state s, t;

	enable();
	wr(0x3e0, 0xb);
	wr(0x320, 0x40);
	wr(0x350, 0x10700);
	wr(0x80, 0x20);
	wr(0x380, 10000);
	lapic_deliver(A, 0x71, 0, true);
	lapic_deliver(A, 0x61, 0, false);
	lapic_accept(A, 0x71);
	rig_advance_ns(3000);
	lapic_get_state(A, &s);
	lapic_reset(A);
	assert_int_equal(lapic_set_state(A, &s), 0);
	lapic_get_state(A, &t);
	assert_memory_equal(&s, &t, sizeof(s));
	assert_int_equal(rig->v.cr8, 2);
	wr(0xb0, 0);
	assert_int_equal(lapic_pending(A), 0x61);
	lapic_accept(A, 0x61);
	wr(0xb0, 0);
	rig_advance_ns(7000);
	assert_int_equal(lapic_pending(A), 0x40);
}

static void page_accesses_reach_the_apic(void **state)
{
	struct vcpu *v = &rig->v;

	v->regs.gpr[GPR_RBX] = 0xfee00000;
	v->regs.gpr[GPR_RAX] = 0x1ff;
	rig_code("\x89\x83\xf0\x00\x00\x00", 6); /* mov %eax, 0xf0(%rbx) */
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(rd(0xf0), 0x1ff);
	assert_int_equal(v->regs.rip, RIG_CODE + 6);
	rig_code("\x8b\x43\x30", 3); /* mov 0x30(%rbx), %eax */
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(v->regs.gpr[GPR_RAX], 0x50014);
	rig_code("\xc7\x83\xb0\x00\x00\x00\x00\x00\x00\x00", 10); /* EOI */
	lapic_deliver(A, 0x71, 0, false);
	lapic_accept(A, 0x71);
	assert_int_equal(vcpu_emulate_memory(v), EMUL_DONE);
	assert_int_equal(rd(0xa0), 0);
}

static u64 pvclock_read(gpa_t gpa, u64 tsc)
{
	u8 *p = rig_at(gpa);
	u64 stamp, system;
	u32 version, mul;
	s8 shift;

	memcpy(&version, p, 4);
	memcpy(&stamp, p + 8, 8);
	memcpy(&system, p + 16, 8);
	memcpy(&mul, p + 24, 4);
	shift = p[28];
	assert_false(version & 1);
	tsc -= stamp;
	tsc = shift < 0 ? tsc >> -shift : tsc << shift;
	return system + (u64)((unsigned __int128)tsc * mul >> 32);
}

static void kvmclock_counts_nanoseconds(void **state)
{
	struct vcpu *v = &rig->v;
	u32 version;
	u64 ns;

	rig->now_ns = 5000000000;
	v->tsc_offset = -900000;
	clock_update(v);
	assert_int_equal(*rig_u64(0x90000), 0);
	assert_int_equal(vcpu_set_msr(v, 0x4b564d01, 0x90001, false), 0);
	clock_update(v);
	assert_int_equal(pvclock_read(0x90000, vcpu_guest_tsc(v)), 5000000000);
	/* 2.5 GHz: a second later within a microsecond. */
	ns = pvclock_read(0x90000, vcpu_guest_tsc(v) + 2500000000ull);
	assert_in_range(ns, 5999999000, 6000001000);
	memcpy(&version, rig_at(0x90000), 4);
	/* Nothing changed: nothing is written, whatever the time. */
	rig->host_tsc += 2500000;
	rig->now_ns += 2000000;
	clock_update(v);
	assert_memory_equal(&version, rig_at(0x90000), 4);
	/* The guest moves its TSC: the clock stays right. */
	vcpu_set_msr(v, 0x10, 77, false);
	clock_update(v);
	assert_memory_not_equal(&version, rig_at(0x90000), 4);
	assert_int_equal(pvclock_read(0x90000, 77), rig->now_ns);
}

static void wall_clock_is_the_boot_time(void **state)
{
	u32 w[3];

	rig->now_ns = 7000000001;
	assert_int_equal(vcpu_set_msr(&rig->v, 0x4b564d00, 0x90010, false), 0);
	memcpy(w, rig_at(0x90010), 12);
	assert_int_equal(w[0] & 1, 0);
	assert_true(w[0] != 0);
	assert_int_equal(w[1], 1700000000);
	assert_int_equal(w[2], 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(disabled_apic_takes_nothing),
		T(priorities_and_eoi),
		T(an_interrupt_is_alone_if_nothing_else_waits),
		T(level_interrupts_set_tmr),
		T(eoi_of_listed_vectors_is_reported),
		T(self_ipi_in_all_forms),
		T(illegal_vectors_are_recorded),
		T(x2apic_registers),
		T(apic_base_transitions),
		T(one_shot_timer_fires_once),
		T(periodic_timer_does_not_drift),
		T(tsc_deadline_timer),
		T(eoi_is_lent_when_nobody_waits_for_it),
		T(an_eoi_written_after_the_loan_is_not_lost),
		T(a_deadline_in_rhythm_may_be_written_in_place),
		T(a_deadline_as_expected_leaves_the_timer_alone),
		T(a_deadline_later_than_expected_comes_at_its_time),
		T(the_expected_time_makes_an_exit_and_no_interrupt),
		T(a_deadline_written_after_the_loan_is_not_lost),
		T(a_deadline_counts_only_in_deadline_mode),
		T(software_disable_masks_the_lvt),
		T(lint0_decides_about_extint),
		T(msi_routing),
		T(state_survives_get_and_set),
		T(page_accesses_reach_the_apic),
		T(kvmclock_counts_nanoseconds),
		T(wall_clock_is_the_boot_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
