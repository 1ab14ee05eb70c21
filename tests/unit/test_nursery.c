/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a young page: settled, or replaced, flushed, evicted, read and
 * reopened before and while it is; and the threads that settle it.
 */
#include "scene.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "arena-file.h"
#include "cool.h"
#include "fault.h"
#include "pages.h"

#define NURSERY (8 * MIB)
#define PAGES	500u

static struct tmem_store *store;
static struct tmem_client *client;
static struct tmem_pool *cache, *swap;

static void open_young(uint64_t budget, int fd, uint64_t nursery,
		       unsigned threads)
{
	store = scene_store_young(budget, fd, nursery, threads);
	client = scene_client(store, "guest", NULL);
	cache = scene_pool_with(client, "cache", 0, TMEM_CODEC_NONE,
				TMEM_DEDUP_ON);
	swap = scene_pool_with(client, "swap", TMEM_POOL_PERSISTENT,
			       TMEM_CODEC_NONE, TMEM_DEDUP_ON);
}

static void setup(void)
{
	open_young(64 * MIB, -1, NURSERY, 0);
}

static void close_all(void)
{
	tmem_pool_free(cache);
	tmem_pool_free(swap);
	tmem_client_free(client);
	scene_close(store);
}

static uint64_t young(void)
{
	return scene_stat(store, TMEM_HOST_STAT_young_contents);
}

static void settle(void)
{
	ck_assert_int_eq(tmem_store_settle(store), 0);
	ck_assert_uint_eq(young(), 0);
	scene_check(store);
}

static void put_text(struct tmem_pool *pool, uint32_t n, uint64_t seed)
{
	const struct tmem_oid oid = scene_oid(n / 100);
	uint8_t page[TMEM_PAGE_SIZE];

	test_page_of(page, TEST_PAGE_TEXT, seed);
	ck_assert_int_eq(tmem_put(pool, &oid, n, page), TMEM_OK);
}

static bool has_text(struct tmem_pool *pool, uint32_t n, uint64_t seed)
{
	const struct tmem_oid oid = scene_oid(n / 100);
	uint8_t page[TMEM_PAGE_SIZE], made[TMEM_PAGE_SIZE];

	if (tmem_get(pool, &oid, n, page) != TMEM_OK)
		return false;
	test_page_of(made, TEST_PAGE_TEXT, seed);
	ck_assert_int_eq(memcmp(page, made, TMEM_PAGE_SIZE), 0);
	return true;
}

START_TEST(settled)
{
	uint64_t bytes;

	for (uint32_t i = 0; i < PAGES; i++)
		put_text(swap, i, i + 1);
	ck_assert_uint_eq(young(), PAGES);
	bytes = scene_pool_stat(swap, TMEM_POOL_STAT_stored_bytes);
	ck_assert_uint_eq(bytes, (uint64_t)PAGES * TMEM_PAGE_SIZE);
	scene_check(store);
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert(has_text(swap, i, i + 1));
	settle();
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_lz4_contents),
			  PAGES);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_young_settled),
			  PAGES);
	ck_assert_uint_lt(scene_pool_stat(swap, TMEM_POOL_STAT_stored_bytes),
			  bytes * 3 / 4);
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert(has_text(swap, i, i + 1));
	close_all();
}
END_TEST

/* Fill pages have no bytes that could wait. */
START_TEST(fills_are_never_young)
{
	for (uint32_t i = 0; i < 100; i++)
		ck_assert_int_eq(scene_put(cache, i, 5 * (i + 1)), TMEM_OK);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_fill_pages), 100);
	ck_assert_uint_eq(young(), 0);
	close_all();
}
END_TEST

START_TEST(replaced_and_flushed)
{
	for (uint32_t i = 0; i < PAGES; i++)
		put_text(swap, i, i + 1);
	for (uint32_t i = 0; i < PAGES; i += 2)
		put_text(swap, i, i + 1000);
	for (uint32_t i = 1; i < PAGES; i += 4) {
		const struct tmem_oid oid = scene_oid(i / 100);

		ck_assert_int_eq(tmem_flush(swap, &oid, i), TMEM_OK);
	}
	scene_check(store);
	ck_assert_uint_eq(young(), PAGES - PAGES / 4);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_young_died),
			  PAGES / 2 + PAGES / 4);
	settle();
	for (uint32_t i = 0; i < PAGES; i++) {
		if (i % 2 == 0)
			ck_assert(has_text(swap, i, i + 1000));
		else
			ck_assert_int_eq(has_text(swap, i, i + 1), i % 4 == 3);
	}
	close_all();
}
END_TEST

