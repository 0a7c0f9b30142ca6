// SPDX-License-Identifier: GPL-2.0-only
/*
 * IRET: every form, every check.
 */
#include "x86.h"

struct frame {
	u64 rip, cs, rflags, rsp, ss;
};

/* iret_kernel(f) executes IRETQ on f; iret_landing notes what it loaded. */
void iret_kernel(const struct frame *f);
void iretl_kernel(const u32 *f);
extern u8 iret_landing[], iret_here[];
u64 iret_rsp, seen_rsp, seen_flags, seen_cs, seen_ss;
asm(".text\n"
    "iret_kernel:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	movq %rsp, iret_rsp(%rip)\n"
    "	pushq 32(%rdi); pushq 24(%rdi); pushq 16(%rdi); pushq 8(%rdi); pushq (%rdi)\n"
    "iret_here:\n"
    "	iretq\n"
    "iretl_kernel:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	movq %rsp, iret_rsp(%rip)\n"
    "	movq %rdi, %rsp\n"
    "	iretl\n"
    "iret_landing:\n"
    "	movq %rsp, seen_rsp(%rip)\n"
    "	movq iret_rsp(%rip), %rsp\n"
    "	pushfq; popq seen_flags(%rip)\n"
    "	movl %cs, %eax; movq %rax, seen_cs(%rip)\n"
    "	movl %ss, %eax; movq %rax, seen_ss(%rip)\n"
    "	pushq $2; popfq\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n");

CODE(low_landing);
asm(".pushsection .rodata\nlow_landing: jmp *0f(%rip)\n0: .quad iret_landing\n"
    "low_landing_end:\n.popsection");

USER_ASM(stop, "int3");
USER_ASM(nops, "nop; nop; int3");
USER_ASM(show_ds, "mov %ds, %eax; mov %es, %ebx; int3");
USER_ASM(user_iret,
	 "mov %ss, %eax; push %rax; lea 8(%rsp), %rbx; push %rbx\n"
	 "push %rsi; mov %cs, %eax; push %rax; lea 1f(%rip), %rax; push %rax\n"
	 "iretq; ud2; 1: pushfq; pop %rcx; mov %rsp, %rdx; int3");
USER_ASM(user_iret_up,
	 "push $0x10; push %rsp; push $2; push $8; lea 1f(%rip), %rax; push %rax\n"
	 "1: iretq");

static struct frame kernel_frame(void)
{
	static u64 stack[64];

	return (struct frame){ (u64)iret_landing, SEL_KCODE, 2,
			       (u64)(stack + 60), SEL_KDATA };
}

TEST(iret_to_the_same_level_loads_rsp_ss_and_flags)
{
	struct frame f = kernel_frame();

	f.rflags = 2 | RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF | RF_OF | RF_DF |
		   RF_AC | RF_ID | RF_NT | RF_IOPL;
	iret_kernel(&f);
	CHECK_EQ(seen_flags, f.rflags);
	CHECK_EQ(seen_rsp, f.rsp);
	CHECK_EQ(seen_ss, SEL_KDATA);
	CHECK_EQ(seen_cs, SEL_KCODE);
}

TEST(iret_takes_any_rsp)
{
	struct frame f = kernel_frame();

	f.rsp = 0x1234567;
	iret_kernel(&f);
	CHECK_EQ(seen_rsp, f.rsp);
	f.rsp = 0x8000000000000000;
	iret_kernel(&f);
	CHECK_EQ(seen_rsp, f.rsp);
}

TEST(iret_to_ring_0_takes_a_null_ss)
{
	struct frame f = kernel_frame();

	f.ss = 0;
	iret_kernel(&f);
	write_ss(SEL_KDATA);
	CHECK_EQ(seen_ss, 0);
}

TEST(iret_sets_the_interrupt_flag)
{
	struct frame f = kernel_frame();

	f.rflags = 2 | RF_IF;
	iret_kernel(&f);
	CHECK_EQ(seen_flags, 2 | RF_IF);
	f.rflags = 2;
	iret_kernel(&f);
	CHECK_EQ(seen_flags, 2);
}

TEST(iret_with_nt_set_is_general_protection)
{
	struct frame f = kernel_frame();
	struct trap t;

	CATCH(&t, write_flags(2 | RF_NT); iret_kernel(&f));
	CHECK_EQ(t.vector, VEC_GP);
	CHECK_EQ(t.error, 0);
	CHECK_EQ(t.rip, iret_here);
}

