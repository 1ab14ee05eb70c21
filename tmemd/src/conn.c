/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer may send anything, or nothing, at any pace. What it can waste is one
 * thread for the time a message may take, and only so many at once:
 *
 *	everybody together	CONNS_MAX
 *	one user who is not an administrator	CONNS_MAX_USER
 *
 * so that an administrator gets through whatever the others do. Sessions are
 * no longer counted here; keepers are counted apart.
 */
#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "control.h"
#include "error.h"
#include "exports.h"
#include "message.h"

#define CONNS_MAX	 512u
#define CONNS_MAX_USER	 64u
#define KEEPERS_MAX	 512u
#define KEEPERS_MAX_USER 64u

struct conn {
	struct conn *next;
	struct conn **at; /* what points to this one */
	struct tmemd_conns *conns;
	struct ucred peer;
	int sock; /* -1 once handed over */
	bool keeper;
};

struct tmemd_conns {
	struct tmemd *daemon;
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t ended; /* the list has become empty */
	struct conn *first;
	bool stopping;
};

/* Whether there is room for one more like peer. */
static bool conns_room_locked(const struct tmemd_conns *conns, uid_t uid,
			      bool keeper)
{
	bool admin = tmemd_daemon_is_admin(uid);
	unsigned all = 0, own = 0;

	for (struct conn *conn = conns->first; conn; conn = conn->next) {
		if (conn->keeper != keeper)
			continue;
		if (tmemd_daemon_is_admin(conn->peer.uid) == admin)
			all++;
		own += conn->peer.uid == uid;
	}
	return all < (keeper ? KEEPERS_MAX : CONNS_MAX) &&
	       (admin || own < (keeper ? KEEPERS_MAX_USER : CONNS_MAX_USER));
}

static void conn_unlink_locked(struct conn *conn)
{
	*conn->at = conn->next;
	if (conn->next != NULL)
		conn->next->at = conn->at;
	if (conn->conns->first == NULL)
		pthread_cond_signal(&conn->conns->ended);
}

/* Give up the socket, which is the caller's from now on. */
static int conn_take_sock(struct conn *conn)
{
	int sock;

	pthread_mutex_lock(&conn->conns->lock);
	sock = conn->sock;
	conn->sock = -1;
	pthread_mutex_unlock(&conn->conns->lock);
	return sock;
}

static void conn_attach(struct conn *conn, const struct tmem_message *message)
{
	struct tmemd *daemon = conn->conns->daemon;
	const char *name =
		json_string_value(json_object_get(message->json, "name"));
	char domain[TMEM_NAME_MAX] = "";

	if (name != NULL)
		tmemd_daemon_domain(daemon, name, conn->peer.uid, domain);
	tmem_sessions_attach(daemon->sessions, conn_take_sock(conn),
			     &conn->peer, message->json,
			     *domain != '\0' ? domain : NULL);
}

static void conn_keep(struct conn *conn, struct tmem_message *message)
{
	struct tmemd_conns *conns = conn->conns;
	bool room;

	pthread_mutex_lock(&conns->lock);
	room = conns_room_locked(conns, conn->peer.uid, true);
	conn->keeper = room;
	pthread_mutex_unlock(&conns->lock);
	if (room)
		tmemd_exports_keep(conns->daemon->exports, conn->sock,
				   &conn->peer, message);
	else
		tmem_message_send_error(
			conn->sock, -EUSERS,
			"too many exports are hosted for this user");
}

/* Answer one message. Returns whether to go on. */
static bool conn_answer(struct conn *conn, struct tmem_message *message)
{
	char error[TMEMD_ERROR_MAX] = "";
	const char *op;
	json_t *reply = NULL;
	int r;

	r = tmem_message_parse(message->json, &op);
	if (r < 0) {
		tmem_message_send_error(
			conn->sock, r,
			"not a request of this version: send {\"tmem\": %d, \"op\": ...}",
			TMEM_MESSAGE_VERSION);
		return false;
	}
	if (strcmp(op, "attach") == 0 || strcmp(op, "nbd-export") == 0) {
		if (*op == 'a')
			conn_attach(conn, message);
		else
			conn_keep(conn, message);
		return false;
	}
	r = tmemd_control_run(conn->conns->daemon, conn->peer.uid, op,
			      message->json, &reply, error);
	if (r == 0)
		r = tmem_message_send(conn->sock, reply, NULL, 0,
				      TMEM_MESSAGE_TIMEOUT);
	else
		r = tmem_message_send_error(conn->sock, r, "%s",
					    *error ? error : strerror(-r));
	json_decref(reply);
	return r == 0;
}

