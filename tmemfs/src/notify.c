/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "cache.h"
#include "node.h"
#include "notify.h"
#include "thread.h"

struct fs_notice {
	struct fs_notice *next;
	struct fs_node *node;
};

static void drop(struct fs_notify *notify, struct fs_node *node)
{
	/* Before, not after: a page that is read meanwhile counts. */
	fs_cache_dropping(node);
	/* Fails when the kernel has forgotten the file, or is gone. */
	fuse_lowlevel_notify_inval_inode(notify->session, (fuse_ino_t)node, 0,
					 0);
}

static void *work(void *arg)
{
	struct fs_notify *notify = arg;
	struct fs_notice *notice;

	pthread_mutex_lock(&notify->lock);
	for (;;) {
		while (!notify->first && !notify->ending)
			pthread_cond_wait(&notify->wake, &notify->lock);
		notice = notify->first;
		if (!notice)
			break;
		notify->first = notice->next;
		if (!notify->first)
			notify->end = &notify->first;
		pthread_mutex_unlock(&notify->lock);

		drop(notify, notice->node);
		fs_node_unref(notify->nodes, notice->node, 1);
		free(notice);
		pthread_mutex_lock(&notify->lock);
	}
	pthread_mutex_unlock(&notify->lock);
	return NULL;
}

int fs_notify_init(struct fs_notify *notify, struct fuse_session *session,
		   struct fs_nodes *nodes)
{
	int rc;

	*notify = (struct fs_notify){.session = session, .nodes = nodes};
	notify->end = &notify->first;
	pthread_mutex_init(&notify->lock, NULL);
	pthread_cond_init(&notify->wake, NULL);
	rc = fs_thread_start(&notify->thread, work, notify);
	notify->running = rc == 0;
	return rc;
}

bool fs_notify_end(struct fs_notify *notify, unsigned seconds)
{
	struct timespec until;

	if (!notify->running)
		return true;
	pthread_mutex_lock(&notify->lock);
	notify->ending = true;
	pthread_cond_signal(&notify->wake);
	pthread_mutex_unlock(&notify->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	if (pthread_timedjoin_np(notify->thread, NULL, &until))
		return false;
	pthread_mutex_destroy(&notify->lock);
	pthread_cond_destroy(&notify->wake);
	notify->running = false;
	return true;
}

void fs_notify_drop(struct fs_notify *notify, struct fs_node *node)
{
	struct fs_notice *notice = calloc(1, sizeof(*notice));

	/* Without memory the pages stay until the next open. */
	if (!notice)
		return;
	notice->node = node;
	fs_node_ref(notify->nodes, node);
	pthread_mutex_lock(&notify->lock);
	*notify->end = notice;
	notify->end = &notice->next;
	pthread_cond_signal(&notify->wake);
	pthread_mutex_unlock(&notify->lock);
}
