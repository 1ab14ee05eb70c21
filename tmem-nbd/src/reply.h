/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replies to requests: simple ones, chunks of structured ones, and errors as
 * either. They gather in the connection's stream, which sends them.
 *
 * A read's bytes are written straight to where the reply has them:
 *
 *   nbd_reply_read_room() -> bytes to *data -> nbd_reply_read()
 *
 * Structured replies then turn pages of zeros into holes where they lie. A read
 * of more than NBD_ACCESS_MAX bytes is answered by several such pieces, in
 * order; replies to other requests may come between pieces only if these are
 * chunks.
 *
 * Threading: the connection's. All return 0, or as nbd_stream_flush() when the
 * client is gone.
 */
#ifndef NBD_REPLY_H
#define NBD_REPLY_H

#include "connection.h"

/** The one reply to anything but a READ or BLOCK_STATUS: 0 or -errno. */
int nbd_reply_done(struct nbd_connection *c, const struct nbd_request *request,
		   int error);

/** The same to a WRITE, TRIM or WRITE_ZEROES that was carried out; counts its
 * bytes. */
int nbd_reply_change(struct nbd_connection *c,
		     const struct nbd_request *request, int error);

/** A request that is not carried out. */
int nbd_reply_error(struct nbd_connection *c, const struct nbd_request *request,
		    enum nbd_error error);

/** A READ that failed at offset bad of the device, -errno. done: bytes that
 * are answered already. */
int nbd_reply_read_error(struct nbd_connection *c,
			 const struct nbd_request *request, uint32_t done,
			 int error, uint64_t bad);

/** Room for a piece of a READ, at most NBD_ACCESS_MAX bytes, that begins done
 * bytes behind its start. */
int nbd_reply_read_room(struct nbd_connection *c,
			const struct nbd_request *request, uint32_t done,
			uint32_t piece, uint8_t **data);

/** The piece's bytes are there, at what nbd_reply_read_room() said last. */
int nbd_reply_read(struct nbd_connection *c, const struct nbd_request *request,
		   uint32_t done, uint32_t piece, uint8_t *data);

/** A BLOCK_STATUS, told by count extents, at most NBD_REPLY_EXTENTS. */
#define NBD_REPLY_EXTENTS 1024u
struct nbd_extent;
int nbd_reply_status(struct nbd_connection *c,
		     const struct nbd_request *request,
		     const struct nbd_extent *extents, unsigned count);

#endif
