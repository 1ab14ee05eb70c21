/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store itself, as its owner sees it: tmemd, or a front end that embeds
 * one. Opening, budget, clients' settings, statistics, checks. What front ends
 * do with pages is in tmem/client.h.
 *
 * Threading: every call may be made from any thread, except where it says
 * "quiet", which means that no other call on this store may be under way.
 */
#ifndef TMEM_STORE_H
#define TMEM_STORE_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <tmem/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tmem_store;

struct tmem_store_config {
	/** Most memory the store may use, bytes, everything counted. At
	 * least TMEM_BUDGET_MIN. */
	uint64_t budget;
	/** The arena's file, open for reading and writing on a tmpfs, or -1
	 * for a memfd of the store's own. Taken over (closed by the store)
	 * on success. An arena found in it is reopened. */
	int arena_fd;
	/** Largest budget that may ever be set, bytes: fixes the arena's
	 * address space (sparse). 0: the machine's RAM, or budget if more.
	 * At most 1 TiB. A reopened arena keeps its own. */
	uint64_t capacity;
	/** Codec of pools that name none; TMEM_CODEC_NONE means LZ4. */
	enum tmem_codec codec;
	/** Most bytes of young pages: as they came, not yet deduplicated and
	 * compressed. TMEM_NURSERY_AUTO: an eighth of the budget, or half of
	 * what older pages leave of it, whichever is more; 0: none, every
	 * put does all of the work itself. */
	uint64_t nursery;
	/** Background threads, which settle young pages and tidy up; at most
	 * 64. TMEM_THREADS_AUTO: one a processor, at most 4; 0: none. Where the
	 * system refuses threads there are fewer. */
	unsigned threads;
	/** Never compress further (with zstd) what is seldom read. */
	bool no_cold;
	/** Tests only: bits of a content's hash that count, 1 to 64 (few
	 * make everything collide); 0 means all. */
	unsigned hash_bits;
};

/** Smallest budget: below it the store's own tables crowd out pages. */
#define TMEM_BUDGET_MIN (4u << 20)

/** Values of struct tmem_store_config that let the store choose. */
#define TMEM_NURSERY_AUTO UINT64_MAX
#define TMEM_THREADS_AUTO UINT_MAX

/** Fill in defaults: budget 256 MiB, memfd, LZ4, nursery and threads as the
 * store chooses. */
void tmem_store_config_init(struct tmem_store_config *config);

/**
 * Create a store, or reopen the one whose arena is in config->arena_fd: the
 * process that had it may have died at any instruction. Ephemeral pages are
 * dropped then; every persistent page that was acknowledged is there.
 * Returns 0; -EINVAL for bad values; -EBUSY when another process has the
 * arena open; -EBADMSG when the file is not an arena of this version (it is
 * left as it was), or its records are damaged; -ENOSPC, -ENOMEM. The threads,
 * with all signals blocked, are of this process: a program that forks opens the
 * store in the child.
 */
int tmem_store_open(const struct tmem_store_config *config,
		    struct tmem_store **out);

/** Close: quiet, and all clients freed. The arena file stays as it is, so
 * that it can be reopened. NULL is fine. Always returns NULL. */
struct tmem_store *tmem_store_close(struct tmem_store *store);

/** Random 64-bit number made when the arena was created; it tells one arena
 * from another (the overflow file's owner compares it). */
uint64_t tmem_store_generation(const struct tmem_store *store);

/** Whether open found an arena and reopened it. */
bool tmem_store_reopened(const struct tmem_store *store);

/**
 * Set the budget, bytes. Shrinking evicts and compacts until the store is
 * within it or nothing more can be freed. Returns 0; -EINVAL below
 * TMEM_BUDGET_MIN or above the capacity; -ENOMEM when persistent pages hold
 * more than that: the budget is set all the same and puts are refused until
 * enough is flushed.
 */
int tmem_store_set_budget(struct tmem_store *store, uint64_t budget);

/**
 * Keep bytes of the arena ready, and all of it in memory: for who serves the
 * swap of its own host. From then on no put waits for the kernel to find
 * memory, which may wait for that put: it takes what background threads have
 * made ready, and is refused where that is gone. With the process's memory
 * locked, nothing of the arena is swapped. Bytes that pages take up already
 * are of the reserve. Cannot be undone. Returns 0, or, with nothing changed,
 * -EINVAL for no bytes, or more than 7/8 of the budget; -EAGAIN without
 * background threads; -EOPNOTSUPP before Linux 5.14; -ENOMEM when the reserve
 * cannot be had.
 */
int tmem_store_set_reserve(struct tmem_store *store, uint64_t bytes);

/** Give bytes of ephemeral memory back to the kernel, now. *released is how much
 * less the store uses afterwards, 0 to about bytes: less than was given back
 * where others put meanwhile. Returns 0 or -EINVAL. */
int tmem_store_reclaim(struct tmem_store *store, uint64_t bytes,
		       uint64_t *released);

