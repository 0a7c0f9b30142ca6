// SPDX-License-Identifier: GPL-2.0-only
/* Split irqchip, GSI routing, MSIs, the local APIC's state, the clock. */
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "abi.h"

#define APIC_ID 0x20
#define APIC_LVT_LINT0 0x350
#define APIC_SPIV 0xf0

struct routing {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry e[25];
};

static int enable_split(int vm, uint64_t pins)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_SPLIT_IRQCHIP,
		.args = { pins },
	};

	return ioctl(vm, KVM_ENABLE_CAP, &cap);
}

static void check_order(int dev)
{
	struct kvm_enable_cap odd = { .cap = KVM_CAP_SPLIT_IRQCHIP, .flags = 1 };
	struct kvm_irq_routing none = { 0 };
	struct kvm_msi msi = { .address_lo = 0xfee00000 };
	int vm = abi_create_vm(dev);

	CHECK_ERRNO(ioctl(vm, KVM_ENABLE_CAP, &odd), EINVAL,
		    "KVM_ENABLE_CAP refuses flags");
	odd.flags = 0;
	odd.cap = 12345;
	CHECK_ERRNO(ioctl(vm, KVM_ENABLE_CAP, &odd), EINVAL,
		    "and unknown capabilities");
	CHECK_ERRNO(enable_split(vm, 1 << 20), EINVAL, "a million pins are refused");
	CHECK_ERRNO(ioctl(vm, KVM_SET_GSI_ROUTING, &none), EINVAL,
		    "without an irqchip there is no routing");
	CHECK_ERRNO(ioctl(vm, KVM_SIGNAL_MSI, &msi), EINVAL, "and no MSI");
	abi_create_vcpu(vm, 0);
	CHECK_ERRNO(enable_split(vm, 24), EEXIST,
		    "a vCPU without an irqchip keeps it away");
	close(vm);
}

static void check_routing(int vm)
{
	struct routing r = { .head.nr = 24 };
	unsigned int i;

	for (i = 0; i < 25; i++) {
		r.e[i].gsi = i;
		r.e[i].type = KVM_IRQ_ROUTING_MSI;
		r.e[i].u.msi.address_lo = 0xfee00000;
		r.e[i].u.msi.data = 0x30 + i;
	}
	CHECK_ERRNO(ioctl(vm, KVM_SET_GSI_ROUTING, &r), 0, "24 MSI routes are taken");
	r.e[3].u.msi.data |= 0x8000;
	CHECK_ERRNO(ioctl(vm, KVM_SET_GSI_ROUTING, &r), 0,
		    "one of them may be level-triggered");
	r.e[3].type = KVM_IRQ_ROUTING_IRQCHIP;
	CHECK_ERRNO(ioctl(vm, KVM_SET_GSI_ROUTING, &r), EINVAL,
		    "a route to an irqchip that is not here is refused");
	r.e[3].type = KVM_IRQ_ROUTING_MSI;
	r.e[3].gsi = 1 << 20;
	CHECK_ERRNO(ioctl(vm, KVM_SET_GSI_ROUTING, &r), EINVAL,
		    "a GSI out of range is refused");
	r.e[3].gsi = 3;
	r.head.flags = 1;
	CHECK_ERRNO(ioctl(vm, KVM_SET_GSI_ROUTING, &r), EINVAL,
		    "unknown flags are refused");
	r.head.flags = 0;
	r.head.nr = 0xffffffff;
	CHECK_ERRNO(ioctl(vm, KVM_SET_GSI_ROUTING, &r), EINVAL,
		    "4 billion routes are refused");
	r.head.nr = 0;
	CHECK_ERRNO(ioctl(vm, KVM_SET_GSI_ROUTING, &r), 0, "no route is fine");
}

