/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem/client.h on the store inside tmemd. Sessions and pools are opened over
 * the control connection, in messages (message.h); pages go through the ring
 * (ring-client.c). tmem-ring(7) has both.
 *
 * A session that broke down stays down until tmem_client_reattach() replaces
 * it: a new connection, a new ring, the same pools by new numbers.
 *
 *   attached -> (tmemd gone, or silent for too long) -> disconnected
 *   disconnected -> reattach: connect, open pools, flush doubts -> attached
 *
 * What a failed put or flush leaves in doubt. The caller was told that the old
 * pages are gone. Private ephemeral pools end with their session, so they are.
 * Other pools remember those handles (doubt.h), those of calls made while
 * disconnected too, and flush them before the new session is used. Past
 * TMEM_DOUBT_MAX of them a shared ephemeral pool is flushed whole; a persistent
 * one must not lose pages, so reattaching fails with -EOVERFLOW.
 *
 * Two locks, in this order: control (a mutex) for the connection and the list
 * of pools; lock (read by page calls, written by reattach) for the session
 * that page calls use.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <tmem/stats.h>
#include <unistd.h>
#include "client-ops.h"
#include "doubt.h"
#include "message.h"
#include "ring-client.h"
#include "uuid.h"

struct session {
	int conn;
	struct tmem_ring_client *ring;
};

struct attached {
	struct tmem_client base;
	char *path;
	char *name;
	char *domain; /* or NULL */
	int timeout;
	pthread_mutex_t control;
	struct attached_pool *pools;
	pthread_rwlock_t lock;
	struct session session;
};

struct attached_pool {
	struct tmem_pool base;
	struct attached *client;
	struct attached_pool *next;
	struct tmem_pool_config config;
	char *name;
	uint32_t id;	  /* in this session; changes under client->lock */
	uint32_t next_id; /* in the session that is being begun */
	struct tmem_doubt doubt;
};

static const struct tmem_client_ops attached_ops;

static struct attached *attached_of(const struct tmem_client *client)
{
	return (struct attached *)client;
}

static struct attached_pool *pool_of(struct tmem_pool *pool)
{
	return (struct attached_pool *)pool;
}

/* Sessions ----------------------------------------------------------------- */

static void end_session(struct session *session)
{
	session->ring = tmem_ring_client_free(session->ring);
	if (session->conn >= 0)
		close(session->conn);
	session->conn = -1;
}

/* Make a request of the session and receive its reply. A reply that says no
 * leaves the session intact; anything else ends it. */
static int call(struct session *session, const json_t *request,
		struct tmem_message *reply)
{
	int r;

	*reply = (struct tmem_message)TMEM_MESSAGE_INIT;
	if (!request)
		return -ENOMEM;
	r = tmem_message_call(session->conn, request, NULL, 0, reply,
			      TMEM_MESSAGE_TIMEOUT);
	if (r < 0 && !reply->json) {
		if (session->ring)
			tmem_ring_client_abandon(session->ring);
		return -ENOTCONN;
	}
	return r;
}

static int begin_session(struct attached *client, struct session *out)
{
	struct session session = {-1, NULL};
	struct tmem_message reply = TMEM_MESSAGE_INIT;
	json_t *request;
	int r, fd;

	session.conn = tmem_message_connect(client->path, TMEM_MESSAGE_TIMEOUT);
	if (session.conn < 0)
		return session.conn;
	request = json_pack("{s:i, s:s, s:s, s:s*}", "tmem",
			    TMEM_MESSAGE_VERSION, "op", "attach", "name",
			    client->name, "domain", client->domain);
	r = call(&session, request, &reply);
	json_decref(request);
	if (r == 0) {
		fd = tmem_message_take_fd(&reply, 0);
		r = fd < 0 ? -EPROTO
			   : tmem_ring_client_new(fd, session.conn,
						  client->timeout,
						  &session.ring);
		if (fd >= 0)
			close(fd);
	}
	tmem_message_deinit(&reply);
	if (r < 0) {
		end_session(&session);
		return r;
	}
	*out = session;
	return 0;
}

