/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the host kernel must be and have, and the differences between the
 * versions popf builds for (Debian's 6.1 and 6.12). Nothing else asks for
 * LINUX_VERSION_CODE.
 */
#ifndef POPF_COMPAT_H
#define POPF_COMPAT_H

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

#endif
