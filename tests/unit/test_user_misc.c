// SPDX-License-Identifier: GPL-2.0-only
/* Options, CPUID, statistics and the doctor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userland/doctor.h"
#include "../../userland/kvm.h"
#include "../../userland/options.h"
#include "../../userland/stats.h"

/* --- options ------------------------------------------------------------- */

static int parse(struct run_options *opt, struct error *err, char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	memset(err, 0, sizeof(*err));
	return options_parse(opt, argc, argv, err);
}

#define PARSE(opt, err, ...) \
	parse(opt, err, (char *[]){ "run", __VA_ARGS__, NULL })

static void defaults_are_those_of_the_help_text(void **state)
{
	struct run_options opt;
	struct error err;

	unsetenv("POPF_DEVICE");
	assert_int_equal(PARSE(&opt, &err, "--kernel", "k"), 0);
	assert_string_equal(opt.kernel, "k");
	assert_null(opt.initrd);
	assert_string_equal(opt.cmdline, "console=ttyS0");
	assert_string_equal(opt.device, "/dev/popf");
	assert_true(opt.memory == 512ULL << 20);
	assert_true(opt.sandbox);
}

static void every_option_is_taken(void **state)
{
	struct run_options opt;
	struct error err;

	setenv("POPF_DEVICE", "/dev/other", 1);
	assert_int_equal(PARSE(&opt, &err, "--kernel=k", "--initrd", "i",
			       "--cmdline", "quiet", "--memory", "2G",
			       "--cpus", "1", "--stats", "s", "--console",
			       "stdio", "--no-sandbox", "-v"), 0);
	assert_string_equal(opt.initrd, "i");
	assert_string_equal(opt.cmdline, "quiet");
	assert_string_equal(opt.stats, "s");
	assert_string_equal(opt.device, "/dev/other");
	assert_true(opt.memory == 2ULL << 30);
	assert_false(opt.sandbox);
	assert_true(opt.verbose);
	assert_int_equal(PARSE(&opt, &err, "--kernel=k", "--device", "/d"), 0);
	assert_string_equal(opt.device, "/d");
	unsetenv("POPF_DEVICE");
}

static void memory_sizes_are_understood(void **state)
{
	static const struct {
		const char *arg;
		uint64_t bytes;
	} good[] = {
		{ "512M", 512ULL << 20 }, { "512", 512ULL << 20 },
		{ "2G", 2ULL << 30 }, { "size=1G", 1ULL << 30 },
		{ "65536k", 64ULL << 20 }, { "1GiB", 1ULL << 30 },
		{ "1T", 1ULL << 40 }, { "256MB", 256ULL << 20 },
	};
	static const char *const bad[] = {
		"", "M", "-1", "12Q", "1 G", "99999999999999999999", "2T",
		"1M", "0", "1GiBB", "0x100M", "size=", "512M,", "512M,huge",
		"512M,hugepages=", "512M,hugepages=on,", ",hugepages=on",
		"512MiBsuffixes,hugepages=on",
	};
	enum guest_pages pages = GUEST_PAGES_AUTO;
	struct error err;
	uint64_t bytes;
	unsigned int i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(options_memory(good[i].arg, &bytes, &pages, &err), 0);
		assert_int_equal(pages, GUEST_PAGES_AUTO);
		assert_true(bytes == good[i].bytes);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(options_memory(bad[i], &bytes, &pages, &err), -1);
		assert_int_equal(err.code, POPF_EXIT_CALLER);
	}
	assert_int_equal(options_memory("1GiB,hugepages=on", &bytes, &pages, &err), 0);
	assert_true(bytes == 1 << 30 && pages == GUEST_PAGES_HUGE);
	assert_int_equal(options_memory("64M,hugepages=thp", &bytes, &pages, &err), 0);
	assert_true(bytes == 64 << 20 && pages == GUEST_PAGES_THP);
	assert_int_equal(options_memory("size=64,hugepages=off", &bytes, &pages, &err), 0);
	assert_true(bytes == 64 << 20 && pages == GUEST_PAGES_SMALL);
}

