/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ring between a client and a pool that is no store: its layout, its one
 * check, runs of every length from many threads, a server that is stuck or
 * gone or talks nonsense, and a client that overwrites everything.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "fake-pool.h"
#include "pages.h"
#include "random.h"
#include "ring-client.h"
#include "ring-server.h"

#define PATIENCE 60000 /* ms; only a broken build waits for it */

/* Both ends of a ring, with one pool. */
struct ends {
	int conn[2];
	struct tmem_ring_server *server;
	struct tmem_ring_client *client;
	struct tmem_pool *pool;
	uint32_t id;
};

static void open_ends(struct ends *e, int timeout)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, e->conn), 0);
	ck_assert_int_eq(tmem_ring_server_new(NULL, &e->server), 0);
	ck_assert_int_eq(tmem_ring_client_new(tmem_ring_server_fd(e->server),
					      e->conn[0], timeout, &e->client),
			 0);
	e->pool = test_fake_pool_new();
	e->id = (uint32_t)tmem_ring_server_add(e->server, e->pool);
}

static void close_ends(struct ends *e)
{
	ck_assert_ptr_eq(tmem_ring_server_take(e->server, e->id), e->pool);
	tmem_ring_client_free(e->client);
	tmem_ring_server_free(e->server);
	tmem_pool_free(e->pool);
	close(e->conn[0]);
	close(e->conn[1]);
}

static int request(struct ends *e, enum tmem_ring_op op, uint64_t object,
		   uint32_t index, uint64_t count, void *pages,
		   uint8_t *outcome)
{
	struct tmem_ring_request r = {.op = op,
				      .pool = e->id,
				      .oid = {{object, 2, 3}},
				      .index = index,
				      .count = count};

	return tmem_ring_client_call(e->client, &r, pages, pages, outcome);
}

/* A ring as a server would make it, but with nobody behind it. */
static struct tmem_ring *bare_ring(size_t size, int seals, int *fd)
{
	struct tmem_ring *ring;

