/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attached clients.
 *
 * A session has a thread that reads its control connection, and a ring with
 * workers of its own (ring-server.c): what one client does to its connection
 * or its ring keeps nobody else waiting.
 *
 *   starting -> attached -> ending -> gone
 *   starting -> ending                        the attach was refused
 *
 * The thread does all of it: it becomes a client of the store, makes the ring,
 * replies with its descriptor, serves messages until the connection ends or is
 * shut down (by tmem_sessions_free), stops the ring, ends the pools and the
 * client, and takes the session off the list, which is the last that anyone
 * hears of it. The client is what orders sessions of the same uid and name: a
 * second one is refused while the first lives, but waits for one whose
 * connection has hung up, so that a client that lost its session can attach
 * again at once and nothing of the old session happens after that.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <log.h>
#include <ring-server.h>
#include <tmem/stats.h>
#include <uuid.h>
#include "session.h"

/* More than any host's guests and mounts; each costs three threads. Root's are
 * counted apart; one other user gets a part of them. */
#define SESSIONS_MAX	  512u
#define SESSIONS_MAX_USER 64u

/* Longest that a session waits for its predecessor to be gone, s. */
#define PREDECESSOR_WAIT 5

struct tmem_sessions {
	struct tmem_store *store;
	tmem_sessions_joined_fn *joined;
	void *joined_arg;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t gone;  /* a session has left the list */
	struct session *first;
	unsigned count;
};

struct session {
	struct tmem_sessions *all;
	struct session *next;
	int conn;
	uid_t uid;
	char name[TMEM_NAME_MAX];
	char domain[TMEM_NAME_MAX]; /* "" is the host's common one */
	struct tmem_client *client;
	struct tmem_ring_server *ring;
};

/* Starting ----------------------------------------------------------------- */

