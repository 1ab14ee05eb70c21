/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compaction of slabs, alone and against other threads.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "fault.h"
#include "random.h"
#include "slab-scene.h"

#define IDS 40000u

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

static uint64_t compact(enum tmem_kind kind, uint64_t bytes, uint64_t *moved)
{
	return tmem_slab_compact(slabs, kind, bytes, false, move, NULL, moved);
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
	freed = compact(TMEM_PERSISTENT, UINT64_MAX, &moved);
	after = stats();
	ck_assert_uint_gt(moved, 1000);
	ck_assert_uint_ge(after.bytes[TMEM_PERSISTENT] + freed,
			  before.bytes[TMEM_PERSISTENT]);
	ck_assert_uint_eq(after.payload[0], before.payload[0]);
	ck_assert_uint_eq(after.payload[1], before.payload[1]);
	/* At most a slab a class is not full. */
	ck_assert_uint_lt(after.bytes[TMEM_PERSISTENT],
			  after.payload[TMEM_PERSISTENT] * 101 / 100 +
				  102 * 11 * 4096);
	freed = tmem_slab_compact(slabs, TMEM_KINDS, UINT64_MAX, false, move,
				  NULL, &moved);
	ck_assert_uint_gt(freed, 0);
	ck_assert_uint_lt(stats().bytes[TMEM_EPHEMERAL],
			  before.bytes[TMEM_EPHEMERAL]);
	/* Then nothing helps any more. */
	ck_assert_uint_eq(compact(TMEM_KINDS, UINT64_MAX, &moved), 0);
	ck_assert_uint_eq(moved, 0);
	for (uint32_t id = 3; id < IDS; id += 3)
		verify(id);
	tmem_slab_trim(slabs, UINT64_MAX);
	ck_assert_uint_eq(blocks(),
			  2 * 4096 + stats().bytes[0] + stats().bytes[1]);
}
END_TEST

START_TEST(compaction_stops_at_the_bytes_asked)
{
	struct test_random random;
	uint64_t moved, freed;

	test_random_init(&random, test_seed());
	make_sparse(&random);
	freed = compact(TMEM_KINDS, 1, &moved);
	ck_assert_uint_gt(freed, 0);
	ck_assert_uint_le(freed, TMEM_SLAB_SIZE);
	freed = compact(TMEM_KINDS, 5 * TMEM_SLAB_SIZE, &moved);
	ck_assert_uint_ge(freed, 5 * TMEM_SLAB_SIZE);
	ck_assert_uint_lt(freed, 6 * TMEM_SLAB_SIZE);
	ck_assert_uint_eq(compact(TMEM_KINDS, 0, &moved), 0);
}
END_TEST

/* What a put needs next should not come from the kernel again. */
START_TEST(compaction_keeps_slabs_for_puts)
{
	struct tmem_slab_stats before, after;
	struct test_random random;
	uint64_t moved, used;

	test_random_init(&random, test_seed());
	make_sparse(&random);
	tmem_slab_trim(slabs, UINT64_MAX);
	before = stats();
	used = budget.used - budget.private;
	ck_assert_uint_gt(tmem_slab_compact(slabs, TMEM_KINDS,
					    4 * TMEM_SLAB_SIZE, true, move,
					    NULL, &moved),
			  0);
	after = stats();
	ck_assert_uint_eq(after.spare_bytes, before.bytes[0] + before.bytes[1] -
						     after.bytes[0] -
						     after.bytes[1]);
	ck_assert_uint_eq(budget.used - budget.private, used);
}
END_TEST

/* Half of the slabs can go; nothing that is less than that is worth it. */
START_TEST(sparse_slabs_are_told)
{
	struct test_random random;
	uint64_t moved;

	ck_assert(!tmem_slab_sparse(slabs, false));
	test_random_init(&random, test_seed());
	make_sparse(&random);
	ck_assert(tmem_slab_sparse(slabs, false));
	while (tmem_slab_sparse(slabs, true))
		ck_assert_uint_gt(compact(TMEM_KINDS, 1, &moved), 0);
	ck_assert(!tmem_slab_sparse(slabs, false));
	ck_assert_uint_lt(tmem_slab_loose(slabs) - stats().spare_bytes,
			  4 * TMEM_SLAB_SIZE +
				  (stats().bytes[0] + stats().bytes[1]) / 512);
}
END_TEST

static unsigned woken;

static void count_wake(void *ctx)
{
	ck_assert_ptr_eq(ctx, &woken);
	woken++;
}

START_TEST(who_compacts_is_told_of_sparse_slabs)
{
	struct test_random random;

	test_random_init(&random, test_seed());
	tmem_slab_set_wake(slabs, count_wake, &woken);
	woken = 0;
	make_sparse(&random);
	ck_assert_uint_gt(woken, 1);
}
END_TEST

START_TEST(busy_contents_stay_where_they_are)
{
	struct test_random random;
	uint64_t moved;

	test_random_init(&random, test_seed());
	make_sparse(&random);
	busy = 30;
	compact(TMEM_KINDS, UINT64_MAX, &moved);
	ck_assert_uint_eq(tmem_slab_check(slabs, stderr), 0);
	busy = 3; /* all of them */
	ck_assert_uint_eq(compact(TMEM_KINDS, UINT64_MAX, &moved), 0);
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
	compact(TMEM_KINDS, UINT64_MAX, &moved);
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, false);
	ck_assert_uint_eq(moved, 0);
	for (uint32_t id = 3; id < IDS; id += 3)
		verify(id);
}
END_TEST

/* Each thread has ids of its own; compaction moves them under it. Few classes,
 * so that each has many slabs. */
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
			    500 + 500 * (uint32_t)test_random_below(&random,
								    8));
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
		tmem_slab_compact(slabs, TMEM_KINDS, UINT64_MAX, false, move,
				  NULL, &moved);
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
	tmem_slab_trim(slabs, UINT64_MAX);
	ck_assert_uint_eq(stats().bytes[0] + stats().bytes[1], 0);
	ck_assert_uint_eq(blocks(), 2 * 4096);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, compaction_packs_slabs);
	tcase_add_test(tc, compaction_stops_at_the_bytes_asked);
	tcase_add_test(tc, compaction_keeps_slabs_for_puts);
	tcase_add_test(tc, sparse_slabs_are_told);
	tcase_add_test(tc, who_compacts_is_told_of_sparse_slabs);
	tcase_add_test(tc, busy_contents_stay_where_they_are);
	tcase_add_test(tc, compaction_without_a_slot_gives_up);
	tcase_add_test(tc, compaction_runs_beside_puts_and_flushes);
}

int main(void)
{
	return run_slab_tests("slab compaction", add_tests);
}
