/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks of files, taken on the lower file system, so that they hold against
 * those who use it directly too.
 *
 * A record lock's owner is a process, or an open file (OFD locks); the kernel
 * tells which by a number. Each owner has a lower descriptor of its own for
 * each file, with OFD locks on it. flock() locks are on the open file's lower
 * descriptor. Who has to wait does so in a list that one thread tries again:
 * a thread each would let waiters use up all of them.
 *
 * Threading: any thread; one lock for all of a mount's locks.
 */
#ifndef TMEMFS_LOCKS_H
#define TMEMFS_LOCKS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>

struct fs_file;
struct fs_node;

struct fs_locks {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	struct fs_lock_waiter *waiters;
	bool running, ending;
};

/** Start the thread. Returns 0 or -errno. */
int fs_locks_init(struct fs_locks *locks);
/** End it; who still waits gets EINTR. Fine on one never started. */
void fs_locks_deinit(struct fs_locks *locks);

/** The owner closed a descriptor of the file: a process's record locks of it
 * end. */
void fs_locks_flush(struct fs_locks *locks, struct fs_node *node,
		    uint64_t owner);
/** The open file is closed: what was locked through it ends. */
void fs_locks_release(struct fs_locks *locks, const struct fs_file *file);

#endif
