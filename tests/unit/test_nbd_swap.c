/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether what is in one swap fits elsewhere, by fake /proc files.
 */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "swap.h"

#define MIB (UINT64_C(1) << 20)

static char root[] = "/tmp/tmem-test-swap.XXXXXX";

static void file(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *out;

	snprintf(path, sizeof(path), "%s/proc/%s", root, name);
	out = fopen(path, "w");
	ck_assert_ptr_nonnull(out);
	fputs(text, out);
	ck_assert_int_eq(fclose(out), 0);
}

static void setup(void)
{
	char path[PATH_MAX];

	strcpy(root + strlen(root) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/proc", root);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	file("swaps",
	     "Filename				Type		Size		Used		Priority\n"
	     "/dev/sda2                               partition	1048576		4096		-2\n"
	     "/dev/nbd0                               partition	2097152		524288		100\n");
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", root);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(a_device_is_found_by_its_whole_name)
{
	struct nbd_swap swap;

	ck_assert_int_eq(nbd_swap_find(root, "/dev/nbd0", &swap), 0);
	ck_assert_uint_eq(swap.size, 2048 * MIB);
	ck_assert_uint_eq(swap.used, 512 * MIB);
	ck_assert_int_eq(nbd_swap_find(root, "/dev/nbd", &swap), -ENOENT);
	ck_assert_int_eq(nbd_swap_find(root, "/dev/nbd01", &swap), -ENOENT);
}
END_TEST

/* Of 3,068 MiB of swap 2,556 are free, 1,536 of them in the one that ends. */
START_TEST(room_is_memory_and_all_other_swap)
{
	struct nbd_swap swap;
	uint64_t room;

	file("meminfo", "MemTotal: 8388608 kB\nMemAvailable: 102400 kB\n"
			"SwapTotal: 3145728 kB\nSwapFree: 2617344 kB\n");
	ck_assert_int_eq(nbd_swap_find(root, "/dev/nbd0", &swap), 0);
	ck_assert_int_eq(nbd_swap_room(root, &swap, &room), 0);
	ck_assert_uint_eq(room, (100 + 2556 - 1536) * MIB);
	ck_assert(nbd_swap_fits(&swap, room));
}
END_TEST

START_TEST(swap_fits_where_some_memory_is_left)
{
	struct nbd_swap swap = {.size = 1024 * MIB, .used = 512 * MIB};

	ck_assert(!nbd_swap_fits(&swap, 512 * MIB));
	ck_assert(!nbd_swap_fits(&swap, 543 * MIB));
	ck_assert(nbd_swap_fits(&swap, 544 * MIB));
	swap.used = 0;
	ck_assert(nbd_swap_fits(&swap, 0));
}
END_TEST

START_TEST(a_kernel_that_does_not_tell_is_an_error)
{
	struct nbd_swap swap = {.size = 1024 * MIB};
	uint64_t room;

	file("meminfo", "MemTotal: 8388608 kB\nSwapFree: 2617344 kB\n");
	ck_assert_int_eq(nbd_swap_room(root, &swap, &room), -EPROTO);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("swap");
	TCase *tcase = tcase_create("swap");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_device_is_found_by_its_whole_name);
	tcase_add_test(tcase, room_is_memory_and_all_other_swap);
	tcase_add_test(tcase, swap_fits_where_some_memory_is_left);
	tcase_add_test(tcase, a_kernel_that_does_not_tell_is_an_error);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
