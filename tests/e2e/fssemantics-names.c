/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owners, permissions, names, attributes and directories. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fssemantics.h"

/* Owners and modes ---------------------------------------------------------*/

static void create_all(void)
{
	umask(027);
	put("owned/file", "x");
	TRY(mkdir("owned/dir", 0777));
	TRY(mknod("owned/fifo", S_IFIFO | 0666, 0));
	TRY(symlink("target", "owned/link"));
	TRY(mknod("owned/device", S_IFCHR | 0666, makedev(1, 3)));
	umask(0);
	TRY(mkdir("owned/open", 01777));
	TRY(close(open("owned/sticky", O_CREAT | O_WRONLY | O_EXCL, 07777)));
	TRY(close(open("setgid/program", O_CREAT | O_WRONLY, 02775)));
	TRY(mkdir("setgid/inherits", 0755));
	put("setgid/plain", "y");
	put("group/file", "z");
	TRY(mkdir("group/dir", 0700));
}

void owners(void)
{
	static const char *const made[] = {
		"owned/file",	"owned/dir",	  "owned/fifo",
		"owned/link",	"owned/device",	  "owned/open",
		"owned/sticky", "setgid/program", "setgid/inherits",
		"setgid/plain", "group/file",	  "group/dir",
	};

	for (int pass = 0; pass < 2; pass++) {
		umask(0);
		TRY(mkdir("owned", 0777));
		TRY(mkdir("setgid", 0777));
		TRY(chown("setgid", 0, EXTRA));
		TRY(chmod("setgid", 02777));
		TRY(mkdir("group", 0770));
		TRY(chown("group", 0, EXTRA));
		as_user(pass ? EXTRA : 0, create_all);
		for (size_t i = 0; i < sizeof(made) / sizeof(*made); i++) {
			look(made[i]);
			remove(made[i]);
		}
		TRY(rmdir("owned"));
		TRY(rmdir("setgid"));
		TRY(rmdir("group"));
	}
	umask(022);
}

static void try_denied(void)
{
	TRY(open("denied/secret", O_RDONLY));
	TRY(open("denied/readable", O_RDONLY) >= 0);
	TRY(open("denied/readable", O_RDWR));
	TRY(open("denied/new", O_CREAT | O_WRONLY, 0644));
	TRY(chmod("denied/readable", 0777));
	TRY(chown("denied/mine", 0, 0));
	TRY(chown("denied/mine", USER, GROUP));
	TRY(truncate("denied/readable", 0));
	TRY(unlink("denied/readable"));
	TRY(unlink("sticky/readable"));
	TRY(rename("sticky/readable", "sticky/other"));
	TRY(link("denied/secret", "sticky/link"));
	TRY(access("denied/secret", R_OK));
	TRY(access("denied/readable", R_OK));
	TRY(access("denied/readable", X_OK));
	TRY(chdir("closed"));
	TRY(mkdir("closed/in", 0755));
	TRY(utimensat(AT_FDCWD, "denied/readable", NULL, 0));
	TRY(setxattr("denied/readable", "user.x", "1", 1, 0));
	TRY(open("denied/byacl", O_RDONLY) >= 0);
	TRY(mknod("sticky/device", S_IFCHR | 0666, makedev(1, 3)));
}

/* An ACL that lets USER read, as the kernel wants it. */
static void set_acl(const char *path, const char *name)
{
	struct {
		uint32_t version;
		struct {
			uint16_t tag, perm;
			uint32_t id;
		} entry[5];
	} acl = {
		2,
		{{0x01, 6, -1u},
		 {0x02, 4, USER},
		 {0x04, 0, -1u},
		 {0x10, 7, -1u},
		 {0x20, 0, -1u}},
	};

	say(setxattr(path, name, &acl, sizeof(acl), 0), "  set %s of %s", name,
	    path);
}

static void show_xattr(const char *path, const char *name)
{
	unsigned char value[256];
	ssize_t n = lgetxattr(path, name, value, sizeof(value));

	say(n, "  %s of %s", name, path);
	for (ssize_t i = 0; i < n; i++)
		printf("%02x%s", value[i], i == n - 1 ? "\n" : "");
}

