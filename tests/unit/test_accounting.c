/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the store says it uses against what the kernel says: the blocks of the
 * arena and the private memory of the process, to within 2 % or 8 MiB, through
 * filling, thinning out, compaction and a shrinking budget.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <tmem/client.h>
#include <tmem/stats.h>
#include <tmem/store.h>
#include "arena-file.h"
#include "pages.h"
#include "random.h"
#include "sanitizer.h"

#define MIB   (1ull << 20)
#define PAGES 120000u

static struct tmem_store *store;
static struct tmem_client *client;
static struct tmem_pool *pool;
static int fd;
static uint64_t before; /* private memory without the store */

/* Resident, of the process alone, bytes. */
static uint64_t private_memory(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	unsigned long long kib = 0;
	char line[256];

	ck_assert_ptr_nonnull(status);
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
			break;
	fclose(status);
	ck_assert_uint_gt(kib, 0);
	return kib << 10;
}

static uint64_t stat_of(enum tmem_host_stat stat)
{
	uint64_t values[TMEM_HOST_STAT_COUNT];

	tmem_store_stats(store, values);
	return values[stat];
}

static void expect_agreement(const char *when)
{
	uint64_t said = stat_of(TMEM_HOST_STAT_used), is, off;
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	is = (uint64_t)st.st_blocks * 512 + private_memory() - before;
	off = said > is ? said - is : is - said;
	ck_assert_msg(off <= is / 50 || off <= 8 * MIB,
		      "%s: the store says %llu, the kernel %llu", when,
		      (unsigned long long)said, (unsigned long long)is);
	ck_assert_int_eq(tmem_store_check(store, stderr), 0);
}

static void setup(void)
{
	struct tmem_client_config who = {.name = "accounting"};
	struct tmem_pool_config what = {.name = "pages",
					.flags = TMEM_POOL_PERSISTENT};
	struct tmem_store_config config;
	int own = test_arena_memfd();

	test_pages_init();
	fd = dup(own);
	before = private_memory();
	tmem_store_config_init(&config);
	config.nursery = 0;
	config.threads = 0;
	config.budget = config.capacity = 256 * MIB;
	config.arena_fd = own;
	ck_assert_int_eq(tmem_store_open(&config, &store), 0);
	ck_assert_int_eq(tmem_client_new_local(store, &who, &client), 0);
	ck_assert_int_eq(tmem_pool_new(client, &what, &pool), 0);
}

static void teardown(void)
{
	tmem_pool_free(pool);
	tmem_client_free(client);
	tmem_store_close(store);
	close(fd);
}

/* A thousand pages an object, in objects that lie in all shards. */
static struct tmem_oid oid_of(uint32_t n)
{
	return (struct tmem_oid){.word = {test_mix(n / 1000), 0, n / 1000}};
}

static unsigned fill(void)
{
	uint8_t page[TMEM_PAGE_SIZE];
	unsigned stored = 0;

	for (uint32_t n = 0; n < PAGES; n++) {
		struct tmem_oid oid = oid_of(n);

		test_page(page, n);
		stored += tmem_put(pool, &oid, n % 1000, page) == TMEM_OK;
	}
	return stored;
}

static void flush_every(uint32_t step)
{
	for (uint32_t n = 0; n < PAGES; n += step) {
		struct tmem_oid oid = oid_of(n);

		tmem_flush(pool, &oid, n % 1000);
	}
}

START_TEST(the_store_and_the_kernel_agree)
{
	expect_agreement("empty");
	ck_assert_uint_gt(fill(), PAGES / 4);
	expect_agreement("full");
	ck_assert_uint_le(stat_of(TMEM_HOST_STAT_used), 256 * MIB);
	flush_every(2);
	expect_agreement("thinned out");
	tmem_store_compact(store);
	expect_agreement("compacted");
	flush_every(3);
	ck_assert_int_eq(tmem_store_set_budget(store, 128 * MIB), 0);
	ck_assert_uint_le(stat_of(TMEM_HOST_STAT_used), 128 * MIB);
	expect_agreement("under a smaller budget");
	flush_every(1);
	ck_assert_int_eq(tmem_store_set_budget(store, 8 * MIB), 0);
	expect_agreement("empty again");
	ck_assert_uint_lt(stat_of(TMEM_HOST_STAT_used), 8 * MIB);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("accounting");
	TCase *tc = tcase_create("accounting");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 0); /* meson has one */
	/* A sanitizer's own memory is all over the process's. */
#if !TEST_ASAN && !TEST_TSAN
	tcase_add_test(tc, the_store_and_the_kernel_agree);
#else
	(void)the_store_and_the_kernel_agree;
#endif
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
