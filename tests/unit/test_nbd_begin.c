/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Beginning a device, and finding it again: what belongs together, what is
 * refused, and what is left behind when that fails half-way. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "array-pool.h"
#include "nbd-scene.h"

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

static void tear_down(void)
{
	test_nbd_scene_deinit(&scene);
}

static off_t size_of(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return st.st_size;
}

/** Open the scene's pool and file once more, with the scene's device closed. */
static int reopen(struct tmem_nbd_export_config *config, struct tmem_pool *pool)
{
	struct nbd_device *device = NULL;
	char why[512] = "";
	int r = nbd_device_open(config, pool, TEST_NBD_GENERATION + 1, &device,
				why, sizeof(why));

	ck_assert(!r || *why);
	nbd_device_close(device);
	return r;
}

START_TEST(other_pool_or_file_is_refused)
{
	struct tmem_nbd_export_config config = scene.config;
	struct tmem_pool *other = test_array_pool_new();
	int fd = test_nbd_file();

	ck_assert_int_eq(reopen(&config, scene.pool), 0);
	/* The store came back without the pool. */
	ck_assert_int_eq(reopen(&config, other), -ESTALE);
	/* The file is forgotten, or empty, or another device's. */
	config.overflow_fd = -1;
	ck_assert_int_eq(reopen(&config, scene.pool), -ESTALE);
	config.overflow_fd = fd;
	ck_assert_int_eq(reopen(&config, scene.pool), -ESTALE);
	ck_assert_int_eq(reopen(&config, other), 0);
	ck_assert_int_eq(reopen(&config, scene.pool), -ESTALE);
	config.overflow_fd = scene.config.overflow_fd;
	ck_assert_int_eq(reopen(&config, scene.pool), 0);
	/* A smaller size; none is fine. */
	config.size = SIZE / 2;
	ck_assert_int_eq(reopen(&config, scene.pool), -EINVAL);
	config.size = 0;
	ck_assert_int_eq(reopen(&config, scene.pool), 0);
	/* Another device than the keeper's. */
	config.device = scene.device->id;
	ck_assert_int_eq(reopen(&config, scene.pool), 0);
	config.device.byte[0] ^= 1;
	ck_assert_int_eq(reopen(&config, scene.pool), -ESTALE);
	close(fd);
	tmem_pool_free(other);
}
END_TEST

/** A device grows when it is opened again with a larger size, also when that
 * was cut short: all it held is there, and zeros behind. */
START_TEST(device_grows_and_keeps_its_pages)
{
	static const uint64_t grown = 2 * SIZE + 512;
	struct nbd_overflow_header header;
	int fd = scene.config.overflow_fd;

	/* One page is in the file, if there is one. */
	test_array_pool_refuse(scene.pool, 6, fd >= 0);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	ck_assert_int_eq(test_nbd_write(&scene, 6, 60), 0);
	ck_assert_int_eq(test_nbd_write(&scene, PAGES - 1, 70), 0);
	if (_i) {
		/* Killed when only the file had grown, to a size between. */
		ck_assert_int_eq(nbd_overflow_probe(fd, &header), 0);
		ck_assert_int_eq(nbd_overflow_grow(fd, &header, SIZE,
						   SIZE + 4 * TMEM_PAGE_SIZE),
				 0);
	}
	scene.config.size = grown;
	test_nbd_scene_reopen(&scene);
	ck_assert_uint_eq(scene.device->size, grown);
	ck_assert(test_nbd_reads_as(&scene, 5, 50));
	ck_assert(test_nbd_reads_as(&scene, 6, 60));
	ck_assert(test_nbd_reads_as(&scene, PAGES - 1, 70));
	ck_assert(test_nbd_reads_as(&scene, PAGES, 0));
	ck_assert(test_nbd_reads_as(&scene, PAGES + 4, 0));
	ck_assert(test_nbd_reads_as(&scene, 2 * PAGES - 1, 0));
	ck_assert_int_eq(test_nbd_write(&scene, PAGES, 80), 0);
	/* And is of that size from now on. */
	scene.config.size = 0;
	test_nbd_scene_reopen(&scene);
	ck_assert_uint_eq(scene.device->size, grown);
	ck_assert(test_nbd_reads_as(&scene, PAGES, 80));
	scene.config.size = SIZE;
	ck_assert_int_eq(reopen(&scene.config, scene.pool), -EINVAL);
}
END_TEST

/** A growth that was cut short is completed also when it is not asked for. */
START_TEST(growth_cut_short_is_completed)
{
	struct nbd_overflow_header header;
	int fd = scene.config.overflow_fd;

	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	ck_assert_int_eq(nbd_overflow_probe(fd, &header), 0);
	ck_assert_int_eq(nbd_overflow_grow(fd, &header, SIZE, 2 * SIZE), 0);
	test_nbd_scene_reopen(&scene);
	ck_assert_uint_eq(scene.device->size, 2 * SIZE);
	ck_assert(test_nbd_reads_as(&scene, 5, 50));
	ck_assert(test_nbd_reads_as(&scene, PAGES, 0));
}
END_TEST

