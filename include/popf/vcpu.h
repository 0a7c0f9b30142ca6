/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtual CPU as the monitor's parts and kmod/ share it.
 *
 * struct vcpu holds the *architectural* state of the guest CPU. It is canonical
 * (regs.rip is a gpc, all registers in regs, IF in regs.rflags) whenever
 * v->tpc == 0; while v->tpc != 0 the registers are those of translated code and
 * vcpu_sync() must be called before anything but the run loop looks at them.
 *
 * All functions here run in process context with the vCPU's mutex held, except
 * those marked "any context".
 */
#ifndef POPF_VCPU_H
#define POPF_VCPU_H

#include "bt.h"
#include "env.h"
#include "gmem.h"
#include "kvm_abi.h"
#include "shadow.h"
#include "types.h"
#include "vcpu_page.h"

/* Vectors. */
#define VEC_DE 0
#define VEC_DB 1
#define VEC_NMI 2
#define VEC_BP 3
#define VEC_OF 4
#define VEC_BR 5
#define VEC_UD 6
#define VEC_NM 7
#define VEC_DF 8
#define VEC_TS 10
#define VEC_NP 11
#define VEC_SS 12
#define VEC_GP 13
#define VEC_PF 14
#define VEC_MF 16
#define VEC_AC 17
#define VEC_MC 18
#define VEC_XM 19

/* RFLAGS bits by their manual names. */
#define RF_CF 0x1ull
#define RF_FIXED 0x2ull
#define RF_PF 0x4ull
#define RF_AF 0x10ull
#define RF_ZF 0x40ull
#define RF_SF 0x80ull
#define RF_TF 0x100ull
#define RF_IF 0x200ull
#define RF_DF 0x400ull
#define RF_OF 0x800ull
#define RF_IOPL 0x3000ull
#define RF_NT 0x4000ull
#define RF_RF 0x10000ull
#define RF_VM 0x20000ull
#define RF_AC 0x40000ull
#define RF_VIF 0x80000ull
#define RF_VIP 0x100000ull
#define RF_ID 0x200000ull

struct emulator;
struct lapic;
struct world;
struct vcpu_cpuid {
	u32 nent;
	struct kvm_cpuid_entry2 entries[100];
};

struct vcpu_regs {
	u64 gpr[GPR_COUNT]; /* by enum popf_gpr */
	u64 rip;
	u64 rflags;
};

/* An exception waiting for delivery; at most one (see vcpu_queue_exception()). */
struct vcpu_exception {
	bool pending;
	u8 vector;
	bool has_error;
	u32 error;
	u64 cr2; /* loaded into CR2 when a #PF is delivered */
	u64 dr6; /* ORed into DR6 when a #DB is delivered */
	bool soft; /* INT3, INTO, INT n: next_rip is pushed, gate DPL checked */
	u8 soft_len; /* length of the instruction that raised it */
};

/* How one emulated instruction ended. */
enum emul {
	EMUL_DONE, /* committed; regs.rip is where to go on */
	EMUL_FAULT, /* an exception is queued; state is before the instruction */
	EMUL_USER, /* run->exit_reason is set; v->complete finishes it */
	EMUL_HALT, /* HLT committed: block until an event */
	EMUL_BOUNCE, /* v->bounce is planned: run loop executes it natively */
	EMUL_STOP, /* VM stops: vcpu_stop() has been called */
};

/* Operand copy of an instruction that runs by bounce. */
struct vcpu_bounce {
	struct bt_bounce plan;
	u8 insn[16];
	gpa_t gpa[2]; /* first and second page of the operand */
	u32 len[2]; /* bytes in each; len[1] 0 when in one page */
	bool mmio; /* operand is not memory */
	u8 data[64]; /* operand value in and out */
};

/*
 * A guest-virtual page that the monitor has walked to: what a TLB would hold. Lives
 * until the guest flushes its TLB.
 */
struct vcpu_walk {
	u64 tag; /* page | PF_ERR_* of the access | VCPU_WALK_VALID */
	gpa_t page;
};

