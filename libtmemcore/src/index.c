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

#define BUCKETS_MIN 16u
/* Records a bucket before a table grows: half a cache miss more for a get, two
 * bytes less for each page of small files. */
#define LOAD_MOST 2u

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

static int buckets_init(struct tmem_buckets *b, struct tmem_budget *budget)
{
	b->head = tmem_budget_alloc(budget, BUCKETS_MIN * sizeof(*b->head));
	if (!b->head)
		return -ENOMEM;
	b->size = BUCKETS_MIN;
	b->count = 0;
	return 0;
}

static void buckets_deinit(struct tmem_buckets *b, struct tmem_budget *budget)
{
	tmem_budget_free(budget, b->head, b->size * sizeof(*b->head));
	b->head = NULL;
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
		r = buckets_init(&shard->objects, index->budget);
		if (r == 0)
			r = buckets_init(&shard->leaves, index->budget);
		if (r < 0) {
			buckets_deinit(&shard->objects, index->budget);
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

		if (!shard->leaves.head)
			break;
		buckets_deinit(&shard->objects, index->budget);
		buckets_deinit(&shard->leaves, index->budget);
		tmem_lock_deinit(&shard->lock);
	}
	tmem_table_deinit(&index->leaves);
	tmem_table_deinit(&index->objects);
}

static uint32_t *bucket(struct tmem_buckets *b, uint64_t hash)
{
	return &b->head[hash & (b->size - 1)];
}

static uint64_t object_rehash(struct tmem_index *index, uint32_t id,
			      uint32_t **chain)
{
	struct tmem_object *object = tmem_index_object(index, id);

	*chain = &object->chain;
	return tmem_index_hash(
		index,
		atomic_load_explicit(&object->pool, memory_order_relaxed),
		&object->oid);
}

static uint64_t leaf_rehash(struct tmem_index *index, uint32_t id,
			    uint32_t **chain)
{
	struct tmem_leaf *leaf = tmem_index_leaf(index, id);

	*chain = &leaf->chain;
	return leaf_hash(
		index,
		atomic_load_explicit(&leaf->object, memory_order_relaxed),
		leaf->block);
}

typedef uint64_t rehash_fn(struct tmem_index *index, uint32_t id,
			   uint32_t **chain);

static void resize(struct tmem_index *index, struct tmem_buckets *b,
		   uint32_t size, rehash_fn *rehash)
{
	struct tmem_buckets old = *b;
	uint32_t *head = tmem_budget_alloc(index->budget, size * sizeof(*head));

	if (!head)
		return;
	b->head = head;
	b->size = size;
	for (uint32_t i = 0; i < old.size; i++) {
		for (uint32_t id = old.head[i], next; id; id = next) {
			uint32_t *chain, *to;

			to = bucket(b, rehash(index, id, &chain));
			next = *chain;
			*chain = *to;
			*to = id;
		}
	}
	buckets_deinit(&old, index->budget);
}

static void enter(struct tmem_index *index, struct tmem_buckets *b, uint32_t id,
		  rehash_fn *rehash)
{
	uint32_t *chain, *to;

	if (b->count >= b->size * LOAD_MOST)
		resize(index, b, 2 * b->size, rehash);
	to = bucket(b, rehash(index, id, &chain));
	*chain = *to;
	*to = id;
	b->count++;
}

static void leave(struct tmem_index *index, struct tmem_buckets *b, uint32_t id,
		  rehash_fn *rehash)
{
	uint32_t *chain, *at = bucket(b, rehash(index, id, &chain));

	while (*at != id) {
		assert(*at && "record missing from its hash table");
		rehash(index, *at, &at);
	}
	rehash(index, id, &chain);
	*at = *chain;
	b->count--;
	if (b->size > BUCKETS_MIN && b->count < b->size / 8)
		resize(index, b, b->size / 2, rehash);
}

uint32_t tmem_index_find_object(struct tmem_index *index,
				struct tmem_shard *shard,
				const struct tmem_key *key)
{
	uint32_t id = *bucket(&shard->objects, key->hash);

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

uint32_t tmem_index_find_leaf(struct tmem_index *index,
			      struct tmem_shard *shard,
			      const struct tmem_key *key)
{
	uint32_t object = tmem_index_find_object(index, shard, key);
	uint32_t id;

	if (!object)
		return 0;
	id = *bucket(&shard->leaves, leaf_hash(index, object, key->block));
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

static void enqueue(struct tmem_index *index, struct tmem_queue *queue,
		    uint32_t id)
{
	struct tmem_leaf *leaf = tmem_index_leaf(index, id);

	leaf->queue_prev = 0;
	leaf->queue_next = queue->head;
	if (queue->head)
		tmem_index_leaf(index, queue->head)->queue_prev = id;
	else
		queue->tail = id;
	queue->head = id;
	queue->count++;
}

static void dequeue(struct tmem_index *index, struct tmem_queue *queue,
		    uint32_t id)
{
	struct tmem_leaf *leaf = tmem_index_leaf(index, id);

	if (queue->hand == id)
		queue->hand = leaf->queue_prev;
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
	queue->count--;
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
	enqueue(index, queue, id);
	enter(index, &shard->leaves, id, leaf_rehash);
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
	enter(index, &shard->objects, *id, object_rehash);
	return 0;
}

static void drop_object(struct tmem_index *index, struct tmem_shard *shard,
			uint32_t id)
{
	struct tmem_object *object = tmem_index_object(index, id);

	leave(index, &shard->objects, id, object_rehash);
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

	leave(index, &shard->leaves, id, leaf_rehash);
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
		enter(index, &shard->objects, object_id, object_rehash);
	}
	leaf->visited = 0;
	leaf->counted = shard->counted;
	link_leaf(index, shard, queue, object_id, id);
}
