/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One mount of tmemfs: its parts, and how its programs start and end it.
 *
 * Threading: the parts lock themselves. What stands here directly is set
 * before the first request is served and constant after that.
 *
 * Lifetime: fs_start() to fs_stop().
 */
#ifndef TMEMFS_FS_H
#define TMEMFS_FS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "backing.h"
#include "cache.h"
#include "locks.h"
#include "lower.h"
#include "node.h"
#include "notify.h"
#include "options.h"

struct fs {
	struct fs_options opt;
	struct fs_lower lower;
	struct fs_nodes nodes;
	struct fs_backing backing;
	struct fs_cache cache;
	struct fs_notify notify;
	struct fs_locks locks;
	struct fuse_session *session;
	dev_t dev;	/* the mount's, or 0 */
	bool as_caller; /* create with the caller's ids: root only */
	void (*ready)(void *arg);
	void *ready_arg;
	/* How far the start came. */
	bool has_lower, has_cache, has_handlers;
};

/** The table of operations, for every transport. */
extern const struct fuse_lowlevel_ops fs_ops;

/**
 * Open the lower file system and the store, and mount. Takes opt over, also on
 * failure; args are what fs_options_parse() left for libfuse. Returns 0 or
 * -errno, with a message logged.
 */
int fs_start(struct fs *fs, struct fs_options *opt, struct fuse_args *args);

/** Serve until unmounted or told to end by a signal. ready (NULL: nobody) is
 * called, from another thread, when the mount answers. Returns 0 or -errno. */
int fs_run(struct fs *fs, void (*ready)(void *arg), void *arg);

/** Unmount if still mounted, and free everything. */
void fs_stop(struct fs *fs);

#endif
