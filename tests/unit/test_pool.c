/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clients and pools: who may open what, what ends when, and what is never
 * used again.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>
#include "pages.h"
#include "scene.h"
#include "state.h"

static struct tmem_store *store;

static void setup(void)
{
	store = scene_store(16 * MIB, -1);
}

static void teardown(void)
{
	scene_close(store);
}

static int open_as(struct tmem_client *client, const char *name, uint32_t flags)
{
	const struct tmem_pool_config config = {.name = name, .flags = flags};
	struct tmem_pool *pool = NULL;
	int r = tmem_pool_new(client, &config, &pool);

	if (r == 0)
		tmem_pool_free(pool);
	return r;
}

START_TEST(bad_names_and_flags_are_refused)
{
	static const char *const bad[] = {"",	   "a b",  "a/b",
					  "tab\t", "\x7f", "\xc3\xa9"};
	struct tmem_client *client, *none;
	char longest[TMEM_NAME_MAX + 1];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct tmem_client_config config = {.name = bad[i]};

		ck_assert_int_eq(tmem_client_new_local(store, &config, &none),
				 -EINVAL);
	}
	memset(longest, 'x', sizeof(longest));
	longest[TMEM_NAME_MAX] = 0;
	client = scene_client(store, longest + 1, NULL);
	ck_assert_int_eq(open_as(client, longest, 0), -EINVAL);
	ck_assert_int_eq(open_as(client, longest + 1, 0), 0);
	ck_assert_int_eq(open_as(client, "p", 1u << 7), -EINVAL);
	ck_assert_int_eq(open_as(client, "p", TMEM_POOL_SHARED), -EINVAL);
	ck_assert_int_eq(open_as(client, "p",
				 TMEM_POOL_PERSISTENT | TMEM_POOL_EXCLUSIVE),
			 -EINVAL);
	tmem_client_free(client);
}
END_TEST

START_TEST(a_name_in_use_is_busy_and_another_user_has_his_own)
{
	struct tmem_client *client = scene_client(store, "a", NULL), *other;
	struct tmem_client_config config = {.name = "a", .uid = SCENE_UID};

	ck_assert_int_eq(tmem_client_new_local(store, &config, &other), -EBUSY);
	config.uid++;
	ck_assert_int_eq(tmem_client_new_local(store, &config, &other), 0);
	tmem_client_free(other);
	tmem_client_free(client);
	client = scene_client(store, "a", NULL);
	tmem_client_free(client);
}
END_TEST

START_TEST(an_open_pool_is_busy_and_other_flags_do_not_fit)
{
	struct tmem_client *client = scene_client(store, "a", NULL);
	struct tmem_pool *pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);

	ck_assert_int_eq(open_as(client, "p", TMEM_POOL_PERSISTENT), -EBUSY);
	ck_assert_int_eq(open_as(client, "p", 0), -EEXIST);
	tmem_pool_free(pool);
	ck_assert_int_eq(open_as(client, "p", 0), -EEXIST);
	ck_assert_int_eq(open_as(client, "p", TMEM_POOL_PERSISTENT), 0);
	ck_assert_int_eq(
		tmem_store_destroy_client(store, scene_client_id(store, "a")),
		-EBUSY);
	tmem_client_free(client);
	ck_assert_int_eq(
		tmem_store_destroy_client(store, scene_client_id(store, "a")),
		0);
	ck_assert_uint_eq(scene_client_id(store, "a"), 0);
}
END_TEST

