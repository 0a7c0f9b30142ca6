/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private to the parts of monitor/ that only exist in the module: the world, the
 * switch region, the run loop.
 */
#ifndef POPF_MONITOR_HOST_H
#define POPF_MONITOR_HOST_H

#include <linux/mutex.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <asm/processor.h>

#include <popf/vcpu.h>
#include <popf/vm.h>

#include "world.h"

/* switch_64.S */
extern const u8 popf_switch_start[];
extern const u8 popf_switch_end[];

struct switch_layout {
	u64 start;
	u64 end;
	u64 stubs; /* offsets from start, all that follow */
	u64 nmi;
	u64 mc;
	u64 db;
	u64 df;
	u64 syscall;
	u64 syscall32;
	u64 sysenter;
	u64 enter_iret;
};

extern const struct switch_layout popf_switch_layout;
void popf_world_call(void *enter);
void popf_call_gate(void *handler);

/* region.c */
int region_init(const char **reason);
void region_exit(void);
/* The slot's top-level entry for shadow roots of this VM. */
u64 region_top_entry(struct popf_vm *vm);
int region_vm_create(struct popf_vm *vm);
void region_vm_destroy(struct popf_vm *vm);
/* First address of one of the slots that the region may be in. */
gva_t region_slot_base(u32 slot);
/* The slot the VM's region is in now. */
gva_t region_base(struct popf_vm *vm);
/* Have it at another one; vCPUs must be told (world_rebase()). 0 or -errno. */
int region_move(struct popf_vm *vm, u32 slot);
/* Where vCPU id's part starts, in either world. */
gva_t region_vcpu_base(struct popf_vm *vm, u32 id);
/* Map one page of it: page index, 0..REGION_PAGES-1. */
void region_map(struct popf_vm *vm, u32 id, u32 index, hpa_t hpa, bool exec,
		bool write);
/* Map the shared copy of the switch code. */
void region_map_code(struct popf_vm *vm, u32 id);
/* Unmap all of a vCPU's pages and flush every CPU's TLB. */
void region_unmap(struct popf_vm *vm, u32 id);

/* window.c */
struct window {
	gva_t base;
	u32 tc_size;
	u32 n_pages; /* frames behind the window */
	struct page **pages;
	u8 *map; /* all frames, contiguous for the host: see window_offsets() */
	u32 n_pdes;
	u64 *pde; /* level-2 entries for shadow */
	u64 **pt; /* the level-1 tables */
	void *record; /* entries recorded, or NULL: nobody ever has */
};

int window_create(struct window *w, gva_t base, u32 tc_size);
void window_destroy(struct window *w);
/*
 * Is something of the window at gva? Then it is in each kernel root, at all times; but
 * when another CPU takes a guest's table out of the way to it, a processor may still
 * remember the table that it was in, cleared. It finds the new way when it looks again.
 */
bool window_maps(const struct window *w, gva_t gva);
/* Give WINDOW_RECORD memory, zeroed; it stays. 0 or -ENOMEM. */
int window_add_record(struct window *w);
/* Host mapping of an offset of the window that has memory behind it. */
void *window_at(struct window *w, u32 off);

/* hostmsr.c: MSRs that the host kernel itself does not use while in ring 0. */
enum host_msr {
	HMSR_STAR,
	HMSR_LSTAR,
	HMSR_CSTAR,
	HMSR_SFMASK,
	HMSR_SYSENTER_CS,
	HMSR_SYSENTER_ESP,
	HMSR_SYSENTER_EIP,
	HMSR_TSC_AUX,
	HMSR_COUNT
};

int hostmsr_init(void);
void hostmsr_exit(void);
/*
 * Give this CPU's MSRs their values for the guest world, and turn CR4.PGE off, which
 * drops all global entries; the host's come back before the CPU returns to user
 * mode, and not before. Interrupts off.
 */
void hostmsr_load(const u64 val[HMSR_COUNT]);

/* One exit, for the report when a VM stops. */
struct exit_record {
	u64 rip; /* gpc in direct execution, else tpc */
	u64 cr2;
	u32 error;
	u16 vector;
	bool user;
	u64 gpc; /* what the exit turned out to be at, or 0 */
};

/* A page of guest code whose walk and frame are traced; see code_fetch(). */
struct code_page {
	gva_t gva; /* page address | 1, or 0 */
	gfn_t gfn;
};

#define CODE_PAGES 64u

#define EXIT_RECORDS 32 /* power of two */

