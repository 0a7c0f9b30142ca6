// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stores of every kind to pages that something is derived from: page tables of
 * each level, code, GDT, IDT, TSS. Memory and effect must both be right.
 *
 * A way of writing puts a 64-bit word at an address; every way is tried on
 * every kind of page.
 */
#include "x86.h"

#define VA 0x0000600000000000ul

static u64 root(void)
{
	return read_cr3() & PTE_ADDR;
}

/* --- ways of writing 8 bytes ---------------------------------------------- */

typedef void (*writer)(u64 *p, u64 v);

static void by_mov(u64 *p, u64 v)
{
	store64(p, v);
}

static void by_two_halves(u64 *p, u64 v)
{
	((volatile u32 *)p)[1] = v >> 32;
	((volatile u32 *)p)[0] = v;
}

static void by_bytes(u64 *p, u64 v)
{
	int i;

	for (i = 7; i >= 0; i--)
		((volatile u8 *)p)[i] = v >> (8 * i);
}

static void by_unaligned_pair(u64 *p, u64 v)
{
	u16 before = ((u16 *)p)[-1], after = ((u16 *)p)[4];

	*(volatile u64 *)((u8 *)p + 2) = (v >> 16) | (u64)after << 48;
	*(volatile u32 *)((u8 *)p - 2) = before | (u32)v << 16;
}

static void by_xchg(u64 *p, u64 v)
{
	asm volatile("xchgq %0, %1" : "+r"(v), "+m"(*p) : : "memory");
}

static void by_cmpxchg(u64 *p, u64 v)
{
	u64 old = *p;

	asm volatile("lock cmpxchgq %2, %1" : "+a"(old), "+m"(*p) : "r"(v) : "memory");
}

static void by_cmpxchg16b(u64 *p, u64 v)
{
	/* the 16-byte unit that holds *p */
	u64 *unit = (u64 *)((u64)p & ~15ul);
	u64 lo = unit[0], hi = unit[1];
	u64 new_lo = p == unit ? v : lo, new_hi = p == unit ? hi : v;

	asm volatile("lock cmpxchg16b (%4)"
		     : "+a"(lo), "+d"(hi) : "b"(new_lo), "c"(new_hi), "r"(unit) : "memory");
}

static void by_xadd(u64 *p, u64 v)
{
	u64 add = v - *p;

	asm volatile("lock xaddq %0, %1" : "+r"(add), "+m"(*p) : : "memory");
}

static void by_and_or(u64 *p, u64 v)
{
	asm volatile("lock andq %1, %0; lock orq %1, %0" : "+m"(*p) : "r"(v) : "memory");
}

static void by_xor(u64 *p, u64 v)
{
	u64 x = v ^ *p;

	asm volatile("xorq %1, %0" : "+m"(*p) : "r"(x) : "memory");
}

static void by_inc_dec(u64 *p, u64 v)
{
	store64(p, v - 1);
	asm volatile("incq %0" : "+m"(*p) : : "memory");
}

static void by_bts_btr(u64 *p, u64 v)
{
	u64 i;

	for (i = 0; i < 64; i++) {
		if (v >> i & 1)
			asm volatile("lock btsq %1, %0" : "+m"(*p) : "r"(i) : "memory");
		else
			asm volatile("btrq %1, %0" : "+m"(*p) : "r"(i) : "memory");
	}
}

static void by_stosq(u64 *p, u64 v)
{
	asm volatile("stosq" : "+D"(p) : "a"(v) : "memory");
}

static void by_movsb(u64 *p, u64 v)
{
	u64 *from = &v;
	u64 n = 8;

	asm volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(n) : : "memory");
}

