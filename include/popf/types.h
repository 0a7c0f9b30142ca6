/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Address kinds, one word for one thing.
 *
 * gva/gpa/gfn belong to the guest, hva/hpa to the host. gpc is a guest program
 * counter (a gva), tpc a program counter inside the translation cache (a gva
 * too, because translated code runs in the guest's address space).
 */
#ifndef POPF_TYPES_H
#define POPF_TYPES_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/types.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
#endif

#define POPF_PAGE_SHIFT 12
#define POPF_PAGE_SIZE 4096ul
#define POPF_PAGE_MASK (~(POPF_PAGE_SIZE - 1))

/* Never include <linux/kvm_types.h> beside this: it has its own of these. */
typedef u64 gva_t;
typedef u64 gpa_t;
typedef u64 gfn_t;
typedef u64 hva_t;
typedef u64 hpa_t;
typedef u64 tpc_t;

#define GFN_NONE (~0ull)

static inline gfn_t gpa_to_gfn(gpa_t gpa)
{
	return gpa >> POPF_PAGE_SHIFT;
}

static inline gpa_t gfn_to_gpa(gfn_t gfn)
{
	return gfn << POPF_PAGE_SHIFT;
}

#endif
