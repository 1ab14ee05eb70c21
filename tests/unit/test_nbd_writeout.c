/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cold pages on their way to the overflow file, and back. */
#include "writeout.h"
#include <check.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>
#include "access.h"
#include "array-pool.h"
#include "nbd-scene.h"
#include "pages.h"

#define PAGES	1024u
#define THREADS 3u
#define ROUNDS	4000u

static struct test_nbd_scene scene;

static void set_up(void)
{
	test_nbd_scene_init(&scene, (uint64_t)PAGES * TMEM_PAGE_SIZE,
			    test_nbd_file());
	ck_assert_int_eq(nbd_writeout_start(scene.device), 0);
}

static void tear_down(void)
{
	nbd_writeout_stop(scene.device);
	test_nbd_scene_deinit(&scene);
}

static void write_pages(uint64_t count)
{
	for (uint64_t page = 0; page < count; page++)
		ck_assert_int_eq(test_nbd_write(&scene, page, page + 1), 0);
}

/** Wait until the pool holds at most so many pages; check's time limit ends
 * what never comes. */
static void wait_until_held(uint64_t count)
{
	while (nbd_page_map_count(&scene.device->held) > count)
		sched_yield();
}

static uint64_t counted(enum tmem_nbd_stat stat)
{
	uint64_t values[TMEM_NBD_STAT_COUNT] = {0};

	nbd_writeout_add_stats(scene.device, values);
	return values[stat] + scene.io.stats[stat];
}

START_TEST(cold_pages_move_to_their_slots)
{
	uint8_t slot[TMEM_PAGE_SIZE];

	write_pages(600);
	test_array_pool_limit(scene.pool, 100);
	wait_until_held(100);
	/* The coldest are the first for this pool. */
	test_nbd_slot(&scene, 7, slot);
	ck_assert(test_nbd_is_page(slot, 8));
	ck_assert_ptr_null(test_array_pool_page(scene.pool, 7));
	for (uint64_t page = 0; page < 600; page++)
		ck_assert(test_nbd_reads_as(&scene, page, page + 1));
	ck_assert_uint_ge(counted(TMEM_NBD_STAT_written_out), 500);
}
END_TEST

START_TEST(pages_come_back_with_their_neighbours)
{
	write_pages(64);
	test_array_pool_limit(scene.pool, 1);
	wait_until_held(1);
	test_array_pool_limit(scene.pool, 1000);
	ck_assert(test_nbd_reads_as(&scene, 11, 12));
	for (uint32_t page = 0; page < 32; page++)
		ck_assert_msg((test_array_pool_page(scene.pool, page) !=
			       NULL) == (page >= 8 && page < 16),
			      "page %u", page);
	ck_assert_uint_eq(counted(TMEM_NBD_STAT_read_ahead), 7);
	ck_assert_uint_eq(counted(TMEM_NBD_STAT_taken_back), 8);
	/* What came back is the newest there is, and its slot may go stale. */
	ck_assert_int_eq(test_nbd_write(&scene, 12, 99), 0);
	ck_assert(test_nbd_reads_as(&scene, 12, 99));
	ck_assert(test_nbd_reads_as(&scene, 13, 14));
	nbd_writeout_stop(scene.device);
	test_nbd_scene_reopen(&scene);
	ck_assert(test_nbd_reads_as(&scene, 12, 99));
	ck_assert(test_nbd_reads_as(&scene, 20, 21));
}
END_TEST

START_TEST(nothing_comes_back_without_room)
{
	write_pages(64);
	test_array_pool_limit(scene.pool, 32);
	wait_until_held(31);
	test_array_pool_limit(scene.pool, 1);
	wait_until_held(0);
	test_array_pool_refuse(scene.pool, TEST_ARRAY_POOL_PAGES, true);
	ck_assert(test_nbd_reads_as(&scene, 11, 12));
	ck_assert_uint_eq(counted(TMEM_NBD_STAT_taken_back), 0);
}
END_TEST

/** Another connection reads page 8, in the middle of our read. */
static void read_8(void *arg, uint32_t index, uint64_t count)
{
	struct nbd_io *other = arg;
	uint8_t bytes[TMEM_PAGE_SIZE];
	uint64_t bad;

	(void)index;
	(void)count;
	test_array_pool_on_get(scene.pool, NULL, NULL);
	ck_assert_int_eq(nbd_access_read(scene.device, other,
					 8 * TMEM_PAGE_SIZE, TMEM_PAGE_SIZE,
					 bytes, &bad),
			 0);
	ck_assert(test_nbd_is_page(bytes, 9));
}

