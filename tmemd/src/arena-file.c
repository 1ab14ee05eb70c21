/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "arena-file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "log.h"
#include "error.h"

/* Whether path is where something is mounted. */
static bool arena_file_is_mount(const char *path)
{
	char parent[PATH_MAX];
	struct stat own, above;

	snprintf(parent, sizeof(parent), "%s/..", path);
	return stat(path, &own) == 0 && stat(parent, &above) == 0 &&
	       own.st_dev != above.st_dev;
}

/*
 * Mount the service's tmpfs. It stays when tmemd ends: that is what it is for.
 * It must not be swapped out, least of all to a device whose pages it holds;
 * tmemd locks what it maps, noswap (Linux 6.4) covers the time between two
 * tmemds.
 */
static int arena_file_mount(void)
{
	static const unsigned long flags = MS_NODEV | MS_NOEXEC | MS_NOSUID;

	if ((mkdir("/run/tmem", 0755) < 0 && errno != EEXIST) ||
	    (mkdir(TMEMD_ARENA_PATH, 0700) < 0 && errno != EEXIST))
		return -errno;
	if (arena_file_is_mount(TMEMD_ARENA_PATH))
		return 0;
	if (mount("tmem-arena", TMEMD_ARENA_PATH, "tmpfs", flags,
		  "mode=0700,size=100%,noswap") < 0 &&
	    mount("tmem-arena", TMEMD_ARENA_PATH, "tmpfs", flags,
		  "mode=0700,size=100%") < 0)
		return -errno;
	return 0;
}

/* Refuse what is no tmpfs, or could be somebody else's. */
static int arena_file_verify(int fd, const char *path, uint64_t *held,
			     char *error)
{
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return tmemd_error(error, -errno, "arena %s: %s", path,
				   strerror(errno));
	if (!S_ISREG(st.st_mode))
		return tmemd_error(
			error, -EINVAL,
			"arena %s is no regular file: give another path", path);
	if (fs.f_type != TMPFS_MAGIC)
		return tmemd_error(
			error, -EINVAL,
			"arena %s is not on a tmpfs: mount one there (mount -t tmpfs tmpfs DIRECTORY), or use arena = none",
			path);
	if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return tmemd_error(
			error, -EACCES,
			"arena %s could be read or written by other users: give another path, or chown it to this user and chmod it to 0600",
			path);
	*held = (uint64_t)st.st_blocks * 512;
	return 0;
}

static int arena_file_open_path(const char *setting, int *fd, uint64_t *held,
				char *error)
{
	char path[PATH_MAX];
	struct stat st;
	int file, r;

	r = snprintf(path, sizeof(path), "%s%s", setting,
		     stat(setting, &st) == 0 && S_ISDIR(st.st_mode) ? "/arena"
								    : "");
	if (r >= PATH_MAX)
		return tmemd_error(error, -ENAMETOOLONG,
				   "arena %.60s...: the path is too long",
				   setting);
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY,
		    0600);
	if (file < 0)
		return tmemd_error(
			error, -errno,
			"cannot open arena %s: %s: give the path of a directory on a tmpfs that this user may write to",
			path, strerror(errno));
	r = arena_file_verify(file, path, held, error);
	if (r < 0) {
		close(file);
		return r;
	}
	*fd = file;
	return 0;
}

int tmemd_arena_file_open(const char *setting, bool service, int *fd,
			  uint64_t *held, char *error)
{
	int r;

	if (strcmp(setting, "auto") == 0 && service) {
		r = arena_file_mount();
		if (r == 0)
			return arena_file_open_path(TMEMD_ARENA_PATH, fd, held,
						    error);
		tmem_log(
			LOG_WARNING,
			"cannot mount a tmpfs at %s: %s: persistent pages will end with this process",
			TMEMD_ARENA_PATH, strerror(-r));
	} else if (*setting == '/') {
		return arena_file_open_path(setting, fd, held, error);
	}
	*fd = -1;
	*held = 0;
	return 0;
}
