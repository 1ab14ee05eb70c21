/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose page goes, who pays, and whether room is made when there is some to
 * make. What pages cost whom is test_charge.c's.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include "random.h"
#include "scene.h"
#include "state.h"

static struct tmem_store *store;

static void set_client(const char *name, struct tmem_client_settings settings)
{
	ck_assert_int_eq(tmem_store_client_set(store,
					       scene_client_id(store, name),
					       &settings),
			 0);
}

static uint64_t charged(const char *name)
{
	return scene_client_stat(store, name, TMEM_CLIENT_STAT_charged);
}

static uint64_t pages(const char *name)
{
	return scene_client_stat(store, name, TMEM_CLIENT_STAT_pages);
}

static atomic_bool enough;

/* Put fill pages under ever new handles, as fast as can be. */
static void *put_without_end(void *arg)
{
	static uint8_t pages[64 * TMEM_PAGE_SIZE];
	static atomic_uint_fast64_t object;

	while (!atomic_load(&enough)) {
		const struct tmem_oid oid = {{atomic_fetch_add(&object, 1)}};

		ck_assert_int_eq(tmem_put_run(arg, &oid, 0, 64, pages, NULL),
				 64);
	}
	return NULL;
}

START_TEST(the_client_above_its_share_pays_and_not_the_one_below)
{
	struct tmem_client *small, *large;
	struct tmem_pool *small_pool, *large_pool;

	store = scene_store(16 * MIB, -1);
	small = scene_client(store, "small", NULL);
	large = scene_client(store, "large", NULL);
	small_pool = scene_pool(small, "a", 0);
	large_pool = scene_pool(large, "b", 0);
	ck_assert_uint_eq(scene_fill(small_pool, 500, 1), 500);
	scene_fill(large_pool, 30000, 100000);
	ck_assert_uint_gt(
		scene_client_stat(store, "large", TMEM_CLIENT_STAT_evictions),
		10000);
	ck_assert_uint_eq(
		scene_client_stat(store, "small", TMEM_CLIENT_STAT_evictions),
		0);
	ck_assert_uint_eq(scene_held(small_pool, 500, 1), 500);
	tmem_pool_free(small_pool);
	tmem_pool_free(large_pool);
	tmem_client_free(small);
	tmem_client_free(large);
	scene_close(store);
}
END_TEST

START_TEST(memory_settles_at_the_weights)
{
	struct tmem_client *one, *three;
	struct tmem_pool *one_pool, *three_pool;
	double ratio;

	store = scene_store(16 * MIB, -1);
	one = scene_client(store, "one", NULL);
	three = scene_client(store, "three", NULL);
	one_pool = scene_pool(one, "a", 0);
	three_pool = scene_pool(three, "b", 0);
	set_client("three", (struct tmem_client_settings){
				    .set = TMEM_SET_WEIGHT, .weight = 300});
	for (unsigned i = 0; i < 30000; i++) {
		scene_put_at(one_pool, i / 64, i % 64, i);
		scene_put_at(three_pool, i / 64, i % 64, 1000000 + i);
	}
	ratio = (double)charged("three") / (double)charged("one");
	ck_assert_double_gt(ratio, 2.5);
	ck_assert_double_lt(ratio, 3.5);
	tmem_pool_free(one_pool);
	tmem_pool_free(three_pool);
	tmem_client_free(one);
	tmem_client_free(three);
	scene_close(store);
}
END_TEST

