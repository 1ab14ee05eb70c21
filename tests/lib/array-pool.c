/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "array-pool.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include "client-ops.h"

/* The last place is that of object {1, 0, 0}. */
#define PLACES (TEST_ARRAY_POOL_PAGES + 1)

struct array_pool {
	struct tmem_pool base;
	pthread_mutex_t lock;
	uint8_t *page[PLACES];
	atomic_bool refuse[PLACES];
	test_array_pool_fn *on_flush, *on_get;
	void *on_flush_arg, *on_get_arg;
	unsigned puts, gets;
	uint32_t limit; /* pages, or 0 */
	uint32_t held;
	uint32_t hand;
	int bell;
};

static struct array_pool *array_of(struct tmem_pool *pool)
{
	return (struct array_pool *)pool;
}

static uint32_t place_of(const struct tmem_oid *oid, uint32_t index)
{
	if (oid->word[0] || index >= TEST_ARRAY_POOL_PAGES)
		return TEST_ARRAY_POOL_PAGES;
	return index;
}

static void drop(struct array_pool *array, uint32_t place)
{
	array->held -= array->page[place] != NULL;
	free(array->page[place]);
	array->page[place] = NULL;
}

static int put(struct tmem_pool *pool, const struct tmem_oid *oid,
	       uint32_t index, uint32_t count, const void *pages,
	       uint8_t *outcome, bool keep)
{
	struct array_pool *array = array_of(pool);
	bool refuse_all = array->refuse[TEST_ARRAY_POOL_PAGES];
	uint32_t i, place;
	int stored = 0;
	bool refused;

	pthread_mutex_lock(&array->lock);
	for (i = 0; i < count; i++) {
		place = place_of(oid, index + i);
		refused = refuse_all || array->refuse[place] ||
			  (array->limit && array->held >= array->limit &&
			   !array->page[place]);
		if (refused && array->bell >= 0)
			(void)eventfd_write(array->bell, 1);
		if (!refused || !keep)
			drop(array, place);
		if (!refused) {
			array->page[place] = malloc(TMEM_PAGE_SIZE);
			if (!array->page[place])
				abort();
			array->held++;
			memcpy(array->page[place],
			       (const uint8_t *)pages +
				       (size_t)i * TMEM_PAGE_SIZE,
			       TMEM_PAGE_SIZE);
			stored++;
		}
		if (outcome)
			outcome[i] = refused ? TMEM_REFUSED : TMEM_OK;
		array->puts++;
	}
	pthread_mutex_unlock(&array->lock);
	return stored;
}

static int array_put(struct tmem_pool *pool, const struct tmem_oid *oid,
		     uint32_t index, uint32_t count, const void *pages,
		     uint8_t *outcome)
{
	return put(pool, oid, index, count, pages, outcome, false);
}

static int array_replace(struct tmem_pool *pool, const struct tmem_oid *oid,
			 uint32_t index, uint32_t count, const void *pages,
			 uint8_t *outcome)
{
	return put(pool, oid, index, count, pages, outcome, true);
}

static int array_get(struct tmem_pool *pool, const struct tmem_oid *oid,
		     uint32_t index, uint32_t count, void *pages,
		     uint8_t *outcome)
{
	struct array_pool *array = array_of(pool);
	uint8_t *page;
	uint32_t i;
	int hits = 0;

	if (array->on_get)
		array->on_get(array->on_get_arg, index, count);
	pthread_mutex_lock(&array->lock);
	for (i = 0; i < count; i++) {
		page = array->page[place_of(oid, index + i)];
		if (page)
			memcpy((uint8_t *)pages + (size_t)i * TMEM_PAGE_SIZE,
			       page, TMEM_PAGE_SIZE);
		if (outcome)
			outcome[i] = page ? TMEM_OK : TMEM_MISS;
		hits += page != NULL;
		array->gets++;
	}
	pthread_mutex_unlock(&array->lock);
	return hits;
}

static int array_flush(struct tmem_pool *pool, const struct tmem_oid *oid,
		       uint32_t index, uint64_t count)
{
	struct array_pool *array = array_of(pool);
	uint32_t place = place_of(oid, index), end;
	int found = 0;

	if (array->on_flush)
		array->on_flush(array->on_flush_arg, index, count);
	end = place + count < PLACES ? place + (uint32_t)count : PLACES;
	if (!oid->word[0] && end == PLACES)
		end--;
	pthread_mutex_lock(&array->lock);
	for (; place < end; place++) {
		found += array->page[place] != NULL;
		drop(array, place);
	}
	pthread_mutex_unlock(&array->lock);
	return found;
}

