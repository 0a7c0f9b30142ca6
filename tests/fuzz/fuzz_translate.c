// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any bytes as a guest's code pages, through the translator.
 *
 * Input: one byte of settings, two of where in the first page to start, then the
 * code from there on; it runs into a second page, which may be absent.
 *
 * Claims, for the first TU and what it leads to: translating ends in 0 or -EFAULT;
 * the audit is clean; TUs decode, from their first byte to their last, into
 * instructions that may run in ring 3, whose branches stay inside the TC and leave
 * it nowhere; what is copied is the guest's instruction with the same operand;
 * every tpc is recovered to a place in the TU's guest code or the target of one of
 * its exits; exits are where they say; after dropping the pages nothing is left.
 */
#include <stdlib.h>
#include <string.h>

#include "bt/bt.h"
#include "fuzz.h"

#define TC_SIZE (256u << 10)
#define MAX_ENTERED 48

unsigned long env_fail_alloc;

/* Settings in the first byte. */
#define SET_PLACE 0x03 /* which of places[] */
#define SET_NO_FSGSBASE 0x04
#define SET_TSC_CALLOUT 0x08
#define SET_STEP 0x10
#define SET_SECOND_ABSENT 0x20
#define SET_SAME_FRAME 0x40 /* the second page is the first again */

static const struct {
	gva_t code, window;
} places[] = {
	{ 0x40000000, 0x60000000 }, /* within reach of the TC */
	{ 0x500000000000, 0x60000000 }, /* too far for RIP-relative operands */
	{ 0xffffffff81000000, WINDOW_BASE_DEFAULT }, /* a kernel's text */
	{ 0xffff888000000000, WINDOW_BASE_DEFAULT }, /* its direct map */
};

static struct {
	uint8_t tc[TC_SIZE];
	uint64_t ibl[WINDOW_IBL_ENTRIES];
	uint8_t bounce[WINDOW_BOUNCE_CODE_SIZE];
} *host;

static struct {
	gva_t code; /* page of the first byte */
	uint8_t settings;
	uint8_t bytes[2 * POPF_PAGE_SIZE];
	gva_t entered[MAX_ENTERED];
	uint32_t n_entered;
	uint32_t mode;
} guest;

static int fetch(void *opaque, gva_t gva, void *buf, u32 len, gfn_t *gfn)
{
	u64 off = gva - guest.code;

	FUZZ_CHECK(len && (gva & POPF_PAGE_MASK) ==
				  ((gva + len - 1) & POPF_PAGE_MASK),
		   "fetch across a page: %u bytes", len);
	if (off >= 2 * POPF_PAGE_SIZE)
		return -EFAULT;
	if (off >= POPF_PAGE_SIZE && guest.settings & SET_SECOND_ABSENT)
		return -EFAULT;
	*gfn = 0x100;
	if (off >= POPF_PAGE_SIZE && !(guest.settings & SET_SAME_FRAME))
		*gfn = 0x101;
	memcpy(buf, guest.bytes + off, len);
	return 0;
}

static void untrace(void *opaque, gfn_t gfn)
{
}

static const struct bt_ops ops = { .fetch = fetch, .untrace = untrace };

/* A new one for each input, so that none depends on what ran before it. */
static struct bt *translator(uint8_t settings)
{
	struct bt_config cfg = {
		.window = places[settings & SET_PLACE].window,
		.tc_size = TC_SIZE,
		.has_fsgsbase = !(settings & SET_NO_FSGSBASE),
		.tsc_callout = settings & SET_TSC_CALLOUT,
	};
	struct bt *bt;

	if (!host)
		host = calloc(1, sizeof(*host));
	cfg.bounce_code = host->bounce;
	cfg.ibl_tpc = host->ibl;
	cfg.tc = host->tc;
	bt = bt_create(&cfg, &ops, NULL);
	FUZZ_CHECK(bt, "no translator");
	return bt;
}

/* --- what is in the TC ------------------------------------------------------- */

