/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arena's file: its format byte by byte, what is refused and left alone,
 * and that ranges come from and go back to the kernel.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arena-file.h"
#include "arena.h"
#include "fault.h"
#include "random.h"
#include "sanitizer.h"

#define MIB	   (1ull << 20)
#define FILE_BYTES (8 * MIB) /* of an arena with a capacity of 1 MiB */

/* The header of an arena of 1 MiB, little-endian. */
/* clang-format off */
static const uint8_t golden[208] = {
	't', 'm', 'e', 'm', 'a', 'r', 'e', 'n', /* magic */
	2, 0, 0, 0,				/* version */
	2, 0, 0, 0,				/* state: ready */
	8, 7, 6, 5, 4, 3, 2, 1,			/* generation */
	9, 8, 7, 6, 5, 4, 3, 2,			/* secret */
	0, 0, 0x10, 0, 0, 0, 0, 0,		/* capacity: 1 MiB */
	/* offset and size of each part */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0,	/* header */
	0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0,		/* clients */
	0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0,	/* pools */
	0, 0, 0x15, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0,	/* auths */
	0, 0, 0x1d, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0,	/* slab map */
	0, 0, 0x1e, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0,	/* objects */
	0, 0, 0x2e, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0,	/* leaves */
	0, 0, 0x3e, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0,	/* words */
	0, 0, 0x46, 0, 0, 0, 0, 0, 0, 0, 0xc, 0, 0, 0, 0, 0,	/* metas */
	0, 0, 0x60, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0,	/* slabs */
	0x2b, 0x4e, 0xdd, 0x15, 0xfb, 0x20, 0xc4, 0x9f, /* XXH3-64 of these */
};
/* clang-format on */

static struct tmem_budget budget;
static struct tmem_arena arena;

static void setup(void)
{
	tmem_budget_init(&budget, 64 * MIB);
}

static int open_arena(int fd, uint64_t capacity)
{
	return tmem_arena_init(&arena, fd, capacity, &budget);
}

static uint64_t blocks(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static int golden_file(void)
{
	int fd = test_arena_memfd();

	ck_assert_int_eq(pwrite(fd, golden, sizeof(golden), 0), sizeof(golden));
	ck_assert_int_eq(ftruncate(fd, FILE_BYTES), 0);
	return fd;
}

START_TEST(golden_header_is_opened)
{
	ck_assert_int_eq(open_arena(golden_file(), 64 * MIB), 0);
	ck_assert(arena.reopened);
	ck_assert_uint_eq(arena.generation, 0x0102030405060708);
	ck_assert_uint_eq(arena.secret, 0x0203040506070809);
	ck_assert_uint_eq(arena.capacity, MIB);
	ck_assert_uint_eq(arena.size, FILE_BYTES);
	tmem_arena_deinit(&arena);
}
END_TEST

START_TEST(golden_header_is_written)
{
	uint8_t header[sizeof(golden)];

	ck_assert_int_eq(open_arena(-1, MIB), 0);
	ck_assert(!arena.reopened);
	ck_assert_uint_ne(arena.generation, 0);
	memcpy(header, arena.base, sizeof(header));
	ck_assert_mem_eq(header + 16, &arena.generation, 8);
	ck_assert_mem_eq(header + 24, &arena.secret, 8);
	memcpy(header + 16, golden + 16, 16);  /* they are random */
	memcpy(header + 200, golden + 200, 8); /* and so is this */
	ck_assert_mem_eq(header, golden, sizeof(golden));
	tmem_arena_deinit(&arena);
}
END_TEST

START_TEST(capacity_is_rounded_up_and_bounded)
{
	ck_assert_int_eq(open_arena(-1, 1), 0);
	ck_assert_uint_eq(arena.capacity, 65536);
	tmem_arena_deinit(&arena);
#if !TEST_TSAN /* which leaves less address space than that */
	ck_assert_int_eq(open_arena(-1, TMEM_ARENA_MAX), 0);
	ck_assert_uint_eq(blocks(arena.fd), 4096);
	tmem_arena_deinit(&arena);
#endif
	ck_assert_int_eq(open_arena(-1, 0), -EINVAL);
	ck_assert_int_eq(open_arena(-1, TMEM_ARENA_MAX + 1), -EINVAL);
}
END_TEST

/* Refused, byte for byte the same afterwards, and free to be locked. */
static void expect_refused(int fd, int error)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat before, after;
	int copy = test_arena_copy(fd);
	char path[64];

	ck_assert_int_eq(fstat(fd, &before), 0);
	ck_assert_int_eq(open_arena(fd, MIB), error);
	ck_assert_int_eq(fstat(fd, &after), 0);
	ck_assert_int_eq(before.st_size, after.st_size);
	ck_assert_int_eq(before.st_blocks, after.st_blocks);
	for (off_t at = 0; at < before.st_size; at += 65536) {
		static char a[65536], b[65536];
		ssize_t n = pread(fd, a, sizeof(a), at);

		ck_assert_int_eq(pread(copy, b, sizeof(b), at), n);
		ck_assert(memcmp(a, b, (size_t)n) == 0);
	}
	ck_assert_uint_eq(budget.used, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	close(copy);
	copy = open(path, O_RDWR);
	ck_assert_int_eq(fcntl(copy, F_OFD_SETLK, &lock), 0);
	close(copy);
	close(fd);
}

START_TEST(every_byte_of_the_header_counts)
{
	for (size_t i = 0; i < sizeof(golden); i++) {
		int fd = golden_file();
		uint8_t byte = golden[i] ^ 0x40;

		ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)i), 1);
		expect_refused(fd, -EBADMSG);
	}
}
END_TEST

