/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pools: opening, leaving and ending them, and taking pages out of them.
 *
 * Threading: no locks held, unless it says so.
 */
#ifndef TMEM_POOL_H
#define TMEM_POOL_H

#include "state.h"

/** Contents taken out of leaves under a shard's lock, to be dropped after. */
struct tmem_drops {
	uint32_t count;
	uint32_t id[TMEM_SLAB_BATCH];
};
/** Whether another whole leaf fits. */
static inline bool tmem_drops_full(const struct tmem_drops *drops)
{
	return drops->count > TMEM_SLAB_BATCH - TMEM_LEAF_PAGES;
}
void tmem_drops_drop(struct tmem_store *store, struct tmem_drops *drops);
/** The same, for who has more to drop before slabs that fell empty are given
 * back with tmem_slab_end_all(). */
void tmem_drops_drop_to(struct tmem_store *store, struct tmem_drops *drops,
			struct tmem_slab_ends *ends);

/** Forget which pages were evicted. Under the shard's lock. */
void tmem_pool_drop_ghost(struct tmem_store *store,
			  struct tmem_pool_shard *part);
/** Free what a pool is in memory, and nobody uses; NULL is fine. */
void tmem_pool_free_state(struct tmem_store *store,
			  struct tmem_pool_state *pool);
/** The codec of a pool's pages: its owner's setting, else its own, else the
 * store's. Of a shared pool's clients, each puts by its own. */
enum tmem_codec tmem_pool_codec(const struct tmem_store *store,
				const struct tmem_pool_state *pool);

/** Open a pool for a client: tmem_pool_new(), on a local store. */
int tmem_pool_open(struct tmem_store *store, struct tmem_client_state *client,
		   const struct tmem_pool_config *config,
		   struct tmem_use **out);
/** Leave a pool: tmem_pool_free(), or with destroy tmem_pool_destroy(). */
void tmem_pool_leave(struct tmem_use *use, bool destroy);

/** Reopening: bring a persistent pool found in the arena into memory. Returns
 * 0 or -ENOMEM. */
int tmem_pool_found(struct tmem_store *store, struct tmem_pool_record *record,
		    struct tmem_client_state *owner);

/** A pool by id, with a reference, for who works on it without a use; NULL
 * when there is none. */
struct tmem_pool_state *tmem_pool_ref_by_id(struct tmem_store *store,
					    uint32_t id);
void tmem_pool_unref(struct tmem_store *store, struct tmem_pool_state *pool);

/** Flush the pages that the pool holds when this is called. */
void tmem_pool_flush_all(struct tmem_store *store,
			 struct tmem_pool_state *pool);

/** End a pool that nobody has open. Returns 0, -EBUSY or -ENOENT. */
int tmem_pool_end(struct tmem_store *store, uint32_t id);

/** Under the shard's lock: take the pages of mask out of a leaf of the pool,
 * and free the leaf when it holds no more. Returns how many there were. */
unsigned tmem_pool_take(struct tmem_store *store, struct tmem_pool_state *pool,
			unsigned s, uint32_t leaf, unsigned mask,
			struct tmem_drops *drops);

#endif
