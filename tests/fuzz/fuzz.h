/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fuzz targets share. A target is one file fuzz_<name>.c with libFuzzer's
 * entry point; libFuzzer, AFL++ (replay.c built by its compiler) and the replay of
 * the corpus (replay.c built by gcc) all call that.
 *
 * An input that shows a bug ends the process: by a sanitizer, or by fuzz_fail().
 * Every input must give the same result every time it is run.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Print the sentence and abort. */
void fuzz_fail(const char *fmt, ...)
	__attribute__((format(printf, 1, 2), noreturn));

#define FUZZ_CHECK(cond, ...)                                                \
	do {                                                                 \
		if (!(cond))                                                 \
			fuzz_fail(__VA_ARGS__);                              \
	} while (0)

#endif
