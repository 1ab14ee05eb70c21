/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The transmission phase: requests in, replies out.
 *
 *   request -> validate -> begin -> the device -> finish -> reply
 *                  |                                 |
 *                  +---------- reject ---------------+
 *
 * begin has all that the request brought along: a write's bytes are in the
 * stream's input buffer. finish tells the client how it went, and needs nothing
 * but the job. Requests of more than NBD_ACCESS_MAX bytes are carried out in
 * pieces, so that a connection's memory is bounded whatever its client asks
 * for.
 *
 * The shortest way is that of whole pages which the store holds: they go
 * straight from the store to their place behind the reply's header.
 */
#include <errno.h>
#include "access.h"
#include "connection.h"
#include "pages.h"
#include "reply.h"

/** Requests that are looked at together. */
#define AHEAD_MAX 16u

/** A request on its way. */
struct job {
	struct nbd_request request;
	uint32_t done; /* bytes carried out; all of them, or up to error */
	int error;     /* 0 or -errno */
	uint64_t bad;  /* READ: where in the device error is */
};

/** Where the next piece of a job begins. */
static uint64_t offset_of(const struct job *job)
{
	return job->request.offset + job->done;
}

/** Bytes of the next piece; pieces begin at page boundaries, where they can. */
static uint32_t piece_of(const struct job *job)
{
	uint32_t left = job->request.length - job->done;
	uint32_t skip = offset_of(job) % TMEM_PAGE_SIZE;

	return left <= NBD_ACCESS_MAX ? left : NBD_ACCESS_MAX - skip;
}

/* READ -------------------------------------------------------------------- */

/** A piece of a READ that is where nbd_reply_read_room() wanted it. */
static int finish_read(struct nbd_connection *c, struct job *job,
		       uint32_t piece, uint8_t *data)
{
	int r;

	if (job->error)
		return nbd_reply_read_error(c, &job->request, job->done,
					    job->error, job->bad);
	r = nbd_reply_read(c, &job->request, job->done, piece, data);
	job->done += piece;
	return r;
}

static bool in_one_piece(const struct job *job)
{
	return piece_of(job) == job->request.length;
}

/** A piece of a READ that the store does not have, or not all of. Returns 0
 * when it is at *data, 1 when the request is a task now, or -errno. */
static int read_file(struct nbd_connection *c, struct job *job, uint32_t piece,
		     uint8_t **data)
{
	int r = 0;

	if (in_one_piece(job))
		r = nbd_tasks_read(c, &job->request);
	if (!r)
		r = nbd_tasks_drain(c);
	/* Once more: other replies may have come between. */
	if (!r)
		r = nbd_reply_read_room(c, &job->request, job->done, piece,
					data);
	if (!r)
		job->error =
			nbd_access_read(c->info->device, &c->io, offset_of(job),
					piece, *data, &job->bad);
	return r;
}

static int begin_read(struct nbd_connection *c, struct job *job)
{
	struct nbd_device *device = c->info->device;
	uint32_t piece;
	uint8_t *data;
	int r = 0;

	nbd_io_count(&c->io, TMEM_NBD_STAT_read_bytes, job->request.length);
	/* Nothing may come between its pieces. */
	if (!in_one_piece(job))
		r = nbd_tasks_drain(c);
	while (!r && !job->error && job->done < job->request.length) {
		piece = piece_of(job);
		r = nbd_reply_read_room(c, &job->request, job->done, piece,
					&data);
		if (r < 0)
			break;
		if (!nbd_access_get(device, offset_of(job), piece, data)) {
			r = read_file(c, job, piece, &data);
			if (r)
				break;
		}
		r = finish_read(c, job, piece, data);
	}
	return r < 0 ? r : 0;
}

/* Changes ----------------------------------------------------------------- */

/** A WRITE, TRIM or WRITE_ZEROES that has ended with job->error. */
static int finish_change(struct nbd_connection *c, struct job *job)
{
	if (!job->error && (job->request.flags & NBD_CMD_FLAG_FUA))
		job->error = nbd_access_sync(c->info->device, &c->io);
	return nbd_reply_change(c, &job->request, job->error);
}

/** Whether a request is for whole pages. */
static bool is_whole(const struct nbd_request *request)
{
	return !((request->offset | request->length) % TMEM_PAGE_SIZE);
}

static int begin_write(struct nbd_connection *c, struct job *job)
{
	const uint8_t *from;
	uint32_t piece;
	int r;

	while (!job->error && job->done < job->request.length) {
		piece = piece_of(job);
		r = nbd_stream_need(&c->stream, piece, &from);
		if (r < 0)
			return r;
		if (in_one_piece(job) && is_whole(&job->request)) {
			r = nbd_tasks_write(c, &job->request, from);
			if (r)
				nbd_stream_take(&c->stream, piece);
			if (r)
				return r < 0 ? r : 0;
		}
		r = nbd_tasks_drain(c);
		if (r < 0)
			return r;
		job->error = nbd_access_write(c->info->device, &c->io,
					      offset_of(job), piece, from);
		nbd_stream_take(&c->stream, piece);
		job->done += piece;
	}
	r = nbd_stream_skip(&c->stream, job->request.length - job->done);
	if (r < 0)
		return r;
	return finish_change(c, job);
}

