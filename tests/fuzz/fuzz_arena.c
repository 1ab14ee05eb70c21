/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reopen a damaged arena. An input is a list of changes to a good arena; the
 * store must refuse to open it, or open it and then work: whatever its pages
 * have become, no call crashes or touches anything outside of the arena.
 *
 * A change is 14 bytes: what (1), how many bytes (1), where (4, among the
 * bytes that the file really holds), with what (8).
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tmem/client.h>
#include <tmem/store.h>
#include <unistd.h>
#include "arena-file.h"
#include "pages.h"

#define PAGES	     96u
#define EXTENTS_MOST 512u
#define CHANGE_SIZE  14u

/* What a change does. */
enum { SET, XOR, COPY, TRUNCATE, PUNCH, KINDS };

/* A piece of the good arena's file; all between is holes. */
struct extent {
	off_t at;
	size_t size;
	uint8_t *bytes;
};
static struct extent extents[EXTENTS_MOST];
static size_t extents_count;
static size_t data_size; /* of all extents */
static off_t file_size;

static const struct tmem_oid oid = {{1, 2, 3}};

static void must(int good, const char *what)
{
	if (!good) {
		perror(what);
		abort();
	}
}

static struct tmem_store *open_store(int fd)
{
	struct tmem_store_config config;
	struct tmem_store *store = NULL;

	tmem_store_config_init(&config);
	config.nursery = 0;
	config.threads = 0;
	config.budget = 12 << 20;
	config.capacity = 16 << 20;
	config.hash_bits = 6;
	config.arena_fd = fd;
	if (tmem_store_open(&config, &store)) {
		close(fd);
		return NULL;
	}
	return store;
}

static struct tmem_client *open_client(struct tmem_store *store, unsigned who)
{
	struct tmem_client_config config = {
		.name = who ? "second" : "first",
		.domain = who ? "blue" : NULL,
	};
	struct tmem_client *client = NULL;

	if (tmem_client_new_local(store, &config, &client))
		return NULL;
	return client;
}

static struct tmem_pool *open_pool(struct tmem_store *store,
				   struct tmem_client *client, unsigned kind)
{
	static const char *const names[] = {"swap", "raw", "shared", "cache"};
	struct tmem_pool_config config = {
		.name = names[kind],
		.flags = kind < 3 ? TMEM_POOL_PERSISTENT : 0,
		.codec = kind == 1 ? TMEM_CODEC_RAW : TMEM_CODEC_LZ4,
		.dedup = TMEM_DEDUP_ON,
	};
	struct tmem_pool *pool = NULL;

	if (kind == 2) {
		config.flags |= TMEM_POOL_SHARED;
		config.uuid.byte[3] = 3;
		tmem_store_shared_auth(store, 0, "first", &config.uuid, true);
		tmem_store_shared_auth(store, 0, "second", &config.uuid, true);
	}
	if (tmem_pool_new(client, &config, &pool))
		return NULL;
	return pool;
}

/* Use a pool; start is where its new pages' seeds start. */
static void use(struct tmem_pool *pool, uint64_t start)
{
	static uint8_t bytes[32 * TMEM_PAGE_SIZE];

	tmem_get_run(pool, &oid, 0, 32, bytes, NULL);
	for (uint32_t n = 0; n < PAGES; n++)
		tmem_get(pool, &oid, n * 3, bytes);
	for (uint32_t n = 0; n < PAGES / 8; n++) {
		test_page(bytes, start + n);
		tmem_put(pool, &oid, n * 7, bytes);
	}
	tmem_flush_run(pool, &oid, 0, 60);
	tmem_flush(pool, &oid, 99);
}

static void fill(struct tmem_pool *pool)
{
	uint8_t bytes[TMEM_PAGE_SIZE];

	for (uint32_t n = 0; n < PAGES; n++) {
		test_page(bytes, n % 80 + 1);
		must(tmem_put(pool, &oid, n * 3, bytes) == TMEM_OK, "put");
	}
}

