/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening, creating and closing files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "caller.h"
#include "device.h"
#include "ops.h"

/* Of open(2)'s flags, those that the lower descriptor is opened with. Not
 * O_DIRECT: the kernel sends what it likes, of any alignment. Not O_APPEND: it
 * comes with each write, and would misplace those of mappings. */
static int lower_flags(int flags)
{
	return flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_NOFOLLOW | O_DIRECT |
			 O_APPEND | O_TMPFILE);
}

/*
 * A name that the kernel still believes in may lead to a file that was removed
 * or replaced underneath. ESTALE makes it look the name up again. Who removed
 * it through the mount knows what it opens (by /proc, say).
 */
static bool is_stale(const struct fs_node *node, const struct stat *st)
{
	return st->st_nlink == 0 && !atomic_load(&node->removed);
}

/* In open mode the kernel believes its attributes for a while; if they are out
 * of date at an open, its opener must not be shown the old size. */
static void refresh_attrs(struct fs *fs, struct fs_node *node, fuse_ino_t ino,
			  const struct stat *st)
{
	if (fs->opt.coherency == FS_OPEN && fs->opt.attr_timeout > 0 &&
	    !fs_was_told(node, st))
		/* A negative offset leaves the pages alone, which could not
		 * be waited for here. */
		fuse_lowlevel_notify_inval_inode(fs->session, ino, -1, 0);
}

/* Make an open file of fd, which is taken over. Returns NULL and a negative
 * errno in *rc on failure. */
static struct fs_file *file_new(struct fs *fs, struct fs_node *node, int fd,
				struct fuse_file_info *fi,
				struct fs_cache_garbage *garbage, int *rc)
{
	struct fs_file *file = malloc(sizeof(*file));
	bool keep = false;

	*rc = file ? fs_cache_open(&fs->cache, node, fd, &keep, garbage)
		   : -ENOMEM;
	if (*rc) {
		free(file);
		close(fd);
		return NULL;
	}
	*file = (struct fs_file){.refs = 1, .node = node, .fd = fd};
	fs_node_ref(&fs->nodes, node);
	fi->fh = (uintptr_t)file;
	/* Strict, every read(2) is a READ: nothing else would do, since the
	 * kernel may use a page, or a size, that was true when it asked. */
	fi->direct_io = fs->opt.coherency == FS_STRICT;
	fi->keep_cache = keep && !fi->direct_io;
	return file;
}

struct fs_file *fs_file_ref(struct fs_file *file)
{
	atomic_fetch_add(&file->refs, 1);
	return file;
}

void fs_file_unref(struct fs *fs, struct fs_file *file)
{
	if (atomic_fetch_sub(&file->refs, 1) > 1)
		return;
	fs_cache_close(file->node);
	close(file->fd);
	fs_node_unref(&fs->nodes, file->node, 1);
	free(file);
}

static int reopen(struct fs *fs, struct fs_node *node, int flags)
{
	int fd = fs_node_fd(&fs->nodes, node), out;

	if (fd < 0)
		return fd;
	out = fs_lower_reopen(&fs->lower, fd, lower_flags(flags));
	fs_node_put_fd(&fs->nodes, node);
	return out;
}

/* Open a node's object again; truncating it is a change. */
static int open_node(struct fs *fs, struct fs_node *node, int flags)
{
	int fd;

	if (!(flags & O_TRUNC))
		return reopen(fs, node, flags);
	fd = fs_cache_change_begin(&fs->cache, node);
	if (fd)
		return fd;
	fd = reopen(fs, node, flags);
	fs_cache_change_end(&fs->cache, node, 0, UINT64_MAX);
	return fd;
}

void fs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node = fs_node_of(fs, ino);
	struct fs_cache_garbage garbage;
	struct fs_file *file;
	struct stat st;
	int fd = open_node(fs, node, fi->flags), rc = fd;

	if (fd < 0) {
		fs_reply(req, rc);
		return;
	}
	rc = fstat(fd, &st) ? -errno : is_stale(node, &st) ? -ESTALE : 0;
	if (rc) {
		close(fd);
		fs_reply(req, rc);
		return;
	}
	refresh_attrs(fs, node, ino, &st);
	file = file_new(fs, node, fd, fi, &garbage, &rc);
	if (!file) {
		fs_reply(req, rc);
		return;
	}
	if (fuse_reply_open(req, fi) == -ENOENT)
		fs_file_unref(fs, file);
	fs_cache_collect(&fs->cache, &garbage);
}

/* A descriptor on the new file and its entry. It is identified by the
 * descriptor: its name may be another's by now. */
static int create_new(fuse_req_t req, struct fs_creation *what,
		      struct fuse_entry_param *entry)
{
	struct fs *fs = fs_of(req);
	struct fs_found found;
	int fd, rc;

	if (what->name)
		what->flags |= O_EXCL;
	fd = fs_caller_create(req, fs->as_caller, what);
	if (fd < 0)
		return fd;
	rc = fs_lower_identify(&fs->lower, fd, &found);
	if (rc == 0)
		rc = fs_entry(fs, &found, entry);
	if (rc) {
		close(fd);
		return rc;
	}
	/* No name is no sign that it was removed. */
	if (!what->name)
		atomic_store(&fs_node_of(fs, entry->ino)->removed, true);
	return fd;
}

/* The name was there although the kernel did not know: as open(2) does it. */
static int open_existing(fuse_req_t req, struct fs_node *dir,
			 const struct fs_creation *what, int flags,
			 struct fuse_entry_param *entry)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node;
	int fd, rc = fs_lookup(fs, dir, what->name, entry);

	if (rc)
		return rc;
	node = fs_node_of(fs, entry->ino);
	fd = S_ISREG(node->type)   ? open_node(fs, node, flags)
	     : S_ISLNK(node->type) ? -ELOOP
				   : -EEXIST;
	if (fd < 0)
		fs_node_unref(&fs->nodes, node, 1);
	return fd;
}

void fs_op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		  mode_t mode, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fs_node *dir = fs_node_of(fs, parent);
	struct fuse_entry_param entry = {.ino = 0};
	struct fs_creation what = {
		.name = strcmp(name, FS_NO_NAME) ? name : NULL,
		.mode = S_IFREG | (mode & 07777),
		.flags = lower_flags(fi->flags),
		.open = true,
	};
	struct fs_cache_garbage garbage;
	struct fs_file *file;
	int fd, rc;

	what.parent_fd = fs_node_fd(&fs->nodes, dir);
	if (what.parent_fd < 0) {
		fs_reply(req, what.parent_fd);
		return;
	}
	fd = create_new(req, &what, &entry);
	if (fd == -EEXIST && what.name && !(fi->flags & O_EXCL))
		fd = open_existing(req, dir, &what, fi->flags, &entry);
	fs_node_put_fd(&fs->nodes, dir);
	if (fd < 0) {
		fs_reply(req, fd);
		return;
	}
	file = file_new(fs, fs_node_of(fs, entry.ino), fd, fi, &garbage, &rc);
	if (!file) {
		fs_node_unref(&fs->nodes, fs_node_of(fs, entry.ino), 1);
		fs_reply(req, rc);
		return;
	}
	if (fuse_reply_create(req, &entry, fi) == -ENOENT) {
		fs_file_unref(fs, file);
		fs_node_unref(&fs->nodes, fs_node_of(fs, entry.ino), 1);
	}
	fs_cache_collect(&fs->cache, &garbage);
}

void fs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);

	fs_locks_release(&fs->locks, fs_file_of(fi));
	fs_file_unref(fs, fs_file_of(fi));
	fs_reply(req, 0);
}
