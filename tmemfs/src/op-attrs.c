/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes, plain and extended. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "ops.h"

/* Answer with attributes, or with the failure to get them. */
static void reply_attr(fuse_req_t req, struct fs_node *node, struct stat *st,
		       int rc)
{
	if (rc) {
		fs_reply(req, rc);
		return;
	}
	fs_tell(node, st);
	fuse_reply_attr(req, st, fs_of(req)->opt.attr_timeout);
}

void fs_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node = fs_node_of(fs, ino);
	struct stat st;
	int rc = fs_stat(fs, node, fi, &st);

	reply_attr(req, node, &st, rc);
}

static struct timespec time_to_set(const struct timespec *given, int to_set,
				   int flag, int now)
{
	if (to_set & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	if (to_set & flag)
		return *given;
	return (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_size(struct fs *fs, struct fs_node *node, int fd, off_t size,
		    const struct fuse_file_info *fi)
{
	char path[FS_PATH_MAX];
	int rc = fs_cache_change_begin(&fs->cache, node);

	if (rc)
		return rc;
	rc = fi && ftruncate(fs_file_of(fi)->fd, size) ? -errno : 0;
	/* One open for reading only was opened with O_TRUNC. */
	if (!fi || rc == -EINVAL)
		rc = truncate(fs_lower_path(fd, path), size) ? -errno : 0;
	fs_cache_change_end(&fs->cache, node, (uint64_t)size, UINT64_MAX);
	return rc;
}

/* In the order in which a failure leaves least behind. */
static int set_attrs(struct fs *fs, struct fs_node *node, int fd,
		     const struct stat *attr, int to_set,
		     const struct fuse_file_info *fi)
{
	struct timespec times[2];
	char path[FS_PATH_MAX];
	int rc;

	if ((to_set & FUSE_SET_ATTR_MODE) &&
	    chmod(fs_lower_path(fd, path), attr->st_mode))
		return -errno;
	/* Told to set nothing, chown(2) still sets the time of change. */
	if ((!to_set || (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))) &&
	    fchownat(fd, "",
		     to_set & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1,
		     to_set & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1,
		     AT_EMPTY_PATH))
		return -errno;
	if (to_set & FUSE_SET_ATTR_SIZE) {
		rc = set_size(fs, node, fd, attr->st_size, fi);
		if (rc)
			return rc;
	}
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW |
		      FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
		times[0] =
			time_to_set(&attr->st_atim, to_set, FUSE_SET_ATTR_ATIME,
				    FUSE_SET_ATTR_ATIME_NOW);
		times[1] =
			time_to_set(&attr->st_mtim, to_set, FUSE_SET_ATTR_MTIME,
				    FUSE_SET_ATTR_MTIME_NOW);
		if (utimensat(fd, "", times, AT_EMPTY_PATH))
			return -errno;
	}
	return 0;
}

void fs_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		   int to_set, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node = fs_node_of(fs, ino);
	int fd = fs_node_fd(&fs->nodes, node), rc = fd;
	struct stat st;

	if (fd >= 0) {
		rc = set_attrs(fs, node, fd, attr, to_set, fi);
		if (rc == 0 && fstatat(fd, "", &st, AT_EMPTY_PATH))
			rc = -errno;
		fs_node_put_fd(&fs->nodes, node);
	}
	reply_attr(req, node, &st, rc);
}

void fs_op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node = fs_node_of(fs, ino);
	int fd = fs_node_fd(&fs->nodes, node), rc = fd;
	struct statvfs sv;

	if (fd >= 0) {
		rc = fstatvfs(fd, &sv) ? -errno : 0;
		fs_node_put_fd(&fs->nodes, node);
	}
	if (rc)
		fs_reply(req, rc);
	else
		fuse_reply_statfs(req, &sv);
}

/* Asked only when the kernel does not check permissions itself. */
void fs_op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node = fs_node_of(fs, ino);
	int fd = fs_node_fd(&fs->nodes, node), rc = fd;

	if (fd >= 0) {
		rc = faccessat(fd, "", mask, AT_EMPTY_PATH | AT_EACCESS)
			     ? -errno
			     : 0;
		fs_node_put_fd(&fs->nodes, node);
	}
	fs_reply(req, rc);
}

/* Extended attributes take a path, since O_PATH descriptors will not do. */

void fs_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		    const char *value, size_t size, int flags)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node = fs_node_of(fs, ino);
	int fd = fs_node_fd(&fs->nodes, node), rc = fd;
	char path[FS_PATH_MAX];

	if (fd >= 0) {
		rc = setxattr(fs_lower_path(fd, path), name, value, size, flags)
			     ? -errno
			     : 0;
		fs_node_put_fd(&fs->nodes, node);
	}
	fs_reply(req, rc);
}

/* One attribute's value, or with name NULL the list of names. */
static void reply_xattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			size_t size)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node = fs_node_of(fs, ino);
	int fd = fs_node_fd(&fs->nodes, node);
	char path[FS_PATH_MAX], *value = NULL;
	ssize_t n;

	if (fd < 0) {
		fs_reply(req, fd);
		return;
	}
	fs_lower_path(fd, path);
	if (size > XATTR_SIZE_MAX)
		size = XATTR_SIZE_MAX;
	if (size > 0)
		value = malloc(size);
	if (size > 0 && !value)
		n = -ENOMEM;
	else if ((n = name ? getxattr(path, name, value, size)
			   : listxattr(path, value, size)) < 0)
		n = -errno;
	fs_node_put_fd(&fs->nodes, node);
	if (n < 0)
		fs_reply(req, (int)n);
	else if (size > 0)
		fuse_reply_buf(req, value, (size_t)n);
	else
		fuse_reply_xattr(req, (size_t)n);
	free(value);
}

void fs_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		    size_t size)
{
	reply_xattr(req, ino, name, size);
}

void fs_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	reply_xattr(req, ino, NULL, size);
}

void fs_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node = fs_node_of(fs, ino);
	int fd = fs_node_fd(&fs->nodes, node), rc = fd;
	char path[FS_PATH_MAX];

	if (fd >= 0) {
		rc = removexattr(fs_lower_path(fd, path), name) ? -errno : 0;
		fs_node_put_fd(&fs->nodes, node);
	}
	fs_reply(req, rc);
}