void permissions(void)
{
	TRY(mkdir("denied", 0755));
	TRY(mkdir("closed", 0700));
	TRY(mkdir("sticky", 0777));
	TRY(chmod("sticky", 01777));
	put("denied/secret", "s");
	TRY(chmod("denied/secret", 0600));
	put("denied/readable", "r");
	put("sticky/readable", "r");
	put("denied/mine", "m");
	TRY(chown("denied/mine", USER, GROUP));
	put("denied/byacl", "a");
	TRY(chmod("denied/byacl", 0600));
	set_acl("denied/byacl", "system.posix_acl_access");
	as_user(0, try_denied);
	look("denied/byacl");
	show_xattr("denied/byacl", "system.posix_acl_access");
}

static void create_below_acl(void)
{
	umask(077);
	put("acls/file", "x");
	TRY(mkdir("acls/dir", 0777));
}

void acls(void)
{
	TRY(mkdir("acls", 0777));
	TRY(chmod("acls", 0777));
	set_acl("acls", "system.posix_acl_default");
	as_user(0, create_below_acl);
	look("acls/file");
	look("acls/dir");
	show_xattr("acls/file", "system.posix_acl_access");
	show_xattr("acls/dir", "system.posix_acl_access");
	show_xattr("acls/dir", "system.posix_acl_default");
	TRY(chmod("acls/file", 0640));
	show_xattr("acls/file", "system.posix_acl_access");
	TRY(removexattr("acls", "system.posix_acl_default"));
	show_xattr("acls", "system.posix_acl_default");
}

static void write_program(void)
{
	int fd = open("program", O_WRONLY);

	TRY(write(fd, "x", 1));
	close(fd);
}

static void write_program_directly(void)
{
	static char block[4096] __attribute__((aligned(4096)));
	int fd = open("program", O_WRONLY | O_DIRECT);

	TRY(write(fd, block, sizeof(block)));
	close(fd);
}

static void truncate_program(void)
{
	TRY(truncate("program", 0));
}

static void open_program_truncated(void)
{
	TRY(close(open("program", O_WRONLY | O_TRUNC)));
}

static void allocate_program(void)
{
	int fd = open("program", O_WRONLY);

	TRY(fallocate(fd, 0, 0, 8192));
	close(fd);
}

/* Set-id bits go when a file is changed by one without the right to keep
 * them. */
void set_ids(void)
{
	void (*const changes[])(void) = {
		write_program,	  write_program_directly,
		truncate_program, open_program_truncated,
		allocate_program,
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		put("program", "#!");
		TRY(chmod("program", 06777));
		look("program");
		as_user(0, changes[i]);
		look("program");
	}
	TRY(chmod("program", 06755));
	TRY(chown("program", USER, GROUP));
	look("program");
	TRY(chmod("program", 06777));
	write_program();
	look("program");
}

/* Names --------------------------------------------------------------------*/

void names(void)
{
	char longest[NAME_MAX + 2] = "";

	memset(longest, 'n', NAME_MAX);
	put(longest, "l");
	look(longest);
	TRY(unlink(longest));
	longest[NAME_MAX] = 'n';
	say(open(longest, O_CREAT | O_WRONLY, 0644), "  256 bytes of name");
	put("we\nird \xff\"name", "w");
	look("we\nird \xff\"name");
	put("a", "a");
	TRY(link("a", "b"));
	look("a");
	TRY(link("a", "b"));
	TRY(unlink("a"));
	look("b");
	show("b");
	TRY(symlink("b", "s"));
	TRY(link("s", "s2"));
	look("s2");
	TRY(open("s", O_RDONLY | O_NOFOLLOW));
	TRY(open("s", O_CREAT | O_EXCL | O_RDWR, 0644));
	TRY(symlink("loop", "loop"));
	TRY(open("loop", O_RDONLY));
	TRY(mkdir("d", 0755));
	TRY(mkdir("d", 0755));
	TRY(open("d", O_WRONLY));
	TRY(open("b", O_DIRECTORY));
	TRY(unlink("d"));
	TRY(rmdir("b"));
	put("d/in", "i");
	TRY(rmdir("d"));
	TRY(link("d", "d2"));
	TRY(rename("d", "d/below"));
	TRY(open("missing/file", O_CREAT | O_WRONLY, 0644));
	TRY(open("b/file", O_RDONLY));
}

