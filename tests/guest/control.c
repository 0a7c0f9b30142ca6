// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control registers, MSRs, CPUID, the TSC, I/O ports and other privileged
 * instructions: results, checks, and that user mode has none of them.
 */
#include "x86.h"

TEST(cr0_checks_its_bits)
{
	u64 cr0 = read_cr0();

	CHECK_EQ(cr0 & 1, 1);
	if (!engine_is_tcg()) {
		CHECK_TRAP(VEC_GP, 0, write_cr0(cr0 | 1ul << 32));
		CHECK_TRAP(VEC_GP, 0, write_cr0((cr0 & ~CR0_CD) | CR0_NW));
		CHECK_TRAP(VEC_GP, 0, write_cr0(cr0 & ~1ul));
		CHECK_TRAP(VEC_GP, 0, write_cr0(cr0 & ~CR0_PG));
	}
	CHECK_EQ(read_cr0(), cr0);
	write_cr0(cr0 | CR0_TS);
	CHECK_EQ(read_cr0(), cr0 | CR0_TS);
	asm volatile("clts");
	CHECK_EQ(read_cr0(), cr0);
	write_cr0(cr0 & ~CR0_AM);
	CHECK_EQ(read_cr0(), cr0 & ~CR0_AM);
}

TEST(lmsw_sets_the_low_bits_only)
{
	u64 cr0 = read_cr0();

	asm volatile("lmsw %w0" : : "r"((u32)(cr0 | CR0_TS)));
	CHECK_EQ(read_cr0(), cr0 | CR0_TS);
	asm volatile("lmsw %w0" : : "r"((u32)(cr0 & ~CR0_TS)));
	CHECK_EQ(read_cr0(), cr0);
}

TEST(cr4_checks_its_bits)
{
	u64 cr4 = read_cr4();

	if (!engine_is_tcg()) {
		CHECK_TRAP(VEC_GP, 0, write_cr4(cr4 | 1ul << 40));
		CHECK_TRAP(VEC_GP, 0, write_cr4(cr4 & ~CR4_PAE));
		if (!(cpuid(7, 0).ebx & 1 << 20))
			CHECK_TRAP(VEC_GP, 0, write_cr4(cr4 | CR4_SMAP));
		CHECK_TRAP(VEC_GP, 0, write_cr4(cr4 | 1 << 13));
	}
	CHECK_EQ(read_cr4(), cr4);
	write_cr4(cr4 | CR4_TSD);
	CHECK_EQ(read_cr4(), cr4 | CR4_TSD);
}

TEST(control_registers_read_back)
{
	u64 cr3 = read_cr3();

	write_cr2(0x123456789abcdef0);
	CHECK_EQ(read_cr2(), 0x123456789abcdef0);
	write_cr3(cr3 | 0x18);
	CHECK_EQ(read_cr3(), cr3 | 0x18);
	write_cr8(5);
	CHECK_EQ(read_cr8(), 5);
	write_cr8(0);
	if (!engine_is_tcg())
		CHECK_TRAP(VEC_GP, 0, write_cr8(16));
	write_cr8(0);
}

TEST(unknown_msrs_are_general_protection)
{
	struct trap t;

	if (engine_is_tcg())
		skip("TCG reads them as 0");
	CATCH(&t, asm volatile(AT "rdmsr" : : "c"(0x12345) : "rax", "rdx"));
	CHECK_EQ(t.vector, VEC_GP);
	CHECK_EQ(t.error, 0);
	/* AT itself changes RAX only */
	CHECK_EQ(t.rip, fault_at);
	CHECK_TRAP(VEC_GP, 0, wrmsr(0x12345, 0));
	CHECK_TRAP(VEC_GP, 0, rdmsr(0xc0001234));
}

