// SPDX-License-Identifier: GPL-2.0-only
/*
 * `popf stream anonymise`: what is taken out is where the guest's kernel lay (in
 * its address space and in memory), constants that its code holds, when things
 * happened, and metadata that name a machine or a command.
 *
 * What is kept is everything that the translator looks at: lengths, opcodes,
 * registers, relative branches, which page is which. Constants are cleared from
 * four bytes on; they only ever are copied.
 */
#include "stream-tool.h"

#include <Zydis/Zydis.h>
#include <getopt.h>
#include <string.h>

/*
 * Code in the top 2 GiB moves as a whole, to where an unmoved kernel is, and so
 * does what is in the lower half: a kernel that unpacks itself.
 */
#define TOP 0xffffffff80000000ull
#define TOP_CODE 0xffffffff81000000ull
#define BOTTOM_END 0x800000000000ull
#define BOTTOM_CODE 0x1000000ull
#define MOVE_UNIT 0x200000ull
#define FIRST_GFN 0x1000ull

/* A range of addresses that keeps its inner distances. */
struct move {
	uint64_t low, high; /* of the code in it; low > high: none */
	uint64_t down; /* subtracted from its addresses */
};

struct moves {
	struct move top, bottom;
	uint64_t low_gfn;
};

static const char *const kept_keys[] = {
	"made-by", "tc-size", "window", "burst", "gap", "slice",
};

static uint64_t move_gva(const struct moves *m, uint64_t gva)
{
	if (gva >= TOP)
		return gva - m->top.down;
	return gva < BOTTOM_END ? gva - m->bottom.down : gva;
}

static uint64_t move_gfn(const struct moves *m, uint64_t gfn)
{
	return gfn == STREAM_NO_GFN ? gfn : gfn - m->low_gfn + FIRST_GFN;
}

static void extend(struct move *m, const struct stream_tu *tu)
{
	if (tu->gva < m->low)
		m->low = tu->gva;
	if (tu->gva + tu->len - 1 > m->high)
		m->high = tu->gva + tu->len - 1;
}

static void find_moves(struct moves *m, const struct stream_tu *tu)
{
	unsigned int i;

	if (tu->gva >= TOP)
		extend(&m->top, tu);
	else if (tu->gva < BOTTOM_END)
		extend(&m->bottom, tu);
	for (i = 0; i < 2; i++) {
		if (tu->gfn[i] < m->low_gfn)
			m->low_gfn = tu->gfn[i];
	}
}

static void set_move(struct move *m, uint64_t to)
{
	if (m->low > m->high)
		return;
	m->down = (m->low & ~(MOVE_UNIT - 1)) - to;
	/* Upwards only as far as there is room. */
	if (m->low < to && m->high - m->down < m->high)
		m->down = 0;
}

/* Where everything goes: false when the file cannot be read. */
static bool plan(const char *path, struct moves *m)
{
	struct tool_input in;
	struct stream_event ev;
	int ret;

	*m = (struct moves){ .top.low = UINT64_MAX, .bottom.low = UINT64_MAX,
			     .low_gfn = UINT64_MAX };
	if (!tool_open(&in, path))
		return false;
	while ((ret = tool_next(&in, &ev)) == 1) {
		if (ev.kind == STREAM_TU)
			find_moves(m, ev.tu);
	}
	tool_close(&in);
	if (m->low_gfn == UINT64_MAX)
		m->low_gfn = 0;
	set_move(&m->top, TOP_CODE);
	set_move(&m->bottom, BOTTOM_CODE);
	return !ret;
}

static void clear(uint8_t *code, uint32_t at, uint32_t bits)
{
	if (bits >= 32)
		memset(code + at, 0, bits / 8);
}

