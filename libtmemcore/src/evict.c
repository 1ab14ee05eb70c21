/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eviction and room-making (evict.h).
 *
 * Whose page goes: the client with the largest charge for its weight among
 * those that have ephemeral pages; of its pools the one it is charged most for;
 * there, in the shard where the last sweep ended, SIEVE at the grain of leaves:
 * the hand walks from the oldest leaf to the youngest, takes the pages that no
 * get has visited since it last came by, and clears the marks of the others.
 *
 *   full -> spare slabs, compaction -> (enough?) -> evict a batch -> compaction
 *             ^                                                         |
 *             +-------------------- still full -------------------------+
 *
 * Pages go in batches, since one page frees one slot, and only a whole slab
 * gives memory to who needs another kind or class of it.
 */
#include "evict.h"
#include <errno.h>
#include "charge.h"
#include "pool.h"

#define BATCH_MIN (INT64_C(128) << 10)
#define BATCH_MAX (INT64_C(4) << 20)

/* Who asks for bytes has pages evicted that were charged with up to so many
 * times as much: in sparse slabs, or shared with others, they free less. */
#define RECLAIM_PARTS 4

/* At its cap, a client that puts more loses this part of it at a time, so that
 * not every put of it makes room. */
#define CAP_PARTS 64

/* Pages and leaves that one hold of a shard's lock goes through. */
#define HOLD_PAGES  64u
#define HOLD_LEAVES 512u

static uint64_t batch_bytes(const struct tmem_store *store)
{
	uint64_t bytes = atomic_load_explicit(&store->budget.limit,
					      memory_order_relaxed) /
			 64;

	if (bytes < BATCH_MIN)
		return BATCH_MIN;
	return bytes < BATCH_MAX ? bytes : BATCH_MAX;
}

static uint64_t used(const struct tmem_store *store)
{
	return atomic_load_explicit(&store->budget.used, memory_order_relaxed);
}

static int64_t pages_of(const struct tmem_pool_state *pool)
{
	return atomic_load_explicit(&pool->pages, memory_order_relaxed);
}

/* A part of a lap: small, so that a shard that holds nothing but pages in use
 * is not gone through again before they are read again. */
static uint64_t lap_part(const struct tmem_queue *queue)
{
	uint32_t part = queue->count / 16;

	if (part > HOLD_LEAVES)
		return HOLD_LEAVES;
	return part ? part : 1;
}

/* What a sweep through a pool has come to. */
struct sweep {
	int64_t looked; /* leaves that the hand passed since it took a page */
	int64_t pages;	/* evicted */
	int64_t bytes;	/* that were charged for them */
};

static void evict_shard(struct tmem_store *store, struct tmem_pool_state *pool,
			unsigned s, struct sweep *sweep)
{
	struct tmem_shard *shard = &store->index.shard[s];
	struct tmem_queue *queue = &pool->shard[s].queue;
	struct tmem_drops drops;
	unsigned taken = 0;

	drops.count = 0;
	tmem_lock_acquire(&shard->lock);
	sweep->bytes += pool->shard[s].charge;
	for (uint64_t left = lap_part(queue);
	     left && queue->tail && taken < HOLD_PAGES; left--) {
		uint32_t id = queue->hand ? queue->hand : queue->tail;
		struct tmem_leaf *leaf = tmem_index_leaf(&store->index, id);
		unsigned mask = ~leaf->visited & 0xffu;

		leaf->visited = 0;
		queue->hand = leaf->queue_prev;
		taken += tmem_pool_take(store, pool, s, id, mask, &drops);
		sweep->looked++;
	}
	sweep->bytes -= pool->shard[s].charge;
	pool->shard[s].evictions += taken;
	tmem_lock_release(&shard->lock);
	tmem_drops_drop(store, &drops);
	sweep->pages += taken;
	if (taken)
		sweep->looked = 0;
}

/* Evict until pages that were charged with bytes are gone, or as many as there
 * are now: others may put as fast as this evicts, and so neither what the pool
 * is charged nor what it holds need ever fall. */
