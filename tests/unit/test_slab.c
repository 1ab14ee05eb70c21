/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slabs: sizes, slots, refusals, reopening, and compaction alone and against
 * other threads.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tmem/types.h>
#include <unistd.h>
#include "arena-file.h"
#include "fault.h"
#include "lock.h"
#include "random.h"
#include "slab.h"

#define RAW	  TMEM_PAGE_SIZE
#define RAW_SLOTS (TMEM_SLAB_SIZE / RAW)
#define IDS	  40000u

static struct tmem_budget budget;
static struct tmem_arena arena;
static struct tmem_slabs *slabs;

static void open_slabs(int fd, uint64_t capacity)
{
	tmem_budget_init(&budget, 256 << 20);
	ck_assert_int_eq(tmem_arena_init(&arena, fd, capacity, &budget), 0);
	ck_assert_int_eq(tmem_slabs_new(&arena, &slabs), 0);
}

static void close_slabs(void)
{
	slabs = tmem_slabs_free(slabs);
	tmem_arena_deinit(&arena);
}

static void setup(void)
{
	open_slabs(-1, 256 << 20);
}

static void teardown(void)
{
	ck_assert_uint_eq(tmem_slab_check(slabs, stderr), 0);
	close_slabs();
}

/* One assertion for many bytes: each costs a system call. */
static bool all_bytes_are(const uint8_t *at, uint32_t size, uint8_t byte)
{
	return at[0] == byte && memcmp(at, at + 1, size - 1) == 0;
}

