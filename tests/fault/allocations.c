// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM's whole life with its nth allocation failing, for many n: each call either
 * works or says ENOMEM, and what was made so far can be taken apart.
 *
 * $FAILALLOC names the module that makes allocations fail (tests/fault/failalloc).
 */
#include <sys/syscall.h>

#include "../abi/abi.h"

/* All of the first, and as many of the rest; with LONG=1 in the environment all. */
#define FIRST 80
#define SPREAD 120

#define PARAMETERS "/sys/module/failalloc/parameters/"

/* Setting a parameter allocates too, and may be what fails: once. */
static void put(const char *name, unsigned long value)
{
	char path[128], text[32];
	int fd, n, tries;

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	n = snprintf(text, sizeof(text), "%lu", value);
	for (tries = 0; tries < 3; tries++) {
		fd = open(path, O_WRONLY);
		if (fd < 0)
			continue;
		if (write(fd, text, n) == n)
			tries = 3;
		close(fd);
	}
	if (tries == 3)
		abort();
}

static unsigned long get(const char *name)
{
	char path[128], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		abort();
	close(fd);
	return strtoul(text, NULL, 0);
}

GUEST_ASM(short_guest, "mov $0x100000, %edi\n"
		       "mov %rdi, (%rdi)\n"
		       "mov %rdi, 0x800000\n"
		       "mov $0x10, %dx\n"
		       "out %al, %dx\n"
		       "hlt\n");

/* The outcome of one life: which errno other than ENOMEM was seen, if any. */
struct life {
	const char *where;
	int err;
	bool worked;
};

static bool step(struct life *l, const char *where, long r)
{
	if (r >= 0)
		return true;
	if (errno != ENOMEM && !l->err) {
		l->where = where;
		l->err = errno;
	}
	return false;
}

static bool run_guest(struct life *l, struct guest *g)
{
	if (!step(l, "KVM_RUN", guest_run(g)))
		return false;
	/* Out of memory inside the run stops the VM with a reason. */
	return g->run->exit_reason == KVM_EXIT_IO;
}

static bool set_up(struct life *l, struct guest *g, uint64_t *bitmap)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	struct kvm_irq_routing routing = { 0 };
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
	void *run;

	g->vm = ioctl(g->dev, KVM_CREATE_VM, 0);
	if (!step(l, "KVM_CREATE_VM", g->vm))
		return false;
	if (!step(l, "KVM_ENABLE_CAP", ioctl(g->vm, KVM_ENABLE_CAP, &cap)) ||
	    !step(l, "slot 0", abi_set_slot(g->vm, 0, 0, 0, GUEST_RAM_SIZE, g->ram)) ||
	    !step(l, "slot 1", abi_set_slot(g->vm, 1, KVM_MEM_LOG_DIRTY_PAGES,
					    8 << 20, 16 * PAGE, g->ram)) ||
	    !step(l, "routes", ioctl(g->vm, KVM_SET_GSI_ROUTING, &routing)))
		return false;
	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0);
	if (!step(l, "KVM_CREATE_VCPU", g->vcpu))
		return false;
	run = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	if (run == MAP_FAILED)
		return step(l, "mmap", -1);
	g->run = run;
	return step(l, "dirty log", ioctl(g->vm, KVM_GET_DIRTY_LOG, &log));
}

static bool use(struct life *l, struct guest *g)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 e[100];
	} cpuid;
	struct kvm_lapic_state lapic;
	int stats;

	cpuid.head.nent = 100;
	if (!step(l, "CPUID", ioctl(g->dev, KVM_GET_SUPPORTED_CPUID, &cpuid)) ||
	    !step(l, "CPUID2", ioctl(g->vcpu, KVM_SET_CPUID2, &cpuid)) ||
	    !step(l, "SREGS", guest_set_long_mode(g)) ||
	    !step(l, "LAPIC", ioctl(g->vcpu, KVM_GET_LAPIC, &lapic)))
		return false;
	guest_load(g, &short_guest);
	if (!run_guest(l, g))
		return false;
	stats = ioctl(g->vcpu, KVM_GET_STATS_FD, 0);
	if (!step(l, "statistics", stats))
		return false;
	close(stats);
	return step(l, "move", abi_set_slot(g->vm, 1, KVM_MEM_LOG_DIRTY_PAGES,
					    16 << 20, 16 * PAGE, g->ram)) &&
	       step(l, "delete", abi_set_slot(g->vm, 1, 0, 0, 0, NULL));
}

/* One life, with the nth allocation from its start failing (0: none). */
static struct life live(int dev, uint8_t *ram, unsigned long n)
{
	struct guest g = { .dev = dev, .vm = -1, .vcpu = -1, .ram = ram };
	struct life l = { 0 };
	uint64_t bitmap;

	put("seen", 0);
	put("nth", n);
	l.worked = set_up(&l, &g, &bitmap) && use(&l, &g);
	put("nth", 0);
	if (g.run)
		munmap(g.run, 3 * PAGE);
	if (g.vcpu >= 0)
		close(g.vcpu);
	if (g.vm >= 0)
		close(g.vm);
	return l;
}

/* 0 or the errno of loading it: ENOENT when the kernel lacks what it hooks. */
static int load_module(void)
{
	const char *path = getenv("FAILALLOC");
	int fd = path ? open(path, O_RDONLY) : -1, err = 0;

	if (fd < 0)
		return EBADF;
	if (syscall(SYS_finit_module, fd, "", 0))
		err = errno;
	close(fd);
	return err;
}

/* The ith of count allocations to fail. */
static unsigned long choose(unsigned long i, unsigned long count, unsigned long total)
{
	if (count == total || i < FIRST)
		return i + 1;
	return FIRST + (i - FIRST) * (total - FIRST) / SPREAD;
}

static void check_failures(int dev, uint8_t *ram, unsigned long total)
{
	const char *all = getenv("LONG");
	unsigned long i, n, bad = 0, failed = 0, count = FIRST + SPREAD;

	if (all && !strcmp(all, "1"))
		count = total;
	for (i = 0; i < count; i++) {
		struct life l;

		n = choose(i, count, total);
		l = live(dev, ram, n);
		failed += !l.worked;
		if (!l.err)
			continue;
		bad++;
		printf("# allocation %lu: %s said %s\n", n, l.where, strerror(l.err));
	}
	CHECK(bad == 0, "a failed allocation is ENOMEM and nothing else");
	CHECK(failed > FIRST / 2, "%lu of %lu failures were noticed at all", failed,
	      count);
}

int main(void)
{
	uint8_t *ram = abi_pages(GUEST_RAM_SIZE / PAGE);
	int dev = abi_open();
	unsigned long total;
	int err = load_module();
	struct life l;

	if (err == ENOENT) {
		abi_skip("this kernel has no hooks for failalloc.ko, as 6.12",
			 "a failed allocation harms nobody");
		return 77;
	}
	CHECK(!err, "failalloc.ko can be loaded (errno %d)", err);
	if (err)
		return abi_finish();
	/* Guest memory is not what is tested. */
	memset(ram, 0, GUEST_RAM_SIZE);
	put("pid", getpid());
	l = live(dev, ram, 0);
	CHECK(l.worked, "a VM lives when nothing fails");
	total = get("seen");
	CHECK(total > FIRST, "it takes %lu allocations", total);
	check_failures(dev, ram, total);
	CHECK(live(dev, ram, 0).worked, "and lives again afterwards");
	put("pid", 0);
	syscall(SYS_delete_module, "failalloc", 0);
	return abi_finish();
}
