/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spare slabs: kept when they fall empty, taken by any class, made in the
 * background, and given back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "arena-file.h"
#include "fault.h"
#include "sanitizer.h"
#include "slab-scene.h"

/* While there is little in slabs. */
#define RESERVE (UINT64_C(256) << 10)

/* Sizes whose slabs have 8, 11 and 16 pages. */
#define OF_8  2048u
#define OF_11 1216u

static uint64_t in_slabs(void)
{
	return stats().bytes[TMEM_EPHEMERAL] + stats().bytes[TMEM_PERSISTENT];
}

/* Take and give back a slab's slots. Slots of a slab are taken one after the
 * other. */
static void fill_and_empty(uint32_t size, uint32_t count)
{
	static uint64_t place[65536];

	for (uint32_t i = 0; i < count; i++)
		place[i] = alloc(TMEM_EPHEMERAL, size, i + 1);
	for (uint32_t i = 0; i < count; i++)
		tmem_slab_free(slabs, place[i]);
}

START_TEST(empty_slabs_are_spare)
{
	uint64_t used = budget.used - budget.private;

	fill_and_empty(RAW, 3 * RAW_SLOTS);
	ck_assert_uint_eq(in_slabs(), 0);
	ck_assert_uint_eq(stats().spare_bytes, 3 * TMEM_SLAB_SIZE);
	ck_assert_uint_eq(stats().free_slots, 0);
	ck_assert_uint_eq(stats().slabs_freed, 0);
	ck_assert_uint_eq(blocks(), 2 * 4096 + 3 * TMEM_SLAB_SIZE);
	ck_assert_uint_eq(tmem_slab_check(slabs, stderr), 0);
	ck_assert_uint_eq(tmem_slab_trim(slabs, UINT64_MAX),
			  3 * TMEM_SLAB_SIZE);
	ck_assert_uint_eq(tmem_slab_trim(slabs, UINT64_MAX), 0);
	ck_assert_uint_eq(stats().slabs_freed, 3);
	ck_assert_uint_eq(blocks(), 2 * 4096);
	/* And a page of the map. */
	ck_assert_uint_eq(budget.used - budget.private, used + 4096);
}
END_TEST

/* Of another class and kind, with a system call only for the pages that are too
 * many or too few. */
START_TEST(spare_slabs_serve_any_class)
{
	uint64_t place = alloc(TMEM_EPHEMERAL, RAW, 1);

	tmem_slab_free(slabs, place);
	ck_assert_uint_eq(alloc(TMEM_PERSISTENT, OF_8, 2) / 4096, place / 4096);
	ck_assert_uint_eq(stats().spare_bytes, 0);
	ck_assert_uint_eq(blocks(), 2 * 4096 + 8 * 4096);
	tmem_slab_free(slabs, place);
	ck_assert_uint_eq(alloc(TMEM_EPHEMERAL, OF_11, 3) / 4096, place / 4096);
	ck_assert_uint_eq(blocks(), 2 * 4096 + 11 * 4096);
	tmem_slab_free(slabs, place);
	/* The one that fits, then the larger one. */
	place = alloc(TMEM_EPHEMERAL, RAW, 4);
	fill_and_empty(OF_11, 1);
	tmem_slab_free(slabs, place);
	ck_assert_uint_eq(stats().spare_bytes, (16 + 11) * 4096);
	alloc(TMEM_EPHEMERAL, OF_11, 6);
	ck_assert_uint_eq(stats().spare_bytes, 16 * 4096);
	alloc(TMEM_EPHEMERAL, OF_8, 7);
	ck_assert_uint_eq(stats().spare_bytes, 0);
}
END_TEST

/* Twice the reserve is the most; then half of them go. */
START_TEST(too_many_spare_slabs_go_back)
{
	fill_and_empty(RAW, 2 * RESERVE / RAW);
	ck_assert_uint_eq(stats().spare_bytes, 2 * RESERVE);
	fill_and_empty(RAW, 2 * RESERVE / RAW + RAW_SLOTS);
	ck_assert_uint_eq(stats().spare_bytes, RESERVE);
	ck_assert_uint_eq(blocks(), 2 * 4096 + RESERVE);
	ck_assert_uint_eq(stats().slabs_freed, RESERVE / TMEM_SLAB_SIZE + 1);
}
END_TEST

