/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Recorded instruction streams: what the translator saw of a guest, and which
 * translation units (TUs) were executed in which order. docs/stream-format.md
 * describes the file; this is the library that reads and writes it.
 *
 * A stream is a sequence of events. The reader hands them out one by one, the
 * writer takes them one by one; neither keeps more than the TUs and one block.
 * Nothing here knows of the translator or of files: bytes come from a struct
 * stream_source and go to a struct stream_sink.
 *
 * Parts: stream_code.c (checksum, numbers, prediction), stream_read.c,
 * stream_write.c, stream_image.c (guest memory as far as the stream knows it).
 *
 * Invariants:
 *  1. TUs are numbered from 0 in the order of their events; an event refers to
 *     earlier TUs only.
 *  2. The reader trusts nothing: damage of any kind ends in an error with its
 *     offset, memory stays in proportion to what has been read.
 *  3. No globals: any number of readers and writers, in any threads.
 */
#ifndef POPF_STREAM_H
#define POPF_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define STREAM_VERSION 1u
#define STREAM_PAGE 4096u
#define STREAM_TU_MAX 1024u /* code bytes of a TU */
#define STREAM_TUS_MAX (1u << 24)
#define STREAM_MODE_MAX 255u
#define STREAM_KEY_MAX 63u /* bytes of a metadata key */
#define STREAM_VALUE_MAX 4095u
#define STREAM_NO_GFN (~0ull)

enum stream_kind {
	STREAM_META, /* a fact about the recording */
	STREAM_TU, /* a TU was translated */
	STREAM_ENTER, /* a TU was entered */
	STREAM_INVALIDATE, /* TUs over a range were dropped */
	STREAM_FLUSH, /* all TUs were dropped */
	STREAM_WINDOW, /* how complete the entries are from here on */
	STREAM_CLOCK, /* guest time */
	STREAM_KINDS
};

/* How control came to a TU. */
enum stream_how {
	STREAM_HOW_CODE, /* from translated code, without the monitor */
	STREAM_HOW_DIRECT, /* a direct branch whose target had no TU yet */
	STREAM_HOW_INDIRECT, /* an indirect branch whose lookup missed */
	STREAM_HOW_DISPATCH, /* the monitor went there: event, emulation, resume */
	STREAM_HOWS
};

/* Why TUs were dropped. */
enum stream_cause {
	STREAM_CAUSE_WRITE, /* the guest stored to their code */
	STREAM_CAUSE_MAPPING, /* their gva leads elsewhere, or nowhere */
	STREAM_CAUSE_CR3, /* another top-level page table entry */
	STREAM_CAUSE_MODE, /* paging or protection was reconfigured */
	STREAM_CAUSE_FULL, /* the translation cache was full (evicted) */
	STREAM_CAUSE_RECORDER, /* the recorder started or stopped */
	STREAM_CAUSE_OTHER,
	STREAM_CAUSES
};

enum stream_completeness {
	STREAM_OFF, /* no entries are recorded */
	STREAM_COMPLETE, /* every one */
	STREAM_SAMPLED, /* bursts; .skipped counts what is between them */
	STREAM_COMPLETENESSES
};

/*
 * A TU as translated: contiguous guest code of one or two pages. The code never
 * crosses more than one page boundary.
 */
struct stream_tu {
	uint32_t id;
	uint32_t mode; /* BT_MODE_* */
	uint64_t gva;
	uint64_t gfn[2]; /* of each page covered; [1]: STREAM_NO_GFN if one */
	uint32_t len; /* 1..STREAM_TU_MAX */
	const uint8_t *code;
};

struct stream_event {
	enum stream_kind kind;
	uint64_t offset; /* in the file, of what says so */
	union {
		struct {
			const char *key; /* until the next event */
			const char *value;
		} meta;
		const struct stream_tu *tu; /* as long as the reader */
		struct {
			uint32_t tu;
			uint32_t off; /* guest bytes into the TU */
			enum stream_how how;
		} enter;
		struct {
			enum stream_cause cause;
			bool gpa; /* else the range is of gvas */
			uint64_t start;
			uint64_t len; /* at least 1, start + len - 1 fits */
		} invalidate;
		struct {
			enum stream_cause cause;
		} flush;
		struct {
			enum stream_completeness now;
			uint64_t skipped; /* entries left out just before */
		} window;
		struct {
			uint64_t ns; /* since the recording began, ascending */
		} clock;
	};
};

