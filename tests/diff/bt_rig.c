// SPDX-License-Identifier: GPL-2.0-only
/* See bt_rig.h. */
#include <asm/prctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "bt/bt.h"
#include "bt_rig.h"

#define ALTSTACK_SIZE 65536
/* Entries into translated code, or its steps, after which it will never end. */
#define TURNS_MAX 1000000u
#define ID_FLAG 0x200000ll
#define NT_FLAG 0x4000ll
#define AC_FLAG 0x40000ll
/* All host code is above, all guest code below. */
#define HOST_START 0x530000000000ul
#define HOST_SIZE 0x2d0000000000ul
#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif

unsigned long env_fail_alloc;

static const int greg_of[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8,	 REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static const int signals[] = { SIGTRAP, SIGSEGV, SIGBUS,
			       SIGFPE,	SIGILL,	 SIGVTALRM, SIGSYS };
static struct sigaction host_action[ARRAY_SIZE(signals)];

/* What the signal handler works on. */
static struct {
	volatile sig_atomic_t armed, inside, stray;
	struct rig_state in;
	bool step, fsgsbase;
	u64 host_fs, guest_fs, guest_gs; /* bases; guest's: the default */
	u64 seen_fs, seen_gs;
	gregset_t host;
	u8 host_fp[RIG_FP_SIZE];
	struct rig_result out;
} swap;

/* Bytes of extended state in the frame: FXSAVE's 512, or XSAVE's. */
static u32 fp_size(const struct _libc_fpstate *fp)
{
	u32 magic, size;

	memcpy(&magic, (const u8 *)fp + 464, 4);
	memcpy(&size, (const u8 *)fp + 464 + 16, 4);
	if (magic != 0x46505853)
		return 512;
	return min(size, RIG_FP_SIZE);
}

/* Swap in the state `in`, or the initial one. The frame's own words stay. */
static void fp_load(struct _libc_fpstate *fp, const u8 *in)
{
	static const u8 initial_fcw_mxcsr[32] = { 0x7f, 0x03, [24] = 0x80,
						  0x1f };
	u32 n = fp_size(fp);
	u8 own[48];
	u8 *to = (u8 *)fp;

	memcpy(own, to + 464, sizeof(own));
	memcpy(to, in, n);
	if (!in[24] && !in[25])
		memcpy(to, initial_fcw_mxcsr, 32);
	memcpy(to + 464, own, sizeof(own));
	if (n > 512)
		to[512] |= 3;
}

/* The parts of the XSAVE image, the first two where FXSAVE has them. */
static struct {
	u32 at, size;
} part[8] = { { 32, 128 }, { 160, 256 } };

static void cpuid(u32 leaf, u32 sub, u32 out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]),
			   "=d"(out[3])
			 : "a"(leaf), "c"(sub));
}

/* Makers differ in where the others are. */
static void find_parts(void)
{
	u32 i, r[4];

	for (i = 2; i < ARRAY_SIZE(part); i++) {
		cpuid(0xd, i, r);
		part[i].size = r[1] + r[0] <= RIG_FP_SIZE ? r[0] : 0;
		part[i].at = r[1];
	}
}

/* What is in its initial state is not in the frame: zero it. */
static void fp_save(const struct _libc_fpstate *fp, u8 *out)
{
	u32 n = fp_size(fp), i;

	memset(out, 0, RIG_FP_SIZE);
	memcpy(out, fp, n);
	memset(out + 464, 0, 48);
	memset(out + 28, 0, 4); /* MXCSR_MASK, a constant */
	for (i = 0; n > 512 && i < ARRAY_SIZE(part); i++) {
		if (!(out[512] >> i & 1))
			memset(out + part[i].at, 0, part[i].size);
	}
}

