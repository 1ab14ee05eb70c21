/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A local store under test (store-scene.h).
 */
#include "store-scene.h"
#include <stdlib.h>
#include <unistd.h>
#include "pages.h"

struct tmem_store *scene_open_arena(uint64_t budget, int fd, unsigned hash_bits)
{
	struct tmem_store_config config;
	struct tmem_store *store = NULL;

	test_pages_init();
	tmem_store_config_init(&config);
	config.budget = budget;
	config.capacity = UINT64_C(1) << 30;
	config.arena_fd = fd < 0 ? -1 : dup(fd);
	config.hash_bits = hash_bits;
	ck_assert_int_eq(tmem_store_open(&config, &store), 0);
	return store;
}

struct tmem_store *scene_open(uint64_t budget)
{
	return scene_open_arena(budget, -1, 0);
}

void scene_check(struct tmem_store *store)
{
	ck_assert_int_eq(tmem_store_check(store, stderr), 0);
}

void scene_close(struct tmem_store *store)
{
	scene_check(store);
	ck_assert_ptr_null(tmem_store_close(store));
}

struct tmem_client *scene_client_in(struct tmem_store *store, const char *name,
				    const char *domain)
{
	const struct tmem_client_config config = {
		.name = name,
		.uid = getuid(),
		.domain = domain,
	};
	struct tmem_client *client = NULL;

	ck_assert_int_eq(tmem_client_new_local(store, &config, &client), 0);
	return client;
}

struct tmem_client *scene_client(struct tmem_store *store, const char *name)
{
	return scene_client_in(store, name, NULL);
}

struct tmem_pool *scene_pool(struct tmem_client *client, const char *name,
			     uint32_t flags)
{
	const struct tmem_pool_config config = {.name = name, .flags = flags};
	struct tmem_pool *pool = NULL;

	ck_assert_int_eq(tmem_pool_new(client, &config, &pool), 0);
	return pool;
}

static struct tmem_uuid uuid_of(uint8_t id)
{
	return (struct tmem_uuid){.byte = {id}};
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

void scene_authorise(struct tmem_store *store, const char *client, uint8_t id)
{
	const struct tmem_uuid uuid = uuid_of(id);

	ck_assert_int_eq(
		tmem_store_shared_auth(store, getuid(), client, &uuid, true),
		0);
}

static struct tmem_oid oid_of(uint64_t object)
{
	return (struct tmem_oid){.word = {object, ~object, 7}};
}

bool scene_put(struct tmem_pool *pool, uint64_t object, uint32_t index,
	       uint64_t seed)
{
	const struct tmem_oid oid = oid_of(object);
	uint8_t page[TMEM_PAGE_SIZE];
	int r;

	test_page(page, seed);
	r = tmem_put(pool, &oid, index, page);
	ck_assert(r == TMEM_OK || r == TMEM_REFUSED);
	return r == TMEM_OK;
}

bool scene_get(struct tmem_pool *pool, uint64_t object, uint32_t index,
	       uint64_t seed)
{
	const struct tmem_oid oid = oid_of(object);
	uint8_t page[TMEM_PAGE_SIZE];
	int r = tmem_get(pool, &oid, index, page);

	ck_assert(r == TMEM_OK || r == TMEM_MISS);
	ck_assert(r == TMEM_MISS || test_page_is(page, seed));
	return r == TMEM_OK;
}

bool scene_flush(struct tmem_pool *pool, uint64_t object, uint32_t index)
{
	const struct tmem_oid oid = oid_of(object);
	int r = tmem_flush(pool, &oid, index);

	ck_assert(r == TMEM_OK || r == TMEM_MISS);
	return r == TMEM_OK;
}

uint64_t scene_host(struct tmem_store *store, enum tmem_host_stat stat)
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
	struct tmem_client_info *info;
	uint32_t id = 0;
	size_t count;

	ck_assert_int_eq(tmem_store_clients(store, &info, NULL, &count), 0);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(info[i].name, name))
			id = info[i].id;
	free(info);
	return id;
}

uint32_t scene_pool_id(struct tmem_store *store, const char *name)
{
	struct tmem_pool_info *info;
	uint32_t id = 0;
	size_t count;

	ck_assert_int_eq(tmem_store_pools(store, &info, NULL, &count), 0);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(info[i].name, name))
			id = info[i].id;
	free(info);
	return id;
}

int scene_run(const char *name, void (*setup)(void), void (*teardown)(void),
	      const TTest *const *tests, size_t count)
{
	Suite *suite = suite_create(name);
	TCase *tc = tcase_create(name);
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 240);
	tcase_add_checked_fixture(tc, setup, teardown);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
