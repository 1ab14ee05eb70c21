/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tmemd must know of hosted exports after it was killed: whose they are,
 * and whether their pools are kept without a keeper. One page an export, in a
 * persistent pool of tmemd's own in the very store that holds their pools, so
 * that both are found again or neither.
 *
 * Threading: the caller's lock (exports.c).
 * Lifetime: the store's.
 */
#ifndef TMEMD_RECORD_H
#define TMEMD_RECORD_H

#include <stdbool.h>
#include <sys/types.h>
#include <tmem/client.h>
#include <tmem/store.h>

struct tmemd_records {
	struct tmem_client *client;
	struct tmem_pool *pool;
};

/** Returns 0, or as tmem_client_new_local() and tmem_pool_new(). */
int tmemd_records_init(struct tmemd_records *records, struct tmem_store *store);
/** The records stay in the store. */
void tmemd_records_deinit(struct tmemd_records *records);

/** Remember export name of uid. Returns 0 or -ENOSPC. */
int tmemd_records_put(struct tmemd_records *records, uid_t uid,
		      const char *name, bool keep);

/** Whether there is such an export; *keep as it was put. */
bool tmemd_records_get(struct tmemd_records *records, uid_t uid,
		       const char *name, bool *keep);

void tmemd_records_forget(struct tmemd_records *records, uid_t uid,
			  const char *name);

#endif
