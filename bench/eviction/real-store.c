/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A real store among the policies, to see whether store-model.c is its model:
 * raw pages, no two alike, and a budget in which as many of them fit as a
 * policy may hold.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tmem/client.h>
#include <tmem/stats.h>
#include <tmem/store.h>

#include "policy.h"

/* Beside pages, about; the first try of the budget. */
#define TABLES (UINT64_C(2) << 20)

struct state {
	const struct trace *trace;
	struct tmem_store *store;
	struct tmem_client *client;
	struct tmem_pool *pool;
};

static void must(int r, const char *what)
{
	if (r < 0) {
		fprintf(stderr, "eviction: a store %s: %s\n", what,
			strerror(-r));
		exit(EXIT_FAILURE);
	}
}

static void open_store(struct state *s, uint64_t budget)
{
	static const struct tmem_client_config client = {.name = "simulator"};
	static const struct tmem_pool_config pool = {
		.name = "trace",
		.codec = TMEM_CODEC_RAW,
		.dedup = TMEM_DEDUP_OFF,
	};
	struct tmem_store_config config;

	tmem_store_config_init(&config);
	config.budget = budget < TMEM_BUDGET_MIN ? TMEM_BUDGET_MIN : budget;
	config.nursery = 0;
	config.threads = 0;
	must(tmem_store_open(&config, &s->store), "cannot be opened");
	must(tmem_client_new_local(s->store, &client, &s->client),
	     "has no room for a client");
	must(tmem_pool_new(s->client, &pool, &s->pool),
	     "has no room for a pool");
}

static void close_store(struct state *s)
{
	tmem_pool_free(s->pool);
	tmem_client_free(s->client);
	tmem_store_close(s->store);
}

static void put(void *state, uint32_t page)
{
	struct state *s = state;
	const struct page *p = &s->trace->pages[page];
	struct tmem_oid oid = {.word = {p->object}};
	uint64_t words[512] = {page, 1};

	must(tmem_put(s->pool, &oid, p->index, words), "refuses a page");
}

/* The most pages of the trace that the store has held. */
static uint32_t fill(struct state *s)
{
	uint64_t values[TMEM_POOL_STAT_COUNT];

	for (uint32_t p = 1; p < s->trace->page_end; p++)
		put(s, p);
	must(tmem_pool_stats(s->pool, values), "does not say what it holds");
	return (uint32_t)values[TMEM_POOL_STAT_peak_pages];
}

static void *init(const struct trace *trace, uint32_t pages, bool exclusive)
{
	struct state *s = calloc(1, sizeof(*s));
	uint64_t budget = (uint64_t)pages * 4096 + TABLES;

	(void)exclusive;
	if (!s)
		abort();
	s->trace = trace;
	for (int i = 0; i < 2; i++) {
		open_store(s, budget);
		/* Where all fits, any budget does. */
		budget += ((uint64_t)pages - fill(s)) * 4096;
		close_store(s);
	}
	open_store(s, budget);
	return s;
}

static void deinit(void *state)
{
	close_store(state);
	free(state);
}

static bool get(void *state, uint32_t page)
{
	struct state *s = state;
	const struct page *p = &s->trace->pages[page];
	struct tmem_oid oid = {.word = {p->object}};
	uint64_t words[512];

	return tmem_get(s->pool, &oid, p->index, words) == TMEM_OK &&
	       words[0] == page;
}

static void take(void *state, uint32_t page, bool hit)
{
	struct state *s = state;
	const struct page *p = &s->trace->pages[page];
	struct tmem_oid oid = {.word = {p->object}};

	(void)hit;
	must(tmem_flush(s->pool, &oid, p->index), "does not flush");
}

const struct policy policy_real_store = {
	.name = "real-store",
	.init = init,
	.deinit = deinit,
	.get = get,
	.put = put,
	.take = take,
};
