/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reopening an arena: what is there again, what is not, and damage.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "arena-file.h"
#include "scene.h"
#include "domain.h"
#include "state.h"

#define PAGES 1500u

static int fd;
static struct tmem_store *store;
static struct tmem_client *client;
static struct tmem_pool *swap;

static void open_store(void)
{
	store = scene_store(16 * MIB, fd);
}

static void close_store(void)
{
	tmem_pool_free(swap);
	tmem_client_free(client);
	scene_close(store);
}

static void setup(void)
{
	fd = test_arena_memfd();
	open_store();
	ck_assert(!tmem_store_reopened(store));
	client = scene_client(store, "a", "red");
	swap = scene_pool_with(client, "swap", TMEM_POOL_PERSISTENT,
			       TMEM_CODEC_NONE, TMEM_DEDUP_OFF);
	for (unsigned i = 0; i < PAGES; i++)
		ck_assert(scene_put_at(swap, i / 100, i, i));
}

static void teardown(void)
{
	close(fd);
}

static void reopen(void)
{
	open_store();
	ck_assert(tmem_store_reopened(store));
	scene_check(store);
	client = scene_client(store, "a", "red");
	swap = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
}

static void assert_pages(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		ck_assert(scene_get_at(swap, i / 100, i, i));
}

START_TEST(persistent_pages_are_there_and_ephemeral_ones_are_not)
{
	struct tmem_pool *cache = scene_pool(client, "cache", 0);
	struct tmem_client *gone = scene_client(store, "gone", NULL);
	struct tmem_pool *gone_cache = scene_pool(gone, "cache", 0);
	uint64_t generation = tmem_store_generation(store);

	for (unsigned i = 0; i < 3000; i++)
		scene_put_at(cache, i / 100, i, i);
	tmem_pool_free(gone_cache);
	tmem_client_free(gone);
	tmem_pool_free(cache);
	close_store();
	reopen();
	ck_assert_uint_eq(tmem_store_generation(store), generation);
	assert_pages();
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_ephemeral_pages), 0);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_persistent_pages),
			  PAGES);
	ck_assert_uint_eq(scene_client_id(store, "gone"), 0);
	close_store();
}
END_TEST

START_TEST(a_store_left_open_is_found_as_it_was)
{
	struct tmem_pool *cache = scene_pool(client, "cache", 0);
	struct tmem_client *other = scene_client(store, "other", NULL);
	struct tmem_pool *others = scene_pool(other, "p", 0);
	int copy;

	for (unsigned i = 0; i < 3000; i++)
		scene_put_at(cache, i / 100, i, i);
	for (unsigned i = 0; i < 100; i++)
		scene_put_at(others, i / 100, i, i);
	/* What a process that dies here leaves behind. */
	copy = test_arena_copy(fd);
	tmem_pool_free(others);
	tmem_client_free(other);
	tmem_pool_free(cache);
	close_store();
	close(fd);
	fd = copy;
	reopen();
	assert_pages();
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_ephemeral_pages), 0);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_contents),
			  scene_stat(store, TMEM_HOST_STAT_persistent_pages));
	ck_assert_uint_eq(scene_client_id(store, "other"), 0);
	ck_assert_uint_eq(scene_pool_id(store, "cache"), 0);
	close_store();
}
END_TEST

START_TEST(settings_and_authorisations_are_kept)
{
	const struct tmem_client_settings settings = {
		.set = TMEM_SET_WEIGHT | TMEM_SET_CAP | TMEM_SET_FROZEN,
		.weight = 33,
		.cap = 77 * MIB,
		.frozen = true,
	};
	struct tmem_client_info *info;
	struct tmem_pool *shared;
	size_t count;

	ck_assert_int_eq(tmem_store_client_set(
				 store, scene_client_id(store, "a"), &settings),
			 0);
	scene_authorise(store, "a", 5);
	close_store();
	reopen();
	ck_assert_int_eq(scene_shared(client, 5, 0, &shared), 0);
	tmem_pool_free(shared);
	ck_assert_int_eq(tmem_store_clients(store, &info, NULL, &count), 0);
	ck_assert_uint_eq(count, 1);
	ck_assert_uint_eq(info->settings.weight, 33);
	ck_assert_uint_eq(info->settings.cap, 77 * MIB);
	ck_assert(info->settings.frozen);
	ck_assert_str_eq(info->domain, "red");
	free(info);
	close_store();
}
END_TEST

