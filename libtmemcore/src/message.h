/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control messages: one JSON object a line, over a unix stream socket, with
 * file descriptors beside it where the message needs some. What tmemd,
 * tmem-admin, tmem-nbd's keeper and attached clients say to each other.
 *
 *   request  {"tmem": 1, "op": "stats", ...}
 *   reply    {"ok": true, ...}
 *   or       {"ok": false, "errno": "EPERM", "error": "what and why"}
 *
 * Either side may stall, send half a line, garbage, or descriptors nobody
 * asked for: every call here ends within its timeout, and after any error but
 * a reply's own the connection must be closed.
 *
 * Threading: none inside; one sender and one receiver at a time a socket.
 * Lifetime: sockets and messages belong to the caller.
 */
#ifndef TMEM_MESSAGE_H
#define TMEM_MESSAGE_H

#include <jansson.h>

/** The protocol's version, sent as "tmem" in every request. */
#define TMEM_MESSAGE_VERSION 1

/** Longest message, bytes, its newline included. */
#define TMEM_MESSAGE_MAX (4u << 20)

/** Longest request. Replies may list thousands of pools, requests never do;
 * and JSON takes many times its length in memory, which is tmemd's. */
#define TMEM_MESSAGE_REQUEST_MAX (64u << 10)

/** Most descriptors that may come with one message. */
#define TMEM_MESSAGE_FDS 4u

/** A timeout for those who have no better idea, ms. Negative: no timeout. */
#define TMEM_MESSAGE_TIMEOUT 10000

/** A message received. What is left in it is released by deinit. */
struct tmem_message {
	json_t *json;		  /**< an object, or NULL */
	int fd[TMEM_MESSAGE_FDS]; /**< fds of them, the rest -1 */
	unsigned fds;
};

/* clang-format off */
#define TMEM_MESSAGE_INIT { NULL, { -1, -1, -1, -1 }, 0 }
/* clang-format on */

/** Release the JSON, close the descriptors, and be empty again. */
void tmem_message_deinit(struct tmem_message *message);

/** Take descriptor number i out of a message, or -1 when there is none. The
 * caller closes it. */
int tmem_message_take_fd(struct tmem_message *message, unsigned i);

/**
 * Which socket of tmemd's is meant: given, as an absolute path; or if that is
 * NULL, an ordinary user's own, $XDG_RUNTIME_DIR/tmem/tmemd.sock, if it is
 * there; or else the host's. *path is the caller's to free. Returns 0 or
 * -errno.
 */
int tmem_message_socket(const char *given, char **path);

/**
 * Connect to the unix socket at path. Returns a descriptor (close-on-exec);
 * -ENOENT or -ECONNREFUSED when nobody listens there; -EACCES; -ENAMETOOLONG;
 * -ETIMEDOUT when the listener does not accept within timeout ms.
 */
int tmem_message_connect(const char *path, int timeout);

/**
 * Send a JSON object, with count descriptors (which stay the caller's).
 * Returns 0; -EMSGSIZE; -ETIMEDOUT; -ECONNRESET when the peer is gone;
 * -ENOMEM.
 */
int tmem_message_send(int sock, const json_t *json, const int *fds,
		      unsigned count, int timeout);

/**
 * Receive a message into *out (overwritten, not released, before). Returns 0;
 * -ECONNRESET when the peer is gone; -ETIMEDOUT; -EMSGSIZE when the line is
 * too long; -EBADMSG when it is no JSON object; -EPROTO when more descriptors
 * came than fit.
 */
int tmem_message_receive(int sock, struct tmem_message *out, int timeout);

/** As tmem_message_receive(), of TMEM_MESSAGE_REQUEST_MAX bytes at most. */
int tmem_message_receive_request(int sock, struct tmem_message *out,
				 int timeout);

/** A new request, {"tmem": 1, "op": op}, or NULL. */
json_t *tmem_message_request(const char *op);

/**
 * Look at a received request: *op is its "op", valid as long as json is.
 * Returns 0; -EPROTO for another version; -EBADMSG without an op.
 */
int tmem_message_parse(const json_t *json, const char **op);

/**
 * Send a request and receive its reply into *reply, which is overwritten and
 * always left fit for deinit. Returns 0 when the reply says ok; the negated
 * errno it carries otherwise, with the reply there to be read; or an error of
 * send or receive, with an empty reply.
 */
int tmem_message_call(int sock, const json_t *request, const int *fds,
		      unsigned count, struct tmem_message *reply, int timeout);

/** The reply's "error" text, or what error (-errno) means when it has none. */
const char *tmem_message_error(const struct tmem_message *reply, int error);

/** Reply that a request failed with error (-errno) and a text for people.
 * Returns as tmem_message_send(). */
int tmem_message_send_error(int sock, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