static void load_guest(ucontext_t *uc)
{
	struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;
	int i;

	memcpy(swap.host, uc->uc_mcontext.gregs, sizeof(swap.host));
	memcpy(swap.host_fp, fp, fp_size(fp));
	for (i = 0; i < 16; i++)
		uc->uc_mcontext.gregs[greg_of[i]] = (greg_t)swap.in.gpr[i];
	fp_load(fp, swap.in.fp);
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)swap.in.rip;
	uc->uc_mcontext.gregs[REG_EFL] =
		(greg_t)((swap.in.rflags & RIG_FLAGS) | 0x202 |
			 (swap.step ? 0x100 : 0));
	swap.inside = 1;
}

static bool has_fsgsbase(void)
{
	return getauxval(AT_HWCAP2) & 2;
}

/*
 * Without FSGSBASE the kernel reads and writes the bases. Nothing else may run here:
 * errno is behind FS.
 */
static inline void base_by_kernel(long code, u64 arg)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(SYS_arch_prctl), "D"(code), "S"(arg)
			 : "rcx", "r11", "memory");
}

static u64 read_fs_base(void)
{
	u64 v;

	if (swap.fsgsbase)
		__asm__ volatile("rdfsbase %0" : "=r"(v));
	else
		base_by_kernel(ARCH_GET_FS, (u64)&v);
	return v;
}

static u64 read_gs_base(void)
{
	u64 v;

	if (swap.fsgsbase)
		__asm__ volatile("rdgsbase %0" : "=r"(v));
	else
		base_by_kernel(ARCH_GET_GS, (u64)&v);
	return v;
}

static void write_fs_base(u64 v)
{
	if (swap.fsgsbase)
		__asm__ volatile("wrfsbase %0" : : "r"(v));
	else
		base_by_kernel(ARCH_SET_FS, v);
}

static void write_gs_base(u64 v)
{
	if (swap.fsgsbase)
		__asm__ volatile("wrgsbase %0" : : "r"(v));
	else
		base_by_kernel(ARCH_SET_GS, v);
}

static void save_guest(ucontext_t *uc, int sig)
{
	struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;
	const greg_t *g = uc->uc_mcontext.gregs;
	struct rig_result *r = &swap.out;
	int i;

	for (i = 0; i < 16; i++)
		r->st.gpr[i] = (u64)g[greg_of[i]];
	fp_save(fp, r->st.fp);
	r->st.fs_base = swap.seen_fs;
	r->st.gs_base = swap.seen_gs;
	r->st.rip = (u64)g[REG_RIP];
	r->st.rflags = (u64)g[REG_EFL] & RIG_FLAGS;
	r->vector = (u32)g[REG_TRAPNO];
	r->error = (u64)g[REG_ERR];
	r->address = r->vector == 14 ? (u64)g[REG_CR2] : 0;
	r->stop = RIG_FAULT;
	swap.stray = sig == SIGVTALRM;
	if (sig == SIGVTALRM)
		r->stop = RIG_TIMEOUT;
	else if (sig == SIGSYS)
		r->stop = RIG_SYSCALL;
	else if (sig == SIGTRAP)
		r->stop = r->vector == 1 ? RIG_STEPPED : RIG_END;
	memcpy(uc->uc_mcontext.gregs, swap.host, sizeof(swap.host));
	fp_load(fp, swap.host_fp);
	swap.inside = 0;
}

static void host_signal(int sig)
{
	u32 i;

	/* Whoever had the signal before gets it when it happens again. */
	for (i = 0; i < ARRAY_SIZE(signals); i++) {
		if (signals[i] == sig)
			sigaction(sig, &host_action[i], NULL);
	}
}

static void handle(int sig, ucontext_t *uc)
{
	if (swap.inside) {
		save_guest(uc, sig);
	} else if (sig == SIGTRAP && swap.armed) {
		swap.armed = 0;
		load_guest(uc);
	} else if (sig == SIGTRAP && swap.stray) {
		/* The step that the alarm came on top of. */
		swap.stray = 0;
	} else if (sig != SIGVTALRM) {
		host_signal(sig);
	}
}

