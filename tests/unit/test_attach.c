/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attached clients against a server in a process of its own: what they may and
 * may not do, and what they see when it is killed or stopped, when one of them
 * is killed, and when one of them attacks.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <tmem/client.h>
#include <tmem/stats.h>
#include <unistd.h>
#include "attach-server.h"
#include "doubt.h"
#include "message.h"
#include "pages.h"
#include "random.h"
#include "ring.h"

#define PATIENCE 60000 /* ms; only a broken build waits for it */
#define BUDGET	 (64u << 20)

static const struct tmem_oid oid = {{1, 2, 3}};
static struct test_attach_server server;

static void setup(void)
{
	test_pages_init();
	test_attach_server_start(&server, BUDGET);
}

static void teardown(void)
{
	ck_assert_int_eq(test_attach_server_stop(&server), 0);
}

static int try_attach(const char *name, unsigned timeout,
		      struct tmem_client **client)
{
	struct tmem_client_config config = {.name = name,
					    .timeout_ms = timeout};

	return tmem_client_attach(server.path, &config, client);
}

static struct tmem_client *attach(const char *name)
{
	struct tmem_client *client = NULL;

	ck_assert_int_eq(try_attach(name, PATIENCE, &client), 0);
	ck_assert(tmem_client_connected(client));
	return client;
}

static int try_pool(struct tmem_client *client, const char *name,
		    uint32_t flags, struct tmem_pool **pool)
{
	struct tmem_pool_config config = {.name = name, .flags = flags};

	if (flags & TMEM_POOL_SHARED)
		config.uuid = test_attach_uuid;
	return tmem_pool_new(client, &config, pool);
}

static struct tmem_pool *open_pool(struct tmem_client *client, const char *name,
				   uint32_t flags)
{
	struct tmem_pool *pool = NULL;

	ck_assert_int_eq(try_pool(client, name, flags, &pool), 0);
	return pool;
}

static void put(struct tmem_pool *pool, uint32_t index, uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE];

	test_page(page, seed);
	ck_assert_int_eq(tmem_put(pool, &oid, index, page), TMEM_OK);
}

static void expect(struct tmem_pool *pool, uint32_t index, uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE];

	ck_assert_int_eq(tmem_get(pool, &oid, index, page), TMEM_OK);
	ck_assert(test_page_is(page, seed));
}

static void expect_miss(struct tmem_pool *pool, uint32_t index)
{
	uint8_t page[TMEM_PAGE_SIZE];

	ck_assert_int_eq(tmem_get(pool, &oid, index, page), TMEM_MISS);
}

/* What a client may do ------------------------------------------------------
 */

static const uint32_t kinds[] = {
	0,
	TMEM_POOL_EXCLUSIVE,
	TMEM_POOL_PERSISTENT,
	TMEM_POOL_SHARED,
	TMEM_POOL_SHARED | TMEM_POOL_PERSISTENT,
};

START_TEST(pages_come_back_from_every_kind_of_pool)
{
	static uint8_t pages[TMEM_RUN_MAX * TMEM_PAGE_SIZE];
	static const uint32_t counts[] = {1, 2, 15, 16, 17, 100, 256};
	struct tmem_client *client = attach("one");
	struct tmem_pool *pool = open_pool(client, "pool", kinds[_i]);
	uint64_t stats[TMEM_POOL_STAT_COUNT];
	uint8_t outcome[TMEM_RUN_MAX];
	uint32_t i, k, n;

	for (k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
		n = counts[k];
		for (i = 0; i < n; i++)
			test_page(pages + i * TMEM_PAGE_SIZE, 100 * k + i);
		ck_assert_int_eq(tmem_put_run(pool, &oid, 5, n, pages, outcome),
				 (int)n);
		memset(pages, 0, sizeof(pages));
		ck_assert_int_eq(tmem_get_run(pool, &oid, 5, n, pages, outcome),
				 (int)n);
		for (i = 0; i < n; i++)
			ck_assert(test_page_is(pages + i * TMEM_PAGE_SIZE,
					       100 * k + i));
	}
	put(pool, 7, 7);
	ck_assert_int_eq(tmem_flush(pool, &oid, 7), TMEM_OK);
	ck_assert_int_eq(tmem_flush(pool, &oid, 7), TMEM_MISS);
	expect_miss(pool, 7);
	put(pool, UINT32_MAX, 8);
	ck_assert_int_ge(tmem_flush_run(pool, &oid, 0, UINT64_C(1) << 32), 1);
	expect_miss(pool, UINT32_MAX);
	put(pool, 9, 9);
	ck_assert_int_eq(tmem_flush_object(pool, &oid), TMEM_OK);
	ck_assert_int_eq(tmem_flush_object(pool, &oid), TMEM_MISS);
	ck_assert_int_eq(tmem_pool_stats(pool, stats), 0);
	ck_assert_uint_eq(stats[TMEM_POOL_STAT_pages], 0);
	ck_assert_uint_eq(stats[TMEM_POOL_STAT_puts],
			  1 + 2 + 15 + 16 + 17 + 100 + 256 + 3);
	ck_assert_int_eq(tmem_pool_destroy(pool), 0);
	tmem_client_free(client);
}
END_TEST