/** Bytes that could be given back now: memory that ephemeral pages use. */
uint64_t tmem_store_freeable(struct tmem_store *store);

/** Freeze (true) or thaw the whole store: frozen, every put is refused. */
void tmem_store_set_frozen(struct tmem_store *store, bool frozen);

/**
 * Move what sparse slabs hold together and free what falls empty. Returns
 * bytes given back.
 */
uint64_t tmem_store_compact(struct tmem_store *store);

/** Deduplicate and compress, now and in the calling thread, all pages that are
 * young when it is called. Returns 0; -ENOMEM when some stay young for lack of
 * room. */
int tmem_store_settle(struct tmem_store *store);

/* Clients as the administrator sees them ---------------------------------- */

enum tmem_client_setting {
	TMEM_SET_WEIGHT = 1u << 0, /**< 1 to 10000, default 100 */
	TMEM_SET_CAP = 1u << 1,	   /**< most bytes charged; 0: no cap */
	TMEM_SET_MAXMEM = 1u << 2, /**< most bytes held, as if uncompressed
				    * and unshared; 0: no limit */
	TMEM_SET_CODEC = 1u << 3,  /**< NONE: as each pool says */
	TMEM_SET_DEDUP = 1u << 4,  /**< AUTO: as each pool says */
	TMEM_SET_FROZEN = 1u << 5,
};

struct tmem_client_settings {
	uint32_t set; /**< which members count: enum tmem_client_setting */
	uint32_t weight;
	uint64_t cap;
	uint64_t maxmem;
	enum tmem_codec codec;
	enum tmem_dedup dedup;
	bool frozen;
};

/** What the store knows of a client or a pool, for listing. */
struct tmem_client_info {
	uint32_t id;
	uid_t uid;
	bool connected;
	char name[TMEM_NAME_MAX];
	char domain[TMEM_NAME_MAX]; /**< "" is the host's common one */
	struct tmem_client_settings settings; /**< .set is all ones */
};

struct tmem_pool_info {
	uint32_t id;
	uint32_t client_id; /**< 0: shared */
	uint32_t flags;
	char name[TMEM_NAME_MAX];
	struct tmem_uuid uuid;
	enum tmem_codec codec;
	enum tmem_dedup dedup;
	bool sampled;	/**< AUTO: equals of a sample of pages are looked for */
	uint32_t users; /**< clients that have it open */
};

/** Change a client's settings, by id. Returns 0, -ENOENT, -EINVAL. Lowering
 * cap or maxmem evicts the client's ephemeral pages down to it. */
int tmem_store_client_set(struct tmem_store *store, uint32_t client_id,
			  const struct tmem_client_settings *settings);

/**
 * List clients or pools into a new array (free() it). values, unless NULL,
 * gets a new array of *count * TMEM_CLIENT_STAT_COUNT (or _POOL_) counters.
 * Returns 0 or -ENOMEM.
 */
int tmem_store_clients(struct tmem_store *store, struct tmem_client_info **out,
		       uint64_t **values, size_t *count);
int tmem_store_pools(struct tmem_store *store, struct tmem_pool_info **out,
		     uint64_t **values, size_t *count);

/** Host counters, TMEM_HOST_STAT_COUNT of them (tmem/stats.h). */
void tmem_store_stats(struct tmem_store *store, uint64_t *values);

/** Flush all pages of a pool (it stays open), by id. 0 or -ENOENT. */
int tmem_store_flush_pool(struct tmem_store *store, uint32_t pool_id);

/** End a pool that nobody has open, by id. 0, -ENOENT, -EBUSY. */
int tmem_store_destroy_pool(struct tmem_store *store, uint32_t pool_id);

/** End a client that is not connected, and its pools. 0, -ENOENT, -EBUSY. */
int tmem_store_destroy_client(struct tmem_store *store, uint32_t client_id);

/** Allow or forbid a client (uid, name) to join the shared pool of uuid. Kept
 * in the arena; forbidding does not throw out one who has joined. Returns 0,
 * -EINVAL for a name or uuid that is none, -ENOSPC at the most authorisations,
 * -ENOENT when forbidding none. */
int tmem_store_shared_auth(struct tmem_store *store, uid_t uid,
			   const char *client_name,
			   const struct tmem_uuid *uuid, bool allow);

/* For tests and debugging -------------------------------------------------- */

/** Verify every invariant (libtmemcore/DESIGN.md). Quiet. Returns 0 when all
 * hold, -ENOMEM, else -EUCLEAN with each violation as a line on err (NULL:
 * silent). */
int tmem_store_check(struct tmem_store *store, FILE *err);

/** Write the store's structure as text: slabs, pools, objects and, with
 * pages, every handle. Never a page's bytes. Quiet. Returns 0 or -EIO. */
int tmem_store_dump(struct tmem_store *store, FILE *out, bool pages);

#ifdef __cplusplus
}
#endif
#endif
