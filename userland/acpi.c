// SPDX-License-Identifier: GPL-2.0-only
/*
 * ACPI tables.
 *
 * The machine is not "hardware reduced": it has the fixed PM1 and timer
 * registers of devices/acpi-pm.c and is always in ACPI mode (SMI_CMD is zero).
 * FADT says there is no 8042, so Linux does not look for a keyboard, although
 * the controller answers.
 *
 * Every table is built in place, in a cursor over the caller's buffer; lengths
 * and checksums are filled in by table_end().
 */
#include "acpi.h"

#include <stdbool.h>
#include <string.h>

#include "../devices/acpi-pm.h"
#include "aml.h"

#define HEADER_LEN	36
#define FADT_LEN	276
#define FACS_LEN	64
#define RSDP_LEN	36

#define OEM_ID		"POPF  "
#define OEM_TABLE_ID	"POPFVM  "

/* FADT fields, by offset */
enum {
	FADT_FACS = 36, FADT_DSDT = 40, FADT_PROFILE = 45, FADT_SCI = 46,
	FADT_PM1A_EVT = 56, FADT_PM1A_CNT = 64, FADT_PM_TMR = 76,
	FADT_PM1_EVT_LEN = 88, FADT_PM1_CNT_LEN = 89, FADT_PM_TMR_LEN = 91,
	FADT_C2_LATENCY = 96, FADT_C3_LATENCY = 98, FADT_CENTURY = 108,
	FADT_BOOT_ARCH = 109, FADT_FLAGS = 112, FADT_RESET_REG = 116,
	FADT_RESET_VALUE = 128, FADT_MINOR = 131, FADT_X_FACS = 132,
	FADT_X_DSDT = 140, FADT_X_PM1A_EVT = 148, FADT_X_PM1A_CNT = 172,
	FADT_X_PM_TMR = 208,
};

#define PROFILE_SERVER		4
#define LATENCY_NONE		0xfff	/* C2/C3 not offered */
#define CMOS_CENTURY		0x32

#define BOOT_LEGACY_DEVICES	(1 << 0)
#define BOOT_NO_VGA		(1 << 2)

#define FLAG_WBINVD		(1 << 0)
#define FLAG_PROC_C1		(1 << 2)
#define FLAG_NO_SLEEP_BUTTON	(1 << 5)
#define FLAG_NO_FIXED_RTC	(1 << 6)
#define FLAG_TMR_32BIT		(1 << 8)
#define FLAG_RESET_REG		(1 << 10)

#define GAS_IO			1

#define MADT_PCAT		1
#define MADT_LAPIC		0
#define MADT_IOAPIC		1
#define MADT_OVERRIDE		2
#define MADT_LAPIC_NMI		4
#define INTI_LEVEL_HIGH		0x000d
#define INTI_CONFORMS		0x0000

struct cursor {
	uint8_t *buf;
	uint64_t base;
	size_t cap;
	size_t len;
	bool failed;
};

static uint8_t *reserve(struct cursor *c, size_t len, size_t align)
{
	size_t at = (c->len + align - 1) & ~(align - 1);

	if (c->failed || at > c->cap || len > c->cap - at) {
		c->failed = true;
		return NULL;
	}
	c->len = at + len;
	memset(c->buf + at, 0, len);
	return c->buf + at;
}

static uint64_t address_of(const struct cursor *c, const uint8_t *p)
{
	return c->base + (p - c->buf);
}

static void put16(uint8_t *p, uint16_t val)
{
	memcpy(p, &val, sizeof(val));
}

static void put32(uint8_t *p, uint32_t val)
{
	memcpy(p, &val, sizeof(val));
}

static void put64(uint8_t *p, uint64_t val)
{
	memcpy(p, &val, sizeof(val));
}

/* The byte that makes the sum of len bytes zero. */
static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum += *p++;
	return -sum;
}

static void table_begin(uint8_t *t, const char *signature, uint8_t revision)
{
	memcpy(t, signature, 4);
	t[8] = revision;
	memcpy(t + 10, OEM_ID, 6);
	memcpy(t + 16, OEM_TABLE_ID, 8);
	put32(t + 24, 1);
	memcpy(t + 28, "POPF", 4);
	put32(t + 32, 1);
}

static void table_end(uint8_t *t, size_t len)
{
	put32(t + 4, len);
	t[9] = 0;
	t[9] = checksum(t, len);
}