/* One page over and over is one young page, however long that goes on: what
 * was replaced leaves no trace. */
START_TEST(always_the_same_page)
{
	uint64_t private;

	put_text(swap, 1, 1);
	for (uint64_t i = 0; i < 1000; i++)
		put_text(swap, 0, i + 1);
	private = scene_stat(store, TMEM_HOST_STAT_private_bytes);
	for (uint64_t i = 0; i < 10000; i++)
		put_text(swap, 0, i + 1);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_private_bytes),
			  private);
	ck_assert_uint_eq(young(), 2);
	settle();
	ck_assert(has_text(swap, 0, 10000));
	ck_assert(has_text(swap, 1, 1));
	close_all();
}
END_TEST

/* Within a domain and a kind equal pages come to share a content, whosoever
 * they are, and whether they compress or not. */
START_TEST(equal_pages)
{
	struct tmem_client *other = scene_client(store, "other", NULL);
	struct tmem_client *stranger = scene_client(store, "third", "apart");
	struct tmem_pool *theirs = scene_pool_with(
		other, "cache", 0, TMEM_CODEC_NONE, TMEM_DEDUP_ON);
	struct tmem_pool *apart = scene_pool_with(
		stranger, "cache", 0, TMEM_CODEC_NONE, TMEM_DEDUP_ON);
	struct tmem_pool *const pools[] = {cache, swap, theirs, apart};

	for (unsigned p = 0; p < 4; p++) {
		for (uint32_t i = 0; i < 100; i++) {
			put_text(pools[p], i, i + 1);
			ck_assert_int_eq(scene_put_random(pools[p], i, i + 1),
					 TMEM_OK);
		}
	}
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_contents), 800);
	settle();
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_contents), 600);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_raw_contents), 300);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_puts_dedup), 200);
	ck_assert_uint_eq(
		scene_pool_stat(cache, TMEM_POOL_STAT_puts_dedup) +
			scene_pool_stat(theirs, TMEM_POOL_STAT_puts_dedup),
		200);
	for (unsigned p = 0; p < 4; p++) {
		for (uint32_t i = 0; i < 100; i++) {
			ck_assert(has_text(pools[p], i, i + 1));
			ck_assert_uint_eq(scene_get(pools[p], i), i + 1);
		}
	}
	tmem_pool_free(theirs);
	tmem_pool_free(apart);
	tmem_client_free(other);
	tmem_client_free(stranger);
	close_all();
}
END_TEST

START_TEST(evicted)
{
	uint64_t released;

	for (uint32_t i = 0; i < PAGES; i++)
		put_text(cache, i, i + 1);
	for (uint32_t i = 0; i < PAGES; i++)
		put_text(swap, i, i + 1);
	ck_assert_int_eq(tmem_store_reclaim(store, 64 * MIB, &released), 0);
	ck_assert_uint_ge(released, (uint64_t)PAGES * TMEM_PAGE_SIZE);
	ck_assert_uint_eq(scene_pool_stat(cache, TMEM_POOL_STAT_pages), 0);
	scene_check(store);
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert(has_text(swap, i, i + 1));
	close_all();
}
END_TEST

/* Back-pressure: what finds no room is compressed by its put. */
START_TEST(full)
{
	tmem_pool_free(cache);
	tmem_pool_free(swap);
	tmem_client_free(client);
	scene_close(store);
	open_young(64 * MIB, -1, 16 * TMEM_PAGE_SIZE, 0);
	for (uint32_t i = 0; i < PAGES; i++)
		put_text(swap, i, i + 1);
	ck_assert_uint_eq(young(), 16);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_puts_inline),
			  PAGES - 16);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_lz4_contents),
			  PAGES - 16);
	settle();
	put_text(swap, PAGES, 1);
	ck_assert_uint_eq(young(), 1);
	close_all();
}
END_TEST

/* Put persistent pages until one is refused. */
static uint32_t fill_up(uint64_t nursery)
{
	uint32_t n = 0;
	uint8_t page[TMEM_PAGE_SIZE];

	open_young(16 * MIB, -1, nursery, 0);
	for (;; n++) {
		const struct tmem_oid oid = scene_oid(n / 100);

		test_page_of(page, TEST_PAGE_TEXT, n + 1);
		if (tmem_put(swap, &oid, n, page) != TMEM_OK)
			break;
	}
	scene_check(store);
	for (uint32_t i = 0; i < n; i++)
		ck_assert(has_text(swap, i, i + 1));
	ck_assert_uint_le(scene_stat(store, TMEM_HOST_STAT_peak_used),
			  16 * MIB);
	close_all();
	return n;
}

