/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading directories. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops.h"

#define DIR_BUFFER 32768u

/** An open directory; fi->fh is its address. */
struct dir {
	struct fs_node *node;
	int fd;
	pthread_mutex_t lock; /* guards the rest: entries read, not yet given */
	off_t at;	      /* the position after the last entry given */
	size_t pos, end;
	char buffer[DIR_BUFFER] __attribute__((aligned(8)));
};

static struct dir *dir_of(const struct fuse_file_info *fi)
{
	return (struct dir *)(uintptr_t)fi->fh;
}

static void dir_free(struct dir *dir)
{
	if (dir->fd >= 0)
		close(dir->fd);
	pthread_mutex_destroy(&dir->lock);
	free(dir);
}

void fs_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fs_node *node = fs_node_of(fs, ino);
	struct dir *dir = malloc(sizeof(*dir));
	int fd, rc;

	if (!dir) {
		fs_reply(req, -ENOMEM);
		return;
	}
	dir->node = node;
	dir->at = 0;
	dir->pos = dir->end = 0;
	pthread_mutex_init(&dir->lock, NULL);
	rc = fd = fs_node_fd(&fs->nodes, node);
	if (fd >= 0) {
		rc = fs_lower_reopen(&fs->lower, fd, O_RDONLY | O_DIRECTORY);
		fs_node_put_fd(&fs->nodes, node);
	}
	dir->fd = rc;
	if (rc < 0) {
		dir_free(dir);
		fs_reply(req, rc);
		return;
	}
	fi->fh = (uintptr_t)dir;
	if (fuse_reply_open(req, fi) == -ENOENT)
		dir_free(dir);
}

/* The next entry after position off, which stays next until it is taken; NULL
 * at the end, or on failure, which sets *rc. */
static struct dirent64 *next_entry(struct dir *dir, off_t off, int *rc)
{
	ssize_t n;

	*rc = 0;
	if (off != dir->at) {
		if (lseek(dir->fd, off, SEEK_SET) < 0) {
			*rc = -errno;
			return NULL;
		}
		dir->at = off;
		dir->pos = dir->end = 0;
	}
	if (dir->pos == dir->end) {
		n = getdents64(dir->fd, dir->buffer, sizeof(dir->buffer));
		if (n <= 0) {
			*rc = n < 0 ? -errno : 0;
			return NULL;
		}
		dir->pos = 0;
		dir->end = (size_t)n;
	}
	return (struct dirent64 *)(dir->buffer + dir->pos);
}

static void take_entry(struct dir *dir, const struct dirent64 *entry)
{
	dir->pos += entry->d_reclen;
	dir->at = entry->d_off;
}

/* Only the inode number and type: no lookup. */
static struct stat bare_attr(struct fs *fs, const struct dir *dir,
			     const struct dirent64 *entry)
{
	return (struct stat){
		.st_ino = fs_lower_user_ino(&fs->lower, dir->node->id.dev,
					    entry->d_ino),
		.st_mode = DTTOIF(entry->d_type),
	};
}

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* Add an entry with attributes if it fits in room. Returns the bytes it took,
 * or more than room. */
static size_t add_plus(fuse_req_t req, const struct dir *dir, char *out,
		       size_t room, const struct dirent64 *entry)
{
	struct fs *fs = fs_of(req);
	const char *name = entry->d_name;
	struct fuse_entry_param param = {.ino = 0};
	size_t need = fuse_add_direntry_plus(req, NULL, 0, name, NULL, 0);

	if (need > room)
		return need;
	/* Without a lookup (the dots, and what vanishes meanwhile) an entry is
	 * only listed. */
	if (is_dots(name) || fs_lookup(fs, dir->node, name, &param))
		param = (struct fuse_entry_param){
			.attr = bare_attr(fs, dir, entry),
		};
	return fuse_add_direntry_plus(req, out, room, name, &param,
				      entry->d_off);
}

static size_t add_bare(fuse_req_t req, const struct dir *dir, char *out,
		       size_t room, const struct dirent64 *entry)
{
	struct stat st = bare_attr(fs_of(req), dir, entry);

	return fuse_add_direntry(req, out, room, entry->d_name, &st,
				 entry->d_off);
}

static void read_dir(fuse_req_t req, size_t size, off_t off,
		     struct fuse_file_info *fi, bool plus)
{
	struct dir *dir = dir_of(fi);
	struct dirent64 *entry;
	char *out = malloc(size);
	size_t used = 0, took;
	int rc;

	if (!out) {
		fs_reply(req, -ENOMEM);
		return;
	}
	pthread_mutex_lock(&dir->lock);
	while ((entry = next_entry(dir, off, &rc))) {
		took = (plus ? add_plus : add_bare)(req, dir, out + used,
						    size - used, entry);
		if (took > size - used)
			break;
		used += took;
		off = entry->d_off;
		take_entry(dir, entry);
	}
	pthread_mutex_unlock(&dir->lock);
	/* What was looked up must be told even if then something failed. */
	if (rc && used == 0)
		fs_reply(req, rc);
	else
		fuse_reply_buf(req, out, used);
	free(out);
}

void fs_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	read_dir(req, size, off, fi, false);
}

void fs_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	read_dir(req, size, off, fi, true);
}

void fs_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	dir_free(dir_of(fi));
	fs_reply(req, 0);
}

void fs_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
		    struct fuse_file_info *fi)
{
	int fd = dir_of(fi)->fd;

	fs_reply(req, (datasync ? fdatasync(fd) : fsync(fd)) ? -errno : 0);
}
