/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store behind a mount: tmemd's if one answers, else one of our own.
 *
 * Threading: init and deinit from one thread; the pool from any. A thread of
 * its own attaches again after tmemd went away; until then the pool's calls
 * fail at once and reads go below.
 */
#ifndef TMEMFS_BACKING_H
#define TMEMFS_BACKING_H

#include <pthread.h>
#include <stdbool.h>

#include "options.h"

struct tmem_client;
struct tmem_pool;
struct tmem_store;

struct fs_backing {
	struct tmem_store *store; /**< our own, or NULL */
	struct tmem_client *client;
	struct tmem_pool *pool;
	/* Only if attached: */
	bool has_keeper;
	pthread_t keeper;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool ending;
};

/** Reach a store as the options say. Returns 0 or -errno, logged. */
int fs_backing_init(struct fs_backing *backing, const struct fs_options *opt);
void fs_backing_deinit(struct fs_backing *backing);

#endif
