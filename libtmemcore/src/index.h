/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From handle to content id. Handles are spread over shards; 64 neighbouring
 * pages of an object lie in one. A shard has a lock, a hash table of objects
 * and one of leaves; a leaf names the contents of 8 neighbouring pages. An
 * object has a record in every shard that holds a leaf of it.
 *
 * Each leaf also stands in a queue of its (shard, pool), oldest at the tail,
 * which eviction and the flush of a whole pool walk.
 *
 * Threading: everything here except tmem_index_shard_of() is under the
 * shard's lock (TMEM_LOCK_SHARD).
 */
#ifndef TMEM_INDEX_H
#define TMEM_INDEX_H

#include "buckets.h"
#include "lock.h"
#include "records.h"
#include "table.h"

#define TMEM_SHARDS 32u

struct tmem_shard {
	struct tmem_lock lock;
	struct tmem_buckets objects;
	struct tmem_buckets leaves;
	/* What leaf->counted says of leaves that the recount of charges under
	 * way has passed, or else the last one: new ones too. */
	bool counted;
	bool recounting;
};

struct tmem_index {
	struct tmem_budget *budget;
	uint64_t secret; /* the arena's */
	struct tmem_table objects;
	struct tmem_table leaves;
	struct tmem_shard shard[TMEM_SHARDS];
};

/** Leaves of one pool in one shard: fresh ones, which eviction has not tried
 * yet, and after them old ones. Eviction also reads how many there are of other
 * shards than the one that it has locked. */
struct tmem_queue {
	uint32_t head; /* youngest */
	uint32_t tail;
	uint32_t old;  /* the first old one, or 0 */
	uint32_t cool; /* where cooling goes on; 0: nowhere */
	/* Who goes through it from the tail, letting the lock go between: the
	 * leaves that were there stay nearer to the tail than any new one. */
	uint32_t walkers;
	_Atomic(uint32_t) count;
	_Atomic(uint32_t) fresh;
};

/** A leaf's name, and where it belongs. */
struct tmem_key {
	uint32_t pool;
	uint32_t block;
	const struct tmem_oid *oid;
	uint64_t hash; /* of pool and oid */
};

int tmem_index_init(struct tmem_index *index, struct tmem_arena *arena);
void tmem_index_deinit(struct tmem_index *index);

/** Hash of (pool, oid), for struct tmem_key. In one arena it never changes: it
 * says in which shards an object's records are. */
uint64_t tmem_index_hash(const struct tmem_index *index, uint32_t pool,
			 const struct tmem_oid *oid);

/** A number that stands for a leaf, also while there is no such leaf: alike for
 * few others, if any. */
static inline uint64_t tmem_index_name(const struct tmem_key *key)
{
	uint64_t x = key->hash + key->block * UINT64_C(0xd6e8feb86659fd93);

	x = (x ^ x >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 32;
}

/** Number of the shard that a key belongs to. */
static inline unsigned tmem_index_shard_of(const struct tmem_key *key)
{
	uint64_t x =
		(key->hash + key->block / 8) * UINT64_C(0x9e3779b97f4a7c15);

	return x >> 32 & (TMEM_SHARDS - 1);
}

static inline struct tmem_object *
tmem_index_object(const struct tmem_index *index, uint32_t id)
{
	return tmem_table_record(&index->objects, 0, id);
}

static inline struct tmem_leaf *tmem_index_leaf(const struct tmem_index *index,
						uint32_t id)
{
	return tmem_table_record(&index->leaves, 0, id);
}

/** Id of the object of key in this shard, or 0. */
uint32_t tmem_index_find_object(struct tmem_index *index,
				struct tmem_shard *shard,
				const struct tmem_key *key);
/** Begin to fetch the bucket that a key's leaf is in; once that is there, the
 * first leaf of it; and once that is, the second, if need be. */
void tmem_index_prefetch_bucket(struct tmem_index *index,
				struct tmem_shard *shard,
				const struct tmem_key *key);
void tmem_index_prefetch_leaf(struct tmem_index *index,
			      struct tmem_shard *shard,
			      const struct tmem_key *key);
void tmem_index_prefetch_next(struct tmem_index *index,
			      struct tmem_shard *shard,
			      const struct tmem_key *key);
/** Id of the leaf of key, or 0. */
uint32_t tmem_index_find_leaf(struct tmem_index *index,
			      struct tmem_shard *shard,
			      const struct tmem_key *key);

/** Make a leaf (and its object, unless it exists; *objects counts those), at
 * the queue's head. The caller gives it contents or drops it before it lets
 * the lock go. Returns 0, -ENOMEM or -ENOSPC. */
int tmem_index_make_leaf(struct tmem_index *index, struct tmem_shard *shard,
			 const struct tmem_key *key, struct tmem_queue *queue,
			 uint64_t *objects, uint32_t *leaf);

/** Free a leaf that names no content, and its object if it was the last. */
void tmem_index_drop_leaf(struct tmem_index *index, struct tmem_shard *shard,
			  struct tmem_queue *queue, uint64_t *objects,
			  uint32_t leaf);

/** Put a leaf first among the old ones of its queue, unless its order must
 * stay. */
void tmem_index_age_leaf(struct tmem_index *index, struct tmem_queue *queue,
			 uint32_t leaf);

/** Put a leaf at the head of its queue, as if it were new, unless its order
 * must stay. */
void tmem_index_renew_leaf(struct tmem_index *index, struct tmem_queue *queue,
			   uint32_t leaf);

/** Pages of a leaf that name a content, a bit each. */
unsigned tmem_index_leaf_pages(const struct tmem_leaf *leaf);
/** Whether a leaf names no content. */
bool tmem_index_leaf_empty(const struct tmem_leaf *leaf);

/** Reopening, single-threaded: enter a leaf found in the arena. Its object must
 * be in the table; new_object says that it is not yet chained. */
void tmem_index_found_leaf(struct tmem_index *index, struct tmem_shard *shard,
			   const struct tmem_key *key, struct tmem_queue *queue,
			   uint32_t leaf, bool new_object);

#endif
