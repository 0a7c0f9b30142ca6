// SPDX-License-Identifier: GPL-2.0-only
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

int error_caller(struct error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err->code = POPF_EXIT_CALLER;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return -1;
}

int error_failure(struct error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err->code = POPF_EXIT_FAILURE;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return -1;
}
