/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The index, through the store's calls: ends of ranges, runs over leaves and
 * shards, flushes of more pages than there are, and tables that grow.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include "fault.h"
#include "pages.h"
#include "scene.h"

static const struct tmem_oid oid = {{1, ~UINT64_C(1), 7}}; /* scene object 1 */
static struct tmem_store *store;
static struct tmem_client *client;
static struct tmem_pool *pool;

static void setup(void)
{
	store = scene_store(64 * MIB, -1);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
}

static void teardown(void)
{
	ck_assert_int_eq(tmem_pool_destroy(pool), 0);
	tmem_client_free(client);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_pages), 0);
	scene_close(store);
}

/* Put fill pages at [from, to], a step apart. */
static void put_fills(uint64_t from, uint64_t to, uint64_t step)
{
	uint8_t page[TMEM_PAGE_SIZE];

	memset(page, 3, sizeof(page));
	for (uint64_t i = from; i <= to; i += step)
		ck_assert_int_eq(tmem_put(pool, &oid, (uint32_t)i, page),
				 TMEM_OK);
}

/* Put a zero page, which takes no slot, at index 0 of an object. */
static void put_zero(uint64_t object)
{
	const struct tmem_oid zero_oid = {{object, 99}};
	static const uint8_t page[TMEM_PAGE_SIZE];

	ck_assert_int_eq(tmem_put(pool, &zero_oid, 0, page), TMEM_OK);
}

static void flush_zero(uint64_t object)
{
	const struct tmem_oid zero_oid = {{object, 99}};

	ck_assert_int_eq(tmem_flush(pool, &zero_oid, 0), TMEM_OK);
}

static unsigned count_held(uint64_t from, uint64_t to)
{
	uint8_t page[TMEM_PAGE_SIZE];
	unsigned hits = 0;

	for (uint64_t i = from; i <= to; i++)
		hits += tmem_get(pool, &oid, (uint32_t)i, page) == TMEM_OK;
	return hits;
}

START_TEST(the_last_index_is_an_index)
{
	uint8_t pages[2 * TMEM_PAGE_SIZE] = {1};

	ck_assert(scene_put_at(pool, 1, UINT32_MAX, 5));
	ck_assert(scene_put_at(pool, 1, 0, 6));
	ck_assert(scene_get_at(pool, 1, UINT32_MAX, 5));
	ck_assert_int_eq(tmem_put_run(pool, &oid, UINT32_MAX, 2, pages, NULL),
			 -EINVAL);
	ck_assert_int_eq(
		tmem_put_run(pool, &oid, UINT32_MAX - 1, 2, pages, NULL), 2);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, UINT32_MAX, 2), -EINVAL);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, UINT32_MAX, 0), -EINVAL);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, UINT32_MAX, 1), 1);
	ck_assert(!scene_get_at(pool, 1, UINT32_MAX, 5));
	ck_assert(scene_get_at(pool, 1, 0, 6));
}
END_TEST

START_TEST(a_flush_of_all_indices_ends)
{
	put_fills(0, UINT32_MAX, 1u << 20);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, 0, UINT64_C(1) << 32),
			 4096);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, 0, UINT64_C(1) << 32), 0);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, 1, UINT64_C(1) << 32),
			 -EINVAL);
}
END_TEST

START_TEST(a_long_flush_takes_its_range_and_no_more)
{
	/* Longer than what is flushed block by block. */
	put_fills(0, 40000, 1);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, 1003, 30002), 30002);
	ck_assert_uint_eq(count_held(0, 1002), 1003);
	ck_assert_uint_eq(count_held(1003, 31004), 0);
	ck_assert_uint_eq(count_held(31005, 40000), 8996);
	scene_check(store);
	/* And shorter. */
	ck_assert_int_eq(tmem_flush_run(pool, &oid, 5, 100), 100);
	ck_assert_uint_eq(count_held(0, 104), 5);
	ck_assert_uint_eq(count_held(105, 1002), 898);
	ck_assert_uint_eq(scene_pool_stat(pool, TMEM_POOL_STAT_flushes), 30102);
}
END_TEST

START_TEST(a_flush_longer_than_its_object_takes_its_range_and_no_more)
{
	const uint32_t step = 64;

	/* One page a leaf, and more leaves than are gone through at once. */
	for (uint32_t i = 0; i < 60000; i++)
		put_fills(i * step, i * step, 1);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, 20000 * step,
					UINT64_C(30000) * step),
			 30000);
	ck_assert_uint_eq(count_held(19999 * step, 20001 * step), 1);
	ck_assert_uint_eq(count_held(49999 * step, 50001 * step), 2);
	ck_assert_uint_eq(scene_pool_stat(pool, TMEM_POOL_STAT_pages), 30000);
}
END_TEST