/* Open a pool in a session. Returns its number, or -errno. */
static int open_pool(struct session *session, const struct attached_pool *pool)
{
	const struct tmem_pool_config *config = &pool->config;
	struct tmem_message reply;
	json_int_t id = -1;
	json_t *request;
	char uuid[TMEM_UUID_TEXT];
	int r;

	request = json_pack("{s:i, s:s, s:s, s:I, s:s, s:i, s:i}", "tmem",
			    TMEM_MESSAGE_VERSION, "op", "pool-open", "name",
			    pool->name, "flags", (json_int_t)config->flags,
			    "uuid", tmem_uuid_format(&config->uuid, uuid),
			    "codec", (int)config->codec, "dedup",
			    (int)config->dedup);
	r = call(session, request, &reply);
	json_decref(request);
	if (r == 0 && (json_unpack(reply.json, "{s:I}", "pool", &id) < 0 ||
		       id < 0 || id >= TMEM_RING_POOLS))
		r = -EPROTO;
	tmem_message_deinit(&reply);
	return r < 0 ? r : (int)id;
}

/* A request that names one pool. */
static int call_pool(struct session *session, const char *op, uint32_t id,
		     struct tmem_message *reply)
{
	json_t *request =
		json_pack("{s:i, s:s, s:I}", "tmem", TMEM_MESSAGE_VERSION, "op",
			  op, "pool", (json_int_t)id);
	int r = call(session, request, reply);

	json_decref(request);
	return r;
}

/* Page calls --------------------------------------------------------------- */

static bool outlives_session(const struct attached_pool *pool)
{
	return pool->config.flags & (TMEM_POOL_PERSISTENT | TMEM_POOL_SHARED);
}

static int page_call(struct tmem_pool *base, enum tmem_ring_op op,
		     const struct tmem_oid *oid, uint32_t index, uint64_t count,
		     const void *in, void *out, uint8_t *outcome)
{
	struct attached_pool *pool = pool_of(base);
	struct attached *client = pool->client;
	struct tmem_ring_request request = {
		.op = op, .oid = *oid, .index = index, .count = count};
	int r;

	pthread_rwlock_rdlock(&client->lock);
	request.pool = pool->id;
	r = tmem_ring_client_call(client->session.ring, &request, in, out,
				  outcome);
	if (r < 0 && op != TMEM_RING_GET && outlives_session(pool))
		tmem_doubt_add(&pool->doubt, oid, index, count);
	pthread_rwlock_unlock(&client->lock);
	return r;
}

static int attached_put_run(struct tmem_pool *pool, const struct tmem_oid *oid,
			    uint32_t index, uint32_t count, const void *pages,
			    uint8_t *outcome)
{
	return page_call(pool, TMEM_RING_PUT, oid, index, count, pages, NULL,
			 outcome);
}

static int attached_get_run(struct tmem_pool *pool, const struct tmem_oid *oid,
			    uint32_t index, uint32_t count, void *pages,
			    uint8_t *outcome)
{
	return page_call(pool, TMEM_RING_GET, oid, index, count, NULL, pages,
			 outcome);
}

static int attached_flush_run(struct tmem_pool *pool,
			      const struct tmem_oid *oid, uint32_t index,
			      uint64_t count)
{
	return page_call(pool, TMEM_RING_FLUSH, oid, index, count, NULL, NULL,
			 NULL);
}

static int attached_flush_object(struct tmem_pool *pool,
				 const struct tmem_oid *oid)
{
	int r = page_call(pool, TMEM_RING_FLUSH_OBJECT, oid, 0, 0, NULL, NULL,
			  NULL);

	if (r < 0)
		return r;
	return r > 0 ? TMEM_OK : TMEM_MISS;
}

/* Pools -------------------------------------------------------------------- */

static struct attached_pool *free_pool(struct attached_pool *pool)
{
	if (pool) {
		tmem_doubt_deinit(&pool->doubt);
		free(pool->name);
		free(pool);
	}
	return NULL;
}

