/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rule 2: whatever the reason for a refusal, the handle's old page is gone when
 * the refusal is returned. Every cause is brought about in every kind of pool,
 * for single puts and for runs, of pages that need a slot, of fill pages and of
 * equal ones, by local clients and by attached ones: old pages are put, the
 * cause is set, and new pages are put over them. Each must then be the new page
 * or a miss (persistent pools: the new page exactly when the put said so).
 */
#include "scene.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "arena-file.h"
#include "attach-server.h"
#include "fault.h"
#include "pages.h"

#define OLD   10000u
#define NEW   20000u
#define EQUAL 30000u
#define PAGES 256u

static const uint32_t kinds[] = {
	0,
	TMEM_POOL_EXCLUSIVE,
	TMEM_POOL_PERSISTENT,
	TMEM_POOL_SHARED,
	TMEM_POOL_SHARED | TMEM_POOL_PERSISTENT,
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* What the new pages are. */
enum form {
	RANDOM, /* each needs a content and a slot of its own */
	FILL,	/* a content, no slot */
	SAME,	/* neither, where pages are shared: one is there already */
};

/* How they are put. */
static const struct way {
	enum form form;
	bool run;
	bool attached;
} ways[] = {
	{RANDOM, false, false}, {RANDOM, true, false}, {FILL, true, false},
	{SAME, true, false},	{RANDOM, false, true}, {RANDOM, true, true},
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

/* Loop tests go through the variants: every kind of pool, every way. */
#define VARIANTS (KINDS * WAYS)

struct scene {
	struct tmem_store *store;
	struct tmem_client *client;
	struct tmem_pool *pool;
	struct test_attach_door door;
	struct way way;
	uint32_t flags;
};

static struct tmem_client *attach(struct scene *scene)
{
	const struct tmem_client_config config = {.name = "client",
						  .timeout_ms = 60000};
	struct tmem_client *client;

	test_attach_door_open(&scene->door, scene->store);
	ck_assert_int_eq(tmem_store_shared_auth(scene->store, getuid(),
						config.name, &scene_uuid, true),
			 0);
	ck_assert_int_eq(tmem_client_attach(scene->door.path, &config, &client),
			 0);
	return client;
}

static void set_up(struct scene *scene, uint64_t budget, int fd,
		   unsigned variant)
{
	scene->flags = kinds[variant % KINDS];
	scene->way = ways[variant / KINDS];
	scene->store = scene_store(budget, fd);
	if (scene->way.attached)
		scene->client = attach(scene);
	else
		scene->client = scene_client(scene->store, "client", NULL);
	scene->pool = scene_pool(scene->client, "pool", scene->flags);
}

static void tear_down(struct scene *scene)
{
	tmem_pool_free(scene->pool);
	tmem_client_free(scene->client);
	if (scene->way.attached)
		test_attach_door_close(&scene->door);
	scene_close(scene->store);
}

static void put_old(struct scene *scene, uint32_t pages)
{
	for (uint32_t n = 0; n < pages; n++)
		ck_assert_int_eq(scene_put(scene->pool, n, OLD + n), TMEM_OK);
	/* What the new pages may share. */
	if (scene->way.form == SAME)
		ck_assert_int_eq(scene_put_random(scene->pool, PAGES, EQUAL),
				 TMEM_OK);
}

/* Seed of the new page n, of a form that the scene's functions know. */
static uint64_t new_seed(const struct scene *scene, uint32_t n)
{
	switch (scene->way.form) {
	case FILL:
		return NEW + 5 * n;
	case SAME:
		return EQUAL;
	default:
		return NEW + n;
	}
}

static int put_new(struct scene *scene, uint32_t n)
{
	uint64_t seed = new_seed(scene, n);

	return scene->way.form == FILL ? scene_put(scene->pool, n, seed)
				       : scene_put_random(scene->pool, n, seed);
}

/* Make new pages one after another. */
static uint8_t *make_new(const struct scene *scene, uint32_t pages)
{
	enum test_page_kind kind =
		scene->way.form == FILL ? TEST_PAGE_FILL : TEST_PAGE_RANDOM;
	uint8_t *bytes = malloc((size_t)pages * TMEM_PAGE_SIZE);

	for (uint32_t n = 0; n < pages; n++)
		test_page_of(bytes + (size_t)n * TMEM_PAGE_SIZE, kind,
			     new_seed(scene, n));
	return bytes;
}

/* Page n was put anew with this outcome. */
static void expect(struct scene *scene, uint32_t n, int outcome)
{
	uint64_t seed = scene_get(scene->pool, n);

	if (outcome == TMEM_REFUSED) {
		ck_assert_uint_eq(seed, 0);
		/* And it stays a miss. */
		ck_assert_int_eq(scene_flush(scene->pool, n), TMEM_MISS);
		return;
	}
	ck_assert_int_eq(outcome, TMEM_OK);
	if (seed || scene->flags & TMEM_POOL_PERSISTENT)
		ck_assert_uint_eq(seed, new_seed(scene, n));
}

/* Put new pages, one by one or in one run. Returns how many were refused. */
static unsigned replace(struct scene *scene, uint32_t pages)
{
	const struct tmem_oid oid = {{1, 2, 3}};
	uint8_t *bytes = make_new(scene, pages);
	uint8_t outcome[TMEM_RUN_MAX];
	unsigned refused = 0;
	int r;

	ck_assert_uint_le(pages, TMEM_RUN_MAX);
	if (scene->way.run) {
		r = tmem_put_run(scene->pool, &oid, 0, pages, bytes, outcome);
		for (uint32_t n = 0; n < pages; n++)
			refused += outcome[n] == TMEM_REFUSED;
		ck_assert_int_eq(r, pages - refused);
	} else {
		/* All puts first: an exclusive get would make room. */
		for (uint32_t n = 0; n < pages; n++) {
			outcome[n] = (uint8_t)put_new(scene, n);
			refused += outcome[n] == TMEM_REFUSED;
		}
	}
	for (uint32_t n = 0; n < pages; n++)
		expect(scene, n, outcome[n]);
	free(bytes);
	return refused;
}

/* The same, where pages that need room must be refused. */
static void replace_refused(struct scene *scene, uint32_t pages)
{
	unsigned refused = replace(scene, pages);

	if (scene->way.form == RANDOM)
		ck_assert_uint_gt(refused, 0);
}

/* Whether a put can do with what eviction frees, and go well without the
 * kernel. */
static bool evicts(const struct scene *scene, enum tmem_fault_site site)
{
	return site == TMEM_FAULT_FALLOCATE &&
	       !(scene->flags & TMEM_POOL_PERSISTENT);
}

/* When the cause is gone, puts work again. */
static void expect_recovered(struct scene *scene)
{
	for (uint32_t n = 0; n < PAGES; n++)
		scene_flush(scene->pool, n);
	ck_assert_int_eq(scene_put(scene->pool, 0, 1), TMEM_OK);
	ck_assert_uint_eq(scene_get(scene->pool, 0), 1);
}

static void with_fault(enum tmem_fault_site site, unsigned variant,
		       enum tmem_host_stat counter)
{
	struct scene scene;
	unsigned fired;

	set_up(&scene, 64 * MIB, -1, variant);
	put_old(&scene, PAGES);
	fired = tmem_fault_fired(site);
	tmem_fault_arm(site, 1, true);
	if (evicts(&scene, site))
		replace(&scene, PAGES);
	else
		replace_refused(&scene, PAGES);
	tmem_fault_arm(site, 0, false);
	if (scene.way.form == RANDOM) {
		ck_assert_uint_gt(tmem_fault_fired(site), fired);
		if (!evicts(&scene, site))
			ck_assert_uint_gt(scene_stat(scene.store, counter), 0);
	}
	expect_recovered(&scene);
	tear_down(&scene);
}

START_TEST(no_record)
{
	with_fault(TMEM_FAULT_TABLE, _i, TMEM_HOST_STAT_refused_nomem);
}
END_TEST

START_TEST(no_slot)
{
	with_fault(TMEM_FAULT_SLAB, _i, TMEM_HOST_STAT_refused_nomem);
}
END_TEST

START_TEST(no_chunk)
{
	with_fault(TMEM_FAULT_FALLOCATE, _i, TMEM_HOST_STAT_refused_nomem);
}
END_TEST

START_TEST(chunk_fails)
{
	with_fault(TMEM_FAULT_IO, _i, TMEM_HOST_STAT_refused_fault);
}
END_TEST

START_TEST(no_private_memory)
{
	with_fault(TMEM_FAULT_MALLOC, _i, TMEM_HOST_STAT_refused_nomem);
}
END_TEST

/* One failure at the Nth chance, wherever that is; the rest goes well. The
 * first four ways take turns. */
START_TEST(one_fault_somewhere)
{
	for (int site = 0; site < TMEM_FAULT_SITES; site++) {
		for (unsigned nth = 1; nth < 40; nth += 3) {
			struct scene scene;

			set_up(&scene, 64 * MIB, -1, _i + KINDS * (nth % 4));
			put_old(&scene, 40);
			tmem_fault_arm(site, nth, false);
			replace(&scene, 80);
			tmem_fault_arm(site, 0, false);
			expect_recovered(&scene);
			tear_down(&scene);
		}
	}
}
END_TEST

/* A codec that fails costs room, not the page. */
START_TEST(codec_fails)
{
	struct scene scene;

	set_up(&scene, 64 * MIB, -1, _i);
	tmem_fault_arm(TMEM_FAULT_COMPRESS, 1, true);
	put_old(&scene, PAGES);
	tmem_fault_arm(TMEM_FAULT_COMPRESS, 0, false);
	ck_assert_uint_gt(scene_stat(scene.store, TMEM_HOST_STAT_raw_contents),
			  PAGES / 2);
	for (uint32_t n = 0; n < PAGES; n++)
		ck_assert_uint_eq(scene_get(scene.pool, n), OLD + n);
	tear_down(&scene);
}
END_TEST

static void with_setting(struct tmem_client_settings settings, uint32_t old,
			 unsigned variant, enum tmem_host_stat counter)
{
	struct scene scene;
	uint32_t id;

	set_up(&scene, 64 * MIB, -1, variant);
	put_old(&scene, old);
	id = scene_client_id(scene.store, "client");
	ck_assert_int_eq(tmem_store_client_set(scene.store, id, &settings), 0);
	/* Ephemeral pages may make way for each other under a limit. */
	if (replace(&scene, PAGES))
		ck_assert_uint_gt(scene_stat(scene.store, counter), 0);
	else
		ck_assert(!settings.frozen &&
			  (scene.way.form != RANDOM ||
			   !(scene.flags & TMEM_POOL_PERSISTENT)));
	settings.cap = 0;
	settings.maxmem = 0;
	settings.frozen = false;
	ck_assert_int_eq(tmem_store_client_set(scene.store, id, &settings), 0);
	expect_recovered(&scene);
	tear_down(&scene);
}

START_TEST(cap_reached)
{
	struct tmem_client_settings settings = {.set = TMEM_SET_CAP,
						.cap = 200 << 10};

	/* A shared pool is charged to nobody. */
	if (!(kinds[_i % KINDS] & TMEM_POOL_SHARED))
		with_setting(settings, PAGES, _i, TMEM_HOST_STAT_refused_cap);
}
END_TEST

/* A replacement takes no more than what it replaces, as maxmem counts: only
 * pages beyond the old ones are refused. */
START_TEST(maxmem_reached)
{
	struct tmem_client_settings settings = {.set = TMEM_SET_MAXMEM,
						.maxmem = 100 << 12};

	if (!(kinds[_i % KINDS] & TMEM_POOL_SHARED))
		with_setting(settings, PAGES / 2, _i,
			     TMEM_HOST_STAT_refused_cap);
}
END_TEST

START_TEST(client_frozen)
{
	struct tmem_client_settings settings = {.set = TMEM_SET_FROZEN,
						.frozen = true};

	with_setting(settings, PAGES, _i, TMEM_HOST_STAT_refused_frozen);
}
END_TEST

START_TEST(store_frozen)
{
	struct scene scene;

	set_up(&scene, 64 * MIB, -1, _i);
	put_old(&scene, PAGES);
	tmem_store_set_frozen(scene.store, true);
	/* Gets and flushes work. */
	ck_assert_uint_eq(scene_get(scene.pool, PAGES - 1), OLD + PAGES - 1);
	ck_assert_uint_eq(replace(&scene, PAGES), PAGES);
	ck_assert_uint_eq(
		scene_stat(scene.store, TMEM_HOST_STAT_refused_frozen), PAGES);
	tmem_store_set_frozen(scene.store, false);
	expect_recovered(&scene);
	tear_down(&scene);
}
END_TEST

/* tmem_replace_run(): what is refused stays as it was. */
static void expect_kept(struct scene *scene)
{
	const struct tmem_oid oid = {{1, 2, 3}};
	uint8_t *bytes = make_new(scene, PAGES);
	uint8_t outcome[PAGES];
	unsigned refused = 0;

	ck_assert_int_ge(
		tmem_replace_run(scene->pool, &oid, 0, PAGES, bytes, outcome),
		0);
	for (uint32_t n = 0; n < PAGES; n++) {
		refused += outcome[n] == TMEM_REFUSED;
		ck_assert_uint_eq(scene_get(scene->pool, n),
				  outcome[n] == TMEM_OK ? NEW + n : OLD + n);
	}
	ck_assert_uint_gt(refused, 0);
	free(bytes);
}

START_TEST(refused_replacement_keeps_the_old_page)
{
	struct tmem_client_settings cap = {.set = TMEM_SET_CAP,
					   .cap = 200 << 10};
	struct scene scene;

	set_up(&scene, 64 * MIB, -1, 2);
	put_old(&scene, PAGES);
	switch (_i) {
	case 0:
		tmem_store_set_frozen(scene.store, true);
		break;
	case 1:
		tmem_fault_arm(TMEM_FAULT_SLAB, 1, true);
		break;
	case 2:
		tmem_fault_arm(TMEM_FAULT_TABLE, 5, true);
		break;
	default:
		ck_assert_int_eq(tmem_store_client_set(
					 scene.store,
					 scene_client_id(scene.store, "client"),
					 &cap),
				 0);
	}
	expect_kept(&scene);
	tmem_fault_arm(TMEM_FAULT_SLAB, 0, false);
	tmem_fault_arm(TMEM_FAULT_TABLE, 0, false);
	tear_down(&scene);
}
END_TEST

START_TEST(replacement_is_for_local_private_persistent_pools)
{
	const struct tmem_oid oid = {{1, 2, 3}};
	uint8_t bytes[TMEM_PAGE_SIZE] = {1};
	struct scene scene;
	bool allowed;

	set_up(&scene, 64 * MIB, -1, _i);
	allowed = scene.flags == TMEM_POOL_PERSISTENT && !scene.way.attached;
	ck_assert_int_eq(scene_put(scene.pool, 0, OLD), TMEM_OK);
	ck_assert_int_eq(tmem_replace_run(scene.pool, &oid, 0, 1, bytes, NULL),
			 allowed ? 1 : -EOPNOTSUPP);
	if (!allowed)
		ck_assert_uint_eq(scene_get(scene.pool, 0), OLD);
	tear_down(&scene);
}
END_TEST

/* Fill the store with persistent pages of another client. */
static struct tmem_pool *fill(struct scene *scene, struct tmem_client **other)
{
	struct tmem_pool *pool;
	uint32_t n = 0;

	*other = scene_client(scene->store, "other", NULL);
	pool = scene_pool(*other, "full", TMEM_POOL_PERSISTENT);
	while (scene_put_random(pool, n, n + 1) == TMEM_OK)
		n++;
	ck_assert_uint_gt(n, 100);
	return pool;
}

START_TEST(budget_full)
{
	struct tmem_client *other;
	struct tmem_pool *full;
	struct scene scene;

	set_up(&scene, 8 * MIB, -1, _i);
	put_old(&scene, PAGES);
	full = fill(&scene, &other);
	replace_refused(&scene, PAGES);
	if (scene.way.form == RANDOM)
		ck_assert_uint_gt(
			scene_stat(scene.store, TMEM_HOST_STAT_refused_nomem),
			0);
	ck_assert_int_eq(tmem_pool_destroy(full), 0);
	tmem_client_free(other);
	expect_recovered(&scene);
	tear_down(&scene);
}
END_TEST

/* A store over its budget makes no content even where it has slots, as it has
 * for the size of the old pages here. */
START_TEST(budget_lowered)
{
	struct tmem_client *other;
	struct tmem_pool *full;
	struct scene scene;

	set_up(&scene, 16 * MIB, -1, _i);
	put_old(&scene, PAGES);
	full = fill(&scene, &other);
	ck_assert_int_eq(tmem_store_set_budget(scene.store, TMEM_BUDGET_MIN),
			 -ENOMEM);
	replace_refused(&scene, PAGES);
	/* More than before: an attached client's ring came on top of that. */
	ck_assert_int_eq(tmem_store_set_budget(scene.store, 20 * MIB), 0);
	ck_assert_int_eq(tmem_pool_destroy(full), 0);
	tmem_client_free(other);
	expect_recovered(&scene);
	tear_down(&scene);
}
END_TEST

START_TEST(tmpfs_full)
{
	int fd = test_arena_on_tmpfs(12 * MIB);
	struct tmem_client *other;
	struct tmem_pool *full;
	struct scene scene;

	if (fd == -EPERM)
		return;
	ck_assert_int_ge(fd, 0);
	set_up(&scene, 64 * MIB, fd, _i);
	put_old(&scene, PAGES);
	full = fill(&scene, &other);
	replace_refused(&scene, PAGES);
	ck_assert_int_eq(tmem_pool_destroy(full), 0);
	tmem_client_free(other);
	expect_recovered(&scene);
	tear_down(&scene);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("refused");
	TCase *tests = tcase_create("refused");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 0);
	suite_add_tcase(suite, tests);
	tcase_add_loop_test(tests, no_record, 0, VARIANTS);
	tcase_add_loop_test(tests, no_slot, 0, VARIANTS);
	tcase_add_loop_test(tests, no_chunk, 0, VARIANTS);
	tcase_add_loop_test(tests, chunk_fails, 0, VARIANTS);
	tcase_add_loop_test(tests, no_private_memory, 0, VARIANTS);
	tcase_add_loop_test(tests, one_fault_somewhere, 0, KINDS);
	tcase_add_loop_test(tests, codec_fails, 2, 3);
	tcase_add_loop_test(tests, cap_reached, 0, VARIANTS);
	tcase_add_loop_test(tests, maxmem_reached, 0, VARIANTS);
	tcase_add_loop_test(tests, client_frozen, 0, VARIANTS);
	tcase_add_loop_test(tests, store_frozen, 0, VARIANTS);
	tcase_add_loop_test(tests, refused_replacement_keeps_the_old_page, 0,
			    4);
	tcase_add_loop_test(tests,
			    replacement_is_for_local_private_persistent_pools,
			    0, VARIANTS);
	tcase_add_loop_test(tests, budget_full, 0, VARIANTS);
	tcase_add_loop_test(tests, budget_lowered, 0, VARIANTS);
	tcase_add_loop_test(tests, tmpfs_full, 0, VARIANTS);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