static bool in_tc(const struct bt *bt, tpc_t tpc)
{
	return tpc - bt->tc_base < TC_SIZE;
}

static bool in_window(const struct bt *bt, u64 va)
{
	return va - bt->cfg.window < WINDOW_TC_OFF + TC_SIZE;
}

/* An indirect jump goes through the window's tables and nothing else. */
static bool jump_is_safe(const struct bt *bt, const ZydisDecodedInstruction *zi,
			 tpc_t at)
{
	if (zi->opcode != 0xff)
		return in_tc(bt, at + zi->length +
					 (u64)zi->raw.imm[0].value.s);
	return zi->raw.modrm.mod == 0 && zi->raw.modrm.rm == 4 &&
	       zi->raw.sib.base == 5 && zi->raw.disp.size == 32 &&
	       in_window(bt, (u64)zi->raw.disp.value);
}

static void check_host_insn(const struct bt *bt,
			    const ZydisDecodedInstruction *zi, tpc_t at)
{
	switch (classify(zi)) {
	case CLS_COPY:
	case CLS_VERBATIM:
	case CLS_LEA:
	case CLS_PUSHF:
	case CLS_POPF:
	case CLS_FSGSBASE:
	case CLS_RDTSC:
	case CLS_RDTSCP:
		return;
	case CLS_JMP:
	case CLS_JCC:
	case CLS_LOOP:
		FUZZ_CHECK(jump_is_safe(bt, zi, at), "%llx: leaves the TC",
			   (unsigned long long)at);
		return;
	default:
		break;
	}
	/* HLT stands for instructions that raise #GP. */
	FUZZ_CHECK(zi->mnemonic == ZYDIS_MNEMONIC_INT3 ||
			   zi->mnemonic == ZYDIS_MNEMONIC_HLT,
		   "%llx: %s has no place in the TC", (unsigned long long)at,
		   ZydisMnemonicGetString(zi->mnemonic));
}

/* Bit n: a host instruction starts n bytes into the TU. */
static uint64_t starts[BT_TU_BYTES / 64 + 1];

static void decode_host(struct bt *bt, const struct tu *tu)
{
	ZydisDecodedInstruction zi;
	u32 at = 0;

	memset(starts, 0, sizeof(starts));
	for (; at < tu->len; at += zi.length) {
		tpc_t tpc = off_to_tpc(bt, tu->off + at);

		starts[at / 64] |= 1ull << (at % 64);
		FUZZ_CHECK(ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(
				   &bt->decoder, NULL,
				   off_to_host(bt, tu->off + at),
				   tu->len - at, &zi)),
			   "%llx: not an instruction", (unsigned long long)tpc);
		check_host_insn(bt, &zi, tpc);
	}
	FUZZ_CHECK(at == tu->len, "the last instruction ends behind its TU");
}

static gva_t operand_ea(const u8 *bytes, u32 disp_off, u32 len, u64 at)
{
	s32 disp;

	memcpy(&disp, bytes + disp_off, 4);
	return at + len + (u64)(s64)disp;
}

/* The guest instruction at gpc, if it is copied, against what is at off. */
static void check_copy(struct bt *bt, u32 off, gva_t gpc)
{
	const u8 *g = guest.bytes + (gpc - guest.code);
	const u8 *h = off_to_host(bt, off);
	u64 room = guest.code + 2 * POPF_PAGE_SIZE - gpc;
	ZydisDecodedInstruction zi;
	enum bt_class cls;
	u32 disp;
	bool rip_rel;

	if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&bt->decoder, NULL, g,
						      min(room, 15ull), &zi)))
		return;
	cls = classify(&zi);
	if (cls != CLS_COPY && cls != CLS_VERBATIM)
		return;
	/* Repeated string instructions are the monitor's in step mode. */
	if (guest.mode & BT_MODE_STEP && *h == 0xcc)
		return;
	rip_rel = zi.attributes & ZYDIS_ATTRIB_HAS_MODRM &&
		  zi.raw.modrm.mod == 0 && zi.raw.modrm.rm == 5;
	if (!rip_rel || cls == CLS_VERBATIM) {
		FUZZ_CHECK(!memcmp(g, h, zi.length), "%llx is not copied",
			   (unsigned long long)gpc);
		return;
	}
	disp = zi.raw.disp.offset;
	if (memcmp(g, h, disp))
		return; /* through a register: tests/unit/test_bt_diff.c */
	FUZZ_CHECK(!memcmp(g + disp + 4, h + disp + 4, zi.length - disp - 4),
		   "%llx: something else is copied", (unsigned long long)gpc);
	room = operand_ea(g, disp, zi.length, gpc) ^
	       operand_ea(h, disp, zi.length, off_to_tpc(bt, off));
	if (zi.attributes & ZYDIS_ATTRIB_HAS_ADDRESSSIZE)
		room = (u32)room;
	FUZZ_CHECK(!room, "%llx: another operand", (unsigned long long)gpc);
}

