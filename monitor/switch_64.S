/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The world switch.
 *
 * Parts:
 *   1. popf_switch_start..popf_switch_end: code that is copied into each VM's
 *      switch region (it lives in a data section here: it never runs in place).
 *	enter		host world to guest ring 3
 *	leave		back to the instruction after the call to enter
 *	stubs		256 vectors, SYSCALL, SYSCALL from compatibility mode,
 *			SYSENTER: save registers, leave
 *	crossings	SYSCALL to translated code and back to user mode, without
 *			the host, where fast.c has allowed it
 *	NMI, #MC, #DB	on stacks of their own, survivable at every instruction
 *   2. popf_world_call, popf_call_gate: ordinary module text that calls the
 *      region, and a gate of the host's IDT.
 *
 * struct world_data, struct world_regs (world.h) are what this code shares with
 * C; offsets are generated.
 *
 * Invariants:
 *  1. Position independent: no absolute address, no relative jump out of the
 *     copied range, data is reached RIP-relative.
 *  2. With the world's IDT loaded, the GDT is the crossing GDT or the world's, and
 *     the stubs are mapped in whichever page table CR3 holds.
 *  3. With the host's IDT loaded, the GDT is the host's or the crossing GDT and
 *     CR3 is the host's; GS base is the host's.
 *  4. The host's stack is only used while CR3 is the host's.
 *  5. enter and leave are mirrored: what one saves and changes, the other restores
 *     in reverse order.
 */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/nospec-branch.h>

#include "asm_offsets.h"
#include "world.h"

/* A field of struct world_data from code of the region. */
#define DATA(off) (popf_switch_start + REGION_DATA_OFF + (off))(%rip)
#define REGS(off) DATA(WD_regs + (off))
#define REGS_END REGS(WR_SIZE)
/* A field of struct vcpu_page: what ring 3 may have written there is not trusted. */
#define PAGE(off) (popf_switch_start + REGION_VPAGE_OFF + (off))(%rip)
/* The byte with P, DPL and type of one of popf's descriptors. */
#define ACCESS_BYTE(sel) \
	(popf_switch_start + REGION_GDT_POPF_OFF + \
	 ((sel) & ~7) - 0x1000 + DESC_TYPE)(%rip)

/* RFLAGS */
#define FL_FIXED 0x2
#define FL_TF 0x100
#define FL_IF 0x200
#define FL_IOPL 0x3000
#define FL_NT 0x4000
#define FL_VM 0x20000

/* Byte 5 of a descriptor has the type; bit 1 of a TSS's type is "busy". */
#define DESC_TYPE 5
#define TSS_BUSY 2

#define MSR_FS_BASE_NR 0xc0000100
#define MSR_GS_BASE_NR 0xc0000101

/* Hosts with IBT want it at every entry; it does nothing elsewhere. */
#define LANDING .byte 0xf3, 0x0f, 0x1e, 0xfa

/* Save the base register of fs or gs to a field: clobbers rax, rcx, rdx. */
.macro SAVE_BASES fs_off gs_off
	cmpb	$0, WD_fsgsbase(%rbx)
	je	771f
	rdfsbase %rax
	movq	%rax, \fs_off(%rbx)
	rdgsbase %rax
	movq	%rax, \gs_off(%rbx)
	jmp	772f
771:	movl	$MSR_FS_BASE_NR, %ecx
	rdmsr
	movl	%eax, \fs_off(%rbx)
	movl	%edx, \fs_off+4(%rbx)
	movl	$MSR_GS_BASE_NR, %ecx
	rdmsr
	movl	%eax, \gs_off(%rbx)
	movl	%edx, \gs_off+4(%rbx)
772:
.endm

/* The reverse. */
.macro LOAD_BASES fs_off gs_off
	cmpb	$0, WD_fsgsbase(%rbx)
	je	771f
	movq	\gs_off(%rbx), %rax
	wrgsbase %rax
	movq	\fs_off(%rbx), %rax
	wrfsbase %rax
	jmp	772f
