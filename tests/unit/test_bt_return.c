// SPDX-License-Identifier: GPL-2.0-only
/*
 * Returns that learn where they go: the first time they leave translated code, then
 * never again, and always arrive where the guest's stack says, whether that is what
 * they have learned or not, and whatever happens to the translations at both ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bt/bt.h"
#include "tests/diff/bt_rig.h"

#define TC_SIZE (1u << 20)
#define STACK_TOP (RIG_STACK + 0x1000)
#define FUNCTION 0x100u
#define OTHER 0x200u
#define PAGE 0x1000u

static struct rig rig;
static struct rig_state st;
static struct rig_result res;

static void put(u32 off, const char *bytes, u32 n)
{
	memcpy((u8 *)rig.code + off, bytes, n);
}

/* At off: call to; inc r8 or r9. Returns the offset behind. */
static u32 put_call(u32 off, u32 to, const char *inc)
{
	s32 rel = (s32)(to - (off + 5));
	u8 call[5] = { 0xe8 };

	memcpy(call + 1, &rel, 4);
	put(off, (char *)call, 5);
	put(off + 5, inc, 3);
	return off + 8;
}

#define INC_R8 "\x49\xff\xc0"
#define INC_R9 "\x49\xff\xc1"

/* All code is int3, which ends a run; a function that is inc rax; ret. */
static void fresh_at(u64 place)
{
	rig_place(&rig, place);
	memset((void *)place, 0xcc, 3 * PAGE);
	bt_flush(rig.bt);
	rig_learn_returns(&rig, true);
	put(FUNCTION, "\x48\xff\xc0\xc3", 4);
}

static void run(u32 off)
{
	u32 i;

	memset(&st, 0, sizeof(st));
	for (i = 0; i < 16; i++)
		st.gpr[i] = 0x1111111111111111ull * i;
	st.gpr[0] = st.gpr[8] = st.gpr[9] = 0;
	st.gpr[4] = STACK_TOP;
	st.rip = rig.code + off;
	st.rflags = 0xc5;
	memset(rig.exits, 0, sizeof(rig.exits));
	rig_translated(&rig, &st, false, &res);
	assert_int_equal(res.stop, RIG_END);
	assert_int_equal(res.st.gpr[1], st.gpr[1]);
	assert_int_equal(res.st.gpr[4], STACK_TOP);
	assert_true(bt_audit(rig.bt));
}

static u32 exits(void)
{
	return rig.exits[BT_EXIT_DIRECT] + rig.exits[BT_EXIT_INDIRECT];
}

static void the_first_time_only(void **state)
{
	fresh_at(RIG_NEAR);
	put_call(0, FUNCTION, INC_R8);
	run(0);
	assert_int_equal(rig.exits[BT_EXIT_INDIRECT], 1);
	run(0);
	assert_int_equal(exits(), 0);
	assert_int_equal(res.st.gpr[0], 1);
	assert_int_equal(res.st.gpr[8], 1);
}

/* What it has learned is used: the table has nothing, and it still does not leave. */
static void the_table_is_not_needed(void **state)
{
	static u64 table[WINDOW_IBL_ENTRIES];

	fresh_at(RIG_NEAR);
	put_call(0, FUNCTION, INC_R8);
	run(0);
	memcpy(table, rig.bt->cfg.ibl_tpc, sizeof(table));
	ibl_init(rig.bt);
	memset(rig.exits, 0, sizeof(rig.exits));
	rig_translated(&rig, &st, false, &res);
	assert_int_equal(exits(), 0);
	assert_int_equal(res.st.gpr[8], 1);
	memcpy(rig.bt->cfg.ibl_tpc, table, sizeof(table));
}

static void a_second_caller_is_returned_to(void **state)
{
	fresh_at(RIG_NEAR);
	put_call(put_call(0, FUNCTION, INC_R8), FUNCTION, INC_R9);
	run(0);
	assert_int_equal(res.st.gpr[8], 1);
	assert_int_equal(res.st.gpr[9], 1);
	run(0);
	assert_int_equal(exits(), 0);
	assert_int_equal(res.st.gpr[0], 2);
	assert_int_equal(res.st.gpr[8], 1);
	assert_int_equal(res.st.gpr[9], 1);
}

/* Its translation goes, and the code there is another one afterwards. */
static void where_it_returned_has_changed(void **state)
{
	fresh_at(RIG_NEAR);
	put_call(2 * PAGE, FUNCTION, INC_R8);
	run(2 * PAGE);
	put_call(2 * PAGE, FUNCTION, INC_R9);
	bt_invalidate_gva(rig.bt, rig.code + 2 * PAGE);
	assert_true(bt_audit(rig.bt));
	run(2 * PAGE);
	assert_int_equal(res.st.gpr[8], 0);
	assert_int_equal(res.st.gpr[9], 1);
	run(2 * PAGE);
	assert_int_equal(exits(), 0);
}

static void the_function_has_changed(void **state)
{
	fresh_at(RIG_NEAR);
	put_call(2 * PAGE, FUNCTION, INC_R8);
	run(2 * PAGE);
	/* add rax, 3; ret */
	put(FUNCTION, "\x48\x83\xc0\x03\xc3", 5);
	bt_invalidate_gva(rig.bt, rig.code);
	run(2 * PAGE);
	assert_int_equal(res.st.gpr[0], 3);
	assert_int_equal(res.st.gpr[8], 1);
	run(2 * PAGE);
	assert_int_equal(exits(), 0);
	assert_int_equal(res.st.gpr[0], 3);
}