START_TEST(detached_client_finds_its_persistent_pool_again)
{
	struct tmem_client *client = attach("one");
	struct tmem_pool *pool = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	struct tmem_pool *cache = open_pool(client, "e", 0);

	put(pool, 1, 11);
	put(cache, 1, 12);
	tmem_pool_free(pool);
	pool = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	expect(pool, 1, 11);
	tmem_pool_free(pool);
	tmem_pool_free(cache);
	tmem_client_free(client);
	client = attach("one");
	pool = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	cache = open_pool(client, "e", 0);
	expect(pool, 1, 11);
	expect_miss(cache, 1);
	tmem_pool_free(pool);
	tmem_pool_free(cache);
	tmem_client_free(client);
}
END_TEST

START_TEST(what_is_not_allowed_says_so)
{
	struct tmem_client *client = attach("one");
	struct tmem_client *other = NULL;
	struct tmem_pool *pool, *second = NULL;
	char path[80];

	ck_assert_int_eq(try_attach("one", PATIENCE, &other), -EBUSY);
	ck_assert_int_eq(try_attach("a b", PATIENCE, &other), -EINVAL);
	other = attach("three");
	ck_assert_int_eq(try_pool(other, "s", TMEM_POOL_SHARED, &second),
			 -EPERM);
	pool = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	ck_assert_int_eq(try_pool(client, "p", TMEM_POOL_PERSISTENT, &second),
			 -EBUSY);
	ck_assert_int_eq(try_pool(client, "q",
				  TMEM_POOL_PERSISTENT | TMEM_POOL_EXCLUSIVE,
				  &second),
			 -EINVAL);
	ck_assert_ptr_null(second);
	/* A pool of the same name is each client's own. */
	second = open_pool(other, "p", TMEM_POOL_PERSISTENT);
	put(pool, 1, 1);
	expect_miss(second, 1);
	tmem_pool_free(second);
	tmem_pool_free(pool);
	tmem_client_free(other);
	tmem_client_free(client);
	snprintf(path, sizeof(path), "%s/none", server.dir);
	ck_assert_int_eq(
		tmem_client_attach(path,
				   &(struct tmem_client_config){.name = "x"},
				   &client),
		-ENOENT);
}
END_TEST

START_TEST(no_more_pools_than_a_ring_can_name)
{
	struct tmem_client *client = attach("one");
	struct tmem_pool *pool[TMEM_RING_POOLS], *more = NULL;
	char name[16];
	unsigned i;

	for (i = 0; i < TMEM_RING_POOLS; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		pool[i] = open_pool(client, name, 0);
		put(pool[i], 1, i);
	}
	ck_assert_int_eq(try_pool(client, "more", 0, &more), -ENOSPC);
	for (i = 0; i < TMEM_RING_POOLS; i++) {
		expect(pool[i], 1, i);
		tmem_pool_free(pool[i]);
	}
	more = open_pool(client, "more", 0);
	expect_miss(more, 1);
	tmem_pool_free(more);
	tmem_client_free(client);
}
END_TEST

/* Threads that put and get, and know what to expect --------------------------
 */

#define INDICES 200u

struct user {
	struct tmem_pool *pool;
	struct tmem_oid oid;
	bool persistent;
	unsigned rounds; /* or until disconnected */
	/* What the last put of each page left: its seed, 0 for nothing. */
	uint64_t seed[INDICES];
	uint64_t next_seed;
	_Atomic(unsigned) hits;
	bool failed;
	bool disconnected;
	pthread_t thread;
};

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

