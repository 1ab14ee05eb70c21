/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store as a whole: opening, closing, budget, and the administrator's calls
 * that are not about a client.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "cool.h"
#include "domain.h"
#include "evict.h"
#include "pool.h"
#include "reopen.h"
#include "room.h"
#include "session.h"
#include "upkeep.h"
#include "settle.h"
#include "worker.h"

/* Part of the budget that workspaces of codecs may take: at 300 KB each, those
 * of a large machine would fill a small store. */
#define CODECS_PART 16

#define BUDGET_DEFAULT (UINT64_C(256) << 20)

/* More would rather wait for each other than work. */
#define THREADS_AUTO_MOST 4

void tmem_store_config_init(struct tmem_store_config *config)
{
	*config = (struct tmem_store_config){
		.budget = BUDGET_DEFAULT,
		.arena_fd = -1,
		.codec = TMEM_CODEC_LZ4,
		.nursery = TMEM_NURSERY_AUTO,
		.threads = TMEM_THREADS_AUTO,
	};
}

static unsigned default_threads(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (cpus < 1)
		return 1;
	return cpus < THREADS_AUTO_MOST ? (unsigned)cpus : THREADS_AUTO_MOST;
}

static uint64_t default_capacity(uint64_t budget)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * TMEM_PAGE_SIZE;

	if (ram > TMEM_ARENA_MAX)
		ram = TMEM_ARENA_MAX;
	return ram > budget ? ram : budget;
}

/* The validating function for what a caller wants. Fills in defaults. */
static int check_config(struct tmem_store_config *config)
{
	if (!config->capacity)
		config->capacity = default_capacity(config->budget);
	if (config->codec == TMEM_CODEC_NONE)
		config->codec = TMEM_CODEC_LZ4;
	if (config->threads == TMEM_THREADS_AUTO)
		config->threads = default_threads();
	if (config->budget < TMEM_BUDGET_MIN ||
	    config->budget > config->capacity ||
	    config->capacity > TMEM_ARENA_MAX ||
	    (unsigned)config->codec < TMEM_CODEC_RAW ||
	    (unsigned)config->codec >= TMEM_CODEC_COUNT ||
	    config->threads > TMEM_WORKERS_MAX || config->hash_bits > 64)
		return -EINVAL;
	return 0;
}

static int open_rosters(struct tmem_store *store)
{
	int r = tmem_roster_init(&store->clients, &store->arena,
				 TMEM_PART_CLIENTS, TMEM_CLIENT_RECORD);

	if (r == 0)
		r = tmem_roster_init(&store->pools, &store->arena,
				     TMEM_PART_POOLS, TMEM_POOL_RECORD);
	if (r == 0)
		r = tmem_roster_init(&store->auths, &store->arena,
				     TMEM_PART_AUTHS, TMEM_AUTH_RECORD);
	return r;
}

static void free_states(struct tmem_store *store)
{
	for (uint32_t i = 0; i < store->pool_end; i++)
		tmem_pool_free_state(store, tmem_store_pool(store, i));
	for (uint32_t i = 0; i < store->client_end; i++)
		tmem_budget_free(&store->budget, store->client[i],
				 sizeof(struct tmem_client_state));
	tmem_domains_deinit(store);
}

/* All but the arena, which is mapped. */
static int open_modules(struct tmem_store *store,
			const struct tmem_store_config *config)
{
	int r;

	r = tmem_codecs_new(config->budget / CODECS_PART, &store->codecs);
	if (r < 0)
		return r;
	tmem_budget_charge_private(&store->budget,
				   tmem_codecs_private(store->codecs));
	r = tmem_slabs_new(&store->arena, &store->slabs);
	if (r < 0)
		goto err_codecs;
	r = tmem_contents_init(&store->contents, &store->arena, store->slabs,
			       store->codecs, config->hash_bits);
	if (r < 0)
		goto err_slabs;
	r = tmem_index_init(&store->index, &store->arena);
	if (r < 0)
		goto err_contents;
	r = open_rosters(store);
	if (r == 0 && store->arena.reopened)
		r = tmem_reopen(store);
	if (r == 0)
		return 0;
	free_states(store);
	tmem_nursery_deinit(store);
	tmem_index_deinit(&store->index);
err_contents:
	tmem_contents_deinit(&store->contents);
err_slabs:
	tmem_slabs_free(store->slabs);
err_codecs:
	tmem_codecs_free(store->codecs);
	return r;
}

static void close_locks(struct tmem_store *store)
{
	tmem_lock_deinit(&store->resize);
	tmem_lock_deinit(&store->cool.lock);
	tmem_lock_deinit(&store->compact);
	tmem_lock_deinit(&store->recount.lock);
	tmem_lock_deinit(&store->admin);
}

