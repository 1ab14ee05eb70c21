/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One client of an export, from its greeting to its end.
 *
 *   greeting -> options -> transmission -> end
 *                  |            |
 *                  +------------+--> end: the client left, broke the
 *                                    protocol, or took too long to begin
 *
 * Threading: one thread a connection runs it; the device is shared.
 */
#ifndef NBD_CONNECTION_H
#define NBD_CONNECTION_H

#include "device.h"
#include "protocol.h"
#include "stream.h"
#include "task.h"

/** What clients are told of an export. Outlives its connections. */
struct nbd_export_info {
	struct nbd_device *device;
	const char *name;
	const char *description; /* "" for none */
	bool read_only;
};

struct nbd_connection {
	const struct nbd_export_info *info;
	struct nbd_stream stream;
	struct nbd_session session;
	struct nbd_io io;
	struct nbd_tasks tasks;
	unsigned ahead; /* requests to come that have been looked at */
};

/** Prepare to serve the client behind fd, which stays the caller's.
 * handshake_ms: the time it has until transmission; 0: no limit. Returns 0 or
 * -ENOMEM. */
int nbd_connection_init(struct nbd_connection *connection,
			const struct nbd_export_info *info, int fd,
			unsigned handshake_ms);
void nbd_connection_deinit(struct nbd_connection *connection);

/** Serve it until it leaves. Returns 0 for an end as the protocol foresees it,
 * -ECONNRESET for any other way to leave, -EPROTO when it broke the protocol,
 * -ETIMEDOUT for a slow handshake, or what the socket says. */
int nbd_connection_run(struct nbd_connection *connection);

/** The phases. handshake: 0 to go on to transmission, 1 when the client has
 * ended it; both else as run. */
int nbd_handshake(struct nbd_connection *connection);
int nbd_transmission(struct nbd_connection *connection);

#endif
