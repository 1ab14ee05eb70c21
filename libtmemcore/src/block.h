/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What put, get and flush share: a run is cut into blocks, the pages that share
 * a leaf, and each block goes its way at once.
 *
 * Threading: a block is its thread's own, on the stack.
 */
#ifndef TMEM_BLOCK_H
#define TMEM_BLOCK_H

#include "state.h"

/** The bit of page i of a leaf in a mask. */
#define TMEM_FLAG(i) (1u << (i))

/** Pages of one leaf on their way. */
struct tmem_block {
	struct tmem_use *use;
	struct tmem_store *store;
	struct tmem_pool_state *pool;
	struct tmem_key key;
	unsigned s;	/* its shard */
	unsigned first; /* page in the leaf */
	unsigned count;
};

static inline struct tmem_shard *tmem_block_shard(const struct tmem_block *b)
{
	return &b->store->index.shard[b->s];
}

static inline uint64_t *tmem_block_stats(const struct tmem_block *b)
{
	return b->use->stat[b->s];
}

static inline unsigned tmem_block_mask(const struct tmem_block *b)
{
	return ((1u << b->count) - 1) << b->first;
}

static inline void tmem_block_init(struct tmem_block *b, struct tmem_pool *pool,
				   const struct tmem_oid *oid)
{
	b->use = (struct tmem_use *)pool;
	b->store = b->use->store;
	b->pool = b->use->pool;
	b->key.pool = b->pool->id;
	b->key.oid = oid;
	b->key.hash = tmem_index_hash(&b->store->index, b->pool->id, oid);
}

/** Cut the next block off a run. */
static inline void tmem_block_cut(struct tmem_block *b, uint32_t index,
				  uint64_t left)
{
	b->key.block = index / TMEM_LEAF_PAGES;
	b->s = tmem_index_shard_of(&b->key);
	b->first = index % TMEM_LEAF_PAGES;
	b->count = TMEM_LEAF_PAGES - b->first;
	if (b->count > left)
		b->count = (unsigned)left;
}

#endif
