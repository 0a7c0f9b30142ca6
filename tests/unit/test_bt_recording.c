// SPDX-License-Identifier: GPL-2.0-only
/*
 * With a recorder set, translated code does what it did before and reports every
 * entry of a TU, in order: what it says is compared with the path that the same
 * code takes natively, one instruction at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "popf/env.h"
#include "tests/diff/bt_gen.h"
#include "tests/diff/bt_rig.h"

#define TC_SIZE (1u << 20)
#define TUS_MAX 4096u
#define PATH_MAX_STEPS 20000u
#define PROGRAMS 300u

struct seen_tu {
	gva_t gva;
	u32 len;
};

static struct rig rig;
static struct seen_tu tus[TUS_MAX];
static u32 dropped_all;
static u32 entries[PATH_MAX_STEPS];
static u32 n_entries;
static u64 path[PATH_MAX_STEPS];
static u32 n_path;

static void on_tu(void *opaque, const struct bt_recorded_tu *tu)
{
	assert_true(tu->id < TUS_MAX);
	assert_memory_equal(tu->code, (void *)tu->gva, tu->len);
	assert_int_equal(tu->gfn[0], tu->gva >> 12);
	tus[tu->id] = (struct seen_tu){ tu->gva, tu->len };
}

static void on_dropped(void *opaque, enum bt_dropped why, u64 start, u64 len)
{
	dropped_all += why == BT_DROPPED_ALL;
}

static struct bt_recorder recorder;

static u32 *buffer(void)
{
	return (u32 *)(RIG_WINDOW + WINDOW_RECORD_OFF);
}

/* Take what is in the buffer. */
static void drain(void)
{
	u32 used = WINDOW_RECORD_SIZE + (u32)rig.page->record_at, i;

	for (i = 0; i < used / 4 && n_entries < PATH_MAX_STEPS; i++)
		entries[n_entries++] = buffer()[i];
	rig.page->record_at = -(u64)WINDOW_RECORD_SIZE;
}

static int setup(void **state)
{
	rig_init(&rig, TC_SIZE);
	rig_learn_returns(&rig, true);
	return 0;
}

static int teardown(void **state)
{
	rig_exit(&rig);
	return 0;
}

static void start(void)
{
	bt_set_recorder(rig.bt, NULL);
	recorder = (struct bt_recorder){ .tu = on_tu, .dropped = on_dropped };
	n_entries = 0;
	dropped_all = 0;
	rig.page->record_at = -(u64)WINDOW_RECORD_SIZE;
	bt_set_recorder(rig.bt, &recorder);
	assert_int_equal(dropped_all, 0); /* before the recording began */
}

/* Each instruction's address, natively. */
static bool trace_native(const struct rig_state *from, struct rig_result *r)
{
	struct rig_state st = *from;

	for (n_path = 0; n_path < PATH_MAX_STEPS;) {
		path[n_path++] = st.rip;
		rig_native(&rig, &st, true, r);
		if (r->stop != RIG_STEPPED)
			return true;
		st = r->st;
	}
	return false;
}

/*
 * Did step i go straight on from the one before it? A branch to the instruction
 * behind it may or may not: then what the entries say, next, counts.
 */
static bool straight_on(u32 i, u64 next)
{
	static ZydisDecoder decoder;
	ZydisDecodedInstruction zi;

	/* A repeated string instruction is a step per repetition. */
	if (path[i] == path[i - 1])
		return true;
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64,
			 ZYDIS_STACK_WIDTH_64);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(
		    &decoder, NULL, (void *)path[i - 1], 15, &zi)))
		return false;
	if (zi.meta.category == ZYDIS_CATEGORY_COND_BR &&
	    !zi.raw.imm[0].value.s && path[i] == next)
		return false;
	return path[i] == path[i - 1] + zi.length;
}

/*
 * Do the entries tell the path? From an entry on, execution goes straight on to
 * the end of the TU or a taken branch; there the next entry must be.
 */
static void assert_entries_tell_the_path(const struct rig_result *end)
{
	u32 i = 0, k;
	struct seen_tu *tu;
	u64 next;

	for (k = 0; k < n_entries; k++) {
		assert_true(entries[k] < recorder.next_id);
		tu = &tus[entries[k]];
		next = k + 1 < n_entries ? tus[entries[k + 1]].gva : 0;
		assert_true(i < n_path);
		assert_int_equal(path[i], tu->gva);
		do {
			i++;
		} while (i < n_path && straight_on(i, next) &&
			 path[i] - tu->gva < tu->len);
	}
	/* The last step may be a jump to where there is no code. */
	if (i + 1 == n_path && end->stop == RIG_FAULT &&
	    end->st.rip == path[i])
		i++;
	assert_int_equal(i, n_path);
}

