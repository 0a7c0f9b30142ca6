// SPDX-License-Identifier: GPL-2.0-only
/*
 * The test runner of a guest.
 */
#include "lib.h"
#include "x86.h"

#define PORT_QEMU_EXIT 0xf4
#define PORT_PM1A_CONTROL 0x604
#define SLP_EN 0x2000
#define SLP_TYP_S5 (5 << 10)

extern const struct test tests_start[], tests_end[];

enum outcome { PASSED, FAILED, SKIPPED };

static struct context runner;
static const struct test *running;
static enum outcome outcome;
static u64 boot_cr0, boot_cr4, boot_efer;

void power_off(void)
{
	/* Only one of the two machines listens to each. */
	outb(PORT_QEMU_EXIT, 0);
	outw(PORT_PM1A_CONTROL, SLP_EN | SLP_TYP_S5);
	for (;;)
		asm volatile("cli; hlt");
}

static void end_test(enum outcome how, const char *word, const char *fmt, va_list ap)
{
	static bool ending;

	if (ending) /* a trap while printing */
		power_off();
	ending = true;
	outcome = how;
	print("guest: %s %s: ", word, running ? running->name : "?");
	print_list(fmt, ap);
	print("\n");
	ending = false;
	if (!running)
		power_off();
	context_restore(&runner);
}

void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	end_test(FAILED, "FAIL", fmt, ap);
	__builtin_unreachable();
}

void skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	end_test(SKIPPED, "SKIP", fmt, ap);
	__builtin_unreachable();
}

/* The same CPU state for every test. */
static void reset_cpu(void)
{
	write_flags(2);
	write_cr0(boot_cr0);
	write_cr4(boot_cr4);
	wrmsr(MSR_EFER, boot_efer);
	pages_free_all();
	write_cr4(boot_cr4 & ~CR4_PGE);
	write_cr4(boot_cr4);
	write_dr7(0x400);
	trap_reset();
	apic_init();
}

static enum outcome run_test(const struct test *t)
{
	outcome = PASSED;
	running = t;
	if (!context_save(&runner)) {
		reset_cpu();
		if (option("verbose"))
			print("guest: RUN %s\n", t->name);
		t->fn();
	}
	reset_cpu();
	running = NULL;
	if (outcome == PASSED)
		print("guest: PASS %s\n", t->name);
	return outcome;
}

void guest_main(u64 command_line_pa)
{
	unsigned int count[3] = { 0 };
	const struct test *t;

	set_command_line(command_line_pa ? phys(command_line_pa) : "");
	boot_cr0 = read_cr0();
	boot_cr4 = read_cr4();
	boot_efer = rdmsr(MSR_EFER);
	trap_init();
	for (t = tests_start; t < tests_end; t++) {
		if (option_selects(t->name))
			count[run_test(t)]++;
	}
	print("guest: %u passed, %u failed, %u skipped\n", count[PASSED],
	      count[FAILED], count[SKIPPED]);
	power_off();
}