static void com1_device(struct aml *a)
{
	struct aml_res res = { .len = 0 };
	size_t dev = aml_device(a, "COM1");

	aml_name_eisaid(a, "_HID", "PNP0501");
	aml_name_int(a, "_UID", 1);
	aml_res_io(&res, 0x3f8, 8);
	aml_res_irq(&res, 4);
	aml_crs(a, &res);
	aml_end(a, dev);
}

static void rtc_device(struct aml *a)
{
	struct aml_res res = { .len = 0 };
	size_t dev = aml_device(a, "RTC");

	aml_name_eisaid(a, "_HID", "PNP0B00");
	aml_res_io(&res, 0x70, 2);
	aml_res_irq(&res, 8);
	aml_crs(a, &res);
	aml_end(a, dev);
}

static size_t build_dsdt_body(void *buf, size_t cap)
{
	static const uint8_t s5[] = { ACPI_PM_S5, ACPI_PM_S5, 0, 0 };
	struct aml a;
	size_t scope;

	aml_init(&a, buf, cap);
	aml_name_package(&a, "\\_S5", s5, sizeof(s5));
	scope = aml_scope(&a, "\\_SB");
	com1_device(&a);
	rtc_device(&a);
	aml_end(&a, scope);
	return aml_ok(&a) ? a.len : 0;
}

static uint64_t build_dsdt(struct cursor *c)
{
	uint8_t body[1024];
	size_t len = build_dsdt_body(body, sizeof(body));
	uint8_t *t = reserve(c, HEADER_LEN + len, 16);

	if (!t || !len) {
		c->failed = true;
		return 0;
	}
	table_begin(t, "DSDT", 2);
	memcpy(t + HEADER_LEN, body, len);
	table_end(t, HEADER_LEN + len);
	return address_of(c, t);
}

static uint64_t build_facs(struct cursor *c)
{
	uint8_t *t = reserve(c, FACS_LEN, 64);

	if (!t)
		return 0;
	memcpy(t, "FACS", 4);
	put32(t + 4, FACS_LEN);
	t[32] = 2;
	return address_of(c, t);
}

static void put_gas_io(uint8_t *p, uint16_t port, uint8_t bytes)
{
	p[0] = GAS_IO;
	p[1] = bytes * 8;
	/* access size: 1 byte, 2 word, 3 double word */
	p[3] = bytes == 4 ? 3 : bytes;
	put64(p + 4, port);
}

static void fadt_fixed_hardware(uint8_t *t, const struct acpi_config *cfg)
{
	put16(t + FADT_SCI, cfg->sci_irq);
	put32(t + FADT_PM1A_EVT, cfg->pm_port + ACPI_PM_EVENT);
	put32(t + FADT_PM1A_CNT, cfg->pm_port + ACPI_PM_CONTROL);
	put32(t + FADT_PM_TMR, cfg->pm_port + ACPI_PM_TIMER);
	t[FADT_PM1_EVT_LEN] = 4;
	t[FADT_PM1_CNT_LEN] = 2;
	t[FADT_PM_TMR_LEN] = 4;
	put_gas_io(t + FADT_X_PM1A_EVT, cfg->pm_port + ACPI_PM_EVENT, 4);
	/* the event block is two registers of one word each */
	t[FADT_X_PM1A_EVT + 3] = 2;
	put_gas_io(t + FADT_X_PM1A_CNT, cfg->pm_port + ACPI_PM_CONTROL, 2);
	put_gas_io(t + FADT_X_PM_TMR, cfg->pm_port + ACPI_PM_TIMER, 4);
	put_gas_io(t + FADT_RESET_REG, cfg->reset_port, 1);
	t[FADT_RESET_VALUE] = cfg->reset_value;
}

