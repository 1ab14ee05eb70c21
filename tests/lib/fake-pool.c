/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <pthread.h>
#include <stdlib.h>
#include "client-ops.h"
#include "fake-pool.h"
#include "random.h"

#define ENTRIES 4096u

struct entry {
	bool used;
	struct tmem_oid oid;
	uint32_t index;
	uint8_t page[TMEM_PAGE_SIZE];
};

struct fake_pool {
	struct tmem_pool base;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stuck;
	unsigned begun;
	struct entry entry[ENTRIES];
};

static struct fake_pool *fake_of(struct tmem_pool *pool)
{
	return (struct fake_pool *)pool;
}

static struct entry *place_of(struct tmem_pool *pool,
			      const struct tmem_oid *oid, uint32_t index)
{
	uint64_t h = test_mix(oid->word[0] ^
			      test_mix(oid->word[1] ^ test_mix(oid->word[2])));

	return &fake_of(pool)->entry[(h + index) % ENTRIES];
}

static bool holds(const struct entry *e, const struct tmem_oid *oid,
		  uint32_t index)
{
	return e->used && e->index == index &&
	       memcmp(&e->oid, oid, sizeof(*oid)) == 0;
}

/* Get stuck if told to. */
static void begin_locked(struct fake_pool *fake)
{
	fake->begun++;
	pthread_cond_broadcast(&fake->changed);
	while (fake->stuck)
		pthread_cond_wait(&fake->changed, &fake->lock);
}

static int fake_put(struct tmem_pool *pool, const struct tmem_oid *oid,
		    uint32_t index, uint32_t count, const void *pages,
		    uint8_t *outcome)
{
	struct fake_pool *fake = fake_of(pool);
	uint32_t i;

	pthread_mutex_lock(&fake->lock);
	begin_locked(fake);
	for (i = 0; i < count; i++) {
		struct entry *e = place_of(pool, oid, index + i);

		e->used = true;
		e->oid = *oid;
		e->index = index + i;
		memcpy(e->page, (const uint8_t *)pages + i * TMEM_PAGE_SIZE,
		       TMEM_PAGE_SIZE);
		if (outcome)
			outcome[i] = TMEM_OK;
	}
	pthread_mutex_unlock(&fake->lock);
	return (int)count;
}

static int fake_get(struct tmem_pool *pool, const struct tmem_oid *oid,
		    uint32_t index, uint32_t count, void *pages,
		    uint8_t *outcome)
{
	struct fake_pool *fake = fake_of(pool);
	uint32_t i;
	int hits = 0;

	pthread_mutex_lock(&fake->lock);
	for (i = 0; i < count; i++) {
		struct entry *e = place_of(pool, oid, index + i);
		bool hit = holds(e, oid, index + i);

		if (hit)
			memcpy((uint8_t *)pages + i * TMEM_PAGE_SIZE, e->page,
			       TMEM_PAGE_SIZE);
		if (outcome)
			outcome[i] = hit ? TMEM_OK : TMEM_MISS;
		hits += hit;
	}
	pthread_mutex_unlock(&fake->lock);
	return hits;
}

static int flush_where(struct tmem_pool *pool, const struct tmem_oid *oid,
		       uint32_t index, uint64_t count)
{
	struct fake_pool *fake = fake_of(pool);
	unsigned i;
	int found = 0;

	pthread_mutex_lock(&fake->lock);
	for (i = 0; i < ENTRIES; i++) {
		struct entry *e = &fake->entry[i];

		if (!e->used || memcmp(&e->oid, oid, sizeof(*oid)) != 0 ||
		    e->index < index || e->index - index >= count)
			continue;
		e->used = false;
		found++;
	}
	pthread_mutex_unlock(&fake->lock);
	return found;
}

static int fake_flush_object(struct tmem_pool *pool, const struct tmem_oid *oid)
{
	pthread_mutex_lock(&fake_of(pool)->lock);
	begin_locked(fake_of(pool));
	pthread_mutex_unlock(&fake_of(pool)->lock);
	return flush_where(pool, oid, 0, UINT64_MAX) ? TMEM_OK : TMEM_MISS;
}

static void fake_free(struct tmem_pool *pool)
{
	pthread_cond_destroy(&fake_of(pool)->changed);
	pthread_mutex_destroy(&fake_of(pool)->lock);
	free(fake_of(pool));
}

static const struct tmem_client_ops fake_ops = {
	.pool_free = fake_free,
	.put_run = fake_put,
	.get_run = fake_get,
	.flush_run = flush_where,
	.flush_object = fake_flush_object,
};

struct tmem_pool *test_fake_pool_new(void)
{
	struct fake_pool *fake = calloc(1, sizeof(*fake));

	if (!fake)
		abort();
	fake->base.ops = &fake_ops;
	pthread_mutex_init(&fake->lock, NULL);
	pthread_cond_init(&fake->changed, NULL);
	return &fake->base;
}

void test_fake_pool_stick(struct tmem_pool *pool, bool stuck)
{
	struct fake_pool *fake = fake_of(pool);

	pthread_mutex_lock(&fake->lock);
	fake->stuck = stuck;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}

unsigned test_fake_pool_begun(struct tmem_pool *pool)
{
	struct fake_pool *fake = fake_of(pool);
	unsigned begun;

	pthread_mutex_lock(&fake->lock);
	begun = fake->begun;
	pthread_mutex_unlock(&fake->lock);
	return begun;
}
