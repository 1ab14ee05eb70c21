/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files' bytes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "caller.h"
#include "device.h"
#include "ops.h"

void fs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fs_file *file = fs_file_ref(fs_file_of(fi));
	struct fs_cache_read read;
	int rc = fs_cache_read(&fs->cache, file->node, file->fd, size,
			       (uint64_t)off, &read);

	if (rc)
		fs_reply(req, rc);
	else
		fuse_reply_buf(req, read.data, read.size);
	/* From here on, the kernel may release the file. */
	fs_cache_fill(&fs->cache, &read);
	fs_file_unref(fs, file);
}

/*
 * Where an append goes, only the lower file system knows. The kernel has taken
 * it for off; if it was wrong, since the file has grown underneath, its pages
 * are.
 */
static ssize_t append(struct fs *fs, const struct fs_file *file,
		      const struct iovec *iov, off_t off)
{
	struct stat st;
	ssize_t n;

	if (fstat(file->fd, &st))
		return -errno;
	n = pwritev2(file->fd, iov, 1, off, RWF_APPEND);
	if (n < 0)
		return -errno;
	if (st.st_size != off)
		fs_notify_drop(&fs->notify, file->node);
	return n;
}

void fs_op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
		 off_t off, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fs_file *file = fs_file_of(fi);
	struct iovec iov = {.iov_base = (void *)data, .iov_len = size};
	bool appends = (fi->flags & O_APPEND) && !fi->writepage;
	bool takes_set_id = fi->flags & FS_TAKES_SET_ID;
	ssize_t n = fs_cache_change_begin(&fs->cache, file->node);

	if (n < 0) {
		fs_reply(req, (int)n);
		return;
	}
	file->wrote = true;
	if (takes_set_id)
		fs_caller_keep_set_id(fs->as_caller, false);
	if (appends) {
		n = append(fs, file, &iov, off);
		fs_cache_change_end(&fs->cache, file->node, 0, UINT64_MAX);
	} else {
		n = pwritev(file->fd, &iov, 1, off);
		n = n < 0 ? -errno : n;
		fs_cache_change_end(&fs->cache, file->node, (uint64_t)off,
				    size);
	}
	if (takes_set_id)
		fs_caller_keep_set_id(fs->as_caller, true);
	if (n < 0)
		fs_reply(req, (int)n);
	else
		fuse_reply_write(req, (size_t)n);
}

/* Some file systems report failed writes only when a descriptor closes. */
void fs_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs_file *file = fs_file_of(fi);
	int fd;

	fs_locks_flush(&fs_of(req)->locks, file->node, fi->lock_owner);
	if (!file->wrote) {
		fs_reply(req, 0);
		return;
	}
	fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
	fs_reply(req, fd < 0 || close(fd) ? -errno : 0);
}

void fs_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
		 struct fuse_file_info *fi)
{
	int fd = fs_file_of(fi)->fd;

	fs_reply(req, (datasync ? fdatasync(fd) : fsync(fd)) ? -errno : 0);
}

void fs_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		     off_t size, struct fuse_file_info *fi)
{
	/* These move what follows. */
	const int shifting = FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;
	struct fs *fs = fs_of(req);
	struct fs_file *file = fs_file_of(fi);
	int rc = fs_cache_change_begin(&fs->cache, file->node);

	if (rc == 0) {
		rc = fallocate(file->fd, mode, off, size) ? -errno : 0;
		fs_cache_change_end(&fs->cache, file->node, (uint64_t)off,
				    mode & shifting ? UINT64_MAX
						    : (uint64_t)size);
	}
	fs_reply(req, rc);
}

void fs_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			   struct fuse_file_info *fi_in, fuse_ino_t ino_out,
			   off_t off_out, struct fuse_file_info *fi_out,
			   size_t size, int flags)
{
	struct fs *fs = fs_of(req);
	struct fs_file *in = fs_file_of(fi_in), *out = fs_file_of(fi_out);
	off_t start = off_out;
	ssize_t n = fs_cache_change_begin(&fs->cache, out->node);

	if (n == 0) {
		out->wrote = true;
		n = copy_file_range(in->fd, &off_in, out->fd, &off_out, size,
				    (unsigned)flags);
		n = n < 0 ? -errno : n;
		fs_cache_change_end(&fs->cache, out->node, (uint64_t)start,
				    size);
	}
	if (n < 0)
		fs_reply(req, (int)n);
	else
		fuse_reply_write(req, (size_t)n);
}

void fs_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		 struct fuse_file_info *fi)
{
	off_t found = lseek(fs_file_of(fi)->fd, off, whence);

	if (found < 0)
		fs_reply(req, -errno);
	else
		fuse_reply_lseek(req, found);
}