/* As many persistent pages fit as without a nursery, but for a little. */
START_TEST(no_room_is_wasted)
{
	uint32_t without, with;

	close_all();
	without = fill_up(0);
	with = fill_up(12 * MIB);
	ck_assert_msg(with >= without - without / 16, "%u of %u", with,
		      without);
	setup();
	close_all();
}
END_TEST

/* The same of a client's cap. */
static uint32_t fill_cap(uint64_t nursery)
{
	struct tmem_client_settings cap = {.set = TMEM_SET_CAP, .cap = 4 * MIB};
	uint32_t n = 0;
	uint8_t page[TMEM_PAGE_SIZE];

	open_young(64 * MIB, -1, nursery, 0);
	ck_assert_int_eq(tmem_store_client_set(
				 store, scene_client_id(store, "guest"), &cap),
			 0);
	for (;; n++) {
		const struct tmem_oid oid = scene_oid(n / 100);

		test_page_of(page, TEST_PAGE_TEXT, n + 1);
		if (tmem_put(swap, &oid, n, page) != TMEM_OK)
			break;
	}
	close_all();
	return n;
}

START_TEST(no_cap_is_wasted)
{
	uint32_t without, with;

	close_all();
	without = fill_cap(0);
	with = fill_cap(NURSERY);
	ck_assert_msg(with >= without - 8, "%u of %u", with, without);
	setup();
	close_all();
}
END_TEST

/* Nor by a page that stays young for lack of a slot: the third that a put at
 * the cap takes, after its own, young and compressed. */
START_TEST(cap_beside_stuck)
{
	struct tmem_client_settings cap = {.set = TMEM_SET_CAP, .cap = MIB};

	ck_assert_int_eq(tmem_store_client_set(
				 store, scene_client_id(store, "guest"), &cap),
			 0);
	for (uint32_t i = 0; i < 300; i++) {
		tmem_fault_arm(TMEM_FAULT_SLAB, 3, false);
		put_text(swap, i, i + 1);
	}
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, false);
	close_all();
}
END_TEST

/* Who is at his cap has others' pages left alone. */
START_TEST(cap_of_another)
{
	const struct tmem_client_settings cap = {.set = TMEM_SET_CAP,
						 .cap = MIB};
	struct tmem_client *capped = scene_client(store, "capped", NULL);
	struct tmem_pool *pool =
		scene_pool(capped, "swap", TMEM_POOL_PERSISTENT);
	uint32_t n = 0;

	ck_assert_int_eq(tmem_store_client_set(
				 store, scene_client_id(store, "capped"), &cap),
			 0);
	while (scene_put_random(pool, n, n + 1) == TMEM_OK)
		n++;
	settle();
	for (uint32_t i = 0; i < PAGES; i++)
		put_text(swap, i, i + 1);
	for (uint32_t i = 0; i < 10; i++)
		ck_assert_int_eq(scene_put_random(pool, n, n + 1),
				 TMEM_REFUSED);
	ck_assert_uint_eq(young(), PAGES);
	tmem_pool_free(pool);
	tmem_client_free(capped);
	close_all();
}
END_TEST

START_TEST(budget_shrinks)
{
	for (uint32_t i = 0; i < 1500; i++)
		put_text(swap, i, i + 1);
	ck_assert_int_eq(tmem_store_set_budget(store, 6 * MIB), 0);
	ck_assert_uint_le(scene_stat(store, TMEM_HOST_STAT_used), 6 * MIB);
	scene_check(store);
	for (uint32_t i = 0; i < 1500; i++)
		ck_assert(has_text(swap, i, i + 1));
	close_all();
}
END_TEST

/* Pages that cannot be settled are nothing for cooling to wake up for: it would
 * have them tried again, for ever. */
START_TEST(stuck)
{
	close_all();
	open_young(4 * MIB, -1, 4 * MIB, 0);
	for (uint32_t i = 0; !tmem_cool_tight(store); i++)
		put_text(swap, i, i + 1);
	ck_assert_uint_gt(young(), 0);
	atomic_store(&store->cool.fresh, false);
	tmem_fault_arm(TMEM_FAULT_SLAB, 1, true);
	ck_assert_int_eq(tmem_store_settle(store), -ENOMEM);
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, false);
	ck_assert(!atomic_load(&store->cool.fresh));
	settle();
	close_all();
}
END_TEST

