/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks ranges of a device's pages, for reading (shared) or changing
 * (exclusive), across all connections of an export.
 *
 * The device is cut into blocks of 64 pages (256 KiB); a block hashes to one
 * of 1,024 locks by its number. A request takes the locks of its blocks, so
 * that two connections meet on a lock only when they touch the same or, rarely,
 * distant blocks; there is no lock that all requests take.
 *
 * Invariant: locks are taken in rising order of their place in the array, so
 * that two requests whose ranges wrap around it cannot wait for each other.
 *
 * Threading: any thread. One that holds ranges waits for no other.
 */
#ifndef NBD_RANGE_LOCK_H
#define NBD_RANGE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define NBD_RANGE_LOCKS	      1024u
#define NBD_RANGE_BLOCK_SHIFT 6

struct nbd_range_lock {
	pthread_rwlock_t locks[NBD_RANGE_LOCKS];
};

/** A range that is locked. */
struct nbd_range {
	uint64_t first; /**< page */
	uint64_t count; /**< pages, at least 1 */
};

/** Returns 0 or -ENOMEM. */
int nbd_range_lock_init(struct nbd_range_lock *lock);
/** Nothing may be locked. */
void nbd_range_lock_deinit(struct nbd_range_lock *lock);

void nbd_range_lock_shared(struct nbd_range_lock *lock,
			   const struct nbd_range *range);
void nbd_range_lock_exclusive(struct nbd_range_lock *lock,
			      const struct nbd_range *range);
/** The same if that needs no waiting. Returns whether it is locked. A thread
 * that holds other ranges may only lock in this way. */
bool nbd_range_try_lock(struct nbd_range_lock *lock,
			const struct nbd_range *range, bool exclusive);
void nbd_range_unlock(struct nbd_range_lock *lock,
		      const struct nbd_range *range);

#endif
