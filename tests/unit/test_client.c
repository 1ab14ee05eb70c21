/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls of tmem/client.h on a local store: names, pools that go together
 * and that do not, outcomes of single pages and runs, counters. */
#include "scene.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "pages.h"
#include "state.h"

static const struct tmem_oid oid = {{1, 2, 3}};

START_TEST(client_names)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	static const char *const bad[] = {
		NULL,
		"",
		"a/b",
		"a b",
		"a\tb",
		"a\x01",
		"0123456789012345678901234567890123456789012345678901234567890123",
	};
	struct tmem_client *client, *second;
	struct tmem_client_config config = {0};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		config.name = bad[i];
		ck_assert_int_eq(tmem_client_new_local(store, &config, &client),
				 -EINVAL);
	}
	config.name = bad[6] + 1; /* the longest there is */
	config.timeout_ms = 3600001;
	ck_assert_int_eq(tmem_client_new_local(store, &config, &client),
			 -EINVAL);
	config.timeout_ms = 3600000;
	ck_assert_int_eq(tmem_client_new_local(store, &config, &client), 0);
	ck_assert_int_eq(tmem_client_new_local(store, &config, &second),
			 -EBUSY);
	config.uid = 1; /* the same name of another user is another client */
	ck_assert_int_eq(tmem_client_new_local(store, &config, &second), 0);
	ck_assert(tmem_client_connected(client));
	ck_assert_int_eq(tmem_client_reattach(client), 0);
	ck_assert_ptr_null(tmem_client_free(second));
	ck_assert_ptr_null(tmem_client_free(client));
	ck_assert_ptr_null(tmem_client_free(NULL));
	scene_close(store);
}
END_TEST

static int try_pool(struct tmem_client *client, const char *name,
		    uint32_t flags, uint8_t uuid)
{
	struct tmem_pool_config config = {
		.name = name, .flags = flags, .uuid.byte = {uuid}};
	struct tmem_pool *pool = NULL;
	int r = tmem_pool_new(client, &config, &pool);

	if (r == 0)
		tmem_pool_destroy(pool);
	else
		ck_assert_ptr_null(pool);
	return r;
}

START_TEST(pools_that_do_not_go_together)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool_config config = {.name = "x"};
	struct tmem_pool *pool, *second = NULL;

	ck_assert_int_eq(try_pool(client, "p", TMEM_POOL_EXCLUSIVE, 0), 0);
	ck_assert_int_eq(try_pool(client, "p",
				  TMEM_POOL_EXCLUSIVE | TMEM_POOL_PERSISTENT,
				  0),
			 -EINVAL);
	ck_assert_int_eq(try_pool(client, "p",
				  TMEM_POOL_EXCLUSIVE | TMEM_POOL_SHARED, 1),
			 -EINVAL);
	ck_assert_int_eq(try_pool(client, "p", TMEM_POOL_SHARED, 0), -EINVAL);
	ck_assert_int_eq(try_pool(client, "p", 0, 1), -EINVAL);
	ck_assert_int_eq(try_pool(client, "p", 1u << 7, 0), -EINVAL);
	ck_assert_int_eq(try_pool(client, "", 0, 0), -EINVAL);
	ck_assert_int_eq(try_pool(client, "a/b", 0, 0), -EINVAL);
	ck_assert_int_eq(try_pool(client, NULL, 0, 0), -EINVAL);
	config.codec = TMEM_CODEC_COUNT;
	ck_assert_int_eq(tmem_pool_new(client, &config, &pool), -EINVAL);
	config.codec = TMEM_CODEC_FILL;
	ck_assert_int_eq(tmem_pool_new(client, &config, &pool), -EINVAL);
	config.codec = TMEM_CODEC_NONE;
	config.dedup = 3;
	ck_assert_int_eq(tmem_pool_new(client, &config, &pool), -EINVAL);
	config.dedup = TMEM_DEDUP_AUTO;

	config.flags = TMEM_POOL_PERSISTENT;
	ck_assert_int_eq(tmem_pool_new(client, &config, &pool), 0);
	ck_assert_int_eq(tmem_pool_new(client, &config, &second), -EBUSY);
	config.flags = 0;
	ck_assert_int_eq(tmem_pool_new(client, &config, &second), -EEXIST);
	tmem_pool_free(pool);
	ck_assert_int_eq(tmem_pool_new(client, &config, &second), -EEXIST);
	ck_assert_ptr_null(second);
	ck_assert_ptr_null(tmem_pool_free(NULL));
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