static int attached_pool_new(struct tmem_client *base,
			     const struct tmem_pool_config *config,
			     struct tmem_pool **out)
{
	struct attached *client = attached_of(base);
	struct attached_pool *pool = calloc(1, sizeof(*pool));
	int r = -ENOMEM;

	if (!pool)
		return -ENOMEM;
	pool->base.ops = &attached_ops;
	pool->client = client;
	pool->config = *config;
	tmem_doubt_init(&pool->doubt);
	pool->name = strdup(config->name);
	if (!pool->name)
		goto err;
	pool->config.name = pool->name;
	pthread_mutex_lock(&client->control);
	r = -ENOTCONN;
	if (tmem_ring_client_alive(client->session.ring))
		r = open_pool(&client->session, pool);
	if (r >= 0) {
		pool->id = (uint32_t)r;
		pool->next = client->pools;
		client->pools = pool;
	}
	pthread_mutex_unlock(&client->control);
	if (r < 0)
		goto err;
	*out = &pool->base;
	return 0;
err:
	free_pool(pool);
	return r;
}

/* Close a pool or destroy it, as op says, and forget it. */
static int end_pool(struct tmem_pool *base, const char *op)
{
	struct attached_pool *pool = pool_of(base);
	struct attached *client = pool->client;
	struct tmem_message reply = TMEM_MESSAGE_INIT;
	struct attached_pool **at;
	int r = -ENOTCONN;

	pthread_mutex_lock(&client->control);
	if (tmem_ring_client_alive(client->session.ring))
		r = call_pool(&client->session, op, pool->id, &reply);
	for (at = &client->pools; *at != pool; at = &(*at)->next)
		;
	*at = pool->next;
	pthread_mutex_unlock(&client->control);
	tmem_message_deinit(&reply);
	free_pool(pool);
	return r;
}

static void attached_pool_free(struct tmem_pool *pool)
{
	end_pool(pool, "pool-close");
}

static int attached_pool_destroy(struct tmem_pool *pool)
{
	return end_pool(pool, "pool-destroy");
}

static int attached_pool_stats(struct tmem_pool *base, uint64_t *values)
{
	struct attached_pool *pool = pool_of(base);
	struct attached *client = pool->client;
	struct tmem_message reply = TMEM_MESSAGE_INIT;
	int r = -ENOTCONN;
	json_t *stats;
	unsigned i;

	pthread_mutex_lock(&client->control);
	if (tmem_ring_client_alive(client->session.ring))
		r = call_pool(&client->session, "pool-stats", pool->id, &reply);
	pthread_mutex_unlock(&client->control);
	if (r == 0) {
		/* By name: tmemd may know others than this library. */
		stats = json_object_get(reply.json, "stats");
		for (i = 0; i < TMEM_POOL_STAT_COUNT; i++)
			values[i] =
				(uint64_t)json_integer_value(json_object_get(
					stats, tmem_pool_stat_desc[i].name));
	}
	tmem_message_deinit(&reply);
	return r;
}

/* Clients ------------------------------------------------------------------ */

static bool attached_connected(const struct tmem_client *base)
{
	struct attached *client = attached_of(base);
	bool alive;

	pthread_rwlock_rdlock(&client->lock);
	alive = tmem_ring_client_alive(client->session.ring);
	pthread_rwlock_unlock(&client->lock);
	return alive;
}

