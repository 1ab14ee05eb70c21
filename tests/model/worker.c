/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a thread does to its own, exact pages. */
#include "model.h"

#include <string.h>

/* Pages fetched ahead at a time. */
#define AHEAD 16u
#include "pages.h"

/* Where a step works. */
struct target {
	enum model_kind kind;
	unsigned object;
	unsigned first, count;
	struct tmem_pool *pool;
	struct tmem_oid oid;
	uint32_t index;
	struct exact_page *page;
};

static struct target choose(struct worker *worker, unsigned most)
{
	struct world *world = worker->workload->world;
	struct test_random *random = &worker->random;
	struct target t = {
		.kind = test_random_below(random, MODEL_KINDS),
		.object = test_random_below(random, EXACT_OBJECTS),
		.first = test_random_below(random, EXACT_INDEXES),
	};

	if (most > EXACT_INDEXES - t.first)
		most = EXACT_INDEXES - t.first;
	t.count = 1 + test_random_below(random, most);
	t.pool = world->pool[worker->who][t.kind];
	t.oid = world_oid(world, worker->who, t.object);
	t.index = exact_index(t.object, t.first);
	t.page = &world->model->exact[worker->who][t.kind][t.object][t.first];
	return t;
}

/* A third of the pages are equal to others', in all clients and pools. */
static uint64_t choose_seed(struct test_random *random)
{
	if (test_random_below(random, 3) == 0)
		return EXACT_SEED_MIN + test_random_below(random, 256);
	return test_random_next(random) >> 8 | 1ull << 32;
}

static void put(struct worker *worker)
{
	struct target t = choose(worker, 1);
	uint64_t seed = choose_seed(&worker->random);

	test_page(worker->bytes, seed);
	exact_put_starts(t.page, seed);
	exact_put_ends(worker->workload->world->model, t.page,
		       tmem_put(t.pool, &t.oid, t.index, worker->bytes));
}

static void get(struct worker *worker)
{
	struct target t = choose(worker, 1);
	int outcome = tmem_get(t.pool, &t.oid, t.index, worker->bytes);

	exact_got(worker->workload->world->model, t.kind, t.page, outcome,
		  worker->bytes);
}

/* A flush found as many pages as the model says, where it can say. */
static void check_found(struct worker *worker, const struct target *t,
			uint64_t found, uint64_t least, uint64_t most)
{
	if (found < least || found > most)
		model_fail(worker->workload->world->model,
			   "flush of kind %d found %ju pages, not %ju to %ju",
			   t->kind, (uintmax_t)found, (uintmax_t)least,
			   (uintmax_t)most);
}

static void flush(struct worker *worker)
{
	struct target t = choose(worker, 1);
	uint64_t least = 0, most = 0;
	int r;

	exact_flush_starts(t.page);
	r = tmem_flush(t.pool, &t.oid, t.index);
	exact_flush_ends(t.kind, t.page, &least, &most);
	if (r != TMEM_OK && r != TMEM_MISS)
		model_fail(worker->workload->world->model, "flush returned %d",
			   r);
	check_found(worker, &t, r == TMEM_OK, least, most);
}

/* As whoever gets or puts pages one by one would. */
static void look_ahead(struct worker *worker, const struct target *t, bool put)
{
	uint32_t indexes[AHEAD];
	unsigned count = t->count < AHEAD ? t->count : AHEAD;

	if (test_random_below(&worker->random, 2))
		return;
	for (unsigned i = 0; i < count; i++)
		indexes[i] = t->index + i;
	tmem_ahead(t->pool, &t->oid, indexes, count, put);
}

static void put_run(struct worker *worker)
{
	struct model *model = worker->workload->world->model;
	struct target t = choose(worker, 40);
	bool replace = t.kind == MODEL_PERSISTENT &&
		       !worker->workload->world->attached &&
		       test_random_below(&worker->random, 2);
	uint8_t outcome[TMEM_RUN_MAX];
	unsigned stored = 0;
	int r;

	for (unsigned i = 0; i < t.count; i++) {
		uint64_t seed = choose_seed(&worker->random);

		test_page(worker->bytes + i * TMEM_PAGE_SIZE, seed);
		exact_put_starts(&t.page[i], seed);
	}
	look_ahead(worker, &t, true);
	memset(outcome, 0xff, sizeof(outcome));
	r = (replace ? tmem_replace_run : tmem_put_run)(
		t.pool, &t.oid, t.index, t.count, worker->bytes, outcome);
	for (unsigned i = 0; i < t.count; i++) {
		(replace ? exact_replace_ends
			 : exact_put_ends)(model, &t.page[i], outcome[i]);
		stored += outcome[i] == TMEM_OK;
	}
	if (r != (int)stored)
		model_fail(model, "put_run returned %d, outcomes say %u", r,
			   stored);
}

