// SPDX-License-Identifier: GPL-2.0-only
/* KVM_RUN: exits and what userland sees of them, with a small 64-bit guest. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>

#include "abi.h"

#define PORT 0x1234

static void check_exit(struct guest *g, uint32_t reason, const char *claim)
{
	int r = guest_run(g);

	if (!CHECK(r == 0 && g->run->exit_reason == reason, "%s", claim))
		printf("# KVM_RUN %d, exit reason %u (suberror %u)\n", r,
		       g->run->exit_reason, g->run->internal.suberror);
}

static uint8_t *io_data(struct guest *g)
{
	return (uint8_t *)g->run + g->run->io.data_offset;
}

GUEST_ASM(io_guest, "mov $0x1234, %dx\n"
		    "mov $0x5a, %al\n"
		    "out %al, %dx\n"
		    "in %dx, %eax\n"
		    "mov %eax, %ebx\n"
		    "hlt\n");

static void check_io(void)
{
	struct guest g;
	struct kvm_regs regs;
	uint32_t in = 0xcafebabe;

	guest_create(&g, false);
	guest_load(&g, &io_guest);
	check_exit(&g, KVM_EXIT_IO, "a port write exits");
	CHECK(g.run->io.direction == KVM_EXIT_IO_OUT && g.run->io.size == 1 &&
	      g.run->io.port == PORT && g.run->io.count == 1 &&
	      *io_data(&g) == 0x5a, "with port, size and data");
	check_exit(&g, KVM_EXIT_IO, "a port read exits");
	CHECK(g.run->io.direction == KVM_EXIT_IO_IN && g.run->io.size == 4,
	      "with direction and size");
	memcpy(io_data(&g), &in, sizeof(in));
	g.run->immediate_exit = 1;
	CHECK_ERRNO(guest_run(&g), EINTR, "immediate_exit ends the next run");
	g.run->immediate_exit = 0;
	guest_get_regs(&g, &regs);
	CHECK(regs.rax == in, "but not before the port read is complete");
	check_exit(&g, KVM_EXIT_HLT, "HLT exits without an irqchip");
	guest_get_regs(&g, &regs);
	CHECK(regs.rbx == in &&
	      regs.rip == GUEST_CODE + (io_guest.end - io_guest.start),
	      "and is committed then");
	guest_destroy(&g);
}

GUEST_ASM(mmio_guest, "mov $0x30000008, %edi\n"
		      "mov $0x11223344, %eax\n"
		      "mov %eax, (%rdi)\n"
		      "mov 8(%rdi), %rbx\n"
		      "movzwl 3(%rdi), %ecx\n"
		      "hlt\n");

static void check_mmio(void)
{
	struct guest g;
	struct kvm_regs regs;
	uint64_t in = 0x8877665544332211;
	uint32_t out;

	guest_create(&g, false);
	guest_load(&g, &mmio_guest);
	check_exit(&g, KVM_EXIT_MMIO, "a store outside the slots exits");
	memcpy(&out, g.run->mmio.data, sizeof(out));
	CHECK(g.run->mmio.is_write && g.run->mmio.len == 4 &&
	      g.run->mmio.phys_addr == GUEST_HOLE + 8 && out == 0x11223344,
	      "with address, length and data");
	check_exit(&g, KVM_EXIT_MMIO, "a load outside the slots exits");
	CHECK(!g.run->mmio.is_write && g.run->mmio.len == 8 &&
	      g.run->mmio.phys_addr == GUEST_HOLE + 16, "with address and length");
	memcpy(g.run->mmio.data, &in, sizeof(in));
	check_exit(&g, KVM_EXIT_MMIO, "a zero-extending load exits");
	CHECK(g.run->mmio.len == 2, "with the operand's length");
	memset(g.run->mmio.data, 0xff, 8);
	check_exit(&g, KVM_EXIT_HLT, "and the guest goes on");
	guest_get_regs(&g, &regs);
	CHECK(regs.rbx == in && regs.rcx == 0xffff, "with the data it was given");
	guest_destroy(&g);
}

GUEST_ASM(readonly_guest, "mov $0x800000, %edi\n"
			  "mov (%rdi), %rbx\n"
			  "mov %rbx, 8(%rdi)\n"
			  "hlt\n");

static void check_readonly(void)
{
	struct guest g;
	struct kvm_regs regs;
	uint64_t *rom = abi_pages(1);

	guest_create(&g, false);
	rom[0] = 0x1234567890abcdef;
	CHECK_ERRNO(abi_set_slot(g.vm, 1, KVM_MEM_READONLY, 8 << 20, PAGE, rom), 0,
		    "a read-only slot can be had");
	guest_load(&g, &readonly_guest);
	check_exit(&g, KVM_EXIT_MMIO, "a store to it exits");
	CHECK(g.run->mmio.is_write && g.run->mmio.phys_addr == (8 << 20) + 8 &&
	      !memcmp(g.run->mmio.data, rom, 8), "with address and data");
	check_exit(&g, KVM_EXIT_HLT, "and the guest goes on");
	guest_get_regs(&g, &regs);
	CHECK(regs.rbx == rom[0] && rom[1] == 0, "it was read, and not written");
	guest_destroy(&g);
}

GUEST_ASM(fault_guest, "ud2\n");

static void check_shutdown(void)
{
	struct guest g;

	guest_create(&g, false);
	guest_load(&g, &fault_guest);
	check_exit(&g, KVM_EXIT_SHUTDOWN, "a triple fault is a shutdown");
	guest_destroy(&g);
}

GUEST_ASM(loop_guest, "1: inc %rbx\n"
		      "jmp 1b\n");

static volatile uint8_t *want_exit;

static void on_alarm(int sig)
{
	if (want_exit)
		*want_exit = 1;
}

/* Again and again: one that comes before KVM_RUN ends nothing. 0: no more. */
static void alarm_every(long usec)
{
	struct itimerval t = { .it_value = { 0, usec }, .it_interval = { 0, usec } };

	setitimer(ITIMER_REAL, &t, NULL);
}

