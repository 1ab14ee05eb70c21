/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store with a reserve takes nothing from the kernel in a put: what is ready
 * is used, what is not is refused, and everything that was stored is there.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include "arena-file.h"
#include "fault.h"
#include "scene.h"
#include "worker.h"

/* As raw pages, a reserve of 16 MiB has room for 4,096. */
#define MANY 4096u

static struct tmem_store *store;
static struct tmem_client *client;
static struct tmem_pool *pool;

static void open_at(int fd, unsigned threads)
{
	store = scene_store_young(32 * MIB, fd, TMEM_NURSERY_AUTO, threads);
	client = scene_client(store, "host", NULL);
	pool = scene_pool(client, "swap", TMEM_POOL_PERSISTENT);
}

static void close_all(void)
{
	tmem_pool_free(pool);
	tmem_client_free(client);
	scene_close(store);
}

START_TEST(a_reserve_is_had_at_once)
{
	uint64_t used;

	open_at(-1, 1);
	ck_assert_int_eq(tmem_store_set_reserve(store, 16 * MIB), 0);
	used = scene_stat(store, TMEM_HOST_STAT_used);
	ck_assert_uint_ge(used, 15 * MIB);
	ck_assert_uint_le(used, 32 * MIB);
	ck_assert_uint_ge(scene_stat(store, TMEM_HOST_STAT_spare_bytes),
			  15 * MIB);
	close_all();
}
END_TEST

START_TEST(what_cannot_be_promised_is_refused)
{
	open_at(-1, 0);
	ck_assert_int_eq(tmem_store_set_reserve(store, 16 * MIB), -EAGAIN);
	close_all();
	open_at(-1, 1);
	ck_assert_int_eq(tmem_store_set_reserve(store, 0), -EINVAL);
	ck_assert_int_eq(tmem_store_set_reserve(store, 32 * MIB), -EINVAL);
	close_all();
}
END_TEST

/* More than there is room for: some are refused, and nothing else is lost. */
START_TEST(pages_come_back_from_a_reserve)
{
	static bool stored[8 * MANY];
	uint32_t kept = 0;

	open_at(-1, 2);
	ck_assert_int_eq(tmem_store_set_reserve(store, 16 * MIB), 0);
	for (uint32_t i = 0; i < 8 * MANY; i++) {
		stored[i] = scene_put(pool, i, i + 1) == TMEM_OK;
		kept += stored[i];
	}
	ck_assert_uint_ge(kept, MANY);
	for (uint32_t i = 0; i < 8 * MANY; i++)
		ck_assert_uint_eq(scene_get(pool, i), stored[i] ? i + 1 : 0);
	ck_assert_uint_le(scene_stat(store, TMEM_HOST_STAT_peak_used),
			  32 * MIB);
	close_all();
}
END_TEST

static uint64_t blocks(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* What was had stays, however much room puts have to make. */
START_TEST(puts_give_nothing_back)
{
	int fd = test_arena_memfd();
	uint64_t had;

	open_at(fd, 1);
	ck_assert_int_eq(tmem_store_set_reserve(store, 24 * MIB), 0);
	/* Who tidies up may give something back. */
	tmem_workers_pause(store);
	had = blocks(fd);
	for (uint32_t i = 0; i < 6 * MANY; i++)
		(void)scene_put(pool, i, i + 1);
	ck_assert_uint_eq(blocks(fd), had);
	tmem_workers_resume(store);
	close_all();
	close(fd);
}
END_TEST

/* Pages that are there are of the reserve: whoever takes up a swap device again
 * after its server died, or serves a second one, finds much of it used. */
START_TEST(what_is_held_is_of_the_reserve)
{
	int fd = test_arena_memfd();

	open_at(fd, 1);
	for (uint32_t i = 0; i < 5120; i++)
		ck_assert_int_eq(scene_put_random(pool, i, i + 1), TMEM_OK);
	close_all();
	open_at(fd, 1);
	ck_assert_int_eq(tmem_store_set_reserve(store, 24 * MIB), 0);
	ck_assert_int_eq(tmem_store_set_reserve(store, 24 * MIB), 0);
	for (uint32_t i = 0; i < 5120; i++)
		ck_assert_uint_eq(scene_get(pool, i), i + 1);
	close_all();
	close(fd);
}
END_TEST

/* Who is refused has a store like any other. */
START_TEST(refused_for_lack_of_memory)
{
	open_at(-1, 1);
	tmem_fault_arm(TMEM_FAULT_FALLOCATE, 1, true);
	ck_assert_int_eq(tmem_store_set_reserve(store, 16 * MIB), -ENOMEM);
	tmem_fault_arm(TMEM_FAULT_FALLOCATE, 0, false);
	for (uint32_t i = 0; i < 5120; i++)
		ck_assert_int_eq(scene_put_random(pool, i, i + 1), TMEM_OK);
	for (uint32_t i = 0; i < 5120; i++)
		ck_assert_int_eq(scene_flush(pool, i), TMEM_OK);
	ck_assert_int_eq(tmem_store_set_budget(store, 16 * MIB), 0);
	close_all();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_reserve_is_had_at_once,
		what_cannot_be_promised_is_refused,
		pages_come_back_from_a_reserve,
		puts_give_nothing_back,
		what_is_held_is_of_the_reserve,
		refused_for_lack_of_memory,
	};

	return SCENE_RUN("reserve", tests);
}
