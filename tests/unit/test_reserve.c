/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store with a reserve takes nothing from the kernel in a put: what is ready
 * is used, what is not is refused, and everything that was stored is there.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "arena-file.h"
#include "fault.h"
#include "pages.h"
#include "scene.h"

static const struct tmem_oid oid = {{7, 7, 7}};

static uint64_t stat_of(struct tmem_store *store, unsigned which)
{
	uint64_t values[TMEM_HOST_STAT_COUNT];

	tmem_store_stats(store, values);
	return values[which];
}

static struct tmem_store *open_at(int fd, unsigned threads)
{
	struct tmem_store_config config;
	struct tmem_store *store;

	tmem_store_config_init(&config);
	config.arena_fd = fd;
	config.budget = 32 * MIB;
	config.threads = threads;
	ck_assert_int_eq(tmem_store_open(&config, &store), 0);
	return store;
}

static struct tmem_store *open_with(unsigned threads)
{
	return open_at(-1, threads);
}

static struct tmem_pool *open_pool(struct tmem_store *store,
				   struct tmem_client **client)
{
	const struct tmem_client_config client_config = {.name = "host"};
	const struct tmem_pool_config config = {.name = "swap",
						.flags = TMEM_POOL_PERSISTENT};
	struct tmem_pool *pool;

	ck_assert_int_eq(tmem_client_new_local(store, &client_config, client),
			 0);
	ck_assert_int_eq(tmem_pool_new(*client, &config, &pool), 0);
	return pool;
}

static void make_page(uint32_t index, uint64_t *words)
{
	for (unsigned i = 0; i < TMEM_PAGE_SIZE / 8; i++)
		words[i] = (index + 1) * 0x9e3779b97f4a7c15u + i % 24 * index;
}

START_TEST(a_reserve_is_had_at_once)
{
	struct tmem_store *store = open_with(1);
	uint64_t used;

	ck_assert_int_eq(tmem_store_set_reserve(store, 16 * MIB), 0);
	used = stat_of(store, TMEM_HOST_STAT_used);
	ck_assert_uint_ge(used, 15 * MIB);
	ck_assert_uint_le(used, 32 * MIB);
	ck_assert_uint_ge(stat_of(store, TMEM_HOST_STAT_spare_bytes), 15 * MIB);
	tmem_store_close(store);
}
END_TEST

START_TEST(what_cannot_be_promised_is_refused)
{
	struct tmem_store *store = open_with(0);

	ck_assert_int_eq(tmem_store_set_reserve(store, 16 * MIB), -EAGAIN);
	tmem_store_close(store);
	store = open_with(1);
	ck_assert_int_eq(tmem_store_set_reserve(store, 0), -EINVAL);
	ck_assert_int_eq(tmem_store_set_reserve(store, 32 * MIB), -EINVAL);
	tmem_store_close(store);
}
END_TEST

/* More than there is room for: some are refused, and nothing else is lost. */
START_TEST(pages_come_back_from_a_reserve)
{
	uint32_t count = 32768, kept = 0;
	uint64_t words[TMEM_PAGE_SIZE / 8], got[TMEM_PAGE_SIZE / 8];
	bool *stored = calloc(count, sizeof(*stored));
	struct tmem_store *store = open_with(2);
	struct tmem_client *client;
	struct tmem_pool *pool = open_pool(store, &client);

	ck_assert_ptr_nonnull(stored);
	ck_assert_int_eq(tmem_store_set_reserve(store, 16 * MIB), 0);
	for (uint32_t i = 0; i < count; i++) {
		make_page(i, words);
		stored[i] = tmem_put(pool, &oid, i, words) == 0;
		kept += stored[i];
	}
	/* As raw pages, a reserve of 16 MiB has room for 4,096. */
	ck_assert_uint_ge(kept, 4096);
	for (uint32_t i = 0; i < count; i++) {
		make_page(i, words);
		if (!stored[i])
			continue;
		ck_assert_int_eq(tmem_get(pool, &oid, i, got), 0);
		ck_assert_mem_eq(got, words, sizeof(words));
	}
	ck_assert_uint_le(stat_of(store, TMEM_HOST_STAT_peak_used), 32 * MIB);
	free(stored);
	tmem_pool_free(pool);
	tmem_client_free(client);
	ck_assert_int_eq(tmem_store_check(store, stderr), 0);
	tmem_store_close(store);
}
END_TEST

/* Pages that are there are of the reserve: whoever takes up a swap device again
 * after its server died, or serves a second one, finds much of it used. */
START_TEST(what_is_held_is_of_the_reserve)
{
	int fd = test_arena_memfd();
	struct tmem_store *store = open_at(test_arena_again(fd), 1);
	struct tmem_client *client;
	struct tmem_pool *pool = open_pool(store, &client);

	for (uint32_t i = 0; i < 5120; i++)
		ck_assert_int_eq(scene_put_random(pool, i, i + 1), TMEM_OK);
	tmem_pool_free(pool);
	tmem_client_free(client);
	tmem_store_close(store);
	store = open_at(fd, 1);
	pool = open_pool(store, &client);
	ck_assert_int_eq(tmem_store_set_reserve(store, 24 * MIB), 0);
	ck_assert_int_eq(tmem_store_set_reserve(store, 24 * MIB), 0);
	for (uint32_t i = 0; i < 5120; i++)
		ck_assert_uint_eq(scene_get(pool, i), i + 1);
	tmem_pool_free(pool);
	tmem_client_free(client);
	ck_assert_int_eq(tmem_store_check(store, stderr), 0);
	tmem_store_close(store);
}
END_TEST

/* Who is refused has a store like any other. */
START_TEST(refused_for_lack_of_memory)
{
	struct tmem_store *store = open_with(1);
	struct tmem_client *client;
	struct tmem_pool *pool = open_pool(store, &client);

	tmem_fault_arm(TMEM_FAULT_FALLOCATE, 1, true);
	ck_assert_int_eq(tmem_store_set_reserve(store, 16 * MIB), -ENOMEM);
	tmem_fault_arm(TMEM_FAULT_FALLOCATE, 0, false);
	for (uint32_t i = 0; i < 5120; i++)
		ck_assert_int_eq(scene_put_random(pool, i, i + 1), TMEM_OK);
	ck_assert_int_eq(tmem_flush_object(pool, &(struct tmem_oid){{1, 2, 3}}),
			 TMEM_OK);
	ck_assert_int_eq(tmem_store_set_budget(store, 16 * MIB), 0);
	tmem_pool_free(pool);
	tmem_client_free(client);
	ck_assert_int_eq(tmem_store_check(store, stderr), 0);
	tmem_store_close(store);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reserve");
	TCase *tcase = tcase_create("reserve");
	SRunner *runner;
	int failed;

	test_pages_init();
	tcase_set_timeout(tcase, 240);
	tcase_add_test(tcase, a_reserve_is_had_at_once);
	tcase_add_test(tcase, what_cannot_be_promised_is_refused);
	tcase_add_test(tcase, pages_come_back_from_a_reserve);
	tcase_add_test(tcase, what_is_held_is_of_the_reserve);
	tcase_add_test(tcase, refused_for_lack_of_memory);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