#define VCPU_WALK_VALID 0x800u
#define VCPU_WALKS 64u

/* How often stores have hit translated code on a frame: access_stored(). */
struct vcpu_code_store {
	gfn_t gfn;
	u32 count;
};

#define VCPU_CODE_STORES 64u

struct vcpu_stats {
	u64 exits; /* world switches back to the host */
	u64 irq_exits, nmi_exits, callouts, direct_exits, indirect_exits;
	u64 pf_taken, pf_fixed, pf_guest, pf_trace, pf_mmio;
	u64 io_exits, mmio_exits, halt_exits, signal_exits, user_exits;
	u64 irq_injections;
	u64 irq_crossings; /* of those, past the run loop: fast_irq.c */
	u64 nmi_injections, exceptions;
	u64 syscalls, sysrets, irets, cr3_writes, invlpgs, msrs, cpuids, hypercalls;
	u64 emulations, bounces, user_entries, kernel_entries;
};

struct vcpu {
	struct popf_vm *vm;
	u32 id;
	struct kvm_run *run; /* shared with userland: read fields once */
	u8 *pio_data; /* page after it */

	/* Up here, with what else every trip to the guest needs, in one page. */
	struct lapic *lapic; /* NULL: local APIC in userland */
	struct bt *bt;
	struct shadow *shadow; /* the VM's */
	struct vcpu_page *page; /* host mapping of the vCPU page */
	u8 *bounce_data; /* host mapping of WINDOW_BOUNCE_DATA */
	struct world *world; /* world switch state, monitor/world.c */
	void *fpu; /* struct fpu_guest * in the module */
	struct recording *recording; /* NULL: nobody records, see record.h */
	struct vcpu_stats stats;

	/* Registers: canonical when tpc == 0. */
	struct vcpu_regs regs;
	tpc_t tpc;
	struct kvm_segment seg[SEG_COUNT]; /* by enum popf_seg */
	struct kvm_segment tr, ldt;
	struct kvm_dtable gdt, idt;
	u64 cr0, cr2, cr3, cr4, cr8;
	u64 efer;
	u64 dr[4], dr6, dr7;
	bool stepping; /* direct execution runs with TF, the guest's or ours */
	u32 debug_hits; /* breakpoints that the instruction under way has hit */
	u64 xcr0;

	/* MSRs with a field of their own. */
	u64 star, lstar, cstar, sfmask;
	u64 kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 tsc_offset, tsc_adjust, tsc_aux;
	u64 pat, apic_base, misc_enable;
	u64 mtrr[32], mtrr_def; /* stored only */
	u64 mcg_status, mcg_ctl, mc[32 * 4];
	u64 spec_ctrl;
	u64 msr_kvm_wall_clock, msr_kvm_system_time; /* as written */

	/* Events. */
	struct vcpu_exception exc;
	bool nmi_pending; /* written from any context */
	bool nmi_masked; /* inside an NMI handler until IRET */
	int user_irq; /* vector from KVM_INTERRUPT, or -1 */
	bool irq_shadow; /* the instruction after STI/MOV SS */
	bool halted;
	u32 mp_state; /* KVM_MP_STATE_* */
	bool triple_fault;
	bool request_exit; /* any context: leave vcpu_run() soon */
	/* How other threads get the vCPU's attention: kmod/block.c. */
	struct {
		int cpu; /* where it runs, while in_guest */
		int in_guest;
		int kicked;
	} kick;

	/* Unfinished userland exits. */
	enum emul (*complete)(struct vcpu *v);
	struct {
		u32 size, count, reg;
		bool in;
		gpa_t gpa;
		u64 rip_after;
	} io;
	struct vcpu_bounce bounce;
	struct emulator *emul; /* emulate.c: decoded instruction, MMIO in flight */

	/* kvmclock: what the guest's page was last computed from. */
	struct {
		bool due;
		u32 version;
		u64 tsc_offset;
		u64 vm_offset;
	} clock;

	/* Reason the VM was stopped; first one wins. */
	bool stopped;
	char stop_reason[96];

