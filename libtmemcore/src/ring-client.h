/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client's side of a ring: one call is one request, and ends with its reply
 * or, soon, with -ENOTCONN.
 *
 * Threading: calls from any thread; freeing must be the last.
 * Lifetime: the connection belongs to the caller and must outlive this.
 */
#ifndef TMEM_RING_CLIENT_H
#define TMEM_RING_CLIENT_H

#include "ring.h"

struct tmem_ring_client;

/** Longest that tmemd may take for a get or put, ms, unless told otherwise. */
#define TMEM_RING_TIMEOUT 1000

/**
 * Map the ring in fd (which stays the caller's). conn is the control
 * connection, which tells whether tmemd is alive. timeout is in ms. Returns 0;
 * -EPROTO when it is no ring of this version; -errno.
 */
int tmem_ring_client_new(int fd, int conn, int timeout,
			 struct tmem_ring_client **out);

/** NULL is fine. Always returns NULL. */
struct tmem_ring_client *tmem_ring_client_free(struct tmem_ring_client *ring);

/** Whether calls can succeed: neither abandoned nor hung up. */
bool tmem_ring_client_alive(struct tmem_ring_client *ring);

/** Give up the session for good: the connection is shut down, so that tmemd
 * ends it, and calls return -ENOTCONN. */
void tmem_ring_client_abandon(struct tmem_ring_client *ring);

/**
 * Make one request. in are a put's pages, out takes a get's, outcome (NULL is
 * fine) takes one enum tmem_outcome a page of either. Returns the reply's
 * result, or -ENOTCONN: then the session is abandoned, and whether the request
 * was or will be carried out is unknown.
 */
int tmem_ring_client_call(struct tmem_ring_client *ring,
			  const struct tmem_ring_request *request,
			  const void *in, void *out, uint8_t *outcome);

#endif