	*fd = memfd_create("ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(ftruncate(*fd, (off_t)size), 0);
	ck_assert_int_eq(fcntl(*fd, F_ADD_SEALS, seals), 0);
	ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	ck_assert_ptr_ne(ring, MAP_FAILED);
	tmem_ring_init(ring);
	return ring;
}

/* The format. What is pinned here may change only with TMEM_RING_VERSION. */
static const uint8_t golden_header[] = {
	't',  'm',  'e',  'm',	'r',  'i',  'n',  'g', /* magic */
	0x01, 0x00, 0x00, 0x00,			       /* version */
	0x10, 0x00, 0x00, 0x00,			       /* slots */
	0x00, 0x10, 0x00, 0x00,			       /* slot offset */
	0x00, 0x02, 0x00, 0x00,			       /* slot size */
	0x00, 0x40, 0x00, 0x00,			       /* buffer offset */
	0x00, 0x00, 0x10, 0x00,			       /* buffer size */
	0,    0,    0,	  0,	0,    0,    0,	  0,   /* unused */
	0,    0,    0,	  0,	0,    0,    0,	  0,	0, 0,
	0,    0,    0,	  0,	0,    0,    0,	  0,	0, 0,
	0,    0,    0,	  0,	0x01, 0x00, 0x00, 0x80, /* bell: slot 0, and
							   asleep */
};

static const uint8_t golden_slot[] = {
	0x02, 0x00, 0x00, 0x00,				/* state: sleeping */
	0xf7, 0xff, 0xff, 0xff,				/* result: -EBADF */
	0x01, 0x00, 0x00, 0x00,				/* op: put */
	0x05, 0x00, 0x00, 0x00,				/* pool */
	0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x00, /* object id */
	0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x17, 0x16,
	0x15, 0x14, 0x13, 0x12, 0x11, 0x10, 0x04, 0x03, 0x02, 0x01, /* index */
	0x00, 0x00, 0x00, 0x00,					    /* zero */
	0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* count: 256 */
	0x21, 0x43, 0x65, 0x87, 0x00, 0x00, 0x00, 0x00, /* rung at */
	0x00, 0x02, /* outcomes: stored, refused */
};

START_TEST(layout_is_pinned)
{
	struct tmem_ring *ring = calloc(1, sizeof(*ring));
	struct tmem_ring_slot *slot = &ring->slot[3];

	tmem_ring_init(ring);
	atomic_store(&ring->header.bell, TMEM_RING_ASLEEP | 1);
	atomic_store(&slot->state, TMEM_RING_SLEEPING);
	slot->result = -EBADF;
	slot->request = (struct tmem_ring_request){
		.op = TMEM_RING_PUT,
		.pool = 5,
		.oid = {{0x0001020304050607, 0x08090a0b0c0d0e0f,
			 0x1011121314151617}},
		.index = 0x01020304,
		.count = 256};
	slot->rung_at = 0x87654321;
	slot->outcome[1] = TMEM_REFUSED;
	ring->buffer[3][0] = 0x55;
	ck_assert_mem_eq(ring, golden_header, sizeof(golden_header));
	ck_assert_mem_eq((uint8_t *)ring + 4096 + 3 * 512, golden_slot,
			 sizeof(golden_slot));
	ck_assert_uint_eq(((uint8_t *)ring)[16384 + (3 << 20)], 0x55);
	ck_assert_uint_eq(sizeof(*ring), 16384 + (16 << 20));
	free(ring);
}
END_TEST

static const struct {
	int expected;
	struct tmem_ring_request request;
} checks[] = {
	{0, {.op = TMEM_RING_PUT, .count = 1}},
	{0, {.op = TMEM_RING_PUT, .count = 256}},
	{0, {.op = TMEM_RING_PUT, .count = 256, .index = UINT32_MAX - 255}},
	{0, {.op = TMEM_RING_GET, .count = 1, .index = UINT32_MAX}},
	{0, {.op = TMEM_RING_GET, .count = 256, .pool = 63}},
	{0, {.op = TMEM_RING_FLUSH, .count = 1}},
	{0, {.op = TMEM_RING_FLUSH, .count = UINT64_C(1) << 32}},
	{0, {.op = TMEM_RING_FLUSH, .count = 1, .index = UINT32_MAX}},
	{0, {.op = TMEM_RING_FLUSH_OBJECT}},
	{-EINVAL, {.op = 0, .count = 1}},
	{-EINVAL, {.op = 5, .count = 1}},
	{-EINVAL, {.op = UINT32_MAX, .count = 1}},
	{-EINVAL, {.op = TMEM_RING_PUT}},
	{-EINVAL, {.op = TMEM_RING_PUT, .count = 257}},
	{-EINVAL, {.op = TMEM_RING_PUT, .count = UINT64_MAX}},
	{-EINVAL, {.op = TMEM_RING_PUT, .count = (UINT64_C(1) << 32) + 1}},
	{-EINVAL, {.op = TMEM_RING_PUT, .count = 1, .zero = 1}},
	{-EINVAL, {.op = TMEM_RING_PUT, .count = 2, .index = UINT32_MAX}},
	{-EINVAL, {.op = TMEM_RING_GET}},
	{-EINVAL, {.op = TMEM_RING_GET, .count = 257}},
	{-EINVAL, {.op = TMEM_RING_GET, .count = 2, .index = UINT32_MAX}},
	{-EINVAL, {.op = TMEM_RING_GET, .count = 1, .zero = UINT32_MAX}},
	{-EINVAL, {.op = TMEM_RING_FLUSH}},
	{-EINVAL, {.op = TMEM_RING_FLUSH, .count = (UINT64_C(1) << 32) + 1}},
	{-EINVAL,
	 {.op = TMEM_RING_FLUSH, .count = UINT64_C(1) << 32, .index = 1}},
	{-EINVAL, {.op = TMEM_RING_FLUSH, .count = UINT64_MAX}},
	{-EINVAL, {.op = TMEM_RING_FLUSH, .count = 1, .zero = 1}},
	{-EINVAL, {.op = TMEM_RING_FLUSH_OBJECT, .count = 1}},
	{-EINVAL, {.op = TMEM_RING_FLUSH_OBJECT, .index = 1}},
	{-EINVAL, {.op = TMEM_RING_FLUSH_OBJECT, .zero = 1}},
	{-EBADF, {.op = TMEM_RING_GET, .count = 1, .pool = 1}},
	{-EBADF, {.op = TMEM_RING_GET, .count = 1, .pool = 62}},
	{-EBADF, {.op = TMEM_RING_GET, .count = 1, .pool = 64}},
	{-EBADF, {.op = TMEM_RING_GET, .count = 1, .pool = UINT32_MAX}},
	{-EBADF, {.op = TMEM_RING_FLUSH_OBJECT, .pool = 64}},
};

START_TEST(every_field_is_checked)
{
	const uint64_t pools = UINT64_C(1) << 63 | 1;

	ck_assert_int_eq(tmem_ring_request_check(&checks[_i].request, pools),
			 checks[_i].expected);
}
END_TEST

START_TEST(runs_of_every_length_come_back)
{
	static uint8_t pages[TMEM_RUN_MAX * TMEM_PAGE_SIZE];
	uint8_t outcome[TMEM_RUN_MAX];
	struct ends e;
	uint32_t n, i;

	test_pages_init();
	open_ends(&e, PATIENCE);
	for (n = 1; n <= TMEM_RUN_MAX; n++) {
		for (i = 0; i < n; i++)
			test_page(pages + i * TMEM_PAGE_SIZE, n + i);
		memset(outcome, 99, sizeof(outcome));
		ck_assert_int_eq(
			request(&e, TMEM_RING_PUT, 1, 10, n, pages, outcome),
			(int)n);
		for (i = 0; i < n; i++)
			ck_assert_uint_eq(outcome[i], TMEM_OK);
		memset(pages, 0xee, sizeof(pages));
		ck_assert_int_eq(
			request(&e, TMEM_RING_FLUSH, 1, 10, 1, NULL, NULL), 1);
		ck_assert_int_eq(
			request(&e, TMEM_RING_GET, 1, 10, n, pages, outcome),
			(int)n - 1);
		ck_assert_uint_eq(outcome[0], TMEM_MISS);
		for (i = 1; i < n; i++) {
			ck_assert_uint_eq(outcome[i], TMEM_OK);
			ck_assert(test_page_is(pages + i * TMEM_PAGE_SIZE,
					       n + i));
		}
		ck_assert_int_eq(request(&e, TMEM_RING_FLUSH_OBJECT, 1, 0, 0,
					 NULL, NULL),
				 n > 1);
		ck_assert_int_eq(
			request(&e, TMEM_RING_GET, 1, 10, n, pages, NULL), 0);
	}
	close_ends(&e);
}
END_TEST

#define THREADS 24 /* more than there are slots */

struct caller {
	struct ends *ends;
	unsigned number;
	unsigned hits;
	bool failed;
	pthread_t thread;
};

/* Put, get and flush pages of an object of one's own, whose bytes say which
 * they are. Anything but them or a miss is a failure. */
static void *call_much(void *arg)
{
	struct caller *c = arg;
	uint8_t *pages = malloc((size_t)TMEM_RUN_MAX * TMEM_PAGE_SIZE);
	uint8_t outcome[TMEM_RUN_MAX];
	struct test_random random;
	uint32_t round, n, i, index;

	test_random_init(&random, c->number);
	for (round = 0; round < 300 && !c->failed; round++) {
		n = 1 +
		    (uint32_t)test_random_below(&random, round % 16 ? 4 : 256);
		index = (uint32_t)test_random_below(&random, 64);
		for (i = 0; i < n; i++)
			test_page(pages + i * TMEM_PAGE_SIZE,
				  c->number * 1000 + index + i);
		if (request(c->ends, TMEM_RING_PUT, c->number, index, n, pages,
			    outcome) != (int)n)
			c->failed = true;
		memset(pages, 0, (size_t)n * TMEM_PAGE_SIZE);
		if (request(c->ends, TMEM_RING_GET, c->number, index, n, pages,
			    outcome) < 0)
			c->failed = true;
		for (i = 0; i < n; i++) {
			if (outcome[i] != TMEM_OK)
				continue;
			c->hits++;
			if (!test_page_is(pages + i * TMEM_PAGE_SIZE,
					  c->number * 1000 + index + i))
				c->failed = true;
		}
	}
	free(pages);
	return NULL;
}

static void run_callers(struct ends *e, struct caller *callers, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		callers[i] = (struct caller){.ends = e, .number = i + 1};
		pthread_create(&callers[i].thread, NULL, call_much,
			       &callers[i]);
	}
	for (i = 0; i < count; i++) {
		pthread_join(callers[i].thread, NULL);
		ck_assert(!callers[i].failed);
		ck_assert_uint_gt(callers[i].hits, 0);
	}
}

