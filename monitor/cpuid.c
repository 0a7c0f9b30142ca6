// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID: what popf offers (a table of masks over the host's values) and what the
 * guest reads (what KVM_SET_CPUID2 gave, with the bits that follow its state).
 *
 * Invariants:
 *  1. A feature is offered only if a mask below names it: unknown leaves and
 *     bits are zero.
 *  2. Whatever the guest is told, instructions and MSRs outside the offer raise
 *     the fault of a processor without them, as far as hardware's ring 3 permits.
 */
#include "monitor.h"

#define KVM_SIGNATURE_LEAF 0x40000000u
#define KVM_FEATURES_LEAF 0x40000001u
#define KVM_TSC_LEAF 0x40000010u
/* CLOCKSOURCE, NOP_IO_DELAY, CLOCKSOURCE2, CLOCKSOURCE_STABLE_BIT */
#define KVM_FEATURES (1u << 0 | 1u << 1 | 1u << 3 | 1u << 24)
/* The local APIC timer counts nanoseconds: lapic_timer.c. */
#define APIC_BUS_KHZ 1000000u
#define MAX_BASIC 0xdu
#define XCR0_OFFERED 0xe7ull

#define B(n) (1u << (n))

/* Leaf 1 ECX: SSE3 PCLMUL SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX
 * F16C RDRAND. */
#define L1_ECX                                                            \
	(B(0) | B(1) | B(9) | B(12) | B(13) | B(19) | B(20) | B(22) | B(23) |   \
	 B(25) | B(26) | B(28) | B(29) | B(30))
/* X2APIC, TSC_DEADLINE, HYPERVISOR: popf's own, whatever the host has. */
#define L1_ECX_OWN (B(21) | B(24) | B(31))
/* Leaf 1 EDX: FPU DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT CLFSH
 * MMX FXSR SSE SSE2 SS. No VME: long mode has none. */
#define L1_EDX                                                            \
	(B(0) | B(2) | B(3) | B(4) | B(5) | B(6) | B(7) | B(8) | B(9) | B(11) |  \
	 B(12) | B(13) | B(14) | B(15) | B(16) | B(19) | B(23) | B(24) |        \
	 B(25) | B(26) | B(27))
/* DE MSR MCE APIC MTRR PGE MCA PAT are emulated: offered on any host. */
#define L1_EDX_OWN (B(2) | B(5) | B(7) | B(9) | B(12) | B(13) | B(14) | B(16))
/* Leaf 7 EBX: FSGSBASE TSC_ADJUST BMI1 AVX2 FDP_EXCPTN_ONLY BMI2 ERMS ZERO_FCS_FDS
 * AVX512F AVX512DQ RDSEED ADX AVX512IFMA CLFLUSHOPT CLWB AVX512PF AVX512ER AVX512CD
 * SHA AVX512BW AVX512VL. */
#define L7_EBX                                                            \
	(B(0) | B(3) | B(5) | B(6) | B(8) | B(9) | B(13) | B(16) | B(17) |      \
	 B(18) | B(19) | B(21) | B(23) | B(24) | B(26) | B(27) | B(28) |        \
	 B(29) | B(30) | B(31))
#define L7_EBX_OWN B(1)
/* Leaf 7 ECX: AVX512VBMI UMIP VBMI2 GFNI VAES VPCLMULQDQ VNNI BITALG VPOPCNTDQ
 * RDPID. */
#define L7_ECX                                                            \
	(B(1) | B(2) | B(6) | B(8) | B(9) | B(10) | B(11) | B(12) | B(14) | B(22))
