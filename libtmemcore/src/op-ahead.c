/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Beginning to fetch what a store looks at for pages that somebody is about to
 * get or put (tmem_ahead()). Each record says where the next one is, and in a
 * store of many pages none of them is in the caches:
 *
 *   bucket -> leaf -> content's word and meta -> get: its bytes
 *                                                put: its slab -> slot's owner
 *
 * A page alone waits for one after the other. Of many pages all buckets are
 * fetched at once, then all leaves, and so on.
 *
 * The shard's lock keeps in place what is looked at on the way. It is not
 * waited for.
 *
 * Measured, requests of NBD clients at depth 32, processor time of the server:
 * a write 6.0 us instead of 7.0, a read 4.2 us instead of 4.6.
 */
#include "block.h"
#include "nursery.h"
#include "op.h"

static uint32_t find_content(const struct tmem_block *b)
{
	uint32_t id = tmem_index_find_leaf(&b->store->index,
					   tmem_block_shard(b), &b->key);

	if (!id)
		return 0;
	return atomic_load_explicit(
		&tmem_index_leaf(&b->store->index, id)->content[b->first],
		memory_order_relaxed);
}

static void fetch_bucket(const struct tmem_block *b)
{
	tmem_index_prefetch_bucket(&b->store->index, tmem_block_shard(b),
				   &b->key);
}

static void fetch_leaf(const struct tmem_block *b)
{
	tmem_index_prefetch_leaf(&b->store->index, tmem_block_shard(b),
				 &b->key);
}

static void fetch_next_leaf(const struct tmem_block *b)
{
	tmem_index_prefetch_next(&b->store->index, tmem_block_shard(b),
				 &b->key);
}

static void fetch_content(const struct tmem_block *b)
{
	uint32_t id = find_content(b);

	if (id)
		tmem_content_prefetch(&b->store->contents, id);
}

static void fetch_slab(const struct tmem_block *b)
{
	uint32_t id = find_content(b);

	if (!id)
		return;
	tmem_content_prefetch_slab(&b->store->contents, id);
	tmem_nursery_prefetch(b->store, b->s, id);
}

static void fetch_owner(const struct tmem_block *b)
{
	uint32_t id = find_content(b);

	/* Pinned, it stays in its slot, which keeps the slab. */
	if (!id || !tmem_content_try_pin(&b->store->contents, id))
		return;
	tmem_content_prefetch_owner(&b->store->contents, id);
	tmem_content_unpin(&b->store->contents, id);
}

static void fetch_bytes(const struct tmem_block *b)
{
	uint32_t id = find_content(b);

	if (id)
		tmem_content_prefetch_bytes(&b->store->contents, id);
}

typedef void fetch_fn(const struct tmem_block *b);

void tmem_op_ahead(struct tmem_pool *pool, const struct tmem_oid *oid,
		   const uint32_t *indexes, unsigned count, bool put)
{
	fetch_fn *const steps[] = {
		fetch_bucket,
		fetch_leaf,
		fetch_next_leaf,
		fetch_content,
		put ? fetch_slab : fetch_bytes,
		put ? fetch_owner : NULL,
	};
	struct tmem_block b;

	tmem_block_init(&b, pool, oid);
	for (unsigned n = 0; n < sizeof(steps) / sizeof(*steps); n++) {
		for (unsigned i = 0; i < count && steps[n]; i++) {
			tmem_block_cut(&b, indexes[i], 1);
			if (!tmem_lock_try(&tmem_block_shard(&b)->lock))
				continue;
			steps[n](&b);
			tmem_lock_release(&tmem_block_shard(&b)->lock);
		}
	}
}
