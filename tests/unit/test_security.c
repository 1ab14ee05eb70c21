/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one client must never learn of another: rules 8, 11 and 13. Contents are
 * shared within a dedup domain only, shared pools are joined by the authorised
 * only, and bytes freed by one client never turn up at another.
 */
#include "scene.h"
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "pages.h"
#include "random.h"

#define PAGES 64u

static void put_pages(struct tmem_pool *pool)
{
	for (uint32_t n = 0; n < PAGES; n++)
		ck_assert_int_eq(scene_put_random(pool, n, 1000 + n), TMEM_OK);
}

/* Two pools with the same pages. Returns the distinct contents held. */
static uint64_t contents(const char *domain_a, const char *domain_b,
			 uint32_t flags_a, uint32_t flags_b,
			 enum tmem_dedup dedup)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *a = scene_client(store, "a", domain_a);
	struct tmem_client *b = scene_client(store, "b", domain_b);
	struct tmem_pool *of_a =
		scene_pool_with(a, "pool", flags_a, TMEM_CODEC_NONE, dedup);
	struct tmem_pool *of_b =
		scene_pool_with(b, "pool", flags_b, TMEM_CODEC_NONE, dedup);
	uint64_t held;

	put_pages(of_a);
	put_pages(of_b);
	held = scene_stat(store, TMEM_HOST_STAT_contents);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_puts_dedup),
			  2 * PAGES - held);
	for (uint32_t n = 0; n < PAGES; n++) {
		ck_assert_uint_eq(scene_get(of_a, n), 1000 + n);
		ck_assert_uint_eq(scene_get(of_b, n), 1000 + n);
	}
	tmem_pool_free(of_a);
	tmem_pool_free(of_b);
	tmem_client_free(a);
	tmem_client_free(b);
	scene_close(store);
	return held;
}

START_TEST(one_domain_shares)
{
	ck_assert_uint_eq(contents(NULL, NULL, 0, 0, TMEM_DEDUP_AUTO), PAGES);
	ck_assert_uint_eq(contents("red", "red", 0, 0, TMEM_DEDUP_AUTO), PAGES);
	ck_assert_uint_eq(contents("red", "red", TMEM_POOL_PERSISTENT,
				   TMEM_POOL_PERSISTENT, TMEM_DEDUP_ON),
			  PAGES);
}
END_TEST

START_TEST(domains_never_share)
{
	ck_assert_uint_eq(contents("red", "blue", 0, 0, TMEM_DEDUP_ON),
			  2 * PAGES);
	ck_assert_uint_eq(contents("red", NULL, 0, 0, TMEM_DEDUP_ON),
			  2 * PAGES);
	ck_assert_uint_eq(contents("none", "none", 0, 0, TMEM_DEDUP_ON),
			  2 * PAGES);
	ck_assert_uint_eq(contents(NULL, "none", TMEM_POOL_PERSISTENT,
				   TMEM_POOL_PERSISTENT, TMEM_DEDUP_ON),
			  2 * PAGES);
}
END_TEST

START_TEST(kinds_and_unwilling_pools_never_share)
{
	ck_assert_uint_eq(
		contents(NULL, NULL, 0, TMEM_POOL_PERSISTENT, TMEM_DEDUP_ON),
		2 * PAGES);
	ck_assert_uint_eq(contents(NULL, NULL, 0, 0, TMEM_DEDUP_OFF),
			  2 * PAGES);
	ck_assert_uint_eq(contents(NULL, NULL, TMEM_POOL_PERSISTENT,
				   TMEM_POOL_PERSISTENT, TMEM_DEDUP_OFF),
			  2 * PAGES);
}
END_TEST

/* Equal handles in two clients' private pools are different handles. */
START_TEST(private_pools_are_private)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *a = scene_client(store, "a", NULL);
	struct tmem_client *b = scene_client(store, "b", NULL);
	struct tmem_pool *of_a = scene_pool(a, "pool", TMEM_POOL_PERSISTENT);
	struct tmem_pool *of_b = scene_pool(b, "pool", TMEM_POOL_PERSISTENT);

	ck_assert_int_eq(scene_put(of_a, 5, 77), TMEM_OK);
	ck_assert_uint_eq(scene_get(of_b, 5), 0);
	ck_assert_int_eq(scene_flush(of_b, 5), TMEM_MISS);
	ck_assert_int_eq(tmem_pool_destroy(of_b), 0);
	ck_assert_uint_eq(scene_get(of_a, 5), 77);
	tmem_client_free(b);
	tmem_pool_free(of_a);
	tmem_client_free(a);
	scene_close(store);
}
END_TEST

static int join(struct tmem_client *client, uint8_t uuid,
		struct tmem_pool **pool)
{
	struct tmem_pool_config config = {
		.name = "shared",
		.flags = TMEM_POOL_SHARED | TMEM_POOL_PERSISTENT,
		.uuid.byte = {uuid},
	};

	return tmem_pool_new(client, &config, pool);
}

