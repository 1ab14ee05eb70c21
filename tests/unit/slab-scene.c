/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "slab-scene.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct tmem_budget budget;
struct tmem_arena arena;
struct tmem_slabs *slabs;

void open_slabs(int fd, uint64_t capacity)
{
	tmem_budget_init(&budget, 256 << 20);
	ck_assert_int_eq(tmem_arena_init(&arena, fd, capacity, &budget), 0);
	ck_assert_int_eq(tmem_slabs_new(&arena, &slabs), 0);
}

void close_slabs(void)
{
	slabs = tmem_slabs_free(slabs);
	tmem_arena_deinit(&arena);
}

void setup_slabs(void)
{
	open_slabs(-1, 256 << 20);
}

void teardown_slabs(void)
{
	ck_assert_uint_eq(tmem_slab_check(slabs, stderr), 0);
	close_slabs();
}

uint64_t blocks(void)
{
	struct stat st;

	ck_assert_int_eq(fstat(arena.fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

struct tmem_slab_stats stats(void)
{
	struct tmem_slab_stats stats;

	tmem_slab_stats(slabs, &stats);
	return stats;
}

uint64_t alloc(enum tmem_kind kind, uint32_t size, uint32_t owner)
{
	uint64_t place = UINT64_MAX;

	ck_assert_int_eq(
		tmem_slab_alloc(slabs, kind, size, owner, false, &place), 0);
	ck_assert_uint_eq(tmem_slab_owner(slabs, place), owner);
	ck_assert_uint_eq(tmem_slab_kind(slabs, place), kind);
	return place;
}

bool all_bytes_are(const uint8_t *at, uint32_t size, uint8_t byte)
{
	return at[0] == byte && memcmp(at, at + 1, size - 1) == 0;
}

int run_slab_tests(const char *name, void (*add)(TCase *tc))
{
	Suite *suite = suite_create(name);
	TCase *tc = tcase_create(name);
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup_slabs, teardown_slabs);
	tcase_set_timeout(tc, 0); /* meson has one */
	add(tc);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
