/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of a connection that wait for the overflow file, while it goes on
 * with others:
 *
 *   begin --> lock --> pool --> file under way --> pool, unlock --> reply
 *                       |                               ^
 *                       +-- needs no file --------------+
 *
 * Replies come as tasks end, in any order. There is a fixed number of tasks,
 * whose memory is touched as it is used; who needs another waits until one has
 * ended.
 *
 * A task holds its range's lock while its I/O is under way. A thread that holds
 * one takes others only where that needs no waiting, else it first brings all
 * its tasks to their end: nobody who waits holds what others wait for. While
 * it waits for its socket it goes on with what its tasks have to do
 * (nbd_stream_aside).
 *
 * Threading: the connection's.
 */
#ifndef NBD_TASK_H
#define NBD_TASK_H

#include "access.h"
#include "protocol.h"

struct nbd_connection;
struct nbd_task;

struct nbd_tasks {
	struct nbd_task *all; /* NULL: no overflow file */
	struct nbd_task *spare;
	struct nbd_task *under_way; /* begun, and not answered */
};

/** Returns 0 or -ENOMEM. */
int nbd_tasks_init(struct nbd_connection *c);
void nbd_tasks_deinit(struct nbd_connection *c);

/*
 * Carry out a READ of at most NBD_ACCESS_MAX bytes, a WRITE, TRIM or
 * WRITE_ZEROES of whole pages, not too many, or a FLUSH. Return 1 when it is
 * answered, or will be; 0 when it cannot be carried out in this way, and the
 * caller does it; or -errno as the stream.
 */
int nbd_tasks_read(struct nbd_connection *c, const struct nbd_request *request);
int nbd_tasks_write(struct nbd_connection *c, const struct nbd_request *request,
		    const uint8_t *from);
int nbd_tasks_zero(struct nbd_connection *c, const struct nbd_request *request,
		   enum nbd_zero how);
int nbd_tasks_flush(struct nbd_connection *c,
		    const struct nbd_request *request);

/** Wait until nothing is under way: before anything that may wait for a lock.
 * Returns 0, or -errno as the stream. */
int nbd_tasks_drain(struct nbd_connection *c);

#endif
