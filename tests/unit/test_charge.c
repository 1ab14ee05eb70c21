/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What pages cost whom, when contents and pools are shared; recounts. */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "pages.h"
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

START_TEST(a_shared_content_is_charged_in_equal_parts)
{
	struct tmem_client *client[3];
	struct tmem_pool *pool[3];
	static const char *const names[] = {"a", "b", "alone"};

	store = scene_store(64 * MIB, -1);
	for (unsigned i = 0; i < 3; i++) {
		client[i] = scene_client(store, names[i], NULL);
		pool[i] = scene_pool(client[i], "p", 0);
	}
	for (unsigned i = 0; i < 2000; i++) {
		scene_put_at(pool[0], i / 64, i % 64, i);
		scene_put_at(pool[1], i / 64, i % 64, i);
		scene_put_at(pool[2], i / 64, i % 64, 100000 + i);
	}
	ck_assert_uint_eq(charged("a"), charged("b"));
	ck_assert_uint_lt(charged("a"), charged("alone") * 6 / 10);
	ck_assert_uint_gt(charged("a"), charged("alone") * 4 / 10);
	/* Who is left pays all of it. */
	tmem_pool_free(pool[1]);
	ck_assert_uint_gt(charged("a"), charged("alone") * 9 / 10);
	tmem_pool_free(pool[0]);
	tmem_pool_free(pool[2]);
	for (unsigned i = 0; i < 3; i++)
		tmem_client_free(client[i]);
	scene_close(store);
}
END_TEST

START_TEST(a_shared_pool_is_charged_to_all_who_joined)
{
	struct tmem_client *a, *b;
	struct tmem_pool *pool_a, *pool_b;

	store = scene_store(64 * MIB, -1);
	a = scene_client(store, "a", NULL);
	b = scene_client(store, "b", NULL);
	scene_authorise(store, "a", 1);
	scene_authorise(store, "b", 1);
	ck_assert_int_eq(scene_shared(a, 1, 0, &pool_a), 0);
	ck_assert_int_eq(scene_shared(b, 1, 0, &pool_b), 0);
	scene_fill(pool_a, 1000, 1);
	ck_assert_uint_eq(scene_held(pool_b, 1000, 1), 1000);
	ck_assert_uint_eq(pages("a"), 500);
	ck_assert_uint_eq(pages("b"), 500);
	ck_assert_uint_eq(charged("a"), charged("b"));
	/* The cap of one holds for its part. */
	set_client("b", (struct tmem_client_settings){.set = TMEM_SET_MAXMEM,
						      .maxmem = 600 * 4096});
	for (unsigned i = 1000; i < 2000; i++)
		scene_put_at(pool_b, i / 64, i % 64, 1 + i);
	ck_assert_uint_le(pages("b"), 600);
	tmem_pool_free(pool_a);
	ck_assert_uint_le(pages("b"), 1200);
	tmem_pool_free(pool_b);
	tmem_client_free(a);
	tmem_client_free(b);
	scene_close(store);
}
END_TEST

static atomic_bool stop;

/* Put and flush raw pages that nobody shares, over more and more leaves. */
static void *come_and_go(void *arg)
{
	struct tmem_pool *pool = arg;
	uint8_t page[TMEM_PAGE_SIZE];
	struct test_random random;

	test_random_init(&random, 1);
	for (unsigned i = 0; i < 60000; i++) {
		struct tmem_oid oid = {{test_random_below(&random, 1 + i / 3)}};
		uint32_t index = (uint32_t)test_random_below(&random, 8);

		if (test_random_below(&random, 3)) {
			test_page_of(page, TEST_PAGE_RANDOM, 1 + i);
			ck_assert_int_eq(tmem_put(pool, &oid, index, page),
					 TMEM_OK);
		} else {
			ck_assert_int_ge(tmem_flush(pool, &oid, index), 0);
		}
	}
	atomic_store(&stop, true);
	return NULL;
}