START_TEST(an_object_is_flushed_in_every_shard)
{
	put_fills(0, 20000, 3);
	ck_assert(scene_put_at(pool, 2, 7, 7));
	ck_assert_int_eq(tmem_flush_object(pool, &oid), TMEM_OK);
	ck_assert_int_eq(tmem_flush_object(pool, &oid), TMEM_MISS);
	ck_assert_uint_eq(count_held(0, 20000), 0);
	ck_assert(scene_get_at(pool, 2, 7, 7));
	ck_assert_uint_eq(scene_pool_stat(pool, TMEM_POOL_STAT_object_flushes),
			  1);
}
END_TEST

START_TEST(every_bit_of_an_object_id_counts)
{
	uint8_t page[TMEM_PAGE_SIZE];

	for (unsigned bit = 0; bit < 192; bit++) {
		struct tmem_oid other = oid;

		other.word[bit / 64] ^= UINT64_C(1) << bit % 64;
		test_page(page, bit);
		ck_assert_int_eq(tmem_put(pool, &other, 9, page), TMEM_OK);
	}
	ck_assert(!scene_get_at(pool, 1, 9, 0));
	for (unsigned bit = 0; bit < 192; bit++) {
		struct tmem_oid other = oid;

		other.word[bit / 64] ^= UINT64_C(1) << bit % 64;
		ck_assert_int_eq(tmem_get(pool, &other, 9, page), TMEM_OK);
		ck_assert(test_page_is(page, bit));
	}
}
END_TEST

START_TEST(runs_cross_leaves_and_shards)
{
	static uint8_t in[TMEM_RUN_MAX][TMEM_PAGE_SIZE],
		out[TMEM_RUN_MAX][TMEM_PAGE_SIZE];
	uint8_t outcome[TMEM_RUN_MAX];

	for (unsigned i = 0; i < TMEM_RUN_MAX; i++)
		test_page(in[i], 1 + i);
	ck_assert_int_eq(
		tmem_put_run(pool, &oid, 61, TMEM_RUN_MAX, in, outcome),
		TMEM_RUN_MAX);
	for (unsigned i = 0; i < TMEM_RUN_MAX; i++) {
		ck_assert_uint_eq(outcome[i], TMEM_OK);
		if (i % 5 == 0)
			ck_assert(scene_flush_at(pool, 1, 61 + i));
	}
	ck_assert_int_eq(
		tmem_get_run(pool, &oid, 59, TMEM_RUN_MAX, out, outcome),
		TMEM_RUN_MAX - 2 - (TMEM_RUN_MAX - 2 + 4) / 5);
	ck_assert_uint_eq(outcome[0], TMEM_MISS);
	ck_assert_uint_eq(outcome[1], TMEM_MISS);
	for (unsigned i = 2; i < TMEM_RUN_MAX; i++) {
		ck_assert_uint_eq(outcome[i],
				  (i - 2) % 5 ? TMEM_OK : TMEM_MISS);
		if (outcome[i] == TMEM_OK)
			ck_assert_mem_eq(out[i], in[i - 2], TMEM_PAGE_SIZE);
	}
	ck_assert_int_eq(tmem_put_run(pool, &oid, 0, 0, in, NULL), -EINVAL);
	ck_assert_int_eq(
		tmem_get_run(pool, &oid, 0, TMEM_RUN_MAX + 1, out, NULL),
		-EINVAL);
}
END_TEST

START_TEST(hash_tables_shrink_when_objects_go)
{
	uint64_t before = scene_stat(store, TMEM_HOST_STAT_private_bytes);

	for (uint32_t i = 0; i < 30000; i++)
		put_zero(i);
	ck_assert_uint_gt(scene_stat(store, TMEM_HOST_STAT_private_bytes),
			  before + 100000);
	scene_check(store);
	for (uint32_t i = 0; i < 30000; i++)
		flush_zero(i);
	/* What tables know of their chunks stays. */
	ck_assert_uint_lt(scene_stat(store, TMEM_HOST_STAT_private_bytes),
			  before + 60000);
}
END_TEST

START_TEST(hash_tables_that_cannot_grow_are_only_slower)
{
	for (uint32_t i = 0; i < 100; i++)
		put_zero(i);
	tmem_fault_arm(TMEM_FAULT_MALLOC, 1, true);
	for (uint32_t i = 100; i < 900; i++)
		put_zero(i);
	tmem_fault_arm(TMEM_FAULT_MALLOC, 0, false);
	ck_assert_uint_gt(tmem_fault_fired(TMEM_FAULT_MALLOC), 10);
	scene_check(store);
	for (uint32_t i = 0; i < 900; i++)
		flush_zero(i);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		the_last_index_is_an_index,
		a_flush_of_all_indices_ends,
		a_long_flush_takes_its_range_and_no_more,
		a_flush_longer_than_its_object_takes_its_range_and_no_more,
		an_object_is_flushed_in_every_shard,
		every_bit_of_an_object_id_counts,
		runs_cross_leaves_and_shards,
		hash_tables_shrink_when_objects_go,
		hash_tables_that_cannot_grow_are_only_slower,
	};

	return scene_run_between("index", setup, teardown, tests,
				 sizeof(tests) / sizeof(tests[0]));
}
