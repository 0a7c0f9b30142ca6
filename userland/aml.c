// SPDX-License-Identifier: GPL-2.0-only
/*
 * AML writer. Package lengths always take two bytes, which the grammar allows
 * for every length up to 4095 and which can be filled in afterwards.
 */
#include "aml.h"

#include <string.h>

#define OP_NAME		0x08
#define OP_BYTE		0x0a
#define OP_WORD		0x0b
#define OP_DWORD	0x0c
#define OP_STRING	0x0d
#define OP_SCOPE	0x10
#define OP_BUFFER	0x11
#define OP_PACKAGE	0x12
#define OP_EXT		0x5b
#define OP_EXT_DEVICE	0x82

#define PKG_MAX		0xfff

#define RES_IO		0x47	/* small item, 7 bytes */
#define RES_IO_DECODE16	0x01
#define RES_IRQ		0x22	/* small item, 2 bytes */
#define RES_END		0x79

void aml_init(struct aml *a, void *buf, size_t cap)
{
	a->buf = buf;
	a->cap = cap;
	a->len = 0;
	a->failed = false;
}

bool aml_ok(const struct aml *a)
{
	return !a->failed;
}

static void put(struct aml *a, const void *data, size_t len)
{
	if (a->failed || len > a->cap - a->len) {
		a->failed = true;
		return;
	}
	memcpy(a->buf + a->len, data, len);
	a->len += len;
}

static void put8(struct aml *a, uint8_t val)
{
	put(a, &val, 1);
}

static void put_name(struct aml *a, const char *name)
{
	char seg[4] = { '_', '_', '_', '_' };

	if (*name == '\\')
		put8(a, *name++);
	if (!*name || strlen(name) > 4) {
		a->failed = true;
		return;
	}
	memcpy(seg, name, strlen(name));
	put(a, seg, sizeof(seg));
}

static void put_int(struct aml *a, uint32_t val)
{
	if (val <= 1) {
		put8(a, val);
	} else if (val <= 0xff) {
		put8(a, OP_BYTE);
		put(a, &val, 1);
	} else if (val <= 0xffff) {
		put8(a, OP_WORD);
		put(a, &val, 2);
	} else {
		put8(a, OP_DWORD);
		put(a, &val, 4);
	}
}

static size_t begin(struct aml *a)
{
	size_t mark = a->len;

	put(a, "\0\0", 2);
	return mark;
}

void aml_end(struct aml *a, size_t mark)
{
	size_t len = a->len - mark;

	if (a->failed || len > PKG_MAX) {
		a->failed = true;
		return;
	}
	a->buf[mark] = 1 << 6 | (len & 0x0f);
	a->buf[mark + 1] = len >> 4;
}

size_t aml_scope(struct aml *a, const char *name)
{
	size_t mark;

	put8(a, OP_SCOPE);
	mark = begin(a);
	put_name(a, name);
	return mark;
}

size_t aml_device(struct aml *a, const char *name)
{
	size_t mark;

	put8(a, OP_EXT);
	put8(a, OP_EXT_DEVICE);
	mark = begin(a);
	put_name(a, name);
	return mark;
}

void aml_name_int(struct aml *a, const char *name, uint32_t val)
{
	put8(a, OP_NAME);
	put_name(a, name);
	put_int(a, val);
}

static unsigned int hex_digit(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

/* id: three capitals and four hexadecimal digits in capitals, "PNP0501" */
void aml_name_eisaid(struct aml *a, const char *name, const char *id)
{
	uint8_t val[4];

	if (strlen(id) != 7) {
		a->failed = true;
		return;
	}
	val[0] = (id[0] - '@') << 2 | (id[1] - '@') >> 3;
	val[1] = (id[1] - '@') << 5 | (id[2] - '@');
	val[2] = hex_digit(id[3]) << 4 | hex_digit(id[4]);
	val[3] = hex_digit(id[5]) << 4 | hex_digit(id[6]);
	put8(a, OP_NAME);
	put_name(a, name);
	put8(a, OP_DWORD);
	put(a, val, sizeof(val));
}

void aml_name_string(struct aml *a, const char *name, const char *s)
{
	put8(a, OP_NAME);
	put_name(a, name);
	put8(a, OP_STRING);
	put(a, s, strlen(s) + 1);
}

void aml_name_buffer(struct aml *a, const char *name, const void *data,
		     size_t len)
{
	size_t mark;

	put8(a, OP_NAME);
	put_name(a, name);
	put8(a, OP_BUFFER);
	mark = begin(a);
	put_int(a, len);
	put(a, data, len);
	aml_end(a, mark);
}

void aml_name_package(struct aml *a, const char *name, const uint8_t *vals,
		      unsigned int count)
{
	unsigned int i;
	size_t mark;

	put8(a, OP_NAME);
	put_name(a, name);
	put8(a, OP_PACKAGE);
	mark = begin(a);
	put8(a, count);
	for (i = 0; i < count; i++)
		put_int(a, vals[i]);
	aml_end(a, mark);
}

static void res_put(struct aml_res *r, const uint8_t *data, size_t len)
{
	/* the two bytes of the end tag are kept free */
	if (r->len + len + 2 > AML_RES_MAX)
		return;
	memcpy(r->buf + r->len, data, len);
	r->len += len;
}

void aml_res_io(struct aml_res *r, uint16_t base, uint8_t len)
{
	const uint8_t item[] = {
		RES_IO, RES_IO_DECODE16,
		base & 0xff, base >> 8,	/* minimum */
		base & 0xff, base >> 8,	/* maximum */
		1, len,
	};

	res_put(r, item, sizeof(item));
}

void aml_res_irq(struct aml_res *r, unsigned int irq)
{
	const uint8_t item[] = {
		RES_IRQ, (1 << irq) & 0xff, (1 << irq) >> 8,
	};

	res_put(r, item, sizeof(item));
}

void aml_crs(struct aml *a, struct aml_res *r)
{
	/* a zero checksum means "not computed" */
	r->buf[r->len++] = RES_END;
	r->buf[r->len++] = 0;
	aml_name_buffer(a, "_CRS", r->buf, r->len);
}
