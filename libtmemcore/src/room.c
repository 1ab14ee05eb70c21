/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room in persistent pools (room.h).
 *
 *   put refused, budget or cap lowered --> eventfd of who watches
 *   tmem_pool_room()     how much there is; arms the eventfd again
 *   tmem_pool_coldest()  which pages could go; the caller writes them to
 *                        another place and flushes them
 *
 * Coldest is what CLOCK says: a hand takes the leaf at the end of a shard's
 * queue, of it the pages that were neither read nor replaced since it came by
 * last, clears the marks of the others and puts the leaf first of all, as if it
 * had just come.
 */
#include "room.h"
#include <errno.h>
#include <sys/eventfd.h>
#include "charge.h"

/* Leaves that one hold of a shard's lock goes through. */
#define HOLD_LEAVES 64u
#define LAP_PARTS   16u

static bool can_be_asked(const struct tmem_use *use)
{
	return use->pool->kind == TMEM_PERSISTENT && use->pool->owner;
}

/* Watching ---------------------------------------------------------------- */

int tmem_room_watch(struct tmem_pool *base, int fd)
{
	struct tmem_use *use = (struct tmem_use *)base;
	struct tmem_store *store = use->store;

	if (!can_be_asked(use))
		return -EOPNOTSUPP;
	tmem_lock_acquire(&store->admin);
	tmem_room_unwatch(use);
	if (fd >= 0) {
		use->watch_fd = fd;
		use->watch_next = store->watching;
		atomic_store_explicit(&use->told, false, memory_order_relaxed);
		store->watching = use;
		atomic_fetch_add_explicit(&store->watchers, 1,
					  memory_order_relaxed);
	}
	tmem_lock_release(&store->admin);
	return 0;
}

void tmem_room_unwatch(struct tmem_use *use)
{
	struct tmem_store *store = use->store;
	struct tmem_use **link = &store->watching;

	while (*link && *link != use)
		link = &(*link)->watch_next;
	if (!*link)
		return;
	*link = use->watch_next;
	atomic_fetch_sub_explicit(&store->watchers, 1, memory_order_relaxed);
}

/* Admin lock. Who was told and has not asked yet knows. */
static void tell(struct tmem_use *use)
{
	if (!atomic_exchange_explicit(&use->told, true, memory_order_relaxed))
		(void)eventfd_write(use->watch_fd, 1);
}

static void tell_all(struct tmem_store *store, const struct tmem_use *only)
{
	/* A watcher that comes now will ask before it waits. */
	if (!atomic_load_explicit(&store->watchers, memory_order_relaxed))
		return;
	tmem_lock_acquire(&store->admin);
	for (struct tmem_use *use = store->watching; use; use = use->watch_next)
		if (!only || use == only)
			tell(use);
	tmem_lock_release(&store->admin);
}

void tmem_room_wanted(struct tmem_store *store)
{
	tell_all(store, NULL);
}

void tmem_room_refused(struct tmem_use *use, enum tmem_refusal why)
{
	if (use->pool->kind != TMEM_PERSISTENT)
		return;
	if (why == TMEM_REFUSAL_NOMEM)
		tell_all(use->store, NULL);
	/* Only what the client itself holds is in its way. */
	if (why == TMEM_REFUSAL_CAP)
		tell_all(use->store, use);
}

/* How much there is ------------------------------------------------------- */

/* The store's: all that is not used, or is only used until somebody needs it.
 * What is sparse and ephemeral counts twice; a put that is refused for that
 * tells again. */
static struct tmem_room room_of_store(struct tmem_store *store)
{
	uint64_t limit = atomic_load_explicit(&store->budget.limit,
					      memory_order_relaxed);
	uint64_t used =
		atomic_load_explicit(&store->budget.used, memory_order_relaxed);
	struct tmem_slab_stats slabs;

	tmem_slab_stats(store->slabs, &slabs);
	return (struct tmem_room){
		.limit = limit,
		.free = (int64_t)(limit - tmem_budget_spare(limit) +
				  slabs.bytes[TMEM_EPHEMERAL] +
				  tmem_slab_loose(store->slabs) - used),
	};
}

static void lower(struct tmem_room *room, int64_t limit, int64_t used)
{
	if (limit - used >= room->free)
		return;
	room->free = limit - used;
	room->limit = limit > 0 ? (uint64_t)limit : 0;
}

