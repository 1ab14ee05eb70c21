/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hash tables that grow bucket by bucket: every record is found, and no single
 * call goes through the table.
 */
#include "buckets.h"
#include <check.h>
#include <stdlib.h>
#include "fault.h"
#include "random.h"

#define RECORDS 300000u

/* Most records that one call may look at: the longest chain, and a little. */
#define LOOKS_MOST 64u
/* Most bytes that one call may take: a segment, and a longer directory. */
#define BYTES_MOST (TMEM_BUCKETS_SEGMENT * sizeof(uint32_t) + 2048)

static struct record {
	uint32_t hash;
	uint32_t chain;
	bool in;
} record[RECORDS + 1];

static struct tmem_budget budget;
static struct tmem_buckets table;
static unsigned looks; /* of the call under way */
static uint64_t before;

static uint32_t rehash(void *ctx, uint32_t id, uint32_t **chain)
{
	looks += ctx == record ? 1 : LOOKS_MOST + 1;
	*chain = &record[id].chain;
	return record[id].hash;
}

static void begin_call(void)
{
	looks = 0;
	before = budget.used;
}

/* Check tells its parent of each assertion, which takes longer than a call. */
static void end_call(void)
{
	if (looks > LOOKS_MOST || budget.used > before + BYTES_MOST)
		ck_abort_msg("a call looked at %u records", looks);
}

static void enter(uint32_t id)
{
	begin_call();
	tmem_buckets_enter(&table, &budget, rehash, record, id);
	end_call();
	record[id].in = true;
}

static void leave(uint32_t id)
{
	begin_call();
	tmem_buckets_leave(&table, &budget, rehash, record, id);
	end_call();
	record[id].in = false;
}

static bool is_in(uint32_t id)
{
	uint32_t at = *tmem_buckets_head(&table, record[id].hash);

	while (at && at != id)
		at = record[at].chain;
	return at;
}

/* Every record is where its hash says, and nowhere else. */
static void assert_table(uint32_t records)
{
	uint32_t count = 0, there = 0, wrong = 0;

	for (uint32_t id = 1; id <= records; id++) {
		wrong += is_in(id) != record[id].in;
		there += record[id].in;
	}
	ck_assert_uint_eq(wrong, 0);
	for (uint32_t at = 0; at < table.size; at++)
		for (uint32_t id = *tmem_buckets_at(&table, at); id;
		     id = record[id].chain)
			count++;
	ck_assert_uint_eq(count, there);
	ck_assert_uint_eq(table.count, there);
}

static void setup(void)
{
	struct test_random random;

	test_random_init(&random, 1);
	tmem_budget_init(&budget, UINT64_MAX);
	ck_assert_int_eq(tmem_buckets_init(&table, &budget), 0);
	for (uint32_t id = 1; id <= RECORDS; id++)
		record[id] = (struct record){
			.hash = (uint32_t)test_random_next(&random)};
}

static void teardown(void)
{
	tmem_buckets_deinit(&table, &budget);
	ck_assert_uint_eq(budget.used, 0);
}

START_TEST(no_call_goes_through_the_table)
{
	for (uint32_t id = 1; id <= RECORDS; id++)
		enter(id);
	ck_assert_uint_ge(table.size, RECORDS / 4);
	assert_table(RECORDS);
	for (uint32_t id = 1; id <= RECORDS; id++)
		if (id % 16)
			leave(id);
	ck_assert_uint_le(table.size, RECORDS / 4);
	assert_table(RECORDS);
	for (uint32_t id = 16; id <= RECORDS; id += 16)
		leave(id);
	ck_assert_uint_le(table.size, 16);
}
END_TEST

START_TEST(records_come_and_go_at_every_size)
{
	struct test_random random;

	test_random_init(&random, 2);
	for (unsigned round = 0; round < 40; round++) {
		uint32_t records =
			1 + (uint32_t)test_random_below(&random, 9000);

		for (unsigned i = 0; i < 3000; i++) {
			uint32_t id = 1 + (uint32_t)test_random_below(&random,
								      records);

			if (record[id].in)
				leave(id);
			else
				enter(id);
		}
		assert_table(9000);
	}
	for (uint32_t id = 1; id <= 9000; id++)
		if (record[id].in)
			leave(id);
}
END_TEST

START_TEST(without_memory_chains_get_longer)
{
	tmem_fault_arm(TMEM_FAULT_MALLOC, 1, true);
	for (uint32_t id = 1; id <= 400; id++)
		enter(id);
	ck_assert_uint_eq(table.size, 16);
	tmem_fault_arm(TMEM_FAULT_MALLOC, 0, false);
	/* It catches up, a bucket a record. */
	for (uint32_t id = 401; id <= 800; id++)
		enter(id);
	ck_assert_uint_ge(table.size, 400);
	assert_table(800);
}
END_TEST

/* Who goes through it bucket by bucket meets every record that is there
 * throughout, whatever comes and goes between. */
START_TEST(a_walk_meets_all)
{
	static bool met[RECORDS + 1];
	uint32_t other = 20001;

	for (uint32_t id = 1; id <= 40000; id++)
		enter(id);
	table.keeps_size = true;
	for (uint32_t at = 0; at < table.size; at++) {
		for (uint32_t id = *tmem_buckets_at(&table, at); id;
		     id = record[id].chain)
			met[id] = true;
		/* First they go, then many more come. */
		for (int i = 0; i < 5; i++, other++) {
			if (other <= 40000)
				leave(other);
			else if (other <= RECORDS)
				enter(other);
		}
	}
	table.keeps_size = false;
	for (uint32_t id = 1; id <= 20000; id++)
		ck_assert(met[id]);
	assert_table(RECORDS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("buckets");
	TCase *tcase = tcase_create("buckets");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 0); /* meson has one */
	tcase_add_test(tcase, no_call_goes_through_the_table);
	tcase_add_test(tcase, records_come_and_go_at_every_size);
	tcase_add_test(tcase, without_memory_chains_get_longer);
	tcase_add_test(tcase, a_walk_meets_all);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
