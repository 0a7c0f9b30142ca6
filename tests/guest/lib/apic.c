// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC in xAPIC mode, through the direct map.
 */
#include "lib.h"
#include "x86.h"

#define APIC_BASE 0xfee00000ul
#define ICR_NMI 0x400
#define ICR_ASSERT 0x4000
#define ICR_SELF 0x40000
#define ICR_PENDING 0x1000

u32 apic_read(u32 reg)
{
	return *(volatile u32 *)(DIRECT_BASE + APIC_BASE + reg);
}

void apic_write(u32 reg, u32 value)
{
	*(volatile u32 *)(DIRECT_BASE + APIC_BASE + reg) = value;
}

void apic_init(void)
{
	unsigned int limit = 256;
	u32 reg;

	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	apic_write(APIC_SPIV, 0x1ff);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVTT, 0x10000);
	apic_write(APIC_TMICT, 0);
	apic_write(APIC_TDCR, 0xb);
	/* a test that failed in a handler leaves its vector in service */
	for (reg = APIC_ISR; reg < APIC_ISR + 0x80; reg += 0x10) {
		while (apic_read(reg) && limit--)
			apic_eoi();
	}
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

void apic_self(u8 vector)
{
	apic_write(APIC_ICR2, apic_read(APIC_ID));
	apic_write(APIC_ICR, ICR_ASSERT | vector);
}

void apic_self_nmi(void)
{
	apic_write(APIC_ICR2, apic_read(APIC_ID));
	apic_write(APIC_ICR, ICR_ASSERT | ICR_NMI);
}