void renames(void)
{
	put("one", "1");
	put("two", "22");
	TRY(renameat2(AT_FDCWD, "one", AT_FDCWD, "two", RENAME_NOREPLACE));
	TRY(renameat2(AT_FDCWD, "one", AT_FDCWD, "two", RENAME_EXCHANGE));
	look("one");
	look("two");
	TRY(renameat2(AT_FDCWD, "one", AT_FDCWD, "absent", RENAME_EXCHANGE));
	TRY(renameat2(AT_FDCWD, "one", AT_FDCWD, "three", RENAME_WHITEOUT));
	look("one");
	TRY(unlink("one"));
	TRY(rename("three", "two"));
	show("two");
	TRY(link("two", "same"));
	TRY(rename("two", "same"));
	look("two");
	TRY(mkdir("full", 0755));
	put("full/in", "i");
	TRY(mkdir("empty", 0755));
	TRY(rename("empty", "full"));
	TRY(rename("full", "empty"));
	show("empty/in");
	TRY(rename("two", "empty"));
}

void removed(void)
{
	struct stat st;
	char byte = 0;
	int fd, path_fd;

	put("gone", "still here");
	fd = open("gone", O_RDWR);
	path_fd = open("gone", O_PATH);
	TRY(unlink("gone"));
	TRY(open("gone", O_RDONLY));
	TRY(pwrite(fd, "S", 1, 0));
	TRY(pread(fd, &byte, 1, 0) + byte);
	TRY(fstat(fd, &st) + (long)st.st_nlink);
	TRY(fstatat(path_fd, "", &st, AT_EMPTY_PATH) + st.st_size);
	TRY(ftruncate(fd, 3));
	TRY(fstat(fd, &st) + st.st_size);
	TRY(fchmod(fd, 0600));
	close(fd);
	close(path_fd);
	put("over", "old");
	fd = open("over", O_RDONLY);
	put("over.new", "newer");
	TRY(rename("over.new", "over"));
	TRY(fstat(fd, &st) + st.st_size);
	TRY(pread(fd, &byte, 1, 0) + byte);
	show("over");
	close(fd);
	fd = open(".", O_RDONLY);
	TRY(mkdir("cwd", 0755));
	TRY(chdir("cwd"));
	TRY(rmdir("../cwd"));
	TRY(stat(".", &st) + (long)st.st_nlink);
	TRY(open("file", O_CREAT | O_WRONLY, 0644));
	TRY(fchdir(fd));
	close(fd);
}

