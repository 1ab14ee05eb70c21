/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Telling the client's kernel to drop its pages of a file, from a thread of
 * its own: done inside a READ, it would wait for the page that this READ is to
 * fill, for ever.
 *
 * Threading: any thread queues; one thread works.
 */
#ifndef TMEMFS_NOTIFY_H
#define TMEMFS_NOTIFY_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>

struct fs_node;
struct fs_nodes;
struct fs_notice;

struct fs_notify {
	struct fuse_session *session;
	struct fs_nodes *nodes;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct fs_notice *first, **end;
	bool running, ending;
};

/** Start the thread. Returns 0 or -errno. */
int fs_notify_init(struct fs_notify *notify, struct fuse_session *session,
		   struct fs_nodes *nodes);

/** End the thread once its queue is done. Fine on one never started, or ended
 * already. Returns false when it has not ended after some seconds: it waits
 * for a page that a READ shall fill which nobody serves any more, and goes on
 * when the connection is aborted. */
bool fs_notify_end(struct fs_notify *notify, unsigned seconds);

/** Drop the kernel's pages of node soon. */
void fs_notify_drop(struct fs_notify *notify, struct fs_node *node);

#endif
