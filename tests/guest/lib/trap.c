// SPDX-License-Identifier: GPL-2.0-only
/*
 * GDT, IDT, TSS, what happens at a trap, and user mode.
 */
#include "lib.h"
#include "x86.h"

#define STACK_SIZE 8192

void user_enter(struct user *u);
extern u8 user_landing[];
extern u64 user_return_rsp;

struct gate guest_idt[256] __attribute__((aligned(4096)));
struct tss guest_tss __attribute__((aligned(4096)));
struct catcher *volatile current_catcher;
bool user_running;
u64 fault_at;

static u8 df_stack[STACK_SIZE] __attribute__((aligned(4096), used));
static u8 nmi_stack[STACK_SIZE] __attribute__((aligned(4096), used));
static u8 user_trap_stack[STACK_SIZE] __attribute__((aligned(4096), used));
asm(".globl df_stack_top\n.set df_stack_top, df_stack + 8192");
asm(".globl nmi_stack_top\n.set nmi_stack_top, nmi_stack + 8192");
asm(".globl user_trap_stack_top\n"
    ".set user_trap_stack_top, user_trap_stack + 8192");

static trap_handler handlers[VEC_NONE];
static struct user *current_user;
static u64 gdt_copy[32];

void set_handler(unsigned int vector, trap_handler handler)
{
	handlers[vector] = handler;
}

void set_gate(unsigned int vector, void *entry, u16 selector, u8 type, u8 dpl,
	      u8 ist)
{
	u64 addr = (u64)entry;

	guest_idt[vector] = (struct gate){
		.offset_low = addr,
		.selector = selector,
		.ist = ist,
		.attr = 0x80 | dpl << 5 | type,
		.offset_mid = addr >> 16,
		.offset_high = addr >> 32,
	};
}

struct table_register {
	u16 limit;
	u64 base;
} __attribute__((packed));

void load_idt(void *base, u16 limit)
{
	struct table_register r = { limit, (u64)base };

	asm volatile("lidt %0" : : "m"(r));
}

void load_gdt(void *base, u16 limit)
{
	struct table_register r = { limit, (u64)base };

	asm volatile("lgdt %0" : : "m"(r));
}

static void set_tss_descriptor(void)
{
	u64 addr = (u64)&guest_tss;
	u64 *d = &guest_gdt[SEL_TSS / 8];

	d[0] = (sizeof(guest_tss) - 1) | (addr & 0xffffff) << 16 | 0x89ul << 40 |
	       (addr >> 24 & 0xff) << 56;
	d[1] = addr >> 32;
}

static void fill_idt(void)
{
	unsigned int i;

	for (i = 0; i < 256; i++) {
		u8 dpl = i == VEC_BP || i == VEC_OF || i == 0x80 ? 3 : 0;
		u8 ist = i == VEC_DF ? 1 : i == VEC_NMI ? 2 : 0;

		set_gate(i, trap_stubs + 16 * i, SEL_KCODE, 14, dpl, ist);
	}
}

void trap_reset(void)
{
	memset(handlers, 0, sizeof(handlers));
	current_catcher = NULL;
	user_running = false;
	memcpy(guest_gdt, gdt_copy, (u8 *)guest_gdt_end - (u8 *)guest_gdt);
	set_tss_descriptor();
	memset(&guest_tss, 0, sizeof(guest_tss));
	guest_tss.rsp[0] = (u64)user_trap_stack_top;
	guest_tss.ist[0] = (u64)df_stack_top;
	guest_tss.ist[1] = (u64)nmi_stack_top;
	guest_tss.iomap = sizeof(guest_tss);
	fill_idt();
	load_gdt(guest_gdt, (u8 *)guest_gdt_end - (u8 *)guest_gdt - 1);
	load_idt(guest_idt, sizeof(guest_idt) - 1);
	asm volatile("pushq %0; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1:"
		     : : "i"(SEL_KCODE) : "rax", "memory");
	asm volatile("lldt %w0" : : "r"(0));
	asm volatile("ltr %w0" : : "r"(SEL_TSS));
	write_ds(SEL_KDATA);
	write_es(SEL_KDATA);
	write_ss(SEL_KDATA);
	write_fs(0);
	write_gs(0);
	wrmsr(MSR_FS_BASE, 0);
	wrmsr(MSR_GS_BASE, 0);
	wrmsr(MSR_KERNEL_GS_BASE, 0);
	wrmsr(MSR_STAR, (u64)0x20 << 48 | (u64)SEL_KCODE << 32);
	wrmsr(MSR_LSTAR, (u64)syscall_entry);
	wrmsr(MSR_CSTAR, (u64)syscall32_entry);
	wrmsr(MSR_SFMASK, RF_TF | RF_IF | RF_DF | RF_NT | RF_AC);
	wrmsr(MSR_SYSENTER_CS, SEL_KCODE);
	wrmsr(MSR_SYSENTER_ESP, (u64)syscall_stack_top);
	wrmsr(MSR_SYSENTER_EIP, (u64)sysenter_entry);
}

