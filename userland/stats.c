// SPDX-License-Identifier: GPL-2.0-only
/*
 * JSON statistics: the launcher's own, and the module's through the binary
 * statistics interface (header, descriptors, data; see KVM_GET_STATS_FD).
 */
#include "stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define NAME_MAX_BYTES	256
#define DESC_MAX	4096
#define VALUES_MAX	1024

/* The value of one line of /proc/self/status in KiB, -1 when missing. */
static long status_kib(const char *text, const char *key)
{
	const char *line = strstr(text, key);

	return line ? strtol(line + strlen(key), NULL, 10) : -1;
}

static void write_memory(FILE *out, int fd)
{
	static const struct {
		const char *key, *name;
	} lines[] = {
		{ "VmHWM:", "rss_peak_kib" },
		{ "RssAnon:", "rss_anon_kib" },
		{ "RssFile:", "rss_file_kib" },
		{ "RssShmem:", "rss_shmem_kib" },
	};
	char text[4096];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	unsigned int i;

	if (n <= 0)
		return;
	text[n] = '\0';
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		fprintf(out, "    \"%s\": %ld,\n", lines[i].name,
			status_kib(text, lines[i].key));
}

static double seconds(const struct timeval *tv)
{
	return tv->tv_sec + tv->tv_usec / 1e6;
}

static void write_launcher(FILE *out, int status_fd)
{
	struct rusage ru;

	memset(&ru, 0, sizeof(ru));
	getrusage(RUSAGE_SELF, &ru);
	fprintf(out, "  \"launcher\": {\n");
	write_memory(out, status_fd);
	fprintf(out, "    \"user_s\": %.6f,\n    \"system_s\": %.6f,\n",
		seconds(&ru.ru_utime), seconds(&ru.ru_stime));
	fprintf(out, "    \"maxrss_kib\": %ld,\n", ru.ru_maxrss);
	fprintf(out, "    \"voluntary_switches\": %ld,\n", ru.ru_nvcsw);
	fprintf(out, "    \"involuntary_switches\": %ld\n  },\n",
		ru.ru_nivcsw);
}

static void write_exits(FILE *out, const struct vcpu *v)
{
	unsigned int i;

	fprintf(out, "  \"exits\": {\n    \"total\": %" PRIu64, v->exit_count);
	for (i = 0; i < VCPU_EXIT_REASONS; i++) {
		const char *name = vcpu_exit_name(i);

		if (!v->by_reason[i])
			continue;
		if (name)
			fprintf(out, ",\n    \"%s\": %" PRIu64, name,
				v->by_reason[i]);
		else
			fprintf(out, ",\n    \"reason_%u\": %" PRIu64, i,
				v->by_reason[i]);
	}
	fprintf(out, ",\n    \"extint_injected\": %" PRIu64 "\n  },\n",
		v->interrupts);
}

/* How often each device was accessed, which is what most exits are. */
static void write_bus(FILE *out, const struct bus *bus)
{
	unsigned int i;

	for (i = 0; i < bus->count; i++) {
		const struct bus_range *r = &bus->range[i];

		fprintf(out, "    \"%s\": { \"reads\": %" PRIu64
			", \"writes\": %" PRIu64 " },\n",
			r->name, r->reads, r->writes);
	}
}

static void write_devices(FILE *out, const struct machine *m)
{
	fprintf(out, "  \"devices\": {\n");
	write_bus(out, &m->pio);
	write_bus(out, &m->mmio);
	fprintf(out, "    \"unclaimed\": %" PRIu64 "\n  },\n",
		m->pio.unclaimed + m->mmio.unclaimed);
}

/* --- binary statistics --------------------------------------------------- */

static bool read_at(int fd, void *buf, size_t len, uint64_t off)
{
	return pread(fd, buf, len, off) == (ssize_t)len;
}

static bool header_ok(const struct kvm_stats_header *h)
{
	return h->name_size > 0 && h->name_size <= NAME_MAX_BYTES &&
	       h->num_desc <= DESC_MAX;
}

/* Names come from the module; only what needs no quoting is let through. */
static bool name_ok(const char *name)
{
	return *name && name[strspn(name, "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-.")] == '\0';
}

static void write_stat(FILE *out, int fd, const struct kvm_stats_header *h,
		       const struct kvm_stats_desc *d, const char *indent,
		       bool *first)
{
	uint64_t vals[VALUES_MAX];
	unsigned int i;

	if (!d->size || d->size > VALUES_MAX || !name_ok(d->name) ||
	    !read_at(fd, vals, d->size * sizeof(vals[0]),
		     (uint64_t)h->data_offset + d->offset))
		return;
	fprintf(out, "%s\n%s\"%s\": ", *first ? "" : ",", indent, d->name);
	*first = false;
	if (d->size == 1) {
		fprintf(out, "%" PRIu64, vals[0]);
		return;
	}
	for (i = 0; i < d->size; i++)
		fprintf(out, "%s%" PRIu64, i ? ", " : "[", vals[i]);
	fprintf(out, "]");
}