771:	movl	\gs_off(%rbx), %eax
	movl	\gs_off+4(%rbx), %edx
	movl	$MSR_GS_BASE_NR, %ecx
	wrmsr
	movl	\fs_off(%rbx), %eax
	movl	\fs_off+4(%rbx), %edx
	movl	$MSR_FS_BASE_NR, %ecx
	wrmsr
772:
.endm

/*
 * Equal if DS and ES are null in both worlds, as in 64-bit code: then they are null
 * now, and loading them would change nothing. Each load is a trip through the
 * processor's microcode, or QEMU's. Clobbers rax.
 */
.macro DATA_SEGMENTS_ARE_NULL
	movl	WD_ds(%rbx), %eax
	orl	WD_host_ds(%rbx), %eax
.endm

	.section .rodata.popf_switch, "a"
	.balign 64
SYM_CODE_START_NOALIGN(popf_switch_start)
/*
 * enter: called with the host's everything, interrupts off, from
 * popf_world_call(). struct world_data is filled. Returns like a function, with
 * the guest's registers in world_data and callee-saved registers intact; all
 * others clobbered.
 */
	LANDING
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15

	/* What the host has. */
	leaq	DATA(0), %rbx
	movq	%rsp, WD_host_rsp(%rbx)
	movq	%cr0, %rax
	movq	%rax, WD_host_cr0(%rbx)
	movq	%cr3, %rax
	movq	%rax, WD_host_cr3(%rbx)
	movq	%cr4, %rax
	movq	%rax, WD_host_cr4(%rbx)
	movw	%ds, WD_host_ds(%rbx)
	movw	%es, WD_host_es(%rbx)
	movw	%fs, WD_host_fs(%rbx)
	movw	%gs, WD_host_gs(%rbx)
	str	WD_host_tr(%rbx)
	sldt	WD_host_ldt(%rbx)
	sgdt	WD_host_gdt(%rbx)
	sidt	WD_host_idt(%rbx)
	SAVE_BASES WD_host_fs_base, WD_host_gs_base

	/* Tables: through the crossing GDT, which suits both IDTs. */
	lgdt	WD_cross_gdt(%rbx)
	lidt	WD_idt(%rbx)
	andb	$~TSS_BUSY, (popf_switch_start + REGION_CROSS_POPF_OFF + \
			     (WORLD_TSS - 0x1000) + DESC_TYPE)(%rip)
	movl	$WORLD_TSS, %eax
	ltr	%ax
	pushq	$WORLD_CS
	leaq	1f(%rip), %rax
	pushq	%rax
	lretq
1:	xorl	%eax, %eax
	movl	%eax, %ss
	leaq	REGS(0), %rsp
	lgdt	WD_gdt(%rbx)
	movzwl	WD_ldt(%rbx), %eax
	cmpw	%ax, WD_host_ldt(%rbx)
	je	9f
	lldt	%ax
9:
	/* Segments, while a fault can still be told from the guest's. */
	DATA_SEGMENTS_ARE_NULL
	je	3f
	movzwl	WD_ds(%rbx), %eax
	movl	%eax, %ds
	movzwl	WD_es(%rbx), %eax
	movl	%eax, %es
3:
	movzwl	WD_fs(%rbx), %eax
	movl	%eax, %fs
	movzwl	WD_gs(%rbx), %eax
	movl	%eax, %gs
	LOAD_BASES WD_fs_base, WD_gs_base

	/* PGE is off in both: C saw to it, and no global entry is left. */
	movq	WD_host_cr4(%rbx), %rdx
	movq	%rdx, %rax
	andq	WD_cr4_keep(%rbx), %rax
	xorq	WD_cr4_flip(%rbx), %rax
	movq	%rax, WD_cr4(%rbx)
	cmpq	%rdx, %rax
	je	5f
	movq	%rax, %cr4
