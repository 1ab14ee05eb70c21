/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * With default_permissions the kernel has already decided that the caller may
 * do this. So the supplementary groups, which cost a read of /proc, are taken
 * on only where they change the outcome: when the lower file system refuses
 * without them, and when set-group-id could be stripped for want of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "caller.h"

#define MOST_GROUPS 65536 /* NGROUPS_MAX */

bool fs_caller_init(void)
{
	return geteuid() == 0 && setgroups(0, NULL) == 0;
}

static int make(const struct fs_creation *what)
{
	int rc;

	if (!what->name)
		rc = openat(what->parent_fd, ".",
			    what->flags | O_TMPFILE | O_CLOEXEC,
			    what->mode & 07777);
	else if (S_ISREG(what->mode) && what->open)
		rc = openat(what->parent_fd, what->name,
			    what->flags | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
			    what->mode & 07777);
	else if (S_ISDIR(what->mode))
		rc = mkdirat(what->parent_fd, what->name, what->mode & 07777);
	else if (S_ISLNK(what->mode))
		rc = symlinkat(what->target, what->parent_fd, what->name);
	else
		rc = mknodat(what->parent_fd, what->name, what->mode,
			     what->rdev);
	return rc < 0 ? -errno : rc;
}

/* This thread's groups only: glibc's setgroups() sets every thread's. */
static int set_groups(size_t count, const gid_t *groups)
{
	return syscall(SYS_setgroups, count, groups) ? -errno : 0;
}

/* The caller's groups become this thread's. */
static int take_groups(fuse_req_t req)
{
	gid_t few[64], *groups = few;
	int count, rc;

	count = fuse_req_getgroups(req, 64, few);
	if (count > 64 && count <= MOST_GROUPS) {
		groups = calloc((size_t)count, sizeof(*groups));
		if (!groups)
			return -ENOMEM;
		rc = fuse_req_getgroups(req, count, groups);
		count = rc < count ? rc : count;
	}
	rc = count < 0 ? count : set_groups((size_t)count, groups);
	if (groups != few)
		free(groups);
	return rc;
}

/*
 * The groups are changed with root's ids, before or after the others, for
 * the capability to do so goes with them.
 */
static int make_as(fuse_req_t req, const struct fs_creation *what,
		   bool with_groups)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	int rc;

	/* A caller that is gone, or in a pid namespace we cannot see, has no
	 * groups to find; it is served without. */
	with_groups = with_groups && take_groups(req) == 0;
	setfsgid(ctx->gid);
	setfsuid(ctx->uid);
	rc = make(what);
	setfsuid(0);
	setfsgid(0);
	if (with_groups)
		set_groups(0, NULL);
	return rc;
}

/* A umask of this thread's own, or the process's would be changed. */
static void set_umask(mode_t mask)
{
	static __thread bool own;

	if (!own)
		own = unshare(CLONE_FS) == 0;
	umask(mask);
}

int fs_caller_create(fuse_req_t req, bool as_caller,
		     const struct fs_creation *what)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	bool groups;
	int rc;

	set_umask(ctx->umask);
	if (!as_caller || (ctx->uid == 0 && ctx->gid == 0))
		return make(what);
	groups = what->mode & S_ISGID;
	rc = make_as(req, what, groups);
	if (rc == -EACCES && !groups)
		rc = make_as(req, what, true);
	return rc;
}

/* They stay for who has CAP_FSETID. The system calls are of this thread. */
void fs_caller_keep_set_id(bool as_caller, bool keep)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (!as_caller || syscall(SYS_capget, &header, data))
		return;
	data[0].effective &= ~(1u << CAP_FSETID);
	if (keep)
		data[0].effective |= data[0].permitted & (1u << CAP_FSETID);
	syscall(SYS_capset, &header, data);
}
