/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemd's side of a ring: makes it, and has workers that carry out its
 * requests on the pools that were opened for it, by the calls of
 * tmem/client.h.
 *
 * Threading: any thread; freeing must be the last call.
 * Lifetime: pools belong to whoever adds them, and must be taken out again
 * before they are freed.
 */
#ifndef TMEM_RING_SERVER_H
#define TMEM_RING_SERVER_H

#include <tmem/client.h>
#include "ring.h"

struct tmem_ring_server;

/** Make a ring and start its workers. What the ring's memory comes to is
 * charged to store, unless that is NULL. Returns 0 or -errno. */
int tmem_ring_server_new(struct tmem_store *store,
			 struct tmem_ring_server **out);

/** Stop the workers, after what each is doing, and unmap. NULL is fine.
 * Always returns NULL. */
struct tmem_ring_server *tmem_ring_server_free(struct tmem_ring_server *server);

/** The ring's descriptor, to be sent to the client. Stays the server's. */
int tmem_ring_server_fd(const struct tmem_ring_server *server);

/** Let requests name pool, from now on. Returns the number they name it by, or
 * -ENOSPC at TMEM_RING_POOLS. */
int tmem_ring_server_add(struct tmem_ring_server *server,
			 struct tmem_pool *pool);

/** Borrow pool number id, or NULL. Valid until it is taken out. */
struct tmem_pool *tmem_ring_server_pool(struct tmem_ring_server *server,
					unsigned id);

/** Take pool number id out, or NULL when there is none: no request is using
 * it when this returns, and none will. */
struct tmem_pool *tmem_ring_server_take(struct tmem_ring_server *server,
					unsigned id);

/** Pages of a put that are copied, and put, at a time. */
#define TMEM_RING_BATCH 16u

/** What a worker needs besides the ring: nothing of it is shared. */
struct tmem_ring_work {
	struct tmem_ring_request request;
	uint8_t outcome[TMEM_RUN_MAX];
	_Alignas(64) uint8_t pages[TMEM_RING_BATCH * TMEM_PAGE_SIZE];
};

/**
 * Check and carry out work->request, with the page buffer (which its client
 * may be writing to meanwhile); work->outcome is set for as many pages as the
 * request has. Returns the reply's result. For workers and tests.
 */
int tmem_ring_server_execute(struct tmem_ring_server *server,
			     struct tmem_ring_work *work, uint8_t *buffer);

#endif