START_TEST(sharing_goes_on_after_reopening)
{
	const struct tmem_pool_config config = {.name = "more",
						.flags = TMEM_POOL_PERSISTENT,
						.dedup = TMEM_DEDUP_ON};
	struct tmem_pool *pool;
	uint64_t contents;

	ck_assert_int_eq(tmem_pool_new(client, &config, &pool), 0);
	for (unsigned i = 0; i < 300; i++)
		ck_assert(scene_put_at(pool, 1, i, 5000 + i));
	tmem_pool_free(pool);
	close_store();
	reopen();
	contents = scene_stat(store, TMEM_HOST_STAT_contents);
	ck_assert_int_eq(tmem_pool_new(client, &config, &pool), 0);
	for (unsigned i = 0; i < 300; i++)
		ck_assert(scene_put_at(pool, 2, i, 5000 + i));
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_contents), contents);
	tmem_pool_free(pool);
	close_store();
}
END_TEST

START_TEST(pool_ids_of_before_are_not_used_again)
{
	uint32_t last, id;
	struct tmem_pool *pool = scene_pool(client, "p", 0);

	last = scene_pool_id(store, "p");
	tmem_pool_free(pool);
	close_store();
	reopen();
	pool = scene_pool(client, "p", 0);
	id = scene_pool_id(store, "p");
	ck_assert_uint_ne(id, last);
	tmem_pool_free(pool);
	close_store();
}
END_TEST

START_TEST(an_arena_in_use_is_busy_and_the_descriptor_stays_the_callers)
{
	struct tmem_store_config config;
	struct tmem_store *second;
	struct stat st;

	tmem_store_config_init(&config);
	config.nursery = 0;
	config.threads = 0;
	config.arena_fd = test_arena_again(fd);
	ck_assert_int_eq(tmem_store_open(&config, &second), -EBUSY);
	ck_assert_int_eq(fstat(config.arena_fd, &st), 0);
	close_store();
	/* Larger than the arena's capacity will ever be. */
	config.budget = 8 * 1024 * MIB;
	ck_assert_int_eq(tmem_store_open(&config, &second), -EINVAL);
	ck_assert_int_eq(fstat(config.arena_fd, &st), 0);
	/* Nor does it stay locked: another opener gets it. */
	tmem_store_close(scene_store(16 * MIB, fd));
	config.budget = 16 * MIB;
	ck_assert_int_eq(tmem_store_open(&config, &second), 0);
	ck_assert_int_eq(fstat(config.arena_fd, &st), -1);
	tmem_store_close(second);
}
END_TEST

START_TEST(a_budget_below_what_is_held_refuses_puts_and_loses_nothing)
{
	struct tmem_store_config config;

	for (unsigned i = 0; i < 4000; i++)
		scene_put_at(swap, 1000 + i, i, 40000 + i);
	close_store();
	tmem_store_config_init(&config);
	config.nursery = 0;
	config.threads = 0;
	config.budget = TMEM_BUDGET_MIN;
	config.arena_fd = test_arena_again(fd);
	ck_assert_int_eq(tmem_store_open(&config, &store), 0);
	scene_check(store);
	client = scene_client(store, "a", "red");
	swap = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
	assert_pages();
	ck_assert(!scene_put_at(swap, 1, 99999, 1));
	ck_assert_int_eq(tmem_store_set_budget(store, 32 * MIB), 0);
	ck_assert(scene_put_at(swap, 1, 99999, 1));
	close_store();
}
END_TEST

/* As a process leaves it that dies between getting memory and writing to it. */
START_TEST(memory_that_was_never_written_to_goes_back)
{
	int empty = test_arena_memfd();
	struct tmem_store *other = scene_store(16 * MIB, empty);

	for (unsigned i = TMEM_PART_CLIENTS; i < TMEM_PART_COUNT; i++) {
		uint64_t at = other->arena.part[i].offset;

		ck_assert_int_eq(fallocate(empty, 0, (off_t)at, TMEM_PAGE_SIZE),
				 0);
	}
	tmem_store_close(other);
	scene_close(scene_store(16 * MIB, empty));
	close(empty);
	close_store();
}
END_TEST

static uint32_t *first_content(void)
{
	uint32_t id = tmem_table_next(&store->index.leaves, 1);
	struct tmem_leaf *leaf = tmem_index_leaf(&store->index, id);

	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++)
		if (leaf->content[i])
			return (uint32_t *)&leaf->content[i];
	ck_abort_msg("the first leaf is empty");
}

