/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codecs: every page comes back, what does not shrink is left raw, damaged
 * bytes are an error and never a write out of bounds.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "codec.h"
#include "fault.h"
#include "lock.h"
#include "random.h"

static const enum tmem_codec compressing[] = {TMEM_CODEC_LZ4, TMEM_CODEC_LZO,
					      TMEM_CODEC_ZSTD};
static struct tmem_codecs *codecs;

static void setup(void)
{
	ck_assert_int_eq(tmem_codecs_new(UINT64_MAX, &codecs), 0);
}

static void teardown(void)
{
	codecs = tmem_codecs_free(codecs);
}

/* Random words of a vocabulary: the smaller, the better it compresses. */
static void make_page(struct test_random *random, unsigned words,
		      uint32_t page[TMEM_PAGE_SIZE / 4])
{
	for (unsigned i = 0; i < TMEM_PAGE_SIZE / 4; i++)
		page[i] = (uint32_t)test_mix(test_random_below(random, words));
}

START_TEST(pages_come_back)
{
	enum tmem_codec codec = compressing[_i];
	struct test_random random;
	uint32_t page[1024], got[1024];
	uint8_t out[TMEM_PAGE_SIZE];
	unsigned held = 0;

	test_random_init(&random, test_seed());
	for (unsigned words = 2; words < 900; words++) {
		size_t n;

		make_page(&random, words, page);
		n = tmem_codec_compress(codecs, codec, page, out);
		ck_assert_uint_le(n, TMEM_CODEC_MOST);
		if (n == 0)
			continue;
		held++;
		memset(got, 0xaa, sizeof(got));
		ck_assert_int_eq(
			tmem_codec_decompress(codecs, codec, out, n, got), 0);
		ck_assert_mem_eq(page, got, sizeof(page));
	}
	ck_assert_uint_gt(held, 50);
}
END_TEST

START_TEST(random_bytes_are_left_raw)
{
	uint8_t page[TMEM_PAGE_SIZE], out[TMEM_PAGE_SIZE];
	struct test_random random;

	test_random_init(&random, test_seed());
	for (int i = 0; i < 100; i++) {
		test_random_bytes(&random, page, sizeof(page));
		ck_assert_uint_eq(
			tmem_codec_compress(codecs, compressing[_i], page, out),
			0);
	}
}
END_TEST

START_TEST(damage_is_an_error_or_another_page)
{
	enum tmem_codec codec = compressing[_i];
	struct test_random random;
	uint32_t page[1024];
	uint8_t out[TMEM_PAGE_SIZE], *exact, *got;
	size_t n;

	test_random_init(&random, test_seed());
	/* On the heap, for sanitizers to see what passes an end. */
	got = malloc(TMEM_PAGE_SIZE);
	make_page(&random, 20, page);
	n = tmem_codec_compress(codecs, codec, page, out);
	ck_assert_uint_gt(n, 0);
	exact = malloc(n);
	for (int i = 0; i < 20000; i++) {
		size_t size = 1 + test_random_below(&random, n);
		int r;

		memcpy(exact, out, n);
		exact[test_random_below(&random, size)] ^=
			(uint8_t)(1 + test_random_below(&random, 255));
		r = tmem_codec_decompress(codecs, codec, exact, size, got);
		ck_assert(r == 0 || r == -EBADMSG);
	}
	for (size_t size = 0; size < n; size++)
		ck_assert_int_eq(
			tmem_codec_decompress(codecs, codec, out, size, got),
			-EBADMSG);
	free(exact);
	free(got);
}
END_TEST

START_TEST(raw_is_a_whole_page)
{
	uint8_t page[TMEM_PAGE_SIZE], got[TMEM_PAGE_SIZE];

	memset(page, 0x5c, sizeof(page));
	ck_assert_int_eq(tmem_codec_decompress(codecs, TMEM_CODEC_RAW, page,
					       TMEM_PAGE_SIZE, got),
			 0);
	ck_assert_mem_eq(page, got, sizeof(page));
	ck_assert_int_eq(tmem_codec_decompress(codecs, TMEM_CODEC_RAW, page,
					       TMEM_PAGE_SIZE - 1, got),
			 -EBADMSG);
}
END_TEST

START_TEST(numbers_that_are_no_codec)
{
	static const unsigned bad[] = {TMEM_CODEC_NONE, TMEM_CODEC_FILL,
				       TMEM_CODEC_COUNT, 255, UINT32_MAX};
	uint8_t page[TMEM_PAGE_SIZE] = {0}, out[TMEM_PAGE_SIZE];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_uint_eq(
			tmem_codec_compress(codecs, bad[i], page, out), 0);
		ck_assert_int_eq(
			tmem_codec_decompress(codecs, bad[i], page, 100, out),
			-EBADMSG);
	}
	ck_assert_str_eq(tmem_codec_name(TMEM_CODEC_LZ4), "lz4");
	ck_assert_str_eq(tmem_codec_name(TMEM_CODEC_LZO), "lzo");
	ck_assert_str_eq(tmem_codec_name(TMEM_CODEC_ZSTD), "zstd");
	ck_assert_str_eq(tmem_codec_name(TMEM_CODEC_RAW), "raw");
	ck_assert_str_eq(tmem_codec_name(TMEM_CODEC_YOUNG + 1), "?");
}
END_TEST

