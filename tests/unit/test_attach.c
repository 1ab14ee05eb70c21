/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attached clients and a server in a process of its own: what they may and may
 * not do, alone and from many threads.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <tmem/stats.h>
#include "attach-scene.h"
#include "doubt.h"
#include "pages.h"
#include "ring.h"

static const uint32_t kinds[] = {
	0,
	TMEM_POOL_EXCLUSIVE,
	TMEM_POOL_PERSISTENT,
	TMEM_POOL_SHARED,
	TMEM_POOL_SHARED | TMEM_POOL_PERSISTENT,
};

START_TEST(pages_come_back_from_every_kind_of_pool)
{
	static uint8_t pages[TMEM_RUN_MAX * TMEM_PAGE_SIZE];
	static const uint32_t counts[] = {1, 2, 15, 16, 17, 100, 256};
	struct tmem_client *client = attach("one");
	struct tmem_pool *pool = open_pool(client, "pool", kinds[_i]);
	uint64_t stats[TMEM_POOL_STAT_COUNT];
	uint8_t outcome[TMEM_RUN_MAX];
	uint32_t i, k, n;

	for (k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
		n = counts[k];
		for (i = 0; i < n; i++)
			test_page(pages + i * TMEM_PAGE_SIZE, 100 * k + i);
		ck_assert_int_eq(tmem_put_run(pool, &oid, 5, n, pages, outcome),
				 (int)n);
		memset(pages, 0, sizeof(pages));
		ck_assert_int_eq(tmem_get_run(pool, &oid, 5, n, pages, outcome),
				 (int)n);
		for (i = 0; i < n; i++)
			ck_assert(test_page_is(pages + i * TMEM_PAGE_SIZE,
					       100 * k + i));
	}
	put(pool, 7, 7);
	ck_assert_int_eq(tmem_flush(pool, &oid, 7), TMEM_OK);
	ck_assert_int_eq(tmem_flush(pool, &oid, 7), TMEM_MISS);
	expect_miss(pool, 7);
	put(pool, UINT32_MAX, 8);
	ck_assert_int_ge(tmem_flush_run(pool, &oid, 0, UINT64_C(1) << 32), 1);
	expect_miss(pool, UINT32_MAX);
	put(pool, 9, 9);
	ck_assert_int_eq(tmem_flush_object(pool, &oid), TMEM_OK);
	ck_assert_int_eq(tmem_flush_object(pool, &oid), TMEM_MISS);
	ck_assert_int_eq(tmem_pool_stats(pool, stats), 0);
	ck_assert_uint_eq(stats[TMEM_POOL_STAT_pages], 0);
	ck_assert_uint_eq(stats[TMEM_POOL_STAT_puts],
			  1 + 2 + 15 + 16 + 17 + 100 + 256 + 3);
	ck_assert_int_eq(tmem_pool_destroy(pool), 0);
	tmem_client_free(client);
}
END_TEST

START_TEST(detached_client_finds_its_persistent_pool_again)
{
	struct tmem_client *client = attach("one");
	struct tmem_pool *pool = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	struct tmem_pool *cache = open_pool(client, "e", 0);

	put(pool, 1, 11);
	put(cache, 1, 12);
	tmem_pool_free(pool);
	pool = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	expect(pool, 1, 11);
	tmem_pool_free(pool);
	tmem_pool_free(cache);
	tmem_client_free(client);
	client = attach("one");
	pool = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	cache = open_pool(client, "e", 0);
	expect(pool, 1, 11);
	expect_miss(cache, 1);
	tmem_pool_free(pool);
	tmem_pool_free(cache);
	tmem_client_free(client);
}
END_TEST

START_TEST(what_is_not_allowed_says_so)
{
	struct tmem_client *client = attach("one");
	struct tmem_client *other = NULL;
	struct tmem_pool *pool, *second = NULL;
	char path[80];

	ck_assert_int_eq(try_attach("one", PATIENCE, &other), -EBUSY);
	ck_assert_int_eq(try_attach("a b", PATIENCE, &other), -EINVAL);
	other = attach("three");
	ck_assert_int_eq(try_pool(other, "s", TMEM_POOL_SHARED, &second),
			 -EPERM);
	pool = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	ck_assert_int_eq(try_pool(client, "p", TMEM_POOL_PERSISTENT, &second),
			 -EBUSY);
	ck_assert_int_eq(try_pool(client, "q",
				  TMEM_POOL_PERSISTENT | TMEM_POOL_EXCLUSIVE,
				  &second),
			 -EINVAL);
	ck_assert_ptr_null(second);
	/* A pool of the same name is each client's own. */
	second = open_pool(other, "p", TMEM_POOL_PERSISTENT);
	put(pool, 1, 1);
	expect_miss(second, 1);
	tmem_pool_free(second);
	tmem_pool_free(pool);
	tmem_client_free(other);
	tmem_client_free(client);
	snprintf(path, sizeof(path), "%s/none", server.dir);
	ck_assert_int_eq(
		tmem_client_attach(path,
				   &(struct tmem_client_config){.name = "x"},
				   &client),
		-ENOENT);
}
END_TEST

