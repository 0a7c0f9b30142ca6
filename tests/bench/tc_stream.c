// SPDX-License-Identifier: GPL-2.0-only
/* Reading a stream into memory once, so that it can be replayed many times. */
#include <stdlib.h>

#include "tc_replay.h"

struct growing {
	size_t events, ranges; /* room */
};

static void *grow(void *p, size_t *room, size_t n, size_t size)
{
	if (n < *room)
		return p;
	*room = *room ? *room * 2 : 1024;
	p = realloc(p, *room * size);
	if (!p) {
		fprintf(stderr, "tc: not enough memory\n");
		exit(1);
	}
	return p;
}

static struct tc_event *add_event(struct tc_stream *s, struct growing *g,
				  enum stream_kind kind)
{
	struct tc_event *e;

	s->events = grow(s->events, &g->events, s->n_events, sizeof(*e));
	e = &s->events[s->n_events++];
	memset(e, 0, sizeof(*e));
	e->kind = (u8)kind;
	return e;
}

/* What the recording's own cache or the recorder did is not the guest's doing. */
static bool is_guests(enum stream_cause cause)
{
	return cause != STREAM_CAUSE_FULL && cause != STREAM_CAUSE_RECORDER;
}

static void add_range(struct tc_stream *s, struct growing *g,
		      const struct stream_event *ev)
{
	struct tc_event *e = add_event(s, g, STREAM_INVALIDATE);

	e->how = ev->invalidate.gpa;
	e->tu = s->n_ranges;
	s->ranges = grow(s->ranges, &g->ranges, s->n_ranges,
			 sizeof(*s->ranges));
	s->ranges[s->n_ranges].start = ev->invalidate.start;
	s->ranges[s->n_ranges++].len = ev->invalidate.len;
}

static void keep(struct tc_stream *s, struct growing *g,
		 const struct stream_event *ev)
{
	struct tc_event *e;

	switch (ev->kind) {
	case STREAM_TU:
		add_event(s, g, STREAM_TU)->tu = ev->tu->id;
		break;
	case STREAM_ENTER:
		e = add_event(s, g, STREAM_ENTER);
		e->tu = ev->enter.tu;
		e->off = (u16)ev->enter.off;
		e->how = (u8)ev->enter.how;
		s->n_entries++;
		break;
	case STREAM_INVALIDATE:
		if (is_guests(ev->invalidate.cause))
			add_range(s, g, ev);
		break;
	case STREAM_FLUSH:
		if (is_guests(ev->flush.cause)) {
			add_event(s, g, STREAM_FLUSH);
			s->n_flushes++;
		}
		break;
	case STREAM_WINDOW:
		add_event(s, g, STREAM_WINDOW);
		break;
	default:
		break;
	}
}

void tc_stream_read(struct tc_stream *s, const char *name, u64 limit)
{
	struct stream_source source;
	struct growing g = { 0 };
	struct stream_event ev;
	int ret;

	memset(s, 0, sizeof(*s));
	s->name = name;
	s->file = fopen(name, "rb");
	if (!s->file) {
		perror(name);
		exit(2);
	}
	source = stream_source_file(s->file);
	s->reader = stream_reader_create(&source);
	if (!s->reader)
		exit(1);
	while ((ret = stream_next(s->reader, &ev)) > 0) {
		keep(s, &g, &ev);
		if (limit && s->n_entries >= limit)
			break;
	}
	if (ret < 0) {
		const struct stream_error *err = stream_reader_error(s->reader);

		fprintf(stderr, "%s: damaged at offset %llu: %s\n", name,
			(unsigned long long)err->offset, err->text);
		exit(2);
	}
	s->n_tus = stream_tu_count(s->reader);
}

void tc_stream_free(struct tc_stream *s)
{
	stream_reader_destroy(s->reader);
	fclose(s->file);
	free(s->events);
	free(s->ranges);
}
