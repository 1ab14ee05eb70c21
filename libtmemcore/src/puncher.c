/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The thread (puncher.h), and a ring of slabs between it and who empties them.
 * Each side sleeps on a number that the other changes after what it has to say.
 */
#include "puncher.h"
#include <limits.h>
#include "ring.h"
#include "slab-priv.h"
#include "thread.h"

static void ring_bell(struct tmem_puncher *puncher)
{
	atomic_fetch_add(&puncher->bell, 1);
	tmem_ring_wake(&puncher->bell, INT_MAX);
}

/* Give back the next slabs, as many as there are, but not too many to tell of
 * them late. */
static void punch_some(struct tmem_puncher *puncher, uint32_t done,
		       uint32_t queued)
{
	uint32_t ids[TMEM_SLAB_ENDS], count = queued - done;

	if (count > TMEM_SLAB_ENDS)
		count = TMEM_SLAB_ENDS;
	for (uint32_t i = 0; i < count; i++)
		ids[i] = puncher->id[(done + i) % TMEM_PUNCHER_SLABS];
	atomic_fetch_add(&puncher->bytes, slab_punch(puncher->slabs, ids, count,
						     &puncher->waiting));
	/* Who sees it may use their entries again. */
	atomic_store(&puncher->done, done + count);
	tmem_ring_wake(&puncher->done, INT_MAX);
}

static void *work(void *arg)
{
	struct tmem_puncher *puncher = arg;

	pthread_setname_np(pthread_self(), "tmem-punch");
	for (;;) {
		uint32_t seen = atomic_load(&puncher->bell);
		uint32_t done = atomic_load(&puncher->done);
		uint32_t queued = atomic_load(&puncher->queued);

		if (done != queued)
			punch_some(puncher, done, queued);
		else if (atomic_load(&puncher->stop))
			return NULL;
		else
			tmem_ring_sleep(&puncher->bell, seen, -1);
	}
}

/* Until no more than so many are not done. */
static void wait_for(struct tmem_puncher *puncher, uint32_t most)
{
	uint32_t done = atomic_load(&puncher->done);

	while (atomic_load(&puncher->queued) - done > most) {
		tmem_ring_sleep(&puncher->done, done, -1);
		done = atomic_load(&puncher->done);
	}
}

int tmem_puncher_start(struct tmem_puncher *puncher, struct tmem_slabs *slabs)
{
	int r;

	puncher->slabs = slabs;
	atomic_init(&puncher->bell, 0);
	atomic_init(&puncher->queued, 0);
	atomic_init(&puncher->done, 0);
	atomic_init(&puncher->stop, false);
	atomic_init(&puncher->waiting, 0);
	atomic_init(&puncher->bytes, 0);
	r = tmem_thread_start(&puncher->thread, work, puncher);
	if (r == 0)
		tmem_budget_charge_private(slabs->arena->budget,
					   TMEM_THREAD_CHARGE);
	return r;
}

void tmem_puncher_queue(struct tmem_puncher *puncher, const uint32_t *ids,
			unsigned count, uint64_t bytes)
{
	uint32_t queued = atomic_load(&puncher->queued);

	wait_for(puncher, TMEM_PUNCHER_SLABS - count);
	for (unsigned i = 0; i < count; i++)
		puncher->id[(queued + i) % TMEM_PUNCHER_SLABS] = ids[i];
	atomic_fetch_add(&puncher->waiting, bytes);
	atomic_store(&puncher->queued, queued + count);
	ring_bell(puncher);
}

void tmem_puncher_drain(struct tmem_puncher *puncher)
{
	wait_for(puncher, 0);
}

void tmem_puncher_stop(struct tmem_puncher *puncher)
{
	atomic_store(&puncher->stop, true);
	ring_bell(puncher);
	pthread_join(puncher->thread, NULL);
	tmem_budget_uncharge_private(puncher->slabs->arena->budget,
				     TMEM_THREAD_CHARGE);
}
