/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pools (pool.h). The life of one:
 *
 *   none --create--> open --last user leaves--> idle --open--> open
 *    ^                 |                          |
 *    |                 | private ephemeral, last  | destroyed by the
 *    |                 | user of a shared         | administrator
 *    |                 v ephemeral, destroyed     v
 *    +---flushed---- dead <------------------------
 *
 * Dead is committed first, by the record's id: a process that dies while it
 * flushes leaves objects of no pool, which reopening frees. The slot stays
 * taken until the last leaf is gone.
 */
#include "pool.h"
#include <errno.h>
#include "charge.h"
#include "dedup-auto.h"
#include "domain.h"
#include "room.h"
#include "session.h"

/* Uses of a slot after which its id would be used again. */
#define USES_MAX ((1u << (32 - TMEM_POOL_SLOT_BITS)) - 1)

/* Contents that are better dropped together. */
#define DROPS_MANY 16u

enum tmem_codec tmem_pool_codec(const struct tmem_store *store,
				const struct tmem_pool_state *pool)
{
	unsigned codec = TMEM_CODEC_NONE;

	if (pool->owner)
		codec = atomic_load_explicit(&pool->owner->record->codec,
					     memory_order_relaxed);
	if (codec == TMEM_CODEC_NONE)
		codec = atomic_load_explicit(&pool->codec,
					     memory_order_relaxed);
	return codec != TMEM_CODEC_NONE ? (enum tmem_codec)codec : store->codec;
}

void tmem_drops_drop(struct tmem_store *store, struct tmem_drops *drops)
{
	struct tmem_slab_ends ends;

	if (!drops->count)
		return;
	tmem_slab_ends_init(&ends, true);
	tmem_drops_drop_to(store, drops, &ends);
	tmem_slab_end_all(store->slabs, &ends);
}

void tmem_drops_drop_to(struct tmem_store *store, struct tmem_drops *drops,
			struct tmem_slab_ends *ends)
{
	if (drops->count >= DROPS_MANY)
		tmem_content_drop_many(&store->contents, drops->id,
				       drops->count, ends);
	else
		for (uint32_t i = 0; i < drops->count; i++)
			tmem_content_drop(&store->contents, drops->id[i]);
	drops->count = 0;
}

unsigned tmem_pool_take(struct tmem_store *store, struct tmem_pool_state *pool,
			unsigned s, uint32_t leaf_id, unsigned mask,
			struct tmem_drops *drops)
{
	struct tmem_leaf *leaf = tmem_index_leaf(&store->index, leaf_id);
	unsigned taken = 0;

	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++) {
		uint32_t id = atomic_load_explicit(&leaf->content[i],
						   memory_order_relaxed);

		if (!id || !(mask >> i & 1))
			continue;
		tmem_charge_swap(store, pool, s, leaf, id, 0, NULL);
		/* Release: the commit; before the content can be freed. */
		atomic_store_explicit(&leaf->content[i], 0,
				      memory_order_release);
		tmem_nursery_leave(store, s, id);
		leaf->visited &= (uint8_t) ~(1u << i);
		leaf->warm &= (uint8_t) ~(1u << i);
		leaf->tried &= (uint8_t) ~(1u << i);
		drops->id[drops->count++] = id;
		taken++;
	}
	if (tmem_index_leaf_empty(leaf))
		tmem_index_drop_leaf(&store->index, &store->index.shard[s],
				     &pool->shard[s].queue,
				     &pool->shard[s].objects, leaf_id);
	return taken;
}

void tmem_pool_flush_all(struct tmem_store *store, struct tmem_pool_state *pool)
{
	struct tmem_slab_ends ends;
	struct tmem_drops drops;

	drops.count = 0;
	tmem_slab_ends_init(&ends, true);
	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		struct tmem_shard *shard = &store->index.shard[s];
		struct tmem_queue *queue = &pool->shard[s].queue;
		uint32_t left;

		tmem_lock_acquire(&shard->lock);
		/* What is there now is nearest to the tail, whatever comes. */
		queue->walkers++;
		for (left = queue->count; left && queue->tail; left--) {
			tmem_pool_take(store, pool, s, queue->tail, 0xff,
				       &drops);
			if (!tmem_drops_full(&drops))
				continue;
			tmem_lock_release(&shard->lock);
			tmem_drops_drop_to(store, &drops, &ends);
			tmem_lock_acquire(&shard->lock);
		}
		queue->walkers--;
		tmem_lock_release(&shard->lock);
		tmem_drops_drop_to(store, &drops, &ends);
	}
	tmem_slab_end_all(store->slabs, &ends);
	tmem_budget_trim(&store->budget);
}