START_TEST(an_unauthorised_join_fails_and_makes_nothing)
{
	struct tmem_client *a = scene_client(store, "a", NULL);
	struct tmem_client *b = scene_client(store, "b", NULL);
	struct tmem_pool *pool_a, *pool_b = NULL;
	const struct tmem_uuid uuid = {.byte = {9}};

	scene_authorise(store, "a", 9);
	ck_assert_int_eq(scene_shared(b, 9, 0, &pool_b), -EPERM);
	ck_assert_uint_eq(scene_pool_id(store, "shared"), 0);
	ck_assert_int_eq(scene_shared(a, 9, 0, &pool_a), 0);
	ck_assert_int_eq(scene_shared(b, 9, 0, &pool_b), -EPERM);
	/* Another user's client of that name is another client. */
	ck_assert_int_eq(
		tmem_store_shared_auth(store, SCENE_UID + 1, "b", &uuid, true),
		0);
	ck_assert_int_eq(scene_shared(b, 9, 0, &pool_b), -EPERM);
	ck_assert_int_eq(
		tmem_store_shared_auth(store, SCENE_UID + 1, "b", &uuid, false),
		0);
	ck_assert_int_eq(
		tmem_store_shared_auth(store, SCENE_UID + 1, "b", &uuid, false),
		-ENOENT);
	scene_authorise(store, "b", 9);
	ck_assert_int_eq(scene_shared(b, 9, TMEM_POOL_PERSISTENT, &pool_b),
			 -EEXIST);
	ck_assert_int_eq(scene_shared(b, 9, 0, &pool_b), 0);
	ck_assert_int_eq(scene_shared(b, 9, 0, &pool_b), -EBUSY);
	/* Forbidding does not throw out who is in. */
	ck_assert_int_eq(
		tmem_store_shared_auth(store, SCENE_UID, "b", &uuid, false), 0);
	ck_assert(scene_put_at(pool_b, 1, 1, 5));
	ck_assert(scene_get_at(pool_a, 1, 1, 5));
	tmem_pool_free(pool_b);
	ck_assert_int_eq(scene_shared(b, 9, 0, &pool_b), -EPERM);
	tmem_pool_free(pool_a);
	tmem_client_free(a);
	tmem_client_free(b);
}
END_TEST

START_TEST(ephemeral_pools_end_with_their_last_user)
{
	struct tmem_client *a = scene_client(store, "a", NULL);
	struct tmem_client *b = scene_client(store, "b", NULL);
	struct tmem_pool *pool, *pool_b;

	pool = scene_pool(a, "private", 0);
	ck_assert(scene_put_at(pool, 1, 1, 5));
	tmem_pool_free(pool);
	ck_assert_uint_eq(scene_pool_id(store, "private"), 0);
	pool = scene_pool(a, "private", 0);
	ck_assert(!scene_get_at(pool, 1, 1, 5));
	tmem_pool_free(pool);

	scene_authorise(store, "a", 1);
	scene_authorise(store, "b", 1);
	ck_assert_int_eq(scene_shared(a, 1, 0, &pool), 0);
	ck_assert_int_eq(scene_shared(b, 1, 0, &pool_b), 0);
	ck_assert(scene_put_at(pool, 1, 1, 5));
	tmem_pool_free(pool);
	ck_assert(scene_get_at(pool_b, 1, 1, 5));
	tmem_pool_free(pool_b);
	ck_assert_uint_eq(scene_pool_id(store, "shared"), 0);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_pages), 0);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_puts), 2);
	tmem_client_free(a);
	tmem_client_free(b);
	ck_assert_uint_eq(scene_client_id(store, "a"), 0);
}
END_TEST

START_TEST(a_persistent_pool_waits_for_its_client)
{
	struct tmem_client *client = scene_client(store, "a", NULL);
	struct tmem_pool *pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);

	for (unsigned i = 0; i < 500; i++)
		ck_assert(scene_put_at(pool, i, i, i));
	tmem_pool_free(pool);
	tmem_client_free(client);
	ck_assert_uint_ne(scene_client_id(store, "a"), 0);
	ck_assert_uint_eq(scene_client_stat(store, "a", TMEM_CLIENT_STAT_pages),
			  500);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	for (unsigned i = 0; i < 500; i++)
		ck_assert(scene_get_at(pool, i, i, i));
	ck_assert_int_eq(tmem_pool_destroy(pool), 0);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_pages), 0);
	pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	ck_assert(!scene_get_at(pool, 1, 1, 1));
	ck_assert_int_eq(tmem_pool_destroy(pool), 0);
	tmem_client_free(client);
	ck_assert_uint_eq(scene_client_id(store, "a"), 0);
}
END_TEST