/* A second passes, for who looks after the nursery. */
static int tick(void)
{
	store->nursery.tick = 0;
	store->nursery.rest = 0;
	return tmem_nursery_job(store);
}

/* A store where all young pages are stuck, though nothing is in their way any
 * more. */
static void open_stuck(void)
{
	close_all();
	open_young(4 * MIB, -1, 4 * MIB, 0);
	for (uint32_t i = 0; !tmem_cool_tight(store); i++)
		put_text(swap, i, i + 1);
	tmem_fault_arm(TMEM_FAULT_SLAB, 1, true);
	while (tmem_nursery_job(store) != TMEM_WORKER_NEVER)
		;
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, false);
	ck_assert_int_eq(tmem_nursery_job(store), TMEM_WORKER_NEVER);
	ck_assert_uint_gt(young(), 0);
}

/* Nor are they a reason for cooling to rest, which makes room for them. */
START_TEST(stuck_in_a_hurry)
{
	open_stuck();
	ck_assert(!atomic_load(&store->nursery.hurry));
	tmem_nursery_unstick(store);
	ck_assert_int_eq(tmem_nursery_job(store), 0);
	settle();
	close_all();
}
END_TEST

/* A larger budget makes room, too. */
START_TEST(stuck_until_the_budget_grows)
{
	open_stuck();
	ck_assert_int_eq(tmem_store_set_budget(store, 64 * MIB), 0);
	while (young())
		ck_assert_int_ne(tick(), TMEM_WORKER_NEVER);
	settle();
	close_all();
}
END_TEST

/* A page that cannot be settled does not keep younger ones from it, nor a
 * thread awake. */
START_TEST(younger_than_stuck)
{
	put_text(swap, 0, 1);
	settle();
	put_text(swap, 1, 2);
	ck_assert_int_ne(tick(), TMEM_WORKER_NEVER);
	put_text(swap, 100, 1);
	/* Its equal is there, and needs no slot. */
	tmem_fault_arm(TMEM_FAULT_SLAB, 1, true);
	ck_assert_int_ne(tick(), TMEM_WORKER_NEVER);
	ck_assert_uint_eq(young(), 2);
	while (tick() != TMEM_WORKER_NEVER)
		;
	ck_assert_uint_eq(young(), 1);
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, false);
	settle();
	close_all();
}
END_TEST

/* Who has settled pages that are merely of age rests before it goes on; who is
 * in a hurry does not. */
START_TEST(rests_unless_in_a_hurry)
{
	put_text(swap, 0, 1);
	tick();
	tick();
	ck_assert_uint_eq(young(), 0);
	put_text(swap, 1, 2);
	tick();
	store->nursery.tick = 0;
	store->nursery.rest = UINT64_MAX;
	ck_assert_int_gt(tmem_nursery_job(store), 0);
	ck_assert_uint_eq(young(), 1);
	store->nursery.limit = 2 * TMEM_PAGE_SIZE - 1;
	ck_assert_int_eq(tmem_nursery_job(store), 0);
	ck_assert_uint_eq(young(), 0);
	close_all();
}
END_TEST

/* Left to itself, the nursery has an eighth of a budget that others use up, and
 * half of one that is free. */
START_TEST(auto_limit)
{
	uint64_t part;

	close_all();
	open_young(64 * MIB, -1, TMEM_NURSERY_AUTO, 0);
	for (part = 0; tmem_nursery_has_room(store); part++)
		put_text(swap, (uint32_t)part, (uint32_t)part + 1);
	ck_assert_uint_gt(part, 64 * MIB / TMEM_PAGE_SIZE / 3);
	ck_assert_uint_le(part, 64 * MIB / TMEM_PAGE_SIZE / 2);
	close_all();
}
END_TEST

/* Without memory for its entry in the nursery a page is held raw, for good. */
START_TEST(no_memory_for_an_entry)
{
	put_text(swap, 1000, 1);
	tmem_fault_arm(TMEM_FAULT_MALLOC, 1, true);
	for (uint32_t i = 0; i < 16; i++)
		put_text(swap, 1000 + i, i + 1);
	for (uint32_t i = 0; i < 600; i += 64)
		(void)scene_put(swap, i, 2);
	tmem_fault_arm(TMEM_FAULT_MALLOC, 0, false);
	scene_check(store);
	settle();
	for (uint32_t i = 0; i < 16; i++)
		ck_assert(has_text(swap, 1000 + i, i + 1));
	close_all();
}
END_TEST

