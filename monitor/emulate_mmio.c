// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory operands of emulated instructions: RAM, the local APIC's page, and MMIO
 * that userland answers.
 *
 * Invariants:
 *  1. mem_read() of the same operand gives the same bytes until the instruction
 *     commits or faults, however often it is started over.
 *  2. mem_write() is the last thing an instruction does; once it has been called
 *     the instruction commits.
 */
#include "emulate.h"

int mem_resolve(struct vcpu *v, gva_t gva, u32 len, u32 access,
		struct mem_ref *ref)
{
	u32 room = POPF_PAGE_SIZE - (gva & ~POPF_PAGE_MASK);
	u32 i;

	debug_access(v, gva, len, access & PF_ERR_WRITE);
	memset(ref, 0, sizeof(*ref));
	ref->len[0] = min(room, len);
	ref->len[1] = len - ref->len[0];
	if (access_walk(v, gva, access, &ref->gpa[0]))
		return -EFAULT;
	if (ref->len[1] && access_walk(v, gva + ref->len[0], access, &ref->gpa[1]))
		return -EFAULT;
	for (i = 0; i < 2 && ref->len[i]; i++)
		ref->mmio[i] = lapic_owns(v, ref->gpa[i]) ||
			       !gmem_is_ram(v->vm, gpa_to_gfn(ref->gpa[i]));
	return 0;
}

/* --- the local APIC's page --- */

static void apic_page_read(struct vcpu *v, gpa_t gpa, u8 *buf, u32 len)
{
	u32 off = gpa & 0xfff;
	u32 val = lapic_mmio_read(v->lapic, off & ~3u);

	memset(buf, 0, len);
	if ((off & 3) + len <= 4)
		memcpy(buf, (u8 *)&val + (off & 3), len);
}

static void apic_page_write(struct vcpu *v, gpa_t gpa, const u8 *buf, u32 len)
{
	u32 val;

	if (len < 4 || (gpa & 3))
		return;
	memcpy(&val, buf, 4);
	lapic_mmio_write(v->lapic, gpa & 0xfff, val);
}

/* --- MMIO in userland --- */

static u32 piece(const struct mmio_access *a)
{
	return min(a->len - a->done, 8u);
}

static enum emul mmio_exit(struct vcpu *v, const struct mmio_access *a, bool write,
			   enum emul (*complete)(struct vcpu *v))
{
	struct kvm_run *run = v->run;

	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = a->gpa + a->done;
	run->mmio.len = piece(a);
	run->mmio.is_write = write;
	memset(run->mmio.data, 0, sizeof(run->mmio.data));
	if (write)
		memcpy(run->mmio.data, a->data + a->done, piece(a));
	v->complete = complete;
	v->stats.mmio_exits++;
	return EMUL_USER;
}

static enum emul read_answered(struct vcpu *v)
{
	struct emulator *e = v->emul;
	struct mmio_access *a = &e->reads[e->n_reads - 1];
	u32 n = piece(a);

	if (emul_superseded(v))
		return EMUL_DONE;
	memcpy(a->data + a->done, v->run->mmio.data, n);
	a->done += n;
	if (a->done < a->len)
		return mmio_exit(v, a, false, read_answered);
	return mem_emulate(v);
}

static enum emul mmio_read(struct vcpu *v, gpa_t gpa, u8 *buf, u32 len)
{
	struct emulator *e = v->emul;
	struct mmio_access *a;
	u32 i;

	if (lapic_owns(v, gpa)) {
		apic_page_read(v, gpa, buf, len);
		return EMUL_DONE;
	}
	for (i = 0; i < e->n_reads; i++) {
		a = &e->reads[i];
		if (a->gpa == gpa && a->len == len && a->done == len) {
			memcpy(buf, a->data, len);
			return EMUL_DONE;
		}
	}
	if (e->n_reads == ARRAY_SIZE(e->reads) || len > EMUL_OPERAND_MAX)
		return emul_unhandled(v, "MMIO read");
	a = &e->reads[e->n_reads++];
	a->gpa = gpa;
	a->len = len;
	a->done = 0;
	emul_ask(v);
	return mmio_exit(v, a, false, read_answered);
}

