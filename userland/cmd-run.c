// SPDX-License-Identifier: GPL-2.0-only
/*
 * `popf run`: sets up a VM, runs it, and says how it ended.
 *
 * Threads: the main thread is the event thread (input, timers, signals); each
 * vCPU has one of its own. Order of setting up: signals are blocked before any
 * thread exists, everything is opened and mapped, the vCPU thread is created
 * and waits, the sandbox closes, the vCPU starts. Taking down is the reverse.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "acpi.h"
#include "commands.h"
#include "console.h"
#include "error.h"
#include "guest-mem.h"
#include "kvm.h"
#include "loader.h"
#include "machine.h"
#include "options.h"
#include "report.h"
#include "sandbox.h"
#include "stats.h"
#include "term.h"
#include "vcpu.h"

#define DRAIN_MS	1000

struct run {
	struct run_options opt;
	struct guest_mem mem;
	struct kvm_vm vm;
	struct kvm_vcpu kvm_vcpu;
	struct machine machine;
	struct console console;
	struct vcpu vcpu;
	struct stats stats;
	struct recorder recorder;
	struct boot_result boot;
	int argc;			/* as given, for the recording */
	char **argv;
	int signal_fd;
	pthread_barrier_t start;	/* the vCPU thread and the sandbox */
	atomic_bool go;			/* false at start: do not run */
};

static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

