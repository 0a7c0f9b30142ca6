// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kernels do all day: look up keys in a hash table with chains, keep the
 * least recently used order in a doubly linked list, evict, insert, walk.
 */
#include "programs.h"

#define NODES 512
#define BUCKETS 256

struct link {
	struct link *next, *prev;
};

struct node {
	struct link lru; /* first: a link is its node */
	struct node *chain;
	u64 key, value;
};

static struct node nodes[NODES];
static struct node *buckets[BUCKETS];
static struct link lru;

static u32 hash(u64 key)
{
	return (u32)(key * 0x9e3779b97f4a7c15ull >> 56) % BUCKETS;
}

static void unlink(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
}

static void add_front(struct link *l)
{
	l->next = lru.next;
	l->prev = &lru;
	lru.next->prev = l;
	lru.next = l;
}

static noinline struct node *find(u64 key)
{
	struct node *n = buckets[hash(key)];

	while (n && n->key != key)
		n = n->chain;
	return n;
}

static noinline void drop(struct node *n)
{
	struct node **p = &buckets[hash(n->key)];

	while (*p && *p != n)
		p = &(*p)->chain;
	if (*p)
		*p = n->chain;
	unlink(&n->lru);
}

static noinline struct node *take(u64 key)
{
	struct node *n = find(key);
	u32 h = hash(key);

	if (n) {
		unlink(&n->lru);
		add_front(&n->lru);
		return n;
	}
	n = (struct node *)lru.prev;
	drop(n);
	n->key = key;
	n->value = key * 3;
	n->chain = buckets[h];
	buckets[h] = n;
	add_front(&n->lru);
	return n;
}

static void start(void)
{
	u64 i;

	for (i = 0; i < BUCKETS; i++)
		buckets[i] = 0;
	lru.next = lru.prev = &lru;
	for (i = 0; i < NODES; i++) {
		nodes[i].key = i;
		nodes[i].value = i;
		nodes[i].chain = buckets[hash(i)];
		buckets[hash(i)] = &nodes[i];
		add_front(&nodes[i].lru);
	}
}

u64 run_lists(u64 rounds)
{
	u64 seed = 0x1157, sum = 0, i;
	struct link *l;

	start();
	while (rounds--) {
		for (i = 0; i < 600; i++)
			sum += take(next_random(&seed) % 640)->value;
		for (l = lru.next; l != &lru; l = l->next)
			sum = mix(sum, ((struct node *)l)->key);
	}
	return sum;
}
