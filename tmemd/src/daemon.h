/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemd as a whole: its store and who uses it, from start to end.
 *
 * Threads:
 *	main	accepts connections and takes signals; does nothing slow
 *	steward	what takes time and nobody waits for (steward.h)
 *	conn	one a control connection (conn.h)
 *	and those of sessions, exports and the store
 *
 * Lifetime: made once, by main().
 */
#ifndef TMEMD_DAEMON_H
#define TMEMD_DAEMON_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "config.h"
#include "limit.h"
#include "options.h"
#include "session.h"

struct tmemd_exports;

struct tmemd {
	const struct tmemd_options *options;
	struct tmem_store *store;
	struct tmemd_limit limit;
	struct tmem_sessions *sessions;
	struct tmemd_exports *exports;
	pthread_mutex_t lock; /* guards config and frozen */
	struct tmemd_config config;
	bool frozen; /* the whole store */
};

/** Run until SIGTERM or SIGINT. ready (-1: nobody waits) is written to and
 * closed once tmemd answers. Returns 0, or -errno and error (TMEMD_ERROR_MAX
 * bytes) says why it did not start. */
int tmemd_daemon_run(const struct tmemd_options *options, int ready,
		     char *error);

/** The dedup domain that the configuration gives a client, or "". */
void tmemd_daemon_domain(struct tmemd *daemon, const char *name, uid_t uid,
			 char domain[static TMEM_NAME_MAX]);

/** Give a client that has just come the settings that the configuration has
 * for it. arg is a struct tmemd. */
void tmemd_daemon_joined(void *arg, const char *name, uid_t uid);

/** Whether a peer may administer: root, or the user tmemd runs as. */
bool tmemd_daemon_is_admin(uid_t uid);

#endif