static void start_users(struct user *users, unsigned count,
			struct tmem_pool *pool, bool persistent,
			unsigned rounds)
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

static void join_users(struct user *users, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		pthread_join(users[i].thread, NULL);
		ck_assert(!users[i].failed);
	}
}

/* Compare all that the users know with what the pool holds. */
static void verify_users(struct user *users, unsigned count,
			 struct tmem_pool *pool)
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

START_TEST(many_threads_see_their_own_pages)
{
	static struct user users[20], more[20];
	struct tmem_client *client = attach("one");
	struct tmem_pool *keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	struct tmem_pool *cache = open_pool(client, "e", 0);

	start_users(users, 20, keep, true, 200);
	start_users(more, 20, cache, false, 200);
	join_users(users, 20);
	join_users(more, 20);
	verify_users(users, 20, keep);
	verify_users(more, 20, cache);
	tmem_pool_free(cache);
	tmem_pool_free(keep);
	tmem_client_free(client);
}
END_TEST

/* When the server goes -------------------------------------------------------
 */

static void wait_for_hits(struct user *users, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++)
		while (users[i].hits < 10)
			usleep(1000);
}

/* Stop all its threads, for sure. */
static void stop_server(void)
{
	int status;

	ck_assert_int_eq(kill(server.pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(server.pid, &status, WUNTRACED), server.pid);
	ck_assert(WIFSTOPPED(status));
}

START_TEST(killed_server_disconnects_and_loses_nothing_persistent)
{
	static struct user users[4], more[4];
	struct tmem_client *client = attach("one");
	struct tmem_pool *keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	struct tmem_pool *cache = open_pool(client, "e", 0);
	uint8_t page[TMEM_PAGE_SIZE] = {0};
	struct tmem_pool *pool = NULL;
	unsigned i, round;

	for (round = 0; round < 5; round++) {
		start_users(users, 4, keep, true, UINT32_MAX);
		start_users(more, 4, cache, false, UINT32_MAX);
		wait_for_hits(users, 4);
		test_attach_server_kill(&server);
		join_users(users, 4);
		join_users(more, 4);
		ck_assert(!tmem_client_connected(client));
		/* Nothing works now, and nothing waits. */
		ck_assert_int_eq(tmem_get(keep, &oid, 1, page), -ENOTCONN);
		ck_assert_int_eq(tmem_put(keep, &users[0].oid, 7, page),
				 -ENOTCONN);
		users[0].seed[7] = 0;
		ck_assert_int_eq(tmem_flush_object(keep, &users[1].oid),
				 -ENOTCONN);
		memset(users[1].seed, 0, sizeof(users[1].seed));
		ck_assert_int_eq(try_pool(client, "x", 0, &pool), -ENOTCONN);
		ck_assert_int_eq(tmem_client_reattach(client), -ECONNREFUSED);
		test_attach_server_restart(&server);
		ck_assert_int_eq(tmem_client_reattach(client), 0);
		ck_assert_int_eq(tmem_client_reattach(client), 0);
		ck_assert(tmem_client_connected(client));
		verify_users(users, 4, keep);
		for (i = 0; i < INDICES; i++)
			ck_assert_int_eq(tmem_get(cache, &more[0].oid, i, page),
					 TMEM_MISS);
		for (i = 0; i < 4; i++)
			tmem_flush_object(keep, &users[i].oid);
	}
	tmem_pool_free(cache);
	tmem_pool_free(keep);
	tmem_client_free(client);
}
END_TEST

START_TEST(stopped_server_is_given_up_and_nothing_stale_is_left)
{
	struct tmem_client *client = NULL, *two = attach("two");
	struct tmem_pool *keep, *cache, *shared, *theirs;
	uint8_t page[TMEM_PAGE_SIZE] = {0};
	uint32_t i;

	ck_assert_int_eq(try_attach("one", 2000, &client), 0);
	keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	cache = open_pool(client, "e", 0);
	shared = open_pool(client, "s", TMEM_POOL_SHARED);
	theirs = open_pool(two, "s", TMEM_POOL_SHARED);
	for (i = 0; i < 8; i++) {
		put(keep, i, 100 + i);
		put(cache, i, 200 + i);
		put(shared, i, 300 + i);
	}
	stop_server();
	ck_assert_int_eq(tmem_put(keep, &oid, 1, page), -ENOTCONN);
	ck_assert_int_eq(tmem_put(cache, &oid, 1, page), -ENOTCONN);
	ck_assert_int_eq(tmem_flush_run(shared, &oid, 2, 2), -ENOTCONN);
	ck_assert_int_eq(tmem_flush(keep, &oid, 2), -ENOTCONN);
	ck_assert(!tmem_client_connected(client));
	kill(server.pid, SIGCONT);
	ck_assert_int_eq(tmem_client_reattach(client), 0);
	for (i = 0; i < 8; i++) {
		expect_miss(cache, i);
		if (i == 1 || i == 2)
			expect_miss(keep, i);
		else
			expect(keep, i, 100 + i);
		if (i == 2 || i == 3)
			expect_miss(theirs, i);
		else
			expect(theirs, i, 300 + i);
	}
	tmem_pool_free(theirs);
	tmem_pool_free(shared);
	tmem_pool_free(cache);
	tmem_pool_free(keep);
	tmem_client_free(two);
	tmem_client_free(client);
}
END_TEST

START_TEST(too_much_in_doubt_is_not_trusted)
{
	struct tmem_client *client = NULL, *two = attach("two");
	struct tmem_pool *theirs = open_pool(two, "s", TMEM_POOL_SHARED);
	struct tmem_pool *keep, *shared;
	struct tmem_oid other = {{9, 9, 9}};
	uint32_t i;

	ck_assert_int_eq(try_attach("one", 2000, &client), 0);
	shared = open_pool(client, "s", TMEM_POOL_SHARED);
	keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	put(shared, 1, 1);
	put(shared, UINT32_MAX, 2);
	stop_server();
	for (i = 0; i <= TMEM_DOUBT_MAX; i++)
		ck_assert_int_eq(
			tmem_flush(shared, i & 1 ? &oid : &other, 3 + 2 * i),
			-ENOTCONN);
	kill(server.pid, SIGCONT);
	ck_assert_int_eq(tmem_client_reattach(client), 0);
	expect_miss(theirs, 1);
	expect_miss(theirs, UINT32_MAX);
	put(keep, 1, 1);
	stop_server();
	for (i = 0; i <= TMEM_DOUBT_MAX; i++)
		ck_assert_int_eq(
			tmem_flush(keep, i & 1 ? &oid : &other, 3 + 2 * i),
			-ENOTCONN);
	kill(server.pid, SIGCONT);
	ck_assert_int_eq(tmem_client_reattach(client), -EOVERFLOW);
	ck_assert(!tmem_client_connected(client));
	tmem_pool_free(keep);
	ck_assert_int_eq(tmem_client_reattach(client), 0);
	tmem_pool_free(theirs);
	tmem_pool_free(shared);
	tmem_client_free(two);
	tmem_client_free(client);
}
END_TEST

/* When a client goes, or attacks ---------------------------------------------
 */

/* In a child: attach and use a pool until killed. */
static pid_t start_victim(void)
{
	static struct user users[3];
	int ready[2];
	char byte;
	pid_t pid;

	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (pid > 0) {
		close(ready[1]);
		ck_assert_int_eq(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	start_users(users, 3, open_pool(attach("two"), "e", 0), false,
		    UINT32_MAX);
	wait_for_hits(users, 3);
	if (write(ready[1], "x", 1) != 1)
		_exit(1);
	join_users(users, 3);
	_exit(0);
}

START_TEST(killed_clients_leave_others_alone)
{
	static struct user users[2];
	struct tmem_client *client = attach("one");
	struct tmem_pool *keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	unsigned i;
	pid_t pid;

	for (i = 0; i < 10; i++) {
		/* Attaches at once under the name of the one just killed. */
		pid = start_victim();
		start_users(users, 2, keep, true, 100);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		join_users(users, 2);
		ck_assert(!users[0].disconnected && !users[1].disconnected);
		tmem_flush_object(keep, &users[0].oid);
		tmem_flush_object(keep, &users[1].oid);
	}
	tmem_pool_free(keep);
	tmem_client_free(client);
}
END_TEST

/* Attach without the library. Returns the connection; *ring is mapped. */
static int attach_raw(struct tmem_ring **ring)
{
	json_t *request = tmem_message_request("attach");
	struct tmem_message reply;
	int conn = tmem_message_connect(server.path, PATIENCE);

	ck_assert_int_ge(conn, 0);
	json_object_set_new(request, "name", json_string("two"));
	ck_assert_int_eq(
		tmem_message_call(conn, request, NULL, 0, &reply, PATIENCE), 0);
	*ring = mmap(NULL, sizeof(**ring), PROT_READ | PROT_WRITE, MAP_SHARED,
		     reply.fd[0], 0);
	ck_assert_ptr_ne(*ring, MAP_FAILED);
	tmem_message_deinit(&reply);
	json_decref(request);
	return conn;
}

/* Write nonsense, likely nonsense, and requests that are nearly right, all
 * over a ring, and look for bytes that are not this client's. */
static bool attack(struct tmem_ring *ring, uint64_t seed, unsigned rounds)
{
	volatile uint64_t *word = (volatile uint64_t *)ring;
	struct test_random random;
	uint64_t r, at;
	unsigned slot;
	bool leaked = false;

	test_random_init(&random, seed);
	while (rounds--) {
		r = test_random_next(&random);
		slot = (unsigned)(r >> 32) % TMEM_RING_SLOTS;
		if (r & 1) {
			at = test_random_next(&random) %
			     (r & 2 ? 12288 / 8 : sizeof(*ring) / 8);
			word[at] = test_random_next(&random);
			continue;
		}
		ring->slot[slot].request = (struct tmem_ring_request){
			.op = (uint32_t)(r >> 40) % 6,
			.pool = (uint32_t)(r >> 44) % 4,
			.oid = {{1000, (r >> 48) % 3, 0}},
			.index = (uint32_t)(r >> 52) % 300,
			.count = (r >> 20) % (r & 4 ? 260 : 3),
		};
		atomic_store(&ring->slot[slot].state,
			     r & 8 ? TMEM_RING_REQUEST : TMEM_RING_SLEEPING);
		atomic_fetch_or(&ring->header.bell, 1u << slot);
		tmem_ring_wake(&ring->header.bell, 1);
		/* An honest client's pages have their seed in front. */
		at = test_page_seed(ring->buffer[slot]);
		leaked |= at >= 1000000 && at < 4000000;
	}
	return leaked;
}

static void attack_child(uint64_t seed)
{
	struct tmem_message reply;
	struct tmem_ring *ring;
	json_t *open = tmem_message_request("pool-open");
	int conn = attach_raw(&ring);
	bool leaked;

	json_object_set_new(open, "flags", json_integer(0));
	json_object_set_new(open, "name", json_string("e"));
	ck_assert_int_eq(
		tmem_message_call(conn, open, NULL, 0, &reply, PATIENCE), 0);
	tmem_message_deinit(&reply);
	json_object_set_new(open, "name", json_string("p"));
	json_object_set_new(open, "flags", json_integer(TMEM_POOL_PERSISTENT));
	ck_assert_int_eq(
		tmem_message_call(conn, open, NULL, 0, &reply, PATIENCE), 0);
	leaked = attack(ring, seed, 300000);
	_exit(leaked ? 2 : 0);
}

START_TEST(attacking_client_harms_only_itself)
{
	static struct user users[3];
	struct tmem_client *client = attach("one");
	struct tmem_pool *keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	uint64_t seed = test_seed();
	unsigned i;
	int status;
	pid_t pid;

	for (i = 0; i < 3; i++) {
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			attack_child(seed + i);
		}
		do {
			start_users(users, 3, keep, true, 50);
			join_users(users, 3);
			ck_assert(!users[0].disconnected);
			verify_users(users, 3, keep);
			tmem_flush_object(keep, &users[0].oid);
			tmem_flush_object(keep, &users[1].oid);
			tmem_flush_object(keep, &users[2].oid);
		} while (waitpid(pid, &status, WNOHANG) == 0);
		ck_assert_int_eq(status, 0);
	}
	tmem_pool_free(keep);
	tmem_client_free(client);
}
END_TEST

static const char *const bad_messages[] = {
	"garbage\n",
	"{}\n",
	"{\"tmem\":2,\"op\":\"pool-open\"}\n",
	"{\"tmem\":1,\"op\":\"attach\",\"name\":\"again\"}\n",
	"{\"tmem\":1,\"op\":\"set\",\"budget\":1}\n",
	"{\"tmem\":1,\"op\":\"pool-open\"}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"/\",\"flags\":0}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"x\",\"flags\":-1}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"x\",\"flags\":4294967296}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"x\",\"flags\":0,\"codec\":99}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"x\",\"flags\":0,\"dedup\":-1}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"x\",\"flags\":2,\"uuid\":\"1\"}\n",
	"{\"tmem\":1,\"op\":\"pool-close\"}\n",
	"{\"tmem\":1,\"op\":\"pool-close\",\"pool\":0}\n",
	"{\"tmem\":1,\"op\":\"pool-destroy\",\"pool\":-1}\n",
	"{\"tmem\":1,\"op\":\"pool-stats\",\"pool\":64}\n",
	"{\"tmem\":1,\"op\":\"pool-stats\",\"pool\":18446744073709551616}\n",
};

START_TEST(bad_message_is_an_error_for_its_sender)
{
	struct tmem_client *client = attach("one");
	struct tmem_pool *keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	const char *text = bad_messages[_i];
	struct tmem_message reply = TMEM_MESSAGE_INIT;
	struct tmem_ring *ring;
	int conn = attach_raw(&ring);

	put(keep, 1, 1);
	ck_assert_int_eq(write(conn, text, strlen(text)), strlen(text));
	/* Refused, or hung up on. */
	if (tmem_message_receive(conn, &reply, PATIENCE) == 0)
		ck_assert(json_is_false(json_object_get(reply.json, "ok")));
	tmem_message_deinit(&reply);
	munmap(ring, sizeof(*ring));
	close(conn);
	expect(keep, 1, 1);
	tmem_pool_free(keep);
	tmem_client_free(client);
}
END_TEST

/* Doubts by themselves --------------------------------------------------------
 */

START_TEST(doubts_are_joined_where_they_can_be)
{
	static const struct tmem_oid other = {{4, 5, 6}};
	struct tmem_doubt doubt;
	uint32_t i;

	tmem_doubt_init(&doubt);
	tmem_doubt_add(&doubt, &oid, 10, 5);
	tmem_doubt_add(&doubt, &oid, 15, 5);
	tmem_doubt_add(&doubt, &oid, 12, 2);
	tmem_doubt_add(&doubt, &oid, 18, 4);
	ck_assert_uint_eq(doubt.runs, 1);
	ck_assert_uint_eq(doubt.run[0].index, 10);
	ck_assert_uint_eq(doubt.run[0].count, 12);
	tmem_doubt_add(&doubt, &oid, 9, 1);
	tmem_doubt_add(&doubt, &other, 10, 1);
	ck_assert_uint_eq(doubt.runs, 3);
	tmem_doubt_add(&doubt, &other, 0, 0);
	tmem_doubt_add(&doubt, &other, 5, 5);
	ck_assert_uint_eq(doubt.runs, 3);
	ck_assert_uint_eq(doubt.run[2].count, 0);
	for (i = 0; i < TMEM_DOUBT_MAX - 3; i++)
		tmem_doubt_add(&doubt, &oid, 2 * i, 1);
	ck_assert(!doubt.all);
	tmem_doubt_add(&doubt, &other, 1, 1);
	ck_assert(doubt.all);
	tmem_doubt_clear(&doubt);
	ck_assert(!doubt.all);
	ck_assert_uint_eq(doubt.runs, 0);
	tmem_doubt_deinit(&doubt);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attach");
	TCase *tests = tcase_create("attach");
	TCase *alone = tcase_create("alone");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	suite_add_tcase(suite, alone);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, pages_come_back_from_every_kind_of_pool, 0,
			    sizeof(kinds) / sizeof(kinds[0]));
	tcase_add_test(tests, detached_client_finds_its_persistent_pool_again);
	tcase_add_test(tests, what_is_not_allowed_says_so);
	tcase_add_test(tests, no_more_pools_than_a_ring_can_name);
	tcase_add_test(tests, many_threads_see_their_own_pages);
	tcase_add_test(tests,
		       killed_server_disconnects_and_loses_nothing_persistent);
	tcase_add_test(tests,
		       stopped_server_is_given_up_and_nothing_stale_is_left);
	tcase_add_test(tests, too_much_in_doubt_is_not_trusted);
	tcase_add_test(tests, killed_clients_leave_others_alone);
	tcase_add_test(tests, attacking_client_harms_only_itself);
	tcase_add_loop_test(tests, bad_message_is_an_error_for_its_sender, 0,
			    sizeof(bad_messages) / sizeof(bad_messages[0]));
	tcase_add_test(alone, doubts_are_joined_where_they_can_be);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
