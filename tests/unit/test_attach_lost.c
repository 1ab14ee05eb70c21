/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attached clients that lose their server: it is killed while they use it, or
 * stopped. Nothing acknowledged is lost, nothing stale can be read.
 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include "attach-scene.h"
#include "doubt.h"

/* Stop all its threads, for sure. */
static void stop_server(void)
{
	int status;

	ck_assert_int_eq(kill(server.pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(server.pid, &status, WUNTRACED), server.pid);
	ck_assert(WIFSTOPPED(status));
}

START_TEST(killed_server_disconnects_and_loses_nothing_persistent)
{
	static struct user users[4], more[4];
	struct tmem_client *client = attach("one");
	struct tmem_pool *keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	struct tmem_pool *cache = open_pool(client, "e", 0);
	uint8_t page[TMEM_PAGE_SIZE] = {0};
	struct tmem_pool *pool = NULL;
	unsigned i, round;

	for (round = 0; round < 5; round++) {
		start_users(users, 4, keep, true, UINT32_MAX);
		start_users(more, 4, cache, false, UINT32_MAX);
		wait_for_hits(users, 4);
		test_attach_server_kill(&server);
		join_users(users, 4);
		join_users(more, 4);
		ck_assert(!tmem_client_connected(client));
		/* Nothing works now, and nothing waits. */
		ck_assert_int_eq(tmem_get(keep, &oid, 1, page), -ENOTCONN);
		ck_assert_int_eq(tmem_put(keep, &users[0].oid, 7, page),
				 -ENOTCONN);
		users[0].seed[7] = 0;
		ck_assert_int_eq(tmem_flush_object(keep, &users[1].oid),
				 -ENOTCONN);
		memset(users[1].seed, 0, sizeof(users[1].seed));
		ck_assert_int_eq(try_pool(client, "x", 0, &pool), -ENOTCONN);
		ck_assert_int_eq(tmem_client_reattach(client), -ECONNREFUSED);
		test_attach_server_restart(&server);
		ck_assert_int_eq(tmem_client_reattach(client), 0);
		ck_assert_int_eq(tmem_client_reattach(client), 0);
		ck_assert(tmem_client_connected(client));
		verify_users(users, 4, keep);
		for (i = 0; i < INDICES; i++)
			ck_assert_int_eq(tmem_get(cache, &more[0].oid, i, page),
					 TMEM_MISS);
		for (i = 0; i < 4; i++)
			tmem_flush_object(keep, &users[i].oid);
	}
	tmem_pool_free(cache);
	tmem_pool_free(keep);
	tmem_client_free(client);
}
END_TEST

START_TEST(stopped_server_is_given_up_and_nothing_stale_is_left)
{
	struct tmem_client *client = NULL, *two = attach("two");
	struct tmem_pool *keep, *cache, *shared, *theirs;
	uint8_t page[TMEM_PAGE_SIZE] = {0};
	uint32_t i;

	ck_assert_int_eq(try_attach("one", 2000, &client), 0);
	keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	cache = open_pool(client, "e", 0);
	shared = open_pool(client, "s", TMEM_POOL_SHARED);
	theirs = open_pool(two, "s", TMEM_POOL_SHARED);
	for (i = 0; i < 8; i++) {
		put(keep, i, 100 + i);
		put(cache, i, 200 + i);
		put(shared, i, 300 + i);
	}
	stop_server();
	ck_assert_int_eq(tmem_put(keep, &oid, 1, page), -ENOTCONN);
	ck_assert_int_eq(tmem_put(cache, &oid, 1, page), -ENOTCONN);
	ck_assert_int_eq(tmem_flush_run(shared, &oid, 2, 2), -ENOTCONN);
	ck_assert_int_eq(tmem_flush(keep, &oid, 2), -ENOTCONN);
	ck_assert(!tmem_client_connected(client));
	kill(server.pid, SIGCONT);
	ck_assert_int_eq(tmem_client_reattach(client), 0);
	for (i = 0; i < 8; i++) {
		expect_miss(cache, i);
		if (i == 1 || i == 2)
			expect_miss(keep, i);
		else
			expect(keep, i, 100 + i);
		if (i == 2 || i == 3)
			expect_miss(theirs, i);
		else
			expect(theirs, i, 300 + i);
	}
	tmem_pool_free(theirs);
	tmem_pool_free(shared);
	tmem_pool_free(cache);
	tmem_pool_free(keep);
	tmem_client_free(two);
	tmem_client_free(client);
}
END_TEST

START_TEST(too_much_in_doubt_is_not_trusted)
{
	struct tmem_client *client = NULL, *two = attach("two");
	struct tmem_pool *theirs = open_pool(two, "s", TMEM_POOL_SHARED);
	struct tmem_pool *keep, *shared;
	struct tmem_oid other = {{9, 9, 9}};
	uint32_t i;

	ck_assert_int_eq(try_attach("one", 2000, &client), 0);
	shared = open_pool(client, "s", TMEM_POOL_SHARED);
	keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	put(shared, 1, 1);
	put(shared, UINT32_MAX, 2);
	stop_server();
	for (i = 0; i <= TMEM_DOUBT_MAX; i++)
		ck_assert_int_eq(
			tmem_flush(shared, i & 1 ? &oid : &other, 3 + 2 * i),
			-ENOTCONN);
	kill(server.pid, SIGCONT);
	ck_assert_int_eq(tmem_client_reattach(client), 0);
	expect_miss(theirs, 1);
	expect_miss(theirs, UINT32_MAX);
	put(keep, 1, 1);
	stop_server();
	for (i = 0; i <= TMEM_DOUBT_MAX; i++)
		ck_assert_int_eq(
			tmem_flush(keep, i & 1 ? &oid : &other, 3 + 2 * i),
			-ENOTCONN);
	kill(server.pid, SIGCONT);
	ck_assert_int_eq(tmem_client_reattach(client), -EOVERFLOW);
	ck_assert(!tmem_client_connected(client));
	tmem_pool_free(keep);
	ck_assert_int_eq(tmem_client_reattach(client), 0);
	tmem_pool_free(theirs);
	tmem_pool_free(shared);
	tmem_client_free(two);
	tmem_client_free(client);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attach-lost");
	TCase *tests = tcase_create("attach-lost");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 0); /* meson has one */
	tcase_add_test(tests,
		       killed_server_disconnects_and_loses_nothing_persistent);
	tcase_add_test(tests,
		       stopped_server_is_given_up_and_nothing_stale_is_left);
	tcase_add_test(tests, too_much_in_doubt_is_not_trusted);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
