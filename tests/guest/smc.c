// SPDX-License-Identifier: GPL-2.0-only
/*
 * Code that changes: by its own stores, through aliases, by new mappings.
 *
 * A jump or a serializing instruction stands between each store and the
 * execution, as the manuals ask; same-address stores need no more on x86.
 */
#include "x86.h"

#define VA 0x40000000ul
#define VA2 0x40400000ul
#define VA3 0xffffc90000000000ul

static u64 root(void)
{
	return read_cr3() & PTE_ADDR;
}

static void serialize(void)
{
	cpuid(0, 0);
}

/* mov $value, %eax; ret */
static void put_return(volatile u8 *p, u32 value)
{
	p[0] = 0xb8;
	p[1] = value;
	p[2] = value >> 8;
	p[3] = value >> 16;
	p[4] = value >> 24;
	p[5] = 0xc3;
}

/* As above, bytes first to last but with one 8-byte store. */
static void put_return_at_once(volatile void *p, u32 value)
{
	*(volatile u64 *)p = 0xb8ul | (u64)value << 8 | 0xc3ul << 40;
}

static volatile u8 *code_page(u64 va)
{
	return map_new(root(), va, PTE_P | PTE_W);
}

TEST(patched_code_runs_as_patched)
{
	u32 i;

	code_page(VA);
	for (i = 0; i < 200; i++) {
		put_return((u8 *)VA, i * 0x01010101);
		serialize();
		CHECK_EQ(call_at(VA), i * 0x01010101);
	}
}

TEST(code_patched_through_an_alias_runs_as_patched)
{
	u64 pa = virt_to_phys((void *)code_page(VA));
	u32 i;

	map(root(), VA2, pa, PTE_P | PTE_W);
	for (i = 0; i < 200; i++) {
		put_return(i & 1 ? (u8 *)VA2 : phys(pa), i);
		serialize();
		CHECK_EQ(call_at(VA), i);
		if (i % 8 == 0)
			CHECK_EQ(call_at(VA2), i);
	}
}

TEST(code_mapped_read_only_and_patched_through_an_alias)
{
	volatile u8 *alias = code_page(VA);
	u32 i;

	map(root(), VA, virt_to_phys((void *)alias), PTE_P);
	for (i = 0; i < 50; i++) {
		put_return_at_once(alias + i * 8, i);
		serialize();
		CHECK_EQ(call_at(VA + i * 8), i);
		put_return_at_once(alias + i * 8, i + 1);
		serialize();
		CHECK_EQ(call_at(VA + i * 8), i + 1);
	}
}

TEST(other_code_on_a_patched_page_stays_right)
{
	u32 i;

	code_page(VA);
	put_return((u8 *)VA, 1);
	put_return((u8 *)VA + 64, 2);
	put_return((u8 *)VA + 128, 3);
	for (i = 0; i < 300; i++) {
		CHECK_EQ(call_at(VA), 1);
		put_return((u8 *)VA + 64, i);
		serialize();
		CHECK_EQ(call_at(VA + 128), 3);
		CHECK_EQ(call_at(VA + 64), i);
	}
}

/* Data next to code: stores must go on working and not disturb the code. */
TEST(data_on_a_code_page)
{
	volatile u64 *counter = (volatile u64 *)(VA + 1024);
	u64 i;

	code_page(VA);
	/* incq 1024-... (counter); mov counter, %rax; ret */
	memcpy((void *)VA, "\x48\xff\x05\xf9\x03\x00\x00\x48\x8b\x05\xf2\x03\x00\x00\xc3", 15);
	for (i = 1; i < 2000; i++)
		CHECK_EQ(call_at(VA), i);
	CHECK_EQ(*counter, 1999);
}

/*
 * The next instruction is changed by the one before it. x86 keeps stores and
 * fetches of one CPU in order when both use the same linear address.
 */
CODE(next_insn);
asm(".pushsection .rodata\n"
    "next_insn:\n"
    "	movl	%edi, 1+0f(%rip)\n"
    "0:	movl	$0x11111111, %eax\n"
    "	ret\n"
    "next_insn_end:\n"
    ".popsection");

static u64 call_with(u64 addr, u64 arg)
{
	return ((u64(*)(u64))addr)(arg);
}

TEST(an_instruction_can_change_the_next_one)
{
	u64 i;

	code_page(VA);
	memcpy((void *)VA, next_insn, next_insn_end - next_insn);
	for (i = 0; i < 100; i++)
		CHECK_EQ(call_with(VA, i * 7), i * 7);
}

