// SPDX-License-Identifier: GPL-2.0-only
/* See bt_guest.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bt_guest.h"

unsigned long env_fail_alloc;

struct guest guest;
u8 *tc;
u64 *ibl_tpc;
u8 bounce_code[POPF_PAGE_SIZE];

static int fetch(void *opaque, gva_t gva, void *buf, u32 len, gfn_t *gfn)
{
	struct guest *g = opaque;
	u64 page = (gva - CODE) >> POPF_PAGE_SHIFT;

	assert_int_equal(gva >> 12, (gva + len - 1) >> 12);
	if (page >= PAGES || g->gfn_of[page] == GFN_NONE)
		return -EFAULT;
	g->fetches++;
	*gfn = g->gfn_of[page];
	g->traced[*gfn] = 1;
	memcpy(buf, &g->memory[*gfn][gva & 0xfff], len);
	return 0;
}

static void untrace(void *opaque, gfn_t gfn)
{
	struct guest *g = opaque;

	assert_int_equal(g->traced[gfn], 1);
	g->traced[gfn] = 0;
}

static void made(void *opaque, gva_t gpc, u32 mode, bool ahead)
{
	struct guest *g = opaque;

	g->made += !ahead;
	g->ahead += ahead;
}

static void gone(void *opaque, gva_t gpc, u32 mode, enum bt_gone why)
{
	struct guest *g = opaque;

	g->gone[why]++;
}

static bool vacant(void *opaque)
{
	return ((struct guest *)opaque)->vacant;
}

const struct bt_ops guest_ops = {
	.vacant = vacant,
	.fetch = fetch,
	.untrace = untrace,
	.made = made,
	.gone = gone,
};

struct bt *guest_create(enum bt_evict evict, u32 units)
{
	struct bt_config cfg = {
		.window = WINDOW,
		.tc_size = TC_SIZE,
		.bounce_code = bounce_code,
		.ibl_tpc = ibl_tpc,
		.tc = tc,
		.has_fsgsbase = true,
		.apic_in_place = true,
		.user_return = true,
		.audit = true,
		.evict = (u8)evict,
		.units = units,
	};

	return bt_create(&cfg, &guest_ops, &guest);
}

int setup(void **state)
{
	u32 i;

	memset(&guest, 0, sizeof(guest));
	/* HLT: a TU of its own wherever one looks */
	memset(guest.memory, 0xf4, sizeof(guest.memory));
	for (i = 0; i < PAGES; i++)
		guest.gfn_of[i] = i;
	tc = malloc(TC_SIZE);
	ibl_tpc = malloc(WINDOW_IBL_ENTRIES * 8);
	guest.bt = guest_create(BT_EVICT_FIFO, 0);
	return guest.bt ? 0 : -1;
}

int teardown(void **state)
{
	u32 i;

	bt_destroy(guest.bt);
	for (i = 0; i < PAGES * 2; i++)
		assert_int_equal(guest.traced[i], 0);
	free(tc);
	free(ibl_tpc);
	return 0;
}

void put(u32 page, u32 off, const char *bytes, u32 n)
{
	memcpy(&guest.memory[page][off], bytes, n);
}

tpc_t enter(gva_t gpc)
{
	tpc_t tpc = 0;

	assert_int_equal(bt_enter(guest.bt, gpc, BT_MODE_LONG, &tpc), 0);
	return tpc;
}

struct bt_stats stats(void)
{
	struct bt_stats s;

	bt_get_stats(guest.bt, &s);
	return s;
}

static u64 rng_state = 88172645463325252ull;

u64 rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state * 0x2545f4914f6cdd1dull >> 8;
}

void random_code(u32 page)
{
	static const u8 branch[] = { 0xe8, 0xe9, 0xeb, 0x74, 0x75,
				     0xc3, 0xe2, 0xe3, 0xff };
	u32 i;

	for (i = 0; i < POPF_PAGE_SIZE; i++) {
		guest.memory[page][i] = (u8)rng();
		if (rng() % 6 == 0)
			guest.memory[page][i] = branch[rng() % 9];
		else if (rng() % 3 == 0)
			guest.memory[page][i] = 0;
	}
}

static bool three_of_four(void *arg, gva_t page, gfn_t gfn)
{
	return rng() % 4;
}

void random_operation(void)
{
	gva_t gpc = CODE + rng() % (PAGES * POPF_PAGE_SIZE);
	u32 page = (u32)(rng() % PAGES), i;
	gva_t stops[2];
	struct bt_exit x;
	tpc_t tpc;

	guest.vacant = rng() % 2;
	switch (rng() % 64) {
	case 0:
		random_code((u32)guest.gfn_of[page]);
		bt_invalidate_gpa(guest.bt, guest.gfn_of[page] << 12, 4096);
		break;
	case 1:
		i = (u32)(rng() % 4096);
		guest.memory[page][i] = (u8)rng();
		bt_invalidate_gpa(guest.bt, (u64)page << 12 | i, 1);
		break;
	case 2:
		guest.gfn_of[page] = page + PAGES * (rng() % 2);
		bt_invalidate_gva(guest.bt, CODE + page * POPF_PAGE_SIZE);
		break;
	case 3:
		if (rng() % 16 == 0)
			bt_flush(guest.bt);
		break;
	case 4:
		if (rng() % 8 == 0)
			bt_revalidate(guest.bt, three_of_four, NULL);
		break;
	case 5:
		bt_invalidate_gva_range(guest.bt, gpc, gpc + 0x3000);
		break;
	case 6 ... 15:
		bt_indirect(guest.bt, gpc, BT_MODE_LONG, &tpc);
		break;
	case 16:
		stops[0] = gpc;
		stops[1] = gpc + rng() % 16;
		bt_set_stops(guest.bt, stops, (u32)(rng() % 3));
		break;
	case 17 ... 18:
		bt_enter(guest.bt, gpc, BT_MODE_STEP, &tpc);
		break;
	default:
		if (bt_enter(guest.bt, gpc, BT_MODE_LONG, &tpc))
			break;
		for (i = 0; i < 200; i++) {
			bt_exit_at(guest.bt, tpc + i, &x);
			if (x.kind == BT_EXIT_DIRECT)
				bt_chain(guest.bt, &x, &tpc);
		}
		break;
	}
}
