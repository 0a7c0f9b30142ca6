// SPDX-License-Identifier: GPL-2.0-only
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef POPF_VERSION
#define POPF_VERSION "unknown"
#endif

/* In the header of a bzImage: where its version string is, minus 0x200. */
#define KERNEL_VERSION_PTR 0x20e

bool record_match(struct record_match *m, char ch)
{
	size_t want;

	if (!m->text)
		return false;
	want = strlen(m->text);
	if (m->len == want) {
		memmove(m->last, m->last + 1, want - 1);
		m->len--;
	}
	m->last[m->len++] = ch;
	return m->len == want && !memcmp(m->last, m->text, want);
}

/* --- metadata ------------------------------------------------------------------ */

static void put_meta(struct stream_writer *w, const char *key, const char *text)
{
	char value[STREAM_VALUE_MAX + 1];

	snprintf(value, sizeof(value), "%s", text);
	stream_write_meta(w, key, value);
}

/* A bzImage says which kernel it is. */
static void put_kernel(struct stream_writer *w, const char *path)
{
	char text[128] = "";
	uint16_t at = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (pread(fd, &at, 2, KERNEL_VERSION_PTR) == 2 && at &&
	    pread(fd, text, sizeof(text) - 1, at + 0x200) > 0)
		put_meta(w, "kernel", text);
	close(fd);
}

static void put_tc_size(struct stream_writer *w)
{
	FILE *f = fopen("/sys/module/popf/parameters/tc_mib", "re");
	char text[32];
	unsigned int mib;

	if (!f)
		return;
	if (fscanf(f, "%u", &mib) == 1) {
		snprintf(text, sizeof(text), "%u", mib << 20);
		put_meta(w, "tc-size", text);
	}
	fclose(f);
}

static void put_command(struct stream_writer *w,
			const struct record_facts *facts)
{
	char text[STREAM_VALUE_MAX + 1] = "";
	const char *arg;
	size_t n = 0;
	int i;

	for (i = 0; i < facts->argc && n < sizeof(text); i++) {
		arg = facts->argv[i];
		/* Where files lie on this machine is nobody's business. */
		if (*arg == '/')
			arg = strrchr(arg, '/') + 1;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s",
				      i ? " " : "", arg);
	}
	put_meta(w, "command", text);
}

static void put_number(struct stream_writer *w, const char *key, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	put_meta(w, key, text);
}

static void put_facts(struct recorder *r, const struct record_facts *facts)
{
	struct stream_writer *w = r->parser.writer;
	struct utsname host;
	char clock[40];

	put_meta(w, "made-by", "popf " POPF_VERSION);
	put_command(w, facts);
	put_kernel(w, facts->kernel);
	if (r->opt.note)
		put_meta(w, "note", r->opt.note);
	if (!uname(&host))
		put_meta(w, "host", host.release);
	put_tc_size(w);
	if (facts->tsc_khz) {
		snprintf(clock, sizeof(clock), "tsc-khz %u", facts->tsc_khz);
		put_meta(w, "clock", clock);
	}
	put_number(w, "window", r->opt.window);
	put_number(w, "burst", r->opt.burst);
	put_number(w, "gap", r->opt.gap);
}

/* --- the thread ------------------------------------------------------------------ */

static int wait_for_fd(struct recorder *r)
{
	int fd;

	pthread_mutex_lock(&r->lock);
	while (!r->go)
		pthread_cond_wait(&r->started, &r->lock);
	fd = r->fd;
	pthread_mutex_unlock(&r->lock);
	return fd;
}

/*
 * Up to the end of the recording, or to an error: the file is closed then, and the
 * module records no longer.
 */