/* Leaf 7 EDX: AVX512_4VNNIW AVX512_4FMAPS FSRM AVX512_VP2INTERSECT AVX512_FP16. */
#define L7_EDX (B(2) | B(3) | B(4) | B(8) | B(23))
/* ARCH_CAPABILITIES: msr.c says what is in it. */
#define L7_EDX_OWN B(29)
/* Leaf 7.1 EAX: AVX_VNNI AVX512_BF16 FZRM FSRS FSRC. */
#define L71_EAX (B(4) | B(5) | B(10) | B(11) | B(12))
/* Leaf 0xD.1 EAX: XSAVEOPT XSAVEC XGETBV1. No XSAVES. */
#define LD1_EAX (B(0) | B(1) | B(2))
/* Leaf 0x80000001 ECX: LAHF ABM SSE4A MISALIGNSSE PREFETCHW. */
#define LX1_ECX (B(0) | B(5) | B(6) | B(7) | B(8))
/* EDX: the copies of leaf 1 that AMD has, SYSCALL NX MMXEXT 1G RDTSCP LM. */
#define LX1_EDX_COPIES 0x0183f3ffu
#define LX1_EDX (B(11) | B(20) | B(22) | B(26) | B(27) | B(29))
/* Leaf 0x80000007 EDX: INVTSC. */
#define LX7_EDX B(8)
/* Leaf 0x80000008 EBX: XSAVEERPTR; BTC_NO as msr.c reasons about RSBA. */
#define LX8_EBX B(2)
#define LX8_EBX_AMD B(29)
/* Leaf 0x80000021 EAX: LFENCE_SERIALIZES NULL_SEL_CLR_BASE; SRSO_NO. ECX: TSA_*_NO. */
#define LX21_EAX (B(2) | B(6))
#define LX21_EAX_AMD B(29)
#define LX21_ECX_AMD (B(1) | B(2))

struct cpuid_out {
	struct kvm_cpuid_entry2 *entries;
	u32 n, max;
	bool full;
};

static struct kvm_cpuid_entry2 *add(struct cpuid_out *o, u32 leaf, u32 sub,
				    bool indexed)
{
	struct kvm_cpuid_entry2 *e;

	if (o->n >= o->max) {
		o->full = true;
		e = &o->entries[0]; /* scribble: -E2BIG follows */
		if (!o->max)
			return NULL;
	} else {
		e = &o->entries[o->n++];
	}
	memset(e, 0, sizeof(*e));
	e->function = leaf;
	e->index = sub;
	e->flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
	return e;
}

static void add_values(struct cpuid_out *o, u32 leaf, u32 sub, bool indexed,
		       u32 eax, u32 ebx, u32 ecx, u32 edx)
{
	struct kvm_cpuid_entry2 *e = add(o, leaf, sub, indexed);

	if (!e)
		return;
	e->eax = eax;
	e->ebx = ebx;
	e->ecx = ecx;
	e->edx = edx;
}

bool host_is_amd(void)
{
	u32 r[4];

	host_cpuid(0, 0, r);
	/* "Auth" and Hygon's "Hygo" */
	return r[1] == 0x68747541 || r[1] == 0x6f677948;
}

static void add_basic(struct cpuid_out *o)
{
	u32 r[4], max;
	u32 edx;

	host_cpuid(0, 0, r);
	max = min(r[0], MAX_BASIC);
	add_values(o, 0, 0, false, max, r[1], r[2], r[3]);
	host_cpuid(1, 0, r);
	edx = (r[3] & L1_EDX) | L1_EDX_OWN;
	/* APIC id 0, one logical processor; the cache line size is the host's. */
	add_values(o, 1, 0, false, r[0], (r[1] & 0xff00) | B(16),
		   (r[2] & L1_ECX) | L1_ECX_OWN, edx);
}

/* Caches as the host has them, shared by nobody. */
static void add_caches(struct cpuid_out *o, u32 leaf)
{
	u32 r[4], i;

	for (i = 0; i < 8; i++) {
		host_cpuid(leaf, i, r);
		if (!(r[0] & 0x1f))
			break;
		add_values(o, leaf, i, true, r[0] & 0x3fff, r[1], r[2], r[3]);
	}
}

static void add_leaf7(struct cpuid_out *o)
{
	u32 r[4], r1[4] = { 0 };
	u32 subs;

	host_cpuid(7, 0, r);
	subs = min(r[0], 1u);
	add_values(o, 7, 0, true, subs, (r[1] & L7_EBX) | L7_EBX_OWN,
		   r[2] & L7_ECX, (r[3] & L7_EDX) | L7_EDX_OWN);
	if (!subs)
		return;
	host_cpuid(7, 1, r1);
	add_values(o, 7, 1, true, r1[0] & L71_EAX, 0, 0, 0);
}

