/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slabs: sizes, slots, refusals, reopening.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "arena-file.h"
#include "fault.h"
#include "slab-scene.h"

START_TEST(every_size_has_a_slot_that_fits)
{
	uint32_t before = 0;

	for (uint32_t size = 1; size <= RAW; size++) {
		uint32_t slot = tmem_slab_slot_size(size);

		ck_assert_uint_ge(slot, size);
		ck_assert_uint_ge(slot, before);
		ck_assert_uint_eq(slot % TMEM_SLAB_UNIT, 0);
		if (size <= 1900 && size > 300)
			ck_assert_uint_lt(slot - size, 64);
		if (size <= 3712)
			ck_assert_uint_lt(slot - size, 176);
		before = slot;
	}
	ck_assert_uint_eq(tmem_slab_slot_size(1), 32);
	ck_assert_uint_eq(tmem_slab_slot_size(33), 48);
	ck_assert_uint_eq(tmem_slab_slot_size(1024), 1024);
	ck_assert_uint_eq(tmem_slab_slot_size(1025), 1056);
	ck_assert_uint_eq(tmem_slab_slot_size(3712), 3712);
	ck_assert_uint_eq(tmem_slab_slot_size(3713), 4096);
}
END_TEST

/* Each size once: slots are apart, and keep what is put there. */
START_TEST(slots_do_not_overlap)
{
	static uint64_t place[RAW + 1];

	for (uint32_t size = 1; size <= RAW; size++) {
		place[size] = alloc(size & 1, size, size);
		memset(tmem_slab_at(slabs, place[size]), (int)(size % 251),
		       tmem_slab_slot_size(size));
	}
	for (uint32_t size = 1; size <= RAW; size++) {
		const uint8_t *at = tmem_slab_at(slabs, place[size]);

		ck_assert(all_bytes_are(at, tmem_slab_slot_size(size),
					(uint8_t)(size % 251)));
	}
	ck_assert_uint_eq(tmem_slab_check(slabs, stderr), 0);
	for (uint32_t size = 1; size <= RAW; size++) {
		tmem_slab_free(slabs, place[size]);
		ck_assert_uint_eq(tmem_slab_owner(slabs, place[size]), 0);
	}
	tmem_slab_trim(slabs, UINT64_MAX);
	ck_assert_uint_eq(stats().bytes[0] + stats().bytes[1], 0);
}
END_TEST

START_TEST(places_that_are_none_have_no_owner)
{
	uint64_t place = alloc(TMEM_PERSISTENT, 2000, 9);

	ck_assert_uint_eq(tmem_slab_owner(slabs, place), 9);
	ck_assert_uint_eq(tmem_slab_owner(slabs, place + 1), 0);
	ck_assert_uint_eq(tmem_slab_owner(slabs, place + 2000 / 16), 0);
	/* What is left at the slab's end is no slot. */
	alloc(TMEM_PERSISTENT, 3632, 9);
	ck_assert_uint_eq(
		tmem_slab_owner(slabs, (TMEM_SLAB_SIZE + 9 * 3632) / 16), 0);
	ck_assert_uint_eq(tmem_slab_owner(slabs, 2 * 4096), 0);
	ck_assert_uint_eq(tmem_slab_owner(slabs, 1ull << 35), 0);
}
END_TEST

START_TEST(sparse_slabs_drain)
{
	uint64_t place[4 * RAW_SLOTS];

	for (uint32_t i = 0; i < 4 * RAW_SLOTS; i++)
		place[i] = alloc(TMEM_EPHEMERAL, RAW, i + 1);
	/* The second slab falls to one page, the third to all but one. */
	for (uint32_t i = RAW_SLOTS + 1; i < 2 * RAW_SLOTS; i++)
		tmem_slab_free(slabs, place[i]);
	tmem_slab_free(slabs, place[2 * RAW_SLOTS + 3]);
	ck_assert_uint_eq(alloc(TMEM_EPHEMERAL, RAW, 99),
			  place[2 * RAW_SLOTS + 3]);
}
END_TEST