static int array_flush_object(struct tmem_pool *pool,
			      const struct tmem_oid *oid)
{
	return array_flush(pool, oid, 0, PLACES) ? TMEM_OK : TMEM_MISS;
}

static void array_free(struct tmem_pool *pool)
{
	struct array_pool *array = array_of(pool);
	uint32_t place;

	for (place = 0; place < PLACES; place++)
		drop(array, place);
	pthread_mutex_destroy(&array->lock);
	free(array);
}

static int array_destroy(struct tmem_pool *pool)
{
	array_free(pool);
	return 0;
}

static int array_room(struct tmem_pool *pool, struct tmem_room *out)
{
	struct array_pool *array = array_of(pool);
	int64_t limit, held;

	pthread_mutex_lock(&array->lock);
	limit = array->limit;
	held = array->held;
	pthread_mutex_unlock(&array->lock);
	if (!limit)
		return -EOPNOTSUPP;
	out->limit = (uint64_t)limit * TMEM_PAGE_SIZE;
	out->free = (limit - held) * TMEM_PAGE_SIZE;
	return 0;
}

/* The next ones from where it was last. */
static int array_coldest(struct tmem_pool *pool, const struct tmem_oid *oid,
			 uint32_t *indexes, unsigned max)
{
	struct array_pool *array = array_of(pool);
	unsigned count = 0, looked;

	(void)oid;
	pthread_mutex_lock(&array->lock);
	for (looked = 0; looked < TEST_ARRAY_POOL_PAGES && count < max;
	     looked++) {
		array->hand = (array->hand + 1) % TEST_ARRAY_POOL_PAGES;
		if (array->page[array->hand])
			indexes[count++] = array->hand;
	}
	pthread_mutex_unlock(&array->lock);
	return (int)count;
}

static int array_watch(struct tmem_pool *pool, int fd)
{
	pthread_mutex_lock(&array_of(pool)->lock);
	array_of(pool)->bell = fd;
	pthread_mutex_unlock(&array_of(pool)->lock);
	return 0;
}

static const struct tmem_client_ops array_ops = {
	.pool_room = array_room,
	.pool_coldest = array_coldest,
	.pool_watch = array_watch,
	.pool_free = array_free,
	.pool_destroy = array_destroy,
	.put_run = array_put,
	.replace_run = array_replace,
	.get_run = array_get,
	.flush_run = array_flush,
	.flush_object = array_flush_object,
};

struct tmem_pool *test_array_pool_new(void)
{
	struct array_pool *array = calloc(1, sizeof(*array));

	if (!array || pthread_mutex_init(&array->lock, NULL))
		abort();
	array->base.ops = &array_ops;
	array->bell = -1;
	array->hand = TEST_ARRAY_POOL_PAGES - 1;
	return &array->base;
}

void test_array_pool_refuse(struct tmem_pool *pool, uint32_t index, bool refuse)
{
	array_of(pool)->refuse[index] = refuse;
}

void test_array_pool_limit(struct tmem_pool *pool, uint32_t pages)
{
	struct array_pool *array = array_of(pool);

	pthread_mutex_lock(&array->lock);
	array->limit = pages;
	if (array->bell >= 0)
		(void)eventfd_write(array->bell, 1);
	pthread_mutex_unlock(&array->lock);
}

void test_array_pool_lose(struct tmem_pool *pool, uint32_t index)
{
	struct array_pool *array = array_of(pool);

	pthread_mutex_lock(&array->lock);
	drop(array, index);
	pthread_mutex_unlock(&array->lock);
}

const uint8_t *test_array_pool_page(struct tmem_pool *pool, uint32_t index)
{
	struct array_pool *array = array_of(pool);
	const uint8_t *page;

	pthread_mutex_lock(&array->lock);
	page = array->page[index];
	pthread_mutex_unlock(&array->lock);
	return page;
}

void test_array_pool_on_flush(struct tmem_pool *pool, test_array_pool_fn *hook,
			      void *arg)
{
	array_of(pool)->on_flush = hook;
	array_of(pool)->on_flush_arg = arg;
}

void test_array_pool_on_get(struct tmem_pool *pool, test_array_pool_fn *hook,
			    void *arg)
{
	array_of(pool)->on_get = hook;
	array_of(pool)->on_get_arg = arg;
}

static unsigned count_of(struct array_pool *array, const unsigned *counter)
{
	unsigned count;

	pthread_mutex_lock(&array->lock);
	count = *counter;
	pthread_mutex_unlock(&array->lock);
	return count;
}

unsigned test_array_pool_puts(struct tmem_pool *pool)
{
	return count_of(array_of(pool), &array_of(pool)->puts);
}

unsigned test_array_pool_gets(struct tmem_pool *pool)
{
	return count_of(array_of(pool), &array_of(pool)->gets);
}
