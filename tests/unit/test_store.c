/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store's calls as tmem/store.h promises them: opening, reopening, budget,
 * reclaiming, clients' settings, ending pools and clients. */
#include "scene.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "arena-file.h"
#include "pages.h"

static uint64_t blocks(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void put_many(struct tmem_pool *pool, uint32_t pages, uint64_t seed)
{
	for (uint32_t n = 0; n < pages; n++)
		ck_assert_int_eq(scene_put(pool, n, seed + n), TMEM_OK);
}

START_TEST(bad_configurations_are_told)
{
	struct tmem_store_config config;
	struct tmem_store *store = NULL;

	tmem_store_config_init(&config);
	ck_assert_int_eq(config.budget, 256 * MIB);
	ck_assert_int_eq(config.arena_fd, -1);
	config.budget = TMEM_BUDGET_MIN - 1;
	ck_assert_int_eq(tmem_store_open(&config, &store), -EINVAL);
	config.budget = 64 * MIB;
	config.capacity = 32 * MIB;
	ck_assert_int_eq(tmem_store_open(&config, &store), -EINVAL);
	config.capacity = (1ull << 40) + 4096;
	ck_assert_int_eq(tmem_store_open(&config, &store), -EINVAL);
	config.capacity = 64 * MIB;
	config.codec = TMEM_CODEC_COUNT;
	ck_assert_int_eq(tmem_store_open(&config, &store), -EINVAL);
	config.codec = TMEM_CODEC_NONE;
	config.hash_bits = 65;
	ck_assert_int_eq(tmem_store_open(&config, &store), -EINVAL);
	ck_assert_ptr_null(store);
	ck_assert_ptr_null(tmem_store_close(NULL));
}
END_TEST

START_TEST(arena_has_one_owner)
{
	int fd = test_arena_memfd();
	struct tmem_store *store = scene_store(16 * MIB, fd);
	struct tmem_store_config config;
	struct tmem_store *second = NULL;

	tmem_store_config_init(&config);
	config.arena_fd = test_arena_again(fd);
	ck_assert_int_eq(tmem_store_open(&config, &second), -EBUSY);
	ck_assert_ptr_null(second);
	/* Not taken over on failure: still open. */
	ck_assert_int_eq(close(config.arena_fd), 0);
	scene_close(store);
	scene_close(scene_store(16 * MIB, fd));
	close(fd);
}
END_TEST

START_TEST(other_files_are_left_alone)
{
	static char before[3 * 4096], after[3 * 4096];
	struct tmem_store_config config;
	struct tmem_store *store = NULL;
	int fd = test_arena_memfd();

	memset(before, 'x', sizeof(before));
	ck_assert_int_eq(pwrite(fd, before, sizeof(before), 0), sizeof(before));
	tmem_store_config_init(&config);
	config.arena_fd = fd;
	ck_assert_int_eq(tmem_store_open(&config, &store), -EBADMSG);
	ck_assert_int_eq(pread(fd, after, sizeof(after), 0), sizeof(after));
	ck_assert_int_eq(memcmp(before, after, sizeof(after)), 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), sizeof(after));
	ck_assert_int_eq(close(fd), 0);
}
END_TEST

/* Closed and opened again: persistent pages, settings, authorisations and the
 * generation are there; ephemeral pages and pools are not. */