START_TEST(destroying_a_shared_persistent_pool_flushes_it_and_keeps_it)
{
	struct tmem_client *client = scene_client(store, "a", NULL);
	struct tmem_pool *pool;
	uint32_t id;

	scene_authorise(store, "a", 1);
	ck_assert_int_eq(scene_shared(client, 1, TMEM_POOL_PERSISTENT, &pool),
			 0);
	ck_assert(scene_put_at(pool, 1, 1, 5));
	id = scene_pool_id(store, "shared");
	ck_assert_int_eq(tmem_store_destroy_pool(store, id), -EBUSY);
	ck_assert_int_eq(tmem_pool_destroy(pool), 0);
	ck_assert_uint_eq(scene_pool_id(store, "shared"), id);
	ck_assert_int_eq(scene_shared(client, 1, TMEM_POOL_PERSISTENT, &pool),
			 0);
	ck_assert(!scene_get_at(pool, 1, 1, 5));
	tmem_pool_free(pool);
	ck_assert_int_eq(tmem_store_destroy_pool(store, id), 0);
	ck_assert_int_eq(tmem_store_destroy_pool(store, id), -ENOENT);
	tmem_client_free(client);
}
END_TEST

START_TEST(the_administrator_flushes_a_pool_in_use)
{
	struct tmem_client *client = scene_client(store, "a", NULL);
	struct tmem_pool *pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	uint32_t id = scene_pool_id(store, "p");

	for (unsigned i = 0; i < 2000; i++)
		ck_assert(scene_put_at(pool, i / 100, i, i));
	ck_assert_int_eq(tmem_store_flush_pool(store, id), 0);
	for (unsigned i = 0; i < 2000; i++)
		ck_assert(!scene_get_at(pool, i / 100, i, i));
	ck_assert(scene_put_at(pool, 1, 1, 1));
	ck_assert_int_eq(tmem_store_flush_pool(store, id + 1), -ENOENT);
	tmem_pool_free(pool);
	tmem_client_free(client);
}
END_TEST

#define GROUPS 20u /* of 64 neighbouring pages, all in shard 0 */

static uint64_t object_of[GROUPS];

/* Objects whose first 64 pages lie in shard 0. */
static void find_objects(uint32_t pool)
{
	uint64_t object = 0;

	for (unsigned g = 0; g < GROUPS; g++) {
		struct tmem_key key = {.pool = pool};
		struct tmem_oid oid;

		do {
			oid = scene_oid(++object);
			key.hash = tmem_index_hash(&store->index, pool, &oid);
		} while (tmem_index_shard_of(&key) != 0);
		object_of[g] = object;
	}
}

/* A page that eviction took, whose leaf the ghost remembers. */
static unsigned evicted_page(struct tmem_pool_state *state)
{
	for (unsigned n = 0; n < GROUPS * 64; n += TMEM_LEAF_PAGES) {
		const struct tmem_oid oid = scene_oid(object_of[n / 64]);
		const struct tmem_key key = {
			.pool = state->id,
			.block = n % 64 / TMEM_LEAF_PAGES,
			.oid = &oid,
			.hash = tmem_index_hash(&store->index, state->id, &oid),
		};

		if (!tmem_index_find_leaf(&store->index, &store->index.shard[0],
					  &key) &&
		    tmem_ghost_of(&state->shard[0].ghost,
				  tmem_index_name(&key)))
			return n;
	}
	ck_abort_msg("the ghost remembers nothing");
}

static void *flush_pool(void *arg)
{
	const struct tmem_pool_state *state = arg;

	ck_assert_int_eq(tmem_store_flush_pool(store, state->id), 0);
	return NULL;
}

static pthread_barrier_t held, done;

/* Keep contents from being freed. */
static void *hold_contents(void *arg)
{
	(void)arg;
	tmem_lock_acquire(&store->contents.table.lock);
	pthread_barrier_wait(&held);
	pthread_barrier_wait(&done);
	tmem_lock_release(&store->contents.table.lock);
	return NULL;
}

/* A page that comes while a pool is flushed, and which eviction takes for an
 * old acquaintance, is not flushed in the place of one that was there. */
