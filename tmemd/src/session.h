/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attached clients: each is a session with a ring, a control connection and
 * threads of its own, and ends when its connection does. The daemon hands over
 * connections whose first message is "attach" and forgets about them.
 *
 * Threading: any thread. Lifetime: the store must outlive the sessions.
 */
#ifndef TMEMD_SESSION_H
#define TMEMD_SESSION_H

#include <sys/socket.h>
#include <sys/types.h>
#include <message.h>
#include <tmem/store.h>

struct tmem_sessions;

/** Called from a session's thread when it has become a client, before that
 * client hears of it. */
typedef void tmem_sessions_joined_fn(void *arg, const char *name, uid_t uid);

/** Returns 0 or -ENOMEM. joined may be NULL. */
int tmem_sessions_new(struct tmem_store *store, tmem_sessions_joined_fn *joined,
		      void *arg, struct tmem_sessions **out);

/** End all sessions (their clients get -ENOTCONN from then on) and wait for
 * their threads. NULL is fine. Always returns NULL. */
struct tmem_sessions *tmem_sessions_free(struct tmem_sessions *sessions);

/**
 * Start a session for the client at the other end of conn, whose credentials
 * are peer and whose first message was request ("attach", parsed by
 * tmem_message_parse()). Its name comes from the request, its uid from peer.
 * domain, unless NULL, is the dedup domain whatever the request says.
 *
 * Takes conn in every case: what is wrong is replied to the client. Does not
 * wait for the client. Returns 0, or -errno when no session was started.
 */
int tmem_sessions_attach(struct tmem_sessions *sessions, int conn,
			 const struct ucred *peer, const json_t *request,
			 const char *domain);

/** Sessions alive now. */
unsigned tmem_sessions_count(struct tmem_sessions *sessions);

#endif
