/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asking tmemd.
 *
 * Threading: one thread.
 */
#ifndef ADMIN_CALL_H
#define ADMIN_CALL_H

#include <jansson.h>

/** Exit codes, as tmem-admin(8) documents them. */
enum admin_exit {
	ADMIN_OK = 0,
	ADMIN_FAILED = 1,
	ADMIN_USAGE = 2,
	ADMIN_NO_DAEMON = 3,
};

/**
 * Send request (released here) to the tmemd at socket (NULL: this user's own,
 * or else the host's) and wait for its answer, timeout ms or (negative) as long
 * as it takes. On ADMIN_OK *reply is the caller's; otherwise stderr has been
 * told why.
 */
enum admin_exit admin_call(const char *socket, json_t *request, int timeout,
			   json_t **reply);

#endif