/* Damage a byte of a copy of the arena in some way, and open that. */
static int open_damaged(void *at, uint64_t flip, size_t bytes)
{
	uint64_t offset = (uint64_t)((uint8_t *)at - store->arena.base);
	struct tmem_store_config config;
	struct tmem_store *damaged;
	int copy = test_arena_copy(fd), r;
	uint64_t value = 0;

	ck_assert_int_eq(pread(copy, &value, bytes, (off_t)offset), bytes);
	value ^= flip;
	ck_assert_int_eq(pwrite(copy, &value, bytes, (off_t)offset), bytes);
	tmem_store_config_init(&config);
	config.nursery = 0;
	config.threads = 0;
	config.arena_fd = copy;
	r = tmem_store_open(&config, &damaged);
	if (r == 0)
		tmem_store_close(damaged);
	else
		close(copy);
	return r;
}

START_TEST(damaged_records_are_told)
{
	uint32_t *content = first_content();
	uint32_t leaf = tmem_table_next(&store->index.leaves, 1);
	uint32_t object = tmem_index_leaf(&store->index, leaf)->object;
	struct tmem_pool_record *pool = tmem_roster_at(&store->pools, 0);
	struct tmem_client_record *owner = tmem_roster_at(&store->clients, 0);
	tmem_word *word = tmem_content_word(&store->contents, *content);

	ck_assert_int_eq(open_damaged(content, 0, 4), 0);
	ck_assert_int_eq(open_damaged(content, 1u << 30, 4), -EBADMSG);
	/* The next page's, which is of no dedup domain: not to be shared. */
	ck_assert_int_eq(open_damaged(content, content[0] ^ content[1], 4),
			 -EBADMSG);
	ck_assert_int_eq(open_damaged(word, UINT64_C(1) << 51, 8), -EBADMSG);
	ck_assert_int_eq(open_damaged(word, *word, 8), -EBADMSG);
	ck_assert_int_eq(open_damaged(word, UINT64_C(1) << 35, 8), -EBADMSG);
	ck_assert_int_eq(open_damaged(word, 1, 8), -EBADMSG);
	ck_assert_int_eq(
		open_damaged(&tmem_index_leaf(&store->index, leaf)->object,
			     1u << 29, 4),
		-EBADMSG);
	ck_assert_int_eq(
		open_damaged(&tmem_index_leaf(&store->index, leaf)->block,
			     1u << 31, 4),
		-EBADMSG);
	ck_assert_int_eq(
		open_damaged(&tmem_index_object(&store->index, object)->pool,
			     pool->id, 4),
		-EBADMSG);
	ck_assert_int_eq(open_damaged(&pool->uses, 1, 4), -EBADMSG);
	ck_assert_int_eq(open_damaged(&pool->client, 1, 4), -EBADMSG);
	ck_assert_int_eq(open_damaged(pool->name, 0x80, 1), -EBADMSG);
	ck_assert_int_eq(open_damaged(&pool->flags, 1u << 9, 4), -EBADMSG);
	ck_assert_int_eq(open_damaged(&owner->weight, 100, 4), -EBADMSG);
	ck_assert_int_eq(open_damaged(&owner->id, 1, 4), -EBADMSG);
	/* "red" by the common domain's number, by one too high, and "" by
	 * red's. */
	ck_assert_int_eq(open_damaged(&pool->domain,
				      pool->domain ^ TMEM_DOMAIN_COMMON, 2),
			 -EBADMSG);
	ck_assert_int_eq(open_damaged(&pool->domain, 1u << 15, 2), -EBADMSG);
	ck_assert_int_eq(open_damaged(pool->domain_name, 'r', 1), -EBADMSG);
	close_store();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		persistent_pages_are_there_and_ephemeral_ones_are_not,
		a_store_left_open_is_found_as_it_was,
		settings_and_authorisations_are_kept,
		sharing_goes_on_after_reopening,
		pool_ids_of_before_are_not_used_again,
		an_arena_in_use_is_busy_and_the_descriptor_stays_the_callers,
		a_budget_below_what_is_held_refuses_puts_and_loses_nothing,
		memory_that_was_never_written_to_goes_back,
		damaged_records_are_told,
	};

	return scene_run_between("reopen", setup, teardown, tests,
				 sizeof(tests) / sizeof(tests[0]));
}
