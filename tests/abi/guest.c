// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU in 64-bit mode at CPL 0 with the first GiB mapped to itself by large
 * pages, a stack, and an IDT without gates, so that a fault is a triple fault
 * unless guest_set_gate() is called.
 */
#include "abi.h"

#define PML4 0x10000ul
#define PDPT 0x11000ul
#define PD 0x12000ul
#define GDT 0x13000ul

#define PTE_P 0x1ull
#define PTE_W 0x2ull
#define PTE_U 0x4ull
#define PTE_PS 0x80ull

#define CR0_PE 0x1ull
#define CR0_ET 0x10ull
#define CR0_NE 0x20ull
#define CR0_WP 0x10000ull
#define CR0_PG 0x80000000ull
#define CR4_PAE 0x20ull
#define CR4_OSFXSR 0x200ull
#define EFER_SCE 0x1ull
#define EFER_LME 0x100ull
#define EFER_LMA 0x400ull
#define EFER_NXE 0x800ull

static uint64_t *at(struct guest *g, uint64_t gpa)
{
	return (uint64_t *)(g->ram + gpa);
}

static void build_tables(struct guest *g)
{
	unsigned int i;

	*at(g, PML4) = PDPT | PTE_P | PTE_W | PTE_U;
	*at(g, PDPT) = PD | PTE_P | PTE_W | PTE_U;
	for (i = 0; i < 512; i++)
		at(g, PD)[i] = (uint64_t)i << 21 | PTE_P | PTE_W | PTE_PS;
	at(g, GDT)[1] = 0x00af9b000000ffffull;
	at(g, GDT)[2] = 0x00cf93000000ffffull;
}

static void set_segments(struct kvm_sregs *s)
{
	struct kvm_segment code = {
		.limit = 0xffffffff,
		.selector = 8,
		.type = 11,
		.present = 1,
		.s = 1,
		.l = 1,
		.g = 1,
	};
	struct kvm_segment data = {
		.limit = 0xffffffff,
		.selector = 16,
		.type = 3,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};

	s->cs = code;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->gdt.base = GDT;
	s->gdt.limit = 3 * 8 - 1;
	s->idt.base = GUEST_IDT;
	s->idt.limit = 0xfff;
}

int guest_set_long_mode(struct guest *g)
{
	struct kvm_sregs s;

	build_tables(g);
	if (ioctl(g->vcpu, KVM_GET_SREGS, &s))
		return -1;
	set_segments(&s);
	s.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	s.cr3 = PML4;
	s.cr4 = CR4_PAE | CR4_OSFXSR;
	s.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	return ioctl(g->vcpu, KVM_SET_SREGS, &s);
}

static void set_cpuid(struct guest *g)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[100];
	} c = { .head.nent = 100 };

	if (!ioctl(g->dev, KVM_GET_SUPPORTED_CPUID, &c))
		ioctl(g->vcpu, KVM_SET_CPUID2, &c);
}

void guest_create(struct guest *g, bool split_irqchip)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_SPLIT_IRQCHIP,
		.args = { 24 },
	};

	g->dev = abi_open();
	g->vm = abi_create_vm(g->dev);
	if (split_irqchip && ioctl(g->vm, KVM_ENABLE_CAP, &cap))
		abi_check(false, "a split irqchip can be had");
	g->ram = abi_pages(GUEST_RAM_SIZE / PAGE);
	if (abi_set_slot(g->vm, 0, 0, 0, GUEST_RAM_SIZE, g->ram))
		abi_check(false, "guest memory can be had");
	g->vcpu = abi_create_vcpu(g->vm, 0);
	g->run = abi_map_run(g->dev, g->vcpu);
	set_cpuid(g);
	if (guest_set_long_mode(g))
		abi_check(false, "long mode is accepted by KVM_SET_SREGS");
}

void guest_load(struct guest *g, const struct guest_code *code)
{
	struct kvm_regs regs = {
		.rip = GUEST_CODE,
		.rsp = GUEST_STACK,
		.rflags = 2,
	};

	memcpy(g->ram + GUEST_CODE, code->start, code->end - code->start);
	guest_set_regs(g, &regs);
}

void guest_set_gate(struct guest *g, uint8_t vector, uint64_t handler)
{
	uint64_t *gate = at(g, GUEST_IDT) + vector * 2;

	gate[0] = (handler & 0xffff) | 8 << 16 | 0x8e00ull << 32 |
		  (handler & 0xffff0000) << 32;
	gate[1] = handler >> 32;
}

void guest_destroy(struct guest *g)
{
	munmap(g->run, 3 * PAGE);
	close(g->vcpu);
	close(g->vm);
	close(g->dev);
	munmap(g->ram, GUEST_RAM_SIZE);
}

int guest_run(struct guest *g)
{
	return ioctl(g->vcpu, KVM_RUN, 0);
}

void guest_get_regs(struct guest *g, struct kvm_regs *regs)
{
	ioctl(g->vcpu, KVM_GET_REGS, regs);
}

void guest_set_regs(struct guest *g, const struct kvm_regs *regs)
{
	ioctl(g->vcpu, KVM_SET_REGS, regs);
}
