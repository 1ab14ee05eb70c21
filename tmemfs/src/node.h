/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The objects that the client's kernel knows of: one node an object, whatever
 * its names. FUSE's node id is the node's address.
 *
 * A node whose object can be opened by handle keeps a descriptor only while in
 * use, or while there is room among the most recently used. Any other node
 * keeps its O_PATH descriptor.
 *
 * Threading: any thread; one lock. Lifetime: a node lives while referred to:
 * by each lookup that the kernel was told of, and by fs_node_ref().
 */
#ifndef TMEMFS_NODE_H
#define TMEMFS_NODE_H

#include <pthread.h>
#include <stdatomic.h>

#include "lower.h"

struct fs_cache_file;
struct fs_lock_owner;

struct fs_node {
	struct fs_node *next; /* in the hash's chain */
	/* Under fs_nodes.lock: */
	uint64_t refs;
	unsigned users; /* of fd, now */
	bool pinned;	/* fd stays: the object has no other name */
	int fd;		/* O_PATH, or -1 */
	struct fs_node *newer, *older; /* nodes with an unused fd */
	/* Constant: */
	struct fs_mount *mount;
	mode_t type; /* S_IFMT bits */
	ino_t user_ino;
	uint64_t serial; /* tells apart nodes at one address */
	/* What the kernel was last told, to notice that it is out of date. */
	_Atomic(int64_t) told_mtime; /* ns */
	_Atomic(int64_t) told_size;  /* -1: nothing yet */
	_Atomic(int64_t) told_news;  /* when these changed, CLOCK_MONOTONIC */
	/* Set once, when the file is first opened; else NULL. */
	_Atomic(struct fs_cache_file *) cache;
	/* Removed through the mount: opening it again is no error. */
	_Atomic(bool) removed;
	struct fs_lock_owner *lock_owners; /* under fs_locks.lock */
	struct fs_identity id;		   /* last: its handle is cut to size */
};

struct fs_nodes {
	struct fs_lower *lower;
	pthread_mutex_t lock;
	struct fs_node **chains;
	size_t chain_count; /* a power of two */
	size_t count;
	uint64_t serial;
	size_t idle_count, idle_max;
	struct fs_node *newest, *oldest; /* with an unused fd */
	struct fs_node *root;
};

/** Set up with the lower root as the root node, keeping at most idle_max
 * descriptors that are not in use. Returns 0 or -errno. */
int fs_nodes_init(struct fs_nodes *nodes, struct fs_lower *lower,
		  size_t idle_max);
/** Free all nodes; nobody may use one. */
void fs_nodes_deinit(struct fs_nodes *nodes);

/** The node of what was found, with one more reference. Takes found over in
 * any case. Returns NULL when memory is short. */
struct fs_node *fs_nodes_take(struct fs_nodes *nodes, struct fs_found *found);

/** The node of what was found if there is one already, with one more
 * reference; else NULL. found stays the caller's. */
struct fs_node *fs_nodes_find(struct fs_nodes *nodes,
			      const struct fs_found *found);

void fs_node_ref(struct fs_nodes *nodes, struct fs_node *node);
/** End count references. */
void fs_node_unref(struct fs_nodes *nodes, struct fs_node *node,
		   uint64_t count);

/** An O_PATH descriptor of the object until fs_node_put_fd(). Returns it, or
 * -errno; -ESTALE when the object is gone. */
int fs_node_fd(struct fs_nodes *nodes, struct fs_node *node);
void fs_node_put_fd(struct fs_nodes *nodes, struct fs_node *node);

/** Keep the object's descriptor from now on, since its last name goes: found
 * is its own, and its descriptor is taken over if it is needed. */
void fs_node_pin(struct fs_nodes *nodes, struct fs_node *node,
		 struct fs_found *found);

#endif
