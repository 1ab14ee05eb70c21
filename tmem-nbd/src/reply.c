/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies, built in the stream's output buffer. */
#include "reply.h"
#include <assert.h>
#include <errno.h>
#include "access.h"
#include "pages.h"

#define DATA_HEADER (NBD_CHUNK_SIZE + 8u)
#define HOLE_SIZE   (NBD_CHUNK_SIZE + 12u)

/** Zeros of at least this many bytes become a hole: two headers more must not
 * cost more than the zeros. */
#define HOLE_MIN 512u

/** Headers around a piece of NBD_ACCESS_MAX: see put_sparse(). */
static_assert(NBD_STREAM_MAX >= NBD_ACCESS_MAX + DATA_HEADER + HOLE_SIZE,
	      "a piece and its headers fit the output buffer");

static void count(struct nbd_connection *c, bool error)
{
	nbd_io_count(&c->io, TMEM_NBD_STAT_requests, 1);
	if (error)
		nbd_io_count(&c->io, TMEM_NBD_STAT_errors, 1);
}

static int put_simple(struct nbd_connection *c,
		      const struct nbd_request *request, enum nbd_error error)
{
	uint8_t *to;
	int r;

	count(c, error);
	r = nbd_stream_room(&c->stream, NBD_SIMPLE_REPLY_SIZE, &to);
	if (r < 0)
		return r;
	nbd_put_simple_reply(to, error, request->cookie);
	return nbd_stream_put(&c->stream, NBD_SIMPLE_REPLY_SIZE);
}

/** Error as a chunk, with the offset in the device where it is if *offset. */
static int put_error_chunk(struct nbd_connection *c,
			   const struct nbd_request *request,
			   enum nbd_error error, const uint64_t *offset)
{
	uint32_t length = 6 + (offset ? 8 : 0);
	uint8_t *to;
	int r;

	count(c, error);
	r = nbd_stream_room(&c->stream, NBD_CHUNK_SIZE + length, &to);
	if (r < 0)
		return r;
	to = nbd_put_chunk(to, NBD_CHUNK_DONE,
			   offset ? NBD_CHUNK_ERROR_OFFSET : NBD_CHUNK_ERROR,
			   request->cookie, length);
	to = nbd_put32(to, error);
	to = nbd_put16(to, 0); /* no text */
	if (offset)
		nbd_put64(to, *offset);
	return nbd_stream_put(&c->stream, NBD_CHUNK_SIZE + length);
}

int nbd_reply_done(struct nbd_connection *c, const struct nbd_request *request,
		   int error)
{
	return put_simple(c, request, nbd_error_from_errno(error));
}

int nbd_reply_change(struct nbd_connection *c,
		     const struct nbd_request *request, int error)
{
	if (!error)
		nbd_io_count(&c->io,
			     request->type == NBD_CMD_WRITE
				     ? TMEM_NBD_STAT_written_bytes
				     : TMEM_NBD_STAT_trimmed_bytes,
			     request->length);
	/* ENOTSUP is for FAST_ZERO alone, which is judged before. */
	return nbd_reply_done(c, request, error == -EOPNOTSUPP ? -EIO : error);
}

int nbd_reply_error(struct nbd_connection *c, const struct nbd_request *request,
		    enum nbd_error error)
{
	return c->session.structured ? put_error_chunk(c, request, error, NULL)
				     : put_simple(c, request, error);
}

/* READ -------------------------------------------------------------------- */

int nbd_reply_read_error(struct nbd_connection *c,
			 const struct nbd_request *request, uint32_t done,
			 int error, uint64_t bad)
{
	if (c->session.structured)
		return put_error_chunk(c, request, nbd_error_from_errno(error),
				       &bad);
	/* Once success is on its way there is no other way to tell. */
	if (done)
		return error;
	return put_simple(c, request, nbd_error_from_errno(error));
}

/** Bytes before a piece's: what a chunk of data needs, or a simple reply's
 * header before the first. */
static uint32_t header_of(const struct nbd_connection *c, uint32_t done)
{
	if (c->session.structured)
		return DATA_HEADER;
	return done ? 0 : NBD_SIMPLE_REPLY_SIZE;
}

int nbd_reply_read_room(struct nbd_connection *c,
			const struct nbd_request *request, uint32_t done,
			uint32_t piece, uint8_t **data)
{
	uint32_t header = header_of(c, done);
	uint32_t slack = c->session.structured ? HOLE_SIZE : 0;
	uint8_t *to;
	int r = nbd_stream_room(&c->stream, header + piece + slack, &to);

	if (!r)
		*data = to + header;
	return r;
}