START_TEST(what_comes_during_a_flush_saves_nothing_from_it)
{
	struct tmem_client *client = scene_client(store, "a", NULL);
	struct tmem_pool *pool = scene_pool(client, "p", 0);
	struct tmem_pool *other = scene_pool(client, "q", 0);
	struct tmem_pool_state *state =
		tmem_store_pool(store, scene_pool_id(store, "p"));
	const struct tmem_queue *queue = &state->shard[0].queue;
	uint8_t page[TMEM_PAGE_SIZE] = {0};
	pthread_t flusher, holder;
	struct tmem_oid oid;
	uint64_t released;
	uint32_t leaves;
	unsigned n;

	find_objects(state->id);
	for (n = 0; n < GROUPS * 64; n++) {
		oid = scene_oid(object_of[n / 64]);
		test_page_of(page, TEST_PAGE_RANDOM, n + 1);
		ck_assert_int_eq(tmem_put(pool, &oid, n % 64, page), TMEM_OK);
	}
	ck_assert_int_eq(tmem_store_reclaim(store, MIB, &released), 0);
	n = evicted_page(state);
	memset(page, 0, sizeof(page));
	oid = scene_oid(1);
	ck_assert_int_eq(tmem_put(other, &oid, 0, page), TMEM_OK);
	leaves = queue->count;
	pthread_barrier_init(&held, NULL, 2);
	pthread_barrier_init(&done, NULL, 2);
	pthread_create(&holder, NULL, hold_contents, NULL);
	pthread_barrier_wait(&held);
	pthread_create(&flusher, NULL, flush_pool, state);
	while (queue->count > leaves - TMEM_SLAB_BATCH / TMEM_LEAF_PAGES)
		sched_yield();
	/* A fill page that is there already needs no new content. */
	memset(page, 0, sizeof(page));
	oid = scene_oid(object_of[n / 64]);
	ck_assert_int_eq(tmem_put(pool, &oid, n % 64, page), TMEM_OK);
	pthread_barrier_wait(&done);
	pthread_join(holder, NULL);
	pthread_join(flusher, NULL);
	for (unsigned i = 0; i < GROUPS * 64; i++) {
		oid = scene_oid(object_of[i / 64]);
		if (i != n)
			ck_assert_int_eq(tmem_get(pool, &oid, i % 64, page),
					 TMEM_MISS);
	}
	pthread_barrier_destroy(&held);
	pthread_barrier_destroy(&done);
	tmem_pool_free(pool);
	tmem_pool_free(other);
	tmem_client_free(client);
}
END_TEST

START_TEST(pool_ids_are_not_used_twice)
{
	struct tmem_client *client = scene_client(store, "a", NULL);
	uint32_t seen[200];

	for (unsigned i = 0; i < 200; i++) {
		struct tmem_pool *pool = scene_pool(client, "p", 0);

		seen[i] = scene_pool_id(store, "p");
		for (unsigned j = 0; j < i; j++)
			ck_assert_uint_ne(seen[i], seen[j]);
		tmem_pool_free(pool);
	}
	tmem_client_free(client);
}
END_TEST

START_TEST(at_the_most_pools_one_more_is_refused)
{
	const struct tmem_pool_config config = {.name = "one-more"};
	const struct tmem_client_config root = {.name = "a"};
	struct tmem_client *client;
	static struct tmem_pool *pool[4097];
	unsigned count = 0;
	char name[16];
	int r = 0;

	ck_assert_int_eq(tmem_store_set_budget(store, 128 * MIB), 0);
	ck_assert_int_eq(tmem_client_new_local(store, &root, &client), 0);
	while (r == 0 && count < 4097) {
		struct tmem_pool_config numbered = {.name = name};

		snprintf(name, sizeof(name), "p%u", count);
		r = tmem_pool_new(client, &numbered, &pool[count]);
		count += r == 0;
	}
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_eq(count, 4096);
	tmem_pool_free(pool[17]);
	ck_assert_int_eq(tmem_pool_new(client, &config, &pool[17]), 0);
	while (count--)
		tmem_pool_free(pool[count]);
	tmem_client_free(client);
}
END_TEST

/* A user who has as many pools as he gets. */
struct taker {
	struct tmem_client *client;
	struct tmem_pool *pool[4096];
	unsigned pools;
};