static bool has_hung_up(const struct session *session)
{
	struct pollfd pfd = {.fd = session->conn, .events = POLLRDHUP};

	return poll(&pfd, 1, 0) > 0 &&
	       (pfd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Whether another session of the same client is about to go. */
static bool has_predecessor_locked(const struct session *session)
{
	const struct session *s;

	for (s = session->all->first; s; s = s->next)
		if (s != session && s->uid == session->uid &&
		    strcmp(s->name, session->name) == 0 && has_hung_up(s))
			return true;
	return false;
}

/* Become a client, after a predecessor if need be. */
static int become_client(struct session *session)
{
	struct tmem_sessions *all = session->all;
	struct tmem_client_config config = {
		.name = session->name,
		.uid = session->uid,
		.domain = session->domain[0] ? session->domain : NULL,
	};
	struct timespec until;
	int r, waited = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PREDECESSOR_WAIT;
	pthread_mutex_lock(&all->lock);
	for (;;) {
		r = tmem_client_new_local(all->store, &config,
					  &session->client);
		if (r != -EBUSY || waited || !has_predecessor_locked(session))
			break;
		waited = pthread_cond_timedwait(&all->gone, &all->lock, &until);
	}
	pthread_mutex_unlock(&all->lock);
	return r;
}

static const char *why_refused(int error)
{
	switch (error) {
	case -EINVAL:
		return "the name or the dedup domain is not valid";
	case -EBUSY:
		return "a client of this user and name is attached already; choose another name";
	case -ENOSPC:
		return "the store has as many clients as it can; see tmem-admin list";
	default:
		return strerrordesc_np(-error);
	}
}

/* Attach, and reply. Returns 0 when the session is to go on. */
static int begin(struct session *session)
{
	json_t *reply;
	int r, fd;

	r = become_client(session);
	if (r == 0 && session->all->joined)
		session->all->joined(session->all->joined_arg, session->name,
				     session->uid);
	if (r == 0)
		r = tmem_ring_server_new(session->all->store, &session->ring);
	if (r < 0) {
		tmem_message_send_error(session->conn, r, "%s: %s",
					session->name, why_refused(r));
		return r;
	}
	reply = json_pack("{s:b, s:i}", "ok", 1, "ring",
			  (int)TMEM_RING_VERSION);
	if (!reply)
		return -ENOMEM;
	fd = tmem_ring_server_fd(session->ring);
	r = tmem_message_send(session->conn, reply, &fd, 1,
			      TMEM_MESSAGE_TIMEOUT);
	json_decref(reply);
	return r;
}

/* Serving ------------------------------------------------------------------ */

static int reply_ok(struct session *session, json_t *reply)
{
	int r;

	if (!reply)
		return -ENOMEM;
	r = tmem_message_send(session->conn, reply, NULL, 0,
			      TMEM_MESSAGE_TIMEOUT);
	json_decref(reply);
	return r;
}

/* The one check of a pool's configuration that came in a message (and what
 * tmem_pool_new() checks of any). config->name lives as long as json. */
static int parse_pool(json_t *json, struct tmem_pool_config *config)
{
	json_int_t flags, codec = 0, dedup = 0;
	const char *name, *uuid = NULL;

	if (json_unpack(json, "{s:s, s:I, s?:s, s?:I, s?:I}", "name", &name,
			"flags", &flags, "uuid", &uuid, "codec", &codec,
			"dedup", &dedup) < 0)
		return -EINVAL;
	if (flags < 0 || flags > UINT32_MAX || codec < 0 ||
	    codec >= TMEM_CODEC_COUNT || dedup < 0 || dedup > TMEM_DEDUP_OFF)
		return -EINVAL;
	*config = (struct tmem_pool_config){
		.name = name,
		.flags = (uint32_t)flags,
		.codec = (enum tmem_codec)codec,
		.dedup = (enum tmem_dedup)dedup,
	};
	return uuid ? tmem_uuid_parse(uuid, &config->uuid) : 0;
}

static const char *why_no_pool(int error)
{
	switch (error) {
	case -EINVAL:
		return "the pool's name, flags, uuid, codec or dedup are not valid";
	case -EPERM:
		return "this client is not authorised for the shared pool; see tmem-admin shared-auth";
	case -EBUSY:
		return "the pool is open already";
	case -EEXIST:
		return "a pool of this name or uuid exists with other flags";
	case -ENOSPC:
		return "as many pools are open as can be";
	default:
		return strerrordesc_np(-error);
	}
}

static int open_pool(struct session *session, json_t *json)
{
	struct tmem_pool_config config;
	struct tmem_pool *pool = NULL;
	int r, id = -1;

	r = parse_pool(json, &config);
	if (r == 0)
		r = tmem_pool_new(session->client, &config, &pool);
	if (r == 0) {
		id = tmem_ring_server_add(session->ring, pool);
		r = id;
	}
	if (r < 0) {
		tmem_pool_free(pool);
		return tmem_message_send_error(session->conn, r, "%s",
					       why_no_pool(r));
	}
	return reply_ok(session, json_pack("{s:b, s:i}", "ok", 1, "pool", id));
}

/* Which pool a message names, or TMEM_RING_POOLS for none. */
static unsigned pool_id(const json_t *json)
{
	const json_t *id = json_object_get(json, "pool");
	json_int_t value = json_integer_value(id);

	if (!json_is_integer(id) || value < 0 || value >= TMEM_RING_POOLS)
		return TMEM_RING_POOLS;
	return (unsigned)value;
}

static int no_such_pool(struct session *session)
{
	return tmem_message_send_error(session->conn, -EBADF,
				       "no such pool is open");
}

static int close_pool(struct session *session, json_t *json, bool destroy)
{
	struct tmem_pool *pool;
	int r = 0;

	pool = tmem_ring_server_take(session->ring, pool_id(json));
	if (!pool)
		return no_such_pool(session);
	if (destroy)
		r = tmem_pool_destroy(pool);
	else
		tmem_pool_free(pool);
	if (r < 0)
		return tmem_message_send_error(session->conn, r, "%s",
					       strerrordesc_np(-r));
	return reply_ok(session, json_pack("{s:b}", "ok", 1));
}

static int pool_stats(struct session *session, json_t *json)
{
	uint64_t values[TMEM_POOL_STAT_COUNT];
	struct tmem_pool *pool;
	json_t *stats;
	unsigned i;
	int r;

	pool = tmem_ring_server_pool(session->ring, pool_id(json));
	if (!pool)
		return no_such_pool(session);
	r = tmem_pool_stats(pool, values);
	if (r < 0)
		return tmem_message_send_error(session->conn, r, "%s",
					       strerrordesc_np(-r));
	stats = json_object();
	for (i = 0; i < TMEM_POOL_STAT_COUNT; i++)
		json_object_set_new(stats, tmem_pool_stat_desc[i].name,
				    json_integer((json_int_t)values[i]));
	return reply_ok(session,
			json_pack("{s:b, s:o}", "ok", 1, "stats", stats));
}

/* Serve one message. Returns 0, or -errno when the session cannot go on. */
static int serve(struct session *session, json_t *json)
{
	const char *op;
	int r;

	r = tmem_message_parse(json, &op);
	if (r < 0)
		return r;
	if (strcmp(op, "pool-open") == 0)
		return open_pool(session, json);
	if (strcmp(op, "pool-close") == 0)
		return close_pool(session, json, false);
	if (strcmp(op, "pool-destroy") == 0)
		return close_pool(session, json, true);
	if (strcmp(op, "pool-stats") == 0)
		return pool_stats(session, json);
	return tmem_message_send_error(session->conn, -EOPNOTSUPP,
				       "%.64s: not for an attached client", op);
}

static void serve_all(struct session *session)
{
	struct tmem_message message;
	int r;

	do {
		r = tmem_message_receive_request(session->conn, &message, -1);
		if (r < 0)
			break;
		r = serve(session, message.json);
		tmem_message_deinit(&message);
	} while (r == 0);
	if (r < 0 && r != -ECONNRESET)
		tmem_log(
			LOG_WARNING,
			"client %s of uid %u: %s on its control connection; session ended",
			session->name, (unsigned)session->uid,
			strerrordesc_np(-r));
}

/* Ending ------------------------------------------------------------------- */

static void end(struct session *session)
{
	struct tmem_sessions *all = session->all;
	struct session **at;
	unsigned i;

	if (session->ring)
		for (i = 0; i < TMEM_RING_POOLS; i++)
			tmem_pool_free(tmem_ring_server_take(session->ring, i));
	tmem_ring_server_free(session->ring);
	tmem_client_free(session->client);
	pthread_mutex_lock(&all->lock);
	for (at = &all->first; *at != session; at = &(*at)->next)
		;
	*at = session->next;
	close(session->conn);
	free(session);
	all->count--;
	pthread_cond_broadcast(&all->gone);
	pthread_mutex_unlock(&all->lock);
}

static void *run_session(void *arg)
{
	struct session *session = arg;

	if (begin(session) == 0) {
		tmem_log(LOG_INFO, "client %s of uid %u attached",
			 session->name, (unsigned)session->uid);
		serve_all(session);
		tmem_log(LOG_INFO, "client %s of uid %u detached",
			 session->name, (unsigned)session->uid);
	}
	end(session);
	return NULL;
}

/* Whether there is room for one more of this user's. */
static bool has_room_locked(const struct tmem_sessions *all, uid_t uid)
{
	const struct session *s;
	unsigned own = 0, peers = 0;

	for (s = all->first; s; s = s->next) {
		own += s->uid == uid;
		peers += (s->uid == 0) == (uid == 0);
	}
	return peers < SESSIONS_MAX && (uid == 0 || own < SESSIONS_MAX_USER);
}

static int start_thread(struct session *session)
{
	struct tmem_sessions *all = session->all;
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&all->lock);
	r = has_room_locked(all, session->uid) ? 0 : -EUSERS;
	if (r == 0)
		r = -pthread_create(&thread, &attr, run_session, session);
	if (r == 0) {
		session->next = all->first;
		all->first = session;
		all->count++;
	}
	pthread_mutex_unlock(&all->lock);
	pthread_attr_destroy(&attr);
	return r;
}

/* The one check of an attach request (the store checks the names' form). */
static int parse_attach(struct session *session, const json_t *request,
			const char *domain)
{
	const char *name = json_string_value(json_object_get(request, "name"));

	if (!domain)
		domain = json_string_value(json_object_get(request, "domain"));
	if (!domain)
		domain = "";
	if (!name || strlen(name) >= sizeof(session->name) ||
	    strlen(domain) >= sizeof(session->domain))
		return -EINVAL;
	memcpy(session->name, name, strlen(name) + 1);
	memcpy(session->domain, domain, strlen(domain) + 1);
	return 0;
}

int tmem_sessions_attach(struct tmem_sessions *sessions, int conn,
			 const struct ucred *peer, const json_t *request,
			 const char *domain)
{
	struct session *session = calloc(1, sizeof(*session));
	int r = -ENOMEM;

	if (session) {
		session->all = sessions;
		session->conn = conn;
		session->uid = peer->uid;
		r = parse_attach(session, request, domain);
	}
	if (r == 0)
		r = start_thread(session);
	if (r < 0) {
		tmem_message_send_error(conn, r, "cannot attach: %s",
					r == -EINVAL ? why_refused(r)
						     : strerrordesc_np(-r));
		close(conn);
		free(session);
	}
	return r;
}

int tmem_sessions_new(struct tmem_store *store, tmem_sessions_joined_fn *joined,
		      void *arg, struct tmem_sessions **out)
{
	struct tmem_sessions *sessions = calloc(1, sizeof(*sessions));
	pthread_condattr_t attr;

	if (!sessions)
		return -ENOMEM;
	sessions->store = store;
	sessions->joined = joined;
	sessions->joined_arg = arg;
	pthread_mutex_init(&sessions->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&sessions->gone, &attr);
	pthread_condattr_destroy(&attr);
	*out = sessions;
	return 0;
}

struct tmem_sessions *tmem_sessions_free(struct tmem_sessions *sessions)
{
	struct session *s;

	if (!sessions)
		return NULL;
	pthread_mutex_lock(&sessions->lock);
	for (s = sessions->first; s; s = s->next)
		shutdown(s->conn, SHUT_RDWR);
	while (sessions->count > 0)
		pthread_cond_wait(&sessions->gone, &sessions->lock);
	pthread_mutex_unlock(&sessions->lock);
	pthread_cond_destroy(&sessions->gone);
	pthread_mutex_destroy(&sessions->lock);
	free(sessions);
	return NULL;
}

unsigned tmem_sessions_count(struct tmem_sessions *sessions)
{
	unsigned count;

	pthread_mutex_lock(&sessions->lock);
	count = sessions->count;
	pthread_mutex_unlock(&sessions->lock);
	return count;
}
