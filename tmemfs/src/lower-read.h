/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading lower files past the host's page cache, so that the host does not
 * hold twice what the store holds.
 *
 * Threading: any thread. Lifetime: a reader's descriptor is its own and lives
 * from the first need to deinit.
 */
#ifndef TMEMFS_LOWER_READ_H
#define TMEMFS_LOWER_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lower.h"

/** A file's own descriptor for reading. */
struct fs_reader {
	int fd;	     /**< -1: not opened, or it cannot be */
	bool direct; /**< it reads past the page cache */
	bool tried;
};

void fs_reader_init(struct fs_reader *reader);
void fs_reader_deinit(struct fs_reader *reader);

/** Open the reader of what fd refers to, once. Not from two threads. */
void fs_reader_open(struct fs_reader *reader, const struct fs_lower *lower,
		    int fd);

/**
 * Whether nobody has the file open for writing, and it is on a file system of
 * this host alone: then no write is under way, and none can be without a new
 * change time.
 */
bool fs_reader_alone(const struct fs_reader *reader);

/**
 * Read size bytes (whole pages) at off (of a page) into page-aligned buf. fd
 * is another descriptor of the file, for reading through the page cache: where
 * that holds all of it already, or direct reads are refused. *direct says how
 * it was read. Returns the bytes read, fewer than size only at the file's end;
 * or -errno.
 */
ssize_t fs_reader_read(const struct fs_reader *reader, int fd, void *buf,
		       size_t size, uint64_t off, bool *direct);

#endif
