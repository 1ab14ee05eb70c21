/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether looking for equal pages pays in a pool: TMEM_DEDUP_AUTO. File pages
 * repeat, from guest to guest above all; what is swapped out hardly ever does.
 * So a pool is measured: it is looked for every page's equal, or a sample's:
 *
 *   all --of a window of pages, fewer than 1 in 64 found--> sample
 *   sample --8 in 256 found--> all
 *
 * The sample is 1 in 16, picked by the page's bytes: equal pages are in it or
 * not together, wherever they lie and whoever puts them. What is not in it is
 * not in the dedup table either. Ephemeral pools begin with all, persistent
 * ones with a sample.
 *
 * A window is twice the pages that the pool holds, and 4096 more: copies are
 * put by those who come later, so that pages must have stood for a while before
 * it can be said that nobody repeats them. A pool that only grows is not
 * judged.
 *
 * Threading: any thread; as each says.
 */
#ifndef TMEM_DEDUP_AUTO_H
#define TMEM_DEDUP_AUTO_H

#include "state.h"

/** What holds for pages that a client puts into a pool: its setting, else the
 * pool's. client NULL: a pool of no single client. */
enum tmem_dedup tmem_dedup_auto_setting(const struct tmem_client_record *client,
					const struct tmem_pool_state *pool);

void tmem_dedup_auto_init(struct tmem_pool_state *pool);

/** Whether to look for the equal of a page that is put into a pool with
 * TMEM_DEDUP_AUTO. */
bool tmem_dedup_auto_wants(const struct tmem_store *store,
			   const struct tmem_pool_state *pool,
			   const void *page);

/** Count pages that were looked for, and those found. Under the lock of shard
 * s. */
void tmem_dedup_auto_count(struct tmem_pool_state *pool, unsigned s,
			   unsigned looked, unsigned found);

/** Whether only a sample is looked for now. */
static inline bool tmem_dedup_auto_sampled(const struct tmem_pool_state *pool)
{
	return atomic_load_explicit(&pool->dedup_window.sampled,
				    memory_order_relaxed);
}

#endif
