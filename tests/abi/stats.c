// SPDX-License-Identifier: GPL-2.0-only
/* The binary statistics files: every field a reader relies on. */
#include "abi.h"

struct stats {
	struct kvm_stats_header h;
	uint8_t *all;
	size_t size;
};

static struct kvm_stats_desc *desc_at(const struct stats *s, uint32_t i)
{
	return (void *)(s->all + s->h.desc_offset +
			i * (sizeof(struct kvm_stats_desc) + s->h.name_size));
}

static bool load(int fd, struct stats *s)
{
	size_t space = 1 << 16;
	ssize_t n;

	s->all = malloc(space);
	n = pread(fd, s->all, space, 0);
	if (n < (ssize_t)sizeof(s->h))
		return false;
	memcpy(&s->h, s->all, sizeof(s->h));
	s->size = n;
	return true;
}

static bool desc_ok(const struct stats *s, const struct kvm_stats_desc *d)
{
	uint32_t type = d->flags & KVM_STATS_TYPE_MASK;
	uint32_t unit = d->flags & KVM_STATS_UNIT_MASK;
	uint32_t base = d->flags & KVM_STATS_BASE_MASK;

	return type <= KVM_STATS_TYPE_MAX && unit <= KVM_STATS_UNIT_MAX &&
	       base <= KVM_STATS_BASE_MAX && d->size == 1 && !d->bucket_size &&
	       d->exponent == 0 && d->name[0] &&
	       strnlen(d->name, s->h.name_size) < s->h.name_size;
}

static void check_layout(const struct stats *s, const char *what)
{
	size_t head = sizeof(s->h), data;
	uint32_t i, good = 0;
	bool dense = true, unique = true;

	CHECK(s->h.flags == 0 && s->h.name_size == 48, "%s: the header is known", what);
	CHECK(s->h.id_offset >= head && !(s->h.id_offset % 8) &&
	      s->h.desc_offset >= s->h.id_offset + s->h.name_size &&
	      !(s->h.desc_offset % 8) && !(s->h.data_offset % 8),
	      "%s: the blocks are aligned and apart", what);
	data = s->h.desc_offset +
	       s->h.num_desc * (sizeof(struct kvm_stats_desc) + s->h.name_size);
	CHECK(s->h.data_offset >= data, "%s: data comes after descriptors", what);
	CHECK(s->size == s->h.data_offset + s->h.num_desc * 8ul,
	      "%s: the file is as long as they say", what);
	CHECK(!strncmp((char *)s->all + s->h.id_offset, "kvm-", 4),
	      "%s: the id is %s", what, (char *)s->all + s->h.id_offset);
	for (i = 0; i < s->h.num_desc; i++) {
		uint32_t j;

		good += desc_ok(s, desc_at(s, i));
		dense &= desc_at(s, i)->offset == i * 8;
		for (j = 0; j < i; j++)
			unique &= !!strcmp(desc_at(s, i)->name, desc_at(s, j)->name);
	}
	CHECK(good == s->h.num_desc && good, "%s: all %u descriptors are sound", what,
	      good);
	CHECK(dense, "%s: no data overlaps", what);
	CHECK(unique, "%s: no name occurs twice", what);
}

static bool has(const struct stats *s, const char *name)
{
	uint32_t i;

	for (i = 0; i < s->h.num_desc; i++) {
		if (!strcmp(desc_at(s, i)->name, name))
			return true;
	}
	return false;
}

static void check_file(int fd, struct stats *s, const char *what)
{
	/* Not constant, or the compiler objects to reading to it. */
	void *volatile nowhere = NULL;
	char c;

	CHECK(fd >= 0, "%s: there is a file", what);
	CHECK(write(fd, "x", 1) < 0, "%s: it cannot be written", what);
	if (!CHECK(load(fd, s), "%s: it can be read", what))
		exit(abi_finish());
	check_layout(s, what);
	CHECK(pread(fd, &c, 1, s->size) == 0, "%s: it ends where it ends", what);
	CHECK(pread(fd, &c, 1, 1ll << 40) == 0, "%s: and far beyond", what);
	CHECK(pread(fd, nowhere, 64, 0) < 0 && errno == EFAULT,
	      "%s: nowhere to read to is EFAULT", what);
}

int main(void)
{
	int dev = abi_open(), vm = abi_create_vm(dev);
	int vcpu = abi_create_vcpu(vm, 0);
	int vm_stats = ioctl(vm, KVM_GET_STATS_FD, 0);
	int vcpu_stats = ioctl(vcpu, KVM_GET_STATS_FD, 0);
	struct stats s;
	int copy;

	check_file(vm_stats, &s, "VM");
	CHECK(has(&s, "remote_tlb_flush"), "VM: remote_tlb_flush is counted");
	check_file(vcpu_stats, &s, "vCPU");
	CHECK(has(&s, "exits") && has(&s, "io_exits") && has(&s, "halt_exits"),
	      "vCPU: exits are counted");
	copy = dup(vcpu_stats);
	close(vcpu_stats);
	close(vcpu);
	close(vm);
	close(dev);
	CHECK(load(copy, &s), "a copy can be read when all else is closed");
	return abi_finish();
}