START_TEST(more_threads_than_slots_get_their_own_pages)
{
	static struct caller callers[THREADS];
	struct ends e;

	test_pages_init();
	open_ends(&e, PATIENCE);
	run_callers(&e, callers, THREADS);
	close_ends(&e);
}
END_TEST

/* A thread that puts into a stuck pool. */
static void *put_one(void *arg)
{
	static const uint8_t page[TMEM_PAGE_SIZE];

	return (void *)(intptr_t)request(arg, TMEM_RING_PUT, 1, 1, 1,
					 (void *)page, NULL);
}

START_TEST(stuck_server_ends_the_session)
{
	uint8_t page[TMEM_PAGE_SIZE] = {0};
	struct ends e;
	char byte;

	open_ends(&e, 50);
	test_fake_pool_stick(e.pool, true);
	ck_assert_int_eq(request(&e, TMEM_RING_PUT, 1, 1, 1, page, NULL),
			 -ENOTCONN);
	ck_assert(!tmem_ring_client_alive(e.client));
	/* The other side hears of it, */
	ck_assert_int_eq(read(e.conn[1], &byte, 1), 0);
	/* and the session stays over when the server comes to. */
	test_fake_pool_stick(e.pool, false);
	ck_assert_int_eq(request(&e, TMEM_RING_GET, 1, 1, 1, page, NULL),
			 -ENOTCONN);
	close_ends(&e);
}
END_TEST

