/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Charges (charge.h). The sums are relaxed atomics: they guide eviction and
 * caps, and guard no other memory.
 */
#include "charge.h"
#include <limits.h>
#include <string.h>

/* Buckets of leaves that a recount goes through in one hold of a shard's lock:
 * some 2,000 pages, about 0.2 ms. */
#define SLICE_BUCKETS 256u

/* Slices of a step: more than the small shards of a small store are. */
#define STEP_SLICES (TMEM_SHARDS + 4)

/* No store is ever charged so much; a larger cap would overflow where it is
 * multiplied by the users of a shared pool. */
#define CAP_MOST (INT64_MAX / 4 / TMEM_CLIENTS_MAX)

static int64_t get(const _Atomic(int64_t) *sum)
{
	return atomic_load_explicit(sum, memory_order_relaxed);
}

static int64_t add(_Atomic(int64_t) *sum, int64_t value)
{
	return atomic_fetch_add_explicit(sum, value, memory_order_relaxed) +
	       value;
}

/* What a handle adds to the sums of its pool's part. */
struct cost {
	int64_t charge;
	int64_t bytes;
	uint64_t fills;
	uint64_t shared; /* contents, other than FILL, with other handles too */
};

/* Of a handle whose content is held in size bytes (FILL: 0) and has refs. */
static struct cost cost_of(uint32_t size, uint32_t refs)
{
	struct cost cost = {.charge = TMEM_PAGE_OVERHEAD, .bytes = size};

	if (size) {
		uint32_t slot = tmem_slab_slot_size(size);

		cost.shared = refs > 1;
		cost.charge += cost.shared ? slot / refs : slot;
	} else {
		cost.fills = 1;
	}
	return cost;
}

/* id 0: none, of no cost. */
static struct cost page_cost(const struct tmem_store *store, uint32_t id)
{
	if (!id)
		return (struct cost){0};
	return cost_of(tmem_content_load(&store->contents, id).size,
		       tmem_content_refs(&store->contents, id));
}

static bool joined(const struct tmem_pool_state *pool,
		   const struct tmem_client_state *client)
{
	for (struct tmem_use *use = pool->uses; use; use = use->next)
		if (use->client == client)
			return true;
	return false;
}

/* A client's parts of shared pools. */
static void shared_parts(const struct tmem_store *store,
			 const struct tmem_client_state *client,
			 int64_t *charge, int64_t *pages)
{
	uint32_t left =
		atomic_load_explicit(&client->joined, memory_order_relaxed);

	for (uint32_t i = 0; i < store->pool_end && left; i++) {
		struct tmem_pool_state *pool = tmem_store_pool(store, i);

		if (!pool || pool->owner || !joined(pool, client))
			continue;
		*charge += get(&pool->charge) / pool->users;
		*pages += get(&pool->pages) / pool->users;
		left--;
	}
}

int64_t tmem_charge_of(const struct tmem_store *store,
		       const struct tmem_client_state *client)
{
	int64_t charge = get(&client->charge), pages = 0;

	shared_parts(store, client, &charge, &pages);
	return charge > 0 ? charge : 0;
}

int64_t tmem_charge_pages_of(const struct tmem_store *store,
			     const struct tmem_client_state *client)
{
	int64_t charge = 0, pages = get(&client->pages);

	shared_parts(store, client, &charge, &pages);
	return pages;
}

bool tmem_charge_limit(struct tmem_use *use, struct tmem_limit *limit)
{
	struct tmem_client_state *client = use->client;
	struct tmem_pool_state *pool = use->pool;
	int64_t cap = (int64_t)atomic_load_explicit(&client->record->cap,
						    memory_order_relaxed);
	int64_t most = (int64_t)atomic_load_explicit(&client->record->maxmem,
						     memory_order_relaxed);
	int64_t charge = 0, pages = 0, users = 1;

	limit->charge = limit->pages = INT64_MAX;
	if (!cap && !most)
		return false;
	if (atomic_load_explicit(&client->joined, memory_order_relaxed)) {
		tmem_lock_acquire(&use->store->admin);
		shared_parts(use->store, client, &charge, &pages);
		users = pool->users;
		tmem_lock_release(&use->store->admin);
	}
	if (cap > CAP_MOST)
		cap = CAP_MOST;
	if (cap)
		limit->charge = cap - charge;
	if (most)
		limit->pages = most / TMEM_PAGE_SIZE - pages;
	if (pool->owner)
		return true;
	/* A shared pool grows by users pages when this client's part does by
	 * one. */
	if (cap)
		limit->charge = get(&pool->charge) +
				(limit->charge - get(&client->charge)) * users;
	if (most)
		limit->pages = get(&pool->pages) +
			       (limit->pages - get(&client->pages)) * users;
	return true;
}