static enum emul write_answered(struct vcpu *v)
{
	struct emulator *e = v->emul;
	struct mmio_access *a = &e->writes[e->next_write];

	a->done += piece(a);
	if (a->done == a->len && ++e->next_write == e->n_writes) {
		e->n_writes = 0;
		return event_step(v, e->flags_before);
	}
	return mmio_exit(v, &e->writes[e->next_write], true, write_answered);
}

static enum emul mmio_write(struct vcpu *v, gpa_t gpa, const u8 *buf, u32 len)
{
	struct emulator *e = v->emul;
	struct mmio_access *a;

	if (lapic_owns(v, gpa)) {
		apic_page_write(v, gpa, buf, len);
		return EMUL_DONE;
	}
	if (e->n_writes == ARRAY_SIZE(e->writes) || len > EMUL_OPERAND_MAX)
		return emul_unhandled(v, "MMIO write");
	a = &e->writes[e->n_writes++];
	a->gpa = gpa;
	a->len = len;
	a->done = 0;
	memcpy(a->data, buf, len);
	if (e->n_writes > 1)
		return EMUL_USER; /* behind the one that is going out */
	e->next_write = 0;
	return mmio_exit(v, a, true, write_answered);
}

/* --- operands --- */

enum emul mem_read(struct vcpu *v, const struct mem_ref *ref, void *buf)
{
	u8 *p = buf;
	enum emul ret;
	u32 i;

	for (i = 0; i < 2 && ref->len[i]; i++) {
		if (!ref->mmio[i] && !gmem_read(v->vm, ref->gpa[i], p, ref->len[i]))
			ret = EMUL_DONE;
		else
			ret = mmio_read(v, ref->gpa[i], p, ref->len[i]);
		if (ret != EMUL_DONE)
			return ret;
		p += ref->len[i];
	}
	return EMUL_DONE;
}

enum emul mem_write(struct vcpu *v, const struct mem_ref *ref, const void *buf)
{
	enum emul ret, all = EMUL_DONE;
	const u8 *p = buf;
	u32 i;

	for (i = 0; i < 2 && ref->len[i]; i++) {
		/* A store to a read-only slot is MMIO too. */
		if (!ref->mmio[i] &&
		    !vcpu_write_gpa(v, ref->gpa[i], p, ref->len[i]))
			ret = EMUL_DONE;
		else
			ret = mmio_write(v, ref->gpa[i], p, ref->len[i]);
		if (ret == EMUL_STOP)
			return ret;
		if (ret != EMUL_DONE)
			all = ret;
		p += ref->len[i];
	}
	return all;
}

enum emul mem_cmpxchg(struct vcpu *v, const struct mem_ref *ref, u64 *old,
		      u64 new, u32 len)
{
	u64 seen = 0;
	u32 trace = 0;
	enum emul e;
	int ret;

	if (!ref->mmio[0] && !ref->len[1] && !(ref->gpa[0] & (len - 1))) {
		ret = shadow_cmpxchg(v->shadow, ref->gpa[0], old, new, len, &trace);
		if (!ret)
			access_stored(v, ref->gpa[0], len, trace);
		if (!ret || ret == -EAGAIN)
			return EMUL_DONE;
	}
	e = mem_read(v, ref, &seen);
	if (e != EMUL_DONE)
		return e;
	if (seen != *old) {
		*old = seen;
		return EMUL_DONE;
	}
	return mem_write(v, ref, &new);
}

/* --- getting in --- */

enum emul vcpu_emulate_memory(struct vcpu *v)
{
	if (!emul_get(v))
		return EMUL_STOP;
	v->emul->n_reads = 0;
	v->emul->n_writes = 0;
	return mem_emulate(v);
}
