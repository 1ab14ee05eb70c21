/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block devices over an export (attach.h). */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "attach.h"
#include "child.h"
#include "log.h"

/* Time for nbdfuse to mount, and for a mount to become free; milliseconds. */
#define MOUNT_TIME 10000
#define MOUNT_STEP 50

#define PAGE_BYTES 4096u

bool nbd_attach_is_nbd(const char *device)
{
	return !strncmp(device, "/dev/nbd", 8);
}

/** Whether the kernel has the nbd device, and whether it is connected. */
static bool is_connected(const char *device, bool *there)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/block/%.63s", device + 5);
	*there = !access(path, F_OK);
	snprintf(path, sizeof(path), "/sys/block/%.63s/pid", device + 5);
	return !access(path, F_OK);
}

/** The file that a loop device is over; false when it is over none. */
static bool loop_is_over(const char *device, const char *mount)
{
	char path[128], file[4096] = "", want[4096];
	FILE *backing;

	snprintf(path, sizeof(path), "/sys/block/%.63s/loop/backing_file",
		 device + 5);
	snprintf(want, sizeof(want), "%s/nbd\n", mount);
	backing = fopen(path, "re");
	if (!backing)
		return false;
	if (!fgets(file, sizeof(file), backing))
		*file = '\0';
	fclose(backing);
	return !strcmp(file, want);
}

bool nbd_attach_is_live(const struct nbd_attachment *at)
{
	bool there;

	if (!*at->device)
		return false;
	if (nbd_attach_is_nbd(at->device))
		return is_connected(at->device, &there);
	return loop_is_over(at->device, at->mount);
}

static bool is_mounted(const char *mount)
{
	struct statfs fs;

	return !statfs(mount, &fs) && fs.f_type == FUSE_SUPER_MAGIC;
}

/** The loop device over the mount that an attach which was killed had no time
 * to remember. */
static void find_loop(struct nbd_attachment *at)
{
	DIR *dir = opendir("/sys/block");
	char device[sizeof(at->device)];
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "loop", 4) != 0)
			continue;
		snprintf(device, sizeof(device), "/dev/%.32s", entry->d_name);
		if (loop_is_over(device, at->mount))
			strcpy(at->device, device);
	}
	if (dir)
		closedir(dir);
}

bool nbd_attach_find_rest(struct nbd_attachment *at)
{
	*at->device = '\0';
	find_loop(at);
	return *at->device || is_mounted(at->mount);
}

/* The kernel's nbd --------------------------------------------------------- */

static int connect_nbd(struct nbd_attachment *at, const char *device)
{
	/* No timeout: a server that is slow, or is started again, must not
	 * cost pages. */
	const char *const argv[] = {"nbd-client",  "-unix",  at->socket, device,
				    "-name",	   at->name, "-timeout", "0",
				    "-block-size", "4096",   "-swap",	 NULL};
	bool there;
	int r;

	r = nbd_child_run(argv);
	/* Interrupted, it may have come to its end all the same. */
	if (!r || is_connected(device, &there))
		snprintf(at->device, sizeof(at->device), "%s", device);
	return r;
}

int nbd_attach_nbd(struct nbd_attachment *at, const char *device)
{
	const char *const modprobe[] = {"modprobe", "-q", "nbd", NULL};
	char path[64];
	bool there;

	if (!is_connected("/dev/nbd0", &there) && !there &&
	    !access("/sbin/modprobe", X_OK))
		(void)nbd_child_run(modprobe);
	if (nbd_child_interrupted())
		return -EINTR;
	if (*device) {
		if (is_connected(device, &there)) {
			tmem_log(LOG_ERR,
				 "%s is in use: give another --device, or none",
				 device);
			return -EBUSY;
		}
		if (there)
			return connect_nbd(at, device);
		tmem_log(
			LOG_ERR,
			"the kernel has no %s: load its module (modprobe nbd), or leave --device out",
			device);
		return -ENODEV;
	}
	for (unsigned i = 0;; i++) {
		snprintf(path, sizeof(path), "/dev/nbd%u", i);
		if (!is_connected(path, &there) && there)
			return connect_nbd(at, path);
		if (!there)
			return -ENODEV;
	}
}

/* nbdfuse and a loop device ------------------------------------------------ */

/** A part of a URI: what means something in it goes by its number. */
static void encode(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text && n + 4 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (isalnum(c) || strchr("-._~/", c))
			out[n++] = (char)c;
		else
			n += (size_t)snprintf(out + n, size - n, "%%%02X", c);
	}
	out[n] = '\0';
}