/* A shared ephemeral pool ends with its last user. */
START_TEST(shared_pool_is_one)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *a = scene_client(store, "a", NULL);
	struct tmem_client *b = scene_client(store, "b", NULL);
	struct tmem_pool *of_a = scene_pool(a, "pool", TMEM_POOL_SHARED);
	struct tmem_pool *of_b = scene_pool(b, "pool", TMEM_POOL_SHARED);

	ck_assert_int_eq(scene_put(of_a, 1, 11), TMEM_OK);
	ck_assert_uint_eq(scene_get(of_b, 1), 11);
	ck_assert_int_eq(scene_flush(of_b, 1), TMEM_OK);
	ck_assert_uint_eq(scene_get(of_a, 1), 0);
	ck_assert_int_eq(scene_put(of_b, 2, 22), TMEM_OK);
	tmem_pool_free(of_a);
	ck_assert_uint_eq(scene_get(of_b, 2), 22);
	tmem_pool_free(of_b);
	of_a = scene_pool(a, "pool", TMEM_POOL_SHARED);
	ck_assert_uint_eq(scene_get(of_a, 2), 0);
	ck_assert_int_eq(try_pool(b, "other",
				  TMEM_POOL_SHARED | TMEM_POOL_PERSISTENT,
				  scene_uuid.byte[0]),
			 -EPERM);
	tmem_pool_free(of_a);
	tmem_client_free(a);
	tmem_client_free(b);
	scene_close(store);
}
END_TEST

START_TEST(exclusive_get_removes)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *once =
		scene_pool(client, "once", TMEM_POOL_EXCLUSIVE);
	struct tmem_pool *often = scene_pool(client, "often", 0);

	for (uint64_t seed = 5; seed < 60; seed++) {
		ck_assert_int_eq(scene_put(once, 7, seed), TMEM_OK);
		ck_assert_int_eq(scene_put(often, 7, seed), TMEM_OK);
		ck_assert_uint_eq(scene_get(once, 7), seed);
		ck_assert_uint_eq(scene_get(once, 7), 0);
		ck_assert_uint_eq(scene_get(often, 7), seed);
		ck_assert_uint_eq(scene_get(often, 7), seed);
	}
	tmem_pool_free(once);
	tmem_pool_free(often);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(runs_have_bounds)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	uint8_t *pages = calloc(TMEM_RUN_MAX + 1, TMEM_PAGE_SIZE);
	uint32_t last = UINT32_MAX - TMEM_RUN_MAX + 1;

	for (unsigned i = 0; i < TMEM_RUN_MAX; i++)
		test_page(pages + (size_t)i * TMEM_PAGE_SIZE, i + 1);
	ck_assert_int_eq(tmem_put_run(pool, &oid, 0, 0, pages, NULL), -EINVAL);
	ck_assert_int_eq(
		tmem_put_run(pool, &oid, 0, TMEM_RUN_MAX + 1, pages, NULL),
		-EINVAL);
	ck_assert_int_eq(
		tmem_put_run(pool, &oid, last + 1, TMEM_RUN_MAX, pages, NULL),
		-EINVAL);
	ck_assert_int_eq(tmem_get_run(pool, &oid, 0, 0, pages, NULL), -EINVAL);
	ck_assert_int_eq(
		tmem_get_run(pool, &oid, 0, TMEM_RUN_MAX + 1, pages, NULL),
		-EINVAL);
	ck_assert_int_eq(tmem_get_run(pool, &oid, UINT32_MAX, 2, pages, NULL),
			 -EINVAL);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, 0, 0), -EINVAL);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, 1, 1ull << 32), -EINVAL);

	ck_assert_int_eq(
		tmem_put_run(pool, &oid, last, TMEM_RUN_MAX, pages, NULL),
		TMEM_RUN_MAX);
	memset(pages, 0xee, (size_t)TMEM_RUN_MAX * TMEM_PAGE_SIZE);
	ck_assert_int_eq(
		tmem_get_run(pool, &oid, last, TMEM_RUN_MAX, pages, NULL),
		TMEM_RUN_MAX);
	for (unsigned i = 0; i < TMEM_RUN_MAX; i++)
		ck_assert(test_page_is(pages + (size_t)i * TMEM_PAGE_SIZE,
				       i + 1));
	ck_assert_int_eq(tmem_get(pool, &oid, 0, pages), TMEM_MISS);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, 0, 1ull << 32),
			 TMEM_RUN_MAX);
	ck_assert_int_eq(tmem_flush_object(pool, &oid), TMEM_MISS);
	free(pages);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(outcomes_of_a_run_are_each_page_s)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	uint8_t pages[10 * TMEM_PAGE_SIZE];
	uint8_t outcome[10];

	for (uint32_t n = 0; n < 10; n += 2)
		ck_assert_int_eq(scene_put(pool, n, n + 1), TMEM_OK);
	ck_assert_int_eq(tmem_get_run(pool, &oid, 0, 10, pages, outcome), 5);
	for (uint32_t n = 0; n < 10; n++)
		ck_assert_int_eq(outcome[n], n % 2 ? TMEM_MISS : TMEM_OK);
	ck_assert_int_eq(tmem_flush_run(pool, &oid, 3, 4), 2);
	ck_assert_int_eq(tmem_flush(pool, &oid, 3), TMEM_MISS);
	ck_assert_int_eq(tmem_flush(pool, &oid, 0), TMEM_OK);
	ck_assert_int_eq(tmem_flush_object(pool, &oid), TMEM_OK);
	ck_assert_int_eq(tmem_get_run(pool, &oid, 0, 10, pages, outcome), 0);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