static struct sweep evict_pool(struct tmem_store *store,
			       struct tmem_pool_state *pool, int64_t bytes,
			       int64_t pages)
{
	int64_t most = pages_of(pool), left = most;
	struct sweep sweep = {0};

	/* The first lap may do no more than clear marks. */
	while (left > 0 && sweep.pages < most &&
	       (sweep.bytes < bytes || sweep.pages < pages) &&
	       sweep.looked <= 2 * left + TMEM_SHARDS) {
		unsigned s = atomic_fetch_add_explicit(&pool->cursor, 1,
						       memory_order_relaxed) %
			     TMEM_SHARDS;

		evict_shard(store, pool, s, &sweep);
		left = pages_of(pool);
	}
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

static bool evictable(const struct tmem_pool_state *pool)
{
	return pool && pool->kind == TMEM_EPHEMERAL && !pool->dead &&
	       pages_of(pool) > 0;
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

	tmem_charge_refresh(store, 4);
	sum_charges(store);
	for (uint32_t i = 0; i < store->pool_end; i++) {
		struct tmem_pool_state *pool = tmem_store_pool(store, i);
		struct tmem_use *use;

		if (!evictable(pool))
			continue;
		use = pool->uses;
		while ((client = user(pool, &use)))
			if (!best || further_above(client, best))
				best = client;
	}
	return best;
}

/* The pool, referenced, that a client is charged most for. Admin lock. */
static struct tmem_pool_state *pick_pool(struct tmem_store *store,
					 const struct tmem_client_state *of)
{
	struct tmem_pool_state *best = NULL;
	struct tmem_client_state *client;
	int64_t most = INT64_MIN;

	for (uint32_t i = 0; i < store->pool_end; i++) {
		struct tmem_pool_state *pool = tmem_store_pool(store, i);
		struct tmem_use *use;
		int64_t charge;

		if (!evictable(pool))
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

static struct tmem_pool_state *pick(struct tmem_store *store)
{
	struct tmem_pool_state *pool = NULL;
	struct tmem_client_state *client;

	tmem_lock_acquire(&store->admin);
	client = pick_client(store);
	if (client)
		pool = pick_pool(store, client);
	tmem_lock_release(&store->admin);
	return pool;
}

/* Under the compact lock. */
static uint64_t give_back(struct tmem_store *store, uint64_t bytes)
{
	uint64_t freed = tmem_slab_trim(store->slabs), moved;

	tmem_lock_assert_held(&store->compact);
	if (freed < bytes)
		freed += tmem_slab_compact(store->slabs, TMEM_KINDS,
					   bytes - freed, tmem_content_move,
					   &store->contents, &moved);
	return freed;
}

/* Evict a batch; what it comes to is added to sum, unless that is NULL. Returns
 * whether there was anything. */
static bool evict_batch(struct tmem_store *store, uint64_t bytes,
			struct sweep *sum)
{
	struct tmem_pool_state *pool = pick(store);
	struct sweep sweep;

	if (!pool)
		return false;
	sweep = evict_pool(store, pool, (int64_t)bytes, 1);
	tmem_pool_unref(store, pool);
	if (sum) {
		sum->pages += sweep.pages;
		sum->bytes += sweep.bytes;
	}
	return sweep.pages;
}

static bool make_room(struct tmem_store *store, unsigned made)
{
	uint64_t want = batch_bytes(store) << (made < 24 ? made : 24);
	uint64_t freed = give_back(store, want), evicted = 0;

	if (freed && made == 0)
		return true;
	while (freed < want && evicted < want) {
		uint64_t batch = batch_bytes(store);

		if (!evict_batch(store, batch, NULL))
			break;
		evicted += batch;
		freed += give_back(store, want);
	}
	return freed || evicted;
}

bool tmem_evict_room(struct tmem_store *store, uint64_t rooms, unsigned *made)
{
	bool more = true;

	tmem_lock_acquire(&store->compact);
	if (rooms == tmem_evict_rooms(store)) {
		more = make_room(store, (*made)++);
		/* Release: who sees the number may use the room. */
		if (more)
			atomic_fetch_add_explicit(&store->rooms, 1,
						  memory_order_release);
	}
	tmem_lock_release(&store->compact);
	return more;
}

/* What follows may have much to do, and goes by batches: others wait for the
 * lock. */
static int64_t at_most(int64_t value, int64_t most)
{
	return value < most ? value : most;
}

static int64_t ephemeral_pages(struct tmem_store *store)
{
	int64_t pages = 0;

	tmem_lock_acquire(&store->admin);
	for (uint32_t i = 0; i < store->pool_end; i++) {
		const struct tmem_pool_state *pool = tmem_store_pool(store, i);

		if (evictable(pool))
			pages += pages_of(pool);
	}
	tmem_lock_release(&store->admin);
	return pages;
}

void tmem_evict_down_to(struct tmem_store *store, uint64_t limit, int64_t most)
{
	int64_t pages = ephemeral_pages(store), freed = 0;
	struct sweep sum = {0};
	bool more = true;
	uint64_t now;

	while (more && freed < most && sum.pages <= pages &&
	       (sum.bytes - BATCH_MAX) / RECLAIM_PARTS < most &&
	       (now = used(store)) > limit) {
		int64_t over = at_most((int64_t)(now - limit), BATCH_MAX);
		uint64_t some;

		tmem_lock_acquire(&store->compact);
		some = give_back(store, (uint64_t)over);
		more = some || evict_batch(store, (uint64_t)over, &sum);
		tmem_lock_release(&store->compact);
		freed += (int64_t)some;
	}
}

uint64_t tmem_evict_compact(struct tmem_store *store)
{
	uint64_t freed = 0, some;

	do {
		tmem_lock_acquire(&store->compact);
		some = give_back(store, BATCH_MAX);
		tmem_lock_release(&store->compact);
		freed += some;
	} while (some);
	return freed;
}

/* How far a client is above what it may have, were it to get bytes and pages
 * more. Admin lock. */
static bool client_excess(struct tmem_store *store,
			  const struct tmem_client_state *client,
			  int64_t *bytes, int64_t *pages)
{
	int64_t cap = (int64_t)atomic_load_explicit(&client->record->cap,
						    memory_order_relaxed);
	int64_t most = (int64_t)atomic_load_explicit(&client->record->maxmem,
						     memory_order_relaxed);
	bool more = *bytes || *pages;

	*bytes += tmem_charge_of(store, client) - cap;
	*pages += tmem_charge_pages_of(store, client) - most / TMEM_PAGE_SIZE;
	if (!cap || *bytes <= 0)
		*bytes = 0;
	else if (more)
		*bytes += cap / CAP_PARTS;
	if (!most || *pages <= 0)
		*pages = 0;
	else if (more)
		*pages += most / TMEM_PAGE_SIZE / CAP_PARTS;
	return *bytes || *pages;
}

/* A pool to take from when a client is above what it may have; NULL when it is
 * not, or has nothing ephemeral. Referenced. */
static struct tmem_pool_state *pick_of(struct tmem_store *store, uint32_t id,
				       int64_t *bytes, int64_t *pages)
{
	struct tmem_client_state *client;
	struct tmem_pool_state *pool = NULL;

	tmem_lock_acquire(&store->admin);
	client = store->client[tmem_client_slot(id)];
	if (client && client->id == id) {
		tmem_charge_refresh(store, 4);
		if (client_excess(store, client, bytes, pages))
			pool = pick_pool(store, client);
	}
	tmem_lock_release(&store->admin);
	return pool;
}

bool tmem_evict_client(struct tmem_store *store, uint32_t client_id,
		       int64_t bytes, int64_t pages)
{
	struct sweep sweep;
	bool any = false;

	do {
		int64_t over = bytes, pages_over = pages;
		struct tmem_pool_state *pool;

		sweep.pages = 0;
		tmem_lock_acquire(&store->compact);
		pool = pick_of(store, client_id, &over, &pages_over);
		if (pool) {
			sweep = evict_pool(store, pool,
					   at_most(over, BATCH_MAX),
					   at_most(pages_over,
						   BATCH_MAX / TMEM_PAGE_SIZE));
			tmem_pool_unref(store, pool);
		}
		tmem_lock_release(&store->compact);
		any |= sweep.pages != 0;
	} while (sweep.pages);
	return any;
}
