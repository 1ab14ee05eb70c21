/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the command line, mount(8) and fstab ask for.
 *
 * Threading: parsed before there are threads, constant after that.
 */
#ifndef TMEMFS_OPTIONS_H
#define TMEMFS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <tmem/types.h>

struct fuse_args;

/** What is promised when files change other than through the mount, as
 * tmemfs(1) words it. */
enum fs_coherency {
	FS_STRICT,
	FS_OPEN,
	FS_EXCLUSIVE,
};

struct fs_options {
	char *source;	  /**< absolute, without links */
	char *mountpoint; /**< likewise */
	bool foreground;
	bool debug;
	bool single; /**< one thread */
	bool help;
	bool version;

	enum fs_coherency coherency;
	double entry_timeout; /**< seconds */
	double attr_timeout;
	double negative_timeout;

	char *socket; /**< tmemd's; NULL: the default one, if it answers */
	bool embedded;
	uint64_t budget;  /**< of an embedded store, bytes; 0: a share of RAM */
	uint64_t nursery; /**< of an embedded store, bytes, or as it chooses */
	enum tmem_codec codec;
	char *name; /**< the client's; NULL: from the mount point */

	bool allow_other;
	bool default_permissions;
	unsigned max_threads;
	unsigned max_read; /**< bytes a READ; 0: as many as the kernel likes */
};

/**
 * Parse. What libfuse itself shall handle stays in args. Returns 0, or
 * -EINVAL with a message on stderr that names the option and the remedy;
 * with help or version set the other members may be missing.
 */
int fs_options_parse(struct fs_options *opt, struct fuse_args *args);

/** Free what opt holds. */
void fs_options_deinit(struct fs_options *opt);

/** Print the usage and every option to stdout. */
void fs_options_help(const char *program);

#endif