static void check_signals(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct {
		struct kvm_signal_mask head;
		uint64_t mask;
	} __attribute__((packed)) m = { .head.len = 8 };
	struct kvm_regs regs;
	sigset_t set;
	struct guest g;
	int tries;

	sigaction(SIGALRM, &sa, NULL);
	guest_create(&g, false);
	guest_load(&g, &loop_guest);
	alarm_every(50000);
	CHECK_ERRNO(guest_run(&g), EINTR, "a signal ends KVM_RUN with EINTR");
	CHECK(g.run->exit_reason == KVM_EXIT_INTR, "and KVM_EXIT_INTR");
	guest_get_regs(&g, &regs);
	/* On a busy machine the first ones may have come too early. */
	for (tries = 0; !regs.rbx && tries < 100; tries++) {
		guest_run(&g);
		guest_get_regs(&g, &regs);
	}
	CHECK(regs.rbx > 0 && regs.rip >= GUEST_CODE && regs.rip < GUEST_CODE + 8,
	      "the guest has run %llu rounds", regs.rbx);

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	ioctl(g.vcpu, KVM_SET_SIGNAL_MASK, &m);
	CHECK_ERRNO(guest_run(&g), EINTR,
		    "a signal blocked outside but not in the mask does, too");
	CHECK(sigpending(&set) == 0 && sigismember(&set, SIGALRM),
	      "and stays pending outside");
	ioctl(g.vcpu, KVM_SET_SIGNAL_MASK, NULL);
	want_exit = &g.run->immediate_exit;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	CHECK_ERRNO(guest_run(&g), EINTR, "immediate_exit set in a handler holds");
	alarm_every(0);
	want_exit = NULL;
	guest_destroy(&g);
}

/*
 * A run may end before the guest has, with the translation made and nothing of it
 * run. New code each time, so that the alarm finds the translator at work.
 */
static void check_shadow(void)
{
	static const char claim[] =
		"the shadow of STI outlasts a run that did not get to the guest";
	const uint64_t from = 0x40000, to = 0xc0000;
	struct kvm_regs regs = { .rflags = 0x202, .rsp = GUEST_STACK };
	struct kvm_vcpu_events ev;
	unsigned int there = 0, lost = 0, usec = 100;
	struct guest g;
	uint64_t rip;

	guest_create(&g, false);
	memset(g.ram + from, 0x90, to - from);
	memcpy(g.ram + to, loop_guest.start, loop_guest.end - loop_guest.start);
	for (rip = from; rip < to && there < 20; rip += 256) {
		regs.rip = rip;
		guest_set_regs(&g, &regs);
		ioctl(g.vcpu, KVM_GET_VCPU_EVENTS, &ev);
		ev.flags = KVM_VCPUEVENT_VALID_SHADOW;
		ev.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
		ioctl(g.vcpu, KVM_SET_VCPU_EVENTS, &ev);
		usec = 100 + usec * 37 % 701;
		alarm_every(usec);
		guest_run(&g);
		alarm_every(0);
		guest_get_regs(&g, &regs);
		ioctl(g.vcpu, KVM_GET_VCPU_EVENTS, &ev);
		there += regs.rip == rip;
		lost += regs.rip == rip && !ev.interrupt.shadow;
	}
	if (there)
		CHECK(lost == 0, "%s", claim);
	else
		abi_skip("no alarm came at the right time", claim);
	guest_destroy(&g);
}

/* Hardly an instruction that is copied: mostly it is between the parts of one. */
GUEST_ASM(rewritten_guest, "1: sti\n"
			   "pushf\n"
			   "popf\n"
			   "cli\n"
			   "mov %cr0, %rax\n"
			   "inc %rbx\n"
			   "jmp 1b\n");

