/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exports hosted for their keepers: the tmem-nbd command hands over a
 * listening socket and an overflow file and keeps its connection; when that
 * ends, so does the export, and its pool unless it is to be kept.
 *
 * Threading: any thread; a keeper's blocks while the keeper is there.
 */
#ifndef TMEMD_EXPORTS_H
#define TMEMD_EXPORTS_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/socket.h>
#include "message.h"

struct tmemd;
struct tmemd_exports;

/** Returns 0 or -ENOMEM. */
int tmemd_exports_new(struct tmemd *daemon, struct tmemd_exports **out);

/** All keepers' calls have returned. NULL is fine. Always returns NULL. */
struct tmemd_exports *tmemd_exports_free(struct tmemd_exports *exports);

/** From now on an export's pool is kept when its keeper's connection ends: it
 * is tmemd that goes away. */
void tmemd_exports_leave(struct tmemd_exports *exports);

/**
 * Host what an "nbd-export" message asks for, answer it, and return once the
 * keeper or tmemd has gone. Takes descriptors out of message.
 */
void tmemd_exports_keep(struct tmemd_exports *exports, int sock,
			const struct ucred *peer, struct tmem_message *message);

/** The grace is over: destroy the pools of exports that are neither hosted
 * again nor kept. */
void tmemd_exports_expire(struct tmemd_exports *exports);

/** Exports (uid NULL: all, else *uid's) for a reply. NULL: no memory. */
json_t *tmemd_exports_json(struct tmemd_exports *exports, const uid_t *uid,
			   bool counters);

#endif
