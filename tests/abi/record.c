// SPDX-License-Identifier: GPL-2.0-only
/* Recording: every entry is reported, in order, and nothing is left behind. */
#include <popf.h>
#include <popf/vcpu_page.h>
#include <pthread.h>

#include "abi.h"

#define ROUNDS 150000u

/* ROUNDS calls of a function that returns. */
GUEST_ASM(calls, "mov $150000, %ecx\n"
		 "1: call 2f\n"
		 "dec %ecx\n"
		 "jnz 1b\n"
		 "hlt\n"
		 "2: nop\n"
		 "ret\n");

/* Calls a function, makes its NOP a CLD, calls it again. */
GUEST_ASM(patches, "call 2f\n"
		   "movb $0xfc, 2f(%rip)\n"
		   "call 2f\n"
		   "hlt\n"
		   "2: nop\n"
		   "ret\n");

/* Spoils record_at, again and again; the address is checked below. */
GUEST_ASM(spoils, "mov $1000, %ecx\n"
		  "mov $0xfffffffff0000118, %rdx\n"
		  "1: rol $5, %rax\n"
		  "xor $0x5a5, %rax\n"
		  "mov %rax, (%rdx)\n"
		  "call 2f\n"
		  "loop 1b\n"
		  "hlt\n"
		  "2: ret\n");

/* What a recording's file has said. */
struct seen {
	uint64_t records, entries, middles, skipped, units, invalidated, flushed;
	uint64_t strange; /* entries that name no unit */
	uint32_t last_cause;
	int end; /* -1: none */
	bool bad;
	uint32_t first[64]; /* units entered, in order */
};

struct reader {
	int fd;
	unsigned int delay_us; /* before each read */
	size_t chunk;
	struct seen seen;
};

static uint32_t words[1 << 16];
static size_t count;

static void see(struct seen *s, uint32_t head, const uint32_t *w)
{
	uint32_t n = POPF_RECORD_WORDS(head) - 1, i;

	s->records++;
	s->bad |= s->end >= 0;
	switch (POPF_RECORD_TYPE(head)) {
	case POPF_RECORD_TU:
		s->bad |= w[0] != s->units;
		s->units++;
		break;
	case POPF_RECORD_ENTRIES:
		for (i = 1; i < n; i++) {
			if (s->entries < 64)
				s->first[s->entries] = w[i];
			s->entries++;
			s->strange += w[i] >= s->units;
		}
		break;
	case POPF_RECORD_ENTER:
		s->middles++;
		break;
	case POPF_RECORD_INVALIDATE:
		s->invalidated++;
		s->last_cause = w[0];
		break;
	case POPF_RECORD_FLUSH:
		s->flushed++;
		break;
	case POPF_RECORD_WINDOW:
		s->skipped += w[1] | (uint64_t)w[2] << 32;
		break;
	case POPF_RECORD_END:
		s->end = (int)w[0];
		break;
	}
}

static void *read_all(void *arg)
{
	struct reader *r = arg;
	size_t at;
	ssize_t n;

	count = 0;
	r->seen.end = -1;
	for (;;) {
		if (r->delay_us)
			usleep(r->delay_us);
		n = read(r->fd, words + count, r->chunk);
		if (n <= 0)
			break;
		count += (size_t)n / 4;
		for (at = 0; at < count &&
			     POPF_RECORD_WORDS(words[at]) <= count - at &&
			     POPF_RECORD_WORDS(words[at]);
		     at += POPF_RECORD_WORDS(words[at]))
			see(&r->seen, words[at], words + at + 1);
		memmove(words, words + at, (count - at) * 4);
		count -= at;
	}
	r->seen.bad |= n < 0 || count;
	return NULL;
}

static int start(struct guest *g, uint64_t window, uint64_t burst, uint64_t gap)
{
	const struct popf_record cfg = {
		.window = window, .burst = burst, .gap = gap,
	};

	return ioctl(g->vcpu, POPF_RECORD_START, &cfg);
}

/* Run code to its HLT while a reader reads. */
static void record(struct guest *g, const struct guest_code *code,
		   struct reader *r)
{
	pthread_t thread;

	guest_load(g, code);
	pthread_create(&thread, NULL, read_all, r);
	if (guest_run(g) || g->run->exit_reason != KVM_EXIT_HLT)
		printf("# the guest ended with exit %u\n", g->run->exit_reason);
	if (ioctl(g->vcpu, POPF_RECORD_STOP, 0))
		r->seen.bad = true;
	pthread_join(thread, NULL);
	close(r->fd);
}

