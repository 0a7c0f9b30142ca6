// SPDX-License-Identifier: GPL-2.0-only
/*
 * FPU, SSE and AVX state is the guest's own, across everything that can come
 * between two instructions.
 */
#include "x86.h"

#define VA 0x40000000ul

struct xmm_file {
	u64 r[16][2];
} __attribute__((aligned(16)));

struct ymm_file {
	u64 r[16][4];
} __attribute__((aligned(32)));

#define XMM_ALL(op)                                                            \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7)                        \
	op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define LOAD_XMM(n) "movaps " #n "*16(%0), %%xmm" #n "\n"
#define STORE_XMM(n) "movaps %%xmm" #n ", " #n "*16(%0)\n"
#define LOAD_YMM(n) "vmovaps " #n "*32(%0), %%ymm" #n "\n"
#define STORE_YMM(n) "vmovaps %%ymm" #n ", " #n "*32(%0)\n"

static struct xmm_file want, got;
static struct ymm_file want_y, got_y;

static void load_xmm(const struct xmm_file *f)
{
	asm volatile(XMM_ALL(LOAD_XMM) : : "r"(f) : "memory");
}

static void store_xmm(struct xmm_file *f)
{
	asm volatile(XMM_ALL(STORE_XMM) : : "r"(f) : "memory");
}

static void fill(void *p, u64 words, u64 seed)
{
	u64 *w = p;
	u64 i;

	for (i = 0; i < words; i++) {
		seed = seed * 6364136223846793005ul + 1442695040888963407ul;
		w[i] = seed;
	}
}

static void check_xmm(const char *after)
{
	int i;

	store_xmm(&got);
	for (i = 0; i < 16; i++) {
		CHECK(got.r[i][0] == want.r[i][0] && got.r[i][1] == want.r[i][1],
		      "xmm%d after %s: %lx %lx", i, after, got.r[i][1], got.r[i][0]);
	}
}

static void set_xmm(u64 seed)
{
	fill(&want, 32, seed);
	load_xmm(&want);
}

static volatile u64 ticks;

static bool tick(struct trap *t)
{
	ticks++;
	apic_eoi();
	return true;
}

static void start_timer(void)
{
	ticks = 0;
	set_handler(0x40, tick);
	apic_write(APIC_LVTT, 0x20040);
	apic_write(APIC_TMICT, 200000);
}

static void stop_timer(void)
{
	apic_write(APIC_LVTT, 0x10000);
	apic_write(APIC_TMICT, 0);
}

TEST(sse_registers_survive_exits)
{
	struct trap t;
	u64 i;

	for (i = 0; i < 20; i++) {
		set_xmm(i);
		cpuid(0, 0);
		check_xmm("cpuid");
		set_xmm(i + 100);
		inb(0x3fd);
		check_xmm("in");
		CATCH(&t, asm volatile("ud2"));
		check_xmm("ud2");
		map_new(read_cr3() & PTE_ADDR, VA + i * PAGE_SIZE, PTE_P | PTE_W);
		store64((void *)(VA + i * PAGE_SIZE), 1);
		check_xmm("a hidden page fault");
		rdmsr(MSR_EFER);
		write_cr3(read_cr3());
		check_xmm("mov to cr3");
		apic_read(APIC_ID);
		check_xmm("mmio");
	}
}

TEST(sse_registers_survive_interrupts)
{
	u64 i;

	set_xmm(7);
	start_timer();
	sti();
	for (i = 0; i < 100000000 && ticks < 20; i++)
		barrier();
	cli();
	stop_timer();
	check_xmm("interrupts");
	CHECK(ticks >= 20, "only %lu ticks", ticks);
}

TEST(sse_registers_survive_halt)
{
	u64 i;

	set_xmm(9);
	start_timer();
	for (i = 0; i < 20; i++)
		asm volatile("sti; hlt; cli" : : : "memory");
	stop_timer();
	check_xmm("hlt");
}

USER_ASM(user_sse,
	 "1: paddq %xmm1, %xmm0; syscall; dec %rbx; jnz 1b\n"
	 "movq %xmm0, %rax; movq %xmm15, %rdx; int3");

TEST(sse_registers_survive_system_calls_and_mode_changes)
{
	struct user u;
	u64 calls = 0;

	user_init(&u, user_sse, user_sse_end);
	set_xmm(11);
	want.r[0][0] = 0;
	want.r[1][0] = 3;
	load_xmm(&want);
	u.rbx = 200;
	do {
		u.how = USER_SYSRET;
		if (!calls)
			u.how = USER_IRET;
		user_run(&u);
		calls++;
	} while (u.vector == VEC_SYSCALL);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, 600);
	CHECK_EQ(u.rdx, want.r[15][0]);
	store_xmm(&got);
	want.r[0][0] = 600;
	want.r[0][1] = got.r[0][1];
	check_xmm("user mode");
}

TEST(x87_state_survives)
{
	static u8 image[512] __attribute__((aligned(16)));
	static u8 again[512] __attribute__((aligned(16)));
	u16 cw = 0x27f, sw, cw_got;
	u64 i;
	asm volatile("fninit; fldcw %0; fld1; fldpi; fldl2e" : : "m"(cw));
	asm volatile("fxsave %0" : "=m"(image));
	start_timer();
	sti();
	for (i = 0; i < 100000000 && ticks < 10; i++)
		barrier();
	cli();
	stop_timer();
	cpuid(0, 0);
	asm volatile("fnstcw %0; fnstsw %1" : "=m"(cw_got), "=m"(sw));
	CHECK_EQ(cw_got, cw);
	CHECK_EQ(sw >> 11 & 7, 5);
	asm volatile("fxsave %0" : "=m"(again));
	asm volatile("fninit");
	for (i = 32; i < 32 + 8 * 16; i++)
		CHECK(image[i] == again[i], "byte %lu of the image", i);
}

