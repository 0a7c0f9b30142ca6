/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the host kernel must be and have, and the differences between the
 * versions popf builds for (Debian's 6.1 and 6.12). Nothing else asks for
 * LINUX_VERSION_CODE.
 */
#ifndef POPF_COMPAT_H
#define POPF_COMPAT_H

#include <linux/smp.h>
#include <linux/version.h>

#include <asm/fpu/api.h>
#include <asm/fpu/types.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "popf needs Linux 6.1 or newer"
#endif

#ifndef CONFIG_MMU_NOTIFIER
#error "popf needs a kernel with CONFIG_MMU_NOTIFIER"
#endif

#if !IS_ENABLED(CONFIG_KVM)
#error "popf needs interfaces that exist only with CONFIG_KVM=m or y"
#endif

/* Have a CPU take an interrupt that does nothing but leave what it runs. */
static inline void compat_send_reschedule(int cpu)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	arch_smp_send_reschedule(cpu);
#else
	smp_send_reschedule(cpu);
#endif
}

/* The host's NMI handler as one that may be called. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#define compat_asm_exc_nmi asm_exc_nmi_kvm_vmx
#else
#define compat_asm_exc_nmi asm_exc_nmi_noist
#endif

#endif