static void wrong_options_are_named(void **state)
{
	struct run_options opt;
	struct error err;

	assert_int_equal(PARSE(&opt, &err, "--bogus"), -1);
	assert_non_null(strstr(err.text, "--bogus"));
	assert_int_equal(PARSE(&opt, &err, "--kernel"), -1);
	assert_non_null(strstr(err.text, "needs a value"));
	assert_int_equal(PARSE(&opt, &err, "--kernel", "k", "extra"), -1);
	assert_non_null(strstr(err.text, "'extra'"));
	assert_int_equal(PARSE(&opt, &err, "--kernel", "k", "--cpus", "2"), -1);
	assert_non_null(strstr(err.text, "one CPU"));
	assert_int_equal(PARSE(&opt, &err, "--cpus", "x"), -1);
	assert_int_equal(PARSE(&opt, &err, "--console", "vga"), -1);
	assert_int_equal(PARSE(&opt, &err, "-v"), -1);
	assert_non_null(strstr(err.text, "--kernel"));
	assert_int_equal(err.code, POPF_EXIT_CALLER);
}

static void no_arguments_at_all_are_survived(void **state)
{
	struct run_options opt;
	struct error err;

	assert_int_equal(parse(&opt, &err, (char *[]){ "run", NULL }), -1);
	assert_int_equal(PARSE(&opt, &err, "--help"), 0);
	assert_true(opt.help);
}

/* --- CPUID --------------------------------------------------------------- */

struct cpuid_rig {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 e[8];
};

static struct kvm_cpuid_entry2 *leaf(struct cpuid_rig *r, uint32_t function)
{
	unsigned int i;

	for (i = 0; i < r->head.nent; i++) {
		if (r->e[i].function == function)
			return &r->e[i];
	}
	return NULL;
}

static void guest_sees_a_hypervisor_and_one_cpu(void **state)
{
	const struct kvm_cpuid_config cfg = {
		.apic_id = 0, .cpus = 1, .tsc_deadline = true,
	};
	struct cpuid_rig r = { .head.nent = 3, .e = {
		{ .function = 1, .ebx = 0x05080800, .edx = 1 << 28 },
		{ .function = 0xb, .index = 0, .eax = 1, .ebx = 2, .edx = 5 },
		{ .function = 0x80000008, .ecx = 0x7007, .eax = 0x3030 },
	} };

	cpuid_adjust(&r.head, 8, &cfg);
	assert_int_equal(r.e[0].ecx, 1u << 31 | 1 << 24);
	assert_int_equal(r.e[0].ebx, 0x00010800);
	assert_int_equal(r.e[0].edx, 0);
	assert_int_equal(r.e[1].eax, 0);
	assert_int_equal(r.e[1].ebx, 1);
	assert_int_equal(r.e[1].edx, 0);
	assert_int_equal(r.e[2].ecx, 0);
	assert_int_equal(r.e[2].eax, 0x3030);
	assert_int_equal(r.head.nent, 3);
}

static void timing_leaf_is_added_when_it_can_be(void **state)
{
	const struct kvm_cpuid_config cfg = { .cpus = 1, .tsc_khz = 2300000 };
	struct cpuid_rig r = { .head.nent = 1, .e = {
		{ .function = 0x40000000, .eax = 0x40000001 },
	} };

	cpuid_adjust(&r.head, 1, &cfg);
	assert_int_equal(r.head.nent, 1);
	assert_int_equal(r.e[0].eax, 0x40000001);
	cpuid_adjust(&r.head, 8, &cfg);
	assert_int_equal(r.head.nent, 2);
	assert_int_equal(leaf(&r, 0x40000010)->eax, 2300000);
	assert_int_equal(r.e[0].eax, 0x40000010);
	cpuid_adjust(&r.head, 8, &cfg);
	assert_int_equal(r.head.nent, 2);
}

static void timing_leaf_of_the_module_is_kept(void **state)
{
	const struct kvm_cpuid_config cfg = { .cpus = 1, .tsc_khz = 1 };
	struct cpuid_rig r = { .head.nent = 2, .e = {
		{ .function = 0x40000000, .eax = 0x40000010 },
		{ .function = 0x40000010, .eax = 99 },
	} };

	cpuid_adjust(&r.head, 8, &cfg);
	assert_int_equal(leaf(&r, 0x40000010)->eax, 99);
}

/* --- statistics ---------------------------------------------------------- */

struct stats_file {
	struct kvm_stats_header h;
	char id[16];
	struct {
		struct kvm_stats_desc d;
		char name[16];
	} desc[3];
	uint64_t data[6];
};