static uint64_t blocks(void)
{
	struct stat st;

	ck_assert_int_eq(fstat(arena.fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static struct tmem_slab_stats stats(void)
{
	struct tmem_slab_stats stats;

	tmem_slab_stats(slabs, &stats);
	return stats;
}

static uint64_t alloc(enum tmem_kind kind, uint32_t size, uint32_t owner)
{
	uint64_t place = UINT64_MAX;

	ck_assert_int_eq(
		tmem_slab_alloc(slabs, kind, size, owner, false, &place), 0);
	ck_assert_uint_eq(tmem_slab_owner(slabs, place), owner);
	ck_assert_uint_eq(tmem_slab_kind(slabs, place), kind);
	return place;
}

START_TEST(every_size_has_a_slot_that_fits)
{
	uint32_t before = 0;

	for (uint32_t size = 1; size <= RAW; size++) {
		uint32_t slot = tmem_slab_slot_size(size);
		uint32_t slots = TMEM_SLAB_SIZE / slot;

		ck_assert_uint_ge(slot, size);
		ck_assert_uint_ge(slot, before);
		ck_assert_uint_eq(slot % TMEM_SLAB_UNIT, 0);
		/* Little is lost at a slab's end. */
		ck_assert_uint_lt(TMEM_SLAB_SIZE - slots * slot, 1024);
		if (size > 1024 && size <= 3840)
			ck_assert_uint_lt(slot - size, 256);
		before = slot;
	}
	ck_assert_uint_eq(tmem_slab_slot_size(1), 32);
	ck_assert_uint_eq(tmem_slab_slot_size(33), 48);
	ck_assert_uint_eq(tmem_slab_slot_size(1008), 1008);
	ck_assert_uint_eq(tmem_slab_slot_size(1009), 1024);
	ck_assert_uint_eq(tmem_slab_slot_size(1025), 1040);
	ck_assert_uint_eq(tmem_slab_slot_size(3840), 3840);
	ck_assert_uint_eq(tmem_slab_slot_size(3841), 4096);
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
	tmem_slab_trim(slabs);
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
	ck_assert_uint_eq(tmem_slab_owner(slabs, 65472 / 16), 0);
	ck_assert_uint_eq(tmem_slab_owner(slabs, 4096), 0);
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

START_TEST(empty_slabs_go_back_but_one_a_class)
{
	uint64_t place[3 * RAW_SLOTS];

	for (uint32_t i = 0; i < 3 * RAW_SLOTS; i++) {
		place[i] = alloc(TMEM_EPHEMERAL, RAW, i + 1);
		memset(tmem_slab_at(slabs, place[i]), 1, RAW);
	}
	ck_assert_uint_eq(stats().bytes[TMEM_EPHEMERAL], 3 * TMEM_SLAB_SIZE);
	ck_assert_uint_eq(stats().payload[TMEM_EPHEMERAL], 3 * TMEM_SLAB_SIZE);
	ck_assert_uint_eq(blocks(), 2 * 4096 + 3 * TMEM_SLAB_SIZE);
	for (uint32_t i = 0; i < 3 * RAW_SLOTS; i++)
		tmem_slab_free(slabs, place[i]);
	ck_assert_uint_eq(stats().bytes[TMEM_EPHEMERAL], TMEM_SLAB_SIZE);
	ck_assert_uint_eq(stats().free_slots, RAW_SLOTS);
	ck_assert_uint_eq(stats().slabs_freed, 2);
	ck_assert_uint_eq(tmem_slab_check(slabs, stderr), 0);
	ck_assert_uint_eq(tmem_slab_trim(slabs), TMEM_SLAB_SIZE);
	ck_assert_uint_eq(tmem_slab_trim(slabs), 0);
	ck_assert_uint_eq(blocks(), 2 * 4096);
}
END_TEST

START_TEST(no_empty_slab_is_kept_without_room)
{
	uint64_t place = alloc(TMEM_EPHEMERAL, RAW, 1);

	budget.limit = budget.used;
	tmem_slab_free(slabs, place);
	ck_assert_uint_eq(stats().bytes[TMEM_EPHEMERAL], 0);
}
END_TEST

START_TEST(refusals_leave_nothing_charged)
{
	uint64_t place = 77, used;

	tmem_slab_free(slabs, alloc(TMEM_EPHEMERAL, 100, 1));
	tmem_slab_trim(slabs);
	used = budget.used;
	budget.limit = used + TMEM_SLAB_SIZE;
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
	ck_assert_uint_eq(budget.used, used);
	ck_assert_uint_eq(place, 77);
	alloc(TMEM_EPHEMERAL, RAW, 1);
}
END_TEST

/* Another class's kept slab makes room for this one. */
START_TEST(kept_slabs_give_way)
{
	uint64_t place = 0;

	tmem_slab_free(slabs, alloc(TMEM_EPHEMERAL, RAW, 1));
	ck_assert_uint_eq(stats().bytes[TMEM_EPHEMERAL], TMEM_SLAB_SIZE);
	budget.limit = budget.used;
	ck_assert_int_eq(
		tmem_slab_alloc(slabs, TMEM_PERSISTENT, RAW, 1, false, &place),
		0);
	ck_assert_uint_eq(stats().bytes[TMEM_EPHEMERAL], 0);
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

START_TEST(refused_punch_keeps_the_slab_for_later)
{
	uint64_t place = alloc(TMEM_EPHEMERAL, RAW, 1), used;

	tmem_slab_free(slabs, place);
	used = budget.used;
	tmem_fault_arm(TMEM_FAULT_PUNCH, 1, false);
	ck_assert_uint_eq(tmem_slab_trim(slabs), 0);
	ck_assert_uint_gt(budget.used, used - TMEM_SLAB_SIZE);
	ck_assert_uint_eq(alloc(TMEM_PERSISTENT, 100, 1) / 4096, place / 4096);
	/* Only the array of owners is larger. */
	ck_assert_uint_lt(budget.used, used + TMEM_SLAB_SIZE);
}
END_TEST

START_TEST(arena_without_a_free_slab_is_a_refusal)
{
	uint64_t place;

	close_slabs();
	open_slabs(-1, 3 * TMEM_SLAB_SIZE);
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
	ck_assert_uint_eq(stats().bytes[TMEM_PERSISTENT], 2 * TMEM_SLAB_SIZE);
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
	ck_assert_uint_eq(blocks(), 2 * 4096 + 2 * TMEM_SLAB_SIZE);
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

/* Compaction -------------------------------------------------------------- */

/* A store of contents in small: where each is, under one lock. */
static struct content {
	_Atomic(uint64_t) place; /* 0 none, else place + 1 */
	uint32_t size;
	enum tmem_kind kind;
} contents[IDS];
static pthread_mutex_t contents_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned busy; /* every nth content is, 0: none */

static void write_content(uint32_t id, uint64_t place)
{
	memset(tmem_slab_at(slabs, place), (int)(id % 251), contents[id].size);
}

static bool put(uint32_t id, enum tmem_kind kind, uint32_t size)
{
	uint64_t place;

	contents[id].kind = kind;
	contents[id].size = size;
	if (tmem_slab_alloc(slabs, kind, size, id, false, &place) != 0)
		return false;
	write_content(id, place);
	contents[id].place = place + 1;
	return true;
}

static void verify(uint32_t id)
{
	const uint8_t *at = tmem_slab_at(slabs, contents[id].place - 1);

	ck_assert(all_bytes_are(at, contents[id].size, (uint8_t)(id % 251)) &&
		  tmem_slab_owner(slabs, contents[id].place - 1) == id);
}

static void drop(uint32_t id)
{
	uint64_t place = contents[id].place - 1;

	contents[id].place = 0;
	tmem_slab_free(slabs, place);
}

static int move(void *ctx, uint32_t owner, uint64_t place)
{
	uint64_t to;
	int r;

	if (owner >= IDS || (busy && owner % busy == 0))
		return -EAGAIN;
	pthread_mutex_lock(&contents_lock);
	if (contents[owner].place != place + 1) {
		pthread_mutex_unlock(&contents_lock);
		return -EAGAIN;
	}
	r = tmem_slab_alloc(slabs, contents[owner].kind, contents[owner].size,
			    owner, false, &to);
	if (r == 0) {
		if (to / 4096 == place / 4096)
			ck_abort_msg("moved within the slab");
		memcpy(tmem_slab_at(slabs, to), tmem_slab_at(slabs, place),
		       contents[owner].size);
		contents[owner].place = to + 1;
		tmem_slab_free(slabs, place);
	}
	pthread_mutex_unlock(&contents_lock);
	return r == 0 ? 0 : -ENOMEM;
}

/* Contents of all sizes and both kinds, of which every third stays. */
static void make_sparse(struct test_random *random)
{
	bool ok = true;

	for (uint32_t id = 1; id < IDS; id++)
		ok &= put(id, id & 1,
			  1 + (uint32_t)test_random_below(random, RAW));
	ck_assert(ok);
	for (uint32_t id = 1; id < IDS; id++)
		if (id % 3)
			drop(id);
	ck_assert_uint_eq(tmem_slab_check(slabs, stderr), 0);
}

START_TEST(compaction_packs_slabs)
{
	struct tmem_slab_stats before, after;
	struct test_random random;
	uint64_t moved, freed;

	test_random_init(&random, test_seed());
	make_sparse(&random);
	before = stats();
	freed = tmem_slab_compact(slabs, TMEM_PERSISTENT, UINT64_MAX, move,
				  NULL, &moved);
	after = stats();
	ck_assert_uint_gt(moved, 1000);
	ck_assert_uint_ge(after.bytes[TMEM_PERSISTENT] + freed,
			  before.bytes[TMEM_PERSISTENT]);
	ck_assert_uint_eq(after.payload[0], before.payload[0]);
	ck_assert_uint_eq(after.payload[1], before.payload[1]);
	/* At most a slab a class is not full. */
	ck_assert_uint_lt(after.bytes[TMEM_PERSISTENT],
			  after.payload[TMEM_PERSISTENT] * 102 / 100 +
				  111 * TMEM_SLAB_SIZE);
	freed = tmem_slab_compact(slabs, TMEM_KINDS, UINT64_MAX, move, NULL,
				  &moved);
	ck_assert_uint_gt(freed, 0);
	ck_assert_uint_lt(stats().bytes[TMEM_EPHEMERAL],
			  before.bytes[TMEM_EPHEMERAL]);
	/* Then nothing helps any more. */
	ck_assert_uint_eq(tmem_slab_compact(slabs, TMEM_KINDS, UINT64_MAX, move,
					    NULL, &moved),
			  0);
	ck_assert_uint_eq(moved, 0);
	for (uint32_t id = 3; id < IDS; id += 3)
		verify(id);
	ck_assert_uint_eq(blocks() / TMEM_SLAB_SIZE,
			  (stats().bytes[0] + stats().bytes[1]) /
				  TMEM_SLAB_SIZE);
}
END_TEST

START_TEST(compaction_stops_at_the_bytes_asked)
{
	struct test_random random;
	uint64_t moved;

	test_random_init(&random, test_seed());
	make_sparse(&random);
	tmem_slab_trim(slabs);
	ck_assert_uint_eq(
		tmem_slab_compact(slabs, TMEM_KINDS, 1, move, NULL, &moved),
		TMEM_SLAB_SIZE);
	ck_assert_uint_eq(tmem_slab_compact(slabs, TMEM_KINDS,
					    5 * TMEM_SLAB_SIZE, move, NULL,
					    &moved),
			  5 * TMEM_SLAB_SIZE);
	ck_assert_uint_eq(
		tmem_slab_compact(slabs, TMEM_KINDS, 0, move, NULL, &moved), 0);
}
END_TEST

START_TEST(busy_contents_stay_where_they_are)
{
	struct test_random random;
	uint64_t moved;

	test_random_init(&random, test_seed());
	make_sparse(&random);
	busy = 30;
	tmem_slab_compact(slabs, TMEM_KINDS, UINT64_MAX, move, NULL, &moved);
	ck_assert_uint_eq(tmem_slab_check(slabs, stderr), 0);
	busy = 3; /* all of them */
	ck_assert_uint_eq(tmem_slab_compact(slabs, TMEM_KINDS, UINT64_MAX, move,
					    NULL, &moved),
			  0);
	ck_assert_uint_eq(moved, 0);
	for (uint32_t id = 3; id < IDS; id += 3)
		verify(id);
	/* A slab that was given up takes contents again. */
	for (uint32_t id = 1; id < IDS; id++)
		if (id % 3)
			ck_assert(put(id, id & 1, 2000));
}
END_TEST

START_TEST(compaction_without_a_slot_gives_up)
{
	struct test_random random;
	uint64_t moved;

	test_random_init(&random, test_seed());
	make_sparse(&random);
	tmem_fault_arm(TMEM_FAULT_SLAB, 1, true);
	tmem_slab_compact(slabs, TMEM_KINDS, UINT64_MAX, move, NULL, &moved);
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, false);
	ck_assert_uint_eq(moved, 0);
	for (uint32_t id = 3; id < IDS; id += 3)
		verify(id);
}
END_TEST

/* Each thread has ids of its own; compaction moves them under it. */
static void *churn(void *arg)
{
	unsigned self = (unsigned)(uintptr_t)arg;
	struct test_random random;

	test_random_init(&random, self);
	for (int i = 0; i < 40000; i++) {
		uint32_t id = (uint32_t)test_random_below(&random, 1500) * 3 +
			      self + 1;

		pthread_mutex_lock(&contents_lock);
		if (contents[id].place) {
			verify(id);
			drop(id);
		} else {
			put(id, id / 3 & 1,
			    1 + (uint32_t)test_random_below(&random, RAW));
		}
		pthread_mutex_unlock(&contents_lock);
		/* And one that nobody moves: slabs change under no lock. */
		if (i % 4 == 0) {
			uint64_t place;

			if (tmem_slab_alloc(slabs, TMEM_EPHEMERAL, 900,
					    IDS + self, false, &place) == 0) {
				memset(tmem_slab_at(slabs, place), 1, 900);
				tmem_slab_free(slabs, place);
			}
		}
	}
	return NULL;
}

START_TEST(compaction_runs_beside_puts_and_flushes)
{
	uint64_t moved, total = 0;
	pthread_t thread[3];

	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, churn, (void *)i);
	while (total < 3000) {
		tmem_slab_compact(slabs, TMEM_KINDS, UINT64_MAX, move, NULL,
				  &moved);
		total += moved;
		if (moved == 0 && pthread_tryjoin_np(thread[0], NULL) == 0) {
			pthread_create(&thread[0], NULL, churn, (void *)0);
		}
	}
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(tmem_slab_check(slabs, stderr), 0);
	for (uint32_t id = 0; id < IDS; id++) {
		if (contents[id].place) {
			verify(id);
			drop(id);
		}
	}
	tmem_slab_trim(slabs);
	ck_assert_uint_eq(stats().bytes[0] + stats().bytes[1], 0);
	ck_assert_uint_eq(blocks(), 2 * 4096);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, every_size_has_a_slot_that_fits);
	tcase_add_test(tc, slots_do_not_overlap);
	tcase_add_test(tc, places_that_are_none_have_no_owner);
	tcase_add_test(tc, sparse_slabs_drain);
	tcase_add_test(tc, empty_slabs_go_back_but_one_a_class);
	tcase_add_test(tc, no_empty_slab_is_kept_without_room);
	tcase_add_test(tc, refusals_leave_nothing_charged);
	tcase_add_test(tc, kept_slabs_give_way);
	tcase_add_test(tc, stretch_takes_a_larger_slot_of_the_kind);
	tcase_add_test(tc, refused_punch_keeps_the_slab_for_later);
	tcase_add_test(tc, arena_without_a_free_slab_is_a_refusal);
	tcase_add_test(tc, full_tmpfs_is_a_refusal);
	tcase_add_test(tc, reopened_slabs_hold_what_was_found);
	tcase_add_test(tc, contents_that_cannot_be_are_told);
	tcase_add_test(tc, new_that_fails_leaves_nothing_charged);
	tcase_add_test(tc, compaction_packs_slabs);
	tcase_add_test(tc, compaction_stops_at_the_bytes_asked);
	tcase_add_test(tc, busy_contents_stay_where_they_are);
	tcase_add_test(tc, compaction_without_a_slot_gives_up);
	tcase_add_test(tc, compaction_runs_beside_puts_and_flushes);
}

int main(void)
{
	Suite *suite = suite_create("slab");
	TCase *tc = tcase_create("slab");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	add_tests(tc);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