START_TEST(no_more_pools_than_a_ring_can_name)
{
	struct tmem_client *client = attach("one");
	struct tmem_pool *pool[TMEM_RING_POOLS], *more = NULL;
	char name[16];
	unsigned i;

	for (i = 0; i < TMEM_RING_POOLS; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		pool[i] = open_pool(client, name, 0);
		put(pool[i], 1, i);
	}
	ck_assert_int_eq(try_pool(client, "more", 0, &more), -ENOSPC);
	for (i = 0; i < TMEM_RING_POOLS; i++) {
		expect(pool[i], 1, i);
		tmem_pool_free(pool[i]);
	}
	more = open_pool(client, "more", 0);
	expect_miss(more, 1);
	tmem_pool_free(more);
	tmem_client_free(client);
}
END_TEST

START_TEST(many_threads_see_their_own_pages)
{
	static struct user users[20], more[20];
	struct tmem_client *client = attach("one");
	struct tmem_pool *keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	struct tmem_pool *cache = open_pool(client, "e", 0);

	start_users(users, 20, keep, true, 200);
	start_users(more, 20, cache, false, 200);
	join_users(users, 20);
	join_users(more, 20);
	verify_users(users, 20, keep);
	verify_users(more, 20, cache);
	tmem_pool_free(cache);
	tmem_pool_free(keep);
	tmem_client_free(client);
}
END_TEST

START_TEST(doubts_are_joined_where_they_can_be)
{
	static const struct tmem_oid other = {{4, 5, 6}};
	struct tmem_doubt doubt;
	uint32_t i;

	tmem_doubt_init(&doubt);
	tmem_doubt_add(&doubt, &oid, 10, 5);
	tmem_doubt_add(&doubt, &oid, 15, 5);
	tmem_doubt_add(&doubt, &oid, 12, 2);
	tmem_doubt_add(&doubt, &oid, 18, 4);
	ck_assert_uint_eq(doubt.runs, 1);
	ck_assert_uint_eq(doubt.run[0].index, 10);
	ck_assert_uint_eq(doubt.run[0].count, 12);
	tmem_doubt_add(&doubt, &oid, 9, 1);
	tmem_doubt_add(&doubt, &other, 10, 1);
	ck_assert_uint_eq(doubt.runs, 3);
	tmem_doubt_add(&doubt, &other, 0, 0);
	tmem_doubt_add(&doubt, &other, 5, 5);
	ck_assert_uint_eq(doubt.runs, 3);
	ck_assert_uint_eq(doubt.run[2].count, 0);
	for (i = 0; i < TMEM_DOUBT_MAX - 3; i++)
		tmem_doubt_add(&doubt, &oid, 2 * i, 1);
	ck_assert(!doubt.all);
	tmem_doubt_add(&doubt, &other, 1, 1);
	ck_assert(doubt.all);
	tmem_doubt_clear(&doubt);
	ck_assert(!doubt.all);
	ck_assert_uint_eq(doubt.runs, 0);
	tmem_doubt_deinit(&doubt);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attach");
	TCase *tests = tcase_create("attach");
	TCase *alone = tcase_create("alone");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	suite_add_tcase(suite, alone);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 0); /* meson has one */
	tcase_add_loop_test(tests, pages_come_back_from_every_kind_of_pool, 0,
			    sizeof(kinds) / sizeof(kinds[0]));
	tcase_add_test(tests, detached_client_finds_its_persistent_pool_again);
	tcase_add_test(tests, what_is_not_allowed_says_so);
	tcase_add_test(tests, no_more_pools_than_a_ring_can_name);
	tcase_add_test(tests, many_threads_see_their_own_pages);
	tcase_add_test(alone, doubts_are_joined_where_they_can_be);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