5:
	movq	WD_cr3(%rbx), %rax
	movq	%rax, %cr3
	movq	WD_host_cr0(%rbx), %rdx
	movq	%rdx, %rax
	andq	WD_cr0_keep(%rbx), %rax
	xorq	WD_cr0_flip(%rbx), %rax
	cmpq	%rdx, %rax
	je	2f
	movq	%rax, %cr0
2:
	movq	WD_dr7(%rbx), %rax
	testq	%rax, %rax
	je	9f
	movq	%rax, %db7
9:
	/* Host data in store and fill buffers must not reach ring 3. */
	cmpw	$0, WD_verw(%rbx)
	je	8f
	verw	WD_verw(%rbx)
8:
/* From here to iretq an NMI or #MC abandons the entry: see ist_ring0. */
enter_commit:
	cmpb	$0, WD_noted(%rbx)
	jne	leave_abort
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rbp
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rbx
	popq	%rax
	leaq	16(%rsp), %rsp
enter_iret:
	iretq

/*
 * leave: rbx, all others free; saved guest registers are in world_data. Any stack.
 */
leave_abort:
	leaq	DATA(0), %rbx
	movq	$EXIT_ABORT, (WD_regs + WR_vector)(%rbx)
	jmp	leave

save_and_leave:
	/* On the stack: vector, error, hardware frame, at their place in regs. */
	testb	$3, (WR_cs - WR_vector)(%rsp)
	jz	region_fault
	pushq	%rax
	pushq	%rbx
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%rbp
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	cld
	leaq	DATA(0), %rbx
	movq	%cr2, %rax
	movq	%rax, WD_cr2(%rbx)
	SAVE_BASES WD_fs_base, WD_gs_base
	movw	%ds, WD_ds(%rbx)
	movw	%es, WD_es(%rbx)
	movw	%fs, WD_fs(%rbx)
	movw	%gs, WD_gs(%rbx)

leave:
	/* Nothing a guest left in the registers shall steer the host. */
	xorl	%ebp, %ebp
	xorl	%edi, %edi
	xorl	%esi, %esi
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	xorl	%r10d, %r10d
	xorl	%r11d, %r11d
	xorl	%r12d, %r12d
	xorl	%r13d, %r13d
	xorl	%r14d, %r14d
	xorl	%r15d, %r15d
	/* The guest's breakpoints see nothing of the host. */
	cmpq	$0, WD_dr7(%rbx)
	je	9f
	movq	%r15, %db7
9:
	movq	%cr0, %rcx
	movq	WD_host_cr0(%rbx), %rax
	cmpq	%rcx, %rax
	je	3f
	movq	%rax, %cr0
3:	movq	WD_host_cr3(%rbx), %rax
	movq	%rax, %cr3
	movq	WD_host_cr4(%rbx), %rax
	cmpq	WD_cr4(%rbx), %rax
	je	6f
	movq	%rax, %cr4
6:

	lgdt	WD_cross_gdt(%rbx)
	movq	WD_host_rsp(%rbx), %rsp
	pushq	$HOST_CS
	leaq	4f(%rip), %rax
	pushq	%rax
	lretq
4:	movl	$HOST_SS, %eax
	movl	%eax, %ss
	movzwl	WD_host_ldt(%rbx), %eax
	cmpw	%ax, WD_ldt(%rbx)
	je	9f
	lldt	%ax
9:
	DATA_SEGMENTS_ARE_NULL
	je	3f
	movzwl	WD_host_ds(%rbx), %eax
	movl	%eax, %ds
	movzwl	WD_host_es(%rbx), %eax
	movl	%eax, %es
3:
	movzwl	WD_host_fs(%rbx), %eax
	movl	%eax, %fs
	movzwl	WD_host_gs(%rbx), %eax
	movl	%eax, %gs
	LOAD_BASES WD_host_fs_base, WD_host_gs_base
	movzwl	WD_host_tr(%rbx), %eax
	movl	%eax, %ecx
	andl	$~7, %ecx
	leaq	(popf_switch_start + REGION_CROSS_OFF + DESC_TYPE)(%rip), %rdx
	andb	$~TSS_BUSY, (%rdx, %rcx)
	ltr	%ax
	lidt	WD_host_idt(%rbx)
	lgdt	WD_host_gdt(%rbx)

	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
	int3

