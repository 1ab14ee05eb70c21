/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a front end does with a store: be a client, open pools, and put, get
 * and flush pages. The same calls reach a store in this process (local) and
 * the one inside tmemd (attached, through a ring of shared memory).
 *
 * Threading: every call may be made from any thread, except that freeing a
 * client or a pool must be the last call on it. All page calls are synchronous
 * and, on one handle, linearizable.
 *
 * Lifetime: free a client's pools before the client.
 *
 * Attached only: when tmemd goes away, page calls return -ENOTCONN at once,
 * and when it is there but does not answer, after timeout_ms: never a stale
 * page. The session is over then, and its private ephemeral pools with it;
 * tmem_client_reattach() begins another one.
 */
#ifndef TMEM_CLIENT_H
#define TMEM_CLIENT_H

#include <stdbool.h>
#include <sys/types.h>
#include <tmem/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tmem_store;
struct tmem_client;
struct tmem_pool;

/** Where tmemd listens unless told otherwise. */
#define TMEM_SOCKET_PATH "/run/tmem/tmemd.sock"

struct tmem_client_config {
	/** Name shown by tmem-admin and, with uid, the client's identity:
	 * required, printable, without '/' or white space, below
	 * TMEM_NAME_MAX bytes. */
	const char *name;
	/** Owner. Attached: ignored, tmemd uses the peer's credentials. */
	uid_t uid;
	/** Dedup domain: NULL is the host's common one, "none" shares with
	 * nobody. Attached: tmemd's configuration may override it. */
	const char *domain;
	/** Attached: longest that a put or get waits for tmemd, ms; past it
	 * the session is given up. 0: 1000; at most an hour. Flushes of more
	 * than 65,536 pages and of objects may take ten times as long. */
	unsigned timeout_ms;
};

struct tmem_pool_config {
	/** Name within the client, for people and for finding a persistent
	 * pool again after a restart. Required, same rules as a client's. */
	const char *name;
	/** enum tmem_pool_flag, or-ed. */
	uint32_t flags;
	/** Shared pools: required. Private pools: all zero. */
	struct tmem_uuid uuid;
	/** Codec for this pool; TMEM_CODEC_NONE takes the store's default,
	 * TMEM_CODEC_RAW stores uncompressed. */
	enum tmem_codec codec;
	enum tmem_dedup dedup;
};

/**
 * Become a client of a local store. A client of this (uid, name) that a
 * reopened arena still knows is taken over with its persistent pools.
 * Returns 0; -EINVAL for a bad name; -EBUSY when the name is taken by a live
 * client; -ENOSPC when the store has its most clients, 1,024, or a quarter of
 * them this user's who is not root; -ENOMEM.
 */
int tmem_client_new_local(struct tmem_store *store,
			  const struct tmem_client_config *config,
			  struct tmem_client **out);

/**
 * Become a client of the store inside tmemd. socket_path NULL means
 * TMEM_SOCKET_PATH. Returns 0; -ENOENT or -ECONNREFUSED when no tmemd listens
 * there; -EACCES when it refuses this user; -EPROTO when it speaks another
 * version; else as tmem_client_new_local().
 */
int tmem_client_attach(const char *socket_path,
		       const struct tmem_client_config *config,
		       struct tmem_client **out);

/**
 * Attached and disconnected: connect again and reopen the same pools (whose
 * ephemeral pages are then gone). Pages of persistent and shared pools whose
 * put or flush failed with -ENOTCONN are flushed first; other threads' page
 * calls wait for that. Cheap when still connected: returns 0. May wait for
 * tmemd, up to 10 s. Errors as tmem_client_attach() and tmem_pool_new(), and -EOVERFLOW when a persistent
 * pool has more such pages than are kept track of (16,384 runs): free it, open
 * it anew and trust nothing in it. Local: returns 0.
 */
int tmem_client_reattach(struct tmem_client *client);

/** Whether page calls reach the store now. Local: always. */
bool tmem_client_connected(const struct tmem_client *client);

/** End the session; NULL is fine. Always returns NULL. */
struct tmem_client *tmem_client_free(struct tmem_client *client);

/**
 * Open a pool: create it, find the client's persistent pool of that name
 * again, or join a shared one. Returns 0; -EINVAL for flags that do not go
 * together or a missing uuid; -EPERM when a shared pool's uuid is not
 * authorised for this client; -EBUSY when the client has it open already;
 * -EEXIST when a pool of that name or uuid exists with other flags; -ENOSPC
 * at the most pools, 4,096, or when a quarter of them are this user's who is
 * not root; -ENOMEM; -ENOTCONN.
 */
int tmem_pool_new(struct tmem_client *client,
		  const struct tmem_pool_config *config,
		  struct tmem_pool **out);

/**
 * Stop using a pool. A private ephemeral pool ends here; a shared one ends
 * with its last user; a persistent one stays in the store, to be found again
 * by name. NULL is fine. Always returns NULL.
 */
