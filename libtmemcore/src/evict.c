/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eviction (evict.h): whose page goes. The client with the largest charge for
 * its weight among those that have ephemeral pages; of its pools the one it is
 * charged most for; there, in the shard where the last sweep ended, SIEVE at
 * the grain of leaves: the hand walks from the oldest leaf to the youngest,
 * takes the pages that no get has visited since it last came by, and clears the
 * marks of the others. How much goes, and when, is evict-room.c's.
 */
#include "charge.h"
#include "evict-priv.h"
#include "pool.h"

/* Pages and leaves that one hold of a shard's lock goes through. */
#define HOLD_PAGES  64u
#define HOLD_LEAVES 512u
/* The last leaf may bring more. */
#define HOLD_MOST (HOLD_PAGES - 1 + TMEM_LEAF_PAGES)

/* A part of a lap: small, so that a shard that holds nothing but pages in use
 * is not gone through again before they are read again. */
static uint64_t lap_part(const struct tmem_queue *queue)
{
	uint32_t part = queue->count / 16;

	if (part > HOLD_LEAVES)
		return HOLD_LEAVES;
	return part ? part : 1;
}

static void evict_shard(struct tmem_store *store, struct tmem_pool_state *pool,
			unsigned s, struct evict_sweep *sweep,
			struct tmem_drops *drops)
{
	struct tmem_shard *shard = &store->index.shard[s];
	struct tmem_queue *queue = &pool->shard[s].queue;
	unsigned taken = 0;

	tmem_lock_acquire(&shard->lock);
	sweep->bytes += pool->shard[s].charge;
	for (uint64_t left = lap_part(queue);
	     left && queue->tail && taken < HOLD_PAGES; left--) {
		uint32_t id = queue->hand ? queue->hand : queue->tail;
		struct tmem_leaf *leaf = tmem_index_leaf(&store->index, id);
		unsigned mask = ~leaf->visited & 0xffu;

		leaf->visited = 0;
		queue->hand = leaf->queue_prev;
		taken += tmem_pool_take(store, pool, s, id, mask, drops);
		sweep->looked++;
	}
	sweep->bytes -= pool->shard[s].charge;
	pool->shard[s].evictions += taken;
	tmem_lock_release(&shard->lock);
	sweep->pages += taken;
	if (taken)
		sweep->looked = 0;
}

/* It ends when as many are gone as there are now: others may put as fast as
 * this evicts, and so neither what the pool is charged nor what it holds need
 * ever fall. */
struct evict_sweep evict_pool(struct tmem_store *store,
			      struct tmem_pool_state *pool, int64_t bytes,
			      int64_t pages, struct tmem_slab_ends *ends)
{
	int64_t most = evict_pages_of(pool), left = most;
	struct evict_sweep sweep = {0};
	struct tmem_drops drops;

	drops.count = 0;
	/* The first lap may do no more than clear marks. */
	while (left > 0 && sweep.pages < most &&
	       (sweep.bytes < bytes || sweep.pages < pages) &&
	       sweep.looked <= 2 * left + TMEM_SHARDS) {
		unsigned s = atomic_fetch_add_explicit(&pool->cursor, 1,
						       memory_order_relaxed) %
			     TMEM_SHARDS;

		evict_shard(store, pool, s, &sweep, &drops);
		if (drops.count > TMEM_SLAB_BATCH - HOLD_MOST)
			tmem_drops_drop_to(store, &drops, ends);
		left = evict_pages_of(pool);
	}
	tmem_drops_drop_to(store, &drops, ends);
	return sweep;
}

/* What each client is charged, all told, into its sum. Admin lock. */
static void sum_charges(struct tmem_store *store)
{
	for (uint32_t i = 0; i < store->client_end; i++)
		if (store->client[i])
			store->client[i]->sum =
				atomic_load_explicit(&store->client[i]->charge,
						     memory_order_relaxed);
	for (uint32_t i = 0; i < store->pool_end; i++) {
		struct tmem_pool_state *pool = tmem_store_pool(store, i);

		if (!pool || pool->owner)
			continue;
		for (struct tmem_use *use = pool->uses; use; use = use->next)
			use->client->sum +=
				atomic_load_explicit(&pool->charge,
						     memory_order_relaxed) /
				pool->users;
	}
}

static bool further_above(const struct tmem_client_state *a,
			  const struct tmem_client_state *b)
{
	int64_t weight_a =
		atomic_load_explicit(&a->record->weight, memory_order_relaxed);
	int64_t weight_b =
		atomic_load_explicit(&b->record->weight, memory_order_relaxed);

	return a->sum * weight_b > b->sum * weight_a;
}

/* Who uses a pool: its owner, or all that joined it. */
static struct tmem_client_state *user(const struct tmem_pool_state *pool,
				      struct tmem_use **use)
{
	struct tmem_client_state *client;

	if (pool->owner) {
		client = *use ? pool->owner : NULL;
		*use = NULL;
		return client;
	}
	client = *use ? (*use)->client : NULL;
	*use = *use ? (*use)->next : NULL;
	return client;
}

/* The client that pays, among those with ephemeral pages. Admin lock. */
static struct tmem_client_state *pick_client(struct tmem_store *store)
{
	struct tmem_client_state *best = NULL, *client;

	sum_charges(store);
	for (uint32_t i = 0; i < store->pool_end; i++) {
		struct tmem_pool_state *pool = tmem_store_pool(store, i);
		struct tmem_use *use;

		if (!evict_evictable(pool))
			continue;
		use = pool->uses;
		while ((client = user(pool, &use)))
			if (!best || further_above(client, best))
				best = client;
	}
	return best;
}

struct tmem_pool_state *evict_pick_pool(struct tmem_store *store,
					const struct tmem_client_state *of)
{
	struct tmem_pool_state *best = NULL;
	struct tmem_client_state *client;
	int64_t most = INT64_MIN;

	for (uint32_t i = 0; i < store->pool_end; i++) {
		struct tmem_pool_state *pool = tmem_store_pool(store, i);
		struct tmem_use *use;
		int64_t charge;

		if (!evict_evictable(pool))
			continue;
		use = pool->uses;
		while ((client = user(pool, &use)) && client != of)
			;
		charge = atomic_load_explicit(&pool->charge,
					      memory_order_relaxed) /
			 pool->users;
		if (client && charge > most) {
			most = charge;
			best = pool;
		}
	}
	if (best)
		best->refs++;
	return best;
}

struct tmem_pool_state *evict_pick(struct tmem_store *store)
{
	struct tmem_pool_state *pool = NULL;
	struct tmem_client_state *client;

	tmem_charge_step(store, 4);
	tmem_lock_acquire(&store->admin);
	client = pick_client(store);
	if (client)
		pool = evict_pick_pool(store, client);
	tmem_lock_release(&store->admin);
	return pool;
}