/* False: the program does not count, because it is no program of this kind. */
static bool run_program(const struct rig_state *st)
{
	static u8 code[RIG_DATA_OFF], data[RIG_DATA_SIZE], stack[RIG_STACK_SIZE];
	void *data_at = (void *)(rig.code + RIG_DATA_OFF);
	struct rig_result native, r;

	memcpy(code, (void *)rig.code, sizeof(code));
	memcpy(data, data_at, sizeof(data));
	memcpy(stack, (void *)RIG_STACK, sizeof(stack));
	if (!trace_native(st, &native) ||
	    memcmp(code, (void *)rig.code, sizeof(code)))
		return false;
	memcpy(data_at, data, sizeof(data));
	memcpy((void *)RIG_STACK, stack, sizeof(stack));
	start();
	rig_translated(&rig, st, false, &r);
	drain();
	assert_true(bt_audit(rig.bt));
	/* What they do otherwise is test_bt_diff's business. */
	if (r.stop == native.stop && r.st.rip == native.st.rip)
		assert_entries_tell_the_path(&r);
	bt_set_recorder(rig.bt, NULL);
	return r.stop == native.stop;
}

static void run_random(u64 code, u32 faulty)
{
	static const u8 fcw_mxcsr[32] = { 0x7f, 0x03, [24] = 0x80, 0x1f };
	struct rig_state st;
	u32 i, counted = 0;
	struct gen g;
	u64 seed;

	rig_place(&rig, code);
	for (seed = 1; seed <= PROGRAMS; seed++) {
		gen_init(&g, seed, rig.code, rig.code + RIG_DATA_OFF,
			 (u8 *)rig.code, 2048);
		g.faulty = faulty;
		g.no_flags_push = true; /* they would end the stepping */
		gen_program(&g);
		memset(&st, 0, sizeof(st));
		memcpy(st.fp, fcw_mxcsr, sizeof(fcw_mxcsr));
		for (i = 0; i < 16; i++)
			st.gpr[i] = gen_random(&g) & 1 ? gen_random(&g) :
							 g.data + 64;
		st.gpr[4] = RIG_STACK + RIG_STACK_SIZE / 2;
		st.rip = rig.code;
		counted += run_program(&st);
	}
	assert_in_range(counted, PROGRAMS * 8 / 10, PROGRAMS);
}

static void test_entries_tell_the_path_near(void **state)
{
	run_random(RIG_NEAR, 0);
}

static void test_entries_tell_the_path_far(void **state)
{
	run_random(RIG_FAR, 0);
}

static void test_entries_tell_the_path_up_to_a_fault(void **state)
{
	run_random(RIG_NEAR, 50);
}

static void put_code(const char *code, u32 n)
{
	memcpy((void *)RIG_NEAR, code, n);
	rig_place(&rig, RIG_NEAR);
}

/* When the buffer is full: the rig re-enters, the test makes room first. */
static void make_room(struct rig *r, struct rig_state *st)
{
	tpc_t again;
	bool full = bt_record_full(rig.bt, rig.exit_tpc, &again);
	u32 id, off;

	assert_true(full);
	assert_true(bt_recorded_place(rig.bt, again, &id, &off));
	assert_int_equal(off, 0);
	assert_int_equal(tus[id].gva, st->rip);
	assert_int_equal(rig.page->record_at, 0);
	drain();
}

static void test_full_buffer_loses_nothing(void **state)
{
	struct rig_state st = { .rip = RIG_NEAR,
				.gpr[4] = RIG_STACK + RIG_STACK_SIZE / 2 };
	struct rig_result r;
	u32 i;

	/* mov ecx, 12000; 1: dec ecx; jnz 1b; int3 */
	put_code("\xb9\xe0\x2e\x00\x00\xff\xc9\x75\xfc\xcc", 10);
	start();
	rig.on_irq = make_room;
	rig_translated(&rig, &st, false, &r);
	assert_int_equal(r.stop, RIG_END);
	assert_int_equal(r.st.gpr[1], 0);
	drain();
	/* Once from above, 11999 times back, and the end. */
	assert_in_range(n_entries, 12000, 12001);
	assert_int_equal(tus[entries[0]].gva, RIG_NEAR);
	for (i = 1; i < 12000; i++)
		assert_int_equal(tus[entries[i]].gva, RIG_NEAR + 5);
	bt_set_recorder(rig.bt, NULL);
}

