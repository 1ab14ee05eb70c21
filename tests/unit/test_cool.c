/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cooling: what is compressed again, what is left alone, when, and that nobody
 * who reads, puts or flushes meanwhile notices.
 */
#include "cool.h"
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>
#include "arena-file.h"
#include "fault.h"
#include "pages.h"
#include "random.h"
#include "scene.h"

static struct tmem_store *store;
static struct tmem_client *client;

static void open_store(uint64_t budget)
{
	store = scene_store(budget, -1);
	client = scene_client(store, "a", NULL);
}

static void close_store(void)
{
	tmem_client_free(client);
	scene_close(store);
}

static uint64_t stat_of(enum tmem_host_stat stat)
{
	return scene_stat(store, stat);
}

/* Text: what is put at one place. 8 pages make a leaf. */
static void put_text(struct tmem_pool *pool, unsigned count, uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE];

	for (unsigned i = 0; i < count; i++) {
		const struct tmem_oid oid = scene_oid(i / 64);

		test_page_of(page, TEST_PAGE_TEXT, seed + i);
		ck_assert_int_eq(tmem_put(pool, &oid, i % 64, page), TMEM_OK);
	}
}

static void get_text(struct tmem_pool *pool, unsigned count, uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];

	for (unsigned i = 0; i < count; i++) {
		const struct tmem_oid oid = scene_oid(i / 64);

		test_page_of(want, TEST_PAGE_TEXT, seed + i);
		ck_assert_int_eq(tmem_get(pool, &oid, i % 64, page), TMEM_OK);
		ck_assert_mem_eq(page, want, sizeof(page));
	}
}

static struct tmem_leaf *leaf_of(struct tmem_pool *pool, uint64_t object,
				 uint32_t block)
{
	const struct tmem_oid oid = scene_oid(object);
	struct tmem_key key = {
		.pool = ((struct tmem_use *)pool)->pool->id,
		.block = block,
		.oid = &oid,
	};
	uint32_t id;

	key.hash = tmem_index_hash(&store->index, key.pool, key.oid);
	id = tmem_index_find_leaf(
		&store->index, &store->index.shard[tmem_index_shard_of(&key)],
		&key);
	ck_assert_uint_ne(id, 0);
	return tmem_index_leaf(&store->index, id);
}

/* A whole lap in the background, as threads would do it. */
static void lap(void)
{
	store->cool.next = 0;
	while (tmem_cool_job(store) == 0)
		;
	ck_assert(!store->cool.lapping);
}

/* Use more than 7/8 of the budget, and much less again. */
#define BALLAST (57 * MIB)

static void tighten(void)
{
	tmem_budget_charge_private(&store->budget, BALLAST);
	tmem_cool_wake(store);
}

static void loosen(void)
{
	tmem_budget_uncharge_private(&store->budget, BALLAST);
}

START_TEST(cooled_pages_read_the_same_and_take_less)
{
	struct tmem_pool *pool;
	uint64_t payload;

	open_store(64 * MIB);
	pool = scene_pool(client, "p", 0);
	put_text(pool, 512, 1);
	payload = stat_of(TMEM_HOST_STAT_payload_bytes);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_lz4_contents), 512);
	ck_assert_uint_gt(tmem_cool_now(store, UINT64_MAX), 0);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_zstd_contents), 512);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_lz4_contents), 0);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_recompressed), 512);
	ck_assert_uint_lt(stat_of(TMEM_HOST_STAT_payload_bytes),
			  payload - payload / 8);
	scene_check(store);
	get_text(pool, 512, 1);
	tmem_pool_free(pool);
	close_store();
}
END_TEST