static void check_records(struct bt *bt, const struct tu *tu)
{
	struct rec_iter it;

	rec_iter_init(&it, tu);
	while (rec_iter_next(&it)) {
		u32 at = it.rec.toff;

		if (at == tu->len)
			continue;
		FUZZ_CHECK(at < tu->len && starts[at / 64] >> (at % 64) & 1,
			   "record inside an instruction, at %u", at);
		if (it.rec.flags == REC_BOUNDARY &&
		    tu->gpc + (u64)(s64)it.rec.goff <
			    guest.code + 2 * POPF_PAGE_SIZE)
			check_copy(bt, tu->off + at,
				   tu->gpc + (u64)(s64)it.rec.goff);
	}
}

/* May an instruction at gpc be part of it? */
static bool is_of_tu(const struct tu *tu, gva_t gpc)
{
	return gpc - (tu->gpc - tu->back) < (u64)tu->back + max(tu->glen, (u16)1);
}

static bool is_exit_target(const struct tu *tu, gva_t gpc)
{
	u32 i;

	for (i = 0; i < tu->nexit; i++) {
		if (tu->exit[i].target == gpc)
			return true;
	}
	return false;
}

static void check_recovery(struct bt *bt, const struct tu *tu)
{
	struct bt_state st;
	u32 i;

	for (i = 0; i < tu->len; i++) {
		FUZZ_CHECK(!bt_recover(bt, off_to_tpc(bt, tu->off + i), &st),
			   "tpc without a record");
		FUZZ_CHECK(st.indirect || is_of_tu(tu, st.gpc) ||
				   st.gpc == tu->gpc + tu->glen ||
				   is_exit_target(tu, st.gpc),
			   "recovered to %llx", (unsigned long long)st.gpc);
		FUZZ_CHECK(st.mode == tu->mode, "recovered in another mode");
	}
}

static void note_entry(gva_t gpc)
{
	uint32_t i;

	for (i = 0; i < guest.n_entered; i++) {
		if (guest.entered[i] == gpc)
			return;
	}
	if (guest.n_entered < MAX_ENTERED)
		guest.entered[guest.n_entered++] = gpc;
}

/* Ask at every byte which exit is there; go where exits lead. */
static void check_exits(struct bt *bt, const struct tu *tu)
{
	struct bt_exit x;
	u32 i, n = 0;

	for (i = 0; i < tu->len; i++) {
		bt_exit_at(bt, off_to_tpc(bt, tu->off + i), &x);
		if (x.kind == BT_EXIT_NONE)
			continue;
		n++;
		FUZZ_CHECK(starts[i / 64] >> (i % 64) & 1, "exit at %u", i);
		FUZZ_CHECK(x.mode == tu->mode, "exit in another mode");
		if (x.kind == BT_EXIT_CALLOUT || x.kind == BT_EXIT_UD) {
			FUZZ_CHECK(is_of_tu(tu, x.gpc) && x.insn_len &&
					   !memcmp(x.insn,
						   guest.bytes + (x.gpc -
								  guest.code),
						   min((u64)x.insn_len,
						       guest.code +
							       2 * POPF_PAGE_SIZE -
							       x.gpc)),
				   "exit with other bytes");
			note_entry(x.gpc + x.insn_len);
		} else if (x.kind == BT_EXIT_DIRECT) {
			note_entry(x.target);
		} else {
			note_entry(x.gpc);
		}
	}
	/* A jump back into its own TU may be for good and have no int3. */
	FUZZ_CHECK(n <= tu->nexit, "%u exits of %u are found", n, tu->nexit);
}