static void bad_frame(u64 frame_part, u64 value, u64 vector, u64 error)
{
	struct frame f = kernel_frame();
	struct trap t;

	((u64 *)&f)[frame_part] = value;
	CATCH(&t, iret_kernel(&f));
	CHECK(t.vector == vector && t.error == error,
	      "part %lx value %lx: vector %lx error %lx", frame_part, value,
	      t.vector, t.error);
	CHECK_EQ(t.rip, iret_here);
}

TEST(iret_checks_the_code_segment)
{
	guest_gdt[SEL_FREE / 8] = guest_gdt[SEL_KCODE / 8] & ~(1ul << 47);
	bad_frame(1, 0, VEC_GP, 0);
	bad_frame(1, SEL_KDATA, VEC_GP, SEL_KDATA);
	bad_frame(1, 0x30, VEC_GP, 0x30);
	bad_frame(1, SEL_KCODE | 3, VEC_GP, SEL_KCODE);
	bad_frame(1, SEL_TSS, VEC_GP, SEL_TSS);
	bad_frame(1, 0x1000, VEC_GP, 0x1000);
	bad_frame(1, 0xc, VEC_GP, 0xc);
	bad_frame(1, SEL_FREE, VEC_NP, SEL_FREE);
}

TEST(iret_checks_the_stack_segment)
{
	guest_gdt[SEL_FREE / 8] = guest_gdt[SEL_KDATA / 8] & ~(1ul << 47);
	bad_frame(4, SEL_KCODE, VEC_GP, SEL_KCODE);
	bad_frame(4, SEL_UDATA, VEC_GP, SEL_UDATA & ~3);
	bad_frame(4, SEL_KDATA | 3, VEC_GP, SEL_KDATA);
	bad_frame(4, 0x1000, VEC_GP, 0x1000);
	if (!engine_is_tcg()) /* it raises #NP */
		bad_frame(4, SEL_FREE, VEC_SS, SEL_FREE);
}

TEST(iret_to_a_noncanonical_address_is_general_protection)
{
	struct frame f = kernel_frame();
	struct trap t;

	if (engine_is_tcg())
		skip("TCG does not check");
	f.rip = 0x8000000000000;
	CATCH(&t, iret_kernel(&f));
	CHECK_EQ(t.vector, VEC_GP);
	CHECK_EQ(t.error, 0);
}

TEST(iret_to_an_unmapped_address_faults_there)
{
	struct frame f = kernel_frame();
	struct trap t;

	f.rip = 0x5000123;
	f.rsp = (u64)user_trap_stack_top - 256;
	CATCH(&t, iret_kernel(&f));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.cr2, 0x5000123);
	CHECK_EQ(t.rip, 0x5000123);
	CHECK_EQ(t.rsp, f.rsp);
}

TEST(iret_with_32_bit_operands_pops_five_words)
{
	u8 *page = map_new(read_cr3() & PTE_ADDR, 0x5000000, PTE_P | PTE_W);
	u32 *frame = (u32 *)(page + 2048);

	memcpy(page, low_landing, low_landing_end - low_landing);
	frame[0] = 0x5000000;
	frame[1] = SEL_KCODE;
	frame[2] = 2 | RF_CF | RF_AC;
	frame[3] = 0x5000ff0;
	frame[4] = SEL_KDATA;
	/* TCG cuts RSP to 32 bits here, so give it a low one */
	iretl_kernel((u32 *)0x5000800);
	CHECK_EQ(seen_rsp, 0x5000ff0);
	CHECK_EQ(seen_flags, 2 | RF_CF | RF_AC);
}

TEST(iret_to_user_mode_loads_flags_exactly)
{
	static const u64 flags[] = {
		2, 2 | RF_IF, 2 | RF_IOPL, 2 | RF_NT | RF_CF,
		2 | RF_AC | RF_ID | RF_DF | RF_OF | RF_SF | RF_ZF | RF_PF | RF_AF,
	};
	struct user u;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		user_init(&u, stop, stop_end);
		u.rflags = flags[i];
		user_run(&u);
		CHECK_EQ(u.vector, VEC_BP);
		CHECK_EQ(u.rflags & ~RF_RF, flags[i]);
		CHECK_EQ(u.rip, USER_CODE + 1);
		CHECK_EQ(u.cs, SEL_UCODE);
		CHECK_EQ(u.ss, SEL_UDATA);
		CHECK_EQ(u.rsp, USER_STACK - 64);
	}
}

