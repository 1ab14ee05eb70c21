/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing out: a device's coldest pages go from the pool to the overflow file
 * in the background, when the budget shrinks below what is held, or when the
 * store has refused a page, so that the next ones find room.
 *
 * Threading: a device has one thread for it. Connections tell it which pages
 * they change.
 *
 * Lifetime: from nbd_writeout_start() to nbd_writeout_stop(), which comes
 * before the device is closed and after the last connection has ended.
 */
#ifndef NBD_WRITEOUT_H
#define NBD_WRITEOUT_H

#include "device.h"

/** Write out from now on, where there is an overflow file and the pool's store
 * can be watched. Returns 0 or -errno. */
int nbd_writeout_start(struct nbd_device *device);
/** A device that was not started is fine. */
void nbd_writeout_stop(struct nbd_device *device);

/**
 * Pages, whose range the caller has locked exclusively, are about to change:
 * what was read of them to be written out is old. With slots, so are their
 * slots: returns only once none of them is being written.
 */
void nbd_writeout_forestall(struct nbd_device *device, uint64_t first,
			    uint64_t count, bool slots);

/** Add what it counted to TMEM_NBD_STAT_COUNT counters. */
void nbd_writeout_add_stats(const struct nbd_device *device, uint64_t *values);

#endif
