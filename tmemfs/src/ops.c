/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "ops.h"

/* One READ or WRITE: the most that kernels allow without a sysctl. */
#define MOST_BYTES (1u << 20)

/* Requests that the kernel sends ahead (readahead, direct I/O) before it
 * waits. */
#define MOST_BACKGROUND 64u

/* The kernel knows what it was told only once whoever asked has run, which may
 * take this long, ns. */
#define SLOWEST_ANSWER 10000000000ll

static int64_t ns(const struct timespec *t)
{
	return t->tv_sec * 1000000000ll + t->tv_nsec;
}

void fs_tell(struct fs_node *node, struct stat *st)
{
	int64_t mtime = ns(&st->st_mtim);
	int64_t old_mtime = atomic_exchange(&node->told_mtime, mtime);
	int64_t old_size = atomic_exchange(&node->told_size, st->st_size);

	if (old_size >= 0 && (old_size != st->st_size || old_mtime != mtime))
		atomic_store(&node->told_news,
			     fs_version_clock(CLOCK_MONOTONIC));
	st->st_ino = node->user_ino;
}

bool fs_was_told(struct fs_node *node, const struct stat *st)
{
	int64_t news;

	if (atomic_load(&node->told_mtime) != ns(&st->st_mtim) ||
	    atomic_load(&node->told_size) != st->st_size)
		return false;
	news = atomic_load(&node->told_news);
	return news == 0 ||
	       fs_version_clock(CLOCK_MONOTONIC) - news > SLOWEST_ANSWER;
}

int fs_entry(struct fs *fs, struct fs_found *found,
	     struct fuse_entry_param *entry)
{
	struct stat st = found->st;
	struct fs_node *node = fs_nodes_take(&fs->nodes, found);

	if (!node)
		return -ENOMEM;
	fs_tell(node, &st);
	*entry = (struct fuse_entry_param){
		.ino = node == fs->nodes.root ? FUSE_ROOT_ID
					      : (fuse_ino_t)(uintptr_t)node,
		.generation = node->serial,
		.attr = st,
		.attr_timeout = fs->opt.attr_timeout,
		.entry_timeout = fs->opt.entry_timeout,
	};
	return 0;
}

int fs_lookup(struct fs *fs, struct fs_node *parent, const char *name,
	      struct fuse_entry_param *entry)
{
	struct fs_found found;
	int dir = fs_node_fd(&fs->nodes, parent), rc;

	if (dir < 0)
		return dir;
	rc = fs_lower_find(&fs->lower, dir, name, &found);
	fs_node_put_fd(&fs->nodes, parent);
	return rc ? rc : fs_entry(fs, &found, entry);
}

void fs_reply_entry(fuse_req_t req, const struct fuse_entry_param *entry)
{
	struct fs *fs = fs_of(req);

	if (fuse_reply_entry(req, entry) == -ENOENT)
		fs_node_unref(&fs->nodes, fs_node_of(fs, entry->ino), 1);
}

int fs_stat(struct fs *fs, struct fs_node *node,
	    const struct fuse_file_info *fi, struct stat *st)
{
	int fd, rc;

	if (fi && S_ISREG(node->type))
		return fstat(fs_file_of(fi)->fd, st) ? -errno : 0;
	fd = fs_node_fd(&fs->nodes, node);
	if (fd < 0)
		return fd;
	rc = fstatat(fd, "", st, AT_EMPTY_PATH) ? -errno : 0;
	fs_node_put_fd(&fs->nodes, node);
	return rc;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;
	unsigned want = FUSE_CAP_DONT_MASK | FUSE_CAP_ASYNC_DIO;

	/* The kernel knows who wrote, and takes set-id bits away itself. */
	conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV;
	/* It truncates what it opens itself, after checking that this is no
	 * program that runs, and taking away set-id bits. */
	conn->want &= ~(unsigned)FUSE_CAP_ATOMIC_O_TRUNC;
	/* The kernel checks permissions, so it needs to know the ACLs. */
	if (fs->opt.default_permissions)
		want |= FUSE_CAP_POSIX_ACL;
	/* A link's target never changes; another link is another node. */
	if (fs->opt.coherency != FS_STRICT)
		want |= FUSE_CAP_CACHE_SYMLINKS;
	/* It has all changes from itself, and need not drop a file's pages
	 * when its own writes come back as another time of modification. A
	 * page dropped while it is being written would be read as it was. */
	if (fs->opt.coherency == FS_EXCLUSIVE) {
		conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
		want |= FUSE_CAP_EXPLICIT_INVAL_DATA;
	}
	conn->want |= want & conn->capable;
	conn->max_write = MOST_BYTES;
	/* As the mount option says; libfuse insists on both. */
	conn->max_read = fs->opt.max_read;
	conn->max_readahead = MOST_BYTES;
	conn->max_background = MOST_BACKGROUND;
	conn->congestion_threshold = MOST_BACKGROUND * 3 / 4;
	conn->time_gran = 1;
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = fs_op_lookup,
	.forget = fs_op_forget,
	.forget_multi = fs_op_forget_multi,
	.readlink = fs_op_readlink,
	.mknod = fs_op_mknod,
	.mkdir = fs_op_mkdir,
	.symlink = fs_op_symlink,
	.link = fs_op_link,
	.unlink = fs_op_unlink,
	.rmdir = fs_op_rmdir,
	.rename = fs_op_rename,
	.getattr = fs_op_getattr,
	.setattr = fs_op_setattr,
	.statfs = fs_op_statfs,
	.access = fs_op_access,
	.setxattr = fs_op_setxattr,
	.getxattr = fs_op_getxattr,
	.listxattr = fs_op_listxattr,
	.removexattr = fs_op_removexattr,
	.open = fs_op_open,
	.create = fs_op_create,
	.release = fs_op_release,
	.read = fs_op_read,
	.write = fs_op_write,
	.flush = fs_op_flush,
	.fsync = fs_op_fsync,
	.fallocate = fs_op_fallocate,
	.copy_file_range = fs_op_copy_file_range,
	.lseek = fs_op_lseek,
	.getlk = fs_op_getlk,
	.setlk = fs_op_setlk,
	.flock = fs_op_flock,
	.opendir = fs_op_opendir,
	.readdir = fs_op_readdir,
	.readdirplus = fs_op_readdirplus,
	.releasedir = fs_op_releasedir,
	.fsyncdir = fs_op_fsyncdir,
};
