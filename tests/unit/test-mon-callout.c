// SPDX-License-Identifier: GPL-2.0-only
/* Callouts and faults of direct execution: privileged instructions in C. */
#include "mon_rig.h"

static void expect_fault(u8 vec, u32 error)
{
	struct vcpu *v = &rig->v;

	assert_true(v->exc.pending);
	assert_int_equal(v->exc.vector, vec);
	if (v->exc.has_error)
		assert_int_equal(v->exc.error, error);
	assert_int_equal(v->regs.rip, RIG_CODE);
	v->exc.pending = false;
}

/* The hardware's #GP for these bytes at CPL 3. */
static enum emul user_gp(const char *bytes, u32 n)
{
	rig_code(bytes, n);
	return vcpu_user_fault(&rig->v, VEC_GP, 0);
}

static void privileged_instructions_fault_in_user_mode(void **state)
{
	static const struct {
		const char *bytes;
		u32 len;
	} t[] = {
		{ "\xf4", 1 }, { "\xfa", 1 }, { "\xfb", 1 }, /* hlt cli sti */
		{ "\x0f\x20\xc0", 3 }, { "\x0f\x22\xc0", 3 }, /* mov cr */
		{ "\x0f\x21\xc0", 3 }, { "\x0f\x23\xc0", 3 }, /* mov dr */
		{ "\x0f\x30", 2 }, { "\x0f\x32", 2 }, /* wrmsr rdmsr */
		{ "\x0f\x01\x13", 3 }, { "\x0f\x01\x1b", 3 }, /* lgdt lidt */
		{ "\x0f\x00\xd0", 3 }, { "\x0f\x00\xd8", 3 }, /* lldt ltr */
		{ "\x0f\x01\x3b", 3 }, { "\x0f\x06", 2 }, /* invlpg clts */
		{ "\x0f\x01\xf0", 3 }, { "\x0f\x08", 2 }, /* lmsw invd */
		{ "\x0f\x09", 2 }, { "\x0f\x01\xf8", 3 }, /* wbinvd swapgs */
		{ "\x0f\x33", 2 }, { "\xec", 1 }, { "\xef", 1 }, /* rdpmc in out */
		{ "\x6e", 1 }, { "\x6c", 1 }, /* outsb insb */
		{ "\x48\x0f\x07", 3 }, /* sysret */
	};
	u32 i;

	rig_user(false);
	rig->v.tr.limit = 0x67;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(user_gp(t[i].bytes, t[i].len), EMUL_FAULT);
		expect_fault(VEC_GP, 0);
	}
}

static void instructions_that_are_not_offered_are_undefined(void **state)
{
	static const char *const t[] = {
		"\x0f\x01\xc8\x90", /* monitor */ "\x0f\x01\xc9\x90", /* mwait */
		"\x0f\x01\xca\x90", /* clac */ "\x0f\x01\xcb\x90", /* stac */
		"\x0f\x01\xc2\x90", /* vmlaunch */ "\x0f\x01\xd8\x90", /* vmrun */
		"\x0f\xaa\x90\x90", /* rsm */ "\x0f\x37\x90\x90", /* getsec */
		"\x0f\x01\xd5\x90", /* xend */ "\x0f\x0b\x90\x90", /* ud2 */
	};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(rig_callout(t[i], 4), EMUL_FAULT);
		expect_fault(VEC_UD, 0);
	}
	/* invpcid, xbegin */
	assert_int_equal(callout(0x66, 0x0f, 0x38, 0x82, 0x03), EMUL_FAULT);
	expect_fault(VEC_UD, 0);
	assert_int_equal(callout(0xc7, 0xf8, 0, 0, 0, 0), EMUL_FAULT);
	expect_fault(VEC_UD, 0);
}

static void unknown_callouts_stop_with_their_bytes(void **state)
{
	assert_int_equal(callout(0x0f, 0xae, 0xe8), EMUL_STOP); /* lfence */
	assert_non_null(strstr(rig->v.stop_reason, "0f ae e8"));
}

