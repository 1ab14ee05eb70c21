/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Budgets that shrink and grow while threads put, get and flush: the store is
 * within each once it is set, the kernel's count of its memory is never above
 * the one in force, and no persistent page is lost.
 */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "arena-file.h"
#include "pages.h"
#include "random.h"
#include "sanitizer.h"
#include "scene.h"

#define CHURNERS 2u
#define CHURNED	 30000u /* pages, of each */
#define KEPT	 1500u
#define ROUNDS	 4u
#define PUTS	 1500u /* between two budgets */
/* The kernel's and the store's count may be so far apart. */
#define APART_MOST (8 * MIB)

static struct tmem_store *store;
static struct tmem_pool *ephemeral, *persistent;
static int fd, statm;
static uint64_t before; /* private memory without the store */
static _Atomic(uint64_t) budget, put_count;
static atomic_bool stop;

static uint64_t private_memory(void)
{
	unsigned long resident = 0, shared = 0;
	char line[128] = "";

	ck_assert_int_gt(pread(statm, line, sizeof(line) - 1, 0), 0);
	ck_assert_int_eq(sscanf(line, "%*u %lu %lu", &resident, &shared), 2);
	return (uint64_t)(resident - shared) * TMEM_PAGE_SIZE;
}

static void *churn(void *ctx)
{
	const uint64_t number = *(const uint64_t *)ctx;
	struct test_random random;

	test_random_init(&random, number);
	while (!atomic_load(&stop)) {
		uint32_t n = (uint32_t)test_random_below(&random, CHURNED);

		switch (test_random_below(&random, 8)) {
		case 0:
			scene_flush_at(ephemeral, number, n);
			break;
		case 1:
		case 2:
			scene_get_at(ephemeral, number, n, 1 + n);
			break;
		default:
			scene_put_at(ephemeral, number, n, 1 + n);
			atomic_fetch_add(&put_count, 1);
		}
	}
	return NULL;
}

/* What was put stays, whatever the budget: it has room in the smallest. */
static void *keep(void *ctx)
{
	uint64_t seed[KEPT] = {0};
	struct test_random random;

	test_random_init(&random, 99);
	while (!atomic_load(&stop)) {
		for (unsigned i = 0; i < 100; i++) {
			uint32_t n = (uint32_t)test_random_below(&random, KEPT);
			uint64_t next = 1 + test_random_below(&random, 1 << 30);

			seed[n] =
				scene_put_at(persistent, 1, n, next) ? next : 0;
		}
		for (uint32_t n = 0; n < KEPT; n++)
			ck_assert_int_eq(seed[n] && scene_get_at(persistent, 1,
								 n, seed[n]),
					 seed[n] != 0);
	}
	return ctx;
}

/* While a budget is being set, the larger one is in force. */
static void *watch(void *ctx)
{
	while (!atomic_load(&stop)) {
		uint64_t was = atomic_load(&budget), is, memory;
		struct stat st;

		ck_assert_int_eq(fstat(fd, &st), 0);
		memory = (uint64_t)st.st_blocks * 512 + private_memory();
		is = atomic_load(&budget);
		ck_assert_uint_le(memory,
				  before + (was > is ? was : is) + APART_MOST);
		sched_yield();
	}
	return ctx;
}

static void set_budget(uint64_t bytes)
{
	uint64_t from = atomic_load(&put_count);

	if (bytes > atomic_load(&budget))
		atomic_store(&budget, bytes);
	ck_assert_int_eq(tmem_store_set_budget(store, bytes), 0);
	ck_assert_uint_le(scene_stat(store, TMEM_HOST_STAT_used), bytes);
	atomic_store(&budget, bytes);
	while (atomic_load(&put_count) < from + PUTS)
		sched_yield();
	ck_assert_uint_le(scene_stat(store, TMEM_HOST_STAT_used), bytes);
}

static void budgets_change(uint64_t nursery, unsigned threads)
{
	const uint64_t number[CHURNERS] = {1, 2};
	pthread_t thread[CHURNERS], keeper, watcher;
	struct tmem_client *client;

	statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(statm, 0);
	fd = test_arena_memfd();
	before = private_memory();
	atomic_store(&budget, 64 * MIB);
	store = scene_store_young(64 * MIB, fd, nursery, threads);
	client = scene_client(store, "a", NULL);
	ephemeral = scene_pool(client, "e", 0);
	persistent = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	for (unsigned i = 0; i < CHURNERS; i++)
		pthread_create(&thread[i], NULL, churn, (void *)&number[i]);
	pthread_create(&keeper, NULL, keep, NULL);
	if (!TEST_ASAN && !TEST_TSAN)
		pthread_create(&watcher, NULL, watch, NULL);
	for (unsigned i = 0; i < ROUNDS; i++) {
		set_budget(16 * MIB);
		set_budget(48 * MIB);
		set_budget(24 * MIB);
		set_budget(64 * MIB);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < CHURNERS; i++)
		pthread_join(thread[i], NULL);
	pthread_join(keeper, NULL);
	if (!TEST_ASAN && !TEST_TSAN)
		pthread_join(watcher, NULL);
	ck_assert_uint_gt(scene_stat(store, TMEM_HOST_STAT_evictions), 0);
	tmem_pool_free(ephemeral);
	tmem_pool_free(persistent);
	tmem_client_free(client);
	scene_close(store);
	close(fd);
	close(statm);
}

START_TEST(budgets_change_under_load)
{
	budgets_change(0, 0);
}
END_TEST

START_TEST(budgets_change_under_load_with_a_nursery)
{
	budgets_change(UINT64_MAX, 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		budgets_change_under_load,
		budgets_change_under_load_with_a_nursery,
	};

	return SCENE_RUN("budgets", tests);
}
