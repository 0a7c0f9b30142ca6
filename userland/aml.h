/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A writer for the little AML the DSDT needs. Errors stick: after an overflow
 * nothing more is written and aml_ok() is false.
 */
#ifndef POPF_USERLAND_AML_H
#define POPF_USERLAND_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *buf;
	size_t cap;
	size_t len;
	bool failed;
};

void aml_init(struct aml *a, void *buf, size_t cap);
bool aml_ok(const struct aml *a);

/* Packages with a length: begin returns a mark for aml_end(). */
size_t aml_scope(struct aml *a, const char *name);
size_t aml_device(struct aml *a, const char *name);
void aml_end(struct aml *a, size_t mark);

/* Name (name, value); name: up to four characters, optionally behind "\\" */
void aml_name_int(struct aml *a, const char *name, uint32_t val);
void aml_name_eisaid(struct aml *a, const char *name, const char *id);
void aml_name_string(struct aml *a, const char *name, const char *s);
void aml_name_buffer(struct aml *a, const char *name, const void *data,
		     size_t len);
/* Package of byte constants */
void aml_name_package(struct aml *a, const char *name, const uint8_t *vals,
		      unsigned int count);

/* Resource descriptors, collected in a buffer of their own for _CRS. */
#define AML_RES_MAX	64

struct aml_res {
	uint8_t buf[AML_RES_MAX];
	size_t len;
};

void aml_res_io(struct aml_res *r, uint16_t base, uint8_t len);
void aml_res_irq(struct aml_res *r, unsigned int irq);
/* Adds the end tag and writes Name (_CRS, ...). */
void aml_crs(struct aml *a, struct aml_res *r);

#endif