static unsigned take_pools(struct taker *taker, uid_t uid)
{
	struct tmem_client_config config = {.name = "a", .uid = uid};
	struct tmem_pool_config numbered = {0};
	char name[16];
	int r = 0;

	ck_assert_int_eq(tmem_client_new_local(store, &config, &taker->client),
			 0);
	numbered.name = name;
	for (taker->pools = 0; r == 0 && taker->pools < 4096;) {
		snprintf(name, sizeof(name), "p%u", taker->pools);
		r = tmem_pool_new(taker->client, &numbered,
				  &taker->pool[taker->pools]);
		taker->pools += r == 0;
	}
	return taker->pools;
}

static unsigned take_clients(uid_t uid)
{
	struct tmem_client_config config = {.uid = uid};
	struct tmem_client *client[1024];
	unsigned count = 0, taken;
	char name[16];
	int r = 0;

	config.name = name;
	while (r == 0 && count < 1024) {
		snprintf(name, sizeof(name), "c%u", count);
		r = tmem_client_new_local(store, &config, &client[count]);
		count += r == 0;
	}
	taken = count;
	while (count--)
		tmem_client_free(client[count]);
	return taken;
}

START_TEST(a_user_leaves_some_for_others)
{
	static const unsigned gets[] = {1024, 1024, 1024, 1024, 0};
	static struct taker taker[5];

	ck_assert_int_eq(tmem_store_set_budget(store, 128 * MIB), 0);
	ck_assert_uint_eq(take_clients(SCENE_UID), 256);
	ck_assert_uint_eq(take_clients(0), 1024);
	for (uid_t uid = 1; uid < 5; uid++)
		ck_assert_uint_eq(take_pools(&taker[uid], uid), gets[uid]);
	/* Root gets what the others had to leave. */
	ck_assert_uint_eq(take_pools(&taker[0], 0), gets[0]);
	for (unsigned i = 0; i < 5; i++) {
		while (taker[i].pools--)
			tmem_pool_free(taker[i].pool[taker[i].pools]);
		tmem_client_free(taker[i].client);
	}
}
END_TEST

START_TEST(without_budget_for_a_pool_ephemeral_pages_make_room)
{
	struct tmem_client *client = scene_client(store, "a", NULL);
	struct tmem_pool *cache = scene_pool(client, "cache", 0);
	struct tmem_pool *pool[300];
	char name[16];

	for (unsigned i = 0; i < 12000; i++)
		scene_put_at(cache, i / 64, i % 64, i);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		pool[i] = scene_pool(client, name, 0);
	}
	for (unsigned i = 0; i < 300; i++)
		tmem_pool_free(pool[i]);
	tmem_pool_free(cache);
	tmem_client_free(client);
}
END_TEST

START_TEST(exclusive_gets_remove_and_others_do_not)
{
	struct tmem_client *client = scene_client(store, "a", NULL);
	struct tmem_pool *exclusive =
		scene_pool(client, "x", TMEM_POOL_EXCLUSIVE);
	struct tmem_pool *inclusive = scene_pool(client, "i", 0);

	for (unsigned i = 0; i < 100; i++) {
		ck_assert(scene_put_at(exclusive, 1, i, i));
		ck_assert(scene_put_at(inclusive, 1, i, i));
	}
	for (unsigned i = 0; i < 100; i++) {
		ck_assert(scene_get_at(exclusive, 1, i, i));
		ck_assert(!scene_get_at(exclusive, 1, i, i));
		ck_assert(scene_get_at(inclusive, 1, i, i));
		ck_assert(scene_get_at(inclusive, 1, i, i));
	}
	ck_assert_uint_eq(scene_pool_stat(exclusive, TMEM_POOL_STAT_pages), 0);
	ck_assert_uint_eq(scene_pool_stat(exclusive, TMEM_POOL_STAT_peak_pages),
			  100);
	ck_assert_uint_eq(scene_pool_stat(exclusive, TMEM_POOL_STAT_hits), 100);
	ck_assert_uint_eq(scene_pool_stat(exclusive, TMEM_POOL_STAT_gets), 200);
	ck_assert_uint_eq(scene_pool_stat(exclusive, TMEM_POOL_STAT_flushes),
			  0);
	tmem_pool_free(exclusive);
	tmem_pool_free(inclusive);
	tmem_client_free(client);
}
END_TEST

