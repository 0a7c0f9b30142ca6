// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is particular to x86: ways into the kernel, segments, vector registers.
 */
#include "check.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <immintrin.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* 32-bit system calls by INT 0x80 work from 64-bit programs too. */
static void int_80(void)
{
	long pid;
	int i;

	for (i = 0; i < 500; i++) {
		asm volatile("int $0x80" : "=a"(pid) : "a"(20) : "memory"
#ifdef __x86_64__
			     , "r8", "r9", "r10", "r11"
#endif
		);
		CHECK(pid == getpid(), "%ld", pid);
	}
}

static void many_system_calls(void)
{
	int i;

	for (i = 0; i < 20000; i++)
		CHECK(syscall(SYS_getppid) == getppid(), "getppid");
}

#ifdef __x86_64__

static void fs_and_gs_bases(void)
{
	static uint64_t data[2] = { 111, 222 };
	unsigned long gs = 0;
	uint64_t v;
	int i;

	for (i = 0; i < 50; i++) {
		CHECK_CALL(syscall(SYS_arch_prctl, ARCH_SET_GS, &data[i & 1]));
		asm volatile("movq %%gs:0, %0" : "=r"(v));
		CHECK(v == data[i & 1], "%ld", (long)v);
		sched_yield();
		CHECK_CALL(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs));
		CHECK(gs == (unsigned long)&data[i & 1], "%lx", gs);
	}
}

__attribute__((target("avx2"))) static int avx_rounds(int seed)
{
	__m256i acc = _mm256_set1_epi32(seed), step = _mm256_set_epi32(1, 2, 3, 4, 5, 6, 7, 8);
	int out[8], i, sum = 0;

	for (i = 0; i < 3000; i++) {
		acc = _mm256_add_epi32(_mm256_mullo_epi32(acc, step), step);
		if (i % 100 == 0)
			syscall(SYS_sched_yield);
	}
	_mm256_storeu_si256((__m256i *)out, acc);
	for (i = 0; i < 8; i++)
		sum = sum * 31 + out[i];
	return sum;
}

static int scalar_rounds(int seed)
{
	unsigned int acc[8], i, j, sum = 0;

	for (j = 0; j < 8; j++)
		acc[j] = seed;
	for (i = 0; i < 3000; i++) {
		for (j = 0; j < 8; j++)
			acc[j] = acc[j] * (8 - j) + (8 - j);
	}
	for (j = 0; j < 8; j++)
		sum = sum * 31 + acc[j];
	return sum;
}

static void avx_across_processes(void)
{
	pid_t pid[4];
	int i, status;

	if (!__builtin_cpu_supports("avx2"))
		skipped("no AVX2");
	for (i = 0; i < 4; i++) {
		pid[i] = CHECK_CALL(fork());
		if (!pid[i])
			_exit(avx_rounds(i * 77) != scalar_rounds(i * 77));
	}
	for (i = 0; i < 4; i++) {
		CHECK_CALL(waitpid(pid[i], &status, 0));
		CHECK(!status, "process %d", i);
	}
}

#else

static void thread_area(void)
{
	static int data[2] = { 333, 444 };
	struct user_desc d = {
		.entry_number = -1, .base_addr = (unsigned long)data, .limit = 0xfffff,
		.seg_32bit = 1, .limit_in_pages = 1, .useable = 1,
	};
	int v, i;

	CHECK_CALL(syscall(SYS_set_thread_area, &d));
	for (i = 0; i < 50; i++) {
		asm volatile("movw %w1, %%fs; movl %%fs:4, %0; movw %w2, %%fs"
			     : "=&r"(v) : "r"(d.entry_number * 8 + 3), "r"(0));
		CHECK(v == 444, "%d", v);
		sched_yield();
	}
}

static void vdso_system_call(void)
{
	long pid, i;

	/* the C library keeps the entry in the thread's block */
	for (i = 0; i < 1000; i++) {
		asm volatile("call *%%gs:0x10" : "=a"(pid) : "a"(20) : "memory");
		CHECK(pid == getpid(), "%ld", pid);
	}
}

#endif

