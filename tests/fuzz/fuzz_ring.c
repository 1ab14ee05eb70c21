/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests from bytes, through the check and the executor of a ring's server,
 * on a store of its own. Each input is a client's life; after it the store's
 * invariants hold.
 *
 * A request is 32 bytes: op (1), pool (1), object (1), pages' seed (1), index
 * (4), count (8), zero (4), and 12 that are the object id's rest when the
 * object byte's highest bit is set.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tmem/store.h>
#include "pages.h"
#include "ring-server.h"

#define REQUEST_SIZE 32u
#define POOLS	     4u

static struct tmem_store *store;
static struct tmem_ring_server *server;
static struct tmem_client *other;
static struct tmem_pool *others_pool;
static struct tmem_ring_work *work;
static uint8_t *buffer;

static const struct tmem_oid others_oid = {{0, 0, 0}};

static void must(int good, const char *what)
{
	if (!good) {
		fprintf(stderr, "fuzz_ring: %s\n", what);
		abort();
	}
}

static struct tmem_pool *open_pool(struct tmem_client *client, unsigned i)
{
	static const uint32_t flags[POOLS] = {
		0, TMEM_POOL_EXCLUSIVE, TMEM_POOL_PERSISTENT,
		TMEM_POOL_PERSISTENT | TMEM_POOL_SHARED};
	struct tmem_pool_config config = {.flags = flags[i],
					  .dedup = TMEM_DEDUP_ON};
	struct tmem_pool *pool = NULL;
	char name[2] = {(char)('a' + i), 0};

	config.name = name;
	if (flags[i] & TMEM_POOL_SHARED)
		config.uuid.byte[0] = 1;
	must(tmem_pool_new(client, &config, &pool) == 0, "pool");
	return pool;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct tmem_client_config client = {.name = "other"};
	struct tmem_store_config config;
	struct tmem_uuid uuid = {{1}};
	uint8_t page[TMEM_PAGE_SIZE];

	(void)argc;
	(void)argv;
	test_pages_init();
	tmem_store_config_init(&config);
	config.nursery = 0;
	config.threads = 0;
	config.budget = 8u << 20;
	config.capacity = 16u << 20;
	must(tmem_store_open(&config, &store) == 0, "store");
	must(tmem_store_shared_auth(store, 0, "fuzz", &uuid, true) == 0,
	     "auth");
	must(tmem_client_new_local(store, &client, &other) == 0, "client");
	others_pool = open_pool(other, 2);
	test_page(page, 77);
	must(tmem_put(others_pool, &others_oid, 0, page) == TMEM_OK, "put");
	work = aligned_alloc(64, sizeof(*work));
	buffer = malloc((size_t)TMEM_RUN_MAX * TMEM_PAGE_SIZE);
	must(work && buffer, "malloc");
	must(tmem_ring_server_new(NULL, &server) == 0, "server");
	return 0;
}

/* Make the request that 32 bytes stand for. */
static void make_request(const uint8_t *data)
{
	struct tmem_ring_request *r = &work->request;

	memset(r, 0, sizeof(*r));
	r->op = data[0] % 7 == 6 ? 0x10000u + data[0] : data[0] % 7;
	r->pool = data[1] % 8 == 7 ? 0x80000000u + data[1] : data[1] % 8;
	r->oid.word[0] = data[2] & 0x7f;
	memcpy(&r->index, data + 4, sizeof(r->index));
	memcpy(&r->count, data + 8, sizeof(r->count));
	memcpy(&r->zero, data + 16, sizeof(r->zero));
	if (data[2] & 0x80)
		memcpy(&r->oid.word[1], data + 20, 12);
}

/* What a reply must be, whatever the request was. */
static void execute(const uint8_t *data)
{
	const struct tmem_ring_request *r = &work->request;
	uint32_t i;
	int result, hits = 0;

	make_request(data);
	if (r->op == TMEM_RING_PUT && r->count <= TMEM_RUN_MAX)
		for (i = 0; i < r->count; i++)
			test_page(buffer + (size_t)i * TMEM_PAGE_SIZE,
				  data[3] + i);
	memset(work->outcome, 99, sizeof(work->outcome));
	result = tmem_ring_server_execute(server, work, buffer);
	if (result < 0 || r->op > TMEM_RING_GET)
		return;
	must(r->count >= 1 && r->count <= TMEM_RUN_MAX, "count let through");
	must(r->zero == 0 && r->pool < POOLS, "field let through");
	for (i = 0; i < r->count; i++) {
		must(work->outcome[i] <= TMEM_REFUSED, "outcome");
		hits += work->outcome[i] == TMEM_OK;
	}
	must(hits == result, "result");
	for (; i < TMEM_RUN_MAX; i++)
		must(work->outcome[i] == 99, "too many outcomes");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tmem_client_config config = {.name = "fuzz"};
	struct tmem_client *client = NULL;
	uint8_t page[TMEM_PAGE_SIZE];
	unsigned i;

	must(tmem_client_new_local(store, &config, &client) == 0, "client");
	for (i = 0; i < POOLS; i++)
		must(tmem_ring_server_add(server, open_pool(client, i)) ==
			     (int)i,
		     "add");
	for (; size >= REQUEST_SIZE; size -= REQUEST_SIZE, data += REQUEST_SIZE)
		execute(data);
	for (i = 0; i < POOLS; i++)
		tmem_pool_destroy(tmem_ring_server_take(server, i));
	tmem_client_free(client);
	must(tmem_get(others_pool, &others_oid, 0, page) == TMEM_OK &&
		     test_page_is(page, 77),
	     "another client's page");
	must(tmem_store_check(store, stderr) == 0, "store");
	return 0;
}
