/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store's clients and pools as one peer may see them: all of them for an
 * administrator, its own for another user. Finding them by the words that
 * people use, and writing them as JSON.
 *
 *	client	NAME, or id:N when several users' clients share a name
 *	pool	CLIENT/POOL, or id:N, or a shared pool's uuid
 *
 * Threading: a view belongs to one thread. It is a copy: what it shows may
 * have ended since.
 */
#ifndef TMEMD_VIEW_H
#define TMEMD_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <tmem/stats.h>
#include <tmem/store.h>

struct tmemd_view {
	struct tmem_client_info *client;
	uint64_t *client_value; /* TMEM_CLIENT_STAT_COUNT each */
	size_t clients;
	struct tmem_pool_info *pool;
	uint64_t *pool_value; /* TMEM_POOL_STAT_COUNT each */
	size_t pools;
};

/** Look at the store, as an administrator (uid NULL) or as *uid. Returns 0 or
 * -ENOMEM. */
int tmemd_view_init(struct tmemd_view *view, struct tmem_store *store,
		    const uid_t *uid);
void tmemd_view_deinit(struct tmemd_view *view);

/** Find a client. Returns 0; -ENOENT; -EEXIST when several match; error
 * (TMEMD_ERROR_MAX bytes) says what to do. */
int tmemd_view_client(const struct tmemd_view *view, const char *word,
		      const struct tmem_client_info **out, char *error);

/** Find a pool. Errors as above. */
int tmemd_view_pool(const struct tmemd_view *view, const char *word,
		    const struct tmem_pool_info **out, char *error);

/** Arrays for a reply, with or without counters. NULL: no memory. */
json_t *tmemd_view_clients_json(const struct tmemd_view *view, bool counters);
json_t *tmemd_view_pools_json(const struct tmemd_view *view, bool counters);

/** {"name": value, ...} of count counters, or NULL. */
json_t *tmemd_view_counters(const struct tmem_stat_desc *desc,
			    const uint64_t *values, size_t count);

#endif
