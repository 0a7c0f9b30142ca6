// SPDX-License-Identifier: GPL-2.0-only
/*
 * Thin wrappers around the ioctls, and the order they are called in: memory
 * and the split irqchip before the vCPU, CPUID before registers.
 */
#include "kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define API_VERSION	12
#define MAX_CPUID	128

/* Addresses VT-x needs in the guest; popf takes them and does nothing. */
#define TSS_ADDR	0xfffbd000UL
#define IDENTITY_ADDR	0xfffbc000ULL

static int xioctl(int fd, unsigned long request, void *arg)
{
	int r;

	do {
		r = ioctl(fd, request, arg);
	} while (r < 0 && errno == EINTR && request != KVM_RUN);
	return r < 0 ? -errno : r;
}

static int check_extension(const struct kvm_vm *vm, long cap)
{
	int fd = vm->vm_fd >= 0 ? vm->vm_fd : vm->dev_fd;
	int r = ioctl(fd, KVM_CHECK_EXTENSION, cap);

	return r < 0 ? 0 : r;
}

/* --- the VM -------------------------------------------------------------- */

static int open_device(struct kvm_vm *vm, struct error *err)
{
	vm->dev_fd = open(vm->device, O_RDWR | O_CLOEXEC);
	if (vm->dev_fd >= 0)
		return 0;
	switch (errno) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return error_caller(err, "there is no %s: load the module with 'insmod popf.ko', or run 'popf doctor' to see what is missing",
				    vm->device);
	case EACCES:
	case EPERM:
		return error_caller(err, "no permission to open %s: run as root or join the group that owns it",
				    vm->device);
	default:
		return error_caller(err, "cannot open %s (%s): run 'popf doctor'",
				    vm->device, strerror(errno));
	}
}

static int check_version(struct kvm_vm *vm, struct error *err)
{
	int version = ioctl(vm->dev_fd, KVM_GET_API_VERSION, 0);

	if (version < 0)
		return error_caller(err, "%s is not a virtual machine device: give --device the module's node",
				    vm->device);
	if (version != API_VERSION)
		return error_failure(err, "%s speaks version %d of the ABI, %d is needed: load the module that belongs to this popf",
				     vm->device, version, API_VERSION);
	return 0;
}

/* The capabilities without which nothing works, with their names. */
static int check_capabilities(struct kvm_vm *vm, struct error *err)
{
	static const struct {
		long cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
		{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
		{ KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP" },
		{ KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI" },
		{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (!check_extension(vm, needed[i].cap))
			return error_failure(err, "%s lacks %s: load the module that belongs to this popf",
					     vm->device, needed[i].name);
	}
	return 0;
}

static int create_vm(struct kvm_vm *vm, struct error *err)
{
	int fd;

	do {
		fd = ioctl(vm->dev_fd, KVM_CREATE_VM, 0);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return error_failure(err, "%s refuses to create a VM: %s",
				     vm->device, strerror(errno));
	vm->vm_fd = fd;
	return 0;
}

static int create_irqchip(struct kvm_vm *vm, struct error *err)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_SPLIT_IRQCHIP,
		.args = { KVM_IOAPIC_ROUTES },
	};
	uint64_t identity = IDENTITY_ADDR;
	int r;

	if (check_extension(vm, KVM_CAP_SET_IDENTITY_MAP_ADDR))
		xioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (check_extension(vm, KVM_CAP_SET_TSS_ADDR))
		ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDR);
	r = xioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap);
	if (r < 0)
		return error_failure(err, "%s refuses the split irqchip: %s",
				     vm->device, strerror(-r));
	return 0;
}

int kvm_vm_create(struct kvm_vm *vm, const char *device, struct error *err)
{
	int size;

	vm->device = device;
	vm->dev_fd = -1;
	vm->vm_fd = -1;
	if (open_device(vm, err) < 0)
		return -1;
	if (check_version(vm, err) < 0 || check_capabilities(vm, err) < 0 ||
	    create_vm(vm, err) < 0 || create_irqchip(vm, err) < 0)
		goto out_destroy;
	size = ioctl(vm->dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run)) {
		error_failure(err, "%s gives no usable vCPU mapping size",
			      device);
		goto out_destroy;
	}
	vm->run_size = size;
	return 0;

out_destroy:
	kvm_vm_destroy(vm);
	return -1;
}

void kvm_vm_destroy(struct kvm_vm *vm)
{
	if (vm->vm_fd >= 0)
		close(vm->vm_fd);
	if (vm->dev_fd >= 0)
		close(vm->dev_fd);
	vm->vm_fd = -1;
	vm->dev_fd = -1;
}

static int set_region(struct kvm_vm *vm, uint32_t slot, uint64_t gpa,
		      uint8_t *host, uint64_t size, struct error *err)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};
	int r;

	if (!size)
		return 0;
	r = xioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
	if (r < 0)
		return error_failure(err, "cannot give the VM %llu MiB of memory: %s",
				     (unsigned long long)size >> 20,
				     strerror(-r));
	return 0;
}

