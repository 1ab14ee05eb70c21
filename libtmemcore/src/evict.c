/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eviction (evict.h): whose page goes. The client with the largest charge for
 * its weight among those that have ephemeral pages; of its pools the one it is
 * charged most for; there, the pages of leaves that are tried, shard after
 * shard, and were not visited by a get:
 *
 *   put -> fresh leaf -> tried -> old leaf -> tried -> old leaf ...
 *                          |                    |
 *                          +--> not visited: its pages are evicted
 *
 * Fresh leaves wait in the order in which they came, old ones in that in which
 * they were tried last. While more of the pool's leaves are fresh than its way
 * of eviction allows (duel.h), fresh ones are tried, else old ones. The ghost
 * remembers pages that were evicted fresh: a leaf that gets one of these again
 * is old at once. When the way changes, what is held suits the former one: see
 * turn(). How much goes, and when, is evict-room.c's.
 */
#include "charge.h"
#include "evict-priv.h"
#include "pool.h"

/* Pages and leaves that one hold of a shard's lock goes through. */
#define HOLD_PAGES  64u
#define HOLD_LEAVES 512u
#define LAP_PARTS   16u
#define GHOST_MIN   16u
/* The last leaf may bring more. */
#define HOLD_MOST (HOLD_PAGES - 1 + TMEM_LEAF_PAGES)

/* How many leaves of a shard are to be tried now, a part of a lap: small, so
 * that a shard that holds nothing but pages in use is not gone through again
 * before they are read again. Shards with few leaves have a turn less often, or
 * else their leaves would go sooner than others. */
static uint32_t lap_part(struct tmem_pool_shard *part)
{
	uint64_t due = part->due +
		       (uint64_t)atomic_load_explicit(&part->queue.count,
						      memory_order_relaxed);

	part->due = due % LAP_PARTS;
	due /= LAP_PARTS;
	return due < HOLD_LEAVES ? (uint32_t)due : HOLD_LEAVES;
}

/* How many more of a pool's leaves are fresh than its way allows. Only a
 * snapshot: the other shards go on. Those that adopt leaves will be all right
 * without any being tried. */
static int64_t excess(const struct tmem_pool_state *pool)
{
	int64_t fresh = 0, all = 0;

	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		const struct tmem_queue *queue = &pool->shard[s].queue;

		if (pool->shard[s].adopts)
			continue;
		fresh += atomic_load_explicit(&queue->fresh,
					      memory_order_relaxed);
		all += atomic_load_explicit(&queue->count,
					    memory_order_relaxed);
	}
	if (fresh >= all)
		return fresh;
	return fresh - all * pool->way->fresh / 100;
}

/* As long as there is memory. What a larger pool left behind goes. */
static void fit_ghost(struct tmem_store *store, struct tmem_pool_shard *part)
{
	uint32_t slots = tmem_ghost_slots_for(part->queue.count), *slot;

	if (slots < GHOST_MIN)
		slots = GHOST_MIN;
	if (tmem_ghost_fits(&part->ghost, slots))
		return;
	if (slots < part->ghost.slots)
		tmem_pool_drop_ghost(store, part);
	slot = tmem_budget_alloc(&store->budget, slots * sizeof(*slot));
	if (!slot)
		return;
	tmem_pool_drop_ghost(store, part);
	part->ghost.slot = slot;
	part->ghost.slots = slots;
}

static void remember(struct tmem_store *store, struct tmem_pool_state *pool,
		     unsigned s, const struct tmem_leaf *leaf, unsigned mask)
{
	const struct tmem_object *object = tmem_index_object(
		&store->index,
		atomic_load_explicit(&leaf->object, memory_order_relaxed));
	struct tmem_key key = {
		.pool = pool->id,
		.block = leaf->block,
		.oid = &object->oid,
	};

	key.hash = tmem_index_hash(&store->index, key.pool, key.oid);
	tmem_ghost_note(&pool->shard[s].ghost, tmem_index_name(&key), mask);
}

void tmem_evict_note_put(struct tmem_store *store, struct tmem_pool_state *pool,
			 unsigned s, const struct tmem_key *key, uint32_t leaf,
			 unsigned pages)
{
	struct tmem_pool_shard *part = &pool->shard[s];

	/* None of its pages has been read, or it were gone: how long ago they
	 * were put is all that is known of them. */
	if (pool->flags & TMEM_POOL_EXCLUSIVE && pool->kind == TMEM_EPHEMERAL &&
	    part->queue.head != leaf)
		tmem_index_renew_leaf(&store->index, &part->queue, leaf);
	if (part->ghost.slots && tmem_duel_way(&pool->duel)->ghost &&
	    tmem_index_leaf(&store->index, leaf)->fresh &&
	    tmem_ghost_of(&part->ghost, tmem_index_name(key)) & pages)
		tmem_index_age_leaf(&store->index, &part->queue, leaf);
}

