/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Range locks and page maps: what belongs to a device's pages. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "page-map.h"
#include "random.h"
#include "range-lock.h"

#define BLOCK	 (1u << NBD_RANGE_BLOCK_SHIFT)
#define WRAP	 ((uint64_t)BLOCK * NBD_RANGE_LOCKS)
#define THREADS	 4
#define ROUNDS	 20000
#define COUNTERS 64

/* The thread sanitizer's search for deadlocks gives up at 64 locks held at
 * once; a whole device has more. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "detect_deadlocks=0";
}

static struct nbd_range_lock lock;

/** How many locks are closed to readers, or to writers, as pthread sees it. */
static unsigned closed_to(int (*try_lock)(pthread_rwlock_t *))
{
	unsigned i, closed = 0;

	for (i = 0; i < NBD_RANGE_LOCKS; i++) {
		if (try_lock(&lock.locks[i]))
			closed++;
		else
			pthread_rwlock_unlock(&lock.locks[i]);
	}
	return closed;
}

static unsigned closed_to_writers(void)
{
	return closed_to(pthread_rwlock_trywrlock);
}

static unsigned closed_to_readers(void)
{
	return closed_to(pthread_rwlock_tryrdlock);
}

START_TEST(ranges_take_their_blocks)
{
	static const struct {
		struct nbd_range range;
		unsigned locks;
	} cases[] = {
		{{0, 1}, 1},
		{{BLOCK - 1, 1}, 1},
		{{BLOCK - 1, 2}, 2},
		{{5, BLOCK * 4}, 5},
		{{WRAP - 1, 2}, 2},
		{{WRAP * 3 - BLOCK, BLOCK * 3}, 3},
		{{BLOCK, WRAP - BLOCK}, NBD_RANGE_LOCKS - 1},
		{{0, WRAP}, NBD_RANGE_LOCKS},
		{{1, WRAP}, NBD_RANGE_LOCKS},
		{{7, WRAP * 5}, NBD_RANGE_LOCKS},
		{{UINT32_MAX, 1}, 1},
	};
	unsigned i;

	ck_assert_int_eq(nbd_range_lock_init(&lock), 0);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		nbd_range_lock_exclusive(&lock, &cases[i].range);
		ck_assert_uint_eq(closed_to_writers(), cases[i].locks);
		ck_assert_uint_eq(closed_to_readers(), cases[i].locks);
		nbd_range_unlock(&lock, &cases[i].range);
		nbd_range_lock_shared(&lock, &cases[i].range);
		ck_assert_uint_eq(closed_to_writers(), cases[i].locks);
		ck_assert_uint_eq(closed_to_readers(), 0);
		nbd_range_unlock(&lock, &cases[i].range);
		ck_assert_uint_eq(closed_to_writers(), 0);
	}
	nbd_range_lock_deinit(&lock);
}
END_TEST

/** One per block; wrapped ranges of them are incremented without atomics. */
static uint64_t counters[COUNTERS];

static void *count_up(void *arg)
{
	struct test_random random;
	struct nbd_range range;
	uint64_t i, *total = arg;
	int round;

	test_random_init(&random, *total);
	*total = 0;
	for (round = 0; round < ROUNDS; round++) {
		range.first = WRAP - 8 * BLOCK +
			      test_random_below(&random, 16 * BLOCK);
		range.count = 1 + test_random_below(&random, 8 * BLOCK);
		nbd_range_lock_exclusive(&lock, &range);
		for (i = range.first / BLOCK;
		     i <= (range.first + range.count - 1) / BLOCK; i++) {
			counters[i % COUNTERS]++;
			++*total;
		}
		nbd_range_unlock(&lock, &range);
	}
	return NULL;
}

START_TEST(threads_exclude_each_other)
{
	pthread_t threads[THREADS];
	uint64_t totals[THREADS], sum = 0, counted = 0;
	int i;

	ck_assert_int_eq(nbd_range_lock_init(&lock), 0);
	for (i = 0; i < THREADS; i++) {
		totals[i] = test_seed() + (uint64_t)i;
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, count_up, &totals[i]),
			0);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		sum += totals[i];
	}
	for (i = 0; i < COUNTERS; i++)
		counted += counters[i];
	ck_assert_uint_eq(counted, sum);
	ck_assert_uint_eq(closed_to_writers(), 0);
	nbd_range_lock_deinit(&lock);
}
END_TEST

#define PAGES 300u

/** The map against an array of bool, at every boundary of words. */
START_TEST(map_finds_what_was_set)
{
	bool model[PAGES] = {false};
	struct test_random random;
	struct nbd_page_map map;
	uint64_t first, count, page, found;
	unsigned held;
	bool value;
	int round;

	test_random_init(&random, test_seed());
	memset(model, _i, sizeof(model));
	ck_assert_int_eq(nbd_page_map_init(&map, PAGES, _i), 0);
	for (round = 0; round < 2000; round++) {
		first = test_random_below(&random, PAGES);
		count = 1 + test_random_below(&random, PAGES - first);
		value = test_random_below(&random, 2);
		if (value)
			nbd_page_map_set(&map, first, count);
		else
			nbd_page_map_clear(&map, first, count);
		for (page = first; page < first + count; page++)
			model[page] = value;
		first = test_random_below(&random, PAGES);
		count = test_random_below(&random, PAGES - first + 1);
		found = nbd_page_map_find(&map, first, first + count, value);
		for (page = first; page < first + count; page++)
			if (model[page] == value)
				break;
		ck_assert_uint_eq(found, page);
		for (held = 0, page = 0; page < PAGES; page++) {
			ck_assert(nbd_page_map_test(&map, page) == model[page]);
			held += model[page];
		}
		ck_assert_uint_eq(nbd_page_map_count(&map), held);
	}
	nbd_page_map_deinit(&map);
}
END_TEST

/** A map of the largest device takes memory for what has changed, also when all
 * bits are set to begin with, as after a restart. */
START_TEST(full_map_takes_no_memory)
{
	const uint64_t pages = 1ull << 32;
	const size_t blocks = (pages / 8 + 4095) / 4096;
	uint8_t *resident = calloc(1, blocks);
	struct nbd_page_map map;
	size_t i, touched = 0;

	ck_assert_int_eq(nbd_page_map_init(&map, pages, true), 0);
	ck_assert_uint_eq(map.bytes, pages / 8);
	nbd_page_map_clear(&map, pages - 3, 1);
	ck_assert_int_eq(mincore((void *)map.words, map.bytes, resident), 0);
	for (i = 0; i < blocks - 1; i++)
		touched += resident[i] & 1;
	ck_assert_uint_eq(touched, 0); /* but the last */
	ck_assert(nbd_page_map_test(&map, pages - 4));
	ck_assert(!nbd_page_map_test(&map, pages - 3));
	nbd_page_map_deinit(&map);
	free(resident);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("NBD ranges");
	TCase *tc = tcase_create("locks and maps");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, ranges_take_their_blocks);
	tcase_add_test(tc, threads_exclude_each_other);
	tcase_add_loop_test(tc, map_finds_what_was_set, 0, 2);
	tcase_add_test(tc, full_map_takes_no_memory);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
