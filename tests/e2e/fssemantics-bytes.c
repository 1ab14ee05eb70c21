/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files' bytes, running them, and locks. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fssemantics.h"

/* Bytes --------------------------------------------------------------------*/

void holes(void)
{
	int fd = open("sparse", O_RDWR | O_CREAT, 0644);
	struct stat st;

	TRY(ftruncate(fd, 1 << 30));
	TRY(fstat(fd, &st) + st.st_blocks);
	TRY(pwrite(fd, "data", 4, 512 << 20));
	TRY(lseek(fd, 0, SEEK_DATA));
	TRY(lseek(fd, 512 << 20, SEEK_HOLE));
	TRY(lseek(fd, 513 << 20, SEEK_DATA));
	TRY(lseek(fd, 1 << 30, SEEK_HOLE));
	TRY(fallocate(fd, FALLOC_FL_KEEP_SIZE, 1 << 30, 65536));
	TRY(fstat(fd, &st) + st.st_size);
	TRY(ftruncate(fd, 0));
	TRY(fallocate(fd, 0, 0, 65536));
	TRY(fstat(fd, &st) + st.st_size + st.st_blocks);
	for (int i = 0; i < 16; i++)
		pwrite(fd, "0123456789abcdef", 16, i * 4096 + i);
	TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000,
		      9000));
	show("sparse");
	TRY(fallocate(fd, FALLOC_FL_ZERO_RANGE, 30000, 50000));
	show("sparse");
	TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
	TRY(fallocate(fd, 0, -1, 4096));
	close(fd);
}

/* Where a page's index no longer fits into 32 bits, and around that. */
void far_away(void)
{
	static const off_t places[] = {
		1ll << 40,	   (1ll << 44) - 12288, (1ll << 44) - 3,
		(1ll << 44) + 100, 1ll << 50,
	};
	int fd = open("far", O_RDWR | O_CREAT, 0644);
	char text[8];

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		printf("  at %lld\n", (long long)places[i]);
		TRY(pwrite(fd, "far", 3, places[i]));
		for (int again = 0; again < 2; again++) {
			memset(text, 0, sizeof(text));
			TRY(pread(fd, text, 7, places[i] - 2));
			printf("  %02x%02x%.5s\n", text[0], text[1], text + 2);
			TRY(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
		}
	}
	TRY(ftruncate(fd, 0));
	close(fd);
}

void appends(void)
{
	int a = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
	int b = open("log", O_RDWR | O_APPEND);
	int c = open("log", O_RDWR);
	char *map;

	TRY(write(a, "first ", 6));
	TRY(write(b, "second ", 7));
	TRY(pwrite(a, "third ", 6, 0));
	TRY(fcntl(c, F_SETFL, O_APPEND));
	TRY(write(c, "fourth ", 7));
	TRY(fcntl(c, F_SETFL, 0));
	TRY(pwrite(c, "FIRST", 5, 0));
	show("log");
	/* A mapping of a file that is open for appending. */
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);
	if (map == MAP_FAILED) {
		say(-1, "  mmap");
	} else {
		memcpy(map + 6, "SECOND", 6);
		TRY(msync(map, 4096, MS_SYNC));
		TRY(munmap(map, 4096));
	}
	close(a);
	close(b);
	close(c);
	show("log");
}

void mappings(void)
{
	int fd = open("mapped", O_RDWR | O_CREAT, 0644);
	char *shared, *private, text[6] = "";

	TRY(ftruncate(fd, 10000));
	shared = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (shared == MAP_FAILED || private == MAP_FAILED) {
		say(-1, "  mmap");
		return;
	}
	memcpy(shared + 4090, "across a page", 13);
	memcpy(shared + 9998, "end and past it", 15);
	TRY(pread(fd, text, 5, 4092));
	printf("  \"%s\"\n", text);
	memcpy(private, "mine", 4);
	TRY(pwrite(fd, "theirs", 6, 8192));
	printf("  \"%.6s\" \"%.6s\"\n", shared + 8192, private + 8192);
	TRY(msync(shared, 12288, MS_SYNC));
	munmap(shared, 12288);
	munmap(private, 12288);
	close(fd);
	show("mapped");
}

void direct(void)
{
	static char page[8192] __attribute__((aligned(4096)));
	int fd = open("direct", O_RDWR | O_CREAT | O_DIRECT, 0644);

	memset(page, 'd', sizeof(page));
	TRY(pwrite(fd, page, 8192, 0));
	TRY(pwrite(fd, page, 4096, 16384));
	memset(page, 0, sizeof(page));
	TRY(pread(fd, page, 8192, 0));
	printf("  %c%c\n", page[0], page[8191]);
	TRY(ftruncate(fd, 17000));
	TRY(pread(fd, page, 4096, 16384));
	close(fd);
	show("direct");
}

void copies(void)
{
	int in = open("from", O_RDWR | O_CREAT, 0644);
	int out = open("to", O_RDWR | O_CREAT, 0644);
	loff_t from = 100, to = 50;
	off_t at = 0;
	struct iovec iov[2] = {{(char[]){"vector"}, 6}, {(char[]){"s!"}, 2}};

	for (int i = 0; i < 1000; i++)
		dprintf(in, "line %d\n", i);
	TRY(copy_file_range(in, &from, out, &to, 5000, 0));
	TRY(from * 100000 + to);
	show("to");
	TRY(lseek(out, 0, SEEK_END));
	TRY(sendfile(out, in, &at, 3000));
	show("to");
	TRY(pwritev(out, iov, 2, 10));
	TRY(pwritev(out, iov, 2, 20000));
	show("to");
	TRY(ftruncate(out, 11));
	show("to");
	TRY(ftruncate(out, 5000));
	show("to");
	TRY(fsync(out));
	TRY(fdatasync(out));
	TRY(syncfs(out));
	close(in);
	close(out);
	TRY(close(open("to", O_RDWR | O_TRUNC)));
	show("to");
	put("to", "something");
	TRY(close(open("to", O_RDONLY | O_TRUNC)));
	show("to");
}

