// SPDX-License-Identifier: GPL-2.0-only
/*
 * What translating costs: bt_translate [FILE] translates the C library's code (or
 * FILE's bytes) block after block, several times over, and prints nanoseconds
 * and bytes per guest instruction. Under `valgrind --tool=callgrind` or `perf
 * stat` it gives instructions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "popf/bt.h"
#include "popf/env.h"

#define WINDOW 0xfffffffff0000000ull
#define GUEST 0xffffffff81000000ull
#define TC_SIZE (16u << 20)

unsigned long env_fail_alloc;

static u8 *code;
static size_t code_len;

static int fetch(void *opaque, gva_t gva, void *buf, u32 len, gfn_t *gfn)
{
	u64 off = gva - GUEST;

	if (off + len > code_len)
		return -EFAULT;
	memcpy(buf, code + off, len);
	*gfn = gva >> POPF_PAGE_SHIFT;
	return 0;
}

static void untrace(void *opaque, gfn_t gfn)
{
}

static const struct bt_ops ops = { .fetch = fetch, .untrace = untrace };

static void read_file(const char *name)
{
	FILE *f = fopen(name, "rb");

	if (!f) {
		perror(name);
		exit(2);
	}
	code = malloc(64u << 20);
	code_len = fread(code, 1, 64u << 20, f);
	fclose(f);
}

/* The executable mapping of the C library in this process. */
static void take_libc(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (!strstr(line, "libc.so") || !strstr(line, "r-xp") ||
		    sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		code = (u8 *)from;
		code_len = to - from;
	}
	if (f)
		fclose(f);
	if (!code) {
		fprintf(stderr, "bt_translate: no C library found, name a file\n");
		exit(2);
	}
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

int main(int argc, char **argv)
{
	struct bt_config cfg = { .window = WINDOW, .tc_size = TC_SIZE,
				 .has_fsgsbase = true };
	u32 rounds = getenv("ROUNDS") ? (u32)atoi(getenv("ROUNDS")) : 5, i;
	struct bt_stats s;
	struct bt *bt;
	double t0, t1;
	tpc_t tpc;
	u64 gpc;

	if (argc > 1)
		read_file(argv[1]);
	else
		take_libc();
	cfg.tc = malloc(TC_SIZE);
	cfg.ibl_tpc = malloc(WINDOW_IBL_ENTRIES * 8);
	cfg.bounce_code = malloc(4096);
	bt = bt_create(&cfg, &ops, NULL);
	if (!bt)
		return 1;
	t0 = now();
	for (i = 0; i < rounds; i++) {
		u64 bytes = 0;

		bt_flush(bt);
		for (gpc = GUEST; gpc < GUEST + code_len - 4096;) {
			bt_get_stats(bt, &s);
			bytes = s.guest_bytes;
			if (bt_enter(bt, gpc, BT_MODE_LONG, &tpc))
				break;
			bt_get_stats(bt, &s);
			bytes = s.guest_bytes - bytes;
			gpc += bytes ? bytes : 1;
		}
	}
	t1 = now();
	bt_get_stats(bt, &s);
	printf("%llu TUs, %llu instructions, %.2f per TU, %.1f ns per instruction, "
	       "%.2f host bytes per guest byte\n",
	       (unsigned long long)s.tus_translated,
	       (unsigned long long)s.guest_insns,
	       (double)s.guest_insns / (double)s.tus_translated,
	       (t1 - t0) / (double)s.guest_insns,
	       (double)s.host_bytes / (double)s.guest_bytes);
	return 0;
}
