/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TMEM_DEDUP_AUTO: equal pages are looked for where they are found, and only a
 * sample's where they are not.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "pages.h"
#include "scene.h"

/* Above what a window of dedup-auto.c takes in a pool of few pages. */
#define WINDOW 6000u

static struct tmem_store *store;
static struct tmem_client *client;

static void put_text(struct tmem_pool *pool, uint32_t index, uint64_t seed)
{
	const struct tmem_oid oid = {{1}};
	uint8_t page[TMEM_PAGE_SIZE];

	test_page_of(page, TEST_PAGE_TEXT, seed);
	ck_assert_int_eq(tmem_put(pool, &oid, index, page), TMEM_OK);
}

/* Put count pages, seed and following, one over the other at few indices. */
static void pass_through(struct tmem_pool *pool, uint64_t seed, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		put_text(pool, i % 64, seed + i);
}

static bool sampled(const char *name)
{
	struct tmem_pool_info *infos;
	int found = -1;
	size_t count;

	ck_assert_int_eq(tmem_store_pools(store, &infos, NULL, &count), 0);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(infos[i].name, name))
			found = infos[i].sampled;
	free(infos);
	ck_assert_int_ge(found, 0);
	return found;
}

static uint64_t lookups(struct tmem_pool *pool)
{
	return scene_pool_stat(pool, TMEM_POOL_STAT_dedup_lookups);
}

static void setup(void)
{
	store = scene_store(64 * MIB, -1);
	client = scene_client(store, "a", NULL);
}

static void teardown(void)
{
	tmem_client_free(client);
	scene_close(store);
}

START_TEST(what_never_repeats_is_looked_for_no_longer)
{
	struct tmem_pool *pool = scene_pool(client, "cache", 0);
	uint64_t before;

	pass_through(pool, 1, 1000);
	ck_assert(!sampled("cache"));
	ck_assert_uint_eq(lookups(pool), 1000);
	pass_through(pool, 1001, WINDOW);
	ck_assert(sampled("cache"));
	before = lookups(pool);
	pass_through(pool, 100000, 1600);
	/* Some of them, for the sample: 1 in 16. */
	ck_assert_uint_gt(lookups(pool), before + 50);
	ck_assert_uint_lt(lookups(pool), before + 200);
	scene_check(store);
	tmem_pool_free(pool);
}
END_TEST

START_TEST(a_pool_that_only_grows_is_not_judged)
{
	struct tmem_pool *pool = scene_pool(client, "cache", 0);

	for (uint32_t i = 0; i < 2 * WINDOW; i++)
		put_text(pool, i, 1 + i);
	ck_assert(!sampled("cache"));
	ck_assert_uint_eq(lookups(pool), 2 * WINDOW);
	tmem_pool_free(pool);
}
END_TEST

START_TEST(what_repeats_is_looked_for_again)
{
	struct tmem_pool *cache = scene_pool(client, "cache", 0);
	struct tmem_pool *other = scene_pool(client, "other", 0);
	uint64_t contents;

	pass_through(cache, 1, 1000 + WINDOW);
	ck_assert(sampled("cache"));
	/* Copies, put by another, at other indices. */
	for (uint32_t i = 0; i < 2000; i++)
		put_text(other, 2000 - i, 500000 + i);
	for (uint32_t i = 0; i < 2000; i++)
		put_text(cache, i, 500000 + i);
	ck_assert(!sampled("cache"));
	ck_assert_uint_gt(scene_pool_stat(cache, TMEM_POOL_STAT_puts_dedup),
			  1000);
	/* All of them are shared from here on. */
	contents = scene_stat(store, TMEM_HOST_STAT_contents);
	for (uint32_t i = 0; i < 500; i++)
		put_text(cache, 10000 + i, 500000 + i);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_contents), contents);
	scene_check(store);
	tmem_pool_free(cache);
	tmem_pool_free(other);
}
END_TEST

START_TEST(persistent_pools_begin_with_a_sample)
{
	struct tmem_pool *a = scene_pool(client, "a", TMEM_POOL_PERSISTENT);
	struct tmem_pool *b = scene_pool(client, "b", TMEM_POOL_PERSISTENT);
	uint64_t shared;

	ck_assert(sampled("a"));
	for (uint32_t i = 0; i < 1600; i++)
		put_text(a, i, 1 + i);
	ck_assert_uint_gt(lookups(a), 50);
	ck_assert_uint_lt(lookups(a), 200);
	/* Equal pages are in the sample together, wherever they lie. */
	for (uint32_t i = 0; i < 1600; i++)
		put_text(b, 3 * i, 1 + i);
	shared = scene_pool_stat(b, TMEM_POOL_STAT_puts_dedup);
	ck_assert_uint_eq(shared, lookups(a));
	ck_assert(!sampled("b"));
	ck_assert(sampled("a"));
	ck_assert_int_eq(tmem_pool_destroy(a), 0);
	ck_assert_int_eq(tmem_pool_destroy(b), 0);
}
END_TEST

START_TEST(on_and_off_are_not_measured)
{
	struct tmem_client_settings settings = {.set = TMEM_SET_DEDUP,
						.dedup = TMEM_DEDUP_ON};
	struct tmem_pool *off = scene_pool_with(
		client, "off", 0, TMEM_CODEC_NONE, TMEM_DEDUP_OFF);
	struct tmem_pool *pool =
		scene_pool(client, "auto", TMEM_POOL_PERSISTENT);
	uint32_t id = scene_client_id(store, "a");

	pass_through(off, 1, WINDOW);
	ck_assert_uint_eq(lookups(off), 0);
	ck_assert(!sampled("off"));
	ck_assert(sampled("auto"));
	ck_assert_int_eq(tmem_store_client_set(store, id, &settings), 0);
	ck_assert(!sampled("auto"));
	pass_through(pool, 1, WINDOW);
	ck_assert_uint_eq(lookups(pool), WINDOW);
	tmem_pool_free(off);
	ck_assert_int_eq(tmem_pool_destroy(pool), 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_never_repeats_is_looked_for_no_longer,
		a_pool_that_only_grows_is_not_judged,
		what_repeats_is_looked_for_again,
		persistent_pools_begin_with_a_sample,
		on_and_off_are_not_measured,
	};

	return scene_run_between("dedup_auto", setup, teardown, tests,
				 sizeof(tests) / sizeof(tests[0]));
}
