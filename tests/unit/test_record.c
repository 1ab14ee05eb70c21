/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tmemd remembers of hosted exports: byte for byte, through a reopening,
 * and with what is not a record in its place.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "arena-file.h"
#include "record.h"

static struct tmem_store *store;
static struct tmemd_records records;

static void open_store(int fd)
{
	struct tmem_store_config config;

	tmem_store_config_init(&config);
	config.budget = 16u << 20;
	config.capacity = 16u << 20;
	config.arena_fd = fd;
	ck_assert_int_eq(tmem_store_open(&config, &store), 0);
	ck_assert_int_eq(tmemd_records_init(&records, store), 0);
}

static void setup(void)
{
	open_store(-1);
}

static void teardown(void)
{
	tmemd_records_deinit(&records);
	store = tmem_store_close(store);
}

/* The one page in the records' pool, whose object id is known. */
static const struct tmem_oid oid_of_web = {
	{1000, 0x22fd8ad0bcfe2d1fu, 0x0e2d47b782062f7eu}};

START_TEST(record_is_these_bytes)
{
	static const uint8_t golden[96] = {/* magic */
					   't', 'm', 'e', 'm', 'e', 'x', 'p',
					   '1',
					   /* uid 1000, keep 1, little-endian */
					   0xe8, 0x03, 0, 0, 1, 0, 0, 0,
					   /* name, to 64 bytes */
					   'w', 'e', 'b', 0};
	uint8_t page[TMEM_PAGE_SIZE];

	ck_assert_int_eq(tmemd_records_put(&records, 1000, "web", true), 0);
	ck_assert_int_eq(tmem_get(records.pool, &oid_of_web, 0, page), TMEM_OK);
	ck_assert_mem_eq(page, golden, sizeof(golden));
	for (size_t i = sizeof(golden); i < sizeof(page); i++)
		ck_assert_uint_eq(page[i], 0);
}
END_TEST

START_TEST(record_is_found_until_forgotten)
{
	bool keep = false;

	ck_assert(!tmemd_records_get(&records, 1000, "web", &keep));
	ck_assert_int_eq(tmemd_records_put(&records, 1000, "web", true), 0);
	ck_assert(tmemd_records_get(&records, 1000, "web", &keep));
	ck_assert(keep);
	ck_assert(!tmemd_records_get(&records, 1001, "web", &keep));
	ck_assert(!tmemd_records_get(&records, 1000, "we", &keep));
	ck_assert_int_eq(tmemd_records_put(&records, 1000, "web", false), 0);
	ck_assert(tmemd_records_get(&records, 1000, "web", &keep));
	ck_assert(!keep);
	tmemd_records_forget(&records, 1000, "web");
	ck_assert(!tmemd_records_get(&records, 1000, "web", &keep));
}
END_TEST

START_TEST(refused_record_is_said)
{
	bool keep;

	tmem_store_set_frozen(store, true);
	ck_assert_int_eq(tmemd_records_put(&records, 0, "web", true), -ENOSPC);
	ck_assert(!tmemd_records_get(&records, 0, "web", &keep));
}
END_TEST

START_TEST(other_page_is_no_record)
{
	uint8_t page[TMEM_PAGE_SIZE] = "something else";
	bool keep;

	ck_assert_int_eq(tmem_put(records.pool, &oid_of_web, 0, page), TMEM_OK);
	ck_assert(!tmemd_records_get(&records, 1000, "web", &keep));
}
END_TEST

START_TEST(record_survives_reopening)
{
	int fd = test_arena_memfd();
	bool keep = false;

	teardown();
	open_store(fcntl(fd, F_DUPFD_CLOEXEC, 0));
	ck_assert_int_eq(tmemd_records_put(&records, 7, "disk", true), 0);
	teardown();
	open_store(fd);
	ck_assert(tmem_store_reopened(store));
	ck_assert(tmemd_records_get(&records, 7, "disk", &keep));
	ck_assert(keep);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("record");
	TCase *tcase = tcase_create("record");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, record_is_these_bytes);
	tcase_add_test(tcase, record_is_found_until_forgotten);
	tcase_add_test(tcase, refused_record_is_said);
	tcase_add_test(tcase, other_page_is_no_record);
	tcase_add_test(tcase, record_survives_reopening);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