/** Whoever serves swap is not to be killed for memory. */
static void spare_from_oom(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, "-1000", 5);
	close(fd);
}

static int start_nbdfuse(const struct nbd_attachment *at)
{
	char name[256], socket[512], uri[1024];
	const char *const argv[] = {"nbdfuse", at->mount, uri, NULL};
	int left = MOUNT_TIME;
	pid_t pid;

	encode(at->name, name, sizeof(name));
	encode(at->socket, socket, sizeof(socket));
	snprintf(uri, sizeof(uri), "nbd+unix:///%s?socket=%s", name, socket);
	if (mkdir(at->mount, 0700) && errno != EEXIST)
		return -errno;
	pid = nbd_child_start(argv);
	if (pid < 0)
		return pid;
	spare_from_oom(pid);
	while (!is_mounted(at->mount)) {
		if (nbd_child_interrupted() || left <= 0 ||
		    waitpid(pid, NULL, WNOHANG) == pid)
			break;
		poll(NULL, 0, MOUNT_STEP);
		left -= MOUNT_STEP;
	}
	if (is_mounted(at->mount))
		return 0;
	kill(pid, SIGTERM);
	if (nbd_child_interrupted())
		return -EINTR;
	tmem_log(LOG_ERR,
		 "nbdfuse did not mount %s: see what \"nbdfuse %s '%s'\" says",
		 at->mount, at->mount, uri);
	return -EIO;
}

/** The loop device of that number over a file, without the page cache. */
static int configure_loop(int control, int file, char *device, size_t size)
{
	struct loop_config config = {
		.fd = (unsigned)file,
		.block_size = PAGE_BYTES,
		.info.lo_flags = LO_FLAGS_DIRECT_IO,
	};
	int number, fd, r;

	do {
		number = ioctl(control, LOOP_CTL_GET_FREE);
		if (number < 0)
			return -errno;
		snprintf(device, size, "/dev/loop%d", number);
		fd = open(device, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		r = ioctl(fd, LOOP_CONFIGURE, &config) ? -errno : 0;
		close(fd);
	} while (r == -EBUSY);
	return r;
}

static int make_loop(struct nbd_attachment *at)
{
	char path[4096], device[sizeof(at->device)];
	int control, file, r;

	snprintf(path, sizeof(path), "%s/nbd", at->mount);
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return -errno;
	file = open(path, O_RDWR | O_CLOEXEC);
	r = file < 0 ? -errno
		     : configure_loop(control, file, device, sizeof(device));
	if (file >= 0)
		close(file);
	close(control);
	if (!r)
		strcpy(at->device, device);
	return r;
}

int nbd_attach_fuse(struct nbd_attachment *at)
{
	int r = start_nbdfuse(at);

	if (r < 0)
		return r;
	r = make_loop(at);
	if (r < 0)
		tmem_log(LOG_ERR, "making a loop device failed: %s",
			 strerror(-r));
	return r;
}

/* Undoing ------------------------------------------------------------------ */

static int free_loop(const char *device)
{
	int fd = open(device, O_RDWR | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = ioctl(fd, LOOP_CLR_FD) ? -errno : 0;
	close(fd);
	return r;
}

/** The loop device lets go of it a little later. */
static int unmount(const char *mount)
{
	int left = MOUNT_TIME;

	while (umount2(mount, 0)) {
		/* Not mounted, or not there: as it should be. */
		if (errno == EINVAL || errno == ENOENT)
			break;
		if (errno != EBUSY || left <= 0)
			return -errno;
		poll(NULL, 0, MOUNT_STEP);
		left -= MOUNT_STEP;
	}
	return rmdir(mount) && errno != ENOENT ? -errno : 0;
}

int nbd_attach_undo(struct nbd_attachment *at)
{
	const char *const argv[] = {"nbd-client", "-d", at->device, NULL};
	int fd, r = 0;

	if (nbd_attach_is_live(at)) {
		/* Neither looks whether somebody uses it. */
		fd = open(at->device, O_RDONLY | O_EXCL | O_CLOEXEC);
		if (fd < 0) {
			r = -errno;
			tmem_log(
				LOG_ERR,
				"%s is in use (%s): unmount it, or end what uses it",
				at->device, strerror(-r));
			return r;
		}
		close(fd);
		if (nbd_attach_is_nbd(at->device))
			return nbd_child_run(argv);
		r = free_loop(at->device);
	}
	if (!r)
		r = unmount(at->mount);
	if (r < 0)
		tmem_log(LOG_ERR, "taking down %s failed: %s",
			 *at->device ? at->device : at->mount, strerror(-r));
	return r;
}
