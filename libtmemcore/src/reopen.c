/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rebuilding a store from its arena. The order follows who names whom:
 *
 *   clients -> pools (ephemeral ones end) -> leaves of pools that live, which
 *   bring their objects and count references -> objects without leaves end ->
 *   contents without references end, the others claim their slots
 *
 * Every step ends records by the same store that ends them at run time, so that
 * a process may die here too. What a dying process cannot leave behind
 * (a leaf of no object, two contents in a slot) is damage: -EBADMSG.
 */
#include "reopen.h"
#include <errno.h>
#include "charge.h"
#include "domain.h"
#include "pool.h"
#include "session.h"

static bool name_whole(const char name[static TMEM_NAME_MAX])
{
	return memchr(name, 0, TMEM_NAME_MAX);
}

static bool client_valid(const struct tmem_client_record *record, uint32_t slot)
{
	uint32_t id = atomic_load_explicit(&record->id, memory_order_relaxed);
	struct tmem_client_settings settings;

	tmem_session_settings(record, &settings);
	return tmem_client_slot(id) == slot &&
	       id >> TMEM_CLIENT_SLOT_BITS == record->uses &&
	       tmem_name_valid(record->name) &&
	       name_whole(record->domain_name) &&
	       tmem_session_settings_valid(&settings);
}

