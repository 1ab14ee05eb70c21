/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files' pages in the store: reading through it, filling it, and never
 * reading from it what the lower file no longer is.
 *
 * An object's id in the store is a keyed hash of the file's identity and its
 * version, so a page of another version cannot be named. What is left to
 * prove is that a page belongs to the version that it is put under; see
 * cache.c.
 *
 * Threading: any thread. Lifetime: a file's state lives with its node; reads
 * and changes need the file open.
 */
#ifndef TMEMFS_CACHE_H
#define TMEMFS_CACHE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "options.h"
#include "version.h"

struct fs_cache_file;
struct fs_node;
struct tmem_pool;
struct fs_lower;
struct fs_notify;

struct fs_cache {
	enum fs_coherency coherency;
	int64_t tick; /**< ns: grain of the kernel's coarse clock */
	struct tmem_pool *pool;
	struct fs_lower *lower;
	struct fs_notify *notify;
	struct fs_version_key key;
	pthread_key_t buffers; /**< of threads */
};

/** Cache in pool (NULL: nothing is held, everything is read below). Returns 0
 * or -errno. */
int fs_cache_init(struct fs_cache *cache, enum fs_coherency coherency,
		  struct tmem_pool *pool, struct fs_lower *lower,
		  struct fs_notify *notify);
void fs_cache_deinit(struct fs_cache *cache);

/** Free a node's state; NULL is fine. */
void fs_cache_file_free(struct fs_cache_file *file);

/** Pages in the store that nobody can ask for any more: of an old version. */
struct fs_cache_garbage {
	bool any;
	struct tmem_oid oid;
};

/** Flush them, with nobody waiting: a store that does not answer takes its
 * time. */
void fs_cache_collect(struct fs_cache *cache,
		      const struct fs_cache_garbage *garbage);

/**
 * A file was opened as fd (and is about to be known to its opener). Keeps
 * count; pair with fs_cache_close(). *keep says whether the kernel's pages of
 * the file are still good. *garbage is to be collected after the answer.
 * Returns 0 or -errno.
 */
int fs_cache_open(struct fs_cache *cache, struct fs_node *node, int fd,
		  bool *keep, struct fs_cache_garbage *garbage);
void fs_cache_close(struct fs_node *node);

/** The kernel's pages are about to be dropped. */
void fs_cache_dropping(struct fs_node *node);

/** A read under way: the answer's bytes, and what to put afterwards. */
struct fs_cache_read {
	const void *data; /**< the bytes read, of this thread's buffer */
	size_t size;
	/* Private: */
	struct fs_node *node;
	int fd;
	uint64_t first; /* page */
	uint32_t count; /* pages */
	unsigned char *pages;
	uint8_t *state; /* of each page: enum in cache.c */
	struct fs_version version;
	struct tmem_oid oid;
	struct fs_cache_garbage garbage;
	uint64_t change;
	bool usable;	/* the store may be asked */
	bool proven;	/* and what is read below may be put */
	bool long_seen; /* likewise, if read directly */
	bool ready;	/* the file's reader is open */
};

/**
 * Read up to size bytes (at most 1 MiB) at off of the file open as fd. Returns
 * 0 or -errno. The data stay until the thread's next read.
 */
int fs_cache_read(struct fs_cache *cache, struct fs_node *node, int fd,
		  size_t size, uint64_t off, struct fs_cache_read *read);

/** Put what had to be read below, after the answer was sent (also that it
 * failed), and collect garbage. */
void fs_cache_fill(struct fs_cache *cache, struct fs_cache_read *read);

/** Around every change of a file's bytes or size through the mount. off and
 * size say what may have changed; size UINT64_MAX means to the end. begin
 * returns 0 or -ENOMEM; then there is nothing to end. */
int fs_cache_change_begin(struct fs_cache *cache, struct fs_node *node);
void fs_cache_change_end(struct fs_cache *cache, struct fs_node *node,
			 uint64_t off, uint64_t size);

#endif
