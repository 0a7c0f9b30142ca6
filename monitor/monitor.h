/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private to the portable C of monitor/: what the guest sees of its CPU. Nothing
 * here knows of the host world; see monitor_host.h for that half.
 */
#ifndef POPF_MONITOR_H
#define POPF_MONITOR_H

#include <popf/vcpu.h>
#include <popf/vm.h>

/* Control register bits. */
#define CR0_PE 0x1ull
#define CR0_MP 0x2ull
#define CR0_EM 0x4ull
#define CR0_TS 0x8ull
#define CR0_ET 0x10ull
#define CR0_NE 0x20ull
#define CR0_WP 0x10000ull
#define CR0_AM 0x40000ull
#define CR0_NW 0x20000000ull
#define CR0_CD 0x40000000ull
#define CR0_PG 0x80000000ull

#define CR4_VME 0x1ull
#define CR4_PVI 0x2ull
#define CR4_TSD 0x4ull
#define CR4_DE 0x8ull
#define CR4_PSE 0x10ull
#define CR4_PAE 0x20ull
#define CR4_MCE 0x40ull
#define CR4_PGE 0x80ull
#define CR4_PCE 0x100ull
#define CR4_OSFXSR 0x200ull
#define CR4_OSXMMEXCPT 0x400ull
#define CR4_UMIP 0x800ull
#define CR4_FSGSBASE 0x10000ull
#define CR4_OSXSAVE 0x40000ull

/* Not EFER_*: <asm/msr-index.h> has those. */
#define GEFER_SCE 0x1ull
#define GEFER_LME 0x100ull
#define GEFER_LMA 0x400ull
#define GEFER_NX 0x800ull

#define DR6_ONES 0xffff0ff0ull /* read as 1, as in DR7 */
#define DR6_WRITABLE 0xe00full
#define DR6_BS 0x4000ull
#define DR6_BD 0x2000ull
#define DR7_ONES 0x400ull
#define DR7_WRITABLE 0xffff23ffull
#define DR7_GD 0x2000ull

#define RF_ARITH (RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF | RF_OF)

/* Of APIC_BASE. */
#define APIC_BASE_BSP 0x100ull
#define APIC_BASE_EXTD 0x400ull
#define APIC_BASE_EN 0x800ull
#define APIC_BASE_ADDR 0xfffffff000ull
#define APIC_DEFAULT_BASE 0xfee00000ull

/* Flag for access functions: the operand is relative to SS, see access.c. */
#define ACCESS_STACK 0x10000u

static inline bool is_canonical(u64 gva)
{
	return (u64)((s64)(gva << 16) >> 16) == gva;
}

/* Is the guest executing 64-bit code? */
static inline bool vcpu_is_64bit(const struct vcpu *v)
{
	return vcpu_long_mode(v) && v->seg[SEG_CS].l;
}

/* access bits of the guest's own accesses at this CPL. */
static inline u32 access_cpl(const struct vcpu *v)
{
	return vcpu_cpl(v) == 3 ? PF_ERR_USER : 0;
}

static inline enum emul emul_gp(struct vcpu *v, u32 error)
{
	vcpu_queue_exception(v, VEC_GP, true, error);
	return EMUL_FAULT;
}

static inline enum emul emul_ud(struct vcpu *v)
{
	vcpu_queue_exception(v, VEC_UD, false, 0);
	return EMUL_FAULT;
}

/* Set a register as an instruction of this operand size does. */
static inline void reg_write(u64 *reg, u64 val, u32 size)
{
	switch (size) {
	case 1:
		*reg = (*reg & ~0xffull) | (val & 0xff);
		break;
	case 2:
		*reg = (*reg & ~0xffffull) | (val & 0xffff);
		break;
	case 4:
		*reg = (u32)val;
		break;
	default:
		*reg = val;
	}
}

static inline u64 size_mask(u32 size)
{
	return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1;
}

/* --- access.c --- */

/*
 * Translate for an access of the monitor on the guest's behalf: 0, or -EFAULT with
 * the fault queued.
 */
int access_walk(struct vcpu *v, gva_t gva, u32 access, gpa_t *gpa);
/* May this be written (all pages of it)? As vcpu_write() without the data. */
int access_probe(struct vcpu *v, gva_t gva, u32 len, u32 access);
/* Fetch up to 15 instruction bytes at gva: count, or -EFAULT with a fault queued. */
int access_fetch(struct vcpu *v, gva_t gva, u8 *buf);
/* After a store of the monitor to a frame with these traces. */
void access_stored(struct vcpu *v, gpa_t gpa, u32 len, u32 trace);