static void use_store(struct tmem_store *store,
		      void (*page_calls)(struct tmem_pool *, uint64_t),
		      FILE *out)
{
	struct tmem_client *client[2];
	struct tmem_pool *pool[2][4] = {0};

	for (unsigned who = 0; who < 2; who++) {
		client[who] = open_client(store, who);
		for (unsigned kind = 0; client[who] && kind < 4; kind++) {
			pool[who][kind] = open_pool(store, client[who], kind);
			if (!pool[who][kind])
				continue;
			if (page_calls)
				page_calls(pool[who][kind], 1 + kind * 5);
			else
				fill(pool[who][kind]);
		}
	}
	if (out) {
		tmem_store_compact(store);
		tmem_store_check(store, out);
		tmem_store_dump(store, out, true);
		if (pool[0][0])
			tmem_flush_object(pool[0][0], &oid);
	}
	for (unsigned who = 0; who < 2; who++) {
		for (unsigned kind = 0; kind < 4; kind++)
			tmem_pool_free(pool[who][kind]);
		tmem_client_free(client[who]);
	}
}

/* Make a good arena and keep its bytes. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int fd = test_arena_memfd();
	struct tmem_store *store;
	off_t at = 0;

	(void)argc;
	(void)argv;
	test_pages_init();
	store = open_store(test_arena_again(fd));
	must(store != NULL, "open");
	use_store(store, NULL, NULL);
	tmem_store_close(store);
	file_size = lseek(fd, 0, SEEK_END);
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		struct extent *extent = &extents[extents_count++];

		must(extents_count <= EXTENTS_MOST, "extents");
		extent->at = at;
		extent->size = (size_t)(lseek(fd, at, SEEK_HOLE) - at);
		extent->bytes = malloc(extent->size);
		must(extent->bytes && pread(fd, extent->bytes, extent->size,
					    at) == (ssize_t)extent->size,
		     "pread");
		data_size += extent->size;
		at += (off_t)extent->size;
	}
	close(fd);
	return 0;
}

/* Where the Nth byte of data is in the file, and how many follow it. */
static off_t locate(size_t n, size_t *left)
{
	struct extent *extent = extents;

	n %= data_size;
	while (n >= extent->size)
		n -= (extent++)->size;
	*left = extent->size - n;
	return extent->at + (off_t)n;
}

static void apply(int fd, const uint8_t *change)
{
	size_t count = change[1] % 8 + 1;
	uint32_t where, from;
	uint8_t bytes[8];
	size_t left;
	off_t at;

	memcpy(&where, change + 2, sizeof(where));
	memcpy(&from, change + 6, sizeof(from));
	at = locate(where, &left);
	if (count > left)
		count = left;
	switch (change[0] % KINDS) {
	case SET:
		must(pwrite(fd, change + 6, count, at) >= 0, "pwrite");
		break;
	case XOR:
		must(pread(fd, bytes, count, at) >= 0, "pread");
		for (size_t i = 0; i < count; i++)
			bytes[i] ^= change[6 + i];
		must(pwrite(fd, bytes, count, at) >= 0, "pwrite");
		break;
	case COPY:
		memset(bytes, 0, sizeof(bytes));
		must(pread(fd, bytes, 8, locate(from, &left)) >= 0, "pread");
		must(pwrite(fd, bytes, count, at) >= 0, "pwrite");
		break;
	case TRUNCATE:
		/* Seldom, or nothing else would be found. */
		if (change[1] % 16 == 0)
			must(ftruncate(fd, at) == 0, "ftruncate");
		break;
	default:
		must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       at & -4096, 4096) == 0,
		     "fallocate");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *null;
	int fd = test_arena_memfd();
	struct tmem_store *store;

	if (!null)
		null = fopen("/dev/null", "w");
	must(null && ftruncate(fd, file_size) == 0, "ftruncate");
	for (size_t i = 0; i < extents_count; i++)
		must(pwrite(fd, extents[i].bytes, extents[i].size,
			    extents[i].at) == (ssize_t)extents[i].size,
		     "pwrite");
	for (; size >= CHANGE_SIZE; size -= CHANGE_SIZE, data += CHANGE_SIZE)
		apply(fd, data);
	store = open_store(fd);
	if (!store)
		return 0;
	tmem_store_check(store, null);
	use_store(store, use, null);
	tmem_store_close(store);
	return 0;
}
