/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Upkeep of the slabs (upkeep.h).
 */
#include "upkeep.h"
#include <time.h>
#include "worker.h"

/* Who finds somebody else compacting or evicting looks again so much later. */
#define RETRY_MS 10

/* How long nobody takes a slab before spare ones are too many. */
#define IDLE_MS 1000

static void wake(void *ctx)
{
	tmem_worker_wake(ctx);
}

void tmem_upkeep_init(struct tmem_store *store)
{
	tmem_slab_set_wake(store->slabs, wake, store);
}

static bool giving_back(const struct tmem_store *store)
{
	return atomic_load_explicit(&store->downs, memory_order_relaxed);
}

int tmem_upkeep_reserve(struct tmem_store *store)
{
	if (giving_back(store))
		return RETRY_MS;
	return tmem_slab_reserve(store->slabs) ? 0 : TMEM_WORKER_NEVER;
}

/* A class whose contents are being read is left alone until somebody wakes
 * us again. */
int tmem_upkeep_compact(struct tmem_store *store)
{
	bool begun = atomic_load_explicit(&store->upkeep.compacting,
					  memory_order_relaxed);
	uint64_t moved, bytes = 0;

	if (giving_back(store))
		return RETRY_MS;
	if (tmem_slab_sparse(store->slabs, begun)) {
		if (!tmem_lock_try(&store->compact))
			return RETRY_MS;
		bytes = tmem_slab_compact(store->slabs, TMEM_KINDS, 1, true,
					  tmem_content_move, &store->contents,
					  &moved);
		tmem_lock_release(&store->compact);
	}
	if (begun && !bytes)
		tmem_budget_trim(&store->budget);
	atomic_store_explicit(&store->upkeep.compacting, bytes > 0,
			      memory_order_relaxed);
	return bytes ? 0 : TMEM_WORKER_NEVER;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Two threads that look at once do no more than trim twice. */
int tmem_upkeep_tidy(struct tmem_store *store)
{
	uint64_t taken = tmem_slab_taken(store->slabs), now;
	struct tmem_upkeep *upkeep = &store->upkeep;

	if (!tmem_slab_untidy(store->slabs))
		return TMEM_WORKER_NEVER;
	now = now_ms();
	if (atomic_exchange_explicit(&upkeep->taken, taken,
				     memory_order_relaxed) != taken)
		atomic_store_explicit(&upkeep->since, now,
				      memory_order_relaxed);
	else if (now - atomic_load_explicit(&upkeep->since,
					    memory_order_relaxed) >=
		 IDLE_MS) {
		tmem_slab_tidy(store->slabs);
		return TMEM_WORKER_NEVER;
	}
	return IDLE_MS;
}