/* world.c */
struct world {
	struct world_data *data;
	/* The same at its address in the region, which is in the TLB around a switch. */
	struct world_data *here;
	u64 *gdt; /* guest's half, 512 entries */
	u64 *gdt_popf;
	u64 *ldt[REGION_LDT_PAGES]; /* NULL until the guest has one */
	u32 n_ldt; /* entries that may be in use */
	u64 *cross;
	u8 *idt;
	u8 *tss;
	void *ist[4];
	gva_t base; /* of this vCPU's part of the region */
	struct window window;
	u64 gdt_raw[32]; /* guest descriptors the shadow was made from */
	bool gdt_valid;
	bool gdt_fresh; /* copied, and only user code has run since */
	bool gdt_many; /* more than the vCPU page's desc_at[] can list, or none */
	u64 msr[HMSR_COUNT]; /* of the guest world */
	bool user; /* last entry was direct execution */
	bool fast_irq; /* fast_irq.c may deliver interrupts */
	u64 irq_crossed; /* it has, after so many system calls less one; 0: not */
	bool bouncing; /* tpc is in bounce code for v->bounce */
	bool nudge; /* single-step out of a place without exact state */
	u64 tf; /* RF_TF when guest kernel code is single-stepped */
	unsigned long dr6; /* hardware's, at a #DB */
	u64 armed; /* DR6 bits of the breakpoints that hardware looks for */
	u64 hits; /* those hit by a guest instruction that is not done yet */
	gva_t hit_gpc; /* that instruction, ~0: none in particular */
	u64 rf; /* RF_RF while the instruction at rf_gpc runs past its breakpoint */
	gva_t rf_gpc;
	tpc_t shadow_tpc; /* entered in the shadow of STI or MOV SS; 0: not */
	u64 user_flags; /* virtual IF and IOPL in direct execution */
	bool user_step; /* which differ so that it is single-stepped */
	u64 user_tf; /* the guest's TF then */
	bool fetch_faulted; /* code.c: the last fetch's fault */
	struct shadow_fault fetch_fault;
	struct code_page code_page[CODE_PAGES]; /* code.c: traced walks */
	struct mutex bt_lock; /* other threads follow v->bt only with it */
	/* code.c: noted from any thread, settled by the vCPU's. */
	spinlock_t stale_lock; /* the next three */
	bool code_stale; /* mappings of code may have changed */
	u32 n_stale;
	gfn_t stale[16];
	bool contents_gone; /* see struct shadow_ops */
	bool conflict; /* move.c: the guest wants popf's addresses */
	gva_t conflict_gva;
	gfn_t watched; /* the guest's table that has the window's entries */
	u64 watched_top; /* the top-level entry that leads there */
	struct exit_record exits[EXIT_RECORDS];
	u32 n_exits;
};

int world_create(struct vcpu *v);
void world_destroy(struct vcpu *v);
/* The region or the window has moved: make the world fit. */
int world_rebase(struct vcpu *v);
/* Tell shadow paging where region and window are. */
int world_set_fixed(struct vcpu *v);
/* Rebuild the guest's half of the GDT from guest memory: true if it differs. */
bool world_refresh_gdt(struct vcpu *v);
/*
 * Bits of CR4 that differ between direct execution and translated code. Translated
 * code adds the TSC offset itself, direct execution cannot. And it uses RDGSBASE and
 * kin itself, whether the guest may or not.
 */
static inline u64 world_user_cr4(const struct vcpu *v)
{
	u64 flip = v->cr4 & X86_CR4_TSD || v->tsc_offset ? X86_CR4_TSD : 0;

	if (boot_cpu_has(X86_FEATURE_FSGSBASE) && !(v->cr4 & X86_CR4_FSGSBASE))
		flip |= X86_CR4_FSGSBASE;
	return flip;
}

/* What the world's copy of the guest's tables has for a selector; 0: nothing. */
u64 world_descriptor(const struct world *w, u16 sel);
/* The selector hardware may load for a data segment, 0 when it may not. */
u16 world_named_selector(const struct vcpu *v, u16 sel);
static inline u16 world_selector(const struct vcpu *v, u16 sel)
{
	/* Null selectors load as they are. */
	return sel < 4 ? sel : world_named_selector(v, sel);
}

/*
 * Around a trip to the guest world, interrupts off. Begin is false when a kick
 * has come since the last trip: do not enter, look at requests again. The other
 * side, and the order that both rely on: kmod/block.c.
 */
static inline bool vcpu_guest_begin(struct vcpu *v)
{
	WRITE_ONCE(v->kick.cpu, smp_processor_id());
	smp_store_mb(v->kick.in_guest, 1);
	if (likely(!READ_ONCE(v->kick.kicked)))
		return true;
	WRITE_ONCE(v->kick.in_guest, 0);
	smp_store_mb(v->kick.kicked, 0);
	return false;
}

static inline void vcpu_guest_end(struct vcpu *v)
{
	smp_store_release(&v->kick.in_guest, 0);
}

/*
 * Switch to the guest and back. Interrupts off. again: since the last switch there
 * was nothing but a host interrupt; the guest may be in its other mode by now.
 */
void world_switch(struct vcpu *v, bool again);

/* move.c: get out of the guest's way; v is canonical. */
enum emul world_move(struct vcpu *v);

/* The guest loads CR3: does another table lie beside the window now? */
void world_watch(struct vcpu *v);

/* code.c */
extern const struct bt_ops code_bt_ops;
void code_mapping_changed(struct vcpu *v, gfn_t gfn);
void code_contents_gone(struct vcpu *v);
/* Nothing is translated any more: what was noted about mappings is moot. */
void code_forget_stale(struct vcpu *v);

/* Has code_settle() something to do? */
static inline bool code_is_stale(const struct world *w)
{
	return READ_ONCE(w->n_stale) || READ_ONCE(w->code_stale) ||
	       READ_ONCE(w->contents_gone);
}

/* Walks to code may lead elsewhere now: look again at the next fetch. */
void code_forget_pages(struct vcpu *v);
/* Apply what has been noted; v is canonical. */
void code_settle(struct vcpu *v);

#endif
