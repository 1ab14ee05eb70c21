/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of an export's pool:
 *
 *	keeper comes ---> hosted ---> keeper goes ---> pool destroyed
 *	     ^              |  \--- with "keep" -----> kept until it comes again
 *	     |              v
 *	     +---- tmemd goes, and comes back -----> the grace is over
 *	                                             without its keeper:
 *destroyed, unless kept
 *
 * An export is listed, and so its name taken, before its record is written and
 * until after it is forgotten; expire() goes by that list, under the lock.
 */
#include "exports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "daemon.h"
#include "export.h"
#include "log.h"
#include "record.h"
#include "uuid.h"
#include "view.h"

/* Most connections of an export whose owner is not an administrator. */
#define EXPORTS_MAX_CONNECTIONS 64

struct hosted {
	struct hosted *next;
	struct tmem_nbd_export *nbd; /* NULL while it starts or stops */
	char name[TMEM_NAME_MAX];
	struct ucred owner;
	bool keep;
	bool read_only;
	/* Its record before this keeper came. */
	bool known;
	bool known_keep;
};

struct tmemd_exports {
	struct tmemd *daemon;
	pthread_mutex_t lock; /* guards the rest */
	struct tmemd_records records;
	struct hosted *first;
	bool leaving;
};

int tmemd_exports_new(struct tmemd *daemon, struct tmemd_exports **out)
{
	struct tmemd_exports *exports = calloc(1, sizeof(*exports));

	if (exports == NULL)
		return -ENOMEM;
	exports->daemon = daemon;
	pthread_mutex_init(&exports->lock, NULL);
	*out = exports;
	return 0;
}

struct tmemd_exports *tmemd_exports_free(struct tmemd_exports *exports)
{
	if (exports == NULL)
		return NULL;
	tmemd_records_deinit(&exports->records);
	pthread_mutex_destroy(&exports->lock);
	free(exports);
	return NULL;
}

void tmemd_exports_leave(struct tmemd_exports *exports)
{
	pthread_mutex_lock(&exports->lock);
	exports->leaving = true;
	pthread_mutex_unlock(&exports->lock);
}

static struct hosted *exports_find_locked(struct tmemd_exports *exports,
					  uid_t uid, const char *name)
{
	struct hosted *hosted = exports->first;

	while (hosted != NULL &&
	       (hosted->owner.uid != uid || strcmp(hosted->name, name) != 0))
		hosted = hosted->next;
	return hosted;
}

/* The records' pool is made when it is needed, so that a store without exports
 * is empty. */
static int exports_records_locked(struct tmemd_exports *exports)
{
	if (exports->records.pool != NULL)
		return 0;
	return tmemd_records_init(&exports->records, exports->daemon->store);
}

/* List an export and write its record. */
static int exports_claim(struct tmemd_exports *exports, struct hosted *hosted,
			 char *error)
{
	int r;

	pthread_mutex_lock(&exports->lock);
	r = exports_records_locked(exports);
	if (r == 0 &&
	    exports_find_locked(exports, hosted->owner.uid, hosted->name))
		r = tmemd_error(
			error, -EBUSY,
			"an export \"%s\" of this user is being served: stop its tmem-nbd, or give another --name",
			hosted->name);
	if (r == 0) {
		hosted->known =
			tmemd_records_get(&exports->records, hosted->owner.uid,
					  hosted->name, &hosted->known_keep);
		if (tmemd_records_put(&exports->records, hosted->owner.uid,
				      hosted->name, hosted->keep) < 0)
			r = tmemd_error(
				error, -ENOSPC,
				"the store takes no page: raise its budget (tmem-admin set --budget) or thaw it");
	}
	if (r == 0) {
		hosted->next = exports->first;
		exports->first = hosted;
	}
	pthread_mutex_unlock(&exports->lock);
	return r;
}

/* Take an export from the list, and forget it unless a later tmemd must know
 * it, as keep then says. */
static void exports_release(struct tmemd_exports *exports,
			    struct hosted *hosted, bool forget, bool keep)
{
	struct hosted **at = &exports->first;

	pthread_mutex_lock(&exports->lock);
	while (*at != hosted)
		at = &(*at)->next;
	*at = hosted->next;
	if (forget)
		tmemd_records_forget(&exports->records, hosted->owner.uid,
				     hosted->name);
	else if (keep != hosted->keep)
		tmemd_records_put(&exports->records, hosted->owner.uid,
				  hosted->name, keep);
	pthread_mutex_unlock(&exports->lock);
}