START_TEST(a_scan_does_not_push_out_what_is_read)
{
	struct tmem_client *client;
	struct tmem_pool *pool;
	unsigned hits = 0;

	store = scene_store(16 * MIB, -1);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", 0);
	scene_fill(pool, 1000, 1);
	for (unsigned round = 0; round < 60; round++) {
		scene_held(pool, 1000, 1);
		for (unsigned i = 0; i < 500; i++)
			scene_put_at(pool, 1000 + round, i,
				     50000 + round * 500 + i);
	}
	hits = scene_held(pool, 1000, 1);
	ck_assert_uint_gt(hits, 900);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(a_cap_holds_whoever_else_has_room)
{
	struct tmem_client *capped, *other;
	struct tmem_pool *cache, *swap;
	unsigned stored;

	store = scene_store(64 * MIB, -1);
	capped = scene_client(store, "capped", NULL);
	other = scene_client(store, "other", NULL);
	cache = scene_pool(capped, "cache", 0);
	set_client("capped", (struct tmem_client_settings){.set = TMEM_SET_CAP,
							   .cap = 2 * MIB});
	for (unsigned i = 0; i < 4000; i++) {
		ck_assert(scene_put_at(cache, i / 64, i % 64, i));
		if (i % 100 == 0)
			ck_assert_uint_le(charged("capped"), 2 * MIB);
	}
	ck_assert_uint_gt(charged("capped"), MIB);
	/* Persistent pages push the ephemeral ones out, then are refused. */
	swap = scene_pool(capped, "swap", TMEM_POOL_PERSISTENT);
	stored = scene_fill(swap, 3000, 1);
	ck_assert_uint_gt(stored, 500);
	ck_assert_uint_lt(stored, 3000);
	ck_assert_uint_le(charged("capped"), 2 * MIB);
	ck_assert_uint_eq(scene_pool_stat(cache, TMEM_POOL_STAT_pages), 0);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_refused_cap),
			  3000 - stored);
	ck_assert_uint_eq(scene_held(swap, 3000, 1), stored);
	tmem_pool_free(cache);
	tmem_pool_free(swap);
	tmem_client_free(capped);
	tmem_client_free(other);
	scene_close(store);
}
END_TEST

START_TEST(the_largest_cap_is_no_cap)
{
	struct tmem_client *client[2];
	struct tmem_pool *shared[2], *private;
	const char *const name[] = {"a", "b"};

	store = scene_store(16 * MIB, -1);
	for (unsigned i = 0; i < 2; i++) {
		client[i] = scene_client(store, name[i], NULL);
		shared[i] = scene_pool(client[i], "shared", TMEM_POOL_SHARED);
	}
	private = scene_pool(client[0], "private", 0);
	set_client("a", (struct tmem_client_settings){
				.set = TMEM_SET_CAP | TMEM_SET_MAXMEM,
				.cap = INT64_MAX,
				.maxmem = INT64_MAX,
			});
	ck_assert(scene_put_at(shared[0], 1, 1, 1));
	ck_assert(scene_put_at(private, 1, 1, 1));
	tmem_pool_free(private);
	for (unsigned i = 0; i < 2; i++) {
		tmem_pool_free(shared[i]);
		tmem_client_free(client[i]);
	}
	scene_close(store);
}
END_TEST

START_TEST(a_page_may_be_replaced_at_the_cap)
{
	struct tmem_client *client;
	struct tmem_pool *pool;

	store = scene_store(64 * MIB, -1);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	set_client("a", (struct tmem_client_settings){.set = TMEM_SET_MAXMEM,
						      .maxmem = 10 * 4096});
	ck_assert_uint_eq(scene_fill(pool, 11, 1), 10);
	for (unsigned i = 0; i < 10; i++)
		ck_assert(scene_put_at(pool, 0, i, 100 + i));
	ck_assert_uint_eq(scene_held(pool, 10, 100), 10);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(lowering_maxmem_evicts_down_to_it)
{
	struct tmem_client *client;
	struct tmem_pool *pool;

	store = scene_store(64 * MIB, -1);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", 0);
	scene_fill(pool, 3000, 1);
	set_client("a", (struct tmem_client_settings){.set = TMEM_SET_MAXMEM,
						      .maxmem = 4 * MIB});
	ck_assert_uint_le(pages("a"), 1024);
	ck_assert_uint_gt(pages("a"), 900);
	scene_fill(pool, 3000, 1);
	ck_assert_uint_le(pages("a"), 1024);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

static void fill_with_both(unsigned mib)
{
	struct tmem_client *client;
	struct tmem_pool *cache, *swap;
	unsigned i = 0;

	store = scene_store(mib * MIB, -1);
	client = scene_client(store, "a", NULL);
	cache = scene_pool(client, "cache", 0);
	swap = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	/* Ephemeral pages between persistent ones, all over the classes. */
	for (unsigned j = 0; j < mib * 600; j++)
		scene_put_at(cache, j / 64, j % 64, j);
	while (scene_put_at(swap, i / 64, i % 64, 500000 + i)) {
		scene_put_at(cache, i, 0, 900000 + i);
		i++;
	}
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_ephemeral_pages), 0);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_freeable), 0);
	ck_assert_uint_eq(scene_held(swap, i, 500000), i);
	tmem_pool_free(cache);
	tmem_pool_free(swap);
	tmem_client_free(client);
	scene_close(store);
}

