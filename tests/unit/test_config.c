/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemd's configuration: every wrong value is refused with the file, the line
 * and what would be right.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include "config.h"
#include "options.h"

static char path[] = "/tmp/tmem-test-config.XXXXXX";
static struct tmemd_config config;
static char error[TMEMD_ERROR_MAX];

static void setup(void)
{
	int fd;

	strcpy(path + strlen(path) - 6, "XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	tmemd_config_init(&config);
	*error = '\0';
}

static void teardown(void)
{
	tmemd_config_deinit(&config);
	unlink(path);
}

static int read_text(const char *text, size_t size)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(text, 1, size, file), size);
	ck_assert_int_eq(fclose(file), 0);
	return tmemd_config_read(&config, path, error);
}

START_TEST(every_key_is_read)
{
	static const char text[] = "# a comment\n"
				   "\n"
				   "budget = 2G\n"
				   "  capacity=8G  \n"
				   "arena = /run/arena dir\n"
				   "codec = zstd\n"
				   "nursery = 64M\n"
				   "threads = 3\n"
				   "cold = off\n"
				   "socket = /run/x.sock\n"
				   "group = tmem\n"
				   "grace = 5\n"
				   "log-level = debug\n";

	ck_assert_int_eq(read_text(text, strlen(text)), 0);
	ck_assert_uint_eq(config.budget.bytes, 2ull << 30);
	ck_assert_uint_eq(config.capacity, 8ull << 30);
	ck_assert_str_eq(config.arena, "/run/arena dir");
	ck_assert_int_eq(config.codec, TMEM_CODEC_ZSTD);
	ck_assert_uint_eq(config.nursery, 64 << 20);
	ck_assert_uint_eq(config.threads, 3);
	ck_assert(config.no_cold);
	ck_assert_str_eq(config.socket, "/run/x.sock");
	ck_assert_str_eq(config.group, "tmem");
	ck_assert_uint_eq(config.grace, 5);
	ck_assert_int_eq(config.log_level, LOG_DEBUG);
}
END_TEST

START_TEST(share_replaces_size)
{
	static const char text[] = "budget = 2G\nbudget = 40%";

	ck_assert_int_eq(read_text(text, strlen(text)), 0);
	ck_assert_uint_eq(config.budget.bytes, 0);
	ck_assert_uint_eq(config.budget.percent, 40);
}
END_TEST

static const struct {
	const char *text;
	unsigned line;
	const char *value;  /* named in the message */
	const char *remedy; /* likewise */
} wrong[] = {
	{"budget = lots\n", 1, "lots", "such as 2G"},
	{"\n\nbudget = 0%\n", 3, "0%", "1% to 100%"},
	{"budget = 101%\n", 1, "101%", "1% to 100%"},
	{"budget = -5%\n", 1, "-5%", "such as 2G"},
	{"budget = 1M\n", 1, "1M", "at least 4M"},
	{"budget =\n", 1, "", "such as 2G"},
	{"capacity = 2T\n", 1, "2T", "1T"},
	{"capacity = 1k\n", 1, "1k", "from 4M"},
	{"arena = relative\n", 1, "relative", "absolute path"},
	{"codec = gzip\n", 1, "gzip", "lz4, lzo, zstd or raw"},
	{"nursery = much\n", 1, "much", "64M, 0 or auto"},
	{"threads = 65\n", 1, "65", "0 to 64, or auto"},
	{"threads = few\n", 1, "few", "0 to 64, or auto"},
	{"cold = lz4\n", 1, "lz4", "zstd or off"},
	{"codec = ?\n", 1, "?", "lz4, lzo, zstd or raw"},
	{"socket = x\n", 1, "x", "absolute path"},
	{"group =\n", 1, "empty", "a group's name"},
	{"grace = -1\n", 1, "-1", "seconds from 0"},
	{"log-level = loud\n", 1, "loud", "debug"},
	{"budget = 1G\ncolour = red\n", 2, "colour", "budget, capacity"},
	{"budget 1G\n", 1, "budget 1G", "key = value"},
	{"[clients]\n", 1, "section", "[client NAME]"},
	{"[client a/b]\n", 1, "section", "[client NAME]"},
	{"[client a b]\n", 1, "section", "[client NAME]"},
	{"[client ]\n", 1, "section", "[client NAME]"},
	{"[client web\n", 1, "section", "[client NAME]"},
	{"[\n", 1, "section", "[client NAME]"},
	{"[client web]\nweight = 0\n", 2, "0", "1 to 10000"},
	{"[client web]\nweight = 10001\n", 2, "10001", "1 to 10000"},
	{"[client web]\nweight = +1\n", 2, "+1", "1 to 10000"},
	{"[client web]\ncap = x\n", 2, "x", "such as 64M"},
	{"[client web]\nmaxmem = x\n", 2, "x", "such as 1G"},
	{"[client web]\ncompress = fill\n", 2, "fill", "lz4, lzo or zstd"},
	{"[client web]\ndedup = maybe\n", 2, "maybe", "auto, on or off"},
	{"[client web]\nuid = nobody-there\n", 2, "nobody-there", "number"},
	{"[client web]\nuid = 4294967295\n", 2, "4294967295", "number"},
	{"[client web]\ndomain = a/b\n", 2, "a/b", "a label"},
	{"[client web]\ndomain =\n", 2, "", "a label"},
	{"[client web]\nbudget = 1G\n", 2, "budget", "uid, domain"},
};

