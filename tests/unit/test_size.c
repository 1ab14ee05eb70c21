/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes and uuids as text.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "size.h"
#include "uuid.h"

#define GIB (1ull << 30)

static const struct {
	const char *text;
	int result;
	uint64_t bytes;
} sizes[] = {
	{"0", 0, 0},
	{"4096", 0, 4096},
	{"4096B", 0, 4096},
	{"4k", 0, 4096},
	{"64M", 0, 64ull << 20},
	{"64MB", 0, 64ull << 20},
	{"64 MiB", 0, 64ull << 20},
	{"1.5G", 0, GIB + GIB / 2},
	{"0.5K", 0, 512},
	{"1T", 0, GIB << 10},
	{"18446744073709551615", 0, UINT64_MAX},
	{"18446744073709551616", -ERANGE, 0},
	{"99999999T", -ERANGE, 0},
	{"", -EINVAL, 0},
	{" 1", -EINVAL, 0},
	{"-1", -EINVAL, 0},
	{"+1", -EINVAL, 0},
	{"0x10", -EINVAL, 0},
	{".5G", -EINVAL, 0},
	{"1.G", -EINVAL, 0},
	{"1.5", -EINVAL, 0},
	{"1.5B", -EINVAL, 0},
	{"1.0000000001G", -EINVAL, 0},
	{"1X", -EINVAL, 0},
	{"1iB", -EINVAL, 0},
	{"1Mi", -EINVAL, 0},
	{"1MM", -EINVAL, 0},
	{"1M ", -EINVAL, 0},
	{"1  M", -EINVAL, 0},
	{"25%", -EINVAL, 0},
};

START_TEST(size_is_read)
{
	uint64_t bytes = 42;

	ck_assert_int_eq(tmem_size_parse(sizes[_i].text, &bytes),
			 sizes[_i].result);
	ck_assert_uint_eq(bytes, sizes[_i].result == 0 ? sizes[_i].bytes : 42);
}
END_TEST

static const struct {
	uint64_t bytes;
	const char *text;
} formats[] = {
	{0, "0"},
	{1023, "1023"},
	{1024, "1.0K"},
	{1536, "1.5K"},
	{100 << 10, "100K"},
	{GIB, "1.0G"},
	{1023ull << 20, "1023M"},
	{UINT64_MAX, "16777216T"},
};

START_TEST(size_is_written)
{
	char text[TMEM_SIZE_TEXT];

	ck_assert_str_eq(tmem_size_format(formats[_i].bytes, text),
			 formats[_i].text);
}
END_TEST

START_TEST(uuid_survives_text)
{
	static const char text[] = "00112233-4455-6677-8899-aabbccddeeff";
	struct tmem_uuid uuid;
	char again[TMEM_UUID_TEXT];

	ck_assert_int_eq(tmem_uuid_parse(text, &uuid), 0);
	ck_assert_uint_eq(uuid.byte[0], 0x00);
	ck_assert_uint_eq(uuid.byte[10], 0xaa);
	ck_assert_str_eq(tmem_uuid_format(&uuid, again), text);
	ck_assert_int_eq(
		tmem_uuid_parse("00112233445566778899AABBCCDDEEFF", &uuid), 0);
	ck_assert_str_eq(tmem_uuid_format(&uuid, again), text);
}
END_TEST

static const char *const bad_uuids[] = {
	"",
	"-",
	"00112233-4455-6677-8899-aabbccddeef",
	"00112233-4455-6677-8899-aabbccddeeff0",
	"00112233-4455-6677-8899-aabbccddeeff-",
	"-00112233-4455-6677-8899-aabbccddeeff",
	"00112233--4455-6677-8899-aabbccddeeff",
	"g0112233-4455-6677-8899-aabbccddeeff",
	"00112233 4455 6677 8899 aabbccddeeff",
};

START_TEST(uuid_that_is_none_is_refused)
{
	struct tmem_uuid uuid;

	memset(&uuid, 0x5a, sizeof(uuid));
	ck_assert_int_eq(tmem_uuid_parse(bad_uuids[_i], &uuid), -EINVAL);
	ck_assert_uint_eq(uuid.byte[0], 0x5a);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("size");
	TCase *tcase = tcase_create("size");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tcase, size_is_read, 0,
			    sizeof(sizes) / sizeof(*sizes));
	tcase_add_loop_test(tcase, size_is_written, 0,
			    sizeof(formats) / sizeof(*formats));
	tcase_add_test(tcase, uuid_survives_text);
	tcase_add_loop_test(tcase, uuid_that_is_none_is_refused, 0,
			    sizeof(bad_uuids) / sizeof(*bad_uuids));
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