START_TEST(recounts_miss_nothing_that_changes_meanwhile)
{
	const struct tmem_client_state *state;
	struct tmem_client *raw, *sharing;
	struct tmem_pool *raw_pool, *pool;
	unsigned recounts = 0;
	pthread_t thread;

	store = scene_store(160 * MIB, -1);
	raw = scene_client(store, "raw", NULL);
	sharing = scene_client(store, "sharing", NULL);
	raw_pool = scene_pool_with(raw, "p", 0, TMEM_CODEC_RAW, TMEM_DEDUP_OFF);
	pool = scene_pool(sharing, "p", 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, come_and_go, raw_pool),
			 0);
	while (!atomic_load(&stop)) {
		/* Recounts, once enough handles have come and gone. */
		charged("sharing");
		recounts++;
		for (unsigned i = 0; i < 2000; i++)
			scene_put_at(pool, 1, i, 1 + i % 7);
		for (unsigned i = 0; i < 2000; i++)
			scene_flush_at(pool, 1, i);
	}
	pthread_join(thread, NULL);
	ck_assert_uint_gt(recounts, 5);
	/* As it stands, before another recount mends it. */
	state = store->client[tmem_client_slot(scene_client_id(store, "raw"))];
	ck_assert_int_eq(state->charge,
			 state->pages * (TMEM_PAGE_SIZE + TMEM_PAGE_OVERHEAD));
	tmem_pool_free(raw_pool);
	tmem_pool_free(pool);
	tmem_client_free(raw);
	tmem_client_free(sharing);
	scene_close(store);
}
END_TEST

static void *list_clients(void *ctx)
{
	struct tmem_client_info *infos = NULL;
	uint64_t *values = NULL;
	size_t count;
	int r = tmem_store_clients(ctx, &infos, &values, &count);

	free(infos);
	free(values);
	return r == 0 ? NULL : ctx;
}

/* What takes the admin lock: were it held by the recount, this would never
 * end. */
static void *open_and_leave(void *ctx)
{
	struct tmem_client *client = scene_client(ctx, "other", NULL);
	struct tmem_pool *pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);

	tmem_pool_free(pool);
	tmem_client_free(client);
	return NULL;
}

/* A recount that waits in the middle of its walk, here for a shard. */
START_TEST(who_recounts_holds_nobody_up)
{
	struct tmem_client *client;
	struct tmem_shard *shard;
	struct tmem_pool *pool;
	pthread_t lists, comes;
	uint64_t waits;
	void *failed;

	store = scene_store(32 * MIB, -1);
	client = scene_client(store, "sharing", NULL);
	pool = scene_pool(client, "p", 0);
	shard = &store->index.shard[TMEM_SHARDS / 2];
	/* Few contents: drift. */
	for (uint32_t i = 0; i < 200; i++)
		scene_put_at(pool, 1, i, 1 + i % 7);
	ck_assert_uint_gt(store->drift, 100);
	tmem_lock_acquire(&shard->lock);
	waits = tmem_lock_contended(TMEM_LOCK_SHARD);
	ck_assert_int_eq(pthread_create(&lists, NULL, list_clients, store), 0);
	while (tmem_lock_contended(TMEM_LOCK_SHARD) == waits)
		sched_yield();
	ck_assert_int_eq(pthread_create(&comes, NULL, open_and_leave, store),
			 0);
	ck_assert_int_eq(pthread_join(comes, &failed), 0);
	ck_assert_ptr_null(failed);
	tmem_lock_release(&shard->lock);
	ck_assert_int_eq(pthread_join(lists, &failed), 0);
	ck_assert_ptr_null(failed);
	ck_assert_uint_eq(store->drift, 0);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_shared_content_is_charged_in_equal_parts,
		a_shared_pool_is_charged_to_all_who_joined,
		recounts_miss_nothing_that_changes_meanwhile,
		who_recounts_holds_nobody_up,
	};

	return scene_run("charge", tests, sizeof(tests) / sizeof(tests[0]));
}
