// SPDX-License-Identifier: GPL-2.0-only
/*
 * Port I/O. Every access goes to userland through KVM_EXIT_IO; string forms in
 * pieces of what one page of data holds and one page of memory has.
 */
#include "emulate.h"

#define PIO_DATA_OFFSET 4096u
/* Where the 64-bit TSS has its I/O map's offset. */
#define TSS_IO_MAP 0x66u

/* CPL > IOPL: the TSS's I/O map decides. 0; -EFAULT with #GP or a fault queued. */
static int io_allowed(struct vcpu *v, u16 port, u32 size)
{
	u32 bits = ((1u << size) - 1) << (port & 7);
	u16 map = 0;
	u8 byte[2];
	int ret;

	if (vcpu_cpl(v) <= (v->regs.rflags & RF_IOPL) >> 12)
		return 0;
	if (!v->tr.present || v->tr.limit < TSS_IO_MAP + 1)
		goto refuse;
	ret = vcpu_read(v, v->tr.base + TSS_IO_MAP, &map, 2, 0);
	if (ret)
		return ret;
	/* Two bytes are always read. */
	if (map + port / 8u + 1 > v->tr.limit)
		goto refuse;
	ret = vcpu_read(v, v->tr.base + map + port / 8u, byte, 2, 0);
	if (ret)
		return ret;
	if ((byte[0] | byte[1] << 8) & bits)
		goto refuse;
	return 0;
refuse:
	emul_gp(v, 0);
	return -EFAULT;
}

static enum emul io_exit(struct vcpu *v, bool in, u16 port, u32 size, u32 count,
			 enum emul (*complete)(struct vcpu *v))
{
	struct kvm_run *run = v->run;

	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = port;
	run->io.count = count;
	run->io.data_offset = PIO_DATA_OFFSET;
	v->io.in = in;
	v->io.size = size;
	v->io.count = count;
	v->complete = complete;
	emul_ask(v);
	v->stats.io_exits++;
	return EMUL_USER;
}

static enum emul simple_done(struct vcpu *v)
{
	u64 val = 0;

	if (emul_superseded(v))
		return EMUL_DONE;
	if (v->io.in) {
		memcpy(&val, v->pio_data, v->io.size);
		reg_write(&v->regs.gpr[GPR_RAX], val, v->io.size);
	}
	v->regs.rip = v->io.rip_after;
	v->regs.rflags &= ~RF_RF;
	return event_step(v, v->emul->flags_before);
}

enum emul io_simple(struct vcpu *v, bool in, u16 port, u32 size, u64 rip_after)
{
	int ret = io_allowed(v, port, size);

	if (ret)
		return ret == -ENXIO ? vcpu_stop(v, "TSS is not in memory") :
				       EMUL_FAULT;
	v->io.rip_after = rip_after;
	debug_io(v, port, size);
	if (!in)
		memcpy(v->pio_data, &v->regs.gpr[GPR_RAX], size);
	return io_exit(v, in, port, size, 1, simple_done);
}

/* --- INS and OUTS --- */

static bool repeats(const struct emulator *e)
{
	return e->d->insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
				     ZYDIS_ATTRIB_HAS_REPNE);
}

static void add_masked(u64 *reg, s64 n, u64 mask)
{
	if (mask == 0xffff)
		reg_write(reg, *reg + n, 2);
	else
		*reg = (*reg + n) & mask;
}

/* Registers after v->io.count elements. */
static enum emul string_commit(struct vcpu *v)
{
	struct emulator *e = v->emul;
	u64 mask = size_mask(e->d->insn.address_width / 8);
	s64 step = v->regs.rflags & RF_DF ? -(s64)v->io.size : (s64)v->io.size;
	u64 *g = v->regs.gpr;

	add_masked(&g[v->io.in ? GPR_RDI : GPR_RSI], step * v->io.count, mask);
	if (repeats(e)) {
		add_masked(&g[GPR_RCX], -(s64)v->io.count, mask);
		if (g[GPR_RCX] & mask) /* comes back here */
			return event_step(v, e->flags_before);
	}
	v->regs.rip = v->io.rip_after;
	v->regs.rflags &= ~RF_RF;
	return event_step(v, e->flags_before);
}