/* Of whatever is there: young and compressed pages, fill pages, none. */
START_TEST(fetching_ahead_changes_nothing)
{
	struct tmem_store *store = scene_store_young(64 * MIB, -1, 8 * MIB, 0);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	uint32_t indexes[16] = {UINT32_MAX};

	tmem_ahead(pool, &oid, indexes, 1, true);
	for (uint32_t n = 0; n < 100; n++)
		ck_assert_int_eq(scene_put(pool, n, n + 1), TMEM_OK);
	ck_assert_int_eq(tmem_store_settle(store), 0);
	for (uint32_t n = 0; n < 100; n += 3)
		ck_assert_int_eq(scene_put(pool, n, n + 101), TMEM_OK);
	for (uint32_t n = 0; n < 110; n += 5) {
		for (uint32_t i = 0; i < 16; i++)
			indexes[i] = n + (i ^ 5);
		tmem_ahead(pool, &oid, indexes, 16, n % 2);
	}
	tmem_ahead(pool, &oid, indexes, 0, true);
	ck_assert_uint_eq(scene_pool_stat(pool, TMEM_POOL_STAT_gets), 0);
	scene_check(store);
	for (uint32_t n = 0; n < 100; n++)
		ck_assert_uint_eq(scene_get(pool, n), n + (n % 3 ? 1 : 101));
	ck_assert_uint_eq(scene_get(pool, 100), 0);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

/* Many objects, each bit of the id and of the index telling. */
START_TEST(every_bit_of_a_handle_counts)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	uint8_t page[TMEM_PAGE_SIZE];

	for (unsigned bit = 0; bit < 192 + 32; bit++) {
		struct tmem_oid id = {{0}};
		uint32_t index = bit >= 192 ? 1u << (bit - 192) : 0;

		if (bit < 192)
			id.word[bit / 64] = 1ull << (bit % 64);
		test_page(page, bit + 1);
		ck_assert_int_eq(tmem_put(pool, &id, index, page), TMEM_OK);
	}
	for (unsigned bit = 0; bit < 192 + 32; bit++) {
		struct tmem_oid id = {{0}};
		uint32_t index = bit >= 192 ? 1u << (bit - 192) : 0;

		if (bit < 192)
			id.word[bit / 64] = 1ull << (bit % 64);
		ck_assert_int_eq(tmem_get(pool, &id, index, page), TMEM_OK);
		ck_assert(test_page_is(page, bit + 1));
	}
	ck_assert_int_eq(tmem_pool_destroy(pool), 0);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(every_codec_gives_pages_back)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool = scene_pool_with(
		client, "swap", TMEM_POOL_PERSISTENT,
		_i == TMEM_CODEC_FILL ? TMEM_CODEC_NONE : _i, TMEM_DEDUP_ON);
	uint64_t raw;

	for (uint32_t n = 0; n < 3000; n++)
		ck_assert_int_eq(scene_put(pool, n, n + 100), TMEM_OK);
	for (uint32_t n = 0; n < 3000; n++)
		ck_assert_uint_eq(scene_get(pool, n), n + 100);
	raw = scene_stat(store, TMEM_HOST_STAT_raw_contents);
	/* A fifth are fill pages, a fifth do not compress. */
	if (_i == TMEM_CODEC_RAW)
		ck_assert_uint_eq(raw, 2400);
	else
		ck_assert_uint_lt(raw, 900);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

static void expect_counts(struct tmem_pool *pool)
{
	uint64_t v[TMEM_POOL_STAT_COUNT];

	ck_assert_int_eq(tmem_pool_stats(pool, v), 0);
	ck_assert_uint_eq(v[TMEM_POOL_STAT_pages], 7);
	ck_assert_uint_eq(v[TMEM_POOL_STAT_peak_pages], 10);
	ck_assert_uint_eq(v[TMEM_POOL_STAT_objects], 1);
	ck_assert_uint_eq(v[TMEM_POOL_STAT_puts], 12);
	ck_assert_uint_eq(v[TMEM_POOL_STAT_puts_stored], 12);
	ck_assert_uint_eq(v[TMEM_POOL_STAT_puts_refused], 0);
	ck_assert_uint_eq(v[TMEM_POOL_STAT_puts_replaced], 2);
	ck_assert_uint_eq(v[TMEM_POOL_STAT_gets], 4);
	ck_assert_uint_eq(v[TMEM_POOL_STAT_hits], 3);
	ck_assert_uint_eq(v[TMEM_POOL_STAT_flushes], 3);
	ck_assert_uint_eq(v[TMEM_POOL_STAT_evictions], 0);
	ck_assert_uint_ge(v[TMEM_POOL_STAT_stored_bytes], 7 * 4096);
}

START_TEST(counters_count)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	uint64_t host[TMEM_HOST_STAT_COUNT];

	for (uint32_t n = 0; n < 10; n++)
		scene_put_random(pool, n, n + 1);
	for (uint32_t n = 0; n < 2; n++)
		scene_put_random(pool, n, n + 101);
	for (uint32_t n = 7; n < 11; n++)
		scene_get(pool, n);
	for (uint32_t n = 2; n < 5; n++)
		scene_flush(pool, n);
	scene_flush(pool, 4);
	expect_counts(pool);
	tmem_store_stats(store, host);
	ck_assert_uint_eq(host[TMEM_HOST_STAT_pages], 7);
	ck_assert_uint_eq(host[TMEM_HOST_STAT_persistent_pages], 7);
	ck_assert_uint_eq(host[TMEM_HOST_STAT_ephemeral_pages], 0);
	ck_assert_uint_eq(host[TMEM_HOST_STAT_puts], 12);
	ck_assert_uint_eq(host[TMEM_HOST_STAT_gets], 4);
	ck_assert_uint_eq(host[TMEM_HOST_STAT_hits], 3);
	ck_assert_uint_eq(host[TMEM_HOST_STAT_flushes], 3);
	ck_assert_uint_eq(host[TMEM_HOST_STAT_raw_contents], 7);
	ck_assert_str_eq(tmem_host_stat_desc[TMEM_HOST_STAT_puts].name, "puts");
	ck_assert_str_eq(tmem_pool_stat_desc[TMEM_POOL_STAT_pages].unit,
			 "pages");
	ck_assert_str_eq(tmem_client_stat_desc[TMEM_CLIENT_STAT_charged].type,
			 "gauge");
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

/* Fill pages take no room but their records'. */
START_TEST(fill_pages_have_no_bytes)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool = scene_pool(client, "cache", 0);
	uint64_t page[TMEM_PAGE_SIZE / 8];

	for (uint32_t n = 0; n < 1000; n++) {
		test_page_of(page, TEST_PAGE_FILL, n % 10 * 0x0123456789abcdef);
		ck_assert_int_eq(tmem_put(pool, &oid, n, page), TMEM_OK);
	}
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_fill_pages), 1000);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_payload_bytes), 0);
	for (uint32_t n = 0; n < 1000; n++) {
		ck_assert_int_eq(tmem_get(pool, &oid, n, page), TMEM_OK);
		for (size_t i = 0; i < TMEM_PAGE_SIZE / 8; i++)
			ck_assert_uint_eq(page[i], n % 10 * 0x0123456789abcdef);
	}
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

