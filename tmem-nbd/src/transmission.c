/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The transmission phase: requests in, replies out, in order. Requests of more
 * than NBD_ACCESS_MAX bytes are carried out in pieces, so that a connection's
 * memory is bounded whatever its client asks for.
 *
 * A read writes the pages straight behind the room left for the reply's
 * header in the stream's output buffer; structured replies then turn pages of
 * zeros into holes where they lie.
 */
#include <assert.h>
#include <errno.h>
#include "access.h"
#include "connection.h"
#include "pages.h"

#define DATA_HEADER (NBD_CHUNK_SIZE + 8u)
#define HOLE_SIZE   (NBD_CHUNK_SIZE + 12u)

/** Zeros of at least this many bytes become a hole: two headers more must not
 * cost more than the zeros. */
#define HOLE_MIN 512u

/** Most extents of a block status reply. */
#define EXTENTS_MAX 1024u

/** Headers around a piece of NBD_ACCESS_MAX: see put_sparse(). */
static_assert(NBD_STREAM_MAX >= NBD_ACCESS_MAX + DATA_HEADER + HOLE_SIZE,
	      "a piece and its headers fit the output buffer");

/* Replies ----------------------------------------------------------------- */

static void count_reply(struct nbd_connection *c, enum nbd_error error)
{
	nbd_io_count(&c->io, TMEM_NBD_STAT_requests, 1);
	if (error)
		nbd_io_count(&c->io, TMEM_NBD_STAT_errors, 1);
}

static int reply_simple(struct nbd_connection *c,
			const struct nbd_request *request, enum nbd_error error)
{
	uint8_t *to;
	int r;

	count_reply(c, error);
	r = nbd_stream_room(&c->stream, NBD_SIMPLE_REPLY_SIZE, &to);
	if (r < 0)
		return r;
	nbd_put_simple_reply(to, error, request->cookie);
	return nbd_stream_put(&c->stream, NBD_SIMPLE_REPLY_SIZE);
}

