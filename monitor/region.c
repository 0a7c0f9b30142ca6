// SPDX-License-Identifier: GPL-2.0-only
/*
 * The switch region: supervisor pages at the same address in the host's page table
 * and in every shadow root.
 *
 * The host side is planted: one top-level entry, in a slot that Linux leaves
 * unused, of the page table of each process that has a VM (4 levels), or of the
 * table that all processes share (5 levels). It leads to one level-3 table for
 * all VMs; VM n owns entry n, 1 GiB of addresses. The guest side is a level-3
 * table per VM that holds only that VM's entry, so no VM maps another's state.
 *
 * Linux leaves sixteen slots to hypervisors. A VM whose guest wants the slot that
 * its region is in moves to another one: the same tables, planted there too.
 *
 * Invariants:
 *  1. A planted entry is removed before the level-3 table is freed, and before the
 *     page table that holds it can be.
 *  2. Addresses are reused only after every CPU has flushed its TLB, global
 *     entries and all PCIDs included.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/smp.h>
#include <asm/pgtable.h>
#include <asm/tlbflush.h>

#include "monitor_host.h"

#define ENTRY_P 0x1ull
#define ENTRY_RW 0x2ull
#define ENTRY_A 0x20ull
#define ENTRY_D 0x40ull
#define ENTRY_NX (1ull << 63)
#define ENTRY_TABLE (ENTRY_P | ENTRY_RW | ENTRY_A)

#define REGION_VMS 512

struct region {
	u32 index;
	u32 slot; /* 0..REGION_SLOTS-1: which top-level entry */
	struct mm_struct *mm;
	struct list_head link;
	u64 *l3; /* guest side */
	u64 *l2; /* both sides */
	u64 *l1;
};

static DEFINE_MUTEX(region_lock);
static LIST_HEAD(region_list);
static u64 *host_l3;
static u8 *code_pages;
static u64 *shared_entry[REGION_SLOTS]; /* 5 levels: the planted entries */

static void flush_tlb_one_cpu(void *unused)
{
	__flush_tlb_all();
}

gva_t region_slot_base(u32 slot)
{
	return REGION_BASE + ((u64)slot << REGION_SLOT_SHIFT);
}

/* The entry for a region slot in mm's table at level 4. */
static u64 *plant_slot(struct mm_struct *mm, u32 slot)
{
	gva_t base = region_slot_base(slot);
	pgd_t *pgd = pgd_offset_pgd(mm->pgd, base);

	if (pgtable_l5_enabled() && pgd_none(*pgd))
		return NULL;
	return (u64 *)p4d_offset(pgd, base);
}

static u64 planted_value(void)
{
	return __pa(host_l3) | ENTRY_TABLE;
}

static bool region_mm_in_use(const struct mm_struct *mm)
{
	struct region *r;

	list_for_each_entry(r, &region_list, link) {
		if (r->mm == mm)
			return true;
	}
	return false;
}

static int region_plant(struct mm_struct *mm, u32 slot)
{
	u64 *entry = plant_slot(mm, slot);

	if (!entry)
		return -EOPNOTSUPP;
	if (*entry == planted_value())
		return 0;
	if (*entry) {
		pr_warn_once("popf: something else uses the address range at %llx\n",
			     region_slot_base(slot));
		return -EBUSY;
	}
	WRITE_ONCE(*entry, planted_value());
	if (pgtable_l5_enabled())
		shared_entry[slot] = entry;
	return 0;
}

static void region_unplant(struct mm_struct *mm)
{
	u32 slot;
	u64 *entry;

	if (pgtable_l5_enabled())
		return;
	for (slot = 0; slot < REGION_SLOTS; slot++) {
		entry = plant_slot(mm, slot);
		if (*entry == planted_value())
			WRITE_ONCE(*entry, 0);
	}
}

int region_move(struct popf_vm *vm, u32 slot)
{
	struct region *r = vm->region;
	int ret;

	mutex_lock(&region_lock);
	ret = region_plant(r->mm, slot);
	if (!ret)
		r->slot = slot;
	mutex_unlock(&region_lock);
	return ret;
}

gva_t region_base(struct popf_vm *vm)
{
	struct region *r = vm->region;

	return region_slot_base(r->slot);
}

u64 region_top_entry(struct popf_vm *vm)
{
	struct region *r = vm->region;

	return __pa(r->l3) | ENTRY_TABLE;
}

static void region_free(struct region *r)
{
	env_page_free(r->l1);
	env_page_free(r->l2);
	env_page_free(r->l3);
	kfree(r);
}

static struct region *region_alloc(void)
{
	struct region *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return NULL;
	r->l1 = env_page_alloc();
	r->l2 = env_page_alloc();
	r->l3 = env_page_alloc();
	if (r->l1 && r->l2 && r->l3)
		return r;
	if (r->l1)
		env_page_free(r->l1);
	if (r->l2)
		env_page_free(r->l2);
	if (r->l3)
		env_page_free(r->l3);
	kfree(r);
	return NULL;
}

