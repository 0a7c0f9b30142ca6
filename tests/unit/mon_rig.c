// SPDX-License-Identifier: GPL-2.0-only
#include <cpuid.h>
#include <sys/mman.h>

#include "mon_rig.h"

struct rig *rig;
u8 *native_data;
unsigned long env_fail_alloc __attribute__((weak));

/* --- gmem.h over the array --- */

bool gmem_is_ram(struct popf_vm *vm, gfn_t gfn)
{
	return gfn < RIG_RAM >> 12;
}

static bool inside(gpa_t gpa, size_t len)
{
	return gpa < RIG_RAM && len <= RIG_RAM - gpa;
}

static bool is_rom(gpa_t gpa)
{
	return rig->readonly_slot && gpa >> 12 == (RIG_DATA_GPA + 0x7000) >> 12;
}

int gmem_read(struct popf_vm *vm, gpa_t gpa, void *buf, size_t len)
{
	if (!inside(gpa, len))
		return -EFAULT;
	memcpy(buf, rig->ram + gpa, len);
	return 0;
}

int gmem_write(struct popf_vm *vm, gpa_t gpa, const void *buf, size_t len)
{
	if (!inside(gpa, len))
		return -EFAULT;
	if (is_rom(gpa))
		return -EROFS;
	memcpy(rig->ram + gpa, buf, len);
	return 0;
}

int gmem_write_atomic(struct popf_vm *vm, gpa_t gpa, const void *buf, size_t len)
{
	return gmem_write(vm, gpa, buf, len);
}

int gmem_cmpxchg(struct popf_vm *vm, gpa_t gpa, u64 *old, u64 new, u32 len)
{
	u64 seen = 0;

	if (!inside(gpa, len))
		return -EFAULT;
	if (is_rom(gpa))
		return -EROFS;
	memcpy(&seen, rig->ram + gpa, len);
	if (seen != *old) {
		*old = seen;
		return -EAGAIN;
	}
	memcpy(rig->ram + gpa, &new, len);
	return 0;
}

int gmem_page(struct popf_vm *vm, gfn_t gfn, bool want_write,
	      struct gmem_page *out)
{
	if (!gmem_is_ram(vm, gfn))
		return -EFAULT;
	memset(out, 0, sizeof(*out));
	out->hpa = (hpa_t)(uintptr_t)rig->ram + (gfn << 12);
	out->level = 1;
	out->writable = true;
	return 0;
}

u64 gmem_seq(struct popf_vm *vm)
{
	return 0;
}

bool gmem_retry(struct popf_vm *vm, u64 seq)
{
	return false;
}

void gmem_mark_dirty(struct popf_vm *vm, gfn_t gfn)
{
}

/* --- what kmod/ and the run loop provide --- */

u64 vcpu_guest_tsc(struct vcpu *v)
{
	return rig->host_tsc + v->tsc_offset;
}

void vcpu_kick(struct vcpu *v)
{
	rig->kicks++;
}

struct vcpu *vm_vcpu(struct popf_vm *vm, u32 index)
{
	return index ? NULL : &rig->v;
}

u32 vm_tsc_khz(struct popf_vm *vm)
{
	return 2500000;
}

void host_cpuid(u32 leaf, u32 sub, u32 out[4])
{
	if (rig && rig->cpuid_hook && rig->cpuid_hook(leaf, sub, out))
		return;
	__cpuid_count(leaf, sub, out[0], out[1], out[2], out[3]);
}

u64 vm_kvmclock_ns(struct popf_vm *vm, u64 *host_tsc)
{
	*host_tsc = rig->host_tsc;
	return rig->now_ns + vm->kvmclock_offset;
}

u64 vm_wall_ns(struct popf_vm *vm)
{
	return 1700000000ull * 1000000000 + rig->now_ns;
}

u64 host_now_ns(void)
{
	return rig->now_ns;
}

