/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Single instructions as C functions.
 */
#ifndef GUEST_X86_H
#define GUEST_X86_H

#include "guest.h"

/*
 * popf's window, where it is by default, how large it is at most, and what in it ring 3
 * may write: the vCPU page and the bounce data (include/popf/vcpu_page.h). That these
 * are where they are is for isolation.c to see.
 */
#define POPF_WINDOW 0xfffffffff0000000ul
#define POPF_WINDOW_SIZE 0x8400000ul
#define POPF_VCPU_PAGE (POPF_WINDOW + 0x77000)
#define POPF_WRITABLE_END (POPF_VCPU_PAGE + 0x3000)
/* The first vCPU's part of the switch region: monitor/world.h. */
#define POPF_REGION 0xffff800000074000ul

#define RF_CF 0x1ul
#define RF_PF 0x4ul
#define RF_AF 0x10ul
#define RF_ZF 0x40ul
#define RF_SF 0x80ul
#define RF_TF 0x100ul
#define RF_IF 0x200ul
#define RF_DF 0x400ul
#define RF_OF 0x800ul
#define RF_IOPL 0x3000ul
#define RF_NT 0x4000ul
#define RF_RF 0x10000ul
#define RF_VM 0x20000ul
#define RF_AC 0x40000ul
#define RF_ID 0x200000ul

#define CR0_MP 0x2ul
#define CR0_EM 0x4ul
#define CR0_TS 0x8ul
#define CR0_NE 0x20ul
#define CR0_WP 0x10000ul
#define CR0_AM 0x40000ul
#define CR0_NW 0x20000000ul
#define CR0_CD 0x40000000ul
#define CR0_PG 0x80000000ul
#define CR4_TSD 0x4ul
#define CR4_DE 0x8ul
#define CR4_PAE 0x20ul
#define CR4_PGE 0x80ul
#define CR4_PCE 0x100ul
#define CR4_UMIP 0x800ul
#define CR4_FSGSBASE 0x10000ul
#define CR4_OSXSAVE 0x40000ul
#define CR4_SMEP 0x100000ul
#define CR4_SMAP 0x200000ul

#define MSR_TSC 0x10
#define MSR_APIC_BASE 0x1b
#define MSR_TSC_ADJUST 0x3b
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_PAT 0x277
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX 0xc0000103

#define EFER_SCE 0x1ul
#define EFER_LME 0x100ul
#define EFER_LMA 0x400ul
#define EFER_NXE 0x800ul

struct cpuid {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(u32 leaf, u32 index)
{
	struct cpuid c;

	asm volatile("cpuid" : "=a"(c.eax), "=b"(c.ebx), "=c"(c.ecx), "=d"(c.edx)
		     : "a"(leaf), "c"(index));
	return c;
}

static inline void outb(u16 port, u8 v)
{
	asm volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outw(u16 port, u16 v)
{
	asm volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}

static inline u8 inb(u16 port)
{
	u8 v;

	asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline u64 rdmsr(u32 msr)
{
	u32 lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (u64)hi << 32 | lo;
}

static inline void wrmsr(u32 msr, u64 v)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}

static inline u64 rdtsc(void)
{
	u32 lo, hi;

	asm volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}

#define DEFINE_CR(n)                                                           \
	static inline u64 read_cr##n(void)                                     \
	{                                                                      \
		u64 v;                                                         \
									       \
		asm volatile("mov %%cr" #n ", %0" : "=r"(v) : : "memory");     \
		return v;                                                      \
	}                                                                      \
	static inline void write_cr##n(u64 v)                                  \
	{                                                                      \
		asm volatile("mov %0, %%cr" #n : : "r"(v) : "memory");         \
	}

DEFINE_CR(0)
DEFINE_CR(2)
DEFINE_CR(3)
DEFINE_CR(4)
DEFINE_CR(8)

#define DEFINE_DR(n)                                                           \
	static inline u64 read_dr##n(void)                                     \
	{                                                                      \
		u64 v;                                                         \
									       \
		asm volatile("mov %%db" #n ", %0" : "=r"(v));                  \
		return v;                                                      \
	}                                                                      \
	static inline void write_dr##n(u64 v)                                  \
	{                                                                      \
		asm volatile("mov %0, %%db" #n : : "r"(v) : "memory");         \
	}

DEFINE_DR(0)
DEFINE_DR(1)
DEFINE_DR(2)
DEFINE_DR(3)
DEFINE_DR(6)
DEFINE_DR(7)

#define DEFINE_SEG(s)                                                          \
	static inline u16 read_##s(void)                                       \
	{                                                                      \
		u16 v;                                                         \
									       \
		asm volatile("mov %%" #s ", %0" : "=r"(v));                    \
		return v;                                                      \
	}                                                                      \
	static inline void write_##s(u16 v)                                    \
	{                                                                      \
		asm volatile("mov %0, %%" #s : : "r"((u32)v) : "memory");      \
	}

DEFINE_SEG(ds)
DEFINE_SEG(es)
DEFINE_SEG(ss)
DEFINE_SEG(fs)
DEFINE_SEG(gs)

static inline void invlpg(const void *p)
{
	asm volatile("invlpg (%0)" : : "r"(p) : "memory");
}

static inline void cli(void)
{
	asm volatile("cli" : : : "memory");
}

static inline void sti(void)
{
	asm volatile("sti" : : : "memory");
}

static inline u64 read_flags(void)
{
	u64 v;

	asm volatile("pushfq; popq %0" : "=r"(v) : : "memory");
	return v;
}

static inline void write_flags(u64 v)
{
	asm volatile("pushq %0; popfq" : : "r"(v) : "memory", "cc");
}

static inline u8 load8(const volatile void *p)
{
	return *(const volatile u8 *)p;
}

static inline u64 load64(const volatile void *p)
{
	return *(const volatile u64 *)p;
}

static inline void store64(volatile void *p, u64 v)
{
	*(volatile u64 *)p = v;
}

static inline bool has_fsgsbase(void)
{
	return cpuid(0, 0).eax >= 7 && cpuid(7, 0).ebx & 1;
}

/*
 * What differs between the modes forbids a monitor its short ways: a CR4 without
 * FSGSBASE, the kernel's data segments.
 */
static inline void allow_short_ways(void)
{
	if (has_fsgsbase())
		write_cr4(read_cr4() | CR4_FSGSBASE);
	write_ds(0);
	write_es(0);
	write_fs(0);
	write_gs(0);
}

/* Call code at any address; it returns with RET. */
static inline u64 call_at(u64 addr)
{
	return ((u64(*)(void))addr)();
}

#endif
