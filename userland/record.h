/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Recording a guest: from the module's recording of a vCPU to a stream file.
 *
 * A thread of its own reads what the module has and writes the stream, so that the
 * vCPU waits only when the disk is slower than the guest. When recording starts
 * and stops can depend on what the guest prints: the vCPU's thread looks at its
 * console output and acts between two runs.
 */
#ifndef POPF_USERLAND_RECORD_H
#define POPF_USERLAND_RECORD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <popf.h>

#include "error.h"
#include "userland/stream/stream.h"

#define RECORD_TEXT_MAX	63	/* bytes of --record-from and --record-until */
#define RECORD_WINDOW	(1ULL << 20)
#define RECORD_BURST	(1ULL << 16)
#define RECORD_GAP	(15ULL << 16)

struct record_options {
	const char *out;	/* NULL: no recording */
	const char *from;	/* start when the guest prints this, or NULL */
	const char *until;	/* stop when it prints this, or NULL */
	const char *note;	/* or NULL */
	uint64_t window, burst, gap;	/* entries, see struct popf_record */
};

/* Looks for a text in what goes by. */
struct record_match {
	const char *text;	/* NULL: nothing */
	char last[RECORD_TEXT_MAX + 1];
	size_t len;
};

/* From the module's records to a stream. */
struct record_parser {
	struct stream_writer *writer;
	uint32_t *words;	/* what has not been understood yet */
	size_t count;
	uint64_t strange;	/* entries that name no unit: the guest's doing */
	int ended;		/* -1: not yet, 0, or the errno it ended with */
	char error[128];	/* empty: none */
};

struct recorder {
	struct record_options opt;
	FILE *file;
	char file_buf[1 << 16];
	struct stream_sink sink;
	struct record_parser parser;
	struct record_match from, until;
	int vcpu_fd;
	int fd;			/* of the recording, -1: not started */
	bool thread_exists;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t started;
	bool go;		/* fd is valid, or there will be none */
	atomic_bool want_start, want_stop;
	bool stopped;
	int failed;		/* errno of a system call, 0: none */
};

/* What is known about the run, for the stream's metadata. */
struct record_facts {
	const char *kernel;	/* path */
	uint32_t tsc_khz;	/* 0: unknown */
	int argc;
	char **argv;
};

/* Feeds one character; true when the text has just been completed. */
bool record_match(struct record_match *m, char ch);

/* Room for the parser's words; 0 or -1: no memory. */
int record_parser_init(struct record_parser *p, struct stream_writer *w);
void record_parser_fini(struct record_parser *p);
/* Takes bytes as read() gives them. 0, or -1: p->error says what is wrong. */
int record_parse(struct record_parser *p, const void *data, size_t len);

/*
 * Opens the file and starts the thread; vcpu_fd is the vCPU's. Returns 0 or -1.
 * Nothing is recorded yet.
 */
int recorder_init(struct recorder *r, const struct record_options *opt,
		  int vcpu_fd, const struct record_facts *facts,
		  struct error *err);
/* The guest has printed ch; any thread. */
void recorder_console(struct recorder *r, char ch);
/* The vCPU's thread is between two runs, or before the first. */
void recorder_between_runs(struct recorder *r);
/*
 * The guest has ended: stops, writes the rest. Returns 0, or -1 with err filled
 * when the stream is not what was asked for. Does nothing without recorder_init().
 */
int recorder_finish(struct recorder *r, struct error *err);

#endif