/* A full budget's spare slabs are what the next puts take. */
START_TEST(spare_slabs_are_kept_in_a_full_budget)
{
	uint64_t place = alloc(TMEM_EPHEMERAL, RAW, 1);

	budget.limit = budget.used;
	tmem_slab_free(slabs, place);
	ck_assert_uint_eq(stats().spare_bytes, TMEM_SLAB_SIZE);
	alloc(TMEM_PERSISTENT, RAW, 1);
	ck_assert_uint_eq(stats().spare_bytes, 0);
}
END_TEST

START_TEST(no_slab_is_spare_above_the_budget)
{
	uint64_t place = alloc(TMEM_EPHEMERAL, RAW, 1);

	budget.limit = budget.used - 4096;
	tmem_slab_free(slabs, place);
	ck_assert_uint_eq(stats().spare_bytes, 0);
	ck_assert_uint_eq(blocks(), 2 * 4096);
}
END_TEST

/* A slab that needs more pages than the budget has: others are given back. */
START_TEST(spare_slabs_make_room_for_each_other)
{
	uint64_t place;

	fill_and_empty(OF_8, 2 * 16);
	ck_assert_uint_eq(stats().spare_bytes, 16 * 4096);
	budget.limit = budget.used;
	ck_assert_int_eq(
		tmem_slab_alloc(slabs, TMEM_EPHEMERAL, OF_11, 1, false, &place),
		0);
	ck_assert_uint_eq(stats().spare_bytes, 0);
	ck_assert_uint_eq(in_slabs(), 11 * 4096);
}
END_TEST

START_TEST(refused_punch_keeps_the_slab_for_later)
{
	uint64_t place = alloc(TMEM_EPHEMERAL, RAW, 1), used;

	tmem_slab_free(slabs, place);
	used = budget.used;
	tmem_fault_arm(TMEM_FAULT_PUNCH, 1, true);
	ck_assert_uint_eq(tmem_slab_trim(slabs, UINT64_MAX), 0);
	ck_assert_uint_eq(budget.used, used);
	/* All pages stay; the class needs fewer. */
	ck_assert_uint_eq(alloc(TMEM_PERSISTENT, OF_8, 1) / 4096, place / 4096);
	tmem_fault_arm(TMEM_FAULT_PUNCH, 0, false);
	ck_assert_uint_eq(in_slabs(), TMEM_SLAB_SIZE);
	ck_assert_uint_eq(tmem_slab_check(slabs, stderr), 0);
	tmem_slab_free(slabs, place);
	ck_assert_uint_eq(tmem_slab_trim(slabs, UINT64_MAX), TMEM_SLAB_SIZE);
	ck_assert_uint_eq(blocks(), 2 * 4096);
}
END_TEST

static unsigned woken;

static void count_wake(void *ctx)
{
	ck_assert_ptr_eq(ctx, &woken);
	woken++;
}

START_TEST(the_reserve_is_made_in_the_background)
{
	woken = 0;
	tmem_slab_set_wake(slabs, count_wake, &woken);
	alloc(TMEM_EPHEMERAL, OF_8, 1);
	ck_assert_uint_eq(woken, 1);
	while (tmem_slab_reserve(slabs))
		;
	/* Slabs such as the last one that was taken. */
	ck_assert_uint_le(stats().spare_bytes, RESERVE);
	ck_assert_uint_gt(stats().spare_bytes, RESERVE - TMEM_SLAB_SIZE);
	ck_assert_uint_eq(stats().spare_bytes % (8 * 4096), 0);
	/* Nobody is told before half of it is gone. */
	for (uint32_t i = 0; i < RESERVE / 4 / OF_8; i++)
		alloc(TMEM_EPHEMERAL, OF_8, 1);
	ck_assert_uint_eq(woken, 1);
	for (uint32_t i = 0; i < RESERVE / 2 / OF_8; i++)
		alloc(TMEM_EPHEMERAL, OF_8, 1);
	ck_assert_uint_gt(woken, 1);
}
END_TEST

START_TEST(a_full_budget_has_no_reserve)
{
	alloc(TMEM_EPHEMERAL, RAW, 1);
	budget.limit = budget.used * 9 / 8;
	ck_assert(!tmem_slab_reserve(slabs));
	ck_assert_uint_eq(stats().spare_bytes, 0);
}
END_TEST

