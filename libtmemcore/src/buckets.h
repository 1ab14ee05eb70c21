/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hash table of records by 32-bit id, chained through the records: the parts
 * of the dedup table, and the objects and leaves of a shard. It grows and
 * shrinks by one bucket at a time (linear hashing; Litwin, VLDB 1980), so that
 * no caller ever waits for the whole table to be gone through, and its memory
 * comes and goes in pieces of 4 KiB.
 *
 * Threading: the owner's lock guards it.
 */
#ifndef TMEM_BUCKETS_H
#define TMEM_BUCKETS_H

#include <stdint.h>
#include "budget.h"

/** Heads in a segment. */
#define TMEM_BUCKETS_SEGMENT 1024u

struct tmem_buckets {
	uint32_t **segment; /* of the first record of each chain, or 0 */
	uint32_t segments;  /* entries of that array, a power of 2 */
	uint32_t first;	    /* heads that segment 0 has room for */
	uint32_t size;	    /* buckets */
	uint32_t mask;	    /* the least power of 2 that is not below, less 1 */
	uint32_t count;	    /* records */
	/** Set by the owner: it does not shrink, so that who goes through it
	 * upwards, letting the lock go between buckets, meets every record. */
	bool keeps_size;
};

/** Hash of a record; *chain is where it names the next one. */
typedef uint32_t tmem_rehash_fn(void *ctx, uint32_t id, uint32_t **chain);

/** Returns 0 or -ENOMEM. Zeros are a table that needs no deinit. */
int tmem_buckets_init(struct tmem_buckets *b, struct tmem_budget *budget);
void tmem_buckets_deinit(struct tmem_buckets *b, struct tmem_budget *budget);

/** Head of bucket at, below size. */
static inline uint32_t *tmem_buckets_at(const struct tmem_buckets *b,
					uint32_t at)
{
	return &b->segment[at / TMEM_BUCKETS_SEGMENT]
			  [at % TMEM_BUCKETS_SEGMENT];
}

/** Head of the bucket of a hash. */
static inline uint32_t *tmem_buckets_head(const struct tmem_buckets *b,
					  uint32_t hash)
{
	uint32_t at = hash & b->mask;

	return tmem_buckets_at(b, at < b->size ? at : at & b->mask >> 1);
}

/** Enter a record. The table grows as needed; without memory its chains just
 * get longer. */
void tmem_buckets_enter(struct tmem_buckets *b, struct tmem_budget *budget,
			tmem_rehash_fn *rehash, void *ctx, uint32_t id);
/** Take a record out, which must be there. */
void tmem_buckets_leave(struct tmem_buckets *b, struct tmem_budget *budget,
			tmem_rehash_fn *rehash, void *ctx, uint32_t id);

#endif
