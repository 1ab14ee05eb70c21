/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making room: evicting ephemeral pages, and compacting what is left.
 *
 * Threading: no locks held. One thread at a time makes room (the compact
 * lock); the others wait and then try again with what it made.
 */
#ifndef TMEM_EVICT_H
#define TMEM_EVICT_H

#include "state.h"

/** How often an allocation that finds no room makes some and tries again. Each
 * time that it was not enough, twice as much is made, in the end all there is;
 * the rest is for when other threads are quicker to take it. */
#define TMEM_ROOM_TRIES 64u

/** Times room was made so far. Read it before an allocation that may fail. */
static inline uint64_t tmem_evict_rooms(struct tmem_store *store)
{
	return atomic_load_explicit(&store->rooms, memory_order_acquire);
}

/**
 * Make room for an allocation that failed: give back spare slabs, compact,
 * evict pages of the client furthest above its share. rooms is what
 * tmem_evict_rooms() said before the allocation: when somebody has made room
 * since, this does nothing. *made, 0 at first, counts the times that this made
 * room for the caller. Returns false when there is nothing left to give: the
 * allocation will not succeed.
 */
bool tmem_evict_room(struct tmem_store *store, uint64_t rooms, unsigned *made);

/** When there is nothing left to evict: hold pages tighter (cool.h) until that
 * gives memory back. Returns false when it cannot. */
bool tmem_evict_cool(struct tmem_store *store);

/** Evict ephemeral pages of a client until it could be charged bytes more and
 * hold pages more without passing its cap and maxmem. Returns whether anything
 * was evicted. */
bool tmem_evict_client(struct tmem_store *store, uint32_t client_id,
		       int64_t bytes, int64_t pages);

/** Evict and compact until the store uses at most limit bytes, this has given
 * back most, or nothing more can be freed. It ends however much others put
 * meanwhile. */
void tmem_evict_down_to(struct tmem_store *store, uint64_t limit, int64_t most);

/** Compact all that can be. Returns bytes given back. */
uint64_t tmem_evict_compact(struct tmem_store *store);

/** Pages (a bit each) of a leaf are about to be put. A leaf that has lost one
 * of them soon after it came has now proven that it is read again; in an
 * exclusive pool it is as young as its last page. Under the shard's lock. */
void tmem_evict_note_put(struct tmem_store *store, struct tmem_pool_state *pool,
			 unsigned s, const struct tmem_key *key, uint32_t leaf,
			 unsigned pages);

#endif