static void check_tu(struct bt *bt, const struct tu *tu)
{
	if (tu->dead)
		return;
	decode_host(bt, tu);
	if (tu->kind != TU_CODE)
		return;
	check_records(bt, tu);
	check_recovery(bt, tu);
	check_exits(bt, tu);
}

static void check_tus(struct bt *bt)
{
	u32 i, k;

	for (i = 0; i < bt->nunit; i++) {
		for (k = 0; k < bt->unit[i].ntu; k++)
			check_tu(bt, bt->unit[i].by_tpc[k]);
	}
}

/* --- the course of an input -------------------------------------------------- */

static int enter(struct bt *bt, gva_t gpc, uint32_t nth)
{
	struct bt_exit x = { .kind = BT_EXIT_DIRECT, .target = gpc,
			     .mode = guest.mode };
	tpc_t tpc = 0;
	int ret;

	if (nth % 3 == 1)
		ret = bt_indirect(bt, gpc, guest.mode, &tpc);
	else if (nth % 3 == 2)
		ret = bt_chain(bt, &x, &tpc);
	else
		ret = bt_enter(bt, gpc, guest.mode, &tpc);
	FUZZ_CHECK(!ret || ret == -EFAULT, "entering %llx: %d",
		   (unsigned long long)gpc, ret);
	FUZZ_CHECK(ret || in_tc(bt, tpc), "entering leads to %llx",
		   (unsigned long long)tpc);
	if (gpc - guest.code < POPF_PAGE_SIZE - 15)
		FUZZ_CHECK(!ret, "%llx cannot be entered",
			   (unsigned long long)gpc);
	return ret;
}

static void run(struct bt *bt, gva_t start)
{
	uint32_t i;

	guest.n_entered = 0;
	note_entry(start);
	for (i = 0; i < guest.n_entered; i++) {
		enter(bt, guest.entered[i], i);
		/* What is found in the first round is where the next go. */
		if (!i)
			check_tus(bt);
	}
	check_tus(bt);
	FUZZ_CHECK(bt_audit(bt), "the audit finds something");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bt_stats stats;
	uint32_t off;
	struct bt *bt;

	if (size < 4)
		return 0;
	guest.settings = data[0];
	off = (data[1] | (uint32_t)data[2] << 8) % POPF_PAGE_SIZE;
	memset(guest.bytes, 0xcc, sizeof(guest.bytes));
	size = min(size - 3, sizeof(guest.bytes) - off);
	memcpy(guest.bytes + off, data + 3, size);
	if (guest.settings & SET_SAME_FRAME)
		memcpy(guest.bytes + POPF_PAGE_SIZE, guest.bytes,
		       POPF_PAGE_SIZE);
	guest.code = places[guest.settings & SET_PLACE].code;
	guest.mode = guest.settings & SET_STEP ? BT_MODE_STEP : BT_MODE_LONG;
	bt = translator(guest.settings);
	run(bt, guest.code + off);
	/* A store to the code, then the frame of it, then all. */
	bt_invalidate_gpa(bt, 0x100000 + off, 1);
	bt_invalidate_gpa(bt, 0x100000, 2 * POPF_PAGE_SIZE);
	FUZZ_CHECK(bt_audit(bt), "the audit finds something at the end");
	bt_get_stats(bt, &stats);
	FUZZ_CHECK(!stats.tus_live && !bt_gfn_has_code(bt, 0x100),
		   "code is left of dropped frames");
	bt_destroy(bt);
	return 0;
}
