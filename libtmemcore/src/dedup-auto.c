/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Measuring whether dedup pays (dedup-auto.h). Figures behind the limits: a
 * page that is looked for costs 1 us (hash, look-up, entry and removal, cold)
 * where compressing it costs 6, and 2 to 4 bytes of the table where it takes
 * some 1,400. An equal found saves both, so that 1 in 6 pays in time alone, and
 * 1 in 500 in memory. 1 in 64 is 1.5 % of memory for a seventh more time.
 *
 * The counts are relaxed and may lose a few to a race at a window's end: they
 * guide, and guard nothing.
 */
#include "dedup-auto.h"

#define WINDOW_LEAST 4096u
#define FOUND_LEAST  64u /* 1 in so many, or it does not pay */

#define SAMPLE	      16u /* 1 in so many */
#define SAMPLE_WINDOW 256u
#define SAMPLE_FOUND  8u /* of a window: it pays again */

/* What a shard counts by itself before it tells the pool. */
#define BATCH 32u

/* Words of a page that decide whether it is in the sample, evenly spread: a
 * page of which these are all zero goes with all its likes. */
#define PICKED_WORDS 8u

enum tmem_dedup tmem_dedup_auto_setting(const struct tmem_client_record *client,
					const struct tmem_pool_state *pool)
{
	unsigned dedup = TMEM_DEDUP_AUTO;

	if (client)
		dedup = atomic_load_explicit(&client->dedup,
					     memory_order_relaxed);
	if (dedup == TMEM_DEDUP_AUTO)
		dedup = atomic_load_explicit(&pool->dedup,
					     memory_order_relaxed);
	return (enum tmem_dedup)dedup;
}

void tmem_dedup_auto_init(struct tmem_pool_state *pool)
{
	atomic_store_explicit(&pool->dedup_window.sampled,
			      pool->kind == TMEM_PERSISTENT,
			      memory_order_relaxed);
}

static bool in_sample(uint64_t secret, const void *page)
{
	const uint8_t *from = page;
	uint64_t x = secret;

	for (unsigned i = 0; i < PICKED_WORDS; i++) {
		uint64_t word;

		memcpy(&word,
		       from + (size_t)i * (TMEM_PAGE_SIZE / PICKED_WORDS),
		       sizeof(word));
		x = (x ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		x ^= x >> 32;
	}
	return x % SAMPLE == 0;
}

bool tmem_dedup_auto_wants(const struct tmem_store *store,
			   const struct tmem_pool_state *pool, const void *page)
{
	return !tmem_dedup_auto_sampled(pool) ||
	       in_sample(store->arena.secret, page);
}

static void begin_window(struct tmem_dedup_window *window)
{
	atomic_store_explicit(&window->looked, 0, memory_order_relaxed);
	atomic_store_explicit(&window->found, 0, memory_order_relaxed);
}

/* looked and found: in this window so far. */
static void judge(struct tmem_pool_state *pool, uint64_t looked, uint64_t found)
{
	struct tmem_dedup_window *window = &pool->dedup_window;
	bool sampled = tmem_dedup_auto_sampled(pool);
	int64_t held = atomic_load_explicit(&pool->pages, memory_order_relaxed);
	uint64_t most = SAMPLE_WINDOW;
	bool pays;

	if (!sampled)
		most = WINDOW_LEAST + 2 * (uint64_t)(held > 0 ? held : 0);
	pays = sampled ? found >= SAMPLE_FOUND : found * FOUND_LEAST >= looked;
	if (looked < most && !(sampled && pays))
		return;
	if (pays == sampled)
		atomic_store_explicit(&window->sampled, !pays,
				      memory_order_relaxed);
	begin_window(window);
}

void tmem_dedup_auto_count(struct tmem_pool_state *pool, unsigned s,
			   unsigned looked, unsigned found)
{
	struct tmem_dedup_window *window = &pool->dedup_window;
	struct tmem_pool_shard *part = &pool->shard[s];
	uint64_t all, hits;

	if (!looked)
		return;
	part->lookups += looked;
	part->window_looked += looked;
	part->window_found += found;
	if (part->window_looked < BATCH &&
	    !(part->window_found && tmem_dedup_auto_sampled(pool)))
		return;
	all = part->window_looked +
	      atomic_fetch_add_explicit(&window->looked, part->window_looked,
					memory_order_relaxed);
	hits = part->window_found +
	       atomic_fetch_add_explicit(&window->found, part->window_found,
					 memory_order_relaxed);
	part->window_looked = part->window_found = 0;
	judge(pool, all, hits);
}