	struct vcpu_walk walk[VCPU_WALKS];
	struct vcpu_code_store code_store[VCPU_CODE_STORES];

	struct vcpu_cpuid cpuid;
};

static_assert(offsetof(struct vcpu, walk) <= POPF_PAGE_SIZE,
	      "what every trip needs is in the first page");

/* Long mode at CPL 0: what the translator runs; CPL 3: direct execution. */
static inline u8 vcpu_cpl(const struct vcpu *v)
{
	return v->seg[SEG_SS].dpl;
}

static inline bool vcpu_long_mode(const struct vcpu *v)
{
	return v->efer & 0x400;
}

static inline void vcpu_shadow_mode(const struct vcpu *v, struct shadow_mode *m)
{
	m->cr0 = v->cr0;
	m->cr3 = v->cr3;
	m->cr4 = v->cr4;
	m->efer = v->efer;
	m->maxphyaddr = 40;
}

/* --- event.c: exceptions, interrupts, and getting into and out of them --- */

/*
 * Queue an exception found by the monitor. Two in a row follow the manual's
 * double-fault table; a third makes v->triple_fault.
 */
void vcpu_queue_exception(struct vcpu *v, u8 vector, bool has_error, u32 error);
void vcpu_queue_pf(struct vcpu *v, gva_t gva, u32 error);
/*
 * Deliver v->exc, or interrupt/NMI vector, through the guest's IDT: reads gate
 * and TSS, switches stacks, pushes the frame, loads CS:RIP. Faults on the way are
 * queued and delivered in turn. EMUL_DONE, EMUL_STOP (triple fault sets
 * v->triple_fault and returns EMUL_DONE).
 */
enum emul vcpu_deliver_exception(struct vcpu *v);
enum emul vcpu_deliver_interrupt(struct vcpu *v, u8 vector, bool nmi);
/* Can a maskable interrupt (an NMI) be taken at this boundary? */
static inline bool vcpu_irq_allowed(const struct vcpu *v)
{
	return (v->regs.rflags & RF_IF) && !v->irq_shadow;
}

static inline bool vcpu_nmi_allowed(const struct vcpu *v)
{
	return !v->nmi_masked && !v->irq_shadow;
}

/* Stop this VM: fills run with KVM_EXIT_INTERNAL_ERROR and logs registers. */
enum emul vcpu_stop(struct vcpu *v, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), cold));

/* The instruction is done: traps for TF set when it started, and breakpoints hit. */
enum emul event_step(struct vcpu *v, u64 rflags_before);

/* --- debug.c --- */

/* Is any breakpoint enabled? */
static inline bool debug_armed(const struct vcpu *v)
{
	return v->dr7 & 0xff;
}

/* Instruction breakpoints at gva, of those enabled: bits as in DR6. */
u32 debug_insn_find(const struct vcpu *v, gva_t gva);
static inline u32 debug_insn_hits(const struct vcpu *v, gva_t gva)
{
	return unlikely(debug_armed(v)) ? debug_insn_find(v, gva) : 0;
}

void debug_note_access(struct vcpu *v, gva_t gva, u32 len, bool write);
/* The monitor accesses memory on behalf of an instruction. */
static inline void debug_access(struct vcpu *v, gva_t gva, u32 len, bool write)
{
	if (unlikely(debug_armed(v)))
		debug_note_access(v, gva, len, write);
}

/* An access to ports [port, port + size). */
void debug_io(struct vcpu *v, u16 port, u32 size);
/* DR0-3 or DR7 have changed: tell the translator. */
void debug_changed(struct vcpu *v);
/*
 * DR7 for the hardware while guest user code, or else translated code, runs: 0 if
 * there is nothing for it to find. own: is there something of popf's at gva?
 */
u64 debug_hardware(const struct vcpu *v, bool user,
		   bool (*own)(const struct vcpu *v, gva_t gva));

/* --- syscall.c --- */