/* A process dies: what was young is there, and young. */
START_TEST(reopened)
{
	int fd = test_arena_memfd(), copy;
	uint64_t was;

	close_all();
	open_young(64 * MIB, fd, NURSERY, 0);
	for (uint32_t i = 0; i < PAGES; i++)
		put_text(swap, i, i % 250 + 1);
	settle();
	for (uint32_t i = 0; i < PAGES; i += 2)
		put_text(swap, i, i % 250 + 1);
	for (uint32_t i = 0; i < PAGES; i++)
		put_text(cache, i, i + 1);
	was = young() - PAGES;
	copy = test_arena_copy(fd);
	close_all();
	open_young(64 * MIB, copy, NURSERY, 0);
	ck_assert(tmem_store_reopened(store));
	ck_assert_uint_eq(young(), was);
	scene_check(store);
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert(has_text(swap, i, i % 250 + 1));
	settle();
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_contents), 250);
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert(has_text(swap, i, i % 250 + 1));
	close_all();
	close(fd);
	close(copy);
}
END_TEST

/* Also into a store that has no nursery: they settle all the same. */
START_TEST(reopened_without)
{
	int fd = test_arena_memfd();

	close_all();
	open_young(64 * MIB, fd, NURSERY, 0);
	for (uint32_t i = 0; i < PAGES; i++)
		put_text(swap, i, i + 1);
	close_all();
	open_young(64 * MIB, fd, 0, 0);
	ck_assert_uint_eq(young(), PAGES);
	settle();
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert(has_text(swap, i, i + 1));
	close_all();
	close(fd);
}
END_TEST

/* As the client's setting says that was made for it, not the pool's. */
START_TEST(reopened_codec)
{
	struct tmem_client_settings zstd = {.set = TMEM_SET_CODEC,
					    .codec = TMEM_CODEC_ZSTD};
	int fd = test_arena_memfd();

	close_all();
	open_young(64 * MIB, fd, NURSERY, 0);
	ck_assert_int_eq(tmem_store_client_set(
				 store, scene_client_id(store, "guest"), &zstd),
			 0);
	for (uint32_t i = 0; i < PAGES; i++)
		put_text(swap, i, i + 1);
	close_all();
	open_young(64 * MIB, fd, NURSERY, 0);
	settle();
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_zstd_contents),
			  PAGES);
	close_all();
	close(fd);
}
END_TEST

/* Threads ------------------------------------------------------------------ */

static _Atomic(bool) stop;

static void *keep_settling(void *arg)
{
	while (!atomic_load(&stop))
		tmem_store_settle(store);
	return arg;
}

/* Put, replace, flush and get while others settle the same pages. */
START_TEST(settled_by_others)
{
	enum { AT_ONCE = 96, ROUNDS = 40000 };
	uint64_t seed[AT_ONCE] = {0}, random = 1;
	pthread_t thread;

	atomic_store(&stop, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, keep_settling, NULL), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint32_t n;
		const struct tmem_oid oid = scene_oid(0);

		random = random * UINT64_C(6364136223846793005) + 1;
		n = random >> 33 & 63;
		switch (random >> 60 & 3) {
		case 0:
			ck_assert_int_eq(tmem_flush(swap, &oid, n),
					 seed[n] ? TMEM_OK : TMEM_MISS);
			seed[n] = 0;
			break;
		case 1:
			ck_assert_int_eq(has_text(swap, n, seed[n]),
					 seed[n] != 0);
			break;
		default:
			seed[n] = 1 + (random >> 50 & 31);
			put_text(swap, n, seed[n]);
		}
	}
	atomic_store(&stop, true);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	settle();
	close_all();
}
END_TEST

