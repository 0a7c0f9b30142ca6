/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the ABI tests share: claims, opening things, and a small long-mode guest.
 *
 * A program states claims with CHECK(), which print TAP, and ends with
 * abi_finish(). It runs in the lab as root, with the module loaded.
 */
#ifndef POPF_TESTS_ABI_H
#define POPF_TESTS_ABI_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ul

/* Filled from argv[0]: what claims are prefixed with. */
extern const char *abi_program;

/* Report one claim; returns ok. */
bool abi_check(bool ok, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void abi_skip(const char *why, const char *claim);
/* Totals; the program's exit status. */
int abi_finish(void);

#define CHECK(ok, ...) abi_check(!!(ok), __VA_ARGS__)

/*
 * The claim that a system call fails with the given errno (0: that it does not
 * fail).
 */
#define CHECK_ERRNO(call, want, ...)                                          \
	do {                                                                  \
		errno = 0;                                                    \
		long abi_r = (call);                                          \
		int abi_e = abi_r < 0 ? errno : 0;                            \
		if (!abi_check(abi_e == (want), __VA_ARGS__))                 \
			printf("# returned %ld, errno %d (%s), wanted %d\n",  \
			       abi_r, abi_e, strerror(abi_e), (want));        \
	} while (0)

/* The device, $POPF_DEV or /dev/popf; ends the program when it is not there. */
int abi_open(void);
int abi_create_vm(int dev);
int abi_create_vcpu(int vm, unsigned int id);
struct kvm_run *abi_map_run(int dev, int vcpu);
/* Zeroed memory of a number of pages. */
void *abi_pages(size_t pages);
int abi_set_slot(int vm, uint32_t slot, uint32_t flags, uint64_t gpa,
		 uint64_t size, void *mem);
/* A statistic by name, of a VM or a vCPU; ~0 when there is none. */
uint64_t abi_stat(int fd, const char *name);
/* KVM_CHECK_EXTENSION. */
int abi_cap(int fd, long cap);

/* --- guest.c: one vCPU in 64-bit mode, CPL 0, identity mapped --- */

#define GUEST_RAM_SIZE (4ul << 20)
#define GUEST_CODE 0x20000ul
#define GUEST_STACK 0x1f000ul
#define GUEST_IDT 0x14000ul
#define GUEST_DATA 0x100000ul
/* Mapped by the guest's page tables, in no slot. */
#define GUEST_HOLE 0x30000000ul

struct guest {
	int dev;
	int vm;
	int vcpu;
	struct kvm_run *run;
	uint8_t *ram; /* slot 0, GUEST_RAM_SIZE at 0 */
};

struct guest_code {
	const uint8_t *start;
	const uint8_t *end;
};

/* Code of a guest, position independent: GUEST_ASM(name, "hlt"). */
#define GUEST_ASM(name, text)                                                 \
	extern const uint8_t name##_start[], name##_end[];                    \
	__asm__(".pushsection .rodata\n" #name "_start:\n" text "\n" #name    \
		"_end:\n.popsection\n");                                      \
	static const struct guest_code name = { name##_start, name##_end }

/* Split irqchip when asked: HLT then sleeps in the kernel. */
void guest_create(struct guest *g, bool split_irqchip);
/* Page tables, descriptors and system registers: 0, or -1 with errno. */
int guest_set_long_mode(struct guest *g);
void guest_load(struct guest *g, const struct guest_code *code);
/* An interrupt gate, DPL 0. */
void guest_set_gate(struct guest *g, uint8_t vector, uint64_t handler);
void guest_destroy(struct guest *g);
/* KVM_RUN: its result, with errno. */
int guest_run(struct guest *g);
void guest_get_regs(struct guest *g, struct kvm_regs *regs);
void guest_set_regs(struct guest *g, const struct kvm_regs *regs);

#endif