/* 66h in front of a near branch, on AMD's processors. */
static void narrow_branches_keep_sixteen_bits_of_rip(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;

	assert_int_equal(vcpu_emul_init(v), 0);
	v->emul->amd_branches = true;
	assert_int_equal(callout(0x66, 0xe9, 0x10, 0x00), EMUL_DONE); /* jmp */
	assert_int_equal(v->regs.rip, (u16)(RIG_CODE + 0x14));
	assert_int_equal(callout(0x66, 0xeb, 0x10), EMUL_DONE);
	assert_int_equal(v->regs.rip, (u16)(RIG_CODE + 0x13));
	g[GPR_RAX] = 0xffff888000001234;
	assert_int_equal(callout(0x66, 0xff, 0xe0), EMUL_DONE); /* jmp ax */
	assert_int_equal(v->regs.rip, 0x1234);
	g[GPR_RSP] = 0x80008;
	*rig_u64(0x80000) = ~0ull;
	assert_int_equal(callout(0x66, 0xe8, 0x10, 0x00), EMUL_DONE); /* call */
	assert_int_equal(v->regs.rip, (u16)(RIG_CODE + 0x14));
	assert_int_equal(g[GPR_RSP], 0x80006);
	assert_int_equal(*rig_u64(0x80000) >> 48, (u16)(RIG_CODE + 4));
	assert_int_equal(callout(0x66, 0xc3), EMUL_DONE); /* ret */
	assert_int_equal(v->regs.rip, (u16)(RIG_CODE + 4));
	assert_int_equal(g[GPR_RSP], 0x80008);
	/* Conditional ones are known and not handled. */
	assert_int_equal(callout(0x66, 0x74, 0x10), EMUL_STOP);
	assert_non_null(strstr(v->stop_reason, "66 74 10"));
}

static void control_register_moves(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;

	assert_int_equal(callout(0x0f, 0x20, 0xd8), EMUL_DONE); /* mov cr3, rax */
	assert_int_equal(g[GPR_RAX], RIG_CR3);
	assert_int_equal(v->regs.rip, RIG_CODE + 3);
	g[GPR_R9] = 0x1018;
	assert_int_equal(callout(0x41, 0x0f, 0x22, 0xd9), EMUL_DONE);
	assert_int_equal(v->cr3, 0x1018);
	assert_int_equal(rig->cr3_changes, 1);
	g[GPR_RAX] = 0x1234;
	assert_int_equal(callout(0x0f, 0x22, 0xd0), EMUL_DONE);
	assert_int_equal(v->cr2, 0x1234);
	g[GPR_RAX] = 7;
	assert_int_equal(callout(0x44, 0x0f, 0x22, 0xc0), EMUL_DONE); /* cr8 */
	assert_int_equal(lapic_get_tpr(v->lapic), 7);
	assert_int_equal(callout(0x44, 0x0f, 0x20, 0xc3), EMUL_DONE);
	assert_int_equal(g[GPR_RBX], 7);
	g[GPR_RAX] = 1ull << 60;
	assert_int_equal(callout(0x0f, 0x22, 0xc0), EMUL_FAULT);
	expect_fault(VEC_GP, 0);
	assert_int_equal(callout(0x0f, 0x20, 0xc8), EMUL_FAULT); /* cr1 */
	expect_fault(VEC_UD, 0);
	v->cr0 |= CR0_TS;
	assert_int_equal(callout(0x0f, 0x06), EMUL_DONE);
	assert_false(v->cr0 & CR0_TS);
	g[GPR_RAX] = 0xfff8; /* lmsw cannot clear PE */
	assert_int_equal(callout(0x0f, 0x01, 0xf0), EMUL_DONE);
	assert_true(v->cr0 & CR0_PE);
	assert_true(v->cr0 & CR0_TS);
	assert_int_equal(callout(0x0f, 0x01, 0xe0), EMUL_DONE); /* smsw eax */
	assert_int_equal(g[GPR_RAX], v->cr0);
}