START_TEST(what_another_reader_took_back_is_not_lost)
{
	uint8_t bytes[2 * TMEM_PAGE_SIZE];
	struct nbd_io *other = malloc(sizeof(*other));
	uint64_t bad;

	ck_assert(other && !nbd_io_init(other, scene.device));
	write_pages(16);
	test_array_pool_limit(scene.pool, 1);
	wait_until_held(0);
	test_array_pool_limit(scene.pool, 1000);
	nbd_writeout_stop(scene.device);
	ck_assert_int_eq(test_nbd_write(&scene, 9, 10), 0);
	/* Page 8 is not in the pool as we look, and is before we judge. */
	test_array_pool_on_get(scene.pool, read_8, other);
	ck_assert_int_eq(nbd_access_read(scene.device, &scene.io,
					 8 * TMEM_PAGE_SIZE, sizeof(bytes),
					 bytes, &bad),
			 0);
	ck_assert_ptr_nonnull(test_array_pool_page(scene.pool, 8));
	ck_assert(test_nbd_is_page(bytes, 9));
	ck_assert(test_nbd_is_page(bytes + TMEM_PAGE_SIZE, 10));
	ck_assert_uint_eq(counted(TMEM_NBD_STAT_lost), 0);
	nbd_io_deinit(other);
	free(other);
}
END_TEST

START_TEST(pages_that_cannot_be_written_stay)
{
	ck_assert_int_eq(ftruncate(scene.config.overflow_fd, TMEM_PAGE_SIZE),
			 0);
	write_pages(64);
	test_array_pool_limit(scene.pool, 10);
	while (!counted(TMEM_NBD_STAT_overflow_errors))
		sched_yield();
	for (uint64_t page = 0; page < 64; page++)
		ck_assert(test_nbd_reads_as(&scene, page, page + 1));
}
END_TEST

/** Writes, trims and reads pages of its own, while they move. */
static void *change(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	uint64_t state = me + 1;
	static uint64_t version[THREADS][PAGES];
	uint8_t bytes[TMEM_PAGE_SIZE];
	struct nbd_io *io = malloc(sizeof(*io));
	uint64_t bad;

	ck_assert(io && !nbd_io_init(io, scene.device));
	for (unsigned round = 1; round <= ROUNDS; round++) {
		uint64_t page, offset;
		uint64_t *now;

		state = state * 6364136223846793005u + 1442695040888963407u;
		page = (state >> 33) % PAGES;
		page = page - page % THREADS + me;
		if (page >= PAGES)
			continue;
		offset = page * TMEM_PAGE_SIZE;
		now = &version[me][page];
		switch (state >> 60) {
		case 0:
			ck_assert_int_eq(nbd_access_zero(scene.device, io,
							 offset, TMEM_PAGE_SIZE,
							 NBD_ZERO_HOLE),
					 0);
			*now = 0;
			break;
		case 1:
		case 2:
		case 3:
		case 4:
		case 5:
		case 6:
		case 7:
			*now = round;
			test_page_of(bytes, TEST_PAGE_TEXT, round);
			ck_assert_int_eq(
				nbd_access_write(scene.device, io, offset,
						 TMEM_PAGE_SIZE, bytes),
				0);
			break;
		default:
			ck_assert_int_eq(nbd_access_read(scene.device, io,
							 offset, TMEM_PAGE_SIZE,
							 bytes, &bad),
					 0);
			ck_assert(test_nbd_is_page(bytes, *now));
		}
	}
	nbd_io_deinit(io);
	free(io);
	return NULL;
}

START_TEST(whoever_changes_a_page_finds_it_so)
{
	pthread_t thread[THREADS];

	test_array_pool_limit(scene.pool, 64);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(
			pthread_create(&thread[i], NULL, change, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_gt(counted(TMEM_NBD_STAT_written_out), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("NBD write-out");
	TCase *tc = tcase_create("write-out");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, cold_pages_move_to_their_slots);
	tcase_add_test(tc, pages_come_back_with_their_neighbours);
	tcase_add_test(tc, nothing_comes_back_without_room);
	tcase_add_test(tc, what_another_reader_took_back_is_not_lost);
	tcase_add_test(tc, pages_that_cannot_be_written_stay);
	tcase_add_test(tc, whoever_changes_a_page_finds_it_so);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
