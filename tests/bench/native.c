// SPDX-License-Identifier: GPL-2.0-only
/*
 * native IMAGE [--check] [--pairs N] [--only NAME]: the programs of the image
 * (tests/bench/native) natively and translated, in turn, in one process.
 *
 * Each pair of runs is one native and one translated run of the same rounds;
 * times are CPU time of the thread. Prints JSON, whose fields docs/translator-speed.md
 * tells. --check: two short runs of each, and whether the checksums are equal, as TAP.
 * --code FILE: leave the emitted code there, for
 * objdump -D -b binary -m i386:x86-64 --adjust-vma=0x60200000.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "popf/env.h"
#include "tests/diff/bt_rig.h"

#define IMAGE 0x44000000ull
#define IMAGE_MAX (1u << 20)
#define TC_SIZE (4u << 20)
#define PAIRS_MAX 501u

struct program {
	char name[24];
	char set[8];
	u64 run, rounds, few;
};

struct programs {
	char magic[8];
	u64 count, start;
	struct program list[];
};

struct outcome {
	u64 native_sum, translated_sum;
	bool ended;
};

static const struct programs *const image = (const void *)IMAGE;
static struct rig rig;
static double native_ns[PAIRS_MAX], translated_ns[PAIRS_MAX], ratios[PAIRS_MAX];

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void load(const char *name)
{
	int fd = open(name, O_RDONLY);
	ssize_t n;

	rig_map_code(IMAGE, IMAGE_MAX);
	n = fd < 0 ? -1 : read(fd, (void *)IMAGE, IMAGE_MAX);
	if (n <= 0 || n == IMAGE_MAX || memcmp(image->magic, "programs", 8)) {
		fprintf(stderr, "native: %s is not the image of the programs\n", name);
		exit(2);
	}
	close(fd);
}

static void start_state(const struct program *p, u64 rounds, struct rig_state *st)
{
	memset(st, 0, sizeof(*st));
	st->rip = image->start;
	st->gpr[0] = p->run;
	st->gpr[7] = rounds;
	st->gpr[4] = RIG_STACK + RIG_STACK_SIZE - 64;
}

/* One run of each kind; the times in ns. */
static struct outcome pair(const struct program *p, u64 rounds, double *native,
			   double *translated)
{
	struct outcome out = { .ended = true };
	static struct rig_result r;
	struct rig_state st;
	double t0, t1, t2;

	start_state(p, rounds, &st);
	t0 = now();
	rig_native(&rig, &st, false, &r);
	t1 = now();
	out.native_sum = r.st.gpr[0];
	out.ended = r.stop == RIG_END;
	t1 = now() - (now() - t1);
	*native = t1 - t0;
	t1 = now();
	rig_translated(&rig, &st, false, &r);
	t2 = now();
	*translated = t2 - t1;
	out.translated_sum = r.st.gpr[0];
	out.ended = out.ended && r.stop == RIG_END;
	return out;
}

static bool same(const struct outcome *o)
{
	return o->ended && o->native_sum == o->translated_sum;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The value a part of the way up; sorts. */
static double quantile(double *v, u32 n, double part)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[(u32)((double)(n - 1) * part)];
}

static bool measure(const struct program *p, u32 pairs, bool last)
{
	struct bt_stats before, after;
	struct outcome o = { 0 };
	bool ok = true;
	double ignored;
	u32 i;

	bt_flush(rig.bt);
	bt_get_stats(rig.bt, &before);
	pair(p, p->few, &ignored, &ignored);
	pair(p, p->rounds, &ignored, &ignored);
	for (i = 0; i < pairs; i++) {
		o = pair(p, p->rounds, &native_ns[i], &translated_ns[i]);
		ratios[i] = translated_ns[i] / native_ns[i];
		ok = ok && same(&o);
	}
	bt_get_stats(rig.bt, &after);
	printf("    {\"name\": \"%s\", \"set\": \"%s\", \"equal\": %s, "
	       "\"checksum\": \"%016llx\", \"rounds\": %llu,\n"
	       "     \"native_ns\": %.0f, \"translated_ns\": %.0f, "
	       "\"ratio\": %.3f, \"ratio_low\": %.3f, \"ratio_high\": %.3f,\n"
	       "     \"tus\": %llu, \"guest_insns\": %llu, "
	       "\"guest_bytes\": %llu, \"host_bytes\": %llu}%s\n",
	       p->name, p->set, ok ? "true" : "false",
	       (unsigned long long)o.native_sum, (unsigned long long)p->rounds,
	       quantile(native_ns, pairs, 0.5), quantile(translated_ns, pairs, 0.5),
	       quantile(ratios, pairs, 0.5), quantile(ratios, pairs, 0.25),
	       quantile(ratios, pairs, 0.75),
	       (unsigned long long)(after.tus_translated - before.tus_translated),
	       (unsigned long long)(after.guest_insns - before.guest_insns),
	       (unsigned long long)(after.guest_bytes - before.guest_bytes),
	       (unsigned long long)(after.host_bytes - before.host_bytes),
	       last ? "" : ",");
	fflush(stdout);
	return ok;
}

static bool check(void)
{
	struct outcome o;
	double ignored;
	bool ok = true;
	u32 i;

	for (i = 0; i < image->count; i++) {
		/* The second time runs through links and pads. */
		pair(&image->list[i], image->list[i].few, &ignored, &ignored);
		o = pair(&image->list[i], image->list[i].few + 1, &ignored, &ignored);
		ok = ok && same(&o);
		printf("%sok %u - %s computes the same natively and translated\n",
		       same(&o) ? "" : "not ", i + 1, image->list[i].name);
	}
	printf("1..%u\n", i);
	return ok;
}

static void save_code(const char *name)
{
	FILE *f = fopen(name, "wb");

	if (!f || fwrite((void *)(RIG_WINDOW + WINDOW_TC_OFF), 1, TC_SIZE, f) != TC_SIZE ||
	    fclose(f))
		perror(name);
}

int main(int argc, char **argv)
{
	const char *only = NULL, *code = NULL;
	bool checking = false, ok = true;
	u32 pairs = 41, i, last = 0;

	for (i = 2; i < (u32)argc; i++) {
		if (!strcmp(argv[i], "--check"))
			checking = true;
		else if (!strcmp(argv[i], "--pairs") && i + 1 < (u32)argc)
			pairs = (u32)atoi(argv[++i]);
		else if (!strcmp(argv[i], "--only") && i + 1 < (u32)argc)
			only = argv[++i];
		else if (!strcmp(argv[i], "--code") && i + 1 < (u32)argc)
			code = argv[++i];
		else
			argc = 0;
	}
	if (argc < 2 || !pairs || pairs > PAIRS_MAX) {
		fprintf(stderr, "usage: native IMAGE [--check] [--pairs N] [--only NAME] [--code FILE]\n");
		return 2;
	}
	rig_init(&rig, TC_SIZE);
	load(argv[1]);
	if (checking)
		return !check();
	for (i = 0; i < image->count; i++) {
		if (!only || !strcmp(only, image->list[i].name))
			last = i;
	}
	printf("{\n  \"pairs\": %u,\n  \"programs\": [\n", pairs);
	for (i = 0; i < image->count; i++) {
		if (!only || !strcmp(only, image->list[i].name))
			ok = measure(&image->list[i], pairs, i == last) && ok;
	}
	printf("  ]\n}\n");
	if (code)
		save_code(code);
	rig_exit(&rig);
	return !ok;
}