static void debug_register_moves(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;

	g[GPR_RAX] = 0x1000;
	assert_int_equal(callout(0x0f, 0x23, 0xc8), EMUL_DONE); /* dr1 */
	assert_int_equal(v->dr[1], 0x1000);
	assert_int_equal(callout(0x0f, 0x21, 0xe3), EMUL_DONE); /* dr4 = dr6 */
	assert_int_equal(g[GPR_RBX], v->dr6);
	v->cr4 |= CR4_DE;
	assert_int_equal(callout(0x0f, 0x21, 0xe3), EMUL_FAULT);
	expect_fault(VEC_UD, 0);
	v->dr7 |= DR7_GD;
	assert_int_equal(callout(0x0f, 0x21, 0xfb), EMUL_FAULT);
	assert_int_equal(v->exc.dr6, DR6_BD);
	expect_fault(VEC_DB, 0);
}

static void descriptor_table_registers(void **state)
{
	struct vcpu *v = &rig->v;
	u64 base = 0xfffffe0000001000;
	u16 limit = 0x7f;
	u8 buf[10];

	memcpy(rig_at(0x80000), &limit, 2);
	memcpy(rig_at(0x80002), &base, 8);
	v->regs.gpr[GPR_RBX] = 0x80000;
	assert_int_equal(callout(0x0f, 0x01, 0x13), EMUL_DONE);
	assert_int_equal(v->gdt.base, base);
	assert_int_equal(v->gdt.limit, 0x7f);
	assert_int_equal(rig->table_changes, 1);
	assert_int_equal(callout(0x0f, 0x01, 0x1b), EMUL_DONE);
	assert_int_equal(v->idt.base, base);
	v->regs.gpr[GPR_RBX] = 0x80100;
	assert_int_equal(callout(0x0f, 0x01, 0x03), EMUL_DONE); /* sgdt */
	memcpy(buf, rig_at(0x80100), 10);
	assert_memory_equal(buf, rig_at(0x80000), 10);
	assert_int_equal(callout(0x0f, 0x00, 0xc8), EMUL_DONE); /* str eax */
	assert_int_equal(v->regs.gpr[GPR_RAX], SEL_TSS);
	base = 1ull << 55;
	memcpy(rig_at(0x80102), &base, 8);
	assert_int_equal(callout(0x0f, 0x01, 0x13), EMUL_FAULT);
	expect_fault(VEC_GP, 0);
}

static void umip_hides_tables_from_user_code_only_when_set(void **state)
{
	struct vcpu *v = &rig->v;

	rig_user(false);
	v->regs.gpr[GPR_RBX] = 0x80000;
	assert_int_equal(user_gp("\x0f\x01\x03", 3), EMUL_DONE); /* sgdt */
	assert_memory_equal(rig_at(0x80002), &v->gdt.base, 8);
	v->cr4 |= CR4_UMIP;
	assert_int_equal(user_gp("\x0f\x01\x03", 3), EMUL_FAULT);
	expect_fault(VEC_GP, 0);
}

static void segment_moves(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;

	g[GPR_RAX] = SEL_DATA;
	assert_int_equal(callout(0x8e, 0xd8), EMUL_DONE); /* mov ds, ax */
	assert_int_equal(v->seg[SEG_DS].selector, SEL_DATA);
	assert_false(v->irq_shadow);
	assert_int_equal(callout(0x8e, 0xd0), EMUL_DONE); /* mov ss, ax */
	assert_true(v->irq_shadow);
	assert_false(vcpu_nmi_allowed(v));
	g[GPR_RBX] = ~0ull;
	assert_int_equal(callout(0x8c, 0xd3), EMUL_DONE); /* mov ebx, ss */
	assert_int_equal(g[GPR_RBX], SEL_DATA);
	assert_false(v->irq_shadow);
	assert_int_equal(callout(0x0f, 0xa0), EMUL_DONE); /* push fs */
	assert_int_equal(g[GPR_RSP], RIG_STACK - 8);
	*rig_u64(RIG_STACK - 8) = SEL_UDATA;
	assert_int_equal(callout(0x0f, 0xa1), EMUL_DONE); /* pop fs */
	assert_int_equal(v->seg[SEG_FS].selector, SEL_UDATA);
	assert_int_equal(g[GPR_RSP], RIG_STACK);
	*rig_u64(RIG_STACK) = 0x100;
	assert_int_equal(callout(0x0f, 0xa9), EMUL_FAULT); /* pop gs */
	expect_fault(VEC_GP, 0x100);
	assert_int_equal(g[GPR_RSP], RIG_STACK);
}

