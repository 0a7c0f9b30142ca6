/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entry. QEMU comes through the PVH note, in 32-bit protected mode with the
 * start info in EBX; popf comes in 64-bit mode with boot_params in RSI. Both
 * end in guest_main(physical address of the command line) at the link address.
 */
#define PA(x) ((x) - 0xffffffff80000000)

#define BOOT_PARAMS_CMDLINE	0x228
#define START_INFO_CMDLINE	24

	.section .note.pvh, "a", @note
	.long	4
	.long	4
	.long	18
	.asciz	"Xen"
	.long	PA(start32)

	.section .head, "ax"
	.code32
	.globl	start32
start32:
	cli
	cld
	movl	START_INFO_CMDLINE(%ebx), %edi
	movl	%cr4, %eax
	orl	$0x20, %eax
	movl	%eax, %cr4
	movl	$PA(boot_pml4), %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	$0x80000011, %eax
	movl	%eax, %cr0
	lgdt	PA(boot_gdtr)
	ljmp	$0x08, $PA(common64)

	.code64
	.globl	start64
start64:
	cli
	cld
	movl	BOOT_PARAMS_CMDLINE(%rsi), %edi
	lgdt	PA(boot_gdtr)
	pushq	$0x08
	leaq	common64(%rip), %rax
	pushq	%rax
	lretq

common64:
	movl	$PA(boot_pml4), %eax
	movq	%rax, %cr3
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movl	$0xc0000080, %ecx	/* EFER: SCE, NXE */
	rdmsr
	orl	$0x801, %eax
	wrmsr
	movq	%cr0, %rax		/* MP, ET, NE, WP, AM, PG; no EM, TS */
	andq	$~0xc, %rax
	orq	$0x50033, %rax
	movq	%rax, %cr0
	movq	%cr4, %rax		/* PAE, PGE, OSFXSR, OSXMMEXCPT */
	orq	$0x6a0, %rax
	movq	%rax, %cr4
	movq	$1f, %rax
	jmp	*%rax
1:
	movq	$boot_stack_top, %rsp
	xorl	%ebp, %ebp
	lgdt	gdtr_high(%rip)
	call	guest_main
2:
	hlt
	jmp	2b

	.data
	.balign	8
	.globl	guest_gdt
guest_gdt:
	.quad	0
	.quad	0x00af9b000000ffff	/* 08 kernel code */
	.quad	0x00cf93000000ffff	/* 10 kernel data */
	.quad	0x00cf9b000000ffff	/* 18 kernel code, 32 bits */
	.quad	0x00cffb000000ffff	/* 20 user code, 32 bits */
	.quad	0x00cff3000000ffff	/* 28 user data */
	.quad	0x00affb000000ffff	/* 30 user code */
	.quad	0x00cff3000000ffff	/* 38 TLS: user data, base set by tests */
	.quad	0, 0			/* 40 TSS */
	.fill	6, 8, 0			/* 50.. for tests */
	.globl	guest_gdt_end
guest_gdt_end:

	.word	0, 0, 0
boot_gdtr:
	.word	guest_gdt_end - guest_gdt - 1
	.quad	PA(guest_gdt)
	.word	0, 0, 0
gdtr_high:
	.word	guest_gdt_end - guest_gdt - 1
	.quad	guest_gdt

	/*
	 * Boot page tables, all supervisor: the first 4 GiB at 0 (taken away
	 * by guest_main) and at ffff888000000000, the first at the link address.
	 */
	.balign	4096
	.globl	boot_pml4
boot_pml4:
	.quad	PA(boot_pdpt) + 3
	.fill	272, 8, 0
	.quad	PA(boot_pdpt) + 3
	.fill	237, 8, 0
	.quad	PA(boot_pdpt_high) + 3
	.globl	boot_pdpt, boot_pdpt_high
boot_pdpt:
	.quad	PA(boot_pd) + 0x0003
	.quad	PA(boot_pd) + 0x1003
	.quad	PA(boot_pd) + 0x2003
	.quad	PA(boot_pd) + 0x3003
	.fill	508, 8, 0
boot_pdpt_high:
	.fill	510, 8, 0
	.quad	PA(boot_pd) + 0x0003
	.quad	0
boot_pd:
	.set	i, 0
	.rept	1536
	.quad	(i << 21) + 0x83
	.set	i, i + 1
	.endr
	.rept	512
	.quad	(i << 21) + 0x9b	/* devices: uncached */
	.set	i, i + 1
	.endr

	.bss
	.balign	4096
	.fill	32768, 1, 0
	.globl	boot_stack_top
boot_stack_top:
	.section .note.GNU-stack, "", @progbits
