/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding the memory cgroup's limit, on fake /proc and /sys trees: version 1
 * and 2, limits above the own cgroup, containers that see only part.
 */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "memlimit.h"

static char root[] = "/tmp/tmem-test-memlimit.XXXXXX";

static void setup(void)
{
	strcpy(root + strlen(root) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", root);
	ck_assert_int_eq(system(command), 0);
}

/* Write a file below root, and its directories. */
static void file(const char *name, const char *text)
{
	char path[PATH_MAX], command[2 * PATH_MAX];
	FILE *out;

	snprintf(path, sizeof(path), "%s%s", root, name);
	snprintf(command, sizeof(command), "mkdir -p \"$(dirname '%s')\"",
		 path);
	ck_assert_int_eq(system(command), 0);
	out = fopen(path, "w");
	ck_assert_ptr_nonnull(out);
	fputs(text, out);
	ck_assert_int_eq(fclose(out), 0);
}

#define MOUNTS_V1                                                              \
	"20 1 0:19 / /proc rw - proc proc rw\n"                                \
	"24 30 0:20 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n" \
	"25 30 0:21 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
#define MOUNTS_V2                                                              \
	"26 30 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"

START_TEST(no_cgroups_no_limit)
{
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), TMEM_MEMLIMIT_NONE);
	file("/proc/self/cgroup", "0::/a\n");
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), TMEM_MEMLIMIT_NONE);
	file("/proc/self/mountinfo", "1 1 0:1 / / rw - ext4 /dev/sda rw\n");
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), TMEM_MEMLIMIT_NONE);
}
END_TEST

START_TEST(v1_limit_of_the_own_cgroup)
{
	file("/proc/self/mountinfo", MOUNTS_V1);
	file("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/vm/web\n0::/\n");
	file("/sys/fs/cgroup/memory/vm/web/memory.limit_in_bytes",
	     "104857600\n");
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), 104857600);
}
END_TEST

START_TEST(v1_limit_above)
{
	file("/proc/self/mountinfo", MOUNTS_V1);
	file("/proc/self/cgroup", "4:hugetlb,memory:/vm/web\n");
	file("/sys/fs/cgroup/memory/vm/web/memory.limit_in_bytes",
	     "9223372036854771712\n");
	file("/sys/fs/cgroup/memory/vm/memory.limit_in_bytes", "52428800\n");
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), 52428800);
}
END_TEST

/* A container's cgroup root is not the hierarchy's: only the kernel's own
 * minimum tells of what is above. */
START_TEST(v1_limit_above_a_container)
{
	file("/proc/self/mountinfo",
	     "25 30 0:21 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
	file("/proc/self/cgroup", "4:memory:/docker/abc\n");
	file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "209715200\n");
	file("/sys/fs/cgroup/memory/memory.stat",
	     "cache 1\nrss 2\nhierarchical_memory_limit 73400320\nhierarchical_memsw_limit 1\n");
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), 73400320);
}
END_TEST

START_TEST(v2_lowest_of_max_and_high_on_the_way_up)
{
	file("/proc/self/mountinfo", MOUNTS_V2);
	file("/proc/self/cgroup", "0::/a/b/c\n");
	file("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
	file("/sys/fs/cgroup/a/b/c/memory.high", "800000000\n");
	file("/sys/fs/cgroup/a/b/memory.max", "700000000\n");
	file("/sys/fs/cgroup/a/b/memory.high", "max\n");
	file("/sys/fs/cgroup/a/memory.max", "900000000\n");
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), 700000000);
	file("/sys/fs/cgroup/a/b/c/memory.high", "600000000\n");
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), 600000000);
}
END_TEST

START_TEST(v2_within_a_namespace)
{
	file("/proc/self/mountinfo", MOUNTS_V2);
	file("/proc/self/cgroup", "0::/../../outside\n");
	file("/sys/fs/cgroup/memory.max", "123456789\n");
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), 123456789);
}
END_TEST

START_TEST(v2_beside_v1)
{
	file("/proc/self/mountinfo", MOUNTS_V1
	     "26 30 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
	file("/proc/self/cgroup", "4:memory:/a\n0::/a\n");
	file("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "64000000\n");
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), 64000000);
}
END_TEST

START_TEST(mount_point_with_a_space)
{
	file("/proc/self/mountinfo",
	     "26 30 0:22 / /my\\040cgroup rw - cgroup2 cgroup2 rw\n");
	file("/proc/self/cgroup", "0::/a\n");
	file("/my cgroup/a/memory.max", "4096000\n");
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), 4096000);
}
END_TEST

START_TEST(garbage_is_no_limit)
{
	file("/proc/self/mountinfo", "\n - \n1 2\n" MOUNTS_V2);
	file("/proc/self/cgroup", ":\n\nmemory\n0::/a\n");
	file("/sys/fs/cgroup/a/memory.max", "many\n");
	file("/sys/fs/cgroup/memory.max", "");
	ck_assert_uint_eq(tmem_memlimit_cgroup(root), TMEM_MEMLIMIT_NONE);
}
END_TEST

START_TEST(room_is_left_below_a_limit)
{
	ck_assert_uint_eq(tmem_memlimit_room(TMEM_MEMLIMIT_NONE),
			  TMEM_MEMLIMIT_NONE);
	ck_assert_uint_eq(tmem_memlimit_room(64 << 20), 32 << 20);
	ck_assert_uint_eq(tmem_memlimit_room(8ull << 30), 7ull << 30);
	ck_assert_uint_eq(tmem_memlimit_room(1 << 20), 0);
}
END_TEST

START_TEST(available_memory_is_read)
{
	uint64_t bytes = 7;

	ck_assert_int_eq(tmem_memlimit_available(root, &bytes), -ENOENT);
	file("/proc/meminfo", "MemTotal: 9 kB\n");
	ck_assert_int_eq(tmem_memlimit_available(root, &bytes), -ENODATA);
	ck_assert_uint_eq(bytes, 7);
	file("/proc/meminfo",
	     "MemTotal:  900 kB\nMemAvailable:    400 kB\nBuffers: 1 kB\n");
	ck_assert_int_eq(tmem_memlimit_available(root, &bytes), 0);
	ck_assert_uint_eq(bytes, 400 * 1024);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memlimit");
	TCase *tcase = tcase_create("memlimit");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, no_cgroups_no_limit);
	tcase_add_test(tcase, v1_limit_of_the_own_cgroup);
	tcase_add_test(tcase, v1_limit_above);
	tcase_add_test(tcase, v1_limit_above_a_container);
	tcase_add_test(tcase, v2_lowest_of_max_and_high_on_the_way_up);
	tcase_add_test(tcase, v2_within_a_namespace);
	tcase_add_test(tcase, v2_beside_v1);
	tcase_add_test(tcase, mount_point_with_a_space);
	tcase_add_test(tcase, garbage_is_no_limit);
	tcase_add_test(tcase, room_is_left_below_a_limit);
	tcase_add_test(tcase, available_memory_is_read);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
