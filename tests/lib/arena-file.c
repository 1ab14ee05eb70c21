/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files for arenas under test; see arena-file.h. */
#include "arena-file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	abort();
}

int test_arena_memfd(void)
{
	int fd = memfd_create("test-arena", MFD_CLOEXEC);

	if (fd < 0)
		die("memfd_create");
	return fd;
}

int test_arena_on_tmpfs(uint64_t bytes)
{
	char size[32];
	int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int mount_fd = -1;
	int fd = -1;

	if (fs < 0)
		return -errno;
	snprintf(size, sizeof(size), "%" PRIu64, bytes);
	if (!fsconfig(fs, FSCONFIG_SET_STRING, "size", size, 0) &&
	    !fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		mount_fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (mount_fd >= 0)
		fd = openat(mount_fd, "arena", O_RDWR | O_CREAT | O_CLOEXEC,
			    0600);
	if (fd < 0)
		fd = -errno;
	if (mount_fd >= 0)
		close(mount_fd);
	close(fs);
	return fd;
}

int test_arena_again(int fd)
{
	char path[32];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	if (again < 0)
		die(path);
	return again;
}

static void copy_extent(int from, int to, off_t at, off_t end)
{
	static _Thread_local char buffer[65536];

	while (at < end) {
		size_t n = sizeof(buffer);

		if ((off_t)n > end - at)
			n = (size_t)(end - at);
		if (pread(from, buffer, n, at) != (ssize_t)n ||
		    pwrite(to, buffer, n, at) != (ssize_t)n)
			die("copy of an arena");
		at += (off_t)n;
	}
}

int test_arena_copy(int fd)
{
	int copy = test_arena_memfd();
	struct stat st;
	off_t at = 0;

	if (fstat(fd, &st) || ftruncate(copy, st.st_size))
		die("copy of an arena");
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(fd, at, SEEK_HOLE);

		if (end < 0)
			die("SEEK_HOLE");
		copy_extent(fd, copy, at, end);
		at = end;
	}
	if (errno != ENXIO)
		die("SEEK_DATA");
	return copy;
}