/*
 * The flags that a signal handler begins with as the guest left them, and that it
 * leaves behind: ID and NT would last from one program into the next, as the kernel
 * does not restore them; under AC the handler's own unaligned accesses would fault.
 */
static inline void set_flags(u64 id)
{
	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq\n\t"
			 "andq %1, (%%rsp); orq %0, (%%rsp); popfq\n\t"
			 "lea 128(%%rsp), %%rsp"
			 :
			 : "r"(id), "i"(~(ID_FLAG | NT_FLAG | AC_FLAG))
			 : "cc", "memory");
}

/*
 * The guest may have moved the base of FS, which the C library and the sanitizers
 * live by: nothing that needs it may run before and after.
 */
static void __attribute__((no_sanitize("address", "undefined")))
handler(int sig, siginfo_t *info, void *ctx)
{
	(void)info;
	set_flags(0);
	if (swap.inside) {
		swap.seen_fs = read_fs_base();
		swap.seen_gs = read_gs_base();
		write_fs_base(swap.host_fs);
	}
	handle(sig, ctx);
	if (swap.inside) {
		write_gs_base(swap.in.gs_base ? swap.in.gs_base :
						swap.guest_gs);
		write_fs_base(swap.in.fs_base ? swap.in.fs_base :
						swap.guest_fs);
	}
	set_flags(swap.inside ? swap.in.rflags & ID_FLAG : 0);
}

/* The kernel's own idea of RIP for int3 is behind it. */
void rig_raw(const struct rig_state *st, bool step, struct rig_result *out)
{
	swap.in = *st;
	swap.step = step;
	swap.armed = 1;
	__asm__ volatile("int3" : : : "memory");
	*out = swap.out;
}