START_TEST(foreign_files_are_left_alone)
{
	struct test_random random;
	static uint8_t garbage[8192];
	int fd;

	test_random_init(&random, test_seed());
	test_random_bytes(&random, garbage, sizeof(garbage));
	for (size_t size = 1; size <= sizeof(garbage); size *= 2) {
		fd = test_arena_memfd();
		ck_assert_int_eq(write(fd, garbage, size), size);
		expect_refused(fd, -EBADMSG);
	}
	/* All holes: not ours either. */
	fd = test_arena_memfd();
	ck_assert_int_eq(ftruncate(fd, FILE_BYTES), 0);
	expect_refused(fd, -EBADMSG);
}
END_TEST

START_TEST(truncated_and_grown_arenas_are_refused)
{
	static const off_t size[] = {100,
				     4096,
				     FILE_BYTES - 65536,
				     FILE_BYTES - 1,
				     FILE_BYTES + 1,
				     FILE_BYTES + 65536};

	for (size_t i = 0; i < sizeof(size) / sizeof(*size); i++) {
		int fd = golden_file();

		ck_assert_int_eq(ftruncate(fd, size[i]), 0);
		expect_refused(fd, -EBADMSG);
	}
}
END_TEST

START_TEST(descriptors_that_are_no_arena)
{
	int fd[2];
	char path[64];
	int memfd = test_arena_memfd(), readable;

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(open_arena(fd[1], MIB), -EINVAL);
	ck_assert_int_eq(open_arena(9999, MIB), -EINVAL);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	readable = open(path, O_RDONLY);
	ck_assert_int_ge(readable, 0);
	ck_assert_int_eq(open_arena(readable, MIB), -EINVAL);
	close(fd[0]);
	close(fd[1]);
	close(readable);
	close(memfd);
}
END_TEST

