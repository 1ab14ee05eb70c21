/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory of rings is the store's: charged as it is used, and given back. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "ring-client.h"
#include "ring-server.h"
#include "scene.h"

#define BUDGET	 (8 * MIB)
#define PATIENCE 60000 /* ms; only a broken build waits for it */

static struct tmem_store *store;
static struct tmem_client *owner;
static struct tmem_pool *pool;
static struct tmem_ring_server *server;
static struct tmem_ring_client *client;
static int conn[2];
static uint8_t pages[TMEM_RUN_MAX * TMEM_PAGE_SIZE];

static uint64_t private_bytes(void)
{
	return scene_stat(store, TMEM_HOST_STAT_private_bytes);
}

static void setup(void)
{
	store = scene_store(BUDGET, -1);
	owner = scene_client(store, "a", NULL);
	pool = scene_pool(owner, "cache", 0);
}

static void open_ring(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, conn), 0);
	ck_assert_int_eq(tmem_ring_server_new(store, &server), 0);
	ck_assert_int_eq(tmem_ring_client_new(tmem_ring_server_fd(server),
					      conn[0], PATIENCE, &client),
			 0);
	ck_assert_int_eq(tmem_ring_server_add(server, pool), 0);
}

static void close_ring(void)
{
	tmem_ring_server_take(server, 0);
	tmem_ring_client_free(client);
	tmem_ring_server_free(server);
	close(conn[0]);
	close(conn[1]);
}

static void teardown(void)
{
	tmem_pool_free(pool);
	tmem_client_free(owner);
	scene_close(store);
}

static int call(enum tmem_ring_op op, uint64_t count)
{
	const struct tmem_ring_request request = {
		.op = op, .oid = {{1, 2, 3}}, .count = count};

	return tmem_ring_client_call(client, &request, pages, pages, NULL);
}

START_TEST(a_ring_is_charged_as_far_as_it_was_used)
{
	const uint64_t fixed = offsetof(struct tmem_ring, buffer);
	uint64_t before = private_bytes();

	open_ring();
	ck_assert_uint_eq(private_bytes(), before + fixed);
	/* The first page brings tables of the store's, too. */
	ck_assert_int_eq(call(TMEM_RING_PUT, 1), 1);
	ck_assert_uint_ge(private_bytes(), before + fixed + TMEM_PAGE_SIZE);
	before = private_bytes() - fixed - TMEM_PAGE_SIZE;
	ck_assert_int_eq(call(TMEM_RING_GET, TMEM_RUN_MAX), 1);
	ck_assert_uint_eq(private_bytes(), before + fixed + MIB);
	ck_assert_int_eq(call(TMEM_RING_GET, 1), 1);
	ck_assert_uint_eq(private_bytes(), before + fixed + MIB);
	scene_check(store);
	close_ring();
	ck_assert_uint_eq(private_bytes(), before);
}
END_TEST

/* What is no request reaches into no more than there is. */
START_TEST(lying_lengths_are_charged_a_buffer_at_most)
{
	const uint64_t before = private_bytes();

	open_ring();
	ck_assert_int_eq(call(TMEM_RING_GET, UINT64_MAX), -ENOTCONN);
	ck_assert_uint_le(private_bytes(), before + sizeof(struct tmem_ring));
	close_ring();
	ck_assert_uint_eq(private_bytes(), before);
}
END_TEST

START_TEST(ephemeral_pages_make_room_for_a_ring)
{
	open_ring();
	for (unsigned i = 0; i < 3000; i++)
		scene_put_random(pool, i, i + 1);
	ck_assert_uint_gt(scene_stat(store, TMEM_HOST_STAT_used),
			  BUDGET - MIB / 2);
	call(TMEM_RING_GET, TMEM_RUN_MAX);
	ck_assert_uint_le(scene_stat(store, TMEM_HOST_STAT_peak_used), BUDGET);
	ck_assert_uint_gt(scene_stat(store, TMEM_HOST_STAT_evictions), 0);
	close_ring();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_ring_is_charged_as_far_as_it_was_used,
		lying_lengths_are_charged_a_buffer_at_most,
		ephemeral_pages_make_room_for_a_ring,
	};

	return scene_run_between("ring-budget", setup, teardown, tests,
				 sizeof(tests) / sizeof(tests[0]));
}