static void map_at(u64 at, size_t len, int prot, int fd, off_t off)
{
	int flags = MAP_FIXED_NOREPLACE |
		    (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
	void *p = mmap((void *)at, len, prot, flags, fd, off);

	if (p != (void *)at) {
		perror("rig: mmap");
		exit(1);
	}
}

static u64 more_code, more_code_size;

static bool in_code(u64 gva)
{
	return gva - RIG_NEAR < RIG_CODE_SIZE ||
	       gva - RIG_FAR < RIG_CODE_SIZE || gva - more_code < more_code_size;
}

void rig_map_code(u64 at, u64 size)
{
	map_at(at, size, PROT_READ | PROT_WRITE | PROT_EXEC, -1, 0);
	more_code = at;
	more_code_size = size;
}

static bool *traced_slot(struct rig *rig, gfn_t gfn)
{
	u64 off = (gfn << POPF_PAGE_SHIFT) - RIG_NEAR;

	if (off < RIG_CODE_SIZE)
		return &rig->traced[0][off >> POPF_PAGE_SHIFT];
	off = (gfn << POPF_PAGE_SHIFT) - RIG_FAR;
	return &rig->traced[1][off >> POPF_PAGE_SHIFT];
}

static void protect(struct rig *rig, gfn_t gfn, bool on)
{
	bool *traced = traced_slot(rig, gfn);

	if (*traced == on)
		return;
	*traced = on;
	mprotect((void *)(gfn << POPF_PAGE_SHIFT), POPF_PAGE_SIZE,
		 PROT_READ | PROT_EXEC | (on ? 0 : PROT_WRITE));
}

void rig_unprotect(struct rig *rig)
{
	u64 i;

	for (i = 0; i < RIG_CODE_SIZE; i += POPF_PAGE_SIZE) {
		protect(rig, (RIG_NEAR + i) >> POPF_PAGE_SHIFT, false);
		protect(rig, (RIG_FAR + i) >> POPF_PAGE_SHIFT, false);
	}
}

static int rig_fetch(void *opaque, gva_t gva, void *buf, u32 len, gfn_t *gfn)
{
	struct rig *rig = opaque;

	if (!in_code(gva) || !in_code(gva + len - 1)) {
		rig->fetch_fault = gva;
		return -EFAULT;
	}
	rig->fetches++;
	*gfn = gva >> POPF_PAGE_SHIFT;
	if (rig->guarded)
		protect(rig, *gfn, true);
	memcpy(buf, (void *)gva, len);
	return 0;
}

static void rig_untrace(void *opaque, gfn_t gfn)
{
	struct rig *rig = opaque;

	if (rig->guarded)
		protect(rig, gfn, false);
}

static bool rig_vacant(void *opaque)
{
	return !((const struct rig *)opaque)->inside;
}

static const struct bt_ops rig_ops = {
	.fetch = rig_fetch,
	.untrace = rig_untrace,
	.vacant = rig_vacant,
};

static void map_window(struct rig *rig)
{
	size_t total = WINDOW_TC_OFF + rig->tc_size;
	int fd = (int)syscall(SYS_memfd_create, "rig", 0);

	if (fd < 0 || ftruncate(fd, (off_t)total)) {
		perror("rig: memfd");
		exit(1);
	}
	map_at(RIG_WINDOW + WINDOW_VCPU_OFF, 0x1000, PROT_READ | PROT_WRITE, fd,
	       WINDOW_VCPU_OFF);
	map_at(RIG_WINDOW + WINDOW_BOUNCE_DATA_OFF, WINDOW_BOUNCE_DATA_SIZE,
	       PROT_READ | PROT_WRITE, fd, WINDOW_BOUNCE_DATA_OFF);
	map_at(RIG_WINDOW + WINDOW_BOUNCE_CODE_OFF, WINDOW_BOUNCE_CODE_SIZE,
	       PROT_READ | PROT_EXEC, fd, WINDOW_BOUNCE_CODE_OFF);
	map_at(RIG_WINDOW + WINDOW_RECORD_OFF, WINDOW_RECORD_SIZE,
	       PROT_READ | PROT_WRITE, fd, WINDOW_RECORD_OFF);
	map_at(RIG_WINDOW + WINDOW_IBL_TPC_OFF, WINDOW_IBL_ENTRIES * 8,
	       PROT_READ, fd, WINDOW_IBL_TPC_OFF);
	map_at(RIG_WINDOW + WINDOW_TC_OFF, rig->tc_size, PROT_READ | PROT_EXEC,
	       fd, WINDOW_TC_OFF);
	rig->alias = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			  0);
	close(fd);
	rig->page = (void *)(RIG_WINDOW + WINDOW_VCPU_OFF);
}

static bool is_amd(void)
{
	u32 r[4];

	cpuid(0, 0, r);
	return r[1] == 0x68747541 || r[1] == 0x6f677948; /* "Auth", "Hygo" */
}

/*
 * Can this machine return from the kernel to a program whose RSP is not canonical?
 * Processors can. A hypervisor that returns on the kernel's behalf was seen to
 * raise #GP there instead, at any interrupt.
 */
static bool wild_stack_works(void)
{
	struct rig_state st = { .rip = RIG_NEAR, .gpr[4] = 1ull << 63 };
	struct rig_result r;

	*(u8 *)RIG_NEAR = 0xcc;
	rig_raw(&st, false, &r);
	return r.stop == RIG_END;
}

