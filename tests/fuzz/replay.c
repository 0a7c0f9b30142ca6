// SPDX-License-Identifier: GPL-2.0-only
/*
 * A main() for fuzz targets without libFuzzer: runs every file named, and every
 * file in a folder named, and prints TAP. Built by AFL++'s compiler it takes its
 * inputs from afl-fuzz instead when it has no arguments.
 */
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_MAX (1u << 20)

#ifdef __AFL_COMPILER

__AFL_FUZZ_INIT();

static int from_afl(void)
{
	const unsigned char *buf;

	__AFL_INIT();
	buf = __AFL_FUZZ_TESTCASE_BUF;
	while (__AFL_LOOP(10000))
		LLVMFuzzerTestOneInput(buf, (size_t)__AFL_FUZZ_TESTCASE_LEN);
	return 0;
}

#else

static int from_afl(void)
{
	fprintf(stderr, "usage: replay FILE|FOLDER...\n");
	return 2;
}

#endif

static unsigned int n_inputs;
static const char *last;

/* An input ends the process: say which. */
static void say_last(int sig)
{
	static const char text[] = "replay: ends badly: ";
	ssize_t n = write(2, text, sizeof(text) - 1);

	n += write(2, last, strlen(last));
	n += write(2, "\n", 1);
	signal(sig, SIG_DFL);
	if (n)
		raise(sig);
}

/* In memory of its exact size, so that a sanitizer sees reads behind it. */
static bool run_file(const char *path)
{
	unsigned char *whole = malloc(INPUT_MAX), *exact;
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f || !whole) {
		perror(path);
		exit(2);
	}
	n = fread(whole, 1, INPUT_MAX, f);
	fclose(f);
	exact = malloc(n ? n : 1);
	memcpy(exact, whole, n);
	free(whole);
	last = path;
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	n_inputs++;
	return true;
}

static void run_folder(const char *path)
{
	struct dirent **list;
	char name[4096];
	int n = scandir(path, &list, NULL, alphasort), i;

	if (n < 0) {
		perror(path);
		exit(2);
	}
	for (i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.') {
			snprintf(name, sizeof(name), "%s/%s", path,
				 list[i]->d_name);
			run_file(name);
		}
		free(list[i]);
	}
	free(list);
}

int main(int argc, char **argv)
{
	struct stat st;
	int i;

	if (argc < 2)
		return from_afl();
	signal(SIGABRT, say_last);
	for (i = 1; i < argc; i++) {
		if (!stat(argv[i], &st) && S_ISDIR(st.st_mode))
			run_folder(argv[i]);
		else
			run_file(argv[i]);
	}
	printf("%s 1 - %u inputs end well\n", n_inputs ? "ok" : "not ok",
	       n_inputs);
	return !n_inputs;
}