static void by_movsq_with_neighbours(u64 *p, u64 v)
{
	u64 copy[3] = { p[-1], v, p[1] };
	u64 *from = copy, *to = p - 1;
	u64 n = 3;

	asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static void by_push(u64 *p, u64 v)
{
	asm volatile("movq %%rsp, %%rbx; leaq 8(%0), %%rsp; pushq %1; movq %%rbx, %%rsp"
		     : : "r"(p), "r"(v) : "rbx", "memory");
}

static void by_pop(u64 *p, u64 v)
{
	asm volatile("pushq %1; popq (%0)" : : "r"(p), "r"(v) : "memory");
}

static void by_sse(u64 *p, u64 v)
{
	asm volatile("movq %1, %%xmm0; movq %%xmm0, (%0)" : : "r"(p), "r"(v) : "memory");
}

static void by_movups(u64 *p, u64 v)
{
	u64 pair[2] = { v, p[1] };

	asm volatile("movups %1, %%xmm0; movups %%xmm0, (%0)"
		     : : "r"(p), "m"(pair) : "memory");
}

static void by_movnti(u64 *p, u64 v)
{
	asm volatile("movnti %1, (%0); sfence" : : "r"(p), "r"(v) : "memory");
}

static void by_fistp(u64 *p, u64 v)
{
	asm volatile("fildq %1; fistpq (%0)" : : "r"(p), "m"(v) : "memory");
}

/* Not RCL: TCG, as the hardware below, changes CF before its store faults. */
static void by_adc(u64 *p, u64 v)
{
	store64(p, v - 1);
	asm volatile("stc; adcq $0, %0" : "+m"(*p) : : "memory", "cc");
}

static void by_shift(u64 *p, u64 v)
{
	store64(p, v >> 1);
	asm volatile("shlq $1, %0" : "+m"(*p) : : "memory", "cc");
	if (v & 1)
		asm volatile("notq %0; btcq $0, %0; notq %0" : "+m"(*p) : : "memory", "cc");
}

static const struct {
	writer write;
	const char *name;
} ways[] = {
#define WAY(f) { f, #f }
	WAY(by_mov), WAY(by_two_halves), WAY(by_bytes), WAY(by_unaligned_pair),
	WAY(by_xchg), WAY(by_cmpxchg), WAY(by_cmpxchg16b), WAY(by_xadd),
	WAY(by_and_or), WAY(by_xor), WAY(by_inc_dec), WAY(by_bts_btr),
	WAY(by_stosq), WAY(by_movsb), WAY(by_movsq_with_neighbours),
	WAY(by_push), WAY(by_pop), WAY(by_sse), WAY(by_movups), WAY(by_movnti),
	WAY(by_fistp), WAY(by_adc), WAY(by_shift),
};

#define FOR_EACH_WAY(w) for (w = 0; w < ARRAY_SIZE(ways); w++)

/* --- page tables ---------------------------------------------------------- */

static void check_level(int level)
{
	u64 va = VA + (1ul << 12) + (1ul << 21) + (1ul << 30) + (1ul << 39);
	u64 *a, *b, *e;
	u64 first, second, target[2];
	unsigned int w, round;

	/* two subtrees to exchange */
	a = map_new(root(), va, PTE_P | PTE_W);
	b = map_new(root(), va + (1ul << (12 + 9 * (level - 1))), PTE_P | PTE_W);
	*a = 0xaaaa;
	*b = 0xbbbb;
	e = pte_at(root(), va, level);
	first = *e;
	second = e[1];
	target[0] = first;
	target[1] = second;
	FOR_EACH_WAY(w) {
		for (round = 0; round < 4; round++) {
			u64 want = target[round & 1];

			ways[w].write(e, want);
			invlpg((void *)va);
			write_cr3(read_cr3());
			CHECK((*e & ~(PTE_A | PTE_D)) == (want & ~(PTE_A | PTE_D)),
			      "%s: entry %lx, not %lx", ways[w].name, *e, want);
			CHECK((e[1] & ~(PTE_A | PTE_D)) == (second & ~(PTE_A | PTE_D)),
			      "%s changed the next entry", ways[w].name);
			CHECK(load64((void *)va) == (round & 1 ? 0xbbbb : 0xaaaa),
			      "%s: not the page it should be", ways[w].name);
		}
	}
}

TEST(stores_to_leaf_tables) { check_level(1); }
TEST(stores_to_level_2_tables) { check_level(2); }
TEST(stores_to_level_3_tables) { check_level(3); }
TEST(stores_to_the_root) { check_level(4); }

TEST(a_store_across_two_page_tables)
{
	u64 pa = pages_alloc(2, PAGE_SIZE);
	u64 *t0 = phys(pa), *t1 = phys(pa + PAGE_SIZE);
	u64 x = page_alloc(), y = page_alloc();
	u64 va = VA, pair[2];
	int i;

	store64(phys(x), 1);
	store64(phys(y), 2);
	*pte_at(root(), va, 2) = pa | PTE_P | PTE_W;
	*pte_at(root(), va + (2ul << 20), 2) = (pa + PAGE_SIZE) | PTE_P | PTE_W;
	for (i = 0; i < 20; i++) {
		pair[0] = (i & 1 ? x : y) | PTE_P | PTE_W;
		pair[1] = (i & 1 ? y : x) | PTE_P | PTE_W;
		asm volatile("movups %1, %%xmm0; movups %%xmm0, (%0)"
			     : : "r"(&t0[511]), "m"(pair) : "memory");
		write_cr3(read_cr3());
		CHECK_EQ(t0[511], pair[0]);
		CHECK_EQ(t1[0], pair[1]);
		CHECK_EQ(load64((void *)(va + 511 * PAGE_SIZE)), i & 1 ? 1 : 2);
		CHECK_EQ(load64((void *)(va + 512 * PAGE_SIZE)), i & 1 ? 2 : 1);
	}
	/* an 8-byte store with 4 bytes in each */
	asm volatile("movq %1, (%0)" : : "r"((u8 *)t1 - 4),
		     "r"((t0[511] >> 32) | t1[0] << 32) : "memory");
	write_cr3(read_cr3());
	CHECK_EQ(load64((void *)(va + 511 * PAGE_SIZE)), 1);
	CHECK_EQ(load64((void *)(va + 512 * PAGE_SIZE)), 2);
}

TEST(a_whole_table_copied_and_cleared)
{
	u64 pa = pages_alloc(2, PAGE_SIZE), i;
	u64 *table = phys(pa), *image = phys(page_alloc());
	u64 *from, *to, n;

	for (i = 0; i < 512; i++) {
		u64 page = page_alloc();

		store64(phys(page), i + 7);
		image[i] = page | PTE_P | PTE_W;
	}
	*pte_at(root(), VA, 2) = pa | PTE_P | PTE_W;
	CHECK_TRAP(VEC_PF, 0, load64((void *)VA));
	from = image;
	to = table;
	n = 512;
	asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	for (i = 0; i < 512; i += 3)
		CHECK_EQ(load64((void *)(VA + i * PAGE_SIZE)), i + 7);
	to = table;
	n = 4096;
	asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(0) : "memory");
	write_cr3(read_cr3());
	for (i = 0; i < 512; i += 50)
		CHECK_TRAP(VEC_PF, 0, load64((void *)(VA + i * PAGE_SIZE)));
	/* backwards */
	from = image + 511;
	to = table + 511;
	n = 512;
	asm volatile("std; rep movsq; cld" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	for (i = 0; i < 512; i += 3)
		CHECK_EQ(load64((void *)(VA + i * PAGE_SIZE)), i + 7);
}

TEST(user_stores_to_a_page_table)
{
	u64 target = page_alloc(), table = page_alloc();
	struct user u;
	u64 i;

	static const u8 code[] = { 0x48, 0x89, 0x03, 0xf0, 0x48, 0x83, 0x0b, 0x02, 0xcc };

	/* mov %rax, (%rbx); lock orq $2, (%rbx); int3 */
	user_init(&u, code, code + sizeof(code));
	store64(phys(target), 5);
	*pte_at(root(), VA, 2) = table | PTE_P | PTE_W;
	map(root(), VA + (4ul << 20), table, PTE_P | PTE_W | PTE_U);
	for (i = 0; i < 20; i++) {
		u.rip = USER_CODE;
		u.rbx = VA + (4ul << 20) + i * 8;
		u.rax = target | PTE_P;
		user_run(&u);
		CHECK_EQ(u.vector, VEC_BP);
		CHECK_EQ(load64((void *)(VA + i * PAGE_SIZE)), 5);
		store64((void *)(VA + i * PAGE_SIZE), 5);
	}
}

/* --- code ----------------------------------------------------------------- */

TEST(stores_to_a_code_page)
{
	u64 *code = map_new(root(), VA, PTE_P | PTE_W);
	unsigned int w, round;

	FOR_EACH_WAY(w) {
		for (round = 0; round < 4; round++) {
			/* mov $imm32, %eax; ret; two nops */
			u64 imm = w * 16 + round;

			ways[w].write(code + 2, 0x9090c300000000b8ul | imm << 8);
			cpuid(0, 0);
			CHECK(call_at(VA + 16) == imm, "%s: old code runs", ways[w].name);
		}
	}
}

TEST(stores_through_the_executing_mapping)
{
	unsigned int w, round;

	map_new(root(), VA, PTE_P | PTE_W);
	FOR_EACH_WAY(w) {
		for (round = 0; round < 4; round++) {
			u64 imm = w * 16 + round;

			ways[w].write((u64 *)(VA + 16), 0x9090c300000000b8ul | imm << 8);
			cpuid(0, 0);
			CHECK(call_at(VA + 16) == imm, "%s: old code runs", ways[w].name);
		}
	}
}

/* A store to a code page from that same page, in every row of a loop. */
TEST(a_stack_on_a_code_page)
{
	u64 got;

	map_new(root(), VA, PTE_P | PTE_W);
	/* push %rdi; push %rsi; pop %rax; pop %rdx; add %rdx, %rax; ret */
	memcpy((void *)VA, "\x57\x56\x58\x5a\x48\x01\xd0\xc3", 8);
	asm volatile("movq %%rsp, %%rbx; movq %1, %%rsp; movl $40, %%edi; movl $2, %%esi;"
		     "callq *%2; movq %%rbx, %%rsp"
		     : "=&a"(got) : "r"(VA + 4096), "r"(VA)
		     : "rbx", "rcx", "rdx", "rsi", "rdi", "memory");
	CHECK_EQ(got, 42);
}

/* --- descriptor tables ---------------------------------------------------- */

TEST(stores_to_the_gdt)
{
	u64 data = guest_gdt[SEL_KDATA / 8];
	volatile u64 *slot = &guest_gdt[SEL_FREE / 8 + 1];
	unsigned int w;

	FOR_EACH_WAY(w) {
		/* a base that FS shows */
		u64 base = 0x10000 + w * 0x100;

		ways[w].write((u64 *)slot, data | base << 16);
		write_fs(SEL_FREE + 8);
		CHECK(rdmsr(MSR_FS_BASE) == base, "%s: base %lx, not %lx",
		      ways[w].name, rdmsr(MSR_FS_BASE), base);
		ways[w].write((u64 *)slot, 0);
		CHECK_TRAP(VEC_GP, SEL_FREE + 8, write_fs(SEL_FREE + 8));
	}
	write_fs(0);
}

TEST(loading_a_segment_sets_its_accessed_bit)
{
	volatile u64 *slot = &guest_gdt[SEL_FREE / 8];

	*slot = guest_gdt[SEL_KDATA / 8] & ~(1ul << 40);
	write_fs(SEL_FREE);
	CHECK_EQ(*slot >> 40 & 1, 1);
}

TEST(stores_to_the_idt)
{
	u64 *gate = (u64 *)&guest_idt[0x90];
	u64 to_90 = gate[0], to_91;
	unsigned int w;

	to_91 = ((u64 *)&guest_idt[0x91])[0];
	FOR_EACH_WAY(w) {
		struct trap t;

		ways[w].write(gate, to_91);
		CATCH(&t, asm volatile("int $0x90"));
		CHECK(t.vector == 0x91, "%s: vector %lx", ways[w].name, t.vector);
		ways[w].write(gate, to_90);
		CATCH(&t, asm volatile("int $0x90"));
		CHECK(t.vector == 0x90, "%s: vector %lx", ways[w].name, t.vector);
	}
}

static volatile u64 frame_at;

static bool note_frame(struct trap *t)
{
	frame_at = (u64)t + offsetof(struct trap, cr2);
	return true;
}

TEST(stores_to_the_tss)
{
	static u8 stacks[2][4096] __attribute__((aligned(4096)));
	unsigned int w;

	set_handler(0x90, note_frame);
	set_gate(0x90, trap_stubs + 16 * 0x90, SEL_KCODE, 14, 0, 4);
	FOR_EACH_WAY(w) {
		u64 top = (u64)stacks[w & 1] + 4096;

		/* the field is not aligned; copy into place by this way */
		u64 tmp[4] = { 0 };

		ways[w].write(tmp + 1, top);
		guest_tss.ist[3] = tmp[1];
		asm volatile("int $0x90" : : : "memory");
		CHECK(frame_at == top, "%s: frame at %lx, not %lx", ways[w].name, frame_at, top);
	}
}

USER_ASM(user_int3, "int3");

TEST(rsp0_is_read_at_each_entry)
{
	static u8 stacks[4][4096] __attribute__((aligned(4096)));
	struct user u;
	int i;

	user_init(&u, user_int3, user_int3_end);
	for (i = 0; i < 20; i++) {
		u64 top = (u64)stacks[i % 4] + 4096;

		guest_tss.rsp[0] = top;
		u.rip = USER_CODE;
		memset(stacks, 0, sizeof(stacks));
		user_run(&u);
		CHECK_EQ(u.vector, VEC_BP);
		/* the frame was there; its SS has been redirected */
		CHECK_EQ(*(u64 *)(top - 8), SEL_KDATA);
	}
}

/* The GDT, IDT and TSS all on one page, and the table register moved. */
TEST(tables_that_move)
{
	u64 *page = map_new(root(), VA, PTE_P | PTE_W);
	struct trap t;
	int i;

	for (i = 0; i < 5; i++) {
		memcpy(page, guest_gdt, (u8 *)guest_gdt_end - (u8 *)guest_gdt);
		load_gdt((void *)VA, (u8 *)guest_gdt_end - (u8 *)guest_gdt - 1);
		page[SEL_FREE / 8] = guest_gdt[SEL_KDATA / 8] | (u64)(i + 1) << 20;
		write_fs(SEL_FREE);
		CHECK_EQ(rdmsr(MSR_FS_BASE), (u64)(i + 1) << 4);
		load_gdt(guest_gdt, (u8 *)guest_gdt_end - (u8 *)guest_gdt - 1);
		CATCH(&t, write_fs(SEL_FREE));
		CHECK_EQ(t.vector, VEC_GP);
		memcpy((u8 *)page, guest_idt, sizeof(guest_idt));
		load_idt((void *)VA, 4095);
		CATCH(&t, asm volatile("int $0x95"));
		CHECK_EQ(t.vector, 0x95);
		load_idt(guest_idt, 4095);
		memset(page, 0, PAGE_SIZE);
	}
}