/* The register that the C library leaves alone. */
#ifdef __x86_64__
#define FREE_SEG "gs"
#else
#define FREE_SEG "fs"
#endif

static void set_descriptor(unsigned int entry, const void *base, int contents)
{
	struct user_desc d = {
		.entry_number = entry, .base_addr = (unsigned long)base, .limit = 0xfffff,
		.seg_32bit = 1, .limit_in_pages = 1, .useable = 1, .contents = contents,
	};

	CHECK_CALL(syscall(SYS_modify_ldt, 1, &d, sizeof(d)));
}

static void load_and_look(unsigned int entry, int want)
{
	int v, i;

	for (i = 0; i < 20; i++) {
		asm volatile("movw %w1, %%" FREE_SEG "; movl %%" FREE_SEG ":4, %0"
			     : "=&r"(v) : "r"(entry * 8 + 7));
		CHECK(v == want, "%d in round %d", v, i);
		sched_yield();
		asm volatile("movl %%" FREE_SEG ":4, %0" : "=r"(v));
		CHECK(v == want, "%d after a yield in round %d", v, i);
	}
	asm volatile("movw %w0, %%" FREE_SEG : : "r"(0));
}

static void local_descriptors(void)
{
	static int data[3][2] = { { 0, 555 }, { 0, 666 }, { 0, 777 } };
	int status;
	pid_t pid;

	if (syscall(SYS_modify_ldt, 0, data, 0) < 0 && errno == ENOSYS)
		skipped("the kernel has no modify_ldt");
	set_descriptor(1, data[0], 0);
	set_descriptor(700, data[1], 0);
	load_and_look(1, 555);
	load_and_look(700, 666);
	/* A child has a copy of its own. */
	pid = CHECK_CALL(fork());
	if (!pid) {
		set_descriptor(1, data[2], 0);
		load_and_look(1, 777);
		load_and_look(700, 666);
		_exit(0);
	}
	load_and_look(1, 555);
	CHECK_CALL(waitpid(pid, &status, 0));
	CHECK(!status, "status %x", status);
	load_and_look(1, 555);
}

#ifndef __x86_64__

/* Code in a segment of its own, that calls the kernel and jumps back. */
static void local_code_segment(void)
{
	extern const char local_code[];
	struct { unsigned int offset; unsigned short sel; } target = { 0, 2 * 8 + 7 }, back;
	long pid, i;

	asm volatile("jmp 1f\n local_code: movl $20, %eax\n int $0x80\n ljmp *(%ecx)\n 1:");
	if (syscall(SYS_modify_ldt, 0, &target, 0) < 0 && errno == ENOSYS)
		skipped("the kernel has no modify_ldt");
	set_descriptor(2, local_code, 2);
	for (i = 0; i < 200; i++) {
		asm volatile("movl $1f, %1\n movw %%cs, %2\n ljmp *%3\n 1:"
			     : "=a"(pid), "=m"(back.offset), "=m"(back.sel)
			     : "m"(target), "c"(&back) : "memory");
		CHECK(pid == getpid(), "%ld", pid);
	}
}

#endif

static void cpuid_is_stable(void)
{
	unsigned int a, b, c, d, a2, b2, c2, d2;
	int i;

	__cpuid(0, a, b, c, d);
	for (i = 0; i < 100; i++) {
		__cpuid(0, a2, b2, c2, d2);
		CHECK(a == a2 && b == b2 && c == c2 && d == d2, "round %d", i);
	}
}

const struct check arch_checks[] = {
	{ "int_80", int_80, 0 },
	{ "many_system_calls", many_system_calls, 0 },
#ifdef __x86_64__
	{ "fs_and_gs_bases", fs_and_gs_bases, 0 },
	{ "avx_across_processes", avx_across_processes, 0 },
#else
	{ "thread_area", thread_area, 0 },
	{ "vdso_system_call", vdso_system_call, 0 },
	{ "local_code_segment", local_code_segment, 0 },
#endif
	{ "local_descriptors", local_descriptors, 0 },
	{ "cpuid_is_stable", cpuid_is_stable, 0 },
	{ 0 },
};