START_TEST(reopened_store_remembers)
{
	int fd = test_arena_memfd();
	struct tmem_store *store = scene_store(32 * MIB, fd);
	struct tmem_client *client = scene_client(store, "guest", "red");
	struct tmem_pool *keep =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	struct tmem_pool *drop = scene_pool(client, "cache", 0);
	struct tmem_pool *shared = scene_pool(
		client, "both", TMEM_POOL_SHARED | TMEM_POOL_PERSISTENT);
	struct tmem_client_settings settings = {
		.set = TMEM_SET_WEIGHT | TMEM_SET_CAP | TMEM_SET_MAXMEM |
		       TMEM_SET_CODEC | TMEM_SET_DEDUP | TMEM_SET_FROZEN,
		.weight = 7,
		.cap = 10 * MIB,
		.maxmem = 20 * MIB,
		.codec = TMEM_CODEC_ZSTD,
		.dedup = TMEM_DEDUP_OFF,
		.frozen = true,
	};
	uint64_t generation = tmem_store_generation(store);
	struct tmem_client_info *clients;
	size_t count;

	ck_assert(!tmem_store_reopened(store));
	put_many(keep, 500, 1);
	put_many(drop, 500, 1001);
	put_many(shared, 100, 2001);
	ck_assert_int_eq(tmem_store_client_set(store,
					       scene_client_id(store, "guest"),
					       &settings),
			 0);
	tmem_pool_free(keep);
	tmem_pool_free(drop);
	tmem_pool_free(shared);
	tmem_client_free(client);
	scene_close(store);

	store = scene_store(32 * MIB, fd);
	ck_assert(tmem_store_reopened(store));
	ck_assert_uint_eq(tmem_store_generation(store), generation);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_pages), 600);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_ephemeral_pages), 0);
	ck_assert_uint_eq(scene_pool_id(store, "cache"), 0);
	ck_assert_int_eq(tmem_store_clients(store, &clients, NULL, &count), 0);
	ck_assert_uint_eq(count, 1);
	ck_assert_str_eq(clients[0].name, "guest");
	ck_assert_str_eq(clients[0].domain, "red");
	ck_assert(!clients[0].connected);
	ck_assert_uint_eq(clients[0].settings.weight, 7);
	ck_assert_uint_eq(clients[0].settings.cap, 10 * MIB);
	ck_assert_uint_eq(clients[0].settings.maxmem, 20 * MIB);
	ck_assert_int_eq(clients[0].settings.codec, TMEM_CODEC_ZSTD);
	ck_assert_int_eq(clients[0].settings.dedup, TMEM_DEDUP_OFF);
	ck_assert(clients[0].settings.frozen);
	free(clients);

	client = scene_client(store, "guest", "red");
	keep = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	drop = scene_pool(client, "cache", 0);
	shared = scene_pool(client, "both",
			    TMEM_POOL_SHARED | TMEM_POOL_PERSISTENT);
	for (uint32_t n = 0; n < 500; n++) {
		ck_assert_uint_eq(scene_get(keep, n), 1 + n);
		ck_assert_uint_eq(scene_get(drop, n), 0);
	}
	for (uint32_t n = 0; n < 100; n++)
		ck_assert_uint_eq(scene_get(shared, n), 2001 + n);
	ck_assert_int_eq(scene_put(keep, 1, 1), TMEM_REFUSED);
	tmem_pool_free(keep);
	tmem_pool_free(drop);
	tmem_pool_free(shared);
	tmem_client_free(client);
	scene_close(store);
	close(fd);
}
END_TEST

/* A reopened arena keeps its capacity, and more than the budget if it must. */
START_TEST(reopened_with_a_smaller_budget)
{
	int fd = test_arena_memfd();
	struct tmem_store *store = scene_store(64 * MIB, fd);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);

	for (uint32_t n = 0; n < 4000; n++)
		ck_assert_int_eq(scene_put_random(pool, n, n + 1), TMEM_OK);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);

	store = scene_store(TMEM_BUDGET_MIN, fd);
	client = scene_client(store, "guest", NULL);
	pool = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	for (uint32_t n = 0; n < 4000; n++)
		ck_assert_uint_eq(scene_get(pool, n), n + 1);
	ck_assert_int_eq(scene_put_random(pool, 5000, 5001), TMEM_REFUSED);
	ck_assert_int_eq(tmem_store_set_budget(store, 64 * MIB), 0);
	ck_assert_int_eq(scene_put_random(pool, 5000, 5001), TMEM_OK);
	ck_assert_int_eq(tmem_store_set_budget(store, 257 * MIB), -EINVAL);
	ck_assert_int_eq(tmem_pool_destroy(pool), 0);
	tmem_client_free(client);
	scene_close(store);
	close(fd);
}
END_TEST