/* What a request asks for. Returns 0, or -EINVAL or -EPERM with error. */
static int exports_parse(const json_t *request, struct hosted *hosted,
			 struct tmem_nbd_export_config *config,
			 bool *has_overflow, char *error)
{
	const char *name = NULL, *device = NULL, *description = NULL;
	const char *codec = NULL;
	int read_only = 0, keep = 0, reset = 0, overflow = 0, connections = 0;
	int host_swap = 0;
	json_int_t size = 0;
	json_error_t why;

	if (json_unpack_ex((json_t *)request, &why, 0,
			   "{s:s, s?I, s?b, s?b, s?b, s?b, s?b, s?s, s?s, s?s, s?i}",
			   "name", &name, "size", &size, "read_only",
			   &read_only, "keep", &keep, "reset", &reset,
			   "overflow", &overflow, "host_swap", &host_swap,
			   "device", &device,
			   "description", &description, "codec", &codec,
			   "max_connections", &connections) < 0)
		return tmemd_error(error, -EINVAL, "nbd-export: %s", why.text);
	if (strlen(name) >= sizeof(hosted->name) || size < 0 || connections < 0)
		return tmemd_error(
			error, -EINVAL,
			"nbd-export: the name is too long, or a number negative");
	if (host_swap && !tmemd_daemon_is_admin(hosted->owner.uid))
		return tmemd_error(
			error, -EPERM,
			"nbd-export: host swap takes memory from all others: it is for administrators");
	/* Each takes a thread and a descriptor from all others' service. */
	if (connections > EXPORTS_MAX_CONNECTIONS &&
	    !tmemd_daemon_is_admin(hosted->owner.uid))
		return tmemd_error(
			error, -EPERM,
			"nbd-export: an ordinary user's export has at most %d connections: ask for fewer",
			EXPORTS_MAX_CONNECTIONS);
	if (device != NULL && tmem_uuid_parse(device, &config->device) < 0)
		return tmemd_error(error, -EINVAL,
				   "nbd-export: device \"%.64s\" is no uuid",
				   device);
	if (codec != NULL) {
		config->codec = tmemd_setting_codec(codec);
		if (config->codec == TMEM_CODEC_NONE)
			return tmemd_error(
				error, -EINVAL,
				"nbd-export: codec \"%.64s\" is none of lz4, lzo, zstd, raw",
				codec);
	}
	strcpy(hosted->name, name);
	hosted->keep = keep;
	hosted->read_only = read_only;
	config->name = hosted->name;
	config->description = description;
	config->size = (uint64_t)size;
	config->read_only = read_only;
	config->reset = reset;
	config->host_swap = host_swap;
	config->max_connections = (unsigned)connections;
	*has_overflow = overflow;
	return 0;
}

/* Whether fd is a listening unix stream socket. */
static bool exports_is_listener(int fd)
{
	int domain, type, listening;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) ==
		       0 &&
	       domain == AF_UNIX && type == SOCK_STREAM && listening != 0;
}

/* Start serving with the descriptors that came with the request. */
static int exports_start(struct tmemd_exports *exports, struct hosted *hosted,
			 struct tmem_nbd_export_config *config,
			 struct tmem_message *message, char *error)
{
	struct tmem_nbd_export *nbd;
	int r;

	config->listen_fd = message->fd[0];
	config->overflow_fd = message->fd[1];
	config->uid = hosted->owner.uid;
	config->store = exports->daemon->store;
	r = tmem_nbd_export_start(config, &nbd, error, TMEMD_ERROR_MAX);
	if (r < 0)
		return r;
	/* The export has taken them over. */
	tmem_message_take_fd(message, 0);
	tmem_message_take_fd(message, 1);
	tmemd_daemon_joined(exports->daemon, hosted->name, hosted->owner.uid);
	pthread_mutex_lock(&exports->lock);
	hosted->nbd = nbd;
	pthread_mutex_unlock(&exports->lock);
	return 0;
}

static int exports_reply(int sock, const struct tmem_nbd_export *nbd)
{
	struct tmem_uuid device = tmem_nbd_export_device(nbd);
	char text[TMEM_UUID_TEXT];
	json_t *reply;
	int r;

	reply = json_pack("{s:b, s:I, s:s, s:i}", "ok", 1, "size",
			  (json_int_t)tmem_nbd_export_size(nbd), "device",
			  tmem_uuid_format(&device, text), "pid", getpid());
	if (reply == NULL)
		return -ENOMEM;
	r = tmem_message_send(sock, reply, NULL, 0, TMEM_MESSAGE_TIMEOUT);
	json_decref(reply);
	return r;
}

/* Until the keeper hangs up: it has nothing more to say. */
static void exports_wait(int sock)
{
	struct tmem_message message;

	while (tmem_message_receive_request(sock, &message, -1) == 0) {
		tmem_message_deinit(&message);
		tmem_message_send_error(
			sock, -EINVAL,
			"this connection keeps an export: open another");
	}
}