static uint64_t build_fadt(struct cursor *c, const struct acpi_config *cfg,
			   uint64_t dsdt, uint64_t facs)
{
	uint8_t *t = reserve(c, FADT_LEN, 16);

	if (!t)
		return 0;
	table_begin(t, "FACP", 6);
	t[FADT_MINOR] = 0;
	put32(t + FADT_FACS, facs);
	put32(t + FADT_DSDT, dsdt);
	put64(t + FADT_X_DSDT, dsdt);
	t[FADT_PROFILE] = PROFILE_SERVER;
	put16(t + FADT_C2_LATENCY, LATENCY_NONE);
	put16(t + FADT_C3_LATENCY, LATENCY_NONE);
	t[FADT_CENTURY] = CMOS_CENTURY;
	put16(t + FADT_BOOT_ARCH, BOOT_LEGACY_DEVICES | BOOT_NO_VGA);
	put32(t + FADT_FLAGS, FLAG_WBINVD | FLAG_PROC_C1 |
	      FLAG_NO_SLEEP_BUTTON | FLAG_NO_FIXED_RTC | FLAG_TMR_32BIT |
	      FLAG_RESET_REG);
	fadt_fixed_hardware(t, cfg);
	table_end(t, FADT_LEN);
	return address_of(c, t);
}

static uint8_t *madt_override(uint8_t *p, uint8_t irq, uint32_t gsi,
			      uint16_t flags)
{
	p[0] = MADT_OVERRIDE;
	p[1] = 10;
	p[2] = 0;
	p[3] = irq;
	put32(p + 4, gsi);
	put16(p + 8, flags);
	return p + 10;
}

static uint8_t *madt_lapics(uint8_t *p, unsigned int cpus)
{
	unsigned int i;

	for (i = 0; i < cpus; i++) {
		p[0] = MADT_LAPIC;
		p[1] = 8;
		p[2] = i;
		p[3] = i;
		put32(p + 4, 1);
		p += 8;
	}
	return p;
}

static uint64_t build_madt(struct cursor *c, const struct acpi_config *cfg)
{
	size_t len = HEADER_LEN + 8 + cfg->cpus * 8 + 12 + 10 + 10 + 6;
	uint8_t *t = reserve(c, len, 16);
	uint8_t *p;

	if (!t)
		return 0;
	table_begin(t, "APIC", 4);
	put32(t + 36, cfg->lapic_base);
	put32(t + 40, MADT_PCAT);
	p = madt_lapics(t + 44, cfg->cpus);

	p[0] = MADT_IOAPIC;
	p[1] = 12;
	p[2] = cfg->cpus;	/* the first APIC id no CPU has */
	put32(p + 4, cfg->ioapic_base);
	put32(p + 8, 0);
	p += 12;

	/* the timer is on pin 2, because pin 0 takes the PICs' output */
	p = madt_override(p, 0, 2, INTI_CONFORMS);
	p = madt_override(p, cfg->sci_irq, cfg->sci_irq, INTI_LEVEL_HIGH);

	p[0] = MADT_LAPIC_NMI;
	p[1] = 6;
	p[2] = 0xff;		/* all processors */
	p[5] = 1;		/* LINT1 */
	table_end(t, len);
	return address_of(c, t);
}

static uint64_t build_xsdt(struct cursor *c, const uint64_t *tables,
			   unsigned int count)
{
	size_t len = HEADER_LEN + count * 8;
	uint8_t *t = reserve(c, len, 16);
	unsigned int i;

	if (!t)
		return 0;
	table_begin(t, "XSDT", 1);
	for (i = 0; i < count; i++)
		put64(t + HEADER_LEN + i * 8, tables[i]);
	table_end(t, len);
	return address_of(c, t);
}

static void build_rsdp(uint8_t *t, uint64_t xsdt)
{
	memcpy(t, "RSD PTR ", 8);
	memcpy(t + 9, OEM_ID, 6);
	t[15] = 2;
	put32(t + 20, RSDP_LEN);
	put64(t + 24, xsdt);
	t[8] = checksum(t, 20);
	t[32] = checksum(t, RSDP_LEN);
}

size_t acpi_build(const struct acpi_config *cfg, uint64_t base, void *buf,
		  size_t cap)
{
	struct cursor c = { .buf = buf, .base = base, .cap = cap };
	uint8_t *rsdp = reserve(&c, RSDP_LEN, 16);
	uint64_t facs = build_facs(&c);
	uint64_t dsdt = build_dsdt(&c);
	uint64_t tables[2];
	uint64_t xsdt;

	tables[0] = build_fadt(&c, cfg, dsdt, facs);
	tables[1] = build_madt(&c, cfg);
	xsdt = build_xsdt(&c, tables, 2);
	if (c.failed)
		return 0;
	build_rsdp(rsdp, xsdt);
	return c.len;
}