/* Overwrite the only page's compressed bytes, in memory that went bad. */
static void damage(struct tmem_store *store)
{
	uint32_t id = tmem_table_next(&store->contents.table, 1);
	struct tmem_content_word word = tmem_content_load(&store->contents, id);

	ck_assert_int_eq(word.codec, TMEM_CODEC_LZ4);
	memset(tmem_slab_at(store->contents.slabs, word.place), 0xff,
	       word.size);
}

START_TEST(a_page_that_does_not_decode_is_a_miss_and_gone)
{
	static const uint32_t flags[] = {0, TMEM_POOL_EXCLUSIVE,
					 TMEM_POOL_PERSISTENT};
	struct tmem_store *store = scene_store(16 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool = scene_pool_with(client, "pool", flags[_i],
						 TMEM_CODEC_LZ4, TMEM_DEDUP_ON);
	uint8_t page[TMEM_PAGE_SIZE];

	test_page_of(page, TEST_PAGE_TEXT, 1);
	ck_assert_int_eq(tmem_put(pool, &oid, 1, page), TMEM_OK);
	damage(store);
	ck_assert_int_eq(tmem_get(pool, &oid, 1, page), TMEM_MISS);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_decode_errors), 1);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_contents), 0);
	ck_assert_int_eq(tmem_get(pool, &oid, 1, page), TMEM_MISS);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_decode_errors), 1);
	/* Nothing else came of it. */
	test_page_of(page, TEST_PAGE_TEXT, 1);
	ck_assert_int_eq(tmem_put(pool, &oid, 1, page), TMEM_OK);
	ck_assert_int_eq(tmem_get(pool, &oid, 1, page), TMEM_OK);
	ck_assert_uint_eq(test_page_seed(page), 1);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("client");
	TCase *tests = tcase_create("client");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 0);
	suite_add_tcase(suite, tests);
	tcase_add_test(tests, client_names);
	tcase_add_test(tests, pools_that_do_not_go_together);
	tcase_add_test(tests, shared_pool_is_one);
	tcase_add_test(tests, exclusive_get_removes);
	tcase_add_test(tests, runs_have_bounds);
	tcase_add_test(tests, outcomes_of_a_run_are_each_page_s);
	tcase_add_test(tests, fetching_ahead_changes_nothing);
	tcase_add_test(tests, every_bit_of_a_handle_counts);
	tcase_add_loop_test(tests, every_codec_gives_pages_back, 1,
			    TMEM_CODEC_COUNT);
	tcase_add_test(tests, counters_count);
	tcase_add_test(tests, fill_pages_have_no_bytes);
	tcase_add_loop_test(
		tests, a_page_that_does_not_decode_is_a_miss_and_gone, 0, 3);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
