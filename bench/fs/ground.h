/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lower file system: an ext4 in a file without a name, by a loop device
 * that passes the page cache by. It is mounted in a mount namespace of this
 * process, and goes with it, however it ends. One thread.
 */
#ifndef BENCH_FS_GROUND_H
#define BENCH_FS_GROUND_H

#include <stdint.h>
#include "../pageset.h"

/** Files of pages: each page is one of the set, its last word its number. */
enum bench_file {
	BENCH_HIT,  /**< never changed: a cache may hold it */
	BENCH_MISS, /**< a new version for each turn */
	BENCH_FILES
};

struct bench_ground {
	const char *folder; /**< of all mount points */
	char lower[96];	    /**< where it is mounted */
	char archive[96];   /**< for tar */
	char counters[96];  /**< the loop device's, in sysfs */
	uint64_t size;	    /**< of each file, bytes */
	int fd;		    /**< of lower */
};

/** Make it, on the file system of dir, with the files and an archive of so
 * many small ones. Exits where that fails. */
void bench_ground_init(struct bench_ground *ground, const char *dir,
		       const char *folder, uint64_t size, unsigned long files,
		       const struct bench_pages *set);
void bench_ground_deinit(struct bench_ground *ground);

const char *bench_ground_name(enum bench_file file);

/** Write out what is dirty, forget what the page cache has of the file, and
 * with BENCH_MISS give it a new change time. */
void bench_ground_cold(const struct bench_ground *ground, enum bench_file file);

/** Bytes read from the loop device so far. */
uint64_t bench_ground_read_bytes(const struct bench_ground *ground);

#endif