static int make_stats(struct stats_file *f)
{
	int fd = memfd_create("stats", 0);

	memset(f, 0, sizeof(*f));
	f->h.name_size = 16;
	f->h.num_desc = 3;
	f->h.desc_offset = offsetof(struct stats_file, desc);
	f->h.data_offset = offsetof(struct stats_file, data);
	strcpy(f->desc[0].name, "exits");
	f->desc[0].d.size = 1;
	strcpy(f->desc[1].name, "bad\"name");
	f->desc[1].d.size = 1;
	strcpy(f->desc[2].name, "hist");
	f->desc[2].d.size = 3;
	f->desc[2].d.offset = 8;
	f->data[0] = 42;
	f->data[1] = 1;
	f->data[2] = 2;
	f->data[3] = 3;
	assert_true(fd >= 0);
	return fd;
}

static char *stats_text(int fd, const struct stats_file *f)
{
	static char text[1024];
	FILE *out;

	assert_int_equal(pwrite(fd, f, sizeof(*f), 0), sizeof(*f));
	memset(text, 0, sizeof(text));
	out = fmemopen(text, sizeof(text), "w");
	stats_binary(out, fd, "    ");
	fclose(out);
	return text;
}

static void binary_statistics_become_json(void **state)
{
	struct stats_file f;
	int fd = make_stats(&f);

	assert_string_equal(stats_text(fd, &f),
			    "{\n    \"exits\": 42,\n    \"hist\": [1, 2, 3]\n  }");
	close(fd);
}

static void broken_statistics_become_nothing(void **state)
{
	struct stats_file f;
	int fd = make_stats(&f);

	f.h.name_size = 100000;
	assert_string_equal(stats_text(fd, &f), "{}");
	f.h.name_size = 16;
	f.h.num_desc = ~0u;
	assert_string_equal(stats_text(fd, &f), "{}");
	f.h.num_desc = 3;
	f.h.desc_offset = ~0u;
	assert_string_equal(stats_text(fd, &f), "{}");
	f.h.desc_offset = offsetof(struct stats_file, desc);
	f.h.data_offset = 1 << 30;
	assert_string_equal(stats_text(fd, &f), "{}");
	close(fd);
}

static void stats_marks_are_taken_at_their_port_up_to_a_bound(void **state)
{
	struct stats st = { .vm_fd = -1, .vcpu_fd = -1 };
	static struct bus pio;
	unsigned int i;

	(void)state;
	assert_int_equal(stats_add_marks(&st, &pio), 0);
	bus_write(&pio, STATS_MARK_PORT, 7, 1);
	bus_write(&pio, STATS_MARK_PORT, 0x87, 1);
	assert_int_equal(st.marks_count, 2);
	assert_int_equal(st.marks[0].number, 7);
	assert_int_equal(st.marks[1].number, 0x87);
	for (i = 0; i < 2 * STATS_MARKS; i++)
		bus_write(&pio, STATS_MARK_PORT, 1, 1);
	assert_int_equal(st.marks_count, STATS_MARKS);
	assert_int_equal(bus_read(&pio, STATS_MARK_PORT, 1), 0xff);
	free(st.marks);
}

/* --- doctor -------------------------------------------------------------- */

struct host {
	char root[64];
	char out[4096];
	struct doctor_env env;
};

