/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Phases of a workload. In a phase, the model's threads and one of chaos work
 * on the store; between phases nobody does, and what must be quiet happens.
 */
#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Chaos takes a step for so many steps of the workers. */
#define STEPS_A_CHAOS 32

struct thread {
	pthread_t id;
	struct worker worker;
};

static void *work(void *ctx)
{
	struct worker *worker = ctx;
	struct workload *workload = worker->workload;
	struct model *model = workload->world->model;

	for (uint64_t i = 1; i <= workload->operations || !workload->operations;
	     i++) {
		worker_step(worker);
		model->operations++;
		if (i % STEPS_A_CHAOS == 0)
			sem_post(&workload->chaos_due);
	}
	if (--workload->working == 0)
		sem_post(&workload->chaos_due);
	return NULL;
}

static void *cause_chaos(void *ctx)
{
	struct worker *worker = ctx;
	struct workload *workload = worker->workload;

	while (workload->working) {
		while (sem_wait(&workload->chaos_due))
			; /* EINTR */
		chaos_step(workload, &worker->random);
	}
	return NULL;
}

static void start(struct thread *thread, struct workload *workload,
		  unsigned who, void *(*function)(void *))
{
	uint64_t seed = workload->world->model->seed;

	thread->worker = (struct worker){
		.workload = workload,
		.who = who,
		.bytes = malloc((size_t)TMEM_RUN_MAX * TMEM_PAGE_SIZE),
	};
	test_random_init(&thread->worker.random,
			 test_mix(seed + who) + workload->phase);
	if (!thread->worker.bytes ||
	    pthread_create(&thread->id, NULL, function, &thread->worker))
		abort();
}

void workload_phase(struct workload *workload)
{
	struct thread thread[MODEL_THREADS_MAX + 1];
	struct model *model = workload->world->model;
	unsigned threads = model->threads;

	sem_init(&workload->chaos_due, 0, 0);
	workload->working = threads;
	for (unsigned who = 0; who <= threads; who++)
		start(&thread[who], workload, who,
		      who < threads ? work : cause_chaos);
	model->running = true;
	for (unsigned who = 0; who <= threads; who++) {
		pthread_join(thread[who].id, NULL);
		free(thread[who].worker.bytes);
	}
	model->running = false;
	sem_destroy(&workload->chaos_due);
	workload->phase++;
}

/* All pages of a kind are being flushed (starts), then are flushed. */
static void all_flushed(struct model *model, enum model_kind kind, bool starts)
{
	static uint32_t start[STAMPED_OBJECTS * STAMPED_INDEXES];
	struct stamped_page *stamped = &model->stamped[kind][0][0];
	uint64_t least = 0, most = 0;

	for (unsigned i = 0; i < STAMPED_OBJECTS * STAMPED_INDEXES; i++) {
		if (starts)
			start[i] = stamped_flush_starts(&stamped[i]);
		else
			stamped_flush_ends(&stamped[i], start[i]);
	}
	if (!model_is_shared(kind))
		return;
	for (unsigned who = 0; who < model->threads; who++) {
		struct exact_page *page = &model->exact[who][kind][0][0];

		for (unsigned i = 0; i < EXACT_OBJECTS * EXACT_INDEXES; i++) {
			if (starts)
				exact_flush_starts(&page[i]);
			else
				exact_flush_ends(kind, &page[i], &least, &most);
		}
	}
}

/* Destroying a shared pool flushes everybody's pages; the pool lives on, since
 * others have it open. */
static void destroy_shared(struct world *world, enum model_kind kind)
{
	all_flushed(world->model, kind, true);
	world_renew_pool(world, 0, kind);
	all_flushed(world->model, kind, false);
}

/* The client whose pools hold the stamped pages leaves and comes back. */
static void common_client_returns(struct world *world)
{
	all_flushed(world->model, MODEL_EPHEMERAL, true);
	world_leave(world, world->model->threads);
	all_flushed(world->model, MODEL_EPHEMERAL, false);
	all_flushed(world->model, MODEL_EXCLUSIVE, true);
	world_join(world, world->model->threads);
	all_flushed(world->model, MODEL_EXCLUSIVE, false);
}

static void dump(struct world *world)
{
	FILE *out = fopen("/dev/null", "w");

	if (!out || tmem_store_dump(world->store, out, true))
		model_fail(world->model, "tmem_store_dump");
	fclose(out);
}

void workload_between(struct workload *workload, struct test_random *random)
{
	struct world *world = workload->world;

	switch (test_random_below(random, 5)) {
	case 0:
		destroy_shared(world, MODEL_SHARED_EPHEMERAL);
		break;
	case 1:
		destroy_shared(world, MODEL_SHARED_PERSISTENT);
		break;
	case 2:
		common_client_returns(world);
		break;
	case 3:
		dump(world);
		break;
	default:
		break;
	}
	world_verify(world, false);
	/* Settings go back, or by and by every put would be refused. */
	world_reset_settings(world);
}
