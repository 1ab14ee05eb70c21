/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room that owners of persistent pools can make: the store never evicts a
 * persistent page, but its owner may have another place for it. Who watches is
 * told when there is no room for one, asks how much room there is, and which
 * pages have been idle longest.
 *
 * Threading: any thread; no lock held, unless it says so.
 */
#ifndef TMEM_ROOM_H
#define TMEM_ROOM_H

#include "state.h"

/** The pool calls of tmem/client.h of a local store. */
int tmem_room_of_pool(struct tmem_pool *pool, struct tmem_room *out);
int tmem_room_coldest(struct tmem_pool *pool, const struct tmem_oid *oid,
		      uint32_t *indexes, unsigned max);
int tmem_room_watch(struct tmem_pool *pool, int fd);

/** A use ends. Admin lock. */
void tmem_room_unwatch(struct tmem_use *use);

/** Tell all who watch that the store wants room. */
void tmem_room_wanted(struct tmem_store *store);

/** A put of a page that is not evicted was refused: tell who can do something
 * about it. */
void tmem_room_refused(struct tmem_use *use, enum tmem_refusal why);

#endif