/* Call fn for each thread of the store, until it says yes of all of them. */
static void until_all_threads(unsigned count, bool (*fn)(const char *task))
{
	for (;;) {
		DIR *dir = opendir("/proc/self/task");
		struct dirent *entry;
		unsigned good = 0;

		ck_assert_ptr_nonnull(dir);
		while ((entry = readdir(dir))) {
			char path[300], name[32] = "";
			FILE *file;

			snprintf(path, sizeof(path), "/proc/self/task/%s/comm",
				 entry->d_name);
			file = fopen(path, "re");
			if (!file)
				continue;
			if (fgets(name, sizeof(name), file) &&
			    !strcmp(name, "tmem-store\n"))
				good += fn(entry->d_name);
			fclose(file);
		}
		closedir(dir);
		if (good == count)
			return;
		sched_yield();
	}
}

/* Asleep in a futex, without a timeout. */
static bool sleeps_for_good(const char *task)
{
	unsigned long number, arg[4] = {0};
	char path[300], line[200] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%s/syscall", task);
	file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file))
		line[0] = '\0';
	if (file)
		fclose(file);
	return sscanf(line, "%lu %lx %lx %lx %lx", &number, &arg[0], &arg[1],
		      &arg[2], &arg[3]) == 5 &&
	       number == SYS_futex && arg[3] == 0;
}

static bool exists(const char *task)
{
	return task;
}

/* The system refuses threads. */
START_TEST(fewer_threads)
{
	for (unsigned count = 0; count < 3; count++) {
		close_all();
		tmem_fault_arm(TMEM_FAULT_THREAD, count + 1, true);
		open_young(64 * MIB, -1, NURSERY, 3);
		tmem_fault_arm(TMEM_FAULT_THREAD, 0, false);
		until_all_threads(count, exists);
		for (uint32_t i = 0; i < PAGES; i++)
			put_text(swap, i, i + 1);
		settle();
	}
	close_all();
}
END_TEST

static bool blocks_signals(const char *task)
{
	const unsigned long term = 1ul << (SIGTERM - 1);
	char path[300], line[200];
	unsigned long blocked = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", task);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "SigBlk: %lx", &blocked) == 1)
			break;
	if (file)
		fclose(file);
	return blocked & term;
}

/* Else who waits for a lock that it holds may wait for seconds. */
static bool has_our_priority(const char *task)
{
	return getpriority(PRIO_PROCESS, (id_t)atoi(task)) ==
	       getpriority(PRIO_PROCESS, 0);
}

static uint32_t ring_entries(void)
{
	uint32_t entries = 0;

	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		tmem_lock_acquire(&store->index.shard[s].lock);
		entries += store->nursery.ring[s].size;
		tmem_lock_release(&store->index.shard[s].lock);
	}
	return entries;
}

/* Pages settle with nobody asking for it, and then nothing moves any more, not
 * even a timer; nor is there memory for pages to come. */
START_TEST(idle)
{
	close_all();
	open_young(64 * MIB, -1, NURSERY, 3);
	until_all_threads(3, sleeps_for_good);
	until_all_threads(3, blocks_signals);
	until_all_threads(3, has_our_priority);
	for (uint32_t i = 0; i < PAGES; i++)
		put_text(swap, i, i + 1);
	while (young())
		sched_yield();
	until_all_threads(3, sleeps_for_good);
	ck_assert_uint_eq(ring_entries(), 0);
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_lz4_contents),
			  PAGES);
	close_all();
}
END_TEST

/* A nursery that is more than half full does not wait for its pages to age:
 * more is put than would fit. */
START_TEST(busy)
{
	close_all();
	open_young(64 * MIB, -1, MIB, 2);
	for (uint32_t i = 0; i < 2000; i++) {
		while (young() > 200)
			sched_yield();
		put_text(swap, i, i + 1);
	}
	ck_assert_uint_eq(scene_stat(store, TMEM_HOST_STAT_puts_inline), 0);
	for (uint32_t i = 0; i < 2000; i++)
		ck_assert(has_text(swap, i, i + 1));
	close_all();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		settled,
		fills_are_never_young,
		replaced_and_flushed,
		always_the_same_page,
		equal_pages,
		evicted,
		full,
		no_room_is_wasted,
		no_cap_is_wasted,
		cap_beside_stuck,
		cap_of_another,
		budget_shrinks,
		stuck,
		stuck_in_a_hurry,
		stuck_until_the_budget_grows,
		younger_than_stuck,
		rests_unless_in_a_hurry,
		auto_limit,
		fewer_threads,
		no_memory_for_an_entry,
		reopened,
		reopened_without,
		reopened_codec,
		settled_by_others,
		idle,
		busy,
	};

	return scene_run_between("nursery", setup, NULL, tests,
				 sizeof(tests) / sizeof(tests[0]));
}
