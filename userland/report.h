/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is printed when a guest dies: registers, code at RIP, last exits.
 */
#ifndef POPF_USERLAND_REPORT_H
#define POPF_USERLAND_REPORT_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>

#include "guest-mem.h"
#include "vcpu.h"

/* Interrupt controllers and the timer. */
void report_machine(FILE *out, const struct machine *m);

void report_vcpu(FILE *out, const struct vcpu *v, const struct guest_mem *mem);

/*
 * Guest-physical address of a guest-virtual one by the guest's own tables (4 or
 * 5 levels, or no paging). Reads memory only. False when it is not mapped.
 */
bool report_translate(const struct guest_mem *mem,
		      const struct kvm_sregs *sregs, uint64_t gva,
		      uint64_t *gpa);

#endif
