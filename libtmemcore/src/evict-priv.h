/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files evict*.c share, and nobody else: evict.c says whose page goes,
 * evict-room.c how much goes, and what becomes of its memory.
 */
#ifndef TMEM_EVICT_PRIV_H
#define TMEM_EVICT_PRIV_H

#include "evict.h"
#include "pool.h"

/* What a sweep through a pool has come to. */
struct evict_sweep {
	int64_t looked; /* leaves that the hand passed since it took a page */
	unsigned idle;	/* shards since it tried one */
	int64_t pages;	/* evicted */
	int64_t bytes;	/* that were charged for them */
};

static inline int64_t evict_pages_of(const struct tmem_pool_state *pool)
{
	return atomic_load_explicit(&pool->pages, memory_order_relaxed);
}

/* Whether there is something to take from a pool. Admin lock. */
static inline bool evict_evictable(const struct tmem_pool_state *pool)
{
	return pool && pool->kind == TMEM_EPHEMERAL && !pool->dead &&
	       evict_pages_of(pool) > 0;
}

/* The pool that pays next, referenced; NULL when nothing is ephemeral. No lock
 * held but compact. */
struct tmem_pool_state *evict_pick(struct tmem_store *store);

/* The pool, referenced, that a client is charged most for. Admin lock. */
struct tmem_pool_state *evict_pick_pool(struct tmem_store *store,
					const struct tmem_client_state *of);

/* Evict pages of a pool until at least so many are gone, that were charged with
 * bytes. Slabs that fall empty are added to ends, for the caller to end. */
struct evict_sweep evict_pool(struct tmem_store *store,
			      struct tmem_pool_state *pool, int64_t bytes,
			      int64_t pages, struct tmem_slab_ends *ends);

#endif