struct tmem_pool *tmem_pool_free(struct tmem_pool *pool);

/**
 * Flush every page of a pool, and end the pool if it is private. Consumes
 * pool as tmem_pool_free() does. Returns 0 or -ENOTCONN.
 */
int tmem_pool_destroy(struct tmem_pool *pool);

/**
 * Put one page (TMEM_PAGE_SIZE bytes). Returns TMEM_OK, TMEM_REFUSED (the
 * handle's old page is gone), or -ENOTCONN (likewise).
 */
int tmem_put(struct tmem_pool *pool, const struct tmem_oid *oid,
	     uint32_t index, const void *page);

/** Get one page into page. Returns TMEM_OK, TMEM_MISS or -ENOTCONN. On a miss
 * page's bytes are unspecified, never another client's. */
int tmem_get(struct tmem_pool *pool, const struct tmem_oid *oid,
	     uint32_t index, void *page);

/** Flush one page. Returns TMEM_OK, TMEM_MISS or -ENOTCONN. */
int tmem_flush(struct tmem_pool *pool, const struct tmem_oid *oid,
	       uint32_t index);

/**
 * Put count pages of one object, the first at index. count is 1 to
 * TMEM_RUN_MAX and index + count - 1 must not pass UINT32_MAX, else -EINVAL.
 * outcome[i] (NULL is fine) becomes TMEM_OK or TMEM_REFUSED for each. Returns
 * how many were stored, or -ENOTCONN (then none of the old pages is left).
 */
int tmem_put_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		 uint32_t index, uint32_t count, const void *pages,
		 uint8_t *outcome);

/**
 * As tmem_put_run(), but a refused page leaves the handle's old page where it
 * is: the caller writes the page elsewhere and flushes the old one after that,
 * so that one of them exists at every instant. A block device's overflow needs
 * this, which rule 2 would not give it. For persistent private pools of a
 * local store, else -EOPNOTSUPP.
 */
int tmem_replace_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		     uint32_t index, uint32_t count, const void *pages,
		     uint8_t *outcome);

/** Get count pages; outcome[i] is TMEM_OK or TMEM_MISS; returns the hits.
 * Bytes of missed pages are unspecified. Errors as tmem_put_run(). */
int tmem_get_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		 uint32_t index, uint32_t count, void *pages,
		 uint8_t *outcome);

/** Flush count pages. count may be anything from 1 to 2^32 - index here.
 * Returns how many were found (capped at INT_MAX), or as tmem_put_run(). */
int tmem_flush_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		   uint32_t index, uint64_t count);

/** Flush all pages of an object. Returns as tmem_flush(). */
int tmem_flush_object(struct tmem_pool *pool, const struct tmem_oid *oid);

/**
 * The caller is about to get, or put, these pages of one object, a dozen or so,
 * one after the other: begin to fetch from memory, for all of them at once,
 * what the store has to look at. Nothing changes, and pages that are not there
 * do no harm; of one page alone nothing is gained. Attached, nothing is done.
 */
void tmem_ahead(struct tmem_pool *pool, const struct tmem_oid *oid,
		const uint32_t *indexes, unsigned count, bool put);

/**
 * Pool counters as enum tmem_pool_stat indexes them (tmem/stats.h). Returns
 * 0 or -ENOTCONN.
 */
int tmem_pool_stats(struct tmem_pool *pool, uint64_t *values);

/*
 * Persistent pages whose owner has another place for them. The store never
 * evicts a persistent page; its owner may flush some, once they are elsewhere,
 * so that others fit. For persistent private pools of a local store; else these
 * return -EOPNOTSUPP.
 */

/** Room for a pool's pages, bytes. */
struct tmem_room {
	uint64_t limit; /**< the store's budget, or the client's cap */
	/** Of that, what persistent puts may take, if need be from ephemeral
	 * pages. Negative: so much is held above the limit. */
	int64_t free;
};

/** How much room there is for pages of a pool. Returns 0. */
int tmem_pool_room(struct tmem_pool *pool, struct tmem_room *out);

/** Have 1 written to an eventfd when a page of the pool was refused for lack of
 * room, or the pool holds more than a lowered budget or cap leaves it; then not
 * again before tmem_pool_room() is called. fd stays the caller's; -1: no
 * more. Returns 0. */
int tmem_pool_watch(struct tmem_pool *pool, int fd);

/** Name up to max (at least TMEM_COLDEST_MIN) pages of an object that were
 * neither got nor put for longest, about. They stay where they are; those named
 * are named again only after others. Returns how many. */
int tmem_pool_coldest(struct tmem_pool *pool, const struct tmem_oid *oid,
		      uint32_t *indexes, unsigned max);
#define TMEM_COLDEST_MIN 8u

#ifdef __cplusplus
}
#endif
#endif