/* --- event.c --- */

/* Queue with RIP after the instruction and gate checks of a software interrupt. */
void event_queue_soft(struct vcpu *v, u8 vector, u8 insn_len);

/* --- segments.c --- */

/* Attributes of an unpacked descriptor that checks need. */
static inline bool seg_is_code(const struct kvm_segment *s)
{
	return s->s && (s->type & 8);
}

static inline bool seg_is_conforming(const struct kvm_segment *s)
{
	return (s->type & 0xc) == 0xc;
}

static inline bool seg_is_writable_data(const struct kvm_segment *s)
{
	return s->s && (s->type & 0xa) == 2;
}

void seg_unpack(struct kvm_segment *s, u16 sel, const u64 desc[2]);
void seg_set_null(struct kvm_segment *s, u16 sel);
/* Flat 64-bit or 32-bit code and data segments, as SYSCALL and friends load. */
void seg_set_flat_code(struct kvm_segment *s, u16 sel, u8 dpl, bool l);
void seg_set_flat_data(struct kvm_segment *s, u16 sel, u8 dpl);
/*
 * Read a descriptor; when there is none, vector is raised with the selector and
 * ext as error code. 0 or -EFAULT.
 */
int seg_read(struct vcpu *v, u16 sel, u64 desc[2], bool system, u8 vector,
	     u32 ext);
/* Set the accessed bit in memory and in s, if clear. 0 or -EFAULT. */
int seg_mark_accessed(struct vcpu *v, struct kvm_segment *s, u64 desc);
/*
 * Check that sel is a stack segment for privilege level cpl and unpack it; faults
 * are raised with vector (#GP or #TS). 0 or -EFAULT. In 64-bit code below CPL 3 a
 * null selector is fine.
 */
int seg_check_ss(struct vcpu *v, u16 sel, u8 cpl, bool to64, u8 vector,
		 struct kvm_segment *out);
enum emul seg_lldt(struct vcpu *v, u16 sel);
enum emul seg_ltr(struct vcpu *v, u16 sel);
/* LAR, LSL, VERR, VERW: true when the check passes; *val for the first two. */
bool seg_lar(struct vcpu *v, u16 sel, u32 *val, bool *fault);
bool seg_lsl(struct vcpu *v, u16 sel, u32 *val, bool *fault);
bool seg_verify(struct vcpu *v, u16 sel, bool write, bool *fault);

/* --- far.c --- */

enum emul far_jump(struct vcpu *v, u16 sel, u64 off);
/* rip_after is the return address, opsize the width of what is pushed. */
enum emul far_call(struct vcpu *v, u16 sel, u64 off, u64 rip_after, u8 opsize);
enum emul far_return(struct vcpu *v, u8 opsize, u16 pop_bytes);

/* --- cpuid.c --- */

/* One bit of what the guest was told: leaf, sub-leaf, register 0..3, bit. */
bool cpuid_has(const struct vcpu *v, u32 leaf, u32 sub, u32 reg, u32 bit);
bool cpuid_is_amd(const struct vcpu *v);
#define CPUID_HAS_XSAVE(v) cpuid_has(v, 1, 0, 2, 26)
#define CPUID_HAS_X2APIC(v) cpuid_has(v, 1, 0, 2, 21)
#define CPUID_HAS_TSC_DEADLINE(v) cpuid_has(v, 1, 0, 2, 24)
#define CPUID_HAS_FSGSBASE(v) cpuid_has(v, 7, 0, 1, 0)
#define CPUID_HAS_UMIP(v) cpuid_has(v, 7, 0, 2, 2)
#define CPUID_HAS_RDPID(v) cpuid_has(v, 7, 0, 2, 22)
#define CPUID_HAS_RDTSCP(v) cpuid_has(v, 0x80000001, 0, 3, 27)
#define CPUID_HAS_NX(v) cpuid_has(v, 0x80000001, 0, 3, 20)
#define CPUID_HAS_LM(v) cpuid_has(v, 0x80000001, 0, 3, 29)

/* --- control.c --- */

/* Check a set of control registers for KVM_SET_SREGS: 0 or -EINVAL. */
int control_check(struct vcpu *v, const struct kvm_sregs *s);
/* XSETBV: 0, or 1 for #GP. */
int control_set_xcr(struct vcpu *v, u32 index, u64 val);

/* --- lapic.c --- */

/* Is the local APIC's page (xAPIC mode) at this guest-physical address? */
bool lapic_owns(const struct vcpu *v, gpa_t gpa);

#endif
