// SPDX-License-Identifier: GPL-2.0-only
/* `popf stream list` */
#include "stream-tool.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct summary {
	uint64_t by_kind[STREAM_KINDS];
	uint64_t by_how[STREAM_HOWS];
	uint64_t by_cause[STREAM_CAUSES];
	uint64_t code_bytes;
	uint64_t middle; /* entries with an offset */
	uint64_t complete; /* entries in complete windows */
	uint64_t ns;
	enum stream_completeness now;
	uint64_t *entered; /* by unit */
	uint32_t room;
};

static void print_code(const struct stream_tu *tu)
{
	uint32_t i;

	for (i = 0; i < tu->len; i++)
		printf("%02x", tu->code[i]);
}

static void print_tu(const struct stream_tu *tu)
{
	printf("%" PRIu32 " %#" PRIx64 " mode %" PRIu32 " gfn %#" PRIx64,
	       tu->id, tu->gva, tu->mode, tu->gfn[0]);
	if (tu->gfn[1] != STREAM_NO_GFN)
		printf(",%#" PRIx64, tu->gfn[1]);
	putchar(' ');
	print_code(tu);
}

void stream_print_event(const struct stream_event *ev,
			const struct stream_reader *r)
{
	const struct stream_tu *tu;

	printf("%s ", stream_kind_name(ev->kind));
	switch (ev->kind) {
	case STREAM_META:
		tool_print_text(ev->meta.key);
		putchar(' ');
		tool_print_text(ev->meta.value);
		break;
	case STREAM_TU:
		print_tu(ev->tu);
		break;
	case STREAM_ENTER:
		tu = stream_tu(r, ev->enter.tu);
		printf("%" PRIu32 " %#" PRIx64 " %s", ev->enter.tu,
		       tu ? tu->gva + ev->enter.off : 0,
		       stream_how_name(ev->enter.how));
		break;
	case STREAM_INVALIDATE:
		printf("%s %s %#" PRIx64 "+%#" PRIx64,
		       stream_cause_name(ev->invalidate.cause),
		       ev->invalidate.gpa ? "gpa" : "gva", ev->invalidate.start,
		       ev->invalidate.len);
		break;
	case STREAM_FLUSH:
		fputs(stream_cause_name(ev->flush.cause), stdout);
		break;
	case STREAM_WINDOW:
		printf("%s skipped %" PRIu64,
		       stream_completeness_name(ev->window.now),
		       ev->window.skipped);
		break;
	case STREAM_CLOCK:
		printf("%" PRIu64, ev->clock.ns);
		break;
	case STREAM_KINDS:
		break;
	}
	putchar('\n');
}

static bool count_entry(struct summary *s, const struct stream_event *ev)
{
	uint32_t room = ev->enter.tu * 2 + 1024;
	uint64_t *p;

	if (ev->enter.tu >= s->room) {
		p = realloc(s->entered, room * sizeof(*p));
		if (!p)
			return false;
		memset(p + s->room, 0, (room - s->room) * sizeof(*p));
		s->entered = p;
		s->room = room;
	}
	s->entered[ev->enter.tu]++;
	s->by_how[ev->enter.how]++;
	s->middle += ev->enter.off != 0;
	s->complete += s->now == STREAM_COMPLETE;
	return true;
}

static bool count_event(struct summary *s, const struct stream_event *ev)
{
	s->by_kind[ev->kind]++;
	if (ev->kind == STREAM_TU)
		s->code_bytes += ev->tu->len;
	else if (ev->kind == STREAM_INVALIDATE)
		s->by_cause[ev->invalidate.cause]++;
	else if (ev->kind == STREAM_FLUSH)
		s->by_cause[ev->flush.cause]++;
	else if (ev->kind == STREAM_WINDOW)
		s->now = ev->window.now;
	else if (ev->kind == STREAM_CLOCK)
		s->ns = ev->clock.ns;
	else if (ev->kind == STREAM_ENTER)
		return count_entry(s, ev);
	return true;
}

static void print_summary(const struct summary *s,
			  const struct stream_reader *r)
{
	struct stream_totals t;
	unsigned int i;

	stream_reader_totals(r, &t);
	printf("units: %" PRIu64 ", %" PRIu64 " bytes of code\n", t.tus,
	       s->code_bytes);
	printf("entries: %" PRIu64 ", %" PRIu64 " of them in complete windows, %"
	       PRIu64 " known to be left out\n",
	       t.entries, s->complete, t.skipped);
	for (i = 0; i < STREAM_HOWS; i++)
		printf("entries by %s: %" PRIu64 "\n",
		       stream_how_name((enum stream_how)i), s->by_how[i]);
	printf("entries in the middle of a unit: %" PRIu64 "\n", s->middle);
	printf("invalidations: %" PRIu64 ", flushes: %" PRIu64 "\n",
	       s->by_kind[STREAM_INVALIDATE], s->by_kind[STREAM_FLUSH]);
	for (i = 0; i < STREAM_CAUSES; i++) {
		if (s->by_cause[i])
			printf("dropped for %s: %" PRIu64 "\n",
			       stream_cause_name((enum stream_cause)i),
			       s->by_cause[i]);
	}
	printf("guest time: %.6f s\n", (double)s->ns / 1e9);
}

static void print_units(const struct summary *s, const struct stream_reader *r)
{
	uint32_t id;

	for (id = 0; id < stream_tu_count(r); id++) {
		printf("%" PRIu64 " ", id < s->room ? s->entered[id] : 0);
		print_tu(stream_tu(r, id));
		putchar('\n');
	}
}

enum list_what { LIST_SUMMARY, LIST_EVENTS, LIST_UNITS };

static int list(struct tool_input *in, enum list_what what, struct summary *s)
{
	struct stream_event ev;
	int ret;

	while ((ret = tool_next(in, &ev)) == 1) {
		if (what == LIST_EVENTS ||
		    (what == LIST_SUMMARY && ev.kind == STREAM_META))
			stream_print_event(&ev, in->reader);
		if (!count_event(s, &ev)) {
			fputs("popf stream: not enough memory\n", stderr);
			return TOOL_ERROR;
		}
	}
	if (ret < 0)
		return TOOL_ERROR;
	if (what == LIST_SUMMARY)
		print_summary(s, in->reader);
	if (what == LIST_UNITS)
		print_units(s, in->reader);
	return TOOL_SAME;
}

int stream_list(int argc, char **argv)
{
	static const struct option options[] = {
		{ "events", no_argument, NULL, 'e' },
		{ "units", no_argument, NULL, 'u' },
		{ NULL, 0, NULL, 0 },
	};
	enum list_what what = LIST_SUMMARY;
	struct summary s = { .now = STREAM_OFF };
	struct tool_input in;
	int c, ret;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c != 'e' && c != 'u')
			return tool_usage("list has no such option");
		what = c == 'e' ? LIST_EVENTS : LIST_UNITS;
	}
	if (argc - optind != 1)
		return tool_usage("list takes one file");
	if (!tool_open(&in, argv[optind]))
		return TOOL_ERROR;
	ret = list(&in, what, &s);
	tool_close(&in);
	free(s.entered);
	return ret;
}