u64 host_xcr0(void)
{
	u32 lo, hi, r[4];

	host_cpuid(1, 0, r);
	if (!(r[2] & 1u << 27))
		return 3;
	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo | (u64)hi << 32;
}

struct popf_timer *popf_timer_create(void (*fn)(void *arg), void *arg)
{
	struct popf_timer *t = &rig->timers[rig->n_timers++];

	t->fn = fn;
	t->arg = arg;
	return t;
}

void popf_timer_destroy(struct popf_timer *t)
{
	t->armed = false;
}

void popf_timer_arm_tsc(struct popf_timer *t, u64 host_tsc)
{
	rig->timer_arms++;
	t->armed = true;
	t->by_tsc = true;
	t->when = host_tsc;
}

void popf_timer_arm_ns(struct popf_timer *t, u64 delta_ns)
{
	rig->timer_arms++;
	t->armed = true;
	t->by_tsc = false;
	t->when = rig->now_ns + delta_ns;
}

void popf_timer_cancel(struct popf_timer *t)
{
	t->armed = false;
}

static void fire_due(void)
{
	struct popf_timer *t;
	u32 i;

	for (i = 0; i < rig->n_timers; i++) {
		t = &rig->timers[i];
		if (!t->armed || t->when > (t->by_tsc ? rig->host_tsc : rig->now_ns))
			continue;
		t->armed = false;
		t->fn(t->arg);
	}
}

void rig_advance_ns(u64 ns)
{
	rig->now_ns += ns;
	fire_due();
}

void rig_advance_tsc(u64 tsc)
{
	rig->host_tsc += tsc;
	fire_due();
}

void vcpu_mmu_changed(struct vcpu *v, bool flush_code)
{
	rig->mmu_changes++;
	rig->code_flushes += flush_code;
}

void vcpu_invlpg(struct vcpu *v, gva_t gva)
{
	rig->invlpgs++;
}

void vcpu_cr3_changed(struct vcpu *v, u64 old_cr3)
{
	rig->cr3_changes++;
}

void vcpu_tables_changed(struct vcpu *v)
{
	rig->table_changes++;
}

/* --- the guest --- */

void *rig_at(gpa_t gpa)
{
	return rig->ram + gpa;
}

u64 *rig_u64(gpa_t gpa)
{
	return rig_at(gpa);
}

void rig_set_pte(gpa_t page, u64 flags)
{
	u64 pte = (page & POPF_PAGE_MASK) | flags;

	shadow_write(rig->vm.shadow, RIG_PT + (page >> 12) * 8, &pte, 8, NULL);
}

void rig_set_desc(u16 sel, u64 desc)
{
	*rig_u64(RIG_GDT + (sel & ~7u)) = desc;
}

void rig_set_gate(u8 vec, u16 sel, u64 rip, u8 type, u8 dpl, u8 ist)
{
	u64 *gate = rig_u64(RIG_IDT + vec * 16);

	gate[0] = (rip & 0xffff) | (u64)sel << 16 | (u64)ist << 32 |
		  (u64)(0x80 | dpl << 5 | type) << 40 | (rip >> 16 & 0xffff) << 48;
	gate[1] = rip >> 32;
}

static void make_page_tables(void)
{
	u32 i;

	*rig_u64(RIG_CR3) = 0x2007;
	*rig_u64(0x2000) = 0x3007;
	*rig_u64(0x2018) = 0xc0000087;
	*rig_u64(0x3000) = RIG_PT | 7;
	for (i = 1; i < 512; i++)
		*rig_u64(0x3000 + i * 8) = (u64)i << 21 | 0x87;
	*rig_u64(0x3000 + (RIG_DATA >> 21) * 8) = RIG_DATA_GPA | 0x87;
	for (i = 0; i < 512; i++)
		*rig_u64(RIG_PT + i * 8) = i << 12 | 7;
}

