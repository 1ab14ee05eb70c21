/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Content records: references, pins, moves, and what is left when a step
 * fails.
 */
#include "content.h"
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include "fault.h"
#include "pages.h"
#include "scene.h"

static struct tmem_budget budget;
static struct tmem_arena arena;
static struct tmem_slabs *slabs;
static struct tmem_codecs *codecs;
static struct tmem_contents contents;

static void setup(void)
{
	test_pages_init();
	tmem_budget_init(&budget, 64 << 20);
	ck_assert_int_eq(tmem_arena_init(&arena, -1, 64 << 20, &budget), 0);
	ck_assert_int_eq(tmem_codecs_new(UINT64_MAX, &codecs), 0);
	ck_assert_int_eq(tmem_slabs_new(&arena, &slabs), 0);
	ck_assert_int_eq(
		tmem_contents_init(&contents, &arena, slabs, codecs, 0), 0);
}

static void teardown(void)
{
	ck_assert_uint_eq(contents.table.used, 0);
	tmem_contents_deinit(&contents);
	ck_assert_ptr_null(tmem_slabs_free(slabs));
	ck_assert_ptr_null(tmem_codecs_free(codecs));
	tmem_arena_deinit(&arena);
}

/* A content of size bytes of value, of no domain: raw when size is a page, else
 * not to be read. */
static uint32_t new_content(uint32_t size, uint8_t value)
{
	uint8_t bytes[TMEM_PAGE_SIZE];
	const struct tmem_content_spec spec = {
		.kind = TMEM_EPHEMERAL,
		.codec = size == TMEM_PAGE_SIZE ? TMEM_CODEC_RAW
						: TMEM_CODEC_LZ4,
		.size = size,
		.bytes = bytes,
	};
	uint32_t id = 0;

	memset(bytes, value, sizeof(bytes));
	ck_assert_int_eq(tmem_content_new(&contents, &spec, &id), 0);
	return id;
}

static void assert_page(uint32_t id, uint8_t value)
{
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];

	memset(want, value, sizeof(want));
	ck_assert_int_eq(tmem_content_read(&contents, id, page), 0);
	ck_assert_mem_eq(page, want, sizeof(page));
}

static uint64_t place_of(uint32_t id)
{
	return tmem_content_load(&contents, id).place;
}

START_TEST(a_pinned_content_is_not_moved)
{
	struct tmem_slab_stats stats;
	uint32_t id = new_content(TMEM_PAGE_SIZE, 1);
	uint64_t place = place_of(id);

	tmem_content_pin(&contents, id);
	ck_assert_int_eq(tmem_content_move(&contents, id, place), -EAGAIN);
	ck_assert_uint_eq(place_of(id), place);
	/* The slot it was to have is free again. */
	tmem_slab_stats(slabs, &stats);
	ck_assert_uint_eq(stats.used_slots, 1);
	tmem_content_unpin(&contents, id);
	ck_assert_int_eq(tmem_content_move(&contents, id, place), 0);
	ck_assert_uint_ne(place_of(id), place);
	assert_page(id, 1);
	tmem_content_drop(&contents, id);
}
END_TEST

START_TEST(a_content_that_is_gone_or_elsewhere_is_not_moved)
{
	uint32_t id = new_content(TMEM_PAGE_SIZE, 1);
	uint64_t place = place_of(id);

	ck_assert_int_eq(tmem_content_move(&contents, id, place + 256),
			 -EAGAIN);
	tmem_content_drop(&contents, id);
	ck_assert_int_eq(tmem_content_move(&contents, id, place), -EAGAIN);
	ck_assert_int_eq(tmem_content_move(&contents, 1u << 30, place),
			 -EAGAIN);
}
END_TEST

START_TEST(without_a_slot_a_content_stays_where_it_is)
{
	uint32_t id = new_content(TMEM_PAGE_SIZE, 1);
	uint64_t place = place_of(id);

	tmem_fault_arm(TMEM_FAULT_SLAB, 1, true);
	ck_assert_int_lt(tmem_content_move(&contents, id, place), 0);
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, false);
	ck_assert_uint_eq(place_of(id), place);
	assert_page(id, 1);
	ck_assert_uint_eq(tmem_content_meta(&contents, id)->refs, 1);
	tmem_content_drop(&contents, id);
}
END_TEST

START_TEST(a_new_content_without_a_slot_leaves_no_record)
{
	const struct tmem_content_spec spec = {
		.codec = TMEM_CODEC_RAW, .size = TMEM_PAGE_SIZE, .bytes = ""};
	uint32_t id = 77;

	tmem_fault_arm(TMEM_FAULT_SLAB, 1, true);
	ck_assert_int_lt(tmem_content_new(&contents, &spec, &id), 0);
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, false);
	tmem_fault_arm(TMEM_FAULT_TABLE, 1, true);
	ck_assert_int_lt(tmem_content_new(&contents, &spec, &id), 0);
	tmem_fault_arm(TMEM_FAULT_TABLE, 0, false);
	ck_assert_uint_eq(id, 77);
	ck_assert_uint_eq(contents.table.used, 0);
}
END_TEST