START_TEST(wrong_line_is_named_with_a_remedy)
{
	char place[128];

	ck_assert_int_eq(read_text(wrong[_i].text, strlen(wrong[_i].text)),
			 -EINVAL);
	snprintf(place, sizeof(place), "%s:%u: ", path, wrong[_i].line);
	ck_assert_msg(strncmp(error, place, strlen(place)) == 0, "%s", error);
	ck_assert_msg(strstr(error, wrong[_i].value) != NULL, "%s", error);
	ck_assert_msg(strstr(error, wrong[_i].remedy) != NULL, "%s", error);
}
END_TEST

START_TEST(binary_file_is_refused)
{
	static const char text[] = "budget = 1G\nbud\0get";

	ck_assert_int_eq(read_text(text, sizeof(text)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, ":2: "));
}
END_TEST

START_TEST(endless_values_are_refused)
{
	static char text[100000];

	memset(text, 'x', sizeof(text));
	text[0] = '[';
	text[sizeof(text) - 1] = '\n';
	ck_assert_int_eq(read_text(text, sizeof(text)), -EINVAL);
	memcpy(text, "arena = r", 9);
	ck_assert_int_eq(read_text(text, sizeof(text)), -EINVAL);
}
END_TEST

START_TEST(missing_file_is_told_apart)
{
	unlink(path);
	ck_assert_int_eq(tmemd_config_read(&config, path, error), -ENOENT);
}
END_TEST

START_TEST(later_rules_win_and_users_are_told_apart)
{
	static const char text[] = "[client *]\n"
				   "weight = 50\n"
				   "dedup = off\n"
				   "[client web]\n"
				   "weight = 200\n"
				   "domain = tenant\n"
				   "[client web]\n"
				   "uid = 1234\n"
				   "cap = 64M\n"
				   "compress = off\n";
	struct tmem_client_settings settings;
	const char *domain = NULL;

	ck_assert_int_eq(read_text(text, strlen(text)), 0);
	tmemd_config_client(&config, "other", 0, &domain, &settings);
	ck_assert_ptr_null(domain);
	ck_assert_uint_eq(settings.set, TMEM_SET_WEIGHT | TMEM_SET_DEDUP);
	ck_assert_uint_eq(settings.weight, 50);
	ck_assert_int_eq(settings.dedup, TMEM_DEDUP_OFF);
	tmemd_config_client(&config, "web", 0, &domain, &settings);
	ck_assert_str_eq(domain, "tenant");
	ck_assert_uint_eq(settings.weight, 200);
	ck_assert_uint_eq(settings.set & TMEM_SET_CAP, 0);
	tmemd_config_client(&config, "web", 1234, &domain, &settings);
	ck_assert_uint_eq(settings.cap, 64u << 20);
	ck_assert_int_eq(settings.codec, TMEM_CODEC_RAW);
}
END_TEST

