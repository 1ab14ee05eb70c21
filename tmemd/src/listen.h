/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemd's listening control socket, and the lock beside it (PATH.lock, which
 * holds the process id) by which a second tmemd notices the first.
 *
 * Threading: one thread.
 */
#ifndef TMEMD_LISTEN_H
#define TMEMD_LISTEN_H

struct tmemd_listen {
	int fd;	  /**< non-blocking, or -1 */
	int lock; /**< or -1 */
	char *path;
};

/* clang-format off */
#define TMEMD_LISTEN_INIT { -1, -1, NULL }
/* clang-format on */

/**
 * Listen at path, for this user only, or for the members of group too. What a
 * dead tmemd left there is removed. Returns 0, or -errno and error
 * (TMEMD_ERROR_MAX bytes) names the path and the remedy; -EADDRINUSE when
 * another tmemd listens there.
 */
int tmemd_listen_init(struct tmemd_listen *listener, const char *path,
		      const char *group, char *error);

/** Stop listening and remove the socket; the lock stays. */
void tmemd_listen_hush(struct tmemd_listen *listener);

/** Stop listening, remove the socket, let the next tmemd have the lock. */
void tmemd_listen_deinit(struct tmemd_listen *listener);

#endif
