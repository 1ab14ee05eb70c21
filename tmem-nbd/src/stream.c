/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buffered input and output of a socket. */
#include "stream.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include "buffer.h"

/** Output is sent when so many replies, or bytes, have gathered. */
#define REPLIES_MAX 4u
#define BATCH	    (64u << 10)

/** What is left of the input at its end, and no more than this, moves to the
 * buffer's start, which is in the processor's cache. */
#define SMALL (8u << 10)

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int nbd_stream_init(struct nbd_stream *stream, int fd, unsigned timeout)
{
	*stream = (struct nbd_stream){
		.fd = fd,
		.deadline = timeout ? now_ms() + timeout : 0,
		.in = nbd_buffer_new(NBD_STREAM_MAX),
		.out = nbd_buffer_new(NBD_STREAM_MAX),
	};
	if (stream->in && stream->out)
		return 0;
	nbd_stream_deinit(stream);
	return -ENOMEM;
}

void nbd_stream_deinit(struct nbd_stream *stream)
{
	nbd_buffer_free(stream->in, NBD_STREAM_MAX);
	nbd_buffer_free(stream->out, NBD_STREAM_MAX);
	stream->in = stream->out = NULL;
}

void nbd_stream_untimed(struct nbd_stream *stream)
{
	stream->deadline = 0;
}

/** Wait until the socket is ready, when there is a deadline to heed. */
static int wait_for(const struct nbd_stream *stream, short events)
{
	struct pollfd p = {.fd = stream->fd, .events = events};
	int64_t left;
	int r;

	if (!stream->deadline)
		return 0;
	do {
		left = stream->deadline - now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		r = poll(&p, 1, (int)left);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r ? 0 : -ETIMEDOUT;
}

static int flags_of(const struct nbd_stream *stream)
{
	return MSG_NOSIGNAL |
	       (stream->deadline || stream->aside.busy ? MSG_DONTWAIT : 0);
}

/** Wait until the socket is ready, attending to what is aside. Returns 0, or 1
 * when something was attended to instead. */
static int wait_aside(struct nbd_stream *stream, short events)
{
	struct pollfd p[] = {
		{.fd = stream->fd, .events = events},
		{.fd = stream->aside.fd, .events = POLLIN},
	};
	int r;

	if (poll(p, 2, -1) < 0)
		return errno == EINTR ? 1 : -errno;
	if (!p[1].revents)
		return 0;
	/* Who waits for room to send is in the middle of a reply. */
	r = stream->aside.attend(stream->aside.arg, events == POLLIN);
	return r < 0 ? r : 1;
}

int nbd_stream_flush(struct nbd_stream *stream)
{
	size_t done = 0;
	ssize_t n;
	int r;

	while (done < stream->out_end) {
		r = wait_for(stream, POLLOUT);
		if (r < 0)
			return r;
		n = send(stream->fd, stream->out + done, stream->out_end - done,
			 flags_of(stream));
		if (n >= 0)
			done += (size_t)n;
		else if (errno == EPIPE)
			return -ECONNRESET;
		else if (errno != EINTR && errno != EAGAIN)
			return -errno;
		else if (errno == EAGAIN && stream->aside.busy)
			r = wait_aside(stream, POLLOUT);
		if (r < 0)
			return r;
	}
	stream->out_end = 0;
	stream->replies = 0;
	return 0;
}

static ssize_t receive(struct nbd_stream *stream, int flags)
{
	return recv(stream->fd, stream->in + stream->in_end,
		    NBD_STREAM_MAX - stream->in_end, flags);
}

/** Receive until the deadline. */
static ssize_t receive_timed(struct nbd_stream *stream)
{
	ssize_t n;
	int r;

	do {
		r = wait_for(stream, POLLIN);
		if (r < 0)
			return r;
		n = receive(stream, MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	return n < 0 ? -errno : n;
}

/** Receive, and while there is nothing spin, and then sleep. */
static ssize_t receive_soon(struct nbd_stream *stream)
{
	ssize_t n = -1;

	errno = EAGAIN;
	if (nbd_spin_begin(&stream->spin)) {
		do {
			n = receive(stream, MSG_DONTWAIT);
		} while (n < 0 && errno == EAGAIN &&
			 nbd_spin_again(&stream->spin));
		if (n >= 0)
			nbd_spin_found(&stream->spin);
	}
	while (n < 0 && (errno == EINTR || errno == EAGAIN))
		n = receive(stream, 0);
	return n < 0 ? -errno : n;
}

/** Receive what there is, at least one byte. */
static int fill(struct nbd_stream *stream)
{
	ssize_t n;
	int r;

	/* While more has arrived, replies go on gathering. */
	if (stream->out_end && !stream->deadline) {
		n = receive(stream, MSG_DONTWAIT);
		if (n > 0) {
			stream->in_end += (size_t)n;
			return 0;
		}
	}
	/* The client may be waiting for an answer before it goes on. */
	do {
		r = nbd_stream_flush(stream);
		/* What ended while it was sent has not been answered. */
		if (!r && stream->aside.busy)
			r = stream->aside.attend(stream->aside.arg, true);
		if (!r && stream->aside.busy && !stream->out_end)
			r = wait_aside(stream, POLLIN);
	} while (r > 0 || (!r && stream->out_end));
	if (r < 0)
		return r;
	n = stream->deadline ? receive_timed(stream) : receive_soon(stream);
	if (n <= 0)
		return n ? (int)n : -ECONNRESET;
	stream->in_end += (size_t)n;
	return 0;
}

int nbd_stream_need(struct nbd_stream *stream, size_t length,
		    const uint8_t **at)
{
	size_t have;
	int r;

	assert(length <= NBD_STREAM_MAX);
	while ((have = stream->in_end - stream->in_start) < length) {
		if (!have) {
			stream->in_start = stream->in_end = 0;
		} else if (have <= SMALL ||
			   stream->in_start + length > NBD_STREAM_MAX) {
			memmove(stream->in, stream->in + stream->in_start,
				have);
			stream->in_start = 0;
			stream->in_end = have;
		}
		r = fill(stream);
		if (r < 0)
			return r;
	}
	*at = stream->in + stream->in_start;
	return 0;
}

const uint8_t *nbd_stream_peek(const struct nbd_stream *stream, size_t skip,
			       size_t length)
{
	if (stream->in_end - stream->in_start < skip + length)
		return NULL;
	return stream->in + stream->in_start + skip;
}

void nbd_stream_take(struct nbd_stream *stream, size_t length)
{
	assert(length <= stream->in_end - stream->in_start);
	stream->in_start += length;
}

int nbd_stream_skip(struct nbd_stream *stream, uint64_t length)
{
	const uint8_t *at;
	size_t have;
	int r;

	while (length) {
		r = nbd_stream_need(stream, 1, &at);
		if (r < 0)
			return r;
		have = stream->in_end - stream->in_start;
		if (have > length)
			have = (size_t)length;
		nbd_stream_take(stream, have);
		length -= have;
	}
	return 0;
}

int nbd_stream_room(struct nbd_stream *stream, size_t length, uint8_t **at)
{
	int r;

	assert(length <= NBD_STREAM_MAX);
	if (stream->out_end + length > NBD_STREAM_MAX) {
		r = nbd_stream_flush(stream);
		if (r < 0)
			return r;
	}
	*at = stream->out + stream->out_end;
	return 0;
}

int nbd_stream_put(struct nbd_stream *stream, size_t length)
{
	stream->out_end += length;
	stream->replies++;
	return stream->replies < REPLIES_MAX && stream->out_end < BATCH
		       ? 0
		       : nbd_stream_flush(stream);
}
