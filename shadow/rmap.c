// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reverse maps: from a guest frame to its sptes, from a shadow page to its
 * parents. Both are doubly linked lists of slots; the links live in chunks that
 * a shadow page gets as its slots fill up.
 */
#include "shadow_internal.h"

static u32 block_bucket(u64 base)
{
	return (base ^ (base >> 10)) & (BLOCK_HASH - 1);
}

struct shadow_block *shadow_block_find(struct shadow *s, gfn_t gfn)
{
	u64 base = gfn >> 9;
	struct shadow_block *b = s->last_block;

	if (b && b->base == base)
		return b;
	for (b = s->block_hash[block_bucket(base)]; b; b = b->hash_next) {
		if (b->base == base) {
			s->last_block = b;
			return b;
		}
	}
	return NULL;
}

/* Find or make. NULL only when the stock is empty. */
struct shadow_block *shadow_block_get(struct shadow *s, gfn_t gfn)
{
	struct shadow_block *b = shadow_block_find(s, gfn);
	u32 bucket = block_bucket(gfn >> 9);

	if (b)
		return b;
	b = shadow_cache_block(s);
	if (!b)
		return NULL;
	b->base = gfn >> 9;
	b->hash_next = s->block_hash[bucket];
	s->block_hash[bucket] = b;
	return b;
}

struct shadow_link *shadow_slot_link(struct shadow *s, u32 slot)
{
	struct shadow_page *sp = slot_page(s, slot);
	u32 index = slot_index(slot);

	return &sp->chunk[index / CHUNK_LINKS]->link[index % CHUNK_LINKS];
}

u64 *shadow_slot_spte(struct shadow *s, u32 slot)
{
	return &slot_page(s, slot)->spt[slot_index(slot)];
}

/* Put a slot on a list. False when a chunk is needed and the stock is empty. */
bool shadow_slot_add(struct shadow *s, u32 *head, struct shadow_page *sp,
		     u32 index, u32 target)
{
	struct shadow_chunk **chunk = &sp->chunk[index / CHUNK_LINKS];
	struct shadow_link *link;

	if (!*chunk)
		*chunk = shadow_cache_chunk(s);
	if (!*chunk)
		return false;
	link = &(*chunk)->link[index % CHUNK_LINKS];
	link->target = target;
	link->prev = 0;
	link->next = *head;
	if (*head)
		shadow_slot_link(s, *head)->prev = slot_of(sp, index);
	*head = slot_of(sp, index);
	sp->present++;
	return true;
}

void shadow_slot_del(struct shadow *s, u32 *head, struct shadow_page *sp,
		     u32 index)
{
	struct shadow_link *link = shadow_slot_link(s, slot_of(sp, index));

	if (link->prev)
		shadow_slot_link(s, link->prev)->next = link->next;
	else
		*head = link->next;
	if (link->next)
		shadow_slot_link(s, link->next)->prev = link->prev;
	memset(link, 0, sizeof(*link));
	sp->present--;
}

/* Zap every leaf on a frame's (or a block's large) list. */
void shadow_zap_list(struct shadow *s, u32 *head)
{
	while (*head) {
		u32 slot = *head;

		shadow_zap_slot(s, slot_page(s, slot), slot_index(slot));
	}
}

/* Take write permission from every spte to one frame. */
void shadow_write_protect(struct shadow *s, gfn_t gfn)
{
	struct shadow_block *b = shadow_block_find(s, gfn);
	u32 slot;

	if (!b)
		return;
	shadow_zap_list(s, &b->large);
	for (slot = b->rmap[gfn % PT_ENTRIES]; slot;
	     slot = shadow_slot_link(s, slot)->next) {
		u64 *spte = shadow_slot_spte(s, slot);

		if (!(*spte & SPTE_W))
			continue;
		shadow_removing(s);
		WRITE_ONCE(*spte, *spte & ~(SPTE_W | SPTE_D));
	}
}
