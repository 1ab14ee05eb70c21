/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A directory passed through, with the failures of a disk that is full, bad or
 * slow: what overflow files are tested on. faultfs DIRECTORY MOUNTPOINT, in
 * the foreground; direct I/O, holes and seeking for them work as below.
 *
 * Lines written to the file "control" in its root say what is to go wrong, and
 * each is in force when its write returns:
 *
 *   space BYTES              files together take no more of the disk
 *   fail KIND OFFSET LENGTH  requests that touch the range fail with EIO
 *   delay KIND MS            each takes so much longer
 *   short BYTES              reads and writes do at most so many at a time
 *   well                     nothing goes wrong any more; who waits goes on
 *
 * KIND is read, write, punch or sync.
 *
 * Reading it gives what was asked for since the last "well": a line a kind,
 * "KIND requests bytes".
 *
 * Threading: libfuse's; one lock for what is to go wrong, not held over I/O.
 */
#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <dirent.h>

/** Requests that may be held, and leave others a thread, such as "control". */
#define THREADS 200u

enum kind { READ, WRITE, PUNCH, SYNC, KINDS };

static const char *const kind_name[KINDS] = {"read", "write", "punch", "sync"};

struct fault {
	int64_t fail_from, fail_to;
	unsigned delay_ms;
	uint64_t requests, bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct fault faults[KINDS];
static int64_t space = INT64_MAX;
static size_t most = SIZE_MAX;
static uint64_t wells;
static int root = -1;

static const char *under(const char *path)
{
	return path[1] ? path + 1 : ".";
}

static bool is_control(const char *path)
{
	return strcmp(path, "/control") == 0;
}

/** Wait as long as a request of that kind takes, or until all is well. Under
 * the lock. */
static void take_time(const struct fault *fault)
{
	uint64_t then = wells;
	struct timespec end;

	if (!fault->delay_ms)
		return;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += fault->delay_ms / 1000;
	end.tv_nsec += fault->delay_ms % 1000 * 1000000L;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	while (wells == then &&
	       pthread_cond_timedwait(&changed, &lock, &end) != ETIMEDOUT)
		;
}

/** What a request comes to: 0, or -EIO. */
static int suffer(enum kind kind, int64_t offset, int64_t length)
{
	struct fault *fault = &faults[kind];
	int r;

	pthread_mutex_lock(&lock);
	fault->requests++;
	fault->bytes += (uint64_t)length;
	take_time(fault);
	r = offset < fault->fail_to && offset + length > fault->fail_from ? -EIO
									  : 0;
	pthread_mutex_unlock(&lock);
	return r;
}

static size_t at_most(size_t size)
{
	pthread_mutex_lock(&lock);
	if (size > most)
		size = most;
	pthread_mutex_unlock(&lock);
	return size;
}

/** Bytes of holes in a range that a write would fill. */
static int64_t holes_in(int fd, int64_t offset, int64_t end)
{
	int64_t sum = 0, data;

	while (offset < end) {
		data = lseek(fd, offset, SEEK_DATA);
		if (data < 0 || data > end)
			data = end;
		sum += data - offset;
		if (data == end)
			break;
		offset = lseek(fd, data, SEEK_HOLE);
		if (offset < 0)
			break;
	}
	return sum;
}

static bool fits(int fd, int64_t offset, int64_t length)
{
	struct stat st;
	bool yes;

	pthread_mutex_lock(&lock);
	yes = space == INT64_MAX ||
	      (fstat(fd, &st) == 0 &&
	       st.st_blocks * 512 + holes_in(fd, offset, offset + length) <=
		       space);
	pthread_mutex_unlock(&lock);
	return yes;
}

/* The control file -------------------------------------------------------- */

static int set_fault(const char *line)
{
	char verb[8], kind[8];
	long long a, b = 0;
	int n = sscanf(line, "%7s %7s %lld %lld", verb, kind, &a, &b);

	for (unsigned i = 0; n >= 3 && i < KINDS; i++) {
		if (strcmp(kind, kind_name[i]) != 0)
			continue;
		if (strcmp(verb, "delay") == 0 && n == 3) {
			faults[i].delay_ms = (unsigned)a;
			return 0;
		}
		if (strcmp(verb, "fail") == 0 && n == 4) {
			faults[i].fail_from = a;
			faults[i].fail_to = a + b;
			return 0;
		}
	}
	return -EINVAL;
}

static void make_well(void)
{
	memset(faults, 0, sizeof(faults));
	space = INT64_MAX;
	most = SIZE_MAX;
	wells++;
	pthread_cond_broadcast(&changed);
}

static int obey(const char *bytes, size_t size)
{
	char line[80];
	long long n;
	int r = 0;

	snprintf(line, sizeof(line), "%.*s", (int)size, bytes);
	pthread_mutex_lock(&lock);
	if (strncmp(line, "well", 4) == 0)
		make_well();
	else if (sscanf(line, "space %lld", &n) == 1)
		space = n;
	else if (sscanf(line, "short %lld", &n) == 1 && n > 0)
		most = (size_t)n;
	else
		r = set_fault(line);
	pthread_mutex_unlock(&lock);
	return r < 0 ? r : (int)size;
}

static int report(char *to, size_t size, off_t offset)
{
	char text[256];
	size_t length = 0;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < KINDS; i++)
		length += (size_t)snprintf(
			text + length, sizeof(text) - length, "%s %llu %llu\n",
			kind_name[i], (unsigned long long)faults[i].requests,
			(unsigned long long)faults[i].bytes);
	pthread_mutex_unlock(&lock);
	if (offset >= (off_t)length)
		return 0;
	length -= (size_t)offset;
	if (length > size)
		length = size;
	memcpy(to, text + offset, length);
	return (int)length;
}

