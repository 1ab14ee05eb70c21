/* SPDX-License-Identifier: GPL-2.0-or-later */
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <sys/uio.h>
#include <unistd.h>

#include "device.h"

/* Bits of flags2, newer than the header. */
#define FLAGS2_DIRECT_IO_ALLOW_MMAP (1u << (36 - 32)) /* Linux 6.6 */

/* The INIT request whose answer shall agree to mappings; 0: none. There is one
 * mount a process. */
static _Atomic(uint64_t) init_unique;

static void note_init(const struct fuse_in_header *header,
		      const struct fuse_init_in *init, size_t size)
{
	if (size >= sizeof(*header) + sizeof(*init) &&
	    (init->flags & FUSE_INIT_EXT) &&
	    (init->flags2 & FLAGS2_DIRECT_IO_ALLOW_MMAP))
		init_unique = header->unique;
}

static void note_write(struct fuse_write_in *write, size_t size)
{
	if (size < sizeof(struct fuse_in_header) + sizeof(*write))
		return;
	write->flags &= ~(uint32_t)FS_TAKES_SET_ID;
	if (write->write_flags & FUSE_WRITE_KILL_SUIDGID)
		write->flags |= FS_TAKES_SET_ID;
}

static ssize_t device_read(int fd, void *buf, size_t size, void *userdata)
{
	struct fuse_in_header *header = buf;
	ssize_t n = read(fd, buf, size);

	if (n < (ssize_t)sizeof(*header))
		return n;
	if (header->opcode == FUSE_TMPFILE)
		header->opcode = FUSE_CREATE;
	else if (header->opcode == FUSE_INIT)
		note_init(header, (void *)(header + 1), (size_t)n);
	else if (header->opcode == FUSE_WRITE)
		note_write((void *)(header + 1), (size_t)n);
	return n;
}

static ssize_t device_writev(int fd, struct iovec *iov, int count,
			     void *userdata)
{
	const struct fuse_out_header *header = iov[0].iov_base;
	struct fuse_init_out *init;

	if (init_unique && header->unique == init_unique && count == 2 &&
	    iov[1].iov_len >= sizeof(*init)) {
		init = iov[1].iov_base;
		init->flags |= FUSE_INIT_EXT;
		init->flags2 |= FLAGS2_DIRECT_IO_ALLOW_MMAP;
		init_unique = 0;
	}
	return writev(fd, iov, count);
}

int fs_device_init(struct fuse_session *session)
{
	static const struct fuse_custom_io io = {
		.writev = device_writev,
		.read = device_read,
	};

	return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}