static void sti_shadows_one_instruction(void **state)
{
	struct vcpu *v = &rig->v;

	assert_int_equal(callout(0xfb), EMUL_DONE);
	assert_true(v->irq_shadow);
	assert_true(v->regs.rflags & RF_IF);
	assert_false(vcpu_irq_allowed(v));
	assert_int_equal(callout(0xfb), EMUL_DONE); /* a second one does not */
	assert_true(vcpu_irq_allowed(v));
	assert_int_equal(callout(0xfa), EMUL_DONE);
	assert_false(vcpu_irq_allowed(v));
}

static void popf_and_pushf(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;

	*rig_u64(RIG_STACK) = ~0ull;
	assert_int_equal(callout(0x9d), EMUL_DONE);
	assert_int_equal(v->regs.rflags, RF_FIXED | RF_ARITH | RF_TF | RF_IF |
			 RF_DF | RF_IOPL | RF_NT | RF_AC | RF_ID);
	assert_int_equal(g[GPR_RSP], RIG_STACK + 8);
	v->regs.rflags |= RF_RF;
	assert_int_equal(callout(0x9c), EMUL_DONE);
	assert_int_equal(*rig_u64(RIG_STACK), v->regs.rflags & ~RF_RF);
	/* CPL 3 below IOPL: neither IF nor IOPL. */
	rig_user(false);
	v->regs.rflags = RF_FIXED | RF_IF;
	g[GPR_RSP] = RIG_STACK;
	*rig_u64(RIG_STACK) = RF_IOPL | RF_CF;
	assert_int_equal(user_gp("\x9d", 1), EMUL_DONE);
	assert_int_equal(v->regs.rflags, RF_FIXED | RF_IF | RF_CF);
}

static void hlt_commits_and_halts(void **state)
{
	assert_int_equal(callout(0xf4), EMUL_HALT);
	assert_int_equal(rig->v.regs.rip, RIG_CODE + 1);
	assert_true(rig->v.halted);
}

static void msr_and_cpuid_and_tsc(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;

	g[GPR_RCX] = 0xffffffffc0000082; /* upper half is ignored */
	g[GPR_RAX] = 0xdead81000000;
	g[GPR_RDX] = 0xffffffff;
	assert_int_equal(callout(0x0f, 0x30), EMUL_DONE);
	assert_int_equal(v->lstar, 0xffffffff81000000);
	g[GPR_RAX] = g[GPR_RDX] = ~0ull;
	assert_int_equal(callout(0x0f, 0x32), EMUL_DONE);
	assert_int_equal(g[GPR_RAX], 0x81000000);
	assert_int_equal(g[GPR_RDX], 0xffffffff);
	g[GPR_RAX] = 0x40000000;
	g[GPR_RCX] = 0;
	assert_int_equal(callout(0x0f, 0xa2), EMUL_DONE);
	assert_int_equal(g[GPR_RBX], 0x4b4d564b);
	v->tsc_offset = 1ull << 40;
	assert_int_equal(callout(0x0f, 0x31), EMUL_DONE);
	assert_int_equal(g[GPR_RAX] | g[GPR_RDX] << 32, 1000000 + (1ull << 40));
	rig_user(false);
	v->cr4 |= CR4_TSD;
	assert_int_equal(user_gp("\x0f\x31", 2), EMUL_FAULT);
	expect_fault(VEC_GP, 0);
}

