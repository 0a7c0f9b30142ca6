// SPDX-License-Identifier: GPL-2.0-only
/*
 * diff [--seed N] [--runs N] [--time SECONDS] [--near|--far] [--features BITS]
 *      [--keep-going] [--all]
 *
 * Runs random programs natively and translated until the first that differs, which
 * it makes small and prints, or until runs or time are over; then says how many of
 * what. --seed without --runs repeats that one seed. See bt_diff.h.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bt_diff.h"

#define TC_SIZE (1u << 20)

static struct {
	u64 seed, runs, seconds, place;
	int features;
	bool keep_going;
} want = { .seed = 1, .features = -1 };

static void options(int argc, char **argv)
{
	static const struct option list[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "runs", required_argument, NULL, 'r' },
		{ "time", required_argument, NULL, 't' },
		{ "features", required_argument, NULL, 'f' },
		{ "near", no_argument, NULL, 'n' },
		{ "far", no_argument, NULL, 'F' },
		{ "keep-going", no_argument, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "", list, NULL)) != -1) {
		switch (o) {
		case 's':
			want.seed = strtoull(optarg, NULL, 0);
			break;
		case 'r':
			want.runs = strtoull(optarg, NULL, 0);
			break;
		case 't':
			want.seconds = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			want.features = (int)strtol(optarg, NULL, 0);
			break;
		case 'n':
			want.place = RIG_NEAR;
			break;
		case 'F':
			want.place = RIG_FAR;
			break;
		case 'k':
			want.keep_going = true;
			break;
		default:
			fprintf(stderr, "diff: see the head of tests/diff/diff.c\n");
			exit(2);
		}
	}
	if (!want.runs && !want.seconds)
		want.runs = 1;
}

static bool over(u64 done, time_t start)
{
	return (want.runs && done >= want.runs) ||
	       (want.seconds && (u64)(time(NULL) - start) >= want.seconds);
}

int main(int argc, char **argv)
{
	time_t start = time(NULL);
	struct diff_stats stats = { 0 };
	static struct rig rig;
	u64 i, place;

	options(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	rig_init(&rig, TC_SIZE);
	if (!rig_guard(&rig)) {
		fprintf(stderr, "diff: this kernel cannot keep random code from system calls (it needs Linux 5.11)\n");
		return 77;
	}
	for (i = 0; !over(i, start); i++) {
		place = want.place ? want.place : i & 1 ? RIG_FAR : RIG_NEAR;
		if (diff_one(&rig, want.seed + i, place, want.features,
			     &stats) == DIFF_DIFFERS &&
		    !want.keep_going)
			break;
		if (i % 4096 == 4095 && !bt_audit(rig.bt))
			return 1;
	}
	printf("%llu programs from seed %llu: %llu alike, %llu differ as documented, %llu endless, %llu not for a process, %llu differ; %llu end in faults, %llu changed code\n",
	       (unsigned long long)i, (unsigned long long)want.seed,
	       (unsigned long long)stats.outcome[DIFF_SAME],
	       (unsigned long long)stats.outcome[DIFF_KNOWN],
	       (unsigned long long)stats.outcome[DIFF_ENDLESS],
	       (unsigned long long)stats.outcome[DIFF_FOREIGN],
	       (unsigned long long)stats.outcome[DIFF_DIFFERS],
	       (unsigned long long)stats.faults,
	       (unsigned long long)stats.stores_to_code);
	/* For tests/diff/test-diff: it would prove little if most did not count. */
	if (stats.outcome[DIFF_SAME] < i * 9 / 10 || stats.outcome[DIFF_DIFFERS])
		return 1;
	return 0;
}
