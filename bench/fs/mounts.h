/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mounts of the lower file system: tmemfs, its peers, and none (ext4 itself).
 * The servers take turns (../turns.h). One thread.
 */
#ifndef BENCH_FS_MOUNTS_H
#define BENCH_FS_MOUNTS_H

#include <stdbool.h>
#include "../turns.h"
#include "ground.h"

enum bench_mount_kind {
	BENCH_EXT4,
	BENCH_TMEMFS,	     /**< a store in the process; raw */
	BENCH_TMEMFS_LZ4,    /**< the same; every page compressed */
	BENCH_TMEMFS_HOSTED, /**< a store in tmemd; raw */
	BENCH_TMEMFS_FULL,   /**< compressed, a budget for half of a file */
	BENCH_TMEMFS_STRICT, /**< raw; passing the kernel's cache by */
	BENCH_LL,	     /**< libfuse's example passthrough_ll */
	BENCH_FH,	     /**< passthrough_fh */
	BENCH_BINDFS,
	BENCH_MOUNTS
};

struct bench_mount {
	const char *name;
	enum bench_mount_kind kind;
	char place[96];
	pid_t pids[BENCH_TURNS_PROCESSES];
};

const char *bench_mount_name(enum bench_mount_kind kind);

/** Whether there is a program for it. */
bool bench_mount_there(enum bench_mount_kind kind);

/** Whether what it has read may come from its store. */
bool bench_mount_caches(enum bench_mount_kind kind);

/** Mount it, and stop it until its first turn. Exits where that fails. */
void bench_mount_start(struct bench_mount *mount, enum bench_mount_kind kind,
		       const struct bench_ground *ground);
void bench_mount_end(struct bench_mount *mount);

/** Mount those wanted, bits of enum bench_mount_kind, that are there. Returns
 * how many are in mounts then. */
size_t bench_mounts_start(struct bench_mount mounts[BENCH_MOUNTS],
			  unsigned wanted, const struct bench_ground *ground);

#endif