static void swapgs_exchanges_bases(void **state)
{
	struct vcpu *v = &rig->v;

	v->seg[SEG_GS].base = 1;
	v->kernel_gs_base = 2;
	assert_int_equal(callout(0x0f, 0x01, 0xf8), EMUL_DONE);
	assert_int_equal(v->seg[SEG_GS].base, 2);
	assert_int_equal(v->kernel_gs_base, 1);
}

static void invlpg_and_caches(void **state)
{
	rig->v.regs.gpr[GPR_RBX] = 0x123000;
	assert_int_equal(callout(0x0f, 0x01, 0x3b), EMUL_DONE);
	assert_int_equal(rig->invlpgs, 1);
	assert_int_equal(callout(0x0f, 0x09), EMUL_DONE);
	assert_int_equal(callout(0x0f, 0x08), EMUL_DONE);
}

static void hypercalls_are_not_implemented(void **state)
{
	struct vcpu *v = &rig->v;

	assert_int_equal(callout(0x0f, 0x01, 0xc1), EMUL_DONE);
	assert_int_equal((s64)v->regs.gpr[GPR_RAX], -1000);
	assert_int_equal(callout(0x0f, 0x01, 0xd9), EMUL_DONE);
	assert_int_equal((s64)v->regs.gpr[GPR_RAX], -1000);
	rig_user(false);
	rig_code("\x0f\x01\xd9", 3);
	assert_int_equal(vcpu_user_fault(v, VEC_UD, 0), EMUL_DONE);
	assert_int_equal((s64)v->regs.gpr[GPR_RAX], -1);
}

static void traps_of_int3_and_icebp(void **state)
{
	struct vcpu *v = &rig->v;

	assert_int_equal(callout(0xcc), EMUL_FAULT);
	assert_int_equal(v->exc.vector, VEC_BP);
	assert_true(v->exc.soft);
	v->exc.pending = false;
	assert_int_equal(callout(0xf1), EMUL_FAULT);
	assert_int_equal(v->exc.vector, VEC_DB);
	assert_false(v->exc.soft);
	assert_int_equal(v->regs.rip, RIG_CODE + 1);
	v->exc.pending = false;
	rig_user(true);
	v->regs.rflags |= RF_OF;
	assert_int_equal(user_gp("\xce", 1), EMUL_FAULT); /* into */
	assert_int_equal(v->exc.vector, VEC_OF);
}

/* --- port I/O --- */

static void in_and_out(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;
	u32 val = 0xa1b2c3d4;

	g[GPR_RDX] = 0x3f8;
	g[GPR_RAX] = 0x1122334455667788;
	assert_int_equal(callout(0xee), EMUL_USER); /* outb */
	assert_int_equal(rig->run.exit_reason, KVM_EXIT_IO);
	assert_int_equal(rig->run.io.port, 0x3f8);
	assert_int_equal(rig->run.io.size, 1);
	assert_int_equal(rig->run.io.count, 1);
	assert_int_equal(rig->run.io.direction, KVM_EXIT_IO_OUT);
	assert_int_equal(rig->run.io.data_offset, 4096);
	assert_int_equal(rig->pio[0], 0x88);
	assert_int_equal(v->regs.rip, RIG_CODE);
	assert_int_equal(v->complete(v), EMUL_DONE);
	assert_int_equal(v->regs.rip, RIG_CODE + 1);
	assert_int_equal(callout(0xe5, 0x40), EMUL_USER); /* in eax, 0x40 */
	assert_int_equal(rig->run.io.port, 0x40);
	assert_int_equal(rig->run.io.size, 4);
	memcpy(rig->pio, &val, 4);
	assert_int_equal(v->complete(v), EMUL_DONE);
	assert_int_equal(g[GPR_RAX], val);
	assert_int_equal(v->regs.rip, RIG_CODE + 2);
	assert_int_equal(callout(0x66, 0xed), EMUL_USER); /* in ax, dx */
	assert_int_equal(rig->run.io.size, 2);
	rig->pio[0] = 0x11;
	rig->pio[1] = 0x22;
	assert_int_equal(v->complete(v), EMUL_DONE);
	assert_int_equal(g[GPR_RAX], 0xa1b22211);
}