/* A loop whose body counts in its own immediate operand. */
CODE(own_loop);
asm(".pushsection .rodata\n"
    "own_loop:\n"
    "	xorl	%eax, %eax\n"
    "	movl	%edi, %ecx\n"
    "1:	addl	$0, %eax\n"
    "	incb	2+1b(%rip)\n"
    "	decl	%ecx\n"
    "	jnz	1b\n"
    "	ret\n"
    "own_loop_end:\n"
    ".popsection");

TEST(a_loop_that_changes_itself)
{
	code_page(VA);
	memcpy((void *)VA, own_loop, own_loop_end - own_loop);
	CHECK_EQ(call_with(VA, 50), 49 * 50 / 2);
}

/* The patched instruction crosses from one page into the next. */
TEST(an_instruction_across_two_pages)
{
	volatile u8 *first = code_page(VA), *second = code_page(VA + PAGE_SIZE);
	u32 i;

	for (i = 1; i < 5; i++) {
		u8 *p = (u8 *)VA + PAGE_SIZE - i;
		u32 v;

		for (v = 0; v < 20; v++) {
			put_return(p, 0x01020304 * (v + 1));
			serialize();
			CHECK_EQ(call_at((u64)p), 0x01020304 * (v + 1));
		}
		/* only the part on the second page, through its alias */
		second[4 - i] = 0x77;
		serialize();
		CHECK_EQ((u32)call_at((u64)p) >> 24, 0x77);
	}
	(void)first;
}

TEST(an_instruction_across_two_pages_follows_a_new_second_page)
{
	volatile u8 *other, *p;
	u32 i;

	code_page(VA);
	code_page(VA + PAGE_SIZE);
	other = code_page(VA2);
	p = (u8 *)VA + PAGE_SIZE - 2;
	put_return(p, 0x11223344);
	CHECK_EQ(call_at((u64)p), 0x11223344);
	memcpy((void *)other, "\x88\x99\xaa\xc3", 4);
	for (i = 0; i < 4; i++) {
		u64 *a = pte_at(root(), VA + PAGE_SIZE, 1), *b = pte_at(root(), VA2, 1);
		u64 tmp = *a;

		*a = *b;
		*b = tmp;
		invlpg((void *)(VA + PAGE_SIZE));
		invlpg((void *)VA2);
		CHECK_EQ(call_at((u64)p), i & 1 ? 0x11223344 : 0xaa998844);
	}
}

TEST(an_instruction_whose_second_page_is_missing_faults_there)
{
	struct trap t;

	code_page(VA);
	memcpy((void *)(VA + PAGE_SIZE - 3), "\xb8\x01\x02", 3);
	CATCH(&t, call_at(VA + PAGE_SIZE - 3));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.cr2, VA + PAGE_SIZE);
	CHECK_EQ(t.rip, VA + PAGE_SIZE - 3);
	CHECK_EQ(t.error & ~PF_I, 0);
}

/* Code before the missing page must run to its end first. */
TEST(code_up_to_a_missing_page_runs)
{
	struct trap t;

	code_page(VA);
	memset((void *)VA, 0x90, PAGE_SIZE);
	memcpy((void *)(VA + PAGE_SIZE - 5), "\xbb\x78\x56\x34\x12", 5);
	CATCH(&t, call_at(VA + PAGE_SIZE - 64));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.rip, VA + PAGE_SIZE);
	CHECK_EQ(t.rbx, 0x12345678);
}

/* --- mappings ------------------------------------------------------------- */

TEST(code_remapped_under_the_same_address)
{
	u64 a = page_alloc(), b = page_alloc();
	u64 i;

	put_return(phys(a), 0xa);
	put_return(phys(b), 0xb);
	for (i = 0; i < 100; i++) {
		map(root(), VA, i & 1 ? a : b, PTE_P);
		invlpg((void *)VA);
		CHECK_EQ(call_at(VA), i & 1 ? 0xa : 0xb);
	}
}