static void make_descriptors(void)
{
	u64 *tss = rig_u64(RIG_GDT + SEL_TSS);
	u64 *ldt = rig_u64(RIG_GDT + SEL_LDT);
	u64 *gate = rig_u64(RIG_GDT + SEL_GATE);
	u64 rip = RIG_HANDLER(0);
	u64 rsp;
	u32 i;

	rig_set_desc(SEL_CODE32_0, 0x00cf9b000000ffff);
	rig_set_desc(SEL_CODE, 0x00af9b000000ffff);
	rig_set_desc(SEL_DATA, 0x00cf93000000ffff);
	rig_set_desc(SEL_UCODE32, 0x00cffb000000ffff);
	rig_set_desc(SEL_UDATA, 0x00cff3000000ffff);
	rig_set_desc(SEL_UCODE, 0x00affb000000ffff);
	rig_set_desc(SEL_ABSENT, 0x00af1b000000ffff);
	rig_set_desc(SEL_CONFORMING, 0x00af9f000000ffff);
	rig_set_desc(SEL_DATA_ABSENT, 0x00cf73000000ffff);
	rig_set_desc(SEL_READONLY, 0x00cff1000000ffff);
	tss[0] = 0x0000890000000067 | (u64)RIG_TSS << 16;
	tss[1] = 0;
	ldt[0] = 0x000082000000000f | (u64)RIG_LDT << 16;
	ldt[1] = 0;
	gate[0] = (rip & 0xffff) | (u64)SEL_CODE << 16 | 0xecull << 40 |
		  (rip >> 16 & 0xffff) << 48;
	gate[1] = rip >> 32;
	rsp = RIG_STACK0;
	memcpy(rig_at(RIG_TSS + 4), &rsp, 8);
	rsp = RIG_IST1;
	memcpy(rig_at(RIG_TSS + 0x24), &rsp, 8);
	for (i = 0; i < 256; i++)
		rig_set_gate(i, SEL_CODE, RIG_HANDLER(i), 0xe, 0, 0);
}

static void make_shadow(void)
{
	static u64 no_pde;
	struct shadow_config cfg = {
		.host_levels = 4,
		.host_nx = true,
		.max_pages = 256,
		.fixed = { .region_base = 0xffff800000000000ull,
			   .window_base = WINDOW_BASE_DEFAULT,
			   .window_pdes = 1,
			   .window_pde = &no_pde },
	};
	static const struct shadow_ops ops;

	rig->vm.shadow = shadow_create(&rig->vm, &cfg, &ops, NULL);
	assert(rig->vm.shadow);
	rig->v.shadow = rig->vm.shadow;
}

static void enter_long_mode(struct vcpu *v)
{
	v->cr0 = 0x80050033;
	v->cr3 = RIG_CR3;
	v->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	v->efer = GEFER_SCE | GEFER_LME | GEFER_LMA | GEFER_NX;
	v->gdt.base = RIG_GDT;
	v->gdt.limit = SEL_LAST - 1;
	v->idt.base = RIG_IDT;
	v->idt.limit = 0xfff;
	seg_set_flat_code(&v->seg[SEG_CS], SEL_CODE, 0, true);
	seg_set_flat_data(&v->seg[SEG_SS], SEL_DATA, 0);
	seg_set_null(&v->seg[SEG_DS], 0);
	seg_set_null(&v->seg[SEG_ES], 0);
	seg_set_null(&v->seg[SEG_FS], 0);
	seg_set_null(&v->seg[SEG_GS], 0);
	seg_set_null(&v->ldt, 0);
	v->tr.base = RIG_TSS;
	v->tr.limit = 0x67;
	v->tr.selector = SEL_TSS;
	v->tr.type = 0xb;
	v->tr.present = 1;
	v->star = (u64)0x23 << 48 | (u64)SEL_CODE << 32;
	v->lstar = 0xffffffff81000000ull;
	v->cstar = 0xffffffff81000100ull;
	v->sfmask = 0x47700;
	v->regs.rip = RIG_CODE;
	v->regs.rflags = RF_FIXED;
	v->regs.gpr[GPR_RSP] = RIG_STACK;
}