TEST(efer_checks_its_bits)
{
	u64 efer = rdmsr(MSR_EFER);

	CHECK_EQ(efer & (EFER_LME | EFER_LMA | EFER_SCE), EFER_LME | EFER_LMA | EFER_SCE);
	if (!engine_is_tcg()) {
		CHECK_TRAP(VEC_GP, 0, wrmsr(MSR_EFER, efer | 1ul << 40));
		CHECK_TRAP(VEC_GP, 0, wrmsr(MSR_EFER, efer | 2));
		CHECK_TRAP(VEC_GP, 0, wrmsr(MSR_EFER, efer & ~EFER_LME));
	}
	CHECK_EQ(rdmsr(MSR_EFER), efer);
	wrmsr(MSR_EFER, efer & ~EFER_SCE);
	CHECK_EQ(rdmsr(MSR_EFER), efer & ~EFER_SCE);
}

TEST(msrs_read_back)
{
	static const u32 msrs[] = { MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_FS_BASE,
				    MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_SYSENTER_CS,
				    MSR_SYSENTER_ESP, MSR_SYSENTER_EIP };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		u64 old = rdmsr(msrs[i]);
		u64 value = msrs[i] == MSR_SYSENTER_CS || msrs[i] == MSR_SFMASK ?
				    0x1230 + i : 0xffff888000001000 + i;

		wrmsr(msrs[i], value);
		CHECK_EQ(rdmsr(msrs[i]), value);
		wrmsr(msrs[i], old);
	}
	if (!engine_is_tcg())
		CHECK_TRAP(VEC_GP, 0, wrmsr(MSR_PAT, 2));
}

TEST(cpuid_tells_a_consistent_story)
{
	struct cpuid c = cpuid(0, 0), ext = cpuid(0x80000001, 0);
	u32 max = c.eax;

	CHECK(max >= 7, "highest leaf %x", max);
	c = cpuid(1, 0);
	/* FPU PSE MSR PAE CX8 APIC PGE CMOV FXSR SSE SSE2 */
	CHECK_EQ(c.edx & 0x0700a379, 0x0700a379 & c.edx);
	CHECK_EQ(c.edx & 0x07002379, 0x07002379);
	/* SYSCALL NX LM */
	CHECK_EQ(ext.edx & 0x20100800, 0x20100800);
	if (option("popf")) {
		CHECK_EQ(c.ecx >> 31, 1);	/* a hypervisor */
		CHECK_EQ(c.ecx >> 5 & 1, 0);	/* no VMX */
		CHECK_EQ(ext.ecx >> 2 & 1, 0);	/* no SVM */
		CHECK_EQ(cpuid(7, 0).ecx >> 16 & 1, 0); /* no LA57 */
	}
}

TEST(cpuid_clears_the_upper_halves)
{
	u64 a, b, c, d;

	asm volatile("movq $-1, %%rax; xorl %%eax, %%eax; movq $-1, %%rbx; movq $-1, %%rcx; movq $-1, %%rdx; cpuid"
		     : "=a"(a), "=b"(b), "=c"(c), "=d"(d));
	CHECK_EQ((a | b | c | d) >> 32, 0);
}

/* --- time ----------------------------------------------------------------- */

TEST(the_tsc_goes_up)
{
	u64 last = rdtsc(), now;
	int i;

	for (i = 0; i < 20000; i++) {
		now = rdtsc();
		CHECK(now > last, "%lx after %lx", now, last);
		last = now;
		if (i % 1000 == 0)
			cpuid(0, 0);
	}
}

TEST(rdtsc_clears_the_upper_halves_and_keeps_flags)
{
	u64 a, d, flags;

	asm volatile("movq $-1, %%rax; movq $-1, %%rdx; pushq $0x8d7; popfq; rdtsc; pushfq; popq %2; pushq $2; popfq"
		     : "=&a"(a), "=&d"(d), "=&r"(flags) : : "memory", "cc");
	CHECK_EQ(a >> 32, 0);
	CHECK_EQ(d >> 32, 0);
	CHECK_EQ(flags, 0x8d7);
}

