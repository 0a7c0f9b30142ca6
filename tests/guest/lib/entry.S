/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ways into and out of the guest's kernel: exception stubs, system-call
 * entries, entry to user mode, and setjmp/longjmp.
 *
 * Every way in builds a struct trap (guest.h) on the stack and calls
 * trap_dispatch(), which may change it; the way back is always IRETQ.
 */
	.text

	.macro	STUB vec
	.if	(\vec == 8) || (\vec >= 10 && \vec <= 14) || (\vec == 17) || \
		(\vec == 21) || (\vec == 29) || (\vec == 30)
	.else
	pushq	$0
	.endif
	pushq	$\vec
	jmp	trap_common
	.balign	16
	.endm

	.altmacro
	.balign	16
	.globl	trap_stubs
trap_stubs:
	.set	vec, 0
	.rept	256
	STUB	%vec
	.set	vec, vec + 1
	.endr
	.noaltmacro

	.macro	PUSH_REGS
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rbx
	pushq	%rbp
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	.endm

	.macro	POP_REGS
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rbp
	popq	%rbx
	popq	%rdx
	popq	%rcx
	popq	%rax
	.endm

trap_common:
	PUSH_REGS
	cld
	movq	%rsp, %rdi
	call	trap_dispatch
	POP_REGS
	addq	$16, %rsp
	iretq

	/* 64-bit SYSCALL: vector 0x100 */
	.balign	16
	.globl	syscall_entry
syscall_entry:
	movq	%rsp, syscall_rsp(%rip)
	leaq	syscall_stack_top(%rip), %rsp
	pushq	$0x2b
	pushq	syscall_rsp(%rip)
	pushq	%r11
	pushq	$0x33
	pushq	%rcx
	pushq	$0
	pushq	$0x100
	jmp	trap_common

	/* SYSCALL from 32-bit code: vector 0x101 */
	.globl	syscall32_entry
syscall32_entry:
	movq	%rsp, syscall_rsp(%rip)
	leaq	syscall_stack_top(%rip), %rsp
	pushq	$0x2b
	pushq	syscall_rsp(%rip)
	pushq	%r11
	pushq	$0x23
	pushq	%rcx
	pushq	$0
	pushq	$0x101
	jmp	trap_common

	/* SYSENTER: vector 0x102; SYSENTER_ESP is syscall_stack_top */
	.globl	sysenter_entry
sysenter_entry:
	pushq	$0x2b
	pushq	%rbp			/* user ESP, by convention */
	pushfq
	pushq	$0x23
	pushq	$0			/* user EIP is not saved */
	pushq	$0
	pushq	$0x102
	jmp	trap_common

/*
 * void user_enter(struct user *u): to user mode as u->how says. Returns when
 * trap_dispatch() has put user mode's state into u.
 */
	.set	U_RIP, 17 * 8
	.set	U_RFLAGS, 19 * 8
	.set	U_RSP, 20 * 8
	.set	U_HOW, 22 * 8
	.globl	user_enter
user_enter:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, user_return_rsp(%rip)
	movq	U_HOW(%rdi), %rax
	testq	%rax, %rax
	jnz	1f
	pushq	21 * 8(%rdi)		/* SS, RSP, RFLAGS, CS, RIP */
	pushq	20 * 8(%rdi)
	pushq	19 * 8(%rdi)
	pushq	18 * 8(%rdi)
	pushq	17 * 8(%rdi)
	subq	$16, %rsp
	pushq	14 * 8(%rdi)
	pushq	13 * 8(%rdi)
	pushq	12 * 8(%rdi)
	pushq	11 * 8(%rdi)
	pushq	10 * 8(%rdi)
	pushq	9 * 8(%rdi)
	pushq	8 * 8(%rdi)
	pushq	7 * 8(%rdi)
	pushq	6 * 8(%rdi)
	pushq	5 * 8(%rdi)
	pushq	4 * 8(%rdi)
	pushq	3 * 8(%rdi)
	pushq	2 * 8(%rdi)
	pushq	1 * 8(%rdi)
	pushq	0 * 8(%rdi)
	POP_REGS
	addq	$16, %rsp
	.globl	user_iretq
user_iretq:
	iretq
1:
	movq	%rdi, %rsp		/* interrupts are off; NMI uses its IST */
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rbp
	popq	%rbx
	popq	%rdx
	addq	$8, %rsp
	cmpq	$2, U_HOW - 14 * 8(%rsp)
	ja	3f
	je	2f
	movq	U_RIP - 14 * 8(%rsp), %rcx
	movq	U_RFLAGS - 14 * 8(%rsp), %r11
	popq	%rax
	movq	U_RSP - 15 * 8(%rsp), %rsp
	.globl	user_sysretq
user_sysretq:
	sysretq
2:
	movq	U_RIP - 14 * 8(%rsp), %rcx
	movq	U_RFLAGS - 14 * 8(%rsp), %r11
	popq	%rax
	movq	U_RSP - 15 * 8(%rsp), %rsp
	sysretl
3:
	cmpq	$3, U_HOW - 14 * 8(%rsp)
	ja	4f
	movq	U_RIP - 14 * 8(%rsp), %rdx
	movq	U_RSP - 14 * 8(%rsp), %rcx
	popq	%rax
	leaq	syscall_stack_top(%rip), %rsp
	sysexitl
4:
	movq	U_RIP - 14 * 8(%rsp), %rdx
	movq	U_RSP - 14 * 8(%rsp), %rcx
	popq	%rax
	leaq	syscall_stack_top(%rip), %rsp
	sysexitq

	/* trap_dispatch() returns here, on the stack of user_enter() */
	.globl	user_landing
user_landing:
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

/* int context_save(struct context *c): 0, and 1 after context_restore(c) */
	.globl	context_save
context_save:
	popq	%rdx
	movq	%rbx, 0(%rdi)
	movq	%rbp, 8(%rdi)
	movq	%r12, 16(%rdi)
	movq	%r13, 24(%rdi)
	movq	%r14, 32(%rdi)
	movq	%r15, 40(%rdi)
	movq	%rsp, 48(%rdi)
	movq	%rdx, 56(%rdi)
	xorl	%eax, %eax
	jmp	*%rdx

	.globl	context_restore
context_restore:
	movq	0(%rdi), %rbx
	movq	8(%rdi), %rbp
	movq	16(%rdi), %r12
	movq	24(%rdi), %r13
	movq	32(%rdi), %r14
	movq	40(%rdi), %r15
	movq	48(%rdi), %rsp
	movl	$1, %eax
	jmp	*56(%rdi)

	.bss
	.balign	16
	.globl	syscall_rsp
syscall_rsp:
	.quad	0
	.globl	user_return_rsp
user_return_rsp:
	.quad	0
	.balign	4096
	.fill	8192, 1, 0
	.globl	syscall_stack_top
syscall_stack_top:
	.section .note.GNU-stack, "", @progbits
