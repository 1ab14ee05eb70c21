/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The index (index.h). Commit orders, for a process that dies at any
 * instruction:
 *
 *   make: object's oid -> object.pool; leaf's block, no contents -> leaf.object
 *   drop: leaf.object = 0 -> leaf free -> object.pool = 0 -> object free
 *
 * A leaf without contents and an object without leaves mean nothing; reopening
 * frees them.
 */
#include "index.h"
#include <errno.h>
#include <string.h>
#include <xxhash.h>

uint64_t tmem_index_hash(const struct tmem_index *index, uint32_t pool,
			 const struct tmem_oid *oid)
{
	const uint64_t name[] = {pool, oid->word[0], oid->word[1],
				 oid->word[2]};

	return XXH3_64bits_withSeed(name, sizeof(name), index->secret);
}

static uint64_t leaf_hash(const struct tmem_index *index, uint32_t object,
			  uint32_t block)
{
	const uint32_t name[] = {object, block};

	return XXH3_64bits_withSeed(name, sizeof(name), index->secret);
}

int tmem_index_init(struct tmem_index *index, struct tmem_arena *arena)
{
	static const enum tmem_arena_part objects = TMEM_PART_OBJECTS,
					  leaves = TMEM_PART_LEAVES;
	static const uint32_t object_size = sizeof(struct tmem_object),
			      leaf_size = sizeof(struct tmem_leaf);
	int r;

	memset(index, 0, sizeof(*index));
	index->budget = arena->budget;
	index->secret = arena->secret;
	r = tmem_table_init(&index->objects, arena, 1, &objects, &object_size);
	if (r < 0)
		return r;
	r = tmem_table_init(&index->leaves, arena, 1, &leaves, &leaf_size);
	if (r < 0) {
		tmem_table_deinit(&index->objects);
		return r;
	}
	for (unsigned i = 0; i < TMEM_SHARDS; i++) {
		struct tmem_shard *shard = &index->shard[i];

		r = tmem_lock_init(&shard->lock, TMEM_LOCK_SHARD);
		if (r < 0)
			break;
		r = tmem_buckets_init(&shard->objects, index->budget);
		if (r == 0)
			r = tmem_buckets_init(&shard->leaves, index->budget);
		if (r < 0) {
			tmem_buckets_deinit(&shard->objects, index->budget);
			tmem_lock_deinit(&shard->lock);
			break;
		}
	}
	if (r < 0)
		tmem_index_deinit(index);
	return r;
}

void tmem_index_deinit(struct tmem_index *index)
{
	for (unsigned i = 0; i < TMEM_SHARDS; i++) {
		struct tmem_shard *shard = &index->shard[i];

		if (!shard->leaves.size)
			break;
		tmem_buckets_deinit(&shard->objects, index->budget);
		tmem_buckets_deinit(&shard->leaves, index->budget);
		tmem_lock_deinit(&shard->lock);
	}
	tmem_table_deinit(&index->leaves);
	tmem_table_deinit(&index->objects);
}

static uint32_t rehash_object(void *ctx, uint32_t id, uint32_t **chain)
{
	struct tmem_index *index = ctx;
	struct tmem_object *object = tmem_index_object(index, id);

	*chain = &object->chain;
	return (uint32_t)tmem_index_hash(
		index,
		atomic_load_explicit(&object->pool, memory_order_relaxed),
		&object->oid);
}

static uint32_t rehash_leaf(void *ctx, uint32_t id, uint32_t **chain)
{
	struct tmem_index *index = ctx;
	struct tmem_leaf *leaf = tmem_index_leaf(index, id);

	*chain = &leaf->chain;
	return (uint32_t)leaf_hash(
		index,
		atomic_load_explicit(&leaf->object, memory_order_relaxed),
		leaf->block);
}

uint32_t tmem_index_find_object(struct tmem_index *index,
				struct tmem_shard *shard,
				const struct tmem_key *key)
{
	uint32_t id = *tmem_buckets_head(&shard->objects, (uint32_t)key->hash);

	while (id) {
		struct tmem_object *object = tmem_index_object(index, id);

		if (atomic_load_explicit(&object->pool, memory_order_relaxed) ==
			    key->pool &&
		    !memcmp(&object->oid, key->oid, sizeof(object->oid)))
			break;
		id = object->chain;
	}
	return id;
}

/* NULL: the object has no leaves. */
static const uint32_t *leaf_head(struct tmem_index *index,
				 struct tmem_shard *shard,
				 const struct tmem_key *key)
{
	uint32_t object = tmem_index_find_object(index, shard, key);

	if (!object)
		return NULL;
	return tmem_buckets_head(
		&shard->leaves, (uint32_t)leaf_hash(index, object, key->block));
}

