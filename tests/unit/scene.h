/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store with clients and pools, set up in one line each; a failure to do so
 * fails the test. Pages are named by number: page n of a pool is index n of
 * one object, and its bytes come from a seed (tests/lib/pages.h).
 */
#ifndef SCENE_H
#define SCENE_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <tmem/client.h>
#include <tmem/stats.h>
#include <tmem/store.h>

#define MIB (1ull << 20)

/** The clients' user. */
#define SCENE_UID 1000

/** The uuid of the scene's shared pools; every client is authorised. */
extern const struct tmem_uuid scene_uuid;

/** A store with a capacity of 256 MiB in the arena fd (kept by the caller),
 * or in a memfd of its own with fd -1. */
struct tmem_store *scene_store(uint64_t budget, int fd);
/** The same with bits of a content's hash that count, 0 for all. */
struct tmem_store *scene_store_hashed(uint64_t budget, int fd,
				      unsigned hash_bits);
/** One with a nursery of bytes, and threads in the background: in the others,
 * puts do all the work themselves. */
struct tmem_store *scene_store_young(uint64_t budget, int fd, uint64_t nursery,
				     unsigned threads);
struct tmem_client *scene_client(struct tmem_store *store, const char *name,
				 const char *domain);
/** A pool of flags (enum tmem_pool_flag), shared ones by scene_uuid. */
struct tmem_pool *scene_pool(struct tmem_client *client, const char *name,
			     uint32_t flags);
/** Dedup as given, raw pages where codec says so. */
struct tmem_pool *scene_pool_with(struct tmem_client *client, const char *name,
				  uint32_t flags, enum tmem_codec codec,
				  enum tmem_dedup dedup);

/** Authorise a client for the shared pool of uuid {id}, and open it: the result
 * of tmem_pool_new(). */
void scene_authorise(struct tmem_store *store, const char *client, uint8_t id);
int scene_shared(struct tmem_client *client, uint8_t id, uint32_t flags,
		 struct tmem_pool **out);

/** Put page n, made from seed (not 0): a fifth each fill, sparse, text, binary
 * and random pages. */
int scene_put(struct tmem_pool *pool, uint32_t n, uint64_t seed);
/** Put page n, made from seed, of 4096 bytes that do not compress. */
int scene_put_random(struct tmem_pool *pool, uint32_t n, uint64_t seed);
/** Get page n: 0 on a miss, else its seed; fails when its bytes are not just
 * those that scene_put() or scene_put_random() made of it. */
uint64_t scene_get(struct tmem_pool *pool, uint32_t n);
int scene_flush(struct tmem_pool *pool, uint32_t n);

/** The same at an index of object number object, with the mix of pages that
 * test_page() makes: put returns whether the page was stored, get whether there
 * was one, which must be seed's. */
bool scene_put_at(struct tmem_pool *pool, uint64_t object, uint32_t index,
		  uint64_t seed);
bool scene_get_at(struct tmem_pool *pool, uint64_t object, uint32_t index,
		  uint64_t seed);
bool scene_flush_at(struct tmem_pool *pool, uint64_t object, uint32_t index);
struct tmem_oid scene_oid(uint64_t object);

/** Put count pages from object 0 on, 64 an object, seeds from seed on: how many
 * were stored; and how many of them there are. */
unsigned scene_fill(struct tmem_pool *pool, unsigned count, uint64_t seed);
unsigned scene_held(struct tmem_pool *pool, unsigned count, uint64_t seed);

uint64_t scene_stat(struct tmem_store *store, enum tmem_host_stat stat);
uint64_t scene_pool_stat(struct tmem_pool *pool, enum tmem_pool_stat stat);
/** Of a client by name; UINT64_MAX when there is none. */
uint64_t scene_client_stat(struct tmem_store *store, const char *name,
			   enum tmem_client_stat stat);
/** Id of a client or a pool by name, 0 when there is none. */
uint32_t scene_client_id(struct tmem_store *store, const char *name);
uint32_t scene_pool_id(struct tmem_store *store, const char *name);
/** tmem_store_check() finds nothing. */
void scene_check(struct tmem_store *store);
/** The same, then close. Free clients and pools first. */
void scene_close(struct tmem_store *store);

/** Run a suite of one test case: main()'s return value. */
int scene_run(const char *name, const TTest *const *tests, size_t count);
/** The same, each test between setup and teardown. */
int scene_run_between(const char *name, void (*setup)(void),
		      void (*teardown)(void), const TTest *const *tests,
		      size_t count);
#define SCENE_RUN(name, tests)                                                 \
	scene_run(name, tests, sizeof(tests) / sizeof((tests)[0]))

#endif