/* Shrinking the budget gives memory back to the kernel, and what the store
 * counts is what the kernel counts (rule 12). */
START_TEST(smaller_budget_frees_memory)
{
	int fd = test_arena_memfd();
	struct tmem_store *store = scene_store(64 * MIB, fd);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool = scene_pool(client, "cache", 0);
	uint64_t used, arena;

	for (uint32_t n = 0; n < 30000; n++)
		scene_put(pool, n, n + 1);
	used = scene_stat(store, TMEM_HOST_STAT_used);
	ck_assert_uint_le(used, 64 * MIB);
	ck_assert_uint_gt(used, 32 * MIB);
	arena = used - scene_stat(store, TMEM_HOST_STAT_private_bytes);
	ck_assert_uint_le(blocks(fd), arena + arena / 50);
	ck_assert_uint_ge(blocks(fd), arena - arena / 50);

	for (uint64_t budget = 56 * MIB; budget >= 8 * MIB; budget -= 8 * MIB) {
		ck_assert_int_eq(tmem_store_set_budget(store, budget), 0);
		ck_assert_uint_le(scene_stat(store, TMEM_HOST_STAT_used),
				  budget);
		ck_assert_uint_le(blocks(fd), budget);
	}
	ck_assert_uint_gt(scene_stat(store, TMEM_HOST_STAT_evictions), 0);
	ck_assert_int_eq(tmem_store_set_budget(store, TMEM_BUDGET_MIN - 1),
			 -EINVAL);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
	close(fd);
}
END_TEST

START_TEST(persistent_pages_resist_a_smaller_budget)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);

	for (uint32_t n = 0; n < 4000; n++)
		ck_assert_int_eq(scene_put_random(pool, n, n + 1), TMEM_OK);
	ck_assert_int_eq(tmem_store_set_budget(store, 8 * MIB), -ENOMEM);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_budget), 8 * MIB);
	for (uint32_t n = 1; n < 4000; n++)
		ck_assert_uint_eq(scene_get(pool, n), n + 1);
	/* Not the bytes of another page, which may be shared. */
	ck_assert_int_eq(scene_put_random(pool, 5000, 5001), TMEM_REFUSED);
	for (uint32_t n = 0; n < 4000; n++)
		ck_assert_int_eq(scene_flush(pool, n), TMEM_OK);
	ck_assert_int_eq(scene_put_random(pool, 5000, 1), TMEM_OK);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

/* Rule 6: a persistent put evicts ephemeral pages before it is refused. */
START_TEST(persistent_put_evicts)
{
	struct tmem_store *store = scene_store(16 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *cache = scene_pool(client, "cache", 0);
	struct tmem_pool *swap =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	uint32_t n;

	for (n = 0; n < 6000; n++)
		scene_put_random(cache, n, n + 1);
	for (n = 0; n < 2500; n++)
		ck_assert_int_eq(scene_put_random(swap, n, n + 1), TMEM_OK);
	for (n = 0; n < 2500; n++)
		ck_assert_uint_eq(scene_get(swap, n), n + 1);
	ck_assert_uint_gt(scene_stat(store, TMEM_HOST_STAT_evictions), 1000);
	tmem_pool_free(cache);
	tmem_pool_free(swap);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(reclaim_gives_memory_back)
{
	int fd = test_arena_memfd();
	struct tmem_store *store = scene_store(64 * MIB, fd);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool = scene_pool(client, "cache", 0);
	uint64_t before, released, freeable;

	for (uint32_t n = 0; n < 6000; n++)
		ck_assert_int_eq(scene_put_random(pool, n, n + 1), TMEM_OK);
	freeable = tmem_store_freeable(store);
	ck_assert_uint_ge(freeable, 6000 * 4096ull);
	before = blocks(fd);
	ck_assert_int_eq(tmem_store_reclaim(store, 10 * MIB, &released), 0);
	ck_assert_uint_ge(released, 10 * MIB);
	ck_assert_uint_le(released, 12 * MIB);
	ck_assert_uint_le(blocks(fd), before - 9 * MIB);
	ck_assert_int_eq(tmem_store_reclaim(store, 1ull << 40, &released), 0);
	ck_assert_uint_lt(tmem_store_freeable(store), MIB);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_pages), 0);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
	close(fd);
}
END_TEST

