// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest code as the stream has shown it: frames with the bytes that TUs have
 * covered, and which frame each gva page was last fetched from.
 */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024u

struct frame {
	uint64_t gfn;
	struct frame *next;
	uint8_t known[STREAM_PAGE / 8];
	uint8_t bytes[STREAM_PAGE];
};

struct mapping {
	uint64_t page; /* gva / STREAM_PAGE */
	struct frame *frame;
	struct mapping *next;
};

struct stream_image {
	struct frame *frame[BUCKETS];
	struct mapping *mapping[BUCKETS];
};

struct stream_image *stream_image_create(void)
{
	return calloc(1, sizeof(struct stream_image));
}

void stream_image_destroy(struct stream_image *im)
{
	struct mapping *m;
	struct frame *f;
	uint32_t i;

	for (i = 0; im && i < BUCKETS; i++) {
		while ((f = im->frame[i])) {
			im->frame[i] = f->next;
			free(f);
		}
		while ((m = im->mapping[i])) {
			im->mapping[i] = m->next;
			free(m);
		}
	}
	free(im);
}

static struct frame *get_frame(struct stream_image *im, uint64_t gfn)
{
	struct frame **head = &im->frame[gfn % BUCKETS], *f;

	for (f = *head; f; f = f->next) {
		if (f->gfn == gfn)
			return f;
	}
	f = malloc(sizeof(*f));
	if (!f)
		return NULL;
	f->gfn = gfn;
	f->next = *head;
	memset(f->known, 0, sizeof(f->known));
	memset(f->bytes, STREAM_UNKNOWN_BYTE, sizeof(f->bytes));
	*head = f;
	return f;
}

static struct mapping *find_mapping(const struct stream_image *im,
				    uint64_t page)
{
	struct mapping *m = im->mapping[page % BUCKETS];

	while (m && m->page != page)
		m = m->next;
	return m;
}

static struct mapping *get_mapping(struct stream_image *im, uint64_t page)
{
	struct mapping *m = find_mapping(im, page);

	if (m)
		return m;
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->page = page;
	m->next = im->mapping[page % BUCKETS];
	im->mapping[page % BUCKETS] = m;
	return m;
}

static int add_bytes(struct stream_image *im, uint64_t gva, uint64_t gfn,
		     const uint8_t *code, uint32_t len)
{
	struct frame *f = get_frame(im, gfn);
	struct mapping *m = get_mapping(im, gva / STREAM_PAGE);
	uint32_t at = gva % STREAM_PAGE, i;

	if (!f || !m)
		return -1;
	m->frame = f;
	memcpy(f->bytes + at, code, len);
	for (i = at; i < at + len; i++)
		f->known[i / 8] |= (uint8_t)(1u << i % 8);
	return 0;
}

int stream_image_add(struct stream_image *im, const struct stream_tu *tu)
{
	uint32_t n = STREAM_PAGE - tu->gva % STREAM_PAGE;

	if (n >= tu->len)
		return add_bytes(im, tu->gva, tu->gfn[0], tu->code, tu->len);
	if (add_bytes(im, tu->gva, tu->gfn[0], tu->code, n))
		return -1;
	return add_bytes(im, tu->gva + n, tu->gfn[1], tu->code + n,
			 tu->len - n);
}

int stream_image_fetch(const struct stream_image *im, uint64_t gva, void *buf,
		       uint32_t len, uint64_t *gfn, uint32_t *known)
{
	const struct mapping *m = find_mapping(im, gva / STREAM_PAGE);
	uint32_t at = gva % STREAM_PAGE, n = 0;

	if (!m || !m->frame || len > STREAM_PAGE - at)
		return -1;
	memcpy(buf, m->frame->bytes + at, len);
	while (n < len && m->frame->known[(at + n) / 8] >> (at + n) % 8 & 1)
		n++;
	*gfn = m->frame->gfn;
	if (known)
		*known = n;
	return 0;
}
