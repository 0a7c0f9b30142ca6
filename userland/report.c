// SPDX-License-Identifier: GPL-2.0-only
#include "report.h"

#include <inttypes.h>
#include <string.h>

#define CR0_PG		(1ULL << 31)
#define CR4_LA57	(1ULL << 12)
#define EFER_LMA	(1ULL << 10)

#define PTE_PRESENT	1ULL
#define PTE_LARGE	(1ULL << 7)
#define PTE_ADDR	0x000ffffffffff000ULL

#define CODE_BEFORE	16
#define CODE_AFTER	32

bool report_translate(const struct guest_mem *mem,
		      const struct kvm_sregs *sregs, uint64_t gva,
		      uint64_t *gpa)
{
	uint64_t table = sregs->cr3 & PTE_ADDR;
	int level = sregs->cr4 & CR4_LA57 ? 4 : 3;

	if (!(sregs->cr0 & CR0_PG)) {
		*gpa = gva;
		return true;
	}
	if (!(sregs->efer & EFER_LMA))
		return false;
	for (; level >= 0; level--) {
		unsigned int shift = 12 + 9 * level;
		uint64_t index = (gva >> shift) & 511;
		const uint64_t *entry = guest_mem_ptr(mem, table + index * 8, 8);
		uint64_t mask = (1ULL << shift) - 1;

		if (!entry || !(*entry & PTE_PRESENT))
			return false;
		if (level == 0 || (level <= 2 && (*entry & PTE_LARGE))) {
			*gpa = (*entry & PTE_ADDR & ~mask) | (gva & mask);
			return true;
		}
		table = *entry & PTE_ADDR;
	}
	return false;
}

static void report_segment(FILE *out, const char *name,
			   const struct kvm_segment *s)
{
	fprintf(out, "  %-4s %04x base %016llx limit %08x type %x s %u dpl %u p %u l %u db %u\n",
		name, s->selector, (unsigned long long)s->base, s->limit,
		s->type, s->s, s->dpl, s->present, s->l, s->db);
}

static void report_regs(FILE *out, const struct kvm_regs *r)
{
	const struct {
		const char *name;
		uint64_t val;
	} regs[] = {
		{ "rax", r->rax }, { "rbx", r->rbx }, { "rcx", r->rcx },
		{ "rdx", r->rdx }, { "rsi", r->rsi }, { "rdi", r->rdi },
		{ "rsp", r->rsp }, { "rbp", r->rbp }, { "r8", r->r8 },
		{ "r9", r->r9 }, { "r10", r->r10 }, { "r11", r->r11 },
		{ "r12", r->r12 }, { "r13", r->r13 }, { "r14", r->r14 },
		{ "r15", r->r15 }, { "rip", r->rip }, { "rflags", r->rflags },
	};
	unsigned int i;

	for (i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		fprintf(out, "  %-6s %016" PRIx64 "%s", regs[i].name,
			regs[i].val, i % 3 == 2 ? "\n" : "");
}

static void report_sregs(FILE *out, const struct kvm_sregs *s)
{
	report_segment(out, "cs", &s->cs);
	report_segment(out, "ss", &s->ss);
	report_segment(out, "ds", &s->ds);
	report_segment(out, "es", &s->es);
	report_segment(out, "fs", &s->fs);
	report_segment(out, "gs", &s->gs);
	report_segment(out, "tr", &s->tr);
	report_segment(out, "ldt", &s->ldt);
	fprintf(out, "  gdt  base %016llx limit %04x   idt base %016llx limit %04x\n",
		(unsigned long long)s->gdt.base, s->gdt.limit,
		(unsigned long long)s->idt.base, s->idt.limit);
	fprintf(out, "  cr0 %016llx cr2 %016llx cr3 %016llx\n",
		(unsigned long long)s->cr0, (unsigned long long)s->cr2,
		(unsigned long long)s->cr3);
	fprintf(out, "  cr4 %016llx cr8 %016llx efer %016llx\n",
		(unsigned long long)s->cr4, (unsigned long long)s->cr8,
		(unsigned long long)s->efer);
}

static const uint8_t *code_byte(const struct guest_mem *mem,
				const struct kvm_sregs *sregs, uint64_t gva)
{
	uint64_t gpa;

	if (!report_translate(mem, sregs, gva, &gpa))
		return NULL;
	return guest_mem_ptr(mem, gpa, 1);
}

static void report_code(FILE *out, const struct guest_mem *mem,
			const struct kvm_sregs *sregs, uint64_t rip)
{
	uint64_t gva;

	fprintf(out, "  code");
	for (gva = rip - CODE_BEFORE; gva != rip + CODE_AFTER; gva++) {
		const uint8_t *p = code_byte(mem, sregs, gva);

		fprintf(out, gva == rip ? " <" : " ");
		if (p)
			fprintf(out, "%02x", *p);
		else
			fprintf(out, "??");
		if (gva == rip)
			fprintf(out, ">");
	}
	fprintf(out, "\n");
}

static void report_exits(FILE *out, const struct vcpu *v)
{
	uint64_t count = v->exit_count < VCPU_RING ? v->exit_count : VCPU_RING;
	uint64_t i;

	fprintf(out, "  last exits, newest last (%" PRIu64 " in all):\n",
		v->exit_count);
	for (i = v->exit_count - count; i < v->exit_count; i++) {
		const struct vcpu_exit *e = &v->ring[i % VCPU_RING];
		const char *name = vcpu_exit_name(e->reason);

		fprintf(out, "    %-16s", name ? name : "?");
		if (!name)
			fprintf(out, " (%u)", e->reason);
		if (e->size)
			fprintf(out, " %s %#" PRIx64 " size %u data %#" PRIx64,
				e->is_write ? "write" : "read ", e->addr,
				e->size, e->data);
		else if (e->addr)
			fprintf(out, " %#" PRIx64, e->addr);
		fprintf(out, "\n");
	}
}

static void report_pic(FILE *out, const struct i8259 *pic)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		const struct i8259_chip *c = &pic->chip[i];

		fprintf(out, "  pic%u irr %02x isr %02x imr %02x lines %02x base %02x\n",
			i + 1, c->irr, c->isr, c->imr, c->lines,
			c->vector_base);
	}
}

void report_machine(FILE *out, const struct machine *m)
{
	const struct i8254_channel *c = &m->pit.ch[0];
	unsigned int i;

	fprintf(out, "devices:\n");
	report_pic(out, &m->pic);
	fprintf(out, "  ioapic lines %06x\n", m->ioapic.lines);
	for (i = 0; i < IOAPIC_PINS; i++) {
		struct ioapic_msg msg;

		if (ioapic_message(&m->ioapic, i, &msg))
			fprintf(out, "  ioapic pin %2u %016" PRIx64 "\n", i,
				m->ioapic.redir[i]);
	}
	fprintf(out, "  pit0 mode %u reload %u loaded %d\n", c->mode,
		c->reload, c->loaded);
}

void report_vcpu(FILE *out, const struct vcpu *v, const struct guest_mem *mem)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	fprintf(out, "vCPU %u:\n", v->id);
	if (v->ops->get_regs(v->backend, &regs) < 0 ||
	    v->ops->get_sregs(v->backend, &sregs) < 0) {
		fprintf(out, "  its registers cannot be read\n");
	} else {
		report_regs(out, &regs);
		report_sregs(out, &sregs);
		report_code(out, mem, &sregs, regs.rip);
	}
	report_exits(out, v);
}
