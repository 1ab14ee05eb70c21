/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tmem/client.h>
#include <tmem/store.h>
#include <unistd.h>

#include "backing.h"
#include "log.h"
#include "memlimit.h"
#include "message.h"
#include "size.h"
#include "thread.h"

/* Mounts of one user at one place, at once: each needs another name. */
#define MOST_NAMES 16

/*
 * The client's name: as asked for, or after the mount point, with what names
 * cannot hold made '-', and its end kept when it is long.
 */
static void make_name(const struct fs_options *opt, unsigned attempt,
		      char name[static TMEM_NAME_MAX])
{
	const size_t most = TMEM_NAME_MAX - sizeof("tmemfs") - sizeof("-99");
	const char *from = opt->mountpoint;
	char *p = name;

	if (opt->name) {
		snprintf(name, TMEM_NAME_MAX, "%s", opt->name);
		return;
	}
	if (strlen(from) > most)
		from += strlen(from) - most;
	p += sprintf(p, "tmemfs");
	for (; *from; from++)
		*p++ = isgraph((unsigned char)*from) && *from != '/' ? *from
								     : '-';
	*p = '\0';
	if (attempt > 0)
		sprintf(p, "-%u", attempt + 1);
}

static int become_client(struct fs_backing *backing,
			 const struct fs_options *opt, const char *socket)
{
	char name[TMEM_NAME_MAX];
	struct tmem_client_config config = {.name = name, .uid = geteuid()};
	int rc = -EBUSY;

	for (unsigned i = 0; rc == -EBUSY && i < (opt->name ? 1 : MOST_NAMES);
	     i++) {
		make_name(opt, i, name);
		rc = backing->store
			     ? tmem_client_new_local(backing->store, &config,
						     &backing->client)
			     : tmem_client_attach(socket, &config,
						  &backing->client);
	}
	return rc;
}

/* Inclusive: FUSE does not tell when the client's kernel drops a page, so a
 * get that removed it would lose the page for good. */
static int open_pool(struct fs_backing *backing, const struct fs_options *opt)
{
	struct tmem_pool_config config = {
		.name = "files",
		.codec = opt->codec,
	};

	return tmem_pool_new(backing->client, &config, &backing->pool);
}

/* A quarter of what is available, within the memory cgroup's limit. */
static uint64_t budget_of(const struct fs_options *opt)
{
	uint64_t budget = opt->budget, room;

	if (!budget && tmem_memlimit_available("", &budget) == 0)
		budget /= 4;
	room = tmem_memlimit_room(tmem_memlimit_cgroup(""));
	if (budget > room)
		budget = room;
	return budget < TMEM_BUDGET_MIN ? TMEM_BUDGET_MIN : budget;
}

static int embed(struct fs_backing *backing, const struct fs_options *opt)
{
	struct tmem_store_config config;
	char text[TMEM_SIZE_TEXT];
	int rc;

	tmem_store_config_init(&config);
	config.budget = budget_of(opt);
	config.codec = opt->codec;
	config.nursery = opt->nursery;
	rc = tmem_store_open(&config, &backing->store);
	if (rc == 0)
		rc = become_client(backing, opt, NULL);
	if (rc == 0)
		rc = open_pool(backing, opt);
	if (rc)
		tmem_log(LOG_ERR, "cannot make a store of %s: %s",
			 tmem_size_format(config.budget, text), strerror(-rc));
	else
		tmem_log(LOG_INFO, "using a store of my own of %s",
			 tmem_size_format(config.budget, text));
	return rc;
}

/* Returns 1 when no tmemd is there for us. */
static int attach_at(struct fs_backing *backing, const struct fs_options *opt,
		     const char *socket)
{
	int rc = become_client(backing, opt, socket);

	if (rc == 0)
		rc = open_pool(backing, opt);
	if (rc == 0) {
		tmem_log(LOG_INFO, "attached to tmemd at %s", socket);
		return 0;
	}
	backing->client = tmem_client_free(backing->client);
	if (!opt->socket &&
	    (rc == -ENOENT || rc == -ECONNREFUSED || rc == -EACCES))
		return 1;
	tmem_log(LOG_ERR,
		 "cannot attach to tmemd at %s: %s (-o embedded does without)",
		 socket, strerror(-rc));
	return rc;
}

/* By an absolute path, which is used again when tmemd comes back: the process
 * is in another directory then. */
static int attach(struct fs_backing *backing, const struct fs_options *opt)
{
	char *socket;
	int rc = tmem_message_socket(opt->socket, &socket);

	if (rc) {
		tmem_log(LOG_ERR, "cannot tell tmemd's socket: %s",
			 strerror(-rc));
		return rc;
	}
	rc = attach_at(backing, opt, socket);
	free(socket);
	return rc;
}

static void wait_a_second_locked(struct fs_backing *backing)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec++;
	pthread_cond_timedwait(&backing->wake, &backing->lock, &until);
}

/* Attach again whenever tmemd has gone away and come back. */
static void *keep(void *arg)
{
	struct fs_backing *backing = arg;
	bool connected = true, now;

	pthread_mutex_lock(&backing->lock);
	while (!backing->ending) {
		wait_a_second_locked(backing);
		if (backing->ending)
			break;
		pthread_mutex_unlock(&backing->lock);
		now = tmem_client_connected(backing->client);
		if (connected && !now)
			tmem_log(
				LOG_WARNING,
				"tmemd has gone away: reading without a store");
		if (!now && tmem_client_reattach(backing->client) == 0) {
			tmem_log(LOG_NOTICE, "attached to tmemd again");
			now = true;
		}
		connected = now;
		pthread_mutex_lock(&backing->lock);
	}
	pthread_mutex_unlock(&backing->lock);
	return NULL;
}

static int start_keeper(struct fs_backing *backing)
{
	pthread_condattr_t attr;
	int rc;

	pthread_mutex_init(&backing->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&backing->wake, &attr);
	pthread_condattr_destroy(&attr);
	rc = fs_thread_start(&backing->keeper, keep, backing);
	backing->has_keeper = rc == 0;
	return rc;
}

int fs_backing_init(struct fs_backing *backing, const struct fs_options *opt)
{
	int rc = 1;

	*backing = (struct fs_backing){.store = NULL};
	if (!opt->embedded)
		rc = attach(backing, opt);
	if (rc == 0)
		rc = start_keeper(backing);
	else if (rc == 1)
		rc = embed(backing, opt);
	if (rc)
		fs_backing_deinit(backing);
	return rc;
}

void fs_backing_deinit(struct fs_backing *backing)
{
	if (backing->has_keeper) {
		pthread_mutex_lock(&backing->lock);
		backing->ending = true;
		pthread_cond_signal(&backing->wake);
		pthread_mutex_unlock(&backing->lock);
		pthread_join(backing->keeper, NULL);
		backing->has_keeper = false;
	}
	backing->pool = tmem_pool_free(backing->pool);
	backing->client = tmem_client_free(backing->client);
	backing->store = tmem_store_close(backing->store);
}
