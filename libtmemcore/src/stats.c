/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading counters. They lie where they are counted: a use's and a pool's, by
 * shard; sums are made here. A counter only grows, so what ends leaves its
 * counts behind: a use in its pool and its client, a pool in the store.
 *
 * Evictions are a pool's. Its owner sees them; those of a shared pool are no
 * client's.
 */
#include "stats.h"
#include <errno.h>
#include <stdlib.h>
#include "charge.h"
#include "dedup-auto.h"
#include "session.h"

#define DESC(name, type, unit, text) {#name, #type, #unit, text},

const struct tmem_stat_desc tmem_host_stat_desc[] = {TMEM_HOST_STATS(DESC)};
const struct tmem_stat_desc tmem_client_stat_desc[] = {TMEM_CLIENT_STATS(DESC)};
const struct tmem_stat_desc tmem_pool_stat_desc[] = {TMEM_POOL_STATS(DESC)};

static uint64_t positive(int64_t value)
{
	return value > 0 ? (uint64_t)value : 0;
}

/* Add what a use counts. */
static void add_use(struct tmem_store *store, const struct tmem_use *use,
		    uint64_t *values)
{
	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		tmem_lock_acquire(&store->index.shard[s].lock);
		for (unsigned i = 0; i < TMEM_POOL_STAT_COUNT; i++)
			values[i] += use->stat[s][i];
		tmem_lock_release(&store->index.shard[s].lock);
	}
}

/* A pool's counters. *fills adds its fill pages. Admin lock. */
static void pool_values(struct tmem_store *store,
			const struct tmem_pool_state *pool, uint64_t *values,
			uint64_t *fills)
{
	memcpy(values, pool->past, sizeof(pool->past));
	for (struct tmem_use *use = pool->uses; use; use = use->next)
		add_use(store, use, values);
	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		const struct tmem_pool_shard *part = &pool->shard[s];

		tmem_lock_acquire(&store->index.shard[s].lock);
		values[TMEM_POOL_STAT_pages] += part->pages;
		values[TMEM_POOL_STAT_objects] += part->objects;
		values[TMEM_POOL_STAT_stored_bytes] += part->stored_bytes;
		values[TMEM_POOL_STAT_evictions] += part->evictions;
		values[TMEM_POOL_STAT_dedup_lookups] += part->lookups;
		values[TMEM_POOL_STAT_puts_dedup] += part->shared;
		*fills += part->fill_pages;
		tmem_lock_release(&store->index.shard[s].lock);
	}
	values[TMEM_POOL_STAT_peak_pages] =
		atomic_load_explicit(&pool->peak, memory_order_relaxed);
}

int tmem_stats_of_use(struct tmem_pool *base, uint64_t *values)
{
	struct tmem_use *use = (struct tmem_use *)base;
	uint64_t fills = 0;

	tmem_lock_acquire(&use->store->admin);
	pool_values(use->store, use->pool, values, &fills);
	tmem_lock_release(&use->store->admin);
	return 0;
}

static void pool_info(const struct tmem_pool_state *pool,
		      struct tmem_pool_info *info)
{
	const struct tmem_pool_record *record = pool->record;

	*info = (struct tmem_pool_info){
		.id = pool->id,
		.client_id = pool->owner ? pool->owner->id : 0,
		.flags = pool->flags,
		.uuid = record->uuid,
		.codec = (enum tmem_codec)record->codec,
		.dedup = (enum tmem_dedup)record->dedup,
		.sampled = tmem_dedup_auto_setting(
				   pool->owner ? pool->owner->record : NULL,
				   pool) == TMEM_DEDUP_AUTO &&
			   tmem_dedup_auto_sampled(pool),
		.users = pool->users,
	};
	memcpy(info->name, record->name, sizeof(info->name));
}

/* Arrays for count rows. */
static int new_rows(size_t count, size_t info, size_t stats, void **out,
		    uint64_t **values)
{
	uint64_t *v = NULL;
	void *o = calloc(count ? count : 1, info);

	if (o && values)
		v = calloc(count ? count : 1, stats * sizeof(*v));
	if (!o || (values && !v)) {
		free(o);
		return -ENOMEM;
	}
	*out = o;
	if (values)
		*values = v;
	return 0;
}