/* Users other than root leave some of the pools to each other, and to it.
 * Shared pools are nobody's, and as many as the administrator authorises. */
static bool may_have_more(const struct tmem_store *store, uid_t uid)
{
	uint32_t own = 0, all = 0;

	for (uint32_t i = 0; i < store->pool_end; i++) {
		const struct tmem_pool_state *pool = tmem_store_pool(store, i);

		if (!pool || !pool->owner || pool->owner->record->uid == 0)
			continue;
		all++;
		own += pool->owner->record->uid == uid;
	}
	return uid == 0 ||
	       (own < TMEM_POOLS_MAX / 4 && all < TMEM_POOLS_MAX / 4 * 3);
}

/* A slot to make a pool in: one whose record's page is there if possible. */
static struct tmem_pool_record *free_slot(struct tmem_store *store,
					  uint32_t *slot)
{
	for (uint32_t i = 0; i < TMEM_POOLS_MAX; i++) {
		struct tmem_pool_record *record =
			tmem_roster_at(&store->pools, i);

		if (tmem_store_pool(store, i) ||
		    (record && record->uses == USES_MAX))
			continue;
		*slot = i;
		return tmem_roster_take(&store->pools, i);
	}
	return NULL;
}

void tmem_pool_drop_ghost(struct tmem_store *store,
			  struct tmem_pool_shard *part)
{
	tmem_budget_free(&store->budget, part->ghost.slot,
			 part->ghost.slots * sizeof(*part->ghost.slot));
	part->ghost = (struct tmem_ghost){.slots = 0};
}

void tmem_pool_free_state(struct tmem_store *store,
			  struct tmem_pool_state *pool)
{
	if (!pool)
		return;
	for (unsigned s = 0; s < TMEM_SHARDS; s++)
		tmem_pool_drop_ghost(store, &pool->shard[s]);
	tmem_duel_deinit(&pool->duel, &store->budget);
	tmem_budget_free(&store->budget, pool, sizeof(*pool));
}

static struct tmem_pool_state *new_state(struct tmem_store *store,
					 struct tmem_pool_record *record,
					 struct tmem_client_state *owner)
{
	struct tmem_pool_state *pool =
		tmem_budget_alloc_always(&store->budget, sizeof(*pool));

	if (!pool)
		return NULL;
	if (tmem_duel_init(&pool->duel) < 0) {
		tmem_budget_free(&store->budget, pool, sizeof(*pool));
		return NULL;
	}
	pool->record = record;
	pool->owner = owner;
	pool->way = tmem_duel_way(&pool->duel);
	return pool;
}

/* The record is complete but for its id, or found in the arena. */
static void enter(struct tmem_store *store, struct tmem_pool_state *pool,
		  uint32_t id)
{
	pool->id = id;
	pool->flags = pool->record->flags;
	pool->kind = pool->flags & TMEM_POOL_PERSISTENT ? TMEM_PERSISTENT
							: TMEM_EPHEMERAL;
	pool->domain = pool->record->domain;
	atomic_store_explicit(&pool->codec, pool->record->codec,
			      memory_order_relaxed);
	atomic_store_explicit(&pool->dedup, pool->record->dedup,
			      memory_order_relaxed);
	tmem_dedup_auto_init(pool);
	if (pool->owner)
		pool->owner->pools++;
	if (store->pool_end <= tmem_pool_slot(id))
		store->pool_end = tmem_pool_slot(id) + 1;
	atomic_store_explicit(&store->pool[tmem_pool_slot(id)], pool,
			      memory_order_release);
}

static int create(struct tmem_store *store, struct tmem_client_state *client,
		  const struct tmem_pool_config *config,
		  struct tmem_pool_state **out)
{
	bool shared = config->flags & TMEM_POOL_SHARED;
	struct tmem_pool_record *record;
	struct tmem_pool_state *pool;
	uint32_t slot = TMEM_POOLS_MAX, id;