static int begin_zero(struct nbd_connection *c, struct job *job)
{
	const struct nbd_request *request = &job->request;
	struct nbd_device *device = c->info->device;
	enum nbd_zero how = NBD_ZERO_TRIM;
	int r;

	if (request->type == NBD_CMD_WRITE_ZEROES)
		how = request->flags & NBD_CMD_FLAG_NO_HOLE ? NBD_ZERO_ALLOCATE
							    : NBD_ZERO_HOLE;
	if ((request->flags & NBD_CMD_FLAG_FAST_ZERO) &&
	    !nbd_access_zero_is_fast(device, request->offset, request->length,
				     how))
		return nbd_reply_done(c, request, -EOPNOTSUPP);
	r = nbd_tasks_zero(c, request, how);
	if (r)
		return r < 0 ? r : 0;
	r = nbd_tasks_drain(c);
	if (r < 0)
		return r;
	job->error = nbd_access_zero(device, &c->io, request->offset,
				     request->length, how);
	return finish_change(c, job);
}

/* Others ------------------------------------------------------------------ */

static int flush(struct nbd_connection *c, const struct nbd_request *request)
{
	int r = nbd_tasks_flush(c, request);

	if (r)
		return r < 0 ? r : 0;
	return nbd_reply_done(c, request,
			      nbd_access_sync(c->info->device, &c->io));
}

static int status(struct nbd_connection *c, const struct nbd_request *request)
{
	bool one = request->flags & NBD_CMD_FLAG_REQ_ONE;
	struct nbd_extent extents[NBD_REPLY_EXTENTS];
	unsigned count;

	count = nbd_access_extents(c->info->device, request->offset,
				   request->length, extents,
				   one ? 1 : NBD_REPLY_EXTENTS);
	return nbd_reply_status(c, request, extents, count);
}

/** Answer a request that is not to be carried out. */
static int reject(struct nbd_connection *c, const struct nbd_request *request,
		  enum nbd_error error)
{
	int r = 0;

	/* Its payload comes all the same. */
	if (request->type == NBD_CMD_WRITE)
		r = nbd_stream_skip(&c->stream, request->length);
	return r < 0 ? r : nbd_reply_error(c, request, error);
}

static int begin(struct nbd_connection *c, struct job *job)
{
	switch (job->request.type) {
	case NBD_CMD_READ:
		return begin_read(c, job);
	case NBD_CMD_WRITE:
		return begin_write(c, job);
	case NBD_CMD_TRIM:
	case NBD_CMD_WRITE_ZEROES:
		return begin_zero(c, job);
	case NBD_CMD_FLUSH:
		return flush(c, &job->request);
	case NBD_CMD_BLOCK_STATUS:
		return status(c, &job->request);
	default:
		/* CACHE: what the pool holds is in memory, what it refused
		 * has no room there. */
		return nbd_reply_done(c, &job->request, 0);
	}
}

/** Have the store begin to fetch what it knows of the pages of all requests
 * that have arrived, if these are several. */
static void look_ahead(struct nbd_connection *c)
{
	uint32_t gets[AHEAD_MAX], puts[AHEAD_MAX];
	unsigned get_count = 0, put_count = 0;
	struct nbd_request request;
	const uint8_t *at;
	size_t skip = 0;

	if (c->ahead) {
		c->ahead--;
		return;
	}
	for (; c->ahead < AHEAD_MAX; c->ahead++) {
		at = nbd_stream_peek(&c->stream, skip, NBD_REQUEST_SIZE);
		if (!at || !nbd_request_decode(at, &request))
			break;
		skip += NBD_REQUEST_SIZE;
		if (nbd_request_validate(&request, &c->session))
			break;
		if (request.type == NBD_CMD_READ) {
			gets[get_count++] =
				(uint32_t)(request.offset / TMEM_PAGE_SIZE);
		} else if (request.type == NBD_CMD_WRITE) {
			puts[put_count++] =
				(uint32_t)(request.offset / TMEM_PAGE_SIZE);
			skip += request.length;
		}
	}
	if (get_count > 1)
		nbd_pages_ahead(c->info->device, gets, get_count, false);
	if (put_count > 1)
		nbd_pages_ahead(c->info->device, puts, put_count, true);
	if (c->ahead)
		c->ahead--;
}

static int serve(struct nbd_connection *c)
{
	enum nbd_error error;
	const uint8_t *at;
	int r;

	for (;;) {
		struct job job = {0};

		r = nbd_stream_need(&c->stream, NBD_REQUEST_SIZE, &at);
		if (r < 0)
			return r;
		look_ahead(c);
		if (!nbd_request_decode(at, &job.request))
			return -EPROTO;
		nbd_stream_take(&c->stream, NBD_REQUEST_SIZE);
		if (job.request.type == NBD_CMD_DISC)
			return 0;
		error = nbd_request_validate(&job.request, &c->session);
		r = error ? reject(c, &job.request, error) : begin(c, &job);
		if (r < 0)
			return r;
	}
}

int nbd_transmission(struct nbd_connection *c)
{
	int r = serve(c), drained = nbd_tasks_drain(c);

	/* A client that sends no more may still want its answers. */
	if (r == -ECONNRESET && !drained)
		(void)nbd_stream_flush(&c->stream);
	return r ? r : drained;
}