/* The pool has another way than at the last sweep. Compact lock. */
static void turn(struct tmem_pool_state *pool, const struct tmem_way *way)
{
	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		struct tmem_pool_shard *part = &pool->shard[s];
		uint32_t all = atomic_load_explicit(&part->queue.count,
						    memory_order_relaxed);
		uint32_t fresh = atomic_load_explicit(&part->queue.fresh,
						      memory_order_relaxed);

		part->adopts = way->ghost;
		part->stale = way->ghost || fresh > all ? 0 : all - fresh;
	}
	pool->way = way;
}

static uint32_t oldest_fresh(const struct tmem_store *store,
			     const struct tmem_queue *queue)
{
	return queue->old
		       ? tmem_index_leaf(&store->index, queue->old)->queue_prev
		       : queue->tail;
}

static void adopt(struct tmem_store *store, struct tmem_pool_shard *part,
		  const struct tmem_way *way)
{
	struct tmem_queue *queue = &part->queue;

	for (unsigned i = 0; i < HOLD_LEAVES && part->adopts; i++) {
		part->adopts = (uint64_t)queue->fresh * 100 >
			       (uint64_t)queue->count * way->fresh;
		if (part->adopts)
			tmem_index_age_leaf(&store->index, queue,
					    oldest_fresh(store, queue));
	}
}

/* Try the leaf whose turn it is; returns how many pages were taken. */
static unsigned try_leaf(struct tmem_store *store, struct tmem_pool_state *pool,
			 unsigned s, bool fresh, struct tmem_drops *drops)
{
	struct tmem_pool_shard *part = &pool->shard[s];
	struct tmem_queue *queue = &part->queue;
	uint32_t id = fresh ? oldest_fresh(store, queue) : queue->tail;
	struct tmem_leaf *leaf = tmem_index_leaf(&store->index, id);
	unsigned mask;

	mask = ~leaf->visited & tmem_index_leaf_pages(leaf);
	if (leaf->fresh && mask)
		remember(store, pool, s, leaf, mask);
	leaf->visited = 0;
	tmem_index_age_leaf(&store->index, queue, id);
	return tmem_pool_take(store, pool, s, id, mask, drops);
}

static void evict_shard(struct tmem_store *store, struct tmem_pool_state *pool,
			unsigned s, struct evict_sweep *sweep,
			struct tmem_drops *drops)
{
	struct tmem_shard *shard = &store->index.shard[s];
	struct tmem_pool_shard *part = &pool->shard[s];
	uint32_t left = lap_part(part);
	unsigned taken = 0;
	int64_t over;

	sweep->idle++;
	if (!left)
		return;
	over = excess(pool);
	tmem_lock_acquire(&shard->lock);
	sweep->bytes += part->charge;
	if (!(pool->flags & TMEM_POOL_EXCLUSIVE))
		fit_ghost(store, part);
	adopt(store, part, pool->way);
	for (; left && part->queue.tail && taken < HOLD_PAGES; left--, over--) {
		bool stale = over > 0 && part->queue.old && part->stale;

		if (over > 0 && !stale && !part->queue.fresh)
			break;
		part->stale -= stale;
		taken += try_leaf(store, pool, s, over > 0 && !stale, drops);
		sweep->looked++;
		sweep->idle = 0;
	}
	sweep->bytes -= part->charge;
	part->evictions += taken;
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

	tmem_lock_assert_held(&store->compact);
	if (pool->way != tmem_duel_way(&pool->duel))
		turn(pool, tmem_duel_way(&pool->duel));
	drops.count = 0;
	/* The first lap may do no more than clear marks; where no shard has
	 * anything to try, others have taken what there was. */
	while (left > 0 && sweep.pages < most &&
	       (sweep.bytes < bytes || sweep.pages < pages) &&
	       sweep.looked <= 2 * left + TMEM_SHARDS &&
	       sweep.idle <= LAP_PARTS * TMEM_SHARDS) {
		unsigned s = atomic_fetch_add_explicit(&pool->cursor, 1,
						       memory_order_relaxed) %
			     TMEM_SHARDS;

		evict_shard(store, pool, s, &sweep, &drops);
		if (drops.count > TMEM_SLAB_BATCH - HOLD_MOST)
			tmem_drops_drop_to(store, &drops, ends);
		left = evict_pages_of(pool);
	}
	tmem_drops_drop_to(store, &drops, ends);
	if (!(pool->flags & TMEM_POOL_EXCLUSIVE))
		tmem_duel_fit(&pool->duel, &store->budget, (uint64_t)left);
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