/* Programs -----------------------------------------------------------------*/

/* Run the program, which copies its standard input to nowhere. */
static pid_t run_program(int input)
{
	pid_t pid = fork();
	int null;

	if (pid == 0) {
		null = open("/dev/null", O_WRONLY);
		dup2(input, 0);
		dup2(null, 1);
		execl("./cat", "cat", NULL);
		_exit(errno == ETXTBSY ? 100 : 101);
	}
	return pid;
}

static int status_of(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

/* Wait until the program runs: its executable is no longer ours. */
static void wait_for_exec(pid_t pid)
{
	char link[64], target[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	do
		n = readlink(link, target, sizeof(target) - 1);
	while (n > 0 && (target[n] = '\0', !strstr(target, "/cat")));
}

void programs(void)
{
	int in = open("/bin/cat", O_RDONLY), input[2];
	int out = open("cat", O_WRONLY | O_CREAT, 0755);
	pid_t pid;

	while (sendfile(out, in, NULL, 1 << 20) > 0)
		;
	close(in);
	if (pipe2(input, O_CLOEXEC))
		return;
	fflush(stdout);
	/* A file that is open for writing cannot be run, and one that runs
	 * cannot be opened for writing. */
	TRY(status_of(run_program(input[0])));
	close(out);
	pid = run_program(input[0]);
	wait_for_exec(pid);
	TRY(open("cat", O_WRONLY));
	TRY(truncate("cat", 0));
	TRY(open("cat", O_RDONLY | O_TRUNC));
	TRY(rename("cat", "moved"));
	TRY(unlink("moved"));
	close(input[1]);
	TRY(status_of(pid));
	close(input[0]);
	put("script", "#!/bin/sh\nexit 7\n");
	TRY(chmod("script", 0711));
	pid = fork();
	if (pid == 0) {
		execl("./script", "script", NULL);
		_exit(101);
	}
	TRY(status_of(pid));
	look("script");
}

/* Locks --------------------------------------------------------------------*/

static int record(int fd, int cmd, int type, off_t start, off_t size)
{
	struct flock lock = {.l_type = (short)type,
			     .l_whence = SEEK_SET,
			     .l_start = start,
			     .l_len = size};
	int rc = fcntl(fd, cmd, &lock);

	return rc ? rc : lock.l_type;
}

/* From another process. */
static void contend(void)
{
	int fd = open("locked", O_RDWR);

	TRY(record(fd, F_GETLK, F_WRLCK, 0, 10));
	TRY(record(fd, F_SETLK, F_WRLCK, 0, 10));
	TRY(record(fd, F_SETLK, F_RDLCK, 100, 10));
	TRY(record(fd, F_SETLK, F_WRLCK, 100, 10));
	TRY(record(fd, F_OFD_SETLK, F_WRLCK, 200, 10));
	TRY(record(fd, F_SETLK, F_WRLCK, 300, 10));
	TRY(flock(fd, LOCK_SH | LOCK_NB));
	close(fd);
}

/* Wait, mostly, until a process sleeps. */
static void wait_until_asleep(pid_t pid)
{
	char path[64], state = 'R';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	while (state == 'R') {
		sched_yield();
		file = fopen(path, "r");
		if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
			state = 'X';
		if (file)
			fclose(file);
	}
}

/* Waits until the parent unlocks. */
static void wait_for_lock(void)
{
	int fd = open("locked", O_RDWR);

	TRY(record(fd, F_SETLKW, F_WRLCK, 0, 10));
	TRY(flock(fd, LOCK_EX));
	close(fd);
}

void locks(void)
{
	int fd, other;
	pid_t pid;

	put("locked", "");
	fd = open("locked", O_RDWR);
	other = open("locked", O_RDWR);
	TRY(record(fd, F_SETLK, F_WRLCK, 0, 10));
	TRY(record(fd, F_SETLK, F_RDLCK, 100, 10));
	TRY(record(fd, F_OFD_SETLK, F_WRLCK, 200, 10));
	TRY(record(other, F_OFD_SETLK, F_RDLCK, 200, 10));
	TRY(record(other, F_OFD_GETLK, F_RDLCK, 200, 10));
	TRY(flock(fd, LOCK_EX));
	TRY(flock(other, LOCK_EX | LOCK_NB));
	in_child(contend);
	TRY(record(fd, F_SETLK, F_UNLCK, 0, 5));
	in_child(contend);
	/* A process's record locks end with any of its descriptors. */
	close(other);
	TRY(flock(fd, LOCK_UN));
	in_child(contend);
	other = open("locked", O_RDWR);
	TRY(record(fd, F_SETLK, F_WRLCK, 0, 10));
	TRY(flock(fd, LOCK_SH));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		wait_for_lock();
		_exit(0);
	}
	wait_until_asleep(pid);
	record(fd, F_SETLK, F_UNLCK, 0, 10);
	flock(fd, LOCK_UN);
	waitpid(pid, NULL, 0);
	close(fd);
	/* Closed, what was locked through it is unlocked, perhaps soon. */
	TRY(record(other, F_OFD_SETLKW, F_WRLCK, 200, 10));
	close(other);
}