static int open_locks(struct tmem_store *store)
{
	int r = tmem_lock_init(&store->admin, TMEM_LOCK_ADMIN);

	if (r < 0)
		return r;
	r = tmem_lock_init(&store->recount.lock, TMEM_LOCK_RECOUNT);
	if (r < 0)
		goto err_admin;
	r = tmem_lock_init(&store->compact, TMEM_LOCK_COMPACT);
	if (r < 0)
		goto err_recount;
	r = tmem_lock_init(&store->cool.lock, TMEM_LOCK_COOL);
	if (r < 0)
		goto err_compact;
	r = tmem_lock_init(&store->resize, TMEM_LOCK_BUDGET);
	if (r == 0)
		return 0;
	tmem_lock_deinit(&store->cool.lock);
err_compact:
	tmem_lock_deinit(&store->compact);
err_recount:
	tmem_lock_deinit(&store->recount.lock);
err_admin:
	tmem_lock_deinit(&store->admin);
	return r;
}

static int open_store(struct tmem_store *store,
		      const struct tmem_store_config *config, int fd)
{
	int r = tmem_arena_init(&store->arena, fd, config->capacity,
				&store->budget);

	if (r < 0)
		return r;
	if (config->budget > store->arena.capacity) {
		r = -EINVAL;
		goto err_arena;
	}
	r = open_locks(store);
	if (r < 0)
		goto err_arena;
	r = open_modules(store, config);
	if (r == 0)
		return 0;
	close_locks(store);
err_arena:
	tmem_arena_deinit(&store->arena);
	return r;
}

int tmem_store_open(const struct tmem_store_config *wanted,
		    struct tmem_store **out)
{
	struct tmem_store_config config = *wanted;
	struct tmem_store *store;
	int fd = -1, r = check_config(&config);