int rig_setup(void **state)
{
	struct kvm_cpuid_entry2 entries[100];
	int n;

	rig = calloc(1, sizeof(*rig));
	rig->ram = mmap(NULL, RIG_RAM, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	native_data = mmap((void *)(uintptr_t)RIG_DATA, RIG_DATA_SIZE,
			   PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert(rig->ram != MAP_FAILED && native_data != MAP_FAILED);
	rig->vm.vcpu[0] = &rig->v;
	rig->v.vm = &rig->vm;
	rig->v.run = &rig->run;
	rig->v.pio_data = rig->pio;
	rig->v.page = &rig->page;
	rig->host_tsc = 1000000;
	rig->now_ns = 1000;
	make_page_tables();
	make_descriptors();
	make_shadow();
	n = vcpu_supported_cpuid(entries, 100);
	assert(n > 0);
	assert(!vcpu_set_cpuid(&rig->v, entries, n));
	rig->v.lapic = lapic_create(&rig->v);
	vcpu_reset(&rig->v);
	enter_long_mode(&rig->v);
	return 0;
}

int rig_teardown(void **state)
{
	lapic_destroy(rig->v.lapic);
	vcpu_emul_fini(&rig->v);
	shadow_destroy(rig->vm.shadow);
	munmap(rig->ram, RIG_RAM);
	munmap(native_data, RIG_DATA_SIZE);
	free(rig);
	rig = NULL;
	return 0;
}

void rig_user(bool compat)
{
	struct vcpu *v = &rig->v;

	seg_set_flat_code(&v->seg[SEG_CS], compat ? SEL_UCODE32 : SEL_UCODE, 3,
			  !compat);
	seg_set_flat_data(&v->seg[SEG_SS], SEL_UDATA, 3);
	v->regs.gpr[GPR_RSP] = RIG_USTACK;
}

void rig_code(const void *bytes, u32 n)
{
	memset(rig_at(RIG_CODE), 0x90, 32);
	memcpy(rig_at(RIG_CODE), bytes, n);
	rig->v.regs.rip = RIG_CODE;
}

enum emul rig_callout(const void *bytes, u32 n)
{
	rig_code(bytes, n);
	return vcpu_emulate_callout(&rig->v, bytes, n);
}

/* --- running an instruction natively --- */

struct native native_regs;
u64 native_host_rsp, native_target;

asm(".text\n"
    "native_call:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	mov %rsp, native_host_rsp(%rip)\n"
    "	pushq native_regs+128(%rip); popfq\n"
    "	mov native_regs(%rip), %rax\n"
    "	mov native_regs+8(%rip), %rcx\n"
    "	mov native_regs+16(%rip), %rdx\n"
    "	mov native_regs+24(%rip), %rbx\n"
    "	mov native_regs+40(%rip), %rbp\n"
    "	mov native_regs+48(%rip), %rsi\n"
    "	mov native_regs+56(%rip), %rdi\n"
    "	mov native_regs+64(%rip), %r8\n"
    "	mov native_regs+72(%rip), %r9\n"
    "	mov native_regs+80(%rip), %r10\n"
    "	mov native_regs+88(%rip), %r11\n"
    "	mov native_regs+96(%rip), %r12\n"
    "	mov native_regs+104(%rip), %r13\n"
    "	mov native_regs+112(%rip), %r14\n"
    "	mov native_regs+120(%rip), %r15\n"
    "	mov native_regs+32(%rip), %rsp\n"
    "	jmp *native_target(%rip)\n"
    "native_back:\n"
    "	mov %rsp, native_regs+32(%rip)\n"
    "	mov native_host_rsp(%rip), %rsp\n"
    "	pushfq; popq native_regs+128(%rip)\n"
    "	cld\n"
    "	mov %rax, native_regs(%rip)\n"
    "	mov %rcx, native_regs+8(%rip)\n"
    "	mov %rdx, native_regs+16(%rip)\n"
    "	mov %rbx, native_regs+24(%rip)\n"
    "	mov %rbp, native_regs+40(%rip)\n"
    "	mov %rsi, native_regs+48(%rip)\n"
    "	mov %rdi, native_regs+56(%rip)\n"
    "	mov %r8, native_regs+64(%rip)\n"
    "	mov %r9, native_regs+72(%rip)\n"
    "	mov %r10, native_regs+80(%rip)\n"
    "	mov %r11, native_regs+88(%rip)\n"
    "	mov %r12, native_regs+96(%rip)\n"
    "	mov %r13, native_regs+104(%rip)\n"
    "	mov %r14, native_regs+112(%rip)\n"
    "	mov %r15, native_regs+120(%rip)\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n");
void native_call(void);
extern const u8 native_back[];

void native_run(struct native *n, const u8 *insn, u32 len)
{
	static u8 *code;
	u64 back = (u64)(uintptr_t)native_back;

	if (!code)
		code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(code, insn, len);
	memcpy(code + len, "\xff\x25\0\0\0\0", 6); /* jmp *0(%rip) */
	memcpy(code + len + 6, &back, 8);
	native_regs = *n;
	native_target = (u64)(uintptr_t)code;
	native_call();
	*n = native_regs;
}

/* --- driving an emulation to its end --- */

static void answer_mmio(void)
{
	struct kvm_run *run = &rig->run;
	u64 off = run->mmio.phys_addr - RIG_MMIO;

	assert(run->exit_reason == KVM_EXIT_MMIO);
	assert(run->mmio.len >= 1 && run->mmio.len <= 8);
	if (rig->readonly_slot && run->mmio.phys_addr < RIG_RAM)
		return;
	assert(off + run->mmio.len <= sizeof(rig->mmio));
	if (run->mmio.is_write)
		memcpy(rig->mmio + off, run->mmio.data, run->mmio.len);
	else
		memcpy(run->mmio.data, rig->mmio + off, run->mmio.len);
}

/* As the run loop does it, except that the operand stays where it is. */
static enum emul bounce(struct vcpu *v)
{
	const struct bt_bounce *p = &v->bounce.plan;
	struct native n;
	u64 ea;

	ea = p->disp;
	if (p->base >= 0 && p->base < 16)
		ea += v->regs.gpr[p->base];
	if (p->index >= 0)
		ea += v->regs.gpr[p->index] * p->scale;
	memcpy(n.gpr, v->regs.gpr, sizeof(n.gpr));
	n.flags = (v->regs.rflags & (RF_ARITH | RF_DF)) | RF_IF | RF_FIXED;
	memcpy((void *)(uintptr_t)ea, v->bounce.data, p->size);
	native_run(&n, v->bounce.insn, p->insn_len);
	memcpy(v->bounce.data, (void *)(uintptr_t)ea, p->size);
	memcpy(v->regs.gpr, n.gpr, sizeof(n.gpr));
	v->regs.rflags = (v->regs.rflags & ~(RF_ARITH | RF_DF)) |
			 (n.flags & (RF_ARITH | RF_DF));
	return vcpu_bounce_done(v);
}

enum emul rig_emulate_memory(void)
{
	struct vcpu *v = &rig->v;
	enum emul (*complete)(struct vcpu *v);
	enum emul ret = vcpu_emulate_memory(v);

	for (;;) {
		if (ret == EMUL_USER) {
			answer_mmio();
			complete = v->complete;
			v->complete = NULL;
			ret = complete(v);
		} else if (ret == EMUL_BOUNCE) {
			ret = bounce(v);
		} else {
			return ret;
		}
	}
}