static void raise_peak(struct tmem_pool_state *pool, int64_t pages)
{
	uint64_t peak = atomic_load_explicit(&pool->peak, memory_order_relaxed);

	while (pages > 0 && peak < (uint64_t)pages &&
	       !atomic_compare_exchange_weak_explicit(
		       &pool->peak, &peak, (uint64_t)pages,
		       memory_order_relaxed, memory_order_relaxed))
		;
}

/* Into the sums of the owner and the pool; false past the limit. */
static bool try_sums(struct tmem_pool_state *pool, int64_t charge,
		     int64_t pages, const struct tmem_limit *limit)
{
	struct tmem_client_state *owner = pool->owner;
	int64_t now_charge = add(&pool->charge, charge);
	int64_t now_pages = add(&pool->pages, pages);
	int64_t pool_pages = now_pages;

	if (owner) {
		now_charge = add(&owner->charge, charge);
		now_pages = add(&owner->pages, pages);
	}
	if (limit && ((charge > 0 && now_charge > limit->charge) ||
		      (pages > 0 && now_pages > limit->pages))) {
		try_sums(pool, -charge, -pages, NULL);
		return false;
	}
	raise_peak(pool, pool_pages);
	return true;
}

/* Into the sums of a part, and of the recount that has passed leaf. */
static void part_sums(const struct tmem_store *store,
		      struct tmem_pool_state *pool, unsigned s,
		      const struct tmem_leaf *leaf, struct cost cost)
{
	const struct tmem_shard *shard = &store->index.shard[s];
	struct tmem_pool_shard *part = &pool->shard[s];

	part->charge += cost.charge;
	part->stored_bytes += (uint64_t)cost.bytes;
	if (shard->recounting && leaf->counted == shard->counted) {
		part->recount += cost.charge;
		part->recount_bytes += (uint64_t)cost.bytes;
	}
}

bool tmem_charge_swap(struct tmem_store *store, struct tmem_pool_state *pool,
		      unsigned s, const struct tmem_leaf *leaf, uint32_t old,
		      uint32_t new, const struct tmem_limit *limit)
{
	struct tmem_pool_shard *part = &pool->shard[s];
	struct cost cost = page_cost(store, new), gone = page_cost(store, old);
	int64_t pages = (new != 0) - (old != 0);

	cost.charge -= gone.charge;
	cost.bytes -= gone.bytes;
	if (!try_sums(pool, cost.charge, pages, limit))
		return false;
	part->pages += (uint64_t)pages;
	part->fill_pages += cost.fills - gone.fills;
	part_sums(store, pool, s, leaf, cost);
	if (!part->pages) {
		/* What is left without pages is drift. */
		try_sums(pool, -part->charge, 0, NULL);
		part->charge = 0;
		part->recount = 0;
		part->stored_bytes = 0;
		part->recount_bytes = 0;
	}
	if (cost.shared + gone.shared)
		atomic_fetch_add_explicit(&store->drift,
					  cost.shared + gone.shared,
					  memory_order_relaxed);
	return true;
}

void tmem_charge_recoded(struct tmem_store *store, struct tmem_pool_state *pool,
			 unsigned s, const struct tmem_leaf *leaf, uint32_t id,
			 uint32_t size)
{
	uint32_t refs = tmem_content_refs(&store->contents, id);
	struct cost old = cost_of(size, refs), cost = page_cost(store, id);

	cost.charge -= old.charge;
	cost.bytes -= old.bytes;
	try_sums(pool, cost.charge, 0, NULL);
	part_sums(store, pool, s, leaf, cost);
	if (refs > 1)
		tmem_charge_drift(store, refs - 1);
}

void tmem_charge_drift(struct tmem_store *store, uint32_t handles)
{
	atomic_fetch_add_explicit(&store->drift, handles, memory_order_relaxed);
	atomic_store_explicit(&store->bytes_drift, true, memory_order_relaxed);
}

/* Under the lock of shard s, for which the end of a pool waits. */
static void each_pool(struct tmem_store *store, unsigned s,
		      void (*fn)(struct tmem_pool_state *pool, unsigned s))
{
	for (uint32_t i = 0; i < store->pool_end; i++) {
		struct tmem_pool_state *pool = tmem_store_pool(store, i);

		if (pool)
			fn(pool, s);
	}
}

static void begin(struct tmem_pool_state *pool, unsigned s)
{
	pool->shard[s].recount = 0;
	pool->shard[s].recount_bytes = 0;
}

static void settle(struct tmem_pool_state *pool, unsigned s)
{
	struct tmem_pool_shard *part = &pool->shard[s];
	int64_t change = part->recount - part->charge;

	part->charge = part->recount;
	part->stored_bytes = part->recount_bytes;
	try_sums(pool, change, 0, NULL);
}

