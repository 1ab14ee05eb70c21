/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Getting pages from a local store and flushing them. The way of a block:
 *
 *   get:    shard's lock: pin -> no lock: read, unpin
 *   flush:  shard's lock: take out -> no lock: drop
 *
 * The shard's lock makes operations on one handle linearizable (rule 10): each
 * takes effect while it is held.
 */
#include "op.h"
#include <limits.h>
#include "block.h"
#include "pool.h"

/* A flush of more blocks than this, and than the object has leaves, walks the
 * leaves instead. */
#define WALK_BLOCKS 1024u

/* Leaves that one hold of a shard's lock goes through. */
#define WALK_LEAVES 512u

/* Get ---------------------------------------------------------------------- */

/* Pin what the leaf names, and take it out of an exclusive pool. */
static unsigned pin_block(struct tmem_block *b,
			  uint32_t ids[static TMEM_LEAF_PAGES],
			  struct tmem_drops *drops)
{
	uint64_t *stat = tmem_block_stats(b);
	uint32_t id = tmem_index_find_leaf(&b->store->index,
					   tmem_block_shard(b), &b->key);
	unsigned held = 0;
	struct tmem_leaf *leaf;

	stat[TMEM_POOL_STAT_gets] += b->count;
	if (!id)
		return 0;
	leaf = tmem_index_leaf(&b->store->index, id);
	for (unsigned i = b->first; i < b->first + b->count; i++) {
		ids[i] = atomic_load_explicit(&leaf->content[i],
					      memory_order_relaxed);
		if (!ids[i])
			continue;
		tmem_content_prefetch(&b->store->contents, ids[i]);
		held |= TMEM_FLAG(i);
	}
	for (unsigned i = b->first; i < b->first + b->count; i++) {
		if (!(held >> i & 1))
			continue;
		tmem_content_pin(&b->store->contents, ids[i]);
		tmem_content_prefetch_bytes(&b->store->contents, ids[i]);
		stat[TMEM_POOL_STAT_hits]++;
	}
	leaf->visited |= (uint8_t)held;
	leaf->warm |= (uint8_t)held;
	if (b->pool->flags & TMEM_POOL_EXCLUSIVE)
		tmem_pool_take(b->store, b->pool, b->s, id, held, drops);
	return held;
}

/* A content that does not decode is no page: take it out where it is still
 * named, so that it is not found again (rule 4). */
static void forget(struct tmem_block *b, unsigned i, uint32_t content)
{
	struct tmem_drops drops;
	uint32_t id;

	drops.count = 0;
	tmem_lock_acquire(&tmem_block_shard(b)->lock);
	id = tmem_index_find_leaf(&b->store->index, tmem_block_shard(b),
				  &b->key);
	if (id && atomic_load_explicit(
			  &tmem_index_leaf(&b->store->index, id)->content[i],
			  memory_order_relaxed) == content)
		tmem_pool_take(b->store, b->pool, b->s, id, TMEM_FLAG(i),
			       &drops);
	tmem_lock_release(&tmem_block_shard(b)->lock);
	tmem_drops_drop(b->store, &drops);
}

static unsigned get_block(struct tmem_block *b, uint8_t *pages,
			  uint8_t *outcome)
{
	const uint64_t name = tmem_index_name(&b->key);
	uint32_t ids[TMEM_LEAF_PAGES];
	struct tmem_drops drops;
	unsigned held, hits = 0;

	drops.count = 0;
	if (tmem_duel_samples(&b->pool->duel, name))
		tmem_duel_note(&b->pool->duel, name, tmem_block_mask(b));
	tmem_lock_acquire(&tmem_block_shard(b)->lock);
	held = pin_block(b, ids, &drops);
	tmem_lock_release(&tmem_block_shard(b)->lock);
	for (unsigned i = 0; i < b->count; i++) {
		unsigned at = b->first + i;
		bool hit = held >> at & 1;

		if (hit) {
			hit = tmem_content_read(
				      &b->store->contents, ids[at],
				      pages + (size_t)i * TMEM_PAGE_SIZE) == 0;
			if (!hit)
				forget(b, at, ids[at]);
			tmem_content_unpin(&b->store->contents, ids[at]);
		}
		hits += hit;
		if (outcome)
			outcome[i] = hit ? TMEM_OK : TMEM_MISS;
	}
	tmem_drops_drop(b->store, &drops);
	return hits;
}

int tmem_op_get_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		    uint32_t index, uint32_t count, void *pages,
		    uint8_t *outcome)
{
	struct tmem_block b;
	unsigned hits = 0;

	tmem_block_init(&b, pool, oid);
	for (uint32_t at = 0; at < count; at += b.count) {
		tmem_block_cut(&b, index + at, count - at);
		hits += get_block(
			&b, (uint8_t *)pages + (size_t)at * TMEM_PAGE_SIZE,
			outcome ? outcome + at : NULL);
	}
	return (int)hits;
}

/* Flush -------------------------------------------------------------------- */