START_TEST(only_the_authorised_join)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *a = scene_client(store, "a", NULL);
	struct tmem_client *b = scene_client(store, "b", NULL);
	const struct tmem_uuid uuid = {.byte = {9}};
	struct tmem_pool *of_a = NULL, *of_b = NULL;

	ck_assert_int_eq(join(a, 9, &of_a), -EPERM);
	ck_assert_ptr_null(of_a);
	ck_assert_int_eq(tmem_store_shared_auth(store, 1000, "a", &uuid, true),
			 0);
	ck_assert_int_eq(join(a, 9, &of_a), 0);
	ck_assert_int_eq(scene_put(of_a, 1, 50), TMEM_OK);
	/* Another name, another uid, another uuid: none will do. */
	ck_assert_int_eq(join(b, 9, &of_b), -EPERM);
	ck_assert_int_eq(tmem_store_shared_auth(store, 1001, "b", &uuid, true),
			 0);
	ck_assert_int_eq(join(b, 9, &of_b), -EPERM);
	ck_assert_int_eq(join(a, 8, &of_b), -EPERM);
	ck_assert_int_eq(tmem_store_shared_auth(store, 1000, "b", &uuid, true),
			 0);
	ck_assert_int_eq(join(b, 9, &of_b), 0);
	ck_assert_uint_eq(scene_get(of_b, 1), 50);
	/* Who is in stays in; who is out stays out. */
	ck_assert_int_eq(tmem_store_shared_auth(store, 1000, "b", &uuid, false),
			 0);
	ck_assert_int_eq(tmem_store_shared_auth(store, 1000, "b", &uuid, false),
			 -ENOENT);
	ck_assert_uint_eq(scene_get(of_b, 1), 50);
	tmem_pool_free(of_b);
	ck_assert_int_eq(join(b, 9, &of_b), -EPERM);
	tmem_pool_free(of_a);
	tmem_client_free(a);
	tmem_client_free(b);
	scene_close(store);
}
END_TEST

/* Made at run time: pages are made from this program's code too, which must not
 * tell it. */
static uint64_t secret(void)
{
	return test_mix(0x5ec12e7);
}

static bool tells(const uint64_t *bytes, size_t pages)
{
	uint64_t word = secret();

	for (size_t i = 0; i < pages * (TMEM_PAGE_SIZE / 8); i++)
		if (bytes[i] == word)
			return true;
	return false;
}

/* Who knows the hash function still does not know what collides. */
START_TEST(hashes_are_each_arenas_own)
{
	static const uint8_t page[TMEM_PAGE_SIZE] = {1};
	const struct tmem_oid oid = {{1, 2, 3}};
	struct tmem_store *one = scene_store(16 * MIB, -1);
	struct tmem_store *two = scene_store(16 * MIB, -1);

	ck_assert_uint_ne(tmem_index_hash(&one->index, 5, &oid),
			  tmem_index_hash(&two->index, 5, &oid));
	ck_assert_uint_ne(
		tmem_dedup_hash(&one->contents.dedup, page, TMEM_EPHEMERAL, 1),
		tmem_dedup_hash(&two->contents.dedup, page, TMEM_EPHEMERAL, 1));
	scene_close(one);
	scene_close(two);
}
END_TEST

/* Client a's pages, full of a secret, are freed in each way there is; client b
 * takes their room with pages of every size, and looks at all it gets. */
START_TEST(freed_bytes_are_not_seen)
{
	struct tmem_store *store = scene_store(8 * MIB, -1);
	struct tmem_client *a = scene_client(store, "a", "red");
	struct tmem_client *b = scene_client(store, "b", "blue");
	struct tmem_pool *of_a =
		scene_pool_with(a, "pool", TMEM_POOL_PERSISTENT, TMEM_CODEC_RAW,
				TMEM_DEDUP_OFF);
	struct tmem_pool *of_b = scene_pool(b, "pool", 0);
	const struct tmem_oid oid = {{1, 2, 3}};
	uint64_t *run = calloc(PAGES, TMEM_PAGE_SIZE);
	uint64_t page[TMEM_PAGE_SIZE / 8];
	uint8_t outcome[PAGES];

	for (unsigned round = 0; round < 20; round++) {
		for (uint32_t n = 0; n < 400; n++) {
			/* Not a fill page, and not a short one. */
			for (size_t i = 0; i < TMEM_PAGE_SIZE / 8; i++)
				page[i] = i % 3 ? secret() : n;
			page[0] = n;
			tmem_put(of_a, &oid, n, page);
		}
		if (round % 2)
			tmem_flush_object(of_a, &oid);
		else
			tmem_flush_run(of_a, &oid, 0, 1ull << 32);
		for (uint32_t n = 0; n < 400; n++)
			if (n % 3)
				scene_put(of_b, n, round * 1000 + n);
			else
				scene_flush(of_b, n);
		for (uint32_t n = 0; n < 400 - PAGES; n += PAGES) {
			memset(run, 0, PAGES * TMEM_PAGE_SIZE);
			tmem_get_run(of_b, &oid, n, PAGES, run, outcome);
			ck_assert(!tells(run, PAGES));
			memset(page, 0, sizeof(page));
			tmem_get(of_b, &oid, n, page);
			ck_assert(!tells(page, 1));
		}
	}
	free(run);
	tmem_pool_free(of_a);
	tmem_pool_free(of_b);
	tmem_client_free(a);
	tmem_client_free(b);
	scene_close(store);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		one_domain_shares,
		domains_never_share,
		kinds_and_unwilling_pools_never_share,
		private_pools_are_private,
		only_the_authorised_join,
		freed_bytes_are_not_seen,
		hashes_are_each_arenas_own,
	};

	return SCENE_RUN("security", tests);
}
