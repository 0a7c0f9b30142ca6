// SPDX-License-Identifier: GPL-2.0-only
/* The vCPU file without running guest code: creation, state, signals. */
#include <signal.h>
#include <sys/stat.h>

#include <popf.h>

#include "abi.h"

#define MSR_SYSENTER_CS 0x174
#define MSR_NOBODY_HAS 0x12345678

static void check_creation(int dev)
{
	int vm = abi_create_vm(dev);
	int vcpu, size = ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	char *p;

	CHECK_ERRNO(ioctl(vm, KVM_CREATE_VCPU, abi_cap(dev, KVM_CAP_MAX_VCPU_ID)),
		    EINVAL, "a vCPU number out of range is refused");
	CHECK_ERRNO(ioctl(vm, KVM_CREATE_VCPU, -1ul), EINVAL,
		    "so is a huge one");
	vcpu = abi_create_vcpu(vm, 0);
	CHECK_ERRNO(ioctl(vm, KVM_CREATE_VCPU, 0), EEXIST,
		    "the same vCPU twice is refused");
	CHECK(fcntl(vcpu, F_GETFD) & FD_CLOEXEC, "the vCPU file closes on exec");
	CHECK(fcntl(vm, F_GETFD) & FD_CLOEXEC, "and so does the VM file");
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	CHECK(p != MAP_FAILED, "the run area can be mapped");
	p[0] = p[4096] = p[8192] = 1;
	CHECK(p[0] == 1 && p[4096] == 1 && p[8192] == 1, "and written, all of it");
	close(vcpu);
	CHECK_ERRNO(ioctl(vm, KVM_CREATE_VCPU, 0), EEXIST,
		    "closing the file does not remove the vCPU");
	close(vm);
	CHECK(p[8192] == 1, "a mapping outlives both files");
	munmap(p, size);
}

static void check_names(int vm, int vcpu)
{
	char path[64], name[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", vm);
	CHECK(readlink(path, name, sizeof(name) - 1) > 0 &&
	      !strcmp(name, "anon_inode:kvm-vm"), "the VM file is named %s", name);
	memset(name, 0, sizeof(name));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", vcpu);
	CHECK(readlink(path, name, sizeof(name) - 1) > 0 &&
	      !strcmp(name, "anon_inode:kvm-vcpu:0"), "the vCPU file is named %s", name);
}

static void check_reset_state(int vcpu)
{
	struct kvm_regs regs;
	struct kvm_sregs s;

	CHECK_ERRNO(ioctl(vcpu, KVM_GET_REGS, &regs), 0, "registers can be read");
	CHECK(regs.rip == 0xfff0 && regs.rflags == 2,
	      "a new vCPU is at its reset vector");
	CHECK_ERRNO(ioctl(vcpu, KVM_GET_SREGS, &s), 0,
		    "system registers can be read");
	CHECK(s.cs.selector == 0xf000 && s.cs.base == 0xffff0000 &&
	      !(s.cr0 & 0x80000001), "in real mode, in the top 64 KiB");
	CHECK(s.apic_base == 0xfee00900, "its APIC base is %llx", s.apic_base);
}

static void check_regs(int vcpu)
{
	struct kvm_regs regs, got;

	ioctl(vcpu, KVM_GET_REGS, &regs);
	regs.rax = 0x1122334455667788;
	regs.r15 = 0x8877665544332211;
	regs.rip = 0x1000;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_REGS, &regs), 0, "registers can be set");
	memset(&got, 0x55, sizeof(got));
	ioctl(vcpu, KVM_GET_REGS, &got);
	CHECK(!memcmp(&regs, &got, sizeof(got)), "and are what they were set to");
}

static void check_sregs(int vcpu)
{
	struct kvm_sregs s, bad;

	ioctl(vcpu, KVM_GET_SREGS, &s);
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_SREGS, &s), 0,
		    "system registers can be set to what they are");
	bad = s;
	bad.cr0 = 0x80000000;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_SREGS, &bad), EINVAL,
		    "paging without protection is refused");
	bad = s;
	bad.cr4 = 1ull << 40;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_SREGS, &bad), EINVAL,
		    "an unknown CR4 bit is refused");
	bad = s;
	bad.apic_base = ~0ull;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_SREGS, &bad), EINVAL,
		    "an impossible APIC base is refused");
}

