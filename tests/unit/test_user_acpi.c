// SPDX-License-Identifier: GPL-2.0-only
/* The ACPI tables, read back the way an operating system walks them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userland/acpi.h"
#include "../../userland/aml.h"
#include "../../userland/machine.h"

static uint8_t area[ACPI_SIZE];

static void build(void)
{
	struct acpi_config cfg = machine_acpi_config(1);

	memset(area, 0, sizeof(area));
	assert_true(acpi_build(&cfg, ACPI_BASE, area, sizeof(area)) > 0);
}

static uint64_t get(const uint8_t *p, unsigned int bytes)
{
	uint64_t val = 0;

	memcpy(&val, p, bytes);
	return val;
}

static const uint8_t *at(uint64_t gpa)
{
	assert_in_range(gpa, ACPI_BASE, ACPI_BASE + ACPI_SIZE - 64);
	return area + (gpa - ACPI_BASE);
}

static void assert_sum_zero(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum += *p++;
	assert_int_equal(sum, 0);
}

/* A table of the XSDT by its signature, its checksum verified. */
static const uint8_t *table(const char *signature)
{
	const uint8_t *xsdt = at(get(area + 24, 8));
	unsigned int count = (get(xsdt + 4, 4) - 36) / 8, i;

	for (i = 0; i < count; i++) {
		const uint8_t *t = at(get(xsdt + 36 + i * 8, 8));

		if (memcmp(t, signature, 4))
			continue;
		assert_sum_zero(t, get(t + 4, 4));
		return t;
	}
	fail_msg("there is no %s", signature);
	return NULL;
}

static void rsdp_and_xsdt_are_valid(void **state)
{
	const uint8_t *xsdt;

	build();
	assert_memory_equal(area, "RSD PTR ", 8);
	assert_sum_zero(area, 20);
	assert_sum_zero(area, 36);
	assert_int_equal(area[15], 2);
	xsdt = at(get(area + 24, 8));
	assert_memory_equal(xsdt, "XSDT", 4);
	assert_sum_zero(xsdt, get(xsdt + 4, 4));
}

static void fadt_describes_the_pm_block(void **state)
{
	const uint8_t *t;

	build();
	t = table("FACP");
	assert_int_equal(get(t + 4, 4), 276);
	assert_int_equal(get(t + 46, 2), 9);
	assert_int_equal(get(t + 48, 4), 0);
	assert_int_equal(get(t + 56, 4), 0x600);
	assert_int_equal(get(t + 64, 4), 0x604);
	assert_int_equal(get(t + 76, 4), 0x608);
	assert_int_equal(t[88], 4);
	assert_int_equal(t[89], 2);
	assert_int_equal(t[91], 4);
	assert_int_equal(get(t + 152, 8), 0x600);
	assert_int_equal(get(t + 176, 8), 0x604);
	assert_int_equal(get(t + 212, 8), 0x608);
	assert_int_equal(t[108], 0x32);
	/* not hardware-reduced, 32-bit timer, reset register */
	assert_int_equal(get(t + 112, 4) & (1 << 20 | 1 << 10 | 1 << 8),
			 1 << 10 | 1 << 8);
	assert_int_equal(get(t + 120, 8), 0xcf9);
	assert_int_equal(t[128], 6);
}

static void facs_and_dsdt_are_reachable(void **state)
{
	const uint8_t *fadt, *dsdt, *facs;

	build();
	fadt = table("FACP");
	facs = at(get(fadt + 36, 4));
	assert_memory_equal(facs, "FACS", 4);
	assert_int_equal((ACPI_BASE + (facs - area)) % 64, 0);
	dsdt = at(get(fadt + 140, 8));
	assert_memory_equal(dsdt, "DSDT", 4);
	assert_sum_zero(dsdt, get(dsdt + 4, 4));
	assert_int_equal(get(fadt + 40, 4), get(fadt + 140, 8));
}

