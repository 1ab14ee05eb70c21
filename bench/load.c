/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many puts (BENCHMARKS.md, "Burst and sustained"): into an idle store, as long
 * as its nursery has room; and without end into a store whose budget is full,
 * by as many threads as there are processors. That is compared with what the
 * codec alone does on them: the two take turns.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tmem/client.h>
#include <tmem/stats.h>
#include <tmem/store.h>
#include "clock.h"
#include "codec.h"
#include "parts.h"

#define THREADS_MOST 64u
#define SLICE_NS     UINT64_C(200000000)
#define LEAD_NS	     UINT64_C(100000000) /* of puts, before they count */
#define NURSERY_PART 8			 /* of the budget, by default */
#define BUDGET_LEAST (32ull << 20)

/* What all slices of one sort took of the processors. */
struct spent {
	atomic_ullong pages;
	uint64_t ns; /* of the whole process */
};

struct load {
	struct bench_pages set; /* renumbered by whoever puts a page */
	struct tmem_pool *pool;
	struct tmem_codecs *codecs;
	unsigned threads, slices;
	pthread_barrier_t together;
	struct spent bare, put; /* the first loader's to add to */
};

/* One thread of it: its own part of the set, over and over. */
struct loader {
	struct load *load;
	pthread_t thread;
	unsigned number;
	uint64_t done;	    /* pages, ever */
	double *bare, *put; /* pages a second, of each slice */
};

static unsigned processors(void)
{
	cpu_set_t all;
	unsigned count = 1;

	if (sched_getaffinity(0, sizeof(all), &all) == 0)
		count = (unsigned)CPU_COUNT(&all);
	return count < THREADS_MOST ? count : THREADS_MOST;
}

static uint8_t *next_page(struct loader *loader)
{
	const struct load *load = loader->load;
	size_t part = load->set.count / load->threads;
	uint64_t i = loader->done++;
	uint8_t *page =
		bench_page(&load->set, loader->number * part + i % part);

	bench_number(page, (i << 8) | loader->number);
	return page;
}

static void put_next(struct loader *loader)
{
	struct tmem_oid oid = {{loader->number, loader->done >> 20}};
	uint32_t index = (uint32_t)loader->done & ((1u << 20) - 1);

	if (tmem_put(loader->load->pool, &oid, index, next_page(loader)) < 0)
		bench_must(1, "a put");
}

static void compress_next(struct loader *loader)
{
	uint8_t out[TMEM_PAGE_SIZE];

	tmem_codec_compress(loader->load->codecs, TMEM_CODEC_LZ4,
			    next_page(loader), out);
}

/* Do it for so long; returns pages a second. */
static double repeat(struct loader *loader, void (*it)(struct loader *),
		     uint64_t ns)
{
	uint64_t begin = bench_now(), now = begin, before = loader->done;

	while (now - begin < ns) {
		it(loader);
		now = bench_now();
	}
	return 1e9 * (double)(loader->done - before) / (double)(now - begin);
}

/* All loaders do it for a slice. */
static double slice(struct loader *loader, void (*it)(struct loader *),
		    struct spent *spent)
{
	uint64_t before = loader->done, ns;
	double rate;

	pthread_barrier_wait(&loader->load->together);
	ns = bench_process_ns();
	rate = repeat(loader, it, SLICE_NS);
	atomic_fetch_add(&spent->pages, loader->done - before);
	pthread_barrier_wait(&loader->load->together);
	if (loader->number == 0)
		spent->ns += bench_process_ns() - ns;
	return rate;
}