void rig_init(struct rig *rig, u32 tc_size)
{
	static u8 altstack[ALTSTACK_SIZE];
	stack_t ss = { .ss_sp = altstack, .ss_size = sizeof(altstack) };
	struct bt_config cfg = { .window = RIG_WINDOW, .tc_size = tc_size,
				 .has_fsgsbase = has_fsgsbase(),
				 .amd_branches = is_amd(), .audit = false };
	int rwx = PROT_READ | PROT_WRITE | PROT_EXEC;

	memset(rig, 0, sizeof(*rig));
	rig->tc_size = tc_size;
	map_window(rig);
	map_at(RIG_NEAR, RIG_CODE_SIZE, rwx, -1, 0);
	map_at(RIG_NEAR + RIG_DATA_OFF, RIG_DATA_SIZE, PROT_READ | PROT_WRITE,
	       -1, 0);
	map_at(RIG_FAR, RIG_CODE_SIZE, rwx, -1, 0);
	map_at(RIG_FAR + RIG_DATA_OFF, RIG_DATA_SIZE, PROT_READ | PROT_WRITE,
	       -1, 0);
	map_at(RIG_STACK, RIG_STACK_SIZE, PROT_READ | PROT_WRITE, -1, 0);
	sigaltstack(&ss, NULL);
	find_parts();
	swap.fsgsbase = has_fsgsbase();
	swap.host_fs = read_fs_base();
	cfg.bounce_code = rig->alias + WINDOW_BOUNCE_CODE_OFF;
	cfg.ibl_tpc = (u64 *)(rig->alias + WINDOW_IBL_TPC_OFF);
	cfg.tc = rig->alias + WINDOW_TC_OFF;
	rig->bt = bt_create(&cfg, &rig_ops, rig);
	if (!rig->bt) {
		fprintf(stderr, "rig: bt_create failed\n");
		exit(1);
	}
	rig_place(rig, RIG_NEAR);
	rig->no_wild_stack = !wild_stack_works();
}

void rig_learn_returns(struct rig *rig, bool on)
{
	rig->bt->cfg.learn_returns = on;
}

void rig_exit(struct rig *rig)
{
	stack_t off = { .ss_flags = SS_DISABLE };
	u32 i;

	bt_destroy(rig->bt);
	munmap((void *)RIG_WINDOW, WINDOW_TC_OFF + rig->tc_size);
	munmap(rig->alias, WINDOW_TC_OFF + rig->tc_size);
	munmap((void *)RIG_NEAR, RIG_DATA_OFF + RIG_DATA_SIZE);
	munmap((void *)RIG_FAR, RIG_DATA_OFF + RIG_DATA_SIZE);
	munmap((void *)RIG_STACK, RIG_STACK_SIZE);
	for (i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_DFL);
	sigaltstack(&off, NULL);
}

static void map_again(u64 code)
{
	mprotect((void *)code, RIG_CODE_SIZE,
		 PROT_READ | PROT_WRITE | PROT_EXEC);
	mprotect((void *)(code + RIG_DATA_OFF), RIG_DATA_SIZE,
		 PROT_READ | PROT_WRITE);
}

void rig_unguard(struct rig *rig)
{
	rig_unprotect(rig);
	map_again(RIG_NEAR);
	map_again(RIG_FAR);
	rig->guarded = false;
	rig->bt->cfg.tsc_callout = false;
}

bool rig_guard(struct rig *rig)
{
	cpu_set_t cpus;

	/* On one processor, so that its number stays the same. */
	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	rig->guarded = true;
	/* It would not show the same time twice. */
	rig->bt->cfg.tsc_callout = true;
	if ((u64)&rig_guard >= HOST_START &&
	    !prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, HOST_START,
		   HOST_SIZE, 0))
		return true;
	/* What comes next runs without: it must not find half of it. */
	rig_unguard(rig);
	return false;
}

