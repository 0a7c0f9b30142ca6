// SPDX-License-Identifier: GPL-2.0-only
/*
 * `popf stream`: look at recorded streams, cut them, take out what identifies a
 * machine, compare them. The subcommands are in stream-*.c.
 */
#include "stream-tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"

static const char help_text[] =
"Usage: popf stream COMMAND [options] FILE...\n"
"\n"
"Works on the streams that 'popf record' writes (docs/stream-format.md).\n"
"\n"
"  list [--events | --units] FILE\n"
"        what is in the stream; with --events every event, with --units every\n"
"        translation unit and how often it was entered\n"
"  slice [--from N] [--count N] --out FILE2 FILE\n"
"        keep N entries from the Nth on (0: the first), and what they need\n"
"  anonymise --out FILE2 FILE\n"
"        move code to other addresses and frames, clear constants of four bytes\n"
"        and more in it, drop times and all that names the machine; what the\n"
"        translator makes of it keeps its shape\n"
"  compare [--units] FILE FILE2\n"
"        do both tell the same, metadata and times aside; with --units: have\n"
"        they the same units, in any order\n"
"\n"
"Exit status: 0 done, or the same; 1 not the same; 2 something given is wrong,\n"
"or a file is damaged: the offset of the damage is said.\n";

int tool_usage(const char *what)
{
	fprintf(stderr, "popf stream: %s: see 'popf stream --help'\n", what);
	return TOOL_ERROR;
}

bool tool_open(struct tool_input *in, const char *path)
{
	struct stream_source src;

	memset(in, 0, sizeof(*in));
	in->path = path;
	in->file = fopen(path, "re");
	if (!in->file) {
		fprintf(stderr, "popf stream: cannot read '%s': %s\n", path,
			strerror(errno));
		return false;
	}
	src = stream_source_file(in->file);
	in->reader = stream_reader_create(&src);
	if (in->reader)
		return true;
	fclose(in->file);
	in->file = NULL;
	fputs("popf stream: not enough memory\n", stderr);
	return false;
}

void tool_close(struct tool_input *in)
{
	stream_reader_destroy(in->reader);
	if (in->file)
		fclose(in->file);
	memset(in, 0, sizeof(*in));
}

int tool_next(struct tool_input *in, struct stream_event *ev)
{
	const struct stream_error *e;
	int ret = stream_next(in->reader, ev);

	if (ret < 0) {
		e = stream_reader_error(in->reader);
		fprintf(stderr, "popf stream: '%s' is damaged at byte %llu: %s\n",
			in->path, (unsigned long long)e->offset, e->text);
	}
	return ret;
}

bool tool_create(struct tool_output *out, const char *path)
{
	struct stream_sink sink;

	memset(out, 0, sizeof(*out));
	out->path = path;
	out->file = fopen(path, "we");
	if (!out->file) {
		fprintf(stderr, "popf stream: cannot write '%s': %s\n", path,
			strerror(errno));
		return false;
	}
	sink = stream_sink_file(out->file);
	out->writer = stream_writer_create(&sink);
	if (out->writer)
		return true;
	fputs("popf stream: not enough memory\n", stderr);
	tool_finish(out, false);
	return false;
}

bool tool_finish(struct tool_output *out, bool ok)
{
	if (out->writer && ok && stream_finish(out->writer)) {
		fprintf(stderr, "popf stream: cannot write '%s': %s\n", out->path,
			stream_writer_error(out->writer)->text);
		ok = false;
	}
	stream_writer_destroy(out->writer);
	if (out->file && fclose(out->file) && ok) {
		fprintf(stderr, "popf stream: cannot write '%s': %s\n", out->path,
			strerror(errno));
		ok = false;
	}
	if (out->file && !ok)
		remove(out->path);
	memset(out, 0, sizeof(*out));
	return ok;
}

bool tool_number(const char *arg, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(arg, &end, 10);
	return *arg >= '0' && *arg <= '9' && !*end && !errno;
}

void tool_print_text(const char *text)
{
	for (; *text; text++)
		putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' :
								     *text);
}

int cmd_stream(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {
		{ "list", stream_list },
		{ "slice", stream_slice },
		{ "anonymise", stream_anonymise },
		{ "compare", stream_compare },
	};
	unsigned int i;

	if (argc < 2)
		return tool_usage("no command given");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		fputs(help_text, stdout);
		return TOOL_SAME;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		if (argc == 3 && (!strcmp(argv[2], "--help") ||
				  !strcmp(argv[2], "-h"))) {
			fputs(help_text, stdout);
			return TOOL_SAME;
		}
		return commands[i].run(argc - 1, argv + 1);
	}
	return tool_usage("there is no such command");
}