void unnamed(void)
{
	char path[64];
	struct stat st;
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);

	TRY(write(fd, "no name yet", 11));
	TRY(fstat(fd, &st) + (long)st.st_nlink);
	printf("  mode %o size %lld\n", st.st_mode, (long long)st.st_size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	show(path);
	TRY(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	look("named");
	show("named");
	close(fd);
	fd = open(".", O_TMPFILE | O_WRONLY | O_EXCL, 0600);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	TRY(linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
	close(fd);
	TRY(open(".", O_TMPFILE | O_RDONLY, 0600));
	TRY(open("named", O_TMPFILE | O_RDWR, 0600));
}

void nodes(void)
{
	char text[16];
	int fd;

	TRY(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
	look("null");
	fd = open("null", O_RDWR);
	TRY(write(fd, "x", 1));
	TRY(read(fd, text, 1));
	close(fd);
	TRY(mkfifo("pipe", 0644));
	look("pipe");
	fd = open("pipe", O_RDWR | O_NONBLOCK);
	TRY(write(fd, "through", 7));
	TRY(read(fd, text, sizeof(text)));
	close(fd);
	TRY(mknod("socket", S_IFSOCK | 0600, 0));
	look("socket");
	TRY(mknod("regular", S_IFREG | 0600, 0));
	look("regular");
}

/* Attributes ---------------------------------------------------------------*/

/* Which sets the time of change all the same, as soon as the clock ticks. */
static void chown_nothing(void)
{
	struct stat before = {.st_nlink = 0}, st = before;
	int tries = 0;

	put("chowned", "c");
	TRY(stat("chowned", &before));
	do
		if (chown("chowned", -1, -1) || stat("chowned", &st))
			say(-1, "  chown");
	while (before.st_ctim.tv_nsec == st.st_ctim.tv_nsec && ++tries < 5000);
	printf("  the time of change is %s\n", tries < 5000 ? "new" : "old");
}

void times(void)
{
	struct timespec t[2] = {{1000000, 123456789}, {1000001, 987654321}};
	struct stat st;

	put("timed", "t");
	TRY(utimensat(AT_FDCWD, "timed", t, 0));
	look("timed");
	TRY(stat("timed", &st) + st.st_atim.tv_nsec);
	t[1].tv_nsec = UTIME_OMIT;
	t[0].tv_nsec = 1;
	TRY(utimensat(AT_FDCWD, "timed", t, 0));
	look("timed");
	TRY(symlink("timed", "timedlink"));
	t[1].tv_nsec = 5;
	TRY(utimensat(AT_FDCWD, "timedlink", t, AT_SYMLINK_NOFOLLOW));
	look("timedlink");
	look("timed");
	TRY(lchown("timedlink", USER, GROUP));
	look("timedlink");
	chown_nothing();
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void xattrs(void)
{
	char list[1024], *sorted[16];
	size_t count = 0;
	ssize_t n;

	put("xattrs", "x");
	TRY(setxattr("xattrs", "user.one", "1", 1, XATTR_REPLACE));
	TRY(setxattr("xattrs", "user.one", "1", 1, XATTR_CREATE));
	TRY(setxattr("xattrs", "user.one", "2", 1, XATTR_CREATE));
	TRY(setxattr("xattrs", "user.empty", "", 0, 0));
	TRY(setxattr("xattrs", "trusted.two", "22", 2, 0));
	TRY(setxattr("xattrs", "security.three", "333", 3, 0));
	TRY(setxattr("xattrs", "bogus.four", "4", 1, 0));
	TRY(getxattr("xattrs", "trusted.two", list, 1));
	TRY(getxattr("xattrs", "trusted.two", NULL, 0));
	TRY(getxattr("xattrs", "user.absent", NULL, 0));
	show_xattr("xattrs", "user.one");
	show_xattr("xattrs", "user.empty");
	show_xattr("xattrs", "security.three");
	TRY(listxattr("xattrs", list, 1));
	n = listxattr("xattrs", list, sizeof(list));
	for (char *p = list; p < list + n && count < 16; p += strlen(p) + 1)
		sorted[count++] = p;
	qsort(sorted, count, sizeof(*sorted), compare_names);
	for (size_t i = 0; i < count; i++)
		printf("  listed %s\n", sorted[i]);
	TRY(removexattr("xattrs", "user.one"));
	TRY(removexattr("xattrs", "user.one"));
	TRY(symlink("xattrs", "xattrlink"));
	TRY(lsetxattr("xattrlink", "trusted.of.link", "L", 1, 0));
	TRY(lsetxattr("xattrlink", "user.of.link", "L", 1, 0));
	show_xattr("xattrlink", "trusted.of.link");
	TRY(mkdir("xattrdir", 0755));
	TRY(setxattr("xattrdir", "user.dir", "D", 1, 0));
	show_xattr("xattrdir", "user.dir");
}

void statistics(void)
{
	struct statvfs sv;

	TRY(statvfs(".", &sv));
	printf("  block %lu of %lu, name %lu\n", sv.f_bsize,
	       (unsigned long)sv.f_blocks, sv.f_namemax);
}

/* Directories --------------------------------------------------------------*/

#define MANY 1500

void directories(void)
{
	unsigned seen = 0, odd = 0, types = 0, again = 0;
	struct dirent *entry;
	char name[64];
	struct stat st;
	long place = 0;
	DIR *dir;

	TRY(mkdir("many", 0755));
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many/an-entry-%05u", i);
		put(name, "");
	}
	dir = opendir("many");
	while ((entry = readdir(dir))) {
		seen++;
		types += entry->d_type == DT_REG;
		snprintf(name, sizeof(name), "many/%.40s", entry->d_name);
		if (lstat(name, &st) || st.st_ino != entry->d_ino)
			odd += strcmp(entry->d_name, "..") != 0;
		if (seen == MANY / 2)
			place = telldir(dir);
	}
	printf("  %u entries, %u files, %u with other inode numbers\n", seen,
	       types, odd);
	seekdir(dir, place);
	while (readdir(dir))
		again++;
	printf("  %u entries after the middle\n", again);
	rewinddir(dir);
	for (seen = 0; (entry = readdir(dir));) {
		snprintf(name, sizeof(name), "many/%.40s", entry->d_name);
		seen += unlink(name) == 0;
	}
	printf("  %u removed while reading\n", seen);
	TRY(fsync(dirfd(dir)));
	closedir(dir);
	TRY(rmdir("many"));
}