static void test_arguments(struct guest *g)
{
	struct popf_record cfg = { .burst = 1 };
	int fd;

	CHECK_ERRNO(ioctl(g->vcpu, POPF_RECORD_STOP, 0), ENOENT,
		    "what has not been started cannot be stopped");
	cfg.flags = 1;
	CHECK_ERRNO(ioctl(g->vcpu, POPF_RECORD_START, &cfg), EINVAL,
		    "unknown flags are refused");
	cfg.flags = 0;
	cfg.burst = 0;
	CHECK_ERRNO(ioctl(g->vcpu, POPF_RECORD_START, &cfg), EINVAL,
		    "bursts of nothing are refused");
	CHECK_ERRNO(ioctl(g->vcpu, POPF_RECORD_START, NULL), EFAULT,
		    "a bad address is refused");
	fd = start(g, 1, 1, 0);
	CHECK(fd >= 0, "a recording can be started");
	CHECK_ERRNO(start(g, 1, 1, 0), EBUSY, "a second one cannot");
	CHECK_ERRNO(ioctl(g->vcpu, POPF_RECORD_STOP, 1), EINVAL,
		    "POPF_RECORD_STOP takes no parameter");
	CHECK_ERRNO(read(fd, words, 3), EINVAL, "half words cannot be read");
	close(fd);
	guest_load(g, &patches);
	CHECK(!guest_run(g) && g->run->exit_reason == KVM_EXIT_HLT,
	      "the guest runs with the file closed");
	CHECK_ERRNO(ioctl(g->vcpu, POPF_RECORD_STOP, 0), ENOENT,
		    "which has ended the recording");
}

/* Per round: the call's unit, the function, and what it returns to. */
static void test_complete(struct guest *g)
{
	struct reader r = { .chunk = 4096, .delay_us = 20 };
	const uint32_t *e = r.seen.first;

	r.fd = start(g, 1, 1, 0);
	record(g, &calls, &r);
	CHECK(!r.seen.bad && r.seen.end == 0, "a recording has an end");
	CHECK(r.seen.entries == 3 * ROUNDS || r.seen.entries == 3 * ROUNDS + 1,
	      "every entry is reported, however slow the reader is");
	printf("# %llu entries of %llu units\n",
	       (unsigned long long)r.seen.entries,
	       (unsigned long long)r.seen.units);
	CHECK(!r.seen.strange && !r.seen.skipped && r.seen.units < 12,
	      "of the units that were reported before");
	CHECK(e[1] != e[2] && e[4] == e[1] && e[5] == e[2] && e[7] == e[1],
	      "in order");
}

static void test_sampled(struct guest *g)
{
	struct reader r = { .chunk = 65536 };
	uint64_t all;

	r.fd = start(g, 1000, 10, 90);
	record(g, &calls, &r);
	all = r.seen.entries + r.seen.skipped;
	CHECK(!r.seen.bad && (all == 3 * ROUNDS || all == 3 * ROUNDS + 1),
	      "what is left out is counted");
	CHECK(r.seen.entries >= 1000 + (3 * ROUNDS - 1000) / 10 - 10 &&
		      r.seen.entries <= 1000 + (3 * ROUNDS - 1000) / 10 + 10,
	      "bursts and gaps are as long as asked for");
}

static void test_invalidation(struct guest *g)
{
	struct reader r = { .chunk = 65536 };

	r.fd = start(g, 1000000, 1, 1);
	record(g, &patches, &r);
	CHECK(!r.seen.bad && r.seen.invalidated >= 1 &&
		      r.seen.last_cause == POPF_RECORD_WRITE,
	      "a store to code is reported");
	CHECK(r.seen.flushed == 1, "the end drops all units");
}

static void test_spoilt(struct guest *g)
{
	struct reader r = { .chunk = 65536 };

	_Static_assert(offsetof(struct vcpu_page, record_at) == 0x118,
		       "the address in the guest is right");
	r.fd = start(g, 1000000, 1, 1);
	record(g, &spoils, &r);
	CHECK(!r.seen.bad && r.seen.end >= 0,
	      "a guest that spoils its recording spoils nothing else");
	guest_load(g, &calls);
	CHECK(!guest_run(g) && g->run->exit_reason == KVM_EXIT_HLT,
	      "and goes on");
}

int main(void)
{
	struct guest g;
	int fd;

	guest_create(&g, false);
	test_arguments(&g);
	test_complete(&g);
	test_sampled(&g);
	test_invalidation(&g);
	test_spoilt(&g);
	fd = start(&g, 1, 1, 0);
	guest_destroy(&g);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	CHECK(read(fd, words, 4096) == 16,
	      "the file keeps the VM, and what was recorded");
	CHECK_ERRNO(read(fd, words, 4096), EAGAIN, "and then there is no more");
	close(fd);
	return abi_finish();
}