START_TEST(dead_server_wakes_its_callers)
{
	static pthread_t thread[THREADS];
	uint8_t page[TMEM_PAGE_SIZE] = {0};
	struct ends e;
	void *result;
	int i;

	/* Some are in the pool, some wait for it, some have no slot. */
	open_ends(&e, PATIENCE);
	test_fake_pool_stick(e.pool, true);
	for (i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, put_one, &e);
	while (test_fake_pool_begun(e.pool) == 0)
		usleep(1000);
	shutdown(e.conn[1], SHUT_RDWR);
	for (i = 0; i < THREADS; i++) {
		pthread_join(thread[i], &result);
		ck_assert_int_eq((int)(intptr_t)result, -ENOTCONN);
	}
	ck_assert_int_eq(request(&e, TMEM_RING_GET, 1, 1, 1, page, NULL),
			 -ENOTCONN);
	test_fake_pool_stick(e.pool, false);
	close_ends(&e);
}
END_TEST

static void *flush_one(void *arg)
{
	return (void *)(intptr_t)request(arg, TMEM_RING_FLUSH_OBJECT, 1, 0, 0,
					 NULL, NULL);
}

START_TEST(long_flush_does_not_hold_up_others)
{
	uint8_t page[TMEM_PAGE_SIZE] = {0};
	struct ends e;
	pthread_t thread;
	void *result;

	open_ends(&e, PATIENCE);
	ck_assert_int_eq(request(&e, TMEM_RING_PUT, 1, 1, 1, page, NULL), 1);
	test_fake_pool_stick(e.pool, true);
	pthread_create(&thread, NULL, flush_one, &e);
	while (test_fake_pool_begun(e.pool) == 1)
		usleep(1000);
	ck_assert_int_eq(request(&e, TMEM_RING_GET, 1, 1, 1, page, NULL), 1);
	test_fake_pool_stick(e.pool, false);
	pthread_join(thread, &result);
	ck_assert_int_eq((int)(intptr_t)result, 1);
	close_ends(&e);
}
END_TEST