static void recount_leaf(struct tmem_store *store, unsigned s,
			 struct tmem_leaf *leaf)
{
	struct tmem_object *object = tmem_index_object(
		&store->index,
		atomic_load_explicit(&leaf->object, memory_order_relaxed));
	struct tmem_pool_state *pool = tmem_store_pool(
		store,
		atomic_load_explicit(&object->pool, memory_order_relaxed));

	if (leaf->counted == store->index.shard[s].counted)
		return;
	leaf->counted = store->index.shard[s].counted;
	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++) {
		uint32_t id = atomic_load_explicit(&leaf->content[i],
						   memory_order_relaxed);
		struct cost cost;

		if (!id)
			continue;
		cost = page_cost(store, id);
		pool->shard[s].recount += cost.charge;
		pool->shard[s].recount_bytes += (uint64_t)cost.bytes;
	}
}

/* Go through a slice of a shard. Puts and flushes go on between slices: a leaf
 * that has been passed says so, and what changes in it is added to the recount
 * as well. */
static void recount_slice(struct tmem_store *store, unsigned s,
			  struct tmem_walk *walk)
{
	struct tmem_shard *shard = &store->index.shard[s];
	struct tmem_buckets *leaves = &shard->leaves;

	if (!shard->recounting) {
		each_pool(store, s, begin);
		shard->counted = !shard->counted;
		shard->recounting = true;
		/* It may grow: what a new bucket gets has been counted, or is
		 * there when its turn comes. */
		leaves->keeps_size = true;
	}
	for (uint32_t n = 0; n < SLICE_BUCKETS && walk->at < leaves->size;
	     n++) {
		uint32_t id = *tmem_buckets_at(leaves, walk->at++);

		while (id) {
			struct tmem_leaf *leaf =
				tmem_index_leaf(&store->index, id);

			recount_leaf(store, s, leaf);
			id = leaf->chain;
		}
	}
	if (walk->at == leaves->size) {
		shard->recounting = false;
		leaves->keeps_size = false;
		each_pool(store, s, settle);
		walk->done = true;
	}
}

static void begin_recount(struct tmem_store *store)
{
	struct tmem_recount *recount = &store->recount;

	tmem_lock_assert_held(&recount->lock);
	if (recount->underway)
		return;
	recount->underway = true;
	memset(recount->walk, 0, sizeof(recount->walk));
	/* Before it: what drifts meanwhile is for the next one. */
	atomic_store_explicit(&store->drift, 0, memory_order_relaxed);
	atomic_store_explicit(&store->bytes_drift, false, memory_order_relaxed);
}

/* Go on with the recount by at most so many slices: from shard to shard, so
 * that who waits for one gets it. */
static void go_on(struct tmem_store *store, unsigned slices)
{
	struct tmem_recount *recount = &store->recount;
	unsigned done = 0;

	tmem_lock_assert_held(&recount->lock);
	for (unsigned s = recount->next; slices && done < TMEM_SHARDS;
	     s = (s + 1) % TMEM_SHARDS) {
		struct tmem_shard *shard = &store->index.shard[s];

		recount->next = (s + 1) % TMEM_SHARDS;
		if (recount->walk[s].done) {
			done++;
			continue;
		}
		done = 0;
		tmem_lock_acquire(&shard->lock);
		recount_slice(store, s, &recount->walk[s]);
		tmem_lock_release(&shard->lock);
		slices--;
	}
	recount->underway = done < TMEM_SHARDS;
}

/* Whether at least one page in fraction has drifted. */
static bool is_due(struct tmem_store *store, unsigned fraction)
{
	uint64_t drift =
		atomic_load_explicit(&store->drift, memory_order_relaxed);
	uint64_t pages = 0;

	if (drift == 0)
		return false;
	tmem_lock_acquire(&store->admin);
	for (uint32_t i = 0; i < store->pool_end; i++) {
		struct tmem_pool_state *pool = tmem_store_pool(store, i);

		if (pool)
			pages += (uint64_t)get(&pool->pages);
	}
	tmem_lock_release(&store->admin);
	return drift >= pages / fraction;
}

void tmem_charge_recount(struct tmem_store *store)
{
	struct tmem_recount *recount = &store->recount;

	tmem_lock_acquire(&recount->lock);
	/* One under way may have passed what has drifted since. */
	if (recount->underway)
		go_on(store, UINT_MAX);
	begin_recount(store);
	go_on(store, UINT_MAX);
	tmem_lock_release(&recount->lock);
}

void tmem_charge_refresh(struct tmem_store *store, unsigned fraction)
{
	if (is_due(store, fraction))
		tmem_charge_recount(store);
}

void tmem_charge_step(struct tmem_store *store, unsigned fraction)
{
	struct tmem_recount *recount = &store->recount;

	if (!tmem_lock_try(&recount->lock))
		return;
	if (!recount->underway && is_due(store, fraction))
		begin_recount(store);
	if (recount->underway)
		go_on(store, STEP_SLICES);
	tmem_lock_release(&recount->lock);
}
