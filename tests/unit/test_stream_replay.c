// SPDX-License-Identifier: GPL-2.0-only
/*
 * The streams of tests/stream, recorded from real kernels, through the real
 * translator and cache: each TU decodes back to the guest's instructions, its
 * exits lead where the guest's branches lead, every host instruction knows which
 * guest instruction it belongs to, the links between TUs are consistent all the
 * time, and the emitted code changes only when somebody means it to.
 *
 * `make stream-rebase` writes the golden files (tests/stream/NAME.golden) anew;
 * POPF_STREAMS is another folder to look in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bt/bt.h"
#include "userland/stream-tool.h"
#include "userland/stream/stream.h"

unsigned long env_fail_alloc;

#define TC_SIZE (8u << 20)
#define TC_SMALL (256u << 10)
#define STREAMS_MIN 4
#define AUDIT_EVERY 20000u

/* What a replay adds up to: the golden files hold this. */
struct sums {
	u64 units, insns, guest_bytes, host_bytes, exits, digest;
};

struct replay {
	struct bt *bt;
	struct stream_image *image;
	bool verify;
	struct sums sums;
	u64 copied, branches, callouts, opaque, states;
	bool jumped; /* the instruction looked at was straightened */
	bool bad;
};

static u8 bounce_code[POPF_PAGE_SIZE];
static ZydisDecoder decoder;

/* --- the guest's code ------------------------------------------------------------ */

static int fetch(void *opaque, gva_t gva, void *buf, u32 len, gfn_t *gfn)
{
	struct replay *r = opaque;
	uint64_t frame;

	if (stream_image_fetch(r->image, gva, buf, len, &frame, NULL))
		return -EFAULT;
	*gfn = frame;
	return 0;
}

static void untrace(void *opaque, gfn_t gfn)
{
}

/* len bytes at gva, perhaps from two pages; what is not there is not filled in. */
static void code_at(struct replay *r, gva_t gva, u8 *buf, u32 len)
{
	u32 n = POPF_PAGE_SIZE - gva % POPF_PAGE_SIZE;
	gfn_t gfn;

	if (n > len)
		n = len;
	fetch(r, gva, buf, n, &gfn);
	if (n < len)
		fetch(r, gva + n, buf + n, len - n, &gfn);
}

/* --- one TU ------------------------------------------------------------------------ */

static void offence(struct replay *r, const struct tu *tu, gva_t gpc,
		    const char *what)
{
	if (!r->bad)
		print_message("TU %llx, instruction %llx: %s\n",
			      (unsigned long long)tu->gpc,
			      (unsigned long long)gpc, what);
	r->bad = true;
}

static u8 *host_at(struct replay *r, const struct tu *tu, u32 toff)
{
	return r->bt->cfg.tc + tu->off + toff;
}

static const struct tu_exit *find_exit(const struct tu *tu, u32 kind, gva_t at)
{
	u32 i;

	for (i = 0; i < tu->nexit; i++) {
		const struct tu_exit *x = &tu->exit[i];

		if (x->kind != kind)
			continue;
		if ((kind == BT_EXIT_CALLOUT || kind == BT_EXIT_UD ? x->gpc :
								     x->target) == at)
			return x;
	}
	return NULL;
}

static bool is_rip_relative(const ZydisDecodedInstruction *zi)
{
	return zi->attributes & ZYDIS_ATTRIB_HAS_MODRM &&
	       zi->raw.modrm.mod == 0 && zi->raw.modrm.rm == 5;
}

/* Where the RIP-relative operand of the instruction at `at` is; 0: it has none. */
static u64 operand_address(const u8 *code, u64 at, ZydisMnemonic mnemonic)
{
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction zi;
	ZyanU64 address;
	u32 i;

	if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, code, 15, &zi, op)) ||
	    !is_rip_relative(&zi) || zi.mnemonic != mnemonic)
		return 0;
	for (i = 0; i < zi.operand_count; i++) {
		if (op[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&zi, &op[i], at,
							  &address)))
			return address;
	}
	return 0;
}

/*
 * Is gpc what follows from `from` by instructions that need no host code: direct
 * jmps that were straightened, and those that do nothing?
 */
static bool follows_silently(struct replay *r, gva_t from, gva_t gpc)
{
	ZydisDecodedInstruction zi;
	u8 code[15] = { 0 };
	u32 i, cls;

	for (i = 0; i < BT_TU_INSNS && from != gpc; i++) {
		code_at(r, from, code, 15);
		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(
			    &decoder, NULL, code, 15, &zi)))
			return false;
		cls = classify(&zi);
		if (cls != CLS_NOTHING &&
		    (cls != CLS_JMP || !zi.raw.imm[0].is_relative))
			return false;
		from += zi.length;
		if (cls == CLS_JMP)
			from += (u64)zi.raw.imm[0].value.s;
	}
	return from == gpc;
}