static void check_msi(int vm)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x41 };

	CHECK(ioctl(vm, KVM_SIGNAL_MSI, &msi) >= 0, "an MSI is delivered");
	msi.flags = 1;
	CHECK_ERRNO(ioctl(vm, KVM_SIGNAL_MSI, &msi), EINVAL,
		    "MSI flags are refused");
}

static uint32_t reg(const struct kvm_lapic_state *s, unsigned int off)
{
	uint32_t v;

	memcpy(&v, s->regs + off, sizeof(v));
	return v;
}

static void check_lapic(int vcpu)
{
	struct kvm_lapic_state s, got;
	struct kvm_mp_state mp = { KVM_MP_STATE_HALTED };
	uint32_t extint = 0x700;

	CHECK_ERRNO(ioctl(vcpu, KVM_GET_LAPIC, &s), 0, "the local APIC can be read");
	CHECK(reg(&s, APIC_SPIV) == 0xff, "it is disabled by software after reset");
	memcpy(s.regs + APIC_LVT_LINT0, &extint, sizeof(extint));
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_LAPIC, &s), 0, "and set");
	ioctl(vcpu, KVM_GET_LAPIC, &got);
	CHECK(reg(&got, APIC_LVT_LINT0) == extint, "and is what it was set to");
	CHECK_ERRNO(ioctl(vcpu, KVM_SET_MP_STATE, &mp), 0,
		    "with a local APIC the vCPU can be halted");
	mp.mp_state = 99;
	ioctl(vcpu, KVM_GET_MP_STATE, &mp);
	CHECK(mp.mp_state == KVM_MP_STATE_HALTED, "and says so");
}

static void check_clock(int vm)
{
	struct kvm_clock_data c = { 0 }, later;
	struct timespec ts = { .tv_nsec = 20000000 };

	CHECK_ERRNO(ioctl(vm, KVM_GET_CLOCK, &c), 0, "the clock can be read");
	CHECK(c.clock < 60000000000ull, "it starts with the VM");
	memset(&c, 0, sizeof(c));
	c.clock = 1000000000000ull;
	CHECK_ERRNO(ioctl(vm, KVM_SET_CLOCK, &c), 0, "and set");
	nanosleep(&ts, NULL);
	ioctl(vm, KVM_GET_CLOCK, &later);
	CHECK(later.clock >= c.clock + 20000000 && later.clock < c.clock + 30000000000,
	      "and goes on from there");
	CHECK((later.flags & ~abi_cap(vm, KVM_CAP_ADJUST_CLOCK)) == 0,
	      "its flags are among those claimed");
	c.flags = 0x80000000;
	CHECK_ERRNO(ioctl(vm, KVM_SET_CLOCK, &c), EINVAL,
		    "unknown clock flags are refused");
}

/*
 * x2APIC on, software enable, LINT0 as ExtINT, say so at GUEST_DATA, then sleep
 * until an interrupt comes. The handlers say which it was.
 */
GUEST_ASM(sleeper, "mov $0x1b, %ecx\n"
		   "rdmsr\n"
		   "or $0xc00, %eax\n"
		   "wrmsr\n"
		   "mov $0x80f, %ecx\n"
		   "xor %edx, %edx\n"
		   "mov $0x1ff, %eax\n"
		   "wrmsr\n"
		   "mov $0x835, %ecx\n"
		   "mov $0x700, %eax\n"
		   "wrmsr\n"
		   "movb $1, 0x100000\n"
		   "sti\n"
		   "1: hlt\n"
		   "jmp 1b\n"
		   ".org sleeper_start + 0x100\n"
		   "mov $0x41, %al\n"
		   "out %al, $0x10\n"
		   "mov $0x80b, %ecx\n"
		   "xor %eax, %eax\n"
		   "wrmsr\n"
		   "iretq\n"
		   ".org sleeper_start + 0x200\n"
		   "mov $0x42, %al\n"
		   "out %al, $0x10\n"
		   "iretq\n");