/* Size of the XSAVE area for these components, standard or compacted. */
static u32 xsave_size(u64 xcr0, bool compact)
{
	u32 r[4], size = 576, i;

	for (i = 2; i < 63; i++) {
		if (!(xcr0 >> i & 1))
			continue;
		host_cpuid(0xd, i, r);
		if (compact) {
			if (r[2] & 2)
				size = (size + 63) & ~63u;
			size += r[0];
		} else {
			size = max(size, r[0] + r[1]);
		}
	}
	return size;
}

static void add_xsave(struct cpuid_out *o)
{
	u64 xcr0 = host_xcr0() & XCR0_OFFERED;
	u32 r[4], i;

	add_values(o, 0xd, 0, true, (u32)xcr0, xsave_size(xcr0, false),
		   xsave_size(xcr0, false), xcr0 >> 32);
	host_cpuid(0xd, 1, r);
	add_values(o, 0xd, 1, true, r[0] & LD1_EAX, 0, 0, 0);
	for (i = 2; i < 63; i++) {
		if (!(xcr0 >> i & 1))
			continue;
		host_cpuid(0xd, i, r);
		add_values(o, 0xd, i, true, r[0], r[1], r[2] & 2, 0);
	}
}

static void add_hypervisor(struct cpuid_out *o)
{
	/* "KVMKVMKVM" */
	add_values(o, KVM_SIGNATURE_LEAF, 0, false, KVM_TSC_LEAF, 0x4b4d564b,
		   0x564b4d56, 0x4d);
	add_values(o, KVM_FEATURES_LEAF, 0, false, KVM_FEATURES, 0, 0, 0);
	/* Filled in when read: it is the VM's. */
	add_values(o, KVM_TSC_LEAF, 0, false, 0, APIC_BUS_KHZ, 0, 0);
}

static void add_extended(struct cpuid_out *o)
{
	bool amd = host_is_amd();
	u32 r[4], l1[4], leaf, host_max;
	u32 max = amd ? 0x80000021 : 0x80000008;

	host_cpuid(0x80000000, 0, r);
	host_max = r[0];
	add_values(o, 0x80000000, 0, false, max, r[1], r[2], r[3]);
	host_cpuid(0x80000001, 0, r);
	host_cpuid(1, 0, l1);
	add_values(o, 0x80000001, 0, false, r[0], 0, r[2] & LX1_ECX,
		   (r[3] & LX1_EDX) |
			   (amd ? ((l1[3] & L1_EDX) | L1_EDX_OWN) & LX1_EDX_COPIES :
				  0));
	for (leaf = 0x80000002; leaf <= 0x80000006 && leaf <= host_max; leaf++) {
		host_cpuid(leaf, 0, r);
		add_values(o, leaf, 0, false, r[0], r[1], r[2], r[3]);
	}
	memset(r, 0, sizeof(r));
	if (host_max >= 0x80000007)
		host_cpuid(0x80000007, 0, r);
	add_values(o, 0x80000007, 0, false, 0, 0, 0, r[3] & LX7_EDX);
	memset(r, 0, sizeof(r));
	if (host_max >= 0x80000008)
		host_cpuid(0x80000008, 0, r);
	/* 40 physical bits: vcpu_shadow_mode(); 48 linear. */
	add_values(o, 0x80000008, 0, false, 48 << 8 | 40,
		   (r[1] & LX8_EBX) | (amd ? LX8_EBX_AMD : 0), 0, 0);
	if (!amd)
		return;
	memset(r, 0, sizeof(r));
	if (host_max >= 0x80000021)
		host_cpuid(0x80000021, 0, r);
	add_values(o, 0x80000021, 0, false, (r[0] & LX21_EAX) | LX21_EAX_AMD, 0,
		   LX21_ECX_AMD, 0);
}

