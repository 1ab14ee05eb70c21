/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A store, clients and pools for unit tests; see scene.h. */
#include "scene.h"

#include <stdlib.h>
#include <string.h>
#include "arena-file.h"
#include "pages.h"

const struct tmem_uuid scene_uuid = {.byte = {0x5c, 0xe0, 0xe1, 1}};

static const struct tmem_oid oid = {{1, 2, 3}};

static struct tmem_store *open_store(uint64_t budget, int fd,
				     struct tmem_store_config *config)
{
	struct tmem_store *store;

	test_pages_init();
	config->budget = budget;
	config->capacity = 256 * MIB;
	if (fd >= 0)
		config->arena_fd = test_arena_again(fd);
	ck_assert_int_eq(tmem_store_open(config, &store), 0);
	return store;
}

struct tmem_store *scene_store_hashed(uint64_t budget, int fd,
				      unsigned hash_bits)
{
	struct tmem_store_config config;

	tmem_store_config_init(&config);
	config.hash_bits = hash_bits;
	config.nursery = 0;
	config.threads = 0;
	return open_store(budget, fd, &config);
}

struct tmem_store *scene_store_young(uint64_t budget, int fd, uint64_t nursery,
				     unsigned threads)
{
	struct tmem_store_config config;

	tmem_store_config_init(&config);
	config.nursery = nursery;
	config.threads = threads;
	return open_store(budget, fd, &config);
}

struct tmem_store *scene_store(uint64_t budget, int fd)
{
	return scene_store_hashed(budget, fd, 0);
}

struct tmem_client *scene_client(struct tmem_store *store, const char *name,
				 const char *domain)
{
	struct tmem_client_config config = {
		.name = name,
		.uid = SCENE_UID,
		.domain = domain,
	};
	struct tmem_client *client;

	ck_assert_int_eq(tmem_store_shared_auth(store, SCENE_UID, name,
						&scene_uuid, true),
			 0);
	ck_assert_int_eq(tmem_client_new_local(store, &config, &client), 0);
	return client;
}

struct tmem_pool *scene_pool_with(struct tmem_client *client, const char *name,
				  uint32_t flags, enum tmem_codec codec,
				  enum tmem_dedup dedup)
{
	struct tmem_pool_config config = {
		.name = name,
		.flags = flags,
		.codec = codec,
		.dedup = dedup,
	};
	struct tmem_pool *pool;

	if (flags & TMEM_POOL_SHARED)
		config.uuid = scene_uuid;
	ck_assert_int_eq(tmem_pool_new(client, &config, &pool), 0);
	return pool;
}

struct tmem_pool *scene_pool(struct tmem_client *client, const char *name,
			     uint32_t flags)
{
	return scene_pool_with(client, name, flags, TMEM_CODEC_NONE,
			       TMEM_DEDUP_AUTO);
}

static struct tmem_uuid uuid_of(uint8_t id)
{
	return (struct tmem_uuid){.byte = {id}};
}

void scene_authorise(struct tmem_store *store, const char *client, uint8_t id)
{
	const struct tmem_uuid uuid = uuid_of(id);

	ck_assert_int_eq(
		tmem_store_shared_auth(store, SCENE_UID, client, &uuid, true),
		0);
}

int scene_shared(struct tmem_client *client, uint8_t id, uint32_t flags,
		 struct tmem_pool **out)
{
	const struct tmem_pool_config config = {
		.name = "shared",
		.flags = flags | TMEM_POOL_SHARED,
		.uuid = uuid_of(id),
	};

	return tmem_pool_new(client, &config, out);
}

/* Any kind of page that carries its seed. */
static void make(void *page, uint64_t seed)
{
	test_page_of(page, 1 + seed % (TEST_PAGE_KINDS - 1), seed);
}

int scene_put(struct tmem_pool *pool, uint32_t n, uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE];

	make(page, seed);
	return tmem_put(pool, &oid, n, page);
}

int scene_put_random(struct tmem_pool *pool, uint32_t n, uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE];

	test_page_of(page, TEST_PAGE_RANDOM, seed);
	return tmem_put(pool, &oid, n, page);
}

uint64_t scene_get(struct tmem_pool *pool, uint32_t n)
{
	uint8_t page[TMEM_PAGE_SIZE], made[TMEM_PAGE_SIZE];
	uint8_t random[TMEM_PAGE_SIZE];
	int r = tmem_get(pool, &oid, n, page);
	uint64_t seed;

	if (r == TMEM_MISS)
		return 0;
	ck_assert_int_eq(r, TMEM_OK);
	seed = test_page_seed(page);
	make(made, seed);
	test_page_of(random, TEST_PAGE_RANDOM, seed);
	ck_assert(memcmp(page, made, TMEM_PAGE_SIZE) == 0 ||
		  memcmp(page, random, TMEM_PAGE_SIZE) == 0);
	return seed;
}