static void *send_msi(void *arg)
{
	struct guest *g = arg;
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x8041 };

	while (!*(volatile uint8_t *)(g->ram + GUEST_DATA))
		usleep(1000);
	usleep(100000);
	return (void *)(intptr_t)ioctl(g->vm, KVM_SIGNAL_MSI, &msi);
}

static void on_signal(int sig)
{
}

static volatile bool woken;

/* Again and again: one that comes before KVM_RUN wakes nobody. */
static void *send_signals(void *arg)
{
	while (!woken) {
		usleep(100000);
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
	}
	return NULL;
}

static bool exits_with(struct guest *g, uint8_t al)
{
	int r = guest_run(g);

	if (!r && g->run->exit_reason == KVM_EXIT_IO &&
	    ((uint8_t *)g->run)[g->run->io.data_offset] == al)
		return true;
	printf("# KVM_RUN %d, exit reason %u\n", r, g->run->exit_reason);
	return false;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void check_sleep(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct routing r = { .head.nr = 1 };
	pthread_t thread, self = pthread_self();
	struct kvm_interrupt irq = { 0x42 };
	struct guest g;
	double began;
	void *sent;

	guest_create(&g, true);
	guest_load(&g, &sleeper);
	guest_set_gate(&g, 0x41, GUEST_CODE + 0x100);
	guest_set_gate(&g, 0x42, GUEST_CODE + 0x200);
	r.e[0].gsi = 5;
	r.e[0].type = KVM_IRQ_ROUTING_MSI;
	r.e[0].u.msi.address_lo = 0xfee00000;
	r.e[0].u.msi.data = 0x8041;
	ioctl(g.vm, KVM_SET_GSI_ROUTING, &r);

	began = seconds();
	pthread_create(&thread, NULL, send_msi, &g);
	CHECK(exits_with(&g, 0x41), "an MSI wakes a guest from HLT");
	pthread_join(thread, &sent);
	CHECK(sent == (void *)1, "and was taken by one local APIC");
	CHECK(seconds() - began > 0.09, "after it had slept");
	CHECK(!guest_run(&g) && g.run->exit_reason == KVM_EXIT_IOAPIC_EOI &&
	      g.run->eoi.vector == 0x41, "the end of a routed level interrupt exits");

	sigaction(SIGUSR1, &sa, NULL);
	pthread_create(&thread, NULL, send_signals, &self);
	CHECK_ERRNO(guest_run(&g), EINTR, "a signal wakes userland from HLT");
	woken = true;
	pthread_join(thread, NULL);
	CHECK(g.run->ready_for_interrupt_injection && g.run->if_flag,
	      "the run area says that an ExtINT would be taken");
	CHECK_ERRNO(ioctl(g.vcpu, KVM_INTERRUPT, &irq), 0, "one is raised");
	CHECK(exits_with(&g, 0x42), "and taken");
	guest_destroy(&g);
}

int main(void)
{
	int dev = abi_open(), vm, vcpu;
	uint64_t addr = 0xfffbc000;

	check_order(dev);
	vm = abi_create_vm(dev);
	CHECK_ERRNO(ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &addr), 0,
		    "KVM_SET_IDENTITY_MAP_ADDR takes a page below 4 GiB");
	addr = 1ull << 40;
	CHECK_ERRNO(ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &addr), EINVAL,
		    "and none above");
	CHECK_ERRNO(enable_split(vm, 24), 0, "a split irqchip can be had");
	CHECK_ERRNO(enable_split(vm, 24), EEXIST, "but not twice");
	vcpu = abi_create_vcpu(vm, 0);
	addr = 0xfffbc000;
	CHECK_ERRNO(ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &addr), EINVAL,
		    "KVM_SET_IDENTITY_MAP_ADDR comes before vCPUs");
	check_routing(vm);
	check_msi(vm);
	check_lapic(vcpu);
	check_clock(vm);
	check_sleep();
	return abi_finish();
}
