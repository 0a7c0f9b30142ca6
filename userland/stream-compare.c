// SPDX-License-Identifier: GPL-2.0-only
/* `popf stream compare` */
#include "stream-tool.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The next event that counts: as tool_next(). */
static int next_that_counts(struct tool_input *in, struct stream_event *ev)
{
	int ret;

	do {
		ret = tool_next(in, ev);
	} while (ret == 1 &&
		 (ev->kind == STREAM_META || ev->kind == STREAM_CLOCK));
	return ret;
}

static bool same_tu(const struct stream_tu *a, const struct stream_tu *b)
{
	return a->gva == b->gva && a->mode == b->mode && a->len == b->len &&
	       a->gfn[0] == b->gfn[0] && a->gfn[1] == b->gfn[1] &&
	       !memcmp(a->code, b->code, a->len);
}

static bool same_event(const struct stream_event *a,
		       const struct stream_event *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case STREAM_TU:
		return same_tu(a->tu, b->tu);
	case STREAM_ENTER:
		return a->enter.tu == b->enter.tu &&
		       a->enter.off == b->enter.off &&
		       a->enter.how == b->enter.how;
	case STREAM_INVALIDATE:
		return a->invalidate.cause == b->invalidate.cause &&
		       a->invalidate.gpa == b->invalidate.gpa &&
		       a->invalidate.start == b->invalidate.start &&
		       a->invalidate.len == b->invalidate.len;
	case STREAM_FLUSH:
		return a->flush.cause == b->flush.cause;
	case STREAM_WINDOW:
		return a->window.now == b->window.now &&
		       a->window.skipped == b->window.skipped;
	default:
		return true;
	}
}

static void print_side(const struct tool_input *in, int ret,
		       const struct stream_event *ev)
{
	printf("%s: ", in->path);
	if (ret)
		stream_print_event(ev, in->reader);
	else
		puts("ends");
}

static int compare_events(struct tool_input *a, struct tool_input *b)
{
	struct stream_event ea, eb;
	uint64_t n = 0;
	int ra, rb;

	for (;; n++) {
		ra = next_that_counts(a, &ea);
		rb = next_that_counts(b, &eb);
		if (ra < 0 || rb < 0)
			return TOOL_ERROR;
		if (!ra && !rb)
			return TOOL_SAME;
		if (ra != rb || !same_event(&ea, &eb))
			break;
	}
	printf("the first difference is behind %" PRIu64 " equal events\n", n);
	print_side(a, ra, &ea);
	print_side(b, rb, &eb);
	return TOOL_DIFFERENT;
}

/* --- units as a set -------------------------------------------------------------- */

static int order(const void *pa, const void *pb)
{
	const struct stream_tu *a = *(const struct stream_tu *const *)pa;
	const struct stream_tu *b = *(const struct stream_tu *const *)pb;

	if (a->gva != b->gva)
		return a->gva < b->gva ? -1 : 1;
	if (a->mode != b->mode)
		return a->mode < b->mode ? -1 : 1;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return memcmp(a->code, b->code, a->len);
}

/* All units, sorted, each once; NULL: see standard error. */
static const struct stream_tu **units_of(struct tool_input *in, size_t *n)
{
	const struct stream_tu **list;
	struct stream_event ev;
	size_t i, count;
	int ret;

	while ((ret = tool_next(in, &ev)) == 1)
		;
	if (ret < 0)
		return NULL;
	count = stream_tu_count(in->reader);
	list = malloc((count + 1) * sizeof(*list));
	if (!list) {
		fputs("popf stream: not enough memory\n", stderr);
		return NULL;
	}
	for (i = 0; i < count; i++)
		list[i] = stream_tu(in->reader, (uint32_t)i);
	qsort(list, count, sizeof(*list), order);
	for (*n = 0, i = 0; i < count; i++) {
		if (!*n || order(&list[*n - 1], &list[i]))
			list[(*n)++] = list[i];
	}
	return list;
}

static int compare_units(struct tool_input *a, struct tool_input *b)
{
	const struct stream_tu **la, **lb = NULL;
	size_t na = 0, nb = 0, i = 0, k = 0, both = 0, only_a = 0, only_b = 0;
	int c, ret = TOOL_ERROR;

	la = units_of(a, &na);
	if (la)
		lb = units_of(b, &nb);
	if (!la || !lb)
		goto out;
	while (i < na || k < nb) {
		c = i == na ? 1 : k == nb ? -1 : order(&la[i], &lb[k]);
		both += !c;
		only_a += c < 0;
		only_b += c > 0;
		i += c <= 0;
		k += c >= 0;
	}
	printf("units in both: %zu\nunits in %s only: %zu\nunits in %s only: %zu\n",
	       both, a->path, only_a, b->path, only_b);
	ret = only_a || only_b ? TOOL_DIFFERENT : TOOL_SAME;
out:
	free(la);
	free(lb);
	return ret;
}

int stream_compare(int argc, char **argv)
{
	static const struct option options[] = {
		{ "units", no_argument, NULL, 'u' },
		{ NULL, 0, NULL, 0 },
	};
	struct tool_input a, b;
	bool units = false;
	int c, ret = TOOL_ERROR;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c != 'u')
			return tool_usage("compare has no such option");
		units = true;
	}
	if (argc - optind != 2)
		return tool_usage("compare takes two files");
	if (!tool_open(&a, argv[optind]))
		return TOOL_ERROR;
	if (tool_open(&b, argv[optind + 1])) {
		ret = units ? compare_units(&a, &b) : compare_events(&a, &b);
		tool_close(&b);
	}
	tool_close(&a);
	return ret;
}