TEST(rdtscp_and_rdpid_give_tsc_aux)
{
	u32 a, d, c;
	u64 pid;

	if (!(cpuid(0x80000001, 0).edx & 1u << 27))
		skip("the CPU has no RDTSCP");
	wrmsr(MSR_TSC_AUX, 0x1234567);
	asm volatile("rdtscp" : "=a"(a), "=d"(d), "=c"(c));
	CHECK_EQ(c, 0x1234567);
	if (cpuid(7, 0).ecx & 1u << 22) {
		asm volatile("rdpid %0" : "=r"(pid));
		CHECK_EQ(pid, 0x1234567);
	}
}

TEST(the_tsc_can_be_written)
{
	u64 t;

	if (engine_is_tcg())
		skip("TCG ignores it");
	wrmsr(MSR_TSC, 1ul << 50);
	t = rdtsc();
	CHECK(t >= 1ul << 50 && t < (1ul << 50) + (1ul << 40), "%lx", t);
	CHECK(rdmsr(MSR_TSC) > t, "MSR and instruction differ");
}

USER_ASM(user_rdtsc, "rdtsc; mov %rax, %rsi; rdtsc; int3");

TEST(tsd_keeps_user_mode_from_the_tsc)
{
	struct user u;

	user_init(&u, user_rdtsc, user_rdtsc_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	u.rip = USER_CODE;
	write_cr4(read_cr4() | CR4_TSD);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.rip, USER_CODE);
	rdtsc();
}

/* What user mode reads, kernel mode reads too. */
TEST(user_and_kernel_mode_see_one_tsc)
{
	struct user u;
	u64 before, after, user;
	int i;

	for (i = 0; i < 20; i++) {
		user_init(&u, user_rdtsc, user_rdtsc_end);
		before = rdtsc();
		user_run(&u);
		after = rdtsc();
		user = u.rdx << 32 | (u32)u.rax;
		CHECK(before < user && user < after, "%lx %lx %lx", before, user, after);
	}
}

/* --- ports ---------------------------------------------------------------- */

TEST(ports_of_every_width)
{
	u64 v;

	/* scratch register of the serial port */
	outb(0x3ff, 0x5a);
	CHECK_EQ(inb(0x3ff), 0x5a);
	asm volatile("movq $-1, %%rax; movw $0x3ff, %%dx; inb %%dx, %%al" : "=a"(v) : : "rdx");
	CHECK_EQ(v, 0xffffffffffffff5a);
	/* nobody there */
	asm volatile("movq $-1, %%rax; movw $0x5550, %%dx; inl %%dx, %%eax" : "=a"(v) : : "rdx");
	CHECK_EQ(v, 0xffffffff);
	asm volatile("movq $0, %%rax; movw $0x5550, %%dx; inw %%dx, %%ax" : "=a"(v) : : "rdx");
	CHECK_EQ(v, 0xffff);
}

TEST(string_input_and_output)
{
	static u8 buf[8];
	u8 *p = buf;
	u64 n = 4;

	outb(0x3ff, 0x77);
	asm volatile("cld; rep insb" : "+D"(p), "+c"(n) : "d"(0x3ff) : "memory");
	CHECK_EQ(*(u32 *)buf, 0x77777777);
	CHECK_EQ(n, 0);
	CHECK_EQ((u64)p, (u64)buf + 4);
	memcpy(buf, "\x01\x02\x03\x04", 4);
	p = buf + 3;
	n = 4;
	asm volatile("std; rep outsb; cld" : "+S"(p), "+c"(n) : "d"(0x3ff) : "memory");
	CHECK_EQ(inb(0x3ff), 1);
	CHECK_EQ((u64)p, (u64)buf - 1);
}

TEST(string_input_faults_in_the_middle)
{
	u64 va = 0x40000000;
	u8 *page = map_new(read_cr3() & PTE_ADDR, va, PTE_P | PTE_W);
	struct trap t;

	outb(0x3ff, 0x31);
	CATCH(&t, asm volatile("rep insb" : : "D"(va + 4090), "c"(10), "d"(0x3ff) : "memory"));
	CHECK_EQ(t.vector, VEC_PF);
	CHECK_EQ(t.cr2, va + 4096);
	CHECK_EQ(t.rcx, 4);
	CHECK_EQ(t.rdi, va + 4096);
	CHECK_EQ(page[4095], 0x31);
	CHECK_EQ(page[4089], 0);
}

