/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every thread does to the stamped pages, which all of them use. */
#include "model.h"

#include <string.h>

/* Most pages in a run of stamped pages. */
#define RUN_MOST 8

struct target {
	struct model *model;
	enum model_kind kind;
	unsigned object, first, count;
	struct tmem_pool *pool;
	struct tmem_oid oid;
	struct stamped_page *page;
};

static struct target choose(struct worker *worker, unsigned most)
{
	struct world *world = worker->workload->world;
	struct test_random *random = &worker->random;
	unsigned all = world->model->threads;
	struct target t = {
		.model = world->model,
		.kind = test_random_below(random, MODEL_KINDS),
		.object = test_random_below(random, STAMPED_OBJECTS),
		.first = test_random_below(random, STAMPED_INDEXES),
	};

	if (most > STAMPED_INDEXES - t.first)
		most = STAMPED_INDEXES - t.first;
	t.count = 1 + test_random_below(random, most);
	/* A shared pool is used through each thread's own client. */
	t.pool = world->pool[model_is_shared(t.kind) ? worker->who : all]
			    [t.kind];
	t.oid = world_oid(world, all, t.object);
	t.page = &world->model->stamped[t.kind][t.object][t.first];
	return t;
}

static void put(struct worker *worker)
{
	struct target t = choose(worker, 1);
	uint32_t stamp = stamped_put_starts(t.page);

	if (!stamp)
		return;
	stamped_make(worker->bytes, t.kind, t.object, t.first, stamp);
	stamped_put_ends(t.model, t.page, stamp,
			 tmem_put(t.pool, &t.oid, t.first, worker->bytes));
}

static void get(struct worker *worker)
{
	struct target t = choose(worker, 1);
	struct stamped_get get = stamped_get_starts(t.page);
	int outcome = tmem_get(t.pool, &t.oid, t.first, worker->bytes);

	stamped_got(t.model, t.kind, t.object, t.first, get, outcome,
		    worker->bytes);
}

static void flush(struct worker *worker)
{
	struct target t = choose(worker, 1);
	uint32_t start = stamped_flush_starts(t.page);
	int r = tmem_flush(t.pool, &t.oid, t.first);

	if (r != TMEM_OK && r != TMEM_MISS)
		model_fail(t.model, "flush returned %d", r);
	stamped_flush_ends(t.page, start);
}

static void put_run(struct worker *worker)
{
	struct target t = choose(worker, RUN_MOST);
	uint32_t stamp[RUN_MOST];
	uint8_t outcome[RUN_MOST];
	unsigned n = 0;

	/* The run ends before the first page that must not be put now. */
	while (n < t.count && (stamp[n] = stamped_put_starts(&t.page[n]))) {
		stamped_make(worker->bytes + n * TMEM_PAGE_SIZE, t.kind,
			     t.object, t.first + n, stamp[n]);
		n++;
	}
	if (!n)
		return;
	memset(outcome, 0xff, sizeof(outcome));
	tmem_put_run(t.pool, &t.oid, t.first, n, worker->bytes, outcome);
	for (unsigned i = 0; i < n; i++)
		stamped_put_ends(t.model, &t.page[i], stamp[i], outcome[i]);
}

static void get_run(struct worker *worker)
{
	struct target t = choose(worker, RUN_MOST);
	struct stamped_get get[RUN_MOST] = {0};
	uint8_t outcome[RUN_MOST];

	for (unsigned i = 0; i < t.count; i++)
		get[i] = stamped_get_starts(&t.page[i]);
	memset(outcome, 0xff, sizeof(outcome));
	tmem_get_run(t.pool, &t.oid, t.first, t.count, worker->bytes, outcome);
	for (unsigned i = 0; i < t.count; i++)
		stamped_got(t.model, t.kind, t.object, t.first + i, get[i],
			    outcome[i], worker->bytes + i * TMEM_PAGE_SIZE);
}

static void flush_many(struct worker *worker, bool object)
{
	struct target t = choose(worker, RUN_MOST);
	uint32_t start[STAMPED_INDEXES];
	int r;

	if (object) {
		t.page -= t.first;
		t.first = 0;
		t.count = STAMPED_INDEXES;
	}
	for (unsigned i = 0; i < t.count; i++)
		start[i] = stamped_flush_starts(&t.page[i]);
	if (object)
		r = tmem_flush_object(t.pool, &t.oid);
	else
		r = tmem_flush_run(t.pool, &t.oid, t.first, t.count);
	if (r < 0)
		model_fail(t.model, "flush returned %d", r);
	for (unsigned i = 0; i < t.count; i++)
		stamped_flush_ends(&t.page[i], start[i]);
}

void stamped_step(struct worker *worker)
{
	uint64_t dice = test_random_below(&worker->random, 1000);

	if (dice < 350)
		put(worker);
	else if (dice < 800)
		get(worker);
	else if (dice < 850)
		flush(worker);
	else if (dice < 910)
		put_run(worker);
	else if (dice < 980)
		get_run(worker);
	else
		flush_many(worker, dice >= 995);
}