/* SYSCALL at regs.rip from CPL 3 or 0; regs.rip is the instruction's address. */
enum emul vcpu_syscall(struct vcpu *v);
enum emul vcpu_sysenter(struct vcpu *v);
enum emul vcpu_sysret(struct vcpu *v, bool op64);
enum emul vcpu_sysexit(struct vcpu *v, bool op64);

/* --- segments.c --- */

/* MOV/POP to a segment register, checks included. */
enum emul vcpu_load_segment(struct vcpu *v, enum popf_seg seg, u16 sel);
enum emul vcpu_iret(struct vcpu *v, u8 opsize);
/* Read a descriptor from GDT/LDT: 0, or a fault is queued with sel as error. */
int vcpu_read_descriptor(struct vcpu *v, u16 sel, u64 desc[2], bool system);

/* --- access.c: the monitor touching guest-virtual memory --- */

/*
 * access: 0, PF_ERR_WRITE, PF_ERR_USER, PF_ERR_FETCH combined. Crossing pages is
 * fine; writes are checked for all pages first. 0; -EFAULT: exception queued;
 * -ENXIO: no memory there (MMIO).
 */
int vcpu_read(struct vcpu *v, gva_t gva, void *buf, u32 len, u32 access);
int vcpu_write(struct vcpu *v, gva_t gva, const void *buf, u32 len, u32 access);
/* The guest flushes its TLB: forget what was walked. */
void vcpu_forget_walks(struct vcpu *v);
/* A guest-visible physical store: shadow_write() plus translation invalidation. */
int vcpu_write_gpa(struct vcpu *v, gpa_t gpa, const void *buf, u32 len);

/* --- emulate.c --- */

/* Allocate (also done on first use) and free v->emul: 0 or -ENOMEM. */
int vcpu_emul_init(struct vcpu *v);
void vcpu_emul_fini(struct vcpu *v);

/* A callout: the instruction bytes are at regs.rip; privileged semantics in C. */
enum emul vcpu_emulate_callout(struct vcpu *v, const u8 *insn, u8 len);
/*
 * The instruction at regs.rip touched what cannot be touched natively (MMIO or a
 * traced page) with data: emulate it once. May return EMUL_BOUNCE: the run loop
 * then runs the bounce code and calls vcpu_bounce_done().
 */
enum emul vcpu_emulate_memory(struct vcpu *v);
enum emul vcpu_bounce_done(struct vcpu *v);
/*
 * #GP, #UD or another fault taken in direct execution: emulate what the guest's
 * user code may do (RDTSC under TSD games, CPUID with faulting, UMIP...) or queue
 * the fault. vector/error are the hardware's.
 */
enum emul vcpu_user_fault(struct vcpu *v, u8 vector, u32 error);

/*
 * The user instruction at regs.rip, if it shows or changes IF and IOPL: PUSHF, POPF,
 * IRET. -1: it is another one, or cannot be fetched.
 */
int vcpu_user_flags(struct vcpu *v);
/*
 * Before a single step in user mode (v->stepping): note the breakpoints that the
 * instruction at regs.rip will hit.
 */
void vcpu_note_operands(struct vcpu *v);
/* Where the instruction at gpc ends; false when it is a branch or cannot be read. */
bool vcpu_insn_end(struct vcpu *v, gva_t gpc, gva_t *end);

/* --- control.c, msr.c, cpuid.c --- */

/* 0; 1: #GP must be raised (caller queues). */
int vcpu_set_cr0(struct vcpu *v, u64 val);
int vcpu_set_cr3(struct vcpu *v, u64 val);
int vcpu_set_cr4(struct vcpu *v, u64 val);
int vcpu_set_cr8(struct vcpu *v, u64 val);
int vcpu_set_efer(struct vcpu *v, u64 val);
int vcpu_set_dr(struct vcpu *v, unsigned int n, u64 val);
/* host: from KVM_SET/GET_MSRS (wider permission), else from the guest. */
int vcpu_set_msr(struct vcpu *v, u32 msr, u64 val, bool host);
int vcpu_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host);
/* For KVM_GET_MSR_INDEX_LIST. */
const u32 *vcpu_msr_list(u32 *count);
void vcpu_get_cpuid(struct vcpu *v, u32 leaf, u32 sub, u32 out[4]);
/* What popf can offer on this host: fills up to max entries; returns count or -E2BIG. */
int vcpu_supported_cpuid(struct kvm_cpuid_entry2 *entries, u32 max);
/* After KVM_SET_CPUID2: 0 or -EINVAL. */
int vcpu_set_cpuid(struct vcpu *v, const struct kvm_cpuid_entry2 *entries, u32 n);
/* The host's processor is AMD's or Hygon's: some instructions are not as Intel's. */
bool host_is_amd(void);

