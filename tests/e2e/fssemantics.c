/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all parts need, and the list of them. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fssemantics.h"

void say(long rc, const char *format, ...)
{
	int error = errno;
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	if (rc < 0)
		printf(": %s\n", strerrorname_np(error));
	else
		printf(": %ld\n", rc);
	fflush(stdout);
}

void look(const char *path)
{
	struct stat st;

	if (lstat(path, &st)) {
		say(-1, "  lstat %s", path);
		return;
	}
	printf("  %s: mode %o uid %u gid %u nlink %lu rdev %x size %lld mtime %lld.%09ld\n",
	       path, st.st_mode, st.st_uid, st.st_gid,
	       (unsigned long)st.st_nlink, (unsigned)st.st_rdev,
	       S_ISDIR(st.st_mode) ? 0ll : (long long)st.st_size,
	       st.st_mtim.tv_sec < 2000000 ? (long long)st.st_mtim.tv_sec : 0,
	       st.st_mtim.tv_sec < 2000000 ? st.st_mtim.tv_nsec : 0);
}

void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		say(-1, "  put %s", path);
	if (fd >= 0)
		close(fd);
}

void show(const char *path)
{
	unsigned char buffer[65536];
	uint64_t sum = 14695981039346656037u, size = 0;
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0) {
		say(-1, "  show %s", path);
		return;
	}
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t i = 0; i < n; i++, size++)
			sum = (sum ^ buffer[i]) * 1099511628211u;
	printf("  %s holds %llu bytes, %016llx%s\n", path,
	       (unsigned long long)size, (unsigned long long)sum,
	       n < 0 ? ", unreadable" : "");
	close(fd);
}

void as_user(gid_t extra, void (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (setgroups(extra ? 1 : 0, &extra) ||
		    setresgid(GROUP, GROUP, GROUP) ||
		    setresuid(USER, USER, USER))
			_exit(2);
		fn();
		fflush(stdout);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		printf("  child failed\n");
}

void in_child(void (*fn)(void))
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		fn();
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{"owners", owners},
		{"permissions", permissions},
		{"ACLs", acls},
		{"set-id bits", set_ids},
		{"names", names},
		{"renames", renames},
		{"removed objects", removed},
		{"unnamed files", unnamed},
		{"nodes", nodes},
		{"times", times},
		{"xattrs", xattrs},
		{"statistics", statistics},
		{"directories", directories},
		{"holes", holes},
		{"far away", far_away},
		{"appends", appends},
		{"mappings", mappings},
		{"direct I/O", direct},
		{"copies", copies},
		{"programs", programs},
		{"locks", locks},
	};

	if (argc != 2) {
		fprintf(stderr, "usage: fssemantics DIRECTORY\n");
		return 2;
	}
	if (chdir(argv[1])) {
		perror(argv[1]);
		return 2;
	}
	umask(022);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		printf("%s\n", parts[i].name);
		parts[i].run();
	}
	return 0;
}