static enum emul outs_done(struct vcpu *v)
{
	return emul_superseded(v) ? EMUL_DONE : string_commit(v);
}

static enum emul ins_done(struct vcpu *v)
{
	int ret;

	if (emul_superseded(v))
		return EMUL_DONE;
	ret = vcpu_write(v, v->io.gpa, v->pio_data, v->io.size * v->io.count,
			 access_cpl(v));
	if (ret == -ENXIO)
		return vcpu_stop(v, "INS to MMIO is not supported");
	return ret ? EMUL_FAULT : string_commit(v);
}

static const ZydisDecodedOperand *memory_of(const struct emulator *e)
{
	u32 i;

	for (i = 0; i < e->d->insn.operand_count; i++) {
		if (e->d->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return &e->d->op[i];
	}
	return NULL;
}

static enum emul io_string(struct vcpu *v, bool in, u32 size)
{
	struct emulator *e = v->emul;
	const ZydisDecodedOperand *mem = memory_of(e);
	u64 mask = size_mask(e->d->insn.address_width / 8);
	u64 left = v->regs.gpr[GPR_RCX] & mask;
	u16 port = v->regs.gpr[GPR_RDX];
	u32 n = 1;
	gva_t gva;
	int ret;

	ret = io_allowed(v, port, size);
	if (ret)
		return EMUL_FAULT;
	v->io.rip_after = emul_next_rip(v);
	if (repeats(e) && !left) {
		emul_advance(v);
		return event_step(v, e->flags_before);
	}
	gva = emul_address(v, mem);
	debug_io(v, port, size);
	if (repeats(e) && !(v->regs.rflags & (RF_DF | RF_TF)) &&
	    !debug_armed(v)) {
		n = (POPF_PAGE_SIZE - (gva & ~POPF_PAGE_MASK)) / size;
		n = min(max(n, 1u), (u32)min(left, (u64)4096));
	}
	/* v->io.gpa holds the linear address until INS is answered. */
	v->io.gpa = gva;
	if (in)
		ret = access_probe(v, gva, n * size, access_cpl(v));
	else
		ret = vcpu_read(v, gva, v->pio_data, n * size, access_cpl(v));
	if (ret == -ENXIO)
		return vcpu_stop(v, "string I/O with MMIO is not supported");
	if (ret)
		return EMUL_FAULT;
	return io_exit(v, in, port, size, n, in ? ins_done : outs_done);
}

enum emul io_emulate(struct vcpu *v)
{
	struct emulator *e = v->emul;
	const ZydisDecodedOperand *port;
	bool in;

	switch (e->d->insn.mnemonic) {
	case ZYDIS_MNEMONIC_IN:
	case ZYDIS_MNEMONIC_OUT:
		in = e->d->insn.mnemonic == ZYDIS_MNEMONIC_IN;
		port = &e->d->op[in ? 1 : 0];
		return io_simple(v, in,
				 port->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ?
					 (u8)port->imm.value.u :
					 (u16)v->regs.gpr[GPR_RDX],
				 e->d->op[in ? 0 : 1].size / 8, emul_next_rip(v));
	case ZYDIS_MNEMONIC_INSB:
	case ZYDIS_MNEMONIC_OUTSB:
		return io_string(v, e->d->insn.mnemonic == ZYDIS_MNEMONIC_INSB, 1);
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_OUTSW:
		return io_string(v, e->d->insn.mnemonic == ZYDIS_MNEMONIC_INSW, 2);
	case ZYDIS_MNEMONIC_INSD:
	case ZYDIS_MNEMONIC_OUTSD:
		return io_string(v, e->d->insn.mnemonic == ZYDIS_MNEMONIC_INSD, 4);
	default:
		return emul_unhandled(v, "I/O");
	}
}
