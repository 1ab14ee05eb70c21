/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Settling young pages (nursery.h), by whoever calls: background threads, who
 * needs room, the administrator.
 *
 * Threading: no locks held, but for the compact lock.
 */
#ifndef TMEM_SETTLE_H
#define TMEM_SETTLE_H

#include "state.h"

/** What came of an attempt to settle. */
enum tmem_settle {
	TMEM_SETTLE_NONE,  /**< there was nothing to settle */
	TMEM_SETTLE_BUSY,  /**< others are at all there is */
	TMEM_SETTLE_STUCK, /**< no room for what would become of it */
	TMEM_SETTLE_SOME,  /**< pages were settled, or found gone */
};

/** Settle some of the oldest pages of one shard, or only of those of age. */
enum tmem_settle tmem_settle_some(struct tmem_store *store, bool of_age);

/** Settle bytes of young pages, because room is needed. Returns how many bytes
 * of them were settled, about. Compact lock. */
uint64_t tmem_settle_room(struct tmem_store *store, uint64_t bytes);

/** Settle all that is young now. Returns 0, or -ENOMEM when some of it stays
 * young for lack of room. */
int tmem_settle_all(struct tmem_store *store);

#endif