static void registers_loaded_during_an_exit_win(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;

	g[GPR_RDX] = 0xcf9;
	assert_int_equal(callout(0xee), EMUL_USER);
	v->regs.rip = 0xfff0; /* userland resets the machine */
	g[GPR_RAX] = 5;
	assert_int_equal(v->complete(v), EMUL_DONE);
	assert_int_equal(v->regs.rip, 0xfff0);
	assert_int_equal(callout(0xed), EMUL_USER);
	v->regs.rip = 0xfff0;
	assert_int_equal(v->complete(v), EMUL_DONE);
	assert_int_equal(g[GPR_RAX], 5);
	g[GPR_RBX] = RIG_MMIO;
	rig_code("\x48\x8b\x03", 3);
	assert_int_equal(vcpu_emulate_memory(v), EMUL_USER);
	v->regs.rip = 0xfff0;
	assert_int_equal(v->complete(v), EMUL_DONE);
	assert_int_equal(v->regs.rip, 0xfff0);
	assert_int_equal(g[GPR_RAX], 5);
}

static void user_port_access_follows_iopl_and_the_bitmap(void **state)
{
	struct vcpu *v = &rig->v;
	u16 map = 0x68;

	rig_user(false);
	v->regs.gpr[GPR_RDX] = 0x80;
	memcpy(rig_at(RIG_TSS + 0x66), &map, 2);
	memset(rig_at(RIG_TSS + 0x68), 0xff, 0x100);
	v->tr.limit = 0x68 + 0x100;
	assert_int_equal(user_gp("\xee", 1), EMUL_FAULT);
	expect_fault(VEC_GP, 0);
	*(u8 *)rig_at(RIG_TSS + 0x68 + 0x10) = 0xfe;
	assert_int_equal(user_gp("\xee", 1), EMUL_USER);
	assert_int_equal(user_gp("\xef", 1), EMUL_FAULT); /* 4 ports */
	expect_fault(VEC_GP, 0);
	v->regs.rflags |= RF_IOPL;
	assert_int_equal(user_gp("\xef", 1), EMUL_USER);
	v->regs.rflags &= ~RF_IOPL;
	v->regs.gpr[GPR_RDX] = 0xffff; /* beyond the limit */
	assert_int_equal(user_gp("\xee", 1), EMUL_FAULT);
	expect_fault(VEC_GP, 0);
}

static void rep_outs_stops_at_the_page_and_goes_on(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;
	u32 i;

	for (i = 0; i < 40; i++)
		((u8 *)rig_at(0x81000 - 20))[i] = i;
	g[GPR_RDX] = 0x3f8;
	g[GPR_RCX] = 40;
	g[GPR_RSI] = 0x81000 - 20;
	assert_int_equal(callout(0xf3, 0x6e), EMUL_USER);
	assert_int_equal(rig->run.io.count, 20);
	assert_int_equal(rig->pio[19], 19);
	assert_int_equal(v->complete(v), EMUL_DONE);
	assert_int_equal(g[GPR_RCX], 20);
	assert_int_equal(v->regs.rip, RIG_CODE);
	assert_int_equal(callout(0xf3, 0x6e), EMUL_USER);
	assert_int_equal(rig->pio[19], 39);
	assert_int_equal(v->complete(v), EMUL_DONE);
	assert_int_equal(g[GPR_RCX], 0);
	assert_int_equal(g[GPR_RSI], 0x81000 + 20);
	assert_int_equal(v->regs.rip, RIG_CODE + 2);
}

