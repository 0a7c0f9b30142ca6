// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any bytes as an instruction for the emulator, with any registers, on the virtual
 * CPU of tests/unit/mon_rig.c.
 *
 * Input: one byte of settings, 16 of choices for the registers (one each), the
 * instruction. Devices answer with bytes of the input. What would run natively by
 * bounce is answered with bytes of the input too: tests/unit/test_bt_bounce.c
 * compares that with the processor.
 *
 * Claims: it ends in a bounded number of steps; a fault has queued an exception and
 * left registers and RIP as they were; what is done has moved RIP or goes on with a
 * string instruction; reads of MMIO are of 1 to 8 bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tests/unit/mon_rig.h"

#define SET_CALLOUT 0x01 /* as translated code asks, not as a memory fault */
#define SET_USER 0x02
#define SET_COMPAT 0x04
#define SET_FLAGS 0x08 /* the last register's byte is the flags' */
#define STEPS_MAX 64

unsigned long env_fail_alloc;

static const uint8_t *answers;
static size_t n_answers, next_answer;

static uint8_t answer(void)
{
	return n_answers ? answers[next_answer++ % n_answers] : 0;
}

/* Addresses of all kinds, and numbers. */
static uint64_t value(uint8_t choice)
{
	static const uint64_t bases[] = {
		RIG_DATA,	  RIG_DATA + 0xff8, RIG_MMIO, RIG_STACK,
		RIG_CODE + 0x100, 0xfee00000,	    RIG_DATA + RIG_DATA_SIZE - 4,
		0xdead000000000000, RIG_MMIO + 0xffd, RIG_GDT, 0, ~0ull,
		0x80000000, 1, RIG_IDT, 0x7ffffffffff9,
	};

	return bases[choice >> 4] + (choice & 15);
}

static void answer_user(struct vcpu *v)
{
	struct kvm_run *run = &rig->run;
	uint32_t i;

	if (run->exit_reason == KVM_EXIT_MMIO) {
		FUZZ_CHECK(run->mmio.len >= 1 && run->mmio.len <= 8,
			   "MMIO of %u bytes", run->mmio.len);
		for (i = 0; i < 8 && !run->mmio.is_write; i++)
			run->mmio.data[i] = answer();
	} else if (run->exit_reason == KVM_EXIT_IO) {
		FUZZ_CHECK(run->io.size * run->io.count <= sizeof(rig->pio),
			   "port I/O of %u times %u bytes", run->io.count,
			   run->io.size);
		for (i = 0; i < run->io.size * run->io.count; i++)
			rig->pio[i] = answer();
	}
}

/* A translator that has translated nothing: the emulator asks it about frames. */
static struct bt *translator(void)
{
	static uint8_t tc[256u << 10], bounce[WINDOW_BOUNCE_CODE_SIZE];
	static uint64_t ibl[WINDOW_IBL_ENTRIES];
	static const struct bt_ops ops;
	struct bt_config cfg = {
		.window = WINDOW_BASE_DEFAULT,
		.tc_size = sizeof(tc),
		.tc = tc,
		.ibl_tpc = ibl,
		.bounce_code = bounce,
	};

	return bt_create(&cfg, &ops, NULL);
}

static enum emul go_on(struct vcpu *v, enum emul ret)
{
	enum emul (*complete)(struct vcpu *v);
	uint32_t i, steps;

	for (steps = 0; steps < STEPS_MAX; steps++) {
		if (ret == EMUL_USER && v->complete) {
			answer_user(v);
			complete = v->complete;
			v->complete = NULL;
			ret = complete(v);
		} else if (ret == EMUL_BOUNCE) {
			for (i = 0; i < sizeof(v->bounce.data); i++)
				v->bounce.data[i] = answer();
			ret = vcpu_bounce_done(v);
		} else {
			return ret;
		}
	}
	fuzz_fail("it does not come to an end");
}

static void set_registers(struct vcpu *v, const uint8_t *choices,
			  uint8_t settings)
{
	uint32_t i;

	for (i = 0; i < GPR_COUNT; i++)
		v->regs.gpr[i] = value(choices[i]);
	v->regs.rflags = RF_FIXED | RF_IF;
	if (settings & SET_FLAGS)
		v->regs.rflags |= (choices[15] & 0xd5) |
				  (choices[15] & 2 ? RF_DF : 0);
	v->regs.rip = RIG_CODE;
}

static void run(const uint8_t *data, size_t size)
{
	struct vcpu *v = &rig->v;
	struct vcpu_regs before;
	uint8_t insn[15] = { 0 }, settings = data[0];
	size_t n = size - 17;
	enum emul ret;

	n = n > 15 ? 15 : n;
	memcpy(insn, data + 17, n);
	answers = data + 17;
	n_answers = size - 17;
	next_answer = 0;
	if (settings & SET_USER)
		rig_user(settings & SET_COMPAT);
	set_registers(v, data + 1, settings);
	rig_code(insn, 15);
	before = v->regs;
	if (settings & SET_CALLOUT)
		ret = vcpu_emulate_callout(v, insn, 15);
	else
		ret = vcpu_emulate_memory(v);
	ret = go_on(v, ret);
	FUZZ_CHECK(ret <= EMUL_STOP, "ends in %d", ret);
	if (ret != EMUL_FAULT)
		return;
	FUZZ_CHECK(v->exc.pending, "a fault without an exception");
	if (v->exc.soft || v->exc.vector == 1)
		return;
	FUZZ_CHECK(v->regs.rip == before.rip, "a fault that moves RIP");
	/* Repeated ones keep what they have done before the element that faults. */
	if (!v->emul || !v->emul->d || !v->emul->d->valid ||
	    v->emul->d->insn.meta.category == ZYDIS_CATEGORY_STRINGOP ||
	    v->emul->d->insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP)
		return;
	FUZZ_CHECK(!memcmp(v->regs.gpr, before.gpr, sizeof(before.gpr)),
		   "a fault that changes registers");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bt *bt;

	if (size < 18)
		return 0;
	if (!bt) {
		bt = translator();
		/* Each VM that stops says why: too much to keep. */
		stderr = fopen("/dev/null", "w");
	}
	rig_setup(NULL);
	rig->v.bt = bt;
	run(data, size);
	rig_teardown(NULL);
	return 0;
}
