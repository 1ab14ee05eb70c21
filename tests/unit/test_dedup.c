/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sharing: that equal pages share, and that nothing else ever does.
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include "pages.h"
#include "random.h"
#include "scene.h"

static struct tmem_store *store;

/* Open a pool that shares, whatever its kind. */
static struct tmem_pool *sharing(struct tmem_client *client, const char *name,
				 uint32_t flags)
{
	const struct tmem_pool_config config = {
		.name = name, .flags = flags, .dedup = TMEM_DEDUP_ON};
	struct tmem_pool *pool = NULL;

	ck_assert_int_eq(tmem_pool_new(client, &config, &pool), 0);
	return pool;
}

static void put_text(struct tmem_pool *pool, uint32_t index, uint64_t seed)
{
	const struct tmem_oid oid = {{1}};
	uint8_t page[TMEM_PAGE_SIZE];

	test_page_of(page, TEST_PAGE_TEXT, seed);
	ck_assert_int_eq(tmem_put(pool, &oid, index, page), TMEM_OK);
}

static void put_fill(struct tmem_pool *pool, uint32_t index, uint64_t word)
{
	const struct tmem_oid oid = {{1}};
	uint64_t page[TMEM_PAGE_SIZE / 8];

	for (size_t i = 0; i < TMEM_PAGE_SIZE / 8; i++)
		page[i] = word;
	ck_assert_int_eq(tmem_put(pool, &oid, index, page), TMEM_OK);
}

static uint64_t contents(void)
{
	return scene_stat(store, TMEM_HOST_STAT_contents);
}

START_TEST(equal_pages_share_one_content)
{
	struct tmem_client *a, *b;
	struct tmem_pool *pa, *pb;

	store = scene_store(16 * MIB, -1);
	a = scene_client(store, "a", NULL);
	b = scene_client(store, "b", NULL);
	pa = scene_pool(a, "p", 0);
	pb = scene_pool(b, "p", 0);
	for (uint32_t i = 0; i < 1000; i++) {
		put_text(pa, i, 1 + i % 100);
		put_text(pb, i, 1 + i % 100);
	}
	ck_assert_uint_eq(contents(), 100);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_puts_dedup), 1900);
	/* The last handle frees it. */
	tmem_pool_free(pa);
	ck_assert_uint_eq(contents(), 100);
	scene_check(store);
	tmem_pool_free(pb);
	ck_assert_uint_eq(contents(), 0);
	tmem_client_free(a);
	tmem_client_free(b);
	scene_close(store);
}
END_TEST

START_TEST(an_equal_hash_alone_shares_nothing)
{
	struct tmem_client *client;
	struct tmem_pool *pool;

	store = scene_store_hashed(16 * MIB, -1, 1);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", 0);
	for (uint32_t i = 0; i < 1000; i++)
		ck_assert(scene_put_at(pool, 1, i, i));
	for (uint32_t i = 0; i < 1000; i++)
		ck_assert(scene_get_at(pool, 1, i, i));
	ck_assert_uint_gt(scene_stat(store, TMEM_HOST_STAT_dedup_mismatches),
			  1000);
	scene_check(store);
	for (uint32_t i = 0; i < 1000; i++)
		ck_assert(scene_flush_at(pool, 1, i));
	ck_assert_uint_eq(contents(), 0);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(nothing_is_shared_across_domains_or_kinds)
{
	struct tmem_client *client[4];
	struct tmem_pool *pool[5];
	static const char *const domain[] = {NULL, "red", "red", "none"};
	char name[8];

	store = scene_store(16 * MIB, -1);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "c%u", i);
		client[i] = scene_client(store, name, domain[i]);
		pool[i] = sharing(client[i], "p", 0);
	}
	pool[4] = sharing(client[1], "swap", TMEM_POOL_PERSISTENT);
	for (unsigned i = 0; i < 5; i++) {
		put_text(pool[i], 1, 42);
		put_fill(pool[i], 2, 42);
	}
	/* One for each of: common, red (two clients), red persistent, and
	 * none; of the text page and of the fill page. */
	ck_assert_uint_eq(contents(), 2 * 4);
	put_text(pool[3], 3, 42);
	put_fill(pool[3], 4, 42);
	ck_assert_uint_eq(contents(), 2 * 5);
	for (unsigned i = 0; i < 5; i++)
		tmem_pool_free(pool[i]);
	for (unsigned i = 0; i < 4; i++)
		tmem_client_free(client[i]);
	ck_assert_uint_eq(contents(), 5 - 4 + 1);
	ck_assert_int_eq(
		tmem_store_destroy_client(store, scene_client_id(store, "c1")),
		0);
	scene_close(store);
}
END_TEST

