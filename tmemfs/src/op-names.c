/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names: finding, making and removing them. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "caller.h"
#include "ops.h"

void fs_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param entry;
	int rc = fs_lookup(fs, fs_node_of(fs, parent), name, &entry);

	if (rc == -ENOENT && fs->opt.negative_timeout > 0) {
		entry = (struct fuse_entry_param){
			.entry_timeout = fs->opt.negative_timeout,
		};
		fuse_reply_entry(req, &entry);
	} else if (rc) {
		fs_reply(req, rc);
	} else {
		fs_reply_entry(req, &entry);
	}
}

static void forget(struct fs *fs, fuse_ino_t ino, uint64_t count)
{
	/* The root lives as long as the mount. */
	if (ino != FUSE_ROOT_ID)
		fs_node_unref(&fs->nodes, fs_node_of(fs, ino), count);
}

void fs_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	forget(fs_of(req), ino, count);
	fuse_reply_none(req);
}

void fs_op_forget_multi(fuse_req_t req, size_t count,
			struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(fs_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void fs_op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node = fs_node_of(fs, ino);
	char target[PATH_MAX + 1];
	int fd = fs_node_fd(&fs->nodes, node);
	ssize_t n;

	if (fd < 0) {
		fs_reply(req, fd);
		return;
	}
	n = readlinkat(fd, "", target, sizeof(target));
	if (n < 0)
		n = -errno;
	fs_node_put_fd(&fs->nodes, node);
	if (n < 0) {
		fs_reply(req, (int)n);
	} else if ((size_t)n == sizeof(target)) {
		fs_reply(req, -ENAMETOOLONG);
	} else {
		target[n] = '\0';
		fuse_reply_readlink(req, target);
	}
}

/* Make an object other than an open file, and answer with it. */
static void make(fuse_req_t req, fuse_ino_t parent, struct fs_creation *what)
{
	struct fs *fs = fs_of(req);
	struct fs_node *dir = fs_node_of(fs, parent);
	struct fuse_entry_param entry;
	int rc;

	what->parent_fd = fs_node_fd(&fs->nodes, dir);
	if (what->parent_fd < 0) {
		fs_reply(req, what->parent_fd);
		return;
	}
	rc = fs_caller_create(req, fs->as_caller, what);
	if (rc == 0)
		rc = fs_lookup(fs, dir, what->name, &entry);
	fs_node_put_fd(&fs->nodes, dir);
	if (rc)
		fs_reply(req, rc);
	else
		fs_reply_entry(req, &entry);
}

void fs_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		 mode_t mode, dev_t rdev)
{
	make(req, parent,
	     &(struct fs_creation){.name = name, .mode = mode, .rdev = rdev});
}

void fs_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		 mode_t mode)
{
	make(req, parent,
	     &(struct fs_creation){.name = name,
				   .mode = S_IFDIR | (mode & 07777)});
}

void fs_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		   const char *name)
{
	make(req, parent,
	     &(struct fs_creation){
		     .name = name, .mode = S_IFLNK, .target = target});
}

/* AT_EMPTY_PATH takes a capability; /proc takes none. */
static int link_fd(int fd, int dir, const char *name)
{
	char path[FS_PATH_MAX];

	if (linkat(fd, "", dir, name, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != ENOENT && errno != EPERM)
		return -errno;
	return linkat(AT_FDCWD, fs_lower_path(fd, path), dir, name,
		      AT_SYMLINK_FOLLOW)
		       ? -errno
		       : 0;
}

void fs_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
		const char *name)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node = fs_node_of(fs, ino);
	struct fs_node *dir = fs_node_of(fs, parent);
	struct fuse_entry_param entry;
	int fd = fs_node_fd(&fs->nodes, node), dir_fd, rc;

	if (fd < 0) {
		fs_reply(req, fd);
		return;
	}
	rc = dir_fd = fs_node_fd(&fs->nodes, dir);
	if (dir_fd >= 0) {
		rc = link_fd(fd, dir_fd, name);
		if (rc == 0)
			rc = fs_lookup(fs, dir, name, &entry);
		fs_node_put_fd(&fs->nodes, dir);
	}
	fs_node_put_fd(&fs->nodes, node);
	if (rc)
		fs_reply(req, rc);
	else
		fs_reply_entry(req, &entry);
}

/*
 * A name that is about to go. If it is the last of an object that the kernel
 * knows, nothing can find that object again, and yet somebody may be in it or
 * hold it: so its node keeps the descriptor found here.
 */
struct removal {
	struct fs_found found;
	struct fs_node *node; /* with a reference, or NULL */
};

static void removal_begin(struct fs *fs, int dir, const char *name,
			  struct removal *removal)
{
	removal->node = NULL;
	if (fs_lower_find(&fs->lower, dir, name, &removal->found))
		return;
	if (S_ISDIR(removal->found.st.st_mode) ||
	    removal->found.st.st_nlink == 1)
		removal->node = fs_nodes_find(&fs->nodes, &removal->found);
	if (!removal->node)
		fs_lower_drop(&fs->lower, &removal->found);
}

static void removal_end(struct fs *fs, struct removal *removal, bool removed)
{
	if (!removal->node)
		return;
	if (removed) {
		atomic_store(&removal->node->removed, true);
		fs_node_pin(&fs->nodes, removal->node, &removal->found);
	}
	fs_lower_drop(&fs->lower, &removal->found);
	fs_node_unref(&fs->nodes, removal->node, 1);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name,
			int flags)
{
	struct fs *fs = fs_of(req);
	struct fs_node *dir = fs_node_of(fs, parent);
	int fd = fs_node_fd(&fs->nodes, dir), rc;
	struct removal removal;

	if (fd < 0) {
		fs_reply(req, fd);
		return;
	}
	removal_begin(fs, fd, name, &removal);
	rc = unlinkat(fd, name, flags) ? -errno : 0;
	removal_end(fs, &removal, rc == 0);
	fs_node_put_fd(&fs->nodes, dir);
	fs_reply(req, rc);
}

void fs_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, 0);
}

void fs_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, AT_REMOVEDIR);
}

void fs_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		  fuse_ino_t new_parent, const char *new_name,
		  unsigned int flags)
{
	struct fs *fs = fs_of(req);
	struct fs_node *dir = fs_node_of(fs, parent);
	struct fs_node *new_dir = fs_node_of(fs, new_parent);
	struct removal removal = {.node = NULL};
	int fd = fs_node_fd(&fs->nodes, dir), new_fd, rc;

	if (fd < 0) {
		fs_reply(req, fd);
		return;
	}
	rc = new_fd = fs_node_fd(&fs->nodes, new_dir);
	if (new_fd >= 0) {
		if (!(flags & (RENAME_EXCHANGE | RENAME_NOREPLACE)))
			removal_begin(fs, new_fd, new_name, &removal);
		rc = renameat2(fd, name, new_fd, new_name, flags) ? -errno : 0;
		removal_end(fs, &removal, rc == 0);
		fs_node_put_fd(&fs->nodes, new_dir);
	}
	fs_node_put_fd(&fs->nodes, dir);
	fs_reply(req, rc);
}