USER_ASM(user_out, "movw $0x3ff, %dx; movb $0x42, %al; outb %al, %dx; inb %dx, %al; int3");

TEST(user_ports_need_iopl_or_the_bitmap)
{
	static struct {
		struct tss tss;
		u8 bitmap[8193];
	} __attribute__((packed, aligned(8))) big;
	struct user u;
	u64 addr = (u64)&big;
	u64 *d = &guest_gdt[SEL_FREE / 8];

	user_init(&u, user_out, user_out_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
	CHECK_EQ(u.error, 0);
	CHECK_EQ(u.rip, USER_CODE + 6);
	u.rip = USER_CODE;
	u.rflags = 2 | RF_IOPL;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ((u8)u.rax, 0x42);
	/* a bitmap that allows one port */
	big.tss = guest_tss;
	big.tss.iomap = sizeof(struct tss);
	memset(big.bitmap, 0xff, sizeof(big.bitmap));
	big.bitmap[0x3ff / 8] &= ~(1 << (0x3ff & 7));
	d[0] = (sizeof(big) - 1) | (addr & 0xffffff) << 16 | 0x89ul << 40 |
	       (addr >> 24 & 0xff) << 56;
	d[1] = addr >> 32;
	asm volatile("ltr %w0" : : "r"(SEL_FREE));
	u.rip = USER_CODE;
	u.rflags = 2;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ((u8)u.rax, 0x42);
	big.bitmap[0x3ff / 8] = 0xff;
	u.rip = USER_CODE;
	user_run(&u);
	CHECK_EQ(u.vector, VEC_GP);
}

/* --- user mode has none of it --------------------------------------------- */

#define DENIED(id, text)                                                       \
	USER_ASM(denied_##id, text);                                           \
	TEST(user_mode_cannot_##id)                                            \
	{                                                                      \
		struct user u;                                                 \
		user_init(&u, denied_##id, denied_##id##_end);                 \
		u.rbx = USER_DATA;                                             \
		user_run(&u);                                                  \
		CHECK_EQ(u.vector, VEC_GP);                                    \
		CHECK_EQ(u.error, 0);                                          \
		CHECK_EQ(u.rip, USER_CODE);                                    \
	}

DENIED(hlt, "hlt")
DENIED(sti, "sti")
DENIED(read_cr0, "mov %cr0, %rax")
DENIED(write_cr3, "mov %rax, %cr3")
DENIED(write_cr4, "mov %rax, %cr4")
DENIED(read_dr7, "mov %db7, %rax")
DENIED(rdmsr, "rdmsr")
DENIED(wrmsr, "wrmsr")
DENIED(invlpg, "invlpg (%rbx)")
DENIED(lgdt, "lgdt (%rbx)")
DENIED(lidt, "lidt (%rbx)")
DENIED(lldt, "lldt %ax")
DENIED(ltr, "ltr %ax")
DENIED(clts, "clts")
DENIED(lmsw, "lmsw %ax")
DENIED(wbinvd, "wbinvd")
DENIED(invd, "invd")
DENIED(in, "inb $0x80, %al")
DENIED(out, "outb %al, $0x80")

USER_ASM(user_cpuid, "xorl %eax, %eax; xorl %ecx, %ecx; cpuid; int3");

TEST(user_mode_sees_the_same_cpuid)
{
	struct cpuid c = cpuid(0, 0);
	struct user u;

	user_init(&u, user_cpuid, user_cpuid_end);
	user_run(&u);
	CHECK_EQ(u.vector, VEC_BP);
	if (u.rax != c.eax && (hardware_is_tcg() || option("hwbochs")))
		skip("this hardware cannot intercept CPUID in user mode");
	CHECK_EQ(u.rax, c.eax);
	CHECK_EQ(u.rbx, c.ebx);
}

TEST(wbinvd_and_friends_do_nothing_visible)
{
	asm volatile("wbinvd; pause; lfence; mfence; sfence; prefetcht0 (%0); clflush (%0)"
		     : : "r"(guest_gdt) : "memory");
}