START_TEST(the_last_reader_frees_what_no_handle_names)
{
	uint32_t id = new_content(TMEM_PAGE_SIZE, 5);

	tmem_content_pin(&contents, id);
	tmem_content_pin(&contents, id);
	tmem_content_drop(&contents, id);
	assert_page(id, 5);
	tmem_content_unpin(&contents, id);
	ck_assert(tmem_table_used(&contents.table, id));
	tmem_content_unpin(&contents, id);
	ck_assert(!tmem_table_used(&contents.table, id));
}
END_TEST

static void *unpin(void *id)
{
	tmem_content_unpin(&contents, *(uint32_t *)id);
	return NULL;
}

/* Were a reader to wait for the dedup table, the thread would never end. */
START_TEST(the_last_reader_does_not_wait_for_the_dedup_table)
{
	struct tmem_dedup_part *part = &contents.dedup.part[5];
	uint8_t page[TMEM_PAGE_SIZE] = {1};
	const struct tmem_content_spec spec = {
		.kind = TMEM_EPHEMERAL,
		.domain = 1,
		.hash = 5,
		.codec = TMEM_CODEC_RAW,
		.size = TMEM_PAGE_SIZE,
		.bytes = page,
	};
	uint32_t id[TMEM_DEDUP_LATE];
	pthread_t thread;

	for (unsigned i = 0; i < TMEM_DEDUP_LATE; i++) {
		page[1] = (uint8_t)i;
		ck_assert_int_eq(tmem_content_new(&contents, &spec, &id[i]), 0);
		tmem_content_pin(&contents, id[i]);
		tmem_content_drop(&contents, id[i]);
	}
	tmem_lock_acquire(&part->lock);
	for (unsigned i = 0; i < TMEM_DEDUP_LATE; i++) {
		ck_assert_int_eq(pthread_create(&thread, NULL, unpin, &id[i]),
				 0);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
	}
	ck_assert_uint_eq(contents.table.used, TMEM_DEDUP_LATE);
	tmem_lock_release(&part->lock);
	/* Whoever had the lock next does what they left. */
	page[1] = TMEM_DEDUP_LATE;
	ck_assert_uint_eq(tmem_dedup_find(&contents, page, spec.hash, spec.kind,
					  spec.domain),
			  0);
	ck_assert_uint_eq(contents.table.used, 0);
}
END_TEST

/* Many threads drop contents of one part of the table at once. */
#define DROPPERS 4
static void *make_and_drop(void *ctx)
{
	uint8_t page[TMEM_PAGE_SIZE] = {*(uint8_t *)ctx};
	struct tmem_content_spec spec = {
		.kind = TMEM_EPHEMERAL,
		.domain = 1,
		.codec = TMEM_CODEC_RAW,
		.size = TMEM_PAGE_SIZE,
		.bytes = page,
	};

	for (unsigned i = 0; i < 20000; i++) {
		uint32_t id;

		spec.hash = TMEM_DEDUP_PARTS * i;
		if (tmem_content_new(&contents, &spec, &id) < 0)
			return ctx;
		tmem_content_pin(&contents, id);
		tmem_content_drop(&contents, id);
		tmem_content_unpin(&contents, id);
	}
	return NULL;
}

START_TEST(what_is_left_to_others_is_done)
{
	pthread_t thread[DROPPERS];
	uint8_t number[DROPPERS];

	for (unsigned i = 0; i < DROPPERS; i++) {
		number[i] = (uint8_t)i;
		ck_assert_int_eq(pthread_create(&thread[i], NULL, make_and_drop,
						&number[i]),
				 0);
	}
	for (unsigned i = 0; i < DROPPERS; i++) {
		void *failed;

		ck_assert_int_eq(pthread_join(thread[i], &failed), 0);
		ck_assert_ptr_null(failed);
	}
	/* No later call is needed for it. */
	ck_assert_uint_eq(contents.table.used, 0);
	ck_assert_uint_eq(contents.dedup.part[0].buckets.count, 0);
}
END_TEST

