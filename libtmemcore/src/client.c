/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem/client.h: checks arguments once, for local and attached stores alike,
 * and dispatches through the operations of client-ops.h.
 */
#include "client-ops.h"
#include <errno.h>

/* An hour, ms: ten times that still fits into an int. */
#define TIMEOUT_MAX 3600000u

bool tmem_name_valid(const char *name)
{
	size_t i;

	for (i = 0; i < TMEM_NAME_MAX && name[i]; i++)
		if (name[i] <= ' ' || name[i] > '~' || name[i] == '/')
			return false;
	return i && i < TMEM_NAME_MAX;
}

int tmem_client_config_check(const struct tmem_client_config *config)
{
	if (!config->name || !tmem_name_valid(config->name))
		return -EINVAL;
	if (config->domain && !tmem_name_valid(config->domain))
		return -EINVAL;
	if (config->timeout_ms > TIMEOUT_MAX)
		return -EINVAL;
	return 0;
}

int tmem_pool_config_check(const struct tmem_pool_config *config)
{
	static const struct tmem_uuid none;
	const uint32_t known =
		TMEM_POOL_PERSISTENT | TMEM_POOL_SHARED | TMEM_POOL_EXCLUSIVE;
	bool uuid = memcmp(&config->uuid, &none, sizeof(none));

	if (!config->name || !tmem_name_valid(config->name))
		return -EINVAL;
	if (config->flags & ~known)
		return -EINVAL;
	if ((config->flags & TMEM_POOL_EXCLUSIVE) &&
	    (config->flags & (TMEM_POOL_PERSISTENT | TMEM_POOL_SHARED)))
		return -EINVAL;
	if (uuid != !!(config->flags & TMEM_POOL_SHARED))
		return -EINVAL;
	if ((unsigned)config->codec >= TMEM_CODEC_COUNT ||
	    config->codec == TMEM_CODEC_FILL)
		return -EINVAL;
	if ((unsigned)config->dedup > TMEM_DEDUP_OFF)
		return -EINVAL;
	return 0;
}

bool tmem_run_valid(uint32_t index, uint32_t count)
{
	return count && count <= TMEM_RUN_MAX &&
	       index <= UINT32_MAX - (count - 1);
}

int tmem_client_reattach(struct tmem_client *client)
{
	return client->ops->reattach(client);
}

bool tmem_client_connected(const struct tmem_client *client)
{
	return client->ops->connected(client);
}

struct tmem_client *tmem_client_free(struct tmem_client *client)
{
	if (client)
		client->ops->client_free(client);
	return NULL;
}

int tmem_pool_new(struct tmem_client *client,
		  const struct tmem_pool_config *config, struct tmem_pool **out)
{
	int r = tmem_pool_config_check(config);

	if (r < 0)
		return r;
	return client->ops->pool_new(client, config, out);
}

struct tmem_pool *tmem_pool_free(struct tmem_pool *pool)
{
	if (pool)
		pool->ops->pool_free(pool);
	return NULL;
}

int tmem_pool_destroy(struct tmem_pool *pool)
{
	return pool->ops->pool_destroy(pool);
}

int tmem_put(struct tmem_pool *pool, const struct tmem_oid *oid, uint32_t index,
	     const void *page)
{
	int r = pool->ops->put_run(pool, oid, index, 1, page, NULL);

	if (r < 0)
		return r;
	return r ? TMEM_OK : TMEM_REFUSED;
}

int tmem_get(struct tmem_pool *pool, const struct tmem_oid *oid, uint32_t index,
	     void *page)
{
	int r = pool->ops->get_run(pool, oid, index, 1, page, NULL);

	if (r < 0)
		return r;
	return r ? TMEM_OK : TMEM_MISS;
}

int tmem_flush(struct tmem_pool *pool, const struct tmem_oid *oid,
	       uint32_t index)
{
	int r = pool->ops->flush_run(pool, oid, index, 1);

	if (r < 0)
		return r;
	return r ? TMEM_OK : TMEM_MISS;
}

int tmem_put_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		 uint32_t index, uint32_t count, const void *pages,
		 uint8_t *outcome)
{
	if (!tmem_run_valid(index, count))
		return -EINVAL;
	return pool->ops->put_run(pool, oid, index, count, pages, outcome);
}

int tmem_replace_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		     uint32_t index, uint32_t count, const void *pages,
		     uint8_t *outcome)
{
	if (!tmem_run_valid(index, count))
		return -EINVAL;
	if (!pool->ops->replace_run)
		return -EOPNOTSUPP;
	return pool->ops->replace_run(pool, oid, index, count, pages, outcome);
}

int tmem_get_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		 uint32_t index, uint32_t count, void *pages, uint8_t *outcome)
{
	if (!tmem_run_valid(index, count))
		return -EINVAL;
	return pool->ops->get_run(pool, oid, index, count, pages, outcome);
}

int tmem_flush_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		   uint32_t index, uint64_t count)
{
	if (!count || count > (UINT64_C(1) << 32) - index)
		return -EINVAL;
	return pool->ops->flush_run(pool, oid, index, count);
}

int tmem_flush_object(struct tmem_pool *pool, const struct tmem_oid *oid)
{
	return pool->ops->flush_object(pool, oid);
}

void tmem_ahead(struct tmem_pool *pool, const struct tmem_oid *oid,
		const uint32_t *indexes, unsigned count, bool put)
{
	if (pool->ops->ahead)
		pool->ops->ahead(pool, oid, indexes, count, put);
}

int tmem_pool_stats(struct tmem_pool *pool, uint64_t *values)
{
	return pool->ops->pool_stats(pool, values);
}

int tmem_pool_room(struct tmem_pool *pool, struct tmem_room *out)
{
	return pool->ops->pool_room ? pool->ops->pool_room(pool, out)
				    : -EOPNOTSUPP;
}

int tmem_pool_coldest(struct tmem_pool *pool, const struct tmem_oid *oid,
		      uint32_t *indexes, unsigned max)
{
	if (max < TMEM_COLDEST_MIN)
		return -EINVAL;
	return pool->ops->pool_coldest
		       ? pool->ops->pool_coldest(pool, oid, indexes, max)
		       : -EOPNOTSUPP;
}

int tmem_pool_watch(struct tmem_pool *pool, int fd)
{
	return pool->ops->pool_watch ? pool->ops->pool_watch(pool, fd)
				     : -EOPNOTSUPP;
}
