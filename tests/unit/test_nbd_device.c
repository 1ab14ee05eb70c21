/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device between pool and overflow file: what is where, in which order it
 * gets there, and what survives which failure. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include "access.h"
#include "array-pool.h"
#include "nbd-scene.h"
#include "pages.h"
#include "random.h"

#define PAGES 512u
#define SIZE  ((uint64_t)PAGES * TMEM_PAGE_SIZE)
#define ALL   TEST_ARRAY_POOL_PAGES

static struct test_nbd_scene scene;

static void set_up_plain(void)
{
	test_nbd_scene_init(&scene, SIZE, -1);
}

static void set_up_overflow(void)
{
	test_nbd_scene_init(&scene, SIZE, test_nbd_file());
}

/** For what does much, and is not about disks. */
static void set_up_memory(void)
{
	test_nbd_scene_init(&scene, SIZE, memfd_create("file", MFD_CLOEXEC));
}

static void tear_down(void)
{
	test_nbd_scene_deinit(&scene);
}

static int read_bytes(uint64_t offset, uint32_t length, uint8_t *to)
{
	uint64_t bad;

	return nbd_access_read(scene.device, &scene.io, offset, length, to,
			       &bad);
}

static bool slot_is(uint64_t page, uint64_t seed)
{
	uint8_t bytes[TMEM_PAGE_SIZE];

	test_nbd_slot(&scene, page, bytes);
	return test_nbd_is_page(bytes, seed);
}

static uint64_t stat_of(enum tmem_nbd_stat stat)
{
	return atomic_load(&scene.io.stats[stat]);
}

/* Pool and file ----------------------------------------------------------- */

START_TEST(absent_pages_are_zeros)
{
	ck_assert(test_nbd_reads_as(&scene, 7, 0));
	ck_assert_uint_eq(test_array_pool_gets(scene.pool), 1); /* record */
}
END_TEST

START_TEST(zeros_on_an_absent_page_leave_it_absent)
{
	uint8_t zeros[3 * TMEM_PAGE_SIZE] = {0};

	zeros[TMEM_PAGE_SIZE] = 1;
	ck_assert_int_eq(nbd_access_write(scene.device, &scene.io, 0,
					  sizeof(zeros), zeros),
			 0);
	ck_assert_ptr_null(test_array_pool_page(scene.pool, 0));
	ck_assert_ptr_nonnull(test_array_pool_page(scene.pool, 1));
	ck_assert_ptr_null(test_array_pool_page(scene.pool, 2));
	/* But not on one that is there. */
	zeros[TMEM_PAGE_SIZE] = 0;
	ck_assert_int_eq(nbd_access_write(scene.device, &scene.io, 0,
					  sizeof(zeros), zeros),
			 0);
	ck_assert(test_nbd_reads_as(&scene, 1, 0));
}
END_TEST

START_TEST(refused_page_goes_to_its_slot)
{
	test_array_pool_refuse(scene.pool, 5, true);
	ck_assert_int_eq(test_nbd_write(&scene, 4, 40), 0);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	ck_assert(slot_is(4, 0));
	ck_assert(slot_is(5, 50));
	ck_assert(test_nbd_reads_as(&scene, 4, 40));
	ck_assert(test_nbd_reads_as(&scene, 5, 50));
	ck_assert_uint_eq(stat_of(TMEM_NBD_STAT_refused), 1);
	ck_assert_uint_eq(stat_of(TMEM_NBD_STAT_overflow_writes), 1);
	ck_assert_uint_eq(stat_of(TMEM_NBD_STAT_overflow_reads), 1);
}
END_TEST

/** Pages are spread over pool and file as the numbers fall. */
START_TEST(run_is_put_together_from_both)
{
	uint8_t *run = malloc(NBD_ACCESS_MAX), *back = malloc(NBD_ACCESS_MAX);
	unsigned i;

	for (i = 0; i < TMEM_RUN_MAX; i++) {
		test_array_pool_refuse(scene.pool, 100 + i,
				       test_mix(i) % 3 == 0);
		test_page_of(run + (size_t)i * TMEM_PAGE_SIZE, TEST_PAGE_TEXT,
			     i + 1);
	}
	ck_assert_int_eq(nbd_access_write(scene.device, &scene.io,
					  100 * TMEM_PAGE_SIZE, NBD_ACCESS_MAX,
					  run),
			 0);
	ck_assert_int_eq(read_bytes(100 * TMEM_PAGE_SIZE, NBD_ACCESS_MAX, back),
			 0);
	ck_assert_mem_eq(run, back, NBD_ACCESS_MAX);
	ck_assert_uint_gt(stat_of(TMEM_NBD_STAT_overflow_reads), 50);
	ck_assert_uint_lt(stat_of(TMEM_NBD_STAT_overflow_reads), 150);
	free(back);
	free(run);
}
END_TEST

