/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "cache.h"
#include "node.h"

#define FIRST_CHAINS 1024u

static size_t chain_of(const struct fs_nodes *nodes,
		       const struct fs_identity *id)
{
	uint64_t key[2] = {id->dev, id->ino};

	return XXH3_64bits(key, sizeof(key)) & (nodes->chain_count - 1);
}

static bool same(const struct fs_identity *a, const struct fs_identity *b)
{
	return a->dev == b->dev && a->ino == b->ino &&
	       a->handle_type == b->handle_type &&
	       a->handle_size == b->handle_size &&
	       !memcmp(a->handle, b->handle, a->handle_size);
}

/* Twice the chains when they grow long. Without memory they stay long. */
static void grow_locked(struct fs_nodes *nodes)
{
	size_t old_count = nodes->chain_count;
	struct fs_node **old = nodes->chains, *node, *next;

	nodes->chains = calloc(old_count * 2, sizeof(struct fs_node *));
	if (!nodes->chains) {
		nodes->chains = old;
		return;
	}
	nodes->chain_count = old_count * 2;
	for (size_t i = 0; i < old_count; i++)
		for (node = old[i]; node; node = next) {
			size_t chain = chain_of(nodes, &node->id);

			next = node->next;
			node->next = nodes->chains[chain];
			nodes->chains[chain] = node;
		}
	free(old);
}

static struct fs_node *find_locked(struct fs_nodes *nodes,
				   const struct fs_identity *id)
{
	struct fs_node *node = nodes->chains[chain_of(nodes, id)];

	while (node && !same(&node->id, id))
		node = node->next;
	return node;
}

/* Descriptors that are not in use -------------------------------------------*/

static void idle_remove_locked(struct fs_nodes *nodes, struct fs_node *node)
{
	*(node->newer ? &node->newer->older : &nodes->newest) = node->older;
	*(node->older ? &node->older->newer : &nodes->oldest) = node->newer;
	node->newer = node->older = NULL;
	nodes->idle_count--;
}

/* Returns a descriptor to close, or -1. */
static int idle_add_locked(struct fs_nodes *nodes, struct fs_node *node)
{
	int fd;

	node->older = nodes->newest;
	*(nodes->newest ? &nodes->newest->newer : &nodes->oldest) = node;
	nodes->newest = node;
	nodes->idle_count++;
	if (nodes->idle_count <= nodes->idle_max)
		return -1;
	node = nodes->oldest;
	idle_remove_locked(nodes, node);
	fd = node->fd;
	node->fd = -1;
	return fd;
}

/* Whether the descriptor may be closed and opened again by handle. */
static bool can_idle(const struct fs_node *node)
{
	return node->mount->by_handle && !node->pinned;
}

static void use_locked(struct fs_nodes *nodes, struct fs_node *node)
{
	if (node->users++ == 0 && can_idle(node))
		idle_remove_locked(nodes, node);
}

int fs_node_fd(struct fs_nodes *nodes, struct fs_node *node)
{
	int fd;

	pthread_mutex_lock(&nodes->lock);
	if (node->fd >= 0) {
		use_locked(nodes, node);
		fd = node->fd;
		pthread_mutex_unlock(&nodes->lock);
		return fd;
	}
	pthread_mutex_unlock(&nodes->lock);

	fd = fs_lower_open_handle(node->mount, &node->id);
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&nodes->lock);
	if (node->fd < 0) {
		node->fd = fd;
		node->users = 1;
		fd = -1;
	} else {
		use_locked(nodes, node);
	}
	pthread_mutex_unlock(&nodes->lock);
	if (fd >= 0)
		close(fd);
	return node->fd;
}

void fs_node_put_fd(struct fs_nodes *nodes, struct fs_node *node)
{
	int surplus = -1;

	pthread_mutex_lock(&nodes->lock);
	assert(node->users > 0);
	if (--node->users == 0 && can_idle(node))
		surplus = idle_add_locked(nodes, node);
	pthread_mutex_unlock(&nodes->lock);
	if (surplus >= 0)
		close(surplus);
}

void fs_node_pin(struct fs_nodes *nodes, struct fs_node *node,
		 struct fs_found *found)
{
	pthread_mutex_lock(&nodes->lock);
	if (can_idle(node)) {
		if (node->fd < 0) {
			node->fd = found->fd;
			found->fd = -1;
		} else if (node->users == 0) {
			idle_remove_locked(nodes, node);
		}
		node->pinned = true;
	}
	pthread_mutex_unlock(&nodes->lock);
}

/* Nodes --------------------------------------------------------------------*/

