// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program that differs, made small: whatever it differs without is replaced by
 * NOPs, where it stands, because programs know their own addresses. See bt_diff.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bt/bt.h"
#include "bt_diff.h"

/* Programs that run per round are few: they may be slow when they hang. */
#define TRIES_MAX 3000u

struct shrink {
	struct rig *rig;
	struct diff_case *c;
	struct diff_case *trial;
	u32 tries;
};

/* Does the trial still differ? Then it is the case from now on. */
static bool keep(struct shrink *s)
{
	if (++s->tries > TRIES_MAX ||
	    diff_run(s->rig, s->trial, false, NULL) != DIFF_DIFFERS) {
		memcpy(s->trial, s->c, sizeof(*s->c));
		return false;
	}
	memcpy(s->c, s->trial, sizeof(*s->c));
	return true;
}

static bool drop_range(struct shrink *s, u32 from, u32 n)
{
	u8 *p = s->trial->memory.code + s->trial->off + from;
	u32 i;

	for (i = 0; i < n && p[i] == 0x90; i++)
		;
	if (i == n)
		return false;
	memset(p, 0x90, n);
	return keep(s);
}

/* Halves, quarters and so on down to eight bytes. */
static bool drop_chunks(struct shrink *s)
{
	bool any = false;
	u32 size, at;

	for (size = s->c->n / 2; size >= 8; size /= 2) {
		for (at = 0; at < s->c->n; at += size)
			any |= drop_range(s, at, min(size, s->c->n - at));
	}
	return any;
}

static bool drop_insns(struct shrink *s)
{
	ZydisDecodedInstruction zi;
	ZydisDecoder decoder;
	bool any = false;
	u32 at, n;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64,
			 ZYDIS_STACK_WIDTH_64);
	for (at = 0; at < s->c->n; at += n) {
		n = 1;
		if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(
			    &decoder, NULL,
			    s->c->memory.code + s->c->off + at,
			    min(15u, s->c->n - at), &zi)))
			n = zi.length;
		any |= drop_range(s, at, n);
	}
	return any;
}

static void zero(struct shrink *s, void *p, u32 n)
{
	memset(p, 0, n);
	keep(s);
}

static void drop_state(struct shrink *s)
{
	u32 i;

	zero(s, s->trial->memory.data, RIG_DATA_SIZE);
	zero(s, s->trial->memory.stack, RIG_STACK_SIZE);
	zero(s, s->trial->st.fp + RIG_FP_XMM, RIG_FP_SIZE - RIG_FP_XMM);
	zero(s, &s->trial->st.rflags, sizeof(u64));
	zero(s, &s->trial->event, sizeof(s->trial->event));
	for (i = 0; i < 16; i++) {
		if (i != GPR_RSP)
			zero(s, &s->trial->st.gpr[i], sizeof(u64));
	}
}

void diff_minimise(struct rig *rig, struct diff_case *c)
{
	struct shrink s = { .rig = rig, .c = c };

	s.trial = malloc(sizeof(*c));
	memcpy(s.trial, c, sizeof(*c));
	drop_chunks(&s);
	while (drop_insns(&s) && s.tries < TRIES_MAX)
		;
	drop_state(&s);
	free(s.trial);
}

static void print_bytes(const struct diff_case *c)
{
	const u8 *p = c->memory.code + c->off;
	u32 i;

	for (i = 0; i < c->n; i++) {
		if (p[i] == 0x90 && (!i || p[i - 1] == 0x90))
			continue;
		if (!i || p[i - 1] == 0x90)
			printf("\n  code + %x:", c->off + i);
		printf(" %02x", p[i]);
	}
	printf("\n");
}

/* objdump comes with the compiler. */
static void print_disassembly(const struct diff_case *c)
{
	char name[] = "/tmp/popf-diff-XXXXXX", command[256];
	int fd = mkstemp(name);

	if (fd < 0)
		return;
	if (write(fd, c->memory.code + c->off, c->n) == (ssize_t)c->n) {
		snprintf(command, sizeof(command),
			 "objdump -D -b binary -m i386:x86-64 -M intel "
			 "--adjust-vma=0x%llx %s | grep -E '^ +[0-9a-f]+:' | "
			 "grep -vE '90 +[[:space:]]nop$'",
			 (unsigned long long)(c->place + c->off), name);
		fflush(stdout);
		if (system(command) < 0)
			perror("objdump");
	}
	close(fd);
	unlink(name);
}

void diff_print(const struct diff_case *c)
{
	u32 i;

	printf("seed %llu, features %x, %s; code at %llx, data at %llx, vif %llx%s\n",
	       (unsigned long long)c->seed, c->features,
	       c->place == RIG_NEAR ? "near" : "far",
	       (unsigned long long)(c->place + c->off),
	       (unsigned long long)(c->place + RIG_DATA_OFF),
	       (unsigned long long)c->vif, c->event ? ", event pending" : "");
	for (i = 0; i < 16; i++) {
		if (c->st.gpr[i])
			printf("  gpr %u = %llx\n", i,
			       (unsigned long long)c->st.gpr[i]);
	}
	printf("  rflags = %llx, other state %s, bytes but NOPs:",
	       (unsigned long long)c->st.rflags, "as the seed has it");
	print_bytes(c);
	print_disassembly(c);
}