/** Bytes from offset to the end of its page, at most length. */
static uint32_t in_page(uint64_t offset, uint32_t length)
{
	uint32_t left = TMEM_PAGE_SIZE - offset % TMEM_PAGE_SIZE;

	return left < length ? left : length;
}

/** Length of the run of zeros, or of the run without, that begins at data.
 * *zero tells which. */
static uint32_t run_length(uint64_t offset, uint32_t length,
			   const uint8_t *data, bool *zero)
{
	uint32_t done = 0, n;
	bool is;

	for (; done < length; done += n) {
		n = in_page(offset + done, length - done);
		is = n >= HOLE_MIN && nbd_is_zero(data + done, n);
		if (!done)
			*zero = is;
		else if (is != *zero)
			break;
	}
	return done;
}

/**
 * Chunks for a piece whose bytes lie at to + DATA_HEADER. Data moves down only:
 * a hole frees at least HOLE_MIN bytes and costs its own header and that of the
 * data behind it. Only the first piece may begin with a hole, whose header is
 * 4 bytes longer than the room left: it ends in the zeros it stands for.
 * Returns the bytes used.
 */
static size_t put_sparse(uint8_t *to, uint64_t cookie, uint64_t offset,
			 uint32_t length, uint16_t last_flags)
{
	const uint8_t *data = to + DATA_HEADER;
	uint8_t *at = to;
	uint16_t flags;
	uint32_t n;
	bool zero;

	for (; length; length -= n, offset += n, data += n) {
		n = run_length(offset, length, data, &zero);
		flags = n == length ? last_flags : 0;
		if (zero) {
			at = nbd_put_chunk(at, flags, NBD_CHUNK_OFFSET_HOLE,
					   cookie, 12);
			at = nbd_put64(at, offset);
			at = nbd_put32(at, n);
			continue;
		}
		memmove(at + DATA_HEADER, data, n);
		at = nbd_put_chunk(at, flags, NBD_CHUNK_OFFSET_DATA, cookie,
				   8 + n);
		at = nbd_put64(at, offset) + n;
	}
	return (size_t)(at - to);
}

/** One chunk for a piece, as flag DF demands. */
static size_t put_whole(uint8_t *to, uint64_t cookie, uint64_t offset,
			uint32_t length)
{
	to = nbd_put_chunk(to, NBD_CHUNK_DONE, NBD_CHUNK_OFFSET_DATA, cookie,
			   8 + length);
	nbd_put64(to, offset);
	return DATA_HEADER + length;
}

int nbd_reply_read(struct nbd_connection *c, const struct nbd_request *request,
		   uint32_t done, uint32_t piece, uint8_t *data)
{
	uint64_t offset = request->offset + done;
	bool last = done + piece == request->length;
	uint8_t *to = data - header_of(c, done);
	size_t used;

	if (!c->session.structured) {
		if (!done)
			nbd_put_simple_reply(to, NBD_SUCCESS, request->cookie);
		used = (size_t)(data - to) + piece;
	} else if (request->flags & NBD_CMD_FLAG_DF) {
		used = put_whole(to, request->cookie, offset, piece);
	} else {
		used = put_sparse(to, request->cookie, offset, piece,
				  last ? NBD_CHUNK_DONE : 0);
	}
	if (last)
		count(c, false);
	return nbd_stream_put(&c->stream, used);
}

/* BLOCK_STATUS ------------------------------------------------------------ */

int nbd_reply_status(struct nbd_connection *c,
		     const struct nbd_request *request,
		     const struct nbd_extent *extents, unsigned extent_count)
{
	uint32_t payload = 4 + 8 * extent_count;
	unsigned i;
	uint8_t *to;
	int r;

	r = nbd_stream_room(&c->stream, NBD_CHUNK_SIZE + payload, &to);
	if (r < 0)
		return r;
	to = nbd_put_chunk(to, NBD_CHUNK_DONE, NBD_CHUNK_BLOCK_STATUS,
			   request->cookie, payload);
	to = nbd_put32(to, NBD_CONTEXT_ALLOCATION_ID);
	for (i = 0; i < extent_count; i++) {
		to = nbd_put32(to, (uint32_t)extents[i].length);
		to = nbd_put32(to, extents[i].present
					   ? 0
					   : NBD_STATE_HOLE | NBD_STATE_ZERO);
	}
	count(c, false);
	return nbd_stream_put(&c->stream, NBD_CHUNK_SIZE + payload);
}
