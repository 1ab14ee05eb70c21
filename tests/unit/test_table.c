/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Record tables: ids, growing and shrinking, refusals, and what a reopened
 * arena finds again.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "arena-file.h"
#include "fault.h"
#include "random.h"
#include "table.h"

#define CHUNK TMEM_TABLE_CHUNK

static struct tmem_budget budget;
static struct tmem_arena arena;
static struct tmem_table table;
static uint64_t idle; /* charged when the table is there and empty */

static void open_table(int fd, uint64_t capacity, unsigned parts)
{
	static const enum tmem_arena_part part[] = {TMEM_PART_WORDS,
						    TMEM_PART_METAS};
	static const uint32_t record[] = {8, 12};

	tmem_budget_init(&budget, 64 << 20);
	ck_assert_int_eq(tmem_arena_init(&arena, fd, capacity, &budget), 0);
	ck_assert_int_eq(tmem_table_init(&table, &arena, parts, part, record),
			 0);
	idle = budget.used;
}

static void close_table(void)
{
	tmem_table_deinit(&table);
	tmem_arena_deinit(&arena);
}

static void setup(void)
{
	open_table(-1, 64 << 20, 2);
}

static uint64_t *word(uint32_t id)
{
	return tmem_table_record(&table, 0, id);
}

static uint64_t blocks(void)
{
	struct stat st;

	ck_assert_int_eq(fstat(arena.fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static uint32_t take(void)
{
	uint32_t id = 0;

	ck_assert_int_eq(tmem_table_alloc(&table, &id), 0);
	ck_assert(tmem_table_backed(&table, id));
	return id;
}

START_TEST(ids_rise_from_one_and_records_are_zero)
{
	for (uint32_t i = 1; i <= 3 * CHUNK; i++) {
		ck_assert_uint_eq(take(), i);
		ck_assert_uint_eq(*word(i), 0);
		*word(i) = i;
		memset(tmem_table_record(&table, 1, i), 0xee, 12);
	}
	for (uint32_t i = 1; i <= 3 * CHUNK; i++)
		ck_assert_uint_eq(*word(i), i);
	ck_assert(tmem_table_used(&table, 3 * CHUNK));
	ck_assert(!tmem_table_backed(&table, 3 * CHUNK + 1));
	ck_assert(!tmem_table_used(&table, 3 * CHUNK + 1));
	ck_assert(!tmem_table_backed(&table, 0));
	ck_assert(!tmem_table_backed(&table, UINT32_MAX));
	ck_assert_uint_eq(table.bytes, 3 * CHUNK * 20);
}
END_TEST

START_TEST(lowest_free_record_is_taken_first)
{
	for (uint32_t i = 1; i <= 130 * CHUNK; i++)
		take();
	tmem_table_free(&table, 100 * CHUNK + 5);
	tmem_table_free(&table, 7);
	tmem_table_free(&table, 70 * CHUNK + 1000);
	ck_assert(!tmem_table_used(&table, 7));
	ck_assert_uint_eq(take(), 7);
	ck_assert_uint_eq(take(), 70 * CHUNK + 1000);
	ck_assert_uint_eq(take(), 100 * CHUNK + 5);
	ck_assert_uint_eq(take(), 130 * CHUNK + 1);
}
END_TEST

START_TEST(empty_chunks_go_back_but_one)
{
	for (uint32_t i = 1; i <= 4 * CHUNK; i++)
		*word(take()) = ~0ull;
	for (uint32_t i = 1; i <= 4 * CHUNK; i++)
		tmem_table_free(&table, i);
	ck_assert_uint_eq(table.bytes, CHUNK * 20);
	ck_assert_uint_eq(table.empty, 1);
	ck_assert_uint_eq(table.used, 0);
	/* A chunk that comes again is fresh. */
	for (uint32_t i = 1; i <= 4 * CHUNK; i++) {
		ck_assert_uint_eq(take(), i);
		if (i > CHUNK)
			ck_assert_uint_eq(*word(i), 0);
	}
}
END_TEST

START_TEST(walk_skips_holes)
{
	for (uint32_t i = 1; i <= 200 * CHUNK; i++)
		take();
	for (uint32_t i = 1; i <= 199 * CHUNK; i++)
		if (i > CHUNK)
			tmem_table_free(&table, i);
	ck_assert_uint_eq(tmem_table_next(&table, 0), 1);
	ck_assert_uint_eq(tmem_table_next(&table, CHUNK), CHUNK);
	/* The second chunk is the empty one that was kept. */
	ck_assert_uint_eq(tmem_table_next(&table, 2 * CHUNK + 1),
			  199 * CHUNK + 1);
	ck_assert_uint_eq(tmem_table_next(&table, 200 * CHUNK + 1), 0);
	ck_assert_uint_eq(tmem_table_next(&table, UINT32_MAX), 0);
}
END_TEST

START_TEST(budget_refuses_and_nothing_stays_charged)
{
	uint32_t id = 77;

	take();
	budget.limit = budget.used + CHUNK * 20 - 1;
	for (uint32_t i = 2; i <= CHUNK; i++)
		take();
	idle = budget.used;
	ck_assert_int_eq(tmem_table_alloc(&table, &id), -ENOMEM);
	ck_assert_uint_eq(id, 77);
	ck_assert_uint_eq(budget.used, idle);
	budget.limit += 1;
	ck_assert_uint_eq(take(), CHUNK + 1);
}
END_TEST

/* The second part's range fails: the first one's must go back. */
START_TEST(full_tmpfs_is_a_refusal)
{
	uint32_t id = 77;

	tmem_fault_arm(TMEM_FAULT_FALLOCATE, 2, false);
	ck_assert_int_eq(tmem_table_alloc(&table, &id), -ENOSPC);
	ck_assert_uint_eq(table.bytes, 0);
	ck_assert_uint_eq(blocks(), 4096);
	ck_assert_uint_eq(take(), 1);
	tmem_fault_arm(TMEM_FAULT_TABLE, 1, false);
	ck_assert_int_eq(tmem_table_alloc(&table, &id), -ENOMEM);
	ck_assert_uint_eq(take(), 2);
}
END_TEST

START_TEST(refused_punch_keeps_the_memory_for_later)
{
	for (uint32_t i = 1; i <= 3 * CHUNK; i++)
		*word(take()) = ~0ull;
	for (uint32_t i = 1; i <= CHUNK; i++)
		tmem_table_free(&table, i);
	/* One chunk is half given back, the other not at all. */
	tmem_fault_arm(TMEM_FAULT_PUNCH, 2, true);
	for (uint32_t i = CHUNK + 1; i <= 3 * CHUNK; i++)
		tmem_table_free(&table, i);
	tmem_fault_arm(TMEM_FAULT_PUNCH, 0, false);
	ck_assert_uint_eq(table.bytes, CHUNK * (20 + 12 + 20));
	ck_assert(!tmem_table_backed(&table, CHUNK + 1));
	ck_assert(!tmem_table_backed(&table, 2 * CHUNK + 1));
	for (uint32_t i = 1; i <= 3 * CHUNK; i++) {
		ck_assert_uint_eq(take(), i);
		if (i > CHUNK)
			ck_assert_uint_eq(*word(i), 0);
	}
	ck_assert_uint_eq(table.bytes, 3 * CHUNK * 20);
}
END_TEST

START_TEST(all_ids_taken_is_a_refusal)
{
	uint32_t id;

	close_table();
	open_table(-1, 64 << 10, 2); /* room for 4 chunks of either part */
	ck_assert_uint_eq(table.max, 4 * CHUNK);
	for (uint32_t i = 1; i <= 4 * CHUNK; i++)
		take();
	ck_assert_int_eq(tmem_table_alloc(&table, &id), -ENOSPC);
	tmem_table_free(&table, 5);
	ck_assert_uint_eq(take(), 5);
}
END_TEST

/* What a process leaves: some chunks used, one allocated and never written
 * to, one whose records are all free. */
START_TEST(reopened_table_keeps_what_is_marked)
{
	uint64_t bytes;
	int fd;

	for (uint32_t i = 1; i <= 5 * CHUNK; i++)
		take();
	*word(10) = 1;
	*word(2 * CHUNK + 3) = 1;
	*word(3 * CHUNK + 3) = 1;
	fd = dup(arena.fd);
	close_table();

	open_table(fd, 64 << 20, 2);
	ck_assert(arena.reopened);
	ck_assert(tmem_table_backed(&table, 1));
	ck_assert(!tmem_table_backed(&table, CHUNK + 1));
	ck_assert(!tmem_table_used(&table, 10));
	tmem_table_mark(&table, 10);
	tmem_table_mark(&table, 2 * CHUNK + 3);
	tmem_table_mark(&table, 2 * CHUNK + 3);
	tmem_table_settle(&table);
	ck_assert_uint_eq(table.used, 2);
	ck_assert(!tmem_table_backed(&table, 3 * CHUNK + 3));
	bytes = 2 * CHUNK * 20;
	ck_assert_uint_eq(table.bytes, bytes);
	ck_assert_uint_eq(blocks(), bytes + 4096);
	ck_assert_uint_eq(budget.used,
			  bytes + 4096 + tmem_table_private(&table) + 3 * 16);
	ck_assert_uint_eq(take(), 1);
	for (int i = 2; i < 10; i++)
		take();
	ck_assert_uint_eq(take(), 11);
}
END_TEST

START_TEST(init_that_fails_leaves_nothing_charged)
{
	static const enum tmem_arena_part part = TMEM_PART_LEAVES;
	static const uint32_t record = 64;
	struct tmem_table other;

	for (unsigned nth = 1; nth <= 2; nth++) {
		tmem_fault_arm(TMEM_FAULT_MALLOC, nth, false);
		ck_assert_int_eq(
			tmem_table_init(&other, &arena, 1, &part, &record),
			-ENOMEM);
		ck_assert_uint_eq(budget.used, idle);
	}
}
END_TEST

static void *churn(void *arg)
{
	struct test_random random;
	uint32_t id[3000], n = 0;

	test_random_init(&random, (uintptr_t)arg);
	for (int i = 0; i < 30000; i++) {
		if (n < 3000 && (n == 0 || test_random_below(&random, 2))) {
			id[n] = take();
			*word(id[n]) = (uintptr_t)arg;
			n++;
		} else {
			uint32_t k = (uint32_t)test_random_below(&random, n);

			ck_assert_uint_eq(*word(id[k]), (uintptr_t)arg);
			*word(id[k]) = 0;
			tmem_table_free(&table, id[k]);
			id[k] = id[--n];
		}
	}
	while (n > 0)
		tmem_table_free(&table, id[--n]);
	return NULL;
}

START_TEST(threads_share_a_table)
{
	pthread_t thread[4];

	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, churn, (void *)(i + 1));
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(table.used, 0);
	ck_assert_uint_le(table.bytes, CHUNK * 20);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("table");
	TCase *tc = tcase_create("table");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, close_table);
	tcase_set_timeout(tc, 0); /* meson has one */
	tcase_add_test(tc, ids_rise_from_one_and_records_are_zero);
	tcase_add_test(tc, lowest_free_record_is_taken_first);
	tcase_add_test(tc, empty_chunks_go_back_but_one);
	tcase_add_test(tc, walk_skips_holes);
	tcase_add_test(tc, budget_refuses_and_nothing_stays_charged);
	tcase_add_test(tc, full_tmpfs_is_a_refusal);
	tcase_add_test(tc, refused_punch_keeps_the_memory_for_later);
	tcase_add_test(tc, all_ids_taken_is_a_refusal);
	tcase_add_test(tc, reopened_table_keeps_what_is_marked);
	tcase_add_test(tc, init_that_fails_leaves_nothing_charged);
	tcase_add_test(tc, threads_share_a_table);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