START_TEST(reset_begins_anew)
{
	struct tmem_nbd_export_config config = scene.config;
	struct tmem_uuid before = scene.device->id;

	test_array_pool_refuse(scene.pool, 6, true);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	ck_assert_int_eq(test_nbd_write(&scene, 6, 60), 0);
	config.reset = true;
	config.size = 0;
	ck_assert_int_eq(reopen(&config, scene.pool), -EINVAL);
	ck_assert(test_nbd_reads_as(&scene, 5, 50));
	config.size = SIZE;
	ck_assert_int_eq(reopen(&config, scene.pool), 0);
	test_nbd_scene_reopen(&scene);
	ck_assert(memcmp(&before, &scene.device->id, sizeof(before)));
	ck_assert(test_nbd_reads_as(&scene, 5, 0));
	ck_assert(test_nbd_reads_as(&scene, 6, 0));
}
END_TEST

START_TEST(file_may_be_added_later)
{
	struct tmem_nbd_export_config config = scene.config;

	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	config.overflow_fd = test_nbd_file();
	ck_assert_int_eq(reopen(&config, scene.pool), 0);
	scene.config.overflow_fd = config.overflow_fd;
	test_nbd_scene_reopen(&scene);
	ck_assert(test_nbd_reads_as(&scene, 5, 50));
	test_array_pool_refuse(scene.pool, ALL, true);
	ck_assert_int_eq(test_nbd_write(&scene, 5, 51), 0);
	ck_assert(test_nbd_reads_as(&scene, 5, 51));
}
END_TEST

/** The store has no room when a file is added: the device must still be there
 * without it, and later with it. */
START_TEST(kept_device_survives_a_refused_record)
{
	struct tmem_nbd_export_config config = scene.config;

	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	config.overflow_fd = test_nbd_file();
	test_array_pool_refuse(scene.pool, ALL, true);
	ck_assert_int_eq(reopen(&config, scene.pool), -ENOSPC);
	ck_assert_int_eq(size_of(config.overflow_fd), 0);
	test_nbd_scene_reopen(&scene);
	ck_assert(test_nbd_reads_as(&scene, 5, 50));
	test_array_pool_refuse(scene.pool, ALL, false);
	ck_assert_int_eq(reopen(&config, scene.pool), 0);
	scene.config.overflow_fd = config.overflow_fd;
	test_nbd_scene_reopen(&scene);
	ck_assert(test_nbd_reads_as(&scene, 5, 50));
}
END_TEST

START_TEST(new_device_of_a_refused_record_can_begin_later)
{
	struct tmem_nbd_export_config config = scene.config;
	struct tmem_pool *other = test_array_pool_new();

	config.overflow_fd = test_nbd_file();
	test_array_pool_refuse(other, ALL, true);
	ck_assert_int_eq(reopen(&config, other), -ENOSPC);
	test_array_pool_refuse(other, ALL, false);
	ck_assert_int_eq(reopen(&config, other), 0);
	close(config.overflow_fd);
	tmem_pool_free(other);
}
END_TEST

/** A reset that was killed between the record and the pages. */
START_TEST(new_device_has_no_pages_of_an_old_one)
{
	ck_assert_int_eq(test_nbd_write(&scene, 5, 50), 0);
	test_array_pool_lose(scene.pool, ALL); /* the record */
	test_nbd_scene_reopen(&scene);
	ck_assert(test_nbd_reads_as(&scene, 5, 0));
	test_nbd_scene_reopen(&scene);
	ck_assert(test_nbd_reads_as(&scene, 5, 0));
}
END_TEST

/** Who writes to the pool by another way must not have us map exabytes. */
START_TEST(record_of_an_impossible_size_is_refused)
{
	static const uint64_t sizes[] = {
		0, 511, 4097, (16ull << 40) + 512, 1ull << 60, UINT64_MAX};
	struct tmem_nbd_export_config config = scene.config;
	uint8_t record[TMEM_PAGE_SIZE];
	unsigned i;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		ck_assert_int_eq(
			tmem_get(scene.pool, &nbd_device_record_oid, 0, record),
			TMEM_OK);
		memcpy(record + 8, &sizes[i], sizeof(sizes[i]));
		ck_assert_int_eq(
			tmem_put(scene.pool, &nbd_device_record_oid, 0, record),
			TMEM_OK);
		config.size = 0;
		ck_assert_int_eq(reopen(&config, scene.pool), -EINVAL);
	}
	config.size = SIZE;
	config.reset = true;
	ck_assert_int_eq(reopen(&config, scene.pool), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("NBD device, begun and found");
	TCase *plain = tcase_create("without overflow file");
	TCase *overflow = tcase_create("with overflow file");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(plain, set_up_plain, tear_down);
	tcase_add_test(plain, file_may_be_added_later);
	tcase_add_test(plain, kept_device_survives_a_refused_record);
	tcase_add_test(plain, new_device_of_a_refused_record_can_begin_later);
	tcase_add_test(plain, new_device_has_no_pages_of_an_old_one);
	tcase_add_test(plain, record_of_an_impossible_size_is_refused);
	tcase_add_loop_test(plain, device_grows_and_keeps_its_pages, 0, 1);
	tcase_add_checked_fixture(overflow, set_up_overflow, tear_down);
	tcase_add_loop_test(overflow, device_grows_and_keeps_its_pages, 0, 2);
	tcase_add_test(overflow, growth_cut_short_is_completed);
	tcase_add_test(overflow, other_pool_or_file_is_refused);
	tcase_add_test(overflow, reset_begins_anew);
	suite_add_tcase(suite, plain);
	suite_add_tcase(suite, overflow);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