START_TEST(what_is_shared_is_cooled_once_and_for_all)
{
	struct tmem_client *other;
	struct tmem_pool *pool, *others;
	uint64_t a, b, stored;

	open_store(64 * MIB);
	other = scene_client(store, "b", NULL);
	pool = scene_pool(client, "p", 0);
	others = scene_pool(other, "p", 0);
	put_text(pool, 256, 1);
	put_text(others, 256, 1);
	tmem_cool_now(store, UINT64_MAX);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_recompressed), 256);
	get_text(pool, 256, 1);
	get_text(others, 256, 1);
	/* Both pay half of what it is now, and count all of its bytes. */
	a = scene_client_stat(store, "a", TMEM_CLIENT_STAT_charged);
	b = scene_client_stat(store, "b", TMEM_CLIENT_STAT_charged);
	ck_assert_uint_eq(a, b);
	ck_assert_uint_le(a + b, stat_of(TMEM_HOST_STAT_payload_bytes) +
					 UINT64_C(512) * TMEM_PAGE_OVERHEAD);
	stored = scene_pool_stat(pool, TMEM_POOL_STAT_stored_bytes);
	ck_assert_uint_eq(stored,
			  scene_pool_stat(others, TMEM_POOL_STAT_stored_bytes));
	ck_assert_uint_le(stored, stat_of(TMEM_HOST_STAT_payload_bytes));
	tmem_pool_free(pool);
	/* Sums follow what leaves now, and end at nothing. */
	ck_assert_uint_eq(tmem_flush_object(others, &(struct tmem_oid){0}),
			  TMEM_MISS);
	tmem_pool_free(others);
	tmem_client_free(other);
	close_store();
}
END_TEST

START_TEST(what_is_read_stays_warm)
{
	struct tmem_pool *pool;

	open_store(64 * MIB);
	pool = scene_pool(client, "p", 0);
	put_text(pool, 128, 1);
	tighten();
	get_text(pool, 64, 1);
	lap();
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_lz4_contents), 64);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_zstd_contents), 64);
	ck_assert_uint_eq(leaf_of(pool, 0, 0)->warm, 0);
	/* Read no more, it is cold at the next lap. */
	tmem_cool_wake(store);
	lap();
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_zstd_contents), 128);
	loosen();
	tmem_pool_free(pool);
	close_store();
}
END_TEST

START_TEST(an_idle_store_is_left_alone)
{
	struct tmem_pool *pool;

	open_store(64 * MIB);
	pool = scene_pool(client, "p", 0);
	put_text(pool, 128, 1);
	/* There is room. */
	tmem_cool_wake(store);
	ck_assert_int_eq(tmem_cool_job(store), TMEM_WORKER_NEVER);
	tighten();
	lap();
	/* All passed, and nothing put since. */
	ck_assert_int_eq(tmem_cool_job(store), TMEM_WORKER_NEVER);
	tmem_cool_wake(store);
	store->cool.next = UINT64_MAX / 2;
	ck_assert_int_ne(tmem_cool_job(store), 0);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_recompressed), 128);
	loosen();
	tmem_pool_free(pool);
	close_store();
}
END_TEST

static void *hold_cool(void *arg)
{
	pthread_barrier_t *held = arg;

	tmem_lock_acquire(&store->cool.lock);
	pthread_barrier_wait(held);
	pthread_barrier_wait(held);
	tmem_lock_release(&store->cool.lock);
	return NULL;
}

/* Who makes room for a put is at it. */
START_TEST(a_lap_waits_its_turn)
{
	pthread_barrier_t held;
	pthread_t thread;
	int ms;

	open_store(64 * MIB);
	tighten();
	pthread_barrier_init(&held, NULL, 2);
	ck_assert_int_eq(pthread_create(&thread, NULL, hold_cool, &held), 0);
	pthread_barrier_wait(&held);
	ms = tmem_cool_job(store);
	pthread_barrier_wait(&held);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&held);
	ck_assert_int_gt(ms, 0);
	ck_assert_int_lt(ms, 1000);
	lap();
	loosen();
	close_store();
}
END_TEST

START_TEST(a_lap_ends_when_the_budget_is_no_longer_tight)
{
	struct tmem_pool *pool;

	open_store(64 * MIB);
	pool = scene_pool(client, "p", 0);
	put_text(pool, 128, 1);
	tighten();
	for (int i = 0; i < 64 && !stat_of(TMEM_HOST_STAT_recompressed); i++)
		ck_assert_int_eq(tmem_cool_job(store), 0);
	loosen();
	ck_assert_int_eq(tmem_cool_job(store), TMEM_WORKER_NEVER);
	ck_assert_uint_lt(stat_of(TMEM_HOST_STAT_recompressed), 128);
	tmem_pool_free(pool);
	close_store();
}
END_TEST