void tmem_index_prefetch_bucket(struct tmem_index *index,
				struct tmem_shard *shard,
				const struct tmem_key *key)
{
	const uint32_t *head = leaf_head(index, shard, key);

	if (head)
		__builtin_prefetch(head);
}

void tmem_index_prefetch_leaf(struct tmem_index *index,
			      struct tmem_shard *shard,
			      const struct tmem_key *key)
{
	const uint32_t *head = leaf_head(index, shard, key);

	if (head && *head)
		__builtin_prefetch(tmem_index_leaf(index, *head), 1);
}

void tmem_index_prefetch_next(struct tmem_index *index,
			      struct tmem_shard *shard,
			      const struct tmem_key *key)
{
	const uint32_t *head = leaf_head(index, shard, key);
	const struct tmem_leaf *leaf;

	if (!head || !*head)
		return;
	leaf = tmem_index_leaf(index, *head);
	if (leaf->block != key->block && leaf->chain)
		__builtin_prefetch(tmem_index_leaf(index, leaf->chain), 1);
}

uint32_t tmem_index_find_leaf(struct tmem_index *index,
			      struct tmem_shard *shard,
			      const struct tmem_key *key)
{
	uint32_t object = tmem_index_find_object(index, shard, key);
	uint32_t id;

	if (!object)
		return 0;
	id = *tmem_buckets_head(&shard->leaves,
				(uint32_t)leaf_hash(index, object, key->block));
	while (id) {
		struct tmem_leaf *leaf = tmem_index_leaf(index, id);

		if (leaf->block == key->block &&
		    atomic_load_explicit(&leaf->object, memory_order_relaxed) ==
			    object)
			break;
		id = leaf->chain;
	}
	return id;
}

/* Under the shard's lock: nobody else changes it. */
static void add(_Atomic(uint32_t) *number, uint32_t change)
{
	atomic_store_explicit(
		number,
		atomic_load_explicit(number, memory_order_relaxed) + change,
		memory_order_relaxed);
}

/* Into the queue before another leaf, or at the tail (0). */
static void enqueue(struct tmem_index *index, struct tmem_queue *queue,
		    uint32_t id, uint32_t before)
{
	struct tmem_leaf *leaf = tmem_index_leaf(index, id);
	uint32_t *back = before ? &tmem_index_leaf(index, before)->queue_prev
				: &queue->tail;

	leaf->queue_next = before;
	leaf->queue_prev = *back;
	*back = id;
	if (leaf->queue_prev)
		tmem_index_leaf(index, leaf->queue_prev)->queue_next = id;
	else
		queue->head = id;
	add(&queue->count, 1);
	add(&queue->fresh, leaf->fresh);
}

static void dequeue(struct tmem_index *index, struct tmem_queue *queue,
		    uint32_t id)
{
	struct tmem_leaf *leaf = tmem_index_leaf(index, id);

	if (queue->old == id)
		queue->old = leaf->queue_next;
	if (queue->cool == id)
		queue->cool = leaf->queue_prev;
	if (leaf->queue_prev)
		tmem_index_leaf(index, leaf->queue_prev)->queue_next =
			leaf->queue_next;
	else
		queue->head = leaf->queue_next;
	if (leaf->queue_next)
		tmem_index_leaf(index, leaf->queue_next)->queue_prev =
			leaf->queue_prev;
	else
		queue->tail = leaf->queue_prev;
	add(&queue->count, UINT32_MAX);
	add(&queue->fresh, -(uint32_t)leaf->fresh);
}

void tmem_index_age_leaf(struct tmem_index *index, struct tmem_queue *queue,
			 uint32_t id)
{
	if (queue->walkers)
		return;
	dequeue(index, queue, id);
	tmem_index_leaf(index, id)->fresh = false;
	enqueue(index, queue, id, queue->old);
	queue->old = id;
}

void tmem_index_renew_leaf(struct tmem_index *index, struct tmem_queue *queue,
			   uint32_t id)
{
	if (queue->walkers)
		return;
	dequeue(index, queue, id);
	tmem_index_leaf(index, id)->fresh = true;
	enqueue(index, queue, id, queue->head);
}

/* Into the object's list, the queue and the hash table. */
static void link_leaf(struct tmem_index *index, struct tmem_shard *shard,
		      struct tmem_queue *queue, uint32_t object_id, uint32_t id)
{
	struct tmem_object *object = tmem_index_object(index, object_id);
	struct tmem_leaf *leaf = tmem_index_leaf(index, id);

	leaf->object_prev = 0;
	leaf->object_next = object->leaf;
	if (object->leaf)
		tmem_index_leaf(index, object->leaf)->object_prev = id;
	object->leaf = id;
	object->leaves++;
	leaf->fresh = true;
	enqueue(index, queue, id, queue->head);
	tmem_buckets_enter(&shard->leaves, index->budget, rehash_leaf, index,
			   id);
}

