/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control connections. Each has a thread, which answers requests until the
 * peer hangs up or stalls; "attach" hands the connection to a session, and
 * "nbd-export" makes it a keeper's.
 *
 * Threading: add from one thread; free from the same.
 */
#ifndef TMEMD_CONN_H
#define TMEMD_CONN_H

#include "daemon.h"

struct tmemd_conns;

/** Returns 0 or -ENOMEM. */
int tmemd_conns_new(struct tmemd *daemon, struct tmemd_conns **out);

/** Hang up on everybody and wait for their threads. NULL is fine. Always
 * returns NULL. */
struct tmemd_conns *tmemd_conns_free(struct tmemd_conns *conns);

/** Serve an accepted connection, which is taken in every case. */
void tmemd_conns_add(struct tmemd_conns *conns, int sock);

#endif
