/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding an equal content. A hash table of content ids, chained through their
 * meta records, in TMEM_DEDUP_PARTS parts with a lock each. The 32 bits of hash
 * that the meta record holds pick part and bucket, so the table is rebuilt on
 * reopening without reading a page. A hash only nominates: bytes are compared
 * before anything is shared. It is seeded with the arena's secret.
 *
 * Fill pages are not chained. Each part remembers a few of its latest fill
 * contents, in a small table that a newer one overwrites: a content that is
 * forgotten is only not shared further.
 *
 * Threading: any thread; a part's lock (TMEM_LOCK_DEDUP) guards its buckets,
 * chains and counts.
 */
#ifndef TMEM_DEDUP_H
#define TMEM_DEDUP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "buckets.h"
#include "lock.h"
#include "slab.h"

#define TMEM_DEDUP_PARTS 64u
#define TMEM_DEDUP_FILLS 16u
#define TMEM_DEDUP_LATE	 8u
/** Contents with an equal hash that one put compares at most. */
#define TMEM_DEDUP_TRIES 4u

struct tmem_contents;

struct tmem_dedup_part {
	struct tmem_lock lock;
	struct tmem_buckets buckets;
	uint32_t fill[TMEM_DEDUP_FILLS];
	/* What is to be put down (what << 32 | content id) by whoever has the
	 * lock before it lets go. Not under the lock. */
	_Atomic(uint64_t) late[TMEM_DEDUP_LATE];
};

struct tmem_dedup_table {
	struct tmem_budget *budget;
	uint64_t secret; /* the arena's */
	uint64_t hash_mask;
	struct tmem_dedup_part part[TMEM_DEDUP_PARTS];
	_Atomic(uint64_t) mismatches; /* equal hash, other bytes */
};

int tmem_dedup_init(struct tmem_dedup_table *dedup, struct tmem_arena *arena,
		    unsigned hash_bits);
void tmem_dedup_deinit(struct tmem_dedup_table *dedup);

/** Hash of a page of a kind in a domain, as meta records hold it. */
uint32_t tmem_dedup_hash(const struct tmem_dedup_table *dedup, const void *page,
			 enum tmem_kind kind, uint32_t domain);

/** Find a content equal to page and take a reference to it. Returns its id, or
 * 0. The caller holds no locks. */
uint32_t tmem_dedup_find(struct tmem_contents *contents, const void *page,
			 uint32_t hash, enum tmem_kind kind, uint32_t domain);
/** The same for a fill page. */
uint32_t tmem_dedup_find_fill(struct tmem_contents *contents, uint64_t fill,
			      enum tmem_kind kind, uint32_t domain);

/** Enter a content whose word and meta are complete. */
void tmem_dedup_add(struct tmem_contents *contents, uint32_t id);

/** Take what (a reference or pins, which may be the last) off a content of a
 * domain. Returns whether it was the last: then the content has left the table
 * and the caller frees it. Waits for nobody: while another thread has the lock
 * of the content's part, this is left to that thread, unless TMEM_DEDUP_LATE
 * others have left it something already. */
bool tmem_dedup_put_down(struct tmem_contents *contents, uint32_t id,
			 uint32_t what);

/** Take a reference, which may be the last, off each of many contents of
 * domains (TMEM_SLAB_BATCH at most), with one hold of a part's lock for all of
 * its. Returns for how many it was the last: those, the first of ids then, have
 * left the table and the caller frees them. */
unsigned tmem_dedup_drop_many(struct tmem_contents *contents, uint32_t *ids,
			      unsigned count);

/** For check: call fn for every content in the table, or that a fill slot
 * names. Returns how many stand where their hash does not put them. Quiet. */
unsigned tmem_dedup_each(struct tmem_contents *contents,
			 void (*fn)(void *ctx, uint32_t id), void *ctx);

#endif