START_TEST(pools_are_numbered_and_taken_out)
{
	struct tmem_pool *pool[TMEM_RING_POOLS];
	uint8_t page[TMEM_PAGE_SIZE];
	struct ends e;
	unsigned i;

	open_ends(&e, PATIENCE);
	for (i = 1; i < TMEM_RING_POOLS; i++) {
		pool[i] = test_fake_pool_new();
		ck_assert_int_eq(tmem_ring_server_add(e.server, pool[i]),
				 (int)i);
	}
	ck_assert_int_eq(tmem_ring_server_add(e.server, e.pool), -ENOSPC);
	ck_assert_ptr_eq(tmem_ring_server_pool(e.server, 63), pool[63]);
	ck_assert_ptr_null(tmem_ring_server_pool(e.server, 64));
	ck_assert_ptr_null(tmem_ring_server_take(e.server, UINT32_MAX));
	for (i = 1; i < TMEM_RING_POOLS; i++) {
		ck_assert_ptr_eq(tmem_ring_server_take(e.server, i), pool[i]);
		ck_assert_ptr_null(tmem_ring_server_take(e.server, i));
		tmem_pool_free(pool[i]);
	}
	/* A request for one that is gone is an error, which a client of ours
	 * takes for a broken server. */
	i = e.id;
	e.id = 1;
	ck_assert_int_eq(request(&e, TMEM_RING_GET, 1, 1, 1, page, NULL),
			 -ENOTCONN);
	e.id = i;
	close_ends(&e);
}
END_TEST

/* Answers whatever comes in slot 0 with a result. */
struct liar {
	struct tmem_ring *ring;
	int result;
};

static void *answer(void *arg)
{
	struct liar *liar = arg;

	while (!(atomic_load(&liar->ring->header.bell) & 1))
		usleep(100);
	liar->ring->slot[0].result = liar->result;
	if (atomic_exchange(&liar->ring->slot[0].state, TMEM_RING_DONE) ==
	    TMEM_RING_SLEEPING)
		tmem_ring_wake(&liar->ring->slot[0].state, 1);
	return NULL;
}

START_TEST(senseless_result_ends_the_session)
{
	static const int results[] = {3, INT32_MAX, -EBADF, INT32_MIN};
	uint8_t pages[2 * TMEM_PAGE_SIZE];
	struct ends e = {.id = 0};
	struct liar liar = {.result = results[_i]};
	pthread_t thread;
	int fd;

	liar.ring = bare_ring(sizeof(*liar.ring), F_SEAL_SHRINK, &fd);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, e.conn), 0);
	ck_assert_int_eq(
		tmem_ring_client_new(fd, e.conn[0], PATIENCE, &e.client), 0);
	pthread_create(&thread, NULL, answer, &liar);
	ck_assert_int_eq(request(&e, TMEM_RING_GET, 1, 1, 2, pages, NULL),
			 -ENOTCONN);
	pthread_join(thread, NULL);
	ck_assert(!tmem_ring_client_alive(e.client));
	tmem_ring_client_free(e.client);
	munmap(liar.ring, sizeof(*liar.ring));
	close(fd);
	close(e.conn[0]);
	close(e.conn[1]);
}
END_TEST

START_TEST(what_is_no_ring_is_refused)
{
	struct tmem_ring_client *client = NULL;
	struct tmem_ring *ring;
	int fd;

	ring = bare_ring(sizeof(*ring), 0, &fd);
	ck_assert_int_eq(tmem_ring_client_new(fd, -1, 1, &client), -EPROTO);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	ring->header.version++;
	ck_assert_int_eq(tmem_ring_client_new(fd, -1, 1, &client), -EPROTO);
	ring->header.version--;
	ck_assert_int_eq(tmem_ring_client_new(fd, -1, 1, &client), 0);
	tmem_ring_client_free(client);
	client = NULL;
	munmap(ring, sizeof(*ring));
	close(fd);
	ring = bare_ring(sizeof(*ring) - 4096, F_SEAL_SHRINK, &fd);
	ck_assert_int_eq(tmem_ring_client_new(fd, -1, 1, &client), -EPROTO);
	munmap(ring, sizeof(*ring) - 4096);
	close(fd);
	fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(tmem_ring_client_new(fd, -1, 1, &client), -EPROTO);
	ck_assert_ptr_null(client);
	close(fd);
}
END_TEST