static void *record_thread(void *opaque)
{
	struct recorder *r = opaque;
	int fd = wait_for_fd(r);
	static char buf[1 << 18];
	ssize_t n;

	if (fd < 0)
		return NULL;
	for (;;) {
		n = read(fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r->failed = errno;
		if (n <= 0 || record_parse(&r->parser, buf, (size_t)n))
			break;
	}
	close(fd);
	return NULL;
}

static void set_fd(struct recorder *r, int fd)
{
	pthread_mutex_lock(&r->lock);
	r->fd = fd;
	r->go = true;
	pthread_cond_signal(&r->started);
	pthread_mutex_unlock(&r->lock);
}

/* --- for the run ----------------------------------------------------------------- */

static int open_file(struct recorder *r, struct error *err)
{
	r->file = fopen(r->opt.out, "we");
	if (!r->file)
		return error_caller(err, "cannot write the recording to '%s' (%s): check the path",
				    r->opt.out, strerror(errno));
	/* with a buffer of its own stdio does not ask what kind of file it is */
	setvbuf(r->file, r->file_buf, _IOFBF, sizeof(r->file_buf));
	return 0;
}

int recorder_init(struct recorder *r, const struct record_options *opt,
		  int vcpu_fd, const struct record_facts *facts,
		  struct error *err)
{
	struct stream_writer *w;

	/* A heap for each thread would open files of /proc, in the sandbox too. */
	mallopt(M_ARENA_MAX, 1);
	r->opt = *opt;
	r->vcpu_fd = vcpu_fd;
	r->fd = -1;
	if (open_file(r, err) < 0)
		return -1;
	r->sink = stream_sink_file(r->file);
	w = stream_writer_create(&r->sink);
	if (!w || record_parser_init(&r->parser, w)) {
		stream_writer_destroy(w);
		return error_failure(err, "not enough memory to record");
	}
	put_facts(r, facts);
	r->from.text = opt->from;
	r->until.text = opt->until;
	atomic_store(&r->want_start, !opt->from);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->started, NULL);
	if (pthread_create(&r->thread, NULL, record_thread, r))
		return error_failure(err, "cannot start the recorder's thread");
	r->thread_exists = true;
	return 0;
}

void recorder_console(struct recorder *r, char ch)
{
	if (record_match(&r->from, ch))
		atomic_store(&r->want_start, true);
	if (r->go && record_match(&r->until, ch))
		atomic_store(&r->want_stop, true);
}

static void start(struct recorder *r)
{
	const struct popf_record cfg = {
		.window = r->opt.window,
		.burst = r->opt.burst,
		.gap = r->opt.gap,
	};
	int fd = ioctl(r->vcpu_fd, POPF_RECORD_START, &cfg);

	if (fd < 0)
		r->failed = errno;
	set_fd(r, fd);
}

static void stop(struct recorder *r)
{
	if (r->stopped || r->fd < 0)
		return;
	r->stopped = true;
	/* ENOENT: it has ended by itself, and says why */
	if (ioctl(r->vcpu_fd, POPF_RECORD_STOP, 0) < 0 && errno != ENOENT)
		r->failed = errno;
}

void recorder_between_runs(struct recorder *r)
{
	if (!r->thread_exists)
		return;
	if (atomic_load(&r->want_start) && !r->go)
		start(r);
	if (atomic_load(&r->want_stop))
		stop(r);
}

static int conclude(struct recorder *r, struct error *err)
{
	const char *out = r->opt.out;

	if (r->failed)
		return error_failure(err, "the recording in '%s' is not complete: %s",
				     out, strerror(r->failed));
	if (r->parser.error[0])
		return error_failure(err, "the recording in '%s' is not complete: %s",
				     out, r->parser.error);
	if (r->fd < 0)
		return error_failure(err, "nothing is recorded in '%s': the guest never printed '%s'",
				     out, r->opt.from ?: "");
	if (r->parser.ended)
		return error_failure(err, "the recording in '%s' ended early: %s",
				     out, strerror(r->parser.ended > 0 ?
							   r->parser.ended : EIO));
	if (r->parser.strange)
		fprintf(stderr, "popf: the guest spoilt %llu entries of the recording\n",
			(unsigned long long)r->parser.strange);
	return 0;
}

int recorder_finish(struct recorder *r, struct error *err)
{
	int ret, written;

	if (!r->thread_exists)
		return 0;
	if (!r->go)
		set_fd(r, -1);
	stop(r);
	pthread_join(r->thread, NULL);
	r->thread_exists = false;
	ret = conclude(r, err);
	written = stream_finish(r->parser.writer);
	written |= fclose(r->file);
	if (!ret && written)
		ret = error_failure(err, "cannot write the recording to '%s'",
				    r->opt.out);
	stream_writer_destroy(r->parser.writer);
	record_parser_fini(&r->parser);
	return ret;
}