/* Sparse slabs are moved together, and the pages are still right. */
START_TEST(compaction_keeps_pages)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	uint64_t before;

	put_many(pool, 8000, 1);
	for (uint32_t n = 0; n < 8000; n++)
		if (n % 4)
			ck_assert_int_eq(scene_flush(pool, n), TMEM_OK);
	before = scene_stat(store, TMEM_HOST_STAT_slab_bytes);
	ck_assert_uint_gt(tmem_store_compact(store), 0);
	ck_assert_uint_lt(scene_stat(store, TMEM_HOST_STAT_slab_bytes),
			  before * 2 / 3);
	ck_assert_uint_gt(scene_stat(store, TMEM_HOST_STAT_compactions), 100);
	for (uint32_t n = 0; n < 8000; n += 4)
		ck_assert_uint_eq(scene_get(pool, n), 1 + n);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

/* Who is furthest above its weighted share pays. */
START_TEST(weights_decide_who_pays)
{
	struct tmem_store *store = scene_store(32 * MIB, -1);
	struct tmem_client *a = scene_client(store, "a", "red");
	struct tmem_client *b = scene_client(store, "b", "blue");
	struct tmem_pool *of_a = scene_pool(a, "cache", 0);
	struct tmem_pool *of_b = scene_pool(b, "cache", 0);
	struct tmem_client_settings settings = {.set = TMEM_SET_WEIGHT,
						.weight = 300};
	uint64_t *values;
	struct tmem_client_info *clients;
	size_t count;
	uint64_t pages[2];

	ck_assert_int_eq(tmem_store_client_set(
				 store, scene_client_id(store, "a"), &settings),
			 0);
	for (uint32_t n = 0; n < 12000; n++) {
		scene_put_random(of_a, n, n + 1);
		scene_put_random(of_b, n, n + 1);
	}
	ck_assert_int_eq(tmem_store_clients(store, &clients, &values, &count),
			 0);
	ck_assert_uint_eq(count, 2);
	for (size_t i = 0; i < 2; i++)
		pages[clients[i].name[0] - 'a'] =
			values[i * TMEM_CLIENT_STAT_COUNT +
			       TMEM_CLIENT_STAT_pages];
	/* 3 to 1, within a tenth. */
	ck_assert_uint_gt(pages[0] * 10, pages[1] * 27);
	ck_assert_uint_lt(pages[0] * 10, pages[1] * 33);
	free(clients);
	free(values);
	tmem_pool_free(of_a);
	tmem_pool_free(of_b);
	tmem_client_free(a);
	tmem_client_free(b);
	scene_close(store);
}
END_TEST

START_TEST(lower_cap_evicts)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool = scene_pool(client, "cache", 0);
	struct tmem_client_settings settings = {.set = TMEM_SET_CAP,
						.cap = 4 * MIB};
	uint32_t id = scene_client_id(store, "guest");
	uint64_t *values;
	struct tmem_client_info *clients;
	size_t count;

	for (uint32_t n = 0; n < 4000; n++)
		scene_put_random(pool, n, n + 1);
	ck_assert_int_eq(tmem_store_client_set(store, id, &settings), 0);
	for (uint32_t n = 4000; n < 5000; n++)
		scene_put_random(pool, n, n + 1);
	ck_assert_int_eq(tmem_store_clients(store, &clients, &values, &count),
			 0);
	ck_assert_uint_le(values[TMEM_CLIENT_STAT_charged], 4 * MIB);
	ck_assert_uint_gt(values[TMEM_CLIENT_STAT_pages], 500);
	free(clients);
	free(values);
	settings.weight = 0;
	settings.set = TMEM_SET_WEIGHT;
	ck_assert_int_eq(tmem_store_client_set(store, id, &settings), -EINVAL);
	settings.weight = 10001;
	ck_assert_int_eq(tmem_store_client_set(store, id, &settings), -EINVAL);
	settings.set = TMEM_SET_CODEC;
	settings.codec = TMEM_CODEC_COUNT;
	ck_assert_int_eq(tmem_store_client_set(store, id, &settings), -EINVAL);
	settings.set = 1u << 30;
	ck_assert_int_eq(tmem_store_client_set(store, id, &settings), -EINVAL);
	settings.set = 0;
	ck_assert_int_eq(tmem_store_client_set(store, id + 1, &settings),
			 -ENOENT);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