static bool listed(const struct tmem_pool_state *pool)
{
	return pool && !pool->dead;
}

int tmem_store_pools(struct tmem_store *store, struct tmem_pool_info **out,
		     uint64_t **values, size_t *count)
{
	struct tmem_pool_info *infos;
	uint64_t *rows = NULL, fills = 0;
	void *array;
	size_t n = 0;
	int r;

	tmem_lock_acquire(&store->admin);
	for (uint32_t i = 0; i < store->pool_end; i++)
		n += listed(tmem_store_pool(store, i));
	r = new_rows(n, sizeof(*infos), TMEM_POOL_STAT_COUNT, &array,
		     values ? &rows : NULL);
	if (r == 0) {
		infos = array;
		n = 0;
		for (uint32_t i = 0; i < store->pool_end; i++) {
			struct tmem_pool_state *pool =
				tmem_store_pool(store, i);

			if (!listed(pool))
				continue;
			pool_info(pool, &infos[n]);
			if (rows)
				pool_values(store, pool,
					    rows + n * TMEM_POOL_STAT_COUNT,
					    &fills);
			n++;
		}
		*out = infos;
		*count = n;
		if (values)
			*values = rows;
	}
	tmem_lock_release(&store->admin);
	return r;
}

static void client_info(const struct tmem_client_state *client,
			struct tmem_client_info *info)
{
	info->id = client->id;
	info->uid = client->record->uid;
	info->connected = client->live;
	memcpy(info->name, client->record->name, sizeof(info->name));
	memcpy(info->domain, client->record->domain_name, sizeof(info->domain));
	tmem_session_settings(client->record, &info->settings);
}

/* Pages of one kind that a client holds, and what its uses count. */
static void client_pools(struct tmem_store *store,
			 const struct tmem_client_state *client,
			 uint64_t *persistent, uint64_t *evictions,
			 uint64_t *counts)
{
	for (uint32_t i = 0; i < store->pool_end; i++) {
		struct tmem_pool_state *pool = tmem_store_pool(store, i);
		uint64_t pages;
		bool mine;

		if (!pool)
			continue;
		mine = pool->owner == client;
		for (struct tmem_use *use = pool->uses; use; use = use->next) {
			if (use->client != client)
				continue;
			add_use(store, use, counts);
			mine = true;
		}
		if (!mine)
			continue;
		pages = positive(atomic_load_explicit(&pool->pages,
						      memory_order_relaxed));
		if (!pool->owner)
			pages /= pool->users;
		if (pool->kind == TMEM_PERSISTENT)
			*persistent += pages;
		for (unsigned s = 0; s < TMEM_SHARDS && pool->owner; s++) {
			tmem_lock_acquire(&store->index.shard[s].lock);
			*evictions += pool->shard[s].evictions;
			counts[TMEM_POOL_STAT_puts_dedup] +=
				pool->shard[s].shared;
			tmem_lock_release(&store->index.shard[s].lock);
		}
	}
}

static void client_values(struct tmem_store *store,
			  const struct tmem_client_state *client,
			  uint64_t *values)
{
	uint64_t counts[TMEM_POOL_STAT_COUNT], persistent = 0, pages;
	uint64_t evictions = client->past[TMEM_POOL_STAT_evictions];

	memcpy(counts, client->past, sizeof(counts));
	client_pools(store, client, &persistent, &evictions, counts);
	pages = positive(tmem_charge_pages_of(store, client));
	values[TMEM_CLIENT_STAT_charged] =
		positive(tmem_charge_of(store, client));
	values[TMEM_CLIENT_STAT_pages] = pages;
	values[TMEM_CLIENT_STAT_persistent_pages] = persistent;
	values[TMEM_CLIENT_STAT_ephemeral_pages] =
		pages > persistent ? pages - persistent : 0;
	values[TMEM_CLIENT_STAT_puts] = counts[TMEM_POOL_STAT_puts];
	values[TMEM_CLIENT_STAT_puts_stored] =
		counts[TMEM_POOL_STAT_puts_stored];
	values[TMEM_CLIENT_STAT_puts_refused] =
		counts[TMEM_POOL_STAT_puts_refused];
	values[TMEM_CLIENT_STAT_puts_dedup] = counts[TMEM_POOL_STAT_puts_dedup];
	values[TMEM_CLIENT_STAT_gets] = counts[TMEM_POOL_STAT_gets];
	values[TMEM_CLIENT_STAT_hits] = counts[TMEM_POOL_STAT_hits];
	values[TMEM_CLIENT_STAT_flushes] = counts[TMEM_POOL_STAT_flushes];
	values[TMEM_CLIENT_STAT_evictions] = evictions;
}