/*
 * The region's own code faulted (a bad selector at IRET is the one case that is
 * expected). Registers of the guest are lost, C has them. On the stack: vector,
 * error, frame.
 */
region_fault:
	leaq	DATA(0), %rbx
	popq	WD_fault_vector(%rbx)
	popq	WD_fault_error(%rbx)
	popq	WD_fault_rip(%rbx)
	leaq	REGS(0), %rsp
	movq	$EXIT_FAULT, (WD_regs + WR_vector)(%rbx)
	jmp	leave

/*
 * NMI, #MC, #DB on their IST stacks. From ring 3 the frame moves to world_regs and
 * the exit is like any other. From ring 0 the event is noted and the interrupted
 * code goes on, except that an entry past its check is abandoned.
 */
.macro IST_STUB name vector note
SYM_INNER_LABEL(\name, SYM_L_LOCAL)
	LANDING
	testb	$3, 8(%rsp)
	jnz	773f
	\note
	jmp	ist_ring0
773:	\note
	popq	REGS(WR_rip)
	popq	REGS(WR_cs)
	popq	REGS(WR_rflags)
	popq	REGS(WR_rsp)
	popq	REGS(WR_ss)
	leaq	REGS(WR_rip), %rsp
	pushq	$0
	pushq	$\vector
	jmp	save_and_leave
.endm

.macro NOTE_NMI
	movb	$1, DATA(WD_nmi_noted)
	movb	$1, DATA(WD_noted)
.endm

.macro NOTE_MC
	movb	$1, DATA(WD_mc_noted)
	movb	$1, DATA(WD_noted)
.endm

.macro NOTE_NOTHING
.endm

	IST_STUB stub_nmi 2 NOTE_NMI
	IST_STUB stub_mc 18 NOTE_MC
	IST_STUB stub_db 1 NOTE_NOTHING

/*
 * From a ring 0 place: a noted event makes an entry past its check go back. Each of
 * the two places has its range of instructions and its way back.
 */
.macro ABANDON first last to
	leaq	\first(%rip), %rax
	cmpq	%rax, %rcx
	jb	774f
	leaq	\last(%rip), %rax
	cmpq	%rax, %rcx
	ja	774f
	leaq	\to(%rip), %rax
	movq	%rax, 16(%rsp)
774:
.endm

ist_ring0:
	/* A guest's TF or breakpoint must not follow it into ring 0. */
	andl	$~0x100, 16(%rsp)
	pushq	%rax
	pushq	%rcx
	movq	16(%rsp), %rcx
	/* A #DB on top of a #DB has overwritten the first one's frame. */
	leaq	stub_db(%rip), %rax
	cmpq	%rax, %rcx
	je	lost_frame
	cmpb	$0, DATA(WD_noted)
	je	7f
	ABANDON	enter_commit, enter_iret, leave_abort
	ABANDON cross_commit, cross_iret, cross_noted
7:	popq	%rcx
	popq	%rax
	iretq

/* #DF: nothing is trustworthy but the page tables; leave as a fault. */
SYM_INNER_LABEL(stub_df, SYM_L_LOCAL)
	LANDING
	pushq	$8
	jmp	region_fault

lost_frame:
	leaq	16(%rsp), %rsp
	pushq	$0
	pushq	$1
	jmp	region_fault

/* System calls: build the frame an interrupt would have pushed. */
.macro SYSCALL_FRAME
	LANDING
	movq	%rsp, DATA(WD_scratch)
	leaq	REGS_END, %rsp
	pushq	$0
	pushq	DATA(WD_scratch)
	pushq	%r11
	pushq	$3
	pushq	%rcx
