/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private to the emulate*.c files: the decoded instruction and its operands.
 *
 * An instruction that reads MMIO is started over when userland has answered: what
 * it read so far is in reads[], so the second time it gets further. Nothing the
 * guest can see may change before the last read. Writes to MMIO are handed out
 * after the instruction has committed.
 */
#ifndef POPF_MONITOR_EMULATE_H
#define POPF_MONITOR_EMULATE_H

#include <Zydis/Zydis.h>

#include "monitor.h"

#define EMUL_OPERAND_MAX 64u /* bytes of one memory operand */

/* One access to MMIO: handed to userland in pieces of up to 8 bytes. */
struct mmio_access {
	gpa_t gpa;
	u32 len;
	u32 done;
	u8 data[EMUL_OPERAND_MAX];
};

/* A memory operand after translation: one or two pages. */
struct mem_ref {
	gpa_t gpa[2];
	u32 len[2]; /* len[1] is 0 inside one page */
	bool mmio[2];
};

struct decoded {
	u8 bytes[16]; /* zeros behind the instruction */
	u8 mode; /* decoder's, see emulate.c */
	bool valid;
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};

/* The same few instructions store to page tables: they are decoded once. */
#define EMUL_CACHE_SIZE 32u

struct emulator {
	struct decoded *d; /* current instruction, in cache[] */
	struct decoded cache[EMUL_CACHE_SIZE];
	bool amd_branches; /* as bt_config's */
	u64 flags_before; /* RFLAGS when the instruction started */
	u64 rip; /* of the instruction that userland is asked for */
	struct mmio_access reads[2];
	u32 n_reads;
	struct mmio_access writes[2];
	u32 n_writes, next_write;
	struct mem_ref bounce_ref;
	u8 page[POPF_PAGE_SIZE]; /* string operations */
};

/* --- emulate.c --- */

/* The vCPU's emulator, allocated when need be; NULL has stopped the VM. */
struct emulator *emul_get(struct vcpu *v);
/* Up to 15 bytes at CS:RIP: as access_fetch(). */
int emul_fetch(struct vcpu *v, u8 *bytes);
/* Decode n bytes at regs.rip into v->emul: false when they are no instruction. */
bool emul_decode(struct vcpu *v, const u8 *bytes, u32 n);
/* regs.rip behind the decoded instruction. */
u64 emul_next_rip(const struct vcpu *v);
void emul_advance(struct vcpu *v);
/* General-purpose registers by Zydis's names, zero-extended. */
u64 emul_reg_get(const struct vcpu *v, ZydisRegister r);
void emul_reg_set(struct vcpu *v, ZydisRegister r, u64 val);
/* Linear address of a memory operand; *stack: relative to SS. */
gva_t emul_address(const struct vcpu *v, const ZydisDecodedOperand *op);
u32 emul_access(const struct vcpu *v, const ZydisDecodedOperand *op);
/* A stack slot at RSP + delta, by the stack's width. */
gva_t emul_stack_gva(const struct vcpu *v, s64 delta);
void emul_stack_add(struct vcpu *v, s64 delta);
/*
 * Userland has been asked on behalf of the instruction at RIP; it may have loaded
 * other registers instead of answering (a reset), then there is nothing to finish.
 */
static inline void emul_ask(struct vcpu *v)
{
	v->emul->rip = v->regs.rip;
}

static inline bool emul_superseded(const struct vcpu *v)
{
	return v->emul->rip != v->regs.rip;
}

/* Stop because of an instruction that is known and not handled. */
enum emul emul_unhandled(struct vcpu *v, const char *where);

static inline enum emul emul_done(struct vcpu *v)
{
	emul_advance(v);
	return EMUL_DONE;
}

/* What a failed vcpu_read/write() means: its fault is queued, or no memory. */
static inline enum emul emul_access_failed(struct vcpu *v, int ret)
{
	return ret == -ENXIO ? emul_unhandled(v, "no memory") : EMUL_FAULT;
}

static inline bool cpl0(const struct vcpu *v)
{
	return vcpu_cpl(v) == 0;
}

/* --- emulate_mmio.c --- */

/* Translate for an access of len <= EMUL_OPERAND_MAX. 0 or -EFAULT (queued). */
int mem_resolve(struct vcpu *v, gva_t gva, u32 len, u32 access,
		struct mem_ref *ref);
/* EMUL_DONE; EMUL_USER: return it, the instruction starts over later. */
enum emul mem_read(struct vcpu *v, const struct mem_ref *ref, void *buf);
/* EMUL_DONE, or EMUL_USER: commit the instruction, then return it. */
enum emul mem_write(struct vcpu *v, const struct mem_ref *ref, const void *buf);
/*
 * Atomic compare-and-exchange on the operand: EMUL_DONE, EMUL_USER as above;
 * *old differing from what it was means no store has happened.
 */
enum emul mem_cmpxchg(struct vcpu *v, const struct mem_ref *ref, u64 *old,
		      u64 new, u32 len);

/* --- emulate_mem.c --- */

/* The instruction at regs.rip, from the start. */
enum emul mem_emulate(struct vcpu *v);

/* --- emulate_alu.c --- */

enum alu_op {
	ALU_ADD,
	ALU_ADC,
	ALU_SBB,
	ALU_SUB,
	ALU_AND,
	ALU_OR,
	ALU_XOR,
	ALU_CMP,
	ALU_TEST,
	ALU_INC,
	ALU_DEC,
	ALU_NEG,
	ALU_NOT,
};

/* The result; *rflags has its arithmetic flags updated as the processor does. */
u64 alu_compute(enum alu_op op, u32 size, u64 dst, u64 src, u64 *rflags);

/* --- emulate_string.c --- */

/* MOVS, STOS, LODS, CMPS, SCAS with or without REP: a bounded piece of it. */
enum emul string_emulate(struct vcpu *v);

/* --- emulate_stack.c --- */

/* PUSH, POP, CALL, RET, JMP, LEAVE, ENTER... -1: not one of them. */
int stack_emulate(struct vcpu *v);

/* --- emulate_priv.c --- */

/* The decoded instruction if it is privileged or sensitive; -1: it is not. */
int priv_emulate(struct vcpu *v);

/* --- emulate_desc.c --- */

/* A 16-bit register or memory operand: as vcpu_read(). */
int emul_read16(struct vcpu *v, const ZydisDecodedOperand *op, u16 *val);
/* Into a register (whole) or 16 bits of memory, and on to the next instruction. */
enum emul emul_store16(struct vcpu *v, const ZydisDecodedOperand *op, u64 val);
/* Table registers, selectors, far pointers. -1: not one of them. */
int desc_emulate(struct vcpu *v);
int desc_mov(struct vcpu *v);
int desc_far(struct vcpu *v);

/* --- emulate_io.c --- */

/* IN, OUT, INS, OUTS. */
enum emul io_emulate(struct vcpu *v);
/* The short forms, decoded by the caller. */
enum emul io_simple(struct vcpu *v, bool in, u16 port, u32 size, u64 rip_after);

#endif