void trap_init(void)
{
	memcpy(gdt_copy, guest_gdt, (u8 *)guest_gdt_end - (u8 *)guest_gdt);
	trap_reset();
}

/* Make the interrupted code go on elsewhere in the kernel. */
static void redirect(struct trap *t, u64 rip, u64 rsp)
{
	t->rip = rip;
	t->cs = SEL_KCODE;
	t->rflags = 2;
	t->rsp = rsp;
	t->ss = SEL_KDATA;
}

static void leave_user(struct trap *t, u64 cr2)
{
	struct user *u = current_user;

	memcpy(u, t, offsetof(struct trap, cr2));
	u->cr2 = cr2;
	user_running = false;
	redirect(t, (u64)user_landing, user_return_rsp);
}

static void leave_catcher(struct trap *t, u64 cr2)
{
	struct catcher *c = current_catcher;

	memcpy(c->out, t, offsetof(struct trap, cr2));
	c->out->cr2 = cr2;
	redirect(t, (u64)context_restore, c->context.rsp);
	/* context_restore(&c->context), which sets RSP by itself too */
	t->rdi = (u64)&c->context;
}

void trap_dispatch(struct trap *t)
{
	u64 cr2 = read_cr2();

	if (t->vector < VEC_NONE && handlers[t->vector] && handlers[t->vector](t))
		return;
	if (user_running && (t->cs & 3) == 3) {
		leave_user(t, cr2);
	} else if (current_catcher) {
		leave_catcher(t, cr2);
	} else {
		print("guest: trap %lx error %lx at %lx:%lx flags %lx rsp %lx cr2 %lx\n",
		      t->vector, t->error, t->cs, t->rip, t->rflags, t->rsp, cr2);
		fail("unexpected trap %lx error %lx at %lx", t->vector, t->error,
		     t->rip);
	}
}

/* --- user mode ------------------------------------------------------------ */

static void *user_data_page;

static void user_pages(const void *start, const void *end)
{
	u64 size = (const u8 *)end - (const u8 *)start;
	u64 code = pages_alloc(USER_PAGES, PAGE_SIZE);
	u64 data = pages_alloc(USER_PAGES, PAGE_SIZE);
	u64 stack = pages_alloc(USER_PAGES, PAGE_SIZE);
	u64 root = read_cr3() & PTE_ADDR;
	u64 i;

	CHECK(size <= USER_PAGES * PAGE_SIZE, "user code is too large");
	memcpy(phys(code), start, size);
	user_data_page = phys(data);
	for (i = 0; i < USER_PAGES * PAGE_SIZE; i += PAGE_SIZE) {
		map(root, USER_CODE + i, code + i, PTE_P | PTE_U);
		map(root, USER_DATA + i, data + i, PTE_P | PTE_U | PTE_W | PTE_NX);
		map(root, USER_STACK - USER_PAGES * PAGE_SIZE + i, stack + i,
		    PTE_P | PTE_U | PTE_W | PTE_NX);
	}
	write_cr3(read_cr3());
}

void *user_data(void)
{
	return user_data_page;
}

void user_init(struct user *u, const void *start, const void *end)
{
	user_pages(start, end);
	memset(u, 0, sizeof(*u));
	u->rip = USER_CODE;
	u->cs = SEL_UCODE;
	u->ss = SEL_UDATA;
	u->rsp = USER_STACK - 64;
	u->rflags = 2;
}

void user_init32(struct user *u, const void *start, const void *end)
{
	user_init(u, start, end);
	u->cs = SEL_UCODE32;
	/* IRET to user mode empties segment registers that are the kernel's. */
	write_ds(SEL_UDATA);
	write_es(SEL_UDATA);
}

void user_run(struct user *u)
{
	current_user = u;
	user_running = true;
	user_enter(u);
	user_running = false;
}