START_TEST(second_opener_is_refused)
{
	struct tmem_arena other;
	char path[64];
	int fd;

	for (int pass = 0; pass < 2; pass++) {
		ck_assert_int_eq(
			open_arena(pass ? test_arena_memfd() : -1, MIB), 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", arena.fd);
		fd = open(path, O_RDWR);
		ck_assert_int_eq(tmem_arena_init(&other, fd, MIB, &budget),
				 -EBUSY);
		tmem_arena_deinit(&arena);
		ck_assert_int_eq(tmem_arena_init(&other, fd, MIB, &budget), 0);
		ck_assert(other.reopened);
		tmem_arena_deinit(&other);
	}
}
END_TEST

/* A process that died while it made the arena left "being made". */
START_TEST(half_made_arena_is_made_again)
{
	uint32_t state = 1;
	uint64_t generation;
	int fd = test_arena_memfd(), again = dup(fd);

	/* The only way to the right checksum is to stop making it. */
	if (fork() == 0) {
		struct rlimit limit = {.rlim_cur = MIB, .rlim_max = MIB};
		struct rlimit none = {0};

		setrlimit(RLIMIT_CORE, &none);
		setrlimit(RLIMIT_FSIZE, &limit);
		open_arena(fd, MIB);
		_exit(1); /* killed by SIGXFSZ before */
	}
	ck_assert_int_gt(wait(NULL), 0);
	ck_assert_int_eq(pread(fd, &state, 4, 12), 4);
	ck_assert_uint_eq(state, 1);
	ck_assert_int_eq(pread(fd, &generation, 8, 16), 8);
	ck_assert_int_eq(open_arena(fd, MIB), 0);
	ck_assert(!arena.reopened);
	ck_assert_uint_ne(arena.generation, generation);
	tmem_arena_deinit(&arena);
	ck_assert_int_eq(open_arena(again, MIB), 0);
	ck_assert(arena.reopened);
	tmem_arena_deinit(&arena);
}
END_TEST

START_TEST(failed_creation_leaves_an_empty_file)
{
	struct stat st;
	int fd = test_arena_memfd();

	budget.limit = 4095;
	ck_assert_int_eq(open_arena(fd, MIB), -ENOMEM);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	ck_assert_uint_eq(budget.used, 0);
	budget.limit = 4096;
	ck_assert_int_eq(open_arena(fd, MIB), 0);
	ck_assert_uint_eq(budget.used, 4096);
	tmem_arena_deinit(&arena);
}
END_TEST

START_TEST(ranges_come_and_go)
{
	uint8_t *at;

	ck_assert_int_eq(open_arena(-1, MIB), 0);
	at = (uint8_t *)tmem_arena_part(&arena, TMEM_PART_LEAVES) + 65536;
	ck_assert_int_eq(
		tmem_arena_take(&arena, TMEM_PART_LEAVES, 65536, 65536), 0);
	ck_assert_uint_eq(budget.used, 4096 + 65536);
	ck_assert_uint_eq(blocks(arena.fd), 4096 + 65536);
	ck_assert_uint_eq(at[0] | at[65535], 0);
	memset(at, 0xaa, 65536);
	ck_assert_int_eq(
		tmem_arena_give(&arena, TMEM_PART_LEAVES, 65536, 65536), 0);
	ck_assert_uint_eq(budget.used, 4096);
	ck_assert_uint_eq(blocks(arena.fd), 4096);
	ck_assert_int_eq(
		tmem_arena_take(&arena, TMEM_PART_LEAVES, 65536, 65536), 0);
	ck_assert_uint_eq(at[0] | at[65535], 0);
	tmem_arena_deinit(&arena);
}
END_TEST

START_TEST(refusals_charge_nothing)
{
	ck_assert_int_eq(open_arena(-1, MIB), 0);
	budget.limit = 4096 + 65536;
	ck_assert_int_eq(
		tmem_arena_take(&arena, TMEM_PART_SLABS, 0, 65536 + 4096),
		-ENOMEM);
	tmem_fault_arm(TMEM_FAULT_FALLOCATE, 1, false);
	ck_assert_int_eq(tmem_arena_take(&arena, TMEM_PART_SLABS, 0, 65536),
			 -ENOSPC);
	ck_assert_uint_eq(budget.used, 4096);
	ck_assert_int_eq(tmem_arena_take(&arena, TMEM_PART_SLABS, 0, 65536), 0);
	tmem_fault_arm(TMEM_FAULT_PUNCH, 1, false);
	ck_assert_int_eq(tmem_arena_give(&arena, TMEM_PART_SLABS, 0, 65536),
			 -EIO);
	ck_assert_uint_eq(budget.used, 4096 + 65536);
	tmem_arena_deinit(&arena);
}
END_TEST

/* The kernel's own refusal, and nothing half taken. */
START_TEST(full_tmpfs_is_a_refusal)
{
	int fd = test_arena_on_tmpfs(MIB);
	uint64_t taken = 0;
	int r;

	if (fd < 0)
		return; /* not allowed to mount */
	ck_assert_int_eq(open_arena(fd, 64 * MIB), 0);
	while ((r = tmem_arena_take(&arena, TMEM_PART_SLABS, taken, 65536)) ==
	       0)
		taken += 65536;
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_ge(taken, MIB / 2);
	ck_assert_uint_eq(blocks(fd), 4096 + taken);
	ck_assert_uint_eq(budget.used, 4096 + taken);
	/* All of it can be touched, and room made again. */
	memset(tmem_arena_part(&arena, TMEM_PART_SLABS), 1, taken);
	ck_assert_int_eq(tmem_arena_give(&arena, TMEM_PART_SLABS, 0, 65536), 0);
	ck_assert_int_eq(tmem_arena_take(&arena, TMEM_PART_SLABS, taken, 65536),
			 0);
	tmem_arena_deinit(&arena);
}
END_TEST

START_TEST(what_was_written_is_found_again)
{
	uint64_t start, end;
	uint8_t *at;

	ck_assert_int_eq(open_arena(-1, MIB), 0);
	at = tmem_arena_part(&arena, TMEM_PART_WORDS);
	ck_assert_int_eq(tmem_arena_next_extent(&arena, TMEM_PART_WORDS, 0,
						&start, &end),
			 -ENXIO);
	ck_assert_int_eq(tmem_arena_take(&arena, TMEM_PART_WORDS, 8192, 16384),
			 0);
	at[8192] = 1;
	at[8192 + 4096] = 1;
	/* The parts around do not count. */
	ck_assert_int_eq(tmem_arena_take(&arena, TMEM_PART_METAS, 0, 4096), 0);
	*(uint8_t *)tmem_arena_part(&arena, TMEM_PART_METAS) = 1;
	ck_assert_int_eq(tmem_arena_next_extent(&arena, TMEM_PART_WORDS, 0,
						&start, &end),
			 0);
	ck_assert_uint_eq(start, 8192);
	ck_assert_uint_eq(end, 16384);
	ck_assert_int_eq(tmem_arena_next_extent(&arena, TMEM_PART_WORDS, end,
						&start, &end),
			 -ENXIO);
	ck_assert_int_eq(tmem_arena_next_extent(&arena, TMEM_PART_WORDS, MIB,
						&start, &end),
			 -ENXIO);
	/* Adopted: charged, however small the budget, and allocated. */
	budget.limit = 0;
	ck_assert_int_eq(tmem_arena_adopt(&arena, TMEM_PART_WORDS, 0, 65536),
			 0);
	ck_assert_uint_eq(blocks(arena.fd), 4096 + 65536 + 4096);
	tmem_arena_scrub(&arena, TMEM_PART_WORDS, 0, 65536);
	ck_assert_uint_eq(blocks(arena.fd), 4096 + 4096);
	ck_assert_uint_eq(budget.used, 4096 + 16384 + 4096 + 65536);
	tmem_fault_arm(TMEM_FAULT_FALLOCATE, 1, false);
	ck_assert_int_eq(tmem_arena_adopt(&arena, TMEM_PART_WORDS, 0, 65536),
			 -ENOSPC);
	tmem_arena_deinit(&arena);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("arena");
	TCase *tc = tcase_create("arena");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 0); /* meson has one */
	tcase_add_test(tc, golden_header_is_opened);
	tcase_add_test(tc, golden_header_is_written);
	tcase_add_test(tc, capacity_is_rounded_up_and_bounded);
	tcase_add_test(tc, every_byte_of_the_header_counts);
	tcase_add_test(tc, foreign_files_are_left_alone);
	tcase_add_test(tc, truncated_and_grown_arenas_are_refused);
	tcase_add_test(tc, descriptors_that_are_no_arena);
	tcase_add_test(tc, second_opener_is_refused);
	tcase_add_test(tc, half_made_arena_is_made_again);
	tcase_add_test(tc, failed_creation_leaves_an_empty_file);
	tcase_add_test(tc, ranges_come_and_go);
	tcase_add_test(tc, refusals_charge_nothing);
	tcase_add_test(tc, full_tmpfs_is_a_refusal);
	tcase_add_test(tc, what_was_written_is_found_again);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