START_TEST(pool_wins_over_a_stale_slot)
{
	test_array_pool_refuse(scene.pool, 5, true);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	test_array_pool_refuse(scene.pool, 5, false);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 51), 0);
	ck_assert(slot_is(5, 50));
	ck_assert(test_nbd_reads_as(&scene, 5, 51));
	test_nbd_scene_reopen(&scene);
	ck_assert(test_nbd_reads_as(&scene, 5, 51));
}
END_TEST

/* Order ------------------------------------------------------------------- */

/** What must be in the slot when the pool's page is flushed. */
struct expected {
	uint64_t page, seed;
	unsigned flushes;
};

static void check_slot(void *arg, uint32_t index, uint64_t count)
{
	struct expected *expected = arg;

	ck_assert(slot_is(expected->page, expected->seed));
	ck_assert(index <= expected->page && expected->page < index + count);
	expected->flushes++;
}

START_TEST(slot_is_written_before_the_old_page_is_flushed)
{
	struct expected expected = {.page = 5, .seed = 51};

	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	test_array_pool_refuse(scene.pool, 5, true);
	test_array_pool_on_flush(scene.pool, check_slot, &expected);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 51), 0);
	ck_assert_uint_eq(expected.flushes, 1);
	ck_assert_ptr_null(test_array_pool_page(scene.pool, 5));
	ck_assert(test_nbd_reads_as(&scene, 5, 51));
}
END_TEST

START_TEST(slot_is_punched_before_the_page_is_flushed)
{
	struct expected expected = {.page = 5, .seed = 0};

	test_array_pool_refuse(scene.pool, 5, true);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	test_array_pool_refuse(scene.pool, 5, false);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 51), 0);
	test_array_pool_on_flush(scene.pool, check_slot, &expected);
	ck_assert_int_eq(nbd_access_zero(scene.device, &scene.io, 0, SIZE,
					 NBD_ZERO_TRIM),
			 0);
	ck_assert_uint_eq(expected.flushes, 1);
	ck_assert(test_nbd_reads_as(&scene, 5, 0));
	test_nbd_scene_reopen(&scene);
	ck_assert(test_nbd_reads_as(&scene, 5, 0));
}
END_TEST

/* Failures ---------------------------------------------------------------- */

START_TEST(full_pool_without_a_file_keeps_the_old_page)
{
	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	test_array_pool_refuse(scene.pool, ALL, true);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 51), -ENOSPC);
	ck_assert_int_eq(test_nbd_write(&scene, 6, 60), -ENOSPC);
	ck_assert(test_nbd_reads_as(&scene, 5, 50));
	ck_assert(test_nbd_reads_as(&scene, 6, 0));
	ck_assert_uint_eq(stat_of(TMEM_NBD_STAT_refused), 2);
}
END_TEST

START_TEST(full_disk_keeps_the_old_page)
{
	const struct rlimit limit = {TMEM_PAGE_SIZE, RLIM_INFINITY};

	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	test_array_pool_refuse(scene.pool, ALL, true);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(nbd_error_from_errno(test_nbd_write(&scene, 5, 51)),
			 NBD_ENOSPC);
	ck_assert(test_nbd_reads_as(&scene, 5, 50));
	/* A page whose slot is below the limit is written all the same. */
	ck_assert_int_eq(test_nbd_write(&scene, 0, 1), 0);
	ck_assert(test_nbd_reads_as(&scene, 0, 1));
	ck_assert_uint_eq(stat_of(TMEM_NBD_STAT_overflow_errors), 1);
}
END_TEST