START_TEST(a_persistent_put_is_refused_only_when_nothing_ephemeral_is_left)
{
	fill_with_both(4);
	fill_with_both(6);
	fill_with_both(16);
	if (test_is_full())
		fill_with_both(64);
}
END_TEST

/* What is read all the time goes, too, however few shards it lies in. */
START_TEST(a_persistent_put_takes_the_room_of_a_few_pages_in_use)
{
	struct tmem_client *client;
	struct tmem_pool *cache, *swap;
	unsigned i = 0;

	store = scene_store(4 * MIB, -1);
	client = scene_client(store, "a", NULL);
	cache = scene_pool(client, "cache", 0);
	swap = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	/* Leaves of one shard. */
	for (uint32_t n = 0; n < 64; n++)
		ck_assert_int_eq(scene_put_random(cache, n, n + 1), TMEM_OK);
	do {
		for (uint32_t n = 0; n < 64; n++)
			scene_get(cache, n);
	} while (scene_put_random(swap, i, 1000 + i) == TMEM_OK && ++i);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_ephemeral_pages), 0);
	tmem_pool_free(cache);
	tmem_pool_free(swap);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(a_store_of_tiny_ephemeral_pages_still_takes_persistent_ones)
{
	struct tmem_client *client;
	struct tmem_pool *cache, *swap;
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_oid oid = {{1, 2, 3}};
	unsigned stored;

	/* Fill pages take no slabs: all is in tables. */
	store = scene_store(8 * MIB, -1);
	client = scene_client(store, "a", "none");
	cache = scene_pool(client, "cache", 0);
	swap = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	memset(page, 1, sizeof(page));
	for (uint32_t i = 0; i < 400000; i++)
		ck_assert_int_eq(tmem_put(cache, &oid, i, page), TMEM_OK);
	stored = scene_fill(swap, 8000, 1);
	ck_assert_uint_gt(stored, 1500);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_ephemeral_pages), 0);
	tmem_pool_free(cache);
	tmem_pool_free(swap);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(what_is_called_freeable_can_be_freed)
{
	struct tmem_client *client;
	struct tmem_pool *cache, *swap;
	uint64_t freeable, released, used;

	store = scene_store(32 * MIB, -1);
	client = scene_client(store, "a", NULL);
	cache = scene_pool(client, "cache", 0);
	swap = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	for (unsigned i = 0; i < 3000; i++) {
		scene_put_at(cache, i / 64, i % 64, i);
		scene_put_at(swap, i / 64, i % 64, 70000 + i);
	}
	used = scene_stat(store, TMEM_HOST_STAT_used);
	ck_assert_int_eq(tmem_store_reclaim(store, MIB, &released), 0);
	ck_assert_uint_ge(released, MIB);
	ck_assert_uint_lt(released, 3 * MIB);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_used),
			  used - released);
	freeable = tmem_store_freeable(store);
	ck_assert_uint_gt(freeable, 2 * MIB);
	ck_assert_int_eq(tmem_store_reclaim(store, 1000 * MIB, &released), 0);
	ck_assert_uint_ge(released, freeable);
	ck_assert_uint_eq(tmem_store_freeable(store), 0);
	ck_assert_uint_eq(scene_held(swap, 3000, 70000), 3000);
	ck_assert_int_eq(tmem_store_reclaim(store, 0, &released), -EINVAL);
	tmem_pool_free(cache);
	tmem_pool_free(swap);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(reclaim_ends_however_much_is_put_meanwhile)
{
	struct tmem_client *client;
	struct tmem_pool *pool;
	pthread_t thread[16];
	uint64_t released;

	/* All of it is room: who puts makes none, and does not wait. */
	store = scene_store(256 * MIB, -1);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "cache", 0);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_int_eq(
			pthread_create(&thread[i], NULL, put_without_end, pool),
			0);
	while (pages("a") < 500000)
		sched_yield();
	for (unsigned i = 0; i < 5; i++) {
		uint64_t evicted = scene_stat(store, TMEM_HOST_STAT_evictions);

		ck_assert_int_eq(tmem_store_reclaim(store, MIB, &released), 0);
		evicted = scene_stat(store, TMEM_HOST_STAT_evictions) - evicted;
		ck_assert_uint_le(evicted * TMEM_PAGE_OVERHEAD, 16 * MIB);
	}
	atomic_store(&enough, true);
	for (unsigned i = 0; i < 16; i++)
		pthread_join(thread[i], NULL);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(a_shrunken_budget_is_kept_and_a_wider_one_used)
{
	struct tmem_client *client;
	struct tmem_pool *cache, *swap;
	unsigned stored;

	store = scene_store(32 * MIB, -1);
	client = scene_client(store, "a", NULL);
	cache = scene_pool(client, "cache", 0);
	swap = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	scene_fill(cache, 12000, 1);
	scene_fill(swap, 4000, 100000);
	ck_assert_int_eq(tmem_store_set_budget(store, 20 * MIB), 0);
	ck_assert_uint_le(scene_stat(store, TMEM_HOST_STAT_used), 20 * MIB);
	/* Less than the persistent pages need: kept, and puts refused, also
	 * those that would find a slot. */
	ck_assert_int_eq(tmem_store_set_budget(store, 5 * MIB), -ENOMEM);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_ephemeral_pages), 0);
	ck_assert_uint_eq(scene_fill(cache, 100, 1), 0);
	ck_assert_uint_eq(scene_held(swap, 4000, 100000), 4000);
	ck_assert_int_eq(tmem_store_set_budget(store, 32 * MIB), 0);
	stored = scene_fill(cache, 4000, 1);
	ck_assert_uint_eq(stored, 4000);
	ck_assert_int_eq(tmem_store_set_budget(store, MIB), -EINVAL);
	ck_assert_int_eq(tmem_store_set_budget(store, 1024 * MIB + 1), -EINVAL);
	tmem_pool_free(cache);
	tmem_pool_free(swap);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

