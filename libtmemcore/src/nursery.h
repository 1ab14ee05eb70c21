/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nursery: pages that were put lately and are held as they came, young. A
 * young content has codec TMEM_CODEC_YOUNG, one handle, no hash, and is not in
 * the dedup table, even if it has a domain. Each shard has a ring of its young
 * pages, oldest first; settling (settle.c) deduplicates and compresses them:
 *
 *   put -> young --flushed, replaced, evicted--> gone
 *            |
 *            +-- settled: of age, or the nursery half full, or room needed
 *                   |
 *                   +-- the handle names an equal content instead, or a new,
 *                   |   compressed one
 *                   +-- does not compress: the content stays where it is, RAW
 *
 * Nobody ages pages one by one: every TICK a shard's ring remembers where it
 * ends, and what has been before that mark for a whole tick is of age.
 *
 * While young, a content's meta record says by its hash where in the ring its
 * entry is, and by its chain whether it has one: so that a page that goes takes
 * its entry with it at once. Both are derived; the word is the truth.
 *
 * Threading: a ring is under its shard's lock.
 */
#ifndef TMEM_NURSERY_H
#define TMEM_NURSERY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "budget.h"

struct tmem_client_state;
struct tmem_pool_state;
struct tmem_store;

/** Pages settled at once, all of one shard. */
#define TMEM_YOUNG_BATCH 16u

struct tmem_young {
	uint32_t content; /* 0: gone */
	uint32_t leaf;
	uint8_t page;  /* of the leaf */
	uint8_t codec; /* that it is to get */
	uint8_t unused[2];
};

struct tmem_young_ring {
	struct tmem_young *entry;
	uint32_t size; /* power of 2, or 0 */
	/* Positions, ever rising: entries from head to tail. */
	uint32_t head;
	uint32_t tail;
	uint32_t mark;	 /* tail at the last tick */
	uint32_t of_age; /* mark before the last tick */
	uint32_t live;
	bool settling; /* somebody is at its oldest */
	/* Counters. */
	uint64_t settled;
	uint64_t died; /* gone before they were settled */
};

struct tmem_nursery {
	uint64_t limit; /* bytes; TMEM_NURSERY_AUTO */
	/* Set by who puts, and cleared by a thread that has no more to do:
	 * pages are looked after; there are too many. */
	_Atomic(bool) awake;
	_Atomic(bool) hurry;
	_Atomic(uint64_t) tick;	   /* ns at which the next one is due */
	_Atomic(uint64_t) rest;	   /* ns until which what is of age waits */
	_Atomic(uint32_t) cursor;  /* shard where settling goes on */
	_Atomic(uint32_t) batches; /* settled; who waits for one sleeps here */
	_Atomic(uint32_t) waiting;
	/* Pages tried in vain since the last that was settled, or came. */
	_Atomic(uint64_t) stuck;
	_Atomic(uint64_t) full; /* pages put that found no room here */
	struct tmem_young_ring ring[32];
};

/** Young contents. */
uint64_t tmem_nursery_pages(const struct tmem_store *store);

/** Whether there is room for a page. Any thread. */
bool tmem_nursery_has_room(const struct tmem_store *store);

/** Under the shard's lock: a leaf has come to name a young content, which is to
 * get codec. Without memory for its entry, the content stays raw for good. */
void tmem_nursery_enter(struct tmem_store *store, unsigned s, uint32_t leaf,
			unsigned page, uint32_t content, unsigned codec);

/** Under the shard's lock: a leaf no longer names a content. Nothing unless it
 * is young. */
void tmem_nursery_leave(struct tmem_store *store, unsigned s, uint32_t content);

/** Under the shard's lock: begin to fetch a content's entry, if it is young and
 * still named. Its word and meta record have been fetched. */
void tmem_nursery_prefetch(const struct tmem_store *store, unsigned s,
			   uint32_t content);

/** Under the shard's lock, for who settles: copy the oldest entries, or the
 * oldest of those of age, and pin their contents. Nobody else gets any of this
 * shard until tmem_nursery_unclaim(). Returns how many; *busy says that
 * somebody else has claimed some. */
unsigned tmem_nursery_claim(struct tmem_store *store, unsigned s, bool of_age,
			    struct tmem_young young[static TMEM_YOUNG_BATCH],
			    bool *busy);
/** The shard's oldest are free to be claimed. Shard's lock. */
void tmem_nursery_unclaim(struct tmem_store *store, unsigned s);

/** There is room again: pages that could not be settled are worth a try. Any
 * lock may be held. */
void tmem_nursery_unstick(struct tmem_store *store);

/** Young pages in a pool and in a client's own. No locks held. */
uint64_t tmem_nursery_charged(struct tmem_store *store,
			      const struct tmem_client_state *client,
			      const struct tmem_pool_state *pool);

/** Whether a claimed page is still named. Shard's lock. */
bool tmem_nursery_has(const struct tmem_store *store, uint32_t content);
/** It is settled, or else becomes the youngest. Shard's lock. */
void tmem_nursery_settled(struct tmem_store *store, unsigned s,
			  uint32_t content);
void tmem_nursery_again(struct tmem_store *store, unsigned s, uint32_t content);

/** No locks held: pages have entered. Wakes who settles them. */
void tmem_nursery_came(struct tmem_store *store);

/** A worker's job. */
int tmem_nursery_job(struct tmem_store *store);

/** Counters, for stats.c. No locks held. */
void tmem_nursery_stats(struct tmem_store *store, uint64_t *settled,
			uint64_t *died, uint64_t *full);

/** Give back the rings. */
void tmem_nursery_deinit(struct tmem_store *store);

/** For check: entries that do not agree with contents and leaves. Quiet. */
unsigned tmem_nursery_check(const struct tmem_store *store);

#endif