static void exports_serve(struct tmemd_exports *exports, int sock,
			  struct hosted *hosted)
{
	struct tmem_nbd_export *nbd = hosted->nbd;
	bool keep;

	tmem_log(LOG_INFO, "export %s of user %u: serving", hosted->name,
		 hosted->owner.uid);
	if (exports_reply(sock, nbd) == 0)
		exports_wait(sock);
	pthread_mutex_lock(&exports->lock);
	hosted->nbd = NULL;
	keep = hosted->keep || exports->leaving;
	pthread_mutex_unlock(&exports->lock);
	tmem_nbd_export_stop(nbd, keep);
	exports_release(exports, hosted, !keep, hosted->keep);
	tmem_log(LOG_INFO, "export %s of user %u: ended, its pages %s",
		 hosted->name, hosted->owner.uid, keep ? "kept" : "flushed");
}

void tmemd_exports_keep(struct tmemd_exports *exports, int sock,
			const struct ucred *peer, struct tmem_message *message)
{
	struct tmem_nbd_export_config config = {0};
	struct hosted hosted = {.owner = *peer};
	char error[TMEMD_ERROR_MAX] = "";
	bool overflow = false;
	int r;

	r = exports_parse(message->json, &hosted, &config, &overflow, error);
	if (r == 0 && message->fds != 1u + overflow)
		r = tmemd_error(
			error, -EINVAL,
			"nbd-export: %u descriptors came with the request, expected %u",
			message->fds, 1u + overflow);
	if (r == 0 && !exports_is_listener(message->fd[0]))
		r = tmemd_error(
			error, -EINVAL,
			"nbd-export: the first descriptor is no listening unix stream socket");
	if (r == 0)
		r = exports_claim(exports, &hosted, error);
	if (r == 0) {
		r = exports_start(exports, &hosted, &config, message, error);
		if (r < 0)
			exports_release(exports, &hosted, !hosted.known,
					hosted.known_keep);
	}
	if (r == 0)
		exports_serve(exports, sock, &hosted);
	else
		tmem_message_send_error(sock, r, "%s",
					*error ? error : strerror(-r));
}

/* Whether a client is an export that nobody came back for. */
static bool exports_is_orphan_locked(struct tmemd_exports *exports,
				     const struct tmem_client_info *client)
{
	bool keep;

	return !client->connected &&
	       !exports_find_locked(exports, client->uid, client->name) &&
	       exports_records_locked(exports) == 0 &&
	       tmemd_records_get(&exports->records, client->uid, client->name,
				 &keep) &&
	       !keep;
}

void tmemd_exports_expire(struct tmemd_exports *exports)
{
	struct tmem_store *store = exports->daemon->store;
	struct tmem_client_info *client;
	size_t count;

	if (tmem_store_clients(store, &client, NULL, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		/* Held meanwhile, so that a keeper that comes just now waits
		 * and then begins anew. */
		pthread_mutex_lock(&exports->lock);
		if (exports_is_orphan_locked(exports, &client[i]) &&
		    tmem_store_destroy_client(store, client[i].id) == 0) {
			tmemd_records_forget(&exports->records, client[i].uid,
					     client[i].name);
			tmem_log(
				LOG_NOTICE,
				"export %s of user %u: its keeper did not come back, its pages are flushed",
				client[i].name, client[i].uid);
		}
		pthread_mutex_unlock(&exports->lock);
	}
	free(client);
}

static json_t *exports_json_locked(const struct hosted *hosted, bool counters)
{
	uint64_t value[TMEM_NBD_STAT_COUNT];
	json_t *stats = NULL;

	if (counters) {
		tmem_nbd_export_stats(hosted->nbd, value);
		stats = tmemd_view_counters(tmem_nbd_stat_desc, value,
					    TMEM_NBD_STAT_COUNT);
	}
	return json_pack("{s:s, s:I, s:I, s:b, s:b, s:i, s:o*}", "name",
			 hosted->name, "uid", (json_int_t)hosted->owner.uid,
			 "size", (json_int_t)tmem_nbd_export_size(hosted->nbd),
			 "read_only", hosted->read_only, "keep", hosted->keep,
			 "keeper", (int)hosted->owner.pid, "stats", stats);
}

json_t *tmemd_exports_json(struct tmemd_exports *exports, const uid_t *uid,
			   bool counters)
{
	json_t *array = json_array();
	struct hosted *hosted;

	pthread_mutex_lock(&exports->lock);
	for (hosted = exports->first; hosted && array; hosted = hosted->next) {
		if (hosted->nbd == NULL ||
		    (uid != NULL && hosted->owner.uid != *uid))
			continue;
		if (json_array_append_new(
			    array, exports_json_locked(hosted, counters)) < 0) {
			json_decref(array);
			array = NULL;
		}
	}
	pthread_mutex_unlock(&exports->lock);
	return array;
}