	if (!shared && !may_have_more(store, client->record->uid))
		return -ENOSPC;
	record = free_slot(store, &slot);
	if (!record)
		return slot == TMEM_POOLS_MAX ? -ENOSPC : -ENOMEM;
	pool = new_state(store, record, shared ? NULL : client);
	if (!pool)
		return -ENOMEM;
	record->uses++;
	id = record->uses << TMEM_POOL_SLOT_BITS | slot;
	record->client = shared ? 0 : client->id;
	record->flags = config->flags;
	record->uuid = config->uuid;
	record->codec = (uint8_t)config->codec;
	record->dedup = (uint8_t)config->dedup;
	record->domain = client->record->domain;
	memset(record->name, 0, sizeof(record->name));
	strcpy(record->name, config->name);
	memcpy(record->domain_name, client->record->domain_name,
	       sizeof(record->domain_name));
	tmem_domain_ref(store, record->domain);
	enter(store, pool, id);
	/* Release: the commit. */
	atomic_store_explicit(&record->id, id, memory_order_release);
	*out = pool;
	return 0;
}

int tmem_pool_found(struct tmem_store *store, struct tmem_pool_record *record,
		    struct tmem_client_state *owner)
{
	struct tmem_pool_state *pool = new_state(store, record, owner);

	if (!pool)
		return -ENOMEM;
	enter(store, pool,
	      atomic_load_explicit(&record->id, memory_order_relaxed));
	return 0;
}

/* The pool that config means, if there is one. */
static struct tmem_pool_state *find(const struct tmem_store *store,
				    const struct tmem_client_state *client,
				    const struct tmem_pool_config *config)
{
	bool shared = config->flags & TMEM_POOL_SHARED;

	for (uint32_t i = 0; i < store->pool_end; i++) {
		struct tmem_pool_state *pool = tmem_store_pool(store, i);

		if (!pool || pool->dead)
			continue;
		if (shared && !pool->owner &&
		    !memcmp(&pool->record->uuid, &config->uuid,
			    sizeof(config->uuid)))
			return pool;
		if (!shared && pool->owner == client &&
		    !strcmp(pool->record->name, config->name))
			return pool;
	}
	return NULL;
}

/* Whether a client may open a pool that exists. */
static int may_open(const struct tmem_pool_state *pool,
		    const struct tmem_client_state *client,
		    const struct tmem_pool_config *config)
{
	if (pool->flags != config->flags)
		return -EEXIST;
	for (struct tmem_use *use = pool->uses; use; use = use->next)
		if (use->client == client)
			return -EBUSY;
	return 0;
}

/* Under the admin lock. */
static int open_locked(struct tmem_store *store,
		       struct tmem_client_state *client,
		       const struct tmem_pool_config *config,
		       struct tmem_use *use)
{
	struct tmem_pool_state *pool;
	int r = 0;

	if ((config->flags & TMEM_POOL_SHARED) &&
	    !tmem_session_authorised(store, client, &config->uuid))
		return -EPERM;
	pool = find(store, client, config);
	r = pool ? may_open(pool, client, config)
		 : create(store, client, config, &pool);
	if (r < 0)
		return r;
	/* Who opens it says how pages are held from here on. */
	pool->record->codec = (uint8_t)config->codec;
	pool->record->dedup = (uint8_t)config->dedup;
	atomic_store_explicit(&pool->codec, (uint8_t)config->codec,
			      memory_order_relaxed);
	atomic_store_explicit(&pool->dedup, (uint8_t)config->dedup,
			      memory_order_relaxed);
	use->store = store;
	use->client = client;
	use->pool = pool;
	use->next = pool->uses;
	pool->uses = use;
	pool->users++;
	pool->refs++;
	if (!pool->owner)
		atomic_fetch_add_explicit(&client->joined, 1,
					  memory_order_relaxed);
	return 0;
}

int tmem_pool_open(struct tmem_store *store, struct tmem_client_state *client,
		   const struct tmem_pool_config *config, struct tmem_use **out)
{
	struct tmem_use *use =
		tmem_budget_alloc_always(&store->budget, sizeof(*use));
	int r;

	if (!use)
		return -ENOMEM;
	tmem_lock_acquire(&store->admin);
	r = open_locked(store, client, config, use);
	tmem_lock_release(&store->admin);
	if (r < 0)
		tmem_budget_free(&store->budget, use, sizeof(*use));
	else
		*out = use;
	return r;
}

