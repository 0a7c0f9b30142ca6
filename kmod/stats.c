// SPDX-License-Identifier: GPL-2.0-only
/*
 * Binary statistics (KVM_GET_STATS_FD): one file per VM and per vCPU, laid out as
 *
 *	header | id string | descriptors | data
 *
 * with everything but the data constant. Every statistic is one u64.
 *
 * Counters are read without the vCPU's lock, so that reading never waits for
 * KVM_RUN: each value is whole, but they may be from different moments.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kmod.h"

#define STATS_NAME_SIZE 48

/* Everything a stats file can show, gathered at each read. */
struct vm_snapshot {
	struct vm_stats vm;
	struct shadow_stats shadow;
};

struct vcpu_snapshot {
	struct vcpu_stats vcpu;
	struct bt_stats bt;
};

struct stats_item {
	const char *name;
	u32 offset; /* in the snapshot, of a u64 */
	u32 flags; /* KVM_STATS_TYPE_*, UNIT_*, BASE_* */
};

#define COUNT (KVM_STATS_TYPE_CUMULATIVE | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10)
#define LEVEL (KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10)
#define PEAK (KVM_STATS_TYPE_PEAK | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10)
#define BYTES (KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_BYTES | KVM_STATS_BASE_POW2)
#define BYTES_SUM (KVM_STATS_TYPE_CUMULATIVE | KVM_STATS_UNIT_BYTES | KVM_STATS_BASE_POW2)

#define VM(f, fl) { #f, offsetof(struct vm_snapshot, vm.f), fl }
#define SHADOW(f, fl) { "shadow_" #f, offsetof(struct vm_snapshot, shadow.f), fl }
#define VCPU(f) { #f, offsetof(struct vcpu_snapshot, vcpu.f), COUNT }
#define BT(f, fl) { "bt_" #f, offsetof(struct vcpu_snapshot, bt.f), fl }
#define BT_EXIT(n, f) { "bt_exits_" n, offsetof(struct vcpu_snapshot, bt.exits[f]), COUNT }

static const struct stats_item vm_items[] = {
	VM(remote_tlb_flush, COUNT),
	VM(mmu_notifier_calls, COUNT),
	VM(ages, COUNT),
	VM(ages_used, COUNT),
	SHADOW(faults_hidden, COUNT),
	SHADOW(prefaults, COUNT),
	SHADOW(faults_guest, COUNT),
	SHADOW(faults_trace, COUNT),
	SHADOW(faults_mmio, COUNT),
	SHADOW(pages, LEVEL),
	SHADOW(pages_max, PEAK),
	SHADOW(pages_recycled, COUNT),
	SHADOW(zapped, COUNT),
	SHADOW(pt_writes, COUNT),
	SHADOW(eager_validates, COUNT),
	SHADOW(sptes_4k, LEVEL),
	SHADOW(sptes_2m, LEVEL),
};

static const struct stats_item vcpu_items[] = {
	VCPU(exits),
	VCPU(irq_exits),
	VCPU(nmi_exits),
	VCPU(callouts),
	VCPU(direct_exits),
	VCPU(indirect_exits),
	VCPU(pf_taken),
	VCPU(pf_fixed),
	VCPU(pf_guest),
	VCPU(pf_trace),
	VCPU(pf_mmio),
	VCPU(io_exits),
	VCPU(mmio_exits),
	VCPU(halt_exits),
	VCPU(signal_exits),
	VCPU(user_exits),
	VCPU(irq_injections),
	VCPU(irq_crossings),
	VCPU(nmi_injections),
	VCPU(exceptions),
	VCPU(syscalls),
	VCPU(sysrets),
	VCPU(irets),
	VCPU(cr3_writes),
	VCPU(invlpgs),
	VCPU(msrs),
	VCPU(cpuids),
	VCPU(hypercalls),
	VCPU(emulations),
	VCPU(bounces),
	VCPU(user_entries),
	VCPU(kernel_entries),
	BT(tus_translated, COUNT),
	BT(guest_insns, COUNT),
	BT(guest_bytes, BYTES_SUM),
	BT(host_bytes, BYTES_SUM),
	BT(lookups, COUNT),
	BT(lookup_hits, COUNT),
	BT(chains, COUNT),
	BT(ibl_fills, COUNT),
	BT(unchains, COUNT),
	BT(invalidated_tus, COUNT),
	BT(flushes, COUNT),
	BT(renewals, COUNT),
	BT(evictions, COUNT),
	BT(evicted_tus, COUNT),
	BT(spared, COUNT),
	BT(tus_live, LEVEL),
	BT(tc_used, BYTES),
	BT_EXIT("direct", BT_EXIT_DIRECT),
	BT_EXIT("indirect", BT_EXIT_INDIRECT),
	BT_EXIT("callout", BT_EXIT_CALLOUT),
	BT_EXIT("ud", BT_EXIT_UD),
	BT_EXIT("irq", BT_EXIT_IRQ),
	BT_EXIT("step", BT_EXIT_STEP),
	BT_EXIT("bounce", BT_EXIT_BOUNCE),
};

