/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The runtime of the small guests: what a test may call.
 *
 * A guest is one file with TEST(name) functions; each proves the claim in its
 * name or fails with CHECK(). Before every test the runtime puts the CPU back:
 * boot page tables, GDT, IDT, control registers, MSRs, interrupts off, no
 * handlers. A test that traps unexpectedly fails, the next one goes on.
 *
 * Addresses: all memory is at DIRECT_BASE + physical; the image also at its
 * link address. Nothing else is mapped, so user space and the null page are
 * free for tests.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PAGE_SIZE 4096ul
#define DIRECT_BASE 0xffff888000000000ul
#define LINK_BASE 0xffffffff80000000ul

/* --- tests ---------------------------------------------------------------- */

struct test {
	const char *name;
	void (*fn)(void);
};

#define TEST(id)                                                               \
	static void id(void);                                                  \
	static const struct test test_##id                                     \
		__attribute__((used, section(".tests"), aligned(16))) = { #id, id };        \
	static void id(void)

/* Ends the test as failed (or skipped), with a reason. */
void fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void skip(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(cond, fmt, ...)                                                  \
	do {                                                                   \
		if (!(cond))                                                   \
			fail("%s:%d: %s: " fmt, __FILE__, __LINE__, #cond,     \
			     ##__VA_ARGS__);                                   \
	} while (0)

#define CHECK_EQ(got, want)                                                    \
	do {                                                                   \
		u64 got_ = (u64)(got), want_ = (u64)(want);                    \
		if (got_ != want_)                                             \
			fail("line %d: %s is %lx, not %lx", __LINE__, #got,    \
			     got_, want_);                                     \
	} while (0)

/* Does the command line have this word? Or word=value; then *value. */
bool option(const char *word);
bool option_value(const char *word, u64 *value);
/*
 * Running in QEMU TCG directly? For what TCG is known to get wrong.
 * hardware_is_tcg(): there, or in popf on top of it: for what the CPU does by
 * itself even under popf.
 */
bool engine_is_tcg(void);
bool hardware_is_tcg(void);

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int ch, size_t n);
int memcmp(const void *a, const void *b, size_t n);

void power_off(void) __attribute__((noreturn));

/* --- traps ---------------------------------------------------------------- */

#define VEC_DE 0
#define VEC_DB 1
#define VEC_NMI 2
#define VEC_BP 3
#define VEC_OF 4
#define VEC_BR 5
#define VEC_UD 6
#define VEC_NM 7
#define VEC_DF 8
#define VEC_TS 10
#define VEC_NP 11
#define VEC_SS 12
#define VEC_GP 13
#define VEC_PF 14
#define VEC_MF 16
#define VEC_AC 17
#define VEC_XM 19
#define VEC_SYSCALL 0x100
#define VEC_SYSCALL32 0x101
#define VEC_SYSENTER 0x102
#define VEC_NONE 0x1ff

#define PF_P 1
#define PF_W 2
#define PF_U 4
#define PF_R 8
#define PF_I 16

/* As entry.S pushes it. */
struct trap {
	u64 r15, r14, r13, r12, r11, r10, r9, r8;
	u64 rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
	/* Not pushed; filled in copies. */
	u64 cr2;
};

/*
 * What happens at a trap: the handler of its vector, if one is set and returns
 * true; else, from user mode under user_run(), that ends; else, inside CATCH,
 * that ends; else the test fails.
 */
typedef bool (*trap_handler)(struct trap *t);
void set_handler(unsigned int vector, trap_handler handler);

struct context {
	u64 rbx, rbp, r12, r13, r14, r15, rsp, rip;
};

int context_save(struct context *c) __attribute__((returns_twice));
void context_restore(struct context *c) __attribute__((noreturn));

struct catcher {
	struct context context;
	struct trap *out;
	struct catcher *outer;
};

extern struct catcher *volatile current_catcher;
#define barrier() asm volatile("" : : : "memory")

/*
 * Run code and catch a trap in it: t->vector is VEC_NONE when there was none.
 * Code must not return or jump out.
 */
#define CATCH(t, ...)                                                          \
	do {                                                                   \
		struct catcher c_ = { .out = (t),                              \
				      .outer = current_catcher };              \
		(t)->vector = VEC_NONE;                                        \
		if (!context_save(&c_.context)) {                              \
			current_catcher = &c_;                                 \
			barrier();                                             \
			__VA_ARGS__;                                           \
			barrier();                                             \
		}                                                              \
		current_catcher = c_.outer;                                    \
	} while (0)

/* CATCH and check the vector; CHECK_TRAP also the error code. */
#define CHECK_VECTOR(vec, ...)                                                 \
	do {                                                                   \
		struct trap t_;                                                \
		CATCH(&t_, __VA_ARGS__);                                       \
		if (t_.vector != (vec))                                        \
			fail("line %d: vector %lx, not %x (rip %lx)",          \
			     __LINE__, t_.vector, (unsigned int)(vec),         \
			     t_.rip);                                          \
	} while (0)

#define CHECK_TRAP(vec, err, ...)                                              \
	do {                                                                   \
		struct trap t_;                                                \
		CATCH(&t_, __VA_ARGS__);                                       \
		if (t_.vector != (vec) || t_.error != (u64)(err))              \
			fail("line %d: vector %lx error %lx, not %x %lx (rip %lx)", \
			     __LINE__, t_.vector, t_.error,                    \
			     (unsigned int)(vec), (u64)(err), t_.rip);         \
	} while (0)

/*
 * In inline assembly before the instruction that faults (clobbers RAX):
 * remembers its address, for CHECK_EQ(t.rip, fault_at).
 */
#define AT "leaq 77f(%%rip), %%rax\n\tmovq %%rax, fault_at(%%rip)\n77:\t"
extern u64 fault_at;

struct gate {
	u16 offset_low, selector;
	u8 ist, attr;
	u16 offset_mid;
	u32 offset_high, zero;
};

struct tss {
	u32 reserved0;
	u64 rsp[3];
	u64 reserved1;
	u64 ist[7];
	u64 reserved2;
	u16 reserved3, iomap;
	u8 io[8];
} __attribute__((packed));

extern u64 guest_gdt[], guest_gdt_end[];
extern struct gate guest_idt[256];
extern struct tss guest_tss;
extern u8 trap_stubs[], syscall_entry[], syscall32_entry[], sysenter_entry[];
extern u8 syscall_stack_top[], boot_stack_top[];
extern u8 df_stack_top[], nmi_stack_top[], user_trap_stack_top[];

#define SEL_KCODE 0x08
#define SEL_KDATA 0x10
#define SEL_KCODE32 0x18
#define SEL_UCODE32 0x23
#define SEL_UDATA 0x2b
#define SEL_UCODE 0x33
#define SEL_TLS 0x3b
#define SEL_TSS 0x40
#define SEL_FREE 0x50 /* and five more descriptors */

/* dpl 0..3, ist 0..7; type 14 interrupt, 15 trap gate */
void set_gate(unsigned int vector, void *entry, u16 selector, u8 type, u8 dpl,
	      u8 ist);
void load_idt(void *base, u16 limit);
void load_gdt(void *base, u16 limit);

/* --- user mode ------------------------------------------------------------ */

enum user_how { USER_IRET, USER_SYSRET, USER_SYSRET32, USER_SYSEXIT32, USER_SYSEXIT };

/* Registers of user mode; cr2 of struct trap is not in here. */
struct user {
	u64 r15, r14, r13, r12, r11, r10, r9, r8;
	u64 rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
	u64 how; /* enum user_how */
	u64 cr2;
};

/* Where user_init() maps user memory: all below 4 GiB, for 32-bit code too. */
#define USER_CODE 0x10000000ul
#define USER_DATA 0x20000000ul
#define USER_STACK 0x30000000ul /* top */
#define USER_PAGES 4ul /* of each */

/*
 * Map code [start, end) at USER_CODE, fresh data and stack; fill *u to start at
 * it in 64-bit mode (or compatibility mode) with IF off.
 */
void user_init(struct user *u, const void *start, const void *end);
void user_init32(struct user *u, const void *start, const void *end);
/* Run until user mode traps (no handler took it); u has its state then. */
void user_run(struct user *u);
extern bool user_running;
/* The data page as the kernel sees it. */
void *user_data(void);

#define CODE(name)                                                             \
	extern const u8 name[], name##_end[]
/* Assembler text of user code between name and name_end. */
#define ASM_CODE(name, mode, text)                                             \
	CODE(name);                                                            \
	asm(".pushsection .rodata\n\t.balign 16\n\t" mode "\n\t.globl " #name  \
	    "\n" #name ":\n\t" text "\n\t.globl " #name "_end\n" #name         \
	    "_end:\n\t.code64\n\t.popsection")
#define USER_ASM(name, text) ASM_CODE(name, ".code64", text)
#define USER_ASM32(name, text) ASM_CODE(name, ".code32", text)

/* --- paging --------------------------------------------------------------- */

#define PTE_P 1ul
#define PTE_W 2ul
#define PTE_U 4ul
#define PTE_PWT 8ul
#define PTE_PCD 0x10ul
#define PTE_A 0x20ul
#define PTE_D 0x40ul
#define PTE_PS 0x80ul
#define PTE_G 0x100ul
#define PTE_NX (1ul << 63)
#define PTE_ADDR 0x000ffffffffff000ul

extern u64 boot_pml4[], boot_pdpt[], boot_pdpt_high[];
extern u8 image_end[];

/* A zeroed page (or n contiguous ones, aligned to align): physical address. */
u64 page_alloc(void);
u64 pages_alloc(u64 n, u64 align);
/* Free all allocations and put the boot page tables back. */
void pages_free_all(void);
void *phys(u64 pa);
u64 virt_to_phys(const void *p);
/* All of guest memory, bytes. */
u64 memory_size(void);

/* A new root with the kernel's mappings; pass to write_cr3(). */
u64 space_new(void);
/*
 * The entry for va at level 1..4 of the tree, making tables on the way; level 2
 * and 3 give the place for a large page.
 */
u64 *pte_at(u64 root, u64 va, int level);
void map(u64 root, u64 va, u64 pa, u64 flags);
/* Map one new page and return its direct-map address. */
void *map_new(u64 root, u64 va, u64 flags);

/* --- local APIC ----------------------------------------------------------- */

#define APIC_ID 0x20
#define APIC_TPR 0x80
#define APIC_PPR 0xa0
#define APIC_EOI 0xb0
#define APIC_SPIV 0xf0
#define APIC_ISR 0x100
#define APIC_IRR 0x200
#define APIC_ESR 0x280
#define APIC_ICR 0x300
#define APIC_ICR2 0x310
#define APIC_LVTT 0x320
#define APIC_TMICT 0x380
#define APIC_TMCCT 0x390
#define APIC_TDCR 0x3e0

u32 apic_read(u32 reg);
void apic_write(u32 reg, u32 value);
/* Enable, all vectors allowed, PIC masked. */
void apic_init(void);
void apic_eoi(void);
void apic_self(u8 vector);
void apic_self_nmi(void);

#endif