/* Under the admin lock: from here on nobody finds it, in memory or in the
 * arena. The caller holds a reference, flushes it and gives that back. */
static void kill_pool(struct tmem_pool_state *pool)
{
	pool->dead = true;
	/* Release: the commit. */
	atomic_store_explicit(&pool->record->id, 0, memory_order_release);
}

static void free_dead(struct tmem_store *store, struct tmem_pool_state *pool)
{
	struct tmem_client_state *owner = pool->owner;
	uint64_t evictions = 0, shared = 0;

	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		evictions += pool->shard[s].evictions;
		shared += pool->shard[s].shared;
		pool->past[TMEM_POOL_STAT_dedup_lookups] +=
			pool->shard[s].lookups;
	}
	pool->past[TMEM_POOL_STAT_evictions] += evictions;
	pool->past[TMEM_POOL_STAT_puts_dedup] += shared;
	for (unsigned i = 0; i < TMEM_POOL_STAT_COUNT; i++)
		store->past[i] += pool->past[i];
	if (owner) {
		owner->past[TMEM_POOL_STAT_evictions] += evictions;
		owner->past[TMEM_POOL_STAT_puts_dedup] += shared;
	}
	tmem_domain_unref(store, pool->domain);
	atomic_store_explicit(&store->pool[tmem_pool_slot(pool->id)], NULL,
			      memory_order_release);
	/* Whoever found it there before is done with it. */
	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		tmem_lock_acquire(&store->index.shard[s].lock);
		tmem_lock_release(&store->index.shard[s].lock);
	}
	tmem_pool_free_state(store, pool);
	if (owner) {
		owner->pools--;
		tmem_session_vanish(store, owner);
	}
}

void tmem_pool_unref(struct tmem_store *store, struct tmem_pool_state *pool)
{
	tmem_lock_acquire(&store->admin);
	if (--pool->refs == 0 && pool->dead)
		free_dead(store, pool);
	tmem_lock_release(&store->admin);
}

struct tmem_pool_state *tmem_pool_ref_by_id(struct tmem_store *store,
					    uint32_t id)
{
	struct tmem_pool_state *pool;

	tmem_lock_acquire(&store->admin);
	pool = tmem_store_pool(store, id);
	if (pool && (pool->id != id || pool->dead))
		pool = NULL;
	if (pool)
		pool->refs++;
	tmem_lock_release(&store->admin);
	return pool;
}

/* Under the admin lock: a use is over; its counters stay. */
static void end_use(struct tmem_use *use)
{
	struct tmem_pool_state *pool = use->pool;
	struct tmem_use **link = &pool->uses;

	while (*link != use)
		link = &(*link)->next;
	*link = use->next;
	tmem_room_unwatch(use);
	pool->users--;
	if (!pool->owner)
		atomic_fetch_sub_explicit(&use->client->joined, 1,
					  memory_order_relaxed);
	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		for (unsigned i = 0; i < TMEM_POOL_STAT_COUNT; i++) {
			pool->past[i] += use->stat[s][i];
			use->client->past[i] += use->stat[s][i];
		}
	}
}

void tmem_pool_leave(struct tmem_use *use, bool destroy)
{
	struct tmem_store *store = use->store;
	struct tmem_pool_state *pool = use->pool;
	bool end;

	if (destroy && !pool->owner)
		tmem_pool_flush_all(store, pool);
	tmem_lock_acquire(&store->admin);
	end_use(use);
	end = !pool->users &&
	      (pool->kind == TMEM_EPHEMERAL || (destroy && pool->owner));
	if (end)
		kill_pool(pool);
	tmem_lock_release(&store->admin);
	if (end)
		tmem_pool_flush_all(store, pool);
	tmem_pool_unref(store, pool);
	tmem_budget_free(&store->budget, use, sizeof(*use));
}

int tmem_pool_end(struct tmem_store *store, uint32_t id)
{
	struct tmem_pool_state *pool = tmem_pool_ref_by_id(store, id);
	int r = 0;

	if (!pool)
		return -ENOENT;
	tmem_lock_acquire(&store->admin);
	if (pool->users)
		r = -EBUSY;
	else if (pool->dead)
		r = -ENOENT;
	else
		kill_pool(pool);
	tmem_lock_release(&store->admin);
	if (r == 0)
		tmem_pool_flush_all(store, pool);
	tmem_pool_unref(store, pool);
	return r;
}
