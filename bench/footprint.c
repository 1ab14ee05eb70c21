/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What pages cost in memory (BENCHMARKS.md, "Memory"): the store's own count
 * beside the kernel's, through the life of a store: just filled, after every
 * page was replaced by another in random order, after half were flushed at
 * random, and after compaction.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <tmem/client.h>
#include <tmem/stats.h>
#include <tmem/store.h>
#include <unistd.h>
#include "clock.h"
#include "kernel-memory.h"
#include "parts.h"

#define BUDGET_APART (64ull << 20)
#define QUIET_US     1500000 /* between looks at a store that tidies up */
#define QUIET_LOOKS  100

struct footprint {
	struct tmem_store *store;
	struct tmem_client *client;
	struct tmem_pool *pool;
	struct bench_pages set; /* its pages are renumbered as they are put */
	uint32_t *index;	/* of each page in its object */
	unsigned copies;
	int arena;
	uint64_t anonymous; /* before the store was opened */
	uint64_t number;
	uint64_t random;
	json_t *report;
};

static uint64_t next_random(struct footprint *it)
{
	it->random = it->random * 6364136223846793005u + 1442695040888963407u;
	return it->random >> 33;
}

static struct tmem_oid oid_of(const struct footprint *it, unsigned copy,
			      size_t page)
{
	return (struct tmem_oid){{it->set.object[page], copy, 0}};
}

/* Put a page as no page was before. */
static void put(struct footprint *it, unsigned copy, size_t page)
{
	struct tmem_oid oid = oid_of(it, copy, page);

	bench_number(bench_page(&it->set, page), it->number++);
	bench_must(tmem_put(it->pool, &oid, it->index[page],
			    bench_page(&it->set, page)),
		   "a put");
}

/* Wait until the store's threads have done what there was to do. */
static void settle(struct footprint *it)
{
	uint64_t stats[TMEM_HOST_STAT_COUNT], used = 0;

	bench_must(tmem_store_settle(it->store), "tmem_store_settle");
	for (unsigned i = 0; i < QUIET_LOOKS; i++) {
		tmem_store_stats(it->store, stats);
		if (stats[TMEM_HOST_STAT_used] == used)
			return;
		used = stats[TMEM_HOST_STAT_used];
		usleep(QUIET_US);
	}
}

static void note(struct footprint *it, const char *stage)
{
	uint64_t stats[TMEM_HOST_STAT_COUNT], of_pool[TMEM_POOL_STAT_COUNT];
	uint64_t kernel;
	double used, slabs, payload, pages, metadata, allowed, apart;

	tmem_store_stats(it->store, stats);
	bench_must(tmem_pool_stats(it->pool, of_pool), "tmem_pool_stats");
	kernel = bench_file_bytes(it->arena) + bench_anonymous_bytes() -
		 it->anonymous;
	used = (double)stats[TMEM_HOST_STAT_used];
	slabs = (double)stats[TMEM_HOST_STAT_slab_bytes];
	/* No page is like another. Slots are larger than what is in them. */
	payload = (double)of_pool[TMEM_POOL_STAT_stored_bytes];
	pages = (double)stats[TMEM_HOST_STAT_pages];
	metadata = (used - slabs) / pages;
	/* 2 % or 8 MiB may be between the two counts. */
	allowed = used / 50 > 8 << 20 ? used / 50 : 8 << 20;
	apart = ((double)kernel - used) / allowed;
	bench_set(it->report, pages, "memory/%s/pages", stage);
	bench_set(it->report, used, "memory/%s/used", stage);
	bench_set(it->report, slabs, "memory/%s/slab_bytes", stage);
	bench_set(it->report, payload, "memory/%s/payload_bytes", stage);
	bench_set(it->report, (double)kernel, "memory/%s/kernel", stage);
	bench_set(it->report, slabs / payload,
		  "memory/%s/slab_bytes_over_payload", stage);
	bench_set(it->report, metadata, "memory/%s/metadata_a_page", stage);
	bench_set(it->report, apart < 0 ? -apart : apart,
		  "memory/%s/apart_over_allowed", stage);
	printf("%-12s %9.0f %9.1f %9.1f %9.1f %9.1f %9.3f %9.1f\n", stage,
	       pages, payload / 1048576, slabs / 1048576, used / 1048576,
	       (double)kernel / 1048576, slabs / payload, metadata);
	fflush(stdout);
}

static void fill(struct footprint *it)
{
	for (unsigned copy = 0; copy < it->copies; copy++)
		for (size_t i = 0; i < it->set.count; i++)
			put(it, copy, i);
}

/* As many replacements as there are pages. */
static void churn(struct footprint *it)
{
	size_t pages = it->set.count * it->copies;

	for (size_t i = 0; i < pages; i++) {
		unsigned copy = (unsigned)(next_random(it) % it->copies);

		put(it, copy, next_random(it) % it->set.count);
	}
}

static void halve(struct footprint *it)
{
	for (unsigned copy = 0; copy < it->copies; copy++) {
		for (size_t i = 0; i < it->set.count; i++) {
			struct tmem_oid oid = oid_of(it, copy, i);

			if (next_random(it) & 1)
				tmem_flush(it->pool, &oid, it->index[i]);
		}
	}
}

static void open_store(struct footprint *it)
{
	struct tmem_client_config client = {.name = "bench"};
	struct tmem_pool_config pool = {
		.name = "pages",
		.dedup = TMEM_DEDUP_ON, /* its table is metadata as well */
	};
	struct tmem_store_config config;

	it->anonymous = bench_anonymous_bytes();
	it->arena = memfd_create("bench", MFD_CLOEXEC);
	bench_must(it->arena < 0, "memfd_create");
	tmem_store_config_init(&config);
	config.budget = BUDGET_APART + (uint64_t)it->copies * it->set.count *
					       TMEM_PAGE_SIZE * 5 / 4;
	config.capacity = config.budget;
	config.arena_fd = dup(it->arena);
	bench_must(tmem_store_open(&config, &it->store), "tmem_store_open");
	bench_must(tmem_client_new_local(it->store, &client, &it->client),
		   "tmem_client_new_local");
	bench_must(tmem_pool_new(it->client, &pool, &it->pool),
		   "tmem_pool_new");
}

static void number_indices(struct footprint *it)
{
	it->index = calloc(it->set.count, sizeof(*it->index));
	bench_must(!it->index, "calloc");
	for (size_t i = 1; i < it->set.count; i++)
		if (it->set.object[i] == it->set.object[i - 1])
			it->index[i] = it->index[i - 1] + 1;
}

void bench_footprint(const struct bench_pages *set, unsigned copies,
		     json_t *report)
{
	struct footprint it = {
		.set = bench_pages_copy(set),
		.copies = copies,
		.report = report,
	};

	number_indices(&it);
	open_store(&it);
	printf("\n%-12s %9s %9s %9s %9s %9s %9s %9s\n", "memory, MiB", "pages",
	       "payload", "slabs", "used", "kernel", "slabs/", "metadata");
	printf("%-12s %9s %9s %9s %9s %9s %9s %9s\n", "", "", "", "", "", "",
	       "payload", "B a page");
	fill(&it);
	settle(&it);
	note(&it, "fresh");
	churn(&it);
	settle(&it);
	note(&it, "churned");
	halve(&it);
	note(&it, "halved");
	tmem_store_compact(it.store);
	settle(&it);
	note(&it, "compacted");
	tmem_pool_free(it.pool);
	tmem_client_free(it.client);
	tmem_store_close(it.store);
	close(it.arena);
	free(it.index);
	bench_pages_free(&it.set);
}