static void *conn_main(void *arg)
{
	struct conn *conn = arg;
	struct tmem_message message = TMEM_MESSAGE_INIT;
	bool more = true;
	int r, sock;

	while (more) {
		r = tmem_message_receive_request(conn->sock, &message,
						 TMEM_MESSAGE_TIMEOUT);
		if (r == 0)
			more = conn_answer(conn, &message);
		else if (r == -EBADMSG || r == -EMSGSIZE || r == -EPROTO)
			tmem_message_send_error(
				conn->sock, r,
				"not a request: send one JSON object a line, at most %u bytes",
				TMEM_MESSAGE_REQUEST_MAX);
		tmem_message_deinit(&message);
		more = more && r == 0;
	}
	pthread_mutex_lock(&conn->conns->lock);
	sock = conn->sock;
	conn_unlink_locked(conn);
	pthread_mutex_unlock(&conn->conns->lock);
	if (sock >= 0)
		close(sock);
	free(conn);
	return NULL;
}

int tmemd_conns_new(struct tmemd *daemon, struct tmemd_conns **out)
{
	struct tmemd_conns *conns = calloc(1, sizeof(*conns));

	if (conns == NULL)
		return -ENOMEM;
	conns->daemon = daemon;
	pthread_mutex_init(&conns->lock, NULL);
	pthread_cond_init(&conns->ended, NULL);
	*out = conns;
	return 0;
}

struct tmemd_conns *tmemd_conns_free(struct tmemd_conns *conns)
{
	if (conns == NULL)
		return NULL;
	pthread_mutex_lock(&conns->lock);
	conns->stopping = true;
	for (struct conn *conn = conns->first; conn; conn = conn->next)
		if (conn->sock >= 0)
			shutdown(conn->sock, SHUT_RDWR);
	while (conns->first != NULL)
		pthread_cond_wait(&conns->ended, &conns->lock);
	pthread_mutex_unlock(&conns->lock);
	pthread_cond_destroy(&conns->ended);
	pthread_mutex_destroy(&conns->lock);
	free(conns);
	return NULL;
}

/* Start the thread of a connection that has been listed. */
static int conn_start(struct conn *conn)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = -pthread_create(&thread, &attr, conn_main, conn);
	pthread_attr_destroy(&attr);
	return r;
}

void tmemd_conns_add(struct tmemd_conns *conns, int sock)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	socklen_t size = sizeof(conn->peer);
	bool room = false;
	int r;

	if (conn == NULL ||
	    getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &conn->peer, &size) < 0)
		goto refuse;
	conn->conns = conns;
	conn->sock = sock;
	pthread_mutex_lock(&conns->lock);
	room = conns_room_locked(conns, conn->peer.uid, false);
	if (room) {
		conn->next = conns->first;
		conn->at = &conns->first;
		if (conn->next != NULL)
			conn->next->at = &conn->next;
		conns->first = conn;
	}
	pthread_mutex_unlock(&conns->lock);
	if (!room) {
		/* Does not wait: there is room in a new socket. */
		tmem_message_send_error(sock, -EUSERS,
					"too many control connections");
		goto refuse;
	}
	r = conn_start(conn);
	if (r == 0)
		return;
	pthread_mutex_lock(&conns->lock);
	conn_unlink_locked(conn);
	pthread_mutex_unlock(&conns->lock);
	tmem_message_send_error(sock, r, TMEMD_NO_THREAD);
refuse:
	close(sock);
	free(conn);
}