START_TEST(pins_and_references_do_not_spill_into_each_other)
{
	uint32_t id = new_content(TMEM_PAGE_SIZE, 5);
	_Atomic(uint32_t) *refs = &tmem_content_meta(&contents, id)->refs;
	uint32_t pins = 0;

	while (tmem_content_try_pin(&contents, id))
		pins++;
	/* All but one: with the last it would be compaction's. */
	ck_assert_uint_eq(pins, (TMEM_PINS_MASK >> 20) - 1);
	ck_assert_uint_eq(tmem_content_refs(&contents, id), 1);
	while (--pins)
		tmem_content_unpin(&contents, id);
	atomic_fetch_add(refs, TMEM_REFS_MAX - 1);
	ck_assert(!tmem_content_keep(&contents, id));
	ck_assert_uint_eq(atomic_load(refs), TMEM_PIN_ONE | TMEM_REFS_MAX);
	atomic_fetch_sub(refs, TMEM_REFS_MAX - 1);
	ck_assert(tmem_content_keep(&contents, id));
	ck_assert_uint_eq(atomic_load(refs), 2);
	tmem_content_drop(&contents, id);
	tmem_content_drop(&contents, id);
}
END_TEST

START_TEST(bytes_that_do_not_decode_are_no_page)
{
	uint32_t id = new_content(100, 0xff);
	uint8_t page[TMEM_PAGE_SIZE];

	tmem_content_pin(&contents, id);
	ck_assert_int_eq(tmem_content_read(&contents, id, page), -EBADMSG);
	ck_assert_uint_eq(contents.decode_errors, 1);
	tmem_content_unpin(&contents, id);
	tmem_content_drop(&contents, id);
}
END_TEST

START_TEST(a_word_keeps_its_fields_apart)
{
	const struct tmem_content_word words[] = {
		{.place = (UINT64_C(1) << 36) - 1,
		 .size = 1,
		 .codec = TMEM_CODEC_LZ4,
		 .kind = TMEM_EPHEMERAL},
		{.size = 4096,
		 .codec = TMEM_CODEC_RAW,
		 .kind = TMEM_PERSISTENT,
		 .domain = 4095},
		{.codec = TMEM_CODEC_FILL, .domain = 1},
		{.place = 1, .size = 2, .codec = TMEM_CODEC_ZSTD, .domain = 4},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct tmem_content_word w =
			tmem_word_unpack(tmem_word_pack(words[i]));

		ck_assert_uint_eq(w.place, words[i].place);
		ck_assert_uint_eq(w.size, words[i].size);
		ck_assert_int_eq(w.codec, words[i].codec);
		ck_assert_int_eq(w.kind, words[i].kind);
		ck_assert_uint_eq(w.domain, words[i].domain);
	}
}
END_TEST

static atomic_bool stop;

static void *read_over_and_over(void *arg)
{
	uint32_t id = *(uint32_t *)arg;

	while (!atomic_load(&stop)) {
		tmem_content_pin(&contents, id);
		assert_page(id, 9);
		tmem_content_unpin(&contents, id);
		/* Compaction leaves alone what is read all the time. */
		sched_yield();
	}
	return NULL;
}

START_TEST(readers_see_whole_pages_while_they_move)
{
	uint32_t id = new_content(TMEM_PAGE_SIZE, 9);
	unsigned moved = 0;
	pthread_t thread[3];

	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL,
						read_over_and_over, &id),
				 0);
	while (moved < 100) {
		int r = tmem_content_move(&contents, id, place_of(id));
		uint32_t scribble = new_content(TMEM_PAGE_SIZE, 1);

		/* Into the slot that was left. */
		tmem_content_drop(&contents, scribble);
		ck_assert(r == 0 || r == -EAGAIN);
		moved += r == 0;
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	tmem_content_drop(&contents, id);
}
END_TEST

/* Recode a content of value to zstd. */
static int recode(uint32_t id, uint8_t value)
{
	uint8_t page[TMEM_PAGE_SIZE], out[TMEM_PAGE_SIZE];
	size_t size;

	memset(page, value, sizeof(page));
	size = tmem_codec_compress(codecs, TMEM_CODEC_ZSTD, page, out);
	ck_assert_uint_gt(size, 0);
	return tmem_content_recode(&contents, id, TMEM_CODEC_ZSTD, out,
				   (uint32_t)size);
}

START_TEST(a_recoded_content_reads_the_same)
{
	uint32_t id = new_content(TMEM_PAGE_SIZE, 3);
	uint64_t place = place_of(id);

	tmem_content_pin(&contents, id);
	ck_assert_int_eq(recode(id, 3), 0);
	assert_page(id, 3);
	ck_assert_int_eq(tmem_content_load(&contents, id).codec,
			 TMEM_CODEC_ZSTD);
	ck_assert_uint_eq(contents.held[TMEM_CODEC_RAW], 0);
	ck_assert_uint_eq(contents.held[TMEM_CODEC_ZSTD], 1);
	ck_assert_uint_eq(tmem_slab_owner(slabs, place), 0);
	ck_assert_uint_eq(tmem_content_meta(&contents, id)->refs,
			  TMEM_PIN_ONE + 1);
	tmem_content_unpin(&contents, id);
	tmem_content_drop(&contents, id);
	ck_assert_uint_eq(contents.held[TMEM_CODEC_ZSTD], 0);
}
END_TEST

