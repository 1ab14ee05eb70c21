/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cooling: pages that nobody reads are compressed once more, with zstd, when
 * the budget grows tight.
 *
 * Threading: no locks held, unless it says so. One thread cools at a time.
 */
#ifndef TMEM_COOL_H
#define TMEM_COOL_H

#include "worker.h"

/** Whether the store uses more than 7/8 of its budget. */
static inline bool tmem_cool_tight(const struct tmem_store *store)
{
	uint64_t limit = atomic_load_explicit(&store->budget.limit,
					      memory_order_relaxed);

	return atomic_load_explicit(&store->budget.used, memory_order_relaxed) >
	       limit - limit / 8;
}

/** Pages were put or settled, or the budget shrank: wakes cooling if it is time
 * for it. Cheap; any lock may be held. */
static inline void tmem_cool_wake(struct tmem_store *store)
{
	if (!tmem_cool_tight(store) ||
	    atomic_load_explicit(&store->cool.fresh, memory_order_relaxed))
		return;
	atomic_store_explicit(&store->cool.fresh, true, memory_order_relaxed);
	tmem_worker_wake(store);
}

/** Cool a leaf's pages, or a few leaves that have none to cool, while the
 * budget is tight: a background job. */
tmem_worker_fn tmem_cool_job;

/** Cool, pages that are read too, until slots have got smaller by so many bytes
 * or none can. The compact lock may be held. Returns the bytes. */
uint64_t tmem_cool_now(struct tmem_store *store, uint64_t bytes);

#endif