.endm

SYM_INNER_LABEL(stub_syscall32, SYM_L_LOCAL)
	SYSCALL_FRAME
	pushq	$0
	pushq	$EXIT_SYSCALL32
	jmp	save_and_leave

/*
 * SYSCALL of a guest's user code, or of translated code that wants to return
 * there. Where C has allowed it, this crosses from one shadow root to the other
 * and goes on in ring 3; else it is an exit.
 *
 * rcx, r11: as SYSCALL leaves them. All others, and after a crossing these too,
 * are the guest's.
 */
SYM_INNER_LABEL(stub_syscall, SYM_L_LOCAL)
	SYSCALL_FRAME
	pushq	%rax
	cmpb	$0, DATA(WD_user)
	je	cross_to_user
	cmpb	$0, DATA(WD_fast_syscall)
	je	cross_slow
	testl	$FL_TF, %r11d
	jnz	cross_slow
	/* User code may have loaded a data segment: C has to know. */
	movl	%ds, %eax
	cmpw	%ax, DATA(WD_ds)
	jne	cross_slow
	movl	%es, %eax
	cmpw	%ax, DATA(WD_es)
	jne	cross_slow
	movl	%fs, %eax
	cmpw	%ax, DATA(WD_fs)
	jne	cross_slow
	movl	%gs, %eax
	cmpw	%ax, DATA(WD_gs)
	jne	cross_slow

	movq	DATA(WD_kernel_cr3), %rax
	movq	%rax, %cr3
	movb	$ACCESS_CODE_DPL3, ACCESS_BYTE(WORLD_TC_CS)
	movb	$ACCESS_DATA_DPL3, ACCESS_BYTE(WORLD_TC_SS)
	movq	DATA(WD_fast_vif), %rax
	movq	%rax, PAGE(VP_vif)
	movq	$0, PAGE(VP_viopl)
	movl	DATA(WD_kernel_sel), %eax
	movl	%eax, PAGE(VP_sel_cs)
	movl	%r11d, %eax
	andl	DATA(WD_fast_flags), %eax
	orl	$(FL_IF | FL_FIXED), %eax
	movq	%rax, REGS(WR_rflags)
	movq	DATA(WD_fast_tpc), %rax
	movq	%rax, REGS(WR_rip)
	movq	$WORLD_TC_CS, REGS(WR_cs)
	movq	$WORLD_TC_SS, REGS(WR_ss)
	movb	$0, DATA(WD_user)
	movb	$1, DATA(WD_crossed)
	incq	DATA(WD_syscalls)
	popq	%rax
	jmp	cross_commit

cross_slow:
	popq	%rax
	pushq	$0
	pushq	$EXIT_SYSCALL
	jmp	save_and_leave

/*
 * The guest's rax, rcx and r11 are in the vCPU page, and so is where to go. The
 * slow way resumes behind the SYSCALL.
 */
cross_to_user:
	cmpb	$0, DATA(WD_fast_return)
	je	cross_slow
	movq	PAGE(VP_ret_rip), %rcx
	movq	%rcx, %rax
	shrq	$47, %rax
	jnz	cross_slow
	movq	PAGE(VP_ret_rflags), %r11
	movl	%r11d, %eax
	andl	$(FL_TF | FL_IF | FL_IOPL | FL_NT | FL_VM), %eax
	cmpl	$FL_IF, %eax
	jne	cross_slow
	andl	$WORLD_NATIVE_FLAGS, %r11d
	orl	$(FL_IF | FL_FIXED), %r11d
	movq	%r11, REGS(WR_rflags)
	movq	%rcx, REGS(WR_rip)
	movq	PAGE(VP_ret_rsp), %rax
	movq	%rax, REGS(WR_rsp)
	movq	DATA(WD_user_cs), %rax
	movq	%rax, REGS(WR_cs)
	movq	DATA(WD_user_ss), %rax
	movq	%rax, REGS(WR_ss)
	movq	PAGE(VP_spill_rax), %rax
	movq	%rax, (%rsp)
	movq	PAGE(VP_spill_rcx), %rcx
	movq	PAGE(VP_spill_r11), %r11
	movb	$0, ACCESS_BYTE(WORLD_TC_CS)
	movb	$0, ACCESS_BYTE(WORLD_TC_SS)
	movq	DATA(WD_user_cr3), %rax
	movq	%rax, %cr3
	movb	$1, DATA(WD_user)
	movb	$1, DATA(WD_crossed)
	incq	DATA(WD_returns)
	/* The guest's kernel was told that nothing it touched stays in buffers. */
	cmpw	$0, DATA(WD_verw)
	je	9f
	verw	DATA(WD_verw)
