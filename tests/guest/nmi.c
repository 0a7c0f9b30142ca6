// SPDX-License-Identifier: GPL-2.0-only
/*
 * NMIs, which the guest sends itself.
 */
#include "x86.h"

#define VA 0x40000000ul

static volatile u64 nmis, faults, order;
static volatile u64 nmi_frame, nmi_flags;

static void wait_nmis(u64 n)
{
	unsigned int i;

	for (i = 0; i < 100000000 && nmis < n; i++)
		barrier();
}

static bool count_nmi(struct trap *t)
{
	nmis++;
	nmi_frame = (u64)t;
	nmi_flags = t->rflags;
	return true;
}

static void start(void)
{
	nmis = faults = order = 0;
	set_handler(VEC_NMI, count_nmi);
}

TEST(nmi_arrives_with_interrupts_off_on_its_ist_stack)
{
	start();
	apic_self_nmi();
	wait_nmis(1);
	CHECK_EQ(nmis, 1);
	CHECK_EQ(nmi_frame, (u64)nmi_stack_top - offsetof(struct trap, cr2));
	CHECK_EQ(nmi_flags & RF_IF, 0);
}

static bool nmi_in_nmi(struct trap *t)
{
	u64 before = ++nmis;

	if (before == 1) {
		unsigned int i;

		apic_self_nmi();
		for (i = 0; i < 10000; i++)
			barrier();
		order = nmis; /* 1: the second one waits */
	}
	return true;
}

TEST(nmi_is_blocked_until_iret)
{
	start();
	set_handler(VEC_NMI, nmi_in_nmi);
	apic_self_nmi();
	wait_nmis(2);
	CHECK_EQ(order, 1);
	CHECK_EQ(nmis, 2);
}

static bool fault_in_nmi(struct trap *t)
{
	struct trap inner;

	nmis++;
	CATCH(&inner, store64((void *)VA, 1));
	if (inner.vector == VEC_PF && inner.cr2 == VA)
		faults++;
	return true;
}

TEST(faults_work_inside_an_nmi_handler)
{
	start();
	set_handler(VEC_NMI, fault_in_nmi);
	apic_self_nmi();
	wait_nmis(1);
	CHECK_EQ(nmis, 1);
	CHECK_EQ(faults, 1);
}

static bool nmi_in_fault(struct trap *t)
{
	u64 before = nmis, cr2 = read_cr2();

	faults++;
	apic_self_nmi();
	wait_nmis(before + 1);
	if (read_cr2() == cr2)
		order++;
	map_new(read_cr3() & PTE_ADDR, cr2 & -PAGE_SIZE, PTE_P | PTE_W);
	return true;
}

TEST(nmi_arrives_inside_a_fault_handler)
{
	u64 i;

	start();
	set_handler(VEC_PF, nmi_in_fault);
	for (i = 0; i < 64; i++)
		store64((void *)(VA + i * PAGE_SIZE), i);
	CHECK_EQ(faults, 64);
	CHECK_EQ(nmis, 64);
	CHECK_EQ(order, 64);
	for (i = 0; i < 64; i++)
		CHECK_EQ(load64((void *)(VA + i * PAGE_SIZE)), i);
}

#define PIT_CHANNEL_0 0x40
#define PIT_COMMAND 0x43
#define IOAPIC_BASE 0xfec00000ul
#define PIT_PIN 2

static void ioapic_write(u32 reg, u32 value)
{
	*(volatile u32 *)phys(IOAPIC_BASE) = reg;
	*(volatile u32 *)phys(IOAPIC_BASE + 0x10) = value;
}

/* The PIT through the IOAPIC as NMI: at any instruction of the work below. */
static void start_nmis(u16 reload)
{
	ioapic_write(0x10 + 2 * PIT_PIN + 1, apic_read(APIC_ID));
	ioapic_write(0x10 + 2 * PIT_PIN, 0x400);
	outb(PIT_COMMAND, 0x34);
	outb(PIT_CHANNEL_0, reload & 255);
	outb(PIT_CHANNEL_0, reload >> 8);
}

static void stop_nmis(void)
{
	ioapic_write(0x10 + 2 * PIT_PIN, 0x10000);
	outb(PIT_COMMAND, 0x30);
}

static u64 work(u64 rounds)
{
	u64 i, sum = 1;

	for (i = 0; i < rounds; i++) {
		sum = sum * 6364136223846793005ul + 1442695040888963407ul;
		asm volatile("pushfq; cli; rolq $7, %0; popfq" : "+r"(sum));
		if (i % 64 == 0) {
			struct trap t;

			CATCH(&t, asm volatile("ud2"));
			sum += t.vector;
		}
	}
	return sum;
}

TEST(nmis_at_random_moments_change_nothing)
{
	u64 want, got;

	start();
	want = work(20000);
	start_nmis(2000);
	got = work(20000);
	wait_nmis(3);
	stop_nmis();
	CHECK_EQ(got, want);
	CHECK(nmis > 2, "only %lu NMIs", nmis);
}

USER_ASM(spin, "1: dec %rbx; jnz 1b; int3");

TEST(nmi_interrupts_user_mode)
{
	struct user u;

	start();
	user_init(&u, spin, spin_end);
	u.rbx = 3000000;
	u.rflags = 2 | RF_IF;
	start_nmis(2000);
	user_run(&u);
	stop_nmis();
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rbx, 0);
	CHECK(nmis > 0, "no NMI");
}