static void *run_slices(void *ctx)
{
	struct loader *loader = ctx;
	struct load *load = loader->load;

	for (unsigned i = 0; i < load->slices; i++) {
		loader->bare[i] = slice(loader, compress_next, &load->bare);
		repeat(loader, put_next, LEAD_NS);
		loader->put[i] = slice(loader, put_next, &load->put);
	}
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median of the slices' sums. */
static double rate_of(const struct loader *loaders, const struct load *load,
		      bool bare)
{
	double *sum = calloc(load->slices, sizeof(*sum)), median;

	bench_must(!sum, "calloc");
	for (unsigned i = 0; i < load->slices; i++)
		for (unsigned t = 0; t < load->threads; t++)
			sum[i] += bare ? loaders[t].bare[i] : loaders[t].put[i];
	qsort(sum, load->slices, sizeof(*sum), by_value);
	median = sum[load->slices / 2];
	free(sum);
	return median;
}

struct opened {
	struct tmem_store *store;
	struct tmem_client *client;
	struct tmem_pool *pool;
};

static struct opened open_store(uint64_t budget)
{
	struct tmem_client_config client = {.name = "bench"};
	struct tmem_pool_config pool = {.name = "pages"};
	struct tmem_store_config config;
	struct opened it;

	tmem_store_config_init(&config);
	config.budget = budget;
	config.capacity = budget;
	bench_must(tmem_store_open(&config, &it.store), "tmem_store_open");
	bench_must(tmem_client_new_local(it.store, &client, &it.client),
		   "tmem_client_new_local");
	bench_must(tmem_pool_new(it.client, &pool, &it.pool), "tmem_pool_new");
	return it;
}

static void close_store(struct opened *it)
{
	tmem_pool_free(it->pool);
	tmem_client_free(it->client);
	tmem_store_close(it->store);
}

static void fill(struct load *load, struct tmem_store *store)
{
	struct loader filler = {.load = load, .number = 0};
	uint64_t stats[TMEM_HOST_STAT_COUNT];

	/* Objects that the loaders do not name. */
	filler.done = UINT64_C(1) << 40;
	do {
		for (unsigned i = 0; i < 1000; i++)
			put_next(&filler);
		tmem_store_stats(store, stats);
	} while (!stats[TMEM_HOST_STAT_evictions]);
}

static double ns_a_page(const struct spent *spent)
{
	return (double)spent->ns / (double)atomic_load(&spent->pages);
}

static void run_loaders(struct load *load, struct loader *loaders)
{
	for (unsigned t = 0; t < load->threads; t++) {
		loaders[t] = (struct loader){.load = load, .number = t};
		loaders[t].bare = calloc(load->slices, sizeof(double));
		loaders[t].put = calloc(load->slices, sizeof(double));
		bench_must(!loaders[t].bare || !loaders[t].put, "calloc");
	}
	for (unsigned t = 0; t < load->threads; t++)
		bench_must(pthread_create(&loaders[t].thread, NULL, run_slices,
					  &loaders[t]),
			   "pthread_create");
	for (unsigned t = 0; t < load->threads; t++)
		pthread_join(loaders[t].thread, NULL);
}

void bench_sustained(const struct bench_pages *set, unsigned slices,
		     json_t *report)
{
	struct load load = {
		.set = bench_pages_copy(set),
		.threads = processors(),
		.slices = slices,
	};
	uint64_t budget = (uint64_t)set->count * TMEM_PAGE_SIZE;
	struct loader loaders[THREADS_MOST] = {0};
	struct opened store;
	double bare, put;

	store = open_store(budget > BUDGET_LEAST ? budget : BUDGET_LEAST);
	load.pool = store.pool;
	bench_must(tmem_codecs_new(UINT64_MAX, &load.codecs),
		   "tmem_codecs_new");
	pthread_barrier_init(&load.together, NULL, load.threads);
	fill(&load, store.store);
	run_loaders(&load, loaders);
	bare = rate_of(loaders, &load, true);
	put = rate_of(loaders, &load, false);
	bench_set(report, load.threads, "sustained/threads");
	bench_set(report, bare, "sustained/bare_codec_pages_per_second");
	bench_set(report, put, "sustained/put_pages_per_second");
	bench_set(report, ns_a_page(&load.bare),
		  "sustained/bare_codec_processor_ns_a_page");
	bench_set(report, ns_a_page(&load.put),
		  "sustained/put_processor_ns_a_page");
	printf("\nsustained puts, budget full, %u threads: %.0f k/s; lz4 alone: %.0f k/s\n"
	       "processor time of a page: %.0f ns; lz4 alone: %.0f ns\n",
	       load.threads, put / 1e3, bare / 1e3, ns_a_page(&load.put),
	       ns_a_page(&load.bare));
	for (unsigned t = 0; t < load.threads; t++) {
		free(loaders[t].bare);
		free(loaders[t].put);
	}
	pthread_barrier_destroy(&load.together);
	tmem_codecs_free(load.codecs);
	close_store(&store);
	bench_pages_free(&load.set);
}

static int by_ns(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Puts of the whole set at once, then all of it settled. */
static void burst(struct load *load, struct opened *store, const char *name,
		  json_t *report)
{
	size_t count = load->set.count;
	uint32_t *ns = calloc(count, sizeof(*ns));
	struct loader loader = {.load = load};
	uint64_t stats[TMEM_HOST_STAT_COUNT], begin;
	size_t middle = count / 2, slow = count * 99 / 100;
	double young, settle_ms;

	bench_must(!ns, "calloc");
	for (size_t i = 0; i < count; i++) {
		begin = bench_now();
		put_next(&loader);
		ns[i] = (uint32_t)(bench_now() - begin);
	}
	tmem_store_stats(store->store, stats);
	young = (double)stats[TMEM_HOST_STAT_young_contents];
	begin = bench_now();
	bench_must(tmem_store_settle(store->store), "tmem_store_settle");
	settle_ms = (double)(bench_now() - begin) / 1e6;
	qsort(ns, count, sizeof(*ns), by_ns);
	bench_set(report, ns[middle], "burst/%s/p50_ns", name);
	bench_set(report, ns[slow], "burst/%s/p99_ns", name);
	bench_set(report, young, "burst/%s/left_young", name);
	bench_set(report, settle_ms, "burst/%s/settle_ms", name);
	printf("burst of %zu puts, %s: p50 %u ns, p99 %u ns; %.0f left young, settled in %.0f ms\n",
	       count, name, ns[middle], ns[slow], young, settle_ms);
	free(ns);
}

void bench_burst(const struct bench_pages *set, json_t *report)
{
	uint64_t budget =
		(uint64_t)set->count * TMEM_PAGE_SIZE * NURSERY_PART * 9 / 8;
	struct load load = {.set = bench_pages_copy(set), .threads = 1};
	struct opened store;

	store = open_store(budget > BUDGET_LEAST ? budget : BUDGET_LEAST);
	load.pool = store.pool;
	printf("\n");
	burst(&load, &store, "first", report);
	for (uint64_t i = 0; i < 2; i++) {
		struct tmem_oid oid = {{0, i}};

		tmem_flush_object(store.pool, &oid);
	}
	burst(&load, &store, "again", report);
	close_store(&store);
	bench_pages_free(&load.set);
}
