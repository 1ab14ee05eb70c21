/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handles in doubt: those whose put or flush tmemd never answered. The caller
 * was told that their old pages are gone. In a pool that outlives the session
 * (persistent or shared) they may not be, so they are flushed when the client
 * attaches again, before anything can be read.
 *
 * Threading: add from any thread; the rest with no add under way.
 * Lifetime: lives in its pool.
 */
#ifndef TMEM_DOUBT_H
#define TMEM_DOUBT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <tmem/types.h>

/** Most runs that are remembered one by one. */
#define TMEM_DOUBT_MAX 16384u

/** count pages of an object, or all of it when count is 0. */
struct tmem_doubt_run {
	struct tmem_oid oid;
	uint32_t index;
	uint64_t count;
};

struct tmem_doubt {
	pthread_mutex_t lock; /* guards all below */
	struct tmem_doubt_run *run;
	size_t runs;
	size_t room;
	bool all; /* too many, or no memory: the whole pool is in doubt */
};

void tmem_doubt_init(struct tmem_doubt *doubt);
void tmem_doubt_deinit(struct tmem_doubt *doubt);

/** Remember count pages from index, or the object when count is 0. */
void tmem_doubt_add(struct tmem_doubt *doubt, const struct tmem_oid *oid,
		    uint32_t index, uint64_t count);

/** Forget everything: it has been flushed. */
void tmem_doubt_clear(struct tmem_doubt *doubt);

#endif
