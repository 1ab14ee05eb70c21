/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach-scene.h"
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "pages.h"
#include "random.h"

#define BUDGET (64u << 20)

const struct tmem_oid oid = {{1, 2, 3}};
struct test_attach_server server;

void setup(void)
{
	test_pages_init();
	test_attach_server_start(&server, BUDGET);
}

void teardown(void)
{
	ck_assert_int_eq(test_attach_server_stop(&server), 0);
}

int try_attach(const char *name, unsigned timeout, struct tmem_client **client)
{
	struct tmem_client_config config = {.name = name,
					    .timeout_ms = timeout};

	return tmem_client_attach(server.path, &config, client);
}

struct tmem_client *attach(const char *name)
{
	struct tmem_client *client = NULL;

	ck_assert_int_eq(try_attach(name, PATIENCE, &client), 0);
	ck_assert(tmem_client_connected(client));
	return client;
}

int try_pool(struct tmem_client *client, const char *name, uint32_t flags,
	     struct tmem_pool **pool)
{
	struct tmem_pool_config config = {.name = name, .flags = flags};

	if (flags & TMEM_POOL_SHARED)
		config.uuid = test_attach_uuid;
	return tmem_pool_new(client, &config, pool);
}

struct tmem_pool *open_pool(struct tmem_client *client, const char *name,
			    uint32_t flags)
{
	struct tmem_pool *pool = NULL;

	ck_assert_int_eq(try_pool(client, name, flags, &pool), 0);
	return pool;
}

void put(struct tmem_pool *pool, uint32_t index, uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE];

	test_page(page, seed);
	ck_assert_int_eq(tmem_put(pool, &oid, index, page), TMEM_OK);
}

void expect(struct tmem_pool *pool, uint32_t index, uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE];

	ck_assert_int_eq(tmem_get(pool, &oid, index, page), TMEM_OK);
	ck_assert(test_page_is(page, seed));
}

void expect_miss(struct tmem_pool *pool, uint32_t index)
{
	uint8_t page[TMEM_PAGE_SIZE];

	ck_assert_int_eq(tmem_get(pool, &oid, index, page), TMEM_MISS);
}

/* Note what a put, or its failure, leaves behind. */
static void note(struct user *u, uint32_t index, uint32_t n, int r,
		 const uint8_t *outcome)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		u->seed[index + i] =
			r >= 0 && outcome[i] == TMEM_OK ? u->next_seed + i : 0;
	u->next_seed += n;
	u->disconnected |= r == -ENOTCONN;
	u->failed |= r < 0 && r != -ENOTCONN;
}

static bool is_expected(const struct user *u, uint32_t index, int outcome,
			const uint8_t *page)
{
	if (outcome == TMEM_OK)
		return u->seed[index] && test_page_is(page, u->seed[index]);
	return !u->persistent || !u->seed[index];
}

static void *use(void *arg)
{
	struct user *u = arg;
	uint8_t *pages = malloc((size_t)64 * TMEM_PAGE_SIZE);
	uint8_t outcome[64];
	struct test_random random;
	uint32_t i, n, index;
	unsigned round;
	int r;

	test_random_init(&random, u->next_seed);
	for (round = 0; round != u->rounds; round++) {
		if (u->failed || u->disconnected)
			break;
		n = 1 +
		    (uint32_t)test_random_below(&random, round % 8 ? 3 : 64);
		index = (uint32_t)test_random_below(&random, INDICES - n);
		switch (test_random_below(&random, 5)) {
		case 0:
		case 1:
			for (i = 0; i < n; i++)
				test_page(pages + i * TMEM_PAGE_SIZE,
					  u->next_seed + i);
			r = tmem_put_run(u->pool, &u->oid, index, n, pages,
					 outcome);
			note(u, index, n, r, outcome);
			break;
		case 2:
			r = tmem_flush_run(u->pool, &u->oid, index, n);
			note(u, index, n, r, memset(outcome, TMEM_MISS, n));
			break;
		default:
			r = tmem_get_run(u->pool, &u->oid, index, n, pages,
					 outcome);
			u->disconnected |= r == -ENOTCONN;
			for (i = 0; r >= 0 && i < n; i++)
				u->failed |= !is_expected(
					u, index + i, outcome[i],
					pages + i * TMEM_PAGE_SIZE);
			u->hits += r > 0;
		}
	}
	free(pages);
	return NULL;
}

void start_users(struct user *users, unsigned count, struct tmem_pool *pool,
		 bool persistent, unsigned rounds)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		users[i] = (struct user){
			.pool = pool,
			.oid = {{1000, i, 0}},
			.persistent = persistent,
			.rounds = rounds,
			.next_seed = 1000000 * (i + 1),
		};
		pthread_create(&users[i].thread, NULL, use, &users[i]);
	}
}

void join_users(struct user *users, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		pthread_join(users[i].thread, NULL);
		ck_assert(!users[i].failed);
	}
}

/* Compare all that the users know with what the pool holds. */
void verify_users(struct user *users, unsigned count, struct tmem_pool *pool)
{
	uint8_t page[TMEM_PAGE_SIZE];
	unsigned i;
	uint32_t n;

	for (i = 0; i < count; i++)
		for (n = 0; n < INDICES; n++)
			ck_assert(is_expected(
				&users[i], n,
				tmem_get(pool, &users[i].oid, n, page), page));
}

void wait_for_hits(struct user *users, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++)
		while (users[i].hits < 10)
			usleep(1000);
}