START_TEST(raw_pools_stay_raw)
{
	struct tmem_pool *pool, *other;

	open_store(64 * MIB);
	pool = scene_pool_with(client, "raw", 0, TMEM_CODEC_RAW,
			       TMEM_DEDUP_OFF);
	other = scene_pool(client, "p", 0);
	put_text(pool, 64, 1);
	put_text(other, 64, 1000);
	tmem_cool_now(store, UINT64_MAX);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_raw_contents), 64);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_zstd_contents), 64);
	tmem_pool_free(pool);
	tmem_pool_free(other);
	close_store();
}
END_TEST

START_TEST(what_does_not_compress_is_tried_once)
{
	const struct tmem_oid oid = scene_oid(0);
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_pool *pool;

	open_store(64 * MIB);
	pool = scene_pool(client, "p", 0);
	test_page_of(page, TEST_PAGE_RANDOM, 1);
	ck_assert_int_eq(tmem_put(pool, &oid, 3, page), TMEM_OK);
	ck_assert_uint_eq(tmem_cool_now(store, UINT64_MAX), 0);
	ck_assert_uint_eq(leaf_of(pool, 0, 0)->tried, 1u << 3);
	scene_check(store);
	/* Another page there is another matter. */
	test_page_of(page, TEST_PAGE_TEXT, 1);
	ck_assert_int_eq(tmem_put(pool, &oid, 3, page), TMEM_OK);
	ck_assert_uint_eq(leaf_of(pool, 0, 0)->tried, 0);
	store->cool.dry = 0;
	ck_assert_uint_gt(tmem_cool_now(store, UINT64_MAX), 0);
	tmem_pool_free(pool);
	close_store();
}
END_TEST

START_TEST(busy_or_without_a_slot_a_page_waits_for_the_next_lap)
{
	struct tmem_pool *pool;
	uint32_t id;

	open_store(64 * MIB);
	pool = scene_pool(client, "p", 0);
	put_text(pool, 2, 1);
	id = atomic_load(&leaf_of(pool, 0, 0)->content[0]);
	tmem_content_pin(&store->contents, id);
	tmem_fault_arm(TMEM_FAULT_SLAB, 2, true);
	ck_assert_uint_eq(tmem_cool_now(store, UINT64_MAX), 0);
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, false);
	tmem_content_unpin(&store->contents, id);
	ck_assert_uint_eq(leaf_of(pool, 0, 0)->tried, 0);
	store->cool.dry = 0;
	ck_assert_uint_gt(tmem_cool_now(store, UINT64_MAX), 0);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_zstd_contents), 2);
	get_text(pool, 2, 1);
	tmem_pool_free(pool);
	close_store();
}
END_TEST

/* Persistent pages that a store takes before it refuses one. */
static unsigned capacity(bool no_cold)
{
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_pool *pool;
	unsigned stored = 0;

	open_store(16 * MIB);
	store->no_cold = no_cold;
	pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	for (;; stored++) {
		const struct tmem_oid oid = scene_oid(stored / 64);

		test_page_of(page, TEST_PAGE_TEXT, 1 + stored);
		if (tmem_put(pool, &oid, stored % 64, page) != TMEM_OK)
			break;
	}
	get_text(pool, stored, 1);
	tmem_pool_free(pool);
	close_store();
	return stored;
}

START_TEST(before_a_persistent_page_is_refused_others_are_cooled)
{
	unsigned warm = capacity(true), cooled = capacity(false);

	ck_assert_uint_gt(cooled, warm + warm / 10);
}
END_TEST

START_TEST(a_shrinking_budget_cools_what_it_may_not_evict)
{
	struct tmem_pool *pool;
	uint64_t used;

	open_store(64 * MIB);
	pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	put_text(pool, 8192, 1);
	used = stat_of(TMEM_HOST_STAT_used);
	ck_assert_int_eq(tmem_store_set_budget(store, used - used / 16), 0);
	ck_assert_uint_le(stat_of(TMEM_HOST_STAT_used), used - used / 16);
	get_text(pool, 8192, 1);
	tmem_pool_free(pool);
	close_store();
}
END_TEST