/* Addresses that a disp32 does not reach: not learned, and not asked for again. */
static void far_away(void **state)
{
	const u64 truncated = (u64)(s64)(s32)(RIG_FAR + 5);

	fresh_at(RIG_FAR);
	put_call(0, FUNCTION, INC_R8);
	run(0);
	assert_int_equal(rig.exits[BT_EXIT_INDIRECT], 1);
	run(0);
	assert_int_equal(exits(), 0);
	assert_int_equal(res.st.gpr[8], 1);
	/* To where a disp32 made of it would say that it is what was learned. */
	memcpy((void *)(STACK_TOP - 8), &truncated, 8);
	st.gpr[4] = STACK_TOP - 8;
	st.rip = rig.code + FUNCTION;
	rig_translated(&rig, &st, false, &res);
	assert_int_equal(res.stop, RIG_FAULT);
	assert_int_equal(res.st.rip, truncated);
	rig_place(&rig, RIG_NEAR);
}

/* ret 16, and a return to the TU that it ends. */
static void released_bytes_and_loops(void **state)
{
	fresh_at(RIG_NEAR);
	/* push rsi; push rsi; call; inc r8 */
	put(0, "\x56\x56", 2);
	put_call(2, OTHER, INC_R8);
	put(OTHER, "\x48\xff\xc0\xc2\x10\x00", 6);
	run(0);
	run(0);
	assert_int_equal(exits(), 0);
	assert_int_equal(res.st.gpr[8], 1);
	/* inc rax; push rdx; mov rdx, rbx; ret: to itself, then to an int3 */
	put(0x300, "\x48\xff\xc0\x52\x48\x8b\xd3\xc3", 8);
	bt_invalidate_gva(rig.bt, rig.code);
	memset(&st, 0, sizeof(st));
	st.gpr[2] = rig.code + 0x300;
	st.gpr[3] = rig.code + 0x400;
	st.gpr[4] = STACK_TOP;
	st.rip = rig.code + 0x300;
	rig_translated(&rig, &st, false, &res);
	assert_int_equal(res.stop, RIG_END);
	assert_int_equal(res.st.gpr[0], 2);
	assert_int_equal(res.st.rip, rig.code + 0x400);
}

/* Those that were translated before go through the table. */
static void only_when_it_has_been_allowed(void **state)
{
	fresh_at(RIG_NEAR);
	rig_learn_returns(&rig, false);
	put_call(0, FUNCTION, INC_R8);
	run(0);
	run(0);
	assert_int_equal(exits(), 0);
	assert_int_equal(res.st.gpr[8], 1);
}

/* Learned or not, each host instruction of a return stands for one guest state. */
static bool known(struct rig *r, const struct bt_state *bs, const struct rig_state *s)
{
	u64 gpc = bs->indirect ? r->page->ibl_target : bs->gpc;

	if (bs->opaque)
		return true;
	return gpc - r->code < 3 * PAGE &&
	       (s->gpr[1] == st.gpr[1] || bs->spilled & 1u << GPR_RCX);
}

static void exact_at_every_instruction(void **state)
{
	u32 i;

	fresh_at(RIG_NEAR);
	put_call(put_call(0, FUNCTION, INC_R8), FUNCTION, INC_R9);
	rig.on_step = known;
	for (i = 0; i < 3; i++) {
		memset(&st, 0, sizeof(st));
		st.gpr[1] = 0x77;
		st.gpr[4] = STACK_TOP;
		st.rip = rig.code;
		rig_translated(&rig, &st, true, &res);
		assert_int_equal(res.stop, RIG_END);
		assert_int_equal(res.st.gpr[9], 1);
	}
	rig.on_step = NULL;
}

/* A token of a TU that is gone teaches nobody anything. */
static void stale_tokens(void **state)
{
	struct bt_exit x = { .kind = BT_EXIT_INDIRECT, .mode = BT_MODE_LONG };
	u32 i;

	fresh_at(RIG_NEAR);
	put_call(0, FUNCTION, INC_R8);
	run(0);
	for (i = 0; i < 0x2000; i++) {
		x.link = (void *)(uintptr_t)(i + 1);
		bt_learn(rig.bt, &x, rig.code + i);
		assert_true(bt_audit(rig.bt));
	}
	x.link = (void *)~0ul;
	bt_learn(rig.bt, &x, rig.code);
	run(0);
	assert_int_equal(res.st.gpr[8], 1);
}

static int setup(void **state)
{
	rig_init(&rig, TC_SIZE);
	return 0;
}

static int teardown(void **state)
{
	rig_exit(&rig);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_time_only),
		cmocka_unit_test(the_table_is_not_needed),
		cmocka_unit_test(a_second_caller_is_returned_to),
		cmocka_unit_test(where_it_returned_has_changed),
		cmocka_unit_test(the_function_has_changed),
		cmocka_unit_test(far_away),
		cmocka_unit_test(released_bytes_and_loops),
		cmocka_unit_test(only_when_it_has_been_allowed),
		cmocka_unit_test(exact_at_every_instruction),
		cmocka_unit_test(stale_tokens),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
