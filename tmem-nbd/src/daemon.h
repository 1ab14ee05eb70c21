/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Becoming a daemon: the command returns when the daemon is ready, with its
 * exit status, and its messages go to the caller's stderr until then.
 *
 *   nbd_daemon_fork()  parent waits ----------------------> exits 0
 *        child: sets up, prints errors --> nbd_daemon_ready()
 *               fails, exits 1 -------------------------> parent exits 1
 *
 * Threading: before other threads are started.
 */
#ifndef NBD_DAEMON_H
#define NBD_DAEMON_H

#include <stdbool.h>

struct nbd_daemon {
	int ready_fd;	     /* -1: in the foreground */
	const char *pidfile; /* NULL: none */
};

/** Go on in a child process. Returns in the child, and without a child when
 * foreground; 0 or -errno. */
int nbd_daemon_fork(struct nbd_daemon *daemon, bool foreground,
		    const char *pidfile);

/** All is set up: write the pidfile, tell systemd and whoever waits, and let
 * go of the terminal. Returns 0 or -errno (logged). */
int nbd_daemon_ready(struct nbd_daemon *daemon);

/** Remove the pidfile. */
void nbd_daemon_end(const struct nbd_daemon *daemon);

#endif