static int load_clients(struct tmem_store *store)
{
	for (uint32_t slot = 0; slot < store->clients.slots; slot++) {
		struct tmem_client_record *record =
			tmem_roster_at(&store->clients, slot);
		int r;

		if (!record ||
		    !atomic_load_explicit(&record->id, memory_order_relaxed))
			continue;
		if (!client_valid(record, slot))
			return -EBADMSG;
		r = tmem_session_found(store, record);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool pool_valid(const struct tmem_pool_record *record, uint32_t slot)
{
	uint32_t id = atomic_load_explicit(&record->id, memory_order_relaxed);
	const struct tmem_pool_config config = {
		.name = record->name,
		.flags = record->flags,
		.uuid = record->uuid,
		.codec = (enum tmem_codec)record->codec,
		.dedup = (enum tmem_dedup)record->dedup,
	};

	return tmem_pool_slot(id) == slot &&
	       id >> TMEM_POOL_SLOT_BITS == record->uses &&
	       tmem_pool_config_check(&config) == 0 &&
	       !record->client == !!(record->flags & TMEM_POOL_SHARED) &&
	       name_whole(record->domain_name);
}

static int load_pool(struct tmem_store *store, struct tmem_pool_record *record)
{
	struct tmem_client_state *owner = NULL;
	int r;

	if (!(record->flags & TMEM_POOL_PERSISTENT)) {
		atomic_store_explicit(&record->id, 0, memory_order_release);
		return 0;
	}
	if (record->client) {
		owner = store->client[tmem_client_slot(record->client)];
		if (!owner || owner->id != record->client)
			return -EBADMSG;
	}
	r = tmem_domain_found(store, record->domain_name, record->domain);
	if (r < 0)
		return r;
	return tmem_pool_found(store, record, owner);
}

static int load_pools(struct tmem_store *store)
{
	for (uint32_t slot = 0; slot < store->pools.slots; slot++) {
		struct tmem_pool_record *record =
			tmem_roster_at(&store->pools, slot);
		int r;

		if (!record ||
		    !atomic_load_explicit(&record->id, memory_order_relaxed))
			continue;
		r = pool_valid(record, slot) ? load_pool(store, record)
					     : -EBADMSG;
		if (r < 0)
			return r;
	}
	return 0;
}

/* What is derived, and read before it is rebuilt. */
static void clear_derived(struct tmem_store *store)
{
	struct tmem_table *objects = &store->index.objects;
	struct tmem_table *contents = &store->contents.table;
	uint32_t id;

	for (id = tmem_table_next(objects, 1); id;
	     id = tmem_table_next(objects, id + 1))
		tmem_index_object(&store->index, id)->leaves = 0;
	for (id = tmem_table_next(contents, 1); id;
	     id = tmem_table_next(contents, id + 1))
		atomic_store_explicit(
			&tmem_content_meta(&store->contents, id)->refs, 0,
			memory_order_relaxed);
}

/* One reference from a handle of pool. */
static int count_reference(struct tmem_store *store,
			   const struct tmem_pool_state *pool, uint32_t id)
{
	struct tmem_content_word w;
	uint32_t before, most = TMEM_REFS_MAX;

	if (!tmem_table_backed(&store->contents.table, id))
		return -EBADMSG;
	w = tmem_content_load(&store->contents, id);
	if (w.codec == TMEM_CODEC_NONE || w.codec > TMEM_CODEC_YOUNG ||
	    ((w.codec == TMEM_CODEC_RAW || w.codec == TMEM_CODEC_YOUNG) &&
	     w.size != TMEM_PAGE_SIZE))
		return -EBADMSG;
	if (w.kind != pool->kind ||
	    (w.domain != TMEM_DOMAIN_NONE && w.domain != pool->domain))
		return -EBADMSG;
	if (!tmem_word_listed(w))
		most = 1; /* shared with nobody */
	before = atomic_fetch_add_explicit(
		&tmem_content_meta(&store->contents, id)->refs, 1,
		memory_order_relaxed);
	return before < most ? 0 : -EBADMSG;
}

static struct tmem_pool_state *live_pool(struct tmem_store *store, uint32_t id)
{
	struct tmem_pool_state *pool = tmem_store_pool(store, id);

	return pool && pool->id == id ? pool : NULL;
}

/* The leaf's name; its object is backed. */
static struct tmem_key key_of(struct tmem_store *store,
			      const struct tmem_leaf *leaf)
{
	const struct tmem_object *object = tmem_index_object(
		&store->index,
		atomic_load_explicit(&leaf->object, memory_order_relaxed));
	struct tmem_key key = {
		.pool = atomic_load_explicit(&object->pool,
					     memory_order_relaxed),
		.block = leaf->block,
		.oid = &object->oid,
	};

	key.hash = tmem_index_hash(&store->index, key.pool, key.oid);
	return key;
}

/* Enter a leaf of a pool that lives. */
static int enter_leaf(struct tmem_store *store, struct tmem_pool_state *pool,
		      uint32_t id)
{
	struct tmem_index *index = &store->index;
	struct tmem_leaf *leaf = tmem_index_leaf(index, id);
	uint32_t object_id =
		atomic_load_explicit(&leaf->object, memory_order_relaxed);
	struct tmem_object *object = tmem_index_object(index, object_id);
	struct tmem_key key = key_of(store, leaf), other = key;
	unsigned s = tmem_index_shard_of(&key);
	bool new = object->leaves == 0;

	if (leaf->block > UINT32_MAX / TMEM_LEAF_PAGES)
		return -EBADMSG;
	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++) {
		uint32_t content = atomic_load_explicit(&leaf->content[i],
							memory_order_relaxed);
		int r = content ? count_reference(store, pool, content) : 0;

		if (r < 0)
			return r;
	}
	/* An object's leaves lie in one shard, each but once. */
	if (!new)
		other.block = tmem_index_leaf(index, object->leaf)->block;
	if (tmem_index_shard_of(&other) != s ||
	    tmem_index_find_leaf(index, &index->shard[s], &key))
		return -EBADMSG;
	if (new) {
		if (tmem_index_find_object(index, &index->shard[s], &key))
			return -EBADMSG;
		tmem_table_mark(&index->objects, object_id);
		pool->shard[s].objects++;
	}
	tmem_table_mark(&index->leaves, id);
	tmem_index_found_leaf(index, &index->shard[s], &key,
			      &pool->shard[s].queue, id, new);
	return 0;
}

static int load_leaf(struct tmem_store *store, uint32_t id)
{
	struct tmem_leaf *leaf = tmem_index_leaf(&store->index, id);
	uint32_t object =
		atomic_load_explicit(&leaf->object, memory_order_relaxed);
	struct tmem_pool_state *pool;
	uint32_t pool_id;

	if (!object)
		return 0;
	if (!tmem_table_backed(&store->index.objects, object))
		return -EBADMSG;
	pool_id = atomic_load_explicit(
		&tmem_index_object(&store->index, object)->pool,
		memory_order_relaxed);
	if (!pool_id)
		return -EBADMSG;
	pool = live_pool(store, pool_id);
	if (pool && !tmem_index_leaf_empty(leaf))
		return enter_leaf(store, pool, id);
	atomic_store_explicit(&leaf->object, 0, memory_order_release);
	return 0;
}

static int load_leaves(struct tmem_store *store)
{
	struct tmem_table *leaves = &store->index.leaves;

	for (uint32_t id = tmem_table_next(leaves, 1); id;
	     id = tmem_table_next(leaves, id + 1)) {
		int r = load_leaf(store, id);

		if (r < 0)
			return r;
	}
	return 0;
}

static void end_objects(struct tmem_store *store)
{
	struct tmem_table *objects = &store->index.objects;

	for (uint32_t id = tmem_table_next(objects, 1); id;
	     id = tmem_table_next(objects, id + 1)) {
		struct tmem_object *object =
			tmem_index_object(&store->index, id);

		if (!object->leaves)
			atomic_store_explicit(&object->pool, 0,
					      memory_order_release);
	}
}

static int load_content(struct tmem_store *store, uint32_t id)
{
	struct tmem_contents *contents = &store->contents;
	struct tmem_content_word w;
	int r;

	if (!tmem_content_refs(contents, id)) {
		atomic_store_explicit(tmem_content_word(contents, id), 0,
				      memory_order_release);
		return 0;
	}
	w = tmem_content_load(contents, id);
	if (w.codec != TMEM_CODEC_FILL) {
		r = tmem_slab_found(store->slabs, w.place, w.size, w.kind, id);
		if (r < 0)
			return r;
	}
	tmem_table_mark(&contents->table, id);
	tmem_content_count(contents, w.codec, 1);
	if (tmem_word_listed(w))
		tmem_dedup_add(contents, id);
	return 0;
}

static int load_contents(struct tmem_store *store)
{
	struct tmem_table *table = &store->contents.table;

	for (uint32_t id = tmem_table_next(table, 1); id;
	     id = tmem_table_next(table, id + 1)) {
		int r = load_content(store, id);

		if (r < 0)
			return r;
	}
	return 0;
}

static void enter_nursery(struct tmem_store *store,
			  const struct tmem_pool_state *pool, unsigned s,
			  uint32_t leaf, unsigned page, uint32_t content)
{
	if (tmem_content_load(&store->contents, content).codec !=
	    TMEM_CODEC_YOUNG)
		return;
	tmem_lock_acquire(&store->index.shard[s].lock);
	tmem_nursery_enter(store, s, leaf, page, content,
			   tmem_pool_codec(store, pool));
	tmem_lock_release(&store->index.shard[s].lock);
}

/* Charge every handle, now that references are whole. */
static void charge_leaves(struct tmem_store *store)
{
	struct tmem_table *leaves = &store->index.leaves;

	for (uint32_t id = tmem_table_next(leaves, 1); id;
	     id = tmem_table_next(leaves, id + 1)) {
		struct tmem_leaf *leaf = tmem_index_leaf(&store->index, id);
		struct tmem_pool_state *pool;
		struct tmem_key key;
		unsigned s;

		if (!atomic_load_explicit(&leaf->object, memory_order_relaxed))
			continue;
		key = key_of(store, leaf);
		pool = live_pool(store, key.pool);
		s = tmem_index_shard_of(&key);
		for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++) {
			uint32_t content = atomic_load_explicit(
				&leaf->content[i], memory_order_relaxed);

			if (!content)
				continue;
			tmem_charge_swap(store, pool, s, leaf, 0, content,
					 NULL);
			enter_nursery(store, pool, s, id, i, content);
		}
	}
}

int tmem_reopen(struct tmem_store *store)
{
	int r = load_clients(store);

	if (r == 0)
		r = load_pools(store);
	if (r < 0)
		return r;
	clear_derived(store);
	r = load_leaves(store);
	if (r < 0)
		return r;
	end_objects(store);
	r = load_contents(store);
	if (r < 0)
		return r;
	charge_leaves(store);
	tmem_table_settle(&store->index.leaves);
	tmem_table_settle(&store->index.objects);
	tmem_table_settle(&store->contents.table);
	tmem_slab_settle(store->slabs);
	for (uint32_t i = 0; i < store->client_end; i++)
		if (store->client[i])
			tmem_session_vanish(store, store->client[i]);
	return 0;
}
