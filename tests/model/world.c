/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store under test with its clients and pools. Clients differ in dedup
 * domain, pools in codec and dedup, so that every combination is at work.
 */
#include "model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "arena-file.h"

/* Longest wait for an attached store, ms; none should come near it. */
#define PATIENCE 120000

struct model *model_new(uint64_t seed, unsigned threads)
{
	struct model *model = mmap(NULL, sizeof(*model), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (model == MAP_FAILED) {
		perror("mmap");
		abort();
	}
	model->seed = seed;
	model->threads = threads;
	return model;
}

void model_free(struct model *model)
{
	munmap(model, sizeof(*model));
}

void model_fail(const struct model *model, const char *format, ...)
{
	va_list args;

	flockfile(stderr);
	fprintf(stderr, "VIOLATION (seed %" PRIu64 ", operation %" PRIu64 "): ",
		model->seed, model->operations);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

struct tmem_oid world_oid(const struct world *world, unsigned who,
			  unsigned object)
{
	return (struct tmem_oid){{who, object, world->model->seed}};
}

static void pool_config(unsigned who, enum model_kind kind,
			struct tmem_pool_config *config)
{
	static const char *const names[MODEL_KINDS] = {
		"ephemeral",	    "exclusive",	 "persistent",
		"shared-ephemeral", "shared-persistent",
	};
	static const enum tmem_codec codecs[] = {
		TMEM_CODEC_NONE, TMEM_CODEC_LZO, TMEM_CODEC_ZSTD,
		TMEM_CODEC_LZ4,	 TMEM_CODEC_RAW,
	};

	*config = (struct tmem_pool_config){.name = names[kind]};
	if (model_is_persistent(kind))
		config->flags |= TMEM_POOL_PERSISTENT;
	if (kind == MODEL_EXCLUSIVE)
		config->flags |= TMEM_POOL_EXCLUSIVE;
	if (model_is_shared(kind)) {
		config->flags |= TMEM_POOL_SHARED;
		config->uuid.byte[0] = 1 + kind;
		config->dedup = TMEM_DEDUP_ON;
	} else {
		config->codec = codecs[(who + kind) % 5];
		config->dedup = (who + kind) % 3;
	}
}

static void pool_open(struct world *world, unsigned who, enum model_kind kind)
{
	struct tmem_pool_config config;
	int r;

	pool_config(who, kind, &config);
	r = tmem_pool_new(world->client[who], &config, &world->pool[who][kind]);
	if (r)
		model_fail(world->model, "tmem_pool_new %s of %u: %s",
			   config.name, who, strerror(-r));
}

static void join(struct world *world, unsigned who, const char *name)
{
	static const char *const domains[] = {NULL, NULL, "blue", "none"};
	const struct tmem_client_config config = {
		.name = name,
		.uid = getuid(), /* an attached client's in any case */
		.domain = domains[who % 4],
		.timeout_ms = PATIENCE,
	};
	int r;

	if (world->attached)
		r = tmem_client_attach(world->door.path, &config,
				       &world->client[who]);
	else
		r = tmem_client_new_local(world->store, &config,
					  &world->client[who]);
	if (r)
		model_fail(world->model, "%s cannot join: %s", name,
			   strerror(-r));
}

void world_join(struct world *world, unsigned who)
{
	char name[TMEM_NAME_MAX];
	int r;

	snprintf(name, sizeof(name), "client-%u", who);
	join(world, who, name);
	for (int kind = 0; kind < MODEL_KINDS; kind++) {
		struct tmem_pool_config pool;

		if (model_is_shared(kind)) {
			pool_config(who, kind, &pool);
			r = tmem_store_shared_auth(world->store, getuid(), name,
						   &pool.uuid, true);
			if (r)
				model_fail(world->model, "shared_auth: %s",
					   strerror(-r));
		}
		pool_open(world, who, kind);
	}
}

void world_leave(struct world *world, unsigned who)
{
	for (int kind = 0; kind < MODEL_KINDS; kind++)
		world->pool[who][kind] = tmem_pool_free(world->pool[who][kind]);
	world->client[who] = tmem_client_free(world->client[who]);
}

void world_renew_pool(struct world *world, unsigned who, enum model_kind kind)
{
	int r = tmem_pool_destroy(world->pool[who][kind]);

	if (r)
		model_fail(world->model, "tmem_pool_destroy: %s", strerror(-r));
	pool_open(world, who, kind);
}

void world_reset_settings(struct world *world)
{
	struct tmem_client_settings settings = {
		.set = TMEM_SET_WEIGHT | TMEM_SET_CAP | TMEM_SET_MAXMEM |
		       TMEM_SET_CODEC | TMEM_SET_DEDUP | TMEM_SET_FROZEN,
		.weight = 100,
	};
	struct tmem_client_info *clients;
	size_t count;
	int r = tmem_store_clients(world->store, &clients, NULL, &count);

	for (size_t i = 0; !r && i < count; i++)
		r = tmem_store_client_set(world->store, clients[i].id,
					  &settings);
	if (r)
		model_fail(world->model, "tmem_store_client_set: %s",
			   strerror(-r));
	free(clients);
	tmem_store_set_frozen(world->store, false);
}

void world_open(struct world *world, struct model *model, int fd,
		const struct world_config *config)
{
	struct tmem_store_config store;
	int r;

	*world = (struct world){
		.model = model, .fd = fd, .attached = config->attached};
	tmem_store_config_init(&store);
	store.budget = config->budget;
	store.capacity = config->capacity;
	store.hash_bits = config->hash_bits;
	store.nursery = config->nursery;
	store.threads = config->threads;
	store.arena_fd = test_arena_again(fd);
	r = tmem_store_open(&store, &world->store);
	if (r)
		model_fail(model, "tmem_store_open: %s", strerror(-r));
	if (world->attached)
		test_attach_door_open(&world->door, world->store);
	for (unsigned who = 0; who <= model->threads; who++)
		world_join(world, who);
}

void world_close(struct world *world)
{
	for (unsigned who = 0; who <= world->model->threads; who++)
		world_leave(world, who);
	if (world->attached)
		test_attach_door_close(&world->door);
	world->store = tmem_store_close(world->store);
}
