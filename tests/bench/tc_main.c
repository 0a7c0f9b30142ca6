// SPDX-License-Identifier: GPL-2.0-only
/*
 * tc [options] STREAM...: replay recorded streams through the translation cache.
 *
 *	--sizes KIB,...		of the cache (256,512,...,65536)
 *	--policies NAME,...	fifo, flush, clock, generational
 *	--units N,...		pieces of the cache (0: the default)
 *	--limit N		entries of each stream at most
 *	--translate		translate each TU once, follow nothing
 *
 * Writes JSON: what the streams are, a run for each stream, policy, size and pass
 * ("cold": an empty cache; "warm": the same stream once more), and what each class
 * of instruction becomes where nothing is evicted. Sizes ascend.
 */
#include <getopt.h>
#include <stdlib.h>

#include "tc_replay.h"

#define LIST_MAX 16

static const char *const policies[BT_EVICT_COUNT] = { "fifo", "flush", "clock",
						      "generational" };

struct options {
	u32 sizes[LIST_MAX], n_sizes; /* KiB */
	u32 units[LIST_MAX], n_units;
	u32 evict[LIST_MAX], n_evict;
	u64 limit;
	bool translate;
	bool comma; /* a run has been written */
};

static void usage(void)
{
	fprintf(stderr, "usage: tc [--sizes KIB,...] [--policies NAME,...] "
			"[--units N,...] [--limit N] [--translate] STREAM...\n");
	exit(2);
}

static u32 policy_number(const char *name)
{
	u32 i;

	for (i = 0; i < BT_EVICT_COUNT; i++) {
		if (!strcmp(name, policies[i]))
			return i;
	}
	usage();
	return 0;
}

static void parse_list(char *text, u32 *list, u32 *n, bool names)
{
	char *word;

	*n = 0;
	for (word = strtok(text, ","); word; word = strtok(NULL, ",")) {
		if (*n == LIST_MAX)
			usage();
		list[(*n)++] = names ? policy_number(word) : (u32)atoi(word);
	}
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "sizes", required_argument, NULL, 's' },
		{ "policies", required_argument, NULL, 'p' },
		{ "units", required_argument, NULL, 'u' },
		{ "limit", required_argument, NULL, 'l' },
		{ "translate", no_argument, NULL, 't' },
		{ 0 },
	};
	int c;

	for (; o->n_sizes < 9; o->n_sizes++)
		o->sizes[o->n_sizes] = 256u << o->n_sizes;
	for (; o->n_evict < BT_EVICT_COUNT; o->n_evict++)
		o->evict[o->n_evict] = o->n_evict;
	o->n_units = 1;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 's')
			parse_list(optarg, o->sizes, &o->n_sizes, false);
		else if (c == 'p')
			parse_list(optarg, o->evict, &o->n_evict, true);
		else if (c == 'u')
			parse_list(optarg, o->units, &o->n_units, false);
		else if (c == 'l')
			o->limit = strtoull(optarg, NULL, 0);
		else if (c == 't')
			o->translate = true;
		else
			usage();
	}
	if (optind == argc)
		usage();
}

/* --- output ----------------------------------------------------------------- */