START_TEST(fill_pages_are_told)
{
	uint64_t page[TMEM_PAGE_SIZE / 8], word = 1;

	tmem_page_fill(page, 0x0123456789abcdef);
	ck_assert(tmem_page_is_fill(page, &word));
	ck_assert_uint_eq(word, 0x0123456789abcdef);
	for (unsigned i = 0; i < TMEM_PAGE_SIZE / 8; i++) {
		page[i]++;
		word = 7;
		ck_assert(!tmem_page_is_fill(page, &word));
		ck_assert_uint_eq(word, 7);
		page[i]--;
	}
	memset(page, 0, sizeof(page));
	ck_assert(tmem_page_is_fill(page, &word));
	ck_assert_uint_eq(word, 0);
}
END_TEST

START_TEST(no_memory_is_said)
{
	struct tmem_codecs *other = NULL;

	for (unsigned nth = 1; nth <= 3; nth++) {
		tmem_fault_arm(TMEM_FAULT_MALLOC, nth, false);
		ck_assert_int_eq(tmem_codecs_new(UINT64_MAX, &other), -ENOMEM);
		ck_assert_ptr_null(other);
	}
	ck_assert_uint_gt(tmem_codecs_private(codecs), 100000);
	ck_assert_ptr_null(tmem_codecs_free(NULL));
}
END_TEST

START_TEST(workspaces_stay_within_what_they_may_take)
{
	uint8_t page[TMEM_PAGE_SIZE] = {0}, out[TMEM_PAGE_SIZE];
	struct tmem_codecs *one = NULL, *two = NULL;
	uint64_t each;

	ck_assert_int_eq(tmem_codecs_new(1, &one), 0);
	each = tmem_codecs_private(one);
	ck_assert_int_eq(tmem_codecs_new(2 * each, &two), 0);
	ck_assert_uint_gt(tmem_codecs_private(two), each);
	ck_assert_uint_le(tmem_codecs_private(two), 2 * each);
	ck_assert_uint_gt(tmem_codec_compress(one, TMEM_CODEC_ZSTD, page, out),
			  0);
	ck_assert_ptr_null(tmem_codecs_free(one));
	ck_assert_ptr_null(tmem_codecs_free(two));
}
END_TEST

START_TEST(failing_codec_leaves_raw)
{
	uint8_t page[TMEM_PAGE_SIZE] = {0}, out[TMEM_PAGE_SIZE];

	tmem_fault_arm(TMEM_FAULT_COMPRESS, 1, false);
	ck_assert_uint_eq(
		tmem_codec_compress(codecs, TMEM_CODEC_LZ4, page, out), 0);
	ck_assert_uint_gt(
		tmem_codec_compress(codecs, TMEM_CODEC_LZ4, page, out), 0);
}
END_TEST

static void *round_trips(void *arg)
{
	struct test_random random;
	uint32_t page[1024], got[1024];
	uint8_t out[TMEM_PAGE_SIZE];

	test_random_init(&random, (uintptr_t)arg);
	for (int i = 0; i < 2000; i++) {
		enum tmem_codec codec = compressing[i % 3];
		size_t n;

		make_page(&random, 20, page);
		n = tmem_codec_compress(codecs, codec, page, out);
		ck_assert_uint_gt(n, 0);
		ck_assert_int_eq(
			tmem_codec_decompress(codecs, codec, out, n, got), 0);
		ck_assert_mem_eq(page, got, sizeof(page));
	}
	return NULL;
}

/* More threads than workspaces. */
START_TEST(threads_share_workspaces)
{
	pthread_t thread[12];

	for (uintptr_t i = 0; i < 12; i++)
		pthread_create(&thread[i], NULL, round_trips, (void *)(i + 1));
	for (int i = 0; i < 12; i++)
		pthread_join(thread[i], NULL);
}
END_TEST

int main(void)
{
	const int codec_count = sizeof(compressing) / sizeof(*compressing);
	Suite *suite = suite_create("codec");
	TCase *tc = tcase_create("codec");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 0); /* meson has one */
	tcase_add_loop_test(tc, pages_come_back, 0, codec_count);
	tcase_add_loop_test(tc, random_bytes_are_left_raw, 0, codec_count);
	tcase_add_loop_test(tc, damage_is_an_error_or_another_page, 0,
			    codec_count);
	tcase_add_test(tc, raw_is_a_whole_page);
	tcase_add_test(tc, numbers_that_are_no_codec);
	tcase_add_test(tc, fill_pages_are_told);
	tcase_add_test(tc, no_memory_is_said);
	tcase_add_test(tc, workspaces_stay_within_what_they_may_take);
	tcase_add_test(tc, failing_codec_leaves_raw);
	tcase_add_test(tc, threads_share_workspaces);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