static void test_nothing_is_emitted_without_a_recorder(void **state)
{
	struct rig_state st = { .rip = RIG_NEAR,
				.gpr[4] = RIG_STACK + RIG_STACK_SIZE / 2 };
	struct bt_stats before, plain, recording;
	struct rig_result r;

	put_code("\xb9\x10\x00\x00\x00\xff\xc9\x75\xfc\xcc", 10);
	bt_get_stats(rig.bt, &before);
	bt_flush(rig.bt);
	rig_translated(&rig, &st, false, &r);
	bt_get_stats(rig.bt, &plain);
	assert_in_range(plain.host_bytes - before.host_bytes, 1, 50);
	start();
	rig_translated(&rig, &st, false, &r);
	bt_get_stats(rig.bt, &recording);
	assert_true(recording.host_bytes - plain.host_bytes > 100);
	drain();
	assert_true(n_entries);
	/* And it ends with the recording. */
	bt_set_recorder(rig.bt, NULL);
	assert_int_equal(dropped_all, 1);
	n_entries = 0;
	rig_translated(&rig, &st, false, &r);
	drain();
	assert_int_equal(n_entries, 0);
}

/* The monitor may resume in the middle; that it knows itself. */
static void test_places_in_the_middle_are_named(void **state)
{
	tpc_t tpc;
	u32 id, off;

	/* nop; inc eax; inc edx; int3 */
	put_code("\x90\xff\xc0\xff\xc2\xcc", 6);
	start();
	assert_int_equal(bt_enter(rig.bt, RIG_NEAR, BT_MODE_LONG, &tpc), 0);
	assert_true(bt_recorded_place(rig.bt, tpc, &id, &off));
	assert_int_equal(off, 0);
	assert_int_equal(bt_enter(rig.bt, RIG_NEAR + 3, BT_MODE_LONG, &tpc), 0);
	assert_true(bt_recorded_place(rig.bt, tpc, &id, &off));
	assert_int_equal(off, 3);
	assert_int_equal(tus[id].gva, RIG_NEAR);
	assert_int_equal(recorder.next_id, 1);
	assert_false(bt_recorded_place(rig.bt, tpc + 1, &id, &off));
	assert_false(bt_recorded_place(rig.bt, 0, &id, &off));
	assert_false(bt_record_full(rig.bt, tpc, &tpc));
	bt_set_recorder(rig.bt, NULL);
}

static void test_returns_do_not_learn_meanwhile(void **state)
{
	/* call f; int3; f: ret */
	static const u8 code[] = { 0xe8, 1, 0, 0, 0, 0xcc, 0xc3 };
	struct rig_state st = { .rip = RIG_NEAR, .gpr[4] = RIG_STACK + 0x1000 };
	struct rig_result r;

	rig_place(&rig, RIG_NEAR);
	memcpy((void *)RIG_NEAR, code, sizeof(code));
	bt_invalidate_gva(rig.bt, RIG_NEAR);
	start();
	memset(rig.exits, 0, sizeof(rig.exits));
	rig_translated(&rig, &st, false, &r);
	assert_int_equal(r.stop, RIG_END);
	assert_int_equal(rig.exits[BT_EXIT_INDIRECT], 0);
	bt_set_recorder(rig.bt, NULL);
	rig_translated(&rig, &st, false, &r);
	assert_int_equal(r.stop, RIG_END);
	assert_int_equal(rig.exits[BT_EXIT_INDIRECT], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries_tell_the_path_near),
		cmocka_unit_test(test_entries_tell_the_path_far),
		cmocka_unit_test(test_entries_tell_the_path_up_to_a_fault),
		cmocka_unit_test(test_full_buffer_loses_nothing),
		cmocka_unit_test(test_nothing_is_emitted_without_a_recorder),
		cmocka_unit_test(test_places_in_the_middle_are_named),
		cmocka_unit_test(test_returns_do_not_learn_meanwhile),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