/* --- state.c: KVM_GET/SET_* in architectural terms, power-on state --- */

void vcpu_reset(struct vcpu *v);
void vcpu_get_kvm_regs(struct vcpu *v, struct kvm_regs *r);
void vcpu_set_kvm_regs(struct vcpu *v, const struct kvm_regs *r);
void vcpu_get_kvm_sregs(struct vcpu *v, struct kvm_sregs *s);
/* 0 or -EINVAL; checks everything, then commits. */
int vcpu_set_kvm_sregs(struct vcpu *v, const struct kvm_sregs *s);
void vcpu_get_kvm_events(struct vcpu *v, struct kvm_vcpu_events *e);
int vcpu_set_kvm_events(struct vcpu *v, const struct kvm_vcpu_events *e);
void vcpu_get_kvm_debugregs(struct vcpu *v, struct kvm_debugregs *d);
int vcpu_set_kvm_debugregs(struct vcpu *v, const struct kvm_debugregs *d);

/* --- lapic.c: local APIC (xAPIC and x2APIC) and its timer --- */

struct lapic *lapic_create(struct vcpu *v);
void lapic_destroy(struct lapic *a);
void lapic_reset(struct lapic *a);
/* MMIO at apic_base; len 4 (others: undefined results, no harm). */
u32 lapic_mmio_read(struct lapic *a, u32 off);
void lapic_mmio_write(struct lapic *a, u32 off, u32 val);
/* x2APIC MSRs 0x800-0x8ff: 0 or 1 for #GP. */
int lapic_msr_read(struct lapic *a, u32 msr, u64 *val);
int lapic_msr_write(struct lapic *a, u32 msr, u64 val);
int lapic_set_base(struct lapic *a, u64 val, bool host);
u64 lapic_get_tsc_deadline(struct lapic *a);
void lapic_set_tsc_deadline(struct lapic *a, u64 tsc);
void lapic_set_tpr(struct lapic *a, u8 cr8);
u8 lapic_get_tpr(struct lapic *a);
/* Highest deliverable vector above the priority, or -1 (any context). */
int lapic_pending(struct lapic *a);
/*
 * The same if nothing else in the APIC waits for anybody: no other interrupt, and no
 * EOI that userland is to see.
 */
int lapic_pending_alone(struct lapic *a);
/* Take it: IRR to ISR. */
void lapic_accept(struct lapic *a, u8 vector);
/* An MSI or IPI arrives (any context, takes the lapic's own lock). True if taken. */
bool lapic_deliver(struct lapic *a, u8 vector, u32 delivery_mode, bool level);
bool lapic_accepts_extint(struct lapic *a);
/* Route an MSI within the VM (any context); returns number of targets. */
int vm_deliver_msi(struct popf_vm *vm, u64 addr, u32 data);
void lapic_get_state(struct lapic *a, struct kvm_lapic_state *s);
int lapic_set_state(struct lapic *a, const struct kvm_lapic_state *s);
/* Vectors whose EOI userland wants (split irqchip IOAPIC, level): 256 bits. */
void lapic_set_eoi_exits(struct lapic *a, const u64 bitmap[4]);
/*
 * Around a trip to the guest world: let translated code end an interrupt and
 * set the timer by itself, and take over what it has done.
 */