/* The file system --------------------------------------------------------- */

static int fs_getattr(const char *path, struct stat *st,
		      struct fuse_file_info *fi)
{
	if (is_control(path)) {
		*st = (struct stat){.st_mode = S_IFREG | 0600, .st_nlink = 1};
		return 0;
	}
	if (fi ? fstat((int)fi->fh, st)
	       : fstatat(root, under(path), st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	return 0;
}

static int fs_readdir(const char *path, void *to, fuse_fill_dir_t fill,
		      off_t offset, struct fuse_file_info *fi,
		      enum fuse_readdir_flags flags)
{
	int fd = openat(root, under(path), O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	(void)offset;
	(void)fi;
	(void)flags;
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		fill(to, entry->d_name, NULL, 0, 0);
	closedir(dir);
	return 0;
}

static int fs_open(const char *path, struct fuse_file_info *fi)
{
	if (is_control(path)) {
		fi->direct_io = 1;
		fi->fh = UINT64_MAX;
		return 0;
	}
	/* What the kernel gives us comes in memory of any alignment. */
	fi->fh = (uint64_t)openat(root, under(path), fi->flags & ~O_DIRECT);
	return (int)fi->fh < 0 ? -errno : 0;
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	fi->fh = (uint64_t)openat(root, under(path),
				  (fi->flags & ~O_DIRECT) | O_CREAT, mode);
	return (int)fi->fh < 0 ? -errno : 0;
}

static int fs_release(const char *path, struct fuse_file_info *fi)
{
	if (!is_control(path))
		close((int)fi->fh);
	return 0;
}

static int fs_read(const char *path, char *to, size_t size, off_t offset,
		   struct fuse_file_info *fi)
{
	ssize_t n;
	int r;

	if (is_control(path))
		return report(to, size, offset);
	r = suffer(READ, offset, (int64_t)size);
	if (r < 0)
		return r;
	n = pread((int)fi->fh, to, at_most(size), offset);
	return n < 0 ? -errno : (int)n;
}

static int fs_write(const char *path, const char *from, size_t size,
		    off_t offset, struct fuse_file_info *fi)
{
	ssize_t n;
	int r;

	if (is_control(path))
		return obey(from, size);
	r = suffer(WRITE, offset, (int64_t)size);
	if (r < 0)
		return r;
	if (!fits((int)fi->fh, offset, (int64_t)size))
		return -ENOSPC;
	n = pwrite((int)fi->fh, from, at_most(size), offset);
	return n < 0 ? -errno : (int)n;
}

static int fs_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	int fd = -1, r;

	if (is_control(path))
		return 0;
	if (!fi) {
		fd = openat(root, under(path), O_WRONLY);
		if (fd < 0)
			return -errno;
	}
	r = ftruncate(fi ? (int)fi->fh : fd, size) ? -errno : 0;
	if (!fi)
		close(fd);
	return r;
}

static int fs_fallocate(const char *path, int mode, off_t offset, off_t length,
			struct fuse_file_info *fi)
{
	int r = 0;

	(void)path;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		r = suffer(PUNCH, offset, length);
	if (r < 0)
		return r;
	return fallocate((int)fi->fh, mode, offset, length) ? -errno : 0;
}

static off_t fs_lseek(const char *path, off_t offset, int whence,
		      struct fuse_file_info *fi)
{
	off_t at = lseek((int)fi->fh, offset, whence);

	(void)path;
	return at < 0 ? -errno : at;
}

static int fs_fsync(const char *path, int data, struct fuse_file_info *fi)
{
	int r;

	if (is_control(path))
		return 0;
	r = suffer(SYNC, 0, INT32_MAX);
	if (r < 0)
		return r;
	return (data ? fdatasync((int)fi->fh) : fsync((int)fi->fh)) ? -errno
								    : 0;
}

static int fs_unlink(const char *path)
{
	return unlinkat(root, under(path), 0) ? -errno : 0;
}

static void *fs_init(struct fuse_conn_info *connection,
		     struct fuse_config *config)
{
	/* Direct I/O that is under way at a time; the default is 12. */
	connection->max_background = THREADS;
	/* Whether somebody else changes what is below, the kernel asks. */
	config->attr_timeout = 0;
	config->entry_timeout = 0;
	config->negative_timeout = 0;
	return NULL;
}

static const struct fuse_operations operations = {
	.init = fs_init,
	.getattr = fs_getattr,
	.readdir = fs_readdir,
	.open = fs_open,
	.create = fs_create,
	.release = fs_release,
	.read = fs_read,
	.write = fs_write,
	.truncate = fs_truncate,
	.fallocate = fs_fallocate,
	.lseek = fs_lseek,
	.fsync = fs_fsync,
	.unlink = fs_unlink,
};

int main(int argc, char **argv)
{
	char threads[32];
	char *arguments[] = {argv[0],
			     (char *)"-f",
			     (char *)"-ofsname=faultfs",
			     threads,
			     argc == 3 ? argv[2] : NULL,
			     NULL};

	if (argc != 3) {
		fprintf(stderr, "usage: faultfs DIRECTORY MOUNTPOINT\n");
		return 2;
	}
	root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) {
		perror(argv[1]);
		return 1;
	}
	snprintf(threads, sizeof(threads), "-omax_threads=%u", THREADS);
	return fuse_main(5, arguments, &operations, NULL);
}
