/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lower file system; see ground.h. */
#include "ground.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <tmem/types.h>
#include <unistd.h>
#include "../child.h"
#include "../clock.h"

#define ROOM_APART     (256ull << 20) /* for names, small files, the journal */
#define FILE_PAGES     4ul	      /* most of a small file */
#define FOLDER_FILES   50ul
#define ATTEMPTS       100
#define RUN_PAGES      256u
#define BYTES_A_SECTOR 512u

static const char *const names[BENCH_FILES] = {
	[BENCH_HIT] = "hit",
	[BENCH_MISS] = "miss",
};

const char *bench_ground_name(enum bench_file file)
{
	return names[file];
}

/* A new device of the file, which frees itself once nobody has it open. Others
 * may take the number that is free. */
static int new_loop(int file, char *path, size_t room)
{
	struct loop_config config = {
		.fd = (uint32_t)file,
		.info = {.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO},
	};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), device;

	bench_must(control < 0, "opening /dev/loop-control");
	for (int i = 0; i < ATTEMPTS; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		bench_must(number < 0, "LOOP_CTL_GET_FREE");
		snprintf(path, room, "/dev/loop%d", number);
		device = open(path, O_RDWR | O_CLOEXEC);
		if (device >= 0 && !ioctl(device, LOOP_CONFIGURE, &config)) {
			close(control);
			return device;
		}
		if (device >= 0)
			close(device);
	}
	bench_must(errno, "making a loop device with direct I/O");
	return -1;
}

static void run(char *const argv[])
{
	int status = bench_child_wait(bench_child_start(argv, -1, -1, SIGKILL));

	bench_must(status, argv[0]);
}

static void mount_lower(struct bench_ground *ground, const char *dir,
			uint64_t size)
{
	char loop[64];
	char *mkfs[] = {"mkfs.ext4", "-qF",
			"-E",	     "lazy_itable_init=0,lazy_journal_init=0",
			loop,	     NULL};
	char path[512];
	int file, device;

	snprintf(path, sizeof(path), "%s/bench-fs-XXXXXX", dir);
	file = mkostemp(path, O_CLOEXEC);
	if (file >= 0)
		unlink(path);
	if (file < 0 || posix_fallocate(file, 0, (off_t)size)) {
		fprintf(stderr, "fs: no file of %llu MiB in %s; see --dir\n",
			(unsigned long long)size >> 20, dir);
		exit(1);
	}
	device = new_loop(file, loop, sizeof(loop));
	run(mkfs);
	bench_must(unshare(CLONE_NEWNS) ||
			   mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL),
		   "a mount namespace");
	bench_must(mkdir(ground->lower, 0755) ||
			   mount(loop, ground->lower, "ext4", MS_NOATIME, NULL),
		   "mounting ext4");
	close(device);
	close(file);
	snprintf(ground->counters, sizeof(ground->counters),
		 "/sys/block/%s/stat", loop + strlen("/dev/"));
}

/* Pages from, and of a file from its beginning. */
static void write_file(int folder, const char *name, size_t from, size_t count,
		       const struct bench_pages *set)
{
	struct bench_pages out = bench_pages_new(RUN_PAGES);
	int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			0644);

	bench_must(fd < 0, "making a file");
	for (size_t page = 0, n; page < count; page += n) {
		for (n = 0; n < RUN_PAGES && page + n < count; n++) {
			memcpy(bench_page(&out, n),
			       bench_page(set, (from + page + n) % set->count),
			       TMEM_PAGE_SIZE);
			bench_number(bench_page(&out, n), page + n);
		}
		bench_must(write(fd, out.bytes, n * TMEM_PAGE_SIZE) !=
				   (ssize_t)(n * TMEM_PAGE_SIZE),
			   "writing a file");
	}
	close(fd);
	bench_pages_free(&out);
}

static void make_archive(struct bench_ground *ground, unsigned long files,
			 const struct bench_pages *set)
{
	char *tar[] = {"tar",	"-cf", ground->archive, "-C", ground->lower,
		       "small", NULL};
	char path[64];

	bench_must(mkdirat(ground->fd, "small", 0755), "mkdir");
	for (unsigned long i = 0; i < files; i++) {
		snprintf(path, sizeof(path), "small/%lu", i / FOLDER_FILES);
		bench_must(i % FOLDER_FILES == 0 &&
				   mkdirat(ground->fd, path, 0755),
			   "mkdir");
		snprintf(path, sizeof(path), "small/%lu/%lu", i / FOLDER_FILES,
			 i);
		write_file(ground->fd, path, i, i % FILE_PAGES, set);
	}
	run(tar);
}

void bench_ground_init(struct bench_ground *ground, const char *dir,
		       const char *folder, uint64_t size, unsigned long files,
		       const struct bench_pages *set)
{
	*ground = (struct bench_ground){.folder = folder, .size = size};
	snprintf(ground->lower, sizeof(ground->lower), "%s/lower", folder);
	snprintf(ground->archive, sizeof(ground->archive), "%s/small.tar",
		 folder);
	mount_lower(ground, dir,
		    BENCH_FILES * size + ROOM_APART +
			    4 * files * FILE_PAGES * TMEM_PAGE_SIZE);
	ground->fd = open(ground->lower, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bench_must(ground->fd < 0, "opening the lower file system");
	for (int file = 0; file < BENCH_FILES; file++)
		write_file(ground->fd, names[file], 0, size / TMEM_PAGE_SIZE,
			   set);
	make_archive(ground, files, set);
	bench_must(syncfs(ground->fd), "syncfs");
}

void bench_ground_deinit(struct bench_ground *ground)
{
	close(ground->fd);
	umount2(ground->lower, MNT_DETACH);
}

void bench_ground_cold(const struct bench_ground *ground, enum bench_file file)
{
	int fd;

	if (file == BENCH_MISS)
		bench_must(utimensat(ground->fd, names[file], NULL, 0),
			   "utimensat");
	bench_must(syncfs(ground->fd), "syncfs");
	fd = openat(ground->fd, names[file], O_RDONLY | O_CLOEXEC);
	bench_must(fd < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED),
		   "posix_fadvise");
	close(fd);
}

uint64_t bench_ground_read_bytes(const struct bench_ground *ground)
{
	unsigned long long requests, merged, sectors = 0;
	FILE *counters = fopen(ground->counters, "re");

	bench_must(!counters || fscanf(counters, "%llu %llu %llu", &requests,
				       &merged, &sectors) != 3,
		   "reading the loop device's counters");
	fclose(counters);
	return sectors * BYTES_A_SECTOR;
}