static void check_copied(struct replay *r, const struct tu *tu, gva_t gpc,
			 const u8 *code, const ZydisDecodedInstruction *zi,
			 u32 toff)
{
	u64 here, there;

	r->copied++;
	if (!is_rip_relative(zi)) {
		if (memcmp(host_at(r, tu, toff), code, zi->length))
			offence(r, tu, gpc, "is not copied as it is");
		return;
	}
	here = operand_address(code, gpc, zi->mnemonic);
	there = operand_address(host_at(r, tu, toff),
				off_to_tpc(r->bt, tu->off + toff),
				zi->mnemonic);
	/* Far away the address is in a register instead. */
	if (there && here != there)
		offence(r, tu, gpc, "refers to something else");
}

/* Two bytes at toff that jump back to instruction target of the TU? */
static bool jumps_back(struct replay *r, const struct tu *tu, u32 toff,
		       gva_t target)
{
	const u8 *host = host_at(r, tu, toff);

	return (host[0] & 0xf0) == 0x70 &&
	       is_boundary(tu, tu->off + toff + 2 + (u32)(s8)host[1], target);
}

/* Direct branches: next is the boundary that follows in the TU. */
static void check_branch(struct replay *r, const struct tu *tu, gva_t gpc,
			 const ZydisDecodedInstruction *zi, u32 toff,
			 gva_t next)
{
	gva_t target = gpc + zi->length + (u64)zi->raw.imm[0].value.s;
	u32 kind = tu->mode & BT_MODE_STEP ? BT_EXIT_STEP : BT_EXIT_DIRECT;

	r->branches++;
	r->jumped = zi->mnemonic == ZYDIS_MNEMONIC_JMP && next &&
		    follows_silently(r, target, next);
	if (!r->jumped && !find_exit(tu, kind, target) &&
	    !jumps_back(r, tu, toff, target))
		offence(r, tu, gpc, "leads elsewhere");
}

static void check_callout(struct replay *r, const struct tu *tu, gva_t gpc,
			  const u8 *code, u32 kind, u32 len)
{
	const struct tu_exit *x = find_exit(tu, kind, gpc);

	r->callouts++;
	if (!x || (len && (x->len != len || memcmp(x->insn, code, len))))
		offence(r, tu, gpc, "has no exit of its own");
}

/* Returns the instruction's length, 0 when it is none. */
static u32 check_insn(struct replay *r, const struct tu *tu, gva_t gpc,
		      u32 toff, gva_t next)
{
	ZydisDecodedInstruction zi;
	u8 code[16] = { 0 };
	u32 cls;

	r->jumped = false;
	code_at(r, gpc, code, 15);
	if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, NULL, code, 15,
						      &zi))) {
		check_callout(r, tu, gpc, code, BT_EXIT_UD, 0);
		return 0;
	}
	cls = classify(&zi);
	/* A step of a repeated string instruction is one round of it. */
	if (tu->mode & BT_MODE_STEP &&
	    zi.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
			     ZYDIS_ATTRIB_HAS_REPNE))
		return zi.length;
	if (cls == CLS_COPY || cls == CLS_VERBATIM)
		check_copied(r, tu, gpc, code, &zi, toff);
	else if ((cls == CLS_JMP || cls == CLS_JCC || cls == CLS_LOOP ||
		  cls == CLS_CALL) && zi.raw.imm[0].is_relative)
		check_branch(r, tu, gpc, &zi, toff, next);
	else if (cls == CLS_CALLOUT || cls == CLS_NONE)
		check_callout(r, tu, gpc, code, BT_EXIT_CALLOUT, zi.length);
	else if (cls == CLS_UD)
		check_callout(r, tu, gpc, code, BT_EXIT_UD, zi.length);
	return zi.length;
}

/*
 * Each host instruction of [from, to): a fault there is the fault of gpc, or it
 * has committed and the guest is at what comes next.
 */
