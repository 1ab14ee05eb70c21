/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "log.h"
#include "lower.h"

/* Stands for "the birth time, since there is no handle". The kernel's own
 * types are below 256. */
#define HANDLE_BIRTH_TIME 0x10000

static_assert(FS_HANDLE_MAX >= MAX_HANDLE_SZ, "handles fit");

union handle_room {
	struct file_handle handle;
	unsigned char room[sizeof(struct file_handle) + FS_HANDLE_MAX];
};

char *fs_lower_path(int fd, char path[static FS_PATH_MAX])
{
	snprintf(path, FS_PATH_MAX, "/proc/self/fd/%d", fd);
	return path;
}

int fs_lower_reopen(const struct fs_lower *lower, int fd, int flags)
{
	char name[FS_PATH_MAX];
	int out;

	snprintf(name, sizeof(name), "%d", fd);
	out = openat(lower->proc_fd, name, flags | O_CLOEXEC);
	return out < 0 ? -errno : out;
}

int fs_lower_open_handle(const struct fs_mount *mount,
			 const struct fs_identity *id)
{
	union handle_room room = {
		.handle =
			{
				.handle_bytes = id->handle_size,
				.handle_type = id->handle_type,
			},
	};
	int fd;

	memcpy(room.handle.f_handle, id->handle, id->handle_size);
	fd = open_by_handle_at(mount->fd, &room.handle,
			       O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * Without file handles: the birth time tells apart objects that use one inode
 * number after each other (which cannot happen while we hold a descriptor).
 */
static int identify_by_birth(int fd, struct fs_identity *id, int *mount_id)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME | STATX_MNT_ID, &stx))
		return -errno;
	if (!(stx.stx_mask & STATX_BTIME))
		memset(&stx.stx_btime, 0, sizeof(stx.stx_btime));
	*mount_id = (int)stx.stx_mnt_id;
	id->handle_type = HANDLE_BIRTH_TIME;
	id->handle_size =
		sizeof(stx.stx_btime.tv_sec) + sizeof(stx.stx_btime.tv_nsec);
	memcpy(id->handle, &stx.stx_btime.tv_sec, sizeof(stx.stx_btime.tv_sec));
	memcpy(id->handle + sizeof(stx.stx_btime.tv_sec),
	       &stx.stx_btime.tv_nsec, sizeof(stx.stx_btime.tv_nsec));
	return 0;
}

static int identify(int fd, struct fs_identity *id, int *mount_id)
{
	union handle_room room = {
		.handle = {.handle_bytes = FS_HANDLE_MAX},
	};

	if (name_to_handle_at(fd, "", &room.handle, mount_id, AT_EMPTY_PATH)) {
		if (errno != EOPNOTSUPP && errno != EOVERFLOW &&
		    errno != ENOSYS && errno != EPERM)
			return -errno;
		return identify_by_birth(fd, id, mount_id);
	}
	id->handle_type = room.handle.handle_type;
	id->handle_size = room.handle.handle_bytes;
	memcpy(id->handle, room.handle.f_handle, id->handle_size);
	return 0;
}

/*
 * Opening by handle needs a descriptor on the mount that is open for reading.
 * The first object found on a mount is its root, nearly always a directory;
 * whether handles work there, and we may use them, is found by trying.
 */
static void try_handles(struct fs_lower *lower, struct fs_mount *mount,
			const struct fs_found *found)
{
	int fd;

	if (found->id.handle_type == HANDLE_BIRTH_TIME ||
	    !(S_ISDIR(found->st.st_mode) || S_ISREG(found->st.st_mode)))
		return;
	mount->fd = fs_lower_reopen(lower, found->fd, O_RDONLY);
	if (mount->fd < 0) {
		mount->fd = -1;
		return;
	}
	fd = fs_lower_open_handle(mount, &found->id);
	if (fd >= 0) {
		close(fd);
		mount->by_handle = true;
		return;
	}
	close(mount->fd);
	mount->fd = -1;
}

static struct fs_mount *find_mount(struct fs_lower *lower, int id)
{
	for (struct fs_mount *m = lower->mounts; m; m = m->next)
		if (m->id == id) {
			m->refs++;
			return m;
		}
	return NULL;
}

static int ref_mount(struct fs_lower *lower, int id, struct fs_found *found)
{
	struct fs_mount *mount, *other;

	pthread_mutex_lock(&lower->lock);
	mount = find_mount(lower, id);
	pthread_mutex_unlock(&lower->lock);
	if (mount) {
		found->mount = mount;
		return 0;
	}
	mount = calloc(1, sizeof(*mount));
	if (!mount)
		return -ENOMEM;
	mount->id = id;
	mount->fd = -1;
	mount->refs = 1;
	try_handles(lower, mount, found);

	pthread_mutex_lock(&lower->lock);
	other = find_mount(lower, id);
	if (!other) {
		mount->next = lower->mounts;
		lower->mounts = mount;
	}
	pthread_mutex_unlock(&lower->lock);
	if (other) {
		if (mount->fd >= 0)
			close(mount->fd);
		free(mount);
		mount = other;
	}
	found->mount = mount;
	return 0;
}