START_TEST(failing_disk_is_an_error_of_its_pages)
{
	uint8_t bytes[4 * TMEM_PAGE_SIZE];
	uint64_t bad = 0;

	ck_assert_int_eq(test_nbd_write(&scene, 4, 40), 0);
	test_array_pool_refuse(scene.pool, 5, true);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	ck_assert_int_eq(ftruncate(scene.config.overflow_fd, 0), 0);
	ck_assert(test_nbd_reads_as(&scene, 4, 40));
	ck_assert_int_eq(nbd_access_read(scene.device, &scene.io,
					 3 * TMEM_PAGE_SIZE, sizeof(bytes),
					 bytes, &bad),
			 -EIO);
	ck_assert_uint_eq(bad, 5 * TMEM_PAGE_SIZE);
	/* Within the page: the offset asked for, not the page's. */
	ck_assert_int_eq(nbd_access_read(scene.device, &scene.io,
					 5 * TMEM_PAGE_SIZE + 100, 10, bytes,
					 &bad),
			 -EIO);
	ck_assert_uint_eq(bad, 5 * TMEM_PAGE_SIZE + 100);
	/* A partial write cannot read what it is to keep. */
	ck_assert_int_eq(nbd_access_write(scene.device, &scene.io,
					  5 * TMEM_PAGE_SIZE + 1, 1, bytes),
			 -EIO);
}
END_TEST

START_TEST(lost_page_is_an_error_and_no_zeros)
{
	uint8_t bytes[TMEM_PAGE_SIZE];

	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	test_array_pool_lose(scene.pool, 5);
	ck_assert_int_eq(read_bytes(5 * TMEM_PAGE_SIZE, sizeof(bytes), bytes),
			 -EIO);
	ck_assert_uint_eq(stat_of(TMEM_NBD_STAT_lost), 1);
	/* Writing it again, or trimming it, heals it. */
	ck_assert_int_eq(test_nbd_write(&scene, 5, 51), 0);
	ck_assert(test_nbd_reads_as(&scene, 5, 51));
	test_array_pool_lose(scene.pool, 5);
	ck_assert_int_eq(nbd_access_zero(scene.device, &scene.io,
					 5 * TMEM_PAGE_SIZE, TMEM_PAGE_SIZE,
					 NBD_ZERO_TRIM),
			 0);
	ck_assert(test_nbd_reads_as(&scene, 5, 0));
}
END_TEST

/** Taken up again, a device does not know its pages; but a pool without its
 * record has been flushed, and what the file holds may be old. */
START_TEST(flushed_pool_is_an_error_after_a_restart)
{
	uint8_t bytes[TMEM_PAGE_SIZE];

	test_array_pool_refuse(scene.pool, 5, true);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	test_array_pool_refuse(scene.pool, 5, false);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 51), 0);
	test_nbd_scene_reopen(&scene);
	ck_assert(test_nbd_reads_as(&scene, 7, 0));
	test_array_pool_lose(scene.pool, 5);
	test_array_pool_lose(scene.pool, ALL); /* the record */
	ck_assert_int_eq(read_bytes(5 * TMEM_PAGE_SIZE, sizeof(bytes), bytes),
			 -EIO);
	ck_assert_uint_eq(stat_of(TMEM_NBD_STAT_lost), 1);
}
END_TEST

/* Bytes ------------------------------------------------------------------- */

/** Random accesses of all kinds against an array of bytes, with random pages
 * refused, and reopened now and then. */