static void check_states(struct replay *r, const struct tu *tu, gva_t gpc,
			 u32 len, u32 from, u32 to)
{
	ZydisDecodedInstruction zi;
	struct bt_state st;
	u32 at;

	for (at = from; at < to; at += zi.length) {
		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(
			    &decoder, NULL, host_at(r, tu, at), to - at, &zi))) {
			offence(r, tu, gpc, "has host code that is none");
			return;
		}
		r->states++;
		if (bt_recover(r->bt, off_to_tpc(r->bt, tu->off + at), &st)) {
			offence(r, tu, gpc, "has host code without a record");
			return;
		}
		r->opaque += st.opaque;
		if (st.opaque || st.indirect || st.gpc == gpc ||
		    follows_silently(r, gpc + len, st.gpc))
			continue;
		if (!find_exit(tu, BT_EXIT_DIRECT, st.gpc) &&
		    !find_exit(tu, BT_EXIT_STEP, st.gpc))
			offence(r, tu, gpc, "would be restarted elsewhere");
	}
	bt_recover(r->bt, off_to_tpc(r->bt, tu->off + from), &st);
	if (st.gpc != gpc || st.opaque || st.indirect || st.spilled)
		offence(r, tu, gpc, "does not start in an exact state");
}

static void verify(struct replay *r, const struct tu *tu)
{
	static struct bt_rec rec[BT_TU_RECS];
	struct rec_iter it;
	u32 n = 0, i, k, len = 0, to;
	gva_t gpc, next, due = tu->gpc;

	rec_iter_init(&it, tu);
	while (rec_iter_next(&it))
		rec[n++] = it.rec;
	for (i = 0; i < n; i = k) {
		for (k = i + 1; k < n && !(rec[k].flags & REC_BOUNDARY);)
			k++;
		if (!(rec[i].flags & REC_BOUNDARY))
			continue; /* the pad in front */
		gpc = tu->gpc + (u64)(s64)rec[i].goff;
		to = k < n ? rec[k].toff : tu->len;
		next = k < n ? tu->gpc + (u64)(s64)rec[k].goff : 0;
		if (!follows_silently(r, due, gpc))
			offence(r, tu, gpc, "is out of turn");
		if (tu->gpc - gpc > tu->back && gpc - tu->gpc >= tu->glen)
			offence(r, tu, gpc, "is outside of its TU");
		len = check_insn(r, tu, gpc, rec[i].toff, next);
		check_states(r, tu, gpc, len, rec[i].toff, to);
		due = gpc + len;
		/* A straightened jmp: check_branch() has looked at it. */
		if (r->jumped)
			due = next;
	}
}

