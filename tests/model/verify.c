/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole store held against the whole model, while nobody works. */
#include "model.h"

#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <tmem/stats.h>

#define COUNT_TRIES 100000

/* Each returns how many pages the store holds then (an exclusive get has
 * removed its page). */
static uint64_t verify_exact(struct world *world, unsigned who,
			     enum model_kind kind, bool recovered)
{
	struct model *model = world->model;
	uint8_t bytes[TMEM_PAGE_SIZE];
	uint64_t held = 0;

	for (unsigned o = 0; o < EXACT_OBJECTS; o++) {
		struct tmem_oid oid = world_oid(world, who, o);

		for (unsigned i = 0; i < EXACT_INDEXES; i++) {
			struct exact_page *page =
				&model->exact[who][kind][o][i];
			int outcome = tmem_get(world->pool[who][kind], &oid,
					       exact_index(o, i), bytes);

			if (recovered)
				exact_recovered(model, kind, page, outcome,
						bytes);
			else
				exact_got(model, kind, page, outcome, bytes);
			held += page->seed != 0;
		}
	}
	return held;
}

static uint64_t verify_stamped(struct world *world, enum model_kind kind,
			       bool recovered)
{
	struct model *model = world->model;
	unsigned who = model->threads;
	uint8_t bytes[TMEM_PAGE_SIZE];
	uint64_t held = 0;

	for (unsigned o = 0; o < STAMPED_OBJECTS; o++) {
		struct tmem_oid oid = world_oid(world, who, o);

		for (unsigned i = 0; i < STAMPED_INDEXES; i++) {
			struct stamped_page *page = &model->stamped[kind][o][i];
			struct stamped_get get = stamped_get_starts(page);
			int outcome = tmem_get(world->pool[who][kind], &oid, i,
					       bytes);

			if (recovered && outcome == TMEM_OK &&
			    !model_is_persistent(kind))
				model_fail(
					model,
					"an ephemeral page outlived its process");
			stamped_got(model, kind, o, i, get, outcome, bytes);
			if (recovered)
				stamped_recovered(page, outcome, bytes);
			held += outcome == TMEM_OK && kind != MODEL_EXCLUSIVE;
		}
	}
	return held;
}

/* Bytes of the arena that the store counts, and that the kernel does. */
static bool count_arena(struct world *world, uint64_t *value, uint64_t *counted,
			uint64_t *blocks)
{
	struct stat st;

	tmem_store_stats(world->store, value);
	*counted = value[TMEM_HOST_STAT_used] -
		   value[TMEM_HOST_STAT_private_bytes];
	if (fstat(world->fd, &st))
		model_fail(world->model, "fstat of the arena");
	*blocks = (uint64_t)st.st_blocks * 512;
	return *blocks == *counted;
}

/* What the store counts, against what the model and the kernel count. A thread
 * of the store may be between charging memory and taking it. */
static void verify_counts(struct world *world, uint64_t held)
{
	uint64_t value[TMEM_HOST_STAT_COUNT];
	uint64_t counted, blocks;

	for (int i = 0; i < COUNT_TRIES; i++) {
		if (count_arena(world, value, &counted, &blocks))
			break;
		sched_yield();
	}
	if (value[TMEM_HOST_STAT_pages] != held)
		model_fail(world->model, "%ju pages are held, %ju counted",
			   (uintmax_t)held,
			   (uintmax_t)value[TMEM_HOST_STAT_pages]);
	if (blocks != counted)
		model_fail(world->model,
			   "the arena takes %ju bytes, %ju are counted",
			   (uintmax_t)blocks, (uintmax_t)counted);
}

void world_verify(struct world *world, bool recovered)
{
	struct model *model = world->model;
	uint64_t held = 0;

	if (tmem_store_check(world->store, stderr))
		model_fail(model, "tmem_store_check");
	for (int kind = 0; kind < MODEL_KINDS; kind++) {
		for (unsigned who = 0; who < model->threads; who++)
			held += verify_exact(world, who, kind, recovered);
		held += verify_stamped(world, kind, recovered);
	}
	verify_counts(world, held);
}
