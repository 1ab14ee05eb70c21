/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The test helpers themselves: pages repeat, differ, and carry their seed. */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "arena-file.h"
#include "pages.h"
#include "random.h"

START_TEST(seed_repeats_numbers)
{
	struct test_random a, b;

	test_random_init(&a, 7);
	test_random_init(&b, 7);
	for (int i = 0; i < 1000; i++) {
		uint64_t x = test_random_below(&a, 10);

		ck_assert_uint_lt(x, 10);
		ck_assert_uint_eq(x, test_random_below(&b, 10));
	}
}
END_TEST

START_TEST(seed_makes_the_page)
{
	uint8_t page[TEST_PAGE_SIZE], other[TEST_PAGE_SIZE];

	test_pages_init();
	for (uint64_t seed = 1; seed < 2000; seed++) {
		test_page(page, seed);
		ck_assert(test_page_is(page, seed));
		page[TEST_PAGE_SIZE - 1] ^= 1;
		ck_assert(!test_page_is(page, seed));
	}
	for (int kind = TEST_PAGE_FILL; kind < TEST_PAGE_KINDS; kind++) {
		test_page_of(page, kind, 41);
		test_page_of(other, kind, 42);
		ck_assert_uint_eq(test_page_seed(page), 41);
		ck_assert(memcmp(page, other, TEST_PAGE_SIZE) != 0);
	}
}
END_TEST

START_TEST(copy_keeps_holes)
{
	int fd = test_arena_memfd();
	char byte;
	int copy;

	ck_assert_int_eq(ftruncate(fd, 8 << 20), 0);
	ck_assert_int_eq(pwrite(fd, "x", 1, 5 << 20), 1);
	copy = test_arena_copy(fd);
	ck_assert_int_eq(lseek(copy, 0, SEEK_END), 8 << 20);
	ck_assert_int_eq(pread(copy, &byte, 1, 5 << 20), 1);
	ck_assert_int_eq(byte, 'x');
	ck_assert_int_eq(lseek(copy, 0, SEEK_DATA), 5 << 20);
	close(copy);
	close(fd);
}
END_TEST

START_TEST(tmpfs_file_fills_up)
{
	static char buffer[65536];
	int fd = test_arena_on_tmpfs(4 * sizeof(buffer));
	ssize_t total = 0;
	ssize_t n;

	if (fd == -EPERM)
		return;
	ck_assert_int_ge(fd, 0);
	while ((n = write(fd, buffer, sizeof(buffer))) > 0)
		total += n;
	ck_assert_int_eq(errno, ENOSPC);
	ck_assert_int_eq(total, 4 * sizeof(buffer));
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("testlib");
	TCase *tests = tcase_create("testlib");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_add_test(tests, seed_repeats_numbers);
	tcase_add_test(tests, seed_makes_the_page);
	tcase_add_test(tests, copy_keeps_holes);
	tcase_add_test(tests, tmpfs_file_fills_up);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
