/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store in memory: what struct tmem_store, and a local client and pool,
 * are made of. The modules that work on these include it: session.c and pool.c
 * (who there is), op.c (pages), evict.c and evict-room.c (room), reopen.c,
 * check.c, dump.c, stats.c and store.c.
 *
 *   tmem_store --client[slot]--> tmem_client_state   (live, or with pools)
 *       |                             ^  owner of a private pool
 *       +-------pool[slot]-----> tmem_pool_state <-- pool of a use
 *                                     ^
 *              tmem_use (a client's open pool, one a tmem_pool_new())
 *
 * Who guards what: the admin lock, all of it, but for: what is atomic; a
 * shard's part of a pool or a use, under that shard's lock; and what never
 * changes between making and freeing, which is all that page operations read
 * without a lock.
 */
#ifndef TMEM_STATE_H
#define TMEM_STATE_H

#include "client-ops.h"
#include "content.h"
#include "duel.h"
#include "index.h"
#include "nursery.h"
#include "roster.h"
#include <tmem/stats.h>

struct tmem_store;

/** What a page costs in records, about: charged for each page held. */
#define TMEM_PAGE_OVERHEAD 40u

/** A dedup domain that some client or pool names. */
struct tmem_domain {
	char name[TMEM_NAME_MAX]; /* "": the host's common one */
	uint32_t users;		  /* clients and pools */
};

struct tmem_client_state {
	struct tmem_client_record *record;
	uint32_t id;
	bool live;	/* has a session */
	uint32_t pools; /* private pools in memory, dying ones too */
	int64_t sum;	/* evict.c's: what it is charged, all told */
	/* Of its private pools. */
	_Atomic(int64_t) charge;
	_Atomic(int64_t) pages;
	_Atomic(uint32_t) joined; /* shared pools */
	/* Counters of what is gone: uses, and evictions of its pools. */
	uint64_t past[TMEM_POOL_STAT_COUNT];
};

/** A pool's part in a shard; under the shard's lock. */
struct tmem_pool_shard {
	struct tmem_queue queue;
	struct tmem_ghost ghost;
	/* evict.c's, under the compact lock. What laps so far came short of a
	 * whole leaf, in parts of one; and from a change of the pool's way on,
	 * old leaves to try once before any fresh one, and whether fresh ones
	 * above what the way allows are made old untried. */
	uint32_t due;
	uint32_t stale;
	bool adopts;
	uint64_t pages;
	uint64_t objects;
	uint64_t fill_pages;
	uint64_t stored_bytes;
	uint64_t evictions;
	uint64_t lookups;
	/* Not in the pool's dedup_window yet. */
	uint32_t window_looked;
	uint32_t window_found;
	uint64_t
		shared; /* pages that came to share a content as they settled */
	int64_t charge; /* part of the pool's */
	int64_t recount;
	uint64_t recount_bytes;
};

/** What dedup-auto.c measures: pages looked for and found, of late. */
struct tmem_dedup_window {
	_Atomic(uint64_t) looked;
	_Atomic(uint64_t) found;
	_Atomic(bool) sampled; /* only a sample is looked for */
};

struct tmem_pool_state {
	struct tmem_pool_record *record;
	struct tmem_client_state *owner; /* NULL: shared */
	uint32_t id;
	uint32_t flags;
	enum tmem_kind kind;
	uint32_t domain;
	_Atomic(uint8_t) codec;
	_Atomic(uint8_t) dedup;
	struct tmem_dedup_window dedup_window;
	bool dead;     /* being flushed; its record is gone */
	uint32_t refs; /* uses, and who works on it without one */
	uint32_t users;
	struct tmem_use *uses;
	_Atomic(int64_t) charge;
	_Atomic(int64_t) pages;
	_Atomic(uint32_t) young; /* of its pages */
	_Atomic(uint64_t) peak;
	_Atomic(uint32_t) cursor;   /* shard where eviction goes on */
	struct tmem_duel duel;	    /* evict.c's */
	const struct tmem_way *way; /* at the last sweep; compact lock */
	uint64_t past[TMEM_POOL_STAT_COUNT]; /* counters of uses gone */
	struct tmem_pool_shard shard[TMEM_SHARDS];
};

/** A client's use of a pool: what struct tmem_pool is on a local store. */
struct tmem_use {
	struct tmem_pool base;
	struct tmem_store *store;
	struct tmem_client_state *client;
	struct tmem_pool_state *pool;
	struct tmem_use *next; /* of the pool's */
	/* room.c's: whom to tell that room is wanted. */
	struct tmem_use *watch_next;
	int watch_fd;
	_Atomic(bool) told; /* and has not asked since */
	/* Counters; under the shard's lock. */
	uint64_t stat[TMEM_SHARDS][TMEM_POOL_STAT_COUNT];
};

/** What struct tmem_client is on a local store. */
struct tmem_session {
	struct tmem_client base;
	struct tmem_store *store;
	struct tmem_client_state *client;
};

/** Why a put was refused, in the order of the host's counters. */
enum tmem_refusal {
	TMEM_REFUSAL_NOMEM,
	TMEM_REFUSAL_CAP,
	TMEM_REFUSAL_FROZEN,
	TMEM_REFUSAL_FAULT,
	TMEM_REFUSALS,
};

/** Where cooling is; its lock guards what is not atomic. */
struct tmem_cool {
	struct tmem_lock lock; /* one thread cools at a time */
	uint32_t slot;	       /* of the pool that the hand is in */
	unsigned s;	       /* likewise, the shard */
	bool begun;	       /* the hand is on its way there */
	bool lapping;	       /* a lap in the background is under way */
	uint64_t looked;       /* leaves, ever */
	uint64_t next;	       /* ms: no lap begins before */
	uint64_t dry;	       /* ms: till then nothing is to be gained */
	_Atomic(bool) fresh;   /* there is something for the next lap */
	_Atomic(uint64_t) recompressed;
};

/** How far a recount has come in a shard. */
struct tmem_walk {
	uint32_t at; /* next bucket of leaves */
	bool done;
};

/** The recount of charges (charge.c). Under its lock, which is held for all of
 * one or for a step; nobody waits for it but who wants a recount. */
struct tmem_recount {
	struct tmem_lock lock;
	bool underway;
	unsigned next; /* shard */
	struct tmem_walk walk[TMEM_SHARDS];
};

struct tmem_store {
	struct tmem_budget budget;
	struct tmem_lock resize; /* one change of the budget at a time */
	struct tmem_arena arena;
	struct tmem_slabs *slabs;
	struct tmem_codecs *codecs;
	struct tmem_contents contents;
	struct tmem_index index;
	enum tmem_codec codec; /* of pools that name none */
	bool no_cold;
	_Atomic(bool) frozen;
	struct tmem_workers *workers; /* NULL: no background threads */
	struct tmem_upkeep {
		_Atomic(bool) compacting;
		_Atomic(uint64_t) taken; /* slabs, when last looked */
		_Atomic(uint64_t) since; /* ms; it has been so */
		_Atomic(uint64_t) rest;	 /* ms; until then, no room */
		uint64_t free_least;	 /* see tmem_upkeep_measure() */
	} upkeep;
	struct tmem_nursery nursery;

	struct tmem_lock admin;
	struct tmem_roster clients;
	struct tmem_roster pools;
	struct tmem_roster auths;
	struct tmem_client_state *client[TMEM_CLIENTS_MAX];
	uint32_t client_end;	    /* no slot from here on was ever used */
	_Atomic(uint32_t) pool_end; /* likewise */
	struct tmem_domain *domain; /* see domain.c */
	uint32_t domains;	    /* slots there is memory for */
	uint64_t past[TMEM_POOL_STAT_COUNT]; /* counters of pools gone */
	struct tmem_use *watching;	     /* see room.c */
	_Atomic(uint32_t) watchers;

	/* Set under the admin lock. Who reads one under a shard's lock may use
	 * it until that is let go: a pool that ends goes through all of them
	 * before it is freed. */
	_Atomic(struct tmem_pool_state *) pool[TMEM_POOLS_MAX];

	struct tmem_cool cool;

	/* Eviction and compaction: evict-room.c. */
	struct tmem_lock compact;
	_Atomic(uint64_t) rooms;   /* times room was made */
	_Atomic(uint32_t) downs;   /* threads that give memory back */
	_Atomic(uint64_t) drift;   /* times a shared content gained or lost a
				    * handle, or a handle's content was recoded
				    * behind it, since the last recount */
	_Atomic(bool) bytes_drift; /* so have sums of stored_bytes */
	struct tmem_recount recount;
	_Atomic(uint64_t) refused[TMEM_REFUSALS];
};

static inline uint32_t tmem_pool_slot(uint32_t id)
{
	return id & (TMEM_POOLS_MAX - 1);
}

static inline uint32_t tmem_client_slot(uint32_t id)
{
	return id & (TMEM_CLIENTS_MAX - 1);
}

/** The pool of an id that a leaf under the caller's lock belongs to. */
static inline struct tmem_pool_state *
tmem_store_pool(const struct tmem_store *store, uint32_t id)
{
	return atomic_load_explicit(&store->pool[tmem_pool_slot(id)],
				    memory_order_acquire);
}

/** The pool of a leaf. Shard's lock. */
static inline struct tmem_pool_state *
tmem_store_leaf_pool(const struct tmem_store *store, uint32_t leaf)
{
	const struct tmem_object *object = tmem_index_object(
		&store->index,
		atomic_load_explicit(
			&tmem_index_leaf(&store->index, leaf)->object,
			memory_order_relaxed));

	return tmem_store_pool(
		store,
		atomic_load_explicit(&object->pool, memory_order_relaxed));
}

#endif