START_TEST(administrator_ends_what_is_idle)
{
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool =
		scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	uint32_t pool_id = scene_pool_id(store, "swap");
	uint32_t id = scene_client_id(store, "guest");

	put_many(pool, 100, 1);
	ck_assert_int_eq(tmem_store_destroy_pool(store, pool_id), -EBUSY);
	ck_assert_int_eq(tmem_store_destroy_client(store, id), -EBUSY);
	ck_assert_int_eq(tmem_store_flush_pool(store, pool_id), 0);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_pages), 0);
	ck_assert_int_eq(tmem_store_flush_pool(store, pool_id + 1), -ENOENT);
	put_many(pool, 100, 1);
	tmem_pool_free(pool);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_pages), 100);
	ck_assert_int_eq(tmem_store_destroy_pool(store, pool_id), 0);
	ck_assert_int_eq(tmem_store_destroy_pool(store, pool_id), -ENOENT);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_pages), 0);
	pool = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	/* Never the same id again. */
	ck_assert_uint_ne(scene_pool_id(store, "swap"), pool_id);
	put_many(pool, 100, 1);
	tmem_pool_free(pool);
	tmem_client_free(client);
	ck_assert_int_eq(tmem_store_destroy_client(store, id), 0);
	ck_assert_int_eq(tmem_store_destroy_client(store, id), -ENOENT);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_pages), 0);
	ck_assert_uint_eq(scene_pool_id(store, "swap"), 0);
	scene_close(store);
}
END_TEST

START_TEST(dump_tells_structure)
{
	static char buffer[MIB];
	struct tmem_store *store = scene_store(64 * MIB, -1);
	struct tmem_client *client = scene_client(store, "guest", NULL);
	struct tmem_pool *pool = scene_pool(client, "cache", 0);
	size_t size, size_with_pages;
	char *text;
	FILE *out;

	put_many(pool, 500, 1);
	out = open_memstream(&text, &size);
	ck_assert_int_eq(tmem_store_dump(store, out, false), 0);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "cache"));
	free(text);
	out = open_memstream(&text, &size_with_pages);
	ck_assert_int_eq(tmem_store_dump(store, out, true), 0);
	fclose(out);
	ck_assert_uint_gt(size_with_pages, size + 500);
	free(text);
	/* The failure is told though all of it fits in the buffer. */
	out = fopen("/dev/full", "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(setvbuf(out, buffer, _IOFBF, sizeof(buffer)), 0);
	ck_assert_int_eq(tmem_store_dump(store, out, true), -EIO);
	fclose(out);
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		bad_configurations_are_told,
		arena_has_one_owner,
		other_files_are_left_alone,
		reopened_store_remembers,
		reopened_with_a_smaller_budget,
		smaller_budget_frees_memory,
		persistent_pages_resist_a_smaller_budget,
		persistent_put_evicts,
		reclaim_gives_memory_back,
		compaction_keeps_pages,
		weights_decide_who_pays,
		lower_cap_evicts,
		administrator_ends_what_is_idle,
		dump_tells_structure,
	};

	return SCENE_RUN("store", tests);
}