TEST(code_remapped_at_each_level)
{
	static const u64 span[] = { 0, 1ul << 12, 1ul << 21, 1ul << 30, 1ul << 39 };
	u64 i;
	int level;

	for (level = 1; level <= 4; level++) {
		u64 va = 0x0000600000000000ul, vb = va + span[level];
		u64 *ea, *eb;

		put_return(map_new(root(), va, PTE_P), 0xa);
		put_return(map_new(root(), vb, PTE_P), 0xb);
		ea = pte_at(root(), va, level);
		eb = pte_at(root(), vb, level);
		for (i = 0; i < 20; i++) {
			u64 tmp = *ea;

			CHECK_EQ(call_at(va), i & 1 ? 0xb : 0xa);
			CHECK_EQ(call_at(vb), i & 1 ? 0xa : 0xb);
			*ea = *eb;
			*eb = tmp;
			write_cr3(read_cr3());
		}
	}
}

/* Both ends of a direct branch lie in pages that are exchanged separately. */
TEST(a_branch_into_a_remapped_page_follows_the_mapping)
{
	u64 a = page_alloc(), b = page_alloc();
	u8 *caller = (u8 *)code_page(VA);
	u64 i;

	caller[0] = 0xe9; /* jmp to the next page */
	*(u32 *)(caller + 1) = PAGE_SIZE - 5;
	put_return(phys(a), 0xa);
	put_return(phys(b), 0xb);
	for (i = 0; i < 100; i++) {
		map(root(), VA + PAGE_SIZE, i & 1 ? a : b, PTE_P);
		invlpg((void *)(VA + PAGE_SIZE));
		CHECK_EQ(call_at(VA), i & 1 ? 0xa : 0xb);
	}
	map(root(), VA + PAGE_SIZE, 0, 0);
	invlpg((void *)(VA + PAGE_SIZE));
	CHECK_TRAP(VEC_PF, 0 | PF_I, call_at(VA));
}

/* PF_I is reported when NX is enabled, whatever the entry. */
TEST(unmapped_code_faults_after_invlpg)
{
	u64 i;

	for (i = 0; i < 20; i++) {
		put_return(map_new(root(), VA, PTE_P | PTE_W), i);
		CHECK_EQ(call_at(VA), i);
		map(root(), VA, 0, 0);
		invlpg((void *)VA);
		CHECK_TRAP(VEC_PF, PF_I, call_at(VA));
	}
}

TEST(code_made_non_executable_faults)
{
	u64 i;

	put_return(code_page(VA), 5);
	for (i = 0; i < 20; i++) {
		*pte_at(root(), VA, 1) &= ~PTE_NX;
		invlpg((void *)VA);
		CHECK_EQ(call_at(VA), 5);
		*pte_at(root(), VA, 1) |= PTE_NX;
		invlpg((void *)VA);
		CHECK_TRAP(VEC_PF, PF_P | PF_I, call_at(VA));
	}
}

TEST(address_spaces_have_different_code_at_one_address)
{
	u64 a = read_cr3(), b = space_new();
	u64 i;

	put_return(map_new(a & PTE_ADDR, VA, PTE_P), 0xa);
	put_return(map_new(b, VA, PTE_P), 0xb);
	for (i = 0; i < 200; i++) {
		write_cr3(i & 1 ? a : b);
		CHECK_EQ(call_at(VA), i & 1 ? 0xa : 0xb);
	}
}

/* --- the ways Linux patches itself ---------------------------------------- */

static u64 int3_target, int3_hits;

static bool emulate_jump(struct trap *t)
{
	int3_hits++;
	t->rip = int3_target;
	return true;
}

/* text_poke: int3 over the first byte, then the tail, then the first byte. */
static void text_poke(volatile u8 *alias, const u8 *insn, unsigned int len)
{
	unsigned int i;

	alias[0] = 0xcc;
	serialize();
	for (i = 1; i < len; i++)
		alias[i] = insn[i];
	serialize();
	alias[0] = insn[0];
	serialize();
}

