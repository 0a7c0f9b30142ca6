// SPDX-License-Identifier: GPL-2.0-only
/*
 * GSI routes and MSIs, for a split irqchip: local APICs here, everything that
 * raises interrupts in userland.
 *
 * A route of a GSI below ioapic_pins is what userland's IOAPIC says about that
 * pin. Level-triggered ones need their EOI reported: their vectors make the EOI
 * bitmap that the local APIC consults.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kmod.h"

#define MSI_DATA_LEVEL 0x8000u

static int route_check(const struct kvm_irq_routing_entry *e)
{
	if (e->gsi >= POPF_MAX_IRQ_ROUTES || e->type != KVM_IRQ_ROUTING_MSI)
		return -EINVAL;
	return e->flags ? -EINVAL : 0;
}

static struct popf_route *routes_make(const struct kvm_irq_routing_entry *entries,
				      u32 n)
{
	struct popf_route *routes = kvcalloc(n + 1, sizeof(*routes), GFP_KERNEL_ACCOUNT);
	u32 i;

	if (!routes)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < n; i++) {
		const struct kvm_irq_routing_entry *e = &entries[i];

		if (route_check(e)) {
			kvfree(routes);
			return ERR_PTR(-EINVAL);
		}
		routes[i].gsi = e->gsi;
		routes[i].addr = (u64)e->u.msi.address_hi << 32 | e->u.msi.address_lo;
		routes[i].data = e->u.msi.data;
	}
	return routes;
}

static void eoi_add(const struct popf_kvm *kvm, u64 bitmap[4])
{
	u32 i;

	for (i = 0; i < kvm->route_count; i++) {
		const struct popf_route *r = &kvm->routes[i];

		if (r->gsi < kvm->vm.ioapic_pins && (r->data & MSI_DATA_LEVEL))
			bitmap[(r->data & 0xff) / 64] |= 1ull << (r->data % 64);
	}
}

void popf_irq_new_vcpu(struct vcpu *v)
{
	if (v->lapic)
		lapic_set_eoi_exits(v->lapic, to_kvm(v->vm)->eoi_bitmap);
}

/*
 * Take over the new routes. Vectors of the old ones stay in the bitmap once
 * more: their EOI may be under way, and an EOI too many does no harm.
 */
static void routes_install(struct popf_kvm *kvm, struct popf_route *routes, u32 n)
{
	struct vcpu *v;
	u32 i;

	memset(kvm->eoi_bitmap, 0, sizeof(kvm->eoi_bitmap));
	eoi_add(kvm, kvm->eoi_bitmap);
	kvfree(kvm->routes);
	kvm->routes = routes;
	kvm->route_count = n;
	eoi_add(kvm, kvm->eoi_bitmap);
	/*
	 * The vCPU may be running. A vector that was in the bitmap and stays in
	 * it is there throughout, whatever the order of the stores.
	 */
	for (i = 0; (v = vm_vcpu(&kvm->vm, i)); i++)
		popf_irq_new_vcpu(v);
}

long popf_set_gsi_routing(struct popf_kvm *kvm, void __user *arg)
{
	struct kvm_irq_routing __user *user = arg;
	struct kvm_irq_routing_entry *entries;
	struct popf_route *routes;
	struct kvm_irq_routing head;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (!kvm->vm.split_irqchip || head.nr > POPF_MAX_IRQ_ROUTES || head.flags)
		return -EINVAL;
	entries = vmemdup_user(user->entries, head.nr * sizeof(*entries));
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	routes = routes_make(entries, head.nr);
	kvfree(entries);
	if (IS_ERR(routes))
		return PTR_ERR(routes);
	mutex_lock(&kvm->lock);
	routes_install(kvm, routes, head.nr);
	mutex_unlock(&kvm->lock);
	return 0;
}

long popf_signal_msi(struct popf_kvm *kvm, const struct kvm_msi *msi)
{
	if (!kvm->vm.split_irqchip || msi->flags)
		return -EINVAL;
	return vm_deliver_msi(&kvm->vm,
			      (u64)msi->address_hi << 32 | msi->address_lo,
			      msi->data);
}

void popf_irq_fini(struct popf_kvm *kvm)
{
	kvfree(kvm->routes);
}