START_TEST(refusals_leave_nothing_charged)
{
	uint64_t place = 77, used;

	tmem_slab_free(slabs, alloc(TMEM_EPHEMERAL, 100, 1));
	tmem_slab_trim(slabs, UINT64_MAX);
	used = budget.used;
	budget.limit = used + TMEM_SLAB_SIZE - 1;
	ck_assert_int_eq(
		tmem_slab_alloc(slabs, TMEM_EPHEMERAL, RAW, 1, true, &place),
		-ENOMEM);
	ck_assert_uint_eq(budget.used, used);
	budget.limit = 256 << 20;
	tmem_fault_arm(TMEM_FAULT_FALLOCATE, 1, false);
	ck_assert_int_eq(
		tmem_slab_alloc(slabs, TMEM_EPHEMERAL, RAW, 1, true, &place),
		-ENOSPC);
	ck_assert_uint_eq(budget.used, used);
	tmem_fault_arm(TMEM_FAULT_MALLOC, 1, false);
	ck_assert_int_eq(
		tmem_slab_alloc(slabs, TMEM_EPHEMERAL, RAW, 1, true, &place),
		-ENOMEM);
	tmem_fault_arm(TMEM_FAULT_SLAB, 1, false);
	ck_assert_int_eq(
		tmem_slab_alloc(slabs, TMEM_EPHEMERAL, RAW, 1, true, &place),
		-ENOMEM);
	/* But for a slab without owners, which is spare. */
	tmem_slab_trim(slabs, UINT64_MAX);
	ck_assert_uint_eq(budget.used, used);
	ck_assert_uint_eq(place, 77);
	alloc(TMEM_EPHEMERAL, RAW, 1);
}
END_TEST

START_TEST(stretch_takes_a_larger_slot_of_the_kind)
{
	uint64_t place = 0, stretched;

	alloc(TMEM_EPHEMERAL, 3000, 1);
	alloc(TMEM_PERSISTENT, 100, 2);
	budget.limit = budget.used;
	ck_assert_int_eq(
		tmem_slab_alloc(slabs, TMEM_EPHEMERAL, 2000, 3, false, &place),
		-ENOMEM);
	ck_assert_int_eq(tmem_slab_alloc(slabs, TMEM_EPHEMERAL, 2000, 3, true,
					 &stretched),
			 0);
	ck_assert_uint_eq(tmem_slab_owner(slabs, stretched), 3);
	/* Neither smaller slots nor the other kind's will do. */
	ck_assert_int_eq(
		tmem_slab_alloc(slabs, TMEM_EPHEMERAL, 3500, 4, true, &place),
		-ENOMEM);
	ck_assert_int_eq(
		tmem_slab_alloc(slabs, TMEM_PERSISTENT, 2000, 4, true, &place),
		-ENOMEM);
	tmem_slab_free(slabs, stretched);
}
END_TEST

START_TEST(arena_without_a_free_slab_is_a_refusal)
{
	uint64_t place;

	close_slabs();
	open_slabs(-1, 3 * TMEM_SLAB_SIZE);
	/* Slabs half as large as their places, and raw ones. */
	for (uint32_t i = 0; i < 3 * RAW_SLOTS; i++)
		alloc(TMEM_EPHEMERAL, 2048, i + 1);
	for (uint32_t i = 0; i < 3 * RAW_SLOTS; i++)
		alloc(TMEM_EPHEMERAL, RAW, i + 1);
	ck_assert_int_eq(
		tmem_slab_alloc(slabs, TMEM_EPHEMERAL, RAW, 1, true, &place),
		-ENOSPC);
}
END_TEST

START_TEST(full_tmpfs_is_a_refusal)
{
	int fd = test_arena_on_tmpfs(1 << 20);
	uint64_t place;
	uint32_t n = 1;
	int r;

	if (fd < 0)
		return; /* not allowed to mount */
	close_slabs();
	open_slabs(fd, 64 << 20);
	while ((r = tmem_slab_alloc(slabs, TMEM_PERSISTENT, RAW, n, true,
				    &place)) == 0) {
		memset(tmem_slab_at(slabs, place), (int)n, RAW);
		n++;
	}
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_ge(n, 200);
	ck_assert_uint_eq(stats().bytes[TMEM_PERSISTENT],
			  (n - 1) * (uint64_t)RAW);
}
END_TEST

/* Reopening --------------------------------------------------------------- */

