/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Giving back much memory at once, for which the store starts a thread. */
#include <sys/stat.h>
#include <unistd.h>
#include "arena-file.h"
#include "fault.h"
#include "scene.h"

#define PAGES  20000u
#define BUDGET (160 * MIB)
#define MUCH   (64 * MIB)

static struct tmem_store *store;
static struct tmem_client *client;
static struct tmem_pool *pool;
static int fd;

static uint64_t blocks(void)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void open_full(void)
{
	fd = test_arena_memfd();
	store = scene_store_young(BUDGET, fd, 8 * MIB, 1);
	client = scene_client(store, "guest", NULL);
	pool = scene_pool(client, "cache", 0);
	for (uint32_t n = 0; n < PAGES; n++)
		ck_assert_int_eq(scene_put_random(pool, n, n + 1), TMEM_OK);
	ck_assert_int_eq(tmem_store_settle(store), 0);
}

static void close_full(void)
{
	scene_check(store);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
	close(fd);
}

/* With the thread, and where the system refuses one. */
START_TEST(much_is_back_when_reclaim_returns)
{
	uint64_t before, released;
	unsigned refused = tmem_fault_fired(TMEM_FAULT_THREAD);

	open_full();
	before = blocks();
	tmem_fault_arm(TMEM_FAULT_THREAD, (unsigned)_i, true);
	ck_assert_int_eq(tmem_store_reclaim(store, MUCH, &released), 0);
	tmem_fault_arm(TMEM_FAULT_THREAD, 0, false);
	ck_assert_uint_eq(tmem_fault_fired(TMEM_FAULT_THREAD) - refused,
			  (unsigned)_i);
	ck_assert_uint_ge(released, MUCH);
	ck_assert_uint_le(released, MUCH + MIB);
	ck_assert_uint_le(blocks(), before - MUCH + MIB);
	close_full();
}
END_TEST

/* Nothing is given back, nothing is waited for, and nothing is lost. */
START_TEST(the_kernel_refuses)
{
	uint64_t before, released;

	open_full();
	before = blocks();
	tmem_fault_arm(TMEM_FAULT_PUNCH, 1, true);
	ck_assert_int_eq(tmem_store_reclaim(store, MUCH, &released), 0);
	ck_assert_uint_gt(tmem_fault_fired(TMEM_FAULT_PUNCH), 0);
	tmem_fault_arm(TMEM_FAULT_PUNCH, 0, false);
	ck_assert_uint_lt(released, 4 * MIB);
	ck_assert_uint_ge(blocks(), before);
	scene_check(store);
	ck_assert_int_eq(tmem_store_reclaim(store, MUCH, &released), 0);
	ck_assert_uint_ge(released, MUCH);
	close_full();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("puncher");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 0);
	tcase_add_loop_test(tc, much_is_back_when_reclaim_returns, 0, 2);
	tcase_add_test(tc, the_kernel_refuses);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