static void get_run(struct worker *worker)
{
	struct model *model = worker->workload->world->model;
	struct target t = choose(worker, 40);
	uint8_t outcome[TMEM_RUN_MAX];
	unsigned hits = 0;
	int r;

	look_ahead(worker, &t, false);
	memset(outcome, 0xff, sizeof(outcome));
	r = tmem_get_run(t.pool, &t.oid, t.index, t.count, worker->bytes,
			 outcome);
	for (unsigned i = 0; i < t.count; i++) {
		exact_got(model, t.kind, &t.page[i], outcome[i],
			  worker->bytes + i * TMEM_PAGE_SIZE);
		hits += outcome[i] == TMEM_OK;
	}
	if (r != (int)hits)
		model_fail(model, "get_run returned %d, outcomes say %u", r,
			   hits);
}

static void flush_run(struct worker *worker)
{
	struct target t = choose(worker, 100);
	bool to_the_end = test_random_below(&worker->random, 8) == 0;
	uint64_t least = 0, most = 0;
	uint64_t count = t.count;
	int r;

	if (to_the_end) {
		t.count = EXACT_INDEXES - t.first;
		count = (1ull << 32) - t.index;
	}
	for (unsigned i = 0; i < t.count; i++)
		exact_flush_starts(&t.page[i]);
	r = tmem_flush_run(t.pool, &t.oid, t.index, count);
	for (unsigned i = 0; i < t.count; i++)
		exact_flush_ends(t.kind, &t.page[i], &least, &most);
	if (r < 0)
		model_fail(worker->workload->world->model,
			   "flush_run returned %d", r);
	check_found(worker, &t, (uint64_t)r, least, most);
}

static void flush_object(struct worker *worker)
{
	struct target t = choose(worker, 1);
	struct exact_page *page = t.page - t.first;
	uint64_t least = 0, most = 0;
	int r;

	for (unsigned i = 0; i < EXACT_INDEXES; i++)
		exact_flush_starts(&page[i]);
	r = tmem_flush_object(t.pool, &t.oid);
	for (unsigned i = 0; i < EXACT_INDEXES; i++)
		exact_flush_ends(t.kind, &page[i], &least, &most);
	if (r != TMEM_OK && r != TMEM_MISS)
		model_fail(worker->workload->world->model,
			   "flush_object returned %d", r);
	check_found(worker, &t, r == TMEM_OK, least != 0, most != 0);
}

static void all_gone(struct worker *worker, enum model_kind kind, bool ends)
{
	struct exact_page *page =
		&worker->workload->world->model->exact[worker->who][kind][0][0];
	uint64_t least = 0, most = 0;

	for (unsigned i = 0; i < EXACT_OBJECTS * EXACT_INDEXES; i++) {
		if (ends)
			exact_flush_ends(kind, &page[i], &least, &most);
		else
			exact_flush_starts(&page[i]);
	}
}

static void renew_pool(struct worker *worker)
{
	enum model_kind kind =
		test_random_below(&worker->random, MODEL_SHARED_EPHEMERAL);

	all_gone(worker, kind, false);
	world_renew_pool(worker->workload->world, worker->who, kind);
	all_gone(worker, kind, true);
}

/* The client leaves and comes back: its private ephemeral pages are gone, its
 * persistent ones are there. */
static void leave_and_join(struct worker *worker)
{
	all_gone(worker, MODEL_EPHEMERAL, false);
	all_gone(worker, MODEL_EXCLUSIVE, false);
	world_leave(worker->workload->world, worker->who);
	all_gone(worker, MODEL_EPHEMERAL, true);
	all_gone(worker, MODEL_EXCLUSIVE, true);
	world_join(worker->workload->world, worker->who);
}

void worker_step(struct worker *worker)
{
	uint64_t dice = test_random_below(&worker->random, 10000);

	if (dice < 3000)
		stamped_step(worker);
	else if (dice < 6000)
		put(worker);
	else if (dice < 8400)
		get(worker);
	else if (dice < 8700)
		flush(worker);
	else if (dice < 9200)
		put_run(worker);
	else if (dice < 9800)
		get_run(worker);
	else if (dice < 9880)
		flush_run(worker);
	else if (dice < 9895)
		flush_object(worker);
	else if (dice < 9897)
		renew_pool(worker);
	else if (dice < 9998)
		put(worker);
	else
		leave_and_join(worker);
}