static void rep_ins_writes_memory_when_answered(void **state)
{
	struct vcpu *v = &rig->v;
	u64 *g = v->regs.gpr;

	g[GPR_RDX] = 0x1f0;
	g[GPR_RCX] = 256;
	g[GPR_RDI] = 0x82000;
	assert_int_equal(callout(0xf3, 0x66, 0x6d), EMUL_USER);
	assert_int_equal(rig->run.io.size, 2);
	assert_int_equal(rig->run.io.count, 256);
	memset(rig->pio, 0x5c, 512);
	assert_int_equal(v->complete(v), EMUL_DONE);
	assert_memory_equal(rig_at(0x82000), rig->pio, 512);
	assert_int_equal(g[GPR_RDI], 0x82200);
	/* Backwards, one at a time. */
	v->regs.rflags |= RF_DF;
	g[GPR_RCX] = 2;
	assert_int_equal(callout(0xf3, 0x66, 0x6d), EMUL_USER);
	assert_int_equal(rig->run.io.count, 1);
	assert_int_equal(v->complete(v), EMUL_DONE);
	assert_int_equal(g[GPR_RDI], 0x821fe);
	assert_int_equal(v->regs.rip, RIG_CODE);
	/* Not writable: the fault comes before the device is read. */
	rig_set_pte(0x83000, 5);
	v->regs.rflags &= ~RF_DF;
	g[GPR_RDI] = 0x83000;
	assert_int_equal(callout(0xf3, 0x66, 0x6d), EMUL_FAULT);
	expect_fault(VEC_PF, PF_ERR_PRESENT | PF_ERR_WRITE);
}

static void other_faults_reach_the_guest_unchanged(void **state)
{
	struct vcpu *v = &rig->v;

	rig_user(false);
	rig_code("\x48\x8b\x03", 3); /* a move that raised #GP natively */
	assert_int_equal(vcpu_user_fault(v, VEC_GP, 0), EMUL_FAULT);
	expect_fault(VEC_GP, 0);
	rig_code("\x0f\xff\xff", 3);
	assert_int_equal(vcpu_user_fault(v, VEC_UD, 0), EMUL_FAULT);
	assert_false(v->exc.has_error);
	expect_fault(VEC_UD, 0);
	/* Code that cannot be fetched any more: its page fault. */
	rig_set_pte(RIG_CODE, 0);
	vcpu_forget_walks(v); /* as the guest's INVLPG does */
	assert_int_equal(vcpu_user_fault(v, VEC_GP, 0), EMUL_FAULT);
	expect_fault(VEC_PF, PF_ERR_USER | PF_ERR_FETCH);
}

static void user_instruction_with_tf_traps_after_it(void **state)
{
	struct vcpu *v = &rig->v;

	rig_user(false);
	v->regs.rflags |= RF_TF;
	v->regs.gpr[GPR_RBX] = 0x80000;
	assert_int_equal(user_gp("\x0f\x01\x03", 3), EMUL_DONE);
	assert_int_equal(v->exc.vector, VEC_DB);
	assert_int_equal(v->exc.dr6, DR6_BS);
	assert_int_equal(v->regs.rip, RIG_CODE + 3);
}

static void emulator_without_memory_stops_the_vm(void **state)
{
	env_fail_alloc = 1;
	assert_int_equal(callout(0x0f, 0xa2), EMUL_STOP);
	env_fail_alloc = 0;
	assert_true(rig->v.stopped);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(privileged_instructions_fault_in_user_mode),
		T(instructions_that_are_not_offered_are_undefined),
		T(unknown_callouts_stop_with_their_bytes),
		T(narrow_branches_keep_sixteen_bits_of_rip),
		T(control_register_moves),
		T(debug_register_moves),
		T(descriptor_table_registers),
		T(umip_hides_tables_from_user_code_only_when_set),
		T(segment_moves),
		T(sti_shadows_one_instruction),
		T(popf_and_pushf),
		T(hlt_commits_and_halts),
		T(msr_and_cpuid_and_tsc),
		T(swapgs_exchanges_bases),
		T(invlpg_and_caches),
		T(hypercalls_are_not_implemented),
		T(traps_of_int3_and_icebp),
		T(in_and_out),
		T(registers_loaded_during_an_exit_win),
		T(user_port_access_follows_iopl_and_the_bitmap),
		T(rep_outs_stops_at_the_page_and_goes_on),
		T(rep_ins_writes_memory_when_answered),
		T(other_faults_reach_the_guest_unchanged),
		T(user_instruction_with_tf_traps_after_it),
		T(emulator_without_memory_stops_the_vm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