int kvm_vm_set_memory(struct kvm_vm *vm, const struct guest_mem *mem,
		      struct error *err)
{
	if (set_region(vm, 0, 0, mem->host, mem->low, err) < 0)
		return -1;
	return set_region(vm, 1, GUEST_HIGH_BASE, mem->host + mem->low,
			  mem->high, err);
}

static int kvm_signal_msi(void *backend, uint64_t addr, uint32_t data)
{
	struct kvm_vm *vm = backend;
	struct kvm_msi msi = {
		.address_lo = addr,
		.address_hi = addr >> 32,
		.data = data,
	};

	return xioctl(vm->vm_fd, KVM_SIGNAL_MSI, &msi);
}

static int kvm_set_routes(void *backend, const struct kvm_irq_routing_msi *msi,
			  unsigned int count)
{
	struct kvm_vm *vm = backend;
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[KVM_IOAPIC_ROUTES];
	} table = { .head.nr = 0 };
	unsigned int i;

	for (i = 0; i < count && i < KVM_IOAPIC_ROUTES; i++) {
		table.entries[i].gsi = i;
		table.entries[i].type = KVM_IRQ_ROUTING_MSI;
		table.entries[i].u.msi = msi[i];
	}
	table.head.nr = i;
	return xioctl(vm->vm_fd, KVM_SET_GSI_ROUTING, &table);
}

const struct vm_ops kvm_vm_ops = {
	.signal_msi = kvm_signal_msi,
	.set_routes = kvm_set_routes,
};

/* --- the vCPU ------------------------------------------------------------ */

int kvm_vcpu_create(struct kvm_vm *vm, struct kvm_vcpu *vcpu, unsigned int id,
		    struct error *err)
{
	vcpu->run_size = vm->run_size;
	vcpu->fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, (unsigned long)id);
	if (vcpu->fd < 0)
		return error_failure(err, "%s refuses to create vCPU %u: %s",
				     vm->device, id, strerror(errno));
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE,
			 MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		error_failure(err, "cannot map the state of vCPU %u: %s", id,
			      strerror(errno));
		close(vcpu->fd);
		vcpu->run = NULL;
		return -1;
	}
	return 0;
}

void kvm_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	if (!vcpu->run)
		return;
	munmap(vcpu->run, vcpu->run_size);
	close(vcpu->fd);
	vcpu->run = NULL;
}

static int set_cpuid(struct kvm_vm *vm, struct kvm_vcpu *vcpu, unsigned int id,
		     struct error *err)
{
	struct kvm_cpuid_config cfg = { .apic_id = id, .cpus = 1 };
	struct kvm_cpuid2 *cpuid;
	int r;

	cpuid = calloc(1, sizeof(*cpuid) +
		       MAX_CPUID * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return error_failure(err, "out of memory");
	/* one entry is kept back for the timing leaf */
	cpuid->nent = MAX_CPUID - 1;
	r = xioctl(vm->dev_fd, KVM_GET_SUPPORTED_CPUID, cpuid);
	if (r == 0) {
		cfg.tsc_deadline =
			check_extension(vm, KVM_CAP_TSC_DEADLINE_TIMER);
		if (check_extension(vm, KVM_CAP_GET_TSC_KHZ)) {
			int khz = xioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);

			cfg.tsc_khz = khz > 0 ? khz : 0;
		}
		cpuid_adjust(cpuid, MAX_CPUID, &cfg);
		r = xioctl(vcpu->fd, KVM_SET_CPUID2, cpuid);
	}
	free(cpuid);
	if (r < 0)
		return error_failure(err, "cannot set the guest's CPUID: %s",
				     strerror(-r));
	return 0;
}

static int set_msrs(struct kvm_vcpu *vcpu, struct error *err)
{
	static const struct kvm_msr_entry values[] = {
		{ .index = 0x1a0, .data = 1 },		/* fast strings */
		{ .index = 0x2ff, .data = 0xc06 },	/* MTRRs on, WB */
	};
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} msrs = { .head.nmsrs = 0 };
	unsigned int i;
	int r;

	/* one by one: a CPU without one of them is no reason to stop */
	for (i = 0; i < 2; i++) {
		msrs.head.nmsrs = 1;
		msrs.entries[0] = values[i];
		r = xioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
		if (r < 0)
			return error_failure(err, "cannot set the guest's MSRs: %s",
					     strerror(-r));
	}
	return 0;
}

static int set_fpu(struct kvm_vcpu *vcpu, struct error *err)
{
	struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 };
	int r = xioctl(vcpu->fd, KVM_SET_FPU, &fpu);

	if (r < 0)
		return error_failure(err, "cannot set the guest's FPU state: %s",
				     strerror(-r));
	return 0;
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
	};
}

