// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmclock: the page that lets the guest compute time from its TSC, and the wall
 * clock of its boot.
 *
 * The page is computed once and again only when what it is computed from changes
 * (the guest's TSC offset, the VM's clock): between those the guest's clock is its
 * TSC, which cannot jump.
 *
 * Invariant: version is odd while the fields are being written and changes with
 * every update (the guest reads until it sees the same even version twice).
 */
#include "monitor.h"

#define SYSTEM_TIME_ENABLED 1ull
#define PVCLOCK_TSC_STABLE 1u
#define NS_PER_S 1000000000ull

struct pvclock_page {
	u32 version;
	u32 pad0;
	u64 tsc_timestamp;
	u64 system_time;
	u32 tsc_to_system_mul;
	s8 tsc_shift;
	u8 flags;
	u8 pad[2];
};

struct pvclock_wall {
	u32 version;
	u32 sec;
	u32 nsec;
};

static_assert(sizeof(struct pvclock_page) == 32, "pvclock_page is 32 bytes");
static_assert(sizeof(struct pvclock_wall) == 12, "pvclock_wall is 12 bytes");

/* ns = ((tsc << shift or >> -shift) * mul) >> 32 for a TSC of khz. */
static void tsc_scale(u32 khz, u32 *mul, s8 *shift)
{
	u64 hz = (u64)khz * 1000;
	u64 ns = NS_PER_S;
	s8 s = 0;

	/* Bring hz into (ns / 2, ns * 2) so that the factor fits 32 bits. */
	while (hz > ns * 2) {
		hz >>= 1;
		s--;
	}
	while (hz <= ns) {
		hz <<= 1;
		s++;
	}
	/* 1/2 <= ns / hz < 1 */
	*mul = (ns << 32) / hz;
	*shift = s;
}

/* The guest's time page lies in one page of memory: 32 bytes, 4-byte aligned. */
static int write_page(struct vcpu *v, gpa_t gpa, struct pvclock_page *p)
{
	u32 version = p->version;
	int ret;

	p->version = version | 1;
	ret = vcpu_write_gpa(v, gpa, &p->version, 4);
	if (ret)
		return ret;
	ret = vcpu_write_gpa(v, gpa + 4, (u8 *)p + 4, sizeof(*p) - 4);
	if (ret)
		return ret;
	p->version = (version | 1) + 1;
	return vcpu_write_gpa(v, gpa, &p->version, 4);
}

bool clock_due(const struct vcpu *v)
{
	return (v->msr_kvm_system_time & SYSTEM_TIME_ENABLED) &&
	       (v->clock.due || v->clock.tsc_offset != v->tsc_offset ||
		v->clock.vm_offset != READ_ONCE(v->vm->kvmclock_offset));
}

void clock_update(struct vcpu *v)
{
	struct pvclock_page p;
	u64 host_tsc;
	u32 khz;

	if (likely(!clock_due(v)))
		return;
	khz = vm_tsc_khz(v->vm);
	if (!khz)
		return;
	memset(&p, 0, sizeof(p));
	v->clock.due = false;
	v->clock.tsc_offset = v->tsc_offset;
	v->clock.vm_offset = READ_ONCE(v->vm->kvmclock_offset);
	p.version = v->clock.version;
	p.system_time = vm_kvmclock_ns(v->vm, &host_tsc);
	p.tsc_timestamp = host_tsc + v->tsc_offset;
	tsc_scale(khz, &p.tsc_to_system_mul, &p.tsc_shift);
	p.flags = PVCLOCK_TSC_STABLE;
	if (write_page(v, v->msr_kvm_system_time & ~SYSTEM_TIME_ENABLED, &p))
		env_debug("kvmclock page is not in memory");
	v->clock.version = p.version;
}

static void write_wall_clock(struct vcpu *v, gpa_t gpa)
{
	struct pvclock_wall w = { 0 };
	u64 host_tsc, boot;

	if (!gpa || gmem_read(v->vm, gpa, &w.version, 4))
		return;
	w.version |= 1;
	if (vcpu_write_gpa(v, gpa, &w.version, 4))
		return;
	/* The wall clock's time when kvmclock was zero. */
	boot = vm_wall_ns(v->vm) - vm_kvmclock_ns(v->vm, &host_tsc);
	w.sec = boot / NS_PER_S;
	w.nsec = boot % NS_PER_S;
	if (vcpu_write_gpa(v, gpa + 4, &w.sec, 8))
		return;
	w.version++;
	vcpu_write_gpa(v, gpa, &w.version, 4);
}

int clock_msr_write(struct vcpu *v, u32 msr, u64 val)
{
	switch (msr) {
	case 0x11:
	case 0x4b564d00:
		v->msr_kvm_wall_clock = val;
		write_wall_clock(v, val);
		return 0;
	case 0x12:
	case 0x4b564d01:
		v->msr_kvm_system_time = val;
		v->clock.due = true;
		return 0;
	}
	return 1;
}