void lapic_lend(struct lapic *a, struct vcpu_page *p);
void lapic_take_back(struct lapic *a, struct vcpu_page *p);
/* Take an EOI that userland must see: vector or -1. */
int lapic_take_eoi_exit(struct lapic *a);

/* --- clock.c: kvmclock --- */

int clock_msr_write(struct vcpu *v, u32 msr, u64 val);
/* Is the guest's pvclock page to be written? */
bool clock_due(const struct vcpu *v);
/* Refresh the guest's pvclock page if due; called before entry. */
void clock_update(struct vcpu *v);

/* --- provided by kmod/ (in programs: by the test) --- */

/* Guest TSC now (host TSC + offset). */
u64 vcpu_guest_tsc(struct vcpu *v);
/* Wake a halted vCPU, or kick it out of the guest world (any context). */
void vcpu_kick(struct vcpu *v);
/*
 * Sleep until ready(v), request_exit or a signal: 0 or -EINTR. vcpu_kick() makes it
 * look again.
 */
int vcpu_block(struct vcpu *v, bool (*ready)(struct vcpu *v));
/*
 * On return each vCPU has been outside the guest world since the call: what it
 * does next sees the sptes as they are now, so change them first. Interrupts on;
 * fine inside an mmu notifier.
 */
void vm_kick_vcpus(struct popf_vm *vm);
/* FPU: once per vCPU; around vcpu_run(). */
int vcpu_fpu_init(struct vcpu *v);
void vcpu_fpu_fini(struct vcpu *v);
void vcpu_fpu_enter(struct vcpu *v);
void vcpu_fpu_leave(struct vcpu *v);
/* The VM's vCPUs, for MSI routing; NULL past the end. */
struct vcpu *vm_vcpu(struct popf_vm *vm, u32 index);
u32 vm_tsc_khz(struct popf_vm *vm);
/* Host CPUID instruction. */
void host_cpuid(u32 leaf, u32 sub, u32 out[4]);
/* Boot-based nanoseconds the guest's kvmclock shows, and the matching TSC. */
u64 vm_kvmclock_ns(struct popf_vm *vm, u64 *host_tsc);
u64 vm_wall_ns(struct popf_vm *vm);

/* A one-shot timer that fires in any context. */
struct popf_timer;
struct popf_timer *popf_timer_create(void (*fn)(void *arg), void *arg);
void popf_timer_destroy(struct popf_timer *t);
/* Fire when the *host* TSC reaches tsc (now, if it has passed). */
void popf_timer_arm_tsc(struct popf_timer *t, u64 host_tsc);
/* Fire delta nanoseconds from now. */
void popf_timer_arm_ns(struct popf_timer *t, u64 delta_ns);
/* Does not wait: a callback that is already running goes on. */
void popf_timer_cancel(struct popf_timer *t);
u64 host_now_ns(void);

/* --- run.c, world.c (module only) --- */

/* Allocate and free the monitor's part; kmod has filled vm, id, run, pio_data. */
int vcpu_init(struct vcpu *v);
void vcpu_fini(struct vcpu *v);
/*
 * Run until something needs userland: 0 with run->exit_reason, or -EINTR.
 * Finishes a pending completion first, then honours immediate_exit.
 */
int vcpu_run(struct vcpu *v);
/* Bring v into canonical form (see above). */
void vcpu_sync(struct vcpu *v);
/* The translator's statistics, from any thread, also while the vCPU runs. */
void vcpu_bt_stats(struct vcpu *v, struct bt_stats *out);
/* Paging or code mappings may have changed: called by control.c. */
void vcpu_mmu_changed(struct vcpu *v, bool flush_code);
void vcpu_invlpg(struct vcpu *v, gva_t gva);
/* Guest CR3 load: old value for comparing top-level entries. */
void vcpu_cr3_changed(struct vcpu *v, u64 old_cr3);
/* GDT/LDT/TR or a descriptor may have changed: shadow GDT must be rebuilt. */
void vcpu_tables_changed(struct vcpu *v);
/* XSETBV / XCR0 limits. */
u64 host_xcr0(void);

#endif
