/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What Zydis needs of a C library when it is built into the module.
 *
 * Zycore's own fallbacks (ZYAN_NO_LIBC alone) are byte loops: clearing one
 * decoded instruction then costs more than decoding it. ZYAN_CUSTOM_LIBC makes
 * Zycore use whatever was included before, which is this header: the Makefile
 * and Kbuild put it in front of every C file of the module.
 */
#ifndef POPF_ZYDIS_LIBC_H
#define POPF_ZYDIS_LIBC_H

#include <linux/bug.h>
#include <linux/string.h>
#include <Zycore/Defines.h>

typedef __builtin_va_list ZyanVAList;

#define ZYAN_MEMCMP	memcmp
#define ZYAN_MEMCPY	memcpy
#define ZYAN_MEMMOVE	memmove
#define ZYAN_MEMSET	memset
#define ZYAN_STRLEN	strlen

/*
 * Zycore's version is an endless loop. No input reaches it; if memory
 * corruption does, an oops that names the place beats a hung CPU.
 */
#undef ZYAN_UNREACHABLE
#define ZYAN_UNREACHABLE BUG()

#endif