TEST(mxcsr_survives)
{
	u32 mxcsr = 0x7f80, normal = 0x1f80, seen = 0;
	struct trap t;

	asm volatile("ldmxcsr %0" : : "m"(mxcsr));
	cpuid(0, 0);
	CATCH(&t, asm volatile("ud2"));
	asm volatile("stmxcsr %0" : "=m"(seen));
	asm volatile("ldmxcsr %0" : : "m"(normal));
	CHECK_EQ(seen, mxcsr);
}

static void enable_avx(void)
{
	struct cpuid c = cpuid(1, 0);

	if (!(c.ecx & 1u << 26))
		skip("the CPU has no XSAVE");
	if (!(c.ecx & 1u << 28))
		skip("the CPU has no AVX");
	write_cr4(read_cr4() | CR4_OSXSAVE);
	asm volatile("xsetbv" : : "a"(7), "d"(0), "c"(0));
}

TEST(avx_registers_survive)
{
	struct trap t;
	u64 round;
	int i;

	enable_avx();
	fill(&want_y, 64, 3);
	asm volatile(XMM_ALL(LOAD_YMM) : : "r"(&want_y) : "memory");
	start_timer();
	sti();
	for (round = 0; round < 100000000 && ticks < 10; round++)
		barrier();
	cli();
	stop_timer();
	cpuid(0, 0);
	CATCH(&t, asm volatile("ud2"));
	write_cr3(read_cr3());
	asm volatile(XMM_ALL(STORE_YMM) : : "r"(&got_y) : "memory");
	for (i = 0; i < 16; i++)
		CHECK(!memcmp(got_y.r[i], want_y.r[i], 32), "ymm%d", i);
}

USER_ASM(user_avx,
	 "1: vpaddq %ymm1, %ymm0, %ymm0; syscall; dec %rbx; jnz 1b\n"
	 "vextractf128 $1, %ymm0, %xmm2; movq %xmm2, %rax; int3");

TEST(avx_registers_survive_user_mode)
{
	struct user u;
	int i;

	enable_avx();
	if (!(cpuid(7, 0).ebx & 1 << 5))
		skip("the CPU has no AVX2");
	user_init(&u, user_avx, user_avx_end);
	fill(&want_y, 64, 5);
	for (i = 0; i < 4; i++) {
		want_y.r[0][i] = 0;
		want_y.r[1][i] = i + 1;
	}
	asm volatile(XMM_ALL(LOAD_YMM) : : "r"(&want_y) : "memory");
	u.rbx = 100;
	do {
		user_run(&u);
	} while (u.vector == VEC_SYSCALL);
	CHECK_EQ(u.vector, VEC_BP);
	CHECK_EQ(u.rax, 300);
	asm volatile(XMM_ALL(STORE_YMM) : : "r"(&got_y) : "memory");
	for (i = 3; i < 16; i++)
		CHECK(!memcmp(got_y.r[i], want_y.r[i], 32), "ymm%d", i);
	CHECK_EQ(got_y.r[0][3], 400);
}

TEST(xsave_and_xrstor_carry_the_state)
{
	static u8 area[4096] __attribute__((aligned(64)));
	int i;

	enable_avx();
	fill(&want_y, 64, 8);
	asm volatile(XMM_ALL(LOAD_YMM) : : "r"(&want_y) : "memory");
	asm volatile("xsave %0" : "=m"(area) : "a"(7), "d"(0));
	fill(&got_y, 64, 9);
	asm volatile(XMM_ALL(LOAD_YMM) : : "r"(&got_y) : "memory");
	cpuid(0, 0);
	asm volatile("xrstor %0" : : "m"(area), "a"(7), "d"(0));
	asm volatile(XMM_ALL(STORE_YMM) : : "r"(&got_y) : "memory");
	for (i = 0; i < 16; i++)
		CHECK(!memcmp(got_y.r[i], want_y.r[i], 32), "ymm%d", i);
}

TEST(xsetbv_checks_its_value)
{
	u32 lo, hi;

	enable_avx();
	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	CHECK_EQ(lo, 7);
	CHECK_TRAP(VEC_GP, 0, asm volatile("xsetbv" : : "a"(6), "d"(0), "c"(0)));
	CHECK_TRAP(VEC_GP, 0, asm volatile("xsetbv" : : "a"(5), "d"(0), "c"(0)));
	CHECK_TRAP(VEC_GP, 0, asm volatile("xsetbv" : : "a"(7), "d"(0), "c"(7)));
	asm volatile("xsetbv" : : "a"(3), "d"(0), "c"(0));
	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	CHECK_EQ(lo, 3);
	CHECK_EQ(cpuid(1, 0).ecx >> 27 & 1, 1);
	write_cr4(read_cr4() & ~CR4_OSXSAVE);
	CHECK_EQ(cpuid(1, 0).ecx >> 27 & 1, 0);
	CHECK_VECTOR(VEC_UD, asm volatile("xgetbv" : : "c"(0) : "eax", "edx"));
}

/* Lazy switching as old kernels do it: TS, #NM, CLTS. */
static bool lazy(struct trap *t)
{
	ticks++;
	asm volatile("clts");
	return true;
}

TEST(lazy_switching_with_ts)
{
	u64 i;

	set_handler(VEC_NM, lazy);
	ticks = 0;
	for (i = 0; i < 50; i++) {
		write_cr0(read_cr0() | CR0_TS);
		set_xmm(i);
		CHECK_EQ(ticks, i + 1);
		check_xmm("clts");
	}
}