/* 64-bit mode with paging on, as the boot protocol's 64-bit entry wants it. */
static int set_sregs(struct kvm_vcpu *vcpu, const struct kvm_boot_state *boot,
		     struct error *err)
{
	struct kvm_sregs s;
	int r = xioctl(vcpu->fd, KVM_GET_SREGS, &s);

	if (r < 0)
		return error_failure(err, "cannot read the guest's system registers: %s",
				     strerror(-r));
	s.cs = flat_segment(0x10, 0xb);
	s.cs.l = 1;
	s.ds = flat_segment(0x18, 0x3);
	s.ds.db = 1;
	s.es = s.fs = s.gs = s.ss = s.ds;
	s.tr = (struct kvm_segment){
		.limit = 0x67, .selector = 0x20, .type = 0xb, .present = 1,
	};
	s.ldt = (struct kvm_segment){ .type = 0x2, .unusable = 1 };
	s.gdt.base = boot->gdt;
	s.gdt.limit = boot->gdt_limit;
	s.idt.base = 0;
	s.idt.limit = 0;
	s.cr0 = 0x80010033;	/* PG, WP, NE, ET, MP, PE */
	s.cr2 = 0;
	s.cr3 = boot->page_table;
	s.cr4 = 0x20;		/* PAE */
	s.efer = 0x500;		/* LME, LMA */
	r = xioctl(vcpu->fd, KVM_SET_SREGS, &s);
	if (r < 0)
		return error_failure(err, "cannot set the guest's system registers: %s",
				     strerror(-r));
	return 0;
}

static int set_regs(struct kvm_vcpu *vcpu, const struct kvm_boot_state *boot,
		    struct error *err)
{
	struct kvm_regs regs = {
		.rip = boot->entry,
		.rsi = boot->boot_params,
		.rsp = boot->stack,
		.rflags = 2,
	};
	int r = xioctl(vcpu->fd, KVM_SET_REGS, &regs);

	if (r < 0)
		return error_failure(err, "cannot set the guest's registers: %s",
				     strerror(-r));
	return 0;
}

/*
 * What firmware leaves behind: the PICs reach the CPU through LINT0, NMIs
 * through LINT1.
 */
static int set_lapic(struct kvm_vcpu *vcpu, struct error *err)
{
	const uint32_t extint = 7 << 8, nmi = 4 << 8;
	struct kvm_lapic_state lapic;
	int r = xioctl(vcpu->fd, KVM_GET_LAPIC, &lapic);

	if (r == 0) {
		memcpy(lapic.regs + 0x350, &extint, sizeof(extint));
		memcpy(lapic.regs + 0x360, &nmi, sizeof(nmi));
		r = xioctl(vcpu->fd, KVM_SET_LAPIC, &lapic);
	}
	if (r < 0)
		return error_failure(err, "cannot set up the guest's local APIC: %s",
				     strerror(-r));
	return 0;
}

int kvm_vcpu_setup(struct kvm_vm *vm, struct kvm_vcpu *vcpu, unsigned int id,
		   const struct kvm_boot_state *boot, struct error *err)
{
	if (set_cpuid(vm, vcpu, id, err) < 0 || set_msrs(vcpu, err) < 0 ||
	    set_fpu(vcpu, err) < 0 || set_lapic(vcpu, err) < 0 ||
	    set_sregs(vcpu, boot, err) < 0)
		return -1;
	return set_regs(vcpu, boot, err);
}

static int kvm_run(void *backend)
{
	struct kvm_vcpu *vcpu = backend;

	return xioctl(vcpu->fd, KVM_RUN, NULL);
}

static int kvm_interrupt(void *backend, uint8_t vector)
{
	struct kvm_vcpu *vcpu = backend;
	struct kvm_interrupt irq = { .irq = vector };

	return xioctl(vcpu->fd, KVM_INTERRUPT, &irq);
}

static int kvm_get_regs(void *backend, struct kvm_regs *regs)
{
	struct kvm_vcpu *vcpu = backend;

	return xioctl(vcpu->fd, KVM_GET_REGS, regs);
}

static int kvm_get_sregs(void *backend, struct kvm_sregs *sregs)
{
	struct kvm_vcpu *vcpu = backend;

	return xioctl(vcpu->fd, KVM_GET_SREGS, sregs);
}

const struct vcpu_ops kvm_vcpu_ops = {
	.run = kvm_run,
	.interrupt = kvm_interrupt,
	.get_regs = kvm_get_regs,
	.get_sregs = kvm_get_sregs,
};

unsigned int kvm_tsc_khz(const struct kvm_vcpu *vcpu)
{
	int r = xioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);

	return r < 0 ? 0 : r;
}

int kvm_stats_fd(int fd)
{
	int r = xioctl(fd, KVM_GET_STATS_FD, NULL);

	return r < 0 ? -1 : r;
}