static void check_fpu(int vcpu)
{
	struct kvm_fpu f, got;
	struct kvm_xsave *x = malloc(sizeof(*x));
	uint32_t mxcsr;

	CHECK_ERRNO(ioctl(vcpu, KVM_GET_FPU, &f), 0, "the FPU can be read");
	CHECK(f.fcw == 0x37f && f.mxcsr == 0x1f80, "it is as after FNINIT");
	memset(f.xmm, 0x5a, sizeof(f.xmm));
	f.fcw = 0x27f;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_FPU, &f), 0, "and set");
	ioctl(vcpu, KVM_GET_FPU, &got);
	CHECK(got.fcw == 0x27f && !memcmp(got.xmm, f.xmm, sizeof(f.xmm)),
	      "and is what it was set to");
	CHECK_ERRNO(ioctl(vcpu, KVM_GET_XSAVE, x), 0, "the XSAVE area can be read");
	CHECK(((uint8_t *)x)[160] == 0x5a, "it has the same XMM0");
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_XSAVE, x), 0, "and set");
	mxcsr = x->region[6];
	x->region[6] = 0xffffffff;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_XSAVE, x), EINVAL,
		    "reserved MXCSR bits are refused");
	x->region[6] = mxcsr;
	x->region[129] = 0xffffffff;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_XSAVE, x), EINVAL,
		    "unknown XSAVE components are refused");
	free(x);
}

static void check_xsave2(int vm, int vcpu)
{
	int size = abi_cap(vm, KVM_CAP_XSAVE2);
	uint8_t *x;

	CHECK(size >= 4096, "KVM_CAP_XSAVE2 says %d bytes", size);
	x = malloc(size + 1);
	x[size] = 0x77;
	CHECK_ERRNO(ioctl(vcpu, KVM_GET_XSAVE2, x), 0, "KVM_GET_XSAVE2 works");
	CHECK(x[size] == 0x77, "and writes no more than that");
	free(x);
}

static void check_xcrs(int vcpu)
{
	struct kvm_xcrs x = { 0 };

	CHECK_ERRNO(ioctl(vcpu, KVM_GET_XCRS, &x), 0, "XCR0 can be read");
	CHECK(x.nr_xcrs == 1 && x.xcrs[0].xcr == 0 && x.xcrs[0].value == 1,
	      "it is 1 after reset");
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_XCRS, &x), 0, "and set");
	x.xcrs[0].value = 0;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_XCRS, &x), EINVAL,
		    "XCR0 without x87 is refused");
	x.xcrs[0].value = 5;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_XCRS, &x), EINVAL,
		    "AVX without SSE is refused");
	x.xcrs[0].value = ~0ull;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_XCRS, &x), EINVAL,
		    "unknown XCR0 bits are refused");
	x.nr_xcrs = 1000;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_XCRS, &x), EINVAL, "1000 XCRs are refused");
}

static void check_msrs(int vcpu)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e[3];
	} m = {
		.head.nmsrs = 1,
		.e = { { .index = MSR_SYSENTER_CS, .data = 0x10 },
		       { .index = MSR_NOBODY_HAS },
		       { .index = MSR_SYSENTER_CS } },
	};

	CHECK(ioctl(vcpu, KVM_SET_MSRS, &m) == 1, "an MSR can be set");
	m.e[0].data = 0;
	CHECK(ioctl(vcpu, KVM_GET_MSRS, &m) == 1 && m.e[0].data == 0x10,
	      "and read back");
	m.head.nmsrs = 3;
	CHECK(ioctl(vcpu, KVM_GET_MSRS, &m) == 1,
	      "reading stops at the first unknown MSR");
	CHECK(ioctl(vcpu, KVM_SET_MSRS, &m) == 1, "and so does writing");
	m.head.nmsrs = 100000;
	CHECK_ERRNO(ioctl(vcpu, KVM_GET_MSRS, &m), E2BIG, "100000 MSRs are E2BIG");
}

static void check_cpuid(int dev, int vcpu)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 e[101];
	} c = { .head.nent = 100 }, got = { .head.nent = 0 };

	ioctl(dev, KVM_GET_SUPPORTED_CPUID, &c);
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_CPUID2, &c), 0,
		    "what is supported can be set");
	CHECK_ERRNO(ioctl(vcpu, KVM_GET_CPUID2, &got), E2BIG,
		    "reading it into nothing is E2BIG");
	CHECK(got.head.nent == c.head.nent, "and says how many there are");
	CHECK_ERRNO(ioctl(vcpu, KVM_GET_CPUID2, &got), 0, "then it is read");
	CHECK(got.e[0].function == c.e[0].function && got.e[0].ebx == c.e[0].ebx,
	      "and is what was set");
	c.head.nent = 101;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_CPUID2, &c), E2BIG,
		    "101 CPUID entries are E2BIG");
	c.head.nent = 0xffffffff;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_CPUID2, &c), E2BIG,
		    "and so is any larger number");
}

