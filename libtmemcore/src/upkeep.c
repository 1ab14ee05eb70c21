/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Upkeep of the slabs (upkeep.h).
 */
#include "upkeep.h"
#include <stdio.h>
#include <sys/sysinfo.h>
#include <time.h>
#include "worker.h"

/* Who finds somebody else compacting or evicting looks again so much later. */
#define RETRY_MS 10

/* How long puts are refused without looking for room. */
#define REST_MS 20

/* How often to look whether the host has room. */
#define ROOM_MS 200

/* The host's reserve for its kernel (vm.min_free_kbytes), which it begins to
 * reclaim at a little more of, times this, is what is left alone. */
#define ROOM_PART 4u

/* How long nobody takes a slab before spare ones are too many. */
#define IDLE_MS 1000

static void wake(void *ctx)
{
	tmem_worker_wake(ctx);
}

void tmem_upkeep_measure(struct tmem_store *store)
{
	unsigned long kib = 64 << 10;
	FILE *file = fopen("/proc/sys/vm/min_free_kbytes", "re");

	if (file) {
		if (fscanf(file, "%lu", &kib) != 1)
			kib = 64 << 10;
		fclose(file);
	}
	store->upkeep.free_least = (uint64_t)kib * 1024 * ROOM_PART;
}

void tmem_upkeep_init(struct tmem_store *store)
{
	tmem_slab_set_wake(store->slabs, wake, store);
}

static bool giving_back(const struct tmem_store *store)
{
	return atomic_load_explicit(&store->downs, memory_order_relaxed);
}

/* Whether the host has memory to spare. Else taking some would wait, with the
 * arena's file locked, for others to free some; and they may wait for us. */
static bool host_has_room(const struct tmem_store *store)
{
	struct sysinfo info;

	return sysinfo(&info) == 0 && (uint64_t)info.freeram * info.mem_unit >
					      store->upkeep.free_least;
}

static bool is_strict(const struct tmem_store *store)
{
	return tmem_arena_is_strict(&store->arena);
}

bool tmem_upkeep_fill(struct tmem_store *store)
{
	bool more;

	tmem_arena_may_wait(true);
	more = tmem_table_reserve(&store->contents.table);
	more |= tmem_table_reserve(&store->index.leaves);
	more |= tmem_table_reserve(&store->index.objects);
	more |= tmem_slab_reserve(store->slabs);
	tmem_arena_may_wait(false);
	return more;
}

int tmem_upkeep_reserve(struct tmem_store *store)
{
	if (giving_back(store))
		return RETRY_MS;
	if (is_strict(store) && !host_has_room(store))
		return ROOM_MS;
	return tmem_upkeep_fill(store) ? 0 : TMEM_WORKER_NEVER;
}

void tmem_upkeep_refused(struct tmem_store *store)
{
	if (is_strict(store))
		tmem_worker_wake(store);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void tmem_upkeep_rest(struct tmem_store *store)
{
	if (is_strict(store))
		atomic_store_explicit(&store->upkeep.rest, now_ms() + REST_MS,
				      memory_order_relaxed);
}

bool tmem_upkeep_rests(const struct tmem_store *store)
{
	return is_strict(store) &&
	       now_ms() < atomic_load_explicit(&store->upkeep.rest,
					       memory_order_relaxed);
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