static void put(struct host *h, const char *path, const char *text)
{
	char full[512], *slash;
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", h->root, path);
	for (slash = full + strlen(h->root) + 1; (slash = strchr(slash, '/'));
	     slash++) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

#define GOOD_FLAGS "processor\t: 0\nflags\t\t: fpu lm nx syscall fsgsbase constant_tsc\n"

/* A host that is fine, but for the device, which a test cannot fake. */
static void good_host(struct host *h)
{
	memset(h, 0, sizeof(*h));
	strcpy(h->root, "/tmp/popf-doctor-XXXXXX");
	assert_non_null(mkdtemp(h->root));
	put(h, "/proc/cpuinfo", GOOD_FLAGS);
	put(h, "/proc/modules", "ext4 1 0 - Live 0x0\npopf 1 0 - Live 0x0\n");
	put(h, "/proc/meminfo", "MemTotal: 9 kB\nMemAvailable: 8000000 kB\n");
	put(h, "/proc/self/status", "Name:\tx\nSeccomp:\t0\n");
	put(h, "/lib/modules/6.1.0-1/build/Makefile", "");
	put(h, "/dev/popf", "");
	h->env = (struct doctor_env){
		.root = h->root, .release = "6.1.0-1", .machine = "x86_64",
		.device = "/dev/popf", .is_root = true,
	};
}

static unsigned int examine(struct host *h)
{
	unsigned int failed;
	char cmd[128];

	h->env.out = fmemopen(h->out, sizeof(h->out), "w");
	failed = doctor_run(&h->env);
	fclose(h->env.out);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", h->root);
	assert_int_equal(system(cmd), 0);
	return failed;
}

static void assert_says(const struct host *h, const char *text)
{
	if (!strstr(h->out, text))
		fail_msg("'%s' is not in:\n%s", text, h->out);
}

static void good_host_fails_nothing_but_the_faked_device(void **state)
{
	struct host h;

	good_host(&h);
	assert_int_equal(examine(&h), 1);
	assert_says(&h, "fail  device: /dev/popf does not speak");
	assert_says(&h, "ok    module: loaded");
	assert_says(&h, "ok    headers");
	assert_null(strstr(h.out, "warn"));
}

static void missing_module_and_device_say_what_to_do(void **state)
{
	struct host h;

	good_host(&h);
	put(&h, "/proc/modules", "popf_other 1 0 - Live 0x0\n");
	h.env.device = "/dev/nothing";
	assert_int_equal(examine(&h), 1);
	assert_says(&h, "warn  module: not loaded: run 'insmod popf.ko'");
	assert_says(&h, "fail  device: there is no /dev/nothing");
}

static void each_ban_on_modules_is_told(void **state)
{
	static const struct {
		const char *path, *text, *says;
	} bans[] = {
		{ "/proc/sys/kernel/modules_disabled", "1\n",
		  "modules_disabled" },
		{ "/sys/kernel/security/lockdown",
		  "none [integrity] confidentiality\n", "Secure Boot" },
		{ "/sys/module/module/parameters/sig_enforce", "Y\n",
		  "sig_enforce" },
	};
	unsigned int i;

	for (i = 0; i < 3; i++) {
		struct host h;

		good_host(&h);
		put(&h, "/proc/modules", "");
		put(&h, bans[i].path, bans[i].text);
		assert_int_equal(examine(&h), 2);
		assert_says(&h, bans[i].says);
	}
}

static void processors_are_judged_by_their_flags(void **state)
{
	struct host h;

	good_host(&h);
	put(&h, "/proc/cpuinfo", "x\nflags\t: lm xsyscall vmx nx_not\n");
	put(&h, "/dev/kvm", "");
	assert_int_equal(examine(&h), 3);
	assert_says(&h, "lacks SYSCALL");
	assert_says(&h, "lacks no-execute pages");
	assert_says(&h, "warn  cpu: no FSGSBASE");
	assert_says(&h, "KVM will be faster");
	good_host(&h);
	h.env.machine = "aarch64";
	assert_int_equal(examine(&h), 2);
	assert_says(&h, "this is aarch64");
}

static void kernels_are_judged_by_their_release(void **state)
{
	static const struct {
		const char *release, *says;
	} cases[] = {
		{ "5.10.0", "fail  kernel" }, { "6.0.9", "fail  kernel" },
		{ "6.1.0-56-cloud-amd64", "ok    kernel" },
		{ "6.12.1", "ok    kernel" }, { "6.13.0", "warn  kernel" },
		{ "7.0", "warn  kernel" }, { "weird", "warn  kernel" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct host h;

		good_host(&h);
		h.env.release = cases[i].release;
		examine(&h);
		assert_says(&h, cases[i].says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_help_text),
		cmocka_unit_test(every_option_is_taken),
		cmocka_unit_test(memory_sizes_are_understood),
		cmocka_unit_test(wrong_options_are_named),
		cmocka_unit_test(no_arguments_at_all_are_survived),
		cmocka_unit_test(guest_sees_a_hypervisor_and_one_cpu),
		cmocka_unit_test(timing_leaf_is_added_when_it_can_be),
		cmocka_unit_test(timing_leaf_of_the_module_is_kept),
		cmocka_unit_test(binary_statistics_become_json),
		cmocka_unit_test(broken_statistics_become_nothing),
		cmocka_unit_test(good_host_fails_nothing_but_the_faked_device),
		cmocka_unit_test(missing_module_and_device_say_what_to_do),
		cmocka_unit_test(each_ban_on_modules_is_told),
		cmocka_unit_test(processors_are_judged_by_their_flags),
		cmocka_unit_test(kernels_are_judged_by_their_release),
		cmocka_unit_test(
			stats_marks_are_taken_at_their_port_up_to_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