/* Who is told keeps more than two reserves, and tidies. */
START_TEST(what_is_more_than_the_reserve_is_tidied_away)
{
	woken = 0;
	ck_assert(!tmem_slab_untidy(slabs));
	tmem_slab_set_wake(slabs, count_wake, &woken);
	fill_and_empty(RAW, 4 * RESERVE / RAW);
	ck_assert_uint_eq(stats().spare_bytes, 4 * RESERVE);
	ck_assert_uint_ge(woken, 1);
	ck_assert(tmem_slab_untidy(slabs));
	tmem_slab_tidy(slabs);
	ck_assert_uint_eq(stats().spare_bytes, RESERVE);
	ck_assert(!tmem_slab_untidy(slabs));

	/* It is the reserve that gets smaller. */
	budget.limit = 16 << 20;
	woken = 0;
	fill_and_empty(RAW, 2 * RAW_SLOTS);
	ck_assert_uint_eq(woken, 1);
	ck_assert(tmem_slab_untidy(slabs));
	fill_and_empty(RAW, RAW_SLOTS);
	ck_assert_uint_eq(woken, 1);
	tmem_slab_tidy(slabs);
	ck_assert(!tmem_slab_untidy(slabs));
}
END_TEST

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* Whether its slab is new, spare, or spare and of too few pages. */
START_TEST(slots_are_written_without_faults)
{
	static const uint32_t size[] = {OF_11, RAW, OF_8};
	static uint64_t place[3][4000];
	long before;

	for (unsigned turn = 0; turn < 3; turn++) {
		uint32_t count = 1600000 / size[turn];

		for (uint32_t i = 0; i < count; i++)
			place[turn][i] = alloc(i & 1, size[turn], 1);
		before = faults();
		for (uint32_t i = 0; i < count; i++)
			memset(tmem_slab_at(slabs, place[turn][i]), 1,
			       size[turn]);
		/* 400 pages. A sanitizer has some of its own for each. */
		if (!TEST_ASAN && !TEST_TSAN)
			ck_assert_int_lt(faults() - before, 20);
		for (uint32_t i = 0; i < count; i++)
			tmem_slab_free(slabs, place[turn][i]);
	}
}
END_TEST

/* Nothing in the arena says so, and a reopened store gives them back: also the
 * pages behind the end of a slab. */
START_TEST(reopened_arena_has_no_spare_slabs)
{
	uint64_t kept = alloc(TMEM_PERSISTENT, OF_8, 1);
	int fd;

	fill_and_empty(RAW, 3 * RAW_SLOTS);
	ck_assert_int_eq(
		tmem_arena_take(&arena, TMEM_PART_SLABS, 8 * 4096, 4096), 0);
	ck_assert_uint_eq(blocks(), 2 * 4096 + (3 * 16 + 8 + 1) * 4096);
	fd = dup(arena.fd);
	close_slabs();
	open_slabs(fd, 256 << 20);
	ck_assert_int_eq(tmem_slab_found(slabs, kept, OF_8, TMEM_PERSISTENT, 1),
			 0);
	tmem_slab_settle(slabs);
	ck_assert_uint_eq(stats().spare_bytes, 0);
	ck_assert_uint_eq(blocks(), 2 * 4096 + 8 * 4096);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, empty_slabs_are_spare);
	tcase_add_test(tc, spare_slabs_serve_any_class);
	tcase_add_test(tc, too_many_spare_slabs_go_back);
	tcase_add_test(tc, spare_slabs_are_kept_in_a_full_budget);
	tcase_add_test(tc, no_slab_is_spare_above_the_budget);
	tcase_add_test(tc, spare_slabs_make_room_for_each_other);
	tcase_add_test(tc, refused_punch_keeps_the_slab_for_later);
	tcase_add_test(tc, the_reserve_is_made_in_the_background);
	tcase_add_test(tc, a_full_budget_has_no_reserve);
	tcase_add_test(tc, what_is_more_than_the_reserve_is_tidied_away);
	tcase_add_test(tc, slots_are_written_without_faults);
	tcase_add_test(tc, reopened_arena_has_no_spare_slabs);
}

int main(void)
{
	return run_slab_tests("spare slabs", add_tests);
}