START_TEST(settings_survive_words)
{
	static const char *const words[] = {"123", "1048576", "0", "off", "on"};
	struct tmem_client_settings settings = {0};
	char text[TMEMD_SETTING_MAX];
	const char *key;

	for (size_t i = 0; (key = tmemd_setting_key(i)) != NULL; i++) {
		ck_assert_int_eq(
			tmemd_setting_parse(&settings, key, words[i], error),
			0);
		ck_assert_str_eq(tmemd_setting_format(&settings, i, text),
				 words[i]);
	}
}
END_TEST

/* Options that follow the program's name. */
static int run_options(char **argv, struct tmemd_options *options)
{
	int argc = 0;

	while (argv[argc] != NULL)
		argc++;
	return tmemd_options_parse(options, argc, argv);
}

START_TEST(option_wins_over_file)
{
	static const char text[] = "budget = 1G\nsocket = /run/file.sock\n";
	char *argv[] = {"tmemd", "--config", path, "--budget=2G", NULL};
	struct tmemd_options options;

	ck_assert_int_eq(read_text(text, strlen(text)), 0);
	tmemd_config_deinit(&config);
	ck_assert_int_eq(run_options(argv, &options), TMEMD_OPTIONS_RUN);
	ck_assert_int_eq(tmemd_options_config(&options, &config, error), 0);
	ck_assert_uint_eq(config.budget.bytes, 2ull << 30);
	ck_assert_str_eq(config.socket, "/run/file.sock");
	ck_assert_str_eq(config.arena, "auto");
}
END_TEST

START_TEST(wrong_option_is_named)
{
	char *argv[] = {"tmemd", "--config", path, "--budget=some", NULL};
	struct tmemd_options options;

	ck_assert_int_eq(run_options(argv, &options), TMEMD_OPTIONS_RUN);
	ck_assert_int_eq(tmemd_options_config(&options, &config, error),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "--budget: "));
	ck_assert_ptr_nonnull(strstr(error, "some"));
	tmemd_config_init(&config);
}
END_TEST

START_TEST(file_that_was_named_must_be_there)
{
	char *argv[] = {"tmemd", "--config", path, NULL};
	struct tmemd_options options;

	unlink(path);
	ck_assert_int_eq(run_options(argv, &options), TMEMD_OPTIONS_RUN);
	ck_assert_int_eq(tmemd_options_config(&options, &config, error),
			 -ENOENT);
	ck_assert_ptr_nonnull(strstr(error, path));
	tmemd_config_init(&config);
}
END_TEST

START_TEST(budget_beyond_capacity_is_refused)
{
	char *argv[] = {"tmemd", "--config=/dev/null", "--budget=2G",
			"--capacity=1G", NULL};
	struct tmemd_options options;

	ck_assert_int_eq(run_options(argv, &options), TMEMD_OPTIONS_RUN);
	ck_assert_int_eq(tmemd_options_config(&options, &config, error),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "raise capacity"));
	tmemd_config_init(&config);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tcase = tcase_create("config");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, every_key_is_read);
	tcase_add_test(tcase, share_replaces_size);
	tcase_add_loop_test(tcase, wrong_line_is_named_with_a_remedy, 0,
			    sizeof(wrong) / sizeof(*wrong));
	tcase_add_test(tcase, binary_file_is_refused);
	tcase_add_test(tcase, endless_values_are_refused);
	tcase_add_test(tcase, missing_file_is_told_apart);
	tcase_add_test(tcase, later_rules_win_and_users_are_told_apart);
	tcase_add_test(tcase, settings_survive_words);
	tcase_add_test(tcase, option_wins_over_file);
	tcase_add_test(tcase, wrong_option_is_named);
	tcase_add_test(tcase, file_that_was_named_must_be_there);
	tcase_add_test(tcase, budget_beyond_capacity_is_refused);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
