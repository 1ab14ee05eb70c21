/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client's socket with two buffers. Input arrives in receives as large as
 * the buffer has room for and is taken from it in whole messages; before it
 * sleeps for want of input, the thread may spin (spin.h). Output gathers in its
 * buffer and is sent when 4 replies or 64 KiB have gathered, so that the client
 * works on the first while the next are made, and when no more input has
 * arrived.
 *
 * Threading: one thread a stream.
 */
#ifndef NBD_STREAM_H
#define NBD_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "spin.h"

/** Most bytes that can be asked for at a time, in or out: a payload of
 * NBD_ACCESS_MAX with the headers around it. */
#define NBD_STREAM_MAX ((1u << 20) + (64u << 10))

/** Something else to attend to whenever the stream has to wait. */
struct nbd_stream_aside {
	int fd;	   /* becomes readable */
	bool busy; /* there is something to wait for */
	/** reply: output may be put. Returns 0, or fails the stream. */
	int (*attend)(void *arg, bool reply);
	void *arg;
};

struct nbd_stream {
	int fd;
	struct nbd_stream_aside aside;
	int64_t deadline; /* CLOCK_MONOTONIC, ms; 0: none */
	uint8_t *in;
	size_t in_start, in_end;
	uint8_t *out;
	size_t out_end;
	unsigned replies; /* that have gathered */
	struct nbd_spin spin;
};

/** fd stays the caller's. timeout: milliseconds from now after which every
 * call fails, until nbd_stream_untimed(); 0: none. Returns 0 or -ENOMEM. */
int nbd_stream_init(struct nbd_stream *stream, int fd, unsigned timeout);
void nbd_stream_deinit(struct nbd_stream *stream);

/** From now on, calls wait as long as it takes. */
void nbd_stream_untimed(struct nbd_stream *stream);

/* All below: 0, -ECONNRESET when the client is gone, -ETIMEDOUT at the
 * deadline, or another of recv(2)'s or send(2)'s. */

/** Have at least length bytes of input at *at, and leave them there. */
int nbd_stream_need(struct nbd_stream *stream, size_t length,
		    const uint8_t **at);

/** What has been received beyond the first skip bytes that are not taken yet, if
 * that is at least length bytes, or NULL. */
const uint8_t *nbd_stream_peek(const struct nbd_stream *stream, size_t skip,
			       size_t length);

/** Take length bytes, which need() has seen. */
void nbd_stream_take(struct nbd_stream *stream, size_t length);

/** Receive length bytes, any number, and forget them. */
int nbd_stream_skip(struct nbd_stream *stream, uint64_t length);

/** Have room for length bytes of output at *at. */
int nbd_stream_room(struct nbd_stream *stream, size_t length, uint8_t **at);

/** A reply, or a part of one, of length bytes has been written there. */
int nbd_stream_put(struct nbd_stream *stream, size_t length);

/** Send what has gathered. */
int nbd_stream_flush(struct nbd_stream *stream);

#endif