int vcpu_supported_cpuid(struct kvm_cpuid_entry2 *entries, u32 max)
{
	struct cpuid_out o = { .entries = entries, .max = max };
	u32 r[4], host_max;

	host_cpuid(0, 0, r);
	host_max = min(r[0], MAX_BASIC);
	add_basic(&o);
	if (host_max >= 4)
		add_caches(&o, 4);
	if (host_max >= 6) /* the APIC timer never stops: ARAT */
		add_values(&o, 6, 0, false, B(2), 0, 0, 0);
	if (host_max >= 7)
		add_leaf7(&o);
	if (host_max >= 0xb) {
		add_values(&o, 0xb, 0, true, 0, 1, 1 << 8, 0);
		add_values(&o, 0xb, 1, true, 0, 1, 2 << 8 | 1, 0);
	}
	if (host_max >= 0xd)
		add_xsave(&o);
	add_hypervisor(&o);
	add_extended(&o);
	return o.full ? -E2BIG : (int)o.n;
}

static const struct kvm_cpuid_entry2 *find(const struct vcpu *v, u32 leaf,
					   u32 sub)
{
	const struct kvm_cpuid_entry2 *e;
	u32 i;

	for (i = 0; i < v->cpuid.nent; i++) {
		e = &v->cpuid.entries[i];
		if (e->function == leaf &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) ||
		     e->index == sub))
			return e;
	}
	return NULL;
}

bool cpuid_has(const struct vcpu *v, u32 leaf, u32 sub, u32 reg, u32 bit)
{
	const struct kvm_cpuid_entry2 *e = find(v, leaf, sub);

	if (!e)
		return false;
	switch (reg) {
	case 0:
		return e->eax >> bit & 1;
	case 1:
		return e->ebx >> bit & 1;
	case 2:
		return e->ecx >> bit & 1;
	}
	return e->edx >> bit & 1;
}

bool cpuid_is_amd(const struct vcpu *v)
{
	const struct kvm_cpuid_entry2 *e = find(v, 0, 0);

	return e && (e->ebx == 0x68747541 || e->ebx == 0x6f677948);
}

/* Bits that follow the CPU's state. */
static void adjust(struct vcpu *v, u32 leaf, u32 sub, u32 out[4])
{
	switch (leaf) {
	case 1:
		out[1] = (out[1] & 0xffffff) | v->id << 24;
		out[2] &= ~B(27);
		if (v->cr4 & CR4_OSXSAVE)
			out[2] |= B(27);
		if (!v->lapic)
			out[2] &= ~(B(21) | B(24));
		else if (!(v->apic_base & APIC_BASE_EN))
			out[3] &= ~B(9);
		break;
	case 0xb:
		out[3] = v->id;
		break;
	case 0xd:
		if (sub == 0)
			out[1] = xsave_size(v->xcr0, false);
		else if (sub == 1 && (out[0] & B(1)))
			out[1] = xsave_size(v->xcr0, true);
		break;
	case KVM_TSC_LEAF:
		out[0] = vm_tsc_khz(v->vm);
		break;
	}
}

void vcpu_get_cpuid(struct vcpu *v, u32 leaf, u32 sub, u32 out[4])
{
	const struct kvm_cpuid_entry2 *e = find(v, leaf, sub);
	const struct kvm_cpuid_entry2 *top;

	memset(out, 0, 4 * sizeof(*out));
	if (!e && leaf == 0xb) {
		out[2] = sub & 0xff;
		out[3] = v->id;
		return;
	}
	/* Beyond the last basic leaf Intel processors repeat that one. */
	if (!e && !(leaf & 0xc0000000) && !cpuid_is_amd(v)) {
		top = find(v, 0, 0);
		if (!top || leaf <= top->eax)
			return;
		leaf = top->eax;
		e = find(v, leaf, sub);
	}
	if (!e)
		return;
	out[0] = e->eax;
	out[1] = e->ebx;
	out[2] = e->ecx;
	out[3] = e->edx;
	adjust(v, leaf, sub, out);
}

int vcpu_set_cpuid(struct vcpu *v, const struct kvm_cpuid_entry2 *entries, u32 n)
{
	if (n > ARRAY_SIZE(v->cpuid.entries))
		return -EINVAL;
	memcpy(v->cpuid.entries, entries, n * sizeof(*entries));
	v->cpuid.nent = n;
	return 0;
}