/* Of a pool that has become small, eviction does not remember what it did of a
 * large one. */
START_TEST(what_eviction_remembers_goes_with_the_pages)
{
	const struct tmem_pool_state *state;
	struct tmem_client *client;
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_oid oid = {{1}};
	struct tmem_pool *cache;
	uint64_t released;
	uint32_t slots = 0;

	store = scene_store(32 * MIB, -1);
	client = scene_client(store, "a", NULL);
	cache = scene_pool(client, "cache", 0);
	state = tmem_store_pool(store, scene_pool_id(store, "cache"));
	memset(page, 1, sizeof(page));
	for (uint32_t i = 0; i < 100000; i++)
		ck_assert_int_eq(tmem_put(cache, &oid, 8 * i, page), TMEM_OK);
	ck_assert_int_eq(tmem_store_reclaim(store, MIB, &released), 0);
	ck_assert_uint_ge(state->shard[0].ghost.slots, 512);
	ck_assert_int_eq(tmem_store_set_budget(store, 4 * MIB), 0);
	ck_assert_uint_lt(scene_pool_stat(cache, TMEM_POOL_STAT_pages), 50000);
	for (unsigned s = 0; s < TMEM_SHARDS; s++)
		slots += state->shard[s].ghost.slots;
	ck_assert_uint_le(slots,
			  4 * scene_pool_stat(cache, TMEM_POOL_STAT_pages));
	tmem_pool_free(cache);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

/* Of an exclusive pool nothing has been read: what was put last stays, also
 * where it came to a leaf that had been there for long. */
START_TEST(an_exclusive_leaf_is_as_young_as_its_last_page)
{
	struct tmem_client *client;
	struct tmem_pool *pool;
	unsigned i, hits = 0;

	store = scene_store(16 * MIB, -1);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", TMEM_POOL_EXCLUSIVE);
	for (i = 0; i < 2000; i++)
		ck_assert(scene_put_at(pool, i, 0, i));
	for (unsigned j = 0; j < 500; j++)
		ck_assert(scene_put_at(pool, j, 1, 50000 + j));
	while (scene_pool_stat(pool, TMEM_POOL_STAT_evictions) < 1000) {
		ck_assert(scene_put_at(pool, i, 0, i));
		i++;
	}
	for (unsigned j = 0; j < 500; j++)
		hits += scene_get_at(pool, j, 1, 50000 + j);
	ck_assert_uint_gt(hits, 450);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(the_frozen_are_refused_and_may_read_and_flush)
{
	struct tmem_client *client;
	struct tmem_pool *pool;

	store = scene_store(16 * MIB, -1);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	scene_fill(pool, 10, 1);
	set_client("a", (struct tmem_client_settings){.set = TMEM_SET_FROZEN,
						      .frozen = true});
	/* Refused, and the old page is gone. */
	ck_assert(!scene_put_at(pool, 0, 0, 2));
	ck_assert(!scene_get_at(pool, 0, 0, 0));
	ck_assert(scene_get_at(pool, 0, 1, 2));
	ck_assert(scene_flush_at(pool, 0, 2));
	set_client("a", (struct tmem_client_settings){.set = TMEM_SET_FROZEN});
	ck_assert(scene_put_at(pool, 0, 0, 2));
	tmem_store_set_frozen(store, true);
	ck_assert(!scene_put_at(pool, 0, 1, 2));
	ck_assert(!scene_get_at(pool, 0, 1, 0));
	ck_assert(scene_get_at(pool, 0, 3, 4));
	tmem_store_set_frozen(store, false);
	ck_assert(scene_put_at(pool, 0, 1, 2));
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_refused_frozen), 2);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		the_client_above_its_share_pays_and_not_the_one_below,
		memory_settles_at_the_weights,
		a_scan_does_not_push_out_what_is_read,
		a_cap_holds_whoever_else_has_room,
		the_largest_cap_is_no_cap,
		a_page_may_be_replaced_at_the_cap,
		lowering_maxmem_evicts_down_to_it,
		a_persistent_put_is_refused_only_when_nothing_ephemeral_is_left,
		a_persistent_put_takes_the_room_of_a_few_pages_in_use,
		a_store_of_tiny_ephemeral_pages_still_takes_persistent_ones,
		what_is_called_freeable_can_be_freed,
		reclaim_ends_however_much_is_put_meanwhile,
		a_shrunken_budget_is_kept_and_a_wider_one_used,
		what_eviction_remembers_goes_with_the_pages,
		an_exclusive_leaf_is_as_young_as_its_last_page,
		the_frozen_are_refused_and_may_read_and_flush,
	};

	return scene_run("evict", tests, sizeof(tests) / sizeof(tests[0]));
}