void stats_binary(FILE *out, int fd, const char *indent)
{
	struct {
		struct kvm_stats_desc desc;
		char name[NAME_MAX_BYTES + 1];
	} d;
	struct kvm_stats_header h;
	bool first = true;
	size_t step;
	unsigned int i;

	fprintf(out, "{");
	if (fd >= 0 && read_at(fd, &h, sizeof(h), 0) && header_ok(&h)) {
		step = sizeof(d.desc) + h.name_size;
		for (i = 0; i < h.num_desc; i++) {
			memset(&d, 0, sizeof(d));
			if (!read_at(fd, &d, step, h.desc_offset + i * step))
				break;
			write_stat(out, fd, &h, &d.desc, indent, &first);
		}
	}
	/* the brace goes one level further out than the members */
	if (!first)
		fprintf(out, "\n%s", indent + 2);
	fprintf(out, "}");
}

/* --- marks --------------------------------------------------------------- */

static void snapshot(int fd, uint64_t *values)
{
	struct kvm_stats_header h;

	if (fd < 0 || !read_at(fd, &h, sizeof(h), 0))
		return;
	/* a file with less in it leaves zeros */
	if (pread(fd, values, STATS_VALUES * sizeof(values[0]),
		  h.data_offset) < 0)
		return;
}

static void write_mark(void *dev, uint64_t off, uint64_t val, unsigned int size)
{
	struct stats *st = dev;
	struct stats_mark *mark = &st->marks[st->marks_count];

	(void)off;
	(void)size;
	if (st->marks_count == STATS_MARKS)
		return;
	st->marks_count++;
	mark->number = val;
	snapshot(st->vm_fd, mark->vm);
	snapshot(st->vcpu_fd, mark->vcpu);
}

static uint64_t read_mark(void *dev, uint64_t off, unsigned int size)
{
	(void)dev;
	(void)off;
	(void)size;
	return 0xff;
}

static const struct bus_ops mark_ops = {
	.read = read_mark,
	.write = write_mark,
};

int stats_add_marks(struct stats *st, struct bus *pio)
{
	st->marks = calloc(STATS_MARKS, sizeof(st->marks[0]));
	if (!st->marks)
		return -ENOMEM;
	return bus_add(pio, STATS_MARK_PORT, 1, &mark_ops, st, "marks");
}

/* The values of a snapshot in the order of the file's descriptors. */
static void write_values(FILE *out, const char *name, const uint64_t *values)
{
	unsigned int i, n = STATS_VALUES;

	while (n && !values[n - 1])
		n--;
	fprintf(out, "\"%s\": [", name);
	for (i = 0; i < n; i++)
		fprintf(out, "%s%" PRIu64, i ? ", " : "", values[i]);
	fprintf(out, "]");
}

static void write_marks(FILE *out, const struct stats *st)
{
	unsigned int i;

	fprintf(out, ",\n  \"marks\": [");
	for (i = 0; i < st->marks_count; i++) {
		const struct stats_mark *mark = &st->marks[i];

		fprintf(out, "%s\n    { \"number\": %u, ", i ? "," : "",
			mark->number);
		write_values(out, "vm", mark->vm);
		fprintf(out, ", ");
		write_values(out, "vcpu0", mark->vcpu);
		fprintf(out, " }");
	}
	fprintf(out, "\n  ]");
}

int stats_write(struct stats *st, const struct stats_result *res,
		const struct vcpu *v)
{
	FILE *out = st->out;
	int r = 0;

	fprintf(out, "{\n  \"end\": \"%s\",\n  \"exit_code\": %d,\n", res->end,
		res->exit_code);
	fprintf(out, "  \"setup_s\": %.6f,\n  \"wall_s\": %.6f,\n",
		(st->start_ns - st->begin_ns) / 1e9,
		(res->end_ns - st->start_ns) / 1e9);
	write_launcher(out, st->status_fd);
	write_exits(out, v);
	write_devices(out, v->machine);
	fprintf(out, "  \"vm\": ");
	stats_binary(out, st->vm_fd, "    ");
	fprintf(out, ",\n  \"vcpu0\": ");
	stats_binary(out, st->vcpu_fd, "    ");
	if (st->marks_count)
		write_marks(out, st);
	fprintf(out, "\n}\n");
	if (ferror(out))
		r = -EIO;
	if (fclose(out) != 0 && !r)
		r = -errno;
	st->out = NULL;
	free(st->marks);
	st->marks = NULL;
	return r;
}
