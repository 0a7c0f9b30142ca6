/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the subcommands of `popf stream` share.
 */
#ifndef POPF_USERLAND_STREAM_TOOL_H
#define POPF_USERLAND_STREAM_TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "userland/stream/stream.h"

enum tool_exit { TOOL_SAME = 0, TOOL_DIFFERENT = 1, TOOL_ERROR = 2 };

struct tool_input {
	const char *path;
	FILE *file;
	struct stream_reader *reader;
};

struct tool_output {
	const char *path;
	FILE *file;
	struct stream_writer *writer;
};

/* Each says on standard error what is wrong before it fails. */
bool tool_open(struct tool_input *in, const char *path);
void tool_close(struct tool_input *in);
/* As stream_next(). */
int tool_next(struct tool_input *in, struct stream_event *ev);
bool tool_create(struct tool_output *out, const char *path);
/* Completes the file, or removes it if !ok. Returns whether it is complete. */
bool tool_finish(struct tool_output *out, bool ok);
bool tool_number(const char *arg, uint64_t *out);
/* Text from a file, without what a terminal would act on. */
void tool_print_text(const char *text);
int tool_usage(const char *what);

/* stream-list.c; argv[0] is the subcommand */
int stream_list(int argc, char **argv);
/* One line about an event. */
void stream_print_event(const struct stream_event *ev,
			const struct stream_reader *r);

/* stream-slice.c, stream-anonymise.c, stream-compare.c */
int stream_slice(int argc, char **argv);
int stream_anonymise(int argc, char **argv);
int stream_compare(int argc, char **argv);

#endif