static void *come_and_go(void *arg)
{
	char name[16];

	snprintf(name, sizeof(name), "c%u", *(unsigned *)arg);
	for (unsigned i = 0; i < 200; i++) {
		struct tmem_client *client = scene_client(store, name, NULL);
		struct tmem_pool *pool = scene_pool(
			client, "p", i % 2 ? TMEM_POOL_PERSISTENT : 0);

		for (unsigned j = 0; j < 20; j++)
			scene_put_at(pool, j, i, i * 20 + j);
		ck_assert_int_eq(tmem_pool_destroy(pool), 0);
		tmem_client_free(client);
	}
	return NULL;
}

START_TEST(clients_come_and_go_beside_eviction_and_statistics)
{
	unsigned number[3] = {0, 1, 2};
	pthread_t thread[3];

	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, come_and_go,
						&number[i]),
				 0);
	for (unsigned i = 0; i < 300; i++) {
		uint64_t released;

		scene_stat(store, TMEM_HOST_STAT_used);
		scene_client_stat(store, "c1", TMEM_CLIENT_STAT_charged);
		scene_pool_id(store, "p");
		ck_assert_int_eq(tmem_store_reclaim(store, 4096, &released), 0);
	}
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_puts), 3 * 4000);
	ck_assert_uint_eq(scene_client_id(store, "c1"), 0);
}
END_TEST

START_TEST(settings_out_of_range_change_nothing)
{
	struct tmem_client *client = scene_client(store, "a", NULL);
	const struct tmem_client_settings bad[] = {
		{.set = TMEM_SET_WEIGHT, .weight = 0},
		{.set = TMEM_SET_WEIGHT, .weight = 10001},
		{.set = TMEM_SET_CAP, .cap = UINT64_MAX},
		{.set = TMEM_SET_MAXMEM, .maxmem = UINT64_MAX},
		{.set = TMEM_SET_CODEC, .codec = TMEM_CODEC_FILL},
		{.set = TMEM_SET_CODEC, .codec = TMEM_CODEC_COUNT},
		{.set = TMEM_SET_DEDUP, .dedup = (enum tmem_dedup)3},
		{.set = 1u << 30},
	};
	struct tmem_client_settings good = {.set = TMEM_SET_WEIGHT,
					    .weight = 7};
	uint32_t id = scene_client_id(store, "a");
	struct tmem_client_info *info;
	size_t count;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(tmem_store_client_set(store, id, &bad[i]),
				 -EINVAL);
	ck_assert_int_eq(tmem_store_client_set(store, id + 1, &good), -ENOENT);
	ck_assert_int_eq(tmem_store_client_set(store, id, &good), 0);
	ck_assert_int_eq(tmem_store_clients(store, &info, NULL, &count), 0);
	ck_assert_uint_eq(count, 1);
	ck_assert_uint_eq(info->settings.weight, 7);
	ck_assert_uint_eq(info->settings.cap, 0);
	ck_assert_str_eq(info->name, "a");
	ck_assert(info->connected);
	free(info);
	tmem_client_free(client);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		bad_names_and_flags_are_refused,
		a_name_in_use_is_busy_and_another_user_has_his_own,
		an_open_pool_is_busy_and_other_flags_do_not_fit,
		an_unauthorised_join_fails_and_makes_nothing,
		ephemeral_pools_end_with_their_last_user,
		a_persistent_pool_waits_for_its_client,
		destroying_a_shared_persistent_pool_flushes_it_and_keeps_it,
		the_administrator_flushes_a_pool_in_use,
		what_comes_during_a_flush_saves_nothing_from_it,
		pool_ids_are_not_used_twice,
		at_the_most_pools_one_more_is_refused,
		a_user_leaves_some_for_others,
		without_budget_for_a_pool_ephemeral_pages_make_room,
		exclusive_gets_remove_and_others_do_not,
		clients_come_and_go_beside_eviction_and_statistics,
		settings_out_of_range_change_nothing,
	};

	return scene_run_between("pool", setup, teardown, tests,
				 sizeof(tests) / sizeof(tests[0]));
}