/* An open stats file; holds a reference on the VM. */
struct stats_file {
	struct popf_kvm *kvm;
	struct popf_kvcpu *k; /* NULL: the VM's */
	const struct stats_item *items;
	u32 count;
	char id[STATS_NAME_SIZE];
};

/* A descriptor ends with its name; some kernels' headers have that in the structure. */
#define STATS_DESC_SIZE (offsetof(struct kvm_stats_desc, name) + STATS_NAME_SIZE)

/* The start of the file; descriptors and data follow. */
struct stats_head {
	struct kvm_stats_header header;
	char id[STATS_NAME_SIZE];
};

static size_t stats_data_offset(u32 count)
{
	return sizeof(struct stats_head) + count * STATS_DESC_SIZE;
}

static size_t stats_size(u32 count)
{
	return stats_data_offset(count) + count * sizeof(u64);
}

static void stats_fill_head(const struct stats_file *s, void *image)
{
	struct stats_head *head = image;
	u32 i;

	BUILD_BUG_ON(sizeof(struct stats_head) % sizeof(u64));
	BUILD_BUG_ON(STATS_DESC_SIZE % sizeof(u64));

	head->header.name_size = STATS_NAME_SIZE;
	head->header.num_desc = s->count;
	head->header.id_offset = offsetof(struct stats_head, id);
	head->header.desc_offset = sizeof(*head);
	head->header.data_offset = stats_data_offset(s->count);
	memcpy(head->id, s->id, sizeof(head->id));
	for (i = 0; i < s->count; i++) {
		struct kvm_stats_desc *d = image + sizeof(*head) + i * STATS_DESC_SIZE;

		d->flags = s->items[i].flags;
		d->size = 1;
		d->offset = i * sizeof(u64);
		strscpy(d->name, s->items[i].name, STATS_NAME_SIZE);
	}
}

static void stats_fill_data(const struct stats_file *s, u64 *data)
{
	union {
		struct vm_snapshot vm;
		struct vcpu_snapshot vcpu;
	} snap = {};
	u32 i;

	if (s->k) {
		snap.vcpu.vcpu = s->k->v.stats;
		vcpu_bt_stats(&s->k->v, &snap.vcpu.bt);
	} else {
		snap.vm.vm = s->kvm->vm.stats;
		shadow_get_stats(s->kvm->vm.shadow, &snap.vm.shadow);
	}
	for (i = 0; i < s->count; i++)
		data[i] = *(u64 *)((char *)&snap + s->items[i].offset);
}

static ssize_t stats_read(struct file *file, char __user *buf, size_t size,
			  loff_t *pos)
{
	const struct stats_file *s = file->private_data;
	size_t total = stats_size(s->count);
	void *image;
	ssize_t ret;

	image = kvzalloc(total, GFP_KERNEL);
	if (!image)
		return -ENOMEM;
	stats_fill_head(s, image);
	stats_fill_data(s, image + stats_data_offset(s->count));
	ret = simple_read_from_buffer(buf, size, pos, image, total);
	kvfree(image);
	return ret;
}

static int stats_release(struct inode *inode, struct file *file)
{
	struct stats_file *s = file->private_data;

	popf_kvm_put(s->kvm);
	kfree(s);
	return 0;
}

static const struct file_operations stats_fops = {
	.owner = THIS_MODULE,
	.read = stats_read,
	.release = stats_release,
	.llseek = noop_llseek,
};

/* Takes over s, which has no reference on the VM yet. */
static int stats_open(const char *name, struct stats_file *s)
{
	struct file *file;
	int fd = get_unused_fd_flags(O_CLOEXEC);

	if (fd < 0)
		goto out_free;
	file = anon_inode_getfile(name, &stats_fops, s, O_RDONLY);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		fd = PTR_ERR(file);
		goto out_free;
	}
	popf_kvm_get(s->kvm);
	file->f_mode |= FMODE_PREAD;
	fd_install(fd, file);
	return fd;

out_free:
	kfree(s);
	return fd;
}

int popf_vm_stats_fd(struct popf_kvm *kvm)
{
	struct stats_file *s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);

	if (!s)
		return -ENOMEM;
	s->kvm = kvm;
	s->items = vm_items;
	s->count = ARRAY_SIZE(vm_items);
	snprintf(s->id, sizeof(s->id), "kvm-%d", kvm->pid);
	return stats_open("kvm-vm-stats", s);
}

int popf_vcpu_stats_fd(struct popf_kvcpu *k)
{
	struct stats_file *s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
	char name[32];

	if (!s)
		return -ENOMEM;
	s->kvm = k->kvm;
	s->k = k;
	s->items = vcpu_items;
	s->count = ARRAY_SIZE(vcpu_items);
	snprintf(s->id, sizeof(s->id), "kvm-%d/vcpu-%u", k->kvm->pid, k->v.id);
	snprintf(name, sizeof(name), "kvm-vcpu-stats:%u", k->v.id);
	return stats_open(name, s);
}
