/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files with operations (op-*.c) share. Each operation answers its
 * request exactly once.
 */
#ifndef TMEMFS_OPS_H
#define TMEMFS_OPS_H

#include "fs.h"

/** An open file; fi->fh is its address. It outlives its release while somebody
 * still has a reference. */
struct fs_file {
	_Atomic(unsigned) refs;
	struct fs_node *node; /* with a reference */
	int fd;		      /* lower, never O_DIRECT or O_APPEND */
	bool wrote;
};

static inline struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/** The node that the kernel means. */
static inline struct fs_node *fs_node_of(struct fs *fs, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? fs->nodes.root
				   : (struct fs_node *)(uintptr_t)ino;
}

static inline struct fs_file *fs_file_of(const struct fuse_file_info *fi)
{
	return (struct fs_file *)(uintptr_t)fi->fh;
}

/** Answer with 0 or a negative errno. */
static inline void fs_reply(fuse_req_t req, int rc)
{
	fuse_reply_err(req, -rc);
}

/** Make attributes ready for the kernel, and remember what it was told. */
void fs_tell(struct fs_node *node, struct stat *st);

/** Whether the kernel was last told of this size and time of modification, and
 * must know them by now. */
bool fs_was_told(struct fs_node *node, const struct stat *st);

/** The node of what was found (taken over), as an answer; the kernel then has
 * one more lookup of it. Returns 0 or -ENOMEM. */
int fs_entry(struct fs *fs, struct fs_found *found,
	     struct fuse_entry_param *entry);

/** Look up a name. Returns 0 or -errno. */
int fs_lookup(struct fs *fs, struct fs_node *parent, const char *name,
	      struct fuse_entry_param *entry);

/** Reply with an entry that was made; its lookup is taken back when the
 * request was interrupted. */
void fs_reply_entry(fuse_req_t req, const struct fuse_entry_param *entry);

/** Attributes by node, through fi's descriptor if there is one. Returns 0 or
 * -errno. */
int fs_stat(struct fs *fs, struct fs_node *node,
	    const struct fuse_file_info *fi, struct stat *st);

/* op-names.c */
void fs_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void fs_op_forget_multi(fuse_req_t req, size_t count,
			struct fuse_forget_data *forgets);
void fs_op_readlink(fuse_req_t req, fuse_ino_t ino);
void fs_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		 mode_t mode, dev_t rdev);
void fs_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		 mode_t mode);
void fs_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		   const char *name);
void fs_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
		const char *name);
void fs_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		  fuse_ino_t new_parent, const char *new_name,
		  unsigned int flags);

/* op-attrs.c */
void fs_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		   int to_set, struct fuse_file_info *fi);
void fs_op_statfs(fuse_req_t req, fuse_ino_t ino);
void fs_op_access(fuse_req_t req, fuse_ino_t ino, int mask);
void fs_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		    const char *value, size_t size, int flags);
void fs_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		    size_t size);
void fs_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void fs_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* op-files.c */
struct fs_file *fs_file_ref(struct fs_file *file);
void fs_file_unref(struct fs *fs, struct fs_file *file);
void fs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		  mode_t mode, struct fuse_file_info *fi);
void fs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* op-data.c */
void fs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi);
void fs_op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
		 off_t off, struct fuse_file_info *fi);
void fs_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
		 struct fuse_file_info *fi);
void fs_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		     off_t size, struct fuse_file_info *fi);
void fs_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			   struct fuse_file_info *fi_in, fuse_ino_t ino_out,
			   off_t off_out, struct fuse_file_info *fi_out,
			   size_t size, int flags);
void fs_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		 struct fuse_file_info *fi);

/* op-locks.c */
void fs_op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		 struct flock *lock);
void fs_op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		 struct flock *lock, int sleep);
void fs_op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		 int op);

/* op-dirs.c */
void fs_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi);
void fs_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi);
void fs_op_releasedir(fuse_req_t req, fuse_ino_t ino,
		      struct fuse_file_info *fi);
void fs_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
		    struct fuse_file_info *fi);

#endif
