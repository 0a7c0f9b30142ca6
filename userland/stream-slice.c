// SPDX-License-Identifier: GPL-2.0-only
/*
 * `popf stream slice`: in a first pass, which units are entered in the slice; in
 * the second, those made before it, and then what happened in it.
 */
#include "stream-tool.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NOT_KEPT UINT32_MAX

struct slice {
	const char *path;
	uint64_t from, count;
	uint32_t *map; /* number of a unit in the slice; first 1: it is entered */
	uint32_t units;
};

static bool inside(const struct slice *s, uint64_t entry)
{
	return entry >= s->from && entry - s->from < s->count;
}

static bool note_unit(struct slice *s, uint32_t id)
{
	uint32_t *p;

	/* Twice as much each time it is a power of two. */
	if (!(id & (id - 1))) {
		p = realloc(s->map, (id * 2 + 2) * sizeof(*p));
		if (!p) {
			fputs("popf stream: not enough memory\n", stderr);
			return false;
		}
		s->map = p;
	}
	s->map[id] = 0;
	s->units = id + 1;
	return true;
}

static bool find_units(struct slice *s)
{
	struct tool_input in;
	struct stream_event ev;
	uint64_t entries = 0;
	int ret;

	if (!tool_open(&in, s->path))
		return false;
	while ((ret = tool_next(&in, &ev)) == 1) {
		if (ev.kind == STREAM_TU && !note_unit(s, ev.tu->id)) {
			ret = -1;
			break;
		}
		if (ev.kind == STREAM_ENTER) {
			if (inside(s, entries))
				s->map[ev.enter.tu] = 1;
			entries++;
		}
	}
	tool_close(&in);
	return !ret;
}

static int keep_unit(struct slice *s, const struct stream_tu *tu, bool want,
		     struct stream_writer *w)
{
	bool entered = s->map[tu->id];

	s->map[tu->id] = NOT_KEPT;
	if (!entered && !want)
		return 0;
	return stream_write_tu(w, tu, &s->map[tu->id]);
}

static int write_note(const struct slice *s, struct stream_writer *w)
{
	char text[64];

	snprintf(text, sizeof(text), "%" PRIu64 " entries from %" PRIu64,
		 s->count, s->from);
	return stream_write_meta(w, "slice", text);
}

/* One event of the second pass; entries have come before it. */
static int slice_event(struct slice *s, struct stream_event *ev,
		       uint64_t entries, struct stream_writer *w)
{
	if (ev->kind == STREAM_META)
		return stream_write(w, ev);
	if (ev->kind == STREAM_TU)
		return keep_unit(s, ev->tu, inside(s, entries), w);
	if (ev->kind == STREAM_ENTER) {
		if (!inside(s, entries))
			return 0;
		ev->enter.tu = s->map[ev->enter.tu];
		return stream_write(w, ev);
	}
	/* How complete it is must be known when the slice begins. */
	if (ev->kind == STREAM_WINDOW && entries < s->from) {
		ev->window.skipped = 0;
		return stream_write(w, ev);
	}
	/* Behind the last entry nothing matters any more. */
	return inside(s, entries) ? stream_write(w, ev) : 0;
}

static bool write_slice(struct slice *s, struct stream_writer *w)
{
	struct tool_input in;
	struct stream_event ev;
	uint64_t entries = 0;
	bool ok = true;
	int ret;

	if (!tool_open(&in, s->path))
		return false;
	while (ok && (ret = tool_next(&in, &ev)) == 1) {
		ok = !slice_event(s, &ev, entries, w);
		entries += ev.kind == STREAM_ENTER;
	}
	if (ok && !ret)
		ok = !write_note(s, w);
	if (!ok)
		fprintf(stderr, "popf stream: %s\n", stream_writer_error(w)->text);
	tool_close(&in);
	return ok && !ret;
}

static int slice_to(struct slice *s, const char *path)
{
	struct tool_output out;
	bool ok;

	if (!find_units(s) || !tool_create(&out, path))
		return TOOL_ERROR;
	ok = write_slice(s, out.writer);
	return tool_finish(&out, ok) ? TOOL_SAME : TOOL_ERROR;
}

int stream_slice(int argc, char **argv)
{
	static const struct option options[] = {
		{ "from", required_argument, NULL, 'f' },
		{ "count", required_argument, NULL, 'c' },
		{ "out", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	struct slice s = { .count = UINT64_MAX };
	const char *out = NULL;
	int c, ret;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c == 'o')
			out = optarg;
		else if ((c != 'f' && c != 'c') ||
			 !tool_number(optarg, c == 'f' ? &s.from : &s.count))
			return tool_usage("slice takes --from N, --count N and --out FILE2");
	}
	if (!out || argc - optind != 1)
		return tool_usage("slice takes --out FILE2 and one file");
	s.path = argv[optind];
	ret = slice_to(&s, out);
	free(s.map);
	return ret;
}