START_TEST(cooled_pages_are_there_after_reopening)
{
	struct tmem_pool *pool;
	int fd = test_arena_memfd();

	store = scene_store(64 * MIB, fd);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	put_text(pool, 256, 1);
	tmem_cool_now(store, UINT64_MAX);
	tmem_pool_free(pool);
	close_store();
	store = scene_store(64 * MIB, fd);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_zstd_contents), 256);
	scene_check(store);
	get_text(pool, 256, 1);
	tmem_pool_free(pool);
	close_store();
	close(fd);
}
END_TEST

static atomic_bool stop;

struct user {
	struct tmem_pool *pool;
	uint64_t seed;
};

/* Page i of a user is of seed + i, or missing. */
static void *use(void *arg)
{
	const struct user *user = arg;
	struct test_random random;

	test_random_init(&random, user->seed);
	for (unsigned n = 0; n < 40000; n++) {
		uint32_t i = (uint32_t)test_random_below(&random, 2048);

		switch (test_random_below(&random, 4)) {
		case 0:
			scene_flush_at(user->pool, i / 64, i % 64);
			break;
		case 1:
			ck_assert(scene_put_at(user->pool, i / 64, i % 64,
					       user->seed + i));
			break;
		default:
			scene_get_at(user->pool, i / 64, i % 64,
				     user->seed + i);
		}
	}
	atomic_store(&stop, true);
	return NULL;
}

START_TEST(nobody_notices)
{
	struct user user[3];
	pthread_t thread[3];

	open_store(64 * MIB);
	for (unsigned i = 0; i < 3; i++) {
		const char *const names[] = {"p", "q", "r"};

		/* The third shares the second's pages. */
		user[i].pool = scene_pool_with(client, names[i],
					       i ? 0 : TMEM_POOL_PERSISTENT,
					       TMEM_CODEC_NONE, TMEM_DEDUP_ON);
		user[i].seed = i ? 1 : 100000;
		ck_assert_int_eq(
			pthread_create(&thread[i], NULL, use, &user[i]), 0);
	}
	while (!atomic_load(&stop)) {
		store->cool.dry = 0;
		tmem_cool_now(store, UINT64_MAX);
		tmem_store_compact(store);
	}
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_gt(stat_of(TMEM_HOST_STAT_recompressed), 1000);
	ck_assert_uint_eq(stat_of(TMEM_HOST_STAT_decode_errors), 0);
	scene_check(store);
	for (unsigned i = 0; i < 3; i++)
		tmem_pool_free(user[i].pool);
	close_store();
}
END_TEST

START_TEST(threads_of_the_store_cool)
{
	struct tmem_store_config config;
	struct tmem_pool *pool;

	test_pages_init();
	tmem_store_config_init(&config);
	config.budget = 16 * MIB;
	config.threads = 1;
	config.nursery = 0;
	ck_assert_int_eq(tmem_store_open(&config, &store), 0);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", 0);
	/* Until it is tight; then evicting keeps it so. */
	for (uint64_t n = 0; !stat_of(TMEM_HOST_STAT_recompressed); n++)
		scene_put_at(pool, n / 64, n % 64, 1 + n);
	tmem_pool_free(pool);
	close_store();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		cooled_pages_read_the_same_and_take_less,
		what_is_shared_is_cooled_once_and_for_all,
		what_is_read_stays_warm,
		an_idle_store_is_left_alone,
		a_lap_waits_its_turn,
		a_lap_ends_when_the_budget_is_no_longer_tight,
		raw_pools_stay_raw,
		what_does_not_compress_is_tried_once,
		busy_or_without_a_slot_a_page_waits_for_the_next_lap,
		before_a_persistent_page_is_refused_others_are_cooled,
		a_shrinking_budget_cools_what_it_may_not_evict,
		cooled_pages_are_there_after_reopening,
		nobody_notices,
		threads_of_the_store_cool,
	};

	return SCENE_RUN("cool", tests);
}