static void check_small_states(int vcpu)
{
	struct kvm_mp_state mp = { 99 };
	struct kvm_vcpu_events ev;
	struct kvm_debugregs dr;
	struct kvm_lapic_state lapic;

	CHECK(!ioctl(vcpu, KVM_GET_MP_STATE, &mp) &&
	      mp.mp_state == KVM_MP_STATE_RUNNABLE, "a new vCPU is runnable");
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_MP_STATE, &mp), 0, "and can be set so");
	mp.mp_state = KVM_MP_STATE_HALTED;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_MP_STATE, &mp), EINVAL,
		    "without a local APIC it cannot be halted");
	mp.mp_state = 1000;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_MP_STATE, &mp), EINVAL,
		    "unknown states are refused");
	CHECK(!ioctl(vcpu, KVM_GET_VCPU_EVENTS, &ev) &&
	      !ioctl(vcpu, KVM_SET_VCPU_EVENTS, &ev), "events can be read and set");
	CHECK(!ioctl(vcpu, KVM_GET_DEBUGREGS, &dr) &&
	      !ioctl(vcpu, KVM_SET_DEBUGREGS, &dr),
	      "debug registers can be read and set");
	dr.flags = 1;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_DEBUGREGS, &dr), EINVAL,
		    "unknown debug register flags are refused");
	CHECK_ERRNO(ioctl(vcpu, KVM_GET_LAPIC, &lapic), EINVAL,
		    "there is no local APIC to read");
	CHECK(ioctl(vcpu, KVM_GET_TSC_KHZ, 0) > 1000, "the TSC rate is known");
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_TSC_KHZ, ioctl(vcpu, KVM_GET_TSC_KHZ, 0)), 0,
		    "it can be set to itself");
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_TSC_KHZ, 1000), EINVAL,
		    "but not to another rate");
}

static void check_events(int vcpu)
{
	struct kvm_interrupt irq = { 32 };

	CHECK_ERRNO(ioctl(vcpu, KVM_NMI, 0), 0, "an NMI can be raised");
	CHECK_ERRNO(ioctl(vcpu, KVM_INTERRUPT, &irq), 0, "an interrupt can be queued");
	CHECK_ERRNO(ioctl(vcpu, KVM_INTERRUPT, &irq), EEXIST,
		    "a second one must wait");
	irq.irq = 256;
	CHECK_ERRNO(ioctl(vcpu, KVM_INTERRUPT, &irq), EINVAL,
		    "a vector beyond 255 is refused");
}

static void check_immediate_exit(int vcpu, struct kvm_run *run)
{
	run->immediate_exit = 1;
	CHECK_ERRNO(ioctl(vcpu, KVM_RUN, 0), EINTR, "immediate_exit is EINTR");
	CHECK(run->exit_reason == KVM_EXIT_INTR, "with KVM_EXIT_INTR");
	CHECK(run->if_flag == 0 && run->apic_base == 0xfee00900,
	      "the run area is filled in all the same");
	run->immediate_exit = 0;
	CHECK_ERRNO(ioctl(vcpu, KVM_RUN, 1), EINVAL, "KVM_RUN takes no argument");
}

static void check_stop_reason(int vcpu)
{
	struct popf_stop_reason r;

	memset(&r, 0x55, sizeof(r));
	CHECK_ERRNO(ioctl(vcpu, POPF_GET_STOP_REASON, &r), 0,
		    "the reason of a stop can be asked for");
	CHECK(!r.stopped && !r.flags && !r.text[0], "and there is none yet");
}

static void check_signal_mask(int vcpu)
{
	struct {
		struct kvm_signal_mask head;
		uint64_t mask;
	} __attribute__((packed)) m = { .head.len = 8 };

	CHECK_ERRNO(ioctl(vcpu, KVM_SET_SIGNAL_MASK, &m), 0,
		    "a signal mask can be set");
	m.head.len = 4;
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_SIGNAL_MASK, &m), EINVAL,
		    "one of another length is refused");
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_SIGNAL_MASK, NULL), 0,
		    "and it can be taken back");
}

int main(void)
{
	int dev = abi_open(), vm, vcpu;
	struct kvm_run *run;

	check_creation(dev);
	vm = abi_create_vm(dev);
	vcpu = abi_create_vcpu(vm, 0);
	run = abi_map_run(dev, vcpu);
	check_names(vm, vcpu);
	check_reset_state(vcpu);
	check_regs(vcpu);
	check_sregs(vcpu);
	check_fpu(vcpu);
	check_xsave2(vm, vcpu);
	check_xcrs(vcpu);
	check_msrs(vcpu);
	check_cpuid(dev, vcpu);
	check_small_states(vcpu);
	check_immediate_exit(vcpu, run);
	check_stop_reason(vcpu);
	check_signal_mask(vcpu);
	check_events(vcpu);
	return abi_finish();
}
