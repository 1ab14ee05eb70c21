/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The seam between tmem/client.h and the two ways to reach a store. client.c
 * checks arguments and dispatches through these operations; session.c
 * implements them for a local store, attach.c for an attached one. Both embed
 * these structs as the first member of their own.
 *
 * Threading and lifetime: as tmem/client.h says of the public calls. client.c
 * has validated every argument (the rules of tmem/client.h) before an
 * operation sees it.
 */
#ifndef TMEM_CLIENT_OPS_H
#define TMEM_CLIENT_OPS_H

#include <tmem/client.h>

/** A way to reach a store. A single page is a run of one. */
struct tmem_client_ops {
	bool (*connected)(const struct tmem_client *client);
	int (*reattach)(struct tmem_client *client);
	/** Ends the session and frees client. */
	void (*client_free)(struct tmem_client *client);
	int (*pool_new)(struct tmem_client *client,
			const struct tmem_pool_config *config,
			struct tmem_pool **out);
	/** Both free pool. */
	void (*pool_free)(struct tmem_pool *pool);
	int (*pool_destroy)(struct tmem_pool *pool);
	/** outcome may be NULL. Return pages stored or hit, or -errno. */
	int (*put_run)(struct tmem_pool *pool, const struct tmem_oid *oid,
		       uint32_t index, uint32_t count, const void *pages,
		       uint8_t *outcome);
	/** NULL: not supported. */
	int (*replace_run)(struct tmem_pool *pool, const struct tmem_oid *oid,
			   uint32_t index, uint32_t count, const void *pages,
			   uint8_t *outcome);
	int (*get_run)(struct tmem_pool *pool, const struct tmem_oid *oid,
		       uint32_t index, uint32_t count, void *pages,
		       uint8_t *outcome);
	/** Returns pages found, capped at INT_MAX, or -errno. */
	int (*flush_run)(struct tmem_pool *pool, const struct tmem_oid *oid,
			 uint32_t index, uint64_t count);
	int (*flush_object)(struct tmem_pool *pool, const struct tmem_oid *oid);
	/** NULL: nothing to be done. */
	void (*ahead)(struct tmem_pool *pool, const struct tmem_oid *oid,
		      const uint32_t *indexes, unsigned count, bool put);
	int (*pool_stats)(struct tmem_pool *pool, uint64_t *values);
	/** NULL, all three: not supported. */
	int (*pool_room)(struct tmem_pool *pool, struct tmem_room *out);
	int (*pool_coldest)(struct tmem_pool *pool, const struct tmem_oid *oid,
			    uint32_t *indexes, unsigned max);
	int (*pool_watch)(struct tmem_pool *pool, int fd);
};

struct tmem_client {
	const struct tmem_client_ops *ops;
};

struct tmem_pool {
	const struct tmem_client_ops *ops;
};

/** Whether a name is printable, without '/' or white space, and of 1 to
 * TMEM_NAME_MAX - 1 bytes. name may lack its NUL (only TMEM_NAME_MAX bytes are
 * looked at). */
bool tmem_name_valid(const char *name);
/** 0, or -EINVAL for a config that tmem/client.h does not allow. What crosses
 * the ring or the control socket is checked with these too. */
int tmem_client_config_check(const struct tmem_client_config *config);
int tmem_pool_config_check(const struct tmem_pool_config *config);
/** Whether a run lies within 32-bit indices; count at most TMEM_RUN_MAX. */
bool tmem_run_valid(uint32_t index, uint32_t count);

#endif
