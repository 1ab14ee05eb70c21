/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The administrator from hell: changes everything that may change while
 * clients work. Each change is undone soon, so that most puts still succeed.
 */
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <tmem/stats.h>

#define MIB (1ull << 20)

static void set_budget(struct workload *workload, struct test_random *random)
{
	uint64_t most = workload->config->capacity;
	uint64_t budget = TMEM_BUDGET_MIN;
	int r;

	budget += test_random_below(random, most - budget + 1);
	r = tmem_store_set_budget(workload->world->store, budget);
	if (r && r != -ENOMEM)
		model_fail(workload->world->model, "set_budget: %s",
			   strerror(-r));
	workload->world->model->budgets++;
}

static void reclaim(struct workload *workload, struct test_random *random)
{
	uint64_t bytes = 1 + test_random_below(random, MIB);
	uint64_t released;
	int r = tmem_store_reclaim(workload->world->store, bytes, &released);

	if (r)
		model_fail(workload->world->model, "reclaim: %s", strerror(-r));
}

/* A change that hinders clients is made an eighth of the time, undone else. */
static void set_client(struct workload *workload, struct test_random *random)
{
	struct tmem_client_settings settings = {0};
	struct tmem_store *store = workload->world->store;
	bool harm = test_random_below(random, 8) == 0;
	struct tmem_client_info *clients;
	size_t count;
	int r = tmem_store_clients(store, &clients, NULL, &count);

	if (r)
		model_fail(workload->world->model, "tmem_store_clients: %s",
			   strerror(-r));
	settings.set = 1u << test_random_below(random, 6);
	settings.weight = 1 + test_random_below(random, 10000);
	settings.cap = harm ? test_random_below(random, 8 * MIB) : 0;
	settings.maxmem = harm ? test_random_below(random, 8 * MIB) : 0;
	settings.codec = harm ? TMEM_CODEC_RAW + test_random_below(random, 4)
			      : TMEM_CODEC_NONE;
	settings.dedup = harm ? test_random_below(random, 3) : TMEM_DEDUP_AUTO;
	settings.frozen = harm && test_random_below(random, 2) == 0;
	if (count) {
		size_t i = test_random_below(random, count);

		/* It may just have been renamed or ended. */
		r = tmem_store_client_set(store, clients[i].id, &settings);
		if (r && r != -ENOENT)
			model_fail(workload->world->model, "client_set: %s",
				   strerror(-r));
	}
	free(clients);
}

static void freeze(struct workload *workload, struct test_random *random)
{
	bool frozen = test_random_below(random, 8) == 0;

	tmem_store_set_frozen(workload->world->store, frozen);
	if (frozen) {
		sched_yield();
		tmem_store_set_frozen(workload->world->store, false);
	}
}

/* Flush one of the pools whose pages are stamped, under everybody's feet. */
static void flush_pool(struct workload *workload, struct test_random *random)
{
	struct world *world = workload->world;
	struct model *model = world->model;
	enum model_kind kind =
		test_random_below(random, MODEL_SHARED_EPHEMERAL);
	struct stamped_page *page = &model->stamped[kind][0][0];
	uint32_t start[STAMPED_OBJECTS * STAMPED_INDEXES];
	struct tmem_pool_info *pools;
	struct tmem_client_info *clients;
	uint32_t client = 0;
	size_t count;
	int r;

	if (tmem_store_clients(world->store, &clients, NULL, &count))
		model_fail(model, "tmem_store_clients");
	for (size_t i = 0; i < count; i++)
		if (clients[i].name[strlen("client-")] - '0' ==
		    (int)model->threads)
			client = clients[i].id;
	free(clients);
	if (tmem_store_pools(world->store, &pools, NULL, &count))
		model_fail(model, "tmem_store_pools");
	for (size_t i = 0; i < count; i++) {
		static const char *const name[] = {"ephemeral", "exclusive",
						   "persistent"};

		if (pools[i].client_id != client ||
		    strcmp(pools[i].name, name[kind]) != 0)
			continue;
		for (unsigned p = 0; p < STAMPED_OBJECTS * STAMPED_INDEXES; p++)
			start[p] = stamped_flush_starts(&page[p]);
		r = tmem_store_flush_pool(world->store, pools[i].id);
		if (r)
			model_fail(model, "flush_pool: %s", strerror(-r));
		for (unsigned p = 0; p < STAMPED_OBJECTS * STAMPED_INDEXES; p++)
			stamped_flush_ends(&page[p], start[p]);
	}
	free(pools);
}

/* Statistics are read while all moves; some things hold at any time. */
static void read_stats(struct workload *workload)
{
	uint64_t host[TMEM_HOST_STAT_COUNT];
	struct tmem_client_info *clients;
	struct tmem_pool_info *pools;
	uint64_t *values;
	size_t count;

	tmem_store_stats(workload->world->store, host);
	if (host[TMEM_HOST_STAT_used] > host[TMEM_HOST_STAT_peak_used])
		model_fail(workload->world->model, "more used than the peak");
	tmem_store_freeable(workload->world->store);
	if (tmem_store_clients(workload->world->store, &clients, &values,
			       &count))
		model_fail(workload->world->model, "tmem_store_clients");
	free(clients);
	free(values);
	if (tmem_store_pools(workload->world->store, &pools, &values, &count))
		model_fail(workload->world->model, "tmem_store_pools");
	free(pools);
	free(values);
}

void chaos_step(struct workload *workload, struct test_random *random)
{
	uint64_t dice = test_random_below(random, 100);

	if (dice < 35)
		set_budget(workload, random);
	else if (dice < 55)
		tmem_store_compact(workload->world->store);
	else if (dice < 65)
		reclaim(workload, random);
	else if (dice < 85)
		set_client(workload, random);
	else if (dice < 92)
		freeze(workload, random);
	else if (dice < 93)
		(void)tmem_store_settle(workload->world->store);
	else if (dice < 95)
		flush_pool(workload, random);
	else
		read_stats(workload);
}
