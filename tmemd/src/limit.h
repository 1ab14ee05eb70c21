/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the store's budget is: what somebody wants (the configuration, or the
 * administrator since), and never more than the memory cgroup leaves.
 *
 * Threading: any thread; setting may take long, and takes turns.
 * Lifetime: the store's.
 */
#ifndef TMEMD_LIMIT_H
#define TMEMD_LIMIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <tmem/store.h>

struct tmemd_limit {
	pthread_mutex_t lock; /* guards the rest, held while it is applied */
	struct tmem_store *store;
	uint64_t wanted;
	uint64_t budget;
};

struct tmemd_limit_result {
	uint64_t budget;
	bool clamped; /**< the memory cgroup allows no more */
	bool full;    /**< persistent pages hold more than that */
};

/** The store has been opened with budget, where wanted was asked for. */
int tmemd_limit_init(struct tmemd_limit *limit, struct tmem_store *store,
		     uint64_t wanted, uint64_t budget);
void tmemd_limit_deinit(struct tmemd_limit *limit);

/** Bytes, of those wanted, that a store may have under the memory cgroup's
 * limit as it is now. Returns 0, or -ENOMEM and error (TMEMD_ERROR_MAX bytes)
 * when that is too little for any store. */
int tmemd_limit_clamp(uint64_t wanted, uint64_t *budget, char *error);

/** Set the budget to wanted bytes, clamped. Returns 0; or -errno and error
 * says why nothing was changed. */
int tmemd_limit_set(struct tmemd_limit *limit, uint64_t wanted,
		    struct tmemd_limit_result *result, char *error);

/** Follow the memory cgroup if its limit has changed. */
void tmemd_limit_follow(struct tmemd_limit *limit);

#endif