static u64 digest(u64 h, const void *data, size_t len)
{
	const u8 *p = data;

	while (len--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

static void made(void *opaque, gva_t gpc, u32 mode, bool ahead)
{
	struct replay *r = opaque;
	const struct tu *tu = tu_lookup(r->bt, gpc, mode);
	struct sums *s = &r->sums;
	u64 head[4];

	assert_non_null(tu);
	head[0] = gpc;
	head[1] = mode | (u64)tu->glen << 8 | (u64)tu->back << 24;
	head[2] = tu->len | (u64)tu->nexit << 32 | (u64)tu->rec_len << 40;
	head[3] = tu->off;
	s->exits += tu->nexit;
	s->digest = digest(s->digest, head, sizeof(head));
	s->digest = digest(s->digest, host_at(r, tu, 0), tu->len);
	s->digest = digest(s->digest, tu_recs(tu), tu->rec_len);
	if (r->verify)
		verify(r, tu);
}

/* --- replaying --------------------------------------------------------------------- */

static const struct bt_ops ops = {
	.fetch = fetch,
	.untrace = untrace,
	.made = made,
};

static void replay_init(struct replay *r, u32 tc_size)
{
	struct bt_config cfg = {
		.window = WINDOW_BASE_DEFAULT,
		.tc_size = tc_size,
		.bounce_code = bounce_code,
		.has_fsgsbase = true,
		.apic_in_place = true,
		.user_return = true,
	};

	memset(r, 0, sizeof(*r));
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64,
			 ZYDIS_STACK_WIDTH_64);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	cfg.tc = malloc(tc_size);
	cfg.ibl_tpc = malloc(WINDOW_IBL_ENTRIES * 8);
	r->sums.digest = 0xcbf29ce484222325ull;
	r->image = stream_image_create();
	r->bt = bt_create(&cfg, &ops, r);
	assert_non_null(r->bt);
}

static void replay_fini(struct replay *r)
{
	u8 *tc = r->bt->cfg.tc;
	u64 *ibl_tpc = r->bt->cfg.ibl_tpc;

	bt_destroy(r->bt);
	stream_image_destroy(r->image);
	free(tc);
	free(ibl_tpc);
}

/* What is entered is what was translated, so nobody has changed it since. */
static void assert_code_is_current(struct replay *r, const struct stream_tu *tu)
{
	u8 code[STREAM_TU_MAX];

	code_at(r, tu->gva, code, tu->len);
	assert_memory_equal(code, tu->code, tu->len);
}

static void enter(struct replay *r, const struct stream_reader *stream,
		  const struct stream_event *ev)
{
	const struct stream_tu *tu = stream_tu(stream, ev->enter.tu);
	gva_t gpc = tu->gva + ev->enter.off;
	struct bt_state st;
	tpc_t tpc;

	assert_code_is_current(r, tu);
	if (ev->enter.how == STREAM_HOW_INDIRECT)
		assert_int_equal(bt_indirect(r->bt, gpc, tu->mode, &tpc), 0);
	else
		assert_int_equal(bt_enter(r->bt, gpc, tu->mode, &tpc), 0);
	assert_int_equal(bt_recover(r->bt, tpc, &st), 0);
	assert_true(follows_silently(r, gpc, st.gpc));
	assert_int_equal(st.spilled, 0);
}

static void apply(struct replay *r, const struct stream_reader *stream,
		  const struct stream_event *ev)
{
	u64 start = ev->invalidate.start, len = ev->invalidate.len;

	switch (ev->kind) {
	case STREAM_TU:
		assert_int_equal(stream_image_add(r->image, ev->tu), 0);
		break;
	case STREAM_ENTER:
		enter(r, stream, ev);
		break;
	case STREAM_INVALIDATE:
		if (ev->invalidate.gpa)
			bt_invalidate_gpa(r->bt, start, (u32)len);
		else
			bt_invalidate_gva_range(r->bt, start, start + len - 1);
		assert_true(bt_audit(r->bt));
		break;
	case STREAM_FLUSH:
		bt_flush(r->bt);
		break;
	default:
		break;
	}
}

static void replay(struct replay *r, const char *path)
{
	struct stream_event ev;
	struct tool_input in;
	u64 n = 0;
	int ret;

	assert_true(tool_open(&in, path));
	while ((ret = tool_next(&in, &ev)) == 1) {
		apply(r, in.reader, &ev);
		if (!(++n % AUDIT_EVERY))
			assert_true(bt_audit(r->bt));
		if (r->bad)
			break;
	}
	assert_int_equal(ret, 0);
	assert_true(bt_audit(r->bt));
	tool_close(&in);
}

/* --- golden files -------------------------------------------------------------------- */

static void take_sums(struct replay *r)
{
	struct bt_stats st;

	bt_get_stats(r->bt, &st);
	r->sums.units = st.tus_translated;
	r->sums.insns = st.guest_insns;
	r->sums.guest_bytes = st.guest_bytes;
	r->sums.host_bytes = st.host_bytes;
}

static void print_sums(FILE *f, const struct sums *s)
{
	fprintf(f, "units %" PRIu64 "\ninstructions %" PRIu64 "\nguest-bytes %"
		   PRIu64 "\nhost-bytes %" PRIu64 "\nexits %" PRIu64
		   "\ndigest %016" PRIx64 "\n",
		(uint64_t)s->units, (uint64_t)s->insns, (uint64_t)s->guest_bytes,
		(uint64_t)s->host_bytes, (uint64_t)s->exits,
		(uint64_t)s->digest);
}

/* path.stream to path.golden */
static FILE *golden(const char *path, const char *mode)
{
	char name[512];

	snprintf(name, sizeof(name), "%.*s.golden", (int)(strlen(path) - 7),
		 path);
	return fopen(name, mode);
}

static bool same_as_golden(const char *path, const struct sums *s)
{
	char want[512] = "", have[512] = "";
	FILE *f = golden(path, "r"), *mem;

	if (f) {
		want[fread(want, 1, sizeof(want) - 1, f)] = '\0';
		fclose(f);
	}
	mem = fmemopen(have, sizeof(have), "w");
	print_sums(mem, s);
	fclose(mem);
	if (!strcmp(want, have))
		return true;
	print_message("%s: is now\n%sand was\n%sIf that is meant: make stream-rebase\n",
		      path, have, want);
	return false;
}

/* --- tests -------------------------------------------------------------------------- */

static glob_t streams;
/* Not those of the tree: nothing is known of how much is in them. */
static bool others;

static int find_streams(void **state)
{
	const char *folder = getenv("POPF_STREAMS");
	char pattern[256];

	others = folder;
	snprintf(pattern, sizeof(pattern), "%s/*.stream",
		 folder ? folder : "tests/stream");
	return glob(pattern, 0, NULL, &streams) ? -1 : 0;
}

static int drop_streams(void **state)
{
	globfree(&streams);
	return 0;
}

static void test_units_are_what_the_guest_has(void **state)
{
	bool rebase = getenv("POPF_STREAM_REBASE"), same = true;
	struct replay r;
	FILE *f;
	size_t i;

	assert_true(others || streams.gl_pathc >= STREAMS_MIN);
	for (i = 0; i < streams.gl_pathc; i++) {
		replay_init(&r, TC_SIZE);
		r.verify = true;
		replay(&r, streams.gl_pathv[i]);
		if (r.bad)
			print_message("in %s\n", streams.gl_pathv[i]);
		assert_false(r.bad);
		/* Nothing of this has been looked at in vain. */
		assert_true(others || (r.copied > 1000 && r.branches > 1000 &&
				       r.callouts && r.states > r.copied &&
				       r.opaque < r.states / 20));
		take_sums(&r);
		if (rebase) {
			f = golden(streams.gl_pathv[i], "w");
			assert_non_null(f);
			print_sums(f, &r.sums);
			assert_int_equal(fclose(f), 0);
		} else {
			same &= same_as_golden(streams.gl_pathv[i], &r.sums);
		}
		replay_fini(&r);
	}
	assert_true(same);
}

static void test_small_cache_stays_consistent(void **state)
{
	struct bt_stats st;
	struct replay r;
	size_t i;

	for (i = 0; i < streams.gl_pathc; i++) {
		replay_init(&r, TC_SMALL);
		replay(&r, streams.gl_pathv[i]);
		bt_get_stats(r.bt, &st);
		assert_true(others || st.evictions > 0);
		replay_fini(&r);
	}
}

/* The TU of one recorded unit, alone in the cache. */
static const struct tu *alone(struct replay *r, const struct stream_tu *tu)
{
	tpc_t tpc;

	assert_int_equal(stream_image_add(r->image, tu), 0);
	bt_flush(r->bt);
	assert_int_equal(bt_enter(r->bt, tu->gva, tu->mode, &tpc), 0);
	return tu_lookup(r->bt, tu->gva, tu->mode);
}

static void assert_same_shape(const struct tu *a, const struct tu *b)
{
	u32 i;

	assert_int_equal(a->len, b->len);
	assert_int_equal(a->glen, b->glen);
	assert_int_equal(a->back, b->back);
	assert_int_equal(a->rec_len, b->rec_len);
	assert_int_equal(a->nexit, b->nexit);
	for (i = 0; i < a->nexit; i++) {
		assert_int_equal(a->exit[i].kind, b->exit[i].kind);
		assert_int_equal(a->exit[i].stub, b->exit[i].stub);
		assert_int_equal(a->exit[i].site, b->exit[i].site);
	}
}

static int next_tu(struct tool_input *in, struct stream_event *ev)
{
	int ret;

	do {
		ret = tool_next(in, ev);
	} while (ret == 1 && ev->kind != STREAM_TU);
	return ret;
}

static void test_anonymised_units_keep_their_shape(void **state)
{
	char path[] = "/tmp/popf-stream-XXXXXX";
	char *argv[] = { "anonymise", "--out", path, streams.gl_pathv[0], NULL };
	struct stream_event ea, eb;
	struct tool_input a, b;
	struct replay ra, rb;
	u32 n, same_code = 0;

	/* Not of code that jumps into the middle of its instructions. */
	if (others)
		skip();
	close(mkstemp(path));
	assert_int_equal(stream_anonymise(4, argv), TOOL_SAME);
	assert_true(tool_open(&a, streams.gl_pathv[0]));
	assert_true(tool_open(&b, path));
	replay_init(&ra, TC_SMALL);
	replay_init(&rb, TC_SMALL);
	for (n = 0; n < 1500 && next_tu(&a, &ea) == 1; n++) {
		assert_int_equal(next_tu(&b, &eb), 1);
		assert_int_equal(ea.tu->len, eb.tu->len);
		assert_int_equal(ea.tu->gva % STREAM_PAGE,
				 eb.tu->gva % STREAM_PAGE);
		same_code += !memcmp(ea.tu->code, eb.tu->code, ea.tu->len);
		assert_same_shape(alone(&ra, ea.tu), alone(&rb, eb.tu));
	}
	assert_true(n > 1000 && same_code < n * 9 / 10);
	replay_fini(&ra);
	replay_fini(&rb);
	tool_close(&a);
	tool_close(&b);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_units_are_what_the_guest_has),
		cmocka_unit_test(test_small_cache_stays_consistent),
		cmocka_unit_test(test_anonymised_units_keep_their_shape),
	};

	return cmocka_run_group_tests(tests, find_streams, drop_streams);
}
