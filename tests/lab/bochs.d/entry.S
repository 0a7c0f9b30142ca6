/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From the 32-bit entry of the Linux boot protocol to the 64-bit entry of an
 * unpacked kernel: what the decompressor does besides decompressing, which takes
 * four fifths of a boot under Bochs.
 *
 * Entered with ESI at struct boot_params, flat segments, paging off. TARGET is
 * the physical address of startup_64. Position independent. It lies where the
 * kernel will have its bss, and is not needed any more when that is cleared.
 */
#define BP_SCRATCH 0x1e4
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define EFER 0xc0000080
#define EFER_LME 0x100
#define PAGE 0x1000
#define ENTRY_TABLE 0x7		/* present, writable, user */
#define ENTRY_2M 0x83		/* present, writable, large */
#define BOOT_CS 0x10
#define BOOT_DS 0x18

	.text
	.code32
	.globl entry
entry:
	cld
	cli
	leal	BP_SCRATCH + 4(%esi), %esp
	call	1f
1:	popl	%ebp
	subl	$1b, %ebp

	/* The first 4 GiB mapped as they are. */
	leal	tables(%ebp), %edi
	xorl	%eax, %eax
	movl	$6 * PAGE / 4, %ecx
	rep stosl
	leal	tables(%ebp), %edi
	leal	PAGE + ENTRY_TABLE(%edi), %eax
	movl	%eax, (%edi)
	movl	$4, %ecx
	leal	PAGE(%edi), %edx
2:	addl	$PAGE, %eax
	movl	%eax, (%edx)
	addl	$8, %edx
	loop	2b
	leal	2 * PAGE(%edi), %edx
	movl	$2048, %ecx
	movl	$ENTRY_2M, %eax
3:	movl	%eax, (%edx)
	addl	$0x200000, %eax
	addl	$8, %edx
	loop	3b

	leal	gdt(%ebp), %eax
	movl	%eax, gdt_pointer + 2(%ebp)
	lgdt	gdt_pointer(%ebp)
	movl	%cr4, %eax
	orl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	%edi, %cr3
	movl	$EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	pushl	$BOOT_CS
	leal	4f(%ebp), %eax
	pushl	%eax
	movl	%cr0, %eax
	orl	$CR0_PG, %eax
	movl	%eax, %cr0
	lret

	.code64
4:	movl	$BOOT_DS, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%esi, %esi
	movl	$TARGET, %eax
	jmp	*%rax

	.balign	8
gdt:
	.quad	0, 0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	0
	.balign	PAGE
tables:
	.skip	6 * PAGE