START_TEST(accesses_agree_with_an_array)
{
	uint8_t *model = calloc(1, SIZE), *bytes = malloc(NBD_ACCESS_MAX);
	struct test_random random;
	uint64_t offset, i;
	uint32_t length;
	int round;

	test_random_init(&random, test_seed());
	for (round = 0; round < 3000; round++) {
		offset = test_random_below(&random, SIZE);
		length = 1 + (uint32_t)test_random_below(
				     &random, round % 8 ? 9000 : 300000);
		if (length > SIZE - offset)
			length = (uint32_t)(SIZE - offset);
		test_array_pool_refuse(
			scene.pool, (uint32_t)test_random_below(&random, PAGES),
			test_random_below(&random, 2));
		switch (test_random_below(&random, 6)) {
		case 0:
		case 1:
			test_random_bytes(&random, bytes, length);
			memcpy(model + offset, bytes, length);
			ck_assert_int_eq(nbd_access_write(scene.device,
							  &scene.io, offset,
							  length, bytes),
					 0);
			break;
		case 2:
			memset(model + offset, 0, length);
			ck_assert_int_eq(nbd_access_zero(scene.device,
							 &scene.io, offset,
							 length, NBD_ZERO_HOLE),
					 0);
			break;
		case 3:
			memset(model + offset, 0, length);
			ck_assert_int_eq(
				nbd_access_zero(scene.device, &scene.io, offset,
						length, NBD_ZERO_ALLOCATE),
				0);
			break;
		case 4:
			/* Trims whole pages only. */
			for (i = (offset + 4095) & ~4095ull;
			     i + 4096 <= offset + length; i += 4096)
				memset(model + i, 0, 4096);
			ck_assert_int_eq(nbd_access_zero(scene.device,
							 &scene.io, offset,
							 length, NBD_ZERO_TRIM),
					 0);
			break;
		default:
			ck_assert_int_eq(read_bytes(offset, length, bytes), 0);
			ck_assert_mem_eq(bytes, model + offset, length);
		}
		if (round % 500 == 499)
			test_nbd_scene_reopen(&scene);
	}
	for (offset = 0; offset < SIZE; offset += NBD_ACCESS_MAX) {
		ck_assert_int_eq(read_bytes(offset, NBD_ACCESS_MAX, bytes), 0);
		ck_assert_mem_eq(bytes, model + offset, NBD_ACCESS_MAX);
	}
	ck_assert_uint_gt(stat_of(TMEM_NBD_STAT_overflow_reads), 100);
	free(bytes);
	free(model);
}
END_TEST

#define WRITERS 4
#define WRITES	4000

/** Each thread owns every fourth byte of a few pages, and counts there. */
static void *write_bytes(void *arg)
{
	struct nbd_io io;
	unsigned mine = *(unsigned *)arg, i;
	uint8_t byte;
	uint64_t at;

	ck_assert_int_eq(nbd_io_init(&io, scene.device), 0);
	for (i = 0; i < WRITES; i++) {
		byte = (uint8_t)(i / 64 + 1);
		at = (uint64_t)(i % 64) * 256 + mine;
		ck_assert_int_eq(
			nbd_access_write(scene.device, &io, at, 1, &byte), 0);
	}
	nbd_io_deinit(&io);
	return NULL;
}

START_TEST(partial_writes_of_threads_lose_nothing)
{
	static const unsigned mine[WRITERS] = {0, 1, 2, 3};
	pthread_t threads[WRITERS];
	uint8_t bytes[64 * 256];
	unsigned i, t;

	test_array_pool_refuse(scene.pool, 1, true);
	for (t = 0; t < WRITERS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, write_bytes,
						(void *)&mine[t]),
				 0);
	for (t = 0; t < WRITERS; t++)
		pthread_join(threads[t], NULL);
	ck_assert_int_eq(read_bytes(0, sizeof(bytes), bytes), 0);
	for (i = 0; i < 64; i++)
		for (t = 0; t < WRITERS; t++)
			ck_assert_uint_eq(bytes[i * 256 + t],
					  (WRITES - 1 - i) / 64 + 1);
}
END_TEST

#define RUN    70u /* pages, over the border of two locks */
#define ROUNDS 1500

/** Whole runs are written, of one word each, dropped and read, while pages go
 * to the pool or to the file as it comes: a read sees one write, whole. */
static void *write_runs(void *arg)
{
	const uint64_t at = 30 * TMEM_PAGE_SIZE, length = RUN * TMEM_PAGE_SIZE;
	uint64_t *run = malloc(length), word, bad;
	struct test_random random;
	struct nbd_io io;
	unsigned round, i;
	int r;

	test_random_init(&random, test_seed() + *(const unsigned *)arg);
	ck_assert_int_eq(nbd_io_init(&io, scene.device), 0);
	for (round = 0; round < ROUNDS; round++) {
		word = test_random_below(&random, 1u << 30);
		test_array_pool_refuse(scene.pool, 30 + word % RUN, word & 256);
		if (word % 8 < 3) {
			r = nbd_access_read(scene.device, &io, at,
					    (uint32_t)length, (uint8_t *)run,
					    &bad);
			/* Equal to itself, a word further on. */
			ck_assert_mem_eq(run, run + 1, length - 8);
		} else if (word % 8 < 6) {
			for (i = 0; i < length / 8; i++)
				run[i] = word;
			r = nbd_access_write(scene.device, &io, at,
					     (uint32_t)length, (uint8_t *)run);
		} else {
			r = nbd_access_zero(scene.device, &io, at, length,
					    word % 8 == 6 ? NBD_ZERO_TRIM
							  : NBD_ZERO_ALLOCATE);
		}
		ck_assert_int_eq(r, 0);
	}
	nbd_io_deinit(&io);
	free(run);
	return NULL;
}