int tmem_store_clients(struct tmem_store *store, struct tmem_client_info **out,
		       uint64_t **values, size_t *count)
{
	struct tmem_client_info *infos;
	uint64_t *rows = NULL;
	void *array;
	size_t n = 0;
	int r;

	if (values)
		tmem_charge_refresh(store, 16);
	tmem_lock_acquire(&store->admin);
	for (uint32_t i = 0; i < store->client_end; i++)
		n += store->client[i] != NULL;
	r = new_rows(n, sizeof(*infos), TMEM_CLIENT_STAT_COUNT, &array,
		     values ? &rows : NULL);
	if (r == 0) {
		infos = array;
		n = 0;
		for (uint32_t i = 0; i < store->client_end; i++) {
			if (!store->client[i])
				continue;
			client_info(store->client[i], &infos[n]);
			if (rows)
				client_values(
					store, store->client[i],
					rows + n * TMEM_CLIENT_STAT_COUNT);
			n++;
		}
		*out = infos;
		*count = n;
		if (values)
			*values = rows;
	}
	tmem_lock_release(&store->admin);
	return r;
}

/* What pools count, past ones too, and what they hold. */
static void host_pools(struct tmem_store *store, uint64_t *values)
{
	uint64_t sum[TMEM_POOL_STAT_COUNT], fills = 0;

	tmem_lock_acquire(&store->admin);
	memcpy(sum, store->past, sizeof(sum));
	for (uint32_t i = 0; i < store->pool_end; i++) {
		struct tmem_pool_state *pool = tmem_store_pool(store, i);
		uint64_t one[TMEM_POOL_STAT_COUNT];

		if (!pool)
			continue;
		pool_values(store, pool, one, &fills);
		for (unsigned j = 0; j < TMEM_POOL_STAT_COUNT; j++)
			sum[j] += one[j];
		values[pool->kind == TMEM_PERSISTENT
			       ? TMEM_HOST_STAT_persistent_pages
			       : TMEM_HOST_STAT_ephemeral_pages] +=
			one[TMEM_POOL_STAT_pages];
	}
	tmem_lock_release(&store->admin);
	values[TMEM_HOST_STAT_pages] = values[TMEM_HOST_STAT_persistent_pages] +
				       values[TMEM_HOST_STAT_ephemeral_pages];
	values[TMEM_HOST_STAT_fill_pages] = fills;
	values[TMEM_HOST_STAT_puts] = sum[TMEM_POOL_STAT_puts];
	values[TMEM_HOST_STAT_puts_stored] = sum[TMEM_POOL_STAT_puts_stored];
	values[TMEM_HOST_STAT_puts_refused] = sum[TMEM_POOL_STAT_puts_refused];
	values[TMEM_HOST_STAT_puts_dedup] = sum[TMEM_POOL_STAT_puts_dedup];
	values[TMEM_HOST_STAT_dedup_lookups] =
		sum[TMEM_POOL_STAT_dedup_lookups];
	values[TMEM_HOST_STAT_gets] = sum[TMEM_POOL_STAT_gets];
	values[TMEM_HOST_STAT_hits] = sum[TMEM_POOL_STAT_hits];
	values[TMEM_HOST_STAT_flushes] = sum[TMEM_POOL_STAT_flushes];
	values[TMEM_HOST_STAT_evictions] = sum[TMEM_POOL_STAT_evictions];
}