void fs_lower_unref_mount(struct fs_lower *lower, struct fs_mount *mount)
{
	struct fs_mount **link;

	pthread_mutex_lock(&lower->lock);
	if (--mount->refs > 0) {
		pthread_mutex_unlock(&lower->lock);
		return;
	}
	for (link = &lower->mounts; *link != mount; link = &(*link)->next)
		;
	*link = mount->next;
	pthread_mutex_unlock(&lower->lock);
	if (mount->fd >= 0)
		close(mount->fd);
	free(mount);
}

/* Complete a find whose fd is there. Closes it on failure. */
static int complete(struct fs_lower *lower, struct fs_found *found)
{
	int mount_id, rc;

	rc = identify(found->fd, &found->id, &mount_id);
	if (rc == 0 && mount_id == lower->own_mount) {
		/* Asking ourselves would wait for ourselves. */
		close(found->fd);
		found->fd = fcntl(lower->covered_fd, F_DUPFD_CLOEXEC, 0);
		if (found->fd < 0)
			return -errno;
		rc = identify(found->fd, &found->id, &mount_id);
	}
	if (rc == 0 && fstatat(found->fd, "", &found->st, AT_EMPTY_PATH))
		rc = -errno;
	if (rc == 0) {
		found->id.dev = found->st.st_dev;
		found->id.ino = found->st.st_ino;
		rc = ref_mount(lower, mount_id, found);
	}
	if (rc)
		close(found->fd);
	return rc;
}

int fs_lower_find(struct fs_lower *lower, int parent_fd, const char *name,
		  struct fs_found *found)
{
	/* No name that a client sends may lead out of the directory. */
	if (strchr(name, '/') || !strcmp(name, ".."))
		return -EINVAL;
	found->fd = openat(parent_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (found->fd < 0)
		return -errno;
	return complete(lower, found);
}

int fs_lower_identify(struct fs_lower *lower, int fd, struct fs_found *found)
{
	found->fd = fs_lower_reopen(lower, fd, O_PATH);
	if (found->fd < 0)
		return found->fd;
	return complete(lower, found);
}

void fs_lower_drop(struct fs_lower *lower, struct fs_found *found)
{
	close(found->fd);
	fs_lower_unref_mount(lower, found->mount);
}

/* Which number, from 1, a device other than the root's has here. Devices are
 * few (one a mount, or a subvolume) and never forgotten, so that numbers
 * stay. */
static size_t dev_index(struct fs_lower *lower, dev_t dev)
{
	dev_t *grown;
	size_t i;

	pthread_mutex_lock(&lower->lock);
	for (i = 0; i < lower->dev_count; i++)
		if (lower->devs[i] == dev)
			break;
	if (i == lower->dev_count) {
		grown = realloc(lower->devs, (i + 1) * sizeof(*grown));
		if (grown) {
			lower->devs = grown;
			lower->devs[i] = dev;
			lower->dev_count++;
		}
	}
	pthread_mutex_unlock(&lower->lock);
	return i + 1;
}

ino_t fs_lower_user_ino(struct fs_lower *lower, dev_t dev, ino_t ino)
{
	if (dev == lower->root_dev)
		return ino;
	return ino ^ ((ino_t)dev_index(lower, dev) << 48);
}

static int open_directory(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		fd = -errno;
		tmem_log(LOG_ERR, "cannot open %s: %s", path, strerror(-fd));
	}
	return fd;
}

int fs_lower_init(struct fs_lower *lower, const char *source,
		  const char *mountpoint)
{
	struct stat st;
	int rc;

	*lower = (struct fs_lower){
		.root_fd = -1,
		.covered_fd = -1,
		.proc_fd = -1,
		.own_mount = -1,
	};
	pthread_mutex_init(&lower->lock, NULL);
	if ((rc = lower->proc_fd = open_directory("/proc/self/fd", O_PATH)) <
		    0 ||
	    (rc = lower->root_fd = open_directory(source, O_PATH)) < 0 ||
	    (rc = lower->covered_fd = open_directory(mountpoint, O_PATH)) < 0)
		goto err;
	if (fstat(lower->root_fd, &st)) {
		rc = -errno;
		tmem_log(LOG_ERR, "cannot look at %s: %s", source,
			 strerror(-rc));
		goto err;
	}
	lower->root_dev = st.st_dev;
	return 0;
err:
	fs_lower_deinit(lower);
	return rc;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void fs_lower_deinit(struct fs_lower *lower)
{
	assert(!lower->mounts);
	close_fd(&lower->root_fd);
	close_fd(&lower->covered_fd);
	close_fd(&lower->proc_fd);
	free(lower->devs);
	lower->devs = NULL;
	pthread_mutex_destroy(&lower->lock);
}

dev_t fs_lower_mounted(struct fs_lower *lower, const char *mountpoint)
{
	struct statx stx;

	/* Without DONT_SYNC this would be a request to ourselves, and nobody
	 * serves those yet. */
	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC, STATX_MNT_ID, &stx))
		return 0;
	lower->own_mount = (int)stx.stx_mnt_id;
	return makedev(stx.stx_dev_major, stx.stx_dev_minor);
}
