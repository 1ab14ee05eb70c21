/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room that owners of persistent pools make: who is told, and when; how much
 * there is; and which pages are named coldest.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "scene.h"

#define PAGES 4096u

static struct tmem_store *store;
static struct tmem_client *client;
static struct tmem_pool *pool;
static int bell;

static void set_up(void)
{
	store = scene_store(8 * MIB, -1);
	client = scene_client(store, "a", NULL);
	pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ck_assert_int_ge(bell, 0);
	ck_assert_int_eq(tmem_pool_watch(pool, bell), 0);
}

static void tear_down(void)
{
	tmem_pool_free(pool);
	close(bell);
	tmem_client_free(client);
	scene_close(store);
}

static bool rang(void)
{
	eventfd_t value;

	return eventfd_read(bell, &value) == 0;
}

static struct tmem_room room(void)
{
	struct tmem_room out;

	ck_assert_int_eq(tmem_pool_room(pool, &out), 0);
	return out;
}

/* Replace-puts of pages that do not compress, until one is refused. Returns how
 * many were not. */
static uint32_t fill(void)
{
	uint32_t n = 0;

	while (scene_put_random(pool, n, n + 1) == TMEM_OK)
		n++;
	return n;
}

/* Put further pages until one is refused: who was before may have left a slot
 * or two. */
static void fill_up(void)
{
	uint32_t n = PAGES;

	while (scene_put_random(pool, n, 1) == TMEM_OK)
		n++;
}

/* Flush the coldest pages until there is room for bytes. */
static uint32_t make_room(int64_t bytes)
{
	const struct tmem_oid oid = {{1, 2, 3}};
	uint32_t index[64], flushed = 0;
	int n;

	while (room().free < bytes) {
		n = tmem_pool_coldest(pool, &oid, index, 64);
		ck_assert_int_gt(n, 0);
		for (int i = 0; i < n; i++)
			ck_assert_int_eq(tmem_flush(pool, &oid, index[i]),
					 TMEM_OK);
		flushed += (uint32_t)n;
	}
	return flushed;
}

START_TEST(refusal_tells_once_until_asked)
{
	uint32_t n;

	scene_put_random(pool, 0, 1);
	ck_assert(!rang());
	n = fill();
	ck_assert_uint_gt(n, 1000);
	ck_assert(rang());
	fill_up();
	ck_assert(!rang());
	ck_assert_int_lt(room().free, (int64_t)MIB / 4);
	fill_up();
	ck_assert(rang());
}
END_TEST

START_TEST(room_that_is_made_serves_puts)
{
	fill();
	ck_assert_uint_ge(make_room(MIB), 200);
	for (uint32_t i = 0; i < 200; i++)
		ck_assert_int_eq(scene_put_random(pool, PAGES + i, 1 + i),
				 TMEM_OK);
}
END_TEST

START_TEST(smaller_budget_tells)
{
	for (uint32_t i = 0; i < 1500; i++)
		ck_assert_int_eq(scene_put_random(pool, i, 1 + i), TMEM_OK);
	ck_assert_int_eq(tmem_store_set_budget(store, 7 * MIB), 0);
	ck_assert(!rang());
	ck_assert_int_eq(tmem_store_set_budget(store, 4 * MIB), -ENOMEM);
	ck_assert(rang());
	ck_assert_uint_eq(room().limit, 4 * MIB);
	ck_assert_int_lt(room().free, -(int64_t)MIB);
	make_room(0);
	/* What is left over goes back when the budget is set again. */
	ck_assert_int_eq(tmem_store_set_budget(store, 4 * MIB), 0);
}
END_TEST

START_TEST(lower_cap_tells)
{
	struct tmem_client_settings cap = {.set = TMEM_SET_CAP, .cap = MIB};

	for (uint32_t i = 0; i < 500; i++)
		ck_assert_int_eq(scene_put_random(pool, i, 1 + i), TMEM_OK);
	ck_assert_int_eq(
		tmem_store_client_set(store, scene_client_id(store, "a"), &cap),
		0);
	ck_assert(rang());
	ck_assert_uint_eq(room().limit, MIB);
	ck_assert_int_lt(room().free, 0);
	ck_assert_int_eq(scene_put_random(pool, 500, 1), TMEM_REFUSED);
	ck_assert(rang());
	make_room((int64_t)MIB / 8);
	ck_assert_int_eq(scene_put_random(pool, 500, 1), TMEM_OK);
}
END_TEST