START_TEST(reopened_slabs_hold_what_was_found)
{
	uint64_t keep[3], gone;
	int fd;

	keep[0] = alloc(TMEM_PERSISTENT, RAW, 1);
	keep[1] = alloc(TMEM_PERSISTENT, RAW, 2);
	keep[2] = alloc(TMEM_PERSISTENT, 50, 3);
	gone = alloc(TMEM_EPHEMERAL, 2000, 4);
	memset(tmem_slab_at(slabs, keep[1]), 0x77, RAW);
	memset(tmem_slab_at(slabs, gone), 0x77, 2000);
	/* Bytes taken for a slab that the map never came to name. */
	ck_assert_int_eq(tmem_arena_take(&arena, TMEM_PART_SLABS,
					 100 * TMEM_SLAB_SIZE, TMEM_SLAB_SIZE),
			 0);
	/* A byte of the map that is no class. */
	((uint8_t *)tmem_arena_part(&arena, TMEM_PART_SLABMAP))[50] = 0x7f;
	fd = dup(arena.fd);
	close_slabs();

	open_slabs(fd, 256 << 20);
	ck_assert_uint_eq(stats().bytes[TMEM_PERSISTENT], (16 + 8) * 4096);
	ck_assert_int_eq(
		tmem_slab_found(slabs, keep[0], RAW, TMEM_PERSISTENT, 1), 0);
	ck_assert_int_eq(
		tmem_slab_found(slabs, keep[1], RAW, TMEM_PERSISTENT, 2), 0);
	ck_assert_int_eq(
		tmem_slab_found(slabs, keep[2], 50, TMEM_PERSISTENT, 3), 0);
	tmem_slab_settle(slabs);

	ck_assert_uint_eq(tmem_slab_check(slabs, stderr), 0);
	ck_assert_uint_eq(tmem_slab_owner(slabs, keep[1]), 2);
	ck_assert_uint_eq(((uint8_t *)tmem_slab_at(slabs, keep[1]))[99], 0x77);
	ck_assert_uint_eq(stats().bytes[TMEM_EPHEMERAL], 0);
	ck_assert_uint_eq(stats().payload[TMEM_PERSISTENT], 2 * RAW + 64);
	ck_assert_uint_eq(blocks(), 2 * 4096 + (16 + 8) * 4096);
	/* The rest of the slab can be used. */
	for (uint32_t i = 0; i < RAW_SLOTS - 2; i++)
		ck_assert_uint_eq(alloc(TMEM_PERSISTENT, RAW, 10 + i) / 4096,
				  keep[0] / 4096);
	tmem_slab_free(slabs, keep[0]);
	tmem_slab_free(slabs, keep[2]);
}
END_TEST

START_TEST(contents_that_cannot_be_are_told)
{
	uint64_t place = alloc(TMEM_PERSISTENT, 2000, 1);
	int fd = dup(arena.fd);

	close_slabs();
	open_slabs(fd, 256 << 20);
	ck_assert_int_eq(tmem_slab_found(slabs, place, 2000, TMEM_EPHEMERAL, 1),
			 -EBADMSG);
	ck_assert_int_eq(
		tmem_slab_found(slabs, place, 3000, TMEM_PERSISTENT, 1),
		-EBADMSG);
	ck_assert_int_eq(
		tmem_slab_found(slabs, place + 1, 2000, TMEM_PERSISTENT, 1),
		-EBADMSG);
	ck_assert_int_eq(tmem_slab_found(slabs, 4096, 2000, TMEM_PERSISTENT, 1),
			 -EBADMSG);
	ck_assert_int_eq(tmem_slab_found(slabs, (1ull << 36) - 1, 2000,
					 TMEM_PERSISTENT, 1),
			 -EBADMSG);
	ck_assert_int_eq(
		tmem_slab_found(slabs, place, 2000, TMEM_PERSISTENT, 0),
		-EBADMSG);
	/* Smaller than its slot: stretched. Twice: taken. */
	ck_assert_int_eq(
		tmem_slab_found(slabs, place, 1000, TMEM_PERSISTENT, 1), 0);
	ck_assert_int_eq(
		tmem_slab_found(slabs, place, 1000, TMEM_PERSISTENT, 2),
		-EBADMSG);
	tmem_slab_settle(slabs);
	tmem_slab_free(slabs, place);
}
END_TEST

START_TEST(new_that_fails_leaves_nothing_charged)
{
	struct tmem_slabs *other = NULL;
	uint64_t used = budget.used;

	for (unsigned nth = 1; nth <= 3; nth++) {
		tmem_fault_arm(TMEM_FAULT_MALLOC, nth, false);
		ck_assert_int_eq(tmem_slabs_new(&arena, &other), -ENOMEM);
		ck_assert_ptr_null(other);
		ck_assert_uint_eq(budget.used, used);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, every_size_has_a_slot_that_fits);
	tcase_add_test(tc, slots_do_not_overlap);
	tcase_add_test(tc, places_that_are_none_have_no_owner);
	tcase_add_test(tc, sparse_slabs_drain);
	tcase_add_test(tc, refusals_leave_nothing_charged);
	tcase_add_test(tc, stretch_takes_a_larger_slot_of_the_kind);
	tcase_add_test(tc, arena_without_a_free_slab_is_a_refusal);
	tcase_add_test(tc, full_tmpfs_is_a_refusal);
	tcase_add_test(tc, reopened_slabs_hold_what_was_found);
	tcase_add_test(tc, contents_that_cannot_be_are_told);
	tcase_add_test(tc, new_that_fails_leaves_nothing_charged);
}

int main(void)
{
	return run_slab_tests("slab", add_tests);
}
