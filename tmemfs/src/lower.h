/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lower file system: finding its objects, telling them apart for ever, and
 * opening them again.
 *
 * An object is known by (device, inode number, file handle). The handle holds
 * the inode's generation, so an inode number that is used again is another
 * object. Where the file system has no handles, the birth time stands in.
 *
 * With CAP_DAC_READ_SEARCH, an object is opened again by its handle, and so a
 * million known objects need no descriptors. Without, each known object holds
 * an O_PATH descriptor.
 *
 * Threading: any thread. Lifetime: init to deinit; mounts live while referred
 * to.
 */
#ifndef TMEMFS_LOWER_H
#define TMEMFS_LOWER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/** Longest file handle the kernel makes (MAX_HANDLE_SZ). */
#define FS_HANDLE_MAX 128u

/** A mounted file system that objects were found on. */
struct fs_mount {
	struct fs_mount *next;
	int id;
	int fd;		/**< open for reading; -1 unless by_handle */
	bool by_handle; /**< objects can be opened by handle */
	unsigned refs;	/**< under fs_lower.lock */
};

/** How an object is told from all others, for ever. */
struct fs_identity {
	dev_t dev;
	ino_t ino;
	int handle_type;
	uint32_t handle_size;
	unsigned char handle[FS_HANDLE_MAX];
};

/** An object just found. */
struct fs_found {
	int fd; /**< O_PATH; whoever uses the object takes or closes it */
	struct stat st;
	struct fs_mount *mount; /**< referred to, likewise */
	struct fs_identity id;
};

struct fs_lower {
	int root_fd;
	int covered_fd; /**< the mount point as it was before mounting */
	int proc_fd;	/**< /proc/self/fd */
	int own_mount;	/**< mount id of the mount itself, or -1 */
	pthread_mutex_t lock;
	struct fs_mount *mounts;
	dev_t root_dev;
	dev_t *devs; /**< others seen, under lock */
	size_t dev_count;
};

/** Open source and, before it is covered, mountpoint. Returns 0 or -errno,
 * logged. */
int fs_lower_init(struct fs_lower *lower, const char *source,
		  const char *mountpoint);
void fs_lower_deinit(struct fs_lower *lower);

/** Learn, once mounted and before the first request is served, which mount is
 * tmemfs itself, so that it is not walked into: a mount point inside SOURCE
 * shows what it covers. Returns the mount's device number, or 0. */
dev_t fs_lower_mounted(struct fs_lower *lower, const char *mountpoint);

/** Find name in the directory parent_fd. Returns 0 or -errno. */
int fs_lower_find(struct fs_lower *lower, int parent_fd, const char *name,
		  struct fs_found *found);

/** Identify what fd (any kind, not taken over) refers to; found->fd becomes an
 * O_PATH descriptor of its own. Returns 0 or -errno. */
int fs_lower_identify(struct fs_lower *lower, int fd, struct fs_found *found);

/** Give up what a find returned. */
void fs_lower_drop(struct fs_lower *lower, struct fs_found *found);

/** Open an object again by its identity with O_PATH. The mount must be
 * by_handle. Returns a descriptor or -errno. */
int fs_lower_open_handle(const struct fs_mount *mount,
			 const struct fs_identity *id);

/** Open again, with flags, what fd refers to. Returns a descriptor or
 * -errno. */
int fs_lower_reopen(const struct fs_lower *lower, int fd, int flags);

/** End a reference to a mount. */
void fs_lower_unref_mount(struct fs_lower *lower, struct fs_mount *mount);

/** The inode number that users see: unique in the mount although it may span
 * several devices. */
ino_t fs_lower_user_ino(struct fs_lower *lower, dev_t dev, ino_t ino);

/** Room for a path made by fs_lower_path(). */
#define FS_PATH_MAX 32u

/** A path that names what fd refers to, for calls that take no descriptor.
 * Returns path. */
char *fs_lower_path(int fd, char path[static FS_PATH_MAX]);

#endif
