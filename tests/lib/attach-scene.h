/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tests of attached clients share: a server, short names for the calls
 * with their checks, and threads that use a pool. For libcheck.
 */
#ifndef TEST_ATTACH_SCENE_H
#define TEST_ATTACH_SCENE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <tmem/client.h>
#include "attach-server.h"

#define PATIENCE 60000 /* ms; only a broken build waits for it */

/** The server, between setup and teardown (which checks its store). */
extern struct test_attach_server server;
void setup(void);
void teardown(void);

/** Attach, waiting for tmemd for timeout ms. Returns as the call does. */
int try_attach(const char *name, unsigned timeout, struct tmem_client **client);
struct tmem_client *attach(const char *name);
/** Open a pool; a shared one is that of test_attach_uuid. */
int try_pool(struct tmem_client *client, const char *name, uint32_t flags,
	     struct tmem_pool **pool);
struct tmem_pool *open_pool(struct tmem_client *client, const char *name,
			    uint32_t flags);

/** Put, or expect, the page of seed, in the object oid. */
extern const struct tmem_oid oid;
void put(struct tmem_pool *pool, uint32_t index, uint64_t seed);
void expect(struct tmem_pool *pool, uint32_t index, uint64_t seed);
void expect_miss(struct tmem_pool *pool, uint32_t index);

/** Pages that a user puts, of an object of its own. */
#define INDICES 200u

/** A thread that puts, gets and flushes, and knows what it must find. */
struct user {
	struct tmem_pool *pool;
	struct tmem_oid oid;
	bool persistent;
	unsigned rounds; /* or until disconnected */
	/* What the last put of each page left: its seed, 0 for nothing. */
	uint64_t seed[INDICES];
	uint64_t next_seed;
	_Atomic(unsigned) hits;
	bool failed;
	bool disconnected;
	pthread_t thread;
};

/** Start count users of a pool, for so many rounds (UINT32_MAX: until they are
 * disconnected). */
void start_users(struct user *users, unsigned count, struct tmem_pool *pool,
		 bool persistent, unsigned rounds);
/** Wait until each has found something. */
void wait_for_hits(struct user *users, unsigned count);
/** Wait for their ends: none may have found what it must not. */
void join_users(struct user *users, unsigned count);
/** Compare all that the users know with what the pool holds. */
void verify_users(struct user *users, unsigned count, struct tmem_pool *pool);

#endif
