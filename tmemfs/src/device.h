/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between libfuse and /dev/fuse: what kernels can do and libfuse 3.14 does not
 * know of yet.
 *
 *  - O_TMPFILE: its request looks like a CREATE, and becomes one, of a name
 *    that no file can have.
 *  - Shared mappings of files that the kernel does not cache otherwise: agreed
 *    upon in INIT.
 *  - Direct writes that have to take set-id bits away: said by a flag of open,
 *    one that no WRITE comes with.
 *
 * Threading: any thread of the session's loop.
 */
#ifndef TMEMFS_DEVICE_H
#define TMEMFS_DEVICE_H

struct fuse_session;

/** The name that an O_TMPFILE comes with. */
#define FS_NO_NAME "/"

/** Among a WRITE's flags of open: the caller may not keep set-id bits. */
#define FS_TAKES_SET_ID O_EXCL

/** Stand between the session, which is mounted, and its device. Returns 0 or
 * -errno. */
int fs_device_init(struct fuse_session *session);

#endif