START_TEST(ring_cannot_be_resized)
{
	struct ends e;
	int fd;

	open_ends(&e, PATIENCE);
	fd = tmem_ring_server_fd(e.server);
	ck_assert_int_lt(ftruncate(fd, 0), 0);
	ck_assert_int_lt(ftruncate(fd, sizeof(struct tmem_ring) + 1), 0);
	ck_assert_int_lt(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	close_ends(&e);
}
END_TEST

/* Overwrites a ring, its bell, requests, and pages, with likely and unlikely
 * values, and punches holes into it. */
struct scribbler {
	struct tmem_ring *ring;
	int fd;
	_Atomic(bool) stop;
	pthread_t thread;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	struct test_random random;
	volatile uint64_t *word = (volatile uint64_t *)s->ring;
	uint64_t r, at;

	test_random_init(&random, test_seed());
	while (!atomic_load(&s->stop)) {
		r = test_random_next(&random);
		at = r >> 8;
		/* Half in the header and slots, half anywhere. */
		at %= r & 1 ? 12288 / 8 : sizeof(*s->ring) / 8;
		word[at] = r & 2 ? test_random_below(&random, 300)
				 : test_random_next(&random);
		if (r & 4)
			atomic_store(&s->ring->header.bell,
				     (uint32_t)test_random_next(&random));
		if (r & 8)
			tmem_ring_wake(&s->ring->header.bell, 1);
		if ((r & 0xff0) == 0)
			fallocate(s->fd,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (off_t)(at * 8 & ~4095u), 4096);
	}
	return NULL;
}

START_TEST(scribbling_client_harms_only_itself)
{
	static struct caller callers[4];
	struct scribbler s = {.stop = false};
	struct ends honest, hostile;

	test_pages_init();
	open_ends(&honest, PATIENCE);
	open_ends(&hostile, PATIENCE);
	s.fd = fcntl(tmem_ring_server_fd(hostile.server), F_DUPFD_CLOEXEC, 0);
	s.ring = mmap(NULL, sizeof(*s.ring), PROT_READ | PROT_WRITE, MAP_SHARED,
		      s.fd, 0);
	ck_assert_ptr_ne(s.ring, MAP_FAILED);
	pthread_create(&s.thread, NULL, scribble, &s);
	run_callers(&honest, callers, 4);
	/* Its pool can be taken out, and its workers end, while it goes on. */
	ck_assert_ptr_eq(tmem_ring_server_take(hostile.server, hostile.id),
			 hostile.pool);
	hostile.id =
		(uint32_t)tmem_ring_server_add(hostile.server, hostile.pool);
	run_callers(&honest, callers, 4);
	ck_assert_ptr_eq(tmem_ring_server_take(hostile.server, hostile.id),
			 hostile.pool);
	tmem_ring_server_free(hostile.server);
	atomic_store(&s.stop, true);
	pthread_join(s.thread, NULL);
	close(s.fd);
	munmap(s.ring, sizeof(*s.ring));
	tmem_ring_client_free(hostile.client);
	tmem_pool_free(hostile.pool);
	close(hostile.conn[0]);
	close(hostile.conn[1]);
	close_ends(&honest);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring");
	TCase *tests = tcase_create("ring");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_set_timeout(tests, 0); /* meson has one */
	tcase_add_test(tests, layout_is_pinned);
	tcase_add_loop_test(tests, every_field_is_checked, 0,
			    sizeof(checks) / sizeof(checks[0]));
	tcase_add_test(tests, runs_of_every_length_come_back);
	tcase_add_test(tests, more_threads_than_slots_get_their_own_pages);
	tcase_add_test(tests, stuck_server_ends_the_session);
	tcase_add_test(tests, dead_server_wakes_its_callers);
	tcase_add_test(tests, long_flush_does_not_hold_up_others);
	tcase_add_test(tests, pools_are_numbered_and_taken_out);
	tcase_add_loop_test(tests, senseless_result_ends_the_session, 0, 4);
	tcase_add_test(tests, what_is_no_ring_is_refused);
	tcase_add_test(tests, ring_cannot_be_resized);
	tcase_add_test(tests, scribbling_client_harms_only_itself);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
