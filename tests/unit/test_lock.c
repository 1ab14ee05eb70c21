/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks: what breaks their rules aborts; waiting is counted.
 */
#include <check.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "lock.h"

#ifdef __clang__
/* Here the rules are broken on purpose. */
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

static struct tmem_lock shard, other_shard, slab;

static void setup(void)
{
	struct rlimit none = {0};

	setrlimit(RLIMIT_CORE, &none);
	ck_assert_int_eq(tmem_lock_init(&shard, TMEM_LOCK_SHARD), 0);
	ck_assert_int_eq(tmem_lock_init(&other_shard, TMEM_LOCK_SHARD), 0);
	ck_assert_int_eq(tmem_lock_init(&slab, TMEM_LOCK_SLAB), 0);
}

START_TEST(rising_ranks_are_fine)
{
	for (int i = 0; i < 2; i++) {
		tmem_lock_acquire(&shard);
		tmem_lock_acquire(&slab);
		tmem_lock_assert_held(&shard);
		tmem_lock_assert_held(&slab);
		/* In any order. */
		tmem_lock_release(i ? &shard : &slab);
		tmem_lock_release(i ? &slab : &shard);
	}
	ck_assert(tmem_lock_try(&shard));
	tmem_lock_release(&shard);
	tmem_lock_deinit(&shard);
	tmem_lock_deinit(&other_shard);
	tmem_lock_deinit(&slab);
}
END_TEST

START_TEST(falling_rank_aborts)
{
	tmem_lock_acquire(&slab);
	tmem_lock_acquire(&shard);
}
END_TEST

START_TEST(falling_rank_aborts_when_tried)
{
	tmem_lock_acquire(&slab);
	tmem_lock_try(&shard);
}
END_TEST

START_TEST(two_of_a_class_abort)
{
	tmem_lock_acquire(&shard);
	tmem_lock_acquire(&other_shard);
}
END_TEST

START_TEST(lock_taken_twice_aborts)
{
	tmem_lock_acquire(&shard);
	tmem_lock_acquire(&shard);
}
END_TEST

START_TEST(release_of_what_is_not_held_aborts)
{
	tmem_lock_release(&shard);
}
END_TEST

START_TEST(assertion_without_the_lock_aborts)
{
	tmem_lock_acquire(&shard);
	tmem_lock_assert_held(&slab);
}
END_TEST

static void *try_other(void *arg)
{
	/* Held by the main thread, so that this one does not get it. */
	ck_assert(!tmem_lock_try(&shard));
	tmem_lock_acquire(&other_shard);
	tmem_lock_release(&other_shard);
	return NULL;
}

START_TEST(ranks_are_a_threads_own)
{
	pthread_t thread;

	tmem_lock_acquire(&shard);
	ck_assert_int_eq(pthread_create(&thread, NULL, try_other, NULL), 0);
	pthread_join(thread, NULL);
	tmem_lock_release(&shard);
}
END_TEST

static void *wait_for_shard(void *arg)
{
	tmem_lock_acquire(&shard);
	tmem_lock_release(&shard);
	return NULL;
}

START_TEST(waiting_is_counted)
{
	uint64_t before = tmem_lock_contended(TMEM_LOCK_SHARD);
	pthread_t thread;

	tmem_lock_acquire(&shard);
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_shard, NULL),
			 0);
	/* Counted before it waits. */
	while (tmem_lock_contended(TMEM_LOCK_SHARD) == before)
		;
	tmem_lock_release(&shard);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(tmem_lock_contended(TMEM_LOCK_SHARD), before + 1);
	ck_assert_uint_eq(tmem_lock_contended(TMEM_LOCK_SLAB), 0);
}
END_TEST

START_TEST(classes_have_names)
{
	for (int i = 0; i < TMEM_LOCK_CLASSES; i++)
		ck_assert_ptr_nonnull(tmem_lock_class_name(i));
	ck_assert_str_eq(tmem_lock_class_name(TMEM_LOCK_SHARD), "shard");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lock");
	TCase *tc = tcase_create("lock");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, rising_ranks_are_fine);
	tcase_add_test_raise_signal(tc, falling_rank_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, falling_rank_aborts_when_tried,
				    SIGABRT);
	tcase_add_test_raise_signal(tc, two_of_a_class_abort, SIGABRT);
	tcase_add_test_raise_signal(tc, lock_taken_twice_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, release_of_what_is_not_held_aborts,
				    SIGABRT);
	tcase_add_test_raise_signal(tc, assertion_without_the_lock_aborts,
				    SIGABRT);
	tcase_add_test(tc, ranks_are_a_threads_own);
	tcase_add_test(tc, waiting_is_counted);
	tcase_add_test(tc, classes_have_names);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