/* The test framework puts its own handlers in place before each test. */
static void take_signals(void)
{
	struct sigaction sa = { .sa_sigaction = handler,
				.sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction old;
	u32 i;

	/* An alarm in the middle of a handler would take its state for the guest's. */
	sigfillset(&sa.sa_mask);
	for (i = 0; i < ARRAY_SIZE(signals); i++) {
		sigaction(signals[i], &sa, &old);
		if (old.sa_sigaction != handler)
			host_action[i] = old;
	}
}

void rig_place(struct rig *rig, u64 code)
{
	take_signals();
	if (rig->guarded && code != rig->code) {
		/* What is not restored must be out of reach. */
		bt_flush(rig->bt);
		rig_unprotect(rig);
		mprotect((void *)rig->code, RIG_DATA_OFF + RIG_DATA_SIZE,
			 PROT_NONE);
		map_again(code);
	}
	rig->code = code;
	swap.guest_gs = swap.guest_fs = code + RIG_DATA_OFF;
}

static void watchdog(long usec)
{
	/* Again and again: one that finds the rig in a handler is lost. */
	struct itimerval it = { .it_value = { .tv_usec = usec },
				.it_interval = { .tv_usec = usec } };

	setitimer(ITIMER_VIRTUAL, &it, NULL);
}

void rig_native(struct rig *rig, const struct rig_state *st, bool step,
		struct rig_result *out)
{
	(void)rig;
	watchdog(200000);
	rig_raw(st, step, out);
	watchdog(0);
	if (out->stop == RIG_END)
		out->st.rip--;
}

/* Guest state from hardware state and the record at st->rip. */
static bool recover(struct rig *rig, struct rig_state *st, struct bt_state *bs)
{
	int i;

	if (bt_recover(rig->bt, st->rip, bs))
		return false;
	if (bs->indirect)
		bs->gpc = rig->page->ibl_target;
	for (i = 0; i < 16; i++) {
		if (bs->spilled & 1u << i)
			st->gpr[i] = rig->page->spill[i];
	}
	st->rip = bs->gpc;
	return true;
}

/* One host instruction of translated code, or all up to the next stop. */
static void advance(struct rig *rig, struct rig_state *st, bool step,
		    struct rig_result *r)
{
	u8 *op = (u8 *)st->rip;
	u64 *sp = (u64 *)st->gpr[4];

	if (step && *op == 0x9d) {
		/* TF must survive: do POPFQ by hand. */
		st->rflags = *sp & RIG_FLAGS;
		st->gpr[4] += 8;
		st->rip++;
		r->st = *st;
		r->stop = RIG_STEPPED;
		return;
	}
	rig_raw(st, step, r);
	if (step && *op == 0x9c && r->stop == RIG_STEPPED)
		*(u64 *)r->st.gpr[4] &= ~0x100ull;
}

/* At an exit, with st->rip the guest's: as exact as it gets. */
static bool exit_seen(struct rig *rig, const struct rig_state *st)
{
	struct bt_state bs = { .gpc = st->rip };

	return !(rig->stepping || rig->mode & BT_MODE_STEP) || !rig->on_step ||
	       rig->on_step(rig, &bs, st);
}

/* Drop the translations of what differs from before. */
static void drop_changed(struct rig *rig, u64 code, const u8 *before)
{
	const u8 *now = (const u8 *)code;
	u32 i, from;

	for (i = 0; i < RIG_CODE_SIZE; i++) {
		if (now[i] == before[i])
			continue;
		from = i;
		while (i < RIG_CODE_SIZE && now[i] != before[i])
			i++;
		rig->stores_to_code++;
		bt_invalidate_gpa(rig->bt, code + from, i - from);
	}
}

static bool is_prefix(u8 b)
{
	switch (b) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x40 ... 0x4f:
	case 0x64 ... 0x67:
	case 0xf0:
	case 0xf2 ... 0xf3:
		return true;
	default:
		return false;
	}
}

/* The guest instruction at st->rip on the guest's own code, as an emulator would. */
static void step_natively(struct rig *rig, struct rig_state *st,
			  struct rig_result *r)
{
	static u8 before[RIG_CODE_SIZE];
	const u8 *op = (const u8 *)st->rip;
	bool pushf, stores;
	u64 at;
	u32 i;