9:	popq	%rax

/* rsp: a frame at its place in regs; all other registers are the guest's. */
cross_commit:
	cmpb	$0, DATA(WD_noted)
	jne	cross_noted
cross_iret:
	iretq

cross_noted:
	pushq	$0
	pushq	$EXIT_NOTED
	jmp	save_and_leave

/* SYSENTER saves nothing: RIP, RSP and RFLAGS of the guest are for C to know. */
SYM_INNER_LABEL(stub_sysenter, SYM_L_LOCAL)
	LANDING
	leaq	REGS_END, %rsp
	pushq	$0
	pushq	$0
	pushfq
	pushq	$3
	pushq	$0
	pushq	$0
	pushq	$EXIT_SYSENTER
	jmp	save_and_leave

/*
 * Vectors, SWITCH_STUB_SIZE bytes apart, from SWITCH_STUB_FIRST on: so the host's
 * timer and the exceptions lie in the page of the code that they jump to.
 */
	.balign 16
SYM_INNER_LABEL(stubs, SYM_L_LOCAL)
vector = SWITCH_STUB_FIRST
.rept 256
	.balign 16
	LANDING
.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || \
      vector == 21)
	pushq	$0
.endif
	pushq	$vector
	jmp	save_and_leave
vector = (vector + 1) & 255
.endr
SYM_INNER_LABEL(popf_switch_end, SYM_L_GLOBAL)
SYM_CODE_END(popf_switch_start)

/* Where C finds things: offsets from the start of the copied code. */
	.balign 8
SYM_DATA_START(popf_switch_layout)
	.quad	popf_switch_start
	.quad	popf_switch_end
	.quad	stubs - popf_switch_start
	.quad	stub_nmi - popf_switch_start
	.quad	stub_mc - popf_switch_start
	.quad	stub_db - popf_switch_start
	.quad	stub_df - popf_switch_start
	.quad	stub_syscall - popf_switch_start
	.quad	stub_syscall32 - popf_switch_start
	.quad	stub_sysenter - popf_switch_start
	.quad	enter_iret - popf_switch_start
SYM_DATA_END(popf_switch_layout)

	.text
/*
 * void popf_world_call(void *enter)
 * rdi: address of enter in the region. A C call that clobbers what calls clobber.
 */
SYM_FUNC_START(popf_world_call)
	pushq	%rbp
	movq	%rsp, %rbp
	ANNOTATE_RETPOLINE_SAFE
	call	*%rdi
	popq	%rbp
	RET
SYM_FUNC_END(popf_world_call)

/*
 * void popf_call_gate(void *handler)
 * rdi: offset of a gate of the host's IDT. Calls it with the frame the CPU would
 * have pushed; the handler returns by IRET. Interrupts off before and after.
 */
SYM_FUNC_START(popf_call_gate)
	pushq	%rbp
	movq	%rsp, %rbp
	andq	$-16, %rsp
	pushq	$HOST_SS
	pushq	%rbp
	pushfq
	pushq	$HOST_CS
	ANNOTATE_RETPOLINE_SAFE
	call	*%rdi
	movq	%rbp, %rsp
	popq	%rbp
	RET
SYM_FUNC_END(popf_call_gate)
