/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening a store, becoming a client and opening a pool fail at the Nth
 * allocation, for every N there is: each failure is told, leaks nothing (an
 * AddressSanitizer build would say), and leaves an arena that opens as soon as
 * the cause is gone, with all its pages.
 */
#include "scene.h"

#include <errno.h>
#include <unistd.h>
#include "arena-file.h"
#include "fault.h"
#include "pages.h"

#define PAGES 300u

static const enum tmem_fault_site sites[] = {
	TMEM_FAULT_MALLOC,
	TMEM_FAULT_FALLOCATE,
	TMEM_FAULT_TABLE,
};

static int try_open(int fd, struct tmem_store **store)
{
	struct tmem_store_config config;
	int r;

	tmem_store_config_init(&config);
	config.nursery = 0;
	config.threads = 0;
	config.budget = 32 * MIB;
	config.capacity = 256 * MIB;
	config.arena_fd = test_arena_again(fd);
	r = tmem_store_open(&config, store);
	if (r)
		ck_assert_int_eq(close(config.arena_fd), 0);
	return r;
}

/* Open with the Nth call at site failing; N grows until nothing fails. */
static struct tmem_store *open_at_last(int fd, enum tmem_fault_site site)
{
	struct tmem_store *store = NULL;

	for (unsigned nth = 1;; nth++) {
		unsigned fired = tmem_fault_fired(site);
		int r;

		tmem_fault_arm(site, nth, false);
		r = try_open(fd, &store);
		tmem_fault_arm(site, 0, false);
		if (r == 0) {
			ck_assert_uint_eq(tmem_fault_fired(site), fired);
			return store;
		}
		ck_assert(r == -ENOMEM || r == -ENOSPC);
		ck_assert_uint_eq(tmem_fault_fired(site), fired + 1);
	}
}

START_TEST(new_arena)
{
	int fd = test_arena_memfd();

	test_pages_init();
	scene_close(open_at_last(fd, sites[_i]));
	close(fd);
}
END_TEST

START_TEST(reopened_arena)
{
	int fd = test_arena_memfd();
	struct tmem_store *store = scene_store(32 * MIB, fd);
	struct tmem_client *client = scene_client(store, "guest", "red");
	struct tmem_pool *pool =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);

	for (uint32_t n = 0; n < PAGES; n++)
		ck_assert_int_eq(scene_put(pool, n, n + 1), TMEM_OK);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);

	store = open_at_last(fd, sites[_i]);
	client = scene_client(store, "guest", "red");
	pool = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	for (uint32_t n = 0; n < PAGES; n++)
		ck_assert_uint_eq(scene_get(pool, n), n + 1);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
	close(fd);
}
END_TEST

static struct tmem_client *client_at_last(struct tmem_store *store,
					  enum tmem_fault_site site)
{
	const struct tmem_client_config config = {
		.name = "guest",
		.uid = 1000,
		.domain = "own",
	};
	struct tmem_client *client;

	for (unsigned nth = 1;; nth++) {
		int r;

		tmem_fault_arm(site, nth, false);
		r = tmem_client_new_local(store, &config, &client);
		tmem_fault_arm(site, 0, false);
		ck_assert_int_eq(tmem_store_check(store, stderr), 0);
		if (r == 0)
			return client;
		ck_assert(r == -ENOMEM || r == -ENOSPC);
	}
}

static struct tmem_pool *pool_at_last(struct tmem_store *store,
				      struct tmem_client *client,
				      uint32_t flags, enum tmem_fault_site site)
{
	struct tmem_pool_config config = {
		.name = flags ? "swap" : "cache",
		.flags = flags,
	};
	struct tmem_pool *pool;

	for (unsigned nth = 1;; nth++) {
		int r;

		tmem_fault_arm(site, nth, false);
		r = tmem_pool_new(client, &config, &pool);
		tmem_fault_arm(site, 0, false);
		ck_assert_int_eq(tmem_store_check(store, stderr), 0);
		if (r == 0)
			return pool;
		ck_assert(r == -ENOMEM || r == -ENOSPC);
	}
}

START_TEST(clients_and_pools)
{
	struct tmem_store *store = scene_store(32 * MIB, -1);
	struct tmem_client *client = client_at_last(store, sites[_i]);
	struct tmem_pool *cache = pool_at_last(store, client, 0, sites[_i]);
	struct tmem_pool *swap =
		pool_at_last(store, client, TMEM_POOL_PERSISTENT, sites[_i]);

	ck_assert_int_eq(scene_put(cache, 1, 1), TMEM_OK);
	ck_assert_int_eq(scene_put(swap, 1, 2), TMEM_OK);
	ck_assert_uint_eq(scene_get(cache, 1), 1);
	ck_assert_uint_eq(scene_get(swap, 1), 2);
	tmem_pool_free(cache);
	tmem_pool_free(swap);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

int main(void)
{
	const int count = sizeof(sites) / sizeof(sites[0]);
	Suite *suite = suite_create("open fails");
	TCase *tests = tcase_create("open fails");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 0);
	suite_add_tcase(suite, tests);
	tcase_add_loop_test(tests, new_arena, 0, count);
	tcase_add_loop_test(tests, reopened_arena, 0, count);
	tcase_add_loop_test(tests, clients_and_pools, 0, count);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