static int make_object(struct tmem_index *index, struct tmem_shard *shard,
		       const struct tmem_key *key, uint32_t *id)
{
	struct tmem_object *object;
	int r = tmem_table_alloc(&index->objects, id);

	if (r < 0)
		return r;
	object = tmem_index_object(index, *id);
	object->oid = *key->oid;
	object->leaf = 0;
	object->leaves = 0;
	/* Release: the commit. */
	atomic_store_explicit(&object->pool, key->pool, memory_order_release);
	tmem_buckets_enter(&shard->objects, index->budget, rehash_object, index,
			   *id);
	return 0;
}

static void drop_object(struct tmem_index *index, struct tmem_shard *shard,
			uint32_t id)
{
	struct tmem_object *object = tmem_index_object(index, id);

	tmem_buckets_leave(&shard->objects, index->budget, rehash_object, index,
			   id);
	/* Release: after its leaves' end. */
	atomic_store_explicit(&object->pool, 0, memory_order_release);
	tmem_table_free(&index->objects, id);
}

int tmem_index_make_leaf(struct tmem_index *index, struct tmem_shard *shard,
			 const struct tmem_key *key, struct tmem_queue *queue,
			 uint64_t *objects, uint32_t *leaf_id)
{
	uint32_t object = tmem_index_find_object(index, shard, key);
	bool made = !object;
	struct tmem_leaf *leaf;
	uint32_t id;
	int r;

	if (made) {
		r = make_object(index, shard, key, &object);
		if (r < 0)
			return r;
	}
	r = tmem_table_alloc(&index->leaves, &id);
	if (r < 0) {
		if (made)
			drop_object(index, shard, object);
		return r;
	}
	if (made)
		++*objects;
	leaf = tmem_index_leaf(index, id);
	leaf->block = key->block;
	leaf->visited = 0;
	leaf->warm = 0;
	leaf->tried = 0;
	leaf->counted = shard->counted;
	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++)
		atomic_store_explicit(&leaf->content[i], 0,
				      memory_order_relaxed);
	/* Release: the commit. */
	atomic_store_explicit(&leaf->object, object, memory_order_release);
	link_leaf(index, shard, queue, object, id);
	*leaf_id = id;
	return 0;
}

void tmem_index_drop_leaf(struct tmem_index *index, struct tmem_shard *shard,
			  struct tmem_queue *queue, uint64_t *objects,
			  uint32_t id)
{
	struct tmem_leaf *leaf = tmem_index_leaf(index, id);
	uint32_t object_id =
		atomic_load_explicit(&leaf->object, memory_order_relaxed);
	struct tmem_object *object = tmem_index_object(index, object_id);

	tmem_buckets_leave(&shard->leaves, index->budget, rehash_leaf, index,
			   id);
	dequeue(index, queue, id);
	if (leaf->object_prev)
		tmem_index_leaf(index, leaf->object_prev)->object_next =
			leaf->object_next;
	else
		object->leaf = leaf->object_next;
	if (leaf->object_next)
		tmem_index_leaf(index, leaf->object_next)->object_prev =
			leaf->object_prev;
	/* Release: after its contents' end. */
	atomic_store_explicit(&leaf->object, 0, memory_order_release);
	tmem_table_free(&index->leaves, id);
	if (--object->leaves == 0) {
		drop_object(index, shard, object_id);
		--*objects;
	}
}

unsigned tmem_index_leaf_pages(const struct tmem_leaf *leaf)
{
	unsigned pages = 0;

	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++)
		if (atomic_load_explicit(&leaf->content[i],
					 memory_order_relaxed))
			pages |= 1u << i;
	return pages;
}

bool tmem_index_leaf_empty(const struct tmem_leaf *leaf)
{
	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++)
		if (atomic_load_explicit(&leaf->content[i],
					 memory_order_relaxed))
			return false;
	return true;
}

void tmem_index_found_leaf(struct tmem_index *index, struct tmem_shard *shard,
			   const struct tmem_key *key, struct tmem_queue *queue,
			   uint32_t id, bool new_object)
{
	struct tmem_leaf *leaf = tmem_index_leaf(index, id);
	uint32_t object_id =
		atomic_load_explicit(&leaf->object, memory_order_relaxed);

	if (new_object) {
		struct tmem_object *object =
			tmem_index_object(index, object_id);

		object->leaf = 0;
		object->leaves = 0;
		tmem_buckets_enter(&shard->objects, index->budget,
				   rehash_object, index, object_id);
	}
	leaf->visited = 0;
	leaf->warm = 0;
	leaf->tried = 0;
	leaf->counted = shard->counted;
	link_leaf(index, shard, queue, object_id, id);
}