START_TEST(a_shared_pool_of_another_domain_does_not_tell)
{
	struct tmem_client *red, *blue;
	struct tmem_pool *in_red, *in_blue;

	store = scene_store(16 * MIB, -1);
	red = scene_client(store, "red", "red");
	blue = scene_client(store, "blue", "blue");
	scene_authorise(store, "red", 1);
	scene_authorise(store, "blue", 1);
	ck_assert_int_eq(scene_shared(red, 1, 0, &in_red), 0);
	ck_assert_int_eq(scene_shared(blue, 1, 0, &in_blue), 0);
	put_text(in_red, 1, 42);
	put_text(in_blue, 2, 42);
	ck_assert_uint_eq(contents(), 2);
	put_text(in_red, 3, 42);
	ck_assert_uint_eq(contents(), 2);
	tmem_pool_free(in_red);
	tmem_pool_free(in_blue);
	tmem_client_free(red);
	tmem_client_free(blue);
	scene_close(store);
}
END_TEST

START_TEST(settings_turn_sharing_off_and_on)
{
	struct tmem_client_settings settings = {.set = TMEM_SET_DEDUP,
						.dedup = TMEM_DEDUP_OFF};
	struct tmem_client *client;
	struct tmem_pool *cache, *swap;
	uint32_t id;

	store = scene_store(16 * MIB, -1);
	client = scene_client(store, "a", NULL);
	id = scene_client_id(store, "a");
	cache = scene_pool(client, "cache", 0);
	swap = scene_pool_with(client, "swap", TMEM_POOL_PERSISTENT,
			       TMEM_CODEC_NONE, TMEM_DEDUP_OFF);
	for (uint32_t i = 0; i < 4; i++) {
		put_text(cache, i, 1);
		put_text(swap, i, 1);
	}
	ck_assert_uint_eq(contents(), 1 + 4);
	ck_assert_int_eq(tmem_store_client_set(store, id, &settings), 0);
	for (uint32_t i = 0; i < 4; i++)
		put_text(cache, i, 2);
	ck_assert_uint_eq(contents(), 4 + 4);
	settings.dedup = TMEM_DEDUP_ON;
	ck_assert_int_eq(tmem_store_client_set(store, id, &settings), 0);
	for (uint32_t i = 0; i < 4; i++)
		put_text(swap, i, 2);
	ck_assert_uint_eq(contents(), 4 + 1);
	tmem_pool_free(cache);
	ck_assert_int_eq(tmem_pool_destroy(swap), 0);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(full_references_make_a_second_content)
{
	const uint32_t most = (1u << 20) - 1;
	struct tmem_client *client;
	struct tmem_pool *pool;

	store = scene_store(64 * MIB, -1);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", 0);
	for (uint32_t i = 0; i < most; i++)
		put_fill(pool, i, 0);
	ck_assert_uint_eq(contents(), 1);
	put_fill(pool, most, 0);
	put_fill(pool, most + 1, 0);
	ck_assert_uint_eq(contents(), 2);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_fill_pages),
			  most + 2);
	scene_check(store);
	tmem_pool_free(pool);
	ck_assert_uint_eq(contents(), 0);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

struct racer {
	struct tmem_pool *pool;
	uint64_t seed;
};

/* Put and flush few different pages, so that contents are found, kept and
 * freed by several threads at once. */
static void *race(void *arg)
{
	struct racer *racer = arg;
	struct test_random random;

	test_random_init(&random, racer->seed);
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t index = (uint32_t)test_random_below(&random, 8);

		if (test_random_below(&random, 3))
			put_text(racer->pool, index,
				 1 + test_random_below(&random, 3));
		else
			(void)tmem_flush(racer->pool, &(struct tmem_oid){{1}},
					 index);
	}
	return NULL;
}

START_TEST(contents_shared_and_freed_at_once_are_not_lost)
{
	uint64_t seed = test_seed();
	struct tmem_client *client;
	struct racer racer[4];
	pthread_t thread[4];
	char name[8];

	store = scene_store(16 * MIB, -1);
	client = scene_client(store, "a", NULL);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		racer[i].pool = scene_pool(client, name, 0);
		racer[i].seed = seed + i;
		ck_assert_int_eq(
			pthread_create(&thread[i], NULL, race, &racer[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_gt(scene_stat(store, TMEM_HOST_STAT_puts_dedup), 1000);
	scene_check(store);
	for (unsigned i = 0; i < 4; i++)
		tmem_pool_free(racer[i].pool);
	ck_assert_uint_eq(contents(), 0);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		equal_pages_share_one_content,
		an_equal_hash_alone_shares_nothing,
		nothing_is_shared_across_domains_or_kinds,
		a_shared_pool_of_another_domain_does_not_tell,
		settings_turn_sharing_off_and_on,
		full_references_make_a_second_content,
		contents_shared_and_freed_at_once_are_not_lost,
	};

	return scene_run("dedup", tests, sizeof(tests) / sizeof(tests[0]));
}