START_TEST(what_ephemeral_pages_have_is_room)
{
	struct tmem_pool *cache = scene_pool(client, "c", 0);

	for (uint32_t i = 0; i < PAGES; i++)
		scene_put_random(cache, i, 1 + i);
	ck_assert(!rang());
	ck_assert_int_gt(room().free, 6 * (int64_t)MIB);
	tmem_pool_free(cache);
}
END_TEST

START_TEST(pages_in_use_are_named_last)
{
	const struct tmem_oid oid = {{1, 2, 3}};
	uint32_t index[TMEM_RUN_MAX];
	bool named[256] = {0};
	int n, cold = 0;

	for (uint32_t i = 0; i < 256; i++)
		scene_put_random(pool, i, 1 + i);
	for (uint32_t i = 0; i < 64; i++)
		ck_assert_uint_eq(scene_get(pool, i), 1 + i);
	for (uint32_t i = 64; i < 128; i++)
		scene_put_random(pool, i, 1 + i);
	while (cold < 128) {
		n = tmem_pool_coldest(pool, &oid, index, TMEM_COLDEST_MIN);
		ck_assert_int_gt(n, 0);
		for (int i = 0; i < n; i++) {
			ck_assert_uint_ge(index[i], 128);
			ck_assert_uint_lt(index[i], 256);
			ck_assert(!named[index[i]]);
			named[index[i]] = true;
			ck_assert_int_eq(tmem_flush(pool, &oid, index[i]),
					 TMEM_OK);
		}
		cold += n;
	}
	/* They are what is left. */
	while (cold < 256) {
		n = tmem_pool_coldest(pool, &oid, index, TMEM_RUN_MAX);
		ck_assert_int_gt(n, 0);
		for (int i = 0; i < n; i++)
			ck_assert_int_eq(tmem_flush(pool, &oid, index[i]),
					 TMEM_OK);
		cold += n;
	}
}
END_TEST

START_TEST(other_objects_are_not_named)
{
	const struct tmem_oid other = scene_oid(7);
	uint32_t index[TMEM_COLDEST_MIN];

	scene_put_random(pool, 0, 1);
	ck_assert_int_eq(
		tmem_pool_coldest(pool, &other, index, TMEM_COLDEST_MIN), 0);
	ck_assert_int_eq(tmem_pool_coldest(pool, &other, index, 7), -EINVAL);
}
END_TEST

START_TEST(pools_that_are_evicted_have_no_say)
{
	struct tmem_pool *cache = scene_pool(client, "c", 0);
	const struct tmem_oid oid = {{1, 2, 3}};
	uint32_t index[TMEM_COLDEST_MIN];
	struct tmem_room out;

	ck_assert_int_eq(tmem_pool_room(cache, &out), -EOPNOTSUPP);
	ck_assert_int_eq(tmem_pool_watch(cache, bell), -EOPNOTSUPP);
	ck_assert_int_eq(
		tmem_pool_coldest(cache, &oid, index, TMEM_COLDEST_MIN),
		-EOPNOTSUPP);
	tmem_pool_free(cache);
}
END_TEST

START_TEST(nobody_is_told_who_has_gone)
{
	ck_assert_int_eq(tmem_pool_watch(pool, -1), 0);
	fill();
	ck_assert(!rang());
	ck_assert_int_eq(tmem_pool_watch(pool, bell), 0);
	tmem_pool_free(pool);
	pool = scene_pool(client, "p", TMEM_POOL_PERSISTENT);
	fill_up();
	ck_assert(!rang());
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		refusal_tells_once_until_asked,
		room_that_is_made_serves_puts,
		smaller_budget_tells,
		lower_cap_tells,
		what_ephemeral_pages_have_is_room,
		pages_in_use_are_named_last,
		other_objects_are_not_named,
		pools_that_are_evicted_have_no_say,
		nobody_is_told_who_has_gone,
	};

	return scene_run_between("room", set_up, tear_down, tests,
				 sizeof(tests) / sizeof(tests[0]));
}
