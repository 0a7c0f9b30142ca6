/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * <linux/kvm.h>. Its in-kernel copy, in newer kernels, brings <linux/kvm_types.h>
 * along, whose address types must not meet those of types.h, and renames fields of
 * kvm_run that userland may change at any time.
 */
#ifndef POPF_KVM_ABI_H
#define POPF_KVM_ABI_H

#define gva_t host_kvm_gva_t
#define hva_t host_kvm_hva_t
#define immediate_exit__unsafe immediate_exit
#include <linux/kvm.h>
#undef gva_t
#undef hva_t
#undef immediate_exit__unsafe

#endif