TEST(iret_to_compatibility_mode)
{
	struct user u;

	user_init32(&u, stop, stop_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.cs, SEL_UCODE32);
	CHECK_EQ(u.rsp, USER_STACK - 64);
}

TEST(iret_to_user_mode_with_tf_traps_after_one_instruction)
{
	struct user u;

	user_init(&u, nops, nops_end);
	u.rflags = 2 | RF_TF;
	write_dr6(0xffff0ff0);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_DB);
	CHECK_EQ(u.rip, USER_CODE + 1);
	CHECK_EQ(u.rflags & RF_TF, RF_TF);
	CHECK_EQ(read_dr6() & 0x4000, 0x4000);
}

TEST(iret_to_an_unmapped_user_page_faults_in_user_mode)
{
	struct user u;

	user_init(&u, stop, stop_end);
	u.rip = 0x12345678;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_PF);
	CHECK_EQ(u.error & ~PF_I, PF_U);
	CHECK_EQ(u.cr2, 0x12345678);
	CHECK_EQ(u.rip, 0x12345678);
	CHECK_EQ(u.cs, SEL_UCODE);
}

TEST(iret_to_user_mode_at_a_kernel_address_faults_in_user_mode)
{
	struct user u;

	user_init(&u, stop, stop_end);
	u.rip = (u64)iret_landing;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_PF);
	CHECK_EQ(u.error & ~PF_I, PF_U | PF_P);
	CHECK_EQ(u.cr2, (u64)iret_landing);
}

TEST(iret_to_user_mode_clears_kernel_data_segments)
{
	struct user u;

	user_init(&u, show_ds, show_ds_end);
	write_ds(SEL_KDATA);
	write_es(SEL_UDATA);
	user_run(&u);
	write_ds(SEL_KDATA);
	write_es(SEL_KDATA);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ((u16)u.rax, 0);
	CHECK_EQ((u16)u.rbx, SEL_UDATA);
}

static void bad_user_frame(u64 cs, u64 ss, u64 vector, u64 error)
{
	struct user u;
	struct trap t;

	user_init(&u, stop, stop_end);
	u.cs = cs;
	u.ss = ss;
	CATCH(&t, user_run(&u));
	CHECK(t.vector == vector && t.error == error,
	      "cs %lx ss %lx: vector %lx error %lx", cs, ss, t.vector, t.error);
}

TEST(iret_to_user_mode_checks_the_segments)
{
	bad_user_frame(SEL_UCODE, 0, VEC_GP, 0);
	bad_user_frame(SEL_UCODE, 3, VEC_GP, 0);
	bad_user_frame(SEL_UCODE, SEL_KDATA, VEC_GP, SEL_KDATA);
	bad_user_frame(SEL_UCODE, SEL_UDATA & ~3, VEC_GP, SEL_UDATA & ~3);
	bad_user_frame(SEL_UDATA, SEL_UDATA, VEC_GP, SEL_UDATA & ~3);
	bad_user_frame(SEL_KCODE | 3, SEL_UDATA, VEC_GP, SEL_KCODE);
}

TEST(iret_in_user_mode_keeps_if_and_iopl)
{
	struct user u;

	if (hardware_is_tcg() && !engine_is_tcg())
		skip("TCG applies SMAP to them in user mode");
	user_init(&u, user_iret, user_iret_end);
	u.rflags = 2 | RF_IF;
	u.rsi = 2 | RF_CF | RF_IOPL | RF_AC;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rcx, 2 | RF_IF | RF_CF | RF_AC);
	CHECK_EQ(u.rdx, USER_STACK - 64);
}

TEST(iret_in_user_mode_cannot_go_to_the_kernel)
{
	struct user u;

	if (hardware_is_tcg() && !engine_is_tcg())
		skip("TCG applies SMAP to them in user mode");
	user_init(&u, user_iret_up, user_iret_up_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.error, SEL_KCODE);
	CHECK_EQ(u.cs, SEL_UCODE);
}
