// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the monitor keeps per VM, and set-up of the module's monitor half.
 */
#include <linux/module.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>
#include <asm/segment.h>

#include "monitor_host.h"

static uint shadow_kib = 24 << 10;
module_param(shadow_kib, uint, 0444);
MODULE_PARM_DESC(shadow_kib, "Bound on a VM's shadow page tables in KiB");

static bool prefault = true;
module_param(prefault, bool, 0444);
MODULE_PARM_DESC(prefault, "Map a hidden fault's neighbours too");

static bool large_pages = true;
module_param(large_pages, bool, 0444);
MODULE_PARM_DESC(large_pages, "Map 2 MiB at once where guest and host do");

static bool unsync = true;
module_param(unsync, bool, 0444);
MODULE_PARM_DESC(unsync, "See stores to page tables only when the guest flushes its TLB");

static uint audit;
module_param(audit, uint, 0444);
MODULE_PARM_DESC(audit, "Check shadow paging's structures after every so many changes (1: slow)");

static struct vcpu *first_vcpu(void *opaque)
{
	return vm_vcpu(opaque, 0);
}

static void vm_code_mapping(void *opaque, gfn_t gfn)
{
	struct vcpu *v = first_vcpu(opaque);

	if (v && v->world)
		code_mapping_changed(v, gfn);
}

static void vm_contents_gone(void *opaque)
{
	struct vcpu *v = first_vcpu(opaque);

	if (v && v->world)
		code_contents_gone(v);
}

static void vm_window_conflict(void *opaque, gva_t gva)
{
	struct vcpu *v = first_vcpu(opaque);

	if (!v || !v->world)
		return;
	v->world->conflict = true;
	v->world->conflict_gva = gva;
}

static void vm_kick(void *opaque)
{
	vm_kick_vcpus(opaque);
}

static const struct shadow_ops vm_shadow_ops = {
	.code_mapping = vm_code_mapping,
	.contents_gone = vm_contents_gone,
	.window_conflict = vm_window_conflict,
	.kick = vm_kick,
};

int vm_init(struct popf_vm *vm)
{
	struct shadow_config cfg = {
		.host_levels = pgtable_l5_enabled() ? 5 : 4,
		.host_nx = true,
		.max_pages = clamp(shadow_kib, 128u, 1u << 20) >> (PAGE_SHIFT - 10),
		.large_pages = large_pages,
		.prefault = prefault,
		.unsync = unsync,
		.audit = audit,
	};
	int ret;

	ret = region_vm_create(vm);
	if (ret)
		return ret;
	cfg.fixed.region_base = REGION_BASE;
	cfg.fixed.region_pte = region_top_entry(vm);
	cfg.fixed.window_base = WINDOW_BASE_DEFAULT;
	vm->shadow = shadow_create(vm, &cfg, &vm_shadow_ops, vm);
	if (!vm->shadow) {
		region_vm_destroy(vm);
		return -ENOMEM;
	}
	return 0;
}

void vm_fini(struct popf_vm *vm)
{
	if (vm->shadow)
		shadow_destroy(vm->shadow);
	vm->shadow = NULL;
	region_vm_destroy(vm);
}

void vm_zap_gfns(struct popf_vm *vm, gfn_t first, gfn_t count)
{
	shadow_zap_gfns(vm->shadow, first, count);
	/* Walks are kept for tables that are not shadowed, too. */
	vm_contents_gone(vm);
	vm_kick_vcpus(vm);
}

static const char *host_unfit(void)
{
	if (!boot_cpu_has(X86_FEATURE_NX))
		return "the CPU has no NX, which keeps guest kernels in the translation cache";
	if (!boot_cpu_has(X86_FEATURE_SYSCALL))
		return "the CPU has no SYSCALL";
	if (boot_cpu_has(X86_FEATURE_XENPV))
		return "the host kernel is a Xen PV guest, which does not own its page tables";
	return NULL;
}

int monitor_init(const char **reason)
{
	int ret;

	BUILD_BUG_ON(HOST_CS != __KERNEL_CS);
	BUILD_BUG_ON(HOST_SS != __KERNEL_DS);
	BUILD_BUG_ON(HOST_GDT_ENTRIES != GDT_ENTRIES);
	*reason = host_unfit();
	if (*reason)
		return -EOPNOTSUPP;
	ret = region_init(reason);
	if (ret)
		return ret;
	ret = hostmsr_init();
	if (ret) {
		*reason = "out of memory";
		region_exit();
	}
	return ret;
}

void monitor_exit(void)
{
	hostmsr_exit();
	region_exit();
}