/* Clear the constants of the instruction at code. */
static void clean_insn(uint8_t *code, const ZydisDecodedInstruction *zi)
{
	unsigned int i;

	clear(code, zi->raw.disp.offset, zi->raw.disp.size);
	for (i = 0; i < 2; i++) {
		if (!zi->raw.imm[i].is_relative)
			clear(code, zi->raw.imm[i].offset, zi->raw.imm[i].size);
	}
}

static void clean_code(uint8_t *code, uint32_t len)
{
	ZydisDecodedInstruction zi;
	ZydisDecoder decoder;
	uint32_t at;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64,
			 ZYDIS_STACK_WIDTH_64);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	for (at = 0; at < len; at += zi.length) {
		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(
			    &decoder, NULL, code + at, len - at, &zi)))
			return; /* #UD: nothing follows in the unit */
		clean_insn(code + at, &zi);
	}
}

static int write_unit(const struct moves *m, const struct stream_tu *tu,
		      struct stream_writer *w)
{
	uint8_t code[STREAM_TU_MAX];
	struct stream_tu moved = *tu;

	memcpy(code, tu->code, tu->len);
	clean_code(code, tu->len);
	moved.code = code;
	moved.gva = move_gva(m, tu->gva);
	moved.gfn[0] = move_gfn(m, tu->gfn[0]);
	moved.gfn[1] = move_gfn(m, tu->gfn[1]);
	return stream_write_tu(w, &moved, NULL);
}

static int write_invalidation(const struct moves *m, struct stream_event *ev,
			      struct stream_writer *w)
{
	uint64_t start = ev->invalidate.start, moved;

	if (ev->invalidate.gpa)
		moved = move_gfn(m, start / STREAM_PAGE) * STREAM_PAGE +
			start % STREAM_PAGE;
	else
		moved = move_gva(m, start);
	/* Memory below all code may be named too: it wraps to the very top. */
	if (moved + (ev->invalidate.len - 1) >= moved)
		ev->invalidate.start = moved;
	return stream_write(w, ev);
}

static int write_meta(const struct stream_event *ev, struct stream_writer *w)
{
	unsigned int i;

	for (i = 0; i < sizeof(kept_keys) / sizeof(kept_keys[0]); i++) {
		if (!strcmp(ev->meta.key, kept_keys[i]))
			return stream_write(w, ev);
	}
	return 0;
}

static int write_event(const struct moves *m, struct stream_event *ev,
		       struct stream_writer *w)
{
	switch (ev->kind) {
	case STREAM_META:
		return write_meta(ev, w);
	case STREAM_CLOCK:
		return 0;
	case STREAM_TU:
		return write_unit(m, ev->tu, w);
	case STREAM_INVALIDATE:
		return write_invalidation(m, ev, w);
	default:
		return stream_write(w, ev);
	}
}

static bool anonymise(const char *path, const struct moves *m,
		      struct stream_writer *w)
{
	struct tool_input in;
	struct stream_event ev;
	bool ok = true;
	int ret = 0;

	if (!tool_open(&in, path))
		return false;
	while (ok && (ret = tool_next(&in, &ev)) == 1)
		ok = !write_event(m, &ev, w);
	if (ok && !ret)
		ok = !stream_write_meta(w, "anonymised", "yes");
	if (!ok)
		fprintf(stderr, "popf stream: %s\n", stream_writer_error(w)->text);
	tool_close(&in);
	return ok && !ret;
}

int stream_anonymise(int argc, char **argv)
{
	static const struct option options[] = {
		{ "out", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	const char *path = NULL;
	struct tool_output out;
	struct moves m;
	bool ok;
	int c;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c != 'o')
			return tool_usage("anonymise has no such option");
		path = optarg;
	}
	if (!path || argc - optind != 1)
		return tool_usage("anonymise takes --out FILE2 and one file");
	if (!plan(argv[optind], &m) || !tool_create(&out, path))
		return TOOL_ERROR;
	ok = anonymise(argv[optind], &m, out.writer);
	return tool_finish(&out, ok) ? TOOL_SAME : TOOL_ERROR;
}