	while (is_prefix(*op))
		op++;
	rig->inside = false;
	memcpy(before, (void *)rig->code, sizeof(before));
	rig_unprotect(rig);
	pushf = *op == 0x9c;
	/* MOVS or STOS in what has been copied */
	stores = ((*op & 0xfe) == 0xa4 || (*op & 0xfe) == 0xaa) &&
		 (u64)op - rig->code < RIG_CODE_SIZE &&
		 st->rip - rig->code < RIG_CODE_SIZE;
	at = st->rip;
	rig_raw(st, true, r);
	if (pushf && r->stop == RIG_STEPPED)
		((u8 *)r->st.gpr[4])[1] &= ~1u; /* TF */
	if (memcmp(before, (void *)rig->code, sizeof(before)))
		drop_changed(rig, rig->code, before);
	if (stores && memcmp(before + (at - rig->code), (u8 *)at,
			     (u64)op + 1 - at))
		rig->rep_over_itself = true;
	for (i = 0; i < RIG_CODE_SIZE; i += POPF_PAGE_SIZE) {
		gfn_t gfn = (rig->code + i) >> POPF_PAGE_SHIFT;

		if (bt_gfn_has_code(rig->bt, gfn))
			protect(rig, gfn, true);
	}
	*st = r->st;
}

/* Does the callout do the same in any ring, and every time? */
static bool runs_anywhere(struct rig *rig, const struct bt_exit *x)
{
	ZydisDecodedInstruction zi;

	if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&rig->bt->decoder, NULL,
						      x->insn, x->insn_len,
						      &zi)))
		return false;
	if (zi.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
		return zi.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
	switch (zi.meta.category) {
	case ZYDIS_CATEGORY_PUSH:
	case ZYDIS_CATEGORY_DATAXFER:
		break;
	default:
		/* What is privileged only has to fault in the same place. */
		return zi.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED;
	}
	/* MOV to a segment register */
	return zi.mnemonic != ZYDIS_MNEMONIC_MOV || zi.opcode != 0x8e;
}

static bool swapgs(struct rig *rig, const struct bt_exit *x,
		   struct rig_state *st)
{
	u64 old = st->gs_base;

	if (x->insn_len != 3 || memcmp(x->insn, "\x0f\x01\xf8", 3))
		return false;
	st->gs_base = rig->page->kernel_gs_base;
	rig->page->kernel_gs_base = old;
	st->rip += 3;
	return true;
}

static bool native_callout(struct rig *rig, const struct bt_exit *x,
			   struct rig_state *st, struct rig_result *r)
{
	if (swapgs(rig, x, st))
		return true;
	if (!rig->guarded || !runs_anywhere(rig, x))
		return false;
	step_natively(rig, st, r);
	return r->stop == RIG_STEPPED;
}

/* A fault in translated code that is a store to what was translated. */
static bool store_to_code(struct rig *rig, const struct rig_result *r)
{
	return rig->guarded && r->stop == RIG_FAULT && r->vector == 14 &&
	       r->error & 2 && in_code(r->address) &&
	       *traced_slot(rig, r->address >> POPF_PAGE_SHIFT);
}

/* An int3 was hit. True: go on at st->rip (a tpc). */
static bool handle_exit(struct rig *rig, struct rig_state *st,
			struct rig_result *r)
{
	struct bt_exit x;
	tpc_t tpc = 0;
	int ret = 0;