enum stream_code {
	STREAM_OK,
	STREAM_DAMAGED, /* truncated or corrupt */
	STREAM_NEWER, /* a version this library does not know */
	STREAM_IO, /* the source or sink failed */
	STREAM_NOMEM,
	STREAM_MISUSE, /* the writer was given an impossible event */
};

struct stream_error {
	enum stream_code code;
	uint64_t offset; /* of the damage, in bytes from the start */
	char text[96]; /* what is wrong there, no full stop */
};

struct stream_totals {
	uint64_t events; /* all, entries included */
	uint64_t entries;
	uint64_t tus;
	uint64_t skipped; /* entries known to have been left out */
};

/* --- where bytes come from and go ------------------------------------------ */

struct stream_source {
	/* Up to len bytes: how many, 0 at the end, negative on failure. */
	long (*read)(void *opaque, void *buf, size_t len);
	void *opaque;
};

struct stream_sink {
	/* All len bytes: 0, or negative on failure. */
	int (*write)(void *opaque, const void *buf, size_t len);
	void *opaque;
};

/* The state of a source in memory. */
struct stream_mem {
	const uint8_t *data;
	size_t len;
	size_t pos;
};

struct stream_source stream_source_mem(struct stream_mem *mem);
struct stream_source stream_source_file(FILE *file);
struct stream_sink stream_sink_file(FILE *file);

/* --- reading (stream_read.c) ------------------------------------------------ */

struct stream_reader;

/* NULL: no memory. The source's state must outlive the reader. */
struct stream_reader *stream_reader_create(const struct stream_source *source);
void stream_reader_destroy(struct stream_reader *r);

/*
 * The next event: 1; 0 at the end of an undamaged stream; -1: see
 * stream_reader_error(), and every later call says the same.
 */
int stream_next(struct stream_reader *r, struct stream_event *ev);
const struct stream_error *stream_reader_error(const struct stream_reader *r);

/* TUs seen so far: 0 <= id < count. NULL for an id outside. */
uint32_t stream_tu_count(const struct stream_reader *r);
const struct stream_tu *stream_tu(const struct stream_reader *r, uint32_t id);

/* What has been handed out so far. */
void stream_reader_totals(const struct stream_reader *r,
			  struct stream_totals *out);

/* --- writing (stream_write.c) ------------------------------------------------ */

struct stream_writer;

/* NULL: no memory. */
struct stream_writer *stream_writer_create(const struct stream_sink *sink);
/* Without stream_finish() before, the file is a truncated one. */
void stream_writer_destroy(struct stream_writer *w);

/*
 * Append an event; ev->offset is not used, and of a TU the id is not: it gets
 * the next one. 0, or -1: see stream_writer_error(), which is sticky.
 */
int stream_write(struct stream_writer *w, const struct stream_event *ev);
/* Write what is held back and the end mark. As stream_write(). */
int stream_finish(struct stream_writer *w);
const struct stream_error *stream_writer_error(const struct stream_writer *w);
uint32_t stream_writer_tu_count(const struct stream_writer *w);

/* Shorthands of stream_write(). *id, if not NULL, is the TU's number. */
int stream_write_meta(struct stream_writer *w, const char *key,
		      const char *value);
int stream_write_tu(struct stream_writer *w, const struct stream_tu *tu,
		    uint32_t *id);
int stream_write_enter(struct stream_writer *w, uint32_t tu, uint32_t off,
		       enum stream_how how);

/* --- guest memory (stream_image.c) ------------------------------------------- */

/*
 * The guest's code as far as the stream has shown it: give it every TU event as
 * it comes, and fetch from it what a translator asks for.
 */
struct stream_image;

/* What bytes that no TU has covered read as: HLT, which ends any TU. */
#define STREAM_UNKNOWN_BYTE 0xf4u

struct stream_image *stream_image_create(void);
void stream_image_destroy(struct stream_image *im);
/* 0, or -1: no memory. */
int stream_image_add(struct stream_image *im, const struct stream_tu *tu);
/*
 * len bytes at gva, within one page: 0 with the frame in *gfn, or -1: no TU has
 * ever had code in that page. *known, if not NULL, gets how many bytes from gva
 * on are really known.
 */
int stream_image_fetch(const struct stream_image *im, uint64_t gva, void *buf,
		       uint32_t len, uint64_t *gfn, uint32_t *known);

/* --- names ------------------------------------------------------------------- */

/* A lower-case word, or "?" for a value outside the enum. */
const char *stream_kind_name(enum stream_kind kind);
const char *stream_how_name(enum stream_how how);
const char *stream_cause_name(enum stream_cause cause);
const char *stream_completeness_name(enum stream_completeness c);

#endif