START_TEST(runs_of_threads_are_seen_whole)
{
	static const unsigned number[WRITERS] = {0, 1, 2, 3};
	pthread_t threads[WRITERS];
	unsigned t;

	for (t = 0; t < WRITERS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, write_runs,
						(void *)&number[t]),
				 0);
	for (t = 0; t < WRITERS; t++)
		pthread_join(threads[t], NULL);
}
END_TEST

START_TEST(extents_follow_what_is_present)
{
	struct nbd_extent extents[8];

	test_array_pool_refuse(scene.pool, 11, true);
	ck_assert_int_eq(test_nbd_write(&scene, 10, 1), 0);
	ck_assert_int_eq(test_nbd_write(&scene, 11, 2), 0);
	ck_assert_int_eq(test_nbd_write(&scene, 100, 3), 0);
	ck_assert_uint_eq(nbd_access_extents(scene.device, 0, SIZE, extents, 8),
			  5);
	ck_assert_uint_eq(extents[0].length, 10 * TMEM_PAGE_SIZE);
	ck_assert(!extents[0].present);
	ck_assert_uint_eq(extents[1].length, 2 * TMEM_PAGE_SIZE);
	ck_assert(extents[1].present);
	ck_assert_uint_eq(extents[4].length, SIZE - 101 * TMEM_PAGE_SIZE);
	/* Of bytes within, and as many as there is room for. */
	ck_assert_uint_eq(nbd_access_extents(scene.device,
					     10 * TMEM_PAGE_SIZE - 7, 8,
					     extents, 8),
			  2);
	ck_assert_uint_eq(extents[0].length, 7);
	ck_assert_uint_eq(extents[1].length, 1);
	ck_assert_uint_eq(nbd_access_extents(scene.device, 0, SIZE, extents, 1),
			  1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("NBD device");
	TCase *plain = tcase_create("without overflow file");
	TCase *overflow = tcase_create("with overflow file");
	TCase *memory = tcase_create("with overflow file in memory");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(plain, set_up_plain, tear_down);
	tcase_add_test(plain, absent_pages_are_zeros);
	tcase_add_test(plain, zeros_on_an_absent_page_leave_it_absent);
	tcase_add_test(plain, full_pool_without_a_file_keeps_the_old_page);
	tcase_add_test(plain, lost_page_is_an_error_and_no_zeros);
	tcase_set_timeout(overflow, 120);
	tcase_add_checked_fixture(overflow, set_up_overflow, tear_down);
	tcase_add_test(overflow, refused_page_goes_to_its_slot);
	tcase_add_test(overflow, run_is_put_together_from_both);
	tcase_add_test(overflow, pool_wins_over_a_stale_slot);
	tcase_add_test(overflow,
		       slot_is_written_before_the_old_page_is_flushed);
	tcase_add_test(overflow, slot_is_punched_before_the_page_is_flushed);
	tcase_add_test(overflow, full_disk_keeps_the_old_page);
	tcase_add_test(overflow, failing_disk_is_an_error_of_its_pages);
	tcase_add_test(overflow, flushed_pool_is_an_error_after_a_restart);
	tcase_add_test(overflow, accesses_agree_with_an_array);
	tcase_add_test(overflow, partial_writes_of_threads_lose_nothing);
	tcase_add_test(overflow, extents_follow_what_is_present);
	suite_add_tcase(suite, plain);
	suite_add_tcase(suite, overflow);
	tcase_set_timeout(memory, 120);
	tcase_add_checked_fixture(memory, set_up_memory, tear_down);
	tcase_add_test(memory, runs_of_threads_are_seen_whole);
	suite_add_tcase(suite, memory);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
