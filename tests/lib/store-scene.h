/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A local store under test, with short calls for what tests do over and over.
 * Everything asserts that it works; pages are those of pages.h, told apart by
 * their seeds.
 *
 * Threading: as tmem/client.h, once a scene is open.
 */
#ifndef TEST_STORE_SCENE_H
#define TEST_STORE_SCENE_H

#include <check.h>
#include <stdbool.h>
#include <tmem/client.h>
#include <tmem/stats.h>
#include <tmem/store.h>

/** Open a store of budget bytes in a memfd of its own. */
struct tmem_store *scene_open(uint64_t budget);
/** The same with an arena file (not taken over) and hash bits (0: all). */
struct tmem_store *scene_open_arena(uint64_t budget, int fd,
				    unsigned hash_bits);
/** Check the store, and close it. */
void scene_close(struct tmem_store *store);
/** tmem_store_check() finds nothing. */
void scene_check(struct tmem_store *store);

struct tmem_client *scene_client(struct tmem_store *store, const char *name);
/** With a dedup domain. */
struct tmem_client *scene_client_in(struct tmem_store *store, const char *name,
				    const char *domain);
/** A private pool of default codec and dedup. */
struct tmem_pool *scene_pool(struct tmem_client *client, const char *name,
			     uint32_t flags);
/** A shared pool of uuid {id}; the result of tmem_pool_new(). */
int scene_shared(struct tmem_client *client, uint8_t id, uint32_t flags,
		 struct tmem_pool **out);
void scene_authorise(struct tmem_store *store, const char *client, uint8_t id);

/** Put, get or flush page index of object number object. put returns whether
 * it was stored; get whether there was a page, which must be seed's. */
bool scene_put(struct tmem_pool *pool, uint64_t object, uint32_t index,
	       uint64_t seed);
bool scene_get(struct tmem_pool *pool, uint64_t object, uint32_t index,
	       uint64_t seed);
bool scene_flush(struct tmem_pool *pool, uint64_t object, uint32_t index);

uint64_t scene_host(struct tmem_store *store, enum tmem_host_stat stat);
uint64_t scene_pool_stat(struct tmem_pool *pool, enum tmem_pool_stat stat);
/** By client name; UINT64_MAX when there is none. */
uint64_t scene_client_stat(struct tmem_store *store, const char *name,
			   enum tmem_client_stat stat);
/** A client's id by name; 0 when there is none. */
uint32_t scene_client_id(struct tmem_store *store, const char *name);
/** A pool's id by name; 0 when there is none. */
uint32_t scene_pool_id(struct tmem_store *store, const char *name);

/** Run one test case: main()'s return value. setup and teardown may be NULL. */
int scene_run(const char *name, void (*setup)(void), void (*teardown)(void),
	      const TTest *const *tests, size_t count);

#endif