static struct fs_node *node_new(struct fs_nodes *nodes,
				const struct fs_found *found)
{
	size_t unused = FS_HANDLE_MAX - found->id.handle_size;
	struct fs_node *node = calloc(1, sizeof(*node) - unused);

	if (!node)
		return NULL;
	memcpy(&node->id, &found->id, sizeof(node->id) - unused);
	node->fd = found->fd;
	node->mount = found->mount;
	node->type = found->st.st_mode & S_IFMT;
	node->user_ino =
		fs_lower_user_ino(nodes->lower, found->id.dev, found->id.ino);
	node->refs = 1;
	node->told_size = -1;
	return node;
}

static void node_free(struct fs_nodes *nodes, struct fs_node *node)
{
	if (node->fd >= 0)
		close(node->fd);
	fs_cache_file_free(node->cache);
	fs_lower_unref_mount(nodes->lower, node->mount);
	free(node);
}

struct fs_node *fs_nodes_find(struct fs_nodes *nodes,
			      const struct fs_found *found)
{
	struct fs_node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find_locked(nodes, &found->id);
	if (node)
		node->refs++;
	pthread_mutex_unlock(&nodes->lock);
	return node;
}

struct fs_node *fs_nodes_take(struct fs_nodes *nodes, struct fs_found *found)
{
	struct fs_node *node = fs_nodes_find(nodes, found), *fresh, **chain;
	int surplus = -1;

	if (node) {
		fs_lower_drop(nodes->lower, found);
		return node;
	}
	fresh = node_new(nodes, found);
	if (!fresh) {
		fs_lower_drop(nodes->lower, found);
		return NULL;
	}
	pthread_mutex_lock(&nodes->lock);
	node = find_locked(nodes, &found->id);
	if (node) {
		node->refs++;
	} else {
		chain = &nodes->chains[chain_of(nodes, &fresh->id)];
		fresh->next = *chain;
		*chain = fresh;
		fresh->serial = ++nodes->serial;
		if (can_idle(fresh))
			surplus = idle_add_locked(nodes, fresh);
		if (++nodes->count > nodes->chain_count)
			grow_locked(nodes);
	}
	pthread_mutex_unlock(&nodes->lock);
	if (surplus >= 0)
		close(surplus);
	if (!node)
		return fresh;
	node_free(nodes, fresh);
	return node;
}

void fs_node_ref(struct fs_nodes *nodes, struct fs_node *node)
{
	pthread_mutex_lock(&nodes->lock);
	node->refs++;
	pthread_mutex_unlock(&nodes->lock);
}

static void forget_locked(struct fs_nodes *nodes, struct fs_node *node)
{
	struct fs_node **link = &nodes->chains[chain_of(nodes, &node->id)];

	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	nodes->count--;
	if (node->fd >= 0 && can_idle(node))
		idle_remove_locked(nodes, node);
}

void fs_node_unref(struct fs_nodes *nodes, struct fs_node *node, uint64_t count)
{
	bool last;

	pthread_mutex_lock(&nodes->lock);
	assert(node->refs >= count);
	node->refs -= count;
	last = node->refs == 0;
	if (last)
		forget_locked(nodes, node);
	pthread_mutex_unlock(&nodes->lock);
	if (last)
		node_free(nodes, node);
}

int fs_nodes_init(struct fs_nodes *nodes, struct fs_lower *lower,
		  size_t idle_max)
{
	struct fs_found found;
	int rc;

	*nodes = (struct fs_nodes){
		.lower = lower,
		.chain_count = FIRST_CHAINS,
		.idle_max = idle_max,
	};
	nodes->chains = calloc(nodes->chain_count, sizeof(struct fs_node *));
	if (!nodes->chains)
		return -ENOMEM;
	pthread_mutex_init(&nodes->lock, NULL);
	rc = fs_lower_identify(lower, lower->root_fd, &found);
	if (rc == 0) {
		nodes->root = fs_nodes_take(nodes, &found);
		rc = nodes->root ? 0 : -ENOMEM;
	}
	if (rc)
		fs_nodes_deinit(nodes);
	return rc;
}

void fs_nodes_deinit(struct fs_nodes *nodes)
{
	struct fs_node *node, *next;

	if (!nodes->chains)
		return;
	for (size_t i = 0; i < nodes->chain_count; i++)
		for (node = nodes->chains[i]; node; node = next) {
			next = node->next;
			node_free(nodes, node);
		}
	free(nodes->chains);
	nodes->chains = NULL;
	pthread_mutex_destroy(&nodes->lock);
}
