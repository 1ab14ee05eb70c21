/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <tmem/types.h>

#include "lower-read.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* the same on every architecture; Linux 6.5 */
#endif
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#define BCACHEFS_MAGIC 0xca451a4e

void fs_reader_init(struct fs_reader *reader)
{
	*reader = (struct fs_reader){.fd = -1};
}

void fs_reader_deinit(struct fs_reader *reader)
{
	if (reader->fd >= 0)
		close(reader->fd);
	fs_reader_init(reader);
}

void fs_reader_open(struct fs_reader *reader, const struct fs_lower *lower,
		    int fd)
{
	if (reader->tried)
		return;
	reader->tried = true;
	reader->fd = fs_lower_reopen(lower, fd, O_RDONLY | O_DIRECT);
	reader->direct = reader->fd >= 0;
	if (reader->fd == -EINVAL)
		reader->fd = fs_lower_reopen(lower, fd, O_RDONLY);
	if (reader->fd < 0)
		reader->fd = -1;
}

/*
 * Elsewhere another host may write without this one knowing, so that a lease
 * proves nothing. Changing what lies under a mounted overlay is undefined.
 */
static bool local_only(int fd)
{
	struct statfs sfs;

	if (fstatfs(fd, &sfs))
		return false;
	switch ((unsigned long)sfs.f_type) {
	case EXT4_SUPER_MAGIC:
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case F2FS_SUPER_MAGIC:
	case BCACHEFS_MAGIC:
	case TMPFS_MAGIC:
	case OVERLAYFS_SUPER_MAGIC:
	case MSDOS_SUPER_MAGIC:
	case SQUASHFS_MAGIC:
	case ISOFS_SUPER_MAGIC:
	case EROFS_SUPER_MAGIC_V1:
		return true;
	default:
		return false;
	}
}

/*
 * A read lease is granted only while the file is open for writing nowhere, not
 * even by a mapping. It is given back at once: what is wanted is the answer.
 * Whoever opens the file for writing just now waits that long.
 */
bool fs_reader_alone(const struct fs_reader *reader)
{
	if (reader->fd < 0 || !local_only(reader->fd) ||
	    fcntl(reader->fd, F_SETLEASE, F_RDLCK))
		return false;
	fcntl(reader->fd, F_SETLEASE, F_UNLCK);
	return true;
}

/* Whether the host's page cache holds all of a range: then reading through it
 * costs no memory and no disk, whereas a direct read would first have to write
 * dirty pages out. */
static bool host_holds(int fd, uint64_t off, size_t size)
{
	struct {
		uint64_t off, len;
	} range = {off, size};
	struct {
		uint64_t cache, dirty, writeback, evicted, recently_evicted;
	} found;

	return syscall(SYS_cachestat, fd, &range, &found, 0) == 0 &&
	       found.cache >= size / TMEM_PAGE_SIZE;
}

static ssize_t read_all(int fd, void *buf, size_t size, uint64_t off)
{
	size_t done = 0;
	ssize_t n;

	while (done < size) {
		n = pread(fd, (char *)buf + done, size - done,
			  (off_t)(off + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
		/* A direct read that ends inside a page met the file's end. */
		if (n == 0 || done % TMEM_PAGE_SIZE)
			break;
	}
	return (ssize_t)done;
}

static ssize_t read_buffered(int fd, void *buf, size_t size, uint64_t off)
{
	size_t done = 0;
	ssize_t n;

	while (done < size) {
		n = read_all(fd, (char *)buf + done, size - done, off + done);
		if (n <= 0)
			return n < 0 ? n : (ssize_t)done;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t fs_reader_read(const struct fs_reader *reader, int fd, void *buf,
		       size_t size, uint64_t off, bool *direct)
{
	bool held = host_holds(fd, off, size);
	ssize_t n;

	*direct = false;
	if (!held && reader->direct) {
		n = read_all(reader->fd, buf, size, off);
		*direct = n >= 0;
		/* Blocks larger than a page: this file system refuses only
		 * now. */
		if (n != -EINVAL)
			return n;
	}
	n = read_buffered(fd, buf, size, off);
	if (!held && n > 0)
		posix_fadvise(fd, (off_t)off, n, POSIX_FADV_DONTNEED);
	return n;
}
