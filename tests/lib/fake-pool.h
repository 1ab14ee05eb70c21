/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pool without a store: a small direct-mapped cache behind the operations of
 * client-ops.h, which keeps all promises of an ephemeral pool. For tests of
 * what lies between a client and a store.
 *
 * Threading: as tmem/client.h.
 */
#ifndef TEST_FAKE_POOL_H
#define TEST_FAKE_POOL_H

#include <stdbool.h>
#include <tmem/client.h>

/** Make a pool. Aborts on failure. End it with tmem_pool_free(). */
struct tmem_pool *test_fake_pool_new(void);

/** While stuck, puts and flushes of objects do not return. */
void test_fake_pool_stick(struct tmem_pool *pool, bool stuck);

/** Puts and flushes of objects that have begun so far. */
unsigned test_fake_pool_begun(struct tmem_pool *pool);

#endif
