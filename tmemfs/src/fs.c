/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "caller.h"
#include "device.h"
#include "log.h"
#include "thread.h"

/* Descriptors of objects not in use that are kept open, at most; a quarter of
 * what the limit allows if that is less. */
#define MOST_IDLE 4096u

/* KiB that the kernel reads ahead on the mount. Its default, 128, makes every
 * sequential reader wait eight times as often. */
#define READ_AHEAD 1024u

/* Every open file takes a descriptor or two: as many as we may. Returns how
 * many of them may be idle. */
static size_t raise_descriptors(void)
{
	struct rlimit limit;
	rlim_t most;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	most = limit.rlim_max;
	if (limit.rlim_cur < most) {
		limit.rlim_cur = most;
		if (setrlimit(RLIMIT_NOFILE, &limit))
			getrlimit(RLIMIT_NOFILE, &limit);
	}
	most = limit.rlim_cur / 4;
	return most < MOST_IDLE ? most : MOST_IDLE;
}

/* The kernel sets the mount's readahead when it learns what we can take, so
 * this waits until the mount answers. Only root may raise it. */
static void raise_read_ahead(const struct fs *fs)
{
	char path[64];
	struct stat st;
	FILE *file;

	if (stat(fs->opt.mountpoint, &st))
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
		 major(st.st_dev), minor(st.st_dev));
	file = fopen(path, "we");
	if (file) {
		fprintf(file, "%u\n", READ_AHEAD);
		fclose(file);
	}
}

/* What is left to do once the mount answers. */
static void *get_ready(void *arg)
{
	struct fs *fs = arg;

	raise_read_ahead(fs);
	if (fs->ready)
		fs->ready(fs->ready_arg);
	return NULL;
}

/*
 * Fail whatever the kernel still waits for. Only root can do without the
 * control file system, where that is not mounted.
 */
static void abort_connection(const struct fs *fs)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort",
		 minor(fs->dev));
	file = fopen(path, "we");
	if (file) {
		fputs("1\n", file);
		fclose(file);
	} else {
		umount2(fs->opt.mountpoint, MNT_FORCE);
	}
}

/* Nothing is served any more: end what waits for the mount, and unmount. */
static void end_session(struct fs *fs)
{
	fs_locks_deinit(&fs->locks);
	while (!fs_notify_end(&fs->notify, 1))
		abort_connection(fs);
	fuse_session_unmount(fs->session);
}

static int start_session(struct fs *fs, struct fuse_args *args)
{
	fs->session = fuse_session_new(args, &fs_ops, sizeof(fs_ops), fs);
	if (!fs->session) {
		tmem_log(LOG_ERR, "tmemfs --help lists the options");
		return -EINVAL;
	}
	/* A broken lease says so by a signal; see lower-read.c. */
	signal(SIGIO, SIG_IGN);
	/* Who writes past our limit on files is told by an errno. */
	signal(SIGXFSZ, SIG_IGN);
	if (fuse_set_signal_handlers(fs->session))
		return -EINVAL;
	fs->has_handlers = true;
	return 0;
}

static int mount_session(struct fs *fs)
{
	int rc = fs_notify_init(&fs->notify, fs->session, &fs->nodes);

	if (rc == 0)
		rc = fs_locks_init(&fs->locks);
	if (rc)
		return rc;
	if (fuse_session_mount(fs->session, fs->opt.mountpoint)) {
		tmem_log(LOG_ERR, "cannot mount at %s", fs->opt.mountpoint);
		if (access("/dev/fuse", R_OK | W_OK))
			tmem_log(
				LOG_ERR,
				"cannot use /dev/fuse: %s: whoever mounts must be able to read and write it",
				strerror(errno));
		return -EIO;
	}
	fs->dev = fs_lower_mounted(&fs->lower, fs->opt.mountpoint);
	return fs_device_init(fs->session);
}

int fs_start(struct fs *fs, struct fs_options *opt, struct fuse_args *args)
{
	size_t idle = raise_descriptors();
	int rc;

	*fs = (struct fs){.opt = *opt, .as_caller = fs_caller_init()};
	*opt = (struct fs_options){.source = NULL};
	rc = fs_lower_init(&fs->lower, fs->opt.source, fs->opt.mountpoint);
	if (rc)
		goto err;
	fs->has_lower = true;
	if ((rc = fs_nodes_init(&fs->nodes, &fs->lower, idle)) ||
	    (rc = start_session(fs, args)) ||
	    (rc = fs_backing_init(&fs->backing, &fs->opt)) ||
	    (rc = fs_cache_init(&fs->cache, fs->opt.coherency, fs->backing.pool,
				&fs->lower, &fs->notify)))
		goto err;
	fs->has_cache = true;
	rc = mount_session(fs);
	if (rc == 0)
		return 0;
err:
	fs_stop(fs);
	return rc;
}

int fs_run(struct fs *fs, void (*ready)(void *arg), void *arg)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	pthread_t helper;
	int rc;

	if (!config)
		return -ENOMEM;
	fs->ready = ready;
	fs->ready_arg = arg;
	rc = fs_thread_start(&helper, get_ready, fs);
	if (rc) {
		fuse_loop_cfg_destroy(config);
		return rc;
	}
	fuse_loop_cfg_set_max_threads(config, fs->opt.max_threads);
	fuse_loop_cfg_set_idle_threads(config, fs->opt.max_threads);
	rc = fs->opt.single ? fuse_session_loop(fs->session)
			    : fuse_session_loop_mt(fs->session, config);
	fuse_loop_cfg_destroy(config);
	end_session(fs);
	pthread_join(helper, NULL);
	/* A signal's number: an end as asked for. */
	return rc > 0 ? 0 : rc;
}

void fs_stop(struct fs *fs)
{
	if (fs->session)
		end_session(fs);
	if (fs->has_handlers)
		fuse_remove_signal_handlers(fs->session);
	if (fs->session)
		fuse_session_destroy(fs->session);
	fs_nodes_deinit(&fs->nodes);
	if (fs->has_cache)
		fs_cache_deinit(&fs->cache);
	fs_backing_deinit(&fs->backing);
	if (fs->has_lower)
		fs_lower_deinit(&fs->lower);
	fs_options_deinit(&fs->opt);
}
