/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replacement policies under simulation. A policy holds at most so many pages
 * of one trace, known by their numbers.
 *
 * Threading: one thread a policy's state.
 */
#ifndef EVICTION_POLICY_H
#define EVICTION_POLICY_H

#include "trace.h"

struct policy {
	const char *name;
	/** exclusive says what kind of pool it is for. Ends the program
	 * without memory. */
	void *(*init)(const struct trace *trace, uint32_t pages,
		      bool exclusive);
	void (*deinit)(void *state);
	/** Returns whether the page was held; note the hit. */
	bool (*get)(void *state, uint32_t page);
	/** Bring in a page that is not held. */
	void (*put)(void *state, uint32_t page);
	/** A page leaves, if it is held. hit: to whoever got it (an exclusive
	 * pool), else it is stale. */
	void (*take)(void *state, uint32_t page, bool hit);
};

/** Ends with NULL. The last one, the real store, takes its time. */
extern const struct policy *const policies[];

/* At the grain of pages, in page-policies.c. */
extern const struct policy policy_fifo, policy_lru, policy_clock, policy_sieve,
	policy_s3fifo, policy_s3fifo_hits, policy_2q, policy_arc;

/* What the store does, in store-model.c. */
extern const struct policy policy_store_sieve, policy_store_way0,
	policy_store_way1, policy_store_way2, policy_store;

/** A store of its own, in real-store.c; for inclusive pools. */
extern const struct policy policy_real_store;

#endif