	bt_exit_at(rig->bt, st->rip - 1, &x);
	rig->exits[x.kind]++;
	rig->exit_tpc = st->rip - 1;
	rig->exit_kind = x.kind;
	switch (x.kind) {
	case BT_EXIT_DIRECT:
		if (rig->on_enter)
			rig->on_enter(rig, x.target);
		ret = bt_chain(rig->bt, &x, &tpc);
		st->rip = x.target;
		break;
	case BT_EXIT_INDIRECT:
		st->rip = rig->page->ibl_target;
		if (rig->on_enter)
			rig->on_enter(rig, st->rip);
		ret = bt_indirect(rig->bt, st->rip, x.mode, &tpc);
		if (!ret)
			bt_learn(rig->bt, &x, st->rip);
		break;
	case BT_EXIT_CALLOUT:
		st->rip = x.gpc;
		r->stop = RIG_CALLOUT;
		if (x.insn[0] == 0xcc && x.insn_len == 1) {
			r->stop = RIG_END;
			return false;
		}
		if (rig->on_callout ? !rig->on_callout(rig, &x, st) :
				      !native_callout(rig, &x, st, r))
			return false;
		ret = bt_enter(rig->bt, st->rip, rig->mode, &tpc);
		break;
	case BT_EXIT_UD:
		st->rip = x.gpc;
		r->stop = RIG_FAULT;
		r->vector = 6;
		return false;
	case BT_EXIT_IRQ:
		st->rip = x.gpc;
		if (rig->on_irq)
			rig->on_irq(rig, st);
		ret = bt_enter(rig->bt, st->rip, rig->mode, &tpc);
		break;
	case BT_EXIT_STEP:
		st->rip = x.indirect ? rig->page->ibl_target : x.gpc;
		ret = bt_enter(rig->bt, st->rip, x.mode, &tpc);
		break;
	default:
		r->stop = RIG_BROKEN;
		return false;
	}
	if (!exit_seen(rig, st)) {
		r->stop = RIG_BROKEN;
		return false;
	}
	if (ret == -EFAULT) {
		r->stop = RIG_FAULT;
		r->vector = 14;
		r->error = 0x14;
		r->address = rig->fetch_fault;
		return false;
	}
	if (ret) {
		r->stop = RIG_BROKEN;
		return false;
	}
	rig->inside = true;
	st->rip = tpc;
	return true;
}

static bool enter(struct rig *rig, struct rig_state *st, struct rig_result *r)
{
	tpc_t tpc;

	if (!bt_enter(rig->bt, st->rip, rig->mode, &tpc)) {
		rig->inside = true;
		st->rip = tpc;
		return true;
	}
	r->stop = RIG_FAULT;
	r->vector = 14;
	r->error = 0x14;
	r->address = rig->fetch_fault;
	return false;
}

static bool step_seen(struct rig *rig, const struct rig_state *hw)
{
	struct rig_state st = *hw;
	struct bt_state bs;

	if (!recover(rig, &st, &bs))
		return false;
	if (bs.opaque) {
		rig->opaque++;
		return true;
	}
	return !rig->on_step || rig->on_step(rig, &bs, &st);
}

void rig_translated(struct rig *rig, const struct rig_state *start, bool step,
		    struct rig_result *r)
{
	struct rig_state st = *start;
	struct bt_state bs;
	u32 turns;
	tpc_t tpc;

	memset(r, 0, sizeof(*r));
	r->st = st;
	r->stop = RIG_BROKEN;
	if (rig->on_enter)
		rig->on_enter(rig, st.rip);
	if (bt_enter(rig->bt, st.rip, rig->mode, &tpc))
		return;
	st.rip = tpc;
	rig->inside = true;
	rig->stepping = step;
	rig->rep_over_itself = false;
	watchdog(step ? 900000 : 500000);
	for (turns = 0;; turns++) {
		if (turns == TURNS_MAX) {
			r->stop = RIG_TIMEOUT;
			break;
		}
		advance(rig, &st, step, r);
		st = r->st;
		if (r->stop == RIG_STEPPED) {
			if (!step_seen(rig, &st)) {
				r->stop = RIG_BROKEN;
				break;
			}
			continue;
		}
		if (r->stop == RIG_END) {
			if (handle_exit(rig, &st, r))
				continue;
			break;
		}
		if (r->stop == RIG_TIMEOUT)
			break;
		if (!recover(rig, &st, &bs) || bs.opaque) {
			r->stop = RIG_BROKEN;
			break;
		}
		if (!store_to_code(rig, r))
			break;
		step_natively(rig, &st, r);
		if (r->stop != RIG_STEPPED || !enter(rig, &st, r))
			break;
	}
	watchdog(0);
	rig->inside = false;
	r->st = st;
	r->vif = rig->page->vif;
}