TEST(a_static_key_flips)
{
	static const u8 nop5[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	static const u8 jmp5[] = { 0xe9, 6, 0, 0, 0 };
	volatile u8 *alias = code_page(VA);
	u64 i;

	memcpy((void *)alias, nop5, 5);
	put_return(alias + 5, 1);
	put_return(alias + 11, 2);
	for (i = 0; i < 100; i++) {
		CHECK_EQ(call_at(VA), i & 1 ? 2 : 1);
		text_poke(alias, i & 1 ? nop5 : jmp5, 5);
	}
}

TEST(a_breakpoint_in_the_middle_of_patching_is_taken)
{
	volatile u8 *alias = code_page(VA);
	u64 i;

	set_handler(VEC_BP, emulate_jump);
	put_return(alias + 5, 1);
	put_return(alias + 11, 2);
	int3_target = VA + 11;
	int3_hits = 0;
	memcpy((void *)alias, "\x0f\x1f\x44\x00\x00", 5);
	for (i = 0; i < 50; i++) {
		CHECK_EQ(call_at(VA), 1);
		alias[0] = 0xcc;
		serialize();
		CHECK_EQ(call_at(VA), 2);
		alias[0] = 0x0f;
		serialize();
	}
	CHECK_EQ(int3_hits, 50);
}

/* A call site that is redirected, as static calls and ftrace do. */
TEST(a_call_site_is_redirected)
{
	volatile u8 *alias = code_page(VA);
	u64 i;

	/* sub $8, %rsp; call rel32; add $8, %rsp; ret */
	memcpy((void *)alias, "\x48\x83\xec\x08\xe8\x00\x00\x00\x00\x48\x83\xc4\x08\xc3", 14);
	for (i = 0; i < 8; i++)
		put_return(alias + 256 + i * 16, i + 100);
	for (i = 0; i < 200; i++) {
		u8 call[5] = { 0xe8 };

		*(u32 *)(call + 1) = 256 + i % 8 * 16 - 9;
		text_poke(alias + 4, call, 5);
		CHECK_EQ(call_at(VA), i % 8 + 100);
	}
}

TEST(code_patched_while_write_protection_is_off)
{
	u64 cr0 = read_cr0();
	u64 i;

	put_return(code_page(VA), 0);
	*pte_at(root(), VA, 1) &= ~PTE_W;
	invlpg((void *)VA);
	for (i = 0; i < 50; i++) {
		write_cr0(cr0 & ~CR0_WP);
		put_return((u8 *)VA, i);
		write_cr0(cr0);
		CHECK_EQ(call_at(VA), i);
	}
}

/* As Linux's temporary mapping: another root, a user-half alias, then back. */
TEST(code_patched_through_a_temporary_address_space)
{
	u64 pa = virt_to_phys((void *)code_page(VA3));
	u64 home = read_cr3(), temp = space_new();
	u64 i;

	memcpy(phys(temp + 2048), phys((home & PTE_ADDR) + 2048), 2048);
	for (i = 0; i < 50; i++) {
		map(temp, VA2, pa, PTE_P | PTE_W);
		write_cr3(temp);
		put_return((u8 *)VA2, i);
		map(temp, VA2, 0, 0);
		write_cr3(home);
		CHECK_EQ(call_at(VA3), i);
	}
}

/* --- user mode ------------------------------------------------------------ */

USER_ASM(user_smc,
	 "movl %edi, 1+0f(%rip); jmp 0f; 0: movl $0, %eax; int3");
USER_ASM(user_call, "call *%rbx; int3");

TEST(user_code_can_change_itself)
{
	struct user u;
	u64 i;

	user_init(&u, user_smc, user_smc_end);
	*pte_at(root(), USER_CODE, 1) |= PTE_W;
	invlpg((void *)USER_CODE);
	for (i = 0; i < 50; i++) {
		u.rip = USER_CODE;
		u.rdi = i * 3;
		user_run(&u);
		CHECK_EQ(u.vector, VEC_BP);
		CHECK_EQ(u.rax, i * 3);
	}
}

TEST(user_code_is_changed_by_the_kernel)
{
	struct user u;
	u64 i;

	user_init(&u, user_call, user_call_end);
	code_page(VA);
	*pte_at(root(), VA, 1) |= PTE_U;
	u.rbx = VA;
	for (i = 0; i < 50; i++) {
		put_return((u8 *)VA, i);
		serialize();
		u.rip = USER_CODE;
		user_run(&u);
		CHECK_EQ(u.vector, VEC_BP);
		CHECK_EQ(u.rax, i);
	}
}

/* One page that is user code, kernel code and data at the same time. */
TEST(a_page_is_code_for_both_and_data)
{
	struct user u;
	u64 i;

	user_init(&u, user_call, user_call_end);
	code_page(VA);
	*pte_at(root(), VA, 1) |= PTE_U;
	u.rbx = VA + 32;
	for (i = 0; i < 50; i++) {
		put_return((u8 *)VA, i);
		put_return((u8 *)VA + 32, i + 1);
		store64((void *)(VA + 64), i + 2);
		serialize();
		CHECK_EQ(call_at(VA), i);
		u.rip = USER_CODE;
		user_run(&u);
		CHECK_EQ(u.rax, i + 1);
		CHECK_EQ(load64((void *)(VA + 64)), i + 2);
	}
}