static void madt_lists_apics_and_overrides(void **state)
{
	unsigned int seen[5] = { 0 };
	const uint8_t *t, *p;

	build();
	t = table("APIC");
	assert_int_equal(get(t + 36, 4), 0xfee00000);
	assert_int_equal(get(t + 40, 4), 1);
	for (p = t + 44; p < t + get(t + 4, 4); p += p[1]) {
		assert_in_range(p[0], 0, 4);
		assert_true(p[1] >= 6);
		seen[p[0]]++;
		if (p[0] == 1)
			assert_int_equal(get(p + 4, 4), 0xfec00000);
		if (p[0] == 2 && p[3] == 0)
			assert_int_equal(get(p + 4, 4), 2);
		if (p[0] == 2 && p[3] == 9)
			assert_int_equal(get(p + 8, 2), 0x0d);
	}
	assert_ptr_equal(p, t + get(t + 4, 4));
	assert_int_equal(seen[0], 1);
	assert_int_equal(seen[1], 1);
	assert_int_equal(seen[2], 2);
	assert_int_equal(seen[4], 1);
}

static void madt_has_one_entry_per_cpu(void **state)
{
	struct acpi_config cfg = machine_acpi_config(8);
	const uint8_t *t, *p;
	unsigned int cpus = 0;

	assert_true(acpi_build(&cfg, ACPI_BASE, area, sizeof(area)) > 0);
	t = table("APIC");
	for (p = t + 44; p < t + get(t + 4, 4); p += p[1])
		cpus += p[0] == 0;
	assert_int_equal(cpus, 8);
}

static void short_buffer_is_refused_not_overrun(void **state)
{
	struct acpi_config cfg = machine_acpi_config(1);
	size_t need = acpi_build(&cfg, ACPI_BASE, area, sizeof(area)), cap;

	for (cap = 0; cap < need; cap++) {
		uint8_t *small = malloc(cap ? cap : 1);

		assert_int_equal(acpi_build(&cfg, ACPI_BASE, small, cap), 0);
		free(small);
	}
}

static void aml_overflow_sticks(void **state)
{
	uint8_t buf[8];
	struct aml a;

	aml_init(&a, buf, sizeof(buf));
	aml_name_int(&a, "ABCD", 0x12345678);
	assert_false(aml_ok(&a));
	aml_name_int(&a, "A", 0);
	assert_false(aml_ok(&a));
	aml_init(&a, buf, sizeof(buf));
	aml_name_int(&a, "TOOLONG", 0);
	assert_false(aml_ok(&a));
}

/* Everything iasl says about the DSDT, or a null pointer without iasl. */
static char *disassemble(char *text, size_t size)
{
	const uint8_t *fadt = table("FACP");
	const uint8_t *dsdt = at(get(fadt + 140, 8));
	char dir[] = "/tmp/popf-acpi-XXXXXX", cmd[256];
	size_t n = 0;
	FILE *f;

	if (system("command -v iasl >/dev/null 2>&1"))
		return NULL;
	assert_non_null(mkdtemp(dir));
	snprintf(cmd, sizeof(cmd), "%s/dsdt.aml", dir);
	f = fopen(cmd, "w");
	assert_non_null(f);
	fwrite(dsdt, 1, get(dsdt + 4, 4), f);
	fclose(f);
	snprintf(cmd, sizeof(cmd),
		 "cd %s && iasl -d dsdt.aml 2>&1 && cat dsdt.dsl && iasl dsdt.dsl 2>&1; rm -rf %s",
		 dir, dir);
	f = popen(cmd, "r");
	assert_non_null(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	pclose(f);
	return text;
}

static void dsdt_disassembles_and_compiles_again(void **state)
{
	static char text[65536];

	build();
	if (!disassemble(text, sizeof(text))) {
		print_message("SKIP: no iasl (package acpica-tools)\n");
		skip();
	}
	assert_non_null(strstr(text, "Name (\\_S5"));
	assert_non_null(strstr(text, "Device (COM1)"));
	assert_non_null(strstr(text, "PNP0501"));
	assert_non_null(strstr(text, "0x03F8"));
	assert_non_null(strstr(text, "Compilation successful. 0 Errors"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rsdp_and_xsdt_are_valid),
		cmocka_unit_test(fadt_describes_the_pm_block),
		cmocka_unit_test(facs_and_dsdt_are_reachable),
		cmocka_unit_test(madt_lists_apics_and_overrides),
		cmocka_unit_test(madt_has_one_entry_per_cpu),
		cmocka_unit_test(short_buffer_is_refused_not_overrun),
		cmocka_unit_test(aml_overflow_sticks),
		cmocka_unit_test(dsdt_disassembles_and_compiles_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