static void print_counts(const struct tc_counts *n)
{
#define N(field) printf(", \"" #field "\": %llu", (unsigned long long)n->field)
#define BT(field) \
	printf(", \"" #field "\": %llu", (unsigned long long)n->bt.field)
	N(chained);
	N(ibl_hits);
	N(dispatch_hits);
	N(unchained_hits);
	N(ibl_found);
	N(direct_misses);
	N(ibl_misses);
	N(dispatch_misses);
	printf(", \"miss_cold\": %llu, \"miss_evicted\": %llu, "
	       "\"miss_invalidated\": %llu, \"miss_mode\": %llu",
	       (unsigned long long)n->misses[MISS_COLD],
	       (unsigned long long)n->misses[MISS_EVICTED],
	       (unsigned long long)n->misses[MISS_INVALIDATED],
	       (unsigned long long)n->misses[MISS_MODE]);
	N(returns);
	N(return_hits);
	N(return_first);
	N(jumps);
	N(jump_hits);
	N(jump_first);
	N(resyncs);
	N(unknown);
	N(odd);
	N(ahead);
	N(host_ns);
	BT(tus_translated);
	BT(guest_insns);
	BT(guest_bytes);
	BT(host_bytes);
	BT(chains);
	BT(unchains);
	BT(ibl_fills);
	BT(evictions);
	BT(evicted_tus);
	BT(invalidated_tus);
	BT(spared);
#undef N
#undef BT
}

static void print_run(struct options *o, const struct tc_stream *s,
		      const struct tc_config *cfg, const char *pass,
		      const struct tc_counts *n)
{
	printf("%s\n  {\"stream\": \"%s\", \"policy\": \"%s\", \"size_kib\": %u, "
	       "\"units\": %u, \"pass\": \"%s\"",
	       o->comma ? "," : "", s->name, policies[cfg->evict],
	       cfg->size >> 10, cfg->units, pass);
	o->comma = true;
	print_counts(n);
	printf("}");
	fflush(stdout);
}

static void print_streams(const struct tc_stream *s, u32 n)
{
	u32 i;

	printf("{\"streams\": [");
	for (i = 0; i < n; i++)
		printf("%s\n  {\"name\": \"%s\", \"entries\": %llu, \"tus\": %u, "
		       "\"flushes\": %u}",
		       i ? "," : "", s[i].name,
		       (unsigned long long)s[i].n_entries, s[i].n_tus,
		       s[i].n_flushes);
	printf("],\n \"runs\": [");
}

/* --- runs --------------------------------------------------------------------- */

/*
 * Every size with one policy. Where nothing is evicted, twice the room and more
 * give the same counts: they are not replayed again.
 */
static void run_sizes(struct options *o, const struct tc_stream *s,
		      struct tc_config *cfg)
{
	struct tc_counts n[2];
	u32 i, fits = 0;

	for (i = 0; i < o->n_sizes; i++) {
		cfg->size = o->sizes[i] << 10;
		if (!fits || cfg->size < 2 * fits) {
			tc_replay(s, cfg, 2, n);
			fits = n[0].bt.evictions + n[1].bt.evictions ?
				       0 :
				       cfg->size;
		}
		print_run(o, s, cfg, "cold", &n[0]);
		print_run(o, s, cfg, "warm", &n[1]);
	}
}

static void run_all(struct options *o, const struct tc_stream *s,
		    struct tc_classes *classes)
{
	struct tc_config cfg = { .size = 64u << 20, .classes = classes };
	struct tc_counts n;
	u32 evict, units;

	tc_replay(s, &cfg, 1, &n);
	cfg.classes = NULL;
	for (evict = 0; evict < o->n_evict; evict++) {
		for (units = 0; units < o->n_units; units++) {
			cfg.evict = o->evict[evict];
			cfg.units = o->units[units];
			run_sizes(o, s, &cfg);
		}
	}
}

static void translate_all(const struct tc_stream *s, u32 n)
{
	struct tc_config cfg = { .size = 64u << 20 };
	u64 insns = 0, tus = 0;
	struct bt_stats st;
	u32 i;

	for (i = 0; i < n; i++) {
		tc_translate(&s[i], &cfg, &st);
		insns += st.guest_insns;
		tus += st.tus_translated;
	}
	printf("{\"tus\": %llu, \"guest_insns\": %llu}\n",
	       (unsigned long long)tus, (unsigned long long)insns);
}

int main(int argc, char **argv)
{
	static struct options o;
	struct tc_classes classes;
	struct tc_stream *s;
	u32 n, i;

	parse(argc, argv, &o);
	n = (u32)(argc - optind);
	s = calloc(n, sizeof(*s));
	for (i = 0; i < n; i++)
		tc_stream_read(&s[i], argv[optind + (int)i], o.limit);
	if (o.translate) {
		translate_all(s, n);
		return 0;
	}
	tc_classes_init(&classes);
	print_streams(s, n);
	for (i = 0; i < n; i++)
		run_all(&o, &s[i], &classes);
	printf("],\n \"classes\": ");
	tc_classes_print(&classes, stdout);
	printf("}\n");
	for (i = 0; i < n; i++)
		tc_stream_free(&s[i]);
	free(s);
	return 0;
}
