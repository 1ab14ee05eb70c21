/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ways of eviction under trial: which wins on what, and what that costs. */
#include "duel.h"
#include <check.h>
#include <stdlib.h>

#define POOL_PAGES 16384u

static struct tmem_budget budget;
static struct tmem_duel duel;
static uint64_t seed;

static void setup(void)
{
	tmem_budget_init(&budget, UINT64_MAX);
	ck_assert_int_eq(tmem_duel_init(&duel), 0);
	seed = 1;
}

static void teardown(void)
{
	tmem_duel_deinit(&duel, &budget);
	ck_assert_uint_eq(atomic_load(&budget.used), 0);
}

static uint64_t name_of(uint64_t leaf)
{
	uint64_t x = (leaf + 1) * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

static uint64_t draw(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (seed >> 33) % below;
}

static void get(uint64_t leaf, unsigned pages)
{
	if (tmem_duel_samples(&duel, name_of(leaf)))
		tmem_duel_note(&duel, name_of(leaf), pages);
}

START_TEST(a_pool_that_never_evicted_tries_nothing)
{
	for (unsigned i = 0; i < 1000; i++)
		ck_assert(!tmem_duel_samples(&duel, name_of(i)));
	ck_assert_ptr_eq(tmem_duel_way(&duel), &tmem_way[TMEM_WAY_FIRST]);
	ck_assert_uint_eq(atomic_load(&budget.used), 0);
}
END_TEST

/* Each read says nothing of when the leaf is read next, but some are read more
 * often than others. */
START_TEST(random_reads_keep_what_was_read_again)
{
	tmem_duel_fit(&duel, &budget, POOL_PAGES);
	for (unsigned i = 0; i < 2000000; i++)
		get(draw(1 + draw(8 * POOL_PAGES)), 1);
	ck_assert_uint_eq(tmem_duel_way(&duel)->fresh, 1);
}
END_TEST

/* Each leaf is read three times, with others in between, and never again. */
START_TEST(what_is_read_soon_again_stays_that_long)
{
	tmem_duel_fit(&duel, &budget, POOL_PAGES);
	for (unsigned i = 0; i < 2000000; i++) {
		get(i, 1);
		if (i > POOL_PAGES / 2)
			get(i - POOL_PAGES / 2, 1);
	}
	ck_assert_uint_ge(tmem_duel_way(&duel)->fresh, 60);
}
END_TEST

START_TEST(a_trial_costs_little_and_fits_the_pool)
{
	static const uint64_t sizes[] = {1 << 10, 1 << 12, 1 << 14, 1 << 20};

	for (unsigned i = 0; i < 4; i++) {
		uint64_t used;

		tmem_duel_fit(&duel, &budget, sizes[i]);
		used = atomic_load(&budget.used);
		ck_assert_uint_gt(used, 0);
		ck_assert_uint_le(used, 7 * sizes[i]);
		ck_assert_uint_le(used, 200000);
		for (unsigned n = 0; n < 100000; n++)
			get(draw(2 * sizes[i]), 1u + (unsigned)draw(255));
	}
	tmem_duel_fit(&duel, &budget, 100);
	ck_assert_uint_eq(atomic_load(&budget.used), 0);
}
END_TEST

START_TEST(without_memory_the_pool_goes_its_way)
{
	tmem_budget_init(&budget, 10000);
	tmem_duel_fit(&duel, &budget, POOL_PAGES);
	ck_assert_uint_eq(atomic_load(&budget.used), 0);
	ck_assert(!tmem_duel_samples(&duel, name_of(1)));
}
END_TEST

START_TEST(a_ghost_knows_the_pages_it_was_told)
{
	uint32_t slot[16] = {0};
	struct tmem_ghost ghost = {slot, 16}, none = {NULL, 0};
	uint64_t name = UINT64_C(0x123456789abcdef0);

	tmem_ghost_note(&none, name, 1);
	ck_assert_uint_eq(tmem_ghost_of(&none, name), 0);
	ck_assert_uint_eq(tmem_ghost_of(&ghost, name), 0);
	tmem_ghost_note(&ghost, name, 0x81);
	tmem_ghost_note(&ghost, name, 0x02);
	ck_assert_uint_eq(tmem_ghost_of(&ghost, name), 0x83);
	/* Another leaf of that slot. */
	tmem_ghost_note(&ghost, name ^ UINT64_C(1) << 40, 0x10);
	ck_assert_uint_eq(tmem_ghost_of(&ghost, name), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("duel");
	TCase *tc = tcase_create("duel");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_pool_that_never_evicted_tries_nothing);
	tcase_add_test(tc, random_reads_keep_what_was_read_again);
	tcase_add_test(tc, what_is_read_soon_again_stays_that_long);
	tcase_add_test(tc, a_trial_costs_little_and_fits_the_pool);
	tcase_add_test(tc, without_memory_the_pool_goes_its_way);
	tcase_add_test(tc, a_ghost_knows_the_pages_it_was_told);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