/* Flush, in a new session, what the old one left in doubt of a pool. */
static int settle_pool(struct session *session, struct attached_pool *pool)
{
	struct tmem_doubt *doubt = &pool->doubt;
	struct tmem_ring_request request = {.pool = pool->id};
	size_t i;
	int r;

	for (i = 0; i < doubt->runs; i++) {
		request.op = doubt->run[i].count ? TMEM_RING_FLUSH
						 : TMEM_RING_FLUSH_OBJECT;
		request.oid = doubt->run[i].oid;
		request.index = doubt->run[i].index;
		request.count = doubt->run[i].count;
		r = tmem_ring_client_call(session->ring, &request, NULL, NULL,
					  NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The same for a pool that is in doubt as a whole. */
static int settle_all(struct session *session, struct attached_pool *pool)
{
	struct tmem_message reply;
	int r;

	if (pool->config.flags & TMEM_POOL_PERSISTENT)
		return -EOVERFLOW;
	r = call_pool(session, "pool-destroy", pool->id, &reply);
	tmem_message_deinit(&reply);
	if (r == 0)
		r = open_pool(session, pool);
	if (r < 0)
		return r;
	pool->id = (uint32_t)r;
	return 0;
}

/* Move to a new session, in which the pools have been opened. The client's
 * lock is held for writing: no call can add to what is in doubt. */
static int move_to(struct attached *client, struct session *session)
{
	struct attached_pool *pool;
	int r;

	for (pool = client->pools; pool; pool = pool->next) {
		pool->id = pool->next_id;
		r = pool->doubt.all ? settle_all(session, pool)
				    : settle_pool(session, pool);
		if (r < 0)
			return r;
		tmem_doubt_clear(&pool->doubt);
	}
	end_session(&client->session);
	client->session = *session;
	return 0;
}

/* Open all pools in a new session. */
static int reopen_pools(struct attached *client, struct session *session)
{
	struct attached_pool *pool;
	int r;

	for (pool = client->pools; pool; pool = pool->next) {
		r = open_pool(session, pool);
		if (r < 0)
			return r;
		pool->next_id = (uint32_t)r;
	}
	return 0;
}

static int attached_reattach(struct tmem_client *base)
{
	struct attached *client = attached_of(base);
	struct session session;
	int r = 0;

	pthread_mutex_lock(&client->control);
	if (tmem_ring_client_alive(client->session.ring))
		goto out;
	r = begin_session(client, &session);
	if (r < 0)
		goto out;
	r = reopen_pools(client, &session);
	if (r == 0) {
		pthread_rwlock_wrlock(&client->lock);
		r = move_to(client, &session);
		pthread_rwlock_unlock(&client->lock);
	}
	if (r < 0)
		end_session(&session);
out:
	pthread_mutex_unlock(&client->control);
	return r;
}

static void attached_free(struct tmem_client *base)
{
	struct attached *client = attached_of(base);

	end_session(&client->session);
	pthread_rwlock_destroy(&client->lock);
	pthread_mutex_destroy(&client->control);
	free(client->domain);
	free(client->name);
	free(client->path);
	free(client);
}

static const struct tmem_client_ops attached_ops = {
	.connected = attached_connected,
	.reattach = attached_reattach,
	.client_free = attached_free,
	.pool_new = attached_pool_new,
	.pool_free = attached_pool_free,
	.pool_destroy = attached_pool_destroy,
	.put_run = attached_put_run,
	.get_run = attached_get_run,
	.flush_run = attached_flush_run,
	.flush_object = attached_flush_object,
	.pool_stats = attached_pool_stats,
};

int tmem_client_attach(const char *socket_path,
		       const struct tmem_client_config *config,
		       struct tmem_client **out)
{
	pthread_rwlockattr_t attr;
	struct attached *client;
	int r;

	r = tmem_client_config_check(config);
	if (r < 0)
		return r;
	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->base.ops = &attached_ops;
	client->session.conn = -1;
	client->timeout = config->timeout_ms ? (int)config->timeout_ms
					     : TMEM_RING_TIMEOUT;
	pthread_mutex_init(&client->control, NULL);
	pthread_rwlockattr_init(&attr);
	/* Reattaching must not starve behind calls that fail at once. */
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&client->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	client->path = strdup(socket_path ? socket_path : TMEM_SOCKET_PATH);
	client->name = strdup(config->name);
	client->domain = config->domain ? strdup(config->domain) : NULL;
	r = -ENOMEM;
	if (client->path && client->name && (client->domain || !config->domain))
		r = begin_session(client, &client->session);
	if (r < 0) {
		attached_free(&client->base);
		return r;
	}
	*out = &client->base;
	return 0;
}