static uint64_t get(const _Atomic(uint64_t) *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void tmem_store_stats(struct tmem_store *store, uint64_t *values)
{
	struct tmem_slab_stats slabs;
	uint64_t slab_bytes;

	memset(values, 0, TMEM_HOST_STAT_COUNT * sizeof(*values));
	host_pools(store, values);
	tmem_slab_stats(store->slabs, &slabs);
	slab_bytes = slabs.bytes[TMEM_EPHEMERAL] +
		     slabs.bytes[TMEM_PERSISTENT] + slabs.spare_bytes;
	values[TMEM_HOST_STAT_budget] = get(&store->budget.limit);
	values[TMEM_HOST_STAT_used] = get(&store->budget.used);
	values[TMEM_HOST_STAT_peak_used] = get(&store->budget.peak);
	values[TMEM_HOST_STAT_private_bytes] = get(&store->budget.private);
	values[TMEM_HOST_STAT_slab_bytes] = slab_bytes;
	values[TMEM_HOST_STAT_spare_bytes] = slabs.spare_bytes;
	values[TMEM_HOST_STAT_payload_bytes] =
		slabs.payload[TMEM_EPHEMERAL] + slabs.payload[TMEM_PERSISTENT];
	/* In the arena is what is neither private nor slabs. Relaxed loads may
	 * be of different moments. */
	values[TMEM_HOST_STAT_table_bytes] = positive(
		(int64_t)(values[TMEM_HOST_STAT_used] -
			  values[TMEM_HOST_STAT_private_bytes] - slab_bytes));
	values[TMEM_HOST_STAT_freeable] =
		slabs.bytes[TMEM_EPHEMERAL] + slabs.spare_bytes;
	values[TMEM_HOST_STAT_contents] = atomic_load_explicit(
		&store->contents.table.used, memory_order_relaxed);
	values[TMEM_HOST_STAT_raw_contents] =
		get(&store->contents.held[TMEM_CODEC_RAW]);
	values[TMEM_HOST_STAT_lz4_contents] =
		get(&store->contents.held[TMEM_CODEC_LZ4]);
	values[TMEM_HOST_STAT_lzo_contents] =
		get(&store->contents.held[TMEM_CODEC_LZO]);
	values[TMEM_HOST_STAT_zstd_contents] =
		get(&store->contents.held[TMEM_CODEC_ZSTD]);
	values[TMEM_HOST_STAT_young_contents] = tmem_nursery_pages(store);
	tmem_nursery_stats(store, &values[TMEM_HOST_STAT_young_settled],
			   &values[TMEM_HOST_STAT_young_died],
			   &values[TMEM_HOST_STAT_puts_inline]);
	values[TMEM_HOST_STAT_dedup_mismatches] =
		get(&store->contents.dedup.mismatches);
	values[TMEM_HOST_STAT_recompressed] = get(&store->cool.recompressed);
	values[TMEM_HOST_STAT_compactions] = get(&store->contents.compactions);
	values[TMEM_HOST_STAT_decode_errors] =
		get(&store->contents.decode_errors);
	values[TMEM_HOST_STAT_slabs_freed] = slabs.slabs_freed;
	values[TMEM_HOST_STAT_refused_nomem] =
		get(&store->refused[TMEM_REFUSAL_NOMEM]);
	values[TMEM_HOST_STAT_refused_cap] =
		get(&store->refused[TMEM_REFUSAL_CAP]);
	values[TMEM_HOST_STAT_refused_frozen] =
		get(&store->refused[TMEM_REFUSAL_FROZEN]);
	values[TMEM_HOST_STAT_refused_fault] =
		get(&store->refused[TMEM_REFUSAL_FAULT]);
}

uint64_t tmem_store_freeable(struct tmem_store *store)
{
	struct tmem_slab_stats slabs;

	tmem_slab_stats(store->slabs, &slabs);
	return slabs.bytes[TMEM_EPHEMERAL] + slabs.spare_bytes;
}
