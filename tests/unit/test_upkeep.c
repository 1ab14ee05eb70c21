/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Upkeep of the slabs: by its jobs, called here one by one, and by a store's
 * own threads.
 */
#include "scene.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include "state.h"
#include "upkeep.h"
#include "worker.h"

#define BUDGET	(64 * MIB)
#define RESERVE (BUDGET / 256)
#define PAGES	8000u

static struct tmem_store *store;
static struct tmem_client *client;
static struct tmem_pool *pool;

static void open_scene(unsigned threads)
{
	store = scene_store_young(BUDGET, -1, 0, threads);
	client = scene_client(store, "client", NULL);
	pool = scene_pool(client, "pool", TMEM_POOL_PERSISTENT);
}

static void close_scene(void)
{
	ck_assert_int_eq(tmem_store_check(store, stderr), 0);
	tmem_pool_free(pool);
	tmem_client_free(client);
	tmem_store_close(store);
}

static void setup(void)
{
	open_scene(0);
}

/* Every page, of which every third stays. */
static void thin_out(void)
{
	for (uint32_t n = 0; n < PAGES; n++)
		ck_assert_int_eq(scene_put(pool, n, n + 1), TMEM_OK);
	for (uint32_t n = 0; n < PAGES; n++)
		if (n % 3)
			scene_flush(pool, n);
}

static void verify(void)
{
	for (uint32_t n = 0; n < PAGES; n++)
		ck_assert_uint_eq(scene_get(pool, n), n % 3 ? 0 : n + 1);
}

static uint64_t spare(void)
{
	return scene_stat(store, TMEM_HOST_STAT_spare_bytes);
}

START_TEST(a_store_nobody_puts_to_has_no_reserve)
{
	ck_assert_int_eq(tmem_upkeep_reserve(store), TMEM_WORKER_NEVER);
	ck_assert_uint_eq(spare(), 0);
}
END_TEST

START_TEST(puts_have_a_reserve_made)
{
	scene_put_random(pool, 0, 1);
	while (tmem_upkeep_reserve(store) == 0)
		;
	ck_assert_uint_gt(spare(), RESERVE - TMEM_SLAB_SIZE);
	ck_assert_uint_le(spare(), RESERVE);
	ck_assert_int_eq(tmem_upkeep_tidy(store), TMEM_WORKER_NEVER);
}
END_TEST

START_TEST(sparse_slabs_are_compacted)
{
	uint64_t before;

	ck_assert_int_eq(tmem_upkeep_compact(store), TMEM_WORKER_NEVER);
	thin_out();
	before = scene_stat(store, TMEM_HOST_STAT_slab_bytes) - spare();
	while (tmem_upkeep_compact(store) == 0)
		;
	ck_assert(!tmem_slab_sparse(store->slabs, true));
	ck_assert_uint_lt(scene_stat(store, TMEM_HOST_STAT_slab_bytes) -
				  spare(),
			  before * 3 / 4);
	verify();
}
END_TEST

static pthread_barrier_t held;

static void *hold_compact(void *arg)
{
	tmem_lock_acquire(&store->compact);
	pthread_barrier_wait(&held);
	pthread_barrier_wait(&held);
	tmem_lock_release(&store->compact);
	return arg;
}

/* Eviction or another compaction is at it. */
START_TEST(compaction_waits_its_turn)
{
	pthread_t thread;
	int ms;

	thin_out();
	pthread_barrier_init(&held, NULL, 2);
	pthread_create(&thread, NULL, hold_compact, NULL);
	pthread_barrier_wait(&held);
	ms = tmem_upkeep_compact(store);
	pthread_barrier_wait(&held);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&held);
	ck_assert_int_gt(ms, 0);
	ck_assert_int_lt(ms, 1000);
	ck_assert_int_eq(tmem_upkeep_compact(store), 0);
}
END_TEST

START_TEST(spare_slabs_go_back_when_nobody_takes_any)
{
	/* More spare slabs than the reserve has are kept only where somebody
	 * tidies. */
	tmem_upkeep_init(store);
	thin_out();
	while (tmem_upkeep_compact(store) == 0)
		;
	ck_assert_uint_gt(spare(), RESERVE);
	ck_assert_int_gt(tmem_upkeep_tidy(store), 0);
	ck_assert_uint_gt(spare(), RESERVE);
	/* As if it had been long ago. */
	store->upkeep.since -= 10000;
	ck_assert_int_eq(tmem_upkeep_tidy(store), TMEM_WORKER_NEVER);
	ck_assert_uint_le(spare(), RESERVE);
	verify();
}
END_TEST

/* The store's threads do it by themselves. */
START_TEST(threads_compact)
{
	tmem_pool_free(pool);
	tmem_client_free(client);
	tmem_store_close(store);
	open_scene(2);
	thin_out();
	while (tmem_slab_sparse(store->slabs, false))
		sched_yield();
	ck_assert_uint_gt(scene_stat(store, TMEM_HOST_STAT_compactions), 0);
	verify();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("upkeep");
	TCase *tc = tcase_create("upkeep");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, close_scene);
	tcase_set_timeout(tc, 0); /* meson has one */
	tcase_add_test(tc, a_store_nobody_puts_to_has_no_reserve);
	tcase_add_test(tc, puts_have_a_reserve_made);
	tcase_add_test(tc, sparse_slabs_are_compacted);
	tcase_add_test(tc, compaction_waits_its_turn);
	tcase_add_test(tc, spare_slabs_go_back_when_nobody_takes_any);
	tcase_add_test(tc, threads_compact);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