__attribute__((format(printf, 2, 3)))
static void verbose(const struct run *r, const char *fmt, ...)
{
	va_list ap;

	if (!r->opt.verbose)
		return;
	va_start(ap, fmt);
	fputs("popf: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

/* --- callbacks of the machine -------------------------------------------- */

static void run_tx(void *opaque, uint8_t ch)
{
	struct run *r = opaque;

	console_tx(&r->console, ch);
	recorder_console(&r->recorder, (char)ch);
}

static void run_rx_room(void *opaque)
{
	struct run *r = opaque;

	console_rx_room(&r->console);
}

static void run_kick(void *opaque)
{
	struct run *r = opaque;

	vcpu_kick(&r->vcpu);
}

static void run_after_exit(void *opaque)
{
	struct run *r = opaque;

	console_throttle(&r->console);
	recorder_between_runs(&r->recorder);
}

/* --- the vCPU thread ----------------------------------------------------- */

static void kick_handler(int sig)
{
	(void)sig;
}

static void *vcpu_thread(void *opaque)
{
	struct run *r = opaque;
	sigset_t kick;

	r->vcpu.thread = pthread_self();
	sigemptyset(&kick);
	sigaddset(&kick, VCPU_KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	atomic_store(&r->vcpu.running, true);
	pthread_barrier_wait(&r->start);
	/* the main thread enters the sandbox between the two waits */
	pthread_barrier_wait(&r->start);
	if (atomic_load(&r->go)) {
		recorder_between_runs(&r->recorder);
		vcpu_loop(&r->vcpu);
	}
	return NULL;
}

/* --- events -------------------------------------------------------------- */

static void handle_signal(struct run *r)
{
	struct signalfd_siginfo info;

	if (read(r->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	r->machine.stop_signal = info.ssi_signo;
	machine_stop(&r->machine, MACHINE_SIGNAL, NULL);
}

static void drain_wake(struct run *r)
{
	uint64_t count;

	if (read(r->machine.wake, &count, sizeof(count)) < 0)
		return;
}

enum {
	EV_SIGNAL, EV_WAKE, EV_PIT, EV_RTC, EV_FLUSH, EV_INPUT, EV_OUTPUT,
	EV_COUNT
};

static void handle_events(struct run *r, const struct pollfd *ev)
{
	if (ev[EV_SIGNAL].revents)
		handle_signal(r);
	if (ev[EV_WAKE].revents)
		drain_wake(r);
	if (ev[EV_PIT].revents)
		machine_pit_expired(&r->machine);
	if (ev[EV_RTC].revents)
		machine_rtc_expired(&r->machine);
	if (ev[EV_FLUSH].revents)
		console_flush_expired(&r->console);
	if (ev[EV_OUTPUT].revents)
		console_output(&r->console);
	if (ev[EV_INPUT].revents)
		console_input(&r->console);
}

static void event_loop(struct run *r)
{
	struct console *c = &r->console;
	struct pollfd ev[EV_COUNT] = {
		[EV_SIGNAL] = { .fd = r->signal_fd, .events = POLLIN },
		[EV_WAKE] = { .fd = r->machine.wake, .events = POLLIN },
		[EV_PIT] = { .fd = r->machine.pit_timer, .events = POLLIN },
		[EV_RTC] = { .fd = r->machine.rtc_timer, .events = POLLIN },
		[EV_FLUSH] = { .fd = c->flush_timer, .events = POLLIN },
		[EV_INPUT] = { .events = POLLIN },
		[EV_OUTPUT] = { .events = POLLOUT },
	};

	while (!machine_stopped(&r->machine)) {
		ev[EV_INPUT].fd = console_wants_input(c) ? c->in_fd : -1;
		ev[EV_OUTPUT].fd = console_wants_output(c) ? c->out_fd : -1;
		if (poll(ev, EV_COUNT, -1) < 0) {
			if (errno == EINTR)
				continue;
			machine_stop(&r->machine, MACHINE_FAILURE,
				     "poll failed: %s", strerror(errno));
			break;
		}
		handle_events(r, ev);
	}
}

/* --- setting up ---------------------------------------------------------- */

static int setup_signals(struct run *r, struct error *err)
{
	struct sigaction kick = { .sa_handler = kick_handler };
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGQUIT);
	sigaddset(&mask, VCPU_KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
	sigaction(VCPU_KICK_SIGNAL, &kick, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigdelset(&mask, VCPU_KICK_SIGNAL);
	r->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (r->signal_fd < 0)
		return error_failure(err, "cannot receive signals: %s",
				     strerror(errno));
	return 0;
}

static int build_acpi(struct run *r, struct error *err)
{
	struct acpi_config cfg = machine_acpi_config(r->opt.cpus);
	void *area = guest_mem_ptr(&r->mem, ACPI_BASE, ACPI_SIZE);

	if (!area || !acpi_build(&cfg, ACPI_BASE, area, ACPI_SIZE))
		return error_failure(err, "the ACPI tables do not fit");
	return 0;
}

/* Guest memory and what is in it. */
static int setup_memory(struct run *r, struct error *err)
{
	const struct boot_request req = {
		.kernel = r->opt.kernel,
		.initrd = r->opt.initrd,
		.cmdline = r->opt.cmdline,
		.acpi_rsdp = ACPI_BASE,
	};

	if (guest_mem_create(&r->mem, r->opt.memory, r->opt.pages, err) < 0)
		return -1;
	if (loader_load(&r->mem, &req, &r->boot, err) < 0 ||
	    build_acpi(r, err) < 0)
		return -1;
	verbose(r, "%s '%s': entry %#" PRIx64 ", runs at %#" PRIx64 "..%#" PRIx64,
		r->boot.is_elf ? "vmlinux" : "bzImage", r->opt.kernel,
		r->boot.entry, r->boot.kernel_start, r->boot.kernel_end);
	if (r->boot.is_elf)
		verbose(r, "the vmlinux has %s PVH note; popf enters by the 64-bit entry point either way",
			r->boot.has_pvh_note ? "a" : "no");
	if (r->opt.initrd)
		verbose(r, "initrd '%s': %" PRIu64 " bytes at %#" PRIx64,
			r->opt.initrd, r->boot.initrd_size,
			r->boot.initrd_start);
	return 0;
}

static int setup_stats(struct run *r, struct error *err)
{
	if (!r->opt.stats)
		return 0;
	r->stats.out = fopen(r->opt.stats, "we");
	if (!r->stats.out)
		return error_caller(err, "cannot write the statistics to '%s' (%s): check the path given to --stats",
				    r->opt.stats, strerror(errno));
	/* with a buffer of its own stdio does not ask what kind of file it is */
	setvbuf(r->stats.out, r->stats.buf, _IOFBF, sizeof(r->stats.buf));
	r->stats.status_fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	return 0;
}

static int setup_vm(struct run *r, struct error *err)
{
	const struct kvm_boot_state boot = {
		.entry = r->boot.entry,
		.boot_params = r->boot.boot_params,
		.stack = BOOT_STACK,
		.page_table = BOOT_PAGES,
		.gdt = BOOT_GDT,
		.gdt_limit = 6 * 8 - 1,
	};

	if (kvm_vm_create(&r->vm, r->opt.device, err) < 0 ||
	    kvm_vm_set_memory(&r->vm, &r->mem, err) < 0 ||
	    kvm_vcpu_create(&r->vm, &r->kvm_vcpu, 0, err) < 0 ||
	    kvm_vcpu_setup(&r->vm, &r->kvm_vcpu, 0, &boot, err) < 0)
		return -1;
	verbose(r, "VM created on %s with %" PRIu64 " MiB", r->opt.device,
		r->mem.size >> 20);
	if (r->opt.stats) {
		r->stats.vm_fd = kvm_stats_fd(r->vm.vm_fd);
		r->stats.vcpu_fd = kvm_stats_fd(r->kvm_vcpu.fd);
	}
	return 0;
}

static int setup_recorder(struct run *r, struct error *err)
{
	const struct record_facts facts = {
		.kernel = r->opt.kernel,
		.tsc_khz = kvm_tsc_khz(&r->kvm_vcpu),
		.argc = r->argc,
		.argv = r->argv,
	};

	if (!r->opt.record.out)
		return 0;
	return recorder_init(&r->recorder, &r->opt.record, r->kvm_vcpu.fd,
			     &facts, err);
}

static int setup_machine(struct run *r, struct error *err)
{
	const struct machine_host host = {
		.console_tx = run_tx,
		.console_rx_room = run_rx_room,
		.kick = run_kick,
		.opaque = r,
	};

	r->vcpu.ops = &kvm_vcpu_ops;
	r->vcpu.backend = &r->kvm_vcpu;
	r->vcpu.run = r->kvm_vcpu.run;
	r->vcpu.machine = &r->machine;
	r->vcpu.after_exit = run_after_exit;
	r->vcpu.opaque = r;
	if (machine_init(&r->machine, &host, &kvm_vm_ops, &r->vm, &r->mem,
			 err) < 0)
		return -1;
	if (r->opt.stats && stats_add_marks(&r->stats, &r->machine.pio) < 0)
		return error_failure(err, "cannot take marks for --stats");
	return console_init(&r->console, &r->machine, STDIN_FILENO,
			    STDOUT_FILENO, err);
}

/* --- running ------------------------------------------------------------- */

static int start_vcpu(struct run *r, pthread_t *thread, struct error *err)
{
	int e, failed = 0;

	pthread_barrier_init(&r->start, NULL, 2);
	e = pthread_create(thread, NULL, vcpu_thread, r);
	if (e)
		return error_failure(err, "cannot start the vCPU's thread: %s",
				     strerror(e));
	pthread_barrier_wait(&r->start);
	if (r->opt.sandbox)
		failed = sandbox_enter(err);
	atomic_store(&r->go, !failed);
	r->stats.start_ns = monotonic_ns();
	pthread_barrier_wait(&r->start);
	if (failed)
		pthread_join(*thread, NULL);
	return failed;
}

static int run_guest(struct run *r, struct error *err)
{
	pthread_t thread;

	verbose(r, "starting the guest");
	if (term_raw(STDIN_FILENO))
		verbose(r, "Ctrl-A h shows the keys\r");
	if (start_vcpu(r, &thread, err) < 0) {
		term_restore();
		return -1;
	}
	event_loop(r);
	vcpu_kick(&r->vcpu);
	console_stop(&r->console);
	pthread_join(thread, NULL);
	atomic_store(&r->vcpu.running, false);
	console_drain(&r->console, DRAIN_MS);
	term_restore();
	return 0;
}

static void report(const struct run *r, const char *what)
{
	const char *text = r->machine.stop_text;

	fprintf(stderr, "popf: %s%s%s\n", what, *text ? ": " : "", text);
	report_vcpu(stderr, &r->vcpu, &r->mem);
	report_machine(stderr, &r->machine);
}

/* Says how the guest ended; fills in the name and code for the statistics. */
static void conclude(const struct run *r, struct stats_result *res)
{
	switch ((enum machine_stop)atomic_load(&r->machine.stop)) {
	case MACHINE_POWER_OFF:
		res->end = "power-off";
		res->exit_code = POPF_EXIT_OK;
		break;
	case MACHINE_RESET:
		res->end = "reset";
		res->exit_code = POPF_EXIT_RESET;
		verbose(r, "the guest asked for a reset");
		break;
	case MACHINE_TRIPLE_FAULT:
		res->end = "triple-fault";
		res->exit_code = POPF_EXIT_TRIPLE;
		report(r, "the guest's CPU shut down (triple fault)");
		break;
	case MACHINE_MONITOR:
		res->end = "monitor";
		res->exit_code = POPF_EXIT_MONITOR;
		report(r, "the monitor stopped the VM");
		break;
	case MACHINE_SIGNAL:
		res->end = "signal";
		res->exit_code = 128 + r->machine.stop_signal;
		if (r->machine.stop_signal == SIGQUIT)
			report(r, "ended by SIGQUIT");
		break;
	default:
		res->end = "failure";
		res->exit_code = POPF_EXIT_FAILURE;
		report(r, "the VM could not go on");
		break;
	}
}

static int run_all(struct run *r, struct error *err)
{
	struct stats_result res = { .end = "failure" };
	int e;

	if (setup_signals(r, err) < 0 || setup_memory(r, err) < 0 ||
	    setup_stats(r, err) < 0 || setup_vm(r, err) < 0 ||
	    setup_machine(r, err) < 0 || setup_recorder(r, err) < 0 ||
	    run_guest(r, err) < 0)
		return err->code;
	res.end_ns = monotonic_ns();
	conclude(r, &res);
	if (r->stats.out) {
		e = stats_write(&r->stats, &res, &r->vcpu);
		if (e < 0)
			fprintf(stderr, "popf: cannot write the statistics to '%s': %s\n",
				r->opt.stats, strerror(-e));
	}
	if (recorder_finish(&r->recorder, err) < 0 &&
	    res.exit_code == POPF_EXIT_OK)
		return err->code;
	return res.exit_code;
}

int cmd_run(int argc, char **argv)
{
	static struct run r = {
		.mem.fd = -1,
		.vm = { .dev_fd = -1, .vm_fd = -1 },
		.stats = { .vm_fd = -1, .vcpu_fd = -1, .status_fd = -1 },
	};
	struct error err = { .code = POPF_EXIT_OK };
	int status;

	if (options_parse(&r.opt, argc, argv, &err) < 0) {
		fprintf(stderr, "popf: %s\n", err.text);
		return err.code;
	}
	if (r.opt.help) {
		fputs(options_run_help, stdout);
		return POPF_EXIT_OK;
	}
	r.argc = argc;
	r.argv = argv;
	r.stats.begin_ns = monotonic_ns();
	term_crash_handlers();
	status = run_all(&r, &err);
	if (err.code)
		fprintf(stderr, "popf: %s\n", err.text);
	kvm_vcpu_destroy(&r.kvm_vcpu);
	kvm_vm_destroy(&r.vm);
	guest_mem_destroy(&r.mem);
	return status;
}
