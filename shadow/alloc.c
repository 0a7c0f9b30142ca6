// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory for shadow paging: a small stock, filled without the lock and drawn
 * from with it held.
 *
 * The lock is also taken by mmu notifiers, which memory reclaim may call, so
 * nothing may be allocated under it. An operation checks shadow_cache_ready()
 * once under the lock; if the stock is low it unlocks, fills, and starts over.
 *
 * Everything in the stock is zeroed except its first word, which links it.
 */
#include "shadow_internal.h"

static void push(void **list, void *item)
{
	*(void **)item = *list;
	*list = item;
}

static void *pop(void **list, u32 *count)
{
	void *item = *list;

	if (!item)
		return NULL;
	*list = *(void **)item;
	*(void **)item = NULL;
	(*count)--;
	return item;
}

static bool enough(const struct shadow_cache *c)
{
	return c->nr_pages >= NEED_PAGES && c->nr_chunks >= NEED_CHUNKS &&
	       c->nr_blocks >= NEED_BLOCKS;
}

/* Without the lock the answer is only a hint. */
bool shadow_cache_ready(const struct shadow *s)
{
	return enough(&s->cache);
}

/* Allocate one item of every kind that is short. False when out of memory. */
static bool allocate(const struct shadow_cache *have, void **page, void **chunk,
		     void **block)
{
	if (have->nr_pages < STOCK_PAGES && !(*page = env_page_alloc()))
		return false;
	if (have->nr_chunks < STOCK_CHUNKS &&
	    !(*chunk = env_zalloc(sizeof(struct shadow_chunk))))
		return false;
	if (have->nr_blocks < STOCK_BLOCKS &&
	    !(*block = env_zalloc(sizeof(struct shadow_block))))
		return false;
	return true;
}

static void stock(struct shadow_cache *c, void *page, void *chunk, void *block)
{
	if (page) {
		push(&c->pages, page);
		c->nr_pages++;
	}
	if (chunk) {
		push(&c->chunks, chunk);
		c->nr_chunks++;
	}
	if (block) {
		push(&c->blocks, block);
		c->nr_blocks++;
	}
}

/* Fill the stock. 0, or -ENOMEM: less than one operation may need. */
int shadow_cache_fill(struct shadow *s)
{
	struct shadow_cache have;
	bool ok = true;

	for (;;) {
		void *page = NULL, *chunk = NULL, *block = NULL;

		env_mutex_lock(&s->lock);
		have = s->cache;
		env_mutex_unlock(&s->lock);
		if (have.nr_pages >= STOCK_PAGES &&
		    have.nr_chunks >= STOCK_CHUNKS &&
		    have.nr_blocks >= STOCK_BLOCKS)
			return 0;
		if (!ok)
			return enough(&have) ? 0 : -ENOMEM;
		ok = allocate(&have, &page, &chunk, &block);
		env_mutex_lock(&s->lock);
		stock(&s->cache, page, chunk, block);
		env_mutex_unlock(&s->lock);
	}
}

void shadow_cache_destroy(struct shadow *s)
{
	struct shadow_cache *c = &s->cache;
	void *item;

	while ((item = pop(&c->pages, &c->nr_pages)))
		env_page_free(item);
	while ((item = pop(&c->chunks, &c->nr_chunks)))
		env_free(item);
	while ((item = pop(&c->blocks, &c->nr_blocks)))
		env_free(item);
}

void *shadow_cache_page(struct shadow *s)
{
	return pop(&s->cache.pages, &s->cache.nr_pages);
}

struct shadow_chunk *shadow_cache_chunk(struct shadow *s)
{
	return pop(&s->cache.chunks, &s->cache.nr_chunks);
}

struct shadow_block *shadow_cache_block(struct shadow *s)
{
	return pop(&s->cache.blocks, &s->cache.nr_blocks);
}

/* The page must be all zeroes. */
void shadow_cache_put_page(struct shadow *s, void *page)
{
	if (s->cache.nr_pages >= KEEP_PAGES) {
		env_page_free(page);
		return;
	}
	push(&s->cache.pages, page);
	s->cache.nr_pages++;
}

void shadow_cache_put_chunk(struct shadow *s, struct shadow_chunk *chunk)
{
	if (s->cache.nr_chunks >= KEEP_CHUNKS) {
		env_free(chunk);
		return;
	}
	memset(chunk, 0, sizeof(*chunk));
	push(&s->cache.chunks, chunk);
	s->cache.nr_chunks++;
}