static void on_usr1(int sig)
{
}

static volatile bool enough;

/* It comes to the processor only when the vCPU's thread makes way for it. */
static void *signal_often(void *arg)
{
	while (!enough) {
		usleep(100);
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
	}
	return NULL;
}

static void check_signal_in_turn(void)
{
	const struct sigaction sa = { .sa_handler = on_usr1 };
	pthread_t thread, self = pthread_self();
	struct kvm_regs regs;
	cpu_set_t all, one;
	struct guest g;
	int tries;

	guest_create(&g, false);
	guest_load(&g, &rewritten_guest);
	sigaction(SIGUSR1, &sa, NULL);
	sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	pthread_create(&thread, NULL, signal_often, &self);
	for (tries = 0; tries < 3000; tries++) {
		if (guest_run(&g) != -1 || errno != EINTR)
			break;
	}
	CHECK(tries == 3000,
	      "signals from a task that shares the vCPU's processor only end KVM_RUN (%d, %s)",
	      tries, strerror(errno));
	enough = true;
	pthread_join(thread, NULL);
	sched_setaffinity(0, sizeof(all), &all);
	guest_get_regs(&g, &regs);
	CHECK(regs.rbx > 0 && regs.rip >= GUEST_CODE &&
	      regs.rip < GUEST_CODE + 16, "the guest goes on meanwhile, %llu rounds",
	      regs.rbx);
	guest_destroy(&g);
}

GUEST_ASM(window_guest, "sti\n"
			"1: pause\n"
			"jmp 1b\n");

static void check_irq_window(void)
{
	struct kvm_interrupt irq = { 0x41 };
	struct guest g;

	guest_create(&g, false);
	guest_load(&g, &window_guest);
	/* Behind the code, where the gate leads. */
	memcpy(g.ram + GUEST_CODE + 0x100, "\xb0\x41\xe6\x10\xf4", 5);
	guest_set_gate(&g, 0x41, GUEST_CODE + 0x100);
	g.run->request_interrupt_window = 1;
	check_exit(&g, KVM_EXIT_IRQ_WINDOW_OPEN, "an open interrupt window exits");
	CHECK(g.run->if_flag && g.run->ready_for_interrupt_injection,
	      "the run area says that it is open");
	g.run->request_interrupt_window = 0;
	CHECK_ERRNO(ioctl(g.vcpu, KVM_INTERRUPT, &irq), 0, "an interrupt is queued");
	check_exit(&g, KVM_EXIT_IO, "and taken");
	CHECK(*io_data(&g) == 0x41 && !g.run->if_flag, "by its handler");
	check_exit(&g, KVM_EXIT_HLT, "which goes on");
	CHECK_ERRNO(ioctl(g.vcpu, KVM_NMI, 0), 0, "an NMI is raised");
	guest_set_gate(&g, 2, GUEST_CODE + 0x100);
	check_exit(&g, KVM_EXIT_IO, "and taken");
	guest_destroy(&g);
}

GUEST_ASM(fpu_guest, "mov $0x100000, %edi\n"
		     "movups %xmm3, (%rdi)\n"
		     "xorps %xmm3, %xmm3\n"
		     "fldpi\n"
		     "hlt\n");

static void check_fpu(void)
{
	struct kvm_fpu f;
	struct guest g;
	double ours;

	guest_create(&g, false);
	guest_load(&g, &fpu_guest);
	ioctl(g.vcpu, KVM_GET_FPU, &f);
	memset(f.xmm[3], 0x3c, 16);
	ioctl(g.vcpu, KVM_SET_FPU, &f);
	__asm__ volatile("movsd %1, %%xmm3\n" : "=m"(ours) : "m"((double){ 1.5 }) : "xmm3");
	check_exit(&g, KVM_EXIT_HLT, "a guest uses the FPU");
	CHECK(g.ram[GUEST_DATA] == 0x3c && g.ram[GUEST_DATA + 15] == 0x3c,
	      "with the state it was given");
	ioctl(g.vcpu, KVM_GET_FPU, &f);
	CHECK(f.xmm[3][0] == 0 && f.xmm[3][15] == 0 && (f.fsw >> 11 & 7) == 7 &&
	      f.fpr[0][9] == 0x40, "and what it did to it can be read");
	guest_destroy(&g);
}

static void check_stop(void)
{
	struct guest g;

	guest_create(&g, false);
	guest_load(&g, &loop_guest);
	/* A second process may hold the files, but not use them. */
	g.run->immediate_exit = 1;
	CHECK_ERRNO(guest_run(&g), EINTR, "a run can be cut short before it starts");
	guest_destroy(&g);
}

int main(void)
{
	check_io();
	check_mmio();
	check_readonly();
	check_shutdown();
	check_signals();
	check_signal_in_turn();
	check_shadow();
	check_irq_window();
	check_fpu();
	check_stop();
	return abi_finish();
}
