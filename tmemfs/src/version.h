/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Versions of files, and what they are called in the store.
 *
 * Threading: pure functions.
 */
#ifndef TMEMFS_VERSION_H
#define TMEMFS_VERSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <tmem/types.h>

#include "lower.h"

/** Two equal versions of a file mean equal bytes, except within a tick of the
 * clock (fs_version_settled()). The change time is what cannot be set back. */
struct fs_version {
	int64_t ctime; /**< ns */
	int64_t mtime; /**< ns */
	uint64_t size;
};

/** Makes object ids that nobody outside can aim at: a collision would read one
 * file's pages as another's. XXH3 takes any secret of at least 136 bytes. */
struct fs_version_key {
	unsigned char secret[192];
};

/** Draw a random key. Returns 0 or -errno. */
int fs_version_key_init(struct fs_version_key *key);

void fs_version_of(const struct stat *st, struct fs_version *version);

static inline bool fs_version_equal(const struct fs_version *a,
				    const struct fs_version *b)
{
	return a->ctime == b->ctime && a->mtime == b->mtime &&
	       a->size == b->size;
}

/** The object id of a version of a file; version NULL: of the file, whatever
 * its version. */
void fs_version_oid(const struct fs_version_key *key,
		    const struct fs_identity *id,
		    const struct fs_version *version, struct tmem_oid *oid);

/**
 * Whether a change from now on must get another version: now_coarse (ns, of
 * CLOCK_REALTIME_COARSE, read before the version was) is past the change time
 * by more than the timestamps' grain.
 */
bool fs_version_settled(const struct fs_version *version, int64_t now_coarse,
			int64_t tick);

/** Nanoseconds of a clock. */
int64_t fs_version_clock(int clock);

#endif