START_TEST(a_content_that_others_read_is_not_recoded)
{
	uint32_t id = new_content(TMEM_PAGE_SIZE, 3);
	uint64_t place = place_of(id);
	struct tmem_slab_stats stats;

	tmem_content_pin(&contents, id);
	tmem_content_pin(&contents, id);
	ck_assert_int_eq(recode(id, 3), -EAGAIN);
	ck_assert_uint_eq(place_of(id), place);
	assert_page(id, 3);
	tmem_slab_stats(slabs, &stats);
	ck_assert_uint_eq(stats.used_slots, 1);
	tmem_content_unpin(&contents, id);
	ck_assert_int_eq(recode(id, 3), 0);
	tmem_content_unpin(&contents, id);
	tmem_content_drop(&contents, id);
}
END_TEST

START_TEST(without_a_smaller_slot_a_content_keeps_its_codec)
{
	uint32_t id = new_content(TMEM_PAGE_SIZE, 3);
	uint64_t place = place_of(id);
	uint8_t bytes[TMEM_CODEC_MOST] = {0};
	struct tmem_slab_stats stats;

	tmem_content_pin(&contents, id);
	tmem_fault_arm(TMEM_FAULT_SLAB, 1, true);
	ck_assert_int_eq(recode(id, 3), -ENOMEM);
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, false);
	/* Free slots of raw pages there are, and no room for other slabs. */
	budget.limit = budget.used;
	ck_assert_int_eq(tmem_content_recode(&contents, id, TMEM_CODEC_ZSTD,
					     bytes, 3700),
			 -ENOMEM);
	budget.limit = 64 << 20;
	ck_assert_uint_eq(place_of(id), place);
	assert_page(id, 3);
	tmem_slab_stats(slabs, &stats);
	ck_assert_uint_eq(stats.used_slots, 1);
	tmem_content_unpin(&contents, id);
	tmem_content_drop(&contents, id);
}
END_TEST

START_TEST(a_content_given_up_while_it_was_recoded_goes_with_the_pin)
{
	uint32_t id = new_content(TMEM_PAGE_SIZE, 3);

	tmem_content_pin(&contents, id);
	tmem_content_drop(&contents, id);
	ck_assert_int_eq(recode(id, 3), 0);
	ck_assert(tmem_table_used(&contents.table, id));
	tmem_content_unpin(&contents, id);
	ck_assert(!tmem_table_used(&contents.table, id));
}
END_TEST

START_TEST(readers_see_whole_pages_while_they_are_recoded)
{
	uint32_t id[64];
	pthread_t thread[3];

	for (unsigned i = 0; i < 64; i++) {
		unsigned tries = 0;
		int r;

		id[i] = new_content(TMEM_PAGE_SIZE, 9);
		atomic_store(&stop, false);
		for (unsigned t = 0; t < 3; t++)
			ck_assert_int_eq(pthread_create(&thread[t], NULL,
							read_over_and_over,
							&id[i]),
					 0);
		do {
			tmem_content_pin(&contents, id[i]);
			r = recode(id[i], 9);
			tmem_content_unpin(&contents, id[i]);
			ck_assert(r == 0 || r == -EAGAIN);
			sched_yield();
		} while (r == -EAGAIN && tries++ < 100000);
		ck_assert_int_eq(r, 0);
		/* Into the slot that was left. */
		tmem_content_drop(&contents, new_content(TMEM_PAGE_SIZE, 1));
		atomic_store(&stop, true);
		for (unsigned t = 0; t < 3; t++)
			pthread_join(thread[t], NULL);
		tmem_content_drop(&contents, id[i]);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_pinned_content_is_not_moved,
		a_content_that_is_gone_or_elsewhere_is_not_moved,
		without_a_slot_a_content_stays_where_it_is,
		a_new_content_without_a_slot_leaves_no_record,
		the_last_reader_frees_what_no_handle_names,
		the_last_reader_does_not_wait_for_the_dedup_table,
		what_is_left_to_others_is_done,
		pins_and_references_do_not_spill_into_each_other,
		bytes_that_do_not_decode_are_no_page,
		a_word_keeps_its_fields_apart,
		readers_see_whole_pages_while_they_move,
		a_recoded_content_reads_the_same,
		a_content_that_others_read_is_not_recoded,
		without_a_smaller_slot_a_content_keeps_its_codec,
		a_content_given_up_while_it_was_recoded_goes_with_the_pin,
		readers_see_whole_pages_while_they_are_recoded,
	};

	return scene_run_between("content", setup, teardown, tests,
				 sizeof(tests) / sizeof(tests[0]));
}