	if (r < 0)
		return r;
	/* The arena closes what it is given, also when opening fails later;
	 * the caller's descriptor is the caller's until then. */
	if (config.arena_fd >= 0) {
		fd = fcntl(config.arena_fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
	}
	store = calloc(1, sizeof(*store));
	if (!store) {
		r = -ENOMEM;
		goto err;
	}
	store->codec = config.codec;
	store->no_cold = config.no_cold;
	/* No limit until it is open: an arena may hold more than the budget,
	 * and be reopened all the same. */
	tmem_budget_init(&store->budget, UINT64_MAX);
	tmem_budget_charge_private(&store->budget, sizeof(*store));
	store->arena.fd = fd;
	r = open_store(store, &config, fd);
	if (r < 0)
		goto err;
	atomic_store_explicit(&store->budget.limit, config.budget,
			      memory_order_relaxed);
	store->nursery.limit = config.nursery;
	if (config.threads)
		tmem_upkeep_init(store);
	r = tmem_workers_start(store, config.threads);
	if (r < 0) {
		tmem_store_close(store);
		return r;
	}
	/* No thread was granted that would tidy up. */
	if (!store->workers)
		tmem_slab_set_wake(store->slabs, NULL, NULL);
	if (config.arena_fd >= 0)
		close(config.arena_fd);
	*out = store;
	return 0;
err:
	/* An arena that was mapped has closed it. */
	if (fd >= 0 && (!store || store->arena.fd >= 0))
		close(fd);
	free(store);
	return r;
}

struct tmem_store *tmem_store_close(struct tmem_store *store)
{
	if (!store)
		return NULL;
	tmem_workers_stop(store);
	free_states(store);
	tmem_nursery_deinit(store);
	tmem_index_deinit(&store->index);
	tmem_contents_deinit(&store->contents);
	tmem_slabs_free(store->slabs);
	tmem_codecs_free(store->codecs);
	close_locks(store);
	tmem_arena_deinit(&store->arena);
	free(store);
	return NULL;
}

uint64_t tmem_store_generation(const struct tmem_store *store)
{
	return store->arena.generation;
}

bool tmem_store_reopened(const struct tmem_store *store)
{
	return store->arena.reopened;
}

static uint64_t used(const struct tmem_store *store)
{
	return atomic_load_explicit(&store->budget.used, memory_order_relaxed);
}

/* Down to the limit, by what eviction gives and then by cooling. Resize lock:
 * the slack is this one's. */
static void shrink(struct tmem_store *store, uint64_t limit)
{
	uint64_t now = used(store);

	if (now <= limit)
		return;
	atomic_store_explicit(&store->budget.slack,
			      now - limit + tmem_budget_spare(now),
			      memory_order_relaxed);
	tmem_evict_down_to(store, limit, INT64_MAX);
	while (used(store) > limit && tmem_evict_cool(store))
		;
	atomic_store_explicit(&store->budget.slack, 0, memory_order_relaxed);
}

int tmem_store_set_budget(struct tmem_store *store, uint64_t budget)
{
	int r;

	if (budget < TMEM_BUDGET_MIN || budget > store->arena.capacity)
		return -EINVAL;
	tmem_lock_acquire(&store->resize);
	atomic_store_explicit(&store->budget.limit, budget,
			      memory_order_relaxed);
	shrink(store, budget);
	r = used(store) > budget ? -ENOMEM : 0;
	tmem_lock_release(&store->resize);
	if (r < 0)
		tmem_room_wanted(store);
	/* Grown, it has room for young pages to get smaller. */
	tmem_nursery_unstick(store);
	tmem_cool_wake(store);
	return r;
}

/* Records for pages of 1 KiB, and chunks besides. */
#define RESERVE_PAGE   1024u
#define RESERVE_CHUNKS 2u

static void set_keep(struct tmem_store *store, uint32_t contents,
		     uint32_t leaves, uint32_t objects)
{
	tmem_table_set_keep(&store->contents.table, contents);
	tmem_table_set_keep(&store->index.leaves, leaves);
	tmem_table_set_keep(&store->index.objects, objects);
}

/* What is ready, and what has been used of it: a store may be opened again with
 * pages in it, and serve more than one device. */
static uint64_t reserved(struct tmem_store *store)
{
	struct tmem_slab_stats slabs;

	tmem_slab_stats(store->slabs, &slabs);
	return slabs.bytes[TMEM_EPHEMERAL] + slabs.bytes[TMEM_PERSISTENT] +
	       slabs.spare_bytes;
}

/* Resize lock. */
static int take_reserve(struct tmem_store *store, uint64_t bytes)
{
	uint32_t chunks = (uint32_t)(bytes / RESERVE_PAGE / TMEM_TABLE_CHUNK);
	int r;

	/* A leaf is for eight pages, if these are neighbours. */
	set_keep(store, chunks + RESERVE_CHUNKS, chunks / 2 + RESERVE_CHUNKS,
		 RESERVE_CHUNKS);
	tmem_slab_set_floor(store->slabs, bytes);
	/* Quiet, so that hardly anybody punches what is being touched. */
	tmem_workers_pause(store);
	tmem_upkeep_measure(store);
	r = tmem_arena_make_strict(&store->arena);
	if (r == 0) {
		tmem_table_touch(&store->contents.table);
		tmem_table_touch(&store->index.leaves);
		tmem_table_touch(&store->index.objects);
		tmem_slab_touch(store->slabs);
		while (tmem_upkeep_fill(store))
			;
	}
	tmem_workers_resume(store);
	return r == 0 && reserved(store) < bytes / 2 ? -ENOMEM : r;
}

int tmem_store_set_reserve(struct tmem_store *store, uint64_t bytes)
{
	uint64_t limit = atomic_load_explicit(&store->budget.limit,
					      memory_order_relaxed);
	bool first;
	int r;

	if (!bytes || bytes > limit - limit / 8)
		return -EINVAL;
	if (!store->workers)
		return -EAGAIN;
	tmem_lock_acquire(&store->resize);
	first = !tmem_arena_is_strict(&store->arena);
	r = take_reserve(store, bytes);
	if (r < 0 && first) {
		tmem_arena_end_strict(&store->arena);
		tmem_slab_set_floor(store->slabs, 0);
		set_keep(store, 0, 0, 0);
	}
	tmem_lock_release(&store->resize);
	return r;
}

int tmem_store_reclaim(struct tmem_store *store, uint64_t bytes,
		       uint64_t *released)
{
	uint64_t before = used(store), after;

	if (!bytes)
		return -EINVAL;
	tmem_evict_down_to(store, before > bytes ? before - bytes : 0,
			   bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX);
	after = used(store);
	*released = before > after ? before - after : 0;
	return 0;
}

void tmem_store_set_frozen(struct tmem_store *store, bool frozen)
{
	atomic_store_explicit(&store->frozen, frozen, memory_order_relaxed);
}

uint64_t tmem_store_compact(struct tmem_store *store)
{
	return tmem_evict_compact(store);
}

int tmem_store_settle(struct tmem_store *store)
{
	return tmem_settle_all(store);
}

int tmem_store_flush_pool(struct tmem_store *store, uint32_t pool_id)
{
	struct tmem_pool_state *pool = tmem_pool_ref_by_id(store, pool_id);

	if (!pool)
		return -ENOENT;
	tmem_pool_flush_all(store, pool);
	tmem_pool_unref(store, pool);
	return 0;
}

int tmem_store_destroy_pool(struct tmem_store *store, uint32_t pool_id)
{
	return tmem_pool_end(store, pool_id);
}
