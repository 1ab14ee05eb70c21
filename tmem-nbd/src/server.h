/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two ways tmem-nbd serves an export. Both take what the caller's context
 * gave them, the listening socket and the overflow file, say when they are
 * ready, and serve until a signal ends them.
 *
 * An only client's connection cannot survive a tmemd, so that one is embedded,
 * and ends the process when it leaves.
 *
 * Threading: the main thread, with the signals of signal_fd blocked.
 */
#ifndef NBD_SERVER_H
#define NBD_SERVER_H

#include "daemon.h"
#include "options.h"

struct nbd_server {
	const struct nbd_options *options;
	struct nbd_daemon daemon;
	int signal_fd;
	/* A copy of listen_fd if it is no listening socket, but one whose
	 * client is the only one; else -1. */
	int client_fd;
	/* Closed by whoever takes them over, -1 then. */
	int listen_fd;
	int overflow_fd; /* or -1 */
	/* There is a device, whose pages the overflow file may hold. */
	bool begun;
};

/** Serve from a store in this process. Returns 0 when a signal ended it, or
 * -errno (logged). */
int nbd_embedded_run(struct nbd_server *server);

/**
 * Reach the tmemd that is to host the export, which is optional unless the
 * options name it. Returns a connected socket; -ENOENT when there is none and
 * the export is to be embedded; another -errno (logged).
 */
int nbd_keeper_connect(const struct nbd_options *options);

/** Have tmemd, at the other end of sock (taken over), serve it, and keep it.
 * Returns 0 when a signal ended it, or -errno (logged). */
int nbd_keeper_run(struct nbd_server *server, int sock);

/** Which signal ends it, or SIGUSR1 that asks for statistics; 0 when there was
 * none yet. */
int nbd_server_signal(const struct nbd_server *server);

/** Remove the socket if this process made it. */
void nbd_server_unlink(const struct nbd_server *server);

#endif
