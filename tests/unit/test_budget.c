/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The budget, alone and with threads that race for its last bytes; and the
 * injected failures that all other tests rest on.
 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "budget.h"
#include "fault.h"
#include "sanitizer.h"

static struct tmem_budget budget;

static void setup(void)
{
	tmem_budget_init(&budget, 1000);
}

START_TEST(charges_fit_or_are_refused)
{
	ck_assert(tmem_budget_try_charge(&budget, 600));
	ck_assert(!tmem_budget_try_charge(&budget, 401));
	ck_assert(tmem_budget_try_charge(&budget, 400));
	ck_assert(!tmem_budget_try_charge(&budget, 1));
	ck_assert(!tmem_budget_try_charge(&budget, UINT64_MAX));
	ck_assert(tmem_budget_try_charge(&budget, 0));
	ck_assert_uint_eq(budget.used, 1000);
	tmem_budget_uncharge(&budget, 1000);
	ck_assert_uint_eq(budget.used, 0);
	ck_assert_uint_eq(budget.peak, 1000);
}
END_TEST

START_TEST(what_cannot_be_refused_goes_past_the_limit)
{
	tmem_budget_charge(&budget, 1500);
	ck_assert(!tmem_budget_try_charge(&budget, 0));
	budget.limit = 1500;
	ck_assert(tmem_budget_try_charge(&budget, 0));
	ck_assert_uint_eq(budget.peak, 1500);
}
END_TEST

START_TEST(the_last_64th_is_not_for_puts)
{
	budget.limit = 64 << 20;
	tmem_budget_charge(&budget, 63 << 20);
	ck_assert(!tmem_budget_full(&budget, 0));
	tmem_budget_charge(&budget, 1);
	ck_assert(tmem_budget_full(&budget, 0));
	ck_assert(!tmem_budget_full(&budget, 1));
	ck_assert(tmem_budget_try_charge(&budget, 100 << 10));
	/* At most 2 MiB. */
	budget.limit = 1 << 30;
	tmem_budget_charge(&budget, (958u << 20) - (100u << 10));
	ck_assert(!tmem_budget_full(&budget, 0));
	tmem_budget_charge(&budget, 1 << 20);
	ck_assert(tmem_budget_full(&budget, 0));
	budget.limit = 100;
	ck_assert(tmem_budget_full(&budget, 0));
}
END_TEST

START_TEST(private_memory_is_charged)
{
	char *bytes = tmem_budget_alloc(&budget, 500);

	ck_assert_ptr_nonnull(bytes);
	ck_assert(bytes[0] == 0 && memcmp(bytes, bytes + 1, 499) == 0);
	ck_assert_uint_ge(budget.used, 500);
	ck_assert_ptr_null(tmem_budget_alloc(&budget, 600));
	tmem_budget_free(&budget, bytes, 500);
	tmem_budget_free(&budget, NULL, 500);
	ck_assert_uint_eq(budget.used, 0);
	tmem_fault_arm(TMEM_FAULT_MALLOC, 1, false);
	ck_assert_ptr_null(tmem_budget_alloc(&budget, 500));
	ck_assert_uint_eq(budget.used, 0);
}
END_TEST

/* Resident memory of the process alone, bytes. */
static uint64_t resident(void)
{
	unsigned long all = 0, shared = 0;
	FILE *statm = fopen("/proc/self/statm", "re");

	ck_assert_ptr_nonnull(statm);
	ck_assert_int_eq(fscanf(statm, "%*u %lu %lu", &all, &shared), 2);
	fclose(statm);
	return (uint64_t)(all - shared) * 4096;
}

#define PIECES 200000u

/* The last piece is kept, so that malloc gives nothing back by itself. */
START_TEST(freed_memory_goes_back_to_the_kernel)
{
	static char *piece[PIECES];
	uint64_t full;

	budget.limit = UINT64_MAX;
	for (unsigned i = 0; i < PIECES; i++) {
		piece[i] = tmem_budget_alloc(&budget, 200);
		ck_assert_ptr_nonnull(piece[i]);
	}
	full = resident();
	for (unsigned i = 0; i < PIECES - 1; i++)
		tmem_budget_free(&budget, piece[i], 200);
	tmem_budget_trim(&budget);
	if (!TEST_ASAN && !TEST_TSAN)
		ck_assert_uint_lt(resident(), full - PIECES * 200 / 10 * 9);
	tmem_budget_free(&budget, piece[PIECES - 1], 200);
	ck_assert_uint_eq(budget.used, 0);
}
END_TEST

static void *race(void *arg)
{
	bool *overdrawn = arg;

	for (int i = 0; i < 100000; i++) {
		if (!tmem_budget_try_charge(&budget, 300))
			continue;
		*overdrawn |= budget.used > budget.limit;
		tmem_budget_uncharge(&budget, 300);
	}
	return NULL;
}

START_TEST(racing_threads_stay_within)
{
	bool overdrawn[4] = {false};
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, race, &overdrawn[i]);
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		ck_assert(!overdrawn[i]);
	}
	ck_assert_uint_eq(budget.used, 0);
	ck_assert_uint_eq(budget.peak % 300, 0);
	ck_assert_uint_le(budget.peak, 900);
}
END_TEST

START_TEST(faults_fire_at_their_call)
{
	ck_assert(!tmem_fault(TMEM_FAULT_SLAB));
	tmem_fault_arm(TMEM_FAULT_SLAB, 3, false);
	ck_assert(!tmem_fault(TMEM_FAULT_SLAB));
	ck_assert(!tmem_fault(TMEM_FAULT_TABLE));
	ck_assert(!tmem_fault(TMEM_FAULT_SLAB));
	ck_assert(tmem_fault(TMEM_FAULT_SLAB));
	ck_assert(!tmem_fault(TMEM_FAULT_SLAB));
	ck_assert_uint_eq(tmem_fault_fired(TMEM_FAULT_SLAB), 1);
	tmem_fault_arm(TMEM_FAULT_SLAB, 2, true);
	ck_assert(!tmem_fault(TMEM_FAULT_SLAB));
	for (int i = 0; i < 5; i++)
		ck_assert(tmem_fault(TMEM_FAULT_SLAB));
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, true);
	ck_assert(!tmem_fault(TMEM_FAULT_SLAB));
	ck_assert_uint_eq(tmem_fault_fired(TMEM_FAULT_SLAB), 6);
	ck_assert_uint_eq(tmem_fault_fired(TMEM_FAULT_TABLE), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("budget");
	TCase *tc = tcase_create("budget");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 0); /* meson has one */
	tcase_add_test(tc, charges_fit_or_are_refused);
	tcase_add_test(tc, what_cannot_be_refused_goes_past_the_limit);
	tcase_add_test(tc, the_last_64th_is_not_for_puts);
	tcase_add_test(tc, private_memory_is_charged);
	tcase_add_test(tc, freed_memory_goes_back_to_the_kernel);
	tcase_add_test(tc, racing_threads_stay_within);
	tcase_add_test(tc, faults_fire_at_their_call);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