/** Error as a chunk, with the offset in the device where it is if *offset. */
static int reply_chunk(struct nbd_connection *c,
		       const struct nbd_request *request, enum nbd_error error,
		       const uint64_t *offset)
{
	uint32_t length = 6 + (offset ? 8 : 0);
	uint8_t *to;
	int r;

	count_reply(c, error);
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

static int reply_error(struct nbd_connection *c,
		       const struct nbd_request *request, enum nbd_error error)
{
	return c->session.structured ? reply_chunk(c, request, error, NULL)
				     : reply_simple(c, request, error);
}

/* READ -------------------------------------------------------------------- */

static int read_simple(struct nbd_connection *c,
		       const struct nbd_request *request)
{
	uint32_t done = 0, header = NBD_SIMPLE_REPLY_SIZE, piece;
	uint64_t bad;
	uint8_t *to;
	int r;

	for (; done < request->length; done += piece, header = 0) {
		piece = request->length - done;
		if (piece > NBD_ACCESS_MAX)
			piece = NBD_ACCESS_MAX;
		r = nbd_stream_room(&c->stream, header + piece, &to);
		if (r < 0)
			return r;
		r = nbd_access_read(c->info->device, &c->io,
				    request->offset + done, piece, to + header,
				    &bad);
		/* Once success is on its way there is no other way to tell. */
		if (r < 0 && done)
			return r;
		if (r < 0)
			return reply_simple(c, request,
					    nbd_error_from_errno(r));
		if (header)
			nbd_put_simple_reply(to, NBD_SUCCESS, request->cookie);
		r = nbd_stream_put(&c->stream, header + piece);
		if (r < 0)
			return r;
	}
	count_reply(c, NBD_SUCCESS);
	return 0;
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

static int read_structured(struct nbd_connection *c,
			   const struct nbd_request *request)
{
	uint64_t offset = request->offset, bad;
	uint32_t left = request->length, piece;
	size_t used;
	uint8_t *to;
	int r;

	for (; left; left -= piece, offset += piece) {
		piece = left < NBD_ACCESS_MAX ? left : NBD_ACCESS_MAX;
		r = nbd_stream_room(&c->stream, DATA_HEADER + HOLE_SIZE + piece,
				    &to);
		if (r < 0)
			return r;
		r = nbd_access_read(c->info->device, &c->io, offset, piece,
				    to + DATA_HEADER, &bad);
		if (r < 0)
			return reply_chunk(c, request, nbd_error_from_errno(r),
					   &bad);
		if (request->flags & NBD_CMD_FLAG_DF)
			used = put_whole(to, request->cookie, offset, piece);
		else
			used = put_sparse(to, request->cookie, offset, piece,
					  piece == left ? NBD_CHUNK_DONE : 0);
		r = nbd_stream_put(&c->stream, used);
		if (r < 0)
			return r;
	}
	count_reply(c, NBD_SUCCESS);
	return 0;
}

static int command_read(struct nbd_connection *c,
			const struct nbd_request *request)
{
	nbd_io_count(&c->io, TMEM_NBD_STAT_read_bytes, request->length);
	return c->session.structured ? read_structured(c, request)
				     : read_simple(c, request);
}

/* Others ------------------------------------------------------------------ */

static int command_write(struct nbd_connection *c,
			 const struct nbd_request *request)
{
	uint64_t offset = request->offset;
	uint32_t left = request->length, piece;
	const uint8_t *at;
	int r, error = 0;

	for (; left && !error; left -= piece, offset += piece) {
		piece = left < NBD_ACCESS_MAX ? left : NBD_ACCESS_MAX;
		/* Pieces begin at page boundaries, where they can. */
		if (piece < left)
			piece -= offset % TMEM_PAGE_SIZE;
		r = nbd_stream_need(&c->stream, piece, &at);
		if (r < 0)
			return r;
		error = nbd_access_write(c->info->device, &c->io, offset, piece,
					 at);
		nbd_stream_take(&c->stream, piece);
	}
	r = nbd_stream_skip(&c->stream, left);
	if (r < 0)
		return r;
	if (!error) {
		nbd_io_count(&c->io, TMEM_NBD_STAT_written_bytes,
			     request->length);
		if (request->flags & NBD_CMD_FLAG_FUA)
			error = nbd_access_sync(c->info->device, &c->io);
	}
	return reply_simple(c, request, nbd_error_from_errno(error));
}

static int command_zero(struct nbd_connection *c,
			const struct nbd_request *request)
{
	struct nbd_device *device = c->info->device;
	enum nbd_zero how = NBD_ZERO_TRIM;
	int error;

	if (request->type == NBD_CMD_WRITE_ZEROES)
		how = request->flags & NBD_CMD_FLAG_NO_HOLE ? NBD_ZERO_ALLOCATE
							    : NBD_ZERO_HOLE;
	if ((request->flags & NBD_CMD_FLAG_FAST_ZERO) &&
	    !nbd_access_zero_is_fast(device, request->offset, request->length,
				     how))
		return reply_simple(c, request, NBD_ENOTSUP);
	error = nbd_access_zero(device, &c->io, request->offset,
				request->length, how);
	if (!error) {
		nbd_io_count(&c->io, TMEM_NBD_STAT_trimmed_bytes,
			     request->length);
		if (request->flags & NBD_CMD_FLAG_FUA)
			error = nbd_access_sync(device, &c->io);
	}
	/* ENOTSUP is for FAST_ZERO alone. */
	if (error == -EOPNOTSUPP)
		error = -EIO;
	return reply_simple(c, request, nbd_error_from_errno(error));
}

static int command_flush(struct nbd_connection *c,
			 const struct nbd_request *request)
{
	int r = nbd_access_sync(c->info->device, &c->io);

	return reply_simple(c, request, nbd_error_from_errno(r));
}

static int command_status(struct nbd_connection *c,
			  const struct nbd_request *request)
{
	bool one = request->flags & NBD_CMD_FLAG_REQ_ONE;
	struct nbd_extent extents[EXTENTS_MAX];
	uint32_t payload;
	unsigned count, i;
	uint8_t *to;
	int r;

	count = nbd_access_extents(c->info->device, request->offset,
				   request->length, extents,
				   one ? 1 : EXTENTS_MAX);
	payload = 4 + 8 * count;
	r = nbd_stream_room(&c->stream, NBD_CHUNK_SIZE + payload, &to);
	if (r < 0)
		return r;
	to = nbd_put_chunk(to, NBD_CHUNK_DONE, NBD_CHUNK_BLOCK_STATUS,
			   request->cookie, payload);
	to = nbd_put32(to, NBD_CONTEXT_ALLOCATION_ID);
	for (i = 0; i < count; i++) {
		to = nbd_put32(to, (uint32_t)extents[i].length);
		to = nbd_put32(to, extents[i].present
					   ? 0
					   : NBD_STATE_HOLE | NBD_STATE_ZERO);
	}
	count_reply(c, NBD_SUCCESS);
	return nbd_stream_put(&c->stream, NBD_CHUNK_SIZE + payload);
}

/** Answer a request that is not to be carried out. */
static int reject(struct nbd_connection *c, const struct nbd_request *request,
		  enum nbd_error error)
{
	int r = 0;

	/* Its payload comes all the same. */
	if (request->type == NBD_CMD_WRITE)
		r = nbd_stream_skip(&c->stream, request->length);
	return r < 0 ? r : reply_error(c, request, error);
}

static int carry_out(struct nbd_connection *c,
		     const struct nbd_request *request)
{
	switch (request->type) {
	case NBD_CMD_READ:
		return command_read(c, request);
	case NBD_CMD_WRITE:
		return command_write(c, request);
	case NBD_CMD_TRIM:
	case NBD_CMD_WRITE_ZEROES:
		return command_zero(c, request);
	case NBD_CMD_FLUSH:
		return command_flush(c, request);
	case NBD_CMD_BLOCK_STATUS:
		return command_status(c, request);
	default:
		/* CACHE: what the pool holds is in memory, what it refused
		 * has no room there. */
		return reply_simple(c, request, NBD_SUCCESS);
	}
}

int nbd_transmission(struct nbd_connection *c)
{
	struct nbd_request request;
	enum nbd_error error;
	const uint8_t *at;
	int r;

	for (;;) {
		r = nbd_stream_need(&c->stream, NBD_REQUEST_SIZE, &at);
		if (r < 0)
			return r;
		if (!nbd_request_decode(at, &request))
			return -EPROTO;
		nbd_stream_take(&c->stream, NBD_REQUEST_SIZE);
		if (request.type == NBD_CMD_DISC)
			return 0;
		error = nbd_request_validate(&request, &c->session);
		r = error ? reject(c, &request, error) : carry_out(c, &request);
		if (r < 0)
			return r;
	}
}