int tmem_room_of_pool(struct tmem_pool *base, struct tmem_room *out)
{
	struct tmem_use *use = (struct tmem_use *)base;
	struct tmem_limit limit;

	if (!can_be_asked(use))
		return -EOPNOTSUPP;
	/* Before it is looked: who is refused from now on tells again. */
	atomic_store(&use->told, false);
	*out = room_of_store(use->store);
	if (!tmem_charge_limit(use, &limit))
		return 0;
	if (limit.charge < INT64_MAX)
		lower(out, limit.charge,
		      atomic_load_explicit(&use->client->charge,
					   memory_order_relaxed));
	if (limit.pages < INT64_MAX / TMEM_PAGE_SIZE)
		lower(out, limit.pages * TMEM_PAGE_SIZE,
		      atomic_load_explicit(&use->client->pages,
					   memory_order_relaxed) *
			      TMEM_PAGE_SIZE);
	return 0;
}

/* Which could go ---------------------------------------------------------- */

struct sweep {
	const struct tmem_oid *oid;
	uint32_t *indexes;
	unsigned max, count;
};

/* The leaf whose turn it is. Shard's lock. Returns whether there is another. */
static bool try_leaf(struct tmem_store *store, struct tmem_queue *queue,
		     struct sweep *sweep)
{
	uint32_t id = queue->tail;
	struct tmem_leaf *leaf = tmem_index_leaf(&store->index, id);
	const struct tmem_object *object = tmem_index_object(
		&store->index,
		atomic_load_explicit(&leaf->object, memory_order_relaxed));
	unsigned mask = ~leaf->visited & tmem_index_leaf_pages(leaf);

	leaf->visited = 0;
	tmem_index_renew_leaf(&store->index, queue, id);
	if (memcmp(&object->oid, sweep->oid, sizeof(object->oid)) == 0)
		for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++)
			if (mask >> i & 1)
				sweep->indexes[sweep->count++] =
					leaf->block * TMEM_LEAF_PAGES + i;
	return queue->tail != id;
}

/* A part of a lap: small, so that a shard that holds nothing but pages in use
 * is not gone through again before others were. */
static uint32_t lap_part(const struct tmem_queue *queue)
{
	uint32_t part = (queue->count + LAP_PARTS - 1) / LAP_PARTS;

	return part < HOLD_LEAVES ? part : HOLD_LEAVES;
}

/* As many as there is room for: a shard's leaves that came together mostly lie
 * together, and the caller's writes may be large. A leaf comes once. */
static void try_shard(struct tmem_store *store, struct tmem_pool_state *pool,
		      unsigned s, struct sweep *sweep)
{
	struct tmem_shard *shard = &store->index.shard[s];
	struct tmem_queue *queue = &pool->shard[s].queue;
	uint32_t left;

	tmem_lock_acquire(&shard->lock);
	left = lap_part(queue);
	while (left && sweep->count + TMEM_LEAF_PAGES <= sweep->max)
		left = try_leaf(store, queue, sweep) ? left - 1 : 0;
	tmem_lock_release(&shard->lock);
}

int tmem_room_coldest(struct tmem_pool *base, const struct tmem_oid *oid,
		      uint32_t *indexes, unsigned max)
{
	struct tmem_use *use = (struct tmem_use *)base;
	struct tmem_pool_state *pool = use->pool;
	struct sweep sweep = {.oid = oid, .indexes = indexes, .max = max};
	uint64_t most = (uint64_t)LAP_PARTS * TMEM_SHARDS;

	if (!can_be_asked(use))
		return -EOPNOTSUPP;
	for (unsigned s = 0; s < TMEM_SHARDS; s++)
		most += atomic_load_explicit(&pool->shard[s].queue.count,
					     memory_order_relaxed) /
			HOLD_LEAVES;
	/* While all that comes by was in use, two laps, the first of which
	 * clears the marks; with some found, no shard twice. */
	for (uint64_t n = 0; sweep.count + TMEM_LEAF_PAGES <= max &&
			     n < (sweep.count ? TMEM_SHARDS : 2 * most);
	     n++)
		try_shard(use->store, pool,
			  atomic_fetch_add_explicit(&pool->cursor, 1,
						    memory_order_relaxed) %
				  TMEM_SHARDS,
			  &sweep);
	return (int)sweep.count;
}