int scene_flush(struct tmem_pool *pool, uint32_t n)
{
	return tmem_flush(pool, &oid, n);
}

struct tmem_oid scene_oid(uint64_t object)
{
	return (struct tmem_oid){.word = {object, ~object, 7}};
}

bool scene_put_at(struct tmem_pool *pool, uint64_t object, uint32_t index,
		  uint64_t seed)
{
	const struct tmem_oid at = scene_oid(object);
	uint8_t page[TMEM_PAGE_SIZE];
	int r;

	test_page(page, seed);
	r = tmem_put(pool, &at, index, page);
	ck_assert(r == TMEM_OK || r == TMEM_REFUSED);
	return r == TMEM_OK;
}

bool scene_get_at(struct tmem_pool *pool, uint64_t object, uint32_t index,
		  uint64_t seed)
{
	const struct tmem_oid at = scene_oid(object);
	uint8_t page[TMEM_PAGE_SIZE];
	int r = tmem_get(pool, &at, index, page);

	ck_assert(r == TMEM_OK || r == TMEM_MISS);
	ck_assert(r == TMEM_MISS || test_page_is(page, seed));
	return r == TMEM_OK;
}

bool scene_flush_at(struct tmem_pool *pool, uint64_t object, uint32_t index)
{
	const struct tmem_oid at = scene_oid(object);
	int r = tmem_flush(pool, &at, index);

	ck_assert(r == TMEM_OK || r == TMEM_MISS);
	return r == TMEM_OK;
}

unsigned scene_fill(struct tmem_pool *pool, unsigned count, uint64_t seed)
{
	unsigned stored = 0;

	for (unsigned i = 0; i < count; i++)
		stored += scene_put_at(pool, i / 64, i % 64, seed + i);
	return stored;
}

unsigned scene_held(struct tmem_pool *pool, unsigned count, uint64_t seed)
{
	unsigned hits = 0;

	for (unsigned i = 0; i < count; i++)
		hits += scene_get_at(pool, i / 64, i % 64, seed + i);
	return hits;
}

uint64_t scene_stat(struct tmem_store *store, enum tmem_host_stat stat)
{
	uint64_t values[TMEM_HOST_STAT_COUNT];

	tmem_store_stats(store, values);
	return values[stat];
}

uint64_t scene_pool_stat(struct tmem_pool *pool, enum tmem_pool_stat stat)
{
	uint64_t values[TMEM_POOL_STAT_COUNT];

	ck_assert_int_eq(tmem_pool_stats(pool, values), 0);
	return values[stat];
}

uint64_t scene_client_stat(struct tmem_store *store, const char *name,
			   enum tmem_client_stat stat)
{
	struct tmem_client_info *info;
	uint64_t *values, value = UINT64_MAX;
	size_t count;

	ck_assert_int_eq(tmem_store_clients(store, &info, &values, &count), 0);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(info[i].name, name))
			value = values[i * TMEM_CLIENT_STAT_COUNT + stat];
	free(info);
	free(values);
	return value;
}

uint32_t scene_client_id(struct tmem_store *store, const char *name)
{
	struct tmem_client_info *clients;
	uint32_t id = 0;
	size_t count;

	ck_assert_int_eq(tmem_store_clients(store, &clients, NULL, &count), 0);
	for (size_t i = 0; i < count; i++)
		if (strcmp(clients[i].name, name) == 0)
			id = clients[i].id;
	free(clients);
	return id;
}

uint32_t scene_pool_id(struct tmem_store *store, const char *name)
{
	struct tmem_pool_info *pools;
	uint32_t id = 0;
	size_t count;

	ck_assert_int_eq(tmem_store_pools(store, &pools, NULL, &count), 0);
	for (size_t i = 0; i < count; i++)
		if (strcmp(pools[i].name, name) == 0)
			id = pools[i].id;
	free(pools);
	return id;
}

void scene_check(struct tmem_store *store)
{
	ck_assert_int_eq(tmem_store_check(store, stderr), 0);
}

void scene_close(struct tmem_store *store)
{
	scene_check(store);
	tmem_store_close(store);
}

int scene_run_between(const char *name, void (*setup)(void),
		      void (*teardown)(void), const TTest *const *tests,
		      size_t count)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 0); /* meson has one */
	tcase_add_checked_fixture(tcase, setup, teardown);
	suite_add_tcase(suite, tcase);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

int scene_run(const char *name, const TTest *const *tests, size_t count)
{
	return scene_run_between(name, NULL, NULL, tests, count);
}
