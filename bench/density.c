/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many bytes of pages a byte of memory holds (BENCHMARKS.md, "Density"):
 * four guests that all run the same, each a client with a pool, put the same
 * kernel trees, programs and memory.
 */
#include <stdio.h>
#include <tmem/client.h>
#include <tmem/stats.h>
#include <tmem/store.h>
#include <unistd.h>
#include "clock.h"
#include "parts.h"

#define GUESTS	     4u
#define PAGES_A_FILE 65536u
#define BUDGET_APART (64ull << 20)
#define QUIET_US     250000
#define QUIET_LOOKS  6u

struct guest {
	struct tmem_client *client;
	struct tmem_pool *pool;
};

static void open_guest(struct tmem_store *store, unsigned number,
		       struct guest *guest)
{
	struct tmem_pool_config pool = {.name = "pages"};
	char name[16];
	struct tmem_client_config client = {.name = name};

	snprintf(name, sizeof(name), "guest%u", number);
	bench_must(tmem_client_new_local(store, &client, &guest->client),
		   "tmem_client_new_local");
	bench_must(tmem_pool_new(guest->client, &pool, &guest->pool),
		   "tmem_pool_new");
}

/* Put a set's pages, each file an object. */
static void put_set(struct guest *guest, uint64_t number,
		    const struct bench_pages *set)
{
	uint32_t index = 0;

	for (size_t i = 0; i < set->count; i++) {
		struct tmem_oid oid = {{number, set->object[i]}};

		index = i && set->object[i] == set->object[i - 1] ? index + 1
								  : 0;
		bench_must(
			tmem_put(guest->pool, &oid, index, bench_page(set, i)),
			"a put");
	}
}

/* All guests do one thing after the other, as if at the same time. Returns how
 * many pages they put. */
static uint64_t put_all(struct guest *guests, char *const *trees,
			const struct bench_pages *set, size_t most)
{
	struct bench_pages pages = bench_pages_new(most);
	uint64_t put = set->count, number = 0;

	for (unsigned g = 0; g < GUESTS; g++)
		put_set(&guests[g], number, set);
	for (; *trees; trees++) {
		pages.count = 0;
		pages.objects = 0;
		bench_pages_of_files(*trees, false, PAGES_A_FILE, &pages, most);
		number++;
		for (unsigned g = 0; g < GUESTS; g++)
			put_set(&guests[g], number, &pages);
		put += pages.count;
	}
	bench_pages_free(&pages);
	return put * GUESTS;
}

static uint64_t host_stat(struct tmem_store *store, enum tmem_host_stat stat)
{
	uint64_t stats[TMEM_HOST_STAT_COUNT];

	tmem_store_stats(store, stats);
	return stats[stat];
}

/* Wait until the store's threads have made pages no smaller for a while: they
 * look for some to compress further once a second. */
static uint64_t quiet_payload(struct tmem_store *store)
{
	uint64_t payload = UINT64_MAX, now;

	for (unsigned quiet = 0; quiet < QUIET_LOOKS; quiet++) {
		usleep(QUIET_US);
		now = host_stat(store, TMEM_HOST_STAT_payload_bytes);
		if (now < payload)
			quiet = 0;
		payload = now;
	}
	return payload;
}

/*
 * Let the store compress further what nobody reads, which it does when its
 * budget is nearly used: the budget follows what it uses down, never below,
 * until that gains nothing.
 */
static void tighten(struct tmem_store *store)
{
	uint64_t before, payload, used, budget;

	bench_must(tmem_store_settle(store), "tmem_store_settle");
	payload = host_stat(store, TMEM_HOST_STAT_payload_bytes);
	do {
		before = payload;
		tmem_store_compact(store);
		used = host_stat(store, TMEM_HOST_STAT_used);
		budget = used + used / 10;
		bench_must(
			tmem_store_set_budget(store, budget > TMEM_BUDGET_MIN
							     ? budget
							     : TMEM_BUDGET_MIN),
			"tmem_store_set_budget");
		payload = quiet_payload(store);
	} while (payload < before - before / 100);
	tmem_store_compact(store);
}

static void note(struct tmem_store *store, uint64_t put, bool two_trees,
		 json_t *report)
{
	double used = (double)host_stat(store, TMEM_HOST_STAT_used);
	double pages = (double)host_stat(store, TMEM_HOST_STAT_pages);
	double contents = (double)host_stat(store, TMEM_HOST_STAT_contents);
	double density = pages * TMEM_PAGE_SIZE / used;

	bench_set(report, (double)put, "density/pages_put");
	bench_set(report, pages, "density/pages_held");
	bench_set(report, contents, "density/contents");
	bench_set(report, used, "density/used");
	bench_set(report, density, "density/logical_over_used");
	if (two_trees)
		bench_set(report, density,
			  "density/two_trees_logical_over_used");
	printf("\ndensity: %.0f of %.0f pages of four guests held as %.0f contents in %.1f MiB: %.2f bytes a byte\n",
	       pages, (double)put, contents, used / 1048576, density);
}

void bench_density(char *const *trees, const struct bench_pages *set,
		   size_t skip, size_t most, json_t *report)
{
	struct bench_pages rest = *set; /* a part of the caller's */
	struct tmem_store_config config;
	struct guest guests[GUESTS];
	struct tmem_store *store;
	uint64_t put;

	rest.bytes += skip * TMEM_PAGE_SIZE;
	rest.object += skip;
	rest.count -= skip;
	tmem_store_config_init(&config);
	config.budget = BUDGET_APART + (uint64_t)rest.count * TMEM_PAGE_SIZE;
	for (size_t i = 0; trees[i]; i++)
		config.budget += (uint64_t)most * TMEM_PAGE_SIZE;
	config.capacity = config.budget;
	bench_must(tmem_store_open(&config, &store), "tmem_store_open");
	for (unsigned g = 0; g < GUESTS; g++)
		open_guest(store, g, &guests[g]);
	put = put_all(guests, trees, &rest, most);
	tighten(store);
	note(store, put, trees[0] && trees[1], report);
	for (unsigned g = 0; g < GUESTS; g++) {
		tmem_pool_free(guests[g].pool);
		tmem_client_free(guests[g].client);
	}
	tmem_store_close(store);
}
