/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making objects in the lower file system as the caller would: owned by its
 * fsuid and fsgid, under its umask or the directory's default ACL, and with
 * its groups where those matter. Only root can take on another's ids; mounts of
 * other users make everything as themselves.
 *
 * Threading: any thread; the ids are the thread's own for the time of a call.
 */
#ifndef TMEMFS_CALLER_H
#define TMEMFS_CALLER_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <stdbool.h>

/** What to make. */
struct fs_creation {
	int parent_fd;
	const char *name;   /**< NULL: none, an open regular file only */
	mode_t mode;	    /**< type and permissions, before the umask */
	dev_t rdev;	    /**< devices */
	const char *target; /**< symbolic links */
	int flags;	    /**< with S_IFREG and open: for open(2) */
	bool open;	    /**< a regular file: leave it open */
};

/**
 * Make it, as req's caller if as_caller. Returns a descriptor if it shall stay
 * open, else 0; or -errno.
 */
int fs_caller_create(fuse_req_t req, bool as_caller,
		     const struct fs_creation *what);

/** Whether this process can take on its callers' ids. Gives up the process's
 * own supplementary groups if so: before there are threads. */
bool fs_caller_init(void);

/**
 * Say whether what this thread writes keeps its set-id bits; it does at first.
 * as_caller is fs_caller_init()'s: without root's rights they never stay.
 */
void fs_caller_keep_set_id(bool as_caller, bool keep);

#endif
