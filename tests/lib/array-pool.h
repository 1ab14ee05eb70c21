/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A persistent pool that is an array, behind the operations of client-ops.h:
 * for tests that say which puts are refused, and watch the order of calls. Of
 * objects it knows {0, 0, 0}, of any number of pages, and {1, 0, 0}, of one.
 *
 * Threading: page calls and refusals from any thread, all else while there are
 * none.
 */
#ifndef TEST_ARRAY_POOL_H
#define TEST_ARRAY_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <tmem/client.h>

/** Most pages. */
#define TEST_ARRAY_POOL_PAGES 65536u

/** Make a pool. Aborts on failure. End it with tmem_pool_free(). */
struct tmem_pool *test_array_pool_new(void);

/** Refuse puts of a page, or store them again; of all pages with
 * TEST_ARRAY_POOL_PAGES. */
void test_array_pool_refuse(struct tmem_pool *pool, uint32_t index,
			    bool refuse);

/** Give it room for so many pages: new ones are refused beyond it, and who
 * watches is told. Without this call it has no notion of room. */
void test_array_pool_limit(struct tmem_pool *pool, uint32_t pages);

/** Lose a page, as no store may. */
void test_array_pool_lose(struct tmem_pool *pool, uint32_t index);

/** A page that is held, or NULL. */
const uint8_t *test_array_pool_page(struct tmem_pool *pool, uint32_t index);

/** Called before pages are flushed, or got; NULL: nothing is. */
typedef void test_array_pool_fn(void *arg, uint32_t index, uint64_t count);
void test_array_pool_on_flush(struct tmem_pool *pool, test_array_pool_fn *hook,
			      void *arg);
void test_array_pool_on_get(struct tmem_pool *pool, test_array_pool_fn *hook,
			    void *arg);

/** Puts so far, stored or refused, and gets. */
unsigned test_array_pool_puts(struct tmem_pool *pool);
unsigned test_array_pool_gets(struct tmem_pool *pool);

#endif