static unsigned flush_block(struct tmem_block *b)
{
	struct tmem_drops drops;
	unsigned found = 0;
	uint32_t id;

	drops.count = 0;
	tmem_lock_acquire(&tmem_block_shard(b)->lock);
	id = tmem_index_find_leaf(&b->store->index, tmem_block_shard(b),
				  &b->key);
	if (id)
		found = tmem_pool_take(b->store, b->pool, b->s, id,
				       tmem_block_mask(b), &drops);
	tmem_block_stats(b)[TMEM_POOL_STAT_flushes] += found;
	tmem_lock_release(&tmem_block_shard(b)->lock);
	tmem_drops_drop(b->store, &drops);
	return found;
}

/* Pages of a leaf that lie in [from, to]. */
static unsigned overlap(uint32_t block, uint32_t from, uint32_t to)
{
	uint64_t start = (uint64_t)block * TMEM_LEAF_PAGES;
	unsigned mask = 0;

	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++)
		if (start + i >= from && start + i <= to)
			mask |= TMEM_FLAG(i);
	return mask;
}

/* Walk the leaves of an object in a shard, as many as one hold of the lock
 * takes, from the leaf of block *next on (false: the first). Returns pages
 * taken out; *more says that the walk goes on at *next. */
static uint64_t walk_some(struct tmem_block *b, uint32_t from, uint32_t to,
			  bool *more, uint32_t *next, struct tmem_drops *drops)
{
	struct tmem_index *index = &b->store->index;
	uint32_t object =
		tmem_index_find_object(index, tmem_block_shard(b), &b->key);
	uint32_t id = 0, looked = 0;
	uint64_t found = 0;

	if (*more) {
		b->key.block = *next;
		id = tmem_index_find_leaf(index, tmem_block_shard(b), &b->key);
	}
	if (!id && object)
		id = tmem_index_object(index, object)->leaf;
	*more = false;
	while (id && looked++ < WALK_LEAVES && !tmem_drops_full(drops)) {
		struct tmem_leaf *leaf = tmem_index_leaf(index, id);
		unsigned mask = overlap(leaf->block, from, to);
		uint32_t after = leaf->object_next;

		found += tmem_pool_take(b->store, b->pool, b->s, id, mask,
					drops);
		id = after;
	}
	if (id) {
		*more = true;
		*next = tmem_index_leaf(index, id)->block;
	}
	return found;
}

static uint64_t walk(struct tmem_block *b, uint32_t from, uint32_t to)
{
	struct tmem_drops drops;
	uint64_t found = 0;

	drops.count = 0;
	for (b->s = 0; b->s < TMEM_SHARDS; b->s++) {
		bool more = false;
		uint32_t next = 0;

		do {
			uint64_t some;

			tmem_lock_acquire(&tmem_block_shard(b)->lock);
			some = walk_some(b, from, to, &more, &next, &drops);
			tmem_block_stats(b)[TMEM_POOL_STAT_flushes] += some;
			tmem_lock_release(&tmem_block_shard(b)->lock);
			tmem_drops_drop(b->store, &drops);
			found += some;
		} while (more);
	}
	return found;
}

/* How many leaves an object has: a snapshot of each shard. */
static uint64_t count_leaves(struct tmem_block *b)
{
	struct tmem_index *index = &b->store->index;
	uint64_t leaves = 0;

	for (b->s = 0; b->s < TMEM_SHARDS; b->s++) {
		struct tmem_shard *shard = tmem_block_shard(b);
		uint32_t id;

		tmem_lock_acquire(&shard->lock);
		id = tmem_index_find_object(index, shard, &b->key);
		if (id)
			leaves += tmem_index_object(index, id)->leaves;
		tmem_lock_release(&shard->lock);
	}
	return leaves;
}

int tmem_op_flush_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		      uint32_t index, uint64_t count)
{
	const uint64_t blocks = count / TMEM_LEAF_PAGES;
	struct tmem_block b;
	uint64_t found = 0;

	tmem_block_init(&b, pool, oid);
	if (blocks > WALK_BLOCKS && blocks > count_leaves(&b)) {
		found = walk(&b, index, (uint32_t)(index + count - 1));
	} else {
		for (uint64_t at = 0; at < count; at += b.count) {
			tmem_block_cut(&b, (uint32_t)(index + at), count - at);
			found += flush_block(&b);
		}
	}
	return found < INT_MAX ? (int)found : INT_MAX;
}

int tmem_op_flush_object(struct tmem_pool *pool, const struct tmem_oid *oid)
{
	struct tmem_block b;

	tmem_block_init(&b, pool, oid);
	if (!walk(&b, 0, UINT32_MAX))
		return TMEM_MISS;
	b.s = 0;
	tmem_lock_acquire(&tmem_block_shard(&b)->lock);
	tmem_block_stats(&b)[TMEM_POOL_STAT_object_flushes]++;
	tmem_lock_release(&tmem_block_shard(&b)->lock);
	return TMEM_OK;
}
