/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The administrator's operations, as tmemd-protocol(7) describes them.
 *
 * Threading: any thread; some take as long as the store needs.
 */
#ifndef TMEMD_CONTROL_H
#define TMEMD_CONTROL_H

#include <jansson.h>
#include "daemon.h"

/**
 * Do op, as request says, for user uid. Returns 0 and *reply is the caller's;
 * or -errno and error (TMEMD_ERROR_MAX bytes) says why, or stays empty.
 */
int tmemd_control_run(struct tmemd *daemon, uid_t uid, const char *op,
		      const json_t *request, json_t **reply, char *error);

#endif
