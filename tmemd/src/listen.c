/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "error.h"
#include "message.h"

/* How long to wait for an ending tmemd's lock, and between two looks, ms. */
#define LOCK_WAIT 10000u
#define LOCK_STEP 20u

/* Make the socket's directory, one level, if it is missing. */
static void listen_directory(const char *path)
{
	char copy[PATH_MAX];
	char *directory;

	snprintf(copy, sizeof(copy), "%s", path);
	directory = dirname(copy);
	/* The socket's own mode says who may connect. Whether this worked
	 * shows when the lock is opened. */
	if (mkdir(directory, 0700) == 0 && geteuid() == 0)
		(void)!chmod(directory, 0755);
}

/* Whether somebody has the socket at path: one that is stopped, or speaks
 * something else, too. */
static bool listen_is_live(const char *path)
{
	int sock = tmem_message_connect(path, TMEM_MESSAGE_TIMEOUT);

	if (sock >= 0)
		close(sock);
	return sock != -ENOENT && sock != -ECONNREFUSED;
}

/* Wait for the lock as long as its holder does not listen: it is ending, or
 * has been killed and is not quite gone. */
static bool listen_wait_lock(int lock, const char *path)
{
	static const struct timespec step = {0, 1000000L * LOCK_STEP};

	for (unsigned waited = 0; waited < LOCK_WAIT; waited += LOCK_STEP) {
		if (flock(lock, LOCK_EX | LOCK_NB) == 0)
			return true;
		if (listen_is_live(path))
			return false;
		nanosleep(&step, NULL);
	}
	return false;
}

/* Take PATH.lock. The file stays behind when tmemd ends, since removing it
 * would let two others lock two files of that name. */
static int listen_lock(struct tmemd_listen *listener, const char *path,
		       char *error)
{
	char lock[PATH_MAX], pid[32] = "";
	ssize_t length;

	snprintf(lock, sizeof(lock), "%s.lock", path);
	listener->lock =
		open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (listener->lock < 0)
		return tmemd_error(
			error, -errno,
			"cannot open %s: %s: give a socket in a directory that exists and this user may write to",
			lock, strerror(errno));
	if (!listen_wait_lock(listener->lock, path)) {
		length = pread(listener->lock, pid, sizeof(pid) - 1, 0);
		pid[length > 0 ? strcspn(pid, "\n") : 0] = '\0';
		return tmemd_error(
			error, -EADDRINUSE,
			"another tmemd (process %s) listens on %s: stop it, or give this one another socket and arena",
			*pid != '\0' ? pid : "unknown", path);
	}
	if (ftruncate(listener->lock, 0) < 0 ||
	    dprintf(listener->lock, "%d\n", (int)getpid()) < 0)
		return tmemd_error(error, -EIO, "cannot write %s", lock);
	return 0;
}

/* Remove a socket on which nobody listens. */
static int listen_remove_stale(const char *path, char *error)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return tmemd_error(
			error, -EEXIST,
			"%s exists and is no socket: remove it, or give another socket",
			path);
	if (listen_is_live(path))
		return tmemd_error(
			error, -EADDRINUSE,
			"another program listens on %s: stop it, or give another socket",
			path);
	if (unlink(path) < 0)
		return tmemd_error(
			error, -errno,
			"cannot remove the stale socket %s: %s: remove it",
			path, strerror(errno));
	return 0;
}

static int listen_bind(struct tmemd_listen *listener, const char *path,
		       char *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		return tmemd_error(error, -ENAMETOOLONG,
				   "socket %s: the path is too long", path);
	strcpy(address.sun_path, path);
	listener->fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The umask lets nobody else in before the mode is set. */
	if (listener->fd < 0 ||
	    bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) <
		    0 ||
	    chmod(path, 0600) < 0)
		return tmemd_error(error, -errno, "cannot listen on %s: %s",
				   path, strerror(errno));
	listener->path = strdup(path);
	return listener->path != NULL ? 0 : -ENOMEM;
}

static int listen_open_to(const char *path, const char *group, char *error)
{
	const struct group *found = getgrnam(group);

	if (found == NULL)
		return tmemd_error(
			error, -ENOENT,
			"there is no group \"%s\": create it (groupadd --system %s), or give another",
			group, group);
	if (chown(path, (uid_t)-1, found->gr_gid) < 0 || chmod(path, 0660) < 0)
		return tmemd_error(
			error, -errno,
			"cannot give %s to group %s: %s: give a group that this user is in",
			path, group, strerror(errno));
	return 0;
}

int tmemd_listen_init(struct tmemd_listen *listener, const char *path,
		      const char *group, char *error)
{
	int r;

	listen_directory(path);
	r = listen_lock(listener, path, error);
	if (r == 0)
		r = listen_remove_stale(path, error);
	if (r == 0)
		r = listen_bind(listener, path, error);
	if (r == 0 && group != NULL)
		r = listen_open_to(path, group, error);
	if (r == 0 && listen(listener->fd, SOMAXCONN) < 0)
		r = tmemd_error(error, -errno, "cannot listen on %s: %s", path,
				strerror(errno));
	if (r < 0)
		tmemd_listen_deinit(listener);
	return r;
}

void tmemd_listen_hush(struct tmemd_listen *listener)
{
	if (listener->path != NULL)
		unlink(listener->path);
	if (listener->fd >= 0)
		close(listener->fd);
	free(listener->path);
	listener->path = NULL;
	listener->fd = -1;
}

void tmemd_listen_deinit(struct tmemd_listen *listener)
{
	tmemd_listen_hush(listener);
	if (listener->lock >= 0)
		close(listener->lock);
	listener->lock = -1;
}