static int region_free_index(void)
{
	u32 i;

	for (i = 0; i < REGION_VMS; i++) {
		if (!host_l3[i])
			return i;
	}
	return -ENOSPC;
}

int region_vm_create(struct popf_vm *vm)
{
	struct region *r = region_alloc();
	int ret;

	if (!r)
		return -ENOMEM;
	mutex_lock(&region_lock);
	ret = region_free_index();
	if (ret < 0)
		goto out_unlock;
	r->index = ret;
	ret = region_plant(current->mm, 0);
	if (ret)
		goto out_unlock;
	r->mm = current->mm;
	mmgrab(r->mm);
	r->l2[0] = __pa(r->l1) | ENTRY_TABLE;
	r->l3[r->index] = __pa(r->l2) | ENTRY_TABLE;
	WRITE_ONCE(host_l3[r->index], r->l3[r->index]);
	list_add(&r->link, &region_list);
	vm->region = r;
	mutex_unlock(&region_lock);
	return 0;

out_unlock:
	mutex_unlock(&region_lock);
	region_free(r);
	return ret;
}

void region_vm_destroy(struct popf_vm *vm)
{
	struct region *r = vm->region;

	if (!r)
		return;
	mutex_lock(&region_lock);
	list_del(&r->link);
	if (!region_mm_in_use(r->mm))
		region_unplant(r->mm);
	WRITE_ONCE(host_l3[r->index], 0);
	on_each_cpu(flush_tlb_one_cpu, NULL, 1);
	mutex_unlock(&region_lock);
	mmdrop(r->mm);
	region_free(r);
	vm->region = NULL;
}

/* Where a vCPU's part is in the VM's. */
static u32 vcpu_offset(u32 id)
{
	BUILD_BUG_ON(REGION_VCPU_FIRST + POPF_MAX_VCPUS * REGION_VCPU_SIZE >
		     PAGE_SIZE / 8 * PAGE_SIZE);
	return REGION_VCPU_FIRST + id * REGION_VCPU_SIZE;
}

gva_t region_vcpu_base(struct popf_vm *vm, u32 id)
{
	struct region *r = vm->region;

	return region_slot_base(r->slot) +
	       ((u64)r->index << REGION_VM_SHIFT) + vcpu_offset(id);
}

void region_map(struct popf_vm *vm, u32 id, u32 index, hpa_t hpa, bool exec,
		bool write)
{
	struct region *r = vm->region;
	u64 entry = hpa | ENTRY_P | ENTRY_A;

	if (write)
		entry |= ENTRY_RW | ENTRY_D;
	if (!exec)
		entry |= ENTRY_NX;
	WRITE_ONCE(r->l1[(vcpu_offset(id) >> PAGE_SHIFT) + index], entry);
}

void region_map_code(struct popf_vm *vm, u32 id)
{
	u32 i;

	for (i = 0; i < REGION_CODE_SIZE >> PAGE_SHIFT; i++)
		region_map(vm, id, i, __pa(code_pages + i * PAGE_SIZE), true,
			   false);
}

void region_unmap(struct popf_vm *vm, u32 id)
{
	struct region *r = vm->region;
	u32 i;

	for (i = 0; i < REGION_PAGES; i++)
		WRITE_ONCE(r->l1[(vcpu_offset(id) >> PAGE_SHIFT) + i], 0);
	on_each_cpu(flush_tlb_one_cpu, NULL, 1);
}

int region_init(const char **reason)
{
	size_t size = popf_switch_end - popf_switch_start;

	if (size > REGION_CODE_SIZE) {
		*reason = "the switch code has outgrown its pages";
		return -EINVAL;
	}
	code_pages = (u8 *)__get_free_pages(GFP_KERNEL | __GFP_ZERO,
					    get_order(REGION_CODE_SIZE));
	host_l3 = env_page_alloc();
	if (!code_pages || !host_l3) {
		*reason = "out of memory";
		region_exit();
		return -ENOMEM;
	}
	memcpy(code_pages, popf_switch_start, size);
	return 0;
}

void region_exit(void)
{
	u32 slot;

	for (slot = 0; slot < REGION_SLOTS; slot++) {
		if (shared_entry[slot])
			WRITE_ONCE(*shared_entry[slot], 0);
		shared_entry[slot] = NULL;
	}
	on_each_cpu(flush_tlb_one_cpu, NULL, 1);
	if (code_pages)
		free_pages((unsigned long)code_pages,
			   get_order(REGION_CODE_SIZE));
	if (host_l3)
		env_page_free(host_l3);
	code_pages = NULL;
	host_l3 = NULL;
}
